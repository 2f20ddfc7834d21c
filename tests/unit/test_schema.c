/* tests/unit/test_schema.c - JSON Schema: what is accepted, what is refused and where, and that no text gets stuck.
 * SPDX-License-Identifier: Apache-2.0
 * The judge over generated instances is tests/e2e/schema_suite.py; here are the cases that a person would think of. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "test.h"
#include "text/schema.h"

static fh_status compile(fh_grammar **g, const char *schema, fh_err *err) {
    fh_json *doc = NULL;
    fh_status st = fh_json_parse(&doc, fh_str_of(schema), NULL, err);
    if (st == FH_OK) st = fh_grammar_from_schema(g, fh_json_root(doc), NULL, err);
    fh_json_free(doc);
    return st;
}

static bool whole(fh_matcher *m, const char *text) {
    bool ok = false;
    fh_err err = {0};
    fh_matcher_reset(m);
    CHECK_OK(fh_matcher_accept(m, fh_str_of(text), &ok, &err), err);
    return ok && fh_matcher_can_end(m);
}

/* yes, no: texts that do and do not satisfy the schema, ended by NULL. */
static void judge(int line, const char *schema, const char *const *yes, const char *const *no) {
    fh_grammar *g = NULL;
    fh_matcher *m = NULL;
    fh_err err = {0};
    if (compile(&g, schema, &err) != FH_OK) fh_test_fail(__FILE__, line, "%s: %s", schema, err.message);
    CHECK_OK(fh_matcher_new(&m, g, &err), err);
    for (; *yes; yes++)
        if (!whole(m, *yes)) fh_test_fail(__FILE__, line, "%s refuses %s", schema, *yes);
    for (; *no; no++)
        if (whole(m, *no)) fh_test_fail(__FILE__, line, "%s accepts %s", schema, *no);
    fh_matcher_free(m);
    fh_grammar_free(g);
}
#define L(...) ((const char *const[]){__VA_ARGS__, NULL})
#define JUDGE(schema, yes, no) judge(__LINE__, schema, yes, no)

TEST(schema, scalars) {
    JUDGE("true", L("1", "{}", "[null]", "\"x\""), L("tru", ""));
    JUDGE("{\"type\":\"integer\"}", L("0", "-12", "1.0", "-0", "100000000000000000000"),
          L("1.5", "01", "1e3", "\"1\""));
    JUDGE("{\"type\":\"number\"}", L("0", "1.5", "-1e-3", "1E+10"), L("1.", ".5", "+1"));
    JUDGE("{\"type\":[\"boolean\",\"null\"]}", L("true", "false", "null"), L("0", "\"null\""));
    JUDGE("{\"type\":\"string\",\"nullable\":true}", L("null", "\"\""), L("1"));
    JUDGE("{\"enum\":[\"a\\n\",1,2.50,null,[1],{\"k\":\"v\"}]}",
          L("\"a\\n\"", "\"\\u0061\\u000a\"", "1", "1.0", "2.5", "2.500", "null", "[1]", "{\"k\":\"v\"}",
            "{\"\\u006b\" : \"v\"}"),
          L("\"a\"", "1.1", "2.51", "[]", "[1,1]", "{}", "{\"k\":\"w\"}", "{\"k\":\"v\",\"l\":1}", "true"));
    JUDGE("{\"const\":\"\\ud83d\\ude00\"}", L("\"\xF0\x9F\x98\x80\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\""),
          L("\"\\ud83d\\ude01\"", "\"\""));
}

TEST(schema, numbers) {
    JUDGE("{\"minimum\":-2,\"maximum\":10}", L("-2", "-2.0", "-1.999", "10", "10.000", "0", "-0", "9.99", "\"x\""),
          L("-2.01", "-3", "10.01", "11", "100"));
    JUDGE("{\"exclusiveMinimum\":0,\"exclusiveMaximum\":1.5}", L("0.0001", "1.4999", "1"),
          L("0", "-0.0", "1.5", "1.50", "2", "-1"));
    JUDGE("{\"type\":\"integer\",\"minimum\":99,\"maximum\":1001}", L("99", "100", "999", "1000", "1001"),
          L("98", "1002", "9", "10000", "-99"));
    JUDGE("{\"maximum\":-1.25}", L("-1.25", "-1.3", "-10"), L("-1.2", "-1.2499", "0", "1"));
    JUDGE("{\"minimum\":1e-3}", L("0.001", "0.0010", "1"), L("0.0009", "0"));
    JUDGE("{\"multipleOf\":7}", L("0", "7", "-14", "21.0", "700"), L("1", "8", "7.5", "-13"));
    JUDGE("{\"multipleOf\":0.25}", L("0.25", "1", "-2.75", "3.50"), L("0.3", "0.251", "0.125"));
    JUDGE("{\"type\":\"integer\",\"not\":{\"multipleOf\":2}}", L("1", "-7"), L("0", "2", "1.5"));
    /* A bound that floating point cannot hold. */
    JUDGE("{\"maximum\":9007199254740993}", L("9007199254740993"), L("9007199254740993.1", "9007199254740994"));
}

