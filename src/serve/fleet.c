/* serve/fleet.c - names, the loading thread, who uses what, who has to leave.
 * SPDX-License-Identifier: Apache-2.0
 * One lock for all of it; loading and freeing happen outside it, on the fleet's thread alone, so a model is never
 * loaded twice. Slots are never freed before the fleet: pointers to names stay good. */
#include "serve/fleet_part.h"

#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/num.h"

#define PARALLEL 16u        /* choices of a model at once, where nothing else is said */
#define IDLE_NS 1000000000u /* before the prompts of a model are kept */

/* ---- names ---- */

static fh_str without_latest(fh_str s) {
    if (fh_str_ends(s, ":latest")) s.len -= 7;
    return s;
}

static bool same_name(fh_str a, fh_str b) {
    a = without_latest(a);
    b = without_latest(b);
    return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

/* With the lock held. Aliases lead to what they name; an adapter is found as itself. */
static fh_fleet_slot *find(fh_fleet *f, fh_str name) {
    for (size_t hop = 0; hop < 8; hop++) {
        fh_fleet_slot *s = NULL;
        for (size_t i = 0; i < f->n_slot && !s; i++)
            if (!f->slot[i]->removed &&
                (name.len == 0 ? !f->slot[i]->alias_of : same_name(name, fh_str_of(f->slot[i]->name))))
                s = f->slot[i];
        if (!s || !s->alias_of) return s;
        name = fh_str_of(s->alias_of);
    }
    return NULL;
}

/* With the lock held: who is loaded for that name. */
static fh_fleet_slot *find_model(fh_fleet *f, fh_str name) {
    fh_fleet_slot *s = find(f, name);
    return s && s->base ? s->base : s;
}

/* What people would call a file: its name without the ending, and a folder by its own name. */
static fh_str plain_name(const fh_location *at) {
    fh_str base = fh_path_base(fh_str_of(at->path));
    static const char *const ends[] = {".gguf", ".safetensors"};
    if (at->source == FH_SOURCE_BUILTIN) return FH_STR("freehold");
    if (at->source != FH_SOURCE_PATH) return without_latest(fh_str_of(at->name));
    while (base.len == 0 && at->path[0]) return fh_str_of(at->name);
    for (size_t i = 0; i < FH_COUNT(ends); i++)
        if (fh_str_ends(base, ends[i])) base.len -= strlen(ends[i]);
    return base;
}

static void note_file(fh_fleet_slot *s) {
    struct stat st;
    uint64_t n;
    s->created = fh_clock_unix_ms() / 1000;
    if (s->at.path[0] == '\0' || stat(s->at.path, &st) != 0) return;
    s->created = (uint64_t)st.st_mtim.tv_sec;
    if (S_ISREG(st.st_mode) && fh_file_get_size(s->at.path, &n, NULL) == FH_OK) s->file_bytes = n;
}

/* Ollama's and Hugging Face's blobs are named by their digest. */
static void note_digest(fh_fleet *f, fh_fleet_slot *s) {
    char known[FH_SHA256_HEX];
    fh_str base = fh_path_base(fh_str_of(s->at.path));
    if (fh_str_starts(base, "sha256-") && base.len == 7 + FH_SHA256_HEX - 1)
        s->digest = fh_strdup(fh_str_drop(base, 7));
    else if (f->state_dir[0] && s->at.path[0] && fh_fleet_recall_digest(f->state_dir, s->at.path, known))
        s->digest = fh_strdup(fh_str_of(known));
}

static void free_slot(fh_fleet_slot *s) {
    if (!s) return;
    fh_free(s->name);
    fh_free(s->path);
    fh_free(s->digest);
    fh_free(s);
}

static fh_status add_slot(fh_fleet *f, fh_fleet_slot *s, fh_err *err) {
    fh_status st = FH_OK;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_slot; i++)
        if (!f->slot[i]->removed && same_name(fh_str_of(s->name), fh_str_of(f->slot[i]->name)))
            st = fh_fail(err, FH_ERR_EXISTS, "two models would be called '%.100s': name one of them (NAME=MODEL)",
                         s->name);
    if (st == FH_OK && f->n_slot == FH_FLEET_MOST)
        st = fh_fail(err, FH_ERR_LIMIT, "'%.100s' is one model too many: a server has at most %d", s->name,
                     FH_FLEET_MOST);
    if (st == FH_OK) f->slot[f->n_slot++] = s;
    pthread_mutex_unlock(&f->lock);
    return st;
}

