/* serve/chat_embed.h - texts to vectors and pairs to scores, for all APIs.
 * SPDX-License-Identifier: Apache-2.0
 * As with fh_ask: a handler makes one, fills it in and runs it; `done` writes the answer, on a thread of its own,
 * where computing waits for the model without holding up those who read requests. Texts are never cut: one that is
 * longer than the model takes is refused, unless `cut` says that the client wants it cut. */
#ifndef FH_SERVE_CHAT_EMBED_H
#define FH_SERVE_CHAT_EMBED_H

#include <pthread.h>
#include <stdatomic.h>

#include "infer/embed_recipe.h"
#include "infer/rerank.h"
#include "serve/app.h"
#include "serve/json_in.h"

typedef struct fh_vec fh_vec;
typedef struct fh_vec_input {
    fh_str text;
    size_t at, n; /* its tokens in ids */
} fh_vec_input;

struct fh_vec {
    fh_call *call;
    fh_json *body;
    fh_str model;
    int64_t keep_ms;
    fh_vec_input *input; /* [n_input] */
    size_t n_input;
    fh_ids given; /* inputs that came as ids: their text.ptr is NULL */
    uint64_t dimensions;
    bool cut, plain; /* plain: not normalized */
    bool rank;       /* scores of the inputs under query */
    fh_str query;
    /* the answer */
    void (*done)(fh_vec *v);
    int style; /* the API's own */
    uint64_t top;
    bool with_text;
    fh_resident *r;
    float *out; /* [n_input][width] */
    uint32_t width;
    double *score; /* [n_input] */
    uint64_t n_token, start_ns, load_ns;
    /* the part's own */
    fh_embed_recipe recipe;
    uint32_t adapter; /* of the model's name, from 1; 0: none */
    const fh_adapter_set *adapters;
    bool has_recipe;
    fh_reranker reranker;
    fh_ids ids;
    float *row;
    uint32_t row_width, room; /* room: of the widest layer */
    volatile int stop;
    fh_err err;
    atomic_uint refs;
    struct fh_vec *next;
};

fh_vec *fh_vec_new(fh_call *c); /* NULL: has answered */
void fh_vec_free(fh_vec *v);    /* one that was not run */
/* A string, an array of strings, of ids, or of arrays of ids. */
void fh_vec_read_input(fh_vec *v, fh_in *in, const char *name);
void fh_vec_run(fh_vec *v); /* takes it */
/* The vector as base64 of little-endian f32. */
void fh_vec_put_base64(fh_json_writer *w, const float *x, size_t n);

#endif
