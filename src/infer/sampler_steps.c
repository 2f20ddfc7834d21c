/* infer/sampler_steps.c - the steps of a chain that cut or scale, and how a row of logits becomes a list of candidates.
 * SPDX-License-Identifier: Apache-2.0
 * Nothing is sorted further than a step asks for: top-k keeps a heap of k while it reads the row once; top-p and
 * typical put only those in order among which their sum is reached.
 * Every step leaves at least one candidate where it found one. Invariant: values in the list are finite. */
#include <float.h>
#include <math.h>

#include "base/num.h"
#include "infer/sampler_part.h"

#define LN2 0.6931471805599453

static const fh_heap best = {FH_HEAP_BEST, 0}, worst = {FH_HEAP_WORST, 0};

/* ---- from the row to a list ---- */

static fh_status bad_logit(float x, size_t id, fh_err *err) {
    return fh_fail(err, FH_ERR_CORRUPT, "the logit of token %zu is %s", id, x > 0 ? "infinite" : "not a number");
}

/* Calls fill for every run of allowed tokens [from, to). */
typedef fh_status fill_range(fh_chain_run *r, size_t from, size_t to, size_t k, fh_err *err);

static fh_status each_allowed(fh_chain_run *r, fill_range *fill, size_t k, fh_err *err) {
    if (!r->allowed) return fill(r, 0, r->n_vocab, k, err);
    for (size_t w = 0; w * 32 < r->n_vocab; w++) {
        uint32_t bits = r->allowed[w];
        size_t base = w * 32, n = FH_MIN(r->n_vocab - base, (size_t)32);
        if (bits == UINT32_MAX) {
            FH_TRY(fill(r, base, base + n, k, err));
            continue;
        }
        for (; bits != 0; bits &= bits - 1) {
            size_t i = (size_t)__builtin_ctz(bits);
            if (i >= n) break;
            FH_TRY(fill(r, base + i, base + i + 1, k, err));
        }
    }
    return FH_OK;
}

static fh_status fill_all(fh_chain_run *r, size_t from, size_t to, size_t k, fh_err *err) {
    (void)k;
    fh_candidate *list = r->x->list;
    size_t n = r->n;
    for (size_t i = from; i < to; i++) {
        float x = r->row[i];
        if (!(x <= FLT_MAX)) return bad_logit(x, i, err);
        list[n] = (fh_candidate){(double)x, (uint32_t)i};
        n += x >= -FLT_MAX;
    }
    r->n_dead += (to - from) - (n - r->n);
    r->n = n;
    return FH_OK;
}

fh_status fh_chain_fill(fh_chain_run *r, fh_err *err) {
    if (!r->dense) return FH_OK;
    r->n = r->n_dead = 0;
    FH_TRY(each_allowed(r, fill_all, 0, err));
    r->dense = false;
    r->sorted = false;
    return FH_OK;
}

/* A heap of the k best so far, the worst at its root. Ids ascend, so an equal value that comes later is worse. NaN and
 * +inf fail the one comparison that a token costs, and are looked at behind it. */
static fh_status fill_top(fh_chain_run *r, size_t from, size_t to, size_t k, fh_err *err) {
    fh_candidate *list = r->x->list;
    const float *row = r->row;
    size_t i = from;
    for (; i < to && r->n < k; i++) {
        float x = row[i];
        if (!(x <= FLT_MAX)) return bad_logit(x, i, err);
        if (x < -FLT_MAX) {
            r->n_dead++;
            continue;
        }
        list[r->n++] = (fh_candidate){(double)x, (uint32_t)i};
        if (r->n == k) fh_heap_make(worst, list, k);
    }
    if (i == to) return FH_OK;
    float least = (float)list[0].value;
    for (; i < to; i++) {
        float x = row[i];
        if (x <= least) continue;
        if (!(x <= FLT_MAX)) return bad_logit(x, i, err);
        list[0] = (fh_candidate){(double)x, (uint32_t)i};
        fh_heap_sink(worst, list, k, 0);
        least = (float)list[0].value;
    }
    return FH_OK;
}

