/* format/adapter_peft.c - PEFT folders: adapter_config.json and the names in adapter_model.safetensors.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses other methods than LoRA, and settings under which the two matrices are not added to the base weight as
 * they stand: initialisations that also change the base, layers repeated, pooled inputs, trained tokens. */
#include "base/num.h"
#include "format/adapter_part.h"

#define CONFIG_CEILING ((size_t)16 << 20)
#define PREFIX "base_model.model."

/* ---- adapter_config.json ---- */

/* Set to something: not absent, null, false, or an empty list or object. */
static bool is_set(const fh_json_node *n) {
    if (!n || n->kind == FH_JSON_NULL || n->kind == FH_JSON_FALSE) return false;
    return !((n->kind == FH_JSON_ARRAY || n->kind == FH_JSON_OBJECT) && n->n_child == 0);
}

static fh_status refuse_settings(const fh_json_node *c, fh_err *err) {
    static const char *const refused[] = {"layer_replication", "target_parameters", "trainable_token_indices",
                                          "arrow_config",      "use_qalora",        "use_bdlora",
                                          "kasa_config",       "monteclora_config"};
    static const char *const plain_init[] = {"gaussian", "eva", "orthogonal"};
    for (size_t k = 0; k < FH_COUNT(refused); k++)
        if (is_set(fh_json_get(c, refused[k])))
            return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter with '%s' is not read", refused[k]);
    fh_str init;
    if (!fh_json_to_str(fh_json_get(c, "init_lora_weights"), &init)) return FH_OK;
    for (size_t k = 0; k < FH_COUNT(plain_init); k++)
        if (fh_str_is(init, plain_init[k])) return FH_OK;
    return fh_fail(err, FH_ERR_UNSUPPORTED,
                   "adapter initialised with '%.*s' belongs to a changed base model: convert it to a plain LoRA first",
                   FH_STR_ARG(init));
}

static fh_status read_targets(fh_adapter *a, const fh_json_node *n, fh_err *err) {
    fh_str one;
    size_t count = fh_json_is(n, FH_JSON_ARRAY) ? n->n_child : fh_json_to_str(n, &one) ? 1 : 0;
    fh_str *target = fh_arena_alloc(&a->arena, count, sizeof *target);
    if (!target) return fh_arena_fail(&a->arena, err);
    a->info.target = target;
    if (!fh_json_is(n, FH_JSON_ARRAY)) {
        if (count) target[a->info.n_target++] = one;
        return FH_OK;
    }
    for (const fh_json_node *m = fh_json_first(n); m; m = fh_json_after(n, m))
        if (!fh_json_to_str(m, &target[a->info.n_target++]))
            return fh_fail(err, FH_ERR_FORMAT, "target_modules in adapter_config.json is no list of names");
    return FH_OK;
}

static fh_status read_invocation(fh_adapter *a, const fh_json_node *n, fh_err *err) {
    if (!is_set(n)) return FH_OK;
    uint32_t *token = fh_json_is(n, FH_JSON_ARRAY) ? fh_arena_alloc(&a->arena, n->n_child, sizeof *token) : NULL;
    if (!token)
        return fh_fail(err, FH_ERR_FORMAT, "alora_invocation_tokens in adapter_config.json is no list of tokens");
    for (const fh_json_node *m = fh_json_first(n); m; m = fh_json_after(n, m)) {
        uint64_t v;
        if (!fh_json_to_u64(m, &v) || v > UINT32_MAX)
            return fh_fail(err, FH_ERR_FORMAT, "alora_invocation_tokens in adapter_config.json is no list of tokens");
        token[a->info.n_invocation++] = (uint32_t)v;
    }
    a->info.invocation = token;
    return FH_OK;
}

