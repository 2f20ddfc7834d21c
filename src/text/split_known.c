/* text/split_known.c - recognizes patterns that need no backtracking and turns them into scanner operations.
 * SPDX-License-Identifier: Apache-2.0
 * Not by digest: the tree of an alternative must have one of the shapes below, and its sets must have the relations
 * under which the shape's closed form gives exactly what a backtracking engine gives. All published patterns but a few
 * are alternatives of such shapes, however spelled ([\r\n] or raw bytes, (?i:'s|'t) or '(?i:[st]), possessive or not).
 *   RUNS   a? b{m,n} c*...   a greedy run never gives back: what follows can be nothing, or cannot begin with its set
 *   WORDS  's|'t|'re         fixed sequences, in order
 *   CASED  a? U* L+          U gives back to its last member that is in L, and L then takes only that one
 *   LAST   \s*[\r\n]+        the second set within the first: ends behind the last member of it in the run
 *   AHEAD  \s+(?!\S)         sets apart: gives back one at most
 *   END    \s+$
 * A pattern with any other alternative is not known as a whole. */
#include "text/split_part.h"

#define ITEMS_MAX 64u

typedef struct build {
    split_work *w;
    split_scan *s;
} build;

static uint64_t bit(unsigned set) { return UINT64_C(1) << set; }

/* The kids of nested sequences in one row. */
static bool flatten(const split_node *n, const split_node **item, unsigned *n_item) {
    if (n->kind == SPLIT_EMPTY) return true;
    if (n->kind == SPLIT_CAT) {
        for (const split_node *k = n->kid; k; k = k->next)
            if (!flatten(k, item, n_item)) return false;
        return true;
    }
    if (*n_item == ITEMS_MAX) return false;
    item[(*n_item)++] = n;
    return true;
}

/* The one node that a group holds, or the node itself. */
static const split_node *inner(const split_node *n) {
    while (n->kind == SPLIT_CAT && n->kid && !n->kid->next) n = n->kid;
    return n;
}

/* The item as a run of one set; false if it is none. */
static bool as_run(const split_node *n, split_run *r, bool *possessive) {
    const split_node *k = n;
    *possessive = false;
    r->min = r->max = 1;
    if (n->kind == SPLIT_REPEAT) {
        if (n->greed == SPLIT_LAZY && n->min != n->max) return false;
        *possessive = n->greed == SPLIT_POSSESSIVE;
        r->min = n->min;
        r->max = n->max;
        k = inner(n->kid);
        if (k->kind == SPLIT_REPEAT && n->min == 1 && n->max == SPLIT_MANY && k->min == 1 && k->greed == SPLIT_GREEDY) {
            k = inner(k->kid); /* (x{1,n})+ takes any number */
        }
    }
    if (k->kind != SPLIT_SET || k->set >= 64) return false;
    r->set = bit(k->set);
    return true;
}

static split_set set_of(const build *b, uint64_t one) { return b->w->set[__builtin_ctzll(one)]; }

/* All fixed sequences of the items, the preferred first. depth counts the code points so far. */
static bool words_of(build *b, const split_node *const *item, unsigned n, uint64_t *so_far, unsigned depth) {
    if (n == 0) {
        if (depth == 0 || b->s->n_word == SPLIT_WORDS_MAX) return false;
        memcpy(b->s->word[b->s->n_word].set, so_far, depth * sizeof so_far[0]);
        b->s->word[b->s->n_word++].n = depth;
        return true;
    }
    const split_node *k = item[0];
    if (k->kind == SPLIT_SET) {
        if (depth == FH_COUNT(b->s->word[0].set) || k->set >= 64) return false;
        so_far[depth] = bit(k->set);
        return words_of(b, item + 1, n - 1, so_far, depth + 1);
    }
    if (k->kind != SPLIT_ALT) return false;
    for (const split_node *one = k->kid; one; one = one->next) {
        const split_node *row[ITEMS_MAX];
        unsigned m = 0;
        if (!flatten(one, row, &m) || m + n - 1 > ITEMS_MAX) return false;
        for (unsigned i = 1; i < n; i++) row[m++] = item[i];
        if (!words_of(b, row, m, so_far, depth)) return false;
    }
    return true;
}

static bool words_only(const split_node *n, unsigned depth) {
    if (n->kind == SPLIT_SET) return true;
    if ((n->kind != SPLIT_CAT && n->kind != SPLIT_ALT) || depth > 8) return false;
    for (const split_node *k = n->kid; k; k = k->next)
        if (!words_only(k, depth + 1)) return false;
    return n->kid != NULL;
}

