/* cli/cmd_fit.c - freehold fit: will a model run here or there, in which quantization, how fast.
 * SPDX-License-Identifier: Apache-2.0
 * The answer is the result, whatever it is: exit 0. Bytes are counted, speeds are a roofline; what is assumed stands
 * under the answer, and what is not known is "unknown". Nothing is fetched. */
#include "base/chart_svg.h"
#include "base/file.h"
#include "base/json_member.h"
#include "base/machine.h"
#include "base/num.h"
#include "cli/cli.h"
#include "evaluate/ceilings.h"
#include "infer/engine.h"
#include "library/fit.h"

#define MAX_OUTPUT ((size_t)1 << 26)
#define MOST_QUANTS 16
#define MOST_POINTS 24
#define DEFAULT_CONTEXT 8192u
#define BAR 40

typedef struct fit_report {
    fh_fit_shape s;
    fh_fit_device device;
    fh_fit_ask ask;
    fh_fit_answer answer[MOST_QUANTS];
    bool offered[MOST_QUANTS]; /* smaller than what is published */
    size_t n;
    const fh_fit_quant *best;
    bool measured;
} fit_report;

static const char *const SOURCES[] = {"files on this machine", "a config.json, without weights", "the catalogue"};

/* ---- this machine ---- */
static fh_status read_this(fh_fit_device *d, bool measure, fh_err *err) {
    fh_machine m;
    fh_machine_read(&m);
    *d = (fh_fit_device){
        .n = 1, .here = true, .memory_bytes = m.memory.usable_bytes, .e_read = 0.8, .e_flops = 0.2, .checked_on = ""};
    snprintf(d->name, sizeof d->name, "this machine");
    if (!measure) return FH_OK;
    fh_pool *pool = NULL;
    fh_ceilings c;
    const fh_pool_options options = {.n_worker = 0};
    const fh_ceilings_options quick = {0};
    FH_TRY(fh_pool_new(&pool, &options, err));
    fh_status st = fh_ceilings_measure(&c, pool, &m, &quick, err);
    fh_pool_free(pool);
    if (st != FH_OK) return st;
    d->read = c.kind[FH_PEAK_READ].all;
    for (int k = 0; k < FH_PEAK_KINDS; k++)
        if (k != FH_PEAK_READ) d->flops = FH_MAX(d->flops, c.kind[k].all);
    return FH_OK;
}

static void judge_all(fit_report *r) {
    const fh_fit_quant *q = fh_fit_quants(&r->n);
    r->n = FH_MIN(r->n, (size_t)MOST_QUANTS);
    r->best = fh_fit_best(&r->s, &r->device, &r->ask, r->answer);
    for (size_t i = 0; i < r->n; i++)
        r->offered[i] =
            r->answer[i].known && (q[i].stored || !r->answer[0].known || r->answer[i].weights < r->answer[0].weights);
    if (r->best && !r->best->stored && r->answer[0].known && !r->offered[r->best - q]) r->best = NULL;
}

/* ---- text ---- */
static const char *rate(double v, char *out, size_t size) {
    if (!(v > 0)) snprintf(out, size, "-");
    else if (v < 9.95) snprintf(out, size, "%.1f", v);
    else snprintf(out, size, "%.0f", v);
    return out;
}

static void text_model(fh_buf *out, const fit_report *r) {
    char a[32], b[32];
    const fh_fit_shape *s = &r->s;
    fh_cli_add_safe(out, s->name);
    if (s->row)
        fh_buf_printf(out, ", %s, %s, licence %s (%s)", s->row->maker, s->row->released, s->row->license, s->row->repo);
    fh_buf_printf(out, "\n  known from    %s\n", SOURCES[s->source]);
    if (!s->n_value) {
        fh_buf_add_z(out, "  parameters    unknown: this architecture is not known without its weights\n");
    } else {
        fh_buf_printf(out, "  parameters    %s", fh_cli_count(s->n_value, a, sizeof a));
        if (s->n_active < s->n_value)
            fh_buf_printf(out, ", of which %s active per token", fh_cli_count(s->n_active, b, sizeof b));
        fh_buf_printf(out, "%s%s\n", s->counted ? "" : " (as published, rounded)",
                      s->has_vision && s->source != FH_FIT_FROM_FILES ? "; its part for pictures is not counted" : "");
    }
    if (s->n_context) fh_buf_printf(out, "  context       %llu tokens at most\n", (unsigned long long)s->n_context);
}

