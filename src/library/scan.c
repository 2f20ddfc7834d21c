/* library/scan.c - the pass over all values.
 * SPDX-License-Identifier: Apache-2.0
 * Threads take weights one by one from a shared counter, so a big one does not hold up the rest. The first failure
 * stops all. A file that shrinks meanwhile is found by fh_bundle_check at the end. */
#include "library/scan.h"

#include <stdatomic.h>

#include "base/num.h"
#include "kernel/weight_decode.h"

#define PIECE_VALUES (1u << 16)

typedef struct scan_job {
    const fh_bundle *bundle;
    fh_scan *out;
    bool digests;
    fh_scan_progress *progress;
    void *progress_ctx;
    uint64_t total;
    _Atomic size_t next;
    _Atomic uint64_t done;
    _Atomic bool failed;
    fh_err *err; /* written by the first failure alone */
} scan_job;

static void count_bad(fh_scan *s, const float *v, size_t n) {
    /* exponent all ones: an integer test, so that the loop vectorizes and no flag can optimize it away */
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], 4);
        bad += (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (bad && s->n_bad == 0) {
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &v[i], 4);
            if ((bits & 0x7f800000u) != 0x7f800000u) continue;
            s->first_bad = s->n_value + i;
            break;
        }
    }
    s->n_bad += bad;
}

static fh_status scan_rows(scan_job *job, const fh_weight *w, fh_scan *s, fh_sha256 *sha, float *piece, fh_err *err) {
    uint64_t rows = fh_shape_rows(&w->shape), cols = fh_shape_cols(&w->shape);
    uint64_t stored = fh_weight_stored_bytes(w), counted = 0;
    uint64_t step = FH_MAX(PIECE_VALUES / FH_MAX(cols, (uint64_t)1), (uint64_t)1);
    for (uint64_t row = 0; row < rows && !atomic_load(&job->failed); row += step) {
        uint64_t n_row = FH_MIN(step, rows - row);
        size_t n = (size_t)(n_row * cols);
        fh_weight_decode(w, row, n_row, piece);
        count_bad(s, piece, n);
        s->n_value += n;
        if (sha) FH_TRY(fh_sha256_add(sha, piece, n * sizeof *piece, err));
        uint64_t now = (uint64_t)((double)stored * (double)(row + n_row) / (double)rows);
        atomic_fetch_add(&job->done, now - counted);
        counted = now;
    }
    return FH_OK;
}

static fh_status scan_one(scan_job *job, size_t i, fh_sha256 *sha, float **piece, size_t *cap, fh_err *err) {
    const fh_weight *w = &fh_bundle_weights(job->bundle)->item[i];
    fh_scan *s = &job->out[i];
    *s = (fh_scan){.decoded = fh_weight_can_decode(w)};
    if (!s->decoded) return FH_OK;
    uint64_t cols = fh_shape_cols(&w->shape);
    if (cols > *cap) { /* a row is the least that is decoded at once */
        float *bigger = fh_realloc(*piece, (size_t)cols, sizeof *bigger);
        if (!bigger) return fh_fail_memory(err, (size_t)cols * sizeof *bigger);
        *piece = bigger;
        *cap = (size_t)cols;
    }
    FH_TRY(scan_rows(job, w, s, sha, *piece, err));
    return sha ? fh_sha256_finish(sha, s->sha256, err) : FH_OK;
}

static void work(void *ctx, int worker, int n_worker) {
    (void)n_worker;
    scan_job *job = ctx;
    fh_err err = {0};
    fh_sha256 *sha = NULL;
    size_t cap = PIECE_VALUES, n = fh_bundle_weights(job->bundle)->n;
    float *piece = fh_alloc(cap, sizeof *piece);
    fh_status st = piece ? FH_OK : fh_fail_memory(&err, cap * sizeof *piece);
    if (st == FH_OK && job->digests) st = fh_sha256_new(&sha, &err);
    while (st == FH_OK && !atomic_load(&job->failed)) {
        size_t i = atomic_fetch_add(&job->next, 1);
        if (i >= n) break;
        st = scan_one(job, i, sha, &piece, &cap, &err);
        if (worker == 0 && job->progress) job->progress(job->progress_ctx, atomic_load(&job->done), job->total);
    }
    if (st != FH_OK && !atomic_exchange(&job->failed, true) && job->err) *job->err = err;
    fh_sha256_free(sha);
    fh_free(piece);
}

fh_status fh_scan_weights(fh_scan *out, const fh_bundle *b, bool digests, fh_pool *pool, fh_scan_progress *progress,
                          void *ctx, fh_err *err) {
    fh_err own = {0};
    scan_job job = {
        .bundle = b, .out = out, .digests = digests, .progress = progress, .progress_ctx = ctx, .err = &own};
    const fh_weights *weights = fh_bundle_weights(b);
    for (size_t i = 0; i < weights->n; i++) job.total += fh_weight_stored_bytes(&weights->item[i]);
    fh_pool_run(pool, work, &job);
    if (atomic_load(&job.failed)) {
        if (err) *err = own;
        return own.status;
    }
    return fh_bundle_check(b, err);
}
