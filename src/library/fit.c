/* library/fit.c - from what a user names to a shape: files here, a config.json, or a row of the catalogue.
 * SPDX-License-Identifier: Apache-2.0
 * Files speak for themselves: their tensors are counted, and state is that of the plan which `freehold run` would use,
 * where a family reads the model. Of files only headers and small side files are read. */
#include "library/fit.h"

#include <stdio.h>

#include "base/num.h"
#include "format/bundle.h"
#include "library/facts.h"
#include "library/fit_part.h"
#include "model/model.h"

#define ARENA_BYTES ((size_t)512 << 20)
#define CONFIG_BYTES ((size_t)16 << 20)
#define LOGIT_BYTES (32u << 20)

static void begin(fh_fit_shape *s, fh_fit_source source) {
    memset(s, 0, sizeof *s);
    fh_arena_init(&s->arena, ARENA_BYTES);
    s->source = source;
}

void fh_fit_release(fh_fit_shape *s) { fh_arena_release(&s->arena); }

/* One step of the plan needs: rows of a few widths for every token, and logits for as many rows as are kept. */
static void estimate_scratch(fh_fit_shape *s) {
    if (s->scratch || !s->n_embd) return;
    uint64_t row = 6 * s->n_embd + 3 * s->n_ff + 3 * s->n_head * s->k_width;
    uint64_t logits = FH_MIN((uint64_t)LOGIT_BYTES, FH_FIT_BATCH * sizeof(float) * s->n_vocab);
    s->scratch = FH_FIT_BATCH * sizeof(float) * row + logits;
}

/* ---- the catalogue ---- */
/* FP8: matrices of the layers a byte a value, with a scale for each 128 x 128; MXFP4: experts alone. */
static uint64_t published_bytes(const fh_fit_shape *s, bool fp8) {
    uint64_t sum = 0, n;
    for (size_t i = 0; i < s->n_tensor; i++) {
        const fh_tensor *t = &s->tensor[i];
        const fh_shape *x = &t->shape;
        if (!fh_shape_count(x, &n)) continue;
        bool layer = fh_str_starts(t->name, "blk.") && fh_str_ends(t->name, ".weight") && x->n_dim > 1;
        bool router = fh_str_ends(t->name, ".ffn_gate_inp.weight");
        if (fp8 && layer && !router) {
            uint64_t rows = x->dim[x->n_dim - 2], cols = x->dim[x->n_dim - 1], mats = x->n_dim > 2 ? x->dim[0] : 1;
            sum += n + 4 * mats * fh_ceil_div(rows, 128) * fh_ceil_div(cols, 128);
        } else if (!fp8 && layer && x->n_dim > 2) {
            sum += n / 32 * 17;
        } else {
            sum += 2 * n;
        }
    }
    return sum;
}

static void store_published(fh_fit_shape *s, const char *stored) {
    if (stored) {
        s->stored_bytes = s->n_tensor ? published_bytes(s, strcmp(stored, "fp8") == 0) : 0;
        s->stored_type = fh_str_of(stored);
    } else {
        s->stored_bytes = 2 * s->n_value;
        s->stored_type = FH_STR("BF16");
    }
}

fh_status fh_fit_open_row(fh_fit_shape *out, const fh_catalogue_row *row, fh_err *err) {
    fh_fit_shape s;
    begin(&s, FH_FIT_FROM_CATALOGUE);
    const fh_fit_arch *arch = row->arch ? fh_fit_arch_find(fh_str_of(row->arch)) : NULL;
    s.row = row;
    s.name = fh_str_of(row->name);
    s.architecture = fh_str_of(row->arch ? row->arch : "");
    s.n_context = row->config.n_context;
    fh_status st = arch ? fh_fit_count(&s, arch, &row->config, err) : FH_OK;
    if (st != FH_OK) {
        fh_fit_release(&s);
        return st;
    }
    s.has_vision = strchr(row->can, 'V') != NULL;
    if (!s.counted) {
        s.n_value = row->millions * 1000000ull;
        s.n_active = row->millions_active * 1000000ull;
    }
    s.whole = row->can[0] == 'E' || row->can[0] == 'R';
    store_published(&s, row->stored);
    estimate_scratch(&s);
    *out = s;
    return FH_OK;
}

