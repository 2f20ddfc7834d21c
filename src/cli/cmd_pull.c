/* cli/cmd_pull.c - freehold pull: fetch a published model into the library.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/json_member.h"
#include "base/num.h"
#include "cli/pull_part.h"

#define MAX_OUTPUT ((size_t)1 << 26)

static void text_report(fh_buf *out, const fh_pull_result *r, bool dry_run) {
    char n[3][32];
    const fh_store_model *m = &r->model;
    size_t width = 0;
    for (size_t i = 0; dry_run && i < m->n_file; i++) width = FH_MAX(width, FH_MIN(m->file[i].path.len, 60u));
    for (size_t i = 0; dry_run && i < m->n_file; i++) {
        size_t was = out->len;
        fh_cli_add_safe(out, m->file[i].path);
        while (out->len - was < width) fh_buf_add_byte(out, ' ');
        fh_buf_printf(out, "  %10s  %.12s\n", fh_cli_bytes(m->file[i].bytes, n[0], sizeof n[0]),
                      m->file[i].digest[0] ? m->file[i].digest : "-");
    }
    fh_buf_printf(out, "%.*s  %s in %zu file%s; %s %s", FH_STR_ARG(m->name), fh_cli_bytes(m->bytes, n[0], sizeof n[0]),
                  m->n_file, m->n_file == 1 ? "" : "s", fh_cli_bytes(r->bytes_fetched, n[1], sizeof n[1]),
                  dry_run ? "to fetch" : "fetched");
    if (r->n_here) fh_buf_printf(out, ", %s proven here", fh_cli_bytes(r->bytes_here, n[2], sizeof n[2]));
    if (r->n_mended) fh_buf_printf(out, ", %llu damaged", (unsigned long long)r->n_mended);
    if (r->n_mended && !dry_run) fh_buf_add_z(out, " and mended");
    fh_buf_add_byte(out, '\n');
    if (!dry_run) fh_buf_printf(out, "id %s\n", m->id);
}

static void json_report(fh_buf *out, const fh_pull_result *r, bool dry_run) {
    const fh_store_model *m = &r->model;
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_str(&w, "name", m->name);
    fh_put_str(&w, "source", m->source);
    fh_put_str(&w, "revision", m->revision);
    if (!dry_run) fh_put_str(&w, "id", fh_str_of(m->id));
    if (!dry_run) fh_put_str(&w, "folder", fh_str_of(r->folder));
    fh_put_u64(&w, "bytes", m->bytes);
    fh_put_u64(&w, dry_run ? "bytes_to_fetch" : "bytes_fetched", r->bytes_fetched);
    fh_put_u64(&w, "bytes_here", r->bytes_here);
    fh_put_u64(&w, "damaged", r->n_mended);
    fh_json_put_key(&w, "files");
    fh_json_put_array(&w);
    for (size_t i = 0; i < m->n_file; i++) {
        fh_json_put_object(&w);
        fh_put_str(&w, "path", m->file[i].path);
        fh_put_u64(&w, "bytes", m->file[i].bytes);
        if (m->file[i].digest[0]) fh_put_str(&w, "sha256", fh_str_of(m->file[i].digest));
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

int fh_cmd_pull(fh_cli *cli) {
    const char *model = NULL;
    fh_puller p = {.cli = cli};
    const fh_option options[] = {
        {"--dry-run", FH_OPTION_FLAG, &p.dry_run, NULL, "only list what would be fetched (default: fetch it)"},
        {"--as", FH_OPTION_TEXT, &p.as, "NAME", "its name in the library (default: as it was typed)"},
        {"--all", FH_OPTION_FLAG, &p.all, NULL,
         "every file of the repository but pickles (default: what running it needs, and its terms)"},
        FH_PULLER_OPTIONS(&p),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {.status = FH_OK};
    fh_pull_result r;
    if (!model) {
        fh_fail(&err, FH_ERR_USAGE, "which model? for example `freehold pull llama3.2:1b`, or owner/repo:Q4_K_M");
        return fh_cli_fail(cli, &err);
    }
    if (fh_puller_run(&p, &r, model, &err) != FH_OK) return fh_cli_fail(cli, &err);
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    if (cli->json) json_report(&out, &r, p.dry_run);
    else text_report(&out, &r, p.dry_run);
    rc = fh_cli_print(cli, &out);
    fh_buf_release(&out);
    fh_pull_result_release(&r);
    return rc;
}
