/* text/tokenizer_gguf_build.c - a tokenizer from the tokenizer.ggml.* keys of a GGUF.
 * SPDX-License-Identifier: Apache-2.0
 * A GGUF carries no pipeline, only the name of one: what the name stands for is known here (patterns: text/split.h).
 * Where the peer approximates the original, the original counts. Unknown names fall back to the commonest pattern, and
 * a note says so. Refused: models not named in format/gguf_vocab.h (rwkv, plamo2). */
#include "base/num.h"
#include "format/gguf_vocab.h"
#include "text/tokenizer_part.h"

/* Names whose originals normalize to NFC first; the files do not say. */
static const char *const NFC_NAMES[] = {"qwen2", "deepseek-r1-qwen", "command-r", "mpt", "olmo"};

static bool is_on(fh_tri set, bool otherwise) { return set == FH_TRI_UNSET ? otherwise : set == FH_TRI_YES; }

static uint32_t if_on(bool on, uint32_t id) { return on ? id : FH_VOCAB_NO_ID; }

static fh_status add_decoder(fh_tokenizer *t, fh_decoder_kind kind, fh_err *err) {
    fh_decoder_step st = {.kind = kind, .cleanup = true};
    return fh_decoder_add(&t->decoder, &st, err);
}

static fh_status find_recipe(fh_tokenizer *t, const fh_split_recipe **out, bool *ignore_merges, fh_err *err) {
    fh_str pre = t->vocab->pre;
    const fh_split_recipe *r = fh_split_recipe_find(pre.len > 0 ? pre : FH_STR("default"));
    *ignore_merges = r && r->ignore_merges;
    if (!r) {
        r = fh_split_recipe_find(FH_STR("llama-bpe"));
        FH_REQUIRE(r != NULL);
        FH_TRY(fh_tokenizer_add_note(t, err,
                                     "the pre-tokenizer '%.*s' is not known; text is cut as for '%s', which may not be "
                                     "how the model was trained",
                                     FH_STR_ARG(pre), r->name));
    } else if (r->legacy_default) {
        FH_TRY(fh_tokenizer_add_note(t, err,
                                     "the file does not say how text is cut; an old default is used that is wrong for "
                                     "most models: a newer conversion will answer better"));
    }
    *out = r;
    return FH_OK;
}

static fh_status build_bpe(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    const fh_split_recipe *r;
    fh_bpe_options opt = {.own_end = FH_OWN_ALL, .bytes = true};
    fh_norm_step nfc = {.kind = FH_NORM_FORM, .form = FH_NFC};
    FH_TRY(find_recipe(t, &r, &opt.ignore_merges, err));
    for (size_t i = 0; i < FH_COUNT(NFC_NAMES); i++)
        if (fh_str_is(v->pre, NFC_NAMES[i])) FH_TRY(fh_normalizer_add(&t->norm, &nfc, err));
    FH_TRY(fh_tokenizer_add_splits(t, r->pattern, err));
    FH_TRY(fh_bpe_new(&t->bpe, v, &opt, err));
    FH_TRY(add_decoder(t, FH_DECODER_BYTE_LEVEL, err));
    t->any_bytes = t->norm.n == 0;
    fh_postprocess_set(&t->post, if_on(is_on(v->add_bos, r->add_bos), t->special[FH_SPECIAL_BOS]),
                       if_on(is_on(v->add_eos, false), t->special[FH_SPECIAL_EOS]));
    return FH_OK;
}

/* Merges over characters, U+2581 for spaces, no cuts. */
static fh_status build_gemma4(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    fh_bpe_options opt = {.own_end = FH_OWN_ALL, .byte_fallback = true, .fuse_unk = true};
    if (t->own_vocab->add_space_prefix == FH_TRI_UNSET) t->own_vocab->add_space_prefix = FH_TRI_NO;
    FH_TRY(fh_tokenizer_set_sentencepiece(t, false, err));
    FH_TRY(fh_bpe_new(&t->bpe, v, &opt, err));
    fh_postprocess_set(&t->post, if_on(is_on(v->add_bos, true), t->special[FH_SPECIAL_BOS]),
                       if_on(is_on(v->add_eos, false), t->special[FH_SPECIAL_EOS]));
    return FH_OK;
}

static fh_status build_spm(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    fh_bpe_options opt = {.own_end = FH_OWN_ALL, .byte_fallback = true, .fuse_unk = true};
    FH_TRY(fh_tokenizer_set_sentencepiece(t, false, err));
    FH_TRY(fh_bpe_new(&t->bpe, v, &opt, err));
    fh_postprocess_set(&t->post, if_on(is_on(v->add_bos, true), t->special[FH_SPECIAL_BOS]),
                       if_on(is_on(v->add_eos, false), t->special[FH_SPECIAL_EOS]));
    return FH_OK;
}

