/* serve/chat_embed.c - texts to vectors and pairs to scores.
 * SPDX-License-Identifier: Apache-2.0
 * A worker tokenizes; a lane of the server's own then has the model compute, a few inputs at a time, so that answers
 * that are being written to others do not wait for all of them. */
#include "serve/chat_embed.h"

#include "base/clock.h"
#include "base/num.h"

#define IDS_MOST ((size_t)1 << 25)
#define GROUP_TOKENS 1024u
#define GROUP_MOST 64u

/* ---- the lane ---- */

typedef struct lane {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    fh_vec *first, *last;
    bool quit;
} lane;

static pthread_mutex_t lane_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER; /* of models that have no scheduler */
static void compute(fh_vec *v);

static void *lane_main(void *ctx) {
    lane *l = ctx;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->first && !l->quit) pthread_cond_wait(&l->more, &l->lock);
        fh_vec *v = l->first;
        if (!v) break;
        l->first = v->next;
        if (!l->first) l->last = NULL;
        pthread_mutex_unlock(&l->lock);
        compute(v);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void lane_free(void *thing) {
    lane *l = thing;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->lock);
    fh_free(l);
}

static lane *lane_of(fh_app *app) {
    static const char name[] = "embed lane";
    pthread_mutex_lock(&lane_lock);
    lane *l = fh_app_thing(app, name);
    if (!l && (l = fh_alloc_zero(1, sizeof *l))) {
        pthread_mutex_init(&l->lock, NULL);
        pthread_cond_init(&l->more, NULL);
        if (pthread_create(&l->thread, NULL, lane_main, l) == 0) fh_app_set_thing(app, name, l, lane_free);
        else {
            fh_free(l);
            l = NULL;
        }
    }
    pthread_mutex_unlock(&lane_lock);
    return l;
}

/* ---- life ---- */

fh_vec *fh_vec_new(fh_call *c) {
    fh_json *body = fh_in_body(c);
    if (!body) return NULL;
    fh_vec *v = fh_alloc_zero(1, sizeof *v);
    if (!v) {
        fh_json_free(body);
        fh_call_fail(c, 503, NULL, NULL, "out of memory");
        return NULL;
    }
    v->call = c;
    v->body = body;
    v->keep_ms = FH_KEEP_DEFAULT;
    v->start_ns = fh_clock_ns();
    fh_ids_init(&v->given, IDS_MOST);
    fh_ids_init(&v->ids, IDS_MOST);
    atomic_init(&v->refs, 1);
    return v;
}

void fh_vec_free(fh_vec *v) {
    if (!v) return;
    if (v->has_recipe) fh_embed_recipe_release(&v->recipe);
    fh_free(v->input);
    fh_free(v->out);
    fh_free(v->row);
    fh_free(v->score);
    fh_ids_release(&v->given);
    fh_ids_release(&v->ids);
    fh_json_free(v->body);
    fh_free(v);
}

static void unref(fh_vec *v) {
    if (atomic_fetch_sub(&v->refs, 1) == 1) fh_vec_free(v);
}

static void on_closed(void *ctx) {
    fh_vec *v = ctx;
    v->stop = 1;
    unref(v);
}

static void retire(fh_vec *v) {
    fh_exchange *x = v->call->x;
    if (v->r) fh_app_release(v->call->app, v->r);
    v->r = NULL;
    unref(v);
    fh_exchange_release(x);
}

static void fail(fh_vec *v, const fh_err *err) {
    fh_call_fail_err(v->call, err);
    retire(v);
}

/* ---- reading ---- */

static bool read_ids(fh_vec *v, fh_vec_input *to, const fh_json_node *list) {
    uint64_t id;
    *to = (fh_vec_input){.at = v->given.len};
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        if (!fh_json_to_u64(n, &id) || id >= UINT32_MAX) return false;
        fh_ids_add(&v->given, (uint32_t)id);
    }
    to->n = v->given.len - to->at;
    return to->n > 0 && v->given.status == FH_OK;
}

void fh_vec_read_input(fh_vec *v, fh_in *in, const char *name) {
    const fh_json_node *n = fh_in_get(in, name);
    uint32_t most = fh_app_caps(v->call->app)->n_input;
    bool list = fh_json_is(n, FH_JSON_ARRAY), ids = list && fh_json_is(fh_json_first(n), FH_JSON_NUMBER);
    size_t count = n && list && !ids ? n->n_child : 1;
    if (in->failed) return;
    if (!n || count == 0) fh_in_fail(in, name, "'%s' must be a text, or an array of texts or token ids", name);
    else if (count > most) fh_in_fail(in, name, "'%s' has %zu entries, at most %u", name, count, most);
    else if (!(v->input = fh_alloc_zero(count, sizeof *v->input))) fh_in_fail_as(in, 503, NULL, name, "out of memory");
    if (in->failed) return;
    if (ids) {
        if (!read_ids(v, &v->input[v->n_input++], n)) fh_in_fail(in, name, "'%s' holds what is no token id", name);
        return;
    }
    for (const fh_json_node *e = list ? fh_json_first(n) : n; e; e = list ? fh_json_after(n, e) : NULL) {
        fh_vec_input *to = &v->input[v->n_input++];
        const fh_json_node *text = fh_json_is(e, FH_JSON_OBJECT) ? fh_json_get(e, "text") : e;
        if (fh_json_to_str(text, &to->text)) continue;
        if (fh_json_is(e, FH_JSON_ARRAY) && read_ids(v, to, e)) continue;
        fh_in_fail(in, name, "'%s' must be a text, or an array of texts or token ids", name);
        return;
    }
}

