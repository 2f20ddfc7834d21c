/* cli/cmd_cost.c - freehold cost: hosted, rented, owned, side by side.
 * SPDX-License-Identifier: Apache-2.0
 * Prints every line of each bill with its formula and every assumption with its day; --json says the same. Nothing is
 * fetched: prices come from the scenario or from a table that the user has. Text from files is made harmless. */
#include "route/cost.h"

#include "base/chart_svg.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "route/money.h"

#define MAX_OUTPUT ((size_t)1 << 24)
#define STALE_DAYS 60

typedef struct cost_report {
    fh_cost_scenario s;
    fh_cost_result r[FH_COST_MAX_OPTIONS];
    char today[16], stale[16]; /* prices looked up before `stale` are marked */
    uint64_t horizon[6];
    size_t n_horizon;
} cost_report;

static const char *const ORIGIN[] = {"unset", "default", "scenario", "price table", "--set"};

static void day_text(uint64_t unix_ms, char out[16]) {
    time_t t = (time_t)(unix_ms / 1000);
    struct tm tm;
    out[0] = '\0';
    if (gmtime_r(&t, &tm)) (void)strftime(out, 16, "%Y-%m-%d", &tm);
}

typedef fh_money_text number_printer(uint64_t v);

static fh_money_text value_text(const fh_cost_row *row, uint64_t n) {
    return row->whole ? fh_whole_text(n) : fh_fixed_text(n);
}

/* Harmless, at most `most` characters, padded to them. */
static void padded(fh_buf *out, fh_str s, size_t width) {
    size_t n = 0, end = 0;
    while (end < s.len && n < width) {
        end++;
        while (end < s.len && ((unsigned char)s.ptr[end] & 0xc0) == 0x80) end++;
        n++;
    }
    fh_cli_add_safe(out, fh_str_first(s, end));
    if (n < width) fh_buf_fill(out, ' ', width - n);
}

/* ---- text ---- */
static void text_workload(fh_buf *out, const cost_report *c) {
    const fh_cost_value *w = c->s.workload;
    uint64_t tokens = w[FH_COST_TOKENS].n;
    double second = (double)tokens / ((double)w[FH_COST_HOURS].n / 1e9 * 3600);
    fh_cli_add_safe(out, c->s.name.len ? c->s.name : FH_STR("Hosted, rented or owned"));
    fh_buf_printf(out, "\n%s tokens a month, %s%% of them in: %.0f tokens/s on average, %.0f in the busiest hour\n",
                  fh_whole_text(tokens).z, fh_fixed_text(w[FH_COST_INPUT].n).z, second,
                  second * (double)w[FH_COST_PEAK].n / 1e9);
}

static void text_option(fh_buf *out, const cost_report *c, size_t i) {
    const fh_cost_option *o = &c->s.option[i];
    const fh_cost_result *r = &c->r[i];
    fh_buf_printf(out, "\n%zu. ", i + 1);
    fh_cli_add_safe(out, o->name);
    fh_buf_printf(out, " (%s)", fh_cost_kind_name(o->kind));
    if (o->model.len) fh_buf_add_z(out, ": ");
    fh_cli_add_safe(out, o->model);
    if (o->hardware.len) fh_buf_add_z(out, "; ");
    fh_cli_add_safe(out, o->hardware);
    fh_buf_add_byte(out, '\n');
    for (size_t k = 0; k < r->n_line; k++)
        fh_buf_printf(out, "  %-20s %14s  %s\n", r->line[k].name, fh_cents_text(r->line[k].cents).z,
                      r->line[k].formula);
    fh_buf_printf(out, "  %-20s %14s  USD\n", "a month", fh_cents_text(r->month_cents).z);
    if (r->life_months)
        fh_buf_printf(out, "  %-20s %14s  after month %llu, while the machines last\n", "",
                      fh_cents_text(r->running_cents).z, (unsigned long long)r->life_months);
    uint64_t tokens = c->s.workload[FH_COST_TOKENS].n;
    if (o->kind == FH_COST_HOSTED) return;
    if (o->value[FH_COST_SPEED].n == 0) {
        fh_buf_add_z(out, "  tokens_second is not given: whether it can serve this workload was not looked at\n");
        return;
    }
    fh_buf_printf(out, "  serves %s tokens a month at most%s\n", fh_whole_text(r->capacity_month).z,
                  tokens > r->capacity_month ? ": LESS THAN THIS WORKLOAD" : "");
    double peak =
        (double)tokens * (double)c->s.workload[FH_COST_PEAK].n / (double)c->s.workload[FH_COST_HOURS].n / 3600;
    if (peak > (double)o->value[FH_COST_SPEED].n / 1e9)
        fh_buf_add_z(out, "  the busiest hour wants more than it sustains: requests will queue\n");
}

