/* format/hf_config.c - config.json to checked fields.
 * SPDX-License-Identifier: Apache-2.0
 * The rows of hf_config.def are read in one loop; nothing else knows a spelling of theirs.
 * Refuses: values of the wrong kind or out of range, lists of more than FH_HF_MAX_LAYER elements, a
 * layer_types that is shorter than the number of layers. */
#include "format/hf_config.h"

#include "base/num.h"

#define ARENA_BYTES ((size_t)8 << 20)

struct fh_hf_config {
    fh_json *doc;
    fh_arena arena;
    fh_hf_view view;
    fh_hf_value value[FH_HF_FIELD_COUNT];
    fh_hf_ropes ropes;
    fh_hf_ids bos, eos, pad, decoder_start;
    const fh_json_node *architectures, *quantization;
    const fh_str *layer_type; /* [n_layer_type] */
    uint32_t n_layer_type;
    fh_str model_type, text_model_type;
};

typedef struct row {
    fh_hf_kind kind;
    double least, most;
    const char *spellings;
} row;

static const row ROWS[FH_HF_FIELD_COUNT] = {
#define FH_HF_ROW(name, kind, least, most, spellings) \
    [FH_HF_##name] = {FH_HF_##kind, (double)(least), (double)(most), spellings},
#include "format/hf_config.def"
#undef FH_HF_ROW
};

/* Where a model with several parts keeps its text model; looked for twice, for parts within parts. */
static const char *const TEXT_PARTS[] = {"text_config", "llm_config", "language_config", "language_model_config",
                                         "thinker_config"};

/* ---- parts ---- */

static fh_status find_parts(fh_hf_config *c, fh_err *err) {
    const fh_json_node *root = fh_json_root(c->doc), *inner = root;
    if (!fh_json_is(root, FH_JSON_OBJECT))
        return fh_fail_at(err, FH_ERR_FORMAT, root->offset, "config.json: should be an object");
    c->view = fh_hf_view_of("config.json", root);
    for (int depth = 1; depth < FH_HF_MAX_PARTS; depth++) {
        const fh_json_node *found = NULL;
        for (size_t i = 0; i < FH_COUNT(TEXT_PARTS) && !found; i++) {
            const fh_json_node *n = fh_json_get(inner, TEXT_PARTS[i]);
            if (fh_json_is(n, FH_JSON_OBJECT)) found = n;
        }
        if (!found) break;
        for (int i = c->view.n; i > 0; i--) {
            c->view.part[i] = c->view.part[i - 1];
            c->view.path[i] = c->view.path[i - 1];
        }
        c->view.part[0] = found;
        c->view.path[0] = found->key;
        c->view.n++;
        inner = found;
    }
    return FH_OK;
}

/* ---- rows ---- */

static fh_status read_list(fh_hf_config *c, const row *r, fh_hf_hit *hit, fh_hf_value *v, fh_err *err) {
    const fh_json_node *list = hit->node;
    if (list->n_child > FH_HF_MAX_LAYER) return fh_hf_fail(&c->view, hit, "a list of at most 4096 elements", err);
    uint32_t *item = fh_arena_alloc(&c->arena, list->n_child, sizeof *item);
    if (!item) return fh_arena_fail(&c->arena, err);
    uint32_t n = 0;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e)) {
        uint64_t x;
        hit->node = e;
        FH_TRY(fh_hf_check_u64(&c->view, hit, (uint64_t)r->least, (uint64_t)r->most, &x, err));
        item[n++] = (uint32_t)x; /* no row allows more than 2^31 */
    }
    v->is_list = true;
    v->list = item;
    v->n = n;
    return FH_OK;
}

static fh_status read_row(fh_hf_config *c, const row *r, fh_hf_value *v, fh_err *err) {
    fh_hf_hit hit;
    v->kind = r->kind;
    v->state = fh_hf_find(&c->view, r->spellings, &hit);
    if (v->state != FH_HF_PRESENT) return FH_OK;
    switch (r->kind) {
    case FH_HF_FLOAT: return fh_hf_check_f64(&c->view, &hit, r->least, r->most, &v->f64, err);
    case FH_HF_BOOL:
        if (fh_json_to_bool(hit.node, &v->flag)) return FH_OK;
        return fh_hf_fail(&c->view, &hit, "true or false", err);
    case FH_HF_STR:
        if (fh_json_to_str(hit.node, &v->str)) return FH_OK;
        return fh_hf_fail(&c->view, &hit, "a string", err);
    case FH_HF_INT_OR_STR:
        if (fh_json_to_str(hit.node, &v->str)) return FH_OK;
        break;
    case FH_HF_INTS:
        if (fh_json_is(hit.node, FH_JSON_ARRAY)) return read_list(c, r, &hit, v, err);
        break;
    case FH_HF_INT: break;
    }
    return fh_hf_check_u64(&c->view, &hit, (uint64_t)r->least, (uint64_t)r->most, &v->u64, err);
}

