/* kernel/quantize_fit_body.h - the searches of quantize_part.h, compiled once per instruction set.
 * SPDX-License-Identifier: Apache-2.0
 * Included by quantize_fit.c and x86_*_quantize.c only. Those define FH_FITS, the name of the table, and FH_LANES, how
 * many floats a vector register holds; the portable ones are what stands here.
 * Each lane does what the reference does for one group, operation by operation: no sum is split, no product of three
 * is regrouped, nothing is fused. Codes stay floats: adding and taking away 1.5 * 2^23 rounds to the nearest integer,
 * ties to even, and all codes are small. */
#include "kernel/quantize_part.h"

#ifndef FH_LANES
#define FH_LANES 4
#define FH_FITS fh_fits_base
#endif

#if FH_LANES == 16 && defined(__AVX512F__)
#include <immintrin.h>
#elif FH_LANES == 8 && defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float lanes __attribute__((vector_size(4 * FH_LANES)));
typedef int32_t masks __attribute__((vector_size(4 * FH_LANES)));
typedef uint16_t shorts __attribute__((vector_size(2 * FH_LANES)));
#define LANES ((size_t)FH_LANES)
#define MAX_GROUP 32

static inline lanes load(const float *p) {
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float *p, lanes v) { memcpy(p, &v, sizeof v); }
static inline lanes all(float s) { return s - (lanes){0}; }
static inline lanes pick(masks m, lanes a, lanes b) { return (lanes)((m & (masks)a) | (~m & (masks)b)); }
static inline lanes magnitude(lanes a) { return (lanes)((masks)a & 0x7fffffff); }

#if FH_LANES == 16 && defined(__AVX512F__)
static inline lanes lower(lanes a, lanes b) { return (lanes)_mm512_min_ps((__m512)a, (__m512)b); }
static inline lanes upper(lanes a, lanes b) { return (lanes)_mm512_max_ps((__m512)a, (__m512)b); }
static inline lanes root(lanes a) { return (lanes)_mm512_sqrt_ps((__m512)a); }
static inline unsigned bits(masks m) { return _mm512_movepi32_mask((__m512i)m); }
static inline float smallest(lanes a) { return _mm512_reduce_min_ps((__m512)a); }
static inline lanes lookup(lanes table, masks at) { return (lanes)_mm512_permutexvar_ps((__m512i)at, (__m512)table); }
#define HAVE_LOOKUP
#elif FH_LANES == 8 && defined(__AVX2__)
static inline lanes lower(lanes a, lanes b) { return (lanes)_mm256_min_ps((__m256)a, (__m256)b); }
static inline lanes upper(lanes a, lanes b) { return (lanes)_mm256_max_ps((__m256)a, (__m256)b); }
static inline lanes root(lanes a) { return (lanes)_mm256_sqrt_ps((__m256)a); }
static inline unsigned bits(masks m) { return (unsigned)_mm256_movemask_ps((__m256)m); }
static inline float smallest(lanes a) {
    const __m128 four = _mm_min_ps(_mm256_castps256_ps128((__m256)a), _mm256_extractf128_ps((__m256)a, 1));
    const __m128 two = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)));
}
static inline lanes lookup(lanes table, masks at) {
    return (lanes)_mm256_permutevar8x32_ps((__m256)table, (__m256i)at);
}
#define HAVE_LOOKUP
#elif defined(__SSE2__)
static inline lanes lower(lanes a, lanes b) { return (lanes)_mm_min_ps((__m128)a, (__m128)b); }
static inline lanes upper(lanes a, lanes b) { return (lanes)_mm_max_ps((__m128)a, (__m128)b); }
static inline lanes root(lanes a) { return (lanes)_mm_sqrt_ps((__m128)a); }
static inline unsigned bits(masks m) { return (unsigned)_mm_movemask_ps((__m128)m); }
#else
/* a < b ? a : b, which is b where one is no number */
static inline lanes lower(lanes a, lanes b) { return pick(a < b, a, b); }
static inline lanes upper(lanes a, lanes b) { return pick(a > b, a, b); }
#if defined(__aarch64__)
static inline lanes root(lanes a) { return (lanes)vsqrtq_f32((float32x4_t)a); }
#else
static inline lanes root(lanes a) {
    for (size_t l = 0; l < LANES; l++) a[l] = sqrtf(a[l]);
    return a;
}
#endif
static inline unsigned bits(masks m) {
    unsigned s = 0;
    for (size_t l = 0; l < LANES; l++) s |= (unsigned)(m[l] & 1) << l;
    return s;
}
#endif

