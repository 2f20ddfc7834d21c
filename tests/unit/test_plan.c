/* tests/unit/test_plan.c - building, checking, laying out, printing and pricing plans.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/rng.h"
#include "device/batch.h"
#include "test.h"

/* A plan with one of most things, and tables for it. */
typedef struct sheet {
    fh_arena arena;
    fh_plan_builder *b;
    fh_tensor tensor;
    fh_weight weight;
    const fh_weight *one;
    fh_matrix matrix[4];
    float numbers[64];
    fh_vector vector[3];
    fh_state state[2];
    fh_state_group group[1];
    fh_plan tables, plan;
    fh_view x, q, k, v, o, y, r;
    fh_rope rope;
} sheet;

enum { ATTEND_OP = 6, LOGITS_OP = 9 };

static fh_op *op(sheet *s, fh_op_kind kind, fh_view in, fh_view out) {
    fh_op *o = fh_plan_add_op(s->b, kind, 3);
    if (o == NULL) return NULL;
    o->in[0] = in;
    o->out[0] = out;
    return o;
}

static void build(sheet *s) {
    fh_op *o;
    s->x = fh_plan_value(s->b, FH_DIM_TOKENS, 1, 8, "x");
    s->q = fh_plan_value(s->b, FH_DIM_TOKENS, 1, 16, "layers.%u.qkv", 3u);
    s->o = fh_plan_value(s->b, FH_DIM_TOKENS, 1, 8, "layers.%u.out", 3u);
    s->y = fh_plan_value(s->b, FH_DIM_TOKENS, 1, 8, "y");
    s->r = fh_plan_value(s->b, FH_DIM_ROWS, 1, 8, "rows");
    fh_view logits = fh_plan_value(s->b, FH_DIM_ROWS, 1, 12, "logits");
    s->k = fh_view_cols(s->q, 8, 4);
    s->v = fh_view_cols(s->q, 12, 4);
    fh_view q = fh_view_heads(fh_view_cols(s->q, 0, 8), 2, 4, 4);
    if ((o = fh_plan_add_op(s->b, FH_OP_EMBED, -1)) != NULL) {
        o->out[0] = s->x;
        o->matrix = 0;
        o->u.embed.scale = 1;
    }
    if ((o = op(s, FH_OP_NORM, s->x, s->y)) != NULL) {
        o->vec[0] = 0;
        o->u.norm.eps = 1e-5f;
    }
    if ((o = op(s, FH_OP_MATMUL, s->y, s->q)) != NULL) o->matrix = 1;
    const uint32_t r = fh_plan_add_rope(s->b, &s->rope);
    if ((o = op(s, FH_OP_ROPE, q, q)) != NULL) o->u.rope.rope = r;
    if ((o = op(s, FH_OP_ROPE, s->k, s->k)) != NULL) o->u.rope.rope = fh_plan_add_rope(s->b, &s->rope);
    if ((o = fh_plan_add_op(s->b, FH_OP_STORE, 3)) != NULL) {
        o->in[0] = s->k;
        o->in[1] = s->v;
        o->state = 0;
    }
    if ((o = op(s, FH_OP_ATTEND, q, s->o)) != NULL) {
        o->state = 0;
        o->vec[0] = 1;
        o->u.attend = (fh_attend_args){.mask = FH_MASK_CAUSAL, .scale = 0.5f};
    }
    if ((o = op(s, FH_OP_ADD, s->x, s->x)) != NULL) {
        o->in[1] = s->o;
        o->u.add.scale = 1;
    }
    op(s, FH_OP_ROWS, s->x, s->r);
    if ((o = op(s, FH_OP_MATMUL, s->r, logits)) != NULL) o->matrix = 0;
    fh_plan_export(s->b, FH_EXPORT_LOGITS, logits);
}

