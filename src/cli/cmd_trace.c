/* cli/cmd_trace.c - freehold trace: the named values between tokens and logits, to hold against a reference.
 * SPDX-License-Identifier: Apache-2.0
 * The tokens are computed in one batch in which every value keeps its memory. A line a value on stdout; --json gives
 * all numbers, --out a safetensors file with the same names. `freehold show MODEL --plan` lists the ops between
 * them. */
#include <fnmatch.h>
#include <math.h>

#include "base/json.h"
#include "base/num.h"
#include "cli/model_options.h"
#include "format/safetensors.h"
#include "library/model_text.h"

#define MAX_TOKENS ((size_t)1 << 16)
#define MAX_OUTPUT ((size_t)4 << 30)

typedef struct trace_options {
    const char *tokens, *decoder_tokens, *out;
    fh_cli_list values;
    fh_model_options model;
} trace_options;

/* One value, as it lies in the executor. */
typedef struct traced {
    const fh_value *value;
    const float *data; /* i32 where the value is_int */
    uint64_t rows;
    size_t n;
} traced;

typedef fh_status traced_fn(void *ctx, const traced *t, fh_err *err);

static bool wanted(const trace_options *o, fh_str name) {
    char text[256];
    if (o->values.n == 0) return true;
    if (!fh_str_copy(text, sizeof text, name)) return false;
    for (size_t i = 0; i < o->values.n; i++)
        if (fnmatch(o->values.item[i], text, 0) == 0) return true;
    return false;
}

static fh_status each_value(const fh_opened *x, const trace_options *o, fh_model_plan_kind kind, uint64_t tokens,
                            uint64_t rows, traced_fn *fn, void *ctx, fh_err *err) {
    const fh_plan *p = fh_model_plan(x->model, kind);
    fh_exec *exec = fh_engine_exec(x->engine, kind);
    const fh_extent e = {.size = {[FH_DIM_ONE] = 1, [FH_DIM_TOKENS] = tokens, [FH_DIM_ROWS] = rows}};
    for (uint32_t i = 0; p && i < p->n_value; i++) {
        traced t = {.value = &p->value[i], .data = fh_exec_value(exec, i), .rows = fh_value_rows(&p->value[i], &e)};
        if (!t.data || !wanted(o, t.value->name)) continue;
        if (!fh_mul_size((size_t)t.rows, t.value->width, &t.n))
            return fh_fail(err, FH_ERR_LIMIT, "a value is too large");
        if (t.n) FH_TRY(fn(ctx, &t, err));
    }
    return FH_OK;
}

/* ---- as text ---- */

static double number(const traced *t, size_t i) {
    int32_t v;
    if (!t->value->is_int) return (double)t->data[i];
    memcpy(&v, t->data + i, sizeof v);
    return v;
}

static fh_status print_line(void *ctx, const traced *t, fh_err *err) {
    fh_buf *out = ctx;
    double sum = 0, least = number(t, 0), most = least;
    (void)err;
    for (size_t i = 0; i < t->n; i++) {
        double v = number(t, i);
        sum += v * v;
        least = fmin(least, v);
        most = fmax(most, v);
    }
    fh_buf_printf(out, "%-34.*s %6llu x %-6u rms %-11.5g %.5g .. %.5g  [", FH_STR_ARG(t->value->name),
                  (unsigned long long)t->rows, t->value->width, sqrt(sum / (double)t->n), least, most);
    for (size_t i = 0; i < FH_MIN(t->n, (size_t)4); i++) fh_buf_printf(out, "%s%.5g", i ? " " : "", number(t, i));
    fh_buf_add_z(out, t->n > 4 ? " ...]\n" : "]\n");
    return FH_OK;
}

static fh_status put_json(void *ctx, const traced *t, fh_err *err) {
    fh_json_writer *w = ctx;
    (void)err;
    fh_json_put_key_str(w, t->value->name);
    fh_json_put_object(w);
    fh_json_put_key(w, "shape");
    fh_json_put_array(w);
    fh_json_put_u64(w, t->rows);
    fh_json_put_u64(w, t->value->width);
    fh_json_put_end(w);
    fh_json_put_key(w, "values");
    fh_json_put_array(w);
    for (size_t i = 0; i < t->n; i++) fh_json_put_f64(w, number(t, i));
    fh_json_put_end(w);
    fh_json_put_end(w);
    return FH_OK;
}

static fh_status add_tensor(void *ctx, const traced *t, fh_err *err) {
    const fh_tensor tensor = {.name = t->value->name,
                              .dtype = t->value->is_int ? FH_DTYPE_I32 : FH_DTYPE_F32,
                              .shape = {2, {t->rows, t->value->width}},
                              .data = {(const uint8_t *)t->data, t->n * sizeof(float)}};
    return fh_st_build_add_tensor(ctx, &tensor, err);
}

/* ---- the command ---- */

typedef struct traced_run {
    const trace_options *o;
    const fh_opened *x;
    uint64_t n_encoder, n_step;
} traced_run;

