/* kernel/product.c - the walk of a product over panels, columns and inputs, and the choice of kernels by level.
 * SPDX-License-Identifier: Apache-2.0
 * Order of the loops: batches of inputs, panels, chunks of columns; a chunk of a panel is expanded into the first-level
 * cache and meets all inputs of the batch there. What a chunk, a batch or a tile is cannot be seen in a result: every
 * element adds up its blocks in order, in acc where a chunk ends.
 * Threads: tables are made under pthread_once; a product is only read while it runs, but for n_packed. */
#include "kernel/product.h"

#include <pthread.h>

#include "kernel/matrix_decode.h"
#include "kernel/product_part.h"

enum {
    BATCH = 512,     /* inputs that meet an expanded chunk */
    CHUNK_UNITS = 2, /* of 256 columns: 16 KB of bytes, or 32 KB of bf16, and their scales */
    CHUNK = CHUNK_UNITS * FH_UNIT,
    GATHER_BYTES = 1 << 20, /* for bf16 inputs that do not lie at equal distances */
    AHEAD = 6144            /* bytes that are fetched before they are expanded */
};

/* ---- tables ---- */
static fh_product_table tables[FH_CPU_LEVEL_COUNT];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static bool within(fh_cpu_level have, fh_cpu_level limit) { return have <= limit && fh_cpu_has_level(have); }

static void fill_table(fh_product_table *t, fh_cpu_level limit) {
    *t = (fh_product_table){.expand = fh_ref_expand,
                            .dot_i8 = fh_ref_dot_i8,
                            .dot_rows = fh_ref_dot_rows,
                            .form_i8 = fh_ref_form_i8,
                            .bf16_from_codes = UINT32_MAX,
                            .bf16_from_plain = UINT32_MAX};
#if defined(__x86_64__)
    if (within(FH_CPU_LEVEL_AVX2, limit)) {
        t->expand = fh_avx2_expand;
        t->dot_i8 = fh_avx2_dot_i8;
        t->dot_rows = fh_avx2_dot_rows;
        t->form_i8 = fh_avx2_form_i8;
    }
    if (within(FH_CPU_LEVEL_AVXVNNI, limit)) {
        t->expand = fh_avxvnni_expand;
        t->dot_i8 = fh_avxvnni_dot_i8;
    }
    if (within(FH_CPU_LEVEL_AVX512, limit)) {
        t->dot_rows = fh_avx512_dot_rows;
        t->form_i8 = fh_avx512_form_i8;
        t->form_bf16 = fh_avx512_form_bf16;
        t->expand_biased = fh_avx512_expand;
        t->widen = fh_avx512_widen;
        t->lay_bf16 = fh_avx512_lay_bf16;
    }
    if (within(FH_CPU_LEVEL_VNNI, limit)) {
        t->expand = fh_avx512_expand;
        t->dot_i8 = fh_vnni_dot_i8;
    }
    if (within(FH_CPU_LEVEL_BF16, limit)) {
        t->dot_bf16 = fh_bf16_dot_bf16;
        t->bf16_from_plain = 12;
    }
    if (within(FH_CPU_LEVEL_AMX, limit)) {
        t->dot_bf16 = fh_amx_dot_bf16;
        t->bf16_from_codes = 24;
        t->bf16_from_plain = 12;
    }
#endif
}

static void fill_tables(void) {
    for (size_t l = 0; l < FH_CPU_LEVEL_COUNT; l++) fill_table(&tables[l], (fh_cpu_level)l);
}

/* ---- the matrix ---- */
static bool is_plain(const fh_weight *w) {
    return w->packing == FH_PACK_NONE && w->scale == NULL && w->global == NULL && w->zero_kind == FH_ZERO_NONE &&
           w->factor == 0.0f;
}

void fh_product_init(fh_product *p, const fh_matrix *m, fh_cpu_level level) {
    FH_REQUIRE((unsigned)level < FH_CPU_LEVEL_COUNT);
    pthread_once(&tables_once, fill_tables);
    *p = (fh_product){.matrix = m, .table = &tables[level], .plain = FH_DTYPE_F32, .decoded = true};
    if (m->transposed || m->n_weight == 0) return;
    const fh_dtype t = m->weight[0]->codes->dtype;
    for (uint32_t i = 0; i < m->n_weight; i++) {
        if (!is_plain(m->weight[i]) || m->weight[i]->codes->dtype != t) return;
        if (fh_weight_cols(m->weight[i]) != m->in) return;
    }
    p->kind = fh_panel_find(t);
    if (p->kind != NULL && m->in % fh_dtype_get_info(t)->block_elems != 0) p->kind = NULL;
    p->decoded = p->kind == NULL && t != FH_DTYPE_F32 && t != FH_DTYPE_F16 && t != FH_DTYPE_BF16;
    if (p->kind == NULL && !p->decoded) p->plain = t;
}

