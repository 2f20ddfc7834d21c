/* text/split_syntax.c - reads a pattern of Oniguruma or fancy-regex into a tree.
 * SPDX-License-Identifier: Apache-2.0
 * Groups do not capture here: nothing can refer to them. Flags: i everywhere; "." takes newlines with m in Oniguruma
 * and s in Rust; ^ and $ are of lines in Oniguruma, of the text in Rust unless m is on.
 * Refused with the byte where they stand: backreferences, conditions, recursion, absent operators, \K \G \X \N \O, the
 * flag x, flags set in the middle of an Oniguruma group, {n}? and {,n} where dialects differ, and under Oniguruma's i
 * what folds to more than one character (ss and sharp s). */
#include "text/split_part.h"

typedef struct flags {
    bool fold, dot_all, lines;
} flags;

typedef struct parser {
    split_work *w;
    size_t at;
    unsigned depth;
} parser;

static fh_status parse_alternatives(parser *p, flags f, split_node **out);

static char look(const parser *p, size_t ahead) {
    return p->at + ahead < p->w->text.len ? p->w->text.ptr[p->at + ahead] : 0;
}
static bool at_end(const parser *p) { return p->at >= p->w->text.len; }
static bool starts(const parser *p, const char *z) { return fh_str_starts(fh_str_drop(p->w->text, p->at), z); }

static split_node *node_new(parser *p, split_kind kind) {
    split_node *n = fh_arena_alloc(&p->w->arena, 1, sizeof *n);
    if (n) n->kind = kind;
    return n;
}

static fh_status no_memory(parser *p) { return fh_arena_fail(&p->w->arena, p->w->err); }

static fh_status leaf(parser *p, split_kind kind, split_node **out) {
    split_node *n = node_new(p, kind);
    if (!n) return no_memory(p);
    *out = n;
    return FH_OK;
}

static fh_status set_node(parser *p, split_set s, split_node **out) {
    split_node *n;
    n = node_new(p, SPLIT_SET);
    if (!n) return no_memory(p);
    FH_TRY(split_set_intern(p->w, s, &n->set));
    *out = n;
    return FH_OK;
}

static fh_status char_node(parser *p, uint32_t cp, flags f, split_node **out) {
    split_set s;
    uint32_t full[3];
    if (f.fold && p->w->dialect == FH_SPLIT_ONIGURUMA && fh_unicode_fold_full(cp, full))
        return split_refuse(p->w, p->at, "a character that case folding makes longer");
    FH_TRY(split_set_range(p->w, cp, cp, &s));
    if (f.fold) FH_TRY(split_set_fold(p->w, s, &s));
    split_node *n = node_new(p, SPLIT_SET);
    if (!n) return no_memory(p);
    n->literal = true;
    FH_TRY(split_set_intern(p->w, s, &n->set));
    *out = n;
    return FH_OK;
}

static fh_status not_newline(parser *p, split_set *out) {
    split_set s;
    FH_TRY(split_set_range(p->w, '\n', '\n', &s));
    return split_set_not(p->w, s, out);
}

/* Anchors name sets that the pattern itself may not use. */
static fh_status anchor(parser *p, split_kind kind, split_node **out) {
    split_set s;
    if (kind == SPLIT_WORD_EDGE || kind == SPLIT_WORD_INSIDE) {
        p->w->alone = true;
        fh_status st = split_class_named(p->w, SPLIT_WORD, &s);
        p->w->alone = false;
        if (st != FH_OK) return st;
        FH_TRY(split_set_intern(p->w, s, &p->w->word));
    } else {
        FH_TRY(split_set_range(p->w, '\n', '\n', &s));
        FH_TRY(split_set_intern(p->w, s, &p->w->newline));
    }
    return leaf(p, kind, out);
}

