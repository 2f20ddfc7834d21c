/* route/prices.c - two published price tables read as they are.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: an arena with the names, a growing array with the prices. Refuses: what is neither of the two shapes, a price
 * that is no number, is negative or above 10^9 dollars per million tokens, a table without a single usable entry.
 * Unknown members are skipped: both tables grow new ones every month. Memory is bounded by the length of the text. */
#include "route/prices.h"

#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "route/money.h"

#define MAX_PRICES ((size_t)1 << 20)

struct fh_prices {
    fh_arena arena;
    fh_price *item; /* [n], room for cap */
    size_t n, cap, n_left_out;
    const char *format;
};

typedef struct reading {
    fh_json_reader json;
    fh_prices *into;
    fh_str on;
    fh_err *err;
} reading;

/* One entry while it is read. */
typedef struct entry {
    uint64_t input, cached, output;
    bool has_input, has_cached, has_output, tiered, by_hour;
} entry;

static fh_status next(reading *r, fh_json_event *ev) { return fh_json_next(&r->json, ev, r->err); }
static fh_status skip(reading *r, const fh_json_event *ev) { return fh_json_skip(&r->json, ev, r->err); }

static fh_status refuse(reading *r, const fh_json_event *ev, const char *what) {
    return fh_fail_at(r->err, FH_ERR_FORMAT, ev->offset, "%s", what);
}

/* ---- the list ---- */
static fh_status add_price(reading *r, fh_str provider, fh_str prefix, fh_str name, fh_str checked, const entry *e) {
    fh_prices *p = r->into;
    if (!e->has_input || !e->has_output) {
        p->n_left_out++;
        return FH_OK;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 256;
        if (cap > MAX_PRICES) return fh_fail(r->err, FH_ERR_LIMIT, "more than %zu prices", MAX_PRICES);
        fh_price *more = fh_realloc(p->item, cap, sizeof *more);
        if (!more) return fh_fail_memory(r->err, cap * sizeof *more);
        p->item = more;
        p->cap = cap;
    }
    fh_price v = {.input = e->input, .output = e->output, .has_cached = e->has_cached};
    v.cached = e->has_cached ? e->cached : e->input;
    v.tiered = e->tiered;
    v.by_hour = e->by_hour;
    if (!fh_arena_copy(&p->arena, provider, &v.provider) || !fh_arena_copy(&p->arena, checked, &v.checked_on))
        return fh_arena_fail(&p->arena, r->err);
    size_t len = prefix.len ? prefix.len + 1 + name.len : name.len;
    char *full = fh_arena_alloc(&p->arena, len + 1, 1);
    if (!full) return fh_arena_fail(&p->arena, r->err);
    if (prefix.len) {
        memcpy(full, prefix.ptr, prefix.len);
        full[prefix.len] = '/';
    }
    if (name.len) memcpy(full + (len - name.len), name.ptr, name.len);
    v.name = (fh_str){full, len};
    p->item[p->n++] = v;
    return FH_OK;
}

/* A price that may be there as a number or as null; shift turns the file's unit into dollars per million. */
static fh_status take_price(reading *r, const fh_json_event *ev, int shift, uint64_t *out, bool *has) {
    if (ev->kind == FH_JSON_NULL) return FH_OK;
    if (ev->kind != FH_JSON_NUMBER || !fh_fixed_parse(ev->text, shift, out) || *out > FH_FIXED_ONE * FH_FIXED_ONE)
        return refuse(r, ev, "a price is no number between 0 and 10^9 dollars per million tokens");
    *has = true;
    return FH_OK;
}

/* Copies a short string out of the reader's buffer; a longer one counts as absent. */
static bool keep(const fh_json_event *ev, char *out, size_t size) {
    return ev->kind == FH_JSON_STRING && fh_str_copy(out, size, ev->text);
}

/* ---- LiteLLM ---- */
static fh_status litellm_member(reading *r, fh_str key, const fh_json_event *ev, entry *e, char *provider, size_t size,
                                bool *spec) {
    if (fh_str_is(key, "input_cost_per_token")) return take_price(r, ev, 6, &e->input, &e->has_input);
    if (fh_str_is(key, "output_cost_per_token")) return take_price(r, ev, 6, &e->output, &e->has_output);
    if (fh_str_is(key, "cache_read_input_token_cost")) return take_price(r, ev, 6, &e->cached, &e->has_cached);
    if (fh_str_is(key, "litellm_provider")) *spec = !keep(ev, provider, size);
    if (fh_str_starts(key, "input_cost_per_token_above_") || fh_str_is(key, "tiered_pricing")) e->tiered = true;
    return skip(r, ev);
}

static fh_status litellm_entry(reading *r, fh_str name) {
    entry e = {0};
    char provider[128] = "", key[128];
    bool spec = true; /* no provider: sample_spec and its like are no models */
    fh_json_event ev;
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind != FH_JSON_KEY) break;
        if (!fh_str_copy(key, sizeof key, ev.text)) key[0] = '\0';
        FH_TRY(next(r, &ev));
        FH_TRY(litellm_member(r, fh_str_of(key), &ev, &e, provider, sizeof provider, &spec));
    }
    if (spec || fh_str_is(name, "sample_spec")) return FH_OK;
    return add_price(r, fh_str_of(provider), (fh_str){NULL, 0}, name, (fh_str){NULL, 0}, &e);
}

