/* forge/convert.c - see convert.h. Picks the row, makes the files in the order that leaves no half model behind.
 * SPDX-License-Identifier: Apache-2.0 */
#include "forge/convert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "forge/convert_part.h"
#include "model/spec_read.h"

#define TEXT_MOST ((size_t)1 << 28)
#define ARENA_MOST ((size_t)1 << 30)

static const fh_convert_row rows[] = {
#define FH_CONVERT_ROW(gguf, hf, cls, prefer, when) {gguf, hf, cls, prefer, when},
#include "forge/convert.def"
#undef FH_CONVERT_ROW
};

void fh_convert_note(const fh_convert_job *j, const char *fmt, ...) {
    char text[400];
    va_list ap;
    if (!j->opt->note) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    j->opt->note(j->opt->ctx, text);
}

/* ---- which row ---- */

static bool has_scores(const fh_convert_job *j) {
    for (uint32_t i = 0; i < j->tables->n_matrix; i++)
        if (j->bind.matrix_of[i].slot == FH_SLOT_SCORE_OUT) return true;
    return false;
}

static bool holds(const fh_convert_job *j, const char *when) {
    const fh_spec *s = j->spec;
    fh_str w = fh_str_of(when);
    if (fh_str_is(w, "experts")) return s->moe.n_expert > 0;
    if (fh_str_is(w, "sigmoid")) return s->moe.gate == FH_GATE_SIGMOID;
    if (fh_str_is(w, "both-ways")) return s->topology == FH_TOPOLOGY_ENCODER;
    if (fh_str_is(w, "one-way")) return s->topology == FH_TOPOLOGY_DECODER;
    if (fh_str_is(w, "gated")) return s->glu;
    if (fh_str_is(w, "scores")) return has_scores(j);
    if (fh_str_is(w, "never")) return j->to_gguf;
    return true;
}

static fh_status pick_row(fh_convert_job *j, fh_err *err) {
    for (size_t pass = 0; pass < 2; pass++) /* to GGUF: the name counts where no condition holds */
        for (size_t i = 0; i < FH_COUNT(rows) && !j->row; i++) {
            if (!fh_str_is(j->spec->arch, j->to_gguf ? rows[i].hf : rows[i].gguf)) continue;
            if (holds(j, rows[i].when) || (pass && j->to_gguf)) j->row = &rows[i];
        }
    if (j->row) return FH_OK;
    return fh_fail(err, FH_ERR_UNSUPPORTED, "no conversion is known for architecture '%.*s'",
                   FH_STR_ARG(j->spec->arch));
}

/* The first prefix of the family; classes with a head of their own keep the model under its name. */
static void pick_prefix(fh_convert_job *j) {
    const char *list = j->to_gguf ? "" : j->spec->family->hf_prefix;
    fh_str one;
    bool any = false;
    while (fh_slot_alternative(&list, &one)) {
        char word[64];
        bool named = one.len > 1 && has_scores(j) && j->row &&
                     fh_str_copy(word, sizeof word, fh_str_first(one, one.len - 1)) &&
                     fh_str_ends(fh_str_of(j->row->hf), word);
        if (!any || named) j->prefix = one;
        any = true;
        if (named) return;
    }
}

/* ---- files ---- */

static fh_status from_gguf(void *ctx, size_t i, const fh_tensor *t, fh_writer *w, fh_err *err) {
    fh_convert_job *j = ctx;
    (void)t;
    return fh_convert_write(j, &j->tensor[i], w, err);
}

fh_status fh_convert_write_file(const char *folder, const char *name, fh_str text, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_writer *w = NULL;
    FH_TRY(fh_path_join(path, folder, fh_str_of(name), err));
    FH_TRY(fh_writer_open(&w, path, err));
    fh_status s = fh_writer_add(w, text.ptr, text.len, err);
    if (s == FH_OK) return fh_writer_commit(w, err);
    fh_writer_abort(w);
    return s;
}

static fh_status write_gguf(fh_convert_job *j, const char *out, fh_err *err) {
    fh_gguf_build *b = NULL;
    fh_status s;
    if (fh_file_get_kind(out) != FH_FILE_NONE) return fh_fail(err, FH_ERR_EXISTS, "'%s' is there already", out);
    FH_TRY(fh_gguf_build_new(&b, err));
    s = fh_convert_put_keys(j, b, err);
    if (s == FH_OK && !j->opt->no_tokenizer) s = fh_convert_vocab_to_gguf(j, b, err);
    for (uint32_t i = 0; s == FH_OK && i < j->n_tensor; i++) s = fh_gguf_build_add_tensor(b, &j->tensor[i].t, err);
    if (s == FH_OK) s = fh_gguf_write(b, out, from_gguf, j, err);
    fh_gguf_build_free(b);
    return s;
}

