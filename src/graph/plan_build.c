/* graph/plan_build.c - collects a plan op by op, and views of its values.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the growing lists until fh_plan_end copies them into the arena; names live in the arena from the start.
 * Refuses nothing itself but names that do not fit and more than MAX_LIST entries: fh_plan_check judges the whole.
 * Invariant: after the first failure nothing changes any more, and fh_plan_end tells it. */
#include "graph/plan.h"

#include <stdarg.h>
#include <stdio.h>

enum { MAX_LIST = 1 << 20, MAX_NAME = 256 };

/* A view that was cut wrongly names this value; the check finds it outside the plan. */
#define BAD_VALUE (FH_NO_VALUE - 1)

struct fh_plan_builder {
    fh_arena *arena;
    fh_str name;
    fh_value *value; /* [n_value] */
    fh_op *op;       /* [n_op] */
    fh_rope *rope;   /* [n_rope] */
    uint32_t n_value, n_op, n_rope;
    uint32_t cap_value, cap_op, cap_rope;
    uint32_t exported[FH_EXPORT_COUNT];
    fh_err err;
};

fh_status fh_plan_begin(fh_plan_builder **out, fh_arena *arena, fh_str name, fh_err *err) {
    fh_plan_builder *b = fh_alloc_zero(1, sizeof *b);
    if (b == NULL) return fh_fail_memory(err, sizeof *b);
    b->arena = arena;
    for (int i = 0; i < FH_EXPORT_COUNT; i++) b->exported[i] = FH_NO_VALUE;
    if (!fh_arena_copy(arena, name, &b->name)) {
        fh_free(b);
        return fh_arena_fail(arena, err);
    }
    *out = b;
    return FH_OK;
}

void fh_plan_drop(fh_plan_builder *b) {
    if (b == NULL) return;
    fh_free(b->value);
    fh_free(b->op);
    fh_free(b->rope);
    fh_free(b);
}

/* Room for one more entry; false is recorded. */
static bool grow(fh_plan_builder *b, void **list, uint32_t n, uint32_t *cap, size_t size) {
    if (b->err.status != FH_OK) return false;
    if (n < *cap) return true;
    uint32_t more = *cap ? *cap * 2 : 64;
    if (more > MAX_LIST) {
        fh_fail(&b->err, FH_ERR_LIMIT, "build plan '%.*s', it has more than %d entries", FH_STR_ARG(b->name), MAX_LIST);
        return false;
    }
    void *p = fh_realloc(*list, more, size);
    if (p == NULL) {
        fh_fail_memory(&b->err, more * size);
        return false;
    }
    *list = p;
    *cap = more;
    return true;
}

FH_PRINTF(3, 0)
static fh_view add_value(fh_plan_builder *b, const fh_value *shape, const char *fmt, va_list args) {
    static const fh_view NONE = {FH_NO_VALUE, 0, 0, 0, 0};
    char text[MAX_NAME];
    void *list = b->value;
    bool ok = grow(b, &list, b->n_value, &b->cap_value, sizeof *b->value);
    b->value = list;
    if (!ok) return NONE;
    fh_value v = *shape;
    int n = vsnprintf(text, sizeof text, fmt, args);
    if (n < 0 || n >= MAX_NAME) {
        fh_fail(&b->err, FH_ERR_LIMIT, "build plan '%.*s', a value's name is too long", FH_STR_ARG(b->name));
        return NONE;
    }
    if (!fh_arena_copy(b->arena, (fh_str){text, (size_t)n}, &v.name)) {
        fh_arena_fail(b->arena, &b->err);
        return NONE;
    }
    v.first_op = v.last_op = UINT32_MAX;
    b->value[b->n_value] = v;
    return (fh_view){b->n_value++, 0, 1, v.width, v.width};
}

fh_view fh_plan_value(fh_plan_builder *b, fh_dim dim, uint32_t per, uint32_t width, const char *name, ...) {
    va_list args;
    va_start(args, name);
    fh_view v = add_value(b, &(fh_value){.dim = dim, .per = per, .width = width}, name, args);
    va_end(args);
    return v;
}

fh_view fh_plan_int_value(fh_plan_builder *b, fh_dim dim, uint32_t per, uint32_t width, const char *name, ...) {
    va_list args;
    va_start(args, name);
    fh_view v = add_value(b, &(fh_value){.dim = dim, .per = per, .width = width, .is_int = true}, name, args);
    va_end(args);
    return v;
}

static bool same_freq(const float *a, const float *b, uint32_t n) {
    if (a == b || a == NULL || b == NULL) return a == b;
    return memcmp(a, b, n * sizeof *a) == 0;
}

static bool same_rope(const fh_rope *a, const fh_rope *b) {
    return a->layout == b->layout && a->n_rot == b->n_rot && a->long_from == b->long_from &&
           memcmp(&a->magnitude, &b->magnitude, sizeof a->magnitude) == 0 &&
           memcmp(&a->long_magnitude, &b->long_magnitude, sizeof a->long_magnitude) == 0 &&
           same_freq(a->freq, b->freq, a->n_rot / 2) && same_freq(a->long_freq, b->long_freq, a->n_rot / 2);
}

