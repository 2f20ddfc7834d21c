/* base/json_number.c - numbers of JSON: their grammar, exact conversions, shortest text.
 * SPDX-License-Identifier: Apache-2.0
 * Integers: any spelling of an integral value that fits is exact (2048.0 and 1e6 occur in published
 * configs). Doubles: correctly rounded. Neither direction depends on the locale: libc sees and
 * gives digits and an exponent only, never a decimal point. Time is linear in the text, memory is a
 * fixed buffer. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_part.h"
#include "base/num.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t skip_digits(fh_str s, size_t at) {
    while (at < s.len && is_digit(s.ptr[at])) at++;
    return at;
}

static size_t missing(const char **expected, const char *what, size_t *at, size_t where) {
    *expected = what;
    *at = where;
    return 0;
}

size_t fh_json_number_scan(fh_str text, fh_json_number *n, const char **expected, size_t *at) {
    fh_json_number r = {{NULL, 0}, {NULL, 0}, 0, false};
    size_t i = 0;
    if (i < text.len && text.ptr[i] == '-') {
        r.negative = true;
        i++;
    }
    size_t from = i;
    i = skip_digits(text, i);
    if (i == from) return missing(expected, "a digit", at, i);
    if (i - from > 1 && text.ptr[from] == '0') return missing(expected, "no digit behind a leading zero", at, from + 1);
    r.whole = (fh_str){text.ptr + from, i - from};
    if (i < text.len && text.ptr[i] == '.') {
        from = i + 1;
        i = skip_digits(text, from);
        if (i == from) return missing(expected, "a digit behind the decimal point", at, i);
        r.fraction = (fh_str){text.ptr + from, i - from};
    }
    if (i < text.len && (text.ptr[i] == 'e' || text.ptr[i] == 'E')) {
        i++;
        bool minus = i < text.len && text.ptr[i] == '-';
        if (minus || (i < text.len && text.ptr[i] == '+')) i++;
        from = i;
        i = skip_digits(text, from);
        if (i == from) return missing(expected, "a digit in the exponent", at, i);
        for (size_t k = from; k < i && r.exponent < FH_JSON_EXPONENT_MAX; k++)
            r.exponent = FH_MIN(r.exponent * 10 + (text.ptr[k] - '0'), FH_JSON_EXPONENT_MAX);
        if (minus) r.exponent = -r.exponent;
    }
    *n = r;
    return i;
}

/* The whole text is one number. */
static bool scan_all(fh_str text, fh_json_number *n) {
    const char *expected;
    size_t at, len = fh_json_number_scan(text, n, &expected, &at);
    return len != 0 && len == text.len;
}

static size_t n_digits(const fh_json_number *n) { return n->whole.len + n->fraction.len; }

static unsigned digit_at(const fh_json_number *n, size_t i) {
    char c = i < n->whole.len ? n->whole.ptr[i] : n->fraction.ptr[i - n->whole.len];
    return (unsigned)(c - '0');
}

/* |value| as an integer; false when it has a fraction or does not fit. */
static bool magnitude(const fh_json_number *n, uint64_t *out) {
    /* Digits before `point` are whole. Lengths are below 2^62, so the sum fits. */
    int64_t point = (int64_t)n->whole.len + n->exponent;
    size_t count = n_digits(n);
    uint64_t v = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned d = digit_at(n, i);
        if ((int64_t)i >= point) {
            if (d != 0) return false;
        } else if (!fh_mul_u64(v, 10, &v) || !fh_add_u64(v, d, &v)) {
            return false;
        }
    }
    for (int64_t i = (int64_t)count; i < point && v != 0; i++)
        if (!fh_mul_u64(v, 10, &v)) return false;
    *out = v;
    return true;
}

bool fh_json_text_u64(fh_str number, uint64_t *out) {
    fh_json_number n;
    uint64_t v;
    if (!scan_all(number, &n) || !magnitude(&n, &v)) return false;
    if (n.negative && v != 0) return false;
    *out = v;
    return true;
}

bool fh_json_text_i64(fh_str number, int64_t *out) {
    fh_json_number n;
    uint64_t v;
    if (!scan_all(number, &n) || !magnitude(&n, &v)) return false;
    if (v > (uint64_t)INT64_MAX + (n.negative ? 1 : 0)) return false;
    if (n.negative) *out = v == 0 ? 0 : -(int64_t)(v - 1) - 1;
    else *out = (int64_t)v;
    return true;
}

/* ---- doubles ---- */

/* A point half-way between two doubles has at most 768 significant digits: beyond these it only
 * matters whether anything but zeros follows, and one more digit says so. */
#define MAX_DIGITS 780

/* digits x 10^exponent, correctly rounded; text has room for 32 bytes behind the digits. */
static double from_digits(char *text, size_t len, int64_t exponent) {
    int e = (int)FH_MAX(-9999, FH_MIN(exponent, 9999)); /* far out: infinity or zero */
    snprintf(text + len, 32, "e%d", e);
    return strtod(text, NULL);
}

