/* tests/unit/test_sampler.c - samplers: promises of picking, state, hostile input, chains from text and JSON.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"
#include "infer/sampler.h"
#include "test.h"

#define N_SMALL 64

static fh_err err;

typedef struct rig {
    fh_sampler_steps steps;
    fh_sampler *s;
    fh_sampler_scratch *x;
} rig;

static rig rig_new(const char *chain, size_t n_vocab, uint64_t seed) {
    const fh_sampler_params p = fh_sampler_defaults();
    rig r = {0};
    CHECK_OK(fh_sampler_steps_add_text(&r.steps, fh_str_of(chain), &p, &err), err);
    fh_sampler_config c = {.step = r.steps.ptr, .n_step = r.steps.len, .seed = seed, .n_context = 1024};
    CHECK_OK(fh_sampler_new(&r.s, &c, &err), err);
    CHECK_OK(fh_sampler_scratch_new(&r.x, n_vocab, &err), err);
    return r;
}

static void rig_free(rig *r) {
    fh_sampler_free(r->s);
    fh_sampler_scratch_free(r->x);
    fh_sampler_steps_release(&r->steps);
}

static double gauss(fh_rng *g) {
    double x = 0;
    for (int i = 0; i < 12; i++) x += fh_rng_f64(g);
    return x - 6;
}

static void fill(float *row, size_t n, fh_rng *g, double scale) {
    for (size_t i = 0; i < n; i++) row[i] = (float)(gauss(g) * scale);
}

static uint32_t pick(const rig *r, const float *row, size_t n, const uint32_t *mask) {
    fh_pick p = {0};
    CHECK_OK(fh_sampler_pick(r->s, r->x, row, n, mask, &p, &err), err);
    CHECK(p.p > 0 && p.p <= 1 + 1e-12 && fabs(p.logprob - log(p.p)) < 1e-9 && p.n_candidate > 0);
    return p.token;
}

TEST(sampler, temperature_0_is_the_argmax_and_the_lowest_id) {
    fh_rng g;
    fh_rng_init(&g, fh_test_seed(), 1);
    const char *const chains[] = {"temperature=0", "top_k=5;top_p=0.9;temperature=0", "min_p=0.1;temperature=-1"};
    for (size_t c = 0; c < FH_COUNT(chains); c++) {
        rig r = rig_new(chains[c], N_SMALL, 7);
        for (int round = 0; round < 300; round++) {
            float row[N_SMALL];
            uint32_t mask[2] = {fh_rng_u32(&g), fh_rng_u32(&g) | 1};
            size_t n = 1 + fh_rng_below(&g, N_SMALL), all = N_SMALL, some = N_SMALL;
            for (size_t i = 0; i < n; i++) row[i] = (float)fh_rng_below(&g, 6) - 3; /* many ties */
            mask[0] |= 1;
            for (size_t i = 0; i < n; i++) {
                if (all == N_SMALL || row[i] > row[all]) all = i;
                if (mask[i / 32] >> (i % 32) & 1 && (some == N_SMALL || row[i] > row[some])) some = i;
            }
            CHECK_U64(pick(&r, row, n, NULL), all);
            CHECK_U64(pick(&r, row, n, mask), some);
        }
        rig_free(&r);
    }
}

TEST(sampler, the_argmax_comes_after_bias_and_penalties) {
    const float row[4] = {1, 5, 4, 3};
    rig r = rig_new("logit_bias:token=3,bias=2.5;penalties:repeat=2,last_n=2;temperature=0", 4, 0);
    CHECK_U64(pick(&r, row, 4, NULL), 3); /* 5.5 */
    fh_sampler_accept(r.s, 3);            /* 2.75 */
    CHECK_U64(pick(&r, row, 4, NULL), 1);
    fh_sampler_accept(r.s, 1); /* 2.5 */
    CHECK_U64(pick(&r, row, 4, NULL), 2);
    fh_sampler_accept(r.s, 0); /* 3 is out of the window */
    CHECK_U64(pick(&r, row, 4, NULL), 3);
    rig_free(&r);
    r = rig_new("logit_bias:token=1,bias=-inf;top_k=2;logit_bias:token=2,bias=-inf;temperature=1", 4, 0);
    CHECK_U64(pick(&r, row, 4, NULL), 3);
    rig_free(&r);
}

