/* cli/cmd_show_plan.c - freehold show --plan: what is computed for a token, what it costs, and what memory it takes.
 * SPDX-License-Identifier: Apache-2.0
 * Costs are those of one token behind --ctx others (fh_plan_cost), memory is what `freehold run` with these options
 * allocates for --ctx tokens (fh_engine_foretell): state to the byte, in whole pages. */
#include "base/json_member.h"
#include "base/num.h"
#include "cli/show_part.h"

#define MAX_OUTPUT ((size_t)1 << 30)

typedef struct plan_view {
    const fh_opened *x;
    uint64_t ctx;
    fh_engine_memory memory;
    uint32_t page;
    fh_op_cost sum;
    fh_buf line;
} plan_view;

static fh_op_cost cost_of(const plan_view *v, const fh_plan *p, uint32_t op) {
    const fh_extent one = {.size = {1, 1, 1}};
    return fh_plan_cost(p, op, &one, v->ctx - 1);
}

static void add_cost(fh_op_cost *sum, fh_op_cost c) {
    sum->weight_bytes += c.weight_bytes;
    sum->state_bytes += c.state_bytes;
    sum->value_bytes += c.value_bytes;
    sum->flops += c.flops;
}

static fh_op_cost sum_of(const plan_view *v, const fh_plan *p) {
    fh_op_cost sum = {0, 0, 0, 0};
    for (uint32_t i = 0; i < p->n_op; i++) add_cost(&sum, cost_of(v, p, i));
    return sum;
}

/* ---- text ---- */

static void text_op(plan_view *v, const fh_plan *p, uint32_t i, fh_buf *out) {
    char weights[32], state[32], flops[32];
    fh_op_cost c = cost_of(v, p, i);
    fh_buf_clear(&v->line);
    (void)!fh_plan_print_op(p, i, &v->line);
    fh_buf_printf(out, "  %4u  %10s  %10s  %9s  ", i, fh_cli_bytes(c.weight_bytes, weights, sizeof weights),
                  fh_cli_bytes(c.state_bytes, state, sizeof state), fh_cli_count(c.flops, flops, sizeof flops));
    fh_cli_add_safe(out, fh_buf_str(&v->line));
    fh_buf_add_byte(out, '\n');
}

static void text_plan(plan_view *v, const fh_plan *p, fh_buf *out) {
    char weights[32], state[32], flops[32];
    fh_op_cost sum = sum_of(v, p);
    fh_buf_printf(out, "\nPlan '%.*s': %u ops over %u values\n", FH_STR_ARG(p->name), p->n_op, p->n_value);
    fh_buf_printf(out, "  %4s  %10s  %10s  %9s\n", "op", "weights", "state", "operations");
    for (uint32_t i = 0; i < p->n_op; i++) text_op(v, p, i, out);
    fh_buf_printf(out, "  %4s  %10s  %10s  %9s  for one token with %llu before it\n", "sum",
                  fh_cli_bytes(sum.weight_bytes, weights, sizeof weights),
                  fh_cli_bytes(sum.state_bytes, state, sizeof state), fh_cli_count(sum.flops, flops, sizeof flops),
                  (unsigned long long)(v->ctx - 1));
}

static void text_memory(const plan_view *v, fh_buf *out) {
    const fh_plan *p = fh_model_plan(v->x->model, FH_PLAN_STEP);
    const fh_engine_memory *m = &v->memory;
    char n[32];
    fh_buf_printf(out, "\nMemory for %llu tokens of context\n", (unsigned long long)v->ctx);
    for (uint32_t g = 0; g < p->n_group && g < FH_MAX_GROUPS; g++) {
        if (!m->page_bytes[g]) continue;
        fh_buf_printf(out, "  state   %-9s", fh_state_kind_name(p->group[g].kind));
        if (p->group[g].window) fh_buf_printf(out, " window %u,", p->group[g].window);
        if (p->group[g].of_encoder && p->group[g].kind != FH_STATE_CROSS) fh_buf_add_z(out, " of the encoder,");
        fh_buf_printf(out, " %llu bytes a token, %llu pages of %llu bytes\n",
                      (unsigned long long)(m->page_bytes[g] / v->page), (unsigned long long)m->pages[g],
                      (unsigned long long)m->page_bytes[g]);
    }
    if (m->slot_bytes)
        fh_buf_printf(out, "  state   recurrent %llu bytes, whatever the length\n", (unsigned long long)m->slot_bytes);
    if (m->kv_fell_back) fh_buf_add_z(out, "  state   some rows are f16: the type's block does not divide them\n");
    fh_buf_printf(out, "  state   %llu bytes in all (%s)\n", (unsigned long long)m->state,
                  fh_cli_bytes(m->state, n, sizeof n));
    fh_buf_printf(out, "  scratch %llu bytes (%s), once\n", (unsigned long long)m->scratch,
                  fh_cli_bytes(m->scratch, n, sizeof n));
}