TEST(schema, strings) {
    JUDGE("{\"minLength\":2,\"maxLength\":3}",
          L("\"ab\"", "\"\\u00e9\xC3\xA9\xF0\x9F\x98\x80\"", "\"\\ud83d\\ude00x\"", "1"),
          L("\"a\"", "\"abcd\"", "\"\""));
    JUDGE("{\"type\":\"string\",\"pattern\":\"^[a-c]+$\"}", L("\"abc\"", "\"\\u0061\""),
          L("\"\"", "\"abcd\"", "\"\\u0064\""));
    JUDGE("{\"type\":\"string\",\"pattern\":\"b\",\"maxLength\":2}", L("\"b\"", "\"ab\"", "\"b\\\"\""),
          L("\"aab\"", "\"a\"", "\"\""));
    JUDGE("{\"type\":\"string\",\"format\":\"date\"}", L("\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""),
          L("\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-1-1\"", "\"2024-04-31\""));
    JUDGE("{\"format\":\"ipv6\"}", L("\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"::ffff:1.2.3.4\"", "\"1::8\"", "7"),
          L("\"1::2::3\"", "\"12345::\"", "\"1:2:3\"", "\":1\""));
    JUDGE("{\"format\":\"uuid\"}", L("\"2eb8aa08-aa98-11ea-b4aa-73b441d16380\""),
          L("\"2eb8aa08-aa98-11ea-b4aa73b441d16380\""));
    JUDGE("{\"format\":\"uri\"}", L("\"http://a.b/c?d#e\"", "\"urn:x:y\"", "\"mailto:a@b\""),
          L("\"//a/b\"", "\"a b\"", "\"http://a b\"", "\"\""));
}

/* An automaton and a longest length: counted, not multiplied. */
TEST(schema, strings_bounded) {
    JUDGE("{\"type\":\"string\",\"pattern\":\"^(ab)*c?$\",\"maxLength\":4}",
          L("\"\"", "\"ab\"", "\"abab\"", "\"abc\"", "\"\\u0061b\""), L("\"ababc\"", "\"ababab\"", "\"a\"", "\"aba\""));
    JUDGE("{\"type\":\"string\",\"pattern\":\"^[^x]*$\",\"minLength\":2,\"maxLength\":3}",
          L("\"ab\"", "\"\xC3\xA9\xF0\x9F\x98\x80y\""), L("\"a\"", "\"abcd\"", "\"ax\""));
    JUDGE("{\"type\":\"string\",\"format\":\"uri\",\"maxLength\":2048}", L("\"http://a.b/c\""), L("\"x\""));
    JUDGE("{\"type\":\"string\",\"format\":\"email\",\"minLength\":3,\"maxLength\":320}", L("\"a@b\""), L("\"a@\""));
    JUDGE("{\"type\":\"string\",\"allOf\":[{\"pattern\":\"^a\",\"maxLength\":5},{\"pattern\":\"z$\",\"minLength\":4,"
          "\"maxLength\":9}]}",
          L("\"abcz\"", "\"aaaaz\""), L("\"abz\"", "\"aaaaaz\"", "\"bbbz\""));
    JUDGE("{\"not\":{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":2}}", L("\"abc\"", "\"b\"", "1"),
          L("\"a\"", "\"ab\""));
    JUDGE("{\"anyOf\":[{\"pattern\":\"^a*$\",\"maxLength\":2},{\"pattern\":\"^a*$\",\"minLength\":4}],\"type\":"
          "\"string\"}",
          L("\"aa\"", "\"aaaa\"", "\"\""), L("\"aaa\"", "\"b\""));
    fh_grammar *g = NULL;
    fh_err err = {0};
    CHECK(compile(&g, "{\"type\":\"string\",\"pattern\":\"^a{5}$\",\"maxLength\":4}", &err) == FH_ERR_FORMAT &&
          strstr(err.message, "no value"));
}

