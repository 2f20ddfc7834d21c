/* kernel/product.c - the walk of a product over panels, columns and inputs, and the choice of kernels by level.
 * SPDX-License-Identifier: Apache-2.0
 * Order of the loops: batches of inputs, groups of panels, chunks of columns, panels. A chunk of a panel is expanded
 * into the first-level cache and meets all inputs of the batch there; their chunk and the group's results stay in the
 * second-level cache. Few inputs go panel by panel, to read memory in one stream. What a chunk, a group, a batch or a
 * tile is cannot be seen in a result: every element adds up its blocks in order, in acc where a chunk ends.
 * Threads: tables are made under pthread_once; a product is only read while it runs, but for panels' states. */
#include "kernel/product.h"

#include <pthread.h>

#include "base/clock.h"
#include "kernel/decode.h"
#include "kernel/matrix_decode.h"
#include "kernel/peak_part.h"
#include "kernel/product_part.h"
#include "kernel/weight_decode.h"

enum {
    BATCH_I8 = 256,  /* inputs at a time: a chunk of them is 256 KB, and the results of a group are as much */
    BATCH = 512,     /* of bf16, where second-level caches are larger, and of f32 */
    GROUP = 8,       /* panels */
    FEW = 16,        /* inputs that do not pay for groups and larger chunks */
    CHUNK_UNITS = 2, /* of 256 columns: 16 KB of bytes and their scales; of bf16 one unit is as much */
    CHUNK = CHUNK_UNITS * FH_UNIT,
    GATHER_BYTES = 1 << 20, /* for bf16 inputs that do not lie at equal distances */
    PACKS_FROM = 32         /* inputs of a product that packs the panels it meets */
};

/* Of a panel's packed form. Whoever claims it makes it. */
enum { NONE, CLAIMED, READY };

/* ---- tables ---- */
static fh_product_table tables[FH_CPU_LEVEL_COUNT];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static bool within(fh_cpu_level have, fh_cpu_level limit) { return have <= limit && fh_cpu_has_level(have); }

#if defined(__x86_64__)
/* Whether a multiply-add of bf16 pairs is worth more than the two f32 ones that it replaces: on some CPUs it takes
 * four times as long. A tenth of a millisecond; the best of five rounds, as other work may come between. */
static bool bf16_pays(void) {
    enum { ROUNDS = 5, N = 1000 };
    static fh_peak_block block; /* zeros */
    uint64_t bf16 = UINT64_MAX, f32 = UINT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t t0 = fh_clock_ns();
        fh_peak_bf16_avx512(&block, N);
        const uint64_t t1 = fh_clock_ns();
        fh_peak_f32_avx512(&block, N);
        const uint64_t t2 = fh_clock_ns();
        bf16 = FH_MIN(bf16, t1 - t0);
        f32 = FH_MIN(f32, t2 - t1);
    }
    return bf16 < 2 * f32; /* both loops do as many instructions */
}
#endif

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
        t->stream = fh_vnni_stream;
    }
    if (within(FH_CPU_LEVEL_BF16, limit)) {
        static int pays = -1;
        if (pays < 0) pays = bf16_pays();
        t->dot_bf16 = fh_bf16_dot_bf16;
        if (pays) t->bf16_from_plain = 12;
    }
    if (within(FH_CPU_LEVEL_AMX, limit)) {
        t->dot_bf16 = fh_amx_dot_bf16;
        t->bf16_from_codes = 24;
        t->bf16_from_plain = 12;
    }
#elif defined(__aarch64__)
    if (within(FH_CPU_LEVEL_NEON, limit)) {
        t->expand = fh_neon_expand;
        t->dot_i8 = fh_neon_dot_i8;
        t->dot_rows = fh_neon_dot_rows;
    }
    if (within(FH_CPU_LEVEL_DOTPROD, limit)) t->dot_i8 = fh_dotprod_dot_i8;
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

static bool same_layout(const fh_weight *a, const fh_weight *b) {
    return is_plain(a) == is_plain(b) && a->codes->dtype == b->codes->dtype && fh_weight_cols(a) == fh_weight_cols(b);
}

