/* tests/unit/test_json.c - the pull reader: what is JSON, what is not and at which byte.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include <math.h>

#include "json_tree.h"
#include "test.h"

/* Every text is read from a block of exactly its size, so that reading past the end shows under
 * ASan. */
static char *exact_copy(fh_str s) {
    char *p = fh_alloc(s.len, 1);
    CHECK(p != NULL);
    if (s.len) memcpy(p, s.ptr, s.len);
    return p;
}

static fh_status read_all(fh_str text, fh_err *err) {
    fh_json_reader r;
    fh_json_event ev;
    fh_err again = {0};
    fh_json_reader_init(&r, text);
    fh_status s;
    do s = fh_json_next(&r, &ev, err);
    while (s == FH_OK && ev.kind != FH_JSON_END);
    /* Both ends are final: the same answer again. */
    fh_status repeat = fh_json_next(&r, &ev, &again);
    bool same = repeat == s && (s == FH_OK ? ev.kind == FH_JSON_END : again.offset == err->offset);
    fh_json_reader_release(&r);
    CHECK(same);
    return s;
}

typedef struct sample {
    const char *text;
    size_t len;
    size_t offset; /* of the fault */
} sample;
#define Y(literal) \
    { literal, sizeof(literal) - 1, 0 }
#define N(offset, literal) \
    { literal, sizeof(literal) - 1, offset }

static const sample good[] = {
    /* values on their own, white space */
    Y("0"),
    Y("-0"),
    Y("\"\""),
    Y("true"),
    Y("false"),
    Y("null"),
    Y("[]"),
    Y("{}"),
    Y(" 1 "),
    Y("\t\n\r [\t\n\r ]\t\n\r "),
    Y(" { } "),
    Y("[ ]"),
    Y("\n\n        \n                 null"),
    Y("[1]\n"),
    Y("                                        1"),
    /* numbers */
    Y("123"),
    Y("-123"),
    Y("0.5"),
    Y("-0.5"),
    Y("1.0"),
    Y("10.010"),
    Y("1e1"),
    Y("1E1"),
    Y("1e+1"),
    Y("1e-1"),
    Y("0e0"),
    Y("0E+00"),
    Y("0.0e-0"),
    Y("1e01"),
    Y("-1.5E-007"),
    Y("1e999"),
    Y("1e-999"),
    Y("123456789012345678901234567890123456789012345678901234567890"),
    Y("0.000000000000000000000000000000000000000000000000000000000001"),
    Y("[0,-0,1.5,2e3]"),
    Y("1e99999999999999999999999999999999"),
    /* strings */
    Y("\"a\""),
    Y("\"abcdefgh\""),
    Y("\"abcdefghijklmnopq\""),
    Y("\" \""),
    Y("\"\\\"\""),
    Y("\"\\\\\""),
    Y("\"\\/\""),
    Y("\"/\""),
    Y("\"\\b\\f\\n\\r\\t\""),
    Y("\"\\u0041\""),
    Y("\"\\u00e9\""),
    Y("\"\\u00E9\""),
    Y("\"\\u0000\""),
    Y("\"\\uFFFF\""),
    Y("\"\\uD83D\\uDE00\""),
    Y("\"\\ud834\\udd1e\""),
    Y("\"\\uDBFF\\uDFFF\""),
    Y("\"\\uD7FF\\uE000\""),
    Y("\"\x7F\""),
    Y("\"\xC2\x80\""),
    Y("\"\xDF\xBF\""),
    Y("\"\xE0\xA0\x80\""),
    Y("\"\xED\x9F\xBF\""),
    Y("\"\xEE\x80\x80\""),
    Y("\"\xEF\xBF\xBF\""),
    Y("\"\xF0\x90\x80\x80\""),
    Y("\"\xF4\x8F\xBF\xBF\""),
    Y("\"\xEF\xBB\xBF\""),
    Y("\"\xE2\x80\xA8\xE2\x80\xA9\""),
    Y("\"\xC4\xA0the\""),
    Y("\"[{,:\""),
    Y("\"\\\\u0000\""),
    Y("\"\\\\\\\\\\\"\""),
    Y("\"// no comment /* here */\""),
    /* containers */
    Y("[[]]"),
    Y("[{}]"),
    Y("{\"\":0}"),
    Y("{\"a\":[]}"),
    Y("{\"a\":{}}"),
    Y("[1,2]"),
    Y("[1 , 2]"),
    Y("[\"a\",\"b\"]"),
    Y("[true,false,null]"),
    Y("{\"a\":1,\"b\":2}"),
    Y("{ \"a\" : 1 , \"b\" : 2 }"),
    Y("{\"a\":{\"a\":1}}"),
    Y("[[[[[[[[[[]]]]]]]]]]"),
    Y("{\"\\u0000\":0}"),
    Y("{\"a\\u0062\":1}"),
    Y("{\"\xF0\x9F\x98\x80\":\"\xF0\x9F\x98\x80\"}"),
    Y("{\"a\":1,\"A\":2}"),
    Y("[[],[],{}]"),
    Y("{\"a\":\"b\",\"c\":[{\"d\":-1e-5},null]}"),
    Y("[1,\n2,\n3]"),
    Y("{\"a\":\"\\u0000\",\"a\\u0000\":1}"),
};

