/* format/adapter.c - opening an adapter: stored tensors to checked pairs.
 * SPDX-License-Identifier: Apache-2.0
 * The two forms (adapter_peft.c, adapter_gguf.c) say what each stored tensor is to which module; here they are
 * sorted, put together and checked: partners complete, ranks as the config says, shapes that can be multiplied.
 * Invariant: whoever holds an open adapter may multiply b with a without a check of his own. */
#include <inttypes.h>
#include <math.h>

#include "base/num.h"
#include "format/adapter_part.h"
#include "format/order.h"

static int by_module(const void *ctx, uint32_t x, uint32_t y) {
    const fh_adapter_entry *e = ctx;
    int c = fh_str_cmp(e[x].module, e[y].module);
    return c ? c : (int)e[x].role - (int)e[y].role;
}

static bool is_float(const fh_tensor *t) {
    const fh_dtype_info *d = fh_dtype_get_info(t->dtype);
    return d->cls != FH_DTYPE_CLASS_INT && d->cls != FH_DTYPE_CLASS_BITS && t->dtype != FH_DTYPE_C64;
}

static fh_status wrong(fh_err *err, fh_str module, const fh_tensor *t, const char *why) {
    char shape[FH_MAX_DIMS * 22 + 2];
    return fh_fail_at(err, FH_ERR_FORMAT, t->file_offset, "adapter of '%.*s': '%.*s' %s %s", FH_STR_ARG(module),
                      FH_STR_ARG(t->name), fh_shape_text(&t->shape, shape, sizeof shape), why);
}

/* a [.., r, in] and b [.., out, r], the leading dimension the same; the embedding's a in GGUF is [vocab, r]. */
static fh_status check_shapes(fh_adapter_pair *p, fh_err *err) {
    const fh_shape *a = &p->a->shape, *b = &p->b->shape;
    uint32_t most = p->embedding ? 2 : 3;
    if (!is_float(p->a)) return wrong(err, p->module, p->a, "is no matrix of floats");
    if (!is_float(p->b)) return wrong(err, p->module, p->b, "is no matrix of floats");
    if (a->n_dim < 2 || a->n_dim > most)
        return wrong(err, p->module, p->a, "is no matrix: only linear layers are read");
    if (b->n_dim != a->n_dim) return wrong(err, p->module, p->b, "does not fit its partner");
    if (a->n_dim == 3 && a->dim[0] != b->dim[0]) return wrong(err, p->module, p->b, "has not its partner's experts");
    uint64_t ra = a->dim[a->n_dim - (p->a_transposed ? 1 : 2)], rb = b->dim[b->n_dim - 1];
    if (ra != rb || ra == 0) return wrong(err, p->module, p->b, "has not its partner's rank");
    if (p->r && p->r != ra) {
        char why[80];
        snprintf(why, sizeof why, "has not the rank %" PRIu64 " of the config", p->r);
        return wrong(err, p->module, p->a, why);
    }
    p->r = ra;
    return FH_OK;
}

/* One number per row of b. */
static fh_status check_vector(const fh_adapter_pair *p, const fh_tensor *t, fh_err *err) {
    uint64_t n = 0, out = p->b->shape.dim[p->b->shape.n_dim - 2];
    if (!t) return FH_OK;
    if (!is_float(t) || p->b->shape.n_dim != 2 || !fh_shape_count(&t->shape, &n) || n != out)
        return wrong(err, p->module, t, "is not one float for each row of the weight");
    return FH_OK;
}

static fh_status make_pair(const fh_adapter *a, const fh_tensor *const part[FH_ADAPTER_ROLES], fh_str module,
                           fh_adapter_pair *out, fh_err *err) {
    bool embedding = part[FH_ADAPTER_EMBEDDING_A] || part[FH_ADAPTER_EMBEDDING_B];
    bool linear = part[FH_ADAPTER_A] || part[FH_ADAPTER_B];
    fh_adapter_pair p = {.module = module, .embedding = embedding};
    p.a = part[embedding ? FH_ADAPTER_EMBEDDING_A : FH_ADAPTER_A];
    p.b = part[embedding ? FH_ADAPTER_EMBEDDING_B : FH_ADAPTER_B];
    p.magnitude = part[FH_ADAPTER_MAGNITUDE];
    p.b_bias = part[FH_ADAPTER_B_BIAS];
    p.a_transposed = embedding && a->info.form == FH_ADAPTER_GGUF;
    if (embedding && linear)
        return fh_fail(err, FH_ERR_FORMAT, "adapter of '%.*s' is one of a linear layer and of an embedding",
                       FH_STR_ARG(module));
    if (!p.a || !p.b)
        return fh_fail(err, FH_ERR_FORMAT, "adapter of '%.*s' lacks its matrix %s", FH_STR_ARG(module),
                       p.a ? "B" : "A");
    p.alpha = a->info.alpha;
    if (a->info.form == FH_ADAPTER_PEFT) FH_TRY(fh_adapter_scale_peft(a, module, &p.r, &p.alpha, err));
    FH_TRY(check_shapes(&p, err));
    FH_TRY(check_vector(&p, p.magnitude, err));
    FH_TRY(check_vector(&p, p.b_bias, err));
    if (a->info.dora != (p.magnitude != NULL))
        return fh_fail(err, FH_ERR_FORMAT, "adapter of '%.*s' %s a magnitude vector, the config says the opposite",
                       FH_STR_ARG(module), p.magnitude ? "has" : "lacks");
    double by = a->info.rslora ? sqrt((double)p.r) : (double)p.r;
    p.scale = a->info.form == FH_ADAPTER_GGUF && p.alpha == 0 ? 1.0f : (float)(p.alpha / by);
    if (!isfinite(p.scale))
        return fh_fail(err, FH_ERR_FORMAT, "adapter of '%.*s' has no finite scale", FH_STR_ARG(module));
    *out = p;
    return FH_OK;
}