static fh_status litellm(reading *r) {
    fh_json_event ev;
    char name[512];
    r->into->format = "LiteLLM";
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        bool named = fh_str_copy(name, sizeof name, ev.text);
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT && named) FH_TRY(litellm_entry(r, fh_str_of(name)));
        else FH_TRY(skip(r, &ev));
    }
}

/* ---- genai-prices ---- */
/* {"base": 3, "tiers": [...]}: the base, and a note that there is more. */
static fh_status tiers(reading *r, uint64_t *out, bool *has, bool *tiered) {
    fh_json_event ev;
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        bool base = fh_str_is(ev.text, "base");
        FH_TRY(next(r, &ev));
        if (base) FH_TRY(take_price(r, &ev, 0, out, has));
        else FH_TRY(skip(r, &ev));
    }
    *tiered = true;
    return FH_OK;
}

/* {"input_mtok": 1.74, "cache_read_mtok": 0.145, "output_mtok": 3.48} */
static fh_status genai_rates(reading *r, entry *e) {
    fh_json_event ev;
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        uint64_t *to = NULL;
        bool *has = NULL;
        if (fh_str_is(ev.text, "input_mtok")) to = &e->input, has = &e->has_input;
        if (fh_str_is(ev.text, "output_mtok")) to = &e->output, has = &e->has_output;
        if (fh_str_is(ev.text, "cache_read_mtok")) to = &e->cached, has = &e->has_cached;
        FH_TRY(next(r, &ev));
        if (!to) FH_TRY(skip(r, &ev));
        else if (ev.kind == FH_JSON_OBJECT) FH_TRY(tiers(r, to, has, &e->tiered));
        else FH_TRY(take_price(r, &ev, 0, to, has));
    }
}

typedef struct constraint {
    char start[16];
    bool by_date, by_hour, unknown;
} constraint;

static fh_status genai_constraint(reading *r, constraint *c) {
    fh_json_event ev;
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        bool date = fh_str_is(ev.text, "start_date");
        bool hour = fh_str_is(ev.text, "start_time") || fh_str_is(ev.text, "end_time");
        FH_TRY(next(r, &ev));
        if (date) c->by_date = true;
        if (date && !keep(&ev, c->start, sizeof c->start)) return refuse(r, &ev, "'start_date' is no date");
        if (hour) c->by_hour = true;
        if (!date && !hour) c->unknown = true;
        FH_TRY(skip(r, &ev));
    }
}

/* Of several prices the last one that holds counts; by the hour, the dearest: an estimate should not flatter. A price
 * bound to a condition that nobody here knows does not count. */
static void choose(const reading *r, entry *e, const entry *offer, const constraint *c) {
    if (c->unknown || (c->by_date && fh_str_cmp(fh_str_of(c->start), r->on) > 0)) return;
    if (!c->by_hour) {
        *e = *offer;
        return;
    }
    bool dearer = !e->has_input || offer->input > e->input || offer->output > e->output;
    if (dearer) *e = *offer;
    e->by_hour = true;
}

static fh_status genai_price_list(reading *r, entry *e) {
    fh_json_event ev;
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (ev.kind != FH_JSON_OBJECT) return refuse(r, &ev, "an element of 'prices' is no object");
        entry offer = {0};
        constraint c = {.by_date = false};
        for (;;) {
            FH_TRY(next(r, &ev));
            if (ev.kind == FH_JSON_OBJECT_END) break;
            bool rates = fh_str_is(ev.text, "prices"), bound = fh_str_is(ev.text, "constraint");
            FH_TRY(next(r, &ev));
            if (rates && ev.kind == FH_JSON_OBJECT) FH_TRY(genai_rates(r, &offer));
            else if (bound && ev.kind == FH_JSON_OBJECT) FH_TRY(genai_constraint(r, &c));
            else FH_TRY(skip(r, &ev));
        }
        choose(r, e, &offer, &c);
    }
}

static fh_status genai_model(reading *r, const char *provider) {
    entry e = {0};
    fh_json_event ev;
    char id[512] = "", checked[16] = "";
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        bool is_id = fh_str_is(ev.text, "id"), is_prices = fh_str_is(ev.text, "prices");
        bool is_checked = fh_str_is(ev.text, "prices_checked");
        FH_TRY(next(r, &ev));
        if (is_id && !keep(&ev, id, sizeof id)) return refuse(r, &ev, "'id' of a model is no short string");
        if (is_checked && !keep(&ev, checked, sizeof checked)) checked[0] = '\0';
        if (is_prices && ev.kind == FH_JSON_OBJECT) FH_TRY(genai_rates(r, &e));
        else if (is_prices && ev.kind == FH_JSON_ARRAY) FH_TRY(genai_price_list(r, &e));
        else FH_TRY(skip(r, &ev));
    }
    if (!id[0]) return refuse(r, &ev, "a model without 'id'");
    return add_price(r, fh_str_of(provider), fh_str_of(provider), fh_str_of(id), fh_str_of(checked), &e);
}

