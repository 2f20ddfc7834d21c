/* text/tokenizer_bytes.c - what one token adds in the middle of a text, as bytes: for grammars and for display.
 * SPDX-License-Identifier: Apache-2.0
 * The decoder's steps without their memory: no start of a text, no characters that wait for their other half. */
#include "text/byte_alphabet.h"
#include "text/tokenizer_part.h"

#define SPACE_MARK "\xE2\x96\x81"
#define TOKEN_MOST ((size_t)1 << 20)

static void put_unmarked(fh_buf *out, fh_str s, fh_str mark) {
    for (size_t i = 0; i < s.len;) {
        if (s.len - i >= mark.len && memcmp(s.ptr + i, mark.ptr, mark.len) == 0) {
            fh_buf_add_byte(out, ' ');
            i += mark.len;
        } else {
            fh_buf_add_byte(out, (uint8_t)s.ptr[i++]);
        }
    }
}

static fh_status put_replaced(const fh_decoder_step *st, fh_str s, fh_buf *out, fh_err *err) {
    size_t at = 0, start, end;
    for (;;) {
        bool found;
        FH_TRY(fh_split_next(st->pattern, s, at, &found, &start, &end, err));
        if (!found) break;
        fh_buf_add(out, s.ptr + at, start - at);
        fh_buf_add_str(out, st->text);
        at = end;
    }
    fh_buf_add_str(out, fh_str_drop(s, at));
    return FH_OK;
}

static void put_bytes(fh_buf *out, fh_str s) {
    size_t len, before = out->len;
    uint8_t *room = fh_buf_extend(out, s.len);
    if (!room) return;
    out->len = before;
    if (fh_byte_alphabet_decode(s, room, &len)) out->len += len;
    else fh_buf_add_str(out, s);
}

static void put_word(const fh_decoder_step *st, fh_str s, fh_token_type type, fh_buf *out) {
    fh_str prefix = st->text;
    if (st->kind == FH_DECODER_MARKED_WORDS) {
        bool marked = fh_str_starts(s, SPACE_MARK);
        if (marked || type != FH_TOKEN_NORMAL) fh_buf_add_byte(out, ' ');
        fh_buf_add_str(out, marked ? fh_str_drop(s, sizeof SPACE_MARK - 1) : s);
    } else if (s.len >= prefix.len && fh_str_eq(fh_str_first(s, prefix.len), prefix)) {
        fh_buf_add_str(out, fh_str_drop(s, prefix.len));
    } else {
        fh_buf_add_byte(out, ' ');
        fh_buf_add_str(out, s);
    }
}

static fh_status apply(const fh_decoder_step *st, fh_str s, fh_token_type type, fh_buf *out, fh_err *err) {
    uint8_t byte;
    char mark[4];
    bool is_byte = fh_vocab_parse_byte(s, &byte) && (st->kind == FH_DECODER_BYTE_FALLBACK || type == FH_TOKEN_BYTE);
    switch (st->kind) {
    case FH_DECODER_BYTE_LEVEL: put_bytes(out, s); break;
    case FH_DECODER_BYTE_FALLBACK:
    case FH_DECODER_SENTENCEPIECE:
        if (is_byte) fh_buf_add_byte(out, byte);
        else if (st->kind == FH_DECODER_BYTE_FALLBACK || type == FH_TOKEN_CONTROL) fh_buf_add_str(out, s);
        else put_unmarked(out, s, FH_STR(SPACE_MARK));
        break;
    case FH_DECODER_METASPACE: put_unmarked(out, s, (fh_str){mark, fh_utf8_put(st->ch, mark)}); break;
    case FH_DECODER_WORDPIECE:
    case FH_DECODER_MARKED_WORDS: put_word(st, s, type, out); break;
    case FH_DECODER_REPLACE: return put_replaced(st, s, out, err);
    case FH_DECODER_BPE:
        if (s.len >= st->text.len && st->text.len > 0 && fh_str_eq(fh_str_drop(s, s.len - st->text.len), st->text)) {
            fh_buf_add_str(out, fh_str_first(s, s.len - st->text.len));
            fh_buf_add_byte(out, ' ');
            break;
        }
        fh_buf_add_str(out, s);
        break;
    case FH_DECODER_JOIN_SPACE:
        fh_buf_add_byte(out, ' ');
        fh_buf_add_str(out, s);
        break;
    case FH_DECODER_RAW_BYTES:
    case FH_DECODER_FUSE:
    case FH_DECODER_STRIP: fh_buf_add_str(out, s); break;
    }
    return FH_OK;
}

fh_status fh_tokenizer_token_bytes(const fh_tokenizer *t, uint32_t id, fh_buf *out, fh_err *err) {
    fh_token_type type = fh_vocab_type(t->vocab, id);
    fh_buf a, b;
    fh_status s = FH_OK;
    if (type == FH_TOKEN_NONE) return FH_OK;
    fh_buf_init(&a, TOKEN_MOST);
    fh_buf_init(&b, TOKEN_MOST);
    fh_buf_add_str(&a, fh_tokenizer_token_text(t, id));
    for (uint32_t i = 0; i < t->decoder.n && s == FH_OK; i++) {
        if (t->decoder.step[i].fused) continue;
        fh_buf_clear(&b);
        s = apply(&t->decoder.step[i], fh_buf_str(&a), type, &b, err);
        if (s == FH_OK) s = fh_buf_check(&b, err);
        fh_buf swap = a;
        a = b;
        b = swap;
    }
    if (s == FH_OK) s = fh_buf_check(&a, err);
    if (s == FH_OK) {
        fh_buf_add_str(out, fh_buf_str(&a));
        s = fh_buf_check(out, err);
    }
    fh_buf_release(&a);
    fh_buf_release(&b);
    return s;
}
