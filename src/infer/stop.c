/* infer/stop.c - stop strings in a text that arrives in pieces.
 * SPDX-License-Identifier: Apache-2.0
 * Knuth, Morris and Pratt for each stop string: state[i] is the length of its longest beginning in which the text so
 * far ends. What is held back is the longest of these, or an unfinished character. Reading a byte costs a step for each
 * stop string on average, whatever the text is. */
#include "infer/stop.h"

#include "base/num.h"

typedef struct stop_string {
    const uint8_t *text; /* [len], in bytes of the whole */
    uint32_t *border;    /* [len]: of text[0..i], the longest proper beginning that is also its end */
    size_t len, state;
} stop_string;

struct fh_stop {
    stop_string *string; /* [n] */
    size_t n;
    uint8_t *text;
    uint32_t *border;
    uint8_t *held; /* [n_held], the end of the text; at most longest + 3 bytes between calls */
    size_t n_held, longest;
    size_t found;
};

static void fill_border(stop_string *t) {
    size_t k = 0;
    t->border[0] = 0;
    for (size_t i = 1; i < t->len; i++) {
        while (k > 0 && t->text[i] != t->text[k]) k = t->border[k - 1];
        if (t->text[i] == t->text[k]) k++;
        t->border[i] = (uint32_t)k;
    }
}

static fh_status check_texts(const fh_str *text, size_t n, size_t *total, fh_err *err) {
    if (n > FH_STOP_MOST) return fh_fail(err, FH_ERR_LIMIT, "%zu stop strings are more than %d", n, FH_STOP_MOST);
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i].len == 0) return fh_fail(err, FH_ERR_USAGE, "stop string %zu is empty", i);
        if (text[i].len > FH_STOP_BYTES_MOST)
            return fh_fail(err, FH_ERR_LIMIT, "stop string %zu is longer than %d bytes", i, FH_STOP_BYTES_MOST);
        if (!fh_utf8_valid(text[i])) return fh_fail(err, FH_ERR_USAGE, "stop string %zu is no UTF-8", i);
        *total += text[i].len;
    }
    return FH_OK;
}

fh_status fh_stop_new(fh_stop **out, const fh_str *text, size_t n, fh_err *err) {
    size_t total = 0, at = 0;
    FH_TRY(check_texts(text, n, &total, err));
    fh_stop *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return fh_fail_memory(err, sizeof *s);
    for (size_t i = 0; i < n; i++) s->longest = FH_MAX(s->longest, text[i].len);
    s->string = fh_alloc_zero(n, sizeof *s->string);
    s->text = fh_alloc(total, 1);
    s->border = fh_alloc(total, sizeof *s->border);
    s->held = fh_alloc(s->longest + 4, 1);
    if (!s->string || !s->text || !s->border || !s->held) {
        fh_stop_free(s);
        return fh_fail_memory(err, total * (1 + sizeof *s->border));
    }
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        memcpy(s->text + at, text[i].ptr, text[i].len);
        s->string[i] = (stop_string){.text = s->text + at, .border = s->border + at, .len = text[i].len};
        fill_border(&s->string[i]);
        at += text[i].len;
    }
    fh_stop_clear(s);
    *out = s;
    return FH_OK;
}

void fh_stop_free(fh_stop *s) {
    if (!s) return;
    fh_free(s->string);
    fh_free(s->text);
    fh_free(s->border);
    fh_free(s->held);
    fh_free(s);
}

void fh_stop_clear(fh_stop *s) {
    for (size_t i = 0; i < s->n; i++) s->string[i].state = 0;
    s->n_held = 0;
    s->found = FH_STOP_NONE;
}

/* Reads one byte; returns how much of the end of the text may become a stop string, or is one. */
static size_t step(fh_stop *s, uint8_t c) {
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++) {
        stop_string *t = &s->string[i];
        while (t->state > 0 && t->text[t->state] != c) t->state = t->border[t->state - 1];
        if (t->text[t->state] == c) t->state++;
        if (t->state == t->len && (s->found == FH_STOP_NONE || t->len > s->string[s->found].len)) s->found = i;
        most = FH_MAX(most, t->state);
    }
    return s->found == FH_STOP_NONE ? most : s->string[s->found].len;
}

/* How many of the last bytes are the beginning of a character that is not complete; 0 where no more bytes help. */
static size_t unfinished(const uint8_t *p, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t c = p[n - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t want = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
        return want > back ? back : 0;
    }
    return 0;
}

/* The held bytes and c: all but the last `keep` go out, and what is left of a character stays. */
static void release(fh_stop *s, size_t keep, bool whole, fh_buf *out) {
    size_t n = s->n_held - keep;
    if (!whole) n -= unfinished(s->held, n);
    fh_buf_add(out, s->held, n);
    s->n_held -= n;
    memmove(s->held, s->held + n, s->n_held);
}

fh_status fh_stop_feed(fh_stop *s, fh_str piece, fh_buf *out, fh_err *err) {
    for (size_t i = 0; i < piece.len && s->found == FH_STOP_NONE; i++) {
        uint8_t c = (uint8_t)piece.ptr[i];
        size_t keep = step(s, c);
        s->held[s->n_held++] = c;
        release(s, keep, s->found != FH_STOP_NONE, out);
    }
    if (s->found != FH_STOP_NONE) s->n_held = 0;
    return fh_buf_check(out, err);
}

fh_status fh_stop_finish(fh_stop *s, fh_buf *out, fh_err *err) {
    fh_buf_add(out, s->held, s->n_held);
    s->n_held = 0;
    return fh_buf_check(out, err);
}

size_t fh_stop_found(const fh_stop *s) { return s->found; }
size_t fh_stop_held(const fh_stop *s) { return s->n_held; }
