/* serve/fleet.h - the models that a server has: names, and those of them that are in memory.
 * SPDX-License-Identifier: Apache-2.0
 * A model is loaded when it is first asked for, by a thread of the fleet's own, and stays for keep_alive after its last
 * use; when memory is short those that nobody uses leave, longest unused first, as many bytes as are needed. A model in
 * use never leaves. An adapter is a name of its own, "BASE:NAME", that leads to its model: requests under both run in
 * the same batches. A loaded model (fh_resident) is immutable but for what the scheduler does behind its own door. */
#ifndef FH_SERVE_FLEET_H
#define FH_SERVE_FLEET_H

#include "format/generation_config.h"
#include "infer/scheduler.h"
#include "library/facts.h"
#include "model/adapt.h"
#include "text/markup.h"

#define FH_ADAPTERS_MOST 32u /* of one model */

typedef struct fh_fleet fh_fleet;
typedef struct fh_adapters fh_adapters;

typedef struct fh_resident {
    const char *name; /* as served */
    fh_location at;
    fh_model *model;
    fh_engine *engine;         /* the scheduler's, where there is one: fh_scheduler_run */
    fh_scheduler *scheduler;   /* NULL where the model does not write text */
    fh_tokenizer *tokenizer;   /* NULL: token ids only */
    const char *template_name; /* "the model's own", "built-in 'chatml'", or "" */
    fh_template *template;     /* NULL: texts are continued as they are */
    fh_markup_found markup;    /* where has_markup */
    bool has_markup;
    fh_constrain_vocab *vocab;   /* for grammars and breakers: the bytes of every token; NULL without a tokenizer */
    fh_ids end_ids;              /* tokens that end an answer */
    fh_str bos_token, eos_token; /* "" where there is none */
    fh_generation_config gen;    /* the publisher's defaults */
    fh_facts facts;
    fh_export result;   /* LOGITS: writes text; HIDDEN: embeds; SCORE: ranks */
    bool insert;        /* has the tokens for infilling */
    uint32_t n_context; /* tokens a request may have, as served */
    uint64_t bytes;     /* weights and state, at the most */
    uint64_t load_ns, loaded_unix_ms;
    fh_adapters *adapters; /* NULL: none */
} fh_resident;

/* The adapters with these factors, 0: not, as the operand of a request; NULL where all are 0. It lives as long as the
 * resident. FH_ERR_LIMIT: too many different mixtures. Any thread; may take a while the first time. */
FH_MUST_USE fh_status fh_resident_adapt(fh_resident *r, const float scale[FH_ADAPTERS_MOST], const fh_adapter_set **out,
                                        fh_err *err);

/* What is known of a name without loading it. */
typedef struct fh_fleet_entry {
    const char *name;
    const char *path;   /* "" for the built-in one */
    const char *base;   /* of an adapter: its model's name; else NULL */
    uint32_t adapter;   /* its number among those of its model, from 1; of a model 0 */
    uint32_t n_adapter; /* of the model */
    uint64_t created;   /* seconds since 1970: the file's */
    uint64_t file_bytes;
    const char *digest; /* sha256 hex of the weights' files, or "" until it is known */
    bool loaded, loading;
    bool pinned;              /* named at the start: loaded then, and never leaves */
    double progress;          /* of loading */
    uint64_t expires_unix_ms; /* of a loaded one; 0: never */
    uint64_t bytes;           /* in memory */
    uint32_t users;           /* requests that hold it */
    uint32_t n_context;       /* 0 while it was never loaded */
    fh_scheduler_load load;
    fh_export result;
} fh_fleet_entry;

typedef struct fh_fleet_options {
    uint32_t ctx;      /* tokens of a request at most; 0: the model's */
    uint32_t parallel; /* choices of a model at once; 0: 16 */
    uint32_t queue;    /* requests waiting; 0: the scheduler's default */
    uint32_t draft;    /* tokens guessed at a time at most; 0: none */
    int threads;
    fh_dtype kv_type;
    bool exact;
    uint64_t memory_most;  /* bytes of all models and their state; 0: 9 tenths of what is free at the start */
    uint64_t state_most;   /* bytes of one model's state; 0: as much as its weights, 1 to 8 GiB, if there is room */
    uint64_t prompt_cache; /* bytes of computed prompts on disk, of all models; 0: none */
    int64_t keep_alive_ms; /* negative: for ever */
    const char *state_dir; /* where digests are remembered, or NULL */
} fh_fleet_options;