static void text_side_by_side(fh_buf *out, const cost_report *c, const uint64_t spent[][6]) {
    char label[32];
    fh_buf_printf(out, "\nSide by side, USD\n  %-28s %14s %10s", "", "a month", "per Mtok");
    for (size_t h = 0; h < c->n_horizon; h++) {
        snprintf(label, sizeof label, "%llu months", (unsigned long long)c->horizon[h]);
        fh_buf_printf(out, " %14s", label);
    }
    fh_buf_add_byte(out, '\n');
    for (size_t i = 0; i < c->s.n_option; i++) {
        const fh_cost_result *r = &c->r[i];
        fh_buf_add_z(out, "  ");
        padded(out, c->s.option[i].name, 28);
        uint64_t thousandth = (r->per_mtok + 500000) / 1000000;
        if (r->per_mtok == FH_COST_NEVER) snprintf(label, sizeof label, "-");
        else snprintf(label, sizeof label, "%.3f", (double)thousandth / 1000);
        fh_buf_printf(out, " %14s %10s", fh_cents_text(r->month_cents).z, label);
        for (size_t h = 0; h < c->n_horizon; h++) fh_buf_printf(out, " %14s", fh_cents_text(spent[i][h]).z);
        fh_buf_add_byte(out, '\n');
    }
    for (size_t i = 0; i < c->s.n_option; i++) {
        const fh_cost_result *r = &c->r[i];
        if (!r->resale_cents) continue;
        fh_buf_printf(out, "  of which %s come back when ", fh_cents_text(r->resale_cents).z);
        fh_cli_add_safe(out, c->s.option[i].name);
        fh_buf_printf(out, " is sold after month %llu\n", (unsigned long long)r->life_months);
    }
}

static void text_pair(fh_buf *out, const cost_report *c, size_t i, const char *verb, size_t k) {
    fh_buf_add_z(out, "  ");
    fh_cli_add_safe(out, c->s.option[i].name);
    fh_buf_printf(out, " %s ", verb);
    fh_cli_add_safe(out, c->s.option[k].name);
}

static void text_breakeven(fh_buf *out, const cost_report *c) {
    fh_buf_add_z(out, "\nBreak-even and payback\n");
    for (size_t i = 0; i < c->s.n_option; i++) {
        for (size_t k = 0; k < c->s.n_option; k++) {
            if (c->s.option[i].kind == FH_COST_HOSTED || c->s.option[k].kind != FH_COST_HOSTED) continue;
            uint64_t tokens = fh_cost_breakeven_tokens(&c->s, &c->r[k], &c->r[i]);
            text_pair(out, c, i, "costs what", k);
            if (tokens == FH_COST_NEVER) fh_buf_add_z(out, " costs at no volume\n");
            else
                fh_buf_printf(out, " costs at %s tokens a month%s\n", fh_whole_text(tokens).z,
                              c->r[i].capacity_month && tokens > c->r[i].capacity_month ? ", more than it can serve"
                                                                                        : "");
        }
        for (size_t k = 0; k < c->s.n_option; k++) {
            if (c->s.option[i].kind != FH_COST_OWNED || c->s.option[k].kind == FH_COST_OWNED) continue;
            uint64_t months = fh_cost_payback(&c->r[i], &c->r[k]);
            text_pair(out, c, i, "against", k);
            if (months == FH_COST_NEVER) fh_buf_add_z(out, " never pays back: running it costs as much\n");
            else
                fh_buf_printf(out, " pays back in %llu.%02llu months: %s / (%s - %s)\n",
                              (unsigned long long)(months / 100), (unsigned long long)(months % 100),
                              fh_cents_text(c->r[i].capex_cents).z, fh_cents_text(c->r[k].month_cents).z,
                              fh_cents_text(c->r[i].running_cents + c->r[i].interest_cents).z);
        }
    }
}

