/* tests/unit/test_session.c - sessions: whatever was done to one, its next logits are those of a fresh run.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "test.h"
#include "unit/test_session_part.h"

#define MOST_TOKENS 400u

static void random_tokens(fh_rng *r, uint32_t *token, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) token[i] = (uint32_t)fh_rng_below(r, TINY_VOCAB);
}

static bool same_row(const float *a, const float *b) { return memcmp(a, b, TINY_VOCAB * sizeof *a) == 0; }

/* ---- random lives ---- */
typedef struct life {
    fh_session *s;
    uint32_t token[MOST_TOKENS], n;
    uint32_t own; /* up to here it says what others say, too */
    const uint32_t *input;
} life;

#define LIVES 5
typedef struct world {
    const tiny *t;
    fh_engine *e;
    fh_rng *rng;
    life life[LIVES];
    uint32_t input[2][70], n_input, common[MOST_TOKENS]; /* texts often begin alike */
} world;

static uint32_t pick(world *w, uint32_t n) { return (uint32_t)fh_rng_below(w->rng, n); }

static void begin_life(world *w, life *l) {
    fh_err err = {0};
    CHECK_OK(fh_session_new(&l->s, w->e, MOST_TOKENS, NULL, 7, &err), err);
    l->input = w->input[pick(w, 2)];
    if (w->n_input) CHECK_OK(fh_session_encode(l->s, l->input, w->n_input, &err), err);
    l->n = 0;
    l->own = pick(w, 4) ? pick(w, MOST_TOKENS) : MOST_TOKENS;
}

static uint32_t more_tokens(world *w, const life *l, uint32_t *token) {
    uint32_t left = MOST_TOKENS - l->n, wish = pick(w, 3) ? 40 : 200, most = FH_MIN(left, wish);
    uint32_t n = most ? 1 + pick(w, most) : 0;
    for (uint32_t i = 0; i < n; i++) token[i] = l->n + i < l->own ? w->common[l->n + i] : pick(w, TINY_VOCAB);
    return n;
}

/* One step over some of the sessions; the last row of each is compared with a fresh run. */
static void step_lives(world *w) {
    static uint32_t token[LIVES][MOST_TOKENS];
    fh_err err = {0};
    fh_work work[LIVES];
    life *of[LIVES];
    uint32_t n = 0;
    for (int i = 0; i < LIVES; i++) {
        life *l = &w->life[i];
        if (!l->s || pick(w, 2)) continue;
        uint32_t k = more_tokens(w, l, token[n]);
        if (k == 0) continue;
        of[n] = l;
        work[n] = (fh_work){l->s, token[n], k, pick(w, 5) ? FH_WANT_LAST : FH_WANT_ALL};
        n++;
    }
    tiny_rows rows = {0};
    CHECK_OK(fh_engine_step(w->e, work, n, FH_EXPORT_LOGITS, tiny_keep_row, &rows, NULL, &err), err);
    for (uint32_t i = 0; i < n; i++) {
        life *l = of[i];
        memcpy(l->token + l->n, token[i], work[i].n * sizeof *l->token);
        l->n += work[i].n;
        CHECK_U64(fh_session_n_token(l->s), l->n);
        CHECK(fh_session_n_adopted(l->s) <= l->n);
        float want[TINY_VOCAB];
        tiny_fresh(w->t, l->input, w->n_input, l->token, l->n, want);
        uint32_t seen = 0, next = work[i].want == FH_WANT_ALL ? 0 : work[i].n - 1;
        const float *last = NULL;
        for (uint32_t r = 0; r < rows.n; r++) {
            if (rows.work[r] != i) continue;
            CHECK_U64(rows.index[r], next + seen);
            seen++;
            last = rows.at + (size_t)r * TINY_VOCAB;
        }
        CHECK_U64(seen, work[i].n - next);
        CHECK(same_row(last, want));
    }
    tiny_rows_release(&rows);
}

