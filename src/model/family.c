/* model/family.c - the list of families, which of them reads a model, and what several of their hooks share.
 * SPDX-License-Identifier: Apache-2.0 */
#include "model/family.h"

#include "model/model.h"
#include "model/spec_read.h"

#define FH_FAMILY_ROW(id) extern const fh_family fh_family_##id;
#include "model/family.def"
#undef FH_FAMILY_ROW

static const fh_family *const families[] = {
#define FH_FAMILY_ROW(id) &fh_family_##id,
#include "model/family.def"
#undef FH_FAMILY_ROW
};

/* Is name one of "a|b|c"? */
static bool listed(const char *list, fh_str name) {
    while (list && *list) {
        const char *end = strchr(list, '|');
        size_t n = end ? (size_t)(end - list) : strlen(list);
        if (n == name.len && memcmp(list, name.ptr, n) == 0) return true;
        list = end ? end + 1 : NULL;
    }
    return false;
}

const fh_family *fh_family_find(const fh_bundle *b, fh_meta *meta, fh_str *arch) {
    *meta = (fh_meta){.gguf = fh_bundle_gguf(b, 0), .hf = fh_bundle_hf_config(b), .bundle = b};
    *arch = fh_str_of("");
    if (meta->gguf) {
        fh_gguf_to_str(fh_gguf_find(meta->gguf, "general.architecture"), arch);
        meta->arch = *arch;
        meta->hf = NULL;
    } else if (meta->hf) {
        *arch = fh_hf_config_text_model_type(meta->hf);
    }
    for (size_t i = 0; i < FH_COUNT(families); i++)
        if (listed(meta->gguf ? families[i]->gguf : families[i]->hf, *arch)) return families[i];
    return NULL;
}

/* GGUF may list a flag per layer; a number is a period, in both kinds of file. */
static bool is_full(const fh_meta *m, uint32_t il, uint32_t period, bool full_last) {
    uint64_t flag;
    uint32_t every = fh_meta_u32_or(m, FH_META_SLIDING_PATTERN, period);
    bool by_period = every > 0 && (full_last ? (il + 1) % every == 0 : il % every == 0);
    if (!fh_meta_u64(m, FH_META_SLIDING_PATTERN, &flag) && fh_meta_u64_at(m, FH_META_SLIDING_PATTERN, il, &flag))
        by_period = flag == 0;
    return !fh_meta_layer_type_is(m, il, "sliding_attention", !by_period);
}

void fh_family_slide(fh_spec *s, fh_layer *layer, const fh_meta *m, uint32_t period, bool full_last, uint32_t window) {
    for (uint32_t i = 0; i < s->n_layer; i++) {
        if (!window || is_full(m, i, period, full_last)) continue;
        layer[i].mask = FH_MASK_SLIDING;
        layer[i].window = window;
        layer[i].rope = s->n_rope > 1 ? 1 : 0;
    }
}
