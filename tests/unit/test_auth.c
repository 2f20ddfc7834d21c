/* tests/unit/test_auth.c - keys, limits, budgets, backoff, and the log that shows changes.
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"
#include "serve/audit.h"
#include "serve/auth.h"
#include "test.h"

#define SECOND 1000000000ull

typedef struct made {
    fh_key like;
    char text[FH_KEY_TEXT], id[9];
} made;

static fh_status make(void *ctx, fh_keys *k, fh_err *err) {
    made *m = ctx;
    fh_key *out;
    FH_TRY(fh_keys_create(k, &m->like, m->text, &out, err));
    memcpy(m->id, out->id, sizeof m->id);
    return FH_OK;
}

static made create(fh_key like) {
    made m = {.like = like};
    fh_err err = {.status = FH_OK};
    if (!m.like.scopes) m.like.scopes = FH_KEY_INFER;
    CHECK_OK(fh_keys_update(fh_test_tmp(), make, &m, &err), err);
    return m;
}

static fh_auth *open_auth(void) {
    fh_auth *a = NULL;
    fh_err err = {.status = FH_OK};
    CHECK_OK(fh_auth_new(&a, fh_test_tmp(), &err), err);
    return a;
}

static fh_auth_verdict check(fh_auth *a, const char *text, const char *peer, uint64_t now, fh_identity *who) {
    uint32_t retry;
    return fh_auth_check(a, fh_str_of(text), fh_str_of(peer), now, who, &retry);
}

TEST(auth, keys) {
    fh_err err = {.status = FH_OK};
    fh_identity who;
    made a = create((fh_key){.name = "a"}), b = create((fh_key){.name = "b", .scopes = FH_KEY_ADMIN});
    made old = create((fh_key){.name = "old", .expires_ms = 1});
    CHECK(strcmp(a.text, b.text) != 0 && strlen(a.text) == 55);
    /* the file holds no text of a key */
    char path[FH_PATH_MAX];
    fh_buf file;
    fh_buf_init(&file, 1 << 20);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("keys.json"), &err), err);
    CHECK_OK(fh_file_read(path, &file, &err), err);
    fh_buf_add_byte(&file, 0);
    CHECK(!strstr((const char *)file.ptr, a.text + 12) && strstr((const char *)file.ptr, a.id));
    fh_buf_release(&file);
    fh_auth *auth = open_auth();
    CHECK(fh_auth_has_keys(auth));
    CHECK(check(auth, a.text, "p", SECOND, &who) == FH_AUTH_OK);
    CHECK(strcmp(who.id, a.id) == 0 && strcmp(who.name, "a") == 0 && who.scopes == FH_KEY_INFER);
    uint64_t salt = who.salt, owner = who.owner;
    CHECK(check(auth, b.text, "p", SECOND, &who) == FH_AUTH_OK);
    CHECK(who.salt != salt && who.owner != owner && (who.scopes & FH_KEY_INFER));
    CHECK(check(auth, old.text, "p", SECOND, &who) == FH_AUTH_EXPIRED);
    CHECK(check(auth, "", "p", SECOND, &who) == FH_AUTH_NO_KEY);
    for (size_t i = 0; i < strlen(a.text); i++) { /* every byte counts */
        char wrong[FH_KEY_TEXT], peer[16];
        memcpy(wrong, a.text, sizeof wrong);
        wrong[i] = wrong[i] == 'x' ? 'y' : 'x';
        snprintf(peer, sizeof peer, "w%zu", i);
        CHECK(check(auth, wrong, peer, SECOND, &who) == FH_AUTH_WRONG);
    }
    fh_auth_free(auth);
}

static fh_status revoke_key(void *ctx, fh_keys *k, fh_err *err) {
    fh_key *found;
    FH_TRY(fh_keys_find(k, fh_str_of(ctx), &found, err));
    found->revoked_ms = 1;
    return FH_OK;
}