static double magnitude_f64(const fh_json_number *n) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    char text[MAX_DIGITS + 1 + 32];
    size_t kept = 0, i = 0, count = n_digits(n);
    uint64_t head = 0; /* the first 19 digits as a number */
    while (i < count && digit_at(n, i) == 0) i++;
    for (; i < count && kept < MAX_DIGITS; i++, kept++) {
        text[kept] = (char)('0' + digit_at(n, i));
        if (kept < 19) head = head * 10 + digit_at(n, i);
    }
    if (kept == 0) return 0;
    int64_t exponent = n->exponent + (int64_t)n->whole.len - (int64_t)i; /* of the last kept */
    bool more = false;
    for (; i < count && !more; i++) more = digit_at(n, i) != 0;
    if (more) {
        text[kept++] = '1';
        exponent--;
    }
    /* Both factors are exact, so the one operation rounds once. */
    if (kept <= 19 && head <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)head / tens[-exponent] : (double)head * tens[exponent];
    return from_digits(text, kept, exponent);
}

bool fh_json_text_f64(fh_str number, double *out) {
    fh_json_number n;
    if (!scan_all(number, &n)) {
        if (fh_str_is(number, "NaN")) *out = (double)NAN;
        else if (fh_str_is(number, "Infinity")) *out = (double)INFINITY;
        else if (fh_str_is(number, "-Infinity")) *out = -(double)INFINITY;
        else return false;
        return true;
    }
    double v = magnitude_f64(&n);
    if (isinf(v)) return false;
    *out = n.negative ? -v : v;
    return true;
}

/* ---- shortest text ---- */

typedef struct decimal {
    char digit[20 + 32]; /* [n], first one not zero; room for from_digits */
    size_t n;
    int exponent; /* of the first digit: 1 = the value is in [1, 10) x 10^exponent */
} decimal;

/* v > 0 rounded to n digits. libc puts the locale's decimal point between them: it is dropped. */
static void round_to(double v, int n, decimal *d) {
    char text[64];
    int len = snprintf(text, sizeof text, "%.*e", n - 1, v);
    fh_str s = {text, len > 0 ? FH_MIN((size_t)len, sizeof text - 1) : 0};
    size_t i = 0;
    d->n = 0;
    for (; i < s.len && s.ptr[i] != 'e'; i++)
        if (is_digit(s.ptr[i]) && d->n < 17) d->digit[d->n++] = s.ptr[i];
    bool minus = false;
    d->exponent = 0;
    for (; i < s.len; i++) {
        if (s.ptr[i] == '-') minus = true;
        if (is_digit(s.ptr[i])) d->exponent = d->exponent * 10 + (s.ptr[i] - '0');
    }
    if (minus) d->exponent = -d->exponent;
}

static bool reads_back(decimal *d, double v) {
    return from_digits(d->digit, d->n, d->exponent - (int64_t)d->n + 1) == v;
}

/* One unit more in the last digit. */
static void round_up(decimal *d) {
    size_t i = d->n;
    while (i > 0 && d->digit[i - 1] == '9') d->digit[--i] = '0';
    if (i > 0) {
        d->digit[i - 1]++;
    } else {
        d->digit[0] = '1'; /* 99 -> 100 = 10 x 10 */
        d->exponent++;
    }
}

static void shortest(double v, decimal *d) {
    /* A normal double that has a text of up to 15 digits is found with 15: the rest are zeros. */
    for (int n = v < DBL_MIN ? 1 : 15; n <= 17; n++) {
        round_to(v, n, d);
        if (reads_back(d, v)) break;
        /* The doubles below a power of two lie closer than those above it: there the nearest text
         * of 16 digits can miss while the next one up hits (2^-44). */
        int e;
        if (n == 16 && frexp(v, &e) == 0.5) {
            round_up(d);
            if (reads_back(d, v)) break;
        }
    }
    while (d->n > 1 && d->digit[d->n - 1] == '0') d->n--;
}

static size_t put(char *out, size_t at, const char *data, size_t n) {
    memcpy(out + at, data, n);
    return at + n;
}

size_t fh_json_number_text(double v, char out[FH_JSON_NUMBER_MAX]) {
    size_t at = 0;
    if (signbit(v)) out[at++] = '-';
    v = fabs(v);
    if (v == 0) return at ? put(out, at, "0.0", 3) : put(out, at, "0", 1); /* "-0" may read as 0 */
    decimal d;
    if (v <= 9007199254740992.0 && v == floor(v)) {
        int n = snprintf(out + at, FH_JSON_NUMBER_MAX - at, "%llu", (unsigned long long)v);
        return at + (size_t)n;
    }
    shortest(v, &d);
    if (d.exponent < -4 || d.exponent > 15) {
        out[at++] = d.digit[0];
        if (d.n > 1) {
            out[at++] = '.';
            at = put(out, at, d.digit + 1, d.n - 1);
        }
        int n = snprintf(out + at, FH_JSON_NUMBER_MAX - at, "e%d", d.exponent);
        return at + (size_t)n;
    }
    if (d.exponent < 0) {
        at = put(out, at, "0.0000", (size_t)(1 - d.exponent));
        return put(out, at, d.digit, d.n);
    }
    size_t whole = (size_t)d.exponent + 1;
    while (d.n < whole) d.digit[d.n++] = '0';
    at = put(out, at, d.digit, whole);
    if (d.n == whole) return at;
    out[at++] = '.';
    return put(out, at, d.digit + whole, d.n - whole);
}
