/* tests/malformed/gguf_cases.c - see gguf_cases.h.
 * SPDX-License-Identifier: Apache-2.0
 * Walks the seed with its own few lines instead of the reader under test, so that a reader's
 * misunderstanding of the format does not hide the fields that it misunderstands. */
#include "malformed/gguf_cases.h"

#include <stdio.h>

#include "base/cursor.h"
#include "base/num.h"

#define MAX_FIELDS 1024
#define MAX_HEADER 1500

typedef enum field_kind { NUMBER, TYPE, OTHER } field_kind;

typedef struct field {
    size_t at;
    size_t width; /* 4 or 8 for NUMBER and TYPE */
    field_kind kind;
} field;

typedef struct layout {
    field item[MAX_FIELDS];
    size_t n, n_number, n_type;
    size_t header; /* bytes before the data section, at most MAX_HEADER */
    bool ok;
} layout;

static const uint64_t numbers[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_C(1) << 63, UINT64_MAX};
static const uint8_t byte_values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
#define PER_BYTE (FH_COUNT(byte_values) + 1)

static uint64_t add_field(layout *l, fh_cursor *c, size_t width, field_kind kind) {
    size_t at = c->pos;
    fh_bytes b = fh_cursor_take(c, width);
    if (c->failed || l->n == MAX_FIELDS) {
        l->ok = false;
        return 0;
    }
    l->item[l->n++] = (field){at, width, kind};
    l->n_number += kind == NUMBER;
    l->n_type += kind == TYPE;
    return width == 4 ? fh_load_u32(b.ptr) : width == 8 ? fh_load_u64(b.ptr) : 0;
}

static void add_text(layout *l, fh_cursor *c) {
    uint64_t len = add_field(l, c, 8, NUMBER);
    if (l->ok && len <= fh_cursor_left(c)) add_field(l, c, (size_t)len, OTHER);
}

static void add_value(layout *l, fh_cursor *c, uint64_t type) {
    static const size_t width[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type > 12) {
        l->ok = false;
    } else if (type == 8) {
        add_text(l, c);
    } else if (type == 9) {
        uint64_t elem = add_field(l, c, 4, TYPE), n = add_field(l, c, 8, NUMBER);
        for (uint64_t i = 0; i < n && l->ok; i++) add_value(l, c, elem);
    } else {
        add_field(l, c, width[type], width[type] >= 4 ? NUMBER : OTHER);
    }
}

static void read_layout(layout *l, fh_bytes seed) {
    fh_cursor c = fh_cursor_of(seed);
    *l = (layout){.ok = true};
    add_field(l, &c, 4, OTHER);
    add_field(l, &c, 4, TYPE); /* the version */
    uint64_t n_tensor = add_field(l, &c, 8, NUMBER), n_kv = add_field(l, &c, 8, NUMBER);
    for (uint64_t i = 0; i < n_kv && l->ok; i++) {
        add_text(l, &c);
        add_value(l, &c, add_field(l, &c, 4, TYPE));
    }
    for (uint64_t i = 0; i < n_tensor && l->ok; i++) {
        add_text(l, &c);
        uint64_t n_dim = add_field(l, &c, 4, NUMBER);
        for (uint64_t k = 0; k < n_dim && l->ok; k++) add_field(l, &c, 8, NUMBER);
        add_field(l, &c, 4, TYPE);
        add_field(l, &c, 8, NUMBER);
    }
    size_t end = c.failed ? 0 : c.pos;
    while (end % 32 != 0 && end < seed.len) end++;
    l->header = FH_MIN(end, (size_t)MAX_HEADER);
}

static size_t count_of(const layout *l) {
    if (!l->ok) return 0;
    return l->header * PER_BYTE + (l->header + 1) + l->n + 3 + l->n_number * FH_COUNT(numbers) + l->n_type * 256;
}

size_t fh_gguf_malformed_count(fh_bytes seed) {
    layout l;
    read_layout(&l, seed);
    return count_of(&l);
}

static const field *nth_field(const layout *l, field_kind kind, size_t i) {
    for (size_t k = 0; k < l->n; k++)
        if (l->item[k].kind == kind && i-- == 0) return &l->item[k];
    FH_BUG("a field that was counted is missing");
}

static void set_field(fh_buf *out, const field *f, uint64_t v, char *what, size_t what_size) {
    memcpy(out->ptr + f->at, &v, f->width);
    snprintf(what, what_size, "%zu-byte field at %zu = %llu", f->width, f->at, (unsigned long long)v);
}

static void cut(fh_buf *out, size_t at, char *what, size_t what_size) {
    out->len = FH_MIN(at, out->len);
    snprintf(what, what_size, "cut at %zu", at);
}

void fh_gguf_malformed_make(fh_bytes seed, size_t i, fh_buf *out, char *what, size_t what_size) {
    layout l;
    read_layout(&l, seed);
    FH_REQUIRE(i < count_of(&l));
    snprintf(what, what_size, "out of memory");
    fh_buf_clear(out);
    fh_buf_add(out, seed.ptr, seed.len);
    if (out->status != FH_OK) return;
    if (i < l.header * PER_BYTE) {
        uint8_t *p = out->ptr + i / PER_BYTE;
        size_t k = i % PER_BYTE;
        *p = k < FH_COUNT(byte_values) ? byte_values[k] : (uint8_t) ~*p;
        snprintf(what, what_size, "byte %zu = %02x", i / PER_BYTE, *p);
        return;
    }
    i -= l.header * PER_BYTE;
    if (i <= l.header) {
        cut(out, i, what, what_size);
        return;
    }
    i -= l.header + 1;
    if (i < l.n) {
        cut(out, l.item[i].at, what, what_size);
        return;
    }
    i -= l.n;
    if (i < 3) { /* within the data: nothing of it, half of it, all but a byte */
        size_t data = seed.len - l.header;
        cut(out, l.header + (i == 0 ? 1 : i == 1 ? data / 2 : data - 1), what, what_size);
        return;
    }
    i -= 3;
    if (i < l.n_number * FH_COUNT(numbers)) {
        set_field(out, nth_field(&l, NUMBER, i / FH_COUNT(numbers)), numbers[i % FH_COUNT(numbers)], what, what_size);
        return;
    }
    i -= l.n_number * FH_COUNT(numbers);
    set_field(out, nth_field(&l, TYPE, i / 256), i % 256, what, what_size);
}
