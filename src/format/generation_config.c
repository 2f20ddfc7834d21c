/* format/generation_config.c - generation_config.json.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/generation_config.h"

#include "base/num.h"

#define AT(field) offsetof(fh_generation_config, field)

static const struct {
    const char *name;
    size_t at; /* of a double */
    uint32_t bit;
    double least, most;
} FLOATS[] = {
    {"temperature", AT(temperature), FH_GEN_TEMPERATURE, 0, 1000},
    {"top_p", AT(top_p), FH_GEN_TOP_P, 0, 1},
    {"min_p", AT(min_p), FH_GEN_MIN_P, 0, 1},
    {"typical_p", AT(typical_p), FH_GEN_TYPICAL_P, 0, 1},
    {"repetition_penalty", AT(repetition_penalty), FH_GEN_REPETITION_PENALTY, 1e-6, 1000},
    {"presence_penalty", AT(presence_penalty), FH_GEN_PRESENCE_PENALTY, -1000, 1000},
    {"frequency_penalty", AT(frequency_penalty), FH_GEN_FREQUENCY_PENALTY, -1000, 1000},
};

static const struct {
    const char *name;
    size_t at; /* of a uint32_t */
    uint32_t bit;
} COUNTS[] = {
    {"top_k", AT(top_k), FH_GEN_TOP_K},
    {"no_repeat_ngram_size", AT(no_repeat_ngram), FH_GEN_NO_REPEAT_NGRAM},
    {"max_new_tokens", AT(max_new_tokens), FH_GEN_MAX_NEW_TOKENS},
    {"max_length", AT(max_length), FH_GEN_MAX_LENGTH},
};

static const struct {
    const char *name;
    size_t at; /* of an fh_hf_ids */
} IDS[] = {
    {"bos_token_id", AT(bos)},
    {"eos_token_id", AT(eos)},
    {"pad_token_id", AT(pad)},
    {"decoder_start_token_id", AT(decoder_start)},
};

static void *field_at(fh_generation_config *g, size_t at) { return (char *)g + at; }

static fh_status read_all(fh_generation_config *g, const fh_hf_view *v, fh_err *err) {
    fh_hf_state state;
    for (size_t i = 0; i < FH_COUNT(FLOATS); i++) {
        double *to = field_at(g, FLOATS[i].at);
        FH_TRY(fh_hf_get_f64(v, FLOATS[i].name, FLOATS[i].least, FLOATS[i].most, &state, to, err));
        if (state == FH_HF_PRESENT) g->has |= FLOATS[i].bit;
    }
    for (size_t i = 0; i < FH_COUNT(COUNTS); i++) {
        uint64_t n;
        FH_TRY(fh_hf_get_u64(v, COUNTS[i].name, 0, INT32_MAX, &state, &n, err));
        if (state != FH_HF_PRESENT) continue;
        *(uint32_t *)field_at(g, COUNTS[i].at) = (uint32_t)n;
        g->has |= COUNTS[i].bit;
    }
    for (size_t i = 0; i < FH_COUNT(IDS); i++) FH_TRY(fh_hf_get_ids(v, IDS[i].name, field_at(g, IDS[i].at), err));
    FH_TRY(fh_hf_get_bool(v, "do_sample", &state, &g->do_sample, err));
    if (state == FH_HF_PRESENT) g->has |= FH_GEN_DO_SAMPLE;
    return FH_OK;
}

fh_status fh_generation_config_parse(fh_generation_config *out, fh_str json, fh_err *err) {
    fh_json_options opt = {.allow_nonfinite = true, .allow_duplicate_keys = true};
    fh_generation_config g = {.has = 0};
    fh_json *doc;
    FH_TRY(fh_json_parse(&doc, json, &opt, err));
    const fh_json_node *root = fh_json_root(doc);
    fh_hf_view v = fh_hf_view_of("generation_config.json", root);
    fh_status s = fh_json_is(root, FH_JSON_OBJECT)
                      ? read_all(&g, &v, err)
                      : fh_fail_at(err, FH_ERR_FORMAT, root->offset, "generation_config.json: should be an object");
    fh_json_free(doc);
    if (s == FH_OK) *out = g;
    return s;
}
