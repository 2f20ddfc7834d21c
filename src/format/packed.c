/* format/packed.c - stored tensors to logical weights: who claims which tensor, by one table of layouts.
 * SPDX-License-Identifier: Apache-2.0
 * Owns, while it binds, an index of the names; the weights go to the caller's arena. Partners are found in the
 * sorted names by galloping from the codes' own place: parts of one module stand next to each other there, so a
 * look-up costs a few comparisons whatever the number of tensors, and O(log n) for hostile names.
 * Invariants: (1) a stored tensor belongs to exactly one weight, or is one; (2) no two weights share a name;
 * (3) every shape was checked with the weight, so decoding needs no check of its own. */
#include "format/packed_part.h"

#include <stdarg.h>

#include "base/num.h"
#include "format/order.h"

/* Codes tensors are told by the end of their name, in this order; "" tries every tensor that is left. */
static const struct layout {
    const char *suffix;
    fh_packed_bind_fn *bind;
} layouts[] = {{".qweight", fh_packed_bind_qweight}, {"_packed", fh_packed_bind_words}, {"_packed", fh_packed_bind_fp4},
               {"_blocks", fh_packed_bind_blocks},   {"", fh_packed_bind_bnb},          {"", fh_packed_bind_scaled}};

/* Names that only ever stand for a part of a quantized weight: alone they mean that something is missing. */
static const char *const part_suffix[] = {".qweight",
                                          ".qzeros",
                                          ".g_idx",
                                          "weight_packed",
                                          "weight_scale",
                                          "weight_scale_inv",
                                          "weight_scale_2",
                                          "weight_global_scale",
                                          "weight_zero_point",
                                          "weight_shape",
                                          "weight_g_idx",
                                          "weight.absmax",
                                          "weight.quant_map",
                                          "weight.nested_absmax",
                                          "weight.nested_quant_map",
                                          ".SCB",
                                          ".qscale_weight",
                                          "_proj_blocks",
                                          "_proj_scales"};

/* ---- names ---- */

/* Sign of item's name - (base + suffix). */
typedef struct joined {
    fh_str base, suffix;
} joined;

static int compare_joined(fh_str name, const joined *key) {
    int c = fh_str_cmp(fh_str_first(name, key->base.len), key->base);
    return c != 0 || name.len < key->base.len ? c : fh_str_cmp(fh_str_drop(name, key->base.len), key->suffix);
}

static int by_name(const void *ctx, uint32_t a, uint32_t b) {
    const fh_tensor *const *t = ctx;
    return fh_str_cmp(t[a]->name, t[b]->name);
}

static int probe(const void *ctx, uint32_t item, const void *key) {
    const fh_tensor *const *t = ctx;
    return compare_joined(t[item]->name, key);
}

/* Position in p->order, looking around position `near` first. */
static bool find(const fh_packed *p, size_t near, const joined *key, size_t *at) {
    size_t lo = 0, hi = p->n, step = 1;
    int c = probe(p->tensor, p->order[near], key);
    if (c < 0) {
        lo = near + 1;
        while (near + step < p->n && probe(p->tensor, p->order[near + step], key) < 0) {
            lo = near + step + 1;
            step *= 2;
        }
        hi = FH_MIN(near + step + 1, p->n);
    } else if (c > 0) {
        hi = near;
        while (step <= near && probe(p->tensor, p->order[near - step], key) > 0) {
            hi = near - step;
            step *= 2;
        }
        lo = step <= near ? near - step : 0;
    } else {
        *at = near;
        return true;
    }
    if (lo >= hi || !fh_order_find(p->order + lo, hi - lo, probe, p->tensor, key, at)) return false;
    *at += lo;
    return true;
}

static bool lookup(const fh_packed_site *s, fh_str base, const char *suffix, uint32_t *index) {
    joined key = {base, fh_str_of(suffix)};
    size_t at;
    if (!find(s->p, s->p->rank[s->part[0]], &key, &at)) return false;
    *index = s->p->order[at];
    return true;
}