/* The nearest integer, as a float. */
static inline lanes nearest_whole(lanes a) {
    const float magic = 12582912.0f;
    return (a + magic) - magic;
}
static inline lanes clamp(lanes a, float lo, float hi) { return lower(upper(a, all(lo)), all(hi)); }

/* The groups from g on, turned so that lane l is group g + l; behind the last one it is repeated. */
typedef struct turned {
    lanes x[MAX_GROUP], w[MAX_GROUP];
} turned;

static void turn(lanes *out, const float *x, size_t g, size_t n_group, size_t group) {
    for (size_t l = 0; l < LANES; l++) {
        const float *from = x + (g + l < n_group ? g + l : n_group - 1) * group;
        float *to = (float *)out + l;
        for (size_t i = 0; i < group; i++) to[i * LANES] = from[i];
    }
}

static lanes turn_one(const float *x, size_t g, size_t n_group) {
    float one[FH_LANES];
    for (size_t l = 0; l < LANES; l++) one[l] = x[g + l < n_group ? g + l : n_group - 1];
    return load(one);
}

static void put(float *out, lanes v, size_t g, size_t n_group) {
    float one[FH_LANES];
    store(one, v);
    for (size_t l = 0; l < LANES && g + l < n_group; l++) out[g + l] = one[l];
}

static void take(turned *t, const fh_fit_in *in, size_t g) {
    const size_t n = (size_t)in->group;
    turn(t->x, in->x, g, in->n_group, n);
    lanes e = {0};
    if (in->kind == FH_FIT_GIVEN || in->kind == FH_FIT_IMPORTANCE) turn(t->w, in->weight, g, in->n_group, n);
    if (in->kind == FH_FIT_IMPORTANCE || in->kind == FH_FIT_ENERGY) e = turn_one(in->energy, g, in->n_group);
    switch (in->kind) {
    case FH_FIT_ABS:
        for (size_t i = 0; i < n; i++) t->w[i] = magnitude(t->x[i]);
        break;
    case FH_FIT_RMS_ABS:
        for (size_t i = 0; i < n; i++) e += t->x[i] * t->x[i];
        e = root(e / (float)in->group);
        for (size_t i = 0; i < n; i++) t->w[i] = e + magnitude(t->x[i]);
        break;
    case FH_FIT_SQUARE:
        for (size_t i = 0; i < n; i++) t->w[i] = t->x[i] * t->x[i];
        break;
    case FH_FIT_GIVEN: break;
    case FH_FIT_IMPORTANCE:
        for (size_t i = 0; i < n; i++) t->w[i] *= root(e + t->x[i] * t->x[i]);
        break;
    case FH_FIT_ENERGY:
        for (size_t i = 0; i < n; i++) t->w[i] = 0.25f * e + t->x[i] * t->x[i];
        break;
    }
}

static void put_sum_weight(const turned *t, const fh_fit_in *in, size_t g, float *out) {
    if (!out) return;
    lanes s = {0};
    for (size_t i = 0; i < (size_t)in->group; i++) s += t->w[i];
    put(out, s, g, in->n_group);
}

/* ---- affine ---- */

typedef struct affine_state {
    lanes low, range_top, sum_w, sum_x; /* range_top: the largest number */
    lanes scale, error, grid_scale, grid_0;
} affine_state;

static inline lanes affine_error(lanes d, bool absolute) { return absolute ? magnitude(d) : d * d; }

