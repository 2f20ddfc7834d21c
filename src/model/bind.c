/* model/bind.c - see bind.h. Owns the tables while they grow (in the model's arena).
 * SPDX-License-Identifier: Apache-2.0
 * Everything a file can get wrong about a tensor that a block needs is refused here, with the tensor's name, what it
 * is and what it should be. */
#include "model/bind.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "kernel/weight_decode.h"

#define NAME_MOST 256

typedef struct slot_row {
    const char *name, *gguf, *hf;
} slot_row;

static const slot_row slots[] = {
#define FH_SLOT_ROW(id, name, gguf, hf) [FH_SLOT_##id] = {name, gguf, hf},
#include "model/slot.def"
#undef FH_SLOT_ROW
};

/* ---- names ---- */

static const fh_name * override(const fh_binder *b, fh_stack stack, fh_slot slot) {
    const fh_family *f = b->spec->family;
    const fh_name *list = stack == FH_STACK_ENCODER ? f->encoder_names : f->names;
    uint32_t n = stack == FH_STACK_ENCODER ? f->n_encoder_names : f->n_names;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].slot == slot) return &list[i];
    return NULL;
}

static const char *pattern(const fh_binder *b, fh_stack stack, fh_slot slot) {
    const fh_name *o = override(b, stack, slot);
    const char *mine = o ? (b->spec->gguf ? o->gguf : o->hf) : NULL;
    return mine ? mine : b->spec->gguf ? slots[slot].gguf : slots[slot].hf;
}

/* Expands one alternative into out; false when it does not fit. */
static bool expand(const char *from, size_t n, fh_str prefix, int32_t layer, uint32_t expert, char out[NAME_MOST]) {
    size_t at = 0;
    if (n && *from == '/') {
        from++, n--;
    } else {
        if (prefix.len >= NAME_MOST) return false;
        memcpy(out, prefix.ptr, prefix.len);
        at = prefix.len;
    }
    for (size_t i = 0; i < n; i++) {
        char digits[16] = {from[i], 0};
        if (from[i] == '%' && i + 1 < n) {
            snprintf(digits, sizeof digits, "%" PRIu32, from[i + 1] == 'e' ? expert : (uint32_t)layer);
            i++;
        }
        size_t len = strlen(digits);
        if (at + len >= NAME_MOST) return false;
        memcpy(out + at, digits, len);
        at += len;
    }
    out[at] = 0;
    return true;
}

static const fh_weight *look(const fh_binder *b, char name[NAME_MOST]) {
    const fh_weight *w = fh_bundle_find_weight(b->bundle, fh_str_of(name));
    size_t n = strlen(name);
    if (w || n + sizeof ".weight" > NAME_MOST) return w;
    memcpy(name + n, ".weight", sizeof ".weight");
    w = fh_bundle_find_weight(b->bundle, fh_str_of(name));
    if (!w) name[n] = 0;
    return w;
}

/* The weight of a slot; by_expert: one tensor per expert, and this is the asked one. found: its name. */
static const fh_weight *find(const fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint32_t expert,
                             bool *by_expert, char found[NAME_MOST]) {
    fh_str prefix = b->spec->gguf ? fh_str_of("") : b->prefix;
    const char *p = pattern(b, stack, slot);
    found[0] = 0;
    while (p && *p) {
        const char *end = strchr(p, '|');
        size_t n = end ? (size_t)(end - p) : strlen(p);
        char name[NAME_MOST];
        const fh_weight *w = expand(p, n, prefix, layer, expert, name) ? look(b, name) : NULL;
        if (w || !found[0]) memcpy(found, name, NAME_MOST);
        if (w) {
            *by_expert = false;
            for (size_t i = 0; i + 1 < n; i++) *by_expert |= p[i] == '%' && p[i + 1] == 'e';
            return w;
        }
        p = end ? end + 1 : NULL;
    }
    return NULL;
}

bool fh_bind_has(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer) {
    char name[NAME_MOST];
    bool by_expert;
    return find(b, stack, slot, layer, 0, &by_expert, name) != NULL;
}

