/* format/hf_rope.c - rotary settings, normalized.
 * SPDX-License-Identifier: Apache-2.0
 * Two sources: `in`, the object with the settings of one entry (may be NULL), and `out`, the config
 * around it. Every number of an entry is one row of a table: where it goes, its bit, its range, and
 * its names inside.
 * Refuses: values of the wrong kind, not finite or out of range; types that are not known; llama3
 * without its frequency factors or with equal ones; longrope without its lists; more than
 * FH_ROPE_MAX_ENTRIES layer kinds. */
#include "format/hf_rope.h"

#include "base/num.h"

typedef struct reading {
    const fh_hf_view *config;
    fh_arena *arena;
    fh_hf_ropes *r;
    fh_err *err;
} reading;

/* Where the theta of sliding layers stands in older configs. */
#define LOCAL_THETA "rope_local_base_freq|local_rope_theta|swa_rope_theta"
#define GLOBAL_THETA "rope_theta|rotary_emb_base|global_rope_theta|rope_base"
#define OUTER_PARTIAL "partial_rotary_factor|rotary_pct|rope_pct|rope_percent"

/* ---- types and scopes ---- */

static const struct {
    const char *name;
    fh_rope_type type;
} TYPES[] = {
    {"default", FH_ROPE_DEFAULT},   {"linear", FH_ROPE_LINEAR},
    {"dynamic", FH_ROPE_DYNAMIC},   {"yarn", FH_ROPE_YARN},
    {"longrope", FH_ROPE_LONGROPE}, {"su", FH_ROPE_LONGROPE},
    {"llama3", FH_ROPE_LLAMA3},     {"proportional", FH_ROPE_PROPORTIONAL},
    {"mrope", FH_ROPE_DEFAULT}, /* the sections say the rest */
    {"axial", FH_ROPE_DEFAULT}, /* text layers of such models rotate in the plain way */
    {"none", FH_ROPE_DEFAULT},      {"ntk", FH_ROPE_DYNAMIC},
};

const char *fh_rope_type_name(fh_rope_type t) {
    if (t == FH_ROPE_NONE) return "none";
    for (size_t i = 0; i < FH_COUNT(TYPES); i++)
        if (TYPES[i].type == t) return TYPES[i].name;
    return "unknown";
}

static fh_rope_scope scope_of(fh_str label) {
    static const struct {
        const char *label;
        fh_rope_scope scope;
    } scopes[] = {{"full_attention", FH_ROPE_FULL},       {"global", FH_ROPE_FULL},
                  {"sliding_attention", FH_ROPE_SLIDING}, {"local", FH_ROPE_SLIDING},
                  {"compress", FH_ROPE_COMPRESS},         {"main", FH_ROPE_MAIN}};
    for (size_t i = 0; i < FH_COUNT(scopes); i++)
        if (fh_str_is(label, scopes[i].label)) return scopes[i].scope;
    return FH_ROPE_OTHER;
}

const fh_hf_rope *fh_hf_ropes_find(const fh_hf_ropes *r, fh_rope_scope scope) {
    const fh_hf_rope *all = NULL;
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->item[i].scope == scope) return &r->item[i];
        if (r->item[i].scope == FH_ROPE_ALL) all = &r->item[i];
    }
    return all;
}

/* ---- numbers ---- */

typedef struct number_row {
    const char *names;
    size_t at; /* of a double in fh_hf_rope */
    uint32_t bit;
    double least, most;
} number_row;

