/* tests/unit/test_attend.c - fast attention against exact mode: masks, shapes, state types, levels, threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "base/cpu.h"
#include "kernel/attend.h"
#include "kernel/decode.h"
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

static const uint32_t LEN[] = {130, 1, 64, 67};

static void every_way(uint64_t stream, const setup *s) {
    const bool ahead = s->args.mask == FH_MASK_NONE || s->args.mask == FH_MASK_SYMMETRIC;
    static const uint32_t CHUNK[] = {1u << 20, 7, 40};
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

/* ---- the kernels alone: every level that this CPU has ---- */
enum { KEYS = 200, QUERIES = 21 };

typedef struct bench_of_kernel {
    fh_attend_shape shape;
    float q[QUERIES][160], *keys, *values;
    uint8_t *k, *v;
    size_t k_bytes, v_bytes;
} bench_of_kernel;

static void fill(fh_rng *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(fh_rng_f64(r) * 2 - 1);
}

static uint8_t *stored(fh_dtype t, float *rows, uint32_t width, size_t *bytes) {
    uint64_t n = 0;
    CHECK(fh_dtype_bytes(t, width, &n));
    *bytes = (size_t)n;
    uint8_t *p = fh_alloc(KEYS, *bytes);
    for (uint32_t i = 0; i < KEYS; i++) {
        fh_encode(t, rows + (size_t)i * width, p + i * *bytes, width);
        fh_decode(t, p + i * *bytes, rows + (size_t)i * width, width);
    }
    return p;
}

/* Query i sees keys [i, KEYS - 2 i). */
static void truth(const bench_of_kernel *b, uint32_t i, double *out) {
    double sum = 0, top = -1e300, s[KEYS];
    for (uint32_t k = i; k < KEYS - 2 * i; k++) {
        s[k] = 0;
        for (uint32_t c = 0; c < b->shape.k_width; c++)
            s[k] += (double)b->q[i][c] * (double)b->keys[(size_t)k * b->shape.k_width + c];
        s[k] *= (double)b->shape.scale;
        if (s[k] > top) top = s[k];
    }
    for (uint32_t c = 0; c < b->shape.v_width; c++) out[c] = 0;
    for (uint32_t k = i; k < KEYS - 2 * i; k++) {
        const double e = exp(s[k] - top);
        sum += e;
        for (uint32_t c = 0; c < b->shape.v_width; c++)
            out[c] += e * (double)b->values[(size_t)k * b->shape.v_width + c];
    }
    for (uint32_t c = 0; c < b->shape.v_width; c++) out[c] /= sum;
}

static void run_kernel(const fh_attend_kernel *kernel, const bench_of_kernel *b, uint32_t n, float *out) {
    const size_t ld = fh_attend_ld(b->shape.v_width), room = kernel->room(&b->shape, n);
    const float *q[QUERIES];
    uint8_t from[QUERIES], to[QUERIES];
    float max[QUERIES], sum[QUERIES * FH_ATTEND_LANES];
    float *acc = fh_alloc(n * ld, sizeof *acc);
    uint8_t *memory = fh_alloc(room + 128, 1), *at = memory + (64 - (uintptr_t)memory % 64) % 64;
    memset(at, 0xff, room);
    memset(at + room, 0x5a, 64); /* a canary */
    fh_attend_tile t = {.shape = &b->shape, .n = n, .q = q, .max = max, .sum = sum, .acc = acc, .room = at};
    for (uint32_t i = 0; i < n; i++) q[i] = b->q[i];
    kernel->begin(&t);
    for (uint32_t first = 0; first < KEYS; first += FH_ATTEND_KEYS) {
        const uint8_t *k[FH_ATTEND_KEYS], *v[FH_ATTEND_KEYS];
        const uint32_t here = KEYS - first < FH_ATTEND_KEYS ? KEYS - first : FH_ATTEND_KEYS;
        for (uint32_t i = 0; i < here; i++) {
            k[i] = b->k + (first + i) * b->k_bytes;
            v[i] = b->v + (first + i) * b->v_bytes;
        }
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t end = KEYS - 2 * i;
            from[i] = (uint8_t)(i > first ? FH_MIN(i - first, here) : 0);
            to[i] = (uint8_t)(end > first ? FH_MIN(end - first, here) : 0);
        }
        const fh_attend_block block = {.n = here, .k = k, .v = v, .from = from, .to = to};
        kernel->block(&t, &block);
    }
    for (uint32_t i = 0; i < n; i++) {
        fh_attend_finish(max[i], sum + i * FH_ATTEND_LANES, acc + i * ld, NULL, out + (size_t)i * b->shape.v_width,
                         b->shape.v_width);
    }
    for (size_t i = 0; i < 64; i++) CHECK(at[room + i] == 0x5a);
    fh_free(acc);
    fh_free(memory);
}

