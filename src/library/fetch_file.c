/* library/fetch_file.c - a file on its way: pieces in a .part, a journal of those that are safe, digests.
 * SPDX-License-Identifier: Apache-2.0
 * Journal: "fhpart1\n", the size and the piece's size (u64, little-endian), then a byte a piece: 1 = on the disk. A
 * piece is noted after the .part was synced, so that what the journal says holds after a power cut as well. What it
 * says is trusted only for what to fetch: the digest over the whole decides in the end.
 * Both files are removed when the content has its final name, or when it came out wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/num.h"
#include "library/fetch_part.h"

#define HEAD_BYTES 24
#define LEAST_PIECE ((uint64_t)1 << 20)
#define MOST_PIECE ((uint64_t)16 << 20)
#define HASH_PIECE ((size_t)1 << 20)
#define HASH_A_CALL ((uint64_t)16 << 20)
#define NOTE_EVERY_NS 1000000000u

static const char magic[8] = {'f', 'h', 'p', 'a', 'r', 't', '1', '\n'};

/* ---- small doors to the system ---- */

static fh_status write_at(int fd, uint64_t at, const void *data, size_t n, const char *path, fh_err *err) {
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t k = FH_FAULT(FH_FAULT_WRITE) ? -1 : pwrite(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fh_fail_errno(err, "write", path);
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return FH_OK;
}

static fh_status read_at(int fd, uint64_t at, void *data, size_t n, const char *path, fh_err *err) {
    uint8_t *p = data;
    while (n > 0) {
        ssize_t k = FH_FAULT(FH_FAULT_READ) ? -1 : pread(fd, p, n, (off_t)at);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fh_fail_errno(err, "read", path);
        if (k == 0) return fh_fail(err, FH_ERR_CORRUPT, "'%s' became shorter while it was fetched", path);
        p += k;
        n -= (size_t)k;
        at += (uint64_t)k;
    }
    return FH_OK;
}

static int open_for_writing(const char *path, fh_err *err) {
    int fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) (void)fh_fail_errno(err, "open", path);
    return fd;
}

/* ---- the journal ---- */

static uint64_t get_u64(const uint8_t *p) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static fh_status write_head(fh_incoming *x, fh_err *err) {
    uint8_t head[HEAD_BYTES];
    memcpy(head, magic, sizeof magic);
    for (int i = 0; i < 8; i++) {
        head[8 + i] = (uint8_t)(x->file->bytes >> (8 * i));
        head[16 + i] = (uint8_t)(x->piece_bytes >> (8 * i));
    }
    if (ftruncate(x->journal, 0) != 0) return fh_fail_errno(err, "empty", x->journal_path);
    return write_at(x->journal, 0, head, sizeof head, x->journal_path, err);
}

/* Takes over what is noted, where the journal is of this very file; otherwise starts anew. */
static fh_status read_journal(fh_incoming *x, fh_err *err) {
    uint8_t head[HEAD_BYTES];
    struct stat part, note;
    if (fstat(x->fd, &part) != 0 || fstat(x->journal, &note) != 0) return fh_fail_errno(err, "look at", x->file->part);
    bool ours = (uint64_t)part.st_size == x->file->bytes && (uint64_t)note.st_size >= HEAD_BYTES &&
                pread(x->journal, head, sizeof head, 0) == HEAD_BYTES && memcmp(head, magic, sizeof magic) == 0 &&
                get_u64(head + 8) == x->file->bytes && get_u64(head + 16) == x->piece_bytes;
    if (!ours) return fh_incoming_restart(x, err);
    uint64_t n = FH_MIN((uint64_t)note.st_size - HEAD_BYTES, x->n_piece);
    FH_TRY(read_at(x->journal, HEAD_BYTES, x->piece, (size_t)n, x->journal_path, err));
    for (uint64_t i = 0; i < x->n_piece; i++) {
        x->piece[i] = x->piece[i] == 1 ? FH_PIECE_NOTED : FH_PIECE_TODO;
        x->n_here += x->piece[i] == FH_PIECE_NOTED;
    }
    return FH_OK;
}

