/* tests/reply_text.h - a reply's events as one line of text, however they were cut.
 * SPDX-License-Identifier: Apache-2.0
 * T(answer) R(reasoning) C0(name#id){arguments}E(problems), in order; neighbours of a kind are one. */
#ifndef FH_TESTS_REPLY_TEXT_H
#define FH_TESTS_REPLY_TEXT_H

#include "text/reply.h"

typedef struct reply_text {
    fh_buf out;
    int open; /* kind whose bracket is open, -1 none */
    uint32_t n_call, n_end;
    bool half; /* an event held half a character although the text held none */
} reply_text;

static inline void reply_text_shut(reply_text *t) {
    if (t->open == FH_REPLY_TEXT || t->open == FH_REPLY_REASONING) fh_buf_add_byte(&t->out, ')');
    t->open = -1;
}

static inline fh_status reply_text_event(void *user, const fh_reply_event *ev, fh_err *err) {
    reply_text *t = user;
    if ((int)ev->kind != t->open) {
        reply_text_shut(t);
        if (ev->kind == FH_REPLY_TEXT) fh_buf_add_z(&t->out, "T(");
        if (ev->kind == FH_REPLY_REASONING) fh_buf_add_z(&t->out, "R(");
        t->open = (int)ev->kind;
    }
    if (!fh_utf8_valid(ev->text)) t->half = true;
    fh_buf_add_str(&t->out, ev->text);
    if (ev->kind == FH_REPLY_CALL) {
        fh_buf_printf(&t->out, "C%u(", ev->call);
        fh_buf_add_str(&t->out, ev->name);
        if (ev->id.len > 0) fh_buf_add_byte(&t->out, '#');
        fh_buf_add_str(&t->out, ev->id);
        fh_buf_add_byte(&t->out, ')');
        t->n_call++;
    }
    if (ev->kind == FH_REPLY_CALL_END) {
        fh_buf_printf(&t->out, "E(%u)", ev->problems);
        t->n_end++;
    }
    return fh_buf_check(&t->out, err);
}

/* cut gives the size of the next piece, from 1; NULL: all at once. */
typedef size_t reply_text_cut(void *user, size_t left);

static inline fh_status reply_text_read(reply_text *t, const fh_markup *m, const fh_reply_options *opt, fh_str text,
                                        reply_text_cut *cut, void *user, fh_err *err) {
    fh_reply *r = NULL;
    *t = (reply_text){.open = -1};
    fh_buf_init(&t->out, (size_t)64 << 20);
    fh_status s = fh_reply_new(&r, m, opt, reply_text_event, t, err);
    while (s == FH_OK && text.len > 0) {
        size_t n = cut ? cut(user, text.len) : text.len;
        s = fh_reply_feed(r, fh_str_first(text, n), err);
        text = fh_str_drop(text, n);
    }
    if (s == FH_OK) s = fh_reply_finish(r, NULL, NULL, err);
    fh_reply_free(r);
    reply_text_shut(t);
    if (s == FH_OK) s = fh_buf_check(&t->out, err);
    return s;
}

#endif
