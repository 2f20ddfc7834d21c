/* text/unicode.c - UTF-8, categories, case mappings and sets of code points.
 * SPDX-License-Identifier: Apache-2.0
 * Reads the generated tables and nothing else; owns no memory, safe for threads. Decoding is strict: surrogates,
 * overlong forms and everything above U+10FFFF are no UTF-8. Unicode 16, as in tiktoken and Hugging Face tokenizers. */
#include "text/unicode.h"

#include "base/num.h"
#include "text/unicode_part.h"

uint32_t fh_utf8_next(fh_str s, size_t at, size_t *len) {
    if (at >= s.len) {
        *len = 0;
        return 0xfffd;
    }
    const unsigned char *p = (const unsigned char *)s.ptr + at;
    size_t left = s.len - at;
    uint32_t c = p[0];
    if (c < 0x80) {
        *len = 1;
        return c;
    }
    size_t n = c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    *len = 1;
    if (n == 0 || n > left) return 0xfffd;
    uint32_t cp = c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0xfffd;
        cp = cp << 6 | (p[i] & 0x3fu);
    }
    if ((n == 3 && (cp < 0x800 || (cp >= 0xd800 && cp < 0xe000))) || (n == 4 && (cp < 0x10000 || cp > 0x10ffff)))
        return 0xfffd;
    *len = n;
    return cp;
}

size_t fh_utf8_put(uint32_t cp, char out[4]) {
    if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) cp = 0xfffd;
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80u | (cp & 0x3fu));
        cp >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xffu) | cp);
    return n;
}

fh_ucat fh_unicode_cat(uint32_t cp) { return (fh_ucat)(fh_unicode_prop(cp) & FH_UPROP_CAT); }
bool fh_unicode_is_white(uint32_t cp) { return fh_unicode_prop(cp) & FH_UPROP_WHITE; }
bool fh_unicode_is_han(uint32_t cp) { return fh_unicode_prop(cp) & FH_UPROP_HAN; }
const char *fh_unicode_version(void) { return fh_unicode_version_text; }

static uint32_t prop_at(uint32_t cp, fh_unicode_age age) {
    uint32_t p = fh_unicode_prop(cp);
    if (FH_UPROP_AGE(p) > (uint32_t)age) return FH_UCAT_CN;
    for (size_t i = 0; (p & FH_UPROP_CHANGED) && i < fh_unicode_n_past; i++) {
        const fh_unicode_past_row *r = &fh_unicode_past[i];
        if (cp >= r->first && cp <= r->last && (uint32_t)age <= r->until) return r->record;
    }
    return p;
}

fh_ucat fh_unicode_cat_at(uint32_t cp, fh_unicode_age age) { return (fh_ucat)(prop_at(cp, age) & FH_UPROP_CAT); }
bool fh_unicode_is_there(uint32_t cp, fh_unicode_age age) { return FH_UPROP_AGE(fh_unicode_prop(cp)) <= (uint32_t)age; }

fh_unicode_facts fh_unicode_facts_at(uint32_t cp, fh_unicode_age age) {
    const uint32_t p = prop_at(cp, age);
    return (fh_unicode_facts){.cat = (fh_ucat)(p & FH_UPROP_CAT),
                              .white = p & FH_UPROP_WHITE,
                              .upper = p & FH_UPROP_UPPER,
                              .lower = p & FH_UPROP_LOWER,
                              .digit = p & FH_UPROP_DIGIT,
                              .numeric = p & FH_UPROP_NUMERIC};
}

/* False, and cp in *out, where no row has it. */
static bool find_simple(const fh_unicode_case_row *row, size_t n, uint32_t cp, uint32_t *out) {
    *out = cp;
    size_t lo = 0, hi = n; /* the last row with first <= cp is at lo - 1 */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (row[mid].first <= cp) lo = mid + 1;
        else hi = mid;
    }
    if (lo == 0) return false;
    const fh_unicode_case_row *r = &row[lo - 1];
    if (cp > r->last || (cp - r->first) % r->step) return false;
    *out = (uint32_t)((int32_t)cp + r->distance);
    return true;
}

