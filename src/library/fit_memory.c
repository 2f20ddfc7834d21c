/* library/fit_memory.c - bytes: state for a context, weights in each quantization.
 * SPDX-License-Identifier: Apache-2.0
 * Two figures for state: the formula that everybody uses (docs/fit.md), and what this program allocates, page by page,
 * as infer/engine.c does for one sequence that comes in one piece. */
#include "base/num.h"
#include "library/fit.h"

const char *fh_fit_kind_name(fh_fit_kind k) {
    static const char *const name[FH_FIT_KINDS] = {"full", "sliding", "latent", "cross", "recurrent"};
    return k < FH_FIT_KINDS ? name[k] : "?";
}

/* Bytes of one row of one head, in the type or in f16 where its blocks do not divide the row. */
static uint64_t row_bytes(fh_dtype type, uint32_t width, bool *fell_back) {
    uint64_t bytes = 0;
    if (width % fh_dtype_get_info(type)->block_elems) {
        *fell_back = true;
        type = FH_DTYPE_F16;
    }
    return fh_dtype_bytes(type, width, &bytes) ? bytes : 0;
}

static uint64_t token_bytes(const fh_fit_part *p, fh_dtype type, bool *fell_back) {
    uint64_t row = row_bytes(type, p->k_width, fell_back);
    if (p->kind != FH_FIT_LATENT) row += row_bytes(type, p->v_width, fell_back);
    return row * p->heads * p->n_layer;
}

/* A page of FH_FIT_PAGE rows, keys and values each from a multiple of 64 bytes on. */
static uint64_t page_bytes(const fh_fit_part *p, fh_dtype type) {
    bool ignored = false;
    uint64_t k = row_bytes(type, p->k_width, &ignored) * p->heads * FH_FIT_PAGE, v = 0;
    if (p->kind != FH_FIT_LATENT) v = row_bytes(type, p->v_width, &ignored) * p->heads * FH_FIT_PAGE;
    return ((k + 63) / 64 + (v + 63) / 64) * 64 * p->n_layer;
}

static uint64_t slot_bytes(const fh_fit_part *p) { return (p->floats + 15) / 16 * 16 * sizeof(float) * p->n_layer; }

static bool is_paged(const fh_fit_part *p) {
    return p->kind == FH_FIT_FULL || p->kind == FH_FIT_SLIDING || p->kind == FH_FIT_LATENT;
}

/* The most that a step over n tokens holds, batch by batch. */
static uint64_t step_peak(const fh_fit_shape *s, uint64_t n, fh_dtype type) {
    uint64_t slots = 0, peak = 0;
    bool slides = false, both = false;
    for (size_t i = 0; i < s->n_part; i++) {
        both = both || s->part[i].kind == FH_FIT_CROSS;
        if (s->part[i].kind == FH_FIT_RECURRENT) slots += slot_bytes(&s->part[i]);
        else slides = slides || s->part[i].window;
    }
    for (uint64_t at = 0; at < n;) {
        uint64_t end = s->whole ? n : FH_MIN(n, at + FH_FIT_BATCH), sum = slots;
        /* full layers alone: only the last batch counts */
        if (!slides && !s->whole) at = end = n;
        for (size_t i = 0; i < s->n_part; i++) {
            const fh_fit_part *p = &s->part[i];
            if (!is_paged(p) || (p->of_encoder && both)) continue;
            uint64_t gone = p->window == 0 || at < p->window ? 0 : (at - p->window + 1) / FH_FIT_PAGE;
            sum += (fh_ceil_div(end, FH_FIT_PAGE) - gone) * page_bytes(p, type);
        }
        peak = FH_MAX(peak, sum);
        /* behind a window the figure repeats with every page: no need to walk through a long context */
        at = end;
    }
    return peak;
}

