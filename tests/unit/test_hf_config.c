/* tests/unit/test_hf_config.c - config.json and generation_config.json: spellings, ranges, parts,
 * rotary settings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "format/generation_config.h"
#include "format/hf_config.h"
#include "reader_loop.h"

static fh_hf_config *parsed(const char *json) {
    fh_hf_config *c = NULL;
    fh_err err = {0};
    CHECK_OK(fh_hf_config_parse(&c, fh_str_of(json), &err), err);
    return c;
}

static fh_status read_and_walk(fh_str text, fh_err *err) {
    fh_hf_config *c = NULL;
    fh_status s = fh_hf_config_parse(&c, text, err);
    if (s != FH_OK) {
        CHECK(!c);
        return s;
    }
    uint64_t sum = 0, x;
    for (int f = 0; f < FH_HF_FIELD_COUNT; f++)
        for (size_t i = 0; i < 3; i++)
            if (fh_hf_config_u64_at(c, (fh_hf_field)f, i, &x)) sum += x;
    for (size_t i = 0; i < fh_hf_config_n_layer_type(c); i++) sum += fh_hf_config_layer_type(c, i).len;
    for (size_t i = 0; i < fh_hf_config_n_architecture(c); i++) sum += fh_hf_config_architecture(c, i).len;
    const fh_hf_ropes *r = fh_hf_config_ropes(c);
    for (uint32_t i = 0; i < r->n; i++) {
        CHECK(r->item[i].n_section <= FH_ROPE_MAX_SECTIONS && r->item[i].factor > 0);
        for (uint32_t k = 0; k < r->item[i].n_long; k++) CHECK(r->item[i].long_factor[k] > 0);
    }
    CHECK(sum < UINT64_MAX);
    fh_hf_config_free(c);
    return FH_OK;
}

static uint64_t number(const fh_hf_config *c, fh_hf_field f) {
    uint64_t v = UINT64_MAX;
    if (!fh_hf_config_u64(c, f, &v)) fh_test_fail(__FILE__, __LINE__, "no '%s'", fh_hf_field_spellings(f));
    return v;
}

TEST(hf_config, missing_null_and_present_differ) {
    fh_hf_config *c = parsed("{\"n_embd\":64,\"n_inner\":null,\"num_key_value_heads\":[1,2,0],"
                             "\"rms_norm_eps\":1e-6,"
                             "\"tie_word_embeddings\":false,\"hidden_act\":\"silu\","
                             "\"sliding_window_pattern\":\"LLLG\","
                             "\"time_step_rank\":4.0,\"architectures\":[\"A\",\"B\"],\"model_type\":\"m\"}");
    uint64_t n = 7;
    double d;
    bool b = true;
    fh_str s;
    CHECK_U64(number(c, FH_HF_N_EMBD), 64);
    CHECK(fh_hf_config_get(c, FH_HF_N_FF)->state == FH_HF_NULL);
    CHECK(fh_hf_config_get(c, FH_HF_N_LAYER)->state == FH_HF_MISSING);
    CHECK(!fh_hf_config_u64(c, FH_HF_N_FF, &n) && !fh_hf_config_u64(c, FH_HF_N_LAYER, &n) && n == 7);
    CHECK(!fh_hf_config_u64(c, FH_HF_N_HEAD_KV, &n)); /* a list is no number */
    CHECK(fh_hf_config_u64_at(c, FH_HF_N_HEAD_KV, 1, &n) && n == 2);
    CHECK(!fh_hf_config_u64_at(c, FH_HF_N_HEAD_KV, 3, &n));
    CHECK(fh_hf_config_u64_at(c, FH_HF_N_EMBD, 99, &n) && n == 64); /* one number serves all layers */
    CHECK(fh_hf_config_f64(c, FH_HF_NORM_EPS, &d) && d == 1e-6);
    CHECK(fh_hf_config_bool(c, FH_HF_TIE_EMBEDDINGS, &b) && !b);
    CHECK(!fh_hf_config_bool(c, FH_HF_QKV_BIAS, &b));
    CHECK(fh_hf_config_str(c, FH_HF_ACTIVATION, &s) && fh_str_is(s, "silu"));
    CHECK(fh_hf_config_str(c, FH_HF_SLIDING_PATTERN, &s) && fh_str_is(s, "LLLG"));
    CHECK(!fh_hf_config_u64(c, FH_HF_SLIDING_PATTERN, &n));
    CHECK_U64(number(c, FH_HF_SSM_DT_RANK), 4);
    CHECK_U64(fh_hf_config_n_architecture(c), 2);
    CHECK_STR(fh_hf_config_architecture(c, 1), "B");
    CHECK_STR(fh_hf_config_architecture(c, 2), "");
    CHECK_STR(fh_hf_config_model_type(c), "m");
    CHECK_STR(fh_hf_config_text_model_type(c), "m");
    CHECK(!fh_hf_config_quantization(c) && fh_hf_config_ropes(c)->n == 0);
    fh_hf_config_free(c);
    fh_hf_config_free(NULL);
}