static const sample bad[] = {
    /* nothing, or not enough */
    N(0, ""),
    N(1, " "),
    N(4, "\n\t\r "),
    N(1, "["),
    N(1, "{"),
    N(2, "[1"),
    N(3, "[1,"),
    N(2, "[["),
    N(3, "[[]"),
    N(3, "[{}"),
    N(4, "{\"a\""),
    N(5, "{\"a\":"),
    N(6, "{\"a\":1"),
    N(7, "{\"a\":1,"),
    N(1, "\""),
    N(2, "\"a"),
    N(9, "\"abcdefgh"),
    N(2, "\"\\"),
    N(2, "{\""),
    N(3, "\"\\\""),
    N(6, "{\"a\":["),
    N(1, "t"),
    N(3, "tru"),
    N(4, "fals"),
    N(2, "nu"),
    N(1, "-"),
    N(2, "0."),
    N(2, "1e"),
    N(3, "1e+"),
    N(3, "1E-"),
    N(3, "\"\\u"),
    N(6, "\"\\u004"),
    N(6, "[1,2,3"),
    /* too much */
    N(2, "1 2"),
    N(2, "[]]"),
    N(2, "{}}"),
    N(2, "[],"),
    N(2, "{}{}"),
    N(5, "null null"),
    N(1, "1]"),
    N(2, "\"\"\"\""),
    N(2, "[]\0"),
    N(4, "true\0"),
    N(2, "[]#"),
    N(1, "1,"),
    N(4, "truex"),
    N(2, "{}\xEF\xBB\xBF"),
    /* commas, colons, brackets */
    N(1, "[,1]"),
    N(3, "[1,]"),
    N(3, "[1,,2]"),
    N(3, "[1 2]"),
    N(1, "[,]"),
    N(1, "{,}"),
    N(7, "{\"a\":1,}"),
    N(7, "{\"a\":1,,\"b\":2}"),
    N(7, "{\"a\":1 \"b\":2}"),
    N(4, "{\"a\"}"),
    N(4, "{\"a\",\"b\"}"),
    N(5, "{\"a\" 1}"),
    N(5, "{\"a\"::1}"),
    N(5, "{\"a\":}"),
    N(5, "{\"a\":,}"),
    N(4, "{\"a\"=1}"),
    N(1, "{1:1}"),
    N(1, "{a:1}"),
    N(1, "{'a':1}"),
    N(1, "{null:1}"),
    N(1, "{[]:1}"),
    N(1, "[}"),
    N(1, "{]"),
    N(2, "[1}"),
    N(6, "{\"a\":1]"),
    N(4, "[\"a\":1]"),
    N(2, "[1:2]"),
    N(0, "]"),
    N(0, "}"),
    N(0, ","),
    N(0, ":"),
    N(7, "{\"a\":1,2}"),
    N(5, "{\"a\":}}"),
    /* words */
    N(0, "True"),
    N(0, "TRUE"),
    N(1, "tRue"),
    N(3, "nul]"),
    N(3, "nulL"),
    N(0, "None"),
    N(0, "undefined"),
    N(0, "NaN"),
    N(0, "Infinity"),
    N(0, "-Infinity"),
    N(1, "-Inf"),
    N(1, "-NaN"),
    N(1, "[NaN]"),
    N(0, "inf"),
    N(1, "nan"),
    N(1, "[a]"),
    N(4, "[tru]"),
    N(0, "*"),
    N(0, "\\u0031"),
    /* numbers */
    N(1, "01"),
    N(1, "00"),
    N(2, "-01"),
    N(2, "-00"),
    N(0, "+1"),
    N(0, ".5"),
    N(1, "-.5"),
    N(2, "1."),
    N(2, "1.e5"),
    N(3, "1.5.5"),
    N(1, "1,5"),
    N(1, "0x10"),
    N(1, "1f"),
    N(2, "1e"),
    N(2, "1ee5"),
    N(3, "1e+-5"),
    N(3, "1e5.5"),
    N(1, "--1"),
    N(1, "-+1"),
    N(1, "- 1"),
    N(2, "1 000"),
    N(1, "1_000"),
    N(1, "1a"),
    N(2, "[1+2]"),
    N(2, "0.e1"),
    N(0, "\xEF\xBC\x91"),
    N(1, "-a"),
    N(5, "[1.0e]"),
    N(2, "2e"),
    N(2, "-012"),
    N(2, "[0123]"),
    /* white space that is none */
    N(0, "\f1"),
    N(0, "\v1"),
    N(0, "\xC2\xA0"
         "1"),
    N(1, "1\f"),
    N(1, "[\xE2\x81\xA0]"),
    N(0, "\0"),
    N(1, "[\0]"),
    /* comments */
    N(0, "// x\n1"),
    N(0, "/* x */1"),
    N(2, "1 // x"),
    N(2, "1 /* x */"),
    N(0, "# x\n1"),
    /* byte order marks, other encodings */
    N(0, "\xEF\xBB\xBF{}"),
    N(0, "\xEF\xBB\xBF"),
    N(0, "\xFF\xFE[\0]\0"),
    N(0, "\0[\0]"),
    /* strings */
    N(0, "'a'"),
    N(1, "\"\n\""),
    N(2, "\"a\0\""),
    N(1, "\"\t\""),
    N(1, "\"\x1F\""),
    N(9, "\"abcdefgh\x01\""),
    N(3, "[\"a\nb\"]"),
    N(1, "\"\\x41\""),
    N(1, "\"\\a\""),
    N(1, "\"\\'\""),
    N(1, "\"\\0\""),
    N(1, "\"\\U0041\""),
    N(1, "\"\\\n\""),
    N(1, "\"\\v\""),
    N(1, "\"\\\0\""),
    N(3, "\"\\ug000\""),
    N(4, "\"\\u0g00\""),
    N(6, "\"\\u000g\""),
    N(6, "\"\\u004\""),
    N(3, "\"\\u\""),
    N(3, "\"\\u-041\""),
    N(3, "\"\\u 041\""),
    N(3, "\"\\u{41}\""),
    N(1, "\"\\\xC3\xA9\""),
    N(6, "\"a\\\\\\\""),
    /* surrogates */
    N(1, "\"\\uD800\""),
    N(1, "\"\\uDBFF\""),
    N(1, "\"\\uDC00\""),
    N(1, "\"\\uDFFF\""),
    N(1, "\"\\uDE00\\uDE00\""),
    N(1, "\"\\uD800\\uD800\""),
    N(1, "\"\\uD800\\u0041\""),
    N(1, "\"\\uD800a\""),
    N(1, "\"\\uD83D\\n\""),
    N(7, "\"\\u0041\\uDE00\\uD83D\""),
    N(1, "\"\\uD83Dx\\uDE00\""),
    N(1, "\"\\uD83D\\uDE0\""),
    N(2, "[\"\\ud800\"]"),
    N(2, "{\"\\ud800\":1}"),
    /* bytes that are no UTF-8 */
    N(1, "\"\x80\""),
    N(1, "\"\xBF\""),
    N(1, "\"\xC0\x80\""),
    N(1, "\"\xC1\xBF\""),
    N(1, "\"\xC3\""),
    N(1, "\"\xC3(\""),
    N(1, "\"\xE0\x9F\xBF\""),
    N(1, "\"\xE2\x82\""),
    N(1, "\"\xE2(\xA1\""),
    N(1, "\"\xED\xA0\x80\""),
    N(1, "\"\xED\xBF\xBF\""),
    N(1, "\"\xF0\x8F\xBF\xBF\""),
    N(1, "\"\xF0\x9F\x98\""),
    N(1, "\"\xF4\x90\x80\x80\""),
    N(1, "\"\xF5\x80\x80\x80\""),
    N(1, "\"\xF8\x88\x80\x80\x80\""),
    N(1, "\"\xFE\""),
    N(1, "\"\xFF\""),
    N(3, "\"\xC3\xA9\xA9\""),
    N(9, "\"abcdefgh\xFF\""),
    N(0, "\xC3\xA9"),
    N(1, "[\xFF]"),
    N(1, "\"\xE9\""),
    N(3, "\"\\n\xE9\""),
    N(1, "\"\xF0\x9F"),
    N(1, "\"\xE2"),
    N(2, "{\"\xFF\":1}"),
};