static fh_status make(sheet *s, fh_err *err) {
    memset(s, 0, sizeof *s);
    fh_arena_init(&s->arena, 1 << 20);
    static const uint8_t bytes[40 * 8 * 4];
    s->tensor = (fh_tensor){FH_STR("t"), FH_DTYPE_F32, {2, {40, 8}}, {bytes, sizeof bytes}, 0, 0};
    s->weight = (fh_weight){.name = FH_STR("w"), .shape = {2, {40, 8}}, .codes = &s->tensor};
    s->one = &s->weight;
    s->matrix[0] = (fh_matrix){FH_STR("embed"), &s->one, 1, 1, 12, 8, 28, 0, 1, 0, false};
    s->matrix[1] = (fh_matrix){FH_STR("qkv"), &s->one, 1, 1, 16, 8, 0, 0, 1, 0, false};
    s->matrix[2] = (fh_matrix){FH_STR("stack"), &s->one, 1, 5, 8, 8, 0, 8, 1, 0, false};
    s->vector[0] = (fh_vector){FH_STR("norm"), s->numbers, 8};
    s->vector[1] = (fh_vector){FH_STR("sinks"), s->numbers, 2};
    s->vector[2] = (fh_vector){FH_STR("long"), s->numbers, 64};
    s->state[0] = (fh_state){.name = FH_STR("layers.3.kv"), .heads = 1, .k_width = 4, .v_width = 4};
    s->state[1] = (fh_state){.name = FH_STR("rec"), .kind = FH_STATE_RECURRENT, .size = 24};
    s->group[0] = (fh_state_group){.kind = FH_STATE_KV};
    s->rope = (fh_rope){.layout = FH_ROPE_HALVES, .n_rot = 4, .freq = s->numbers, .magnitude = 1};
    s->tables = (fh_plan){.matrix = s->matrix,
                          .vector = s->vector,
                          .state = s->state,
                          .group = s->group,
                          .n_matrix = 3,
                          .n_vector = 3,
                          .n_state = 2,
                          .n_group = 1};
    fh_status st = fh_plan_begin(&s->b, &s->arena, FH_STR("step"), err);
    if (st != FH_OK) return st;
    build(s);
    return fh_plan_end(s->b, &s->tables, &s->plan, err);
}

static void drop(sheet *s) {
    fh_plan_drop(s->b);
    fh_arena_release(&s->arena);
}

TEST(plan, builds_and_prints) {
    sheet s;
    fh_err err = {0};
    CHECK_OK(make(&s, &err), err);
    CHECK_U64(s.plan.n_op, 10);
    CHECK_U64(s.plan.n_rope, 1); /* the same one twice */
    CHECK(!s.plan.whole_sequences && s.plan.value[s.y.value].first_op == 1 && s.plan.value[s.y.value].last_op == 2);
    fh_buf out;
    fh_buf_init(&out, 4096);
    CHECK_OK(fh_plan_print_op(&s.plan, ATTEND_OP, &out), err);
    CHECK_STR(fh_buf_str(&out),
              "attend layers.3.out = layers.3.qkv [2 x 4 at 0 step 4], sinks, layers.3.kv, causal, scale 0.5");
    fh_buf_clear(&out);
    CHECK_OK(fh_plan_print_op(&s.plan, 5, &out), err);
    CHECK_STR(fh_buf_str(&out), "store layers.3.qkv [4 at 8], layers.3.qkv [4 at 12], layers.3.kv");
    fh_buf_clear(&out);
    CHECK_OK(fh_plan_print_op(&s.plan, LOGITS_OP, &out), err);
    CHECK_STR(fh_buf_str(&out), "matmul logits = embed, rows");
    fh_buf_release(&out);
    drop(&s);
}

TEST(plan, prices) {
    sheet s;
    fh_err err = {0};
    CHECK_OK(make(&s, &err), err);
    const fh_extent e = {{1, 10, 2}};
    fh_op_cost c = fh_plan_cost(&s.plan, 2, &e, 100);
    CHECK_U64(c.weight_bytes, 16 * 8 * 4);
    CHECK_U64(c.flops, 2 * 10 * 16 * 8);
    CHECK_U64(c.value_bytes, 10 * (8 + 16) * 4);
    c = fh_plan_cost(&s.plan, LOGITS_OP, &e, 100);
    CHECK_U64(c.weight_bytes, 12 * 8 * 4);
    CHECK_U64(c.flops, 2 * 2 * 12 * 8);
    c = fh_plan_cost(&s.plan, ATTEND_OP, &e, 100);
    CHECK_U64(c.state_bytes, 10 * 101 * 8 * 2);
    CHECK_U64(c.flops, 2 * 10 * 101 * 2 * 8);
    drop(&s);
}

