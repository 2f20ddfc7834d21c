/* serve/fleet_open.c - a model made ready to be served: files, plans, threads, tokenizer, template, scheduler.
 * SPDX-License-Identifier: Apache-2.0
 * Runs on the fleet's thread and may take seconds. */
#include "base/clock.h"
#include "base/num.h"
#include "library/model_text.h"
#include "library/open_tokenizer.h"
#include "serve/fleet_part.h"

#define TOUCH_BYTES ((size_t)16 << 20)
#define STATE_MOST ((uint64_t)8 << 30)

/* ---- files ---- */

static uint64_t weight_bytes(const fh_bundle *b) {
    uint64_t n = 0;
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) n += fh_bundle_part_data(b, i).len;
    return n;
}

/* Brings the pages into memory, and says how far it is: the first answer should not wait for the disk. */
static void touch(fh_fleet_slot *s, const fh_bundle *b) {
    volatile uint8_t sink = 0;
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) {
        fh_bytes data = fh_bundle_part_data(b, i);
        for (size_t at = 0; at < data.len; at += 4096) {
            sink = data.ptr[at];
            if (at % TOUCH_BYTES == 0) s->touched_bytes += FH_MIN(TOUCH_BYTES, data.len - at);
        }
    }
    (void)sink;
}

static fh_status open_model(fh_fleet_box *b, fh_err *err) {
    fh_resident *r = &b->pub;
    fh_bundle *bundle = NULL;
    FH_TRY(fh_location_open(&bundle, &r->at, err));
    b->slot->file_bytes = weight_bytes(bundle);
    touch(b->slot, bundle);
    FH_TRY(fh_model_load(&r->model, bundle, err)); /* takes the bundle */
    return fh_facts_gather(&r->facts, bundle, &r->at, err);
}

/* ---- text ---- */

static fh_status find_template(fh_resident *r, fh_err *err) {
    fh_template_choice pick;
    FH_TRY(fh_template_choose_with(&pick, &r->facts, r->tokenizer, err));
    r->template = pick.template;
    if (r->template) r->template_name = pick.builtin ? pick.builtin->name : "the model's own";
    return FH_OK;
}

static fh_status open_text(fh_resident *r, fh_err *err) {
    const char *from = r->at.source == FH_SOURCE_BUILTIN ? NULL : r->at.path;
    FH_TRY(fh_model_generation_config(&r->gen, r->model, err));
    fh_status s = fh_tokenizer_open(&r->tokenizer, from, (fh_str){NULL, 0}, err);
    if (s != FH_OK) return s == FH_ERR_MEMORY ? s : FH_OK; /* token ids can still be asked for */
    FH_TRY(fh_model_end_ids(&r->end_ids, r->model, r->tokenizer, &r->gen, err));
    FH_TRY(fh_constrain_vocab_new(&r->vocab, r->tokenizer, r->end_ids.ptr, r->end_ids.len, err));
    r->bos_token = fh_tokenizer_special_text(r->tokenizer, FH_SPECIAL_BOS);
    r->eos_token = fh_tokenizer_special_text(r->tokenizer, FH_SPECIAL_EOS);
    r->insert = fh_tokenizer_special(r->tokenizer, FH_SPECIAL_FIM_PREFIX) != FH_VOCAB_NO_ID &&
                fh_tokenizer_special(r->tokenizer, FH_SPECIAL_FIM_MIDDLE) != FH_VOCAB_NO_ID;
    if (r->result != FH_EXPORT_LOGITS || fh_model_plan(r->model, FH_PLAN_ENCODE)) return FH_OK;
    FH_TRY(find_template(r, err));
    if (!r->template) return FH_OK;
    FH_TRY(fh_markup_probe(&r->markup, r->template, r->bos_token, r->eos_token, err));
    r->has_markup = true;
    return FH_OK;
}

/* ---- memory and engine ---- */

/* Bytes of state that a model may keep, cached prompts included: as much as its weights, 1 GiB at least and 8 GiB at
 * the most, and not more than half of what is left, so that others find room. */
static uint64_t state_share(const fh_fleet_options *o, uint64_t weights, uint64_t left) {
    uint64_t share = weights < ((uint64_t)1 << 30) ? (uint64_t)1 << 30 : FH_MIN(weights, STATE_MOST);
    return o->state_most ? FH_MIN(o->state_most, left) : FH_MIN(share, left / 2 + 1);
}

