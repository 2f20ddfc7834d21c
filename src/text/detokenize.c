/* text/detokenize.c - decoder steps as a chain of little machines.
 * SPDX-License-Identifier: Apache-2.0
 * A step gets tokens one by one, hands tokens on, and may keep bytes until it knows better. Behind a step that makes
 * one text of all tokens, "tokens" are parts of that text; steps that need to see it whole keep it all until the end
 * (no published tokenizer has one there).
 * Bytes that are no UTF-8 become U+FFFD: one for each maximal part of a character (byte-level) or one for each byte
 * (byte tokens), as in the originals. */
#include "text/detokenize.h"

#include "base/num.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

#define REPLACEMENT "\xEF\xBF\xBD"
#define SPACE_MARK "\xE2\x96\x81"
#define HELD_MOST ((size_t)64 << 20)

typedef struct chain {
    fh_decoder_run *r;
    fh_buf *out;
    fh_err *err;
} chain;

static fh_status push(chain *c, uint32_t i, fh_decoder_token t);

static fh_status pass(chain *c, uint32_t i, fh_str text, fh_token_type type) {
    return push(c, i + 1, (fh_decoder_token){text, type});
}

static fh_buf *work_of(chain *c, uint32_t i) {
    fh_buf *b = &c->r->work[i];
    fh_buf_clear(b);
    b->limit = HELD_MOST;
    return b;
}

/* ---- bytes to characters ---- */

/* How many bytes of s, which has at least one, are decided: a whole character (*good), a part that no more bytes can
 * make whole, or 0: more bytes are needed. */
static size_t decided(fh_str s, bool *good) {
    uint8_t c = (uint8_t)s.ptr[0], lo = 0x80, hi = 0xBF;
    size_t need = c < 0x80 ? 1 : c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    *good = false;
    if (need == 0) return 1;
    if (c == 0xE0) lo = 0xA0;
    if (c == 0xED) hi = 0x9F;
    if (c == 0xF0) lo = 0x90;
    if (c == 0xF4) hi = 0x8F;
    for (size_t i = 1; i < need; i++) {
        if (i == s.len) return 0;
        uint8_t b = (uint8_t)s.ptr[i];
        if (b < lo || b > hi) return i;
        lo = 0x80;
        hi = 0xBF;
    }
    *good = true;
    return need;
}

/* Moves whole characters from held to out; at the end of the sequence also what will never be whole. */
static void settle(fh_buf *held, fh_buf *out, bool per_byte, bool end) {
    fh_str s = fh_buf_str(held);
    size_t at = 0;
    while (at < s.len) {
        bool good;
        size_t len = decided(fh_str_drop(s, at), &good);
        if (len == 0 && !end) break;
        if (len == 0) len = s.len - at;
        if (good) {
            fh_buf_add(out, s.ptr + at, len);
        } else {
            if (per_byte) len = 1;
            fh_buf_add_z(out, REPLACEMENT);
        }
        at += len;
    }
    if (at > 0 && at < s.len) memmove(held->ptr, held->ptr + at, s.len - at);
    held->len = s.len - at;
}

static fh_status push_bytes(chain *c, uint32_t i, fh_str text, bool alphabet) {
    fh_decoder_state *st = &c->r->state[i];
    fh_buf *b = work_of(c, i);
    size_t len;
    st->held.limit = HELD_MOST;
    uint8_t *room = alphabet ? fh_buf_extend(&st->held, text.len) : NULL;
    if (room) st->held.len -= text.len;
    if (room && fh_byte_alphabet_decode(text, room, &len)) st->held.len += len;
    else fh_buf_add_str(&st->held, text);
    FH_TRY(fh_buf_check(&st->held, c->err));
    settle(&st->held, b, false, false);
    FH_TRY(fh_buf_check(b, c->err));
    return b->len > 0 ? pass(c, i, fh_buf_str(b), FH_TOKEN_NORMAL) : FH_OK;
}

/* What byte tokens are still there at the end of their run. */
static fh_status end_byte_run(chain *c, uint32_t i) {
    fh_decoder_state *st = &c->r->state[i];
    if (st->held.len == 0) return FH_OK;
    fh_buf *b = work_of(c, i);
    settle(&st->held, b, true, true);
    FH_TRY(fh_buf_check(b, c->err));
    return pass(c, i, fh_buf_str(b), FH_TOKEN_NORMAL);
}

