/* format/packed.h - published quantized layouts: stored tensors and config.json to logical weights.
 * SPDX-License-Identifier: Apache-2.0
 * Recognises by what config.json says and by which tensors are there, and checks that every part has the dtype and
 * shape that its layout demands; afterwards kernel/weight_decode.h can read any weight without a further check.
 * Layouts: FP8 in blocks (weight_scale_inv; .scale as UE8M0), per tensor or channel (weight_scale; Mistral's
 * qscale_weight) and as MXFP8; INT8 and pack-quantized integers (compressed-tensors); NVFP4 and MXFP4
 * (compressed-tensors, ModelOpt, gpt-oss, DeepSeek V4's I8 + UE8M0); GPTQ v1 and v2 with and without activation
 * order; AWQ; bitsandbytes NF4, FP4 and LLM.int8.
 * A stored tensor that no layout claims is a plain weight of its own name. Nothing is dropped silently: a part
 * without its partners, or tensors that contradict config.json, are errors. Methods that are not read
 * (FH_ERR_UNSUPPORTED) are named. */
#ifndef FH_FORMAT_PACKED_H
#define FH_FORMAT_PACKED_H

#include "base/json.h"
#include "base/mem.h"
#include "tensor/weight.h"

/* Weights live in the arena; they point at the given tensors. */
typedef struct fh_weights {
    fh_weight *item; /* [n], sorted by the order of their first stored tensor */
    size_t n;
} fh_weights;

/* config: the root of config.json. The quantization section is its quantization_config, or compression_config, or
 * that of text_config, or the content of hf_quant_config.json where the caller merged it. NULL (no config.json:
 * GGUF, a single file): plain weights only, whatever their names. */
FH_MUST_USE fh_status fh_packed_bind(fh_weights *out, fh_arena *arena, const fh_tensor *const *tensors, size_t n_tensor,
                                     const fh_json_node *config, fh_err *err);

#endif
