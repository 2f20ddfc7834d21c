/* format/sentencepiece.c - the protocol buffer of a SentencePiece model, read by hand.
 * SPDX-License-Identifier: Apache-2.0
 * Two passes over the outer message: the first counts pieces, so that arrays are allocated once;
 * the second fills.
 * The messages nest two deep here and nothing recurses.
 * Refuses: groups (no SentencePiece model has any), known fields of another wire type, varints over
 * ten bytes.
 * Field numbers are those of sentencepiece_model.proto. */
#include "format/sentencepiece.h"

#include "base/cursor.h"
#include "base/num.h"

enum { WIRE_VARINT, WIRE_I64, WIRE_LEN, WIRE_START_GROUP, WIRE_END_GROUP, WIRE_I32 };

typedef struct field {
    uint32_t number, wire;
    uint64_t value;  /* of a varint, I32 or I64 */
    fh_bytes bytes;  /* of a LEN field */
    uint64_t offset; /* of its tag in the file */
} field;

/* A message and where it starts in the file. */
typedef struct message {
    fh_cursor c;
    uint64_t start;
    const char *name;
} message;

typedef struct reading {
    fh_vocab *v;
    const uint8_t *file;
    fh_err *err;
    uint32_t n_piece, n_unk;
    bool has_byte_piece;
    fh_str name[4]; /* pieces of unk, bos, eos, pad */
    uint64_t model_type;
    fh_bytes charsmap;
    uint64_t charsmap_offset;
} reading;

static const fh_vocab_special NAMED[4] = {FH_SPECIAL_UNK, FH_SPECIAL_BOS, FH_SPECIAL_EOS, FH_SPECIAL_PAD};

/* ---- wire format ---- */

static message message_of(const reading *in, fh_bytes bytes, const char *name) {
    return (message){fh_cursor_of(bytes), bytes.ptr ? (uint64_t)(bytes.ptr - in->file) : 0, name};
}

static fh_status cut(const message *m, uint64_t offset, fh_err *err) {
    return fh_fail_at(err, FH_ERR_FORMAT, offset, "SentencePiece: %s ends inside a field", m->name);
}

static fh_status read_varint(message *m, uint64_t *out, fh_err *err) {
    uint64_t v = 0, offset = m->start + m->c.pos;
    for (int shift = 0; shift < 70; shift += 7) {
        uint8_t b = fh_cursor_u8(&m->c);
        if (m->c.failed) return cut(m, offset, err);
        if (shift < 64) v |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80) {
            *out = v;
            return FH_OK;
        }
    }
    return fh_fail_at(err, FH_ERR_FORMAT, offset, "SentencePiece: a varint in %s is over ten bytes", m->name);
}

/* *more false at the end of the message. */
static fh_status next_field(message *m, field *f, bool *more, fh_err *err) {
    uint64_t tag, len;
    *more = fh_cursor_left(&m->c) > 0;
    if (!*more) return FH_OK;
    *f = (field){.offset = m->start + m->c.pos};
    FH_TRY(read_varint(m, &tag, err));
    f->wire = (uint32_t)(tag & 7);
    f->number = (uint32_t)(tag >> 3);
    if (tag > UINT32_MAX || f->number == 0)
        return fh_fail_at(err, FH_ERR_FORMAT, f->offset, "SentencePiece: %s has a field numbered %llu", m->name,
                          (unsigned long long)(tag >> 3));
    switch (f->wire) {
    case WIRE_VARINT: return read_varint(m, &f->value, err);
    case WIRE_I64: f->value = fh_cursor_u64(&m->c); break;
    case WIRE_I32: f->value = fh_cursor_u32(&m->c); break;
    case WIRE_LEN:
        FH_TRY(read_varint(m, &len, err));
        f->bytes = fh_cursor_take(&m->c, len);
        break;
    default:
        return fh_fail_at(err, FH_ERR_FORMAT, f->offset,
                          "SentencePiece: field %u of %s has wire type %u, which no such model uses", f->number,
                          m->name, f->wire);
    }
    return m->c.failed ? cut(m, f->offset, err) : FH_OK;
}

static fh_status expect_wire(const message *m, const field *f, uint32_t wire, fh_err *err) {
    if (f->wire == wire) return FH_OK;
    return fh_fail_at(err, FH_ERR_FORMAT, f->offset, "SentencePiece: field %u of %s has wire type %u, expected %u",
                      f->number, m->name, f->wire, wire);
}