#define AT(field) offsetof(fh_hf_rope, field)
static const number_row NUMBERS[] = {
    {"rope_theta", AT(theta), FH_ROPE_HAS_THETA, 1e-6, 1e15},
    {"factor", AT(factor), FH_ROPE_HAS_FACTOR, 1e-6, 1e9},
    {"beta_fast", AT(beta_fast), FH_ROPE_HAS_BETA_FAST, 0, 1e9},
    {"beta_slow", AT(beta_slow), FH_ROPE_HAS_BETA_SLOW, 0, 1e9},
    {"mscale", AT(mscale), FH_ROPE_HAS_MSCALE, 0, 1e9},
    {"mscale_all_dim", AT(mscale_all_dim), FH_ROPE_HAS_MSCALE_ALL_DIM, 0, 1e9},
    {"attention_factor", AT(attention_factor), FH_ROPE_HAS_ATTENTION_FACTOR, 0, 1e9},
    {"low_freq_factor", AT(low_freq_factor), FH_ROPE_HAS_LOW_FREQ, 1e-6, 1e9},
    {"high_freq_factor", AT(high_freq_factor), FH_ROPE_HAS_HIGH_FREQ, 1e-6, 1e9},
    {"partial_rotary_factor", AT(partial), FH_ROPE_HAS_PARTIAL, 0, 1},
    {"short_mscale", AT(short_mscale), FH_ROPE_HAS_SHORT_MSCALE, 0, 1e9},
    {"long_mscale", AT(long_mscale), FH_ROPE_HAS_LONG_MSCALE, 0, 1e9},
    {"alpha", AT(alpha), FH_ROPE_HAS_ALPHA, 1e-6, 1e9},
    {"llama_4_scaling_beta", AT(temperature_beta), FH_ROPE_HAS_TEMPERATURE_BETA, -1e9, 1e9},
};

static double *number_at(fh_hf_rope *e, size_t at) { return (double *)(void *)((char *)e + at); }

/* A number beside the settings, unless the entry has it already or the config has a list there. */
static fh_status outer_number(const reading *in, const char *names, const number_row *row, fh_hf_rope *e) {
    fh_hf_hit hit;
    if (e->has & row->bit || fh_hf_find(in->config, names, &hit) != FH_HF_PRESENT) return FH_OK;
    if (fh_json_is(hit.node, FH_JSON_ARRAY)) return FH_OK;
    FH_TRY(fh_hf_check_f64(in->config, &hit, row->least, row->most, number_at(e, row->at), in->err));
    e->has |= row->bit;
    return FH_OK;
}

static fh_status read_numbers(const reading *in, const fh_hf_view *view, fh_hf_rope *e) {
    for (size_t i = 0; i < FH_COUNT(NUMBERS); i++) {
        const number_row *row = &NUMBERS[i];
        fh_hf_state state;
        double x = 0;
        FH_TRY(fh_hf_get_f64(view, row->names, row->least, row->most, &state, &x, in->err));
        if (state != FH_HF_PRESENT) continue;
        *number_at(e, row->at) = x;
        e->has |= row->bit;
    }
    return FH_OK;
}

/* A list of numbers above or equal to least, or absent (*n 0). */
static fh_status read_list(const reading *in, const fh_hf_view *view, const char *names, double least, double most,
                           const double **out, uint32_t *n) {
    fh_hf_hit hit;
    if (fh_hf_find(view, names, &hit) != FH_HF_PRESENT) return FH_OK;
    const fh_json_node *list = hit.node;
    if (!fh_json_is(list, FH_JSON_ARRAY) || list->n_child > FH_ROPE_MAX_FACTORS)
        return fh_hf_fail(view, &hit, "a list of at most 4096 numbers", in->err);
    double *item = fh_arena_alloc(in->arena, list->n_child, sizeof *item);
    if (!item) return fh_arena_fail(in->arena, in->err);
    uint32_t k = 0;
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        hit.node = c;
        FH_TRY(fh_hf_check_f64(view, &hit, least, most, &item[k++], in->err));
    }
    *out = item;
    *n = k;
    return FH_OK;
}

static fh_status read_sections(const reading *in, const fh_hf_view *view, fh_hf_rope *e) {
    fh_hf_hit hit;
    fh_hf_state state;
    FH_TRY(fh_hf_get_bool(view, "mrope_interleaved", &state, &e->section_interleaved, in->err));
    if (fh_hf_find(view, "mrope_section", &hit) != FH_HF_PRESENT) return FH_OK;
    const fh_json_node *list = hit.node;
    if (!fh_json_is(list, FH_JSON_ARRAY) || list->n_child > FH_ROPE_MAX_SECTIONS)
        return fh_hf_fail(view, &hit, "a list of at most 4 numbers", in->err);
    for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
        uint64_t x;
        hit.node = c;
        FH_TRY(fh_hf_check_u64(view, &hit, 0, 65536, &x, in->err));
        e->section[e->n_section++] = (uint32_t)x;
    }
    return FH_OK;
}

