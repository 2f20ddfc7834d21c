/* graph/plan_check.c - judges a plan before anything runs it.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses every operand that is absent, superfluous, outside its value, read before it was written, of the wrong type
 * or shape, and every parameter, matrix, vector or state that does not fit its op.
 * Invariant that executors build on: a plan that passes needs no other check of shapes; only token ids, positions,
 * and the sizes of a batch are left to look at. */
#include "graph/plan.h"

#include <math.h>

enum { MAX_WIDTH = 1 << 28, MAX_TAPS = 64, MAX_EXPERT = 1 << 16, MAX_OUT = 1 << 28 };

static const struct op_shape {
    uint8_t n_in, n_out;
    const char *parts;
} SHAPE[FH_OP_COUNT] = {
#define FH_OP_ROW(id, name, in, out, parts) [FH_OP_##id] = {in, out, #parts},
#include "graph/op.def"
#undef FH_OP_ROW
};

/* What is being judged: op `i` of the plan. */
typedef struct check {
    const fh_plan *p;
    const fh_op *o;
    uint32_t i;
    uint8_t *written; /* [n_value]: 1 once an op wrote it */
    uint8_t *stored;  /* [n_state]: 1 once a STORE wrote it */
    uint32_t *maker;  /* [n_value]: the last op that wrote it */
    fh_err *err;
} check;

static fh_status bad(const check *c, const char *why) {
    uint32_t v = c->o->out[0].value != FH_NO_VALUE ? c->o->out[0].value : c->o->in[0].value;
    fh_str name = v < c->p->n_value ? c->p->value[v].name : FH_STR("?");
    return fh_fail(c->err, FH_ERR_FORMAT, "check plan '%.*s', op %u '%s' of '%.*s': %s", FH_STR_ARG(c->p->name), c->i,
                   fh_op_name(c->o->kind), FH_STR_ARG(name), why);
}
#define NEED(cond, why) \
    do { \
        if (!(cond)) return bad(c, (why)); \
    } while (0)

static const fh_value *value_of(const check *c, const fh_view *v) { return &c->p->value[v->value]; }
static bool is_absent(const fh_view *v) { return v->value == FH_NO_VALUE; }
static uint64_t total(const fh_view *v) { return (uint64_t)v->heads * v->width; }
static bool is_whole(const check *c, const fh_view *v) {
    return v->col == 0 && v->heads == 1 && v->width == value_of(c, v)->width;
}
static bool same_rows(const check *c, const fh_view *a, const fh_view *b) {
    return value_of(c, a)->dim == value_of(c, b)->dim && value_of(c, a)->per == value_of(c, b)->per;
}
static bool of_tokens(const check *c, const fh_view *v) {
    return value_of(c, v)->dim == FH_DIM_TOKENS && value_of(c, v)->per == 1;
}
static bool fits(const fh_view *v, uint32_t heads, uint32_t width) {
    fh_view copy = *v;
    return fh_view_reshape(&copy, heads, width);
}
/* One can be seen with the other's heads. */
static bool same_shape(const fh_view *a, const fh_view *b) {
    return fits(a, b->heads, b->width) || fits(b, a->heads, a->width);
}
static bool is_real(float x) { return isfinite(x) != 0; }

/* ---- operands by themselves ---- */
static fh_status check_view(const check *c, const fh_view *v, bool is_out, bool is_int) {
    NEED(v->value < c->p->n_value, "an operand is no value of the plan, or was cut from outside its view");
    NEED(v->heads >= 1 && v->width >= 1, "an operand is empty");
    uint64_t end = (uint64_t)v->col + (uint64_t)(v->heads - 1) * v->stride + v->width;
    NEED(end <= value_of(c, v)->width, "an operand reaches past its value's columns");
    NEED(!is_out || v->heads == 1 || v->stride >= v->width, "heads that are written overlap");
    NEED(value_of(c, v)->is_int == is_int, "an operand is of the wrong type");
    NEED(!is_int || is_whole(c, v), "numbers of tokens or experts must be a whole value");
    return FH_OK;
}