/* ---- tokens ---- */

static fh_status too_long(const fh_vec *v, size_t i, size_t n, size_t most, fh_err *err) {
    return fh_fail(err, FH_ERR_USAGE, "input %zu has %zu tokens, '%s' takes %zu: nothing was cut", i, n, v->r->name,
                   most);
}

/* Cuts the text's own tokens, and keeps what the model wants around them. */
static fh_status cut_text(fh_vec *v, fh_tokenizer_scratch *x, fh_vec_input *in, fh_str text, size_t most, fh_err *err) {
    const fh_encode_options bare = {.add_special = false};
    fh_ids body;
    fh_ids_init(&body, IDS_MOST);
    fh_status s = fh_tokenizer_encode(v->r->tokenizer, x, text, &bare, &body, err);
    uint32_t *t = v->ids.ptr + in->at;
    size_t around = in->n - FH_MIN(body.len, in->n), head = 0;
    while (s == FH_OK && head < around && memcmp(t + head, body.ptr, body.len * sizeof *t) != 0) head++;
    if (s == FH_OK && around >= most) s = fh_fail(err, FH_ERR_LIMIT, "there is no room for a text");
    if (s == FH_OK) {
        size_t tail = around - head, keep = most - around;
        memmove(t + head + keep, t + in->n - tail, tail * sizeof *t);
        in->n = most;
        v->ids.len = in->at + most;
    }
    fh_ids_release(&body);
    return s;
}

static fh_status tokens_of(fh_vec *v, fh_tokenizer_scratch *x, size_t i, fh_err *err) {
    const fh_encode_options opt = {.add_special = true};
    fh_vec_input *in = &v->input[i];
    size_t most = v->r->n_context;
    fh_str prompt;
    bool ours = v->recipe.most_tokens && v->recipe.most_tokens < most; /* the model's files cut longer texts */
    if (ours) most = v->recipe.most_tokens;
    if (!in->text.ptr) {
        if (in->n > v->r->n_context) return too_long(v, i, in->n, v->r->n_context, err);
        size_t at = v->ids.len;
        fh_ids_add_all(&v->ids, v->given.ptr + in->at, in->n);
        in->at = at;
        return fh_ids_check(&v->ids, err);
    }
    in->at = v->ids.len;
    FH_TRY(fh_embed_recipe_prompt(&v->recipe, NULL, &prompt, err));
    fh_buf text;
    fh_buf_init(&text, (size_t)64 << 20);
    fh_buf_add_str(&text, prompt);
    fh_buf_add_str(&text, in->text);
    fh_status s = fh_buf_check(&text, err);
    if (s == FH_OK) s = fh_tokenizer_encode(v->r->tokenizer, x, fh_buf_str(&text), &opt, &v->ids, err);
    in->n = v->ids.len - in->at;
    if (s == FH_OK && in->n > most)
        s = v->cut || ours ? cut_text(v, x, in, fh_buf_str(&text), most, err) : too_long(v, i, in->n, most, err);
    fh_buf_release(&text);
    if (s == FH_OK && in->n == 0) s = fh_fail(err, FH_ERR_USAGE, "input %zu holds no token", i);
    return s;
}

/* The client named a model that cannot do this: its request is to be mended, not the server. */
static fh_status not_this_model(fh_status s, fh_err *err) {
    if (s != FH_ERR_UNSUPPORTED) return s;
    if (err) err->status = FH_ERR_USAGE;
    return FH_ERR_USAGE;
}

static fh_status pair_of(fh_vec *v, fh_tokenizer_scratch *x, size_t i, fh_err *err) {
    const fh_rerank_question q = {v->query, FH_STR(FH_RERANK_INSTRUCTION)};
    fh_vec_input *in = &v->input[i];
    if (!in->text.ptr) return fh_fail(err, FH_ERR_USAGE, "documents must be texts");
    in->at = v->ids.len;
    FH_TRY(not_this_model(fh_reranker_ask(&v->reranker, x, &q, in->text, &v->ids, err), err));
    in->n = v->ids.len - in->at;
    return in->n > v->r->n_context ? too_long(v, i, in->n, v->r->n_context, err) : FH_OK;
}

