/* cli/chat_command.c - the lines that begin with '/': settings, and the chat as a whole.
 * SPDX-License-Identifier: Apache-2.0
 * Words are those that Ollama's users type. A command that fails says so and changes nothing. Chats are saved under a
 * plain name in freehold's folder, or under a path. */
#include <errno.h>
#include <math.h>
#include <sys/stat.h>

#include "base/folder.h"
#include "base/num.h"
#include "cli/chat_loop.h"

#define MAX_CHAT ((size_t)256 << 20)

/* ---- places and texts ---- */

static fh_status make_folder(const char *path, fh_err *err) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return FH_OK;
    return fh_fail_errno(err, "make the folder", path);
}

fh_status fh_chat_folder(char out[FH_PATH_MAX], fh_err *err) {
    FH_TRY(fh_folder_own(out, ".local/state/freehold", "", err));
    return fh_folder_make(out, err);
}

/* "name" in the folder of chats; anything with a slash is a path. */
static fh_status chat_path(char out[FH_PATH_MAX], fh_str name, fh_err *err) {
    char folder[FH_PATH_MAX], file[300];
    size_t at;
    if (fh_str_find(name, '/', &at))
        return fh_str_copy(out, FH_PATH_MAX, name) ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "the path is too long");
    if (!fh_path_is_plain_name(name) || name.len > 250)
        return fh_fail(err, FH_ERR_USAGE, "'%.*s' is no name for a chat", FH_STR_ARG(name));
    FH_TRY(fh_chat_folder(folder, err));
    FH_TRY(fh_path_join(out, folder, FH_STR("chats"), err));
    FH_TRY(make_folder(out, err));
    memcpy(folder, out, sizeof folder);
    snprintf(file, sizeof file, "%.*s.json", (int)name.len, name.ptr);
    return fh_path_join(out, folder, fh_str_of(file), err);
}

fh_status fh_chat_set_text(char **slot, fh_str text, fh_err *err) {
    char *copy = NULL;
    if (text.ptr && !(copy = fh_strdup(text))) return fh_fail_memory(err, text.len);
    fh_free(*slot);
    *slot = copy;
    return FH_OK;
}

void fh_chat_settings_release(fh_chat_settings *s) {
    char *own = NULL;
    fh_free(s->system);
    fh_free(s->format);
    for (size_t i = s->n_given_stop; i < s->stop.n; i++) {
        memcpy(&own, &s->stop.item[i], sizeof own); /* the list is of const texts: most are the command line's */
        fh_free(own);
    }
    s->stop.n = s->n_given_stop;
}

fh_status fh_chat_set_think(fh_chat_settings *s, const char *value, fh_err *err) {
    static const char *const levels[] = {"low", "medium", "high"};
    for (size_t i = 0; i < FH_COUNT(levels); i++) {
        if (strcmp(value, levels[i]) != 0) continue;
        s->think = FH_THINK_LEVEL;
        s->level = levels[i];
        return FH_OK;
    }
    bool yes = !value[0] || strcmp(value, "true") == 0;
    if (!yes && strcmp(value, "false") != 0)
        return fh_fail(err, FH_ERR_USAGE, "thinking is true, false, low, medium or high, not '%.60s'", value);
    s->think = yes ? FH_THINK_YES : FH_THINK_NO;
    return FH_OK;
}

/* The first word of *rest, which moves behind it and the blanks that follow. */
static fh_str next_word(fh_str *rest) {
    size_t n = 0, blank;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t' && rest->ptr[n] != '\n') n++;
    for (blank = n; blank < rest->len && (rest->ptr[blank] == ' ' || rest->ptr[blank] == '\t');) blank++;
    fh_str word = fh_str_first(*rest, n);
    *rest = fh_str_drop(*rest, blank);
    return word;
}

