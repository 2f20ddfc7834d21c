/* forge/convert_plan.c - which tensors the target gets: names, types, shapes, and where their rows come from.
 * SPDX-License-Identifier: Apache-2.0
 * Walks the tables of matrices and vectors that loading filled, so each thing the model uses is written once, and
 * nothing else. A slot that the target has no name for is an error that names it. */
#include <stdio.h>

#include "forge/convert_part.h"
#include "kernel/decode.h"

/* ---- names ---- */

static bool holds_word(fh_str text, const char *words) {
    fh_str w;
    while (words && *words && fh_slot_alternative(&words, &w))
        for (size_t i = 0; i + w.len <= text.len; i++)
            if (memcmp(text.ptr + i, w.ptr, w.len) == 0) return true;
    return false;
}

static bool has_number(fh_str pattern, char which) {
    for (size_t i = 0; i + 1 < pattern.len; i++)
        if (pattern.ptr[i] == '%' && pattern.ptr[i + 1] == which) return true;
    return false;
}

/* The alternative to write: one that the row prefers, else the first; numbered where the slot is a layer's. */
static bool choose(const fh_convert_job *j, fh_stack stack, fh_slot slot, int32_t layer, fh_str *out) {
    const char *list = fh_slot_pattern(j->spec->family, j->to_gguf, stack, slot);
    const char *prefer = j->to_gguf ? ".bias" : j->row->prefer;
    fh_str one;
    bool any = false;
    while (fh_slot_alternative(&list, &one)) {
        if (!one.len || (layer >= 0 && !has_number(one, 'u'))) continue;
        if (!any || holds_word(one, prefer)) *out = one;
        if (any && !holds_word(one, prefer)) continue;
        any = true;
        if (holds_word(one, prefer)) break;
    }
    return any;
}

/* Names that end as they are; all others get ".weight". */
static bool is_bare(const char *name) {
    static const char *const ends[] = {
        "bias", ".sinks", ".ssm_a", ".A_log", ".experts.gate_up_proj", ".experts.down_proj"};
    for (size_t i = 0; i < FH_COUNT(ends); i++)
        if (fh_str_ends(fh_str_of(name), ends[i])) return true;
    return false;
}

static fh_status name_of(fh_convert_job *j, fh_str pattern, int32_t layer, uint32_t expert, fh_str *out, fh_err *err) {
    char text[FH_SLOT_NAME_MOST + 8];
    if (!fh_slot_expand(pattern, j->prefix, layer, expert, text))
        return fh_fail(err, FH_ERR_LIMIT, "a tensor's name is too long");
    if (!is_bare(text)) memcpy(text + strlen(text), ".weight", sizeof ".weight");
    return fh_arena_copy(&j->arena, fh_str_of(text), out) ? FH_OK : fh_arena_fail(&j->arena, err);
}

static fh_status no_name(const fh_convert_job *j, fh_slot slot, fh_err *err) {
    return fh_fail(err, FH_ERR_UNSUPPORTED, "%s has no name for what this model has as '%s'",
                   j->to_gguf ? "GGUF" : "a safetensors folder", fh_slot_plan_name(slot));
}

/* ---- the list ---- */

static fh_status add(fh_convert_job *j, const fh_convert_tensor *c, fh_err *err) {
    uint64_t n = 0, bytes = 0;
    if (j->n_tensor == j->room) {
        uint32_t room = j->room ? 2 * j->room : 256;
        fh_convert_tensor *more = fh_realloc(j->tensor, room, sizeof *more);
        if (!more) return fh_fail_memory(err, room * sizeof *more);
        j->tensor = more;
        j->room = room;
    }
    if (!fh_shape_count(&c->t.shape, &n) || !fh_dtype_bytes(c->t.dtype, n, &bytes))
        return fh_fail(err, FH_ERR_LIMIT, "tensor '%.*s' is too large", FH_STR_ARG(c->t.name));
    j->total += bytes;
    j->tensor[j->n_tensor++] = *c;
    return FH_OK;
}

