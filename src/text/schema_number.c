/* text/schema_number.c - sets of numbers as automata over their decimal texts: bounds, multiples, values.
 * SPDX-License-Identifier: Apache-2.0
 * Exact: digits are compared as they come, nothing is ever converted to floating point. Texts have no exponent; -0 and
 * trailing zeros of a fraction are spellings of the same number and treated as such.
 * Refused: numbers of more than MAX_DIGITS digits before or behind the point, and large divisors. */
#include "base/num.h"
#include "text/schema_part.h"

#define MAX_DIGITS 400
#define MAX_DIVISOR 100000u

typedef struct decimal {
    bool negative, zero;
    uint32_t n_int, n_frac; /* without needless zeros; n_int is at least 1 */
    char whole[MAX_DIGITS + 1], frac[MAX_DIGITS + 1];
} decimal;

/* Reads a JSON number; false when it is too long. */
static bool read_decimal(fh_str t, decimal *d) {
    static const char e_names[] = "eE";
    size_t at = 0, n = 0, point = 0;
    int64_t exp = 0;
    char digit[2 * MAX_DIGITS] = {0};
    *d = (decimal){0};
    if (at < t.len && t.ptr[at] == '-') d->negative = at++ == 0;
    bool seen_point = false;
    for (; at < t.len && t.ptr[at] != e_names[0] && t.ptr[at] != e_names[1]; at++) {
        if (t.ptr[at] == '.') {
            seen_point = true;
            continue;
        }
        if (n == sizeof digit) return false;
        digit[n++] = t.ptr[at];
        point += !seen_point;
    }
    if (at < t.len) {
        bool down = ++at < t.len && t.ptr[at] == '-';
        if (at < t.len && (t.ptr[at] == '-' || t.ptr[at] == '+')) at++;
        for (; at < t.len; at++) exp = FH_MIN(exp * 10 + (t.ptr[at] - '0'), 1000000);
        if (down) exp = -exp;
    }
    size_t lead = 0;
    while (lead < n && digit[lead] == '0') lead++;
    d->zero = lead == n;
    if (d->zero) exp = 0;
    int64_t p = (int64_t)point + exp; /* digits before the point, counted from digit 0 */
    if (p > 2 * MAX_DIGITS || p < -2 * MAX_DIGITS) return false;
    for (int64_t i = (int64_t)lead; i < p; i++) {
        if (d->n_int == MAX_DIGITS) return false;
        d->whole[d->n_int++] = i < (int64_t)n ? digit[i] : '0';
    }
    if (d->zero || d->n_int == 0) {
        d->n_int = 1;
        d->whole[0] = '0';
    }
    for (int64_t i = p; i < (int64_t)n && !d->zero; i++) {
        if (d->n_frac == MAX_DIGITS) return false;
        d->frac[d->n_frac++] = i < 0 ? '0' : digit[i];
    }
    while (d->n_frac && d->frac[d->n_frac - 1] == '0') d->n_frac--;
    return true;
}

/* ---- machines that read a decimal text ---- */
enum { START, MINUS, ZERO, WHOLE, POINT, FRAC }; /* state[0] */
enum { PHASE, NEGATIVE, ALL_ZERO, PLACE, ORDER, REST };

static bool next_phase(uint32_t *state, char c) {
    uint32_t p = state[PHASE];
    if (c == '-') {
        if (p != START) return false;
        state[PHASE] = MINUS;
        state[NEGATIVE] = 1;
    } else if (c == '.') {
        if (p != ZERO && p != WHOLE) return false;
        state[PHASE] = POINT;
    } else if (p == ZERO) {
        return false;
    } else {
        state[PHASE] = p == START || p == MINUS ? (c == '0' ? ZERO : WHOLE) : p == WHOLE ? WHOLE : FRAC;
        if (c != '0') state[ALL_ZERO] = 0;
    }
    return true;
}
static bool phase_ends(uint32_t p) { return p == ZERO || p == WHOLE || p == FRAC; }

static const char alphabet[] = "-.0123456789";

