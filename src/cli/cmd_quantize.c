/* cli/cmd_quantize.c - freehold quantize: a model in smaller numbers.
 * SPDX-License-Identifier: Apache-2.0
 * Exit 0: the new file is whole and in place. What becomes of each tensor goes to stdout (--json for programs),
 * progress to stderr. */
#include <ctype.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "forge/quantize.h"

#define MAX_OUTPUT ((size_t)1 << 28)
#define MAX_LIST 1024

/* Values of an option that may stand several times; they point into argv. */
typedef struct many {
    const char *item[MAX_LIST];
    size_t n;
} many;

typedef struct quantize_args {
    const char *imatrix, *tensor_type, *output_type, *embedding_type, *include, *exclude;
    bool allow_requantize, leave_output, pure, keep_split, dry_run, force, verbose;
    uint64_t threads;
    many tensor_types, includes, excludes;
    fh_mix_override override[MAX_LIST];
    char text[1 << 16]; /* patterns in lower case */
    size_t n_text;
} quantize_args;

static int wrong(const char *what, const char *value) {
    fprintf(stderr, "freehold: quantize: %s '%s'\n", what, value);
    return 2;
}

static int list_types(const fh_cli *cli) {
    fprintf(cli->err, "types:\n");
    for (unsigned m = 0; m < FH_MIX_COUNT; m++) {
        const fh_mix_info *i = fh_mix_get((fh_mix)m);
        fprintf(cli->err, "  %-10s %s\n", i->name, i->text);
    }
    fprintf(cli->err, "  %-10s %s\n", "COPY", "everything as it is, in one file");
    return 2;
}

/* All values of an option, which the table's parser keeps only the last of. */
static int collect(const fh_cli *cli, const char *name, many *out) {
    const size_t len = strlen(name);
    for (int i = 0; i < cli->argc && strcmp(cli->argv[i], "--") != 0; i++) {
        const char *value = NULL;
        if (strncmp(cli->argv[i], name, len) != 0) continue;
        if (cli->argv[i][len] == '=') value = cli->argv[i] + len + 1;
        else if (cli->argv[i][len] == 0 && i + 1 < cli->argc) value = cli->argv[i + 1];
        if (!value) continue;
        if (out->n == MAX_LIST) return wrong("too many of", name);
        out->item[out->n++] = value;
    }
    return 0;
}

/* PATTERN=TYPE; patterns are compared in lower case, as tensors are named. */
static int add_override(quantize_args *a, const char *text) {
    const char *eq = strrchr(text, '=');
    fh_mix_override *o = &a->override[a->tensor_types.n];
    const size_t len = eq ? (size_t)(eq - text) : 0;
    if (!eq || len == 0) return wrong("--tensor-type wants PATTERN=TYPE, not", text);
    if (!fh_dtype_from_name(fh_str_of(eq + 1), &o->type)) return wrong("no such tensor type:", eq + 1);
    if (len + 1 > sizeof a->text - a->n_text) return wrong("too long:", text);
    o->pattern = a->text + a->n_text;
    for (size_t i = 0; i < len; i++) a->text[a->n_text++] = (char)tolower((unsigned char)text[i]);
    a->text[a->n_text++] = 0;
    return 0;
}

static int read_types(quantize_args *a, fh_quantize_options *opt) {
    const size_t n = a->tensor_types.n;
    for (size_t i = 0; i < n; i++) {
        a->tensor_types.n = i;
        const int rc = add_override(a, a->tensor_types.item[i]);
        if (rc) return rc;
    }
    a->tensor_types.n = n;
    opt->mix.override = a->override;
    opt->mix.n_override = n;
    if (a->output_type && !fh_dtype_from_name(fh_str_of(a->output_type), &opt->mix.output))
        return wrong("no such tensor type:", a->output_type);
    if (a->embedding_type && !fh_dtype_from_name(fh_str_of(a->embedding_type), &opt->mix.embedding))
        return wrong("no such tensor type:", a->embedding_type);
    opt->mix.has_output = a->output_type != NULL;
    opt->mix.has_embedding = a->embedding_type != NULL;
    return 0;
}

/* ---- what was or would be done ---- */

static void add_size(fh_buf *out, const char *what, uint64_t bytes, uint64_t values) {
    char n[32];
    fh_buf_printf(out, "%s%s, %.2f bits a number", what, fh_cli_bytes(bytes, n, sizeof n),
                  values ? (double)bytes * 8 / (double)values : 0.0);
}

