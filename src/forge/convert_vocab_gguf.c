/* forge/convert_vocab_gguf.c - the tokenizer of a folder as tokenizer.ggml.* keys.
 * SPDX-License-Identifier: Apache-2.0
 * SentencePiece files come before tokenizer.json, since only they have scores. A GGUF names its pre-tokenizer instead
 * of describing it: a tokenizer.json whose cuts have no name is refused. Ids without a token are filled up as unused,
 * since readers want one text for each row of the embedding. */
#include <inttypes.h>
#include <stdio.h>

#include "format/sentencepiece.h"
#include "format/tokenizer_config.h"
#include "format/tokenizer_json.h"
#include "forge/convert_part.h"
#include "text/split.h"

#define FILE_MOST ((size_t)1 << 30)
#define WORD_MARK "\xE2\x96\x81" /* U+2581 */

typedef struct words {
    fh_convert_job *j;
    fh_gguf_build *b;
    fh_err *err;
    fh_tokenizer_config *config;
    fh_vocab *own;           /* of a SentencePiece file or a list of words */
    fh_tokenizer_json *json; /* or of this */
    const fh_vocab *v;
    const char *model, *pre;
    fh_str *text;  /* [n] */
    int32_t *type; /* [n] */
    float *score;  /* [n], or NULL */
    uint32_t n;    /* rows of the embedding */
    bool xlmr;     /* its ids are not those of the file */
} words;

/* ---- reading ---- */

static bool read_side(words *w, const char *name, fh_buf *out) {
    return fh_bundle_read_side(fh_model_bundle(w->j->m), name, FILE_MOST, out, NULL) == FH_OK;
}

