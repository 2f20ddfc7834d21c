/* route/cost_scenario.c - a scenario: read, overridden, completed.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: an arena with the text of the scenario. Refuses, by name and byte: unknown keys, keys that belong to another
 * kind of option, numbers outside their row's range, days that are none, a scenario without a day. Rows: cost.def. */
#include "route/cost.h"

#include "base/json.h"
#include "base/num.h"
#include "route/money.h"

#define W FH_COST_IN_W
#define H FH_COST_IN_H
#define R FH_COST_IN_R
#define O FH_COST_IN_O
#define RO FH_COST_IN_RO
#define WHOLE true
#define FIXED false
static const fh_cost_row ROWS[FH_COST_KEY_COUNT] = {
#define FH_COST_ROW(id, key, where, kind, unit, def, least, most, date, help) \
    {key, unit, def, least, most, date, help, where, kind},
#include "route/cost.def"
#undef FH_COST_ROW
};
#undef W
#undef H
#undef R
#undef O
#undef RO
#undef WHOLE
#undef FIXED

static const char *const KIND[] = {"hosted", "rented", "owned"};
static const unsigned KIND_BIT[] = {FH_COST_IN_H, FH_COST_IN_R, FH_COST_IN_O};

const char *fh_cost_kind_name(fh_cost_kind k) { return KIND[k]; }
const fh_cost_row *fh_cost_row_at(fh_cost_key k) {
    FH_REQUIRE((size_t)k < FH_COST_KEY_COUNT);
    return &ROWS[k];
}

bool fh_cost_is_date(fh_str s) {
    if (s.len != 10) return false;
    for (size_t i = 0; i < 10; i++)
        if (i == 4 || i == 7 ? s.ptr[i] != '-' : s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    int month = (s.ptr[5] - '0') * 10 + s.ptr[6] - '0', day = (s.ptr[8] - '0') * 10 + s.ptr[9] - '0';
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static bool find_row(fh_str key, fh_cost_key *out) {
    for (size_t i = 0; i < FH_COST_KEY_COUNT; i++) {
        if (!fh_str_is(key, ROWS[i].key)) continue;
        *out = (fh_cost_key)i;
        return true;
    }
    return false;
}

static bool to_number(const fh_cost_row *row, fh_str text, uint64_t *out) {
    return row->whole ? fh_json_text_u64(text, out) : fh_fixed_parse(text, 0, out);
}

static bool in_range(const fh_cost_row *row, uint64_t v) {
    uint64_t least = 0, most = 0;
    FH_REQUIRE(to_number(row, fh_str_of(row->least), &least) && to_number(row, fh_str_of(row->most), &most));
    return v >= least && v <= most;
}

static fh_status take_number(const fh_cost_row *row, fh_str text, uint64_t offset, uint64_t *out, fh_err *err) {
    uint64_t v;
    if (!to_number(row, text, &v) || !in_range(row, v))
        return fh_fail_at(err, FH_ERR_FORMAT, offset, "'%s' is no %snumber from %s to %s", row->key,
                          row->whole ? "whole " : "", row->least, row->most);
    *out = v;
    return FH_OK;
}

/* ---- reading ---- */
static fh_status take_text(fh_cost_scenario *s, const fh_json_node *n, fh_str *out, fh_err *err) {
    fh_str text;
    if (!fh_json_to_str(n, &text))
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'%.*s' is no text", FH_STR_ARG(n->key));
    if (text.len > 200)
        return fh_fail_at(err, FH_ERR_LIMIT, n->offset, "'%.*s' is longer than 200 bytes", FH_STR_ARG(n->key));
    if (!fh_arena_copy(&s->arena, text, out)) return fh_arena_fail(&s->arena, err);
    return FH_OK;
}

static fh_status take_date(fh_cost_scenario *s, const fh_json_node *n, fh_str *out, fh_err *err) {
    fh_str text;
    if (!fh_json_to_str(n, &text) || !fh_cost_is_date(text))
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'checked_on' is no day like 2026-11-21");
    if (!fh_arena_copy(&s->arena, text, out)) return fh_arena_fail(&s->arena, err);
    return FH_OK;
}

/* 3.5, or {"value": 3.5, "checked_on": "2026-05-31", "source": "..."} */
static fh_status take_value(fh_cost_scenario *s, const fh_cost_row *row, const fh_json_node *n, fh_cost_value *out,
                            fh_err *err) {
    const fh_json_node *number = n;
    fh_cost_value v = {.origin = FH_COST_SCENARIO};
    if (n->kind == FH_JSON_OBJECT) {
        number = fh_json_get(n, "value");
        for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
            if (fh_str_is(c->key, "checked_on")) FH_TRY(take_date(s, c, &v.checked_on, err));
            else if (fh_str_is(c->key, "source")) FH_TRY(take_text(s, c, &v.source, err));
            else if (!fh_str_is(c->key, "value"))
                return fh_fail_at(err, FH_ERR_FORMAT, c->offset, "unknown key '%.*s' in '%s'", FH_STR_ARG(c->key),
                                  row->key);
        }
        if (!number) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'%s' has no 'value'", row->key);
    }
    fh_str text = number->kind == FH_JSON_NUMBER ? number->text : (fh_str){NULL, 0};
    FH_TRY(take_number(row, text, number->offset, &v.n, err));
    *out = v;
    return FH_OK;
}

static fh_status read_workload(fh_cost_scenario *s, const fh_json_node *n, fh_err *err) {
    fh_cost_key k;
    if (n->kind != FH_JSON_OBJECT) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'workload' is no object");
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        if (!find_row(c->key, &k) || ROWS[k].where != FH_COST_IN_W)
            return fh_fail_at(err, FH_ERR_FORMAT, c->offset, "unknown key '%.*s' in 'workload'", FH_STR_ARG(c->key));
        FH_TRY(take_value(s, &ROWS[k], c, &s->workload[k], err));
    }
    return FH_OK;
}

