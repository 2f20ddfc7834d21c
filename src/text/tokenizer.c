/* text/tokenizer.c - the life of a tokenizer, and decoding.
 * SPDX-License-Identifier: Apache-2.0
 * Encoding is in tokenizer_encode.c, the builders are in tokenizer_*_build.c. */
#include "text/tokenizer.h"

#include "base/num.h"
#include "text/tokenizer_part.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define NOTE_BYTES 400

struct fh_detok {
    const fh_tokenizer *t;
    bool skip_special;
    fh_decoder_run run;
};

#define BAR "\xEF\xBD\x9C"  /* U+FF5C */
#define MARK "\xE2\x96\x81" /* U+2581 */

/* Names under which published models end a turn or a text. */
static const char *const EOG_NAMES[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<end_of_turn>",
                                        "<turn|>",
                                        "<|endoftext|>",
                                        "<|eom_id|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "<|end_of_text|>",
                                        "<end_of_utterance>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<|eot|>",
                                        "<|eom|>",
                                        "<|END_OF_TURN_TOKEN|>",
                                        "<|user|>",
                                        "<|observation|>",
                                        ("<" BAR "end" MARK "of" MARK "sentence" BAR ">"),
                                        "<|eos|>",
                                        "[EOS]",
                                        "[EOT]",
                                        "</s>"};

fh_status fh_tokenizer_new(fh_tokenizer **out, fh_err *err) {
    fh_tokenizer *t = fh_alloc_zero(1, sizeof *t);
    if (!t) return fh_fail_memory(err, sizeof *t);
    fh_arena_init(&t->arena, ARENA_BYTES);
    *out = t;
    return FH_OK;
}

void fh_tokenizer_free(fh_tokenizer *t) {
    if (!t) return;
    fh_added_release(&t->raw);
    fh_added_release(&t->normalized);
    fh_piece_trie_release(&t->user_defined);
    fh_normalizer_release(&t->norm);
    fh_pretokenizer_release(&t->pre);
    fh_bpe_free(t->bpe);
    fh_unigram_free(t->unigram);
    fh_wordpiece_free(t->wordpiece);
    fh_decoder_release(&t->decoder);
    fh_free(t->alias);
    fh_free(t->alias_index);
    fh_free(t->eog);
    fh_vocab_free(t->own_vocab);
    fh_tokenizer_json_free(t->own_json);
    fh_arena_release(&t->arena);
    fh_free(t);
}

fh_status fh_tokenizer_add_note(fh_tokenizer *t, fh_err *err, const char *fmt, ...) {
    char text[NOTE_BYTES];
    va_list ap;
    if (t->n_note == FH_TOKENIZER_NOTES) return FH_OK;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!fh_arena_copy(&t->arena, fh_str_of(text), &t->note[t->n_note])) return fh_arena_fail(&t->arena, err);
    t->n_note++;
    return FH_OK;
}

bool fh_tokenizer_note(const fh_tokenizer *t, size_t i, fh_str *out) {
    if (i >= t->n_note) return false;
    *out = t->note[i];
    return true;
}

const fh_vocab *fh_tokenizer_vocab(const fh_tokenizer *t) { return t->vocab; }
uint32_t fh_tokenizer_special(const fh_tokenizer *t, fh_vocab_special which) { return t->special[which]; }

void fh_tokenizer_set_vocab(fh_tokenizer *t, fh_vocab *v) {
    t->own_vocab = v;
    t->vocab = v;
    memcpy(t->special, v->special, sizeof t->special);
}

void fh_tokenizer_set_config(fh_tokenizer *t, const fh_tokenizer_config *config) {
    for (uint32_t i = 0; config && i <= FH_SPECIAL_MASK; i++) {
        uint32_t id;
        if (t->special[i] != FH_VOCAB_NO_ID || !config->special[i].present) continue;
        if (fh_vocab_find(t->vocab, config->special[i].text, &id)) t->special[i] = id;
    }
}

/* ---- parts that several builders set ---- */

fh_status fh_tokenizer_add_split(fh_tokenizer *t, fh_str pattern, fh_err *err) {
    fh_pretok_step st = {.kind = FH_PRETOK_SPLIT, .behavior = FH_PRETOK_ISOLATED};
    FH_TRY(fh_split_new(&st.pattern, pattern, err));
    return fh_pretokenizer_add(&t->pre, &st, err);
}

fh_status fh_tokenizer_add_splits(fh_tokenizer *t, const char *const *pattern, fh_err *err) {
    for (; *pattern; pattern++) FH_TRY(fh_tokenizer_add_split(t, fh_str_of(*pattern), err));
    return FH_OK;
}

