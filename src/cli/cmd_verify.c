/* cli/cmd_verify.c - freehold verify: is every byte where it should be.
 * SPDX-License-Identifier: Apache-2.0
 * Exit 0: every question was answered with yes. 1: something is wrong, or could not be looked at. */
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "library/builtin.h"
#include "library/verify.h"

#define MAX_OUTPUT ((size_t)1 << 28)

static void text_report(fh_buf *out, const fh_verify *v, const fh_bundle *b, const fh_location *at) {
    char n[32];
    fh_buf_printf(out, "structure   ok: %s, %zu file%s, %zu tensors\n",
                  fh_bundle_form(b) == FH_FORM_GGUF ? "GGUF" : "safetensors", v->n_file, v->n_file == 1 ? "" : "s",
                  fh_bundle_n_tensor(b));
    size_t recorded = 0;
    for (size_t i = 0; i < v->n_file; i++) {
        const fh_verify_file *f = &v->file[i];
        if (!f->expected[0]) continue;
        recorded++;
        bool same = strcmp(f->expected, f->actual) == 0;
        fh_buf_printf(out, "checksum    %s: %s, as %s says\n", same ? "ok" : "WRONG", f->path, f->recorded_in);
        if (!same) fh_buf_printf(out, "            expected %s\n            found    %s\n", f->expected, f->actual);
    }
    if (recorded < v->n_file)
        fh_buf_printf(out, "checksum    none recorded for %zu of %zu file%s\n", v->n_file - recorded, v->n_file,
                      v->n_file == 1 ? "" : "s");
    fh_buf_printf(out, "numbers     %s: %s values decoded, %llu of them not finite\n", v->n_bad ? "WRONG" : "ok",
                  fh_cli_count(v->n_value, n, sizeof n), (unsigned long long)v->n_bad);
    for (size_t i = 0; i < v->n_scan; i++) {
        const fh_scan *s = &v->scan[i];
        if (s->decoded && !s->n_bad) continue;
        fh_buf_add_z(out, "            ");
        fh_cli_add_safe(out, fh_bundle_weights(b)->item[i].name);
        if (s->n_bad)
            fh_buf_printf(out, ": %llu of %llu, the first at %llu\n", (unsigned long long)s->n_bad,
                          (unsigned long long)s->n_value, (unsigned long long)s->first_bad);
        else fh_buf_add_z(out, ": complex numbers, not looked at\n");
    }
    (void)at;
}

static void json_report(fh_buf *out, const fh_verify *v, const fh_bundle *b, const fh_location *at) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "model");
    fh_json_put_z(&w, at->name);
    fh_json_put_key(&w, "ok");
    fh_json_put_bool(&w, v->n_bad == 0 && v->n_wrong_file == 0);
    fh_json_put_key(&w, "files");
    fh_json_put_array(&w);
    for (size_t i = 0; i < v->n_file; i++) {
        const fh_verify_file *f = &v->file[i];
        fh_json_put_object(&w);
        fh_json_put_key(&w, "path");
        fh_json_put_z(&w, f->path);
        fh_json_put_key(&w, "bytes");
        fh_json_put_u64(&w, f->bytes);
        if (f->expected[0]) {
            fh_json_put_key(&w, "expected_sha256");
            fh_json_put_z(&w, f->expected);
            fh_json_put_key(&w, "sha256");
            fh_json_put_z(&w, f->actual);
            fh_json_put_key(&w, "recorded_in");
            fh_json_put_z(&w, f->recorded_in);
        }
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_key(&w, "tensors");
    fh_json_put_u64(&w, fh_bundle_n_tensor(b));
    fh_json_put_key(&w, "values");
    fh_json_put_u64(&w, v->n_value);
    fh_json_put_key(&w, "not_finite");
    fh_json_put_array(&w);
    for (size_t i = 0; i < v->n_scan; i++) {
        if (!v->scan[i].n_bad) continue;
        fh_json_put_object(&w);
        fh_json_put_key(&w, "tensor");
        fh_json_put_str(&w, fh_bundle_weights(b)->item[i].name);
        fh_json_put_key(&w, "count");
        fh_json_put_u64(&w, v->scan[i].n_bad);
        fh_json_put_key(&w, "first");
        fh_json_put_u64(&w, v->scan[i].first_bad);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

static fh_status verify(fh_verify *v, const fh_cli *cli, const fh_bundle *b, fh_err *err) {
    fh_pool *pool;
    fh_progress progress;
    FH_TRY(fh_pool_new(&pool, NULL, err));
    fh_progress_start(&progress, cli, "verify", 0);
    fh_status st = fh_verify_bundle(v, b, pool, fh_progress_show, &progress, err);
    fh_progress_end(&progress);
    fh_pool_free(pool);
    return st;
}

int fh_cmd_verify(fh_cli *cli) {
    const char *model = NULL;
    int rc = fh_cli_parse(cli, NULL, 0, &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_location at;
    fh_bundle *b = NULL;
    fh_verify v = {.n_file = 0};
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = fh_locate(&at, model, &err);
    if (st == FH_OK) st = fh_location_open(&b, &at, &err);
    if (st == FH_OK) st = verify(&v, cli, b, &err);
    if (st == FH_OK) {
        if (cli->json) json_report(&out, &v, b, &at);
        else text_report(&out, &v, b, &at);
        rc = fh_cli_print(cli, &out);
        if (rc == 0 && (v.n_bad || v.n_wrong_file)) rc = fh_status_exit(FH_ERR_CORRUPT);
    } else {
        rc = fh_cli_fail(cli, &err);
    }
    fh_buf_release(&out);
    fh_verify_release(&v);
    fh_bundle_close(b);
    return rc;
}