static const char *remark(const cost_report *c) {
    switch (fh_cost_compare_quality(&c->s)) {
    case FH_COST_QUALITY_SAME: return "All options name the same class of quality.";
    case FH_COST_QUALITY_DIFFERS:
        return c->s.n_option == 3 ? "The three options are not the same quality: compare what they answer, not only "
                                    "what they cost."
                                  : "The options are not the same quality: compare what they answer, not only what "
                                    "they cost.";
    case FH_COST_QUALITY_UNKNOWN: break;
    }
    return "Whether the options are the same quality is not known: not every one names its 'quality'.";
}

static void text_quality(fh_buf *out, const cost_report *c) {
    fh_buf_printf(out, "\nQuality\n  %s\n", remark(c));
    for (size_t i = 0; i < c->s.n_option; i++) {
        fh_buf_add_z(out, "  ");
        padded(out, c->s.option[i].name, 28);
        fh_buf_add_byte(out, ' ');
        fh_cli_add_safe(out, c->s.option[i].quality.len ? c->s.option[i].quality : FH_STR("not said"));
        fh_buf_add_byte(out, '\n');
    }
}

static bool is_stale(const cost_report *c, const fh_cost_row *row, const fh_cost_value *v) {
    return strncmp(row->unit, "USD", 3) == 0 && v->n && v->checked_on.len &&
           fh_str_cmp(v->checked_on, fh_str_of(c->stale)) < 0;
}

static size_t text_values(fh_buf *out, const cost_report *c, const fh_cost_value *values) {
    size_t n_stale = 0;
    for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
        const fh_cost_row *row = fh_cost_row_at((fh_cost_key)k);
        const fh_cost_value *v = &values[k];
        if (v->origin == FH_COST_UNSET) continue;
        bool stale = is_stale(c, row, v);
        n_stale += stale;
        fh_buf_printf(out, "    %-22s %15s %-9s ", row->key, value_text(row, v->n).z, row->unit);
        padded(out, v->checked_on.len ? v->checked_on : FH_STR("no date"), 10);
        fh_buf_printf(out, "%c %s", stale ? '*' : ' ', ORIGIN[v->origin]);
        if (v->source.len) fh_buf_add_z(out, ": ");
        fh_cli_add_safe(out, v->source);
        fh_buf_add_byte(out, '\n');
    }
    return n_stale;
}

static void text_assumptions(fh_buf *out, const cost_report *c) {
    fh_buf_add_z(out,
                 "\nAssumptions, each with the day it was looked up (change one: --set KEY=NUMBER or N.KEY=NUMBER)\n"
                 "  workload\n");
    size_t n_stale = text_values(out, c, c->s.workload);
    for (size_t i = 0; i < c->s.n_option; i++) {
        fh_buf_printf(out, "  %zu. ", i + 1);
        fh_cli_add_safe(out, c->s.option[i].name);
        fh_buf_add_byte(out, '\n');
        n_stale += text_values(out, c, c->s.option[i].value);
    }
    if (n_stale) fh_buf_printf(out, "  * older than %d days on %s: prices move, look again\n", STALE_DAYS, c->today);
}

/* ---- JSON ---- */
static void put_number(fh_json_writer *w, const char *key, number_printer *print, uint64_t v) {
    fh_money_text t = print(v);
    fh_json_node n = {.text = fh_str_of(t.z), .kind = FH_JSON_NUMBER, .span = 1};
    fh_json_put_key(w, key);
    fh_json_put_tree(w, &n);
}
static void put_text(fh_json_writer *w, const char *key, fh_str s) {
    fh_json_put_key(w, key);
    if (s.len) fh_json_put_str(w, s);
    else fh_json_put_null(w);
}

