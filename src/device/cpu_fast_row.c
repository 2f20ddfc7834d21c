/* device/cpu_fast_row.c - what goes row by row in the CPU's fast mode: norms, maps, gates, rotations, sums, state.
 * SPDX-License-Identifier: Apache-2.0
 * The same units as in exact mode (cpu_row.c, cpu_state.c), other loops (kernel/fast_op.h). Every number depends on
 * its own row only, so it does not matter which worker has which. Where this CPU has no such loops, or an op is not
 * made for them, exact mode's are taken. */
#include "device/cpu_part.h"

#include "device/cpu_fast.h"
#include "kernel/fast_op.h"

enum { CHANNELS = 16 };

void fh_cpu_fast_norm(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    const fh_norm_args *a = &o->u.norm;
    const fh_view in = o->in[0];
    fh_view out = o->out[0];
    if (ops == NULL || !fh_view_reshape(&out, in.heads, in.width)) {
        fh_cpu_run_norm(x, o, w);
        return;
    }
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &in), in.heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t i = u / in.heads, h = u % in.heads, at = a->per_head ? h * in.width : 0;
        const fh_batch_seq *seq = fh_cpu_seq_of(x, in.value, i);
        const float *scale = fh_cpu_vector(x, o, 0, seq), *plus = fh_cpu_vector(x, o, 1, seq);
        ops->norm(a->kind, a->eps, fh_cpu_row(x, &in, i) + h * in.stride, scale ? scale + at : NULL,
                  plus ? plus + at : NULL, fh_cpu_row(x, &out, i) + h * out.stride, in.width);
    }
}

void fh_cpu_fast_rope(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    const fh_rope *rope = &x->plan->rope[o->u.rope.rope];
    if (ops == NULL || rope->layout == FH_ROPE_SPLIT) { /* that one moves its numbers, too */
        fh_cpu_run_rope(x, o, w);
        return;
    }
    const fh_view v = o->in[0];
    const uint64_t pairs = rope->n_rot / 2;
    const float *cos = x->angle[o->u.rope.rope], *sin = cos + x->ceiling.size[FH_DIM_TOKENS] * pairs;
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &v), v.heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t t = u / v.heads, h = u % v.heads;
        ops->rope(rope->layout, o->u.rope.inverse, cos + t * pairs, sin + t * pairs,
                  fh_cpu_row(x, &v, t) + h * v.stride, (size_t)pairs);
    }
}

/* ---- element by element: a piece of a head is a unit ---- */
void fh_cpu_fast_add(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    fh_view v[3] = {o->in[0], o->in[1], o->out[0]};
    if (ops == NULL) {
        fh_cpu_run_add(x, o, w);
        return;
    }
    fh_cpu_align_views(v, 3);
    uint64_t from, to;
    fh_cpu_share_units(x, &v[2], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[2], i);
        ops->add(fh_cpu_place(x, &v[0], &u), o->u.add.scale, fh_cpu_place(x, &v[1], &u), fh_cpu_place(x, &v[2], &u),
                 u.n);
    }
}

void fh_cpu_fast_map(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    fh_view v[2] = {o->in[0], o->out[0]};
    bool ok = true;
    if (o->vec[0] != FH_NO_ID) ok = fh_view_reshape(&v[1], v[0].heads, v[0].width);
    else fh_cpu_align_views(v, 2);
    if (ops == NULL || !ok) {
        fh_cpu_run_map(x, o, w);
        return;
    }
    uint64_t from, to;
    fh_cpu_share_units(x, &v[1], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[1], i);
        float *y = fh_cpu_place(x, &v[1], &u);
        ops->map(o->u.map.kind, o->u.map.c, fh_cpu_place(x, &v[0], &u), y, u.n);
        const float *plus = fh_cpu_vector(x, o, 0, fh_cpu_seq_of(x, v[1].value, u.row));
        if (plus != NULL) ops->add(y, 1.0f, plus + u.col, y, u.n);
    }
}

void fh_cpu_fast_glu(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    fh_view v[3] = {o->in[0], o->in[1], o->out[0]};
    const bool one_gate = (uint64_t)v[0].heads * v[0].width != (uint64_t)v[1].heads * v[1].width;
    bool ok = true;
    if (one_gate) ok = fh_view_reshape(&v[0], v[1].heads, 1) && fh_view_reshape(&v[2], v[1].heads, v[1].width);
    else fh_cpu_align_views(v, 3);
    if (ops == NULL || !ok) {
        fh_cpu_run_glu(x, o, w);
        return;
    }
    uint64_t from, to;
    fh_cpu_share_units(x, &v[2], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[2], i);
        const float *g = one_gate ? fh_cpu_row(x, &v[0], u.row) + u.head * v[0].stride : fh_cpu_place(x, &v[0], &u);
        ops->glu(o->u.map.kind, o->u.map.c, o->u.map.limit, g, one_gate, fh_cpu_place(x, &v[1], &u),
                 fh_cpu_place(x, &v[2], &u), u.n);
    }
}