static bool plain_step(const void *ctx, uint32_t *state, char c) {
    (void)ctx;
    if (!next_phase(state, c)) return false;
    state[NEGATIVE] = 0;
    return true;
}
static bool plain_ends(const void *ctx, const uint32_t *state) {
    (void)ctx;
    return phase_ends(state[PHASE]);
}

const fh_auto *fh_number_plain(fh_swork *s) {
    static const uint32_t start[3] = {START, 0, 0};
    const fh_auto_machine m = {alphabet, 3, plain_step, plain_ends, NULL};
    if (!s->plain) s->plain = fh_auto_explore(&s->w, &m, start);
    return s->plain;
}

/* PLACE: digits of this part so far, counted as far as it matters. ORDER: 0 equal so far, 1 less, 2 greater. */
typedef struct bound_ctx {
    const decimal *d;
    fh_bound b;
} bound_ctx;
enum { SAME, LESS, GREATER };

static void finish_whole(const decimal *d, uint32_t *state) {
    if (state[PLACE] < d->n_int) state[ORDER] = LESS;
    else if (state[PLACE] > d->n_int) state[ORDER] = GREATER;
    state[PLACE] = 0;
}

static bool bound_step(const void *ctx, uint32_t *state, char c) {
    const decimal *d = ((const bound_ctx *)ctx)->d;
    if (!next_phase(state, c)) return false;
    if (c == '-') return true;
    if (c == '.') {
        finish_whole(d, state);
        return true;
    }
    bool whole = state[PHASE] != FRAC;
    uint32_t n = whole ? d->n_int : d->n_frac;
    const char *digits = whole ? d->whole : d->frac;
    char want = state[PLACE] < n ? digits[state[PLACE]] : '0';
    if (state[ORDER] == SAME && (!whole || state[PLACE] < n))
        state[ORDER] = c < want ? LESS : c > want ? GREATER : SAME;
    if (state[PLACE] <= n) state[PLACE]++;
    if (!whole && (state[ORDER] != SAME || state[PLACE] > n)) state[PLACE] = n; /* nothing more to compare */
    return true;
}

static bool bound_ends(const void *ctx, const uint32_t *state) {
    const bound_ctx *b = ctx;
    const decimal *d = b->d;
    uint32_t s[REST];
    if (!phase_ends(state[PHASE])) return false;
    memcpy(s, state, sizeof s);
    if (s[PHASE] != FRAC) {
        finish_whole(d, s);
        if (s[ORDER] == SAME && d->n_frac) s[ORDER] = LESS;
    } else if (s[ORDER] == SAME && s[PLACE] < d->n_frac) {
        s[ORDER] = LESS;
    }
    uint32_t o = s[ORDER];
    if (s[ALL_ZERO]) o = d->zero ? SAME : d->negative ? GREATER : LESS;
    else if (d->zero || d->negative != (s[NEGATIVE] != 0)) o = s[NEGATIVE] ? LESS : GREATER;
    else if (s[NEGATIVE]) o = o == LESS ? GREATER : o == GREATER ? LESS : SAME;
    switch (b->b) {
    case FH_AT_LEAST: return o != LESS;
    case FH_MORE_THAN: return o == GREATER;
    case FH_AT_MOST: return o != GREATER;
    case FH_LESS_THAN: break;
    }
    return o == LESS;
}

const fh_auto *fh_number_bound(fh_swork *s, fh_bound b, fh_str number, const char **why) {
    static const uint32_t start[REST] = {START, 0, 1, 0, SAME};
    decimal *d = fh_work_alloc(&s->w, 1, sizeof *d);
    bound_ctx ctx = {d, b};
    *why = "a number of so many digits is not supported";
    if (!d || !read_decimal(number, d)) return NULL;
    const fh_auto_machine m = {alphabet, REST, bound_step, bound_ends, &ctx};
    return fh_auto_explore(&s->w, &m, start);
}

/* Multiples of div / 10^shift. ORDER is the remainder, PLACE the digits behind the point. */
typedef struct multiple_ctx {
    uint32_t div, shift;
} multiple_ctx;