TEST(json, accepts) {
    for (size_t i = 0; i < FH_COUNT(good); i++) {
        char *p = exact_copy((fh_str){good[i].text, good[i].len});
        fh_err err = {0};
        fh_status s = read_all((fh_str){p, good[i].len}, &err);
        fh_json *doc = NULL;
        fh_status tree = fh_json_parse(&doc, (fh_str){p, good[i].len}, NULL, &err);
        fh_json_free(doc);
        fh_free(p);
        if (s != FH_OK || tree != FH_OK)
            fh_test_fail(__FILE__, __LINE__, "%s: %s at %llu", good[i].text, err.message,
                         (unsigned long long)err.offset);
    }
}

TEST(json, refuses_at_the_right_byte) {
    for (size_t i = 0; i < FH_COUNT(bad); i++) {
        char *p = exact_copy((fh_str){bad[i].text, bad[i].len});
        fh_str text = {p, bad[i].len};
        fh_err err = {0}, tree_err = {0};
        fh_json *doc = NULL;
        fh_status s = read_all(text, &err), tree = fh_json_parse(&doc, text, NULL, &tree_err);
        fh_free(p);
        if (s != FH_ERR_FORMAT || err.offset != bad[i].offset || tree != s || doc || tree_err.offset != err.offset)
            fh_test_fail(__FILE__, __LINE__, "%s: %s at %llu, expected %zu", bad[i].text, fh_status_name(s),
                         (unsigned long long)err.offset, bad[i].offset);
    }
}

