/* library/passport_export.c - copying a model into a folder together with LICENSE, NOTICE, policy and passport.
 * SPDX-License-Identifier: Apache-2.0
 * Every file goes through the atomic writer, and what was written is taken away again when a later one fails. Names
 * from folders are checked before they become a path. SHA256SUMS is written last: a folder without it is not whole. */
#include "library/passport_export.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/num.h"
#include "library/builtin.h"

#define TEXT_BYTES ((size_t)64 << 20)
#define CHUNK ((size_t)8 << 20)
#define MOST_FILES 4096u

typedef struct exporter {
    fh_export_result *r;
    const char *folder;
    const fh_export_options *opt;
    fh_buf sums;
    uint64_t done, total;
    fh_err *err;
} exporter;

static bool written(const exporter *x, fh_str name) {
    for (size_t i = 0; i < x->r->n; i++)
        if (fh_str_eq(x->r->file[i], name)) return true;
    return false;
}

static fh_status put_bytes(exporter *x, fh_str name, fh_bytes data, bool weights) {
    char path[FH_PATH_MAX], hex[FH_SHA256_HEX];
    fh_writer *w = NULL;
    fh_sha256 *h = NULL;
    if (!fh_path_is_plain_name(name))
        return fh_fail(x->err, FH_ERR_FORMAT, "export '%.*s', it is no plain file name", FH_STR_ARG(name));
    if (written(x, name)) return FH_OK;
    if (x->r->n == MOST_FILES) return fh_fail(x->err, FH_ERR_LIMIT, "export more than %u files", MOST_FILES);
    FH_TRY(fh_path_join(path, x->folder, name, x->err));
    FH_TRY(fh_sha256_new(&h, x->err));
    fh_status st = fh_writer_open(&w, path, x->err);
    for (size_t at = 0; st == FH_OK && at < data.len;) {
        size_t n = FH_MIN(CHUNK, data.len - at);
        st = fh_writer_add(w, data.ptr + at, n, x->err);
        if (st == FH_OK) st = fh_sha256_add(h, data.ptr + at, n, x->err);
        at += n;
        x->done += weights ? n : 0;
        if (x->opt->progress) x->opt->progress(x->opt->progress_ctx, x->done, x->total);
    }
    if (st == FH_OK) st = fh_sha256_finish(h, hex, x->err);
    fh_sha256_free(h);
    if (st != FH_OK) {
        fh_writer_abort(w);
        return st;
    }
    FH_TRY(fh_writer_commit(w, x->err));
    if (!fh_arena_copy(&x->r->arena, name, &x->r->file[x->r->n])) return fh_arena_fail(&x->r->arena, x->err);
    x->r->n++;
    x->r->bytes += data.len;
    fh_buf_printf(&x->sums, "%s  %.*s\n", hex, (int)name.len, name.ptr);
    return FH_OK;
}

static fh_status copy_file(exporter *x, const char *path, fh_str name) {
    fh_buf text;
    fh_buf_init(&text, TEXT_BYTES);
    fh_status st = fh_file_read(path, &text, x->err);
    if (st == FH_OK) st = put_bytes(x, name, (fh_bytes){text.ptr, text.len}, false);
    fh_buf_release(&text);
    return st;
}

/* ---- weights and what belongs to them ---- */
static bool belongs(fh_str name) { /* names that were written already are left as they are */
    static const char *const ends[] = {".json", ".jinja", ".model", ".txt", ".tiktoken", ".md"};
    for (size_t i = 0; i < FH_COUNT(ends); i++)
        if (fh_str_ends(name, ends[i])) return true;
    return false;
}

static fh_status copy_sides(exporter *x, const char *folder) {
    fh_arena arena;
    fh_names names;
    char path[FH_PATH_MAX];
    fh_arena_init(&arena, 16u << 20);
    fh_status st = fh_dir_list(folder, &arena, &names, x->err);
    for (size_t i = 0; st == FH_OK && i < names.n; i++) {
        if (!belongs(names.item[i])) continue;
        st = fh_path_join(path, folder, names.item[i], x->err);
        if (st == FH_OK && fh_file_get_kind(path) == FH_FILE_REGULAR) st = copy_file(x, path, names.item[i]);
    }
    fh_arena_release(&arena);
    return st;
}

