/* tests/unit/test_fit.c - the published figures of state, the catalogue against itself, files against their config.
 * SPDX-License-Identifier: Apache-2.0
 * Figures of state were computed by hand from the models' configurations; sizes of the catalogue are the publishers'.
 * */
#include "base/file.h"
#include "base/num.h"
#include "infer/engine.h"
#include "library/builtin.h"
#include "library/fit.h"
#include "test.h"

static fh_fit_shape S;

static void open_name(const char *name) {
    fh_err err = {0};
    const fh_catalogue_row *row = fh_catalogue_find(fh_str_of(name));
    if (!row) fh_test_fail(__FILE__, __LINE__, "'%s' is not in the catalogue", name);
    CHECK_OK(fh_fit_open_row(&S, row, &err), err);
}

/* Bytes a token, constant bytes of a sequence, and at 32768 tokens; keys and values in f16. */
TEST(fit, the_eight_published_rows_of_state) {
    static const struct {
        const char *name;
        uint64_t token, window, recurrent, at_32k;
    } row[] = {
        {"Llama-3.1-8B", 131072, 0, 0, 4294967296},
        {"Llama 3.3 70B", 327680, 0, 0, 10737418240},
        {"Qwen3-30B-A3B", 98304, 0, 0, 3221225472},
        {"DeepSeek-V3", 70272, 0, 0, 2302672896},
        {"gpt-oss-120b", 36864, 4718592, 0, 1212678144},
        {"gpt-oss-20b", 24576, 3145728, 0, 808452096},
        {"Gemma 3 27B", 81920, 436207616, 0, 3120562176},
        {"Qwen3-Next-80B-A3B", 24576, 0, 75497472 + 3538944, 884342784},
    };
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        fh_fit_state x;
        open_name(row[i].name);
        bool known = fh_fit_get_state(&S, 32768, FH_DTYPE_F16, &x);
        fh_fit_release(&S);
        CHECK(known);
        CHECK_U64(x.per_token, row[i].token);
        CHECK_U64(x.window, row[i].window);
        CHECK_U64(x.recurrent, row[i].recurrent);
        CHECK_U64(x.formula, row[i].at_32k);
    }
}

TEST(fit, state_in_eight_bits_and_before_a_window_is_full) {
    fh_fit_state x;
    open_name("Llama 3.1 8B");
    CHECK(fh_fit_get_state(&S, 1, FH_DTYPE_Q8_0, &x));
    CHECK_U64(x.per_token, 131072 / 64 * 34); /* 34 bytes for 32 numbers */
    fh_fit_release(&S);
    open_name("gpt-oss 20b");
    CHECK(fh_fit_get_state(&S, 100, FH_DTYPE_F16, &x)); /* of 128 */
    CHECK_U64(x.formula, 100 * 24576 + 100 * 24576);
    fh_fit_release(&S);
    open_name("Phi-3-mini 4k"); /* 96 wide: no multiple of 32? it is: 3 blocks */
    CHECK(fh_fit_get_state(&S, 1, FH_DTYPE_Q8_0, &x));
    CHECK(!x.fell_back);
    fh_fit_release(&S);
}

/* What the numbers of a row count up to is what its publisher says, as far as that was rounded; a model that sees has a
 * tower besides, and GLM 4.5 to 4.7 count a layer more for guessing ahead. */
TEST(fit, the_catalogue_counts_up_to_the_published_sizes) {
    size_t n, counted = 0;
    const fh_catalogue_row *row = fh_catalogue_rows(&n);
    CHECK(n >= 100);
    for (size_t i = 0; i < n; i++) {
        fh_err err = {0};
        CHECK_OK(fh_fit_open_row(&S, &row[i], &err), err);
        bool has = S.counted;
        double ratio = (double)S.n_value / (row[i].millions * 1e6);
        bool active = S.n_active <= S.n_value && S.n_active > 0;
        fh_fit_release(&S);
        if (!active) fh_test_fail(__FILE__, __LINE__, "'%s': active parameters", row[i].name);
        if (!has) continue;
        counted++;
        bool sees = strchr(row[i].can, 'V') != NULL;
        if (ratio > 1.035 || ratio < (sees ? 0.89 : 0.965))
            fh_test_fail(__FILE__, __LINE__, "'%s' counts to %.3f of its published size", row[i].name, ratio);
    }
    CHECK(counted >= 90);
}

