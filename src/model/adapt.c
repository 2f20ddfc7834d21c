/* model/adapt.c - see adapt.h. Names to places, pairs to operands.
 * SPDX-License-Identifier: Apache-2.0
 * A pair W' = W + s B A is written for the tensor that the adapter's kind of file holds; a matrix of the plan reads
 * rows of that tensor, perhaps turned round, perhaps in another order. Each matrix gets b with its own rows and a with
 * its own columns; where it reads the tensor turned round, the two change places. Magnitudes (DoRA) scale rows of the
 * tensor: rows of the product as a factor for each, or, where they are its columns, in a copy of the matrix.
 * Refuses what has no place; whoever sizes a buffer here has checked the adapter's shapes against the matrix. */
#include "model/adapt.h"

#include <math.h>
#include <stdatomic.h>

#include "kernel/decode.h"
#include "kernel/matrix_decode.h"
#include "model/adapt_part.h"

#define ARENA_MOST ((size_t)64 << 30)
#define PLACES_MOST 16

struct fh_adaption {
    fh_arena arena;
    fh_adapter_set set;
};

/* ---- where a matrix of the plan lies in a tensor of the adapter's form ---- */

static bool is_layer(const fh_adapt *j, const fh_slot_place *p, const fh_bound *at) {
    if (at->stack != p->stack) return false;
    if (!p->every_layer) return at->layer == p->layer;
    fh_str mine = fh_bind_file_name(j->bind, at->stack, at->slot, at->layer, 0);
    return fh_str_eq(mine, fh_bind_file_name(j->bind, at->stack, at->slot, 0, 0));
}

/* Latent attention: the key part of kv_b is read turned round, the value part is not. */
static bool joined(const fh_adapt *j, const fh_slot_place *p, uint32_t id, fh_cut *c) {
    const fh_bound *at = &j->bind->matrix_of[id];
    bool is_k = at->slot == FH_SLOT_LATENT_K_B || (at->slot == FH_SLOT_LATENT_KV_B && j->tables->matrix[id].transposed);
    if (p->slot == FH_SLOT_LATENT_K_B || p->slot == FH_SLOT_LATENT_V_B) return is_k == (p->slot == FH_SLOT_LATENT_K_B);
    const fh_layer *l = &j->spec->layer[at->layer];
    uint64_t nope = l->k_width - j->spec->rope_width;
    c->rows = nope + l->v_width;
    c->cols = j->spec->kv_rank;
    c->first = is_k ? 0 : nope;
    c->transposed = is_k;
    return true;
}

bool fh_adapt_cut(const fh_adapt *j, const fh_slot_place *p, uint32_t id, fh_cut *out) {
    const fh_bound *at = &j->bind->matrix_of[id];
    const fh_matrix *m = &j->tables->matrix[id];
    fh_cut c = {.rows = m->out, .cols = m->in, .step = 1, .n_mat = m->n_mat};
    if (!is_layer(j, p, at)) return false;
    bool latent = p->slot >= FH_SLOT_LATENT_KV_B && p->slot <= FH_SLOT_LATENT_V_B;
    if (latent && at->slot >= FH_SLOT_LATENT_KV_B && at->slot <= FH_SLOT_LATENT_V_B) {
        if (!joined(j, p, id, &c)) return false;
    } else if (at->slot == FH_SLOT_TOKENS && !j->looked_up[id]) {
        if (p->slot != FH_SLOT_HEAD) return false; /* a tied head: what changes the table leaves it as it is */
    } else if (at->slot != p->slot) {
        return false;
    } else {
        const fh_name *own = fh_slot_row(j->spec->family, p->stack, p->slot);
        fh_part part = own && !j->gguf ? own->part : FH_PART_WHOLE;
        if (part != FH_PART_WHOLE) c.rows = 2 * m->out;
        if (part == FH_PART_EVEN || part == FH_PART_ODD) c.step = 2;
        c.first = part == FH_PART_ODD ? 1 : part == FH_PART_SECOND_HALF ? m->out : 0;
    }
    c.stride = c.rows;
    c.other_form = j->gguf != j->spec->gguf && fh_form_moves(j->spec, at->slot);
    *out = c;
    return true;
}

