/* tests/unit/test_perplexity.c - chunks of a text, and the numbers that come of them, against sums done by hand.
 * SPDX-License-Identifier: Apache-2.0
 * The models are tiny and random (test_session_part.h); every row is computed again by an engine of its own. */
#include <math.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "base/rng.h"
#include "evaluate/perplexity_store.h"
#include "forge/stamp.h"
#include "library/open_tokenizer.h"
#include "test.h"
#include "test_session_part.h"

enum { CTX = 12, CHUNKS = 5, FROM = CTX / 2, PER = CTX - 1 - FROM };

static const char *path_of(const char *name) {
    static char path[4][512];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", fh_test_tmp(), name);
    return path[at];
}

static fh_chunks make_chunks(uint32_t n, uint32_t step, uint32_t bos, uint64_t seed) {
    fh_chunks c = {.n_ctx = CTX, .step = step, .n = n, .bos = bos};
    fh_rng rng;
    fh_rng_init(&rng, seed, 0);
    fh_ids_init(&c.ids, 1 << 16);
    for (uint32_t i = 0; i < (n - 1) * step + CTX; i++) fh_ids_add(&c.ids, (uint32_t)fh_rng_below(&rng, TINY_VOCAB));
    return c;
}

static tiny *make_model(uint64_t seed) {
    return tiny_new(&(tiny_options){.layers = "FSR", .window = 8, .context = 64, .seed = seed});
}

static fh_engine *make_engine(const tiny *t, uint32_t batch, uint32_t rows) {
    const fh_engine_options o = {.threads = 2, .batch = batch, .rows = rows, .exact = true, .no_prefix_cache = true};
    return tiny_engine(t, &o);
}

/* ln p of every token, after the first `at` + 1 of a chunk. */
static void log_probs(const tiny *t, const fh_chunks *c, uint32_t chunk, uint32_t at, double out[TINY_VOCAB]) {
    uint32_t token[CTX];
    float x[TINY_VOCAB];
    double top = -INFINITY, sum = 0;
    memcpy(token, c->ids.ptr + chunk * c->step, sizeof token);
    if (c->bos != FH_VOCAB_NO_ID) token[0] = c->bos;
    tiny_fresh(t, NULL, 0, token, at + 1, x);
    for (uint32_t i = 0; i < TINY_VOCAB; i++) top = FH_MAX(top, (double)x[i]);
    for (uint32_t i = 0; i < TINY_VOCAB; i++) sum += exp((double)x[i] - top);
    for (uint32_t i = 0; i < TINY_VOCAB; i++) out[i] = (double)x[i] - top - log(sum);
}

static bool near(double a, double b, double most) { return fabs(a - b) <= most * (1 + fabs(b)); }

static double mean(const double *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return sum / (double)n;
}

