/* format/tekken.c - tekken.json with the pull reader.
 * SPDX-License-Identifier: Apache-2.0
 * The config says how many ranks are in use, so a vocabulary that stands before it is noted and
 * read at the end.
 * Refuses: ranks out of order of use (holes below the default size), ranks below 256 that are not
 * that byte, special tokens outside their block or with one name twice. */
#include "format/tekken.h"

#include "base/num.h"
#include "format/base64.h"

#define SPECIALS_DEFAULT 1000u
#define SPECIALS_MOST 16384u /* published files have 1000; each costs memory whether the file names it or not */
#define FILLER_BYTES 24u     /* "<SPECIAL_16383>" */
#define OLD_LIST_UNTIL 7u    /* files up to this version may lack the list of special tokens */

static const char *const OLD_SPECIALS[] = {"<unk>",
                                           "<s>",
                                           "</s>",
                                           "[INST]",
                                           "[/INST]",
                                           "[AVAILABLE_TOOLS]",
                                           "[/AVAILABLE_TOOLS]",
                                           "[TOOL_RESULTS]",
                                           "[/TOOL_RESULTS]",
                                           "[TOOL_CALLS]",
                                           "[IMG]",
                                           "<pad>",
                                           "[IMG_BREAK]",
                                           "[IMG_END]",
                                           "[PREFIX]",
                                           "[MIDDLE]",
                                           "[SUFFIX]",
                                           "[SYSTEM_PROMPT]",
                                           "[/SYSTEM_PROMPT]",
                                           "[TOOL_CONTENT]"};

/* A value whose reading waits: bytes [at, end) of the file; end 0 = not there. */
typedef struct later {
    size_t at, end;
} later;

typedef struct reading {
    fh_vocab *v;
    fh_str text;
    fh_err *err;
    fh_buf bytes, name; /* of the entry being read */
    uint64_t n_special, n_use, version;
    bool has_config, has_size, has_vocab, has_special;
    later vocab, special;
} reading;

static fh_status bad(const reading *in, const fh_json_event *ev, const char *what, const char *should) {
    return fh_fail_at(in->err, FH_ERR_FORMAT, ev->offset, "tekken: '%s' should be %s", what, should);
}

static fh_status twice(const reading *in, const fh_json_event *ev, const char *what) {
    return fh_fail_at(in->err, FH_ERR_FORMAT, ev->offset, "tekken: '%s' stands twice", what);
}

static fh_status read_number(reading *in, fh_json_reader *r, const char *what, uint64_t most, uint64_t *out) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (ev.kind != FH_JSON_NUMBER || !fh_json_text_u64(ev.text, out))
        return bad(in, &ev, what, "a whole number, 0 or more");
    if (*out > most)
        return fh_fail_at(in->err, FH_ERR_LIMIT, ev.offset, "tekken: '%s' is %llu, at most %llu", what,
                          (unsigned long long)*out, (unsigned long long)most);
    return FH_OK;
}

static fh_status skip_value(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    return fh_json_skip(r, &ev, in->err);
}

/* ---- config ---- */

/* "v7" -> 7 */
static fh_status read_version(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "config.version", in->err));
    fh_str digits = fh_str_drop(ev.text, 1);
    if (fh_str_starts(digits, "7m")) digits = fh_str_first(digits, 1);
    if (!fh_str_starts(ev.text, "v") || !fh_str_u64(digits, &in->version))
        return bad(in, &ev, "config.version", "\"v\" and a number");
    return FH_OK;
}

static fh_status read_config(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    uint64_t size = 0;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "config", in->err));
    if (in->has_config) return twice(in, &ev, "config");
    in->has_config = true;
    uint64_t at = ev.offset;
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (fh_str_is(ev.text, "pattern")) {
            FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "config.pattern", in->err));
            FH_TRY(fh_vocab_copy(in->v, ev.text, &in->v->pre, in->err));
        } else if (fh_str_is(ev.text, "default_vocab_size")) {
            FH_TRY(read_number(in, r, "config.default_vocab_size", FH_VOCAB_MAX_ID, &size));
            in->has_size = true;
        } else if (fh_str_is(ev.text, "default_num_special_tokens")) {
            FH_TRY(read_number(in, r, "config.default_num_special_tokens", SPECIALS_MOST, &in->n_special));
        } else if (fh_str_is(ev.text, "version")) {
            FH_TRY(read_version(in, r));
        } else {
            FH_TRY(skip_value(in, r));
        }
    }
    if (!in->has_size) return FH_OK;
    if (size < in->n_special)
        return fh_fail_at(in->err, FH_ERR_FORMAT, at,
                          "tekken: a default_vocab_size of %llu has no room for %llu special tokens",
                          (unsigned long long)size, (unsigned long long)in->n_special);
    in->n_use = size - in->n_special;
    return FH_OK;
}

