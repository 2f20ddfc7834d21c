/* library/model_text.c - see model_text.h.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Refuses a generation_config.json over CONFIG_MOST. */
#include "library/model_text.h"

#include <stdio.h>
#include <strings.h>

#include "base/num.h"

#define CONFIG_MOST ((size_t)16 << 20)

/* ---- what it is there for ---- */

static bool holds(fh_str s, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.len; i++)
        if (strncasecmp(s.ptr + i, word, n) == 0) return true;
    return false;
}

/* By config.json: does the class have a head of logits? */
static bool class_has_head(const fh_hf_config *c) {
    static const char *const heads[] = {"ForCausalLM", "ForConditionalGeneration", "LMHead", "ForSeq2SeqLM"};
    size_t n = fh_hf_config_n_architecture(c);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < FH_COUNT(heads); k++)
            if (holds(fh_hf_config_architecture(c, i), heads[k])) return true;
    return n == 0;
}

static bool gguf_is_embedder(const fh_bundle *b, const fh_gguf *g) {
    char key[128];
    uint64_t pooling = 0;
    fh_str arch = {NULL, 0}, name = {NULL, 0};
    (void)fh_gguf_to_str(fh_gguf_find(g, "general.architecture"), &arch);
    snprintf(key, sizeof key, "%.*s.pooling_type", (int)FH_MIN(arch.len, 64u), arch.ptr ? arch.ptr : "");
    if (fh_gguf_to_u64(fh_gguf_find(g, key), &pooling)) return pooling != 0;
    (void)fh_gguf_to_str(fh_gguf_find(g, "general.name"), &name);
    return holds(name, "embedding") || holds(fh_path_base(fh_str_of(fh_bundle_path(b))), "embedding");
}

fh_export fh_model_purpose(const fh_model *m) {
    const fh_plan *p = fh_model_plan(m, FH_PLAN_STEP);
    const fh_bundle *b = fh_model_bundle(m);
    if (p->exported[FH_EXPORT_SCORE] != FH_NO_VALUE) return FH_EXPORT_SCORE;
    if (p->exported[FH_EXPORT_LOGITS] == FH_NO_VALUE) return FH_EXPORT_HIDDEN;
    const fh_hf_config *c = fh_bundle_hf_config(b);
    if (c) return class_has_head(c) ? FH_EXPORT_LOGITS : FH_EXPORT_HIDDEN;
    const fh_gguf *g = fh_bundle_gguf(b, 0);
    return g && gguf_is_embedder(b, g) ? FH_EXPORT_HIDDEN : FH_EXPORT_LOGITS;
}

/* ---- numbers and ends ---- */

fh_status fh_model_generation_config(fh_generation_config *out, const fh_model *m, fh_err *err) {
    fh_buf text;
    fh_status s = fh_bundle_read_side(fh_model_bundle(m), "generation_config.json", CONFIG_MOST, &text, err);
    if (s != FH_OK && s != FH_ERR_NOT_FOUND) return s;
    *out = (fh_generation_config){0};
    if (s == FH_ERR_NOT_FOUND) return FH_OK;
    s = fh_generation_config_parse(out, fh_buf_str(&text), err);
    fh_buf_release(&text);
    return s;
}

void fh_model_sampling(fh_sampler_params *p, const fh_generation_config *g) {
    if (g->has & FH_GEN_TEMPERATURE) p->temperature = g->temperature;
    if (g->has & FH_GEN_TOP_K) p->top_k = g->top_k;
    if (g->has & FH_GEN_TOP_P) p->top_p = g->top_p;
    if (g->has & FH_GEN_MIN_P) p->min_p = g->min_p;
    if (g->has & FH_GEN_TYPICAL_P) p->typical_p = g->typical_p;
    if (g->has & FH_GEN_REPETITION_PENALTY) p->repeat_penalty = g->repetition_penalty;
    if (g->has & FH_GEN_PRESENCE_PENALTY) p->presence_penalty = g->presence_penalty;
    if (g->has & FH_GEN_FREQUENCY_PENALTY) p->frequency_penalty = g->frequency_penalty;
    if ((g->has & FH_GEN_DO_SAMPLE) && !g->do_sample) p->temperature = 0;
}

fh_status fh_model_end_ids(fh_ids *out, const fh_model *m, const fh_tokenizer *t, const fh_generation_config *gen,
                           fh_err *err) {
    const fh_hf_config *config = fh_bundle_hf_config(fh_model_bundle(m));
    const fh_hf_ids *more[] = {&gen->eos, config ? fh_hf_config_eos(config) : NULL};
    uint32_t n = t ? fh_tokenizer_vocab(t)->n_id : 0;
    for (uint32_t i = 0; i < n; i++)
        if (fh_tokenizer_is_eog(t, i)) fh_ids_add(out, i);
    for (size_t k = 0; k < FH_COUNT(more); k++)
        if (more[k]) fh_ids_add_all(out, more[k]->item, more[k]->n);
    return fh_ids_check(out, err);
}

/* ---- the template ---- */

fh_status fh_template_choose(fh_template_choice *out, const fh_facts *facts, bool (*has_token)(void *ctx, fh_str text),
                             void *ctx, fh_err *err) {
    fh_template_choice c = {.why = ""};
    if (facts->template_text.len) {
        FH_TRY(fh_template_compile(&c.template, facts->template_text, err));
    } else {
        const fh_template_hint hint = {
            .architecture = facts->architecture, .tokenizer = facts->tokenizer, .has_token = has_token, .ctx = ctx};
        c.builtin = fh_template_builtin_pick(&hint, &c.why);
        if (c.builtin) FH_TRY(fh_template_builtin_compile(&c.template, c.builtin, err));
    }
    *out = c;
    return FH_OK;
}

typedef struct known {
    const fh_vocab *vocab;
} known;

static bool vocab_has(void *ctx, fh_str token) {
    const known *k = ctx;
    uint32_t id;
    return fh_vocab_find(k->vocab, token, &id);
}

fh_status fh_template_choose_with(fh_template_choice *out, const fh_facts *facts, const fh_tokenizer *t, fh_err *err) {
    known k = {fh_tokenizer_vocab(t)};
    return fh_template_choose(out, facts, vocab_has, &k, err);
}

fh_str fh_tokenizer_special_text(const fh_tokenizer *t, fh_vocab_special which) {
    uint32_t id = fh_tokenizer_special(t, which);
    return id == FH_VOCAB_NO_ID ? (fh_str){NULL, 0} : fh_vocab_piece(fh_tokenizer_vocab(t), id);
}