static fh_status add_byte(chain *c, uint32_t i, uint8_t byte) {
    fh_decoder_state *st = &c->r->state[i];
    fh_buf *b = work_of(c, i);
    st->held.limit = HELD_MOST;
    fh_buf_add_byte(&st->held, byte);
    FH_TRY(fh_buf_check(&st->held, c->err));
    settle(&st->held, b, true, false);
    FH_TRY(fh_buf_check(b, c->err));
    return b->len > 0 ? pass(c, i, fh_buf_str(b), FH_TOKEN_NORMAL) : FH_OK;
}

static fh_status push_fallback(chain *c, uint32_t i, fh_decoder_token t) {
    uint8_t byte;
    if (fh_vocab_parse_byte(t.text, &byte)) return add_byte(c, i, byte);
    FH_TRY(end_byte_run(c, i));
    return pass(c, i, t.text, t.type);
}

/* ---- token by token ---- */

static void replace_all(fh_buf *out, fh_str s, fh_str from, fh_str to) {
    size_t at = 0;
    while (from.len > 0 && at + from.len <= s.len) {
        const char *hit = memchr(s.ptr + at, from.ptr[0], s.len - at - from.len + 1);
        if (!hit) break;
        size_t pos = (size_t)(hit - s.ptr);
        bool same = memcmp(hit, from.ptr, from.len) == 0;
        fh_buf_add(out, s.ptr + at, pos - at);
        if (same) fh_buf_add_str(out, to);
        else fh_buf_add_byte(out, (uint8_t)*hit);
        at = pos + (same ? from.len : 1);
    }
    fh_buf_add_str(out, fh_str_drop(s, at));
}

static fh_status push_metaspace(chain *c, uint32_t i, fh_decoder_token t) {
    const fh_decoder_step *step = &c->r->d->step[i];
    bool first = c->r->state[i].count++ == 0;
    char mark[4];
    fh_str from = {mark, fh_utf8_put(step->ch, mark)};
    fh_buf *b = work_of(c, i);
    replace_all(b, t.text, from, first && step->prefix ? FH_STR("") : FH_STR(" "));
    FH_TRY(fh_buf_check(b, c->err));
    return pass(c, i, fh_buf_str(b), t.type);
}

