/* cli/cmd_selftest.c - freehold selftest api URL: does a server answer as the clients that people use expect.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "evaluate/api_selftest.h"

#define MOST_OUTPUT ((size_t)16 << 20)

typedef struct table {
    fh_cli *cli;
    fh_buf out;
    fh_json_writer w;
    uint32_t n[3]; /* by verdict */
    const char *area;
    bool failed; /* to write */
} table;

static const char *const verdicts[] = {[FH_API_PASS] = "pass", [FH_API_FAIL] = "FAIL", [FH_API_ABSENT] = "absent"};
static const char *const colors[] = {
    [FH_API_PASS] = "\033[32m", [FH_API_FAIL] = "\033[31m", [FH_API_ABSENT] = "\033[33m"};

static void put_row(table *t, const fh_api_result *r) {
    bool color = t->cli->color;
    if (t->area != r->of->area && (!t->area || strcmp(t->area, r->of->area) != 0))
        fh_buf_printf(&t->out, "%s%s\n", t->area ? "\n" : "", r->of->area);
    t->area = r->of->area;
    fh_buf_printf(&t->out, "  %s%-6s%s  %-6s %-36s %7.2f s  %s\n", color ? colors[r->verdict] : "",
                  verdicts[r->verdict], color ? "\033[0m" : "", r->of->method, r->of->path, (double)r->ns * 1e-9,
                  r->of->name);
    if (r->verdict == FH_API_PASS) return;
    fh_buf_add_z(&t->out, "          ");
    fh_cli_add_safe(&t->out, fh_str_of(r->why));
    fh_buf_add_byte(&t->out, '\n');
}

static void put_json(table *t, const fh_api_result *r) {
    const struct {
        const char *key, *text;
    } texts[] = {{"area", r->of->area},
                 {"name", r->of->name},
                 {"method", r->of->method},
                 {"path", r->of->path},
                 {"verdict", r->verdict == FH_API_FAIL ? "fail" : verdicts[r->verdict]}};
    fh_json_put_object(&t->w);
    for (size_t i = 0; i < FH_COUNT(texts); i++) {
        fh_json_put_key(&t->w, texts[i].key);
        fh_json_put_z(&t->w, texts[i].text);
    }
    fh_json_put_key(&t->w, "status");
    fh_json_put_i64(&t->w, r->status);
    fh_json_put_key(&t->w, "seconds");
    fh_json_put_f64(&t->w, (double)(r->ns / 1000) * 1e-6);
    if (r->verdict != FH_API_PASS) {
        fh_json_put_key(&t->w, "why");
        fh_json_put_z(&t->w, r->why);
    }
    fh_json_put_end(&t->w);
}

/* Rows come as they are known; JSON comes whole. */
static bool on_result(void *ctx, const fh_api_result *r) {
    table *t = ctx;
    t->n[r->verdict]++;
    if (t->cli->json) {
        put_json(t, r);
        return true;
    }
    put_row(t, r);
    t->failed = fh_cli_print(t->cli, &t->out) != 0;
    fh_buf_clear(&t->out);
    fflush(t->cli->out);
    return !t->failed;
}

static int finish(table *t, const char *url, const char *model) {
    if (t->cli->json) {
        fh_json_put_end(&t->w);
        fh_json_put_key(&t->w, "url");
        fh_json_put_z(&t->w, url);
        fh_json_put_key(&t->w, "model");
        fh_json_put_z(&t->w, model);
        for (int v = 0; v < 3; v++) {
            static const char *const keys[] = {"passed", "failed", "absent"};
            fh_json_put_key(&t->w, keys[v]);
            fh_json_put_u64(&t->w, t->n[v]);
        }
        fh_json_put_end(&t->w);
        fh_buf_add_byte(&t->out, '\n');
    } else {
        fh_buf_printf(&t->out, "\n%u passed, %u failed, %u absent, with the model '", t->n[0], t->n[1], t->n[2]);
        fh_cli_add_safe(&t->out, fh_str_of(model));
        fh_buf_add_z(&t->out, "'\n");
    }
    int rc = fh_cli_print(t->cli, &t->out);
    return rc ? rc : t->n[FH_API_FAIL] > 0;
}

static int run_api(fh_cli *cli, const fh_api_options *opt) {
    char model[256] = "";
    fh_err err = {.status = FH_OK};
    table t = {.cli = cli};
    fh_buf_init(&t.out, MOST_OUTPUT);
    fh_json_writer_init(&t.w, &t.out, true);
    if (cli->json) {
        fh_json_put_object(&t.w);
        fh_json_put_key(&t.w, "cases");
        fh_json_put_array(&t.w);
    }
    int rc = 1;
    if (fh_api_selftest(opt, on_result, &t, model, sizeof model, &err) != FH_OK) rc = fh_cli_fail(cli, &err);
    else if (!t.failed) rc = finish(&t, opt->url, model);
    fh_buf_release(&t.out);
    return rc;
}

int fh_cmd_selftest(fh_cli *cli) {
    const char *pos[3] = {NULL, NULL, NULL};
    fh_api_options opt = {.url = NULL};
    uint64_t seconds = 120;
    fh_err err = {.status = FH_OK};
    const fh_option options[] = {
        {"--key", FH_OPTION_TEXT, &opt.key, "KEY", "sent as Authorization: Bearer (default: none)"},
        {"--model", FH_OPTION_TEXT, &opt.model, "NAME", "for texts (default: the first that the server lists)"},
        {"--embed", FH_OPTION_TEXT, &opt.embed, "NAME", "for vectors (default: as --model)"},
        {"--rank", FH_OPTION_TEXT, &opt.rank, "NAME", "for ranks (default: as --model)"},
        {"--only", FH_OPTION_TEXT, &opt.only, "TEXT", "cases whose \"area: name\" holds this (default: all)"},
        {"--timeout", FH_OPTION_U64, &seconds, "S", "seconds for one answer (default: 120)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), pos, FH_COUNT(pos));
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (!pos[0] || strcmp(pos[0], "api") != 0 || !pos[1] || pos[2]) {
        (void)fh_fail(&err, FH_ERR_USAGE, "selftest wants: api URL, the address of a server (http://127.0.0.1:8484)");
        return fh_cli_fail(cli, &err);
    }
    opt.url = pos[1];
    opt.timeout_ms = (uint32_t)FH_MIN(seconds, 86400u) * 1000u;
    return run_api(cli, &opt);
}
