/* bench/attend.c - attention of the fast mode by level, state type, depth and batch.
 * SPDX-License-Identifier: Apache-2.0
 * Attention of several layers of one shape over state that was filled with random rows, best of several passes, next
 * to the ceilings of the same threads measured in the same run. A row says how many bytes of state one pass reads (each
 * row once, whatever the kernel does), how many multiplications and additions the unmasked pairs need, and which
 * shares of the ceilings that is. CSV to standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rng.h"
#include "device/cpu_fast.h"
#include "evaluate/ceilings.h"
#include "kernel/attend.h"
#include "kernel/decode.h"

enum { PAGE = 32, MAX_LAYER = 16, MAX_TOKENS = 512, PASSES = 5 };

typedef struct shape {
    const char *name;
    fh_state_kind kind;
    uint32_t heads, key_heads, k_width, v_width, layers;
} shape;

static const shape SHAPE[] = {{"llama-1b", FH_STATE_KV, 32, 8, 64, 64, 16},
                              {"llama-8b", FH_STATE_KV, 32, 8, 128, 128, 8},
                              {"mla-16", FH_STATE_LATENT, 16, 1, 576, 512, 8}};

typedef struct bench {
    const shape *s;
    fh_arena arena;
    fh_matrix matrix;
    fh_weight weight;
    const fh_weight *one;
    fh_tensor tensor;
    fh_state state[MAX_LAYER];
    fh_state_group group;
    fh_state_place place[MAX_LAYER];
    fh_state_layout layout;
    fh_plan tables, plan;
    fh_exec *exec;
    uint8_t **page;
    uint32_t n_page;
    bool exact;
} bench;

static fh_status make_plan(bench *b, fh_err *err) {
    const shape *s = b->s;
    const uint32_t width = s->heads * s->k_width;
    fh_plan_builder *p = NULL;
    fh_rng rng;
    float *row = fh_arena_alloc(&b->arena, width, sizeof *row);
    if (row == NULL) return fh_arena_fail(&b->arena, err);
    fh_rng_init(&rng, 1, 2);
    for (uint32_t i = 0; i < width; i++) row[i] = (float)(fh_rng_f64(&rng) * 4 - 2);
    b->tensor = (fh_tensor){FH_STR("q"), FH_DTYPE_F32, {2, {1, width}}, {(uint8_t *)row, width * sizeof *row}, 0, 0};
    b->weight = (fh_weight){.name = FH_STR("q"), .shape = {2, {1, width}}, .codes = &b->tensor, .layout = ""};
    b->one = &b->weight;
    b->matrix = (fh_matrix){
        .name = FH_STR("q"), .weight = &b->one, .n_weight = 1, .n_mat = 1, .out = 1, .in = width, .step = 1};
    for (uint32_t i = 0; i < s->layers; i++) {
        b->state[i] = (fh_state){
            .name = FH_STR("kv"), .kind = s->kind, .heads = s->key_heads, .k_width = s->k_width, .v_width = s->v_width};
    }
    b->group = (fh_state_group){.kind = s->kind};
    b->tables = (fh_plan){
        .matrix = &b->matrix, .n_matrix = 1, .state = b->state, .n_state = s->layers, .group = &b->group, .n_group = 1};
    FH_TRY(fh_plan_begin(&p, &b->arena, FH_STR("bench"), err));
    const fh_view q = fh_plan_value(p, FH_DIM_TOKENS, 1, width, "q");
    const fh_view out = fh_plan_value(p, FH_DIM_TOKENS, 1, s->heads * s->v_width, "out");
    fh_op *o = fh_plan_add_op(p, FH_OP_EMBED, 0);
    if (o != NULL) {
        o->matrix = 0;
        o->out[0] = q;
        o->u.embed.scale = 1;
    }
    for (uint32_t i = 0; i < s->layers; i++) {
        o = fh_plan_add_op(p, FH_OP_STORE, (int32_t)i);
        if (o == NULL) break;
        o->in[0] = fh_view_cols(q, 0, s->key_heads * s->k_width);
        if (s->kind != FH_STATE_LATENT) o->in[1] = fh_view_cols(q, 0, s->key_heads * s->v_width);
        o->state = i;
    }
    for (uint32_t i = 0; i < s->layers; i++) {
        o = fh_plan_add_op(p, FH_OP_ATTEND, (int32_t)i);
        if (o == NULL) break;
        o->in[0] = fh_view_heads(q, s->heads, s->k_width, s->k_width);
        o->out[0] = out;
        o->state = i;
        o->u.attend = (fh_attend_args){.mask = FH_MASK_CAUSAL, .scale = 0.1f};
    }
    fh_plan_export(p, FH_EXPORT_HIDDEN, out);
    const fh_status st = fh_plan_end(p, &b->tables, &b->plan, err);
    fh_plan_drop(p);
    return st;
}

static uint64_t row_bytes(fh_dtype t, uint32_t width) {
    uint64_t n = 0;
    return fh_dtype_bytes(t, width, &n) ? n : 0;
}

/* Pages of `rows` rows of every layer, one after another as a session takes them. */
static fh_status make_pages(bench *b, uint32_t rows, fh_err *err) {
    fh_rng rng;
    const uint64_t bytes = b->layout.page_bytes[0];
    float values[32];
    uint8_t unit[256];
    b->n_page = (rows + PAGE - 1) / PAGE;
    b->page = fh_alloc_zero(b->n_page, sizeof *b->page);
    if (b->page == NULL) return fh_fail_memory(err, b->n_page * sizeof *b->page);
    uint8_t *all = fh_alloc(b->n_page, (size_t)bytes);
    if (all == NULL) return fh_fail_memory(err, (size_t)bytes * b->n_page);
    fh_rng_init(&rng, 1, 1);
    const fh_dtype t = b->place[0].k_type;
    const uint64_t step = row_bytes(t, 32);
    for (uint32_t p = 0; p < b->n_page; p++) {
        b->page[p] = all + p * bytes;
        for (int i = 0; i < 32; i++) values[i] = (float)(fh_rng_f64(&rng) * 2 - 1);
        fh_encode(t, values, unit, 32);
        for (uint64_t at = 0; at + step <= bytes; at += step) memcpy(b->page[p] + at, unit, step);
    }
    return FH_OK;
}

