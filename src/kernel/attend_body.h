/* kernel/attend_body.h - attention in f32, written once for all vectors of fast_op_vec.h.
 * SPDX-License-Identifier: Apache-2.0
 * Two kernels. The tile: keys are widened and turned so that they are the lanes, then two matrix products with the
 * softmax in between, six queries at a time. The few: up to four queries against rows as they lie in state, four or
 * more keys at a time, so that nothing but the state itself is read. Objects that include this define
 * FH_ATTEND_TILE, FH_ATTEND_FEW_TILE, FH_ATTEND_LEVEL and their names. */
#include "kernel/attend.h"
#include "kernel/attend_softmax.h"
#include "kernel/fast_tile.h"

#ifdef FH_VEC

enum { ROWS = FH_TILE_ROWS, KEY_VECS = FH_ATTEND_KEYS / FH_VEC };
_Static_assert(FH_ATTEND_KEYS % (FH_VEC * FH_VEC_PANEL) == 0, "a block is whole panels");

/* dst [n, ld]: values as f32; what the rows lack up to ld is 0. */
FH_INLINE void widen_values(fh_dtype t, const uint8_t *const *v, uint32_t n, uint32_t width, float *dst, size_t ld) {
    for (uint32_t i = 0; i < n; i++, dst += ld) {
        uint32_t c = 0;
        for (; c + FH_VEC <= width; c += FH_VEC) fh_vec_store(dst + c, fh_vec_load_as(t, v[i], c));
        for (; c < width; c++) dst[c] = fh_tile_one(t, v[i], c);
        for (; c < ld; c++) dst[c] = 0;
    }
}

static void turn(fh_dtype t, const uint8_t *const *k, uint32_t n, uint32_t width, float *dst) {
    switch (t) {
    case FH_DTYPE_F16: fh_tile_turn(FH_DTYPE_F16, k, n, width, dst, FH_ATTEND_KEYS); break;
    case FH_DTYPE_BF16: fh_tile_turn(FH_DTYPE_BF16, k, n, width, dst, FH_ATTEND_KEYS); break;
    case FH_DTYPE_Q8_0: fh_tile_turn(FH_DTYPE_Q8_0, k, n, width, dst, FH_ATTEND_KEYS); break;
    default: fh_tile_turn(FH_DTYPE_F32, k, n, width, dst, FH_ATTEND_KEYS); break;
    }
}

static void widen(fh_dtype t, const uint8_t *const *v, uint32_t n, uint32_t width, float *dst, size_t ld) {
    switch (t) {
    case FH_DTYPE_F16: widen_values(FH_DTYPE_F16, v, n, width, dst, ld); break;
    case FH_DTYPE_BF16: widen_values(FH_DTYPE_BF16, v, n, width, dst, ld); break;
    case FH_DTYPE_Q8_0: widen_values(FH_DTYPE_Q8_0, v, n, width, dst, ld); break;
    default: widen_values(FH_DTYPE_F32, v, n, width, dst, ld); break;
    }
}

/* ---- the tile ---- */
static bool fits_any(const fh_attend_shape *s) {
    (void)s;
    return true;
}

static size_t tile_room(const fh_attend_shape *s, uint32_t n) {
    (void)n;
    return FH_ATTEND_KEYS * sizeof(float) * (fh_attend_ld(s->k_width) + fh_attend_ld(s->v_width));
}

static void begin(fh_attend_tile *t) {
    for (uint32_t i = 0; i < t->n; i++) t->max[i] = FH_ATTEND_NONE;
    memset(t->sum, 0, (size_t)t->n * FH_ATTEND_LANES * sizeof *t->sum);
    memset(t->acc, 0, t->n * fh_attend_ld(t->shape->v_width) * sizeof *t->acc);
}

