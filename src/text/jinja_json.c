/* text/jinja_json.c - the tojson filter: json.dumps with the parameters that transformers passes through.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Spacing, escapes, numbers and key order are Python's to the byte; nothing is escaped for HTML.
 * Refuses what json.dumps refuses: undefined values, generators, keys that are neither text nor number. */
#include <math.h>

#include "text/jinja_lib.h"

typedef struct dump {
    fh_jrun *r;
    fh_buf *to;
    bool ascii, sort, pretty;
    fh_str indent, item_sep, key_sep;
} dump;

static void add_unicode(fh_buf *to, uint32_t cp) {
    if (cp >= 0x10000) {
        fh_buf_printf(to, "\\u%04x\\u%04x", 0xD800 + ((cp - 0x10000) >> 10), 0xDC00 + ((cp - 0x10000) & 0x3FF));
    } else {
        fh_buf_printf(to, "\\u%04x", cp);
    }
}

/* Short pieces are most of what is written: no call for those that fit. */
static inline void add(fh_buf *to, const char *s, size_t n) {
    if (to->status != FH_OK || n >= to->cap - to->len || n > to->limit - to->len) {
        fh_buf_add(to, s, n);
        return;
    }
    if (n) memcpy(to->ptr + to->len, s, n);
    to->len += n;
}

static inline bool is_plain(unsigned char c, bool ascii) {
    return c >= 0x20 && c != '"' && c != '\\' && (c < 0x7F || !ascii);
}

/* How many bytes from the start need no escape; eight at a time. */
static size_t plain_run(fh_str s, bool ascii) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    size_t n = 0;
    for (uint64_t x; n + 8 <= s.len; n += 8) {
        memcpy(&x, s.ptr + n, sizeof x);
        uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\', delete = x ^ ones * 0x7F;
        uint64_t found = ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
        if (ascii) found |= x | ((delete - ones) & ~delete);
        if (found & high) break;
    }
    while (n < s.len && is_plain((unsigned char)s.ptr[n], ascii)) n++;
    return n;
}

static void add_text(dump *d, fh_str s) {
    size_t from = 0, n_plain = plain_run(s, d->ascii);
    add(d->to, "\"", 1);
    if (n_plain == s.len) {
        add(d->to, s.ptr, s.len);
        add(d->to, "\"", 1);
        return;
    }
    for (size_t at = n_plain; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (is_plain(c, d->ascii)) {
            at++;
            continue;
        }
        fh_buf_add(d->to, s.ptr + from, at - from);
        size_t n = 1;
        const char *known = c ? strchr("\"\"\\\\\nn\rr\tt\bb\ff", c) : NULL;
        if (known) {
            char two[2] = {'\\', known[1]};
            fh_buf_add(d->to, two, 2);
        } else {
            add_unicode(d->to, c < 0x80 ? c : fh_jinja_decode(s.ptr + at, s.len - at, &n));
        }
        at += n;
        from = at;
    }
    fh_buf_add(d->to, s.ptr + from, s.len - from);
    fh_buf_add_byte(d->to, '"');
}

static void add_number(dump *d, fh_jval v) {
    char text[FH_J_FLOAT_TEXT];
    if (v.kind == FH_J_BIG) fh_buf_add(d->to, v.u.s, v.len);
    else if (v.kind == FH_J_INT) fh_jinja_add_int(d->to, v.u.i);
    else if (isnan(v.u.f)) fh_buf_add_z(d->to, "NaN");
    else if (isinf(v.u.f)) fh_buf_add_z(d->to, v.u.f < 0 ? "-Infinity" : "Infinity");
    else fh_buf_add(d->to, text, fh_jinja_float_text(v.u.f, text));
}

static void new_line(dump *d, uint32_t depth) {
    fh_buf_add_byte(d->to, '\n');
    for (uint32_t i = 0; i < depth; i++) fh_buf_add_str(d->to, d->indent);
}

static void separate(dump *d, bool first, uint32_t depth) {
    if (!first) add(d->to, d->item_sep.ptr, d->item_sep.len);
    if (d->pretty) new_line(d, depth);
}

static bool add_value(dump *d, fh_jval v, uint32_t depth);

static bool add_list(dump *d, const fh_jlist *l, uint32_t depth) {
    add(d->to, "[", 1);
    for (uint32_t i = 0; i < l->n; i++) {
        separate(d, i == 0, depth + 1);
        if (!add_value(d, l->item[i], depth + 1)) return false;
    }
    if (l->n && d->pretty) new_line(d, depth);
    add(d->to, "]", 1);
    return true;
}