static void sort_heap(fh_heap h, fh_candidate *v, size_t n) {
    for (; n > 1; n--) fh_heap_pop(h, v, n);
}

fh_status fh_chain_fill_top(fh_chain_run *r, size_t k, fh_err *err) {
    r->n = r->n_dead = 0;
    FH_TRY(each_allowed(r, fill_top, k, err));
    if (r->n < k) fh_heap_make(worst, r->x->list, r->n);
    sort_heap(worst, r->x->list, r->n);
    r->n_dead = FH_MIN(r->n_dead, k - r->n);
    r->dense = false;
    r->sorted = true;
    return FH_OK;
}

/* ---- what steps ask of a list ---- */

double fh_chain_max(const fh_chain_run *r) {
    const fh_candidate *v = r->x->list;
    double max = v[0].value;
    if (r->sorted) return max;
    for (size_t i = 1; i < r->n; i++) max = v[i].value > max ? v[i].value : max;
    return max;
}

double fh_chain_sum(const fh_chain_run *r, double max) {
    const fh_candidate *v = r->x->list;
    double sum[4] = {0};
    for (size_t i = 0; i < r->n; i++) sum[i & 3] += fh_sampler_exp(v[i].value - max);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Keeps the candidates of at least this value, in their order. */
static void keep_from(fh_chain_run *r, double least) {
    fh_candidate *v = r->x->list;
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        v[n] = v[i];
        n += v[i].value >= least;
    }
    r->n = n;
}

static void keep_best(fh_chain_run *r) {
    fh_candidate *v = r->x->list, b = v[0];
    for (size_t i = 1; i < r->n; i++)
        if (v[i].value > b.value || (v[i].value >= b.value && v[i].id < b.id)) b = v[i];
    v[0] = b;
    r->n_dead += r->n - 1;
    r->n = 1;
}

/* What was taken from a heap lies behind it, the first at the end: it moves to the front, in order. */
static size_t move_taken(fh_candidate *v, size_t n_heap, size_t n) {
    for (size_t i = n_heap, j = n; i + 1 < j; i++) {
        fh_candidate t = v[i];
        v[i] = v[--j];
        v[j] = t;
    }
    memmove(v, v + n_heap, (n - n_heap) * sizeof *v);
    return n - n_heap;
}

/* ---- cuts ---- */

/* The k best in order, and nothing else; n_dead stays. */
static void sort_first(fh_chain_run *r, size_t k) {
    size_t n = r->n;
    if (!r->sorted) {
        fh_heap_make(best, r->x->list, n);
        while (n > 0 && r->n - n < k) fh_heap_pop(best, r->x->list, n--);
        r->n = move_taken(r->x->list, n, r->n);
    }
    r->n = FH_MIN(r->n, k);
    r->sorted = true;
}

void fh_chain_top_k(fh_chain_run *r, size_t k) {
    sort_first(r, k);
    r->n_dead = FH_MIN(r->n_dead, k - r->n);
}

/* ---- until the sum reaches a share ---- */

/* Candidates by their distance from where the step begins: whole drawers go in or out, and only the one in which the
 * sum is reached is put in order. The last holds all that is further away. */
#define DRAWERS 256
#define DRAWER_WIDTH 0.125

static size_t drawer_of(fh_heap h, double value) {
    double d = (h.root == FH_HEAP_BEST ? h.centre - value : fabs(value - h.centre)) / DRAWER_WIDTH;
    return d < DRAWERS - 1 ? (size_t)d : DRAWERS - 1;
}