static void text_report(fh_buf *out, const fh_quantize_plan *p, bool all) {
    for (size_t i = 0; i < p->n && all; i++) {
        const fh_quantize_tensor *t = &p->item[i];
        char shape[160];
        fh_cli_add_safe(out, t->from->name);
        fh_buf_printf(out, "  %s  %s", fh_shape_text(&t->from->shape, shape, sizeof shape),
                      fh_dtype_name(t->from->dtype));
        if (t->type != t->from->dtype) fh_buf_printf(out, " -> %s", fh_dtype_name(t->type));
        if (t->fell_back) fh_buf_add_z(out, "  (its rows do not fit a better type)");
        fh_buf_add_byte(out, '\n');
    }
    add_size(out, "from    ", p->bytes_from, p->n_value);
    add_size(out, "\nto      ", p->bytes_to, p->n_value);
    fh_buf_add_byte(out, '\n');
    if (p->n_fell_back)
        fh_buf_printf(out, "note    %zu of %zu tensors have rows that do not fit their type\n", p->n_fell_back, p->n);
    if (p->n_missing) fh_buf_printf(out, "note    %zu tensors are not in the importance matrix\n", p->n_missing);
}

static void json_report(fh_buf *out, const fh_quantize_plan *p, const char *to, const char *mix) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "file");
    fh_json_put_z(&w, to);
    fh_json_put_key(&w, "type");
    fh_json_put_z(&w, mix);
    fh_json_put_key(&w, "bytes_from");
    fh_json_put_u64(&w, p->bytes_from);
    fh_json_put_key(&w, "bytes");
    fh_json_put_u64(&w, p->bytes_to);
    fh_json_put_key(&w, "values");
    fh_json_put_u64(&w, p->n_value);
    fh_json_put_key(&w, "tensors");
    fh_json_put_array(&w);
    for (size_t i = 0; i < p->n; i++) {
        const fh_quantize_tensor *t = &p->item[i];
        fh_json_put_object(&w);
        fh_json_put_key(&w, "name");
        fh_json_put_str(&w, t->from->name);
        fh_json_put_key(&w, "from");
        fh_json_put_z(&w, fh_dtype_name(t->from->dtype));
        fh_json_put_key(&w, "type");
        fh_json_put_z(&w, fh_dtype_name(t->type));
        fh_json_put_key(&w, "bytes");
        fh_json_put_u64(&w, t->bytes);
        fh_json_put_key(&w, "weighted");
        fh_json_put_bool(&w, t->weighted);
        fh_json_put_key(&w, "fallback");
        fh_json_put_bool(&w, t->fell_back);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

static void show_progress(void *ctx, uint64_t done, uint64_t total) {
    fh_progress *p = ctx;
    p->total = total;
    fh_progress_at(p, done);
}

static fh_status open_imatrix(fh_imatrix **out, const quantize_args *a, fh_err *err) {
    if (!a->imatrix) return FH_OK;
    FH_TRY(fh_imatrix_open(out, a->imatrix, err));
    if (a->excludes.n) fh_imatrix_filter(*out, a->excludes.item, a->excludes.n, false);
    if (a->includes.n) fh_imatrix_filter(*out, a->includes.item, a->includes.n, true);
    return FH_OK;
}

static fh_status refuse_same(const fh_bundle *b, const char *to, bool force, fh_err *err) {
    for (size_t i = 0; i < fh_bundle_n_part(b); i++)
        if (strcmp(fh_bundle_part_path(b, i), to) == 0)
            return fh_fail(err, FH_ERR_USAGE, "'%s' is the model itself", to);
    if (!force && fh_file_get_kind(to) != FH_FILE_NONE)
        return fh_fail(err, FH_ERR_EXISTS, "'%s' exists; --force replaces it", to);
    return FH_OK;
}

static fh_status write_file(const fh_cli *cli, const fh_quantize_plan *plan, const fh_bundle *b, const char *to,
                            const fh_quantize_options *wanted, uint64_t threads, fh_err *err) {
    fh_quantize_options opt = *wanted;
    fh_progress progress;
    fh_pool *pool;
    FH_TRY(fh_pool_new(&pool, &(fh_pool_options){.n_worker = (int)threads}, err));
    fh_progress_start(&progress, cli, "quantize", plan->bytes_from);
    opt.progress = show_progress;
    opt.progress_ctx = &progress;
    const fh_status st = fh_quantize_write(plan, b, to, &opt, pool, err);
    fh_progress_end(&progress);
    fh_pool_free(pool);
    return st;
}

static int quantize(fh_cli *cli, const quantize_args *a, const char *const *pos, fh_quantize_options *opt,
                    const char *mix_name) {
    fh_err err = {0};
    fh_bundle *b = NULL;
    fh_imatrix *imatrix = NULL;
    fh_quantize_plan *plan = NULL;
    fh_buf out;
    int rc;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = fh_bundle_open(&b, pos[0], &err);
    if (st == FH_OK && !a->dry_run) st = refuse_same(b, pos[1], a->force, &err);
    if (st == FH_OK) st = open_imatrix(&imatrix, a, &err);
    opt->imatrix = imatrix;
    opt->imatrix_path = a->imatrix;
    if (st == FH_OK) st = fh_quantize_plan_new(&plan, b, opt, &err);
    if (st == FH_OK && !a->dry_run) st = write_file(cli, plan, b, pos[1], opt, a->threads, &err);
    if (st == FH_OK) {
        if (cli->json) json_report(&out, plan, pos[1] ? pos[1] : "", mix_name);
        else text_report(&out, plan, a->dry_run || a->verbose);
        rc = fh_cli_print(cli, &out);
    } else rc = fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    fh_quantize_plan_free(plan);
    fh_imatrix_free(imatrix);
    fh_bundle_close(b);
    return rc;
}

static int run(fh_cli *cli, quantize_args *a) {
    const fh_option options[] = {
        {"--imatrix", FH_OPTION_TEXT, &a->imatrix, "FILE",
         "which weights matter: GGUF or the older .dat (default: none)"},
        {"--include-weights", FH_OPTION_TEXT, &a->include, "PART",
         "use it only for tensors with PART in the name; repeatable"},
        {"--exclude-weights", FH_OPTION_TEXT, &a->exclude, "PART", "do not use it for such tensors; repeatable"},
        {"--tensor-type", FH_OPTION_TEXT, &a->tensor_type, "PATTERN=TYPE",
         "this type for tensors whose name the expression matches; repeatable, the first match counts"},
        {"--output-tensor-type", FH_OPTION_TEXT, &a->output_type, "TYPE",
         "of output.weight (default: the mix's choice)"},
        {"--token-embedding-type", FH_OPTION_TEXT, &a->embedding_type, "TYPE",
         "of the embeddings (default: the mix's choice)"},
        {"--leave-output-tensor", FH_OPTION_FLAG, &a->leave_output, NULL, "keep output.weight as it is (default: no)"},
        {"--pure", FH_OPTION_FLAG, &a->pure, NULL, "one type for all tensors, no mix (default: no)"},
        {"--keep-split", FH_OPTION_FLAG, &a->keep_split, NULL, "as many files as the source has (default: one)"},
        {"--allow-requantize", FH_OPTION_FLAG, &a->allow_requantize, NULL,
         "quantize what is quantized already (default: no)"},
        {"--dry-run", FH_OPTION_FLAG, &a->dry_run, NULL, "only say what each tensor would become (default: no)"},
        {"--verbose", FH_OPTION_FLAG, &a->verbose, NULL, "list each tensor (default: no)"},
        {"--force", FH_OPTION_FLAG, &a->force, NULL, "replace OUT if it exists (default: no)"},
        {"--threads", FH_OPTION_U64, &a->threads, "N", "(default: one per usable CPU)"},
    };
    const char *pos[3] = {NULL};
    fh_quantize_options opt = {.imatrix = NULL};
    int rc = collect(cli, "--tensor-type", &a->tensor_types);
    if (!rc) rc = collect(cli, "--include-weights", &a->includes);
    if (!rc) rc = collect(cli, "--exclude-weights", &a->excludes);
    if (rc) return rc;
    rc = fh_cli_parse(cli, options, FH_COUNT(options), pos, 3);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    const char *type = pos[2];
    if (a->dry_run && !type) { /* IN TYPE is enough */
        type = pos[1];
        pos[1] = NULL;
    }
    if (!pos[0] || !type) {
        fprintf(cli->err, "freehold: quantize wants IN OUT TYPE\n");
        return list_types(cli);
    }
    opt.mix.copy = strcasecmp(type, "COPY") == 0;
    if (!opt.mix.copy && !fh_mix_from_name(fh_str_of(type), &opt.mix.mix)) {
        (void)wrong("no such type:", type);
        return list_types(cli);
    }
    if (a->includes.n && a->excludes.n) return wrong("--include-weights cannot go with", "--exclude-weights");
    if (a->threads > 4096) return wrong("too many threads", "");
    rc = read_types(a, &opt);
    if (rc) return rc;
    opt.mix.pure = a->pure;
    opt.mix.leave_output = a->leave_output;
    opt.requantize = a->allow_requantize;
    opt.keep_split = a->keep_split;
    return quantize(cli, a, pos, &opt, opt.mix.copy ? "COPY" : fh_mix_get(opt.mix.mix)->name);
}

int fh_cmd_quantize(fh_cli *cli) {
    quantize_args *a = fh_alloc_zero(1, sizeof *a);
    fh_err err = {0};
    if (!a) {
        (void)fh_fail_memory(&err, sizeof *a);
        return fh_cli_fail(cli, &err);
    }
    const int rc = run(cli, a);
    fh_free(a);
    return rc;
}
