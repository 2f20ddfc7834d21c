/* cli/cmd_imatrix.c - freehold imatrix: which weights matter, measured over a text; files of it merged and looked at.
 * SPDX-License-Identifier: Apache-2.0
 * The file is written now and then while the text goes by, whole each time: a run that is stopped leaves what it
 * had. Without -f the files of --in-file are merged; no model is needed for that, nor for --show-statistics. */
#include <unistd.h>

#include "base/json_member.h"
#include "base/num.h"
#include "cli/chunk_input.h"
#include "forge/imatrix_collect.h"
#include "forge/imatrix_stats.h"
#include "library/model_text.h"

#define MAX_OUTPUT ((size_t)1 << 28)

typedef struct imatrix_options {
    fh_chunk_input in;
    fh_model_options model;
    fh_cli_list in_files;
    const char *out, *format;
    uint64_t write_every, keep_every;
    bool statistics, head, no_ppl, force;
} imatrix_options;

typedef struct imatrix_run {
    fh_cli *cli;
    imatrix_options *o;
    fh_opened x;
    fh_chunks chunks;
    fh_imatrix *merged; /* of --in-file */
    fh_imatrix_collector *collector;
    fh_perplexity result; /* n_chunk 0: not measured */
    uint32_t n_done, n_written;
    size_t n_entry, n_partial; /* of what was written last */
    fh_progress progress;
} imatrix_run;

/* ---- files ---- */

static bool is_dat(const imatrix_options *o) {
    if (o->format) return strcmp(o->format, "dat") == 0;
    return fh_str_ends(fh_str_of(o->out), ".dat");
}

/* Has some experts that saw nothing. */
static bool is_partial(const fh_imatrix_entry *e) {
    bool none = false, some = false;
    for (uint64_t i = 0; i < e->n_mat; i++) {
        none = none || e->count[i] <= 0;
        some = some || e->count[i] > 0;
    }
    return none && some;
}

static fh_status write_as(imatrix_run *r, const fh_imatrix *m, const char *path, fh_err *err) {
    r->n_entry = fh_imatrix_n_entry(m);
    r->n_partial = 0;
    for (size_t i = 0; i < r->n_entry; i++) r->n_partial += is_partial(fh_imatrix_get(m, i));
    return is_dat(r->o) ? fh_imatrix_write_dat(m, path, err) : fh_imatrix_write(m, path, err);
}

/* What was merged and what was seen so far; keep: under a name of its own. */
static fh_status write_now(imatrix_run *r, bool keep, fh_err *err) {
    fh_imatrix *m;
    char path[FH_PATH_MAX];
    FH_TRY(fh_imatrix_new(&m, fh_imatrix_chunk_size(r->merged), err));
    fh_status st = fh_imatrix_merge(m, r->merged, err);
    if (st == FH_OK && r->collector) st = fh_imatrix_collector_add_to(r->collector, m, err);
    if (st == FH_OK && r->o->in.file) st = fh_imatrix_add_dataset(m, fh_str_of(r->o->in.file), err);
    fh_imatrix_add_chunks(m, r->n_done);
    if (st == FH_OK && fh_imatrix_n_entry(m) == 0)
        st = fh_fail(err, FH_ERR_FORMAT,
                     "no input of any matrix was seen: nothing is written; are the files of --in-file empty?");
    const int n = snprintf(path, sizeof path, keep ? "%s.at_%u" : "%s", r->o->out, fh_imatrix_n_chunk(m));
    if (st == FH_OK && n >= (int)sizeof path)
        st = fh_fail(err, FH_ERR_LIMIT, "-o '%.80s...' is too long a path", r->o->out);
    if (st == FH_OK) st = write_as(r, m, path, err);
    if (!keep) r->n_written = r->n_done;
    fh_imatrix_free(m);
    return st;
}

static fh_status merge_files(imatrix_run *r, uint32_t chunk_size, fh_err *err) {
    FH_TRY(fh_imatrix_new(&r->merged, chunk_size, err));
    for (size_t i = 0; i < r->o->in_files.n; i++) {
        fh_imatrix *one;
        FH_TRY(fh_imatrix_open(&one, r->o->in_files.item[i], err));
        const fh_status st = fh_imatrix_merge(r->merged, one, err);
        fh_imatrix_free(one);
        if (st != FH_OK) {
            fh_err_set_path(err, r->o->in_files.item[i]);
            return st;
        }
    }
    return FH_OK;
}