static bool multiple_step(const void *ctx, uint32_t *state, char c) {
    const multiple_ctx *m = ctx;
    bool frac = state[PHASE] == POINT || state[PHASE] == FRAC;
    if (!next_phase(state, c)) return false;
    state[NEGATIVE] = 0;
    state[ALL_ZERO] = 0;
    if (c == '-' || c == '.') return true;
    if (frac && state[PLACE] == m->shift) return c == '0';
    state[PLACE] += frac;
    state[ORDER] = (uint32_t)(((uint64_t)state[ORDER] * 10 + (uint64_t)(c - '0')) % m->div);
    return true;
}

static bool multiple_ends(const void *ctx, const uint32_t *state) {
    const multiple_ctx *m = ctx;
    uint64_t r = state[ORDER];
    for (uint32_t i = state[PLACE]; i < m->shift; i++) r = r * 10 % m->div;
    return phase_ends(state[PHASE]) && r == 0;
}

const fh_auto *fh_number_multiple(fh_swork *s, fh_str number, const char **why) {
    static const uint32_t start[REST] = {START, 0, 0, 0, 0};
    decimal d;
    uint64_t div = 0;
    *why = "a divisor of so many digits is not supported";
    if (!read_decimal(number, &d) || d.negative || d.zero || d.n_frac > 10 || d.n_int > 10) return NULL;
    for (uint32_t i = 0; i < d.n_int; i++) div = div * 10 + (uint64_t)(d.whole[i] - '0');
    for (uint32_t i = 0; i < d.n_frac && div <= MAX_DIVISOR; i++) div = div * 10 + (uint64_t)(d.frac[i] - '0');
    if (div > MAX_DIVISOR) return NULL;
    const multiple_ctx ctx = {(uint32_t)div, d.n_frac};
    const fh_auto_machine m = {alphabet, REST, multiple_step, multiple_ends, &ctx};
    return fh_auto_explore(&s->w, &m, start);
}

const fh_auto *fh_number_integer(fh_swork *s) {
    const char *why;
    if (!s->integer) s->integer = fh_number_multiple(s, FH_STR("1"), &why);
    return s->integer;
}

/* ---- values ---- */
static fh_frag add_text(fh_nfa *n, fh_frag f, const char *text, uint32_t len) {
    for (uint32_t i = 0; i < len; i++) f = fh_nfa_join(n, f, fh_nfa_cp(n, (uint8_t)text[i]));
    return f;
}

static fh_frag zeros(fh_nfa *n, uint32_t least) {
    uint32_t first = n->n_state;
    return fh_nfa_repeat(n, fh_nfa_cp(n, '0'), first, least, UINT32_MAX);
}

/* Every spelling of one number. */
static fh_frag spellings(fh_nfa *n, const decimal *d) {
    fh_frag f = fh_nfa_empty(n);
    uint32_t first = n->n_state;
    if (d->zero) f = fh_nfa_join(n, f, fh_nfa_repeat(n, fh_nfa_cp(n, '-'), first, 0, 1));
    else if (d->negative) f = add_text(n, f, "-", 1);
    f = add_text(n, f, d->whole, d->n_int);
    if (d->n_frac) {
        f = add_text(n, add_text(n, f, ".", 1), d->frac, d->n_frac);
        return fh_nfa_join(n, f, zeros(n, 0));
    }
    fh_frag tail = fh_nfa_join(n, fh_nfa_cp(n, '.'), zeros(n, 1));
    return fh_nfa_join(n, f, fh_nfa_either(n, tail, fh_nfa_empty(n)));
}

const fh_auto *fh_number_values(fh_swork *s, const fh_str *number, uint32_t n, const char **why) {
    fh_nfa nfa;
    fh_frag all = {0, 0};
    decimal d;
    fh_nfa_init(&nfa, &s->w);
    *why = "a number of so many digits is not supported";
    all = (fh_frag){fh_nfa_state(&nfa), fh_nfa_state(&nfa)};
    for (uint32_t i = 0; i < n; i++) {
        if (!read_decimal(number[i], &d)) return NULL;
        fh_frag f = spellings(&nfa, &d);
        if (fh_work_failed(&s->w)) return NULL;
        fh_nfa_edge_add(&nfa, all.in, FH_NFA_EPS, 0, f.in);
        fh_nfa_edge_add(&nfa, f.out, FH_NFA_EPS, 0, all.out);
    }
    return fh_nfa_determine(&nfa, all);
}