/* ---- entries ---- */

/* Behind "{": the rank and one text, whatever the order. */
static fh_status read_entry(reading *in, fh_json_reader *r, const char *text_key, fh_buf *text, uint64_t *rank,
                            bool *control, uint64_t offset) {
    fh_json_event ev;
    bool has_rank = false, has_text = false;
    *control = true;
    fh_buf_clear(text);
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (fh_str_is(ev.text, "rank")) {
            FH_TRY(read_number(in, r, "rank", UINT32_MAX, rank));
            has_rank = true;
        } else if (fh_str_is(ev.text, text_key)) {
            FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, text_key, in->err));
            fh_buf_clear(text);
            fh_buf_add_str(text, ev.text);
            FH_TRY(fh_buf_check(text, in->err));
            has_text = true;
        } else if (fh_str_is(ev.text, "is_control")) {
            FH_TRY(fh_json_next(r, &ev, in->err));
            if (ev.kind != FH_JSON_TRUE && ev.kind != FH_JSON_FALSE) return bad(in, &ev, "is_control", "true or false");
            *control = ev.kind == FH_JSON_TRUE;
        } else {
            FH_TRY(skip_value(in, r));
        }
    }
    if (!has_rank || !has_text)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "tekken: an entry without '%s'",
                          has_rank ? text_key : "rank");
    return FH_OK;
}

static fh_status put_token(reading *in, uint64_t rank, uint64_t offset) {
    fh_str code = fh_buf_str(&in->name);
    size_t len;
    fh_buf_clear(&in->bytes);
    uint8_t *room = fh_buf_extend(&in->bytes, fh_base64_room(code.len));
    if (!room) return fh_buf_check(&in->bytes, in->err);
    if (!fh_base64_decode(code, room, &len) || len == 0)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "tekken: token_bytes '%.*s' is not base64", FH_STR_ARG(code));
    if (rank < 256 && (len != 1 || room[0] != rank))
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "tekken: rank %llu should be the byte 0x%02llX",
                          (unsigned long long)rank, (unsigned long long)rank);
    return fh_vocab_put(in->v, in->n_special + rank, fh_str_of_bytes((fh_bytes){room, len}), FH_TOKEN_NORMAL, offset,
                        in->err);
}

static fh_status read_vocab(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_ARRAY, &ev, "vocab", in->err));
    for (;;) {
        uint64_t rank;
        bool control;
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (ev.kind != FH_JSON_OBJECT) return bad(in, &ev, "entry of vocab", "an object");
        FH_TRY(read_entry(in, r, "token_bytes", &in->name, &rank, &control, ev.offset));
        if (in->has_size && rank >= in->n_use) continue;
        FH_TRY(put_token(in, rank, ev.offset));
    }
}

static fh_status note_later(reading *in, fh_json_reader *r, const char *what, later *out) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (out->end > 0) return twice(in, &ev, what);
    FH_TRY(fh_json_skip(r, &ev, in->err));
    *out = (later){(size_t)ev.offset, r->pos};
    return FH_OK;
}

static fh_status meet_vocab(reading *in, fh_json_reader *r, uint64_t offset) {
    fh_json_event ev = {FH_JSON_KEY, {NULL, 0}, offset};
    if (in->has_vocab) return twice(in, &ev, "vocab");
    in->has_vocab = true;
    return in->has_config ? read_vocab(in, r) : note_later(in, r, "vocab", &in->vocab);
}

/* ---- special tokens: stored after the vocabulary, by rank ---- */

static fh_status put_special(reading *in, uint64_t rank, fh_str name, bool control, uint64_t offset) {
    static const struct {
        const char *name;
        fh_vocab_special which;
    } known[] = {
        {"<unk>", FH_SPECIAL_UNK}, {"<s>", FH_SPECIAL_BOS}, {"</s>", FH_SPECIAL_EOS}, {"<pad>", FH_SPECIAL_PAD}};
    if (rank >= in->n_special)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset,
                          "tekken: special token '%.*s' has rank %llu, but there are %llu", FH_STR_ARG(name),
                          (unsigned long long)rank, (unsigned long long)in->n_special);
    if (name.len == 0)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "tekken: special token %llu has no name",
                          (unsigned long long)rank);
    FH_TRY(fh_vocab_put_added(in->v, rank, name, control ? FH_ADDED_SPECIAL : 0, offset, in->err));
    for (size_t i = 0; i < FH_COUNT(known); i++)
        if (fh_str_is(name, known[i].name)) in->v->special[known[i].which] = (uint32_t)rank;
    return FH_OK;
}

