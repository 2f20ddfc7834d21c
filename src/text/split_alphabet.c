/* text/split_alphabet.c - the symbols of a pattern: code points that none of its sets tells apart are one symbol.
 * SPDX-License-Identifier: Apache-2.0
 * Published patterns have 10 to 60 of them, so a symbol is a byte, a class is a bit map and no engine needs to know
 * Unicode. Patterns that would need more than 256 are refused. */
#include "text/split_part.h"

#define BLOCK 128u
#define N_BLOCK (0x110000u / BLOCK)

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Where some set begins or ends, ascending, the first is 0. */
static fh_status borders(split_work *w, uint32_t **out, size_t *n_out) {
    size_t n = 1, k = 1;
    for (unsigned i = 0; i < w->n_set; i++) n += 2 * w->set[i].n;
    uint32_t *b = fh_arena_alloc(&w->arena, n, sizeof b[0]);
    if (!b) return fh_arena_fail(&w->arena, w->err);
    for (unsigned i = 0; i < w->n_set; i++)
        for (size_t j = 0; j < w->set[i].n; j++) {
            b[k++] = w->set[i].r[j][0];
            b[k++] = w->set[i].r[j][1] + 1;
        }
    qsort(b, n, sizeof b[0], by_number);
    for (size_t i = k = 0; i < n; i++)
        if ((k == 0 || b[i] != b[k - 1]) && b[i] < 0x110000) b[k++] = b[i];
    *out = b;
    *n_out = k;
    return FH_OK;
}

typedef struct symbols {
    bool *in; /* [256 * n_set] */
    unsigned n, n_set;
} symbols;

/* The symbol with that membership, a new one if there is none; 256 when there are too many. */
static unsigned symbol_of(symbols *s, const bool *in) {
    for (unsigned i = 0; i < s->n; i++)
        if (memcmp(s->in + (size_t)i * s->n_set, in, s->n_set * sizeof in[0]) == 0) return i;
    if (s->n == 256) return 256;
    memcpy(s->in + (size_t)s->n * s->n_set, in, s->n_set * sizeof in[0]);
    return s->n++;
}

/* Where a symbol holds from, up to the next one's. */
typedef struct stretch {
    uint32_t from;
    uint8_t symbol;
} stretch;

/* The symbols of one block; *at is the stretch that it begins in, moved to the one that the next begins in. */
static void fill_block(const stretch *s, size_t n, uint32_t from, size_t *at, uint8_t block[BLOCK]) {
    for (uint32_t i = 0; i < BLOCK;) {
        uint32_t end = *at + 1 < n ? s[*at + 1].from - from : BLOCK;
        if (end > BLOCK) end = BLOCK;
        memset(block + i, s[*at].symbol, end - i);
        i = end;
        if (*at + 1 < n && s[*at + 1].from <= from + i) ++*at;
    }
}

/* Equal blocks are kept once. */
static fh_status pack(split_work *w, const stretch *s, size_t n_stretch, split_alphabet *out) {
    fh_buf stage2;
    fh_status st = FH_OK;
    uint8_t block[BLOCK];
    uint16_t of_one[256] = {0}; /* a block all of one symbol, plus 1: found without comparing */
    size_t n = 0, at = 0, len;
    uint16_t *stage1 = fh_alloc(N_BLOCK, sizeof stage1[0]);
    fh_buf_init(&stage2, (size_t)N_BLOCK * BLOCK);
    if (!stage1) {
        st = fh_fail_memory(w->err, N_BLOCK * sizeof stage1[0]);
        goto out;
    }
    for (size_t i = 0; i < N_BLOCK; i++) {
        uint8_t symbol = s[at].symbol;
        bool uniform = at + 1 == n_stretch || s[at + 1].from >= (i + 1) * BLOCK;
        fill_block(s, n_stretch, (uint32_t)(i * BLOCK), &at, block);
        size_t j = 0;
        if (uniform && of_one[symbol]) j = of_one[symbol] - 1u;
        else
            while (j < n && memcmp(stage2.ptr + j * BLOCK, block, BLOCK) != 0) j++;
        if (j == n) {
            fh_buf_add(&stage2, block, BLOCK);
            st = fh_buf_check(&stage2, w->err);
            if (st != FH_OK) goto out;
            n++;
        }
        if (uniform) of_one[symbol] = (uint16_t)(j + 1);
        if (i == 0) memcpy(out->ascii, block, BLOCK);
        stage1[i] = (uint16_t)j;
    }
    out->stage2 = (uint8_t *)fh_buf_take(&stage2, &len);
    if (!out->stage2) {
        st = fh_fail_memory(w->err, n * BLOCK);
        goto out;
    }
    out->stage1 = stage1;
    stage1 = NULL;
out:
    fh_free(stage1);
    fh_buf_release(&stage2);
    return st;
}

fh_status split_alphabet_make(split_work *w, split_alphabet *out, bool **in_out) {
    uint32_t *border = NULL;
    size_t n_border = 0, n_set = w->n_set ? w->n_set : 1;
    FH_TRY(borders(w, &border, &n_border));
    symbols s = {fh_arena_alloc(&w->arena, 256 * n_set, sizeof(bool)), 0, (unsigned)n_set};
    bool *in = fh_arena_alloc(&w->arena, n_set, sizeof(bool));
    size_t *at = fh_arena_alloc(&w->arena, n_set, sizeof at[0]); /* the first range of each set not yet passed */
    stretch *part = fh_arena_alloc(&w->arena, n_border, sizeof part[0]);
    if (!s.in || !in || !at || !part) return fh_arena_fail(&w->arena, w->err);
    for (size_t i = 0; i < n_border; i++) {
        uint32_t lo = border[i];
        for (unsigned k = 0; k < w->n_set; k++) {
            while (at[k] < w->set[k].n && w->set[k].r[at[k]][1] < lo) at[k]++;
            in[k] = at[k] < w->set[k].n && w->set[k].r[at[k]][0] <= lo;
        }
        unsigned symbol = symbol_of(&s, in);
        if (symbol == 256)
            return fh_fail(w->err, FH_ERR_LIMIT,
                           "cannot use pattern '%.*s': its classes tell more than 256 kinds apart",
                           FH_STR_ARG(w->text));
        part[i] = (stretch){lo, (uint8_t)symbol};
    }
    out->n_symbol = s.n;
    FH_TRY(pack(w, part, n_border, out));
    *in_out = s.in;
    return FH_OK;
}

void split_alphabet_release(split_alphabet *a) {
    fh_free(a->stage1);
    fh_free(a->stage2);
    *a = (split_alphabet){0};
}