/* ---- config.json alone ---- */
static void read_stored(fh_fit_shape *s, const fh_hf_config *c) {
    fh_str method = {NULL, 0}, type = {NULL, 0};
    const fh_json_node *q = fh_hf_config_quantization(c);
    (void)fh_hf_config_str(c, FH_HF_DTYPE, &type);
    if (!s->n_value) return;
    if (q) {
        if (!fh_json_to_str(fh_json_get(q, "quant_method"), &method)) return;
        bool known = fh_str_is(method, "mxfp4") || fh_str_is(method, "fp8");
        if (known) store_published(s, fh_str_is(method, "fp8") ? "fp8" : "mxfp4");
        return;
    }
    bool wide = fh_str_is(type, "float32");
    s->stored_bytes = (wide ? 4 : 2) * s->n_value;
    s->stored_type = wide ? FH_STR("F32") : fh_str_is(type, "float16") ? FH_STR("F16") : FH_STR("BF16");
}

static bool has_senses(const fh_hf_config *c) {
    static const char *const parts[] = {"vision_config", "audio_config"};
    for (size_t i = 0; i < FH_COUNT(parts); i++)
        if (fh_json_is(fh_json_get(fh_hf_config_root(c), parts[i]), FH_JSON_OBJECT)) return true;
    return false;
}

static fh_status take_config(fh_fit_shape *s, const fh_hf_config *c, fh_err *err) {
    const fh_fit_arch *arch = fh_fit_arch_find(fh_hf_config_text_model_type(c));
    if (!fh_arena_copy(&s->arena, fh_hf_config_text_model_type(c), &s->architecture))
        return fh_arena_fail(&s->arena, err);
    s->has_vision = has_senses(c);
    if (!arch) return FH_OK;
    fh_fit_config numbers;
    FH_TRY(fh_fit_config_read(&numbers, arch, c, &s->arena, err));
    return fh_fit_count(s, arch, &numbers, err);
}

fh_status fh_fit_open_config(fh_fit_shape *out, fh_str json, fh_str name, fh_err *err) {
    fh_fit_shape s;
    fh_hf_config *c = NULL;
    begin(&s, FH_FIT_FROM_CONFIG);
    fh_status st = fh_hf_config_parse(&c, json, err);
    if (st == FH_OK) st = take_config(&s, c, err);
    if (st == FH_OK && !fh_arena_copy(&s.arena, name, &s.name)) st = fh_arena_fail(&s.arena, err);
    if (st == FH_OK) {
        read_stored(&s, c);
        estimate_scratch(&s);
        *out = s;
    } else {
        fh_fit_release(&s);
    }
    fh_hf_config_free(c);
    return st;
}

static fh_status open_config_file(fh_fit_shape *out, const char *path, const char *name, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, CONFIG_BYTES);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_fit_open_config(out, fh_buf_str(&text), fh_str_of(name), err);
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    return st;
}

/* ---- files ---- */
static void take_state(fh_fit_shape *s, const fh_plan *p) {
    s->n_part = 0;
    s->state_known = true;
    s->whole = p->whole_sequences;
    for (uint32_t i = 0; i < p->n_state; i++) {
        const fh_state *x = &p->state[i];
        fh_fit_part part = {.n_layer = 1, .heads = x->heads, .k_width = x->k_width, .v_width = x->v_width};
        if (x->kind == FH_STATE_RECURRENT) {
            part = (fh_fit_part){.kind = FH_FIT_RECURRENT, .n_layer = 1, .floats = x->size};
        } else {
            const fh_state_group *g = &p->group[x->group];
            part.window = g->window;
            part.of_encoder = g->of_encoder;
            part.kind = x->kind == FH_STATE_CROSS    ? FH_FIT_CROSS
                        : x->kind == FH_STATE_LATENT ? FH_FIT_LATENT
                        : g->window                  ? FH_FIT_SLIDING
                                                     : FH_FIT_FULL;
            if (x->kind == FH_STATE_LATENT) part.v_width = 0;
        }
        fh_fit_add_part(s, &part);
    }
}

