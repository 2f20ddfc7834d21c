/* cli/cmd_export.c - freehold export: a model into a folder of its own, with everything that its terms want beside it.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses where the verdict forbids (exit 1). Nothing is fetched; the folder must not hold anything yet. */
#include "base/clock.h"
#include "base/json.h"
#include "cli/cli.h"
#include "library/passport_export.h"

#define MAX_OUTPUT ((size_t)1 << 22)

typedef struct export_command {
    const char *model, *folder, *profile, *parents;
    bool accept_unknown;
    fh_org org;
    fh_passport passport;
    bool gathered;
    fh_export_result result;
    bool exported;
} export_command;

static fh_status carry_out(export_command *c, const fh_cli *cli, fh_err *err) {
    fh_progress progress;
    fh_pool *pool = NULL;
    const fh_pool_options pool_options = {.n_worker = 0};
    if (c->profile) FH_TRY(fh_org_read(&c->org, c->profile, err));
    FH_TRY(fh_pool_new(&pool, &pool_options, err));
    fh_progress_start(&progress, cli, "reading", 0);
    fh_passport_options gather = {.parents = c->parents,
                                  .org = c->profile ? &c->org : NULL,
                                  .pool = pool,
                                  .progress = fh_progress_show,
                                  .progress_ctx = &progress};
    fh_status st = fh_passport_gather(&c->passport, c->model, &gather, err);
    fh_progress_end(&progress);
    fh_pool_free(pool);
    if (st != FH_OK) return st;
    c->gathered = true;
    fh_progress_start(&progress, cli, "copying", 0);
    fh_export_options opt = {.passport = &c->passport,
                             .accept_unknown = c->accept_unknown,
                             .now = fh_clock_unix_ms() / 1000,
                             .progress = fh_progress_show,
                             .progress_ctx = &progress};
    st = fh_passport_export(&c->result, c->model, c->folder, &opt, err);
    fh_progress_end(&progress);
    c->exported = st == FH_OK;
    return st;
}

static void text_result(fh_buf *out, const export_command *c) {
    char size[32];
    fh_buf_printf(out, "%zu files, %s, in ", c->result.n, fh_cli_bytes(c->result.bytes, size, sizeof size));
    fh_cli_add_safe(out, fh_str_of(c->folder));
    fh_buf_add_byte(out, '\n');
    for (size_t i = 0; i < c->result.n; i++) {
        fh_buf_add_z(out, "  ");
        fh_cli_add_safe(out, c->result.file[i]);
        fh_buf_add_byte(out, '\n');
    }
    fh_buf_printf(out, "verdict: %s\n", fh_verdict_name(c->passport.license->verdict));
}

static void json_result(fh_buf *out, const export_command *c) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "folder");
    fh_json_put_z(&w, c->folder);
    fh_json_put_key(&w, "verdict");
    fh_json_put_z(&w, fh_verdict_name(c->passport.license->verdict));
    fh_json_put_key(&w, "bytes");
    fh_json_put_u64(&w, c->result.bytes);
    fh_json_put_key(&w, "files");
    fh_json_put_array(&w);
    for (size_t i = 0; i < c->result.n; i++) fh_json_put_str(&w, c->result.file[i]);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

int fh_cmd_export(fh_cli *cli); /* its row in commands.def says the same */
int fh_cmd_export(fh_cli *cli) {
    const char *pos[2] = {NULL, NULL};
    fh_err err = {0};
    fh_buf out;
    export_command *c = fh_alloc_zero(1, sizeof *c); /* large for a stack */
    if (!c) {
        (void)fh_fail_memory(&err, sizeof *c);
        return fh_cli_fail(cli, &err);
    }
    const fh_option options[] = {
        {"--org", FH_OPTION_TEXT, &c->profile, "FILE",
         "the organisation's profile, as freehold license has it (default: nothing is known of it)"},
        {"--bases", FH_OPTION_TEXT, &c->parents, "DIR",
         "a folder of OWNER/NAME folders to look for base models in (default: Hugging Face's cache alone)"},
        {"--accept-unknown", FH_OPTION_FLAG, &c->accept_unknown, NULL,
         "also where the verdict is unknown: you answer for it (default: refuse)"}};
    int rc = fh_cli_parse(cli, options, sizeof options / sizeof options[0], pos, 2);
    if (rc) {
        fh_free(c);
        return rc == FH_CLI_STOP ? 0 : rc;
    }
    fh_buf_init(&out, MAX_OUTPUT);
    c->model = pos[0];
    c->folder = pos[1];
    fh_status st = c->folder ? carry_out(c, cli, &err) : fh_fail(&err, FH_ERR_USAGE, "export needs MODEL and DIR");
    if (st == FH_OK) {
        if (cli->json) json_result(&out, c);
        else text_result(&out, c);
    }
    rc = st == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    if (c->exported) fh_export_result_release(&c->result);
    if (c->gathered) fh_passport_release(&c->passport);
    fh_free(c);
    fh_buf_release(&out);
    return rc;
}
