/* cli/cmd_grammar.c - freehold grammar: is this schema supported, and does that text satisfy it.
 * SPDX-License-Identifier: Apache-2.0
 * check compiles and says what came out; match reads a text from the standard input and exits 0 or 1. A line end at the
 * end of the input may belong to the text or not. --batch reads one JSON string a line and prints true or false for
 * each. */
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/text_part.h"
#include "text/grammar.h"
#include "text/schema.h"

#define MAX_SCHEMA ((size_t)16 << 20)
#define MAX_TEXT ((size_t)1 << 30)

typedef struct grammar_options {
    bool gbnf, regex, json_mode, compact, batch;
    uint64_t space;
} grammar_options;

static fh_status compile_schema(fh_grammar **out, fh_str text, const fh_grammar_options *opt, fh_err *err) {
    fh_json *doc = NULL;
    FH_TRY(fh_json_parse(&doc, text, NULL, err));
    fh_status st = fh_grammar_from_schema(out, fh_json_root(doc), opt, err);
    fh_json_free(doc);
    return st;
}

static fh_status compile(fh_grammar **out, const grammar_options *o, const char *source, fh_err *err) {
    const fh_grammar_options opt = {.compact = o->compact, .max_space = (uint32_t)o->space};
    fh_buf text;
    if (o->gbnf + o->regex + o->json_mode > 1)
        return fh_fail(err, FH_ERR_USAGE, "grammar: --gbnf, --regex and --json-mode exclude each other");
    if (o->space > 60000) return fh_fail(err, FH_ERR_USAGE, "grammar: --space is at most 60000");
    if (o->json_mode && source) return fh_fail(err, FH_ERR_USAGE, "grammar: --json-mode takes no file, '%s'", source);
    if (o->json_mode) return fh_grammar_from_json(out, &opt, err);
    if (!source) return fh_fail(err, FH_ERR_USAGE, "grammar: which schema? `freehold grammar check FILE`");
    if (o->regex) return fh_grammar_from_regex(out, fh_str_of(source), err);
    fh_buf_init(&text, MAX_SCHEMA);
    fh_status st = fh_file_read(source, &text, err);
    if (st == FH_OK) {
        st = o->gbnf ? fh_grammar_from_gbnf(out, fh_buf_str(&text), err)
                     : compile_schema(out, fh_buf_str(&text), &opt, err);
        if (st != FH_OK) fh_err_set_path(err, source);
    }
    fh_buf_release(&text);
    return st;
}

static int check(const fh_cli *cli, const fh_grammar *g) {
    fh_grammar_facts f = fh_grammar_get_facts(g);
    fh_buf out;
    fh_buf_init(&out, MAX_TEXT);
    if (cli->json) {
        fh_json_writer w;
        fh_json_writer_init(&w, &out, true);
        fh_json_put_object(&w);
        fh_json_put_key(&w, "kind");
        fh_json_put_z(&w, f.name);
        fh_json_put_key(&w, "rules");
        fh_json_put_u64(&w, f.n_rule);
        fh_json_put_key(&w, "states");
        fh_json_put_u64(&w, f.n_state);
        fh_json_put_key(&w, "bytes");
        fh_json_put_u64(&w, f.bytes);
        fh_json_put_end(&w);
        fh_buf_add_byte(&out, '\n');
    } else {
        fh_buf text;
        fh_buf_init(&text, MAX_TEXT);
        fh_grammar_describe(g, &text);
        fh_str left = fh_buf_str(&text);
        for (size_t n; left.len && fh_str_find(left, '\n', &n); left = fh_str_drop(left, n + 1)) {
            fh_cli_add_safe(&out, fh_str_first(left, n)); /* names come from the file */
            fh_buf_add_byte(&out, '\n');
        }
        fh_buf_printf(&out, "%s: %llu rules or values, %llu states, %llu bytes\n", f.name, (unsigned long long)f.n_rule,
                      (unsigned long long)f.n_state, (unsigned long long)f.bytes);
        if (text.status != FH_OK) out.status = text.status;
        fh_buf_release(&text);
    }
    int rc = fh_cli_print(cli, &out);
    fh_buf_release(&out);
    return rc;
}

/* How far the text can be read, and whether it is whole there. */
static fh_status read_text(fh_matcher *m, fh_str text, bool *whole, size_t *upto, fh_err *err) {
    bool ok = true;
    fh_matcher_reset(m);
    FH_TRY(fh_matcher_accept(m, text, &ok, err));
    *upto = text.len;
    *whole = ok && fh_matcher_can_end(m);
    for (*upto = ok ? text.len : 0; *upto < text.len; ++*upto) {
        FH_TRY(fh_matcher_accept(m, (fh_str){text.ptr + *upto, 1}, &ok, err));
        if (!ok) return FH_OK;
        fh_matcher_forget(m);
    }
    return FH_OK;
}