/* One more grid; where it is better than what there is, it stays. */
static inline void affine_try(affine_state *s, const turned *t, size_t n, float codes, float top, bool absolute) {
    const lanes grid = codes / (s->range_top - s->low), low = s->low;
    lanes sum_l = {0}, sum_l2 = {0}, sum_xl = {0};
    FH_FILLED_LATER lanes code[MAX_GROUP];
    for (size_t i = 0; i < n; i++) {
        const lanes l = nearest_whole(clamp(grid * (t->x[i] - low), 0, top));
        const lanes wl = t->w[i] * l;
        code[i] = l;
        sum_l += wl;
        sum_l2 += wl * l;
        sum_xl += wl * t->x[i];
    }
    const lanes det = s->sum_w * sum_l2 - sum_l * sum_l;
    lanes scale = (s->sum_w * sum_xl - s->sum_x * sum_l) / det;
    lanes zero = (sum_l2 * s->sum_x - sum_l * sum_xl) / det;
    const masks above = zero > 0;
    zero = pick(above, all(0), zero);
    scale = pick(above, sum_xl / sum_l2, scale);
    lanes error = {0};
    for (size_t i = 0; i < n; i++) error += t->w[i] * affine_error(scale * code[i] + zero - t->x[i], absolute);
    const masks better = (det > 0) & (error < s->error);
    s->error = pick(better, error, s->error);
    s->scale = pick(better, scale, s->scale);
    s->low = pick(better, zero, s->low);
    s->grid_scale = pick(better, grid, s->grid_scale);
    s->grid_0 = pick(better, low, s->grid_0);
}

static void affine_lanes(affine_state *s, const turned *t, const fh_affine *f) {
    const size_t n = (size_t)f->in.group;
    const float top = (float)f->top;
    lanes lo = t->x[0], hi = t->x[0];
    s->sum_w = t->w[0];
    s->sum_x = t->w[0] * t->x[0];
    for (size_t i = 1; i < n; i++) {
        lo = lower(t->x[i], lo);
        hi = upper(t->x[i], hi);
        s->sum_w += t->w[i];
        s->sum_x += t->w[i] * t->x[i];
    }
    lo = pick(lo > 0, all(0), lo);
    const masks flat = hi <= lo;
    const lanes start = lo;
    s->low = s->grid_0 = lo;
    s->range_top = hi;
    s->grid_scale = top / (hi - lo);
    s->scale = 1.0f / s->grid_scale;
    s->error = all(0);
    for (size_t i = 0; i < n; i++) {
        const lanes l = nearest_whole(clamp(s->grid_scale * (t->x[i] - lo), 0, top));
        s->error += t->w[i] * affine_error(s->scale * l + lo - t->x[i], f->absolute);
    }
    for (int k = 0; k <= f->steps; k++) affine_try(s, t, n, f->first + f->step * (float)k + top, top, f->absolute);
    s->scale = pick(flat, all(0), s->scale);
    s->grid_scale = pick(flat, all(0), s->grid_scale);
    s->low = pick(flat, start, s->low);
}

static void fit_affine(const fh_affine *f) {
    FH_FILLED_LATER turned t;
    affine_state s;
    for (size_t g = 0; g < f->in.n_group; g += LANES) {
        take(&t, &f->in, g);
        affine_lanes(&s, &t, f);
        put(f->scale, s.scale, g, f->in.n_group);
        put(f->depth, -s.low, g, f->in.n_group);
        put(f->grid_scale, s.grid_scale, g, f->in.n_group);
        put(f->grid_0, s.grid_0, g, f->in.n_group);
        put_sum_weight(&t, &f->in, g, f->sum_weight);
    }
}

/* ---- symmetric ---- */

/* The number of largest size, and its size; the first of several. */
static inline lanes largest(const turned *t, size_t n, lanes *size) {
    lanes max = {0}, amax = {0};
    for (size_t i = 0; i < n; i++) {
        const lanes a = magnitude(t->x[i]);
        const masks more = a > amax;
        amax = pick(more, a, amax);
        max = pick(more, t->x[i], max);
    }
    *size = amax;
    return max;
}

