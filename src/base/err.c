/* base/err.c - the status table and the writing of fh_err.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing; allocates nothing. Text that reaches a message is made printable here, once, so that a name
 * inside a hostile file can neither move the cursor of a terminal nor break a log line. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text;
    int exit_code, http;
} status_table[FH_STATUS_COUNT] = {
#define FH_STATUS_ROW(name, exit_code, http, text) [FH_##name] = {#name, text, exit_code, http},
#include "base/status.def"
#undef FH_STATUS_ROW
};

static fh_status checked(fh_status s) { return (unsigned)s < FH_STATUS_COUNT ? s : FH_ERR_IO; }
const char *fh_status_name(fh_status s) { return status_table[checked(s)].name; }
const char *fh_status_text(fh_status s) { return status_table[checked(s)].text; }
int fh_status_exit(fh_status s) { return status_table[checked(s)].exit_code; }
int fh_status_http(fh_status s) { return status_table[checked(s)].http; }

/* Control characters and bytes over 0x7f that start no UTF-8 sequence become '?'. */
static void make_printable(char *s) {
    for (unsigned char *p = (unsigned char *)s; *p;) {
        size_t n = *p < 0x80                 ? 1
                   : *p >= 0xc2 && *p < 0xe0 ? 2
                   : (*p & 0xf0) == 0xe0     ? 3
                   : *p >= 0xf0 && *p < 0xf5 ? 4
                                             : 0;
        size_t i = 1;
        while (i < n && (p[i] & 0xc0) == 0x80) i++;
        bool c1_control = n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
        if (n == 0 || i < n || c1_control) {
            *p++ = '?';
        } else {
            if (n == 1 && (*p < 0x20 || *p == 0x7f)) *p = '?';
            p += n;
        }
    }
}

FH_PRINTF(4, 0)
static void fill(fh_err *err, fh_status status, uint64_t offset, const char *fmt, va_list args) {
    if (!err) return;
    err->status = status;
    err->offset = offset;
    err->path[0] = '\0';
    if (vsnprintf(err->message, sizeof err->message, fmt, args) < 0)
        snprintf(err->message, sizeof err->message, "%s", fh_status_text(status));
    make_printable(err->message);
}

fh_status fh_fail(fh_err *err, fh_status status, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fill(err, status, FH_NO_OFFSET, fmt, args);
    va_end(args);
    return status;
}

fh_status fh_fail_at(fh_err *err, fh_status status, uint64_t offset, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fill(err, status, offset, fmt, args);
    va_end(args);
    return status;
}

static fh_status status_of_errno(int e) {
    switch (e) {
    case ENOENT:
    case ENOTDIR: return FH_ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return FH_ERR_DENIED;
    case EEXIST: return FH_ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return FH_ERR_SPACE;
    case ENOMEM: return FH_ERR_MEMORY;
    case EMFILE:
    case ENFILE:
    case ELOOP:
    case ENAMETOOLONG: return FH_ERR_LIMIT;
    default: return FH_ERR_IO;
    }
}

fh_status fh_fail_errno(fh_err *err, const char *what, const char *path) {
    int e = errno;
    fh_status status = status_of_errno(e);
    char why[128];
    /* the GNU strerror_r: thread-safe, may or may not use the buffer */
    const char *text = strerror_r(e, why, sizeof why);
    fh_fail(err, status, "cannot %s: %s", what, text);
    fh_err_set_path(err, path);
    return status;
}

fh_status fh_fail_memory(fh_err *err, size_t bytes) {
    return fh_fail(err, FH_ERR_MEMORY, "out of memory: %zu bytes asked for", bytes);
}

void fh_err_set_path(fh_err *err, const char *path) {
    if (!err || !path || err->path[0]) return;
    snprintf(err->path, sizeof err->path, "%s", path);
    make_printable(err->path);
}

void fh_err_shift(fh_err *err, uint64_t by) {
    if (err && err->offset != FH_NO_OFFSET) err->offset += by;
}

const char *fh_err_text(const fh_err *err, char *out, size_t size) {
    char at[40] = "";
    if (err->offset != FH_NO_OFFSET) snprintf(at, sizeof at, " (at byte %llu)", (unsigned long long)err->offset);
    snprintf(out, size, "%s%s%s%s", err->path, err->path[0] ? ": " : "", err->message, at);
    return out;
}

_Noreturn void fh_bug_at(const char *file, int line, const char *what) {
    fprintf(stderr, "freehold: a bug in the program: %s (%s:%d)\n", what, file, line);
    abort();
}
