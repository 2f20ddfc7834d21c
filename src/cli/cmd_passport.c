/* cli/cmd_passport.c - freehold passport: what is known of a model, fact by fact, and what that amounts to.
 * SPDX-License-Identifier: Apache-2.0
 * For people by default (Markdown); --format json, cyclonedx and spdx for programs. The verdict is the result,
 * whatever it is: exit 0. */
#include "base/clock.h"
#include "cli/cli.h"
#include "library/passport.h"

#define MAX_OUTPUT ((size_t)1 << 26)

static fh_status write_out(const fh_passport *p, const char *format, fh_buf *out, fh_err *err) {
    uint64_t now = fh_clock_unix_ms() / 1000;
    if (strcmp(format, "md") == 0) fh_passport_markdown(p, out);
    else if (strcmp(format, "json") == 0) fh_passport_json(p, out);
    else if (strcmp(format, "cyclonedx") == 0) fh_passport_cyclonedx(p, now, out);
    else fh_passport_spdx(p, now, out);
    return fh_buf_check(out, err);
}

static bool is_format(const char *f) {
    static const char *const all[] = {"md", "json", "cyclonedx", "spdx"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(f, all[i]) == 0) return true;
    return false;
}

int fh_cmd_passport(fh_cli *cli); /* its row in commands.def says the same */
int fh_cmd_passport(fh_cli *cli) {
    const char *model = NULL, *profile = NULL, *parents = NULL, *format = NULL;
    bool no_read = false;
    const fh_option options[] = {
        {"--format", FH_OPTION_TEXT, &format, "FORMAT",
         "md, json, cyclonedx (ML-BOM 1.6) or spdx (3.0.1, AI) (default: md; json with --json)"},
        {"--org", FH_OPTION_TEXT, &profile, "FILE",
         "the organisation's profile, as freehold license has it (default: nothing is known of it)"},
        {"--bases", FH_OPTION_TEXT, &parents, "DIR",
         "a folder of OWNER/NAME folders to look for base models in (default: Hugging Face's cache alone)"},
        {"--no-read", FH_OPTION_FLAG, &no_read, NULL,
         "do not read the weights: their digests stay unknown (default: read them)"}};
    int rc = fh_cli_parse(cli, options, sizeof options / sizeof options[0], &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_org org;
    fh_pool *pool = NULL;
    fh_buf out;
    fh_progress progress;
    fh_buf_init(&out, MAX_OUTPUT);
    memset(&org, 0, sizeof org);
    if (!format) format = cli->json ? "json" : "md";
    fh_passport *p = fh_alloc_zero(1, sizeof *p); /* large for a stack */
    fh_status st = p ? FH_OK : fh_fail_memory(&err, sizeof *p);
    if (st == FH_OK && !is_format(format))
        st = fh_fail(&err, FH_ERR_USAGE, "--format '%.40s', it is none of md, json, cyclonedx, spdx", format);
    if (st == FH_OK && profile) st = fh_org_read(&org, profile, &err);
    const fh_pool_options pool_options = {.n_worker = 0};
    if (st == FH_OK && !no_read) st = fh_pool_new(&pool, &pool_options, &err);
    fh_progress_start(&progress, cli, "reading", 0);
    fh_passport_options opt = {.parents = parents,
                               .org = profile ? &org : NULL,
                               .pool = pool,
                               .progress = fh_progress_show,
                               .progress_ctx = &progress};
    bool gathered = st == FH_OK && (st = fh_passport_gather(p, model, &opt, &err)) == FH_OK;
    fh_progress_end(&progress);
    if (gathered) st = write_out(p, format, &out, &err);
    rc = st == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    if (gathered) fh_passport_release(p);
    fh_pool_free(pool);
    fh_free(p);
    fh_buf_release(&out);
    return rc;
}