static fh_str *text_member(fh_cost_option *o, fh_str key) {
    if (fh_str_is(key, "name")) return &o->name;
    if (fh_str_is(key, "model")) return &o->model;
    if (fh_str_is(key, "quality")) return &o->quality;
    if (fh_str_is(key, "hardware")) return &o->hardware;
    if (fh_str_is(key, "price_model") && o->kind == FH_COST_HOSTED) return &o->price_model;
    return NULL;
}

static fh_status read_kind(const fh_json_node *n, fh_cost_kind *out, fh_err *err) {
    const fh_json_node *kind = fh_json_get(n, "kind");
    fh_str text;
    if (!fh_json_to_str(kind, &text))
        return fh_fail_at(err, FH_ERR_FORMAT, kind ? kind->offset : n->offset, "an option without 'kind'");
    for (size_t i = 0; i < FH_COUNT(KIND); i++) {
        if (!fh_str_is(text, KIND[i])) continue;
        *out = (fh_cost_kind)i;
        return FH_OK;
    }
    return fh_fail_at(err, FH_ERR_FORMAT, kind->offset, "'kind' is '%.*s', not hosted, rented or owned",
                      FH_STR_ARG(text));
}

static fh_status read_option(fh_cost_scenario *s, const fh_json_node *n, fh_cost_option *o, fh_err *err) {
    fh_cost_key k;
    if (n->kind != FH_JSON_OBJECT) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "an option is no object");
    FH_TRY(read_kind(n, &o->kind, err));
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        fh_str *text = text_member(o, c->key);
        if (fh_str_is(c->key, "kind")) continue;
        if (text) FH_TRY(take_text(s, c, text, err));
        else if (fh_str_is(c->key, "checked_on")) FH_TRY(take_date(s, c, &o->checked_on, err));
        else if (!find_row(c->key, &k) || !(ROWS[k].where & KIND_BIT[o->kind]))
            return fh_fail_at(err, FH_ERR_FORMAT, c->offset, "unknown key '%.*s' in an option of kind '%s'",
                              FH_STR_ARG(c->key), KIND[o->kind]);
        else FH_TRY(take_value(s, &ROWS[k], c, &o->value[k], err));
    }
    if (!o->name.len) o->name = o->model.len ? o->model : fh_str_of(KIND[o->kind]);
    return FH_OK;
}

static fh_status read_options(fh_cost_scenario *s, const fh_json_node *n, fh_err *err) {
    if (n->kind != FH_JSON_ARRAY || n->n_child == 0 || n->n_child > FH_COST_MAX_OPTIONS)
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'options' is no array of 1 to %d options",
                          FH_COST_MAX_OPTIONS);
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c)) {
        FH_TRY(read_option(s, c, &s->option[s->n_option], err));
        s->n_option++;
    }
    return FH_OK;
}

static fh_status read_root(fh_cost_scenario *s, const fh_json_node *root, fh_err *err) {
    if (root->kind != FH_JSON_OBJECT)
        return fh_fail_at(err, FH_ERR_FORMAT, root->offset, "a scenario is a JSON object");
    for (const fh_json_node *c = fh_json_first(root); c; c = fh_json_after(root, c)) {
        if (fh_str_is(c->key, "name")) FH_TRY(take_text(s, c, &s->name, err));
        else if (fh_str_is(c->key, "checked_on")) FH_TRY(take_date(s, c, &s->checked_on, err));
        else if (fh_str_is(c->key, "workload")) FH_TRY(read_workload(s, c, err));
        else if (fh_str_is(c->key, "options")) FH_TRY(read_options(s, c, err));
        else return fh_fail_at(err, FH_ERR_FORMAT, c->offset, "unknown key '%.*s' in the scenario", FH_STR_ARG(c->key));
    }
    if (!s->checked_on.len)
        return fh_fail(err, FH_ERR_FORMAT, "'checked_on' is missing: the day on which these numbers were looked up");
    if (!s->n_option) return fh_fail(err, FH_ERR_FORMAT, "'options' is missing");
    return FH_OK;
}