uint64_t fh_product_panels(const fh_product *p) { return fh_ceil_div(p->matrix->out, FH_PRODUCT_PANEL); }

/* ---- inputs ---- */
bool fh_product_takes(const fh_product *p, fh_product_form form) {
    if (form == FH_FORM_I8) return p->kind != NULL;
    if (form == FH_FORM_BF16) return p->table->dot_bf16 != NULL;
    return form == FH_FORM_F32;
}

fh_product_form fh_product_wants(const fh_product *p, uint64_t n) {
    if (p->kind != NULL) return n >= p->table->bf16_from_codes ? FH_FORM_BF16 : FH_FORM_I8;
    if (p->plain == FH_DTYPE_F32 && !p->decoded) return FH_FORM_F32; /* routers and the like */
    return n >= p->table->bf16_from_plain ? FH_FORM_BF16 : FH_FORM_F32;
}

size_t fh_product_form_bytes(fh_product_form form, uint64_t in) {
    const uint64_t blocks = fh_ceil_div(in, FH_BLOCK);
    if (form == FH_FORM_I8) return (size_t)blocks * sizeof(fh_i8_block);
    return form == FH_FORM_BF16 ? (size_t)blocks * FH_BLOCK * 2 : (size_t)in * sizeof(float);
}

void fh_product_form_make(const fh_product *p, fh_product_form form, const float *x, uint64_t in, void *dst) {
    FH_REQUIRE(form != FH_FORM_F32 && (form != FH_FORM_I8 || in % FH_BLOCK == 0));
    if (form == FH_FORM_I8) p->table->form_i8(x, (size_t)in / FH_BLOCK, dst);
    else p->table->form_bf16(x, (size_t)in, dst);
}

/* ---- scratch ---- */
typedef struct space {
    uint8_t *unit, *code[2];
    float *scale[2], *min[2], *acc, *rows, *row, *column;
    uint16_t *wide[2], *gather;
    size_t bytes;
} space;

static void *carve(uint8_t *base, size_t *at, size_t bytes) {
    const size_t from = *at;
    *at += (bytes + FH_PRODUCT_ALIGN - 1) / FH_PRODUCT_ALIGN * FH_PRODUCT_ALIGN;
    return base == NULL ? NULL : base + from;
}

static size_t gather_rows(const fh_product *p) {
    const size_t row = fh_product_form_bytes(FH_FORM_BF16, p->matrix->in), n = row ? GATHER_BYTES / row : BATCH;
    return FH_MAX(FH_MIN(n, (size_t)BATCH), (size_t)16);
}

static space space_of(const fh_product *p, uint8_t *base) {
    space s = {0};
    size_t at = 0;
    const size_t in = (size_t)p->matrix->in;
    s.unit = carve(base, &at, FH_UNIT_MOST);
    for (size_t h = 0; h < 2; h++) {
        s.code[h] = carve(base, &at, CHUNK * FH_HALF);
        s.scale[h] = carve(base, &at, CHUNK * sizeof(float));
        s.min[h] = carve(base, &at, CHUNK * sizeof(float));
        s.wide[h] = carve(base, &at, p->table->dot_bf16 ? CHUNK * FH_HALF * sizeof(uint16_t) : 0);
    }
    s.acc = carve(base, &at, BATCH * FH_PRODUCT_PANEL * sizeof(float));
    s.gather = carve(base, &at, p->table->dot_bf16 ? gather_rows(p) * fh_product_form_bytes(FH_FORM_BF16, in) : 0);
    s.rows = carve(base, &at, FH_PRODUCT_PANEL * in * sizeof(float));
    if (p->matrix->transposed) {
        s.row = carve(base, &at, (size_t)fh_matrix_row_floats(p->matrix) * sizeof(float));
        s.column = carve(base, &at, FH_PRODUCT_PANEL * sizeof(float));
    }
    s.bytes = at;
    return s;
}

size_t fh_product_scratch_bytes(const fh_product *p) { return space_of(p, NULL).bytes; }

