/* tests/malformed/st_cases.c - see st_cases.h.
 * SPDX-License-Identifier: Apache-2.0
 * Finds numbers and members with a few lines of its own, not with the JSON reader under test. */
#include "malformed/st_cases.h"

#include <stdio.h>

#include "base/cursor.h"
#include "base/num.h"

#define MAX_SPANS 1024
#define MAX_HEADER 1500

typedef struct span {
    size_t at, len;
} span;

typedef struct layout {
    span number[MAX_SPANS], member[MAX_SPANS]; /* member: from its quote to its end, comma left out */
    size_t n_number, n_member;
    size_t header; /* bytes of length and header */
    size_t part;   /* of them, those that are changed one by one */
    bool ok;
} layout;

static const uint8_t byte_values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
#define PER_BYTE (FH_COUNT(byte_values) + 1)
static const char *const numbers[] = {"0",
                                      "1",
                                      "2147483647",
                                      "2147483648",
                                      "4294967295",
                                      "4294967296",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "100000000000000000000000000000000",
                                      "-1",
                                      "-0",
                                      "1.0",
                                      "1e3",
                                      "null",
                                      "\"1\"",
                                      "[]"};
#define N_LENGTH 11

static size_t end_of_text(fh_bytes f, size_t at, size_t end) {
    for (at++; at < end && f.ptr[at] != '"'; at++)
        if (f.ptr[at] == '\\') at++;
    return at + 1;
}

/* Past the value at `at`, which nests. */
static size_t end_of_value(fh_bytes f, size_t at, size_t end) {
    size_t depth = 0;
    while (at < end) {
        uint8_t c = f.ptr[at];
        if (c == '"') {
            at = end_of_text(f, at, end);
            if (depth == 0) return at;
            continue;
        }
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') {
            if (depth == 0) return at;
            if (--depth == 0) return at + 1;
        }
        if (depth == 0 && c == ',') return at;
        at++;
    }
    return at;
}

static void add(layout *l, span *list, size_t *n, span s) {
    if (*n == MAX_SPANS) l->ok = false;
    else list[(*n)++] = s;
}

static void read_layout(layout *l, fh_bytes seed) {
    *l = (layout){.ok = seed.len >= 10};
    uint64_t n = l->ok ? fh_load_u64(seed.ptr) : 0;
    if (!l->ok || n > seed.len - 8 || n < 2) {
        l->ok = false;
        return;
    }
    l->header = (size_t)n + 8;
    l->part = FH_MIN(l->header, (size_t)MAX_HEADER);
    for (size_t at = 8; at < l->header && l->ok;) {
        uint8_t c = seed.ptr[at];
        if (c == '"') {
            size_t next = end_of_text(seed, at, l->header);
            if (next < l->header && seed.ptr[next] == ':')
                add(l, l->member, &l->n_member, (span){at, end_of_value(seed, next + 1, l->header) - at});
            at = next;
        } else if (c >= '0' && c <= '9') {
            size_t from = at;
            while (at < l->header && seed.ptr[at] >= '0' && seed.ptr[at] <= '9') at++;
            add(l, l->number, &l->n_number, (span){from, at - from});
        } else {
            at++;
        }
    }
}

static size_t count_of(const layout *l) {
    if (!l->ok) return 0;
    return l->part * PER_BYTE + (l->part + 1) + 3 + N_LENGTH + l->n_number * FH_COUNT(numbers) + l->n_member * 2;
}

size_t fh_st_malformed_count(fh_bytes seed) {
    layout l;
    read_layout(&l, seed);
    return count_of(&l);
}

/* seed with `old` replaced by `text`, and the length of the header with it. */
static void replace(fh_buf *out, fh_bytes seed, size_t header, span old, fh_str text) {
    fh_buf_clear(out);
    fh_buf_add_u64le(out, header - 8 - old.len + text.len);
    fh_buf_add(out, seed.ptr + 8, old.at - 8);
    fh_buf_add_str(out, text);
    fh_buf_add(out, seed.ptr + old.at + old.len, seed.len - old.at - old.len);
}

