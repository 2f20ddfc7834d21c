/* format/adapter.h - a LoRA adapter, read in place: a PEFT folder (adapter_config.json and
 * SPDX-License-Identifier: Apache-2.0
 * adapter_model.safetensors) or a GGUF adapter. It says which module gets which pair of small matrices with which
 * effective scale, and which tensors are replaced whole. Applying it is the business of others.
 * Owns: the mapping, the directory, the config. Immutable once open; threads may share it.
 * Refused: a matrix without its partner, ranks that do not fit the config, methods and initialisations whose
 * adapters mean something else than W + scale * B A (or DoRA's form of it), pickles. */
#ifndef FH_FORMAT_ADAPTER_H
#define FH_FORMAT_ADAPTER_H

#include "base/file.h"
#include "tensor/tensor.h"

typedef enum fh_adapter_form { FH_ADAPTER_PEFT, FH_ADAPTER_GGUF } fh_adapter_form;

/* W' = W + scale * B A; with a magnitude m: W' = m * (W + scale * B A) / row norms of it (DoRA).
 * Linear: a [r, in], b [out, r]; experts: a [E, r, in], b [E, out, r].
 * Embedding: a [r, vocab] (GGUF: [vocab, r], a_transposed), b [width, r]. */
typedef struct fh_adapter_pair {
    fh_str module; /* PEFT: "model.layers.0.self_attn.q_proj"; GGUF: the base tensor "blk.0.attn_q.weight" */
    const fh_tensor *a, *b;
    const fh_tensor *magnitude; /* [out], or NULL */
    const fh_tensor *b_bias;    /* [out], added with the same scale, or NULL */
    bool embedding, a_transposed;
    uint64_t r;
    double alpha;
    float scale; /* alpha / r, alpha / sqrt(r) with rank-stabilised scaling, 1 where GGUF's alpha is 0 */
} fh_adapter_pair;

/* A tensor that replaces the base model's: saved modules, resized embeddings, trained biases and norms. */
typedef struct fh_adapter_saved {
    fh_str name; /* as the base model calls it: "model.embed_tokens.weight" */
    const fh_tensor *tensor;
} fh_adapter_saved;

typedef struct fh_adapter_info {
    fh_adapter_form form;
    fh_str base_model; /* PEFT: base_model_name_or_path; "" if it says none */
    fh_str arch;       /* GGUF: general.architecture */
    uint64_t r;        /* PEFT: the default; 0 for GGUF */
    double alpha;
    bool rslora, dora, fan_in_fan_out;
    fh_str bias;          /* "none", "all", "lora_only" */
    const fh_str *target; /* [n_target] target_modules as written: names, or one pattern */
    size_t n_target;
    const uint32_t *invocation; /* [n_invocation] aLoRA: active only behind these tokens */
    size_t n_invocation;
} fh_adapter_info;

typedef struct fh_adapter fh_adapter;
FH_MUST_USE fh_status fh_adapter_open(fh_adapter **out, const char *path, fh_err *err);
void fh_adapter_close(fh_adapter *a); /* NULL is fine */
const fh_adapter_info *fh_adapter_get_info(const fh_adapter *a);
size_t fh_adapter_n_pair(const fh_adapter *a);
const fh_adapter_pair *fh_adapter_get_pair(const fh_adapter *a, size_t i);       /* sorted by module */
const fh_adapter_pair *fh_adapter_find_pair(const fh_adapter *a, fh_str module); /* NULL if absent */
size_t fh_adapter_n_saved(const fh_adapter *a);
const fh_adapter_saved *fh_adapter_get_saved(const fh_adapter *a, size_t i);     /* sorted by name */
const fh_adapter_saved *fh_adapter_find_saved(const fh_adapter *a, fh_str name); /* NULL if absent */
/* After reading data that matters: did the file shrink under us? */
FH_MUST_USE fh_status fh_adapter_check(const fh_adapter *a, fh_err *err);

/* Does a rank_pattern or alpha_pattern key mean this module? Keys are regular expressions that must match the
 * whole name or a tail of it behind a dot. Sets *known to false (and answers false) where a key uses more than
 * literals, '.', classes, \d \w, and * + ? behind one of them. */
bool fh_adapter_match(fh_str key, fh_str module, bool *known);

#endif