/* One change each that must not pass. */
static void spoil(sheet *s, fh_plan *p, fh_op *o, fh_value *v, int n) {
    switch (n) {
    case 0: o[0].out[0].width = 9; break;                         /* past the value */
    case 1: o[0].matrix = 7; break;                               /* no such matrix */
    case 2: o[0].matrix = 2; break;                               /* a stack */
    case 3: o[1].in[0].value = FH_NO_VALUE; break;                /* absent */
    case 4: o[1].in[1] = s->x; break;                             /* one too many */
    case 5: o[1].in[0].value = 99; break;                         /* no such value */
    case 6: o[1].in[0].value = s->o.value; break;                 /* not written yet */
    case 7: o[1].vec[0] = 2; break;                               /* of another length */
    case 8: o[1].vec[0] = 3; break;                               /* no such vector */
    case 9: o[2].matrix = FH_NO_ID; break;                        /* absent */
    case 10: o[1].matrix = 0; break;                              /* superfluous */
    case 11: o[2].in[0].width = 7; break;                         /* narrower than the matrix */
    case 12: o[2].out[0].heads = 5; break;                        /* past the value */
    case 13: o[3].u.rope.rope = 1; break;                         /* not in the list */
    case 14: o[3].out[0] = s->k; break;                           /* not in place */
    case 15: o[3].in[0].width = o[3].out[0].width = 3; break;     /* not what turns */
    case 16: o[5].in[1].value = FH_NO_VALUE; break;               /* no values */
    case 17: o[5].state = 1; break;                               /* has no rows */
    case 18: o[5].in[0].width = 3; break;                         /* narrower keys */
    case 19: o[ATTEND_OP].in[0].heads = 1; break;                 /* sinks are two, and the output is */
    case 20: o[ATTEND_OP].state = FH_NO_ID; break;                /* absent */
    case 21: o[ATTEND_OP].u.attend.mask = FH_MASK_SLIDING; break; /* without a window */
    case 22: o[ATTEND_OP].u.attend.buckets = 8; break;            /* without a bias */
    case 23: o[ATTEND_OP].out[0] = o[ATTEND_OP].in[0]; break;     /* writes where it reads */
    case 24: o[5] = o[1]; break;                                  /* nothing was stored */
    case 25: o[7].in[1] = fh_view_cols(s->o, 0, 7); break;        /* another width */
    case 26: o[8].in[0] = s->r; break;                            /* rows of rows */
    case 27: v[s->y.value].dim = FH_DIM_ONE; break;               /* other rows */
    case 28: v[s->y.value].is_int = true; break;                  /* another type */
    case 29: v[s->y.value].per = 0; break;                        /* empty */
    case 30: s->matrix[1].first = 25; break;                      /* past the weight */
    case 31: s->matrix[1].transposed = true; break;               /* other columns */
    case 32: s->matrix[0].step = 0; break;
    case 33: s->group[0].window = 4; break;            /* a causal mask sees further */
    case 34: p->exported[FH_EXPORT_SCORE] = 77; break; /* no such value */
    case 35: o[0].kind = FH_OP_COUNT; break;
    case 36: s->matrix[1].n_weight = 0; break;
    case 37:
        o[7].in[0] = fh_view_cols(s->x, 0, 8);
        o[7].out[0] = s->x;
        o[7].in[0].col = 1;
        o[7].in[0].width = 7;
        break;
    case 38: o[1].u.norm.eps = -1; break;
    case 39: o[0].u.embed.offset = 12; break;
    default: break;
    }
}

TEST(plan, refuses_what_cannot_be_run) {
    for (int n = 0; n <= 40; n++) {
        sheet s;
        fh_err err = {0};
        CHECK_OK(make(&s, &err), err);
        fh_op ops[16];
        fh_value values[16];
        memcpy(ops, s.plan.op, s.plan.n_op * sizeof *ops);
        memcpy(values, s.plan.value, s.plan.n_value * sizeof *values);
        s.plan.op = ops;
        s.plan.value = values;
        spoil(&s, &s.plan, ops, values, n);
        const fh_status st = fh_plan_check(&s.plan, &err);
        if (st != (n < 40 ? FH_ERR_FORMAT : FH_OK))
            fh_test_fail(__FILE__, __LINE__, "case %d gives %s", n, fh_status_name(st));
        drop(&s);
    }
}

