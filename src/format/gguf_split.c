/* format/gguf_split.c - names of split sets: PREFIX-00001-of-00003.gguf.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Refuses every name that is not exactly that: five digits each, 1 <= part <= count,
 * some prefix. Whether the parts are there and belong together is for who opens the set. */
#include "format/gguf.h"

#define SUFFIX_LEN 20u /* of "-00001-of-00003.gguf" */

static bool five_digits(const char *p, uint32_t *out) {
    uint32_t v = 0;
    for (size_t i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        v = v * 10 + (uint32_t)(p[i] - '0');
    }
    *out = v;
    return true;
}

bool fh_gguf_split_parse(fh_str path, fh_gguf_split *out) {
    uint32_t no, count;
    if (path.len <= SUFFIX_LEN) return false;
    const char *tail = path.ptr + (path.len - SUFFIX_LEN); /* -00001-of-00003.gguf */
    if (tail[0] != '-' || !five_digits(tail + 1, &no)) return false;
    if (memcmp(tail + 6, "-of-", 4) != 0 || !five_digits(tail + 10, &count)) return false;
    if (memcmp(tail + 15, ".gguf", 5) != 0 || no < 1 || no > count) return false;
    *out = (fh_gguf_split){.no = no, .count = count, .prefix = fh_str_first(path, path.len - SUFFIX_LEN)};
    return true;
}

static void put_five_digits(char *out, uint32_t v) {
    for (int i = 4; i >= 0; i--, v /= 10) out[i] = (char)('0' + v % 10);
}

fh_status fh_gguf_split_path(char out[FH_PATH_MAX], const fh_gguf_split *s, uint32_t no, fh_err *err) {
    size_t nul;
    if (no < 1 || no > s->count || s->count > 99999)
        return fh_fail(err, FH_ERR_USAGE, "part %u of a split set of %u: there is none", no, s->count);
    if (s->prefix.len >= FH_PATH_MAX - SUFFIX_LEN || fh_str_find(s->prefix, '\0', &nul))
        return fh_fail(err, FH_ERR_LIMIT, "part %u of a split set: its path does not fit %d bytes", no, FH_PATH_MAX);
    char *tail = out + s->prefix.len;
    /* the prefix may be part of out itself: a path made from the one before */
    if (s->prefix.len) memmove(out, s->prefix.ptr, s->prefix.len);
    memcpy(tail, "-00000-of-00000.gguf", SUFFIX_LEN + 1);
    put_five_digits(tail + 1, no);
    put_five_digits(tail + 10, s->count);
    return FH_OK;
}