/* "text" without its quotation marks, single or triple. */
static fh_str unquoted(fh_str s) {
    size_t n = fh_str_starts(s, "\"\"\"") ? 3 : 1;
    if (s.len >= 2 * n && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"')
        return fh_str_first(fh_str_drop(s, n), s.len - 2 * n);
    return s;
}

/* ---- /set ---- */

static fh_status set_named(fh_chat *c, fh_str name, fh_str value, fh_err *err) {
    fh_sampling_field f;
    uint64_t n;
    double number;
    if (fh_str_is(name, "seed")) {
        if (!fh_str_u64(value, &n)) return fh_fail(err, FH_ERR_USAGE, "seed wants a whole number");
        c->set->sampling.seed = n;
        c->set->sampling.has_seed = true;
        return FH_OK;
    }
    if (fh_str_is(name, "num_predict")) {
        if (fh_str_is(value, "-1")) n = UINT64_MAX;
        else if (!fh_str_u64(value, &n)) return fh_fail(err, FH_ERR_USAGE, "num_predict wants a whole number, or -1");
        c->set->n = n;
        return FH_OK;
    }
    if (fh_str_is(name, "num_ctx")) {
        fh_session *s = NULL;
        uint64_t before = c->set->model.ctx;
        if (!fh_str_u64(value, &n) || n == 0 || n > UINT32_MAX)
            return fh_fail(err, FH_ERR_USAGE, "num_ctx wants a whole number of tokens");
        c->set->model.ctx = n;
        fh_status st = fh_opened_session(&s, &c->x, &c->set->model, err);
        if (st != FH_OK) {
            c->set->model.ctx = before;
            return st;
        }
        fh_session_free(c->session);
        c->session = s;
        return FH_OK;
    }
    if (!fh_sampling_find(name, &f))
        return fh_fail(err, FH_ERR_USAGE, "there is no parameter '%.*s'", FH_STR_ARG(name));
    if (!fh_cli_number(value, &number))
        return fh_fail(err, FH_ERR_USAGE, "%.*s wants a number, not '%.*s'", FH_STR_ARG(name), FH_STR_ARG(value));
    fh_sampler *probe = NULL;
    double before = c->set->sampling.value[f];
    c->set->sampling.value[f] = number;
    fh_status s = fh_sampling_make(&probe, &c->set->sampling, &c->gen, 1, NULL, 0, err);
    if (s != FH_OK) c->set->sampling.value[f] = before;
    fh_sampler_free(probe);
    return s;
}

static fh_status set_format(fh_chat *c, fh_str value, fh_err *err) {
    fh_grammar *g = NULL;
    FH_TRY(fh_chat_make_grammar(&g, value, err));
    fh_grammar_free(g);
    return fh_chat_set_text(&c->set->format, value, err);
}

static fh_status set_switch(fh_chat *c, fh_str what, fh_str rest, fh_err *err) {
    char level[16];
    if (fh_str_is(what, "verbose")) return c->set->verbose = true, FH_OK;
    if (fh_str_is(what, "quiet")) return c->set->verbose = false, FH_OK;
    if (fh_str_is(what, "history")) return c->set->history = true, FH_OK;
    if (fh_str_is(what, "nohistory")) return c->set->history = false, FH_OK;
    if (fh_str_is(what, "noformat")) return fh_chat_set_text(&c->set->format, (fh_str){NULL, 0}, err);
    if (fh_str_is(what, "nothink")) return c->set->think = FH_THINK_NO, FH_OK;
    /* lines are the terminal's business here */
    if (fh_str_is(what, "wordwrap") || fh_str_is(what, "nowordwrap")) return FH_OK;
    if (fh_str_is(what, "think"))
        return fh_str_copy(level, sizeof level, rest) ? fh_chat_set_think(c->set, level, err)
                                                      : fh_chat_set_think(c->set, "?", err);
    return fh_fail(err, FH_ERR_USAGE, "/set knows no '%.*s'; /? set lists what there is", FH_STR_ARG(what));
}

static fh_status do_set(fh_chat *c, fh_str rest, fh_err *err) {
    fh_str what = next_word(&rest);
    if (fh_str_is(what, "parameter")) {
        fh_str name = next_word(&rest);
        if (fh_str_is(name, "stop")) {
            if (c->set->stop.n == FH_CLI_LIST_MOST) return fh_fail(err, FH_ERR_LIMIT, "too many stop texts");
            char *copy = NULL;
            FH_TRY(fh_chat_set_text(&copy, unquoted(rest), err));
            c->set->stop.item[c->set->stop.n++] = copy;
            return FH_OK;
        }
        return set_named(c, name, next_word(&rest), err);
    }
    if (fh_str_is(what, "system")) return fh_chat_set_text(&c->set->system, unquoted(rest), err);
    if (fh_str_is(what, "format")) return set_format(c, rest, err);
    return set_switch(c, what, rest, err);
}

/* ---- /show ---- */

static void print_text(const fh_chat *c, fh_str s, const char *otherwise) {
    fwrite(s.len ? s.ptr : otherwise, 1, s.len ? s.len : strlen(otherwise), c->cli->out);
    if (!s.len || s.ptr[s.len - 1] != '\n') fputc('\n', c->cli->out);
}

static fh_status show_parameters(const fh_chat *c, fh_err *err) {
    fh_sampler_params p;
    FILE *out = c->cli->out;
    FH_TRY(fh_sampling_params(&p, &c->set->sampling, &c->gen, err));
#define FH_SAMPLING_ROW(id, field, option, name, arg, help) \
    fprintf(out, "  %-20s %g%s\n", name, (double)p.field, \
            isnan(c->set->sampling.value[FH_SAMPLING_##id]) ? "" : "  (set)");
#include "cli/chat_sampling.def"
#undef FH_SAMPLING_ROW
    if (c->set->sampling.has_seed)
        fprintf(out, "  %-20s %llu  (set)\n", "seed", (unsigned long long)c->set->sampling.seed);
    fprintf(out, "  %-20s %u\n", "num_ctx", fh_session_limit(c->session));
    if (c->set->n != UINT64_MAX) fprintf(out, "  %-20s %llu  (set)\n", "num_predict", (unsigned long long)c->set->n);
    for (size_t i = 0; i < c->set->stop.n; i++) fprintf(out, "  %-20s \"%s\"\n", "stop", c->set->stop.item[i]);
    return FH_OK;
}

static void show_info(const fh_chat *c) {
    char n[32];
    FILE *out = c->cli->out;
    fh_engine_usage u = fh_engine_get_usage(c->x.engine);
    fprintf(out, "  model         %s\n", c->x.at.name);
    fprintf(out, "  architecture  %.*s\n", FH_STR_ARG(c->facts.architecture));
    fprintf(out, "  parameters    %s\n", fh_cli_count(c->facts.n_value, n, sizeof n));
    fprintf(out, "  quantization  %.*s\n", FH_STR_ARG(c->facts.quantization));
    fprintf(out, "  context       %u, of which %u tokens are used\n", fh_session_limit(c->session),
            fh_session_n_token(c->session));
    fprintf(out, "  state         %s\n", fh_cli_bytes(u.page_bytes_live + u.slot_bytes, n, sizeof n));
    fprintf(out, "  messages      %zu\n", c->n_message);
}

static fh_status do_show(fh_chat *c, fh_str rest, fh_err *err) {
    fh_str what = next_word(&rest);
    if (fh_str_is(what, "info")) return show_info(c), FH_OK;
    if (fh_str_is(what, "parameters")) return show_parameters(c, err);
    if (fh_str_is(what, "license"))
        return print_text(c, c->facts.license_text.len ? c->facts.license_text : c->facts.license,
                          "the files name no licence"),
               FH_OK;
    if (fh_str_is(what, "system")) return print_text(c, fh_str_of(c->set->system), "no system message was set"), FH_OK;
    if (fh_str_is(what, "template"))
        return print_text(c, c->template ? fh_template_source(c->template) : (fh_str){NULL, 0},
                          "no template: texts are continued as they are"),
               FH_OK;
    if (fh_str_is(what, "modelfile")) {
        fprintf(c->cli->out, "FROM %s\n", c->x.at.name);
        if (c->set->system) fprintf(c->cli->out, "SYSTEM \"\"\"%s\"\"\"\n", c->set->system);
        for (int i = 0; i < FH_SAMPLING_COUNT; i++)
            if (!isnan(c->set->sampling.value[i]))
                fprintf(c->cli->out, "PARAMETER %s %g\n", fh_sampling_name((fh_sampling_field)i),
                        c->set->sampling.value[i]);
        return FH_OK;
    }
    return fh_fail(err, FH_ERR_USAGE, "/show knows no '%.*s'; /? show lists what there is", FH_STR_ARG(what));
}

/* ---- /save, /load, /clear ---- */

static fh_status do_save(fh_chat *c, fh_str name, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_writer *w = NULL;
    fh_buf text;
    FH_TRY(chat_path(path, name, err));
    fh_buf_init(&text, MAX_CHAT);
    fh_chat_write(c, &text);
    fh_status s = fh_buf_check(&text, err);
    mode_t mask = umask(077); /* what was said is nobody else's */
    if (s == FH_OK) s = fh_writer_open(&w, path, err);
    if (s == FH_OK) {
        s = fh_writer_add(w, text.ptr, text.len, err);
        if (s == FH_OK) s = fh_writer_commit(w, err);
        else fh_writer_abort(w);
    }
    umask(mask);
    fh_buf_release(&text);
    if (s == FH_OK) fprintf(c->cli->err, "saved in %s\n", path);
    return s;
}

static fh_status load_model(fh_chat *c, fh_str name, fh_err *err) {
    char model[FH_PATH_MAX];
    fh_chat other = {.stop = c->stop};
    if (!fh_str_copy(model, sizeof model, name)) return fh_fail(err, FH_ERR_LIMIT, "the name is too long");
    FH_TRY(fh_chat_open(&other, c->cli, c->set, model, true, err));
    fh_chat_close(c);
    *c = other;
    fprintf(c->cli->err, "now talking to %s\n", c->x.at.name);
    return FH_OK;
}

static fh_status do_load(fh_chat *c, fh_str name, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_buf text;
    fh_status s = chat_path(path, name, err);
    if (s != FH_OK || fh_file_get_kind(path) != FH_FILE_REGULAR || !fh_str_ends(fh_str_of(path), ".json"))
        return load_model(c, name, err);
    fh_buf_init(&text, MAX_CHAT);
    s = fh_file_read(path, &text, err);
    if (s == FH_OK) s = fh_chat_read(c, fh_buf_str(&text), err);
    if (s != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    if (s == FH_OK) fprintf(c->cli->err, "%zu messages from %s\n", c->n_message, path);
    return s;
}

static fh_status do_clear(fh_chat *c, fh_err *err) {
    fh_chat_cut(c, 0);
    fprintf(c->cli->err, "the conversation starts anew\n");
    return fh_session_rewind(c->session, 0, err);
}

/* ---- the table ---- */

static void help(const fh_chat *c, fh_str about) {
    static const char all[] = "  /set            change a setting: /? set\n"
                              "  /show           info, license, modelfile, parameters, system, template\n"
                              "  /load NAME      a saved chat, or another model\n"
                              "  /save NAME      keep this chat\n"
                              "  /clear          forget the conversation\n"
                              "  /bye            leave (Ctrl-D, too)\n"
                              "  /?, /help       this list; /? set, /? show\n"
                              "  \"\"\"             begins and ends a text of several lines\n"
                              "  Ctrl-C          stops an answer\n";
    static const char set[] =
        "  /set parameter NAME VALUE   temperature, top_k, seed ...: /show parameters lists them\n"
        "  /set system TEXT            who the model is to be\n"
        "  /set format json|SCHEMA     answers are JSON; /set noformat\n"
        "  /set think [LEVEL]          reason first; /set nothink\n"
        "  /set verbose, quiet         what an answer took\n"
        "  /set history, nohistory     keep what was typed in a file\n";
    static const char show[] = "  /show info | license | modelfile | parameters | system | template\n";
    fputs(fh_str_is(about, "set") || fh_str_is(about, "/set")     ? set
          : fh_str_is(about, "show") || fh_str_is(about, "/show") ? show
                                                                  : all,
          c->cli->out);
}

bool fh_chat_command(fh_chat *c, const char *line) {
    fh_err err = {0};
    fh_status s = FH_OK;
    fh_str rest = fh_str_of(line);
    while (rest.len && (rest.ptr[rest.len - 1] == ' ' || rest.ptr[rest.len - 1] == '\n')) rest.len--;
    fh_str word = next_word(&rest);
    if (fh_str_is(word, "/bye") || fh_str_is(word, "/exit")) return false;
    if (fh_str_is(word, "/?") || fh_str_is(word, "/help")) help(c, rest);
    else if (fh_str_is(word, "/set") && rest.len == 0) help(c, FH_STR("set"));
    else if (fh_str_is(word, "/show") && rest.len == 0) help(c, FH_STR("show"));
    else if (fh_str_is(word, "/set")) s = do_set(c, rest, &err);
    else if (fh_str_is(word, "/show")) s = do_show(c, rest, &err);
    else if (fh_str_is(word, "/clear")) s = do_clear(c, &err);
    else if ((fh_str_is(word, "/save") || fh_str_is(word, "/load")) && rest.len == 0)
        s = fh_fail(&err, FH_ERR_USAGE, "%.*s wants a name", FH_STR_ARG(word));
    else if (fh_str_is(word, "/save")) s = do_save(c, rest, &err);
    else if (fh_str_is(word, "/load")) s = do_load(c, rest, &err);
    else s = fh_fail(&err, FH_ERR_USAGE, "there is no command '%.*s'; /? lists them", FH_STR_ARG(word));
    if (s != FH_OK) (void)fh_cli_fail(c->cli, &err);
    return true;
}
