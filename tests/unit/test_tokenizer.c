/* tests/unit/test_tokenizer.c - whole tokenizers: the golden ids, what must hold for any text, added tokens, decoding.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/fault.h"
#include "base/num.h"
#include "tokenizer_maker.h"

static void read_golden(const char *name, fh_buf *out) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    snprintf(path, sizeof path, "%s/tokenizers/%s", fh_test_golden(), name);
    fh_buf_init(out, 1u << 26);
    CHECK_OK(fh_file_read(path, out, &err), err);
}

static fh_tokenizer *open_golden(const char *name) {
    fh_buf file;
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    read_golden(name, &file);
    fh_status s = fh_str_ends(fh_str_of(name), ".model")
                      ? fh_tokenizer_from_sentencepiece(&t, fh_bytes_of(fh_buf_str(&file)), NULL, &err)
                      : fh_tokenizer_from_json(&t, fh_buf_str(&file), NULL, &err);
    CHECK_OK(s, err);
    fh_buf_release(&file);
    return t;
}

static const char *const NAMES[] = {
    "added-flags", "bert-uncased", "deepseek-v3", "gemma4",        "kimi",
    "llama3",      "o200k",        "qwen35",      "spm-bpe-llama", "spm-unigram-identity"};

static void tokenizer_name(size_t i, char out[64]) {
    snprintf(out, 64, "%s%s", NAMES[i], strncmp(NAMES[i], "spm", 3) == 0 ? ".model" : ".tokenizer.json");
}

/* ---- the reference's ids ---- */

static void check_against(token_case *c, const fh_json_node *one, const char *field, bool add, bool parse,
                          const char *name) {
    const fh_json_node *ids = fh_json_get(one, field);
    fh_str text;
    size_t i = 0;
    if (!ids) return;
    CHECK(fh_json_to_str(fh_json_get(one, "text"), &text));
    encode_into(c, text, add, parse);
    if (c->ids.len != ids->n_child)
        fh_test_fail(__FILE__, __LINE__, "%s: '%.*s' gives %zu ids, expected %u", name, FH_STR_ARG(text), c->ids.len,
                     ids->n_child);
    for (const fh_json_node *n = fh_json_first(ids); n; n = fh_json_after(ids, n), i++) {
        uint64_t want;
        CHECK(fh_json_to_u64(n, &want) && c->ids.ptr[i] == want);
    }
}

TEST(tokenizer, golden_ids_and_texts) {
    for (size_t i = 0; i < FH_COUNT(NAMES); i++) {
        char name[64];
        fh_buf file;
        fh_json *doc = NULL;
        fh_err err = {0};
        token_case c;
        fh_str decoded;
        tokenizer_name(i, name);
        bool hf = fh_str_ends(fh_str_of(name), ".json");
        token_case_open(&c, open_golden(name));
        snprintf(name, sizeof name, "%s.json", NAMES[i]);
        read_golden(name, &file);
        CHECK_OK(fh_json_parse(&doc, fh_buf_str(&file), NULL, &err), err);
        const fh_json_node *cases = fh_json_get(fh_json_root(doc), "cases");
        CHECK(cases && cases->n_child >= 90);
        for (const fh_json_node *one = fh_json_first(cases); one; one = fh_json_after(cases, one)) {
            check_against(&c, one, "ids", hf, hf, name);
            check_against(&c, one, hf ? "ids_no_special" : "ids", false, hf, name);
            CHECK(fh_json_to_str(fh_json_get(one, "decoded"), &decoded));
            CHECK(fh_str_eq(decode_all(&c), decoded));
        }
        fh_json_free(doc);
        fh_buf_release(&file);
        token_case_close(&c);
    }
}

/* ---- what holds for any text ---- */

/* decode(encode(x)) = normalize(x); these two do not normalize. */
TEST(tokenizer, byte_level_gives_the_text_back) {
    static const char *const names[] = {"llama3.tokenizer.json", "deepseek-v3.tokenizer.json", "o200k.tokenizer.json",
                                        "kimi.tokenizer.json"};
    fh_buf text;
    fh_rng r;
    fh_buf_init(&text, 1 << 20);
    fh_rng_init(&r, fh_test_seed(), 5);
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        token_case c;
        token_case_open(&c, open_golden(names[i]));
        for (size_t round = 0; round < 1500 * fh_test_times(); round++) {
            random_text(&r, &text, 1 + fh_rng_below(&r, 30));
            encode_into(&c, fh_buf_str(&text), false, round % 2);
            CHECK(fh_str_eq(decode_all(&c), fh_buf_str(&text)));
        }
        token_case_close(&c);
    }
    fh_buf_release(&text);
}