static bool in_is_int(fh_op_kind k, int i) { return k == FH_OP_GROUP || ((k == FH_OP_MATMUL_EXPERTS) && i > 0); }
static bool out_is_int(fh_op_kind k, int i) { return k == FH_OP_GROUP || (k == FH_OP_ROUTE && i == 0); }

static bool overwrites(const fh_op *o) { return o->kind != FH_OP_EMBED || !o->u.embed.add; }

static fh_status check_operands(check *c) {
    const struct op_shape *s = &SHAPE[c->o->kind];
    for (int i = 0; i < FH_OP_MAX_IN; i++) {
        const fh_view *v = &c->o->in[i];
        bool optional = c->o->kind == FH_OP_STORE && i == 1;
        if (i >= s->n_in || (optional && is_absent(v))) {
            NEED(is_absent(v), "it has an input too many");
            continue;
        }
        NEED(!is_absent(v), "an input is absent");
        FH_TRY(check_view(c, v, false, in_is_int(c->o->kind, i)));
        NEED(c->written[v->value], "an input was not written before");
    }
    for (int i = 0; i < FH_OP_MAX_OUT; i++) {
        const fh_view *v = &c->o->out[i];
        NEED((i < s->n_out) == !is_absent(v), "it has an output too few or too many");
        if (i >= s->n_out) continue;
        FH_TRY(check_view(c, v, true, out_is_int(c->o->kind, i)));
        NEED(overwrites(c->o) || c->written[v->value], "it adds to a value that was not written before");
    }
    return FH_OK;
}

static fh_status check_matrix(const check *c) {
    const fh_matrix *m = &c->p->matrix[c->o->matrix];
    NEED(m->weight != NULL && m->n_mat >= 1 && (m->n_weight == 1 || m->n_weight == m->n_mat),
         "a matrix has no weights");
    NEED(m->out >= 1 && m->in >= 1 && m->step >= 1, "a matrix is empty");
    NEED(m->out <= MAX_OUT && m->in <= MAX_WIDTH, "a matrix is too large");
    for (uint32_t i = 0; i < m->n_mat; i++) {
        const fh_weight *w = m->n_weight > 1 || i == 0 ? fh_matrix_weight(m, i) : m->weight[0];
        NEED(w != NULL, "a matrix has no weights");
        uint64_t rows = 0, last = 0, at = 0, span = 0;
        bool ok = fh_mul_u64(fh_weight_rows(w), fh_weight_matrices(w), &rows);
        ok = ok && fh_mul_u64(m->n_weight > 1 ? 0 : i, m->stride, &at) && fh_add_u64(at, m->first, &at);
        ok = ok && fh_mul_u64((m->transposed ? m->in : m->out) - 1, m->transposed ? 1 : m->step, &last);
        ok = ok && fh_add_u64(at, last, &last);
        NEED(ok && last < rows, "a matrix reaches past its weight's rows");
        if (m->transposed) {
            ok = fh_mul_u64(m->out - 1, m->step, &span) && fh_add_u64(span, m->col, &span);
            NEED(ok && span < fh_weight_cols(w), "a matrix reaches past its weight's columns");
        } else {
            NEED(m->in == fh_weight_cols(w), "a matrix has other columns than its weight");
        }
    }
    return FH_OK;
}

