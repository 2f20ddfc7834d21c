/* cli/cmd_quantize.c - freehold quantize: a model in smaller numbers.
 * SPDX-License-Identifier: Apache-2.0
 * Exit 0: the new file is whole and in place. What becomes of each tensor goes to stdout (--json for programs),
 * progress to stderr. */
#include <ctype.h>

#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "forge/quantize.h"
#include "library/builtin.h"

#define MAX_OUTPUT ((size_t)1 << 28)
#define MAX_LIST 4096
#define MAX_TYPE_FILE ((size_t)1 << 20)

typedef struct quantize_args {
    const char *imatrix, *output_type, *embedding_type, *type_file, *prune;
    bool allow_requantize, leave_output, pure, keep_split, dry_run, force, verbose, no_tokenizer, measure;
    uint64_t threads;
    double bpw;
    fh_cli_list tensor_types, includes, excludes, set;
    fh_mix_override override[MAX_LIST];
    size_t n_override;
    uint32_t layer[MAX_LIST];
    size_t n_layer;
    fh_gguf_kv kv[FH_CLI_LIST_MOST];
    uint8_t number[FH_CLI_LIST_MOST][4]; /* what kv points to */
    char text[1 << 16];                  /* patterns in lower case */
    size_t n_text;
    fh_buf file; /* --tensor-type-file */
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

/* PATTERN=TYPE; patterns are compared in lower case, as tensors are named. */
static int add_override(quantize_args *a, fh_str text) {
    char shown[256];
    size_t len = text.len;
    while (len > 0 && text.ptr[len - 1] != '=') len--;
    snprintf(shown, sizeof shown, "%.*s", (int)FH_MIN(text.len, sizeof shown - 1), text.ptr);
    if (len < 2) return wrong("--tensor-type wants PATTERN=TYPE, not", shown);
    if (a->n_override == MAX_LIST) return wrong("too many tensor types:", shown);
    fh_mix_override *o = &a->override[a->n_override++];
    if (!fh_dtype_from_name((fh_str){text.ptr + len, text.len - len}, &o->type))
        return wrong("no such tensor type:", shown + FH_MIN(len, sizeof shown - 1));
    if (len > sizeof a->text - a->n_text) return wrong("too long:", shown);
    o->pattern = a->text + a->n_text;
    for (size_t i = 0; i + 1 < len; i++) a->text[a->n_text++] = (char)tolower((unsigned char)text.ptr[i]);
    a->text[a->n_text++] = 0;
    return 0;
}

/* A file of PATTERN=TYPE, between spaces or lines. */
static int read_type_file(const fh_cli *cli, quantize_args *a) {
    fh_err err = {0};
    if (!a->type_file) return 0;
    if (fh_file_read(a->type_file, &a->file, &err) != FH_OK) return fh_cli_fail(cli, &err);
    const fh_str s = fh_buf_str(&a->file);
    for (size_t at = 0; at < s.len;) {
        size_t end = at;
        while (end < s.len && !isspace((unsigned char)s.ptr[end])) end++;
        const int rc = end > at ? add_override(a, (fh_str){s.ptr + at, end - at}) : 0;
        if (rc) return rc;
        at = end + 1;
    }
    return 0;
}

static int read_types(const fh_cli *cli, quantize_args *a, fh_quantize_options *opt) {
    for (size_t i = 0; i < a->tensor_types.n; i++) {
        const int rc = add_override(a, fh_str_of(a->tensor_types.item[i]));
        if (rc) return rc;
    }
    const int rc = read_type_file(cli, a);
    if (rc) return rc;
    opt->mix.override = a->override;
    opt->mix.n_override = a->n_override;
    if (a->output_type && !fh_dtype_from_name(fh_str_of(a->output_type), &opt->mix.output))
        return wrong("no such tensor type:", a->output_type);
    if (a->embedding_type && !fh_dtype_from_name(fh_str_of(a->embedding_type), &opt->mix.embedding))
        return wrong("no such tensor type:", a->embedding_type);
    opt->mix.has_output = a->output_type != NULL;
    opt->mix.has_embedding = a->embedding_type != NULL;
    return 0;
}

/* "3,5,7" in any order, numbers twice or not. */
static int read_layers(quantize_args *a, fh_quantize_options *opt) {
    for (const char *p = a->prune ? a->prune : ""; *p;) {
        const size_t len = strcspn(p, ",");
        uint64_t n;
        size_t at = 0;
        if (!fh_str_u64((fh_str){p, len}, &n) || n >= 100000) return wrong("--prune-layers wants numbers, not", p);
        while (at < a->n_layer && a->layer[at] < n) at++;
        if (at == a->n_layer || a->layer[at] != n) {
            if (a->n_layer == MAX_LIST) return wrong("too many layers:", p);
            memmove(a->layer + at + 1, a->layer + at, (a->n_layer - at) * sizeof a->layer[0]);
            a->layer[at] = (uint32_t)n;
            a->n_layer++;
        }
        p += len;
        if (*p == ',' && !*++p) return wrong("--prune-layers wants a number behind", ",");
    }
    opt->prune = a->layer;
    opt->n_prune = a->n_layer;
    return 0;
}

/* KEY=TYPE:VALUE; integers become u32 and lose their sign, as peers have it. */
static int read_key(fh_gguf_kv *kv, uint8_t number[4], const char *text) {
    const char *eq = strchr(text, '='), *colon = eq ? strchr(eq, ':') : NULL;
    if (!colon || eq == text || eq - text > 127) return wrong("--override-kv wants KEY=TYPE:VALUE, not", text);
    const fh_str type = {eq + 1, (size_t)(colon - eq - 1)}, value = fh_str_of(colon + 1);
    *kv = (fh_gguf_kv){.key = {text, (size_t)(eq - text)}, .n = 1, .payload = {number, 4}};
    if (fh_str_is(type, "int")) {
        const bool minus = value.len > 0 && value.ptr[0] == '-';
        uint64_t n;
        kv->type = FH_GGUF_U32;
        if (!fh_str_u64((fh_str){value.ptr + minus, value.len - minus}, &n) || n > UINT32_MAX)
            return wrong("no integer of 32 bits:", value.ptr);
        memcpy(number, &(uint32_t){(uint32_t)n}, 4);
    } else if (fh_str_is(type, "float")) {
        double v;
        kv->type = FH_GGUF_F32;
        if (!fh_cli_number(value, &v)) return wrong("no number:", value.ptr);
        memcpy(number, &(float){(float)v}, 4);
    } else if (fh_str_is(type, "bool")) {
        kv->type = FH_GGUF_BOOL;
        kv->payload.len = 1;
        number[0] = fh_str_is(value, "true");
        if (!number[0] && !fh_str_is(value, "false")) return wrong("neither true nor false:", value.ptr);
    } else if (fh_str_is(type, "str")) {
        kv->type = FH_GGUF_STR;
        kv->payload = fh_bytes_of(value);
        if (value.len > 127) return wrong("longer than 127 bytes:", value.ptr);
    } else return wrong("--override-kv: the type is int, float, bool or str, not", eq + 1);
    return 0;
}

static int read_keys(quantize_args *a, fh_quantize_options *opt) {
    for (size_t i = 0; i < a->set.n; i++) {
        const int rc = read_key(&a->kv[i], a->number[i], a->set.item[i]);
        if (rc) return rc;
    }
    opt->set = a->kv;
    opt->n_set = a->set.n;
    return 0;
}

/* ---- what was or would be done ---- */

static void add_size(fh_buf *out, const char *what, uint64_t bytes, uint64_t values) {
    char n[32];
    fh_buf_printf(out, "%s%s, %.2f bits a number", what, fh_cli_bytes(bytes, n, sizeof n),
                  values ? (double)bytes * 8 / (double)values : 0.0);
}

/* How many tensors and numbers became what. */
static void text_types(fh_buf *out, const fh_quantize_plan *p) {
    uint64_t values[FH_DTYPE_COUNT] = {0}, bytes[FH_DTYPE_COUNT] = {0};
    size_t n[FH_DTYPE_COUNT] = {0};
    for (size_t i = 0; i < p->n; i++) {
        uint64_t count = 0;
        if (!fh_shape_count(&p->item[i].from->shape, &count)) continue;
        n[p->item[i].type]++;
        values[p->item[i].type] += count;
        bytes[p->item[i].type] += p->item[i].bytes;
    }
    fh_buf_printf(out, "%-8s %7s %10s %11s\n", "type", "tensors", "numbers", "size");
    for (unsigned t = 0; t < FH_DTYPE_COUNT; t++) {
        char count[32], size[32];
        if (n[t] == 0) continue;
        fh_buf_printf(out, "%-8s %7zu %10s %11s\n", fh_dtype_name((fh_dtype)t), n[t],
                      fh_cli_count(values[t], count, sizeof count), fh_cli_bytes(bytes[t], size, sizeof size));
    }
}

static void text_report(fh_buf *out, const fh_quantize_plan *p, bool all) {
    for (size_t i = 0; i < p->n && all; i++) {
        const fh_quantize_tensor *t = &p->item[i];
        char shape[160];
        fh_cli_add_safe(out, t->name);
        fh_buf_printf(out, "  %s  %s", fh_shape_text(&t->from->shape, shape, sizeof shape),
                      fh_dtype_name(t->from->dtype));
        if (t->type != t->from->dtype) fh_buf_printf(out, " -> %s", fh_dtype_name(t->type));
        if (t->fell_back) fh_buf_add_z(out, "  (its rows do not fit a better type)");
        fh_buf_add_byte(out, '\n');
    }
    text_types(out, p);
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
        fh_json_put_str(&w, t->name);
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

/* Two lines of progress, one after the other: measuring for a budget, then writing. */
typedef struct quantize_ui {
    const fh_cli *cli;
    fh_progress progress;
    const char *what;
} quantize_ui;

static void show(quantize_ui *ui, const char *what, uint64_t done, uint64_t total) {
    if (ui->what != what) {
        if (ui->what) fh_progress_end(&ui->progress);
        fh_progress_start(&ui->progress, ui->cli, what, total);
        ui->what = what;
    }
    fh_progress_at(&ui->progress, done);
}

static void show_measured(void *ctx, uint64_t done, uint64_t total) { show(ctx, "measure", done, total); }
static void show_written(void *ctx, uint64_t done, uint64_t total) { show(ctx, "quantize", done, total); }

static void show_note(void *ctx, const char *text) { fh_cli_note(((const quantize_ui *)ctx)->cli, text); }

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

static fh_status open_feed(fh_feed **out, const quantize_args *a, const char *in, const fh_quantize_options *opt,
                           quantize_ui *ui, fh_err *err) {
    const bool blocks = opt->mix.copy || (opt->bpw <= 0 && opt->mix.mix == FH_MIX_MXFP4_MOE);
    const fh_feed_options how = {.keep_blocks = blocks, .no_tokenizer = a->no_tokenizer, .note = show_note, .ctx = ui};
    fh_location at;
    fh_bundle *b = NULL;
    FH_TRY(fh_locate(&at, in, err));
    FH_TRY(fh_location_open(&b, &at, err));
    return fh_feed_open(out, b, &how, err);
}

static fh_status plan_and_write(const quantize_args *a, fh_feed *f, const char *to, fh_quantize_options *opt,
                                fh_quantize_plan **plan, quantize_ui *ui, fh_err *err) {
    fh_pool *pool = NULL;
    opt->measured = show_measured;
    opt->progress = show_written;
    opt->progress_ctx = ui;
    char probe[FH_PATH_MAX];
    if (a->measure) {
        const int n = snprintf(probe, sizeof probe, "%s.probe", to ? to : "");
        if (!to || opt->bpw <= 0 || n >= (int)sizeof probe)
            return fh_fail(err, FH_ERR_USAGE, "--measure goes with --bpw and OUT");
        opt->probe = probe;
    }
    FH_TRY(fh_pool_new(&pool, &(fh_pool_options){.n_worker = (int)a->threads}, err));
    fh_status st = fh_quantize_plan_new(plan, f, opt, pool, err);
    if (st == FH_OK && !a->dry_run) st = fh_quantize_write(*plan, f, to, opt, pool, err);
    if (ui->what) fh_progress_end(&ui->progress);
    fh_pool_free(pool);
    return st;
}

static int quantize(fh_cli *cli, const quantize_args *a, const char *in, const char *to, fh_quantize_options *opt,
                    const char *mix_name) {
    fh_err err = {0};
    fh_feed *f = NULL;
    fh_imatrix *imatrix = NULL;
    fh_quantize_plan *plan = NULL;
    quantize_ui ui = {.cli = cli};
    fh_buf out;
    int rc;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = open_feed(&f, a, in, opt, &ui, &err);
    if (st == FH_OK && !a->dry_run) st = refuse_same(fh_feed_bundle(f), to, a->force, &err);
    if (st == FH_OK) st = open_imatrix(&imatrix, a, &err);
    opt->imatrix = imatrix;
    opt->imatrix_path = a->imatrix;
    if (st == FH_OK) st = plan_and_write(a, f, to, opt, &plan, &ui, &err);
    if (st == FH_OK) {
        if (cli->json) json_report(&out, plan, to ? to : "", mix_name);
        else text_report(&out, plan, a->dry_run || a->verbose);
        rc = fh_cli_print(cli, &out);
    } else rc = fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    fh_quantize_plan_free(plan);
    fh_imatrix_free(imatrix);
    fh_feed_close(f);
    return rc;
}

/* IN OUT TYPE; a dry run has no OUT, a budget no TYPE. */
static int read_names(const fh_cli *cli, const quantize_args *a, const char *const pos[3], const char **to,
                      fh_quantize_options *opt, const char **mix) {
    const int wanted = 1 + !a->dry_run + (a->bpw <= 0);
    int n = 0;
    while (n < 3 && pos[n]) n++;
    if (n < wanted || (a->bpw > 0 && n > wanted)) {
        fprintf(cli->err, "freehold: quantize wants IN OUT TYPE, or IN OUT --bpw N\n");
        return list_types(cli);
    }
    *to = a->dry_run && n == wanted ? NULL : pos[1];
    opt->mix.mix = FH_MIX_Q4_K_M;
    if (a->bpw > 0) {
        *mix = "budget";
        opt->bpw = a->bpw;
        return a->pure ? wrong("--pure cannot go with", "--bpw") : 0;
    }
    const char *type = pos[n - 1];
    opt->mix.copy = strcasecmp(type, "COPY") == 0;
    if (!opt->mix.copy && !fh_mix_from_name(fh_str_of(type), &opt->mix.mix)) {
        (void)wrong("no such type:", type);
        return list_types(cli);
    }
    *mix = opt->mix.copy ? "COPY" : fh_mix_get(opt->mix.mix)->name;
    return 0;
}

static int run(fh_cli *cli, quantize_args *a) {
    const fh_option options[] = {
        {"--imatrix", FH_OPTION_TEXT, &a->imatrix, "FILE",
         "which weights matter: GGUF or the older .dat (default: none)"},
        {"--include-weights", FH_OPTION_LIST, &a->includes, "PART",
         "use it only for tensors with PART in the name; repeatable (default: all)"},
        {"--exclude-weights", FH_OPTION_LIST, &a->excludes, "PART",
         "do not use it for such tensors; repeatable (default: none)"},
        {"--bpw", FH_OPTION_F64, &a->bpw, "N",
         "instead of TYPE: types by what each tensor loses, N bits a number at the most (default: as TYPE says)"},
        {"--measure", FH_OPTION_FLAG, &a->measure, NULL,
         "with --bpw: run the model to see what a loss costs where; needs OUT, and room for the source beside it "
         "(default: estimate)"},
        {"--tensor-type", FH_OPTION_LIST, &a->tensor_types, "PATTERN=TYPE",
         "this type for tensors whose name the expression matches; repeatable, the first match counts (default: none)"},
        {"--tensor-type-file", FH_OPTION_TEXT, &a->type_file, "FILE",
         "the same from a file, between spaces or lines (default: none)"},
        {"--output-tensor-type", FH_OPTION_TEXT, &a->output_type, "TYPE",
         "of output.weight (default: the mix's choice)"},
        {"--token-embedding-type", FH_OPTION_TEXT, &a->embedding_type, "TYPE",
         "of the embeddings (default: the mix's choice)"},
        {"--leave-output-tensor", FH_OPTION_FLAG, &a->leave_output, NULL, "keep output.weight as it is (default: no)"},
        {"--pure", FH_OPTION_FLAG, &a->pure, NULL, "one type for all tensors, no mix (default: no)"},
        {"--keep-split", FH_OPTION_FLAG, &a->keep_split, NULL, "as many files as the source has (default: one)"},
        {"--prune-layers", FH_OPTION_TEXT, &a->prune, "N,N,...", "layers to leave out (default: none)"},
        {"--override-kv", FH_OPTION_LIST, &a->set, "KEY=TYPE:VALUE",
         "set a key of the file, TYPE int, float, bool or str; repeatable (default: none)"},
        {"--no-tokenizer", FH_OPTION_FLAG, &a->no_tokenizer, NULL,
         "safetensors: leave the tokenizer out (default: convert it, too)"},
        {"--allow-requantize", FH_OPTION_FLAG, &a->allow_requantize, NULL,
         "quantize what is quantized already (default: no)"},
        {"--dry-run", FH_OPTION_FLAG, &a->dry_run, NULL, "only say what each tensor would become (default: no)"},
        {"--verbose", FH_OPTION_FLAG, &a->verbose, NULL, "list each tensor (default: no)"},
        {"--force", FH_OPTION_FLAG, &a->force, NULL, "replace OUT if it exists (default: no)"},
        {"--threads", FH_OPTION_U64, &a->threads, "N", "(default: one per usable CPU)"},
    };
    const char *pos[3] = {NULL};
    fh_quantize_options opt = {.imatrix = NULL};
    const char *to = NULL, *mix = NULL;
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), pos, 3);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (!(a->bpw >= 0 && a->bpw <= 64)) return wrong("--bpw is a number from 0 to 64", "");
    rc = read_names(cli, a, pos, &to, &opt, &mix);
    if (rc) return rc;
    if (a->includes.n && a->excludes.n) return wrong("--include-weights cannot go with", "--exclude-weights");
    if (a->threads > 4096) return wrong("too many threads", "");
    rc = read_types(cli, a, &opt);
    if (!rc) rc = read_layers(a, &opt);
    if (!rc) rc = read_keys(a, &opt);
    if (rc) return rc;
    opt.mix.pure = a->pure;
    opt.mix.leave_output = a->leave_output;
    opt.requantize = a->allow_requantize;
    opt.keep_split = a->keep_split;
    return quantize(cli, a, pos[0], to, &opt, mix);
}

int fh_cmd_quantize(fh_cli *cli) {
    quantize_args *a = fh_alloc_zero(1, sizeof *a);
    fh_err err = {0};
    if (!a) {
        (void)fh_fail_memory(&err, sizeof *a);
        return fh_cli_fail(cli, &err);
    }
    fh_buf_init(&a->file, MAX_TYPE_FILE);
    const int rc = run(cli, a);
    fh_buf_release(&a->file);
    fh_free(a);
    return rc;
}
