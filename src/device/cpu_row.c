/* device/cpu_row.c - the ops that go row by row, on the CPU: tables, norms, maps, rotations, experts' bookkeeping.
 * SPDX-License-Identifier: Apache-2.0
 * Rows and pieces of rows are shared out in contiguous runs; most ops leave row i of all their values to one worker. */
#include "device/cpu_part.h"

#include "kernel/matrix_decode.h"

const fh_batch_seq *fh_cpu_seq_of(const fh_exec *x, uint32_t value, uint64_t i) {
    const fh_value *v = &x->plan->value[value];
    const fh_batch *b = x->batch;
    if (v->dim == FH_DIM_TOKENS) return &b->seq[b->seq_of[i / v->per]];
    if (v->dim == FH_DIM_ROWS) return &b->seq[b->seq_of[b->row[i / v->per]]];
    return NULL;
}

const float *fh_cpu_vector(const fh_exec *x, const fh_op *o, int k, const fh_batch_seq *seq) {
    if (o->vec[k] == FH_NO_ID) return NULL;
    if (x->adapted && seq != NULL && seq->adapters != NULL && seq->adapters->vector != NULL &&
        seq->adapters->vector[o->vec[k]] != NULL) {
        return seq->adapters->vector[o->vec[k]];
    }
    return x->plan->vector[o->vec[k]].v;
}

const fh_adapted *fh_cpu_adapted(const fh_exec *x, const fh_op *o, const fh_batch_seq *seq) {
    if (!x->adapted || seq == NULL || seq->adapters == NULL || seq->adapters->matrix == NULL) return NULL;
    const fh_adapted *a = &seq->adapters->matrix[o->matrix];
    return a->n_lora != 0 || a->instead != NULL ? a : NULL;
}

/* ---- tables ---- */
/* An adapter's part of a table's row: B[id] A. */
static void add_lora_row(const fh_adapted *a, const fh_matrix *m, uint64_t id, float scale, float *row) {
    for (uint32_t l = 0; l < a->n_lora; l++) {
        const fh_lora *lo = &a->lora[l];
        const float s = lo->row_scale != NULL ? lo->row_scale[id] : 1.0f;
        if (lo->row_scale != NULL) {
            for (uint64_t c = 0; c < m->in; c++) row[c] = s * row[c];
        }
        for (uint32_t j = 0; j < lo->r; j++) {
            fh_dot_best()->axpy(lo->scale * s * lo->b[id * lo->r + j], lo->a + j * m->in, row, (size_t)m->in);
        }
    }
    for (uint64_t c = 0; c < m->in; c++) row[c] = scale * row[c];
}

void fh_cpu_run_embed(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_embed_args *a = &o->u.embed;
    const fh_view *out = &o->out[0];
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, out), 1, &from, &to);
    for (uint64_t t = from; t < to; t++) {
        uint64_t id = a->offset;
        if (a->from == FH_EMBED_TOKEN) id += x->batch->token[t];
        if (a->from == FH_EMBED_POSITION) id += x->batch->pos[t];
        const fh_adapted *ad = fh_cpu_adapted(x, o, fh_cpu_seq_of(x, out->value, t));
        const fh_matrix *m = fh_cpu_matrix(x, o, ad);
        float *row = w->weights, *y = fh_cpu_row(x, out, t);
        fh_matrix_decode_rows(m, 0, id, 1, row);
        if (ad != NULL && ad->n_lora != 0) {
            add_lora_row(ad, m, id, a->scale, row);
        } else {
            for (uint64_t c = 0; c < m->in; c++) row[c] = a->scale * row[c];
        }
        for (uint32_t h = 0; h < out->heads; h++, row += out->width, y += out->stride) {
            for (uint32_t c = 0; c < out->width; c++) y[c] = a->add ? y[c] + row[c] : row[c];
        }
    }
}

void fh_cpu_run_rows(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view in = o->in[0], out = o->out[0];
    if (!fh_view_reshape(&in, out.heads, out.width) && !fh_view_reshape(&out, in.heads, in.width)) return;
    const uint32_t per = x->plan->value[out.value].per;
    uint64_t from, to;
    fh_cpu_share(w, fh_cpu_rows(x, &out), &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const float *src = fh_cpu_row(x, &in, (uint64_t)x->batch->row[i / per] * per + i % per);
        float *dst = fh_cpu_row(x, &out, i);
        for (uint32_t h = 0; h < in.heads; h++) {
            memcpy(dst + (size_t)h * out.stride, src + (size_t)h * in.stride, in.width * sizeof *dst);
        }
    }
}

