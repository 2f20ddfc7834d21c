/* route/money.c - decimal numbers without floating point.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Refuses negative numbers and what does not fit. Pure functions. */
#include "route/money.h"

#include "base/json.h"
#include "base/num.h"

__extension__ typedef unsigned __int128 wide;

bool fh_round_ratio(uint64_t a, uint64_t b, uint64_t divisor, uint64_t *out) {
    wide product = (wide)a * b; /* < 2^128 - 2^65: adding half of a 64-bit divisor cannot wrap */
    wide quotient = (product + divisor / 2) / divisor;
    /* an odd divisor has no half: divisor / 2 is a little less, and no product lies in between */
    if (quotient > UINT64_MAX) return false;
    *out = (uint64_t)quotient;
    return true;
}

uint64_t fh_cents_of(uint64_t fixed) {
    const uint64_t cent = FH_FIXED_ONE / 100;
    return fixed / cent + (fixed % cent >= cent / 2);
}

/* The digits of a number as an integer and the power of ten that belongs to it. Digits that do not fit any more can
 * decide the rounding only, and of them the first one does: half up. */
typedef struct digits {
    uint64_t value;
    int64_t power; /* number = value * 10^power */
    bool full;     /* digits were left out */
    bool round_up; /* the first of them was 5 or more */
} digits;

static void take_digit(digits *d, unsigned c, bool fraction) {
    uint64_t more;
    if (!d->full && fh_mul_u64(d->value, 10, &more) && fh_add_u64(more, c, &more)) {
        d->value = more;
        if (fraction) d->power--;
        return;
    }
    if (!d->full) d->round_up = c >= 5;
    d->full = true;
    if (!fraction) d->power++;
}

static bool read_digits(fh_str s, digits *d) {
    size_t i = 0;
    bool fraction = false, negative = false;
    *d = (digits){0};
    if (i < s.len && s.ptr[i] == '-') negative = true, i++;
    for (; i < s.len && s.ptr[i] != 'e' && s.ptr[i] != 'E'; i++) {
        if (s.ptr[i] == '.') fraction = true;
        else take_digit(d, (unsigned)(s.ptr[i] - '0'), fraction);
    }
    if (i < s.len) {
        int64_t e = 0, sign = 1;
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-')) sign = s.ptr[i++] == '-' ? -1 : 1;
        for (; i < s.len; i++)
            if (e < 1000000000) e = e * 10 + (s.ptr[i] - '0');
        d->power += sign * e;
    }
    return !negative || d->value == 0;
}

bool fh_fixed_parse(fh_str number, int shift, uint64_t *out) {
    double is_number;
    digits d;
    if (shift < -30 || shift > 30 || !fh_json_text_f64(number, &is_number)) return false;
    /* Infinity and NaN are numbers to JSON's reader where a file may hold them, never here */
    char last = number.ptr[number.len - 1];
    if ((last < '0' || last > '9') && last != '.') return false;
    if (!read_digits(number, &d)) return false;
    if (d.value == 0) {
        *out = 0;
        return true;
    }
    int64_t power = d.power + shift + 9;
    uint64_t v = d.value;
    if (power >= 0) {
        if (power > 0 && d.full) return false; /* 20 digits and more to come */
        if (d.full && d.round_up && !fh_add_u64(v, 1, &v)) return false;
        for (; power > 0; power--)
            if (power > 19 || !fh_mul_u64(v, 10, &v)) return false;
    } else {
        uint64_t left = 0;
        for (; power < 0 && (v || left); power++) left = v % 10, v /= 10;
        if (power < 0) left = 0; /* far below half of the last place */
        if (left >= 5) v++;
    }
    *out = v;
    return true;
}

/* whole, then a point and `n_digit` digits of part; part < 10^n_digit. At most 26 + 1 + 9 characters. */
static fh_money_text text_of(uint64_t whole, uint64_t part, int n_digit, bool grouped) {
    fh_money_text t = {""};
    char digits_text[24];
    size_t used = 0;
    int len = snprintf(digits_text, sizeof digits_text, "%llu", (unsigned long long)whole);
    for (int i = 0; i < len; i++) {
        if (grouped && i && (len - i) % 3 == 0) t.z[used++] = ',';
        t.z[used++] = digits_text[i];
    }
    if (n_digit) snprintf(t.z + used, sizeof t.z - used, ".%0*llu", n_digit, (unsigned long long)part);
    return t;
}

static fh_money_text fixed_of(uint64_t fixed, bool grouped) {
    uint64_t part = fixed % FH_FIXED_ONE;
    int n_digit = part ? 9 : 0;
    for (; part && part % 10 == 0; n_digit--) part /= 10;
    return text_of(fixed / FH_FIXED_ONE, part, n_digit, grouped);
}

fh_money_text fh_whole_text(uint64_t n) { return text_of(n, 0, 0, true); }
fh_money_text fh_whole_plain(uint64_t n) { return text_of(n, 0, 0, false); }
fh_money_text fh_cents_text(uint64_t cents) { return text_of(cents / 100, cents % 100, 2, true); }
fh_money_text fh_cents_plain(uint64_t cents) { return text_of(cents / 100, cents % 100, 2, false); }
fh_money_text fh_fixed_text(uint64_t fixed) { return fixed_of(fixed, true); }
fh_money_text fh_fixed_plain(uint64_t fixed) { return fixed_of(fixed, false); }