static void cut(fh_buf *out, size_t at, char *what, size_t what_size) {
    out->len = FH_MIN(at, out->len);
    snprintf(what, what_size, "cut at %zu", at);
}

static void set_length(fh_buf *out, size_t k, size_t header, char *what, size_t what_size) {
    uint64_t own = header - 8;
    const uint64_t value[N_LENGTH] = {0,          1,          7,       8,      INT32_MAX, UINT32_MAX, UINT64_C(1) << 63,
                                      UINT64_MAX, 100000001u, own - 1, own + 1};
    memcpy(out->ptr, &value[k], 8);
    snprintf(what, what_size, "header length %llu", (unsigned long long)value[k]);
}

static void change_member(fh_buf *out, fh_bytes seed, const layout *l, size_t i, char *what, size_t what_size) {
    span m = l->member[i / 2], gap = {m.at, m.len};
    snprintf(what, what_size, "member at %zu %s", m.at, i % 2 ? "twice" : "left out");
    if (i % 2) {
        gap.len = 0;
        replace(out, seed, l->header, gap, (fh_str){(const char *)seed.ptr + m.at, m.len});
        /* the copy stands before its original: a comma between them */
        size_t at = m.at + m.len;
        fh_buf_add_byte(out, 0);
        if (out->status != FH_OK) return;
        memmove(out->ptr + at + 1, out->ptr + at, out->len - 1 - at);
        out->ptr[at] = ',';
        uint64_t n = fh_load_u64(out->ptr) + 1;
        memcpy(out->ptr, &n, 8);
        return;
    }
    if (m.at + m.len < l->header && seed.ptr[m.at + m.len] == ',') gap.len++;
    else if (seed.ptr[m.at - 1] == ',') gap = (span){m.at - 1, m.len + 1};
    replace(out, seed, l->header, gap, FH_STR(""));
}

void fh_st_malformed_make(fh_bytes seed, size_t i, fh_buf *out, char *what, size_t what_size) {
    layout l;
    read_layout(&l, seed);
    FH_REQUIRE(i < count_of(&l));
    snprintf(what, what_size, "out of memory");
    fh_buf_clear(out);
    fh_buf_add(out, seed.ptr, seed.len);
    if (out->status != FH_OK) return;
    if (i < l.part * PER_BYTE) {
        uint8_t *p = out->ptr + i / PER_BYTE;
        size_t k = i % PER_BYTE;
        *p = k < FH_COUNT(byte_values) ? byte_values[k] : (uint8_t) ~*p;
        snprintf(what, what_size, "byte %zu = %02x", i / PER_BYTE, *p);
        return;
    }
    i -= l.part * PER_BYTE;
    if (i <= l.part) {
        cut(out, i, what, what_size);
        return;
    }
    i -= l.part + 1;
    if (i < 3) { /* within the data: nothing of it, half of it, all but a byte */
        size_t data = seed.len - l.header;
        cut(out, l.header + (i == 0 || data == 0 ? 0 : i == 1 ? data / 2 : data - 1), what, what_size);
        return;
    }
    i -= 3;
    if (i < N_LENGTH) {
        set_length(out, i, l.header, what, what_size);
        return;
    }
    i -= N_LENGTH;
    if (i < l.n_number * FH_COUNT(numbers)) {
        const char *text = numbers[i % FH_COUNT(numbers)];
        replace(out, seed, l.header, l.number[i / FH_COUNT(numbers)], fh_str_of(text));
        snprintf(what, what_size, "number at %zu = %s", l.number[i / FH_COUNT(numbers)].at, text);
        return;
    }
    change_member(out, seed, &l, i - l.n_number * FH_COUNT(numbers), what, what_size);
}