static fh_status match_text(fh_matcher *m, fh_str text, bool *whole, size_t *upto, fh_err *err) {
    FH_TRY(read_text(m, text, whole, upto, err));
    if (*whole || !text.len || text.ptr[text.len - 1] != '\n') return FH_OK;
    bool without;
    size_t n;
    FH_TRY(read_text(m, fh_str_first(text, text.len - 1), &without, &n, err));
    if (without) *whole = true;
    return FH_OK;
}

static int match(const fh_cli *cli, fh_matcher *m, fh_str text, fh_err *err) {
    bool whole = false;
    size_t upto = 0;
    if (match_text(m, text, &whole, &upto, err) != FH_OK) return fh_cli_fail(cli, err);
    if (cli->json) fprintf(cli->out, "{\"match\":%s,\"read\":%zu}\n", whole ? "true" : "false", upto);
    else if (whole) fprintf(cli->out, "match\n");
    else if (upto < text.len) fprintf(cli->out, "no match: byte %zu cannot stand there\n", upto);
    else fprintf(cli->out, "no match: the text is not complete\n");
    return whole ? 0 : 1;
}

static int match_batch(const fh_cli *cli, fh_matcher *m, fh_str text, fh_err *err) {
    fh_status st = FH_OK;
    while (text.len && st == FH_OK) {
        size_t n = text.len, upto;
        bool whole = false;
        fh_json *line = NULL;
        fh_str one;
        (void)fh_str_find(text, '\n', &n);
        st = fh_json_parse(&line, fh_str_first(text, n), NULL, err);
        if (st == FH_OK && !fh_json_to_str(fh_json_root(line), &one))
            st = fh_fail(err, FH_ERR_FORMAT, "grammar: --batch reads one JSON string a line");
        if (st == FH_OK) st = read_text(m, one, &whole, &upto, err);
        if (st == FH_OK) fprintf(cli->out, "%s\n", whole ? "true" : "false");
        fh_json_free(line);
        text = fh_str_drop(text, n + 1);
    }
    return st == FH_OK ? 0 : fh_cli_fail(cli, err);
}

int fh_cmd_grammar(fh_cli *cli) {
    grammar_options o = {0};
    const char *arg[2] = {NULL, NULL};
    const fh_option options[] = {
        {"--gbnf", FH_OPTION_FLAG, &o.gbnf, NULL, "the file is a GBNF grammar (default: a JSON Schema)"},
        {"--regex", FH_OPTION_FLAG, &o.regex, NULL,
         "the argument is a regular expression for the whole text (default: no)"},
        {"--json-mode", FH_OPTION_FLAG, &o.json_mode, NULL, "any JSON object; no file (default: no)"},
        {"--compact", FH_OPTION_FLAG, &o.compact, NULL, "JSON without white space outside strings (default: no)"},
        {"--space", FH_OPTION_U64, &o.space, "N", "white space in one gap of JSON, in bytes (default: 64)"},
        {"--batch", FH_OPTION_FLAG, &o.batch, NULL,
         "match: one JSON string a line in, true or false out (default: no)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), arg, 2);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_grammar *g = NULL;
    fh_matcher *m = NULL;
    fh_buf text;
    fh_buf_init(&text, MAX_TEXT);
    bool checks = arg[0] && strcmp(arg[0], "check") == 0, matches = arg[0] && strcmp(arg[0], "match") == 0;
    fh_status st = FH_OK;
    if (!checks && !matches) st = fh_fail(&err, FH_ERR_USAGE, "grammar: say `grammar check` or `grammar match`");
    if (st == FH_OK) st = compile(&g, &o, arg[1], &err);
    if (st == FH_OK && matches) st = fh_cli_read_all(&text, &err);
    if (st == FH_OK && matches) st = fh_matcher_new(&m, g, &err);
    if (st != FH_OK) rc = fh_cli_fail(cli, &err);
    else if (checks) rc = check(cli, g);
    else rc = o.batch ? match_batch(cli, m, fh_buf_str(&text), &err) : match(cli, m, fh_buf_str(&text), &err);
    fh_buf_release(&text);
    fh_matcher_free(m);
    fh_grammar_free(g);
    return rc;
}
