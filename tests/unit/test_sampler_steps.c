/* tests/unit/test_sampler_steps.c - every step of a chain against its definition, written plainly: sort all, in double.
 * SPDX-License-Identifier: Apache-2.0
 * The plain steps keep every candidate in an array with a flag and use the C library; rows are random, some full of
 * ties. What the two leave must be the same set with the same probabilities. */
#include <float.h>
#include <math.h>

#include "base/num.h"
#include "infer/sampler.h"
#include "infer/sampler_part.h"
#include "test.h"

#define N 200
#define LAST 60

static fh_err err;

/* One candidate of the plain form. */
typedef struct plain {
    double l, p;
    uint32_t id;
} plain;

typedef struct plain_row {
    plain c[N];
    size_t n;
    uint32_t last[LAST]; /* oldest first */
    size_t n_last;
} plain_row;

static int by_logit(const void *a, const void *b) {
    const plain *x = a, *y = b;
    if (x->l > y->l || x->l < y->l) return x->l > y->l ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static void softmax(plain_row *r) {
    double sum = 0;
    qsort(r->c, r->n, sizeof r->c[0], by_logit);
    for (size_t i = 0; i < r->n; i++) sum += r->c[i].p = exp(r->c[i].l - r->c[0].l);
    for (size_t i = 0; i < r->n; i++) r->c[i].p /= sum;
}

static double entropy(const plain_row *r) {
    double h = 0;
    for (size_t i = 0; i < r->n; i++) h -= r->c[i].p > 0 ? r->c[i].p * log(r->c[i].p) : 0;
    return h;
}

static double typical_entropy;
static int by_typicality(const void *a, const void *b) {
    double x = fabs(-log(((const plain *)a)->p) - typical_entropy);
    double y = fabs(-log(((const plain *)b)->p) - typical_entropy);
    if (x > y || x < y) return x < y ? -1 : 1;
    return by_logit(a, b);
}

static size_t until(const plain_row *r, double p, bool above) {
    double sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        sum += r->c[i].p;
        if (above ? sum > p : sum >= p) return i + 1;
    }
    return r->n;
}

static void plain_penalties(plain_row *r, const double *a) {
    size_t n = FH_MIN((size_t)(a[0] < 0 ? LAST : a[0]), r->n_last);
    for (size_t i = 0; i < r->n; i++) {
        double count = 0;
        for (size_t k = 0; k < n; k++) count += r->last[r->n_last - 1 - k] == r->c[i].id;
        if (count <= 0) continue;
        r->c[i].l = r->c[i].l > 0 ? r->c[i].l / a[1] : r->c[i].l * a[1];
        r->c[i].l -= count * a[2] + a[3];
    }
}

/* For every token: the longest end of the text that stands earlier with this token behind it. */
static void plain_dry(plain_row *r, const double *a) {
    size_t n = FH_MIN((size_t)(a[3] < 0 ? LAST : a[3]), r->n_last);
    const uint32_t *t = r->last + (r->n_last - n);
    if ((double)n <= a[2] || a[1] < 1) return;
    for (size_t i = 0; i < r->n; i++) {
        double longest = -1;
        for (size_t at = 1; at < n; at++) {
            if (t[at] != r->c[i].id) continue;
            size_t len = 0;
            while (len < at && t[at - 1 - len] == t[n - 1 - len]) len++;
            longest = fmax(longest, (double)len);
        }
        if (longest >= a[2]) r->c[i].l -= a[0] * pow(a[1], longest - a[2]);
    }
}

static void plain_sigma(plain_row *r, double k) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < r->n; i++) mean += r->c[i].l / (double)r->n;
    for (size_t i = 0; i < r->n; i++) var += (r->c[i].l - mean) * (r->c[i].l - mean) / (double)r->n;
    softmax(r);
    size_t n = 0;
    while (n < r->n && r->c[n].l >= r->c[0].l - k * sqrt(var)) n++;
    r->n = n;
}

