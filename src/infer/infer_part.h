/* infer/infer_part.h - the insides of engines and sessions. Private to src/infer and its tests.
 * SPDX-License-Identifier: Apache-2.0
 * A session's tables have n_block entries for each paged group of the step plan; those before first[g] were given
 * back. Rows [0, n_row) are computed; tokens may be more (n_token > n_row) or, within a step, further (reserved). */
#ifndef FH_INFER_INFER_PART_H
#define FH_INFER_INFER_PART_H

#include "infer/engine.h"
#include "infer/prefix.h"

/* What an engine needs of a model; tests make it by hand. */
typedef struct fh_engine_source {
    const fh_model *model; /* only handed out again */
    const fh_plan *step, *encode;
    uint32_t n_context, n_vocab; /* 0: unknown */
} fh_engine_source;
FH_MUST_USE fh_status fh_engine_new_from(fh_engine **out, const fh_engine_source *src, const fh_engine_options *opt,
                                         fh_err *err);

typedef enum fh_group_role { FH_ROLE_NONE, FH_ROLE_STEP, FH_ROLE_ENCODER, FH_ROLE_CROSS } fh_group_role;

/* The encoder's rows of one input: shared by forks. Pages of ENCODER groups are there only while it runs. */
typedef struct fh_encoding {
    uint32_t refs, n_row, n_block;
    uint64_t id;
    uint8_t **page[FH_MAX_GROUPS]; /* [n_block] */
} fh_encoding;

/* A session's part of the batch that is being made. */
typedef struct fh_piece {
    fh_session *session;
    uint32_t work, n, first_row, n_row;
} fh_piece;

struct fh_engine {
    fh_engine_source src;
    fh_engine_options opt; /* no zeros that stand for something else */
    fh_pool *pool;
    fh_prepared *prepared; /* fast mode, or NULL */
    fh_exec *exec[FH_PLAN_COUNT];
    fh_state_place *place;
    fh_state_layout layout;
    bool fell_back;
    uint32_t n_group;
    fh_group_role role[FH_MAX_GROUPS];
    uint32_t window[FH_MAX_GROUPS]; /* 0: all rows stay */
    bool slides, recurrent, whole;
    uint32_t batch_most, rows_most, encode_most, seq_most;
    fh_pages pages;
    fh_prefix *prefix; /* NULL: off */
    /* the batch */
    uint32_t *token, *pos, *seq_of, *row;
    fh_batch_seq *seq;
    fh_piece *piece;
    uint64_t n_step, n_encoding, prefix_hits, prefix_tokens, recomputed;
};

struct fh_session {
    fh_engine *engine;
    uint32_t *token;
    uint32_t n_token, cap_token, limit;
    uint32_t n_row, n_adopted;
    uint64_t salt, regime; /* which rotations are long */
    const fh_adapter_set *adapters;
    uint8_t **page[FH_MAX_GROUPS];
    uint32_t n_block, cap_block;
    uint32_t first[FH_MAX_GROUPS];
    uint8_t *slot;        /* NULL at row 0 */
    fh_prefix_node *node; /* after n_listed blocks; NULL before the first was listed */
    uint32_t n_listed;
    fh_encoding *encoding;
    /* within a step */
    uint64_t mark;
    uint32_t base, target, at;     /* tokens before, tokens afterwards, computed so far */
    uint32_t border;               /* a page border for one more snapshot, or 0 */
    uint32_t want_first, want_end; /* positions whose rows are wanted */
};

/* FH_ERR_USAGE names one that is not in the vocabulary. */
FH_MUST_USE fh_status fh_engine_check_tokens(const fh_engine *e, const uint32_t *token, uint32_t n, fh_err *err);

/* How many of n tokens from row `at` on go into one batch that has room for so many. border: as in fh_session. */
uint32_t fh_engine_portion(const fh_engine *e, uint32_t at, uint32_t n, uint32_t room, uint32_t border);

/* ---- session_state.c ---- */
/* Room for n tokens in lists and tables; nothing changes otherwise. */
FH_MUST_USE fh_status fh_session_reserve(fh_session *s, uint32_t n, fh_err *err);
/* Rows [n_row, n_row + n) can be written. After a failure fh_session_trim puts things right. */
FH_MUST_USE fh_status fh_session_prepare(fh_session *s, uint32_t n, fh_err *err);
void fh_session_trim(fh_session *s);
/* After n_row moved on: full blocks are remembered, what lies behind windows is given back. */
void fh_session_settle(fh_session *s);
/* The longest known prefix of at most `most` tokens, if longer than `have`, takes the place of the session's state. */
bool fh_session_adopt(fh_session *s, uint32_t most, uint32_t have);
/* Cuts the state to n < n_row rows; false (and nothing changed) where that cannot be. */
bool fh_session_cut(fh_session *s, uint32_t n);
void fh_session_forget(fh_session *s);
void fh_encoding_unref(fh_engine *e, fh_encoding *x); /* NULL is fine */

#endif
