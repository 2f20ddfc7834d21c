/* bench/scheduler.c - requests at once: tokens a second and time to the first token, by company, prefix and drafts.
 * SPDX-License-Identifier: Apache-2.0
 * bench-scheduler COMMIT [MODEL [THREADS [PROMPT [NEW]]]]: CSV on standard output. Every row is a scheduler and an
 * engine of its own, with requests that all come at the same moment. `alone` runs them one after the other. */
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "infer/scheduler.h"
#include "library/builtin.h"

#define MOST 64u

typedef struct load {
    const char *commit, *model_name;
    fh_model *model;
    int threads;
    uint32_t n_prompt, n_new;
} load;

typedef struct kind {
    const char *name;
    uint32_t streams, running, shared, draft;
    bool looping; /* prompts that repeat themselves */
    bool exact;
} kind;

typedef struct one {
    uint64_t first_ns, start_ns, end_ns;
} one;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static uint32_t n_over, n_failed;

static fh_consume listen(void *ctx, const fh_event *e) {
    one *x = ctx;
    uint64_t now = fh_clock_ns();
    if (e->kind == FH_EVENT_TOKEN && !x->first_ns) x->first_ns = now;
    if (e->kind != FH_EVENT_DONE && e->kind != FH_EVENT_FAILED) return FH_CONSUME_MORE;
    x->end_ns = now;
    pthread_mutex_lock(&lock);
    n_over++;
    n_failed += e->kind == FH_EVENT_FAILED;
    pthread_cond_signal(&moved);
    pthread_mutex_unlock(&lock);
    return FH_CONSUME_MORE;
}

static int by_time(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void fill(const load *l, const kind *k, uint32_t i, uint32_t *prompt) {
    fh_rng rng;
    uint32_t n_vocab = fh_model_spec(l->model)->n_vocab;
    fh_rng_init(&rng, 1, i);
    for (uint32_t j = 0; j < l->n_prompt; j++) {
        uint32_t any = (uint32_t)fh_rng_below(&rng, n_vocab);
        prompt[j] = j < k->shared ? j * 17 % n_vocab : k->looping ? j % 11 + i : any;
    }
}

static fh_status measure(const load *l, const kind *k, fh_err *err) {
    static uint32_t prompt[1u << 16];
    static const fh_sampler_step greedy = {.kind = FH_STEP_TEMPERATURE, .arg = {0}};
    fh_sampler_step step = greedy;
    const fh_sampler_steps chain = {&step, 1, 1};
    fh_engine *e = NULL;
    fh_scheduler *s = NULL;
    fh_ticket *ticket[MOST] = {NULL};
    one x[MOST] = {{0}};
    uint64_t first[MOST];
    fh_engine_options eo = {
        .threads = l->threads, .kv_type = k->exact ? FH_DTYPE_F32 : FH_DTYPE_F16, .exact = k->exact};
    fh_scheduler_options so = {.running_most = k->running, .waiting_most = MOST, .draft_most = k->draft};
    FH_TRY(fh_engine_new(&e, l->model, &eo, err));
    fh_status st = fh_scheduler_new(&s, e, &so, err);
    n_over = n_failed = 0;
    uint64_t start = fh_clock_ns();
    uint32_t n = 0;
    for (; st == FH_OK && n < k->streams; n++) {
        fill(l, k, n, prompt);
        x[n].start_ns = fh_clock_ns();
        fh_request r = {.prompt = prompt,
                        .n_prompt = l->n_prompt,
                        .most = l->n_new,
                        .ignore_end = true,
                        .chain = &chain,
                        .owner = n,
                        .fn = listen,
                        .ctx = &x[n]};
        st = fh_scheduler_submit(s, &r, &ticket[n], NULL, err);
        if (st != FH_OK) break;
    }
    pthread_mutex_lock(&lock);
    while (n_over < n) pthread_cond_wait(&moved, &lock);
    pthread_mutex_unlock(&lock);
    double seconds = (double)(fh_clock_ns() - start) / 1e9;
    if (st == FH_OK && n_failed) st = fh_fail(err, FH_ERR_MEMORY, "%u requests failed", n_failed);
    if (st == FH_OK) {
        fh_scheduler_load at = fh_scheduler_get_load(s);
        for (uint32_t i = 0; i < n; i++) first[i] = x[i].first_ns - x[i].start_ns;
        qsort(first, n, sizeof *first, by_time);
        printf("%s,%s,%s,%s,%d,%u,%u,%u,%.3f,%.1f,%.1f,%.1f,%.1f,%llu,%llu,%llu,%.1f\n", l->commit, l->model_name,
               k->exact ? "exact" : "fast", k->name, l->threads, k->streams, l->n_prompt, l->n_new, seconds,
               (double)at.new_tokens / seconds, (double)(at.prompt_tokens - at.cached_tokens) / seconds,
               (double)first[n / 2] / 1e6, (double)first[n * 95 / 100] / 1e6, (unsigned long long)at.cached_tokens,
               (unsigned long long)at.drafted_tokens, (unsigned long long)at.accepted_tokens,
               100 * (1 - (double)at.step_ns / 1e9 / seconds));
        fflush(stdout);
    }
    for (uint32_t i = 0; i < n; i++) fh_ticket_free(ticket[i]);
    fh_scheduler_free(s);
    fh_engine_free(e);
    return st;
}

int main(int argc, char **argv) {
    fh_err err = {0};
    fh_bundle *b = NULL;
    load l = {.commit = argc > 1 ? argv[1] : "unknown", .model_name = argc > 2 ? argv[2] : "built-in"};
    l.threads = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 2;
    l.n_prompt = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 128;
    l.n_new = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 64;
    if (l.n_prompt > 1u << 16) return 2;
    fh_status st = argc > 2 && argv[2][0] ? fh_bundle_open(&b, argv[2], &err)
                                          : fh_bundle_open_static(&b, fh_builtin_model(), "built-in", &err);
    if (st == FH_OK) st = fh_model_load(&l.model, b, &err);
    printf(
        "commit,model,mode,case,threads,streams,prompt,new,seconds,new_tokens_s,computed_prompt_tokens_s,first_ms_p50,"
        "first_ms_p95,cached_tokens,drafted,accepted,percent_outside_steps\n");
    uint32_t most = l.n_prompt * 3 / 4;
    const kind kinds[] = {
        {.name = "alone", .streams = 16, .running = 1},
        {.name = "together", .streams = 16, .running = 16},
        {.name = "shared prefix", .streams = 32, .running = 16, .shared = most},
        {.name = "repeating", .streams = 1, .running = 1, .looping = true},
        {.name = "repeating, drafts", .streams = 1, .running = 1, .looping = true, .draft = 8},
        {.name = "repeating together", .streams = 8, .running = 8, .looping = true},
        {.name = "repeating together, drafts", .streams = 8, .running = 8, .looping = true, .draft = 8},
        {.name = "random, drafts", .streams = 1, .running = 1, .draft = 8},
        {.name = "random", .streams = 1, .running = 1},
    };
    for (int exact = 0; st == FH_OK && exact < 2; exact++) {
        for (size_t i = 0; st == FH_OK && i < FH_COUNT(kinds); i++) {
            kind k = kinds[i];
            k.exact = exact;
            st = measure(&l, &k, &err);
        }
    }
    fh_model_free(l.model);
    char text[1200];
    if (st != FH_OK) fprintf(stderr, "bench-scheduler: %s\n", fh_err_text(&err, text, sizeof text));
    return st == FH_OK ? 0 : 1;
}
