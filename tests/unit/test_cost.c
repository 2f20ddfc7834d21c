/* tests/unit/test_cost.c - scenarios, the guide's example to the cent, and the promises for every scenario.
 * SPDX-License-Identifier: Apache-2.0
 * Random scenarios are compared with the published formulas in floating point, written out again here. */
#include "base/fault.h"
#include "base/num.h"
#include "base/rng.h"
#include "route/cost.h"
#include "route/money.h"
#include "test.h"

static fh_cost_scenario S; /* 30 KB: not for the stack of every case */

static void open_text(fh_str text) {
    fh_err err = {0};
    fh_status st = fh_cost_read(&S, text, &err);
    if (st == FH_OK) st = fh_cost_use_prices(&S, NULL, (fh_str){NULL, 0}, &err);
    if (st == FH_OK) st = fh_cost_complete(&S, &err);
    if (st != FH_OK) fh_cost_release(&S);
    CHECK_OK(st, err);
}

static fh_cost_result month(size_t i) {
    fh_cost_result r;
    fh_err err = {0};
    CHECK_OK(fh_cost_month(&S, i, &r, &err), err);
    return r;
}

/* C2: the totals that the guide gives, and what follows from them. */
TEST(cost, the_guides_example_to_the_cent) {
    open_text(fh_cost_example());
    CHECK_U64(S.n_option, 3);
    fh_cost_result a = month(0), b = month(1), c = month(2);
    CHECK_U64(a.month_cents, 210000);
    CHECK_U64(b.month_cents, 480000);
    CHECK_U64(c.month_cents, 120012);
    static const uint64_t line[] = {83333, 10512, 24000, 2167};
    CHECK_U64(c.n_line, FH_COUNT(line));
    for (size_t i = 0; i < FH_COUNT(line); i++) CHECK_U64(c.line[i].cents, line[i]);
    CHECK_U64(c.running_cents, 36679);        /* after month 24 */
    CHECK_U64(fh_cost_payback(&c, &a), 1154); /* 11.5 months */
    CHECK_U64(a.per_mtok, 2088000000);        /* 2.088 per million, blended */
    uint64_t even = fh_cost_breakeven_tokens(&S, &a, &c), cents;
    CHECK(even >= 574500000 && even < 575500000); /* 575 M */
    CHECK_U64(fh_cost_breakeven_tokens(&S, &a, &b), 2298850575);
    CHECK_OK(fh_cost_spent(&c, 24, &cents, NULL), ((fh_err){.message = "spent"}));
    CHECK_U64(cents, 2000000 + 24 * 36679);
    CHECK(fh_cost_compare_quality(&S) == FH_COST_QUALITY_DIFFERS);
    fh_cost_release(&S);
}

/* Against the two cheaper hosted prices that go with it: 1.36 B and 5.0 B tokens a month. */
TEST(cost, breakeven_against_other_prices) {
    static const struct {
        const char *set;
        uint64_t least, most;
    } row[] = {{"price_input=0.88,price_output=0.88", 1355000000, 1365000000},
               {"price_input=0.15,price_output=0.60", 4950000000, 5050000000}};
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        fh_err err = {0};
        CHECK_OK(fh_cost_read(&S, fh_cost_example(), &err), err);
        CHECK_OK(fh_cost_set(&S, fh_str_of(row[i].set), FH_STR("2026-11-21"), &err), err);
        CHECK_OK(fh_cost_complete(&S, &err), err);
        fh_cost_result a = month(0), c = month(2);
        uint64_t even = fh_cost_breakeven_tokens(&S, &a, &c);
        CHECK(even >= row[i].least && even <= row[i].most);
        fh_cost_release(&S);
    }
}

TEST(cost, every_assumption_has_a_day) {
    open_text(fh_cost_example());
    for (size_t i = 0; i <= S.n_option; i++) {
        const fh_cost_value *v = i ? S.option[i - 1].value : S.workload;
        size_t n = 0;
        for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
            if (v[k].origin == FH_COST_UNSET) continue;
            CHECK(fh_cost_is_date(v[k].checked_on));
            n++;
        }
        CHECK(n >= 6);
    }
    fh_cost_release(&S);
}

