/* library/catalogue.c - the table of published models, and finding a row by any of the names that people use for it.
 * SPDX-License-Identifier: Apache-2.0
 * Names are compared by their letters and digits alone, without the words that only say which edition of the same
 * sizes it is. A name that two rows have finds neither. */
#include "library/catalogue.h"

#include <ctype.h>

#include "base/num.h"

#define KEY_MOST 96

static const fh_catalogue_row rows[] = {
#define FH_CATALOGUE_ROW(name_, maker_, released_, license_, m_, active_, can_, repo_, arch_, stored_, ...) \
    {.name = name_, \
     .maker = maker_, \
     .released = released_, \
     .license = license_, \
     .repo = repo_, \
     .arch = arch_, \
     .millions = m_, \
     .millions_active = active_, \
     .can = can_, \
     .stored = stored_, \
     .config = {__VA_ARGS__}},
#include "library/catalogue.def"
#undef FH_CATALOGUE_ROW
};

const fh_catalogue_row *fh_catalogue_rows(size_t *n) {
    *n = FH_COUNT(rows);
    return rows;
}

/* Letters and digits in lower case; false when it does not fit. */
static bool key_of(fh_str name, char out[KEY_MOST]) {
    static const char *const editions[] = {"instruct", "chat", "hf", "it", "latest"};
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (!isalnum((unsigned char)name.ptr[i])) continue;
        if (n + 1 == KEY_MOST) return false;
        out[n++] = (char)tolower((unsigned char)name.ptr[i]);
    }
    out[n] = '\0';
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < FH_COUNT(editions); i++) {
            size_t len = strlen(editions[i]);
            if (n <= len || memcmp(out + n - len, editions[i], len) != 0) continue;
            n -= len;
            out[n] = '\0';
        }
    }
    return n > 0;
}

static fh_str tail_of(const char *repo) {
    fh_str s = fh_str_of(repo);
    size_t slash;
    return fh_str_find(s, '/', &slash) ? fh_str_drop(s, slash + 1) : s;
}

static bool row_is(const fh_catalogue_row *row, const char *key) {
    char own[KEY_MOST];
    return (key_of(fh_str_of(row->name), own) && strcmp(own, key) == 0) ||
           (key_of(fh_str_of(row->repo), own) && strcmp(own, key) == 0) ||
           (key_of(tail_of(row->repo), own) && strcmp(own, key) == 0);
}

const fh_catalogue_row *fh_catalogue_find(fh_str name) {
    char key[KEY_MOST];
    const fh_catalogue_row *found = NULL;
    if (!key_of(name, key)) return NULL;
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        if (!row_is(&rows[i], key)) continue;
        if (found) return NULL;
        found = &rows[i];
    }
    return found;
}

size_t fh_catalogue_like(fh_str name, const fh_catalogue_row **out, size_t most) {
    char key[KEY_MOST], own[KEY_MOST];
    size_t n = 0;
    if (!key_of(name, key)) return 0;
    for (size_t i = 0; i < FH_COUNT(rows) && n < most; i++)
        if (key_of(fh_str_of(rows[i].name), own) && strstr(own, key)) out[n++] = &rows[i];
    return n;
}
