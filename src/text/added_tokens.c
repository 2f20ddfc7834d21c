/* text/added_tokens.c - matching added tokens.
 * SPDX-License-Identifier: Apache-2.0
 * Most bytes start no token: a table of first bytes (the trie's root) skips them. */
#include "text/added_tokens.h"

#include "text/char_class.h"
#include "text/unicode.h"

static fh_status check_text(const fh_added_text *t, fh_err *err) {
    if (t->text.len <= FH_ADDED_MAX_BYTES) return FH_OK;
    return fh_fail(err, FH_ERR_LIMIT, "tokenizer: the added token '%.*s' is %zu bytes long, at most %u are possible",
                   FH_STR_ARG(fh_str_first(t->text, 40)), t->text.len, FH_ADDED_MAX_BYTES);
}

fh_status fh_added_build(fh_added_set *out, const fh_added_text *text, uint32_t n, fh_err *err) {
    fh_added_set set = {.n = n};
    fh_status s = FH_OK;
    fh_piece_key *key = fh_alloc(n, sizeof *key);
    set.item = fh_alloc(n, sizeof *set.item);
    if (!key || !set.item) s = fh_fail_memory(err, n * sizeof *key);
    for (uint32_t i = 0; s == FH_OK && i < n; i++) {
        key[i] = (fh_piece_key){text[i].text, i};
        set.item[i] = (fh_vocab_added){text[i].id, text[i].flags};
        s = check_text(&text[i], err);
    }
    if (s == FH_OK) s = fh_piece_trie_build(&set.trie, key, n, err);
    fh_free(key);
    if (s == FH_OK) *out = set;
    else fh_added_release(&set);
    return s;
}

void fh_added_release(fh_added_set *s) {
    fh_piece_trie_release(&s->trie);
    fh_free(s->item);
    memset(s, 0, sizeof *s);
}

fh_added_iter fh_added_begin(const fh_added_set *s, fh_str text, bool parse_special) {
    return (fh_added_iter){.set = s, .text = text, .parse_special = parse_special, .token = FH_VOCAB_NO_ID};
}

static bool is_word_at(fh_str text, size_t at) {
    size_t len;
    return at < text.len && fh_is_word_char(fh_utf8_next(text, at, &len));
}

/* Start of the character that ends at `end`. */
static size_t char_before(fh_str text, size_t end) {
    size_t at = end - 1;
    while (at > 0 && end - at < 4 && ((uint8_t)text.ptr[at] & 0xC0) == 0x80) at--;
    return at;
}

static bool stands_alone(fh_str text, size_t start, size_t end) {
    if (start > 0 && is_word_at(text, char_before(text, start))) return false;
    return !is_word_at(text, end);
}

static size_t spaces_before(fh_str text, size_t start, size_t floor) {
    while (start > floor) {
        size_t len, at = char_before(text, start);
        if (!fh_unicode_is_white(fh_utf8_next(text, at, &len))) break;
        start = at;
    }
    return start < floor ? floor : start;
}

static size_t spaces_behind(fh_str text, size_t end) {
    for (size_t len; end < text.len; end += len)
        if (!fh_unicode_is_white(fh_utf8_next(text, end, &len))) break;
    return end;
}

/* The next accepted match: [*start, *end) with the spaces it takes. */
static bool find(fh_added_iter *it, size_t *start, size_t *end, uint32_t *id) {
    const fh_added_set *s = it->set;
    while (it->pos < it->text.len) {
        uint32_t index = 0;
        size_t at = it->pos, len;
        if (s->trie.root[(uint8_t)it->text.ptr[at]] == 0 ||
            (len = fh_piece_trie_longest(&s->trie, it->text, at, &index)) == 0) {
            it->pos++;
            continue;
        }
        it->pos = at + len;
        uint32_t flags = s->item[index].flags;
        if ((flags & FH_ADDED_SPECIAL) && !it->parse_special) continue;
        if ((flags & FH_ADDED_SINGLE_WORD) && !stands_alone(it->text, at, at + len)) continue;
        *start = flags & FH_ADDED_LSTRIP ? spaces_before(it->text, at, it->done) : at;
        *end = flags & FH_ADDED_RSTRIP ? spaces_behind(it->text, at + len) : at + len;
        *id = s->item[index].id;
        return true;
    }
    return false;
}

bool fh_added_next(fh_added_iter *it, fh_str *part, uint32_t *id) {
    size_t start, end;
    if (it->token != FH_VOCAB_NO_ID) {
        *id = it->token;
        *part = (fh_str){it->text.ptr + it->done, it->token_end - it->done};
        it->done = it->token_end;
        it->token = FH_VOCAB_NO_ID;
        return true;
    }
    if (it->set->n == 0 || !find(it, &start, &end, id)) {
        *part = fh_str_drop(it->text, it->done);
        it->done = it->pos = it->text.len;
        *id = FH_VOCAB_NO_ID;
        return part->len > 0;
    }
    if (it->done < start) {
        *part = (fh_str){it->text.ptr + it->done, start - it->done};
        it->done = start;
        it->token = *id;
        it->token_end = end;
        *id = FH_VOCAB_NO_ID;
        return true;
    }
    *part = (fh_str){it->text.ptr + start, end - start};
    it->done = end;
    return true;
}
