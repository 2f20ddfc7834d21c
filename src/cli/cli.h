/* cli/cli.h - what the commands share: options from tables, output that fits where it goes.
 * SPDX-License-Identifier: Apache-2.0
 * Only src/cli prints for people or decides an exit code. Results go to out (pipeable), chatter to err.
 * Exit codes come from status.def: 0 done, 1 failed, 2 wrong use. */
#ifndef FH_CLI_CLI_H
#define FH_CLI_CLI_H

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

typedef struct fh_cli {
    const char *command;
    int argc; /* what follows the command's name */
    char **argv;
    FILE *out, *err;
    bool json;  /* --json was given */
    bool color; /* out is a terminal that wants it */
} fh_cli;

typedef enum fh_option_kind {
    FH_OPTION_FLAG,  /* bool */
    FH_OPTION_TEXT,  /* const char * */
    FH_OPTION_U64,   /* uint64_t */
    FH_OPTION_F64,   /* double, finite */
    FH_OPTION_MAYBE, /* const char *: "--name" gives "", "--name=value" the value */
    FH_OPTION_LIST   /* fh_cli_list: the option may be repeated, all values are kept in order */
} fh_option_kind;

#define FH_CLI_LIST_MOST 256
typedef struct fh_cli_list {
    const char *item[FH_CLI_LIST_MOST]; /* [n], borrowed from the command line */
    size_t n;
} fh_cli_list;

typedef struct fh_option {
    const char *name; /* "--tensors" */
    fh_option_kind kind;
    void *out;        /* a pointer to what the kind says */
    const char *arg;  /* "N", shown in the help; NULL for flags */
    const char *help; /* states the default */
} fh_option;

#define FH_CLI_STOP (-1) /* help was asked for and printed */

/* Reads options and up to max_pos positional arguments; --json and --help work everywhere. Everything after "--" is
 * positional. Returns 0 to go on, FH_CLI_STOP after --help, or 2 after printing what is wrong. */
int fh_cli_parse(fh_cli *cli, const fh_option *options, size_t n, const char **positional, size_t max_pos);
/* A finite number as people type it: "0.8", ".5", "-1". */
bool fh_cli_number(fh_str s, double *out);
/* Prints "freehold: <text>" and returns the exit code of the status. */
int fh_cli_fail(const fh_cli *cli, const fh_err *err);
/* Writes the buffer to out and reports a failed write (full disk, closed pipe). */
int fh_cli_print(const fh_cli *cli, const fh_buf *text);

/* Human sizes and counts: "4.58 GiB", "1.50 B"; return out. */
const char *fh_cli_bytes(uint64_t n, char *out, size_t size);
const char *fh_cli_count(uint64_t n, char *out, size_t size);
const char *fh_cli_rate(double v, const char *unit, char *out, size_t size); /* "45.1 GB/s", "1.24 TFLOP/s" */
/* Text from a file made harmless for a terminal: control characters become '?'. */
void fh_cli_add_safe(fh_buf *b, fh_str s);
/* One line on err, made harmless: "freehold: <text>". */
void fh_cli_note(const fh_cli *cli, const char *text);

/* A progress line on err, for work longer than a second; silent when err is no terminal, or a dumb one. */
typedef struct fh_progress {
    FILE *to;
    const char *what;
    uint64_t total, started_ns, shown_ns;
    bool on, drawn;
    bool bytes;                    /* also a rate; set after the start */
    uint64_t first_ns, first_done; /* of what this run does: a download may go on from the middle */
} fh_progress;
void fh_progress_start(fh_progress *p, const fh_cli *cli, const char *what, uint64_t total);
void fh_progress_at(fh_progress *p, uint64_t done);
/* The same for functions that report to (ctx, done, total): ctx is a fh_progress. */
void fh_progress_show(void *progress, uint64_t done, uint64_t total);
void fh_progress_end(fh_progress *p); /* erases the line */

typedef struct fh_command {
    const char *name, *args, *help;
    int (*run)(fh_cli *cli);
} fh_command;
const fh_command *fh_command_table(size_t *n);

#define FH_COMMAND_ROW(name, args, help) int fh_cmd_##name(fh_cli *cli);
#include "cli/commands.def"
#undef FH_COMMAND_ROW

#endif
