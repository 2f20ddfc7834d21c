/* text/char_class.h - the classes that tokenizer files name by other means than a pattern.
 * SPDX-License-Identifier: Apache-2.0
 * Each is what the reference computes, which is not always what Unicode's own property of that name says: it froze the
 * classes of BERT at Unicode 8 and StripAccents at 9. */
#ifndef FH_TEXT_CHAR_CLASS_H
#define FH_TEXT_CHAR_CLASS_H

#include "text/unicode.h"

/* \w of the patterns in the library itself: Alphabetic, M, Nd, Pc, and the two joiners. */
bool fh_is_word_char(uint32_t cp);
/* Ideographs that BERT isolates. */
bool fh_is_bert_ideograph(uint32_t cp);
/* Punctuation for BERT and Punctuation: P and the ASCII symbols. */
bool fh_is_bert_punct(uint32_t cp);
/* What BERT's clean_text removes: Cc, Cf and Co without tab and line ends. */
bool fh_is_bert_control(uint32_t cp);
bool fh_is_bert_accent(uint32_t cp);    /* nonspacing mark */
bool fh_is_combining_mark(uint32_t cp); /* of StripAccents */

#endif