static fh_status read_config(fh_adapter *a, fh_err *err) {
    const fh_json_node *c = fh_json_root(a->config);
    fh_adapter_info *o = &a->info;
    fh_str type = {"", 0};
    if (!fh_json_is(c, FH_JSON_OBJECT)) return fh_fail(err, FH_ERR_FORMAT, "adapter_config.json is no object");
    if (!fh_json_to_str(fh_json_get(c, "peft_type"), &type))
        return fh_fail(err, FH_ERR_FORMAT, "adapter_config.json has no peft_type");
    if (!fh_str_is(type, "LORA"))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter of type '%.*s': only LORA is read", FH_STR_ARG(type));
    FH_TRY(refuse_settings(c, err));
    o->form = FH_ADAPTER_PEFT;
    o->bias = FH_STR("none");
    if (!fh_json_to_u64(fh_json_get(c, "r"), &o->r) || o->r == 0 || o->r > (1u << 20))
        return fh_fail(err, FH_ERR_FORMAT, "adapter_config.json has no sensible rank 'r'");
    if (!fh_json_to_f64(fh_json_get(c, "lora_alpha"), &o->alpha))
        return fh_fail(err, FH_ERR_FORMAT, "adapter_config.json has no 'lora_alpha'");
    fh_json_to_str(fh_json_get(c, "base_model_name_or_path"), &o->base_model);
    fh_json_to_str(fh_json_get(c, "bias"), &o->bias);
    fh_json_to_bool(fh_json_get(c, "use_rslora"), &o->rslora);
    fh_json_to_bool(fh_json_get(c, "use_dora"), &o->dora);
    fh_json_to_bool(fh_json_get(c, "fan_in_fan_out"), &o->fan_in_fan_out);
    FH_TRY(read_targets(a, fh_json_get(c, "target_modules"), err));
    return read_invocation(a, fh_json_get(c, "alora_invocation_tokens"), err);
}

/* The first key that means the module, in the order of the file. */
static fh_status look_up(const fh_adapter *a, const char *table, fh_str module, const fh_json_node **out, fh_err *err) {
    const fh_json_node *t = fh_json_get(fh_json_root(a->config), table);
    for (const fh_json_node *k = fh_json_first(t); k; k = fh_json_after(t, k)) {
        bool known;
        bool hit = fh_adapter_match(k->key, module, &known);
        if (!known)
            return fh_fail(err, FH_ERR_UNSUPPORTED,
                           "%s in adapter_config.json: the expression '%.*s' is not understood", table,
                           FH_STR_ARG(k->key));
        if (hit) {
            *out = k;
            return FH_OK;
        }
    }
    return FH_OK;
}

fh_status fh_adapter_scale_peft(const fh_adapter *a, fh_str module, uint64_t *r, double *alpha, fh_err *err) {
    const fh_json_node *rank = NULL, *own = NULL;
    FH_TRY(look_up(a, "rank_pattern", module, &rank, err));
    FH_TRY(look_up(a, "alpha_pattern", module, &own, err));
    *r = a->info.r;
    *alpha = a->info.alpha;
    if ((rank && (!fh_json_to_u64(rank, r) || *r == 0)) || (own && !fh_json_to_f64(own, alpha)))
        return fh_fail(err, FH_ERR_FORMAT, "adapter_config.json gives '%.*s' no sensible rank or alpha",
                       FH_STR_ARG(module));
    return FH_OK;
}

/* ---- names ---- */
static const struct ending {
    const char *text;
    fh_adapter_role role;
} endings[] = {{".lora_A.weight", FH_ADAPTER_A},
               {".lora_A.default.weight", FH_ADAPTER_A},
               {".lora_B.weight", FH_ADAPTER_B},
               {".lora_B.default.weight", FH_ADAPTER_B},
               {".lora_B.bias", FH_ADAPTER_B_BIAS},
               {".lora_embedding_A", FH_ADAPTER_EMBEDDING_A},
               {".lora_embedding_A.default", FH_ADAPTER_EMBEDDING_A},
               {".lora_embedding_B", FH_ADAPTER_EMBEDDING_B},
               {".lora_embedding_B.default", FH_ADAPTER_EMBEDDING_B},
               {".lora_magnitude_vector", FH_ADAPTER_MAGNITUDE},
               {".lora_magnitude_vector.weight", FH_ADAPTER_MAGNITUDE}};