static void json_values(fh_json_writer *w, const cost_report *c, const fh_cost_value *values) {
    fh_json_put_key(w, "assumptions");
    fh_json_put_object(w);
    for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
        const fh_cost_row *row = fh_cost_row_at((fh_cost_key)k);
        const fh_cost_value *v = &values[k];
        if (v->origin == FH_COST_UNSET) continue;
        fh_json_put_key(w, row->key);
        fh_json_put_object(w);
        put_number(w, "value", row->whole ? fh_whole_plain : fh_fixed_plain, v->n);
        fh_json_put_key(w, "unit");
        fh_json_put_z(w, row->unit);
        put_text(w, "checked_on", v->checked_on);
        fh_json_put_key(w, "from");
        fh_json_put_z(w, ORIGIN[v->origin]);
        if (v->source.len) put_text(w, "source", v->source);
        if (is_stale(c, row, v)) {
            fh_json_put_key(w, "stale");
            fh_json_put_bool(w, true);
        }
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_against(fh_json_writer *w, const cost_report *c, size_t i) {
    fh_cost_kind kind = c->s.option[i].kind;
    fh_json_put_key(w, "against");
    fh_json_put_array(w);
    for (size_t k = 0; k < c->s.n_option; k++) {
        fh_cost_kind other = c->s.option[k].kind;
        bool even = kind != FH_COST_HOSTED && other == FH_COST_HOSTED;
        bool pays = kind == FH_COST_OWNED && other != FH_COST_OWNED;
        if (!even && !pays) continue;
        uint64_t tokens = even ? fh_cost_breakeven_tokens(&c->s, &c->r[k], &c->r[i]) : FH_COST_NEVER;
        uint64_t months = pays ? fh_cost_payback(&c->r[i], &c->r[k]) : FH_COST_NEVER;
        fh_json_put_object(w);
        put_text(w, "option", c->s.option[k].name);
        if (tokens != FH_COST_NEVER) put_number(w, "breakeven_tokens_month", fh_whole_plain, tokens);
        if (months != FH_COST_NEVER) put_number(w, "payback_months", fh_cents_plain, months);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_option(fh_json_writer *w, const cost_report *c, size_t i, const uint64_t spent[6]) {
    const fh_cost_option *o = &c->s.option[i];
    const fh_cost_result *r = &c->r[i];
    fh_json_put_object(w);
    put_text(w, "name", o->name);
    put_text(w, "kind", fh_str_of(fh_cost_kind_name(o->kind)));
    put_text(w, "model", o->model);
    put_text(w, "quality", o->quality);
    put_text(w, "hardware", o->hardware);
    fh_json_put_key(w, "lines");
    fh_json_put_array(w);
    for (size_t k = 0; k < r->n_line; k++) {
        fh_json_put_object(w);
        put_text(w, "name", fh_str_of(r->line[k].name));
        put_text(w, "formula", fh_str_of(r->line[k].formula));
        put_number(w, "usd", fh_cents_plain, r->line[k].cents);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    put_number(w, "month_usd", fh_cents_plain, r->month_cents);
    if (r->life_months) put_number(w, "month_after_life_usd", fh_cents_plain, r->running_cents);
    if (r->life_months) put_number(w, "capex_usd", fh_cents_plain, r->capex_cents);
    if (r->life_months) put_number(w, "resale_usd", fh_cents_plain, r->resale_cents);
    if (r->per_mtok != FH_COST_NEVER) put_number(w, "usd_per_mtok", fh_fixed_plain, r->per_mtok);
    if (r->capacity_month) put_number(w, "capacity_tokens_month", fh_whole_plain, r->capacity_month);
    fh_json_put_key(w, "spent");
    fh_json_put_array(w);
    for (size_t h = 0; h < c->n_horizon; h++) {
        fh_json_put_object(w);
        put_number(w, "months", fh_whole_plain, c->horizon[h]);
        put_number(w, "usd", fh_cents_plain, spent[h]);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    json_against(w, c, i);
    json_values(w, c, o->value);
    fh_json_put_end(w);
}

static void json_report(fh_buf *out, const cost_report *c, const uint64_t spent[][6]) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    put_text(&w, "name", c->s.name);
    put_text(&w, "checked_on", c->s.checked_on);
    put_text(&w, "currency", FH_STR("USD"));
    json_values(&w, c, c->s.workload);
    fh_json_put_key(&w, "options");
    fh_json_put_array(&w);
    for (size_t i = 0; i < c->s.n_option; i++) json_option(&w, c, i, spent[i]);
    fh_json_put_end(&w);
    fh_cost_quality q = fh_cost_compare_quality(&c->s);
    fh_json_put_key(&w, "same_quality");
    if (q == FH_COST_QUALITY_UNKNOWN) fh_json_put_null(&w);
    else fh_json_put_bool(&w, q == FH_COST_QUALITY_SAME);
    put_text(&w, "remark", fh_str_of(remark(c)));
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

/* ---- chart ---- */
/* 240 months are the most that a scenario looks ahead */
enum { CHART_POINTS = 241, CHART_MARKS = 16 };
typedef struct chart_data {
    double x[CHART_POINTS], y[FH_COST_MAX_OPTIONS][CHART_POINTS], month[FH_COST_MAX_OPTIONS];
    fh_chart_series line[FH_COST_MAX_OPTIONS], bar[FH_COST_MAX_OPTIONS];
    fh_chart_mark mark[CHART_MARKS];
    char text[CHART_MARKS][128];
    fh_money_text value[FH_COST_MAX_OPTIONS];
    size_t n_mark;
} chart_data;

static void chart_marks(chart_data *d, const cost_report *c) {
    for (size_t i = 0; i < c->s.n_option; i++)
        for (size_t k = 0; k < c->s.n_option && d->n_mark < CHART_MARKS; k++) {
            if (c->s.option[i].kind != FH_COST_OWNED || c->s.option[k].kind == FH_COST_OWNED) continue;
            uint64_t months = fh_cost_payback(&c->r[i], &c->r[k]);
            /* where interest ends before the lines meet, the formula is not where they meet: no mark there */
            bool drawn = c->r[i].interest_cents == 0 || months <= c->r[i].life_months * 100;
            if (months == FH_COST_NEVER || !drawn) continue;
            size_t at = d->n_mark++;
            double x = (double)months / 100;
            snprintf(d->text[at], sizeof d->text[at], "%.*s pays back against %.*s in %.1f months",
                     FH_STR_ARG(fh_str_first(c->s.option[i].name, 40)),
                     FH_STR_ARG(fh_str_first(c->s.option[k].name, 40)), x);
            d->mark[at] = (fh_chart_mark){x, x * (double)c->r[k].month_cents / 100, fh_str_of(d->text[at])};
        }
}

static fh_status draw(const cost_report *c, const char *path, fh_err *err) {
    uint64_t months = c->s.workload[FH_COST_MONTHS].n, cents;
    fh_writer *w = NULL;
    fh_buf svg;
    chart_data *d = fh_alloc_zero(1, sizeof *d);
    if (!d) return fh_fail_memory(err, sizeof *d);
    fh_status st = FH_OK;
    fh_buf_init(&svg, MAX_OUTPUT);
    for (size_t i = 0; i < c->s.n_option && st == FH_OK; i++) {
        for (uint64_t m = 0; m <= months && st == FH_OK; m++) {
            d->x[m] = (double)m;
            st = fh_cost_spent(&c->r[i], m, &cents, err);
            if (st == FH_OK) d->y[i][m] = (double)cents / 100;
        }
        d->line[i] = (fh_chart_series){c->s.option[i].name, d->x, d->y[i], (size_t)months + 1, {NULL, 0}};
        d->month[i] = (double)c->r[i].month_cents / 100;
        d->value[i] = fh_cents_text(c->r[i].month_cents);
        d->bar[i] = (fh_chart_series){c->s.option[i].name, d->x, &d->month[i], 1, fh_str_of(d->value[i].z)};
    }
    if (st != FH_OK) goto out;
    chart_marks(d, c);
    fh_str note = fh_str_of(remark(c));
    const fh_chart charts[] = {
        {FH_CHART_LINES,
         c->s.name.len ? c->s.name : FH_STR("Hosted, rented or owned"),
         note,
         FH_STR("months"),
         FH_STR("spent so far, USD"),
         FH_STR("$"),
         {NULL, 0},
         d->line,
         c->s.n_option,
         d->mark,
         d->n_mark},
        {FH_CHART_BARS,
         FH_STR("A month"),
         FH_STR("USD; machines spread over their life"),
         {NULL, 0},
         {NULL, 0},
         FH_STR("$"),
         {NULL, 0},
         d->bar,
         c->s.n_option,
         NULL,
         0},
    };
    fh_chart_svg(&svg, charts, FH_COUNT(charts));
    st = fh_buf_check(&svg, err);
    if (st == FH_OK) st = fh_writer_open(&w, path, err);
    if (st == FH_OK) st = fh_writer_add(w, svg.ptr, svg.len, err);
    if (st == FH_OK) {
        st = fh_writer_commit(w, err);
        w = NULL;
    }
out:
    fh_writer_abort(w);
    fh_buf_release(&svg);
    fh_free(d);
    return st;
}

/* ---- the command ---- */
typedef struct cost_options {
    const char *scenario, *prices, *prices_date, *set, *chart;
    bool example, print;
} cost_options;

static fh_status load(cost_report *c, const cost_options *o, fh_err *err) {
    fh_prices *prices = NULL;
    fh_buf text;
    fh_status st = FH_OK;
    fh_buf_init(&text, FH_COST_MAX_BYTES);
    fh_str source = fh_cost_example(), day = fh_str_of(o->prices_date);
    if (o->scenario) {
        st = fh_file_read(o->scenario, &text, err);
        source = fh_buf_str(&text);
    }
    if (st == FH_OK) st = fh_cost_read(&c->s, source, err);
    if (st != FH_OK && o->scenario) fh_err_set_path(err, o->scenario);
    if (st == FH_OK && o->prices_date && !fh_cost_is_date(day))
        st = fh_fail(err, FH_ERR_USAGE, "'%s' is no day like 2026-11-21", o->prices_date);
    if (st == FH_OK && o->set) st = fh_cost_set(&c->s, fh_str_of(o->set), fh_str_of(c->today), err);
    if (st == FH_OK && o->prices) st = fh_prices_open(&prices, o->prices, fh_str_of(c->today), err);
    if (st == FH_OK) st = fh_cost_use_prices(&c->s, prices, day, err);
    if (st == FH_OK) st = fh_cost_complete(&c->s, err);
    fh_prices_free(prices);
    fh_buf_release(&text);
    return st;
}

static fh_status compute(cost_report *c, uint64_t spent[][6], fh_err *err) {
    static const uint64_t usual[] = {12, 24, 36, 60, 120};
    uint64_t months = c->s.workload[FH_COST_MONTHS].n;
    for (size_t i = 0; i < FH_COUNT(usual); i++)
        if (usual[i] < months) c->horizon[c->n_horizon++] = usual[i];
    c->horizon[c->n_horizon++] = months;
    for (size_t i = 0; i < c->s.n_option; i++) {
        FH_TRY(fh_cost_month(&c->s, i, &c->r[i], err));
        for (size_t h = 0; h < c->n_horizon; h++) FH_TRY(fh_cost_spent(&c->r[i], c->horizon[h], &spent[i][h], err));
    }
    return FH_OK;
}

static int report(fh_cli *cli, const cost_options *o, fh_buf *out) {
    uint64_t spent[FH_COST_MAX_OPTIONS][6] = {{0}};
    fh_err err = {0};
    cost_report *c = fh_alloc_zero(1, sizeof *c);
    if (!c) {
        (void)fh_fail_memory(&err, sizeof *c);
        return fh_cli_fail(cli, &err);
    }
    uint64_t now = fh_clock_unix_ms();
    day_text(now, c->today);
    day_text(now - FH_MIN(now, UINT64_C(86400000) * STALE_DAYS), c->stale);
    fh_status st = load(c, o, &err);
    if (st == FH_OK) st = compute(c, spent, &err);
    if (st == FH_OK && o->chart) st = draw(c, o->chart, &err);
    if (st == FH_OK && cli->json) json_report(out, c, (const uint64_t(*)[6])spent);
    if (st == FH_OK && !cli->json) {
        text_workload(out, c);
        for (size_t i = 0; i < c->s.n_option; i++) text_option(out, c, i);
        text_side_by_side(out, c, (const uint64_t(*)[6])spent);
        text_breakeven(out, c);
        text_quality(out, c);
        text_assumptions(out, c);
    }
    int rc = st == FH_OK ? fh_cli_print(cli, out) : fh_cli_fail(cli, &err);
    fh_cost_release(&c->s);
    fh_free(c);
    return rc;
}

static void print_keys(const fh_cli *cli) {
    static const struct {
        unsigned bits;
        const char *title;
    } part[] = {{FH_COST_IN_W, "workload"},
                {FH_COST_IN_H, "kind hosted"},
                {FH_COST_IN_R, "kind rented"},
                {FH_COST_IN_O, "kind owned"}};
    fprintf(
        cli->out,
        "\nA scenario is JSON: {\"name\", \"checked_on\": \"2026-11-21\", \"workload\": {...}, \"options\": [{...}]}.\n"
        "An option has kind (hosted, rented, owned), name, model, quality, hardware, checked_on; hosted also\n"
        "price_model (its name in the price table). A number may be {\"value\", \"checked_on\", \"source\"}.\n");
    for (size_t p = 0; p < FH_COUNT(part); p++) {
        fprintf(cli->out, "\n  %s\n", part[p].title);
        for (size_t k = 0; k < FH_COST_KEY_COUNT; k++) {
            const fh_cost_row *row = fh_cost_row_at((fh_cost_key)k);
            if (row->where & part[p].bits)
                fprintf(cli->out, "    %-22s %-9s %s (default: %s)\n", row->key, row->unit, row->help,
                        !row->def            ? "none"
                        : row->def[0] == '=' ? row->def + 1
                                             : row->def);
        }
    }
}

int fh_cmd_cost(fh_cli *cli) {
    cost_options o = {.example = false};
    const fh_option options[] = {
        {"--example", FH_OPTION_FLAG, &o.example, NULL, "the guide's three options (default: without SCENARIO, yes)"},
        {"--print-scenario", FH_OPTION_FLAG, &o.print, NULL, "print that example as a file to edit (default: no)"},
        {"--set", FH_OPTION_TEXT, &o.set, "K=N,...",
         "other numbers: tokens_month=2e9,3.price_kwh=0.30 (default: none)"},
        {"--prices", FH_OPTION_TEXT, &o.prices, "FILE", "price table of LiteLLM or genai-prices (default: none)"},
        {"--prices-date", FH_OPTION_TEXT, &o.prices_date, "DAY", "day of a table that holds none (default: no date)"},
        {"--chart", FH_OPTION_TEXT, &o.chart, "FILE.svg", "draw it (default: no)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &o.scenario, 1);
    if (rc == FH_CLI_STOP) print_keys(cli);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    if (o.scenario && (o.example || o.print)) {
        (void)fh_fail(&err, FH_ERR_USAGE, "'%s' and the example: one of the two", o.scenario);
        return fh_cli_fail(cli, &err);
    }
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    if (o.print) {
        fh_buf_add_str(&out, fh_cost_example());
        rc = fh_cli_print(cli, &out);
    } else {
        rc = report(cli, &o, &out);
        if (rc == 0 && !o.scenario && !o.example && !cli->json)
            fprintf(cli->err, "freehold: no scenario was given, so this is the guide's example; `freehold cost "
                              "--print-scenario` prints it as a file to edit.\n");
    }
    fh_buf_release(&out);
    return rc;
}
