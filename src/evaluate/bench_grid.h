/* evaluate/bench_grid.h - which runs a benchmark consists of: lists of parameters and every combination of them.
 * SPDX-License-Identifier: Apache-2.0
 * Lists, ranges, defaults and the order of combinations are llama-bench's, so that a command line works with both and
 * their rows can be laid side by side. */
#ifndef FH_EVALUATE_BENCH_GRID_H
#define FH_EVALUATE_BENCH_GRID_H

#include "base/mem.h"
#include "tensor/dtype.h"

#define FH_BENCH_LIST_MOST 64
#define FH_BENCH_MOST_STREAMS 256
#define FH_BENCH_MOST_CASES 4096

typedef struct fh_bench_list {
    uint32_t v[FH_BENCH_LIST_MOST];
    size_t n;
} fh_bench_list;

typedef struct fh_bench_grid {
    fh_bench_list n_prompt, n_gen, n_depth, n_batch, n_ubatch, n_threads, n_streams;
    fh_bench_list pg_prompt, pg_gen; /* pairs */
    fh_bench_list type_k, type_v;    /* fh_dtype; one of them alone holds for both */
    uint32_t usable_threads;         /* what is taken where none is given */
} fh_bench_grid;

typedef struct fh_bench_case {
    uint32_t n_prompt, n_gen, n_depth;
    uint32_t n_streams; /* sequences that go together through generation; 1 where a prompt is timed */
    uint32_t n_batch;   /* tokens of a prompt per call: each call hands out one result */
    uint32_t n_ubatch;  /* tokens per batch */
    uint32_t n_threads;
    fh_dtype kv_type;
} fh_bench_case;

/* Appends "1,2", "1-8", "1-8+2", "1-8*2"; every number in [least, most], else FH_ERR_USAGE that names the option. */
FH_MUST_USE fh_status fh_bench_list_add(fh_bench_list *l, const char *text, const char *option, uint32_t least,
                                        uint32_t most, fh_err *err);
FH_MUST_USE fh_status fh_bench_list_add_types(fh_bench_list *l, const char *text, const char *option, fh_err *err);
/* "PROMPT,GEN" */
FH_MUST_USE fh_status fh_bench_grid_add_pair(fh_bench_grid *g, const char *text, fh_err *err);

/* pp512 and tg128, 2048 in batches of 512, f16, one stream, all threads: wherever a list is empty. */
void fh_bench_grid_set_defaults(fh_bench_grid *g);
/* Every combination, fh_free is the caller's. Defaults must have been set. */
FH_MUST_USE fh_status fh_bench_grid_cases(const fh_bench_grid *g, fh_bench_case **out, size_t *n, fh_err *err);

#define FH_BENCH_NAME 64
/* "pp512", "tg128", "pp512+tg128", "tg128 x8", "tg128 @ d4096"; returns out. */
const char *fh_bench_case_name(const fh_bench_case *c, char out[FH_BENCH_NAME]);

#endif
