/* library/facts.h - what a model is, in one struct, whichever kind of file says so.
 * SPDX-License-Identifier: Apache-2.0
 * For people and for other programs (show, fit, the catalogue). Never for the engine: a family's row reads its own
 * metadata. Text is borrowed from the bundle or lives in the facts' arena. 0 and "" mean: the files do not say. */
#ifndef FH_LIBRARY_FACTS_H
#define FH_LIBRARY_FACTS_H

#include "base/hash.h"
#include "library/builtin.h"

/* One element type or layout, and how much of the model it holds. */
typedef struct fh_facts_share {
    const char *type; /* "Q4_K", "GPTQ int4 g64" */
    uint64_t n_weight, n_value, bytes;
} fh_facts_share;

typedef struct fh_facts {
    fh_arena arena;
    fh_str architecture; /* general.architecture, or model_type of the text part */
    fh_str class_name;   /* the first of `architectures`; "" for GGUF */
    fh_str name, author, version;
    uint64_t n_context, n_layer, n_embd, n_ff, n_ff_expert, n_head, n_head_kv, head_dim, n_vocab;
    uint64_t n_expert, n_expert_used, n_expert_shared, window;
    double rope_theta;
    fh_str rope_scaling; /* "yarn x4" */

    uint64_t n_value, n_value_active; /* parameters; active: what one token passes through */
    uint64_t weight_bytes, file_bytes;
    double bits_per_value;
    fh_str quantization;   /* "Q4_K_M", "gptq", "BF16" */
    fh_facts_share *share; /* [n_share], largest first */
    size_t n_share;

    fh_str tokenizer;     /* "gpt2 / qwen2", "tokenizer.json" */
    fh_str template_text; /* the chat template, or "" */
    char template_sha256[FH_SHA256_HEX];
    fh_str license;      /* identifier as stated */
    fh_str license_text; /* whole text where the files carry it */
    fh_str license_from; /* "general.license", "LICENSE", "Ollama manifest" */
} fh_facts;

FH_MUST_USE fh_status fh_facts_gather(fh_facts *out, const fh_bundle *b, const fh_location *at, fh_err *err);
void fh_facts_release(fh_facts *f);

#endif