static void text_state(fh_buf *out, const fit_report *r) {
    char a[32], b[32], c[32];
    fh_fit_state x;
    if (!fh_fit_get_state(&r->s, r->ask.context, r->ask.kv_type, &x)) {
        fh_buf_add_z(out, "  state         unknown: this architecture keeps more than keys and values\n");
        return;
    }
    fh_buf_printf(out, "  state         %llu bytes a token in %s", (unsigned long long)x.per_token,
                  fh_dtype_name(r->ask.kv_type));
    if (x.window) fh_buf_printf(out, ", %s of windows", fh_cli_bytes(x.window, a, sizeof a));
    if (x.recurrent) fh_buf_printf(out, ", %s whatever the length", fh_cli_bytes(x.recurrent, b, sizeof b));
    fh_buf_printf(out, "\n                %s for %llu tokens", fh_cli_bytes(x.formula, a, sizeof a),
                  (unsigned long long)r->ask.context);
    if (x.paged != x.formula) fh_buf_printf(out, ", %s in this program's pages", fh_cli_bytes(x.paged, c, sizeof c));
    fh_buf_add_byte(out, '\n');
    if (x.fell_back) fh_buf_add_z(out, "                some rows stay f16: the type's block does not divide them\n");
}

static void text_device(fh_buf *out, const fit_report *r) {
    char a[32];
    const fh_fit_device *d = &r->device;
    fh_buf_printf(out, "\nOn %s: %s of memory", d->name, fh_cli_bytes(d->memory_bytes, a, sizeof a));
    if (d->read > 0) fh_buf_printf(out, ", reads %.0f GB/s%s", d->read / 1e9, d->n > 1 ? " each" : "");
    if (d->flops > 0) fh_buf_printf(out, ", %.1f T operations/s%s", d->flops / 1e12, d->n > 1 ? " each" : "");
    if (d->here) fh_buf_add_z(out, r->measured ? " (measured now)\n" : " (speed not measured)\n");
    else fh_buf_printf(out, " (maker's figures, %s)\n", d->checked_on);
}

static void text_bar(fh_buf *out, const fit_report *r, const fh_fit_answer *a, uint64_t most) {
    uint64_t at[3] = {a->weights, a->weights + a->state, a->need};
    uint64_t wall = r->device.memory_bytes;
    static const char *const fill[] = {"#", "+", "."};
    for (uint64_t i = 0; i < BAR; i++) {
        uint64_t here = most / BAR * i + most / BAR / 2;
        size_t k = 0;
        while (k < 3 && here >= at[k]) k++;
        bool edge = wall >= most / BAR * i && wall < most / BAR * (i + 1);
        fh_buf_add_z(out, edge ? "|" : k < 3 ? fill[k] : " ");
    }
}