static fh_status note(fh_incoming *x, fh_err *err) {
    static const uint8_t one = 1;
    bool any = false;
    for (uint64_t i = 0; i < x->n_piece; i++) any |= x->piece[i] == FH_PIECE_HERE;
    if (!any) return FH_OK;
    if ((FH_FAULT(FH_FAULT_FSYNC) ? -1 : fdatasync(x->fd)) != 0) return fh_fail_errno(err, "sync", x->file->part);
    for (uint64_t i = 0; i < x->n_piece; i++) {
        if (x->piece[i] != FH_PIECE_HERE) continue;
        FH_TRY(write_at(x->journal, HEAD_BYTES + i, &one, 1, x->journal_path, err));
        x->piece[i] = FH_PIECE_NOTED;
    }
    return FH_OK;
}

/* ---- opening ---- */

/* Small files are one piece and need no journal of any use; large ones have at most a few thousand. */
static uint64_t choose_piece(uint64_t bytes) {
    uint64_t piece = LEAST_PIECE;
    while (piece < MOST_PIECE && bytes / piece > 64) piece *= 2;
    return piece;
}

static fh_status reserve(fh_incoming *x, fh_err *err) {
    if (ftruncate(x->fd, (off_t)x->file->bytes) != 0) return fh_fail_errno(err, "make room for", x->file->part);
    if (x->file->bytes == 0 || fallocate(x->fd, 0, 0, (off_t)x->file->bytes) == 0) return FH_OK;
    /* a file system that cannot reserve will tell when it is full */
    return errno == ENOSPC || errno == EDQUOT ? fh_fail_errno(err, "make room for", x->file->part) : FH_OK;
}

static fh_status new_digests(fh_incoming *x, fh_err *err) {
    fh_sha256_free(x->sha);
    fh_git_blob_free(x->git);
    x->sha = NULL;
    x->git = NULL;
    x->hashed = 0;
    FH_TRY(fh_sha256_new(&x->sha, err));
    return x->file->git[0] ? fh_git_blob_new(&x->git, x->file->bytes, err) : FH_OK;
}

fh_status fh_incoming_restart(fh_incoming *x, fh_err *err) {
    memset(x->piece, FH_PIECE_TODO, (size_t)x->n_piece);
    x->n_here = 0;
    FH_TRY(write_head(x, err));
    FH_TRY(new_digests(x, err));
    return reserve(x, err);
}

fh_status fh_incoming_open(fh_incoming *x, fh_fetch_file *file, fh_err *err) {
    *x = (fh_incoming){.file = file, .fd = -1, .journal = -1, .noted_ns = fh_clock_ns()};
    x->piece_bytes = choose_piece(file->bytes);
    x->n_piece = fh_ceil_div(file->bytes, x->piece_bytes);
    int n = snprintf(x->journal_path, sizeof x->journal_path, "%s", file->part);
    if (n < 5 || n + 4 >= (int)sizeof x->journal_path) return fh_fail(err, FH_ERR_LIMIT, "a path that is too long");
    memcpy(x->journal_path + n - 5, ".journal", sizeof ".journal");
    x->piece = fh_alloc_zero((size_t)x->n_piece, 1);
    x->link = fh_alloc_zero(FH_FETCH_URL, 1);
    if (!x->piece || !x->link) return fh_fail_memory(err, (size_t)x->n_piece);
    FH_TRY(new_digests(x, err));
    x->fd = open_for_writing(file->part, err);
    if (x->fd < 0) return err ? err->status : FH_ERR_IO;
    if (flock(x->fd, LOCK_EX | LOCK_NB) != 0)
        return fh_fail(err, FH_ERR_EXISTS, "another freehold is fetching '%s' right now", file->label);
    x->journal = open_for_writing(x->journal_path, err);
    if (x->journal < 0) return err ? err->status : FH_ERR_IO;
    return read_journal(x, err);
}

void fh_incoming_close(fh_incoming *x) {
    if (x->fd >= 0) (void)note(x, NULL);
    if (x->fd >= 0) close(x->fd);
    if (x->journal >= 0) close(x->journal);
    fh_sha256_free(x->sha);
    fh_git_blob_free(x->git);
    fh_free(x->piece);
    fh_free(x->link);
    *x = (fh_incoming){.fd = -1, .journal = -1};
}

/* ---- pieces ---- */

fh_status fh_incoming_write(fh_incoming *x, uint64_t at, const void *data, size_t n, fh_err *err) {
    return write_at(x->fd, at, data, n, x->file->part, err);
}

