/* cli/cmd_perplexity.c - freehold perplexity: how well a model foretells a text, and how far it is from another one.
 * SPDX-License-Identifier: Apache-2.0
 * Estimates come out chunk by chunk, and at last what counts; the words are those that people know from llama.cpp.
 * --json: one object at the end. A bar on stderr where stdout is not the terminal. */
#include <unistd.h>

#include "base/json_member.h"
#include "base/num.h"
#include "cli/chunk_input.h"
#include "evaluate/perplexity_store.h"
#include "library/model_text.h"

#define MAX_OUTPUT ((size_t)1 << 26)

typedef struct perplexity_options {
    fh_chunk_input in;
    fh_model_options model;
    const char *base;
    bool compare, store, force;
} perplexity_options;

typedef struct perplexity_run {
    fh_cli *cli;
    const perplexity_options *o;
    fh_opened x;
    fh_chunks chunks;
    fh_map *map; /* of the base that is compared with, or NULL */
    fh_logits_base base;
    fh_perplexity result;
    fh_buf line;
    double *running; /* [chunks.n]: PPL after each, with --json */
    fh_progress progress;
} perplexity_run;

/* ---- as it goes ---- */

static void text_chunk(fh_buf *b, const fh_perplexity *p) {
    if (!p->compared) {
        fh_buf_printf(b, "[%u]%.4f,", p->n_chunk, p->ppl.value);
        return;
    }
    if (p->n_chunk == 1)
        fh_buf_add_z(b, "chunk             PPL               ln(PPL(Q)/PPL(base))          KL divergence              "
                        "Δp RMS            Same top p\n");
    fh_buf_printf(b, "%4u    %9.4f ± %9.4f    %10.5f ± %10.5f    %10.5f ± %10.5f", p->n_chunk, p->ppl.value,
                  p->ppl.error, p->log_ratio.value, p->log_ratio.error, p->kld.mean.value, p->kld.mean.error);
    fh_buf_printf(b, "    %6.3f ± %6.3f %%    %6.3f ± %6.3f %%\n", 100 * p->dp_rms.value, 100 * p->dp_rms.error,
                  100 * p->same_best.value, 100 * p->same_best.error);
}

static fh_status show_chunk(void *ctx, const fh_perplexity *p, fh_err *err) {
    perplexity_run *r = ctx;
    if (r->progress.on) fh_progress_at(&r->progress, p->n_chunk);
    if (r->running) {
        r->running[p->n_chunk - 1] = p->ppl.value;
        return FH_OK;
    }
    fh_buf_clear(&r->line);
    text_chunk(&r->line, p);
    FH_TRY(fh_buf_check(&r->line, err));
    fwrite(r->line.ptr, 1, r->line.len, r->cli->out);
    fflush(r->cli->out);
    return FH_OK;
}

/* ---- the report ---- */

static void row(fh_buf *b, const char *label, fh_estimate e) {
    fh_buf_printf(b, "%-30s: %10.6f ± %10.6f\n", label, e.value, e.error);
}

/* Percentiles: the largest first, the mean before them. */
static void text_spread(fh_buf *b, const fh_spread *s, bool kld) {
    const struct {
        const char *label;
        double v;
    } rows[] = {{"Maximum", s->max}, {"99.9%", s->p99_9},   {"99.0%", s->p99},  {"95.0%", s->p95}, {"90.0%", s->p90},
                {"75.0%", s->p75},   {"Median", s->median}, {"25.0%", s->p25},  {"10.0%", s->p10}, {" 5.0%", s->p05},
                {" 1.0%", s->p01},   {" 0.1%", s->p00_1},   {"Minimum", s->min}};
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        if (kld) fh_buf_printf(b, "%-7s KLD: %10.6f\n", rows[i].label, rows[i].v);
        else fh_buf_printf(b, "%-7s Δp: %6.3f%%\n", rows[i].label, 100 * rows[i].v);
    }
}

static void text_comparison(fh_buf *b, const fh_perplexity *p) {
    fh_buf_add_z(b, "\n====== Perplexity statistics ======\n");
    row(b, "Mean PPL(Q)", p->ppl);
    row(b, "Mean PPL(base)", p->base);
    fh_buf_printf(b, "%-30s: %6.2f%%\n", "Cor(ln(PPL(Q)), ln(PPL(base)))", 100 * p->correlation);
    row(b, "Mean ln(PPL(Q)/PPL(base))", p->log_ratio);
    row(b, "Mean PPL(Q)/PPL(base)", p->ratio);
    row(b, "Mean PPL(Q)-PPL(base)", p->difference);
    fh_buf_add_z(b, "\n====== KL divergence statistics ======\n");
    fh_buf_printf(b, "Mean    KLD: %10.6f ± %10.6f\n", p->kld.mean.value, p->kld.mean.error);
    text_spread(b, &p->kld, true);
    fh_buf_add_z(b, "\n====== Token probability statistics ======\n");
    fh_buf_printf(b, "Mean    Δp: %6.3f ± %5.3f %%\n", 100 * p->dp.mean.value, 100 * p->dp.mean.error);
    text_spread(b, &p->dp, false);
    fh_buf_printf(b, "RMS Δp    : %6.3f ± %5.3f %%\n", 100 * p->dp_rms.value, 100 * p->dp_rms.error);
    fh_buf_printf(b, "Same top p: %6.3f ± %5.3f %%\n\n", 100 * p->same_best.value, 100 * p->same_best.error);
}

