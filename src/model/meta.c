/* model/meta.c - one facade over GGUF keys and config.json, driven by meta.def.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Answers false for what the file does not say; both readers have checked types and ranges. */
#include <stdio.h>

#include "model/family.h"

#define FH_HF_NONE FH_HF_FIELD_COUNT

static const struct {
    const char *gguf;
    int hf;
} fields[] = {
#define FH_META_ROW(id, gguf, hf) [FH_META_##id] = {gguf, FH_HF_##hf},
#include "model/meta.def"
#undef FH_META_ROW
};

static const fh_gguf_kv *find(const fh_meta *m, fh_meta_field f) {
    char key[256];
    if (!m->gguf || !fields[f].gguf[0]) return NULL;
    int n = snprintf(key, sizeof key, "%.*s.%s", (int)m->arch.len, m->arch.ptr, fields[f].gguf);
    return n > 0 && (size_t)n < sizeof key ? fh_gguf_find(m->gguf, key) : NULL;
}

static bool in_config(const fh_meta *m, fh_meta_field f) { return m->hf && fields[f].hf != FH_HF_NONE; }

bool fh_meta_u64(const fh_meta *m, fh_meta_field f, uint64_t *out) {
    if (m->gguf) return fh_gguf_to_u64(find(m, f), out);
    return in_config(m, f) && fh_hf_config_u64(m->hf, (fh_hf_field)fields[f].hf, out);
}

bool fh_meta_u64_at(const fh_meta *m, fh_meta_field f, size_t i, uint64_t *out) {
    if (m->gguf) {
        const fh_gguf_kv *kv = find(m, f);
        if (kv && kv->type == FH_GGUF_ARRAY) {
            bool flag = false;
            if (fh_gguf_elem_u64(kv, i, out)) return true;
            if (!fh_gguf_elem_bool(kv, i, &flag)) return false;
            *out = flag;
            return true;
        }
        return fh_gguf_to_u64(kv, out);
    }
    return in_config(m, f) && fh_hf_config_u64_at(m->hf, (fh_hf_field)fields[f].hf, i, out);
}

bool fh_meta_f64(const fh_meta *m, fh_meta_field f, double *out) {
    if (m->gguf) return fh_gguf_to_f64(find(m, f), out);
    return in_config(m, f) && fh_hf_config_f64(m->hf, (fh_hf_field)fields[f].hf, out);
}

bool fh_meta_bool(const fh_meta *m, fh_meta_field f, bool *out) {
    if (m->gguf) return fh_gguf_to_bool(find(m, f), out);
    return in_config(m, f) && fh_hf_config_bool(m->hf, (fh_hf_field)fields[f].hf, out);
}

bool fh_meta_str(const fh_meta *m, fh_meta_field f, fh_str *out) {
    if (m->gguf) return fh_gguf_to_str(find(m, f), out);
    return in_config(m, f) && fh_hf_config_str(m->hf, (fh_hf_field)fields[f].hf, out);
}

uint32_t fh_meta_u32_or(const fh_meta *m, fh_meta_field f, uint32_t otherwise) {
    uint64_t v = 0;
    return fh_meta_u64(m, f, &v) && v <= UINT32_MAX - 1 ? (uint32_t)v : otherwise;
}

float fh_meta_f32_or(const fh_meta *m, fh_meta_field f, float otherwise) {
    double v = 0;
    return fh_meta_f64(m, f, &v) ? (float)v : otherwise;
}

bool fh_meta_bool_or(const fh_meta *m, fh_meta_field f, bool otherwise) {
    bool v = false;
    return fh_meta_bool(m, f, &v) ? v : otherwise;
}

bool fh_meta_layer_type_is(const fh_meta *m, uint32_t il, const char *type, bool otherwise) {
    if (!m->hf || il >= fh_hf_config_n_layer_type(m->hf)) return otherwise;
    return fh_str_eq(fh_hf_config_layer_type(m->hf, il), fh_str_of(type));
}
