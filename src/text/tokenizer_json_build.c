/* text/tokenizer_json_build.c - a tokenizer from tokenizer.json.
 * SPDX-License-Identifier: Apache-2.0
 * Where the pre-tokenizer ends in ByteLevel, the model works on the bytes themselves instead of their alphabet: the
 * result is the same, for the alphabet is one to one. */
#include "base/num.h"
#include "text/tokenizer_part.h"

/* Does the last cut hand over text in the byte alphabet? Then it hands over bytes from now on. */
static bool take_bytes(fh_tokenizer *t) {
    fh_pretok_step *last = t->pre.n > 0 ? &t->pre.step[t->pre.n - 1] : NULL;
    if (t->vocab->continuing_prefix.len > 0 || t->vocab->end_suffix.len > 0) return false;
    if (!last || last->kind != FH_PRETOK_BYTE_LEVEL) return false;
    last->map = false;
    return true;
}

static fh_status build_model(fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = t->vocab;
    uint32_t own_end = t->own_end = fh_own_end(v);
    fh_unigram_options unigram = {.byte_fallback = v->byte_fallback, .all_pieces = true, .own_end = own_end};
    fh_bpe_options bpe = {.ignore_merges = v->ignore_merges,
                          .byte_fallback = v->byte_fallback,
                          .fuse_unk = v->fuse_unk,
                          .own_end = own_end};
    switch (v->kind) {
    case FH_VOCAB_BPE:
        bpe.bytes = take_bytes(t);
        t->any_bytes = bpe.bytes && t->norm.n == 0;
        return fh_bpe_new(&t->bpe, v, &bpe, err);
    case FH_VOCAB_UNIGRAM: return fh_unigram_new(&t->unigram, v, &unigram, err);
    case FH_VOCAB_WORDPIECE: return fh_wordpiece_new(&t->wordpiece, v, false, own_end, err);
    case FH_VOCAB_WORDLEVEL: return FH_OK;
    case FH_VOCAB_BPE_RANKS:
    case FH_VOCAB_BPE_SCORES: break;
    }
    FH_BUG("tokenizer.json has no such model");
}

static fh_status build(fh_tokenizer *t, fh_str text, const fh_tokenizer_config *config, fh_err *err) {
    FH_TRY(fh_tokenizer_json_parse(&t->own_json, text, err));
    t->vocab = fh_tokenizer_json_vocab(t->own_json);
    memcpy(t->special, t->vocab->special, sizeof t->special);
    fh_tokenizer_set_config(t, config);
    const fh_json_node *post = fh_tokenizer_json_part(t->own_json, FH_TOKENIZER_POST_PROCESSOR);
    FH_TRY(fh_normalizer_build(&t->norm, fh_tokenizer_json_part(t->own_json, FH_TOKENIZER_NORMALIZER), &t->arena, err));
    FH_TRY(fh_pretokenizer_build(&t->pre, fh_tokenizer_json_part(t->own_json, FH_TOKENIZER_PRE_TOKENIZER), &t->arena,
                                 err));
    FH_TRY(fh_postprocess_build(&t->post, post, t->vocab, &t->arena, err));
    FH_TRY(fh_decoder_build(&t->decoder, fh_tokenizer_json_part(t->own_json, FH_TOKENIZER_DECODER), &t->arena, err));
    if (!post && config)
        fh_postprocess_set(&t->post, config->add_bos == FH_TRI_YES ? t->special[FH_SPECIAL_BOS] : FH_VOCAB_NO_ID,
                           config->add_eos == FH_TRI_YES ? t->special[FH_SPECIAL_EOS] : FH_VOCAB_NO_ID);
    FH_TRY(build_model(t, err));
    FH_TRY(fh_tokenizer_set_added(t, false, err));
    return fh_tokenizer_finish(t, err);
}

fh_status fh_tokenizer_from_json(fh_tokenizer **out, fh_str tokenizer_json, const fh_tokenizer_config *config,
                                 fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    fh_status s = build(t, tokenizer_json, config, err);
    if (s == FH_OK) *out = t;
    else fh_tokenizer_free(t);
    return s;
}
