/* kernel/pool_rows.c - one vector out of many rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/pool_rows.h"

#include <math.h>

#define LEAST_NORM 1e-12 /* a vector of zeros stays one */

void fh_pool_add_row(double *sum, const float *row, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += (double)row[i];
}

void fh_pool_add_squares(double *sum, const float *row, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += (double)row[i] * (double)row[i];
}

void fh_pool_mean(const double *sum, uint64_t n_row, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)(sum[i] / (double)n_row);
}

void fh_pool_normalize(float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
    double norm = sqrt(sum); /* correctly rounded everywhere */
    if (norm < LEAST_NORM) norm = LEAST_NORM;
    for (size_t i = 0; i < n; i++) v[i] = (float)((double)v[i] / norm);
}
