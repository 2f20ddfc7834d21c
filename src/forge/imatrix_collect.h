/* forge/imatrix_collect.h - an importance matrix out of a running model: the squares of what its products are given.
 * SPDX-License-Identifier: Apache-2.0
 * For every matrix of a layer, under the name that a GGUF of the model has for it (whichever kind of file it is in):
 *   plain products   one set of columns, one count
 *   experts          a set and a count for each: inputs of tokens that were sent there
 *   heads' products  (latent attention, absorbed) what each head's product is really given. Keys' matrices see the
 *                    unrotated queries, values' matrices the mixed latents: a set for each head under attn_k_b and
 *                    attn_v_b, where the file has these or, being safetensors, would get them; one count. A GGUF whose
 *                    matrices are joined as attn_kv_b: the sum over heads of the mixed latents, the columns' inputs
 *                    (keys' rows are used transposed: no input belongs to a column)
 *   the head         output.weight, only where asked for; a tied one under token_embd.weight, which it reads
 * Sums are f64 in the order of the tokens: neither threads nor batches can be seen in them. */
#ifndef FH_FORGE_IMATRIX_COLLECT_H
#define FH_FORGE_IMATRIX_COLLECT_H

#include "forge/imatrix.h"
#include "infer/engine.h"

typedef struct fh_imatrix_collector fh_imatrix_collector;

/* Watches the engine's steps until it is freed, which must come before the engine's end. head: the last product, too.
 * FH_ERR_UNSUPPORTED: a matrix for which GGUF has no name. */
FH_MUST_USE fh_status fh_imatrix_collector_new(fh_imatrix_collector **out, fh_engine *e, bool head, fh_err *err);
void fh_imatrix_collector_free(fh_imatrix_collector *c); /* NULL is fine */
/* What was seen so far, added to m; matrices that saw nothing at all are left out. Between steps. */
FH_MUST_USE fh_status fh_imatrix_collector_add_to(const fh_imatrix_collector *c, fh_imatrix *m, fh_err *err);

#endif
