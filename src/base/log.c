/* base/log.c - log lines.
 * SPDX-License-Identifier: Apache-2.0
 * A line is built on the stack and written by one call, so lines of several threads never mix and logging needs
 * no heap: it works when memory has run out. Lines over 2,000 bytes are cut, and say so by a final "...". */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"

#define LINE_MAX_BYTES 2000

static struct {
    fh_log_level least;
    bool json;
    int fd;
} config = {FH_LOG_WARN, false, 2};

typedef struct line {
    char text[LINE_MAX_BYTES + 8];
    size_t len;
} line;

void fh_log_config(fh_log_level least, bool json, int fd) {
    config.least = least;
    config.json = json;
    config.fd = fd;
}
bool fh_log_on(fh_log_level level) { return level >= config.least && config.least != FH_LOG_OFF; }

static void put(line *l, char c) {
    if (l->len < LINE_MAX_BYTES) l->text[l->len++] = c;
}
FH_PRINTF(2, 3) static void put_fmt(line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    size_t room = LINE_MAX_BYTES - l->len;
    int n = vsnprintf(l->text + l->len, room + 1, fmt, args);
    va_end(args);
    if (n > 0) l->len += FH_MIN((size_t)n, room);
}

/* Quoted, with the escapes that are right in JSON and readable in text. */
static void put_quoted(line *l, fh_str s) {
    bool utf8 = fh_utf8_valid(s);
    put(l, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\') {
            put(l, '\\');
            put(l, (char)c);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            put_fmt(l, "\\u%04x", c);
        } else {
            put(l, (char)c);
        }
    }
    put(l, '"');
}

static void put_value(line *l, const fh_log_field *f) {
    switch (f->kind) {
    case FH_LOG_STR: put_quoted(l, f->s); break;
    case FH_LOG_U64: put_fmt(l, "%llu", (unsigned long long)f->u); break;
    case FH_LOG_I64: put_fmt(l, "%lld", (long long)f->i); break;
    case FH_LOG_F64: put_fmt(l, f->f - f->f == 0 ? "%.6g" : "null", f->f); break;
    case FH_LOG_BOOL: put_fmt(l, "%s", f->u ? "true" : "false"); break;
    }
}

void fh_log_write(fh_log_level level, const char *event, const fh_log_field *fields, size_t n) {
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    line l = {.len = 0};
    uint64_t now = fh_clock_unix_ms();
    if (config.json)
        put_fmt(&l, "{\"time\":%llu.%03u,\"level\":\"%s\",\"event\":\"%s\"", (unsigned long long)(now / 1000),
                (unsigned)(now % 1000), names[level], event);
    else put_fmt(&l, "%s %s", names[level], event);
    for (size_t i = 0; i < n; i++) {
        if (config.json) put_fmt(&l, ",\"%s\":", fields[i].name);
        else put_fmt(&l, " %s=", fields[i].name);
        put_value(&l, &fields[i]);
    }
    if (config.json) put(&l, '}');
    if (l.len == LINE_MAX_BYTES) {
        memcpy(l.text + l.len, "...", 3);
        l.len += 3;
    }
    l.text[l.len++] = '\n';
    ssize_t ignored = write(config.fd, l.text, l.len);
    (void)ignored;
}