static void check_no_control(token_case *c, fh_str text) {
    encode_into(c, text, false, false);
    for (size_t k = 0; k < c->ids.len; k++)
        if (fh_tokenizer_is_control(c->t, c->ids.ptr[k]) && c->ids.ptr[k] != fh_tokenizer_special(c->t, FH_SPECIAL_UNK))
            fh_test_fail(__FILE__, __LINE__, "'%.*s' gives control token %u", FH_STR_ARG(text), c->ids.ptr[k]);
}

/* T23: every special token of every tokenizer, alone and in random surroundings, split and repeated. */
TEST(tokenizer, text_never_gives_a_control_token) {
    fh_buf text, around;
    fh_rng r;
    fh_buf_init(&text, 1 << 20);
    fh_buf_init(&around, 1 << 20);
    fh_rng_init(&r, fh_test_seed(), 6);
    for (size_t i = 0; i < FH_COUNT(NAMES); i++) {
        char name[64];
        token_case c;
        tokenizer_name(i, name);
        token_case_open(&c, open_golden(name));
        const fh_vocab *v = fh_tokenizer_vocab(c.t);
        for (uint32_t id = 0; id < v->n_id; id++) {
            if (!fh_tokenizer_is_control(c.t, id)) continue;
            check_no_control(&c, fh_vocab_piece(v, id));
            for (size_t round = 0; round < 60 * fh_test_times(); round++) {
                random_text(&r, &around, fh_rng_below(&r, 6));
                fh_buf_clear(&text);
                fh_buf_add_str(&text, fh_buf_str(&around));
                for (uint64_t k = fh_rng_below(&r, 3); k < 3; k++) fh_buf_add_str(&text, fh_vocab_piece(v, id));
                fh_buf_add_str(&text, fh_buf_str(&around));
                check_no_control(&c, fh_buf_str(&text));
            }
        }
        token_case_close(&c);
    }
    fh_buf_release(&text);
    fh_buf_release(&around);
}

/* Token by token: whole characters only, and together the text of all. Random ids, so that bytes are torn apart. */
TEST(tokenizer, incremental_is_whole) {
    fh_buf part;
    fh_rng r;
    fh_err err = {0};
    fh_buf_init(&part, 1 << 20);
    fh_rng_init(&r, fh_test_seed(), 7);
    for (size_t i = 0; i < FH_COUNT(NAMES); i++) {
        char name[64];
        token_case c;
        fh_detok *d = NULL;
        tokenizer_name(i, name);
        token_case_open(&c, open_golden(name));
        CHECK_OK(fh_detok_new(&d, c.t, false, &err), err);
        for (int round = 0; round < 400; round++) {
            fh_ids_clear(&c.ids);
            fh_buf_clear(&part);
            for (uint64_t k = fh_rng_below(&r, 30); k > 0; k--)
                fh_ids_add(&c.ids,
                           (uint32_t)fh_rng_below(&r, fh_rng_below(&r, 2) ? fh_tokenizer_vocab(c.t)->n_id + 2 : 260));
            for (size_t k = 0; k < c.ids.len; k++) {
                CHECK_OK(fh_detok_push(d, c.ids.ptr[k], &part, &err), err);
                fh_str so_far = fh_buf_str(&part);
                CHECK(so_far.len == 0 || fh_utf8_valid(so_far));
            }
            CHECK_OK(fh_detok_finish(d, &part, &err), err);
            fh_str whole = decode_all(&c), all = fh_buf_str(&part);
            CHECK(fh_str_eq(whole, all));
        }
        fh_detok_free(d);
        token_case_close(&c);
    }
    fh_buf_release(&part);
}

/* Any bytes: no crash, and where tokens are bytes the same bytes come back as U+FFFD or themselves. */
TEST(tokenizer, takes_any_bytes) {
    fh_rng r;
    fh_rng_init(&r, fh_test_seed(), 8);
    for (size_t i = 0; i < FH_COUNT(NAMES); i++) {
        char name[64];
        token_case c;
        tokenizer_name(i, name);
        token_case_open(&c, open_golden(name));
        for (int round = 0; round < 300; round++) {
            char text[40];
            size_t len = fh_rng_below(&r, sizeof text);
            for (size_t k = 0; k < len; k++) text[k] = (char)fh_rng_below(&r, 256);
            encode_into(&c, (fh_str){text, len}, true, true);
            fh_str back = decode_all(&c);
            CHECK(fh_utf8_valid(back));
        }
        token_case_close(&c);
    }
}

/* ---- added tokens ---- */

#define LETTERS \
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\" " \
    "\":3,\"x\":4},\"merges\":[]}"