fh_status fh_fleet_add(fh_fleet *f, const char *name, const char *model, bool pinned, fh_err *err) {
    fh_fleet_slot *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    fh_status st = fh_locate(&s->at, model, err);
    if (st == FH_OK) {
        s->name = name ? fh_strdup(fh_str_of(name)) : fh_strdup(plain_name(&s->at));
        s->path = fh_strdup(fh_str_of(s->at.path));
        s->pinned = pinned;
        st = s->name && s->path ? FH_OK : fh_fail_memory(err, sizeof s->at.path);
    }
    if (st == FH_OK && (s->name[0] == '\0' || strlen(s->name) > 120))
        st = fh_fail(err, FH_ERR_USAGE, "a model's name has 1 to 120 bytes, not '%.130s'", s->name);
    if (st == FH_OK) {
        note_file(s);
        note_digest(f, s);
        st = add_slot(f, s, err);
    }
    if (st != FH_OK) free_slot(s);
    return st;
}

fh_status fh_fleet_alias(fh_fleet *f, const char *alias, const char *name, fh_err *err) {
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *to = find(f, fh_str_of(name));
    pthread_mutex_unlock(&f->lock);
    if (!to) return fh_fail(err, FH_ERR_NOT_FOUND, "the alias '%.60s' names '%.60s', which is not served", alias, name);
    fh_fleet_slot *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    s->name = fh_strdup(fh_str_of(alias));
    s->path = fh_strdup(FH_STR(""));
    s->alias_of = to->name;
    fh_status st = s->name && s->path ? add_slot(f, s, err) : fh_fail_memory(err, strlen(alias));
    if (st != FH_OK) free_slot(s);
    return st;
}

static fh_status make_adapter(fh_fleet_slot *s, fh_fleet_slot *to, fh_str name, const char *path, fh_err *err) {
    char whole[FH_PATH_MAX];
    (void)snprintf(whole, sizeof whole, "%s:%.*s", to->name, FH_STR_ARG(name));
    if (name.len == 0 || strlen(whole) > 120)
        return fh_fail(err, FH_ERR_USAGE, "an adapter's name, with its model's, has at most 120 bytes: '%.130s'",
                       whole);
    if (to->n_adapter == FH_ADAPTERS_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "'%.100s' has %u adapters already", to->name, FH_ADAPTERS_MOST);
    if (fh_file_get_kind(path) == FH_FILE_NONE)
        return fh_fail(err, FH_ERR_NOT_FOUND, "there is no adapter at '%.200s'", path);
    s->name = fh_strdup(fh_str_of(whole));
    s->path = fh_strdup(fh_str_of(path));
    s->base = to;
    s->number = to->n_adapter + 1;
    if (!s->name || !s->path) return fh_fail_memory(err, strlen(path));
    fh_str_copy(s->at.path, sizeof s->at.path, fh_str_of(path));
    note_file(s);
    return FH_OK;
}

fh_status fh_fleet_add_adapter(fh_fleet *f, fh_str base, fh_str name, const char *path, fh_err *err) {
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *to = find_model(f, base);
    pthread_mutex_unlock(&f->lock);
    if (!to)
        return fh_fail(err, FH_ERR_NOT_FOUND, "the adapter '%.*s' is for '%.*s', which is not served", FH_STR_ARG(name),
                       FH_STR_ARG(base));
    fh_fleet_slot *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    fh_status st = make_adapter(s, to, name, path, err);
    if (st == FH_OK) st = add_slot(f, s, err);
    if (st == FH_OK) to->adapter[to->n_adapter++] = s;
    else free_slot(s);
    return st;
}