void fh_product_init(fh_product *p, const fh_matrix *m, fh_cpu_level level) {
    FH_REQUIRE((unsigned)level < FH_CPU_LEVEL_COUNT);
    pthread_once(&tables_once, fill_tables);
    *p = (fh_product){.matrix = m, .table = &tables[level], .plain = FH_DTYPE_F32, .decoded = true};
    if (m->transposed || m->n_weight == 0 || fh_weight_cols(m->weight[0]) != m->in) return;
    const fh_dtype t = m->weight[0]->codes->dtype;
    const bool plain = is_plain(m->weight[0]);
    const fh_panel_kind *k = plain ? fh_panel_find(t) : fh_panel_find_weight(m->weight[0]);
    if (plain && m->in % fh_dtype_get_info(t)->block_elems != 0) k = NULL;
    for (uint32_t i = 1; i < m->n_weight; i++) {
        if (!same_layout(m->weight[i], m->weight[0])) return;
        if (!plain && fh_panel_find_weight(m->weight[i]) != k) return;
    }
    FH_REQUIRE(k == NULL || fh_unit_bytes(k, FH_UNIT_BLOCKS) <= FH_UNIT_MOST);
    p->kind = k;
    p->decoded = k == NULL && (!plain || (t != FH_DTYPE_F32 && t != FH_DTYPE_F16 && t != FH_DTYPE_BF16));
    if (k == NULL && !p->decoded) p->plain = t;
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
    /* An odd number of cache lines: at a power of two, neighbours would drive each other out of the cache. */
    const uint64_t blocks = fh_ceil_div(in, FH_BLOCK) | 1;
    if (form == FH_FORM_F32) return (size_t)in * sizeof(float);
    return (size_t)blocks * (form == FH_FORM_I8 ? sizeof(fh_i8_block) : FH_BLOCK * sizeof(uint16_t));
}

void fh_product_form_make(const fh_product *p, fh_product_form form, const float *x, uint64_t in, void *dst) {
    FH_REQUIRE(form != FH_FORM_F32 && (form != FH_FORM_I8 || in % FH_BLOCK == 0));
    if (form == FH_FORM_I8) p->table->form_i8(x, (size_t)in / FH_BLOCK, dst);
    else p->table->form_bf16(x, (size_t)in, dst);
}

/* ---- scratch ---- */
enum { ACC_FLOATS = BATCH * GROUP * FH_PRODUCT_PANEL };

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
    s.acc = carve(base, &at, ACC_FLOATS * sizeof(float));
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
    const size_t n_block = unit_blocks(p, unit);
    const uint8_t *row[FH_HALF];
    uint64_t number[FH_HALF];
    if (p->kind->pack_weight != NULL) {
        for (uint64_t r = 0; r < FH_HALF; r++) {
            number[r] = fh_matrix_row(p->matrix, mat, FH_MIN(r0 + r, p->matrix->out - 1));
        }
        p->kind->pack_weight(fh_matrix_weight(p->matrix, mat), number, unit * FH_UNIT, n_block, dst);
        return;
    }
    const fh_dtype_info *d = fh_dtype_get_info(p->kind->dtype);
    for (uint64_t r = 0; r < FH_HALF; r++) {
        row[r] =
            file_row(p, mat, FH_MIN(r0 + r, p->matrix->out - 1)) + unit * FH_UNIT / d->block_elems * d->block_bytes;
    }
    p->kind->pack(row, n_block, dst);
}

/* ---- one chunk of one panel ---- */
typedef struct walk {
    const fh_product *p;
    const fh_product_args *a;
    space s;
    uint64_t i, n;     /* inputs [i, i + n) */
    uint64_t k, n_col; /* columns [k, k + n_col), a multiple of 32 */
    const uint16_t *x; /* bf16: the first of them, and the distance to the next */
    size_t stride;
    uint64_t panel;
    size_t n_half;
    float *acc;
} walk;

/* One panel of all matrices together, whose claim the caller has. */
static void pack_panel(const fh_product *p, uint64_t number) {
    const uint64_t panels = fh_product_panels(p), units = fh_ceil_div(p->matrix->in, FH_UNIT);
    uint8_t *to = p->packed + number * panel_bytes(p);
    for (uint64_t u = 0; u < units; u++) {
        for (uint64_t h = 0; h < 2; h++) {
            pack_unit(p, (uint32_t)(number / panels), number % panels * FH_PRODUCT_PANEL + h * FH_HALF, u, to);
            to += fh_unit_bytes(p->kind, unit_blocks(p, u));
        }
    }
    atomic_store_explicit(&p->state[number].is, READY, memory_order_release);
}

static bool claim(const fh_product *p, uint64_t number) {
    uint8_t none = NONE;
    return atomic_compare_exchange_strong(&p->state[number].is, &none, CLAIMED);
}