#define HEAD "{\"checked_on\":\"2026-11-21\",\"workload\":{\"tokens_month\":1000000},\"options\":["
#define HOSTED "{\"kind\":\"hosted\",\"price_input\":1,\"price_output\":2"
#define OWNED "{\"kind\":\"owned\",\"name\":\"mine\",\"capex\":100,\"load_kw\":0.5"

TEST(cost, refusals_name_the_culprit) {
    static const struct {
        const char *text, *name;
    } row[] = {
        {"[]", "object"},
        {"{\"checked_on\":\"2026-11-21\",\"colour\":1}", "'colour'"},
        {"{\"checked_on\":\"21.11.2026\"}", "'checked_on'"},
        {"{\"checked_on\":\"2026-13-01\"}", "'checked_on'"},
        {"{\"workload\":{\"tokens_month\":1},\"options\":[" HOSTED "}]}", "'checked_on' is missing"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"tokens_month\":1}}", "'options'"},
        {"{\"checked_on\":\"2026-11-21\",\"options\":[" HOSTED "}]}", "'tokens_month' is missing"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"capex\":1}}", "'capex' in 'workload'"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"tokens_month\":1.5}}", "'tokens_month'"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"tokens_month\":\"1\"}}", "'tokens_month'"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"input_percent\":100.1}}", "'input_percent'"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"input_percent\":{\"value\":1,\"when\":2}}}", "'when'"},
        {"{\"checked_on\":\"2026-11-21\",\"workload\":{\"input_percent\":{}}}", "'value'"},
        {HEAD "]}", "'options'"},
        {HEAD "{}]}", "'kind'"},
        {HEAD "{\"kind\":\"stolen\"}]}", "'stolen'"},
        {HEAD HOSTED ",\"gpus\":1}]}", "'gpus'"},
        {HEAD HOSTED ",\"price_search\":-0.01}]}", "'price_search'"},
        {HEAD HOSTED ",\"name\":3}]}", "'name'"},
        {HEAD "{\"kind\":\"hosted\",\"price_input\":1}]}", "'price_output' is missing"},
        {HEAD "{\"kind\":\"hosted\",\"price_model\":\"a/b\"}]}", "'a/b'"},
        {HEAD OWNED ",\"price_model\":\"x\"}]}", "'price_model'"},
        {HEAD OWNED ",\"resale\":101}]}", "'resale' of 'mine' is above 'capex'"},
        {HEAD OWNED ",\"idle_kw\":0.6}]}", "'idle_kw' of 'mine' is above 'load_kw'"},
        {HEAD OWNED ",\"pue\":0.9}]}", "'pue'"},
        {HEAD OWNED ",\"life_months\":0}]}", "'life_months'"},
        {HEAD "{\"kind\":\"rented\",\"gpus\":1,\"rate_hour\":1,\"hours_on\":731}]}", "'hours_on'"},
        {HEAD HOSTED "," HOSTED "}]}", ""},
    };
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        fh_err err = {0};
        fh_status st = fh_cost_read(&S, fh_str_of(row[i].text), &err);
        if (st == FH_OK) st = fh_cost_use_prices(&S, NULL, (fh_str){NULL, 0}, &err);
        if (st == FH_OK) st = fh_cost_complete(&S, &err);
        fh_cost_release(&S);
        if (st == FH_OK || !strstr(err.message, row[i].name))
            fh_test_fail(__FILE__, __LINE__, "%s: '%s'", row[i].text, err.message);
    }
}