static uint32_t map_simple(const fh_unicode_case_row *row, size_t n, uint32_t cp) {
    uint32_t out;
    (void)find_simple(row, n, cp, &out);
    return out;
}

static size_t map_full(const fh_unicode_full_row *row, size_t n, uint32_t cp, uint32_t out[3]) {
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (row[mid].cp < cp) lo = mid + 1;
        else hi = mid;
    }
    if (lo == n || row[lo].cp != cp) return 0;
    size_t k = 0;
    for (; k < 3 && row[lo].to[k]; k++) out[k] = row[lo].to[k];
    return k;
}

size_t fh_unicode_lower(uint32_t cp, uint32_t out[3]) {
    size_t k = cp < 0x80 ? 0 : map_full(fh_unicode_lower_full_row, fh_unicode_n_lower_full, cp, out);
    if (k) return k;
    out[0] =
        cp < 0x80 ? cp + (cp - 'A' < 26u ? 32u : 0u) : map_simple(fh_unicode_lower_run, fh_unicode_n_lower_run, cp);
    return 1;
}

size_t fh_unicode_upper(uint32_t cp, uint32_t out[3]) {
    size_t k = cp < 0x80 ? 0 : map_full(fh_unicode_upper_full_row, fh_unicode_n_upper_full, cp, out);
    if (k) return k;
    out[0] =
        cp < 0x80 ? cp - (cp - 'a' < 26u ? 32u : 0u) : map_simple(fh_unicode_upper_run, fh_unicode_n_upper_run, cp);
    return 1;
}

size_t fh_unicode_title(uint32_t cp, uint32_t out[3]) {
    size_t k = cp < 0x80 ? 0 : map_full(fh_unicode_title_full_row, fh_unicode_n_title_full, cp, out);
    if (k) return k;
    if (cp >= 0x80 && find_simple(fh_unicode_title_run, fh_unicode_n_title_run, cp, &out[0])) return 1;
    return fh_unicode_upper(cp, out);
}

uint32_t fh_unicode_fold_simple(uint32_t cp) { return map_simple(fh_unicode_fold_run, fh_unicode_n_fold_run, cp); }
size_t fh_unicode_fold_full(uint32_t cp, uint32_t out[3]) {
    return map_full(fh_unicode_fold_full_row, fh_unicode_n_fold_full, cp, out);
}

bool fh_unicode_fold_next(uint32_t *cp, uint32_t *folded) {
    uint32_t after = *cp;
    size_t lo = 0, hi = fh_unicode_n_fold_run; /* the first row that ends behind it */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (fh_unicode_fold_run[mid].last <= after) lo = mid + 1;
        else hi = mid;
    }
    if (lo == fh_unicode_n_fold_run) return false;
    const fh_unicode_case_row *r = &fh_unicode_fold_run[lo];
    uint32_t c = after < r->first ? r->first : after + r->step - (after - r->first) % r->step;
    *cp = c;
    *folded = (uint32_t)((int32_t)c + r->distance);
    return true;
}

/* The ranges whose record has any of flags, or whose category is in cats. */
static size_t collect(uint32_t cats, uint32_t flags, uint32_t (*out)[2], size_t max) {
    size_t n = 0;
    bool open = false;
    for (size_t i = 0; i < fh_unicode_n_run; i++) {
        uint32_t first = fh_unicode_run[i] >> 8;
        uint32_t p = fh_unicode_record[fh_unicode_run[i] & 0xff];
        bool in = (p & flags) || (cats >> (p & FH_UPROP_CAT) & 1);
        if (in && !open && n < max) out[n][0] = first;
        if (!in && open) {
            if (n < max) out[n][1] = first - 1;
            n++;
        }
        open = in;
    }
    if (open) {
        if (n < max) out[n][1] = 0x10ffff;
        n++;
    }
    return n;
}

size_t fh_unicode_mask_ranges(uint32_t cats, uint32_t (*out)[2], size_t max) { return collect(cats, 0, out, max); }
size_t fh_unicode_white_ranges(uint32_t (*out)[2], size_t max) { return collect(0, FH_UPROP_WHITE, out, max); }
size_t fh_unicode_alpha_ranges(uint32_t (*out)[2], size_t max) {
    return fh_unicode_named_ranges(FH_STR("alphabetic"), out, max);
}
size_t fh_unicode_ranges(fh_ucat first, fh_ucat last, uint32_t (*out)[2], size_t max) {
    uint32_t cats = 0;
    for (unsigned c = first; c <= (unsigned)last && c < FH_UCAT_COUNT; c++) cats |= FH_UCAT_BIT(c);
    return collect(cats, 0, out, max);
}

