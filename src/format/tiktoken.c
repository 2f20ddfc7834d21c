/* format/tiktoken.c - tiktoken rank files.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: lines that are not "base64 SPACE rank", ranks and tokens that stand twice. Empty lines
 * and CR LF are accepted, as in the reference. A rank no line has is a hole. */
#include "format/tiktoken.h"

#include "base/num.h"
#include "format/base64.h"

static fh_status read_line(fh_vocab *v, fh_str line, uint64_t offset, fh_err *err) {
    uint8_t small[256], *room = small;
    size_t at, len = 0;
    uint64_t rank;
    if (!fh_str_find(line, ' ', &at) || !fh_str_u64(fh_str_drop(line, at + 1), &rank))
        return fh_fail_at(err, FH_ERR_FORMAT, offset,
                          "tiktoken: a line should be a token in base64, a space and a rank");
    if (at > FH_VOCAB_MAX_PIECE / 3 * 4)
        return fh_fail_at(err, FH_ERR_LIMIT, offset, "tiktoken: a token of more than %u bytes", FH_VOCAB_MAX_PIECE);
    fh_str code = fh_str_first(line, at);
    if (fh_base64_room(code.len) > sizeof small) {
        room = fh_alloc(fh_base64_room(code.len), 1);
        if (!room) return fh_fail_memory(err, fh_base64_room(code.len));
    }
    fh_status s;
    if (!fh_base64_decode(code, room, &len) || len == 0)
        s = fh_fail_at(err, FH_ERR_FORMAT, offset, "tiktoken: '%.*s' is not base64", FH_STR_ARG(code));
    else s = fh_vocab_put(v, rank, fh_str_of_bytes((fh_bytes){room, len}), FH_TOKEN_NORMAL, offset, err);
    if (room != small) fh_free(room);
    return s;
}

static fh_status read_lines(fh_vocab *v, fh_str text, fh_err *err) {
    size_t at = 0;
    while (at < text.len) {
        fh_str rest = fh_str_drop(text, at), line = rest;
        size_t end = rest.len;
        if (fh_str_find(rest, '\n', &end)) line.len = end++;
        if (fh_str_ends(line, "\r")) line.len--;
        if (line.len > 0) FH_TRY(read_line(v, line, at, err));
        at += end;
    }
    if (v->n_token == 0) return fh_fail_at(err, FH_ERR_FORMAT, 0, "tiktoken: the file has no tokens");
    return FH_OK;
}

static fh_status read_all(fh_vocab *v, fh_str text, const fh_tiktoken_special *special, size_t n_special, fh_err *err) {
    v->raw_bytes = true;
    FH_TRY(read_lines(v, text, err));
    FH_TRY(fh_vocab_index(v, true, err));
    for (size_t i = 0; i < n_special; i++)
        FH_TRY(fh_vocab_put_added(v, special[i].id, special[i].text, special[i].flags, FH_NO_OFFSET, err));
    return fh_vocab_finish(v, err);
}

fh_status fh_tiktoken_parse(fh_vocab **out, fh_str text, const fh_tiktoken_special *special, size_t n_special,
                            fh_err *err) {
    fh_vocab *v;
    size_t text_bytes = text.len;
    for (size_t i = 0; i < n_special; i++)
        if (!fh_add_size(text_bytes, special[i].text.len, &text_bytes))
            return fh_fail(err, FH_ERR_LIMIT, "tiktoken: the special tokens are too long");
    FH_TRY(fh_vocab_new(&v, FH_VOCAB_BPE_RANKS, text_bytes, err));
    fh_status s = read_all(v, text, special, n_special, err);
    if (s != FH_OK) {
        fh_vocab_free(v);
        return s;
    }
    *out = v;
    return FH_OK;
}