fh_str fh_bind_file_name(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint32_t expert) {
    char name[NAME_MOST];
    bool by_expert;
    const fh_weight *w = find(b, stack, slot, layer, expert, &by_expert, name);
    return w ? w->name : fh_str_of("");
}

fh_str fh_bind_name(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer) {
    char text[NAME_MOST];
    fh_str out = fh_str_of("");
    const char *of = stack == FH_STACK_ENCODER ? "encoder." : "";
    if (layer >= 0) snprintf(text, sizeof text, "%slayers.%d.%s", of, (int)layer, slots[slot].name);
    else snprintf(text, sizeof text, "%s%s", of, slots[slot].name);
    if (!fh_arena_copy(b->arena, fh_str_of(text), &out) && b->status == FH_OK)
        b->status = fh_arena_fail(b->arena, b->err);
    return out;
}

fh_status fh_bind_begin(fh_binder *b, const fh_bundle *bundle, const fh_spec *spec, fh_arena *arena, fh_err *err) {
    *b = (fh_binder){.bundle = bundle, .spec = spec, .arena = arena, .err = err, .prefix = fh_str_of("")};
    b->used = fh_arena_alloc(arena, fh_bundle_weights(bundle)->n + 1, sizeof *b->used);
    if (!b->used) return fh_arena_fail(arena, err);
    const char *p = spec->gguf ? NULL : spec->family->hf_prefix;
    while (p) {
        const char *end = strchr(p, '|');
        b->prefix = (fh_str){p, end ? (size_t)(end - p) : strlen(p)};
        if (fh_bind_has(b, FH_STACK_MAIN, FH_SLOT_TOKENS, -1)) return FH_OK;
        p = end ? end + 1 : NULL;
    }
    if (fh_bind_has(b, FH_STACK_MAIN, FH_SLOT_TOKENS, -1)) return FH_OK;
    char name[NAME_MOST];
    bool by_expert;
    find(b, FH_STACK_MAIN, FH_SLOT_TOKENS, -1, 0, &by_expert, name);
    return fh_fail(err, FH_ERR_FORMAT, "no table of tokens: tensor '%s' is missing", name);
}

bool fh_bind_may_be_left(const fh_binder *b, fh_str name) {
    const char *p = b->spec->family->unused;
    while (p && *p) { /* "head.*" or "*.tail" */
        const char *end = strchr(p, '|');
        size_t n = end ? (size_t)(end - p) : strlen(p);
        bool head = n && p[n - 1] == '*', tail = n && p[0] == '*';
        if (head && name.len >= n - 1 && memcmp(name.ptr, p, n - 1) == 0) return true;
        if (tail && name.len >= n - 1 && memcmp(name.ptr + name.len - (n - 1), p + 1, n - 1) == 0) return true;
        p = end ? end + 1 : NULL;
    }
    if (b->spec->gguf && fh_str_starts(name, "rope_f")) return true; /* read with the settings of rotation */
    return fh_str_ends(name, ".input_scale") || fh_str_ends(name, "rotary_emb.inv_freq") ||
           fh_str_ends(name, "attention.self.position_ids") || fh_str_ends(name, "embeddings.position_ids");
}

/* ---- tables ---- */

static void *fail(fh_binder *b, fh_status s) {
    if (b->status == FH_OK) b->status = s;
    return NULL;
}

/* Room for one more in a table that lives in the arena; old copies stay there until it ends. */
static void *grow(fh_binder *b, void *items, uint32_t n, uint32_t *room, size_t size) {
    if (n < *room) return items;
    uint32_t more = *room ? *room * 2 : 64;
    void *out = b->status == FH_OK ? fh_arena_alloc(b->arena, more, size) : NULL;
    if (!out) return fail(b, b->status == FH_OK ? fh_arena_fail(b->arena, b->err) : b->status);
    if (n) memcpy(out, items, n * size);
    *room = more;
    return out;
}

static void mark(fh_binder *b, const fh_weight *w) { b->used[w - fh_bundle_weights(b->bundle)->item] = true; }