/* NULL: it is to be read from the file, since another is just packing it, or few inputs do not pay for packing. */
static const uint8_t *packed_panel(const walk *w) {
    const fh_product *p = w->p;
    if (p->packed == NULL) return NULL;
    const uint64_t number = w->a->mat * fh_product_panels(p) + w->panel;
    if (atomic_load_explicit(&p->state[number].is, memory_order_acquire) != READY) {
        if (w->a->n < PACKS_FROM || !claim(p, number)) return NULL;
        pack_panel(p, number);
    }
    return p->packed + number * panel_bytes(p);
}

/* Half h of a unit, out of the packed panel or, where that is NULL, out of the file. */
static const uint8_t *find_unit(const walk *w, const uint8_t *packed, uint64_t unit, size_t h, size_t n_block) {
    const fh_panel_kind *k = w->p->kind;
    if (packed != NULL) return packed + unit * 2 * fh_unit_bytes(k, FH_UNIT_BLOCKS) + h * fh_unit_bytes(k, n_block);
    pack_unit(w->p, w->a->mat, w->panel * FH_PRODUCT_PANEL + h * FH_HALF, unit, w->s.unit);
    return w->s.unit;
}

static void expand(const walk *w, fh_expand_fn *const *table) {
    const fh_panel_kind *k = w->p->kind;
    const size_t scales = (size_t)FH_UNIT / k->block * FH_HALF;
    const uint64_t u0 = w->k / FH_UNIT, n_unit = fh_ceil_div(w->n_col, FH_UNIT);
    const uint8_t *packed = packed_panel(w);
    for (size_t u = 0; u < n_unit; u++) {
        const size_t n_block = unit_blocks(w->p, u0 + u);
        for (size_t h = 0; h < w->n_half; h++) {
            table[k->id](find_unit(w, packed, u0 + u, h, n_block), n_block, w->s.code[h] + u * FH_UNIT * FH_HALF,
                         w->s.scale[h] + u * scales, w->s.min[h] + u * scales);
        }
    }
}

/* Few inputs, one unit of columns: nothing is expanded. */
static void chunk_stream(const walk *w, fh_stream_fn *stream) {
    const uint64_t unit = w->k / FH_UNIT;
    const size_t n_block = unit_blocks(w->p, unit), bytes = fh_unit_bytes(w->p->kind, n_block);
    const uint8_t *packed = packed_panel(w);
    const fh_i8_block *x[FH_STREAM_INPUTS];
    for (uint64_t i = 0; i < w->n; i++) x[i] = (const fh_i8_block *)w->a->x[w->i + i] + w->k / FH_BLOCK;
    for (size_t h = 0; h < w->n_half; h++)
        stream(find_unit(w, packed, unit, h, n_block), n_block, bytes, x, (size_t)w->n, w->acc + h * FH_HALF);
}

static void chunk_i8(const walk *w) {
    const fh_panel_kind *k = w->p->kind;
    fh_stream_fn *const *stream = w->p->table->stream;
    if (w->n <= FH_STREAM_INPUTS && stream != NULL && stream[k->id] != NULL) {
        chunk_stream(w, stream[k->id]);
        return;
    }
    expand(w, w->p->table->expand);
    const fh_dot_i8 d = {.code = {w->s.code[0], w->s.code[1]},
                         .scale = {w->s.scale[0], w->s.scale[1]},
                         .min = {w->s.min[0], w->s.min[1]},
                         .x = w->a->x + w->i,
                         .first_block = w->k / FH_BLOCK,
                         .n = (size_t)w->n,
                         .n_block = (size_t)w->n_col / FH_BLOCK,
                         .n_half = w->n_half,
                         .block = k->block,
                         .reach = k->reach,
                         .has_min = k->has_min,
                         .acc = w->acc};
    w->p->table->dot_i8(&d);
}

