/* format/generation_config.h - generation_config.json: stop ids and the publisher's sampling
 * defaults.
 * SPDX-License-Identifier: Apache-2.0
 * A plain value: nothing to free. Every number is range-checked; `has` says which the file gives
 * (and not as null). */
#ifndef FH_FORMAT_GENERATION_CONFIG_H
#define FH_FORMAT_GENERATION_CONFIG_H

#include "format/hf_view.h"

enum {
    FH_GEN_TEMPERATURE = 1 << 0,
    FH_GEN_TOP_K = 1 << 1,
    FH_GEN_TOP_P = 1 << 2,
    FH_GEN_MIN_P = 1 << 3,
    FH_GEN_TYPICAL_P = 1 << 4,
    FH_GEN_REPETITION_PENALTY = 1 << 5,
    FH_GEN_NO_REPEAT_NGRAM = 1 << 6,
    FH_GEN_DO_SAMPLE = 1 << 7,
    FH_GEN_MAX_NEW_TOKENS = 1 << 8,
    FH_GEN_MAX_LENGTH = 1 << 9,
    FH_GEN_PRESENCE_PENALTY = 1 << 10,
    FH_GEN_FREQUENCY_PENALTY = 1 << 11
};

typedef struct fh_generation_config {
    uint32_t has; /* FH_GEN_* */
    double temperature, top_p, min_p, typical_p, repetition_penalty;
    double presence_penalty, frequency_penalty;
    uint32_t top_k; /* 0 = off */
    uint32_t no_repeat_ngram, max_new_tokens, max_length;
    bool do_sample;
    fh_hf_ids bos, eos, pad, decoder_start;
} fh_generation_config;

FH_MUST_USE fh_status fh_generation_config_parse(fh_generation_config *out, fh_str json, fh_err *err);

#endif
