/* cli/chat_print.c - streaming to a terminal or a pipe.
 * SPDX-License-Identifier: Apache-2.0
 * Pieces are whole characters already. Escape sequences that a model writes do not reach a terminal: a model's words
 * must not move the cursor or change the title. */
#include "cli/chat_print.h"

#include <unistd.h>

#define DIM "\033[2m"
#define PLAIN "\033[0m"

static void put(fh_chat_printer *p, FILE *to, fh_str s) {
    if (s.len == 0) return;
    p->ends_line = s.ptr[s.len - 1] == '\n';
    for (size_t i = 0, from = 0; i <= s.len; i++) {
        unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : 0;
        bool harmful = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ||
                       (c == 0xc2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xa0);
        if (i < s.len && !(p->terminal && harmful)) continue;
        fwrite(s.ptr + from, 1, i - from, to);
        if (i < s.len) fputc('?', to);
        if (c == 0xc2 && i < s.len) i++;
        from = i + 1;
    }
}

static void open_thinking(fh_chat_printer *p) {
    FILE *to = p->terminal ? p->cli->out : p->cli->err;
    p->thinking = true;
    if (p->cli->color) fputs(DIM, to);
    fputs("Thinking...\n", to);
}

static void close_thinking(fh_chat_printer *p) {
    FILE *to = p->terminal ? p->cli->out : p->cli->err;
    p->thinking = false;
    if (!p->ends_line) fputc('\n', to);
    fputs("...done thinking.\n", to);
    if (p->cli->color) fputs(PLAIN, to);
    fputc('\n', to);
    fflush(to);
    p->ends_line = true;
}

static fh_status print_text(void *ctx, bool reasoning, fh_str text, fh_err *err) {
    fh_chat_printer *p = ctx;
    if (reasoning && p->hide_thinking) return FH_OK;
    if (reasoning && !p->thinking) open_thinking(p);
    if (!reasoning && p->thinking) close_thinking(p);
    FILE *to = reasoning && !p->terminal ? p->cli->err : p->cli->out;
    put(p, to, text);
    p->any = true;
    if (fflush(to) != 0) return fh_fail_errno(err, "write", "the answer");
    return FH_OK;
}

static fh_status print_id(void *ctx, uint32_t id, fh_err *err) {
    fh_chat_printer *p = ctx;
    fprintf(p->cli->out, "%s%u", p->n_id++ ? " " : "", id);
    p->any = true;
    p->ends_line = false;
    if (fflush(p->cli->out) != 0) return fh_fail_errno(err, "write", "the ids");
    return FH_OK;
}

static void init(fh_chat_printer *p, const fh_cli *cli) {
    *p = (fh_chat_printer){.cli = cli, .terminal = isatty(fileno(cli->out)) != 0, .ends_line = true};
}

fh_chat_sink fh_chat_printer_text(fh_chat_printer *p, const fh_cli *cli, bool hide_thinking) {
    init(p, cli);
    p->hide_thinking = hide_thinking;
    return (fh_chat_sink){.text = print_text, .ctx = p};
}

fh_chat_sink fh_chat_printer_ids(fh_chat_printer *p, const fh_cli *cli) {
    init(p, cli);
    return (fh_chat_sink){.id = print_id, .ctx = p};
}

void fh_chat_printer_end(fh_chat_printer *p, const fh_chat *c) {
    if (p->thinking) close_thinking(p);
    if (!p->ends_line || !p->any) fputc('\n', p->cli->out);
    fflush(p->cli->out);
    if (c->end == FH_GENERATE_CONTEXT)
        fprintf(p->cli->err,
                "freehold: the context of %u tokens is full: the answer stops here. Nothing was cut; a larger --ctx "
                "makes room where the model allows it\n",
                fh_session_limit(c->session));
    p->any = false;
}

static void line(FILE *to, const char *label, const char *value) { fprintf(to, "%-22s%s\n", label, value); }

static void duration(FILE *to, const char *label, uint64_t ns) {
    char text[40];
    double s = (double)ns * 1e-9;
    if (s < 1) snprintf(text, sizeof text, "%.3f ms", s * 1e3);
    else snprintf(text, sizeof text, "%.3f s", s);
    line(to, label, text);
}

static void rate(FILE *to, const char *label, uint32_t n, uint64_t ns) {
    char text[40];
    snprintf(text, sizeof text, "%.2f tokens/s", ns ? (double)n * 1e9 / (double)ns : 0);
    line(to, label, text);
}

void fh_chat_print_timing(const fh_chat *c) {
    FILE *to = c->cli->err;
    const fh_chat_timing *t = &c->timing;
    char text[80];
    /* the first token of an answer comes out of the prompt's step */
    uint32_t steps = t->n_answer ? t->n_answer - 1 : 0;
    duration(to, "total duration:", t->load_ns + t->prompt_ns + t->answer_ns);
    duration(to, "load duration:", t->load_ns);
    snprintf(text, sizeof text, "%u token(s), %u of them were there already", t->n_prompt, t->n_adopted);
    line(to, "prompt eval count:", text);
    duration(to, "prompt eval duration:", t->prompt_ns);
    rate(to, "prompt eval rate:", t->n_prompt - t->n_adopted, t->prompt_ns);
    snprintf(text, sizeof text, "%u token(s)", t->n_answer);
    line(to, "eval count:", text);
    duration(to, "eval duration:", t->answer_ns);
    rate(to, "eval rate:", steps, t->answer_ns);
    fh_engine_usage u = fh_engine_get_usage(c->x.engine);
    snprintf(text, sizeof text, "%llu bytes, scratch %llu", (unsigned long long)u.state_peak,
             (unsigned long long)u.scratch);
    line(to, "state:", text);
}
