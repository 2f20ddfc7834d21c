/* forge/budget.c - see budget.h: measures what each tensor loses in each type, then spends the budget.
 * SPDX-License-Identifier: Apache-2.0
 * Memory: the sampled rows of one tensor. Errors of rows are kept apart and added in their order, so that threads
 * cannot be seen in the sum. */
#include "forge/budget.h"

#include <math.h>
#include <stdatomic.h>

#include "base/num.h"
#include "forge/sensitivity.h"
#include "kernel/decode.h"
#include "kernel/quantize.h"

#define SAMPLE ((uint64_t)1 << 17) /* numbers of a tensor that are tried */
#define FEWEST_ROWS 16u
#define MOST_CHOICES 16

static const struct {
    fh_dtype type;
    bool importance;
} types[] = {
#define FH_BUDGET_TYPE(type, importance) {FH_DTYPE_##type, importance},
#define FH_BUDGET_ROLE(role, weight)
#include "forge/budget.def"
#undef FH_BUDGET_TYPE
#undef FH_BUDGET_ROLE
};
_Static_assert(FH_COUNT(types) < MOST_CHOICES, "room for every type, and the tensor as it is");

static const double role_weight[FH_ROLE_COUNT] = {
#define FH_BUDGET_TYPE(type, importance)
#define FH_BUDGET_ROLE(role, weight) [FH_ROLE_##role] = weight,
#include "forge/budget.def"
#undef FH_BUDGET_TYPE
#undef FH_BUDGET_ROLE
};

typedef struct choice {
    fh_dtype type;
    bool fell_back;
    uint64_t bytes;
    double error;
} choice;

typedef struct item {
    fh_quantize_tensor *of;
    choice choice[MOST_CHOICES]; /* [n], more bytes and less error one after another */
    size_t n, now;
    fh_dtype probe;
    double probe_error; /* in the type in which sensitivity is measured */
} item;

/* Sampled rows of one tensor, tried in all its types by all threads. */
typedef struct trial {
    item *of;
    uint64_t cols, n_row, rows, rows_per_matrix; /* sampled; all of the tensor; of one of its matrices */
    float *x;                                    /* [n_row][cols] */
    const float *weight;                         /* [matrices][cols], or NULL */
    double *error, *energy;                      /* [n][n_row], [n_row] */
    float **back;                                /* [workers][cols] */
    uint8_t **bytes;                             /* [workers] */
    _Atomic uint64_t next;
} trial;

/* Which row of the tensor sample i is. */
static uint64_t row_of(const trial *t, uint64_t i) { return i * t->rows / t->n_row; }

/* Weighted square of what q is away from x; q NULL: from 0. */
static double error_of(const float *x, const float *q, const float *w, uint64_t n) {
    double e = 0;
    for (uint64_t k = 0; k < n; k++) {
        const double d = (double)x[k] - (double)(q ? q[k] : 0);
        e += (double)(w ? w[k] : 1) * d * d;
    }
    return e;
}

static void try_rows(void *ctx, int worker, int n_worker) {
    trial *t = ctx;
    (void)n_worker;
    for (;;) {
        const uint64_t at = atomic_fetch_add(&t->next, 1), row = at % t->n_row;
        if (at >= t->n_row * t->of->n) return;
        const choice *c = &t->of->choice[at / t->n_row];
        const float *x = t->x + row * t->cols;
        const float *w = t->weight ? t->weight + row_of(t, row) / t->rows_per_matrix * t->cols : NULL;
        fh_quantize(c->type, x, t->bytes[worker], 1, (size_t)t->cols, w);
        fh_decode(c->type, t->bytes[worker], t->back[worker], (size_t)t->cols);
        t->error[at] = error_of(x, t->back[worker], w, t->cols);
        if (at < t->n_row) t->energy[row] = error_of(x, NULL, w, t->cols);
    }
}

/* ---- rows ---- */

typedef struct pick {
    trial *t;
    const fh_tensor *from;
    size_t row_bytes;
    uint64_t row, taken;
    uint8_t *part; /* of a row that came in pieces */
    size_t n_part;
} pick;

static void pick_row(pick *p, const uint8_t *bytes) {
    trial *t = p->t;
    if (p->taken < t->n_row && p->row == row_of(t, p->taken))
        fh_decode(p->from->dtype, bytes, t->x + p->taken++ * t->cols, (size_t)t->cols);
    p->row++;
}

static fh_status pick_bytes(void *ctx, const void *data, size_t n, fh_err *err) {
    pick *p = ctx;
    const uint8_t *b = data;
    (void)err;
    while (n > 0) {
        if (p->n_part == 0 && n >= p->row_bytes) {
            pick_row(p, b);
            b += p->row_bytes;
            n -= p->row_bytes;
            continue;
        }
        const size_t some = FH_MIN(n, p->row_bytes - p->n_part);
        memcpy(p->part + p->n_part, b, some);
        p->n_part += some;
        b += some;
        n -= some;
        if (p->n_part < p->row_bytes) continue;
        pick_row(p, p->part);
        p->n_part = 0;
    }
    return FH_OK;
}

