/* serve/auth.c - keys in memory with their counters.
 * SPDX-License-Identifier: Apache-2.0
 * A slot of counters belongs to a key's id and stays when keys are read again. Rates are buckets that fill evenly: a
 * minute's worth may come at once after a pause. Tokens are charged when they are known, at the end: a key may pass its
 * rate or budget by the requests that are under way. */
#include "serve/auth.h"

#include <pthread.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"

#define MOST_FILE ((size_t)4 << 20)
#define WRONG_ADDRESSES 1024
#define FREE_TRIES 5u

typedef struct slot {
    char id[9];
    double requests, tokens; /* what the buckets hold */
    uint64_t filled_ns;
    uint32_t running;
    uint64_t used, period_start; /* of the budget */
} slot;

typedef struct wrong {
    char peer[64];
    uint32_t n;
    uint64_t last_ns;
} wrong;

struct fh_auth {
    pthread_mutex_t lock;
    char dir[FH_PATH_MAX], keys_path[FH_PATH_MAX], usage_path[FH_PATH_MAX];
    fh_keys keys;
    uint32_t *slot_of; /* [keys.n] */
    slot *slots;       /* [n_slot] */
    size_t n_slot;
    uint64_t looked_ns;
    struct timespec changed;
    uint64_t size;
    bool have, dirty;
    wrong wrongs[WRONG_ADDRESSES];
};

/* ---- slots ---- */

static fh_status slot_for(fh_auth *a, const char *id, uint32_t *out, fh_err *err) {
    for (size_t i = 0; i < a->n_slot; i++)
        if (strcmp(a->slots[i].id, id) == 0) {
            *out = (uint32_t)i;
            return FH_OK;
        }
    slot *grown = fh_realloc(a->slots, a->n_slot + 1, sizeof *grown);
    if (!grown) return fh_fail_memory(err, sizeof *grown);
    a->slots = grown;
    slot *s = &a->slots[a->n_slot];
    memset(s, 0, sizeof *s);
    (void)fh_str_copy(s->id, sizeof s->id, fh_str_of(id));
    *out = (uint32_t)a->n_slot++;
    return FH_OK;
}

static fh_status take_keys(fh_auth *a, fh_keys *fresh, fh_err *err) {
    uint32_t *slot_of = fh_alloc_zero(fresh->n + 1, sizeof *slot_of);
    if (!slot_of) return fh_fail_memory(err, fresh->n * sizeof *slot_of);
    for (size_t i = 0; i < fresh->n; i++) {
        fh_status s = slot_for(a, fresh->item[i].id, &slot_of[i], err);
        if (s == FH_OK) continue;
        fh_free(slot_of);
        return s;
    }
    fh_keys_release(&a->keys);
    fh_free(a->slot_of);
    a->keys = *fresh;
    a->slot_of = slot_of;
    *fresh = (fh_keys){NULL, 0};
    return FH_OK;
}

static fh_status refresh(fh_auth *a, bool now, fh_err *err) {
    struct stat st;
    uint64_t clock = fh_clock_ns();
    fh_keys fresh;
    if (!now && clock - a->looked_ns < 1000000000u) return FH_OK;
    a->looked_ns = clock;
    bool there = stat(a->keys_path, &st) == 0;
    if (there && a->have && st.st_mtim.tv_sec == a->changed.tv_sec && st.st_mtim.tv_nsec == a->changed.tv_nsec &&
        (uint64_t)st.st_size == a->size)
        return FH_OK;
    if (!there && !a->have) return FH_OK;
    FH_TRY(fh_keys_read(&fresh, a->dir, err));
    fh_status s = take_keys(a, &fresh, err);
    fh_keys_release(&fresh);
    if (s != FH_OK) return s;
    a->have = there;
    if (there) {
        a->changed = st.st_mtim;
        a->size = (uint64_t)st.st_size;
    }
    return FH_OK;
}

fh_status fh_auth_refresh(fh_auth *a, bool now, fh_err *err) {
    pthread_mutex_lock(&a->lock);
    fh_status s = refresh(a, now, err);
    pthread_mutex_unlock(&a->lock);
    return s;
}

/* ---- usage.json ---- */

static fh_status read_usage(fh_auth *a, fh_err *err) {
    fh_json *doc = NULL;
    fh_buf text;
    if (fh_file_get_kind(a->usage_path) == FH_FILE_NONE) return FH_OK;
    fh_buf_init(&text, MOST_FILE);
    fh_status s = fh_file_read(a->usage_path, &text, err);
    if (s == FH_OK) s = fh_json_parse(&doc, fh_buf_str(&text), NULL, err);
    const fh_json_node *root = s == FH_OK ? fh_json_root(doc) : NULL;
    for (const fh_json_node *n = fh_json_first(root); n && s == FH_OK; n = fh_json_after(root, n)) {
        char id[9];
        uint32_t at;
        if (!fh_str_copy(id, sizeof id, n->key)) continue;
        s = slot_for(a, id, &at, err);
        if (s != FH_OK) break;
        (void)fh_json_to_u64(fh_json_get(n, "tokens"), &a->slots[at].used);
        (void)fh_json_to_u64(fh_json_get(n, "since_ms"), &a->slots[at].period_start);
    }
    if (s != FH_OK) fh_err_set_path(err, a->usage_path);
    fh_json_free(doc);
    fh_buf_release(&text);
    return s;
}