static void text_answers(fh_buf *out, const fit_report *r) {
    char need[32], weights[32], decode[32], prefill[32], loss[32];
    uint64_t most = r->device.memory_bytes;
    bool any = false;
    for (size_t i = 0; i < r->n; i++)
        if (r->offered[i]) most = FH_MAX(most, r->answer[i].need);
    fh_buf_printf(out, "  %-13s %10s %10s  %-7s %8s %9s %9s  %s\n", "weights as", "weights", "in all", "fits",
                  "context", "tokens/s", "reading", "loses");
    for (size_t i = 0; i < r->n; i++) {
        const fh_fit_answer *a = &r->answer[i];
        const fh_fit_quant *q = a->quant;
        if (!r->offered[i]) continue;
        any = true;
        if (q->stored && r->s.stored_type.len && !fh_str_is(r->s.stored_type, "BF16") &&
            !fh_str_is(r->s.stored_type, "F16") && !fh_str_is(r->s.stored_type, "F32"))
            snprintf(loss, sizeof loss, "as published");
        else if (q->stored) snprintf(loss, sizeof loss, "nothing");
        else snprintf(loss, sizeof loss, "%.1f%%, KLD %.3f", (q->perplexity - 1) * 100, q->kld);
        fh_buf_printf(out, "%s %-13.*s %10s %10s  %-7s %8llu %9s %9s  %s\n", q == r->best ? "*" : " ",
                      q->stored && r->s.stored_type.len ? (int)FH_MIN(r->s.stored_type.len, (size_t)13) : 13,
                      q->stored && r->s.stored_type.len ? r->s.stored_type.ptr : q->name,
                      fh_cli_bytes(a->weights, weights, sizeof weights), fh_cli_bytes(a->need, need, sizeof need),
                      a->fits ? (a->state_known ? "yes" : "maybe") : "no", (unsigned long long)a->most_context,
                      rate(a->decode, decode, sizeof decode), rate(a->prefill, prefill, sizeof prefill), loss);
    }
    if (!any) {
        fh_buf_add_z(out, "  unknown: how large its weights are does not follow from what is here\n");
        return;
    }
    fh_buf_printf(out,
                  "\n  Memory for %llu tokens x %llu: # weights  + state  . scratch and slack  | this much is there\n",
                  (unsigned long long)r->ask.context, (unsigned long long)r->ask.slots);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->offered[i]) continue;
        fh_buf_printf(out, "  %-13s ", r->answer[i].quant->name);
        text_bar(out, r, &r->answer[i], most + most / 20);
        fh_buf_printf(out, " %s\n", fh_cli_bytes(r->answer[i].need, need, sizeof need));
    }
}

/* What would have to change where nothing fits, or how the best one can be had. */
static void text_advice(fh_buf *out, const fit_report *r) {
    char a[32], b[32];
    const fh_fit_answer *least = NULL;
    for (size_t i = 0; i < r->n; i++)
        if (r->offered[i] && (!least || r->answer[i].need < least->need)) least = &r->answer[i];
    if (!least) return;
    fh_buf_add_z(out, "\n");
    if (r->best) {
        size_t n;
        const fh_fit_quant *quick = fh_fit_quants(&n) + FH_FIT_USUAL;
        const fh_fit_answer *best = &r->answer[r->best - r->answer[0].quant];
        fh_buf_printf(out, "It fits%s: %s, %s of %s.\n", r->s.state_known ? "" : ", state not counted", r->best->name,
                      fh_cli_bytes(best->need, a, sizeof a), fh_cli_bytes(r->device.memory_bytes, b, sizeof b));
        const fh_fit_answer *usual = &r->answer[FH_FIT_USUAL];
        if (r->offered[FH_FIT_USUAL] && usual->decode > 1.5 * best->decode && best->decode > 0)
            fh_buf_printf(out, "%s would be %.1f times as fast.\n", quick->name, usual->decode / best->decode);
        if (r->best->kld > 0.05)
            fh_buf_add_z(out, "That quantization is a visible loss: a smaller model in Q4_K_M may answer better.\n");
        return;
    }
    fh_buf_printf(out, "It does not fit: %s needs %s, %s are there. What would have to change:\n", least->quant->name,
                  fh_cli_bytes(least->need, a, sizeof a), fh_cli_bytes(r->device.memory_bytes, b, sizeof b));
    if (least->most_context)
        fh_buf_printf(out, "  - a context of at most %llu tokens with %s (--ctx)\n",
                      (unsigned long long)least->most_context, least->quant->name);
    if (r->ask.slots > 1) fh_buf_add_z(out, "  - fewer sequences at once (--slots)\n");
    if (r->ask.kv_type != FH_DTYPE_Q8_0 && least->state > least->need / 10)
        fh_buf_add_z(out, "  - keys and values in 8 bits (--kv-type q8_0)\n");
    fh_buf_printf(out, "  - %s more memory\n", fh_cli_bytes(least->need - r->device.memory_bytes, a, sizeof a));
    fh_fit_device d, best = {0};
    fh_fit_answer answers[MOST_QUANTS];
    for (size_t i = 0; fh_fit_device_at(i, &d); i++)
        if (fh_fit_best(&r->s, &d, &r->ask, answers) && (!best.name[0] || d.memory_bytes < best.memory_bytes)) best = d;
    if (best.name[0])
        fh_buf_printf(out, "  - another machine: the smallest of the list that holds it is %s\n", best.name);
}

