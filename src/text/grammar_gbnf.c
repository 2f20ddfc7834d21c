/* text/grammar_gbnf.c - reading GBNF, the grammar language of llama.cpp.
 * SPDX-License-Identifier: Apache-2.0
 * name ::= alternatives, one rule a line; alternatives go on after | and inside parentheses. Literals, [classes], . for
 * any character, references, groups, * + ? {m} {m,} {m,n}, # comments; escapes \n \r \t \\ \" \[ \] \xHH \uHHHH
 * \UHHHHHHHH. Refused with line and reason: references to tokens (<...>), since a grammar here describes text and not
 * ids; rules defined twice or not at all; left recursion (grammar_link.c). Nesting and counts have ceilings. */
#include "base/num.h"
#include "text/grammar_gbnf_part.h"

#define MAX_COUNT 10000u

typedef struct reader {
    fh_rule_source *s;
    fh_str in;
    size_t at;
    int depth;
    fh_intern names; /* by their bytes */
    size_t counted;  /* line ends are counted up to here */
    uint32_t line;
    fh_err *err;
} reader;

/* Goes on from where it was asked last: reading only moves forward. */
static uint32_t line_of(reader *r, size_t at) {
    if (at < r->counted) r->counted = r->line = 0;
    for (; r->counted < at && r->counted < r->in.len; r->counted++) r->line += r->in.ptr[r->counted] == '\n';
    return r->line + 1;
}

static fh_status wrong(reader *r, size_t at, const char *why) {
    return fh_fail_at(r->err, FH_ERR_FORMAT, at, "grammar: line %u: %s", line_of(r, at), why);
}
static char look(const reader *r) { return r->at < r->in.len ? r->in.ptr[r->at] : '\0'; }
static bool take(reader *r, const char *z) {
    if (!fh_str_starts(fh_str_drop(r->in, r->at), z)) return false;
    r->at += strlen(z);
    return true;
}

/* Blanks and comments; line ends too where the rule cannot be over. */
static void skip(reader *r, bool lines) {
    for (;; r->at++) {
        if (look(r) == '#')
            while (r->at < r->in.len && look(r) != '\n' && look(r) != '\r') r->at++;
        char c = look(r);
        if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) return;
    }
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The rule of a name, entered when it is new. */
static fh_status rule_named(reader *r, uint32_t *out) {
    size_t at = r->at;
    fh_rule_source *s = r->s;
    while (is_word(look(r))) r->at++;
    fh_str name = {r->in.ptr + at, r->at - at};
    if (!name.len || name.len > 200)
        return wrong(r, at, name.len ? "a name of more than 200 bytes" : "a name is missing");
    uint32_t key[200];
    for (size_t i = 0; i < name.len; i++) key[i] = (uint8_t)name.ptr[i];
    uint32_t i = fh_intern_add(&r->names, s->n.work, key, (uint32_t)name.len);
    if (i != FH_AUTO_DEAD && i == s->n_rule) {
        if (i >= FH_GRAMMAR_RULES)
            return fh_fail(r->err, FH_ERR_LIMIT, "grammar: more than %u rules", FH_GRAMMAR_RULES);
        fh_source_rule *rule = fh_work_grow(s->n.work, s->rule, &s->cap_rule, (uint64_t)s->n_rule + 1, sizeof *rule);
        if (rule) {
            s->rule = rule;
            rule[s->n_rule++] = (fh_source_rule){.name = name, .line = line_of(r, at)};
        }
    }
    *out = i;
    return fh_work_check(s->n.work, "grammar", r->err);
}

/* ---- characters ---- */
static fh_status hex(reader *r, size_t at, int n, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        char c = look(r), low = (char)(c | 0x20);
        if (c >= '0' && c <= '9') v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f') v = v << 4 | (uint32_t)(low - 'a' + 10);
        else return wrong(r, at, "an escape has too few hex digits");
        r->at++;
    }
    if (v > FH_CP_MAX || (v >= 0xD800 && v < 0xE000)) return wrong(r, at, "an escape is no Unicode character");
    *out = v;
    return FH_OK;
}