static fh_status read_rows(trial *t, fh_feed *f, fh_err *err) {
    const fh_tensor *from = t->of->of->from;
    const fh_dtype_info *info = fh_dtype_get_info(from->dtype);
    pick p = {.t = t, .from = from, .row_bytes = (size_t)(t->cols / info->block_elems * info->block_bytes)};
    if (from->data.ptr) {
        for (uint64_t i = 0; i < t->n_row; i++)
            fh_decode(from->dtype, from->data.ptr + row_of(t, i) * p.row_bytes, t->x + i * t->cols, (size_t)t->cols);
        return FH_OK;
    }
    p.part = fh_alloc(p.row_bytes, 1);
    if (!p.part) return fh_fail_memory(err, p.row_bytes);
    const fh_status st = fh_feed_read(f, from, pick_bytes, &p, err);
    fh_free(p.part);
    return st;
}

/* ---- one tensor ---- */

static fh_status list_choices(item *it, const fh_quantize_options *opt, fh_err *err) {
    const fh_tensor *t = it->of->from;
    uint64_t count;
    if (!fh_shape_count(&t->shape, &count))
        return fh_fail(err, FH_ERR_LIMIT, "tensor '%.*s' is too large", FH_STR_ARG(it->of->from->name));
    for (size_t k = 0; k < FH_COUNT(types) + 1; k++) {
        const bool as_is = k == FH_COUNT(types);
        choice c = {.type = as_is ? t->dtype : types[k].type};
        bool known = false;
        if (!as_is && types[k].importance && !it->of->weighted) continue;
        if (!as_is) FH_TRY(fh_mix_fit(t, &c.type, &c.fell_back, err));
        if (c.fell_back && fh_quantize_needs_weights(c.type) && !it->of->weighted) continue;
        for (size_t i = 0; i < it->n; i++) known = known || it->choice[i].type == c.type;
        if (known || !fh_can_quantize(c.type) || !fh_dtype_bytes(c.type, count, &c.bytes)) continue;
        if (as_is && fh_dtype_get_info(t->dtype)->cls == FH_DTYPE_CLASS_BLOCK && !opt->requantize) continue;
        it->choice[it->n++] = c;
    }
    return FH_OK;
}

static fh_status reserve(trial *t, int n_worker, fh_err *err) {
    const size_t numbers = (size_t)(t->n_row * t->cols), cells = (size_t)t->n_row * t->of->n;
    t->x = fh_alloc(numbers, sizeof *t->x);
    t->error = fh_alloc(cells, sizeof *t->error);
    t->energy = fh_alloc((size_t)t->n_row, sizeof *t->energy);
    t->back = fh_alloc_zero((size_t)n_worker, sizeof *t->back);
    t->bytes = fh_alloc_zero((size_t)n_worker, sizeof *t->bytes);
    bool whole = t->x && t->error && t->energy && t->back && t->bytes;
    for (int i = 0; i < n_worker && whole; i++) {
        t->back[i] = fh_alloc((size_t)t->cols, sizeof(float));
        t->bytes[i] = fh_alloc((size_t)t->cols, sizeof(double)); /* no type is wider */
        whole = t->back[i] && t->bytes[i];
    }
    return whole ? FH_OK : fh_fail_memory(err, numbers * sizeof *t->x);
}

static void release(trial *t, int n_worker) {
    for (int i = 0; i < n_worker; i++) {
        if (t->back) fh_free(t->back[i]);
        if (t->bytes) fh_free(t->bytes[i]);
    }
    fh_free(t->back);
    fh_free(t->bytes);
    fh_free(t->x);
    fh_free(t->error);
    fh_free(t->energy);
}

static void sum_up(trial *t) {
    double energy = 0;
    for (uint64_t r = 0; r < t->n_row; r++) energy += t->energy[r];
    for (size_t k = 0; k < t->of->n; k++) {
        double sum = 0;
        for (uint64_t r = 0; r < t->n_row; r++) sum += t->error[k * t->n_row + r];
        t->of->choice[k].error = energy > 0 ? sum / energy : 0;
        if (t->of->choice[k].type == t->of->probe) t->of->probe_error = t->of->choice[k].error;
    }
}