fh_status fh_fleet_remove(fh_fleet *f, fh_str name, fh_err *err) {
    fh_status st = FH_OK;
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *s = NULL;
    for (size_t i = 0; i < f->n_slot && !s; i++) /* an alias goes by itself */
        if (!f->slot[i]->removed && same_name(name, fh_str_of(f->slot[i]->name))) s = f->slot[i];
    if (!s) st = fh_fail(err, FH_ERR_NOT_FOUND, "the model '%.*s' is not served here", FH_STR_ARG(name));
    else s->removed = s->leave = true;
    for (uint32_t i = 0; s && i < s->n_adapter; i++) s->adapter[i]->removed = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    return st;
}

/* ---- folders ---- */

static bool is_model_file(fh_str name) {
    size_t at;
    if (fh_str_ends(name, ".safetensors") && fh_str_find(name, '-', &at)) return !strstr(name.ptr, "-of-");
    if (!fh_str_ends(name, ".gguf") && !fh_str_ends(name, ".safetensors")) return false;
    const char *of = strstr(name.ptr, "-of-"); /* of a split set the first part stands for all */
    return !of || strstr(name.ptr, "-00001-of-") || strstr(name.ptr, "-000001-of-");
}

static bool is_model_folder(const char *path) {
    char file[FH_PATH_MAX];
    return fh_path_join(file, path, FH_STR("config.json"), NULL) == FH_OK && fh_file_get_kind(file) == FH_FILE_REGULAR;
}

static fh_status add_below(fh_fleet *f, const char *folder, int depth, size_t *n, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_names names;
    fh_arena arena;
    fh_arena_init(&arena, (size_t)16 << 20);
    fh_status s = fh_dir_list(folder, &arena, &names, err);
    for (size_t i = 0; s == FH_OK && i < names.n; i++) {
        fh_err why = {.status = FH_OK};
        if (names.item[i].ptr[0] == '.' || fh_path_join(path, folder, names.item[i], NULL) != FH_OK) continue;
        fh_file_kind kind = fh_file_get_kind(path);
        bool model =
            (kind == FH_FILE_REGULAR && is_model_file(names.item[i])) || (kind == FH_FILE_DIR && is_model_folder(path));
        if (model) {
            fh_status added = fh_fleet_add(f, NULL, path, false, &why);
            if (added == FH_OK) ++*n;
            else
                fh_log(FH_LOG_WARN, "model.skipped", FH_LOG_S("path", fh_str_of(path)),
                       FH_LOG_S("why", fh_str_of(why.message)));
        } else if (kind == FH_FILE_DIR && depth > 0) {
            s = add_below(f, path, depth - 1, n, err);
        }
    }
    fh_arena_release(&arena);
    return s;
}

fh_status fh_fleet_add_folder(fh_fleet *f, const char *folder, fh_err *err) {
    size_t n = 0;
    if (is_model_folder(folder)) return fh_fleet_add(f, NULL, folder, false, err);
    FH_TRY(add_below(f, folder, 1, &n, err));
    return n ? FH_OK : fh_fail(err, FH_ERR_NOT_FOUND, "there is no model in the folder '%.200s'", folder);
}

/* ---- looks ---- */

static uint64_t expires_ms(const fh_fleet_slot *s) {
    const fh_fleet_box *b = s->box;
    if (!b || s->pinned || b->keep_alive_ms < 0) return 0;
    uint64_t now = fh_clock_unix_ms();
    if (b->users) return now + (uint64_t)b->keep_alive_ms;
    uint64_t idle = (fh_clock_ns() - b->used_ns) / 1000000u;
    return now + ((uint64_t)b->keep_alive_ms > idle ? (uint64_t)b->keep_alive_ms - idle : 0);
}

