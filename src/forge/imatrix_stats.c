/* forge/imatrix_stats.c - see imatrix_stats.h. Owns nothing but a list of means while it looks at one entry.
 * SPDX-License-Identifier: Apache-2.0 */
#include "forge/imatrix_stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"

#define QUIET 1e-5 /* a column with less is not active */

/* "blk.12.attn_q.weight": layer 12, "attn_q". */
static void parse_name(fh_imatrix_stats *s) {
    fh_str name = s->entry->name, digits;
    uint64_t layer;
    size_t dot;
    s->layer = -1;
    if (fh_str_ends(name, ".weight")) name.len -= strlen(".weight");
    s->tensor = name;
    if (!fh_str_starts(name, "blk.")) return;
    name = fh_str_drop(name, strlen("blk."));
    if (!fh_str_find(name, '.', &dot)) return;
    digits = fh_str_first(name, dot);
    if (!fh_str_u64(digits, &layer) || layer > INT32_MAX) return;
    s->layer = (int32_t)layer;
    s->tensor = fh_str_drop(name, dot + 1);
}

/* Means of the columns that were seen. */
static uint64_t means_of(const fh_imatrix *m, const fh_imatrix_entry *e, double *out) {
    const uint64_t cols = e->n_value / e->n_mat;
    uint64_t n = 0;
    for (uint64_t i = 0; i < e->n_value; i++) {
        const double count = (double)e->count[i / cols];
        if (count > 0 || fh_imatrix_is_legacy(m)) out[n++] = (double)e->sum[i] / (count > 0 ? count : 1);
    }
    return n;
}

static void sum_up(fh_imatrix_stats *s, const double *v) {
    double squares = 0;
    uint64_t active = 0, out = 0;
    s->min = s->max = v[0];
    for (uint64_t i = 0; i < s->n; i++) {
        s->sum += v[i];
        squares += v[i] * v[i];
        s->min = FH_MIN(s->min, v[i]);
        s->max = FH_MAX(s->max, v[i]);
        active += v[i] > QUIET;
    }
    const double n = (double)s->n;
    s->mean = s->sum / n;
    s->deviation = sqrt(FH_MAX(squares / n - s->mean * s->mean, 0.0));
    for (uint64_t i = 0; i < s->n; i++) {
        const double share = s->sum > 0 ? v[i] / s->sum : 0;
        if (share > 0) s->entropy -= share * log2(share);
        out += s->deviation > 0 && v[i] - s->mean > s->deviation;
    }
    s->even = s->n > 1 ? s->entropy / log2(n) : 0;
    s->active = (double)active / n;
    s->outliers = (double)out / n;
}

static void compare(const fh_imatrix *m, fh_imatrix_stats *s) {
    char name[600];
    if (s->layer < 1) return;
    snprintf(name, sizeof name, "blk.%d.%.*s%s", (int)s->layer - 1, (int)FH_MIN(s->tensor.len, (size_t)500),
             s->tensor.ptr, fh_str_ends(s->entry->name, ".weight") ? ".weight" : "");
    const fh_imatrix_entry *a = s->entry, *b = fh_imatrix_find(m, fh_str_of(name));
    double ab = 0, aa = 0, bb = 0;
    if (!b || b->n_value != a->n_value) return;
    for (uint64_t i = 0; i < a->n_value; i++) {
        ab += (double)a->sum[i] * (double)b->sum[i];
        aa += (double)a->sum[i] * (double)a->sum[i];
        bb += (double)b->sum[i] * (double)b->sum[i];
    }
    s->likeness = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static int by_tensor(const void *a, const void *b) {
    const fh_imatrix_stats *x = a, *y = b;
    const int c = fh_str_cmp(x->tensor, y->tensor);
    if (c != 0) return c;
    if (x->sum != y->sum) return x->sum < y->sum ? 1 : -1;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

fh_status fh_imatrix_stats_of(const fh_imatrix *m, fh_imatrix_stats **out, size_t *n, fh_err *err) {
    const size_t entries = fh_imatrix_n_entry(m);
    uint64_t most = 1;
    size_t have = 0;
    for (size_t i = 0; i < entries; i++) most = FH_MAX(most, fh_imatrix_get(m, i)->n_value);
    fh_imatrix_stats *all = fh_alloc_zero(entries, sizeof *all);
    double *mean = fh_alloc((size_t)most, sizeof *mean);
    if (!all || !mean) {
        fh_free(all);
        fh_free(mean);
        return fh_fail_memory(err, entries * sizeof *all + (size_t)most * sizeof *mean);
    }
    for (size_t i = 0; i < entries; i++) {
        fh_imatrix_stats s = {.entry = fh_imatrix_get(m, i)};
        s.n = means_of(m, s.entry, mean);
        if (s.n == 0) continue;
        parse_name(&s);
        sum_up(&s, mean);
        compare(m, &s);
        all[have++] = s;
    }
    fh_free(mean);
    if (have) qsort(all, have, sizeof *all, by_tensor);
    *out = all;
    *n = have;
    return FH_OK;
}

bool fh_imatrix_stats_next_layer(const fh_imatrix_stats *all, size_t n, int32_t after, fh_imatrix_layer_stats *out) {
    fh_imatrix_layer_stats s = {.layer = INT32_MAX};
    double weight = 0;
    for (size_t i = 0; i < n; i++)
        if (all[i].layer > after) s.layer = FH_MIN(s.layer, all[i].layer);
    for (size_t i = 0; i < n; i++) {
        if (all[i].layer != s.layer) continue;
        const double w = (double)all[i].n;
        weight += w;
        s.sum += w * all[i].sum;
        s.outliers += w * all[i].outliers;
        s.likeness += w * all[i].likeness;
    }
    if (weight <= 0) return false;
    *out = (fh_imatrix_layer_stats){s.layer, s.sum / weight, s.outliers / weight, s.likeness / weight};
    return true;
}