/* Leaves only choices that are better for their bytes than every smaller one. */
static void keep_useful(item *it) {
    size_t n = 0;
    for (size_t i = 1; i < it->n; i++)
        for (size_t k = i; k > 0; k--) {
            const choice *a = &it->choice[k - 1], *b = &it->choice[k];
            if (a->bytes < b->bytes || (a->bytes == b->bytes && a->error <= b->error)) break;
            const choice swap = it->choice[k];
            it->choice[k] = it->choice[k - 1];
            it->choice[k - 1] = swap;
        }
    for (size_t i = 0; i < it->n; i++)
        if (n == 0 || it->choice[i].error < it->choice[n - 1].error) it->choice[n++] = it->choice[i];
    it->n = n;
}

static fh_status measure(item *it, fh_feed *f, const fh_quantize_options *opt, fh_pool *pool, fh_err *err) {
    const fh_tensor *from = it->of->from;
    const int n_worker = fh_pool_size(pool);
    trial t = {.of = it, .cols = fh_shape_cols(&from->shape), .rows = fh_shape_rows(&from->shape)};
    float *weight = NULL;
    FH_TRY(list_choices(it, opt, err));
    if (it->n == 0) return FH_OK; /* nothing to choose from */
    bool fell_back = false;
    it->probe = FH_SENSITIVITY_TYPE;
    FH_TRY(fh_mix_fit(from, &it->probe, &fell_back, err));
    t.rows_per_matrix = from->shape.dim[from->shape.n_dim - 2];
    t.n_row = FH_MIN(FH_MAX(SAMPLE / t.cols, (uint64_t)FEWEST_ROWS), t.rows);
    fh_status st = reserve(&t, n_worker, err);
    if (st == FH_OK && it->of->weighted) {
        const fh_imatrix_entry *e = fh_imatrix_find(opt->imatrix, from->name);
        weight = fh_alloc((size_t)e->n_value, sizeof *weight);
        if (weight) fh_imatrix_weights(opt->imatrix, e, weight);
        else st = fh_fail_memory(err, (size_t)e->n_value * sizeof *weight);
        t.weight = weight;
    }
    if (st == FH_OK) st = read_rows(&t, f, err);
    for (uint64_t i = 0; st == FH_OK && i < t.n_row * t.cols; i++)
        if (!isfinite(t.x[i]))
            st = fh_fail(err, FH_ERR_FORMAT, "'%.*s': a number is not finite", FH_STR_ARG(from->name));
    if (st == FH_OK) {
        atomic_store(&t.next, 0);
        fh_pool_run(pool, try_rows, &t);
        sum_up(&t);
        keep_useful(it);
    }
    fh_free(weight);
    release(&t, n_worker);
    return st;
}

/* ---- spending ---- */

typedef struct step {
    item *of;
    size_t from, to;
    double gain; /* error per byte */
} step;

static int compare_gain(const void *a, const void *b) {
    const step *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    if (x->of != y->of) return x->of < y->of ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

static double gain_of(const item *it, size_t from, size_t to) {
    return (it->choice[from].error - it->choice[to].error) / (double)(it->choice[to].bytes - it->choice[from].bytes);
}

/* The steps along the lower hull of one tensor: each the best from where the one before ended. */
static size_t hull(item *it, step *out) {
    size_t n = 0;
    for (size_t at = 0; at + 1 < it->n;) {
        size_t best = at + 1;
        for (size_t k = at + 2; k < it->n; k++)
            if (gain_of(it, at, k) >= gain_of(it, at, best)) best = k;
        out[n++] = (step){it, at, best, gain_of(it, at, best)};
        at = best;
    }
    return n;
}

/* What a change of one tensor would add, in bytes; false where it does not fit. */
static bool fits(const item *it, size_t to, uint64_t left) {
    return it->choice[to].bytes - it->choice[it->now].bytes <= left;
}

static void fill_up(item *items, size_t n, uint64_t *left) {
    for (;;) {
        item *best = NULL;
        size_t to = 0;
        double most = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t k = items[i].now + 1; k < items[i].n && fits(&items[i], k, *left); k++) {
                const double less = items[i].choice[items[i].now].error - items[i].choice[k].error;
                if (less <= most) continue;
                best = &items[i];
                to = k;
                most = less;
            }
        if (!best) return;
        *left -= best->choice[to].bytes - best->choice[best->now].bytes;
        best->now = to;
    }
}

static fh_status spend(item *items, size_t n, uint64_t left, fh_err *err) {
    step *steps = fh_alloc(n * MOST_CHOICES, sizeof *steps);
    size_t n_step = 0;
    if (!steps) return fh_fail_memory(err, n * MOST_CHOICES * sizeof *steps);
    for (size_t i = 0; i < n; i++) n_step += hull(&items[i], steps + n_step);
    qsort(steps, n_step, sizeof *steps, compare_gain);
    for (size_t i = 0; i < n_step; i++) {
        item *it = steps[i].of;
        if (it->now != steps[i].from || !fits(it, steps[i].to, left)) continue;
        left -= it->choice[steps[i].to].bytes - it->choice[it->now].bytes;
        it->now = steps[i].to;
    }
    fill_up(items, n, &left);
    fh_free(steps);
    return FH_OK;
}

