/* bench/mask_speed.c - how long one mask takes while JSON is written under a grammar.
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

static const struct {
    const char *name, *source, *text;
    enum { SCHEMA, JSON, GBNF } kind;
} cases[] = {{"schema closed", person, person_text, SCHEMA}, {"schema open", person_open, indented_text, SCHEMA},
             {"tool calls", calls, calls_text, SCHEMA},      {"json mode", "", indented_text, JSON},
             {"gbnf json", gbnf, indented_text, GBNF},       {"gbnf json, one line", gbnf, person_text, GBNF}};

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