/* ---- messages ---- */

static fh_status read_piece(reading *in, fh_bytes bytes, uint64_t offset) {
    message m = message_of(in, bytes, "a piece");
    field f;
    bool more;
    fh_str piece = FH_STR("");
    float score = 0;
    uint64_t type = FH_TOKEN_NORMAL;
    uint32_t bits;
    for (;;) {
        FH_TRY(next_field(&m, &f, &more, in->err));
        if (!more) break;
        if (f.number == 1) {
            FH_TRY(expect_wire(&m, &f, WIRE_LEN, in->err));
            piece = fh_str_of_bytes(f.bytes);
        } else if (f.number == 2) {
            FH_TRY(expect_wire(&m, &f, WIRE_I32, in->err));
            bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
        } else if (f.number == 3) {
            FH_TRY(expect_wire(&m, &f, WIRE_VARINT, in->err));
            type = f.value;
        }
    }
    uint32_t id = in->v->n_id;
    if (piece.len == 0) return fh_fail_at(in->err, FH_ERR_FORMAT, offset, "SentencePiece: piece %u is empty", id);
    if (type < FH_TOKEN_NORMAL || type >= FH_TOKEN_TYPE_COUNT)
        return fh_fail_at(in->err, FH_ERR_FORMAT, offset,
                          "SentencePiece: piece %u '%.*s' has the type %llu, which is none", id, FH_STR_ARG(piece),
                          (unsigned long long)type);
    if (type == FH_TOKEN_UNKNOWN) in->n_unk++;
    if (type == FH_TOKEN_BYTE) in->has_byte_piece = true;
    FH_TRY(fh_vocab_put(in->v, id, piece, (fh_token_type)type, offset, in->err));
    return fh_vocab_put_score(in->v, id, (double)score, offset, in->err);
}

static fh_status read_trainer(reading *in, fh_bytes bytes) {
    message m = message_of(in, bytes, "trainer_spec");
    field f;
    bool more;
    for (;;) {
        FH_TRY(next_field(&m, &f, &more, in->err));
        if (!more) return FH_OK;
        if (f.number == 3 || f.number == 24 || f.number == 35) FH_TRY(expect_wire(&m, &f, WIRE_VARINT, in->err));
        if (f.number >= 44 && f.number <= 48) FH_TRY(expect_wire(&m, &f, WIRE_LEN, in->err));
        if (f.number == 3) in->model_type = f.value;
        if (f.number == 24) in->v->space_as_suffix = fh_tri_of(f.value != 0);
        if (f.number == 35) in->v->byte_fallback = f.value != 0;
        if (f.number == 44) FH_TRY(fh_vocab_copy(in->v, fh_str_of_bytes(f.bytes), &in->v->unk_surface, in->err));
        if (f.number >= 45 && f.number <= 48) in->name[f.number - 45] = fh_str_of_bytes(f.bytes);
    }
}

static fh_status read_normalizer(reading *in, fh_bytes bytes) {
    message m = message_of(in, bytes, "normalizer_spec");
    fh_vocab *v = in->v;
    field f;
    bool more;
    for (;;) {
        FH_TRY(next_field(&m, &f, &more, in->err));
        if (!more) return FH_OK;
        if (f.number == 1 || f.number == 2) FH_TRY(expect_wire(&m, &f, WIRE_LEN, in->err));
        if (f.number >= 3 && f.number <= 5) FH_TRY(expect_wire(&m, &f, WIRE_VARINT, in->err));
        if (f.number == 1) FH_TRY(fh_vocab_copy(v, fh_str_of_bytes(f.bytes), &v->normalizer, in->err));
        if (f.number == 2) {
            in->charsmap = f.bytes;
            in->charsmap_offset = f.offset;
        }
        if (f.number == 3) v->add_space_prefix = fh_tri_of(f.value != 0);
        if (f.number == 4) v->remove_extra_spaces = fh_tri_of(f.value != 0);
        if (f.number == 5) v->escape_spaces = fh_tri_of(f.value != 0);
    }
}

/* ---- the file ---- */

