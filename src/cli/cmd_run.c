/* cli/cmd_run.c - freehold run: answer once, or talk.
 * SPDX-License-Identifier: Apache-2.0
 * With a prompt, or with something on standard input, one answer; both together are one prompt. At a terminal without a
 * prompt, a conversation (chat_loop.c). With --tokens ids go in, and with --ids ids come out: for tests and tools. */
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/chat_loop.h"
#include "cli/chat_print.h"
#include "cli/text_part.h"

#define MAX_WORDS 4096
#define MAX_SCHEMA ((size_t)16 << 20)
#define INTERRUPTED 130 /* as shells count it */

typedef struct run_options {
    fh_chat_settings set;
    fh_sampling sampling;
    const char *tokens, *system, *format, *think, *seed;
    bool ids, no_history;
} run_options;

/* ---- --json: the answer as one value ---- */

typedef struct collector {
    fh_buf text, reasoning;
    fh_ids ids;
} collector;

static fh_status collect_text(void *ctx, bool reasoning, fh_str text, fh_err *err) {
    collector *k = ctx;
    fh_buf *b = reasoning ? &k->reasoning : &k->text;
    fh_buf_add_str(b, text);
    return fh_buf_check(b, err);
}

static fh_status collect_id(void *ctx, uint32_t id, fh_err *err) {
    collector *k = ctx;
    fh_ids_add(&k->ids, id);
    return fh_ids_check(&k->ids, err);
}

static void put_seconds(fh_json_writer *w, const char *key, uint64_t ns) {
    fh_json_put_key(w, key);
    fh_json_put_f64(w, (double)(ns / 1000) / 1e6);
}

static int print_json(const fh_chat *c, const collector *k, bool text) {
    static const char *const ends[] = {
        [FH_GENERATE_END_TOKEN] = "end",   [FH_GENERATE_STOP] = "stop",           [FH_GENERATE_LENGTH] = "length",
        [FH_GENERATE_CONTEXT] = "context", [FH_GENERATE_CANCELLED] = "interrupt",
    };
    fh_json_writer w;
    fh_buf out;
    fh_buf_init(&out, FH_CHAT_TEXT_MOST);
    fh_json_writer_init(&w, &out, true);
    fh_json_put_object(&w);
    if (text) {
        fh_json_put_key(&w, "text");
        fh_json_put_str(&w, fh_buf_str(&k->text));
        fh_json_put_key(&w, "reasoning");
        fh_json_put_str(&w, fh_buf_str(&k->reasoning));
    }
    fh_json_put_key(&w, "tokens");
    fh_json_put_array(&w);
    for (size_t i = 0; i < k->ids.len; i++) fh_json_put_u64(&w, k->ids.ptr[i]);
    fh_json_put_end(&w);
    fh_json_put_key(&w, "ended_by");
    fh_json_put_z(&w, c->end < FH_COUNT(ends) && ends[c->end] ? ends[c->end] : "failure");
    fh_json_put_key(&w, "prompt_tokens");
    fh_json_put_u64(&w, c->timing.n_prompt);
    put_seconds(&w, "load_s", c->timing.load_ns);
    put_seconds(&w, "prompt_s", c->timing.prompt_ns);
    put_seconds(&w, "answer_s", c->timing.answer_ns);
    fh_json_put_end(&w);
    fh_buf_add_byte(&out, '\n');
    int rc = fh_cli_print(c->cli, &out);
    fh_buf_release(&out);
    return rc;
}

/* ---- one answer ---- */

