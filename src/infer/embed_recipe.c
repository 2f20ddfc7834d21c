/* infer/embed_recipe.c - modules.json and what hangs on it.
 * SPDX-License-Identifier: Apache-2.0
 * Folder names in modules.json are checked before they become part of a path. */
#include "infer/embed_recipe.h"

#include "base/num.h"
#include "kernel/pool_rows.h"
#include "kernel/ref_math.h"
#include "kernel/ref_op_dot.h"
#include "kernel/weight_decode.h"

#define MAX_FILE ((size_t)4 << 20)
#define MAX_WIDTH (1u << 20)

void fh_embed_recipe_release(fh_embed_recipe *r) {
    for (uint32_t i = 0; i < r->n_dense; i++) {
        fh_free(r->dense[i].w);
        fh_free(r->dense[i].bias);
    }
    fh_json_free(r->prompts);
    *r = (fh_embed_recipe){.n_dense = 0};
}

/* A JSON file beside the model; NULL where there is none. */
static fh_status read_side(const fh_bundle *b, const char *name, fh_json **out, fh_err *err) {
    const fh_json_options opt = {.allow_nonfinite = true, .allow_duplicate_keys = true};
    fh_buf text;
    *out = NULL;
    fh_status s = fh_bundle_read_side(b, name, MAX_FILE, &text, err);
    if (s == FH_ERR_NOT_FOUND) return FH_OK;
    if (s != FH_OK) return s;
    s = fh_json_parse(out, fh_buf_str(&text), &opt, err);
    if (s != FH_OK) fh_err_set_path(err, name);
    fh_buf_release(&text);
    return s;
}

/* ---- pooling ---- */

static fh_status read_pooling(fh_embed_recipe *r, const fh_json_node *c, fh_err *err) {
    static const struct {
        const char *flag, *mode;
        fh_pooling pooling; /* NONE: not supported */
    } kinds[] = {{"pooling_mode_cls_token", "cls", FH_POOLING_CLS},
                 {"pooling_mode_mean_tokens", "mean", FH_POOLING_MEAN},
                 {"pooling_mode_lasttoken", "lasttoken", FH_POOLING_LAST},
                 {"pooling_mode_max_tokens", "max", FH_POOLING_NONE},
                 {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", FH_POOLING_NONE},
                 {"pooling_mode_weightedmean_tokens", "weightedmean", FH_POOLING_NONE}};
    fh_str mode = {NULL, 0};
    size_t found = 0;
    (void)fh_json_to_str(fh_json_get(c, "pooling_mode"), &mode);
    for (size_t i = 0; i < FH_COUNT(kinds); i++) {
        bool on = false;
        (void)fh_json_to_bool(fh_json_get(c, kinds[i].flag), &on);
        if (!on && !fh_str_is(mode, kinds[i].mode)) continue;
        if (kinds[i].pooling == FH_POOLING_NONE || found++)
            return fh_fail(err, FH_ERR_UNSUPPORTED, "the model pools by '%s'%s: mean, cls and last are supported",
                           kinds[i].mode, found > 1 ? " and another way together" : "");
        r->pooling = kinds[i].pooling;
    }
    if (!found) return fh_fail(err, FH_ERR_UNSUPPORTED, "the model's pooling folder names no way of pooling");
    return FH_OK;
}

/* ---- dense layers ---- */

static fh_status decode_weight(const fh_weight *w, float **out, uint64_t rows, uint64_t cols, fh_err *err) {
    size_t n;
    if (fh_weight_rows(w) * fh_weight_matrices(w) != rows || fh_weight_cols(w) != cols)
        return fh_fail(err, FH_ERR_FORMAT, "'%.*s' has not the extents of its layer", FH_STR_ARG(w->name));
    if (!fh_mul_size((size_t)rows, (size_t)cols, &n)) return fh_fail(err, FH_ERR_LIMIT, "a dense layer is too large");
    float *v = fh_alloc(n, sizeof *v);
    if (!v) return fh_fail_memory(err, n * sizeof *v);
    fh_weight_decode(w, 0, rows, v);
    *out = v;
    return FH_OK;
}

static fh_status add_dense(fh_embed_recipe *r, const fh_bundle *b, const char *weight, const char *bias, bool is_tanh,
                           fh_err *err) {
    const fh_weight *w = fh_bundle_find_weight(b, fh_str_of(weight));
    const fh_weight *v = bias ? fh_bundle_find_weight(b, fh_str_of(bias)) : NULL;
    if (!w) return fh_fail(err, FH_ERR_FORMAT, "a dense layer without '%s'", weight);
    if (r->n_dense == FH_EMBED_DENSE_MOST)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "more than %d dense layers", FH_EMBED_DENSE_MOST);
    uint64_t out = fh_weight_rows(w), in = fh_weight_cols(w);
    if (in == 0 || out == 0 || in > MAX_WIDTH || out > MAX_WIDTH)
        return fh_fail(err, FH_ERR_LIMIT, "a dense layer of %llu by %llu", (unsigned long long)out,
                       (unsigned long long)in);
    fh_embed_dense *d = &r->dense[r->n_dense++];
    *d = (fh_embed_dense){.in = (uint32_t)in, .out = (uint32_t)out, .tanh = is_tanh};
    FH_TRY(decode_weight(w, &d->w, out, in, err));
    return v ? decode_weight(v, &d->bias, 1, out, err) : FH_OK;
}

