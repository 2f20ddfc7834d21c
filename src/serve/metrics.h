/* serve/metrics.h - figures for Prometheus: counters, gauges and histograms, by model and key.
 * SPDX-License-Identifier: Apache-2.0
 * The table is metrics.def. Series come into being when they are first touched; there are FH_METRICS_MOST at the most,
 * and what comes after is counted under the labels "other". Any thread. */
#ifndef FH_SERVE_METRICS_H
#define FH_SERVE_METRICS_H

#include "base/buf.h"

#define FH_METRICS_MOST 8192

typedef enum fh_metric {
#define FH_METRIC_ROW(id, kind, name, label, help) FH_METRIC_##id,
#include "serve/metrics.def"
#undef FH_METRIC_ROW
    FH_METRICS
} fh_metric;

typedef struct fh_metrics fh_metrics;
FH_MUST_USE fh_status fh_metrics_new(fh_metrics **out, fh_err *err);
void fh_metrics_free(fh_metrics *m); /* NULL is fine */
/* model, key and label may be NULL or "". Lack of memory loses a figure, never a request. */
void fh_metrics_add(fh_metrics *m, fh_metric id, const char *model, const char *key, const char *label, uint64_t n);
void fh_metrics_set(fh_metrics *m, fh_metric id, const char *model, const char *key, const char *label, double v);
void fh_metrics_observe(fh_metrics *m, fh_metric id, const char *model, const char *key, double seconds);
/* In the text format 0.0.4, appended. */
void fh_metrics_write(fh_metrics *m, fh_buf *out);

#endif