TEST(attend, every_kernel) {
    static const uint32_t WIDTH[][2] = {{64, 64}, {128, 128}, {160, 96}, {72, 40}, {32, 160}, {5, 3}};
    static bench_of_kernel b;
    fh_rng r;
    size_t n_kernel;
    const fh_attend_kernel *const *kernel = fh_attend_list(&n_kernel);
    fh_rng_init(&r, fh_test_seed(), 9);
    for (size_t w = 0; w < FH_COUNT(WIDTH) * FH_COUNT(TYPE); w++) {
        const fh_dtype type = TYPE[w % FH_COUNT(TYPE)];
        b.shape = (fh_attend_shape){WIDTH[w / FH_COUNT(TYPE)][0], WIDTH[w / FH_COUNT(TYPE)][1], type, type, 0, 0};
        b.shape.scale = 1.0f / sqrtf((float)b.shape.k_width) * 3;
        if (type == FH_DTYPE_Q8_0 && (b.shape.k_width % 32 != 0 || b.shape.v_width % 32 != 0)) continue;
        b.keys = fh_alloc((size_t)KEYS * b.shape.k_width, sizeof(float));
        b.values = fh_alloc((size_t)KEYS * b.shape.v_width, sizeof(float));
        fill(&r, b.keys, (size_t)KEYS * b.shape.k_width);
        fill(&r, b.values, (size_t)KEYS * b.shape.v_width);
        for (uint32_t i = 0; i < QUERIES; i++) fill(&r, b.q[i], b.shape.k_width);
        b.k = stored(type, b.keys, b.shape.k_width, &b.k_bytes);
        b.v = stored(type, b.values, b.shape.v_width, &b.v_bytes);
        for (size_t k = 0; k < n_kernel; k++) {
            if (!fh_cpu_has_level(kernel[k]->level) || !kernel[k]->fits(&b.shape)) continue;
            const uint32_t n = 1 + (uint32_t)fh_rng_below(&r, kernel[k]->few ? FH_ATTEND_FEW : QUERIES);
            float out[QUERIES * 160];
            double want[160], error = 0, all = 0;
            run_kernel(kernel[k], &b, n, out);
            for (uint32_t i = 0; i < n; i++) {
                truth(&b, i, want);
                for (uint32_t c = 0; c < b.shape.v_width; c++) {
                    const double d = (double)out[i * b.shape.v_width + c] - want[c];
                    error += d * d;
                    all += want[c] * want[c];
                }
            }
            /* of three numbers a query the error is a matter of chance */
            const double e = sqrt(error / all), most = kernel[k]->exact ? 1e-6 : b.shape.v_width < 32 ? 3e-3 : 2e-3;
            if (!(e <= most)) {
                fh_test_fail(__FILE__, __LINE__, "%s, %s, %u to %u, %u queries: error %g", kernel[k]->name,
                             fh_dtype_name(type), b.shape.k_width, b.shape.v_width, n, e);
            }
        }
        fh_free(b.keys);
        fh_free(b.values);
        fh_free(b.k);
        fh_free(b.v);
    }
}