/* ---- one entry ---- */

static fh_status read_type(const reading *in, const fh_hf_view *view, fh_hf_rope *e) {
    fh_hf_state state;
    fh_hf_hit hit;
    fh_str name;
    e->type = FH_ROPE_DEFAULT;
    FH_TRY(fh_hf_get_str(view, "rope_type|type", &state, &name, in->err));
    if (state != FH_HF_PRESENT) return FH_OK;
    e->type = FH_ROPE_UNKNOWN;
    e->type_text = name;
    for (size_t i = 0; i < FH_COUNT(TYPES); i++) {
        if (!fh_str_is(name, TYPES[i].name)) continue;
        e->type = TYPES[i].type;
        /* The first Phi-3 files call longrope "su" or "yarn". */
        if (e->type == FH_ROPE_YARN && fh_hf_find(view, "short_factor", &hit) == FH_HF_PRESENT)
            e->type = FH_ROPE_LONGROPE;
        return FH_OK;
    }
    return FH_OK;
}

static fh_status read_inner(const reading *in, const fh_hf_view *view, fh_hf_rope *e) {
    fh_hf_state state;
    uint64_t original;
    bool truncate;
    FH_TRY(read_type(in, view, e));
    FH_TRY(read_numbers(in, view, e));
    FH_TRY(fh_hf_get_u64(view, "original_max_position_embeddings", 1, INT32_MAX, &state, &original, in->err));
    if (state == FH_HF_PRESENT) {
        e->original_max_position = (uint32_t)original;
        e->has |= FH_ROPE_HAS_ORIGINAL;
    }
    FH_TRY(fh_hf_get_bool(view, "truncate", &state, &truncate, in->err));
    if (state == FH_HF_PRESENT) {
        e->truncate = truncate;
        e->has |= FH_ROPE_HAS_TRUNCATE;
    }
    FH_TRY(read_list(in, view, "short_factor", 1e-6, 1e9, &e->short_factor, &e->n_short));
    FH_TRY(read_list(in, view, "long_factor", 1e-6, 1e9, &e->long_factor, &e->n_long));
    return read_sections(in, view, e);
}

static bool uses_original(fh_rope_type t) { return t == FH_ROPE_YARN || t == FH_ROPE_LONGROPE || t == FH_ROPE_LLAMA3; }

/* What stands beside the settings. flat: they are not one of several. */
static fh_status read_outer(const reading *in, const char *theta_names, bool flat, fh_hf_rope *e) {
    fh_hf_state state;
    uint64_t n;
    FH_TRY(outer_number(in, theta_names, &NUMBERS[0], e));
    for (size_t i = 0; i < FH_COUNT(NUMBERS); i++)
        if (NUMBERS[i].bit == FH_ROPE_HAS_PARTIAL) FH_TRY(outer_number(in, OUTER_PARTIAL, &NUMBERS[i], e));
    FH_TRY(fh_hf_get_u64(in->config, "rotary_dim", 0, 65536, &state, &n, in->err));
    if (state == FH_HF_PRESENT) {
        e->rotary_dim = (uint32_t)n;
        e->has |= FH_ROPE_HAS_ROTARY_DIM;
    }
    if (!uses_original(e->type)) return FH_OK;
    FH_TRY(fh_hf_get_u64(in->config, "original_max_position_embeddings", 1, INT32_MAX, &state, &n, in->err));
    if (state == FH_HF_PRESENT && (flat || !(e->has & FH_ROPE_HAS_ORIGINAL))) {
        e->original_max_position = (uint32_t)n;
        e->has |= FH_ROPE_HAS_ORIGINAL;
    }
    return FH_OK;
}