fh_status fh_convert_add_list(fh_convert_job *j, const char *name, const float *v, uint64_t n, fh_err *err) {
    fh_convert_tensor c = {
        .matrix = {FH_CONVERT_NO_ID, FH_CONVERT_NO_ID}, .vector = {FH_CONVERT_NO_ID, FH_CONVERT_NO_ID}, .list = v};
    c.t = (fh_tensor){.name = fh_str_of(name), .dtype = FH_DTYPE_F32, .shape = {.n_dim = 1, .dim = {n}}};
    return add(j, &c, err);
}

/* ---- types ---- */

static bool is_plain(const fh_weight *w) {
    fh_dtype t = w->codes->dtype;
    return w->packing == FH_PACK_NONE && !w->scale && !w->global && w->zero_kind == FH_ZERO_NONE && w->factor == 0 &&
           (t == FH_DTYPE_F32 || t == FH_DTYPE_F16 || t == FH_DTYPE_BF16);
}

/* The type of which most matrices are. */
static fh_dtype main_type(const fh_convert_job *j) {
    uint64_t sum[FH_DTYPE_COUNT] = {0};
    fh_dtype best = FH_DTYPE_BF16;
    for (uint32_t i = 0; i < j->tables->n_matrix; i++) {
        const fh_matrix *m = &j->tables->matrix[i];
        if (is_plain(m->weight[0])) sum[m->weight[0]->codes->dtype] += m->n_mat * m->out * m->in;
    }
    for (int t = 0; t < FH_DTYPE_COUNT; t++)
        if (sum[t] > sum[best]) best = (fh_dtype)t;
    return best;
}

static bool is_wide_slot(fh_slot s) {
    return s == FH_SLOT_MOE_ROUTER || s == FH_SLOT_SHARED_SCORE || s == FH_SLOT_POSITIONS || s == FH_SLOT_TOKEN_TYPES;
}

static fh_status keep_type(fh_convert_job *j, uint32_t id, fh_convert_tensor *c, fh_err *err) {
    const fh_matrix *m = &j->tables->matrix[id];
    fh_dtype t = m->weight[0]->codes->dtype;
    fh_dtype block = j->to_gguf && j->opt->type == FH_CONVERT_KEEP ? fh_convert_block_type(m) : FH_DTYPE_F32;
    if (is_plain(m->weight[0])) {
        c->t.dtype = t;
        if (j->to_gguf || t != FH_DTYPE_F32 || !is_wide_slot(j->bind.matrix_of[id].slot)) return FH_OK;
        return fh_convert_exact_type(j, id, &c->t.dtype, err);
    }
    if (block != FH_DTYPE_F32) {
        c->t.dtype = c->block = block;
        return FH_OK;
    }
    if (!j->to_gguf && t != FH_DTYPE_MXFP4)
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "tensor '%.*s' is in blocks of %s, which safetensors do not have: give a type (f32 holds every "
                       "value, bf16 and f16 round)",
                       FH_STR_ARG(m->weight[0]->name), fh_dtype_name(t));
    return fh_convert_exact_type(j, id, &c->t.dtype, err);
}

static fh_status type_of(fh_convert_job *j, uint32_t id, fh_convert_tensor *c, fh_err *err) {
    static const fh_dtype asked[] = {
        [FH_CONVERT_F32] = FH_DTYPE_F32, [FH_CONVERT_F16] = FH_DTYPE_F16, [FH_CONVERT_BF16] = FH_DTYPE_BF16};
    c->block = FH_DTYPE_F32;
    c->t.dtype = FH_DTYPE_F32;
    if (j->to_gguf && is_wide_slot(j->bind.matrix_of[id].slot)) return FH_OK;
    if (j->opt->type == FH_CONVERT_KEEP || j->opt->type == FH_CONVERT_PLAIN) return keep_type(j, id, c, err);
    c->t.dtype = asked[j->opt->type];
    return FH_OK;
}

/* ---- matrices ---- */

/* Another number with the same place, before this one: two plans read it, or a head is tied to it. */
static bool seen(const fh_bound *of, uint32_t id, const fh_matrix *m) {
    for (uint32_t i = 0; i < id; i++)
        if (of[i].slot == of[id].slot && of[i].stack == of[id].stack && of[i].layer == of[id].layer &&
            (!m || m[i].transposed == m[id].transposed || of[i].slot != FH_SLOT_LATENT_KV_B))
            return true;
    return false;
}