/* Called as models come and go; on a thread of the fleet. */
typedef void fh_fleet_event_fn(void *ctx, const char *event, const char *name, const fh_err *err);

FH_MUST_USE fh_status fh_fleet_new(fh_fleet **out, const fh_fleet_options *opt, fh_fleet_event_fn *fn, void *ctx,
                                   fh_err *err);
FH_MUST_USE fh_status fh_fleet_start(fh_fleet *f, fh_err *err); /* its thread; before any use */
void fh_fleet_free(fh_fleet *f);                                /* NULL is fine; nobody uses a model any more */

/* model as for fh_locate; name: what clients call it, or NULL: made from the file's name. pinned: it never leaves.
 * FH_ERR_EXISTS for a name that is taken. */
FH_MUST_USE fh_status fh_fleet_add(fh_fleet *f, const char *name, const char *model, bool pinned, fh_err *err);
/* Every model in a folder and in the folders right below it. */
FH_MUST_USE fh_status fh_fleet_add_folder(fh_fleet *f, const char *folder, fh_err *err);
FH_MUST_USE fh_status fh_fleet_alias(fh_fleet *f, const char *alias, const char *name, fh_err *err);
/* A LoRA adapter for a model that was added, served as "BASE:NAME"; base "": the first. Before the model is loaded. */
FH_MUST_USE fh_status fh_fleet_add_adapter(fh_fleet *f, fh_str base, fh_str name, const char *path, fh_err *err);
FH_MUST_USE fh_status fh_fleet_remove(fh_fleet *f, fh_str name, fh_err *err); /* the name; no file is touched */

size_t fh_fleet_n(fh_fleet *f);
/* By index, or by a name as clients write it: any letter case, with or without ":latest"; "" is the first. What the
 * pointers show is good for the fleet's life. */
bool fh_fleet_get(fh_fleet *f, size_t i, fh_fleet_entry *out);
bool fh_fleet_find(fh_fleet *f, fh_str name, fh_fleet_entry *out);

/* Calls fn once, with a resident that is then the callee's to release, or NULL and why not. At once, on the caller's
 * thread, when the model is in memory; else later, on the fleet's thread. Must not block. */
typedef void fh_fleet_use_fn(void *ctx, fh_resident *r, const fh_err *err);
/* keep_alive_ms: FH_KEEP_DEFAULT, 0: leaves when unused, negative: for ever. progress may be NULL. */
#define FH_KEEP_DEFAULT INT64_MAX
void fh_fleet_use(fh_fleet *f, fh_str name, int64_t keep_alive_ms, fh_fleet_use_fn *fn, void *ctx);
void fh_resident_hold(fh_fleet *f, fh_resident *r);
void fh_resident_release(fh_fleet *f, fh_resident *r);
/* Leaves when unused, now or later. FH_ERR_NOT_FOUND for an unknown name; fine if it is not loaded. */
FH_MUST_USE fh_status fh_fleet_unload(fh_fleet *f, fh_str name, fh_err *err);
/* Which of its adapters a model uses for requests under its own name that name none: at first none. The model's name,
 * or one of its adapters'. FH_ERR_NOT_FOUND. */
FH_MUST_USE fh_status fh_fleet_set_scales(fh_fleet *f, fh_str name, const float scale[FH_ADAPTERS_MOST], fh_err *err);
void fh_fleet_scales(fh_fleet *f, fh_str name, float out[FH_ADAPTERS_MOST]); /* all 0 for an unknown name */
uint32_t fh_fleet_parallel(const fh_fleet *f);
uint64_t fh_fleet_bytes(fh_fleet *f); /* in memory now */
uint32_t fh_fleet_users(fh_fleet *f); /* holders of residents, all together */
/* Ends its thread; who waits for a model is told so. Residents stay until they are let go and the fleet is freed. */
void fh_fleet_stop(fh_fleet *f);

#endif
