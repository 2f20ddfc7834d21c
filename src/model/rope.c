/* model/rope.c - rotation: settings of both kinds of file, and the frequencies they stand for.
 * SPDX-License-Identifier: Apache-2.0
 * Frequencies are computed in double and rounded once. Refuses kinds of scaling it does not know: a wrong angle makes
 * fluent nonsense. */
#include "model/rope.h"

#include <math.h>

#include "kernel/decode.h"

#define TWO_PI 6.283185307179586

/* ---- reading ---- */

static fh_rope_spec plain(double theta, uint32_t n_rot, uint32_t context) {
    return (fh_rope_spec){.theta = theta,
                          .n_rot = n_rot,
                          .scaling = FH_ROPE_DEFAULT,
                          .factor = 1,
                          .truncate = true,
                          .beta_fast = 32,
                          .beta_slow = 1,
                          .context = context};
}

static fh_rope_type type_of(fh_str s) {
    static const struct {
        const char *name;
        fh_rope_type type;
    } known[] = {
        {"none", FH_ROPE_DEFAULT}, {"default", FH_ROPE_DEFAULT},   {"linear", FH_ROPE_LINEAR},
        {"yarn", FH_ROPE_YARN},    {"longrope", FH_ROPE_LONGROPE}, {"dynamic", FH_ROPE_DYNAMIC},
    };
    for (size_t i = 0; i < FH_COUNT(known); i++)
        if (fh_str_is(s, known[i].name)) return known[i].type;
    return FH_ROPE_UNKNOWN;
}

/* A GGUF keeps lists of divisors as tensors. */
static fh_status divisors(const fh_bundle *b, const char *name, uint32_t pairs, fh_arena *arena, const float **out,
                          fh_err *err) {
    const fh_weight *w = fh_bundle_find_weight(b, fh_str_of(name));
    uint64_t n = 0;
    if (!w || !w->codes) return FH_OK;
    if (!fh_shape_count(&w->shape, &n) || n != pairs || w->codes->dtype != FH_DTYPE_F32)
        return fh_fail(err, FH_ERR_FORMAT, "tensor '%s' does not hold one divisor for each of %u pairs", name, pairs);
    float *v = fh_arena_alloc(arena, pairs, sizeof *v);
    if (!v) return fh_arena_fail(arena, err);
    fh_decode(FH_DTYPE_F32, w->codes->data.ptr, v, pairs);
    *out = v;
    return FH_OK;
}

static fh_status read_gguf(fh_spec *s, const fh_meta *m, const fh_bundle *b, uint32_t head, fh_arena *arena,
                           fh_err *err) {
    uint32_t n_rot = fh_meta_u32_or(m, FH_META_ROPE_WIDTH, head);
    double theta = 10000, local = 0;
    fh_str scaling;
    fh_meta_f64(m, FH_META_ROPE_THETA, &theta);
    fh_rope_spec r = plain(theta, n_rot, s->n_context);
    if (fh_meta_str(m, FH_META_ROPE_SCALING, &scaling)) r.scaling = type_of(scaling);
    fh_meta_f64(m, FH_META_ROPE_FACTOR, &r.factor);
    fh_meta_f64(m, FH_META_ROPE_BETA_FAST, &r.beta_fast);
    fh_meta_f64(m, FH_META_ROPE_BETA_SLOW, &r.beta_slow);
    fh_meta_f64(m, FH_META_ROPE_ATTENTION_FACTOR, &r.attention_factor);
    r.original = fh_meta_u32_or(m, FH_META_ROPE_ORIGINAL, s->n_context);
    FH_TRY(divisors(b, "rope_freqs.weight", n_rot / 2, arena, &r.divide, err));
    FH_TRY(divisors(b, "rope_factors_short.weight", n_rot / 2, arena, &r.short_divide, err));
    FH_TRY(divisors(b, "rope_factors_long.weight", n_rot / 2, arena, &r.long_divide, err));
    if (r.long_divide) r.scaling = FH_ROPE_LONGROPE;
    s->rope[0] = r;
    s->n_rope = 1;
    if (fh_meta_f64(m, FH_META_ROPE_THETA_LOCAL, &local)) s->rope[s->n_rope++] = plain(local, n_rot, s->n_context);
    return FH_OK;
}

