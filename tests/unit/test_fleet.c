/* tests/unit/test_fleet.c - models by name: loaded when asked for, shared, let go, evicted, refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdatomic.h>

#include "base/num.h"
#include "serve/fleet.h"
#include "test.h"

typedef struct got {
    fh_resident *r;
    fh_err err;
    _Atomic int calls;
} got;

static void take(void *ctx, fh_resident *r, const fh_err *err) {
    got *g = ctx;
    g->r = r;
    if (err) g->err = *err;
    g->calls++;
}

static void await(got *g) {
    for (int i = 0; i < 1000 && g->calls == 0; i++) (void)poll(NULL, 0, 10);
    CHECK_U64(g->calls, 1);
}

static fh_resident *use(fh_fleet *f, const char *name, int64_t keep_ms) {
    got g = {.r = NULL};
    fh_fleet_use(f, fh_str_of(name), keep_ms, take, &g);
    await(&g);
    if (!g.r) fh_test_fail(__FILE__, __LINE__, "%s: %s", name, g.err.message);
    return g.r;
}

static bool is_loaded(fh_fleet *f, const char *name) {
    fh_fleet_entry e;
    CHECK(fh_fleet_find(f, fh_str_of(name), &e));
    return e.loaded;
}

static bool leaves(fh_fleet *f, const char *name) {
    for (int i = 0; i < 500 && is_loaded(f, name); i++) (void)poll(NULL, 0, 10);
    return !is_loaded(f, name);
}

static fh_fleet *open_fleet(fh_fleet_options o) {
    fh_fleet *f = NULL;
    fh_err err = {.status = FH_OK};
    o.threads = 1;
    o.kv_type = FH_DTYPE_F16;
    CHECK_OK(fh_fleet_new(&f, &o, NULL, NULL, &err), err);
    CHECK_OK(fh_fleet_add(f, "a", NULL, false, &err), err);
    CHECK_OK(fh_fleet_add(f, "org/B:latest", NULL, false, &err), err);
    CHECK_OK(fh_fleet_alias(f, "gpt-x", "a", &err), err);
    return f;
}

TEST(fleet, names) {
    fh_err err = {.status = FH_OK};
    fh_fleet_entry e;
    fh_fleet *f = open_fleet((fh_fleet_options){.memory_most = (uint64_t)1 << 30});
    CHECK_U64(fh_fleet_n(f), 2);
    CHECK(fh_fleet_find(f, FH_STR("A"), &e) && strcmp(e.name, "a") == 0 && !e.loaded && e.file_bytes == 0);
    CHECK(fh_fleet_find(f, FH_STR("a:latest"), &e) && strcmp(e.name, "a") == 0);
    CHECK(fh_fleet_find(f, FH_STR("org/b"), &e) && strcmp(e.name, "org/B:latest") == 0);
    CHECK(fh_fleet_find(f, FH_STR("gpt-x"), &e) && strcmp(e.name, "a") == 0);
    CHECK(fh_fleet_find(f, FH_STR(""), &e) && strcmp(e.name, "a") == 0);
    CHECK(!fh_fleet_find(f, FH_STR("b"), &e) && !fh_fleet_find(f, FH_STR("a:7b"), &e));
    CHECK_STATUS(fh_fleet_add(f, "A:latest", NULL, false, &err), FH_ERR_EXISTS);
    CHECK_STATUS(fh_fleet_alias(f, "x", "nothing", &err), FH_ERR_NOT_FOUND);
    CHECK_STATUS(fh_fleet_add(f, "x", "/nonexistent.gguf", false, &err), FH_ERR_NOT_FOUND);
    CHECK_OK(fh_fleet_remove(f, FH_STR("gpt-x"), &err), err);
    CHECK(!fh_fleet_find(f, FH_STR("gpt-x"), &e) && fh_fleet_find(f, FH_STR("a"), &e));
    CHECK(fh_fleet_get(f, 1, &e) && strcmp(e.name, "org/B:latest") == 0 && !fh_fleet_get(f, 2, &e));
    fh_fleet_free(f);
}

TEST(fleet, comes_and_goes) {
    enum { N = 8 };
    fh_err err = {.status = FH_OK};
    got many[N];
    fh_fleet *f = open_fleet((fh_fleet_options){.memory_most = (uint64_t)4 << 30, .keep_alive_ms = 60000});
    CHECK_OK(fh_fleet_start(f, &err), err);
    memset(many, 0, sizeof many);
    for (int i = 0; i < N; i++) fh_fleet_use(f, FH_STR("gpt-x"), FH_KEEP_DEFAULT, take, &many[i]);
    for (int i = 0; i < N; i++) {
        await(&many[i]);
        CHECK(many[i].r && many[i].r == many[0].r); /* loaded once, shared */
    }
    fh_resident *r = many[0].r;
    CHECK(r->tokenizer && r->scheduler && r->vocab && r->n_context > 0 && r->result == FH_EXPORT_LOGITS);
    CHECK(r->end_ids.len > 0 && r->bytes > 0 && fh_fleet_bytes(f) == r->bytes);
    CHECK_U64(fh_fleet_users(f), N);
    for (int i = 0; i < N; i++) fh_resident_release(f, r);
    (void)poll(NULL, 0, 50);
    CHECK(is_loaded(f, "a"));
    CHECK(use(f, "a", 0) == r); /* from now on it leaves when unused */
    CHECK(is_loaded(f, "a"));
    fh_resident_release(f, r);
    CHECK(leaves(f, "a"));
    r = use(f, "a", -1);
    fh_resident_release(f, r);
    (void)poll(NULL, 0, 50);
    CHECK(is_loaded(f, "a"));
    fh_resident_hold(f, use(f, "a", FH_KEEP_DEFAULT));
    CHECK_OK(fh_fleet_unload(f, FH_STR("a"), &err), err);
    fh_resident_release(f, r);
    (void)poll(NULL, 0, 50);
    CHECK(is_loaded(f, "a")); /* not under the feet of who uses it */
    fh_resident_release(f, r);
    CHECK(leaves(f, "a"));
    CHECK_STATUS(fh_fleet_unload(f, FH_STR("nothing"), &err), FH_ERR_NOT_FOUND);
    fh_fleet_free(f);
}

