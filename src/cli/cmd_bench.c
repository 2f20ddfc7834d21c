/* cli/cmd_bench.c - freehold bench: how fast a model is here, as llama-bench asks and answers it, with rooflines.
 * SPDX-License-Identifier: Apache-2.0
 * Reads options, goes through models and cases, hands rows to bench_print.c. Measuring is evaluate/bench.h's, what the
 * numbers mean evaluate/roofline.h's, --agree evaluate/agree.h's. */
#include "base/machine.h"
#include "base/num.h"
#include "cli/bench_part.h"

#define MOST_MODELS 256
#define MOST_THREADS 1024

typedef struct bench_options {
    fh_cli_list model, prompt, gen, depth, batch, ubatch, threads, streams, type_k, type_v, pg;
    const char *format, *cpu_level, *tokens;
    uint64_t runs;
    bool exact, first_token, agree, no_warmup, no_roofline;
} bench_options;

typedef struct bench {
    const fh_cli *cli;
    bench_options o;
    const char *positional[MOST_MODELS];
    const char *model[MOST_MODELS];
    size_t n_model;
    fh_buf names; /* models out of comma lists, each with a NUL behind it */
    fh_bench_grid grid;
    fh_bench_case *cases;
    size_t n_case;
    fh_ceilings ceilings[FH_BENCH_LIST_MOST]; /* by place in the list of threads */
    bool measured[FH_BENCH_LIST_MOST];
    fh_bench_columns columns;
    fh_bench_sheet sheet;
    fh_bench_options run;
    fh_progress progress;
    uint64_t done;
    fh_machine machine;
    fh_bench_result result;
} bench;

/* ---- options ---- */

static fh_status too_many(const char *text, fh_err *err) {
    return fh_fail(err, FH_ERR_USAGE, "'%.200s' is one model too many: one run measures at most %d", text, MOST_MODELS);
}

/* A path with commas in it is a path; else commas part models. */
static fh_status add_models(bench *b, const char *text, fh_err *err) {
    fh_str rest = fh_str_of(text);
    while (fh_file_get_kind(text) == FH_FILE_NONE) {
        size_t cut = rest.len;
        bool more = fh_str_find(rest, ',', &cut);
        if (b->n_model == MOST_MODELS) return too_many(text, err);
        b->model[b->n_model++] = (const char *)b->names.ptr + b->names.len; /* room was made for all */
        fh_buf_add_str(&b->names, fh_str_first(rest, cut));
        fh_buf_add_byte(&b->names, 0);
        if (!more) return FH_OK;
        rest = fh_str_drop(rest, cut + 1);
    }
    if (b->n_model == MOST_MODELS) return too_many(text, err);
    b->model[b->n_model++] = text;
    return FH_OK;
}

static fh_status read_models(bench *b, fh_err *err) {
    size_t room = 1;
    for (size_t i = 0; i < b->o.model.n; i++) room += strlen(b->o.model.item[i]) + 1;
    for (size_t i = 0; i < MOST_MODELS && b->positional[i]; i++) room += strlen(b->positional[i]) + 1;
    if (!fh_buf_extend(&b->names, room)) return fh_fail_memory(err, room);
    b->names.len = 0; /* the bytes stay where they are from now on */
    for (size_t i = 0; i < b->o.model.n; i++) FH_TRY(add_models(b, b->o.model.item[i], err));
    for (size_t i = 0; i < MOST_MODELS && b->positional[i]; i++) FH_TRY(add_models(b, b->positional[i], err));
    if (b->n_model == 0) b->model[b->n_model++] = NULL; /* the built-in one */
    return fh_buf_check(&b->names, err);
}

static fh_status add_all(fh_bench_list *l, const fh_cli_list *text, const char *option, uint32_t least, uint32_t most,
                         fh_err *err) {
    for (size_t i = 0; i < text->n; i++) FH_TRY(fh_bench_list_add(l, text->item[i], option, least, most, err));
    return FH_OK;
}