/* Upper 99.99% point of chi-square with k degrees (Wilson and Hilferty). */
static double chi_square_bound(double k) {
    double z = 3.719, t = 1 - 2 / (9 * k) + z * sqrt(2 / (9 * k));
    return k * t * t * t;
}

TEST(sampler, draws_follow_the_probabilities) {
    enum { N = 12, DRAWS = 40000 };
    const char *const chains[] = {"temperature=1.3", "top_k=8;temperature=0.7", "typical_p=0.9",
                                  "dynatemp:t=1,range=0.5"};
    fh_rng g;
    float row[N];
    fh_rng_init(&g, 11, 0);
    fill(row, N, &g, 1.2);
    for (size_t c = 0; c < FH_COUNT(chains); c++) {
        rig r = rig_new(chains[c], N, 99);
        const fh_candidate *list;
        size_t n, count[N] = {0};
        double want[N] = {0}, sum = 0, chi = 0;
        CHECK_OK(fh_sampler_probabilities(r.s, r.x, row, N, NULL, &list, &n, &err), err);
        for (size_t i = 0; i < n; i++) want[list[i].id] = list[i].value, sum += list[i].value;
        CHECK(fabs(sum - 1) < 1e-12);
        for (size_t i = 0; i < DRAWS; i++) count[pick(&r, row, N, NULL)]++;
        for (size_t i = 0; i < N; i++) {
            double e = want[i] * DRAWS, d = (double)count[i] - e;
            if (want[i] > 0) chi += d * d / e;
            else CHECK_U64(count[i], 0);
        }
        CHECK(n < 2 || chi < chi_square_bound((double)n - 1));
        rig_free(&r);
    }
}

TEST(sampler, xtc_happens_as_often_as_it_says) {
    const float row[4] = {2, 2, 2, -9};
    rig r = rig_new("xtc:probability=0.25,threshold=0.1", 4, 5);
    size_t cut = 0, rounds = 20000;
    for (size_t i = 0; i < rounds; i++) {
        fh_pick p;
        CHECK_OK(fh_sampler_pick(r.s, r.x, row, 4, NULL, &p, &err), err);
        cut += p.n_candidate == 2; /* the least of the three, and the improbable one */
        CHECK(p.n_candidate == 2 || p.n_candidate == 4);
    }
    double sd = sqrt(0.25 * 0.75 / (double)rounds);
    CHECK(fabs((double)cut / (double)rounds - 0.25) < 4 * sd);
    rig_free(&r);
}

TEST(sampler, mirostat_steers_the_surprise_to_tau) {
    enum { N = 400 };
    float row[N];
    fh_rng g;
    fh_rng_init(&g, 3, 0);
    rig r = rig_new("mirostat:tau=3,eta=0.05", N, 1);
    double bits = 0;
    CHECK(fabs(fh_sampler_mu(r.s) - 6) < 1e-12);
    for (int i = 0; i < 4000; i++) {
        fh_pick p;
        fill(row, N, &g, 1.5);
        double mu = fh_sampler_mu(r.s);
        CHECK_OK(fh_sampler_pick(r.s, r.x, row, N, NULL, &p, &err), err);
        CHECK(fabs(fh_sampler_mu(r.s) - (mu - 0.05 * (-p.logprob / log(2) - 3))) < 1e-9);
        if (i >= 1000) bits -= p.logprob / log(2) / 3000;
    }
    CHECK(fabs(bits - 3) < 0.1);
    rig_free(&r);
}

static const char *const busy = "penalties:last_n=16,repeat=1.2,frequency=0.1;dry:multiplier=0.8,allowed_length=1;"
                                "top_k=30;xtc:probability=0.5,threshold=0.1;temperature=1.1;mirostat:tau=4";