/* ---- the text ---- */

static fh_status chunk_done(imatrix_run *r, uint32_t n, fh_err *err) {
    const uint32_t all = fh_imatrix_n_chunk(r->merged) + n;
    r->n_done = n;
    fh_progress_at(&r->progress, n);
    if (r->o->write_every && all % r->o->write_every == 0) FH_TRY(write_now(r, false, err));
    return r->o->keep_every && all % r->o->keep_every == 0 ? write_now(r, true, err) : FH_OK;
}

static fh_status scored(void *ctx, const fh_perplexity *p, fh_err *err) {
    imatrix_run *r = ctx;
    if (!r->cli->json) {
        fprintf(r->cli->out, "[%u]%.4f,", p->n_chunk, p->ppl.value);
        fflush(r->cli->out);
    }
    return chunk_done(r, p->n_chunk, err);
}

static fh_status passed(void *ctx, uint32_t n, fh_err *err) { return chunk_done(ctx, n, err); }

static fh_status run_text(imatrix_run *r, fh_err *err) {
    const imatrix_options *o = r->o;
    const bool logits = fh_model_purpose(r->x.model) == FH_EXPORT_LOGITS, score = logits && !o->no_ppl;
    fh_status st;
    if (!logits && o->head)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "--process-output: '%.200s' has no output to process", r->x.at.name);
    fh_progress_start(&r->progress, r->cli, "imatrix", r->chunks.n);
    r->progress.on = r->progress.on && (!score || r->cli->json || !isatty(fileno(r->cli->out)));
    if (score) {
        const fh_perplexity_options opt = {.whole = true,
                                           .together = 1,
                                           .threads = (int)o->model.threads,
                                           .batch = (uint32_t)o->model.batch,
                                           .adapters = fh_opened_adapters(&r->x),
                                           .chunk = scored,
                                           .ctx = r};
        st = fh_perplexity_measure(&r->result, &r->chunks, r->x.engine, &opt, err);
    } else {
        const fh_chunks_run_options opt = {.what = o->head ? FH_EXPORT_LOGITS : FH_EXPORT_HIDDEN,
                                           .whole = true,
                                           .together = 1,
                                           .batch = (uint32_t)o->model.batch,
                                           .adapters = fh_opened_adapters(&r->x),
                                           .done = passed,
                                           .ctx = r};
        st = fh_chunks_run(&r->chunks, r->x.engine, &opt, err);
    }
    fh_progress_end(&r->progress);
    return st;
}

static fh_status collect(imatrix_run *r, const char *model, fh_err *err) {
    imatrix_options *o = r->o;
    FH_TRY(fh_chunk_options_settle(&o->model, &o->in, err));
    FH_TRY(merge_files(r, (uint32_t)o->model.ctx, err));
    FH_TRY(fh_opened_load(&r->x, r->cli, model, &o->model, err));
    if (fh_model_plan(r->x.model, FH_PLAN_ENCODE))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%.200s' has an encoder and a decoder: a text alone does not run both",
                       r->x.at.name);
    FH_TRY(fh_chunk_input_read(&r->chunks, &o->in, r->cli, model, &o->model, NULL, err));
    FH_TRY(fh_chunk_start(&r->x, &o->model, err));
    FH_TRY(fh_imatrix_collector_new(&r->collector, r->x.engine, o->head, err));
    FH_TRY(run_text(r, err));
    return r->n_written == r->n_done ? FH_OK : write_now(r, false, err);
}

/* ---- reports ---- */

static void put_str(fh_json_writer *w, const char *key, fh_str v) {
    fh_json_put_key(w, key);
    fh_json_put_str(w, v);
}

