/* library/license_card.c - the few fields of a model card's YAML front matter that licences need.
 * SPDX-License-Identifier: Apache-2.0
 * Reads top-level keys with a scalar on their line, or a list of scalars below them or in brackets. Everything else
 * that YAML allows (anchors, tags, merges, escapes, text over several lines) makes the field unreadable when it is
 * one that is asked for, and is skipped by its indentation when it is not. A line that fits nowhere makes all of it
 * unreadable: better no value than another one than YAML would give. */
#include <ctype.h>

#include "base/num.h"
#include "library/license.h"

#define MOST_VALUE 256

typedef struct field {
    const char *name;
    fh_card_field *one; /* or NULL: the list of bases */
    bool seen;
} field;
enum { N_FIELD = 7 };

typedef struct card_reader {
    fh_card *card;
    field field[N_FIELD];
    field *at;       /* the field whose lines these are; NULL for others */
    size_t indent;   /* of its list's items, plus one; 0 before the first */
    bool wants_list; /* nothing stood behind its colon */
} card_reader;

static bool is_space(char c) { return c == ' ' || c == '\t'; }

static fh_str trim(fh_str s) {
    while (s.len && is_space(s.ptr[0])) s = fh_str_drop(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

static void spoil(card_reader *r, field *f) {
    if (f->one) *f->one = (fh_card_field){FH_CARD_UNREADABLE, {NULL, 0}};
    else {
        r->card->bases = FH_CARD_UNREADABLE;
        r->card->n_base = 0;
    }
}

static void spoil_all(card_reader *r) {
    for (size_t i = 0; i < N_FIELD; i++) spoil(r, &r->field[i]);
}

static bool is_spoilt(const card_reader *r, const field *f) {
    return (f->one ? f->one->state : r->card->bases) == FH_CARD_UNREADABLE;
}

/* "value", 'value' or value, with a comment behind it perhaps. *none: null, or nothing at all. */
static bool read_scalar(fh_str s, fh_str *out, bool *none) {
    s = trim(s);
    *none = false;
    size_t at;
    if (s.len && (s.ptr[0] == '"' || s.ptr[0] == '\'')) {
        char quote = s.ptr[0];
        if (!fh_str_find(fh_str_drop(s, 1), quote, &at)) return false;
        fh_str tail = trim(fh_str_drop(s, at + 2));
        bool apart = !tail.len || is_space(s.ptr[at + 2]);
        if (tail.len && (tail.ptr[0] != '#' || !apart)) return false; /* '' within '...' comes here too */
        s = (fh_str){s.ptr + 1, at};
        if (quote == '"' && fh_str_find(s, '\\', &at)) return false;
    } else {
        for (size_t i = 0; i < s.len; i++)
            if (s.ptr[i] == '#' && (i == 0 || is_space(s.ptr[i - 1]))) s.len = i;
        s = trim(s);
        if (!s.len || fh_str_is(s, "~") || fh_str_is(s, "null") || fh_str_is(s, "Null") || fh_str_is(s, "NULL")) {
            *none = true;
            return true;
        }
        if (strchr("&*!|>%@`{}[],?:\"'-#", s.ptr[0])) return false;
        for (size_t i = 0; i < s.len; i++)
            if (s.ptr[i] == ':' && (i + 1 == s.len || is_space(s.ptr[i + 1]))) return false;
    }
    if (s.len > MOST_VALUE || !s.len) return false;
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || (unsigned char)s.ptr[i] >= 0x7F) return false;
    *out = s;
    return true;
}

static void add_value(card_reader *r, field *f, fh_str s) {
    fh_card *c = r->card;
    if (is_spoilt(r, f)) return;
    if (f->one) {
        /* a list of one licence is that licence; of several it is not said which */
        if (f->one->state == FH_CARD_STATED) spoil(r, f);
        else *f->one = (fh_card_field){FH_CARD_STATED, s};
        return;
    }
    if (c->n_base == FH_CARD_MOST_BASES) {
        spoil(r, f);
        return;
    }
    c->bases = FH_CARD_STATED;
    c->base[c->n_base++] = s;
}

static void read_item(card_reader *r, field *f, fh_str s) {
    fh_str value;
    bool none;
    if (!read_scalar(s, &value, &none) || none) spoil(r, f);
    else add_value(r, f, value);
}

/* [a, "b"] on one line; a comma or bracket within quotes makes it unreadable */
static void read_flow(card_reader *r, field *f, fh_str s) {
    s = trim(fh_str_drop(s, 1));
    if (!s.len || s.ptr[s.len - 1] != ']') {
        spoil(r, f);
        return;
    }
    s = trim(fh_str_first(s, s.len - 1));
    while (s.len && !is_spoilt(r, f)) {
        size_t comma;
        fh_str item = s;
        if (fh_str_find(s, ',', &comma)) {
            item.len = comma;
            s = trim(fh_str_drop(s, comma + 1));
        } else {
            s.len = 0;
        }
        for (size_t i = 0; i < item.len; i++)
            if (strchr("[]{}", item.ptr[i])) spoil(r, f);
        read_item(r, f, item);
    }
}

static void start_field(card_reader *r, field *f, fh_str value) {
    r->at = f;
    r->indent = 0;
    r->wants_list = false;
    if (!f) return;
    if (f->seen) spoil(r, f); /* twice: YAML forbids it, readers differ */
    f->seen = true;
    fh_str text;
    bool none;
    value = trim(value);
    if (value.len && value.ptr[0] == '[') read_flow(r, f, value);
    else if (!read_scalar(value, &text, &none)) spoil(r, f);
    else if (none) r->wants_list = !value.len || value.ptr[0] == '#';
    else add_value(r, f, text);
}

static void read_key_line(card_reader *r, fh_str line) {
    size_t n = 0;
    while (n < line.len && (isalnum((unsigned char)line.ptr[n]) || strchr("_-. /", line.ptr[n]))) n++;
    bool is_key = n > 0 && n < line.len && line.ptr[n] == ':' && line.ptr[0] != '-' && line.ptr[0] != ' ' &&
                  (n + 1 == line.len || is_space(line.ptr[n + 1]));
    if (!is_key) {
        spoil_all(r);
        return;
    }
    fh_str key = trim(fh_str_first(line, n));
    field *f = NULL;
    for (size_t i = 0; i < N_FIELD; i++)
        if (fh_str_is(key, r->field[i].name)) f = &r->field[i];
    start_field(r, f, fh_str_drop(line, n + 1));
}

static void read_line(card_reader *r, fh_str line) {
    size_t indent = 0;
    while (indent < line.len && line.ptr[indent] == ' ') indent++;
    fh_str rest = fh_str_drop(line, indent);
    if (!trim(rest).len) return;
    if (rest.ptr[0] == '#' && (!r->at || r->wants_list)) return;
    bool is_item = rest.ptr[0] == '-' && (rest.len == 1 || is_space(rest.ptr[1]));
    if (indent == 0 && !is_item) {
        if (rest.ptr[0] == '#') return;
        read_key_line(r, line);
        return;
    }
    if (!r->at) return; /* below a key that nobody asks for */
    if (!is_item || !r->wants_list || (r->indent && r->indent != indent + 1)) {
        spoil(r, r->at);
        return;
    }
    r->indent = indent + 1;
    read_item(r, r->at, fh_str_drop(rest, 1));
}

static bool next_line(fh_str *text, fh_str *line) {
    size_t end;
    if (!text->len) return false;
    bool found = fh_str_find(*text, '\n', &end);
    *line = fh_str_first(*text, found ? end : text->len);
    *text = fh_str_drop(*text, found ? end + 1 : text->len);
    if (line->len && line->ptr[line->len - 1] == '\r') line->len--;
    return true;
}

void fh_card_parse(fh_card *out, fh_str readme) {
    fh_card card;
    memset(&card, 0, sizeof card);
    card_reader r = {.card = &card,
                     .field = {{"license", &card.license, false},
                               {"license_name", &card.license_name, false},
                               {"license_link", &card.license_link, false},
                               {"base_model_relation", &card.relation, false},
                               {"pipeline_tag", &card.pipeline, false},
                               {"extra_gated_eu_disallowed", &card.eu_disallowed, false},
                               {"base_model", NULL, false}}};
    fh_str line;
    bool closed = false;
    if (fh_str_starts(readme, "\xEF\xBB\xBF")) readme = fh_str_drop(readme, 3);
    if (!next_line(&readme, &line) || !fh_str_is(trim(line), "---")) {
        *out = card; /* a card without front matter states nothing */
        return;
    }
    while (!closed && next_line(&readme, &line)) {
        closed = fh_str_is(trim(line), "---") && line.ptr[0] == '-';
        if (!closed) read_line(&r, line);
    }
    if (!closed) spoil_all(&r);
    *out = card;
}