static void change_life(world *w) {
    fh_err err = {0};
    life *l = &w->life[pick(w, LIVES)], *other = &w->life[pick(w, LIVES)];
    switch (pick(w, 6)) {
    case 0:
    case 1:
        fh_session_free(l->s);
        begin_life(w, l);
        break;
    case 2:
        if (!l->s || l == other) break;
        fh_session_free(other->s);
        *other = *l;
        other->s = NULL;
        CHECK_OK(fh_session_fork(&other->s, l->s, &err), err);
        break;
    case 3: break;
    default:
        if (!l->s) break;
        l->own = pick(w, 3) ? l->own : pick(w, MOST_TOKENS);
        l->n = pick(w, l->n + 1);
        CHECK_OK(fh_session_rewind(l->s, l->n, &err), err);
        CHECK(fh_session_n_token(l->s) == l->n && fh_session_n_adopted(l->s) <= l->n);
        CHECK(l->n == 0 || memcmp(fh_session_tokens(l->s), l->token, l->n * sizeof *l->token) == 0);
    }
}

/* Returns how often the prefix cache helped. */
static uint64_t live(const char *layers, const char *encoder, uint64_t seed, uint32_t steps) {
    fh_rng rng;
    fh_rng_init(&rng, seed, 2);
    static const uint32_t pages[] = {16, 32, 64}, batches[] = {1, 5, 63, 64, 65, 512};
    static const int threads[] = {1, 2, 4};
    static world w;
    w = (world){.rng = &rng};
    tiny_options to = {
        .layers = layers, .encoder = encoder, .window = 1 + pick(&w, 90), .context = MOST_TOKENS, .seed = seed};
    if (pick(&w, 4) == 0) to.long_from = 1 + pick(&w, 150);
    uint32_t page = pages[pick(&w, 3)];
    fh_engine_options eo = {.threads = threads[pick(&w, 3)],
                            .page = page,
                            .batch = batches[pick(&w, 6)],
                            .snapshot = page * (1 + pick(&w, 3)),
                            .cache_most = pick(&w, 2) ? 1 + pick(&w, 40000) : 0,
                            .no_prefix_cache = pick(&w, 8) == 0,
                            .exact = true};
    eo.rows = pick(&w, 2) ? 1 + pick(&w, 40) : 0;
    tiny *t = tiny_new(&to);
    w.t = t;
    w.e = tiny_engine(t, &eo);
    random_tokens(&rng, w.common, MOST_TOKENS);
    random_tokens(&rng, w.input[0], 140);
    w.n_input = encoder ? 1 + pick(&w, 70) : 0;
    for (uint32_t i = 0; i < steps; i++) {
        change_life(&w);
        step_lives(&w);
    }
    for (int i = 0; i < LIVES; i++) fh_session_free(w.life[i].s);
    fh_engine_usage u = fh_engine_get_usage(w.e);
    CHECK_U64(u.page_bytes_live, 0);
    CHECK_U64(u.slot_bytes, 0);
    fh_engine_free(w.e);
    tiny_free(t);
    return u.prefix_hits;
}

TEST(session, random_lives_equal_fresh_runs) {
    static const char *const kinds[] = {"F", "S", "FS", "R", "FR", "L", "SRF", "SL"};
    uint64_t before = fh_mem_get_stats().live_blocks, hits = 0;
    for (uint64_t i = 0; i < 16 * fh_test_times(); i++)
        hits += live(kinds[i % FH_COUNT(kinds)], NULL, fh_test_seed() * 1000 + i, 30);
    CHECK_U64(fh_mem_get_stats().live_blocks, before);
    CHECK(hits > 30);
}

TEST(session, random_lives_with_an_encoder) {
    for (uint64_t i = 0; i < 8 * fh_test_times(); i++) live("FX", "NN", fh_test_seed() * 1000 + 500 + i, 20);
}

