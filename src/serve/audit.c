/* serve/audit.c - the chained log.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/audit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"

#define MOST_LINE ((size_t)8 << 10)
#define TAIL (MOST_LINE * 2)
#define HASH_MEMBER ",\"hash\":\""

struct fh_audit {
    int fd;
    char path[FH_PATH_MAX];
    pthread_mutex_t lock;
    uint64_t size; /* of the file when we wrote last: another size means another writer */
    uint64_t line;
    char last[FH_SHA256_HEX];
    _Atomic uint64_t failures;
};

static const char start_hash[FH_SHA256_HEX] = "0000000000000000000000000000000000000000000000000000000000000000";

/* line: without its newline. What its hash covers, and the hash it claims. */
static bool split_line(fh_str line, fh_str *body, fh_str *hash) {
    size_t n = strlen(HASH_MEMBER) + FH_SHA256_HEX - 1 + 2;
    if (line.len <= n || !fh_str_ends(line, "\"}")) return false;
    *body = fh_str_first(line, line.len - n);
    *hash = (fh_str){line.ptr + line.len - 2 - (FH_SHA256_HEX - 1), FH_SHA256_HEX - 1};
    return memcmp(line.ptr + body->len, HASH_MEMBER, strlen(HASH_MEMBER)) == 0;
}

static fh_status chain(const char *before, fh_str body, char out[FH_SHA256_HEX], fh_err *err) {
    fh_sha256 *h = NULL;
    FH_TRY(fh_sha256_new(&h, err));
    fh_status s = fh_sha256_add(h, before, FH_SHA256_HEX - 1, err);
    if (s == FH_OK) s = fh_sha256_add(h, body.ptr, body.len, err);
    if (s == FH_OK) s = fh_sha256_finish(h, out, err);
    fh_sha256_free(h);
    return s;
}

/* ---- appending ---- */

static uint64_t seq_of(fh_str body) {
    uint64_t v = 0;
    for (size_t i = strlen("{\"seq\":"); i < body.len && body.ptr[i] >= '0' && body.ptr[i] <= '9'; i++)
        v = v * 10 + (uint64_t)(body.ptr[i] - '0');
    return v;
}

/* The last whole line's number and hash. A torn line gets its end, and stays as what it is: broken. */
static fh_status find_end(fh_audit *a, fh_err *err) {
    char tail[TAIL];
    struct stat st;
    if (fstat(a->fd, &st) != 0) return fh_fail_errno(err, "look at", a->path);
    a->size = (uint64_t)st.st_size;
    a->line = 0;
    memcpy(a->last, start_hash, sizeof a->last);
    size_t n = (size_t)FH_MIN(a->size, (uint64_t)TAIL);
    if (n == 0) return FH_OK;
    ssize_t got = pread(a->fd, tail, n, (off_t)(a->size - n));
    if (got < 0) return fh_fail_errno(err, "read", a->path);
    fh_str text = {tail, (size_t)got};
    if (!fh_str_ends(text, "\n")) {
        if (write(a->fd, "\n", 1) != 1) return fh_fail_errno(err, "write", a->path);
        a->size++;
    }
    while (text.len) {
        size_t end = text.len - (text.ptr[text.len - 1] == '\n'), at = end;
        fh_str body, hash;
        while (at > 0 && text.ptr[at - 1] != '\n') at--;
        if (split_line((fh_str){text.ptr + at, end - at}, &body, &hash)) {
            (void)fh_str_copy(a->last, sizeof a->last, hash);
            a->line = seq_of(body);
            return FH_OK;
        }
        text.len = at;
    }
    return FH_OK;
}