/* Keeps the first under h until their sum of exp(value - max) reaches p of all, or exceeds it. */
static void keep_share(fh_chain_run *r, fh_heap h, double max, double p, bool exceed) {
    fh_candidate *v = r->x->list;
    double mass[DRAWERS] = {0}, all = 0, sum = 0;
    size_t count[DRAWERS] = {0}, last = 0, n = 0, low = 0;
    for (size_t i = 0; i < r->n; i++) {
        size_t d = drawer_of(h, v[i].value);
        mass[d] += fh_sampler_exp(v[i].value - max);
        count[d]++;
    }
    for (size_t d = 0; d < DRAWERS; d++) all += mass[d];
    double need = p * all;
    while (last < DRAWERS && (count[last] == 0 || (exceed ? sum + mass[last] <= need : sum + mass[last] < need)))
        sum += mass[last++];
    if (last == DRAWERS) return; /* rounding: all of them, and the dead */
    for (size_t i = 0; i < r->n; i++) {
        size_t d = drawer_of(h, v[i].value);
        if (d > last) continue;
        fh_candidate c = v[i];
        if (d < last) v[n++] = v[low], v[low++] = c;
        else v[n++] = c;
    }
    size_t left = n - low;
    fh_heap_make(h, v + low, left);
    do {
        fh_heap_pop(h, v + low, left--);
        sum += fh_sampler_exp(v[low + left].value - max);
    } while (left > 0 && (exceed ? sum <= need : sum < need));
    r->n = low + move_taken(v + low, left, n - low);
    r->n_dead = 0;
    r->sorted = false;
}

void fh_chain_top_p(fh_chain_run *r, double p) {
    const fh_candidate *v = r->x->list;
    if (p >= 1 || r->n == 0) return;
    double max = fh_chain_max(r);
    if (!r->sorted) {
        keep_share(r, (fh_heap){FH_HEAP_BEST, max}, max, p, false);
        return;
    }
    double all = fh_chain_sum(r, max), sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        if ((sum += fh_sampler_exp(v[i].value - max)) < p * all) continue;
        r->n = i + 1;
        r->n_dead = 0;
        return;
    }
}

void fh_chain_min_p(fh_chain_run *r, double p) {
    if (p <= 0 || r->n == 0) return;
    double max = fh_chain_max(r);
    keep_from(r, FH_MIN(max, max + fh_sampler_log(p)));
    r->n_dead = 0;
}

/* Where a cut by sigma left candidates of probability 0, the peer's entropy is 0 * ln 0 = NaN, every comparison with it
 * is false, and candidates come in the order in which a sort (GNU's, a quicksort down to 16) leaves equal elements: by
 * value up to 16 of them, else shuffled. Golden chains hold such results, so they are kept. perm: 0, 1, 2, ... */
static void order_of_equals(uint32_t *perm, size_t first, size_t last) {
    while (last - first > 16) {
        size_t low = first + 1, high = last - 1, mid = first + (last - first) / 2;
        uint32_t t = perm[first];
        perm[first] = perm[mid];
        perm[mid] = t;
        for (; low < high; low++, high--) {
            t = perm[low];
            perm[low] = perm[high];
            perm[high] = t;
        }
        order_of_equals(perm, low, last);
        last = low;
    }
}

#define REACHED 0x80000000u

/* Typical after a cut by sigma, as people know it (order_of_equals). Those that were cut stand behind the living. */
static void typical_after_sigma(fh_chain_run *r, double p) {
    fh_candidate *v = r->x->list;
    uint32_t *perm = r->x->mark;
    size_t total = r->n + r->n_dead, n = 0, end = 0;
    sort_first(r, r->n);
    double max = v[0].value, all = fh_chain_sum(r, max), sum = 0;
    for (size_t i = 0; i < total; i++) perm[i] = (uint32_t)i;
    order_of_equals(perm, 0, total);
    for (; end < total && sum <= p * all; end++) {
        uint32_t at = perm[end] & ~REACHED;
        perm[at] |= REACHED;
        if (at < r->n) sum += fh_sampler_exp(v[at].value - max);
    }
    for (size_t i = 0; i < r->n; i++)
        if (perm[i] & REACHED) v[n++] = v[i];
    memset(perm, 0, total * sizeof *perm);
    r->n = n;
    r->n_dead = end - n;
}

