/* text/jinja_number.c - arithmetic, and numbers to and from text, as Python has them.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Integers are 64 bits wide: what would overflow is an error that says so, never another number.
 * Doubles print with the fewest digits that read back the same. */
#include <math.h>
#include <stdlib.h>

#include "base/num.h"
#include "text/jinja_lib.h"

/* ---- text of doubles ---- */

/* Fewest digits that give v back, without trailing zeros; the value is 0.DIGITS * 10^*point. */
static size_t shortest_digits(double v, char digits[20], int *point) {
    char text[40];
    size_t n = 0;
    /* Up to 15 digits survive a double, so the 15 that read back are the fewest, but for zeros at their end. Numbers
     * below the normal range have fewer. */
    for (int precision = v < 2.3e-308 ? 1 : 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, v);
        if (precision == 17 || strtod(text, NULL) == v) break;
    }
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    *point = (int)strtol(p + 1, NULL, 10) + 1;
    while (n > 1 && digits[n - 1] == '0') n--;
    return n;
}

size_t fh_jinja_float_text(double v, char out[FH_J_FLOAT_TEXT]) {
    char digits[20];
    int point;
    size_t k = 0;
    if (isnan(v)) return (size_t)snprintf(out, FH_J_FLOAT_TEXT, "nan");
    if (isinf(v)) return (size_t)snprintf(out, FH_J_FLOAT_TEXT, v < 0 ? "-inf" : "inf");
    if (signbit(v)) out[k++] = '-';
    if (v == 0) {
        memcpy(out + k, "0.0", 3);
        return k + 3;
    }
    int n = (int)shortest_digits(fabs(v), digits, &point);
    if (point <= -4 || point > 16) {
        out[k++] = digits[0];
        if (n > 1) {
            out[k++] = '.';
            memcpy(out + k, digits + 1, (size_t)n - 1);
            k += (size_t)n - 1;
        }
        return k + (size_t)snprintf(out + k, 8, "e%c%02d", point - 1 < 0 ? '-' : '+', abs(point - 1));
    }
    if (point <= 0) {
        memcpy(out + k, "0.", 2);
        k += 2;
        for (int i = point; i < 0; i++) out[k++] = '0';
        memcpy(out + k, digits, (size_t)n);
        return k + (size_t)n;
    }
    for (int i = 0; i < point; i++) out[k++] = i < n ? digits[i] : '0';
    out[k++] = '.';
    if (n <= point) out[k++] = '0';
    for (int i = point; i < n; i++) out[k++] = digits[i];
    return k;
}

/* ---- reading ---- */

static fh_str trimmed(fh_str s) { return fh_jval_text(fh_jinja_strip(fh_jval_str(s), NULL, true, true)); }

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

bool fh_jinja_parse_int(fh_str s, int base, fh_jval *out) {
    s = trimmed(s);
    size_t at = 0;
    bool minus = s.len && s.ptr[0] == '-', overflow = false;
    int64_t v = 0;
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) at = 1;
    char mark = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
    if (mark && s.len - at > 2 && s.ptr[at] == '0' && (s.ptr[at + 1] | 32) == mark) at += 2;
    while (s.len - at > 1 && s.ptr[at] == '0' && s.ptr[at + 1] != '_') at++;
    if (at == s.len || base < 2 || base > 36) return false;
    for (size_t i = at; i < s.len; i++) {
        if (s.ptr[i] == '_' && i > at && i + 1 < s.len && s.ptr[i - 1] != '_') continue;
        int d = digit_of(s.ptr[i]);
        if (d >= base) return false;
        /* downwards, so that the least integer fits too */
        overflow =
            overflow || __builtin_mul_overflow(v, (int64_t)base, &v) || __builtin_sub_overflow(v, (int64_t)d, &v);
    }
    if (!minus && v == INT64_MIN) overflow = true;
    if (!overflow) {
        *out = fh_jval_int(minus ? v : -v);
        return true;
    }
    if (base != 10 || memchr(s.ptr, '_', s.len)) return false;
    *out = fh_jval_str((fh_str){s.ptr + at, s.len - at});
    if (minus && at == 1) *out = fh_jval_str(s);
    else if (minus) return false; /* -000123...: nobody writes that */
    out->kind = FH_J_BIG;
    return true;
}

