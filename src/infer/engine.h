/* infer/engine.h - a model made ready to run: threads, executors, state pages, prefix cache; and sessions on it.
 * SPDX-License-Identifier: Apache-2.0
 * A session is one sequence: its tokens, and the rows of state computed for them. Its token list may run ahead of its
 * state (after a rewind into a freed window, or a fork of a recurrent model): the next step computes what is missing,
 * so that every state a session can be in equals that of a fresh run over the same tokens, bit for bit in exact mode.
 *
 * State lies in pages of one size per group, counted by reference: forks and sessions with an equal prefix share
 * them, a shared page is copied before it is written. Pages behind a sliding window are given back. Recurrent state
 * is kept as snapshots at page borders. Full pages are remembered by the hash of all tokens up to their end (and of
 * the session's salt): a new session adopts the longest prefix that is still there. Pages without owner stay cached
 * until memory is needed.
 *
 * Nothing is ever cut silently: a token that does not fit the session's limit, or memory that ends, is an error, and
 * the session stays as it was. One thread at a time per engine. */
#ifndef FH_INFER_ENGINE_H
#define FH_INFER_ENGINE_H

#include "device/exec.h"
#include "model/model.h"

typedef struct fh_engine fh_engine;
typedef struct fh_session fh_session;

typedef struct fh_engine_options {
    int threads;          /* 0: one per CPU */
    fh_dtype kv_type;     /* F32, F16, BF16 or Q8_0 */
    uint32_t page;        /* rows: 16, 32 or 64; 0: 32 */
    uint32_t batch;       /* tokens per step at most; 0: 512 */
    uint32_t rows;        /* per step whose results may be asked for; 0: as many as fit 32 MiB of logits, 16 at least */
    uint64_t memory_most; /* bytes of state pages, snapshots and slots; 0: no ceiling */
    uint64_t cache_most;  /* of these, bytes that no session holds; 0: memory_most, or 1 GiB where that is 0, too */
    uint32_t snapshot;    /* recurrent models: tokens between snapshots, a multiple of page; 0: 256. One more is taken
                             at the last page border of every prompt that is longer than a page */
    bool exact, no_prefix_cache, keep_values;
} fh_engine_options;

/* A kv_type by its name, in either case; false where it is none of FH_KV_TYPES. */
#define FH_KV_TYPES "f32, f16, bf16 and q8_0"
bool fh_engine_kv_type(fh_str name, fh_dtype *out);

FH_MUST_USE fh_status fh_engine_new(fh_engine **out, const fh_model *model, const fh_engine_options *opt, fh_err *err);
void fh_engine_free(fh_engine *e); /* after its sessions; NULL is fine */
const fh_model *fh_engine_model(const fh_engine *e);
/* The executor of the step (or encode) plan, for tracing and profiling. NULL where the model has no such plan. */
fh_exec *fh_engine_exec(fh_engine *e, fh_model_plan_kind kind);
/* Until the weights are packed (device/prepared.h): for benchmarks. Nothing to wait for in exact mode. */
void fh_engine_wait_packed(const fh_engine *e);

/* Columns of an exported row; 0 where the model does not give it. */
uint32_t fh_engine_width(const fh_engine *e, fh_export what);

/* What a session of n tokens takes, before any of it is allocated: exactly, when they are appended in one step by
 * itself; and at the most, however they come (sliding groups hold their window and a batch, wherever these begin).
 * Encoder-decoder models: n_input tokens through the encoder first; its own pages are given back after that. Headers of
 * pages and the heap's own bytes are not in it (pages.h), nor are snapshots: slot_bytes each, every `snapshot` tokens
 * and one a prompt. */
typedef struct fh_engine_memory {
    uint64_t scratch; /* executors, once per engine */
    uint64_t page_bytes[FH_MAX_GROUPS];
    uint64_t pages[FH_MAX_GROUPS]; /* in one step */
    uint64_t slot_bytes;           /* recurrent state of one session */
    uint64_t state;                /* what pages and slot take together, in one step */
    uint64_t state_most;           /* and however the tokens come */
    bool kv_fell_back;             /* some rows are f16 because kv_type's block does not divide them */
} fh_engine_memory;
fh_engine_memory fh_engine_foretell(const fh_engine *e, uint32_t n_token, uint32_t n_input);
/* What is allocated now. */
typedef struct fh_engine_usage {
    uint64_t scratch, page_bytes_live, page_bytes_cached, slot_bytes, snapshot_bytes;
    uint64_t state_peak;                 /* pages and slots that sessions held, at the most so far */
    uint64_t prefix_hits, prefix_tokens; /* adopted so far */
    uint64_t recomputed;                 /* tokens whose state had been there before: see fh_session_rewind */
} fh_engine_usage;
fh_engine_usage fh_engine_get_usage(const fh_engine *e);

/* limit: tokens at most; 0: the model's context. adapters: borrowed, or NULL. Sessions share prefixes only with equal
 * salt and adapters (by serial number: what is loaded where others lay is not taken for them). */
FH_MUST_USE fh_status fh_session_new(fh_session **out, fh_engine *e, uint32_t limit, const fh_adapter_set *adapters,
                                     uint64_t salt, fh_err *err);
void fh_session_free(fh_session *s); /* NULL is fine; full pages stay in the prefix cache */
FH_MUST_USE fh_status fh_session_fork(fh_session **out, const fh_session *s, fh_err *err);
/* Keep the first n tokens. Free of cost where their state can be cut or restored; else the next step computes it again
 * from the nearest point that is left. The same happens when a sequence grows past a length at which its rotation
 * changes (longrope). FH_ERR_USAGE when there are fewer. */
FH_MUST_USE fh_status fh_session_rewind(fh_session *s, uint32_t n, fh_err *err);
fh_engine *fh_session_engine(const fh_session *s);
uint32_t fh_session_n_token(const fh_session *s);
const uint32_t *fh_session_tokens(const fh_session *s);
/* How many of these tokens the session begins with: what a rewind would keep of it for another text. */
uint32_t fh_session_n_common(const fh_session *s, const uint32_t *token, uint32_t n);
uint32_t fh_session_limit(const fh_session *s);
uint32_t fh_session_n_adopted(const fh_session *s); /* tokens whose state came from the prefix cache */

/* Encoder-decoder models: run the encoder over the input, once, before the first step. */
FH_MUST_USE fh_status fh_session_encode(fh_session *s, const uint32_t *token, uint32_t n, fh_err *err);

typedef enum fh_want { FH_WANT_NONE, FH_WANT_LAST, FH_WANT_ALL, FH_WANT_FIRST } fh_want;
/* Tokens to append to a session, and which of their results to hand out. */
typedef struct fh_work {
    fh_session *session;
    const uint32_t *token;
    uint32_t n;
    fh_want want;
} fh_work;

/* Called for every wanted row, in order within each work item: index counts that item's tokens. row holds the
 * exported value's width floats and is gone after the call. A failure ends the step with that status. */
typedef fh_status fh_row_fn(void *ctx, uint32_t work, uint32_t index, const float *row, fh_err *err);

/* Computes all work, in as many batches as its size asks for; the batches hold tokens of several sessions. A session
 * may stand in one item only. A session without tokens first adopts what the prefix cache has (but always computes at
 * least what is wanted). On failure sessions keep the tokens whose state was computed, and say so by their count;
 * stop (may be NULL) is looked at between batches: FH_ERR_CANCELLED. */
FH_MUST_USE fh_status fh_engine_step(fh_engine *e, const fh_work *work, uint32_t n_work, fh_export what, fh_row_fn *fn,
                                     void *ctx, const volatile int *stop, fh_err *err);

#endif
