/* format/tokenizer_json.c - tokenizer.json to a checked vocabulary and small trees.
 * SPDX-License-Identifier: Apache-2.0
 * The vocabulary is read as it comes; merges and added tokens need it, so where a file has them
 * first their place is noted and they are read at the end. Keys that are not named here are
 * skipped.
 * Refuses: a vocabulary, merges or a pipeline part that stand twice, ids and pieces that stand
 * twice, merges in both spellings at once, merges of unknown tokens. */
#include "format/tokenizer_json.h"

#include "base/num.h"

struct fh_tokenizer_json {
    fh_vocab *vocab;
    fh_json *part[FH_TOKENIZER_PART_COUNT];
};

/* A value whose reading waits; text.ptr NULL = not in the file. */
typedef struct later {
    fh_str text;
    uint64_t offset;
} later;

typedef struct reading {
    fh_tokenizer_json *t;
    fh_vocab *v;
    fh_str text; /* the whole file */
    fh_err *err;
    later merges, added;
    bool has_model, has_vocab, array_vocab, has_kind;
    bool has_max_chars, has_prefix; /* WordPiece and WordLevel without a "type" differ by them */
    fh_vocab_kind kind;
    fh_str unk_piece; /* in the vocabulary's arena */
    uint64_t unk_id;
    bool has_unk_id;
    uint64_t unk_offset;
} reading;

static const char *const PARTS[FH_TOKENIZER_PART_COUNT] = {"normalizer", "pre_tokenizer", "post_processor",
                                                           "decoder",    "truncation",    "padding"};

static fh_status bad(const reading *in, const fh_json_event *ev, const char *what, const char *should) {
    return fh_fail_at(in->err, FH_ERR_FORMAT, ev->offset, "tokenizer: '%s' should be %s", what, should);
}

static fh_status twice(const reading *in, const fh_json_event *ev, const char *what) {
    return fh_fail_at(in->err, FH_ERR_FORMAT, ev->offset, "tokenizer: '%s' stands twice", what);
}

/* ---- the parts that become trees ---- */

/* Past the value that starts with ev; *text is all of it. */
static fh_status take_value(reading *in, fh_json_reader *r, const fh_json_event *ev, fh_str *text) {
    FH_TRY(fh_json_skip(r, ev, in->err));
    *text = (fh_str){r->in.ptr + ev->offset, r->pos - (size_t)ev->offset};
    return FH_OK;
}

static fh_status read_part(reading *in, fh_json_reader *r, fh_tokenizer_part part) {
    fh_json_event ev;
    fh_str text;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (in->t->part[part]) return twice(in, &ev, PARTS[part]);
    if (ev.kind == FH_JSON_NULL) return FH_OK;
    if (ev.kind != FH_JSON_OBJECT) return bad(in, &ev, PARTS[part], "an object or null");
    FH_TRY(take_value(in, r, &ev, &text));
    /* Six parts share the memory bound with the vocabulary. */
    fh_json_options opt = {.max_bytes = ((size_t)1 << 20) + 2 * text.len};
    fh_status s = fh_json_parse(&in->t->part[part], text, &opt, in->err);
    if (s != FH_OK) fh_err_shift(in->err, ev.offset);
    return s;
}

/* ---- vocabulary ---- */

static fh_status read_vocab_object(reading *in, fh_json_reader *r) {
    fh_json_event key, ev;
    for (;;) {
        fh_vocab_span span;
        uint64_t id;
        FH_TRY(fh_json_next(r, &key, in->err));
        if (key.kind == FH_JSON_OBJECT_END) return FH_OK;
        FH_TRY(fh_vocab_put_text(in->v, key.text, key.offset, &span, in->err));
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind != FH_JSON_NUMBER || !fh_json_text_u64(ev.text, &id))
            return bad(in, &ev, "id in model.vocab", "a whole number, 0 or more");
        FH_TRY(fh_vocab_put_span(in->v, id, span, FH_TOKEN_NORMAL, ev.offset, in->err));
    }
}

