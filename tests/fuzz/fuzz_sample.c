/* tests/fuzz/fuzz_sample.c - libFuzzer target for the sampler: any chain text over any bits taken for logits.
 * SPDX-License-Identifier: Apache-2.0
 * The first byte is the length of the chain's text; a number of tokens that were accepted and a mask follow, the rest
 * are floats. Beyond not crashing: what is picked is allowed and possible, a fork picks the same, probabilities sum to
 * one, a scratch that was used before changes nothing, and stop strings release what they read. */
#include <math.h>

#include "base/num.h"
#include "infer/sampler.h"
#include "infer/stop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 512

static bool all_finite(const float *row, size_t n, const uint32_t *mask) {
    for (size_t i = 0; i < n; i++)
        if ((!mask || mask[i / 32] >> (i % 32) & 1) && !(row[i] < HUGE_VALF)) return false;
    return true;
}

static void check_picks(fh_sampler *s, const float *row, size_t n, const uint32_t *mask, const uint8_t *last,
                        size_t n_last) {
    fh_sampler_scratch *x = NULL;
    fh_sampler *fork = NULL;
    const fh_candidate *list;
    size_t n_list;
    fh_pick a, b;
    FH_REQUIRE(fh_sampler_scratch_new(&x, MOST, NULL) == FH_OK);
    for (size_t i = 0; i < n_last; i++) fh_sampler_accept(s, last[i]);
    FH_REQUIRE(fh_sampler_clone(&fork, s, NULL) == FH_OK);
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        fh_err err = {0};
        fh_status st = fh_sampler_pick(s, x, row, n, mask, &a, &err);
        FH_REQUIRE(fh_sampler_pick(fork, x, row, n, mask, &b, NULL) == st);
        if (st != FH_OK) {
            FH_REQUIRE(st == FH_ERR_NOT_FOUND || (st == FH_ERR_CORRUPT && !all_finite(row, n, mask)));
            break;
        }
        FH_REQUIRE(a.token < n && a.token == b.token && a.n_candidate == b.n_candidate && a.n_candidate <= n);
        FH_REQUIRE(!mask || mask[a.token / 32] >> (a.token % 32) & 1);
        FH_REQUIRE(row[a.token] > -HUGE_VALF && row[a.token] < HUGE_VALF);
        FH_REQUIRE(a.p > 0 && a.p < 1.000001 && a.logprob < 1e-6);
        if (fh_sampler_probabilities(s, x, row, n, mask, &list, &n_list, NULL) == FH_OK) {
            for (size_t k = 0; k < n_list; k++) sum += list[k].value;
            FH_REQUIRE(fabs(sum - 1) < 1e-9);
        }
        fh_sampler_accept(s, a.token);
        fh_sampler_accept(fork, a.token);
    }
    fh_sampler_free(fork);
    fh_sampler_scratch_free(x);
}

static void check_stop(fh_str first, fh_str text) {
    const fh_str stop[] = {fh_str_first(first, 3), fh_str_drop(first, 3)};
    fh_stop *s = NULL;
    fh_buf out;
    if (fh_stop_new(&s, stop, 2, NULL) != FH_OK) return;
    fh_buf_init(&out, (size_t)1 << 20);
    for (size_t i = 0; i < text.len; i += 3)
        FH_REQUIRE(fh_stop_feed(s, fh_str_first(fh_str_drop(text, i), 3), &out, NULL) == FH_OK);
    FH_REQUIRE(fh_stop_finish(s, &out, NULL) == FH_OK);
    FH_REQUIRE(out.len <= text.len && (out.len == 0 || memcmp(out.ptr, text.ptr, out.len) == 0));
    FH_REQUIRE((fh_stop_found(s) == FH_STOP_NONE) == (out.len == text.len));
    fh_stop_free(s);
    fh_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const fh_sampler_params p = fh_sampler_defaults();
    static const fh_str breaker[] = {{"\n", 1}, {"ab", 2}},
                        piece[] = {{"a", 1}, {"b", 1}, {"\n", 1}, {"cab", 3}, {"", 0}};
    fh_sampler_steps steps = {0};
    fh_sampler *s = NULL;
    float row[MOST];
    uint32_t mask[MOST / 32] = {0};
    if (size < 3) return 0;
    size_t n_text = FH_MIN((size_t)data[0], size - 3), n_last = data[1], n_mask = data[2];
    fh_str text = {(const char *)data + 3, n_text};
    data += 3 + n_text, size -= 3 + n_text;
    n_last = FH_MIN(n_last, size);
    const uint8_t *last = data;
    data += n_last, size -= n_last;
    n_mask = FH_MIN(FH_MIN(n_mask, size), sizeof mask);
    memcpy(mask, data, n_mask);
    data += n_mask, size -= n_mask;
    size_t n = FH_MIN(size / sizeof row[0], (size_t)MOST);
    memcpy(row, data, n * sizeof row[0]);
    if (fh_sampler_steps_add_text(&steps, text, &p, NULL) == FH_OK) {
        const fh_sampler_config c = {.step = steps.ptr,
                                     .n_step = steps.len,
                                     .seed = size,
                                     .n_context = 128,
                                     .breaker = breaker,
                                     .n_breaker = 2,
                                     .piece = piece,
                                     .n_piece = FH_COUNT(piece)};
        fh_status st = fh_sampler_new(&s, &c, NULL);
        FH_REQUIRE(st == FH_OK || st == FH_ERR_LIMIT || st == FH_ERR_MEMORY);
        if (st == FH_OK) check_picks(s, row, n, n_mask > 0 ? mask : NULL, last, n_last);
    }
    check_stop(text, (fh_str){(const char *)data, size});
    fh_sampler_free(s);
    fh_sampler_steps_release(&steps);
    return 0;
}
