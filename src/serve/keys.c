/* serve/keys.c - keys: chance, hashes, the file.
 * SPDX-License-Identifier: Apache-2.0
 * Randomness and comparison are libcrypto's. The text of a key is wiped from the memory that it was made in. */
#include "serve/keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json_member.h"
#include "base/num.h"

#define MOST_FILE ((size_t)16 << 20)
#define SECRET_BYTES 32

/* ---- words ---- */

static const struct {
    const char *name;
    uint32_t bit;
} scope_words[] = {{"infer", FH_KEY_INFER}, {"pull", FH_KEY_PULL}, {"admin", FH_KEY_ADMIN}};
static const char *const period_names[] = {
    [FH_PERIOD_EVER] = "ever", [FH_PERIOD_DAY] = "day", [FH_PERIOD_MONTH] = "month"};

const char *fh_key_period_name(fh_key_period p) { return period_names[p]; }

bool fh_key_parse_scopes(fh_str s, uint32_t *out) {
    uint32_t bits = 0;
    for (size_t at = 0; at <= s.len;) {
        size_t end = at;
        uint32_t bit = 0;
        while (end < s.len && s.ptr[end] != ',') end++;
        for (size_t i = 0; i < FH_COUNT(scope_words); i++)
            if (fh_str_is((fh_str){s.ptr + at, end - at}, scope_words[i].name)) bit = scope_words[i].bit;
        if (!bit) return false;
        bits |= bit;
        at = end + 1;
    }
    *out = bits;
    return true;
}

void fh_key_print_scopes(uint32_t scopes, char *out, size_t size) {
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FH_COUNT(scope_words); i++)
        if ((scopes & scope_words[i].bit) && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? "," : "", scope_words[i].name);
}

bool fh_key_parse_budget(fh_str s, uint64_t *budget, fh_key_period *period) {
    size_t slash = s.len;
    fh_key_period p = FH_PERIOD_EVER;
    if (fh_str_find(s, '/', &slash)) {
        fh_str word = fh_str_drop(s, slash + 1);
        for (p = FH_PERIOD_MONTH; p > FH_PERIOD_EVER && !fh_str_is(word, period_names[p]);) p--;
        if (p == FH_PERIOD_EVER) return false;
    }
    if (!fh_str_u64(fh_str_first(s, slash), budget)) return false;
    *period = p;
    return true;
}

uint64_t fh_key_period_start(fh_key_period p, uint64_t now_ms) {
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;
    if (p == FH_PERIOD_EVER) return 0;
    gmtime_r(&t, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    if (p == FH_PERIOD_MONTH) tm.tm_mday = 1;
    return (uint64_t)timegm(&tm) * 1000;
}

/* ---- the file ---- */

static uint64_t member_u64(const fh_json_node *n, const char *key) {
    uint64_t v = 0;
    (void)fh_json_to_u64(fh_json_get(n, key), &v);
    return v;
}

static bool member_text(const fh_json_node *n, const char *key, char *out, size_t size) {
    fh_str s;
    return fh_json_to_str(fh_json_get(n, key), &s) && fh_str_copy(out, size, s);
}

static fh_status read_key(fh_key *k, const fh_json_node *n, fh_err *err) {
    fh_str scopes, period;
    memset(k, 0, sizeof *k);
    bool ok = member_text(n, "id", k->id, sizeof k->id) && strlen(k->id) == 8 &&
              member_text(n, "name", k->name, sizeof k->name) && member_text(n, "sha256", k->hash, sizeof k->hash) &&
              strlen(k->hash) == FH_SHA256_HEX - 1 && fh_json_to_str(fh_json_get(n, "scopes"), &scopes) &&
              fh_key_parse_scopes(scopes, &k->scopes);
    if (!ok) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "a key without id, name, sha256 or scopes");
    k->created_ms = member_u64(n, "created_ms");
    k->expires_ms = member_u64(n, "expires_ms");
    k->revoked_ms = member_u64(n, "revoked_ms");
    k->limits = (fh_key_limits){.requests_per_minute = member_u64(n, "requests_per_minute"),
                                .tokens_per_minute = member_u64(n, "tokens_per_minute"),
                                .concurrent = member_u64(n, "concurrent"),
                                .budget = member_u64(n, "budget")};
    (void)fh_json_to_i64(fh_json_get(n, "priority"), &k->limits.priority);
    if (fh_json_to_str(fh_json_get(n, "budget_per"), &period))
        for (int p = 0; p <= FH_PERIOD_MONTH; p++)
            if (fh_str_is(period, period_names[p])) k->limits.period = (fh_key_period)p;
    return FH_OK;
}