TEST(hf_config, the_text_part_comes_first) {
    fh_hf_config *c = parsed("{\"model_type\":\"outer\",\"vocab_size\":10,\"hidden_size\":5,\"pad_token_id\":3,"
                             "\"thinker_config\":{\"n_head\":8,\"vocab_size\":11,\"eos_token_id\":[1,2,-1],"
                             "\"text_config\":{\"model_type\":\"inner\",\"vocab_size\":12,\"d_model\":6,"
                             "\"n_head\":null}},"
                             "\"vision_config\":{\"num_hidden_layers\":99}}");
    CHECK_U64(number(c, FH_HF_N_VOCAB), 12);
    CHECK_U64(number(c, FH_HF_N_EMBD), 6); /* another spelling in the text part still comes before the root */
    CHECK_U64(number(c, FH_HF_N_HEAD), 8); /* null inside: the next part answers */
    CHECK(fh_hf_config_get(c, FH_HF_N_LAYER)->state == FH_HF_MISSING); /* not that of the vision part */
    CHECK_STR(fh_hf_config_model_type(c), "outer");
    CHECK_STR(fh_hf_config_text_model_type(c), "inner");
    CHECK(fh_hf_config_eos(c)->state == FH_HF_PRESENT && fh_hf_config_eos(c)->n == 2);
    CHECK(fh_hf_config_eos(c)->item[1] == 2 && fh_hf_config_pad(c)->item[0] == 3);
    CHECK(fh_hf_config_bos(c)->state == FH_HF_MISSING && fh_hf_config_view(c)->n == 3);
    CHECK(fh_hf_config_decoder_start(c)->state == FH_HF_MISSING);
    fh_hf_config_free(c);
}

/* As Python writes and reads: Infinity, the last of two equal keys. */
TEST(hf_config, reads_what_python_writes) {
    fh_hf_config *c = parsed("{\"time_step_limit\":[0.0,Infinity],\"vocab_size\":1,\"vocab_size\":2,\"x\":NaN,"
                             "\"quantization_config\":{\"quant_method\":\"fp8\"}}");
    CHECK_U64(number(c, FH_HF_N_VOCAB), 2);
    CHECK_STR(fh_json_get(fh_hf_config_quantization(c), "quant_method")->text, "fp8");
    fh_hf_config_free(c);
}

