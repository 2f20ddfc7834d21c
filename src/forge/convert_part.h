/* forge/convert_part.h - what the files of convert.h share: the job, and the tensors it will write.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_FORGE_CONVERT_PART_H
#define FH_FORGE_CONVERT_PART_H

#include "base/json.h"
#include "forge/convert.h"
#include "model/slot_name.h"

#define FH_CONVERT_NO_ID UINT32_MAX

/* A kind of model that the two forms name: convert.def. */
typedef struct fh_convert_row {
    const char *gguf, *hf, *cls;
    const char *prefer; /* which of a slot's alternatives: those that hold one of these words, "a|b" */
    const char *when;   /* GGUF to config: "moe", "sigmoid", "both-ways", ... or "" */
} fh_convert_row;

/* One tensor to write. Its matrices have `rows` rows of `cols`, in the order and orientation of the target. */
typedef struct fh_convert_tensor {
    fh_tensor t;         /* name, type, shape */
    uint32_t matrix[2];  /* of the model's tables; the second: joined to the first */
    uint32_t vector[2];  /* or these */
    const float *list;   /* or these numbers, [n] */
    uint32_t mat, n_mat; /* which of its matrices: all, or one expert */
    uint64_t skip, pad;  /* rows left out at the head of the source; rows of 0 in front of it */
    bool turned;         /* written [cols, rows] */
    bool interleaved;    /* the two are rows (or numbers) in turn */
    bool stacked;        /* for each matrix: the first's columns as rows, then the second's rows */
    bool moved;          /* rows or columns in the other form's order */
    fh_dtype block;      /* matrices: MXFP4 or NVFP4, packed from codes */
} fh_convert_tensor;

typedef struct fh_convert_job {
    const fh_model *m;
    const fh_spec *spec;
    const fh_plan *tables;
    const fh_convert_options *opt;
    const fh_convert_row *row;
    fh_binder bind;
    fh_meta meta;
    bool to_gguf;
    fh_str prefix; /* of the target's names */
    fh_arena arena;
    fh_convert_tensor *tensor;
    uint32_t n_tensor, room;
    uint64_t done, total;
    fh_buf text;
    fh_dtype main_type; /* most matrices have it */
} fh_convert_job;

void fh_convert_note(const fh_convert_job *j, const char *fmt, ...) FH_PRINTF(2, 3);

/* convert.c: a job that knows what it will write; end it also after a failure. */
FH_MUST_USE fh_status fh_convert_begin(fh_convert_job *j, const fh_model *m, const fh_convert_options *opt,
                                       fh_err *err);
void fh_convert_end(fh_convert_job *j);

/* convert_plan.c: fills j->tensor. */
FH_MUST_USE fh_status fh_convert_plan(fh_convert_job *j, fh_err *err);
FH_MUST_USE fh_status fh_convert_add_list(fh_convert_job *j, const char *name, const float *v, uint64_t n, fh_err *err);

/* convert_data.c */
FH_MUST_USE fh_status fh_convert_write(fh_convert_job *j, const fh_convert_tensor *c, fh_writer *w, fh_err *err);
/* All numbers of a vector tensor in the target's form, into out [n]; false where f32 cannot say it exactly. */
FH_MUST_USE bool fh_convert_numbers(const fh_convert_job *j, const fh_convert_tensor *c, double *out);
/* The narrowest of bf16, f16, f32 that holds a matrix exactly. */
FH_MUST_USE fh_status fh_convert_exact_type(const fh_convert_job *j, uint32_t matrix, fh_dtype *out, fh_err *err);
/* MXFP4 or NVFP4 where the matrix's packed weights are such; else F32. */
fh_dtype fh_convert_block_type(const fh_matrix *m);

/* convert_gguf.c, convert_hf.c: metadata. */
FH_MUST_USE fh_status fh_convert_put_keys(fh_convert_job *j, fh_gguf_build *b, fh_err *err);
FH_MUST_USE fh_status fh_convert_rope_list(fh_convert_job *j, fh_err *err);
FH_MUST_USE fh_status fh_convert_put_config(fh_convert_job *j, fh_json_writer *w, fh_err *err);
const char *fh_convert_dtype_word(fh_dtype t); /* "bfloat16" */

/* convert_vocab_gguf.c, convert_vocab_hf.c: tokenizers. */
FH_MUST_USE fh_status fh_convert_vocab_to_gguf(fh_convert_job *j, fh_gguf_build *b, fh_err *err);
FH_MUST_USE fh_status fh_convert_vocab_to_hf(fh_convert_job *j, const char *folder, fh_err *err);
FH_MUST_USE fh_status fh_convert_write_file(const char *folder, const char *name, fh_str text, fh_err *err);

#endif
