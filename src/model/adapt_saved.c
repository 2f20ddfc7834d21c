/* model/adapt_saved.c - tensors that an adapter brings in place of the model's: saved modules, norms, biases.
 * SPDX-License-Identifier: Apache-2.0
 * Vectors are decoded into the form that the plan reads (norms stored less one, decays as logarithms, halves of fused
 * biases). Matrices are read in place where they lie as the model's own would, else copied in f32 and in order. */
#include <math.h>

#include "kernel/decode.h"
#include "model/adapt_part.h"

#define PLACES_MOST 16

static fh_status misfit(const fh_adapter_saved *s, fh_str what, fh_err *err) {
    char is[FH_MAX_DIMS * 22 + 2];
    return fh_fail_at(err, FH_ERR_FORMAT, s->tensor->file_offset,
                      "adapter tensor '%.*s' %s is not of the shape that this model has as %.*s", FH_STR_ARG(s->name),
                      fh_shape_text(&s->tensor->shape, is, sizeof is), FH_STR_ARG(what));
}

static fh_status taken(const fh_adapter_saved *s, fh_err *err) {
    return fh_fail(err, FH_ERR_UNSUPPORTED, "two adapters replace '%.*s'", FH_STR_ARG(s->name));
}

static fh_status put(fh_adapt *j, uint32_t id, const fh_matrix *m, fh_err *err) {
    fh_matrix *own = fh_arena_alloc(j->arena, 1, sizeof *own);
    if (!own) return fh_arena_fail(j->arena, err);
    *own = *m;
    j->matrix[id].instead = own;
    j->own_instead[id] = true;
    return FH_OK;
}

/* A weight over one tensor, and the list of one that a matrix wants. */
static fh_status weight_list(fh_adapt *j, const fh_tensor *t, const fh_weight *const **out, fh_err *err) {
    fh_weight *w = fh_arena_alloc(j->arena, 1, sizeof *w);
    const fh_weight **list = fh_arena_alloc(j->arena, 1, sizeof(fh_weight *));
    if (!w || !list) return fh_arena_fail(j->arena, err);
    *w = (fh_weight){.name = t->name, .shape = t->shape, .codes = t, .layout = ""};
    list[0] = w;
    *out = list;
    return FH_OK;
}

fh_status fh_adapt_put_f32(fh_adapt *j, uint32_t id, const float *all, fh_err *err) {
    const fh_matrix *m = &j->tables->matrix[id];
    fh_tensor *t = fh_arena_alloc(j->arena, 1, sizeof *t);
    if (!t) return fh_arena_fail(j->arena, err);
    *t = (fh_tensor){.name = m->name, .dtype = FH_DTYPE_F32};
    t->shape = (fh_shape){.n_dim = 3, .dim = {m->n_mat, m->out, m->in}};
    t->data = (fh_bytes){(const uint8_t *)all, (size_t)m->n_mat * m->out * m->in * sizeof *all};
    fh_matrix own = {.name = m->name, .n_weight = 1, .n_mat = m->n_mat, .out = m->out, .in = m->in};
    own.stride = m->out;
    own.step = 1;
    FH_TRY(weight_list(j, t, &own.weight, err));
    return put(j, id, &own, err);
}

/* Matrices that the tensor is one of several of, or whose rows stand in another order: a copy. */
static fh_status copy_in_order(fh_adapt *j, uint32_t id, const fh_cut *c, const fh_tensor *t, fh_err *err) {
    const fh_matrix *m = &j->tables->matrix[id];
    size_t n = (size_t)(m->out * m->in);
    float *all = fh_alloc(n, sizeof *all), *own = fh_arena_alloc(j->arena, n, sizeof *own);
    if (!all || !own) {
        fh_free(all);
        return all ? fh_arena_fail(j->arena, err) : fh_fail_memory(err, n * sizeof *all);
    }
    fh_decode(t->dtype, t->data.ptr, all, n);
    for (uint64_t o = 0; o < m->out; o++)
        for (uint64_t i = 0; i < m->in; i++)
            own[o * m->in + i] = all[fh_cut_row(j, id, c, 0, o) * m->in +
                                     fh_form_col(j->spec, j->bind->matrix_of[id].slot, j->spec->gguf, i)];
    fh_free(all);
    return fh_adapt_put_f32(j, id, own, err);
}

static bool plain_float(const fh_tensor *t) {
    fh_dtype_class cls = fh_dtype_get_info(t->dtype)->cls;
    return (cls == FH_DTYPE_CLASS_FLOAT || cls == FH_DTYPE_CLASS_BLOCK) && fh_can_decode(t->dtype);
}