TEST(cost, overrides_reach_what_they_name) {
    static const char *const bad[] = {"",
                                      "x",
                                      "x=1",
                                      "capex=",
                                      "capex=-1",
                                      "0.capex=1",
                                      "4.capex=1",
                                      "1.capex=1",
                                      "3.tokens_month=5",
                                      "capex=1,",
                                      "tokens_month=0.5"};
    fh_err err = {0};
    CHECK_OK(fh_cost_read(&S, fh_cost_example(), &err), err);
    CHECK_OK(fh_cost_set(&S, FH_STR("ops_rate=70,3.ops_rate=80,tokens_month=2e9"), FH_STR("2026-11-30"), &err), err);
    CHECK_OK(fh_cost_complete(&S, &err), err);
    CHECK_U64(S.option[1].value[FH_COST_OPS_RATE].n, 70 * FH_FIXED_ONE);
    CHECK_U64(S.option[2].value[FH_COST_OPS_RATE].n, 80 * FH_FIXED_ONE);
    CHECK_U64(S.workload[FH_COST_TOKENS].n, 2000000000);
    CHECK_STR(S.workload[FH_COST_TOKENS].checked_on, "2026-11-30");
    for (size_t i = 0; i < FH_COUNT(bad); i++)
        CHECK_STATUS(fh_cost_set(&S, fh_str_of(bad[i]), FH_STR("2026-11-30"), &err), FH_ERR_USAGE);
    fh_cost_release(&S);
}

TEST(cost, prices_come_from_a_table) {
    static const char table[] = "[{\"id\":\"p\",\"models\":[{\"id\":\"m\",\"prices_checked\":\"2026-08-04\",\"prices\":"
                                "{\"input_mtok\":2,\"cache_read_mtok\":0.5,\"output_mtok\":8}}]}]";
    static const char text[] = "{\"checked_on\":\"2026-11-21\",\"workload\":{\"tokens_month\":10000000,"
                               "\"cached_percent\":50},\"options\":[{\"kind\":\"hosted\",\"price_model\":\"p/m\","
                               "\"price_output\":10}]}";
    fh_err err = {0};
    fh_prices *p = NULL;
    CHECK_OK(fh_prices_parse(&p, FH_STR(table), FH_STR("2026-11-21"), &err), err);
    CHECK_OK(fh_cost_read(&S, FH_STR(text), &err), err);
    CHECK_OK(fh_cost_use_prices(&S, p, (fh_str){NULL, 0}, &err), err);
    fh_prices_free(p); /* the scenario keeps copies */
    CHECK_OK(fh_cost_complete(&S, &err), err);
    const fh_cost_value *v = S.option[0].value;
    CHECK_U64(v[FH_COST_PRICE_INPUT].n, 2 * FH_FIXED_ONE);
    CHECK_STR(v[FH_COST_PRICE_INPUT].checked_on, "2026-08-04");
    CHECK_U64(v[FH_COST_PRICE_OUTPUT].n, 10 * FH_FIXED_ONE); /* what the scenario says goes first */
    CHECK_U64(month(0).month_cents, 800 + 200 + 2000);       /* 4 M x 2 + 4 M x 0.5 + 2 M x 10 */
    fh_cost_release(&S);
}

TEST(cost, interest_and_spare_machines) {
    /* 3 machines of 12,000 with 2,400 to come back, two years, 10 % a year: 3 x 9,600 / 24 = 1,200 spread;
     * 3 x 14,400 / 2 x 0.10 / 12 = 180 interest; (2 x (0.2 + 0.25 x 0.8) + 0.2) kW x 730 h x 1.5 x 0.2 = 219 energy */
    open_text(FH_STR(HEAD "{\"kind\":\"owned\",\"capex\":12000,\"resale\":2400,\"units\":2,\"spare_units\":1,"
                          "\"life_months\":24,\"interest_percent\":10,\"load_kw\":1,\"idle_kw\":0.2,"
                          "\"utilisation_percent\":25,\"pue\":1.5,\"price_kwh\":0.2,\"tokens_second\":100}]}"));
    fh_cost_result c = month(0), other = {.month_cents = 139900};
    uint64_t cents = 0;
    CHECK_U64(c.month_cents, 120000 + 18000 + 21900);
    CHECK_U64(c.running_cents, 21900);
    CHECK_U64(c.capex_cents, 3600000);
    CHECK_U64(c.resale_cents, 720000);
    CHECK_U64(c.capacity_month, 100 * 3600 * 730 / 4);
    CHECK(fh_cost_spent(&c, 24, &cents, NULL) == FH_OK && cents == 3600000 + 24 * (21900 + 18000));
    CHECK(fh_cost_spent(&c, 36, &cents, NULL) == FH_OK && cents == 3600000 + 36 * 21900 + 24 * 18000);
    CHECK_U64(fh_cost_payback(&c, &other), 3600); /* 36,000 / (1,399 - 399) = 36 months */
    other.month_cents = 39900;
    CHECK(fh_cost_payback(&c, &other) == FH_COST_NEVER);
    fh_cost_release(&S);
}

