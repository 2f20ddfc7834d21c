/* route/cost.c - the formulas: a month's bill, what was spent after so many months, break-even, payback.
 * SPDX-License-Identifier: Apache-2.0
 * Pure functions of a completed scenario. Every product is exact in 128 bits and rounded half up to a billionth, every
 * line once more to the cent; a total is the sum of its lines. Rounding half up and sums keep order, so a cost never
 * falls when a quantity grows. Whatever exceeds 64 bits (about 18 billion dollars a month) is FH_ERR_LIMIT. */
#include "route/cost.h"

#include "base/num.h"
#include "route/money.h"

#define HUNDRED_PERCENT (100 * FH_FIXED_ONE)

static fh_status too_much(fh_err *err, fh_str name) {
    return fh_fail(err, FH_ERR_LIMIT, "the cost of '%.*s' is more than can be counted", FH_STR_ARG(name));
}

/* One line of the bill; false once an amount did not fit. */
static bool add_line(fh_cost_result *r, const char *name, const char *formula, uint64_t fixed) {
    FH_REQUIRE(r->n_line < FH_COST_MAX_LINES);
    fh_cost_line *line = &r->line[r->n_line++];
    *line = (fh_cost_line){name, formula, fh_cents_of(fixed)};
    return fh_add_u64(r->month_cents, line->cents, &r->month_cents) &&
           fh_add_u64(r->month_exact, fixed, &r->month_exact);
}

static bool percent_of(uint64_t n, uint64_t percent, uint64_t *out) {
    return fh_round_ratio(n, percent, HUNDRED_PERCENT, out);
}

/* ---- hosted ---- */
/* tokens * price per million * what batch jobs leave of it */
static bool token_line(fh_cost_result *r, const char *name, const char *formula, uint64_t tokens, uint64_t price,
                       uint64_t factor) {
    uint64_t v;
    return fh_round_ratio(tokens, price, 1000000, &v) && fh_fixed_mul(v, factor, &v) && add_line(r, name, formula, v);
}

static bool count_line(fh_cost_result *r, const char *name, const char *formula, uint64_t n, uint64_t price) {
    uint64_t v;
    return fh_mul_u64(n, price, &v) && (v == 0 || add_line(r, name, formula, v));
}

static bool hosted(const fh_cost_scenario *s, const fh_cost_option *o, fh_cost_result *r) {
    const fh_cost_value *w = s->workload, *v = o->value;
    uint64_t in, cached, off;
    /* tokens: in + out = all and cached <= in also after rounding */
    if (!percent_of(w[FH_COST_TOKENS].n, w[FH_COST_INPUT].n, &in)) return false;
    if (!percent_of(in, w[FH_COST_CACHED].n, &cached)) return false;
    if (!fh_round_ratio(w[FH_COST_BATCH].n, v[FH_COST_BATCH_DISCOUNT].n, 10000 * FH_FIXED_ONE, &off)) return false;
    uint64_t factor = FH_FIXED_ONE - off, out = w[FH_COST_TOKENS].n - in;
    bool ok = token_line(r, "tokens in", "in - cached, x price_input", in - cached, v[FH_COST_PRICE_INPUT].n, factor);
    if (ok && cached)
        ok = token_line(r, "tokens in, cached", "cached x price_cached", cached, v[FH_COST_PRICE_CACHED].n, factor);
    return ok && token_line(r, "tokens out", "out x price_output", out, v[FH_COST_PRICE_OUTPUT].n, factor) &&
           count_line(r, "requests", "requests_month x price_request", w[FH_COST_REQUESTS].n,
                      v[FH_COST_PRICE_REQUEST].n) &&
           count_line(r, "searches", "searches_month x price_search", w[FH_COST_SEARCHES].n, v[FH_COST_PRICE_SEARCH].n);
}

/* ---- rented and owned ---- */
static bool optional_line(fh_cost_result *r, const char *name, const char *formula, uint64_t fixed) {
    return fixed == 0 || add_line(r, name, formula, fixed);
}

static bool ops_line(const fh_cost_option *o, fh_cost_result *r) {
    uint64_t v;
    return fh_fixed_mul(o->value[FH_COST_OPS_HOURS].n, o->value[FH_COST_OPS_RATE].n, &v) &&
           optional_line(r, "staff", "ops_hours x ops_rate", v);
}

/* tokens_second x 3600 x hours at work */
static bool capacity(const fh_cost_option *o, uint64_t hours, fh_cost_result *r) {
    return fh_round_ratio(o->value[FH_COST_SPEED].n, hours * 3600, FH_FIXED_ONE * FH_FIXED_ONE, &r->capacity_month);
}

static bool rented(const fh_cost_scenario *s, const fh_cost_option *o, fh_cost_result *r) {
    const fh_cost_value *v = o->value;
    uint64_t rent;
    (void)s;
    return fh_mul_u64(v[FH_COST_RATE_HOUR].n, v[FH_COST_GPUS].n + v[FH_COST_SPARE_GPUS].n, &rent) &&
           fh_fixed_mul(rent, v[FH_COST_HOURS_ON].n, &rent) &&
           add_line(r, "rent", "(gpus + spare_gpus) x rate_hour x hours_on", rent) &&
           optional_line(r, "storage", "storage_month", v[FH_COST_STORAGE].n) && ops_line(o, r) &&
           capacity(o, v[FH_COST_HOURS_ON].n, r);
}

