/* tests/unit/test_prices.c - price tables in their two published shapes, and decimal numbers.
 * SPDX-License-Identifier: Apache-2.0
 * The tables here are short ones in the shape of the published files, with the oddities that those hold. */
#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"
#include "base/rng.h"
#include "route/money.h"
#include "route/prices.h"
#include "test.h"

static const char LITELLM[] =
    "{\"sample_spec\": {\"input_cost_per_token\": 0.0, \"output_cost_per_token\": 0.0, \"litellm_provider\": \"one "
    "of\"},\n"
    " \"fallback_generalizations\": {\"rules\": [{\"name\": \"x\", \"pattern\": \"y\"}]},\n"
    " \"fireworks_ai/deepseek-v4-pro\": {\"cache_read_input_token_cost\": 1.45e-07, \"input_cost_per_token\": "
    "1.74e-06,\n"
    "   \"litellm_provider\": \"fireworks_ai\", \"max_tokens\": null, \"output_cost_per_token\": 3.48e-06},\n"
    " \"groq/odd\": {\"input_cost_per_token\": 3.0001999999999996e-07, \"litellm_provider\": \"groq\",\n"
    "   \"output_cost_per_token\": 0.0001800001, \"input_cost_per_token_above_200k_tokens\": 1e-06},\n"
    " \"1024-x-1024/picture\": {\"input_cost_per_pixel\": 1.9e-08, \"litellm_provider\": \"bedrock\"},\n"
    " \"free/one\": {\"input_cost_per_token\": 0, \"litellm_provider\": \"free\", \"output_cost_per_token\": 0,\n"
    "   \"cache_read_input_token_cost\": null, \"new\": {\"deep\": [1, {\"input_cost_per_token\": 5}]}}}\n";

static const char GENAI[] =
    "[{\"id\": \"fireworks\", \"name\": \"Fireworks\", \"extractors\": [{\"models\": 3}], \"models\": [\n"
    "  {\"id\": \"deepseek-v4-pro\", \"match\": {\"equals\": \"a\"}, \"prices_checked\": \"2026-08-04\",\n"
    "   \"prices\": {\"input_mtok\": 1.74, \"cache_read_mtok\": 0.145, \"output_mtok\": 3.48}},\n"
    "  {\"id\": \"embed\", \"prices\": {\"input_mtok\": 0.1}}]},\n"
    " {\"id\": \"deepseek\", \"models\": [\n"
    "  {\"id\": \"hours\", \"prices\": [{\"prices\": {\"input_mtok\": 0.135, \"output_mtok\": 0.55}},\n"
    "    {\"prices\": {\"input_mtok\": 0.27, \"output_mtok\": 1.1},\n"
    "     \"constraint\": {\"start_time\": \"00:30:00Z\", \"end_time\": \"16:30:00Z\"}}]},\n"
    "  {\"id\": \"dates\", \"prices\": [{\"prices\": {\"input_mtok\": 3, \"output_mtok\": 15}},\n"
    "    {\"constraint\": {\"start_date\": \"2026-09-01\"}, \"prices\": {\"input_mtok\": 2, \"output_mtok\": 10}},\n"
    "    {\"constraint\": {\"season\": \"x\"}, \"prices\": {\"input_mtok\": 9, \"output_mtok\": 9}}]},\n"
    "  {\"id\": \"long\", \"prices\": {\"input_mtok\": {\"base\": 2.5, \"tiers\": [{\"start\": 200000, \"price\": "
    "5}]},\n"
    "    \"output_mtok\": {\"base\": 15, \"tiers\": []}}}]}]\n";

static const fh_price *find(const fh_prices *p, const char *name) {
    const fh_price *at = NULL;
    fh_err err = {0};
    CHECK_OK(fh_prices_find(p, fh_str_of(name), &at, &err), err);
    return at;
}

TEST(prices, reads_litellm) {
    fh_prices *p = NULL;
    fh_err err = {0};
    CHECK_OK(fh_prices_parse(&p, FH_STR(LITELLM), FH_STR("2026-11-21"), &err), err);
    CHECK_STR(fh_str_of(fh_prices_format(p)), "LiteLLM");
    CHECK_U64(fh_prices_n(p), 3);
    CHECK_U64(fh_prices_n_left_out(p), 1); /* the one that paints */
    const fh_price *v = find(p, "fireworks_ai/deepseek-v4-pro");
    CHECK_U64(v->input, 1740000000);
    CHECK_U64(v->output, 3480000000);
    CHECK_U64(v->cached, 145000000);
    CHECK(v->has_cached && !v->tiered && !v->by_hour && v->checked_on.len == 0);
    CHECK_STR(v->provider, "fireworks_ai");
    v = find(p, "groq/odd");
    CHECK_U64(v->input, 300020000); /* 0.30001999999999996 to the billionth */
    CHECK_U64(v->output, 180000100000);
    CHECK_U64(v->cached, v->input);
    CHECK(!v->has_cached && v->tiered);
    CHECK_U64(find(p, "free/one")->input, 0);
    fh_prices_free(p);
}