/* The standard error of a mean, in two passes. */
static double error(const double *v, size_t n) {
    const double m = mean(v, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (v[i] - m) * (v[i] - m);
    return sqrt(sum / (double)n / (double)(n - 1));
}

/* -ln p of what came, row by row. */
static size_t by_hand(const tiny *t, const fh_chunks *c, uint32_t from, double *nll) {
    double lp[TINY_VOCAB];
    size_t n = 0;
    for (uint32_t k = 0; k < c->n; k++)
        for (uint32_t at = from; at < CTX - 1; at++) {
            log_probs(t, c, k, at, lp);
            nll[n++] = -lp[c->ids.ptr[k * c->step + at + 1]];
        }
    return n;
}

static fh_status count_chunk(void *ctx, const fh_perplexity *p, fh_err *err) {
    uint32_t *n = ctx;
    (void)err;
    CHECK(p->n_chunk == *n + 1 && p->n_row == p->n_chunk * PER && p->ppl.value > 1);
    ++*n;
    return FH_OK;
}

TEST(perplexity, of_a_text) {
    static const struct {
        uint32_t batch, rows, together;
        bool whole;
    } ways[] = {{64, 64, 0, false}, {5, 3, 2, false}, {64, 64, 3, true}, {7, 2, 1, true}};
    tiny *t = make_model(1);
    fh_chunks c = make_chunks(CHUNKS, CTX, 3, 5);
    double nll[CHUNKS * PER];
    fh_perplexity first = {0};
    const size_t n = by_hand(t, &c, FROM, nll);
    for (size_t i = 0; i < FH_COUNT(ways); i++) {
        fh_err err = {0};
        fh_perplexity p;
        uint32_t told = 0;
        fh_engine *e = make_engine(t, ways[i].batch, ways[i].rows);
        const fh_perplexity_options opt = {.whole = ways[i].whole,
                                           .together = ways[i].together,
                                           .batch = ways[i].batch,
                                           .threads = 1 + (int)i % 3,
                                           .chunk = count_chunk,
                                           .ctx = &told};
        CHECK_OK(fh_perplexity_measure(&p, &c, e, &opt, &err), err);
        CHECK(told == CHUNKS && p.n_chunk == CHUNKS && p.n_ctx == CTX && p.n_row == n && !p.compared);
        CHECK(near(p.ppl.value, exp(mean(nll, n)), 1e-9));
        CHECK(near(p.ppl.error, p.ppl.value * error(nll, n), 1e-7));
        if (i == 0) first = p;
        CHECK(memcmp(&p.ppl, &first.ppl, sizeof p.ppl) == 0); /* how the work was cut does not show */
        fh_engine_free(e);
    }
    fh_chunks_release(&c);
    tiny_free(t);
}

TEST(perplexity, stride) {
    enum { STRIDE = 5 };
    tiny *t = make_model(2);
    fh_chunks c = make_chunks(CHUNKS, STRIDE, FH_VOCAB_NO_ID, 6);
    double nll[CHUNKS * STRIDE];
    fh_err err = {0};
    fh_perplexity p;
    fh_engine *e = make_engine(t, 64, 64);
    const size_t n = by_hand(t, &c, CTX - 1 - STRIDE, nll);
    fh_perplexity_options opt = {.stride = STRIDE, .batch = 64};
    CHECK_OK(fh_perplexity_measure(&p, &c, e, &opt, &err), err);
    CHECK(p.n_row == n && near(p.ppl.value, exp(mean(nll, n)), 1e-9));
    opt.save = path_of("base");
    CHECK_STATUS(fh_perplexity_measure(&p, &c, e, &opt, &err), FH_ERR_USAGE);
    fh_engine_free(e);
    fh_chunks_release(&c);
    tiny_free(t);
}

/* ---- against a base ---- */

static void save_base(const tiny *t, const fh_chunks *c, const char *path) {
    fh_err err = {0};
    fh_perplexity p;
    fh_engine *e = make_engine(t, 7, 4); /* batches that end within chunks */
    const fh_perplexity_options opt = {.save = path, .batch = 7};
    CHECK_OK(fh_perplexity_measure(&p, c, e, &opt, &err), err);
    fh_engine_free(e);
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

TEST(perplexity, against_a_base) {
    tiny *t = make_model(3), *other = make_model(4);
    fh_chunks c = make_chunks(CHUNKS, CTX, 1, 7), again;
    double kld[CHUNKS * PER], dp[CHUNKS * PER], a[CHUNKS * PER], b[CHUNKS * PER], lp[TINY_VOCAB], lq[TINY_VOCAB];
    double same = 0, squares = 0;
    fh_err err = {0};
    fh_map *map;
    fh_logits_base base;
    fh_perplexity p;
    size_t n = 0;
    save_base(t, &c, path_of("base"));
    CHECK_OK(fh_map_open(&map, path_of("base"), &err), err);
    CHECK_OK(fh_logits_base_read(&base, fh_map_bytes(map), &err), err);
    CHECK(base.n_vocab == TINY_VOCAB && base.n_chunk == CHUNKS && base.n_ctx == CTX);
    for (uint32_t k = 0; k < CHUNKS; k++)
        for (uint32_t at = FROM; at < CTX - 1; at++, n++) {
            uint32_t best_p = 0, best_q = 0;
            const uint32_t came = c.ids.ptr[k * CTX + at + 1];
            log_probs(t, &c, k, at, lp);
            log_probs(other, &c, k, at, lq);
            kld[n] = 0;
            for (uint32_t i = 0; i < TINY_VOCAB; i++) {
                kld[n] += exp(lp[i]) * (lp[i] - lq[i]);
                if (lp[i] > lp[best_p]) best_p = i;
                if (lq[i] > lq[best_q]) best_q = i;
            }
            a[n] = -lq[came];
            b[n] = -lp[came];
            dp[n] = exp(lq[came]) - exp(lp[came]);
            squares += dp[n] * dp[n];
            same += best_p == best_q;
        }
    fh_engine *e = make_engine(other, 64, 64);
    const fh_perplexity_options opt = {.base = &base, .batch = 64};
    again = (fh_chunks){.n_ctx = CTX, .step = CTX, .n = CHUNKS, .bos = 1};
    fh_ids_init(&again.ids, 1 << 16);
    for (uint32_t i = 0; i < CTX * CHUNKS; i++) fh_ids_add(&again.ids, fh_logits_base_token(&base, i));
    CHECK_OK(fh_perplexity_measure(&p, &again, e, &opt, &err), err);
    /* 16 bits for 16 nats: a packed ln p is off by 1.3e-4 at the most */
    CHECK(p.compared && near(p.ppl.value, exp(mean(a, n)), 1e-9) && near(p.base.value, exp(mean(b, n)), 2e-4));
    CHECK(near(p.kld.mean.value, mean(kld, n), 2e-4) && near(p.kld.mean.error, error(kld, n), 2e-4));
    CHECK(near(p.log_ratio.value, mean(a, n) - mean(b, n), 2e-4) && near(p.ratio.value, exp(p.log_ratio.value), 1e-12));
    CHECK(near(p.difference.value, p.ppl.value - p.base.value, 1e-12));
    CHECK(near(p.dp.mean.value, mean(dp, n), 2e-4) && near(p.dp_rms.value, sqrt(squares / (double)n), 2e-4));
    CHECK(p.same_best.value == same / (double)n);
    double both = 0, difference[CHUNKS * PER];
    for (size_t i = 0; i < n; i++) {
        both += (a[i] - mean(a, n)) * (b[i] - mean(b, n)) / (double)n / (double)(n - 1);
        difference[i] = a[i] - b[i];
    }
    CHECK(near(p.correlation, both / error(a, n) / error(b, n), 1e-3));
    CHECK(near(p.log_ratio.error, error(difference, n), 1e-3)); /* errors that go together cancel */
    qsort(kld, n, sizeof *kld, by_size);
    CHECK(near(p.kld.max, kld[n - 1], 2e-4) && near(p.kld.min, kld[0], 2e-4));
    CHECK(near(p.kld.median, n % 2 ? kld[n / 2] : (kld[n / 2] + kld[n / 2 - 1]) / 2, 2e-4));
    const double at = 0.9 * (double)(n - 1);
    const size_t i = (size_t)at;
    CHECK(near(p.kld.p90, kld[i] + (at - (double)i) * (kld[i + 1] - kld[i]), 2e-4));
    fh_engine_free(e);
    e = make_engine(t, 64, 64); /* and with itself: nothing but what packing lost */
    CHECK_OK(fh_perplexity_measure(&p, &again, e, &opt, &err), err);
    CHECK(fabs(p.kld.max) < 1e-4 && p.same_best.value == 1 && fabs(p.log_ratio.value) < 2e-4);
    fh_engine_free(e);
    fh_map_close(map);
    fh_chunks_release(&again);
    fh_chunks_release(&c);
    tiny_free(other);
    tiny_free(t);
}

/* Batches of sliding models end at borders of pages, so rows of chunks that run together would alternate: a file has
 * them in order all the same. */
TEST(perplexity, rows_of_a_base_are_in_order) {
    enum { LONG = 40 };
    static const uint32_t batch[] = {4, 24, 200};
    tiny *t = make_model(5);
    fh_chunks c = make_chunks(20, CTX, FH_VOCAB_NO_ID, 8);
    fh_buf first, file;
    fh_err err = {0};
    c.n_ctx = c.step = LONG;
    c.n = (uint32_t)c.ids.len / LONG;
    fh_buf_init(&first, 1 << 20);
    fh_buf_init(&file, 1 << 20);
    for (size_t i = 0; i < FH_COUNT(batch); i++) {
        fh_perplexity p;
        const fh_engine_options o = {
            .threads = 2, .page = 16, .batch = batch[i], .rows = batch[i], .exact = true, .no_prefix_cache = true};
        fh_engine *e = tiny_engine(t, &o);
        const char *path = path_of("base");
        const fh_perplexity_options opt = {.save = path, .batch = 200, .together = 3};
        CHECK_OK(fh_perplexity_measure(&p, &c, e, &opt, &err), err);
        fh_buf_clear(&file);
        CHECK_OK(fh_file_read(path, i ? &file : &first, &err), err);
        if (i) CHECK(fh_str_eq(fh_buf_str(&first), fh_buf_str(&file)));
        fh_engine_free(e);
    }
    fh_buf_release(&first);
    fh_buf_release(&file);
    fh_chunks_release(&c);
    tiny_free(t);
}

TEST(perplexity, refusals) {
    tiny *t = make_model(3);
    fh_chunks c = make_chunks(2, CTX, FH_VOCAB_NO_ID, 7);
    fh_engine *e = make_engine(t, 64, 64);
    fh_err err = {0};
    fh_perplexity p;
    const fh_logits_base base = {.n_vocab = TINY_VOCAB + 1};
    const volatile int stop = 1;
    fh_perplexity_options opt = {.base = &base, .batch = 64};
    CHECK_STATUS(fh_perplexity_measure(&p, &c, e, &opt, &err), FH_ERR_UNSUPPORTED);
    opt = (fh_perplexity_options){.batch = 64, .stop = &stop, .save = path_of("base")};
    CHECK_STATUS(fh_perplexity_measure(&p, &c, e, &opt, &err), FH_ERR_CANCELLED);
    CHECK(fh_file_get_kind(path_of("base")) == FH_FILE_NONE); /* no half file */
    opt.stop = NULL;
    c.ids.ptr[3] = TINY_VOCAB;
    CHECK_STATUS(fh_perplexity_measure(&p, &c, e, &opt, &err), FH_ERR_USAGE);
    fh_engine_free(e);
    fh_chunks_release(&c);
    tiny_free(t);
}

/* Memory, disk: an error, nothing left behind, no file. */
TEST(perplexity, faults) {
    static const fh_fault_kind kind[] = {FH_FAULT_ALLOC, FH_FAULT_OPEN, FH_FAULT_WRITE, FH_FAULT_FSYNC,
                                         FH_FAULT_RENAME};
    tiny *t = make_model(3);
    fh_chunks c = make_chunks(2, CTX, FH_VOCAB_NO_ID, 7);
    fh_engine *e = make_engine(t, 64, 64);
    const char *path = path_of("base");
    const fh_perplexity_options opt = {.batch = 64, .threads = 1, .save = path};
    for (size_t k = 0; k < FH_COUNT(kind); k++)
        for (uint64_t n = 1;; n++) {
            fh_err err = {0};
            fh_perplexity p;
            const uint64_t blocks = fh_mem_get_stats().live_blocks;
            fh_fault_arm(kind[k], n, false);
            const fh_status st = fh_perplexity_measure(&p, &c, e, &opt, &err);
            fh_fault_disarm();
            if (st == FH_OK) {
                CHECK(n > 1);
                CHECK(remove(path) == 0);
                break;
            }
            CHECK(err.message[0] && n < 200);
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
            /* the folder's own sync comes after the rename */
            CHECK(kind[k] == FH_FAULT_FSYNC || fh_file_get_kind(path) == FH_FILE_NONE);
        }
    fh_engine_free(e);
    fh_chunks_release(&c);
    tiny_free(t);
}

/* ---- texts ---- */

TEST(perplexity, chunks_of_a_text) {
    char path[600], text[2001];
    fh_err err = {0};
    fh_tokenizer *t;
    fh_chunks c, d;
    for (size_t i = 0; i < 2000; i++) text[i] = "the cat sat "[i % 12];
    text[2000] = 0;
    snprintf(path, sizeof path, "%s/models/llama-sharded", fh_test_golden());
    CHECK_OK(fh_tokenizer_open(&t, path, (fh_str){NULL, 0}, &err), err);
    fh_chunks_options opt = {.n_ctx = 50};
    CHECK_OK(fh_chunks_read(&c, t, fh_str_of(text), &opt, &err), err);
    CHECK(c.bos != FH_VOCAB_NO_ID && c.ids.ptr[0] == c.bos && c.n == c.ids.len / 50 && c.n > 4 && c.step == 50);
    opt.skip = 2;
    opt.most = 2;
    CHECK_OK(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), err);
    CHECK(d.n == 2 && memcmp(d.ids.ptr, c.ids.ptr + 100, 100 * sizeof *d.ids.ptr) == 0);
    fh_chunks_release(&d);
    opt = (fh_chunks_options){.n_ctx = 50, .stride = 7};
    CHECK_OK(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), err);
    CHECK(d.step == 7 && (d.n - 1) * 7 + 50 <= d.ids.len && d.n * 7 + 50 >= d.ids.len);
    fh_chunks_release(&d);
    opt = (fh_chunks_options){.n_ctx = (uint32_t)c.ids.len / 2 + 1};
    CHECK_STATUS(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), FH_ERR_USAGE); /* not two of them */
    opt = (fh_chunks_options){.n_ctx = 50, .skip = c.n};
    CHECK_STATUS(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), FH_ERR_USAGE);
    opt = (fh_chunks_options){.n_ctx = 3};
    CHECK_STATUS(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), FH_ERR_USAGE);
    opt = (fh_chunks_options){.n_ctx = 8, .stride = 8};
    CHECK_STATUS(fh_chunks_read(&d, t, fh_str_of(text), &opt, &err), FH_ERR_USAGE);
    fh_chunks_release(&c);
    fh_tokenizer_free(t);
}