/* Entries of one module stand together: each group is one pair, or one saved tensor. */
static fh_status build(fh_adapter *a, const fh_adapter_entry *e, const uint32_t *order, size_t n, fh_err *err) {
    a->pair = fh_arena_alloc(&a->arena, n, sizeof *a->pair);
    a->saved = fh_arena_alloc(&a->arena, n, sizeof *a->saved);
    if (!a->pair || !a->saved) return fh_arena_fail(&a->arena, err);
    for (size_t i = 0, next; i < n; i = next) {
        const fh_tensor *part[FH_ADAPTER_ROLES] = {NULL};
        fh_str module = e[order[i]].module;
        size_t paired = 0;
        for (next = i; next < n && fh_str_eq(e[order[next]].module, module); next++) {
            const fh_adapter_entry *x = &e[order[next]];
            if (part[x->role])
                return fh_fail_at(err, FH_ERR_FORMAT, x->tensor->file_offset,
                                  "adapter tensors '%.*s' and '%.*s' are the same", FH_STR_ARG(part[x->role]->name),
                                  FH_STR_ARG(x->tensor->name));
            part[x->role] = x->tensor;
            if (x->role != FH_ADAPTER_SAVED) paired++;
        }
        if (part[FH_ADAPTER_SAVED]) a->saved[a->n_saved++] = (fh_adapter_saved){module, part[FH_ADAPTER_SAVED]};
        if (paired) FH_TRY(make_pair(a, part, module, &a->pair[a->n_pair++], err));
    }
    if (a->n_pair + a->n_saved == 0) return fh_fail(err, FH_ERR_FORMAT, "the adapter holds no tensors");
    return FH_OK;
}

static fh_status sort_and_build(fh_adapter *a, const fh_adapter_entry *e, size_t n, fh_err *err) {
    uint32_t *order = fh_alloc(n, 2 * sizeof *order);
    if (!order) return fh_fail_memory(err, n * 2 * sizeof *order);
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    fh_order_sort(order, order + n, n, by_module, e);
    fh_status st = build(a, e, order, n, err);
    fh_free(order);
    return st;
}

fh_status fh_adapter_open(fh_adapter **out, const char *path, fh_err *err) {
    fh_adapter_entry *entry = NULL;
    size_t n = 0;
    fh_file_kind kind = fh_file_get_kind(path);
    if (kind == FH_FILE_NONE) {
        fh_fail(err, FH_ERR_NOT_FOUND, "no adapter at '%s'", path);
        fh_err_set_path(err, path);
        return FH_ERR_NOT_FOUND;
    }
    fh_adapter *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return fh_fail_memory(err, sizeof *a);
    fh_arena_init(&a->arena, 256u << 20);
    a->info.base_model = a->info.arch = a->info.bias = FH_STR("");
    fh_status st = kind == FH_FILE_DIR ? fh_adapter_read_peft(a, path, &entry, &n, err)
                                       : fh_adapter_read_gguf(a, path, &entry, &n, err);
    if (st == FH_OK) st = sort_and_build(a, entry, n, err);
    fh_free(entry);
    if (st != FH_OK) {
        fh_err_set_path(err, a->map ? fh_map_path(a->map) : path);
        fh_adapter_close(a);
        return st;
    }
    *out = a;
    return FH_OK;
}

void fh_adapter_close(fh_adapter *a) {
    if (!a) return;
    fh_arena_release(&a->arena);
    fh_st_close(a->st);
    fh_gguf_close(a->gguf);
    fh_json_free(a->config);
    fh_map_close(a->map);
    fh_free(a);
}

const fh_adapter_info *fh_adapter_get_info(const fh_adapter *a) { return &a->info; }
size_t fh_adapter_n_pair(const fh_adapter *a) { return a->n_pair; }
size_t fh_adapter_n_saved(const fh_adapter *a) { return a->n_saved; }
const fh_adapter_pair *fh_adapter_get_pair(const fh_adapter *a, size_t i) {
    FH_REQUIRE(i < a->n_pair);
    return &a->pair[i];
}
const fh_adapter_saved *fh_adapter_get_saved(const fh_adapter *a, size_t i) {
    FH_REQUIRE(i < a->n_saved);
    return &a->saved[i];
}

const fh_adapter_pair *fh_adapter_find_pair(const fh_adapter *a, fh_str module) {
    size_t lo = 0, hi = a->n_pair;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = fh_str_cmp(a->pair[mid].module, module);
        if (c == 0) return &a->pair[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const fh_adapter_saved *fh_adapter_find_saved(const fh_adapter *a, fh_str name) {
    size_t lo = 0, hi = a->n_saved;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = fh_str_cmp(a->saved[mid].name, name);
        if (c == 0) return &a->saved[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

fh_status fh_adapter_check(const fh_adapter *a, fh_err *err) { return fh_map_check(a->map, err); }