/* Plain codes with scales (FP8) row by row: the same operations as fh_weight_decode, not element by element. */
static bool decode_scaled(const fh_matrix *m, uint32_t mat, uint64_t r, float *dst) {
    const fh_weight *w = fh_matrix_weight(m, mat);
    const fh_dtype_info *d = fh_dtype_get_info(w->codes->dtype);
    if (w->packing != FH_PACK_NONE || w->codebook != FH_CODEBOOK_VALUE || w->zero_kind != FH_ZERO_NONE) return false;
    if (w->scale == NULL || w->group_index != NULL || w->flat_group != 0 || d->block_elems != 1) return false;
    const uint64_t row = fh_matrix_row(m, mat, r);
    fh_decode(w->codes->dtype, w->codes->data.ptr + row * m->in * d->block_bytes, dst, (size_t)m->in);
    for (uint64_t k = 0; k < m->in; k += w->group_cols) {
        const float s = fh_weight_scale(w, row, k);
        for (uint64_t c = k; c < FH_MIN(k + w->group_cols, m->in); c++) dst[c] = dst[c] * s;
    }
    for (uint64_t c = 0; w->factor != 0.0f && c < m->in; c++) dst[c] = dst[c] * w->factor;
    return true;
}

static void decode_rows(const fh_matrix *m, uint32_t mat, uint64_t r, uint64_t n, float *dst) {
    if (n > 0 && decode_scaled(m, mat, r, dst)) {
        for (uint64_t i = 1; i < n; i++) (void)decode_scaled(m, mat, r + i, dst + i * m->in);
        return;
    }
    fh_matrix_decode_rows(m, mat, r, n, dst);
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
        decode_rows(m, w->a->mat, r0, n, w->s.rows);
    }
    for (uint64_t r = 0; r < FH_PRODUCT_PANEL; r++) {
        const uint64_t at = FH_MIN(r, n - 1);
        row[r] = decode ? (const uint8_t *)(w->s.rows + at * m->in) : file_row(w->p, w->a->mat, r0 + at);
    }
}

static void chunk_f32(const walk *w) {
    const uint8_t *row[FH_PRODUCT_PANEL];
    const uint64_t left = w->p->matrix->out - w->panel * FH_PRODUCT_PANEL;
    plain_rows(w, row);
    const fh_dot_rows d = {.dtype = w->p->kind != NULL ? FH_DTYPE_F32 : w->p->plain,
                           .row = row,
                           .x = (const float *const *)(w->a->x + w->i),
                           .n = (size_t)w->n,
                           .n_row = (size_t)FH_MIN(left, (uint64_t)FH_PRODUCT_PANEL),
                           .n_col = (size_t)w->p->matrix->in,
                           .acc = w->acc};
    w->p->table->dot_rows(&d);
}

static void lay(const walk *w) {
    const uint8_t *row[FH_PRODUCT_PANEL], *at[FH_HALF];
    const size_t bytes = w->p->plain == FH_DTYPE_F32 ? 4 : 2;
    const size_t n = (size_t)FH_MIN(w->n_col, w->p->matrix->in - w->k);
    if (!w->p->decoded || w->k == 0) plain_rows(w, row);
    for (size_t h = 0; h < w->n_half; h++) {
        for (size_t r = 0; r < FH_HALF; r++) {
            const uint64_t left = w->p->matrix->out - 1 - w->panel * FH_PRODUCT_PANEL;
            const size_t in_panel = (size_t)FH_MIN(h * FH_HALF + r, left);
            at[r] = w->p->decoded ? (const uint8_t *)(w->s.rows + in_panel * w->p->matrix->in) : row[h * FH_HALF + r];
            at[r] += w->k * bytes;
        }
        w->p->table->lay_bf16(w->p->plain, at, n, (size_t)w->n_col, w->s.wide[h]);
    }
}

static void chunk_bf16(const walk *w) {
    const fh_panel_kind *k = w->p->kind;
    if (k == NULL) {
        lay(w);
    } else {
        expand(w, w->p->table->expand_biased);
        for (size_t h = 0; h < w->n_half; h++) {
            w->p->table->widen(w->s.code[h], w->s.scale[h], k->has_min ? w->s.min[h] : NULL,
                               (size_t)w->n_col / FH_BLOCK, k->block, w->s.wide[h]);
        }
    }
    const fh_dot_bf16 d = {.w = {w->s.wide[0], w->s.wide[1]},
                           .x = w->x + w->k,
                           .stride = w->stride,
                           .n = (size_t)w->n,
                           .n_col = (size_t)w->n_col,
                           .n_half = w->n_half,
                           .acc = w->acc};
    w->p->table->dot_bf16(&d);
}

