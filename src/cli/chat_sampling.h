/* cli/chat_sampling.h - how answers are drawn: what the user set, what the publisher recommends, what is usual.
 * SPDX-License-Identifier: Apache-2.0
 * In that order: generation_config.json's numbers stand in where the user gave none. */
#ifndef FH_CLI_CHAT_SAMPLING_H
#define FH_CLI_CHAT_SAMPLING_H

#include "cli/cli.h"
#include "format/generation_config.h"
#include "infer/sampler.h"

typedef enum fh_sampling_field {
#define FH_SAMPLING_ROW(id, field, option, name, arg, help) FH_SAMPLING_##id,
#include "cli/chat_sampling.def"
#undef FH_SAMPLING_ROW
    FH_SAMPLING_COUNT
} fh_sampling_field;

typedef struct fh_sampling {
    double value[FH_SAMPLING_COUNT]; /* NaN: not set */
    const char *chain;               /* text of a chain in place of the usual order, or NULL */
    uint64_t seed;
    bool has_seed;
} fh_sampling;

void fh_sampling_init(fh_sampling *s);
const char *fh_sampling_name(fh_sampling_field f); /* "top_k" */
bool fh_sampling_find(fh_str name, fh_sampling_field *out);
/* The numbers that hold. */
FH_MUST_USE fh_status fh_sampling_params(fh_sampler_params *out, const fh_sampling *s, const fh_generation_config *g,
                                         fh_err *err);
/* breakers of dry are looked for where piece is not NULL. */
FH_MUST_USE fh_status fh_sampling_make(fh_sampler **out, const fh_sampling *s, const fh_generation_config *g,
                                       size_t n_context, const fh_str *piece, size_t n_piece, fh_err *err);

#endif
