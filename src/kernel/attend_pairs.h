/* kernel/attend_pairs.h - attention by products of bf16 pairs: what is common to AVX-512 BF16 and AMX.
 * SPDX-License-Identifier: Apache-2.0
 * Both instructions add two products of neighbours into an f32. So keys become [width / 2][keys] of pairs of columns,
 * values [keys / 2][width] of pairs of rows. bf16 has eight bits: a query is split into two numbers whose sum has
 * sixteen, and so are keys and values that have more than eight; of the weights only one number is kept, whose error
 * of 2^-9 is what the result has (relative RMS about 1.5e-3 where values are independent).
 * Objects that include this define FH_PAIRS_ROWS (queries at a time) and the two products. */
#include "kernel/attend.h"
#include "kernel/attend_softmax.h"
#include "kernel/fast_op_vec.h"

#if defined(__AVX512F__) && defined(FH_PAIRS_ROWS)

/* A tile's packed operands. */
typedef struct pack {
    uint32_t k_width, v_width; /* rounded up to 32 and 16 */
    bool split;                /* keys and values have a second number */
    uint16_t *q, *q_low;       /* [n, k_width] */
    uint32_t *k, *k_low;       /* [k_width / 2, FH_ATTEND_KEYS] pairs */
    uint32_t *v, *v_low;       /* [FH_ATTEND_KEYS / 2, v_width] pairs */
    float *score[2];           /* [FH_PAIRS_ROWS, FH_ATTEND_KEYS] */
    uint16_t *weight;          /* the same, bf16 */
    int rows;                  /* that the products are set up for */
} pack;

/* score [m, FH_ATTEND_KEYS] = queries [q, q + m) times keys. */
static void pairs_scores(pack *p, uint32_t q, int m, float *score);
/* acc [m, ld] += weights times values. */
static void pairs_values(pack *p, int m, float *acc, size_t ld);

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static pack place_pack(const fh_attend_shape *s, uint32_t n, uint8_t *at, size_t *bytes) {
    pack p = {.k_width = (uint32_t)round_up(s->k_width, 32),
              .v_width = (uint32_t)round_up(s->v_width, 16),
              .split = s->k_type != FH_DTYPE_BF16 || s->v_type != FH_DTYPE_BF16};
    const size_t query = round_up((size_t)n * p.k_width * 2, 64), keys = (size_t)p.k_width * FH_ATTEND_KEYS * 2,
                 values = (size_t)p.v_width * FH_ATTEND_KEYS * 2, scores = FH_PAIRS_ROWS * FH_ATTEND_KEYS * 4;
    size_t used = 0;
#define PLACE(member, size) \
    p.member = at != NULL ? (void *)(at + used) : NULL; \
    used += (size);
    PLACE(score[0], scores)
    PLACE(score[1], scores)
    PLACE(weight, scores / 2)
    PLACE(q, query)
    PLACE(q_low, query)
    PLACE(k, keys)
    PLACE(v, values)
    PLACE(k_low, p.split ? keys : 0)
    PLACE(v_low, p.split ? values : 0)
#undef PLACE
    *bytes = used;
    return p;
}

static size_t pairs_room(const fh_attend_shape *s, uint32_t n) {
    size_t bytes;
    (void)place_pack(s, n, NULL, &bytes);
    return bytes;
}

/* The upper halves of 32 numbers, a first: numbers cut off to bf16. */
FH_INLINE __m512i upper_halves(__m512i a, __m512i b) {
    static const uint16_t ODD[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                     33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    return _mm512_permutex2var_epi16(a, _mm512_loadu_si512(ODD), b);
}

/* What cutting off leaves, exactly. */
FH_INLINE fh_vec rest_of(fh_vec x) {
    const __m512i cut = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(-65536));
    return _mm512_sub_ps(x, _mm512_castsi512_ps(cut));
}

/* Columns [c, c + 16) of a row as f32, 0 past its width. */
FH_INLINE fh_vec load_columns(fh_dtype t, const uint8_t *row, size_t c, size_t width) {
    if (c + 16 <= width) return fh_vec_load_as(t, row, c);
    if (c >= width) return fh_vec_set(0);
    const __mmask16 in = (__mmask16)((1u << (width - c)) - 1);
    if (t == FH_DTYPE_BF16) {
        const __m256i h = _mm256_maskz_loadu_epi16(in, row + 2 * c);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    }
    if (t == FH_DTYPE_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, row + 2 * c));
    return _mm512_maskz_loadu_ps(in, row + 4 * c); /* Q8_0 has whole blocks */
}

FH_INLINE void split_columns(fh_dtype t, const uint8_t *row, size_t c, size_t width, __m512i *high, __m512i *low) {
    const fh_vec a = load_columns(t, row, c, width), b = load_columns(t, row, c + 16, width);
    *high = upper_halves(_mm512_castps_si512(a), _mm512_castps_si512(b));
    *low = upper_halves(_mm512_castps_si512(rest_of(a)), _mm512_castps_si512(rest_of(b)));
}

static void pairs_begin(fh_attend_tile *t) {
    size_t bytes;
    const pack p = place_pack(t->shape, t->n, t->room, &bytes);
    for (uint32_t i = 0; i < t->n; i++) {
        for (size_t c = 0; c < p.k_width; c += 32) {
            __m512i high, low;
            split_columns(FH_DTYPE_F32, (const uint8_t *)t->q[i], c, t->shape->k_width, &high, &low);
            _mm512_storeu_si512(p.q + i * p.k_width + c, high);
            _mm512_storeu_si512(p.q_low + i * p.k_width + c, low);
        }
        t->max[i] = FH_ATTEND_NONE;
    }
    memset(t->sum, 0, (size_t)t->n * FH_ATTEND_LANES * sizeof *t->sum);
    memset(t->acc, 0, t->n * fh_attend_ld(t->shape->v_width) * sizeof *t->acc);
}

