/* kernel/fast_op_body.h - the loops of fast_op.h, written once for all vectors of fast_op_vec.h.
 * SPDX-License-Identifier: Apache-2.0
 * What does not fill a vector goes through a small buffer and the same instructions. Objects that include this define
 * FH_FAST_OPS, its name and FH_FAST_LEVEL. */
#include <math.h>

#include "kernel/decode.h"
#include "kernel/fast_op.h"
#include "kernel/fast_op_vec.h"
#include "kernel/ref_op.h"

#if defined(FH_VEC) && defined(FH_FAST_OPS)

/* `expr` of v, the numbers of x, to y. */
#define EACH(expr) \
    { \
        size_t i = 0; \
        for (; i + FH_VEC <= n; i += FH_VEC) { \
            const fh_vec v = fh_vec_load(x + i); \
            fh_vec_store(y + i, (expr)); \
        } \
        if (i < n) { \
            const fh_vec v = fh_vec_load_part(x + i, n - i); \
            fh_vec_store_part(y + i, (expr), n - i); \
        } \
    }

/* ---- norms ---- */
FH_INLINE float sum_of(const float *x, size_t n, bool squares, float less) {
    fh_vec s[4] = {fh_vec_set(0), fh_vec_set(0), fh_vec_set(0), fh_vec_set(0)};
    const fh_vec mean = fh_vec_set(less);
    size_t i = 0;
    for (; i + 4 * FH_VEC <= n; i += 4 * FH_VEC) {
        FH_UNROLL
        for (size_t j = 0; j < 4; j++) {
            const fh_vec v = fh_vec_sub(fh_vec_load(x + i + j * FH_VEC), mean);
            s[j] = squares ? fh_vec_fma(v, v, s[j]) : fh_vec_add(s[j], v);
        }
    }
    float all = fh_vec_sum(fh_vec_add(fh_vec_add(s[0], s[1]), fh_vec_add(s[2], s[3])));
    for (; i < n; i++) all += squares ? (x[i] - less) * (x[i] - less) : x[i] - less;
    return all;
}

static void norm(fh_norm_kind kind, float eps, const float *x, const float *w, const float *b, float *y, size_t n) {
    const float width = (float)n, mean = kind == FH_NORM_LAYER ? sum_of(x, n, false, 0) / width : 0;
    const float squares = sum_of(x, n, true, mean);
    const float inv = 1.0f / sqrtf((kind == FH_NORM_L2 ? squares : squares / width) + eps);
    const fh_vec scale = fh_vec_set(inv), less = fh_vec_set(mean), none = fh_vec_set(0), one = fh_vec_set(1);
    size_t i = 0;
    for (; i + FH_VEC <= n; i += FH_VEC) {
        const fh_vec v = fh_vec_mul(fh_vec_sub(fh_vec_load(x + i), less), scale);
        fh_vec_store(y + i, fh_vec_fma(v, w ? fh_vec_load(w + i) : one, b ? fh_vec_load(b + i) : none));
    }
    if (i < n) {
        const size_t rest = n - i;
        const fh_vec v = fh_vec_mul(fh_vec_sub(fh_vec_load_part(x + i, rest), less), scale);
        fh_vec_store_part(
            y + i, fh_vec_fma(v, w ? fh_vec_load_part(w + i, rest) : one, b ? fh_vec_load_part(b + i, rest) : none),
            rest);
    }
}

/* ---- maps ---- */
FH_INLINE fh_vec map_of(fh_map_kind kind, float c, fh_vec v) {
    switch (kind) {
    case FH_MAP_SILU: return fh_vec_mul(v, fh_vec_sigmoid(v));
    case FH_MAP_GELU_TANH: {
        const fh_vec q = fh_vec_fma(fh_vec_mul(v, v), fh_vec_set(0.044715f), fh_vec_set(1.0f));
        return fh_vec_mul(v, fh_vec_sigmoid(fh_vec_mul(fh_vec_mul(v, q), fh_vec_set(1.59576912f))));
    }
    case FH_MAP_GELU_ERF: return fh_vec_mul(v, fh_vec_normal_below(v));
    case FH_MAP_RELU: return fh_vec_max(fh_vec_set(0), v);
    case FH_MAP_SIGMOID: return fh_vec_sigmoid(v);
    case FH_MAP_TANH: return fh_vec_tanh(v);
    case FH_MAP_SCALE: return fh_vec_mul(fh_vec_set(c), v);
    case FH_MAP_SOFTCAP: return fh_vec_mul(fh_vec_set(c), fh_vec_tanh(fh_vec_div(v, fh_vec_set(c))));
    case FH_MAP_CLAMP: return fh_vec_min(fh_vec_set(c), fh_vec_max(fh_vec_set(-c), v));
    case FH_MAP_OAI_SWIGLU: {
        const fh_vec g = fh_vec_min(fh_vec_set(c), v);
        return fh_vec_mul(g, fh_vec_sigmoid(fh_vec_mul(fh_vec_set(1.702f), g)));
    }
    default: return v;
    }
}

