/* kernel/ref_op_route.c - which experts a token goes to, and with what weight.
 * SPDX-License-Identifier: Apache-2.0
 * The scores decide (with the bias, where there is one), the weights are the scores without it. Invariant: experts of
 * one token are distinct, best first, and of two equal ones the lower number comes first. A NaN is never chosen while
 * anything else is left. */
#include "kernel/ref_op.h"

#include <math.h>

#include "kernel/ref_math.h"

static float highest(const float *x, uint32_t n) {
    float max = x[0];
    for (uint32_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

static void softmax(const float *x, float *y, uint32_t n) {
    const float max = highest(x, n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) y[i] = (float)fh_math_exp((double)(x[i] - max));
    for (uint32_t i = 0; i < n; i++) sum = sum + (double)y[i];
    for (uint32_t i = 0; i < n; i++) y[i] = (float)((double)y[i] / sum);
}

/* The best that is left, which is then taken out; first come, first served among equals. */
static uint32_t take_best(float *x, uint32_t n) {
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        if (!isnan(x[i]) && (best == UINT32_MAX || x[i] > x[best])) best = i;
    }
    if (best == UINT32_MAX) return UINT32_MAX;
    x[best] = NAN;
    return best;
}

static float top_two(const float *x, uint32_t n) {
    float a = -INFINITY, b = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (x[i] > a) {
            b = a;
            a = x[i];
        } else if (x[i] > b) {
            b = x[i];
        }
    }
    return a + b;
}

/* Takes the experts of losing groups out of the choice. */
static void cut_groups(const fh_ref_route_rule *r, float *choice, float *group) {
    const uint32_t size = r->n_expert / r->n_group;
    for (uint32_t g = 0; g < r->n_group; g++) {
        const float *x = choice + (size_t)g * size;
        group[g] = r->group_rule == FH_GROUP_TOP2 ? top_two(x, size) : highest(x, size);
    }
    for (uint32_t i = 0; i < r->n_group_used; i++) {
        if (take_best(group, r->n_group) == UINT32_MAX) break;
    }
    for (uint32_t g = 0; g < r->n_group; g++) {
        if (isnan(group[g])) continue; /* taken: it won */
        for (uint32_t i = 0; i < size; i++) choice[(size_t)g * size + i] = NAN;
    }
}

static void choose(const fh_ref_route_rule *r, float *choice, int32_t *id) {
    for (uint32_t i = 0; i < r->k; i++) {
        uint32_t e = take_best(choice, r->n_expert);
        for (uint32_t c = 0; e == UINT32_MAX; c++) { /* only NaN left: the lowest number not chosen yet */
            bool used = false;
            for (uint32_t j = 0; j < i; j++) used = used || id[j] == (int32_t)c;
            if (!used) e = c;
        }
        id[i] = (int32_t)e;
    }
}

void fh_ref_route(const fh_ref_route_rule *r, const float *x, const float *bias, float *tmp, int32_t *id,
                  float *weight) {
    float *score = tmp, *choice = tmp + r->n_expert, *group = tmp + 2 * (size_t)r->n_expert;
    const uint32_t n = r->n_expert;
    if (r->gate == FH_GATE_SOFTMAX) {
        softmax(x, score, n);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            score[i] = r->gate == FH_GATE_SIGMOID ? (float)fh_math_sigmoid((double)x[i]) : x[i];
        }
    }
    for (uint32_t i = 0; i < n; i++) choice[i] = bias != NULL ? score[i] + bias[i] : score[i];
    if (r->group_rule != FH_GROUP_NONE) cut_groups(r, choice, group);
    choose(r, choice, id);
    for (uint32_t i = 0; i < r->k; i++) weight[i] = score[id[i]];
    if (r->gate == FH_GATE_SOFTMAX_TOPK) {
        softmax(weight, weight, r->k);
    } else if (r->renorm) {
        float sum = 0;
        for (uint32_t i = 0; i < r->k; i++) sum = sum + weight[i];
        if (r->gate == FH_GATE_SIGMOID) sum = sum + 1e-20f;
        for (uint32_t i = 0; i < r->k; i++) weight[i] = weight[i] / sum;
    }
    for (uint32_t i = 0; i < r->k; i++) weight[i] = weight[i] * r->scale;
}