/* Numbers by index lie in the tensors' sorted order: the list is brought into it before. */
static int by_width_and_name(const fh_convert_tensor *a, const fh_convert_tensor *b) {
    uint32_t x = fh_dtype_get_info(a->t.dtype)->block_bytes, y = fh_dtype_get_info(b->t.dtype)->block_bytes;
    return x != y ? (x > y ? -1 : 1) : fh_str_cmp(a->t.name, b->t.name);
}

static fh_status sort_tensors(fh_convert_job *j, fh_err *err) {
    fh_convert_tensor *spare = fh_alloc(j->n_tensor, sizeof *spare), *from = j->tensor, *to = spare, *swap;
    if (!spare) return fh_fail_memory(err, j->n_tensor * sizeof *spare);
    for (uint32_t run = 1; run < j->n_tensor; run *= 2) {
        for (uint32_t at = 0; at < j->n_tensor; at += 2 * run) {
            uint32_t a = at, mid = FH_MIN(at + run, j->n_tensor), b = mid, end = FH_MIN(at + 2 * run, j->n_tensor);
            for (uint32_t k = at; k < end; k++)
                to[k] = a < mid && (b >= end || by_width_and_name(&from[a], &from[b]) <= 0) ? from[a++] : from[b++];
        }
        swap = from;
        from = to;
        to = swap;
    }
    if (from != j->tensor) memcpy(j->tensor, from, j->n_tensor * sizeof *from);
    fh_free(spare);
    return FH_OK;
}

static fh_status write_weights(fh_convert_job *j, const char *folder, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_st_build *b = NULL;
    FH_TRY(fh_path_join(path, folder, FH_STR("model.safetensors"), err));
    FH_TRY(sort_tensors(j, err));
    FH_TRY(fh_st_build_new(&b, err));
    fh_status s = fh_st_build_add_meta(b, FH_STR("format"), FH_STR("pt"), err);
    for (uint32_t i = 0; s == FH_OK && i < j->n_tensor; i++) s = fh_st_build_add_tensor(b, &j->tensor[i].t, err);
    if (s == FH_OK) s = fh_st_write(b, path, from_gguf, j, err);
    fh_st_build_free(b);
    return s;
}

static fh_status make_folder(const char *out, fh_arena *arena, fh_err *err) {
    fh_names names;
    if (mkdir(out, 0777) == 0) return FH_OK;
    if (errno != EEXIST) return fh_fail_errno(err, "make the folder", out);
    if (fh_file_get_kind(out) != FH_FILE_DIR) return fh_fail(err, FH_ERR_EXISTS, "'%s' is there already", out);
    FH_TRY(fh_dir_list(out, arena, &names, err));
    return names.n == 0 ? FH_OK : fh_fail(err, FH_ERR_EXISTS, "the folder '%s' is not empty", out);
}

static fh_status write_folder(fh_convert_job *j, const char *out, fh_err *err) {
    fh_json_writer w;
    fh_buf_init(&j->text, TEXT_MOST);
    fh_json_writer_init(&w, &j->text, true);
    fh_status s = fh_convert_put_config(j, &w, err);
    fh_buf_add_byte(&j->text, '\n');
    if (s == FH_OK) s = fh_buf_check(&j->text, err);
    if (s == FH_OK) s = make_folder(out, &j->arena, err);
    if (s == FH_OK && !j->opt->no_tokenizer) s = fh_convert_vocab_to_hf(j, out, err);
    if (s == FH_OK) s = write_weights(j, out, err);
    if (s == FH_OK) s = fh_convert_write_file(out, "config.json", fh_buf_str(&j->text), err);
    fh_buf_release(&j->text);
    return s;
}

fh_status fh_convert_begin(fh_convert_job *j, const fh_model *m, const fh_convert_options *opt, fh_err *err) {
    fh_str arch;
    *j = (fh_convert_job){.m = m, .spec = fh_model_spec(m), .opt = opt, .bind = *fh_model_binder(m)};
    j->tables = fh_model_plan(m, FH_PLAN_STEP);
    j->to_gguf = !fh_model_spec(m)->gguf;
    fh_arena_init(&j->arena, ARENA_MOST);
    (void)fh_family_find(fh_model_bundle(m), &j->meta, &arch);
    FH_TRY(pick_row(j, err));
    pick_prefix(j);
    return fh_convert_plan(j, err);
}

void fh_convert_end(fh_convert_job *j) {
    fh_free(j->tensor);
    fh_arena_release(&j->arena);
}

fh_status fh_convert(const fh_model *m, const char *out, const fh_convert_options *opt, fh_err *err) {
    fh_convert_job j;
    fh_status s = fh_convert_begin(&j, m, opt, err);
    if (s == FH_OK) s = j.to_gguf ? write_gguf(&j, out, err) : write_folder(&j, out, err);
    if (s == FH_OK) s = fh_bundle_check(fh_model_bundle(m), err);
    fh_convert_end(&j);
    return s;
}
