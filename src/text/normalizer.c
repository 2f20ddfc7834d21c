/* text/normalizer.c - running the steps: each reads one buffer and writes the other.
 * SPDX-License-Identifier: Apache-2.0
 * Steps that would change nothing copy nothing where that is cheap to see. Around a normal form, characters that no
 * form changes or joins with anything are copied; only what is between them goes through the tables. */
#include "text/normalizer.h"

#include <utf8proc.h>

#include "base/num.h"
#include "text/byte_alphabet.h"
#include "text/char_class.h"

#define SPACE_MARK "\xE2\x96\x81"

typedef struct run {
    const fh_norm_step *step;
    fh_buf *out, *spare;
    bool *head;
    fh_err *err;
} run;

static void put_cp(fh_buf *out, uint32_t cp) {
    char text[4];
    fh_buf_add(out, text, fh_utf8_put(cp, text));
}

static bool is_ascii(fh_str s) {
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t v;
        memcpy(&v, s.ptr + i, 8);
        if (v & 0x8080808080808080u) return false;
    }
    for (; i < s.len; i++)
        if ((signed char)s.ptr[i] < 0) return false;
    return true;
}

/* ---- normal forms ---- */

/* Is in this form already, and neither joins with what stands before it nor moves across it. */
static bool is_inert(uint32_t cp, fh_normal_form form) {
    if (cp < 0x80 || (cp >= 0x4E00 && cp <= 0x9FFF)) return true;
    if (form != FH_NFC) return false;
    return cp < 0x300 || (cp >= 0x400 && cp < 0x483) || (cp >= 0x5D0 && cp <= 0x5EA) || (cp >= 0x620 && cp <= 0x64A) ||
           (cp >= 0x3041 && cp <= 0x3096) || (cp >= 0x30A1 && cp <= 0x30FA) || (cp >= 0xAC00 && cp <= 0xD7A3) ||
           (cp >= 0x2010 && cp <= 0x2027) || (cp >= 0x3001 && cp <= 0x3029) || (cp >= 0xFF01 && cp <= 0xFF5E);
}

static fh_status do_form(run *r, fh_str in) {
    size_t at = 0;
    while (at < in.len) {
        size_t from = at, last = at, len = 0;
        for (; at < in.len && is_inert(fh_utf8_next(in, at, &len), r->step->form); at += len) last = at;
        if (at == in.len) last = at;
        fh_buf_add(r->out, in.ptr + from, last - from);
        if (at == in.len) break;
        while (at < in.len && !is_inert(fh_utf8_next(in, at, &len), r->step->form)) at += len;
        FH_TRY(fh_unicode_normalize(r->out, (fh_str){in.ptr + last, at - last}, r->step->form, r->err));
    }
    return FH_OK;
}

/* ---- character by character ---- */

static void lower(fh_buf *out, fh_str in) {
    for (size_t at = 0, len; at < in.len; at += len) {
        uint32_t cp = fh_utf8_next(in, at, &len), to[3];
        if (cp < 0x80) {
            fh_buf_add_byte(out, (uint8_t)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp));
            continue;
        }
        size_t n = fh_unicode_lower(cp, to);
        for (size_t i = 0; i < n; i++) put_cp(out, to[i]);
    }
}

static void do_lowercase(run *r, fh_str in) { lower(r->out, in); }

static void do_strip(run *r, fh_str in) {
    size_t from = 0, to = in.len, len;
    while (r->step->left && from < in.len && fh_unicode_is_white(fh_utf8_next(in, from, &len))) from += len;
    while (r->step->right && to > from) {
        size_t at = to - 1;
        while (at > from && ((uint8_t)in.ptr[at] & 0xC0) == 0x80) at--;
        if (!fh_unicode_is_white(fh_utf8_next(in, at, &len))) break;
        to = at;
    }
    if (from > 0) *r->head = false;
    fh_buf_add(r->out, in.ptr + from, to - from);
}

static void drop_if(run *r, fh_str in, bool (*drop)(uint32_t)) {
    for (size_t at = 0, len; at < in.len; at += len) {
        if (!drop(fh_utf8_next(in, at, &len))) fh_buf_add(r->out, in.ptr + at, len);
        else if (at == 0) *r->head = false;
    }
}