static void plain_xtc(plain_row *r, double threshold) {
    size_t n = 0;
    if (threshold > 0.5) return;
    softmax(r);
    while (n < r->n && r->c[n].p >= threshold) n++;
    if (n < 2) return;
    memmove(r->c, r->c + n - 1, (r->n - n + 1) * sizeof r->c[0]);
    r->n -= n - 1;
}

static void plain_step(plain_row *r, const fh_sampler_step *t) {
    const double *a = t->arg;
    double scale = a[0];
    size_t n = 1;
    switch (t->kind) {
    case FH_STEP_LOGIT_BIAS:
        for (size_t i = 0; i < r->n; i++) r->c[i].l += r->c[i].id == (uint32_t)a[0] ? a[1] : 0;
        return;
    case FH_STEP_PENALTIES: plain_penalties(r, a); return;
    case FH_STEP_DRY: plain_dry(r, a); return;
    case FH_STEP_TOP_N_SIGMA: plain_sigma(r, a[0]); return;
    case FH_STEP_XTC: plain_xtc(r, a[1]); return;
    case FH_STEP_KINDS: return;
    default: softmax(r);
    }
    switch (t->kind) {
    case FH_STEP_TOP_K: r->n = a[0] > 0 ? FH_MIN(r->n, (size_t)a[0]) : r->n; break;
    case FH_STEP_TOP_P: r->n = a[0] < 1 ? until(r, a[0], false) : r->n; break;
    case FH_STEP_MIN_P:
        while (n < r->n && r->c[n].l >= r->c[0].l + log(a[0])) n++;
        r->n = n;
        break;
    case FH_STEP_TYPICAL_P:
        typical_entropy = entropy(r);
        qsort(r->c, r->n, sizeof r->c[0], by_typicality);
        r->n = a[0] < 1 ? until(r, a[0], true) : r->n;
        break;
    case FH_STEP_MIROSTAT:
        while (n < r->n && -log2(r->c[n].p) <= 2 * a[0]) n++;
        r->n = n;
        break;
    case FH_STEP_DYNATEMP:
        if (a[1] > 0 && r->n > 1) {
            double low = fmax(0, a[0] - a[1]), high = a[0] + a[1];
            scale = low + (high - low) * pow(entropy(r) / log((double)r->n), a[2]);
        }
        /* fall through */
    default:
        for (size_t i = 0; i < r->n; i++) r->c[i].l /= scale;
    }
}

static const char *const texts[] = {"logit_bias:token=%u,bias=-3.5",
                                    "penalties:last_n=%u,repeat=1.3,frequency=0.2,presence=-0.1",
                                    "dry:multiplier=0.7,base=1.6,allowed_length=%u,last_n=40",
                                    "top_n_sigma=1.%u",
                                    "top_k=%u",
                                    "typical_p=0.%u1",
                                    "top_p=0.%u1",
                                    "min_p=0.0%u1",
                                    "xtc:probability=1,threshold=0.0%u3",
                                    "temperature=0.%u7",
                                    "dynatemp:t=1.1,range=0.%u2,exponent=1.5",
                                    "mirostat:tau=1.%u"};

static uint32_t random_arg(fh_rng *g, size_t kind) {
    if (kind == FH_STEP_TOP_K) return 1 + (uint32_t)fh_rng_below(g, 60);
    if (kind == FH_STEP_LOGIT_BIAS) return (uint32_t)fh_rng_below(g, N);
    return (uint32_t)fh_rng_below(g, kind == FH_STEP_DRY ? 4 : 10);
}

static void add_random_step(fh_sampler_steps *l, fh_rng *g, size_t kind) {
    const fh_sampler_params p = fh_sampler_defaults();
    char format[100], text[128];
    const char *at = strstr(texts[kind], "%u");
    snprintf(format, sizeof format, "%.*s", (int)(at - texts[kind]), texts[kind]);
    snprintf(text, sizeof text, "%s%u%s", format, random_arg(g, kind), at + 2);
    CHECK_OK(fh_sampler_steps_add_text(l, fh_str_of(text), &p, &err), err);
}