static fh_status read_keys(fh_keys *out, const fh_json_node *root, fh_err *err) {
    const fh_json_node *list = fh_json_get(root, "keys");
    if (!fh_json_is(list, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "there is no list of keys in it");
    if (list->n_child > FH_KEYS_MOST) return fh_fail(err, FH_ERR_LIMIT, "more than %d keys", FH_KEYS_MOST);
    out->item = fh_alloc_zero(list->n_child + 1, sizeof *out->item);
    if (!out->item) return fh_fail_memory(err, list->n_child * sizeof *out->item);
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n))
        FH_TRY(read_key(&out->item[out->n++], n, err));
    return FH_OK;
}

fh_status fh_keys_read(fh_keys *out, const char *state_dir, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_keys k = {NULL, 0};
    fh_json *doc = NULL;
    fh_buf text;
    FH_TRY(fh_path_join(path, state_dir, FH_STR("keys.json"), err));
    if (fh_file_get_kind(path) == FH_FILE_NONE) {
        *out = k;
        return FH_OK;
    }
    fh_buf_init(&text, MOST_FILE);
    fh_status s = fh_file_read(path, &text, err);
    if (s == FH_OK) s = fh_json_parse(&doc, fh_buf_str(&text), NULL, err);
    if (s == FH_OK) s = read_keys(&k, fh_json_root(doc), err);
    if (s == FH_OK) *out = k;
    else {
        fh_err_set_path(err, path);
        fh_keys_release(&k);
    }
    fh_json_free(doc);
    fh_buf_release(&text);
    return s;
}

void fh_keys_release(fh_keys *k) {
    fh_free(k->item);
    *k = (fh_keys){NULL, 0};
}

static void put_member(fh_json_writer *w, const char *key, uint64_t v) {
    if (!v) return;
    fh_json_put_key(w, key);
    fh_json_put_u64(w, v);
}

static void put_key(fh_json_writer *w, const fh_key *k) {
    char scopes[64];
    fh_key_print_scopes(k->scopes, scopes, sizeof scopes);
    fh_json_put_object(w);
    fh_put_z(w, "id", k->id);
    fh_put_z(w, "name", k->name);
    fh_put_z(w, "sha256", k->hash);
    fh_put_z(w, "scopes", scopes);
    put_member(w, "created_ms", k->created_ms);
    put_member(w, "expires_ms", k->expires_ms);
    put_member(w, "revoked_ms", k->revoked_ms);
    put_member(w, "requests_per_minute", k->limits.requests_per_minute);
    put_member(w, "tokens_per_minute", k->limits.tokens_per_minute);
    put_member(w, "concurrent", k->limits.concurrent);
    put_member(w, "budget", k->limits.budget);
    if (k->limits.period) fh_put_z(w, "budget_per", period_names[k->limits.period]);
    if (k->limits.priority) {
        fh_json_put_key(w, "priority");
        fh_json_put_i64(w, k->limits.priority);
    }
    fh_json_put_end(w);
}

fh_status fh_keys_write(const fh_keys *k, const char *state_dir, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_json_writer w;
    fh_writer *to = NULL;
    fh_buf text;
    FH_TRY(fh_path_join(path, state_dir, FH_STR("keys.json"), err));
    fh_buf_init(&text, MOST_FILE);
    fh_json_writer_init(&w, &text, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "keys");
    fh_json_put_array(&w);
    for (size_t i = 0; i < k->n; i++) put_key(&w, &k->item[i]);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(&text, '\n');
    fh_status s = fh_buf_check(&text, err);
    if (s == FH_OK) s = fh_writer_open(&to, path, err);
    if (s == FH_OK) {
        s = fh_writer_add(to, text.ptr, text.len, err);
        if (s == FH_OK) s = fh_writer_commit(to, err);
        else fh_writer_abort(to);
    }
    fh_buf_release(&text);
    return s;
}