/* The name that general.file_type has for most of the numbers. */
static uint32_t most_common(const fh_quantize_plan *p) {
    uint64_t bytes[FH_DTYPE_COUNT] = {0};
    fh_dtype most = FH_DTYPE_F32;
    for (size_t i = 0; i < p->n; i++) bytes[p->item[i].type] += p->item[i].bytes;
    for (unsigned t = 0; t < FH_DTYPE_COUNT; t++)
        if (bytes[t] > bytes[most]) most = (fh_dtype)t;
    for (unsigned m = 0; m < FH_MIX_COUNT; m++)
        if (fh_mix_get((fh_mix)m)->base == most) return fh_mix_get((fh_mix)m)->number;
    return p->file_type;
}

static void settle(fh_quantize_plan *p, const item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const choice *c = &items[i].choice[items[i].now];
        items[i].of->type = c->type;
        items[i].of->fell_back = c->fell_back;
        items[i].of->bytes = c->bytes;
    }
    p->bytes_to = 0;
    p->n_fell_back = p->n_weighted = 0;
    for (size_t i = 0; i < p->n; i++) {
        p->bytes_to += p->item[i].bytes;
        p->n_fell_back += p->item[i].fell_back;
        p->n_weighted += p->item[i].weighted && p->item[i].type != p->item[i].from->dtype;
    }
    p->file_type = most_common(p);
}

/* What an error counts, as measured; the mean where that tells nothing. */
static void use_measured(double weight[FH_ROLE_COUNT], const double *cost, const double *sum) {
    double all_cost = 0, all_sum = 0;
    for (int r = 0; r < FH_ROLE_COUNT; r++) {
        all_cost += cost[r];
        all_sum += sum[r];
    }
    for (int r = 0; r < FH_ROLE_COUNT; r++) {
        weight[r] = all_sum > 0 ? all_cost / all_sum : 1;
        if (sum[r] > 0 && cost[r] > 0) weight[r] = cost[r] / sum[r];
    }
}

static fh_status weigh(item *items, size_t n, const fh_quantize_plan *p, fh_feed *f, const fh_quantize_options *opt,
                       fh_pool *pool, fh_err *err) {
    double cost[FH_ROLE_COUNT], sum[FH_ROLE_COUNT] = {0}, weight[FH_ROLE_COUNT];
    bool tied = true;
    memcpy(weight, role_weight, sizeof weight);
    for (size_t i = 0; i < n; i++) sum[fh_mix_role(items[i].of->name)] += items[i].probe_error;
    for (size_t i = 0; i < p->n; i++) tied = tied && fh_mix_role(p->item[i].name) != FH_ROLE_OUTPUT;
    if (tied) weight[FH_ROLE_EMBD] = weight[FH_ROLE_OUTPUT]; /* the embeddings are the head, too */
    if (opt->probe) {
        FH_TRY(fh_sensitivity_measure(cost, p, f, opt, opt->probe, pool, err));
        use_measured(weight, cost, sum);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < items[i].n; k++) items[i].choice[k].error *= weight[fh_mix_role(items[i].of->name)];
    return FH_OK;
}

fh_status fh_budget_apply(fh_quantize_plan *p, fh_feed *f, const fh_quantize_options *opt, fh_pool *pool, fh_err *err) {
    const double budget = floor(opt->bpw * (double)p->n_value / 8);
    item *items = fh_alloc_zero(p->n, sizeof *items);
    uint64_t least = 0;
    size_t n = 0;
    fh_status st = items ? FH_OK : fh_fail_memory(err, p->n * sizeof *items);
    for (size_t i = 0; i < p->n && st == FH_OK; i++) {
        if (p->item[i].fixed) {
            least += p->item[i].bytes;
            continue;
        }
        items[n].of = &p->item[i];
        st = measure(&items[n], f, opt, pool, err);
        if (st == FH_OK && items[n].n > 0) least += items[n++].choice[0].bytes;
        else least += p->item[i].bytes;
        if (opt->measured) opt->measured(opt->progress_ctx, i + 1, p->n);
    }
    if (st == FH_OK && (double)least > budget)
        st = fh_fail(err, FH_ERR_UNSUPPORTED, "%.3f bits a number are too few: this model needs %.3f%s", opt->bpw,
                     (double)least * 8 / (double)p->n_value,
                     opt->imatrix ? "" : " (smaller types need an importance matrix)");
    if (st == FH_OK && n > 0) st = weigh(items, n, p, f, opt, pool, err);
    if (st == FH_OK && n > 0) st = spend(items, n, (uint64_t)budget - least, err);
    if (st == FH_OK) settle(p, items, n);
    fh_free(items);
    return st;
}