static fh_status check_parts(const check *c) {
    const char *parts = SHAPE[c->o->kind].parts;
    bool m = strchr(parts, 'M') != NULL, v = strchr(parts, 'V') != NULL, s = strchr(parts, 'S') != NULL;
    NEED(m == (c->o->matrix != FH_NO_ID), "its matrix is absent or superfluous");
    NEED(s == (c->o->state != FH_NO_ID), "its state is absent or superfluous");
    if (m) {
        NEED(c->o->matrix < c->p->n_matrix, "its matrix is not in the table");
        FH_TRY(check_matrix(c));
    }
    if (s) {
        NEED(c->o->state < c->p->n_state, "its state is not in the table");
        const fh_state *st = &c->p->state[c->o->state];
        NEED(st->kind <= FH_STATE_RECURRENT, "its state is of no known kind");
        if (st->kind != FH_STATE_RECURRENT) {
            NEED(st->group < c->p->n_group && c->p->group[st->group].kind == st->kind, "its state is in a wrong group");
            NEED(st->heads >= 1 && st->k_width >= 1 && st->v_width >= 1, "its state is empty");
            NEED((uint64_t)st->heads * (st->k_width > st->v_width ? st->k_width : st->v_width) <= MAX_WIDTH,
                 "its state is too wide");
            NEED(st->kind != FH_STATE_LATENT || (st->heads == 1 && st->v_width <= st->k_width),
                 "latent rows have one head, and values are a part of them");
        }
    }
    for (int i = 0; i < FH_OP_MAX_VEC; i++) {
        if (c->o->vec[i] == FH_NO_ID) continue;
        NEED(v, "it takes no vector");
        NEED(c->o->vec[i] < c->p->n_vector && c->p->vector[c->o->vec[i]].v != NULL, "its vector is not in the table");
    }
    return FH_OK;
}

/* vec[i] is absent, or has n numbers. */
static bool vec_is(const check *c, int i, uint64_t n) {
    return c->o->vec[i] == FH_NO_ID || c->p->vector[c->o->vec[i]].n == n;
}
static bool has_vec(const check *c, int i) { return c->o->vec[i] != FH_NO_ID; }

/* ---- what is written against what is read ---- */
/* False only where no column is in both. */
static bool overlap(const fh_view *a, const fh_view *b) {
    if (is_absent(a) || is_absent(b) || a->value != b->value) return false;
    uint64_t a_end = (uint64_t)a->col + (uint64_t)(a->heads - 1) * a->stride + a->width;
    uint64_t b_end = (uint64_t)b->col + (uint64_t)(b->heads - 1) * b->stride + b->width;
    if (a_end <= b->col || b_end <= a->col) return false;
    uint32_t s = a->stride;
    if (a->heads == 1 || b->heads == 1 || s != b->stride) return true;
    uint32_t x = a->col % s, y = b->col % s; /* interleaved pieces: q, gate, q, gate */
    bool wraps = (uint64_t)x + a->width > s || (uint64_t)y + b->width > s;
    return wraps || !((uint64_t)x + a->width <= y || (uint64_t)y + b->width <= x);
}

static bool same_place(const fh_view *a, const fh_view *b) {
    if (a->value != b->value || a->col != b->col || total(a) != total(b)) return false;
    if (fh_view_is_dense(*a) && fh_view_is_dense(*b)) return true;
    return a->heads == b->heads && a->stride == b->stride;
}

/* Ops that go element by element, or head by head, may write where they read. */
static bool in_place_allowed(fh_op_kind k) {
    return k == FH_OP_NORM || k == FH_OP_ADD || k == FH_OP_MAP || k == FH_OP_GLU || k == FH_OP_ROPE ||
           k == FH_OP_CONV || k == FH_OP_DECAY;
}

static fh_status check_alias(const check *c) {
    for (int o = 0; o < FH_OP_MAX_OUT; o++) {
        for (int i = 0; i < FH_OP_MAX_IN; i++) {
            if (!overlap(&c->o->out[o], &c->o->in[i])) continue;
            NEED(in_place_allowed(c->o->kind) && same_place(&c->o->out[o], &c->o->in[i]), "it writes where it reads");
        }
    }
    NEED(!overlap(&c->o->out[0], &c->o->out[1]), "its outputs are one");
    return FH_OK;
}