/* ---- the product ---- */
/* A group's results, input by input: what lies together is written together. */
static void deliver(const walk *w, uint64_t p0, uint64_t p1) {
    const uint64_t out = w->p->matrix->out;
    const size_t floats = (size_t)w->n * FH_PRODUCT_PANEL;
    for (uint64_t at = p0; w->a->y == NULL && at < p1; at++) {
        const uint64_t r0 = at * FH_PRODUCT_PANEL;
        w->a->done(w->a->ctx, r0, (size_t)FH_MIN(out - r0, (uint64_t)FH_PRODUCT_PANEL), w->i, (size_t)w->n,
                   w->s.acc + (at - p0) * floats);
    }
    for (uint64_t i = 0; w->a->y != NULL && i < w->n; i++) {
        for (uint64_t at = p0; at < p1; at++) {
            const uint64_t r0 = at * FH_PRODUCT_PANEL;
            float *y = w->a->y[w->i + i] + r0;
            const float *from = w->s.acc + (at - p0) * floats + i * FH_PRODUCT_PANEL;
            if (out - r0 >= FH_PRODUCT_PANEL) memcpy(y, from, FH_PRODUCT_PANEL * sizeof *y);
            else memcpy(y, from, (size_t)(out - r0) * sizeof *y);
        }
    }
}

/* Panels [p0, p1), at most GROUP of them. */
static void run_group(walk *w, uint64_t p0, uint64_t p1) {
    const uint64_t in = w->p->matrix->in;
    const uint64_t step = w->a->form == FH_FORM_F32 ? in : w->a->form == FH_FORM_BF16 || w->n < FEW ? FH_UNIT : CHUNK;
    const size_t floats = (size_t)w->n * FH_PRODUCT_PANEL;
    if (w->a->form != FH_FORM_F32) memset(w->s.acc, 0, (size_t)(p1 - p0) * floats * sizeof(float));
    for (w->k = 0; w->k < in; w->k += step) {
        w->n_col = fh_ceil_div(FH_MIN(step, in - w->k), FH_BLOCK) * FH_BLOCK;
        for (w->panel = p0; w->panel < p1; w->panel++) {
            w->n_half = w->p->matrix->out - w->panel * FH_PRODUCT_PANEL > FH_HALF ? 2 : 1;
            w->acc = w->s.acc + (w->panel - p0) * floats;
            if (w->a->form == FH_FORM_I8) chunk_i8(w);
            else if (w->a->form == FH_FORM_BF16) chunk_bf16(w);
            else chunk_f32(w);
        }
    }
    deliver(w, p0, p1);
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
    uint64_t batch = a->form == FH_FORM_I8 ? BATCH_I8 : BATCH, end = FH_MIN(a->p1, fh_product_panels(p));
    w.stride = a->form == FH_FORM_BF16 ? even_stride(a->x, a->n, row_bytes) : 0;
    const bool gather = a->form == FH_FORM_BF16 && w.stride == 0;
    if (gather) batch = gather_rows(p), w.stride = row_bytes / 2;
    for (w.i = 0; w.i < a->n; w.i += batch) {
        w.n = FH_MIN(batch, a->n - w.i);
        w.x = gather ? w.s.gather : a->x[w.i];
        for (uint64_t i = 0; gather && i < w.n; i++) memcpy(w.s.gather + i * w.stride, a->x[w.i + i], row_bytes);
        /* decoded panels have room for one */
        const uint64_t group = w.n < FEW || a->form == FH_FORM_F32 || p->decoded ? 1 : GROUP;
        for (uint64_t at = a->p0; at < end; at += group) run_group(&w, at, FH_MIN(at + group, end));
    }
}

/* ---- packing ---- */
uint64_t fh_product_pack_bytes(const fh_product *p) {
    if (p->kind == NULL) return 0;
    return p->matrix->n_mat * fh_product_panels(p) * panel_bytes(p);
}

uint64_t fh_product_all_panels(const fh_product *p) { return p->matrix->n_mat * fh_product_panels(p); }

void fh_product_set_packed(fh_product *p, uint8_t *mem, fh_panel_state *state) {
    FH_REQUIRE(p->kind != NULL && (uintptr_t)mem % FH_PRODUCT_ALIGN == 0);
    p->packed = mem;
    p->state = state;
}

bool fh_product_pack(fh_product *p, uint64_t n) {
    const uint64_t all = fh_product_all_panels(p);
    FH_REQUIRE(p->packed != NULL);
    while (n > 0 && p->next < all) {
        const uint64_t at = p->next++;
        if (!claim(p, at)) continue;
        pack_panel(p, at);
        n--;
    }
    return p->next < all;
}
