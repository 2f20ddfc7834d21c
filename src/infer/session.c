/* infer/session.c - sessions: made, forked, rewound, encoded, asked.
 * SPDX-License-Identifier: Apache-2.0
 * A fork costs one reference per page; the first of two that writes a shared page copies it. A rewind never computes:
 * it cuts where it can, else takes the nearest point that the prefix cache still has, else leaves all to the next
 * step. */
#include "base/mem.h"
#include "base/num.h"
#include "infer/infer_part.h"

fh_status fh_session_new(fh_session **out, fh_engine *e, uint32_t limit, const fh_adapter_set *adapters, uint64_t salt,
                         fh_err *err) {
    uint32_t context = e->src.n_context ? e->src.n_context : UINT32_MAX;
    FH_REQUIRE(!adapters || adapters->serial != 0);
    if (e->whole) {
        if (limit > e->batch_most)
            return fh_fail(err, FH_ERR_LIMIT,
                           "a session of %u tokens is not possible: the model sees whole sequences only, "
                           "and they may have %u",
                           limit, e->batch_most);
        context = FH_MIN(context, e->batch_most);
    }
    fh_session *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    *s = (fh_session){.engine = e, .limit = limit ? limit : context, .salt = salt, .adapters = adapters};
    *out = s;
    return FH_OK;
}

void fh_session_free(fh_session *s) {
    if (!s) return;
    fh_engine *e = s->engine;
    fh_session_forget(s);
    fh_encoding_unref(e, s->encoding);
    for (uint32_t g = 0; g < e->n_group; g++) fh_free(s->page[g]);
    fh_free(s->token);
    fh_free(s);
}

fh_status fh_session_fork(fh_session **out, const fh_session *s, fh_err *err) {
    fh_engine *e = s->engine;
    fh_session *f = fh_alloc_zero(1, sizeof *f);
    if (!f) return fh_fail_memory(err, sizeof *f);
    *f = (fh_session){.engine = e, .limit = s->limit, .salt = s->salt, .regime = s->regime, .adapters = s->adapters};
    fh_status st = fh_session_reserve(f, s->n_token, err);
    if (st != FH_OK) {
        fh_session_free(f);
        return st;
    }
    if (s->n_token) memcpy(f->token, s->token, s->n_token * sizeof *f->token);
    f->n_token = s->n_token;
    f->n_row = s->n_row;
    f->n_adopted = s->n_adopted;
    f->n_block = s->n_block;
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        f->first[g] = s->first[g];
        for (uint32_t b = 0; b < s->n_block; b++) {
            f->page[g][b] = s->page[g][b];
            if (f->page[g][b]) fh_pages_ref(&e->pages, f->page[g][b]);
        }
    }
    f->slot = s->slot;
    if (f->slot) fh_pages_ref(&e->pages, f->slot);
    f->node = s->node;
    f->n_listed = s->n_listed;
    if (f->node) fh_prefix_ref(f->node);
    f->encoding = s->encoding;
    if (f->encoding) f->encoding->refs++;
    *out = f;
    return FH_OK;
}

fh_status fh_session_rewind(fh_session *s, uint32_t n, fh_err *err) {
    if (n > s->n_token) return fh_fail(err, FH_ERR_USAGE, "rewinding to %u tokens: the session has %u", n, s->n_token);
    s->n_token = n;
    if (n >= s->n_row || fh_session_cut(s, n)) return FH_OK;
    if (!fh_session_adopt(s, n, 0)) fh_session_forget(s);
    return FH_OK;
}

fh_engine *fh_session_engine(const fh_session *s) { return s->engine; }
uint32_t fh_session_n_common(const fh_session *s, const uint32_t *token, uint32_t n) {
    uint32_t i = 0;
    while (i < n && i < s->n_token && s->token[i] == token[i]) i++;
    return i;
}
uint32_t fh_session_n_token(const fh_session *s) { return s->n_token; }
const uint32_t *fh_session_tokens(const fh_session *s) { return s->token; }
uint32_t fh_session_limit(const fh_session *s) { return s->limit; }
uint32_t fh_session_n_adopted(const fh_session *s) { return s->n_adopted; }

/* ---- encoder ---- */
static fh_status new_encoding(fh_encoding **out, fh_engine *e, uint32_t n, fh_err *err) {
    fh_encoding *x = fh_alloc_zero(1, sizeof *x);
    if (!x) return fh_fail_memory(err, sizeof *x);
    *x = (fh_encoding){.refs = 1, .n_row = n, .id = ++e->n_encoding};
    x->n_block = (uint32_t)fh_ceil_div(n, e->layout.page);
    fh_status st = FH_OK;
    for (uint32_t g = 0; st == FH_OK && g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_CROSS && e->role[g] != FH_ROLE_ENCODER) continue;
        x->page[g] = fh_alloc_zero(x->n_block, sizeof *x->page[g]);
        if (!x->page[g]) st = fh_fail_memory(err, x->n_block * sizeof *x->page[g]);
        for (uint32_t b = 0; st == FH_OK && b < x->n_block; b++)
            st = fh_pages_take(&e->pages, g, false, &x->page[g][b], err);
    }
    if (st == FH_OK) *out = x;
    else fh_encoding_unref(e, x);
    return st;
}

static fh_status run_encoder(fh_engine *e, fh_encoding *x, const uint32_t *token, const fh_adapter_set *adapters,
                             fh_err *err) {
    for (uint32_t i = 0; i < x->n_row; i++) {
        e->token[i] = token[i];
        e->pos[i] = i;
        e->seq_of[i] = 0;
    }
    e->seq[0] = (fh_batch_seq){.n = x->n_row, .length = x->n_row, .encoder_rows = x->n_row, .adapters = adapters};
    for (uint32_t g = 0; g < e->n_group; g++) e->seq[0].page[g] = x->page[g];
    fh_batch batch = {.n_token = x->n_row,
                      .n_seq = 1,
                      .token = e->token,
                      .pos = e->pos,
                      .seq_of = e->seq_of,
                      .row = e->row,
                      .seq = e->seq};
    return fh_exec_run(e->exec[FH_PLAN_ENCODE], &batch, 0, err);
}

fh_status fh_session_encode(fh_session *s, const uint32_t *token, uint32_t n, fh_err *err) {
    fh_engine *e = s->engine;
    if (!e->exec[FH_PLAN_ENCODE]) return fh_fail(err, FH_ERR_USAGE, "the model has no encoder");
    if (s->encoding || s->n_token)
        return fh_fail(err, FH_ERR_USAGE, "a session is encoded once, before its first token");
    if (n == 0) return fh_fail(err, FH_ERR_USAGE, "nothing to encode");
    if (n > e->encode_most)
        return fh_fail(err, FH_ERR_LIMIT, "an input of %u tokens is longer than the encoder's %u", n, e->encode_most);
    FH_TRY(fh_engine_check_tokens(e, token, n, err));
    fh_encoding *x = NULL;
    fh_status st = new_encoding(&x, e, n, err);
    if (st != FH_OK || !x) return st;
    st = run_encoder(e, x, token, s->adapters, err);
    if (st != FH_OK) {
        fh_encoding_unref(e, x);
        return st;
    }
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_ENCODER) continue;
        for (uint32_t b = 0; b < x->n_block; b++) fh_pages_unref(&e->pages, x->page[g][b]);
        fh_free(x->page[g]);
        x->page[g] = NULL;
    }
    s->encoding = x;
    return FH_OK;
}