/* ---- ops ---- */
static fh_status check_embed(const check *c) {
    const fh_matrix *m = &c->p->matrix[c->o->matrix];
    NEED(of_tokens(c, &c->o->out[0]), "it gives one row a token");
    NEED(m->n_mat == 1 && !m->transposed, "its table is one matrix, not transposed");
    NEED(total(&c->o->out[0]) == m->in, "its table has rows of another width");
    NEED(c->o->u.embed.from <= FH_EMBED_ROW_0 && is_real(c->o->u.embed.scale), "its parameters are wrong");
    NEED(c->o->u.embed.offset < m->out, "its offset is past the table");
    return FH_OK;
}

static fh_status check_rows(const check *c) {
    const fh_value *in = value_of(c, &c->o->in[0]), *out = value_of(c, &c->o->out[0]);
    NEED(in->dim == FH_DIM_TOKENS && out->dim == FH_DIM_ROWS && in->per == out->per, "it takes rows of tokens");
    NEED(same_shape(&c->o->in[0], &c->o->out[0]), "its output has another shape");
    return FH_OK;
}

static fh_status check_matmul(const check *c) {
    const fh_matrix *m = &c->p->matrix[c->o->matrix];
    NEED(same_rows(c, &c->o->in[0], &c->o->out[0]), "its output has other rows");
    NEED(m->n_mat == 1, "its matrix is a stack");
    NEED(total(&c->o->in[0]) == m->in, "its input is not as wide as the matrix");
    NEED(total(&c->o->out[0]) == m->out, "its output is not as wide as the matrix is high");
    NEED(vec_is(c, 0, m->out) && !has_vec(c, 1), "its bias has another length");
    NEED(c->o->u.matmul.turn == 0 || c->o->in[0].heads % c->o->u.matmul.turn == 0, "its heads cannot be turned so");
    return FH_OK;
}

static fh_status check_matmul_heads(const check *c) {
    const fh_matrix *m = &c->p->matrix[c->o->matrix];
    NEED(same_rows(c, &c->o->in[0], &c->o->out[0]), "its output has other rows");
    NEED(m->in <= MAX_WIDTH && fits(&c->o->in[0], m->n_mat, (uint32_t)m->in), "its input is not the matrices' heads");
    NEED(fits(&c->o->out[0], m->n_mat, (uint32_t)m->out), "its output is not the matrices' heads");
    return FH_OK;
}

/* The op that made an int value, if it is of that kind. */
static const fh_op *made_by(const check *c, const fh_view *v, fh_op_kind k) {
    const fh_op *o = &c->p->op[c->maker[v->value]];
    return o->kind == k ? o : NULL;
}

static fh_status check_experts(const check *c) {
    const fh_matrix *m = &c->p->matrix[c->o->matrix];
    const fh_op *g = made_by(c, &c->o->in[1], FH_OP_GROUP);
    NEED(g != NULL && g == made_by(c, &c->o->in[2], FH_OP_GROUP), "its lists are not of one group op");
    NEED(g->out[0].value == c->o->in[1].value && g->out[1].value == c->o->in[2].value, "its lists are exchanged");
    const fh_value *in = value_of(c, &c->o->in[0]), *out = value_of(c, &c->o->out[0]);
    const fh_value *list = value_of(c, &c->o->in[2]), *start = value_of(c, &c->o->in[1]);
    NEED(out->dim == list->dim && out->per == list->per, "it gives a row for each token and choice");
    NEED(in->dim == out->dim && (in->per == 1 || in->per == out->per), "its input has other rows");
    NEED(start->width - 1 == m->n_mat, "it has another number of experts than matrices");
    NEED(total(&c->o->in[0]) == m->in, "its input is not as wide as the matrices");
    NEED(total(&c->o->out[0]) == m->out, "its output is not as wide as the matrices are high");
    NEED(vec_is(c, 0, m->n_mat * m->out) && !has_vec(c, 1), "its bias has another length");
    return FH_OK;
}