/* The values that follow from others, and what a type cannot do without. */
static fh_status derive(const reading *in, const fh_json_node *where, fh_hf_rope *e) {
    fh_hf_state state;
    uint64_t most = 0;
    const char *lacks = NULL;
    FH_TRY(fh_hf_get_u64(in->config, "max_position_embeddings|n_positions|n_ctx|seq_length", 1, INT32_MAX, &state,
                         &most, in->err));
    if (uses_original(e->type) && !(e->has & FH_ROPE_HAS_ORIGINAL)) e->original_max_position = (uint32_t)most;
    bool by_length = e->type == FH_ROPE_YARN || e->type == FH_ROPE_LONGROPE;
    if (!(e->has & FH_ROPE_HAS_FACTOR)) {
        e->factor = 1;
        if (by_length && most > 0 && e->original_max_position > 0)
            e->factor = (double)most / (double)e->original_max_position;
    }
    if (e->beta_fast == 0) e->beta_fast = 32;
    if (e->beta_slow == 0) e->beta_slow = 1;
    bool has_factor = e->has & FH_ROPE_HAS_FACTOR;
    if (e->type == FH_ROPE_LINEAR && !has_factor) lacks = "factor";
    if (e->type == FH_ROPE_DYNAMIC && !has_factor && !(e->has & FH_ROPE_HAS_ALPHA)) lacks = "factor";
    if (e->type == FH_ROPE_LLAMA3 && !has_factor) lacks = "factor";
    if (e->type == FH_ROPE_LLAMA3 && !(e->has & FH_ROPE_HAS_LOW_FREQ)) lacks = "low_freq_factor";
    if (e->type == FH_ROPE_LLAMA3 && !(e->has & FH_ROPE_HAS_HIGH_FREQ)) lacks = "high_freq_factor";
    if (e->type == FH_ROPE_LONGROPE && e->n_short == 0) lacks = "short_factor";
    if (e->type == FH_ROPE_LONGROPE && e->n_long == 0) lacks = "long_factor";
    if (uses_original(e->type) && e->original_max_position == 0) lacks = "original_max_position_embeddings";
    uint64_t offset = where ? where->offset : FH_NO_OFFSET;
    if (lacks)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "config.json: rope type '%s' without '%s'",
                          fh_rope_type_name(e->type), lacks);
    if (e->type == FH_ROPE_LLAMA3 && e->high_freq_factor <= e->low_freq_factor)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset,
                          "config.json: 'high_freq_factor' should be above 'low_freq_factor'");
    return FH_OK;
}

/* inner: the object with the settings, or NULL. */
static fh_status add_entry(const reading *in, fh_rope_scope scope, fh_str label, const fh_json_node *inner, fh_str path,
                           const char *theta_names, bool flat) {
    fh_hf_ropes *r = in->r;
    if (r->n == FH_ROPE_MAX_ENTRIES)
        return fh_fail_at(in->err, FH_ERR_LIMIT, inner ? inner->offset : FH_NO_OFFSET,
                          "config.json: rope settings for more than %d kinds of layers", FH_ROPE_MAX_ENTRIES);
    fh_hf_rope e = {
        .scope = scope, .label = label, .type = FH_ROPE_DEFAULT, .factor = 1, .truncate = true, .partial = 1};
    if (fh_json_is(inner, FH_JSON_NULL)) {
        e.type = FH_ROPE_NONE;
    } else {
        fh_hf_view view = fh_hf_view_of("config.json", inner);
        view.path[0] = path;
        if (inner) FH_TRY(read_inner(in, &view, &e));
        FH_TRY(read_outer(in, theta_names, flat, &e));
        FH_TRY(derive(in, inner, &e));
    }
    r->item[r->n++] = e;
    return FH_OK;
}

/* ---- the config ---- */

/* Settings for several kinds of layers: an object of objects (or nulls), since no setting is an object. */
static bool is_nested(const fh_json_node *n) {
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c))
        if (c->kind == FH_JSON_OBJECT) return true;
    return false;
}