static void map(fh_map_kind kind, float c, const float *x, float *y, size_t n) {
    switch (kind) {
#define MAP(k) \
    case k: EACH(map_of(k, c, v)) break;
        MAP(FH_MAP_SILU)
        MAP(FH_MAP_GELU_TANH)
        MAP(FH_MAP_GELU_ERF)
        MAP(FH_MAP_RELU)
        MAP(FH_MAP_SIGMOID)
        MAP(FH_MAP_TANH)
        MAP(FH_MAP_SCALE)
        MAP(FH_MAP_SOFTCAP)
        MAP(FH_MAP_CLAMP)
        MAP(FH_MAP_OAI_SWIGLU)
        MAP(FH_MAP_NONE)
#undef MAP
    default: fh_ref_map(kind, c, x, y, n); break;
    }
}

/* What a gate does to the other input. */
typedef struct gate_rule {
    float c, cut_g, cut_u, plus;
} gate_rule;

FH_INLINE fh_vec gate_of(fh_map_kind kind, gate_rule r, fh_vec g) {
    return map_of(kind, r.c, fh_vec_min(fh_vec_set(r.cut_g), g));
}

FH_INLINE fh_vec gated(gate_rule r, fh_vec f, fh_vec u) {
    const fh_vec cut = fh_vec_min(fh_vec_set(r.cut_u), fh_vec_max(fh_vec_set(-r.cut_u), u));
    return fh_vec_mul(f, fh_vec_add(cut, fh_vec_set(r.plus)));
}

FH_INLINE void glu_of(fh_map_kind kind, gate_rule r, const float *g, const float *u, float *y, size_t n) {
    size_t i = 0;
    for (; i + FH_VEC <= n; i += FH_VEC) {
        fh_vec_store(y + i, gated(r, gate_of(kind, r, fh_vec_load(g + i)), fh_vec_load(u + i)));
    }
    if (i < n) {
        fh_vec_store_part(
            y + i, gated(r, gate_of(kind, r, fh_vec_load_part(g + i, n - i)), fh_vec_load_part(u + i, n - i)), n - i);
    }
}

static void glu(fh_map_kind kind, float c, float limit, const float *g, bool one_gate, const float *u, float *y,
                size_t n) {
    const bool oai = kind == FH_MAP_OAI_SWIGLU, cut = limit > 0;
    const gate_rule r = {c, cut ? limit : INFINITY,
                         oai && !(cut && limit < c) ? c
                         : cut                      ? limit
                                                    : INFINITY,
                         oai ? 1.0f : 0.0f};
    if (one_gate) {
        float f = g[0] > r.cut_g ? r.cut_g : g[0];
        map(kind, c, &f, &f, 1);
        const float *x = u;
        EACH(gated(r, fh_vec_set(f), v))
        return;
    }
    switch (kind) {
#define GLU(k) \
    case k: glu_of(k, r, g, u, y, n); break;
        GLU(FH_MAP_SILU)
        GLU(FH_MAP_GELU_TANH)
        GLU(FH_MAP_GELU_ERF)
        GLU(FH_MAP_RELU)
        GLU(FH_MAP_SIGMOID)
        GLU(FH_MAP_TANH)
        GLU(FH_MAP_SCALE)
        GLU(FH_MAP_SOFTCAP)
        GLU(FH_MAP_CLAMP)
        GLU(FH_MAP_OAI_SWIGLU)
        GLU(FH_MAP_NONE)
#undef GLU
    default: fh_ref_glu(kind, c, limit, g, one_gate, u, y, n); break;
    }
}

