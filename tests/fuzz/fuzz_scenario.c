/* tests/fuzz/fuzz_scenario.c - libFuzzer target for what freehold cost reads: scenarios, price tables, --set.
 * SPDX-License-Identifier: Apache-2.0
 * Each input is taken for all three. Beyond not crashing: a bill is the sum of its lines, spending never falls with
 * time, prices stay in range, a refusal has a message and names no byte outside the text, memory stays within its
 * bound and nothing leaks. */
#include "base/num.h"
#include "route/cost.h"
#include "route/money.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static fh_cost_scenario S;

static void walk_month(size_t option) {
    fh_cost_result m;
    fh_err err = {0};
    uint64_t sum = 0, last = 0, cents;
    if (fh_cost_month(&S, option, &m, &err) != FH_OK) {
        FH_REQUIRE(err.status == FH_ERR_LIMIT && err.message[0]);
        return;
    }
    FH_REQUIRE(m.n_line <= FH_COST_MAX_LINES);
    for (size_t k = 0; k < m.n_line; k++) sum += m.line[k].cents;
    FH_REQUIRE(sum == m.month_cents && m.running_cents + m.interest_cents <= m.month_cents);
    for (uint64_t months = 0; months <= 240; months += 24) {
        if (fh_cost_spent(&m, months, &cents, NULL) != FH_OK) break;
        FH_REQUIRE(cents >= last);
        last = cents;
    }
    (void)fh_cost_breakeven_tokens(&S, &m, &m);
    (void)fh_cost_payback(&m, &m);
}

static fh_status read_scenario(fh_str text, fh_err *err) {
    fh_status st = fh_cost_read(&S, text, err);
    if (st == FH_OK) st = fh_cost_use_prices(&S, NULL, (fh_str){NULL, 0}, err);
    if (st == FH_OK) st = fh_cost_complete(&S, err);
    for (size_t i = 0; st == FH_OK && i < S.n_option; i++) walk_month(i);
    if (st == FH_OK) (void)fh_cost_compare_quality(&S);
    fh_cost_release(&S);
    return st;
}

static fh_status read_prices(fh_str text, fh_err *err) {
    fh_prices *p = NULL;
    const fh_price *found = NULL;
    fh_status st = fh_prices_parse(&p, text, FH_STR("2026-11-21"), err);
    FH_REQUIRE((st == FH_OK) == (p != NULL));
    if (!p) return st;
    FH_REQUIRE(fh_prices_n(p) > 0);
    for (size_t i = 0; i < fh_prices_n(p); i++) {
        const fh_price *v = fh_prices_at(p, i);
        const uint64_t most = FH_FIXED_ONE * FH_FIXED_ONE;
        FH_REQUIRE(v->input <= most && v->output <= most && v->cached <= most && fh_utf8_valid(v->name));
        if (i < 8) FH_REQUIRE(fh_prices_find(p, v->name, &found, NULL) == FH_OK && fh_str_eq(found->name, v->name));
    }
    fh_prices_free(p);
    return st;
}

static fh_status read_set(fh_str text, fh_err *err) {
    fh_status st = fh_cost_read(&S, fh_cost_example(), err);
    FH_REQUIRE(st == FH_OK);
    st = fh_cost_set(&S, text, FH_STR("2026-11-21"), err);
    if (st == FH_OK && fh_cost_complete(&S, NULL) == FH_OK)
        for (size_t i = 0; i < S.n_option; i++) walk_month(i);
    fh_cost_release(&S);
    return st;
}

static void check(fh_status (*read)(fh_str, fh_err *), fh_str text) {
    fh_err err = {0};
    uint64_t live = fh_mem_get_stats().live_bytes;
    fh_mem_reset_peak();
    fh_status st = read(text, &err);
    FH_REQUIRE(fh_mem_get_stats().peak_bytes - live <= 8 * (uint64_t)text.len + (16u << 20));
    FH_REQUIRE(fh_mem_get_stats().live_bytes == live);
    if (st != FH_OK) FH_REQUIRE(err.status == st && err.message[0]);
    if (st != FH_OK) FH_REQUIRE(err.offset <= text.len || err.offset == FH_NO_OFFSET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fh_str text = {(const char *)data, size};
    check(read_scenario, text);
    check(read_prices, text);
    check(read_set, text);
    return 0;
}