static fh_status count_pieces(reading *in, fh_bytes file) {
    message m = message_of(in, file, "the file");
    field f;
    bool more;
    for (;;) {
        FH_TRY(next_field(&m, &f, &more, in->err));
        if (!more) break;
        if (f.number == 1) {
            FH_TRY(expect_wire(&m, &f, WIRE_LEN, in->err));
            if (++in->n_piece > FH_VOCAB_MAX_ID)
                return fh_fail_at(in->err, FH_ERR_LIMIT, f.offset, "SentencePiece: more than %u pieces",
                                  FH_VOCAB_MAX_ID);
        }
    }
    if (in->n_piece == 0) return fh_fail(in->err, FH_ERR_FORMAT, "SentencePiece: the file has no pieces");
    return FH_OK;
}

static fh_status read_file(reading *in, fh_bytes file) {
    message m = message_of(in, file, "the file");
    field f;
    bool more;
    for (;;) {
        FH_TRY(next_field(&m, &f, &more, in->err));
        if (!more) return FH_OK;
        if (f.number == 2 || f.number == 3) FH_TRY(expect_wire(&m, &f, WIRE_LEN, in->err));
        if (f.number == 1 && f.wire == WIRE_LEN) FH_TRY(read_piece(in, f.bytes, f.offset));
        if (f.number == 2) FH_TRY(read_trainer(in, f.bytes));
        if (f.number == 3) FH_TRY(read_normalizer(in, f.bytes));
    }
}

static fh_status check_bytes(const reading *in) {
    const fh_vocab *v = in->v;
    if (in->has_byte_piece && !v->byte_fallback)
        return fh_fail(in->err, FH_ERR_FORMAT, "SentencePiece: there are byte pieces, but byte_fallback is off");
    for (unsigned b = 0; v->byte_fallback && b < 256; b++)
        if (v->byte_id[b] == FH_VOCAB_NO_ID || v->type[v->byte_id[b]] != FH_TOKEN_BYTE)
            return fh_fail(in->err, FH_ERR_FORMAT, "SentencePiece: byte_fallback is on, but '<0x%02X>' is missing", b);
    return FH_OK;
}

static fh_status finish(reading *in) {
    static const char *const defaults[4] = {"<unk>", "<s>", "</s>", "<pad>"};
    fh_vocab *v = in->v;
    if (in->model_type != 1 && in->model_type != 2)
        return fh_fail(in->err, FH_ERR_UNSUPPORTED,
                       "SentencePiece: model_type %llu; only unigram (1) and BPE (2) are known",
                       (unsigned long long)in->model_type);
    v->kind = in->model_type == 1 ? FH_VOCAB_UNIGRAM : FH_VOCAB_BPE_SCORES;
    if (in->n_unk != 1)
        return fh_fail(in->err, FH_ERR_FORMAT, "SentencePiece: %u unknown pieces, expected one", in->n_unk);
    FH_TRY(fh_vocab_index(v, true, in->err));
    FH_TRY(fh_vocab_put_added_by_type(v, in->err));
    FH_TRY(fh_vocab_put_charsmap(v, in->charsmap, in->charsmap_offset, in->err));
    for (size_t i = 0; i < FH_COUNT(NAMED); i++) {
        fh_str name = in->name[i].ptr ? in->name[i] : fh_str_of(defaults[i]);
        uint32_t id;
        fh_token_type want = i == 0 ? FH_TOKEN_UNKNOWN : FH_TOKEN_CONTROL;
        if (fh_vocab_find(v, name, &id) && fh_vocab_type(v, id) == want) v->special[NAMED[i]] = id;
    }
    for (uint32_t id = 0; id < v->n_id; id++)
        if (v->type[id] == FH_TOKEN_UNKNOWN) v->special[FH_SPECIAL_UNK] = id;
    FH_TRY(fh_vocab_finish(v, in->err));
    return check_bytes(in);
}

static fh_status read_model(reading *in, fh_bytes file) {
    FH_TRY(count_pieces(in, file));
    FH_TRY(fh_vocab_new(&in->v, FH_VOCAB_UNIGRAM, file.len, in->err));
    fh_vocab *v = in->v;
    /* What the format says where a field is absent. */
    v->add_space_prefix = v->remove_extra_spaces = v->escape_spaces = FH_TRI_YES;
    v->space_as_suffix = FH_TRI_NO;
    v->unk_surface = FH_STR(" \xE2\x81\x87 ");
    FH_TRY(fh_vocab_reserve(v, in->n_piece, true, in->err));
    FH_TRY(read_file(in, file));
    return finish(in);
}