static fh_status genai_provider(reading *r) {
    fh_json_event ev;
    char id[128] = "";
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        bool is_id = fh_str_is(ev.text, "id"), is_models = fh_str_is(ev.text, "models");
        FH_TRY(next(r, &ev));
        if (is_id && !keep(&ev, id, sizeof id)) return refuse(r, &ev, "'id' of a provider is no short string");
        if (!is_models || ev.kind != FH_JSON_ARRAY) {
            FH_TRY(skip(r, &ev));
            continue;
        }
        if (!id[0]) return refuse(r, &ev, "'models' before the 'id' of their provider");
        for (;;) {
            FH_TRY(next(r, &ev));
            if (ev.kind == FH_JSON_ARRAY_END) break;
            if (ev.kind != FH_JSON_OBJECT) return refuse(r, &ev, "an element of 'models' is no object");
            FH_TRY(genai_model(r, id));
        }
    }
}

static fh_status genai(reading *r) {
    fh_json_event ev;
    r->into->format = "genai-prices";
    for (;;) {
        FH_TRY(next(r, &ev));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (ev.kind != FH_JSON_OBJECT) return refuse(r, &ev, "an element of the table is no provider");
        FH_TRY(genai_provider(r));
    }
}

/* ---- the table ---- */
static fh_status read_table(reading *r) {
    fh_json_event ev;
    FH_TRY(next(r, &ev));
    if (ev.kind == FH_JSON_OBJECT) FH_TRY(litellm(r));
    else if (ev.kind == FH_JSON_ARRAY) FH_TRY(genai(r));
    else return refuse(r, &ev, "a price table is a JSON object (LiteLLM) or array (genai-prices)");
    FH_TRY(next(r, &ev)); /* nothing may follow */
    if (r->into->n == 0) return fh_fail(r->err, FH_ERR_FORMAT, "a price table without a single price for tokens");
    return FH_OK;
}

fh_status fh_prices_parse(fh_prices **out, fh_str text, fh_str on, fh_err *err) {
    if (text.len > FH_PRICES_MAX_BYTES)
        return fh_fail(err, FH_ERR_LIMIT, "a price table of more than %zu bytes", FH_PRICES_MAX_BYTES);
    fh_prices *p = fh_alloc_zero(1, sizeof *p);
    if (!p) return fh_fail_memory(err, sizeof *p);
    /* a name is in the text once; its arena blocks round up to 16 and a provider's name repeats */
    fh_arena_init(&p->arena, text.len * 4 + ((size_t)1 << 20));
    reading r = {.into = p, .on = on, .err = err};
    fh_json_reader_init(&r.json, text);
    fh_status st = read_table(&r);
    fh_json_reader_release(&r.json);
    if (st == FH_OK) *out = p;
    else fh_prices_free(p);
    return st;
}

fh_status fh_prices_open(fh_prices **out, const char *path, fh_str on, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, FH_PRICES_MAX_BYTES);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_prices_parse(out, fh_buf_str(&text), on, err);
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    return st;
}

void fh_prices_free(fh_prices *p) {
    if (!p) return;
    fh_free(p->item);
    fh_arena_release(&p->arena);
    fh_free(p);
}

size_t fh_prices_n(const fh_prices *p) { return p->n; }
size_t fh_prices_n_left_out(const fh_prices *p) { return p->n_left_out; }
const char *fh_prices_format(const fh_prices *p) { return p->format; }
const fh_price *fh_prices_at(const fh_prices *p, size_t i) {
    FH_REQUIRE(i < p->n);
    return &p->item[i];
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool contains(fh_str s, fh_str part) {
    for (size_t i = 0; part.len && i + part.len <= s.len; i++) {
        size_t k = 0;
        while (k < part.len && lower(s.ptr[i + k]) == lower(part.ptr[k])) k++;
        if (k == part.len) return true;
    }
    return false;
}

fh_status fh_prices_find(const fh_prices *p, fh_str name, const fh_price **out, fh_err *err) {
    char like[320] = "";
    size_t used = 0, n_like = 0;
    for (size_t i = p->n; i-- > 0;) {
        if (!fh_str_eq(p->item[i].name, name)) continue;
        *out = &p->item[i];
        return FH_OK;
    }
    /* what somebody typed without its provider is found by its last part */
    fh_str tail = name;
    for (size_t at; fh_str_find(tail, '/', &at);) tail = fh_str_drop(tail, at + 1);
    for (size_t i = 0; i < p->n && n_like < 4; i++) {
        if (!contains(p->item[i].name, tail) || p->item[i].name.len > 70) continue;
        int n = snprintf(like + used, sizeof like - used, "%s '%.*s'", n_like ? "," : "; there are",
                         FH_STR_ARG(p->item[i].name));
        used += n > 0 ? (size_t)n : 0;
        n_like++;
    }
    return fh_fail(err, FH_ERR_NOT_FOUND, "the price table has no model '%.*s'%s", FH_STR_ARG(name), like);
}