TEST(prices, reads_genai) {
    static const struct {
        const char *on;
        uint64_t input;
    } day[] = {{"2026-08-31", 3}, {"2026-09-01", 2}, {"2026-11-21", 2}};
    for (size_t i = 0; i < FH_COUNT(day); i++) {
        fh_prices *p = NULL;
        fh_err err = {0};
        CHECK_OK(fh_prices_parse(&p, FH_STR(GENAI), fh_str_of(day[i].on), &err), err);
        CHECK_STR(fh_str_of(fh_prices_format(p)), "genai-prices");
        CHECK_U64(fh_prices_n(p), 4);
        CHECK_U64(fh_prices_n_left_out(p), 1);
        const fh_price *v = find(p, "fireworks/deepseek-v4-pro");
        CHECK_U64(v->cached, 145000000);
        CHECK_STR(v->checked_on, "2026-08-04");
        CHECK_U64(find(p, "deepseek/dates")->input, day[i].input * FH_FIXED_ONE);
        v = find(p, "deepseek/hours"); /* the dearest hour */
        CHECK_U64(v->output, 1100000000);
        CHECK(v->by_hour);
        v = find(p, "deepseek/long");
        CHECK_U64(v->input, 2500000000);
        CHECK(v->tiered);
        CHECK_U64(find(p, "deepseek/long")->output, 15 * FH_FIXED_ONE);
        fh_prices_free(p);
    }
}

TEST(prices, a_missing_model_is_named_with_others_like_it) {
    fh_prices *p = NULL;
    fh_err err = {0};
    const fh_price *v = NULL;
    CHECK_OK(fh_prices_parse(&p, FH_STR(GENAI), FH_STR("2026-11-21"), &err), err);
    CHECK_STATUS(fh_prices_find(p, FH_STR("somebody/DeepSeek-V4-Pro"), &v, &err), FH_ERR_NOT_FOUND);
    CHECK(v == NULL && strstr(err.message, "somebody/DeepSeek-V4-Pro") &&
          strstr(err.message, "'fireworks/deepseek-v4-pro'"));
    fh_prices_free(p);
}

TEST(prices, refuses_what_is_no_table) {
    static const char *const text[] = {
        "",
        "3",
        "\"x\"",
        "{}",
        "[]",
        "[3]",
        "[{\"models\": []}]",
        "[{\"id\": \"a\", \"models\": [3]}]",
        "[{\"id\": \"a\", \"models\": [{\"prices\": {\"input_mtok\": 1, \"output_mtok\": 1}}]}]",
        "[{\"models\": [{\"id\": \"m\", \"prices\": {\"input_mtok\": 1, \"output_mtok\": 1}}], \"id\": \"a\"}]",
        "{\"m\": {\"litellm_provider\": \"p\", \"input_cost_per_token\": -1e-6, \"output_cost_per_token\": 0}}",
        "{\"m\": {\"litellm_provider\": \"p\", \"input_cost_per_token\": \"1\", \"output_cost_per_token\": 0}}",
        "{\"m\": {\"litellm_provider\": \"p\", \"input_cost_per_token\": 1e9, \"output_cost_per_token\": 0}}",
        "{\"m\": {\"litellm_provider\": \"p\", \"input_cost_per_token\": 0, \"output_cost_per_token\": 0}} x",
    };
    for (size_t i = 0; i < FH_COUNT(text); i++) {
        fh_prices *p = NULL;
        fh_err err = {0};
        if (fh_prices_parse(&p, fh_str_of(text[i]), FH_STR("2026-11-21"), &err) == FH_OK)
            fh_test_fail(__FILE__, __LINE__, "accepted: %s", text[i]);
        CHECK(p == NULL && err.message[0]);
    }
}

/* Cut anywhere, and without memory anywhere: an error, never a crash or a leak. */
TEST(prices, truncated_or_out_of_memory) {
    static const char *const text[] = {LITELLM, GENAI};
    for (size_t t = 0; t < FH_COUNT(text); t++) {
        size_t len = strlen(text[t]);
        for (size_t cut = 0; cut + 2 < len; cut++) {
            fh_prices *p = NULL;
            CHECK(fh_prices_parse(&p, (fh_str){text[t], cut}, FH_STR("2026-11-21"), NULL) != FH_OK && !p);
        }
        for (uint64_t n = 1;; n++) {
            fh_prices *p = NULL;
            fh_fault_arm(FH_FAULT_ALLOC, n, false);
            fh_status st = fh_prices_parse(&p, (fh_str){text[t], len}, FH_STR("2026-11-21"), NULL);
            bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
            fh_fault_disarm();
            fh_prices_free(p);
            if (!hit) break;
            CHECK_STATUS(st, FH_ERR_MEMORY);
            CHECK(n < 100);
        }
    }
}

