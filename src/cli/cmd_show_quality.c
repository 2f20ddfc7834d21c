/* cli/cmd_show_quality.c - what a model's own file says about how good it is: see freehold perplexity --store.
 * SPDX-License-Identifier: Apache-2.0
 * A claim like all metadata: who made it and over which text stands with it. */
#include "base/json_member.h"
#include "cli/show_part.h"
#include "evaluate/perplexity_store.h"

static bool read_stored(const fh_bundle *b, fh_perplexity_stored *s) {
    const fh_gguf *g = fh_bundle_gguf(b, 0);
    return g && fh_perplexity_read_stored(g, s);
}

void fh_show_quality_text(fh_buf *out, const fh_bundle *b) {
    fh_perplexity_stored s;
    if (!read_stored(b, &s)) return;
    fh_buf_printf(out, "\nPerplexity  %.4f +/- %.4f\n", s.ppl, s.ppl_error);
    fh_buf_add_z(out, "  text            ");
    fh_cli_add_safe(out, fh_str_first(s.text, 200));
    fh_buf_printf(out, ", %llu tokens in %llu chunks of %llu", (unsigned long long)s.tokens,
                  (unsigned long long)s.chunks, (unsigned long long)s.context);
    if (s.stride) fh_buf_printf(out, ", %llu apart", (unsigned long long)s.stride);
    fh_buf_add_z(out, "\n  measured by     ");
    fh_cli_add_safe(out, fh_str_first(s.by, 200));
    fh_buf_add_byte(out, '\n');
    if (!s.base.len) return;
    fh_buf_add_z(out, "  compared with   ");
    fh_cli_add_safe(out, fh_str_first(s.base, 200));
    fh_buf_printf(out, ", perplexity %.4f\n  divergence      mean %.6f +/- %.6f, median %.6f, 99%% %.6f, most %.6f\n",
                  s.base_ppl, s.kld, s.kld_error, s.kld_median, s.kld_p99, s.kld_max);
    fh_buf_printf(out, "  same best token %.3f%%, probability of the right one off by %.3f%% RMS\n", 100 * s.same_best,
                  100 * s.dp_rms);
}

static void put_TEXT(fh_json_writer *w, const char *key, fh_str v) {
    if (v.len) fh_put_str(w, key, v);
}

/* Field names as keys; those about a base only where there was one. */
void fh_show_quality_json(fh_json_writer *w, const fh_bundle *b) {
    fh_perplexity_stored s;
    if (!read_stored(b, &s)) return;
    fh_json_put_key(w, "measured");
    fh_json_put_object(w);
#define put_WHOLE fh_put_u64
#define put_NUMBER fh_put_f64
#define FH_STORED_ROW(kind, field, key) \
    if (s.base.len || !fh_str_starts(FH_STR(key), "freehold.kld.")) put_##kind(w, #field, s.field);
#include "evaluate/perplexity_stored.def"
#undef FH_STORED_ROW
#undef put_NUMBER
#undef put_WHOLE
    fh_json_put_end(w);
}
