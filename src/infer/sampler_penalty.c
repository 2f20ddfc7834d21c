/* infer/sampler_penalty.c - the steps that look back: bias, penalties, and dry.
 * SPDX-License-Identifier: Apache-2.0
 * They change few logits, so they work on the row (a copy of it, in float) while the chain has not cut yet, and on the
 * list after that. mark[] holds a number for each token that they touch and is zero again when they are done. */
#include <float.h>
#include <math.h>

#include "base/num.h"
#include "infer/sampler_part.h"

#define DRY_EXPONENT_LN 88.7228391 /* ln of the largest float: the penalty stays one */

size_t fh_sampler_n_last(const fh_sampler *s, double last_n) {
    double n = last_n < 0 ? (double)s->n_context : last_n;
    n = n < (double)s->n_ring ? n : (double)s->n_ring;
    return (double)s->seen < n ? (size_t)s->seen : (size_t)n;
}

static void use_work(fh_chain_run *r) {
    if (r->row == r->x->work) return;
    memcpy(r->x->work, r->row, r->n_vocab * sizeof *r->row);
    r->row = r->x->work;
}

static double within(double x) {
    if (x > FH_CHAIN_VALUE_MOST) return FH_CHAIN_VALUE_MOST;
    return x < -FH_CHAIN_VALUE_MOST ? -FH_CHAIN_VALUE_MOST : x;
}

/* A logit of the row: too small is -inf, too large is the largest; NaN and +inf stay, to be reported. */
static float row_value(float old, double x) {
    if (!(old <= FLT_MAX) || old < -FLT_MAX) return old;
    if (x > (double)FLT_MAX) return FLT_MAX;
    return x < -(double)FLT_MAX ? -HUGE_VALF : (float)x;
}

void fh_chain_bias(fh_chain_run *r, const double *arg) {
    fh_candidate *v = r->x->list;
    if (!(arg[0] < (double)r->n_vocab)) return;
    uint32_t id = (uint32_t)arg[0];
    if (r->dense) {
        use_work(r);
        r->x->work[id] = row_value(r->row[id], (double)r->row[id] + arg[1]);
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (v[i].id != id) continue;
        if (arg[1] < -DBL_MAX) {
            memmove(v + i, v + i + 1, (--r->n - i) * sizeof *v);
            r->n_dead++;
        } else {
            v[i].value = within(v[i].value + arg[1]);
            r->sorted = false;
        }
        return;
    }
}

static double penalized(double x, uint32_t count, const double *arg) {
    x = x <= 0 ? x * arg[1] : x / arg[1];
    return x - ((double)count * arg[2] + arg[3]);
}

void fh_chain_penalties(fh_chain_run *r, const double *arg) {
    const fh_sampler *s = r->s;
    size_t n = fh_sampler_n_last(s, arg[0]);
    uint32_t *count = r->x->mark;
    fh_candidate *v = r->x->list;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = fh_sampler_last(s, i);
        if (id < r->n_vocab) count[id]++;
    }
    if (r->dense) use_work(r);
    for (size_t i = 0; !r->dense && i < r->n; i++)
        if (count[v[i].id] > 0) v[i].value = within(penalized(v[i].value, count[v[i].id], arg));
    for (size_t i = 0; i < n; i++) {
        uint32_t id = fh_sampler_last(s, i);
        if (id >= r->n_vocab || count[id] == 0) continue;
        if (r->dense) r->x->work[id] = row_value(r->row[id], penalized((double)r->row[id], count[id], arg));
        count[id] = 0;
    }
    r->sorted = false;
}

/* ---- dry ---- */

static fh_str piece_of(const fh_sampler *s, uint32_t id) { return id < s->n_piece ? s->piece[id] : (fh_str){NULL, 0}; }

static bool holds(fh_str text, fh_str part) {
    for (size_t i = 0; i + part.len <= text.len; i++)
        if (memcmp(text.ptr + i, part.ptr, part.len) == 0) return true;
    return false;
}

static bool holds_breaker(const fh_sampler *s, uint32_t id) {
    for (size_t i = 0; i < s->n_breaker; i++)
        if (holds(piece_of(s, id), s->breaker[i])) return true;
    return false;
}