TEST(schema, objects) {
    static const char *closed =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"ab\":{\"const\":1},\"c\":true},"
        "\"required\":[\"ab\",\"a\"],\"additionalProperties\":false}";
    JUDGE(closed,
          L("{\"a\":1,\"ab\":1}", "{\"ab\":1,\"a\":1}", "{\"c\":{},\"ab\":1.0,\"a\":2}", "{\"\\u0061b\":1,\"a\":5}"),
          L("{\"a\":1}", "{\"a\":1,\"a\":1,\"ab\":1}", "{\"a\":1,\"ab\":1,\"d\":1}", "{\"a\":1,\"ab\":1,\"ab\":1}",
            "{}"));
    JUDGE("{\"properties\":{\"a\":{\"type\":\"integer\"}},\"additionalProperties\":{\"type\":\"string\"}}",
          L("{\"a\":1,\"aa\":\"x\",\"\":\"\"}", "[]", "{}"),
          L("{\"a\":\"x\"}", "{\"b\":1}", "{\"b\":\"1\",\"b\":\"2\"}"));
    JUDGE(
        "{\"patternProperties\":{\"^x\":{\"type\":\"integer\"},\"y$\":{\"minimum\":5}},\"additionalProperties\":false}",
        L("{\"x\":1,\"xy\":5,\"y\":\"s\"}", "{\"x1\":-1}"),
        L("{\"xy\":4}", "{\"y\":1}", "{\"z\":1}", "{\"xy\":\"s\"}"));
    JUDGE("{\"minProperties\":2,\"maxProperties\":2}", L("{\"a\":1,\"b\":2}"),
          L("{\"a\":1}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2,\"c\":3}"));
    JUDGE("{\"propertyNames\":{\"pattern\":\"^a\",\"maxLength\":2},\"required\":[\"a\"]}", L("{\"a\":1,\"ab\":2}"),
          L("{\"b\":1,\"a\":1}", "{\"a\":1,\"abc\":1}"));
    JUDGE("{\"properties\":{\"a\":false},\"additionalProperties\":true}", L("{\"b\":1}", "{\"ab\":1}"), L("{\"a\":1}"));
    JUDGE("{\"dependentRequired\":{\"a\":[\"b\",\"c\"]}}", L("{}", "{\"b\":1}", "{\"c\":1,\"a\":1,\"b\":1}"),
          L("{\"a\":1}", "{\"a\":1,\"b\":2}"));
    JUDGE("{\"$defs\":{\"base\":{\"properties\":{\"a\":{\"type\":\"integer\"}}}},\"allOf\":[{\"$ref\":\"#/$defs/"
          "base\"}],\"properties\":{\"b\":true},"
          "\"unevaluatedProperties\":false}",
          L("{\"a\":1,\"b\":2}", "{}"), L("{\"c\":1}", "{\"a\":\"x\"}"));
    /* Only "ab" is left below "a": once it is there, "a..." must not begin again. */
    JUDGE("{\"patternProperties\":{\"^(ab|c.)$\":true},\"additionalProperties\":false}",
          L("{\"ab\":1,\"cx\":2,\"cy\":3}"), L("{\"ab\":1,\"ab\":1}", "{\"ac\":1}", "{\"c\":1}"));
}

TEST(schema, arrays) {
    JUDGE("{\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}", L("[1]", "[ 1 , 2 , 3 ]", "{}"),
          L("[]", "[1,2,3,4]", "[1,\"2\"]"));
    JUDGE("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":false}", L("[]", "[1]", "[1,2]"),
          L("[2]", "[1,2,3]", "[1,1]"));
    JUDGE("{\"prefixItems\":[true,{\"type\":\"null\"}],\"items\":{\"type\":\"string\"},\"minItems\":2}",
          L("[0,null]", "[0,null,\"a\",\"b\"]"), L("[0]", "[0,1]", "[0,null,1]"));
    JUDGE("{\"type\":\"array\",\"maxItems\":1,\"uniqueItems\":true}", L("[]", "[1]"), L("[1,2]"));
}

