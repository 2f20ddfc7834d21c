/* forge/convert_vocab_hf.c - the tokenizer of a GGUF as files of a folder.
 * SPDX-License-Identifier: Apache-2.0
 * Byte-level models become tokenizer.json, SentencePiece models a .model file, WordPiece a vocab.txt, each in the form
 * in which the publishers' own loaders take them with nothing lost; beside them tokenizer_config.json with special
 * tokens and chat template, and generation_config.json. Refuses a pre-tokenizer whose name is not known. */
#include <inttypes.h>

#include "base/json_member.h"
#include "format/gguf_vocab.h"
#include "forge/convert_part.h"
#include "text/split.h"

#define TEXT_MOST ((size_t)1 << 28)
#define WORD_MARK "\xE2\x96\x81" /* U+2581 */

typedef struct files {
    fh_convert_job *j;
    const char *folder;
    fh_err *err;
    fh_vocab *v;
    fh_buf out;
    bool add_bos, add_eos, shifted;
    uint32_t n; /* ids, without the unused ones at the end that only fill up the embedding */
} files;

static bool is_on(fh_tri t, bool otherwise) { return t == FH_TRI_UNSET ? otherwise : t == FH_TRI_YES; }

static bool is_filler(const fh_vocab *v, uint32_t id) {
    fh_token_type t = fh_vocab_type(v, id);
    return t == FH_TOKEN_NONE || (t == FH_TOKEN_UNUSED && fh_str_starts(fh_vocab_piece(v, id), "[PAD"));
}

/* ---- tokenizer.json: byte-level BPE ---- */

static bool is_apart(fh_token_type t) {
    return t == FH_TOKEN_CONTROL || t == FH_TOKEN_USER_DEFINED || t == FH_TOKEN_UNKNOWN;
}