uint64_t fh_cut_row(const fh_adapt *j, uint32_t id, const fh_cut *c, uint32_t m, uint64_t r) {
    const fh_bound *at = &j->bind->matrix_of[id];
    if (c->other_form) r = fh_form_row(j->spec, at->slot, at->layer, j->spec->gguf, r);
    return c->first + m * c->stride + r * (c->transposed ? 1 : c->step);
}

static uint64_t cut_col(const fh_adapt *j, uint32_t id, const fh_cut *c, uint64_t i) {
    return c->other_form ? fh_form_col(j->spec, j->bind->matrix_of[id].slot, j->spec->gguf, i) : i;
}

/* ---- pairs ---- */

/* One adapter's pair, widened: w [rows, cols] += s b a, rows of all matrices together. */
typedef struct pair {
    const fh_adapter_pair *of;
    float *a, *b; /* a [n, r, cols]; b [n, rows, r] */
    uint64_t n, rows, cols;
    uint32_t r;
    float *magnitude, *bias;
    uint64_t n_magnitude;
    float scale;
} pair;

static fh_status widen(const fh_tensor *t, float **out, fh_err *err) {
    uint64_t n = 0;
    if (!t) return FH_OK;
    if (!fh_shape_count(&t->shape, &n)) return fh_fail(err, FH_ERR_FORMAT, "too many elements");
    *out = fh_alloc((size_t)n, sizeof(float));
    if (!*out) return fh_fail_memory(err, (size_t)n * sizeof(float));
    fh_decode(t->dtype, t->data.ptr, *out, (size_t)n);
    return FH_OK;
}

static float *turn_round(const float *v, uint64_t rows, uint64_t cols) {
    float *out = fh_alloc((size_t)(rows * cols), sizeof *out);
    for (uint64_t r = 0; out && r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) out[c * rows + r] = v[r * cols + c];
    return out;
}

/* A looked-up table is [vocabulary, width]: its rows come from the adapter's a, its columns from b. */
static fh_status turn_table(pair *p, fh_err *err) {
    uint64_t vocab = p->cols, width = p->rows;
    float *b = p->of->a_transposed ? p->a : turn_round(p->a, p->r, vocab), *a = turn_round(p->b, width, p->r);
    if (b != p->a) fh_free(p->a);
    fh_free(p->b);
    p->a = a;
    p->b = b;
    p->rows = vocab;
    p->cols = width;
    return a && b ? FH_OK : fh_fail_memory(err, (size_t)(vocab * p->r) * sizeof(float));
}

static fh_status open_pair(const fh_adapt *j, const fh_adapter_pair *of, pair *p, fh_err *err) {
    const fh_shape *a = &of->a->shape, *b = &of->b->shape;
    *p = (pair){.of = of, .n = a->n_dim == 3 ? a->dim[0] : 1, .r = (uint32_t)of->r, .scale = of->scale * j->scale};
    p->rows = b->dim[b->n_dim - 2];
    p->cols = a->dim[a->n_dim - (of->a_transposed ? 2 : 1)];
    FH_TRY(widen(of->a, &p->a, err));
    FH_TRY(widen(of->b, &p->b, err));
    FH_TRY(widen(of->magnitude, &p->magnitude, err));
    FH_TRY(widen(of->b_bias, &p->bias, err));
    if (of->magnitude) p->n_magnitude = of->embedding ? p->rows : p->n * p->rows;
    return of->embedding ? turn_table(p, err) : FH_OK;
}

static void close_pair(pair *p) {
    fh_free(p->a);
    fh_free(p->b);
    fh_free(p->magnitude);
    fh_free(p->bias);
}

static fh_status misfit(const fh_adapt *j, const pair *p, const fh_matrix *m, fh_err *err) {
    (void)j;
    return fh_fail(err, FH_ERR_FORMAT,
                   "adapter of '%.*s' is for %llu x [%llu, %llu], which is not what this model has as %.*s",
                   FH_STR_ARG(p->of->module), (unsigned long long)p->n, (unsigned long long)p->rows,
                   (unsigned long long)p->cols, FH_STR_ARG(m->name));
}

