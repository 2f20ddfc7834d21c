/* base/err.h - the one way to fail.
 * SPDX-License-Identifier: Apache-2.0
 * A function that can fail returns fh_status and takes a trailing fh_err * (NULL is fine). Outputs are
 * untouched on failure. Predicates return bool and cannot fail. Nothing below src/cli prints or exits.
 * An fh_err is plain storage: no allocation, so running out of memory can be reported too. */
#ifndef FH_BASE_ERR_H
#define FH_BASE_ERR_H

#include <stddef.h>
#include <stdint.h>

typedef enum fh_status {
#define FH_STATUS_ROW(name, exit_code, http, text) FH_##name,
#include "base/status.def"
#undef FH_STATUS_ROW
    FH_STATUS_COUNT
} fh_status;

#define FH_MUST_USE __attribute__((warn_unused_result))
#define FH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FH_NO_OFFSET UINT64_MAX

/* What failed. {0} is a valid start. message never holds control characters, whatever a file said. */
typedef struct fh_err {
    fh_status status;
    uint64_t offset;   /* byte in the file; FH_NO_OFFSET where none applies */
    char path[512];    /* file, or "" */
    char message[512]; /* what failed, 'subject', why; no final full stop */
} fh_err;

/* Record a failure and return its status, so that `return fh_fail(err, ...)` is the whole error path. */
fh_status fh_fail(fh_err *err, fh_status status, const char *fmt, ...) FH_PRINTF(3, 4);
fh_status fh_fail_at(fh_err *err, fh_status status, uint64_t offset, const char *fmt, ...) FH_PRINTF(4, 5);
/* From errno: picks the status and appends strerror. what = "open", path = the file (may be NULL). */
fh_status fh_fail_errno(fh_err *err, const char *what, const char *path);
fh_status fh_fail_memory(fh_err *err, size_t bytes);

/* Name the file in an error that a parser reported without one; keeps a path already set. */
void fh_err_set_path(fh_err *err, const char *path);
/* Add a constant to the offset: for parsers that saw only a part of the file. */
void fh_err_shift(fh_err *err, uint64_t by);
/* "path: message (at byte N)"; returns out. */
const char *fh_err_text(const fh_err *err, char *out, size_t size);

const char *fh_status_name(fh_status s); /* "ERR_FORMAT" */
const char *fh_status_text(fh_status s); /* "malformed" */
int fh_status_exit(fh_status s);
int fh_status_http(fh_status s);

/* Leave the function on failure; for functions that own nothing yet. */
#define FH_TRY(expr) \
    do { \
        fh_status fh_try_ = (expr); \
        if (fh_try_ != FH_OK) return fh_try_; \
    } while (0)

/* A broken promise inside the program: never for file contents, input, options or lack of memory. */
_Noreturn void fh_bug_at(const char *file, int line, const char *what);
#define FH_BUG(what) fh_bug_at(__FILE__, __LINE__, (what))
#define FH_REQUIRE(cond) \
    do { \
        if (!(cond)) FH_BUG("required: " #cond); \
    } while (0)

#endif