TEST(session, random_lives_of_whole_sequences) {
    for (uint64_t i = 0; i < 3 * fh_test_times(); i++) live("NS", NULL, fh_test_seed() * 1000 + 700 + i, 8);
}

/* ---- splits, threads, pages, types ---- */
TEST(session, rows_do_not_depend_on_how_they_were_computed) {
    static const char *const kinds[] = {"FS", "FR", "L"};
    uint32_t token[200], n = 200;
    fh_rng rng;
    fh_rng_init(&rng, 11, 0);
    random_tokens(&rng, token, n);
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        tiny *t = tiny_new(&(tiny_options){.layers = kinds[k], .window = 40, .context = 1000, .seed = 5 + k});
        static const fh_dtype types[] = {FH_DTYPE_F32, FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0};
        for (size_t d = 0; d < FH_COUNT(types); d++) {
            tiny_rows first = {0};
            static const uint32_t split[] = {200, 1, 63, 64, 65}, page[] = {32, 16, 64, 16, 32};
            static const int threads[] = {1, 2, 4, 2, 1};
            for (size_t v = 0; v < FH_COUNT(split); v++) {
                fh_engine_options eo = {
                    .threads = threads[v], .batch = split[v], .page = page[v], .kv_type = types[d], .exact = true};
                fh_engine *e = tiny_engine(t, &eo);
                fh_session *s;
                fh_err err = {0};
                tiny_rows rows = {0};
                CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
                CHECK_OK(tiny_append(s, token, n, FH_WANT_ALL, &rows, &err), err);
                CHECK_U64(rows.n, n);
                if (v == 0) first = rows;
                else CHECK(memcmp(first.at, rows.at, (size_t)n * TINY_VOCAB * sizeof *rows.at) == 0);
                if (v) tiny_rows_release(&rows);
                fh_session_free(s);
                fh_engine_free(e);
            }
            tiny_rows_release(&first);
        }
        tiny_free(t);
    }
}

