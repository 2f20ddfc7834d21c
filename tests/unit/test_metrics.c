/* tests/unit/test_metrics.c - the text that Prometheus reads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"
#include "test.h"

static bool holds(const fh_buf *b, const char *line) {
    size_t n = strlen(line);
    for (size_t i = 0; i + n <= b->len; i++)
        if ((i == 0 || b->ptr[i - 1] == '\n') && memcmp(b->ptr + i, line, n) == 0) return true;
    return false;
}

TEST(metrics, text) {
    fh_metrics *m = NULL;
    fh_err err = {.status = FH_OK};
    fh_buf out;
    fh_buf_init(&out, 1 << 20);
    CHECK_OK(fh_metrics_new(&m, &err), err);
    fh_metrics_add(m, FH_METRIC_NEW_TOKENS, "a\"b\\c\nd", "k", NULL, 3);
    fh_metrics_add(m, FH_METRIC_NEW_TOKENS, "a\"b\\c\nd", "k", NULL, 4);
    fh_metrics_add(m, FH_METRIC_REQUESTS, "", NULL, "200", 1);
    fh_metrics_set(m, FH_METRIC_WAITING, "x", NULL, NULL, 2.5);
    fh_metrics_observe(m, FH_METRIC_FIRST, "x", "k", 0.004);
    fh_metrics_observe(m, FH_METRIC_FIRST, "x", "k", 0.2);
    fh_metrics_observe(m, FH_METRIC_FIRST, "x", "k", 1000);
    fh_metrics_write(m, &out);
    CHECK(holds(&out, "freehold_new_tokens_total{model=\"a\\\"b\\\\c\\nd\",key=\"k\"} 7\n"));
    CHECK(holds(&out, "freehold_requests_total{status=\"200\"} 1\n"));
    CHECK(holds(&out, "freehold_waiting{model=\"x\"} 2.5\n"));
    CHECK(holds(&out, "# TYPE freehold_time_to_first_token_seconds histogram\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_bucket{model=\"x\",key=\"k\",le=\"0.0025\"} 0\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_bucket{model=\"x\",key=\"k\",le=\"0.005\"} 1\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_bucket{model=\"x\",key=\"k\",le=\"0.25\"} 2\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_bucket{model=\"x\",key=\"k\",le=\"120\"} 2\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_bucket{model=\"x\",key=\"k\",le=\"+Inf\"} 3\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_sum{model=\"x\",key=\"k\"} 1000.204\n"));
    CHECK(holds(&out, "freehold_time_to_first_token_seconds_count{model=\"x\",key=\"k\"} 3\n"));
    fh_buf_release(&out);
    fh_metrics_free(m);
}

/* Clients choose some labels: they cannot make it grow without end. */
TEST(metrics, bounded) {
    fh_metrics *m = NULL;
    fh_err err = {.status = FH_OK};
    fh_buf out;
    char name[32];
    size_t lines = 0;
    fh_buf_init(&out, 64 << 20);
    CHECK_OK(fh_metrics_new(&m, &err), err);
    for (int i = 0; i < 3 * FH_METRICS_MOST; i++) {
        snprintf(name, sizeof name, "m%d", i);
        fh_metrics_add(m, FH_METRIC_NEW_TOKENS, name, NULL, NULL, 1);
    }
    fh_metrics_write(m, &out);
    for (size_t i = 0; i < out.len; i++) lines += out.ptr[i] == '\n';
    CHECK_U64(lines, FH_METRICS_MOST + 3); /* two of comment, and "other" */
    CHECK(holds(&out, "freehold_new_tokens_total{model=\"other\",key=\"other\"} 16384\n"));
    fh_buf_release(&out);
    fh_metrics_free(m);
}
