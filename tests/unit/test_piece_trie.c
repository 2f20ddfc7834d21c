/* tests/unit/test_piece_trie.c - tries, the byte alphabet, charsmaps, lists of ids.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/num.h"
#include "base/rng.h"
#include "test.h"
#include "text/byte_alphabet.h"
#include "text/charsmap.h"
#include "text/ids.h"
#include "text/piece_trie.h"

TEST(piece_trie, finds_the_longest) {
    static const fh_piece_key key[] = {{FH_STR("a"), 1}, {FH_STR("abc"), 2}, {FH_STR("abcd"), 3},    {FH_STR("b"), 4},
                                       {FH_STR(""), 5},  {FH_STR("a"), 6},   {FH_STR("\xFF\x01"), 7}};
    fh_piece_trie t = {0};
    fh_err err = {0};
    uint32_t v = 0;
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("abc"), 0, &v), 0); /* an empty one finds nothing */
    CHECK_OK(fh_piece_trie_build(&t, key, FH_COUNT(key), &err), err);
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("abcx"), 0, &v), 3);
    CHECK_U64(v, 2);
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("abx"), 0, &v), 1);
    CHECK_U64(v, 6); /* the last of equals */
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("xabcd"), 1, &v), 4);
    CHECK_U64(v, 3);
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("\xFF\x01"), 0, &v), 2);
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR("\xFF"), 0, &v), 0);
    CHECK_U64(fh_piece_trie_longest(&t, FH_STR(""), 0, &v), 0);
    fh_piece_trie_release(&t);
}

/* Against a search through the whole list. */
TEST(piece_trie, agrees_with_a_list) {
    enum { N = 400 };
    static char text[N][6];
    static fh_piece_key key[N];
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 1);
    for (uint32_t i = 0; i < N; i++) {
        size_t len = 1 + fh_rng_below(&r, 5);
        for (size_t k = 0; k < len; k++) text[i][k] = (char)("ab\xC3\xE2"[fh_rng_below(&r, 4)]);
        key[i] = (fh_piece_key){{text[i], len}, i};
    }
    fh_piece_trie t = {0};
    fh_err err = {0};
    CHECK_OK(fh_piece_trie_build(&t, key, N, &err), err);
    for (int round = 0; round < 2000; round++) {
        char probe[8];
        for (size_t k = 0; k < sizeof probe; k++) probe[k] = (char)("ab\xC3\xE2"[fh_rng_below(&r, 4)]);
        size_t best = 0;
        uint32_t want = 0, got = 0;
        for (uint32_t i = 0; i < N; i++)
            if (key[i].text.len >= best && memcmp(probe, key[i].text.ptr, key[i].text.len) == 0)
                best = key[i].text.len, want = i;
        CHECK_U64(fh_piece_trie_longest(&t, (fh_str){probe, sizeof probe}, 0, &got), best);
        if (best) CHECK_U64(got, want);
    }
    fh_piece_trie_release(&t);
}

TEST(piece_trie, survives_every_allocation_failing) {
    static const fh_piece_key key[] = {{FH_STR("one"), 1}, {FH_STR("two"), 2}};
    fh_status s = FH_ERR_MEMORY;
    uint64_t blocks = fh_mem_get_stats().live_blocks;
    for (uint64_t n = 1; s != FH_OK && n < 100; n++) {
        fh_piece_trie t = {0};
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        s = fh_piece_trie_build(&t, key, FH_COUNT(key), NULL);
        fh_fault_disarm();
        fh_piece_trie_release(&t);
        CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
    }
    CHECK_STATUS(s, FH_OK);
}

TEST(piece_trie, byte_alphabet_is_one_to_one) {
    bool seen[0x144] = {false};
    for (unsigned b = 0; b < 256; b++) {
        uint8_t back = 0;
        uint32_t cp = fh_byte_alphabet_char((uint8_t)b);
        CHECK(cp >= 0x21 && cp <= 0x143 && !seen[cp]);
        seen[cp] = true;
        CHECK(fh_byte_alphabet_byte(cp, &back) && back == b);
    }
    /* what the published vocabularies spell: space, line feed, no-break space, soft hyphen */
    CHECK_U64(fh_byte_alphabet_char(' '), 0x120);
    CHECK_U64(fh_byte_alphabet_char('\n'), 0x10A);
    CHECK_U64(fh_byte_alphabet_char(0xA0), 0x142);
    CHECK_U64(fh_byte_alphabet_char(0xAD), 0x143);
    uint8_t out[8], byte;
    size_t len;
    CHECK(!fh_byte_alphabet_byte(' ', &byte) && !fh_byte_alphabet_byte(0x144, &byte));
    CHECK(fh_byte_alphabet_decode(FH_STR("\xC4\xA0"
                                         "a"),
                                  out, &len) &&
          len == 2 && out[0] == ' ' && out[1] == 'a');
    CHECK(!fh_byte_alphabet_decode(FH_STR("\xE2\x96\x81"), out, &len) &&
          !fh_byte_alphabet_decode(FH_STR("\xC4"), out, &len));
}

/* A charsmap made by hand: "a" -> "xy". Hostile ones lead outside of the array. */
TEST(piece_trie, charsmap_stays_inside) {
    enum { ROOT = 0, BASE = 256, A = BASE ^ 'a', LEAF = A ^ 256 };
    static uint32_t unit[1024];
    fh_str to;
    unit[ROOT] = BASE << 10;
    unit[A] = 256u << 10 | 1u << 8 | 'a';
    unit[LEAF] = 0x80000000u | 3;
    fh_charsmap m = {{(const uint8_t *)unit, sizeof unit}, {(const uint8_t *)"??\0xy", 6}};
    CHECK_U64(fh_charsmap_longest(&m, FH_STR("ba"), 1, &to), 1);
    CHECK_STR(to, "xy");
    CHECK(fh_charsmap_shortest(&m, FH_STR("ab"), &to));
    CHECK_U64(fh_charsmap_longest(&m, FH_STR("b"), 0, &to), 0);
    unit[LEAF] = 0x80000000u | 100; /* the text is not there */
    CHECK_U64(fh_charsmap_longest(&m, FH_STR("a"), 0, &to), 0);
    unit[ROOT] = 0x7FFFFFFFu;
    CHECK_U64(fh_charsmap_longest(&m, FH_STR("aaaa"), 0, &to), 0);
    m.trie.len = 0;
    CHECK_U64(fh_charsmap_longest(&m, FH_STR("a"), 0, &to), 0);
}

TEST(piece_trie, ids_keep_their_failure) {
    fh_ids v;
    fh_err err = {0};
    uint32_t three[3] = {7, 8, 9};
    fh_ids_init(&v, 4);
    fh_ids_add_all(&v, three, 3);
    fh_ids_add(&v, 10);
    CHECK(v.len == 4 && v.ptr[0] == 7 && v.ptr[3] == 10);
    fh_ids_add(&v, 11);
    CHECK_STATUS(fh_ids_check(&v, &err), FH_ERR_LIMIT);
    fh_ids_clear(&v);
    fh_ids_add(&v, 1);
    CHECK_OK(fh_ids_check(&v, &err), err);
    fh_ids_release(&v);
    fh_fault_arm(FH_FAULT_ALLOC, 1, false);
    fh_ids_add(&v, 1);
    fh_fault_disarm();
    CHECK_STATUS(fh_ids_check(&v, &err), FH_ERR_MEMORY);
    fh_ids_release(&v);
}