#define ADDED(content, flags) "{" LETTERS ",\"added_tokens\":[{\"id\":9,\"content\":\"" content "\"" flags "}]}"

TEST(tokenizer, added_tokens) {
    token_case c;
    token_case_open(&c, make_json(ADDED("xx", ",\"lstrip\":true,\"rstrip\":true")));
    encode_into(&c, FH_STR("a  xx  b"), false, false);
    check_ids(&c.ids, IDS(1, 9, 2), "strips both");
    token_case_close(&c);
    token_case_open(&c, make_json(ADDED("xx", ",\"single_word\":true")));
    encode_into(&c, FH_STR("axx xx"), false, false);
    check_ids(&c.ids, IDS(1, 4, 4, 3, 9), "single word");
    token_case_close(&c);
    token_case_open(&c, make_json(ADDED("xx", ",\"special\":true")));
    encode_into(&c, FH_STR("xxa"), false, false);
    check_ids(&c.ids, IDS(4, 4, 1), "special is text");
    encode_into(&c, FH_STR("xxa"), false, true);
    check_ids(&c.ids, IDS(9, 1), "unless asked");
    token_case_close(&c);
    token_case_open(&c, make_json("{\"normalizer\":{\"type\":\"Lowercase\"}," LETTERS
                                  ",\"added_tokens\":[{\"id\":9,\"content\":\"XX\",\"normalized\":true}]}"));
    encode_into(&c, FH_STR("aXxb"), false, false);
    check_ids(&c.ids, IDS(1, 9, 2), "normalized");
    token_case_close(&c);
    /* leftmost, then longest */
    token_case_open(&c, make_json("{" LETTERS
                                  ",\"added_tokens\":[{\"id\":9,\"content\":\"ab\"},{\"id\":10,\"content\":\"abx\"},"
                                  "{\"id\":11,\"content\":\"bxx\"}]}"));
    encode_into(&c, FH_STR("abxxab"), false, false);
    check_ids(&c.ids, IDS(10, 4, 9), "leftmost longest");
    token_case_close(&c);
}

TEST(tokenizer, added_tokens_have_a_bound) {
    static char json[4000];
    char name[1100];
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    memset(name, 'q', sizeof name);
    snprintf(json, sizeof json, "{" LETTERS ",\"added_tokens\":[{\"id\":9,\"content\":\"%.1025s\"}]}", name);
    CHECK_STATUS(fh_tokenizer_from_json(&t, fh_str_of(json), NULL, &err), FH_ERR_LIMIT);
    CHECK(!t);
}

/* ---- decoders ---- */

static void check_decoder(const char *decoder, const char *vocab, const uint32_t *id, const char *want) {
    char json[1000];
    token_case c;
    snprintf(json, sizeof json,
             "{\"decoder\":%s,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{%s}}}", decoder, vocab);
    token_case_open(&c, make_json(json));
    for (; *id != UINT32_MAX; id++) fh_ids_add(&c.ids, *id);
    CHECK_STR(decode_all(&c), want);
    token_case_close(&c);
}

TEST(tokenizer, decoders) {
    const char *v = "\"_a\":0,\"_\":1,\"b_\":2,\"##c\":3,\"d</w>\":4,\"<0xC3>\":5,\"<0xA9>\":6,\"'m\":7,\"  e \":8";
    check_decoder("null", v, IDS(0, 3), "_a ##c");
    check_decoder("{\"type\":\"Fuse\"}", v, IDS(0, 3), "_a##c");
    check_decoder("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"always\"}", v, IDS(0, 0, 2),
                  "a ab ");
    check_decoder("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}", v, IDS(0, 0), " a a");
    check_decoder("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", v, IDS(0, 3, 7), "_ac'm");
    check_decoder("{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}", v, IDS(3, 7), "##c 'm");
    check_decoder("{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", v, IDS(4, 4), "d d");
    check_decoder("{\"type\":\"ByteFallback\"}", v, IDS(0, 5, 6, 0), "_a\xC3\xA9_a");
    check_decoder("{\"type\":\"ByteFallback\"}", v, IDS(6, 5), "\xEF\xBF\xBD\xEF\xBF\xBD");
    check_decoder("{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1}", v, IDS(8, 8), " e e");
    check_decoder("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" "
                  "\",\"start\":3,\"stop\":2}]}",
                  v, IDS(8, 8), "e   e");
    check_decoder("{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}", v, IDS(0, 2), " ab ");
    check_decoder("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Replace\",\"pattern\":{"
                  "\"String\":\"_b\"},"
                  "\"content\":\"!\"}]}",
                  v, IDS(1, 2), "!_");
}