static uint32_t find(const fh_bound *of, uint32_t n, const fh_bound *like, fh_slot slot) {
    for (uint32_t i = 0; i < n; i++)
        if (of[i].slot == slot && of[i].stack == like->stack && of[i].layer == like->layer) return i;
    return FH_CONVERT_NO_ID;
}

/* Latent attention: the value matrices that belong to these keys'. */
static uint32_t values_of(const fh_convert_job *j, uint32_t id) {
    const fh_bound *of = j->bind.matrix_of;
    for (uint32_t i = 0; i < j->tables->n_matrix; i++)
        if (of[i].layer == of[id].layer && of[i].stack == of[id].stack &&
            (of[i].slot == FH_SLOT_LATENT_V_B ||
             (of[i].slot == FH_SLOT_LATENT_KV_B && !j->tables->matrix[i].transposed)))
            return i;
    return FH_CONVERT_NO_ID;
}

/* The slot whose rows share the target's tensor with this one's, being the other half of it. */
static fh_slot partner(const fh_convert_job *j, fh_stack stack, fh_slot slot) {
    const char *mine = fh_slot_pattern(j->spec->family, false, stack, slot);
    for (int s = 0; s < FH_SLOT_COUNT; s++) {
        const fh_name *row = fh_slot_row(j->spec->family, stack, (fh_slot)s);
        if (row && s != (int)slot && row->part != FH_PART_WHOLE && row->hf && strcmp(row->hf, mine) == 0)
            return (fh_slot)s;
    }
    return FH_SLOT_COUNT;
}

static void set_shape(fh_convert_tensor *c, const fh_matrix *m, uint64_t rows, bool whole) {
    uint64_t cols = m->in;
    fh_shape *s = &c->t.shape;
    *s = (fh_shape){0};
    if (c->stacked) rows *= m->n_mat;
    if (!whole && !c->stacked && m->n_mat > 1) s->dim[s->n_dim++] = m->n_mat;
    s->dim[s->n_dim++] = c->turned ? cols : rows;
    s->dim[s->n_dim++] = c->turned ? rows : cols;
}

