/* tests/unit/test_exec_attend.c - attention over paged state against softmax in double.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "test_exec_lab.h"

/* One attention: keys and values stored, queries, an optional view with gaps. */
typedef struct setup {
    fh_state_kind kind;
    uint32_t heads, key_heads, k_width, v_width;
    fh_attend_args args;
    bool sinks;
    fh_view q, k, v, out;
    uint32_t sink_vec, bias_vec;
} setup;

static void build(lab *l, setup *s) {
    const uint32_t window = s->args.mask == FH_MASK_CAUSAL || s->args.mask == FH_MASK_NONE ? 0 : s->args.window;
    const uint32_t st = lab_state(
        l, (fh_state){.kind = s->kind, .heads = s->key_heads, .k_width = s->k_width, .v_width = s->v_width}, window);
    s->q = lab_input(l, s->heads * (s->k_width + 1));
    s->k = lab_input(l, s->key_heads * s->k_width);
    if (s->kind != FH_STATE_LATENT) s->v = lab_input(l, s->key_heads * s->v_width);
    s->out = lab_out(l, s->heads * s->v_width);
    fh_op *o = lab_op(l, FH_OP_STORE);
    o->in[0] = s->k;
    if (s->kind != FH_STATE_LATENT) o->in[1] = s->v;
    o->state = st;
    o = lab_op(l, FH_OP_ATTEND);
    o->in[0] = fh_view_heads(s->q, s->heads, s->k_width, s->k_width + 1);
    o->out[0] = s->out;
    o->state = st;
    o->u.attend = s->args;
    if (s->sinks) o->vec[0] = s->sink_vec = lab_vector(l, s->heads);
    if (s->args.buckets) o->vec[1] = s->bias_vec = lab_vector(l, (uint64_t)s->args.buckets * s->heads);
    lab_end(l, s->out);
}

static bool sees(const fh_attend_args *a, int64_t q, int64_t k) {
    switch (a->mask) {
    case FH_MASK_CAUSAL: return k <= q;
    case FH_MASK_SLIDING: return k <= q && q - k < a->window;
    case FH_MASK_SYMMETRIC: return llabs(q - k) <= a->window / 2;
    case FH_MASK_CHUNKED: return k <= q && k >= q / a->window * a->window;
    case FH_MASK_NONE: return true;
    }
    return false;
}

/* Straight from the description of T5's buckets, with logarithms of the C library. */
static uint32_t bucket_of(const fh_attend_args *a, int64_t relative) {
    int64_t n = a->buckets, first = 0, d = -relative;
    if (a->bidirectional) {
        n /= 2;
        if (relative > 0) first = n;
        d = llabs(relative);
    } else if (d < 0) {
        d = 0;
    }
    const int64_t exact = n / 2;
    if (d < exact) return (uint32_t)(first + d);
    const float f = logf((float)d / (float)exact) / (float)log((double)a->max_distance / (double)exact);
    const int64_t b = exact + (int64_t)(f * (float)(n - exact));
    return (uint32_t)(first + (b < n - 1 ? b : n - 1));
}

/* The output of token q of the sequence whose tokens start at `first`. */
static void reference(const lab *l, const setup *s, uint32_t first, uint32_t len, uint32_t q, double *out) {
    double *p = fh_alloc(len, sizeof *p);
    const float *key = lab_table(l, s->k), *value = s->kind == FH_STATE_LATENT ? key : lab_table(l, s->v);
    const uint32_t kw = s->k_width, vw = s->v_width, v_row = s->kind == FH_STATE_LATENT ? kw : vw;
    for (uint32_t h = 0; h < s->heads; h++) {
        const uint32_t kh = h / (s->heads / s->key_heads);
        const float *query = lab_table(l, s->q) + ((size_t)(first + q) * s->heads + h) * (kw + 1);
        double max = s->sinks ? (double)l->vector[s->sink_vec].v[h] : -1e30, sum = 0;
        for (uint32_t k = 0; k < len; k++) {
            p[k] = -1e30;
            if (!sees(&s->args, q, k)) continue;
            double d = 0;
            for (uint32_t c = 0; c < kw; c++)
                d += (double)query[c] * (double)key[((size_t)(first + k) * s->key_heads + kh) * kw + c];
            d *= (double)s->args.scale;
            if (s->args.softcap > 0) d = (double)s->args.softcap * tanh(d / (double)s->args.softcap);
            if (s->args.buckets)
                d += (double)l->vector[s->bias_vec].v[bucket_of(&s->args, (int64_t)k - q) * s->heads + h];
            p[k] = d;
            if (d > max) max = d;
        }
        if (s->sinks) sum = exp((double)l->vector[s->sink_vec].v[h] - max);
        for (uint32_t c = 0; c < vw; c++) out[h * vw + c] = 0;
        for (uint32_t k = 0; k < len; k++) {
            if (!sees(&s->args, q, k)) continue;
            const double e = exp(p[k] - max);
            sum += e;
            for (uint32_t c = 0; c < vw; c++)
                out[h * vw + c] += e * (double)value[((size_t)(first + k) * s->key_heads + kh) * v_row + c];
        }
        for (uint32_t c = 0; c < vw; c++) out[h * vw + c] /= sum;
    }
    fh_free(p);
}