/* ---- every scenario ---- */
/* A value within its row, often at its ends, otherwise of any magnitude that an amount can still be counted with. */
static uint64_t any_value(fh_rng *r, const fh_cost_row *row) {
    uint64_t least = 0, most = 0;
    if (row->whole) CHECK(fh_str_u64(fh_str_of(row->least), &least) && fh_str_u64(fh_str_of(row->most), &most));
    else CHECK(fh_fixed_parse(fh_str_of(row->least), 0, &least) && fh_fixed_parse(fh_str_of(row->most), 0, &most));
    uint64_t kind = fh_rng_below(r, 8);
    if (kind == 0) return least;
    if (kind == 1) return most;
    uint64_t span = most - least, v = least + fh_rng_below(r, (span >> fh_rng_below(r, 40)) + 1);
    return FH_MIN(v, most);
}

static void any_scenario(fh_rng *r, fh_cost_kind kind) {
    static const unsigned bit[] = {FH_COST_IN_H, FH_COST_IN_R, FH_COST_IN_O};
    S = (fh_cost_scenario){.n_option = 1, .checked_on = FH_STR("2026-11-21")};
    S.option[0] = (fh_cost_option){.kind = kind, .name = FH_STR("any")};
    for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
        const fh_cost_row *row = fh_cost_row_at((fh_cost_key)k);
        fh_cost_value v = {.n = any_value(r, row), .origin = FH_COST_SCENARIO, .checked_on = S.checked_on};
        if (row->where == FH_COST_IN_W) S.workload[k] = v;
        if (row->where & bit[kind]) S.option[0].value[k] = v;
    }
    fh_cost_value *v = S.option[0].value;
    v[FH_COST_RESALE].n = FH_MIN(v[FH_COST_RESALE].n, v[FH_COST_CAPEX].n);
    v[FH_COST_IDLE_KW].n = FH_MIN(v[FH_COST_IDLE_KW].n, v[FH_COST_LOAD_KW].n);
    v[FH_COST_HOURS_ON].n = FH_MIN(v[FH_COST_HOURS_ON].n, S.workload[FH_COST_HOURS].n);
}

static double fixed(const fh_cost_value *v, fh_cost_key k) { return (double)v[k].n / 1e9; }

/* The published formulas, in dollars. */
static double reference(void) {
    const fh_cost_value *w = S.workload, *v = S.option[0].value;
    double tokens = (double)w[FH_COST_TOKENS].n / 1e6, hours = fixed(w, FH_COST_HOURS);
    if (S.option[0].kind == FH_COST_HOSTED) {
        double in = tokens * fixed(w, FH_COST_INPUT) / 100, cached = in * fixed(w, FH_COST_CACHED) / 100;
        double keep = 1 - fixed(w, FH_COST_BATCH) / 100 * fixed(v, FH_COST_BATCH_DISCOUNT) / 100;
        return keep * ((in - cached) * fixed(v, FH_COST_PRICE_INPUT) + cached * fixed(v, FH_COST_PRICE_CACHED) +
                       (tokens - in) * fixed(v, FH_COST_PRICE_OUTPUT)) +
               (double)w[FH_COST_REQUESTS].n * fixed(v, FH_COST_PRICE_REQUEST) +
               (double)w[FH_COST_SEARCHES].n * fixed(v, FH_COST_PRICE_SEARCH);
    }
    double ops = fixed(v, FH_COST_OPS_HOURS) * fixed(v, FH_COST_OPS_RATE);
    if (S.option[0].kind == FH_COST_RENTED)
        return (double)(v[FH_COST_GPUS].n + v[FH_COST_SPARE_GPUS].n) * fixed(v, FH_COST_RATE_HOUR) *
                   fixed(v, FH_COST_HOURS_ON) +
               fixed(v, FH_COST_STORAGE) + ops;
    double units = (double)v[FH_COST_UNITS].n, spare = (double)v[FH_COST_SPARE_UNITS].n,
           idle = fixed(v, FH_COST_IDLE_KW);
    double kw = idle + fixed(v, FH_COST_UTILISATION) / 100 * (fixed(v, FH_COST_LOAD_KW) - idle);
    double capex = fixed(v, FH_COST_CAPEX), resale = fixed(v, FH_COST_RESALE);
    return (units + spare) * (capex - resale) / (double)v[FH_COST_LIFE].n +
           (units + spare) * (capex + resale) / 2 * fixed(v, FH_COST_INTEREST) / 100 / 12 +
           (units * kw + spare * idle) * hours * fixed(v, FH_COST_PUE) * fixed(v, FH_COST_PRICE_KWH) + ops +
           fixed(v, FH_COST_SPARES) + fixed(v, FH_COST_COLO);
}