static bool add_key(dump *d, fh_jval k) {
    size_t from;
    switch ((fh_jkind)k.kind) {
    case FH_J_STR: add_text(d, fh_jval_text(k)); return true;
    case FH_J_NONE: fh_buf_add_z(d->to, "\"null\""); return true;
    case FH_J_BOOL: fh_buf_add_z(d->to, k.u.i ? "\"true\"" : "\"false\""); return true;
    case FH_J_INT:
    case FH_J_BIG:
    case FH_J_FLOAT:
        from = d->to->len;
        fh_buf_add_byte(d->to, '"');
        add_number(d, k);
        fh_buf_add_byte(d->to, '"');
        return from <= d->to->len;
    default: return fh_jinja_fail(d->r, "keys must be str, int, float, bool or None, not %s", fh_jinja_type(k));
    }
}

static bool add_dict(dump *d, const fh_jdict *v, uint32_t depth) {
    if (d->sort && !fh_jinja_sorted_dict(d->r, v, &v)) return false;
    add(d->to, "{", 1);
    for (uint32_t i = 0; i < v->n; i++) {
        separate(d, i == 0, depth + 1);
        if (!add_key(d, v->item[i].key)) return false;
        add(d->to, d->key_sep.ptr, d->key_sep.len);
        if (!add_value(d, v->item[i].value, depth + 1)) return false;
    }
    if (v->n && d->pretty) new_line(d, depth);
    add(d->to, "}", 1);
    return true;
}

static bool add_value(dump *d, fh_jval v, uint32_t depth) {
    fh_jrun *r = d->r;
    if (!fh_jinja_pay(r, 1)) return false;
    if (depth > FH_J_MAX_DATA_DEPTH)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "tojson: values are nested too deeply");
    if (d->to->status != FH_OK)
        return fh_jinja_fail_status(r, d->to->status, "more than the %zu bytes of output allowed", d->to->limit);
    switch ((fh_jkind)v.kind) {
    case FH_J_NONE: fh_buf_add_z(d->to, "null"); return true;
    case FH_J_BOOL: fh_buf_add_z(d->to, v.u.i ? "true" : "false"); return true;
    case FH_J_INT:
    case FH_J_BIG:
    case FH_J_FLOAT: add_number(d, v); return true;
    case FH_J_STR: add_text(d, fh_jval_text(v)); return fh_jinja_pay_bytes(r, v.len);
    case FH_J_LIST:
    case FH_J_TUPLE: return add_list(d, v.u.list, depth);
    case FH_J_DICT: return add_dict(d, v.u.dict, depth);
    default: return fh_jinja_fail(r, "Object of type %s is not JSON serializable", fh_jinja_type(v));
    }
}

/* indent: None, a number of blanks, or the text itself. */
static bool set_indent(dump *d, fh_jval v) {
    fh_jval text = v;
    if (v.kind == FH_J_MISSING || v.kind == FH_J_NONE) return true;
    if (fh_jval_is_int(v)) {
        if (v.u.i > 1000) return fh_jinja_fail(d->r, "tojson: an indent of %lld is too wide", (long long)v.u.i);
        if (!fh_jinja_repeat(d->r, FH_JVAL_LIT(" "), v.u.i, &text)) return false;
    } else if (v.kind != FH_J_STR) {
        return fh_jinja_fail(d->r, "tojson: indent must be a number or a text, not %s", fh_jinja_type(v));
    }
    d->pretty = true;
    d->indent = fh_jval_text(text);
    d->item_sep = FH_STR(",");
    return true;
}

static bool set_separators(dump *d, fh_jval v) {
    if (v.kind == FH_J_MISSING || v.kind == FH_J_NONE) return true;
    if (!fh_jval_is_seq(v) || v.u.list->n != 2 || v.u.list->item[0].kind != FH_J_STR ||
        v.u.list->item[1].kind != FH_J_STR)
        return fh_jinja_fail(d->r, "tojson: separators must be a pair of texts");
    d->item_sep = fh_jval_text(v.u.list->item[0]);
    d->key_sep = fh_jval_text(v.u.list->item[1]);
    return true;
}

bool fh_jinja_tojson(fh_jrun *r, const fh_jargs *a, fh_jval v, fh_jval *out) {
    fh_jval arg[4];
    dump d = {.r = r, .to = &r->out, .item_sep = FH_STR(", "), .key_sep = FH_STR(": ")};
    if (!fh_jinja_bind(r, a, "tojson", "ensure_ascii indent separators sort_keys", 0, arg, 4)) return false;
    d.ascii = fh_jinja_truth(arg[0]);
    d.sort = fh_jinja_truth(arg[3]);
    if (!set_indent(&d, arg[1]) || !set_separators(&d, arg[2])) return false;
    size_t from = r->out.len;
    return add_value(&d, v, 0) && fh_jinja_take(r, from, out);
}
