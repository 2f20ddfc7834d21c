/* forge/quantize_plan.c - what a quantization would do to each tensor, and what stands in its way.
 * SPDX-License-Identifier: Apache-2.0
 * Order: layers, then names; with keep_split the order of the source's files. Touches no tensor data. */
#include "base/num.h"
#include "forge/quantize.h"
#include "kernel/decode.h"
#include "kernel/quantize.h"

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

static fh_status plan_all(fh_quantize_plan *p, const fh_bundle *b, const fh_quantize_options *opt, fh_err *err) {
    const size_t n = p->n;
    const fh_tensor **tensor = fh_alloc(n, sizeof *tensor);
    fh_mix_choice *choice = fh_alloc(n, sizeof *choice);
    fh_mix_model model;
    fh_mix_options mix = opt->mix;
    fh_status st = tensor && choice ? FH_OK : fh_fail_memory(err, n * sizeof *choice);
    if (st != FH_OK) goto out;
    for (size_t i = 0; i < n; i++) tensor[i] = fh_bundle_get_tensor(b, i);
    if (opt->keep_split) qsort(tensor, n, sizeof *tensor, compare_place);
    else fh_mix_order(tensor, n);
    fh_mix_read_model(&model, fh_bundle_gguf(b, 0));
    mix.imatrix = opt->imatrix != NULL;
    st = fh_mix_choose(choice, tensor, n, &model, &mix, err);
    for (size_t i = 0; i < n && st == FH_OK; i++) {
        p->item[i].from = tensor[i];
        st = plan_tensor(p, &p->item[i], &choice[i], opt, err);
    }
out:
    fh_free(tensor);
    fh_free(choice);
    return st;
}

fh_status fh_quantize_plan_new(fh_quantize_plan **out, const fh_bundle *b, const fh_quantize_options *opt,
                               fh_err *err) {
    if (fh_bundle_form(b) != FH_FORM_GGUF)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%s' is no GGUF; convert it first", fh_bundle_path(b));
    fh_quantize_plan *p = fh_alloc_zero(1, sizeof *p);
    if (!p) return fh_fail_memory(err, sizeof *p);
    p->n = fh_bundle_n_tensor(b);
    p->item = fh_alloc_zero(p->n, sizeof *p->item);
    fh_status st = p->item ? plan_all(p, b, opt, err) : fh_fail_memory(err, p->n * sizeof *p->item);
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
    fh_free(p);
}
