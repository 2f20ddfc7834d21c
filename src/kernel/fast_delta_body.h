/* kernel/fast_delta_body.h - the loops of fast_delta.h, written once for all vectors of fast_op_vec.h.
 * SPDX-License-Identifier: Apache-2.0
 * Columns go in panels. Steps work on the state where it lies, and put columns that fill no vector into their room.
 * Chunks keep the whole state in their room, panel after panel, so that a panel stays in the first-level cache while
 * the products of a chunk go over it. Objects that include this define FH_FAST_DELTA, its name and FH_FAST_LEVEL. */
#include "kernel/fast_delta.h"
#include "kernel/fast_tile.h"
#include "kernel/ref_op.h"

#if defined(FH_VEC) && defined(FH_FAST_DELTA)

enum { CHUNK = FH_DELTA_CHUNK, PANEL = FH_VEC * FH_VEC_PANEL, STEP_VECS = 4 };
_Static_assert(CHUNK % FH_VEC == 0 && PANEL <= FH_DELTA_PANEL, "a chunk is whole vectors, and room fits all levels");

#define LOG2_E 1.4426950408889634

/* n numbers; padded: what n lacks of a whole vector is 0. (memcpy of so few is slower than all else together.) */
FH_INLINE void copy(float *to, const float *from, size_t n, bool padded) {
    for (; n >= FH_VEC; n -= FH_VEC, to += FH_VEC, from += FH_VEC) fh_vec_store(to, fh_vec_load(from));
    if (n == 0) return;
    const fh_vec rest = fh_vec_load_part(from, n);
    if (padded) {
        fh_vec_store(to, rest);
    } else {
        fh_vec_store_part(to, rest, n);
    }
}

/* ---- token by token ---- */
/* What steps know of some tokens beforehand. */
typedef struct step_terms {
    float decay[CHUNK], kq[CHUNK];
} step_terms;