static fh_status copy_model(exporter *x, const char *model) {
    fh_location at;
    fh_bundle *b = NULL;
    FH_TRY(fh_locate(&at, model, x->err));
    FH_TRY(fh_location_open(&b, &at, x->err));
    fh_status st = FH_OK;
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) x->total += fh_bundle_part_data(b, i).len;
    for (size_t i = 0; st == FH_OK && i < fh_bundle_n_part(b); i++) {
        fh_str name = fh_path_base(fh_str_of(fh_bundle_part_path(b, i)));
        char own[sizeof at.name + 8];
        if (at.source == FH_SOURCE_OLLAMA || at.source == FH_SOURCE_BUILTIN) { /* a digest, or no file at all */
            snprintf(own, sizeof own, "%s", at.source == FH_SOURCE_BUILTIN ? "builtin" : at.name);
            for (char *c = own; *c; c++)
                if (*c == '/' || *c == ':') *c = '-';
            size_t n = strlen(own);
            snprintf(own + n, sizeof own - n, ".gguf");
            name = fh_str_of(own);
        }
        st = put_bytes(x, name, fh_bundle_part_data(b, i), true);
    }
    if (st == FH_OK) st = fh_bundle_check(b, x->err);
    if (st == FH_OK && fh_bundle_form(b) == FH_FORM_SAFETENSORS && fh_bundle_folder(b))
        st = copy_sides(x, fh_bundle_folder(b));
    fh_bundle_close(b);
    return st;
}

/* ---- terms ---- */
/* The model's own texts keep their names; those of a base model get its name behind theirs. */
static fh_status copy_terms(exporter *x) {
    const fh_license_report *r = x->opt->passport->license;
    for (size_t i = 0; i < r->n_node; i++) {
        for (size_t k = 0; k < r->node[i].n_doc; k++) {
            const fh_license_doc *d = &r->node[i].doc[k];
            char path[FH_PATH_MAX], name[400];
            bool blob = fh_str_starts(d->file, "sha256-");
            snprintf(name, sizeof name, "%.*s", FH_STR_ARG(blob ? FH_STR("LICENSE") : d->file));
            if (i > 0) {
                size_t n = strlen(name);
                snprintf(name + n, sizeof name - n, ".%.*s", FH_STR_ARG(r->node[i].id));
                for (char *c = name; *c; c++)
                    if (*c == '/') *c = '-';
            }
            if (!fh_str_copy(path, sizeof path, d->path)) continue;
            FH_TRY(copy_file(x, path, fh_str_of(name)));
        }
    }
    return FH_OK;
}

/* The notices that the model came with go on. */
static fh_status add_own_notice(exporter *x, const char *model, fh_buf *out) {
    static const char *const names[] = {"NOTICE", "NOTICE.txt", "NOTICE.md", "Notice"};
    fh_location at;
    char path[FH_PATH_MAX];
    FH_TRY(fh_locate(&at, model, x->err));
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        if (fh_file_get_kind(at.path) != FH_FILE_DIR) return FH_OK;
        FH_TRY(fh_path_join(path, at.path, fh_str_of(names[i]), x->err));
        if (fh_file_get_kind(path) != FH_FILE_REGULAR) continue;
        FH_TRY(fh_file_read(path, out, x->err));
        fh_buf_add_z(out, "\n");
        return FH_OK;
    }
    return FH_OK;
}

static fh_status write_notice(exporter *x, const char *model) {
    const fh_license_report *r = x->opt->passport->license;
    fh_buf out;
    fh_buf_init(&out, 4u << 20);
    fh_status st = add_own_notice(x, model, &out);
    if (st != FH_OK) {
        fh_buf_release(&out);
        return st;
    }
    for (size_t i = 0; i < r->n_duty; i++) /* the words that licences want, each once, before everything else */
        if (r->duty[i].show && strcmp(r->duty[i].kind, "notice") == 0) fh_buf_printf(&out, "%s\n\n", r->duty[i].show);
    fh_buf_add_z(&out, "What the terms of this model ask of whoever passes it on or uses it. The texts themselves are "
                       "beside this file.\n\n");
    if (!r->n_duty) fh_buf_add_z(&out, "Nothing beyond keeping its licence and notices with it.\n");
    for (size_t i = 0; i < r->n_duty; i++) {
        const fh_license_duty *d = &r->duty[i];
        fh_buf_printf(&out, "- %s: %.*s (%s, %.*s)\n", d->kind, FH_STR_ARG(d->text), d->from,
                      FH_STR_ARG(d->node ? r->node[d->node].id : x->opt->passport->model));
        if (d->show) fh_buf_printf(&out, "  %s\n", d->show);
    }
    st = fh_buf_check(&out, x->err);
    if (st == FH_OK) st = put_bytes(x, FH_STR("NOTICE"), (fh_bytes){out.ptr, out.len}, false);
    fh_buf_release(&out);
    return st;
}