TEST(schema, logic) {
    JUDGE("{\"allOf\":[{\"minimum\":3},{\"maximum\":5}],\"type\":\"integer\"}", L("3", "4", "5"), L("2", "6", "3.5"));
    JUDGE("{\"anyOf\":[{\"type\":\"integer\",\"maximum\":2},{\"type\":\"integer\",\"minimum\":5}]}", L("2", "5"),
          L("3", "4"));
    JUDGE("{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}", L("1", "2.5", "\"x\""), L("3", "1.5"));
    JUDGE("{\"oneOf\":[{\"properties\":{\"k\":{\"const\":\"a\"},\"n\":{\"type\":\"integer\"}},\"required\":[\"k\"],"
          "\"type\":\"object\"},"
          "{\"properties\":{\"k\":{\"const\":\"b\"},\"n\":{\"type\":\"string\"}},\"required\":[\"k\"],\"type\":"
          "\"object\"}]}",
          L("{\"k\":\"a\",\"n\":1}", "{\"n\":\"x\",\"k\":\"b\"}"),
          L("{\"k\":\"a\",\"n\":\"x\"}", "{\"n\":1,\"k\":\"b\"}", "{\"n\":1}", "{\"k\":\"c\"}"));
    JUDGE("{\"not\":{\"type\":[\"string\",\"object\"]}}", L("1", "null", "[]"), L("\"\"", "{}"));
    JUDGE("{\"not\":{\"required\":[\"a\"],\"properties\":{\"b\":{\"type\":\"integer\"}}}}",
          L("{}", "{\"a\":1,\"b\":\"x\"}", "{\"b\":1}"), L("{\"a\":1}", "{\"a\":1,\"b\":2}", "3"));
    JUDGE("{\"if\":{\"properties\":{\"k\":{\"const\":1}},\"required\":[\"k\"]},\"then\":{\"required\":[\"a\"]},"
          "\"else\":{\"required\":[\"b\"]}}",
          L("{\"k\":1,\"a\":0}", "{\"k\":2,\"b\":0}", "{\"b\":0}"), L("{\"k\":1,\"b\":0}", "{\"k\":2,\"a\":0}", "{}"));
    JUDGE("{\"$ref\":\"#/$defs/"
          "n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"$ref\":"
          "\"#/$defs/n\"}},"
          "\"required\":[\"v\"],\"additionalProperties\":false}}}",
          L("{\"v\":1}", "{\"next\":{\"v\":2,\"next\":{\"v\":3}},\"v\":1}"),
          L("{\"next\":{\"v\":1}}", "{\"v\":1,\"next\":{}}"));
    JUDGE("{\"properties\":{\"a/b\":{\"type\":\"integer\"},\"c%d\":{\"$ref\":\"#/properties/"
          "a~1b\"},\"e\":{\"$ref\":\"#/properties/c%25d\"}}}",
          L("{\"e\":1}"), L("{\"e\":\"x\"}", "{\"c%d\":null}"));
}

TEST(schema, refused) {
    static const struct {
        const char *schema, *says;
    } cases[] = {
        {"{\"properties\":{\"x\":{\"requred\":[]}}}", "'/properties/x/requred': a keyword that is not known"},
        {"{\"items\":{\"uniqueItems\":true}}", "'/items/uniqueItems'"},
        {"{\"contains\":{\"type\":\"integer\"}}", "'/contains'"},
        {"{\"allOf\":[{},{\"$dynamicRef\":\"#x\"}]}", "'/allOf/1/$dynamicRef'"},
        {"{\"$ref\":\"http://example.org/x\"}", "'/$ref': a reference to another document"},
        {"{\"$ref\":\"#/$defs/none\"}", "'/$ref': this reference leads nowhere"},
        {"{\"$ref\":\"#\"}", "refers to itself without end"},
        {"{\"properties\":{\"a~/b\":{\"pattern\":\"(?=x)\"}}}",
         "'/properties/a~0~1b/pattern': regular expression '(?=x)': lookaround"},
        {"{\"format\":\"postcode\"}", "'/format': a format that is not known"},
        {"{\"type\":\"int\"}", "'/type': no type"},
        {"{\"minimum\":\"3\"}", "'/minimum': must be a number"},
        {"{\"minLength\":-1}", "'/minLength'"},
        {"{\"type\":\"string\",\"enum\":[1,2]}", "no value satisfies it"},
        {"{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#\"}}}", "no value satisfies it"},
        {"{\"oneOf\":[{\"required\":[\"a\"],\"patternProperties\":{\"x\":{\"type\":\"null\"}}},{\"required\":[\"b\"],"
         "\"patternProperties\":{\"y\":{\"type\":\"null\"}}}]}",
         "'/oneOf': two branches overlap"},
        {"{\"not\":{\"additionalProperties\":{\"type\":\"string\"}}}", "'/not': this has no exact complement"},
        {"{\"multipleOf\":0.123456789}", "'/multipleOf'"},
        {"{\"$schema\":\"http://example.org/mine\"}", "'/$schema'"},
        {"[1]", "a schema must be"},
        {"{\"properties\":{\"p\":{\"items\":[{}]}}}", "'/properties/p/items': a list of schemas is called prefixItems"},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_status st = compile(&g, cases[i].schema, &err);
        fh_grammar_free(g);
        if (st == FH_OK || !strstr(err.message, cases[i].says))
            fh_test_fail(__FILE__, __LINE__, "%s gives %s: %s", cases[i].schema, fh_status_name(st), err.message);
    }
}

