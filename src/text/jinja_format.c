/* text/jinja_format.c - formatting as Python does it: "%s" % x, "{}".format(x), and their format specifications.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing: text is built behind what the run has written and cut off again.
 * Refuses widths beyond 10000 and specifications it does not know; fields reach values only the way the template
 * itself does. */
#include <math.h>

#include "base/num.h"
#include "text/jinja_lib.h"

#define MAX_WIDTH 10000

typedef struct spec {
    char fill[4];
    size_t n_fill;
    char align, sign, comma, type; /* '\0': not given */
    bool alt, zero;
    int64_t width, precision; /* -1: not given */
} spec;

/* ---- one value by its specification ---- */

static bool add_padded(fh_jrun *r, const spec *p, size_t from, char align) {
    fh_jval s;
    if (p->width < 0) return true;
    if (!fh_jinja_take(r, from, &s)) return false;
    fh_str fill = p->n_fill ? (fh_str){p->fill, p->n_fill} : p->zero ? FH_STR("0") : FH_STR(" ");
    if (align == '^') { /* the odd blank goes to the right here */
        int64_t n = (int64_t)fh_jinja_count(s), missing = FH_MAX(p->width - n, (int64_t)0);
        if (!fh_jinja_pad(r, s, n + missing / 2, fill, '>', &s)) return false;
        align = '<';
    }
    return fh_jinja_pad(r, s, p->width, fill, align, &s) && fh_jinja_add_str(r, &r->out, s);
}

/* sign, then zeros up to the width where '=' or 0 asks for them, then digits. */
static bool add_number(fh_jrun *r, const spec *p, bool minus, const char *prefix, const char *digits) {
    char sign[8], grouped[1400];
    size_t n = strlen(digits), whole = 0, k = 0;
    while (whole < n && digits[whole] >= '0' && digits[whole] <= '9') whole++;
    for (size_t i = 0; i < n && k + 2 < sizeof grouped; i++) {
        if (p->comma && i > 0 && i < whole && (whole - i) % 3 == 0) grouped[k++] = p->comma;
        grouped[k++] = digits[i];
    }
    grouped[k] = '\0';
    snprintf(sign, sizeof sign, "%s%s", minus ? "-" : p->sign == '+' ? "+" : p->sign == ' ' ? " " : "", prefix);
    size_t from = r->out.len, used = strlen(sign) + k;
    bool inner = p->align == '=' || (p->zero && !p->align);
    fh_buf_add_z(&r->out, sign);
    if (inner && p->width > (int64_t)used) {
        for (int64_t i = (int64_t)used; i < p->width; i++)
            fh_buf_add(&r->out, p->zero ? "0" : p->n_fill ? p->fill : " ", p->n_fill && !p->zero ? p->n_fill : 1);
    }
    fh_buf_add_z(&r->out, grouped);
    return inner || add_padded(r, p, from, p->align ? p->align : '>');
}