static void same_road(const rig *r, fh_sampler *a, fh_sampler *b, uint64_t seed, size_t steps) {
    fh_rng g;
    fh_rng_init(&g, seed, 9);
    for (size_t i = 0; i < steps; i++) {
        float row[N_SMALL];
        fh_pick pa, pb;
        fill(row, N_SMALL, &g, 2);
        CHECK_OK(fh_sampler_pick(a, r->x, row, N_SMALL, NULL, &pa, &err), err);
        CHECK_OK(fh_sampler_pick(b, r->x, row, N_SMALL, NULL, &pb, &err), err);
        CHECK(pa.token == pb.token && pa.p >= pb.p && pa.p <= pb.p && pa.n_candidate == pb.n_candidate);
        fh_sampler_accept(a, pa.token);
        fh_sampler_accept(b, pb.token);
    }
    CHECK(fh_sampler_mu(a) >= fh_sampler_mu(b) && fh_sampler_mu(a) <= fh_sampler_mu(b));
}

TEST(sampler, a_clone_goes_the_same_way) {
    rig r = rig_new(busy, N_SMALL, 21);
    fh_sampler *fork = NULL, *back = NULL;
    fh_rng g;
    fh_rng_init(&g, 1, 1);
    for (int i = 0; i < 40; i++) {
        float row[N_SMALL];
        fill(row, N_SMALL, &g, 2);
        fh_sampler_accept(r.s, pick(&r, row, N_SMALL, NULL));
    }
    CHECK_OK(fh_sampler_clone(&fork, r.s, &err), err);
    CHECK_OK(fh_sampler_clone(&back, r.s, &err), err);
    same_road(&r, r.s, fork, 4, 100);
    /* and back: tokens that were tried in vain leave no trace */
    fh_sampler_copy(r.s, back);
    same_road(&r, r.s, back, 5, 100);
    fh_sampler_clear(r.s);
    fh_sampler_clear(fork);
    same_road(&r, r.s, fork, 6, 20);
    fh_sampler_free(fork);
    fh_sampler_free(back);
    rig_free(&r);
}

TEST(sampler, choices_of_one_seed_differ_and_repeat) {
    float row[N_SMALL] = {0};
    rig r = rig_new("temperature=1", N_SMALL, 1);
    uint32_t first[16];
    size_t same = 0;
    for (uint64_t i = 0; i < 16; i++) {
        fh_sampler_seed(r.s, 42, i);
        first[i] = pick(&r, row, N_SMALL, NULL);
        for (uint64_t j = 0; j < i; j++) same += first[i] == first[j];
    }
    CHECK(same < 16);
    for (uint64_t i = 0; i < 16; i++) {
        fh_sampler_seed(r.s, 42, i);
        CHECK_U64(pick(&r, row, N_SMALL, NULL), first[i]);
    }
    rig_free(&r);
}

/* Not a reference: a number that every machine must agree on, whatever its C library and compiler. */
TEST(sampler, every_machine_draws_these_tokens) {
    rig r = rig_new("penalties:repeat=1.1;dry:multiplier=0.5;typical_p=0.98;top_p=0.97;dynatemp:t=1.2,range=0.4", 500,
                    2026);
    static float row[500];
    fh_rng g;
    uint64_t hash = 14695981039346656037u;
    fh_rng_init(&g, 1, 2);
    for (int i = 0; i < 2000; i++) {
        fill(row, 500, &g, 2);
        uint32_t id = pick(&r, row, 500, NULL);
        fh_sampler_accept(r.s, id);
        hash = (hash ^ id) * 1099511628211u;
    }
    CHECK_U64(hash, 8726214028717068727u);
    rig_free(&r);
}