/* ---- JSON ---- */

static void put_cost(fh_json_writer *w, fh_op_cost c) {
    fh_put_u64(w, "weight_bytes", c.weight_bytes);
    fh_put_u64(w, "state_bytes", c.state_bytes);
    fh_put_u64(w, "value_bytes", c.value_bytes);
    fh_put_u64(w, "flops", c.flops);
}

static void json_plan(plan_view *v, const fh_plan *p, fh_json_writer *w) {
    fh_json_put_object(w);
    fh_json_put_key(w, "name");
    fh_json_put_str(w, p->name);
    fh_json_put_key(w, "ops");
    fh_json_put_array(w);
    for (uint32_t i = 0; i < p->n_op; i++) {
        fh_buf_clear(&v->line);
        (void)!fh_plan_print_op(p, i, &v->line);
        fh_json_put_object(w);
        fh_json_put_key(w, "op");
        fh_json_put_z(w, fh_op_name(p->op[i].kind));
        if (p->op[i].layer >= 0) fh_put_u64(w, "layer", (uint64_t)p->op[i].layer);
        fh_json_put_key(w, "text");
        fh_json_put_str(w, fh_buf_str(&v->line));
        put_cost(w, cost_of(v, p, i));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    put_cost(w, sum_of(v, p));
    fh_json_put_end(w);
}

static void json_memory(const plan_view *v, fh_json_writer *w) {
    const fh_plan *p = fh_model_plan(v->x->model, FH_PLAN_STEP);
    const fh_engine_memory *m = &v->memory;
    fh_json_put_key(w, "memory");
    fh_json_put_object(w);
    fh_put_u64(w, "context", v->ctx);
    fh_json_put_key(w, "groups");
    fh_json_put_array(w);
    for (uint32_t g = 0; g < p->n_group && g < FH_MAX_GROUPS; g++) {
        if (!m->page_bytes[g]) continue;
        fh_json_put_object(w);
        fh_json_put_key(w, "kind");
        fh_json_put_z(w, fh_state_kind_name(p->group[g].kind));
        fh_put_u64(w, "window", p->group[g].window);
        fh_put_u64(w, "bytes_per_token", m->page_bytes[g] / v->page);
        fh_put_u64(w, "page_bytes", m->page_bytes[g]);
        fh_put_u64(w, "pages", m->pages[g]);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_put_u64(w, "recurrent_bytes", m->slot_bytes);
    fh_put_u64(w, "state_bytes", m->state);
    fh_put_u64(w, "scratch_bytes", m->scratch);
    fh_json_put_key(w, "kv_fell_back");
    fh_json_put_bool(w, m->kv_fell_back);
    fh_json_put_end(w);
}

static void compose(const fh_cli *cli, plan_view *v, fh_buf *out) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    if (cli->json) {
        fh_json_put_object(&w);
        fh_json_put_key(&w, "plans");
        fh_json_put_array(&w);
    } else {
        fh_buf_printf(out, "%s\n", v->x->at.name);
    }
    for (int k = FH_PLAN_COUNT - 1; k >= 0; k--) {
        const fh_plan *p = fh_model_plan(v->x->model, (fh_model_plan_kind)k);
        if (p && cli->json) json_plan(v, p, &w);
        else if (p) text_plan(v, p, out);
    }
    if (cli->json) {
        fh_json_put_end(&w);
        json_memory(v, &w);
        fh_json_put_end(&w);
        fh_buf_add_byte(out, '\n');
    } else {
        text_memory(v, out);
    }
}

static fh_status look(plan_view *v, fh_opened *x, const fh_cli *cli, const char *model, const fh_model_options *o,
                      fh_err *err) {
    FH_TRY(fh_opened_load(x, cli, model, o, err));
    FH_TRY(fh_opened_start(x, o, 1, false, err));
    uint64_t context = fh_model_spec(x->model)->n_context;
    v->ctx = o->ctx ? o->ctx : context ? context : 4096;
    if (v->ctx > UINT32_MAX) return fh_fail(err, FH_ERR_USAGE, "--ctx is too large");
    v->page = o->page ? (uint32_t)o->page : 32;
    bool both = fh_model_plan(x->model, FH_PLAN_ENCODE) != NULL;
    v->memory = fh_engine_foretell(x->engine, (uint32_t)v->ctx, both ? (uint32_t)v->ctx : 0);
    return FH_OK;
}

int fh_show_plan(const fh_cli *cli, const char *model, const fh_model_options *o) {
    fh_err err = {0};
    fh_opened x = {0};
    plan_view v = {.x = &x};
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_buf_init(&v.line, 1u << 20);
    fh_status s = look(&v, &x, cli, model, o, &err);
    if (s == FH_OK) compose(cli, &v, &out);
    int rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, &err);
    fh_buf_release(&v.line);
    fh_buf_release(&out);
    fh_opened_close(&x);
    return rc;
}
