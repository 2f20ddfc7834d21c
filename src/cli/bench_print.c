/* cli/bench_print.c - the rows of `freehold bench`: a table for people, cells for programs.
 * SPDX-License-Identifier: Apache-2.0
 * The table is llama-bench's. Under each row stands its roofline, in the same columns: what a step moves and computes,
 * the ceilings that were measured, which of them is the nearer, and what share of it was reached. */
#include <ctype.h>
#include <time.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/num.h"
#include "cli/bench_part.h"
#include "library/model_text.h"

fh_status fh_bench_model_describe(fh_bench_model *out, const fh_opened *x, fh_err *err) {
    fh_facts f;
    char n[32];
    FH_TRY(fh_facts_gather(&f, fh_model_bundle(x->model), &x->at, err));
    *out = (fh_bench_model){.size = f.weight_bytes, .n_value = f.n_value, .what = fh_model_purpose(x->model)};
    snprintf(out->type, sizeof out->type, "%.*s %s %.*s", (int)FH_MIN(f.architecture.len, 40u), f.architecture.ptr,
             fh_cli_count(f.n_value, n, sizeof n), (int)FH_MIN(f.quantization.len, 24u), f.quantization.ptr);
    snprintf(out->path, sizeof out->path, "%s", x->at.path[0] ? x->at.path : x->at.name);
    fh_facts_release(&f);
    return FH_OK;
}

/* "f16", as llama-bench writes it */
static const char *type_name(fh_dtype t, char out[16]) {
    const char *name = fh_dtype_name(t);
    size_t n = 0;
    for (; n < 15 && name[n]; n++) out[n] = (char)tolower((unsigned char)name[n]);
    out[n] = '\0';
    return out;
}

/* Which ceiling is the nearer. What a step touches may lie in the caches; then memory is no limit to it. */
static const char *bound_of(const fh_bench_row *row, const fh_roofline *x) {
    double step = fh_roofline_bytes(&row->r->work) / FH_MAX(row->r->n_step, 1);
    if (!x->by_memory) return "compute";
    return step < (double)row->cache_bytes ? "cache" : "memory";
}

/* ---- md ---- */
enum { MODEL, SIZE, PARAMS, BACKEND, THREADS, N_BATCH, N_UBATCH, TYPE_K, TYPE_V, TEST, RATE, COLUMNS };
static const struct {
    const char *name;
    int width;
    bool left;
} column[COLUMNS] = {{"model", 30, true},   {"size", 10, false},   {"params", 10, false},  {"backend", 10, true},
                     {"threads", 7, false}, {"n_batch", 7, false}, {"n_ubatch", 8, false}, {"type_k", 6, false},
                     {"type_v", 6, false},  {"test", 15, false},   {"t/s", 20, false}};

static bool shown(const fh_bench_columns *c, int i) {
    if (i == N_BATCH) return c->n_batch;
    if (i == N_UBATCH) return c->n_ubatch;
    return c->type || (i != TYPE_K && i != TYPE_V);
}

/* Widths count characters: "±" is two bytes. */
static void put_line(fh_buf *b, const fh_bench_columns *c, const char *const text[COLUMNS]) {
    fh_buf_add_byte(b, '|');
    for (int i = 0; i < COLUMNS; i++) {
        if (!shown(c, i)) continue;
        int n = 0;
        for (const char *t = text[i]; *t; t++) n += (*t & 0xc0) != 0x80;
        int pad = FH_MAX(column[i].width - n, 0);
        fh_buf_printf(b, " %*s", column[i].left ? 0 : pad, "");
        fh_cli_add_safe(b, fh_str_of(text[i]));
        fh_buf_printf(b, "%*s |", column[i].left ? pad : 0, "");
    }
    fh_buf_add_byte(b, '\n');
}

static void md_head(fh_bench_sheet *s, const fh_bench_columns *c) {
    const char *name[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) name[i] = column[i].name;
    put_line(&s->buf, c, name);
    fh_buf_add_byte(&s->buf, '|');
    for (int i = 0; i < COLUMNS; i++) {
        if (!shown(c, i)) continue;
        fh_buf_add_byte(&s->buf, ' ');
        fh_buf_fill(&s->buf, '-', (size_t)column[i].width - !column[i].left);
        fh_buf_add_z(&s->buf, column[i].left ? " |" : ": |");
    }
    fh_buf_add_byte(&s->buf, '\n');
}

