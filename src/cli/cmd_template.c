/* cli/cmd_template.c - freehold template: the exact prompt that a conversation becomes.
 * SPDX-License-Identifier: Apache-2.0
 * stdout carries the prompt and nothing else, not even a newline behind it. What was chosen for the user (a built-in
 * template, arguments that the template never looks at) is said on stderr. */
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "cli/text_part.h"
#include "format/gguf_vocab.h"
#include "format/tokenizer_config.h"
#include "library/model_text.h"

#define MAX_FILE ((size_t)256 << 20)
#define MAX_PROMPT ((size_t)1 << 30)
#define MAX_ARGS 256
/* A person waits for one prompt and can stop the program; the server's limit is 100 ms. */
#define TIME_MS 10000

typedef struct template_options {
    const char *template_path, *builtin, *input, *messages, *tools, *documents, *now, *bos, *eos;
    fh_cli_list args; /* K=V */
    bool no_prompt, resume, variables;
} template_options;

/* Everything that is held until the prompt is out. */
typedef struct held {
    fh_bundle *bundle;
    fh_facts facts;
    fh_tokenizer_config *config;
    fh_vocab *vocab;
    fh_json *input, *messages, *tools, *documents, *args;
    fh_template *template;
    fh_str bos, eos;
    fh_template_arg more[MAX_ARGS];
    size_t n_more;
} held;

static void release(held *h) {
    fh_template_free(h->template);
    fh_json_free(h->input);
    fh_json_free(h->messages);
    fh_json_free(h->tools);
    fh_json_free(h->documents);
    fh_json_free(h->args);
    fh_vocab_free(h->vocab);
    fh_tokenizer_config_free(h->config);
    fh_facts_release(&h->facts);
    fh_bundle_close(h->bundle);
}

/* ---- files ---- */

/* "-" is standard input. */
static fh_status read_text(const char *path, fh_buf *out, fh_err *err) {
    return strcmp(path, "-") == 0 ? fh_cli_read_all(out, err) : fh_file_read(path, out, err);
}