static fh_status build_unigram(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    fh_unigram_options opt = {.own_end = FH_OWN_ALL, .float_sums = false};
    uint32_t cls = t->special[FH_SPECIAL_CLS], sep = t->special[FH_SPECIAL_SEP];
    bool around = v->add_bos == FH_TRI_YES && v->add_eos == FH_TRI_YES;
    FH_TRY(fh_tokenizer_set_sentencepiece(t, false, err));
    FH_TRY(fh_unigram_new(&t->unigram, v, &opt, err));
    fh_postprocess_set(&t->post, if_on(is_on(v->add_bos, false), t->special[FH_SPECIAL_BOS]),
                       if_on(is_on(v->add_eos, true), t->special[FH_SPECIAL_EOS]));
    if (around && cls != FH_VOCAB_NO_ID && sep != FH_VOCAB_NO_ID) /* XLM-R */
        fh_postprocess_set_roberta(&t->post, cls, sep);
    return FH_OK;
}

/* ---- BERT ---- */

/* Older files do not say: a vocabulary with capital letters was not made from lower-cased text. */
static bool has_capitals(const fh_vocab *v) {
    for (uint32_t id = 0; id < v->n_id; id++) {
        fh_str p = fh_vocab_piece(v, id);
        if (fh_vocab_type(v, id) != FH_TOKEN_NORMAL || fh_str_starts(p, "[")) continue;
        for (size_t i = 0; i < p.len; i++)
            if (p.ptr[i] >= 'A' && p.ptr[i] <= 'Z') return true;
    }
    return false;
}

static uint32_t named(const fh_tokenizer *t, fh_vocab_special a, fh_vocab_special b, const char *text) {
    uint32_t id;
    if (t->special[a] != FH_VOCAB_NO_ID) return t->special[a];
    if (t->special[b] != FH_VOCAB_NO_ID) return t->special[b];
    return fh_vocab_find(t->vocab, fh_str_of(text), &id) ? id : FH_VOCAB_NO_ID;
}

static fh_status build_bert(fh_tokenizer *t, const fh_gguf *g, fh_err *err) {
    fh_norm_step st = {.kind = FH_NORM_BERT, .clean = true, .ideographs = true};
    fh_pretok_step pre = {.kind = FH_PRETOK_BERT};
    const fh_gguf_kv *lower = fh_gguf_find(g, "tokenizer.ggml.normalizer.lowercase");
    const fh_gguf_kv *accents = fh_gguf_find(g, "tokenizer.ggml.normalizer.strip_accents");
    uint32_t cls = named(t, FH_SPECIAL_CLS, FH_SPECIAL_BOS, "[CLS]");
    uint32_t sep = named(t, FH_SPECIAL_SEP, FH_SPECIAL_EOS, "[SEP]");
    t->own_vocab->special[FH_SPECIAL_UNK] = named(t, FH_SPECIAL_UNK, FH_SPECIAL_UNK, "[UNK]");
    if (!lower || !fh_gguf_to_bool(lower, &st.lowercase)) st.lowercase = !has_capitals(t->vocab);
    if (!accents || !fh_gguf_to_bool(accents, &st.accents)) st.accents = st.lowercase;
    FH_TRY(fh_normalizer_add(&t->norm, &st, err));
    FH_TRY(fh_pretokenizer_add(&t->pre, &pre, err));
    FH_TRY(fh_wordpiece_new(&t->wordpiece, t->vocab, true, FH_OWN_ALL, err));
    if (cls != FH_VOCAB_NO_ID && sep != FH_VOCAB_NO_ID) fh_postprocess_set_bert(&t->post, cls, sep);
    return add_decoder(t, FH_DECODER_MARKED_WORDS, err);
}

static fh_status build(fh_tokenizer *t, const fh_gguf *g, fh_err *err) {
    fh_vocab *v = NULL;
    fh_status s = FH_OK;
    FH_TRY(fh_gguf_vocab_read(&v, g, err));
    fh_tokenizer_set_vocab(t, v);
    if (v->n_special_ignored > 0)
        FH_TRY(fh_tokenizer_add_note(t, err, "%u special ids of the file are no tokens and are left out",
                                     v->n_special_ignored));
    switch (v->kind) {
    case FH_VOCAB_BPE: s = v->byte_fallback ? build_gemma4(t, err) : build_bpe(t, err); break;
    case FH_VOCAB_BPE_SCORES: s = build_spm(t, err); break;
    case FH_VOCAB_UNIGRAM: s = build_unigram(t, err); break;
    case FH_VOCAB_WORDPIECE: s = build_bert(t, g, err); break;
    case FH_VOCAB_BPE_RANKS:
    case FH_VOCAB_WORDLEVEL: FH_BUG("GGUF has no such model");
    }
    if (s == FH_OK) s = fh_tokenizer_set_added(t, false, err);
    return s == FH_OK ? fh_tokenizer_finish(t, err) : s;
}

fh_status fh_tokenizer_from_gguf(fh_tokenizer **out, const fh_gguf *g, fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    fh_status s = build(t, g, err);
    if (s == FH_OK) *out = t;
    else fh_tokenizer_free(t);
    return s;
}
