/* library/license_doc.c - one licence file: which known text it is, and where its clauses are.
 * SPDX-License-Identifier: Apache-2.0
 * A file that is too long, no UTF-8 or not in the table is unknown, which is no error: the verdict says so. */
#include <stdarg.h>
#include <stdio.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/num.h"
#include "library/license_part.h"

#define MOST_TEXT ((size_t)1 << 20)

fh_status fh_license_list_add(fh_license_list *list, fh_arena *arena, fh_err *err, const char *fmt, ...) {
    enum { STEP = 16 };
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < list->n; i++)
        if (fh_str_is(list->item[i], text)) return FH_OK;
    if (list->n % STEP == 0) {
        fh_str *more = fh_arena_alloc(arena, list->n + STEP, sizeof *more);
        if (!more) return fh_arena_fail(arena, err);
        if (list->n) memcpy(more, list->item, list->n * sizeof *more);
        list->item = more;
    }
    if (!fh_arena_copy(arena, fh_str_of(text), &list->item[list->n])) return fh_arena_fail(arena, err);
    list->n++;
    return FH_OK;
}

/* from: the file's byte for each byte of the normalized text */
static fh_status quote_clauses(fh_license_doc *d, fh_arena *arena, fh_str text, const fh_buf *from, fh_err *err) {
    size_t n_place;
    const fh_license_place *place = fh_license_places(&n_place);
    d->clause = fh_arena_alloc(arena, FH_LICENSE_ROLE_COUNT + 1, sizeof *d->clause);
    if (!d->clause) return fh_arena_fail(arena, err);
    for (size_t i = 0; i < n_place && d->n_clause < FH_LICENSE_ROLE_COUNT; i++) {
        if (place[i].row != d->row) continue;
        fh_license_clause *c = &d->clause[d->n_clause++];
        size_t last = (size_t)place[i].at + place[i].len - 1;
        FH_REQUIRE(place[i].len && last < from->len / 4);
        uint64_t end = fh_load_u32(from->ptr + 4 * last) + 1u;
        while (end < text.len && ((unsigned char)text.ptr[end] & 0xC0) == 0x80) end++; /* whole characters */
        c->role = place[i].role;
        c->at = fh_load_u32(from->ptr + 4 * (size_t)place[i].at);
        c->len = end - c->at;
        FH_TRY(fh_sha256_of((fh_bytes){(const uint8_t *)text.ptr + c->at, (size_t)c->len}, c->sha256, err));
    }
    return FH_OK;
}

static fh_status recognise(fh_license_doc *d, fh_arena *arena, fh_str text, fh_err *err) {
    fh_status st = FH_OK;
    for (int form = FH_LICENSE_FORM_TEXT; form <= FH_LICENSE_FORM_OWNER && st == FH_OK && !d->row; form++) {
        fh_buf plain, from;
        char sha256[FH_SHA256_HEX];
        fh_buf_init(&plain, 3 * MOST_TEXT);
        fh_buf_init(&from, 12 * MOST_TEXT);
        bool readable = fh_license_normalize(&plain, &from, text, (fh_license_form)form);
        st = fh_buf_check(&plain, err);
        if (st == FH_OK) st = fh_buf_check(&from, err);
        if (st == FH_OK && readable) st = fh_sha256_of(fh_bytes_of(fh_buf_str(&plain)), sha256, err);
        if (st == FH_OK && readable) {
            d->row = fh_license_find(sha256, (fh_license_form)form);
            if (d->row || form == FH_LICENSE_FORM_TEXT) memcpy(d->sha256, sha256, sizeof d->sha256);
            if (d->row) st = quote_clauses(d, arena, text, &from, err);
        }
        fh_buf_release(&from);
        fh_buf_release(&plain);
    }
    return st;
}

fh_status fh_license_doc_read(fh_license_doc *out, fh_arena *arena, fh_err *err) {
    fh_buf text;
    fh_err why;
    fh_license_doc d = *out;
    fh_buf_init(&text, MOST_TEXT);
    fh_status st = fh_file_read(d.path.ptr, &text, &why);
    if (st == FH_OK) st = recognise(&d, arena, fh_buf_str(&text), err);
    else if (st == FH_ERR_LIMIT) st = FH_OK; /* no licence is that long: unknown */
    else if (err) *err = why;
    fh_buf_release(&text);
    if (st == FH_OK) *out = d;
    return st;
}