static bool nmt_drops(uint32_t c) {
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static bool nmt_is_space(uint32_t c) {
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
           c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

static void do_nmt(run *r, fh_str in) {
    for (size_t at = 0, len; at < in.len; at += len) {
        uint32_t cp = fh_utf8_next(in, at, &len);
        if (nmt_drops(cp)) *r->head = *r->head && at > 0;
        else if (nmt_is_space(cp)) fh_buf_add_byte(r->out, ' ');
        else fh_buf_add(r->out, in.ptr + at, len);
    }
}

/* ---- BERT ---- */

static bool bert_drops(uint32_t cp) { return cp == 0 || cp == 0xFFFD || fh_is_bert_control(cp); }

static void bert_clean(run *r, fh_str in) {
    for (size_t at = 0, len; at < in.len; at += len) {
        uint32_t cp = fh_utf8_next(in, at, &len);
        if (r->step->clean && bert_drops(cp)) {
            *r->head = *r->head && at > 0;
        } else if (r->step->clean && fh_unicode_is_white(cp)) {
            fh_buf_add_byte(r->out, ' ');
        } else if (r->step->ideographs && fh_is_bert_ideograph(cp)) {
            fh_buf_add_byte(r->out, ' ');
            fh_buf_add(r->out, in.ptr + at, len);
            fh_buf_add_byte(r->out, ' ');
        } else {
            fh_buf_add(r->out, in.ptr + at, len);
        }
    }
}

static fh_status swap_buffers(run *r) {
    FH_TRY(fh_buf_check(r->out, r->err));
    fh_buf *t = r->out;
    r->out = r->spare;
    r->spare = t;
    fh_buf_clear(r->out);
    return FH_OK;
}

static fh_status do_bert(run *r, fh_str in) {
    bert_clean(r, in);
    if (r->step->accents && !is_ascii(fh_buf_str(r->out))) {
        fh_norm_step nfd = {.kind = FH_NORM_FORM, .form = FH_NFD};
        const fh_norm_step *step = r->step;
        FH_TRY(swap_buffers(r));
        r->step = &nfd;
        fh_status s = do_form(r, fh_buf_str(r->spare));
        r->step = step;
        if (s != FH_OK) return s;
        FH_TRY(swap_buffers(r));
        drop_if(r, fh_buf_str(r->spare), fh_is_bert_accent);
    }
    if (r->step->lowercase) {
        FH_TRY(swap_buffers(r));
        lower(r->out, fh_buf_str(r->spare));
    }
    return FH_OK;
}

/* ---- replacing ---- */

static fh_status do_replace(run *r, fh_str in) {
    size_t at = 0, start, end, len;
    for (;;) {
        bool found;
        FH_TRY(fh_split_next(r->step->pattern, in, at, &found, &start, &end, r->err));
        if (!found) break;
        fh_buf_add(r->out, in.ptr + at, start - at);
        fh_buf_add_str(r->out, r->step->text);
        if (start == 0) {
            fh_utf8_next(in, 0, &len);
            if (r->step->text.len == 0 || end > len) *r->head = false;
        }
        at = end;
        if (r->out->status != FH_OK) break;
    }
    fh_buf_add_str(r->out, fh_str_drop(in, at));
    return FH_OK;
}

static void do_replace_byte(run *r, fh_str in) {
    const char *p = in.ptr, *end = in.ptr + in.len, *hit;
    while (p < end && (hit = memchr(p, r->step->literal.ptr[0], (size_t)(end - p))) != NULL) {
        fh_buf_add(r->out, p, (size_t)(hit - p));
        fh_buf_add_str(r->out, r->step->text);
        if (hit == in.ptr && r->step->text.len == 0) *r->head = false;
        p = hit + 1;
    }
    fh_buf_add(r->out, p, (size_t)(end - p));
}

static void do_prepend(run *r, fh_str in) {
    if (in.len > 0) fh_buf_add_str(r->out, r->step->text);
    fh_buf_add_str(r->out, in);
}

/* ---- precompiled ---- */

/* End of the grapheme that starts at `at`. */
static size_t grapheme_end(fh_str in, size_t at) {
    size_t len;
    utf8proc_int32_t state = 0;
    uint32_t cp = fh_utf8_next(in, at, &len);
    for (at += len; at < in.len; at += len) {
        uint32_t next = fh_utf8_next(in, at, &len);
        if (cp < 0x80 && next < 0x80
                ? !(cp == '\r' && next == '\n')
                : utf8proc_grapheme_break_stateful((utf8proc_int32_t)cp, (utf8proc_int32_t)next, &state))
            break;
        cp = next;
    }
    return at;
}

/* A short grapheme may have a rule as a whole; otherwise its characters have theirs. What is dropped at the start still
 * counts as there, as in the reference. */
static void do_precompiled(run *r, fh_str in) {
    for (size_t at = 0; at < in.len;) {
        size_t end = grapheme_end(in, at), len;
        fh_str to;
        if (end - at < 6 && fh_charsmap_shortest(&r->step->map, (fh_str){in.ptr + at, end - at}, &to)) {
            fh_buf_add_str(r->out, to);
            at = end;
            continue;
        }
        for (; at < end; at += len) {
            fh_utf8_next(in, at, &len);
            if (!fh_charsmap_shortest(&r->step->map, (fh_str){in.ptr + at, len}, &to)) to = (fh_str){in.ptr + at, len};
            fh_buf_add_str(r->out, to);
        }
    }
}

/* ---- SentencePiece ---- */

/* What the next bytes turn into, and how many they are. */
static size_t next_rule(const fh_norm_step *st, fh_str in, size_t at, fh_str *to) {
    uint32_t id;
    size_t len = st->user_defined ? fh_piece_trie_longest(st->user_defined, in, at, &id) : 0;
    if (len == 0 && st->map.trie.len > 0) {
        len = fh_charsmap_longest(&st->map, in, at, to);
        if (len > 0) return len;
    }
    if (len == 0) fh_utf8_next(in, at, &len);
    *to = (fh_str){in.ptr + at, len};
    return len;
}

static void put_escaped(run *r, fh_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == ' ' && r->step->escape) fh_buf_add_z(r->out, SPACE_MARK);
        else fh_buf_add_byte(r->out, (uint8_t)s.ptr[i]);
    }
}