/* A container is a document only when its last bracket is there. */
TEST(json, refuses_every_prefix) {
    for (size_t i = 0; i < FH_COUNT(good); i++) {
        const char *t = good[i].text;
        size_t len = good[i].len;
        if (len < 2 || (t[len - 1] != ']' && t[len - 1] != '}')) continue;
        for (size_t n = 0; n < len; n++) {
            char *p = exact_copy((fh_str){t, n});
            fh_err err = {0};
            fh_status s = read_all((fh_str){p, n}, &err);
            fh_free(p);
            if (s != FH_ERR_FORMAT || err.offset > n)
                fh_test_fail(__FILE__, __LINE__, "%zu bytes of %s: %s", n, t, fh_status_name(s));
        }
    }
}

TEST(json, says_what_is_wrong) {
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"", "JSON: expected a value, found the end of the text"},
        {"[1,]", "JSON: expected a value behind ',', found ']'"},
        {"{\"a\":1,}", "JSON: expected a key behind ',', found '}'"},
        {"{\"size\" 1}", "JSON: expected ':' behind the key 'size', found '1'"},
        {"[1 2]", "JSON: expected ',' or ']', found '2'"},
        {"{'a'", "JSON: expected a key or '}', found a single quote"},
        {"012", "JSON: expected no digit behind a leading zero, found '1'"},
        {"1.x", "JSON: expected a digit behind the decimal point, found 'x'"},
        {"tru", "JSON: expected 'true', found the end of the text behind 'tru'"},
        {"NaN", "JSON: NaN is no JSON number"},
        {"\"ab", "JSON: the text ends inside the string that starts at byte 0"},
        {"\"\n\"", "JSON: control character 0x0A inside a string; it is written '\\u000A'"},
        {"\"\\q\"", "JSON: a backslash before 'q' is no escape"},
        {"\"\\uDC00\"", "JSON: '\\uDC00' is half of a surrogate pair and stands alone"},
        {"\"\xFF\"", "JSON: byte 0xFF inside a string starts no valid UTF-8"},
        {"\xEF\xBB\xBF{}", "JSON: the text starts with a byte order mark, which is not allowed"},
        {"1 \x01", "JSON: expected the end of the text, found byte 0x01"},
    };
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_err err = {0};
        CHECK_STATUS(read_all(fh_str_of(rows[i].text), &err), FH_ERR_FORMAT);
        CHECK_STR(fh_str_of(err.message), rows[i].message);
    }
}