static bool energy(const fh_cost_scenario *s, const fh_cost_option *o, uint64_t *out) {
    const fh_cost_value *v = o->value;
    uint64_t idle = v[FH_COST_IDLE_KW].n, units = v[FH_COST_UNITS].n, kw, rest;
    /* what work adds, on the machines that work; what all of them draw at rest */
    return fh_mul_u64(v[FH_COST_LOAD_KW].n - idle, units, &kw) && percent_of(kw, v[FH_COST_UTILISATION].n, &kw) &&
           fh_mul_u64(idle, units + v[FH_COST_SPARE_UNITS].n, &rest) && fh_add_u64(kw, rest, &kw) &&
           fh_fixed_mul(kw, s->workload[FH_COST_HOURS].n, &kw) && fh_fixed_mul(kw, v[FH_COST_PUE].n, &kw) &&
           fh_fixed_mul(kw, v[FH_COST_PRICE_KWH].n, out);
}

static bool owned(const fh_cost_scenario *s, const fh_cost_option *o, fh_cost_result *r) {
    const fh_cost_value *v = o->value;
    uint64_t units = v[FH_COST_UNITS].n + v[FH_COST_SPARE_UNITS].n, life = v[FH_COST_LIFE].n;
    uint64_t capex = v[FH_COST_CAPEX].n, resale = v[FH_COST_RESALE].n, all, back, interest, spread, power, hours;
    if (!fh_mul_u64(capex, units, &all) || !fh_mul_u64(resale, units, &back)) return false;
    if (!fh_round_ratio(capex - resale, units, life, &spread)) return false;
    /* half of price and resale is bound on average; per cent and year to a month: / 100 / 12 */
    if (!fh_mul_u64(capex + resale, units, &interest)) return false;
    if (!fh_round_ratio(interest, v[FH_COST_INTEREST].n, 2400 * FH_FIXED_ONE, &interest)) return false;
    if (!energy(s, o, &power)) return false;
    bool ok = add_line(r, "machines", "(units + spare_units) x (capex - resale) / life_months", spread);
    ok = ok && optional_line(r, "interest", "(capex + resale) / 2 x interest_percent / 12", interest);
    uint64_t before = r->month_cents;
    ok = ok && add_line(r, "energy", "average kW x hours_month x pue x price_kwh", power);
    ok = ok && ops_line(o, r) && optional_line(r, "spares and network", "spares_month", v[FH_COST_SPARES].n);
    ok = ok && optional_line(r, "rack space", "colo_month", v[FH_COST_COLO].n);
    if (!ok || !percent_of(s->workload[FH_COST_HOURS].n, v[FH_COST_UTILISATION].n, &hours)) return false;
    r->running_cents = r->month_cents - before;
    r->interest_cents = fh_cents_of(interest);
    r->capex_cents = fh_cents_of(all);
    r->resale_cents = fh_cents_of(back);
    r->life_months = life;
    return capacity(o, hours, r);
}

/* ---- results ---- */
fh_status fh_cost_month(const fh_cost_scenario *s, size_t option, fh_cost_result *out, fh_err *err) {
    FH_REQUIRE(option < s->n_option);
    const fh_cost_option *o = &s->option[option];
    fh_cost_result r = {.n_line = 0};
    bool ok = o->kind == FH_COST_HOSTED   ? hosted(s, o, &r)
              : o->kind == FH_COST_RENTED ? rented(s, o, &r)
                                          : owned(s, o, &r);
    if (!ok) return too_much(err, o->name);
    if (o->kind != FH_COST_OWNED) r.running_cents = r.month_cents;
    uint64_t tokens = s->workload[FH_COST_TOKENS].n;
    r.per_mtok = FH_COST_NEVER;
    if (tokens && !fh_round_ratio(r.month_exact, 1000000, tokens, &r.per_mtok)) return too_much(err, o->name);
    *out = r;
    return FH_OK;
}

fh_status fh_cost_spent(const fh_cost_result *r, uint64_t months, uint64_t *cents, fh_err *err) {
    uint64_t running, interest, sum;
    if (!fh_mul_u64(r->running_cents, months, &running) ||
        !fh_mul_u64(r->interest_cents, FH_MIN(months, r->life_months), &interest) ||
        !fh_add_u64(running, interest, &sum) || !fh_add_u64(sum, r->capex_cents, &sum))
        return fh_fail(err, FH_ERR_LIMIT, "the cost of %llu months is more than can be counted",
                       (unsigned long long)months);
    *cents = sum;
    return FH_OK;
}

uint64_t fh_cost_breakeven_tokens(const fh_cost_scenario *s, const fh_cost_result *hosted_month,
                                  const fh_cost_result *other) {
    uint64_t month, tokens;
    if (hosted_month->month_exact == 0) return FH_COST_NEVER;
    if (!fh_mul_u64(other->month_cents, FH_FIXED_ONE / 100, &month)) return FH_COST_NEVER;
    if (!fh_round_ratio(s->workload[FH_COST_TOKENS].n, month, hosted_month->month_exact, &tokens)) return FH_COST_NEVER;
    return tokens;
}

uint64_t fh_cost_payback(const fh_cost_result *own, const fh_cost_result *other) {
    uint64_t month, hundredths;
    if (!fh_add_u64(own->running_cents, own->interest_cents, &month) || other->month_cents <= month)
        return FH_COST_NEVER;
    if (!fh_round_ratio(own->capex_cents, 100, other->month_cents - month, &hundredths)) return FH_COST_NEVER;
    return hundredths;
}

fh_cost_quality fh_cost_compare_quality(const fh_cost_scenario *s) {
    bool differs = false;
    for (size_t i = 0; i < s->n_option; i++) {
        if (!s->option[i].quality.len) return FH_COST_QUALITY_UNKNOWN;
        if (!fh_str_eq(s->option[i].quality, s->option[0].quality)) differs = true;
    }
    return differs ? FH_COST_QUALITY_DIFFERS : FH_COST_QUALITY_SAME;
}