bool fh_fit_get_state(const fh_fit_shape *s, uint64_t n, fh_dtype kv_type, fh_fit_state *out) {
    fh_fit_state r = {0};
    uint64_t cross = 0, encoder = 0, windows_now = 0;
    bool both = false;
    if (!s->state_known || n > UINT32_MAX) return false;
    for (size_t i = 0; i < s->n_part; i++) both = both || s->part[i].kind == FH_FIT_CROSS;
    for (size_t i = 0; i < s->n_part; i++) {
        const fh_fit_part *p = &s->part[i];
        if (p->kind == FH_FIT_RECURRENT) {
            r.recurrent += p->floats * sizeof(float) * p->n_layer;
            continue;
        }
        uint64_t token = token_bytes(p, kv_type, &r.fell_back);
        if (p->kind == FH_FIT_CROSS) cross += fh_ceil_div(n, FH_FIT_PAGE) * page_bytes(p, kv_type);
        if (p->of_encoder && both) {
            if (p->kind != FH_FIT_CROSS) encoder += fh_ceil_div(n, FH_FIT_PAGE) * page_bytes(p, kv_type);
            else r.per_token += token;
            continue;
        }
        if (p->window) {
            r.window += token * p->window;
            windows_now += token * FH_MIN(n, (uint64_t)p->window);
        } else {
            r.per_token += token;
        }
    }
    r.formula = r.per_token * n + windows_now + r.recurrent;
    r.paged = cross + FH_MAX(encoder, step_peak(s, n, kv_type));
    *out = r;
    return true;
}

/* ---- weights ---- */
const char fh_fit_measured_on[] = "Llama 3 8B on wikitext-2; smaller models lose more, larger ones less";

static const fh_fit_quant quants[] = {
    {.name = "as published", .stored = true, .mix = FH_MIX_F16, .bits = 16, .perplexity = 1},
    {.name = "Q8_0", .mix = FH_MIX_Q8_0, .bits = 8.50, .perplexity = 6.2343 / 6.2332, .kld = 0.00136},
    {.name = "Q6_K", .mix = FH_MIX_Q6_K, .bits = 6.56, .perplexity = 6.2534 / 6.2332, .kld = 0.0055},
    {.name = "Q5_K_M", .mix = FH_MIX_Q5_K_M, .bits = 5.70, .perplexity = 6.2886 / 6.2332, .kld = 0.0108},
    {.name = "Q4_K_M", .mix = FH_MIX_Q4_K_M, .bits = 4.89, .perplexity = 6.4071 / 6.2332, .kld = 0.0313},
    {.name = "IQ4_XS", .mix = FH_MIX_IQ4_XS, .bits = 4.46, .perplexity = 6.4597 / 6.2332, .kld = 0.0363},
    {.name = "Q3_K_M", .mix = FH_MIX_Q3_K_M, .bits = 4.00, .perplexity = 6.7343 / 6.2332, .kld = 0.0844},
    {.name = "Q2_K", .mix = FH_MIX_Q2_K, .bits = 3.16, .perplexity = 8.6478 / 6.2332, .kld = 0.3322},
};

const fh_fit_quant *fh_fit_quants(size_t *n) {
    *n = FH_COUNT(quants);
    return quants;
}

static bool by_rules(const fh_fit_shape *s, fh_mix mix, uint64_t *bytes) {
    size_t n = s->n_tensor;
    bool ok = false;
    uint64_t sum = 0, count, one;
    fh_mix_choice *choice = fh_alloc_zero(n, sizeof *choice);
    const fh_tensor **t = fh_alloc(n, sizeof *t);
    fh_mix_options opt = {.mix = mix};
    if (!choice || !t) goto out;
    for (size_t i = 0; i < n; i++) t[i] = &s->tensor[i];
    fh_mix_order(t, n);
    if (fh_mix_choose(choice, t, n, &s->mix, &opt, NULL) != FH_OK) goto out;
    for (size_t i = 0; i < n; i++) {
        if (!fh_shape_count(&t[i]->shape, &count) || !fh_dtype_bytes(choice[i].type, count, &one) ||
            !fh_add_u64(sum, one, &sum))
            goto out;
    }
    *bytes = sum;
    ok = true;
out:
    fh_free(choice);
    fh_free((void *)t);
    return ok;
}

bool fh_fit_weight_bytes(const fh_fit_shape *s, const fh_fit_quant *q, uint64_t *bytes, bool *exact) {
    *exact = true;
    if (q->stored) {
        *bytes = s->stored_bytes;
        *exact = s->counted;
        return s->stored_bytes > 0;
    }
    if (s->n_tensor && by_rules(s, q->mix, bytes)) return true;
    *exact = false;
    *bytes = (uint64_t)((double)s->n_value * q->bits / 8);
    return s->n_value > 0;
}