TEST(json, nesting_ends_at_the_limit) {
    for (size_t depth = FH_JSON_MAX_DEPTH; depth <= FH_JSON_MAX_DEPTH + 1; depth++) {
        for (int kind = 0; kind < 3; kind++) { /* arrays, objects, both by turns */
            fh_buf b;
            fh_err err = {0};
            fh_json *doc = NULL;
            fh_buf_init(&b, 1 << 16);
            for (size_t i = 0; i < depth; i++) fh_buf_add_z(&b, kind == 0 || (kind == 2 && i % 3) ? "[" : "{\"k\":");
            fh_buf_add_z(&b, "0");
            for (size_t i = depth; i-- > 0;) fh_buf_add_z(&b, kind == 0 || (kind == 2 && i % 3) ? "]" : "}");
            fh_status s = read_all(fh_buf_str(&b), &err);
            fh_status tree = fh_json_parse(&doc, fh_buf_str(&b), NULL, &err);
            fh_json_free(doc);
            fh_buf_release(&b);
            CHECK_STATUS(s, depth > FH_JSON_MAX_DEPTH ? FH_ERR_LIMIT : FH_OK);
            CHECK_STATUS(tree, s);
            if (s != FH_OK && kind < 2) CHECK_U64(err.offset, FH_JSON_MAX_DEPTH * (kind ? 5 : 1));
        }
    }
}

TEST(json, a_million_brackets_are_refused_at_once) {
    fh_buf b;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 20);
    fh_buf_fill(&b, '[', 1 << 20);
    fh_status s = read_all(fh_buf_str(&b), &err);
    fh_buf_release(&b);
    CHECK_STATUS(s, FH_ERR_LIMIT);
    CHECK_U64(err.offset, FH_JSON_MAX_DEPTH);
}

TEST(json, events_in_order) {
    static const char text[] = " {\"a\" : [1, \"x\\ty\"],\"\\u0000\":null}";
    static const struct {
        fh_json_kind kind;
        const char *text;
        size_t len;
        uint64_t offset;
    } want[] = {
        {FH_JSON_OBJECT, "", 0, 1},  {FH_JSON_KEY, "a", 1, 2},        {FH_JSON_ARRAY, "", 0, 8},
        {FH_JSON_NUMBER, "1", 1, 9}, {FH_JSON_STRING, "x\ty", 3, 12}, {FH_JSON_ARRAY_END, "", 0, 18},
        {FH_JSON_KEY, "\0", 1, 20},  {FH_JSON_NULL, "", 0, 29},       {FH_JSON_OBJECT_END, "", 0, 33},
        {FH_JSON_END, "", 0, 34},
    };
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    fh_json_reader_init(&r, FH_STR(text));
    for (size_t i = 0; i < FH_COUNT(want); i++) {
        CHECK_OK(fh_json_next(&r, &ev, &err), err);
        CHECK_U64(ev.kind, want[i].kind);
        CHECK_U64(ev.offset, want[i].offset);
        CHECK(fh_str_eq(ev.text, (fh_str){want[i].text, want[i].len}));
    }
    fh_json_reader_release(&r);
}