/* ---- in the model's own file ---- */

static void write_gguf(const char *path) {
    static const uint8_t data[4] = {1, 2, 3, 4};
    fh_err err = {0};
    fh_gguf_build *b;
    const fh_tensor t = {
        .name = FH_STR("t"), .dtype = FH_DTYPE_I8, .shape = {.n_dim = 1, .dim = {4}}, .data = {data, 4}};
    CHECK_OK(fh_gguf_build_new(&b, &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "general.architecture", FH_STR("llama"), &err), err);
    CHECK_OK(fh_gguf_build_add_str(b, "freehold.kld.base", FH_STR("an older one"), &err), err);
    CHECK_OK(fh_gguf_build_add_u32(b, "freehold.other", 7, &err), err);
    CHECK_OK(fh_gguf_build_add_tensor(b, &t, &err), err);
    CHECK_OK(fh_gguf_write(b, path, NULL, NULL, &err), err);
    fh_gguf_build_free(b);
}

static fh_status store(const char *path, bool compared, fh_err *err) {
    const fh_perplexity p = {.n_ctx = 512,
                             .n_chunk = 3,
                             .n_row = 765,
                             .ppl = {5.25, 0.5},
                             .compared = compared,
                             .kld = {.mean = {0.125, 0.25}, .p99 = 2}};
    const fh_perplexity_origin from = {.by = FH_STR("me"), .text = FH_STR("t.txt"), .base = FH_STR("b.kld")};
    fh_bundle *b;
    FH_TRY(fh_bundle_open(&b, path, err));
    const fh_status st = fh_perplexity_store(b, &p, &from, err);
    fh_bundle_close(b);
    return st;
}

