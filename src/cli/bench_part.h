/* cli/bench_part.h - what the files of `freehold bench` share: rows, formats, options.
 * SPDX-License-Identifier: Apache-2.0
 * A row of csv, json and jsonl is a list of named cells; where llama-bench has the fact, the name is its. */
#ifndef FH_CLI_BENCH_PART_H
#define FH_CLI_BENCH_PART_H

#include "base/json.h"
#include "cli/model_options.h"
#include "evaluate/bench.h"
#include "library/facts.h"

typedef enum fh_bench_format { FH_BENCH_MD, FH_BENCH_CSV, FH_BENCH_JSON, FH_BENCH_JSONL } fh_bench_format;
FH_MUST_USE fh_status fh_bench_format_of(fh_bench_format *out, const fh_cli *cli, const char *name, fh_err *err);

typedef enum fh_bench_cell_kind {
    FH_CELL_TEXT,
    FH_CELL_COUNT,
    FH_CELL_REAL,
    FH_CELL_BOOL,
    FH_CELL_NONE,
    FH_CELL_COUNTS, /* lists: in json only */
    FH_CELL_REALS
} fh_bench_cell_kind;

typedef struct fh_bench_cell {
    const char *name;
    fh_bench_cell_kind kind;
    const char *text;
    uint64_t count;
    double real;
    const uint64_t *counts; /* [count] */
    double per;             /* REALS: per * 1e9 / counts[i] */
} fh_bench_cell;

#define FH_BENCH_MOST_CELLS 64
typedef struct fh_bench_cells {
    fh_bench_cell cell[FH_BENCH_MOST_CELLS];
    size_t n;
} fh_bench_cells;
void fh_bench_put_text(fh_bench_cells *c, const char *name, const char *text);
void fh_bench_put_count(fh_bench_cells *c, const char *name, uint64_t v);
void fh_bench_put_real(fh_bench_cells *c, const char *name, double v);
void fh_bench_put_bool(fh_bench_cells *c, const char *name, bool v);
void fh_bench_put_none(fh_bench_cells *c, const char *name);

/* Rows as they come; json is one value, so that it stands when all rows are there. */
typedef struct fh_bench_sheet {
    const fh_cli *cli;
    fh_bench_format format;
    fh_buf buf;
    fh_json_writer json;
    size_t n_row;
} fh_bench_sheet;
void fh_bench_sheet_open(fh_bench_sheet *s, const fh_cli *cli, fh_bench_format format);
void fh_bench_sheet_add(fh_bench_sheet *s, const fh_bench_cells *c); /* not for md */
void fh_bench_sheet_flush(fh_bench_sheet *s);                        /* what md has put into buf */
int fh_bench_sheet_close(fh_bench_sheet *s, bool whole);             /* exit code; whole: no row is missing */

/* ---- speed ---- */
typedef struct fh_bench_model {
    char type[96]; /* "llama 1.50 B Q4_K_M" */
    char path[FH_PATH_MAX];
    uint64_t size, n_value;
    fh_export what;
} fh_bench_model;
FH_MUST_USE fh_status fh_bench_model_describe(fh_bench_model *out, const fh_opened *x, fh_err *err);

typedef struct fh_bench_row {
    const fh_bench_model *model;
    const fh_bench_case *c;
    const fh_bench_result *r;
    const fh_ceilings *ceilings; /* NULL: no roofline */
    const char *cpu_level;       /* as it was asked for, or NULL */
    const char *cpu;
    uint64_t cache_bytes; /* the last level's, all of them */
    bool exact, first_token;
} fh_bench_row;

/* Columns of md that are there only where a list of the grid is not the default. */
typedef struct fh_bench_columns {
    bool n_batch, n_ubatch, type;
} fh_bench_columns;
void fh_bench_print_row(fh_bench_sheet *s, const fh_bench_columns *c, const fh_bench_row *row);

/* ---- agreement ---- */
typedef struct fh_bench_agree_options {
    const char *tokens, *cpu_level;
    uint32_t threads, batch;
    fh_dtype kv_type;
} fh_bench_agree_options;
/* Exit code: 1 where the pooled limits do not hold. */
int fh_bench_agree(const fh_cli *cli, fh_bench_format format, const char *const *model, size_t n_model,
                   const fh_bench_agree_options *o);

#endif