/* ---- units ---- */
static size_t unit_blocks(const fh_product *p, uint64_t unit) {
    const uint64_t blocks = p->matrix->in / FH_BLOCK, first = unit * FH_UNIT_BLOCKS;
    return (size_t)FH_MIN(blocks - first, (uint64_t)FH_UNIT_BLOCKS);
}

static size_t panel_bytes(const fh_product *p) {
    const size_t blocks = (size_t)p->matrix->in / FH_BLOCK, rest = blocks % FH_UNIT_BLOCKS;
    return 2 * (blocks / FH_UNIT_BLOCKS * fh_unit_bytes(p->kind, FH_UNIT_BLOCKS) +
                (rest ? fh_unit_bytes(p->kind, rest) : 0));
}

static const uint8_t *file_row(const fh_product *p, uint32_t mat, uint64_t r) {
    const fh_tensor *t = fh_matrix_weight(p->matrix, mat)->codes;
    const fh_dtype_info *d = fh_dtype_get_info(t->dtype);
    return t->data.ptr + fh_matrix_row(p->matrix, mat, r) * (p->matrix->in / d->block_elems) * d->block_bytes;
}

/* One half of one unit from the file; rows past the end repeat the last one. */
static void pack_unit(const fh_product *p, uint32_t mat, uint64_t r0, uint64_t unit, uint8_t *dst) {
    const fh_dtype_info *d = fh_dtype_get_info(p->kind->dtype);
    const uint8_t *row[FH_HALF];
    for (uint64_t r = 0; r < FH_HALF; r++) {
        row[r] =
            file_row(p, mat, FH_MIN(r0 + r, p->matrix->out - 1)) + unit * FH_UNIT / d->block_elems * d->block_bytes;
    }
    p->kind->pack(row, unit_blocks(p, unit), dst);
}

/* ---- one panel ---- */
typedef struct walk {
    const fh_product *p;
    const fh_product_args *a;
    space s;
    uint64_t panel, i, n; /* inputs [i, i + n) */
    size_t n_half;
    const uint8_t *packed; /* of this panel, or NULL */
} walk;

static void expand(const walk *w, fh_expand_fn *fn, uint64_t unit, size_t h, uint8_t *code, float *scale, float *min) {
    const size_t n_block = unit_blocks(w->p, unit), bytes = fh_unit_bytes(w->p->kind, n_block);
    const uint8_t *from = w->s.unit;
    if (w->packed != NULL) {
        from = w->packed + unit * 2 * fh_unit_bytes(w->p->kind, FH_UNIT_BLOCKS) + h * bytes;
        for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + AHEAD + at);
    } else {
        pack_unit(w->p, w->a->mat, w->panel * FH_PRODUCT_PANEL + h * FH_HALF, unit, w->s.unit);
    }
    fn(from, n_block, code, scale, min);
}

static void expand_chunk(const walk *w, fh_expand_fn *fn, uint64_t u0, size_t n_unit) {
    const size_t scales = (size_t)FH_UNIT / w->p->kind->block * FH_HALF;
    for (size_t u = 0; u < n_unit; u++) {
        for (size_t h = 0; h < w->n_half; h++) {
            expand(w, fn, u0 + u, h, w->s.code[h] + u * FH_UNIT * FH_HALF, w->s.scale[h] + u * scales,
                   w->s.min[h] + u * scales);
        }
    }
}

static void panel_i8(const walk *w) {
    const fh_panel_kind *k = w->p->kind;
    const uint64_t blocks = w->p->matrix->in / FH_BLOCK, units = fh_ceil_div(blocks, FH_UNIT_BLOCKS);
    const uint64_t step = w->n >= 16 ? CHUNK_UNITS : 1;
    for (uint64_t u = 0; u < units; u += step) {
        const uint64_t n_unit = FH_MIN(step, units - u), first = u * FH_UNIT_BLOCKS;
        expand_chunk(w, w->p->table->expand[k->id], u, (size_t)n_unit);
        const fh_dot_i8 d = {.code = {w->s.code[0], w->s.code[1]},
                             .scale = {w->s.scale[0], w->s.scale[1]},
                             .min = {w->s.min[0], w->s.min[1]},
                             .x = w->a->x + w->i,
                             .first_block = first,
                             .n = (size_t)w->n,
                             .n_block = (size_t)FH_MIN(n_unit * FH_UNIT_BLOCKS, blocks - first),
                             .n_half = w->n_half,
                             .block = k->block,
                             .reach = k->reach,
                             .has_min = k->has_min,
                             .acc = w->s.acc};
        w->p->table->dot_i8(&d);
    }
}

