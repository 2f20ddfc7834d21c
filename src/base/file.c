/* base/file.c - whole files, folders, paths.
 * SPDX-License-Identifier: Apache-2.0
 * Reading is bounded by the caller's buffer, so a file that grows while it is read cannot exhaust memory. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"

fh_file_kind fh_file_get_kind(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return FH_FILE_NONE;
    if (S_ISREG(st.st_mode)) return FH_FILE_REGULAR;
    return S_ISDIR(st.st_mode) ? FH_FILE_DIR : FH_FILE_OTHER;
}

fh_status fh_file_get_size(const char *path, uint64_t *out, fh_err *err) {
    struct stat st;
    if (stat(path, &st) != 0) return fh_fail_errno(err, "look at", path);
    *out = (uint64_t)st.st_size;
    return FH_OK;
}

fh_status fh_file_read(const char *path, fh_buf *out, fh_err *err) {
    enum { PIECE = 1 << 16 };
    fh_status status = FH_OK;
    struct stat st;
    int fd = FH_FAULT(FH_FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fh_fail_errno(err, "open", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        status = fh_fail(err, FH_ERR_UNSUPPORTED, "not a regular file");
        goto out;
    }
    /* One piece more than the size says, so that the last read can find the end. */
    for (;;) {
        uint64_t left = (uint64_t)st.st_size > out->len ? (uint64_t)st.st_size - out->len : 0;
        size_t want = (size_t)FH_MIN(left + 1, (uint64_t)PIECE * 64);
        size_t room = out->limit - FH_MIN(out->limit, out->len);
        if (left > room) {
            status = fh_fail(err, FH_ERR_LIMIT, "%llu bytes, more than the %zu allowed for such a file",
                             (unsigned long long)st.st_size, out->limit);
            goto out;
        }
        want = FH_MIN(want, room);
        uint8_t spare = 0;
        uint8_t *p = want ? fh_buf_extend(out, want) : &spare;
        if (!p) {
            status = fh_buf_check(out, err);
            goto out;
        }
        ssize_t n = FH_FAULT(FH_FAULT_READ) ? -1 : read(fd, p, want ? want : 1);
        if (want) out->len -= want - (n > 0 ? (size_t)n : 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = fh_fail_errno(err, "read", path);
            goto out;
        }
        if (n == 0) goto out;
        if (!want) {
            status = fh_fail(err, FH_ERR_LIMIT, "more than the %zu bytes allowed for such a file", out->limit);
            goto out;
        }
    }
out:
    if (status != FH_OK) fh_err_set_path(err, path);
    close(fd);
    return status;
}

static int by_bytes(const void *a, const void *b) { return fh_str_cmp(*(const fh_str *)a, *(const fh_str *)b); }

fh_status fh_dir_list(const char *path, fh_arena *arena, fh_names *out, fh_err *err) {
    fh_status status = FH_OK;
    fh_buf found; /* of fh_str */
    fh_buf_init(&found, arena->ceiling);
    DIR *dir = FH_FAULT(FH_FAULT_OPEN) ? NULL : opendir(path);
    if (!dir) return fh_fail_errno(err, "open folder", path);
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e && errno) {
            status = fh_fail_errno(err, "read folder", path);
            goto out;
        }
        if (!e) break;
        fh_str name = fh_str_of(e->d_name);
        if (fh_str_is(name, ".") || fh_str_is(name, "..")) continue;
        fh_str copy;
        if (!fh_arena_copy(arena, name, &copy)) {
            status = fh_arena_fail(arena, err);
            goto out;
        }
        fh_buf_add(&found, &copy, sizeof copy);
    }
    status = fh_buf_check(&found, err);
    if (status != FH_OK) goto out;
    size_t n = found.len / sizeof(fh_str);
    fh_str *item = fh_arena_alloc(arena, n, sizeof *item);
    if (!item) {
        status = fh_arena_fail(arena, err);
        goto out;
    }
    if (n) {
        memcpy(item, found.ptr, found.len);
        qsort(item, n, sizeof *item, by_bytes);
    }
    *out = (fh_names){item, n};
out:
    if (status != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&found);
    closedir(dir);
    return status;
}

fh_status fh_path_join(char out[FH_PATH_MAX], const char *dir, fh_str name, fh_err *err) {
    size_t n = strlen(dir);
    bool slash = n > 0 && dir[n - 1] != '/';
    size_t at;
    if (fh_str_find(name, '\0', &at)) return fh_fail(err, FH_ERR_FORMAT, "a file name with a NUL in it");
    if (n + slash + name.len >= FH_PATH_MAX)
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    memmove(out, dir, n);
    if (slash) out[n++] = '/';
    if (name.len) memcpy(out + n, name.ptr, name.len);
    out[n + name.len] = '\0';
    return FH_OK;
}

fh_str fh_path_base(fh_str path) {
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/') return fh_str_drop(path, i);
    return path;
}

bool fh_path_is_plain_name(fh_str name) {
    size_t at;
    return name.len > 0 && name.len < 256 && !fh_str_find(name, '/', &at) && !fh_str_find(name, '\0', &at) &&
           !fh_str_is(name, ".") && !fh_str_is(name, "..");
}