static fh_status take_scratch(fh_fit_shape *s, const fh_model *m, fh_err *err) {
    const fh_spec *spec = fh_model_spec(m);
    uint64_t sum = 0;
    for (int k = 0; k < FH_PLAN_COUNT; k++) {
        const fh_plan *p = fh_model_plan(m, (fh_model_plan_kind)k);
        if (!p) continue;
        uint64_t tokens = s->whole || k == FH_PLAN_ENCODE ? FH_MAX(FH_FIT_BATCH, spec->n_context) : FH_FIT_BATCH;
        uint64_t row = sizeof(float) * FH_MAX((uint64_t)spec->n_vocab, 1u), bytes;
        uint64_t rows = s->whole ? tokens : FH_MIN(FH_MAX(LOGIT_BYTES / row, 16u), tokens);
        fh_extent e = {.size = {[FH_DIM_ONE] = 1, [FH_DIM_TOKENS] = tokens, [FH_DIM_ROWS] = rows}};
        uint64_t *offset = fh_alloc(p->n_value ? p->n_value : 1, sizeof *offset);
        if (!offset) return fh_fail_memory(err, p->n_value * sizeof *offset);
        fh_status st = fh_plan_layout(p, &e, false, offset, &bytes, err);
        fh_free(offset);
        FH_TRY(st);
        sum += bytes;
    }
    s->scratch = sum;
    s->scratch_planned = true;
    return FH_OK;
}

/* The tensors themselves, for the rules of quantization, where their names are GGUF's. */
static fh_status take_tensors(fh_fit_shape *s, const fh_bundle *b, fh_err *err) {
    size_t n = fh_bundle_n_tensor(b);
    if (fh_bundle_form(b) != FH_FORM_GGUF) return FH_OK;
    s->tensor = fh_arena_alloc(&s->arena, n, sizeof *s->tensor);
    if (!s->tensor) return fh_arena_fail(&s->arena, err);
    s->n_tensor = n;
    for (size_t i = 0; i < n; i++) {
        const fh_tensor *t = fh_bundle_get_tensor(b, i);
        s->tensor[i] = (fh_tensor){.dtype = t->dtype, .shape = t->shape};
        if (!fh_arena_copy(&s->arena, t->name, &s->tensor[i].name)) return fh_arena_fail(&s->arena, err);
    }
    fh_mix_read_model(&s->mix, fh_bundle_gguf(b, 0));
    return fh_arena_copy(&s->arena, s->mix.arch, &s->mix.arch) ? FH_OK : fh_arena_fail(&s->arena, err);
}

static void take_sums(fh_fit_shape *s, const fh_bundle *b, const fh_facts *f) {
    const fh_weights *all = fh_bundle_weights(b);
    bool has_head = false;
    uint64_t table = 0, n;
    for (size_t i = 0; i < all->n; i++) {
        const fh_weight *w = &all->item[i];
        if (!fh_shape_count(&w->shape, &n)) continue;
        if (fh_str_holds(w->name, "_exps.") ||
            (fh_str_holds(w->name, ".experts.") && !fh_str_holds(w->name, "shared_experts")))
            s->n_expert_value += n;
        if (fh_str_holds(w->name, "embed_tokens") || fh_str_starts(w->name, "token_embd.")) table = n;
        has_head = has_head || fh_str_holds(w->name, "lm_head") || fh_str_is(w->name, "output.weight");
        s->has_vision = s->has_vision || fh_str_holds(w->name, "vision");
    }
    s->n_table = has_head ? table : 0;
    s->n_value = f->n_value;
    s->n_active = f->n_value_active;
    s->stored_bytes = f->weight_bytes;
    s->counted = true;
    s->n_layer = f->n_layer;
    s->n_embd = f->n_embd;
    s->n_head = f->n_head;
    s->k_width = f->head_dim;
    s->n_vocab = f->n_vocab;
    s->n_context = f->n_context;
    s->n_expert = f->n_expert;
    s->n_used = f->n_expert_used;
    s->n_ff = FH_MAX(f->n_ff, f->n_expert_used * f->n_ff_expert);
}