static fh_status no_room(const fh_resident *r, uint64_t weights, uint64_t work, uint64_t room, fh_err *err) {
    return fh_fail(err, FH_ERR_LIMIT,
                   "'%.100s' needs %llu MiB for its weights and at least %llu MiB to work; %llu MiB are to be had",
                   r->name, (unsigned long long)(weights >> 20), (unsigned long long)((work >> 20) + 1),
                   (unsigned long long)(room >> 20));
}

/* One whole context has to fit: if the share is too small for it, it becomes larger, and if that is not to be had, the
 * context becomes shorter, which every answer and list of models says. */
static fh_status start_engine(fh_fleet_box *b, const fh_fleet_options *o, uint64_t room, fh_err *err) {
    fh_resident *r = &b->pub;
    uint32_t context = fh_model_spec(r->model)->n_context;
    uint64_t weights = b->slot->file_bytes, left = room > weights ? room - weights : 0;
    if (o->ctx && (o->ctx < context || context == 0)) context = o->ctx;
    uint32_t n = context ? context : 4096;
    fh_engine_options e = {.threads = o->threads,
                           .kv_type = o->exact ? FH_DTYPE_F32 : o->kv_type,
                           .rows = FH_MAX(2 * o->parallel, 32u),
                           .exact = o->exact,
                           .memory_most = state_share(o, weights, left)};
    if (left == 0) return no_room(r, weights, 0, room, err);
    FH_TRY(fh_engine_new(&r->engine, r->model, &e, err));
    fh_engine_memory one = fh_engine_foretell(r->engine, n, 0);
    if (one.state > e.memory_most && !o->state_most && one.scratch < left && left - one.scratch > e.memory_most) {
        e.memory_most = FH_MIN(one.state, left - one.scratch);
        fh_engine_free(r->engine);
        r->engine = NULL;
        FH_TRY(fh_engine_new(&r->engine, r->model, &e, err));
    }
    for (; one.state > e.memory_most && n > 512; one = fh_engine_foretell(r->engine, n, 0)) n /= 2;
    if (one.state > e.memory_most || one.scratch > left) return no_room(r, weights, one.state + one.scratch, room, err);
    r->n_context = n;
    r->bytes = weights + one.scratch + e.memory_most;
    if (fh_engine_width(r->engine, FH_EXPORT_LOGITS) == 0) return FH_OK; /* it embeds or ranks: nothing to schedule */
    fh_fleet_take_prompts(o, b->slot, r->engine);
    const fh_scheduler_options so = {.running_most = o->parallel, .waiting_most = o->queue, .draft_most = o->draft};
    return fh_scheduler_new(&r->scheduler, r->engine, &so, err);
}

fh_status fh_resident_open(fh_fleet_box **out, fh_fleet_slot *s, const fh_fleet_options *o, uint64_t room,
                           fh_err *err) {
    uint64_t start = fh_clock_ns();
    fh_fleet_box *b = fh_alloc_zero(1, sizeof *b);
    if (!b) return fh_fail_memory(err, sizeof *b);
    fh_resident *r = &b->pub;
    b->slot = s;
    r->name = s->name;
    r->at = s->at;
    r->template_name = "";
    fh_ids_init(&r->end_ids, FH_VOCAB_MAX_ID);
    fh_status st = open_model(b, err);
    if (st == FH_OK) {
        r->result = fh_model_purpose(r->model);
        st = open_text(r, err);
    }
    if (st == FH_OK) st = start_engine(b, o, room, err);
    if (st == FH_OK && s->n_adapter) st = fh_adapters_open(&r->adapters, s, r->model, &r->bytes, err);
    if (st != FH_OK) {
        fh_resident_close(b, NULL);
        return st;
    }
    r->load_ns = fh_clock_ns() - start;
    r->loaded_unix_ms = fh_clock_unix_ms();
    s->n_context = r->n_context;
    s->result = r->result;
    *out = b;
    return FH_OK;
}

void fh_resident_close(fh_fleet_box *b, const fh_fleet_options *o) {
    if (!b) return;
    fh_resident *r = &b->pub;
    bool writes = r->scheduler != NULL;
    fh_scheduler_free(r->scheduler); /* NULL where there is none */
    if (o && writes) fh_fleet_keep_prompts(o, b->slot, r->engine);
    fh_engine_free(r->engine);
    fh_adapters_free(r->adapters);
    if (r->has_markup) fh_markup_found_release(&r->markup);
    fh_template_free(r->template);
    fh_constrain_vocab_free(r->vocab);
    fh_ids_release(&r->end_ids);
    fh_tokenizer_free(r->tokenizer);
    fh_facts_release(&r->facts);
    fh_model_free(r->model);
    fh_free(b);
}