TEST(sampler, hostile_rows_give_errors) {
    float row[N_SMALL];
    fh_pick p = {.token = 77};
    const char *const chains[] = {"top_k=40;top_p=0.9",
                                  "temperature=0",
                                  "top_p=0.5",
                                  "top_k=3;temperature=0.5",
                                  "penalties:repeat=1.5;min_p=0.1",
                                  "mirostat",
                                  "xtc:probability=1;typical_p=0.5"};
    const float bad[] = {NAN, -NAN, HUGE_VALF};
    const uint32_t none[2] = {0, 0}, without_9[2] = {~(1u << 9), UINT32_MAX};
    for (size_t c = 0; c < FH_COUNT(chains); c++) {
        rig r = rig_new(chains[c], N_SMALL, 3);
        fh_sampler_accept(r.s, 9);
        for (size_t i = 0; i < N_SMALL; i++) row[i] = (float)i / 100;
        CHECK_STATUS(fh_sampler_pick(r.s, r.x, row, 0, NULL, &p, &err), FH_ERR_NOT_FOUND);
        CHECK_STATUS(fh_sampler_pick(r.s, r.x, row, N_SMALL, none, &p, &err), FH_ERR_NOT_FOUND);
        for (size_t b = 0; b < FH_COUNT(bad); b++) {
            row[9] = bad[b];
            CHECK_STATUS(fh_sampler_pick(r.s, r.x, row, N_SMALL, NULL, &p, &err), FH_ERR_CORRUPT);
            CHECK(strstr(err.message, "token 9"));
            CHECK_U64(p.token, 77);
            CHECK(pick(&r, row, N_SMALL, without_9) != 9);
        }
        for (size_t i = 0; i < N_SMALL; i++) row[i] = -HUGE_VALF;
        CHECK_STATUS(fh_sampler_pick(r.s, r.x, row, N_SMALL, NULL, &p, &err), FH_ERR_NOT_FOUND);
        row[63] = -3e38f;
        CHECK_U64(pick(&r, row, N_SMALL, NULL), 63);
        row[0] = 3e38f;
        CHECK_U64(pick(&r, row, N_SMALL, NULL), 0);
        fh_sampler_accept(r.s, UINT32_MAX); /* no token of this vocabulary */
        CHECK_U64(pick(&r, row, N_SMALL, NULL), 0);
        rig_free(&r);
    }
}

TEST(sampler, extreme_numbers_stay_numbers) {
    const char *const chains[] = {
        "temperature=1e-30;temperature=1e-30;temperature=1e-30;temperature=1e-30;temperature=1e-30;temperature=1e-30;"
        "temperature=1e-30;temperature=1e-30;temperature=1e-30;temperature=1e-30;temperature=1e-30;top_p=0.9",
        "temperature=1e30;typical_p=0.5;temperature=1e-30",
        "top_k=2147483647;min_p=1e-30",
        "top_k=1;top_p=-5;min_p=1e30;typical_p=-1",
        "penalties:repeat=1e6,frequency=1e30,presence=-1e30",
        "dry:multiplier=1e30,base=1e30,allowed_length=0",
        "dry:multiplier=-1e30,base=1e30,allowed_length=0",
        "xtc:probability=1,threshold=-1;top_n_sigma=1e30",
        "top_n_sigma=1e-30;dynatemp:t=0,range=1e30,exponent=0",
        "mirostat:tau=-1e6,eta=1e6",
        "top_p=0;top_n_sigma=0.5;typical_p=0.5;dynatemp:t=-5,range=1",
        "logit_bias:token=4294967295,bias=3;logit_bias:token=3,bias=1e30;logit_bias:token=3,bias=1e30"};
    const float rows[][4] = {
        {3e38f, -3e38f, 3e38f, 0}, {0, 0, 0, 0}, {1e-40f, -1e-40f, 0, -HUGE_VALF}, {-1, -2, -3, 50}};
    for (size_t c = 0; c < FH_COUNT(chains); c++)
        for (size_t k = 0; k < FH_COUNT(rows); k++) {
            rig r = rig_new(chains[c], 4, 3);
            for (uint32_t i = 0; i < 12; i++) {
                uint32_t id = pick(&r, rows[k], 4, NULL);
                CHECK(rows[k][id] > -HUGE_VALF);
                fh_sampler_accept(r.s, i % 3);
                fh_sampler_accept(r.s, id);
            }
            CHECK(isfinite(fh_sampler_mu(r.s)));
            rig_free(&r);
        }
}