/* ---- prefix cache ---- */
TEST(session, a_known_prefix_is_adopted) {
    static const char *const kinds[] = {"F", "FS", "R", "FR", "L"};
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        tiny *t = tiny_new(&(tiny_options){.layers = kinds[k], .window = 40, .context = 1000, .seed = 50 + k});
        fh_engine_options eo = {.threads = 2, .page = 16, .batch = 64, .snapshot = 32, .exact = true};
        fh_engine *e = tiny_engine(t, &eo);
        fh_err err = {0};
        uint32_t token[170];
        fh_rng rng;
        fh_rng_init(&rng, k, 3);
        random_tokens(&rng, token, 170);
        fh_session *a, *b, *c;
        tiny_rows rows = {0};
        CHECK_OK(fh_session_new(&a, e, 0, NULL, 1, &err), err);
        CHECK_OK(tiny_append(a, token, 165, FH_WANT_LAST, &rows, &err), err);
        CHECK_OK(fh_session_new(&b, e, 0, NULL, 1, &err), err);
        CHECK_OK(tiny_append(b, token, 161, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(b), 160);
        fh_session_free(a);
        fh_session_free(b);
        CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
        CHECK_OK(fh_session_new(&b, e, 0, NULL, 1, &err), err);
        CHECK_OK(tiny_append(b, token, 170, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(b), 160);
        float want[TINY_VOCAB];
        tiny_fresh(t, NULL, 0, token, 170, want);
        CHECK(same_row(rows.at + 2 * TINY_VOCAB, want));
        /* another salt, and results of all tokens: nothing to adopt */
        CHECK_OK(fh_session_new(&c, e, 0, NULL, 2, &err), err);
        CHECK_OK(tiny_append(c, token, 170, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(c), 0);
        CHECK(same_row(rows.at + 3 * TINY_VOCAB, want));
        CHECK_OK(fh_session_rewind(c, 0, &err), err);
        fh_session_free(c);
        CHECK_OK(fh_session_new(&c, e, 0, NULL, 1, &err), err);
        CHECK_OK(tiny_append(c, token, 170, FH_WANT_ALL, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(c), 0);
        tiny_rows_release(&rows);
        fh_session_free(b);
        fh_session_free(c);
        fh_engine_free(e);
        tiny_free(t);
    }
}

/* Appends to a new session and compares with a fresh run; tells what was adopted. */
static uint32_t check_text(const tiny *t, fh_engine *e, const uint32_t *input, const uint32_t *token, uint32_t n) {
    fh_err err = {0};
    fh_session *s;
    tiny_rows rows = {0};
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    if (input) CHECK_OK(fh_session_encode(s, input, 20, &err), err);
    CHECK_OK(tiny_append(s, token, n, FH_WANT_LAST, &rows, &err), err);
    float want[TINY_VOCAB];
    tiny_fresh(t, input, input ? 20 : 0, token, n, want);
    CHECK(same_row(rows.at, want));
    uint32_t adopted = fh_session_n_adopted(s);
    tiny_rows_release(&rows);
    fh_session_free(s);
    return adopted;
}

TEST(session, what_follows_a_rewind_is_remembered_as_what_it_is) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FS", .window = 30, .context = 1000, .seed = 3});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, 1, 3);
    uint32_t a[128], b[128];
    random_tokens(&rng, a, 128);
    memcpy(b, a, sizeof a);
    random_tokens(&rng, b + 20, 40); /* another middle */
    fh_session *s;
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    CHECK_OK(tiny_append(s, a, 70, FH_WANT_NONE, NULL, &err), err);
    CHECK_OK(fh_session_rewind(s, 20, &err), err);
    CHECK_OK(tiny_append(s, b + 20, 108, FH_WANT_NONE, NULL, &err), err);
    CHECK_U64(check_text(t, e, NULL, a, 128), 64);
    CHECK_U64(check_text(t, e, NULL, b, 128), 112);
    CHECK_U64(check_text(t, e, NULL, a, 128), 112);
    fh_session_free(s);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session, a_window_that_is_gone_is_not_adopted) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FS", .window = 30, .context = 1000, .seed = 3});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .page = 16, .cache_most = 1, .exact = true});
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, 1, 3);
    uint32_t a[128], b[128];
    random_tokens(&rng, a, 128);
    random_tokens(&rng, b, 128);
    memcpy(b, a, 70 * sizeof *a);
    fh_session *s;
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    CHECK_OK(tiny_append(s, a, 113, FH_WANT_NONE, NULL, &err), err);
    /* of the full layer all rows are there, of the other one those from 84 on, and their page */
    CHECK_U64(check_text(t, e, NULL, b, 128), 0);
    CHECK_U64(check_text(t, e, NULL, a, 128), 112);
    CHECK_U64(check_text(t, e, NULL, a, 112), 0);
    fh_session_free(s);
    CHECK_U64(fh_engine_get_usage(e).page_bytes_cached, 0);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session, another_input_is_another_text) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FX", .encoder = "N", .context = 1000, .seed = 3});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    fh_rng rng;
    fh_rng_init(&rng, 1, 3);
    uint32_t token[50], input[2][20];
    random_tokens(&rng, token, 50);
    random_tokens(&rng, input[0], 40);
    CHECK_U64(check_text(t, e, input[0], token, 50), 0);
    CHECK_U64(check_text(t, e, input[1], token, 50), 0);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session, an_adopted_window_can_be_rewound_into) {
    tiny *t = tiny_new(&(tiny_options){.layers = "SF", .window = 20, .context = 1000, .seed = 3});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, 1, 3);
    uint32_t token[128];
    random_tokens(&rng, token, 128);
    CHECK_U64(check_text(t, e, NULL, token, 128), 0);
    for (uint32_t to = 111; to > 0; to -= 11) {
        fh_session *s;
        tiny_rows rows = {0};
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
        CHECK_OK(tiny_append(s, token, 128, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(s), 112);
        uint64_t before = fh_engine_get_usage(e).recomputed;
        CHECK_OK(fh_session_rewind(s, to, &err), err);
        CHECK_OK(tiny_append(s, token + to, 128 - to, FH_WANT_ALL, &rows, &err), err);
        CHECK_U64(fh_engine_get_usage(e).recomputed, before); /* the cache had it all */
        CHECK(same_row(rows.at, rows.at + (size_t)(rows.n - 1) * TINY_VOCAB));
        tiny_rows_release(&rows);
        fh_session_free(s);
        if (to < 11) break;
    }
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session, a_prompt_leaves_a_snapshot_at_its_last_page) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FR", .context = 1000, .seed = 3});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .page = 16, .exact = true});
    fh_err err = {0};
    uint32_t token[112];
    fh_rng rng;
    fh_rng_init(&rng, 9, 3);
    random_tokens(&rng, token, 112);
    tiny_rows rows = {0};
    for (uint32_t i = 0; i < 3; i++) {
        fh_session *s;
        uint32_t n = i == 1 ? 110 : 97 + i * 7;
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
        CHECK_OK(tiny_append(s, token, n, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_session_n_adopted(s), i ? 96 : 0);
        float want[TINY_VOCAB];
        tiny_fresh(t, NULL, 0, token, n, want);
        CHECK(same_row(rows.at + (size_t)i * TINY_VOCAB, want));
        CHECK_U64(fh_engine_get_usage(e).snapshot_bytes, fh_engine_foretell(e, 1, 0).slot_bytes);
        /* token by token no more are taken than were asked for */
        for (uint32_t k = 0; k < 40; k++) CHECK_OK(tiny_append(s, &k, 1, FH_WANT_NONE, NULL, &err), err);
        CHECK_U64(fh_engine_get_usage(e).snapshot_bytes, fh_engine_foretell(e, 1, 0).slot_bytes);
        fh_session_free(s);
    }
    tiny_rows_release(&rows);
    fh_engine_free(e);
    tiny_free(t);
}