/* Each row at its ends and one beyond, under each of its spellings. */
TEST(hf_config, every_row_keeps_its_range) {
    static const struct {
        fh_hf_field f;
        fh_hf_kind kind;
        double least, most;
        const char *names;
    } rows[] = {
#define FH_HF_ROW(name, kind, least, most, spellings) {FH_HF_##name, FH_HF_##kind, least, most, spellings},
#include "format/hf_config.def"
#undef FH_HF_ROW
    };
    CHECK_U64(FH_COUNT(rows), FH_HF_FIELD_COUNT);
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_str rest = fh_str_of(rows[i].names);
        CHECK_STR(rest, fh_hf_field_spellings(rows[i].f));
        while (rest.len > 0) {
            size_t bar = rest.len;
            if (!fh_str_find(rest, '|', &bar)) bar = rest.len;
            for (int step = -1; step < 4; step++) {
                char json[200];
                bool text = rows[i].kind == FH_HF_BOOL || rows[i].kind == FH_HF_STR;
                double v = step < 0    ? rows[i].least - 1
                           : step == 0 ? rows[i].least
                           : step == 1 ? rows[i].most
                           : step == 2 ? rows[i].most * 2 + 2
                                       : 0;
                if (step == 3) snprintf(json, sizeof json, "{\"%.*s\":{}}", (int)bar, rest.ptr);
                else snprintf(json, sizeof json, "{\"%.*s\":%.17g}", (int)bar, rest.ptr, v);
                fh_err err = {0};
                fh_hf_config *c = NULL;
                fh_status s = fh_hf_config_parse(&c, fh_str_of(json), &err);
                bool good = !text && (step == 0 || step == 1);
                if ((s == FH_OK) != good) fh_test_fail(__FILE__, __LINE__, "%s: %s", json, err.message);
                if (!good) CHECK(err.offset == bar + 4 && strstr(err.message, "config.json: '"));
                if (good) CHECK(fh_hf_config_get(c, rows[i].f)->state == FH_HF_PRESENT);
                fh_hf_config_free(c);
            }
            rest = fh_str_drop(rest, bar + 1);
        }
    }
}

static const wrong_case WRONG[] = {
    {"@", FH_ERR_FORMAT, "JSON"},
    {"@[]", FH_ERR_FORMAT, "should be an object"},
    {"{\"num_hidden_layers\":@4097}", FH_ERR_LIMIT, "'num_hidden_layers' is 4097, allowed are 1 to 4096"},
    {"{\"text_config\":{\"n_layer\":@0}}", FH_ERR_LIMIT, "'text_config.n_layer' is 0"},
    {"{\"hidden_size\":@-1}", FH_ERR_FORMAT, "'hidden_size' is -1"},
    {"{\"hidden_size\":@1.5}", FH_ERR_FORMAT, "'hidden_size' is 1.5"},
    {"{\"hidden_size\":@\"64\"}", FH_ERR_FORMAT, "is no number"},
    {"{\"hidden_size\":@[64]}", FH_ERR_FORMAT, "is no number"},
    {"{\"hidden_size\":@NaN}", FH_ERR_FORMAT, "'hidden_size' is NaN"},
    {"{\"hidden_size\":@1e308}", FH_ERR_FORMAT, "'hidden_size' is 1e308"},
    {"{\"rms_norm_eps\":@Infinity}", FH_ERR_LIMIT, "'rms_norm_eps' is Infinity"},
    {"{\"num_key_value_heads\":[8,@70000]}", FH_ERR_LIMIT, "is 70000"},
    {"{\"num_key_value_heads\":[8,@null]}", FH_ERR_FORMAT, "is no number"},
    {"{\"architectures\":@\"A\"}", FH_ERR_FORMAT, "a list of strings"},
    {"{\"architectures\":@[1]}", FH_ERR_FORMAT, "a list of strings"},
    {"{\"model_type\":@1}", FH_ERR_FORMAT, "'model_type' should be a string"},
    {"{\"n_layer\":2,\"layer_types\":@[\"a\"]}", FH_ERR_FORMAT, "names 1 layers of 2"},
    {"{\"layer_types\":[\"a\",@1]}", FH_ERR_FORMAT, "a list of strings"},
    {"{\"layer_types\":@{}}", FH_ERR_FORMAT, "at most 4096"},
    {"{\"quantization_config\":@1}", FH_ERR_FORMAT, "an object"},
    {"{\"eos_token_id\":@-2}", FH_ERR_FORMAT, "'eos_token_id' is -2"},
    {"{\"eos_token_id\":[1,@\"2\"]}", FH_ERR_FORMAT, "is no number"},
    {"{\"eos_token_id\":@2147483648}", FH_ERR_LIMIT, "is 2147483648"},
    {"{\"rope_theta\":@0}", FH_ERR_LIMIT, "'rope_theta' is 0"},
    {"{\"rope_theta\":@\"x\"}", FH_ERR_FORMAT, "'rope_theta' should be a number"},
    {"{\"rope_scaling\":@1}", FH_ERR_FORMAT, "'rope_scaling' should be an object or null"},
    {"{\"rope_scaling\":@{\"type\":\"linear\"}}", FH_ERR_FORMAT, "'linear' without 'factor'"},
    {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":@0}}", FH_ERR_LIMIT, "'rope_scaling.factor' is 0"},
    {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":@NaN}}", FH_ERR_LIMIT, "'rope_scaling.factor' is NaN"},
    {"{\"rope_scaling\":@{\"type\":\"yarn\",\"factor\":2}}", FH_ERR_FORMAT, "without 'original_max_position"},
    {"{\"rope_scaling\":@{\"type\":\"longrope\",\"short_factor\":[1]},"
     "\"n_ctx\":9}",
     FH_ERR_FORMAT, "without 'long_factor'"},
    {"{\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,@-1]},\"n_ctx\":9}", FH_ERR_LIMIT, "short_factor"},
    {"{\"rope_scaling\":@{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4},"
     "\"n_ctx\":9}",
     FH_ERR_FORMAT, "above 'low_freq_factor'"},
    {"{\"rope_scaling\":{\"mrope_section\":@[1,2,3,4,5]}}", FH_ERR_FORMAT, "at most 4 numbers"},
    {"{\"rope_parameters\":{\"full_attention\":{},\"global\":@{}}}", FH_ERR_FORMAT, "two rope settings"},
    {"{\"rope_parameters\":{\"a\":{},\"b\":{},\"c\":{},\"d\":{},\"e\":{},\"f\":{},\"g\":{},\"h\":{},\"i\":@{}}}",
     FH_ERR_LIMIT, "more than 8 kinds"},
};

