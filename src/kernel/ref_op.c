/* kernel/ref_op.c - norms, maps, gates and rotations of one row.
 * SPDX-License-Identifier: Apache-2.0
 * Invariant: every element's value depends only on the row, never on where the row lies or how many there are. */
#include "kernel/ref_op.h"

#include <math.h>
#include <string.h>

#include "kernel/ref_math.h"
#include "kernel/ref_op_dot.h"

float fh_ref_exp(float x) { return (float)fh_math_exp((double)x); }

/* Sixteen partial sums and a tree, as a dot product. */
static float sum(const float *x, size_t n) {
    float s[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (size_t j = 0; j < 16; j++) s[j] = s[j] + x[i + j];
    }
    for (size_t j = 0; i + j < n; j++) s[j] = s[j] + x[i + j];
    for (size_t w = 8; w >= 1; w /= 2) {
        for (size_t j = 0; j < w; j++) s[j] = s[j] + s[j + w];
    }
    return s[0];
}

static float sum_squares(const float *x, size_t n) {
    float out;
    fh_dot_best()->dots(x, &x, 1, n, &out);
    return out;
}

void fh_ref_norm(fh_norm_kind kind, float eps, const float *x, const float *w, const float *b, float *y, size_t n) {
    const float width = (float)n;
    float mean = 0, inv;
    if (kind == FH_NORM_LAYER) {
        mean = sum(x, n) / width;
        for (size_t i = 0; i < n; i++) y[i] = x[i] - mean;
        x = y;
    }
    float squares = sum_squares(x, n);
    inv = 1.0f / sqrtf((kind == FH_NORM_L2 ? squares : squares / width) + eps);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * inv;
    if (w != NULL) {
        for (size_t i = 0; i < n; i++) y[i] = y[i] * w[i];
    }
    if (b != NULL) {
        for (size_t i = 0; i < n; i++) y[i] = y[i] + b[i];
    }
}

/* ---- maps ---- */
static inline float softplus(float x) { return x > 20.0f ? x : (float)fh_math_log1p(fh_math_exp((double)x)); }

static inline float gelu_tanh(float x) {
    const double v = (double)x;
    return (float)(v * fh_math_sigmoid(1.5957691216057308 * (v + 0.044715 * v * v * v)));
}

static inline float gelu_erf(float x) {
    const double v = (double)x;
    return (float)(0.5 * v * (1.0 + fh_math_erf(v * 0.70710678118654752440)));
}

static inline float at_most(float x, float c) { return x > c ? c : x; }
static inline float at_least(float x, float c) { return x < c ? c : x; }

#define EACH(expr) \
    for (size_t i = 0; i < n; i++) { \
        const float v = x[i]; \
        y[i] = (expr); \
    }

void fh_ref_map(fh_map_kind kind, float c, const float *x, float *y, size_t n) {
    switch (kind) {
    case FH_MAP_SILU: EACH((float)((double)v * fh_math_sigmoid((double)v))) break;
    case FH_MAP_GELU_TANH: EACH(gelu_tanh(v)) break;
    case FH_MAP_GELU_ERF: EACH(gelu_erf(v)) break;
    case FH_MAP_RELU: EACH(at_least(v, 0.0f)) break;
    case FH_MAP_SIGMOID: EACH((float)fh_math_sigmoid((double)v)) break;
    case FH_MAP_TANH: EACH((float)fh_math_tanh((double)v)) break;
    case FH_MAP_SOFTPLUS: EACH(softplus(v)) break;
    case FH_MAP_SCALE: EACH(c * v) break;
    case FH_MAP_SOFTCAP: EACH((float)((double)c * fh_math_tanh((double)v / (double)c))) break;
    case FH_MAP_CLAMP: EACH(at_most(at_least(v, -c), c)) break;
    case FH_MAP_OAI_SWIGLU: /* of the gate alone: g sigmoid(1.702 g) */
        EACH((float)((double)at_most(v, c) * fh_math_sigmoid(1.702 * (double)at_most(v, c)))) break;
    case FH_MAP_NONE:
    case FH_MAP_COUNT: EACH(v) break;
    }
}

void fh_ref_glu(fh_map_kind kind, float c, float limit, const float *g, bool one_gate, const float *u, float *y,
                size_t n) {
    enum { PIECE = 64 };
    const bool oai = kind == FH_MAP_OAI_SWIGLU;
    const float cut_u = oai && !(limit > 0 && limit < c) ? c : limit;
    float f[PIECE];
    for (size_t at = 0; at < n; at += PIECE) {
        const size_t m = n - at < PIECE ? n - at : PIECE;
        for (size_t i = 0; i < m; i++) f[i] = one_gate ? g[0] : g[at + i];
        if (limit > 0) {
            for (size_t i = 0; i < m; i++) f[i] = at_most(f[i], limit);
        }
        if (one_gate) {
            fh_ref_map(kind, c, f, f, 1);
            for (size_t i = 1; i < m; i++) f[i] = f[0];
        } else {
            fh_ref_map(kind, c, f, f, m);
        }
        for (size_t i = 0; i < m; i++) {
            float v = u[at + i];
            if (cut_u > 0) v = at_most(at_least(v, -cut_u), cut_u);
            if (oai) v = v + 1.0f;
            y[at + i] = f[i] * v;
        }
    }
}

/* ---- rotation ---- */
void fh_ref_rope(fh_rope_layout layout, bool inverse, const float *cos, const float *sin, float *x, size_t n_pair,
                 float *tmp) {
    if (layout == FH_ROPE_SPLIT) {
        memcpy(tmp, x, 2 * n_pair * sizeof *x);
        for (size_t i = 0; i < n_pair; i++) {
            x[i] = tmp[2 * i];
            x[i + n_pair] = tmp[2 * i + 1];
        }
    }
    const size_t next = layout == FH_ROPE_PAIRS ? 1 : n_pair, step = layout == FH_ROPE_PAIRS ? 2 : 1;
    for (size_t i = 0; i < n_pair; i++) {
        const float a = x[i * step], b = x[i * step + next], s = inverse ? -sin[i] : sin[i];
        x[i * step] = a * cos[i] - b * s;
        x[i * step + next] = b * cos[i] + a * s;
    }
}

void fh_ref_rope_angles(uint32_t pos, const float *freq, float magnitude, size_t n_pair, float *cos, float *sin) {
    for (size_t i = 0; i < n_pair; i++) {
        const float angle = (float)pos * freq[i];
        double s, c;
        fh_math_sin_cos((double)angle, &s, &c);
        cos[i] = (float)c * magnitude;
        sin[i] = (float)s * magnitude;
    }
}

void fh_ref_decay(const float *a, const float *b, const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] * softplus(b != NULL ? x[i] + b[i] : x[i]);
}