static fh_status read_json(const char *path, fh_json **out, fh_err *err) {
    /* as Python reads it, which is what templates were written for */
    const fh_json_options opt = {.allow_nonfinite = true, .allow_duplicate_keys = true};
    fh_buf text;
    fh_buf_init(&text, MAX_FILE);
    fh_status s = read_text(path, &text, err);
    if (s == FH_OK) s = fh_json_parse(out, fh_buf_str(&text), &opt, err);
    if (s != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    return s;
}

/* ---- the template ---- */

static bool vocab_has(void *ctx, fh_str token) {
    const held *h = ctx;
    uint32_t id;
    if (h->vocab) return fh_vocab_find(h->vocab, token, &id);
    for (uint32_t i = 0; h->config && i < h->config->n_added; i++)
        if (fh_str_eq(h->config->added[i].text, token)) return true;
    return false;
}

static void special_tokens(held *h) {
    if (h->vocab) {
        uint32_t bos = h->vocab->special[FH_SPECIAL_BOS], eos = h->vocab->special[FH_SPECIAL_EOS];
        if (bos != FH_VOCAB_NO_ID) h->bos = fh_vocab_piece(h->vocab, bos);
        if (eos != FH_VOCAB_NO_ID) h->eos = fh_vocab_piece(h->vocab, eos);
    } else if (h->config) {
        if (h->config->special[FH_SPECIAL_BOS].present) h->bos = h->config->special[FH_SPECIAL_BOS].text;
        if (h->config->special[FH_SPECIAL_EOS].present) h->eos = h->config->special[FH_SPECIAL_EOS].text;
    }
}

static fh_status open_model(held *h, const char *model, fh_err *err) {
    fh_location at;
    FH_TRY(fh_locate(&at, model, err));
    FH_TRY(fh_location_open(&h->bundle, &at, err));
    FH_TRY(fh_facts_gather(&h->facts, h->bundle, &at, err));
    if (fh_bundle_form(h->bundle) == FH_FORM_GGUF) {
        fh_status s = fh_gguf_vocab_read(&h->vocab, fh_bundle_gguf(h->bundle, 0), err);
        if (s != FH_OK && s != FH_ERR_NOT_FOUND) return s;
    } else if (fh_bundle_folder(h->bundle)) {
        FH_TRY(fh_tokenizer_config_open(&h->config, fh_bundle_folder(h->bundle), err));
    }
    special_tokens(h);
    return FH_OK;
}

static fh_status find_template(const fh_cli *cli, held *h, fh_err *err) {
    fh_template_choice pick;
    FH_TRY(fh_template_choose(&pick, &h->facts, vocab_has, h, err));
    h->template = pick.template;
    if (!h->template)
        return fh_fail(
            err, FH_ERR_NOT_FOUND,
            "the model carries no chat template and none of the built-in ones is known to fit it; name one with "
            "--builtin or --template");
    if (pick.builtin)
        fprintf(cli->err,
                "freehold template: the model carries no chat template; using the built-in '%s', because %s\n",
                pick.builtin->name, pick.why);
    return FH_OK;
}

static fh_status load_template(const fh_cli *cli, held *h, const template_options *o, const char *model, fh_err *err) {
    fh_buf text;
    if (model || (!o->template_path && !o->builtin)) FH_TRY(open_model(h, model, err));
    if (o->builtin) {
        const fh_template_builtin *b = fh_template_builtin_find(fh_str_of(o->builtin));
        if (b) return fh_template_builtin_compile(&h->template, b, err);
        char names[300] = "";
        for (size_t i = 0, n = 0; i < fh_template_n_builtin(); i++)
            n += (size_t)snprintf(names + n, sizeof names - n, " %s", fh_template_builtin_at(i)->name);
        return fh_fail(err, FH_ERR_USAGE, "there is no built-in template '%s'; there are:%s", o->builtin, names);
    }
    if (!o->template_path) return find_template(cli, h, err);
    fh_buf_init(&text, MAX_FILE);
    fh_status s = read_text(o->template_path, &text, err);
    if (s == FH_OK) {
        s = fh_template_compile(&h->template, fh_buf_str(&text), err);
        if (s != FH_OK) fh_err_set_path(err, o->template_path);
    }
    fh_buf_release(&text);
    return s;
}

/* ---- what it is rendered with ---- */

/* A value of --arg: JSON where it is some, else text. */
static void put_value(fh_json_writer *w, fh_buf *to, fh_str value) {
    fh_json *doc = NULL;
    if (fh_json_parse(&doc, value, NULL, NULL) == FH_OK) {
        fh_json_free(doc);
        /* the writer cannot take raw text: write a placeholder and replace it */
        fh_json_put_null(w);
        if (to->status == FH_OK && to->len >= 4) to->len -= 4;
        fh_buf_add_str(to, value);
    } else {
        fh_json_put_str(w, value);
    }
}

static fh_status gather_args(const fh_cli *cli, held *h, const fh_cli_list *args, fh_err *err) {
    const fh_json_options opt = {.allow_duplicate_keys = true};
    fh_buf text;
    fh_json_writer w;
    fh_status s = FH_OK;
    fh_buf_init(&text, MAX_FILE);
    fh_json_writer_init(&w, &text, false);
    fh_json_put_object(&w);
    for (size_t i = 0; i < args->n; i++) {
        fh_str pair = fh_str_of(args->item[i]);
        size_t eq;
        if (!fh_str_find(pair, '=', &eq) || eq == 0) {
            s = fh_fail(err, FH_ERR_USAGE, "--arg wants NAME=VALUE, not '%.*s'", FH_STR_ARG(pair));
            break;
        }
        fh_json_put_key_str(&w, fh_str_first(pair, eq));
        put_value(&w, &text, fh_str_drop(pair, eq + 1));
    }
    fh_json_put_end(&w);
    if (s == FH_OK) s = fh_buf_check(&text, err);
    if (s == FH_OK) s = fh_json_parse(&h->args, fh_buf_str(&text), &opt, err);
    fh_buf_release(&text);
    if (s != FH_OK) return s;
    const fh_json_node *root = fh_json_root(h->args);
    for (const fh_json_node *n = fh_json_first(root); n; n = fh_json_after(root, n)) {
        if (h->n_more == MAX_ARGS) return fh_fail(err, FH_ERR_USAGE, "more than %d arguments", MAX_ARGS);
        h->more[h->n_more++] = (fh_template_arg){.name = n->key, .node = n};
        if (!fh_template_uses(h->template, n->key))
            fprintf(cli->err, "freehold template: the template never looks at '%.*s'\n", FH_STR_ARG(n->key));
    }
    return FH_OK;
}

static const fh_json_node *root_or_null(const fh_json *doc, const fh_json_node *other) {
    const fh_json_node *n = doc ? fh_json_root(doc) : other;
    return fh_json_is(n, FH_JSON_NULL) ? NULL : n;
}

static fh_status set_now(const template_options *o, const fh_json_node *input, fh_template_now *now, fh_err *err) {
    fh_str text = {NULL, 0};
    (void)fh_json_to_str(fh_json_get(input, "now"), &text);
    if (o->now) text = fh_str_of(o->now);
    if (!text.ptr) fh_template_now_local((int64_t)(fh_clock_unix_ms() / 1000), now);
    else if (!fh_template_now_parse(text, now))
        return fh_fail(err, FH_ERR_USAGE, "'%.*s' is no moment such as 2026-03-09T07:05:02", FH_STR_ARG(text));
    return FH_OK;
}

/* Named files win over the case, options over both. */
static fh_status set_chat(held *h, const template_options *o, fh_template_chat *chat, fh_err *err) {
    if (o->input) FH_TRY(read_json(o->input, &h->input, err));
    if (o->messages) FH_TRY(read_json(o->messages, &h->messages, err));
    if (o->tools) FH_TRY(read_json(o->tools, &h->tools, err));
    if (o->documents) FH_TRY(read_json(o->documents, &h->documents, err));
    const fh_json_node *in = h->input ? fh_json_root(h->input) : NULL;
    chat->messages = root_or_null(h->messages, fh_json_get(in, "messages"));
    chat->tools = root_or_null(h->tools, fh_json_get(in, "tools"));
    chat->documents = root_or_null(h->documents, fh_json_get(in, "documents"));
    chat->kwargs = root_or_null(NULL, fh_json_get(in, "kwargs"));
    if (!chat->messages)
        return fh_fail(err, FH_ERR_USAGE, "no conversation was given: --messages FILE or --input CASE.json");
    chat->bos_token = h->bos;
    chat->eos_token = h->eos;
    (void)fh_json_to_str(fh_json_get(in, "bos_token"), &chat->bos_token);
    (void)fh_json_to_str(fh_json_get(in, "eos_token"), &chat->eos_token);
    if (o->bos) chat->bos_token = fh_str_of(o->bos);
    if (o->eos) chat->eos_token = fh_str_of(o->eos);
    chat->add_generation_prompt = true;
    (void)fh_json_to_bool(fh_json_get(in, "add_generation_prompt"), &chat->add_generation_prompt);
    (void)fh_json_to_bool(fh_json_get(in, "continue_final_message"), &chat->continue_final_message);
    if (o->resume) chat->continue_final_message = true;
    if (o->no_prompt || chat->continue_final_message) chat->add_generation_prompt = false;
    return FH_OK;
}

static void list_variables(const fh_template *t, fh_buf *out) {
    for (size_t i = 0; i < fh_template_n_variable(t); i++) {
        fh_buf_add_str(out, fh_template_variable(t, i));
        fh_buf_add_byte(out, '\n');
    }
}

static fh_status render(const fh_cli *cli, held *h, const template_options *o, fh_buf *out, fh_err *err) {
    fh_template_now now;
    const fh_template_budget budget = {.time_ms = TIME_MS};
    fh_template_chat chat = {.budget = &budget, .now = &now};
    if (o->variables) {
        list_variables(h->template, out);
        return FH_OK;
    }
    FH_TRY(set_chat(h, o, &chat, err));
    FH_TRY(gather_args(cli, h, &o->args, err));
    FH_TRY(set_now(o, h->input ? fh_json_root(h->input) : NULL, &now, err));
    chat.more = h->more;
    chat.n_more = h->n_more;
    if (!cli->json) return fh_template_render_chat(h->template, &chat, out, err);
    fh_buf prompt;
    fh_json_writer w;
    fh_buf_init(&prompt, MAX_PROMPT);
    fh_status s = fh_template_render_chat(h->template, &chat, &prompt, err);
    if (s == FH_OK) {
        fh_json_writer_init(&w, out, false);
        fh_json_put_object(&w);
        fh_json_put_key(&w, "prompt");
        fh_json_put_str(&w, fh_buf_str(&prompt));
        fh_json_put_end(&w);
        fh_buf_add_byte(out, '\n');
    }
    fh_buf_release(&prompt);
    return s;
}

int fh_cmd_template(fh_cli *cli) {
    template_options o = {0};
    const char *model = NULL;
    const fh_option options[] = {
        {"--template", FH_OPTION_TEXT, &o.template_path, "FILE", "a Jinja template (default: the model's)"},
        {"--builtin", FH_OPTION_TEXT, &o.builtin, "NAME", "one of freehold's own templates (default: the model's)"},
        {"--input", FH_OPTION_TEXT, &o.input, "FILE",
         "JSON with messages, tools, documents, kwargs, add_generation_prompt, bos_token, eos_token, now (default: "
         "none)"},
        {"--messages", FH_OPTION_TEXT, &o.messages, "FILE",
         "JSON array of messages; - reads stdin (default: of --input)"},
        {"--tools", FH_OPTION_TEXT, &o.tools, "FILE", "JSON array of tools (default: none)"},
        {"--documents", FH_OPTION_TEXT, &o.documents, "FILE", "JSON array of documents (default: none)"},
        {"--arg", FH_OPTION_LIST, &o.args, "K=V", "an argument, JSON or text; may be repeated (default: none)"},
        {"--now", FH_OPTION_TEXT, &o.now, "ISO", "the moment that the template sees (default: now, local time)"},
        {"--bos", FH_OPTION_TEXT, &o.bos, "TEXT", "bos_token (default: the model's)"},
        {"--eos", FH_OPTION_TEXT, &o.eos, "TEXT", "eos_token (default: the model's)"},
        {"--no-generation-prompt", FH_OPTION_FLAG, &o.no_prompt, NULL, "end behind the last message (default: no)"},
        {"--continue", FH_OPTION_FLAG, &o.resume, NULL, "end inside the last message, to continue it (default: no)"},
        {"--variables", FH_OPTION_FLAG, &o.variables, NULL,
         "only list the arguments the template looks at (default: no)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    held h = {0};
    fh_buf out;
    fh_buf_init(&out, MAX_PROMPT);
    fh_status s = load_template(cli, &h, &o, model, &err);
    if (s == FH_OK) s = render(cli, &h, &o, &out, &err);
    rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&out);
    release(&h);
    return rc;
}