/* The operand of this adapter at a matrix; made when it is first asked for. Experts come one by one: the largest rank
 * of the adapter has room, unused ranks stay 0. */
static fh_status operand(fh_adapt *j, uint32_t id, const pair *p, bool by_expert, fh_operand *out, fh_err *err) {
    fh_adapted *ad = &j->matrix[id];
    const fh_matrix *m = &j->tables->matrix[id];
    if (!j->lora[id]) {
        j->lora[id] = fh_arena_alloc(j->arena, j->n_use, sizeof(fh_lora));
        j->room[id] = fh_arena_alloc(j->arena, 1, sizeof(fh_operand));
        if (!j->lora[id] || !j->room[id]) return fh_arena_fail(j->arena, err);
        ad->lora = j->lora[id];
    }
    fh_operand *o = j->room[id];
    if (j->last[id] == j->use + 1) {
        if (!by_expert)
            return fh_fail(err, FH_ERR_FORMAT, "adapter module '%.*s' is there twice", FH_STR_ARG(p->of->module));
        *out = *o;
        return FH_OK;
    }
    uint32_t r = by_expert ? j->r_most : p->r;
    *o = (fh_operand){.lora = &j->lora[id][ad->n_lora]};
    o->a = fh_arena_alloc(j->arena, (size_t)m->n_mat * r, (size_t)m->in * sizeof(float));
    o->b = fh_arena_alloc(j->arena, (size_t)m->n_mat * m->out, r * sizeof(float));
    if (p->magnitude) o->row_scale = fh_arena_alloc(j->arena, (size_t)m->n_mat * m->out, sizeof(float));
    if (j->arena->status != FH_OK) return fh_arena_fail(j->arena, err);
    for (uint64_t i = 0; p->magnitude && i < (uint64_t)m->n_mat * m->out; i++) o->row_scale[i] = 1;
    *o->lora = (fh_lora){.a = o->a, .b = o->b, .r = r, .scale = p->scale != 0 ? p->scale : 1};
    if (p->magnitude) o->lora->row_scale = o->row_scale;
    ad->n_lora++;
    j->last[id] = j->use + 1;
    *out = *o;
    return FH_OK;
}

/* Fills one matrix of an operand. */
static void fill(const fh_adapt *j, uint32_t id, const fh_cut *c, const pair *p, uint32_t m, const fh_operand *to) {
    const fh_matrix *x = &j->tables->matrix[id];
    uint32_t r = to->lora->r, in_b = p->n > 1 || c->alone ? 0 : m;
    float *a = to->a + (uint64_t)m * r * x->in, *b = to->b + (uint64_t)m * x->out * r;
    float by = p->scale == to->lora->scale ? 1 : p->scale / to->lora->scale;
    const float *pa = p->a + (p->n > 1 ? m * p->r * p->cols : 0), *pb = p->b + (p->n > 1 ? m * p->rows * p->r : 0);
    for (uint64_t o = 0; o < x->out; o++)
        for (uint32_t k = 0; k < p->r; k++) {
            float v = c->transposed ? pa[k * p->cols + o] : pb[fh_cut_row(j, id, c, in_b, o) * p->r + k];
            b[o * r + k] = by == 1 ? v : by * v;
        }
    for (uint32_t k = 0; k < p->r; k++)
        for (uint64_t i = 0; i < x->in; i++)
            a[k * x->in + i] =
                c->transposed ? pb[fh_cut_row(j, id, c, in_b, i) * p->r + k] : pa[k * p->cols + cut_col(j, id, c, i)];
}

/* What a product multiplies with before this adapter: the model's matrix, or what this adapter puts in its place. */
static const fh_matrix *current(const fh_adapt *j, uint32_t id) {
    return j->matrix[id].instead ? j->matrix[id].instead : &j->tables->matrix[id];
}

