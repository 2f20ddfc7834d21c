/* forge/mix.h - which type each tensor of a model gets when it is quantized.
 * SPDX-License-Identifier: Apache-2.0
 * The rules are those of the reference tool (mix.def), because a name like Q4_K_M promises a certain file. Tensors are
 * looked at in the order of layers, then names: some rules count. Knows shapes and names, no data. */
#ifndef FH_FORGE_MIX_H
#define FH_FORGE_MIX_H

#include "base/err.h"
#include "format/gguf.h"
#include "tensor/tensor.h"

typedef enum fh_mix {
#define FH_MIX_ROW(name, number, base, text) FH_MIX_##name,
#define FH_MIX_RULE(mix, category, condition, type)
#include "forge/mix.def"
#undef FH_MIX_ROW
#undef FH_MIX_RULE
    FH_MIX_COUNT
} fh_mix;

typedef struct fh_mix_info {
    const char *name, *text;
    uint32_t number; /* general.file_type */
    fh_dtype base;
} fh_mix_info;

const fh_mix_info *fh_mix_get(fh_mix m);
/* By name in any letter case, or number; Q3_K, Q4_K and Q5_K are short for their _M. */
bool fh_mix_from_name(fh_str name, fh_mix *out);

/* What the rules ask of a model. */
typedef struct fh_mix_model {
    fh_str arch;
    uint64_t n_layer, n_expert, n_head, n_head_kv; /* heads of the first layer */
} fh_mix_model;
void fh_mix_read_model(fh_mix_model *out, const fh_gguf *g);

typedef struct fh_mix_override {
    const char *pattern; /* a regular expression, found anywhere in the name */
    fh_dtype type;
} fh_mix_override;

typedef struct fh_mix_options {
    fh_mix mix;
    bool imatrix;                    /* there is one */
    bool copy, pure, leave_output;   /* change nothing; one type for all; keep output.weight as it is */
    const fh_mix_override *override; /* [n_override], the first that matches decides */
    size_t n_override;
    bool has_output, has_embedding; /* types given for output.weight, for the embeddings */
    fh_dtype output, embedding;
} fh_mix_options;

typedef struct fh_mix_choice {
    fh_dtype type;
    bool fell_back;     /* the row length does not fit the type that the rules gave */
    bool fixed;         /* not by the mix's rules: it stays as it is, or its type was given */
    bool needs_imatrix; /* garbage without */
} fh_mix_choice;

/* n tensors in the order of fh_mix_order; out[n]. Expressions are given a bounded amount of work.
 * FH_ERR_USAGE: an expression that is none; FH_ERR_UNSUPPORTED: a row length for which there is no type. */
FH_MUST_USE fh_status fh_mix_choose(fh_mix_choice *out, const fh_tensor *const *tensor, size_t n,
                                    const fh_mix_model *model, const fh_mix_options *opt, fh_err *err);
/* The nearest type to *type that t's rows fit; FH_ERR_UNSUPPORTED where there is none. */
FH_MUST_USE fh_status fh_mix_fit(const fh_tensor *t, fh_dtype *type, bool *fell_back, fh_err *err);

/* What a matrix is for, as its name says. */
typedef enum fh_role {
    FH_ROLE_VALUE, /* of attention, and fused weights with values in them */
    FH_ROLE_KEY,
    FH_ROLE_QUERY,
    FH_ROLE_ATTN_OUT,
    FH_ROLE_DOWN,
    FH_ROLE_GATE,
    FH_ROLE_UP,
    FH_ROLE_EMBD,
    FH_ROLE_OUTPUT,
    FH_ROLE_OTHER,
    FH_ROLE_COUNT
} fh_role;
fh_role fh_mix_role(fh_str name);

/* Sorts by the number after "blk." (none first), then by name. */
void fh_mix_order(const fh_tensor **tensor, size_t n);

#endif