TEST(plan, views_cut_wrongly_are_found) {
    const fh_view v = {3, 2, 1, 10, 10}, none = {FH_NO_VALUE, 0, 0, 0, 0};
    CHECK(fh_view_cols(v, 5, 5).value == 3 && fh_view_cols(v, 5, 5).col == 7);
    CHECK(fh_view_cols(v, 6, 5).value != 3 && fh_view_cols(v, 6, 5).value != FH_NO_VALUE);
    CHECK(fh_view_heads(v, 2, 4, 6).value == 3 && fh_view_heads(v, 2, 5, 6).value != 3);
    CHECK(fh_view_heads(fh_view_heads(v, 2, 4, 6), 2, 2, 2).value != 3);
    CHECK(fh_view_cols(none, 5, 5).value == FH_NO_VALUE);
    fh_view w = fh_view_heads(v, 2, 4, 6);
    CHECK(!fh_view_is_dense(w) && !fh_view_reshape(&w, 1, 8) && fh_view_reshape(&w, 2, 4));
    w = v;
    CHECK(fh_view_reshape(&w, 5, 2) && w.stride == 2 && !fh_view_reshape(&w, 3, 3));
}

/* Random plans of maps: values that live at the same time never share memory; reuse pays; kept values stay. */
TEST(plan, layout_never_overlaps) {
    for (uint64_t round = 0; round < 40 * fh_test_times(); round++) {
        fh_rng r;
        fh_rng_init(&r, fh_test_seed(), round);
        fh_arena arena;
        fh_plan_builder *b;
        fh_plan plan, tables = {0};
        fh_err err = {0};
        fh_view v[60];
        const uint32_t n = 10 + (uint32_t)fh_rng_below(&r, 50);
        float table[1] = {0};
        fh_tensor t = {FH_STR("t"), FH_DTYPE_F32, {2, {1, 1}}, {(const uint8_t *)table, 4}, 0, 0};
        fh_weight w = {.name = FH_STR("w"), .shape = {2, {1, 1}}, .codes = &t};
        const fh_weight *one = &w;
        fh_matrix m = {FH_STR("m"), &one, 1, 1, 1, 1, 0, 0, 1, 0, false};
        tables.matrix = &m;
        tables.n_matrix = 1;
        fh_arena_init(&arena, 1 << 22);
        CHECK_OK(fh_plan_begin(&b, &arena, FH_STR("random"), &err), err);
        for (uint32_t i = 0; i < n; i++) {
            v[i] = fh_plan_value(b, FH_DIM_TOKENS, 1, 1 + (uint32_t)fh_rng_below(&r, 300), "v%u", i);
            fh_op *o = fh_plan_add_op(b, i == 0 ? FH_OP_EMBED : FH_OP_MAP, 0);
            CHECK(o != NULL);
            o->out[0] = i == 0 ? fh_view_cols(v[i], 0, 1) : fh_view_cols(v[i], 0, 1);
            if (i == 0) o->matrix = 0;
            if (i > 0) o->in[0] = fh_view_cols(v[i - 1 - fh_rng_below(&r, FH_MIN(i, 8))], 0, 1);
        }
        fh_plan_export(b, FH_EXPORT_HIDDEN, v[3]);
        CHECK_OK(fh_plan_end(b, &tables, &plan, &err), err);
        uint64_t at[60], all_at[60], bytes, all_bytes, sum = 0;
        const fh_extent e = {{1, 1 + fh_rng_below(&r, 30), 0}};
        CHECK_OK(fh_plan_layout(&plan, &e, false, at, &bytes, &err), err);
        CHECK_OK(fh_plan_layout(&plan, &e, true, all_at, &all_bytes, &err), err);
        for (uint32_t i = 0; i < n; i++) {
            const uint64_t size = fh_value_rows(&plan.value[i], &e) * plan.value[i].width * 4;
            CHECK(at[i] % 64 == 0 && at[i] + size <= bytes && all_at[i] + size <= all_bytes);
            sum += (size + 63) / 64 * 64;
            for (uint32_t j = 0; j < i; j++) {
                const fh_value *x = &plan.value[j], *y = &plan.value[i]; /* x is written first */
                const uint64_t x_size = fh_value_rows(x, &e) * x->width * 4;
                const bool together = y->first_op <= (x->keep ? UINT32_MAX : x->last_op);
                CHECK(!together || at[j] + x_size <= at[i] || at[i] + size <= at[j]);
                CHECK(all_at[j] + x_size <= all_at[i] || all_at[i] + size <= all_at[j]);
            }
        }
        CHECK_U64(all_bytes, sum);
        CHECK(bytes < sum);
        const fh_extent huge = {{1, UINT64_MAX / 16, 0}};
        CHECK_STATUS(fh_plan_layout(&plan, &huge, false, at, &bytes, &err), FH_ERR_LIMIT);
        fh_plan_drop(b);
        fh_arena_release(&arena);
    }
}