static void fit_symmetric(const fh_symmetric *f) {
    const size_t n = (size_t)f->in.group;
    const float half = (float)f->half;
    FH_FILLED_LATER turned t;
    FH_FILLED_LATER lanes wx[MAX_GROUP];
    for (size_t g = 0; g < f->in.n_group; g += LANES) {
        take(&t, &f->in, g);
        lanes amax, scale = {0}, best = {0}, grid = {0};
        const lanes max = largest(&t, n, &amax);
        const masks flat = amax < 1e-15f;
        for (size_t i = 0; i < n; i++) wx[i] = t.w[i] * t.x[i];
        for (int trial = -10; trial <= 9; trial++) {
            if (trial == 0) continue;
            const bool first = trial == -10; /* the plain grid comes before all others */
            const lanes id = -(first ? half : half + 0.1f * (float)trial) / max;
            lanes sum_lx = {0}, sum_l2 = {0};
            for (size_t i = 0; i < n; i++) {
                const lanes l = nearest_whole(clamp(id * t.x[i], -half, half - 1));
                sum_lx += wx[i] * l;
                sum_l2 += t.w[i] * l * l;
            }
            const lanes s = sum_lx / sum_l2;
            const masks better = first ? sum_l2 != 0 : (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2);
            scale = pick(better, s, scale);
            best = first ? scale * sum_lx : pick(better, scale * sum_lx, best);
            grid = first ? id : pick(better, id, grid);
        }
        put(f->scale, pick(flat, all(0), scale), g, f->in.n_group);
        put(f->grid_scale, pick(flat, all(0), grid), g, f->in.n_group);
        put_sum_weight(&t, &f->in, g, f->sum_weight);
    }
}

/* ---- the sixteen values of IQ4_NL ---- */