static fh_status character(reader *r, uint32_t *cp) {
    size_t at = r->at;
    if (r->at >= r->in.len) return wrong(r, at, "the text ends inside a literal or class");
    if (take(r, "\\")) {
        char c = look(r);
        r->at++;
        switch (c) {
        case 'x': return hex(r, at, 2, cp);
        case 'u': return hex(r, at, 4, cp);
        case 'U': return hex(r, at, 8, cp);
        case 't': *cp = '\t'; return FH_OK;
        case 'r': *cp = '\r'; return FH_OK;
        case 'n': *cp = '\n'; return FH_OK;
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '^': *cp = (uint8_t)c; return FH_OK;
        default: return wrong(r, at, "an escape that means nothing");
        }
    }
    uint32_t sub = 0;
    fh_gcps c = {0};
    while (fh_gread_utf8(&sub, (uint8_t)r->in.ptr[r->at++], &c) != FH_GREAD_CP) { /* the text is UTF-8 */
    }
    *cp = c.cp;
    return FH_OK;
}

static fh_status literal(reader *r, fh_frag *out) {
    fh_nfa *n = &r->s->n;
    bool any = false;
    while (!take(r, "\"")) {
        uint32_t cp;
        FH_TRY(character(r, &cp));
        *out = any ? fh_nfa_join(n, *out, fh_nfa_cp(n, cp)) : fh_nfa_cp(n, cp);
        any = true;
    }
    if (!any) *out = fh_nfa_empty(n);
    return FH_OK;
}

static fh_status class(reader *r, fh_frag *out) {
    fh_cps set = {0};
    size_t at = r->at;
    bool inverted = take(r, "^");
    while (!take(r, "]")) {
        uint32_t lo, hi;
        FH_TRY(character(r, &lo));
        hi = lo;
        if (look(r) == '-' && r->at + 1 < r->in.len && r->in.ptr[r->at + 1] != ']') {
            r->at++;
            FH_TRY(character(r, &hi));
        }
        if (lo > hi) return wrong(r, at, "a range runs backwards");
        fh_cps_add(&set, r->s->n.work, lo, hi);
    }
    if (inverted) fh_cps_invert(&set, r->s->n.work);
    *out = fh_nfa_cps(&r->s->n, &set);
    return FH_OK;
}

/* ---- structure ---- */
static fh_status alternatives(reader *r, fh_frag *out);

static fh_status reference(reader *r, fh_frag *out) {
    uint32_t rule;
    FH_TRY(rule_named(r, &rule));
    *out = (fh_frag){fh_nfa_state(&r->s->n), fh_nfa_state(&r->s->n)};
    fh_nfa_edge_add(&r->s->n, out->in, FH_NFA_CALL, rule, out->out);
    return FH_OK;
}

static fh_status item(reader *r, fh_frag *out, bool *any) {
    size_t at = r->at;
    fh_cps all = {0};
    *any = true;
    if (take(r, "\"")) return literal(r, out);
    if (take(r, "[")) return class(r, out);
    if (take(r, ".")) {
        fh_cps_add(&all, r->s->n.work, 0, FH_CP_MAX);
        *out = fh_nfa_cps(&r->s->n, &all);
        return FH_OK;
    }
    if (take(r, "(")) {
        if (++r->depth > FH_GRAMMAR_DEPTH)
            return fh_fail_at(r->err, FH_ERR_LIMIT, at, "grammar: groups nested deeper than %d", FH_GRAMMAR_DEPTH);
        FH_TRY(alternatives(r, out));
        r->depth--;
        return take(r, ")") ? FH_OK : wrong(r, at, "a group is not closed");
    }
    if (look(r) == '<' || look(r) == '!')
        return fh_fail_at(r->err, FH_ERR_UNSUPPORTED, at,
                          "grammar: line %u: references to tokens are not supported, only text", line_of(r, at));
    if (is_word(look(r))) return reference(r, out);
    *any = false;
    return FH_OK;
}

static bool number(reader *r, uint32_t *out) {
    size_t at = r->at;
    uint32_t v = 0;
    for (; look(r) >= '0' && look(r) <= '9'; r->at++) v = FH_MIN(v * 10 + (uint32_t)(look(r) - '0'), MAX_COUNT + 1);
    *out = v;
    return r->at > at;
}

