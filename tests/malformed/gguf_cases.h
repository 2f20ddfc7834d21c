/* tests/malformed/gguf_cases.h - malformed GGUF files by number, made from a small valid one.
 * SPDX-License-Identifier: Apache-2.0
 * Every header byte set to 00 01 7f 80 ff and complemented; the file cut at every header byte, at
 * every field and within the data; every count, length, dimension and offset set to the values
 * where arithmetic breaks; every type word set to 0..255. The same seed and number give the same
 * bytes. A few of them are still valid. */
#ifndef FH_TESTS_MALFORMED_GGUF_CASES_H
#define FH_TESTS_MALFORMED_GGUF_CASES_H

#include "base/buf.h"

/* 0 when the seed is no valid GGUF of at most some hundred fields. */
size_t fh_gguf_malformed_count(fh_bytes seed);
/* Case i into out (cleared first; the caller checks it); what: what was done, for messages. */
void fh_gguf_malformed_make(fh_bytes seed, size_t i, fh_buf *out, char *what, size_t what_size);

#endif