static void do_sentencepiece(run *r, fh_str in) {
    const fh_norm_step *st = r->step;
    size_t at = 0, len;
    fh_str to;
    while (st->squeeze && at < in.len) {
        len = next_rule(st, in, at, &to);
        if (!fh_str_is(to, " ")) break;
        at += len;
    }
    if (at == in.len) return;
    fh_str space = fh_str_of(st->escape ? SPACE_MARK : " ");
    if (st->prefix && !st->suffix) fh_buf_add_str(r->out, space);
    bool after_space = st->squeeze;
    for (; at < in.len; at += len) {
        len = next_rule(st, in, at, &to);
        while (after_space && fh_str_starts(to, " ")) to = fh_str_drop(to, 1);
        if (to.len > 0) {
            put_escaped(r, to);
            after_space = st->squeeze && fh_str_ends(to, " ");
        }
    }
    if (r->out->status != FH_OK) return;
    while (st->squeeze && r->out->len >= space.len &&
           memcmp(r->out->ptr + r->out->len - space.len, space.ptr, space.len) == 0)
        r->out->len -= space.len;
    if (st->prefix && st->suffix) fh_buf_add_str(r->out, space);
}

/* ---- all ---- */

/* Would the step leave this text as it is? True only where that is cheap to see. */
static bool is_idle(const fh_norm_step *st, fh_str in) {
    if (in.len == 0) return true;
    if (st->kind == FH_NORM_FORM || st->kind == FH_NORM_STRIP_ACCENTS) return is_ascii(in);
    if (st->kind == FH_NORM_REPLACE && st->literal.len == 1) return !memchr(in.ptr, st->literal.ptr[0], in.len);
    return false;
}

static fh_status run_step(run *r, fh_str in) {
    switch (r->step->kind) {
    case FH_NORM_FORM: return do_form(r, in);
    case FH_NORM_LOWERCASE: do_lowercase(r, in); break;
    case FH_NORM_STRIP: do_strip(r, in); break;
    case FH_NORM_STRIP_ACCENTS: drop_if(r, in, fh_is_combining_mark); break;
    case FH_NORM_REPLACE:
        if (r->step->literal.len != 1) return do_replace(r, in);
        do_replace_byte(r, in);
        break;
    case FH_NORM_PREPEND: do_prepend(r, in); break;
    case FH_NORM_BERT: return do_bert(r, in);
    case FH_NORM_PRECOMPILED: do_precompiled(r, in); break;
    case FH_NORM_NMT: do_nmt(r, in); break;
    case FH_NORM_BYTE_ALPHABET: fh_byte_alphabet_add(r->out, in); break;
    case FH_NORM_SENTENCEPIECE: do_sentencepiece(r, in); break;
    }
    return FH_OK;
}

fh_status fh_normalizer_run(const fh_normalizer *n, fh_normalizer_scratch *s, fh_str text, fh_str *out, bool *head,
                            fh_err *err) {
    size_t limit;
    fh_buf *from = &s->a, *to = &s->b;
    fh_str now = text;
    if (!fh_mul_size(text.len, FH_NORMALIZER_GROWTH, &limit) || !fh_add_size(limit, 1u << 16, &limit))
        return fh_fail(err, FH_ERR_LIMIT, "a text of %zu bytes is too long", text.len);
    s->a.limit = s->b.limit = s->c.limit = limit;
    for (uint32_t i = 0; i < n->n; i++) {
        if (is_idle(&n->step[i], now)) continue;
        run r = {.step = &n->step[i], .out = to, .spare = &s->c, .head = head, .err = err};
        fh_buf_clear(to);
        fh_buf_clear(&s->c);
        FH_TRY(run_step(&r, now));
        FH_TRY(fh_buf_check(r.out, err));
        now = fh_buf_str(r.out);
        if (now.len == 0) now = FH_STR("");
        if (r.out != to) { /* the result lies in the spare: exchange the two */
            fh_buf t = s->c;
            s->c = *to;
            *to = t;
        }
        fh_buf *t = from;
        from = to;
        to = t;
    }
    *out = now;
    return FH_OK;
}

void fh_normalizer_scratch_init(fh_normalizer_scratch *s) {
    fh_buf_init(&s->a, 0);
    fh_buf_init(&s->b, 0);
    fh_buf_init(&s->c, 0);
}

void fh_normalizer_scratch_release(fh_normalizer_scratch *s) {
    fh_buf_release(&s->a);
    fh_buf_release(&s->b);
    fh_buf_release(&s->c);
}
