/* base/writer.c - atomic files: a temporary beside the target, then fsync, rename, fsync of the folder.
 * SPDX-License-Identifier: Apache-2.0
 * The temporary is named ".NAME.PID-N.part": hidden, unique among processes, recognisable to who cleans up.
 * Any failure before the rename removes it and leaves the target as it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"

#define BUFFER_BYTES (1u << 16)

struct fh_writer {
    int fd;
    uint64_t offset; /* bytes added */
    size_t pending;  /* of buffer, not yet written */
    char target[FH_PATH_MAX], temporary[FH_PATH_MAX], folder[FH_PATH_MAX];
    uint8_t buffer[BUFFER_BYTES];
};

static fh_status make_names(fh_writer *w, const char *path, fh_err *err) {
    static _Atomic unsigned serial;
    fh_str whole = fh_str_of(path), base = fh_path_base(whole);
    fh_str folder = fh_str_first(whole, whole.len - base.len);
    char name[320];
    if (!fh_path_is_plain_name(base)) return fh_fail(err, FH_ERR_USAGE, "'%s' is no file name", path);
    if (folder.len == 0) folder = FH_STR("./");
    if (!fh_str_copy(w->target, sizeof w->target, whole) || !fh_str_copy(w->folder, sizeof w->folder, folder))
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    snprintf(name, sizeof name, ".%.*s.%ld-%u.part", (int)FH_MIN(base.len, (size_t)200), base.ptr, (long)getpid(),
             atomic_fetch_add(&serial, 1));
    return fh_path_join(w->temporary, w->folder, fh_str_of(name), err);
}

fh_status fh_writer_open(fh_writer **out, const char *path, fh_err *err) {
    fh_writer *w = fh_alloc(1, sizeof *w);
    if (!w) return fh_fail_memory(err, sizeof *w);
    w->fd = -1;
    w->offset = 0;
    w->pending = 0;
    fh_status status = make_names(w, path, err);
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

static fh_status sync_folder(const fh_writer *w, fh_err *err) {
    int fd = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fh_fail_errno(err, "open folder", w->folder);
    int rc = sync_fd(fd);
    int why = errno;
    close(fd);
    errno = why;
    /* some file systems refuse to sync a folder: the rename has happened all the same */
    return rc == 0 || why == EINVAL || why == EROFS ? FH_OK : fh_fail_errno(err, "sync folder", w->folder);
}

fh_status fh_writer_commit(fh_writer *w, fh_err *err) {
    fh_status status = flush(w, err);
    if (status == FH_OK && sync_fd(w->fd) != 0) status = fh_fail_errno(err, "sync", w->target);
    if (close(w->fd) != 0 && status == FH_OK) status = fh_fail_errno(err, "close", w->target);
    w->fd = -1;
    if (status == FH_OK && (FH_FAULT(FH_FAULT_RENAME) ? -1 : rename(w->temporary, w->target)) != 0)
        status = fh_fail_errno(err, "rename the finished file to", w->target);
    if (status != FH_OK) {
        fh_writer_abort(w);
        return status;
    }
    status = sync_folder(w, err);
    fh_free(w);
    return status;
}

void fh_writer_abort(fh_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    unlink(w->temporary);
    fh_free(w);
}