static fh_status take_bundle(fh_fit_shape *s, fh_bundle **b, const fh_location *at, fh_err *err) {
    fh_facts f;
    fh_err why = {0};
    const fh_hf_config *c = fh_bundle_hf_config(*b);
    FH_TRY(fh_facts_gather(&f, *b, at, err));
    fh_status st = c ? take_config(s, c, err) : FH_OK;
    if (st == FH_OK && (!fh_arena_copy(&s->arena, f.quantization, &s->stored_type) ||
                        !fh_arena_copy(&s->arena, f.architecture, &s->architecture) ||
                        !fh_arena_copy(&s->arena, f.name.len ? f.name : fh_str_of(at->name), &s->name)))
        st = fh_arena_fail(&s->arena, err);
    s->n_expert_value = 0;
    if (st == FH_OK) take_sums(s, *b, &f);
    if (st == FH_OK) st = take_tensors(s, *b, err);
    fh_facts_release(&f);
    if (st != FH_OK) return st;
    fh_model *m = NULL;
    st = fh_model_load(&m, *b, &why);
    *b = NULL; /* taken */
    if (st == FH_ERR_MEMORY) {
        if (err) *err = why;
        return st;
    }
    if (st != FH_OK) return FH_OK; /* no family reads it: what the config says stays */
    take_state(s, fh_model_plan(m, FH_PLAN_STEP));
    st = take_scratch(s, m, err);
    fh_model_free(m);
    return st;
}

static fh_status open_files(fh_fit_shape *out, const fh_location *at, fh_err *err) {
    fh_fit_shape s;
    fh_bundle *b = NULL;
    begin(&s, FH_FIT_FROM_FILES);
    fh_status st = fh_location_open(&b, at, err);
    if (st == FH_OK) st = take_bundle(&s, &b, at, err);
    fh_bundle_close(b);
    if (st == FH_OK) {
        estimate_scratch(&s);
        *out = s;
    } else {
        fh_fit_release(&s);
    }
    return st;
}

/* ---- what a user may name ---- */
static bool is_json(const char *path) { return fh_str_ends(fh_str_of(path), ".json"); }

/* A folder that has a config and no weights. */
static bool has_only_config(const char *folder, char config[FH_PATH_MAX]) {
    static const char *const ends[] = {".safetensors", ".safetensors.index.json", ".gguf"};
    fh_arena arena;
    fh_names names;
    bool weights = false;
    if (fh_path_join(config, folder, FH_STR("config.json"), NULL) != FH_OK ||
        fh_file_get_kind(config) != FH_FILE_REGULAR)
        return false;
    fh_arena_init(&arena, 16u << 20);
    if (fh_dir_list(folder, &arena, &names, NULL) == FH_OK) {
        for (size_t i = 0; i < names.n; i++)
            for (size_t k = 0; k < FH_COUNT(ends); k++) weights = weights || fh_str_ends(names.item[i], ends[k]);
    }
    fh_arena_release(&arena);
    return !weights;
}

static fh_status not_known(const char *model, fh_err *err) {
    const fh_catalogue_row *like[6];
    char list[400] = "";
    size_t n = fh_catalogue_like(fh_str_of(model), like, FH_COUNT(like)), used = 0;
    for (size_t i = 0; i < n && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s'%s'", i ? ", " : "; the catalogue has ",
                                 like[i]->name);
    return fh_fail(err, FH_ERR_NOT_FOUND, "find model '%.200s', it is neither on this machine nor in the catalogue%s",
                   model, list);
}

fh_status fh_fit_open(fh_fit_shape *out, const char *model, fh_err *err) {
    fh_location at;
    fh_err why = {0};
    char config[FH_PATH_MAX];
    if (model && model[0]) {
        fh_file_kind kind = fh_file_get_kind(model);
        if (kind == FH_FILE_REGULAR && is_json(model) && !fh_str_ends(fh_str_of(model), ".index.json"))
            return open_config_file(out, model, model, err);
        if (kind == FH_FILE_DIR && has_only_config(model, config)) return open_config_file(out, config, model, err);
    }
    fh_status st = fh_locate(&at, model, &why);
    if (st == FH_OK) return open_files(out, &at, err);
    if (st != FH_ERR_NOT_FOUND) {
        if (err) *err = why;
        return st;
    }
    const fh_catalogue_row *row = fh_catalogue_find(fh_str_of(model));
    return row ? fh_fit_open_row(out, row, err) : not_known(model, err);
}