fh_status fh_cost_read(fh_cost_scenario *s, fh_str text, fh_err *err) {
    fh_json *doc = NULL;
    *s = (fh_cost_scenario){.n_option = 0};
    fh_arena_init(&s->arena, text.len * 2 + ((size_t)64 << 10));
    if (text.len > FH_COST_MAX_BYTES)
        return fh_fail(err, FH_ERR_LIMIT, "a scenario of more than %zu bytes", FH_COST_MAX_BYTES);
    FH_TRY(fh_json_parse(&doc, text, NULL, err));
    fh_status st = read_root(s, fh_json_root(doc), err);
    fh_json_free(doc);
    return st;
}

void fh_cost_release(fh_cost_scenario *s) {
    fh_arena_release(&s->arena);
    *s = (fh_cost_scenario){.n_option = 0};
}

/* ---- overriding ---- */
static fh_status set_one(fh_cost_scenario *s, fh_str text, fh_str today, fh_err *err) {
    size_t dot, eq;
    uint64_t only = 0;
    fh_cost_key k;
    if (!fh_str_find(text, '=', &eq)) return fh_fail(err, FH_ERR_USAGE, "'%.*s' is no KEY=NUMBER", FH_STR_ARG(text));
    fh_str key = fh_str_first(text, eq), number = fh_str_drop(text, eq + 1);
    if (fh_str_find(key, '.', &dot)) {
        if (!fh_str_u64(fh_str_first(key, dot), &only) || only < 1 || only > s->n_option)
            return fh_fail(err, FH_ERR_USAGE, "'%.*s': options go from 1 to %zu", FH_STR_ARG(key), s->n_option);
        key = fh_str_drop(key, dot + 1);
    }
    if (!find_row(key, &k)) return fh_fail(err, FH_ERR_USAGE, "unknown key '%.*s'", FH_STR_ARG(key));
    fh_cost_value v = {.origin = FH_COST_SET, .checked_on = today};
    if (take_number(&ROWS[k], number, FH_NO_OFFSET, &v.n, err) != FH_OK) {
        return fh_fail(err, FH_ERR_USAGE, "'%s' is '%.*s', not a %snumber from %s to %s", ROWS[k].key,
                       FH_STR_ARG(number), ROWS[k].whole ? "whole " : "", ROWS[k].least, ROWS[k].most);
    }
    size_t n_set = 0;
    if (ROWS[k].where == FH_COST_IN_W && !only) s->workload[k] = v, n_set++;
    for (size_t i = 0; i < s->n_option; i++) {
        if ((only && only != i + 1) || !(ROWS[k].where & KIND_BIT[s->option[i].kind])) continue;
        s->option[i].value[k] = v;
        n_set++;
    }
    if (!n_set) return fh_fail(err, FH_ERR_USAGE, "'%s' belongs to no such option", ROWS[k].key);
    return FH_OK;
}

fh_status fh_cost_set(fh_cost_scenario *s, fh_str assignments, fh_str today, fh_err *err) {
    fh_str day;
    if (!fh_arena_copy(&s->arena, today, &day)) return fh_arena_fail(&s->arena, err);
    for (;;) {
        size_t comma;
        bool more = fh_str_find(assignments, ',', &comma);
        FH_TRY(set_one(s, more ? fh_str_first(assignments, comma) : assignments, day, err));
        if (!more) return FH_OK;
        assignments = fh_str_drop(assignments, comma + 1);
    }
}

/* ---- the table's prices ---- */
static void from_table(fh_cost_option *o, fh_cost_key k, uint64_t n, fh_str day, fh_str source) {
    if (o->value[k].origin != FH_COST_UNSET) return;
    o->value[k] = (fh_cost_value){.n = n, .origin = FH_COST_TABLE, .checked_on = day, .source = source};
}