static void text_report(fh_buf *b, const fh_perplexity *p) {
    if (p->compared) text_comparison(b, p);
    else fh_buf_add_byte(b, '\n');
    fh_buf_printf(b, "Final estimate: PPL = %.4f +/- %.5f\n", p->ppl.value, p->ppl.error);
    fh_buf_printf(b, "%llu tokens foretold in %u chunk%s of %u\n", (unsigned long long)p->n_row, p->n_chunk,
                  p->n_chunk == 1 ? "" : "s", p->n_ctx);
}

static void json_spread(fh_json_writer *w, const char *key, const fh_spread *s) {
    fh_json_put_key(w, key);
    fh_json_put_object(w);
    fh_put_estimate(w, "mean", s->mean);
#define FH_SPREAD_ROW(name, part) fh_json_put_key(w, #name), fh_json_put_f64(w, s->name);
    FH_SPREAD_ROWS
#undef FH_SPREAD_ROW
    fh_json_put_end(w);
}

static void json_report(fh_buf *b, const perplexity_run *r) {
    const fh_perplexity *p = &r->result;
    fh_json_writer w;
    fh_json_writer_init(&w, b, true);
    fh_json_put_object(&w);
    fh_put_estimate(&w, "perplexity", p->ppl);
    fh_put_u64(&w, "context", p->n_ctx);
    if (r->o->in.stride) fh_put_u64(&w, "stride", r->o->in.stride);
    fh_put_u64(&w, "chunks", p->n_chunk);
    fh_put_u64(&w, "tokens", p->n_row);
    fh_json_put_key(&w, "running");
    fh_json_put_array(&w);
    for (uint32_t i = 0; i < p->n_chunk; i++) fh_json_put_f64(&w, r->running[i]);
    fh_json_put_end(&w);
    if (p->compared) {
        fh_put_estimate(&w, "base_perplexity", p->base);
        fh_put_estimate(&w, "log_ratio", p->log_ratio);
        fh_put_estimate(&w, "ratio", p->ratio);
        fh_put_estimate(&w, "difference", p->difference);
        fh_json_put_key(&w, "correlation");
        fh_json_put_f64(&w, p->correlation);
        json_spread(&w, "kld", &p->kld);
        json_spread(&w, "delta_p", &p->dp);
        fh_put_estimate(&w, "delta_p_rms", p->dp_rms);
        fh_put_estimate(&w, "same_top", p->same_best);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(b, '\n');
}

/* ---- the command ---- */

static fh_status check(const perplexity_options *o, fh_err *err) {
    if (o->compare && !o->base)
        return fh_fail(err, FH_ERR_USAGE, "--kl-divergence wants --kl-divergence-base FILE: what to compare with");
    if (o->base && o->in.stride)
        return fh_fail(err, FH_ERR_USAGE, "--kl-divergence-base cannot go with --ppl-stride: the file knows no stride");
    if (o->compare && (o->in.file || o->in.skip))
        return fh_fail(err, FH_ERR_USAGE, "--kl-divergence takes its text from the base: no -f, no --from-chunk");
    if (o->base && !o->compare && !o->force && fh_file_get_kind(o->base) != FH_FILE_NONE)
        return fh_fail(err, FH_ERR_EXISTS, "'%.300s' exists; --kl-divergence compares with it, --force replaces it",
                       o->base);
    if (o->store && o->model.adapters.n)
        return fh_fail(err, FH_ERR_USAGE,
                       "--store cannot go with --adapter: the file alone would not give this result");
    return FH_OK;
}

/* Before the work, not after it. */
static fh_status check_store(const perplexity_run *r, fh_err *err) {
    const fh_bundle *b = fh_model_bundle(r->x.model);
    if (!r->o->store) return FH_OK;
    if (r->x.at.source != FH_SOURCE_PATH)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "--store into %s: only a file of your own can be changed",
                       fh_source_name(r->x.at.source));
    if (fh_bundle_form(b) != FH_FORM_GGUF)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "--store into '%.300s': only a GGUF has room for it", r->x.at.name);
    return FH_OK;
}