FH_INLINE float dot(const float *x, const float *y, size_t n) {
    fh_vec s = fh_vec_set(0);
    size_t i = 0;
    float sum;
    for (; i + FH_VEC <= n; i += FH_VEC) s = fh_vec_fma(fh_vec_load(x + i), fh_vec_load(y + i), s);
    for (sum = fh_vec_sum(s); i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* `vecs` vectors of columns. S^T k and S^T q come of one pass, as out = decay S^T q + (k.q) d. */
FH_INLINE void step_part(const fh_delta_work *w, int vecs, const step_terms *t) {
    const float *q = w->q, *k = w->k;
    for (uint32_t at = 0; at < w->n_token; at++, q += w->q_ld, k += w->k_ld) {
        const fh_vec decay = fh_vec_set(t->decay[at]), less = fh_vec_set(-t->decay[at]), kq = fh_vec_set(t->kq[at]),
                     beta = fh_vec_set(w->beta[at * w->beta_ld]);
        fh_vec seen[STEP_VECS], read[STEP_VECS];
        FH_UNROLL
        for (int j = 0; j < vecs; j++) seen[j] = read[j] = fh_vec_set(0);
        const float *row = w->s;
        for (uint32_t i = 0; i < w->k_width; i++, row += w->s_ld) {
            const fh_vec x = fh_vec_set(k[i]), y = fh_vec_set(q[i]);
            FH_UNROLL
            for (int j = 0; j < vecs; j++) {
                const fh_vec r = fh_vec_load(row + j * FH_VEC);
                seen[j] = fh_vec_fma(x, r, seen[j]);
                read[j] = fh_vec_fma(y, r, read[j]);
            }
        }
        FH_UNROLL
        for (int j = 0; j < vecs; j++) {
            const fh_vec v = fh_vec_load(w->v + at * w->v_ld + j * FH_VEC);
            seen[j] = fh_vec_mul(beta, fh_vec_fma(less, seen[j], v));
            fh_vec_store(w->out + at * w->out_ld + j * FH_VEC, fh_vec_fma(kq, seen[j], fh_vec_mul(decay, read[j])));
        }
        float *to = w->s;
        for (uint32_t i = 0; i < w->k_width; i++, to += w->s_ld) {
            const fh_vec x = fh_vec_set(k[i]);
            FH_UNROLL
            for (int j = 0; j < vecs; j++) {
                const fh_vec r = fh_vec_mul(decay, fh_vec_load(to + j * FH_VEC));
                fh_vec_store(to + j * FH_VEC, fh_vec_fma(x, seen[j], r));
            }
        }
    }
}

/* Columns that fill no vector, as one that is filled up with zeros. */
static void step_rest(const fh_delta_work *w, const step_terms *t) {
    fh_delta_work r = *w;
    float *s = w->room, *v = s + (size_t)w->k_width * FH_VEC, *out = v + CHUNK * FH_VEC;
    for (uint32_t i = 0; i < w->k_width; i++) copy(s + i * FH_VEC, w->s + i * w->s_ld, w->n_col, true);
    for (uint32_t i = 0; i < w->n_token; i++) copy(v + i * FH_VEC, w->v + i * w->v_ld, w->n_col, true);
    r.s = s;
    r.v = v;
    r.out = out;
    r.s_ld = r.v_ld = r.out_ld = FH_VEC;
    step_part(&r, 1, t);
    for (uint32_t i = 0; i < w->k_width; i++) copy(w->s + i * w->s_ld, s + i * FH_VEC, w->n_col, false);
    for (uint32_t i = 0; i < w->n_token; i++) copy(w->out + i * w->out_ld, out + i * FH_VEC, w->n_col, false);
}

/* The work without its first columns. */
FH_INLINE fh_delta_work after(const fh_delta_work *w, uint32_t columns) {
    fh_delta_work r = *w;
    r.n_col -= columns;
    r.v += columns;
    r.s += columns;
    r.out += columns;
    return r;
}

static void steps_of_chunk(const fh_delta_work *w) {
    step_terms t;
    fh_delta_work r = *w;
    for (uint32_t i = 0; i < w->n_token; i++) {
        t.decay[i] = fh_ref_exp(w->g[i * w->g_ld]);
        t.kq[i] = dot(w->k + i * w->k_ld, w->q + i * w->q_ld, w->k_width);
    }
    for (; r.n_col >= STEP_VECS * FH_VEC; r = after(&r, STEP_VECS * FH_VEC)) step_part(&r, STEP_VECS, &t);
    for (; r.n_col >= FH_VEC; r = after(&r, FH_VEC)) step_part(&r, 1, &t);
    if (r.n_col > 0) step_rest(&r, &t);
}

/* Up to CHUNK tokens from `first` on. */
FH_INLINE fh_delta_work tokens_from(const fh_delta_work *w, uint32_t first) {
    fh_delta_work r = *w;
    r.n_token = w->n_token - first < CHUNK ? w->n_token - first : CHUNK;
    r.q += first * w->q_ld;
    r.k += first * w->k_ld;
    r.v += first * w->v_ld;
    r.g += first * w->g_ld;
    r.beta += first * w->beta_ld;
    r.out += first * w->out_ld;
    return r;
}

static void steps(const fh_delta_work *w) {
    for (uint32_t first = 0; first < w->n_token; first += CHUNK) {
        const fh_delta_work r = tokens_from(w, first);
        steps_of_chunk(&r);
    }
}

/* ---- a chunk ---- */
typedef struct chunk {
    float *turned;  /* [k_width, CHUNK]: keys; then times to_end */
    float *k, *q;   /* [CHUNK, k_width]: rows that lie a power of two apart would evict each other */
    float *kk;      /* [CHUNK, CHUNK]: -beta[i] e^(G[i] - G[j]) k[i].k[j], of use below the diagonal */
    float *qk;      /* [CHUNK, CHUNK]: e^(G[i] - G[j]) q[i].k[j], 0 above the diagonal */
    float *d, *out; /* [CHUNK, PANEL] */
    float *s;       /* [panels, k_width, PANEL] */
    float begun[CHUNK], to_end[CHUNK]; /* e^G[i], e^(G[last] - G[i]) */
} chunk;

static chunk place(const fh_delta_work *w) {
    chunk c = {.turned = w->room};
    c.k = c.turned + (size_t)w->k_width * CHUNK;
    c.q = c.k + (size_t)w->k_width * CHUNK;
    c.kk = c.q + (size_t)w->k_width * CHUNK;
    c.qk = c.kk + CHUNK * CHUNK;
    c.d = c.qk + CHUNK * CHUNK;
    c.out = c.d + CHUNK * PANEL;
    c.s = c.out + CHUNK * PANEL;
    return c;
}

/* c (+)= a b for m rows, at most FH_TILE_ROWS. */
static void rows_product(uint32_t m, const float *a, size_t lda, const float *b, size_t ldb, size_t depth, float *c,
                         size_t ldc, size_t vecs, bool add) {
    const float *from[FH_TILE_ROWS];
    float *to[FH_TILE_ROWS];
    for (uint32_t i = 0; i < m; i++) {
        from[i] = a + i * lda;
        to[i] = c + i * ldc;
    }
    fh_tile_product((int)m, from, b, ldb, depth, to, vecs, add);
}

FH_INLINE uint32_t rows_at(uint32_t first, uint32_t n) {
    return n - first < FH_TILE_ROWS ? n - first : (uint32_t)FH_TILE_ROWS;
}

FH_INLINE size_t vecs_of(size_t n) { return (n + FH_VEC - 1) / FH_VEC; }

/* y[j] = 2^(from - to[j]); what is more than f32 holds stays below it. */
FH_INLINE void powers(double from, const double *to, size_t vecs, float *y) {
    for (size_t j = 0; j < vecs * FH_VEC; j++) y[j] = (float)(from - to[j]);
    for (size_t j = 0; j < vecs; j++) {
        const fh_vec x = fh_vec_min(fh_vec_set(127.0f), fh_vec_load(y + j * FH_VEC));
        fh_vec_store(y + j * FH_VEC, fh_vec_exp2(x, false));
    }
}

/* Decays and rates into row i of kk and qk. */
static void weigh_row(const chunk *c, const double *sum, uint32_t i, size_t vecs, float beta) {
    float decay[CHUNK], *kk = c->kk + i * CHUNK, *qk = c->qk + i * CHUNK;
    const fh_vec less = fh_vec_set(-beta);
    powers(sum[i], sum, vecs, decay);
    for (size_t j = 0; j < vecs * FH_VEC; j += FH_VEC) {
        const fh_vec e = fh_vec_load(decay + j);
        fh_vec_store(kk + j, fh_vec_mul(fh_vec_mul(less, e), fh_vec_load(kk + j)));
        fh_vec_store(qk + j, fh_vec_keep(fh_vec_mul(e, fh_vec_load(qk + j)), (int)j, 0, (int)i + 1, 0));
    }
}

/* What all columns share. */
static void begin_chunk(const fh_delta_work *w, chunk *c) {
    const uint8_t *row[CHUNK];
    double sum[CHUNK], all = 0, minus[CHUNK]; /* in powers of 2 */
    const uint32_t n = w->n_token;
    for (uint32_t i = 0; i < CHUNK; i++) {
        if (i < n) {
            const double g = (double)w->g[i * w->g_ld];
            copy(c->k + i * w->k_width, w->k + i * w->k_ld, w->k_width, false);
            copy(c->q + i * w->k_width, w->q + i * w->q_ld, w->k_width, false);
            row[i] = (const uint8_t *)(const void *)(c->k + i * w->k_width);
            all += (g < -1e4 ? -1e4 : g) * LOG2_E; /* the same 0, but differences of sums stay numbers */
        }
        sum[i] = all;
    }
    fh_tile_turn(FH_DTYPE_F32, row, n, w->k_width, c->turned, CHUNK);
    for (uint32_t r = 0; r < n; r += FH_TILE_ROWS) {
        const uint32_t m = rows_at(r, n);
        const size_t vecs = vecs_of(r + m);
        rows_product(m, c->k + r * w->k_width, w->k_width, c->turned, CHUNK, w->k_width, c->kk + r * CHUNK, CHUNK, vecs,
                     false);
        rows_product(m, c->q + r * w->k_width, w->k_width, c->turned, CHUNK, w->k_width, c->qk + r * CHUNK, CHUNK, vecs,
                     false);
        for (uint32_t i = r; i < r + m; i++) weigh_row(c, sum, i, vecs, w->beta[i * w->beta_ld]);
    }
    powers(all, sum, CHUNK / FH_VEC, c->to_end);
    for (uint32_t i = 0; i < CHUNK; i++) minus[i] = -sum[i];
    powers(0, minus, CHUNK / FH_VEC, c->begun);
    for (size_t i = 0; i < (size_t)w->k_width * CHUNK; i += FH_VEC) {
        const fh_vec e = fh_vec_load(c->to_end + i % CHUNK);
        fh_vec_store(c->turned + i, fh_vec_mul(e, fh_vec_load(c->turned + i)));
    }
}

/* d[i] = beta[i] (v[i] - e^G[i] S^T k[i]), out[i] = e^G[i] S^T q[i] */
static void from_state(const fh_delta_work *w, const chunk *c, const float *s, size_t n_col, size_t vecs) {
    for (uint32_t r = 0; r < w->n_token; r += FH_TILE_ROWS) {
        const uint32_t m = rows_at(r, w->n_token);
        float *d = c->d + r * PANEL, *out = c->out + r * PANEL;
        rows_product(m, c->k + r * w->k_width, w->k_width, s, PANEL, w->k_width, d, PANEL, vecs, false);
        rows_product(m, c->q + r * w->k_width, w->k_width, s, PANEL, w->k_width, out, PANEL, vecs, false);
        for (uint32_t i = r; i < r + m; i++, d += PANEL, out += PANEL) {
            const fh_vec decay = fh_vec_set(c->begun[i]), less = fh_vec_set(-c->begun[i]),
                         beta = fh_vec_set(w->beta[i * w->beta_ld]);
            float v[PANEL];
            copy(v, w->v + i * w->v_ld, n_col, true);
            for (size_t j = 0; j < vecs * FH_VEC; j += FH_VEC) {
                fh_vec_store(d + j, fh_vec_mul(beta, fh_vec_fma(less, fh_vec_load(d + j), fh_vec_load(v + j))));
                fh_vec_store(out + j, fh_vec_mul(decay, fh_vec_load(out + j)));
            }
        }
    }
}

/* Forward substitution, and what the chunk's own tokens add to its outputs. */
static void among_tokens(const fh_delta_work *w, const chunk *c, size_t vecs) {
    for (uint32_t r = 0; r < w->n_token; r += FH_TILE_ROWS) {
        const uint32_t m = rows_at(r, w->n_token);
        const float *kk = c->kk + r * CHUNK;
        float *d = c->d + r * PANEL;
        if (r > 0) rows_product(m, kk, CHUNK, c->d, PANEL, r, d, PANEL, vecs, true);
        for (uint32_t i = 1; i < m; i++) {
            rows_product(1, kk + i * CHUNK + r, CHUNK, d, PANEL, i, d + i * PANEL, PANEL, vecs, true);
        }
        rows_product(m, c->qk + r * CHUNK, CHUNK, c->d, PANEL, r + m, c->out + r * PANEL, PANEL, vecs, true);
    }
}

static void into_state(const fh_delta_work *w, const chunk *c, float *s, size_t vecs) {
    const fh_vec decay = fh_vec_set(c->begun[w->n_token - 1]);
    for (uint32_t r = 0; r < w->k_width; r += FH_TILE_ROWS) {
        const uint32_t m = rows_at(r, w->k_width);
        float *to = s + (size_t)r * PANEL;
        for (uint32_t i = 0; i < m; i++) {
            for (size_t j = 0; j < vecs; j++) {
                float *x = to + i * PANEL + j * FH_VEC;
                fh_vec_store(x, fh_vec_mul(decay, fh_vec_load(x)));
            }
        }
        rows_product(m, c->turned + (size_t)r * CHUNK, CHUNK, c->d, PANEL, w->n_token, to, PANEL, vecs, true);
    }
}

/* ---- all chunks ---- */
FH_INLINE uint32_t panel_of(const fh_delta_work *w) { return w->n_col < PANEL ? w->n_col : (uint32_t)PANEL; }

/* Rows lie a whole batch's row apart: without being asked for ahead each comes from afar when it is needed. */
FH_INLINE void fetch(const float *row, size_t ld, uint32_t n, size_t width) {
    for (uint32_t i = 0; i < n; i++, row += ld) {
        for (size_t at = 0; at < width; at += 16) __builtin_prefetch(row + at);
    }
}

static void chunks(const fh_delta_work *w) {
    chunk c = place(w);
    const size_t panel_floats = (size_t)w->k_width * PANEL;
    float *s = c.s;
    for (fh_delta_work r = *w; r.n_col > 0; r = after(&r, panel_of(&r)), s += panel_floats) {
        for (uint32_t i = 0; i < w->k_width; i++) {
            copy(s + (size_t)i * PANEL, r.s + i * r.s_ld, panel_of(&r), true);
        }
    }
    for (uint32_t first = 0; first < w->n_token; first += CHUNK) {
        fh_delta_work r = tokens_from(w, first);
        fetch(r.v, r.v_ld, r.n_token, r.n_col);
        fetch(r.out, r.out_ld, r.n_token, r.n_col);
        begin_chunk(&r, &c);
        if (first + CHUNK < w->n_token) {
            const fh_delta_work next = tokens_from(w, first + CHUNK);
            fetch(next.k, next.k_ld, next.n_token, next.k_width);
            fetch(next.q, next.q_ld, next.n_token, next.k_width);
        }
        for (s = c.s; r.n_col > 0; r = after(&r, panel_of(&r)), s += panel_floats) {
            const size_t n = panel_of(&r), vecs = vecs_of(n);
            from_state(&r, &c, s, n, vecs);
            among_tokens(&r, &c, vecs);
            for (uint32_t i = 0; i < r.n_token; i++) copy(r.out + i * r.out_ld, c.out + i * PANEL, n, false);
            into_state(&r, &c, s, vecs);
        }
    }
    s = c.s;
    for (fh_delta_work r = *w; r.n_col > 0; r = after(&r, panel_of(&r)), s += panel_floats) {
        for (uint32_t i = 0; i < w->k_width; i++) {
            copy(r.s + i * r.s_ld, s + (size_t)i * PANEL, panel_of(&r), false);
        }
    }
}

const fh_fast_delta FH_FAST_DELTA = {.name = FH_FAST_NAME, .level = FH_FAST_LEVEL, .steps = steps, .chunks = chunks};

#endif
