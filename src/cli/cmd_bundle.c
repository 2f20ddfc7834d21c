/* cli/cmd_bundle.c - freehold bundle, unbundle: a model for machines without a network, signed.
 * SPDX-License-Identifier: Apache-2.0
 * The signing key is this user's own, made at the first bundle. Whom to trust is the reader's to say: a key file, a
 * fingerprint, or his own key; an archive cannot vouch for itself. */
#include <openssl/crypto.h>

#include "base/folder.h"
#include "base/num.h"
#include "cli/cli.h"
#include "library/crate.h"
#include "library/passport.h"

#define MOST_EXTRA ((size_t)256 << 20)

static fh_status own_key(char path[FH_PATH_MAX], fh_err *err) {
    return fh_folder_own(path, ".config/freehold/bundle-key.pem", "bundle-key.pem", err);
}

static void show_progress(void *ctx, uint64_t done, uint64_t total) {
    fh_progress *p = ctx;
    p->total = total;
    fh_progress_at(p, done);
}

/* ---- bundle ---- */

typedef struct bundle_command {
    const fh_cli *cli;
    const char *model, *out, *key;
    fh_cli_list add;
    fh_crate_extra extra[FH_CLI_LIST_MOST + 1];
    fh_buf text[FH_CLI_LIST_MOST + 1];
    size_t n_extra;
    fh_arena arena;
} bundle_command;

static fh_status open_key(fh_signer **out, const bundle_command *c, fh_err *err) {
    char path[FH_PATH_MAX], folder[FH_PATH_MAX];
    if (c->key) return fh_signer_open(out, c->key, err);
    FH_TRY(own_key(path, err));
    if (fh_file_get_kind(path) == FH_FILE_NONE) {
        fh_str whole = fh_str_of(path), base = fh_path_base(whole);
        (void)fh_str_copy(folder, sizeof folder, fh_str_first(whole, whole.len - base.len - 1));
        FH_TRY(fh_folder_make(folder, err));
        FH_TRY(fh_signer_make(path, err));
        fprintf(c->cli->err, "freehold: made your signing key '%s'; keep it to yourself\n", path);
    }
    return fh_signer_open(out, path, err);
}

static fh_status add_passport(bundle_command *c, fh_err *err) {
    fh_passport p;
    const fh_passport_options o = {.parents = NULL};
    fh_buf *text = &c->text[c->n_extra];
    FH_TRY(fh_passport_gather(&p, c->model, &o, err));
    fh_buf_init(text, MOST_EXTRA);
    fh_passport_json(&p, text);
    fh_passport_release(&p);
    c->extra[c->n_extra++] = (fh_crate_extra){.name = FH_STR("passport.json"), .text = fh_buf_str(text)};
    return fh_buf_check(text, err);
}

static fh_status add_files(bundle_command *c, fh_err *err) {
    for (size_t i = 0; i < c->add.n; i++) {
        fh_buf *text = &c->text[c->n_extra];
        fh_buf_init(text, MOST_EXTRA);
        FH_TRY(fh_file_read(c->add.item[i], text, err));
        c->extra[c->n_extra++] =
            (fh_crate_extra){.name = fh_path_base(fh_str_of(c->add.item[i])), .text = fh_buf_str(text)};
    }
    return FH_OK;
}

static fh_status pack(bundle_command *c, fh_store *s, const fh_store_model *m, char print[FH_SHA256_HEX], fh_err *err) {
    fh_signer *signer = NULL;
    uint8_t key[FH_SIGN_KEY_BYTES];
    fh_progress progress;
    FH_TRY(open_key(&signer, c, err));
    fh_progress_start(&progress, c->cli, "packing", m->bytes);
    progress.bytes = true;
    const fh_crate_pack_options o = {
        .signer = signer, .extra = c->extra, .n_extra = c->n_extra, .progress = show_progress, .ctx = &progress};
    fh_status st = fh_crate_pack(c->out, s, m, &o, err);
    fh_progress_end(&progress);
    if (st == FH_OK) st = fh_signer_public(signer, key, err);
    if (st == FH_OK) st = fh_sign_fingerprint(key, print, err);
    fh_signer_free(signer);
    return st;
}

static fh_status bundle(bundle_command *c, fh_err *err) {
    fh_store *s = NULL;
    fh_store_model m;
    bool found = false;
    char print[FH_SHA256_HEX];
    FH_TRY(fh_store_open(&s, FH_STORE_AS_IS, err));
    fh_status st = s ? fh_store_lock(s, false, err) : FH_OK;
    if (st == FH_OK && s) st = fh_store_find(s, fh_str_of(c->model), &c->arena, &m, &found, err);
    if (st == FH_OK && !found)
        st = fh_fail(err, FH_ERR_NOT_FOUND, "no model '%s' in the library; pull it first", c->model);
    if (st == FH_OK) st = add_passport(c, err);
    if (st == FH_OK) st = add_files(c, err);
    if (st == FH_OK) st = pack(c, s, &m, print, err);
    fh_store_close(s);
    if (st != FH_OK) return st;
    if (c->cli->json) fprintf(c->cli->out, "{\"id\": \"%s\", \"signed_by\": \"%s\"}\n", m.id, print);
    else fprintf(c->cli->out, "%s  holds %.*s, signed by %s\n", c->out, FH_STR_ARG(m.name), print);
    return FH_OK;
}