static fh_status put_matrix(fh_adapt *j, uint32_t id, fh_cut c, const fh_slot_place *at, const fh_adapter_saved *s,
                            fh_err *err) {
    const fh_matrix *m = &j->tables->matrix[id];
    const fh_name *own = fh_slot_row(j->spec->family, at->stack, at->slot);
    const fh_shape *is = &s->tensor->shape;
    uint64_t n = 0, rows = c.rows, cols = c.cols;
    if (at->by_expert)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter tensor '%.*s' replaces one expert, which is not done",
                       FH_STR_ARG(s->name));
    if (j->matrix[id].instead) return taken(s, err);
    if (own && own->plain_transposed && !j->gguf) { /* stored [in, rows]: rows of the product are its columns */
        c.col = c.first;
        c.first = 0;
        c.transposed = true;
        c.stride = cols;
        rows = c.cols;
        cols = c.rows;
    }
    bool fits =
        fh_shape_count(is, &n) && is->n_dim >= 2 && is->dim[is->n_dim - 1] == cols && n == c.n_mat * rows * cols;
    if (!fits || !plain_float(s->tensor)) return misfit(s, m->name, err);
    if (c.other_form) return copy_in_order(j, id, &c, s->tensor, err);
    fh_matrix x = {.name = m->name, .n_weight = 1, .n_mat = m->n_mat, .out = m->out, .in = m->in};
    x.first = c.first;
    x.stride = c.stride;
    x.step = c.step;
    x.col = c.col;
    x.transposed = c.transposed;
    FH_TRY(weight_list(j, s->tensor, &x.weight, err));
    return put(j, id, &x, err);
}

/* ---- vectors ---- */

static float in_plan(const fh_adapt *j, fh_slot slot, float v) {
    if (j->gguf) return v;
    if (j->spec->family->norm_plus_one && fh_slot_is_norm(slot)) return 1.0f + v;
    return slot == FH_SLOT_DELTA_DECAY ? (float)-exp((double)v) : v;
}

static fh_status put_vector(fh_adapt *j, uint32_t id, const fh_adapter_saved *s, const fh_slot_place *at, fh_err *err) {
    const fh_vector *old = &j->tables->vector[id];
    const fh_name *own = fh_slot_row(j->spec->family, at->stack, at->slot);
    fh_part part = own && !j->gguf ? own->part : FH_PART_WHOLE;
    uint64_t n = 0, cols = fh_shape_cols(&s->tensor->shape), want = part == FH_PART_WHOLE ? old->n : 2 * old->n;
    if (j->vector[id]) return taken(s, err);
    if (!fh_shape_count(&s->tensor->shape, &n) || n != want || !plain_float(s->tensor))
        return misfit(s, old->name, err);
    float *all = fh_alloc((size_t)n, sizeof *all), *v = fh_arena_alloc(j->arena, (size_t)old->n, sizeof *v);
    if (!all || !v) {
        fh_free(all);
        return all ? fh_arena_fail(j->arena, err) : fh_fail_memory(err, (size_t)n * sizeof *all);
    }
    fh_decode(s->tensor->dtype, s->tensor->data.ptr, all, (size_t)n);
    bool moved = j->gguf != j->spec->gguf && fh_form_moves(j->spec, at->slot);
    uint64_t width = at->slot == FH_SLOT_DELTA_CONV ? j->spec->delta.taps : 1; /* numbers that move together */
    for (uint64_t i = 0; i < old->n; i++) {
        uint64_t from = i, half = cols / 2;
        if (moved) from = fh_form_row(j->spec, at->slot, at->layer, j->spec->gguf, i / width) * width + i % width;
        if (part == FH_PART_EVEN || part == FH_PART_ODD) from = i / half * cols + i % half * 2 + (part == FH_PART_ODD);
        if (part == FH_PART_FIRST_HALF) from = i / half * cols + i % half;
        if (part == FH_PART_SECOND_HALF) from = i / half * cols + half + i % half;
        v[i] = in_plan(j, at->slot, all[from]);
    }
    fh_free(all);
    j->vector[id] = v;
    return FH_OK;
}

static bool is_vector(const fh_adapt *j, uint32_t id, const fh_slot_place *p) {
    const fh_bound *at = &j->bind->vector_of[id];
    if (at->slot != p->slot || at->stack != p->stack) return false;
    if (!p->every_layer) return at->layer == p->layer;
    return fh_str_eq(fh_bind_file_name(j->bind, at->stack, at->slot, at->layer, 0),
                     fh_bind_file_name(j->bind, at->stack, at->slot, 0, 0));
}

fh_status fh_adapt_put_saved(fh_adapt *j, const fh_adapter_saved *s, fh_err *err) {
    fh_slot_place place[PLACES_MOST];
    size_t n = fh_slot_match(j->spec->family, j->gguf, s->name, place, PLACES_MOST), hits = 0;
    fh_cut c;
    for (size_t k = 0; k < n; k++) {
        bool bias = fh_str_ends(s->name, ".bias");
        for (uint32_t id = 0; !bias && id < j->tables->n_matrix; id++) {
            if (!fh_adapt_cut(j, &place[k], id, &c)) continue;
            FH_TRY(put_matrix(j, id, c, &place[k], s, err));
            hits++;
        }
        for (uint32_t id = 0; id < j->tables->n_vector; id++) {
            if (!is_vector(j, id, &place[k])) continue;
            FH_TRY(put_vector(j, id, s, &place[k], err));
            hits++;
        }
    }
    if (hits) return FH_OK;
    return fh_fail_at(err, FH_ERR_UNSUPPORTED, s->tensor->file_offset,
                      "adapter tensor '%.*s' has no place in this model", FH_STR_ARG(s->name));
}