static void walk(void *ctx, int worker, int n_worker) {
    bench *b = ctx;
    (void)n_worker;
    for (uint32_t i = 0; i < b->plan.n_op; i++) {
        if (b->plan.op[i].kind != FH_OP_ATTEND) continue;
        (b->exact ? fh_cpu_run_attend : fh_cpu_fast_attend)(b->exec, &b->plan.op[i], &b->exec->worker[worker]);
        fh_pool_barrier(b->exec->pool);
    }
}

/* Seconds for `n` tokens behind `depth` rows, all layers. */
static fh_status measure(bench *b, uint32_t n, uint32_t depth, double *best, fh_err *err) {
    static uint32_t token[MAX_TOKENS], pos[MAX_TOKENS], of[MAX_TOKENS];
    for (uint32_t i = 0; i < n; i++) pos[i] = depth + i;
    const fh_batch_seq seq = {.n = n, .past = depth, .length = depth + n, .page = {b->page}};
    const fh_batch batch = {.n_token = n, .n_seq = 1, .token = token, .pos = pos, .seq_of = of, .seq = &seq};
    FH_TRY(fh_exec_run(b->exec, &batch, 0, err)); /* queries and the last rows; no attention */
    *best = 1e9;
    for (int pass = 0; pass < (n > 64 ? 2 : PASSES); pass++) {
        const uint64_t start = fh_clock_ns();
        fh_pool_run(b->exec->pool, walk, b);
        *best = FH_MIN(*best, (double)(fh_clock_ns() - start) * 1e-9);
    }
    return FH_OK;
}