static fh_status read_dense(fh_embed_recipe *r, const fh_json_node *c, const char *folder, fh_err *err) {
    fh_bundle *b = NULL;
    fh_str act = {NULL, 0};
    char path[FH_PATH_MAX];
    (void)fh_json_to_str(fh_json_get(c, "activation_function"), &act);
    bool is_tanh = fh_str_ends(act, ".Tanh");
    if (!is_tanh && !fh_str_ends(act, ".Identity"))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "a dense layer with '%.*s': Tanh and Identity are supported",
                       FH_STR_ARG(act));
    FH_TRY(fh_path_join(path, folder, FH_STR("model.safetensors"), err));
    FH_TRY(fh_bundle_open(&b, path, err));
    fh_status s = add_dense(r, b, "linear.weight", "linear.bias", is_tanh, err);
    fh_bundle_close(b);
    return s;
}

/* ---- modules ---- */

static fh_status read_module(fh_embed_recipe *r, const fh_bundle *b, const fh_json_node *m, fh_err *err) {
    fh_str type, path;
    char name[300], folder[FH_PATH_MAX];
    fh_json *config = NULL;
    if (!fh_json_to_str(fh_json_get(m, "type"), &type) || !fh_json_to_str(fh_json_get(m, "path"), &path))
        return fh_fail(err, FH_ERR_FORMAT, "modules.json: a module without type and path");
    if (fh_str_ends(type, ".Transformer")) return FH_OK;
    if (fh_str_ends(type, ".Normalize")) return r->normalize = true, FH_OK;
    bool pooling = fh_str_ends(type, ".Pooling"), dense = fh_str_ends(type, ".Dense");
    if (!pooling && !dense)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "modules.json names '%.*s', which is not supported", FH_STR_ARG(type));
    if (r->normalize)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "modules.json normalizes before '%.*s'", FH_STR_ARG(type));
    if (!fh_path_is_plain_name(path) || path.len > 200)
        return fh_fail(err, FH_ERR_FORMAT, "modules.json: '%.*s' is no name of a folder", FH_STR_ARG(path));
    snprintf(name, sizeof name, "%.*s/config.json", (int)path.len, path.ptr);
    FH_TRY(read_side(b, name, &config, err));
    if (!config) return fh_fail(err, FH_ERR_NOT_FOUND, "modules.json names '%s', which is not there", name);
    fh_status s = FH_OK;
    if (pooling) s = read_pooling(r, fh_json_root(config), err);
    else s = fh_path_join(folder, fh_bundle_folder(b), path, err);
    if (s == FH_OK && dense) s = read_dense(r, fh_json_root(config), folder, err);
    fh_json_free(config);
    return s;
}