static void tile_block(fh_attend_tile *t, const fh_attend_block *b) {
    const fh_attend_shape *s = t->shape;
    const size_t ld = fh_attend_ld(s->v_width);
    float *keys = t->room, *values = keys + FH_ATTEND_KEYS * fh_attend_ld(s->k_width);
    float score[ROWS][FH_ATTEND_KEYS], *out[ROWS], *acc[ROWS];
    const float *in[ROWS];
    turn(s->k_type, b->k, b->n, s->k_width, keys);
    widen(s->v_type, b->v, b->n, s->v_width, values, ld);
    for (uint32_t q = 0; q < t->n; q += ROWS) {
        const int m = (int)(t->n - q < ROWS ? t->n - q : ROWS);
        for (int i = 0; i < m; i++) out[i] = score[i];
        fh_tile_product(m, t->q + q, keys, FH_ATTEND_KEYS, s->k_width, out, KEY_VECS, false);
        for (int i = 0; i < m; i++) {
            in[i] = score[i];
            acc[i] = t->acc + (q + (uint32_t)i) * ld;
        }
        softmax_rows(false, t, b, q, m, score[0]);
        fh_tile_product(m, in, values, ld, b->n, acc, ld / FH_VEC, true);
    }
}

/* ---- the few ---- */
static bool few_fits(const fh_attend_shape *s) { return s->k_width % 32 == 0 && s->v_width % 32 == 0; }

FH_INLINE size_t row_bytes(fh_dtype t, size_t width) {
    return t == FH_DTYPE_F32 ? 4 * width : t == FH_DTYPE_Q8_0 ? width / 32 * 34 : 2 * width;
}

static size_t few_room(const fh_attend_shape *s, uint32_t n) {
    (void)s;
    return FH_ATTEND_KEYS * sizeof(float) * n;
}

/* Rows lie in state as they were stored, a page here and a page there: without being asked for ahead they come at a
 * third of memory's speed. */
FH_INLINE void fetch(const uint8_t *const *row, uint32_t first, uint32_t n, size_t bytes) {
    for (uint32_t i = first; i < first + n; i++) {
        for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(row[i] + at);
    }
}

/* Scores of n_q queries (1, 2 or 4) against FH_VEC / n_q keys at a time. */
FH_INLINE void few_scores(fh_dtype t, int n_q, const float *const *q, const uint8_t *const *k, uint32_t n,
                          const uint8_t *const *next, uint32_t width, float *score) {
    const uint32_t step = (uint32_t)(FH_VEC / n_q);
    const size_t bytes = row_bytes(t, width);
    for (uint32_t first = 0; first < n; first += step) {
        const uint8_t *row[FH_VEC];
        fh_vec s[FH_VEC];
        if (next != NULL) fetch(next, first, step, bytes);
        FH_UNROLL
        for (uint32_t i = 0; i < step; i++) row[i] = k[first + i < n ? first + i : n - 1];
        FH_UNROLL
        for (int i = 0; i < FH_VEC; i++) s[i] = fh_vec_set(0);
        for (uint32_t c = 0; c < width; c += FH_VEC) {
            fh_vec x[4];
            FH_UNROLL
            for (int j = 0; j < n_q; j++) x[j] = fh_vec_load(q[j] + c);
            FH_UNROLL
            for (uint32_t i = 0; i < step; i++) {
                const fh_vec y = fh_vec_load_as(t, row[i], c);
                FH_UNROLL
                for (int j = 0; j < n_q; j++) {
                    s[(uint32_t)j * step + i] = fh_vec_fma(x[j], y, s[(uint32_t)j * step + i]);
                }
            }
        }
        float all[FH_VEC];
        fh_vec_store(all, fh_vec_sums(s));
        FH_UNROLL
        for (int j = 0; j < n_q; j++) {
            memcpy(score + (uint32_t)j * FH_ATTEND_KEYS + first, all + (uint32_t)j * step, step * sizeof *all);
        }
    }
}

/* acc += p v for n_q queries, `vecs` vectors of columns at a time. */
FH_INLINE void few_values_part(fh_dtype t, int n_q, int vecs, const float *p, const uint8_t *const *v, uint32_t n,
                               const uint8_t *const *next, size_t c, float *acc, size_t ld) {
    const size_t at = row_bytes(t, c / 32 * 32), bytes = row_bytes(t, (size_t)vecs * FH_VEC);
    fh_vec s[4][FH_VEC_PANEL];
    FH_UNROLL
    for (int j = 0; j < n_q; j++) {
        FH_UNROLL
        for (int i = 0; i < vecs; i++) s[j][i] = fh_vec_load(acc + (size_t)j * ld + c + (size_t)i * FH_VEC);
    }
    for (uint32_t r = 0; r < n; r++) {
        fh_vec y[FH_VEC_PANEL];
        if (next != NULL) {
            for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(next[r] + at + i);
        }
        FH_UNROLL
        for (int i = 0; i < vecs; i++) y[i] = fh_vec_load_as(t, v[r], c + (size_t)i * FH_VEC);
        FH_UNROLL
        for (int j = 0; j < n_q; j++) {
            const fh_vec x = fh_vec_set(p[(size_t)j * FH_ATTEND_KEYS + r]);
            FH_UNROLL
            for (int i = 0; i < vecs; i++) s[j][i] = fh_vec_fma(x, y[i], s[j][i]);
        }
    }
    FH_UNROLL
    for (int j = 0; j < n_q; j++) {
        FH_UNROLL
        for (int i = 0; i < vecs; i++) fh_vec_store(acc + (size_t)j * ld + c + (size_t)i * FH_VEC, s[j][i]);
    }
}

