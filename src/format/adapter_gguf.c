/* format/adapter_gguf.c - GGUF adapters: metadata and tensors called after the base tensor they change.
 * SPDX-License-Identifier: Apache-2.0
 * X.lora_a and X.lora_b belong to base tensor X. Norm weights may stand beside them and replace the base's;
 * any other name is refused. */
#include "format/adapter_part.h"

static fh_status read_meta(fh_adapter *a, fh_err *err) {
    const fh_gguf *g = a->gguf;
    fh_str type = {"", 0}, kind = {"", 0};
    fh_gguf_to_str(fh_gguf_find(g, "general.type"), &type);
    fh_gguf_to_str(fh_gguf_find(g, "adapter.type"), &kind);
    if (!fh_str_is(type, "adapter"))
        return fh_fail(err, FH_ERR_FORMAT, "general.type is '%.*s': this GGUF is no adapter", FH_STR_ARG(type));
    if (!fh_str_is(kind, "lora"))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter of type '%.*s': only 'lora' is read", FH_STR_ARG(kind));
    a->info.form = FH_ADAPTER_GGUF;
    a->info.bias = FH_STR("none");
    fh_gguf_to_str(fh_gguf_find(g, "general.architecture"), &a->info.arch);
    fh_gguf_to_f64(fh_gguf_find(g, "adapter.lora.alpha"), &a->info.alpha);
    const fh_gguf_kv *tokens = fh_gguf_find(g, "adapter.alora.invocation_tokens");
    if (!tokens) return FH_OK;
    if (tokens->type != FH_GGUF_ARRAY || tokens->n > UINT32_MAX)
        return fh_fail_at(err, FH_ERR_FORMAT, tokens->offset, "adapter.alora.invocation_tokens is no list of tokens");
    uint32_t *token = fh_arena_alloc(&a->arena, (size_t)tokens->n, sizeof *token);
    if (!token) return fh_arena_fail(&a->arena, err);
    for (uint64_t i = 0; i < tokens->n; i++) {
        uint64_t v;
        if (!fh_gguf_elem_u64(tokens, i, &v) || v > UINT32_MAX)
            return fh_fail_at(err, FH_ERR_FORMAT, tokens->offset,
                              "adapter.alora.invocation_tokens is no list of tokens");
        token[i] = (uint32_t)v;
    }
    a->info.invocation = token;
    a->info.n_invocation = (size_t)tokens->n;
    return FH_OK;
}

static fh_status classify(const fh_tensor *t, fh_adapter_entry *out, fh_err *err) {
    bool is_a = fh_str_ends(t->name, ".lora_a"), is_b = fh_str_ends(t->name, ".lora_b");
    if (is_a || is_b) {
        fh_str base = fh_str_first(t->name, t->name.len - strlen(".lora_a"));
        bool table = fh_str_is(base, "token_embd.weight"); /* looked up, not multiplied: its a is stored turned */
        fh_adapter_role a = table ? FH_ADAPTER_EMBEDDING_A : FH_ADAPTER_A;
        fh_adapter_role b = table ? FH_ADAPTER_EMBEDDING_B : FH_ADAPTER_B;
        *out = (fh_adapter_entry){base, is_a ? a : b, t};
        return FH_OK;
    }
    if (!fh_str_ends(t->name, "_norm.weight"))
        return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset, "adapter tensor '%.*s' is neither .lora_a nor .lora_b",
                          FH_STR_ARG(t->name));
    *out = (fh_adapter_entry){t->name, FH_ADAPTER_SAVED, t};
    return FH_OK;
}

fh_status fh_adapter_read_gguf(fh_adapter *a, const char *path, fh_adapter_entry **out, size_t *n, fh_err *err) {
    FH_TRY(fh_map_open(&a->map, path, err));
    fh_bytes file = fh_map_bytes(a->map);
    if (file.len < 4 || memcmp(file.ptr, "GGUF", 4) != 0)
        return fh_fail(err, FH_ERR_FORMAT,
                       "no adapter: give a GGUF adapter, or the folder that holds adapter_config.json");
    FH_TRY(fh_gguf_open(&a->gguf, file, err));
    FH_TRY(read_meta(a, err));
    *n = fh_gguf_n_tensor(a->gguf);
    *out = fh_alloc(*n, sizeof **out);
    if (!*out) return fh_fail_memory(err, *n * sizeof **out);
    for (size_t i = 0; i < *n; i++) FH_TRY(classify(fh_gguf_get_tensor(a->gguf, i), &(*out)[i], err));
    return FH_OK;
}