static fh_status check_norm(const check *c) {
    const fh_view *in = &c->o->in[0];
    const fh_norm_args *a = &c->o->u.norm;
    uint64_t n = a->per_head ? total(in) : in->width;
    NEED(same_rows(c, in, &c->o->out[0]) && fits(&c->o->out[0], in->heads, in->width), "its output has another shape");
    NEED(vec_is(c, 0, n) && vec_is(c, 1, n), "its weights have another length");
    NEED(a->kind <= FH_NORM_L2 && is_real(a->eps) && a->eps >= 0, "its parameters are wrong");
    return FH_OK;
}

static fh_status check_add(const check *c) {
    const fh_view *a = &c->o->in[0], *b = &c->o->in[1], *out = &c->o->out[0];
    NEED(same_rows(c, a, out) && same_rows(c, b, out), "its operands have other rows");
    NEED(same_shape(a, b) && same_shape(a, out) && same_shape(b, out), "its operands have other shapes");
    NEED(is_real(c->o->u.add.scale), "its parameters are wrong");
    return FH_OK;
}

static bool map_is_right(const fh_map_args *a) {
    if (a->kind >= FH_MAP_COUNT || !is_real(a->c) || !is_real(a->limit)) return false;
    return (a->kind != FH_MAP_SOFTCAP && a->kind != FH_MAP_CLAMP && a->kind != FH_MAP_OAI_SWIGLU) || a->c > 0;
}

static fh_status check_map(const check *c) {
    const fh_view *in = &c->o->in[0], *out = &c->o->out[0];
    NEED(same_rows(c, in, out) && same_shape(in, out), "its output has another shape");
    NEED(map_is_right(&c->o->u.map) && c->o->u.map.kind != FH_MAP_OAI_SWIGLU, "its parameters are wrong");
    NEED(vec_is(c, 0, in->width) && !has_vec(c, 1), "its vector has another length");
    NEED(!has_vec(c, 0) || fits(out, in->heads, in->width), "its output has another shape");
    return FH_OK;
}

static fh_status check_glu(const check *c) {
    const fh_view *g = &c->o->in[0], *u = &c->o->in[1], *out = &c->o->out[0];
    NEED(same_rows(c, g, out) && same_rows(c, u, out), "its operands have other rows");
    NEED(map_is_right(&c->o->u.map), "its parameters are wrong");
    bool gate = total(g) != total(u); /* one number a head */
    NEED(!gate || (fits(g, u->heads, 1) && fits(out, u->heads, u->width)), "its gate has another shape");
    NEED(gate || (same_shape(g, u) && same_shape(g, out) && same_shape(u, out)), "its operands have other shapes");
    NEED(!gate || g->value != out->value || !overlap(g, out), "it writes where it reads");
    return FH_OK;
}

static fh_status check_rope(const check *c) {
    const fh_rope_args *a = &c->o->u.rope;
    NEED(a->rope < c->p->n_rope, "its rotation is not in the plan's list");
    const fh_rope *r = &c->p->rope[a->rope];
    NEED(r->layout <= FH_ROPE_SPLIT && r->n_rot >= 2 && r->n_rot % 2 == 0 && r->n_rot <= MAX_WIDTH && r->freq != NULL,
         "its rotation is wrong");
    NEED(is_real(r->magnitude) && (r->long_freq == NULL || is_real(r->long_magnitude)), "its rotation is wrong");
    NEED(r->layout != FH_ROPE_SPLIT || !a->inverse, "what is split cannot be turned back");
    NEED(of_tokens(c, &c->o->in[0]), "it turns rows of tokens");
    NEED(c->o->in[0].width == r->n_rot, "it turns another number of columns");
    NEED(c->o->in[0].heads == c->o->out[0].heads && same_place(&c->o->in[0], &c->o->out[0]), "it works in place");
    return FH_OK;
}

static fh_status check_store(const check *c) {
    const fh_state *s = &c->p->state[c->o->state];
    const fh_view *k = &c->o->in[0], *v = &c->o->in[1];
    NEED(s->kind != FH_STATE_RECURRENT, "its state has no rows");
    NEED(of_tokens(c, k) && fits(k, s->heads, s->k_width), "its keys have another shape than the state");
    NEED(is_absent(v) == (s->kind == FH_STATE_LATENT), "its values are absent, or the state has none");
    NEED(is_absent(v) || (of_tokens(c, v) && fits(v, s->heads, s->v_width)), "its values have another shape");
    NEED(!c->stored[c->o->state], "the state was stored before");
    return FH_OK;
}