/* ---- norms and rotations: a head is a unit ---- */
void fh_cpu_run_norm(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_view in = o->in[0];
    fh_view out = o->out[0];
    if (!fh_view_reshape(&out, in.heads, in.width)) return;
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &in), in.heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t i = u / in.heads, h = u % in.heads;
        const fh_batch_seq *seq = fh_cpu_seq_of(x, in.value, i);
        const float *scale = fh_cpu_vector(x, o, 0, seq), *add = fh_cpu_vector(x, o, 1, seq);
        const uint64_t at = o->u.norm.per_head ? h * in.width : 0;
        fh_ref_norm(o->u.norm.kind, o->u.norm.eps, fh_cpu_row(x, &in, i) + h * in.stride, scale ? scale + at : NULL,
                    add ? add + at : NULL, fh_cpu_row(x, &out, i) + h * out.stride, in.width);
    }
}

void fh_cpu_fill_angles(fh_exec *x, const fh_cpu_worker *w) {
    uint64_t from, to;
    fh_cpu_share(w, x->batch->n_token, &from, &to);
    for (uint32_t r = 0; r < x->plan->n_rope; r++) {
        const fh_rope *rope = &x->plan->rope[r];
        const uint64_t pairs = rope->n_rot / 2;
        float *cos = x->angle[r], *sin = cos + x->ceiling.size[FH_DIM_TOKENS] * pairs;
        for (uint64_t t = from; t < to; t++) {
            const fh_batch_seq *seq = &x->batch->seq[x->batch->seq_of[t]];
            const bool is_long = rope->long_freq != NULL && seq->length > rope->long_from;
            fh_ref_rope_angles(x->batch->pos[t], is_long ? rope->long_freq : rope->freq,
                               is_long ? rope->long_magnitude : rope->magnitude, (size_t)pairs, cos + t * pairs,
                               sin + t * pairs);
        }
    }
}

void fh_cpu_run_rope(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_view v = o->in[0];
    const fh_rope *rope = &x->plan->rope[o->u.rope.rope];
    const uint64_t pairs = rope->n_rot / 2;
    const float *cos = x->angle[o->u.rope.rope], *sin = cos + x->ceiling.size[FH_DIM_TOKENS] * pairs;
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &v), v.heads, &from, &to);
    for (uint64_t u = from; u < to; u++) {
        const uint64_t t = u / v.heads, h = u % v.heads;
        fh_ref_rope(rope->layout, o->u.rope.inverse, cos + t * pairs, sin + t * pairs,
                    fh_cpu_row(x, &v, t) + h * v.stride, (size_t)pairs, w->weights);
    }
}

/* ---- element by element: a piece of a head is a unit ---- */
void fh_cpu_align_views(fh_view *v, int n) {
    int lead = 0;
    for (int i = 0; i < n; i++) {
        if (!fh_view_is_dense(v[i])) lead = i;
    }
    for (int i = 0; i < n; i++) {
        if (!fh_view_reshape(&v[i], v[lead].heads, v[lead].width)) FH_BUG("operands of other shapes passed the check");
    }
}

void fh_cpu_run_add(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view v[3] = {o->in[0], o->in[1], o->out[0]};
    fh_cpu_align_views(v, 3);
    uint64_t from, to;
    fh_cpu_share_units(x, &v[2], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[2], i);
        const float *a = fh_cpu_place(x, &v[0], &u), *b = fh_cpu_place(x, &v[1], &u), scale = o->u.add.scale;
        float *y = fh_cpu_place(x, &v[2], &u);
        for (size_t c = 0; c < u.n; c++) y[c] = a[c] + scale * b[c];
    }
}

void fh_cpu_run_map(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view v[2] = {o->in[0], o->out[0]};
    if (o->vec[0] != FH_NO_ID) { /* the vector goes by the input's heads */
        if (!fh_view_reshape(&v[1], v[0].heads, v[0].width)) return;
    } else {
        fh_cpu_align_views(v, 2);
    }
    uint64_t from, to;
    fh_cpu_share_units(x, &v[1], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[1], i);
        float *y = fh_cpu_place(x, &v[1], &u);
        fh_ref_map(o->u.map.kind, o->u.map.c, fh_cpu_place(x, &v[0], &u), y, u.n);
        const float *add = fh_cpu_vector(x, o, 0, fh_cpu_seq_of(x, v[1].value, u.row));
        if (add == NULL) continue;
        for (size_t c = 0; c < u.n; c++) y[c] = y[c] + add[u.col + c];
    }
}

