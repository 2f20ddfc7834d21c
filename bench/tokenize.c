/* bench/tokenize.c - how fast one thread tokenizes a text: bench-tokenize FILE TEXT RUNS [PATTERN]
 * SPDX-License-Identifier: Apache-2.0
 * Prints one line: milliseconds to load, seconds of the best run, tokens. The encode call alone is timed, as
 * bench/tokenizer_vs_peers.py times its peers. From the second run on the cache of words is warm; RUNS 1 gives the
 * speed with an empty one. */
#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "library/open_tokenizer.h"

typedef struct bench {
    fh_tokenizer *t;
    fh_tokenizer_scratch *s;
    fh_buf text;
    fh_ids ids;
    double load_ms, best_s;
} bench;

static fh_status run(bench *b, char **arg, uint64_t runs, fh_err *err) {
    fh_encode_options opt = {.add_special = false};
    uint64_t from = fh_clock_ns();
    FH_TRY(fh_tokenizer_open(&b->t, arg[1], fh_str_of(arg[4] ? arg[4] : ""), err));
    b->load_ms = (double)(fh_clock_ns() - from) * 1e-6;
    FH_TRY(fh_file_read(arg[2], &b->text, err));
    FH_TRY(fh_tokenizer_scratch_new(&b->s, b->t, err));
    for (uint64_t i = 0; i < runs; i++) {
        fh_ids_clear(&b->ids);
        from = fh_clock_ns();
        FH_TRY(fh_tokenizer_encode(b->t, b->s, fh_buf_str(&b->text), &opt, &b->ids, err));
        double s = (double)(fh_clock_ns() - from) * 1e-9;
        b->best_s = i == 0 ? s : FH_MIN(b->best_s, s);
    }
    return FH_OK;
}

int main(int argc, char **argv) {
    uint64_t runs = 0;
    fh_err err = {0};
    bench b = {.t = NULL};
    char text[1200];
    if (argc < 4 || argc > 5 || !fh_str_u64(fh_str_of(argv[3]), &runs) || runs == 0) {
        fprintf(stderr, "usage: bench-tokenize FILE TEXT RUNS [PATTERN]\n");
        return 2;
    }
    fh_buf_init(&b.text, (size_t)256 << 20);
    fh_ids_init(&b.ids, (size_t)256 << 20);
    fh_status s = run(&b, argv, runs, &err);
    if (s == FH_OK) printf("%.2f %.6f %zu\n", b.load_ms, b.best_s, b.ids.len);
    else fprintf(stderr, "bench-tokenize: %s\n", fh_err_text(&err, text, sizeof text));
    fh_tokenizer_scratch_free(b.s);
    fh_tokenizer_free(b.t);
    fh_buf_release(&b.text);
    fh_ids_release(&b.ids);
    return s == FH_OK ? 0 : 1;
}