static const float *copy_list(const double *v, uint32_t n, uint32_t want, fh_arena *arena) {
    float *out = n == want ? fh_arena_alloc(arena, n, sizeof *out) : NULL;
    for (uint32_t i = 0; out && i < n; i++) out[i] = (float)v[i];
    return out;
}

static fh_rope_spec of_config(const fh_spec *s, const fh_hf_rope *h, uint32_t head, fh_arena *arena) {
    uint32_t n_rot = h->rotary_dim ? h->rotary_dim : (uint32_t)(head * h->partial);
    fh_rope_spec r = plain(h->theta > 0 ? h->theta : 10000, n_rot & ~1u, s->n_context);
    r.scaling = h->type;
    r.factor = h->factor;
    r.low_freq = h->low_freq_factor;
    r.high_freq = h->high_freq_factor;
    r.beta_fast = h->beta_fast;
    r.beta_slow = h->beta_slow;
    r.mscale = h->mscale;
    r.mscale_all_dim = h->mscale_all_dim;
    r.attention_factor = h->attention_factor;
    r.truncate = h->truncate;
    r.original = h->original_max_position;
    r.short_divide = h->short_factor ? copy_list(h->short_factor, h->n_short, r.n_rot / 2, arena) : NULL;
    if (h->type == FH_ROPE_LLAMA3) r.divide = r.short_divide; /* a converter's: the formula to the last bit */
    r.long_divide = h->long_factor ? copy_list(h->long_factor, h->n_long, r.n_rot / 2, arena) : NULL;
    return r;
}

fh_status fh_rope_read(fh_spec *s, const fh_meta *m, const fh_bundle *b, uint32_t head, fh_arena *arena, fh_err *err) {
    if (m->gguf) return read_gguf(s, m, b, head, arena, err);
    const fh_hf_ropes *all = fh_hf_config_ropes(m->hf);
    const fh_hf_rope *full = NULL, *sliding = NULL;
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->item[i].scope == FH_ROPE_ALL || all->item[i].scope == FH_ROPE_FULL) full = &all->item[i];
        if (all->item[i].scope == FH_ROPE_SLIDING) sliding = &all->item[i];
    }
    s->rope[0] = full ? of_config(s, full, head, arena) : plain(10000, head, s->n_context);
    s->n_rope = 1;
    if (sliding) s->rope[s->n_rope++] = of_config(s, sliding, head, arena);
    return arena->status == FH_OK ? FH_OK : fh_arena_fail(arena, err);
}

/* ---- frequencies ---- */

static double base_freq(const fh_rope_spec *r, uint32_t i) { return pow(r->theta, -2.0 * i / r->n_rot); }

/* Llama 3: long waves are slowed by the factor, short ones kept, those between blended. */
static double llama3(const fh_rope_spec *r, double f) {
    double wave = TWO_PI / f, original = r->original;
    if (wave < original / r->high_freq) return f;
    if (wave > original / r->low_freq) return f / r->factor;
    double keep = (original / wave - r->low_freq) / (r->high_freq - r->low_freq);
    return (1 - keep) * f / r->factor + keep * f;
}

/* YaRN: the pair whose wave turns `turns` times within the original length. */
static double yarn_pair(const fh_rope_spec *r, double turns) {
    return r->n_rot * log(r->original / (turns * TWO_PI)) / (2 * log(r->theta));
}

static double yarn(const fh_rope_spec *r, uint32_t i, double f) {
    double low = yarn_pair(r, r->beta_fast), high = yarn_pair(r, r->beta_slow);
    if (r->truncate) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, r->n_rot - 1);
    if (low == high) high += 0.001;
    double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
    return f / r->factor * ramp + f * (1 - ramp);
}

