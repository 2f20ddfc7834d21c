/* serve/config.h - the server's settings: one table (config.def), a file of `key = value` lines, and flags.
 * SPDX-License-Identifier: Apache-2.0
 * A line's value may stand in double quotes; # starts a comment where a key could stand, or after blanks. An unknown
 * key, a key twice (but for lists) and a value of the wrong kind are errors that name the line. */
#ifndef FH_SERVE_CONFIG_H
#define FH_SERVE_CONFIG_H

#include "base/file.h"

typedef enum fh_config_key {
#define FH_CONFIG_ROW(key, kind, value, hot, help) FH_CONFIG_##key,
#include "serve/config.def"
#undef FH_CONFIG_ROW
    FH_CONFIG_COUNT
} fh_config_key;

typedef enum fh_config_kind {
    FH_CONFIG_TEXT,
    FH_CONFIG_FLAG,
    FH_CONFIG_COUNT_,
    FH_CONFIG_BYTES,
    FH_CONFIG_TIME,
    FH_CONFIG_LIST
} fh_config_kind;

typedef struct fh_config_row {
    const char *key;
    fh_config_kind kind;
    const char *value; /* default */
    bool hot;
    const char *help;
} fh_config_row;
const fh_config_row *fh_config_table(void); /* [FH_CONFIG_COUNT] */

#define FH_CONFIG_LIST_MOST 256

typedef struct fh_config_value {
    fh_str text;     /* TEXT */
    uint64_t number; /* FLAG 0 or 1, COUNT, BYTES */
    int64_t ms;      /* TIME; -1: for ever */
    fh_str *item;    /* LIST [n] */
    size_t n;
    int from; /* 0: default, 1: file, 2: command line */
} fh_config_value;

typedef struct fh_config {
    fh_arena arena; /* texts, each with a final NUL */
    fh_config_value value[FH_CONFIG_COUNT];
} fh_config;

/* The defaults. */
FH_MUST_USE fh_status fh_config_init(fh_config *c, fh_err *err);
void fh_config_release(fh_config *c);
/* One setting: from as in fh_config_value. What the command line set a file does not change, and a list that one source
 * gives replaces the weaker source's. */
FH_MUST_USE fh_status fh_config_set(fh_config *c, fh_str key, fh_str value, int from, fh_err *err);
/* A file's text; errors carry the line in their message. */
FH_MUST_USE fh_status fh_config_parse(fh_config *c, fh_str text, fh_err *err);
FH_MUST_USE fh_status fh_config_read(fh_config *c, const char *path, fh_err *err);

/* Keys as "tls-key" or "tls_key". */
bool fh_config_find(fh_str key, fh_config_key *out);
const char *fh_config_text(const fh_config *c, fh_config_key k); /* "" where unset; NUL-terminated */
uint64_t fh_config_number(const fh_config *c, fh_config_key k);
int64_t fh_config_ms(const fh_config *c, fh_config_key k);
bool fh_config_flag(const fh_config *c, fh_config_key k);
/* Names of what differs and is not hot: a reload cannot take it over. */
void fh_config_cold_changes(const fh_config *was, const fh_config *now, fh_buf *out);

/* "64M", "2G", "512K", "1000" bytes; "30s", "5m", "250ms", "2h", "-1", "300" (seconds). */
bool fh_config_bytes(fh_str s, uint64_t *out);
bool fh_config_time(fh_str s, int64_t *ms);

/* Folders: FREEHOLD_HOME (then config and state lie in it), else the user's (base/folder.h). */
FH_MUST_USE fh_status fh_config_default_path(char out[FH_PATH_MAX], fh_err *err);
FH_MUST_USE fh_status fh_config_state_dir(char out[FH_PATH_MAX], bool make, fh_err *err);

#endif
