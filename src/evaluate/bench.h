/* evaluate/bench.h - how fast a model is on this machine: prompts and generations, timed as llama-bench times them.
 * SPDX-License-Identifier: Apache-2.0
 * Of each case: sequences at their depth are prepared once and forked for every run, so that a run is the prompt
 * and the steps and nothing else. Tokens are random, each run's the same. A prompt goes in calls of n_batch tokens,
 * each of which hands out one row; a generation goes token by token, each hands out its row. The prefix cache is off.
 * Packing of weights is over before anything is timed, except in fh_bench_first_token, where it is part of the truth.
 * Encoder-decoders: a prompt is the encoder's input, generation is the decoder's. */
#ifndef FH_EVALUATE_BENCH_H
#define FH_EVALUATE_BENCH_H

#include "evaluate/bench_grid.h"
#include "evaluate/roofline.h"
#include "infer/engine.h"
#include "library/locate.h"

#define FH_BENCH_MOST_RUNS 1000

typedef struct fh_bench_result {
    uint32_t n_run;
    uint64_t ns[FH_BENCH_MOST_RUNS];
    double tokens;            /* of one run, all streams together */
    double avg_ns, stddev_ns; /* standard deviation of a sample: n - 1 */
    double avg_ts, stddev_ts; /* tokens per second: the mean of the runs' */
    uint32_t n_step;          /* batches of one run */
    fh_roofline_work work;    /* of one run */
    fh_engine_usage usage;
} fh_bench_result;

/* From n_run, ns and tokens. */
void fh_bench_result_sum_up(fh_bench_result *r);

typedef struct fh_bench fh_bench;
typedef struct fh_bench_options {
    uint32_t runs;         /* at least 1 */
    uint32_t most_streams; /* of all cases: an engine is made once for them; 0: 1 */
    bool no_warmup, exact;
    void (*ran)(void *ctx); /* after each run, warm-ups included; or NULL */
    void *ctx;
    const volatile int *stop; /* FH_ERR_CANCELLED when it is set; or NULL */
} fh_bench_options;

/* what: the rows that runs hand out, where the model has them. The model is borrowed. */
FH_MUST_USE fh_status fh_bench_new(fh_bench **out, const fh_model *model, fh_export what, const fh_bench_options *opt,
                                   fh_err *err);
void fh_bench_free(fh_bench *b); /* NULL is fine */
/* NULL, or why this case makes no sense for this model: encoders generate nothing. */
const char *fh_bench_why_not(const fh_bench *b, const fh_bench_case *c);
/* The engine of the last case is kept where it fits the next one, too. */
FH_MUST_USE fh_status fh_bench_run(fh_bench *b, const fh_bench_case *c, fh_bench_result *out, fh_err *err);

/* From opening the file to the first token behind a prompt of one, everything made anew each time: the threads of c,
 * its batches and type. The first run is not counted, so that the file is in the system's cache. tokens is 1. */
FH_MUST_USE fh_status fh_bench_first_token(const fh_location *at, fh_export what, const fh_bench_case *c,
                                           const fh_bench_options *opt, fh_bench_result *out, fh_err *err);

#endif