/* \R: (?>\r\n|[\n-\r\x85\u2028\u2029]) */
static fh_status any_newline(parser *p, split_node **out) {
    static const uint32_t end[][2] = {{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}};
    split_node *cr = NULL, *lf = NULL, *one = NULL;
    split_node *pair = node_new(p, SPLIT_CAT), *alt = node_new(p, SPLIT_ALT), *all = node_new(p, SPLIT_ATOMIC);
    split_set s = {NULL, 0}, r;
    if (!pair || !alt || !all) return no_memory(p);
    for (size_t i = 0; i < FH_COUNT(end); i++) {
        FH_TRY(split_set_range(p->w, end[i][0], end[i][1], &r));
        FH_TRY(split_set_union(p->w, s, r, &s));
    }
    FH_TRY(char_node(p, '\r', (flags){0}, &cr));
    FH_TRY(char_node(p, '\n', (flags){0}, &lf));
    FH_TRY(set_node(p, s, &one));
    cr->next = lf;
    pair->kid = cr;
    pair->next = one;
    alt->kid = pair;
    all->kid = alt;
    *out = all;
    return FH_OK;
}

static fh_status parse_escape(parser *p, flags f, split_node **out) {
    bool found;
    split_set s;
    uint32_t cp;
    char c = look(p, 1);
    switch (c) {
    case 'A': p->at += 2; return anchor(p, SPLIT_TEXT_BEGIN, out);
    case 'z': p->at += 2; return anchor(p, SPLIT_TEXT_END, out);
    case 'Z': p->at += 2; return anchor(p, SPLIT_TEXT_END_NL, out);
    case 'b': p->at += 2; return anchor(p, SPLIT_WORD_EDGE, out);
    case 'B': p->at += 2; return anchor(p, SPLIT_WORD_INSIDE, out);
    case 'R': p->at += 2; return any_newline(p, out);
    default: break;
    }
    if (c >= '1' && c <= '9') return split_refuse(p->w, p->at, "a backreference");
    p->w->alone = true;
    fh_status st = split_class_escape(p->w, &p->at, f.fold, &found, &s);
    p->w->alone = false;
    if (st != FH_OK) return st;
    if (found) return set_node(p, s, out);
    FH_TRY(split_class_char(p->w, &p->at, &cp));
    return char_node(p, cp, f, out);
}

/* Behind "(?": letters that set flags, then ')' or ':'. begin: where the '(' stands */
static fh_status parse_flags(parser *p, size_t begin, flags *f) {
    bool on = true, onig = p->w->dialect == FH_SPLIT_ONIGURUMA;
    for (;; p->at++) {
        char c = look(p, 0);
        if (c == ')' || c == ':') return FH_OK;
        if (c == '-' && on) on = false;
        else if (c == 'i') f->fold = on;
        else if (c == (onig ? 'm' : 's')) f->dot_all = on;
        else if (c == 'm') f->lines = on;
        else if (c != 'u' || onig || !on) /* u: Unicode, as it is anyway */
            return split_refuse(p->w, begin, "a group or flag that is not known here");
    }
}

static fh_status group_end(parser *p, size_t begin) {
    if (look(p, 0) != ')') return split_refuse(p->w, begin, "a '(' without its ')'");
    p->at++;
    return FH_OK;
}

static fh_status parse_inner(parser *p, size_t begin, flags f, split_node **out) {
    FH_TRY(parse_alternatives(p, f, out));
    return group_end(p, begin);
}

/* Skips "name>" and what is before it. */
static fh_status skip_name(parser *p, size_t begin) {
    while (!at_end(p) && look(p, 0) != '>' && look(p, 0) != ')') p->at++;
    if (look(p, 0) != '>') return split_refuse(p->w, begin, "a group name without its '>'");
    p->at++;
    return FH_OK;
}

static fh_status parse_look(parser *p, size_t begin, flags f, split_node **out) {
    split_node *n;
    n = node_new(p, SPLIT_LOOK);
    if (!n) return no_memory(p);
    n->behind = look(p, 0) == '<';
    p->at += n->behind;
    n->negative = look(p, 0) == '!';
    p->at++;
    FH_TRY(parse_inner(p, begin, f, &n->kid));
    *out = n;
    return FH_OK;
}