static bool is_word(fh_str s, const char *word) {
    size_t i = 0;
    for (; i < s.len && word[i]; i++)
        if ((s.ptr[i] | 32) != word[i]) return false;
    return !word[i] && i == s.len;
}

/* Digits, with '_' between them left out, to out[*n..]; how many there were. */
static size_t copy_digits(fh_str s, size_t *at, char *out, size_t *n) {
    size_t from = *n;
    for (; *at < s.len; ++*at) {
        char c = s.ptr[*at];
        if (c >= '0' && c <= '9') out[(*n)++] = c;
        else if (c != '_' || *n == from || *at + 1 == s.len || s.ptr[*at + 1] < '0' || s.ptr[*at + 1] > '9') break;
    }
    return *n - from;
}

bool fh_jinja_parse_float(fh_str s, double *out) {
    char text[800];
    size_t at = 0, n = 0, from, whole, fraction = 0;
    s = trimmed(s);
    if (s.len == 0 || s.len > sizeof text - 8) return false;
    bool minus = s.ptr[0] == '-';
    if (minus || s.ptr[0] == '+') at = 1;
    fh_str rest = fh_str_drop(s, at);
    if (is_word(rest, "inf") || is_word(rest, "infinity")) return *out = minus ? -INFINITY : INFINITY, true;
    if (is_word(rest, "nan")) return *out = (double)NAN, true;
    if (minus) text[n++] = '-';
    while (at + 1 < s.len && s.ptr[at] == '0' && s.ptr[at + 1] >= '0' && s.ptr[at + 1] <= '9') at++;
    from = n;
    whole = copy_digits(s, &at, text, &n);
    if (!whole) text[n++] = '0';
    if (at < s.len && s.ptr[at] == '.') {
        at++;
        text[n++] = '.';
        fraction = copy_digits(s, &at, text, &n);
        if (!fraction) text[n++] = '0';
    }
    if (!whole && !fraction) return false;
    if (at < s.len && (s.ptr[at] | 32) == 'e') {
        at++;
        text[n++] = 'e';
        if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+')) text[n++] = s.ptr[at++];
        if (!copy_digits(s, &at, text, &n)) return false;
    }
    if (at != s.len) return false;
    if (fh_json_text_f64((fh_str){text, n}, out)) return true;
    *out = minus ? -INFINITY : INFINITY; /* too large */
    return from <= n;
}

bool fh_jinja_float_to_int(fh_jrun *r, double f, fh_jval *out) {
    if (!(f > -9223372036854775809.0 && f < 9223372036854775808.0))
        return fh_jinja_fail(r, "the float is too large for an integer of 64 bits");
    *out = fh_jval_int((int64_t)f);
    return true;
}

bool fh_jinja_round(fh_jrun *r, fh_jval v, int64_t digits, fh_jval *out) {
    char text[FH_J_FLOAT_TEXT];
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (!fh_jval_is_number(v)) return fh_jinja_fail(r, "type %s cannot be rounded", fh_jinja_type(v));
    *out = v;
    if (v.kind == FH_J_BOOL) out->kind = FH_J_INT;
    if (digits < 0 && digits > -19 && v.kind != FH_J_FLOAT) {
        int64_t unit = 1;
        for (int64_t i = digits; i < 0; i++) unit *= 10;
        int64_t rest = v.u.i % unit, down = v.u.i - rest;
        if (rest < 0) rest += unit, down -= unit;
        bool up = rest > unit / 2 || (rest == unit / 2 && down / unit % 2 != 0);
        *out = fh_jval_int(up ? down + unit : down);
    }
    if (v.kind != FH_J_FLOAT || !isfinite(v.u.f) || digits > 22) return true;
    if (digits < 0) {
        double unit = pow(10, (double)-FH_MAX(digits, -308));
        *out = fh_jval_float(rint(v.u.f / unit) * unit);
        return true;
    }
    snprintf(text, sizeof text, "%.*f", (int)digits, v.u.f);
    *out = fh_jval_float(strtod(text, NULL));
    return true;
}

/* ---- arithmetic ---- */

