/* device/cpu_state.c - the ops that write state, on the CPU: rows into pages, convolution, delta rule.
 * SPDX-License-Identifier: Apache-2.0
 * Tokens of a sequence come one after another, so a sequence's recurrent state is worked on in order; its channels
 * and columns are independent and are what is shared out. */
#include "device/cpu_part.h"

#include "kernel/decode.h"

static uint8_t *state_row(const fh_exec *x, const fh_batch_seq *seq, uint32_t state, uint32_t head, uint64_t r,
                          bool values) {
    const fh_state_place *at = &x->layout.place[state];
    const uint32_t page = x->layout.page, group = x->plan->state[state].group;
    uint8_t *p = seq->page[group][r / page];
    if (p == NULL) FH_BUG("a page that is needed is gone");
    const uint64_t row = (uint64_t)head * page + r % page;
    return values ? p + at->v_at + row * at->v_bytes : p + at->k_at + row * at->k_bytes;
}

const uint8_t *fh_cpu_state_row(const fh_exec *x, const fh_batch_seq *seq, uint32_t state, uint32_t head, uint64_t r,
                                bool values) {
    return state_row(x, seq, state, head, r, values);
}

void fh_cpu_run_store(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_state *s = &x->plan->state[o->state];
    const fh_state_place *at = &x->layout.place[o->state];
    fh_view k = o->in[0], v = o->in[1];
    const bool has_v = v.value != FH_NO_VALUE;
    if (!fh_view_reshape(&k, s->heads, s->k_width)) return;
    if (has_v && !fh_view_reshape(&v, s->heads, s->v_width)) return;
    uint64_t from, to;
    fh_cpu_share_rows(w, x->batch->n_token, s->heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t t = u / s->heads;
        const uint32_t h = (uint32_t)(u % s->heads);
        const fh_batch_seq *seq = &x->batch->seq[x->batch->seq_of[t]];
        const uint64_t row = seq->past + (t - seq->first);
        fh_encode(at->k_type, fh_cpu_row(x, &k, t) + (size_t)h * k.stride, state_row(x, seq, o->state, h, row, false),
                  s->k_width);
        if (!has_v) continue;
        fh_encode(at->v_type, fh_cpu_row(x, &v, t) + (size_t)h * v.stride, state_row(x, seq, o->state, h, row, true),
                  s->v_width);
    }
}

/* ---- convolution ---- */
/* Column of a view that channel c is. */
static size_t column(const fh_view *v, uint64_t c) { return (size_t)(c / v->width * v->stride + c % v->width); }

static void conv_piece(fh_exec *x, const fh_op *o, const fh_batch_seq *seq, uint64_t first, uint32_t n) {
    enum { MOST = 64 };
    const fh_view *in = &o->in[0], *out = &o->out[0];
    const uint32_t taps = o->u.conv.taps;
    const uint64_t channels = (uint64_t)in->heads * in->width;
    const float *kernel = fh_cpu_vector(x, o, 0, seq), *bias = fh_cpu_vector(x, o, 1, seq);
    float *kept = seq->slot != NULL ? seq->slot + x->layout.place[o->state].k_at : NULL; /* [taps - 1, channels] */
    float seen[MOST][FH_CPU_CONV_PIECE], y[FH_CPU_CONV_PIECE];
    for (uint32_t k = 0; k + 1 < taps; k++) memcpy(seen[k], kept + k * channels + first, n * sizeof(float));
    for (uint64_t t = seq->first; t < (uint64_t)seq->first + seq->n; t++) {
        const float *src = fh_cpu_row(x, in, t);
        float *dst = fh_cpu_row(x, out, t);
        for (uint32_t c = 0; c < n; c++) seen[taps - 1][c] = src[column(in, first + c)];
        for (uint32_t c = 0; c < n; c++) {
            const float *k = kernel + (first + c) * taps;
            float sum = 0;
            for (uint32_t j = 0; j < taps; j++) sum = sum + k[j] * seen[j][c];
            y[c] = bias != NULL ? sum + bias[first + c] : sum;
        }
        fh_ref_map(o->u.conv.map, 0, y, y, n);
        for (uint32_t c = 0; c < n; c++) dst[column(out, first + c)] = y[c];
        memmove(seen[0], seen[1], (taps - 1) * sizeof seen[0]);
    }
    for (uint32_t k = 0; k + 1 < taps; k++) memcpy(kept + k * channels + first, seen[k], n * sizeof(float));
}

void fh_cpu_run_conv(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const uint64_t channels = (uint64_t)o->in[0].heads * o->in[0].width;
    const uint64_t pieces = fh_ceil_div(channels, FH_CPU_CONV_PIECE);
    uint64_t from, to;
    fh_cpu_share(w, pieces * x->batch->n_seq, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t first = u % pieces * FH_CPU_CONV_PIECE;
        conv_piece(x, o, &x->batch->seq[u / pieces], first,
                   (uint32_t)FH_MIN((uint64_t)FH_CPU_CONV_PIECE, channels - first));
    }
}

/* ---- delta rule ---- */
void fh_cpu_run_delta(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    enum { COLUMNS = 32 };
    fh_view v[6] = {o->in[0], o->in[1], o->in[2], o->in[3], o->in[4], o->out[0]};
    const uint32_t keys = v[0].heads, heads = v[2].heads, dk = v[0].width, dv = v[2].width;
    if (!fh_view_reshape(&v[1], keys, dk) || !fh_view_reshape(&v[3], heads, 1) || !fh_view_reshape(&v[4], heads, 1) ||
        !fh_view_reshape(&v[5], heads, dv)) {
        return;
    }
    const uint64_t pieces = fh_ceil_div(dv, COLUMNS);
    uint64_t from, to;
    fh_cpu_share(w, pieces * heads * x->batch->n_seq, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const fh_batch_seq *seq = &x->batch->seq[u / pieces / heads];
        const uint64_t h = u / pieces % heads, col = u % pieces * COLUMNS, n = FH_MIN(COLUMNS, dv - col);
        const uint64_t kh = o->u.delta.map == FH_HEADS_GROUPED ? h / (heads / keys) : h % keys;
        float *s = seq->slot + x->layout.place[o->state].k_at + h * dk * dv + col;
        for (uint64_t t = seq->first; t < (uint64_t)seq->first + seq->n; t++) {
            const float *q = fh_cpu_row(x, &v[0], t) + kh * v[0].stride,
                        *k = fh_cpu_row(x, &v[1], t) + kh * v[1].stride;
            const float *val = fh_cpu_row(x, &v[2], t) + h * v[2].stride + col;
            const float decay = fh_ref_exp(fh_cpu_row(x, &v[3], t)[h * v[3].stride]);
            fh_dot_best()->delta(s, dv, dk, (size_t)n, q, k, val, decay, fh_cpu_row(x, &v[4], t)[h * v[4].stride],
                                 fh_cpu_row(x, &v[5], t) + h * v[5].stride + col);
        }
    }
}