fh_status fh_cost_use_prices(fh_cost_scenario *s, const fh_prices *prices, fh_str prices_on, fh_err *err) {
    for (size_t i = 0; i < s->n_option; i++) {
        fh_cost_option *o = &s->option[i];
        const fh_price *p;
        fh_str day, source;
        char text[256];
        bool complete = o->value[FH_COST_PRICE_INPUT].origin && o->value[FH_COST_PRICE_OUTPUT].origin;
        if (!o->price_model.len || complete) continue;
        if (!prices)
            return fh_fail(err, FH_ERR_USAGE, "the prices of '%.*s' are in no table: --prices FILE names one",
                           FH_STR_ARG(o->price_model));
        FH_TRY(fh_prices_find(prices, o->price_model, &p, err));
        if (p->input > FH_FIXED_ONE * 1000000 || p->output > FH_FIXED_ONE * 1000000 ||
            p->cached > FH_FIXED_ONE * 1000000)
            return fh_fail(err, FH_ERR_LIMIT, "'%.*s' costs more than 1000000 dollars per million tokens in the table",
                           FH_STR_ARG(o->price_model));
        int n = snprintf(text, sizeof text, "%s, %.*s%s%s", fh_prices_format(prices), (int)FH_MIN(p->name.len, 120),
                         p->name.ptr, p->tiered ? "; more for long prompts" : "", p->by_hour ? "; dearest hour" : "");
        fh_str whole = {text, n > 0 ? FH_MIN((size_t)n, sizeof text - 1) : 0};
        if (!fh_arena_copy(&s->arena, p->checked_on.len ? p->checked_on : prices_on, &day) ||
            !fh_arena_copy(&s->arena, whole, &source))
            return fh_arena_fail(&s->arena, err);
        from_table(o, FH_COST_PRICE_INPUT, p->input, day, source);
        from_table(o, FH_COST_PRICE_OUTPUT, p->output, day, source);
        if (p->has_cached) from_table(o, FH_COST_PRICE_CACHED, p->cached, day, source);
    }
    return FH_OK;
}

/* ---- completing ---- */
static fh_status fill(const fh_cost_scenario *s, fh_cost_key k, fh_cost_value *values, fh_str name, fh_str day,
                      fh_err *err) {
    const fh_cost_row *row = &ROWS[k];
    fh_cost_value *v = &values[k];
    fh_cost_key other;
    if (v->origin == FH_COST_UNSET && !row->def)
        return fh_fail(err, FH_ERR_FORMAT, "'%s' is missing in '%.*s': %s", row->key, FH_STR_ARG(name), row->help);
    if (v->origin == FH_COST_UNSET && row->def[0] == '=') {
        bool known = find_row(fh_str_of(row->def + 1), &other);
        FH_REQUIRE(known);
        *v = ROWS[other].where == FH_COST_IN_W ? s->workload[other] : values[other];
        v->origin = FH_COST_DEFAULT;
        v->source = fh_str_of(row->def);
        if (!in_range(row, v->n))
            return fh_fail(err, FH_ERR_FORMAT, "'%s' of '%.*s' %s is above %s", row->key, FH_STR_ARG(name), row->def,
                           row->most);
        return FH_OK; /* with the day of what it follows */
    }
    if (v->origin == FH_COST_UNSET) {
        bool number = to_number(row, fh_str_of(row->def), &v->n);
        FH_REQUIRE(number);
        v->origin = FH_COST_DEFAULT;
        v->checked_on = fh_str_of(row->date);
    }
    if (!v->checked_on.len && v->origin != FH_COST_TABLE) v->checked_on = day;
    return FH_OK;
}

static fh_status not_above(const fh_cost_option *o, fh_cost_key small, const fh_cost_value *large, fh_cost_key key,
                           fh_err *err) {
    if (o->value[small].n <= large->n) return FH_OK;
    return fh_fail(err, FH_ERR_FORMAT, "'%s' of '%.*s' is above '%s'", ROWS[small].key, FH_STR_ARG(o->name),
                   ROWS[key].key);
}

fh_status fh_cost_complete(fh_cost_scenario *s, fh_err *err) {
    for (size_t k = 0; k < FH_COST_KEY_COUNT; k++)
        if (ROWS[k].where == FH_COST_IN_W)
            FH_TRY(fill(s, (fh_cost_key)k, s->workload, FH_STR("workload"), s->checked_on, err));
    for (size_t i = 0; i < s->n_option; i++) {
        fh_cost_option *o = &s->option[i];
        fh_str day = o->checked_on.len ? o->checked_on : s->checked_on;
        for (size_t k = 0; k < FH_COST_KEY_COUNT; k++)
            if (ROWS[k].where & KIND_BIT[o->kind]) FH_TRY(fill(s, (fh_cost_key)k, o->value, o->name, day, err));
        if (o->kind == FH_COST_RENTED)
            FH_TRY(not_above(o, FH_COST_HOURS_ON, &s->workload[FH_COST_HOURS], FH_COST_HOURS, err));
        if (o->kind == FH_COST_OWNED) {
            FH_TRY(not_above(o, FH_COST_RESALE, &o->value[FH_COST_CAPEX], FH_COST_CAPEX, err));
            FH_TRY(not_above(o, FH_COST_IDLE_KW, &o->value[FH_COST_LOAD_KW], FH_COST_LOAD_KW, err));
        }
    }
    return FH_OK;
}