static double *want_of(lab *l, const setup *s) {
    const uint32_t width = s->heads * s->v_width;
    double *want = fh_arena_alloc(&l->arena, (size_t)l->n_token * width, sizeof *want);
    CHECK(want != NULL);
    for (uint32_t i = 0, first = 0; i < l->n_seq; first += l->len[i++]) {
        for (uint32_t q = 0; q < l->len[i]; q++)
            reference(l, s, first, l->len[i], q, want + (size_t)(first + q) * width);
    }
    return want;
}

static void compare(uint64_t stream, setup s, uint32_t n_seq, const uint32_t *len) {
    lab l;
    lab_init(&l, stream, n_seq, len);
    build(&l, &s);
    const bool ahead = s.args.mask == FH_MASK_NONE || s.args.mask == FH_MASK_SYMMETRIC;
    CHECK(l.plan.whole_sequences == ahead);
    float *got = lab_run_all(&l, !ahead);
    CHECK_NMSE(got, want_of(&l, &s), (size_t)l.n_token * s.heads * s.v_width, 1e-12);
    fh_free(got);
    lab_release(&l);
}

static const uint32_t LEN[] = {150, 1, 64, 67};

TEST(exec_attend, masks) {
    static const fh_attend_args ARGS[] = {
        {.mask = FH_MASK_CAUSAL, .scale = 0.3f},
        {.mask = FH_MASK_SLIDING, .window = 5, .scale = 0.3f},
        {.mask = FH_MASK_SLIDING, .window = 64, .scale = 0.3f},
        {.mask = FH_MASK_SYMMETRIC, .window = 20, .scale = 0.3f},
        {.mask = FH_MASK_CHUNKED, .window = 24, .scale = 0.3f},
        {.mask = FH_MASK_NONE, .scale = 0.3f},
    };
    for (size_t i = 0; i < FH_COUNT(ARGS); i++) {
        compare(i, (setup){.heads = 4, .key_heads = 2, .k_width = 24, .v_width = 20, .args = ARGS[i]}, 4, LEN);
    }
}

TEST(exec_attend, sinks_caps_latent_and_many_heads) {
    compare(10,
            (setup){.heads = 3,
                    .key_heads = 3,
                    .k_width = 7,
                    .v_width = 9,
                    .sinks = true,
                    .args = {.mask = FH_MASK_CAUSAL, .scale = 1, .softcap = 2}},
            4, LEN);
    compare(11,
            (setup){.heads = 6,
                    .key_heads = 1,
                    .k_width = 33,
                    .v_width = 1,
                    .sinks = true,
                    .args = {.mask = FH_MASK_SLIDING, .window = 3, .scale = 0.5f}},
            4, LEN);
    compare(12,
            (setup){.kind = FH_STATE_LATENT,
                    .heads = 5,
                    .key_heads = 1,
                    .k_width = 40,
                    .v_width = 32,
                    .args = {.mask = FH_MASK_CAUSAL, .scale = 0.2f}},
            4, LEN);
    compare(
        13,
        (setup){
            .heads = 80, .key_heads = 1, .k_width = 8, .v_width = 8, .args = {.mask = FH_MASK_CAUSAL, .scale = 0.4f}},
        2, LEN);
}

TEST(exec_attend, buckets_of_distance) {
    compare(
        20,
        (setup){.heads = 3,
                .key_heads = 3,
                .k_width = 8,
                .v_width = 8,
                .args = {.mask = FH_MASK_NONE, .scale = 1, .buckets = 32, .max_distance = 128, .bidirectional = true}},
        4, LEN);
    compare(21,
            (setup){.heads = 2,
                    .key_heads = 2,
                    .k_width = 8,
                    .v_width = 8,
                    .args = {.mask = FH_MASK_CAUSAL, .scale = 1, .buckets = 32, .max_distance = 128}},
            4, LEN);
}

