/* kernel/product.h - fast products with a matrix (tensor/matrix.h): y[out] = M[mat] x[in] for one to many x.
 * SPDX-License-Identifier: Apache-2.0
 * What is fast here is not exact: inputs become int8 with one scale for each 32 (or bf16), weights keep their codes.
 * Relative RMS error against the decoded f32 product: int8 0.53 % for normally distributed inputs and 0.39 % for
 * uniform ones, bf16 0.24 %.
 *
 * A product is cut into panels of FH_PRODUCT_PANEL rows, the unit of sharing out work and of packing. Panels are
 * either packed (codes in the file's own bits, 32 rows interleaved: at most 1.06 times the file for GGUF's types, 1.2
 * for groups of 64 and more, 1.45 for groups of 32 with zeros) or read from the file each time; the results are the
 * same to the bit, so packing may go on in the background while steps run.
 * Results of int8 and f32 inputs depend on neither threads, nor batch split, nor packing, nor (with fused
 * multiply-add) on the level. Those of bf16 inputs keep to threads, split and packing, but another level rounds
 * otherwise. fh_product_wants may name another form for many inputs than for few: whoever needs results that do not
 * see the batch's size asks once and stays with that form.
 * No function here allocates or fails; whoever calls has checked the shapes (graph/plan_check.c). */
#ifndef FH_KERNEL_PRODUCT_H
#define FH_KERNEL_PRODUCT_H

#include <stdatomic.h>

#include "base/cpu.h"
#include "tensor/matrix.h"

#define FH_PRODUCT_PANEL 32
#define FH_PRODUCT_ALIGN 64

/* What inputs look like. Every product takes F32; I8 needs whole blocks of 32. */
typedef enum fh_product_form { FH_FORM_F32, FH_FORM_I8, FH_FORM_BF16, FH_FORM_COUNT } fh_product_form;

/* Whether a panel's packed form is there; zero: nobody has begun it. */
typedef struct fh_panel_state {
    _Atomic uint8_t is;
} fh_panel_state;

typedef struct fh_product {
    const fh_matrix *matrix;
    const struct fh_product_table *table; /* the kernels of a level */
    const struct fh_panel_kind *kind;     /* how the weights become panels of codes; NULL: */
    fh_dtype plain;                       /* F32, F16 or BF16 rows as they are stored; F32 for what is decoded first: */
    bool decoded;
    uint8_t *packed;       /* [fh_product_pack_bytes], or NULL; the caller's */
    fh_panel_state *state; /* of every panel, with packed */
    uint64_t next;         /* panels before this one are packed, or being packed */
} fh_product;

/* Borrows the matrix. Nothing above `level` is used (fh_cpu_best_level() for what this CPU proved). */
void fh_product_init(fh_product *p, const fh_matrix *m, fh_cpu_level level);

/* ---- inputs ---- */
/* The form that is fastest for n inputs which meet the same matrix at once. */
fh_product_form fh_product_wants(const fh_product *p, uint64_t n);
bool fh_product_takes(const fh_product *p, fh_product_form form);
/* One input in that form; a multiple of FH_PRODUCT_ALIGN but for F32, which is the input itself. It is also the best
 * distance between inputs: equal distances save a copy, and powers of two would be slow. */
size_t fh_product_form_bytes(fh_product_form form, uint64_t in);
/* Same bits at every level. dst is aligned. Not for F32. */
void fh_product_form_make(const fh_product *p, fh_product_form form, const float *x, uint64_t in, void *dst);

/* ---- the product ---- */
/* Rows [r, r + n_row) of inputs [i, i + n): value[j * FH_PRODUCT_PANEL + k] belongs to input i + j, row r + k. */
typedef void fh_product_done(void *ctx, uint64_t r, size_t n_row, uint64_t i, size_t n, const float *value);

typedef struct fh_product_args {
    uint32_t mat;
    uint64_t p0, p1; /* panels of that matrix: rows [p0 * FH_PRODUCT_PANEL, p1 * FH_PRODUCT_PANEL) */
    fh_product_form form;
    uint64_t n;           /* inputs */
    const void *const *x; /* [n], aligned but for F32 */
    float *const *y;      /* [n] where element 0 of each result lies; or NULL and: */
    fh_product_done *done;
    void *ctx;
} fh_product_args;

uint64_t fh_product_panels(const fh_product *p); /* of one matrix */
size_t fh_product_scratch_bytes(const fh_product *p);
void fh_product_run(const fh_product *p, const fh_product_args *a,
                    void *scratch); /* scratch: a worker's own, aligned */

/* ---- packing ---- */
uint64_t fh_product_pack_bytes(const fh_product *p); /* 0: this matrix is read from the file for good */
/* Gives memory (aligned; best in huge pages) to be filled, and zeros [fh_product_all_panels], a state for each panel.
 * Before steps start. A product of many inputs packs what it meets unpacked: it has to do that work in any case. */
void fh_product_set_packed(fh_product *p, uint8_t *mem, fh_panel_state *state);
uint64_t fh_product_all_panels(const fh_product *p); /* of all matrices together */
/* Packs the next n panels at most, counted through all matrices; false when none is left. One caller at a time, while
 * others run products. When it has returned false, no product that begins then reads the file: its pages can go. */
bool fh_product_pack(fh_product *p, uint64_t n);

#endif