static void missing(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, const char *name) {
    if (b->status != FH_OK) return;
    fh_str what = fh_bind_name(b, stack, slot, layer);
    fail(b, fh_fail(b->err, FH_ERR_FORMAT, "tensor '%s' is missing: family %s needs it as %.*s", name,
                    b->spec->family->name, FH_STR_ARG(what)));
}

static void misfit(fh_binder *b, const fh_weight *w, uint32_t n_mat, uint64_t rows, uint64_t cols) {
    char is[FH_MAX_DIMS * 22 + 2];
    if (b->status != FH_OK) return;
    fail(b, fh_fail(b->err, FH_ERR_FORMAT, "tensor '%.*s' is %s, but must be %" PRIu32 " x [%" PRIu64 ", %" PRIu64 "]",
                    FH_STR_ARG(w->name), fh_shape_text(&w->shape, is, sizeof is), n_mat, rows, cols));
}

/* ---- matrices ---- */

static uint32_t add_matrix(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, fh_matrix m) {
    uint32_t room = b->room_matrix;
    fh_matrix *t = grow(b, b->matrix, b->n_matrix, &b->room_matrix, sizeof *t);
    fh_bound *of = grow(b, b->matrix_of, b->n_matrix, &room, sizeof *of);
    if (!t || !of) return FH_NO_ID;
    m.name = fh_bind_name(b, stack, slot, layer);
    b->matrix = t;
    b->matrix_of = of;
    t[b->n_matrix] = m;
    of[b->n_matrix] = (fh_bound){slot, stack, layer};
    return b->n_matrix++;
}

/* A GGUF may keep one more scale for a whole tensor beside it: "blk.0.ffn_up.scale" for "blk.0.ffn_up.weight". */
static const fh_weight *with_scale(fh_binder *b, const fh_weight *w) {
    char name[NAME_MOST];
    uint64_t n = 0;
    if (!b->spec->gguf || !fh_str_ends(w->name, ".weight") || w->name.len >= NAME_MOST) return w;
    snprintf(name, sizeof name, "%.*s.scale", (int)(w->name.len - strlen(".weight")), w->name.ptr);
    const fh_weight *scale = fh_bundle_find_weight(b->bundle, fh_str_of(name));
    if (!scale) return w;
    if (!fh_shape_count(&scale->shape, &n) || scale->codes->dtype != FH_DTYPE_F32 ||
        (n != 1 && n != fh_weight_matrices(w)))
        return misfit(b, scale, 1, 1, fh_weight_matrices(w)), NULL;
    fh_weight *out = fh_arena_alloc(b->arena, 1, sizeof *out);
    if (!out) return fail(b, fh_arena_fail(b->arena, b->err));
    mark(b, scale);
    *out = *w;
    out->global = scale->codes;
    return out;
}

/* All weights of a slot into list: one, or one for each of n_mat. */
static uint32_t collect(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint32_t n_mat, bool maybe,
                        const fh_weight *const **list) {
    char name[NAME_MOST];
    bool by_expert = false;
    const fh_weight *w = b->status == FH_OK ? find(b, stack, slot, layer, 0, &by_expert, name) : NULL;
    if (!w) {
        if (!maybe && b->status == FH_OK) missing(b, stack, slot, layer, name);
        return 0;
    }
    uint32_t n = by_expert ? n_mat : 1;
    const fh_weight **out = fh_arena_alloc(b->arena, n, sizeof(fh_weight *));
    if (!out) return fail(b, fh_arena_fail(b->arena, b->err)), 0;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = i ? find(b, stack, slot, layer, i, &by_expert, name) : w;
        if (!out[i]) return missing(b, stack, slot, layer, name), 0;
        if (!fh_weight_can_decode(out[i]))
            return fail(b, fh_fail(b->err, FH_ERR_UNSUPPORTED, "tensor '%.*s' is of a type that is not computed with",
                                   FH_STR_ARG(out[i]->name))),
                   0;
        mark(b, out[i]);
        if (!(out[i] = with_scale(b, out[i]))) return 0;
    }
    *list = out;
    return n;
}

