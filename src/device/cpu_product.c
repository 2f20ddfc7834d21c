/* device/cpu_product.c - products with matrices, stacks of heads and experts, and their adapters, on the CPU.
 * SPDX-License-Identifier: Apache-2.0
 * Rows of the matrices are what workers share out: a worker widens its rows once for up to FH_CPU_ENTRIES rows of
 * input. An element of the result is one dot product (kernel/ref_op_dot.h), or the same sums for a transposed matrix,
 * whoever computes it and with whatever else.
 * Adapters: row scales at once, since they need W x; B (A x) afterwards in pieces of sixteen ranks, for all rows of
 * the op together, each row with its own sequence's. */
#include "device/cpu_product.h"

#include "kernel/matrix_decode.h"

enum {
    BLOCK = 16,
    RANKS = 16,
    RANKS_MOST = 256,
    FEW = 8,
    FEW_FLOATS = 8192,
    MANY_FLOATS = 65536,
    TILE = 16,
    LANES = 16,
    WIDENING = 4,    /* what decoding a block of rows costs, in items */
    PIECES = 4,      /* of a worker's share of a product */
    LEAST_BLOCKS = 8 /* of a piece: fewer would not pay for their start */
};

/* ---- sizes ---- */
/* Rows that adapters work on: one for each matrix that a row of the result meets. */
static uint64_t low_rows(const fh_plan *p, const fh_op *o, const fh_extent *e) {
    return fh_value_rows(&p->value[o->out[0].value], e) *
           (o->kind == FH_OP_MATMUL_HEADS ? p->matrix[o->matrix].n_mat : 1);
}

void fh_cpu_size_products(const fh_plan *p, const fh_extent *ceiling, bool exact, fh_cpu_sizes *s) {
    s->weight_floats = FH_MAX(s->weight_floats, MANY_FLOATS);
    for (uint32_t i = 0; i < p->n_op; i++) {
        const fh_op *o = &p->op[i];
        if (o->kind == FH_OP_ROPE) s->weight_floats = FH_MAX(s->weight_floats, p->rope[o->u.rope.rope].n_rot);
        if (o->kind == FH_OP_EMBED) s->weight_floats = FH_MAX(s->weight_floats, p->matrix[o->matrix].in);
        if (o->kind != FH_OP_MATMUL && o->kind != FH_OP_MATMUL_HEADS && o->kind != FH_OP_MATMUL_EXPERTS) continue;
        const fh_matrix *m = &p->matrix[o->matrix];
        s->weight_floats = FH_MAX(s->weight_floats, m->in);
        s->low_floats = FH_MAX(s->low_floats, low_rows(p, o, ceiling) * RANKS);
        s->low_floats = FH_MAX(s->low_floats, ceiling->size[FH_DIM_TOKENS] * RANKS * 4);
        if (m->transposed) {
            s->row_floats = FH_MAX(s->row_floats, fh_matrix_row_floats(m) + FH_CPU_COLUMNS);
            s->tile_floats = (uint64_t)FH_CPU_ACROSS * LANES * FH_CPU_COLUMNS;
        }
        if (fh_cpu_product_packs(o, exact)) {
            s->row_floats = FH_MAX(s->row_floats, m->in);
            s->pack_floats = FH_MAX(s->pack_floats, fh_value_rows(&p->value[o->in[0].value], ceiling) * m->in);
        }
    }
}

/* ---- items ---- */
const float *fh_cpu_product_x(const fh_exec *x, const fh_cpu_product *p, uint64_t item, uint32_t mat) {
    const uint64_t row = item / p->per_input;
    if (p->packed != NULL) return p->packed + row * p->m->in;
    return fh_cpu_row(x, &p->in, row) + (p->heads ? (size_t)mat * p->in.stride : 0);
}

float *fh_cpu_product_y(const fh_exec *x, const fh_cpu_product *p, uint64_t item, uint32_t mat) {
    return fh_cpu_row(x, &p->out, item) + (p->heads ? (size_t)mat * p->out.stride : 0);
}

/* ---- the order of sums ---- */
/* Which head is the h-th that is summed. */
static size_t turned_head(const fh_cpu_product *p, size_t h) {
    const size_t ratio = p->turn != 0 ? p->in.heads / p->turn : 1;
    return p->turn != 0 ? h % ratio * p->turn + h / ratio : h;
}

static uint64_t turned_column(const fh_cpu_product *p, uint64_t k) {
    return p->turn != 0 ? turned_head(p, (size_t)(k / p->in.width)) * p->in.width + k % p->in.width : k;
}

