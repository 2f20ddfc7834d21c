/* library/catalogue.h - published models that are known by name, before any of their files is here.
 * SPDX-License-Identifier: Apache-2.0
 * Rows (catalogue.def) say what model cards and config.json say: sizes, dates, licences. A field of 0 is not known.
 * A name finds a row in any letters and punctuation, as makers, hubs and runners write it: "Llama 3.1 8B",
 * "meta-llama/Llama-3.1-8B-Instruct", "llama3.1:8b". */
#ifndef FH_LIBRARY_CATALOGUE_H
#define FH_LIBRARY_CATALOGUE_H

#include <stdbool.h>

#include "base/str.h"

/* Numbers of a decoder, as config.json has them. */
typedef struct fh_fit_config {
    uint32_t n_layer, n_embd, n_head, n_kv, width, v_width; /* v_width 0: as width */
    uint32_t n_ff, n_vocab, n_context;
    uint32_t n_expert, n_used, n_shared, expert_ff, shared_ff, n_dense, moe_step;
    uint32_t q_rank, kv_rank, nope, rope; /* latent attention; v_width: of a value head */
    uint32_t window, period;
    uint32_t full_width, full_kv, n_shared_kv; /* of full layers, where they differ; layers that own no state */
    uint32_t dk_heads, dv_heads, dk_width, dv_width, taps;
    bool tied, untied; /* one of them: the file says so */
    bool qk_norm, qkv_bias, o_bias, mlp_bias;
    const uint8_t *kind; /* [n_layer] fh_fit_layer, or NULL: by the architecture's rule */
} fh_fit_config;

typedef enum fh_fit_layer {
    FH_FIT_LAYER_FULL,
    FH_FIT_LAYER_SLIDING,
    FH_FIT_LAYER_DELTA,
    FH_FIT_LAYER_OTHER
} fh_fit_layer;

typedef struct fh_catalogue_row {
    const char *name, *maker, *released, *license, *repo, *arch;
    uint32_t millions, millions_active; /* parameters as published */
    const char *can;                    /* letters: V sees, T thinks, F calls tools, E embeds, R ranks */
    const char *stored;                 /* "mxfp4", "fp8"; NULL: 16 bits */
    fh_fit_config config;
} fh_catalogue_row;

const fh_catalogue_row *fh_catalogue_rows(size_t *n);
const fh_catalogue_row *fh_catalogue_find(fh_str name); /* NULL: no row, or several */
/* Rows whose name holds this one's letters, at most `most`; for messages. */
size_t fh_catalogue_like(fh_str name, const fh_catalogue_row **out, size_t most);

#endif