static void put_added(fh_json_writer *w, const files *f) {
    fh_json_put_key(w, "added_tokens");
    fh_json_put_array(w);
    for (uint32_t id = 0; id < f->n; id++) {
        fh_token_type t = fh_vocab_type(f->v, id);
        if (!is_apart(t)) continue;
        fh_json_put_object(w);
        fh_json_put_key(w, "id");
        fh_json_put_u64(w, id);
        fh_json_put_key(w, "content");
        fh_json_put_str(w, fh_vocab_piece(f->v, id));
        fh_put_bool(w, "single_word", false);
        fh_put_bool(w, "lstrip", false);
        fh_put_bool(w, "rstrip", false);
        fh_put_bool(w, "normalized", false);
        fh_put_bool(w, "special", t != FH_TOKEN_USER_DEFINED);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_byte_level(fh_json_writer *w, bool regex) {
    fh_put_z(w, "type", "ByteLevel");
    fh_put_bool(w, "add_prefix_space", false);
    fh_put_bool(w, "trim_offsets", true);
    fh_put_bool(w, "use_regex", regex);
}

static void put_cuts(fh_json_writer *w, const fh_split_recipe *r) {
    fh_put_object(w, "pre_tokenizer");
    fh_put_z(w, "type", "Sequence");
    fh_json_put_key(w, "pretokenizers");
    fh_json_put_array(w);
    for (const char *const *p = r->pattern; *p; p++) {
        fh_json_put_object(w);
        fh_put_z(w, "type", "Split");
        fh_put_object(w, "pattern");
        fh_put_z(w, "Regex", *p);
        fh_json_put_end(w);
        fh_put_z(w, "behavior", "Isolated");
        fh_put_bool(w, "invert", false);
        fh_json_put_end(w);
    }
    fh_json_put_object(w);
    put_byte_level(w, false);
    fh_json_put_end(w);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_token_item(fh_json_writer *w, const files *f, uint32_t id, uint32_t type) {
    fh_json_put_object(w);
    fh_put_object(w, "SpecialToken");
    fh_json_put_key(w, "id");
    fh_json_put_str(w, fh_vocab_piece(f->v, id));
    fh_json_put_key(w, "type_id");
    fh_json_put_u64(w, type);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_sequence(fh_json_writer *w, const files *f, const char *which, uint32_t type) {
    if (f->add_bos) put_token_item(w, f, f->v->special[FH_SPECIAL_BOS], type);
    fh_json_put_object(w);
    fh_put_object(w, "Sequence");
    fh_put_z(w, "id", which);
    fh_json_put_key(w, "type_id");
    fh_json_put_u64(w, type);
    fh_json_put_end(w);
    fh_json_put_end(w);
    if (f->add_eos) put_token_item(w, f, f->v->special[FH_SPECIAL_EOS], type);
}

static void put_around(fh_json_writer *w, const files *f) {
    uint32_t used[2] = {FH_VOCAB_NO_ID, FH_VOCAB_NO_ID};
    if (!f->add_bos && !f->add_eos) {
        fh_put_null(w, "post_processor");
        return;
    }
    if (f->add_bos) used[0] = f->v->special[FH_SPECIAL_BOS];
    if (f->add_eos) used[1] = f->v->special[FH_SPECIAL_EOS];
    fh_put_object(w, "post_processor");
    fh_put_z(w, "type", "TemplateProcessing");
    fh_json_put_key(w, "single");
    fh_json_put_array(w);
    put_sequence(w, f, "A", 0);
    fh_json_put_end(w);
    fh_json_put_key(w, "pair");
    fh_json_put_array(w);
    put_sequence(w, f, "A", 0);
    put_sequence(w, f, "B", 0);
    fh_json_put_end(w);
    fh_put_object(w, "special_tokens");
    for (size_t i = 0; i < 2; i++) {
        if (used[i] == FH_VOCAB_NO_ID || (i && used[1] == used[0])) continue;
        fh_str text = fh_vocab_piece(f->v, used[i]);
        fh_json_put_key_str(w, text);
        fh_json_put_object(w);
        fh_json_put_key(w, "id");
        fh_json_put_str(w, text);
        fh_json_put_key(w, "ids");
        fh_json_put_array(w);
        fh_json_put_u64(w, used[i]);
        fh_json_put_end(w);
        fh_json_put_key(w, "tokens");
        fh_json_put_array(w);
        fh_json_put_str(w, text);
        fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_model(fh_json_writer *w, const files *f, bool ignore_merges) {
    fh_put_object(w, "model");
    fh_put_z(w, "type", "BPE");
    fh_put_null(w, "dropout");
    fh_put_null(w, "unk_token");
    fh_put_null(w, "continuing_subword_prefix");
    fh_put_null(w, "end_of_word_suffix");
    fh_put_bool(w, "fuse_unk", false);
    fh_put_bool(w, "byte_fallback", false);
    fh_put_bool(w, "ignore_merges", ignore_merges);
    fh_put_object(w, "vocab");
    for (uint32_t id = 0; id < f->n; id++) {
        fh_token_type t = fh_vocab_type(f->v, id);
        if (t == FH_TOKEN_NONE || is_apart(t)) continue;
        fh_json_put_key_str(w, fh_vocab_piece(f->v, id));
        fh_json_put_u64(w, id);
    }
    fh_json_put_end(w);
    fh_json_put_key(w, "merges");
    fh_json_put_array(w);
    for (uint32_t i = 0; i < f->v->n_merge; i++) {
        fh_json_put_array(w);
        fh_json_put_str(w, fh_vocab_piece(f->v, f->v->merge[i].left));
        fh_json_put_str(w, fh_vocab_piece(f->v, f->v->merge[i].right));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static fh_status finish(files *f, const char *name) {
    FH_TRY(fh_buf_check(&f->out, f->err));
    return fh_convert_write_file(f->folder, name, fh_buf_str(&f->out), f->err);
}

static fh_status write_json(files *f) {
    static const char *const nfc[] = {"qwen2", "deepseek-r1-qwen", "command-r", "mpt", "olmo"};
    fh_json_writer w;
    const fh_split_recipe *r = fh_split_recipe_find(f->v->pre.len ? f->v->pre : FH_STR("default"));
    bool normal = false;
    if (!r)
        return fh_fail(f->err, FH_ERR_UNSUPPORTED,
                       "how text is cut for '%.*s' is not known: convert without the tokenizer", FH_STR_ARG(f->v->pre));
    for (size_t i = 0; i < FH_COUNT(nfc); i++) normal |= fh_str_is(f->v->pre, nfc[i]);
    f->add_bos = is_on(f->v->add_bos, r->add_bos) && f->v->special[FH_SPECIAL_BOS] != FH_VOCAB_NO_ID;
    f->add_eos = is_on(f->v->add_eos, false) && f->v->special[FH_SPECIAL_EOS] != FH_VOCAB_NO_ID;
    fh_buf_clear(&f->out);
    fh_json_writer_init(&w, &f->out, false);
    fh_json_put_object(&w);
    fh_put_z(&w, "version", "1.0");
    fh_put_null(&w, "truncation");
    fh_put_null(&w, "padding");
    put_added(&w, f);
    if (normal) {
        fh_put_object(&w, "normalizer");
        fh_put_z(&w, "type", "NFC");
        fh_json_put_end(&w);
    } else {
        fh_put_null(&w, "normalizer");
    }
    put_cuts(&w, r);
    put_around(&w, f);
    fh_put_object(&w, "decoder");
    put_byte_level(&w, true);
    fh_json_put_end(&w);
    put_model(&w, f, r->ignore_merges);
    fh_json_put_end(&w);
    return finish(f, "tokenizer.json");
}

/* ---- SentencePiece: a protocol buffer ---- */

static void put_varint(fh_buf *b, uint64_t v) {
    for (; v >= 128; v >>= 7) fh_buf_add_byte(b, (uint8_t)(v | 128));
    fh_buf_add_byte(b, (uint8_t)v);
}
static void put_tag(fh_buf *b, uint32_t field, uint32_t wire) { put_varint(b, field << 3 | wire); }
static void put_bytes(fh_buf *b, uint32_t field, fh_str s) {
    put_tag(b, field, 2);
    put_varint(b, s.len);
    fh_buf_add(b, s.ptr, s.len);
}
static void put_number(fh_buf *b, uint32_t field, uint64_t v) {
    put_tag(b, field, 0);
    put_varint(b, v);
}

static void put_piece(fh_buf *out, fh_buf *part, fh_str text, float score, fh_token_type type) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    fh_buf_clear(part);
    put_bytes(part, 1, text);
    put_tag(part, 2, 5);
    fh_buf_add_u32le(part, bits);
    if (type != FH_TOKEN_NORMAL) put_number(part, 3, (uint64_t)type);
    put_bytes(out, 1, fh_buf_str(part));
}

/* Numbers of the fields are those of the format: trainer 3 kind, 35 bytes as pieces, 40 to 43 ids, 45 to 48 pieces. */
static void put_trainer(files *f, fh_buf *part) {
    static const fh_vocab_special which[] = {FH_SPECIAL_UNK, FH_SPECIAL_BOS, FH_SPECIAL_EOS, FH_SPECIAL_PAD};
    bool bytes = false;
    for (uint32_t id = 0; id < f->n; id++) bytes |= fh_vocab_type(f->v, id) == FH_TOKEN_BYTE;
    fh_buf_clear(part);
    put_number(part, 3, f->v->kind == FH_VOCAB_UNIGRAM ? 1 : 2);
    if (f->v->space_as_suffix == FH_TRI_YES) put_number(part, 24, 1);
    if (bytes) put_number(part, 35, 1);
    for (uint32_t i = 0; i < FH_COUNT(which); i++) {
        uint32_t id = f->v->special[which[i]];
        if (f->shifted) id = i == 0 ? 0 : i == 1 ? 1 : i == 2 ? 2 : FH_VOCAB_NO_ID;
        put_number(part, 40 + i, id == FH_VOCAB_NO_ID ? UINT64_MAX : id);
        if (!f->shifted && id != FH_VOCAB_NO_ID) put_bytes(part, 45 + i, fh_vocab_piece(f->v, id));
    }
    put_bytes(&f->out, 2, fh_buf_str(part));
}

static fh_status write_pieces(files *f, const char *name) {
    fh_buf part;
    fh_buf_init(&part, TEXT_MOST);
    fh_buf_clear(&f->out);
    if (f->shifted) {
        put_piece(&f->out, &part, FH_STR("<unk>"), 0, FH_TOKEN_UNKNOWN);
        put_piece(&f->out, &part, FH_STR("<s>"), 0, FH_TOKEN_CONTROL);
        put_piece(&f->out, &part, FH_STR("</s>"), 0, FH_TOKEN_CONTROL);
    }
    for (uint32_t id = f->shifted ? 4 : 0; id < f->n; id++)
        put_piece(&f->out, &part, fh_vocab_piece(f->v, id), f->v->score ? (float)f->v->score[id] : 0,
                  fh_vocab_type(f->v, id));
    put_trainer(f, &part);
    fh_buf_clear(&part);
    if (f->v->charsmap.len) put_bytes(&part, 2, fh_str_of_bytes(f->v->charsmap));
    put_number(&part, 3, is_on(f->v->add_space_prefix, true));
    put_number(&part, 4, is_on(f->v->remove_extra_spaces, f->v->kind == FH_VOCAB_UNIGRAM));
    put_number(&part, 5, is_on(f->v->escape_spaces, true));
    put_bytes(&f->out, 3, fh_buf_str(&part));
    fh_status s = fh_buf_check(&part, f->err);
    fh_buf_release(&part);
    return s == FH_OK ? finish(f, name) : s;
}

/* ---- WordPiece ---- */

static fh_status write_words(files *f) {
    fh_buf_clear(&f->out);
    for (uint32_t id = 0; id < f->n; id++) {
        fh_str p = fh_vocab_piece(f->v, id);
        bool normal = fh_vocab_type(f->v, id) == FH_TOKEN_NORMAL, start = fh_str_starts(p, WORD_MARK);
        size_t at;
        if (fh_str_find(p, '\n', &at))
            return fh_fail(f->err, FH_ERR_UNSUPPORTED, "token %" PRIu32 " holds a line break: vocab.txt cannot", id);
        if (normal && !start) fh_buf_add_z(&f->out, "##");
        fh_buf_add_str(&f->out, normal && start ? fh_str_drop(p, sizeof WORD_MARK - 1) : p);
        fh_buf_add_byte(&f->out, '\n');
    }
    return finish(f, "vocab.txt");
}

/* ---- around them ---- */

static void put_special(fh_json_writer *w, const files *f, const char *key, fh_vocab_special which, const char *text) {
    uint32_t id = f->v->special[which];
    if (id == FH_VOCAB_NO_ID && (!text || !fh_vocab_find(f->v, fh_str_of(text), &id))) return;
    fh_json_put_key(w, key);
    fh_json_put_str(w, fh_vocab_piece(f->v, id));
}

static void put_templates(fh_json_writer *w, const files *f) {
    fh_str name, text, first = {"", 0};
    size_t at = 0, n = 0;
    while (fh_gguf_vocab_next_template(f->j->meta.gguf, &at, &name, &text))
        if (n++ == 0) first = text;
    if (!n) return;
    fh_json_put_key(w, "chat_template");
    if (n == 1) {
        fh_json_put_str(w, first);
        return;
    }
    fh_json_put_array(w);
    for (at = 0; fh_gguf_vocab_next_template(f->j->meta.gguf, &at, &name, &text);) {
        fh_json_put_object(w);
        fh_json_put_key(w, "name");
        fh_json_put_str(w, name);
        fh_json_put_key(w, "template");
        fh_json_put_str(w, text);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static const char *class_of(const files *f) {
    switch (f->v->kind) {
    case FH_VOCAB_BPE_SCORES: return f->j->spec->family->norm_plus_one ? "GemmaTokenizer" : "LlamaTokenizer";
    case FH_VOCAB_UNIGRAM: return f->shifted ? "XLMRobertaTokenizer" : "T5Tokenizer";
    case FH_VOCAB_WORDPIECE: return "BertTokenizer";
    default: return "PreTrainedTokenizerFast";
    }
}

static fh_status write_config(files *f) {
    fh_json_writer w;
    bool words = f->v->kind == FH_VOCAB_WORDPIECE, flag;
    fh_buf_clear(&f->out);
    fh_json_writer_init(&w, &f->out, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "tokenizer_class", class_of(f));
    if (!words) put_special(&w, f, "bos_token", FH_SPECIAL_BOS, NULL);
    if (!words) put_special(&w, f, "eos_token", FH_SPECIAL_EOS, NULL);
    put_special(&w, f, "unk_token", FH_SPECIAL_UNK, words ? "[UNK]" : f->shifted ? "<unk>" : NULL);
    put_special(&w, f, "pad_token", FH_SPECIAL_PAD, words ? "[PAD]" : NULL);
    if (words || f->shifted) {
        put_special(&w, f, "cls_token", FH_SPECIAL_CLS, words ? "[CLS]" : "<s>");
        put_special(&w, f, "sep_token", FH_SPECIAL_SEP, words ? "[SEP]" : "</s>");
        put_special(&w, f, "mask_token", FH_SPECIAL_MASK, words ? "[MASK]" : "<mask>");
    }
    if (f->v->kind == FH_VOCAB_BPE || f->v->kind == FH_VOCAB_BPE_SCORES) {
        fh_put_bool(&w, "add_bos_token", f->add_bos);
        fh_put_bool(&w, "add_eos_token", f->add_eos);
    }
    if (f->v->kind == FH_VOCAB_UNIGRAM && !f->shifted) {
        fh_json_put_key(&w, "extra_ids");
        fh_json_put_u64(&w, 0);
    }
    if (words && fh_gguf_to_bool(fh_gguf_find(f->j->meta.gguf, "tokenizer.ggml.normalizer.lowercase"), &flag))
        fh_put_bool(&w, "do_lower_case", flag);
    if (words && fh_gguf_to_bool(fh_gguf_find(f->j->meta.gguf, "tokenizer.ggml.normalizer.strip_accents"), &flag))
        fh_put_bool(&w, "strip_accents", flag);
    fh_put_bool(&w, "clean_up_tokenization_spaces", false);
    fh_json_put_key(&w, "model_max_length");
    fh_json_put_u64(&w, f->j->spec->n_context);
    put_templates(&w, f);
    fh_json_put_end(&w);
    fh_buf_add_byte(&f->out, '\n');
    return finish(f, "tokenizer_config.json");
}

static fh_status write_generation(files *f) {
    static const struct {
        const char *key;
        fh_vocab_special which;
    } single[] = {{"bos_token_id", FH_SPECIAL_BOS}, {"pad_token_id", FH_SPECIAL_PAD}};
    static const fh_vocab_special ends[] = {FH_SPECIAL_EOS, FH_SPECIAL_EOT, FH_SPECIAL_EOM};
    fh_json_writer w;
    uint32_t id[3], n = 0;
    if (f->j->spec->topology == FH_TOPOLOGY_ENCODER) return FH_OK;
    fh_buf_clear(&f->out);
    fh_json_writer_init(&w, &f->out, true);
    fh_json_put_object(&w);
    for (size_t i = 0; i < FH_COUNT(single); i++) {
        if (f->v->special[single[i].which] == FH_VOCAB_NO_ID) continue;
        fh_json_put_key(&w, single[i].key);
        fh_json_put_u64(&w, f->v->special[single[i].which]);
    }
    for (size_t i = 0; i < FH_COUNT(ends); i++) {
        uint32_t e = f->v->special[ends[i]];
        if (e != FH_VOCAB_NO_ID && (n == 0 || e != id[0]) && (n < 2 || e != id[1])) id[n++] = e;
    }
    if (n) fh_json_put_key(&w, "eos_token_id");
    if (n > 1) fh_json_put_array(&w);
    for (uint32_t i = 0; i < n; i++) fh_json_put_u64(&w, id[i]);
    if (n > 1) fh_json_put_end(&w);
    if (f->j->spec->topology == FH_TOPOLOGY_ENCODER_DECODER) {
        fh_json_put_key(&w, "decoder_start_token_id");
        fh_json_put_u64(&w, f->j->spec->decoder_start);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(&f->out, '\n');
    return finish(f, "generation_config.json");
}

static fh_status write_vocab(files *f) {
    fh_vocab *v = f->v;
    bool unigram = v->kind == FH_VOCAB_UNIGRAM;
    f->n = v->n_id;
    while (f->n && is_filler(v, f->n - 1)) f->n--;
    f->shifted = unigram && f->n > 4 && fh_str_is(fh_vocab_piece(v, 0), "<s>") &&
                 fh_str_is(fh_vocab_piece(v, 1), "<pad>") && fh_str_is(fh_vocab_piece(v, 3), "<unk>");
    if (f->shifted && fh_str_is(fh_vocab_piece(v, f->n - 1), "<mask>")) f->n--;
    for (uint32_t id = 0; id < f->n && v->special[FH_SPECIAL_UNK] == FH_VOCAB_NO_ID; id++)
        if (fh_vocab_type(v, id) == FH_TOKEN_UNKNOWN) v->special[FH_SPECIAL_UNK] = id; /* where no key says so */
    f->add_bos = is_on(v->add_bos, !unigram);
    f->add_eos = is_on(v->add_eos, unigram);
    switch (v->kind) {
    case FH_VOCAB_BPE:
        if (!v->byte_fallback) return write_json(f);
        return fh_fail(f->err, FH_ERR_UNSUPPORTED,
                       "a tokenizer of characters with merges is not written yet: convert without the tokenizer");
    case FH_VOCAB_BPE_SCORES: return write_pieces(f, "tokenizer.model");
    case FH_VOCAB_UNIGRAM: return write_pieces(f, f->shifted ? "sentencepiece.bpe.model" : "spiece.model");
    case FH_VOCAB_WORDPIECE: return write_words(f);
    case FH_VOCAB_BPE_RANKS:
    case FH_VOCAB_WORDLEVEL: break;
    }
    FH_BUG("GGUF has no such model");
}

fh_status fh_convert_vocab_to_hf(fh_convert_job *j, const char *folder, fh_err *err) {
    files f = {.j = j, .folder = folder, .err = err};
    fh_status s = fh_gguf_vocab_read(&f.v, j->meta.gguf, err);
    if (s == FH_ERR_NOT_FOUND) {
        fh_convert_note(j, "the GGUF has no tokenizer: none is written");
        return FH_OK;
    }
    fh_buf_init(&f.out, TEXT_MOST);
    if (s == FH_OK) s = write_vocab(&f);
    if (s == FH_OK) s = write_config(&f);
    if (s == FH_OK) s = write_generation(&f);
    fh_buf_release(&f.out);
    fh_vocab_free(f.v);
    return s;
}