/* One row of in, or of what it is multiplied with, whose heads lie `stride` apart. */
static void line_up(const fh_cpu_product *p, const float *src, size_t stride, float *dst) {
    for (size_t h = 0; h < p->in.heads; h++) {
        memcpy(dst + h * p->in.width, src + turned_head(p, h) * stride, p->in.width * sizeof *dst);
    }
}

/* Rows as they are summed; in place where they lie so. */
static const float *summed_rows(const fh_cpu_product *p, const fh_matrix *m, uint32_t mat, uint64_t r, uint64_t rows,
                                fh_cpu_worker *w) {
    const float *there = p->turn == 0 ? fh_matrix_f32_rows(m, mat, r) : NULL;
    if (there != NULL) return there;
    if (p->turn == 0) {
        fh_matrix_decode_rows(m, mat, r, rows, w->weights);
        return w->weights;
    }
    for (uint64_t j = 0; j < rows; j++) {
        fh_matrix_decode_rows(m, mat, r + j, 1, w->row);
        line_up(p, w->row, p->in.width, w->weights + j * m->in);
    }
    return w->weights;
}

/* ---- the product itself ---- */
float fh_cpu_product_finish(const fh_cpu_product *p, const fh_cpu_entry *e, uint32_t mat, uint64_t r, float wx) {
    float y = e->bias != NULL ? wx + e->bias[r] : wx;
    if (e->adapted == NULL) return y;
    for (uint32_t l = 0; l < e->adapted->n_lora; l++) {
        const float *scale = e->adapted->lora[l].row_scale;
        if (scale != NULL) y = y + (scale[mat * p->m->out + r] * wx - wx);
    }
    return y;
}

static void straight(const fh_cpu_product *p, const fh_matrix *m, uint32_t mat, uint64_t r0, uint64_t r1, size_t n,
                     fh_cpu_worker *w) {
    const uint64_t many = FH_MAX((n < FEW ? (uint64_t)FEW_FLOATS : MANY_FLOATS) / m->in, 1);
    for (size_t i = 0; i < n; i++) w->x[i] = w->entry[i].x;
    for (uint64_t r = r0; r < r1; r += many) {
        const uint64_t rows = FH_MIN(many, r1 - r);
        const float *weights = summed_rows(p, m, mat, r, rows, w);
        for (size_t at = 0; at < n; at += TILE) { /* inputs that stay near while the rows go by */
            const size_t tile = FH_MIN((size_t)TILE, n - at);
            for (uint64_t j = 0; j < rows; j++) {
                const size_t c = fh_cpu_product_column(p, r + j);
                fh_dot_best()->dots(weights + j * m->in, w->x + at, tile, (size_t)m->in, w->dot);
                for (size_t i = 0; i < tile; i++) {
                    const fh_cpu_entry *e = &w->entry[at + i];
                    e->y[c] = fh_cpu_product_finish(p, e, mat, r + j, w->dot[i]);
                }
            }
        }
    }
}

/* Sixteen partial sums here too, column k to sum k % 16: a matrix gives the same bits whichever way it is stored. */
static void across_tile(const fh_cpu_product *p, const fh_matrix *m, uint32_t mat, uint64_t r, uint64_t rows,
                        const fh_cpu_entry *entry, size_t n, fh_cpu_worker *w) {
    float column[FH_CPU_COLUMNS];
    memset(w->tile, 0, n * LANES * FH_CPU_COLUMNS * sizeof *w->tile);
    for (uint64_t k = 0; k < m->in; k++) {
        fh_matrix_decode_col(m, mat, turned_column(p, k), r, rows, w->row, column);
        for (size_t i = 0; i < n; i++) {
            fh_dot_best()->axpy(entry[i].x[k], column, w->tile + (i * LANES + k % LANES) * FH_CPU_COLUMNS,
                                (size_t)rows);
        }
    }
    for (size_t i = 0; i < n; i++) {
        float *sum = w->tile + i * LANES * FH_CPU_COLUMNS;
        for (size_t d = LANES / 2; d >= 1; d /= 2) {
            for (size_t k = 0; k < d; k++) {
                fh_dot_best()->axpy(1.0f, sum + (k + d) * FH_CPU_COLUMNS, sum + k * FH_CPU_COLUMNS, (size_t)rows);
            }
        }
        for (uint64_t j = 0; j < rows; j++) {
            entry[i].y[fh_cpu_product_column(p, r + j)] = fh_cpu_product_finish(p, &entry[i], mat, r + j, sum[j]);
        }
    }
}