static fh_status read_special(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (ev.kind == FH_JSON_NULL) return FH_OK;
    if (ev.kind != FH_JSON_ARRAY) return bad(in, &ev, "special_tokens", "an array or null");
    in->has_special = true;
    for (;;) {
        uint64_t rank;
        bool control;
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (ev.kind != FH_JSON_OBJECT) return bad(in, &ev, "entry of special_tokens", "an object");
        FH_TRY(read_entry(in, r, "token_str", &in->name, &rank, &control, ev.offset));
        FH_TRY(put_special(in, rank, fh_buf_str(&in->name), control, ev.offset));
    }
}

static fh_status fill_specials(reading *in) {
    if (!in->has_special && in->version > OLD_LIST_UNTIL)
        return fh_fail(in->err, FH_ERR_FORMAT, "tekken: a file of version v%llu without 'special_tokens'",
                       (unsigned long long)in->version);
    for (uint64_t i = 0; !in->has_special && i < FH_COUNT(OLD_SPECIALS); i++)
        FH_TRY(put_special(in, i, fh_str_of(OLD_SPECIALS[i]), true, FH_NO_OFFSET));
    for (uint64_t i = 0; i < in->n_special; i++) {
        char name[40];
        if (fh_vocab_type(in->v, (uint32_t)i) != FH_TOKEN_NONE) continue;
        snprintf(name, sizeof name, "<SPECIAL_%llu>", (unsigned long long)i);
        FH_TRY(put_special(in, i, fh_str_of(name), true, FH_NO_OFFSET));
    }
    return FH_OK;
}

/* ---- the file ---- */

static fh_status read_file(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "tekken.json", in->err));
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (fh_str_is(ev.text, "config")) FH_TRY(read_config(in, r));
        else if (fh_str_is(ev.text, "vocab")) FH_TRY(meet_vocab(in, r, ev.offset));
        else if (fh_str_is(ev.text, "special_tokens")) FH_TRY(note_later(in, r, "special_tokens", &in->special));
        else FH_TRY(skip_value(in, r));
    }
    return fh_json_expect(r, FH_JSON_END, &ev, "end of tekken.json", in->err);
}

static fh_status read_later(reading *in, const later *what, fh_status (*read)(reading *, fh_json_reader *)) {
    fh_json_reader r;
    if (what->end == 0) return FH_OK;
    /* The reader sees the file up to the end of the value, so that its offsets are those of the file. */
    fh_json_reader_init(&r, fh_str_first(in->text, what->end));
    r.pos = what->at;
    fh_status s = read(in, &r);
    fh_json_reader_release(&r);
    return s;
}

static fh_status check_vocab(const reading *in) {
    const fh_vocab *v = in->v;
    uint64_t n = v->n_token, want = in->has_size ? in->n_use : n;
    if (n < 256)
        return fh_fail(in->err, FH_ERR_FORMAT, "tekken: %llu ranks in use; the 256 bytes come first",
                       (unsigned long long)n);
    /* No rank is negative and none stands twice: as many as the largest says means no holes. */
    if (n != want || v->n_id != in->n_special + want)
        return fh_fail(in->err, FH_ERR_FORMAT, "tekken: ranks 0 to %llu are in use, but the file has %llu",
                       (unsigned long long)(FH_MAX(want, v->n_id - in->n_special) - 1), (unsigned long long)n);
    return FH_OK;
}

static fh_status read_all(reading *in) {
    fh_json_reader r;
    FH_TRY(fh_vocab_new(&in->v, FH_VOCAB_BPE_RANKS, in->text.len + (size_t)SPECIALS_MOST * FILLER_BYTES, in->err));
    in->v->raw_bytes = true;
    in->n_special = SPECIALS_DEFAULT;
    fh_json_reader_init(&r, in->text);
    fh_status s = read_file(in, &r);
    fh_json_reader_release(&r);
    if (s != FH_OK) return s;
    FH_TRY(read_later(in, &in->vocab, read_vocab));
    FH_TRY(check_vocab(in));
    FH_TRY(fh_vocab_index(in->v, true, in->err));
    FH_TRY(read_later(in, &in->special, read_special));
    FH_TRY(fill_specials(in));
    return fh_vocab_finish(in->v, in->err);
}

fh_status fh_tekken_parse(fh_vocab **out, fh_str text, fh_err *err) {
    reading in = {.text = text, .err = err};
    fh_buf_init(&in.bytes, text.len);
    fh_buf_init(&in.name, text.len);
    fh_status s = read_all(&in);
    fh_buf_release(&in.bytes);
    fh_buf_release(&in.name);
    if (s != FH_OK) {
        fh_vocab_free(in.v);
        return s;
    }
    *out = in.v;
    return FH_OK;
}