/* Do the bytes up to `end` of the i-th last token, and the tokens before it (of the n last), end in b? */
static bool ends_in(const fh_sampler *s, size_t i, size_t end, size_t n, fh_str b) {
    fh_str text = {piece_of(s, fh_sampler_last(s, i)).ptr, end};
    for (size_t left = b.len; left > 0; left--) {
        while (text.len == 0) {
            if (++i == n) return false;
            text = piece_of(s, fh_sampler_last(s, i));
        }
        if (text.ptr[--text.len] != b.ptr[left - 1]) return false;
    }
    return true;
}

static bool breaks(const fh_sampler *s, size_t i, size_t n) {
    fh_str text = piece_of(s, fh_sampler_last(s, i));
    for (size_t k = 0; k < s->n_breaker; k++)
        for (size_t end = 1; end <= text.len; end++)
            if (text.ptr[end - 1] == s->breaker[k].ptr[s->breaker[k].len - 1] && ends_in(s, i, end, n, s->breaker[k]))
                return true;
    return false;
}

/* z[k]: how many of the last tokens equal those k tokens further back (the Z function of the reversed text). */
static void repeats(const fh_sampler *s, uint32_t *z, size_t n) {
    size_t left = 0, right = 0; /* [left, right) equals the beginning, and right is the furthest so far */
    for (size_t k = 1; k < n; k++) {
        size_t len = k < right ? FH_MIN((size_t)z[k - left], right - k) : 0;
        while (k + len < n && fh_sampler_last(s, len) == fh_sampler_last(s, k + len)) len++;
        z[k] = (uint32_t)len;
        if (k + len > right) left = k, right = k + len;
    }
}

static double dry_penalty(const double *arg, uint32_t length) {
    double exponent = (double)length - arg[2], most = 0, power = 1, square = arg[1];
    if (arg[1] > 1.000001) most = floor(DRY_EXPONENT_LN / fh_sampler_log(arg[1]));
    if (most > 0 && exponent > most) exponent = most;
    for (uint64_t e = (uint64_t)exponent; e > 0; e >>= 1, square *= square)
        if (e & 1) power *= square;
    double penalty = arg[0] * power;
    if (penalty > (double)FLT_MAX) return (double)FLT_MAX;
    return penalty < -(double)FLT_MAX ? -(double)FLT_MAX : penalty;
}

void fh_chain_dry(fh_chain_run *r, const double *arg) {
    const fh_sampler *s = r->s;
    size_t n = fh_sampler_n_last(s, arg[3]), limit = n;
    uint32_t *longest = r->x->mark, *z = s->z;
    fh_candidate *v = r->x->list;
    if ((double)n <= arg[2]) return;
    if (s->n_breaker > 0 && s->n_piece > 0)
        for (limit = 0; limit < n && !breaks(s, limit, n);) limit++;
    if ((double)limit < arg[2]) return;
    repeats(s, z, n);
    /* The token behind an earlier occurrence would continue it; mark holds 1 + the length. */
    for (size_t k = 1; k < n; k++) {
        uint32_t id = fh_sampler_last(s, k - 1), len = (uint32_t)FH_MIN((size_t)z[k], limit);
        if (id < r->n_vocab && (double)len >= arg[2] && len >= longest[id]) longest[id] = len + 1;
    }
    if (r->dense) use_work(r);
    for (size_t i = 0; !r->dense && i < r->n; i++) {
        uint32_t len = longest[v[i].id];
        if (len > 0 && !holds_breaker(s, v[i].id)) v[i].value = within(v[i].value - dry_penalty(arg, len - 1));
    }
    for (size_t k = 1; k < n; k++) {
        uint32_t id = fh_sampler_last(s, k - 1);
        if (id >= r->n_vocab || longest[id] == 0) continue;
        if (r->dense && !holds_breaker(s, id))
            r->x->work[id] = row_value(r->row[id], (double)r->row[id] - dry_penalty(arg, longest[id] - 1));
        longest[id] = 0;
    }
    r->sorted = false;
}
