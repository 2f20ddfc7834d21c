/* text/split_scan.c - runs scanner operations over a text.
 * SPDX-License-Identifier: Apache-2.0
 * Linear but for what a pattern itself asks for twice. Each code point is looked at as a word of bits, one a set of the
 * pattern; ASCII by a table of 128. Allocates nothing and never fails. */
#include "base/cursor.h"
#include "text/split_part.h"

typedef struct scan {
    const split_scan *s;
    const split_alphabet *a;
    fh_str text;
} scan;

/* As fh_utf8_next for a byte above 127, short for what text is made of. */
static inline uint8_t symbol_at(const scan *c, size_t p, size_t *len) {
    const unsigned char *t = (const unsigned char *)c->text.ptr + p;
    size_t left = c->text.len - p;
    if (left >= 3 && (t[0] & 0xf0) == 0xe0 && (t[1] & 0xc0) == 0x80 && (t[2] & 0xc0) == 0x80) {
        uint32_t cp = (t[0] & 0xfu) << 12 | (t[1] & 0x3fu) << 6 | (t[2] & 0x3fu);
        if (cp >= 0x800 && (cp < 0xd800 || cp > 0xdfff)) {
            *len = 3;
            return split_symbol(c->a, cp);
        }
    } else if (left >= 2 && t[0] >= 0xc2 && t[0] < 0xe0 && (t[1] & 0xc0) == 0x80) {
        *len = 2;
        return split_symbol(c->a, (t[0] & 0x1fu) << 6 | (t[1] & 0x3fu));
    }
    return split_symbol(c->a, fh_utf8_next(c->text, p, len));
}

/* The sets of the code point at p < len, and its length. */
static inline uint64_t sets_at(const scan *c, size_t p, size_t *len) {
    unsigned char b = (unsigned char)c->text.ptr[p];
    if (b < 0x80) {
        *len = 1;
        return c->s->ascii[b];
    }
    return c->s->of_symbol[symbol_at(c, p, len)];
}

/* As run_all for the ASCII at p, eight bytes at a time: where words end cannot be foreseen, so a branch for each byte
 * would cost more than all this. May stop early near the end of the text. */
static inline size_t run_eights(const scan *c, size_t p, const split_run *r) {
    const uint64_t top = UINT64_MAX / 255 * 0x80;
    for (; c->text.len - p >= 8; p += 8) {
        uint64_t x = fh_load_u64((const uint8_t *)c->text.ptr + p);
        uint64_t y = (x | r->fold) & ~top;
        uint64_t out = (~(y + r->from) | (y + r->to) | x) & top;
        if (out) return p + (unsigned)__builtin_ctzll(out) / 8;
    }
    return p;
}

/* All code points of the set from p on, as many as there are. */
static inline size_t run_all(const scan *c, size_t p, const split_run *r) {
    const unsigned char *t = (const unsigned char *)c->text.ptr;
    size_t end = c->text.len, len;
    for (;;) {
        if (r->eight) p = run_eights(c, p, r);
        while (p < end && t[p] < 0x80 && (c->s->ascii[t[p]] & r->set)) p++;
        if (p >= end || t[p] < 0x80) return p;
        do {
            if (!(c->s->of_symbol[symbol_at(c, p, &len)] & r->set)) return p;
            p += len;
        } while (p < end && t[p] >= 0x80);
    }
}

/* Min to max code points of the set from p on, as many as there are; 0 if there are less. */
static inline size_t run_some(const scan *c, size_t p, const split_run *r) {
    uint32_t n = 0;
    size_t len;
    while (p < c->text.len && n < r->max && (sets_at(c, p, &len) & r->set)) {
        p += len;
        n++;
    }
    return n < r->min ? 0 : p;
}

/* As run_all; *last is behind its last member that is also in mark, or p. */
static inline size_t run_marking(const scan *c, size_t p, uint64_t set, uint64_t mark, size_t *last) {
    *last = p;
    while (p < c->text.len) {
        size_t len;
        uint64_t sets = sets_at(c, p, &len);
        if (!(sets & set)) break;
        p += len;
        if (sets & mark) *last = p;
    }
    return p;
}

static size_t try_words(const scan *c, const split_op *op, size_t p) {
    for (unsigned i = 0; i < op->n_word; i++) {
        size_t q = p, len;
        unsigned k = 0, n = c->s->word[op->word_at + i].n;
        for (; k < n && q < c->text.len; k++, q += len)
            if (!(sets_at(c, q, &len) & c->s->word[op->word_at + i].set[k])) break;
        if (k == n) return q;
    }
    return p;
}

/* The runs from p on; 0 if they do not match (a match is never empty, so never ends at 0). */
static inline size_t try_runs(const scan *c, const split_op *op, size_t p) {
    for (unsigned i = 0; i < op->n_run; i++) {
        const split_run *r = &op->run[i];
        if (r->max == SPLIT_MANY && r->min <= 1) {
            size_t e = run_all(c, p, r);
            if (e == p && r->min) return 0;
            p = e;
        } else {
            p = run_some(c, p, r);
            if (p == 0 && r->min) return 0;
        }
    }
    return p;
}

static inline size_t try_cased(const scan *c, const split_op *op, size_t p) {
    size_t last;
    size_t e = run_marking(c, p, op->run[0].set, op->run[1].set, &last);
    size_t q = run_all(c, e, &op->run[1]);
    if (q > e) return q;
    return last > p ? last : 0;
}

static size_t try_ahead(const scan *c, const split_op *op, size_t p) {
    const split_run *r = &op->run[0];
    size_t before = p, e = p, len;
    uint32_t n = 0;
    while (e < c->text.len && n < r->max && (sets_at(c, e, &len) & r->set)) {
        before = e;
        e += len;
        n += n != SPLIT_MANY - 1;
    }
    if (n < r->min) return 0;
    if (e == c->text.len || !(sets_at(c, e, &len) & op->not_before)) return e;
    return n > r->min ? before : 0;
}

