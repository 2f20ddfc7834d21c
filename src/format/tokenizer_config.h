/* format/tokenizer_config.h - what stands around a tokenizer: tokenizer_config.json,
 * special_tokens_map.json, added_tokens.json and the chat templates of a Hugging Face folder, and
 * what config.json calls the model, as one thing.
 * SPDX-License-Identifier: Apache-2.0
 * Owns all it hands out. Nothing here is executed: templates are text.
 * Precedence is that of the reference: template files before templates in the config;
 * special_tokens_map.json and added_tokens.json count only where the config has no
 * added_tokens_decoder. */
#ifndef FH_FORMAT_TOKENIZER_CONFIG_H
#define FH_FORMAT_TOKENIZER_CONFIG_H

#include "base/json.h"
#include "format/vocab.h"

typedef struct fh_token_text {
    bool present;
    fh_str text;
    uint32_t flags; /* FH_ADDED_* */
} fh_token_text;

typedef struct fh_token_entry {
    fh_str text;
    uint32_t id, flags;
} fh_token_entry;

typedef struct fh_chat_template {
    fh_str name; /* "default" for the one without a name */
    fh_str text;
} fh_chat_template;

typedef struct fh_tokenizer_config {
    fh_str tokenizer_class;                     /* "" when absent */
    fh_str model_type;                          /* of config.json; "" when absent */
    fh_token_text special[FH_SPECIAL_MASK + 1]; /* unk, bos, eos, pad, cls, sep, mask */
    fh_tri add_bos, add_eos, add_prefix_space, clean_up_spaces, legacy, lower_case, strip_accents;
    fh_tri split_special; /* special tokens in plain text are text */
    bool has_max_length;
    double max_length;     /* model_max_length; published files write 1e30 for "none" */
    fh_token_entry *added; /* [n_added] by id as in the file; ids differ */
    uint32_t n_added;
    fh_str *extra; /* [n_extra] additional special tokens */
    uint32_t n_extra;
    fh_chat_template *templates; /* [n_template] names differ */
    uint32_t n_template;

    fh_arena arena; /* private */
} fh_tokenizer_config;

/* tokenizer_config.json alone. */
FH_MUST_USE fh_status fh_tokenizer_config_parse(fh_tokenizer_config **out, fh_str json, fh_err *err);
/* All files of the folder that exist; none has to. */
FH_MUST_USE fh_status fh_tokenizer_config_open(fh_tokenizer_config **out, const char *folder, fh_err *err);
void fh_tokenizer_config_free(fh_tokenizer_config *c); /* NULL is fine */
/* Are its SentencePiece pieces numbered as fh_sentencepiece_parse_xlmr does? c may be NULL. */
bool fh_tokenizer_config_is_xlmr(const fh_tokenizer_config *c);
/* The template of that name, or NULL. */
const fh_chat_template *fh_tokenizer_config_find_template(const fh_tokenizer_config *c, const char *name);

#endif
