/* tests/unit/test_unicode.c - UTF-8, categories, case mappings, sets and normal forms.
 * SPDX-License-Identifier: Apache-2.0
 * The sizes of the categories are those that Oniguruma (Hugging Face tokenizers 0.23.3) matches one by one. */
#include "base/fault.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/rng.h"
#include "test.h"
#include "text/char_class.h"
#include "text/jinja_lib.h"
#include "text/unicode.h"

TEST(unicode, utf8_round_trip) {
    char b[4];
    size_t len;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xd800 && cp < 0xe000) continue;
        size_t n = fh_utf8_put(cp, b);
        CHECK_U64(fh_utf8_next((fh_str){b, n}, 0, &len), cp);
        CHECK_U64(len, n);
        CHECK(fh_utf8_valid((fh_str){b, n}));
        if (n > 1) { /* cut short it is one bad byte */
            CHECK_U64(fh_utf8_next((fh_str){b, n - 1}, 0, &len), 0xfffd);
            CHECK_U64(len, 1);
        }
    }
    CHECK_U64(fh_utf8_put(0xd800, b), 3);
    CHECK(memcmp(b, "\xef\xbf\xbd", 3) == 0);
    fh_utf8_next((fh_str){b, 3}, 3, &len);
    CHECK_U64(len, 0);
}

TEST(unicode, utf8_refuses) {
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe2\x28\xa1",
                                      "\xc3("};
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        size_t len;
        CHECK_U64(fh_utf8_next(fh_str_of(bad[i]), 0, &len), 0xfffd);
        CHECK_U64(len, 1);
    }
}

static uint64_t count_of(const char *name) {
    static uint32_t r[2000][2];
    uint64_t all = 0, each = 0;
    uint32_t cats = fh_unicode_cats_of(fh_str_of(name));
    CHECK(cats != 0);
    size_t n = fh_unicode_mask_ranges(cats, r, FH_COUNT(r));
    CHECK(n <= FH_COUNT(r));
    for (size_t i = 0; i < n; i++) {
        all += r[i][1] - r[i][0] + 1;
        CHECK(i == 0 || r[i][0] > r[i - 1][1] + 1);
    }
    for (uint32_t cp = 0; cp < 0x110000; cp++) each += cats >> fh_unicode_cat(cp) & 1;
    CHECK_U64(all, each);
    return all;
}

TEST(unicode, categories) {
    CHECK_STR(fh_str_of(fh_unicode_version()), "16.0.0");
    CHECK_U64(count_of("L"), 141028);
    CHECK_U64(count_of("Mark"), 2501);
    CHECK_U64(count_of("N"), 1911);
    CHECK_U64(count_of("punctuation"), 855);
    CHECK_U64(count_of("S"), 8514);
    CHECK_U64(count_of("Z"), 19);
    CHECK_U64(count_of("LC"), 4147);
    CHECK_U64(count_of("Nd"), 760);
    CHECK_U64(count_of("Cc"), 65);
    CHECK(fh_unicode_cat(0x1c89) == FH_UCAT_LU);  /* new in 16.0 */
    CHECK(fh_unicode_cat(0x16ea0) == FH_UCAT_CN); /* new in 17.0 */
    CHECK(fh_unicode_cat(0x110000) == FH_UCAT_CN);
    CHECK(fh_unicode_cat(0xd800) == FH_UCAT_CS);
    CHECK(fh_unicode_cats_of(FH_STR("Uppercase_Letter")) == FH_UCAT_BIT(FH_UCAT_LU));
    CHECK(fh_unicode_cats_of(FH_STR("Latin")) == 0);
    uint32_t r[40][2];
    CHECK_U64(fh_unicode_ranges(FH_UCAT_ZS, FH_UCAT_ZP, r, 40),
              fh_unicode_mask_ranges(fh_unicode_cats_of(FH_STR("Z")), NULL, 0));
}

TEST(unicode, sets) {
    static const char *const scripts[] = {"Han",   "Hiragana", "Katakana", "Hangul", "Latin",     "Cyrillic",
                                          "Greek", "Arabic",   "Hebrew",   "Thai",   "Devanagari"};
    static uint32_t r[200][2];
    for (size_t i = 0; i < FH_COUNT(scripts); i++) {
        size_t n = fh_unicode_named_ranges(fh_str_of(scripts[i]), r, FH_COUNT(r));
        CHECK(n > 0 && n < FH_COUNT(r));
        for (size_t k = 0; k < n; k++) CHECK(r[k][0] <= r[k][1] && (k == 0 || r[k][0] > r[k - 1][1] + 1));
    }
    uint64_t han = 0, white = 0;
    size_t n = fh_unicode_named_ranges(FH_STR("hani"), r, FH_COUNT(r));
    for (size_t k = 0; k < n; k++) han += r[k][1] - r[k][0] + 1;
    CHECK_U64(han, 99030);
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        white += fh_unicode_is_white(cp);
        han -= fh_unicode_is_han(cp);
    }
    CHECK_U64(white, 25);
    CHECK_U64(han, 0);
    CHECK_U64(fh_unicode_white_ranges(r, 3), 10);
    CHECK(r[0][0] == 9 && r[0][1] == 13 && r[1][0] == 32);
    CHECK_U64(fh_unicode_named_ranges(FH_STR("Klingon"), r, 1), 0);
    CHECK(fh_unicode_named_ranges(FH_STR("Uppercase"), NULL, 0) > 0);
    CHECK(fh_unicode_alpha_ranges(NULL, 0) > 0);
}