/* ---- what is no row ---- */

static fh_status read_names(fh_hf_config *c, fh_err *err) {
    fh_hf_hit hit;
    fh_hf_view root = fh_hf_view_of("config.json", fh_hf_config_root(c));
    fh_hf_state state;
    FH_TRY(fh_hf_get_str(&root, "model_type", &state, &c->model_type, err));
    FH_TRY(fh_hf_get_str(&c->view, "model_type", &state, &c->text_model_type, err));
    if (fh_hf_find(&root, "architectures", &hit) != FH_HF_PRESENT) return FH_OK;
    c->architectures = hit.node;
    if (!fh_json_is(hit.node, FH_JSON_ARRAY)) return fh_hf_fail(&root, &hit, "a list of strings", err);
    for (const fh_json_node *e = fh_json_first(hit.node); e; e = fh_json_after(c->architectures, e))
        if (!fh_json_is(e, FH_JSON_STRING)) return fh_hf_fail(&root, &hit, "a list of strings", err);
    return FH_OK;
}

static fh_status read_layer_types(fh_hf_config *c, fh_err *err) {
    fh_hf_hit hit;
    uint64_t n_layer;
    if (fh_hf_find(&c->view, "layer_types|layers_block_type", &hit) != FH_HF_PRESENT) return FH_OK;
    const fh_json_node *list = hit.node;
    if (!fh_json_is(list, FH_JSON_ARRAY) || list->n_child > FH_HF_MAX_LAYER)
        return fh_hf_fail(&c->view, &hit, "a list of at most 4096 strings", err);
    if (list->n_child == 0) return FH_OK;
    /* Longer lists exist: some name the layers of a draft head too. */
    if (fh_hf_config_u64(c, FH_HF_N_LAYER, &n_layer) && list->n_child < n_layer)
        return fh_fail_at(err, FH_ERR_FORMAT, list->offset, "config.json: '%.*s' names %u layers of %llu",
                          FH_STR_ARG(hit.key), list->n_child, (unsigned long long)n_layer);
    fh_str *item = fh_arena_alloc(&c->arena, list->n_child, sizeof *item);
    if (!item) return fh_arena_fail(&c->arena, err);
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e)) {
        hit.node = e;
        if (!fh_json_to_str(e, &item[c->n_layer_type])) return fh_hf_fail(&c->view, &hit, "a list of strings", err);
        c->n_layer_type++;
    }
    c->layer_type = item;
    return FH_OK;
}

static fh_status read_quantization(fh_hf_config *c, fh_err *err) {
    fh_hf_hit hit;
    if (fh_hf_find(&c->view, "quantization_config|compression_config", &hit) != FH_HF_PRESENT) return FH_OK;
    if (!fh_json_is(hit.node, FH_JSON_OBJECT)) return fh_hf_fail(&c->view, &hit, "an object", err);
    c->quantization = hit.node;
    return FH_OK;
}

static fh_status read_all(fh_hf_config *c, fh_str json, fh_err *err) {
    fh_json_options opt = {.allow_nonfinite = true, .allow_duplicate_keys = true};
    FH_TRY(fh_json_parse(&c->doc, json, &opt, err));
    FH_TRY(find_parts(c, err));
    for (size_t f = 0; f < FH_HF_FIELD_COUNT; f++) FH_TRY(read_row(c, &ROWS[f], &c->value[f], err));
    FH_TRY(read_names(c, err));
    FH_TRY(read_layer_types(c, err));
    FH_TRY(read_quantization(c, err));
    FH_TRY(fh_hf_get_ids(&c->view, "bos_token_id", &c->bos, err));
    FH_TRY(fh_hf_get_ids(&c->view, "eos_token_id", &c->eos, err));
    FH_TRY(fh_hf_get_ids(&c->view, "pad_token_id", &c->pad, err));
    FH_TRY(fh_hf_get_ids(&c->view, "decoder_start_token_id", &c->decoder_start, err));
    return fh_hf_ropes_read(&c->ropes, &c->view, &c->arena, err);
}