/* How far exact and floating may lie apart: half a cent a line, billionths lost in factors, and whole tokens, which at
 * a dollar each (the most a token may cost) are a matter of dollars. */
static double slack(double want) {
    const fh_cost_value *w = S.workload, *v = S.option[0].value;
    double may = 0.05 + want * 1e-6,
           price = fixed(v, FH_COST_PRICE_INPUT) + fixed(v, FH_COST_PRICE_OUTPUT) + fixed(v, FH_COST_PRICE_CACHED);
    if (S.option[0].kind == FH_COST_HOSTED) may += price / 1e6 * (1 + (double)w[FH_COST_TOKENS].n * 1e-9);
    return may;
}

/* What may not fit although the month is cheap: a step on the way, or a price per million of next to no tokens. */
static bool enormous(void) {
    const fh_cost_value *v = S.option[0].value;
    double units = (double)(v[FH_COST_UNITS].n + v[FH_COST_SPARE_UNITS].n), hours = fixed(S.workload, FH_COST_HOURS);
    return units * fixed(v, FH_COST_CAPEX) > 1e9 ||
           units * fixed(v, FH_COST_LOAD_KW) * hours * fixed(v, FH_COST_PUE) > 1e9 ||
           (double)(v[FH_COST_GPUS].n + v[FH_COST_SPARE_GPUS].n) * fixed(v, FH_COST_RATE_HOUR) > 1e9 ||
           S.workload[FH_COST_TOKENS].n < 1000000 || (double)S.workload[FH_COST_TOKENS].n > 1e9;
}

/* What a month may not get cheaper by: all but the shares, the discounts and the spreading. */
static bool grows(fh_cost_key k) {
    static const fh_cost_key not [] = {FH_COST_INPUT,          FH_COST_CACHED, FH_COST_BATCH,
                                       FH_COST_BATCH_DISCOUNT, FH_COST_RESALE, FH_COST_LIFE};
    for (size_t i = 0; i < FH_COUNT(not ); i++)
        if (not [i] == k) return false;
    return true;
}

static bool still_valid(void) {
    const fh_cost_value *v = S.option[0].value;
    return v[FH_COST_IDLE_KW].n <= v[FH_COST_LOAD_KW].n && v[FH_COST_HOURS_ON].n <= S.workload[FH_COST_HOURS].n;
}

