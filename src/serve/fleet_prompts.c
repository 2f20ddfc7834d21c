/* serve/fleet_prompts.c - computed prompts on disk: one file a model, all of them together under a ceiling.
 * SPDX-License-Identifier: Apache-2.0
 * state/prompts/DIGEST.kv, named after the weights, so that a file that changed under its name finds nothing. Written
 * when a model has been idle for a moment, so that a server which is killed has it, and when it leaves memory; read
 * when it comes back, in this server or the next. When a file makes the folder too large, those that were written
 * longest ago go. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "infer/prefix_file.h"
#include "serve/fleet_part.h"

#define SMALL_BYTES ((uint64_t)256 << 20) /* weights whose digest is computed on the spot */
#define NAMES_MOST ((size_t)1 << 20)

static bool folder_of(char out[FH_PATH_MAX], const fh_fleet_options *o) {
    return o->prompt_cache && o->state_dir && fh_path_join(out, o->state_dir, FH_STR("prompts"), NULL) == FH_OK;
}

/* Weights without a known digest: small ones are read now, others have no file this time. */
static bool digest_of(const fh_fleet_slot *s, const fh_engine *e, char out[FH_SHA256_HEX]) {
    bool stop = false;
    if (s->digest) return fh_str_copy(out, FH_SHA256_HEX, fh_str_of(s->digest));
    if (s->file_bytes > SMALL_BYTES) return false;
    return fh_fleet_digest(out, fh_model_bundle(fh_engine_model(e)), &stop, NULL) == FH_OK;
}

static bool path_of(char out[FH_PATH_MAX], const fh_fleet_options *o, const char *digest) {
    char folder[FH_PATH_MAX], name[FH_SHA256_HEX + 8];
    (void)snprintf(name, sizeof name, "%s.kv", digest);
    return folder_of(folder, o) && fh_path_join(out, folder, fh_str_of(name), NULL) == FH_OK;
}

static void note(fh_log_level level, const char *event, const fh_fleet_slot *s, uint64_t n_token, uint64_t start,
                 const fh_err *err) {
    const fh_log_field f[] = {FH_LOG_S("model", fh_str_of(s->name)), FH_LOG_I("tokens", (int64_t)n_token),
                              FH_LOG_I("ms", (int64_t)((fh_clock_ns() - start) / 1000000u)),
                              FH_LOG_S("why", fh_str_of(err ? err->message : ""))};
    if (fh_log_on(level)) fh_log_write(level, event, f, err ? 4 : 3);
}

/* ---- the ceiling ---- */

typedef struct kept {
    char oldest[FH_PATH_MAX];
    time_t written;
    uint64_t bytes; /* of all */
} kept;

static bool look(const char *folder, const char *but, kept *k) {
    char path[FH_PATH_MAX];
    struct stat st;
    fh_names names;
    fh_arena arena;
    fh_arena_init(&arena, NAMES_MOST);
    *k = (kept){.bytes = 0};
    bool ok = fh_dir_list(folder, &arena, &names, NULL) == FH_OK;
    for (size_t i = 0; ok && i < names.n; i++) {
        if (fh_path_join(path, folder, names.item[i], NULL) != FH_OK || stat(path, &st) != 0) continue;
        k->bytes += (uint64_t)st.st_size;
        if (strcmp(path, but) == 0 || (k->oldest[0] && st.st_mtime >= k->written)) continue;
        k->written = st.st_mtime;
        (void)fh_str_copy(k->oldest, sizeof k->oldest, fh_str_of(path));
    }
    fh_arena_release(&arena);
    return ok;
}

static void sweep(const fh_fleet_options *o, const char *but) {
    char folder[FH_PATH_MAX];
    kept k;
    if (!folder_of(folder, o)) return;
    while (look(folder, but, &k) && k.bytes > o->prompt_cache && k.oldest[0] && unlink(k.oldest) == 0) {
    }
}

/* ---- there and back ---- */

static fh_status keep(const fh_fleet_options *o, const fh_fleet_slot *s, fh_engine *e, fh_prefix_stop_fn *stop,
                      void *ctx) {
    char folder[FH_PATH_MAX], path[FH_PATH_MAX], digest[FH_SHA256_HEX];
    fh_err err = {.status = FH_OK};
    uint64_t n = 0, start = fh_clock_ns();
    if (!folder_of(folder, o) || !digest_of(s, e, digest) || !path_of(path, o, digest)) return FH_OK;
    (void)mkdir(folder, 0700); /* where it cannot be made, writing says why */
    fh_status st = fh_prefix_file_write(e, path, fh_str_of(digest), o->prompt_cache, stop, ctx, &n, &err);
    if (st == FH_ERR_CANCELLED) return st;
    if (st != FH_OK) note(FH_LOG_WARN, "prompts.not_kept", s, 0, start, &err);
    else if (n) note(FH_LOG_INFO, "prompts.kept", s, n, start, NULL);
    sweep(o, path);
    return FH_OK;
}

void fh_fleet_keep_prompts(const fh_fleet_options *o, const fh_fleet_slot *s, fh_engine *e) {
    (void)keep(o, s, e, NULL, NULL);
}

typedef struct errand {
    const fh_fleet_options *o;
    const fh_fleet_slot *s;
    fh_scheduler *k;
} errand;

static bool somebody_waits(void *ctx) {
    const errand *x = ctx;
    return fh_scheduler_get_load(x->k).waiting > 0;
}

static fh_status keep_between(void *ctx, fh_engine *e, fh_err *err) {
    errand *x = ctx;
    (void)err;
    return keep(x->o, x->s, e, somebody_waits, x);
}

bool fh_fleet_keep_prompts_now(const fh_fleet_options *o, const fh_fleet_slot *s, fh_scheduler *k) {
    errand x = {o, s, k};
    return fh_scheduler_run(k, keep_between, &x, NULL) == FH_OK;
}

void fh_fleet_take_prompts(const fh_fleet_options *o, const fh_fleet_slot *s, fh_engine *e) {
    char folder[FH_PATH_MAX], path[FH_PATH_MAX], digest[FH_SHA256_HEX];
    fh_err err = {.status = FH_OK};
    uint64_t n = 0, start = fh_clock_ns();
    if (!folder_of(folder, o) || !digest_of(s, e, digest) || !path_of(path, o, digest)) return;
    if (fh_file_get_kind(path) == FH_FILE_NONE) return;
    fh_status st = fh_prefix_file_read(e, path, fh_str_of(digest), &n, &err);
    note(st == FH_OK ? FH_LOG_INFO : FH_LOG_WARN, st == FH_OK ? "prompts.back" : "prompts.refused", s, n, start,
         st == FH_OK ? NULL : &err);
}
