/* tests/fuzz/fuzz_config.c - libFuzzer target for the small JSON files of a Hugging Face folder:
 * config.json, generation_config.json and tokenizer_config.json, all three on each input.
 * SPDX-License-Identifier: Apache-2.0
 * Beyond not crashing: every value is inside its range, a refusal has a message and names no byte
 * outside the text, memory stays within its bound and nothing leaks. */
#include <math.h>

#include "format/generation_config.h"
#include "format/hf_config.h"
#include "format/tokenizer_config.h"
#include "vocab_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static const struct {
    fh_hf_kind kind;
    double least, most;
} ROWS[FH_HF_FIELD_COUNT] = {
#define FH_HF_ROW(name, kind, least, most, spellings) {FH_HF_##kind, least, most},
#include "format/hf_config.def"
#undef FH_HF_ROW
};

static void walk_field(const fh_hf_config *c, fh_hf_field f) {
    const fh_hf_value *v = fh_hf_config_get(c, f);
    uint64_t x;
    double d;
    for (size_t i = 0; v->is_list ? i < v->n : i == 0; i++)
        if (fh_hf_config_u64_at(c, f, i, &x)) FH_REQUIRE((double)x >= ROWS[f].least && (double)x <= ROWS[f].most);
    if (v->is_list) FH_REQUIRE(!fh_hf_config_u64_at(c, f, v->n, &x));
    if (fh_hf_config_f64(c, f, &d)) FH_REQUIRE(d >= ROWS[f].least && d <= ROWS[f].most);
    sink += walk_text(v->str);
}

static void walk_rope(const fh_hf_rope *e) {
    FH_REQUIRE(isfinite(e->theta) && isfinite(e->factor) && e->factor > 0 && e->theta >= 0);
    FH_REQUIRE(e->partial >= 0 && e->partial <= 1 && e->beta_fast > 0 && e->beta_slow > 0);
    FH_REQUIRE(e->n_section <= FH_ROPE_MAX_SECTIONS && e->n_short <= FH_ROPE_MAX_FACTORS);
    for (uint32_t i = 0; i < e->n_short; i++) FH_REQUIRE(e->short_factor[i] > 0);
    for (uint32_t i = 0; i < e->n_long; i++) FH_REQUIRE(e->long_factor[i] > 0);
    if (e->type == FH_ROPE_LLAMA3) FH_REQUIRE(e->high_freq_factor > e->low_freq_factor);
    if (e->type == FH_ROPE_LONGROPE) FH_REQUIRE(e->n_short > 0 && e->n_long > 0);
    if (e->type == FH_ROPE_YARN) FH_REQUIRE(e->original_max_position > 0);
    sink += walk_text(e->label);
}

static fh_status read_config(fh_str text, fh_err *err) {
    fh_hf_config *c = NULL;
    fh_status s = fh_hf_config_parse(&c, text, err);
    FH_REQUIRE((s == FH_OK) == (c != NULL));
    if (!c) return s;
    for (int f = 0; f < FH_HF_FIELD_COUNT; f++) walk_field(c, (fh_hf_field)f);
    const fh_hf_ropes *r = fh_hf_config_ropes(c);
    FH_REQUIRE(r->n <= FH_ROPE_MAX_ENTRIES);
    for (uint32_t i = 0; i < r->n; i++) walk_rope(&r->item[i]);
    for (uint32_t i = 0; i < r->n_layer_theta; i++) FH_REQUIRE(r->layer_theta[i] >= 0);
    for (size_t i = 0; i < fh_hf_config_n_layer_type(c); i++) sink += walk_text(fh_hf_config_layer_type(c, i));
    for (size_t i = 0; i < fh_hf_config_n_architecture(c) && i < 100; i++)
        sink += walk_text(fh_hf_config_architecture(c, i));
    FH_REQUIRE(fh_hf_config_eos(c)->n <= FH_HF_MAX_IDS);
    sink += walk_text(fh_hf_config_model_type(c)) + walk_text(fh_hf_config_text_model_type(c));
    fh_hf_config_free(c);
    return s;
}

static fh_status read_generation(fh_str text, fh_err *err) {
    fh_generation_config g;
    fh_status s = fh_generation_config_parse(&g, text, err);
    if (s != FH_OK) return s;
    FH_REQUIRE(g.temperature >= 0 && g.top_p >= 0 && g.top_p <= 1 && g.eos.n <= FH_HF_MAX_IDS);
    return s;
}

static fh_status read_tokenizer(fh_str text, fh_err *err) {
    fh_tokenizer_config *c = NULL;
    fh_status s = fh_tokenizer_config_parse(&c, text, err);
    FH_REQUIRE((s == FH_OK) == (c != NULL));
    if (!c) return s;
    for (uint32_t i = 0; i < c->n_added; i++) {
        FH_REQUIRE(c->added[i].id < FH_VOCAB_MAX_ID);
        sink += walk_text(c->added[i].text);
    }
    for (uint32_t i = 0; i < c->n_extra; i++) sink += walk_text(c->extra[i]);
    for (uint32_t i = 0; i < c->n_template; i++) {
        FH_REQUIRE(fh_utf8_valid(c->templates[i].text));
        sink += walk_text(c->templates[i].name);
    }
    for (size_t i = 0; i < sizeof c->special / sizeof c->special[0]; i++) sink += walk_text(c->special[i].text);
    fh_tokenizer_config_free(c);
    return s;
}

static void check(fh_status (*read)(fh_str, fh_err *), fh_str text) {
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status s = read(text, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 2 * (uint64_t)text.len + (16u << 20));
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    if (s != FH_OK) FH_REQUIRE(err.status == s && err.message[0]);
    if (s != FH_OK) FH_REQUIRE(err.offset <= text.len || err.offset == FH_NO_OFFSET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str text = {(const char *)data, size};
    check(read_config, text);
    check(read_generation, text);
    check(read_tokenizer, text);
    return 0;
}