static void count_words(const build *b, split_op *op) {
    op->n_word = b->s->n_word - op->word_at;
    for (unsigned i = 0; i < op->n_word; i++) op->word_first |= b->s->word[op->word_at + i].set[0];
}

static bool op_words(build *b, const split_node *const *item, unsigned n, split_op *op) {
    uint64_t so_far[4];
    op->kind = SPLIT_OP_WORDS;
    op->word_at = b->s->n_word;
    if (!words_of(b, item, n, so_far, 0)) return false;
    count_words(b, op);
    op->first = op->word_first;
    return true;
}

/* Sets that the runs from i on can begin with; *nullable: they may take nothing. */
static uint64_t begins(const split_op *op, unsigned i, bool *nullable) {
    uint64_t sets = 0;
    *nullable = true;
    for (; i < op->n_run && *nullable; i++) {
        sets |= op->run[i].set;
        *nullable = op->run[i].min == 0;
    }
    return sets;
}

static bool meets(const build *b, uint64_t one, uint64_t sets) {
    for (; sets; sets &= sets - 1)
        if (split_set_meets(set_of(b, one), set_of(b, sets & -sets))) return true;
    return false;
}

/* a? at the front and (?:words)? at the end, taken off the row. */
static bool take_ends(build *b, const split_node *const **item, unsigned *n, split_op *op, bool *keep_prefix) {
    split_run r;
    const split_node *last = (*item)[*n - 1];
    *keep_prefix = false;
    if (*n > 1 && last->kind == SPLIT_REPEAT && last->min == 0 && last->max == 1 && last->greed != SPLIT_LAZY &&
        inner(last->kid)->kind == SPLIT_ALT && words_only(last->kid, 0)) {
        uint64_t so_far[4];
        const split_node *row[ITEMS_MAX];
        unsigned m = 0;
        op->word_at = b->s->n_word;
        if (!flatten(last->kid, row, &m) || !words_of(b, row, m, so_far, 0)) return false;
        count_words(b, op);
        --*n;
    }
    if (*n > 1 && (*item)[0]->kind == SPLIT_REPEAT && as_run((*item)[0], &r, keep_prefix) && r.min == 0 && r.max == 1) {
        op->prefix = r.set;
        ++*item;
        --*n;
    }
    return true;
}

static bool op_runs(build *b, const split_node *const *item, unsigned n, split_op *op) {
    bool possessive[SPLIT_RUNS_MAX], keep_prefix, nullable;
    if (!take_ends(b, &item, &n, op, &keep_prefix) || n > SPLIT_RUNS_MAX) return false;
    for (unsigned i = 0; i < n; i++)
        if (!as_run(item[i], &op->run[i], &possessive[i])) return false;
    op->n_run = n;
    uint64_t first = begins(op, 0, &nullable);
    if (nullable) return false; /* with a prefix alone it would be another shape */
    op->body = first;
    op->first = first | op->prefix;
    if (op->prefix && keep_prefix && meets(b, op->prefix, first)) return false;
    op->kind = SPLIT_OP_RUNS;
    for (unsigned i = 0; i + 1 < n; i++) {
        if (possessive[i] || op->run[i].min == op->run[i].max) continue;
        uint64_t next = begins(op, i + 1, &nullable);
        if (i && !nullable && op->run[i].max == SPLIT_MANY) return false; /* could be quadratic: PCRE2 has limits */
        if (nullable || !meets(b, op->run[i].set, next)) continue;
        if (n != 2 || op->run[0].min || op->run[0].max != SPLIT_MANY || op->run[1].min != 1) return false;
        split_set s0 = set_of(b, op->run[0].set), s1 = set_of(b, op->run[1].set);
        if (split_set_inside(s1, s0) && (op->run[1].max == SPLIT_MANY || op->run[1].max == 1)) {
            if (op->prefix || op->n_word) return false;
            op->kind = SPLIT_OP_LAST;
        } else if (op->run[1].max == SPLIT_MANY) {
            op->kind = SPLIT_OP_CASED;
        } else {
            return false;
        }
    }
    return true;
}

