/* text/split_pcre.c - patterns that no scanner covers: a PCRE2 program over the pattern's symbols.
 * SPDX-License-Identifier: Apache-2.0
 * The text is handed over as symbols, one byte a code point, in a window that grows while PCRE2 says that it must see
 * more (hard partial matching); so no call costs more than its match, classes are bit maps and PCRE2's own Unicode
 * version does not matter. No JIT (it needs writable code), limits on steps, depth and memory, no captures.
 * Only symbols that exist are written into the program, never text of the pattern. */
#include "text/split_part.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define STEPS_MAX 2000000u
#define DEPTH_MAX 20000u
#define HEAP_MAX_KIB 65536u
#define PROGRAM_MAX ((size_t)8 << 20)
#define WINDOW_FIRST 128u
#define BEHIND_MAX 255u /* code points of lookbehind */

typedef struct split_program {
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_code *code;
    uint32_t behind; /* code points that it may look back */
    uint8_t invalid; /* symbol of U+FFFD */
} split_program;

static void *take(size_t n, void *unused) {
    (void)unused;
    return fh_alloc(n, 1);
}
static void give(void *p, void *unused) {
    (void)unused;
    fh_free(p);
}

/* ---- tree to program ---- */
typedef struct writer {
    fh_buf buf;
    split_work *w;
    const split_alphabet *a;
    const bool *in; /* [symbol * n_set + set] */
} writer;

static void write_set(writer *o, unsigned set, bool negative) {
    bool any = false;
    for (unsigned i = 0; i < o->a->n_symbol; i++) any |= o->in[i * (size_t)o->w->n_set + set];
    if (!any) {
        fh_buf_add_z(&o->buf, negative ? "[\\x00-\\xff]" : "(?!)");
        return;
    }
    fh_buf_add_z(&o->buf, negative ? "[^" : "[");
    for (unsigned i = 0; i < o->a->n_symbol; i++) {
        unsigned j = i;
        while (j < o->a->n_symbol && o->in[j * (size_t)o->w->n_set + set]) j++;
        if (j == i) continue;
        fh_buf_printf(&o->buf, "\\x%02x", i);
        if (j > i + 1) fh_buf_printf(&o->buf, "-\\x%02x", j - 1);
        i = j;
    }
    fh_buf_add_byte(&o->buf, ']');
}

static void write_behind(writer *o, const char *open, unsigned set) {
    fh_buf_add_z(&o->buf, open);
    write_set(o, set, false);
    fh_buf_add_byte(&o->buf, ')');
}

#define TEXT_BEGIN "(?<![\\x00-\\xff])" /* \A would be the window's begin */

static void write_place(writer *o, split_kind kind) {
    unsigned nl = o->w->newline, word = o->w->word;
    switch (kind) {
    case SPLIT_TEXT_BEGIN: fh_buf_add_z(&o->buf, TEXT_BEGIN); return;
    case SPLIT_TEXT_END: fh_buf_add_z(&o->buf, "\\z"); return;
    case SPLIT_TEXT_END_NL:
        fh_buf_add_z(&o->buf, "(?=");
        write_set(o, nl, false);
        fh_buf_add_z(&o->buf, "?+\\z)");
        return;
    case SPLIT_LINE_BEGIN: /* behind the newline that ends the text no line begins (Oniguruma; Rust: one does) */
        fh_buf_add_z(&o->buf, "(?:" TEXT_BEGIN "|");
        write_behind(o, "(?<=", nl);
        fh_buf_add_z(&o->buf, o->w->dialect == FH_SPLIT_ONIGURUMA ? "(?!\\z))" : ")");
        return;
    case SPLIT_LINE_END:
        fh_buf_add_z(&o->buf, "(?:");
        write_behind(o, "(?=", nl);
        fh_buf_add_z(&o->buf, "|\\z)");
        return;
    case SPLIT_WORD_EDGE:
    case SPLIT_WORD_INSIDE:
        fh_buf_add_z(&o->buf, "(?:");
        write_behind(o, "(?<=", word);
        write_behind(o, kind == SPLIT_WORD_EDGE ? "(?!" : "(?=", word);
        fh_buf_add_byte(&o->buf, '|');
        write_behind(o, "(?<!", word);
        write_behind(o, kind == SPLIT_WORD_EDGE ? "(?=" : "(?!", word);
        fh_buf_add_byte(&o->buf, ')');
        return;
    default: return;
    }
}

