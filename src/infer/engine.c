/* infer/engine.c - engines: what they allocate, and what a session will take.
 * SPDX-License-Identifier: Apache-2.0
 * Ceilings are fixed when an engine is made. Plans whose masks look ahead need a sequence in one batch: their ceiling
 * is the model's context, which is what makes their scratch large (fh_engine_foretell says how large). */
#include <strings.h>

#include "base/mem.h"
#include "base/num.h"
#include "infer/infer_part.h"

#define DEFAULT_PAGE 32u
#define DEFAULT_BATCH 512u
#define DEFAULT_SNAPSHOT 256u
#define DEFAULT_CACHE (1ull << 30)
#define LOGIT_BYTES (32u << 20)
#define MOST_SEQUENCES 1024u /* in one batch */

fh_status fh_engine_new(fh_engine **out, const fh_model *model, const fh_engine_options *opt, fh_err *err) {
    const fh_spec *spec = fh_model_spec(model);
    fh_engine_source src = {.model = model,
                            .step = fh_model_plan(model, FH_PLAN_STEP),
                            .encode = fh_model_plan(model, FH_PLAN_ENCODE),
                            .n_context = spec->n_context,
                            .n_vocab = spec->n_vocab};
    return fh_engine_new_from(out, &src, opt, err);
}

static const fh_dtype kv_types[] = {FH_DTYPE_F32, FH_DTYPE_F16, FH_DTYPE_BF16, FH_DTYPE_Q8_0};

bool fh_engine_kv_type(fh_str name, fh_dtype *out) {
    for (size_t i = 0; i < FH_COUNT(kv_types); i++) {
        const char *known = fh_dtype_name(kv_types[i]);
        if (strlen(known) != name.len || strncasecmp(name.ptr, known, name.len) != 0) continue;
        *out = kv_types[i];
        return true;
    }
    return false;
}

static bool is_kv_type(fh_dtype t) {
    for (size_t i = 0; i < FH_COUNT(kv_types); i++)
        if (kv_types[i] == t) return true;
    return false;
}

static fh_status resolve(fh_engine_options *o, fh_err *err) {
    if (o->page == 0) o->page = DEFAULT_PAGE;
    if (o->page != 16 && o->page != 32 && o->page != 64)
        return fh_fail(err, FH_ERR_USAGE, "pages of %u tokens, allowed are 16, 32 and 64", o->page);
    if (!is_kv_type(o->kv_type))
        return fh_fail(err, FH_ERR_USAGE, "keys and values of type '%s', allowed are " FH_KV_TYPES,
                       fh_dtype_name(o->kv_type));
    if (o->batch == 0) o->batch = DEFAULT_BATCH;
    if (o->batch > 1u << 20) return fh_fail(err, FH_ERR_USAGE, "batches of %u tokens, at most 1048576", o->batch);
    if (o->rows > o->batch) o->rows = o->batch;
    if (o->snapshot == 0) o->snapshot = DEFAULT_SNAPSHOT;
    if (o->snapshot % o->page != 0)
        return fh_fail(err, FH_ERR_USAGE, "a snapshot every %u tokens is no multiple of the page of %u", o->snapshot,
                       o->page);
    if (o->cache_most == 0) o->cache_most = o->memory_most ? o->memory_most : DEFAULT_CACHE;
    return FH_OK;
}

static fh_status read_groups(fh_engine *e, fh_err *err) {
    const fh_plan *p = e->src.step;
    if (p->n_group > FH_MAX_GROUPS)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "%u kinds of attention state, at most %d are supported", p->n_group,
                       FH_MAX_GROUPS);
    if (p->n_rope > 64)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "%u kinds of rotation, at most 64 are supported", p->n_rope);
    e->n_group = p->n_group;
    for (uint32_t g = 0; g < p->n_group; g++) {
        const fh_state_group *x = &p->group[g];
        if (x->kind == FH_STATE_RECURRENT || e->layout.page_bytes[g] == 0) continue;
        e->role[g] = x->kind == FH_STATE_CROSS        ? FH_ROLE_CROSS
                     : x->of_encoder && e->src.encode ? FH_ROLE_ENCODER
                                                      : FH_ROLE_STEP;
        if (e->role[g] != FH_ROLE_STEP) continue;
        e->window[g] = x->window;
        e->slides = e->slides || x->window;
    }
    e->recurrent = e->layout.slot_floats > 0;
    e->whole = p->whole_sequences;
    return FH_OK;
}

static fh_status new_executor(fh_engine *e, fh_model_plan_kind kind, uint32_t tokens, uint32_t rows, fh_err *err) {
    fh_exec_options opt = {.pool = e->pool,
                           .ceiling = {.size = {[FH_DIM_ONE] = 1, [FH_DIM_TOKENS] = tokens, [FH_DIM_ROWS] = rows}},
                           .prepared = e->prepared,
                           .keep_values = e->opt.keep_values};
    const fh_plan *plan = kind == FH_PLAN_STEP ? e->src.step : e->src.encode;
    return fh_exec_new(&e->exec[kind], plan, &e->layout, &opt, err);
}

