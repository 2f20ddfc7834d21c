/* text/markup_table.c - the known markups: finding a row by name, by template, and where a reply begins.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the table (text/markup.def). Refuses nothing: every template fits the row "plain". */
#include "text/markup_part.h"

#define FH_MARKUP_ROW(...) {__VA_ARGS__},
static const fh_markup known[] = {
#include "text/markup.def"
};
#undef FH_MARKUP_ROW

size_t fh_markup_n_known(void) { return FH_COUNT(known); }
const fh_markup *fh_markup_known(size_t i) { return i < FH_COUNT(known) ? &known[i] : NULL; }

const fh_markup *fh_markup_find(fh_str name) {
    for (size_t i = 0; i < FH_COUNT(known); i++) {
        if (fh_str_is(name, known[i].name)) return &known[i];
    }
    return NULL;
}

const fh_markup *fh_markup_detect(fh_str template_source) {
    for (size_t i = 0; i < FH_COUNT(known); i++) {
        bool all = true;
        for (size_t k = 0; k < FH_COUNT(known[i].needle) && known[i].needle[k] && all; k++)
            all = fh_str_holds(template_source, known[i].needle[k]);
        if (all) return &known[i];
    }
    return &known[FH_COUNT(known) - 1];
}

static bool ends_with(fh_str text, const char *tail) {
    fh_str t = fh_trim(fh_str_of(tail));
    return t.len > 0 && text.len >= t.len && memcmp(text.ptr + text.len - t.len, t.ptr, t.len) == 0;
}

fh_markup_start fh_markup_start_after(const fh_markup *m, fh_str prompt) {
    fh_str p = fh_trim(prompt);
    for (size_t i = 0; i < FH_COUNT(m->head_open); i++) {
        if (fh_given(m->head_open[i]) && ends_with(p, m->head_open[i])) return FH_START_HEADER;
    }
    if (fh_given(m->think_open) && ends_with(p, m->think_open)) return FH_START_REASONING;
    return FH_START_TEXT;
}

/* Does this end in a header of the answer's channel? */
static bool ends_in_header(const fh_markup *m, fh_str written) {
    enum { FAR = 256 }; /* bytes of a header */
    if (!fh_given(m->head_close) || !fh_given(m->head_text) || !fh_str_ends(written, m->head_close)) return false;
    fh_str head = fh_str_first(written, written.len - strlen(m->head_close));
    return fh_str_holds(fh_str_drop(head, head.len > FAR ? head.len - FAR : 0), m->head_text);
}

bool fh_markup_answer_begins(const fh_markup *m, fh_markup_start start, fh_str written) {
    if (start == FH_START_REASONING) return !fh_given(m->think_close) || ends_with(fh_trim(written), m->think_close);
    return start == FH_START_TEXT || ends_in_header(m, written);
}

void fh_markup_put_think_end(const fh_markup *m, fh_buf *out) {
    if (fh_given(m->think_close)) {
        fh_buf_add_byte(out, '\n');
        fh_buf_add_str(out, fh_trim(fh_str_of(m->think_close)));
    } else if (fh_given(m->head_think) && fh_given(m->head_text) && fh_given(m->head_close)) {
        bool two = fh_given(m->head_open[1]); /* the answer's header behind a speaker's */
        fh_buf_printf(out, "%s%s%s%s%s", m->body_close[0] ? m->body_close[0] : "", m->head_open[0],
                      two ? m->head_open[1] : " ", m->head_text, m->head_close);
    }
}
