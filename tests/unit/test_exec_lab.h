/* tests/unit/test_exec_lab.h - small plans of an op or two, run in every way that must not matter.
 * SPDX-License-Identifier: Apache-2.0
 * Inputs are tables that tokens look up (token t has id t), so a test knows every number that goes in. */
#ifndef FH_TESTS_UNIT_TEST_EXEC_LAB_H
#define FH_TESTS_UNIT_TEST_EXEC_LAB_H

#include "base/rng.h"
#include "device/exec.h"
#include "test.h"

enum { LAB_MAX = 24, LAB_SEQ = 4 };

typedef struct lab {
    fh_arena arena;
    fh_plan_builder *b;
    fh_matrix matrix[LAB_MAX];
    fh_weight weight[LAB_MAX];
    const fh_weight *one[LAB_MAX];
    fh_tensor tensor[LAB_MAX];
    float *dense[LAB_MAX]; /* the weights as f32, [stored rows, cols] */
    fh_vector vector[LAB_MAX];
    fh_state state[LAB_MAX];
    fh_state_group group[FH_MAX_GROUPS];
    fh_plan tables, plan;
    uint32_t n_seq, len[LAB_SEQ], n_token, encoder_rows;
    const fh_adapter_set *adapters[LAB_SEQ];
    fh_rng rng;
    bool keep;            /* values keep their memory */
    uint64_t slot_floats; /* of a sequence's recurrent state, once lab_steps runs */
} lab;

typedef struct lab_way {
    int threads;
    uint32_t page, chunk; /* chunk: tokens of a sequence in one step */
    fh_dtype type;
} lab_way;

void lab_init(lab *l, uint64_t stream, uint32_t n_seq, const uint32_t *len);
void lab_release(lab *l);
float lab_random(lab *l); /* about normal */
float *lab_floats(lab *l, size_t n);
uint32_t lab_below(lab *l, uint32_t n);

uint32_t lab_matrix(lab *l, fh_dtype type, uint64_t rows, uint64_t cols); /* plain, whole */
uint32_t lab_vector(lab *l, uint64_t n);
uint32_t lab_state(lab *l, fh_state s, uint32_t window);
fh_view lab_input(lab *l, uint32_t width); /* a random row for every token: dense[its matrix] */
fh_view lab_out(lab *l, uint32_t width);
fh_op *lab_op(lab *l, fh_op_kind kind);
const float *lab_table(const lab *l, fh_view v); /* of lab_input */
void lab_end(lab *l, fh_view export);            /* fails the test where the check refuses */

/* Rows of what is exported, by token: [tokens of all sequences, width]. The caller frees v. */
typedef struct lab_rows {
    float *v;
    size_t n, width; /* n: floats */
} lab_rows;
lab_rows lab_rows_new(const lab *l);
void lab_keep_rows(const lab_rows *to, const fh_exec *x, const fh_batch *b); /* of a step that was run */

/* Every step of all sequences, in fresh memory that is NaN wherever nothing was written. */
typedef void lab_step_fn(void *ctx, fh_exec *x, const fh_batch *b);
void lab_steps(lab *l, const lab_way *way, lab_step_fn *fn, void *ctx);
lab_step_fn lab_exact_step; /* runs it; ctx: lab_rows, where its rows are kept */

/* The exported rows; the caller frees them. */
float *lab_run(lab *l, const lab_way *way);
/* The plain way (1 thread, page 32, all at once, f32 state), after finding all ways the same bits. split: sequences
 * may come in pieces. */
float *lab_run_all(lab *l, bool split);
double lab_nmse(const float *got, const double *want, size_t n);
#define CHECK_NMSE(got, want, n, most) \
    do { \
        double e_ = lab_nmse((got), (want), (n)); \
        if (!(e_ <= (most))) \
            fh_test_fail(__FILE__, __LINE__, "%s: NMSE %g is more than %g", #got, e_, (double)(most)); \
    } while (0)

#endif