bool fh_packed_has(const fh_packed_site *s, fh_str base, const char *suffix) {
    uint32_t i;
    return lookup(s, base, suffix, &i);
}

const fh_tensor *fh_packed_part(fh_packed_site *s, fh_str base, const char *suffix) {
    uint32_t i;
    if (!lookup(s, base, suffix, &i)) return NULL;
    FH_REQUIRE(s->n_part < FH_PACKED_MAX_PARTS);
    s->part[s->n_part++] = i;
    return s->p->tensor[i];
}

/* ---- adding weights ---- */
fh_status fh_packed_fail(const fh_packed_site *s, fh_status status, const char *fmt, ...) {
    char why[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    return fh_fail_at(s->p->err, status, s->codes->file_offset, "quantized tensor '%.*s': %s",
                      FH_STR_ARG(s->codes->name), why);
}

fh_status fh_packed_name(fh_packed_site *s, fh_str base, const char *suffix) {
    size_t n = strlen(suffix), len = 0;
    if (fh_packed_has(s, base, suffix))
        return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s%s' is there as well", FH_STR_ARG(base), suffix);
    char *z = fh_add_size(base.len, n + 1, &len) ? fh_arena_alloc(s->p->arena, len, 1) : NULL;
    if (!z) return fh_arena_fail(s->p->arena, s->p->err);
    memcpy(z, base.ptr, base.len);
    memcpy(z + base.len, suffix, n);
    s->w.name = (fh_str){z, base.len + n};
    return FH_OK;
}

static fh_status push(fh_packed *p, const fh_weight *w, uint32_t first) {
    if (p->n_item == p->cap) {
        size_t cap = FH_MIN(FH_MAX(p->cap * 2, (size_t)64), p->n);
        fh_weight *item = fh_realloc(p->item, cap, sizeof *item);
        if (item) p->item = item;
        uint32_t *at = item ? fh_realloc(p->first, cap, sizeof *at) : NULL;
        if (!at) return fh_fail_memory(p->err, cap * sizeof *item);
        p->first = at;
        p->cap = cap;
    }
    p->item[p->n_item] = *w;
    p->first[p->n_item++] = first;
    return FH_OK;
}

fh_status fh_packed_add(fh_packed_site *s, const char *layout, ...) {
    fh_packed *p = s->p;
    char text[128];
    va_list args;
    va_start(args, layout);
    vsnprintf(text, sizeof text, layout, args);
    va_end(args);
    if (!fh_str_is(p->layout, text) && !fh_arena_copy(p->arena, fh_str_of(text), &p->layout))
        return fh_arena_fail(p->arena, p->err);
    s->w.layout = p->layout.ptr;
    uint32_t first = s->part[0];
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->n_part; i++) {
        first = FH_MIN(first, s->part[i]);
        bytes += p->tensor[s->part[i]]->data.len;
        if (p->used[s->part[i]])
            return fh_packed_fail(s, FH_ERR_FORMAT, "'%.*s' is a part of another weight too",
                                  FH_STR_ARG(p->tensor[s->part[i]]->name));
        p->used[s->part[i]] = 1;
    }
    s->w.part_bytes = bytes - fh_weight_stored_bytes(&s->w); /* part_bytes is still 0 */
    return push(p, &s->w, first);
}

/* ---- binding ---- */
static fh_status try_layouts(fh_packed *p, uint32_t i) {
    const fh_tensor *t = p->tensor[i];
    size_t before = p->n_item;
    for (size_t k = 0; k < FH_COUNT(layouts) && p->n_item == before; k++) {
        if (!fh_str_ends(t->name, layouts[k].suffix)) continue;
        fh_packed_site s = {.p = p, .codes = t, .part = {i}, .n_part = 1};
        s.base = fh_str_first(t->name, t->name.len - strlen(layouts[k].suffix));
        s.w = (fh_weight){.name = t->name, .shape = t->shape, .codes = t, .layout = ""};
        FH_TRY(layouts[k].bind(&s));
    }
    return FH_OK;
}

