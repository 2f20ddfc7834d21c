/* format/adapter_match.c - the keys of rank_pattern and alpha_pattern: a small part of regular expressions.
 * SPDX-License-Identifier: Apache-2.0
 * A key becomes a row of one-character steps, run as a set of states: linear in the name, whatever a hostile key
 * repeats. Refuses groups, alternatives and counts: a key that is not understood must not choose a scale. */
#include "format/adapter.h"

#define MAX_STEPS 512

typedef struct step {
    uint8_t set[32]; /* bit per byte that it accepts */
    enum { ONCE, MAYBE, ANY_NUMBER } times;
} step;

typedef struct pattern {
    step step[MAX_STEPS];
    size_t n;
    bool from_start;
} pattern;

static void accept(step *s, unsigned c) { s->set[c / 8] = (uint8_t)(s->set[c / 8] | 1u << (c % 8)); }
static bool accepts(const step *s, uint8_t c) { return s->set[c / 8] >> (c % 8) & 1; }
static void accept_range(step *s, unsigned lo, unsigned hi) {
    for (unsigned c = lo; c <= hi; c++) accept(s, c);
}

/* Behind a backslash: a kind of character, or itself if it is punctuation. */
static bool escape(step *s, uint8_t c) {
    if (c == 'd' || c == 'w') {
        accept_range(s, '0', '9');
        if (c == 'w') {
            accept_range(s, 'a', 'z');
            accept_range(s, 'A', 'Z');
            accept(s, '_');
        }
        return true;
    }
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80) return false;
    accept(s, c);
    return true;
}

/* [abc0-9] at key[*at], which is behind the bracket. */
static bool read_class(step *s, fh_str key, size_t *at) {
    bool negate = *at < key.len && key.ptr[*at] == '^', closed = false;
    step in = {.times = ONCE};
    for (size_t i = *at + negate, first = i; i < key.len; i++) {
        uint8_t c = (uint8_t)key.ptr[i];
        if (c == ']' && i > first) {
            *at = i + 1;
            closed = true;
            break;
        }
        if (c == '\\') {
            if (++i >= key.len || !escape(&in, (uint8_t)key.ptr[i])) return false;
        } else if (i + 2 < key.len && key.ptr[i + 1] == '-' && key.ptr[i + 2] != ']') {
            uint8_t hi = (uint8_t)key.ptr[i + 2];
            if (hi < c || hi == '\\') return false;
            accept_range(&in, c, hi);
            i += 2;
        } else {
            accept(&in, c);
        }
    }
    for (size_t k = 0; k < sizeof in.set; k++) s->set[k] = negate ? (uint8_t)~in.set[k] : in.set[k];
    return closed;
}

static bool compile(pattern *p, fh_str key) {
    size_t i = 0;
    p->n = 0;
    p->from_start = key.len && key.ptr[0] == '^';
    if (p->from_start) i++;
    if (key.len > i && key.ptr[key.len - 1] == '$' && (key.len < 2 || key.ptr[key.len - 2] != '\\')) key.len--;
    while (i < key.len) {
        step s = {.times = ONCE};
        uint8_t c = (uint8_t)key.ptr[i++];
        if (c == '\\') {
            if (i >= key.len || !escape(&s, (uint8_t)key.ptr[i++])) return false;
        } else if (c == '.') {
            for (size_t k = 0; k < sizeof s.set; k++) s.set[k] = 0xFF;
        } else if (c == '[') {
            if (!read_class(&s, key, &i)) return false;
        } else if (memchr("()|{}*+?^$", c, 10)) {
            return false;
        } else {
            accept(&s, c);
        }
        char times = i < key.len ? key.ptr[i] : 0;
        if (times == '*' || times == '+' || times == '?') {
            i++;
            if (i < key.len && memchr("*+?{", key.ptr[i], 4)) return false; /* lazy and possessive forms */
        }
        if (p->n + 2 > MAX_STEPS) return false;
        if (times == '+') p->step[p->n++] = s;
        s.times = times == '?' ? MAYBE : times == '*' || times == '+' ? ANY_NUMBER : ONCE;
        p->step[p->n++] = s;
    }
    return true;
}

static void close_over(const pattern *p, bool *on) {
    for (size_t k = 0; k < p->n; k++)
        if (on[k] && p->step[k].times != ONCE) on[k + 1] = true;
}

static bool matches(const pattern *p, fh_str text) {
    bool now[MAX_STEPS + 1] = {false}, then[MAX_STEPS + 1];
    now[0] = true;
    close_over(p, now);
    for (size_t i = 0; i < text.len; i++) {
        memset(then, 0, sizeof then);
        for (size_t k = 0; k < p->n; k++)
            if (now[k] && accepts(&p->step[k], (uint8_t)text.ptr[i]))
                then[p->step[k].times == ANY_NUMBER ? k : k + 1] = true;
        close_over(p, then);
        memcpy(now, then, sizeof now);
    }
    return now[p->n];
}

/* Most keys are plain names, whose dots also stand for any character: one comparison at the tail. */
static bool is_name(fh_str key) {
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.'))
            return false;
    }
    return true;
}

static bool match_name(fh_str key, fh_str module) {
    if (key.len > module.len) return false;
    size_t at = module.len - key.len;
    for (size_t i = 0; i < key.len; i++)
        if (key.ptr[i] != '.' && key.ptr[i] != module.ptr[at + i]) return false;
    return at == 0 || module.ptr[at - 1] == '.';
}

bool fh_adapter_match(fh_str key, fh_str module, bool *known) {
    pattern p;
    if (is_name(key)) {
        *known = true;
        return match_name(key, module);
    }
    *known = compile(&p, key);
    if (!*known) return false;
    for (size_t at = 0; at <= module.len; at++) {
        if (at > 0 && (p.from_start || module.ptr[at - 1] != '.')) continue;
        if (matches(&p, fh_str_drop(module, at))) return true;
    }
    return false;
}
