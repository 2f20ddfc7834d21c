/* serve/fleet_part.h - the insides of the fleet.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_SERVE_FLEET_PART_H
#define FH_SERVE_FLEET_PART_H

#include <pthread.h>
#include <stdatomic.h>

#include "serve/fleet.h"

typedef struct fh_fleet_waiter {
    fh_fleet_use_fn *fn;
    void *ctx;
    int64_t keep_alive_ms;
    struct fh_fleet_waiter *next;
} fh_fleet_waiter;

typedef struct fh_fleet_slot fh_fleet_slot;

/* A resident with what the fleet knows of it; pub comes first, so that one pointer is both. */
typedef struct fh_fleet_box {
    fh_resident pub;
    fh_fleet_slot *slot;
    uint32_t users;
    uint64_t used_ns; /* last let go */
    uint64_t kept_at; /* tokens that it had computed when its prompts were kept last */
    int64_t keep_alive_ms;
} fh_fleet_box;

struct fh_fleet_slot {
    char *name, *path;
    fh_location at;
    const char *alias_of; /* or NULL */
    fh_fleet_slot *base;  /* of an adapter, else NULL */
    uint32_t number;      /* of an adapter, from 1 */
    fh_fleet_slot *adapter[FH_ADAPTERS_MOST];
    uint32_t n_adapter;
    float scale[FH_ADAPTERS_MOST]; /* of requests that name none */
    uint64_t created, file_bytes;
    char *digest; /* NULL until it is known, then it stays */
    bool pinned, removed, wanted, loading, no_digest;
    bool leave; /* when unused */
    _Atomic uint64_t touched_bytes;
    uint32_t n_context;
    fh_export result;
    fh_fleet_box *box;
    fh_fleet_waiter *waiters;
};

#define FH_FLEET_MOST 4096
struct fh_fleet {
    fh_fleet_options opt;
    fh_fleet_event_fn *event;
    void *event_ctx;
    char state_dir[FH_PATH_MAX];
    uint64_t memory_most;
    pthread_mutex_t lock;
    pthread_cond_t more;
    pthread_t thread;
    bool running, stop;
    bool hurry; /* something waits: digests are for later */
    fh_fleet_slot *slot[FH_FLEET_MOST];
    size_t n_slot;
};

/* fleet_open.c: blocking, for the fleet's thread. room: bytes that weights and state may take. */
FH_MUST_USE fh_status fh_resident_open(fh_fleet_box **out, fh_fleet_slot *s, const fh_fleet_options *o, uint64_t room,
                                       fh_err *err);
void fh_resident_close(fh_fleet_box *b, const fh_fleet_options *o); /* NULL is fine */
/* fleet_prompts.c: the prefix cache of an engine, to disk and back. What goes wrong is logged: a
 * prompt can always be computed again. */
void fh_fleet_keep_prompts(const fh_fleet_options *o, const fh_fleet_slot *s, fh_engine *e);
/* While it is in use; gives up when a request comes: false. */
bool fh_fleet_keep_prompts_now(const fh_fleet_options *o, const fh_fleet_slot *s, fh_scheduler *k);
void fh_fleet_take_prompts(const fh_fleet_options *o, const fh_fleet_slot *s, fh_engine *e);
/* fleet_adapt.c: bytes grows by what they take. */
FH_MUST_USE fh_status fh_adapters_open(fh_adapters **out, const fh_fleet_slot *s, const fh_model *m, uint64_t *bytes,
                                       fh_err *err);
void fh_adapters_free(fh_adapters *a); /* NULL is fine */
/* fleet_digest.c: stop is looked at now and then. FH_ERR_CANCELLED. */
FH_MUST_USE fh_status fh_fleet_digest(char out[FH_SHA256_HEX], const fh_bundle *b, const bool *stop, fh_err *err);
bool fh_fleet_recall_digest(const char *state_dir, const char *path, char out[FH_SHA256_HEX]);
void fh_fleet_keep_digest(const char *state_dir, const char *path, const char *digest);

#endif