static size_t try_end(const scan *c, const split_op *op, size_t p) {
    size_t len, last = 0, e = p;
    while (e < c->text.len) {
        uint64_t sets = sets_at(c, e, &len);
        if (e > p && (sets & op->newline)) last = e;
        if (!(sets & op->run[0].set)) break;
        e += len;
    }
    return e == c->text.len ? e : last;
}

static size_t try_body(const scan *c, const split_op *op, size_t p) {
    if (op->n_run == 1 && op->n_word == 0 && op->run[0].max == SPLIT_MANY && op->run[0].min <= 1)
        return run_all(c, p, &op->run[0]); /* never empty: the caller has looked */
    size_t len, e = op->kind == SPLIT_OP_CASED ? try_cased(c, op, p) : try_runs(c, op, p);
    if (e && op->n_word && e < c->text.len && (sets_at(c, e, &len) & op->word_first)) return try_words(c, op, e);
    return e;
}

/* sets: of the code point at p, len bytes long; next: of the one behind it */
static inline size_t try_op(const scan *c, const split_op *op, size_t p, uint64_t sets, size_t len, uint64_t next) {
    size_t e;
    switch (op->kind) {
    case SPLIT_OP_RUNS:
    case SPLIT_OP_CASED:
        if ((op->prefix & sets) && (op->body & next)) {
            e = try_body(c, op, p + len);
            if (e) return e;
        }
        return op->body & sets ? try_body(c, op, p) : 0;
    case SPLIT_OP_WORDS: e = try_words(c, op, p); return e > p ? e : 0;
    case SPLIT_OP_LAST: run_marking(c, p, op->run[0].set, op->run[1].set, &e); return e > p ? e : 0;
    case SPLIT_OP_AHEAD: return try_ahead(c, op, p);
    case SPLIT_OP_END: return try_end(c, op, p);
    }
    return 0;
}

/* Nothing matches at p. Where that began an endless run whose continuation failed, no place within the run can do
 * better: without remembering that a search would be quadratic. */
static void bury(const scan *c, size_t p, uint64_t sets, size_t *dead) {
    for (unsigned i = 0; i < c->s->n_op; i++) {
        const split_op *op = &c->s->op[i];
        bool endless = op->n_run > 0 && op->run[0].max == SPLIT_MANY && op->kind != SPLIT_OP_AHEAD;
        if (endless && (sets & op->run[0].set) && p >= dead[i]) dead[i] = run_all(c, p, &op->run[0]);
    }
}

/* A code point at p, and what can begin with it. */
typedef struct look {
    uint64_t sets, ops;
    size_t len;
} look;

static inline look look_at(const scan *c, size_t p) {
    unsigned char b = (unsigned char)c->text.ptr[p];
    if (b < 0x80) return (look){c->s->ascii[b], c->s->ascii_ops[b], 1};
    look l;
    uint8_t symbol = symbol_at(c, p, &l.len);
    l.sets = c->s->of_symbol[symbol];
    l.ops = c->s->symbol_ops[symbol];
    return l;
}

/* Where the match at p ends; 0: there is none. dead: where operations cannot match before, or NULL. */
static inline size_t match_at(const scan *c, size_t p, uint64_t sets, uint64_t ops, size_t len, const size_t *dead) {
    size_t unused;
    uint64_t next = p + len < c->text.len ? sets_at(c, p + len, &unused) : 0;
    for (; ops; ops &= ops - 1) {
        unsigned i = (unsigned)__builtin_ctzll(ops);
        if (dead && p < dead[i]) continue;
        size_t e = try_op(c, &c->s->op[i], p, sets, len, next);
        if (e) return e;
    }
    return 0;
}

/* The next match, where something could begin at p but did not. */
static __attribute__((noinline)) bool search_on(const scan *c, size_t p, look l, size_t *start, size_t *end) {
    size_t dead[SPLIT_OPS_MAX] = {0};
    for (;;) {
        bury(c, p, l.sets, dead);
        do {
            p += l.len;
            if (p >= c->text.len) return false;
            l = look_at(c, p);
        } while (!l.ops);
        *end = match_at(c, p, l.sets, l.ops, l.len, dead);
        if (*end == 0) continue;
        *start = p;
        return true;
    }
}

static inline bool next_match(const scan *c, size_t from, size_t *start, size_t *end) {
    for (size_t p = from; p < c->text.len;) {
        look l = look_at(c, p);
        if (!l.ops) {
            p += l.len;
            continue;
        }
        *end = match_at(c, p, l.sets, l.ops, l.len, NULL);
        if (*end == 0) return search_on(c, p, l, start, end);
        *start = p;
        return true;
    }
    return false;
}

bool split_scan_next(const split_scan *s, const split_alphabet *a, fh_str text, size_t from, size_t *start,
                     size_t *end) {
    scan c = {s, a, text};
    return next_match(&c, from, start, end);
}

size_t split_scan_cut(const split_scan *s, const split_alphabet *a, fh_str text, size_t *at, fh_str *piece,
                      size_t max) {
    scan c = {s, a, text};
    size_t n = 0, p = *at;
    while (p < text.len && n + 2 <= max) {
        size_t start, end;
        if (!next_match(&c, p, &start, &end)) start = end = text.len;
        if (start > p) piece[n++] = (fh_str){text.ptr + p, start - p};
        if (end > start) piece[n++] = (fh_str){text.ptr + start, end - start};
        p = end;
    }
    *at = p;
    return n;
}
