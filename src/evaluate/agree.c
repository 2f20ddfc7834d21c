/* evaluate/agree.c - owns the arithmetic of agreement and the two engines that are compared.
 * SPDX-License-Identifier: Apache-2.0
 * Both engines go through the text step by step, so that no more than one step's logits are ever held. */
#include "evaluate/agree.h"

#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "base/rng.h"
#include "kernel/log_prob.h"
#include "library/open_tokenizer.h"

#define BATCH 64u

/* ---- arithmetic ---- */
void fh_agree_release(fh_agree *a) {
    fh_free(a->at);
    *a = (fh_agree){0};
}

static fh_status reserve(fh_agree *a, size_t n, fh_err *err) {
    if (a->cap - a->n >= n) return FH_OK;
    size_t cap = FH_MAX(a->n + n, 2 * a->cap);
    fh_agree_position *at = fh_realloc(a->at, cap, sizeof *at);
    if (!at) return fh_fail_memory(err, cap * sizeof *at);
    a->at = at;
    a->cap = cap;
    return FH_OK;
}

static float second_best(const float *x, size_t n, uint32_t top) {
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (i != top && x[i] > best) best = x[i];
    return best;
}

fh_status fh_agree_add(fh_agree *a, const float *exact, const float *fast, size_t n, fh_err *err) {
    double error = 0, power = 0;
    FH_REQUIRE(n > 0);
    FH_TRY(reserve(a, 1, err));
    for (size_t i = 0; i < n; i++) {
        double e = (double)exact[i], d = (double)fast[i] - e;
        error += d * d;
        power += e * e;
    }
    if (!isfinite(error) || !isfinite(power))
        return fh_fail(err, FH_ERR_CORRUPT, "the logits of position %zu are no finite numbers in %s mode", a->n,
                       isfinite(power) ? "fast" : "exact");
    const fh_log_norm p = fh_log_prob_norm(exact, n), q = fh_log_prob_norm(fast, n);
    const double kld = fh_log_prob_between(exact, &p, fast, &q, n);
    a->error += error;
    a->power += power;
    a->n_value += n;
    a->at[a->n++] = (fh_agree_position){
        .kld = FH_MAX(kld, 0), .gap = p.top - second_best(exact, n, p.best), .same = p.best == q.best};
    return FH_OK;
}

void fh_agree_settle(fh_agree *a) {
    double rms = a->n_value ? sqrt(a->power / (double)a->n_value) : 0;
    for (size_t i = 0; i < a->n; i++) a->at[i].asked = (double)a->at[i].gap > FH_AGREE_APART * rms;
}

fh_status fh_agree_pool(fh_agree *into, const fh_agree *a, fh_err *err) {
    FH_TRY(reserve(into, a->n, err));
    if (a->n) memcpy(into->at + into->n, a->at, a->n * sizeof *a->at);
    into->n += a->n;
    into->error += a->error;
    into->power += a->power;
    into->n_value += a->n_value;
    return FH_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

fh_status fh_agree_judge(const fh_agree *a, fh_agree_report *out, fh_err *err) {
    fh_agree_report r = {.n = a->n, .top = 1};
    size_t same = 0;
    if (a->n == 0) return fh_fail(err, FH_ERR_USAGE, "nothing was compared");
    double *kld = fh_alloc(a->n, sizeof *kld);
    if (!kld) return fh_fail_memory(err, a->n * sizeof *kld);
    for (size_t i = 0; i < a->n; i++) {
        kld[i] = a->at[i].kld;
        r.mean_kld += kld[i] / (double)a->n;
        r.n_asked += a->at[i].asked;
        same += a->at[i].asked && a->at[i].same;
    }
    qsort(kld, a->n, sizeof *kld, ascending);
    double rank = 0.999 * (double)(a->n - 1);
    size_t below = (size_t)rank, above = FH_MIN(below + 1, a->n - 1);
    r.kld_999 = kld[below] + (rank - (double)below) * (kld[above] - kld[below]);
    fh_free(kld);
    if (r.n_asked) r.top = (double)same / (double)r.n_asked;
    r.nmse = a->power > 0 ? a->error / a->power : 0;
    r.kept = r.mean_kld <= FH_AGREE_MOST_KLD && r.top >= FH_AGREE_LEAST_TOP;
    *out = r;
    return FH_OK;
}

/* ---- two engines ---- */
typedef struct pair {
    fh_agree *a;
    fh_engine *engine[2]; /* fast, exact */
    fh_session *session[2];
    float *fast; /* [batch, width] of this step */
    uint32_t width, first;
} pair;

static fh_status keep_fast(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    pair *p = ctx;
    (void)work, (void)err;
    memcpy(p->fast + (size_t)index * p->width, row, p->width * sizeof *row);
    return FH_OK;
}

static fh_status compare(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    pair *p = ctx;
    (void)work;
    return fh_agree_add(p->a, row, p->fast + (size_t)index * p->width, p->width, err);
}

static fh_status open_pair(pair *p, const fh_model *m, const fh_agree_options *o, uint32_t batch, uint32_t limit,
                           fh_err *err) {
    for (int i = 0; i < 2; i++) {
        fh_engine_options e = {.threads = (int)o->threads,
                               .kv_type = i ? FH_DTYPE_F32 : o->kv_type,
                               .batch = batch,
                               .rows = batch,
                               .exact = i == 1,
                               .no_prefix_cache = true};
        FH_TRY(fh_engine_new(&p->engine[i], m, &e, err));
        FH_TRY(fh_session_new(&p->session[i], p->engine[i], limit, NULL, 0, err));
    }
    p->width = fh_engine_width(p->engine[0], FH_EXPORT_LOGITS);
    p->fast = fh_alloc((size_t)batch * p->width, sizeof *p->fast);
    return p->fast ? FH_OK : fh_fail_memory(err, (size_t)batch * p->width * sizeof *p->fast);
}

static void close_pair(pair *p) {
    for (int i = 0; i < 2; i++) {
        fh_session_free(p->session[i]);
        fh_engine_free(p->engine[i]);
    }
    fh_free(p->fast);
}

static fh_status step_both(pair *p, const uint32_t *token, uint32_t n, const fh_agree_options *o, fh_err *err) {
    for (int i = 0; i < 2; i++) {
        fh_work work = {.session = p->session[i], .token = token, .n = n, .want = FH_WANT_ALL};
        FH_TRY(fh_engine_step(p->engine[i], &work, 1, FH_EXPORT_LOGITS, i ? compare : keep_fast, p, o->stop, err));
    }
    return FH_OK;
}

static fh_status go_through(pair *p, const fh_model *m, const uint32_t *token, uint32_t n, uint32_t batch,
                            const fh_agree_options *o, fh_err *err) {
    if (fh_model_plan(m, FH_PLAN_ENCODE)) {
        for (int i = 0; i < 2; i++) FH_TRY(fh_session_encode(p->session[i], token, n, err));
        FH_TRY(step_both(p, &fh_model_spec(m)->decoder_start, 1, o, err));
    }
    for (uint32_t at = 0; at < n; at += batch) FH_TRY(step_both(p, token + at, FH_MIN(batch, n - at), o, err));
    return FH_OK;
}

fh_status fh_agree_run(fh_agree *a, const fh_model *m, const uint32_t *token, uint32_t n, const fh_agree_options *o,
                       fh_err *err) {
    const fh_plan *step = fh_model_plan(m, FH_PLAN_STEP);
    if (step->exported[FH_EXPORT_LOGITS] == FH_NO_VALUE)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "the model gives no logits: there is no distribution to compare");
    uint32_t batch = FH_MIN(step->whole_sequences ? n : o->batch ? o->batch : BATCH, n);
    pair p = {.a = a};
    fh_status st = open_pair(&p, m, o, batch, n + 1, err);
    if (st == FH_OK) st = go_through(&p, m, token, n, batch, o, err);
    close_pair(&p);
    return st;
}