/* Rows of this panel as plain numbers: in the file, or decoded. The last one is repeated. */
static void plain_rows(const walk *w, const uint8_t *row[FH_PRODUCT_PANEL]) {
    const fh_matrix *m = w->p->matrix;
    const uint64_t r0 = w->panel * FH_PRODUCT_PANEL, n = FH_MIN(m->out - r0, (uint64_t)FH_PRODUCT_PANEL);
    const bool decode = w->p->decoded || w->p->kind != NULL;
    if (decode && m->transposed) {
        for (uint64_t k = 0; k < m->in; k++) {
            fh_matrix_decode_col(m, w->a->mat, k, r0, n, w->s.row, w->s.column);
            for (uint64_t r = 0; r < n; r++) w->s.rows[r * m->in + k] = w->s.column[r];
        }
    } else if (decode) {
        fh_matrix_decode_rows(m, w->a->mat, r0, n, w->s.rows);
    }
    for (uint64_t r = 0; r < FH_PRODUCT_PANEL; r++) {
        const uint64_t at = FH_MIN(r, n - 1);
        row[r] = decode ? (const uint8_t *)(w->s.rows + at * m->in) : file_row(w->p, w->a->mat, r0 + at);
    }
}

static void panel_rows(const walk *w) {
    const uint8_t *row[FH_PRODUCT_PANEL];
    const uint64_t left = w->p->matrix->out - w->panel * FH_PRODUCT_PANEL;
    plain_rows(w, row);
    const fh_dot_rows d = {.dtype = w->p->kind != NULL ? FH_DTYPE_F32 : w->p->plain,
                           .row = row,
                           .x = (const float *const *)(w->a->x + w->i),
                           .n = (size_t)w->n,
                           .n_row = (size_t)FH_MIN(left, (uint64_t)FH_PRODUCT_PANEL),
                           .n_col = (size_t)w->p->matrix->in,
                           .acc = w->s.acc};
    w->p->table->dot_rows(&d);
}

static void lay_chunk(const walk *w, const uint8_t *const *row, uint64_t k, size_t n, size_t n_col) {
    const size_t bytes = w->p->plain == FH_DTYPE_F32 ? 4 : 2;
    for (size_t h = 0; h < w->n_half; h++) {
        const uint8_t *at[FH_HALF];
        for (size_t r = 0; r < FH_HALF; r++) at[r] = row[h * FH_HALF + r] + k * bytes;
        w->p->table->lay_bf16(w->p->plain, at, n, n_col, w->s.wide[h]);
    }
}

static void widen_chunk(const walk *w, uint64_t u, size_t n_col) {
    const fh_panel_kind *k = w->p->kind;
    expand_chunk(w, w->p->table->expand_biased[k->id], u, (size_t)fh_ceil_div(n_col, FH_UNIT));
    for (size_t h = 0; h < w->n_half; h++) {
        w->p->table->widen(w->s.code[h], w->s.scale[h], k->has_min ? w->s.min[h] : NULL, n_col / FH_BLOCK, k->block,
                           w->s.wide[h]);
    }
}

static void panel_bf16(const walk *w, const uint16_t *x, size_t stride) {
    const uint8_t *row[FH_PRODUCT_PANEL];
    const uint64_t in = w->p->matrix->in;
    if (w->p->kind == NULL) plain_rows(w, row);
    for (uint64_t k = 0; k < in; k += CHUNK) {
        const size_t n = (size_t)FH_MIN((uint64_t)CHUNK, in - k), n_col = (n + FH_BLOCK - 1) / FH_BLOCK * FH_BLOCK;
        if (w->p->kind != NULL) widen_chunk(w, k / FH_UNIT, n_col);
        else lay_chunk(w, row, k, n, n_col);
        const fh_dot_bf16 d = {.w = {w->s.wide[0], w->s.wide[1]},
                               .x = x + k,
                               .stride = stride,
                               .n = (size_t)w->n,
                               .n_col = n_col,
                               .n_half = w->n_half,
                               .acc = w->s.acc};
        w->p->table->dot_bf16(&d);
    }
}