/* ---- memory ---- */
TEST(session, memory_is_what_was_foretold) {
    static const char *const kinds[] = {"F", "S", "FS", "R", "SRL", "SL"};
    fh_rng rng;
    fh_rng_init(&rng, fh_test_seed(), 6);
    for (size_t k = 0; k < 60 * fh_test_times(); k++) {
        uint32_t page = 16u << fh_rng_below(&rng, 3), n = 1 + (uint32_t)fh_rng_below(&rng, 400), token[400] = {0};
        tiny *t = tiny_new(&(tiny_options){.layers = kinds[k % FH_COUNT(kinds)],
                                           .window = 1 + (uint32_t)fh_rng_below(&rng, 130),
                                           .context = 400,
                                           .seed = k});
        fh_engine_options eo = {.threads = 1, .page = page, .no_prefix_cache = true, .exact = true};
        eo.batch = k % 2 ? page * (1 + (uint32_t)fh_rng_below(&rng, 4)) : 1 + (uint32_t)fh_rng_below(&rng, 200);
        fh_engine *e = tiny_engine(t, &eo);
        fh_err err = {0};
        fh_session *s;
        tiny_rows rows = {0};
        fh_engine_memory m = fh_engine_foretell(e, n, 0);
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
        CHECK_OK(tiny_append(s, token, n, FH_WANT_LAST, &rows, &err), err);
        CHECK_U64(fh_engine_get_usage(e).state_peak, m.state);
        CHECK_U64(fh_engine_get_usage(e).scratch, m.scratch);
        /* in portions */
        CHECK_OK(fh_session_rewind(s, 0, &err), err);
        for (uint32_t at = 0, c; at < 400; at += c) {
            c = 1 + (uint32_t)fh_rng_below(&rng, 400 - at);
            CHECK_OK(tiny_append(s, token, c, FH_WANT_NONE, NULL, &err), err);
        }
        CHECK(fh_engine_get_usage(e).state_peak <= fh_engine_foretell(e, 400, 0).state_most);
        CHECK(m.state <= m.state_most);
        fh_session_free(s);
        fh_engine_free(e);
        /* with not a byte more it works, too, and with one less it is refused */
        for (int less = 0; less < 2; less++) {
            eo.memory_most = m.state - (uint64_t)less;
            e = tiny_engine(t, &eo);
            CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
            fh_status st = tiny_append(s, token, n, FH_WANT_LAST, &rows, &err);
            CHECK_STATUS(st, less ? FH_ERR_MEMORY : FH_OK);
            uint32_t got = fh_session_n_token(s);
            CHECK(less ? got < n : got == n);
            if (k % FH_COUNT(kinds) == 0) /* F: nothing is left of the batch that failed */
                CHECK_U64(fh_engine_get_usage(e).page_bytes_live, fh_ceil_div(got, page) * m.page_bytes[0]);
            fh_session_free(s);
            fh_engine_free(e);
        }
        tiny_rows_release(&rows);
        tiny_free(t);
    }
}