int fh_cmd_bundle(fh_cli *cli) {
    bundle_command *c = fh_alloc_zero(1, sizeof *c);
    fh_err err = {.status = FH_OK};
    if (!c) {
        fh_fail_memory(&err, sizeof *c);
        return fh_cli_fail(cli, &err);
    }
    c->cli = cli;
    const fh_option options[] = {
        {"-o", FH_OPTION_TEXT, &c->out, "FILE", "the archive (no default)"},
        {"--key", FH_OPTION_TEXT, &c->key, "FILE",
         "Ed25519 private key in PEM (default: your own, made at the first use)"},
        {"--add", FH_OPTION_LIST, &c->add, "FILE", "goes along, such as eval results; may be repeated (default: none)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &c->model, 1);
    if (rc == 0) {
        fh_arena_init(&c->arena, (size_t)256 << 20);
        fh_status st =
            c->model && c->out ? bundle(c, &err) : fh_fail(&err, FH_ERR_USAGE, "which model, and -o FILE: where to?");
        if (st != FH_OK) rc = fh_cli_fail(cli, &err);
        for (size_t i = 0; i <= FH_CLI_LIST_MOST; i++) fh_buf_release(&c->text[i]);
        fh_arena_release(&c->arena);
    }
    fh_free(c);
    return rc == FH_CLI_STOP ? 0 : rc;
}

/* ---- unbundle ---- */

typedef struct trusted {
    const char *key, *print;
} trusted;

static fh_status trust(void *ctx, const uint8_t key[FH_SIGN_KEY_BYTES], fh_err *err) {
    const trusted *t = ctx;
    char path[FH_PATH_MAX], print[FH_SHA256_HEX];
    uint8_t known[FH_SIGN_KEY_BYTES];
    FH_TRY(fh_sign_fingerprint(key, print, err));
    if (t->key) {
        FH_TRY(fh_sign_read_public(t->key, known, err));
        if (CRYPTO_memcmp(known, key, sizeof known) == 0) return FH_OK;
        return fh_fail(err, FH_ERR_DENIED, "it is signed by %s, which is not the key in '%s'", print, t->key);
    }
    if (t->print) {
        if (strcmp(t->print, print) == 0) return FH_OK;
        return fh_fail(err, FH_ERR_DENIED, "it is signed by %s, not by the key that you trust", print);
    }
    if (own_key(path, NULL) == FH_OK && fh_file_get_kind(path) == FH_FILE_REGULAR &&
        fh_sign_read_public(path, known, NULL) == FH_OK && CRYPTO_memcmp(known, key, sizeof known) == 0)
        return FH_OK;
    return fh_fail(err, FH_ERR_DENIED,
                   "it is signed by %s; if you know from its maker that this is right, --trust it, or give his --key",
                   print);
}

static void say(const fh_cli *cli, const fh_crate *c, bool check) {
    char n[32], print[FH_SHA256_HEX] = "";
    (void)!fh_sign_fingerprint(c->key, print, NULL);
    if (cli->json) {
        fprintf(cli->out, "{\"id\": \"%s\", \"bytes\": %llu, \"extras\": %zu, \"signed_by\": \"%s\"}\n", c->model.id,
                (unsigned long long)c->model.bytes, c->n_extra, print);
        return;
    }
    fprintf(cli->out, "%.*s  %s, %zu files and %zu beside them, all as signed by %.16s...%s\n",
            FH_STR_ARG(c->model.name), fh_cli_bytes(c->model.bytes, n, sizeof n), c->model.n_file, c->n_extra, print,
            check ? "; nothing was kept" : "; it is in the library");
}

int fh_cmd_unbundle(fh_cli *cli) {
    const char *path = NULL;
    trusted t = {NULL, NULL};
    fh_progress progress;
    fh_err err = {.status = FH_OK};
    fh_store *s = NULL;
    fh_crate c;
    fh_crate_unpack_options o = {.trust = trust, .trust_ctx = &t, .progress = show_progress, .ctx = &progress};
    const fh_option options[] = {
        {"--key", FH_OPTION_TEXT, &t.key, "FILE", "the packer's public key in PEM (default: your own)"},
        {"--trust", FH_OPTION_TEXT, &t.print, "HEX", "the packer's fingerprint, instead of --key"},
        {"--as", FH_OPTION_TEXT, &o.as, "NAME", "its name in the library (default: the one it was packed with)"},
        {"--extras", FH_OPTION_TEXT, &o.extra_folder, "DIR",
         "where passport, eval results and the like go (default: they are proven, not kept)"},
        {"--check", FH_OPTION_FLAG, &o.check, NULL, "prove all of it, keep nothing (default: into the library)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &path, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_status st = path ? FH_OK : fh_fail(&err, FH_ERR_USAGE, "which file?");
    if (st == FH_OK && o.as && !fh_store_name_ok(fh_str_of(o.as)))
        st = fh_fail(&err, FH_ERR_USAGE, "'%s' is no name for a model", o.as);
    if (st == FH_OK && !o.check) st = fh_store_open(&s, FH_STORE_MAKE, &err);
    if (st == FH_OK && s) st = fh_store_lock(s, false, &err);
    fh_progress_start(&progress, cli, "proving", 0);
    progress.bytes = true;
    if (st == FH_OK) st = fh_crate_unpack(&c, path, s, &o, &err);
    fh_progress_end(&progress);
    fh_store_close(s);
    if (st != FH_OK) return fh_cli_fail(cli, &err);
    say(cli, &c, o.check);
    fh_crate_release(&c);
    return 0;
}