TEST(hf_config, refuses_what_is_wrong) { check_wrong(read_and_walk, WRONG, FH_COUNT(WRONG)); }

/* A list too long for any model. */
TEST(hf_config, long_lists_are_refused) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 20);
    fh_buf_add_z(&b, "{\"intermediate_size\":[1");
    for (int i = 1; i < 4096; i++) fh_buf_add_z(&b, ",1");
    size_t len = b.len;
    fh_buf_add_z(&b, "]}");
    CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
    b.len = len;
    fh_buf_add_z(&b, ",1]}");
    CHECK_STATUS(read_within_bound(read_and_walk, fh_buf_str(&b), &err), FH_ERR_FORMAT);
    fh_buf_release(&b);
}

/* ---- rotary settings ---- */

TEST(hf_rope, older_way) {
    fh_hf_config *c = parsed("{\"rope_theta\":5e5,\"max_position_embeddings\":4096,\"partial_rotary_factor\":0.5,"
                             "\"rope_scaling\":{\"rope_type\":\"yarn\",\"type\":\"linear\",\"factor\":4,"
                             "\"beta_fast\":0,"
                             "\"mscale\":null,\"truncate\":false}}");
    const fh_hf_ropes *r = fh_hf_config_ropes(c);
    const fh_hf_rope *e = &r->item[0];
    CHECK(r->n == 1 && e->scope == FH_ROPE_ALL && e->type == FH_ROPE_YARN);
    CHECK(e->theta == 5e5 && e->factor == 4 && e->partial == 0.5 && !e->truncate);
    CHECK(e->original_max_position == 4096 && !(e->has & FH_ROPE_HAS_ORIGINAL));
    CHECK(e->beta_fast == 32 && e->beta_slow == 1 && (e->has & FH_ROPE_HAS_BETA_FAST));
    CHECK(!(e->has & (FH_ROPE_HAS_MSCALE | FH_ROPE_HAS_BETA_SLOW | FH_ROPE_HAS_ATTENTION_FACTOR)));
    CHECK(fh_hf_ropes_find(r, FH_ROPE_SLIDING) == e);
    fh_hf_config_free(c);
    c = parsed("{\"rope_theta\":1e6,\"rope_local_base_freq\":1e4,"
               "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8}}");
    r = fh_hf_config_ropes(c);
    CHECK(r->n == 2);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_FULL)->type == FH_ROPE_LINEAR && fh_hf_ropes_find(r, FH_ROPE_FULL)->theta == 1e6);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_SLIDING)->type == FH_ROPE_DEFAULT);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_SLIDING)->theta == 1e4 && fh_hf_ropes_find(r, FH_ROPE_SLIDING)->factor == 1);
    CHECK(!fh_hf_ropes_find(r, FH_ROPE_MAIN));
    fh_hf_config_free(c);
    c = parsed("{\"rotary_pct\":0.25,\"rotary_emb_base\":10000,\"rotary_dim\":16}");
    e = &fh_hf_config_ropes(c)->item[0];
    CHECK(e->partial == 0.25 && e->theta == 10000 && e->rotary_dim == 16 && e->type == FH_ROPE_DEFAULT);
    fh_hf_config_free(c);
}