static fh_status open_files(words *w) {
    static const char *const pieces[] = {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"};
    fh_buf text;
    FH_TRY(fh_tokenizer_config_open(&w->config, fh_bundle_folder(fh_model_bundle(w->j->m)), w->err));
    w->xlmr = fh_tokenizer_config_is_xlmr(w->config);
    for (size_t i = 0; i < FH_COUNT(pieces) && !w->own; i++) {
        if (!read_side(w, pieces[i], &text)) continue;
        const fh_bytes file = {text.ptr, text.len};
        fh_status is =
            w->xlmr ? fh_sentencepiece_parse_xlmr(&w->own, file, NULL) : fh_sentencepiece_parse(&w->own, file, NULL);
        fh_buf_release(&text);
        if (is == FH_ERR_MEMORY) return fh_fail_memory(w->err, file.len); /* else: ranks, perhaps */
    }
    w->v = w->own;
    if (w->own || !read_side(w, "tokenizer.json", &text)) return FH_OK;
    fh_status s = fh_tokenizer_json_parse(&w->json, fh_buf_str(&text), w->err);
    fh_buf_release(&text);
    if (s == FH_OK) w->v = fh_tokenizer_json_vocab(w->json);
    return s;
}

/* ---- which pre-tokenizer ---- */

/* The patterns of a tree of Split and ByteLevel steps; false for anything else. */
static bool patterns_of(const fh_json_node *n, fh_str *out, size_t *count) {
    fh_str type = {"", 0};
    bool regex = true;
    fh_json_to_str(fh_json_get(n, "type"), &type);
    if (fh_str_is(type, "Sequence")) {
        const fh_json_node *steps = fh_json_get(n, "pretokenizers");
        for (const fh_json_node *c = fh_json_first(steps); c; c = fh_json_after(steps, c))
            if (!patterns_of(c, out, count)) return false;
        return true;
    }
    if (*count == 16) return false;
    if (fh_str_is(type, "ByteLevel")) {
        bool prefix = false;
        fh_json_to_bool(fh_json_get(n, "use_regex"), &regex);
        fh_json_to_bool(fh_json_get(n, "add_prefix_space"), &prefix);
        if (prefix) return false;
        const fh_split_recipe *gpt2 = fh_split_recipe_find(FH_STR("gpt-2"));
        if (regex && gpt2) out[(*count)++] = fh_str_of(gpt2->pattern[0]);
        return true;
    }
    fh_str behavior = {"", 0};
    bool invert = false;
    const fh_json_node *pattern = fh_json_get(n, "pattern");
    fh_json_to_str(fh_json_get(n, "behavior"), &behavior);
    fh_json_to_bool(fh_json_get(n, "invert"), &invert);
    if (!fh_str_is(type, "Split") || !fh_str_is(behavior, "Isolated") || invert) return false;
    return fh_json_to_str(fh_json_get(pattern, "Regex"), &out[(*count)++]);
}

static const char *pre_name(const words *w) {
    /* what normalizes to NFC has names of its own */
    static const char *const plain[] = {"llama-bpe", "gpt-2",   "deepseek-v3", "deepseek-llm", "deepseek-coder",
                                        "gpt-4o",    "kimi-k2", "tekken",      "qwen35",       "dbrx",
                                        "starcoder", "default", "glm4",        "stablelm2"};
    static const char *const nfc[] = {"qwen2", "qwen35", "deepseek-r1-qwen", "command-r", "olmo"};
    fh_str have[16], form = {"", 0};
    size_t n = 0;
    const fh_json_node *norm = fh_tokenizer_json_part(w->json, FH_TOKENIZER_NORMALIZER);
    const fh_json_node *steps = fh_json_get(norm, "normalizers");
    if (steps && !fh_json_first(steps)) norm = NULL; /* an empty sequence */
    fh_json_to_str(fh_json_get(norm, "type"), &form);
    if (norm && !fh_str_is(form, "NFC")) return NULL;
    if (!patterns_of(fh_tokenizer_json_part(w->json, FH_TOKENIZER_PRE_TOKENIZER), have, &n)) return NULL;
    const char *const *names = norm ? nfc : plain;
    size_t count = norm ? FH_COUNT(nfc) : FH_COUNT(plain);
    for (size_t i = 0; i < count; i++) {
        const fh_split_recipe *r = fh_split_recipe_find(fh_str_of(names[i]));
        size_t k = 0;
        if (!r || (r->ignore_merges != w->v->ignore_merges)) continue;
        while (k < n && r->pattern[k] && fh_str_is(have[k], r->pattern[k])) k++;
        if (k == n && !r->pattern[k]) return names[i];
    }
    return NULL;
}

/* ---- the words ---- */

static bool is_special(const words *w, uint32_t id, bool *user) {
    for (uint32_t i = 0; i < w->v->n_added; i++)
        if (w->v->added[i].id == id) {
            *user = (w->v->added[i].flags & FH_ADDED_SPECIAL) == 0;
            return !*user;
        }
    return false;
}

static fh_status copy_text(words *w, uint32_t id, const char *mark, fh_str text) {
    size_t n = strlen(mark);
    char *z = fh_arena_alloc(&w->j->arena, n + text.len + 1, 1);
    if (!z) return fh_arena_fail(&w->j->arena, w->err);
    memcpy(z, mark, n);
    if (text.len) memcpy(z + n, text.ptr, text.len);
    w->text[id] = (fh_str){z, n + text.len};
    return FH_OK;
}

static fh_status put_word(words *w, uint32_t id, fh_str piece, bool wordpiece, fh_token_type type) {
    if (id >= w->n)
        return fh_fail(w->err, FH_ERR_FORMAT,
                       "the tokenizer has a token %" PRIu32 ", the embedding has %" PRIu32 " rows", id, w->n);
    w->type[id] = (int32_t)type;
    if (!wordpiece || type != FH_TOKEN_NORMAL) return copy_text(w, id, "", piece);
    bool inner = fh_str_starts(piece, "##");
    return copy_text(w, id, inner ? "" : WORD_MARK, inner ? fh_str_drop(piece, 2) : piece);
}

static fh_status put_vocab(words *w) {
    bool wordpiece = w->v->kind == FH_VOCAB_WORDPIECE;
    for (uint32_t id = 0; id < w->v->n_id; id++) {
        fh_token_type type = fh_vocab_type(w->v, id);
        bool user = false;
        if (type == FH_TOKEN_NONE || (w->xlmr && id == w->v->special[FH_SPECIAL_MASK] && id >= w->n)) continue;
        if (w->json)
            type = is_special(w, id, &user) ? FH_TOKEN_CONTROL : user ? FH_TOKEN_USER_DEFINED : FH_TOKEN_NORMAL;
        FH_TRY(put_word(w, id, fh_vocab_piece(w->v, id), wordpiece, type));
        if (w->score && w->v->score) w->score[id] = (float)w->v->score[id];
    }
    return FH_OK;
}

static fh_status put_added(words *w) {
    for (uint32_t i = 0; i < w->config->n_added && w->own; i++) {
        const fh_token_entry *e = &w->config->added[i];
        bool special = (e->flags & FH_ADDED_SPECIAL) != 0;
        if (e->id < w->n && w->text[e->id].len && fh_str_eq(w->text[e->id], e->text) &&
            w->type[e->id] != FH_TOKEN_NORMAL)
            continue;
        FH_TRY(put_word(w, e->id, e->text, false, special ? FH_TOKEN_CONTROL : FH_TOKEN_USER_DEFINED));
        if (w->score) w->score[e->id] = -1000;
    }
    return FH_OK;
}

static fh_status fill_holes(words *w) {
    char text[32];
    for (uint32_t id = 0; id < w->n; id++) {
        if (w->text[id].ptr) continue;
        snprintf(text, sizeof text, "[PAD%" PRIu32 "]", id);
        FH_TRY(copy_text(w, id, "", fh_str_of(text)));
        w->type[id] = FH_TOKEN_UNUSED;
        if (w->score) w->score[id] = -10000;
    }
    return FH_OK;
}

/* ---- keys ---- */

static fh_status put_array(words *w, const char *key, fh_gguf_type elem, const void *data, size_t bytes, uint64_t n) {
    fh_gguf_kv kv = {.key = fh_str_of(key), .type = FH_GGUF_ARRAY, .elem = elem, .n = n};
    kv.payload = (fh_bytes){data, bytes};
    return fh_gguf_build_add_kv(w->b, &kv, w->err);
}

static fh_status put_merges(words *w) {
    uint32_t n = w->v->n_merge;
    fh_str *list = fh_alloc(n ? n : 1, sizeof *list);
    fh_status s = list ? FH_OK : fh_fail_memory(w->err, n * sizeof *list);
    for (uint32_t i = 0; s == FH_OK && i < n; i++) {
        fh_str a = fh_vocab_piece(w->v, w->v->merge[i].left), b = fh_vocab_piece(w->v, w->v->merge[i].right);
        char *z = fh_arena_alloc(&w->j->arena, a.len + b.len + 2, 1);
        if (!z) {
            s = fh_arena_fail(&w->j->arena, w->err);
            break;
        }
        memcpy(z, a.ptr, a.len);
        z[a.len] = ' ';
        memcpy(z + a.len + 1, b.ptr, b.len);
        list[i] = (fh_str){z, a.len + b.len + 1};
    }
    if (s == FH_OK) s = fh_gguf_build_add_strs(w->b, "tokenizer.ggml.merges", list, n, w->err);
    fh_free(list);
    return s;
}

static bool find_text(const words *w, fh_str text, uint32_t *id) {
    for (uint32_t i = 0; i < w->n; i++)
        if (fh_str_eq(w->text[i], text)) {
            *id = i;
            return true;
        }
    return false;
}

static fh_status put_special(words *w, const char *key, const fh_hf_ids *ids, fh_vocab_special which) {
    const fh_token_text *t = &w->config->special[which];
    uint32_t id = FH_VOCAB_NO_ID;
    if (ids && ids->n) id = ids->item[0];
    else if (t->present && !find_text(w, t->text, &id)) id = FH_VOCAB_NO_ID;
    if (id == FH_VOCAB_NO_ID && !t->present && w->v->special[which] < w->n) id = w->v->special[which];
    return id < w->n ? fh_gguf_build_add_u32(w->b, key, id, w->err) : FH_OK;
}

static fh_status put_specials(words *w) {
    const fh_hf_config *c = w->j->meta.hf;
    bool words_only = w->v->kind == FH_VOCAB_WORDPIECE;
    const fh_hf_ids *bos = fh_hf_config_bos(c), *eos = fh_hf_config_eos(c);
    FH_TRY(put_special(w, "tokenizer.ggml.bos_token_id", bos, words_only && !bos->n ? FH_SPECIAL_CLS : FH_SPECIAL_BOS));
    FH_TRY(put_special(w, "tokenizer.ggml.eos_token_id", eos, words_only && !eos->n ? FH_SPECIAL_SEP : FH_SPECIAL_EOS));
    FH_TRY(put_special(w, "tokenizer.ggml.padding_token_id", fh_hf_config_pad(c), FH_SPECIAL_PAD));
    FH_TRY(put_special(w, "tokenizer.ggml.unknown_token_id", NULL, FH_SPECIAL_UNK));
    if (w->config->special[FH_SPECIAL_CLS].present)
        FH_TRY(put_special(w, "tokenizer.ggml.cls_token_id", NULL, FH_SPECIAL_CLS));
    if (w->config->special[FH_SPECIAL_SEP].present)
        FH_TRY(put_special(w, "tokenizer.ggml.seperator_token_id", NULL, FH_SPECIAL_SEP));
    if (w->config->special[FH_SPECIAL_MASK].present)
        FH_TRY(put_special(w, "tokenizer.ggml.mask_token_id", NULL, FH_SPECIAL_MASK));
    if (eos->n > 1) FH_TRY(fh_gguf_build_add_u32(w->b, "tokenizer.ggml.eot_token_id", eos->item[1], w->err));
    if (eos->n > 2) FH_TRY(fh_gguf_build_add_u32(w->b, "tokenizer.ggml.eom_token_id", eos->item[2], w->err));
    if (eos->n > 3)
        fh_convert_note(w->j, "GGUF names three tokens that end a text; the other %u are left out", eos->n - 3);
    return FH_OK;
}

/* Does the template around a text start (or end) with a special token? */
static bool post_adds(const words *w, bool front) {
    const fh_json_node *post = w->json ? fh_tokenizer_json_part(w->json, FH_TOKENIZER_POST_PROCESSOR) : NULL;
    fh_str type = {"", 0};
    fh_json_to_str(fh_json_get(post, "type"), &type);
    if (fh_str_is(type, "Sequence")) {
        const fh_json_node *list = fh_json_get(post, "processors");
        for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
            fh_str t = {"", 0};
            fh_json_to_str(fh_json_get(c, "type"), &t);
            if (fh_str_is(t, "TemplateProcessing")) post = c;
        }
    }
    const fh_json_node *single = fh_json_get(post, "single"), *c = fh_json_first(single), *last = c;
    while (!front && last && fh_json_after(single, last)) last = fh_json_after(single, last);
    return fh_json_get(front ? c : last, "SpecialToken") != NULL;
}