TEST(fit, every_name_of_a_row_finds_it) {
    size_t n;
    const fh_catalogue_row *row = fh_catalogue_rows(&n);
    for (size_t i = 0; i < n; i++) {
        fh_str tail = fh_path_base(fh_str_of(row[i].repo));
        if (fh_catalogue_find(fh_str_of(row[i].name)) != &row[i] ||
            fh_catalogue_find(fh_str_of(row[i].repo)) != &row[i] || fh_catalogue_find(tail) != &row[i])
            fh_test_fail(__FILE__, __LINE__, "a name of '%s' does not find it", row[i].name);
    }
    CHECK(fh_catalogue_find(FH_STR("llama3.1:8b")) == fh_catalogue_find(FH_STR("Meta-Llama/Llama-3.1-8B-Instruct")));
    CHECK(fh_catalogue_find(FH_STR("gpt-oss:20b")) != NULL);
    CHECK(fh_catalogue_find(FH_STR("")) == NULL);
    CHECK(fh_catalogue_find(FH_STR("llama")) == NULL);
}

/* Published file sizes: Q4_K_M 4.58 GiB, Q8_0 7.95 GiB, Q6_K 6.14 GiB, 16 bits 14.96 GiB. */
TEST(fit, files_of_eight_billion_are_as_large_as_published) {
    static const struct {
        const char *name;
        double gib;
    } row[] = {{"as published", 14.96}, {"Q8_0", 7.95},   {"Q6_K", 6.14}, {"Q5_K_M", 5.33},
               {"Q4_K_M", 4.58},        {"IQ4_XS", 4.17}, {"Q2_K", 2.95}};
    size_t n;
    const fh_fit_quant *q = fh_fit_quants(&n);
    CHECK(strcmp(q[FH_FIT_USUAL].name, "Q4_K_M") == 0);
    open_name("Llama 3.1 8B");
    for (size_t i = 0; i < FH_COUNT(row); i++) {
        for (size_t k = 0; k < n; k++) {
            uint64_t bytes = 0;
            bool exact = false;
            if (strcmp(q[k].name, row[i].name) != 0) continue;
            CHECK(fh_fit_weight_bytes(&S, &q[k], &bytes, &exact) && exact);
            double off = (double)bytes / 1073741824.0 / row[i].gib - 1;
            if (off > 0.004 || off < -0.004)
                fh_test_fail(__FILE__, __LINE__, "%s: %.3f GiB", row[i].name, (double)bytes / 1073741824.0);
        }
    }
    fh_fit_release(&S);
}