/* w[o, :] of matrix m plus s b a; row buffers of `in` floats. */
static void changed_row(const fh_matrix *w, const fh_lora *l, uint32_t m, uint64_t o, float *row) {
    const float *a = l->a + (uint64_t)m * l->r * w->in, *b = l->b + ((uint64_t)m * w->out + o) * l->r;
    fh_matrix_decode_rows(w, m, o, 1, row);
    for (uint64_t i = 0; i < w->in; i++) {
        double d = 0;
        for (uint32_t k = 0; k < l->r; k++) d += (double)b[k] * (double)a[k * w->in + i];
        row[i] += l->scale * (float)d;
    }
}

/* DoRA where rows of the tensor are rows of the product: a factor for each. */
static fh_status scale_rows(const fh_adapt *j, uint32_t id, const fh_cut *c, const pair *p, uint32_t m,
                            const fh_operand *to, fh_err *err) {
    const fh_matrix *w = current(j, id);
    float *row = fh_alloc((size_t)w->in, sizeof *row), *scale = to->row_scale + (uint64_t)m * w->out;
    if (!row) return fh_fail_memory(err, (size_t)w->in * sizeof *row);
    for (uint64_t o = 0; o < w->out; o++) {
        double sum = 0;
        changed_row(w, to->lora, m, o, row);
        for (uint64_t i = 0; i < w->in; i++) sum += (double)row[i] * (double)row[i];
        scale[o] = p->magnitude[fh_cut_row(j, id, c, c->alone ? 0 : m, o)] / (float)sqrt(sum);
    }
    fh_free(row);
    return FH_OK;
}

/* DoRA where rows of the tensor are columns of the product: the changed matrix itself, in f32. Takes the operand away
 * again, since it is in the copy. */
static fh_status merge_columns(fh_adapt *j, uint32_t id, const fh_cut *c, const pair *p, const fh_lora *l,
                               fh_err *err) {
    const fh_matrix *w = current(j, id);
    fh_status s = FH_OK;
    if (j->matrix[id].instead && !j->own_instead[id])
        return fh_fail(err, FH_ERR_UNSUPPORTED, "two adapters replace '%.*s'", FH_STR_ARG(p->of->module));
    float *all = fh_arena_alloc(j->arena, (size_t)w->n_mat * w->out, (size_t)w->in * sizeof *all);
    double *sum = fh_alloc((size_t)w->in, sizeof *sum);
    float *buf = fh_alloc((size_t)fh_matrix_row_floats(w) + w->in + w->out, sizeof *buf);
    if (!all) s = fh_arena_fail(j->arena, err);
    else if (!sum || !buf) s = fh_fail_memory(err, (size_t)w->in * sizeof *sum);
    for (uint32_t m = 0; s == FH_OK && m < w->n_mat; m++) {
        float *mine = all + (uint64_t)m * w->out * w->in;
        for (uint64_t i = 0; i < w->in; i++) sum[i] = 0;
        for (uint64_t i = 0; w->transposed && i < w->in; i++) {
            fh_matrix_decode_col(w, m, i, 0, w->out, buf, buf + fh_matrix_row_floats(w));
            for (uint64_t o = 0; o < w->out; o++) mine[o * w->in + i] = buf[fh_matrix_row_floats(w) + o];
        }
        if (!w->transposed) fh_matrix_decode_rows(w, m, 0, w->out, mine);
        const float *a = l->a + (uint64_t)m * l->r * w->in, *b = l->b + (uint64_t)m * w->out * l->r;
        for (uint64_t o = 0; o < w->out; o++)
            for (uint64_t i = 0; i < w->in; i++) {
                double d = 0;
                for (uint32_t k = 0; k < l->r; k++) d += (double)b[o * l->r + k] * (double)a[k * w->in + i];
                float v = mine[o * w->in + i] + p->scale * (float)d;
                mine[o * w->in + i] = v;
                sum[i] += (double)v * (double)v;
            }
        for (uint64_t i = 0; i < w->in; i++) {
            uint64_t at = p->of->embedding ? i : fh_cut_row(j, id, c, m, i);
            float by = p->magnitude[at] / (float)sqrt(sum[i]);
            for (uint64_t o = 0; o < w->out; o++) mine[o * w->in + i] *= by;
        }
    }
    fh_free(sum);
    fh_free(buf);
    if (s != FH_OK) return s;
    j->matrix[id].n_lora--;
    return fh_adapt_put_f32(j, id, all, err);
}

