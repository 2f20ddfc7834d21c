/* text/pretokenizer.c - running the steps.
 * SPDX-License-Identifier: Apache-2.0
 * A step sees the text as a row of stretches, each a match or not, and joins or drops some of them by its behavior;
 * what remains goes to the next step at once. Depth of recursion = number of steps, which is bounded. */
#include "text/pretokenizer.h"

#include "base/num.h"
#include "text/byte_alphabet.h"
#include "text/char_class.h"

typedef struct run {
    const fh_pretokenizer *p;
    fh_pretok_scratch *s;
    fh_pretok_sink *sink;
    void *ctx;
    fh_err *err;
} run;

/* One step at work on one piece. */
typedef struct stage {
    run *r;
    uint32_t next; /* step that gets the pieces */
    fh_str text;
    bool head;
    fh_pretok_behavior behavior;
    size_t start, end; /* a piece that may still grow */
    bool held, held_match, last_match;
} stage;

static fh_status run_step(run *r, uint32_t i, fh_str text, bool head);

static fh_status pass(stage *g, size_t start, size_t end) {
    if (start == end) return FH_OK;
    return run_step(g->r, g->next, (fh_str){g->text.ptr + start, end - start}, g->head && start == 0);
}

static fh_status flush(stage *g) {
    bool held = g->held;
    g->held = false;
    return held ? pass(g, g->start, g->end) : FH_OK;
}

static fh_status hold(stage *g, size_t start, size_t end, bool match) {
    FH_TRY(flush(g));
    g->start = start;
    g->end = end;
    g->held = true;
    g->held_match = match;
    return FH_OK;
}

/* The next stretch of the text. */
static fh_status take(stage *g, size_t start, size_t end, bool match) {
    bool last = g->last_match, grow = false;
    g->last_match = match;
    switch (g->behavior) {
    case FH_PRETOK_REMOVED: return match ? FH_OK : pass(g, start, end);
    case FH_PRETOK_ISOLATED: return pass(g, start, end);
    case FH_PRETOK_CONTIGUOUS: grow = g->held && match == last; break;
    case FH_PRETOK_MERGED_WITH_PREVIOUS: grow = g->held && match && !last; break;
    case FH_PRETOK_MERGED_WITH_NEXT: grow = g->held && g->held_match && !match; break;
    }
    if (!grow) return hold(g, start, end, match);
    g->end = end;
    g->held_match = match;
    return FH_OK;
}

static stage stage_of(run *r, uint32_t i, fh_str text, bool head, fh_pretok_behavior behavior) {
    return (stage){.r = r, .next = i + 1, .text = text, .head = head, .behavior = behavior};
}

/* ---- sources of stretches ---- */

static fh_status by_pattern(stage *g, const fh_split *pattern, bool invert) {
    size_t at = 0, start, end;
    for (;;) {
        bool found;
        FH_TRY(fh_split_next(pattern, g->text, at, &found, &start, &end, g->r->err));
        if (!found) break;
        if (start > at) FH_TRY(take(g, at, start, invert));
        FH_TRY(take(g, start, end, !invert));
        at = end;
    }
    if (at < g->text.len) FH_TRY(take(g, at, g->text.len, invert));
    return flush(g);
}

/* Each character of the class is a match of its own. */
static fh_status by_class(stage *g, bool (*is)(uint32_t)) {
    size_t from = 0;
    for (size_t at = 0, len; at < g->text.len; at += len) {
        if (!is(fh_utf8_next(g->text, at, &len))) continue;
        if (at > from) FH_TRY(take(g, from, at, false));
        FH_TRY(take(g, at, at + len, true));
        from = at + len;
    }
    if (from < g->text.len) FH_TRY(take(g, from, g->text.len, false));
    return flush(g);
}