static fh_status plan_matrix(fh_convert_job *j, uint32_t id, fh_err *err) {
    const fh_bound *at = &j->bind.matrix_of[id];
    const fh_matrix *m = &j->tables->matrix[id];
    fh_slot slot = at->slot;
    fh_convert_tensor c = {.matrix = {id, FH_CONVERT_NO_ID}, .vector = {FH_CONVERT_NO_ID, FH_CONVERT_NO_ID}};
    uint64_t rows = m->out;
    fh_str pattern;
    if (seen(j->bind.matrix_of, id, j->tables->matrix)) return FH_OK;
    if (j->to_gguf && slot == FH_SLOT_LATENT_KV_B) slot = m->transposed ? FH_SLOT_LATENT_K_B : FH_SLOT_LATENT_V_B;
    bool values = slot == FH_SLOT_LATENT_V_B || (slot == FH_SLOT_LATENT_KV_B && !m->transposed);
    if (!j->to_gguf && values) return FH_OK; /* written with its keys' matrices */
    if (!j->to_gguf && (slot == FH_SLOT_LATENT_K_B || slot == FH_SLOT_LATENT_KV_B)) {
        c.matrix[1] = values_of(j, id);
        if (c.matrix[1] == FH_CONVERT_NO_ID) return no_name(j, slot, err);
        slot = FH_SLOT_LATENT_KV_B;
        c.stacked = true;
        rows = m->in + j->tables->matrix[c.matrix[1]].out;
    }
    const fh_name *own = fh_slot_row(j->spec->family, at->stack, slot);
    if (!j->to_gguf && own && own->part != FH_PART_WHOLE) {
        if (own->part == FH_PART_ODD || own->part == FH_PART_SECOND_HALF) return FH_OK; /* written with the other */
        c.matrix[1] = find(j->bind.matrix_of, j->tables->n_matrix, at, partner(j, at->stack, slot));
        if (c.matrix[1] == FH_CONVERT_NO_ID) return no_name(j, slot, err);
        c.interleaved = own->part == FH_PART_EVEN;
        rows = 2 * m->out;
    }
    if (!choose(j, at->stack, slot, at->layer, &pattern)) return no_name(j, slot, err);
    c.turned = !j->to_gguf && own && own->plain_transposed;
    c.moved = fh_form_moves(j->spec, slot);
    if (slot == FH_SLOT_POSITIONS && j->to_gguf) c.skip = j->spec->position_offset;
    if (slot == FH_SLOT_POSITIONS && !j->to_gguf && holds_word(fh_str_of(j->row->hf), "roberta")) c.pad = 2;
    rows = rows - c.skip + c.pad;
    FH_TRY(type_of(j, id, &c, err));
    bool by_expert = has_number(pattern, 'e');
    c.n_mat = by_expert ? 1 : m->n_mat;
    for (uint32_t e = 0; e < (by_expert ? m->n_mat : 1); e++) {
        c.mat = e;
        FH_TRY(name_of(j, pattern, at->layer, e, &c.t.name, err));
        set_shape(&c, m, rows, by_expert);
        if (c.stacked) {
            c.t.shape = (fh_shape){.n_dim = 2, .dim = {m->n_mat * rows, m->out}};
        }
        FH_TRY(add(j, &c, err));
        if (c.block != FH_DTYPE_NVFP4) continue;
        fh_convert_tensor scale = c; /* one number beside it, or one for each matrix */
        char name[FH_SLOT_NAME_MOST + 8];
        snprintf(name, sizeof name, "%.*s.scale", (int)(c.t.name.len - strlen(".weight")), c.t.name.ptr);
        if (!fh_arena_copy(&j->arena, fh_str_of(name), &scale.t.name)) return fh_arena_fail(&j->arena, err);
        float *g = fh_arena_alloc(&j->arena, m->n_mat, sizeof *g);
        if (!g) return fh_arena_fail(&j->arena, err);
        for (uint32_t k = 0; k < m->n_mat; k++) {
            const fh_weight *w = fh_matrix_weight(m, k);
            float v;
            const uint8_t *from = w->global->data.ptr + (w->global->data.len > 4 ? 4 * (size_t)k : 0);
            memcpy(&v, from, sizeof v);
            g[k] = v;
        }
        scale.list = g;
        scale.block = FH_DTYPE_F32;
        scale.t.dtype = FH_DTYPE_F32;
        scale.t.shape = (fh_shape){.n_dim = 1, .dim = {m->n_mat}};
        FH_TRY(add(j, &scale, err));
    }
    return FH_OK;
}

/* ---- vectors ---- */

static bool exact_in(fh_dtype t, double v) {
    float f = (float)v;
    if ((double)f != v) return false;
    if (t == FH_DTYPE_BF16) return fh_bf16_to_f32(fh_f32_to_bf16(f)) == f;
    if (t == FH_DTYPE_F16) return fh_f16_to_f32(fh_f32_to_f16(f)) == f;
    return true;
}

/* GGUF keeps small things in f32; safetensors get what the model has most of, where that is exact. */
static fh_status vector_type(fh_convert_job *j, fh_convert_tensor *c, uint64_t n, fh_err *err) {
    fh_slot slot = j->bind.vector_of[c->vector[0]].slot;
    c->t.dtype = FH_DTYPE_F32;
    if (j->to_gguf && slot != FH_SLOT_ATTN_REL_BIAS) return FH_OK;
    double *v = fh_alloc((size_t)n, sizeof *v);
    if (!v) return fh_fail_memory(err, (size_t)n * sizeof *v);
    bool f32 = fh_convert_numbers(j, c, v), narrow = f32;
    for (uint64_t i = 0; i < n && narrow; i++) narrow = exact_in(j->main_type, v[i]);
    fh_free(v);
    c->t.dtype = narrow ? j->main_type : f32 ? FH_DTYPE_F32 : FH_DTYPE_F64;
    if (!f32)
        fh_convert_note(j, "'%.*s' is written in f64: no f32 gives the source's value again",
                        FH_STR_ARG(j->tables->vector[c->vector[0]].name));
    return FH_OK;
}