TEST(plan, state_layout) {
    sheet s;
    fh_err err = {0};
    CHECK_OK(make(&s, &err), err);
    fh_state st[4] = {
        {.name = FH_STR("a"), .heads = 2, .k_width = 64, .v_width = 40, .group = 0},
        {.name = FH_STR("b"), .kind = FH_STATE_LATENT, .heads = 1, .k_width = 96, .v_width = 64, .group = 1},
        {.name = FH_STR("c"), .kind = FH_STATE_RECURRENT, .size = 10},
        {.name = FH_STR("d"), .kind = FH_STATE_RECURRENT, .size = 16},
    };
    fh_plan t = s.plan;
    t.state = st;
    t.n_state = 4;
    t.n_group = 2;
    fh_state_place place[4];
    fh_state_layout lay;
    bool fell;
    CHECK_OK(fh_state_layout_make(&t, 16, FH_DTYPE_Q8_0, place, &lay, &fell, &err), err);
    CHECK(fell && place[0].k_type == FH_DTYPE_Q8_0 && place[0].v_type == FH_DTYPE_F16 &&
          place[1].k_type == FH_DTYPE_Q8_0);
    CHECK(place[0].k_bytes == 68 && place[0].v_bytes == 80 && place[0].v_at == 2 * 16 * 68);
    CHECK_U64(lay.page_bytes[0], 2 * 16 * (68 + 80));
    CHECK_U64(lay.page_bytes[1], 16 * 102 / 64 * 64 + 64 * (16 * 102 % 64 != 0));
    CHECK(lay.slot_floats == 32 && place[3].k_at == 16);
    CHECK_OK(fh_state_layout_make(&t, 32, FH_DTYPE_BF16, place, &lay, &fell, &err), err);
    CHECK(!fell && place[0].v_type == FH_DTYPE_BF16);
    CHECK_STATUS(fh_state_layout_make(&t, 24, FH_DTYPE_F16, place, &lay, &fell, &err), FH_ERR_USAGE);
    CHECK_STATUS(fh_state_layout_make(&t, 32, FH_DTYPE_Q4_K, place, &lay, &fell, &err), FH_ERR_USAGE);
    st[0].group = FH_MAX_GROUPS;
    CHECK_STATUS(fh_state_layout_make(&t, 32, FH_DTYPE_F16, place, &lay, &fell, &err), FH_ERR_LIMIT);
    drop(&s);
}

#ifdef FH_TEST_BUILD
TEST(plan, lack_of_memory_is_told) {
    uint64_t n = 0;
    for (n = 1; n < 100; n++) {
        sheet s;
        fh_err err = {0};
        fh_fault_arm(FH_FAULT_ALLOC, n, false);
        const fh_status st = make(&s, &err);
        const bool hit = fh_fault_calls(FH_FAULT_ALLOC) >= n;
        fh_fault_disarm();
        drop(&s);
        if (!hit) break;
        CHECK_STATUS(st, FH_ERR_MEMORY);
    }
    CHECK(n > 5 && n < 100);
}
#endif