/* Without escapes the text is the input itself: no copy, no memory. */
TEST(json, plain_strings_are_not_copied) {
    fh_str text = FH_STR("[\"plain \xC3\xA9\",\"esc\\n\"]");
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    uint64_t calls = fh_fault_calls(FH_FAULT_ALLOC);
    fh_json_reader_init(&r, text);
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK(ev.text.ptr == text.ptr + 2);
    CHECK_U64(fh_fault_calls(FH_FAULT_ALLOC), calls);
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_STR(ev.text, "esc\n");
    CHECK(ev.text.ptr < text.ptr || ev.text.ptr > text.ptr + text.len);
    fh_json_reader_release(&r);
}

TEST(json, decodes_escapes) {
    static const struct {
        const char *json, *want;
        size_t len;
    } rows[] = {
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"\\u0000\\u007F\"", "\0\x7F", 2},
        {"\"\\u0080\\u07ff\"", "\xC2\x80\xDF\xBF", 4},
        {"\"\\u0800\\uFFFF\"", "\xE0\xA0\x80\xEF\xBF\xBF", 6},
        {"\"\\ud800\\udc00\"", "\xF0\x90\x80\x80", 4},
        {"\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF", 4},
        {"\"a\\u0062c\xC4\xA0\\n\"", "abc\xC4\xA0\n", 6},
        {"\"\\\\u0041\"", "\\u0041", 6},
        {"\"\\uABCD\\uabcd\"", "\xEA\xAF\x8D\xEA\xAF\x8D", 6},
    };
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_json_reader r;
        fh_json_event ev;
        fh_err err = {0};
        fh_json_reader_init(&r, fh_str_of(rows[i].json));
        CHECK_OK(fh_json_expect(&r, FH_JSON_STRING, &ev, "row", &err), err);
        CHECK(fh_str_eq(ev.text, (fh_str){rows[i].want, rows[i].len}));
        fh_json_reader_release(&r);
    }
}

/* Every alignment of a special byte against the eight-byte steps of the scanner. */
TEST(json, finds_special_bytes_at_every_place) {
    static const char specials[] = {'"', '\\', '\x1F', '\0', '\x80', '\xFF'};
    for (size_t len = 1; len < 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof specials; k++) {
                char body[64];
                memset(body, at % 2 ? ' ' : '\x7F', sizeof body); /* neighbours of both ends */
                body[0] = '"';
                body[1 + at] = specials[k];
                body[1 + len] = '"';
                char *p = exact_copy((fh_str){body, len + 2});
                fh_err err = {0};
                fh_status s = read_all((fh_str){p, len + 2}, &err);
                fh_free(p);
                CHECK_STATUS(s, FH_ERR_FORMAT);
                if (k == 0) CHECK(err.offset > at + 1); /* the string ends there, more follows */
                else CHECK_U64(err.offset, specials[k] == '\\' && at + 1 == len ? len + 2 : at + 1);
            }
        }
    }
}

TEST(json, skips_whole_values) {
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    fh_json_reader_init(&r, FH_STR("{\"a\":{\"x\":[1,{}]},\"b\":[[],[\"\\n\"]],\"c\":2,\"d\":3}"));
    CHECK_OK(fh_json_expect(&r, FH_JSON_OBJECT, &ev, "top", &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_KEY, &ev, "a", &err), err);
    CHECK_OK(fh_json_skip(&r, &ev, &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_KEY, &ev, "b", &err), err);
    CHECK_STR(ev.text, "b");
    CHECK_OK(fh_json_expect(&r, FH_JSON_ARRAY, &ev, "b", &err), err);
    CHECK_OK(fh_json_skip(&r, &ev, &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_KEY, &ev, "c", &err), err);
    CHECK_STR(ev.text, "c");
    CHECK_OK(fh_json_skip(&r, &ev, &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_KEY, &ev, "d", &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "d", &err), err);
    CHECK_OK(fh_json_skip(&r, &ev, &err), err); /* nothing: the number is read */
    CHECK_OK(fh_json_expect(&r, FH_JSON_OBJECT_END, &ev, "top", &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_END, &ev, "text", &err), err);
    fh_json_reader_release(&r);

    fh_json_reader_init(&r, FH_STR("{\"a\":[1,2}"));
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_STATUS(fh_json_skip(&r, &ev, &err), FH_ERR_FORMAT);
    CHECK_U64(err.offset, 9);
    fh_json_reader_release(&r);
}