static void text_assumed(fh_buf *out, const fit_report *r) {
    const fh_fit_device *d = &r->device;
    bool about = false;
    for (size_t i = 0; i < r->n; i++) about = about || (r->offered[i] && !r->answer[i].weights_exact);
    fh_buf_printf(out,
                  "\nAssumed: %.0f%% of the reading speed and %.0f%% of the arithmetic are reached; %s 5%% of slack.\n",
                  d->e_read * 100, d->e_flops * 100,
                  d->gpu ? "500 MiB of each GPU go to its driver;" : "64 MiB go to the program;");
    fh_buf_printf(out, "tokens/s: one sequence behind %llu tokens; reading: a prompt of that length.\n",
                  (unsigned long long)r->ask.context);
    if (d->n > 1) fh_buf_add_z(out, "Layers are shared out: one sequence runs at the speed of one device.\n");
    fh_buf_printf(out, "Losses (perplexity, mean KLD): %s.\n", fh_fit_measured_on);
    if (!r->s.scratch_planned) fh_buf_add_z(out, "Scratch is an estimate: the plan itself needs the model's files.\n");
    if (about) fh_buf_add_z(out, "Sizes of weights: by the bits of a typical file, since its tensors are not known.\n");
}

static void text_report(fh_buf *out, const fit_report *r) {
    text_model(out, r);
    text_state(out, r);
    text_device(out, r);
    text_answers(out, r);
    text_advice(out, r);
    text_assumed(out, r);
}

/* One line a machine of the list. */
static void text_catalogue(fh_buf *out, fit_report *r) {
    char a[32], b[32], c[32], e[32];
    fh_fit_device d;
    text_model(out, r);
    text_state(out, r);
    fh_buf_printf(out, "\n  %-18s %10s  %-13s %10s %9s %9s\n", "machine", "memory", "best", "in all", "tokens/s",
                  "reading");
    for (size_t i = 0; fh_fit_device_at(i, &d); i++) {
        r->device = d;
        judge_all(r);
        fh_buf_printf(out, "  %-18s %10s  ", d.name, fh_cli_bytes(d.memory_bytes, a, sizeof a));
        if (!r->best) {
            fh_buf_add_z(out, "does not fit\n");
            continue;
        }
        const fh_fit_answer *x = &r->answer[r->best - r->answer[0].quant];
        fh_buf_printf(out, "%-13s %10s %9s %9s\n", r->best->name, fh_cli_bytes(x->need, b, sizeof b),
                      rate(x->decode, c, sizeof c), rate(x->prefill, e, sizeof e));
    }
    fh_buf_add_z(out, "\nMakers' figures; one sequence at the context asked for. docs/fit.md says what is assumed.\n");
}

/* ---- JSON ---- */
/* null: unknown */
static void put_known(fh_json_writer *w, const char *key, uint64_t v, bool known) {
    fh_json_put_key(w, key);
    if (known) fh_json_put_u64(w, v);
    else fh_json_put_null(w);
}
static void put_f64(fh_json_writer *w, const char *key, double v) {
    fh_json_put_key(w, key);
    if (v > 0) fh_json_put_f64(w, v);
    else fh_json_put_null(w);
}

static void json_model(fh_json_writer *w, const fh_fit_shape *s) {
    fh_put_str(w, "model", s->name);
    fh_put_str(w, "known_from", fh_str_of(SOURCES[s->source]));
    fh_put_str(w, "architecture", s->architecture);
    if (s->row) {
        fh_put_str(w, "maker", fh_str_of(s->row->maker));
        fh_put_str(w, "released", fh_str_of(s->row->released));
        fh_put_str(w, "license", fh_str_of(s->row->license));
        fh_put_str(w, "repository", fh_str_of(s->row->repo));
    }
    put_known(w, "parameters", s->n_value, s->n_value > 0);
    put_known(w, "parameters_active", s->n_active, s->n_active > 0);
    fh_put_bool(w, "parameters_counted", s->counted);
    fh_put_bool(w, "senses_not_counted", s->has_vision && s->source != FH_FIT_FROM_FILES);
    put_known(w, "context_most", s->n_context, s->n_context > 0);
    put_known(w, "layers", s->n_layer, s->n_layer > 0);
    put_known(w, "stored_bytes", s->stored_bytes, s->stored_bytes > 0);
    fh_put_str(w, "stored_type", s->stored_type);
    put_known(w, "scratch_bytes", s->scratch, s->scratch > 0);
    fh_put_bool(w, "scratch_planned", s->scratch_planned);
}

