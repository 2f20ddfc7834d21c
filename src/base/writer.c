/* base/writer.c - atomic files: a temporary beside the target, then fsync, rename, fsync of the folder.
 * SPDX-License-Identifier: Apache-2.0
 * The temporary is named ".NAME.PID-N.part": hidden, unique among processes, recognisable to who cleans up.
 * Any failure before the rename removes it and leaves the target as it was.
 * Resumable writers use ".NAME.part" under a lock and ".NAME.part.at": one line with the identity and how many bytes
 * have reached the disk. The line is written after those bytes, so it never promises what is not there. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"

#define BUFFER_BYTES (1u << 16)
#define IDENTITY_CHARS 64
#define CHECKPOINT_NS 250000000u

struct fh_writer {
    int fd, at_fd;   /* the temporary; of resumable writers, the line about it */
    uint64_t offset; /* bytes added */
    uint64_t kept;   /* bytes of an earlier process */
    uint64_t checkpoint_ns;
    fh_sink *sink; /* instead of a file */
    void *sink_ctx;
    size_t pending; /* of buffer, not yet written */
    char identity[IDENTITY_CHARS + 1];
    char at_path[FH_PATH_MAX];
    char target[FH_PATH_MAX], temporary[FH_PATH_MAX];
    uint8_t buffer[BUFFER_BYTES];
};

static fh_writer *new_writer(fh_err *err) {
    fh_writer *w = fh_alloc(1, sizeof *w);
    if (!w) {
        (void)fh_fail_memory(err, sizeof *w);
        return NULL;
    }
    memset(w, 0, offsetof(fh_writer, buffer));
    w->fd = w->at_fd = -1;
    return w;
}

static fh_status make_names(fh_writer *w, const char *path, bool resumable, fh_err *err) {
    static _Atomic unsigned serial;
    fh_str whole = fh_str_of(path), base = fh_path_base(whole);
    fh_str folder = fh_str_first(whole, whole.len - base.len);
    char name[320];
    if (!fh_path_is_plain_name(base)) return fh_fail(err, FH_ERR_USAGE, "'%s' is no file name", path);
    if (folder.len == 0) folder = FH_STR("./");
    char above[FH_PATH_MAX];
    if (!fh_str_copy(w->target, sizeof w->target, whole) || !fh_str_copy(above, sizeof above, folder))
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    const int len = (int)FH_MIN(base.len, (size_t)200);
    if (resumable) {
        snprintf(name, sizeof name, ".%.*s.part.at", len, base.ptr);
        FH_TRY(fh_path_join(w->at_path, above, fh_str_of(name), err));
        snprintf(name, sizeof name, ".%.*s.part", len, base.ptr);
    } else {
        snprintf(name, sizeof name, ".%.*s.%ld-%u.part", len, base.ptr, (long)getpid(), atomic_fetch_add(&serial, 1));
    }
    return fh_path_join(w->temporary, above, fh_str_of(name), err);
}

fh_status fh_writer_open(fh_writer **out, const char *path, fh_err *err) {
    fh_writer *w = new_writer(err);
    if (!w) return FH_ERR_MEMORY;
    fh_status status = make_names(w, path, false, err);
    if (status == FH_OK) {
        w->fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0) status = fh_fail_errno(err, "create", w->temporary);
    }
    if (status != FH_OK) {
        fh_free(w);
        return status;
    }
    *out = w;
    return FH_OK;
}

fh_status fh_writer_open_sink(fh_writer **out, fh_sink *sink, void *ctx, fh_err *err) {
    fh_writer *w = new_writer(err);
    if (!w) return FH_ERR_MEMORY;
    w->sink = sink;
    w->sink_ctx = ctx;
    *out = w;
    return FH_OK;
}

/* ---- resumable ---- */

/* What an earlier process left: how many bytes the line promises, if it is about the same work and they are there. */
static uint64_t read_line(const fh_writer *w) {
    char line[IDENTITY_CHARS + 32] = {0};
    struct stat st;
    uint64_t n;
    const ssize_t got = pread(w->at_fd, line, sizeof line - 1, 0);
    const fh_str s = {line, got > 0 ? (size_t)got : 0};
    if (s.len < IDENTITY_CHARS + 3 || memcmp(line, w->identity, IDENTITY_CHARS) != 0) return 0;
    if (line[IDENTITY_CHARS] != ' ' || line[s.len - 1] != '\n') return 0;
    if (!fh_str_u64((fh_str){line + IDENTITY_CHARS + 1, s.len - IDENTITY_CHARS - 2}, &n)) return 0;
    return fstat(w->fd, &st) == 0 && (uint64_t)st.st_size >= n ? n : 0;
}

static fh_status open_again(fh_writer *w, fh_err *err) {
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    w->fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(w->temporary, flags, 0666);
    if (w->fd < 0) return fh_fail_errno(err, "create", w->temporary);
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
        close(w->fd);
        w->fd = -1;
        return fh_fail(err, FH_ERR_EXISTS, "'%s' is being written by another process", w->target);
    }
    w->at_fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(w->at_path, flags, 0666);
    if (w->at_fd < 0) return fh_fail_errno(err, "create", w->at_path);
    w->kept = read_line(w);
    if (ftruncate(w->fd, (off_t)w->kept) != 0 || lseek(w->fd, (off_t)w->kept, SEEK_SET) < 0)
        return fh_fail_errno(err, "go on with", w->temporary);
    w->checkpoint_ns = fh_clock_ns();
    return FH_OK;
}