/* To the conversation as it stands, or behind these tokens. */
static int answer_once(fh_chat *c, const run_options *o, const fh_ids *tokens) {
    fh_err err = {0};
    fh_chat_printer p;
    collector k;
    int rc = 0;
    bool text = !o->ids;
    fh_buf_init(&k.text, FH_CHAT_TEXT_MOST);
    fh_buf_init(&k.reasoning, FH_CHAT_TEXT_MOST);
    fh_ids_init(&k.ids, FH_CHAT_TEXT_MOST);
    fh_chat_sink sink =
        text ? fh_chat_printer_text(&p, c->cli, c->set->hide_thinking) : fh_chat_printer_ids(&p, c->cli);
    if (c->cli->json) sink = (fh_chat_sink){.text = text ? collect_text : NULL, .id = collect_id, .ctx = &k};
    fh_status s = tokens ? fh_chat_continue(c, tokens->ptr, tokens->len, &sink, &err) : fh_chat_answer(c, &sink, &err);
    if (s == FH_OK && c->cli->json) rc = print_json(c, &k, text);
    else if (s == FH_OK || p.any) fh_chat_printer_end(&p, c);
    if (s == FH_OK && c->set->verbose) fh_chat_print_timing(c);
    if (s != FH_OK) rc = fh_cli_fail(c->cli, &err);
    else if (c->end == FH_GENERATE_CANCELLED) rc = INTERRUPTED;
    fh_buf_release(&k.text);
    fh_buf_release(&k.reasoning);
    fh_ids_release(&k.ids);
    return rc;
}

static int run_tokens(fh_cli *cli, run_options *o, const char *model) {
    fh_err err = {0};
    fh_chat c = {.stop = fh_chat_catch_interrupt()};
    fh_ids tokens;
    fh_ids_init(&tokens, FH_CHAT_TEXT_MOST);
    fh_status s = fh_cli_parse_ids(&tokens, o->tokens, "--tokens", &err);
    if (s == FH_OK && o->set.format && o->ids) s = fh_fail(&err, FH_ERR_USAGE, "--format is about text, not --ids");
    if (s == FH_OK) s = fh_chat_open(&c, cli, &o->set, model, !o->ids, &err);
    int rc = s == FH_OK ? answer_once(&c, o, &tokens) : fh_cli_fail(cli, &err);
    fh_chat_close(&c);
    fh_ids_release(&tokens);
    return rc;
}

/* Arguments and standard input to one text. */
static fh_status gather_prompt(fh_buf *out, const char *const *word, bool piped, fh_err *err) {
    for (size_t i = 0; word[i]; i++) {
        if (i) fh_buf_add_byte(out, ' ');
        fh_buf_add_z(out, word[i]);
    }
    if (piped) {
        size_t before = out->len;
        if (before) fh_buf_add_z(out, "\n\n");
        size_t from = out->len;
        FH_TRY(fh_cli_read_all(out, err));
        while (out->len > from && out->ptr[out->len - 1] == '\n') out->len--;
        if (out->len == from) out->len = before;
    }
    return fh_buf_check(out, err);
}

static int run_text(fh_cli *cli, run_options *o, const char *model, const char *const *word) {
    fh_err err = {0};
    fh_chat c = {.stop = fh_chat_catch_interrupt()};
    fh_buf prompt;
    bool piped = !isatty(STDIN_FILENO), talk = !piped && !word[0];
    int rc = 0;
    fh_buf_init(&prompt, FH_CHAT_TEXT_MOST);
    fh_status s = gather_prompt(&prompt, word, piped, &err);
    /* `freehold run` alone, with nothing to read: the model in the binary says something */
    if (s == FH_OK && !talk && prompt.len == 0 && !model) fh_buf_add_z(&prompt, "Hello!");
    if (s == FH_OK && !talk && prompt.len == 0)
        s = fh_fail(&err, FH_ERR_USAGE, "there is nothing to answer: no PROMPT, and nothing on standard input");
    if (s == FH_OK) s = fh_chat_open(&c, cli, &o->set, model, true, &err);
    if (s == FH_OK && !talk) s = fh_chat_add(&c, "user", fh_buf_str(&prompt), (fh_str){NULL, 0}, &err);
    if (s != FH_OK) rc = fh_cli_fail(cli, &err);
    else rc = talk ? fh_chat_loop(&c) : answer_once(&c, o, NULL);
    fh_chat_close(&c);
    fh_buf_release(&prompt);
    return rc;
}

/* ---- settings ---- */

static fh_status read_format(run_options *o, fh_err *err) {
    fh_buf text;
    fh_grammar *g = NULL;
    if (strcmp(o->format, "json") == 0) return fh_chat_set_text(&o->set.format, FH_STR("json"), err);
    fh_buf_init(&text, MAX_SCHEMA);
    fh_status s = fh_file_read(o->format, &text, err);
    if (s == FH_OK) s = fh_chat_make_grammar(&g, fh_buf_str(&text), err);
    fh_grammar_free(g);
    if (s != FH_OK) fh_err_set_path(err, o->format);
    if (s == FH_OK) s = fh_chat_set_text(&o->set.format, fh_buf_str(&text), err);
    fh_buf_release(&text);
    return s;
}