static fh_status read_grid(bench *b, fh_err *err) {
    const bench_options *o = &b->o;
    fh_bench_grid *g = &b->grid;
    FH_TRY(add_all(&g->n_prompt, &o->prompt, "--n-prompt", 0, 1u << 24, err));
    FH_TRY(add_all(&g->n_gen, &o->gen, "--n-gen", 0, 1u << 24, err));
    FH_TRY(add_all(&g->n_depth, &o->depth, "--n-depth", 0, 1u << 24, err));
    FH_TRY(add_all(&g->n_batch, &o->batch, "--batch-size", 1, 1u << 20, err));
    FH_TRY(add_all(&g->n_ubatch, &o->ubatch, "--ubatch-size", 1, 1u << 20, err));
    FH_TRY(add_all(&g->n_threads, &o->threads, "--threads", 1, MOST_THREADS, err));
    FH_TRY(add_all(&g->n_streams, &o->streams, "--streams", 1, FH_BENCH_MOST_STREAMS, err));
    for (size_t i = 0; i < o->type_k.n; i++)
        FH_TRY(fh_bench_list_add_types(&g->type_k, o->type_k.item[i], "--cache-type-k", err));
    for (size_t i = 0; i < o->type_v.n; i++)
        FH_TRY(fh_bench_list_add_types(&g->type_v, o->type_v.item[i], "--cache-type-v", err));
    for (size_t i = 0; i < o->pg.n; i++) FH_TRY(fh_bench_grid_add_pair(g, o->pg.item[i], err));
    g->usable_threads = (uint32_t)fh_machine_usable_cpus();
    fh_bench_grid_set_defaults(g);
    if (o->exact && o->type_k.n + o->type_v.n == 0) g->type_k.v[0] = g->type_v.v[0] = FH_DTYPE_F32;
    if (o->runs < 1 || o->runs > FH_BENCH_MOST_RUNS)
        return fh_fail(err, FH_ERR_USAGE, "--repetitions is from 1 to %d, not %llu", FH_BENCH_MOST_RUNS,
                       (unsigned long long)o->runs);
    return fh_bench_grid_cases(g, &b->cases, &b->n_case, err);
}

static bool is_alone(const fh_bench_list *l, uint32_t v) { return l->n == 1 && l->v[0] == v; }

static void choose_columns(bench *b) {
    const fh_bench_grid *g = &b->grid;
    b->columns = (fh_bench_columns){.n_batch = !is_alone(&g->n_batch, 2048),
                                    .n_ubatch = !is_alone(&g->n_ubatch, 512),
                                    .type = !is_alone(&g->type_k, b->o.exact ? FH_DTYPE_F32 : FH_DTYPE_F16)};
}

/* ---- speed ---- */
static void ran(void *ctx) {
    bench *b = ctx;
    fh_progress_at(&b->progress, ++b->done);
}

/* Of the case's threads, measured when it is first asked for. */
static fh_status ceilings_of(bench *b, const fh_bench_case *c, const fh_ceilings **out, fh_err *err) {
    *out = NULL;
    for (size_t i = 0; !b->o.no_roofline && !*out && i < b->grid.n_threads.n; i++) {
        if (b->grid.n_threads.v[i] != c->n_threads) continue;
        if (!b->measured[i]) FH_TRY(fh_roofline_measure(&b->ceilings[i], c->n_threads, err));
        b->measured[i] = true;
        *out = &b->ceilings[i];
    }
    return FH_OK;
}

static void print_row(bench *b, const fh_bench_row *row) {
    fh_progress_end(&b->progress); /* a line of its own would lie under the table */
    b->progress.drawn = false;
    fh_bench_print_row(&b->sheet, &b->columns, row);
}

static fh_status run_case(bench *b, fh_bench *runs, fh_bench_row *row, fh_err *err) {
    char name[FH_BENCH_NAME];
    const char *why_not = fh_bench_why_not(runs, row->c);
    if (why_not) {
        b->done += b->run.runs + !b->run.no_warmup;
        fprintf(b->cli->err, "freehold: left out: %s of %s: %s\n", fh_bench_case_name(row->c, name), row->model->path,
                why_not);
        return FH_OK;
    }
    FH_TRY(ceilings_of(b, row->c, &row->ceilings, err));
    FH_TRY(fh_bench_run(runs, row->c, &b->result, err));
    print_row(b, row);
    return FH_OK;
}