TEST(auth, changes_are_seen) {
    fh_err err = {.status = FH_OK};
    fh_identity who;
    fh_auth *auth = open_auth();
    CHECK(!fh_auth_has_keys(auth));
    made a = create((fh_key){.name = "a"});
    CHECK_OK(fh_auth_refresh(auth, true, &err), err);
    CHECK(check(auth, a.text, "p", SECOND, &who) == FH_AUTH_OK);
    CHECK_OK(fh_keys_update(fh_test_tmp(), revoke_key, a.id, &err), err);
    CHECK_OK(fh_auth_refresh(auth, true, &err), err);
    CHECK(check(auth, a.text, "p", SECOND, &who) == FH_AUTH_REVOKED);
    CHECK(!fh_auth_has_keys(auth));
    fh_auth_free(auth);
}

TEST(auth, backoff) {
    fh_identity who;
    made a = create((fh_key){.name = "a"});
    fh_auth *auth = open_auth();
    uint64_t now = SECOND;
    uint32_t retry = 0;
    for (int i = 0; i < 5; i++) CHECK(check(auth, "fh-00000000-nonsense", "evil", now, &who) == FH_AUTH_WRONG);
    CHECK(fh_auth_check(auth, FH_STR("fh-00000000-nonsense"), FH_STR("evil"), now, &who, &retry) == FH_AUTH_WAIT);
    CHECK(retry > 900 && retry <= 1001);
    CHECK(check(auth, "fh-00000000-nonsense", "other", now, &who) == FH_AUTH_WRONG);
    CHECK(check(auth, a.text, "evil", now, &who) == FH_AUTH_OK); /* nobody is locked out by a neighbour */
    now += 2 * SECOND;
    CHECK(check(auth, "fh-00000000-nonsense", "evil", now, &who) == FH_AUTH_WRONG);
    CHECK(fh_auth_check(auth, FH_STR("fh-00000000-nonsense"), FH_STR("evil"), now, &who, &retry) == FH_AUTH_WAIT);
    CHECK(retry > 1900 && retry <= 2001);
    now += 601 * SECOND;
    CHECK(check(auth, "fh-00000000-nonsense", "evil", now, &who) == FH_AUTH_WRONG);
    CHECK(check(auth, "fh-00000000-nonsense", "evil", now, &who) == FH_AUTH_WRONG);
    fh_auth_free(auth);
}

TEST(auth, limits) {
    fh_identity who;
    uint32_t retry;
    uint64_t now = SECOND;
    made a = create((fh_key){.name = "a", .limits = {.requests_per_minute = 3, .concurrent = 2}});
    made b = create((fh_key){.name = "b", .limits = {.tokens_per_minute = 100}});
    made c = create((fh_key){.name = "c", .limits = {.budget = 50}});
    fh_auth *auth = open_auth();
    CHECK(check(auth, a.text, "p", now, &who) == FH_AUTH_OK);
    CHECK(!fh_auth_admit(auth, &who, now, &retry) && !fh_auth_admit(auth, &who, now, &retry));
    CHECK(fh_auth_admit(auth, &who, now, &retry) && retry == 1000); /* two at once */
    fh_auth_done(auth, &who, now, 10);
    CHECK(!fh_auth_admit(auth, &who, now, &retry));
    fh_auth_done(auth, &who, now, 10);
    CHECK(fh_auth_admit(auth, &who, now, &retry) && retry > 19000 && retry <= 20002); /* a third of a minute */
    CHECK(!fh_auth_admit(auth, &who, now + 21 * SECOND, &retry));

    CHECK(check(auth, b.text, "p", now, &who) == FH_AUTH_OK);
    CHECK(!fh_auth_admit(auth, &who, now, &retry));
    fh_auth_done(auth, &who, now, 150); /* known at the end only: half a minute too much */
    CHECK(fh_auth_admit(auth, &who, now, &retry) && retry > 30000 && retry < 31000);
    CHECK(!fh_auth_admit(auth, &who, now + 32 * SECOND, &retry));

    CHECK(check(auth, c.text, "p", now, &who) == FH_AUTH_OK);
    CHECK(!fh_auth_admit(auth, &who, now, &retry));
    fh_auth_done(auth, &who, now, 49);
    CHECK(!fh_auth_admit(auth, &who, now, &retry));
    fh_auth_done(auth, &who, now, 1);
    CHECK(fh_auth_admit(auth, &who, now, &retry) && retry == 0);
    fh_err err = {.status = FH_OK};
    CHECK_OK(fh_auth_save(auth, &err), err);
    fh_auth_free(auth);
    auth = open_auth(); /* what was spent is not forgotten by starting again */
    CHECK(check(auth, c.text, "p", now, &who) == FH_AUTH_OK);
    CHECK(fh_auth_admit(auth, &who, now, &retry));
    fh_auth_free(auth);
}