/* At '('. NULL in *out: flags for the rest of the group, *f changed. first: nothing stands before it in its group. */
static fh_status parse_group(parser *p, flags *f, bool first, split_node **out) {
    size_t begin = p->at;
    p->at++;
    if (look(p, 0) == '*') return split_refuse(p->w, begin, "a verb or callout");
    if (look(p, 0) != '?') return parse_inner(p, begin, *f, out);
    p->at++;
    if (starts(p, "=") || starts(p, "!") || starts(p, "<=") || starts(p, "<!")) return parse_look(p, begin, *f, out);
    if (look(p, 0) == '#') {
        while (!at_end(p) && look(p, 0) != ')') p->at++;
        FH_TRY(group_end(p, begin));
        return leaf(p, SPLIT_EMPTY, out);
    }
    if (look(p, 0) == '>') {
        split_node *n;
        p->at++;
        n = node_new(p, SPLIT_ATOMIC);
        if (!n) return no_memory(p);
        FH_TRY(parse_inner(p, begin, *f, &n->kid));
        *out = n;
        return FH_OK;
    }
    if (look(p, 0) == '<' || (starts(p, "P<") && p->w->dialect == FH_SPLIT_FANCY)) {
        FH_TRY(skip_name(p, begin));
        return parse_inner(p, begin, *f, out);
    }
    flags inner = *f;
    FH_TRY(parse_flags(p, begin, &inner));
    p->at++;
    if (p->w->text.ptr[p->at - 1] == ':') return parse_inner(p, begin, inner, out);
    if (!first && p->w->dialect == FH_SPLIT_ONIGURUMA)
        return split_refuse(p->w, begin, "flags in the middle of a group");
    *f = inner;
    *out = NULL;
    return FH_OK;
}

static fh_status parse_atom(parser *p, flags *f, bool first, split_node **out) {
    split_set s;
    size_t len;
    uint32_t cp;
    bool lines = p->w->dialect == FH_SPLIT_ONIGURUMA || f->lines;
    switch (look(p, 0)) {
    case '(':
        if (++p->depth > SPLIT_DEPTH_MAX) return split_refuse(p->w, p->at, "groups nested too deep");
        FH_TRY(parse_group(p, f, first, out));
        p->depth--;
        return FH_OK;
    case '[': FH_TRY(split_class_bracket(p->w, &p->at, f->fold, 0, &s)); return set_node(p, s, out);
    case '.':
        p->at++;
        if (f->dot_all) FH_TRY(split_set_range(p->w, 0, 0x10ffff, &s));
        else FH_TRY(not_newline(p, &s));
        return set_node(p, s, out);
    case '^': p->at++; return anchor(p, lines ? SPLIT_LINE_BEGIN : SPLIT_TEXT_BEGIN, out);
    case '$': p->at++; return anchor(p, lines ? SPLIT_LINE_END : SPLIT_TEXT_END, out);
    case '\\': return parse_escape(p, *f, out);
    case '*':
    case '+':
    case '?': return split_refuse(p->w, p->at, "a repeat of nothing");
    case '{': return split_refuse(p->w, p->at, "a '{' that repeats nothing");
    default: break;
    }
    cp = fh_utf8_next(p->w->text, p->at, &len);
    FH_TRY(char_node(p, cp, *f, out));
    p->at += len;
    return FH_OK;
}

static fh_status number(parser *p, uint32_t *out, bool *found) {
    uint32_t v = 0;
    size_t begin = p->at;
    for (; look(p, 0) >= '0' && look(p, 0) <= '9'; p->at++) {
        v = v * 10 + (uint32_t)(look(p, 0) - '0');
        if (v > SPLIT_REPEAT_MAX) return split_refuse(p->w, begin, "a count above 1000");
    }
    *found = p->at > begin;
    *out = v;
    return FH_OK;
}

