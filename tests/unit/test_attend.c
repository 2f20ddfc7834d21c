/* tests/unit/test_attend.c - fast attention against exact mode: masks, shapes, state types, levels, threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/cpu.h"
#include "kernel/attend.h"
#include "test_fast_op_lab.h"

typedef struct setup {
    fh_state_kind kind;
    uint32_t heads, key_heads, k_width, v_width;
    fh_attend_args args;
    bool sinks;
    uint32_t encoder_rows;
} setup;

static void build(lab *l, const setup *s) {
    const uint32_t window = s->args.mask == FH_MASK_CAUSAL || s->args.mask == FH_MASK_NONE ? 0 : s->args.window;
    const uint32_t st = lab_state(
        l, (fh_state){.kind = s->kind, .heads = s->key_heads, .k_width = s->k_width, .v_width = s->v_width}, window);
    l->encoder_rows = s->encoder_rows;
    const fh_view q = lab_input(l, s->heads * (s->k_width + 1)), k = lab_input(l, s->key_heads * s->k_width);
    fh_op *o = NULL;
    fh_view v = {FH_NO_VALUE, 0, 0, 0, 0};
    if (s->kind != FH_STATE_LATENT) v = lab_input(l, s->key_heads * s->v_width);
    const fh_view out = lab_out(l, s->heads * s->v_width);
    o = lab_op(l, FH_OP_STORE);
    o->in[0] = k;
    if (s->kind != FH_STATE_LATENT) o->in[1] = v;
    o->state = st;
    o = lab_op(l, FH_OP_ATTEND);
    o->in[0] = fh_view_heads(q, s->heads, s->k_width, s->k_width + 1);
    o->out[0] = out;
    o->state = st;
    o->u.attend = s->args;
    if (s->sinks) o->vec[0] = lab_vector(l, s->heads);
    if (s->args.buckets) o->vec[1] = lab_vector(l, (uint64_t)s->args.buckets * s->heads);
    lab_end(l, out);
}

/* Two ways whose bits must agree, and the error against exact mode. */
static void compare(uint64_t stream, const setup *s, const lab_way *way, uint32_t n_seq, const uint32_t *len,
                    double most) {
    lab l;
    lab_init(&l, stream, n_seq, len);
    build(&l, s);
    fast_pair a = lab_run_fast(&l, way);
    const lab_way other = {way->threads == 1 ? 3 : 1, way->page == 16 ? 64 : 16, way->chunk, way->type};
    fast_pair b = lab_run_fast(&l, &other);
    const bool same = memcmp(a.fast, b.fast, a.n * sizeof *a.fast) == 0;
    const double e = fast_pair_error(&a);
    if (!same || !(e <= most)) {
        fh_test_fail(__FILE__, __LINE__, "stream %llu, %s: error %g, at most %g; %s", (unsigned long long)stream,
                     fh_dtype_name(way->type), e, most, same ? "same bits" : "bits depend on threads or pages");
    }
    fast_pair_release(&a);
    fast_pair_release(&b);
    lab_release(&l);
}

static const fh_dtype TYPE[] = {FH_DTYPE_F32, FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0};

static double most_of(fh_dtype t) { return t == FH_DTYPE_F32 ? 1e-5 : 2e-3; }

static const uint32_t LEN[] = {150, 1, 64, 67};

static void every_way(uint64_t stream, const setup *s) {
    const bool ahead = s->args.mask == FH_MASK_NONE || s->args.mask == FH_MASK_SYMMETRIC;
    static const uint32_t CHUNK[] = {1u << 20, 1, 7, 40};
    for (size_t t = 0; t < FH_COUNT(TYPE); t++) {
        for (size_t c = 0; c < (ahead && s->kind != FH_STATE_CROSS ? 1 : FH_COUNT(CHUNK)); c++) {
            compare(stream, s, &(lab_way){1 + (int)(t + c) % 4, 32, CHUNK[c], TYPE[t]}, 4, LEN, most_of(TYPE[t]));
        }
    }
}