static fh_status apply(fh_adapt *j, uint32_t id, fh_cut c, const pair *p, const fh_slot_place *at, fh_err *err) {
    const fh_matrix *m = &j->tables->matrix[id];
    fh_operand to = {0};
    uint64_t rows = c.rows * (p->n > 1 || at->by_expert ? 1 : c.n_mat);
    c.alone = at->by_expert;
    if (p->rows != rows || p->cols != c.cols || (p->n > 1 && p->n != c.n_mat) ||
        (at->by_expert && at->expert >= m->n_mat))
        return misfit(j, p, m, err);
    if (p->bias && (c.transposed || m->n_mat > 1 || p->of->embedding))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter of '%.*s': a bias on b is not applied to this kind of weight",
                       FH_STR_ARG(p->of->module));
    if (p->magnitude && j->matrix[id].instead && !j->own_instead[id])
        return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter of '%.*s' has magnitudes of a weight that another replaces",
                       FH_STR_ARG(p->of->module));
    FH_TRY(operand(j, id, p, at->by_expert, &to, err));
    uint32_t first = at->by_expert ? at->expert : 0, end = at->by_expert ? first + 1 : m->n_mat;
    for (uint32_t i = first; i < end; i++) {
        fill(j, id, &c, p, i, &to);
        if (p->magnitude && !c.transposed && !p->of->embedding) FH_TRY(scale_rows(j, id, &c, p, i, &to, err));
    }
    if (p->bias) {
        float *bias = fh_arena_alloc(j->arena, (size_t)m->out, sizeof *bias);
        if (!bias) return fh_arena_fail(j->arena, err);
        for (uint64_t o = 0; o < m->out; o++) bias[o] = p->bias[fh_cut_row(j, id, &c, 0, o)];
        to.lora->bias = bias;
    }
    if (p->magnitude && (c.transposed || p->of->embedding)) return merge_columns(j, id, &c, p, to.lora, err);
    return FH_OK;
}

static fh_status no_place(fh_str name, const char *what, fh_err *err) {
    return fh_fail(err, FH_ERR_UNSUPPORTED, "adapter %s '%.*s' has no place in this model", what, FH_STR_ARG(name));
}

static fh_status add_pair(fh_adapt *j, const fh_adapter_pair *of, fh_err *err) {
    fh_slot_place place[PLACES_MOST];
    size_t n = fh_slot_match(j->spec->family, j->gguf, of->module, place, PLACES_MOST), hits = 0;
    pair p = {0};
    fh_cut c;
    fh_status s = FH_OK;
    for (size_t k = 0; s == FH_OK && k < n; k++)
        for (uint32_t id = 0; s == FH_OK && id < j->tables->n_matrix; id++) {
            if (!fh_adapt_cut(j, &place[k], id, &c) || j->looked_up[id] != of->embedding) continue;
            if (!hits++) s = open_pair(j, of, &p, err);
            if (s == FH_OK) s = apply(j, id, c, &p, &place[k], err);
        }
    close_pair(&p);
    return s != FH_OK || hits ? s : no_place(of->module, "module", err);
}

/* ---- all of it ---- */

static fh_status check_adapter(const fh_adapt *j, fh_err *err) {
    const fh_adapter_info *info = fh_adapter_get_info(j->adapter);
    const char *list = j->spec->family->gguf;
    fh_str one;
    if (info->n_invocation)
        return fh_fail(
            err, FH_ERR_UNSUPPORTED,
            "the adapter acts only behind its invocation tokens (alora_invocation_tokens), which is not done");
    if (!j->gguf) return FH_OK;
    while (fh_slot_alternative(&list, &one))
        if (fh_str_eq(one, info->arch)) return FH_OK;
    return fh_fail(err, FH_ERR_UNSUPPORTED, "the adapter is for architecture '%.*s', the model is of family %s",
                   FH_STR_ARG(info->arch), j->spec->family->name);
}