TEST(exec_attend, encoder_rows) {
    lab l;
    setup s = {.kind = FH_STATE_CROSS,
               .heads = 4,
               .key_heads = 2,
               .k_width = 16,
               .v_width = 12,
               .args = {.mask = FH_MASK_NONE, .scale = 0.25f}};
    lab_init(&l, 30, 1, (uint32_t[]){90});
    l.encoder_rows = 90;
    build(&l, &s);
    CHECK(!l.plan.whole_sequences);
    float *got = lab_run_all(&l, false);
    CHECK_NMSE(got, want_of(&l, &s), (size_t)l.n_token * s.heads * s.v_width, 1e-12);
    fh_free(got);
    lab_release(&l);
}

/* Narrower state is close, and bits do not depend on how it is reached; where 32 does not divide a row it is f16. */
TEST(exec_attend, types_of_state) {
    static const struct {
        fh_dtype type;
        uint32_t width;
        double most;
    } CASE[] = {
        {FH_DTYPE_F16, 32, 1e-6}, {FH_DTYPE_BF16, 32, 5e-5}, {FH_DTYPE_Q8_0, 32, 3e-4}, {FH_DTYPE_Q8_0, 40, 1e-6}};
    for (size_t i = 0; i < FH_COUNT(CASE); i++) {
        lab l;
        setup s = {.heads = 4,
                   .key_heads = 2,
                   .k_width = CASE[i].width,
                   .v_width = CASE[i].width,
                   .args = {.mask = FH_MASK_CAUSAL, .scale = 0.17f}};
        lab_init(&l, 40 + i, 3, LEN);
        build(&l, &s);
        const size_t n = (size_t)l.n_token * s.heads * s.v_width;
        float *a = lab_run(&l, &(lab_way){1, 32, 1u << 20, CASE[i].type}),
              *b = lab_run(&l, &(lab_way){3, 16, 5, CASE[i].type});
        CHECK(memcmp(a, b, n * sizeof *a) == 0);
        CHECK_NMSE(a, want_of(&l, &s), n, CASE[i].most);
        CHECK(lab_nmse(a, want_of(&l, &s), n) > 1e-10); /* it really was narrower */
        fh_free(a);
        fh_free(b);
        lab_release(&l);
    }
}

/* The last tokens of a long sequence, against doubles. */
TEST(exec_attend, thirty_two_thousand_keys) {
    enum { N = 32768 };
    lab l;
    setup s = {
        .heads = 2, .key_heads = 1, .k_width = 16, .v_width = 16, .args = {.mask = FH_MASK_CAUSAL, .scale = 0.25f}};
    fh_err err = {0};
    lab_init(&l, 50, 1, (uint32_t[]){N});
    build(&l, &s);
    fh_state_place place[1];
    fh_state_layout layout;
    bool fell;
    CHECK_OK(fh_state_layout_make(&l.plan, 64, FH_DTYPE_F32, place, &layout, &fell, &err), err);
    CHECK(!fell && layout.page_bytes[0] == 64 * 32 * sizeof(float));
    uint8_t *memory = fh_alloc(N / 64, layout.page_bytes[0]), **page = fh_alloc(N / 64, sizeof *page);
    for (uint32_t i = 0; i < N / 64; i++) page[i] = memory + i * layout.page_bytes[0];
    const float *key = lab_table(&l, s.k), *value = lab_table(&l, s.v);
    for (uint32_t r = 0; r < N; r++) { /* what steps before would have stored */
        memcpy(page[r / 64] + place[0].k_at + r % 64 * 64, key + r * 16, 64);
        memcpy(page[r / 64] + place[0].v_at + r % 64 * 64, value + r * 16, 64);
    }
    fh_pool *pool;
    fh_exec *x;
    CHECK_OK(fh_pool_new(&pool, &(fh_pool_options){.n_worker = 2, .no_pin = true}, &err), err);
    const fh_exec_options opt = {.pool = pool, .ceiling = {{1, 3, 3}}};
    CHECK_OK(fh_exec_new(&x, &l.plan, &layout, &opt, &err), err);
    const uint32_t token[3] = {N - 3, N - 2, N - 1}, of[3] = {0, 0, 0};
    const fh_batch_seq seq = {.n = 3, .past = N - 3, .length = N, .page = {page}};
    const fh_batch b = {.n_token = 3, .n_seq = 1, .token = token, .pos = token, .seq_of = of, .seq = &seq};
    CHECK_OK(fh_exec_run(x, &b, 1u << FH_EXPORT_HIDDEN, &err), err);
    double want[3 * 32];
    for (uint32_t i = 0; i < 3; i++) reference(&l, &s, 0, N, N - 3 + i, want + i * 32);
    CHECK_NMSE(fh_exec_export(x, FH_EXPORT_HIDDEN), want, 96, 1e-11);
    fh_exec_free(x);
    fh_pool_free(pool);
    fh_free(page);
    fh_free(memory);
    lab_release(&l);
}