static const float nonlinear_value[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
/* Between two values the middle belongs to the upper one. The reference compares x - v[k] < v[k + 1] - x; all
 * middles are halves of integers and both differences are exact near them, so that this is the same. */
static const float nonlinear_middle[15] = {-115.5f, -93.5f, -74,   -57,   -42, -28.5f, -16, -4.5f,
                                           7,       19,     31.5f, 45.5f, 61,  79,     101};

static inline lanes nonlinear_nearest(lanes a) {
    lanes q = all(nonlinear_value[0]);
    for (size_t k = 0; k < 15; k++)
        q += (lanes)((a >= nonlinear_middle[k]) & (masks)all(nonlinear_value[k + 1] - nonlinear_value[k]));
    return q;
}

static void nonlinear_codes(const float *x, size_t n, float id, uint8_t *code) {
    for (size_t i = 0; i < n; i += LANES) {
        const lanes a = id * load(x + i);
        masks c = {0};
        for (size_t k = 0; k < 15; k++) c -= a >= nonlinear_middle[k];
        for (size_t l = 0; l < LANES; l++) code[i + l] = (uint8_t)c[l];
    }
}

static void fit_nonlinear(const fh_nonlinear *f) {
    const size_t n = (size_t)f->in.group;
    FH_FILLED_LATER turned t;
    for (size_t g = 0; g < f->in.n_group; g += LANES) {
        take(&t, &f->in, g);
        lanes amax, scale = {0}, best = {0};
        const lanes max = largest(&t, n, &amax);
        const masks flat = amax < 1e-15f;
        for (int trial = -8; trial <= 7; trial++) {
            const bool first = trial == -8;
            const lanes id = first ? 1.0f / (-max / nonlinear_value[0]) : ((float)trial + nonlinear_value[0]) / max;
            lanes sum_qx = {0}, sum_q2 = {0};
            for (size_t i = 0; i < n; i++) {
                const lanes q = nonlinear_nearest(id * t.x[i]), wq = t.w[i] * q;
                sum_qx += wq * t.x[i];
                sum_q2 += wq * q;
            }
            const lanes s = sum_qx / sum_q2;
            masks better = sum_q2 > 0;
            if (!first) better &= sum_qx * sum_qx > best * sum_q2;
            scale = pick(better, s, scale);
            best = first ? scale * sum_qx : pick(better, scale * sum_qx, best);
        }
        put(f->scale, pick(flat, all(0), scale), g, f->in.n_group);
    }
}

/* ---- codebooks ---- */

static void trials(const fh_trials *f) {
    const float top = (float)f->top;
    for (size_t t = 0; t < f->n_trial; t += LANES) {
        const lanes id = load(f->id + t);
        for (size_t k = 0; k < f->n / (size_t)f->dim; k++) {
            lanes point = {0};
            float place = 1;
            for (size_t i = k * (size_t)f->dim; i < (k + 1) * (size_t)f->dim; i++) {
                const lanes l = nearest_whole(clamp(0.5f * (id * f->x[i] - 1), 0, top));
                store(f->level + i * FH_TRIALS + t, l);
                point += place * l;
                place *= (float)f->base;
            }
            const masks p = __builtin_convertvector(point, masks);
            memcpy(f->point + k * FH_TRIALS + t, &p, sizeof p);
        }
    }
}

static void trial_sums(const fh_trial_sums *f) {
    for (size_t t = 0; t < f->n_trial; t += LANES) {
        lanes sum_qx = {0}, sum_q2 = {0};
        for (size_t i = 0; i < f->n; i++) {
            const lanes l = load(f->level + i * FH_TRIALS + t), q = l + l + 1;
            const float wx = f->weight[i] * f->x[i];
            sum_qx += wx * q;
            sum_q2 += f->weight[i] * q * q;
        }
        store(f->sum_qx + t, sum_qx);
        store(f->sum_q2 + t, sum_q2);
    }
}

#ifdef HAVE_LOOKUP
/* Costs of all levels at a place lie in a register. Levels have two or three bits and a lookup sees three or four:
 * costs stand there as often as it takes for bits of the next level not to matter. */
static size_t nearest(const fh_nearest *f) {
    FH_FILLED_LATER lanes table[8];
    lanes least = all(3.4028234664e38f);
    masks at = {0}, here;
    for (size_t l = 0; l < LANES; l++) here[l] = (int32_t)l;
    const masks low_bits = (masks){0} + (int32_t)((1u << f->bits) - 1);
    const lanes level = __builtin_convertvector(here & low_bits, lanes) * f->a + f->b;
    for (int i = 0; i < f->dim; i++) {
        const lanes d = f->scale * level - f->x[i];
        table[i] = f->weight[i] * d * d;
    }
    for (size_t j = 0; j < f->n; j += LANES, here += (int32_t)LANES) {
        shorts packed;
        memcpy(&packed, f->word + j, sizeof packed);
        const masks word = __builtin_convertvector(packed, masks);
        lanes sum = lookup(table[0], word);
        for (int i = 1; i < f->dim; i++) sum += lookup(table[i], word >> (i * f->bits));
        const masks less = sum < least;
        least = pick(less, sum, least);
        at = (less & here) | (~less & at);
    }
    /* the earliest of the smallest; what was read behind the end repeats the last word and cannot come first */
    unsigned set = bits(least == all(smallest(least)));
    int32_t best = INT32_MAX;
    for (; set; set &= set - 1) {
        const int32_t j = at[__builtin_ctz(set)];
        best = best < j ? best : j;
    }
    return (size_t)(best < INT32_MAX ? best : 0);
}
#else
static size_t nearest(const fh_nearest *f) {
    FH_FILLED_LATER float cost[8][8];
    float least = 3.4028234664e38f;
    const unsigned top = (1u << f->bits) - 1;
    size_t best = 0;
    for (int i = 0; i < f->dim; i++) {
        for (unsigned l = 0; l <= top; l++) {
            const float d = f->scale * (f->a * (float)l + f->b) - f->x[i];
            cost[i][l] = f->weight[i] * d * d;
        }
    }
    for (size_t j = 0; j < f->n; j++) {
        unsigned word = f->word[j];
        float sum = 0;
        for (int i = 0; i < f->dim; i++, word >>= f->bits) sum += cost[i][word & top];
        if (sum < least) {
            least = sum;
            best = j;
        }
    }
    return best;
}
#endif

/* ---- cuts of a sorted group in three ---- */

/* Is this cut better than the best so far? Then it is the best. */
static inline void offer(fh_cut *c, float sum_qx, float sum_q2, size_t i1, size_t i2, int direction) {
    if (!(sum_q2 > 0 && sum_qx * sum_qx > c->score * sum_q2)) return;
    c->scale = sum_qx / sum_q2;
    c->score = c->scale * sum_qx;
    c->i1 = (int)i1;
    c->i2 = (int)i2;
    c->direction = direction;
}

/* The sums of one group's cuts (i1, i2 ...), values up or down. */
static inline void three_parts(const fh_cuts *f, size_t i1, size_t i2, lanes *qx, lanes *q2) {
    const float *sx = f->sum_wx[0], *sw = f->sum_w[0];
    const lanes x2 = load(sx + i2), w2 = load(sw + i2);
    const float ax = sx[i1] - sx[0], aw = sw[i1] - sw[0];
    const lanes bx = x2 - sx[i1], bw = w2 - sw[i1], cx = sx[f->n] - x2, cw = sw[f->n] - w2;
    for (size_t d = 0; d < 2; d++) {
        const float *v = f->value[d];
        qx[d] = ax * v[0] + bx * v[1] + cx * v[2];
        q2[d] = aw * v[0] * v[0] + bw * v[1] * v[1] + cw * v[2] * v[2];
    }
}

/* The same with a direction for each half. As neighbouring values differ by 1, a half's sum of w x q is
 * total * top - below(i1) - below(i2). */
static inline void two_halves(const fh_cuts *f, size_t i1, size_t i2, lanes *qx, lanes *q2) {
    lanes x[2][2], w[2][2]; /* [half][direction] */
    for (size_t h = 0; h < 2; h++) {
        const float *px = f->sum_wx[h], *pw = f->sum_w[h];
        const lanes sum = px[i1] + load(px + i2), w2 = load(pw + i2);
        for (size_t d = 0; d < 2; d++) {
            const float *v = f->value[d], top = v[2];
            const float step1 = v[0] * v[0] - v[1] * v[1], step2 = v[1] * v[1] - v[2] * v[2];
            x[h][d] = px[f->n] * top - sum;
            w[h][d] = pw[f->n] * top * top + pw[i1] * step1 + w2 * step2;
        }
    }
    for (size_t d = 0; d < 4; d++) {
        qx[d] = x[0][d / 2] + x[1][d % 2];
        q2[d] = w[0][d / 2] + w[1][d % 2];
    }
}

/* All second borders i2 side by side. A lane that is no better than the best so far cannot become so, for the best only
 * grows: most vectors are done with one comparison, and the others are looked at cut by cut. */
static void cuts(const fh_cuts *f, fh_cut *best) {
    const size_t n = f->n, n_dir = f->n_half == 2 ? 4 : 2;
    lanes qx[4], q2[4];
    for (size_t i1 = 0; i1 <= n; i1++) {
        for (size_t i2 = i1; i2 <= n; i2 += LANES) {
            masks hope = {0};
            if (f->n_half == 1) three_parts(f, i1, i2, qx, q2);
            else two_halves(f, i1, i2, qx, q2);
            for (size_t d = 0; d < n_dir; d++) hope |= (q2[d] > 0) & (qx[d] * qx[d] > best->score * q2[d]);
            if (!bits(hope)) continue;
            float x[4][FH_LANES], w[4][FH_LANES];
            for (size_t d = 0; d < n_dir; d++) {
                store(x[d], qx[d]);
                store(w[d], q2[d]);
            }
            for (size_t l = 0; l < LANES && i2 + l <= n; l++)
                for (size_t d = 0; d < n_dir; d++) offer(best, x[d][l], w[d][l], i1, i2 + l, (int)d);
        }
    }
}

static void divide_codes(const float *x, size_t n, float add, float d, int half, int top, uint8_t *code) {
    for (size_t i = 0; i < n; i += LANES) {
        const lanes q = clamp((load(x + i) + add) / d, (float)-half, (float)(top - half));
        const masks c = __builtin_convertvector(nearest_whole(q) + (float)half, masks);
        for (size_t l = 0; l < LANES; l++) code[i + l] = (uint8_t)c[l];
    }
}

const fh_fits FH_FITS = {
    .affine = fit_affine,
    .symmetric = fit_symmetric,
    .nonlinear = fit_nonlinear,
    .nonlinear_codes = nonlinear_codes,
    .trials = trials,
    .trial_sums = trial_sums,
    .nearest = nearest,
    .cuts = cuts,
    .divide_codes = divide_codes,
};
