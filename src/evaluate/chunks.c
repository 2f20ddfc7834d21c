/* evaluate/chunks.c - see chunks.h. Owns the sessions of the chunks under way.
 * SPDX-License-Identifier: Apache-2.0
 * Sessions get salts of their own, so that no chunk is spared work by another one that begins alike. */
#include "evaluate/chunks.h"

#include "base/num.h"

#define MOST_TOKENS ((size_t)1 << 28)
#define MOST_TOGETHER 64u

/* ---- a text ---- */

static fh_status encode(const fh_tokenizer *t, fh_str text, bool special, bool parse, fh_ids *out, fh_err *err) {
    const fh_encode_options opt = {.add_special = special, .parse_special = parse};
    fh_tokenizer_scratch *scratch;
    FH_TRY(fh_tokenizer_scratch_new(&scratch, t, err));
    const fh_status st = fh_tokenizer_encode(t, scratch, text, &opt, out, err);
    fh_tokenizer_scratch_free(scratch);
    return st;
}

/* The token that the model's texts begin with, by what becomes of a letter. */
static fh_status find_bos(const fh_tokenizer *t, uint32_t *bos, fh_err *err) {
    fh_ids with, without;
    fh_ids_init(&with, 1024);
    fh_ids_init(&without, 1024);
    fh_status st = encode(t, FH_STR("a"), true, false, &with, err);
    if (st == FH_OK) st = encode(t, FH_STR("a"), false, false, &without, err);
    const bool any = st == FH_OK && with.len > without.len && (without.len == 0 || with.ptr[0] != without.ptr[0]);
    *bos = any ? with.ptr[0] : FH_VOCAB_NO_ID;
    fh_ids_release(&with);
    fh_ids_release(&without);
    return st;
}

static fh_status cut(fh_chunks *c, const fh_chunks_options *opt, fh_err *err) {
    const uint64_t n = c->ids.len, least = 2 * (uint64_t)c->n_ctx;
    uint64_t chunks = n < c->n_ctx ? 0 : n / c->n_ctx;
    if (n < least)
        return fh_fail(err, FH_ERR_USAGE,
                       "the text has %llu tokens; two chunks of %u are the least that can be measured",
                       (unsigned long long)n, c->n_ctx);
    if (opt->stride) /* the last one ends within the text */
        chunks = (n - c->n_ctx + opt->stride - 1) / opt->stride;
    if (opt->skip >= chunks)
        return fh_fail(err, FH_ERR_USAGE, "the text has %llu chunks; none is left behind the first %u",
                       (unsigned long long)chunks, opt->skip);
    const size_t drop = (size_t)opt->skip * c->step;
    memmove(c->ids.ptr, c->ids.ptr + drop, (c->ids.len - drop) * sizeof *c->ids.ptr);
    c->ids.len -= drop;
    chunks -= opt->skip;
    if (opt->most) chunks = FH_MIN(chunks, opt->most);
    c->n = (uint32_t)chunks;
    return FH_OK;
}

fh_status fh_chunks_read(fh_chunks *out, const fh_tokenizer *t, fh_str text, const fh_chunks_options *opt,
                         fh_err *err) {
    if (opt->n_ctx < 4 || opt->n_ctx > FH_LOGITS_BASE_CONTEXT)
        return fh_fail(err, FH_ERR_USAGE, "chunks of %u tokens, possible are 4 to %u", opt->n_ctx,
                       FH_LOGITS_BASE_CONTEXT);
    if (opt->stride >= opt->n_ctx)
        return fh_fail(err, FH_ERR_USAGE, "a stride of %u tokens leaves nothing of chunks of %u to begin with",
                       opt->stride, opt->n_ctx);
    fh_chunks c = {.n_ctx = opt->n_ctx, .step = opt->stride ? opt->stride : opt->n_ctx};
    fh_ids_init(&c.ids, MOST_TOKENS);
    if (fh_str_ends(text, "\n")) text.len--;
    fh_status st = find_bos(t, &c.bos, err);
    if (st == FH_OK) st = encode(t, text, true, opt->parse_special, &c.ids, err);
    if (st == FH_OK) st = cut(&c, opt, err);
    if (st == FH_OK) *out = c;
    else fh_chunks_release(&c);
    return st;
}