/* ---- the product ---- */
static void deliver(const walk *w) {
    const uint64_t r0 = w->panel * FH_PRODUCT_PANEL;
    const size_t n_row = (size_t)FH_MIN(w->p->matrix->out - r0, (uint64_t)FH_PRODUCT_PANEL);
    if (w->a->y == NULL) {
        w->a->done(w->a->ctx, r0, n_row, w->i, (size_t)w->n, w->s.acc);
        return;
    }
    for (uint64_t i = 0; i < w->n; i++) {
        memcpy(w->a->y[w->i + i] + r0, w->s.acc + i * FH_PRODUCT_PANEL, n_row * sizeof(float));
    }
}

/* Elements from one bf16 input to the next, all the same distance; 0: they are not. */
static size_t even_stride(const void *const *x, uint64_t n, size_t row_bytes) {
    if (n == 1) return row_bytes / 2;
    const uintptr_t step = (uintptr_t)x[1] - (uintptr_t)x[0];
    if ((uintptr_t)x[1] < (uintptr_t)x[0] || step % 2 != 0) return 0;
    for (uint64_t i = 2; i < n; i++) {
        if ((uintptr_t)x[i] - (uintptr_t)x[i - 1] != step) return 0;
    }
    return step / 2;
}

void fh_product_run(const fh_product *p, const fh_product_args *a, void *scratch) {
    const size_t row_bytes = fh_product_form_bytes(a->form, p->matrix->in);
    FH_REQUIRE(fh_product_takes(p, a->form) && (uintptr_t)scratch % FH_PRODUCT_ALIGN == 0);
    if (a->n == 0 || p->matrix->in == 0) return;
    walk w = {.p = p, .a = a, .s = space_of(p, scratch)};
    size_t stride = a->form == FH_FORM_BF16 ? even_stride(a->x, a->n, row_bytes) : 0;
    const bool gather = a->form == FH_FORM_BF16 && stride == 0;
    const uint64_t batch = gather ? gather_rows(p) : BATCH, panels = fh_product_panels(p);
    if (gather) stride = row_bytes / 2;
    for (w.i = 0; w.i < a->n; w.i += batch) {
        const uint16_t *x = gather ? w.s.gather : a->x[w.i];
        w.n = FH_MIN(batch, a->n - w.i);
        for (uint64_t i = 0; gather && i < w.n; i++) memcpy(w.s.gather + i * stride, a->x[w.i + i], row_bytes);
        for (w.panel = a->p0; w.panel < FH_MIN(a->p1, panels); w.panel++) {
            const uint64_t number = a->mat * panels + w.panel;
            w.n_half = p->matrix->out - w.panel * FH_PRODUCT_PANEL > FH_HALF ? 2 : 1;
            w.packed = NULL;
            if (p->packed != NULL && atomic_load_explicit(&p->n_packed, memory_order_acquire) > number) {
                w.packed = p->packed + number * panel_bytes(p);
            }
            if (a->form != FH_FORM_F32) memset(w.s.acc, 0, (size_t)w.n * FH_PRODUCT_PANEL * sizeof(float));
            if (a->form == FH_FORM_I8) panel_i8(&w);
            else if (a->form == FH_FORM_BF16) panel_bf16(&w, x, stride);
            else panel_rows(&w);
            deliver(&w);
        }
    }
}

/* ---- packing ---- */
uint64_t fh_product_pack_bytes(const fh_product *p) {
    if (p->kind == NULL) return 0;
    return p->matrix->n_mat * fh_product_panels(p) * panel_bytes(p);
}

void fh_product_set_packed(fh_product *p, uint8_t *mem) {
    FH_REQUIRE(p->kind != NULL && (uintptr_t)mem % FH_PRODUCT_ALIGN == 0);
    p->packed = mem;
}

bool fh_product_pack(fh_product *p, uint64_t n) {
    const uint64_t panels = fh_product_panels(p), all = p->matrix->n_mat * panels;
    const uint64_t units = fh_ceil_div(p->matrix->in, FH_UNIT);
    uint64_t at = atomic_load_explicit(&p->n_packed, memory_order_relaxed);
    FH_REQUIRE(p->packed != NULL);
    for (; n > 0 && at < all; n--) {
        uint8_t *to = p->packed + at * panel_bytes(p);
        for (uint64_t u = 0; u < units; u++) {
            for (uint64_t h = 0; h < 2; h++) {
                pack_unit(p, (uint32_t)(at / panels), at % panels * FH_PRODUCT_PANEL + h * FH_HALF, u, to);
                to += fh_unit_bytes(p->kind, unit_blocks(p, u));
            }
        }
        atomic_store_explicit(&p->n_packed, ++at, memory_order_release);
    }
    return at < all;
}
