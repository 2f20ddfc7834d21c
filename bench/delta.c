/* bench/delta.c - the gated delta rule of the fast mode by level and number of tokens, against exact mode's.
 * SPDX-License-Identifier: Apache-2.0
 * One thread, as many heads as a layer of a published model has, each with its own state. Exact steps, fast steps and
 * chunks take turns within a round; a figure is the best of several rounds in CPU time, so that what else runs on the
 * machine counts little. CSV to standard output: microseconds a token and a layer, ratios, and the fast one's share of
 * multiplications and additions that the formula asks for (graph/cost.c counts them so). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "kernel/fast_delta.h"
#include "kernel/ref_op.h"
#include "kernel/ref_op_dot.h"

enum { HEADS = 16, MOST_TOKENS = 512, ROUNDS = 5 };

typedef struct shape {
    const char *name;
    uint32_t k_width, v_width;
} shape;

static const shape SHAPE[] = {{"qwen3.5", 128, 128}, {"olmo-hybrid", 96, 192}};

typedef struct layer {
    const shape *s;
    uint32_t n_token;
    float *q, *k, *v, *g, *beta, *out; /* [tokens, heads, width] */
    float *state;                      /* [heads, k_width, v_width] */
    float *room;
} layer;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Keys and queries of about length 1, decays and rates as sigmoids and softplus make them. */
static void fill(layer *l) {
    fh_rng rng;
    fh_rng_init(&rng, 1, 3);
    const uint64_t n = (uint64_t)MOST_TOKENS * HEADS;
    const double unit = 1.7 / (double)l->s->k_width;
    for (uint64_t i = 0; i < n * l->s->k_width; i++) {
        l->q[i] = (float)((fh_rng_f64(&rng) * 2 - 1) * unit);
        l->k[i] = (float)((fh_rng_f64(&rng) * 2 - 1) * unit * 8);
    }
    for (uint64_t i = 0; i < n * l->s->v_width; i++) l->v[i] = (float)(fh_rng_f64(&rng) * 2 - 1);
    for (uint64_t i = 0; i < n; i++) {
        l->g[i] = (float)(-0.3 * fh_rng_f64(&rng));
        l->beta[i] = (float)fh_rng_f64(&rng);
    }
}

static void run_exact(const layer *l) {
    const size_t dk = l->s->k_width, dv = l->s->v_width;
    for (size_t h = 0; h < HEADS; h++) {
        for (size_t at = h; at < (size_t)l->n_token * HEADS; at += HEADS) {
            for (size_t c = 0; c < dv; c += 32) {
                fh_dot_best()->delta(l->state + h * dk * dv + c, dv, dk, 32, l->q + at * dk, l->k + at * dk,
                                     l->v + at * dv + c, fh_ref_exp(l->g[at]), l->beta[at], l->out + at * dv + c);
            }
        }
    }
}

static void run_fast(const layer *l, void (*run)(const fh_delta_work *w)) {
    const size_t dk = l->s->k_width, dv = l->s->v_width;
    for (size_t h = 0; h < HEADS; h++) {
        const fh_delta_work w = {.n_token = l->n_token,
                                 .k_width = l->s->k_width,
                                 .n_col = l->s->v_width,
                                 .q = l->q + h * dk,
                                 .k = l->k + h * dk,
                                 .v = l->v + h * dv,
                                 .g = l->g + h,
                                 .beta = l->beta + h,
                                 .s = l->state + h * dk * dv,
                                 .out = l->out + h * dv,
                                 .q_ld = HEADS * dk,
                                 .k_ld = HEADS * dk,
                                 .v_ld = HEADS * dv,
                                 .g_ld = HEADS,
                                 .beta_ld = HEADS,
                                 .s_ld = dv,
                                 .out_ld = HEADS * dv,
                                 .room = l->room};
        run(&w);
    }
}

static void measure(layer *l, const fh_fast_delta *fast, const char *commit) {
    static const uint32_t TOKENS[] = {1, 2, 3, 4, 6, 8, 12, 16, 32, 33, 64, 512};
    for (size_t i = 0; i < FH_COUNT(TOKENS); i++) {
        double best[3] = {1e9, 1e9, 1e9};
        l->n_token = TOKENS[i];
        const int times = (int)FH_MAX(1u, 64u / l->n_token);
        for (int round = 0; round < ROUNDS; round++) {
            for (int way = 0; way < 3; way++) {
                const double start = seconds();
                for (int t = 0; t < times; t++) {
                    if (way == 0) run_exact(l);
                    if (way == 1) run_fast(l, fast->steps);
                    if (way == 2) run_fast(l, fast->chunks);
                }
                best[way] = FH_MIN(best[way], (seconds() - start) / times / l->n_token);
            }
        }
        const double fastest = FH_MIN(best[1], best[2]);
        const double flops = 7.0 * HEADS * l->s->k_width * l->s->v_width;
        printf("%s,%s,%s,%u,%.2f,%.2f,%.2f,%.2f,%.1f\n", commit, l->s->name, fast->name, l->n_token, best[0] * 1e6,
               best[1] * 1e6, best[2] * 1e6, best[0] / fastest, flops / fastest * 1e-9);
    }
}

static fh_status one_shape(const shape *s, const char *commit, fh_err *err) {
    const uint64_t n = (uint64_t)MOST_TOKENS * HEADS, dk = s->k_width, dv = s->v_width;
    const uint64_t floats = n * (2 * dk + 2 * dv + 2) + HEADS * dk * dv + fh_delta_room(dk, dv);
    float *all = fh_alloc_zero((size_t)floats, sizeof *all);
    if (all == NULL) return fh_fail_memory(err, (size_t)floats * sizeof *all);
    layer l = {.s = s, .q = all};
    l.k = l.q + n * dk;
    l.v = l.k + n * dk;
    l.out = l.v + n * dv;
    l.g = l.out + n * dv;
    l.beta = l.g + n;
    l.state = l.beta + n;
    l.room = l.state + HEADS * dk * dv;
    fill(&l);
    size_t levels;
    const fh_fast_delta *const *fast = fh_fast_delta_list(&levels);
    for (size_t i = 0; i < levels; i++) {
        if (fh_cpu_has_level(fast[i]->level)) measure(&l, fast[i], commit);
    }
    fh_free(all);
    return FH_OK;
}

int main(int argc, char **argv) {
    fh_err err = {0};
    char text[1200];
    fh_status st = FH_OK;
    printf("commit,shape,kernel,tokens,exact_us,steps_us,chunks_us,ratio,gflop_per_s\n");
    for (size_t i = 0; st == FH_OK && i < FH_COUNT(SHAPE); i++) {
        st = one_shape(&SHAPE[i], argc > 1 ? argv[1] : "unknown", &err);
    }
    if (st != FH_OK) fprintf(stderr, "bench-delta: %s\n", fh_err_text(&err, text, sizeof text));
    return fh_status_exit(st);
}