static const char *sign_of(int op) {
    switch (op) {
    case '+': return "+";
    case '-': return "-";
    case '*': return "*";
    case '/': return "/";
    case 'd': return "//";
    case 'p': return "**";
    default: return "%";
    }
}

static bool overflow(fh_jrun *r, int op) {
    return fh_jinja_fail(r, "integers beyond 64 bits are not supported ('%s')", sign_of(op));
}

static bool unsupported(fh_jrun *r, int op, fh_jval a, fh_jval b) {
    if (a.kind == FH_J_BIG || b.kind == FH_J_BIG) return overflow(r, op);
    return fh_jinja_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", sign_of(op), fh_jinja_type(a),
                         fh_jinja_type(b));
}

static bool power_int(fh_jrun *r, int64_t base, int64_t exp, fh_jval *out) {
    int64_t v = 1;
    if (exp < 0) {
        if (base == 0) return fh_jinja_fail(r, "0.0 cannot be raised to a negative power");
        *out = fh_jval_float(pow((double)base, (double)exp));
        return true;
    }
    while (exp > 0) {
        if (exp & 1 && __builtin_mul_overflow(v, base, &v)) return overflow(r, 'p');
        exp >>= 1;
        if (exp > 0 && __builtin_mul_overflow(base, base, &base)) return overflow(r, 'p');
    }
    *out = fh_jval_int(v);
    return true;
}

static bool arith_int(fh_jrun *r, int op, int64_t a, int64_t b, fh_jval *out) {
    int64_t v = 0;
    bool bad = false;
    switch (op) {
    case '+': bad = __builtin_add_overflow(a, b, &v); break;
    case '-': bad = __builtin_sub_overflow(a, b, &v); break;
    case '*': bad = __builtin_mul_overflow(a, b, &v); break;
    case 'p': return power_int(r, a, b, out);
    default:
        if (b == 0) return fh_jinja_fail(r, op == '/' ? "division by zero" : "integer division or modulo by zero");
        if (op == '/') {
            *out = fh_jval_float((double)a / (double)b);
            return true;
        }
        if (a == INT64_MIN && b == -1) return op == '%' ? (*out = fh_jval_int(0), true) : overflow(r, op);
        v = op == 'd' ? a / b : a % b;
        if (a % b != 0 && (a % b < 0) != (b < 0)) v = op == 'd' ? v - 1 : v + b;
        break;
    }
    if (bad) return overflow(r, op);
    *out = fh_jval_int(v);
    return true;
}

static bool arith_float(fh_jrun *r, int op, double a, double b, fh_jval *out) {
    double v = 0, m;
    switch (op) {
    case '+': v = a + b; break;
    case '-': v = a - b; break;
    case '*': v = a * b; break;
    case 'p':
        if (a == 0 && b < 0) return fh_jinja_fail(r, "0.0 cannot be raised to a negative power");
        if (a < 0 && b != floor(b)) return fh_jinja_fail(r, "complex numbers are not supported");
        v = pow(a, b);
        if (isinf(v) && isfinite(a) && isfinite(b)) return fh_jinja_fail(r, "numerical result out of range");
        break;
    default:
        if (b == 0) return fh_jinja_fail(r, op == '%' ? "float modulo" : "float division by zero");
        m = fmod(a, b);
        if (op == '/') v = a / b;
        else if (op == '%') v = m != 0 && (m < 0) != (b < 0) ? m + b : m != 0 ? m : copysign(0, b);
        else {
            if (m != 0 && (m < 0) != (b < 0)) m += b;
            v = (a - m) / b;
            double whole = floor(v);
            v = v - whole > 0.5 ? whole + 1 : whole;
        }
        break;
    }
    *out = fh_jval_float(v);
    return true;
}

static bool join_lists(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out) {
    uint64_t n = (uint64_t)a.u.list->n + b.u.list->n;
    if (n > UINT32_MAX / 64) return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a list becomes too long");
    fh_jlist *l = fh_jinja_list(r, (uint32_t)n);
    if (!l) return false;
    if (a.u.list->n) memcpy(l->item, a.u.list->item, a.u.list->n * sizeof *l->item);
    if (b.u.list->n) memcpy(l->item + a.u.list->n, b.u.list->item, b.u.list->n * sizeof *l->item);
    l->n = (uint32_t)n;
    *out = a;
    out->u.list = l;
    return true;
}

