/* evaluate/bench_grid.c - owns the reading of lists and the order of combinations.
 * SPDX-License-Identifier: Apache-2.0
 * From the outermost: batch, ubatch, types, threads, depth; within these all prompts, all generations (by streams), all
 * pairs. A prompt is one sequence whatever --streams says: so many more would be so many more tokens of the same. */
#include "evaluate/bench_grid.h"

#include <stdio.h>

#include "base/num.h"
#include "infer/engine.h"

static fh_status refuse(const char *option, const char *text, const char *why, fh_err *err) {
    return fh_fail(err, FH_ERR_USAGE, "%s '%.80s': %s", option, text, why);
}

static fh_status add(fh_bench_list *l, uint64_t v, const char *option, const char *text, uint32_t least, uint32_t most,
                     fh_err *err) {
    if (v < least || v > most)
        return fh_fail(err, FH_ERR_USAGE, "%s '%.80s': numbers from %u to %u are possible, not %llu", option, text,
                       least, most, (unsigned long long)v);
    if (l->n == FH_BENCH_LIST_MOST) return refuse(option, text, "more than 64 values", err);
    l->v[l->n++] = (uint32_t)v;
    return FH_OK;
}

/* One item: "8", "1-8", "1-8+2" or "1-8*2". */
static bool split_range(fh_str item, uint64_t *first, uint64_t *last, char *how, uint64_t *step) {
    size_t dash, at;
    *how = '+', *step = 1;
    if (!fh_str_find(item, '-', &dash)) {
        if (!fh_str_u64(item, first)) return false;
        *last = *first;
        return true;
    }
    fh_str rest = fh_str_drop(item, dash + 1);
    if (fh_str_find(rest, '+', &at) || fh_str_find(rest, '*', &at)) {
        *how = rest.ptr[at];
        if (!fh_str_u64(fh_str_drop(rest, at + 1), step)) return false;
        rest = fh_str_first(rest, at);
    }
    return fh_str_u64(fh_str_first(item, dash), first) && fh_str_u64(rest, last);
}

fh_status fh_bench_list_add(fh_bench_list *l, const char *text, const char *option, uint32_t least, uint32_t most,
                            fh_err *err) {
    for (fh_str rest = fh_str_of(text);;) {
        size_t cut = rest.len;
        bool more = fh_str_find(rest, ',', &cut);
        uint64_t first, last, step;
        char how;
        if (!split_range(fh_str_first(rest, cut), &first, &last, &how, &step))
            return refuse(option, text, "numbers with commas are wanted, or ranges such as 1-8, 1-8+2 and 1-8*2", err);
        if (last < first) return refuse(option, text, "a range goes upwards", err);
        if (last > most) return add(l, last, option, text, least, most, err);
        if (how == '*' ? step < 2 || first == 0 : step == 0)
            return refuse(option, text, "the range never ends with this step", err);
        for (uint64_t v = first; v <= last; v = how == '*' ? v * step : v + step) {
            FH_TRY(add(l, v, option, text, least, most, err));
            if (step > last) break; /* and no sum can wrap */
        }
        if (!more) return FH_OK;
        rest = fh_str_drop(rest, cut + 1);
    }
}

fh_status fh_bench_list_add_types(fh_bench_list *l, const char *text, const char *option, fh_err *err) {
    for (fh_str rest = fh_str_of(text);;) {
        fh_dtype type;
        size_t cut = rest.len;
        bool more = fh_str_find(rest, ',', &cut);
        if (!fh_engine_kv_type(fh_str_first(rest, cut), &type))
            return refuse(option, text, "known are " FH_KV_TYPES, err);
        FH_TRY(add(l, type, option, text, 0, UINT32_MAX, err));
        if (!more) return FH_OK;
        rest = fh_str_drop(rest, cut + 1);
    }
}

fh_status fh_bench_grid_add_pair(fh_bench_grid *g, const char *text, fh_err *err) {
    fh_str both = fh_str_of(text);
    size_t cut;
    uint64_t prompt, gen;
    if (!fh_str_find(both, ',', &cut) || !fh_str_u64(fh_str_first(both, cut), &prompt) ||
        !fh_str_u64(fh_str_drop(both, cut + 1), &gen) || prompt == 0 || gen == 0)
        return refuse("-pg", text, "PROMPT,GEN is wanted, such as 512,128", err);
    FH_TRY(add(&g->pg_prompt, prompt, "-pg", text, 1, 1u << 24, err));
    return add(&g->pg_gen, gen, "-pg", text, 1, 1u << 24, err);
}

static void fall_back(fh_bench_list *l, uint32_t v) {
    if (l->n == 0) *l = (fh_bench_list){.v = {v}, .n = 1};
}

