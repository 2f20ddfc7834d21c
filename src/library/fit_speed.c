/* library/fit_speed.c - machines, and what a model makes of them: does it fit, how fast, at what context.
 * SPDX-License-Identifier: Apache-2.0
 * A roofline: a token takes as long as its bytes take to be read, or its arithmetic to be done, whichever is longer.
 * Several devices hold a share of the layers each, so that one sequence runs at the speed of one of them. Shares of
 * the peaks that are reached are assumptions, printed with every answer. */
#include <ctype.h>
#include <stdio.h>

#include "base/num.h"
#include "library/fit.h"

#define GB 1000000000.0
/* Shares of the peaks. GPU: 3090, 4090 and 5090 read 59 to 72% of theirs in one stream (2026-02). */
#define GPU_READ 0.65
#define GPU_FLOPS 0.45
#define CPU_READ 0.80
#define CPU_FLOPS 0.20
#define GPU_CONTEXT ((uint64_t)500 << 20) /* what a driver takes of each */
#define CPU_CONTEXT ((uint64_t)64 << 20)
#define SLACK 0.05
#define STEP_OVERHEAD 0.0001 /* seconds of a step that are neither */

typedef struct device_row {
    const char *name, *also;
    bool gpu;
    double gigabytes, read, tflops;
    const char *checked_on;
} device_row;

enum { CPU = 0, GPU = 1 };
static const device_row rows[] = {
#define FH_FIT_DEVICE_ROW(name, also, kind, gigabytes, read, tflops, day) \
    {name, also, kind, gigabytes, read, tflops, day},
#include "library/fit_device.def"
#undef FH_FIT_DEVICE_ROW
};

static fh_fit_device device_of(const device_row *r, uint32_t n) {
    fh_fit_device d = {.n = n,
                       .gpu = r->gpu,
                       .memory_bytes = (uint64_t)(r->gigabytes * GB) * n,
                       .read = r->read * GB,
                       .flops = r->tflops * 1e12,
                       .e_read = r->gpu ? GPU_READ : CPU_READ,
                       .e_flops = r->gpu ? GPU_FLOPS : CPU_FLOPS,
                       .checked_on = r->checked_on};
    if (n > 1) snprintf(d.name, sizeof d.name, "%ux %s", n, r->name);
    else snprintf(d.name, sizeof d.name, "%s", r->name);
    return d;
}

bool fh_fit_device_at(size_t i, fh_fit_device *out) {
    if (i >= FH_COUNT(rows)) return false;
    *out = device_of(&rows[i], 1);
    return true;
}

/* Letters and digits alone, in lower case; without NVIDIA's and AMD's names and "gb". */
static bool key_of(fh_str s, char out[64]) {
    static const char *const drop[] = {"nvidia", "geforce", "amd", "apple", "gb", "sxm", "pcie"};
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!isalnum((unsigned char)s.ptr[i])) continue;
        if (n == 63) return false;
        out[n++] = (char)tolower((unsigned char)s.ptr[i]);
    }
    out[n] = '\0';
    for (size_t k = 0; k < FH_COUNT(drop); k++) {
        char *at = strstr(out, drop[k]);
        size_t len = strlen(drop[k]);
        if (at && strlen(out) > len) memmove(at, at + len, strlen(at + len) + 1);
    }
    return out[0] != '\0';
}

static bool row_is(const device_row *r, const char *key) {
    char own[64];
    if (key_of(fh_str_of(r->name), own) && strcmp(own, key) == 0) return true;
    for (fh_str rest = fh_str_of(r->also); rest.len;) {
        size_t cut = rest.len;
        (void)fh_str_find(rest, '|', &cut);
        if (key_of(fh_str_first(rest, cut), own) && strcmp(own, key) == 0) return true;
        rest = fh_str_drop(rest, cut + 1);
    }
    return false;
}

/* "2x ", "2 x", "4*": how many; the rest is the name. */
static uint32_t take_count(fh_str *s) {
    uint64_t n = 0;
    size_t digits = 0;
    while (digits < s->len && digits < 4 && isdigit((unsigned char)s->ptr[digits])) digits++;
    fh_str rest = fh_str_drop(*s, digits);
    while (rest.len && rest.ptr[0] == ' ') rest = fh_str_drop(rest, 1);
    if (!digits || !rest.len || !strchr("xX*", rest.ptr[0]) || !fh_str_u64(fh_str_first(*s, digits), &n)) return 1;
    *s = fh_str_drop(rest, 1);
    return (uint32_t)n;
}

