/* tests/grammar_oracle.h - the slow, obviously right answer for expressions and rules: all ends of a match, by
 * recursion. SPDX-License-Identifier: Apache-2.0
 * A random expression is made as a tree, printed as a regular expression or as GBNF, and matched by following the tree:
 * from a place in a short text, which places can a match end at? Places are bits of a word. */
#ifndef FH_TESTS_GRAMMAR_ORACLE_H
#define FH_TESTS_GRAMMAR_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rng.h"

enum { ORACLE_NODES = 64, ORACLE_RULES = 4, ORACLE_TEXT = 14 };
enum { ORACLE_CHARS, ORACLE_SEQ, ORACLE_ALT, ORACLE_REPEAT, ORACLE_REF, ORACLE_EMPTY };

typedef struct oracle {
    struct {
        int kind, a, b;
        uint32_t set, least, most;
    } node[ORACLE_NODES]; /* set: bits of 'a'..'d' and U+00E9 */
    int n, rule[ORACLE_RULES], n_rule;
    fh_rng rng;
} oracle;

static const char *const oracle_letters[5] = {"a", "b", "c", "d", "\xC3\xA9"};

/* `first`: the lowest rule that may be called where nothing was read yet; rules only call later ones there. */
static int oracle_make(oracle *o, int depth, int first) {
    uint32_t pick = o->n > ORACLE_NODES - 8 || depth == 0 ? 0 : (uint32_t)fh_rng_below(&o->rng, 10);
    int i = o->n++;
    if (pick >= 9 && o->n_rule > 1 && first < o->n_rule) {
        o->node[i].kind = ORACLE_REF;
        o->node[i].a = first + (int)fh_rng_below(&o->rng, (uint64_t)(o->n_rule - first));
    } else if (pick >= 6) {
        o->node[i].kind = ORACLE_SEQ;
        int a = oracle_make(o, depth - 1, first);
        /* Behind a letter every rule may be called. */
        int b = oracle_make(o, depth - 1, o->node[a].kind == ORACLE_CHARS ? 0 : first);
        o->node[i].a = a;
        o->node[i].b = b;
    } else if (pick >= 4) {
        o->node[i].kind = ORACLE_ALT;
        int a = oracle_make(o, depth - 1, first), b = oracle_make(o, depth - 1, first);
        o->node[i].a = a;
        o->node[i].b = b;
    } else if (pick >= 2) {
        static const uint32_t bounds[][2] = {{0, 1}, {0, 99}, {1, 99}, {2, 2}, {1, 3}, {0, 2}, {2, 99}};
        const uint32_t *b = bounds[fh_rng_below(&o->rng, 7)];
        o->node[i].kind = ORACLE_REPEAT;
        o->node[i].least = b[0];
        o->node[i].most = b[1];
        int a = oracle_make(o, depth - 1, first);
        o->node[i].a = a;
    } else {
        o->node[i].kind = ORACLE_CHARS;
        o->node[i].set = pick == 1 ? 1 + (uint32_t)fh_rng_below(&o->rng, 31) : 1u << fh_rng_below(&o->rng, 5);
    }
    return i;
}

static void oracle_print(const oracle *o, int i, bool gbnf, fh_buf *out) {
    int k = o->node[i].kind;
    if (k == ORACLE_CHARS) {
        fh_buf_add_byte(out, '[');
        for (int c = 0; c < 5; c++)
            if (o->node[i].set >> c & 1) fh_buf_add_z(out, oracle_letters[c]);
        fh_buf_add_byte(out, ']');
        return;
    }
    if (k == ORACLE_REF) {
        fh_buf_printf(out, " r%d ", o->node[i].a);
        return;
    }
    fh_buf_add_byte(out, '(');
    oracle_print(o, o->node[i].a, gbnf, out);
    if (k == ORACLE_ALT) fh_buf_add_byte(out, '|');
    if (k == ORACLE_ALT || k == ORACLE_SEQ) {
        if (gbnf) fh_buf_add_byte(out, ' ');
        oracle_print(o, o->node[i].b, gbnf, out);
    }
    fh_buf_add_byte(out, ')');
    if (k != ORACLE_REPEAT) return;
    if (o->node[i].most == 99) fh_buf_printf(out, "{%u,}", o->node[i].least);
    else fh_buf_printf(out, "{%u,%u}", o->node[i].least, o->node[i].most);
}

/* text: numbers 0..4 of the letters. Bit e of the answer: a match of node i that begins at `at` can end at e. */
static uint32_t oracle_ends(const oracle *o, int i, const uint8_t *text, int n, int at) {
    uint32_t ends = 0, now;
    switch (o->node[i].kind) {
    case ORACLE_CHARS: return at < n && (o->node[i].set >> text[at] & 1) ? 2u << at : 0;
    case ORACLE_REF: return oracle_ends(o, o->rule[o->node[i].a], text, n, at);
    case ORACLE_ALT: return oracle_ends(o, o->node[i].a, text, n, at) | oracle_ends(o, o->node[i].b, text, n, at);
    case ORACLE_SEQ:
        now = oracle_ends(o, o->node[i].a, text, n, at);
        for (int e = at; e <= n; e++)
            if (now >> e & 1) ends |= oracle_ends(o, o->node[i].b, text, n, e);
        return ends;
    default: break;
    }
    now = 1u << at;
    if (o->node[i].least == 0) ends = now;
    for (uint32_t r = 1; r <= o->node[i].most && r <= 2 * ORACLE_TEXT && now; r++) {
        uint32_t next = 0;
        for (int e = at; e <= n; e++)
            if (now >> e & 1) next |= oracle_ends(o, o->node[i].a, text, n, e);
        now = next;
        if (r >= o->node[i].least) ends |= now;
    }
    return ends;
}

#endif