fh_status fh_chunks_of_base(fh_chunks *out, const fh_logits_base *base, const fh_tokenizer *t, uint64_t most,
                            fh_err *err) {
    fh_chunks c = {.n_ctx = base->n_ctx, .step = base->n_ctx, .n = base->n_chunk};
    if (most) c.n = (uint32_t)FH_MIN((uint64_t)c.n, most);
    fh_ids_init(&c.ids, SIZE_MAX / sizeof *c.ids.ptr);
    fh_status st = find_bos(t, &c.bos, err);
    for (uint64_t i = 0; st == FH_OK && i < (uint64_t)c.n * c.n_ctx; i++)
        fh_ids_add(&c.ids, fh_logits_base_token(base, i));
    if (st == FH_OK) st = fh_ids_check(&c.ids, err);
    if (st == FH_OK) *out = c;
    else fh_chunks_release(&c);
    return st;
}

void fh_chunks_release(fh_chunks *c) {
    if (c->ids.ptr) fh_ids_release(&c->ids);
    *c = (fh_chunks){0};
}

/* ---- through the model ---- */

typedef struct run {
    const fh_chunks *c;
    fh_engine *e;
    const fh_chunks_run_options *opt;
    fh_session *session[MOST_TOGETHER];
    uint32_t *token; /* [n_ctx] of every chunk under way */
    uint32_t first;  /* the first chunk under way */
    uint32_t base;   /* position of the step's first token */
} run;

static fh_status take_row(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err) {
    const run *r = ctx;
    const uint32_t at = r->base + index;
    if (!r->opt->row || at < r->opt->from || at >= r->opt->to) return FH_OK;
    return r->opt->row(r->opt->ctx, r->first + work, at, row, err);
}

/* Tokens [from, to) of n chunks. */
static fh_status step(run *r, uint32_t n, uint32_t from, uint32_t to, fh_want want, fh_err *err) {
    fh_work work[MOST_TOGETHER] = {{0}};
    if (from == to) return FH_OK;
    r->base = from;
    for (uint32_t i = 0; i < n; i++)
        work[i] = (fh_work){r->session[i], r->token + (size_t)i * r->c->n_ctx + from, to - from, want};
    return fh_engine_step(r->e, work, n, r->opt->what, take_row, r, r->opt->stop, err);
}

static fh_status run_group(run *r, uint32_t n, fh_err *err) {
    const fh_chunks *c = r->c;
    fh_status st = FH_OK;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *to = r->token + (size_t)i * c->n_ctx;
        memcpy(to, c->ids.ptr + (size_t)(r->first + i) * c->step, c->n_ctx * sizeof *to);
        if (c->bos != FH_VOCAB_NO_ID) to[0] = c->bos;
    }
    for (uint32_t i = 0; i < n && st == FH_OK; i++)
        st = fh_session_new(&r->session[i], r->e, c->n_ctx, r->opt->adapters, 1 + (uint64_t)r->first + i, err);
    if (r->opt->whole) {
        if (st == FH_OK) st = step(r, n, 0, c->n_ctx, FH_WANT_ALL, err);
    } else {
        if (st == FH_OK) st = step(r, n, 0, r->opt->from, FH_WANT_NONE, err);
        if (st == FH_OK) st = step(r, n, r->opt->from, r->opt->to, FH_WANT_ALL, err);
    }
    for (uint32_t i = 0; i < n; i++) {
        fh_session_free(r->session[i]);
        r->session[i] = NULL;
    }
    return st;
}

fh_status fh_chunks_run(const fh_chunks *c, fh_engine *e, const fh_chunks_run_options *opt, fh_err *err) {
    FH_REQUIRE(opt->from <= opt->to && opt->to <= c->n_ctx);
    run r = {.c = c, .e = e, .opt = opt};
    uint32_t together = opt->together ? opt->together : opt->batch / c->n_ctx;
    together = FH_MAX(FH_MIN(together, FH_MIN(c->n, MOST_TOGETHER)), 1u);
    r.token = fh_alloc((size_t)together * c->n_ctx, sizeof *r.token);
    if (!r.token) return fh_fail_memory(err, (size_t)together * c->n_ctx * sizeof *r.token);
    fh_status st = FH_OK;
    for (uint32_t n; st == FH_OK && r.first < c->n; r.first += n) {
        n = FH_MIN(together, c->n - r.first);
        st = run_group(&r, n, err);
        if (st == FH_OK && opt->done) st = opt->done(opt->ctx, r.first + n, err);
    }
    fh_free(r.token);
    return st;
}