fh_status fh_audit_open(fh_audit **out, const char *state_dir, fh_err *err) {
    fh_audit *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return fh_fail_memory(err, sizeof *a);
    a->fd = -1;
    pthread_mutex_init(&a->lock, NULL);
    fh_status s = fh_path_join(a->path, state_dir, FH_STR("audit.log"), err);
    if (s == FH_OK) {
        a->fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(a->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (a->fd < 0) s = fh_fail_errno(err, "open", a->path);
    }
    if (s == FH_OK && flock(a->fd, LOCK_EX) != 0) s = fh_fail_errno(err, "lock", a->path);
    if (s == FH_OK) {
        s = find_end(a, err);
        (void)flock(a->fd, LOCK_UN);
    }
    if (s == FH_OK) *out = a;
    else fh_audit_close(a);
    return s;
}

void fh_audit_close(fh_audit *a) {
    if (!a) return;
    if (a->fd >= 0) close(a->fd);
    pthread_mutex_destroy(&a->lock);
    fh_free(a);
}

static void put_field(fh_json_writer *w, const fh_log_field *f) {
    fh_json_put_key(w, f->name);
    switch (f->kind) {
    case FH_LOG_STR: fh_json_put_str(w, fh_str_first(f->s, 512)); break;
    case FH_LOG_U64: fh_json_put_u64(w, f->u); break;
    case FH_LOG_I64: fh_json_put_i64(w, f->i); break;
    case FH_LOG_F64: fh_json_put_f64(w, f->f); break;
    case FH_LOG_BOOL: fh_json_put_bool(w, f->u != 0); break;
    }
}

static void put_body(fh_buf *line, uint64_t seq, const char *event, const fh_log_field *fields, size_t n) {
    fh_json_writer w;
    fh_json_writer_init(&w, line, false);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "seq");
    fh_json_put_u64(&w, seq);
    fh_json_put_key(&w, "time_ms");
    fh_json_put_u64(&w, fh_clock_unix_ms());
    fh_json_put_key(&w, "event");
    fh_json_put_z(&w, event);
    for (size_t i = 0; i < n; i++) put_field(&w, &fields[i]);
    fh_json_put_end(&w);
    if (line->len && line->status == FH_OK) line->len--; /* the closing brace comes behind the hash */
}

static fh_status append(fh_audit *a, const char *event, const fh_log_field *fields, size_t n, fh_err *err) {
    char hash[FH_SHA256_HEX];
    struct stat st;
    fh_buf line;
    if (fstat(a->fd, &st) != 0) return fh_fail_errno(err, "look at", a->path);
    if ((uint64_t)st.st_size != a->size) FH_TRY(find_end(a, err));
    fh_buf_init(&line, MOST_LINE);
    put_body(&line, a->line + 1, event, fields, n);
    fh_status s = fh_buf_check(&line, err);
    if (s == FH_OK) s = chain(a->last, fh_buf_str(&line), hash, err);
    if (s == FH_OK) {
        fh_buf_printf(&line, HASH_MEMBER "%s\"}\n", hash);
        s = fh_buf_check(&line, err);
    }
    if (s == FH_OK) {
        ssize_t done = FH_FAULT(FH_FAULT_WRITE) ? -1 : write(a->fd, line.ptr, line.len);
        if (done != (ssize_t)line.len) s = fh_fail_errno(err, "write", a->path);
        else {
            a->size += line.len;
            a->line++;
            memcpy(a->last, hash, sizeof a->last);
        }
    }
    fh_buf_release(&line);
    return s;
}

fh_status fh_audit_add(fh_audit *a, const char *event, const fh_log_field *fields, size_t n, fh_err *err) {
    pthread_mutex_lock(&a->lock);
    fh_status s = flock(a->fd, LOCK_EX) == 0 ? FH_OK : fh_fail_errno(err, "lock", a->path);
    if (s == FH_OK) {
        s = append(a, event, fields, n, err);
        (void)flock(a->fd, LOCK_UN);
    }
    if (s != FH_OK) a->failures++;
    pthread_mutex_unlock(&a->lock);
    return s;
}

uint64_t fh_audit_failures(const fh_audit *a) { return a->failures; }

/* ---- checking ---- */

fh_status fh_audit_verify(fh_audit_check *out, const char *state_dir, fh_err *err) {
    char path[FH_PATH_MAX], hash[FH_SHA256_HEX];
    fh_audit_check c = {.n_line = 0};
    fh_map *map = NULL;
    FH_TRY(fh_path_join(path, state_dir, FH_STR("audit.log"), err));
    memcpy(c.last, start_hash, sizeof c.last);
    uint64_t size = 0;
    FH_TRY(fh_file_get_size(path, &size, err));
    if (size) FH_TRY(fh_map_open(&map, path, err));
    fh_str text = map ? fh_str_of_bytes(fh_map_bytes(map)) : FH_STR("");
    fh_status s = FH_OK;
    for (size_t at = 0; at < text.len && s == FH_OK && !c.first_bad;) {
        size_t end = at;
        fh_str body, claimed;
        while (end < text.len && text.ptr[end] != '\n') end++;
        c.n_line++;
        if (!split_line((fh_str){text.ptr + at, end - at}, &body, &claimed)) {
            c.n_torn++; /* were it a line that was changed, the next one would not follow from the one before */
        } else {
            s = chain(c.last, body, hash, err);
            if (s == FH_OK && !fh_str_is(claimed, hash)) c.first_bad = c.n_line;
            memcpy(c.last, hash, sizeof c.last);
        }
        at = end + 1;
    }
    fh_map_close(map);
    if (s == FH_OK) *out = c;
    return s;
}