/* ---- rotation ---- */
static void rope(fh_rope_layout layout, bool inverse, const float *cos, const float *sin, float *x, size_t n_pair) {
    const fh_vec none = fh_vec_set(0);
    size_t i = 0;
    if (layout == FH_ROPE_HALVES) {
        for (; i + FH_VEC <= n_pair; i += FH_VEC) {
            const fh_vec a = fh_vec_load(x + i), b = fh_vec_load(x + n_pair + i), c = fh_vec_load(cos + i);
            const fh_vec s = inverse ? fh_vec_sub(none, fh_vec_load(sin + i)) : fh_vec_load(sin + i);
            fh_vec_store(x + i, fh_vec_fma(a, c, fh_vec_sub(none, fh_vec_mul(b, s))));
            fh_vec_store(x + n_pair + i, fh_vec_fma(b, c, fh_vec_mul(a, s)));
        }
    } else {
        for (; i + FH_VEC / 2 <= n_pair; i += FH_VEC / 2) { /* even: a c - b s; odd: b c + a s */
            const fh_vec v = fh_vec_load(x + 2 * i), c = fh_vec_twice(cos + i), t = fh_vec_twice(sin + i);
            const fh_vec s = fh_vec_minus_even(inverse ? fh_vec_sub(none, t) : t);
            fh_vec_store(x + 2 * i, fh_vec_fma(v, c, fh_vec_mul(fh_vec_swap(v), s)));
        }
    }
    const size_t step = layout == FH_ROPE_PAIRS ? 2 : 1, next = layout == FH_ROPE_PAIRS ? 1 : n_pair;
    for (; i < n_pair; i++) {
        const float a = x[i * step], b = x[i * step + next], s = inverse ? -sin[i] : sin[i];
        x[i * step] = a * cos[i] - b * s;
        x[i * step + next] = b * cos[i] + a * s;
    }
}

static void add(const float *a, float scale, const float *b, float *y, size_t n) {
    const fh_vec s = fh_vec_set(scale);
    size_t i = 0;
    for (; i + FH_VEC <= n; i += FH_VEC) fh_vec_store(y + i, fh_vec_fma(s, fh_vec_load(b + i), fh_vec_load(a + i)));
    if (i < n)
        fh_vec_store_part(y + i, fh_vec_fma(s, fh_vec_load_part(b + i, n - i), fh_vec_load_part(a + i, n - i)), n - i);
}

static void encode(fh_dtype t, const float *x, uint8_t *dst, size_t n) {
    size_t i = 0;
    if (t == FH_DTYPE_F16) {
        for (; i + FH_VEC <= n; i += FH_VEC) fh_vec_store_f16(dst + 2 * i, fh_vec_load(x + i));
    } else if (t == FH_DTYPE_BF16) {
        for (; i + FH_VEC <= n; i += FH_VEC) fh_vec_store_bf16(dst + 2 * i, fh_vec_load(x + i));
    }
    if (i < n) fh_encode(t, x + i, dst + 2 * i, n - i);
}

/* ---- convolution ---- */
enum { CHANNELS = 16, CHANNEL_VECS = CHANNELS / FH_VEC };

static void conv(uint32_t taps, const float *weight, const float *bias, fh_map_kind kind, const float *x, size_t x_ld,
                 float *y, size_t y_ld, size_t n_token, float *seen) {
    float ring[FH_FAST_CONV_TAPS][CHANNELS]; /* tap k of token t: ring[(t + k) % taps] */
    for (uint32_t k = 0; k + 1 < taps; k++) memcpy(ring[k], seen + k * CHANNELS, sizeof ring[k]);
    for (size_t t = 0; t < n_token; t++) {
        memcpy(ring[(t + taps - 1) % taps], x + t * x_ld, sizeof ring[0]);
        fh_vec s[CHANNEL_VECS];
        for (int j = 0; j < CHANNEL_VECS; j++) s[j] = bias != NULL ? fh_vec_load(bias + j * FH_VEC) : fh_vec_set(0);
        for (uint32_t k = 0; k < taps; k++) {
            const float *in = ring[(t + k) % taps];
            for (int j = 0; j < CHANNEL_VECS; j++) {
                s[j] = fh_vec_fma(fh_vec_load(weight + k * CHANNELS + j * FH_VEC), fh_vec_load(in + j * FH_VEC), s[j]);
            }
        }
        for (int j = 0; j < CHANNEL_VECS; j++) fh_vec_store(y + t * y_ld + j * FH_VEC, s[j]);
        map(kind, 0, y + t * y_ld, y + t * y_ld, CHANNELS);
    }
    for (uint32_t k = 0; k + 1 < taps; k++) memcpy(seen + k * CHANNELS, ring[(n_token + k) % taps], sizeof ring[k]);
}

const fh_fast_ops FH_FAST_OPS = {.name = FH_FAST_NAME,
                                 .level = FH_FAST_LEVEL,
                                 .norm = norm,
                                 .map = map,
                                 .glu = glu,
                                 .rope = rope,
                                 .add = add,
                                 .encode = encode,
                                 .conv = conv};

#endif