static fh_status each(const traced_run *r, traced_fn *fn, void *ctx, fh_err *err) {
    if (r->n_encoder) FH_TRY(each_value(r->x, r->o, FH_PLAN_ENCODE, r->n_encoder, 0, fn, ctx, err));
    return each_value(r->x, r->o, FH_PLAN_STEP, r->n_step, r->n_step, fn, ctx, err);
}

static fh_status print(const fh_cli *cli, const traced_run *r, fh_err *err) {
    fh_buf out;
    fh_json_writer w;
    fh_status s;
    fh_buf_init(&out, MAX_OUTPUT);
    if (cli->json) {
        fh_json_writer_init(&w, &out, false);
        fh_json_put_object(&w);
        s = each(r, put_json, &w, err);
        fh_json_put_end(&w);
        fh_buf_add_byte(&out, '\n');
    } else {
        s = each(r, print_line, &out, err);
    }
    if (s == FH_OK) s = fh_buf_check(&out, err);
    if (s == FH_OK && !out.len) s = fh_fail(err, FH_ERR_NOT_FOUND, "no value has such a name");
    if (s == FH_OK) (void)fh_cli_print(cli, &out);
    fh_buf_release(&out);
    return s;
}

static fh_status write_file(const traced_run *r, fh_err *err) {
    fh_st_build *b = NULL;
    FH_TRY(fh_st_build_new(&b, err));
    fh_status s = each(r, add_tensor, b, err);
    if (s == FH_OK) s = fh_st_write(b, r->o->out, NULL, NULL, err);
    fh_st_build_free(b);
    return s;
}

static fh_status no_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    (void)ctx, (void)work, (void)index, (void)row, (void)err;
    return FH_OK;
}

static fh_status trace(const fh_cli *cli, const fh_opened *x, const trace_options *o, const fh_ids *tokens,
                       const fh_ids *decoder, fh_err *err) {
    fh_session *s = NULL;
    bool both = fh_model_plan(x->model, FH_PLAN_ENCODE) != NULL;
    const fh_ids *in = both ? decoder : tokens;
    traced_run r = {.o = o, .x = x, .n_encoder = both ? tokens->len : 0, .n_step = in->len};
    FH_TRY(fh_opened_session(&s, x, &o->model, err));
    fh_status st = both ? fh_session_encode(s, tokens->ptr, (uint32_t)tokens->len, err) : FH_OK;
    fh_work work = {.session = s, .token = in->ptr, .n = (uint32_t)in->len, .want = FH_WANT_ALL};
    if (st == FH_OK) st = fh_engine_step(x->engine, &work, 1, fh_model_purpose(x->model), no_row, NULL, NULL, err);
    if (st == FH_OK) st = o->out ? write_file(&r, err) : print(cli, &r, err);
    fh_session_free(s);
    return st;
}

static fh_status start(fh_opened *x, const fh_cli *cli, trace_options *o, const char *model, fh_ids *tokens,
                       fh_ids *decoder, fh_err *err) {
    if (!o->tokens) return fh_fail(err, FH_ERR_USAGE, "--tokens is missing: ids, such as --tokens \"1 2 3\"");
    FH_TRY(fh_cli_parse_ids(tokens, o->tokens, "--tokens", err));
    if (tokens->len == 0) return fh_fail(err, FH_ERR_USAGE, "--tokens holds no token");
    FH_TRY(fh_opened_load(x, cli, model, &o->model, err));
    if (o->decoder_tokens) FH_TRY(fh_cli_parse_ids(decoder, o->decoder_tokens, "--decoder-tokens", err));
    else fh_ids_add(decoder, fh_model_spec(x->model)->decoder_start);
    FH_TRY(fh_ids_check(decoder, err));
    if (o->model.batch) return fh_fail(err, FH_ERR_USAGE, "freehold trace computes all tokens at once: no --batch");
    o->model.batch = (FH_MAX(tokens->len, decoder->len) + 127) / 64 * 64; /* pages do not cut it */
    return fh_opened_start(x, &o->model, 0, true, err);
}

int fh_cmd_trace(fh_cli *cli) {
    trace_options o = {0};
    const char *model = NULL;
    const fh_option options[] = {
        {"--tokens", FH_OPTION_TEXT, &o.tokens, "IDS", "\"1 2 3\": the text, or the encoder's input (needed)"},
        {"--decoder-tokens", FH_OPTION_TEXT, &o.decoder_tokens, "IDS",
         "the decoder's text so far (default: the token that starts an answer)"},
        {"--values", FH_OPTION_LIST, &o.values, "PATTERN",
         "names as a shell's patterns, such as 'layers.0.*'; may be repeated (default: all)"},
        {"--out", FH_OPTION_TEXT, &o.out, "FILE", "write them as safetensors (default: a line each)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_opened x = {0};
    fh_ids tokens, decoder;
    fh_ids_init(&tokens, MAX_TOKENS);
    fh_ids_init(&decoder, MAX_TOKENS);
    fh_status s = start(&x, cli, &o, model, &tokens, &decoder, &err);
    if (s == FH_OK) s = trace(cli, &x, &o, &tokens, &decoder, &err);
    fh_ids_release(&decoder);
    fh_ids_release(&tokens);
    fh_opened_close(&x);
    return s == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
