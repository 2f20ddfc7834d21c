/* library/facts_hf.c - facts from config.json and the files beside it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/num.h"
#include "format/tokenizer_config.h"
#include "library/facts_part.h"

static uint64_t number(const fh_hf_config *c, fh_hf_field f) {
    uint64_t v = 0, most = 0;
    if (fh_hf_config_u64(c, f, &v)) return v;
    for (size_t i = 0; fh_hf_config_u64_at(c, f, i, &v); i++) most = FH_MAX(most, v);
    return most;
}

static fh_status rope(fh_facts *f, const fh_hf_config *c, fh_err *err) {
    char said[64];
    const fh_hf_rope *r = fh_hf_ropes_find(fh_hf_config_ropes(c), FH_ROPE_FULL);
    if (!r) return FH_OK;
    f->rope_theta = r->theta;
    if (r->type == FH_ROPE_NONE || r->type == FH_ROPE_DEFAULT) return FH_OK;
    if (r->type == FH_ROPE_UNKNOWN) {
        f->rope_scaling = r->type_text;
        return FH_OK;
    }
    if (r->factor > 1) snprintf(said, sizeof said, "%s x%g", fh_rope_type_name(r->type), r->factor);
    else snprintf(said, sizeof said, "%s", fh_rope_type_name(r->type));
    return fh_arena_copy(&f->arena, fh_str_of(said), &f->rope_scaling) ? FH_OK : fh_arena_fail(&f->arena, err);
}

/* "gptq", "compressed-tensors": what the config calls it; the shares say what it is. */
static void quantization(fh_facts *f, const fh_hf_config *c) {
    const fh_json_node *q = fh_hf_config_quantization(c);
    if (!fh_json_to_str(fh_json_get(q, "quant_algo"), &f->quantization))
        (void)fh_json_to_str(fh_json_get(q, "quant_method"), &f->quantization);
}

static void find_tokenizer(fh_facts *f, const fh_bundle *b) {
    static const char *const names[] = {"tokenizer.json",          "tekken.json",    "tokenizer.model", "spiece.model",
                                        "sentencepiece.bpe.model", "tiktoken.model", "qwen.tiktoken",   "vocab.txt"};
    char path[FH_PATH_MAX];
    for (size_t i = 0; i < FH_COUNT(names) && fh_bundle_folder(b); i++) {
        if (fh_path_join(path, fh_bundle_folder(b), fh_str_of(names[i]), NULL) != FH_OK) continue;
        if (fh_file_get_kind(path) != FH_FILE_REGULAR) continue;
        f->tokenizer = fh_str_of(names[i]);
        return;
    }
}

/* The default template, wherever this checkpoint keeps it. */
static fh_status find_template(fh_facts *f, const fh_bundle *b, fh_err *err) {
    fh_tokenizer_config *t = NULL;
    if (!fh_bundle_folder(b)) return FH_OK;
    FH_TRY(fh_tokenizer_config_open(&t, fh_bundle_folder(b), err));
    const fh_chat_template *found = fh_tokenizer_config_find_template(t, "default");
    bool ok = !found || fh_arena_copy(&f->arena, found->text, &f->template_text);
    fh_tokenizer_config_free(t);
    return ok ? FH_OK : fh_arena_fail(&f->arena, err);
}

fh_status fh_facts_from_hf(fh_facts *f, const fh_bundle *b, fh_err *err) {
    const fh_hf_config *c = fh_bundle_hf_config(b);
    if (!c) return FH_OK; /* a file of tensors and nothing else */
    f->architecture = fh_hf_config_text_model_type(c);
    if (fh_hf_config_n_architecture(c)) f->class_name = fh_hf_config_architecture(c, 0);
    f->n_context = number(c, FH_HF_N_CTX);
    f->n_layer = number(c, FH_HF_N_LAYER);
    f->n_embd = number(c, FH_HF_N_EMBD);
    f->n_ff = number(c, FH_HF_N_FF);
    f->n_ff_expert = number(c, FH_HF_EXPERT_FF);
    f->n_head = number(c, FH_HF_N_HEAD);
    f->n_head_kv = number(c, FH_HF_N_HEAD_KV);
    if (!f->n_head_kv) f->n_head_kv = f->n_head;
    f->head_dim = number(c, FH_HF_HEAD_DIM);
    if (!f->head_dim && f->n_head) f->head_dim = f->n_embd / f->n_head;
    f->n_vocab = number(c, FH_HF_N_VOCAB);
    f->n_expert = number(c, FH_HF_N_EXPERT);
    f->n_expert_used = number(c, FH_HF_N_EXPERT_USED);
    f->n_expert_shared = number(c, FH_HF_N_EXPERT_SHARED);
    f->window = number(c, FH_HF_SLIDING_WINDOW);
    quantization(f, c);
    FH_TRY(rope(f, c, err));
    find_tokenizer(f, b);
    return find_template(f, b, err);
}