static double yarn_magnitude(double factor, double m) { return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1; }

static double magnitude(const fh_rope_spec *r) {
    if (r->scaling != FH_ROPE_YARN && r->scaling != FH_ROPE_LONGROPE) return 1;
    if (r->attention_factor > 0) return r->attention_factor;
    if (r->scaling == FH_ROPE_LONGROPE) {
        double by = r->original ? (double)r->context / r->original : r->factor;
        return by <= 1 ? 1 : sqrt(1 + log(by) / log(r->original));
    }
    if (r->mscale > 0 && r->mscale_all_dim > 0)
        return yarn_magnitude(r->factor, r->mscale) / yarn_magnitude(r->factor, r->mscale_all_dim);
    return yarn_magnitude(r->factor, 1);
}

static fh_status check(const fh_rope_spec *r, fh_err *err) {
    if (r->n_rot < 2 || r->n_rot % 2)
        return fh_fail(err, FH_ERR_FORMAT, "rotation of %u columns: not an even number above 0", r->n_rot);
    if (!(r->theta > 0)) return fh_fail(err, FH_ERR_FORMAT, "rotation with base %g", r->theta);
    if (r->scaling == FH_ROPE_UNKNOWN || r->scaling == FH_ROPE_NONE)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "a kind of rope scaling that is not known");
    bool scaled = r->scaling == FH_ROPE_LINEAR || r->scaling == FH_ROPE_LLAMA3 || r->scaling == FH_ROPE_YARN;
    if (scaled && !(r->factor > 0)) return fh_fail(err, FH_ERR_FORMAT, "rope scaling with factor %g", r->factor);
    if ((r->scaling == FH_ROPE_YARN || r->scaling == FH_ROPE_LLAMA3) && !r->original)
        return fh_fail(err, FH_ERR_FORMAT, "rope scaling without its original context length");
    if (r->scaling == FH_ROPE_LONGROPE && (!r->long_divide || !r->short_divide))
        return fh_fail(err, FH_ERR_FORMAT, "longrope needs one short and one long factor for each of %u pairs",
                       r->n_rot / 2);
    return FH_OK;
}

float fh_rope_divisor(const fh_rope_spec *r, uint32_t i) {
    double f = base_freq(r, i);
    if (r->divide) return r->divide[i];
    return r->scaling == FH_ROPE_LLAMA3 ? (float)(f / llama3(r, f)) : 1;
}

static double freq(const fh_rope_spec *r, uint32_t i, const float *divide) {
    double f = base_freq(r, i);
    if (divide) return f / divide[i];
    switch (r->scaling) {
    case FH_ROPE_LINEAR: return f / r->factor;
    case FH_ROPE_LLAMA3: return f / fh_rope_divisor(r, i); /* as a GGUF keeps it: the same bits from both */
    case FH_ROPE_YARN: return yarn(r, i, f);
    default: return f;
    }
}

fh_status fh_rope_make(const fh_rope_spec *r, fh_rope_layout layout, fh_arena *arena, fh_rope *out, fh_err *err) {
    FH_TRY(check(r, err));
    uint32_t pairs = r->n_rot / 2;
    bool twice = r->scaling == FH_ROPE_LONGROPE;
    float *f = fh_arena_alloc(arena, pairs, sizeof *f), *g = twice ? fh_arena_alloc(arena, pairs, sizeof *g) : NULL;
    if (!f || (twice && !g)) return fh_arena_fail(arena, err);
    for (uint32_t i = 0; i < pairs; i++) {
        f[i] = (float)freq(r, i, twice ? r->short_divide : r->divide);
        if (g) g[i] = (float)freq(r, i, r->long_divide);
    }
    float m = (float)magnitude(r);
    *out = (fh_rope){.layout = layout,
                     .n_rot = r->n_rot,
                     .freq = f,
                     .long_freq = g,
                     .long_from = twice ? r->original : 0,
                     .magnitude = m,
                     .long_magnitude = m};
    return FH_OK;
}
