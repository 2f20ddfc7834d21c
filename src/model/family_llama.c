/* model/family_llama.c - Llama and what is built like it: the plainest decoder, with or without experts.
 * SPDX-License-Identifier: Apache-2.0
 * GGUF holds queries and keys with neighbours as pairs, safetensors with halves: nothing is permuted, the rotation's
 * layout differs. Biases, tied heads, experts, rope scaling: as the tensors and keys say. */
#include "model/family.h"

const fh_family fh_family_llama = {
    .name = "llama",
    .covers = "Llama 1 to 3.3, Code Llama, Llama Guard 1 to 3, R1 distills, Mixtral, Amber, Vicuna",
    .gguf = "llama",
    .hf = "llama|mixtral|mistral",
    .hf_prefix = "model.|",
    .rope_gguf = FH_ROPE_SPLIT, /* pairs in, halves out: the same bits as from safetensors */
    .rope_hf = FH_ROPE_HALVES,
    .act = FH_MAP_SILU,
};