static void write_node(writer *o, const split_node *n);

static void write_kids(writer *o, const split_node *n, char between) {
    for (const split_node *k = n->kid; k; k = k->next) {
        write_node(o, k);
        if (k->next && between) fh_buf_add_byte(&o->buf, (uint8_t)between);
    }
}

static void write_node(writer *o, const split_node *n) {
    switch (n->kind) {
    case SPLIT_EMPTY: return;
    case SPLIT_SET: write_set(o, n->set, false); return;
    case SPLIT_CAT:
    case SPLIT_ALT:
        fh_buf_add_z(&o->buf, "(?:");
        write_kids(o, n, n->kind == SPLIT_ALT ? '|' : 0);
        fh_buf_add_byte(&o->buf, ')');
        return;
    case SPLIT_REPEAT:
        fh_buf_add_z(&o->buf, "(?:");
        write_node(o, n->kid);
        if (n->max == SPLIT_MANY) fh_buf_printf(&o->buf, "){%u,}", n->min);
        else fh_buf_printf(&o->buf, "){%u,%u}", n->min, n->max);
        fh_buf_add_z(&o->buf, n->greed == SPLIT_LAZY ? "?" : n->greed == SPLIT_POSSESSIVE ? "+" : "");
        return;
    case SPLIT_ATOMIC:
    case SPLIT_LOOK:
        fh_buf_add_z(&o->buf, n->kind == SPLIT_ATOMIC ? "(?>" : n->behind ? "(?<" : "(?");
        if (n->kind == SPLIT_LOOK) fh_buf_add_byte(&o->buf, n->negative ? '!' : '=');
        write_kids(o, n, 0);
        fh_buf_add_byte(&o->buf, ')');
        return;
    default: write_place(o, n->kind); return;
    }
}

static fh_status compile(split_work *w, split_program *p, const fh_buf *source) {
    int code;
    PCRE2_SIZE at;
    fh_status st = FH_ERR_MEMORY;
    pcre2_compile_context *cc = NULL;
    p->general = pcre2_general_context_create(take, give, NULL);
    if (!p->general) goto out;
    cc = pcre2_compile_context_create(p->general);
    p->limits = pcre2_match_context_create(p->general);
    if (!cc || !p->limits) goto out;
    pcre2_set_parens_nest_limit(cc, 4 * SPLIT_DEPTH_MAX);
    pcre2_set_match_limit(p->limits, STEPS_MAX);
    pcre2_set_depth_limit(p->limits, DEPTH_MAX);
    pcre2_set_heap_limit(p->limits, HEAP_MAX_KIB);
    uint32_t options = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE |
                       PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY;
    p->code = pcre2_compile(source->ptr, source->len, options, &code, &at, cc);
    if (!p->code && code != PCRE2_ERROR_NOMEMORY && code != PCRE2_ERROR_HEAP_FAILED) {
        char why[160] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        st = fh_fail(w->err, FH_ERR_UNSUPPORTED, "cannot use pattern '%.*s': %s", FH_STR_ARG(w->text), why);
        goto out;
    }
    if (p->code && pcre2_pattern_info(p->code, PCRE2_INFO_MAXLOOKBEHIND, &p->behind) == 0) st = FH_OK;
    if (st == FH_OK && p->behind > BEHIND_MAX)
        st = fh_fail(w->err, FH_ERR_UNSUPPORTED, "cannot use pattern '%.*s': it looks back %u characters, at most %u",
                     FH_STR_ARG(w->text), p->behind, BEHIND_MAX);
out:
    pcre2_compile_context_free(cc);
    if (st == FH_ERR_MEMORY) fh_fail_memory(w->err, source->len);
    return st;
}

fh_status split_program_new(split_work *w, const split_node *tree, const split_alphabet *a, const bool *in,
                            split_program **out) {
    writer o = {.w = w, .a = a, .in = in};
    split_program *p = NULL;
    fh_buf_init(&o.buf, PROGRAM_MAX);
    write_node(&o, tree);
    fh_status st = fh_buf_check(&o.buf, w->err);
    if (st != FH_OK) goto out;
    p = fh_alloc_zero(1, sizeof *p);
    if (!p) {
        st = fh_fail_memory(w->err, sizeof *p);
        goto out;
    }
    p->invalid = split_symbol(a, 0xfffd);
    st = compile(w, p, &o.buf);
    if (st != FH_OK) goto out;
    *out = p;
    p = NULL;
out:
    split_program_free(p);
    fh_buf_release(&o.buf);
    return st;
}