static fh_status by_char(stage *g, uint32_t ch) {
    size_t from = 0;
    for (size_t at = 0, len; at < g->text.len; at += len) {
        if (fh_utf8_next(g->text, at, &len) != ch) continue;
        if (at > from) FH_TRY(take(g, from, at, false));
        FH_TRY(take(g, at, at + len, true));
        from = at + len;
    }
    if (from < g->text.len) FH_TRY(take(g, from, g->text.len, false));
    return flush(g);
}

static bool is_number(uint32_t cp) { return fh_ucat_is_number(fh_unicode_cat(cp)); }

/* Runs of word characters, and runs of what is neither word nor space. */
static fh_status do_whitespace(stage *g) {
    enum { SPACE, WORD, OTHER } now = SPACE;
    size_t from = 0;
    for (size_t at = 0, len; at < g->text.len; at += len) {
        uint32_t cp = fh_utf8_next(g->text, at, &len);
        int kind = fh_is_word_char(cp) ? WORD : fh_unicode_is_white(cp) ? SPACE : OTHER;
        if (kind == (int)now) continue;
        if (now != SPACE) FH_TRY(pass(g, from, at));
        from = at;
        now = kind == WORD ? WORD : kind == SPACE ? SPACE : OTHER;
    }
    return now == SPACE ? FH_OK : pass(g, from, g->text.len);
}

/* Spaces are dropped, punctuation stands alone. */
static fh_status do_bert(stage *g) {
    size_t from = 0;
    for (size_t at = 0, len; at < g->text.len; at += len) {
        uint32_t cp = fh_utf8_next(g->text, at, &len);
        bool white = fh_unicode_is_white(cp), punct = fh_is_bert_punct(cp);
        if (!white && !punct) continue;
        FH_TRY(pass(g, from, at));
        if (punct) FH_TRY(pass(g, at, at + len));
        from = at + len;
    }
    return pass(g, from, g->text.len);
}

static fh_status do_fixed(stage *g, uint32_t length) {
    size_t from = 0;
    uint32_t n = 0;
    for (size_t at = 0, len; at < g->text.len; at += len) {
        fh_utf8_next(g->text, at, &len);
        if (++n < length) continue;
        FH_TRY(pass(g, from, at + len));
        from = at + len;
        n = 0;
    }
    return pass(g, from, g->text.len);
}

/* ---- steps that rewrite ---- */

/* A buffer of the step's own; text is not in it, for every step has another one. */
static fh_buf *own_buffer(run *r, uint32_t i, fh_str text) {
    fh_buf *b = &r->s->text[i];
    fh_buf_clear(b);
    b->limit = text.len > SIZE_MAX / 8 ? SIZE_MAX : 4 * text.len + 64;
    return b;
}

static fh_status byte_level_sink(stage *g, size_t start, size_t end) {
    fh_str part = {g->text.ptr + start, end - start};
    fh_buf *b = own_buffer(g->r, g->next - 1, part);
    fh_byte_alphabet_add(b, part);
    FH_TRY(fh_buf_check(b, g->r->err));
    return run_step(g->r, g->next, fh_buf_str(b), g->head && start == 0);
}

/* Pieces as they are: the model works on bytes. Or each in the byte alphabet, for steps behind this one. */
static fh_status do_byte_level(run *r, uint32_t i, fh_str text, bool head) {
    const fh_pretok_step *st = &r->p->step[i];
    size_t at = 0, start, end;
    fh_buf *b = NULL, prefixed;
    fh_status s = FH_OK;
    fh_buf_init(&prefixed, text.len + 1);
    if (st->prefix && text.len > 0 && text.ptr[0] != ' ') {
        b = st->map ? &prefixed : own_buffer(r, i, text);
        fh_buf_add_byte(b, ' ');
        fh_buf_add_str(b, text);
        s = fh_buf_check(b, r->err);
        text = fh_buf_str(b);
    }
    stage g = stage_of(r, i, text, head, FH_PRETOK_ISOLATED);
    if (s == FH_OK && !st->map) {
        s = st->pattern ? by_pattern(&g, st->pattern, false) : pass(&g, 0, text.len);
    } else if (s == FH_OK) {
        bool found = st->pattern != NULL;
        while (s == FH_OK && found) {
            s = fh_split_next(st->pattern, text, at, &found, &start, &end, r->err);
            if (s != FH_OK || !found) break;
            if (start > at) s = byte_level_sink(&g, at, start);
            if (s == FH_OK) s = byte_level_sink(&g, start, end);
            at = end;
        }
        if (s == FH_OK && at < text.len) s = byte_level_sink(&g, at, text.len);
    }
    fh_buf_release(&prefixed);
    return s;
}