static fh_status check_mask(const check *c) {
    const fh_attend_args *a = &c->o->u.attend;
    const fh_state *s = &c->p->state[c->o->state];
    uint32_t kept = c->p->group[s->group].window;
    NEED(a->mask <= FH_MASK_NONE, "its mask is of no known kind");
    bool windowed = a->mask == FH_MASK_SLIDING || a->mask == FH_MASK_SYMMETRIC || a->mask == FH_MASK_CHUNKED;
    NEED(!windowed || a->window >= 1, "its mask has no window");
    NEED(kept == 0 || (windowed && a->window <= kept), "it sees further than its state is kept");
    NEED(s->kind != FH_STATE_CROSS || a->mask == FH_MASK_NONE, "a decoder sees the whole encoder");
    return FH_OK;
}

static fh_status check_attend(const check *c) {
    const fh_attend_args *a = &c->o->u.attend;
    const fh_state *s = &c->p->state[c->o->state];
    const fh_view *q = &c->o->in[0], *out = &c->o->out[0];
    NEED(s->kind != FH_STATE_RECURRENT, "its state has no rows");
    NEED(s->kind == FH_STATE_CROSS || c->stored[c->o->state], "its state was not stored before");
    NEED(of_tokens(c, q) && of_tokens(c, out), "it takes and gives one row a token");
    uint64_t heads = total(q) / s->k_width;
    NEED(heads * s->k_width == total(q) && heads >= 1 && fits(q, (uint32_t)heads, s->k_width),
         "its queries are not as wide as the state's keys");
    NEED(heads % s->heads == 0, "its heads do not divide over the state's");
    NEED(fits(out, (uint32_t)heads, s->v_width), "its output has another shape");
    FH_TRY(check_mask(c));
    NEED(is_real(a->scale) && is_real(a->softcap) && a->softcap >= 0, "its parameters are wrong");
    NEED(vec_is(c, 0, heads), "its sinks are not one a head");
    NEED((a->buckets != 0) == has_vec(c, 1) && vec_is(c, 1, a->buckets * heads), "its bias has another length");
    if (a->buckets != 0) {
        uint32_t half = a->bidirectional ? a->buckets / 2 : a->buckets;
        NEED(s->kind != FH_STATE_CROSS, "a bias by distance needs rows of one sequence");
        NEED(half >= 2 && a->buckets % (a->bidirectional ? 4 : 2) == 0 && a->max_distance > half / 2,
             "its buckets do not fit its distance");
    }
    return FH_OK;
}

static fh_status check_route(const check *c) {
    const fh_route_args *a = &c->o->u.route;
    const fh_view *in = &c->o->in[0], *id = &c->o->out[0], *w = &c->o->out[1];
    NEED(same_rows(c, in, id) && same_rows(c, in, w) && value_of(c, in)->per == 1, "its outputs have other rows");
    NEED(a->n_expert >= 1 && a->n_expert <= MAX_EXPERT && total(in) == a->n_expert, "it has other scores than experts");
    NEED(a->k >= 1 && a->k <= a->n_expert && id->width == a->k && total(w) == a->k,
         "it gives another number of experts");
    NEED(a->gate <= FH_GATE_SIGMOID && a->group_rule <= FH_GROUP_TOP2 && is_real(a->scale), "its parameters are wrong");
    NEED(vec_is(c, 0, a->n_expert) && !has_vec(c, 1), "its vector has another length");
    if (a->group_rule == FH_GROUP_NONE) return FH_OK;
    NEED(a->n_group >= 1 && a->n_group_used >= 1 && a->n_group_used <= a->n_group && a->n_expert % a->n_group == 0,
         "its experts do not divide into groups");
    uint32_t size = a->n_expert / a->n_group;
    NEED(a->group_rule != FH_GROUP_TOP2 || size >= 2, "a group has no two experts");
    NEED(a->k <= size * a->n_group_used, "the groups that are left have too few experts");
    return FH_OK;
}