/* One tensor serves every layer: written with the first. */
static bool shared_by_layers(fh_convert_job *j, const fh_bound *at) {
    fh_str mine = fh_bind_file_name(&j->bind, at->stack, at->slot, at->layer, 0);
    return at->layer > 0 && fh_str_eq(mine, fh_bind_file_name(&j->bind, at->stack, at->slot, 0, 0));
}

static fh_status plan_vector(fh_convert_job *j, uint32_t id, fh_err *err) {
    const fh_bound *at = &j->bind.vector_of[id];
    uint64_t n = j->tables->vector[id].n, parts = 1, taps = j->spec->delta.taps;
    fh_convert_tensor c = {.matrix = {FH_CONVERT_NO_ID, FH_CONVERT_NO_ID}, .vector = {id, FH_CONVERT_NO_ID}};
    fh_str pattern;
    if (seen(j->bind.vector_of, id, NULL) || shared_by_layers(j, at)) return FH_OK;
    const fh_name *own = fh_slot_row(j->spec->family, at->stack, at->slot);
    if (!j->to_gguf && own && own->part != FH_PART_WHOLE) {
        if (own->part == FH_PART_ODD || own->part == FH_PART_SECOND_HALF) return FH_OK;
        c.vector[1] = find(j->bind.vector_of, j->tables->n_vector, at, partner(j, at->stack, at->slot));
        if (c.vector[1] == FH_CONVERT_NO_ID) return no_name(j, at->slot, err);
        c.interleaved = own->part == FH_PART_EVEN;
        parts = 2;
    }
    if (!choose(j, at->stack, at->slot, at->layer, &pattern)) return no_name(j, at->slot, err);
    c.moved = fh_form_moves(j->spec, at->slot);
    FH_TRY(name_of(j, pattern, at->layer, 0, &c.t.name, err));
    uint64_t rows = 0;
    if (at->slot == FH_SLOT_MOE_GATE_BIAS || at->slot == FH_SLOT_MOE_UP_BIAS || at->slot == FH_SLOT_MOE_DOWN_BIAS)
        rows = j->spec->moe.n_expert;
    if (at->slot == FH_SLOT_ATTN_REL_BIAS) rows = j->spec->rel_buckets;
    if (at->slot == FH_SLOT_DELTA_CONV) rows = n / taps;
    fh_shape *s = &c.t.shape;
    if (rows) s->dim[s->n_dim++] = rows;
    if (at->slot == FH_SLOT_DELTA_CONV && !j->to_gguf) s->dim[s->n_dim++] = 1;
    s->dim[s->n_dim++] = parts * n / (rows ? rows : 1);
    FH_TRY(vector_type(j, &c, parts * n, err));
    return add(j, &c, err);
}

/* ---- all ---- */

static void note_left(const fh_convert_job *j) {
    const fh_weights *w = fh_bundle_weights(fh_model_bundle(j->m));
    size_t left = 0, last = 0;
    for (size_t i = 0; i < w->n; i++)
        if (!j->bind.used[i] && !fh_str_starts(w->item[i].name, "rope_f")) left++, last = i;
    if (left == 1)
        fh_convert_note(j, "tensor '%.*s' is left out: the text model does not use it", FH_STR_ARG(w->item[last].name));
    else if (left)
        fh_convert_note(j, "%zu tensors are left out: the text model does not use them ('%.*s', ...)", left,
                        FH_STR_ARG(w->item[last].name));
}

fh_status fh_convert_plan(fh_convert_job *j, fh_err *err) {
    j->main_type = main_type(j);
    for (uint32_t i = 0; i < j->tables->n_matrix; i++) FH_TRY(plan_matrix(j, i, err));
    for (uint32_t i = 0; i < j->tables->n_vector; i++) FH_TRY(plan_vector(j, i, err));
    if (j->to_gguf) FH_TRY(fh_convert_rope_list(j, err));
    note_left(j);
    return FH_OK;
}
