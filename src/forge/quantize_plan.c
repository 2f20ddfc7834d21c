/* forge/quantize_plan.c - what a quantization would do to each tensor, and what stands in its way.
 * SPDX-License-Identifier: Apache-2.0
 * Order: layers, then names; with keep_split the order of the source's files. Layers that stay are numbered anew where
 * some go. Touches no tensor data itself. */
#include <inttypes.h>
#include <stdio.h>

#include "base/num.h"
#include "forge/budget.h"
#include "forge/quantize.h"
#include "kernel/decode.h"
#include "kernel/quantize.h"

#define NAMES_MOST ((size_t)1 << 26)

static int compare_place(const void *a, const void *b) {
    const fh_tensor *const *x = a, *const *y = b;
    if ((*x)->part != (*y)->part) return (*x)->part < (*y)->part ? -1 : 1;
    return (*x)->file_offset < (*y)->file_offset ? -1 : (*x)->file_offset > (*y)->file_offset;
}

static bool is_embedding(fh_str name) {
    return fh_str_is(name, "token_embd.weight") || fh_str_is(name, "per_layer_token_embd.weight");
}

/* Columns times matrices: what an importance matrix has to have. */
static uint64_t weights_of(const fh_shape *s) {
    uint64_t n = fh_shape_cols(s);
    for (uint32_t i = 0; i + 2 < s->n_dim; i++)
        if (!fh_mul_u64(n, s->dim[i], &n)) return UINT64_MAX;
    return n;
}

static fh_status find_weights(fh_quantize_plan *p, fh_quantize_tensor *item, const fh_imatrix *m, fh_err *err) {
    const fh_tensor *t = item->from;
    const fh_imatrix_entry *e = m ? fh_imatrix_find(m, t->name) : NULL;
    if (m && !e) p->n_missing++;
    if (!e) return FH_OK;
    const uint64_t n = weights_of(&t->shape);
    item->weighted = e->n_value == n;
    /* embeddings are looked up, not multiplied: what is collected for tied ones has another shape */
    if (item->weighted || is_embedding(t->name)) return FH_OK;
    return fh_fail(err, FH_ERR_FORMAT, "the importance matrix has %llu values for '%.*s', which needs %llu",
                   (unsigned long long)e->n_value, FH_STR_ARG(t->name), (unsigned long long)n);
}

static fh_status plan_tensor(fh_quantize_plan *p, fh_quantize_tensor *item, const fh_mix_choice *c,
                             const fh_quantize_options *opt, fh_err *err) {
    const fh_tensor *t = item->from;
    uint64_t count;
    item->type = c->type;
    item->fell_back = c->fell_back;
    if (!fh_shape_count(&t->shape, &count) || !fh_dtype_bytes(item->type, count, &item->bytes))
        return fh_fail(err, FH_ERR_LIMIT, "'%.*s' is too large", FH_STR_ARG(t->name));
    p->n_value += count;
    p->bytes_from += t->data.len;
    p->bytes_to += item->bytes;
    p->n_fell_back += c->fell_back;
    if (item->type == t->dtype) return FH_OK;
    if (!fh_can_decode(t->dtype) || !fh_can_quantize(item->type))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%.*s' cannot be made %s from %s", FH_STR_ARG(t->name),
                       fh_dtype_name(item->type), fh_dtype_name(t->dtype));
    if (fh_dtype_get_info(t->dtype)->cls == FH_DTYPE_CLASS_BLOCK && !opt->requantize)
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "'%.*s' is %s already; quantizing it again loses more than quantizing the original would "
                       "(--allow-requantize does it all the same)",
                       FH_STR_ARG(t->name), fh_dtype_name(t->dtype));
    FH_TRY(find_weights(p, item, opt->imatrix, err));
    if (!item->weighted && (c->needs_imatrix || fh_quantize_needs_weights(item->type)))
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "'%.*s' would become %s, which is of no use without an importance matrix%s", FH_STR_ARG(t->name),
                       fh_dtype_name(item->type), opt->imatrix ? ", and the one given does not have it" : "");
    p->n_weighted += item->weighted;
    return FH_OK;
}