fh_status fh_hf_config_parse(fh_hf_config **out, fh_str json, fh_err *err) {
    fh_hf_config *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    fh_arena_init(&c->arena, ARENA_BYTES);
    fh_status s = read_all(c, json, err);
    if (s != FH_OK) {
        fh_hf_config_free(c);
        return s;
    }
    *out = c;
    return FH_OK;
}

void fh_hf_config_free(fh_hf_config *c) {
    if (!c) return;
    fh_json_free(c->doc);
    fh_arena_release(&c->arena);
    fh_free(c);
}

/* ---- answers ---- */

size_t fh_hf_config_n_architecture(const fh_hf_config *c) { return c->architectures ? c->architectures->n_child : 0; }

fh_str fh_hf_config_architecture(const fh_hf_config *c, size_t i) {
    const fh_json_node *list = c->architectures;
    const fh_json_node *e = list ? fh_json_first(list) : NULL;
    while (e && i-- > 0) e = fh_json_after(list, e);
    return e ? e->text : FH_STR("");
}

fh_str fh_hf_config_model_type(const fh_hf_config *c) { return c->model_type; }
fh_str fh_hf_config_text_model_type(const fh_hf_config *c) { return c->text_model_type; }

const fh_hf_value *fh_hf_config_get(const fh_hf_config *c, fh_hf_field f) {
    FH_REQUIRE((size_t)f < FH_HF_FIELD_COUNT);
    return &c->value[f];
}

static const fh_hf_value *present(const fh_hf_config *c, fh_hf_field f) {
    const fh_hf_value *v = fh_hf_config_get(c, f);
    return v->state == FH_HF_PRESENT ? v : NULL;
}

static bool is_whole(const fh_hf_value *v) {
    return v->kind == FH_HF_INT || v->kind == FH_HF_INTS || (v->kind == FH_HF_INT_OR_STR && !v->str.ptr);
}

bool fh_hf_config_u64(const fh_hf_config *c, fh_hf_field f, uint64_t *out) {
    const fh_hf_value *v = present(c, f);
    if (!v || !is_whole(v) || v->is_list) return false;
    *out = v->u64;
    return true;
}

bool fh_hf_config_u64_at(const fh_hf_config *c, fh_hf_field f, size_t i, uint64_t *out) {
    const fh_hf_value *v = present(c, f);
    if (!v || !v->is_list) return fh_hf_config_u64(c, f, out);
    if (i >= v->n) return false;
    *out = v->list[i];
    return true;
}

bool fh_hf_config_f64(const fh_hf_config *c, fh_hf_field f, double *out) {
    const fh_hf_value *v = present(c, f);
    if (!v || v->kind != FH_HF_FLOAT) return false;
    *out = v->f64;
    return true;
}

bool fh_hf_config_bool(const fh_hf_config *c, fh_hf_field f, bool *out) {
    const fh_hf_value *v = present(c, f);
    if (!v || v->kind != FH_HF_BOOL) return false;
    *out = v->flag;
    return true;
}

bool fh_hf_config_str(const fh_hf_config *c, fh_hf_field f, fh_str *out) {
    const fh_hf_value *v = present(c, f);
    if (!v || !v->str.ptr) return false;
    *out = v->str;
    return true;
}

const char *fh_hf_field_spellings(fh_hf_field f) { return (size_t)f < FH_HF_FIELD_COUNT ? ROWS[f].spellings : "?"; }

size_t fh_hf_config_n_layer_type(const fh_hf_config *c) { return c->n_layer_type; }
fh_str fh_hf_config_layer_type(const fh_hf_config *c, size_t i) {
    return i < c->n_layer_type ? c->layer_type[i] : FH_STR("");
}
const fh_hf_ropes *fh_hf_config_ropes(const fh_hf_config *c) { return &c->ropes; }
const fh_hf_ids *fh_hf_config_bos(const fh_hf_config *c) { return &c->bos; }
const fh_hf_ids *fh_hf_config_eos(const fh_hf_config *c) { return &c->eos; }
const fh_hf_ids *fh_hf_config_pad(const fh_hf_config *c) { return &c->pad; }
const fh_hf_ids *fh_hf_config_decoder_start(const fh_hf_config *c) { return &c->decoder_start; }
const fh_json_node *fh_hf_config_quantization(const fh_hf_config *c) { return c->quantization; }
const fh_hf_view *fh_hf_config_view(const fh_hf_config *c) { return &c->view; }
const fh_json_node *fh_hf_config_root(const fh_hf_config *c) { return fh_json_root(c->doc); }