static void across(const fh_cpu_product *p, const fh_matrix *m, uint32_t mat, uint64_t r0, uint64_t r1, size_t n,
                   fh_cpu_worker *w) {
    for (uint64_t r = r0; r < r1; r += FH_CPU_COLUMNS) {
        const uint64_t rows = FH_MIN((uint64_t)FH_CPU_COLUMNS, r1 - r);
        for (size_t at = 0; at < n; at += FH_CPU_ACROSS) {
            across_tile(p, m, mat, r, rows, w->entry + at, FH_MIN((size_t)FH_CPU_ACROSS, n - at), w);
        }
    }
}

/* All items of one matrix whose sequences have the same in its place (NULL: the model's own). */
static void run_items(fh_exec *x, const fh_cpu_product *p, uint32_t mat, const fh_matrix *instead, uint64_t r0,
                      uint64_t r1, fh_cpu_worker *w) {
    const fh_matrix *m = instead != NULL ? instead : p->m;
    const uint64_t n = fh_cpu_product_items(p, mat);
    size_t have = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t item = fh_cpu_product_item(p, mat, i);
        const fh_batch_seq *seq = x->adapted ? fh_cpu_seq_of(x, p->out.value, item) : NULL;
        const fh_adapted *a = fh_cpu_adapted(x, p->o, seq);
        if ((a != NULL ? a->instead : NULL) == instead) {
            const float *bias = fh_cpu_vector(x, p->o, 0, seq);
            w->entry[have++] =
                (fh_cpu_entry){.x = fh_cpu_product_x(x, p, item, mat),
                               .y = fh_cpu_product_y(x, p, item, mat),
                               .bias = bias != NULL ? bias + (p->start != NULL ? mat * m->out : 0) : NULL,
                               .adapted = a};
        }
        if (have == 0 || (have < FH_CPU_ENTRIES && i + 1 < n)) continue;
        if (m->transposed) {
            across(p, m, mat, r0, r1, have, w);
        } else {
            straight(p, m, mat, r0, r1, have, w);
        }
        have = 0;
    }
}

static const fh_matrix *instead_of(const fh_exec *x, const fh_cpu_product *p, uint32_t seq) {
    const fh_adapted *a = fh_cpu_adapted(x, p->o, &x->batch->seq[seq]);
    return a != NULL ? a->instead : NULL;
}

void fh_cpu_product_instead(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1,
                            fh_cpu_worker *w) {
    if (!x->adapted) return;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const fh_matrix *m = instead_of(x, p, s);
        bool again = m == NULL;
        for (uint32_t k = 0; k < s && !again; k++) again = instead_of(x, p, k) == m;
        if (!again) run_items(x, p, mat, m, r0, r1, w);
    }
}

static void run_matrix(fh_exec *x, const fh_cpu_product *p, uint32_t mat, uint64_t r0, uint64_t r1, fh_cpu_worker *w) {
    run_items(x, p, mat, NULL, r0, r1, w);
    fh_cpu_product_instead(x, p, mat, r0, r1, w);
}

/* Blocks [from, to) of all, where a block weighs what its matrix's do. */
static void run_share(fh_exec *x, const fh_cpu_product *p, uint64_t block, uint64_t from, uint64_t to,
                      fh_cpu_rows_fn *fn, fh_cpu_worker *w) {
    const uint64_t blocks = fh_ceil_div(p->m->out, block);
    uint64_t pos = 0;
    for (uint32_t m = 0; m < p->m->n_mat && pos < to; m++) {
        const uint64_t items = fh_cpu_product_items(p, m), cost = items + WIDENING;
        if (items == 0) continue;
        const uint64_t b0 = from > pos ? FH_MIN(fh_ceil_div(from - pos, cost), blocks) : 0;
        const uint64_t b1 = to > pos ? FH_MIN(fh_ceil_div(to - pos, cost), blocks) : 0;
        if (b0 < b1) fn(x, p, m, b0 * block, FH_MIN(b1 * block, p->m->out), w);
        pos += cost * blocks;
    }
}

/* Blocks of rows are weighed by the items that use them (and the widening, as if it were four more). The whole weight
 * is cut into pieces; a worker takes the next one when it is done with the last: CPUs are not equally fast, nor is the
 * memory behind them. A block belongs to the piece in which it begins. */