static fh_status repeats(reader *r, bool *any, uint32_t *least, uint32_t *most) {
    size_t at = r->at;
    *any = true;
    *least = 0;
    *most = UINT32_MAX;
    if (take(r, "*")) return FH_OK;
    if (take(r, "+")) *least = 1;
    else if (take(r, "?")) *most = 1;
    else if (take(r, "{")) {
        bool ok;
        skip(r, true);
        ok = number(r, least);
        skip(r, true);
        if (ok && look(r) == '}') *most = *least;
        if (take(r, ",")) {
            skip(r, true);
            if (look(r) != '}') ok = number(r, most) && ok;
            skip(r, true);
        }
        if (!ok || !take(r, "}")) return wrong(r, at, "a count is malformed");
        if (*least > MAX_COUNT || (*most > MAX_COUNT && *most != UINT32_MAX))
            return fh_fail_at(r->err, FH_ERR_LIMIT, at, "grammar: line %u: a count above %u", line_of(r, at),
                              MAX_COUNT);
        if (*least > *most) return wrong(r, at, "a count runs backwards");
    } else *any = false;
    return FH_OK;
}

static fh_status sequence(reader *r, fh_frag *out) {
    fh_nfa *n = &r->s->n;
    for (bool first_one = true;; first_one = false) {
        fh_frag f;
        bool any;
        uint32_t first = n->n_state, least, most;
        skip(r, r->depth > 0);
        FH_TRY(item(r, &f, &any));
        if (!any) {
            if (first_one) *out = fh_nfa_empty(n);
            return FH_OK;
        }
        for (;;) {
            skip(r, r->depth > 0);
            FH_TRY(repeats(r, &any, &least, &most));
            if (!any) break;
            f = fh_nfa_repeat(n, f, first, least, most);
            FH_TRY(fh_work_check(n->work, "grammar", r->err));
        }
        *out = first_one ? f : fh_nfa_join(n, *out, f);
        FH_TRY(fh_work_check(n->work, "grammar", r->err));
    }
}

static fh_status alternatives(reader *r, fh_frag *out) {
    fh_frag f;
    skip(r, true);
    FH_TRY(sequence(r, out));
    while (take(r, "|")) {
        skip(r, true);
        FH_TRY(sequence(r, &f));
        *out = fh_nfa_either(&r->s->n, *out, f);
    }
    return FH_OK;
}

static fh_status rule(reader *r) {
    size_t at = r->at;
    uint32_t i;
    fh_frag f;
    FH_TRY(rule_named(r, &i));
    skip(r, false);
    if (!take(r, "::=")) return wrong(r, r->at, "::= is missing after the rule's name");
    fh_source_rule *s = &r->s->rule[i];
    if (s->defined)
        return fh_fail_at(r->err, FH_ERR_FORMAT, at, "grammar: line %u: rule '%.*s' is defined twice, first in line %u",
                          line_of(r, at), FH_STR_ARG(s->name), s->line);
    s->defined = true;
    s->line = line_of(r, r->at); /* the name's line: ::= stands beside it */
    FH_TRY(alternatives(r, &f));
    r->s->rule[i].f = f; /* reading it may have moved the rules */
    if (r->at < r->in.len && look(r) != '\n' && look(r) != '\r')
        return wrong(r, r->at, "a rule goes on with something that is none of its parts");
    return FH_OK;
}

fh_status fh_grammar_from_gbnf(fh_grammar **out, fh_str text, fh_err *err) {
    fh_work w;
    fh_rule_source s = {0};
    fh_work_init(&w);
    fh_nfa_init(&s.n, &w);
    reader r = {.s = &s, .in = text, .err = err};
    fh_status st = fh_work_check(&w, "grammar", err);
    if (st == FH_OK && !fh_utf8_valid(text)) st = fh_fail(err, FH_ERR_FORMAT, "grammar: not UTF-8");
    for (skip(&r, true); st == FH_OK && r.at < text.len; skip(&r, true)) st = rule(&r);
    s.root = FH_NONE;
    for (uint32_t i = 0; i < s.n_rule; i++)
        if (fh_str_is(s.rule[i].name, "root") && s.rule[i].defined) s.root = i;
    if (st == FH_OK && s.root == FH_NONE) st = fh_fail(err, FH_ERR_FORMAT, "grammar: there is no rule 'root'");
    if (st == FH_OK) st = fh_grammar_from_rules(out, &s, err);
    fh_work_release(&w);
    return st;
}
