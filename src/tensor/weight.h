/* tensor/weight.h - a logical tensor: what the model calls one weight, whatever stored tensors hold it.
 * SPDX-License-Identifier: Apache-2.0
 * Published quantized checkpoints keep codes, scales, zero points and maps in tensors of their own; a weight
 * binds them together and says, as data, how a value is made. Nothing is widened: codes stay in their bits.
 *
 *   value(row, col) = (codebook(code(row, col)) - zero(group)) * s(group) * factor
 *   s(group)        = scale(group), or scale(group) * global, or scale(group) / global
 *   group           = (row / group_rows, col / group_cols), or (row / group_rows, group_index[col]) where a map
 *                     exists, or (row * cols + col) / flat_group where that is set
 *
 * Every step is one f32 operation, rounded to nearest, in the order written: s first, then code times s, then
 * factor (left out when 0). The difference of code and zero is exact. Dimensions before the last two number
 * matrices (experts): each has scales of its own unless scale_shared.
 * Plain tensors (packing NONE, no scale) are weights too, so that consumers see one kind of thing.
 * kernel/weight_decode.h turns a weight into f32. Pointers are borrowed from the opened model. */
#ifndef FH_TENSOR_WEIGHT_H
#define FH_TENSOR_WEIGHT_H

#include "tensor/tensor.h"

/* How codes lie in their tensor. "in" is the innermost logical dimension, "out" the one before it.
 * A bit stream fills words from the low bit and crosses word borders: 32 codes of 3 bits in 3 words. */
typedef enum fh_packing {
    FH_PACK_NONE,         /* one element per code, of the tensor's own dtype, in the logical shape */
    FH_PACK_I32_IN,       /* I32 [.., out, ceil(in*bits/32)], a bit stream along in (compressed-tensors) */
    FH_PACK_I32_IN_WORDS, /* the same with 32/bits whole codes per word, for bits that do not divide 32 */
    FH_PACK_I32_OUT,      /* I32 [ceil(in*bits/32), out], a bit stream along in (GPTQ) */
    FH_PACK_AWQ,          /* I32 [in, out*bits/32], rows in the order 0 2 4 6 1 3 5 7 of each eight */
    FH_PACK_NIBBLE,       /* bytes [.., out, in/2]: even column in the low half, odd in the high half */
    FH_PACK_NIBBLE_HIGH   /* bytes, flat: first element in the high half (bitsandbytes) */
} fh_packing;

/* What a code stands for before scale and zero. */
typedef enum fh_codebook {
    FH_CODEBOOK_VALUE, /* the dtype's own value (F8, I8, F16 ...) */
    FH_CODEBOOK_UINT,  /* unsigned integer of `bits` */
    FH_CODEBOOK_E2M1,  /* 4-bit float: 0 .5 1 1.5 2 3 4 6 and their negatives */
    FH_CODEBOOK_TABLE  /* 16 values in `table` (bitsandbytes NF4, FP4) */
} fh_codebook;

/* zero = stored + zero_const. */
typedef enum fh_zero_kind {
    FH_ZERO_NONE,
    FH_ZERO_CONST,          /* zero_const everywhere: symmetric integers stored with an offset */
    FH_ZERO_I32_OUT,        /* I32 [groups, ceil(out*bits/32)], a bit stream along out; the sum is taken modulo
                               2^bits (GPTQ stores one less: v1 adds 1, v2 adds 0) */
    FH_ZERO_AWQ,            /* I32 [groups, out*bits/32] in AWQ's order */
    FH_ZERO_I32_ROWS,       /* I32 [.., ceil(out*bits/32), groups], a bit stream along the rows */
    FH_ZERO_I32_ROWS_WORDS, /* the same with 32/bits whole codes per word */
    FH_ZERO_TENSOR          /* one element per group, in the layout of scale */
} fh_zero_kind;

typedef struct fh_weight {
    fh_str name;    /* "model.layers.0.mlp.up_proj.weight" */
    fh_shape shape; /* logical, outermost first: [.., out, in] */
    const fh_tensor *codes;
    fh_packing packing;
    fh_codebook codebook;
    uint8_t bits;       /* per code, where packed */
    const float *table; /* [16] for CODEBOOK_TABLE */

    const fh_tensor *scale;          /* NULL: 1. A plain float, F8, F8_E8M0, or U8 where scale_is_e8m0 or scale_table */
    bool scale_is_e8m0;              /* U8 scales that are exponents (MXFP4) */
    bool scale_transposed;           /* [groups along in, out] instead of [.., out groups, groups along in] */
    bool scale_shared;               /* one set of scales for all matrices */
    uint64_t group_rows, group_cols; /* extent of one scale; edges may be partial. Not 0 where a scale is */
    uint64_t flat_group;             /* not 0: elements per scale, counted through all rows (bitsandbytes) */
    const fh_tensor *group_index;    /* I32 [in]: the group of each column (activation order), or NULL */

    fh_zero_kind zero_kind;
    const fh_tensor *zero;
    int32_t zero_const;

    const fh_tensor *global; /* F32: one for the whole weight or one per matrix (NVFP4), or NULL; without scale: s */
    bool global_divides;     /* compressed-tensors stores its reciprocal */
    float factor;            /* 0, or what every value is multiplied with at last (LLM.int8: 1/127) */

    /* bitsandbytes' second level: scale codes (U8) through a table of 256, times one F32 per scale_absmax_group
     * scales, plus scale_offset */
    const fh_tensor *scale_table, *scale_absmax;
    uint64_t scale_absmax_group;
    float scale_offset;

    uint64_t part_bytes; /* stored parts that no field points at: shapes, maps in order, quantization states */
    const char *layout;  /* for people: "GPTQ int4 g128 act-order", "FP8 blocks 128x128", "" for plain */
} fh_weight;

/* Bytes that all stored parts of the weight take. */
uint64_t fh_weight_stored_bytes(const fh_weight *w);
/* Rows and columns of one matrix, and how many matrices there are: [.., out, in]; 1 where a dimension is absent. */
uint64_t fh_weight_rows(const fh_weight *w);
uint64_t fh_weight_cols(const fh_weight *w);
uint64_t fh_weight_matrices(const fh_weight *w);

#endif