TEST(hf_rope, longrope) {
    /* What stands beside wins over what stands inside, as in the reference. */
    fh_hf_config *c = parsed("{\"max_position_embeddings\":131072,\"original_max_position_embeddings\":4096,"
                             "\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,1.5],\"long_factor\":[2,3],"
                             "\"original_max_position_embeddings\":7,\"long_mscale\":1.25}}");
    const fh_hf_rope *e = &fh_hf_config_ropes(c)->item[0];
    CHECK(e->type == FH_ROPE_LONGROPE && e->n_short == 2 && e->short_factor[1] == 1.5 && e->long_factor[1] == 3);
    CHECK(e->original_max_position == 4096 && e->factor == 32 && !(e->has & FH_ROPE_HAS_FACTOR));
    CHECK(e->long_mscale == 1.25 && (e->has & FH_ROPE_HAS_LONG_MSCALE) && !(e->has & FH_ROPE_HAS_THETA));
    fh_hf_config_free(c);
    c = parsed("{\"n_ctx\":8,\"rope_scaling\":{\"type\":\"yarn\",\"short_factor\":[1],\"long_factor\":[2]}}");
    CHECK(fh_hf_config_ropes(c)->item[0].type == FH_ROPE_LONGROPE);
    fh_hf_config_free(c);
}

TEST(hf_rope, newer_way) {
    fh_hf_config *c = parsed("{\"rope_theta\":7,"
                             "\"text_config\":{\"rope_parameters\":{\"full_attention\":{\"rope_type\":"
                             "\"proportional\",\"rope_theta\":1e6,\"partial_rotary_factor\":0.25},"
                             "\"sliding_attention\":"
                             "{\"rope_type\":\"default\"},\"linear\":{\"type\":\"default\","
                             "\"rope_theta\":3},\"note\":null}}}");
    const fh_hf_ropes *r = fh_hf_config_ropes(c);
    CHECK(r->n == 3 && r->item[2].scope == FH_ROPE_OTHER);
    CHECK_STR(r->item[2].label, "linear");
    CHECK(fh_hf_ropes_find(r, FH_ROPE_FULL)->type == FH_ROPE_PROPORTIONAL);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_FULL)->partial == 0.25 && fh_hf_ropes_find(r, FH_ROPE_SLIDING)->theta == 7);
    fh_hf_config_free(c);
    c = parsed("{\"rope_theta\":10000,\"rope_parameters\":{\"rope_theta\":1e7,\"mrope_section\":[2,1,1],"
               "\"mrope_interleaved\":true,\"llama_4_scaling_beta\":0.1},\"rope_scaling\":null}");
    const fh_hf_rope *e = &fh_hf_config_ropes(c)->item[0];
    CHECK(e->theta == 1e7 && e->n_section == 3 && e->section[0] == 2 && e->section_interleaved);
    CHECK(e->temperature_beta == 0.1 && e->scope == FH_ROPE_ALL);
    fh_hf_config_free(c);
    c = parsed("{\"rope_parameters\":{\"full_attention\":null,\"sliding_attention\":{\"rope_theta\":5}}}");
    r = fh_hf_config_ropes(c);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_FULL)->type == FH_ROPE_NONE && r->n == 2);
    fh_hf_config_free(c);
}