/* ---- layers that go ---- */

/* "blk.12.": the number, and where what follows it begins; false where there is none. */
static bool layer_of(fh_str name, uint32_t *layer, size_t *behind) {
    size_t i = 4;
    uint64_t n = 0;
    if (!fh_str_starts(name, "blk.")) return false;
    for (; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && n < 100000; i++)
        n = n * 10 + (uint64_t)(name.ptr[i] - '0');
    if (i == 4 || i == name.len || name.ptr[i] != '.') return false;
    *layer = (uint32_t)n;
    *behind = i;
    return true;
}

static bool is_pruned(const fh_quantize_options *opt, uint32_t layer) {
    for (size_t i = 0; i < opt->n_prune; i++)
        if (opt->prune[i] == layer) return true;
    return false;
}

/* Drops items of the list (in the order of layers) and says what the others are called. */
static fh_status prune(fh_quantize_plan *p, const fh_tensor **tensor, fh_str *name, const fh_quantize_options *opt,
                       fh_err *err) {
    uint32_t next = 0, last = UINT32_MAX, layer;
    size_t n = 0, behind, gone = 0;
    for (size_t i = 0; i < p->n; i++) {
        const fh_tensor *t = tensor[i];
        char text[640];
        tensor[n] = t;
        name[n] = t->name;
        if (!layer_of(t->name, &layer, &behind)) {
            n++;
            continue;
        }
        const bool first = layer != last;
        last = layer;
        if (is_pruned(opt, layer)) {
            gone += first;
            continue;
        }
        if (first) next++;
        if (next - 1 != layer) {
            snprintf(text, sizeof text, "blk.%" PRIu32 "%.*s", next - 1, (int)FH_MIN(t->name.len - behind, (size_t)600),
                     t->name.ptr + behind);
            if (!fh_arena_copy(&p->names, fh_str_of(text), &name[n])) return fh_arena_fail(&p->names, err);
        }
        n++;
    }
    p->n = n;
    p->n_layer = next;
    if (gone == opt->n_prune && next > 0) return FH_OK;
    return fh_fail(err, FH_ERR_USAGE,
                   gone == opt->n_prune ? "--prune-layers names every layer: none would be left"
                                        : "--prune-layers names a layer that the model does not have");
}

/* ---- all ---- */

/* Numbers of the model that were set by hand count for the rules, too. */
static void set_model(fh_mix_model *m, const fh_quantize_options *opt) {
    struct {
        const char *key;
        uint64_t *out;
    } row[] = {{".block_count", &m->n_layer},
               {".expert_count", &m->n_expert},
               {".attention.head_count", &m->n_head},
               {".attention.head_count_kv", &m->n_head_kv}};
    for (size_t i = 0; i < opt->n_set; i++)
        for (size_t k = 0; k < FH_COUNT(row); k++) {
            const fh_str key = opt->set[i].key;
            const size_t len = strlen(row[k].key);
            if (key.len == m->arch.len + len && fh_str_eq(fh_str_first(key, m->arch.len), m->arch) &&
                fh_str_ends(key, row[k].key))
                (void)fh_gguf_to_u64(&opt->set[i], row[k].out);
        }
}

