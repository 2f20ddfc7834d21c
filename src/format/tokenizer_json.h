/* format/tokenizer_json.h - tokenizer.json of Hugging Face tokenizers: vocabulary, merges, added
 * tokens, and the pipeline around the model as small JSON trees.
 * SPDX-License-Identifier: Apache-2.0
 * Owns all it hands out; the text may go away after parsing. The large parts are read with the pull
 * reader: memory stays under twice the text plus 16 MiB, time is linear.
 * What the reference library refuses is refused here too (a merge of unknown tokens, half-pairs),
 * and so is what it settles by chance (one id or one piece given twice). An added token that the
 * model's vocabulary also has keeps the model's id, as there; other added tokens have the id that
 * the file gives. */
#ifndef FH_FORMAT_TOKENIZER_JSON_H
#define FH_FORMAT_TOKENIZER_JSON_H

#include "base/json.h"
#include "format/vocab.h"

typedef enum fh_tokenizer_part {
    FH_TOKENIZER_NORMALIZER,
    FH_TOKENIZER_PRE_TOKENIZER,
    FH_TOKENIZER_POST_PROCESSOR,
    FH_TOKENIZER_DECODER,
    FH_TOKENIZER_TRUNCATION,
    FH_TOKENIZER_PADDING,
    FH_TOKENIZER_PART_COUNT
} fh_tokenizer_part;

typedef struct fh_tokenizer_json fh_tokenizer_json;

FH_MUST_USE fh_status fh_tokenizer_json_parse(fh_tokenizer_json **out, fh_str text, fh_err *err);
void fh_tokenizer_json_free(fh_tokenizer_json *t); /* NULL is fine */
const fh_vocab *fh_tokenizer_json_vocab(const fh_tokenizer_json *t);
/* Root of the part's tree, or NULL where the file has none or null. */
const fh_json_node *fh_tokenizer_json_part(const fh_tokenizer_json *t, fh_tokenizer_part part);

#endif