/* The text of an added token after normalization; kept when it differs. */
static fh_status normalize_added(fh_tokenizer *t, fh_added_text *a, fh_err *err) {
    fh_normalizer_scratch s;
    fh_str text = a->text;
    bool head = true;
    fh_normalizer_scratch_init(&s);
    fh_status st = fh_utf8_valid(a->text) ? fh_normalizer_run(&t->norm, &s, a->text, &text, &head, err) : FH_OK;
    if (st == FH_OK && !fh_str_eq(text, a->text)) {
        fh_str copy = {NULL, 0};
        if (!t->alias_index) t->alias_index = fh_alloc_zero(t->vocab->n_id, sizeof *t->alias_index);
        if (!t->alias_index) st = fh_fail_memory(err, t->vocab->n_id * sizeof *t->alias_index);
        else if (!fh_arena_copy(&t->arena, text, &copy)) st = fh_arena_fail(&t->arena, err);
        if (st == FH_OK) {
            a->text = t->alias[t->n_alias++] = copy;
            t->alias_index[a->id] = t->n_alias;
        }
    }
    fh_normalizer_scratch_release(&s);
    return st;
}

static fh_status build_added(fh_tokenizer *t, fh_added_text *list, bool only_special, fh_err *err) {
    const fh_vocab *v = t->vocab;
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->n_added; i++) {
        uint32_t flags = v->added[i].flags;
        if ((flags & FH_ADDED_NORMALIZED) || (only_special && !(flags & FH_ADDED_SPECIAL))) continue;
        list[n++] = (fh_added_text){fh_vocab_piece(v, v->added[i].id), v->added[i].id, flags};
    }
    FH_TRY(fh_added_build(&t->raw, list, n, err));
    n = 0;
    for (uint32_t i = 0; i < v->n_added; i++) {
        uint32_t flags = v->added[i].flags;
        if (!(flags & FH_ADDED_NORMALIZED) || (only_special && !(flags & FH_ADDED_SPECIAL))) continue;
        list[n] = (fh_added_text){fh_vocab_piece(v, v->added[i].id), v->added[i].id, flags};
        FH_TRY(normalize_added(t, &list[n++], err));
    }
    return fh_added_build(&t->normalized, list, n, err);
}

fh_status fh_tokenizer_set_added(fh_tokenizer *t, bool only_special, fh_err *err) {
    uint32_t n = t->vocab->n_added;
    fh_added_text *list = fh_alloc(n, sizeof *list);
    t->alias = fh_alloc(n, sizeof *t->alias);
    fh_status s = list && t->alias ? build_added(t, list, only_special, err) : fh_fail_memory(err, n * sizeof *list);
    fh_free(list);
    return s;
}

static fh_status build_user_defined(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    uint32_t n = 0;
    fh_piece_key *key = fh_alloc(v->n_id, sizeof *key);
    if (!key) return fh_fail_memory(err, v->n_id * sizeof *key);
    for (uint32_t id = 0; id < v->n_id; id++)
        if (fh_vocab_type(v, id) == FH_TOKEN_USER_DEFINED) key[n++] = (fh_piece_key){fh_vocab_piece(v, id), id};
    fh_status s = n > 0 ? fh_piece_trie_build(&t->user_defined, key, n, err) : FH_OK;
    fh_free(key);
    return s;
}

fh_status fh_tokenizer_set_sentencepiece(fh_tokenizer *t, bool keep_user_defined, fh_err *err) {
    const fh_vocab *v = t->vocab;
    fh_norm_step st = {.kind = FH_NORM_SENTENCEPIECE,
                       .prefix = v->add_space_prefix != FH_TRI_NO,
                       .squeeze = v->remove_extra_spaces == FH_TRI_YES,
                       .escape = v->escape_spaces != FH_TRI_NO,
                       .suffix = v->space_as_suffix == FH_TRI_YES};
    fh_decoder_step dec = {
        .kind = FH_DECODER_SENTENCEPIECE, .prefix = st.prefix, .squeeze = st.squeeze, .text = v->unk_surface};
    if (v->charsmap.len > 0 && !fh_charsmap_split(v->charsmap, &st.map.trie, &st.map.texts))
        return fh_fail(err, FH_ERR_FORMAT, "tokenizer: the precompiled normalizer is damaged");
    if (keep_user_defined) FH_TRY(build_user_defined(t, err));
    if (t->user_defined.n_node > 0) st.user_defined = &t->user_defined;
    FH_TRY(fh_normalizer_add(&t->norm, &st, err));
    return fh_decoder_add(&t->decoder, &dec, err);
}