TEST(auth, words) {
    uint64_t n;
    uint32_t bits;
    fh_key_period p;
    CHECK(fh_key_parse_budget(FH_STR("12/day"), &n, &p) && n == 12 && p == FH_PERIOD_DAY);
    CHECK(fh_key_parse_budget(FH_STR("12"), &n, &p) && p == FH_PERIOD_EVER);
    CHECK(!fh_key_parse_budget(FH_STR("12/ever"), &n, &p) && !fh_key_parse_budget(FH_STR("x/day"), &n, &p));
    CHECK(fh_key_parse_scopes(FH_STR("infer,admin"), &bits) && bits == (FH_KEY_INFER | FH_KEY_ADMIN));
    CHECK(!fh_key_parse_scopes(FH_STR(""), &bits) && !fh_key_parse_scopes(FH_STR("infer,"), &bits));
    uint64_t t = 1795297723000; /* 2026-11-21T21:48:43Z */
    CHECK_U64(fh_key_period_start(FH_PERIOD_DAY, t), 1795219200000);
    CHECK_U64(fh_key_period_start(FH_PERIOD_MONTH, t), 1793491200000);
}

/* ---- the log ---- */

static fh_audit_check verify(void) {
    fh_audit_check c;
    fh_err err = {.status = FH_OK};
    CHECK_OK(fh_audit_verify(&c, fh_test_tmp(), &err), err);
    return c;
}

static void add(fh_audit *a, uint64_t n) {
    fh_err err = {.status = FH_OK};
    const fh_log_field f[] = {FH_LOG_U("n", n), FH_LOG_S("who", FH_STR("a \"name\"\n"))};
    CHECK_OK(fh_audit_add(a, "test", f, FH_COUNT(f), &err), err);
}

TEST(audit, chain) {
    fh_err err = {.status = FH_OK};
    char path[FH_PATH_MAX];
    fh_audit *a = NULL, *b = NULL;
    fh_buf file;
    CHECK_OK(fh_audit_open(&a, fh_test_tmp(), &err), err);
    CHECK_OK(fh_audit_open(&b, fh_test_tmp(), &err), err);
    for (uint64_t i = 0; i < 20; i++) add(i % 3 ? a : b, i); /* two writers, one chain */
    fh_audit_check c = verify();
    CHECK(c.n_line == 20 && c.first_bad == 0 && c.n_torn == 0);
    CHECK_OK(fh_path_join(path, fh_test_tmp(), FH_STR("audit.log"), &err), err);
    FILE *f = fopen(path, "a");
    fputs("{\"seq\":21,\"half", f); /* the machine stopped here */
    fclose(f);
    fh_audit_close(a);
    fh_audit_close(b);
    CHECK_OK(fh_audit_open(&a, fh_test_tmp(), &err), err);
    add(a, 21);
    fh_audit_close(a);
    c = verify();
    CHECK(c.n_line == 22 && c.first_bad == 0 && c.n_torn == 1);
    /* any changed byte of a whole line is seen; a line taken away or doubled, too */
    fh_buf_init(&file, 1 << 20);
    CHECK_OK(fh_file_read(path, &file, &err), err);
    for (size_t at = 10; at < file.len - 300; at += 97) {
        if (file.ptr[at] == '\n') continue;
        uint8_t was = file.ptr[at];
        file.ptr[at] = was == '1' ? '2' : '1';
        f = fopen(path, "w");
        fwrite(file.ptr, 1, file.len, f);
        fclose(f);
        CHECK(verify().first_bad > 0);
        file.ptr[at] = was;
    }
    size_t first = (size_t)((uint8_t *)memchr(file.ptr, '\n', file.len) - file.ptr) + 1;
    f = fopen(path, "w");
    fwrite(file.ptr + first, 1, file.len - first, f);
    fclose(f);
    CHECK_U64(verify().first_bad, 1);
    fh_buf_release(&file);
}
