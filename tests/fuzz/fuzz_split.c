/* tests/fuzz/fuzz_split.c - libFuzzer target for pre-tokenizer patterns and the texts they cut.
 * SPDX-License-Identifier: Apache-2.0
 * Input: one byte of options, the pattern up to the first NUL, the text behind it.
 * Beyond not crashing: matches move forward and stay inside, a refusal names a byte of the pattern, a scanner gives
 * what PCRE2 gives for the same pattern, and nothing leaks. */
#include "base/num.h"
#include "text/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Walks the matches; false when the pattern ran out of steps. n_max: enough to compare. */
static bool walk(const fh_split *s, fh_str text, size_t (*match)[2], size_t n_max, size_t *n_out) {
    size_t n = 0, at = 0;
    for (; n < n_max; n++) {
        bool found = false;
        size_t start = 0, end = 0;
        fh_err err = {0};
        fh_status st = fh_split_next(s, text, at, &found, &start, &end, &err);
        if (st != FH_OK) {
            FH_REQUIRE(st == FH_ERR_LIMIT && err.message[0]);
            return false;
        }
        if (!found) break;
        FH_REQUIRE(start >= at && end > start && end <= text.len);
        match[n][0] = start;
        match[n][1] = end;
        at = end;
    }
    *n_out = n;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static size_t a[256][2], b[256][2];
    if (size < 2) return 0;
    const uint8_t *nul = memchr(data + 1, 0, size - 1);
    fh_str pattern = {(const char *)data + 1, nul ? (size_t)(nul - data) - 1 : size - 1};
    fh_str text = {(const char *)data + 1 + pattern.len, size - 1 - pattern.len};
    if (nul) text = fh_str_drop(text, 1);
    text = fh_str_first(text, 512);
    fh_split_dialect dialect = data[0] & 1 ? FH_SPLIT_FANCY : FH_SPLIT_ONIGURUMA;
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_split *s = NULL, *slow = NULL;
    fh_err err = {0};
    fh_status st = fh_split_new_dialect(&s, pattern, dialect, &err);
    FH_REQUIRE((st == FH_OK) == (s != NULL));
    if (!s) {
        FH_REQUIRE(err.status == st && err.message[0]);
        FH_REQUIRE(err.offset <= pattern.len || err.offset == FH_NO_OFFSET);
    } else {
        size_t n = 0, m = 0;
        bool done = walk(s, text, a, FH_COUNT(a), &n);
        if (done && fh_split_is_known(s) && fh_split_new_slow(&slow, pattern, dialect, NULL) == FH_OK &&
            walk(slow, text, b, FH_COUNT(b), &m))
            FH_REQUIRE(n == m && memcmp(a, b, n * sizeof a[0]) == 0);
    }
    fh_split_free(s);
    fh_split_free(slow);
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    return 0;
}