static fh_status store(const perplexity_run *r, fh_err *err) {
    const fh_bundle *b = fh_model_bundle(r->x.model);
    const perplexity_options *o = r->o;
    const fh_perplexity_origin from = {.by = FH_STR("freehold " FH_VERSION),
                                       .text = fh_path_base(fh_str_of(o->in.file ? o->in.file : o->base)),
                                       .text_sha256 = fh_str_of(o->in.sha256),
                                       .base = fh_path_base(fh_str_of(o->compare ? o->base : "")),
                                       .stride = (uint32_t)o->in.stride};
    FH_TRY(fh_perplexity_store(b, &r->result, &from, err));
    fprintf(r->cli->err,
            "freehold: stored in '%s'; checksums of the whole file that were recorded elsewhere are its "
            "old ones\n",
            fh_bundle_part_path(b, 0));
    return FH_OK;
}

static fh_status open_base(perplexity_run *r, fh_err *err) {
    if (!r->o->compare) return FH_OK;
    FH_TRY(fh_map_open(&r->map, r->o->base, err));
    const fh_status st = fh_logits_base_read(&r->base, fh_map_bytes(r->map), err);
    if (st != FH_OK) fh_err_set_path(err, r->o->base);
    return st;
}

static fh_status measure(perplexity_run *r, perplexity_options *o, const char *model, fh_err *err) {
    const fh_logits_base *base = o->compare ? &r->base : NULL;
    FH_TRY(check(o, err));
    FH_TRY(open_base(r, err));
    if (base) o->model.ctx = base->n_ctx;
    FH_TRY(fh_chunk_options_settle(&o->model, &o->in, err));
    FH_TRY(fh_opened_load(&r->x, r->cli, model, &o->model, err));
    FH_TRY(check_store(r, err));
    if (fh_model_purpose(r->x.model) != FH_EXPORT_LOGITS || fh_model_plan(r->x.model, FH_PLAN_ENCODE))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%.200s' does not foretell a text from its beginning", r->x.at.name);
    FH_TRY(fh_chunk_input_read(&r->chunks, &o->in, r->cli, model, &o->model, base, err));
    FH_TRY(fh_chunk_start(&r->x, &o->model, err));
    const fh_perplexity_options opt = {.save = o->compare ? NULL : o->base,
                                       .base = base,
                                       .stride = (uint32_t)o->in.stride,
                                       .threads = (int)o->model.threads,
                                       .batch = (uint32_t)o->model.batch,
                                       .adapters = fh_opened_adapters(&r->x),
                                       .chunk = show_chunk,
                                       .ctx = r};
    if (r->cli->json && !(r->running = fh_alloc(r->chunks.n, sizeof *r->running)))
        return fh_fail_memory(err, r->chunks.n * sizeof *r->running);
    fh_progress_start(&r->progress, r->cli, "perplexity", r->chunks.n);
    r->progress.on = r->progress.on && (r->cli->json || !isatty(fileno(r->cli->out)));
    fh_status st = fh_perplexity_measure(&r->result, &r->chunks, r->x.engine, &opt, err);
    fh_progress_end(&r->progress);
    if (st == FH_OK && r->map) st = fh_map_check(r->map, err);
    return st;
}

int fh_cmd_perplexity(fh_cli *cli) {
    perplexity_options o = {0};
    const char *model = NULL;
    const fh_option options[] = {
        FH_CHUNK_INPUT_ROWS(o.in, o.model),
        {"--ppl-stride", FH_OPTION_U64, &o.in.stride, "N",
         "chunks overlap: each begins N tokens behind the one before, and its last N are foretold (default: no)"},
        {"--kl-divergence-base", FH_OPTION_TEXT, &o.base, "FILE",
         "write this model's log-probabilities there, as llama.cpp does (default: no)"},
        {"--kl-divergence", FH_OPTION_FLAG, &o.compare, NULL,
         "compare with those in --kl-divergence-base, over the same text (default: no)"},
        {"--force", FH_OPTION_FLAG, &o.force, NULL, "replace the file of log-probabilities if it exists (default: no)"},
        {"--store", FH_OPTION_FLAG, &o.store, NULL,
         "put the result into the GGUF's own metadata, where `freehold show` finds it (default: no)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    perplexity_run r = {.cli = cli, .o = &o};
    fh_buf out;
    fh_buf_init(&r.line, MAX_OUTPUT);
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = measure(&r, &o, model, &err);
    if (st == FH_OK) {
        if (cli->json) json_report(&out, &r);
        else text_report(&out, &r.result);
        rc = fh_cli_print(cli, &out);
    }
    if (st == FH_OK && rc == 0 && o.store) st = store(&r, &err);
    fh_buf_release(&out);
    fh_free(r.running);
    fh_buf_release(&r.line);
    fh_chunks_release(&r.chunks);
    fh_opened_close(&r.x);
    fh_map_close(r.map);
    return st == FH_OK ? rc : fh_cli_fail(cli, &err);
}