static fh_status read_folder(fh_embed_recipe *r, const fh_bundle *b, fh_err *err) {
    fh_json *modules = NULL, *bert = NULL;
    fh_status s = read_side(b, "modules.json", &modules, err);
    if (s == FH_OK && modules) {
        const fh_json_node *list = fh_json_root(modules);
        r->normalize = false;
        for (const fh_json_node *m = fh_json_first(list); s == FH_OK && m; m = fh_json_after(list, m))
            s = read_module(r, b, m, err);
    }
    fh_json_free(modules);
    if (s == FH_OK) s = read_side(b, "sentence_bert_config.json", &bert, err);
    uint64_t most = 0;
    if (s == FH_OK && bert && fh_json_to_u64(fh_json_get(fh_json_root(bert), "max_seq_length"), &most))
        r->most_tokens = (uint32_t)FH_MIN(most, (uint64_t)UINT32_MAX);
    fh_json_free(bert);
    return s == FH_OK ? read_side(b, "config_sentence_transformers.json", &r->prompts, err) : s;
}

static fh_status read_all(fh_embed_recipe *r, const fh_model *m, fh_err *err) {
    static const char *const gguf_dense[] = {"dense_2.weight", "dense_3.weight"};
    const fh_bundle *b = fh_model_bundle(m);
    if (fh_bundle_form(b) == FH_FORM_SAFETENSORS) return fh_bundle_folder(b) ? read_folder(r, b, err) : FH_OK;
    for (size_t i = 0; i < FH_COUNT(gguf_dense); i++)
        if (fh_bundle_find_weight(b, fh_str_of(gguf_dense[i])))
            FH_TRY(add_dense(r, b, gguf_dense[i], NULL, false, err));
    return FH_OK;
}

fh_status fh_embed_recipe_read(fh_embed_recipe *out, const fh_model *m, fh_err *err) {
    const fh_spec *spec = fh_model_spec(m);
    fh_embed_recipe r = {.pooling = spec->pooling, .normalize = spec->pool_normalize};
    if (r.pooling == FH_POOLING_NONE || r.pooling == FH_POOLING_RANK)
        r.pooling = spec->topology == FH_TOPOLOGY_ENCODER ? FH_POOLING_MEAN : FH_POOLING_LAST;
    fh_status s = read_all(&r, m, err);
    if (s == FH_OK) *out = r;
    else fh_embed_recipe_release(&r);
    return s;
}

fh_status fh_embed_recipe_prompt(const fh_embed_recipe *r, const char *name, fh_str *out, fh_err *err) {
    const fh_json_node *root = r->prompts ? fh_json_root(r->prompts) : NULL;
    const fh_json_node *prompts = fh_json_get(root, "prompts");
    fh_str want = fh_str_of(name);
    *out = (fh_str){"", 0};
    if (!name && !fh_json_to_str(fh_json_get(root, "default_prompt_name"), &want)) return FH_OK;
    if (fh_json_to_str(fh_json_get_str(prompts, want), out)) return FH_OK;
    char names[300] = "";
    size_t n = 0;
    for (const fh_json_node *p = fh_json_first(prompts); p && n < sizeof names; p = fh_json_after(prompts, p))
        n += (size_t)snprintf(names + n, sizeof names - n, " %.*s", (int)FH_MIN(p->key.len, 60u), p->key.ptr);
    return fh_fail(err, FH_ERR_USAGE, "the model's files have no prompt '%.*s'; they have:%s", FH_STR_ARG(want),
                   names[0] ? names : " none");
}

/* ---- vectors ---- */

uint32_t fh_embed_recipe_width(const fh_embed_recipe *r, uint32_t row) {
    for (uint32_t i = 0; i < r->n_dense; i++) {
        if (r->dense[i].in != row) return 0;
        row = r->dense[i].out;
    }
    return row;
}

fh_status fh_embed_recipe_finish(const fh_embed_recipe *r, float *v, uint32_t row, uint32_t n, fh_err *err) {
    for (uint32_t i = 0; i < r->n_dense; i++) {
        const fh_embed_dense *d = &r->dense[i];
        const float *x[1] = {v};
        float *y = fh_alloc(d->out, sizeof *y);
        if (!y) return fh_fail_memory(err, d->out * sizeof *y);
        for (uint32_t k = 0; k < d->out; k++) {
            fh_dot_best()->dots(d->w + (size_t)k * d->in, x, 1, d->in, &y[k]);
            if (d->bias) y[k] += d->bias[k];
            if (d->tanh) y[k] = (float)fh_math_tanh((double)y[k]);
        }
        memcpy(v, y, d->out * sizeof *y);
        fh_free(y);
        row = d->out;
    }
    if (r->normalize) fh_pool_normalize(v, n ? n : row);
    return FH_OK;
}