/* ties: logits on a coarse grid, for steps whose cuts do not split ties at the mercy of rounding */
static void random_row(fh_rng *g, plain_row *r, float *row, bool ties) {
    r->n = 1 + fh_rng_below(g, N);
    r->n_last = fh_rng_below(g, LAST + 1);
    for (size_t i = 0; i < r->n; i++) {
        double x = (fh_rng_f64(g) + fh_rng_f64(g) + fh_rng_f64(g) - 1.5) * 8;
        row[i] = ties ? (float)(floor(x) / 2) : (float)x;
        r->c[i] = (plain){.l = (double)row[i], .id = (uint32_t)i};
    }
    for (size_t i = 0; i < r->n_last; i++) r->last[i] = (uint32_t)fh_rng_below(g, 7);
}

static void compare(const fh_sampler_steps *l, plain_row *want, const float *row, size_t n_vocab,
                    const uint32_t *allowed) {
    fh_sampler *s = NULL;
    fh_sampler_scratch *x = NULL;
    const fh_candidate *list;
    double p[N] = {0};
    size_t n;
    bool in[N] = {false};
    const fh_sampler_config c = {.step = l->ptr, .n_step = l->len, .n_context = LAST};
    CHECK_OK(fh_sampler_new(&s, &c, &err), err);
    CHECK_OK(fh_sampler_scratch_new(&x, n_vocab, &err), err);
    for (size_t i = 0; i < want->n_last; i++) fh_sampler_accept(s, want->last[i]);
    for (int twice = 0; twice < 2; twice++) { /* the second time finds the scratch used */
        CHECK_OK(fh_sampler_probabilities(s, x, row, n_vocab, allowed, &list, &n, &err), err);
        CHECK_U64(n, want->n);
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(list[i].id < n_vocab && !in[list[i].id]);
        in[list[i].id] = true;
        p[list[i].id] = list[i].value;
    }
    softmax(want);
    for (size_t i = 0; i < n; i++) {
        CHECK(in[want->c[i].id]);
        if (fabs(p[want->c[i].id] - want->c[i].p) > 2e-6)
            fh_test_fail(__FILE__, __LINE__, "token %u has %.9g, expected %.9g", want->c[i].id, p[want->c[i].id],
                         want->c[i].p);
    }
    fh_sampler_free(s);
    fh_sampler_scratch_free(x);
}

TEST(sampler_steps, each_does_what_it_says) {
    fh_rng g;
    fh_rng_init(&g, fh_test_seed(), 77);
    for (size_t round = 0; round < 600 * fh_test_times(); round++)
        for (size_t kind = 0; kind < FH_STEP_KINDS; kind++) {
            plain_row want;
            float row[N];
            fh_sampler_steps l = {0};
            random_row(&g, &want, row, round % 4 == 0 && kind != FH_STEP_TYPICAL_P);
            size_t n = want.n;
            add_random_step(&l, &g, kind);
            for (size_t i = 0; i < l.len; i++) plain_step(&want, &l.ptr[i]);
            compare(&l, &want, row, n, NULL);
            fh_sampler_steps_release(&l);
        }
}

/* Any kinds in any order, over a part of the vocabulary. Typical after a cut by sigma follows the peer instead of the
 * definition (order_of_equals in sampler_steps.c) and is for the golden cases. */
TEST(sampler_steps, chains_do_their_steps_in_order) {
    fh_rng g;
    fh_rng_init(&g, fh_test_seed(), 78);
    for (size_t round = 0; round < 3000 * fh_test_times(); round++) {
        plain_row want;
        float row[N];
        uint32_t mask[N / 32 + 1];
        fh_sampler_steps l = {0};
        random_row(&g, &want, row, false);
        size_t n_vocab = want.n, n = 0;
        bool masked = round % 2 == 0;
        for (size_t i = 0; i < FH_COUNT(mask); i++) mask[i] = fh_rng_below(&g, 3) ? fh_rng_u32(&g) : UINT32_MAX;
        mask[0] |= 1;
        for (size_t i = 0; masked && i < want.n; i++)
            if (mask[i / 32] >> (i % 32) & 1) want.c[n++] = want.c[i];
        want.n = masked ? n : want.n;
        for (size_t k = 0; k < 1 + round % 5; k++) {
            size_t kind = fh_rng_below(&g, FH_STEP_MIROSTAT);
            if (kind != FH_STEP_TOP_N_SIGMA) add_random_step(&l, &g, kind);
        }
        for (size_t i = 0; i < l.len; i++) plain_step(&want, &l.ptr[i]);
        compare(&l, &want, row, n_vocab, masked ? mask : NULL);
        fh_sampler_steps_release(&l);
    }
}