static fh_status put_tri(words *w, const char *key, fh_tri t) {
    return t == FH_TRI_UNSET ? FH_OK : fh_gguf_build_add_bool(w->b, key, t == FH_TRI_YES, w->err);
}

static fh_status put_flags(words *w) {
    fh_tri bos = w->config->add_bos, eos = w->config->add_eos;
    if (w->json && w->v->kind == FH_VOCAB_BPE) { /* what its template does counts, whatever the config says */
        bos = fh_tri_of(post_adds(w, true));
        if (post_adds(w, false)) eos = FH_TRI_YES;
    }
    FH_TRY(put_tri(w, "tokenizer.ggml.add_bos_token", w->xlmr ? FH_TRI_YES : bos));
    FH_TRY(put_tri(w, "tokenizer.ggml.add_eos_token", w->xlmr ? FH_TRI_YES : eos));
    if (w->own && w->own->kind != FH_VOCAB_WORDPIECE) {
        FH_TRY(put_tri(w, "tokenizer.ggml.add_space_prefix", w->v->add_space_prefix));
        FH_TRY(put_tri(w, "tokenizer.ggml.remove_extra_whitespaces", w->v->remove_extra_spaces));
        if (w->v->charsmap.len)
            FH_TRY(put_array(w, "tokenizer.ggml.precompiled_charsmap", FH_GGUF_U8, w->v->charsmap.ptr,
                             w->v->charsmap.len, w->v->charsmap.len));
    }
    uint64_t types;
    if (fh_hf_config_u64(w->j->meta.hf, FH_HF_N_TOKEN_TYPE, &types))
        FH_TRY(fh_gguf_build_add_u32(w->b, "tokenizer.ggml.token_type_count", (uint32_t)types, w->err));
    if (w->v->kind != FH_VOCAB_WORDPIECE) return FH_OK;
    bool lower = w->config->lower_case != FH_TRI_NO, accents;
    const fh_json_node *norm = w->json ? fh_tokenizer_json_part(w->json, FH_TOKENIZER_NORMALIZER) : NULL;
    fh_json_to_bool(fh_json_get(norm, "lowercase"), &lower);
    FH_TRY(fh_gguf_build_add_bool(w->b, "tokenizer.ggml.normalizer.lowercase", lower, w->err));
    if (fh_json_to_bool(fh_json_get(norm, "strip_accents"), &accents))
        return fh_gguf_build_add_bool(w->b, "tokenizer.ggml.normalizer.strip_accents", accents, w->err);
    return put_tri(w, "tokenizer.ggml.normalizer.strip_accents", w->config->strip_accents);
}