void fh_cpu_product_share(fh_exec *x, const fh_cpu_product *p, uint64_t block, fh_cpu_rows_fn *fn, fh_cpu_worker *w) {
    const uint64_t blocks = fh_ceil_div(p->m->out, block);
    uint64_t total = 0, n_block = 0;
    for (uint32_t m = 0; m < p->m->n_mat; m++) {
        const uint64_t items = fh_cpu_product_items(p, m);
        total += items ? (items + WIDENING) * blocks : 0;
        n_block += items ? blocks : 0;
    }
    if (total == 0) return;
    const uint64_t least = fh_ceil_div(total * LEAST_BLOCKS, n_block), even = total / ((uint64_t)w->n * PIECES);
    const uint64_t piece = w->n == 1 ? total : FH_MAX(even, least);
    atomic_uint *next = &x->claim[p->o - x->plan->op];
    for (;;) {
        const uint64_t from = piece * (w->n == 1 ? 0 : atomic_fetch_add_explicit(next, 1, memory_order_relaxed));
        if (from >= total) return;
        run_share(x, p, block, from, FH_MIN(from + piece, total), fn, w);
        if (w->n == 1) return;
    }
}

/* ---- adapters ---- */
/* Ranks [from, from + n) of one adapter: what one pass does for one item. */
typedef struct piece {
    const fh_lora *lora;
    uint32_t from, n;
} piece;

static uint32_t passes_of(const fh_adapted *a, uint32_t most) {
    uint32_t n = 0;
    for (uint32_t l = 0; a != NULL && l < a->n_lora; l++) n += a->lora[l].r == 0 ? 1 : (a->lora[l].r - 1) / most + 1;
    return n;
}

static bool piece_at(const fh_adapted *a, uint32_t pass, uint32_t most, piece *out) {
    for (uint32_t l = 0; a != NULL && l < a->n_lora; l++) {
        const fh_lora *lo = &a->lora[l];
        const uint32_t n = lo->r == 0 ? 1 : (lo->r - 1) / most + 1;
        if (pass < n) {
            *out = (piece){lo, pass * most, FH_MIN(most, lo->r - pass * most)};
            return true;
        }
        pass -= n;
    }
    return false;
}

/* Item and matrix of row `id` that adapters work on; mat only grows with id among experts. */
static uint64_t locate(const fh_cpu_product *p, uint64_t id, uint32_t *mat) {
    if (p->heads) {
        *mat = (uint32_t)(id % p->m->n_mat);
        return id / p->m->n_mat;
    }
    if (p->start == NULL) return id;
    while ((uint64_t)p->start[*mat + 1] <= id) (*mat)++;
    return (uint64_t)p->list[id];
}

static void narrow(fh_exec *x, const fh_cpu_product *p, uint64_t n, uint32_t pass, uint32_t most, fh_cpu_worker *w) {
    uint64_t from, to;
    uint32_t mat = 0;
    piece q;
    fh_cpu_share(w, n, &from, &to);
    for (uint64_t id = from; id < to; id++) {
        const uint64_t item = locate(p, id, &mat);
        if (!piece_at(fh_cpu_adapted(x, p->o, fh_cpu_seq_of(x, p->out.value, item)), pass, most, &q)) continue;
        const float *in = fh_cpu_product_x(x, p, item, mat);
        for (uint32_t j = 0; j < q.n; j++) {
            const float *a = q.lora->a + ((uint64_t)mat * q.lora->r + q.from + j) * p->m->in;
            if (p->turn != 0) {
                line_up(p, a, p->in.width, w->row);
                a = w->row;
            }
            fh_dot_best()->dots(a, &in, 1, (size_t)p->m->in, x->low + id * most + j);
        }
    }
}

static void widen(fh_exec *x, const fh_cpu_product *p, uint64_t n, uint32_t pass, uint32_t most, fh_cpu_worker *w) {
    uint64_t r0, r1;
    uint32_t mat = 0;
    piece q;
    fh_cpu_share(w, p->m->out, &r0, &r1);
    for (uint64_t id = 0; id < n; id++) {
        const uint64_t item = locate(p, id, &mat);
        if (!piece_at(fh_cpu_adapted(x, p->o, fh_cpu_seq_of(x, p->out.value, item)), pass, most, &q)) continue;
        const float *low = x->low + id * most;
        float *y = fh_cpu_product_y(x, p, item, mat);
        for (uint64_t r = r0; r < r1; r++) {
            const uint64_t row = (uint64_t)mat * p->m->out + r;
            const float scale = q.lora->row_scale != NULL ? q.lora->scale * q.lora->row_scale[row] : q.lora->scale;
            float *to = y + fh_cpu_product_column(p, r), part;
            for (uint32_t j = 0; j < q.n; j += RANKS) {
                const float *v = low + j;
                fh_dot_best()->dots(q.lora->b + row * q.lora->r + q.from + j, &v, 1, FH_MIN((uint32_t)RANKS, q.n - j),
                                    &part);
                *to = *to + scale * part;
            }
            if (q.lora->bias != NULL && q.from == 0) *to = *to + scale * q.lora->bias[r];
        }
    }
}

