/* format/packed.h - published quantized layouts: stored tensors and config.json to logical weights.
 * Recognises by what config.json says and by which tensors are there, and checks that every part has the dtype and
 * shape that its layout demands; afterwards kernel/weight_decode.h can read any weight without a further check.
 * Layouts: FP8 in blocks (weight_scale_inv; .scale as UE8M0; Mistral's qscale_weight), FP8 and INT8 per tensor or
 * channel and pack-quantized integers (compressed-tensors), NVFP4 and MXFP4 (compressed-tensors, ModelOpt, gpt-oss,
 * DeepSeek V4's I8 + UE8M0), GPTQ v1 and v2 with and without activation order, AWQ, bitsandbytes NF4/FP4/INT8.
 * A stored tensor that no layout claims is a plain weight of its own name. Nothing is dropped silently. */
#ifndef FH_FORMAT_PACKED_H
#define FH_FORMAT_PACKED_H

#include "base/json.h"
#include "tensor/weight.h"

/* Weights live in the arena; they point at the given tensors. config may be NULL (no config.json: plain names only). */
typedef struct fh_weights {
    fh_weight *item; /* [n], sorted by the order of their first stored tensor */
    size_t n;
} fh_weights;

FH_MUST_USE fh_status fh_packed_bind(fh_weights *out, fh_arena *arena, const fh_tensor *const *tensors,
                                     size_t n_tensor, const fh_json_node *config, fh_err *err);

#endif