static bool add_int(fh_jrun *r, const spec *p, int64_t v) {
    char digits[80];
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    size_t n = sizeof digits - 1;
    unsigned base = p->type == 'b' ? 2 : p->type == 'o' ? 8 : (p->type | 32) == 'x' ? 16 : 10;
    const char *prefix = !p->alt || base == 10 ? ""
                         : base == 2           ? "0b"
                         : base == 8           ? "0o"
                         : p->type == 'X'      ? "0X"
                                               : "0x";
    digits[n] = '\0';
    do {
        digits[--n] = (p->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
        u /= base;
    } while (u);
    return add_number(r, p, v < 0, prefix, digits + n);
}

static bool add_float(fh_jrun *r, const spec *p, double v) {
    char digits[1200];
    char type = p->type ? p->type : p->precision >= 0 ? 'g' : 'r';
    int precision = (int)(p->precision < 0 ? 6 : p->precision);
    bool minus = signbit(v) && !isnan(v);
    double a = fabs(v);
    if (type == 'n') type = 'g';
    if (type == '%') a *= 100;
    if (isnan(v) || isinf(v)) {
        bool upper = type == 'F' || type == 'E' || type == 'G';
        snprintf(digits, sizeof digits, "%s%s",
                 isnan(v) ? (upper ? "NAN" : "nan")
                 : upper  ? "INF"
                          : "inf",
                 type == '%' ? "%" : "");
    } else {
        switch (type) {
        case 'r': {
            char text[FH_J_FLOAT_TEXT];
            size_t n = fh_jinja_float_text(a, text);
            snprintf(digits, sizeof digits, "%.*s", (int)n, text);
            break;
        }
        case 'e': snprintf(digits, sizeof digits, "%.*e", precision, a); break;
        case 'E': snprintf(digits, sizeof digits, "%.*E", precision, a); break;
        case 'g': snprintf(digits, sizeof digits, p->alt ? "%#.*g" : "%.*g", precision, a); break;
        case 'G': snprintf(digits, sizeof digits, p->alt ? "%#.*G" : "%.*G", precision, a); break;
        case '%': snprintf(digits, sizeof digits, "%.*f%%", precision, a); break;
        default: snprintf(digits, sizeof digits, "%.*f", precision, a); break;
        }
        if (!p->type && p->precision >= 0 && !strpbrk(digits, ".e") && strlen(digits) < 1100)
            memcpy(digits + strlen(digits), ".0", 3);
    }
    return add_number(r, p, minus, "", digits);
}

static bool add_text(fh_jrun *r, const spec *p, fh_jval s, char align) {
    size_t from = r->out.len;
    if (p->precision >= 0) s = fh_jinja_cut(s, 0, fh_jinja_byte_at(s, (size_t)p->precision));
    return fh_jinja_add_str(r, &r->out, s) && add_padded(r, p, from, align);
}

static bool is_plain(const spec *p) {
    return !p->n_fill && !p->align && !p->sign && !p->comma && !p->type && !p->alt && !p->zero && p->width < 0 &&
           p->precision < 0;
}

/* format(v, spec) */
static bool add_value(fh_jrun *r, const spec *p, fh_jval v) {
    char type = p->type;
    if (is_plain(p)) return fh_jinja_add_str(r, &r->out, v);
    if (p->width > MAX_WIDTH || p->precision > 500) return fh_jinja_fail(r, "a format's width is too large");
    if (v.kind == FH_J_STR) {
        if ((type && type != 's') || p->sign || p->comma || p->alt || p->align == '=')
            return fh_jinja_fail(r, "invalid format specification for a text");
        return add_text(r, p, v, p->align ? p->align : '<');
    }
    if (!fh_jval_is_number(v))
        return fh_jinja_fail(r, "unsupported format string passed to %s.__format__", fh_jinja_type(v));
    bool as_float = v.kind == FH_J_FLOAT || (type && strchr("eEfFgG%", type));
    if (as_float) {
        if (type && !strchr("eEfFgGn%", type)) return fh_jinja_fail(r, "unknown format code '%c' for a float", type);
        return add_float(r, p, fh_jval_to_double(v));
    }
    if (p->precision >= 0) return fh_jinja_fail(r, "precision is not allowed in an integer's format");
    if (type == 'c') {
        char four[4];
        if (v.u.i < 0 || v.u.i > 0x10FFFF || (v.u.i >= 0xD800 && v.u.i < 0xE000))
            return fh_jinja_fail(r, "%%c: the number is no character");
        size_t n = fh_jinja_encode((uint32_t)v.u.i, four);
        fh_jval s;
        return fh_jinja_text(r, (fh_str){four, n}, &s) && add_text(r, p, s, p->align ? p->align : '<');
    }
    if (type && !strchr("bdonxX", type)) return fh_jinja_fail(r, "unknown format code '%c' for an integer", type);
    return add_int(r, p, v.u.i);
}

static bool take_number(fh_str s, size_t *at, int64_t *out) {
    size_t from = *at;
    int64_t v = 0;
    for (; *at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9'; ++*at)
        if (v <= MAX_WIDTH) v = v * 10 + (s.ptr[*at] - '0');
    if (*at > from) *out = v;
    return *at > from;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool parse_spec(fh_jrun *r, fh_str s, spec *p) {
    size_t at = 0, n;
    *p = (spec){.width = -1, .precision = -1};
    if (s.len) {
        (void)fh_jinja_decode(s.ptr, s.len, &n);
        if (n < s.len && strchr("<>=^", s.ptr[n]) && s.ptr[n]) {
            memcpy(p->fill, s.ptr, n);
            p->n_fill = n;
            p->align = s.ptr[n];
            at = n + 1;
        } else if (strchr("<>=^", s.ptr[0]) && s.ptr[0]) {
            p->align = s.ptr[0];
            at = 1;
        }
    }
    if (at < s.len && (s.ptr[at] == '+' || s.ptr[at] == '-' || s.ptr[at] == ' ')) p->sign = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '#') p->alt = at++ < s.len;
    if (at < s.len && s.ptr[at] == '0') p->zero = at++ < s.len;
    (void)take_number(s, &at, &p->width);
    if (at < s.len && (s.ptr[at] == ',' || s.ptr[at] == '_')) p->comma = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '.') {
        at++;
        if (!take_number(s, &at, &p->precision)) return fh_jinja_fail(r, "a format lacks its precision");
    }
    if (at < s.len) p->type = s.ptr[at++];
    return at == s.len || fh_jinja_fail(r, "invalid format specification '%.*s'", FH_STR_ARG(s));
}

/* ---- "%s" % x ---- */

typedef struct percent {
    fh_jrun *r;
    fh_jval args;
    uint32_t at;
} percent;

static bool next_arg(percent *p, fh_jval *out) {
    bool tuple = p->args.kind == FH_J_TUPLE;
    uint32_t n = tuple ? p->args.u.list->n : 1;
    if (p->at >= n) return fh_jinja_fail(p->r, "not enough arguments for format string");
    *out = tuple ? p->args.u.list->item[p->at] : p->args;
    p->at++;
    return true;
}

/* A width or a precision: digits or '*'. */
static bool star_or_number(percent *p, fh_str f, size_t *at, int64_t *out) {
    fh_jval v;
    if (*at >= f.len || f.ptr[*at] != '*') {
        (void)take_number(f, at, out);
        return true;
    }
    ++*at;
    return next_arg(p, &v) && fh_jinja_arg_int(p->r, v, "a width", out);
}

static bool add_directive(percent *p, spec *s, fh_jval v) {
    fh_jrun *r = p->r;
    char type = s->type;
    if (type == 's' || type == 'r' || type == 'a') {
        if (!(type == 's' ? fh_jinja_str(r, v, &v) : fh_jinja_repr(r, v, &v))) return false;
        s->zero = false;
        return add_text(r, s, v, s->align ? s->align : '>');
    }
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (type == 'c' && v.kind == FH_J_STR && fh_jinja_count(v) == 1)
        return add_text(r, s, v, s->align ? s->align : '>');
    if (!fh_jval_is_number(v))
        return fh_jinja_fail(r, "%%%c format: a real number is required, not %s", type, fh_jinja_type(v));
    if (s->align == '<') s->zero = false;
    if (type == 'c') {
        s->align = s->align ? s->align : '>';
        return add_value(r, s, v);
    }
    if (strchr("diu", type)) {
        if (v.kind == FH_J_FLOAT && !fh_jinja_float_to_int(r, v.u.f, &v)) return false;
        s->type = 'd';
        s->precision = -1;
    }
    if (strchr("oxX", type) && v.kind == FH_J_FLOAT)
        return fh_jinja_fail(r, "%%%c format: an integer is required, not float", type);
    if (!strchr("diuoxXeEfFgG", type)) return fh_jinja_fail(r, "unsupported format character '%c'", type);
    if (v.kind == FH_J_BOOL) v.kind = FH_J_INT;
    return add_value(r, s, v);
}

static bool one_directive(percent *p, fh_str f, size_t *at, bool *mapped) {
    spec s = {.width = -1, .precision = -1};
    fh_jval v = {.kind = FH_J_MISSING}, *found;
    if (*at < f.len && f.ptr[*at] == '(') {
        size_t end;
        if (!fh_str_find(fh_str_drop(f, *at), ')', &end)) return fh_jinja_fail(p->r, "incomplete format key");
        if (p->args.kind != FH_J_DICT) return fh_jinja_fail(p->r, "format requires a mapping");
        fh_str key = {f.ptr + *at + 1, end - 1};
        found = fh_jinja_dict_str(p->r, p->args.u.dict, key);
        if (!found) return fh_jinja_fail(p->r, "the format's key '%.*s' is not there", FH_STR_ARG(key));
        v = *found;
        *mapped = true;
        *at += end + 1;
    }
    for (; *at < f.len && strchr("-+ #0", f.ptr[*at]) && f.ptr[*at]; ++*at) {
        char c = f.ptr[*at];
        if (c == '-') s.align = '<';
        else if (c == '0') s.zero = true;
        else if (c == '#') s.alt = true;
        else if (s.sign != '+') s.sign = c;
    }
    if (!star_or_number(p, f, at, &s.width)) return false;
    if (*at < f.len && f.ptr[*at] == '.') {
        ++*at;
        s.precision = 0;
        if (!star_or_number(p, f, at, &s.precision)) return false;
    }
    while (*at < f.len && strchr("hlL", f.ptr[*at]) && f.ptr[*at]) ++*at;
    if (*at >= f.len) return fh_jinja_fail(p->r, "incomplete format");
    s.type = f.ptr[(*at)++];
    if (s.width > MAX_WIDTH || s.precision > 500) return fh_jinja_fail(p->r, "a format's width is too large");
    if (s.type == '%') {
        fh_buf_add_byte(&p->r->out, '%');
        return true;
    }
    if (v.kind == FH_J_MISSING && !next_arg(p, &v)) return false;
    return add_directive(p, &s, v);
}

bool fh_jinja_percent(fh_jrun *r, fh_jval format, fh_jval args, fh_jval *out) {
    fh_str f = fh_jval_text(format);
    percent p = {.r = r, .args = args};
    size_t from = r->out.len, at = 0;
    bool mapped = false;
    while (at < f.len) {
        size_t n;
        fh_str rest = fh_str_drop(f, at);
        if (!fh_str_find(rest, '%', &n)) n = rest.len;
        fh_buf_add(&r->out, rest.ptr, n);
        at += n;
        if (at == f.len) break;
        at++;
        if (!fh_jinja_pay(r, 1) || !one_directive(&p, f, &at, &mapped)) return false;
    }
    /* What has elements by key or index counts as a mapping, whose elements need not all be used. */
    bool mapping =
        args.kind == FH_J_DICT || args.kind == FH_J_LIST || args.kind == FH_J_RANGE || args.kind == FH_J_UNDEF;
    uint32_t n_arg = args.kind == FH_J_TUPLE ? args.u.list->n : mapping ? 0 : 1;
    if (!mapped && p.at < n_arg) return fh_jinja_fail(r, "not all arguments converted during string formatting");
    if (!fh_jinja_take(r, from, out)) return false;
    out->flag |= format.flag & FH_J_SAFE;
    return true;
}

/* ---- "{}".format(x) ---- */

typedef struct braces {
    fh_jrun *r;
    const fh_jargs *args;
    uint32_t next;
    bool numbered, automatic;
} braces;

static bool add_format(braces *b, fh_str f, int depth);

/* The argument that a field's first part names. */
static bool first_part(braces *b, fh_str name, fh_jval *out) {
    fh_jval n = fh_jval_int(0);
    if (name.len == 0) {
        if (b->numbered) return fh_jinja_fail(b->r, "format: numbered and automatic fields are mixed");
        b->automatic = true;
        n = fh_jval_int(b->next++);
    } else if (fh_jinja_parse_int(name, 10, &n) && n.kind == FH_J_INT) {
        if (b->automatic) return fh_jinja_fail(b->r, "format: numbered and automatic fields are mixed");
        b->numbered = true;
    } else {
        for (uint32_t i = 0; i < b->args->n_kw; i++)
            if (fh_str_eq(b->args->kw[i].name, name)) {
                *out = b->args->kw[i].value;
                return true;
            }
        return fh_jinja_fail(b->r, "format: no argument is named '%.*s'", FH_STR_ARG(name));
    }
    if (n.u.i < 0 || n.u.i >= b->args->n_pos)
        return fh_jinja_fail(b->r, "format: argument %lld is not there", (long long)n.u.i);
    *out = b->args->pos[n.u.i];
    return true;
}

/* "0.name[key]" */
static bool field_value(braces *b, fh_str path, fh_jval *out) {
    size_t at = 0, from;
    while (at < path.len && path.ptr[at] != '.' && path.ptr[at] != '[') at++;
    if (!first_part(b, fh_str_first(path, at), out)) return false;
    while (at < path.len) {
        bool item = path.ptr[at++] == '[';
        from = at;
        while (at < path.len && (item ? path.ptr[at] != ']' : path.ptr[at] != '.' && path.ptr[at] != '[')) at++;
        fh_jval key = fh_jval_str((fh_str){path.ptr + from, at - from}), number;
        if (item && at++ == path.len) return fh_jinja_fail(b->r, "format: missing ']'");
        if (item && fh_jinja_parse_int(fh_jval_text(key), 10, &number)) key = number;
        if (!(item ? fh_jinja_getitem(b->r, *out, key, out) : fh_jinja_getattr(b->r, *out, key, out))) return false;
    }
    return true;
}

static bool add_field(braces *b, fh_str field, int depth) {
    size_t end = field.len, colon = 0, bang;
    fh_str text = FH_STR("");
    fh_jval v, made;
    spec s;
    char conversion = '\0';
    int open = 0;
    for (; colon < field.len && (field.ptr[colon] != ':' || open); colon++)
        open += field.ptr[colon] == '[' ? 1 : field.ptr[colon] == ']' ? -1 : 0;
    if (colon < field.len) {
        text = fh_str_drop(field, colon + 1);
        end = colon;
    }
    fh_str name = fh_str_first(field, end);
    if (fh_str_find(name, '!', &bang)) {
        if (bang + 2 != name.len) return fh_jinja_fail(b->r, "format: a conversion is one character");
        conversion = name.ptr[bang + 1];
        name.len = bang;
    }
    if (!field_value(b, name, &v)) return false;
    if (conversion == 's' && !fh_jinja_str(b->r, v, &v)) return false;
    if ((conversion == 'r' || conversion == 'a') && !fh_jinja_repr(b->r, v, &v)) return false;
    if (conversion && !strchr("sra", conversion))
        return fh_jinja_fail(b->r, "format: unknown conversion '%c'", conversion);
    if (text.len && memchr(text.ptr, '{', text.len)) {
        size_t from = b->r->out.len;
        if (!add_format(b, text, depth + 1) || !fh_jinja_take(b->r, from, &made)) return false;
        text = fh_jval_text(made);
    }
    return parse_spec(b->r, text, &s) && add_value(b->r, &s, v);
}

static bool add_format(braces *b, fh_str f, int depth) {
    if (depth > 2) return fh_jinja_fail(b->r, "format: fields are nested too deeply");
    for (size_t at = 0; at < f.len;) {
        char c = f.ptr[at];
        if (c != '{' && c != '}') {
            size_t from = at;
            while (at < f.len && f.ptr[at] != '{' && f.ptr[at] != '}') at++;
            fh_buf_add(&b->r->out, f.ptr + from, at - from);
            continue;
        }
        if (at + 1 < f.len && f.ptr[at + 1] == c) {
            fh_buf_add_byte(&b->r->out, (uint8_t)c);
            at += 2;
            continue;
        }
        if (c == '}') return fh_jinja_fail(b->r, "format: single '}' encountered");
        size_t from = ++at;
        for (int open = 1; at < f.len; at++) {
            open += f.ptr[at] == '{' ? 1 : f.ptr[at] == '}' ? -1 : 0;
            if (open == 0) break;
        }
        if (at == f.len) return fh_jinja_fail(b->r, "format: single '{' encountered");
        if (!fh_jinja_pay(b->r, 1) || !add_field(b, (fh_str){f.ptr + from, at - from}, depth)) return false;
        at++;
    }
    return true;
}

bool fh_jinja_format(fh_jrun *r, fh_jval format, const fh_jargs *a, fh_jval *out) {
    braces b = {.r = r, .args = a};
    size_t from = r->out.len;
    return add_format(&b, fh_jval_text(format), 0) && fh_jinja_take(r, from, out);
}