FH_INLINE void store_turned(fh_vec r[16], uint32_t *dst) {
    fh_vec_transpose(r);
    FH_UNROLL
    for (int i = 0; i < 16; i++) _mm512_storeu_ps(dst + (size_t)i * FH_ATTEND_KEYS, r[i]);
}

FH_INLINE void pack_keys(fh_dtype t, const pack *p, const fh_attend_block *b, size_t width) {
    for (uint32_t first = 0; first < FH_ATTEND_KEYS; first += 16) {
        for (size_t c = 0; c < p->k_width; c += 32) {
            fh_vec high[16], low[16];
            for (uint32_t i = 0; i < 16; i++) {
                __m512i h = _mm512_setzero_si512(), l = h;
                if (first + i < b->n) {
                    const uint8_t *row = b->k[first + i];
                    if (t == FH_DTYPE_BF16 && c + 32 <= width) {
                        h = _mm512_loadu_si512(row + 2 * c);
                    } else {
                        split_columns(t, row, c, width, &h, &l);
                    }
                }
                high[i] = _mm512_castsi512_ps(h);
                low[i] = _mm512_castsi512_ps(l);
            }
            store_turned(high, p->k + c / 2 * FH_ATTEND_KEYS + first);
            if (p->split) store_turned(low, p->k_low + c / 2 * FH_ATTEND_KEYS + first);
        }
    }
}

/* a in the lower halves, b in the upper ones. */
FH_INLINE __m512i pair_up(fh_vec a, fh_vec b) {
    const __m512i low = _mm512_srli_epi32(_mm512_castps_si512(a), 16);
    return _mm512_mask_blend_epi16(0xaaaaaaaau, low, _mm512_castps_si512(b));
}

FH_INLINE void pack_values(fh_dtype t, const pack *p, const fh_attend_block *b, size_t width) {
    const fh_vec none = fh_vec_set(0);
    for (uint32_t i = 0; i < FH_ATTEND_KEYS; i += 2) {
        uint32_t *high = p->v + (size_t)i / 2 * p->v_width, *low = p->v_low + (size_t)i / 2 * p->v_width;
        for (size_t c = 0; c < p->v_width; c += 16) {
            const fh_vec x = i < b->n ? load_columns(t, b->v[i], c, width) : none;
            const fh_vec y = i + 1 < b->n ? load_columns(t, b->v[i + 1], c, width) : none;
            _mm512_storeu_si512(high + c, pair_up(x, y));
            if (p->split) _mm512_storeu_si512(low + c, pair_up(rest_of(x), rest_of(y)));
        }
    }
}

static void pack_block(const pack *p, const fh_attend_shape *s, const fh_attend_block *b) {
    switch (s->k_type) {
    case FH_DTYPE_F16: pack_keys(FH_DTYPE_F16, p, b, s->k_width); break;
    case FH_DTYPE_Q8_0: pack_keys(FH_DTYPE_Q8_0, p, b, s->k_width); break;
    case FH_DTYPE_F32: pack_keys(FH_DTYPE_F32, p, b, s->k_width); break;
    default: pack_keys(FH_DTYPE_BF16, p, b, s->k_width); break;
    }
    switch (s->v_type) {
    case FH_DTYPE_F16: pack_values(FH_DTYPE_F16, p, b, s->v_width); break;
    case FH_DTYPE_Q8_0: pack_values(FH_DTYPE_Q8_0, p, b, s->v_width); break;
    case FH_DTYPE_F32: pack_values(FH_DTYPE_F32, p, b, s->v_width); break;
    default: pack_values(FH_DTYPE_BF16, p, b, s->v_width); break;
    }
}

/* Weights, which are bf16 by value, as bf16. */
FH_INLINE void pack_weights(const float *score, uint16_t *weight) {
    FH_UNROLL
    for (int c = 0; c < FH_ATTEND_KEYS; c += 32) {
        _mm512_storeu_si512(weight + c,
                            upper_halves(_mm512_loadu_si512(score + c), _mm512_loadu_si512(score + c + 16)));
    }
}

static void pairs_blocks(fh_attend_tile *t, const fh_attend_block *b) {
    size_t bytes;
    const size_t ld = fh_attend_ld(t->shape->v_width);
    pack p = place_pack(t->shape, t->n, t->room, &bytes);
    pack_block(&p, t->shape, b);
    uint32_t next = t->n < FH_PAIRS_ROWS ? t->n : FH_PAIRS_ROWS;
    pairs_scores(&p, 0, (int)next, p.score[0]);
    for (uint32_t q = 0, turn = 0; q < t->n; q = next, turn ^= 1) { /* the next scores are under way meanwhile */
        const int m = (int)(t->n - q < FH_PAIRS_ROWS ? t->n - q : FH_PAIRS_ROWS);
        const uint32_t rest = t->n - q - (uint32_t)m;
        float *score = p.score[turn];
        next = q + (uint32_t)m;
        if (rest > 0) pairs_scores(&p, next, (int)(rest < FH_PAIRS_ROWS ? rest : FH_PAIRS_ROWS), p.score[turn ^ 1]);
        softmax_rows(true, t, b, q, m, score);
        for (int i = 0; i < m; i++) pack_weights(score + i * FH_ATTEND_KEYS, p.weight + i * FH_ATTEND_KEYS);
        pairs_values(&p, m, t->acc + q * ld, ld);
    }
}

#endif