/* ByteLevel that neither cuts nor maps does nothing. */
static void drop_idle_steps(fh_tokenizer *t) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->pre.n; i++) {
        fh_pretok_step st = t->pre.step[i];
        bool idle = st.kind == FH_PRETOK_BYTE_LEVEL && !st.map && !st.prefix && !st.pattern;
        if (st.kind == FH_PRETOK_BYTE_LEVEL && st.pattern) st.behavior = FH_PRETOK_ISOLATED;
        if (!idle) t->pre.step[n++] = st;
    }
    t->pre.n = n;
}

fh_status fh_tokenizer_finish(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    static const fh_vocab_special ends[] = {FH_SPECIAL_EOS, FH_SPECIAL_EOT, FH_SPECIAL_EOM};
    t->eog = fh_alloc_zero(v->n_id / 8 + 1, 1);
    if (!t->eog) return fh_fail_memory(err, v->n_id / 8 + 1);
    for (size_t i = 0; i < FH_COUNT(ends); i++) {
        uint32_t id = t->special[ends[i]];
        if (id != FH_VOCAB_NO_ID) t->eog[id / 8] |= (uint8_t)(1u << id % 8);
    }
    for (uint32_t i = 0; i < v->n_added; i++) {
        uint32_t id = v->added[i].id;
        fh_str text = fh_vocab_piece(v, id);
        for (size_t k = 0; k < FH_COUNT(EOG_NAMES); k++)
            if (fh_str_is(text, EOG_NAMES[k])) t->eog[id / 8] |= (uint8_t)(1u << id % 8);
    }
    drop_idle_steps(t);
    t->keeps_pieces = t->bpe && fh_bpe_can_look(t->bpe);
    for (uint32_t i = 0; i < t->pre.n; i++) {
        const fh_pretok_step *st = &t->pre.step[i];
        bool rewrites =
            st->kind == FH_PRETOK_METASPACE || (st->kind == FH_PRETOK_BYTE_LEVEL && (st->map || st->prefix));
        if (rewrites) t->keeps_pieces = false;
    }
    if (v->dropout > 0)
        FH_TRY(fh_tokenizer_add_note(t, err, "the tokenizer's dropout of %g is a matter of training and is ignored",
                                     v->dropout));
    return FH_OK;
}

bool fh_tokenizer_is_control(const fh_tokenizer *t, uint32_t id) {
    return fh_vocab_type(t->vocab, id) == FH_TOKEN_CONTROL;
}

bool fh_tokenizer_is_eog(const fh_tokenizer *t, uint32_t id) {
    return id < t->vocab->n_id && (t->eog[id / 8] >> id % 8 & 1);
}

/* ---- decoding ---- */

fh_str fh_tokenizer_token_text(const fh_tokenizer *t, uint32_t id) {
    if (t->alias_index && id < t->vocab->n_id && t->alias_index[id] > 0) return t->alias[t->alias_index[id] - 1];
    return fh_vocab_piece(t->vocab, id);
}

/* Special tokens of a vocabulary are those its added tokens mark so; control tokens are among them. */
static bool is_special(const fh_tokenizer *t, uint32_t id) { return fh_tokenizer_is_control(t, id); }

fh_status fh_detok_new(fh_detok **out, const fh_tokenizer *t, bool skip_special, fh_err *err) {
    fh_detok *d = fh_alloc_zero(1, sizeof *d);
    if (!d) return fh_fail_memory(err, sizeof *d);
    d->t = t;
    d->skip_special = skip_special;
    fh_decoder_start(&d->run, &t->decoder);
    *out = d;
    return FH_OK;
}

void fh_detok_free(fh_detok *d) {
    if (!d) return;
    fh_decoder_stop(&d->run);
    fh_free(d);
}

fh_status fh_detok_push(fh_detok *d, uint32_t id, fh_buf *out, fh_err *err) {
    fh_token_type type = fh_vocab_type(d->t->vocab, id);
    if (type == FH_TOKEN_NONE || (d->skip_special && is_special(d->t, id))) return FH_OK;
    return fh_decoder_push(&d->run, (fh_decoder_token){fh_tokenizer_token_text(d->t, id), type}, out, err);
}

fh_status fh_detok_finish(fh_detok *d, fh_buf *out, fh_err *err) { return fh_decoder_finish(&d->run, out, err); }

fh_status fh_tokenizer_decode(const fh_tokenizer *t, const uint32_t *id, size_t n, bool skip_special, fh_buf *out,
                              fh_err *err) {
    fh_detok *d = NULL;
    FH_TRY(fh_detok_new(&d, t, skip_special, err));
    fh_status s = FH_OK;
    for (size_t i = 0; i < n && s == FH_OK; i++) s = fh_detok_push(d, id[i], out, err);
    if (s == FH_OK) s = fh_detok_finish(d, out, err);
    fh_detok_free(d);
    return s;
}