/* ---- state ---- */
static uint8_t *state_row(const fh_exec *x, const fh_batch_seq *seq, uint32_t state, uint32_t head, uint64_t r,
                          bool values) {
    return (uint8_t *)(uintptr_t)fh_cpu_state_row(x, seq, state, head, r, values); /* what the batch lends is ours */
}

void fh_cpu_fast_store(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    const fh_state *s = &x->plan->state[o->state];
    const fh_state_place *at = &x->layout.place[o->state];
    fh_view k = o->in[0], v = o->in[1];
    const bool has_v = v.value != FH_NO_VALUE;
    if (ops == NULL || !fh_view_reshape(&k, s->heads, s->k_width) ||
        (has_v && !fh_view_reshape(&v, s->heads, s->v_width))) {
        fh_cpu_run_store(x, o, w);
        return;
    }
    uint64_t from, to;
    fh_cpu_share_rows(w, x->batch->n_token, s->heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t t = u / s->heads;
        const uint32_t h = (uint32_t)(u % s->heads);
        const fh_batch_seq *seq = &x->batch->seq[x->batch->seq_of[t]];
        const uint64_t row = seq->past + (t - seq->first);
        ops->encode(at->k_type, fh_cpu_row(x, &k, t) + (size_t)h * k.stride, state_row(x, seq, o->state, h, row, false),
                    s->k_width);
        if (!has_v) continue;
        ops->encode(at->v_type, fh_cpu_row(x, &v, t) + (size_t)h * v.stride, state_row(x, seq, o->state, h, row, true),
                    s->v_width);
    }
}

/* Sixteen channels of one sequence; the vectors are turned once, so that channels are lanes. */
static void conv_piece(fh_exec *x, const fh_op *o, const fh_fast_ops *ops, const fh_batch_seq *seq, uint64_t first) {
    const fh_view *in = &o->in[0], *out = &o->out[0];
    const uint32_t taps = o->u.conv.taps;
    const uint64_t channels = (uint64_t)in->heads * in->width;
    const float *kernel = fh_cpu_vector(x, o, 0, seq), *bias = fh_cpu_vector(x, o, 1, seq);
    float weight[FH_FAST_CONV_TAPS * CHANNELS], seen[FH_FAST_CONV_TAPS * CHANNELS];
    float *kept = seq->slot != NULL ? seq->slot + x->layout.place[o->state].k_at : NULL; /* [taps - 1, channels] */
    for (uint32_t k = 0; k < taps; k++) {
        for (uint32_t c = 0; c < CHANNELS; c++) weight[k * CHANNELS + c] = kernel[(first + c) * taps + k];
    }
    for (uint32_t k = 0; k + 1 < taps; k++) {
        memcpy(seen + k * CHANNELS, kept + k * channels + first, CHANNELS * sizeof *seen);
    }
    ops->conv(taps, weight, bias != NULL ? bias + first : NULL, o->u.conv.map, fh_cpu_row(x, in, seq->first) + first,
              x->plan->value[in->value].width, fh_cpu_row(x, out, seq->first) + first, x->plan->value[out->value].width,
              seq->n, seen);
    for (uint32_t k = 0; k + 1 < taps; k++) {
        memcpy(kept + k * channels + first, seen + k * CHANNELS, CHANNELS * sizeof *seen);
    }
}

void fh_cpu_fast_conv(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_fast_ops *ops = fh_fast_ops_best();
    const fh_view *in = &o->in[0], *out = &o->out[0];
    const uint64_t channels = (uint64_t)in->heads * in->width, pieces = channels / CHANNELS;
    if (ops == NULL || channels % CHANNELS != 0 || o->u.conv.taps > FH_FAST_CONV_TAPS || !fh_view_is_dense(*in) ||
        !fh_view_is_dense(*out)) {
        fh_cpu_run_conv(x, o, w);
        return;
    }
    uint64_t from, to;
    fh_cpu_share(w, pieces * x->batch->n_seq, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const fh_batch_seq *seq = &x->batch->seq[u / pieces];
        if (seq->n > 0) conv_piece(x, o, ops, seq, u % pieces * CHANNELS);
    }
}