TEST(perplexity, stored) {
    const char *path = path_of("m.gguf");
    fh_perplexity_stored s;
    write_gguf(path);
    for (int compared = 1; compared >= 0; compared--) {
        fh_err err = {0};
        fh_map *map;
        fh_gguf *g;
        CHECK_OK(store(path, compared, &err), err);
        CHECK_OK(fh_map_open(&map, path, &err), err);
        CHECK_OK(fh_gguf_open(&g, fh_map_bytes(map), &err), err);
        CHECK(fh_perplexity_read_stored(g, &s) && s.ppl == 5.25 && s.ppl_error == 0.5 && s.tokens == 765);
        CHECK_STR(s.by, "me");
        CHECK_STR(s.text, "t.txt");
        CHECK_STR(s.base, compared ? "b.kld" : ""); /* nothing is left of the older measurement */
        CHECK(s.kld == (compared ? 0.125 : 0) && s.kld_p99 == (compared ? 2 : 0));
        CHECK(fh_gguf_find(g, "freehold.other") && fh_gguf_find(g, "general.architecture"));
        CHECK(memcmp(fh_gguf_find_tensor(g, FH_STR("t"))->data.ptr, "\1\2\3\4", 4) == 0);
        fh_gguf_close(g);
        fh_map_close(map);
    }
}

/* A disk that fills up, memory that ends: the file stays as it was. */
TEST(perplexity, storing_fails) {
    static const fh_fault_kind kind[] = {FH_FAULT_ALLOC, FH_FAULT_OPEN, FH_FAULT_WRITE, FH_FAULT_RENAME};
    const char *path = path_of("m.gguf");
    fh_buf before, after;
    fh_err err = {0};
    write_gguf(path);
    fh_buf_init(&before, 1 << 20);
    fh_buf_init(&after, 1 << 20);
    CHECK_OK(fh_file_read(path, &before, &err), err);
    for (size_t k = 0; k < FH_COUNT(kind); k++)
        for (uint64_t n = 1; n < 500; n++) {
            fh_fault_arm(kind[k], n, true);
            const fh_status st = store(path, true, &err);
            fh_fault_disarm();
            if (st == FH_OK) {
                CHECK(n > 1);
                write_gguf(path);
                break;
            }
            fh_buf_clear(&after);
            CHECK_OK(fh_file_read(path, &after, &err), err);
            CHECK(fh_str_eq(fh_buf_str(&before), fh_buf_str(&after)));
        }
    fh_buf_release(&before);
    fh_buf_release(&after);
}