/* T24, T26: hostile schemas end soon, one way or the other. */
TEST(schema, ceilings) {
    fh_buf b;
    fh_buf_init(&b, 1 << 22);
    for (int kind = 0; kind < 5; kind++) {
        fh_grammar *g = NULL;
        fh_err err = {0};
        fh_buf_clear(&b);
        if (kind == 0) { /* nested schemas */
            for (int i = 0; i < 250; i++) fh_buf_add_z(&b, "{\"not\":");
            fh_buf_add_z(&b, "true");
            fh_buf_fill(&b, '}', 250);
        } else if (kind == 1) { /* alternatives of alternatives */
            fh_buf_add_z(&b, "{\"allOf\":[");
            for (int i = 0; i < 20; i++)
                fh_buf_printf(&b, "%s{\"anyOf\":[{\"required\":[\"a%d\"]},{\"required\":[\"b%d\"]}]}", i ? "," : "", i,
                              i);
            fh_buf_add_z(&b, "]}");
        } else if (kind == 2) {
            fh_buf_add_z(&b, "{\"pattern\":\"(a|b)*a(a|b){30}\"}");
        } else if (kind == 3) { /* products of lengths */
            fh_buf_add_z(&b, "{\"pattern\":\"(.{1,300}x){1,30}\",\"maxLength\":100000,\"minLength\":9}");
        } else { /* conjunctions of references to conjunctions */
            fh_buf_add_z(&b, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
            for (int i = 0; i < 200; i++)
                fh_buf_printf(&b,
                              "%s\"d%d\":{\"properties\":{\"x\":{\"$ref\":\"#/$defs/d%d\"},\"y\":{\"$ref\":\"#/$defs/"
                              "d%d\"}},\"allOf\":[{\"properties\":"
                              "{\"x\":{\"$ref\":\"#/$defs/d%d\"}}}]}",
                              i ? "," : "", i, (i + 1) % 200, (i * 7 + 3) % 200, (i * 13 + 1) % 200);
            fh_buf_add_z(&b, "}}");
        }
        fh_buf_add_byte(&b, 0);
        uint64_t before = fh_clock_ns();
        fh_status st = compile(&g, (const char *)b.ptr, &err);
        double ms = (double)(fh_clock_ns() - before) / 1e6;
        fh_grammar_free(g);
        CHECK(st == FH_OK || st == FH_ERR_LIMIT || st == FH_ERR_FORMAT || st == FH_ERR_UNSUPPORTED);
        /* Generous: sanitizers and busy machines; the steps themselves are counted. */
        if (ms > 5000) fh_test_fail(__FILE__, __LINE__, "kind %d took %.0f ms", kind, ms);
    }
    fh_buf_release(&b);
}

static const char *const walked[] = {
    "true",
    "{\"type\":\"object\",\"properties\":{\"aa\":{\"type\":\"integer\",\"minimum\":3,\"maximum\":120},\"ab\":{\"enum\":"
    "[\"x\",\"xy\",null,2.5]},"
    "\"b\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"maxItems\":2}},\"required\":[\"aa\"],"
    "\"additionalProperties\":false,\"minProperties\":2}",
    "{\"type\":\"object\",\"patternProperties\":{\"^(ab|a|c[x-z])$\":{\"type\":\"null\"}},\"additionalProperties\":"
    "false,\"minProperties\":4}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":0}},\"additionalProperties\":{\"type\":\"null\"},"
    "\"maxProperties\":3,\"required\":[\"z\",\"a\"]}",
    "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"],\"maxProperties\":"
    "2},"
    "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"m\":{\"format\":\"date\",\"type\":\"string\"}},"
    "\"required\":[\"k\",\"m\"],\"additionalProperties\":false}]}",
    "{\"type\":\"string\",\"pattern\":\"^(ab|\xC3\xA9{2,3}|\xF0\x9F\x98\x80)+$\",\"maxLength\":5}",
    "{\"type\":\"string\",\"pattern\":\"^([a-c]+-)*x[yz]{2}$\",\"minLength\":2,\"maxLength\":9}",
    "{\"type\":\"number\",\"minimum\":-12.5,\"exclusiveMaximum\":-0.25,\"multipleOf\":0.25}",
};