static fh_status choose_all(fh_quantize_plan *p, const fh_tensor **tensor, const fh_str *name, const fh_feed *f,
                            const fh_quantize_options *opt, fh_err *err) {
    fh_mix_model model;
    fh_mix_options mix = opt->mix;
    fh_tensor *renamed = fh_alloc(p->n, sizeof *renamed);
    const fh_tensor **list = fh_alloc(p->n, sizeof *list);
    fh_mix_choice *choice = fh_alloc(p->n, sizeof *choice);
    fh_status st = renamed && list && choice ? FH_OK : fh_fail_memory(err, p->n * sizeof *renamed);
    for (size_t i = 0; i < p->n && st == FH_OK; i++) {
        renamed[i] = *tensor[i];
        renamed[i].name = name[i];
        list[i] = &renamed[i];
    }
    fh_mix_read_model(&model, fh_feed_keys(f));
    set_model(&model, opt);
    mix.imatrix = opt->imatrix != NULL;
    if (st == FH_OK) st = fh_mix_choose(choice, list, p->n, &model, &mix, err);
    for (size_t i = 0; i < p->n && st == FH_OK; i++) {
        p->item[i] = (fh_quantize_tensor){.from = tensor[i], .name = name[i], .fixed = choice[i].fixed};
        st = plan_tensor(p, &p->item[i], &choice[i], opt, err);
    }
    fh_free(renamed);
    fh_free(list);
    fh_free(choice);
    return st;
}

static fh_status plan_all(fh_quantize_plan *p, const fh_feed *f, const fh_quantize_options *opt, fh_err *err) {
    const size_t n = p->n;
    const fh_tensor **tensor = fh_alloc(n, sizeof *tensor);
    fh_str *name = fh_alloc(n, sizeof *name);
    p->item = fh_alloc_zero(n, sizeof *p->item);
    fh_status st = tensor && name && p->item ? FH_OK : fh_fail_memory(err, n * sizeof *p->item);
    for (size_t i = 0; i < n && st == FH_OK; i++) tensor[i] = fh_feed_get_tensor(f, i);
    if (st == FH_OK && opt->keep_split && opt->n_prune == 0) qsort(tensor, n, sizeof *tensor, compare_place);
    else if (st == FH_OK) fh_mix_order(tensor, n);
    for (size_t i = 0; i < n && st == FH_OK; i++) name[i] = tensor[i]->name;
    if (st == FH_OK && opt->n_prune > 0) st = prune(p, tensor, name, opt, err);
    if (st == FH_OK) st = choose_all(p, tensor, name, f, opt, err);
    fh_free(tensor);
    fh_free(name);
    return st;
}

static fh_status check_options(const fh_feed *f, const fh_quantize_options *opt, fh_err *err) {
    if (opt->keep_split && fh_bundle_form(fh_feed_bundle(f)) != FH_FORM_GGUF)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "only a GGUF in parts can be kept in parts");
    if (opt->keep_split && opt->n_prune > 0)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "layers cannot be left out of a model that is to stay in parts");
    if (opt->n_prune == 0) return FH_OK;
    for (size_t i = 0; i < fh_feed_n_tensor(f); i++) {
        const fh_str name = fh_feed_get_tensor(f, i)->name;
        if (fh_str_starts(name, "enc.blk.") || fh_str_starts(name, "dec.blk."))
            return fh_fail(err, FH_ERR_UNSUPPORTED, "layers can be left out of decoders and encoders, not of both");
    }
    return FH_OK;
}

fh_status fh_quantize_plan_new(fh_quantize_plan **out, fh_feed *f, const fh_quantize_options *opt, fh_pool *pool,
                               fh_err *err) {
    FH_TRY(check_options(f, opt, err));
    fh_quantize_plan *p = fh_alloc_zero(1, sizeof *p);
    if (!p) return fh_fail_memory(err, sizeof *p);
    fh_arena_init(&p->names, NAMES_MOST);
    p->n = fh_feed_n_tensor(f);
    p->file_type = opt->mix.copy ? UINT32_MAX : fh_mix_get(opt->mix.mix)->number;
    fh_status st = plan_all(p, f, opt, err);
    if (st == FH_OK && opt->bpw > 0) st = fh_budget_apply(p, f, opt, pool, err);
    if (st != FH_OK) {
        fh_quantize_plan_free(p);
        return st;
    }
    *out = p;
    return FH_OK;
}

void fh_quantize_plan_free(fh_quantize_plan *p) {
    if (!p) return;
    fh_free(p->item);
    fh_arena_release(&p->names);
    fh_free(p);
}
