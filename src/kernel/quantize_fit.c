/* kernel/quantize_fit.c - the portable searches of quantize_part.h, and what they share with the rows.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing, refuses nothing. Orders of sums are the reference's: they decide the bits. */
#include "kernel/quantize_fit_body.h"

void fh_block_energy(const float *x, size_t n_block, size_t block, float *out) {
    /* Several blocks at once: each sum waits for its own last addition only. */
    size_t b = 0;
    for (; b + 4 <= n_block; b += 4, x += 4 * block) {
        float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (size_t i = 0; i < block; i++) {
            s0 += x[i] * x[i];
            s1 += x[block + i] * x[block + i];
            s2 += x[2 * block + i] * x[2 * block + i];
            s3 += x[3 * block + i] * x[3 * block + i];
        }
        out[b] = s0;
        out[b + 1] = s1;
        out[b + 2] = s2;
        out[b + 3] = s3;
    }
    for (; b < n_block; b++, x += block) {
        float s = 0;
        for (size_t i = 0; i < block; i++) s += x[i] * x[i];
        out[b] = s;
    }
}

/* The grid of top + k / 10 codes with the smallest weighted error; the plain one wins ties. */
static float positive_grid(size_t n, int top, const float *x, const float *w, float max) {
    float best_id = (float)top / max, best = 0;
    for (int k = -5; k <= 4; k++) {
        if (k == 0) continue;
        const bool first = k == -5;
        const float id = first ? (float)top / max : (0.1f * (float)k + (float)top) / max, scale = 1 / id;
        float error = 0;
        for (size_t i = 0; i < n; i++) {
            int l = fh_round_near(id * x[i]);
            if (first) l = (uint8_t)l;
            else l = l < top ? l : top;
            const float d = x[i] - scale * (float)l;
            error += w[i] * d * d;
        }
        if (first) best = error;
        else if (error < best) {
            best = error;
            best_id = id;
        }
    }
    return best_id;
}

float fh_fit_positive(size_t n, int top, const float *x, const float *w, uint8_t *code) {
    float max = 0, sum_lx = 0, sum_l2 = 0;
    for (size_t i = 0; i < n; i++) max = max > x[i] ? max : x[i];
    if (max < 1e-15f) {
        memset(code, 0, n);
        return 0;
    }
    const float id = positive_grid(n, top, x, w, max);
    for (size_t i = 0; i < n; i++) {
        const int near = fh_round_near(id * x[i]), l = near < top ? near : top;
        code[i] = (uint8_t)l;
        sum_lx += w[i] * x[i] * (float)l;
        sum_l2 += w[i] * (float)l * (float)l;
    }
    for (int round = 0; round < 5; round++) {
        bool changed = false;
        for (size_t i = 0; i < n; i++) {
            const float old = (float)code[i];
            float lx = sum_lx - w[i] * x[i] * old, l2 = sum_l2 - w[i] * old * old;
            if (!(lx > 0 && l2 > 0)) continue;
            const int near = fh_round_near(x[i] * l2 / lx), l = near < top ? near : top;
            if (l == code[i]) continue;
            lx += w[i] * x[i] * (float)l;
            l2 += w[i] * (float)l * (float)l;
            if (lx * lx * sum_l2 > sum_lx * sum_lx * l2) {
                code[i] = (uint8_t)l;
                sum_lx = lx;
                sum_l2 = l2;
                changed = true;
            }
        }
        if (!changed) break;
    }
    return sum_l2 > 0 ? sum_lx / sum_l2 : 0;
}

void fh_affine_codes(const float *x, size_t n, float grid_scale, float grid_0, int top, uint8_t *code) {
    for (size_t i = 0; i < n; i++) code[i] = (uint8_t)fh_clamp_int(fh_round_near(grid_scale * (x[i] - grid_0)), 0, top);
}

void fh_symmetric_codes(const float *x, size_t n, float grid_scale, int half, uint8_t *code) {
    if (grid_scale == 0) {
        memset(code, 0, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        code[i] = (uint8_t)(half + fh_clamp_int(fh_round_near(grid_scale * x[i]), -half, half - 1));
}