static fh_status prepare_rank(fh_vec *v, fh_tokenizer_scratch *x, fh_err *err) {
    FH_TRY(not_this_model(fh_reranker_init(&v->reranker, v->r->model, v->r->tokenizer, x, err), err));
    for (size_t i = 0; i < v->n_input; i++) FH_TRY(pair_of(v, x, i, err));
    v->score = fh_alloc_zero(v->n_input, sizeof *v->score);
    return v->score ? FH_OK : fh_fail_memory(err, v->n_input * sizeof *v->score);
}

static fh_status prepare_vectors(fh_vec *v, fh_tokenizer_scratch *x, fh_err *err) {
    size_t total;
    if (fh_model_plan(v->r->model, FH_PLAN_ENCODE) || !fh_engine_width(v->r->engine, FH_EXPORT_HIDDEN))
        return fh_fail(err, FH_ERR_USAGE, "'%s' has no vector for a text", v->r->name);
    FH_TRY(fh_embed_recipe_read(&v->recipe, v->r->model, err));
    v->has_recipe = true;
    if (v->plain) v->recipe.normalize = false;
    v->row_width = fh_engine_width(v->r->engine, FH_EXPORT_HIDDEN);
    v->width = fh_embed_recipe_width(&v->recipe, v->row_width);
    if (v->width == 0) return fh_fail(err, FH_ERR_CORRUPT, "the model's dense layers do not fit its rows");
    if (v->dimensions > v->width)
        return fh_fail(err, FH_ERR_USAGE, "'dimensions' is %llu: the vectors of '%s' have %u",
                       (unsigned long long)v->dimensions, v->r->name, v->width);
    if (v->dimensions) v->width = (uint32_t)v->dimensions;
    for (size_t i = 0; i < v->n_input; i++) FH_TRY(tokens_of(v, x, i, err));
    v->room = FH_MAX(v->row_width, v->width);
    for (uint32_t i = 0; i < v->recipe.n_dense; i++) v->room = FH_MAX(v->room, v->recipe.dense[i].out);
    if (!fh_mul_size(v->n_input, v->width, &total)) return fh_fail_memory(err, SIZE_MAX);
    v->out = fh_alloc_zero(total, sizeof *v->out);
    v->row = fh_alloc_zero((size_t)v->row_width * GROUP_MOST, sizeof *v->row);
    return v->out && v->row ? FH_OK : fh_fail_memory(err, total * sizeof *v->out);
}

static fh_status prepare(fh_vec *v, fh_err *err) {
    fh_tokenizer_scratch *x = NULL;
    if (!v->r->tokenizer) return fh_fail(err, FH_ERR_USAGE, "'%s' has no tokenizer", v->r->name);
    FH_TRY(fh_tokenizer_scratch_new(&x, v->r->tokenizer, err));
    fh_status s = v->rank ? prepare_rank(v, x, err) : prepare_vectors(v, x, err);
    fh_tokenizer_scratch_free(x);
    size_t n_vocab = fh_tokenizer_vocab(v->r->tokenizer)->n_id;
    for (size_t i = 0; s == FH_OK && i < v->given.len; i++)
        if (v->given.ptr[i] >= n_vocab)
            s = fh_fail(err, FH_ERR_USAGE, "token %u is not in the vocabulary", v->given.ptr[i]);
    return s;
}

/* ---- computing ---- */

typedef struct group {
    fh_vec *v;
    size_t from, n;
} group;

static fh_status embed_group(group *g, fh_engine *e, fh_err *err) {
    fh_vec *v = g->v;
    fh_embed_input in[GROUP_MOST];
    const fh_embed_options opt = {
        .pooling = v->recipe.pooling, .adapters = v->adapters, .salt = v->call->salt, .stop = &v->stop};
    for (size_t i = 0; i < g->n; i++) {
        const fh_vec_input *p = &v->input[g->from + i];
        in[i] = (fh_embed_input){.token = v->ids.ptr + p->at, .n = (uint32_t)p->n};
    }
    return fh_embed_texts(e, in, (uint32_t)g->n, &opt, v->row, err);
}

static fh_status rank_one(fh_vec *v, size_t i, fh_engine *e, fh_err *err) {
    const fh_vec_input *p = &v->input[i];
    const fh_embed_input in = {.token = v->ids.ptr + p->at, .n = (uint32_t)p->n};
    const fh_embed_options opt = {.adapters = v->adapters, .salt = v->call->salt, .stop = &v->stop};
    double logit;
    return not_this_model(fh_reranker_judge(&v->reranker, e, &in, 0, &opt, &logit, &v->score[i], err), err);
}

