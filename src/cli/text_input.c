/* cli/text_input.c - standard input for the commands around text.
 * SPDX-License-Identifier: Apache-2.0
 * Output is flushed whenever no more input is at hand, so that two programs can talk line by line. */
#include <errno.h>
#include <unistd.h>

#include "cli/text_part.h"

#define CHUNK 65536u

/* Appends what is there, at most a chunk; *end at the end of the input. */
static fh_status read_some(fh_buf *b, bool *end, fh_err *err) {
    uint8_t *room = fh_buf_extend(b, CHUNK);
    if (!room) return fh_buf_check(b, err);
    b->len -= CHUNK;
    ssize_t n;
    do n = read(STDIN_FILENO, room, CHUNK);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fh_fail_errno(err, "read", "standard input");
    b->len += (size_t)n;
    *end = n == 0;
    return FH_OK;
}

fh_status fh_cli_read_all(fh_buf *out, fh_err *err) {
    bool end = false;
    out->limit += CHUNK;
    while (!end) FH_TRY(read_some(out, &end, err));
    return FH_OK;
}

static fh_status do_line(fh_cli *cli, fh_str line, fh_cli_line_work *work, void *ctx, fh_buf *out, uint64_t number,
                         fh_err *err) {
    if (fh_str_ends(line, "\r")) line.len--;
    fh_buf_clear(out);
    fh_status s = work(ctx, line, out, err);
    if (s == FH_OK) s = fh_buf_check(out, err);
    if (s == FH_OK) {
        if (out->len) fwrite(out->ptr, 1, out->len, cli->out);
        return FH_OK;
    }
    fh_err inner = *err;
    return fh_fail(err, inner.status, "line %llu of the input: %s", (unsigned long long)number, inner.message);
}

fh_status fh_cli_each_line(fh_cli *cli, fh_cli_line_work *work, void *ctx, fh_err *err) {
    fh_buf in, out;
    uint64_t number = 0;
    bool end = false;
    fh_status s = FH_OK;
    size_t looked = 0; /* bytes of in without a line end */
    fh_buf_init(&in, FH_CLI_TEXT_MOST + CHUNK);
    fh_buf_init(&out, SIZE_MAX / 2);
    while (s == FH_OK && !end) {
        size_t from = 0, nl;
        s = read_some(&in, &end, err);
        while (s == FH_OK && fh_str_find(fh_str_drop(fh_buf_str(&in), looked), '\n', &nl)) {
            fh_str line = {(const char *)in.ptr + from, looked + nl - from};
            s = do_line(cli, line, work, ctx, &out, ++number, err);
            from = looked = looked + nl + 1;
        }
        if (s == FH_OK && end && from < in.len)
            s = do_line(cli, fh_str_drop(fh_buf_str(&in), from), work, ctx, &out, ++number, err);
        if (from > 0 && from < in.len) memmove(in.ptr, in.ptr + from, in.len - from);
        in.len -= from;
        looked = in.len;
        fflush(cli->out);
    }
    fh_buf_release(&in);
    fh_buf_release(&out);
    return s;
}

void fh_cli_say_notes(const fh_cli *cli, const fh_tokenizer *t) {
    fh_str note;
    for (size_t i = 0; fh_tokenizer_note(t, i, &note); i++) {
        fh_buf b;
        fh_buf_init(&b, 4096);
        fh_cli_add_safe(&b, note);
        fprintf(cli->err, "freehold: note: %.*s\n", (int)b.len, (const char *)b.ptr);
        fh_buf_release(&b);
    }
}
