/* format/sentencepiece.h - SentencePiece .model files (protocol buffers), unigram and BPE.
 * SPDX-License-Identifier: Apache-2.0
 * Owns all it hands out. Hostile input: lengths, nesting and varints are bounded; unknown fields
 * are skipped by their wire type, as the format asks. Refused as by the reference: no or two
 * unknown pieces, empty pieces, a piece twice, byte pieces without byte fallback and the other way
 * round, models of the types word and char.
 * bos, eos, pad are what the reference answers: the control piece of the name that the trainer
 * wrote. */
#ifndef FH_FORMAT_SENTENCEPIECE_H
#define FH_FORMAT_SENTENCEPIECE_H

#include "format/vocab.h"

FH_MUST_USE fh_status fh_sentencepiece_parse(fh_vocab **out, fh_bytes file, fh_err *err); /* fh_vocab_free */

/* As XLM-R numbers the pieces of such a file, which is not how they stand in it: <s>, <pad>, </s>, <unk>, then all but
 * the file's own three special ones, then <mask>. Refuses a file that does not start with these three. */
FH_MUST_USE fh_status fh_sentencepiece_parse_xlmr(fh_vocab **out, fh_bytes file, fh_err *err); /* fh_vocab_free */

#endif