static fh_status do_metaspace(run *r, uint32_t i, fh_str text, bool head) {
    const fh_pretok_step *st = &r->p->step[i];
    char mark[4];
    fh_str space = {mark, fh_utf8_put(st->ch, mark)};
    fh_buf *b = own_buffer(r, i, text);
    bool has = text.ptr[0] == ' ' || (text.len >= space.len && fh_str_eq(fh_str_first(text, space.len), space));
    if (!has && (st->scheme == FH_PRETOK_ALWAYS || (st->scheme == FH_PRETOK_FIRST && head))) fh_buf_add_str(b, space);
    for (size_t at = 0; at < text.len;) {
        const char *hit = memchr(text.ptr + at, ' ', text.len - at);
        size_t end = hit ? (size_t)(hit - text.ptr) : text.len;
        fh_buf_add(b, text.ptr + at, end - at);
        if (hit) fh_buf_add_str(b, space);
        at = end + (hit ? 1 : 0);
    }
    FH_TRY(fh_buf_check(b, r->err));
    stage g = stage_of(r, i, fh_buf_str(b), head, FH_PRETOK_MERGED_WITH_NEXT);
    return st->split ? by_char(&g, st->ch) : pass(&g, 0, g.text.len);
}

static fh_status run_step(run *r, uint32_t i, fh_str text, bool head) {
    if (i == r->p->n) return r->sink(r->ctx, text, r->err);
    const fh_pretok_step *st = &r->p->step[i];
    stage g = stage_of(r, i, text, head, st->behavior);
    switch (st->kind) {
    case FH_PRETOK_SPLIT: return by_pattern(&g, st->pattern, st->invert);
    case FH_PRETOK_BYTE_LEVEL: return do_byte_level(r, i, text, head);
    case FH_PRETOK_DIGITS: return by_class(&g, is_number);
    case FH_PRETOK_PUNCTUATION: return by_class(&g, fh_is_bert_punct);
    case FH_PRETOK_WHITESPACE: return do_whitespace(&g);
    case FH_PRETOK_WHITESPACE_SPLIT: return by_class(&g, fh_unicode_is_white);
    case FH_PRETOK_BERT: return do_bert(&g);
    case FH_PRETOK_METASPACE: return do_metaspace(r, i, text, head);
    case FH_PRETOK_CHAR: return by_char(&g, st->ch);
    case FH_PRETOK_FIXED: return do_fixed(&g, st->length);
    }
    return pass(&g, 0, text.len);
}

fh_status fh_pretokenizer_run(const fh_pretokenizer *p, fh_pretok_scratch *s, fh_str text, bool head,
                              fh_pretok_sink *sink, void *ctx, fh_err *err) {
    run r = {p, s, sink, ctx, err};
    return text.len > 0 ? run_step(&r, 0, text, head) : FH_OK;
}

void fh_pretok_scratch_init(fh_pretok_scratch *s) {
    for (size_t i = 0; i < FH_PRETOKENIZER_STEPS; i++) fh_buf_init(&s->text[i], 0);
}

void fh_pretok_scratch_release(fh_pretok_scratch *s) {
    for (size_t i = 0; i < FH_PRETOKENIZER_STEPS; i++) fh_buf_release(&s->text[i]);
}
