/* serve/metrics.c - series in a hash table, written as text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"

#include <math.h>
#include <pthread.h>

#include "base/num.h"

#define BUCKETS 4096 /* of the hash table */
#define LABEL_BYTES 96

static const double edges[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
#define N_EDGE (sizeof edges / sizeof edges[0])

enum { COUNTER, GAUGE, HISTOGRAM };
static const struct {
    int kind;
    const char *name, *label, *help;
} rows[FH_METRICS] = {
#define FH_METRIC_ROW(id, kind, name, label, help) {kind, name, label, help},
#include "serve/metrics.def"
#undef FH_METRIC_ROW
};

typedef struct series {
    fh_metric id;
    char label[3][LABEL_BYTES]; /* model, key, the row's own */
    double value;               /* COUNTER, GAUGE; HISTOGRAM: sum */
    uint64_t count, bucket[N_EDGE];
    struct series *next, *next_of_metric;
} series;

struct fh_metrics {
    pthread_mutex_t lock;
    series *table[BUCKETS];
    series *first[FH_METRICS], *last[FH_METRICS];
    size_t n;
};

fh_status fh_metrics_new(fh_metrics **out, fh_err *err) {
    fh_metrics *m = fh_alloc_zero(1, sizeof *m);
    if (!m) return fh_fail_memory(err, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return FH_OK;
}

void fh_metrics_free(fh_metrics *m) {
    if (!m) return;
    for (int id = 0; id < FH_METRICS; id++)
        for (series *s; (s = m->first[id]) != NULL; fh_free(s)) m->first[id] = s->next_of_metric;
    pthread_mutex_destroy(&m->lock);
    fh_free(m);
}

static uint32_t hash_text(uint32_t v, const char *z) {
    for (; *z; z++) v = (v ^ (uint8_t)*z) * 16777619u;
    return (v ^ 0xff) * 16777619u;
}

static bool is_cut(const char *have, const char *want) { return strncmp(have, want, LABEL_BYTES - 1) == 0; }

/* NULL for lack of memory. */
static series *find(fh_metrics *m, fh_metric id, const char *const label[3]) {
    uint32_t h = 2166136261u ^ (uint32_t)id;
    for (int i = 0; i < 3; i++) h = hash_text(h, label[i]);
    series **at = &m->table[h % BUCKETS];
    for (; *at; at = &(*at)->next)
        if ((*at)->id == id && is_cut((*at)->label[0], label[0]) && is_cut((*at)->label[1], label[1]) &&
            is_cut((*at)->label[2], label[2]))
            return *at;
    series *s = fh_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    s->id = id;
    for (int i = 0; i < 3; i++) snprintf(s->label[i], LABEL_BYTES, "%s", label[i]);
    *at = s;
    if (m->last[id]) m->last[id]->next_of_metric = s;
    else m->first[id] = s;
    m->last[id] = s;
    m->n++;
    return s;
}

/* Locked when it gives a series. */
static series *lock_series(fh_metrics *m, fh_metric id, const char *model, const char *key, const char *label) {
    const char *const labels[3] = {model ? model : "", key ? key : "", label ? label : ""};
    const char *const other[3] = {"other", "other", label ? label : ""};
    pthread_mutex_lock(&m->lock);
    series *s = find(m, id, m->n < FH_METRICS_MOST ? labels : other);
    if (!s) pthread_mutex_unlock(&m->lock);
    return s;
}

void fh_metrics_add(fh_metrics *m, fh_metric id, const char *model, const char *key, const char *label, uint64_t n) {
    series *s = lock_series(m, id, model, key, label);
    if (!s) return;
    s->value += (double)n;
    pthread_mutex_unlock(&m->lock);
}

void fh_metrics_set(fh_metrics *m, fh_metric id, const char *model, const char *key, const char *label, double v) {
    series *s = lock_series(m, id, model, key, label);
    if (!s) return;
    s->value = v;
    pthread_mutex_unlock(&m->lock);
}

void fh_metrics_observe(fh_metrics *m, fh_metric id, const char *model, const char *key, double seconds) {
    series *s = lock_series(m, id, model, key, NULL);
    if (!s) return;
    s->count++;
    s->value += seconds;
    for (size_t i = 0; i < N_EDGE; i++)
        if (seconds <= edges[i]) {
            s->bucket[i]++;
            break;
        }
    pthread_mutex_unlock(&m->lock);
}

/* ---- text ---- */

static void put_label(fh_buf *out, bool *any, const char *name, const char *value) {
    if (!value[0]) return;
    fh_buf_printf(out, "%s%s=\"", *any ? "," : "{", name);
    *any = true;
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"') fh_buf_add_byte(out, '\\');
        if (*c == '\n') fh_buf_add_z(out, "\\n");
        else fh_buf_add_byte(out, (uint8_t)*c);
    }
    fh_buf_add_byte(out, '"');
}

static void put_labels(fh_buf *out, const series *s, const char *le) {
    bool any = false;
    put_label(out, &any, "model", s->label[0]);
    put_label(out, &any, "key", s->label[1]);
    if (rows[s->id].label[0]) put_label(out, &any, rows[s->id].label, s->label[2]);
    if (le) put_label(out, &any, "le", le);
    if (any) fh_buf_add_byte(out, '}');
}

static void put_number(fh_buf *out, double v) {
    if (v == floor(v) && fabs(v) < 9e15) fh_buf_printf(out, " %.0f\n", v);
    else fh_buf_printf(out, " %.9g\n", v);
}

static void put_histogram(fh_buf *out, const series *s) {
    const char *name = rows[s->id].name;
    uint64_t sum = 0;
    char le[32];
    for (size_t i = 0; i <= N_EDGE; i++) {
        if (i < N_EDGE) snprintf(le, sizeof le, "%g", edges[i]);
        else snprintf(le, sizeof le, "+Inf");
        sum = i < N_EDGE ? sum + s->bucket[i] : s->count;
        fh_buf_printf(out, "%s_bucket", name);
        put_labels(out, s, le);
        fh_buf_printf(out, " %llu\n", (unsigned long long)sum);
    }
    fh_buf_printf(out, "%s_sum", name);
    put_labels(out, s, NULL);
    put_number(out, s->value);
    fh_buf_printf(out, "%s_count", name);
    put_labels(out, s, NULL);
    fh_buf_printf(out, " %llu\n", (unsigned long long)s->count);
}

void fh_metrics_write(fh_metrics *m, fh_buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&m->lock);
    for (int id = 0; id < FH_METRICS; id++) {
        if (!m->first[id]) continue;
        fh_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[id].name, rows[id].help, rows[id].name,
                      kinds[rows[id].kind]);
        for (const series *s = m->first[id]; s; s = s->next_of_metric) {
            if (rows[id].kind == HISTOGRAM) {
                put_histogram(out, s);
                continue;
            }
            fh_buf_add_z(out, rows[id].name);
            put_labels(out, s, NULL);
            put_number(out, s->value);
        }
    }
    pthread_mutex_unlock(&m->lock);
}