static void mapped(size_t (*map)(uint32_t, uint32_t[3]), uint32_t cp, const char *want) {
    uint32_t to[3];
    char text[12];
    size_t n = 0, k = map(cp, to);
    for (size_t i = 0; i < k; i++) n += fh_utf8_put(to[i], text + n);
    CHECK_STR(((fh_str){text, n}), want);
}

TEST(unicode, case_mappings) {
    mapped(fh_unicode_upper, 'a', "A");
    mapped(fh_unicode_upper, '{', "{");
    mapped(fh_unicode_lower, '@', "@");
    mapped(fh_unicode_lower, 'Z', "z");
    mapped(fh_unicode_upper, 0xdf, "SS");
    mapped(fh_unicode_upper, 0x149, "\xca\xbcN");
    mapped(fh_unicode_lower, 0x130, "i\xcc\x87");
    mapped(fh_unicode_upper, 0xfb03, "FFI");
    mapped(fh_unicode_upper, 0x1c5, "\xc7\x84");
    mapped(fh_unicode_lower, 0x1c5, "\xc7\x86");
    mapped(fh_unicode_lower, 0x3a3, "\xcf\x83");
    mapped(fh_unicode_upper, 0x10428, "\xf0\x90\x90\x80");
    mapped(fh_unicode_lower, 0x1e9e, "\xc3\x9f");
    CHECK_U64(fh_unicode_fold_simple(0x17f), 's');
    CHECK_U64(fh_unicode_fold_simple(0x212a), 'k');
    CHECK_U64(fh_unicode_fold_simple('K'), 'k');
    CHECK_U64(fh_unicode_fold_simple(0xdf), 0xdf);
    uint32_t full[3], walked = 0, changed = 0;
    CHECK_U64(fh_unicode_fold_full(0xdf, full), 2);
    CHECK(full[0] == 's' && full[1] == 's');
    CHECK_U64(fh_unicode_fold_full('s', full), 0);
    for (uint32_t cp = 0, folded, last = 0; fh_unicode_fold_next(&cp, &folded); last = cp, walked++)
        CHECK(cp > last && folded == fh_unicode_fold_simple(cp) && folded != cp);
    for (uint32_t cp = 0; cp < 0x110000; cp++) changed += fh_unicode_fold_simple(cp) != cp;
    CHECK_U64(walked, changed);
}

static void normal(fh_normal_form form, const char *text, const char *want) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 20);
    CHECK_OK(fh_unicode_normalize(&b, fh_str_of(text), form, &err), err);
    CHECK_STR(fh_buf_str(&b), want);
    fh_buf_release(&b);
}

/* ---- older versions, over all code points ---- */

static void check_digest(fh_buf *b, const char *want) {
    char hex[FH_SHA256_HEX];
    fh_err err = {0};
    CHECK_OK(fh_buf_check(b, &err), err);
    CHECK_OK(fh_sha256_of(fh_bytes_of(fh_buf_str(b)), hex, &err), err);
    fh_buf_release(b);
    CHECK_STR(fh_str_of(hex), want);
}

/* The digest is `tools/gen_unicode.py --python`, run by Python 3.11.7: Unicode 14, as the templates' authors had it. */
TEST(unicode, what_python_says) {
    static const fh_jcase how[] = {FH_J_UPPER, FH_J_LOWER, FH_J_TITLE, FH_J_FOLD};
    fh_buf b;
    fh_buf_init(&b, 64 << 20);
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xd800 && cp < 0xe000) continue;
        unsigned p = fh_jinja_props(cp) & ~(unsigned)FH_J_WORD;
        fh_buf_add_byte(&b, (uint8_t)p);
        fh_buf_add_byte(&b, (uint8_t)(p >> 8));
        for (size_t h = 0; h < FH_COUNT(how); h++) {
            uint32_t to[3];
            size_t n = fh_jinja_map_case(cp, how[h], to);
            for (size_t i = 0; i < n; i++) fh_buf_add_u32le(&b, to[i]);
        }
    }
    check_digest(&b, "0d1f7b9e434115fb07f5c1b32038c897b4814993344d616e3d569954d9e6b585");
}

/* The digest is of what Hugging Face tokenizers 0.23.3 does with each code point, a bit each: cut off as punctuation,
 * removed by clean_text (which names U+FFFD itself), by strip_accents, by StripAccents. */
