/* cli/chat_loop.c - reading lines at the terminal, and answering them.
 * SPDX-License-Identifier: Apache-2.0
 * Ctrl-C stops an answer and keeps the chat; at the prompt it drops the line. Ctrl-D or /bye leaves. A line that
 * begins with three quotation marks goes on until three more. Lines are kept in a history file that only its owner
 * can read. */
#include "cli/chat_loop.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/chat_print.h"

#define HISTORY_LINES 1000
#define QUOTES "\"\"\""

static volatile int interrupt_flag;

static void on_interrupt(int sig) {
    if (interrupt_flag) { /* nobody looks: the second one ends the program */
        signal(sig, SIG_DFL);
        raise(sig);
    }
    interrupt_flag = 1;
}

volatile int *fh_chat_catch_interrupt(void) {
    struct sigaction a = {.sa_handler = on_interrupt}; /* reads are to return: no SA_RESTART */
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    return &interrupt_flag;
}

/* ---- lines ---- */

typedef struct reader {
    EditLine *el;
    History *history;
    char path[FH_PATH_MAX]; /* of the history, or "" */
    bool inside;            /* a text of several lines */
} reader;

static char *prompt(EditLine *el) {
    static char first[] = ">>> ", more[] = "... ";
    reader *r = NULL;
    el_get(el, EL_CLIENTDATA, (void *)&r);
    return r && r->inside ? more : first;
}

static void open_history(reader *r, const fh_chat *c) {
    char folder[FH_PATH_MAX];
    HistEvent ev;
    r->history = history_init();
    if (!r->history) return;
    history(r->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(r->history, &ev, H_SETUNIQUE, 1);
    el_set(r->el, EL_HIST, history, r->history);
    if (!c->set->history || fh_chat_folder(folder, NULL) != FH_OK) return;
    if (fh_path_join(r->path, folder, FH_STR("history"), NULL) != FH_OK) r->path[0] = '\0';
    else history(r->history, &ev, H_LOAD, r->path);
}

static bool open_reader(reader *r, const fh_chat *c) {
    *r = (reader){.inside = false};
    setlocale(LC_CTYPE, ""); /* the editor moves by characters */
    r->el = el_init("freehold", stdin, c->cli->out, c->cli->err);
    if (!r->el) return false;
    el_set(r->el, EL_CLIENTDATA, r);
    el_set(r->el, EL_PROMPT, prompt);
    el_set(r->el, EL_EDITOR, "emacs");
    el_set(r->el, EL_SIGNAL, 0);
    open_history(r, c);
    el_source(r->el, NULL);
    return true;
}

static void close_reader(reader *r, const fh_chat *c) {
    HistEvent ev;
    if (r->history && r->path[0] && c->set->history) {
        mode_t mask = umask(077);
        history(r->history, &ev, H_SAVE, r->path);
        umask(mask);
    }
    if (r->history) history_end(r->history);
    el_end(r->el);
}

typedef enum read_result { READ_LINE, READ_INTERRUPT, READ_END } read_result;

/* One line without its end, into out. */
static read_result read_line(reader *r, const fh_chat *c, fh_buf *out) {
    int n = 0;
    errno = 0;
    interrupt_flag = 0;
    const char *line = el_gets(r->el, &n);
    if (interrupt_flag) {
        interrupt_flag = 0;
        el_reset(r->el);
        fputc('\n', c->cli->out);
        return READ_INTERRUPT;
    }
    if (!line || n <= 0) return READ_END;
    fh_str s = {line, (size_t)n};
    if (fh_str_ends(s, "\n")) s.len--;
    fh_buf_add_str(out, s);
    return READ_LINE;
}

/* What the user says next: a line, or everything between the quotation marks. */
static read_result read_message(reader *r, const fh_chat *c, fh_buf *out) {
    HistEvent ev;
    fh_buf_clear(out);
    r->inside = false;
    read_result got = read_line(r, c, out);
    if (got != READ_LINE) return got;
    fh_buf_add_byte(out, '\0');
    if (r->history && out->len > 1) history(r->history, &ev, H_ENTER, (const char *)out->ptr);
    out->len--;
    if (!fh_str_starts(fh_buf_str(out), QUOTES)) return READ_LINE;
    memmove(out->ptr, out->ptr + 3, out->len - 3);
    out->len -= 3;
    r->inside = true;
    while (!fh_str_ends(fh_buf_str(out), QUOTES)) {
        fh_buf_add_byte(out, '\n');
        got = read_line(r, c, out);
        if (got != READ_LINE || out->status != FH_OK) break;
    }
    r->inside = false;
    if (got == READ_LINE && out->status == FH_OK) out->len -= 3;
    return got;
}

/* ---- the conversation ---- */

bool fh_chat_say(fh_chat *c) {
    fh_err err = {0};
    fh_chat_printer p;
    interrupt_flag = 0;
    fh_chat_sink sink = fh_chat_printer_text(&p, c->cli, c->set->hide_thinking);
    fh_status s = fh_chat_answer(c, &sink, &err);
    interrupt_flag = 0;
    if (s == FH_OK || p.any) fh_chat_printer_end(&p, c);
    if (s == FH_OK && c->set->verbose) fh_chat_print_timing(c);
    if (s != FH_OK) fh_cli_fail(c->cli, &err);
    return s == FH_OK;
}

static void talk(fh_chat *c, fh_str text) {
    fh_err err = {0};
    size_t before = c->n_message;
    if (fh_chat_add(c, "user", text, (fh_str){NULL, 0}, &err) != FH_OK) {
        fh_cli_fail(c->cli, &err);
        return;
    }
    /* what could not be answered is not part of the chat */
    if (!fh_chat_say(c)) fh_chat_cut(c, before);
    fputc('\n', c->cli->out);
}

int fh_chat_loop(fh_chat *c) {
    reader r;
    fh_buf text;
    if (!open_reader(&r, c)) {
        fh_err err;
        (void)fh_fail(&err, FH_ERR_MEMORY, "the line editor could not be started");
        return fh_cli_fail(c->cli, &err);
    }
    fh_buf_init(&text, FH_CHAT_TEXT_MOST);
    fprintf(c->cli->err, "/? lists the commands, /bye leaves\n");
    for (;;) {
        read_result got = read_message(&r, c, &text);
        if (got == READ_END) {
            fputc('\n', c->cli->out);
            break;
        }
        if (got == READ_INTERRUPT) {
            fprintf(c->cli->err, "Ctrl-D or /bye leaves\n");
            continue;
        }
        fh_str s = fh_buf_str(&text);
        size_t blank = 0;
        while (blank < s.len && (s.ptr[blank] == ' ' || s.ptr[blank] == '\t' || s.ptr[blank] == '\n')) blank++;
        if (blank == s.len || text.status != FH_OK) continue;
        if (s.ptr[0] != '/') {
            talk(c, s);
            continue;
        }
        fh_buf_add_byte(&text, '\0');
        if (text.status == FH_OK && !fh_chat_command(c, (const char *)text.ptr)) break;
    }
    fh_buf_release(&text);
    close_reader(&r, c);
    return 0;
}
