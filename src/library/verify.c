/* library/verify.c - checksums that somebody recorded, and the pass over all numbers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "library/verify.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"

#define MAX_SUMS_BYTES (16u << 20)
#define HASH_PIECE ((size_t)1 << 20)

static void expect(fh_verify_file *f, fh_str hex, const char *where) {
    (void)fh_str_copy(f->expected, sizeof f->expected, hex);
    f->recorded_in = where;
}

/* A blob is named by its content: ".../sha256-<hex>" or, behind a link, ".../blobs/<hex>". */
static void look_at_name(fh_verify_file *f) {
    char real[PATH_MAX];
    if (!realpath(f->path, real)) return;
    fh_str name = fh_path_base(fh_str_of(real));
    if (fh_str_starts(name, "sha256-")) name = fh_str_drop(name, 7);
    if (fh_sha256_is_hex(name)) expect(f, name, "its name");
}

/* Lines "HEX  NAME" or "HEX *NAME"; a line of HEX alone speaks of the file it is named after. */
static bool find_in_sums(fh_str text, fh_str name, bool alone, fh_str *hex) {
    while (text.len) {
        size_t eol;
        fh_str line = text;
        if (fh_str_find(text, '\n', &eol)) line.len = eol;
        text = fh_str_drop(text, line.len + 1);
        while (line.len && isspace((unsigned char)line.ptr[line.len - 1])) line.len--;
        if (line.len < 64 || !fh_sha256_is_hex(fh_str_first(line, 64))) continue;
        fh_str rest = fh_str_drop(line, 64);
        if (rest.len >= 2) rest = fh_str_drop(rest, 2); /* two blanks, or a blank and '*' */
        if (!(alone && rest.len == 0) && !fh_str_eq(fh_path_base(rest), name)) continue;
        *hex = fh_str_first(line, 64);
        return true;
    }
    return false;
}

static void look_in_sums(fh_verify_file *f, const char *path, bool alone, const char *where) {
    fh_buf text;
    fh_str hex;
    if (f->expected[0] || fh_file_get_kind(path) != FH_FILE_REGULAR) return;
    fh_buf_init(&text, MAX_SUMS_BYTES);
    if (fh_file_read(path, &text, NULL) == FH_OK &&
        find_in_sums(fh_buf_str(&text), fh_path_base(fh_str_of(f->path)), alone, &hex))
        expect(f, hex, where);
    fh_buf_release(&text);
}

static void find_expected(fh_verify_file *f, const char *folder) {
    char path[FH_PATH_MAX];
    if (!folder) return;
    look_at_name(f);
    if (snprintf(path, sizeof path, "%s.sha256", f->path) < (int)sizeof path)
        look_in_sums(f, path, true, "NAME.sha256");
    if (fh_path_join(path, folder, FH_STR("SHA256SUMS"), NULL) == FH_OK) look_in_sums(f, path, false, "SHA256SUMS");
}

static fh_status hash_file(fh_verify_file *f, fh_bytes data, fh_err *err) {
    fh_sha256 *sha;
    FH_TRY(fh_sha256_new(&sha, err));
    fh_status st = FH_OK;
    for (size_t at = 0; at < data.len && st == FH_OK; at += HASH_PIECE)
        st = fh_sha256_add(sha, data.ptr + at, FH_MIN(HASH_PIECE, data.len - at), err);
    if (st == FH_OK) st = fh_sha256_finish(sha, f->actual, err);
    fh_sha256_free(sha);
    return st;
}

static fh_status check_files(fh_verify *v, const fh_bundle *b, fh_err *err) {
    v->n_file = fh_bundle_n_part(b);
    v->file = fh_arena_alloc(&v->arena, v->n_file, sizeof *v->file);
    if (!v->file) return fh_arena_fail(&v->arena, err);
    for (size_t i = 0; i < v->n_file; i++) {
        fh_verify_file *f = &v->file[i];
        f->path = fh_bundle_part_path(b, i);
        f->bytes = fh_bundle_part_data(b, i).len;
        find_expected(f, fh_bundle_folder(b));
        if (!f->expected[0]) continue;
        FH_TRY(hash_file(f, fh_bundle_part_data(b, i), err));
        v->n_wrong_file += strcmp(f->actual, f->expected) != 0;
    }
    return FH_OK;
}

fh_status fh_verify_bundle(fh_verify *out, const fh_bundle *b, fh_pool *pool, fh_scan_progress *progress, void *ctx,
                           fh_err *err) {
    fh_verify v = {.n_scan = fh_bundle_weights(b)->n};
    fh_arena_init(&v.arena, SIZE_MAX);
    v.scan = fh_arena_alloc(&v.arena, v.n_scan, sizeof *v.scan);
    fh_status st = v.scan ? check_files(&v, b, err) : fh_arena_fail(&v.arena, err);
    if (st == FH_OK) st = fh_scan_weights(v.scan, b, false, pool, progress, ctx, err);
    if (st != FH_OK) {
        fh_verify_release(&v);
        return st;
    }
    for (size_t i = 0; i < v.n_scan; i++) {
        v.n_value += v.scan[i].n_value;
        v.n_bad += v.scan[i].n_bad;
    }
    *out = v;
    return FH_OK;
}

void fh_verify_release(fh_verify *v) { fh_arena_release(&v->arena); }