/* {n} {n,} {n,m} {,m} at *at. exact: {n} */
static fh_status parse_interval(parser *p, uint32_t *min, uint32_t *max, bool *exact) {
    size_t begin = p->at;
    bool has_min, has_max = true;
    p->at++;
    FH_TRY(number(p, min, &has_min));
    *max = *min;
    *exact = look(p, 0) != ',';
    if (!*exact) {
        p->at++;
        FH_TRY(number(p, max, &has_max));
        if (!has_max) *max = SPLIT_MANY;
    }
    if (look(p, 0) != '}' || (!has_min && (!has_max || *exact)))
        return split_refuse(p->w, begin, "a '{' that is no count");
    if (!has_min && p->w->dialect == FH_SPLIT_FANCY)
        return split_refuse(p->w, begin, "a count without its lower bound");
    if (*max < *min) return split_refuse(p->w, begin, "a count that runs backwards");
    p->at++;
    return FH_OK;
}

/* The quantifiers behind an atom; there may be several. */
static fh_status parse_repeats(parser *p, split_node **atom) {
    for (unsigned n = 0;; n++) {
        uint32_t min, max;
        bool interval = look(p, 0) == '{', exact = false;
        size_t begin = p->at;
        char c = look(p, 0);
        if (c != '*' && c != '+' && c != '?' && c != '{') return FH_OK;
        if (n == 4) return split_refuse(p->w, begin, "too many repeats in a row");
        split_kind k = (*atom)->kind;
        if (k != SPLIT_SET && k != SPLIT_CAT && k != SPLIT_ALT && k != SPLIT_ATOMIC && k != SPLIT_REPEAT)
            return split_refuse(p->w, begin, "a repeat of a place");
        if (interval) {
            FH_TRY(parse_interval(p, &min, &max, &exact));
        } else {
            min = c == '+';
            max = c == '?' ? 1 : SPLIT_MANY;
            p->at++;
        }
        split_node *r;
        r = node_new(p, SPLIT_REPEAT);
        if (!r) return no_memory(p);
        r->min = min;
        r->max = max;
        r->kid = *atom;
        if (look(p, 0) == '?') {
            if (exact && p->w->dialect == FH_SPLIT_ONIGURUMA) return split_refuse(p->w, begin, "a '?' behind {n}");
            r->greed = SPLIT_LAZY;
            p->at++;
        } else if (look(p, 0) == '+' && !(interval && p->w->dialect == FH_SPLIT_ONIGURUMA)) {
            r->greed = SPLIT_POSSESSIVE;
            p->at++;
        }
        uint32_t least, most;
        split_width(r->kid, &least, &most);
        if (least == 0 && max == SPLIT_MANY)
            return split_refuse(p->w, begin, "an endless repeat of what may be nothing");
        *atom = r;
    }
}

static fh_status check_folding(parser *p, const split_node *cat, size_t begin) {
    /* Oniguruma's i also takes one character for several: refuse texts in which that could happen. */
    static const char *const spelled[] = {"ss", "st", "ff", "fi", "fl", "ffi", "ffl"};
    char run[3] = {0, 0, 0};
    for (const split_node *n = cat; n; n = n->next) {
        char c = 0;
        if (n->kind == SPLIT_SET && n->literal) {
            split_set s = p->w->set[n->set];
            for (char k = 'a'; k <= 'z'; k++)
                if (s.n > 1 && split_set_has(s, (uint32_t)k)) c = k; /* s.n > 1: folded */
            if (s.r[0][0] > 127 && s.n > 1) c = 1;
        }
        run[0] = run[1];
        run[1] = c;
        for (size_t i = 0; i < FH_COUNT(spelled); i++)
            if (run[0] && run[1] && run[0] == spelled[i][0] && run[1] == spelled[i][1])
                return split_refuse(p->w, begin, "letters that case folding joins");
        /* every other joining sequence ends or begins with a character outside ASCII */
        if ((run[0] == 1 && run[1]) || (run[1] == 1 && run[0]))
            return split_refuse(p->w, begin, "letters outside ASCII side by side without regard to case");
    }
    return FH_OK;
}