TEST(hf_rope, per_layer_lists_and_compressed_layers) {
    fh_hf_config *c = parsed("{\"rope_theta\":[10000,5000000],\"partial_rotary_factors\":[1,0.5]}");
    const fh_hf_ropes *r = fh_hf_config_ropes(c);
    CHECK(r->n_layer_theta == 2 && r->layer_theta[1] == 5e6 && r->n_layer_partial == 2 && r->layer_partial[1] == 0.5);
    CHECK(r->n == 1 && !(r->item[0].has & FH_ROPE_HAS_THETA));
    fh_hf_config_free(c);
    c = parsed("{\"rope_theta\":5,\"layer_rope_theta\":[0,5]}");
    r = fh_hf_config_ropes(c);
    CHECK(r->n_layer_theta == 2 && r->layer_theta[0] == 0 && r->item[0].theta == 5);
    fh_hf_config_free(c);
    c = parsed("{\"rope_theta\":1e4,\"compress_rope_theta\":16e4,\"rope_scaling\":{\"type\":\"yarn\",\"factor\":16,"
               "\"rope_theta\":1e4,\"original_max_position_embeddings\":64}}");
    r = fh_hf_config_ropes(c);
    CHECK(r->n == 2 && fh_hf_ropes_find(r, FH_ROPE_MAIN)->type == FH_ROPE_DEFAULT);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_MAIN)->theta == 1e4 && fh_hf_ropes_find(r, FH_ROPE_COMPRESS)->theta == 16e4);
    CHECK(fh_hf_ropes_find(r, FH_ROPE_COMPRESS)->type == FH_ROPE_YARN);
    fh_hf_config_free(c);
}

/* ---- damage, memory, published files ---- */

static const char RICH[] =
    "{\"architectures\":[\"A\"],\"n_layer\":2,\"layer_types\":[\"full_attention\",\"x\"],\"vocab_size\":9,"
    "\"intermediate_size\":[1,2],\"eos_token_id\":[1,2],\"n_ctx\":8,\"rope_scaling\":{\"type\":\"longrope\","
    "\"short_factor\":[1,2],\"long_factor\":[3,4],\"mrope_section\":[1,1]},\"quantization_config\":{},"
    "\"hidden_act\":\"a\"}";

TEST(hf_config, survives_lack_of_memory) { fail_every_allocation(read_and_walk, FH_STR(RICH), 3); }

TEST(hf_config, survives_damage) {
    cut_everywhere(read_and_walk, FH_STR(RICH), 1, false);
    change_everywhere(read_and_walk, FH_STR(RICH), 1);
}

TEST(hf_config, reads_committed_configs) {
    fh_buf b;
    fh_err err = {0};
    fh_hf_config *c = NULL;
    CHECK(load_file(&b, fh_test_golden(), "models/mm-gemma3/config.json"));
    CHECK_OK(fh_hf_config_parse(&c, fh_buf_str(&b), &err), err);
    CHECK_STR(fh_hf_config_model_type(c), "gemma3");
    CHECK_STR(fh_hf_config_text_model_type(c), "gemma3_text");
    CHECK(fh_hf_config_ropes(c)->n == 2 && fh_hf_config_n_architecture(c) == 1);
    fh_hf_config_free(c);
    cut_everywhere(read_and_walk, fh_buf_str(&b), 13, false);
    fh_buf_release(&b);
}

static fh_status read_generation(fh_str text, fh_err *err) {
    fh_generation_config g = {.has = UINT32_MAX};
    fh_status s = fh_generation_config_parse(&g, text, err);
    if (s != FH_OK) CHECK_U64(g.has, UINT32_MAX); /* untouched */
    return s;
}

