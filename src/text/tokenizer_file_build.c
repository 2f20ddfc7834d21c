/* text/tokenizer_file_build.c - tokenizers from files that are a vocabulary and little else: SentencePiece models,
 * tiktoken ranks, tekken.json, BERT's word list.
 * SPDX-License-Identifier: Apache-2.0
 * What stands around a text is not in these files: it comes from tokenizer_config.json or is what such models use. */
#include "base/num.h"
#include "format/sentencepiece.h"
#include "format/tekken.h"
#include "format/tiktoken.h"
#include "text/tokenizer_part.h"

static fh_status finish(fh_tokenizer **out, fh_tokenizer *t, fh_status s) {
    if (s == FH_OK) *out = t;
    else fh_tokenizer_free(t);
    return s;
}

static uint32_t if_on(fh_tri set, bool otherwise, uint32_t id) {
    return (set == FH_TRI_UNSET ? otherwise : set == FH_TRI_YES) ? id : FH_VOCAB_NO_ID;
}

static void set_around(fh_tokenizer *t, const fh_tokenizer_config *c, bool bos, bool eos) {
    fh_postprocess_set(&t->post, if_on(c ? c->add_bos : FH_TRI_UNSET, bos, t->special[FH_SPECIAL_BOS]),
                       if_on(c ? c->add_eos : FH_TRI_UNSET, eos, t->special[FH_SPECIAL_EOS]));
}

/* ---- SentencePiece ---- */

static fh_status build_sentencepiece(fh_tokenizer *t, fh_bytes model, const fh_tokenizer_config *config, fh_err *err) {
    fh_vocab *v = NULL;
    bool xlmr = fh_tokenizer_config_is_xlmr(config);
    FH_TRY(xlmr ? fh_sentencepiece_parse_xlmr(&v, model, err) : fh_sentencepiece_parse(&v, model, err));
    fh_tokenizer_set_vocab(t, v);
    fh_tokenizer_set_config(t, config);
    FH_TRY(fh_tokenizer_set_sentencepiece(t, true, err));
    bool unigram = v->kind == FH_VOCAB_UNIGRAM;
    if (unigram) {
        fh_unigram_options opt = {.own_end = FH_OWN_ALL, .float_sums = true, .byte_fallback = v->byte_fallback};
        FH_TRY(fh_unigram_new(&t->unigram, v, &opt, err));
    } else {
        fh_bpe_options opt = {.own_end = FH_OWN_ALL, .byte_fallback = v->byte_fallback, .fuse_unk = true};
        if (t->user_defined.n_node > 0) opt.user_defined = &t->user_defined;
        FH_TRY(fh_bpe_new(&t->bpe, v, &opt, err));
    }
    set_around(t, config, !unigram, unigram);
    if (xlmr) fh_postprocess_set_roberta(&t->post, t->special[FH_SPECIAL_CLS], t->special[FH_SPECIAL_SEP]);
    FH_TRY(fh_tokenizer_set_added(t, true, err));
    return fh_tokenizer_finish(t, err);
}

fh_status fh_tokenizer_from_sentencepiece(fh_tokenizer **out, fh_bytes model, const fh_tokenizer_config *config,
                                          fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    return finish(out, t, build_sentencepiece(t, model, config, err));
}

/* ---- ranks ---- */

/* What published rank files are cut by. The files do not say; their size or the model's class tells them apart. */
static const struct {
    const char *class_name;
    uint32_t n_rank;
    const char *recipe;
} KNOWN_RANKS[] = {
    {"QWenTokenizer", 151643, "qwen2"},
    {"TikTokenTokenizer", 163584, "kimi-k2"},
    {NULL, 128000, "llama-bpe"},
    {NULL, 200000, "llama4"},
    {NULL, 100256, "dbrx"}, /* cl100k */
    {NULL, 199998, "gpt-4o"},
    {NULL, 50256, "gpt-2"},
    {NULL, 50257, "gpt-2"},
};