void fh_bench_grid_set_defaults(fh_bench_grid *g) {
    fall_back(&g->n_prompt, 512);
    fall_back(&g->n_gen, 128);
    fall_back(&g->n_depth, 0);
    fall_back(&g->n_batch, 2048);
    fall_back(&g->n_ubatch, 512);
    fall_back(&g->n_threads, g->usable_threads);
    fall_back(&g->n_streams, 1);
    if (g->type_k.n == 0 && g->type_v.n == 0) fall_back(&g->type_k, FH_DTYPE_F16);
    if (g->type_k.n == 0) g->type_k = g->type_v;
    if (g->type_v.n == 0) g->type_v = g->type_k;
}

typedef struct case_list {
    fh_bench_case *v; /* NULL: only counted */
    size_t n;
} case_list;

static void put(case_list *l, const fh_bench_case *c, uint32_t n_prompt, uint32_t n_gen, uint32_t n_streams) {
    if (n_prompt + n_gen == 0) return;
    if (l->v) {
        l->v[l->n] = *c;
        l->v[l->n].n_prompt = n_prompt;
        l->v[l->n].n_gen = n_gen;
        l->v[l->n].n_streams = n_streams;
    }
    l->n++;
}

static void put_tests(case_list *l, const fh_bench_grid *g, const fh_bench_case *c) {
    for (size_t i = 0; i < g->n_prompt.n; i++) put(l, c, g->n_prompt.v[i], 0, 1);
    for (size_t i = 0; i < g->n_gen.n; i++)
        for (size_t k = 0; k < g->n_streams.n; k++) put(l, c, 0, g->n_gen.v[i], g->n_streams.v[k]);
    for (size_t i = 0; i < g->pg_prompt.n; i++) put(l, c, g->pg_prompt.v[i], g->pg_gen.v[i], 1);
}

/* type_k and type_v were given as lists each: combinations of unequal types cannot be run, equal ones stand once. */
static bool types_agree(const fh_bench_grid *g) {
    if (g->type_k.n != g->type_v.n) return false;
    for (size_t i = 0; i < g->type_k.n; i++)
        if (g->type_k.v[i] != g->type_v.v[i]) return false;
    return true;
}

static void put_all(case_list *l, const fh_bench_grid *g) {
    for (size_t b = 0; b < g->n_batch.n; b++)
        for (size_t u = 0; u < g->n_ubatch.n; u++)
            for (size_t k = 0; k < g->type_k.n; k++)
                for (size_t t = 0; t < g->n_threads.n; t++)
                    for (size_t d = 0; d < g->n_depth.n; d++) {
                        const fh_bench_case c = {.n_depth = g->n_depth.v[d],
                                                 .n_batch = g->n_batch.v[b],
                                                 .n_ubatch = FH_MIN(g->n_batch.v[b], g->n_ubatch.v[u]),
                                                 .n_threads = g->n_threads.v[t],
                                                 .kv_type = (fh_dtype)g->type_k.v[k]};
                        put_tests(l, g, &c);
                    }
}

fh_status fh_bench_grid_cases(const fh_bench_grid *g, fh_bench_case **out, size_t *n, fh_err *err) {
    if (!types_agree(g))
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "keys and values are of one type: give -ctk alone, or the same list to -ctv");
    /* 64 values in each of eight lists could not be counted; nobody waits for as many as this */
    double product = (double)g->n_batch.n * (double)g->n_ubatch.n * (double)g->type_k.n * (double)g->n_threads.n *
                     (double)g->n_depth.n;
    double tests = (double)g->n_prompt.n + (double)g->n_gen.n * (double)g->n_streams.n + (double)g->pg_prompt.n;
    if (product * tests > FH_BENCH_MOST_CASES)
        return fh_fail(err, FH_ERR_USAGE, "the lists make %.0f combinations, at most %d are possible", product * tests,
                       FH_BENCH_MOST_CASES);
    case_list l = {NULL, 0};
    put_all(&l, g);
    if (l.n == 0) return fh_fail(err, FH_ERR_USAGE, "nothing to measure: -p 0 and -n 0 leave no test");
    l.v = fh_alloc_zero(l.n, sizeof *l.v);
    if (!l.v) return fh_fail_memory(err, l.n * sizeof *l.v);
    l.n = 0;
    put_all(&l, g);
    *out = l.v;
    *n = l.n;
    return FH_OK;
}

const char *fh_bench_case_name(const fh_bench_case *c, char out[FH_BENCH_NAME]) {
    int n = 0;
    if (c->n_prompt) n += snprintf(out, FH_BENCH_NAME, "pp%u%s", c->n_prompt, c->n_gen ? "+" : "");
    if (c->n_gen) n += snprintf(out + n, FH_BENCH_NAME - (size_t)n, "tg%u", c->n_gen);
    if (c->n_streams > 1) n += snprintf(out + n, FH_BENCH_NAME - (size_t)n, " x%u", c->n_streams);
    if (c->n_depth) snprintf(out + n, FH_BENCH_NAME - (size_t)n, " @ d%u", c->n_depth);
    return out;
}