TEST_GOLDEN(hf_config, reads_every_golden_folder) {
    fh_names names = {NULL, 0};
    fh_arena arena;
    fh_err err = {0};
    char models[FH_PATH_MAX];
    size_t n = 0;
    fh_arena_init(&arena, 1 << 20);
    CHECK_OK(fh_path_join(models, fh_test_shared(), FH_STR("models"), &err), err);
    CHECK_OK(fh_dir_list(models, &arena, &names, &err), err);
    for (size_t i = 0; i < names.n; i++) {
        char name[200];
        fh_buf b;
        snprintf(name, sizeof name, "%.*s/config.json", FH_STR_ARG(names.item[i]));
        if (load_file(&b, models, name)) {
            CHECK_OK(read_within_bound(read_and_walk, fh_buf_str(&b), &err), err);
            n++;
        }
        fh_buf_release(&b);
        snprintf(name, sizeof name, "%.*s/generation_config.json", FH_STR_ARG(names.item[i]));
        if (load_file(&b, models, name)) CHECK_OK(read_within_bound(read_generation, fh_buf_str(&b), &err), err);
        fh_buf_release(&b);
    }
    fh_arena_release(&arena);
    CHECK(n >= 100);
}

/* ---- generation_config.json ---- */

TEST(generation_config, reads_defaults_of_the_publisher) {
    fh_generation_config g;
    fh_err err = {0};
    CHECK_OK(fh_generation_config_parse(
                 &g,
                 FH_STR("{\"eos_token_id\":[7,8],\"bos_token_id\":1,\"pad_token_id\":null,\"do_sample\":true,"
                        "\"temperature\":0.6,\"top_k\":20,\"top_p\":0.95,\"repetition_penalty\":1.05,"
                        "\"max_new_tokens\":null,\"transformers_version\":\"4\"}"),
                 &err),
             err);
    CHECK_U64(g.has, FH_GEN_DO_SAMPLE | FH_GEN_TEMPERATURE | FH_GEN_TOP_K | FH_GEN_TOP_P | FH_GEN_REPETITION_PENALTY);
    CHECK(g.do_sample && g.temperature == 0.6 && g.top_k == 20 && g.top_p == 0.95 && g.repetition_penalty == 1.05);
    CHECK(g.eos.n == 2 && g.eos.item[1] == 8 && g.bos.item[0] == 1);
    CHECK(g.pad.state == FH_HF_NULL && g.decoder_start.state == FH_HF_MISSING && g.pad.n == 0);
}

static const wrong_case WRONG_GENERATION[] = {
    {"@[]", FH_ERR_FORMAT, "should be an object"},
    {"{\"temperature\":@-1}", FH_ERR_LIMIT, "generation_config.json: 'temperature' is -1"},
    {"{\"temperature\":@NaN}", FH_ERR_LIMIT, "'temperature' is NaN"},
    {"{\"temperature\":@1e308}", FH_ERR_LIMIT, "'temperature' is 1e308"},
    {"{\"temperature\":@\"1\"}", FH_ERR_FORMAT, "should be a number"},
    {"{\"top_p\":@1.01}", FH_ERR_LIMIT, "'top_p' is 1.01"},
    {"{\"top_k\":@-1}", FH_ERR_FORMAT, "'top_k' is -1"},
    {"{\"top_k\":@2147483648}", FH_ERR_LIMIT, "'top_k' is 2147483648"},
    {"{\"do_sample\":@1}", FH_ERR_FORMAT, "true or false"},
    {"{\"repetition_penalty\":@0}", FH_ERR_LIMIT, "'repetition_penalty' is 0"},
    {"{\"eos_token_id\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,@1]}", FH_ERR_FORMAT,
     "at most 32 ids"},
};

TEST(generation_config, refuses_what_is_wrong) {
    check_wrong(read_generation, WRONG_GENERATION, FH_COUNT(WRONG_GENERATION));
    fail_every_allocation(read_generation, FH_STR("{\"top_k\":1,\"a\\n\":\"\\n\"}"), 1);
}

/* A newer kind of scaling must not keep anybody from looking at the model. */
TEST(hf_config, an_unknown_rope_type_is_named) {
    fh_hf_config *c;
    fh_err err;
    CHECK_OK(fh_hf_config_parse(&c, FH_STR("{\"rope_scaling\":{\"type\":\"odd\",\"factor\":2}}"), &err), err);
    const fh_hf_rope *r = fh_hf_ropes_find(fh_hf_config_ropes(c), FH_ROPE_ALL);
    bool right = r && r->type == FH_ROPE_UNKNOWN && fh_str_is(r->type_text, "odd");
    fh_hf_config_free(c);
    CHECK(right);
}