/* [[piece, score], ...]: ids by position */
static fh_status read_vocab_array(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_vocab_reserve(in->v, 0, true, in->err));
    for (uint32_t id = 0;; id++) {
        double score;
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_ARRAY_END) return FH_OK;
        if (ev.kind != FH_JSON_ARRAY) return bad(in, &ev, "entry of model.vocab", "[piece, score]");
        FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "piece in model.vocab", in->err));
        FH_TRY(fh_vocab_put(in->v, id, ev.text, FH_TOKEN_NORMAL, ev.offset, in->err));
        FH_TRY(fh_json_expect(r, FH_JSON_NUMBER, &ev, "score in model.vocab", in->err));
        if (!fh_json_text_f64(ev.text, &score)) return bad(in, &ev, "score in model.vocab", "a finite number");
        FH_TRY(fh_vocab_put_score(in->v, id, score, ev.offset, in->err));
        FH_TRY(fh_json_expect(r, FH_JSON_ARRAY_END, &ev, "end of a model.vocab entry", in->err));
    }
}

static fh_status read_vocab(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (in->has_vocab) return twice(in, &ev, "model.vocab");
    in->has_vocab = true;
    in->array_vocab = ev.kind == FH_JSON_ARRAY;
    if (ev.kind == FH_JSON_OBJECT) return read_vocab_object(in, r);
    if (ev.kind == FH_JSON_ARRAY) return read_vocab_array(in, r);
    return bad(in, &ev, "model.vocab", "an object or an array");
}

/* ---- merges ---- */

/* "left right": exactly one space. */
static fh_status put_merge_text(reading *in, const fh_json_event *ev) {
    size_t at, again;
    if (fh_str_starts(ev->text, "#version")) return FH_OK;
    if (!fh_str_find(ev->text, ' ', &at) || fh_str_find(fh_str_drop(ev->text, at + 1), ' ', &again))
        return bad(in, ev, "entry of model.merges", "two parts with one space between them");
    return fh_vocab_put_merge(in->v, fh_str_first(ev->text, at), fh_str_drop(ev->text, at + 1), ev->offset, in->err);
}

/* Behind "[" of one pair. The left part may live in the reader's scratch, so it is copied. */
static fh_status put_merge_pair(reading *in, fh_json_reader *r, fh_buf *left, uint64_t offset) {
    fh_json_event ev;
    fh_buf_clear(left);
    FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "left part in model.merges", in->err));
    fh_buf_add_str(left, ev.text);
    FH_TRY(fh_buf_check(left, in->err));
    FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "right part in model.merges", in->err));
    FH_TRY(fh_vocab_put_merge(in->v, fh_buf_str(left), ev.text, offset, in->err));
    return fh_json_expect(r, FH_JSON_ARRAY_END, &ev, "end of a pair in model.merges", in->err);
}

static fh_status read_merges(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    fh_json_kind spelling = FH_JSON_END;
    fh_buf left;
    fh_buf_init(&left, in->text.len);
    fh_status s = fh_json_expect(r, FH_JSON_ARRAY, &ev, "model.merges", in->err);
    while (s == FH_OK && (s = fh_json_next(r, &ev, in->err)) == FH_OK) {
        if (ev.kind == FH_JSON_ARRAY_END) break;
        if ((ev.kind != FH_JSON_STRING && ev.kind != FH_JSON_ARRAY) ||
            (spelling != FH_JSON_END && ev.kind != spelling)) {
            s = bad(in, &ev, "model.merges", "all \"a b\" or all [\"a\", \"b\"]");
            break;
        }
        spelling = ev.kind;
        s = ev.kind == FH_JSON_STRING ? put_merge_text(in, &ev) : put_merge_pair(in, r, &left, ev.offset);
    }
    fh_buf_release(&left);
    return s;
}

/* ---- added tokens ---- */

static const struct {
    const char *name;
    uint32_t flag;
} FLAGS[] = {{"special", FH_ADDED_SPECIAL},
             {"single_word", FH_ADDED_SINGLE_WORD},
             {"lstrip", FH_ADDED_LSTRIP},
             {"rstrip", FH_ADDED_RSTRIP},
             {"normalized", FH_ADDED_NORMALIZED}};

typedef struct added_entry {
    uint64_t id, offset;
    uint32_t flags, seen;
    bool has_id, has_content;
} added_entry;

static fh_status read_added_flag(reading *in, fh_json_reader *r, fh_str key, added_entry *a) {
    fh_json_event ev;
    for (size_t i = 0; i < FH_COUNT(FLAGS); i++) {
        if (!fh_str_is(key, FLAGS[i].name)) continue;
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind != FH_JSON_TRUE && ev.kind != FH_JSON_FALSE) return bad(in, &ev, FLAGS[i].name, "true or false");
        a->seen |= FLAGS[i].flag;
        a->flags &= ~FLAGS[i].flag;
        if (ev.kind == FH_JSON_TRUE) a->flags |= FLAGS[i].flag;
        return FH_OK;
    }
    FH_TRY(fh_json_next(r, &ev, in->err));
    return fh_json_skip(r, &ev, in->err);
}

