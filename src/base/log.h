/* base/log.h - structured log: an event name and typed fields, one line each, as text or JSON lines.
 * SPDX-License-Identifier: Apache-2.0
 * For operators; what a command prints for its user is the business of src/cli. Lines are written whole
 * (one write call), so threads do not mix. Prompts and secrets are never logged. */
#ifndef FH_BASE_LOG_H
#define FH_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum fh_log_level { FH_LOG_DEBUG, FH_LOG_INFO, FH_LOG_WARN, FH_LOG_ERROR, FH_LOG_OFF } fh_log_level;

typedef struct fh_log_field {
    const char *name;
    enum { FH_LOG_STR, FH_LOG_U64, FH_LOG_I64, FH_LOG_F64, FH_LOG_BOOL } kind;
    fh_str s;
    uint64_t u;
    int64_t i;
    double f;
} fh_log_field;

#define FH_LOG_S(n, v) \
    { .name = (n), .kind = FH_LOG_STR, .s = (v) }
#define FH_LOG_U(n, v) \
    { .name = (n), .kind = FH_LOG_U64, .u = (uint64_t)(v) }
#define FH_LOG_I(n, v) \
    { .name = (n), .kind = FH_LOG_I64, .i = (int64_t)(v) }
#define FH_LOG_F(n, v) \
    { .name = (n), .kind = FH_LOG_F64, .f = (v) }
#define FH_LOG_B(n, v) \
    { .name = (n), .kind = FH_LOG_BOOL, .u = (v) }

void fh_log_config(fh_log_level least, bool json, int fd); /* before threads; default: warn, text, 2 */
bool fh_log_on(fh_log_level level);
void fh_log_write(fh_log_level level, const char *event, const fh_log_field *fields, size_t n);
/* fh_log(FH_LOG_WARN, "map.lost", FH_LOG_S("path", p), FH_LOG_U("page", n)); at least one field */
#define fh_log(level, event, ...) \
    do { \
        if (fh_log_on(level)) { \
            const fh_log_field fh_f_[] = {__VA_ARGS__}; \
            fh_log_write(level, event, fh_f_, sizeof fh_f_ / sizeof fh_f_[0]); \
        } \
    } while (0)

#endif