fh_status fh_fit_device_find(fh_fit_device *out, fh_str text, fh_err *err) {
    char key[64], list[420] = "";
    size_t used = 0;
    fh_str name = text;
    uint32_t n = take_count(&name);
    if (n == 0 || n > 1024) return fh_fail(err, FH_ERR_USAGE, "read '%.*s', from 1 to 1024 of them", FH_STR_ARG(text));
    for (size_t i = 0; i < FH_COUNT(rows) && key_of(name, key); i++) {
        if (!row_is(&rows[i], key)) continue;
        *out = device_of(&rows[i], n);
        return FH_OK;
    }
    for (size_t i = 0; i < FH_COUNT(rows) && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", rows[i].name);
    return fh_fail(err, FH_ERR_NOT_FOUND, "find machine '%.60s', known are: %s", text.len < 60 ? text.ptr : "...",
                   list);
}

/* ---- speed ---- */
/* Weights that a token's way through the model reads, as a share of all. */
static double touched_share(const fh_fit_shape *s, uint64_t sequences) {
    if (!s->n_value) return 1;
    double experts = (double)s->n_expert_value, all = (double)s->n_value, n = (double)s->n_expert, miss = 1;
    double rest = all - experts - (double)s->n_table;
    if (s->n_expert && s->n_used && !s->n_expert_value) /* not counted: by the published sizes */
        return (double)s->n_active / all;
    if (!s->n_expert || !s->n_used)
        return (s->n_expert_value == 0 && s->n_active ? FH_MIN(rest, (double)s->n_active) : rest + experts) / all;
    for (uint64_t i = 0; i < sequences && miss > 1e-9; i++) miss *= 1 - (double)s->n_used / n;
    return (rest + experts * (1 - miss)) / all;
}

static void judge_speed(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask, fh_fit_answer *a) {
    double read = d->read * d->e_read, flops = d->flops * d->e_flops, n = (double)ask->slots;
    double state = (double)a->state / n, active = (double)s->n_active - (double)s->n_table;
    if (!(read > 0) || !(flops > 0) || !a->weights || !s->n_active) return;
    double by_bytes = ((double)a->weights * touched_share(s, 1) + state) / read;
    double by_flops = 2 * active / flops;
    a->decode_by_memory = by_bytes >= by_flops;
    a->decode = 1 / (FH_MAX(by_bytes, by_flops) + STEP_OVERHEAD);
    double all_bytes = ((double)a->weights * touched_share(s, ask->slots) + (double)a->state) / read;
    a->decode_all = n / (FH_MAX(all_bytes, by_flops * n) + STEP_OVERHEAD);
    /* a prompt that fills the context: products, and attention that sees half of it on average */
    double t = (double)ask->context, full = 0;
    for (size_t i = 0; i < s->n_part; i++)
        if (s->part[i].kind == FH_FIT_FULL || s->part[i].kind == FH_FIT_LATENT) full += s->part[i].n_layer;
    double work = 2 * active * t + 2 * full * (double)s->n_head * (double)s->k_width * t * t;
    double steps = t / FH_FIT_BATCH < 1 ? 1 : t / FH_FIT_BATCH;
    double least = (double)a->weights * touched_share(s, FH_FIT_BATCH) * steps / read;
    double took = FH_MAX(work / flops, least);
    a->prefill = took > 0 ? t / took : 0;
}

/* ---- memory ---- */
static uint64_t overhead_of(const fh_fit_device *d, uint64_t bytes) {
    uint64_t context = d->gpu ? GPU_CONTEXT * d->n : CPU_CONTEXT;
    return context + (uint64_t)((double)bytes * SLACK);
}

static uint64_t need_of(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask, uint64_t weights,
                        uint64_t context, uint64_t *state) {
    fh_fit_state x = {0};
    (void)fh_fit_get_state(s, context, ask->kv_type, &x);
    uint64_t sum = UINT64_MAX, states;
    if (!fh_mul_u64(x.paged, ask->slots, &states) || !fh_add_u64(weights, states, &sum) ||
        !fh_add_u64(sum, s->scratch, &sum))
        return UINT64_MAX / 2;
    if (state) *state = states;
    return sum + overhead_of(d, sum);
}

/* The longest context that still fits, by halving. */
static uint64_t most_context(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask, uint64_t weights) {
    uint64_t low = 0, high = s->n_context ? s->n_context : 1u << 20;
    if (need_of(s, d, ask, weights, high, NULL) <= d->memory_bytes) return high;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (need_of(s, d, ask, weights, middle, NULL) <= d->memory_bytes) low = middle;
        else high = middle;
    }
    return low;
}

fh_fit_answer fh_fit_judge(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask,
                           const fh_fit_quant *q) {
    fh_fit_answer a = {.quant = q, .scratch = s->scratch, .state_known = s->state_known};
    a.known = fh_fit_weight_bytes(s, q, &a.weights, &a.weights_exact);
    if (!a.known) return a;
    a.need = need_of(s, d, ask, a.weights, ask->context, &a.state);
    a.overhead = a.need - a.weights - a.state - a.scratch;
    a.fits = a.need <= d->memory_bytes;
    if (s->state_known) a.most_context = most_context(s, d, ask, a.weights);
    judge_speed(s, d, ask, &a);
    return a;
}

const fh_fit_quant *fh_fit_best(const fh_fit_shape *s, const fh_fit_device *d, const fh_fit_ask *ask,
                                fh_fit_answer *answers) {
    size_t n;
    const fh_fit_quant *q = fh_fit_quants(&n), *best = NULL;
    for (size_t i = 0; i < n; i++) {
        answers[i] = fh_fit_judge(s, d, ask, &q[i]);
        if (answers[i].fits && !best) best = &q[i];
    }
    return best;
}