/* |-ln p_i - entropy| is the distance of the logit from one number: max + ln sum - entropy. */
void fh_chain_typical_p(fh_chain_run *r, double p) {
    const fh_candidate *v = r->x->list;
    if (p >= 1 || r->n == 0) return;
    if (r->cut_by_sigma && r->n_dead > 0) {
        typical_after_sigma(r, p);
        return;
    }
    /* entropy = ln sum - mean of (value - max) */
    double max = fh_chain_max(r), all = fh_chain_sum(r, max), mean = 0;
    for (size_t i = 0; i < r->n; i++) mean += fh_sampler_exp(v[i].value - max) * (v[i].value - max);
    keep_share(r, (fh_heap){FH_HEAP_NEAREST, max + mean / all}, max, p, true);
}

void fh_chain_top_n_sigma(fh_chain_run *r, double n_sigma) {
    const fh_candidate *v = r->x->list;
    if (n_sigma <= 0 || r->n + r->n_dead <= 1 || r->n == 0) return;
    double max = fh_chain_max(r), sum = 0, square = 0;
    for (size_t i = 0; i < r->n; i++) sum += v[i].value;
    double mean = sum / (double)r->n;
    for (size_t i = 0; i < r->n; i++) square += (v[i].value - mean) * (v[i].value - mean);
    size_t before = r->n;
    keep_from(r, max - n_sigma * sqrt(square / (double)r->n));
    r->n_dead += before - r->n;
    r->cut_by_sigma = r->cut_by_sigma || r->n < before;
}

void fh_chain_xtc(fh_chain_run *r, double threshold) {
    fh_candidate *v = r->x->list;
    if (threshold > 0.5 || r->n < 2) return;
    double max = fh_chain_max(r), need = threshold * fh_chain_sum(r, max);
    fh_candidate least = {HUGE_VAL, 0};
    size_t reach = 0, n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (fh_sampler_exp(v[i].value - max) < need) continue;
        reach++;
        if (v[i].value < least.value || (v[i].value <= least.value && v[i].id > least.id)) least = v[i];
    }
    if (reach < 2) return;
    for (size_t i = 0; i < r->n; i++) {
        bool keep = v[i].id == least.id || fh_sampler_exp(v[i].value - max) < need;
        v[n] = v[i];
        n += keep;
    }
    r->n = n;
}

/* Keeps what surprises by at most mu bits: -log2 p <= mu. */
void fh_chain_mirostat(fh_chain_run *r, double mu) {
    if (r->n == 0) return;
    double max = fh_chain_max(r), least = max + fh_sampler_log(fh_chain_sum(r, max)) - mu * LN2;
    if (least > max) {
        keep_best(r);
    } else {
        keep_from(r, least);
    }
    r->n_dead = 0;
}

/* ---- scales ---- */

void fh_chain_temperature(fh_chain_run *r, double t) {
    fh_candidate *v = r->x->list;
    if (r->n == 0) return;
    if (t <= 0) {
        keep_best(r);
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        double x = v[i].value / t;
        x = x > FH_CHAIN_VALUE_MOST ? FH_CHAIN_VALUE_MOST : x;
        v[i].value = x < -FH_CHAIN_VALUE_MOST ? -FH_CHAIN_VALUE_MOST : x;
    }
}

void fh_chain_dynatemp(fh_chain_run *r, const double *arg) {
    const fh_candidate *v = r->x->list;
    double t = arg[0], range = arg[1], exponent = arg[2];
    if (range <= 0) {
        fh_chain_temperature(r, t);
        return;
    }
    if (r->n + r->n_dead <= 1 || r->n == 0) return;
    double low = t - range > 0 ? t - range : 0, high = t + range;
    double max = fh_chain_max(r), all = fh_chain_sum(r, max), mean = 0;
    for (size_t i = 0; i < r->n; i++) mean += fh_sampler_exp(v[i].value - max) * (v[i].value - max);
    double entropy = fh_sampler_log(all) - mean / all;
    double share = entropy / fh_sampler_log((double)(r->n + r->n_dead));
    double power = share > 0 ? fh_sampler_exp(exponent * fh_sampler_log(share)) : exponent > 0 ? 0 : 1;
    fh_chain_temperature(r, low + (high - low) * power);
}