TEST(sampler_steps, large_vocabularies_take_the_same_cuts) {
    enum { BIG = 50000 };
    const char *const chains[] = {"top_k=40", "top_p=0.7", "typical_p=0.5", "top_p=0.999", "top_k=49990;top_p=0.4"};
    static float row[BIG];
    static fh_candidate all[BIG];
    fh_rng g;
    const fh_sampler_params p = fh_sampler_defaults();
    fh_sampler_scratch *x = NULL;
    fh_rng_init(&g, 5, 79);
    double sum = 0;
    for (size_t i = 0; i < BIG; i++) {
        row[i] = (float)((fh_rng_f64(&g) + fh_rng_f64(&g) + fh_rng_f64(&g)) * 6);
        sum += exp((double)row[i]);
    }
    for (size_t i = 0; i < BIG; i++) all[i] = (fh_candidate){(double)row[i], (uint32_t)i};
    fh_heap_make((fh_heap){FH_HEAP_WORST, 0}, all, BIG);
    for (size_t n = BIG; n > 1; n--) fh_heap_pop((fh_heap){FH_HEAP_WORST, 0}, all, n);
    for (size_t i = 1; i < BIG; i++)
        CHECK(all[i - 1].value > all[i].value || (all[i - 1].value >= all[i].value && all[i - 1].id < all[i].id));
    CHECK_OK(fh_sampler_scratch_new(&x, BIG, &err), err);
    for (size_t c = 0; c < FH_COUNT(chains); c++) {
        fh_sampler_steps l = {0};
        fh_sampler *s = NULL;
        const fh_candidate *list;
        size_t n, want = 40;
        CHECK_OK(fh_sampler_steps_add_text(&l, fh_str_of(chains[c]), &p, &err), err);
        const fh_sampler_config config = {.step = l.ptr, .n_step = l.len};
        CHECK_OK(fh_sampler_new(&s, &config, &err), err);
        CHECK_OK(fh_sampler_probabilities(s, x, row, BIG, NULL, &list, &n, &err), err);
        if (c == 1 || c == 3) {
            double reached = 0;
            for (want = 0; reached < (c == 1 ? 0.7 : 0.999); want++) reached += exp(all[want].value) / sum;
        }
        if (c != 2 && c != 4) CHECK_U64(n, want);
        static bool in[BIG];
        memset(in, 0, sizeof in);
        for (size_t i = 0; i < n; i++) in[list[i].id] = true;
        for (size_t i = 0; c != 2 && i < n; i++) CHECK(in[all[i].id]);
        double kept = 0;
        for (size_t i = 0; i < n; i++) kept += exp((double)row[list[i].id]) / sum;
        CHECK(c != 2 || (kept > 0.5 && kept < 0.51));
        fh_sampler_free(s);
        fh_sampler_steps_release(&l);
    }
    fh_sampler_scratch_free(x);
}

/* ---- dry and the text of tokens ---- */

static double dry_penalty_of(uint32_t token, const fh_str *breaker, size_t n_breaker, const uint32_t *last, size_t n) {
    static const fh_str piece[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"x\ny", 3}, {"<", 1}, {"/s", 2}, {">", 1}, {"", 0}};
    const fh_sampler_step t = {.kind = FH_STEP_DRY, .arg = {1, 2, 1, -1}};
    const fh_sampler_config c = {.step = &t,
                                 .n_step = 1,
                                 .n_context = 32,
                                 .breaker = breaker,
                                 .n_breaker = n_breaker,
                                 .piece = piece,
                                 .n_piece = FH_COUNT(piece)};
    float row[FH_COUNT(piece)] = {0};
    fh_sampler *s = NULL;
    fh_sampler_scratch *x = NULL;
    const fh_candidate *list;
    size_t n_list;
    double p = 0, other = 0;
    CHECK_OK(fh_sampler_new(&s, &c, &err), err);
    CHECK_OK(fh_sampler_scratch_new(&x, FH_COUNT(row), &err), err);
    for (size_t i = 0; i < n; i++) fh_sampler_accept(s, last[i]);
    CHECK_OK(fh_sampler_probabilities(s, x, row, FH_COUNT(row), NULL, &list, &n_list, &err), err);
    for (size_t i = 0; i < n_list; i++) {
        if (list[i].id == token) p = list[i].value;
        else other = fmax(other, list[i].value); /* of a token without penalty */
    }
    fh_sampler_free(s);
    fh_sampler_scratch_free(x);
    return log(other / p);
}