static fh_status put_templates(words *w) {
    char key[160];
    for (uint32_t i = 0; i < w->config->n_template; i++) {
        const fh_chat_template *t = &w->config->templates[i];
        bool plain = fh_str_is(t->name, "default");
        snprintf(key, sizeof key, "tokenizer.chat_template%s%.*s", plain ? "" : ".", plain ? 0 : FH_STR_ARG(t->name));
        FH_TRY(fh_gguf_build_add_str(w->b, key, t->text, w->err));
    }
    return FH_OK;
}

static fh_status pick_model(words *w) {
    w->pre = "default";
    switch (w->v->kind) {
    case FH_VOCAB_BPE_SCORES: w->model = "llama"; return FH_OK;
    case FH_VOCAB_WORDPIECE: w->model = "bert"; return FH_OK;
    case FH_VOCAB_UNIGRAM: w->model = "t5"; break;
    case FH_VOCAB_BPE: w->model = "gpt2"; break;
    default: w->model = NULL;
    }
    if (w->own && w->model) return FH_OK;
    if (w->model && w->v->kind == FH_VOCAB_BPE && !w->v->byte_fallback && (w->pre = pre_name(w))) return FH_OK;
    return fh_fail(
        w->err, FH_ERR_UNSUPPORTED,
        "tokenizer.json (%s) cuts text in a way that GGUF has no name for: convert without the tokenizer, or "
        "put the SentencePiece file beside it",
        fh_vocab_kind_name(w->v->kind));
}