static void put_usage(fh_auth *a, fh_buf *out) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    for (size_t i = 0; i < a->n_slot; i++) {
        if (!a->slots[i].used) continue;
        fh_json_put_key(&w, a->slots[i].id);
        fh_json_put_object(&w);
        fh_json_put_key(&w, "tokens");
        fh_json_put_u64(&w, a->slots[i].used);
        fh_json_put_key(&w, "since_ms");
        fh_json_put_u64(&w, a->slots[i].period_start);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

fh_status fh_auth_save(fh_auth *a, fh_err *err) {
    fh_writer *to = NULL;
    fh_buf text;
    fh_buf_init(&text, MOST_FILE);
    pthread_mutex_lock(&a->lock);
    bool dirty = a->dirty;
    if (dirty) put_usage(a, &text);
    a->dirty = false;
    pthread_mutex_unlock(&a->lock);
    fh_status s = dirty ? fh_buf_check(&text, err) : FH_OK;
    if (s == FH_OK && dirty) {
        s = fh_writer_open(&to, a->usage_path, err);
        if (s == FH_OK) {
            s = fh_writer_add(to, text.ptr, text.len, err);
            if (s == FH_OK) s = fh_writer_commit(to, err);
            else fh_writer_abort(to);
        }
    }
    fh_buf_release(&text);
    return s;
}

/* ---- life ---- */

fh_status fh_auth_new(fh_auth **out, const char *state_dir, fh_err *err) {
    fh_auth *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return fh_fail_memory(err, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    fh_status s = fh_path_join(a->keys_path, state_dir, FH_STR("keys.json"), err);
    if (s == FH_OK) s = fh_path_join(a->usage_path, state_dir, FH_STR("usage.json"), err);
    if (s == FH_OK && !fh_str_copy(a->dir, sizeof a->dir, fh_str_of(state_dir)))
        s = fh_fail(err, FH_ERR_LIMIT, "the path of the state folder is too long");
    if (s == FH_OK) s = read_usage(a, err);
    if (s == FH_OK) s = refresh(a, true, err);
    if (s == FH_OK) *out = a;
    else fh_auth_free(a);
    return s;
}

void fh_auth_free(fh_auth *a) {
    if (!a) return;
    fh_keys_release(&a->keys);
    fh_free(a->slot_of);
    fh_free(a->slots);
    pthread_mutex_destroy(&a->lock);
    fh_free(a);
}

bool fh_auth_has_keys(fh_auth *a) {
    uint64_t now = fh_clock_unix_ms();
    bool any = false;
    pthread_mutex_lock(&a->lock);
    (void)refresh(a, false, NULL);
    for (size_t i = 0; i < a->keys.n && !any; i++) {
        const fh_key *k = &a->keys.item[i];
        any = !k->revoked_ms && (!k->expires_ms || k->expires_ms > now);
    }
    pthread_mutex_unlock(&a->lock);
    return any;
}

/* ---- who ---- */

static uint64_t number_of(const char *salt, fh_str s) {
    uint64_t v = 14695981039346656037u;
    for (; *salt; salt++) v = (v ^ (uint8_t)*salt) * 1099511628211u;
    for (size_t i = 0; i < s.len; i++) v = (v ^ (uint8_t)s.ptr[i]) * 1099511628211u;
    return v ? v : 1;
}

void fh_auth_local(fh_identity *out, const char *name, fh_str peer) {
    *out = (fh_identity){.scopes = FH_KEY_INFER | FH_KEY_PULL, .slot = UINT32_MAX};
    snprintf(out->id, sizeof out->id, "%s", name);
    snprintf(out->name, sizeof out->name, "%s", name);
    out->owner = number_of("peer", peer);
    out->salt = number_of("tenant", fh_str_of(name));
}

static wrong *wrong_of(fh_auth *a, fh_str peer) {
    wrong *w = &a->wrongs[number_of("wrong", peer) % WRONG_ADDRESSES];
    if (fh_str_is(peer, w->peer)) return w;
    memset(w, 0, sizeof *w);
    (void)fh_str_copy(w->peer, sizeof w->peer, peer);
    return w;
}

/* After five for free: 1 s, 2 s, 4 s ... 64 s between tries; forgotten after ten minutes. */
static bool must_wait(fh_auth *a, fh_str peer, uint64_t now, uint32_t *retry_ms) {
    wrong *w = wrong_of(a, peer);
    if (now - w->last_ns > 600000000000u) w->n = 0;
    if (w->n >= FREE_TRIES) {
        uint64_t pause = (uint64_t)1000000000 << FH_MIN(w->n - FREE_TRIES, 6u);
        if (now - w->last_ns < pause) {
            *retry_ms = (uint32_t)((pause - (now - w->last_ns)) / 1000000u) + 1;
            return true;
        }
    }
    w->n++;
    w->last_ns = now;
    return false;
}

static fh_auth_verdict judge(fh_auth *a, fh_str text, fh_str peer, uint64_t now, fh_identity *out, uint32_t *retry_ms) {
    if (text.len == 0) return FH_AUTH_NO_KEY;
    const fh_key *k = fh_keys_match(&a->keys, text);
    if (!k) return must_wait(a, peer, now, retry_ms) ? FH_AUTH_WAIT : FH_AUTH_WRONG;
    if (k->revoked_ms) return FH_AUTH_REVOKED;
    if (k->expires_ms && k->expires_ms <= fh_clock_unix_ms()) return FH_AUTH_EXPIRED;
    *out = (fh_identity){.scopes = k->scopes & FH_KEY_ADMIN ? FH_KEY_ADMIN | FH_KEY_INFER | FH_KEY_PULL : k->scopes,
                         .owner = number_of("key", fh_str_of(k->id)),
                         .salt = number_of("tenant", fh_str_of(k->hash)),
                         .priority = (int)k->limits.priority,
                         .slot = a->slot_of[k - a->keys.item]};
    snprintf(out->id, sizeof out->id, "%s", k->id);
    snprintf(out->name, sizeof out->name, "%s", k->name);
    return FH_AUTH_OK;
}

fh_auth_verdict fh_auth_check(fh_auth *a, fh_str text, fh_str peer, uint64_t now_ns, fh_identity *out,
                              uint32_t *retry_ms) {
    pthread_mutex_lock(&a->lock);
    (void)refresh(a, false, NULL); /* a broken file is reported by the tick, and leaves the keys as they were */
    fh_auth_verdict v = judge(a, text, peer, now_ns, out, retry_ms);
    pthread_mutex_unlock(&a->lock);
    return v;
}

/* ---- how much ---- */

static const fh_key *key_of_slot(const fh_auth *a, uint32_t at) {
    for (size_t i = 0; i < a->keys.n; i++)
        if (a->slot_of[i] == at) return &a->keys.item[i];
    return NULL;
}

static void fill(slot *s, const fh_key_limits *l, uint64_t now) {
    double minutes = s->filled_ns ? (double)(now - s->filled_ns) / 60e9 : 1.0;
    s->filled_ns = now;
    s->requests += minutes * (double)l->requests_per_minute;
    s->tokens += minutes * (double)l->tokens_per_minute;
    if (s->requests > (double)l->requests_per_minute) s->requests = (double)l->requests_per_minute;
    if (s->tokens > (double)l->tokens_per_minute) s->tokens = (double)l->tokens_per_minute;
}

static uint32_t wait_ms(double missing, uint64_t per_minute) {
    double ms = missing / (double)per_minute * 60000.0 + 1;
    return ms > 3600000.0 ? 3600000u : (uint32_t)ms;
}

static const char *admit(slot *s, const fh_key_limits *l, uint64_t now, uint32_t *retry_ms) {
    uint64_t wall = fh_clock_unix_ms(), start = fh_key_period_start(l->period, wall);
    fill(s, l, now);
    if (s->period_start != start) {
        if (l->period != FH_PERIOD_EVER) s->used = 0;
        s->period_start = start;
    }
    *retry_ms = 0;
    if (l->budget && s->used >= l->budget) return "the key's budget is spent";
    if (l->concurrent && s->running >= l->concurrent) {
        *retry_ms = 1000;
        return "the key has as many requests under way as it may";
    }
    if (l->requests_per_minute && s->requests < 1) {
        *retry_ms = wait_ms(1 - s->requests, l->requests_per_minute);
        return "the key's requests per minute are used up";
    }
    if (l->tokens_per_minute && s->tokens <= 0) {
        *retry_ms = wait_ms(1 - s->tokens, l->tokens_per_minute);
        return "the key's tokens per minute are used up";
    }
    s->requests -= 1;
    return NULL;
}

const char *fh_auth_admit(fh_auth *a, const fh_identity *who, uint64_t now_ns, uint32_t *retry_ms) {
    const char *why = NULL;
    *retry_ms = 0;
    if (who->slot == UINT32_MAX) return NULL;
    pthread_mutex_lock(&a->lock);
    const fh_key *k = key_of_slot(a, who->slot);
    slot *s = &a->slots[who->slot];
    why = k ? admit(s, &k->limits, now_ns, retry_ms) : "the key is gone";
    if (!why) s->running++;
    pthread_mutex_unlock(&a->lock);
    return why;
}

void fh_auth_done(fh_auth *a, const fh_identity *who, uint64_t now_ns, uint64_t tokens) {
    (void)now_ns;
    if (who->slot == UINT32_MAX) return;
    pthread_mutex_lock(&a->lock);
    slot *s = &a->slots[who->slot];
    if (s->running) s->running--;
    s->tokens -= (double)tokens;
    s->used += tokens;
    a->dirty = a->dirty || tokens > 0;
    pthread_mutex_unlock(&a->lock);
}
