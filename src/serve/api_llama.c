/* serve/api_llama.c - llama-server's routes about tokens, templates and the server itself.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/api_llama_part.h"

#include "base/num.h"
#include "serve/router.h"
#include "serve/server.h"

/* ---- tokens ---- */

typedef struct tokens {
    fh_call *call;
    fh_json *body;
    fh_str content;
    fh_ids ids;
    bool add_special, parse_special, with_pieces, back;
} tokens;

static void free_tokens(tokens *t) {
    fh_ids_release(&t->ids);
    fh_json_free(t->body);
    fh_free(t);
}

static void put_piece(fh_json_writer *w, const fh_tokenizer *t, uint32_t id) {
    fh_buf b;
    fh_buf_init(&b, 1u << 16);
    bool ok = fh_tokenizer_token_bytes(t, id, &b, NULL) == FH_OK;
    fh_json_put_object(w);
    fh_put_u64(w, "id", id);
    fh_json_put_key(w, "piece");
    if (ok && fh_utf8_valid(fh_buf_str(&b))) {
        fh_json_put_str(w, fh_buf_str(&b));
    } else {
        fh_json_put_array(w);
        for (size_t i = 0; i < b.len; i++) fh_json_put_u64(w, b.ptr[i]);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_buf_release(&b);
}

static fh_status encode(tokens *t, const fh_resident *r, fh_err *err) {
    const fh_encode_options opt = {.add_special = t->add_special, .parse_special = t->parse_special};
    fh_tokenizer_scratch *x = NULL;
    FH_TRY(fh_tokenizer_scratch_new(&x, r->tokenizer, err));
    fh_status s = fh_tokenizer_encode(r->tokenizer, x, t->content, &opt, &t->ids, err);
    fh_tokenizer_scratch_free(x);
    return s;
}

static fh_status write_answer(tokens *t, const fh_resident *r, fh_buf *b, fh_err *err) {
    fh_json_writer w;
    if (!r->tokenizer) return fh_fail(err, FH_ERR_USAGE, "'%s' has no tokenizer", r->name);
    if (!t->back) FH_TRY(encode(t, r, err));
    fh_json_writer_init(&w, b, false);
    fh_json_put_object(&w);
    if (t->back) {
        fh_buf text;
        fh_buf_init(&text, FH_ASK_TEXT_MOST);
        fh_status s = fh_tokenizer_decode(r->tokenizer, t->ids.ptr, t->ids.len, false, &text, err);
        if (s == FH_OK) fh_put_str(&w, "content", fh_buf_str(&text));
        fh_buf_release(&text);
        FH_TRY(s);
    } else {
        fh_put_array(&w, "tokens");
        for (size_t i = 0; i < t->ids.len; i++) {
            if (t->with_pieces) put_piece(&w, r->tokenizer, t->ids.ptr[i]);
            else fh_json_put_u64(&w, t->ids.ptr[i]);
        }
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    return FH_OK;
}

static void on_model(void *ctx, fh_resident *r, const fh_err *why) {
    tokens *t = ctx;
    fh_err err = {0};
    fh_buf b;
    if (!r) {
        fh_call_fail_err(t->call, why);
        free_tokens(t);
        return;
    }
    fh_buf_init(&b, FH_REPLY_MOST);
    if (write_answer(t, r, &b, &err) == FH_OK) fh_put_reply(t->call, &b);
    else fh_call_fail_err(t->call, &err);
    fh_buf_release(&b);
    fh_app_release(t->call->app, r);
    free_tokens(t);
}

static void run(fh_call *c, bool back) {
    fh_in in;
    fh_str model = {"", 0};
    fh_fleet_entry e;
    uint64_t id;
    tokens *t = fh_alloc_zero(1, sizeof *t);
    fh_json *body = t ? fh_in_body(c) : NULL;
    if (!body) {
        if (!t) fh_call_fail(c, 503, NULL, NULL, "out of memory");
        fh_free(t);
        return;
    }
    *t = (tokens){.call = c, .body = body, .parse_special = true, .back = back};
    fh_ids_init(&t->ids, FH_ASK_TEXT_MOST);
    fh_in_init(&in, fh_json_root(body));
    (void)fh_in_str(&in, "model", &model);
    if (back) {
        const fh_json_node *list = fh_in_array(&in, "tokens");
        if (!list) fh_in_fail(&in, "tokens", "'tokens' must be an array of token ids");
        for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
            if (fh_json_to_u64(n, &id) && id < UINT32_MAX) fh_ids_add(&t->ids, (uint32_t)id);
            else fh_in_fail(&in, "tokens", "'tokens' must be an array of token ids");
        }
    } else {
        if (!fh_in_str(&in, "content", &t->content)) fh_in_fail(&in, "content", "'content' must be a text");
        (void)fh_in_bool(&in, "add_special", &t->add_special);
        (void)fh_in_bool(&in, "parse_special", &t->parse_special);
        (void)fh_in_bool(&in, "with_pieces", &t->with_pieces);
    }
    if (!in.failed && !fh_fleet_find(fh_app_fleet(c->app), model, &e))
        fh_in_fail_as(&in, 404, NULL, "model", "the model '%.*s' is not served here", FH_STR_ARG(model));
    if (fh_in_answer(&in, c)) free_tokens(t);
    else fh_app_use(c, model, FH_KEEP_DEFAULT, on_model, t);
}

void fh_llama_tokenize(fh_call *c) { run(c, false); }
void fh_llama_detokenize(fh_call *c) { run(c, true); }

/* ---- the server ---- */

static bool first_model(fh_call *c, fh_fleet_entry *e) {
    fh_str name = {"", 0};
    (void)fh_exchange_query(c->x, "model", &name);
    if (fh_fleet_find(fh_app_fleet(c->app), name, e)) return true;
    fh_call_fail(c, 404, NULL, "model", "the model '%.*s' is not served here", FH_STR_ARG(name));
    return false;
}

static void on_props(void *ctx, fh_resident *r, const fh_err *why) {
    fh_call *c = ctx;
    fh_buf b;
    fh_json_writer w;
    if (!r) {
        fh_call_fail_err(c, why);
        return;
    }
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_object(&w, "default_generation_settings");
    fh_put_u64(&w, "n_ctx", r->n_context);
    fh_json_put_end(&w);
    fh_put_u64(&w, "total_slots", fh_fleet_parallel(fh_app_fleet(c->app)));
    fh_put_z(&w, "model_alias", r->name);
    fh_put_str(&w, "model_ftype", r->facts.quantization);
    fh_put_z(&w, "model_path", r->at.path);
    fh_put_object(&w, "modalities");
    fh_put_bool(&w, "vision", false);
    fh_put_bool(&w, "audio", false);
    fh_json_put_end(&w);
    fh_put_str(&w, "chat_template", r->template ? fh_template_source(r->template) : FH_STR(""));
    fh_put_str(&w, "bos_token", r->bos_token);
    fh_put_str(&w, "eos_token", r->eos_token);
    fh_put_z(&w, "build_info", "freehold " FH_VERSION);
    fh_put_bool(&w, "is_sleeping", false);
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
    fh_app_release(c->app, r);
}

void fh_llama_props(fh_call *c) {
    fh_fleet_entry e;
    if (first_model(c, &e)) fh_app_use(c, fh_str_of(e.name), FH_KEEP_DEFAULT, on_props, c);
}

void fh_llama_slots(fh_call *c) {
    fh_fleet_entry e;
    fh_buf b;
    fh_json_writer w;
    if (!first_model(c, &e)) return;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_array(&w);
    /* there are no fixed slots here: the first ones work */
    uint32_t n = FH_MAX(fh_fleet_parallel(fh_app_fleet(c->app)), e.load.running);
    for (uint32_t i = 0; i < FH_MIN(n, 4096u); i++) {
        fh_json_put_object(&w);
        fh_put_u64(&w, "id", i);
        fh_put_u64(&w, "n_ctx", e.n_context);
        fh_put_bool(&w, "speculative", e.load.drafted_tokens > 0);
        fh_put_bool(&w, "is_processing", i < e.load.running);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

static void put_success(fh_call *c) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 64);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_bool(&w, "success", true);
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

/* Numbers as `lora` in a request wants them, with the factors of a request under this name that has none. */
void fh_llama_adapters(fh_call *c) {
    float scale[FH_ADAPTERS_MOST];
    fh_fleet_entry e, first;
    fh_buf b;
    fh_json_writer w;
    if (!first_model(c, &first)) return;
    fh_fleet_scales(fh_app_fleet(c->app), fh_str_of(first.name), scale);
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_array(&w);
    for (size_t i = 0; fh_fleet_get(fh_app_fleet(c->app), i, &e); i++) {
        if (!e.base || strcmp(e.base, first.base ? first.base : first.name) != 0) continue;
        fh_json_put_object(&w);
        fh_put_u64(&w, "id", e.adapter - 1);
        fh_put_z(&w, "name", e.name);
        fh_put_z(&w, "path", e.path);
        fh_json_put_key(&w, "scale");
        if (first.adapter) fh_json_put_u64(&w, first.adapter == e.adapter);
        else fh_json_put_f64(&w, (double)scale[e.adapter - 1]);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

/* For everybody who asks the model by its own name: an administrator's affair. Adapters keep their names' own. */
void fh_llama_set_adapters(fh_call *c) {
    float scale[FH_ADAPTERS_MOST];
    fh_err err = {0};
    fh_fleet_entry e;
    fh_json *body = fh_in_list_body(c);
    if (!body) return;
    if (first_model(c, &e)) {
        fh_status s = fh_lora_read(fh_json_root(body), fh_str_of(e.name), e.n_adapter, scale, &err);
        if (s == FH_OK) s = fh_fleet_set_scales(fh_app_fleet(c->app), fh_str_of(e.name), scale, &err);
        if (s == FH_OK) {
            fh_app_audit(c->app, "model.adapters", e.base ? e.base : e.name, "");
            put_success(c);
        } else {
            fh_call_fail_err(c, &err);
        }
    }
    fh_json_free(body);
}