static bool op_look(build *b, const split_node *const *item, unsigned n, split_op *op) {
    bool possessive;
    const split_node *v;
    if (n != 2 || !as_run(item[0], &op->run[0], &possessive) || op->run[0].min == 0) return false;
    op->n_run = 1;
    op->first = op->run[0].set;
    if (item[1]->kind == SPLIT_LOOK) {
        v = inner(item[1]->kid);
        if (item[1]->behind || !item[1]->negative || v->kind != SPLIT_SET || v->set >= 64 || possessive) return false;
        op->kind = SPLIT_OP_AHEAD;
        op->not_before = bit(v->set);
        return !meets(b, op->run[0].set, op->not_before);
    }
    if ((item[1]->kind != SPLIT_TEXT_END && item[1]->kind != SPLIT_LINE_END) || op->run[0].max != SPLIT_MANY ||
        op->run[0].min != 1)
        return false;
    op->kind = SPLIT_OP_END;
    if (item[1]->kind == SPLIT_LINE_END) {
        if (b->w->newline >= 64) return false;
        op->newline = bit(b->w->newline);
        if (possessive && meets(b, op->run[0].set, op->newline)) op->newline = 0; /* it never gives one back */
    }
    return true;
}

static bool add_alternative(build *b, const split_node *n) {
    const split_node *item[ITEMS_MAX];
    unsigned m = 0;
    split_op op = {0};
    if (!flatten(n, item, &m) || m == 0) return false;
    if (m == 1 && item[0]->kind == SPLIT_ALT && !words_only(item[0], 0)) {
        for (const split_node *k = item[0]->kid; k; k = k->next)
            if (!add_alternative(b, k)) return false;
        return true;
    }
    if (b->s->n_op == SPLIT_OPS_MAX) return false;
    bool fixed = m > 1 || item[0]->kind == SPLIT_ALT;
    for (unsigned i = 0; i < m && fixed; i++) fixed = words_only(item[i], 0);
    unsigned words_before = b->s->n_word;
    if (fixed && op_words(b, item, m, &op)) {
        split_op *last = b->s->n_op ? &b->s->op[b->s->n_op - 1] : NULL;
        if (last && last->kind == SPLIT_OP_WORDS && last->word_at + last->n_word == op.word_at) {
            last->n_word += op.n_word; /* neighbours are one list */
            last->first = last->word_first |= op.first;
            return true;
        }
    } else {
        op = (split_op){0};
        b->s->n_word = words_before;
        if (!op_runs(b, item, m, &op)) {
            op = (split_op){0};
            b->s->n_word = words_before;
            if (!op_look(b, item, m, &op)) return false;
        }
    }
    b->s->op[b->s->n_op++] = op;
    return true;
}

/* Is the set's ASCII one range, of characters as they are or with the bit of lower case set? */
static void find_range(const split_scan *s, split_run *r) {
    const uint64_t each = UINT64_MAX / 255;
    for (unsigned fold = 0; fold <= 0x20; fold += 0x20) {
        unsigned lo = 128, hi = 0, c = 0;
        for (; c < 128; c++)
            if (s->ascii[c] & r->set) {
                lo = FH_MIN(lo, c | fold);
                hi = FH_MAX(hi, c | fold);
            }
        for (c = 0; c < 128; c++)
            if (((c | fold) >= lo && (c | fold) <= hi) != ((s->ascii[c] & r->set) != 0)) break;
        if (lo > hi || c < 128) continue;
        r->eight = true;
        r->fold = fold * each;
        r->from = (0x80 - lo) * each;
        r->to = (0x7F - hi) * each;
        return;
    }
}

fh_status split_scan_make(split_work *w, const split_node *tree, const split_alphabet *a, const bool *in,
                          split_scan **out, bool *known) {
    *known = false;
    if (w->n_set > 64) return FH_OK;
    split_scan *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(w->err, sizeof *s);
    build b = {w, s};
    if (!add_alternative(&b, tree)) {
        fh_free(s);
        return FH_OK;
    }
    for (unsigned i = 0; i < a->n_symbol; i++)
        for (unsigned k = 0; k < w->n_set; k++)
            if (in[i * (size_t)w->n_set + k]) s->of_symbol[i] |= bit(k);
    for (unsigned i = 0; i < a->n_symbol; i++)
        for (unsigned k = 0; k < s->n_op; k++)
            if (s->of_symbol[i] & s->op[k].first) s->symbol_ops[i] |= bit(k);
    for (unsigned c = 0; c < 128; c++) {
        s->ascii[c] = s->of_symbol[a->ascii[c]];
        s->ascii_ops[c] = s->symbol_ops[a->ascii[c]];
    }
    for (unsigned k = 0; k < s->n_op; k++)
        for (unsigned i = 0; i < s->op[k].n_run; i++) find_range(s, &s->op[k].run[i]);
    *known = true;
    *out = s;
    return FH_OK;
}
