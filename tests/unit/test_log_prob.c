/* tests/unit/test_log_prob.c - log-probabilities of a row, packed and compared, against the C library's double.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "kernel/log_prob.h"
#include "kernel/pool_rows.h"
#include "test.h"

enum { MOST = 300 };

static void random_row(fh_rng *rng, float *x, size_t n, float width) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(fh_rng_f64(rng) - 0.5) * width;
}

static double naive_log_sum(const float *x, size_t n, float top) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)top);
    return log(sum);
}

TEST(log_prob, norm) {
    float x[MOST];
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 1);
    for (size_t n = 1; n <= MOST; n++) {
        random_row(&rng, x, n, n % 3 ? 30.0f : 400.0f);
        const fh_log_norm norm = fh_log_prob_norm(x, n);
        float top = x[0];
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            if (x[i] > top) top = x[best = i];
        CHECK(norm.top == top && norm.best == best);
        CHECK(fabs(norm.log_sum - naive_log_sum(x, n, top)) < 1e-9);
    }
}

TEST(log_prob, odd_rows) {
    float x[5] = {1, 3, 3, 2, -INFINITY};
    fh_log_norm norm = fh_log_prob_norm(x, 5);
    CHECK(norm.best == 1 && isfinite(norm.log_sum)); /* the first of equals; what is impossible may be */
    x[4] = NAN;
    CHECK(!isfinite(fh_log_prob_norm(x, 5).log_sum));
    x[4] = INFINITY;
    CHECK(!isfinite(fh_log_prob_norm(x, 5).log_sum));
    x[4] = 0;
    x[0] = NAN;
    CHECK(!isfinite(fh_log_prob_norm(x, 5).log_sum));
}

/* What is unpacked is within half a step, and never further below the best than 16. */
TEST(log_prob, packed) {
    float x[MOST];
    uint8_t codes[2 * MOST];
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 2);
    for (int times = 0; times < 200; times++) {
        const size_t n = 2 + fh_rng_below(&rng, MOST - 2);
        random_row(&rng, x, n, times % 2 ? 20.0f : 100.0f);
        const fh_log_norm norm = fh_log_prob_norm(x, n);
        const fh_log_packed p = fh_log_prob_pack(x, n, &norm, codes);
        for (size_t i = 0; i < n; i++) {
            double want = fh_log_prob_at(&norm, x[i]), least = -16 - norm.log_sum;
            want = want > least ? want : least;
            CHECK(fabs((double)fh_log_prob_unpack(&p, i) - want) <= 0.51 * (double)p.scale + 4e-6);
        }
        const uint8_t *top = codes + 2 * norm.best;
        CHECK(top[0] == 0xff && top[1] == 0xff);
    }
    const float flat[3] = {7, 7, 7};
    const fh_log_norm norm = fh_log_prob_norm(flat, 3);
    const fh_log_packed p = fh_log_prob_pack(flat, 3, &norm, codes);
    CHECK(p.scale == 0 && fabs((double)fh_log_prob_unpack(&p, 2) + log(3)) < 1e-6);
}

TEST(log_prob, divergence) {
    float x[MOST], y[MOST];
    uint8_t codes[2 * MOST];
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 3);
    for (int times = 0; times < 200; times++) {
        const size_t n = 2 + fh_rng_below(&rng, MOST - 2);
        random_row(&rng, x, n, 12.0f);
        random_row(&rng, y, n, 12.0f);
        const fh_log_norm base = fh_log_prob_norm(x, n), norm = fh_log_prob_norm(y, n);
        const fh_log_packed p = fh_log_prob_pack(x, n, &base, codes);
        double want = 0;
        for (size_t i = 0; i < n; i++) {
            const double lp = (double)fh_log_prob_unpack(&p, i);
            if (lp > -16) want += exp(lp) * (lp - ((double)y[i] - (double)norm.top - norm.log_sum));
        }
        uint32_t best;
        const double got = fh_log_prob_divergence(&p, y, n, &norm, &best);
        CHECK(fabs(got - want) <= 1e-9 * (1 + fabs(want)));
        CHECK(best <= base.best && fh_log_prob_unpack(&p, best) == fh_log_prob_unpack(&p, base.best));
        CHECK(fabs(fh_log_prob_divergence(&p, x, n, &base, &best)) < 1e-3); /* of itself: what packing lost */
    }
}

TEST(log_prob, between) {
    float x[MOST], y[MOST];
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 4);
    for (int times = 0; times < 200; times++) {
        const size_t n = 1 + fh_rng_below(&rng, MOST);
        random_row(&rng, x, n, 60.0f);
        random_row(&rng, y, n, 60.0f);
        const fh_log_norm p = fh_log_prob_norm(x, n), q = fh_log_prob_norm(y, n);
        const double all_x = naive_log_sum(x, n, p.top), all_y = naive_log_sum(y, n, q.top);
        double want = 0;
        for (size_t i = 0; i < n; i++) {
            const double ln_p = (double)x[i] - (double)p.top - all_x, ln_q = (double)y[i] - (double)q.top - all_y;
            want += exp(ln_p) * (ln_p - ln_q);
        }
        CHECK(fabs(fh_log_prob_between(x, &p, y, &q, n) - want) <= 1e-9 * (1 + want));
        CHECK(fh_log_prob_between(x, &p, x, &p, n) == 0);
    }
}

TEST(log_prob, squares) {
    const float row[3] = {2, -3, 0.5f};
    double sum[3] = {1, 0, 0};
    fh_pool_add_squares(sum, row, 3);
    fh_pool_add_squares(sum, row, 2);
    CHECK(sum[0] == 9 && sum[1] == 18 && sum[2] == 0.25);
}