static bool fits(const fh_weight *w, uint32_t n_mat, uint64_t rows, uint64_t cols) {
    uint64_t r = fh_weight_rows(w), c = fh_weight_cols(w), m = fh_weight_matrices(w);
    if (m == 1 && n_mat > 1) return r == n_mat * rows && c == cols; /* heads in one matrix */
    return m == n_mat && r == rows && c == cols;
}

uint32_t fh_bind_matrix(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t out, uint64_t in,
                        uint32_t n_mat, bool maybe) {
    const fh_weight *const *list = NULL;
    uint32_t n = collect(b, stack, slot, layer, n_mat, maybe, &list);
    if (!n) return FH_NO_ID;
    const fh_name *o = override(b, stack, slot);
    fh_part part = o && !b->spec->gguf ? o->part : FH_PART_WHOLE;
    uint64_t rows = part == FH_PART_WHOLE ? out : 2 * out;
    uint64_t step = part == FH_PART_EVEN || part == FH_PART_ODD ? 2 : 1;
    uint64_t first = part == FH_PART_ODD ? 1 : part == FH_PART_SECOND_HALF ? out : 0;
    bool turned = o && o->plain_transposed && !b->spec->gguf && list[0]->packing == FH_PACK_NONE && !list[0]->scale &&
                  fh_dtype_get_info(list[0]->codes->dtype)->cls == FH_DTYPE_CLASS_FLOAT;
    for (uint32_t i = 0; i < n; i++)
        if (!fits(list[i], n > 1 ? 1 : n_mat, turned ? in : rows, turned ? rows : in))
            return misfit(b, list[i], n > 1 ? 1 : n_mat, turned ? in : rows, turned ? rows : in), FH_NO_ID;
    fh_matrix m = {.weight = list,
                   .n_weight = n,
                   .n_mat = n_mat,
                   .out = out,
                   .in = in,
                   .step = step,
                   .stride = turned ? in : rows,
                   .transposed = turned};
    if (turned) m.col = first;
    else m.first = first;
    return add_matrix(b, stack, slot, layer, m);
}

uint32_t fh_bind_piece(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t out, uint64_t in,
                       uint32_t n_mat, const fh_piece *p) {
    const fh_weight *const *list = NULL;
    if (!collect(b, stack, slot, layer, 1, false, &list)) return FH_NO_ID;
    uint64_t cols = p->transposed ? out : in;
    if (!fits(list[0], 1, p->whole_rows, cols)) return misfit(b, list[0], 1, p->whole_rows, cols), FH_NO_ID;
    fh_matrix m = {.weight = list,
                   .n_weight = 1,
                   .n_mat = n_mat,
                   .out = out,
                   .in = in,
                   .step = 1,
                   .first = p->first,
                   .stride = p->stride,
                   .col = p->col,
                   .transposed = p->transposed};
    return add_matrix(b, stack, slot, layer, m);
}

uint64_t fh_bind_rows(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer) {
    char name[NAME_MOST];
    bool by_expert;
    const fh_weight *w = find(b, stack, slot, layer, 0, &by_expert, name);
    return w ? fh_weight_rows(w) : 0;
}

/* ---- vectors ---- */

uint64_t fh_bind_count(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer) {
    char name[NAME_MOST];
    bool by_expert;
    uint64_t n = 0;
    const fh_weight *w = find(b, stack, slot, layer, 0, &by_expert, name);
    return w && fh_shape_count(&w->shape, &n) ? n : 0;
}

/* The part of a stored list that a slot means: all of it, or one of two interleaved or joined halves of every row. */
static void pick(const float *all, uint64_t rows, uint64_t cols, fh_part part, float *out) {
    if (part == FH_PART_WHOLE) {
        memcpy(out, all, rows * cols * sizeof *out);
        return;
    }
    uint64_t half = cols / 2, step = part == FH_PART_EVEN || part == FH_PART_ODD ? 2 : 1;
    uint64_t first = part == FH_PART_ODD ? 1 : part == FH_PART_SECOND_HALF ? half : 0;
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < half; c++) out[r * half + c] = all[r * cols + first + c * step];
}