static void report(fh_buf *out, const imatrix_run *r) {
    const uint32_t chunks = fh_imatrix_n_chunk(r->merged) + r->n_done, size = fh_imatrix_chunk_size(r->merged);
    const fh_estimate ppl = r->result.ppl;
    if (r->cli->json) {
        fh_json_writer w;
        fh_json_writer_init(&w, out, true);
        fh_json_put_object(&w);
        put_str(&w, "file", fh_str_of(r->o->out));
        put_str(&w, "format", is_dat(r->o) ? FH_STR("dat") : FH_STR("gguf"));
        fh_put_u64(&w, "entries", r->n_entry);
        fh_put_u64(&w, "partial", r->n_partial);
        fh_put_u64(&w, "chunks", chunks);
        fh_put_u64(&w, "chunk_size", size);
        if (r->result.n_chunk) fh_put_estimate(&w, "perplexity", ppl);
        fh_json_put_end(&w);
        fh_buf_add_byte(out, '\n');
        return;
    }
    if (r->result.n_chunk) fh_buf_printf(out, "\nFinal estimate: PPL = %.4f +/- %.5f\n", ppl.value, ppl.error);
    fh_buf_printf(out, "%s: %zu weights, %u chunks of %u tokens\n", r->o->out, r->n_entry, chunks, size);
    if (r->n_partial)
        fh_buf_printf(
            out, "note: %zu of them have experts that no token reached; more text, or other text, may reach them\n",
            r->n_partial);
}

static void text_statistics(fh_buf *b, const fh_imatrix_stats *s, size_t n) {
    fh_imatrix_layer_stats l = {.layer = -1};
    fh_buf_printf(b, "%5s  %-20s %12s %10s %12s %10s %10s %8s %8s %8s %8s %8s %8s\n", "layer", "tensor", "sum(x^2)",
                  "min", "max", "mean", "deviation", "active", "columns", "entropy", "evenness", "outliers",
                  "likeness");
    for (size_t i = 0; i < n; i++) {
        char layer[16] = "-", name[64];
        if (s[i].layer >= 0) snprintf(layer, sizeof layer, "%d", (int)s[i].layer);
        snprintf(name, sizeof name, "%.*s", (int)FH_MIN(s[i].tensor.len, (size_t)60), s[i].tensor.ptr);
        for (char *c = name; *c; c++) *c = *c < 0x20 || *c == 0x7f ? '?' : *c;
        fh_buf_printf(b, "%5s  %-20s %12.4f %10.4f %12.4f %10.4f %10.4f %7.2f%% %8llu %8.4f %7.2f%% %7.2f%% %8.4f\n",
                      layer, name, s[i].sum, s[i].min, s[i].max, s[i].mean, s[i].deviation, 100 * s[i].active,
                      (unsigned long long)s[i].n, s[i].entropy, 100 * s[i].even, 100 * s[i].outliers, s[i].likeness);
    }
    fh_buf_printf(b, "\n%5s %14s %10s %10s\n", "layer", "sum(x^2)", "outliers", "likeness");
    while (fh_imatrix_stats_next_layer(s, n, l.layer, &l))
        fh_buf_printf(b, "%5d %14.4f %9.4f%% %10.4f\n", (int)l.layer, l.sum, 100 * l.outliers, l.likeness);
}

