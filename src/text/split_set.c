/* text/split_set.c - algebra on sets of code points.
 * SPDX-License-Identifier: Apache-2.0
 * Sets are ascending, disjoint, never touching ranges in the arena of the pattern being compiled; equal sets have equal
 * ranges, so that interning them is a comparison. */
#include "text/split_part.h"

static fh_status room(split_work *w, size_t n, split_set *out) {
    *out = (split_set){fh_arena_alloc(&w->arena, n ? n : 1, sizeof out->r[0]), 0};
    return out->r ? FH_OK : fh_arena_fail(&w->arena, w->err);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Appends a range that begins at or behind the last one's begin. */
static void add(split_set *s, uint32_t lo, uint32_t hi) {
    if (s->n && lo <= s->r[s->n - 1][1] + 1) {
        if (hi > s->r[s->n - 1][1]) s->r[s->n - 1][1] = hi;
        return;
    }
    s->r[s->n][0] = lo;
    s->r[s->n][1] = hi;
    s->n++;
}

fh_status split_set_range(split_work *w, uint32_t lo, uint32_t hi, split_set *out) {
    split_set s;
    FH_TRY(room(w, 1, &s));
    add(&s, lo, hi);
    *out = s;
    return FH_OK;
}

fh_status split_set_union(split_work *w, split_set a, split_set b, split_set *out) {
    split_set s;
    FH_TRY(room(w, a.n + b.n, &s));
    for (size_t i = 0, j = 0; i < a.n || j < b.n;) {
        if (j == b.n || (i < a.n && a.r[i][0] <= b.r[j][0])) {
            add(&s, a.r[i][0], a.r[i][1]);
            i++;
        } else {
            add(&s, b.r[j][0], b.r[j][1]);
            j++;
        }
    }
    *out = s;
    return FH_OK;
}

fh_status split_set_both(split_work *w, split_set a, split_set b, split_set *out) {
    split_set s;
    FH_TRY(room(w, a.n + b.n, &s));
    for (size_t i = 0, j = 0; i < a.n && j < b.n;) {
        uint32_t lo = FH_MAX(a.r[i][0], b.r[j][0]), hi = FH_MIN(a.r[i][1], b.r[j][1]);
        if (lo <= hi) add(&s, lo, hi);
        if (a.r[i][1] < b.r[j][1]) i++;
        else j++;
    }
    *out = s;
    return FH_OK;
}

fh_status split_set_not(split_work *w, split_set a, split_set *out) {
    split_set s;
    uint32_t from = 0;
    FH_TRY(room(w, a.n + 1, &s));
    for (size_t i = 0; i < a.n; i++) {
        if (a.r[i][0] > from) add(&s, from, a.r[i][0] - 1);
        from = a.r[i][1] + 1;
    }
    if (from <= 0x10ffff) add(&s, from, 0x10ffff);
    *out = s;
    return FH_OK;
}

bool split_set_has(split_set s, uint32_t cp) {
    size_t lo = 0, hi = s.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s.r[mid][1] < cp) lo = mid + 1;
        else hi = mid;
    }
    return lo < s.n && s.r[lo][0] <= cp;
}

bool split_set_meets(split_set a, split_set b) {
    for (size_t i = 0, j = 0; i < a.n && j < b.n;) {
        if (a.r[i][0] <= b.r[j][1] && b.r[j][0] <= a.r[i][1]) return true;
        if (a.r[i][1] < b.r[j][1]) i++;
        else j++;
    }
    return false;
}

bool split_set_inside(split_set a, split_set b) {
    for (size_t i = 0, j = 0; i < a.n; i++) {
        while (j < b.n && b.r[j][1] < a.r[i][0]) j++;
        if (j == b.n || b.r[j][0] > a.r[i][0] || b.r[j][1] < a.r[i][1]) return false;
    }
    return true;
}

/* A class of case variants is one folded form and all that fold to it. So: which members are folded or fold to a folded
 * form, then everything that folds to one of those. */
fh_status split_set_fold(split_work *w, split_set a, split_set *out) {
    size_t n = 0, n_hit = 0;
    for (uint32_t cp = 0, folded; fh_unicode_fold_next(&cp, &folded);) n++;
    uint32_t *hit = fh_arena_alloc(&w->arena, n + 1, sizeof hit[0]); /* folded forms with a member, unsorted */
    split_set s;
    if (!hit) return fh_arena_fail(&w->arena, w->err);
    FH_TRY(room(w, 2 * n, &s));
    for (uint32_t cp = 0, folded; fh_unicode_fold_next(&cp, &folded);)
        if (split_set_has(a, cp) || split_set_has(a, folded)) hit[n_hit++] = folded;
    qsort(hit, n_hit, sizeof hit[0], by_number);
    for (size_t i = 0; i < n_hit; i++) add(&s, hit[i], hit[i]);
    FH_TRY(split_set_union(w, a, s, &a));
    split_set more;
    FH_TRY(room(w, n, &more));
    for (uint32_t cp = 0, folded; fh_unicode_fold_next(&cp, &folded);)
        if (split_set_has(s, folded)) add(&more, cp, cp);
    return split_set_union(w, a, more, out);
}

fh_status split_set_intern(split_work *w, split_set s, unsigned *index) {
    for (unsigned i = 0; i < w->n_set; i++)
        if (w->set[i].n == s.n && (s.n == 0 || memcmp(w->set[i].r, s.r, s.n * sizeof s.r[0]) == 0)) {
            *index = i;
            return FH_OK;
        }
    if (w->n_set == SPLIT_SETS_MAX)
        return fh_fail(w->err, FH_ERR_LIMIT, "cannot use a pattern with more than %u different characters and classes",
                       SPLIT_SETS_MAX);
    w->set[w->n_set] = s;
    *index = w->n_set++;
    return FH_OK;
}