TEST(fleet, eviction) {
    fh_err err = {.status = FH_OK};
    fh_fleet *f = open_fleet((fh_fleet_options){.memory_most = (uint64_t)260 << 20, .keep_alive_ms = -1});
    CHECK_OK(fh_fleet_start(f, &err), err);
    fh_resident *a = use(f, "a", FH_KEEP_DEFAULT);
    fh_resident *b = use(f, "org/b", FH_KEEP_DEFAULT); /* a is in use: b gets what is left */
    CHECK(is_loaded(f, "a") && is_loaded(f, "org/b"));
    CHECK(fh_fleet_bytes(f) == a->bytes + b->bytes && fh_fleet_bytes(f) <= (uint64_t)260 << 20);
    fh_resident_release(f, b);
    CHECK_OK(fh_fleet_unload(f, FH_STR("org/b"), &err), err);
    CHECK(leaves(f, "org/b"));
    fh_resident_release(f, a);
    b = use(f, "org/b", FH_KEEP_DEFAULT);
    CHECK(!is_loaded(f, "a")); /* nobody used it, and b wants room */
    fh_resident_release(f, b);
    fh_fleet_free(f);
}

TEST(fleet, no_room) {
    fh_err err = {.status = FH_OK};
    got g = {.r = NULL};
    fh_fleet *f = open_fleet((fh_fleet_options){.memory_most = 1000});
    CHECK_OK(fh_fleet_start(f, &err), err);
    fh_fleet_use(f, FH_STR("a"), FH_KEEP_DEFAULT, take, &g);
    await(&g);
    CHECK(!g.r && g.err.status == FH_ERR_LIMIT && strstr(g.err.message, "MiB are to be had"));
    CHECK_U64(fh_fleet_bytes(f), 0);
    fh_fleet_free(f);
}

TEST(fleet, broken_model) {
    char path[256];
    fh_err err = {.status = FH_OK};
    got g = {.r = NULL}, late = {.r = NULL};
    snprintf(path, sizeof path, "%s/broken.gguf", fh_test_tmp());
    FILE *f = fopen(path, "w");
    CHECK(f && fputs("GGUF and nothing else", f) >= 0 && fclose(f) == 0);
    fh_fleet *fleet = open_fleet((fh_fleet_options){.memory_most = (uint64_t)1 << 30});
    CHECK_OK(fh_fleet_add_folder(fleet, fh_test_tmp(), &err), err);
    CHECK_OK(fh_fleet_start(fleet, &err), err);
    fh_fleet_use(fleet, FH_STR("broken"), FH_KEEP_DEFAULT, take, &g);
    await(&g);
    CHECK(!g.r && g.err.status != FH_OK);
    fh_resident_release(fleet, use(fleet, "a", 0)); /* and the others are served */
    fh_fleet_stop(fleet);
    fh_fleet_use(fleet, FH_STR("broken"), FH_KEEP_DEFAULT, take, &late);
    await(&late);
    CHECK(late.err.status == FH_ERR_CANCELLED);
    fh_fleet_free(fleet);
}