TEST(prices, opens_files_and_names_them) {
    char path[FH_PATH_MAX];
    fh_prices *p = NULL;
    fh_writer *w;
    fh_err err = {0};
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("prices.json"), &err), err);
    CHECK_STATUS(fh_prices_open(&p, path, FH_STR("2026-11-21"), &err), FH_ERR_NOT_FOUND);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, "[3]", 3, &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
    CHECK_STATUS(fh_prices_open(&p, path, FH_STR("2026-11-21"), &err), FH_ERR_FORMAT);
    CHECK(strcmp(err.path, path) == 0 && err.offset == 1);
}

/* ---- decimal numbers ---- */
TEST(prices, decimals_are_exact) {
    static const struct {
        const char *text;
        int shift;
        uint64_t want;
    } good[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"0.0", 6, 0},
        {"1", 0, 1000000000},
        {"1.74", 0, 1740000000},
        {"1.74e-06", 6, 1740000000},
        {"1e-9", 0, 1},
        {"4.9e-10", 0, 0},
        {"5e-10", 0, 1},
        {"0.00000000049999999999999999999999999", 0, 0},
        {"5e-11", 0, 0},
        {"18446744073.709551615", 0, UINT64_MAX},
        {"1E+3", 0, 1000000000000},
        {"0e999999999999", 0, 0},
        {"1e-999999999999", 0, 0},
        {"8.000000000000001e-07", 6, 800000000},
        {"9.499999999999999e-07", 6, 950000000},
        {"0.30001999999999996", 0, 300020000},
        {"12345678901234567890123e-13", 0, 1234567890123456789},
    };
    static const char *const bad[] = {"-1",
                                      "-1e-30",
                                      "18446744073.709551616",
                                      "1e30",
                                      "1e999999999999",
                                      "",
                                      "x",
                                      "1x",
                                      "NaN",
                                      "Infinity",
                                      "1.",
                                      ".5",
                                      "01",
                                      " 1",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < FH_COUNT(good); i++) {
        uint64_t v = 7;
        if (!fh_fixed_parse(fh_str_of(good[i].text), good[i].shift, &v) || v != good[i].want)
            fh_test_fail(__FILE__, __LINE__, "%s gives %llu, expected %llu", good[i].text, (unsigned long long)v,
                         (unsigned long long)good[i].want);
    }
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        uint64_t v = 7;
        if (fh_fixed_parse(fh_str_of(bad[i]), 0, &v) || v != 7) fh_test_fail(__FILE__, __LINE__, "'%s'", bad[i]);
    }
}

TEST(prices, decimals_round_trip) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 71);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = fh_rng_u64(&r) >> fh_rng_below(&r, 64), back;
        CHECK(fh_fixed_parse(fh_str_of(fh_fixed_plain(v).z), 0, &back) && back == v);
        CHECK_U64(fh_cents_of(v), v / 10000000 + (v / 1000000 % 10 >= 5));
    }
}

TEST(prices, amounts_are_printed_for_people) {
    static const struct {
        fh_money_text (*print)(uint64_t);
        uint64_t v;
        const char *want;
    } row[] = {
        {fh_cents_text, 0, "0.00"},
        {fh_cents_text, 7, "0.07"},
        {fh_cents_text, 123456789, "1,234,567.89"},
        {fh_cents_plain, 123456789, "1234567.89"},
        {fh_whole_text, 999, "999"},
        {fh_whole_text, 1000, "1,000"},
        {fh_whole_text, UINT64_MAX, "18,446,744,073,709,551,615"},
        {fh_whole_plain, 1000, "1000"},
        {fh_fixed_text, 1500000000, "1.5"},
        {fh_fixed_text, 1, "0.000000001"},
        {fh_fixed_text, 20000000000000, "20,000"},
        {fh_fixed_plain, UINT64_MAX, "18446744073.709551615"},
    };
    for (size_t i = 0; i < FH_COUNT(row); i++)
        if (strcmp(row[i].print(row[i].v).z, row[i].want) != 0)
            fh_test_fail(__FILE__, __LINE__, "%s is not %s", row[i].print(row[i].v).z, row[i].want);
}
