/* bench/mask_speed.c - how long one mask takes while a text is written under a grammar.
 * SPDX-License-Identifier: Apache-2.0
 * mask_speed COMMIT VOCAB: a tiktoken rank file. Each text is cut into the longest tokens that fit; before each token
 * the mask is computed (CPU time) and must allow it. Twice: with a cold masker, and with a new matcher on the warm one.
 * CSV: commit, grammar, tokens, cold mean, warm mean, p99 and worst of both (microseconds), places cached. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "format/tiktoken.h"
#include "text/mask.h"
#include "text/schema.h"

#define OBJ(p) "{\"type\":\"object\",\"properties\":{" p "}"
static const char person[] = OBJ(
    "\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},\"email\":{\"type\":"
    "\"string\",\"maxLength\":60},\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"address\":" OBJ(
        "\"street\":{\"type\":\"string\"},\"city\":{\"type\":\"string\"},\"zip\":{\"type\":\"string\",\"pattern\":\"^"
        "[0-9]{5}$\"}") ",\"required\":[\"street\",\"city\"],\"additionalProperties\":false},\"role\":{\"enum\":["
                        "\"admin\",\"editor\",\"viewer\"]}") ",\"required\":[\"name\",\"age\",\"role\"],"
                                                             "\"additionalProperties\":false}";
static const char person_open[] = OBJ("\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"}") "}";
static const char calls[] = "{\"type\":\"array\",\"items\":{\"oneOf\":[" OBJ(
    "\"tool\":{\"const\":\"search\"},\"query\":{\"type\":\"string\"}") ",\"required\":[\"tool\",\"query\"],"
                                                                       "\"additionalProperties\":false}," OBJ(
                                                                           "\"tool\":{\"const\":\"open\"},\"url\":{"
                                                                           "\"type\":\"string\"},\"when\":{\"type\":"
                                                                           "\"string\",\"format\":\"date-"
                                                                           "time\"}") ",\"required\":[\"tool\",\"url\"]"
                                                                                      ",\"additionalProperties\":false}"
                                                                                      "]}}";
static const char person_text[] =
    "{\"name\": \"Ada Lovelace of Ockham Park\", \"age\": 36, \"email\": "
    "\"ada.lovelace@analytical-engine.example.org\", "
    "\"tags\": [\"mathematics\", \"computing machinery\", \"poetical science and flying\"], \"address\": {\"street\": "
    "\"12 St. James's Square, second floor\", \"city\": \"London\", \"zip\": \"01815\"}, \"role\": \"editor\"}";
static const char indented_text[] = "{\n  \"name\": \"Charles Babbage\",\n  \"age\": 79,\n  \"inventions\": [\n    "
                                    "\"Difference Engine\",\n    \"Analytical "
                                    "Engine\",\n    \"the cowcatcher, a device attached to the front of a train to "
                                    "clear obstacles\"\n  ],\n  \"born\": "
                                    "{\n    \"year\": 1791,\n    \"place\": \"London, England \\u2014 probably 44 "
                                    "Crosby Row\"\n  },\n  \"alive\": false\n}";
static const char calls_text[] =
    "[{\"tool\": \"search\", \"query\": \"how fast is a swallow without any load, in metres per second\"}, {\"tool\": "
    "\"open\", \"url\": \"https://example.org/birds/swallow?unladen=yes\", \"when\": \"2024-02-29T12:30:00Z\"}]";
static const char gbnf[] =
    "root ::= object\nvalue ::= object | array | string | number | \"true\" | \"false\" | \"null\"\n"
    "object ::= \"{\" ws (string ws \":\" ws value (ws \",\" ws string ws \":\" ws value)*)? ws \"}\"\n"
    "array ::= \"[\" ws (value (ws \",\" ws value)*)? ws \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1F] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\"\n"
    "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)? ([eE] [-+]? [0-9]+)?\nws ::= [ \\t\\n]{0,20}\n";

static const char chess[] =
    "root ::= \"1. \" move \" \" move \"\\n\" (number \" \" move \" \" move \"\\n\")+\n"
    "number ::= [1-9] [0-9]? \".\"\nmove ::= (pawn | piece | castle) [+#]?\n"
    "piece ::= [NBKQR] [a-h]? [1-8]? \"x\"? [a-h] [1-8]\npawn ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBKQR])?\n"
    "castle ::= \"O-O\" \"-O\"?\n";
static const char chess_text[] =
    "1. e4 e5\n2. Nf3 Nc6\n3. Bb5 a6\n4. Ba4 Nf6\n5. O-O Be7\n6. Re1 b5\n7. Bb3 d6\n8. c3 O-O\n"
    "9. h3 Nb8\n10. d4 Nbd7\n11. Nbd2 Bb7\n12. Bc2 Re8\n13. Nf1 Bf8\n14. Ng3 g6\n";
static const char arithmetic[] = "root ::= (expr \"=\" ws term \"\\n\")+\nexpr ::= term ([-+*/] ws term)*\n"
                                 "term ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\n"
                                 "num ::= [0-9]+ ws\nws ::= [ \\t\\n]*\n";