static bool is_near(double a, double b) { return fabs(a - b) < 1e-6; }

TEST(sampler_steps, dry_does_not_look_across_breakers) {
    const fh_str newline = FH_STR("\n"), tag = FH_STR("</s>");
    const uint32_t plainly[] = {0, 1, 2, 0, 1}, broken[] = {0, 3, 1, 2, 0, 3, 1},
                   across[] = {0, 4, 5, 6, 1, 2, 0, 4, 5, 6, 1}, before[] = {0, 1, 3, 2, 0, 1};
    /* a b c a b: c would make three */
    CHECK(is_near(dry_penalty_of(2, &newline, 1, plainly, 5), 2));
    /* a | b c a | b: only b counts */
    CHECK(is_near(dry_penalty_of(2, NULL, 0, broken, 7), 4));
    CHECK(is_near(dry_penalty_of(2, &newline, 1, broken, 7), 1));
    /* the breaker is made of three tokens */
    CHECK(is_near(dry_penalty_of(2, &newline, 1, across, 11), 16));
    CHECK(is_near(dry_penalty_of(2, &tag, 1, across, 11), 1));
    /* a token that holds a breaker is never penalized */
    CHECK(is_near(dry_penalty_of(3, NULL, 0, before, 6), 2));
    CHECK(is_near(dry_penalty_of(3, &newline, 1, before, 6), 0));
}

/* ---- exp and log ---- */

static double ulps(double got, double want) {
    double step = nextafter(fabs(want), HUGE_VAL) - fabs(want);
    return fabs(got - want) / step;
}

TEST(sampler_steps, exp_and_log_are_close_to_the_library) {
    fh_rng g;
    double worst_exp = 0, worst_log = 0;
    fh_rng_init(&g, fh_test_seed(), 80);
    for (int i = 0; i < 200000; i++) {
        double x = (fh_rng_f64(&g) - 0.95) * 700, y = exp(x) * (1 + fh_rng_f64(&g));
        worst_exp = fmax(worst_exp, ulps(fh_sampler_exp(x), exp(x)));
        worst_log = fmax(worst_log, fabs(log(y)) > 0.1 ? ulps(fh_sampler_log(y), log(y)) : 0);
        double z = 1 + (fh_rng_f64(&g) - 0.5) * 0.2;
        CHECK(fabs(fh_sampler_log(z) - log(z)) < 4e-16);
    }
    CHECK(worst_exp <= 2 && worst_log <= 2);
    CHECK(fh_sampler_exp(0) >= 1 && fh_sampler_exp(0) <= 1 && fh_sampler_log(1) >= 0 && fh_sampler_log(1) <= 0);
    CHECK(fh_sampler_exp(-1000) <= 0 && fh_sampler_exp(-HUGE_VAL) <= 0 && fh_sampler_log(0) < -DBL_MAX);
    CHECK(fh_sampler_log(HUGE_VAL) > DBL_MAX && fabs(fh_sampler_log(DBL_MIN / 1024) - log(DBL_MIN / 1024)) < 1e-9);
    float row[] = {1, 2, 3, 4, 5, -1000, -HUGE_VALF};
    double sum = 0;
    for (size_t i = 0; i < FH_COUNT(row); i++) sum += exp((double)row[i] - 5);
    CHECK(fabs(fh_sampler_sum_exp(row, FH_COUNT(row), 5) - sum) < 1e-12);
}