static fh_status guess_pattern(fh_tokenizer *t, uint32_t n_rank, const fh_tokenizer_config *config, fh_err *err) {
    for (size_t i = 0; i < FH_COUNT(KNOWN_RANKS); i++) {
        bool class_fits =
            config && KNOWN_RANKS[i].class_name && fh_str_is(config->tokenizer_class, KNOWN_RANKS[i].class_name);
        if (!class_fits && n_rank != KNOWN_RANKS[i].n_rank) continue;
        const fh_split_recipe *r = fh_split_recipe_find(fh_str_of(KNOWN_RANKS[i].recipe));
        if (!r) continue;
        FH_TRY(fh_tokenizer_add_splits(t, r->pattern, err));
        return fh_tokenizer_add_note(t, err,
                                     "the file does not say how text is cut; by its %u ranks it is cut as for '%s' "
                                     "(--pattern says otherwise)",
                                     n_rank, r->name);
    }
    return fh_fail(err, FH_ERR_USAGE, "a file of %u ranks does not say how text is cut: give the pattern", n_rank);
}

/* Ranks are ids and order of merging at once, and a piece that is a token is taken whole. */
static fh_status finish_ranks(fh_tokenizer *t, fh_err *err) {
    fh_bpe_options opt = {.own_end = FH_OWN_ALL, .bytes = true, .ignore_merges = true};
    fh_decoder_step dec = {.kind = FH_DECODER_RAW_BYTES};
    t->any_bytes = true;
    FH_TRY(fh_bpe_new(&t->bpe, t->vocab, &opt, err));
    FH_TRY(fh_decoder_add(&t->decoder, &dec, err));
    FH_TRY(fh_tokenizer_set_added(t, false, err));
    return fh_tokenizer_finish(t, err);
}

static fh_status parse_ranks(fh_vocab **out, fh_str ranks, const fh_tokenizer_config *config, fh_err *err) {
    uint32_t n = config ? config->n_added : 0;
    fh_tiktoken_special *special = fh_alloc(n, sizeof *special);
    if (!special) return fh_fail_memory(err, n * sizeof *special);
    for (uint32_t i = 0; i < n; i++)
        special[i] = (fh_tiktoken_special){config->added[i].text, config->added[i].id,
                                           config->added[i].flags & FH_ADDED_SPECIAL};
    fh_status s = fh_tiktoken_parse(out, ranks, special, n, err);
    fh_free(special);
    return s;
}

static fh_status build_tiktoken(fh_tokenizer *t, fh_str ranks, fh_str pattern, const fh_tokenizer_config *config,
                                fh_err *err) {
    fh_vocab *v = NULL;
    FH_TRY(parse_ranks(&v, ranks, config, err));
    fh_tokenizer_set_vocab(t, v);
    fh_tokenizer_set_config(t, config);
    if (pattern.len > 0) FH_TRY(fh_tokenizer_add_split(t, pattern, err));
    else FH_TRY(guess_pattern(t, v->n_token - v->n_added, config, err));
    set_around(t, config, false, false);
    return finish_ranks(t, err);
}

fh_status fh_tokenizer_from_tiktoken(fh_tokenizer **out, fh_str ranks, fh_str pattern,
                                     const fh_tokenizer_config *config, fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    return finish(out, t, build_tiktoken(t, ranks, pattern, config, err));
}

static fh_status build_tekken(fh_tokenizer *t, fh_str json, fh_str pattern, fh_err *err) {
    fh_vocab *v = NULL;
    FH_TRY(fh_tekken_parse(&v, json, err));
    fh_tokenizer_set_vocab(t, v);
    if (pattern.len == 0) pattern = v->pre;
    if (pattern.len == 0) return fh_fail(err, FH_ERR_FORMAT, "tekken: the file has no 'config.pattern'");
    FH_TRY(fh_tokenizer_add_split(t, pattern, err));
    set_around(t, NULL, true, false);
    return finish_ranks(t, err);
}

fh_status fh_tokenizer_from_tekken(fh_tokenizer **out, fh_str tekken_json, fh_str pattern, fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    return finish(out, t, build_tekken(t, tekken_json, pattern, err));
}

