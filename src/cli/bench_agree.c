/* cli/bench_agree.c - freehold bench --agree: a row for each model, and all of them together against the limits.
 * SPDX-License-Identifier: Apache-2.0
 * The limits and the arithmetic are evaluate/agree.h's. A model without logits is left out, which is said. */
#include "base/cpu.h"
#include "base/num.h"
#include "cli/bench_part.h"
#include "evaluate/agree.h"

#define MOST_TOKENS 4096u

typedef struct agreement {
    const fh_cli *cli;
    const fh_bench_agree_options *o;
    fh_bench_sheet sheet;
    fh_agree all;
    size_t n_model;
} agreement;

static void md_row(fh_buf *b, const char *name, const fh_agree_report *r) {
    fh_buf_add_z(b, "| ");
    fh_cli_add_safe(b, fh_str_of(name));
    fh_buf_printf(b, "%*s | %9zu | %10.2e | %10.2e | %8.2f%% | %7zu | %10.2e |\n",
                  (int)FH_MAX(30 - (int)strlen(name), 0), "", r->n, r->mean_kld, r->kld_999, 100 * r->top, r->n_asked,
                  r->nmse);
}

static void md_head(fh_buf *b) {
    fh_buf_printf(b, "| %-30s | %9s | %10s | %10s | %9s | %7s | %10s |\n", "model", "positions", "mean KLD",
                  "99.9% KLD", "top-1", "of", "NMSE");
    fh_buf_add_z(b, "| ------------------------------ | --------: | ---------: | ---------: | --------: | ------: | "
                    "---------: |\n");
}

static void add_row(agreement *g, const char *name, const char *path, const fh_agree_report *r) {
    if (g->sheet.format == FH_BENCH_MD) {
        if (g->sheet.n_row++ == 0) md_head(&g->sheet.buf);
        md_row(&g->sheet.buf, name, r);
        fh_bench_sheet_flush(&g->sheet);
        return;
    }
    fh_bench_cells c = {.n = 0};
    fh_bench_put_text(&c, "freehold_version", FH_VERSION);
    fh_bench_put_text(&c, "cpu_level", fh_cpu_level_name(fh_cpu_best_level()));
    fh_bench_put_text(&c, "model_type", name);
    fh_bench_put_text(&c, "model_filename", path);
    fh_bench_put_count(&c, "n_positions", r->n);
    fh_bench_put_real(&c, "mean_kld", r->mean_kld);
    fh_bench_put_real(&c, "kld_999", r->kld_999);
    fh_bench_put_real(&c, "top1_agreement", r->top);
    fh_bench_put_count(&c, "n_top1", r->n_asked);
    fh_bench_put_real(&c, "nmse", r->nmse);
    fh_bench_put_bool(&c, "kept", r->kept);
    fh_bench_sheet_add(&g->sheet, &c);
}

static fh_status read_tokens(const agreement *g, const fh_opened *x, const char *name, fh_ids *ids, fh_err *err) {
    uint32_t n = MOST_TOKENS, context = fh_model_spec(x->model)->n_context;
    if (g->o->tokens) {
        FH_TRY(fh_cli_parse_ids(ids, g->o->tokens, "--tokens", err));
        return ids->len ? FH_OK : fh_fail(err, FH_ERR_USAGE, "--tokens holds no token");
    }
    if (context && context - 1 < n) n = FH_MAX(context - 1, 1); /* an encoder's answer has one more */
    if (!fh_ids_room(ids, n)) return fh_fail_memory(err, n * sizeof(uint32_t));
    FH_TRY(fh_agree_tokens(x->model, name, ids->ptr, &n, err));
    ids->len = n;
    return FH_OK;
}

static fh_status compare(agreement *g, const fh_opened *x, const char *name, const char *type, fh_ids *ids,
                         fh_agree *one, fh_err *err) {
    fh_agree_report r;
    const fh_agree_options o = {.threads = g->o->threads, .batch = g->o->batch, .kv_type = g->o->kv_type};
    FH_TRY(read_tokens(g, x, name, ids, err));
    FH_TRY(fh_agree_run(one, x->model, ids->ptr, (uint32_t)ids->len, &o, err));
    fh_agree_settle(one);
    FH_TRY(fh_agree_judge(one, &r, err));
    add_row(g, type, x->at.path[0] ? x->at.path : x->at.name, &r);
    g->n_model++;
    return fh_agree_pool(&g->all, one, err);
}

static fh_status one_model(agreement *g, fh_opened *x, const char *name, bool first, fh_err *err) {
    fh_bench_model model;
    fh_ids ids;
    fh_agree one = {0};
    const fh_model_options mo = {.cpu_level = first ? g->o->cpu_level : NULL};
    FH_TRY(fh_opened_load(x, g->cli, name, &mo, err));
    FH_TRY(fh_bench_model_describe(&model, x, err));
    if (model.what != FH_EXPORT_LOGITS) {
        fprintf(g->cli->err, "freehold: left out: %s: its results are no logits\n", model.path);
        return FH_OK;
    }
    fh_ids_init(&ids, (size_t)1 << 20);
    fh_status st = compare(g, x, name, model.type, &ids, &one, err);
    fh_ids_release(&ids);
    fh_agree_release(&one);
    return st;
}

/* Exit code. */
static int verdict(agreement *g, fh_err *err) {
    fh_agree_report r;
    if (fh_agree_judge(&g->all, &r, err) != FH_OK) return fh_cli_fail(g->cli, err);
    if (g->n_model > 1) add_row(g, "all together", "", &r);
    if (r.kept) return 0;
    fprintf(g->cli->err,
            "freehold: fast mode does not say what exact mode says: mean KLD %.2e (at most %.0e), the same first token "
            "at %.2f%% (at least %.0f%%)\n",
            r.mean_kld, FH_AGREE_MOST_KLD, 100 * r.top, 100 * FH_AGREE_LEAST_TOP);
    return 1;
}

int fh_bench_agree(const fh_cli *cli, fh_bench_format format, const char *const *model, size_t n_model,
                   const fh_bench_agree_options *o) {
    fh_err err = {0};
    fh_status st = FH_OK;
    agreement g = {.cli = cli, .o = o};
    fh_progress progress;
    fh_progress_start(&progress, cli, "comparing", n_model);
    fh_bench_sheet_open(&g.sheet, cli, format);
    for (size_t i = 0; st == FH_OK && i < n_model; i++) {
        fh_opened x = {.cli = cli};
        st = one_model(&g, &x, model[i], i == 0, &err);
        fh_opened_close(&x);
        fh_progress_at(&progress, i + 1);
    }
    fh_progress_end(&progress);
    int rc = st == FH_OK ? verdict(&g, &err) : fh_cli_fail(cli, &err);
    int closed = fh_bench_sheet_close(&g.sheet, st == FH_OK);
    fh_agree_release(&g.all);
    return rc ? rc : closed;
}
