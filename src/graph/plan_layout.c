/* graph/plan_layout.c - where every value lies in one block of scratch.
 * SPDX-License-Identifier: Apache-2.0
 * Walks the ops in order with a list of the pieces in use, by offset; a new value takes the smallest gap that holds
 * it. Invariant: values whose ops overlap in time never overlap in memory (an op's inputs and outputs do); nor do what
 * an op reads and what the next JOINED ops write, so that an executor may carry them out as one. */
#include "graph/plan.h"

enum { ALIGN = 64, JOINED = 2 };

typedef struct piece {
    uint64_t at, bytes;
    uint32_t last; /* op after which it is free; UINT32_MAX: never */
} piece;

typedef struct in_use {
    piece *p; /* [n], ascending, not overlapping */
    uint32_t n;
    uint64_t top; /* bytes that were ever in use */
} in_use;

uint64_t fh_value_rows(const fh_value *v, const fh_extent *e) {
    return (v->dim < FH_DIM_COUNT ? e->size[v->dim] : 0) * v->per;
}

static bool value_bytes(const fh_value *v, const fh_extent *e, uint64_t *out) {
    uint64_t n = 0;
    return fh_mul_u64(e->size[v->dim], v->per, &n) && fh_mul_u64(n, v->width, &n) && fh_mul_u64(n, sizeof(float), &n) &&
           fh_align_up(n, ALIGN, out);
}

static void drop_until(in_use *u, uint32_t op) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->n; i++) {
        if (u->p[i].last >= op || op - u->p[i].last <= JOINED) u->p[n++] = u->p[i];
    }
    u->n = n;
}

static bool put(in_use *u, uint64_t bytes, uint32_t last, uint64_t *at) {
    uint64_t end = 0, best = UINT64_MAX;
    uint32_t where = u->n;
    for (uint32_t i = 0; i < u->n; i++) {
        uint64_t gap = u->p[i].at - end;
        if (gap >= bytes && gap < best) {
            best = gap;
            where = i;
        }
        end = u->p[i].at + u->p[i].bytes;
    }
    *at = where == 0 ? 0 : u->p[where - 1].at + u->p[where - 1].bytes;
    if (!fh_add_u64(*at, bytes, &end)) return false;
    memmove(u->p + where + 1, u->p + where, (u->n - where) * sizeof *u->p);
    u->p[where] = (piece){*at, bytes, last};
    u->n++;
    u->top = FH_MAX(u->top, end);
    return true;
}

/* Places the values that op i touches first. */
static bool place(const fh_plan *p, const fh_extent *ceiling, bool all, const fh_view *v, uint32_t i, in_use *u,
                  uint64_t *offset) {
    if (v->value == FH_NO_VALUE) return true;
    const fh_value *x = &p->value[v->value];
    uint64_t bytes;
    if (x->first_op != i || offset[v->value] != UINT64_MAX) return true;
    if (!value_bytes(x, ceiling, &bytes)) return false;
    return put(u, bytes, all || x->keep ? UINT32_MAX : x->last_op, &offset[v->value]);
}

fh_status fh_plan_layout(const fh_plan *p, const fh_extent *ceiling, bool all, uint64_t *offset, uint64_t *bytes,
                         fh_err *err) {
    in_use u = {NULL, 0, 0};
    fh_status status = FH_OK;
    uint64_t *at = fh_alloc(p->n_value, sizeof *at);
    u.p = fh_alloc(p->n_value, sizeof *u.p);
    if (at == NULL || u.p == NULL) {
        status = fh_fail_memory(err, p->n_value * (sizeof *at + sizeof *u.p));
        goto out;
    }
    for (uint32_t i = 0; i < p->n_value; i++) at[i] = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_op; i++) {
        bool ok = true;
        drop_until(&u, i);
        for (int k = 0; k < FH_OP_MAX_IN; k++) ok = ok && place(p, ceiling, all, &p->op[i].in[k], i, &u, at);
        for (int k = 0; k < FH_OP_MAX_OUT; k++) ok = ok && place(p, ceiling, all, &p->op[i].out[k], i, &u, at);
        if (!ok) {
            status = fh_fail(err, FH_ERR_LIMIT, "lay out plan '%.*s', its values do not fit any memory",
                             FH_STR_ARG(p->name));
            goto out;
        }
    }
    for (uint32_t i = 0; i < p->n_value; i++) offset[i] = at[i] == UINT64_MAX ? 0 : at[i]; /* nothing uses it */
    *bytes = u.top;
out:
    fh_free(u.p);
    fh_free(at);
    return status;
}