/* Raises one value after the other, a little or a lot: no amount falls. */
static uint64_t check_monotone(fh_rng *r, const fh_cost_result *base) {
    uint64_t n = 0, before, after;
    for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
        const fh_cost_row *row = fh_cost_row_at((fh_cost_key)k);
        fh_cost_value *v = row->where == FH_COST_IN_W ? &S.workload[k] : &S.option[0].value[k], old = *v;
        fh_cost_result more;
        if (v->origin == FH_COST_UNSET || !grows((fh_cost_key)k)) continue;
        uint64_t other = fh_rng_below(r, 2) ? any_value(r, row) : v->n + 1 + fh_rng_below(r, 1000);
        v->n = FH_MAX(v->n, other);
        if (still_valid() && fh_cost_month(&S, 0, &more, NULL) == FH_OK) {
            CHECK(more.month_cents >= base->month_cents && more.month_exact >= base->month_exact);
            CHECK(more.running_cents >= base->running_cents && more.capex_cents >= base->capex_cents);
            if (fh_cost_spent(base, 7, &before, NULL) == FH_OK && fh_cost_spent(&more, 7, &after, NULL) == FH_OK)
                CHECK(after >= before);
            n++;
        }
        *v = old;
    }
    return n;
}

TEST(cost, no_scenario_is_negative_or_falls) {
    fh_rng r;
    uint64_t n_computed = 0, n_raised = 0;
    fh_rng_init(&r, fh_test_seed(), 72);
    for (int i = 0; i < 6000; i++) {
        fh_cost_result m;
        fh_err err = {0};
        any_scenario(&r, (fh_cost_kind)(i % 3));
        CHECK_OK(fh_cost_complete(&S, &err), err);
        double want = reference();
        if (fh_cost_month(&S, 0, &m, &err) != FH_OK) {
            CHECK(err.status == FH_ERR_LIMIT);
            CHECK(want > 1e8 || enormous());
            continue;
        }
        n_computed++;
        uint64_t sum = 0, last = 0, cents;
        for (size_t k = 0; k < m.n_line; k++) sum += m.line[k].cents;
        CHECK_U64(sum, m.month_cents);
        double off = (double)m.month_cents / 100 - want, may = slack(want);
        if (off < -may || off > may)
            fh_test_fail(__FILE__, __LINE__, "month %llu cents, formula %.4f, case %d",
                         (unsigned long long)m.month_cents, want, i);
        for (uint64_t k = 0; k <= 240; k += 1 + k / 5) {
            if (fh_cost_spent(&m, k, &cents, NULL) != FH_OK) break;
            CHECK(cents >= last);
            last = cents;
        }
        n_raised += check_monotone(&r, &m);
    }
    CHECK(n_computed > 2000 && n_raised > 10000); /* the test looked at something */
}

/* The guide's own identity: at the break-even volume both bills are the same. */
TEST(cost, breakeven_is_where_the_bills_meet) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 73);
    open_text(fh_cost_example());
    for (int i = 0; i < 500; i++) {
        S.option[0].value[FH_COST_PRICE_INPUT].n = 1 + fh_rng_below(&r, 10 * FH_FIXED_ONE);
        S.option[0].value[FH_COST_PRICE_OUTPUT].n = 1 + fh_rng_below(&r, 50 * FH_FIXED_ONE);
        S.workload[FH_COST_TOKENS].n = 1000000 + fh_rng_below(&r, 1000000000);
        fh_cost_result a = month(0), c = month(2);
        uint64_t even = fh_cost_breakeven_tokens(&S, &a, &c);
        if (even > 1000000000000000) continue;
        S.workload[FH_COST_TOKENS].n = even;
        fh_cost_result at = month(0);
        uint64_t off = at.month_cents > c.month_cents ? at.month_cents - c.month_cents : c.month_cents - at.month_cents;
        CHECK(off <= 2);
    }
    fh_cost_release(&S);
}

TEST(cost, truncated_or_out_of_memory) {
    fh_str text = fh_cost_example();
    for (size_t cut = 0; cut + 2 < text.len; cut++) {
        CHECK(fh_cost_read(&S, fh_str_first(text, cut), NULL) != FH_OK);
        fh_cost_release(&S);
    }
    for (uint64_t n = 1;; n++) {
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        fh_status st = fh_cost_read(&S, text, NULL);
        if (st == FH_OK) st = fh_cost_set(&S, FH_STR("capex=5"), FH_STR("2026-11-21"), NULL);
        bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        fh_cost_release(&S);
        if (!hit) break;
        CHECK_STATUS(st, FH_ERR_MEMORY);
        CHECK(n < 100);
    }
}