/* Where one component of the path stands, with the dot before it. */
static bool find_part(fh_str name, const char *part, size_t *at) {
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= name.len; i++)
        if (memcmp(name.ptr + i, part, n) == 0) {
            *at = i;
            return true;
        }
    return false;
}

/* "model.embed_tokens.base_layer.weight" and "head.modules_to_save.weight" name what the wrapper wraps. */
static fh_status unwrap(fh_adapter *a, fh_str name, fh_str *out, fh_err *err) {
    static const char *const wrapper[] = {".base_layer", ".modules_to_save"};
    for (size_t k = 0; k < FH_COUNT(wrapper); k++) {
        size_t at, n = strlen(wrapper[k]);
        if (!find_part(name, wrapper[k], &at) || at + n >= name.len || name.ptr[at + n] != '.') continue;
        char *z = fh_arena_alloc(&a->arena, name.len, 1);
        if (!z) return fh_arena_fail(&a->arena, err);
        memcpy(z, name.ptr, at);
        memcpy(z + at, name.ptr + at + n, name.len - at - n);
        name = (fh_str){z, name.len - n};
    }
    *out = name;
    return FH_OK;
}

static fh_status classify(fh_adapter *a, const fh_tensor *t, fh_adapter_entry *out, fh_err *err) {
    static const char *const foreign[] = {
        ".lora_", ".ia3_", ".hada_", ".lokr_", ".oft_", ".vera_", ".trainable_tokens", ".token_adapter", "prompt_"};
    fh_str name = fh_str_starts(t->name, PREFIX) ? fh_str_drop(t->name, strlen(PREFIX)) : t->name;
    size_t at;
    for (size_t k = 0; k < FH_COUNT(endings); k++)
        if (fh_str_ends(name, endings[k].text)) {
            *out = (fh_adapter_entry){fh_str_first(name, name.len - strlen(endings[k].text)), endings[k].role, t};
            return FH_OK;
        }
    for (size_t k = 0; k < FH_COUNT(foreign); k++)
        if (find_part(name, foreign[k], &at))
            return fh_fail_at(err, FH_ERR_UNSUPPORTED, t->file_offset,
                              "adapter tensor '%.*s' is of a kind that is not read", FH_STR_ARG(t->name));
    *out = (fh_adapter_entry){name, FH_ADAPTER_SAVED, t};
    return unwrap(a, name, &out->module, err);
}

static fh_status load(fh_adapter *a, const char *folder, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_buf text;
    FH_TRY(fh_path_join(path, folder, FH_STR("adapter_config.json"), err));
    fh_buf_init(&text, CONFIG_CEILING);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_json_parse(&a->config, fh_buf_str(&text), NULL, err);
    fh_buf_release(&text);
    if (st == FH_OK) st = read_config(a, err);
    if (st != FH_OK) {
        fh_err_set_path(err, path);
        return st;
    }
    FH_TRY(fh_path_join(path, folder, FH_STR("adapter_model.safetensors"), err));
    if (fh_file_get_kind(path) != FH_FILE_NONE) {
        FH_TRY(fh_map_open(&a->map, path, err));
        return fh_st_open(&a->st, fh_map_bytes(a->map), err);
    }
    FH_TRY(fh_path_join(path, folder, FH_STR("adapter_model.bin"), err));
    if (fh_file_get_kind(path) == FH_FILE_NONE)
        return fh_fail(err, FH_ERR_NOT_FOUND, "the adapter has no adapter_model.safetensors");
    return fh_fail(
        err, FH_ERR_UNSUPPORTED,
        "adapter_model.bin is a Python pickle, which can run code when read: save the adapter as safetensors");
}

fh_status fh_adapter_read_peft(fh_adapter *a, const char *folder, fh_adapter_entry **out, size_t *n, fh_err *err) {
    FH_TRY(load(a, folder, err));
    *n = fh_st_n_tensor(a->st);
    *out = fh_alloc(*n, sizeof **out);
    if (!*out) return fh_fail_memory(err, *n * sizeof **out);
    for (size_t i = 0; i < *n; i++) FH_TRY(classify(a, fh_st_get_tensor(a->st, i), &(*out)[i], err));
    return FH_OK;
}