FH_INLINE void few_values(fh_dtype t, int n_q, const float *p, const uint8_t *const *v, uint32_t n,
                          const uint8_t *const *next, uint32_t width, float *acc, size_t ld) {
    size_t c = 0;
    for (; c + FH_VEC * FH_VEC_PANEL <= width; c += FH_VEC * FH_VEC_PANEL) {
        few_values_part(t, n_q, FH_VEC_PANEL, p, v, n, next, c, acc, ld);
    }
    for (; c < width; c += FH_VEC) few_values_part(t, n_q, 1, p, v, n, next, c, acc, ld);
}

#define FEW_BY_COUNT(what, ...) \
    if (n_q == 4) { \
        what(4, __VA_ARGS__); \
    } else if (n_q == 2) { \
        what(2, __VA_ARGS__); \
    } else { \
        what(1, __VA_ARGS__); \
    }
#define SCORES(count, type) \
    few_scores(type, count, t->q + q, b->k, b->n, q == 0 ? b->next_k : NULL, t->shape->k_width, score)
#define VALUES(count, type) \
    few_values(type, count, score, b->v, b->n, q == 0 ? b->next_v : NULL, t->shape->v_width, t->acc + q * ld, ld)

static void few_group(const fh_attend_tile *t, const fh_attend_block *b, uint32_t q, int n_q, float *score) {
    switch (t->shape->k_type) {
    case FH_DTYPE_F16: FEW_BY_COUNT(SCORES, FH_DTYPE_F16) break;
    case FH_DTYPE_BF16: FEW_BY_COUNT(SCORES, FH_DTYPE_BF16) break;
    case FH_DTYPE_Q8_0: FEW_BY_COUNT(SCORES, FH_DTYPE_Q8_0) break;
    default: FEW_BY_COUNT(SCORES, FH_DTYPE_F32) break;
    }
}

static void few_add(const fh_attend_tile *t, const fh_attend_block *b, uint32_t q, int n_q, const float *score) {
    const size_t ld = fh_attend_ld(t->shape->v_width);
    switch (t->shape->v_type) {
    case FH_DTYPE_F16: FEW_BY_COUNT(VALUES, FH_DTYPE_F16) break;
    case FH_DTYPE_BF16: FEW_BY_COUNT(VALUES, FH_DTYPE_BF16) break;
    case FH_DTYPE_Q8_0: FEW_BY_COUNT(VALUES, FH_DTYPE_Q8_0) break;
    default: FEW_BY_COUNT(VALUES, FH_DTYPE_F32) break;
    }
}

static void few_block(fh_attend_tile *t, const fh_attend_block *b) {
    float *score = t->room;
    for (uint32_t q = 0; q < t->n;) {
        const int n_q = t->n - q >= 4 ? 4 : t->n - q >= 2 ? 2 : 1;
        few_group(t, b, q, n_q, score);
        softmax_rows(false, t, b, q, n_q, score);
        few_add(t, b, q, n_q, score);
        q += (uint32_t)n_q;
    }
}

const fh_attend_kernel FH_ATTEND_TILE = {.name = FH_ATTEND_TILE_NAME,
                                         .level = FH_ATTEND_LEVEL,
                                         .exact = true,
                                         .fits = fits_any,
                                         .room = tile_room,
                                         .begin = begin,
                                         .block = tile_block};
const fh_attend_kernel FH_ATTEND_FEW_TILE = {.name = FH_ATTEND_FEW_NAME,
                                             .level = FH_ATTEND_LEVEL,
                                             .few = true,
                                             .exact = true,
                                             .fits = few_fits,
                                             .room = few_room,
                                             .begin = begin,
                                             .block = few_block};

#endif