/* ---- word lists ---- */

static fh_status read_lines(fh_vocab *v, fh_str text, fh_err *err) {
    uint64_t id = 0;
    for (size_t at = 0; at < text.len; id++) {
        fh_str rest = fh_str_drop(text, at), line = rest;
        size_t end = rest.len;
        if (fh_str_find(rest, '\n', &end)) line.len = end++;
        if (fh_str_ends(line, "\r")) line.len--;
        if (!fh_utf8_valid(line))
            return fh_fail_at(err, FH_ERR_FORMAT, at, "vocab.txt: line %llu is no UTF-8", (unsigned long long)id + 1);
        FH_TRY(fh_vocab_put(v, id, line, FH_TOKEN_NORMAL, at, err));
        at += end;
    }
    return v->n_token > 0 ? FH_OK : fh_fail(err, FH_ERR_FORMAT, "vocab.txt: the file is empty");
}

static fh_status read_wordlist(fh_vocab *v, fh_str text, const fh_tokenizer_config *config, fh_err *err) {
    static const char *const names[FH_SPECIAL_MASK + 1] = {"[UNK]", "", "", "[PAD]", "[CLS]", "[SEP]", "[MASK]"};
    v->max_word_chars = 100;
    v->continuing_prefix = FH_STR("##");
    FH_TRY(read_lines(v, text, err));
    FH_TRY(fh_vocab_index(v, false, err));
    for (uint32_t i = 0; i <= FH_SPECIAL_MASK; i++) {
        uint32_t id;
        fh_str name = config && config->special[i].present ? config->special[i].text : fh_str_of(names[i]);
        if (name.len == 0 || !fh_vocab_find(v, name, &id)) continue;
        v->special[i] = id;
        FH_TRY(fh_vocab_put_added(v, id, name, FH_ADDED_SPECIAL, FH_NO_OFFSET, err));
    }
    return fh_vocab_finish(v, err);
}

static fh_status build_wordlist(fh_tokenizer *t, fh_str text, const fh_tokenizer_config *config, fh_err *err) {
    fh_vocab *v = NULL;
    fh_norm_step st = {.kind = FH_NORM_BERT, .clean = true, .ideographs = true};
    fh_pretok_step pre = {.kind = FH_PRETOK_BERT};
    fh_decoder_step dec = {.kind = FH_DECODER_WORDPIECE, .text = FH_STR("##"), .cleanup = true};
    st.lowercase = !config || config->lower_case != FH_TRI_NO;
    st.accents = config && config->strip_accents != FH_TRI_UNSET ? config->strip_accents == FH_TRI_YES : st.lowercase;
    FH_TRY(fh_vocab_new(&v, FH_VOCAB_WORDPIECE, text.len, err));
    fh_status s = read_wordlist(v, text, config, err);
    fh_tokenizer_set_vocab(t, v);
    if (s != FH_OK) return s;
    FH_TRY(fh_normalizer_add(&t->norm, &st, err));
    FH_TRY(fh_pretokenizer_add(&t->pre, &pre, err));
    FH_TRY(fh_wordpiece_new(&t->wordpiece, v, false, FH_OWN_ALL, err));
    FH_TRY(fh_decoder_add(&t->decoder, &dec, err));
    if (v->special[FH_SPECIAL_CLS] != FH_VOCAB_NO_ID && v->special[FH_SPECIAL_SEP] != FH_VOCAB_NO_ID)
        fh_postprocess_set_bert(&t->post, v->special[FH_SPECIAL_CLS], v->special[FH_SPECIAL_SEP]);
    FH_TRY(fh_tokenizer_set_added(t, false, err));
    return fh_tokenizer_finish(t, err);
}

fh_status fh_tokenizer_from_wordlist(fh_tokenizer **out, fh_str vocab_txt, const fh_tokenizer_config *config,
                                     fh_err *err) {
    fh_tokenizer *t = NULL;
    FH_TRY(fh_tokenizer_new(&t, err));
    return finish(out, t, build_wordlist(t, vocab_txt, config, err));
}
