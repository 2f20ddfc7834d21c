/* kernel/ref_op_dot_body.h - the loops of ref_op_dot.h, compiled once per instruction set.
 * SPDX-License-Identifier: Apache-2.0
 * Included by ref_op_dot.c and x86_*_dot.c only. Those define FH_DOT_NAME, and FH_DOT_X: how many x go together (what
 * fits the registers); the portable ones are what stands here. Vectors of sixteen are the compiler's; it splits them
 * into what the instruction set has. */
#include <string.h>

#include "kernel/ref_op_dot.h"

#ifndef FH_DOT_NAME
#define FH_DOT_NAME fh_dot_base
#define FH_DOT_X 1 /* a sum takes four vector registers: more sums would not fit */
#endif

typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
#define LANES ((size_t)16)
#define AT(p) (*(const lanes *)(const void *)(p))
#define TO(p) (*(lanes *)(void *)(p))

/* The rest of the elements, then the tree. */
static float finish(const float *part, const float *w, const float *x, size_t rest) {
    float s[LANES];
    memcpy(s, part, sizeof s);
    for (size_t i = 0; i < rest; i++) s[i] = s[i] + w[i] * x[i];
    for (size_t i = 0; i < 8; i++) s[i] = s[i] + s[i + 8];
    for (size_t i = 0; i < 4; i++) s[i] = s[i] + s[i + 4];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

static float dot(const float *w, const float *x, size_t n) {
    lanes a = {0};
    float s[LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) a = a + AT(w + i) * AT(x + i);
    memcpy(s, &a, sizeof s);
    return finish(s, w + i, x + i, n - i);
}

static void dot4(const float *w, const float *const *x, size_t n, float *out) {
    const float *p = x[0], *q = x[1], *r = x[2], *t = x[3];
    lanes a = {0}, b = {0}, c = {0}, d = {0};
    float s[4][LANES];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const lanes v = AT(w + i);
        a = a + v * AT(p + i);
        b = b + v * AT(q + i);
        c = c + v * AT(r + i);
        d = d + v * AT(t + i);
    }
    memcpy(s[0], &a, sizeof s[0]);
    memcpy(s[1], &b, sizeof s[1]);
    memcpy(s[2], &c, sizeof s[2]);
    memcpy(s[3], &d, sizeof s[3]);
    for (size_t j = 0; j < 4; j++) out[j] = finish(s[j], w + i, x[j] + i, n - i);
}

static void dots(const float *w, const float *const *x, size_t n_x, size_t n, float *out) {
    size_t j = 0;
    if (FH_DOT_X == 4) {
        for (; j + 4 <= n_x; j += 4) dot4(w, x + j, n, out + j);
    }
    for (; j < n_x; j++) out[j] = dot(w, x[j], n);
}

static void mix(float c, const float *p, const float *v, size_t ld, size_t n_row, float *acc, size_t n) {
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        float *o = acc + i;
        lanes a = c * AT(o), b = c * AT(o + LANES), d = c * AT(o + 2 * LANES), e = c * AT(o + 3 * LANES);
        for (size_t j = 0; j < n_row; j++) {
            const float *row = v + j * ld + i;
            a = a + p[j] * AT(row);
            b = b + p[j] * AT(row + LANES);
            d = d + p[j] * AT(row + 2 * LANES);
            e = e + p[j] * AT(row + 3 * LANES);
        }
        TO(o) = a;
        TO(o + LANES) = b;
        TO(o + 2 * LANES) = d;
        TO(o + 3 * LANES) = e;
    }
    for (; i + LANES <= n; i += LANES) {
        lanes a = c * AT(acc + i);
        for (size_t j = 0; j < n_row; j++) a = a + p[j] * AT(v + j * ld + i);
        TO(acc + i) = a;
    }
    for (; i < n; i++) {
        float a = c * acc[i];
        for (size_t j = 0; j < n_row; j++) a = a + p[j] * v[j * ld + i];
        acc[i] = a;
    }
}

static void axpy(float a, const float *x, float *y, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) TO(y + i) = AT(y + i) + a * AT(x + i);
    for (; i < n; i++) y[i] = y[i] + a * x[i];
}

static void delta(float *s, size_t ld, size_t k_width, size_t n, const float *q, const float *k, const float *v,
                  float decay, float beta, float *out) {
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes seen = {0}, o = {0};
        for (size_t i = 0; i < k_width; i++) {
            const lanes row = AT(s + i * ld + j) * decay;
            TO(s + i * ld + j) = row;
            seen = seen + row * k[i];
        }
        const lanes d = (AT(v + j) - seen) * beta;
        for (size_t i = 0; i < k_width; i++) {
            const lanes row = AT(s + i * ld + j) + k[i] * d;
            TO(s + i * ld + j) = row;
            o = o + row * q[i];
        }
        TO(out + j) = o;
    }
    for (; j < n; j++) {
        float seen = 0, o = 0;
        for (size_t i = 0; i < k_width; i++) {
            s[i * ld + j] = s[i * ld + j] * decay;
            seen = seen + s[i * ld + j] * k[i];
        }
        const float d = (v[j] - seen) * beta;
        for (size_t i = 0; i < k_width; i++) {
            s[i * ld + j] = s[i * ld + j] + k[i] * d;
            o = o + s[i * ld + j] * q[i];
        }
        out[j] = o;
    }
}

const fh_dot_table FH_DOT_NAME = {dots, mix, axpy, delta};