TEST(attend, masks) {
    static const fh_attend_args ARGS[] = {
        {.mask = FH_MASK_CAUSAL, .scale = 0.18f},
        {.mask = FH_MASK_SLIDING, .window = 5, .scale = 0.18f},
        {.mask = FH_MASK_SLIDING, .window = 64, .scale = 0.18f},
        {.mask = FH_MASK_SYMMETRIC, .window = 20, .scale = 0.18f},
        {.mask = FH_MASK_CHUNKED, .window = 24, .scale = 0.18f},
        {.mask = FH_MASK_NONE, .scale = 0.18f},
    };
    for (size_t i = 0; i < FH_COUNT(ARGS); i++) {
        every_way(i, &(setup){.heads = 4, .key_heads = 2, .k_width = 32, .v_width = 32, .args = ARGS[i]});
    }
}

TEST(attend, widths_that_fit_no_vector) {
    static const uint32_t WIDTH[][2] = {{7, 9}, {33, 1}, {24, 20}, {80, 48}, {1, 65}};
    for (size_t i = 0; i < FH_COUNT(WIDTH); i++) {
        const setup s = {.heads = 6,
                         .key_heads = 3,
                         .k_width = WIDTH[i][0],
                         .v_width = WIDTH[i][1],
                         .args = {.mask = FH_MASK_CAUSAL, .scale = 0.3f}};
        every_way(20 + i, &s);
    }
}

TEST(attend, sinks_caps_latent_and_many_heads) {
    const setup s[] = {
        {.heads = 3,
         .key_heads = 3,
         .k_width = 64,
         .v_width = 96,
         .sinks = true,
         .args = {.mask = FH_MASK_CAUSAL, .scale = 0.2f, .softcap = 2}},
        {.heads = 6,
         .key_heads = 1,
         .k_width = 32,
         .v_width = 64,
         .sinks = true,
         .args = {.mask = FH_MASK_SLIDING, .window = 3, .scale = 0.15f}},
        {.kind = FH_STATE_LATENT,
         .heads = 5,
         .key_heads = 1,
         .k_width = 96,
         .v_width = 64,
         .args = {.mask = FH_MASK_CAUSAL, .scale = 0.1f}},
        {.kind = FH_STATE_LATENT,
         .heads = 40,
         .key_heads = 1,
         .k_width = 160,
         .v_width = 128,
         .args = {.mask = FH_MASK_CAUSAL, .scale = 0.08f}},
        {.heads = 80, .key_heads = 1, .k_width = 32, .v_width = 32, .args = {.mask = FH_MASK_CAUSAL, .scale = 0.18f}}};
    for (size_t i = 0; i < FH_COUNT(s); i++) every_way(40 + i, &s[i]);
}

TEST(attend, buckets_of_distance) {
    for (int way = 0; way < 2; way++) {
        every_way(60 + (uint64_t)way, &(setup){.heads = 3,
                                               .key_heads = 3,
                                               .k_width = 32,
                                               .v_width = 32,
                                               .args = {.mask = way ? FH_MASK_CAUSAL : FH_MASK_NONE,
                                                        .scale = 0.18f,
                                                        .buckets = 32,
                                                        .max_distance = 128,
                                                        .bidirectional = way == 0}});
    }
}

TEST(attend, encoder_rows) {
    const setup s = {.kind = FH_STATE_CROSS,
                     .heads = 4,
                     .key_heads = 2,
                     .k_width = 32,
                     .v_width = 64,
                     .encoder_rows = 90,
                     .args = {.mask = FH_MASK_NONE, .scale = 0.18f}};
    for (size_t t = 0; t < FH_COUNT(TYPE); t++) {
        compare(70, &s, &(lab_way){2, 32, 90, TYPE[t]}, 1, (uint32_t[]){90}, most_of(TYPE[t]));
    }
}

/* Decoding at depth: keys are cut into parts that workers share. */
TEST(attend, parts_of_a_long_past) {
    const setup s = {
        .heads = 4, .key_heads = 1, .k_width = 32, .v_width = 32, .args = {.mask = FH_MASK_CAUSAL, .scale = 0.18f}};
    for (size_t t = 0; t < FH_COUNT(TYPE); t++) {
        for (int threads = 2; threads <= 4; threads++) {
            const lab_way way = {threads, 64, threads == 2 ? 1497 : 1500 - 5, TYPE[t]};
            compare(80, &s, &way, 2, (uint32_t[]){1500, 1499}, most_of(TYPE[t]));
        }
    }
}