/* Behind "{" of one added token. */
static fh_status read_added_entry(reading *in, fh_json_reader *r, fh_buf *content, uint64_t offset) {
    fh_json_event ev;
    added_entry a = {.offset = offset};
    fh_buf_clear(content);
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        if (fh_str_is(ev.text, "id")) {
            FH_TRY(fh_json_next(r, &ev, in->err));
            if (ev.kind != FH_JSON_NUMBER || !fh_json_text_u64(ev.text, &a.id))
                return bad(in, &ev, "id of an added token", "a whole number, 0 or more");
            a.has_id = true;
        } else if (fh_str_is(ev.text, "content")) {
            FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "content of an added token", in->err));
            fh_buf_clear(content);
            fh_buf_add_str(content, ev.text);
            FH_TRY(fh_buf_check(content, in->err));
            a.has_content = true;
        } else {
            FH_TRY(read_added_flag(in, r, ev.text, &a));
        }
    }
    if (!a.has_id || !a.has_content)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "tokenizer: an added token without '%s'",
                          a.has_id ? "content" : "id");
    if (!(a.seen & FH_ADDED_NORMALIZED) && !(a.flags & FH_ADDED_SPECIAL)) a.flags |= FH_ADDED_NORMALIZED;
    return fh_vocab_put_added(in->v, a.id, fh_buf_str(content), a.flags, offset, in->err);
}

static fh_status read_added(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    fh_buf content;
    fh_buf_init(&content, in->text.len);
    fh_status s = fh_json_expect(r, FH_JSON_ARRAY, &ev, "added_tokens", in->err);
    while (s == FH_OK && (s = fh_json_next(r, &ev, in->err)) == FH_OK) {
        if (ev.kind == FH_JSON_ARRAY_END) break;
        s = ev.kind == FH_JSON_OBJECT ? read_added_entry(in, r, &content, ev.offset)
                                      : bad(in, &ev, "entry of added_tokens", "an object");
    }
    fh_buf_release(&content);
    return s;
}

/* ---- the model's options ---- */

static fh_status read_kind(reading *in, fh_json_reader *r) {
    static const struct {
        const char *name;
        fh_vocab_kind kind;
    } kinds[] = {{"BPE", FH_VOCAB_BPE},
                 {"Unigram", FH_VOCAB_UNIGRAM},
                 {"WordPiece", FH_VOCAB_WORDPIECE},
                 {"WordLevel", FH_VOCAB_WORDLEVEL}};
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_STRING, &ev, "model.type", in->err));
    for (size_t i = 0; i < FH_COUNT(kinds); i++) {
        if (!fh_str_is(ev.text, kinds[i].name)) continue;
        in->kind = kinds[i].kind;
        in->has_kind = true;
        return FH_OK;
    }
    return fh_fail_at(in->err, FH_ERR_UNSUPPORTED, ev.offset, "tokenizer: model.type '%.*s' is not known",
                      FH_STR_ARG(ev.text));
}

static fh_status read_flag(reading *in, fh_json_reader *r, const char *what, bool *out) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (ev.kind != FH_JSON_TRUE && ev.kind != FH_JSON_FALSE && ev.kind != FH_JSON_NULL)
        return bad(in, &ev, what, "true or false");
    *out = ev.kind == FH_JSON_TRUE;
    return FH_OK;
}

/* null is the empty string */
static fh_status read_text(reading *in, fh_json_reader *r, const char *what, fh_str *out, uint64_t *offset) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    *offset = ev.offset;
    if (ev.kind == FH_JSON_NULL) return FH_OK;
    if (ev.kind != FH_JSON_STRING) return bad(in, &ev, what, "a string or null");
    return fh_vocab_copy(in->v, ev.text, out, in->err);
}

static fh_status read_unk_id(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    in->unk_offset = ev.offset;
    if (ev.kind == FH_JSON_NULL) return FH_OK;
    if (ev.kind != FH_JSON_NUMBER || !fh_json_text_u64(ev.text, &in->unk_id))
        return bad(in, &ev, "model.unk_id", "a whole number, 0 or more");
    in->has_unk_id = true;
    return FH_OK;
}