void fh_cpu_product_adapters(fh_exec *x, const fh_cpu_product *p, fh_cpu_worker *w) {
    if (!x->adapted) return;
    const uint64_t n = p->n_item * (p->heads ? p->m->n_mat : 1);
    const uint64_t room = x->low_floats / low_rows(x->plan, p->o, &x->ceiling) / RANKS * RANKS;
    const uint32_t most = (uint32_t)FH_MIN(room, (uint64_t)RANKS_MOST);
    uint32_t passes = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const uint32_t k = passes_of(fh_cpu_adapted(x, p->o, &x->batch->seq[s]), most);
        passes = FH_MAX(passes, k);
    }
    for (uint32_t i = 0; i < passes; i++) {
        fh_pool_barrier(x->pool); /* y is whole, low is free */
        narrow(x, p, n, i, most, w);
        fh_pool_barrier(x->pool);
        widen(x, p, n, i, most, w);
    }
}

/* ---- the op ---- */
/* Inputs whose views have gaps are copied together first, as they are summed: dot products want them in one run. */
static void pack(fh_exec *x, const fh_cpu_product *p, fh_cpu_worker *w) {
    uint64_t from, to;
    fh_cpu_share(w, fh_cpu_rows(x, &p->in), &from, &to);
    for (uint64_t i = from; i < to; i++) {
        line_up(p, fh_cpu_row(x, &p->in, i), p->in.stride, x->pack + i * p->m->in);
    }
    fh_pool_barrier(x->pool);
}

void fh_cpu_product_show_inputs(const fh_exec *x, const fh_cpu_product *p, const fh_cpu_worker *w) {
    const uint32_t op = (uint32_t)(p->o - x->plan->op);
    uint64_t from, to;
    fh_cpu_share(w, p->m->in, &from, &to);
    if (from == to) return;
    const bool as_stored = p->turn != 0 && fh_view_is_dense(p->in); /* not as exact sums line them up */
    for (uint32_t m = 0; m < p->m->n_mat; m++) {
        const uint64_t n = fh_cpu_product_items(p, m);
        for (uint64_t i = 0; i < n; i++) {
            const uint64_t item = fh_cpu_product_item(p, m, i);
            const float *in = as_stored ? fh_cpu_row(x, &p->in, item) : fh_cpu_product_x(x, p, item, m);
            x->watch(x->watch_ctx, op, m, in, from, to);
        }
    }
}

bool fh_cpu_product_begin(fh_exec *x, const fh_op *o, fh_cpu_product *out, fh_cpu_worker *w) {
    fh_cpu_product p = {.o = o, .m = &x->plan->matrix[o->matrix], .in = o->in[0], .out = o->out[0], .per_input = 1};
    p.n_item = fh_cpu_rows(x, &p.out);
    p.heads = o->kind == FH_OP_MATMUL_HEADS;
    if (x->prepared == NULL && o->kind == FH_OP_MATMUL) p.turn = o->u.matmul.turn;
    if (p.n_item == 0) return false;
    if (p.heads) {
        if (!fh_view_reshape(&p.in, p.m->n_mat, (uint32_t)p.m->in)) return false;
        if (!fh_view_reshape(&p.out, p.m->n_mat, (uint32_t)p.m->out)) return false;
    } else if (fh_cpu_product_packs(o, x->prepared == NULL)) {
        pack(x, &p, w);
        p.packed = x->pack;
    }
    if (o->kind == FH_OP_MATMUL_EXPERTS) {
        p.start = fh_cpu_ints(x, &o->in[1]);
        p.list = fh_cpu_ints(x, &o->in[2]);
        p.per_input = x->plan->value[p.out.value].per / x->plan->value[p.in.value].per;
    }
    *out = p;
    return true;
}

void fh_cpu_run_product(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_cpu_product p;
    if (!fh_cpu_product_begin(x, o, &p, w)) return;
    fh_cpu_product_show(x, &p, w);
    fh_cpu_product_share(x, &p, p.m->transposed ? FH_CPU_COLUMNS : BLOCK, run_matrix, w);
    fh_cpu_product_adapters(x, &p, w);
}