fh_status fh_writer_open_resumable(fh_writer **out, const char *path, const char *identity, fh_err *err) {
    fh_writer *w = new_writer(err);
    if (!w) return FH_ERR_MEMORY;
    FH_REQUIRE(strlen(identity) == IDENTITY_CHARS);
    memcpy(w->identity, identity, sizeof w->identity);
    fh_status status = make_names(w, path, true, err);
    if (status == FH_OK) status = open_again(w, err);
    if (status != FH_OK) {
        if (w->fd >= 0) fh_writer_suspend(w);
        else fh_free(w);
        return status;
    }
    *out = w;
    return FH_OK;
}

uint64_t fh_writer_kept(const fh_writer *w) { return w->kept; }

void fh_writer_skip(fh_writer *w, uint64_t n) {
    FH_REQUIRE(w->offset <= w->kept && n <= w->kept - w->offset);
    w->offset += n;
}

void fh_writer_suspend(fh_writer *w) {
    close(w->fd);
    if (w->at_fd >= 0) close(w->at_fd);
    fh_free(w);
}

/* ---- bytes ---- */

static fh_status write_out(fh_writer *w, const uint8_t *p, size_t n, fh_err *err) {
    while (n > 0) {
        ssize_t k = FH_FAULT(FH_FAULT_WRITE) ? -1 : write(w->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return fh_fail_errno(err, "write", w->target);
        p += k;
        n -= (size_t)k;
    }
    return FH_OK;
}

static fh_status flush(fh_writer *w, fh_err *err) {
    size_t n = w->pending;
    w->pending = 0;
    return write_out(w, w->buffer, n, err);
}

fh_status fh_writer_add(fh_writer *w, const void *data, size_t n, fh_err *err) {
    if (n == 0) return FH_OK;
    if (w->sink) {
        w->offset += n;
        return w->sink(w->sink_ctx, data, n, err);
    }
    if (w->offset < w->kept) {
        const size_t there = (size_t)FH_MIN(w->kept - w->offset, (uint64_t)n);
        w->offset += there;
        data = (const uint8_t *)data + there;
        n -= there;
        if (n == 0) return FH_OK;
    }
    if (n > BUFFER_BYTES - w->pending) FH_TRY(flush(w, err));
    if (n >= BUFFER_BYTES) {
        FH_TRY(write_out(w, data, n, err));
    } else {
        memcpy(w->buffer + w->pending, data, n);
        w->pending += n;
    }
    w->offset += n;
    return FH_OK;
}

uint64_t fh_writer_offset(const fh_writer *w) { return w->offset; }

static int sync_fd(int fd) { return FH_FAULT(FH_FAULT_FSYNC) ? -1 : fsync(fd); }

fh_status fh_writer_checkpoint(fh_writer *w, fh_err *err) {
    char line[IDENTITY_CHARS + 32];
    if (w->at_fd < 0 || w->offset <= w->kept || fh_clock_ns() - w->checkpoint_ns < CHECKPOINT_NS) return FH_OK;
    FH_TRY(flush(w, err));
    if (sync_fd(w->fd) != 0) return fh_fail_errno(err, "sync", w->target);
    const int n = snprintf(line, sizeof line, "%s %llu\n", w->identity, (unsigned long long)w->offset);
    if (pwrite(w->at_fd, line, (size_t)n, 0) != n || ftruncate(w->at_fd, n) != 0 || sync_fd(w->at_fd) != 0)
        return fh_fail_errno(err, "write", w->at_path);
    w->checkpoint_ns = fh_clock_ns();
    return FH_OK;
}

static fh_status sync_folder(const char *target, fh_err *err) {
    char folder[FH_PATH_MAX];
    fh_str whole = fh_str_of(target), base = fh_path_base(whole);
    fh_str above = fh_str_first(whole, whole.len - base.len);
    if (!fh_str_copy(folder, sizeof folder, above.len ? above : FH_STR("./")))
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fh_fail_errno(err, "open folder", folder);
    int rc = sync_fd(fd);
    int why = errno;
    close(fd);
    errno = why;
    /* some file systems refuse to sync a folder: the rename has happened all the same */
    return rc == 0 || why == EINVAL || why == EROFS ? FH_OK : fh_fail_errno(err, "sync folder", folder);
}

fh_status fh_file_publish(int fd, const char *temporary, const char *target, fh_err *err) {
    if (sync_fd(fd) != 0) return fh_fail_errno(err, "sync", target);
    if ((FH_FAULT(FH_FAULT_RENAME) ? -1 : rename(temporary, target)) != 0)
        return fh_fail_errno(err, "rename the finished file to", target);
    return sync_folder(target, err);
}

fh_status fh_writer_commit(fh_writer *w, fh_err *err) {
    if (w->sink) {
        fh_free(w);
        return FH_OK;
    }
    fh_status status = flush(w, err);
    if (status == FH_OK && w->at_fd >= 0) unlink(w->at_path);
    if (status == FH_OK) status = fh_file_publish(w->fd, w->temporary, w->target, err);
    if (status == FH_OK) fh_writer_suspend(w); /* closes; there is no temporary any more */
    else fh_writer_abort(w);
    return status;
}

void fh_writer_abort(fh_writer *w) {
    if (!w) return;
    if (!w->sink) unlink(w->temporary);
    if (w->at_fd >= 0) {
        unlink(w->at_path);
        close(w->at_fd);
    }
    if (w->fd >= 0) close(w->fd); /* the lock goes last */
    fh_free(w);
}