/* From every position that a random text reaches there is a way on, and the short way ends in valid JSON. */
TEST(schema, never_stuck) {
    fh_rng rng;
    char text[600];
    fh_rng_init(&rng, fh_test_seed(), 95);
    for (size_t s = 0; s < FH_COUNT(walked); s++) {
        fh_grammar *g = NULL;
        fh_matcher *m = NULL;
        fh_err err = {0};
        int ended = 0;
        CHECK_OK(compile(&g, walked[s], &err), err);
        CHECK_OK(fh_matcher_new(&m, g, &err), err);
        for (int round = 0; round < 60; round++) {
            size_t n = 0;
            fh_matcher_reset(m);
            while (n < sizeof text && !(fh_matcher_can_end(m) && (n > 300 || fh_rng_below(&rng, 4) == 0))) {
                uint8_t may[256];
                uint32_t n_may = 0;
                for (uint32_t b = 0; b < 256; b++) {
                    char c = (char)b;
                    bool ok;
                    CHECK_OK(fh_matcher_accept(m, (fh_str){&c, 1}, &ok, &err), err);
                    if (!ok) continue;
                    CHECK(fh_matcher_rollback(m, 1));
                    bool dull = c == ' ' || c == '\t' || c == '\n' || c == '\r' || b >= 0x80 || (c == '0' && n > 40);
                    for (int k = dull ? 1 : strchr("\"}],:", c) && c ? 12 : 4; k > 0 && n_may < 256; k--)
                        may[n_may++] = (uint8_t)b;
                }
                if (n_may == 0) {
                    if (fh_matcher_can_end(m)) break;
                    fh_test_fail(__FILE__, __LINE__, "%s: stuck behind %.*s", walked[s], (int)n, text);
                }
                text[n] = (char)may[fh_rng_below(&rng, n_may)];
                bool ok;
                CHECK_OK(fh_matcher_accept(m, (fh_str){text + n, 1}, &ok, &err), err);
                CHECK(ok);
                n++;
            }
            if (!fh_matcher_can_end(m)) continue;
            fh_json *doc = NULL;
            if (fh_json_parse(&doc, (fh_str){text, n}, NULL, &err) != FH_OK)
                fh_test_fail(__FILE__, __LINE__, "%s: %.*s: %s", walked[s], (int)n, text, err.message);
            fh_json_free(doc);
            ended++;
        }
        CHECK(ended > 20);
        fh_matcher_free(m);
        fh_grammar_free(g);
    }
}

TEST(schema, memory) {
    for (size_t s = 1; s < 5; s++) {
        fh_status st = FH_ERR_MEMORY;
        fh_json *doc = NULL;
        CHECK(fh_json_parse(&doc, fh_str_of(walked[s]), NULL, NULL) == FH_OK);
        for (uint64_t nth = 1; st != FH_OK; nth++) {
            fh_grammar *g = NULL;
            fh_fault_arm(FH_FAULT_ALLOC, nth, false);
            st = fh_grammar_from_schema(&g, fh_json_root(doc), NULL, NULL);
            fh_fault_disarm();
            fh_grammar_free(g);
            CHECK(st == FH_OK || st == FH_ERR_MEMORY);
            CHECK(nth < 10000);
        }
        fh_json_free(doc);
    }
}