fh_status fh_sentencepiece_parse(fh_vocab **out, fh_bytes file, fh_err *err) {
    reading in = {.file = file.ptr, .err = err, .model_type = 1};
    fh_status s = read_model(&in, file);
    if (s != FH_OK) {
        fh_vocab_free(in.v);
        return s;
    }
    *out = in.v;
    return FH_OK;
}

/* ---- other numbers for the same pieces ---- */

static fh_status put_xlmr(fh_vocab *to, const fh_vocab *from, fh_err *err) {
    static const char *const first[] = {"<s>", "<pad>", "</s>", "<unk>"};
    FH_TRY(fh_vocab_reserve(to, from->n_id + 2, true, err));
    for (uint32_t id = 0; id < FH_COUNT(first); id++) {
        fh_token_type type = id == 3 ? FH_TOKEN_UNKNOWN : FH_TOKEN_CONTROL;
        FH_TRY(fh_vocab_put(to, id, fh_str_of(first[id]), type, FH_NO_OFFSET, err));
        FH_TRY(fh_vocab_put_score(to, id, 0, FH_NO_OFFSET, err));
    }
    for (uint32_t id = 3; id < from->n_id; id++) {
        FH_TRY(fh_vocab_put(to, id + 1, fh_vocab_piece(from, id), fh_vocab_type(from, id), FH_NO_OFFSET, err));
        FH_TRY(fh_vocab_put_score(to, id + 1, from->score[id], FH_NO_OFFSET, err));
    }
    FH_TRY(fh_vocab_put(to, from->n_id + 1, FH_STR("<mask>"), FH_TOKEN_CONTROL, FH_NO_OFFSET, err));
    FH_TRY(fh_vocab_put_score(to, from->n_id + 1, 0, FH_NO_OFFSET, err));
    FH_TRY(fh_vocab_index(to, true, err));
    FH_TRY(fh_vocab_put_added_by_type(to, err));
    to->special[FH_SPECIAL_BOS] = to->special[FH_SPECIAL_CLS] = 0;
    to->special[FH_SPECIAL_PAD] = 1;
    to->special[FH_SPECIAL_EOS] = to->special[FH_SPECIAL_SEP] = 2;
    to->special[FH_SPECIAL_UNK] = 3;
    to->special[FH_SPECIAL_MASK] = from->n_id + 1;
    return FH_OK;
}

static fh_status put_ways(fh_vocab *to, const fh_vocab *from, fh_err *err) {
    to->byte_fallback = from->byte_fallback;
    to->add_space_prefix = from->add_space_prefix;
    to->remove_extra_spaces = from->remove_extra_spaces;
    to->escape_spaces = from->escape_spaces;
    to->space_as_suffix = from->space_as_suffix;
    FH_TRY(fh_vocab_copy(to, from->unk_surface, &to->unk_surface, err));
    FH_TRY(fh_vocab_copy(to, from->normalizer, &to->normalizer, err));
    return fh_vocab_put_charsmap(to, from->charsmap, FH_NO_OFFSET, err);
}

fh_status fh_sentencepiece_parse_xlmr(fh_vocab **out, fh_bytes file, fh_err *err) {
    fh_vocab *from = NULL, *to = NULL;
    FH_TRY(fh_sentencepiece_parse(&from, file, err));
    fh_status s = FH_OK;
    if (fh_vocab_type(from, 0) != FH_TOKEN_UNKNOWN || fh_vocab_type(from, 1) != FH_TOKEN_CONTROL ||
        fh_vocab_type(from, 2) != FH_TOKEN_CONTROL)
        s = fh_fail(err, FH_ERR_FORMAT, "SentencePiece: a file of XLM-R starts with <unk>, <s> and </s>");
    if (s == FH_OK) s = fh_vocab_new(&to, from->kind, file.len + 64, err);
    if (s == FH_OK) s = put_xlmr(to, from, err);
    if (s == FH_OK) s = put_ways(to, from, err);
    if (s == FH_OK) s = fh_vocab_finish(to, err);
    fh_vocab_free(from);
    if (s == FH_OK) *out = to;
    else fh_vocab_free(to);
    return s;
}
