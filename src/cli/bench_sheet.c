/* cli/bench_sheet.c - rows of cells as csv, json and jsonl.
 * SPDX-License-Identifier: Apache-2.0
 * csv as llama-bench writes it: a line of names, then every value in quotes, a quote in it doubled. */
#include "base/num.h"
#include "cli/bench_part.h"

#define MAX_OUTPUT ((size_t)64 << 20)

fh_status fh_bench_format_of(fh_bench_format *out, const fh_cli *cli, const char *name, fh_err *err) {
    static const char *const names[] = {"md", "csv", "json", "jsonl"};
    *out = cli->json ? FH_BENCH_JSON : FH_BENCH_MD;
    if (!name) return FH_OK;
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        if (cli->json && i != FH_BENCH_JSON)
            return fh_fail(err, FH_ERR_USAGE, "--json and -o %s ask for different things", name);
        *out = (fh_bench_format)i;
        return FH_OK;
    }
    return fh_fail(err, FH_ERR_USAGE, "-o is one of md, csv, json, jsonl, not '%.60s'", name);
}

static fh_bench_cell *put(fh_bench_cells *c, const char *name, fh_bench_cell_kind kind) {
    FH_REQUIRE(c->n < FH_BENCH_MOST_CELLS);
    c->cell[c->n] = (fh_bench_cell){.name = name, .kind = kind};
    return &c->cell[c->n++];
}

void fh_bench_put_text(fh_bench_cells *c, const char *name, const char *text) {
    put(c, name, FH_CELL_TEXT)->text = text;
}
void fh_bench_put_count(fh_bench_cells *c, const char *name, uint64_t v) { put(c, name, FH_CELL_COUNT)->count = v; }
void fh_bench_put_real(fh_bench_cells *c, const char *name, double v) { put(c, name, FH_CELL_REAL)->real = v; }
void fh_bench_put_bool(fh_bench_cells *c, const char *name, bool v) { put(c, name, FH_CELL_BOOL)->count = v; }
void fh_bench_put_none(fh_bench_cells *c, const char *name) { put(c, name, FH_CELL_NONE); }

/* ---- rows ---- */
void fh_bench_sheet_open(fh_bench_sheet *s, const fh_cli *cli, fh_bench_format format) {
    *s = (fh_bench_sheet){.cli = cli, .format = format};
    fh_buf_init(&s->buf, MAX_OUTPUT);
    fh_json_writer_init(&s->json, &s->buf, format == FH_BENCH_JSON);
    if (format == FH_BENCH_JSON) fh_json_put_array(&s->json);
}

static bool is_list(const fh_bench_cell *x) { return x->kind == FH_CELL_COUNTS || x->kind == FH_CELL_REALS; }

static void csv_names(fh_buf *b, const fh_bench_cells *c) {
    for (size_t i = 0; i < c->n; i++)
        if (!is_list(&c->cell[i])) fh_buf_printf(b, "%s%s", i ? "," : "", c->cell[i].name);
    fh_buf_add_byte(b, '\n');
}

static void csv_cell(fh_buf *b, const fh_bench_cell *x) {
    fh_buf_add_byte(b, '"');
    if (x->kind == FH_CELL_COUNT || x->kind == FH_CELL_BOOL) fh_buf_printf(b, "%llu", (unsigned long long)x->count);
    if (x->kind == FH_CELL_REAL) fh_buf_printf(b, x->real != 0 && x->real < 1e-3 ? "%.6e" : "%.6f", x->real);
    for (const char *t = x->kind == FH_CELL_TEXT ? x->text : ""; *t; t++) {
        if (*t == '"') fh_buf_add_byte(b, '"');
        fh_buf_add_byte(b, (uint8_t)*t);
    }
    fh_buf_add_byte(b, '"');
}

static void csv_row(fh_buf *b, const fh_bench_cells *c) {
    for (size_t i = 0; i < c->n; i++) {
        if (is_list(&c->cell[i])) continue;
        if (i) fh_buf_add_byte(b, ',');
        csv_cell(b, &c->cell[i]);
    }
    fh_buf_add_byte(b, '\n');
}

static void json_list(fh_json_writer *w, const fh_bench_cell *x) {
    fh_json_put_array(w);
    for (uint64_t i = 0; i < x->count; i++) {
        if (x->kind == FH_CELL_COUNTS) fh_json_put_u64(w, x->counts[i]);
        else fh_json_put_f64(w, x->per * 1e9 / (double)FH_MAX(x->counts[i], 1));
    }
    fh_json_put_end(w);
}

static void json_row(fh_json_writer *w, const fh_bench_cells *c) {
    fh_json_put_object(w);
    for (size_t i = 0; i < c->n; i++) {
        const fh_bench_cell *x = &c->cell[i];
        fh_json_put_key(w, x->name);
        switch (x->kind) {
        case FH_CELL_TEXT: fh_json_put_z(w, x->text); break;
        case FH_CELL_COUNT: fh_json_put_u64(w, x->count); break;
        case FH_CELL_REAL: fh_json_put_f64(w, x->real); break;
        case FH_CELL_BOOL: fh_json_put_bool(w, x->count != 0); break;
        case FH_CELL_NONE: fh_json_put_null(w); break;
        case FH_CELL_COUNTS:
        case FH_CELL_REALS: json_list(w, x); break;
        }
    }
    fh_json_put_end(w);
}

void fh_bench_sheet_flush(fh_bench_sheet *s) {
    if (s->buf.status != FH_OK) return; /* told when the sheet is closed */
    if (s->buf.len) fwrite(s->buf.ptr, 1, s->buf.len, s->cli->out);
    fflush(s->cli->out);
    fh_buf_clear(&s->buf);
}

void fh_bench_sheet_add(fh_bench_sheet *s, const fh_bench_cells *c) {
    if (s->format == FH_BENCH_CSV) {
        if (s->n_row == 0) csv_names(&s->buf, c);
        csv_row(&s->buf, c);
    } else {
        if (s->format == FH_BENCH_JSONL) fh_json_writer_init(&s->json, &s->buf, false);
        json_row(&s->json, c);
        if (s->format == FH_BENCH_JSONL) fh_buf_add_byte(&s->buf, '\n');
    }
    s->n_row++;
    if (s->format != FH_BENCH_JSON) fh_bench_sheet_flush(s);
}

int fh_bench_sheet_close(fh_bench_sheet *s, bool whole) {
    int rc = 0;
    if (s->format == FH_BENCH_JSON) {
        fh_json_put_end(&s->json);
        fh_buf_add_byte(&s->buf, '\n');
        if (!whole) fh_buf_clear(&s->buf);
    }
    rc = fh_cli_print(s->cli, &s->buf);
    fh_buf_release(&s->buf);
    return rc;
}
