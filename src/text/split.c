/* text/split.c - one pattern, from its text to its matches.
 * SPDX-License-Identifier: Apache-2.0
 * A compiled pattern is immutable: threads share it. What compiling needs lives in an arena that ends with the call.
 * A pattern whose matches may be empty is refused, unless all of them are: then it marks cuts, and what is run instead
 * is "one character and all that follow it up to the next cut". */
#include "text/split_part.h"

/* (any)(?:(?!tree)(any))* */
static fh_status between_cuts(split_work *w, split_node *tree, split_node **out) {
    split_set all;
    unsigned any;
    split_node *n = fh_arena_alloc(&w->arena, 6, sizeof *n);
    if (!n) return fh_arena_fail(&w->arena, w->err);
    FH_TRY(split_set_range(w, 0, 0x10ffff, &all));
    FH_TRY(split_set_intern(w, all, &any));
    n[0] = (split_node){.kind = SPLIT_CAT, .kid = &n[1]};
    n[1] = (split_node){.kind = SPLIT_SET, .set = any, .next = &n[2]};
    n[2] = (split_node){.kind = SPLIT_REPEAT, .greed = SPLIT_POSSESSIVE, .max = SPLIT_MANY, .kid = &n[3]};
    n[3] = (split_node){.kind = SPLIT_CAT, .kid = &n[4]};
    n[4] = (split_node){.kind = SPLIT_LOOK, .negative = true, .kid = tree, .next = &n[5]};
    n[5] = (split_node){.kind = SPLIT_SET, .set = any};
    *out = n;
    return FH_OK;
}

static fh_status compile(split_work *w, bool slow, fh_split *s) {
    split_node *tree = NULL;
    uint32_t min, max;
    bool *in = NULL, known = false;
    FH_TRY(split_parse(w, &tree));
    split_width(tree, &min, &max);
    if (max == 0) {
        s->cut = true;
        FH_TRY(between_cuts(w, tree, &tree));
    } else if (min == 0) {
        return split_refuse(w, 0, "it can match nothing at all");
    }
    FH_TRY(split_alphabet_make(w, &s->alphabet, &in));
    if (!slow && !s->cut) FH_TRY(split_scan_make(w, tree, &s->alphabet, in, &s->scan, &known));
    return known ? FH_OK : split_program_new(w, tree, &s->alphabet, in, &s->program);
}

static fh_status new_split(fh_split **out, fh_str pattern, fh_split_dialect dialect, bool slow, fh_err *err) {
    split_work *w = fh_alloc_zero(1, sizeof *w);
    fh_split *s = fh_alloc_zero(1, sizeof *s);
    fh_status st = FH_OK;
    if (!w || !s) {
        st = fh_fail_memory(err, sizeof *w);
        goto out;
    }
    fh_arena_init(&w->arena, SPLIT_ARENA_MAX);
    w->dialect = dialect;
    w->text = pattern;
    w->err = err;
    st = compile(w, slow, s);
    if (st != FH_OK) goto out;
    *out = s;
    s = NULL;
out:
    if (w) fh_arena_release(&w->arena);
    fh_free(w);
    fh_split_free(s);
    return st;
}

fh_status fh_split_new(fh_split **out, fh_str pattern, fh_err *err) {
    return new_split(out, pattern, FH_SPLIT_ONIGURUMA, false, err);
}

fh_status fh_split_new_dialect(fh_split **out, fh_str pattern, fh_split_dialect dialect, fh_err *err) {
    return new_split(out, pattern, dialect, false, err);
}

fh_status fh_split_new_slow(fh_split **out, fh_str pattern, fh_split_dialect dialect, fh_err *err) {
    return new_split(out, pattern, dialect, true, err);
}

fh_status fh_split_new_literal(fh_split **out, fh_str literal, fh_err *err) {
    if (literal.len == 0) return fh_fail(err, FH_ERR_UNSUPPORTED, "cannot split text at an empty string");
    fh_split *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->literal = fh_strdup(literal);
    s->literal_len = literal.len;
    if (!s->literal) {
        fh_split_free(s);
        return fh_fail_memory(err, literal.len);
    }
    *out = s;
    return FH_OK;
}

void fh_split_free(fh_split *s) {
    if (!s) return;
    split_alphabet_release(&s->alphabet);
    split_program_free(s->program);
    fh_free(s->scan);
    fh_free(s->literal);
    fh_free(s);
}

bool fh_split_is_known(const fh_split *s) { return s->program == NULL; }
bool fh_split_is_cut(const fh_split *s) { return s->cut; }

fh_status fh_split_next(const fh_split *s, fh_str text, size_t from, bool *found, size_t *start, size_t *end,
                        fh_err *err) {
    if (from >= text.len) {
        *found = false;
        return FH_OK;
    }
    if (s->program) return split_program_next(s->program, &s->alphabet, text, from, found, start, end, err);
    if (s->scan) {
        *found = split_scan_next(s->scan, &s->alphabet, text, from, start, end);
        return FH_OK;
    }
    const char *p = memmem(text.ptr + from, text.len - from, s->literal, s->literal_len);
    *found = p != NULL;
    if (p) {
        *start = (size_t)(p - text.ptr);
        *end = *start + s->literal_len;
    }
    return FH_OK;
}

fh_status fh_split_cut(const fh_split *s, fh_str text, size_t *at, fh_str *piece, size_t max, size_t *n, fh_err *err) {
    FH_REQUIRE(max >= 2);
    *n = 0;
    if (s->scan) {
        *n = split_scan_cut(s->scan, &s->alphabet, text, at, piece, max);
        return FH_OK;
    }
    while (*at < text.len && *n + 2 <= max) {
        size_t start, end;
        bool found;
        FH_TRY(fh_split_next(s, text, *at, &found, &start, &end, err));
        if (!found) start = end = text.len;
        if (start > *at) piece[(*n)++] = (fh_str){text.ptr + *at, start - *at};
        if (end > start) piece[(*n)++] = (fh_str){text.ptr + start, end - start};
        *at = end;
    }
    return FH_OK;
}