static fh_status new_batch(fh_engine *e, fh_err *err) {
    size_t n = FH_MAX(e->batch_most, e->encode_most);
    e->seq_most = FH_MIN(e->batch_most, MOST_SEQUENCES);
    e->token = fh_alloc(n, sizeof *e->token);
    e->pos = fh_alloc(n, sizeof *e->pos);
    e->seq_of = fh_alloc(n, sizeof *e->seq_of);
    e->row = fh_alloc(n, sizeof *e->row);
    e->seq = fh_alloc(e->seq_most, sizeof *e->seq);
    e->piece = fh_alloc(e->seq_most, sizeof *e->piece);
    if (!e->token || !e->pos || !e->seq_of || !e->row || !e->seq || !e->piece)
        return fh_fail_memory(err, n * 4 * sizeof *e->token + e->seq_most * (sizeof *e->seq + sizeof *e->piece));
    return FH_OK;
}

static void done_with(void *ctx, fh_bytes bytes) {
    const fh_engine *e = ctx;
    fh_bundle_drop(fh_model_bundle(e->src.model), bytes);
}

/* Rows of logits are large: by default as many as fit 32 MiB. */
static uint32_t default_rows(const fh_engine *e) {
    const fh_plan *p = e->src.step;
    uint32_t v = p->exported[FH_EXPORT_LOGITS];
    uint64_t row = v == FH_NO_VALUE ? 1 : sizeof(float) * (uint64_t)p->value[v].width;
    return (uint32_t)FH_MIN(FH_MAX(LOGIT_BYTES / row, 16u), (uint64_t)e->opt.batch);
}

static fh_status make(fh_engine *e, fh_err *err) {
    const fh_plan *step = e->src.step;
    FH_TRY(resolve(&e->opt, err));
    if (e->opt.rows == 0) e->opt.rows = default_rows(e);
    e->place = fh_alloc_zero(step->n_state, sizeof *e->place);
    if (!e->place) return fh_fail_memory(err, step->n_state * sizeof *e->place);
    FH_TRY(fh_state_layout_make(step, e->opt.page, e->opt.kv_type, e->place, &e->layout, &e->fell_back, err));
    FH_TRY(read_groups(e, err));
    uint64_t bytes[FH_PAGE_GROUPS] = {0};
    for (uint32_t g = 0; g < e->n_group; g++) bytes[g] = e->layout.page_bytes[g];
    if (!fh_mul_u64(e->layout.slot_floats, sizeof(float), &bytes[FH_SLOT_GROUP]))
        return fh_fail(err, FH_ERR_LIMIT, "recurrent state of %llu numbers", (unsigned long long)e->layout.slot_floats);
    fh_pages_init(&e->pages, bytes, e->opt.memory_most, e->opt.cache_most);
    if (!e->opt.no_prefix_cache && !e->whole) FH_TRY(fh_prefix_new(&e->prefix, e->opt.page, &e->pages, err));
    uint32_t most = FH_MAX(e->opt.batch, e->src.n_context);
    e->batch_most = e->whole ? most : e->opt.batch;
    e->rows_most = e->whole ? most : e->opt.rows;
    e->encode_most = e->src.encode ? most : 0;
    fh_pool_options pool = {.n_worker = e->opt.threads};
    FH_TRY(fh_pool_new(&e->pool, &pool, err));
    if (!e->opt.exact) {
        fh_prepared_options prepared = {.done_with = e->src.model ? done_with : NULL, .ctx = e};
        FH_TRY(fh_prepared_new(&e->prepared, step, &prepared, err));
    }
    FH_TRY(new_executor(e, FH_PLAN_STEP, e->batch_most, e->rows_most, err));
    if (e->src.encode) FH_TRY(new_executor(e, FH_PLAN_ENCODE, e->encode_most, 1, err));
    return new_batch(e, err);
}

fh_status fh_engine_new_from(fh_engine **out, const fh_engine_source *src, const fh_engine_options *opt, fh_err *err) {
    fh_engine *e = fh_alloc_zero(1, sizeof *e);
    if (!e) return fh_fail_memory(err, sizeof *e);
    e->src = *src;
    e->opt = *opt;
    fh_status st = make(e, err);
    if (st == FH_OK) *out = e;
    else fh_engine_free(e);
    return st;
}

void fh_engine_free(fh_engine *e) {
    if (!e) return;
    fh_pages_release(&e->pages);
    fh_prefix_free(e->prefix);
    for (int k = 0; k < FH_PLAN_COUNT; k++) fh_exec_free(e->exec[k]);
    fh_prepared_free(e->prepared);
    fh_pool_free(e->pool);
    fh_free(e->place);
    fh_free(e->token);
    fh_free(e->pos);
    fh_free(e->seq_of);
    fh_free(e->row);
    fh_free(e->seq);
    fh_free(e->piece);
    fh_free(e);
}