TEST(sampler, logprobs_are_those_of_the_model) {
    enum { N = 333 };
    float row[N];
    fh_rng g;
    fh_rng_init(&g, fh_test_seed(), 8);
    for (size_t n = 1; n <= N; n += 83) {
        fh_candidate top[20];
        double all = 0, of = 0;
        size_t got = 0, n_top = n % 21;
        fill(row, n, &g, 3);
        row[n / 2] = row[0];
        for (size_t i = 0; i < n; i++) all += exp((double)row[i]);
        CHECK_OK(fh_sampler_logprobs(row, n, (uint32_t)(n - 1), &of, top, n_top, &got, &err), err);
        CHECK(fabs(of - ((double)row[n - 1] - log(all))) < 1e-9);
        CHECK_U64(got, FH_MIN(n, n_top));
        for (size_t k = 0; k < got; k++) {
            size_t before = 0; /* tokens that come before it */
            for (size_t i = 0; i < n; i++)
                before += row[i] > row[top[k].id] || (row[i] >= row[top[k].id] && i < top[k].id);
            CHECK_U64(before, k);
            CHECK(fabs(top[k].value - ((double)row[top[k].id] - log(all))) < 1e-9);
        }
    }
    CHECK_STATUS(fh_sampler_logprobs(row, 3, 3, &(double){0}, NULL, 0, NULL, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_sampler_logprobs(row, 0, 0, NULL, NULL, 0, NULL, &err), FH_ERR_NOT_FOUND);
    row[2] = NAN;
    CHECK_STATUS(fh_sampler_logprobs(row, 3, 0, NULL, NULL, 0, NULL, &err), FH_ERR_CORRUPT);
}

/* ---- chains from text, JSON, numbers ---- */

static fh_status from_text(fh_sampler_steps *l, const char *text) {
    const fh_sampler_params p = fh_sampler_defaults();
    fh_sampler_steps_release(l);
    return fh_sampler_steps_add_text(l, fh_str_of(text), &p, &err);
}

TEST(sampler, chains_are_read_from_text) {
    fh_sampler_steps l = {0};
    CHECK_OK(from_text(&l, "top-k=7; typ_p ;temp=0.5;dry:base=2,last_n=-1; logit_bias:token=3,bias=-inf;"), err);
    CHECK_U64(l.len, 5);
    CHECK(l.ptr[0].kind == FH_STEP_TOP_K && l.ptr[0].arg[0] == 7.0);
    CHECK(l.ptr[1].kind == FH_STEP_TYPICAL_P && l.ptr[1].arg[0] == 1.0);
    CHECK(l.ptr[2].kind == FH_STEP_TEMPERATURE && l.ptr[2].arg[0] == 0.5);
    CHECK(l.ptr[3].kind == FH_STEP_DRY && l.ptr[3].arg[1] == 2.0 && l.ptr[3].arg[2] == 2.0 && l.ptr[3].arg[3] == -1.0);
    CHECK(l.ptr[4].kind == FH_STEP_LOGIT_BIAS && l.ptr[4].arg[1] < -1e300);
    const char *const wrong[] = {"topk",
                                 "top_k=x",
                                 "top_k=1.5",
                                 "top_k=nan",
                                 "top_p=inf",
                                 "dry:depth=3",
                                 "dry:base",
                                 "penalties:repeat=0",
                                 "penalties:last_n=-2",
                                 "logit_bias",
                                 "logit_bias:token=1",
                                 "logit_bias:token=-1,bias=0",
                                 "logit_bias:token=1,bias=inf",
                                 "=3",
                                 ":",
                                 "top_k=",
                                 "dynatemp:exponent=-1",
                                 "temperature=1e31",
                                 "mirostat:tau=nan",
                                 "top_k=3=4"};
    for (size_t i = 0; i < FH_COUNT(wrong); i++) CHECK_STATUS(from_text(&l, wrong[i]), FH_ERR_USAGE);
    CHECK_OK(from_text(&l, ""), err);
    CHECK_U64(l.len, 0);
    fh_sampler_steps_release(&l);
}

static fh_status from_json(fh_sampler_steps *l, const char *text) {
    const fh_sampler_params p = fh_sampler_defaults();
    fh_json *doc = NULL;
    fh_sampler_steps_release(l);
    CHECK_OK(fh_json_parse(&doc, fh_str_of(text), NULL, &err), err);
    fh_status s = fh_sampler_steps_add_json(l, fh_json_root(doc), &p, &err);
    fh_json_free(doc);
    return s;
}

TEST(sampler, chains_are_read_from_json) {
    fh_sampler_steps l = {0};
    CHECK_OK(from_json(&l, "[\"top_k\",{\"sampler\":\"top_p\",\"p\":0.5},{\"sampler\":\"logit_bias\",\"token\":2,"
                           "\"bias\":false}]"),
             err);
    CHECK_U64(l.len, 3);
    CHECK(l.ptr[0].arg[0] == 40.0 && l.ptr[1].arg[0] == 0.5 && l.ptr[2].arg[1] < -1e300);
    CHECK_STATUS(from_json(&l, "{}"), FH_ERR_FORMAT);
    CHECK_STATUS(from_json(&l, "[3]"), FH_ERR_FORMAT);
    CHECK_STATUS(from_json(&l, "[{\"k\":3}]"), FH_ERR_FORMAT);
    CHECK_STATUS(from_json(&l, "[{\"sampler\":\"top_k\",\"k\":\"3\"}]"), FH_ERR_FORMAT);
    CHECK_STATUS(from_json(&l, "[{\"sampler\":\"top_k\",\"p\":3}]"), FH_ERR_USAGE);
    CHECK_STATUS(from_json(&l, "[{\"sampler\":\"top_k\",\"k\":1e99}]"), FH_ERR_USAGE);
    fh_sampler_steps_release(&l);
}

TEST(sampler, numbers_become_the_usual_chain) {
    fh_sampler_params p = fh_sampler_defaults();
    fh_sampler_steps l = {0};
    CHECK_OK(fh_sampler_steps_add_params(&l, &p, &err), err);
    CHECK_U64(l.len, 9);
    CHECK(l.ptr[0].kind == FH_STEP_PENALTIES && l.ptr[3].kind == FH_STEP_TOP_K && l.ptr[8].kind == FH_STEP_TEMPERATURE);
    fh_sampler_steps_release(&l);
    p.dynatemp_range = 0.3;
    p.mirostat = true;
    CHECK_OK(fh_sampler_steps_add_params(&l, &p, &err), err);
    CHECK(l.len == 4 && l.ptr[2].kind == FH_STEP_DYNATEMP && l.ptr[3].kind == FH_STEP_MIROSTAT);
    fh_sampler_steps_release(&l);
    p.temperature = 0;
    p.xtc_probability = 1; /* would remove the argmax */
    CHECK_OK(fh_sampler_steps_add_params(&l, &p, &err), err);
    CHECK(l.len == 3 && l.ptr[2].kind == FH_STEP_TEMPERATURE);
    fh_sampler_steps_release(&l);
    p.top_p = NAN, p.temperature = 1, p.mirostat = false;
    CHECK_STATUS(fh_sampler_steps_add_params(&l, &p, &err), FH_ERR_USAGE);
    fh_sampler_steps_release(&l);
}

TEST(sampler, ceilings_hold) {
    fh_sampler_steps l = {0};
    fh_sampler *s = NULL;
    const fh_sampler_step k = {.kind = FH_STEP_TOP_K, .arg = {5}};
    for (size_t i = 0; i < FH_SAMPLER_STEPS_MOST; i++) CHECK_OK(fh_sampler_steps_add(&l, &k, &err), err);
    CHECK_STATUS(fh_sampler_steps_add(&l, &k, &err), FH_ERR_LIMIT);
    fh_sampler_steps_release(&l);
    fh_sampler_step t = {.kind = FH_STEP_PENALTIES, .arg = {2147483647, 2, 0, 0}};
    fh_sampler_config c = {.step = &t, .n_step = 1};
    CHECK_STATUS(fh_sampler_new(&s, &c, &err), FH_ERR_LIMIT);
    t.arg[0] = -1;
    c.n_context = SIZE_MAX;
    CHECK_STATUS(fh_sampler_new(&s, &c, &err), FH_ERR_LIMIT);
    c.n_context = 0; /* nothing to look back at */
    CHECK_OK(fh_sampler_new(&s, &c, &err), err);
    fh_sampler_accept(s, 3);
    fh_sampler_free(s);
    const fh_str empty = FH_STR("");
    c.breaker = &empty, c.n_breaker = 1;
    CHECK_STATUS(fh_sampler_new(&s, &c, &err), FH_ERR_USAGE);
    c.n_breaker = FH_SAMPLER_BREAKERS_MOST + 1;
    CHECK_STATUS(fh_sampler_new(&s, &c, &err), FH_ERR_LIMIT);
}

TEST(sampler, memory_that_ends_is_a_status) {
    fh_sampler_steps l = {0};
    fh_sampler *s = NULL, *fork = NULL;
    fh_sampler_scratch *x = NULL;
    CHECK_OK(from_text(&l, busy), err);
    const fh_str breaker = FH_STR("\n");
    const fh_sampler_config c = {.step = l.ptr, .n_step = l.len, .n_context = 64, .breaker = &breaker, .n_breaker = 1};
    for (uint64_t nth = 1;; nth++) {
        fh_fault_arm(FH_FAULT_ALLOC, nth, false);
        fh_status st = fh_sampler_new(&s, &c, &err);
        if (st == FH_OK) st = fh_sampler_clone(&fork, s, &err);
        if (st == FH_OK) st = fh_sampler_scratch_new(&x, 100, &err);
        fh_fault_disarm();
        fh_sampler_free(fork);
        fh_sampler_free(s);
        fh_sampler_scratch_free(x);
        fork = s = NULL;
        if (st == FH_OK) break;
        CHECK_STATUS(st, FH_ERR_MEMORY);
        CHECK(nth < 100);
    }
    fh_sampler_steps_release(&l);
}

/* ---- the peer's chains ---- */

static double one_case(const fh_json_node *c) {
    const fh_sampler_params p = fh_sampler_defaults();
    const fh_json_node *logits = fh_json_get(c, "logits"), *previous = fh_json_get(c, "previous"),
                       *want = fh_json_get(c, "expected");
    float row[1024];
    double got[1024] = {0}, worst = 0;
    size_t n = 0;
    rig r = {0};
    for (const fh_json_node *m = fh_json_first(logits); m; m = fh_json_after(logits, m)) {
        double v = 0;
        CHECK(n < FH_COUNT(row) && fh_json_to_f64(m, &v));
        row[n++] = (float)v;
    }
    CHECK_OK(fh_sampler_steps_add_json(&r.steps, fh_json_get(c, "chain"), &p, &err), err);
    const fh_sampler_config config = {.step = r.steps.ptr, .n_step = r.steps.len, .n_context = 1024};
    CHECK_OK(fh_sampler_new(&r.s, &config, &err), err);
    CHECK_OK(fh_sampler_scratch_new(&r.x, n, &err), err);
    for (const fh_json_node *m = fh_json_first(previous); m; m = fh_json_after(previous, m)) {
        uint64_t id = 0;
        CHECK(fh_json_to_u64(m, &id));
        fh_sampler_accept(r.s, (uint32_t)id);
    }
    const fh_candidate *list;
    size_t n_list;
    CHECK_OK(fh_sampler_probabilities(r.s, r.x, row, n, NULL, &list, &n_list, &err), err);
    for (size_t i = 0; i < n_list; i++) got[list[i].id] = list[i].value;
    for (const fh_json_node *m = fh_json_first(want); m; m = fh_json_after(want, m)) {
        uint64_t id;
        double v;
        CHECK(fh_str_u64(m->key, &id) && id < n && fh_json_to_f64(m, &v));
        got[id] -= v;
    }
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs(got[i]));
    rig_free(&r);
    return worst;
}

TEST_GOLDEN(sampler, chains_of_the_peer) {
    char path[4096];
    fh_buf text;
    fh_json *doc = NULL;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/samplers.json", fh_test_shared());
    fh_buf_init(&text, (size_t)64 << 20);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&text), NULL, &err), err);
    const fh_json_node *cases = fh_json_get(fh_json_root(doc), "cases");
    for (const fh_json_node *c = fh_json_first(cases); c; c = fh_json_after(cases, c), n++) {
        fh_str name = FH_STR("?");
        (void)fh_json_to_str(fh_json_get(c, "name"), &name);
        double worst = one_case(c);
        if (!(worst <= 1e-5)) fh_test_fail(__FILE__, __LINE__, "%.*s: off by %g", FH_STR_ARG(name), worst);
    }
    CHECK(n > 0);
    fh_json_free(doc);
    fh_buf_release(&text);
}
