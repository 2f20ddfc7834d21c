/* forge/convert.h - a model from one kind of file to the other: safetensors folder <-> GGUF.
 * SPDX-License-Identifier: Apache-2.0
 * Works from the loaded model: its tables say where every row of every matrix lies, whatever the file fused, stacked,
 * interleaved or turned round; names of the other kind come from the same family row that loading reads. Written
 * values give the same bits in the plan as the source's; what the other kind of file cannot say is an error, what it
 * can do without is a note.
 * Streams: memory holds one matrix at the most. Nothing is written in place; each file appears whole or not at all,
 * and the file that makes a folder a model (config.json) comes last. */
#ifndef FH_FORGE_CONVERT_H
#define FH_FORGE_CONVERT_H

#include "model/model.h"

typedef enum fh_convert_type {
    FH_CONVERT_KEEP, /* as stored; packed weights in the smallest type that holds their values exactly */
    FH_CONVERT_F32,
    FH_CONVERT_F16,
    FH_CONVERT_BF16,
    FH_CONVERT_PLAIN /* as KEEP, but 4-bit floats become plain numbers, too */
} fh_convert_type;

typedef struct fh_convert_options {
    fh_convert_type type; /* of matrices; KEEP refuses GGUF's blocks on the way to safetensors, MXFP4 excepted */
    bool no_tokenizer;    /* leave it out, where it cannot be expressed */
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* bytes written; may be NULL */
    void (*note)(void *ctx, const char *text);                  /* one line for people; may be NULL */
    void *ctx;
} fh_convert_options;

/* model: loaded from in. To GGUF when it came from safetensors: out is a file. To safetensors when it came from a GGUF:
 * out is a folder, made here if it is not there, which must be empty. FH_ERR_EXISTS where something is in the way. */
FH_MUST_USE fh_status fh_convert(const fh_model *m, const char *out, const fh_convert_options *opt, fh_err *err);

#endif