static fh_status read_max_chars(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    uint64_t n;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (ev.kind != FH_JSON_NUMBER || !fh_json_text_u64(ev.text, &n) || n > 1000000)
        return bad(in, &ev, "model.max_input_chars_per_word", "0 to 1000000");
    in->v->max_word_chars = (uint32_t)n;
    in->has_max_chars = true;
    return FH_OK;
}

static fh_status read_dropout(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (ev.kind == FH_JSON_NULL) return FH_OK;
    double d = -1;
    if (ev.kind != FH_JSON_NUMBER || !fh_json_text_f64(ev.text, &d) || !(d >= 0 && d <= 1))
        return bad(in, &ev, "model.dropout", "0 to 1, or null");
    in->v->dropout = d;
    return FH_OK;
}

static fh_status note_later(reading *in, fh_json_reader *r, const char *what, later *out) {
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    if (out->text.ptr) return twice(in, &ev, what);
    out->offset = ev.offset;
    return take_value(in, r, &ev, &out->text);
}

static fh_status read_model_key(reading *in, fh_json_reader *r, fh_str key) {
    uint64_t at;
    fh_vocab *v = in->v;
    if (fh_str_is(key, "type")) return read_kind(in, r);
    if (fh_str_is(key, "vocab")) return read_vocab(in, r);
    if (fh_str_is(key, "merges")) return note_later(in, r, "model.merges", &in->merges);
    if (fh_str_is(key, "unk_id")) return read_unk_id(in, r);
    if (fh_str_is(key, "unk_token")) return read_text(in, r, "model.unk_token", &in->unk_piece, &in->unk_offset);
    if (fh_str_is(key, "continuing_subword_prefix")) {
        in->has_prefix = true;
        return read_text(in, r, "model.continuing_subword_prefix", &v->continuing_prefix, &at);
    }
    if (fh_str_is(key, "end_of_word_suffix")) return read_text(in, r, "model.end_of_word_suffix", &v->end_suffix, &at);
    if (fh_str_is(key, "dropout")) return read_dropout(in, r);
    if (fh_str_is(key, "max_input_chars_per_word")) return read_max_chars(in, r);
    if (fh_str_is(key, "fuse_unk")) return read_flag(in, r, "model.fuse_unk", &v->fuse_unk);
    if (fh_str_is(key, "byte_fallback")) return read_flag(in, r, "model.byte_fallback", &v->byte_fallback);
    if (fh_str_is(key, "ignore_merges")) return read_flag(in, r, "model.ignore_merges", &v->ignore_merges);
    fh_json_event ev;
    FH_TRY(fh_json_next(r, &ev, in->err));
    return fh_json_skip(r, &ev, in->err);
}

static fh_status read_model(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "model", in->err));
    if (in->has_model) return twice(in, &ev, "model");
    in->has_model = true;
    for (;;) {
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) return FH_OK;
        FH_TRY(read_model_key(in, r, ev.text));
    }
}

/* ---- all of it ---- */

static fh_status read_file(reading *in, fh_json_reader *r) {
    fh_json_event ev;
    FH_TRY(fh_json_expect(r, FH_JSON_OBJECT, &ev, "tokenizer.json", in->err));
    for (;;) {
        size_t part = 0;
        FH_TRY(fh_json_next(r, &ev, in->err));
        if (ev.kind == FH_JSON_OBJECT_END) break;
        while (part < FH_COUNT(PARTS) && !fh_str_is(ev.text, PARTS[part])) part++;
        if (part < FH_COUNT(PARTS)) {
            FH_TRY(read_part(in, r, (fh_tokenizer_part)part));
        } else if (fh_str_is(ev.text, "model")) {
            FH_TRY(read_model(in, r));
        } else if (fh_str_is(ev.text, "added_tokens")) {
            FH_TRY(note_later(in, r, "added_tokens", &in->added));
        } else {
            FH_TRY(fh_json_next(r, &ev, in->err));
            FH_TRY(fh_json_skip(r, &ev, in->err));
        }
    }
    return fh_json_expect(r, FH_JSON_END, &ev, "end of tokenizer.json", in->err);
}