static fh_status check_group(const check *c) {
    const fh_op *r = made_by(c, &c->o->in[0], FH_OP_ROUTE);
    const fh_value *in = value_of(c, &c->o->in[0]);
    const fh_value *start = value_of(c, &c->o->out[0]), *list = value_of(c, &c->o->out[1]);
    NEED(r != NULL, "its input is not of a route op");
    NEED(start->dim == FH_DIM_ONE && start->per == 1 && start->width == r->u.route.n_expert + 1,
         "its first output is not one start an expert");
    NEED(list->dim == in->dim && list->per == in->width && list->width == 1, "its second output is no list of choices");
    return FH_OK;
}

static fh_status check_combine(const check *c) {
    const fh_value *in = value_of(c, &c->o->in[0]), *out = value_of(c, &c->o->out[0]);
    NEED(same_rows(c, &c->o->in[1], &c->o->out[0]) && out->per == 1, "its output has other rows");
    NEED(in->dim == out->dim && in->per == total(&c->o->in[1]), "it has other rows than weights");
    NEED(same_shape(&c->o->in[0], &c->o->out[0]), "its output has another shape");
    return FH_OK;
}

static fh_status check_conv(const check *c) {
    const fh_conv_args *a = &c->o->u.conv;
    const fh_state *s = &c->p->state[c->o->state];
    uint64_t n = total(&c->o->in[0]);
    NEED(of_tokens(c, &c->o->in[0]) && of_tokens(c, &c->o->out[0]), "it takes and gives one row a token");
    NEED(same_shape(&c->o->in[0], &c->o->out[0]), "its output has another shape");
    NEED(a->taps >= 1 && a->taps <= MAX_TAPS, "it has no taps, or too many");
    NEED(a->map < FH_MAP_SCALE, "its map needs a number");
    NEED(has_vec(c, 0) && vec_is(c, 0, n * a->taps) && vec_is(c, 1, n), "its weights have another length");
    NEED(s->kind == FH_STATE_RECURRENT && s->size == n * (a->taps - 1), "its state has another size");
    return FH_OK;
}

static fh_status check_decay(const check *c) {
    uint64_t n = total(&c->o->in[0]);
    NEED(same_rows(c, &c->o->in[0], &c->o->out[0]) && same_shape(&c->o->in[0], &c->o->out[0]),
         "its output has another shape");
    NEED(has_vec(c, 0) && vec_is(c, 0, n) && vec_is(c, 1, n), "its vectors have another length");
    return FH_OK;
}

static fh_status check_delta(const check *c) {
    const fh_view *q = &c->o->in[0], *k = &c->o->in[1], *v = &c->o->in[2];
    const fh_state *s = &c->p->state[c->o->state];
    for (int i = 0; i < 5; i++) NEED(of_tokens(c, &c->o->in[i]), "it takes one row a token");
    NEED(of_tokens(c, &c->o->out[0]), "it gives one row a token");
    NEED(fits(k, q->heads, q->width), "its keys have another shape than its queries");
    NEED(v->heads % q->heads == 0, "its heads do not divide over those of the keys");
    NEED(fits(&c->o->in[3], v->heads, 1) && fits(&c->o->in[4], v->heads, 1), "it takes one decay and one beta a head");
    NEED(fits(&c->o->out[0], v->heads, v->width), "its output has another shape");
    NEED(c->o->u.delta.map <= FH_HEADS_TILED, "its parameters are wrong");
    uint64_t n = 0;
    bool ok = fh_mul_u64(total(v), q->width, &n);
    NEED(ok && s->kind == FH_STATE_RECURRENT && s->size == n, "its state has another size");
    return FH_OK;
}