static void json_state(fh_json_writer *w, const fit_report *r) {
    fh_fit_state x;
    fh_json_put_key(w, "state");
    if (!fh_fit_get_state(&r->s, r->ask.context, r->ask.kv_type, &x)) {
        fh_json_put_null(w);
        return;
    }
    fh_json_put_object(w);
    fh_put_str(w, "type", fh_str_of(fh_dtype_name(r->ask.kv_type)));
    fh_put_u64(w, "bytes_per_token", x.per_token);
    fh_put_u64(w, "window_bytes", x.window);
    fh_put_u64(w, "recurrent_bytes", x.recurrent);
    fh_put_u64(w, "bytes", x.formula);
    fh_put_u64(w, "paged_bytes", x.paged);
    fh_put_bool(w, "fell_back", x.fell_back);
    fh_json_put_key(w, "layers");
    fh_json_put_array(w);
    for (size_t i = 0; i < r->s.n_part; i++) {
        const fh_fit_part *p = &r->s.part[i];
        fh_json_put_object(w);
        fh_put_str(w, "kind", fh_str_of(fh_fit_kind_name(p->kind)));
        fh_put_u64(w, "layers", p->n_layer);
        fh_put_u64(w, "heads", p->heads);
        fh_put_u64(w, "key_width", p->k_width);
        fh_put_u64(w, "value_width", p->v_width);
        fh_put_u64(w, "window", p->window);
        fh_put_u64(w, "floats", p->floats);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void json_answer(fh_json_writer *w, const fh_fit_answer *a) {
    fh_json_put_object(w);
    fh_put_str(w, "quantization", fh_str_of(a->quant->name));
    fh_put_u64(w, "weight_bytes", a->weights);
    fh_put_bool(w, "weights_exact", a->weights_exact);
    put_known(w, "state_bytes", a->state, a->state_known);
    fh_put_u64(w, "scratch_bytes", a->scratch);
    fh_put_u64(w, "overhead_bytes", a->overhead);
    fh_put_u64(w, "bytes", a->need);
    fh_put_bool(w, "fits", a->fits);
    put_known(w, "context_most", a->most_context, a->state_known);
    put_f64(w, "decode_tokens_per_second", a->decode);
    put_f64(w, "decode_tokens_per_second_all", a->decode_all);
    fh_put_str(w, "decode_bound_by",
               a->decode > 0 ? a->decode_by_memory ? FH_STR("memory") : FH_STR("arithmetic") : FH_STR("unknown"));
    put_f64(w, "prefill_tokens_per_second", a->prefill);
    if (!a->quant->stored) {
        put_f64(w, "perplexity_ratio", a->quant->perplexity);
        put_f64(w, "mean_kld", a->quant->kld);
    }
    fh_json_put_end(w);
}

static void json_device(fh_json_writer *w, const fit_report *r) {
    const fh_fit_device *d = &r->device;
    fh_json_put_object(w);
    fh_put_str(w, "machine", fh_str_of(d->name));
    fh_put_u64(w, "devices", d->n);
    fh_put_u64(w, "memory_bytes", d->memory_bytes);
    put_f64(w, "read_bytes_per_second", d->read);
    put_f64(w, "operations_per_second", d->flops);
    put_f64(w, "share_of_reading", d->e_read);
    put_f64(w, "share_of_arithmetic", d->e_flops);
    fh_put_str(w, "figures_of", d->here ? FH_STR("measured") : fh_str_of(d->checked_on));
    fh_json_put_key(w, "best");
    if (r->best) fh_json_put_z(w, r->best->name);
    else fh_json_put_null(w);
    fh_json_put_key(w, "quantizations");
    fh_json_put_array(w);
    for (size_t i = 0; i < r->n; i++)
        if (r->offered[i]) json_answer(w, &r->answer[i]);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void json_report(fh_buf *out, fit_report *r, bool catalogue) {
    fh_json_writer w;
    fh_fit_device d;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    json_model(&w, &r->s);
    fh_put_u64(&w, "context", r->ask.context);
    fh_put_u64(&w, "slots", r->ask.slots);
    json_state(&w, r);
    fh_put_str(&w, "losses_measured_on", fh_str_of(fh_fit_measured_on));
    fh_json_put_key(&w, "machines");
    fh_json_put_array(&w);
    if (!catalogue) json_device(&w, r);
    for (size_t i = 0; catalogue && fh_fit_device_at(i, &d); i++) {
        r->device = d;
        judge_all(r);
        json_device(&w, r);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

/* ---- SVG: memory against context, a line per quantization ---- */
static fh_status write_svg(const fit_report *r, const char *path, fh_err *err) {
    static double x[MOST_POINTS], y[MOST_QUANTS + 1][MOST_POINTS];
    fh_chart_series series[MOST_QUANTS + 1];
    uint64_t most = r->s.n_context ? FH_MIN(r->s.n_context, (uint64_t)1 << 17) : 1u << 15;
    size_t n = 0;
    for (size_t p = 0; p < MOST_POINTS; p++) x[p] = (double)(most * p / (MOST_POINTS - 1));
    for (size_t i = 0; i < r->n; i++) {
        if (!r->offered[i]) continue;
        for (size_t p = 0; p < MOST_POINTS; p++) {
            fh_fit_ask ask = r->ask;
            ask.context = (uint64_t)x[p];
            y[n][p] = (double)fh_fit_judge(&r->s, &r->device, &ask, r->answer[i].quant).need / (1 << 30);
        }
        series[n] = (fh_chart_series){.name = fh_str_of(r->answer[i].quant->name), .x = x, .y = y[n], .n = MOST_POINTS};
        n++;
    }
    for (size_t p = 0; p < MOST_POINTS; p++) y[n][p] = (double)r->device.memory_bytes / (1 << 30);
    series[n] = (fh_chart_series){.name = fh_str_of(r->device.name), .x = x, .y = y[n], .n = MOST_POINTS};
    fh_chart chart = {.kind = FH_CHART_LINES,
                      .title = r->s.name,
                      .note = FH_STR("memory against context; the level line is what the machine has"),
                      .x_label = FH_STR("tokens of context"),
                      .y_label = FH_STR("GiB"),
                      .series = series,
                      .n_series = n + 1};
    fh_buf out;
    fh_writer *file = NULL;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_chart_svg(&out, &chart, 1);
    fh_status st = fh_buf_check(&out, err);
    if (st == FH_OK) st = fh_writer_open(&file, path, err);
    if (st == FH_OK && (st = fh_writer_add(file, out.ptr, out.len, err)) != FH_OK) fh_writer_abort(file);
    else if (st == FH_OK) st = fh_writer_commit(file, err);
    fh_buf_release(&out);
    return st;
}

/* ---- the catalogue itself ---- */
static void text_list(fh_buf *out) {
    size_t n;
    char size[32], active[32];
    const fh_catalogue_row *row = fh_catalogue_rows(&n);
    fh_buf_printf(out, "%-28s %-10s %9s %9s %8s  %-15s %-10s %s\n", "model", "maker", "size", "active", "context",
                  "licence", "released", "repository");
    for (size_t i = 0; i < n; i++)
        fh_buf_printf(out, "%-28s %-10s %9s %9s %8u  %-15s %-10s %s\n", row[i].name, row[i].maker,
                      fh_cli_count(row[i].millions * 1000000ull, size, sizeof size),
                      fh_cli_count(row[i].millions_active * 1000000ull, active, sizeof active), row[i].config.n_context,
                      row[i].license, row[i].released, row[i].repo);
}

static void json_list(fh_buf *out) {
    size_t n;
    fh_json_writer w;
    const fh_catalogue_row *row = fh_catalogue_rows(&n);
    fh_json_writer_init(&w, out, true);
    fh_json_put_array(&w);
    for (size_t i = 0; i < n; i++) {
        fh_json_put_object(&w);
        fh_put_str(&w, "model", fh_str_of(row[i].name));
        fh_put_str(&w, "maker", fh_str_of(row[i].maker));
        fh_put_u64(&w, "parameters", row[i].millions * 1000000ull);
        fh_put_u64(&w, "parameters_active", row[i].millions_active * 1000000ull);
        put_known(&w, "context", row[i].config.n_context, row[i].config.n_context > 0);
        fh_put_str(&w, "license", fh_str_of(row[i].license));
        fh_put_str(&w, "released", fh_str_of(row[i].released));
        fh_put_str(&w, "can", fh_str_of(row[i].can));
        fh_put_str(&w, "repository", fh_str_of(row[i].repo));
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

typedef struct fit_options {
    const char *model, *on, *kv_type, *svg;
    uint64_t ctx, slots;
    bool list, no_measure;
} fit_options;

static fh_status prepare(fit_report *r, const fit_options *o, bool *opened, bool *catalogue, fh_err *err) {
    r->ask = (fh_fit_ask){.context = o->ctx, .slots = o->slots ? o->slots : 1, .kv_type = FH_DTYPE_F16};
    if (o->slots > 65536) return fh_fail(err, FH_ERR_USAGE, "--slots is at most 65536");
    if (o->ctx > 1u << 30) return fh_fail(err, FH_ERR_USAGE, "--ctx is at most 1073741824");
    if (o->kv_type && !fh_engine_kv_type(fh_str_of(o->kv_type), &r->ask.kv_type))
        return fh_fail(err, FH_ERR_USAGE, "--kv-type '%.60s' is unknown; there are " FH_KV_TYPES, o->kv_type);
    *catalogue = o->on && strcmp(o->on, "catalogue") == 0;
    if (o->on && !*catalogue) FH_TRY(fh_fit_device_find(&r->device, fh_str_of(o->on), err));
    FH_TRY(fh_fit_open(&r->s, o->model, err));
    *opened = true;
    if (!r->ask.context) r->ask.context = r->s.n_context ? FH_MIN(r->s.n_context, DEFAULT_CONTEXT) : DEFAULT_CONTEXT;
    r->measured = !o->on && !o->no_measure;
    if (!o->on) FH_TRY(read_this(&r->device, r->measured, err));
    if (*catalogue) (void)fh_fit_device_at(0, &r->device);
    judge_all(r);
    return o->svg ? write_svg(r, o->svg, err) : FH_OK;
}

int fh_cmd_fit(fh_cli *cli); /* its row in commands.def says the same */
int fh_cmd_fit(fh_cli *cli) {
    fit_options o = {0};
    const fh_option options[] = {
        {"--on", FH_OPTION_TEXT, &o.on, "MACHINE",
         "\"2x A100-80\", \"RTX 4090\" ..., or catalogue for all of them (default: this machine, measured)"},
        {"--ctx", FH_OPTION_U64, &o.ctx, "N", "tokens of context (default: 8192, or the model's where that is less)"},
        {"--slots", FH_OPTION_U64, &o.slots, "N", "sequences at once, each with that context (default: 1)"},
        {"--kv-type", FH_OPTION_TEXT, &o.kv_type, "TYPE", "keys and values as f32, f16, bf16 or q8_0 (default: f16)"},
        {"--svg", FH_OPTION_TEXT, &o.svg, "FILE", "also draw memory against context (default: no)"},
        {"--no-measure", FH_OPTION_FLAG, &o.no_measure, NULL, "do not measure this machine's speed (default: do)"},
        {"--list", FH_OPTION_FLAG, &o.list, NULL, "the models of the catalogue (default: no)"}};
    int rc = fh_cli_parse(cli, options, sizeof options / sizeof options[0], &o.model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    bool opened = false, catalogue = false;
    fit_report *r = fh_alloc_zero(1, sizeof *r);
    fh_status st = r ? FH_OK : fh_fail_memory(&err, sizeof *r);
    if (st == FH_OK && o.list) {
        if (cli->json) json_list(&out);
        else text_list(&out);
    } else if (st == FH_OK && (st = prepare(r, &o, &opened, &catalogue, &err)) == FH_OK) {
        if (cli->json) json_report(&out, r, catalogue);
        else if (catalogue) text_catalogue(&out, r);
        else text_report(&out, r);
    }
    rc = st == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    if (opened) fh_fit_release(&r->s);
    fh_free(r);
    fh_buf_release(&out);
    return rc;
}
