/* evaluate/perplexity_store.c - see perplexity_store.h. Owns nothing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "evaluate/perplexity_store.h"

#include <math.h>

#include "base/num.h"
#include "forge/stamp.h"

static fh_perplexity_stored summary(const fh_perplexity *p, const fh_perplexity_origin *from) {
    return (fh_perplexity_stored){.by = from->by,
                                  .text = from->text,
                                  .text_sha256 = from->text_sha256,
                                  .context = p->n_ctx,
                                  .stride = from->stride,
                                  .chunks = p->n_chunk,
                                  .tokens = p->n_row,
                                  .ppl = p->ppl.value,
                                  .ppl_error = p->ppl.error,
                                  .base = from->base,
                                  .base_ppl = p->base.value,
                                  .kld = p->kld.mean.value,
                                  .kld_error = p->kld.mean.error,
                                  .kld_median = p->kld.median,
                                  .kld_p99 = p->kld.p99,
                                  .kld_max = p->kld.max,
                                  .dp_rms = p->dp_rms.value,
                                  .same_best = p->same_best.value};
}

fh_status fh_perplexity_store(const fh_bundle *b, const fh_perplexity *p, const fh_perplexity_origin *from,
                              fh_err *err) {
    static const char *const prefix[] = {"freehold.perplexity.", "freehold.kld."};
    const fh_perplexity_stored s = summary(p, from);
#define FH_STAMP_OF_TEXT(v) .text = (v)
#define FH_STAMP_OF_WHOLE(v) .whole = (v)
#define FH_STAMP_OF_NUMBER(v) .number = (v)
#define FH_STORED_ROW(kind_, field, key_) {.key = key_, .kind = FH_STAMP_##kind_, FH_STAMP_OF_##kind_(s.field)},
    const fh_stamp all[] = {
#include "evaluate/perplexity_stored.def"
    };
#undef FH_STORED_ROW
    size_t n = FH_COUNT(all);
    while (!p->compared && fh_str_starts(fh_str_of(all[n - 1].key), prefix[1])) n--; /* they come last */
    return fh_stamp_write(b, prefix, FH_COUNT(prefix), all, n, err);
}

static void read_TEXT(const fh_gguf *g, const char *key, fh_str *out) {
    if (!fh_gguf_to_str(fh_gguf_find(g, key), out)) *out = (fh_str){"", 0};
}

static void read_WHOLE(const fh_gguf *g, const char *key, uint64_t *out) {
    if (!fh_gguf_to_u64(fh_gguf_find(g, key), out)) *out = 0;
}

static void read_NUMBER(const fh_gguf *g, const char *key, double *out) {
    if (!fh_gguf_to_f64(fh_gguf_find(g, key), out) || !isfinite(*out)) *out = 0;
}

bool fh_perplexity_read_stored(const fh_gguf *g, fh_perplexity_stored *out) {
#define FH_STORED_ROW(kind, field, key) read_##kind(g, key, &out->field);
#include "evaluate/perplexity_stored.def"
#undef FH_STORED_ROW
    return out->ppl > 0;
}
