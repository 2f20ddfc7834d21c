/* tensor/weight.h - a logical tensor: what the model calls one weight, whatever stored tensors hold it.
 * Published quantized checkpoints keep codes, scales, zero points and maps in tensors of their own; a weight
 * binds them together and says, as data, how a value is made. Nothing is widened: codes stay in their bits.
 *
 *   value(row, col) = (codebook(code(row, col)) - zero(group)) * scale(group) * or / global
 *   group = (row / group_rows, col / group_cols), or (row / group_rows, group_index[col]) where a map exists
 *
 * Plain tensors (packing NONE, no scale) are weights too, so that consumers see one kind of thing.
 * kernel/weight_decode.h turns a weight into f32. Pointers are borrowed from the opened model. */
#ifndef FH_TENSOR_WEIGHT_H
#define FH_TENSOR_WEIGHT_H

#include "tensor/tensor.h"

/* How codes lie in their tensor. "in" is the innermost logical dimension, "out" the one before it. */
typedef enum fh_packing {
    FH_PACK_NONE,    /* one element per code, of the tensor's own dtype, in the logical shape */
    FH_PACK_I32_IN,  /* I32 [out, in*bits/32], code j of a word at bit j*bits (compressed-tensors) */
    FH_PACK_I32_OUT, /* I32 [in*bits/32, out], packed along in (GPTQ) */
    FH_PACK_AWQ,     /* I32 [in, out*bits/32], columns in the order 0 2 4 6 1 3 5 7 of each eight */
    FH_PACK_NIBBLE,  /* U8 or I8 [.., in/2]: even column in the low half, odd in the high half */
    FH_PACK_NIBBLE_HIGH /* U8, flat: first element in the high half (bitsandbytes) */
} fh_packing;

/* What a code stands for before scale and zero. */
typedef enum fh_codebook {
    FH_CODEBOOK_VALUE, /* the dtype's own value (F8, I8, F16 ...) */
    FH_CODEBOOK_UINT,  /* unsigned integer of `bits` */
    FH_CODEBOOK_E2M1,  /* 4-bit float: 0 .5 1 1.5 2 3 4 6 and their negatives */
    FH_CODEBOOK_TABLE  /* 16 values in `table` (bitsandbytes NF4, FP4) */
} fh_codebook;

typedef enum fh_zero_kind {
    FH_ZERO_NONE,
    FH_ZERO_CONST,     /* zero_const everywhere: symmetric integers stored with an offset */
    FH_ZERO_I32_OUT,   /* I32 [groups, out*bits/32], packed along out; + zero_const (GPTQ v1: 1, v2: 0) */
    FH_ZERO_AWQ,       /* I32 [groups, out*bits/32] in AWQ's order */
    FH_ZERO_I32_ROWS,  /* I32 [out*bits/32, groups], packed along the rows (compressed-tensors) */
    FH_ZERO_TENSOR     /* one element per group, in the layout of scale */
} fh_zero_kind;

typedef struct fh_weight {
    fh_str name;    /* "model.layers.0.mlp.up_proj.weight" */
    fh_shape shape; /* logical, outermost first: [.., out, in] */
    const fh_tensor *codes;
    fh_packing packing;
    fh_codebook codebook;
    uint8_t bits; /* per code, where packed */
    const float *table; /* [16] for CODEBOOK_TABLE */

    const fh_tensor *scale;    /* NULL: 1. F32, F16, BF16, F64, F8_E4M3, F8_E8M0 or U8 read as E8M0 */
    bool scale_is_e8m0;        /* U8 scales that are exponents (MXFP4) */
    bool scale_transposed;     /* [groups along in, out] instead of [.., out groups, groups along in] */
    uint64_t group_rows, group_cols; /* extent of one scale; edges may be partial */
    const fh_tensor *group_index;    /* I32 [in]: the group of each column (GPTQ activation order), or NULL */

    fh_zero_kind zero_kind;
    const fh_tensor *zero;
    int32_t zero_const;

    const fh_tensor *global; /* one F32 for the whole tensor (NVFP4), or NULL; per expert where it has more */
    bool global_divides;     /* compressed-tensors stores its reciprocal */

    /* bitsandbytes' second level: scale codes (U8) through a table of 256, times absmax2 per 256 scales, + offset */
    const fh_tensor *scale_table, *scale_absmax;
    float scale_offset;

    const char *layout; /* for people: "GPTQ int4 g128 act-order", "FP8 blocks 128x128", "" for plain */
} fh_weight;

/* Bytes that all stored parts of the weight take. */
uint64_t fh_weight_stored_bytes(const fh_weight *w);

#endif