static fh_status add_plain(fh_packed *p, uint32_t i, bool quantized) {
    const fh_tensor *t = p->tensor[i];
    for (size_t k = 0; quantized && k < FH_COUNT(part_suffix); k++)
        if (fh_str_ends(t->name, part_suffix[k]))
            return fh_fail_at(p->err, FH_ERR_FORMAT, t->file_offset,
                              "'%.*s' is a part of a quantized weight whose other parts are missing or not quantized",
                              FH_STR_ARG(t->name));
    if (quantized && fh_str_ends(t->name, ".pre_quant_scale"))
        return fh_fail_at(p->err, FH_ERR_UNSUPPORTED, t->file_offset,
                          "'%.*s': a layer that scales its input before the product is not read", FH_STR_ARG(t->name));
    return push(p, &(fh_weight){.name = t->name, .shape = t->shape, .codes = t, .layout = ""}, i);
}

static fh_status bind_all(fh_packed *p, const fh_json_node *config) {
    if (config) {
        FH_TRY(fh_packed_config_read(&p->config, p->arena, config, p->err));
        for (size_t i = 0; i < p->n; i++)
            if (!p->used[i]) FH_TRY(try_layouts(p, (uint32_t)i));
    }
    for (size_t i = 0; i < p->n; i++)
        if (!p->used[i]) FH_TRY(add_plain(p, (uint32_t)i, config != NULL));
    return FH_OK;
}

static fh_status sort_names(fh_packed *p) {
    uint32_t *scratch = p->rank;
    for (size_t i = 0; i < p->n; i++) p->order[i] = (uint32_t)i;
    fh_order_sort(p->order, scratch, p->n, by_name, p->tensor);
    for (size_t i = 1; i < p->n; i++)
        if (by_name(p->tensor, p->order[i - 1], p->order[i]) == 0)
            return fh_fail(p->err, FH_ERR_FORMAT, "tensor '%.*s' stands twice",
                           FH_STR_ARG(p->tensor[p->order[i]]->name));
    for (size_t i = 0; i < p->n; i++) p->rank[p->order[i]] = (uint32_t)i;
    return FH_OK;
}

/* Into the arena, by first stored tensor: no two weights share one, so a slot per tensor sorts them. */
static fh_status deliver(fh_packed *p, fh_weights *out) {
    fh_weight *item = fh_arena_alloc(p->arena, p->n_item, sizeof *item);
    if (!item) return fh_arena_fail(p->arena, p->err);
    uint32_t *slot = p->order; /* names are not looked up any more */
    for (size_t i = 0; i < p->n; i++) slot[i] = UINT32_MAX;
    for (size_t i = 0; i < p->n_item; i++) slot[p->first[i]] = (uint32_t)i;
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (slot[i] != UINT32_MAX) item[n++] = p->item[slot[i]];
    *out = (fh_weights){item, n};
    return FH_OK;
}

fh_status fh_packed_bind(fh_weights *out, fh_arena *arena, const fh_tensor *const *tensors, size_t n_tensor,
                         const fh_json_node *config, fh_err *err) {
    if (n_tensor >= UINT32_MAX) return fh_fail(err, FH_ERR_LIMIT, "%zu tensors are more than is allowed", n_tensor);
    fh_packed p = {.arena = arena, .tensor = tensors, .n = n_tensor, .layout = {"", 0}, .err = err};
    fh_status st = FH_OK;
    p.order = fh_alloc(n_tensor, sizeof *p.order);
    p.rank = fh_alloc(n_tensor, sizeof *p.rank);
    p.used = fh_alloc_zero(n_tensor, 1);
    if (!p.order || !p.rank || !p.used) st = fh_fail_memory(err, n_tensor * 9);
    if (st == FH_OK) st = sort_names(&p);
    if (st == FH_OK) st = bind_all(&p, config);
    if (st == FH_OK) st = deliver(&p, out);
    fh_free(p.order);
    fh_free(p.rank);
    fh_free(p.used);
    fh_free(p.item);
    fh_free(p.first);
    return st;
}