static fh_status write_passport(exporter *x) {
    fh_buf out;
    fh_buf_init(&out, 16u << 20);
    fh_passport_markdown(x->opt->passport, &out);
    fh_status st = fh_buf_check(&out, x->err);
    if (st == FH_OK) st = put_bytes(x, FH_STR("PASSPORT.md"), (fh_bytes){out.ptr, out.len}, false);
    fh_buf_clear(&out);
    fh_passport_json(x->opt->passport, &out);
    if (st == FH_OK) st = fh_buf_check(&out, x->err);
    if (st == FH_OK) st = put_bytes(x, FH_STR("passport.json"), (fh_bytes){out.ptr, out.len}, false);
    fh_buf_release(&out);
    return st;
}

static fh_status check_terms(const fh_export_options *opt, fh_err *err) {
    const fh_passport *p = opt->passport;
    fh_verdict v = p->license->verdict;
    if (v == FH_VERDICT_ALLOW || v == FH_VERDICT_DUTIES || (v == FH_VERDICT_UNKNOWN && opt->accept_unknown))
        return FH_OK;
    return fh_fail(err, FH_ERR_DENIED, "export '%.*s', the verdict on its licence is %s: see freehold license%s",
                   FH_STR_ARG(p->model), fh_verdict_name(v),
                   v == FH_VERDICT_UNKNOWN ? ", or take it on yourself with --accept-unknown" : "");
}

static fh_status make_folder(const char *folder, bool *made, fh_err *err) {
    fh_arena arena;
    fh_names names;
    *made = fh_file_get_kind(folder) == FH_FILE_NONE;
    if (*made) return mkdir(folder, 0777) == 0 ? FH_OK : fh_fail_errno(err, "make folder", folder);
    fh_arena_init(&arena, 16u << 20);
    fh_status st = fh_dir_list(folder, &arena, &names, err);
    if (st == FH_OK && names.n) st = fh_fail(err, FH_ERR_EXISTS, "export to '%.200s', it is not empty", folder);
    fh_arena_release(&arena);
    return st;
}

static void undo(const exporter *x, bool made) {
    char path[FH_PATH_MAX];
    for (size_t i = 0; i < x->r->n; i++)
        if (fh_path_join(path, x->folder, x->r->file[i], NULL) == FH_OK) (void)remove(path);
    if (made) (void)remove(x->folder);
}

fh_status fh_passport_export(fh_export_result *out, const char *model, const char *folder, const fh_export_options *opt,
                             fh_err *err) {
    fh_export_result r = {.n = 0};
    bool made = false;
    FH_TRY(check_terms(opt, err));
    fh_arena_init(&r.arena, 16u << 20);
    exporter x = {.r = &r, .folder = folder, .opt = opt, .err = err};
    fh_buf_init(&x.sums, 4u << 20);
    r.file = fh_arena_alloc(&r.arena, MOST_FILES, sizeof *r.file);
    fh_status st = r.file ? make_folder(folder, &made, err) : fh_arena_fail(&r.arena, err);
    if (st != FH_OK) goto out;
    st = write_notice(&x, model);
    if (st == FH_OK) st = copy_terms(&x);
    if (st == FH_OK) st = write_passport(&x);
    if (st == FH_OK) st = copy_model(&x, model);
    if (st == FH_OK) st = fh_buf_check(&x.sums, err);
    if (st == FH_OK) {
        fh_buf last = x.sums; /* its own digest does not stand in it */
        fh_buf_init(&x.sums, 1u << 10);
        st = put_bytes(&x, FH_STR("SHA256SUMS"), (fh_bytes){last.ptr, last.len}, false);
        fh_buf_release(&last);
    }
    if (st != FH_OK) undo(&x, made);
out:
    fh_buf_release(&x.sums);
    if (st == FH_OK) *out = r;
    else fh_arena_release(&r.arena);
    return st;
}

void fh_export_result_release(fh_export_result *r) { fh_arena_release(&r->arena); }
