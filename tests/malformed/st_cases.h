/* tests/malformed/st_cases.h - malformed safetensors files by number, made from a small valid one.
 * SPDX-License-Identifier: Apache-2.0
 * Every byte of length and header (the first 1,500) set to 00 01 7f 80 ff and complemented; the file
 * cut at every one of them and within the data; the header's length set to values where arithmetic
 * breaks; every number in the header set to such values, with the length made to fit; every member
 * left out or written twice. The same seed and number give the same bytes. A few are still valid. */
#ifndef FH_TESTS_MALFORMED_ST_CASES_H
#define FH_TESTS_MALFORMED_ST_CASES_H

#include "base/buf.h"

/* 0 when the seed is no safetensors file of at most some hundred numbers. */
size_t fh_st_malformed_count(fh_bytes seed);
/* Case i into out (cleared first; the caller checks it); what: what was done, for messages. */
void fh_st_malformed_make(fh_bytes seed, size_t i, fh_buf *out, char *what, size_t what_size);

#endif