void split_program_free(split_program *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->general);
    fh_free(p);
}

/* ---- matching ---- */

/* The begin of the code point that ends at `at`, as fh_utf8_next would have read it from its own begin. */
static size_t step_back(fh_str text, size_t at) {
    for (size_t n = 1; n <= 4 && n <= at; n++) {
        size_t len;
        if (((unsigned char)text.ptr[at - n] & 0xc0) == 0x80 && n < 4) continue;
        fh_utf8_next(text, at - n, &len);
        return len == n ? at - n : at - 1;
    }
    return at - 1;
}

typedef struct window {
    uint8_t on_stack[512], *symbol;
    size_t n, capacity;
    size_t begin, end; /* bytes of the text */
} window;

/* Symbols for code points from begin on, until there are n of them or the text ends. */
static fh_status fill(const split_alphabet *a, fh_str text, window *v, size_t n, fh_err *err) {
    if (n > v->capacity) {
        uint8_t *heap = v->symbol == v->on_stack ? NULL : v->symbol;
        uint8_t *more = fh_realloc(heap, n, 1);
        if (!more) return fh_fail_memory(err, n);
        if (!heap) memcpy(more, v->on_stack, v->n);
        v->symbol = more;
        v->capacity = n;
    }
    while (v->n < n && v->end < text.len) {
        size_t len;
        v->symbol[v->n++] = split_symbol(a, fh_utf8_next(text, v->end, &len));
        v->end += len;
    }
    return FH_OK;
}

static size_t byte_at(const window *v, fh_str text, size_t symbol) {
    size_t at = v->begin, len;
    for (size_t i = 0; i < symbol; i++, at += len) fh_utf8_next(text, at, &len);
    return at;
}

static fh_status failed(int rc, fh_err *err) {
    switch (rc) {
    case PCRE2_ERROR_NOMEMORY: return fh_fail(err, FH_ERR_MEMORY, "cannot split text: out of memory");
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
        return fh_fail(err, FH_ERR_LIMIT, "cannot split text: the pattern takes too many steps on it");
    default: return fh_fail(err, FH_ERR_UNSUPPORTED, "cannot split text: PCRE2 says %d", rc);
    }
}

fh_status split_program_next(const split_program *p, const split_alphabet *a, fh_str text, size_t from, bool *found,
                             size_t *start, size_t *end, fh_err *err) {
    window v;
    v.symbol = v.on_stack;
    v.capacity = sizeof v.on_stack;
    v.n = 0;
    v.begin = v.end = from;
    uint32_t skip = 0; /* symbols in front of where the search begins */
    while (skip < p->behind && v.begin > 0) {
        v.begin = step_back(text, v.begin);
        skip++;
    }
    v.end = v.begin;
    fh_status st = FH_OK;
    pcre2_match_data *m = pcre2_match_data_create(1, p->general);
    if (!m) return fh_fail_memory(err, 1024);
    for (size_t want = skip + WINDOW_FIRST, at = skip;; want *= 4) {
        st = fill(a, text, &v, want, err);
        if (st != FH_OK) break;
        bool whole = v.end == text.len;
        uint32_t options = PCRE2_NOTEMPTY | (whole ? 0 : PCRE2_PARTIAL_HARD);
        int rc = pcre2_match(p->code, v.symbol, v.n, at, options, m, p->limits);
        if (rc == PCRE2_ERROR_PARTIAL && !whole) continue;
        if (rc == PCRE2_ERROR_NOMATCH) {
            if (whole) {
                *found = false;
                break;
            }
            at = v.n; /* no match begins in what was seen */
            continue;
        }
        if (rc < 0) {
            st = failed(rc, err);
            break;
        }
        const PCRE2_SIZE *place = pcre2_get_ovector_pointer(m);
        *found = true;
        *start = byte_at(&v, text, place[0]);
        *end = byte_at(&v, text, place[1]);
        break;
    }
    pcre2_match_data_free(m);
    if (v.symbol != v.on_stack) fh_free(v.symbol);
    return st;
}