static void describe_model(fh_fleet_slot *s, fh_fleet_entry *e) {
    *e = (fh_fleet_entry){.name = s->name,
                          .path = s->path,
                          .created = s->created,
                          .file_bytes = s->file_bytes,
                          .digest = s->digest ? s->digest : "",
                          .loaded = s->box != NULL,
                          .loading = s->loading,
                          .pinned = s->pinned,
                          .expires_unix_ms = expires_ms(s),
                          .n_context = s->n_context,
                          .n_adapter = s->n_adapter,
                          .result = s->result};
    if (s->loading && s->file_bytes) e->progress = (double)s->touched_bytes / (double)s->file_bytes;
    if (e->progress > 1) e->progress = 1;
    if (!s->box) return;
    e->bytes = s->box->pub.bytes;
    e->users = s->box->users;
    if (s->box->pub.scheduler) e->load = fh_scheduler_get_load(s->box->pub.scheduler);
}

/* An adapter is there when its model is; memory and users are the model's. */
static void describe(fh_fleet_slot *s, fh_fleet_entry *e) {
    describe_model(s->base ? s->base : s, e);
    if (!s->base) return;
    e->base = e->name;
    e->adapter = s->number;
    e->name = s->name;
    e->path = s->path;
    e->created = s->created;
    e->pinned = false;
    e->bytes = e->users = 0;
}