static const char arithmetic_text[] =
    "total + 12 * (price - discount) / 100 = 42\n(a + b) * (a - b) = difference_of_squares\n"
    "((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0)) = distance\n3600 * hours + 60 * minutes + seconds = elapsed\n";
static const char list[] = "root ::= item+\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"\n";
static const char list_text[] =
    "- Check the oil level and the tyre pressure before leaving\n- Pack \"warm\" clothes: it is 5\xC2\xB0"
    "C at night\n- Caf\xC3\xA9 reservations for M\xC3\xBCller, 19:30\n- \xE6\x9D\xB1\xE4\xBA\xAC "
    "\xE3\x81\xB8\xE8\xA1\x8C\xE3\x81\x8F\n- Buy bread, milk & eggs (a dozen)\n";
static const char c_subset[] =
    "root ::= (declaration)*\n"
    "declaration ::= type ident \"(\" parameter? \")\" \"{\" statement* \"}\"\n"
    "type ::= \"int\" ws | \"float\" ws | \"char\" ws\nident ::= [a-zA-Z_] [a-zA-Z_0-9]*\n"
    "parameter ::= type ident\n"
    "statement ::= type ident ws \"=\" ws expr \";\" | ident ws \"=\" ws expr \";\" | ident ws \"(\" args? \")\" \";\" "
    "|"
    " \"return\" ws expr \";\" | \"while\" \"(\" condition \")\" \"{\" statement* \"}\" |"
    " \"for\" \"(\" step \";\" ws condition \";\" ws step \")\" \"{\" statement* \"}\" |"
    " \"if\" \"(\" condition \")\" \"{\" statement* \"}\" (\"else\" \"{\" statement* \"}\")? | line | block\n"
    "step ::= ident ws \"=\" ws expr\ncondition ::= expr relation expr\n"
    "relation ::= \"<=\" | \"<\" | \"==\" | \"!=\" | \">=\" | \">\"\n"
    "expr ::= term ((\"+\" | \"-\") term)*\nterm ::= factor ((\"*\" | \"/\") factor)*\n"
    "factor ::= ident | number | unary | ident \"(\" args? \")\" | \"(\" expr \")\" | string\nunary ::= \"-\" factor\n"
    "args ::= expr (\",\" ws expr)*\nnumber ::= [0-9]+\nstring ::= \"\\\"\" [^\"\\\\\\n]* \"\\\"\"\n"
    "line ::= \"//\" [^\\n]* \"\\n\"\nblock ::= \"/*\" [^*]* \"*/\"\nws ::= [ \\t\\n]+\n";
static const char c_text[] =
    "int fibonacci(int n){//the slow way, as in every book\nif(n<2){return n;}else{return fibonacci(n-1)+f"
    "ibonacci(n-2);}}int power(int base){int result = 1;int exponent = 10;while(exponent>0){//one factor "
    "at a time\nresult = result*base;exponent = exponent-1;}return result;}float average(int count){float "
    "sum = 0;for(i = 0; i<count; i = i+1){sum = sum+sample(i)*weight(i, count);}if(count==0){report (\"n"
    "othing to average\");return 0;}return sum/count;}int is_prime(int n){if(n<2){return 0;}for(d = 2; d*d"
    "<=n; d = d+1){if(n-(n/d)*d==0){/* a divisor: not a prime number */return 0;}}return 1;}int main(){in"
    "t total = 0;for(i = 0; i<10; i = i+1){total = total+fibonacci(i)*2;}int primes = 0;for(candidate = 2"
    "; candidate<1000; candidate = candidate+1){if(is_prime(candidate)!=0){primes = primes+1;}}printf (\"t"
    "he total of it all is %d, and there are %d primes\", total, primes);/* nothing more to do here */retu"
    "rn 0;}";

static const struct {
    const char *name, *source, *text;
    enum { SCHEMA, JSON, GBNF } kind;
} cases[] = {{"schema closed", person, person_text, SCHEMA}, {"schema open", person_open, indented_text, SCHEMA},
             {"tool calls", calls, calls_text, SCHEMA},      {"json mode", "", indented_text, JSON},
             {"gbnf json", gbnf, indented_text, GBNF},       {"gbnf json, one line", gbnf, person_text, GBNF},
             {"gbnf chess", chess, chess_text, GBNF},        {"gbnf arithmetic", arithmetic, arithmetic_text, GBNF},
             {"gbnf list", list, list_text, GBNF},           {"gbnf C subset", c_subset, c_text, GBNF}};

static void must(fh_status st, const fh_err *err) {
    char text[1200];
    if (st == FH_OK) return;
    fprintf(stderr, "mask_speed: %s\n", fh_err_text(err, text, sizeof text));
    exit(1);
}

/* Longest token that the text begins with: the vocabulary sorted by bytes, searched by prefix length. */
typedef struct entry {
    fh_str s;
    uint32_t id;
} entry;
static int by_text(const void *a, const void *b) { return fh_str_cmp(((const entry *)a)->s, ((const entry *)b)->s); }