static fh_status read_nested(const reading *in, const fh_json_node *nested) {
    for (const fh_json_node *c = fh_json_first(nested); c; c = fh_json_after(nested, c)) {
        fh_rope_scope scope = scope_of(c->key);
        if (c->kind == FH_JSON_NULL && scope == FH_ROPE_OTHER) continue; /* a setting, not a kind */
        if (c->kind != FH_JSON_OBJECT && c->kind != FH_JSON_NULL) continue;
        for (uint32_t i = 0; scope != FH_ROPE_OTHER && i < in->r->n; i++)
            if (in->r->item[i].scope == scope)
                return fh_fail_at(in->err, FH_ERR_FORMAT, c->offset,
                                  "config.json: two rope settings for one kind of layers, '%.*s' and "
                                  "'%.*s'",
                                  FH_STR_ARG(in->r->item[i].label), FH_STR_ARG(c->key));
        const char *theta = scope == FH_ROPE_SLIDING ? LOCAL_THETA "|" GLOBAL_THETA : GLOBAL_THETA;
        FH_TRY(add_entry(in, scope, c->key, c, c->key, theta, false));
    }
    return FH_OK;
}

static fh_status read_flat(const reading *in, const fh_json_node *flat) {
    fh_hf_hit hit;
    fh_str none = FH_STR(""), path = flat ? flat->key : none;
    if (fh_hf_find(in->config, LOCAL_THETA, &hit) == FH_HF_PRESENT) {
        FH_TRY(add_entry(in, FH_ROPE_FULL, none, flat, path, GLOBAL_THETA, true));
        return add_entry(in, FH_ROPE_SLIDING, none, NULL, none, LOCAL_THETA, true);
    }
    if (fh_hf_find(in->config, "compress_rope_theta", &hit) == FH_HF_PRESENT) {
        FH_TRY(add_entry(in, FH_ROPE_MAIN, none, NULL, none, GLOBAL_THETA, true));
        FH_TRY(add_entry(in, FH_ROPE_COMPRESS, none, flat, path, "compress_rope_theta", true));
        /* The theta inside the settings, where there is one, is that of the other layers. */
        fh_hf_rope *e = &in->r->item[in->r->n - 1];
        return fh_hf_check_f64(in->config, &hit, 1e-6, 1e15, &e->theta, in->err);
    }
    if (!flat && fh_hf_find(in->config, GLOBAL_THETA "|" OUTER_PARTIAL "|rotary_dim", &hit) != FH_HF_PRESENT)
        return FH_OK;
    return add_entry(in, FH_ROPE_ALL, none, flat, path, GLOBAL_THETA, true);
}

static fh_status find_settings(const reading *in, const char *key, const fh_json_node **out) {
    fh_hf_hit hit;
    *out = NULL;
    if (fh_hf_find(in->config, key, &hit) != FH_HF_PRESENT) return FH_OK;
    if (!fh_json_is(hit.node, FH_JSON_OBJECT)) return fh_hf_fail(in->config, &hit, "an object or null", in->err);
    if (hit.node->n_child > 0) *out = hit.node;
    return FH_OK;
}

static fh_status read_layer_lists(const reading *in) {
    static const char *const thetas[] = {"layer_rope_theta", "rope_theta"};
    fh_hf_hit hit;
    for (size_t i = 0; i < FH_COUNT(thetas) && in->r->n_layer_theta == 0; i++)
        if (fh_hf_find(in->config, thetas[i], &hit) == FH_HF_PRESENT && fh_json_is(hit.node, FH_JSON_ARRAY))
            FH_TRY(read_list(in, in->config, thetas[i], 0, 1e15, &in->r->layer_theta, &in->r->n_layer_theta));
    return read_list(in, in->config, "partial_rotary_factors", 0, 1, &in->r->layer_partial, &in->r->n_layer_partial);
}

fh_status fh_hf_ropes_read(fh_hf_ropes *out, const fh_hf_view *config, fh_arena *arena, fh_err *err) {
    fh_hf_ropes r = {.n = 0};
    reading in = {.config = config, .arena = arena, .r = &r, .err = err};
    const fh_json_node *scaling, *parameters;
    FH_TRY(find_settings(&in, "rope_scaling", &scaling));
    FH_TRY(find_settings(&in, "rope_parameters", &parameters));
    const fh_json_node *use = scaling ? scaling : parameters;
    FH_TRY(use && is_nested(use) ? read_nested(&in, use) : read_flat(&in, use));
    FH_TRY(read_layer_lists(&in));
    *out = r;
    return FH_OK;
}
