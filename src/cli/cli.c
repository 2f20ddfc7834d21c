/* cli/cli.c - option tables, messages, human numbers, progress.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/env.h"
#include "base/json.h"
#include "base/num.h"

static void print_usage(const fh_cli *cli, const fh_option *options, size_t n) {
    size_t n_command, width = 6;
    const fh_command *table = fh_command_table(&n_command);
    for (size_t i = 0; i < n_command; i++)
        if (strcmp(table[i].name, cli->command) == 0)
            fprintf(cli->out, "usage: freehold %s%s%s [options]\n%s\n\n", table[i].name, table[i].args[0] ? " " : "",
                    table[i].args, table[i].help);
    for (size_t i = 0; i < n; i++)
        width = FH_MAX(width, strlen(options[i].name) + (options[i].arg ? strlen(options[i].arg) + 1 : 0));
    for (size_t i = 0; i < n; i++) {
        const char *arg = options[i].arg ? options[i].arg : "";
        const char *space = arg[0] && options[i].kind != FH_OPTION_MAYBE ? " " : "";
        int pad = (int)(width - strlen(options[i].name) - strlen(space));
        fprintf(cli->out, "  %s%s%-*s  %s\n", options[i].name, space, pad, arg, options[i].help);
    }
    fprintf(cli->out, "  %-*s  %s\n", (int)width, "--json", "one JSON value instead of text (default: text)");
    fprintf(cli->out, "  %-*s  %s\n", (int)width, "--help", "this text");
}

/* As people type it: "0.8", ".5", "-1", "1e-3". */
bool fh_cli_number(fh_str s, double *out) {
    char text[64];
    double v;
    bool minus = fh_str_starts(s, "-");
    if (minus || fh_str_starts(s, "+")) s = fh_str_drop(s, 1);
    if (s.len == 0 || s.len > 60 || !((s.ptr[0] >= '0' && s.ptr[0] <= '9') || s.ptr[0] == '.')) return false;
    while (s.len > 1 && s.ptr[0] == '0' && s.ptr[1] >= '0' && s.ptr[1] <= '9') s = fh_str_drop(s, 1);
    snprintf(text, sizeof text, "%s%.*s", s.ptr[0] == '.' ? "0" : "", (int)s.len, s.ptr);
    if (!fh_json_text_f64(fh_str_of(text), &v)) return false;
    *out = minus ? -v : v;
    return true;
}

static int wrong(const fh_cli *cli, const char *what, const char *subject) {
    fprintf(cli->err, "freehold %s: %s '%s'; `freehold %s --help` lists the options\n", cli->command, what, subject,
            cli->command);
    return fh_status_exit(FH_ERR_USAGE);
}

/* NULL, or what is wrong with the value. */
static const char *set_option(const fh_option *o, const char *value) {
    double number;
    fh_cli_list *list = o->out;
    switch (o->kind) {
    case FH_OPTION_FLAG: *(bool *)o->out = true; return NULL;
    case FH_OPTION_MAYBE:
    case FH_OPTION_TEXT: *(const char **)o->out = value; return NULL;
    case FH_OPTION_U64:
        return fh_str_u64(fh_str_of(value), (uint64_t *)o->out) ? NULL : "a whole number is wanted, not";
    case FH_OPTION_F64:
        if (!fh_cli_number(fh_str_of(value), &number)) return "a number is wanted, not";
        *(double *)o->out = number;
        return NULL;
    case FH_OPTION_LIST:
        if (list->n == FH_CLI_LIST_MOST) return "the option is repeated too often; the last was";
        list->item[list->n++] = value;
        return NULL;
    }
    return NULL;
}

/* "--name" or "--name=value" */
static const fh_option *find_option(const fh_option *options, size_t n, const char *arg, const char **value) {
    const char *eq = strchr(arg, '=');
    size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
    *value = eq ? eq + 1 : NULL;
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == len && strncmp(options[i].name, arg, len) == 0) return &options[i];
    return NULL;
}