void fh_cpu_run_glu(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view v[3] = {o->in[0], o->in[1], o->out[0]};
    const bool one_gate = (uint64_t)v[0].heads * v[0].width != (uint64_t)v[1].heads * v[1].width;
    if (one_gate) {
        if (!fh_view_reshape(&v[0], v[1].heads, 1) || !fh_view_reshape(&v[2], v[1].heads, v[1].width)) return;
    } else {
        fh_cpu_align_views(v, 3);
    }
    uint64_t from, to;
    fh_cpu_share_units(x, &v[2], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[2], i);
        const float *g = one_gate ? fh_cpu_row(x, &v[0], u.row) + u.head * v[0].stride : fh_cpu_place(x, &v[0], &u);
        fh_ref_glu(o->u.map.kind, o->u.map.c, o->u.map.limit, g, one_gate, fh_cpu_place(x, &v[1], &u),
                   fh_cpu_place(x, &v[2], &u), u.n);
    }
}

void fh_cpu_run_decay(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view v[2] = {o->in[0], o->out[0]};
    fh_cpu_align_views(v, 2);
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, &v[1]), v[1].heads, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint64_t row = i / v[1].heads, h = i % v[1].heads, at = h * v[1].width;
        const fh_batch_seq *seq = fh_cpu_seq_of(x, v[1].value, row);
        const float *a = fh_cpu_vector(x, o, 0, seq), *b = fh_cpu_vector(x, o, 1, seq);
        fh_ref_decay(a + at, b ? b + at : NULL, fh_cpu_row(x, &v[0], row) + h * v[0].stride,
                     fh_cpu_row(x, &v[1], row) + h * v[1].stride, v[1].width);
    }
}

/* ---- experts ---- */
/* A view's row as one run of numbers. */
static void gather(const fh_view *v, const float *src, float *dst) {
    for (uint32_t h = 0; h < v->heads; h++) {
        memcpy(dst + (size_t)h * v->width, src + (size_t)h * v->stride, v->width * sizeof *dst);
    }
}

static void scatter(const fh_view *v, const float *src, float *dst) {
    for (uint32_t h = 0; h < v->heads; h++) {
        memcpy(dst + (size_t)h * v->stride, src + (size_t)h * v->width, v->width * sizeof *dst);
    }
}

void fh_cpu_run_route(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    const fh_route_args *a = &o->u.route;
    const fh_ref_route_rule rule = {a->gate,    a->group_rule,   a->n_expert, a->k,
                                    a->n_group, a->n_group_used, a->renorm,   a->scale};
    const fh_view *in = &o->in[0], *weight = &o->out[1];
    float *scores = w->route, *tmp = scores + a->n_expert, *chosen = tmp + 2 * (size_t)a->n_expert + a->n_group;
    uint64_t from, to;
    fh_cpu_share_rows(w, fh_cpu_rows(x, in), 1, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const float *bias = fh_cpu_vector(x, o, 0, fh_cpu_seq_of(x, in->value, i));
        gather(in, fh_cpu_row(x, in, i), scores);
        fh_ref_route(&rule, scores, bias, tmp, fh_cpu_ints(x, &o->out[0]) + i * a->k, chosen);
        scatter(weight, chosen, fh_cpu_row(x, weight, i));
    }
}

/* Counting sort; one worker does it, the lists are short. */
void fh_cpu_run_group(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    if (w->index != 0) return;
    const uint32_t k = o->in[0].width, n_expert = o->out[0].width - 1;
    const uint64_t n = fh_cpu_rows(x, &o->in[0]) * k;
    const int32_t *id = fh_cpu_ints(x, &o->in[0]);
    int32_t *start = fh_cpu_ints(x, &o->out[0]), *list = fh_cpu_ints(x, &o->out[1]);
    memset(start, 0, ((size_t)n_expert + 1) * sizeof *start);
    for (uint64_t i = 0; i < n; i++) start[id[i] + 1]++;
    for (uint32_t e = 0; e < n_expert; e++) start[e + 1] += start[e];
    for (uint64_t i = 0; i < n; i++) list[start[id[i]]++] = (int32_t)i;
    for (uint32_t e = n_expert; e > 0; e--) start[e] = start[e - 1]; /* back by one: they ran on to the next */
    start[0] = 0;
}

void fh_cpu_run_combine(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    fh_view v[2] = {o->in[0], o->out[0]};
    fh_cpu_align_views(v, 2);
    const fh_view *weight = &o->in[1];
    const uint32_t k = x->plan->value[v[0].value].per;
    uint64_t from, to;
    fh_cpu_share_units(x, &v[1], w, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const fh_cpu_unit u = fh_cpu_unit_at(&v[1], i);
        float *y = fh_cpu_place(x, &v[1], &u);
        const float *p = fh_cpu_row(x, weight, u.row);
        memset(y, 0, u.n * sizeof *y);
        for (uint32_t s = 0; s < k; s++) {
            const fh_cpu_unit from_row = {u.row * k + s, u.head, u.col, u.n};
            const float scale = p[s / weight->width * weight->stride + s % weight->width];
            fh_dot_best()->axpy(scale, fh_cpu_place(x, &v[0], &from_row), y, u.n);
        }
    }
}