static fh_status first_token(bench *b, const fh_opened *x, fh_bench_row *row, fh_err *err) {
    row->c = &b->cases[0];
    row->first_token = true;
    row->ceilings = NULL;
    FH_TRY(fh_bench_first_token(&x->at, row->model->what, row->c, &b->run, &b->result, err));
    print_row(b, row);
    row->first_token = false;
    return FH_OK;
}

static fh_status run_model(bench *b, fh_opened *x, const char *name, bool first, fh_err *err) {
    fh_bench_model model;
    fh_bench *runs = NULL;
    fh_model_options mo = {.cpu_level = first ? b->o.cpu_level : NULL};
    FH_TRY(fh_opened_load(x, b->cli, name, &mo, err));
    FH_TRY(fh_bench_model_describe(&model, x, err));
    FH_TRY(fh_bench_new(&runs, x->model, model.what, &b->run, err));
    fh_bench_row row = {.model = &model,
                        .r = &b->result,
                        .cpu = b->machine.cpu.model,
                        .cpu_level = b->o.cpu_level,
                        .cache_bytes = b->machine.cpu.l3_bytes * (uint64_t)FH_MAX(b->machine.cpu.l3_instances, 1),
                        .exact = b->o.exact};
    fh_status st = FH_OK;
    if (b->o.first_token) st = first_token(b, x, &row, err);
    for (size_t i = 0; st == FH_OK && i < b->n_case; i++) {
        row.c = &b->cases[i];
        st = run_case(b, runs, &row, err);
    }
    fh_bench_free(runs);
    return st;
}

static int measure(bench *b, fh_bench_format format) {
    fh_err err = {0};
    fh_status st = FH_OK;
    fh_machine_read(&b->machine);
    choose_columns(b);
    uint32_t most_streams = 1;
    for (size_t i = 0; i < b->n_case; i++) most_streams = FH_MAX(most_streams, b->cases[i].n_streams);
    b->run = (fh_bench_options){.runs = (uint32_t)b->o.runs,
                                .most_streams = most_streams,
                                .no_warmup = b->o.no_warmup,
                                .exact = b->o.exact,
                                .ran = ran,
                                .ctx = b};
    uint64_t each = b->run.runs + !b->run.no_warmup, first = b->o.first_token ? b->run.runs + 1 : 0;
    fh_progress_start(&b->progress, b->cli, "measuring", b->n_model * (b->n_case * each + first));
    fh_bench_sheet_open(&b->sheet, b->cli, format);
    for (size_t i = 0; st == FH_OK && i < b->n_model; i++) {
        fh_opened x = {.cli = b->cli};
        st = run_model(b, &x, b->model[i], i == 0, &err);
        fh_opened_close(&x);
    }
    fh_progress_end(&b->progress);
    int rc = fh_bench_sheet_close(&b->sheet, st == FH_OK);
    return st == FH_OK ? rc : fh_cli_fail(b->cli, &err);
}

static int agree(bench *b, fh_bench_format format) {
    const fh_bench_agree_options o = {.tokens = b->o.tokens,
                                      .cpu_level = b->o.cpu_level,
                                      .threads = b->grid.n_threads.v[0],
                                      .batch = b->o.ubatch.n ? b->grid.n_ubatch.v[0] : 0,
                                      .kv_type = (fh_dtype)b->grid.type_k.v[0]};
    return fh_bench_agree(b->cli, format, b->model, b->n_model, &o);
}