static fh_status check_op(const check *c) {
    switch (c->o->kind) {
    case FH_OP_EMBED: return check_embed(c);
    case FH_OP_ROWS: return check_rows(c);
    case FH_OP_MATMUL: return check_matmul(c);
    case FH_OP_MATMUL_HEADS: return check_matmul_heads(c);
    case FH_OP_MATMUL_EXPERTS: return check_experts(c);
    case FH_OP_NORM: return check_norm(c);
    case FH_OP_ADD: return check_add(c);
    case FH_OP_MAP: return check_map(c);
    case FH_OP_GLU: return check_glu(c);
    case FH_OP_ROPE: return check_rope(c);
    case FH_OP_STORE: return check_store(c);
    case FH_OP_ATTEND: return check_attend(c);
    case FH_OP_ROUTE: return check_route(c);
    case FH_OP_GROUP: return check_group(c);
    case FH_OP_COMBINE: return check_combine(c);
    case FH_OP_CONV: return check_conv(c);
    case FH_OP_DECAY: return check_decay(c);
    case FH_OP_DELTA: return check_delta(c);
    case FH_OP_COUNT: break;
    }
    return FH_OK;
}

static fh_status check_values(const fh_plan *p, fh_err *err) {
    for (uint32_t i = 0; i < p->n_value; i++) {
        const fh_value *v = &p->value[i];
        bool ok =
            v->dim < FH_DIM_COUNT && v->per >= 1 && v->width >= 1 && v->width <= MAX_WIDTH && v->per <= MAX_EXPERT;
        if (!ok) {
            return fh_fail(err, FH_ERR_FORMAT, "check plan '%.*s', value '%.*s' is empty or too wide",
                           FH_STR_ARG(p->name), FH_STR_ARG(v->name));
        }
    }
    return FH_OK;
}

static fh_status check_exports(const check *c) {
    for (int i = 0; i < FH_EXPORT_COUNT; i++) {
        uint32_t v = c->p->exported[i];
        if (v == FH_NO_VALUE) continue;
        if (v >= c->p->n_value || !c->written[v] || c->p->value[v].is_int || !c->p->value[v].keep) {
            return fh_fail(c->err, FH_ERR_FORMAT, "check plan '%.*s', it exports what it does not make",
                           FH_STR_ARG(c->p->name));
        }
    }
    return FH_OK;
}

fh_status fh_plan_check(const fh_plan *p, fh_err *err) {
    FH_TRY(check_values(p, err));
    check c = {.p = p, .err = err};
    fh_status status = FH_OK;
    c.written = fh_alloc_zero(p->n_value, 1);
    c.stored = fh_alloc_zero(p->n_state, 1);
    c.maker = fh_alloc_zero(p->n_value, sizeof *c.maker);
    if (c.written == NULL || c.stored == NULL || c.maker == NULL) {
        status = fh_fail_memory(err, p->n_value * 5u);
        goto out;
    }
    for (c.i = 0; c.i < p->n_op && status == FH_OK; c.i++) {
        c.o = &p->op[c.i];
        if (c.o->kind >= FH_OP_COUNT) {
            status = fh_fail(err, FH_ERR_FORMAT, "check plan '%.*s', op %u is none", FH_STR_ARG(p->name), c.i);
            break;
        }
        status = check_operands(&c);
        if (status == FH_OK) status = check_parts(&c);
        if (status == FH_OK) status = check_alias(&c);
        if (status == FH_OK) status = check_op(&c);
        if (status != FH_OK) break;
        for (int k = 0; k < SHAPE[c.o->kind].n_out; k++) {
            c.written[c.o->out[k].value] = 1;
            c.maker[c.o->out[k].value] = c.i;
        }
        if (c.o->kind == FH_OP_STORE) c.stored[c.o->state] = 1;
    }
    if (status == FH_OK) status = check_exports(&c);
out:
    fh_free(c.written);
    fh_free(c.stored);
    fh_free(c.maker);
    return status;
}