static void print_row(const bench *b, const char *commit, const fh_ceilings *c, fh_dtype type, uint32_t n,
                      uint32_t depth, double seconds) {
    const shape *s = b->s;
    const uint64_t k = row_bytes(type, s->k_width);
    const uint64_t v = s->kind == FH_STATE_LATENT ? 0 : row_bytes(type, s->v_width);
    const double rows = (double)depth + n, pairs = (double)n * depth + (double)n * (n + 1) / 2;
    const double bytes = rows * s->key_heads * (double)(k + v) * s->layers;
    const double flops = pairs * s->heads * 2.0 * (s->k_width + s->v_width) * s->layers;
    const fh_attend_shape as = {s->k_width, s->v_width, type, type, 0.1f, 0};
    const uint32_t few = FH_ATTEND_FEW;
    const fh_attend_kernel *kernel = fh_attend_choose(&as, n * s->heads / s->key_heads <= few, false);
    printf("%s,%s,%s,%d,%s,%u,%u,%.3f,%.2f,%.1f,%.3f,%.3f,%.3f\n", commit, s->name, kernel ? kernel->name : "exact",
           c->n_worker, fh_dtype_name(type), depth, n, seconds * 1e3, bytes / seconds * 1e-9, flops / seconds * 1e-9,
           bytes / seconds / c->kind[FH_PEAK_READ].all, flops / seconds / c->kind[FH_PEAK_F32].all,
           c->kind[FH_PEAK_BF16].all > 0 ? flops / seconds / c->kind[FH_PEAK_BF16].all : 0);
    fflush(stdout);
}

static fh_status one_shape(const shape *s, fh_dtype type, fh_pool *pool, const char *commit, const fh_ceilings *c,
                           fh_err *err) {
    static const struct { uint32_t n, depth; } CASE[] = {{1, 4096}, {8, 4096}, {512, 0}, {512, 4096}};
    bench b = {.s = s};
    bool fell;
    fh_arena_init(&b.arena, 16u << 20);
    fh_status st = make_plan(&b, err);
    if (st == FH_OK) st = fh_state_layout_make(&b.plan, PAGE, type, b.place, &b.layout, &fell, err);
    if (st == FH_OK) st = make_pages(&b, 4096 + MAX_TOKENS, err);
    const fh_exec_options opt = {.pool = pool, .ceiling = {{1, MAX_TOKENS, 1}}};
    if (st == FH_OK) st = fh_exec_new(&b.exec, &b.plan, &b.layout, &opt, err);
    for (size_t i = 0; st == FH_OK && i < FH_COUNT(CASE); i++) {
        double seconds = 0;
        st = measure(&b, CASE[i].n, CASE[i].depth, &seconds, err);
        if (st == FH_OK) print_row(&b, commit, c, type, CASE[i].n, CASE[i].depth, seconds);
    }
    fh_exec_free(b.exec);
    if (b.page != NULL) fh_free(b.page[0]);
    fh_free(b.page);
    fh_arena_release(&b.arena);
    return st;
}

int main(int argc, char **argv) {
    static const fh_dtype TYPE[] = {FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0, FH_DTYPE_F32};
    const char *commit = argc > 1 ? argv[1] : "unknown";
    fh_err err = {0};
    fh_machine machine;
    fh_ceilings ceilings;
    fh_pool *pool = NULL;
    char text[1200];
    fh_machine_read(&machine);
    fh_status st =
        fh_pool_new(&pool, &(fh_pool_options){.n_worker = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0}, &err);
    if (st == FH_OK) st = fh_ceilings_measure(&ceilings, pool, &machine, NULL, &err);
    if (st == FH_OK && argc > 3) st = fh_cpu_limit(fh_str_of(argv[3]), &err);
    if (st == FH_OK) {
        printf("commit,shape,kernel,threads,state,depth,tokens,ms,gb_per_s,gflop_per_s,share_of_read,share_of_f32,"
               "share_of_bf16\n");
    }
    for (size_t s = 0; s < FH_COUNT(SHAPE); s++) {
        for (size_t t = 0; st == FH_OK && t < FH_COUNT(TYPE); t++) {
            st = one_shape(&SHAPE[s], TYPE[t], pool, commit, &ceilings, &err);
        }
    }
    if (st != FH_OK) fprintf(stderr, "bench-attend: %s\n", fh_err_text(&err, text, sizeof text));
    fh_pool_free(pool);
    return fh_status_exit(st);
}