/* English spacing as the original undoes it: one replacement after the other, within one token. */
static fh_status clean_up(chain *c, fh_buf *b) {
    static const char *const rule[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                          {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                          {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    fh_status s = FH_OK;
    fh_buf t;
    if (b->len == 0 || !memchr(b->ptr, ' ', b->len)) return FH_OK;
    fh_buf_init(&t, HELD_MOST);
    for (size_t i = 0; i < FH_COUNT(rule) && s == FH_OK; i++) {
        fh_buf_clear(&t);
        replace_all(&t, fh_buf_str(b), fh_str_of(rule[i][0]), fh_str_of(rule[i][1]));
        s = fh_buf_check(&t, c->err);
        fh_buf swap = *b;
        *b = t;
        t = swap;
    }
    fh_buf_release(&t);
    return s;
}

static bool starts_with(fh_str s, fh_str prefix) {
    return s.len >= prefix.len && fh_str_eq(fh_str_first(s, prefix.len), prefix);
}

static fh_status push_word(chain *c, uint32_t i, fh_decoder_token t) {
    const fh_decoder_step *step = &c->r->d->step[i];
    bool first = c->r->state[i].count++ == 0, goes_on;
    fh_str text = t.text;
    fh_buf *b = work_of(c, i);
    if (step->kind == FH_DECODER_MARKED_WORDS) {
        bool marked = fh_str_starts(text, SPACE_MARK);
        if (marked) text = fh_str_drop(text, sizeof SPACE_MARK - 1);
        goes_on = !marked && t.type == FH_TOKEN_NORMAL;
    } else {
        goes_on = starts_with(text, step->text);
        if (goes_on && !first) text = fh_str_drop(text, step->text.len);
    }
    if (!first && !goes_on) fh_buf_add_byte(b, ' ');
    fh_buf_add_str(b, text);
    FH_TRY(fh_buf_check(b, c->err));
    if (step->cleanup) FH_TRY(clean_up(c, b));
    return pass(c, i, fh_buf_str(b), t.type);
}

static fh_status replace_pattern(chain *c, uint32_t i, fh_str text, fh_buf *b) {
    const fh_decoder_step *step = &c->r->d->step[i];
    size_t at = 0, start, end;
    for (;;) {
        bool found;
        FH_TRY(fh_split_next(step->pattern, text, at, &found, &start, &end, c->err));
        if (!found) break;
        fh_buf_add(b, text.ptr + at, start - at);
        fh_buf_add_str(b, step->text);
        at = end;
        if (b->status != FH_OK) break;
    }
    fh_buf_add_str(b, fh_str_drop(text, at));
    return fh_buf_check(b, c->err);
}

static fh_status push_replace(chain *c, uint32_t i, fh_decoder_token t) {
    fh_buf *b = work_of(c, i);
    FH_TRY(replace_pattern(c, i, t.text, b));
    return pass(c, i, fh_buf_str(b), t.type);
}

static fh_str strip(const fh_decoder_step *step, fh_str s) {
    char mark[4];
    fh_str ch = {mark, fh_utf8_put(step->ch, mark)};
    for (uint32_t k = 0; k < step->start && starts_with(s, ch); k++) s = fh_str_drop(s, ch.len);
    for (uint32_t k = 0; k < step->stop && s.len >= ch.len; k++) {
        if (memcmp(s.ptr + s.len - ch.len, ch.ptr, ch.len) != 0) break;
        s.len -= ch.len;
    }
    return s;
}

/* The start of one long text: count of characters taken off so far. */
static fh_status strip_start(chain *c, uint32_t i, fh_decoder_token t) {
    const fh_decoder_step *step = &c->r->d->step[i];
    fh_decoder_state *st = &c->r->state[i];
    char mark[4];
    fh_str ch = {mark, fh_utf8_put(step->ch, mark)};
    while (!st->done && t.text.len > 0) {
        if (st->count < step->start && starts_with(t.text, ch)) {
            t.text = fh_str_drop(t.text, ch.len);
            st->count++;
        } else {
            st->done = true;
        }
    }
    return t.text.len > 0 ? pass(c, i, t.text, t.type) : FH_OK;
}

/* A word's end turns into a space unless it ends the text: each token waits for the next. */
static fh_status push_bpe(chain *c, uint32_t i, fh_decoder_token t) {
    fh_decoder_state *st = &c->r->state[i];
    if (st->seen) {
        fh_buf *b = work_of(c, i);
        replace_all(b, fh_buf_str(&st->held), c->r->d->step[i].text, FH_STR(" "));
        FH_TRY(fh_buf_check(b, c->err));
        FH_TRY(pass(c, i, fh_buf_str(b), FH_TOKEN_NORMAL));
    }
    st->seen = true;
    fh_buf_clear(&st->held);
    st->held.limit = HELD_MOST;
    fh_buf_add_str(&st->held, t.text);
    return fh_buf_check(&st->held, c->err);
}

/* ---- SentencePiece ---- */

/* state.done: text has come out; state.seen: the space that encoding put in front was taken off */
static fh_status push_sentencepiece(chain *c, uint32_t i, fh_decoder_token t) {
    const fh_decoder_step *step = &c->r->d->step[i];
    fh_decoder_state *st = &c->r->state[i];
    uint8_t byte;
    if (t.type == FH_TOKEN_BYTE && fh_vocab_parse_byte(t.text, &byte)) {
        st->done = true;
        return add_byte(c, i, byte);
    }
    FH_TRY(end_byte_run(c, i));
    if (t.type == FH_TOKEN_UNKNOWN && step->text.ptr) {
        st->done = true;
        return pass(c, i, step->text, t.type);
    }
    if (t.type == FH_TOKEN_CONTROL) return pass(c, i, t.text, t.type);
    fh_str text = t.text;
    bool takes = (step->prefix || step->squeeze) && !st->done && !st->seen && fh_str_starts(text, SPACE_MARK);
    if (takes) text = fh_str_drop(text, sizeof SPACE_MARK - 1);
    if (takes && !step->squeeze) st->seen = true;
    if (text.len > 0) st->done = true;
    fh_buf *b = work_of(c, i);
    replace_all(b, text, FH_STR(SPACE_MARK), FH_STR(" "));
    FH_TRY(fh_buf_check(b, c->err));
    return pass(c, i, fh_buf_str(b), t.type);
}

/* ---- the chain ---- */

static bool keeps_all(const fh_decoder_step *step) {
    if (!step->fused) return false;
    return step->kind != FH_DECODER_FUSE && !(step->kind == FH_DECODER_STRIP && step->stop == 0);
}

static fh_status keep(chain *c, uint32_t i, fh_str text) {
    fh_decoder_state *st = &c->r->state[i];
    st->held.limit = HELD_MOST;
    fh_buf_add_str(&st->held, text);
    st->seen = true;
    return fh_buf_check(&st->held, c->err);
}

static fh_status work(chain *c, uint32_t i, fh_decoder_token t) {
    const fh_decoder_step *step = &c->r->d->step[i];
    switch (step->kind) {
    case FH_DECODER_BYTE_LEVEL: return push_bytes(c, i, t.text, true);
    case FH_DECODER_RAW_BYTES: return push_bytes(c, i, t.text, false);
    case FH_DECODER_BYTE_FALLBACK: return push_fallback(c, i, t);
    case FH_DECODER_METASPACE: return push_metaspace(c, i, t);
    case FH_DECODER_WORDPIECE:
    case FH_DECODER_MARKED_WORDS: return push_word(c, i, t);
    case FH_DECODER_FUSE: return pass(c, i, t.text, t.type);
    case FH_DECODER_REPLACE: return push_replace(c, i, t);
    case FH_DECODER_STRIP: return step->fused ? strip_start(c, i, t) : pass(c, i, strip(step, t.text), t.type);
    case FH_DECODER_BPE: return push_bpe(c, i, t);
    case FH_DECODER_SENTENCEPIECE: return push_sentencepiece(c, i, t);
    case FH_DECODER_JOIN_SPACE:
        if (c->r->state[i].count++ > 0) FH_TRY(pass(c, i, FH_STR(" "), FH_TOKEN_NORMAL));
        return pass(c, i, t.text, t.type);
    }
    return FH_OK;
}

static fh_status push(chain *c, uint32_t i, fh_decoder_token t) {
    if (i < c->r->d->n) return keeps_all(&c->r->d->step[i]) ? keep(c, i, t.text) : work(c, i, t);
    fh_buf_add_str(c->out, t.text);
    return fh_buf_check(c->out, c->err);
}

/* A step that kept the whole text gets it as one token now. */
static fh_status release_kept(chain *c, uint32_t i) {
    fh_decoder_state *st = &c->r->state[i];
    const fh_decoder_step *step = &c->r->d->step[i];
    fh_buf text = st->held;
    if (!st->seen) return FH_OK;
    *st = (fh_decoder_state){.seen = false};
    fh_decoder_token t = {fh_buf_str(&text), FH_TOKEN_NORMAL};
    fh_status s = step->kind == FH_DECODER_STRIP ? pass(c, i, strip(step, t.text), t.type) : work(c, i, t);
    fh_buf_release(&text);
    return s;
}

static fh_status end_step(chain *c, uint32_t i) {
    fh_decoder_state *st = &c->r->state[i];
    const fh_decoder_step *step = &c->r->d->step[i];
    if (keeps_all(step)) FH_TRY(release_kept(c, i));
    if (step->kind == FH_DECODER_BYTE_FALLBACK || step->kind == FH_DECODER_SENTENCEPIECE) return end_byte_run(c, i);
    fh_buf *b = work_of(c, i);
    if (step->kind == FH_DECODER_BPE && st->seen) replace_all(b, fh_buf_str(&st->held), step->text, FH_STR(""));
    else if (step->kind == FH_DECODER_BYTE_LEVEL || step->kind == FH_DECODER_RAW_BYTES)
        settle(&st->held, b, false, true);
    else return FH_OK;
    FH_TRY(fh_buf_check(b, c->err));
    return pass(c, i, fh_buf_str(b), FH_TOKEN_NORMAL);
}

static void restart(fh_decoder_run *r) {
    for (uint32_t i = 0; i < r->d->n; i++) {
        fh_buf held = r->state[i].held;
        fh_buf_clear(&held);
        r->state[i] = (fh_decoder_state){.held = held};
    }
}

void fh_decoder_start(fh_decoder_run *r, const fh_decoder *d) {
    memset(r, 0, sizeof *r);
    r->d = d;
    for (uint32_t i = 0; i < d->n; i++) {
        fh_buf_init(&r->state[i].held, HELD_MOST);
        fh_buf_init(&r->work[i], HELD_MOST);
    }
}

void fh_decoder_stop(fh_decoder_run *r) {
    for (uint32_t i = 0; r->d && i < r->d->n; i++) {
        fh_buf_release(&r->state[i].held);
        fh_buf_release(&r->work[i]);
    }
    r->d = NULL;
}

fh_status fh_decoder_push(fh_decoder_run *r, fh_decoder_token token, fh_buf *out, fh_err *err) {
    chain c = {r, out, err};
    return push(&c, 0, token);
}

fh_status fh_decoder_finish(fh_decoder_run *r, fh_buf *out, fh_err *err) {
    chain c = {r, out, err};
    fh_status s = FH_OK;
    for (uint32_t i = 0; i < r->d->n && s == FH_OK; i++) s = end_step(&c, i);
    restart(r);
    return s;
}