bool fh_incoming_claim(fh_incoming *x, uint64_t *at, uint64_t *end) {
    for (uint64_t i = 0; i < x->n_piece; i++) {
        if (x->piece[i] != FH_PIECE_TODO) continue;
        x->piece[i] = FH_PIECE_BUSY;
        *at = i * x->piece_bytes;
        *end = FH_MIN(*at + x->piece_bytes, x->file->bytes);
        return true;
    }
    return false;
}

static uint64_t piece_of(const fh_incoming *x, uint64_t end) { return (end - 1) / x->piece_bytes; }

void fh_incoming_give_back(fh_incoming *x, uint64_t end) {
    if (x->piece[piece_of(x, end)] == FH_PIECE_BUSY) x->piece[piece_of(x, end)] = FH_PIECE_TODO;
}

void fh_incoming_has(fh_incoming *x, uint64_t end) {
    uint8_t *p = &x->piece[piece_of(x, end)];
    x->n_here += *p < FH_PIECE_HERE;
    *p = FH_PIECE_HERE;
}

uint64_t fh_incoming_bytes(const fh_incoming *x) { return FH_MIN(x->n_here * x->piece_bytes, x->file->bytes); }

/* ---- settling ---- */

static fh_status hash_some(fh_incoming *x, fh_err *err) {
    uint64_t n = 0, until, stop = x->hashed + HASH_A_CALL;
    while (n < x->n_piece && x->piece[n] >= FH_PIECE_HERE) n++;
    until = FH_MIN(FH_MIN(n * x->piece_bytes, x->file->bytes), stop);
    if (x->hashed >= until) return FH_OK;
    uint8_t *data = fh_alloc(HASH_PIECE, 1);
    if (!data) return fh_fail_memory(err, HASH_PIECE);
    fh_status st = FH_OK;
    while (st == FH_OK && x->hashed < until) {
        size_t part = (size_t)FH_MIN(until - x->hashed, (uint64_t)HASH_PIECE);
        st = read_at(x->fd, x->hashed, data, part, x->file->part, err);
        if (st == FH_OK) st = fh_sha256_add(x->sha, data, part, err);
        if (st == FH_OK && x->git) st = fh_git_blob_add(x->git, data, part, err);
        if (st == FH_OK) x->hashed += part;
    }
    fh_free(data);
    return st;
}

/* The content did not match: once from the start again, since a piece may have come from another version. */
static fh_status came_out_wrong(fh_incoming *x, const char *want, const char *got, fh_err *err) {
    bool first = !x->again;
    x->again = true;
    x->link[0] = '\0';
    if (first) return fh_incoming_restart(x, err);
    unlink(x->file->part);
    unlink(x->journal_path);
    return fh_fail(
        err, FH_ERR_CORRUPT,
        "what the server sends as '%.120s' is not what its listing says: %.64s came, %.64s was listed; nothing "
        "of it was kept",
        x->file->label, got, want);
}

static fh_status prove_and_publish(fh_incoming *x, fh_err *err) {
    char sha[FH_SHA256_HEX], git[FH_GIT_HEX], name[80], target[FH_PATH_MAX];
    fh_fetch_file *f = x->file;
    FH_TRY(fh_sha256_finish(x->sha, sha, err));
    if (f->sha256[0] && strcmp(sha, f->sha256) != 0) return came_out_wrong(x, f->sha256, sha, err);
    if (x->git) {
        FH_TRY(fh_git_blob_finish(x->git, git, err));
        if (strcmp(git, f->git) != 0) return came_out_wrong(x, f->git, git, err);
    }
    int n = snprintf(name, sizeof name, "sha256-%s", sha);
    FH_TRY(fh_path_join(target, f->folder, (fh_str){name, (size_t)n}, err));
    if (fchmod(x->fd, 0444) != 0) return fh_fail_errno(err, "protect", f->part);
    FH_TRY(fh_file_publish(x->fd, f->part, target, err));
    memcpy(f->sha256, sha, sizeof sha);
    unlink(x->journal_path);
    close(x->fd);
    x->fd = -1;
    x->finished = true;
    return FH_OK;
}

fh_status fh_incoming_settle(fh_incoming *x, fh_err *err) {
    uint64_t now = fh_clock_ns();
    if (x->finished) return FH_OK;
    if (now - x->noted_ns > NOTE_EVERY_NS && x->n_here < x->n_piece) {
        x->noted_ns = now;
        FH_TRY(note(x, err));
    }
    FH_TRY(hash_some(x, err));
    return x->hashed == x->file->bytes ? prove_and_publish(x, err) : FH_OK;
}