static fh_status run_group(void *ctx, fh_engine *e, fh_err *err) {
    group *g = ctx;
    if (!g->v->rank) return embed_group(g, e, err);
    for (size_t i = 0; i < g->n; i++) FH_TRY(rank_one(g->v, g->from + i, e, err));
    return FH_OK;
}

static fh_status exclusively(fh_vec *v, group *g, fh_err *err) {
    if (v->r->scheduler) return fh_scheduler_run(v->r->scheduler, run_group, g, err);
    pthread_mutex_lock(&engine_lock);
    fh_status s = run_group(g, v->r->engine, err);
    pthread_mutex_unlock(&engine_lock);
    return s;
}

static fh_status finish_group(fh_vec *v, const group *g, fh_err *err) {
    float *one = fh_alloc(v->room, sizeof *one);
    fh_status s = one ? FH_OK : fh_fail_memory(err, v->row_width * sizeof *one);
    for (size_t i = 0; s == FH_OK && i < g->n; i++) {
        memcpy(one, v->row + i * v->row_width, v->row_width * sizeof *one);
        s = fh_embed_recipe_finish(&v->recipe, one, v->row_width, v->width, err);
        memcpy(v->out + (g->from + i) * v->width, one, v->width * sizeof *one);
    }
    fh_free(one);
    return s;
}

static void compute(fh_vec *v) {
    fh_err err = {0};
    fh_status s = FH_OK;
    for (size_t at = 0; s == FH_OK && at < v->n_input;) {
        group g = {.v = v, .from = at};
        for (size_t tokens = 0; at < v->n_input && g.n < GROUP_MOST && (g.n == 0 || tokens < GROUP_TOKENS); at++, g.n++)
            tokens += v->input[at].n;
        s = v->stop ? fh_fail(&err, FH_ERR_CANCELLED, "the client is gone") : exclusively(v, &g, &err);
        if (s == FH_OK && !v->rank) s = finish_group(v, &g, &err);
    }
    if (s != FH_OK) {
        fail(v, &err);
        return;
    }
    v->n_token = v->ids.len;
    v->call->used.n_prompt = (uint32_t)v->n_token;
    v->call->used.finish = "stop";
    v->done(v);
    retire(v);
}

static void on_model(void *ctx, fh_resident *r, const fh_err *why) {
    fh_vec *v = ctx;
    fh_err err = {0};
    v->r = r;
    v->load_ns = fh_clock_ns() - v->start_ns;
    if (!r) {
        fail(v, why);
        return;
    }
    float scale[FH_ADAPTERS_MOST] = {0};
    if (v->adapter) scale[v->adapter - 1] = 1;
    fh_status s = fh_resident_adapt(r, scale, &v->adapters, &err);
    if (s == FH_OK) s = prepare(v, &err);
    lane *l = s == FH_OK ? lane_of(v->call->app) : NULL;
    if (!l) {
        if (err.status == FH_OK) (void)fh_fail_memory(&err, sizeof *l);
        fail(v, &err);
        return;
    }
    pthread_mutex_lock(&l->lock);
    if (l->last) l->last->next = v;
    else l->first = v;
    l->last = v;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
}

void fh_vec_run(fh_vec *v) {
    fh_fleet_entry e;
    if (!fh_fleet_find(fh_app_fleet(v->call->app), v->model, &e)) {
        fh_call_fail(v->call, 404, "model_not_found", "model", "the model '%.*s' is not served here",
                     FH_STR_ARG(v->model));
        fh_vec_free(v);
        return;
    }
    v->adapter = e.adapter;
    fh_exchange_hold(v->call->x);
    atomic_fetch_add(&v->refs, 1);
    if (!fh_call_on_closed(v->call, on_closed, v)) {
        v->stop = 1;
        unref(v);
    }
    fh_app_use(v->call, v->model, v->keep_ms, on_model, v);
}

/* ---- base64 ---- */

void fh_vec_put_base64(fh_json_writer *w, const float *x, size_t n) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    fh_buf raw, text;
    fh_buf_init(&raw, SIZE_MAX / 4);
    fh_buf_init(&text, SIZE_MAX / 4);
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        fh_buf_add_u32le(&raw, u);
    }
    for (size_t i = 0; i < raw.len; i += 3) {
        size_t left = raw.len - i;
        uint32_t b = (uint32_t)raw.ptr[i] << 16 | (left > 1 ? (uint32_t)raw.ptr[i + 1] << 8 : 0) |
                     (left > 2 ? raw.ptr[i + 2] : 0);
        const char four[4] = {digit[b >> 18], digit[b >> 12 & 63], left > 1 ? digit[b >> 6 & 63] : '=',
                              left > 2 ? digit[b & 63] : '='};
        fh_buf_add(&text, four, 4);
    }
    fh_json_put_str(w, fh_buf_str(&text));
    fh_buf_release(&text);
    fh_buf_release(&raw);
}