const fh_model *fh_engine_model(const fh_engine *e) { return e->src.model; }
fh_exec *fh_engine_exec(fh_engine *e, fh_model_plan_kind kind) { return e->exec[kind]; }
void fh_engine_wait_packed(const fh_engine *e) {
    if (e->prepared) fh_prepared_wait(e->prepared);
}

uint32_t fh_engine_width(const fh_engine *e, fh_export what) {
    uint32_t v = e->src.step->exported[what];
    return v == FH_NO_VALUE ? 0 : e->src.step->value[v].width;
}

fh_status fh_engine_check_tokens(const fh_engine *e, const uint32_t *token, uint32_t n, fh_err *err) {
    for (uint32_t i = 0; i < n && e->src.n_vocab; i++)
        if (token[i] >= e->src.n_vocab)
            return fh_fail(err, FH_ERR_USAGE, "token '%u' is not in the vocabulary of %u", token[i], e->src.n_vocab);
    return FH_OK;
}

/* ---- memory ---- */
static uint64_t scratch_of(const fh_engine *e) {
    uint64_t sum = 0;
    for (int k = 0; k < FH_PLAN_COUNT; k++) sum += e->exec[k] ? fh_exec_bytes(e->exec[k]) : 0;
    return sum;
}

/* Goes through the batches of one step over n tokens, as the step would make them. */
static uint64_t step_peak(const fh_engine *e, uint32_t n, uint64_t pages[FH_MAX_GROUPS]) {
    uint64_t peak = 0;
    for (uint32_t at = 0; at < n;) {
        uint32_t end = at + fh_engine_portion(e, at, n - at, e->batch_most, 0);
        uint64_t sum = e->pages.bytes[FH_SLOT_GROUP];
        for (uint32_t g = 0; g < e->n_group; g++) {
            if (e->role[g] != FH_ROLE_STEP) continue;
            uint32_t w = e->window[g], page = e->layout.page;
            uint64_t count = fh_ceil_div(end, page) - (w == 0 || at < w ? 0 : (at - w + 1) / page);
            pages[g] = FH_MAX(pages[g], count);
            sum += count * e->layout.page_bytes[g];
        }
        peak = FH_MAX(peak, sum);
        at = end;
    }
    return peak;
}

/* However n tokens come: full groups all of them, sliding ones their window and a batch, which ends at a page border
 * where it is cut (fh_engine_portion). */
static uint64_t step_most(const fh_engine *e, uint32_t n) {
    uint64_t sum = n ? e->pages.bytes[FH_SLOT_GROUP] : 0;
    for (uint32_t g = 0; g < e->n_group; g++) {
        if (e->role[g] != FH_ROLE_STEP) continue;
        uint64_t page = e->layout.page, w = e->window[g], count = fh_ceil_div(n, page);
        uint64_t most = FH_MAX(fh_ceil_div(e->batch_most + w - 1, page), 1 + fh_ceil_div(w - 1, page));
        sum += (w && !e->whole ? FH_MIN(count, most) : count) * e->layout.page_bytes[g];
    }
    return sum;
}

fh_engine_memory fh_engine_foretell(const fh_engine *e, uint32_t n_token, uint32_t n_input) {
    fh_engine_memory m = {
        .scratch = scratch_of(e), .slot_bytes = e->pages.bytes[FH_SLOT_GROUP], .kv_fell_back = e->fell_back};
    uint64_t of[FH_ROLE_CROSS + 1] = {0};
    of[FH_ROLE_STEP] = step_peak(e, n_token, m.pages);
    for (uint32_t g = 0; g < e->n_group; g++) {
        m.page_bytes[g] = e->layout.page_bytes[g];
        if (e->role[g] != FH_ROLE_CROSS && e->role[g] != FH_ROLE_ENCODER) continue;
        m.pages[g] = fh_ceil_div(n_input, e->layout.page);
        of[e->role[g]] += m.pages[g] * m.page_bytes[g];
    }
    m.state = of[FH_ROLE_CROSS] + FH_MAX(of[FH_ROLE_ENCODER], of[FH_ROLE_STEP]);
    m.state_most = of[FH_ROLE_CROSS] + FH_MAX(of[FH_ROLE_ENCODER], step_most(e, n_token));
    return m;
}

fh_engine_usage fh_engine_get_usage(const fh_engine *e) {
    const fh_pages *p = &e->pages;
    return (fh_engine_usage){.scratch = scratch_of(e),
                             .page_bytes_live = p->live[0],
                             .page_bytes_cached = p->cached[0],
                             .slot_bytes = p->live[1] + p->cached[1] - p->remembered_slots,
                             .snapshot_bytes = p->remembered_slots,
                             .state_peak = p->peak,
                             .prefix_hits = e->prefix_hits,
                             .prefix_tokens = e->prefix_tokens,
                             .recomputed = e->recomputed};
}