static fh_status read_later(reading *in, const later *what, fh_status (*read)(reading *, fh_json_reader *)) {
    fh_json_reader r;
    if (!what->text.ptr) return FH_OK;
    /* The reader sees the file up to the end of the value, so that its offsets are those of the file. */
    fh_json_reader_init(&r, fh_str_first(in->text, (size_t)what->offset + what->text.len));
    r.pos = (size_t)what->offset;
    fh_status s = read(in, &r);
    fh_json_reader_release(&r);
    return s;
}

/* The order in which the reference tries models that have no "type". */
static void guess_kind(reading *in) {
    if (in->has_kind) return;
    in->kind = in->array_vocab                       ? FH_VOCAB_UNIGRAM
               : in->merges.text.ptr                 ? FH_VOCAB_BPE
               : in->has_max_chars || in->has_prefix ? FH_VOCAB_WORDPIECE
                                                     : FH_VOCAB_WORDLEVEL;
}

static fh_status finish_model(reading *in) {
    fh_vocab *v = in->v;
    if (!in->has_model || !in->has_vocab)
        return fh_fail(in->err, FH_ERR_FORMAT, "tokenizer: no '%s'", in->has_model ? "model.vocab" : "model");
    guess_kind(in);
    v->kind = in->kind;
    if (in->array_vocab != (in->kind == FH_VOCAB_UNIGRAM))
        return fh_fail(in->err, FH_ERR_FORMAT, "tokenizer: model.vocab of a %s model should be %s",
                       fh_vocab_kind_name(in->kind), in->array_vocab ? "an object" : "an array");
    if (in->kind == FH_VOCAB_BPE && !in->merges.text.ptr)
        return fh_fail(in->err, FH_ERR_FORMAT, "tokenizer: a BPE model without 'model.merges'");
    if (in->kind == FH_VOCAB_WORDPIECE && !in->has_max_chars) v->max_word_chars = 100;
    if (in->kind == FH_VOCAB_WORDPIECE && !in->has_prefix) v->continuing_prefix = FH_STR("##");
    /* A unigram vocabulary has its ids by position, so a piece may stand twice: the last one is found. */
    FH_TRY(fh_vocab_index(v, in->kind != FH_VOCAB_UNIGRAM, in->err));
    if (in->kind == FH_VOCAB_BPE) FH_TRY(read_later(in, &in->merges, read_merges));
    if (in->has_unk_id && in->kind == FH_VOCAB_UNIGRAM)
        return fh_vocab_put_special(v, FH_SPECIAL_UNK, in->unk_id, "model.unk_id", in->unk_offset, in->err);
    return FH_OK;
}

static fh_status read_all(reading *in) {
    fh_json_reader r;
    uint32_t id;
    FH_TRY(fh_vocab_new(&in->t->vocab, FH_VOCAB_WORDLEVEL, in->text.len, in->err));
    in->v = in->t->vocab;
    fh_json_reader_init(&r, in->text);
    fh_status s = read_file(in, &r);
    fh_json_reader_release(&r);
    if (s != FH_OK) return s;
    FH_TRY(finish_model(in));
    FH_TRY(read_later(in, &in->added, read_added));
    /* As in the reference, an unknown token that is no token means that there is none. */
    if (in->kind != FH_VOCAB_UNIGRAM && in->unk_piece.len > 0 && fh_vocab_find(in->v, in->unk_piece, &id))
        in->v->special[FH_SPECIAL_UNK] = id;
    return fh_vocab_finish(in->v, in->err);
}

fh_status fh_tokenizer_json_parse(fh_tokenizer_json **out, fh_str text, fh_err *err) {
    fh_tokenizer_json *t = fh_alloc_zero(1, sizeof *t);
    if (!t) return fh_fail_memory(err, sizeof *t);
    reading in = {.t = t, .text = text, .err = err};
    fh_status s = read_all(&in);
    if (s != FH_OK) {
        fh_tokenizer_json_free(t);
        return s;
    }
    *out = t;
    return FH_OK;
}

void fh_tokenizer_json_free(fh_tokenizer_json *t) {
    if (!t) return;
    for (size_t i = 0; i < FH_TOKENIZER_PART_COUNT; i++) fh_json_free(t->part[i]);
    fh_vocab_free(t->vocab);
    fh_free(t);
}

const fh_vocab *fh_tokenizer_json_vocab(const fh_tokenizer_json *t) { return t->vocab; }

const fh_json_node *fh_tokenizer_json_part(const fh_tokenizer_json *t, fh_tokenizer_part part) {
    return t->part[part] ? fh_json_root(t->part[part]) : NULL;
}