fh_status fh_keys_update(const char *state_dir, fh_keys_change *fn, void *ctx, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_keys k;
    FH_TRY(fh_path_join(path, state_dir, FH_STR("keys.lock"), err));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fh_fail_errno(err, "open", path);
    if (flock(fd, LOCK_EX) != 0) {
        fh_status failed = fh_fail_errno(err, "lock", path);
        close(fd);
        return failed;
    }
    fh_status s = fh_keys_read(&k, state_dir, err);
    if (s == FH_OK) {
        s = fn(ctx, &k, err);
        if (s == FH_OK) s = fh_keys_write(&k, state_dir, err);
        fh_keys_release(&k);
    }
    close(fd);
    return s;
}

/* ---- making and finding ---- */

/* 43 letters, digits, '_' and '-' for 256 bits. */
static void put_secret(char out[44], const uint8_t secret[SECRET_BYTES]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    for (size_t i = 0; i < 43; i++) {
        size_t bit = i * 6, at = bit / 8, shift = bit % 8;
        unsigned two = (unsigned)secret[at] | (at + 1 < SECRET_BYTES ? (unsigned)secret[at + 1] << 8 : 0u);
        out[i] = alphabet[(two >> shift) & 63];
    }
    out[43] = '\0';
}

static bool id_is_taken(const fh_keys *k, const char *id) {
    for (size_t i = 0; i < k->n; i++)
        if (strcmp(k->item[i].id, id) == 0) return true;
    return false;
}

fh_status fh_keys_create(fh_keys *k, const fh_key *like, char text[FH_KEY_TEXT], fh_key **out, fh_err *err) {
    uint8_t secret[SECRET_BYTES], id[4];
    char letters[44];
    fh_key fresh = *like;
    if (k->n >= FH_KEYS_MOST) return fh_fail(err, FH_ERR_LIMIT, "there are %d keys already", FH_KEYS_MOST);
    fh_key *grown = fh_realloc(k->item, k->n + 1, sizeof *grown);
    if (!grown) return fh_fail_memory(err, sizeof *grown);
    k->item = grown;
    do {
        if (RAND_bytes(secret, sizeof secret) != 1 || RAND_bytes(id, sizeof id) != 1)
            return fh_fail(err, FH_ERR_UNSUPPORTED, "libcrypto has no random numbers");
        snprintf(fresh.id, sizeof fresh.id, "%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
    } while (id_is_taken(k, fresh.id));
    put_secret(letters, secret);
    snprintf(text, FH_KEY_TEXT, "fh-%s-%s", fresh.id, letters);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(letters, sizeof letters);
    FH_TRY(fh_sha256_of(fh_bytes_of(fh_str_of(text)), fresh.hash, err));
    fresh.created_ms = fh_clock_unix_ms();
    fresh.revoked_ms = 0;
    k->item[k->n] = fresh;
    *out = &k->item[k->n++];
    return FH_OK;
}

fh_status fh_keys_find(const fh_keys *k, fh_str id_or_name, fh_key **out, fh_err *err) {
    fh_key *found = NULL;
    for (size_t i = 0; i < k->n; i++) {
        fh_key *one = &k->item[i];
        if (fh_str_eq(id_or_name, (fh_str){one->id, 8})) {
            *out = one;
            return FH_OK;
        }
        fh_str name = {one->name, strnlen(one->name, sizeof one->name)};
        if (!fh_str_eq(id_or_name, name) || one->revoked_ms) continue;
        if (found)
            return fh_fail(err, FH_ERR_USAGE, "several keys are called '%.*s': use the id", FH_STR_ARG(id_or_name));
        found = one;
    }
    if (!found) return fh_fail(err, FH_ERR_NOT_FOUND, "there is no key '%.*s'", FH_STR_ARG(id_or_name));
    *out = found;
    return FH_OK;
}

const fh_key *fh_keys_match(const fh_keys *k, fh_str text) {
    static const char nobody[FH_SHA256_HEX] = "0000000000000000000000000000000000000000000000000000000000000000";
    char hash[FH_SHA256_HEX];
    const fh_key *found = NULL;
    if (text.len < 12 || text.len >= 4 * FH_KEY_TEXT) return NULL;
    if (fh_sha256_of(fh_bytes_of(text), hash, NULL) != FH_OK) return NULL;
    /* The id is no secret: it may be searched for. What the secret decides is compared in constant time. */
    for (size_t i = 0; i < k->n && !found; i++)
        if (memcmp(k->item[i].id, text.ptr + 3, 8) == 0) found = &k->item[i];
    bool same = CRYPTO_memcmp(found ? found->hash : nobody, hash, FH_SHA256_HEX - 1) == 0;
    OPENSSL_cleanse(hash, sizeof hash);
    return same ? found : NULL;
}