TEST(tokenizer, refuses_what_it_does_not_know) {
    static const char *const wrong[] = {
        "{" LETTERS ",\"normalizer\":{\"type\":\"Sparkle\"}}", "{" LETTERS ",\"decoder\":{\"type\":\"CTC\"}}",
        "{" LETTERS
        ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[],\"special_tokens\":{}}}",
        "{" LETTERS ",\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"x\",77],\"cls\":[\"a\",1]}}"};
    for (size_t i = 0; i < FH_COUNT(wrong); i++) {
        fh_tokenizer *t = NULL;
        fh_err err = {0};
        CHECK(fh_tokenizer_from_json(&t, fh_str_of(wrong[i]), NULL, &err) != FH_OK);
        CHECK(!t && err.message[0]);
    }
}

/* ---- every allocation fails ---- */

static fh_status build_and_use(fh_str json, fh_err *err) {
    fh_tokenizer *t = NULL;
    fh_tokenizer_scratch *s = NULL;
    fh_ids ids;
    fh_buf out;
    fh_encode_options opt = {.add_special = true, .parse_special = true};
    fh_ids_init(&ids, 1000);
    fh_buf_init(&out, 1000);
    fh_status st = fh_tokenizer_from_json(&t, json, NULL, err);
    if (st == FH_OK) st = fh_tokenizer_scratch_new(&s, t, err);
    if (st == FH_OK) st = fh_tokenizer_encode(t, s, FH_STR("Aab  xxb\xC3\xA9"), &opt, &ids, err);
    if (st == FH_OK) st = fh_tokenizer_decode(t, ids.ptr, ids.len, false, &out, err);
    if (st == FH_OK) st = fh_tokenizer_token_bytes(t, 1, &out, err);
    fh_ids_release(&ids);
    fh_buf_release(&out);
    fh_tokenizer_scratch_free(s);
    fh_tokenizer_free(t);
    return st;
}

TEST(tokenizer, survives_every_allocation_failing) {
    static const char *const json[] = {
        "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"},{\"type\":\"NFC\"}]},"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Whitespace\"},{\"type\":\"Metaspace\"}"
        "]},"
        "\"decoder\":{\"type\":\"Metaspace\"}," LETTERS
        ",\"added_tokens\":[{\"id\":9,\"content\":\"XX\",\"normalized\":true}]}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1]]}}",
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"##a\":2}}}"};
    for (size_t i = 0; i < FH_COUNT(json); i++) {
        fh_err err = {0};
        CHECK_OK(build_and_use(fh_str_of(json[i]), &err), err);
        uint64_t blocks = fh_mem_get_stats().live_blocks, failures = 0;
        fh_status s = FH_ERR_MEMORY;
        for (uint64_t n = 1; s != FH_OK && n < 2000; n++) {
            fh_fault_arm(FH_FAULT_ALLOC, n, false);
            s = build_and_use(fh_str_of(json[i]), &err);
            fh_fault_disarm();
            if (s != FH_OK) {
                CHECK_STATUS(s, FH_ERR_MEMORY);
                failures++;
            }
            CHECK_U64(fh_mem_get_stats().live_blocks, blocks);
        }
        CHECK_STATUS(s, FH_OK);
        CHECK(failures > 10);
    }
}

/* ---- other files ---- */

TEST(tokenizer, ranks_and_word_lists) {
    token_case c;
    fh_tokenizer *t = NULL;
    fh_err err = {0};
    /* a b ab " a": cut by words, whole pieces first */
    fh_str ranks = FH_STR("YQ== 0\nYg== 1\nYWI= 2\nIA== 3\nIGE= 4\n");
    CHECK_STATUS(fh_tokenizer_from_tiktoken(&t, ranks, FH_STR(""), NULL, &err), FH_ERR_USAGE);
    CHECK_OK(fh_tokenizer_from_tiktoken(&t, ranks, FH_STR(" ?\\p{L}+|\\s+"), NULL, &err), err);
    token_case_open(&c, t);
    encode_into(&c, FH_STR("ab aab"), true, false);
    check_ids(&c.ids, IDS(2, 4, 2), "ranks");
    CHECK_STR(decode_all(&c), "ab aab");
    token_case_close(&c);
    CHECK_OK(fh_tokenizer_from_wordlist(&t, FH_STR("[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\n##s\n!\n"), NULL, &err), err);
    token_case_open(&c, t);
    encode_into(&c, FH_STR("HELLOs, hello!"), true, false);
    check_ids(&c.ids, IDS(2, 4, 5, 1, 4, 6, 3), "words");
    encode_into(&c, FH_STR("hello [SEP] hello"), false, true);
    check_ids(&c.ids, IDS(4, 3, 4), "special");
    token_case_close(&c);
}
