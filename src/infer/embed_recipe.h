/* infer/embed_recipe.h - how a model's own files want its rows turned into a vector.
 * SPDX-License-Identifier: Apache-2.0
 * A Hugging Face folder says it in modules.json and the folders that it names (pooling, dense layers, normalization,
 * how many tokens, prompts); a GGUF in pooling_type and tensors dense_2, dense_3. Where neither says anything: the
 * family's pooling, normalized. Kinds that are not understood are refused by name, never left out. */
#ifndef FH_INFER_EMBED_RECIPE_H
#define FH_INFER_EMBED_RECIPE_H

#include "format/bundle.h"
#include "model/model.h"
#include "text/ids.h"

#define FH_EMBED_DENSE_MOST 4

typedef struct fh_embed_dense {
    uint32_t in, out;
    float *w;    /* [out, in] */
    float *bias; /* [out], or NULL */
    bool tanh;   /* else nothing */
} fh_embed_dense;

typedef struct fh_embed_recipe {
    fh_pooling pooling;
    bool normalize;
    uint32_t most_tokens; /* longer texts are cut, as these files say; 0: the model's context, nothing is cut */
    fh_embed_dense dense[FH_EMBED_DENSE_MOST];
    uint32_t n_dense;
    fh_json *prompts; /* config_sentence_transformers.json, or NULL */
} fh_embed_recipe;

FH_MUST_USE fh_status fh_embed_recipe_read(fh_embed_recipe *out, const fh_model *m, fh_err *err);
void fh_embed_recipe_release(fh_embed_recipe *r);
/* Text that goes before every input: of this name, or the files' default where name is NULL; "" for none. */
FH_MUST_USE fh_status fh_embed_recipe_prompt(const fh_embed_recipe *r, const char *name, fh_str *out, fh_err *err);
/* Numbers of a vector made from rows of so many; 0: the layers do not fit one another. */
uint32_t fh_embed_recipe_width(const fh_embed_recipe *r, uint32_t row);
/* A pooled row to a vector, cut to n numbers (0: all) and normalized; v holds the row, and room for every layer. */
FH_MUST_USE fh_status fh_embed_recipe_finish(const fh_embed_recipe *r, float *v, uint32_t row, uint32_t n, fh_err *err);

#endif