static fh_status add_adapter(fh_adapt *j, fh_err *err) {
    FH_TRY(check_adapter(j, err));
    memset(j->own_instead, 0, j->tables->n_matrix * sizeof *j->own_instead);
    j->r_most = 0;
    for (size_t i = 0; i < fh_adapter_n_pair(j->adapter); i++)
        j->r_most = FH_MAX(j->r_most, (uint32_t)fh_adapter_get_pair(j->adapter, i)->r);
    for (size_t i = 0; i < fh_adapter_n_saved(j->adapter); i++)
        FH_TRY(fh_adapt_put_saved(j, fh_adapter_get_saved(j->adapter, i), err));
    for (size_t i = 0; i < fh_adapter_n_pair(j->adapter); i++)
        FH_TRY(add_pair(j, fh_adapter_get_pair(j->adapter, i), err));
    return fh_adapter_check(j->adapter, err);
}

static fh_status prepare(fh_adapt *j, const fh_model *m, fh_err *err) {
    uint32_t n = j->tables->n_matrix + 1, n_vector = j->tables->n_vector + 1;
    j->matrix = fh_arena_alloc(j->arena, n, sizeof *j->matrix);
    j->vector = fh_arena_alloc(j->arena, n_vector, sizeof *j->vector);
    j->lora = fh_arena_alloc(j->arena, n, sizeof *j->lora);
    j->room = fh_arena_alloc(j->arena, n, sizeof *j->room);
    j->last = fh_arena_alloc(j->arena, n, sizeof *j->last);
    j->looked_up = fh_arena_alloc(j->arena, n, sizeof *j->looked_up);
    j->own_instead = fh_arena_alloc(j->arena, n, sizeof *j->own_instead);
    if (j->arena->status != FH_OK) return fh_arena_fail(j->arena, err);
    for (int k = 0; k < FH_PLAN_COUNT; k++) {
        const fh_plan *p = fh_model_plan(m, (fh_model_plan_kind)k);
        for (uint32_t i = 0; p && i < p->n_op; i++)
            if (p->op[i].kind == FH_OP_EMBED) j->looked_up[p->op[i].matrix] = true;
    }
    return FH_OK;
}

static uint64_t next_serial(void) {
    static _Atomic uint64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

fh_status fh_adaption_new(fh_adaption **out, const fh_model *m, const fh_adapter_use *use, size_t n, fh_err *err) {
    fh_adaption *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return fh_fail_memory(err, sizeof *a);
    fh_arena_init(&a->arena, ARENA_MOST);
    fh_binder bind = m->bind; /* names are looked up in it; nothing is added */
    fh_adapt j = {.arena = &a->arena, .bind = &bind, .spec = &m->spec, .n_use = n};
    j.tables = fh_model_plan(m, FH_PLAN_STEP);
    fh_status s = prepare(&j, m, err);
    for (j.use = 0; s == FH_OK && j.use < n; j.use++) {
        j.adapter = use[j.use].adapter;
        j.scale = use[j.use].scale;
        j.gguf = fh_adapter_get_info(j.adapter)->form == FH_ADAPTER_GGUF;
        s = isfinite(j.scale) ? add_adapter(&j, err)
                              : fh_fail(err, FH_ERR_USAGE, "an adapter's scale must be a finite number");
    }
    if (s != FH_OK) {
        fh_adaption_free(a);
        return s;
    }
    a->set = (fh_adapter_set){.serial = next_serial(), .matrix = j.matrix, .vector = j.vector};
    *out = a;
    return FH_OK;
}

void fh_adaption_free(fh_adaption *a) {
    if (!a) return;
    fh_arena_release(&a->arena);
    fh_free(a);
}

const fh_adapter_set *fh_adaption_set(const fh_adaption *a) { return &a->set; }
uint64_t fh_adaption_bytes(const fh_adaption *a) { return a->arena.used; }
