/* text/jinja_text.c - str() and repr() of values, as Python prints them.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: text is built behind what the run has written so far and cut off again, so building nests for free
 * and the output budget bounds it. What Python prints with a memory address is printed without. */
#include "text/jinja_lib.h"

bool fh_jinja_take(fh_jrun *r, size_t from, fh_jval *out) {
    if (r->out.status != FH_OK)
        return fh_jinja_fail_status(r, r->out.status, "more than the %zu bytes of output allowed", r->out.limit);
    fh_str made = r->out.len > from ? fh_str_drop(fh_buf_str(&r->out), from) : FH_STR("");
    bool ok = fh_jinja_text(r, made, out);
    r->out.len = from;
    return ok;
}

static void add_escaped(fh_buf *to, uint32_t cp) {
    fh_buf_printf(to, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

/* Quoted as repr() does: with double quotes where that saves escaping. */
static void add_quoted(fh_buf *to, fh_str s) {
    bool single = s.len && memchr(s.ptr, '\'', s.len), twice = s.len && memchr(s.ptr, '"', s.len);
    char quote = single && !twice ? '"' : '\'';
    fh_buf_add_byte(to, (uint8_t)quote);
    for (size_t at = 0, n; at < s.len; at += n) {
        size_t plain = at;
        while (plain < s.len && s.ptr[plain] >= ' ' && s.ptr[plain] < 0x7F && s.ptr[plain] != quote &&
               s.ptr[plain] != '\\')
            plain++;
        if (plain > at) {
            n = plain - at;
            fh_buf_add(to, s.ptr + at, n);
            continue;
        }
        uint32_t cp = fh_jinja_decode(s.ptr + at, s.len - at, &n);
        if (cp == (uint32_t)quote || cp == '\\') fh_buf_add_byte(to, '\\');
        if (cp == '\n') fh_buf_add_z(to, "\\n");
        else if (cp == '\r') fh_buf_add_z(to, "\\r");
        else if (cp == '\t') fh_buf_add_z(to, "\\t");
        else if (fh_jinja_props(cp) & FH_J_PRINTABLE) fh_buf_add(to, s.ptr + at, n);
        else add_escaped(to, cp);
    }
    fh_buf_add_byte(to, (uint8_t)quote);
}

/* Only a namespace can hold itself, by whatever way. */
struct fh_jseen {
    const struct fh_jseen *around;
    const void *what;
};

static bool inside_itself(const fh_jrun *r, const void *what) {
    for (const struct fh_jseen *s = r->printing; s; s = s->around)
        if (s->what == what) return true;
    return false;
}

static bool add_items(fh_jrun *r, fh_buf *to, const fh_jval *item, uint32_t n, const char *brackets) {
    fh_buf_add_byte(to, (uint8_t)brackets[0]);
    for (uint32_t i = 0; i < n; i++) {
        if (i) fh_buf_add(to, ", ", 2);
        if (!fh_jinja_add_repr(r, to, item[i])) return false;
    }
    if (n == 1 && brackets[0] == '(') fh_buf_add_byte(to, ',');
    fh_buf_add_byte(to, (uint8_t)brackets[1]);
    return true;
}

static bool add_pairs(fh_jrun *r, fh_buf *to, const fh_jdict *d) {
    if (r->sort_keys && !fh_jinja_sorted_dict(r, d, &d)) return false;
    fh_buf_add_byte(to, '{');
    for (uint32_t i = 0; i < d->n; i++) {
        if (i) fh_buf_add(to, ", ", 2);
        if (!fh_jinja_add_repr(r, to, d->item[i].key)) return false;
        fh_buf_add(to, ": ", 2);
        if (!fh_jinja_add_repr(r, to, d->item[i].value)) return false;
    }
    fh_buf_add_byte(to, '}');
    return true;
}

static bool add_list(fh_jrun *r, fh_buf *to, const fh_jlist *l, const char *brackets) {
    struct fh_jseen here = {r->printing, l};
    if (inside_itself(r, l)) {
        fh_buf_printf(to, "%c...%c", brackets[0], brackets[1]);
        return true;
    }
    r->printing = &here;
    bool ok = add_items(r, to, l->item, l->n, brackets);
    r->printing = here.around;
    return ok;
}

static bool add_dict(fh_jrun *r, fh_buf *to, const fh_jdict *d) {
    struct fh_jseen here = {r->printing, d};
    if (inside_itself(r, d)) {
        fh_buf_add(to, "{...}", 5);
        return true;
    }
    r->printing = &here;
    bool ok = add_pairs(r, to, d);
    r->printing = here.around;
    return ok;
}

static bool add_view(fh_jrun *r, fh_buf *to, fh_jval v) {
    fh_jiter it;
    fh_jval item;
    int more = fh_jinja_iter(r, v, &it) ? 1 : -1;
    fh_buf_printf(to, "%s([", fh_jinja_type(v));
    for (bool any = false; more > 0 && (more = fh_jinja_next(r, &it, &item)) > 0; any = true) {
        if (any) fh_buf_add(to, ", ", 2);
        if (!fh_jinja_add_repr(r, to, item)) return false;
    }
    fh_buf_add(to, "])", 2);
    return more == 0;
}

void fh_jinja_add_int(fh_buf *to, int64_t v) {
    char text[20];
    size_t at = sizeof text;
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do text[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0) text[--at] = '-';
    fh_buf_add(to, text + at, sizeof text - at);
}

static void add_number(fh_buf *to, fh_jval v) {
    char text[FH_J_FLOAT_TEXT];
    if (v.kind == FH_J_BIG) fh_buf_add(to, v.u.s, v.len);
    else if (v.kind == FH_J_INT) fh_jinja_add_int(to, v.u.i);
    else fh_buf_add(to, text, fh_jinja_float_text(v.u.f, text));
}

static void add_range(fh_buf *to, const fh_jrange *g) {
    fh_buf_printf(to, g->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)", (long long)g->start,
                  (long long)g->stop, (long long)g->step);
}

bool fh_jinja_add_repr(fh_jrun *r, fh_buf *to, fh_jval v) {
    char text[64];
    bool ok = true;
    if (!fh_jinja_pay(r, 1)) return false;
    if (r->nest >= FH_J_MAX_NEST)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "values are nested too deeply to be printed");
    r->nest += FH_J_MAX_NEST / FH_J_MAX_DATA_DEPTH;
    switch ((fh_jkind)v.kind) {
    case FH_J_MISSING:
    case FH_J_UNDEF: fh_buf_add_z(to, "Undefined"); break;
    case FH_J_NONE: fh_buf_add_z(to, "None"); break;
    case FH_J_BOOL: fh_buf_add_z(to, v.u.i ? "True" : "False"); break;
    case FH_J_INT:
    case FH_J_BIG:
    case FH_J_FLOAT: add_number(to, v); break;
    case FH_J_STR:
        if (v.flag & FH_J_SAFE) fh_buf_add_z(to, "Markup(");
        add_quoted(to, fh_jval_text(v));
        if (v.flag & FH_J_SAFE) fh_buf_add_byte(to, ')');
        ok = fh_jinja_pay(r, v.len >> 5);
        break;
    case FH_J_LIST: ok = add_list(r, to, v.u.list, "[]"); break;
    case FH_J_TUPLE: ok = add_list(r, to, v.u.list, "()"); break;
    case FH_J_DICT: ok = add_dict(r, to, v.u.dict); break;
    case FH_J_NAMESPACE:
        fh_buf_add_z(to, "<Namespace ");
        ok = add_dict(r, to, v.u.dict);
        fh_buf_add_byte(to, '>');
        break;
    case FH_J_VIEW: ok = add_view(r, to, v); break;
    case FH_J_RANGE: add_range(to, v.u.range); break;
    case FH_J_MACRO: {
        fh_str name = fh_jinja_macro_name(v.u.macro);
        fh_buf_add_z(to, "<Macro ");
        if (name.ptr) add_quoted(to, name);
        else fh_buf_add_z(to, "anonymous");
        fh_buf_add_byte(to, '>');
        break;
    }
    case FH_J_LOOP: fh_buf_add(to, text, fh_jinja_loop_text(r, v.u.loop, text, sizeof text)); break;
    default: fh_buf_printf(to, "<%s object>", fh_jinja_type(v)); break;
    }
    r->nest -= FH_J_MAX_NEST / FH_J_MAX_DATA_DEPTH;
    if (ok && to->status != FH_OK)
        return fh_jinja_fail_status(r, to->status, "more than the %zu bytes of output allowed", to->limit);
    return ok;
}

bool fh_jinja_add_str(fh_jrun *r, fh_buf *to, fh_jval v) {
    if (v.kind == FH_J_UNDEF) return true;
    if (v.kind != FH_J_STR) return fh_jinja_add_repr(r, to, v);
    fh_buf_add(to, v.u.s, v.len);
    if (to->status != FH_OK)
        return fh_jinja_fail_status(r, to->status, "more than the %zu bytes of output allowed", to->limit);
    return fh_jinja_pay_bytes(r, v.len);
}

bool fh_jinja_repr(fh_jrun *r, fh_jval v, fh_jval *out) {
    size_t from = r->out.len;
    return fh_jinja_add_repr(r, &r->out, v) && fh_jinja_take(r, from, out);
}

bool fh_jinja_str(fh_jrun *r, fh_jval v, fh_jval *out) {
    if (v.kind == FH_J_STR) {
        *out = v;
        out->flag &= (uint8_t)~FH_J_SAFE;
        return true;
    }
    if (v.kind == FH_J_UNDEF) {
        *out = FH_JVAL_LIT("");
        return true;
    }
    return fh_jinja_repr(r, v, out);
}