static uint32_t longest(const entry *e, size_t n, fh_str text, size_t *len) {
    for (size_t l = FH_MIN(text.len, 64); l > 0; l--) {
        entry want = {fh_str_first(text, l), 0};
        const entry *hit = bsearch(&want, e, n, sizeof *e, by_text);
        if (hit) {
            *len = l;
            return hit->id;
        }
    }
    fprintf(stderr, "mask_speed: no token for a byte\n");
    exit(1);
}

/* Time of this thread's own: on a busy machine the clock on the wall measures the others. */
static uint64_t thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

typedef struct run {
    double mean, p99, worst;
    size_t n;
} run;

static run trace(fh_mask *k, const fh_grammar *g, fh_str text, const entry *e, size_t n) {
    static uint64_t took[4096];
    fh_matcher *m = NULL;
    fh_err err = {0};
    run r = {0, 0, 0, 0};
    must(fh_matcher_new(&m, g, &err), &err);
    while (text.len && r.n < FH_COUNT(took)) {
        size_t len = 0;
        const uint32_t *bits = NULL;
        bool ok = false;
        uint32_t id = longest(e, n, text, &len);
        uint64_t before = thread_ns();
        must(fh_mask_compute(k, m, &bits, &err), &err);
        took[r.n] = thread_ns() - before;
        r.mean += (double)took[r.n++] / 1000;
        must(fh_matcher_accept(m, fh_str_first(text, len), &ok, &err), &err);
        if (!ok || !(bits[id >> 5] >> (id & 31) & 1)) {
            fprintf(stderr, "mask_speed: the mask forbids '%.*s', the matcher says %d\n", (int)len, text.ptr, ok);
            exit(1);
        }
        text = fh_str_drop(text, len);
    }
    if (!fh_matcher_can_end(m)) {
        fprintf(stderr, "mask_speed: the text is not complete\n");
        exit(1);
    }
    qsort(took, r.n, sizeof *took, by_time);
    r.mean /= (double)r.n;
    r.p99 = (double)took[r.n * 99 / 100] / 1000;
    r.worst = (double)took[r.n - 1] / 1000;
    fh_matcher_free(m);
    return r;
}

static fh_grammar *compile(size_t i) {
    fh_grammar *g = NULL;
    fh_err err = {0};
    fh_json *doc = NULL;
    if (cases[i].kind == JSON) must(fh_grammar_from_json(&g, NULL, &err), &err);
    if (cases[i].kind == GBNF) must(fh_grammar_from_gbnf(&g, fh_str_of(cases[i].source), &err), &err);
    if (cases[i].kind == SCHEMA) {
        must(fh_json_parse(&doc, fh_str_of(cases[i].source), NULL, &err), &err);
        must(fh_grammar_from_schema(&g, fh_json_root(doc), NULL, &err), &err);
        fh_json_free(doc);
    }
    return g;
}

int main(int argc, char **argv) {
    fh_err err = {0};
    fh_buf file;
    fh_vocab *vocab = NULL;
    fh_mask_vocab *v = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: mask_speed COMMIT VOCAB.tiktoken\n");
        return 2;
    }
    fh_buf_init(&file, (size_t)64 << 20);
    must(fh_file_read(argv[2], &file, &err), &err);
    must(fh_tiktoken_parse(&vocab, fh_buf_str(&file), NULL, 0, &err), &err);
    size_t n = vocab->n_id;
    fh_str *piece = fh_alloc_zero(n, sizeof *piece);
    uint8_t *kind = fh_alloc_zero(n, 1);
    entry *e = fh_alloc_zero(n, sizeof *e);
    if (!piece || !kind || !e) return 1;
    for (uint32_t i = 0; i < n; i++) {
        piece[i] = fh_vocab_piece(vocab, i);
        e[i] = (entry){piece[i], i};
    }
    qsort(e, n, sizeof *e, by_text);
    uint64_t before = fh_clock_ns();
    must(fh_mask_vocab_new(&v, piece, kind, n, &err), &err);
    fprintf(stderr, "vocabulary: %zu tokens, tree in %.0f ms, %.1f MiB\n", n, (double)(fh_clock_ns() - before) / 1e6,
            (double)fh_mask_vocab_bytes(v) / 1048576);
    printf(
        "commit,grammar,tokens,cold_mean_us,cold_p99_us,cold_worst_us,warm_mean_us,warm_p99_us,warm_worst_us,places\n");
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_grammar *g = compile(i);
        fh_mask *k = NULL;
        must(fh_mask_new(&k, v, g, &err), &err);
        run cold = trace(k, g, fh_str_of(cases[i].text), e, n), warm = trace(k, g, fh_str_of(cases[i].text), e, n);
        printf("%s,\"%s\",%zu,%.1f,%.1f,%.1f,%.1f,%.1f,%.1f,%llu\n", argv[1], cases[i].name, cold.n, cold.mean,
               cold.p99, cold.worst, warm.mean, warm.p99, warm.worst, (unsigned long long)fh_mask_get_stats(k).places);
        fh_mask_free(k);
        fh_grammar_free(g);
    }
    fh_mask_vocab_free(v);
    fh_vocab_free(vocab);
    fh_buf_release(&file);
    fh_free(piece);
    fh_free(kind);
    fh_free(e);
    return 0;
}