static fh_status put_all(words *w) {
    FH_TRY(pick_model(w));
    FH_TRY(fh_gguf_build_add_str(w->b, "tokenizer.ggml.model", fh_str_of(w->model), w->err));
    FH_TRY(fh_gguf_build_add_str(w->b, "tokenizer.ggml.pre", fh_str_of(w->pre), w->err));
    bool scores = w->v->kind == FH_VOCAB_BPE_SCORES || w->v->kind == FH_VOCAB_UNIGRAM;
    w->n = w->j->spec->n_vocab;
    w->text = fh_arena_alloc(&w->j->arena, w->n, sizeof *w->text);
    w->type = fh_arena_alloc(&w->j->arena, w->n, sizeof *w->type);
    w->score = scores ? fh_arena_alloc(&w->j->arena, w->n, sizeof *w->score) : NULL;
    if (w->j->arena.status != FH_OK) return fh_arena_fail(&w->j->arena, w->err);
    FH_TRY(put_vocab(w));
    FH_TRY(put_added(w));
    FH_TRY(fill_holes(w));
    FH_TRY(fh_gguf_build_add_strs(w->b, "tokenizer.ggml.tokens", w->text, w->n, w->err));
    if (scores) FH_TRY(put_array(w, "tokenizer.ggml.scores", FH_GGUF_F32, w->score, w->n * sizeof *w->score, w->n));
    FH_TRY(put_array(w, "tokenizer.ggml.token_type", FH_GGUF_I32, w->type, w->n * sizeof *w->type, w->n));
    if (w->v->kind == FH_VOCAB_BPE) FH_TRY(put_merges(w));
    FH_TRY(put_specials(w));
    FH_TRY(put_flags(w));
    return put_templates(w);
}

fh_status fh_convert_vocab_to_gguf(fh_convert_job *j, fh_gguf_build *b, fh_err *err) {
    words w = {.j = j, .b = b, .err = err};
    fh_status s = open_files(&w);
    if (s == FH_OK && !w.v) fh_convert_note(j, "the folder has no tokenizer that GGUF can hold: none is written");
    else if (s == FH_OK) s = put_all(&w);
    fh_tokenizer_config_free(w.config);
    fh_tokenizer_json_free(w.json);
    fh_vocab_free(w.own);
    return s;
}