TEST(session, cached_pages_make_room) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FS", .window = 40, .context = 1000, .seed = 1});
    fh_engine_options eo = {.threads = 1, .page = 16, .batch = 64, .exact = true};
    fh_engine *e = tiny_engine(t, &eo);
    eo.memory_most = fh_engine_foretell(e, 200, 0).state;
    fh_engine_free(e);
    e = tiny_engine(t, &eo);
    fh_err err = {0};
    fh_rng rng;
    fh_rng_init(&rng, 8, 8);
    tiny_rows rows = {0};
    uint32_t token[200];
    for (int i = 0; i < 5; i++) {
        fh_session *s;
        random_tokens(&rng, token, 200);
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
        CHECK_OK(tiny_append(s, token, 200, FH_WANT_LAST, &rows, &err), err);
        float want[TINY_VOCAB];
        tiny_fresh(t, NULL, 0, token, 200, want);
        CHECK(same_row(rows.at + (size_t)i * TINY_VOCAB, want));
        fh_session_free(s);
        fh_engine_usage u = fh_engine_get_usage(e);
        CHECK(u.page_bytes_cached > 0 && u.page_bytes_live == 0 && u.page_bytes_cached <= eo.memory_most);
    }
    tiny_rows_release(&rows);
    fh_engine_free(e);
    tiny_free(t);
}

/* ---- refusals ---- */
TEST(session, what_does_not_fit_is_refused_whole) {
    tiny *t = tiny_new(&(tiny_options){.layers = "FR", .window = 40, .context = 50, .seed = 1});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .exact = true});
    fh_err err = {0};
    fh_session *s, *r;
    tiny_rows rows = {0};
    uint32_t token[60] = {0}, bad[2] = {1, TINY_VOCAB};
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    CHECK_U64(fh_session_limit(s), 50);
    CHECK_OK(fh_session_new(&r, e, 20, NULL, 0, &err), err);
    CHECK_OK(tiny_append(s, token, 40, FH_WANT_NONE, &rows, &err), err);
    CHECK_STATUS(tiny_append(s, token, 11, FH_WANT_LAST, &rows, &err), FH_ERR_LIMIT);
    CHECK_STATUS(tiny_append(s, bad, 2, FH_WANT_LAST, &rows, &err), FH_ERR_USAGE);
    fh_work twice[2] = {{s, token, 1, FH_WANT_LAST}, {s, token, 1, FH_WANT_LAST}};
    CHECK_STATUS(fh_engine_step(e, twice, 2, FH_EXPORT_LOGITS, tiny_keep_row, &rows, NULL, &err), FH_ERR_USAGE);
    fh_work other[2] = {{s, token, 1, FH_WANT_LAST}, {r, token, 21, FH_WANT_LAST}};
    CHECK_STATUS(fh_engine_step(e, other, 2, FH_EXPORT_LOGITS, tiny_keep_row, &rows, NULL, &err), FH_ERR_LIMIT);
    CHECK_STATUS(fh_engine_step(e, twice, 1, FH_EXPORT_SCORE, tiny_keep_row, &rows, NULL, &err), FH_ERR_UNSUPPORTED);
    CHECK_STATUS(fh_session_rewind(s, 41, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_session_encode(s, token, 1, &err), FH_ERR_USAGE);
    CHECK_U64(rows.n, 0);
    CHECK_U64(fh_session_n_token(s), 40);
    CHECK_U64(fh_session_n_token(r), 0);
    CHECK_OK(tiny_append(s, token, 10, FH_WANT_LAST, &rows, &err), err);
    float want[TINY_VOCAB];
    tiny_fresh(t, NULL, 0, token, 50, want);
    CHECK(same_row(rows.at, want));
    tiny_rows_release(&rows);
    fh_session_free(s);
    fh_session_free(r);
    fh_engine_free(e);
    tiny_free(t);
}