typedef struct texts {
    char size[32], params[32], backend[48], threads[16], n_batch[16], n_ubatch[16], test[FH_BENCH_NAME], rate[96];
    char model[96], type[16];
} texts;

static void md_speed(fh_buf *b, const fh_bench_columns *c, const fh_bench_row *row) {
    texts t;
    const fh_bench_result *r = row->r;
    const char *type = type_name(row->c->kv_type, t.type);
    snprintf(t.backend, sizeof t.backend, "CPU%s%s%s", row->exact ? " exact" : "", row->cpu_level ? " " : "",
             row->cpu_level ? row->cpu_level : "");
    snprintf(t.threads, sizeof t.threads, "%u", row->c->n_threads);
    snprintf(t.n_batch, sizeof t.n_batch, "%u", row->c->n_batch);
    snprintf(t.n_ubatch, sizeof t.n_ubatch, "%u", row->c->n_ubatch);
    if (row->first_token) {
        snprintf(t.rate, sizeof t.rate, "%.2f ± %.2f ms", r->avg_ns * 1e-6, r->stddev_ns * 1e-6);
    } else {
        snprintf(t.rate, sizeof t.rate, "%.2f ± %.2f", r->avg_ts, r->stddev_ts);
    }
    const char *test = row->first_token ? "first token" : fh_bench_case_name(row->c, t.test);
    const char *const text[COLUMNS] = {row->model->type,
                                       fh_cli_bytes(row->model->size, t.size, sizeof t.size),
                                       fh_cli_count(row->model->n_value, t.params, sizeof t.params),
                                       t.backend,
                                       t.threads,
                                       t.n_batch,
                                       t.n_ubatch,
                                       type,
                                       type,
                                       test,
                                       t.rate};
    put_line(b, c, text);
}

static void md_roofline(fh_buf *b, const fh_bench_columns *c, const fh_bench_row *row) {
    texts t;
    char bytes[32], ops[32];
    const fh_bench_result *r = row->r;
    fh_roofline x = fh_roofline_of(&r->work, row->ceilings);
    double steps = FH_MAX(r->n_step, 1);
    snprintf(t.model, sizeof t.model, "  %s, %s a step",
             fh_cli_rate(fh_roofline_bytes(&r->work) / steps, "B", bytes, sizeof bytes),
             fh_cli_rate(fh_roofline_ops(&r->work) / steps, "OP", ops, sizeof ops));
    snprintf(t.rate, sizeof t.rate, "%.1f%% of %.2f", 100 * x.seconds * 1e9 / FH_MAX(r->avg_ns, 1),
             x.seconds > 0 ? r->tokens / x.seconds : 0);
    const char *const text[COLUMNS] = {t.model,
                                       fh_cli_rate(row->ceilings->kind[FH_PEAK_READ].all, "B/s", t.size, sizeof t.size),
                                       fh_cli_rate(x.ops_per_s, "OP/s", t.params, sizeof t.params),
                                       bound_of(row, &x),
                                       "",
                                       "",
                                       "",
                                       "",
                                       "",
                                       "roofline",
                                       t.rate};
    put_line(b, c, text);
}

/* ---- cells ---- */
static void put_model(fh_bench_cells *c, const fh_bench_row *row, const char *type) {
    fh_bench_put_text(c, "freehold_version", FH_VERSION);
    fh_bench_put_text(c, "cpu_info", row->cpu);
    fh_bench_put_text(c, "cpu_level", fh_cpu_level_name(fh_cpu_best_level()));
    fh_bench_put_text(c, "backends", "CPU");
    fh_bench_put_bool(c, "exact", row->exact);
    fh_bench_put_text(c, "model_filename", row->model->path);
    fh_bench_put_text(c, "model_type", row->model->type);
    fh_bench_put_count(c, "model_size", row->model->size);
    fh_bench_put_count(c, "model_n_params", row->model->n_value);
    fh_bench_put_count(c, "n_batch", row->c->n_batch);
    fh_bench_put_count(c, "n_ubatch", row->c->n_ubatch);
    fh_bench_put_count(c, "n_threads", row->c->n_threads);
    fh_bench_put_text(c, "type_k", type);
    fh_bench_put_text(c, "type_v", type);
    fh_bench_put_bool(c, "embeddings", row->model->what != FH_EXPORT_LOGITS);
}