static bool repeat_list(fh_jrun *r, fh_jval a, int64_t times, fh_jval *out) {
    uint64_t n;
    uint32_t len = a.u.list->n;
    if (times < 0) times = 0;
    if (!fh_mul_u64(len, (uint64_t)times, &n) || n > UINT32_MAX / 64)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "a list repeated %lld times is too long", (long long)times);
    fh_jlist *l = fh_jinja_list(r, (uint32_t)n);
    if (!l) return false;
    for (uint32_t i = 0; i < (uint32_t)n; i++) l->item[i] = a.u.list->item[i % len];
    l->n = (uint32_t)n;
    *out = a;
    out->u.list = l;
    return true;
}

static bool add(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out) {
    if (a.kind == FH_J_STR && b.kind == FH_J_STR) {
        bool safe = (a.flag | b.flag) & FH_J_SAFE;
        if (safe && (!fh_jinja_escape(r, a, &a) || !fh_jinja_escape(r, b, &b))) return false;
        if (!fh_jinja_concat(r, a, b, out)) return false;
        if (safe) out->flag |= FH_J_SAFE;
        return true;
    }
    if (fh_jval_is_seq(a) && a.kind == b.kind) return join_lists(r, a, b, out);
    if (a.kind == FH_J_STR || fh_jval_is_seq(a))
        return fh_jinja_fail(r, "can only concatenate %s (not \"%s\") to %s", fh_jinja_type(a), fh_jinja_type(b),
                             fh_jinja_type(a));
    return unsupported(r, '+', a, b);
}

bool fh_jinja_arith(fh_jrun *r, int op, fh_jval a, fh_jval b, fh_jval *out) {
    if (fh_jval_is_int(a) && fh_jval_is_int(b)) return arith_int(r, op, a.u.i, b.u.i, out);
    if (fh_jval_is_number(a) && fh_jval_is_number(b))
        return arith_float(r, op, fh_jval_to_double(a), fh_jval_to_double(b), out);
    if (op == '%' && a.kind == FH_J_STR) return fh_jinja_percent(r, a, b, out);
    if (a.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, a);
    if (b.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, b);
    if (op == '+') return add(r, a, b, out);
    if (op != '*') return unsupported(r, op, a, b);
    if (fh_jval_is_int(a)) {
        fh_jval swap = a;
        a = b;
        b = swap;
    }
    if (fh_jval_is_int(b)) {
        if (a.kind == FH_J_STR) return fh_jinja_repeat(r, a, b.u.i, out);
        if (fh_jval_is_seq(a)) return repeat_list(r, a, b.u.i, out);
    }
    if (a.kind == FH_J_STR || fh_jval_is_seq(a))
        return fh_jinja_fail(r, "can't multiply sequence by non-int of type '%s'", fh_jinja_type(b));
    return unsupported(r, op, a, b);
}

bool fh_jinja_negate(fh_jrun *r, fh_jval v, bool minus, fh_jval *out) {
    if (v.kind == FH_J_UNDEF) return fh_jinja_fail_undef(r, v);
    if (v.kind == FH_J_FLOAT) {
        *out = fh_jval_float(minus ? -v.u.f : v.u.f);
        return true;
    }
    if (v.kind == FH_J_BIG && minus) { /* the least integer is written as the negative of one that is too large */
        fh_jval text;
        bool has_sign = v.u.s[0] == '-';
        if (has_sign) text = fh_jinja_cut(v, 1, v.len);
        else if (!fh_jinja_printf(r, &text, "-%.*s", (int)FH_MIN(v.len, 1000u), v.u.s)) return false;
        return v.len < 1000 && fh_jinja_parse_int(fh_jval_text(text), 10, out) ? true : overflow(r, '-');
    }
    if (!fh_jval_is_int(v))
        return fh_jinja_fail(r, "bad operand type for unary %c: '%s'", minus ? '-' : '+', fh_jinja_type(v));
    if (minus && v.u.i == INT64_MIN) return overflow(r, '-');
    *out = fh_jval_int(minus ? -v.u.i : v.u.i);
    return true;
}