static fh_status parse_sequence(parser *p, flags *f, bool first, split_node **out) {
    split_node *cat, *head = NULL, **tail = &head;
    size_t begin = p->at, n = 0;
    while (!at_end(p) && look(p, 0) != '|' && look(p, 0) != ')') {
        split_node *atom = NULL;
        FH_TRY(parse_atom(p, f, first && n == 0, &atom));
        if (!atom) continue; /* flags alone */
        FH_TRY(parse_repeats(p, &atom));
        *tail = atom;
        tail = &atom->next;
        n++;
    }
    if (p->w->dialect == FH_SPLIT_ONIGURUMA) FH_TRY(check_folding(p, head, begin));
    if (n == 1) {
        *out = head;
        return FH_OK;
    }
    cat = node_new(p, n ? SPLIT_CAT : SPLIT_EMPTY);
    if (!cat) return no_memory(p);
    cat->kid = head;
    *out = cat;
    return FH_OK;
}

static fh_status parse_alternatives(parser *p, flags f, split_node **out) {
    split_node *alt, *head = NULL, **tail = &head;
    size_t n = 0;
    for (;; n++) {
        split_node *one = NULL, *box = NULL;
        FH_TRY(parse_sequence(p, &f, n == 0, &one));
        /* boxed, as a kid's own `next` may not be shared */
        box = node_new(p, SPLIT_CAT);
        if (!box) return no_memory(p);
        box->kid = one;
        *tail = box;
        tail = &box->next;
        if (look(p, 0) != '|') break;
        p->at++;
    }
    if (n == 0) {
        *out = head;
        return FH_OK;
    }
    alt = node_new(p, SPLIT_ALT);
    if (!alt) return no_memory(p);
    alt->kid = head;
    *out = alt;
    return FH_OK;
}

static uint32_t plus(uint32_t a, uint32_t b) { return a > SPLIT_MANY - b ? SPLIT_MANY : a + b; }
static uint32_t times(uint32_t a, uint32_t b) {
    uint64_t v = (uint64_t)a * b;
    return a == 0 || b == 0 ? 0 : a == SPLIT_MANY || b == SPLIT_MANY || v >= SPLIT_MANY ? SPLIT_MANY : (uint32_t)v;
}

void split_width(const split_node *n, uint32_t *min, uint32_t *max) {
    uint32_t a, b;
    *min = *max = 0;
    switch (n->kind) {
    case SPLIT_SET: *min = *max = 1; return;
    case SPLIT_CAT:
        for (const split_node *k = n->kid; k; k = k->next) {
            split_width(k, &a, &b);
            *min = plus(*min, a);
            *max = plus(*max, b);
        }
        return;
    case SPLIT_ALT:
        *min = SPLIT_MANY;
        for (const split_node *k = n->kid; k; k = k->next) {
            split_width(k, &a, &b);
            *min = FH_MIN(*min, a);
            *max = FH_MAX(*max, b);
        }
        return;
    case SPLIT_REPEAT:
        split_width(n->kid, &a, &b);
        *min = times(a, n->min);
        *max = times(b, n->max);
        return;
    case SPLIT_ATOMIC: split_width(n->kid, min, max); return;
    default: return; /* places */
    }
}

fh_status split_parse(split_work *w, split_node **out) {
    parser p = {w, 0, 0};
    if (w->text.len > SPLIT_PATTERN_MAX)
        return fh_fail(w->err, FH_ERR_LIMIT, "cannot use a pattern of %zu bytes: at most %zu", w->text.len,
                       SPLIT_PATTERN_MAX);
    if (!fh_utf8_valid(w->text)) return fh_fail(w->err, FH_ERR_FORMAT, "cannot use a pattern that is no UTF-8");
    FH_TRY(parse_alternatives(&p, (flags){0}, out));
    if (!at_end(&p)) return split_refuse(w, p.at, "a ')' without its '('");
    return FH_OK;
}