TEST(session, whole_sequences_have_a_ceiling) {
    tiny *t = tiny_new(&(tiny_options){.layers = "N", .context = 100, .seed = 1});
    fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .batch = 16, .exact = true});
    fh_err err = {0};
    fh_session *s;
    tiny_rows rows = {0};
    uint32_t token[101] = {0};
    CHECK_STATUS(fh_session_new(&s, e, 101, NULL, 0, &err), FH_ERR_LIMIT);
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    CHECK_STATUS(tiny_append(s, token, 101, FH_WANT_FIRST, &rows, &err), FH_ERR_LIMIT);
    CHECK_OK(tiny_append(s, token, 100, FH_WANT_ALL, &rows, &err), err);
    CHECK_U64(rows.n, 100);
    CHECK_U64(fh_engine_get_usage(e).page_bytes_live, 0);
    tiny_rows_release(&rows);
    fh_session_free(s);
    fh_engine_free(e);
    tiny_free(t);
}

/* ---- stopping and failing ---- */
typedef struct stopper {
    volatile int stop;
    uint32_t after, seen;
    bool fail;
} stopper;

static fh_status stop_after(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    stopper *x = ctx;
    (void)work, (void)index, (void)row;
    if (++x->seen < x->after) return FH_OK;
    if (x->fail) return fh_fail(err, FH_ERR_IO, "enough");
    x->stop = 1;
    return FH_OK;
}

TEST(session, a_stopped_step_can_be_gone_on_with) {
    static const char *const kinds[] = {"FS", "R"};
    for (size_t k = 0; k < 4; k++) {
        tiny *t = tiny_new(&(tiny_options){.layers = kinds[k % 2], .window = 20, .context = 500, .seed = 1});
        fh_engine *e = tiny_engine(t, &(fh_engine_options){.threads = 1, .batch = 16, .page = 16, .exact = true});
        fh_err err = {0};
        fh_session *s;
        tiny_rows rows = {0};
        uint32_t token[100];
        fh_rng rng;
        fh_rng_init(&rng, k, 3);
        random_tokens(&rng, token, 100);
        CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
        stopper stop = {.after = 20, .fail = k >= 2};
        fh_work w = {s, token, 100, FH_WANT_ALL};
        CHECK_STATUS(fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, stop_after, &stop, &stop.stop, &err),
                     stop.fail ? FH_ERR_IO : FH_ERR_CANCELLED);
        CHECK_U64(fh_session_n_token(s), 32);
        CHECK_OK(tiny_append(s, token + 32, 68, FH_WANT_LAST, &rows, &err), err);
        float want[TINY_VOCAB];
        tiny_fresh(t, NULL, 0, token, 100, want);
        CHECK(same_row(rows.at, want));
        tiny_rows_release(&rows);
        fh_session_free(s);
        fh_engine_free(e);
        tiny_free(t);
    }
}