static void shape(float *v, uint64_t n, fh_vector_form form) {
    for (uint64_t i = 0; form != FH_VECTOR_PLAIN && i < n; i++)
        v[i] = form == FH_VECTOR_PLUS_ONE ? 1.0f + v[i] : (float)-exp((double)v[i]);
}

/* Numbers kept in f64 are shaped in f64: some f32 are the result of no f32 (converters write those so). */
static bool wide_numbers(const fh_weight *w, uint64_t n, fh_vector_form form, float *v) {
    if (form == FH_VECTOR_PLAIN || w->packing != FH_PACK_NONE || w->codes->dtype != FH_DTYPE_F64 || w->scale)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, w->codes->data.ptr + i * sizeof x, sizeof x);
        v[i] = form == FH_VECTOR_PLUS_ONE ? (float)(1 + x) : (float)-exp(x);
    }
    return true;
}

uint32_t fh_bind_vector(fh_binder *b, fh_stack stack, fh_slot slot, int32_t layer, uint64_t n, fh_vector_form form,
                        bool maybe) {
    const fh_weight *const *list = NULL;
    uint64_t count = 0;
    if (!collect(b, stack, slot, layer, 1, maybe, &list)) return FH_NO_ID;
    const fh_weight *w = list[0];
    const fh_name *o = override(b, stack, slot);
    fh_part part = o && !b->spec->gguf ? o->part : FH_PART_WHOLE;
    uint64_t stored = part == FH_PART_WHOLE ? n : 2 * n;
    if (!fh_shape_count(&w->shape, &count) || count != stored) return misfit(b, w, 1, 1, stored), FH_NO_ID;
    uint64_t rows = fh_weight_matrices(w) * fh_weight_rows(w), cols = fh_weight_cols(w);
    uint32_t room = b->room_vector;
    fh_vector *t = grow(b, b->vector, b->n_vector, &b->room_vector, sizeof *t);
    fh_bound *of = grow(b, b->vector_of, b->n_vector, &room, sizeof *of);
    float *v = fh_arena_alloc(b->arena, n ? n : 1, sizeof *v), *all = fh_alloc(stored ? stored : 1, sizeof *all);
    if (!t || !of || !v || !all) {
        fh_free(all);
        return fail(b, v ? fh_fail_memory(b->err, stored * sizeof *all) : fh_arena_fail(b->arena, b->err)), FH_NO_ID;
    }
    fh_weight_decode(w, 0, rows, all);
    pick(all, rows, cols, part, v);
    fh_free(all);
    if (part != FH_PART_WHOLE || !wide_numbers(w, n, form, v)) shape(v, n, form);
    b->vector = t;
    b->vector_of = of;
    of[b->n_vector] = (fh_bound){slot, stack, layer};
    t[b->n_vector] = (fh_vector){.name = fh_bind_name(b, stack, slot, layer), .v = v, .n = n};
    return b->n_vector++;
}

/* ---- state ---- */

uint32_t fh_bind_state(fh_binder *b, fh_state state, uint32_t window, bool of_encoder, const char *what) {
    char text[64];
    uint32_t g = 0;
    fh_state *t = grow(b, b->state, b->n_state, &b->room_state, sizeof *t);
    if (!t) return FH_NO_ID;
    b->state = t;
    while (g < b->n_group &&
           (b->group[g].kind != state.kind || b->group[g].window != window || b->group[g].of_encoder != of_encoder))
        g++;
    if (g == FH_COUNT(b->group)) {
        fail(b, fh_fail(b->err, FH_ERR_UNSUPPORTED, "more than %zu kinds of state", FH_COUNT(b->group)));
        return FH_NO_ID;
    }
    if (g == b->n_group) b->group[b->n_group++] = (fh_state_group){state.kind, window, of_encoder};
    state.group = g;
    snprintf(text, sizeof text, "%slayers.%" PRIu32 ".%s", of_encoder && state.kind == FH_STATE_KV ? "encoder." : "",
             state.layer, what);
    if (!fh_arena_copy(b->arena, fh_str_of(text), &state.name))
        return fail(b, fh_arena_fail(b->arena, b->err)), FH_NO_ID;
    t[b->n_state] = state;
    return b->n_state++;
}