static void json_statistics(fh_buf *b, const fh_imatrix *m, const fh_imatrix_stats *s, size_t n) {
    fh_json_writer w;
    fh_json_writer_init(&w, b, true);
    fh_json_put_object(&w);
    fh_put_u64(&w, "chunks", fh_imatrix_n_chunk(m));
    fh_put_u64(&w, "chunk_size", fh_imatrix_chunk_size(m));
    fh_json_put_key(&w, "datasets");
    fh_json_put_array(&w);
    for (size_t i = 0; i < fh_imatrix_n_dataset(m); i++) fh_json_put_str(&w, fh_imatrix_dataset(m, i));
    fh_json_put_end(&w);
    fh_json_put_key(&w, "weights");
    fh_json_put_array(&w);
    for (size_t i = 0; i < n; i++) {
        fh_json_put_object(&w);
        put_str(&w, "name", s[i].entry->name);
        if (s[i].layer >= 0) fh_put_u64(&w, "layer", (uint64_t)s[i].layer);
        fh_put_u64(&w, "columns", s[i].n);
        fh_put_f64(&w, "sum", s[i].sum);
        fh_put_f64(&w, "min", s[i].min);
        fh_put_f64(&w, "max", s[i].max);
        fh_put_f64(&w, "mean", s[i].mean);
        fh_put_f64(&w, "deviation", s[i].deviation);
        fh_put_f64(&w, "active", s[i].active);
        fh_put_f64(&w, "entropy", s[i].entropy);
        fh_put_f64(&w, "evenness", s[i].even);
        fh_put_f64(&w, "outliers", s[i].outliers);
        fh_put_f64(&w, "likeness", s[i].likeness);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(b, '\n');
}

static fh_status show_statistics(const imatrix_run *r, fh_buf *out, fh_err *err) {
    fh_imatrix *m;
    fh_imatrix_stats *s = NULL;
    size_t n = 0;
    if (r->o->in_files.n != 1) return fh_fail(err, FH_ERR_USAGE, "--show-statistics wants one --in-file FILE");
    FH_TRY(fh_imatrix_open(&m, r->o->in_files.item[0], err));
    const fh_status st = fh_imatrix_stats_of(m, &s, &n, err);
    if (st == FH_OK && r->cli->json) json_statistics(out, m, s, n);
    else if (st == FH_OK) text_statistics(out, s, n);
    fh_free(s);
    fh_imatrix_free(m);
    return st;
}

/* ---- the command ---- */

static fh_status check(const imatrix_options *o, const char *model, fh_err *err) {
    if (o->format && strcmp(o->format, "gguf") != 0 && strcmp(o->format, "dat") != 0)
        return fh_fail(err, FH_ERR_USAGE, "--output-format is gguf or dat, not '%.60s'", o->format);
    if (o->statistics) return FH_OK;
    if (!o->in.file && (model || o->in_files.n == 0))
        return fh_fail(err, FH_ERR_USAGE,
                       "-f FILE is missing: the text to measure with; or --in-file FILE, to merge "
                       "without a model");
    if (!o->force && fh_file_get_kind(o->out) != FH_FILE_NONE)
        return fh_fail(err, FH_ERR_EXISTS, "'%.300s' exists; --force replaces it", o->out);
    return FH_OK;
}

static fh_status work(imatrix_run *r, const char *model, fh_buf *out, fh_err *err) {
    FH_TRY(check(r->o, model, err));
    if (r->o->statistics) return show_statistics(r, out, err);
    if (r->o->in.file) {
        FH_TRY(collect(r, model, err));
    } else {
        FH_TRY(merge_files(r, (uint32_t)FH_MIN(r->o->model.ctx, (uint64_t)FH_LOGITS_BASE_CONTEXT), err));
        FH_TRY(write_now(r, false, err));
    }
    report(out, r);
    return FH_OK;
}

int fh_cmd_imatrix(fh_cli *cli) {
    imatrix_options o = {.out = "imatrix.gguf", .write_every = 10};
    const char *model = NULL;
    const fh_option options[] = {
        FH_CHUNK_INPUT_ROWS(o.in, o.model),
        {"-o", FH_OPTION_TEXT, &o.out, "FILE", "where to (default: imatrix.gguf)"},
        {"--output", FH_OPTION_TEXT, &o.out, "FILE", "the same"},
        {"--output-format", FH_OPTION_TEXT, &o.format, "gguf|dat",
         "dat: the form before GGUF (default: dat where the name ends so, else gguf)"},
        {"--output-frequency", FH_OPTION_U64, &o.write_every, "N",
         "write what there is every N chunks; 0: only at the end (default: 10)"},
        {"--save-frequency", FH_OPTION_U64, &o.keep_every, "N",
         "keep what there is every N chunks, as FILE.at_N (default: never)"},
        {"--in-file", FH_OPTION_LIST, &o.in_files, "FILE",
         "add what was measured before, in either form; may be repeated (default: none)"},
        {"--process-output", FH_OPTION_FLAG, &o.head, NULL, "the output matrix, too (default: no)"},
        {"--no-ppl", FH_OPTION_FLAG, &o.no_ppl, NULL, "do not score the text on the way (default: do)"},
        {"--parse-special", FH_OPTION_FLAG, &o.in.parse_special, NULL,
         "special tokens spelled in the text become themselves (default: they are text)"},
        {"--show-statistics", FH_OPTION_FLAG, &o.statistics, NULL, "only look at one --in-file (default: no)"},
        {"--force", FH_OPTION_FLAG, &o.force, NULL, "replace the output if it exists (default: no)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    imatrix_run r = {.cli = cli, .o = &o};
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    const fh_status st = work(&r, model, &out, &err);
    rc = st == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    fh_imatrix_collector_free(r.collector);
    fh_imatrix_free(r.merged);
    fh_chunks_release(&r.chunks);
    fh_opened_close(&r.x);
    return rc;
}
