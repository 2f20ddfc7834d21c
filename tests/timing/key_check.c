/* tests/timing/key_check.c - does the time of fh_keys_match depend on the secret? Welch's t over interleaved runs.
 * SPDX-License-Identifier: Apache-2.0
 * As dudect does (Reparaz, Balasch, Verbauwhede 2017): two classes of keys, drawn at random for each measurement, the
 * times cut at several quantiles, |t| of each below 4.5. Classes: a secret that is right but for its last byte, or
 * its first, against random ones; that the right one is let in is no secret. An early end would show in both. Noise
 * can make a run fail, a leak makes every run fail: the best of five counts. A comparison that does stop early goes
 * through the same mill first and must be caught, or the machine is too noisy to say anything. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/rng.h"
#include "serve/keys.h"

#define N 60000u
#define REPEAT 8 /* checks in one measurement */
#define BOUND 4.5

typedef struct lab {
    fh_keys keys;
    char good[FH_KEY_TEXT], near[FH_KEY_TEXT], far[FH_KEY_TEXT], text[2][256][FH_KEY_TEXT]; /* by class */
    fh_rng rng;
    double time[N];
    uint8_t class[N];
} lab;

typedef const void *check_fn(const lab *l, const char *text);

static const void *real(const lab *l, const char *text) { return fh_keys_match(&l->keys, fh_str_of(text)); }

/* What must be caught: bytes one after another until one differs. */
static const void *early(const lab *l, const char *text) {
    for (size_t i = 0; l->good[i]; i++)
        if (((const volatile char *)l->good)[i] != text[i]) return NULL;
    return l;
}

static double welch(const lab *l, double limit) {
    double mean[2] = {0, 0}, m2[2] = {0, 0};
    uint64_t n[2] = {0, 0};
    for (uint32_t i = 0; i < N; i++) {
        int c = l->class[i];
        if (l->time[i] > limit) continue;
        double d = l->time[i] - mean[c];
        mean[c] += d / (double)++n[c];
        m2[c] += d * (l->time[i] - mean[c]);
    }
    if (n[0] < 1000 || n[1] < 1000) return 0;
    double v = m2[0] / (double)(n[0] - 1) / (double)n[0] + m2[1] / (double)(n[1] - 1) / (double)n[1];
    return v > 0 ? fabs(mean[0] - mean[1]) / sqrt(v) : 0;
}

static int by_time(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest |t| over the cuts. */
static double measure(lab *l, check_fn *fn, const char *fixed) {
    static double sorted[N];
    volatile uintptr_t sink = 0;
    for (size_t k = 0; k < 256; k++) memcpy(l->text[1][k], fixed, FH_KEY_TEXT);
    for (uint32_t i = 0; i < N; i++) {
        l->class[i] = (uint8_t)(fh_rng_u32(&l->rng) & 1);
        char text[FH_KEY_TEXT]; /* both classes are read from the same place, and come from equal ones */
        memcpy(text, l->text[l->class[i]][fh_rng_u32(&l->rng) & 255], sizeof text);
        uint64_t start = fh_clock_ns();
        for (int k = 0; k < REPEAT; k++) sink ^= (uintptr_t)fn(l, text);
        l->time[i] = (double)(fh_clock_ns() - start);
    }
    memcpy(sorted, l->time, sizeof sorted);
    qsort(sorted, N, sizeof *sorted, by_time);
    static const double cuts[] = {0.5, 0.75, 0.9, 0.99};
    double worst = 0;
    for (size_t k = 0; k < FH_COUNT(cuts); k++) worst = fmax(worst, welch(l, sorted[(size_t)(cuts[k] * (N - 1))]));
    return worst;
}

static double best_of(lab *l, check_fn *fn, const char *fixed) {
    double best = INFINITY;
    for (int i = 0; i < 5 && best >= BOUND; i++) best = fmin(best, measure(l, fn, fixed));
    return best;
}

static bool prepare(lab *l, fh_err *err) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const fh_key like = {.name = "one", .scopes = FH_KEY_INFER};
    fh_key *key;
    fh_rng_init(&l->rng, 1, 1);
    if (fh_keys_create(&l->keys, &like, l->good, &key, err) != FH_OK) return false;
    size_t n = strlen(l->good);
    memcpy(l->near, l->good, sizeof l->near);
    l->near[n - 1] = l->near[n - 1] == 'A' ? 'B' : 'A';
    memcpy(l->far, l->good, sizeof l->far);
    l->far[12] = l->far[12] == 'A' ? 'B' : 'A';
    for (size_t k = 0; k < 256; k++) {
        memcpy(l->text[0][k], l->good, FH_KEY_TEXT);
        for (size_t i = 12; i < n; i++) l->text[0][k][i] = letters[fh_rng_u32(&l->rng) & 63];
    }
    return true;
}

int main(void) {
    static lab l;
    fh_err err = {.status = FH_OK};
    int failed = 0;
    if (!prepare(&l, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double caught = best_of(&l, early, l.near), near = best_of(&l, real, l.near), far = best_of(&l, real, l.far);
    printf("a comparison that ends early: |t| = %.1f (must be over %.1f)\n", caught, BOUND);
    printf("wrong in its last byte, or anywhere: |t| = %.2f (must be under %.1f)\n", near, BOUND);
    printf("wrong in its first byte, or anywhere: |t| = %.2f (must be under %.1f)\n", far, BOUND);
    failed = (caught < BOUND) + (near >= BOUND) + (far >= BOUND);
    fh_keys_release(&l.keys);
    printf("%d passed, %d failed, 0 skipped\n", 3 - failed, failed);
    return failed > 0;
}