TEST(fit, machines_by_the_names_that_people_type) {
    fh_fit_device d;
    fh_err err = {0};
    CHECK_OK(fh_fit_device_find(&d, FH_STR("2x A100-80"), &err), err);
    CHECK_U64(d.n, 2);
    CHECK_U64(d.memory_bytes, 160000000000);
    CHECK(d.read > 2.03e12 && d.read < 2.05e12);
    CHECK_OK(fh_fit_device_find(&d, FH_STR("NVIDIA GeForce RTX 4090"), &err), err);
    CHECK_U64(d.memory_bytes, 24000000000);
    CHECK_OK(fh_fit_device_find(&d, FH_STR("8xh200"), &err), err);
    CHECK_U64(d.n, 8);
    CHECK_STATUS(fh_fit_device_find(&d, FH_STR("0x H100"), &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_fit_device_find(&d, FH_STR("abacus"), &err), FH_ERR_NOT_FOUND);
    CHECK_STATUS(fh_fit_device_find(&d, FH_STR(""), &err), FH_ERR_NOT_FOUND);
    for (size_t i = 0; fh_fit_device_at(i, &d); i++) {
        fh_fit_device again;
        CHECK_OK(fh_fit_device_find(&again, fh_str_of(d.name), &err), err);
        CHECK(strcmp(again.name, d.name) == 0);
    }
}

/* More context never takes less; the longest that fits does, and a page more does not. */
TEST(fit, memory_grows_and_the_longest_context_is_the_longest) {
    fh_fit_device d;
    fh_err err = {0};
    size_t n;
    const fh_fit_quant *q = fh_fit_quants(&n);
    CHECK_OK(fh_fit_device_find(&d, FH_STR("RTX 4090"), &err), err);
    open_name("Gemma 3 27B");
    fh_fit_ask ask = {.context = 1, .slots = 2, .kv_type = FH_DTYPE_F16};
    uint64_t last = 0;
    for (; ask.context < 40000; ask.context += 777) {
        fh_fit_answer a = fh_fit_judge(&S, &d, &ask, &q[FH_FIT_USUAL]);
        CHECK(a.known && a.state_known);
        CHECK_U64(a.need, a.weights + a.state + a.scratch + a.overhead);
        CHECK(a.need >= last);
        last = a.need;
        if (!a.most_context) continue;
        CHECK(a.fits == (ask.context <= a.most_context));
    }
    fh_fit_release(&S);
}

/* The roofline by hand: bytes that a token touches, over the share of the reading speed. */
TEST(fit, decoding_is_bound_by_the_bytes_that_a_token_touches) {
    fh_fit_device d;
    fh_err err = {0};
    size_t n;
    const fh_fit_quant *q = fh_fit_quants(&n);
    CHECK_OK(fh_fit_device_find(&d, FH_STR("H100"), &err), err);
    fh_fit_ask ask = {.context = 1, .slots = 1, .kv_type = FH_DTYPE_F16};
    open_name("Llama 2 7B");
    fh_fit_answer a = fh_fit_judge(&S, &d, &ask, &q[0]);
    double bytes = 2 * (6738415616.0 - 131072000.0) + (double)a.state; /* without the table of tokens */
    fh_fit_release(&S);
    double want = 1 / (bytes / (3350e9 * 0.65) + 0.0001);
    CHECK(a.decode_by_memory);
    if (a.decode > want * 1.001 || a.decode < want * 0.999)
        fh_test_fail(__FILE__, __LINE__, "%.2f tokens a second, by hand %.2f", a.decode, want);
    /* of 128 experts 8 are read for one sequence, nearly all for 64 */
    open_name("Qwen3-30B-A3B");
    fh_fit_answer one = fh_fit_judge(&S, &d, &ask, &q[0]);
    fh_fit_ask prompt = {.context = 2048, .slots = 1, .kv_type = FH_DTYPE_F16};
    CHECK(fh_fit_judge(&S, &d, &prompt, &q[0]).prefill > 10 * one.decode);
    ask.slots = 64;
    fh_fit_answer many = fh_fit_judge(&S, &d, &ask, &q[0]);
    fh_fit_release(&S);
    CHECK(one.decode > 300 && one.decode < 360);
    CHECK(many.decode_all > many.decode && many.decode_all < 64 * many.decode / 4);
}

TEST(fit, what_is_not_known_stays_unknown) {
    fh_err err = {0};
    fh_fit_state x;
    size_t n;
    bool exact;
    uint64_t bytes;
    const fh_fit_quant *q = fh_fit_quants(&n);
    CHECK_OK(fh_fit_open_config(&S, FH_STR("{\"model_type\": \"newest\", \"hidden_size\": 64}"), FH_STR("x"), &err),
             err);
    CHECK_U64(S.n_value, 0);
    CHECK(!fh_fit_get_state(&S, 10, FH_DTYPE_F16, &x));
    for (size_t i = 0; i < n; i++) CHECK(!fh_fit_weight_bytes(&S, &q[i], &bytes, &exact));
    fh_fit_release(&S);
    CHECK_OK(fh_fit_open_config(&S, FH_STR("{\"model_type\": \"llama\"}"), FH_STR("x"), &err), err);
    CHECK(!S.counted);
    CHECK(!S.state_known);
    fh_fit_release(&S);
    CHECK_STATUS(fh_fit_open_config(&S, FH_STR("{\"model_type\": "), FH_STR("x"), &err), FH_ERR_FORMAT);
    CHECK_STATUS(fh_fit_open(&S, "no-such-model", &err), FH_ERR_NOT_FOUND);
    open_name("DeepSeek V4 Pro");
    CHECK(!S.state_known && S.n_value == 1600000000000);
    fh_fit_release(&S);
}

/* Numbers out of a hostile config: refused or unknown, never a wrong sum. */
TEST(fit, huge_numbers_do_not_wrap) {
    fh_err err = {0};
    static const char text[] =
        "{\"model_type\": \"llama\", \"num_hidden_layers\": 4096, \"hidden_size\": 1048576, \"num_attention_heads\": "
        "65536, \"head_dim\": 65536, \"intermediate_size\": 16777216, \"vocab_size\": 67108864}";
    CHECK_OK(fh_fit_open_config(&S, FH_STR(text), FH_STR("x"), &err), err);
    CHECK(S.n_value == 0 || S.n_value > (uint64_t)1 << 50);
    fh_fit_release(&S);
}

/* Against what an engine really allocates for it, and with the weights taken away. */
static void compare_model(const char *path, uint32_t tokens) {
    fh_err err = {0};
    fh_location at;
    fh_bundle *b;
    fh_model *m;
    fh_engine *e;
    fh_fit_state x;
    CHECK_OK(fh_fit_open(&S, path, &err), err);
    CHECK(fh_fit_get_state(&S, tokens, FH_DTYPE_F16, &x));
    CHECK_OK(fh_locate(&at, path, &err), err);
    CHECK_OK(fh_location_open(&b, &at, &err), err);
    uint64_t bytes = 0;
    const fh_weights *all = fh_bundle_weights(b);
    for (size_t i = 0; i < all->n; i++) bytes += fh_weight_stored_bytes(&all->item[i]);
    CHECK_OK(fh_model_load(&m, b, &err), err);
    const fh_engine_options options = {.threads = 1, .kv_type = FH_DTYPE_F16, .exact = true};
    CHECK_OK(fh_engine_new(&e, m, &options, &err), err);
    bool both = fh_model_plan(m, FH_PLAN_ENCODE) != NULL;
    fh_engine_memory told = fh_engine_foretell(e, tokens, both ? tokens : 0);
    fh_engine_free(e);
    fh_model_free(m);
    uint64_t stored = S.stored_bytes;
    fh_fit_release(&S);
    CHECK_U64(stored, bytes);
    CHECK_U64(x.paged, told.state);
}

TEST(fit, files_take_what_was_foretold) {
    static const char *const name[] = {"models/qwen35-moe", "models/deepseek-v3",      "models/t5",
                                       "models/mm-gemma3",  "gguf/gpt-oss-mxfp4.gguf", "models/qwen3-embedding",
                                       "models/bert"};
    static const uint32_t tokens[] = {1, 31, 33, 300, 1500};
    for (size_t i = 0; i < FH_COUNT(name); i++) {
        char path[FH_PATH_MAX];
        fh_err err = {0};
        CHECK_OK(fh_path_join(path, fh_test_golden(), fh_str_of(name[i]), &err), err);
        for (size_t k = 0; k < FH_COUNT(tokens); k++) compare_model(path, tokens[k]);
    }
}

/* A config.json alone says as much as the files: parameters to a hundredth, state to the byte. */
TEST(fit, a_config_alone_says_what_the_weights_say) {
    static const char *const name[] = {"models/qwen35-moe", "models/deepseek-v3", "models/llama-sharded",
                                       "models/qwen3-embedding"};
    for (size_t i = 0; i < FH_COUNT(name); i++) {
        char path[FH_PATH_MAX], config[FH_PATH_MAX];
        fh_err err = {0};
        fh_fit_state with, without;
        CHECK_OK(fh_path_join(path, fh_test_golden(), fh_str_of(name[i]), &err), err);
        CHECK_OK(fh_path_join(config, path, FH_STR("config.json"), &err), err);
        CHECK_OK(fh_fit_open(&S, path, &err), err);
        CHECK(fh_fit_get_state(&S, 777, FH_DTYPE_Q8_0, &with));
        uint64_t n = S.n_value, active = S.n_active, stored = S.stored_bytes;
        fh_fit_release(&S);
        CHECK_OK(fh_fit_open(&S, config, &err), err);
        CHECK(fh_fit_get_state(&S, 777, FH_DTYPE_Q8_0, &without));
        uint64_t n2 = S.n_value, active2 = S.n_active, stored2 = S.stored_bytes;
        fh_fit_release(&S);
        CHECK(n2 * 100 >= n * 99 && n2 * 100 <= n * 101);
        CHECK(active2 * 100 >= active * 99 && active2 * 100 <= active * 101);
        CHECK(stored2 * 100 >= stored * 99 && stored2 * 100 <= stored * 101);
        CHECK_U64(without.paged, with.paged);
        CHECK_U64(without.formula, with.formula);
    }
}