bool fh_fleet_get(fh_fleet *f, size_t i, fh_fleet_entry *out) {
    bool found = false;
    pthread_mutex_lock(&f->lock);
    for (size_t k = 0; k < f->n_slot && !found; k++) {
        if (f->slot[k]->removed || f->slot[k]->alias_of || i--) continue;
        describe(f->slot[k], out);
        found = true;
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

size_t fh_fleet_n(fh_fleet *f) {
    size_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (size_t k = 0; k < f->n_slot; k++) n += !f->slot[k]->removed && !f->slot[k]->alias_of;
    pthread_mutex_unlock(&f->lock);
    return n;
}

bool fh_fleet_find(fh_fleet *f, fh_str name, fh_fleet_entry *out) {
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *s = find(f, name);
    if (s) describe(s, out);
    pthread_mutex_unlock(&f->lock);
    return s != NULL;
}

static uint64_t bytes_held(const fh_fleet *f) {
    uint64_t n = 0;
    for (size_t i = 0; i < f->n_slot; i++) n += f->slot[i]->box ? f->slot[i]->box->pub.bytes : 0;
    return n;
}

uint64_t fh_fleet_bytes(fh_fleet *f) {
    pthread_mutex_lock(&f->lock);
    uint64_t n = bytes_held(f);
    pthread_mutex_unlock(&f->lock);
    return n;
}

uint32_t fh_fleet_users(fh_fleet *f) {
    uint32_t n = 0;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_slot; i++) n += f->slot[i]->box ? f->slot[i]->box->users : 0;
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* ---- use ---- */

static void set_keep_alive(fh_fleet *f, fh_fleet_box *b, int64_t ms) {
    if (ms != FH_KEEP_DEFAULT) b->keep_alive_ms = ms;
    else if (b->keep_alive_ms == FH_KEEP_DEFAULT) b->keep_alive_ms = f->opt.keep_alive_ms;
}

void fh_fleet_use(fh_fleet *f, fh_str name, int64_t keep_alive_ms, fh_fleet_use_fn *fn, void *ctx) {
    fh_err err = {.status = FH_OK};
    fh_resident *r = NULL;
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *s = find_model(f, name);
    fh_fleet_waiter *w = s && !s->box && !f->stop ? fh_alloc_zero(1, sizeof *w) : NULL;
    if (s && s->box) {
        s->box->users++;
        s->leave = false;
        set_keep_alive(f, s->box, keep_alive_ms);
        r = &s->box->pub;
    } else if (w) {
        *w = (fh_fleet_waiter){fn, ctx, keep_alive_ms, s->waiters};
        s->waiters = w;
        s->wanted = true;
        __atomic_store_n(&f->hurry, true, __ATOMIC_RELAXED);
        s->leave = false;
        pthread_cond_signal(&f->more);
    } else if (f->stop) {
        err.status = fh_fail(&err, FH_ERR_CANCELLED, "the server is about to stop");
    } else {
        err.status = s ? fh_fail_memory(&err, sizeof *w)
                       : fh_fail(&err, FH_ERR_NOT_FOUND, "the model '%.*s' is not served here", FH_STR_ARG(name));
    }
    pthread_mutex_unlock(&f->lock);
    if (r) fn(ctx, r, NULL);
    else if (err.status != FH_OK) fn(ctx, NULL, &err);
}

void fh_resident_hold(fh_fleet *f, fh_resident *r) {
    pthread_mutex_lock(&f->lock);
    ((fh_fleet_box *)r)->users++;
    pthread_mutex_unlock(&f->lock);
}

void fh_resident_release(fh_fleet *f, fh_resident *r) {
    if (!r) return;
    pthread_mutex_lock(&f->lock);
    fh_fleet_box *b = (fh_fleet_box *)r;
    FH_REQUIRE(b->users > 0);
    if (--b->users == 0) {
        b->used_ns = fh_clock_ns();
        pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->lock);
}

fh_status fh_fleet_set_scales(fh_fleet *f, fh_str name, const float scale[FH_ADAPTERS_MOST], fh_err *err) {
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *s = find_model(f, name);
    if (s) memcpy(s->scale, scale, sizeof s->scale);
    pthread_mutex_unlock(&f->lock);
    return s ? FH_OK : fh_fail(err, FH_ERR_NOT_FOUND, "the model '%.*s' is not served here", FH_STR_ARG(name));
}

void fh_fleet_scales(fh_fleet *f, fh_str name, float out[FH_ADAPTERS_MOST]) {
    pthread_mutex_lock(&f->lock);
    const fh_fleet_slot *s = find_model(f, name);
    if (s) memcpy(out, s->scale, sizeof s->scale);
    else memset(out, 0, FH_ADAPTERS_MOST * sizeof *out);
    pthread_mutex_unlock(&f->lock);
}

uint32_t fh_fleet_parallel(const fh_fleet *f) { return f->opt.parallel; }

fh_status fh_fleet_unload(fh_fleet *f, fh_str name, fh_err *err) {
    pthread_mutex_lock(&f->lock);
    fh_fleet_slot *s = find_model(f, name);
    if (s) s->leave = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    return s ? FH_OK : fh_fail(err, FH_ERR_NOT_FOUND, "the model '%.*s' is not served here", FH_STR_ARG(name));
}

/* ---- the thread ---- */

static void tell(fh_fleet *f, const char *event, const char *name, const fh_err *err) {
    if (f->event) f->event(f->event_ctx, event, name, err);
}

/* Takes a box out of its slot and frees it, outside the lock. */
static void put_out(fh_fleet *f, fh_fleet_slot *s, const char *why) {
    fh_fleet_box *b = s->box;
    s->box = NULL;
    s->leave = false;
    pthread_mutex_unlock(&f->lock);
    fh_resident_close(b, &f->opt);
    tell(f, why, s->name, NULL);
    pthread_mutex_lock(&f->lock);
}

static fh_fleet_slot *find_due(fh_fleet *f, uint64_t now) {
    for (size_t i = 0; i < f->n_slot; i++) {
        fh_fleet_slot *s = f->slot[i];
        fh_fleet_box *b = s->box;
        if (!b || b->users) continue;
        bool old = !s->pinned && b->keep_alive_ms >= 0 && now - b->used_ns >= (uint64_t)b->keep_alive_ms * 1000000u;
        if (s->leave || old) return s;
    }
    return NULL;
}

/* The longest unused of those that may leave. */
static fh_fleet_slot *find_oldest(fh_fleet *f) {
    fh_fleet_slot *oldest = NULL;
    for (size_t i = 0; i < f->n_slot; i++) {
        fh_fleet_slot *s = f->slot[i];
        if (!s->box || s->box->users || s->pinned) continue;
        if (!oldest || s->box->used_ns < oldest->box->used_ns) oldest = s;
    }
    return oldest;
}

/* Weights, and as much again as a sixteenth of them and 256 MiB to work with: then the state is cut to what is left. */
static void make_room(fh_fleet *f, const fh_fleet_slot *s) {
    uint64_t want = s->file_bytes + s->file_bytes / 16 + ((uint64_t)256 << 20);
    for (fh_fleet_slot *old; bytes_held(f) + want > f->memory_most && (old = find_oldest(f)) != NULL;)
        put_out(f, old, "model.evicted");
}

static void answer_waiters(fh_fleet *f, fh_fleet_waiter *list, fh_fleet_box *b, const fh_err *err) {
    (void)f;
    for (fh_fleet_waiter *w; (w = list) != NULL;) {
        list = w->next;
        w->fn(w->ctx, b ? &b->pub : NULL, b ? NULL : err);
        fh_free(w);
    }
}

static void load(fh_fleet *f, fh_fleet_slot *s) {
    fh_err err = {.status = FH_OK};
    fh_fleet_box *b = NULL;
    s->wanted = false;
    __atomic_store_n(&f->hurry, false, __ATOMIC_RELAXED);
    s->loading = true;
    atomic_store(&s->touched_bytes, 0);
    make_room(f, s);
    uint64_t held = bytes_held(f), room = f->memory_most > held ? f->memory_most - held : 0;
    pthread_mutex_unlock(&f->lock);
    tell(f, "model.loading", s->name, NULL);
    fh_status st = fh_resident_open(&b, s, &f->opt, room, &err);
    tell(f, st == FH_OK ? "model.loaded" : "model.failed", s->name, st == FH_OK ? NULL : &err);
    pthread_mutex_lock(&f->lock);
    fh_fleet_waiter *list = s->waiters;
    s->waiters = NULL;
    s->loading = false;
    if (st == FH_OK) {
        b->used_ns = fh_clock_ns();
        b->keep_alive_ms = f->opt.keep_alive_ms;
        for (const fh_fleet_waiter *w = list; w; w = w->next) {
            b->users++;
            set_keep_alive(f, b, w->keep_alive_ms);
        }
        s->box = b;
    }
    pthread_mutex_unlock(&f->lock);
    answer_waiters(f, list, b, &err);
    pthread_mutex_lock(&f->lock);
}

static fh_fleet_slot *find_wanted(fh_fleet *f) {
    for (size_t i = 0; i < f->n_slot; i++)
        if (f->slot[i]->wanted) return f->slot[i];
    return NULL;
}

/* A loaded model without a known digest: read in the background, given up when something is to be done. */
static bool digest_one(fh_fleet *f) {
    for (size_t i = 0; i < f->n_slot; i++) {
        fh_fleet_slot *s = f->slot[i];
        char digest[FH_SHA256_HEX];
        if (!s->box || s->digest || s->no_digest) continue;
        s->box->users++;
        pthread_mutex_unlock(&f->lock);
        fh_status st = fh_fleet_digest(digest, fh_model_bundle(s->box->pub.model), &f->hurry, NULL);
        if (st == FH_OK && f->state_dir[0] && s->at.path[0]) fh_fleet_keep_digest(f->state_dir, s->at.path, digest);
        pthread_mutex_lock(&f->lock);
        s->box->users--;
        if (st == FH_OK) s->digest = fh_strdup(fh_str_of(digest));
        s->no_digest = !s->digest && st != FH_ERR_CANCELLED;
        return true;
    }
    return false;
}

/* A model that computed something and has been idle since: its prompts go to disk before anything happens to them. */
static bool keep_one(fh_fleet *f, uint64_t now) {
    for (size_t i = 0; f->opt.prompt_cache && i < f->n_slot; i++) {
        fh_fleet_slot *s = f->slot[i];
        fh_fleet_box *b = s->box;
        if (!b || b->users || !b->pub.scheduler || now - b->used_ns < IDLE_NS) continue;
        uint64_t computed = fh_scheduler_get_load(b->pub.scheduler).batch_tokens;
        if (computed == b->kept_at) continue;
        b->users++;
        pthread_mutex_unlock(&f->lock);
        bool kept = fh_fleet_keep_prompts_now(&f->opt, s, b->pub.scheduler);
        pthread_mutex_lock(&f->lock);
        b->users--;
        if (kept) b->kept_at = computed;
        else b->used_ns = fh_clock_ns();
        return true;
    }
    return false;
}

static void *run(void *ctx) {
    fh_fleet *f = ctx;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        fh_fleet_slot *s;
        struct timespec until;
        if ((s = find_wanted(f)) != NULL) {
            load(f, s);
        } else if ((s = find_due(f, fh_clock_ns())) != NULL) {
            put_out(f, s, "model.unloaded");
        } else if (!digest_one(f) && !keep_one(f, fh_clock_ns())) {
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec++;
            pthread_cond_timedwait(&f->more, &f->lock, &until);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- life ---- */

fh_status fh_fleet_new(fh_fleet **out, const fh_fleet_options *opt, fh_fleet_event_fn *fn, void *ctx, fh_err *err) {
    fh_machine machine;
    fh_fleet *f = fh_alloc_zero(1, sizeof *f);
    if (!f) return fh_fail_memory(err, sizeof *f);
    f->opt = *opt;
    if (f->opt.parallel == 0) f->opt.parallel = PARALLEL;
    f->event = fn;
    f->event_ctx = ctx;
    f->memory_most = opt->memory_most;
    if (opt->state_dir) (void)fh_str_copy(f->state_dir, sizeof f->state_dir, fh_str_of(opt->state_dir));
    f->opt.state_dir = f->state_dir[0] ? f->state_dir : NULL;
    if (!f->memory_most) {
        fh_machine_read(&machine);
        f->memory_most = machine.memory.usable_bytes / 10 * 9;
    }
    if (!f->memory_most) f->memory_most = (uint64_t)4 << 30;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    *out = f;
    return FH_OK;
}

fh_status fh_fleet_start(fh_fleet *f, fh_err *err) {
    for (size_t i = 0; i < f->n_slot; i++) f->slot[i]->wanted = f->slot[i]->pinned;
    if (pthread_create(&f->thread, NULL, run, f) != 0)
        return fh_fail(err, FH_ERR_MEMORY, "cannot start the thread that loads models");
    f->running = true;
    return FH_OK;
}

void fh_fleet_stop(fh_fleet *f) {
    fh_err err = {.status = FH_OK};
    fh_fail(&err, FH_ERR_CANCELLED, "the server is about to stop");
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    __atomic_store_n(&f->hurry, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    if (f->running) pthread_join(f->thread, NULL);
    f->running = false;
    for (size_t i = 0; i < f->n_slot; i++) {
        fh_fleet_waiter *list = f->slot[i]->waiters;
        f->slot[i]->waiters = NULL;
        answer_waiters(f, list, NULL, &err);
    }
}

void fh_fleet_free(fh_fleet *f) {
    if (!f) return;
    fh_fleet_stop(f);
    for (size_t i = 0; i < f->n_slot; i++) {
        fh_resident_close(f->slot[i]->box, &f->opt);
        free_slot(f->slot[i]);
    }
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    fh_free(f);
}