TEST(json, expect_names_the_field) {
    fh_json_reader r;
    fh_json_event ev = {FH_JSON_NULL, {NULL, 7}, 99};
    fh_err err = {0};
    fh_json_reader_init(&r, FH_STR("{\"n_layer\":\"two\"}"));
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    fh_json_event before = ev;
    CHECK_STATUS(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "n_layer", &err), FH_ERR_FORMAT);
    CHECK_STR(fh_str_of(err.message), "JSON: 'n_layer' should be a number, found a string");
    CHECK_U64(err.offset, 11);
    CHECK(ev.kind == before.kind && ev.offset == before.offset); /* outputs untouched */
    fh_json_reader_release(&r);
}

TEST(json, nonfinite_numbers_by_option) {
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    double d;
    fh_json_reader_init(&r, FH_STR("[NaN,Infinity,-Infinity,-1]"));
    r.allow_nonfinite = true;
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_OK(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "x", &err), err);
    CHECK(fh_json_text_f64(ev.text, &d) && isnan(d));
    CHECK_OK(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "x", &err), err);
    CHECK(fh_json_text_f64(ev.text, &d) && isinf(d) && d > 0);
    CHECK_OK(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "x", &err), err);
    CHECK(fh_json_text_f64(ev.text, &d) && isinf(d) && d < 0);
    CHECK_OK(fh_json_expect(&r, FH_JSON_NUMBER, &ev, "x", &err), err);
    CHECK(fh_json_text_f64(ev.text, &d) && !isinf(d));
    fh_json_reader_release(&r);
    static const struct {
        const char *text;
        uint64_t offset;
    } wrong[] = {{"Nan", 0}, {"Infinit", 0}, {"-Infinit", 1}, {"+Infinity", 0}, {"NaNN", 3}};
    for (size_t i = 0; i < FH_COUNT(wrong); i++) {
        fh_json_reader_init(&r, fh_str_of(wrong[i].text));
        r.allow_nonfinite = true;
        fh_status s = fh_json_next(&r, &ev, &err);
        if (s == FH_OK) s = fh_json_next(&r, &ev, &err);
        CHECK_STATUS(s, FH_ERR_FORMAT);
        CHECK_U64(err.offset, wrong[i].offset);
    }
}

/* Out of memory while decoding: the reader stays where it was and goes on when memory is back. */
TEST(json, goes_on_after_lack_of_memory) {
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    fh_json_reader_init(&r, FH_STR("{\"a\\n\":\"b\\n\"}"));
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    fh_fault_arm(FH_FAULT_ALLOC, 1, true);
    fh_status first = fh_json_next(&r, &ev, &err), second = fh_json_next(&r, &ev, &err);
    fh_fault_disarm();
    CHECK_STATUS(first, FH_ERR_MEMORY);
    CHECK_STATUS(second, FH_ERR_MEMORY);
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK(ev.kind == FH_JSON_KEY);
    CHECK_STR(ev.text, "a\n");
    CHECK_OK(fh_json_next(&r, &ev, &err), err);
    CHECK_STR(ev.text, "b\n");
    fh_json_reader_release(&r);
}

/* One string that fills the text, all escapes: scratch never needs more than the text. */
TEST(json, scratch_is_bounded_by_the_text) {
    fh_buf b;
    fh_json_reader r;
    fh_json_event ev;
    fh_err err = {0};
    fh_buf_init(&b, 1 << 20);
    fh_buf_add_byte(&b, '"');
    for (int i = 0; i < 50000; i++) fh_buf_add_z(&b, i % 2 ? "\\/" : "\\u00e9");
    fh_buf_add_byte(&b, '"');
    CHECK_OK(fh_buf_check(&b, &err), err);
    fh_mem_reset_peak();
    uint64_t before = fh_mem_get_stats().peak_bytes;
    fh_json_reader_init(&r, fh_buf_str(&b));
    fh_status s = fh_json_next(&r, &ev, &err);
    uint64_t grown = fh_mem_get_stats().peak_bytes - before;
    size_t len = ev.text.len;
    fh_json_reader_release(&r);
    size_t text = b.len;
    fh_buf_release(&b);
    CHECK_STATUS(s, FH_OK);
    CHECK_U64(len, 25000 * 2 + 25000);
    CHECK(grown <= text + 8192); /* the heap rounds up */
}