TEST(unicode, what_the_library_froze) {
    fh_buf b;
    fh_buf_init(&b, 2 << 20);
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        unsigned bits = fh_is_bert_punct(cp) ? 1 : 0;
        if (fh_is_bert_control(cp) || cp == 0xfffd) bits |= 2;
        if (fh_is_bert_accent(cp)) bits |= 4;
        if (fh_is_combining_mark(cp)) bits |= 8;
        fh_buf_add_byte(&b, (uint8_t)bits);
    }
    check_digest(&b, "d6ed4c472190130cb7816ccbc1403ac1810969eaa2839bda76d1031b891082d2");
}

TEST(unicode, normal_forms) {
    normal(FH_NFC, "plain", "plain");
    normal(FH_NFC, "e\xcc\x81", "\xc3\xa9");
    normal(FH_NFD, "\xc3\xa9", "e\xcc\x81");
    normal(FH_NFC, "<\xcc\xb8", "\xe2\x89\xae");
    normal(FH_NFD, "\xed\x95\x9c", "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab");
    normal(FH_NFC, "\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c");
    normal(FH_NFC, "\xe2\x84\xa6", "\xce\xa9");                       /* ohm sign */
    normal(FH_NFKC, "\xef\xac\x81\xc2\xb2", "fi2");                   /* ligature, superscript */
    normal(FH_NFD, "a\xcc\x81\xcc\xa3", "a\xcc\xa3\xcc\x81");         /* reordered */
    normal(FH_NFD, "a\xcc\x81\xe1\xb7\xb9", "a\xcc\x81\xe1\xb7\xb9"); /* U+1DF9, of 10.0: stays */
    normal(FH_NFKC, "\xe3\x8b\xbf", "\xe3\x8b\xbf");                  /* U+32FF, of 12.1: stays */
}

TEST(unicode, normalize_refuses) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 64);
    fh_buf_add_z(&b, "kept");
    CHECK_STATUS(fh_unicode_normalize(&b, FH_STR("\xc3\xa9\xff"), FH_NFC, &err), FH_ERR_FORMAT);
    CHECK_STR(fh_buf_str(&b), "kept");
    char text[200];
    memset(text, 'x', sizeof text);
    CHECK_STATUS(fh_unicode_normalize(&b, (fh_str){text, sizeof text}, FH_NFC, &err), FH_ERR_LIMIT);
    fh_buf_release(&b);
}

/* Long enough for several parts and for the array on the heap. */
TEST(unicode, normalize_properties) {
    static const char *const piece[] = {
        "a", "e\xcc\x81",    "\xcc\xa3",     "\xea\xb0\x80", "\xe1\x86\xa8", "\xc3\xa9",    "\xcd\x85",
        " ", "\xef\xac\x83", "\xe1\xba\x9b", "\xe0\xbd\xb1", "\xe0\xbd\xb2", "\xe1\xb7\xb9"};
    static char text[60000];
    fh_rng rng;
    fh_err err = {0};
    fh_rng_init(&rng, fh_test_seed(), 77);
    for (int round = 0; round < 8; round++) {
        size_t n = 0, want = round == 7 ? sizeof text - 8 : 40u << round, kinds = round == 6 ? 7 : FH_COUNT(piece);
        while (n < want) {
            fh_str p = fh_str_of(piece[fh_rng_below(&rng, kinds)]);
            memcpy(text + n, p.ptr, p.len);
            n += p.len;
        }
        fh_buf c, d, dc, cd;
        fh_buf_init(&c, 1 << 20), fh_buf_init(&d, 1 << 20), fh_buf_init(&dc, 1 << 20), fh_buf_init(&cd, 1 << 20);
        CHECK_OK(fh_unicode_normalize(&c, (fh_str){text, n}, FH_NFC, &err), err);
        CHECK_OK(fh_unicode_normalize(&d, (fh_str){text, n}, FH_NFD, &err), err);
        CHECK_OK(fh_unicode_normalize(&dc, fh_buf_str(&c), FH_NFD, &err), err);
        CHECK_OK(fh_unicode_normalize(&cd, fh_buf_str(&d), FH_NFC, &err), err);
        CHECK(fh_str_eq(fh_buf_str(&dc), fh_buf_str(&d)));
        CHECK(fh_str_eq(fh_buf_str(&cd), fh_buf_str(&c)));
        fh_buf_release(&c), fh_buf_release(&d), fh_buf_release(&dc), fh_buf_release(&cd);
    }
}

TEST(unicode, normalize_out_of_memory) {
    static char text[9000];
    for (size_t i = 0; i + 3 <= sizeof text; i += 3) memcpy(text + i, "\xed\x95\x9c", 3);
    fh_err err = {0};
    fh_status s = FH_ERR_MEMORY;
    unsigned failures = 0;
    for (uint64_t n = 1; s != FH_OK && n < 100; n++) {
        uint64_t blocks = fh_mem_get_stats().live_blocks;
        fh_buf b;
        fh_buf_init(&b, 1 << 20);
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        s = fh_unicode_normalize(&b, (fh_str){text, sizeof text}, FH_NFD, &err);
        fh_fault_disarm();
        if (s != FH_OK) {
            CHECK_STATUS(s, FH_ERR_MEMORY);
            failures++;
        }
        fh_buf_release(&b);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    }
    CHECK_STATUS(s, FH_OK);
    CHECK(failures >= 2);
}