uint32_t fh_plan_add_rope(fh_plan_builder *b, const fh_rope *rope) {
    for (uint32_t i = 0; i < b->n_rope; i++) {
        if (same_rope(&b->rope[i], rope)) return i;
    }
    void *list = b->rope;
    bool ok = grow(b, &list, b->n_rope, &b->cap_rope, sizeof *b->rope);
    b->rope = list;
    if (!ok) return FH_NO_ID;
    b->rope[b->n_rope] = *rope;
    return b->n_rope++;
}

fh_op *fh_plan_add_op(fh_plan_builder *b, fh_op_kind kind, int32_t layer) {
    void *list = b->op;
    bool ok = grow(b, &list, b->n_op, &b->cap_op, sizeof *b->op);
    b->op = list;
    if (!ok) return NULL;
    fh_op *o = &b->op[b->n_op++];
    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->layer = layer;
    for (int i = 0; i < FH_OP_MAX_IN; i++) o->in[i].value = FH_NO_VALUE;
    for (int i = 0; i < FH_OP_MAX_OUT; i++) o->out[i].value = FH_NO_VALUE;
    for (int i = 0; i < FH_OP_MAX_VEC; i++) o->vec[i] = FH_NO_ID;
    o->matrix = o->state = FH_NO_ID;
    return o;
}

void fh_plan_export(fh_plan_builder *b, fh_export what, fh_view v) {
    if (b->err.status != FH_OK) return;
    if (v.value >= b->n_value || v.col != 0 || v.heads != 1 || v.width != b->value[v.value].width) {
        fh_fail(&b->err, FH_ERR_FORMAT, "build plan '%.*s', what it exports is no whole value", FH_STR_ARG(b->name));
        return;
    }
    b->exported[what] = v.value;
    b->value[v.value].keep = true;
}

static void use(fh_value *value, uint32_t n_value, const fh_view *v, uint32_t op) {
    if (v->value >= n_value) return; /* absent, or for the check to find */
    if (value[v->value].first_op == UINT32_MAX) value[v->value].first_op = op;
    value[v->value].last_op = op;
}

static bool looks_ahead(const fh_plan *p, const fh_op *o) {
    if (o->kind != FH_OP_ATTEND) return false;
    if (o->u.attend.mask == FH_MASK_SYMMETRIC) return true;
    return o->u.attend.mask == FH_MASK_NONE && o->state < p->n_state && p->state[o->state].kind != FH_STATE_CROSS;
}

/* A list into the arena; an empty one stays NULL. */
static bool keep(fh_arena *a, const void *list, uint32_t n, size_t size, void **out) {
    *out = NULL;
    if (n == 0) return true;
    void *p = fh_arena_alloc(a, n, size);
    if (p == NULL) return false;
    memcpy(p, list, n * size);
    *out = p;
    return true;
}

fh_status fh_plan_end(fh_plan_builder *b, const fh_plan *tables, fh_plan *out, fh_err *err) {
    if (b->err.status != FH_OK) {
        if (err != NULL) *err = b->err;
        return b->err.status;
    }
    fh_plan p = *tables;
    void *value, *op, *rope;
    if (!keep(b->arena, b->value, b->n_value, sizeof *b->value, &value) ||
        !keep(b->arena, b->op, b->n_op, sizeof *b->op, &op) ||
        !keep(b->arena, b->rope, b->n_rope, sizeof *b->rope, &rope)) {
        return fh_arena_fail(b->arena, err);
    }
    fh_value *values = value;
    for (uint32_t i = 0; i < b->n_op; i++) {
        for (int k = 0; k < FH_OP_MAX_IN; k++) use(values, b->n_value, &b->op[i].in[k], i);
        for (int k = 0; k < FH_OP_MAX_OUT; k++) use(values, b->n_value, &b->op[i].out[k], i);
    }
    p.name = b->name;
    p.value = values;
    p.op = op;
    p.rope = rope;
    p.n_value = b->n_value;
    p.n_op = b->n_op;
    p.n_rope = b->n_rope;
    memcpy(p.exported, b->exported, sizeof p.exported);
    p.whole_sequences = false;
    for (uint32_t i = 0; i < p.n_op; i++) p.whole_sequences |= looks_ahead(&p, &p.op[i]);
    FH_TRY(fh_plan_check(&p, err));
    *out = p;
    return FH_OK;
}

/* ---- views ---- */
fh_view fh_view_cols(fh_view v, uint32_t col, uint32_t width) {
    if ((uint64_t)col + width > v.width && v.value != FH_NO_VALUE) v.value = BAD_VALUE;
    v.col += col;
    if (v.heads == 1) v.stride = width; /* one head has no neighbour */
    v.width = width;
    return v;
}

fh_view fh_view_heads(fh_view v, uint32_t heads, uint32_t width, uint32_t stride) {
    bool fits = v.heads == 1 && heads > 0 && (uint64_t)(heads - 1) * stride + width <= v.width;
    if (!fits && v.value != FH_NO_VALUE) v.value = BAD_VALUE;
    v.heads = heads;
    v.width = width;
    v.stride = stride;
    return v;
}

bool fh_view_is_dense(fh_view v) { return v.heads <= 1 || v.stride == v.width; }

bool fh_view_reshape(fh_view *v, uint32_t heads, uint32_t width) {
    if (v->heads == heads && v->width == width) return true;
    if (!fh_view_is_dense(*v) || (uint64_t)v->heads * v->width != (uint64_t)heads * width) return false;
    v->heads = heads;
    v->width = v->stride = width;
    return true;
}
