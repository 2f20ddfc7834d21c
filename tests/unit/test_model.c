/* tests/unit/test_model.c - loading a hundred times leaves nothing behind; models that cannot be are refused by name.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "infer/engine.h"
#include "test.h"

static fh_status row(void *ctx, uint32_t work, uint32_t index, const float *v, fh_err *err) {
    (void)work, (void)index, (void)err;
    *(float *)ctx = v[0];
    return FH_OK;
}

static void once(const char *path, bool exact, float *first) {
    fh_err err = {0};
    fh_bundle *b = NULL;
    fh_model *m = NULL;
    fh_engine *e = NULL;
    fh_session *s = NULL;
    const uint32_t token[3] = {5, 6, 7};
    CHECK_OK(fh_bundle_open(&b, path, &err), err);
    CHECK_OK(fh_model_load(&m, b, &err), err);
    fh_engine_options opt = {.threads = 1, .exact = exact, .batch = 32};
    CHECK_OK(fh_engine_new(&e, m, &opt, &err), err);
    CHECK_OK(fh_session_new(&s, e, 0, NULL, 0, &err), err);
    fh_work w = {.session = s, .token = token, .n = 3, .want = FH_WANT_LAST};
    CHECK_OK(fh_engine_step(e, &w, 1, FH_EXPORT_LOGITS, row, first, NULL, &err), err);
    fh_session_free(s);
    fh_engine_free(e);
    fh_model_free(m);
}

TEST(model, a_hundred_loads_leave_nothing) {
    char path[1024];
    float first = 0, again = 0;
    snprintf(path, sizeof path, "%s/models/llama-sharded", fh_test_golden());
    once(path, true, &first); /* tables that are made once are made here */
    once(path, false, &again);
    const fh_mem_stats before = fh_mem_get_stats();
    for (int i = 0; i < 100; i++) {
        once(path, i % 2 == 0, i % 2 == 0 ? &again : &(float){0});
        if (i % 2 == 0) CHECK(again == first);
    }
    const fh_mem_stats after = fh_mem_get_stats();
    CHECK_U64(after.live_blocks, before.live_blocks);
    CHECK_U64(after.live_bytes, before.live_bytes);
}