static fh_status settle(run_options *o, fh_err *err) {
    o->set.sampling = o->sampling;
    o->set.n_given_stop = o->set.stop.n;
    o->set.history = !o->no_history;
    if (o->seed) {
        o->set.sampling.has_seed = true;
        if (!fh_str_u64(fh_str_of(o->seed), &o->set.sampling.seed))
            return fh_fail(err, FH_ERR_USAGE, "--seed wants a whole number, not '%.60s'", o->seed);
    }
    if (o->think) FH_TRY(fh_chat_set_think(&o->set, o->think, err));
    if (o->system) FH_TRY(fh_chat_set_text(&o->set.system, fh_str_of(o->system), err));
    return o->format ? read_format(o, err) : FH_OK;
}

int fh_cmd_run(fh_cli *cli) {
    run_options o = {.set.n = UINT64_MAX};
    const char *word[MAX_WORDS + 1] = {NULL};
    fh_sampling_init(&o.sampling);
    const fh_option options[] = {
        {"--system", FH_OPTION_TEXT, &o.system, "TEXT", "who the model is to be (default: as its template says)"},
        {"--format", FH_OPTION_TEXT, &o.format, "json|FILE",
         "the answer is a JSON object, or fits the JSON schema in FILE (default: any text)"},
        {"--think", FH_OPTION_MAYBE, &o.think, "[=LEVEL]",
         "reason first; =false does not; =low, =medium, =high where the model knows them (default: as the model does)"},
        {"--hidethinking", FH_OPTION_FLAG, &o.set.hide_thinking, NULL, "do not show reasoning (default: show it)"},
        {"-n", FH_OPTION_U64, &o.set.n, "N", "tokens of an answer at most (default: until it ends)"},
        {"--stop", FH_OPTION_LIST, &o.set.stop, "TEXT", "end where this text begins; may be repeated (default: none)"},
        {"--seed", FH_OPTION_TEXT, &o.seed, "N", "the same numbers for the same N (default: others each time)"},
#define FH_SAMPLING_ROW(id, field, option, name, arg, help) \
    {option, FH_OPTION_F64, &o.sampling.value[FH_SAMPLING_##id], arg, help},
#include "cli/chat_sampling.def"
#undef FH_SAMPLING_ROW
        {"--chain", FH_OPTION_TEXT, &o.sampling.chain, "STEPS",
         "samplers in this order, \"penalties;top_k=40;temperature\" (default: the usual order)"},
        {"--raw", FH_OPTION_FLAG, &o.set.raw, NULL, "continue the text as it is, without a template (default: no)"},
        {"--verbose", FH_OPTION_FLAG, &o.set.verbose, NULL, "say afterwards what it took (default: no)"},
        {"--nohistory", FH_OPTION_FLAG, &o.no_history, NULL, "keep no file of what was typed (default: keep one)"},
        {"--tokens", FH_OPTION_TEXT, &o.tokens, "IDS", "\"1 2 3\" in place of a prompt (default: text)"},
        {"--ids", FH_OPTION_FLAG, &o.ids, NULL, "print token ids in place of text (default: text)"},
        {"--ignore-eos", FH_OPTION_FLAG, &o.set.ignore_eos, NULL, "go on past tokens that end an answer (default: no)"},
        FH_MODEL_OPTION_ROWS(o.set.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), word, MAX_WORDS);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_status s = settle(&o, &err);
    if (s == FH_OK && o.tokens && word[0] && word[1])
        s = fh_fail(&err, FH_ERR_USAGE, "either --tokens or a prompt, not both");
    if (s != FH_OK) rc = fh_cli_fail(cli, &err);
    else if (o.tokens) rc = run_tokens(cli, &o, word[0]);
    else rc = run_text(cli, &o, word[0], word[0] ? word + 1 : word);
    fh_chat_settings_release(&o.set);
    return rc;
}