/* Two sessions and a fork, with everything that allocates; tells what failed first. */
static fh_status whole_life(const tiny *t, const uint32_t *input, const uint32_t *token, bool *right, uint64_t *calls) {
    fh_err err = {0};
    fh_engine *e = NULL;
    fh_session *s = NULL, *f = NULL;
    tiny_rows rows = {0};
    fh_engine_options eo = {.threads = 2, .batch = 32, .page = 16, .snapshot = 32, .exact = true};
    fh_engine_source src = tiny_source(t);
    fh_status st = fh_engine_new_from(&e, &src, &eo, &err);
    if (st == FH_OK) st = fh_session_new(&s, e, 0, NULL, 0, &err);
    if (st == FH_OK && input) st = fh_session_encode(s, input, 20, &err);
    fh_status first = st;
    /* what fails is done once more: a failure leaves things as they were */
    for (int again = 0; again < 2 && s && (again == 0 || first != FH_OK); again++) {
        uint32_t n = fh_session_n_token(s);
        if (input && !s->encoding) st = fh_session_encode(s, input, 20, &err);
        if (n < 70 && (!input || s->encoding)) st = tiny_append(s, token + n, 70 - n, FH_WANT_LAST, &rows, &err);
        if (first == FH_OK) first = st;
    }
    if (s && fh_session_n_token(s) == 70) st = fh_session_fork(&f, s, &err);
    if (first == FH_OK) first = st;
    if (f) st = fh_session_rewind(f, 50, &err);
    rows.n = 0;
    if (f) {
        st = tiny_append(f, token + 50, 30, FH_WANT_LAST, &rows, &err);
        if (first == FH_OK) first = st;
        if (st == FH_ERR_MEMORY) {
            uint32_t n = fh_session_n_token(f);
            rows.n = 0;
            st = tiny_append(f, token + n, 80 - n, FH_WANT_LAST, &rows, &err);
        }
    }
    *calls = fh_fault_calls(FH_FAULT_ALLOC);
    fh_fault_disarm();
    if (f && st == FH_OK && rows.n) {
        float want[TINY_VOCAB];
        tiny_fresh(t, input, input ? 20 : 0, token, 80, want);
        *right = same_row(rows.at, want);
    }
    tiny_rows_release(&rows);
    fh_session_free(f);
    fh_session_free(s);
    fh_engine_free(e);
    return first;
}

TEST(session, every_allocation_may_fail) {
    static const char *const kinds[] = {"FS", "FR", "FX"};
    uint32_t token[80], input[20];
    fh_rng rng;
    fh_rng_init(&rng, 4, 3);
    random_tokens(&rng, token, 80);
    random_tokens(&rng, input, 20);
    for (size_t k = 0; k < FH_COUNT(kinds); k++) {
        bool encoder = kinds[k][1] == 'X', done = false;
        tiny *t = tiny_new(&(tiny_options){
            .layers = kinds[k], .encoder = encoder ? "N" : NULL, .window = 20, .context = 100, .seed = 1});
        uint64_t before = fh_mem_get_stats().live_blocks;
        uint32_t n_failed = 0;
        for (uint64_t nth = 1; !done; nth++) {
            bool right = true;
            uint64_t calls;
            fh_fault_arm(FH_FAULT_ALLOC, nth, false);
            fh_status st = whole_life(t, encoder ? input : NULL, token, &right, &calls);
            done = calls < nth;
            CHECK(right && (st == FH_OK || st == FH_ERR_MEMORY));
            CHECK_U64(fh_mem_get_stats().live_blocks, before);
            n_failed += st != FH_OK;
        }
        CHECK(n_failed > 10);
        tiny_free(t);
    }
}