static void put_roofline(fh_bench_cells *c, const fh_bench_row *row) {
    static const char *const none[] = {"n_step",         "bytes",       "ops",           "ops_f32",
                                       "ops_bf16",       "ops_int8",    "read_peak",     "ops_peak",
                                       "roofline_bound", "roofline_ts", "roofline_share"};
    const fh_bench_result *r = row->r;
    for (size_t i = 0; !row->ceilings && i < FH_COUNT(none); i++) fh_bench_put_none(c, none[i]);
    if (!row->ceilings) return;
    fh_roofline x = fh_roofline_of(&r->work, row->ceilings);
    fh_bench_put_count(c, none[0], r->n_step);
    fh_bench_put_real(c, none[1], fh_roofline_bytes(&r->work));
    fh_bench_put_real(c, none[2], fh_roofline_ops(&r->work));
    fh_bench_put_real(c, none[3], r->work.ops[FH_PEAK_F32]);
    fh_bench_put_real(c, none[4], r->work.ops[FH_PEAK_BF16]);
    fh_bench_put_real(c, none[5], r->work.ops[FH_PEAK_INT8]);
    fh_bench_put_real(c, none[6], row->ceilings->kind[FH_PEAK_READ].all);
    fh_bench_put_real(c, none[7], x.ops_per_s);
    fh_bench_put_text(c, none[8], bound_of(row, &x));
    fh_bench_put_real(c, none[9], x.seconds > 0 ? r->tokens / x.seconds : 0);
    fh_bench_put_real(c, none[10], x.seconds * 1e9 / FH_MAX(r->avg_ns, 1));
}

static void put_lists(fh_bench_cells *c, const fh_bench_result *r) {
    fh_bench_put_count(c, "samples_ns", r->n_run);
    c->cell[c->n - 1].kind = FH_CELL_COUNTS;
    c->cell[c->n - 1].counts = r->ns;
    fh_bench_put_count(c, "samples_ts", r->n_run);
    c->cell[c->n - 1].kind = FH_CELL_REALS;
    c->cell[c->n - 1].counts = r->ns;
    c->cell[c->n - 1].per = r->tokens;
}

static void put_row(fh_bench_sheet *s, const fh_bench_row *row) {
    fh_bench_cells c = {.n = 0};
    char name[FH_BENCH_NAME], type[16], when[32] = "";
    time_t now = (time_t)(fh_clock_unix_ms() / 1000);
    struct tm day;
    if (gmtime_r(&now, &day)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &day);
    put_model(&c, row, type_name(row->c->kv_type, type));
    fh_bench_put_text(&c, "test", row->first_token ? "first token" : fh_bench_case_name(row->c, name));
    fh_bench_put_count(&c, "n_prompt", row->first_token ? 1 : row->c->n_prompt);
    fh_bench_put_count(&c, "n_gen", row->first_token ? 0 : row->c->n_gen);
    fh_bench_put_count(&c, "n_depth", row->first_token ? 0 : row->c->n_depth);
    fh_bench_put_count(&c, "n_streams", row->first_token ? 1 : row->c->n_streams);
    fh_bench_put_text(&c, "test_time", when);
    fh_bench_put_count(&c, "avg_ns", (uint64_t)(row->r->avg_ns + 0.5));
    fh_bench_put_count(&c, "stddev_ns", (uint64_t)(row->r->stddev_ns + 0.5));
    fh_bench_put_real(&c, "avg_ts", row->r->avg_ts);
    fh_bench_put_real(&c, "stddev_ts", row->r->stddev_ts);
    put_roofline(&c, row);
    put_lists(&c, row->r);
    fh_bench_sheet_add(s, &c);
}

void fh_bench_print_row(fh_bench_sheet *s, const fh_bench_columns *c, const fh_bench_row *row) {
    if (s->format != FH_BENCH_MD) {
        put_row(s, row);
        return;
    }
    if (s->n_row++ == 0) md_head(s, c);
    md_speed(&s->buf, c, row);
    if (row->ceilings) md_roofline(&s->buf, c, row);
    fh_bench_sheet_flush(s);
}