/* ---- tokens ---- */
static const char TEXT[] =
    "Whoever keeps a workshop learns the weight of small decisions. The bench stands where the light falls in the "
    "morning; the saws hang within reach, and the drawer that sticks has been about to be mended for eleven years. A "
    "visitor once asked the old joiner why he planed a board that nobody would ever see. \"I will know,\" he said, and "
    "went on. Later, over tea, he added that wood moves: a panel fitted tight in August splits its frame by "
    "January.\n\n"
    "def widths(board, n, kerf=3.2):\n    \"\"\"n strips of equal width, saw cuts taken off.\"\"\"\n"
    "    left = board - kerf * (n - 1)\n    if n < 1 or left <= 0:\n        raise ValueError(f\"{n} strips of "
    "{board}\")\n"
    "    return [left / n] * n\n\n"
    "Die Werkstatt liegt am Fluss, und im Winter riecht es nach Leim und kaltem Eisen. \xc3\x80 midi, tout le monde "
    "s'arr\xc3\xaate; on entend alors la roue du moulin. In 1987 the flood stood 1.42 m high, which is 14 cm below the "
    "mark "
    "of 1824. The chest of 24 drawers survived both. Its price, asked often, was never told: {\"drawers\": 24, "
    "\"sold\": false, \"reason\": null}.\n";

static fh_status encode_text(fh_tokenizer *t, fh_ids *ids, fh_err *err) {
    fh_tokenizer_scratch *scratch = NULL;
    const fh_encode_options opt = {.add_special = true};
    FH_TRY(fh_tokenizer_scratch_new(&scratch, t, err));
    fh_status st = fh_tokenizer_encode(t, scratch, FH_STR(TEXT), &opt, ids, err);
    fh_tokenizer_scratch_free(scratch);
    return st == FH_OK ? fh_ids_check(ids, err) : st;
}

/* Only if all of them are tokens of the model: test files carry tokenizers that are larger than their tables. */
static bool take_text(const fh_ids *ids, uint32_t n_vocab, uint32_t *out, uint32_t *n) {
    for (size_t i = 0; i < ids->len; i++)
        if (ids->ptr[i] >= n_vocab) return false;
    if (ids->len == 0) return false;
    *n = (uint32_t)FH_MIN((size_t)*n, ids->len);
    memcpy(out, ids->ptr, *n * sizeof *out);
    return true;
}

fh_status fh_agree_tokens(const fh_model *m, const char *model, uint32_t *out, uint32_t *n, fh_err *err) {
    fh_tokenizer *t = NULL;
    fh_ids ids;
    fh_rng r;
    uint32_t n_vocab = fh_model_spec(m)->n_vocab;
    fh_ids_init(&ids, 1u << 16);
    fh_status st = fh_tokenizer_open(&t, model, (fh_str){NULL, 0}, NULL);
    if (st == FH_OK) st = encode_text(t, &ids, NULL);
    fh_tokenizer_free(t);
    bool taken = st == FH_OK && take_text(&ids, n_vocab, out, n);
    fh_ids_release(&ids);
    if (st == FH_ERR_MEMORY) return fh_fail(err, st, "out of memory while reading the tokenizer");
    fh_rng_init(&r, 999, 1);
    for (uint32_t i = 0; !taken && i < *n; i++) out[i] = n_vocab ? (uint32_t)fh_rng_below(&r, n_vocab) : 0;
    return FH_OK;
}