/* Lower case, without '_', '-' and blanks; false if it does not fit (then it is no name we know). */
static bool plain_name(fh_str name, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '_' || c == '-' || c == ' ') continue;
        if (c <= 0 || n + 1 >= size) return false;
        out[n++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[n] = 0;
    return n > 0;
}

size_t fh_unicode_named_ranges(fh_str name, uint32_t (*out)[2], size_t max) {
    char plain[40];
    if (!plain_name(name, plain, sizeof plain)) return 0;
    for (size_t i = 0; i < fh_unicode_n_set; i++) {
        const fh_unicode_set_row *s = &fh_unicode_set[i];
        if (strcmp(s->name, plain) != 0) continue;
        size_t n = FH_MIN((size_t)s->n, max);
        if (n) memcpy(out, fh_unicode_set_range[s->at], n * sizeof out[0]);
        return s->n;
    }
    return 0;
}

#define B(cat) FH_UCAT_BIT(FH_UCAT_##cat)
static const struct {
    const char *shorter, *longer;
    uint32_t cats;
} cat_name[] = {
    {"lu", "uppercaseletter", B(LU)},
    {"ll", "lowercaseletter", B(LL)},
    {"lt", "titlecaseletter", B(LT)},
    {"lm", "modifierletter", B(LM)},
    {"lo", "otherletter", B(LO)},
    {"mn", "nonspacingmark", B(MN)},
    {"mc", "spacingmark", B(MC)},
    {"me", "enclosingmark", B(ME)},
    {"nd", "decimalnumber", B(ND)},
    {"nl", "letternumber", B(NL)},
    {"no", "othernumber", B(NO)},
    {"pc", "connectorpunctuation", B(PC)},
    {"pd", "dashpunctuation", B(PD)},
    {"ps", "openpunctuation", B(PS)},
    {"pe", "closepunctuation", B(PE)},
    {"pi", "initialpunctuation", B(PI)},
    {"pf", "finalpunctuation", B(PF)},
    {"po", "otherpunctuation", B(PO)},
    {"sm", "mathsymbol", B(SM)},
    {"sc", "currencysymbol", B(SC)},
    {"sk", "modifiersymbol", B(SK)},
    {"so", "othersymbol", B(SO)},
    {"zs", "spaceseparator", B(ZS)},
    {"zl", "lineseparator", B(ZL)},
    {"zp", "paragraphseparator", B(ZP)},
    {"cc", "control", B(CC)},
    {"cf", "format", B(CF)},
    {"cs", "surrogate", B(CS)},
    {"co", "privateuse", B(CO)},
    {"cn", "unassigned", B(CN)},
    {"l", "letter", B(LU) | B(LL) | B(LT) | B(LM) | B(LO)},
    {"lc", "casedletter", B(LU) | B(LL) | B(LT)},
    {"m", "mark", B(MN) | B(MC) | B(ME)},
    {"n", "number", B(ND) | B(NL) | B(NO)},
    {"p", "punctuation", B(PC) | B(PD) | B(PS) | B(PE) | B(PI) | B(PF) | B(PO)},
    {"s", "symbol", B(SM) | B(SC) | B(SK) | B(SO)},
    {"z", "separator", B(ZS) | B(ZL) | B(ZP)},
    {"c", "other", B(CC) | B(CF) | B(CS) | B(CO) | B(CN)},
};
#undef B

uint32_t fh_unicode_cats_of(fh_str name) {
    char plain[40];
    if (!plain_name(name, plain, sizeof plain)) return 0;
    for (size_t i = 0; i < FH_COUNT(cat_name); i++)
        if (strcmp(cat_name[i].shorter, plain) == 0 || strcmp(cat_name[i].longer, plain) == 0) return cat_name[i].cats;
    return 0;
}