static int parse(fh_cli *cli, bench *b) {
    bench_options *o = &b->o;
    const fh_option options[] = {
        {"-m", FH_OPTION_LIST, &o->model, "MODEL", "a model, or several with commas (default: the built-in one)"},
        {"--model", FH_OPTION_LIST, &o->model, "MODEL", "as -m"},
        {"-p", FH_OPTION_LIST, &o->prompt, "N", "tokens of a prompt; 0: no such test (default: 512)"},
        {"--n-prompt", FH_OPTION_LIST, &o->prompt, "N", "as -p"},
        {"-n", FH_OPTION_LIST, &o->gen, "N", "tokens generated one by one; 0: no such test (default: 128)"},
        {"--n-gen", FH_OPTION_LIST, &o->gen, "N", "as -n"},
        {"-pg", FH_OPTION_LIST, &o->pg, "P,N",
         "a prompt and what is generated behind it, timed together (default: none)"},
        {"-d", FH_OPTION_LIST, &o->depth, "N", "tokens that are there before the clock starts (default: 0)"},
        {"--n-depth", FH_OPTION_LIST, &o->depth, "N", "as -d"},
        {"--streams", FH_OPTION_LIST, &o->streams, "N", "sequences that are generated together (default: 1)"},
        {"-t", FH_OPTION_LIST, &o->threads, "N", "threads (default: one per CPU that this process may use)"},
        {"--threads", FH_OPTION_LIST, &o->threads, "N", "as -t"},
        {"-b", FH_OPTION_LIST, &o->batch, "N", "tokens of a prompt in one call (default: 2048)"},
        {"--batch-size", FH_OPTION_LIST, &o->batch, "N", "as -b"},
        {"-ub", FH_OPTION_LIST, &o->ubatch, "N", "tokens computed at once (default: 512; with --agree 64)"},
        {"--ubatch-size", FH_OPTION_LIST, &o->ubatch, "N", "as -ub"},
        {"-ctk", FH_OPTION_LIST, &o->type_k, "TYPE",
         "keys and values as f32, f16, bf16, q8_0 (default: f16; exact: f32)"},
        {"--cache-type-k", FH_OPTION_LIST, &o->type_k, "TYPE", "as -ctk"},
        {"-ctv", FH_OPTION_LIST, &o->type_v, "TYPE", "as -ctk: values are of the type of keys"},
        {"--cache-type-v", FH_OPTION_LIST, &o->type_v, "TYPE", "as -ctv"},
        {"-r", FH_OPTION_U64, &o->runs, "N", "runs of each test, behind one that is not counted (default: 5)"},
        {"--repetitions", FH_OPTION_U64, &o->runs, "N", "as -r"},
        {"--no-warmup", FH_OPTION_FLAG, &o->no_warmup, NULL, "count the first run, too (default: no)"},
        {"-o", FH_OPTION_TEXT, &o->format, "FORMAT", "md, csv, json or jsonl (default: md)"},
        {"--output", FH_OPTION_TEXT, &o->format, "FORMAT", "as -o"},
        {"--cpu-level", FH_OPTION_TEXT, &o->cpu_level, "LEVEL",
         "use no instructions above this level: ref, avx2, ... (default: all that `freehold doctor` proves)"},
        {"--exact", FH_OPTION_FLAG, &o->exact, NULL, "time exact mode (default: fast mode)"},
        {"--first-token", FH_OPTION_FLAG, &o->first_token, NULL,
         "also: from opening the file, which is in the system's cache, to the first token (default: no)"},
        {"--no-roofline", FH_OPTION_FLAG, &o->no_roofline, NULL,
         "do not measure what the machine can do at most: two seconds, up to 1 GiB (default: do)"},
        {"--agree", FH_OPTION_FLAG, &o->agree, NULL,
         "instead: does fast mode say what exact mode says; exit code 1 if not (default: no)"},
        {"--tokens", FH_OPTION_TEXT, &o->tokens, "IDS", "with --agree: the text (default: a built-in one)"}};
    return fh_cli_parse(cli, options, FH_COUNT(options), b->positional, MOST_MODELS);
}

int fh_cmd_bench(fh_cli *cli) {
    fh_err err = {0};
    fh_bench_format format = FH_BENCH_MD;
    bench *b = fh_alloc_zero(1, sizeof *b);
    if (!b) {
        (void)fh_fail_memory(&err, sizeof *b);
        return fh_cli_fail(cli, &err);
    }
    b->cli = cli;
    b->o.runs = 5;
    fh_buf_init(&b->names, 1u << 22);
    int rc = parse(cli, b);
    if (rc == 0) {
        fh_status st = fh_bench_format_of(&format, cli, b->o.format, &err);
        if (st == FH_OK) st = read_models(b, &err);
        if (st == FH_OK) st = read_grid(b, &err);
        if (st == FH_OK && b->o.tokens && !b->o.agree) st = fh_fail(&err, FH_ERR_USAGE, "--tokens is for --agree");
        rc = st != FH_OK ? fh_cli_fail(cli, &err) : b->o.agree ? agree(b, format) : measure(b, format);
    }
    fh_free(b->cases);
    fh_buf_release(&b->names);
    fh_free(b);
    return rc == FH_CLI_STOP ? 0 : rc;
}