int fh_cli_parse(fh_cli *cli, const fh_option *options, size_t n, const char **positional, size_t max_pos) {
    size_t n_pos = 0;
    bool only_positional = false;
    for (int i = 0; i < cli->argc; i++) {
        const char *a = cli->argv[i], *value;
        if (only_positional || a[0] != '-' || a[1] == '\0') {
            if (n_pos == max_pos) return wrong(cli, "one argument too many:", a);
            positional[n_pos++] = a;
            continue;
        }
        if (strcmp(a, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (strcmp(a, "--json") == 0) {
            cli->json = true;
            continue;
        }
        if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            print_usage(cli, options, n);
            return FH_CLI_STOP;
        }
        const fh_option *o = find_option(options, n, a, &value);
        if (!o) return wrong(cli, "unknown option", a);
        if (o->kind == FH_OPTION_FLAG) {
            if (value) return wrong(cli, "this option takes no value:", a);
            (void)set_option(o, NULL);
            continue;
        }
        if (o->kind == FH_OPTION_MAYBE) {
            (void)set_option(o, value ? value : "");
            continue;
        }
        if (!value && i + 1 == cli->argc) return wrong(cli, "a value is missing after", a);
        if (!value) value = cli->argv[++i];
        const char *what = set_option(o, value);
        if (what) return wrong(cli, what, value);
    }
    return 0;
}

int fh_cli_fail(const fh_cli *cli, const fh_err *err) {
    char text[sizeof err->path + sizeof err->message + 64];
    fprintf(cli->err, "freehold: %s\n", fh_err_text(err, text, sizeof text));
    return fh_status_exit(err->status);
}

int fh_cli_print(const fh_cli *cli, const fh_buf *text) {
    fh_err err;
    if (fh_buf_check(text, &err) != FH_OK) return fh_cli_fail(cli, &err);
    if (text->len) fwrite(text->ptr, 1, text->len, cli->out);
    return 0; /* main looks at ferror */
}

const char *fh_cli_bytes(uint64_t n, char *out, size_t size) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < FH_COUNT(unit)) v /= 1024, u++;
    snprintf(out, size, u == 0 ? "%.0f %s" : v < 10 ? "%.2f %s" : "%.1f %s", v, unit[u]);
    return out;
}

const char *fh_cli_count(uint64_t n, char *out, size_t size) {
    static const char *const unit[] = {"", " K", " M", " B", " T"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1000 && u + 1 < FH_COUNT(unit)) v /= 1000, u++;
    snprintf(out, size, u == 0 ? "%.0f%s" : v < 10 ? "%.2f%s" : "%.1f%s", v, unit[u]);
    return out;
}

const char *fh_cli_rate(double v, const char *unit, char *out, size_t size) {
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P"};
    size_t i = 0;
    while (v >= 1000 && i + 1 < FH_COUNT(prefix)) v /= 1000, i++;
    snprintf(out, size, v < 10 ? "%.2f %s%s" : v < 100 ? "%.1f %s%s" : "%.0f %s%s", v, prefix[i], unit);
    return out;
}

void fh_cli_add_safe(fh_buf *b, fh_str s) {
    bool utf8 = fh_utf8_valid(s);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        /* U+0080..U+009F are control characters too: C2 80..9F */
        bool c1 = c == 0xc2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xa0;
        if (c1) i++;
        fh_buf_add_byte(b, c < 0x20 || c == 0x7f || c1 || (c >= 0x80 && !utf8) ? '?' : c);
    }
}

void fh_cli_note(const fh_cli *cli, const char *text) {
    fh_buf safe;
    fh_buf_init(&safe, 4096);
    fh_cli_add_safe(&safe, fh_str_of(text));
    fprintf(cli->err, "freehold: %.*s\n", FH_STR_ARG(fh_buf_str(&safe)));
    fh_buf_release(&safe);
}

/* ---- progress ---- */
void fh_progress_start(fh_progress *p, const fh_cli *cli, const char *what, uint64_t total) {
    const char *terminal = fh_env_get(FH_ENV_TERM);
    uint64_t now = fh_clock_ns();
    *p = (fh_progress){.to = cli->err,
                       .what = what,
                       .total = total,
                       .started_ns = now,
                       .shown_ns = now,
                       .on = isatty(fileno(cli->err)) && !(terminal && strcmp(terminal, "dumb") == 0)};
}

void fh_progress_at(fh_progress *p, uint64_t done) {
    enum { WIDTH = 30 };
    uint64_t now = fh_clock_ns();
    if (!p->first_ns || done < p->first_done) {
        p->first_ns = now;
        p->first_done = done;
    }
    /* nothing for work under a second, then ten times a second at most */
    if (!p->on || now - p->started_ns < 1000000000u || now - p->shown_ns < 100000000u || now == p->first_ns) return;
    p->shown_ns = now;
    p->drawn = true;
    double part = p->total ? (double)done / (double)p->total : 0;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++) bar[i] = i < (int)(part * WIDTH) ? '#' : '.';
    bar[WIDTH] = '\0';
    double seconds = (double)(now - p->first_ns) * 1e-9, rate = (double)(done - p->first_done) / seconds;
    double left = rate > 0 && p->total > done ? (double)(p->total - done) / rate : 0;
    char text[2][32], amount[80] = "";
    if (p->bytes)
        snprintf(amount, sizeof amount, "  %s  %s/s", fh_cli_bytes(done, text[0], sizeof text[0]),
                 fh_cli_bytes((uint64_t)rate, text[1], sizeof text[1]));
    fprintf(p->to, "\r%s [%s] %3.0f%%%s  %.0f s left \033[K", p->what, bar, part * 100, amount, left);
    fflush(p->to);
}

void fh_progress_show(void *progress, uint64_t done, uint64_t total) {
    fh_progress *p = progress;
    p->total = total;
    fh_progress_at(p, done);
}

void fh_progress_end(fh_progress *p) {
    if (!p->drawn) return;
    fprintf(p->to, "\r\033[K");
    fflush(p->to);
}
