/* serve/api_ollama_models.c - Ollama's routes about models: tags, ps, show, load and unload, copy, delete, create.
 * SPDX-License-Identifier: Apache-2.0
 * Names are the fleet's; no file is ever written or removed here. What is known of a model's files is read once, by
 * whoever asks first, and kept as JSON. Pulling and pushing need a store of models, which this server has not: it says
 * so. */
#include <pthread.h>

#include "base/clock.h"
#include "base/num.h"
#include "library/facts.h"
#include "serve/api_ollama_part.h"
#include "serve/router.h"
#include "text/markup.h"

#define DETAIL_MOST ((size_t)8 << 20)

/* ---- what the files say ---- */

typedef struct known {
    char *name;                                               /* of the model */
    char *details, *capabilities, *info, *license, *template; /* JSON of the first three */
    struct known *next;
} known;

typedef struct knowledge {
    known *first;
} knowledge;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void free_known(known *k) {
    fh_free(k->name);
    fh_free(k->details);
    fh_free(k->capabilities);
    fh_free(k->info);
    fh_free(k->license);
    fh_free(k->template);
    fh_free(k);
}

static void free_knowledge(void *thing) {
    knowledge *all = thing;
    while (all->first) {
        known *k = all->first;
        all->first = k->next;
        free_known(k);
    }
    fh_free(all);
}

static void put_size(fh_json_writer *w, uint64_t n) {
    char text[32];
    if (n >= 1000000000) (void)snprintf(text, sizeof text, "%.1fB", (double)n / 1e9);
    else if (n >= 1000000) (void)snprintf(text, sizeof text, "%.2fM", (double)n / 1e6);
    else (void)snprintf(text, sizeof text, "%.2fK", (double)n / 1e3);
    fh_put_z(w, "parameter_size", text);
}

static void write_details(fh_json_writer *w, const fh_facts *f, const fh_bundle *b) {
    fh_json_put_object(w);
    fh_put_z(w, "parent_model", "");
    fh_put_z(w, "format", fh_bundle_form(b) == FH_FORM_SAFETENSORS ? "safetensors" : "gguf");
    fh_put_str(w, "family", f->architecture);
    fh_put_array(w, "families");
    fh_json_put_str(w, f->architecture);
    fh_json_put_end(w);
    put_size(w, f->n_value);
    fh_put_str(w, "quantization_level", f->quantization);
    fh_put_u64(w, "context_length", f->n_context);
    fh_put_u64(w, "embedding_length", f->n_embd);
    fh_json_put_end(w);
}

static void write_capabilities(fh_json_writer *w, const fh_facts *f, fh_export result) {
    fh_template *t = NULL;
    fh_json_put_array(w);
    if (result == FH_EXPORT_HIDDEN || result == FH_EXPORT_SCORE) {
        fh_json_put_z(w, "embedding");
    } else {
        fh_json_put_z(w, "completion");
        if (f->template_text.len && fh_template_compile(&t, f->template_text, NULL) == FH_OK) {
            const fh_markup *m = fh_markup_detect(f->template_text);
            if (fh_template_uses(t, FH_STR("tools"))) fh_json_put_z(w, "tools");
            const char *think = m->think_open ? m->think_open : m->head_think;
            if (think && memmem(f->template_text.ptr, f->template_text.len, think, strlen(think)))
                fh_json_put_z(w, "thinking");
        }
        fh_template_free(t);
    }
    fh_json_put_end(w);
}

static void put_arch(fh_json_writer *w, const fh_facts *f, const char *name, uint64_t v) {
    char key[160];
    if (!v) return;
    (void)snprintf(key, sizeof key, "%.*s.%s", (int)FH_MIN(f->architecture.len, 64u), f->architecture.ptr, name);
    fh_put_u64(w, key, v);
}

static void write_info(fh_json_writer *w, const fh_facts *f) {
    fh_json_put_object(w);
    fh_put_str(w, "general.architecture", f->architecture);
    fh_put_u64(w, "general.parameter_count", f->n_value);
    if (f->name.len) fh_put_str(w, "general.name", f->name);
    if (f->license.len) fh_put_str(w, "general.license", f->license);
    put_arch(w, f, "context_length", f->n_context);
    put_arch(w, f, "block_count", f->n_layer);
    put_arch(w, f, "embedding_length", f->n_embd);
    put_arch(w, f, "feed_forward_length", f->n_ff);
    put_arch(w, f, "attention.head_count", f->n_head);
    put_arch(w, f, "attention.head_count_kv", f->n_head_kv);
    put_arch(w, f, "attention.key_length", f->head_dim);
    put_arch(w, f, "vocab_size", f->n_vocab);
    put_arch(w, f, "expert_count", f->n_expert);
    put_arch(w, f, "expert_used_count", f->n_expert_used);
    fh_json_put_end(w);
}

typedef struct writing {
    fh_buf b;
    fh_json_writer w;
} writing;

static fh_json_writer *start(writing *x) {
    fh_buf_init(&x->b, DETAIL_MOST);
    fh_json_writer_init(&x->w, &x->b, false);
    return &x->w;
}

static fh_status read_known(known *k, const fh_fleet_entry *e, fh_err *err) {
    fh_location at;
    fh_bundle *b = NULL;
    fh_facts f;
    writing d, c, i;
    FH_TRY(fh_locate(&at, e->path[0] ? e->path : NULL, err));
    FH_TRY(fh_location_open(&b, &at, err));
    fh_status s = fh_facts_gather(&f, b, &at, err);
    if (s == FH_OK) {
        write_details(start(&d), &f, b);
        write_capabilities(start(&c), &f, e->result);
        write_info(start(&i), &f);
        k->name = fh_strdup(fh_str_of(e->name));
        k->details = fh_buf_take(&d.b, NULL);
        k->capabilities = fh_buf_take(&c.b, NULL);
        k->info = fh_buf_take(&i.b, NULL);
        k->license = fh_strdup(f.license_text.len ? f.license_text : f.license);
        k->template = fh_strdup(f.template_text);
        fh_facts_release(&f);
        if (!k->name || !k->details || !k->capabilities || !k->info || !k->license || !k->template)
            s = fh_fail_memory(err, DETAIL_MOST);
    }
    fh_bundle_close(b);
    return s;
}

/* Good for the app's life; NULL when the files cannot be read. Runs on a worker. */
static const known *know(fh_app *app, const fh_fleet_entry *e, fh_err *err) {
    pthread_mutex_lock(&lock);
    knowledge *all = fh_app_thing(app, "ollama knowledge");
    if (!all && (all = fh_alloc_zero(1, sizeof *all))) fh_app_set_thing(app, "ollama knowledge", all, free_knowledge);
    known *k = all ? all->first : NULL;
    while (k && strcmp(k->name, e->name) != 0) k = k->next;
    if (!k && all && (k = fh_alloc_zero(1, sizeof *k))) {
        if (read_known(k, e, err) == FH_OK) {
            k->next = all->first;
            all->first = k;
        } else {
            free_known(k);
            k = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return k;
}

static void put_json(fh_json_writer *w, const char *key, const char *json) {
    fh_json *doc = NULL;
    fh_json_put_key(w, key);
    if (json && fh_json_parse(&doc, fh_str_of(json), NULL, NULL) == FH_OK) fh_json_put_tree(w, fh_json_root(doc));
    else fh_json_put_null(w);
    fh_json_free(doc);
}

/* ---- lists ---- */

static void put_entry(fh_call *c, fh_json_writer *w, const fh_fleet_entry *e) {
    const known *k = know(c->app, e, NULL);
    fh_put_z(w, "name", e->name);
    fh_put_z(w, "model", e->name);
    fh_put_time(w, "modified_at", e->created * 1000);
    fh_put_u64(w, "size", e->file_bytes);
    fh_put_z(w, "digest", e->digest);
    put_json(w, "details", k ? k->details : "{}");
    put_json(w, "capabilities", k ? k->capabilities : "[]");
}

static void list(fh_call *c, bool loaded) {
    fh_buf b;
    fh_json_writer w;
    fh_fleet_entry e;
    fh_fleet *f = fh_app_fleet(c->app);
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_put_array(&w, "models");
    for (size_t i = 0; i < fh_fleet_n(f); i++) {
        if (!fh_fleet_get(f, i, &e) || (loaded && !e.loaded)) continue;
        fh_json_put_object(&w);
        if (loaded) e.file_bytes = e.bytes;
        put_entry(c, &w, &e);
        if (loaded) {
            /* one that never leaves: a far day, since clients read a time */
            fh_put_time(&w, "expires_at", e.expires_unix_ms ? e.expires_unix_ms : 10413792000000u);
            fh_put_u64(&w, "size_vram", 0);
            fh_put_u64(&w, "context_length", e.n_context);
        }
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

void fh_ollama_tags(fh_call *c) { list(c, false); }
void fh_ollama_ps(fh_call *c) { list(c, true); }

void fh_ollama_version(fh_call *c) {
    /* clients compare it with versions of Ollama to see which calls they may make */
    fh_exchange_reply(c->x, 200, "application/json",
                      FH_STR("{\"version\":\"0.30.0\",\"freehold\":\"" FH_VERSION "\"}"));
}

/* ---- one model ---- */

static void not_there(fh_call *c, fh_str name) {
    fh_call_fail(c, 404, "model_not_found", "model", "model '%.*s' not found", FH_STR_ARG(name));
}

static void put_modelfile(fh_json_writer *w, const fh_fleet_entry *e) {
    fh_buf b;
    fh_buf_init(&b, 1u << 16);
    fh_buf_add_z(&b, "FROM ");
    fh_buf_add_z(&b, e->path[0] ? e->path : e->name);
    fh_buf_add_byte(&b, '\n');
    fh_put_str(w, "modelfile", fh_buf_str(&b));
    fh_buf_release(&b);
}

void fh_ollama_show(fh_call *c) {
    fh_in in;
    fh_str name = {"", 0};
    fh_fleet_entry e;
    fh_err err = {0};
    fh_buf b;
    fh_json_writer w;
    fh_json *body = fh_in_body(c);
    if (!body) return;
    fh_in_init(&in, fh_json_root(body));
    (void)fh_ollama_read_model(&in, &name);
    fh_in_ignore(&in, "verbose");
    fh_in_ignore(&in, "system");
    fh_in_ignore(&in, "options");
    if (fh_in_answer(&in, c)) {
        fh_json_free(body);
        return;
    }
    bool there = fh_fleet_find(fh_app_fleet(c->app), name, &e);
    const known *k = there ? know(c->app, &e, &err) : NULL;
    if (!there) not_there(c, name);
    else if (!k) fh_call_fail_err(c, &err);
    fh_json_free(body);
    if (!k) return;
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    if (k->license[0]) fh_put_z(&w, "license", k->license);
    put_modelfile(&w, &e);
    fh_put_z(&w, "parameters", "");
    fh_put_z(&w, "template", k->template);
    put_json(&w, "details", k->details);
    put_json(&w, "model_info", k->info);
    put_json(&w, "capabilities", k->capabilities);
    fh_put_time(&w, "modified_at", e.created * 1000);
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

/* ---- loading ---- */

typedef struct loading {
    fh_call *call;
    bool chat, unload;
    uint64_t start_ns;
} loading;

static void say_loaded(fh_call *c, const char *model, const loading *l) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 1u << 16);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    fh_ollama_put_head(&w, model);
    if (l->chat) {
        fh_put_object(&w, "message");
        fh_put_z(&w, "role", "assistant");
        fh_put_z(&w, "content", "");
        fh_json_put_end(&w);
    } else {
        fh_put_z(&w, "response", "");
    }
    fh_put_bool(&w, "done", true);
    fh_put_z(&w, "done_reason", l->unload ? "unload" : "load");
    fh_put_u64(&w, "total_duration", fh_clock_ns() - l->start_ns);
    fh_put_u64(&w, "load_duration", fh_clock_ns() - l->start_ns);
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

static void on_loaded(void *ctx, fh_resident *r, const fh_err *err) {
    loading *l = ctx;
    if (r) {
        say_loaded(l->call, r->name, l);
        fh_app_release(l->call->app, r);
    } else {
        fh_call_fail_err(l->call, err);
    }
    fh_free(l);
}

void fh_ollama_load(fh_call *c, fh_str model, int64_t keep_ms, bool chat) {
    fh_fleet_entry e;
    fh_err err = {0};
    loading now = {.call = c, .chat = chat, .unload = keep_ms == 0, .start_ns = fh_clock_ns()};
    if (!fh_fleet_find(fh_app_fleet(c->app), model, &e)) {
        not_there(c, model);
        return;
    }
    if (keep_ms == 0) {
        if (fh_fleet_unload(fh_app_fleet(c->app), model, &err) == FH_OK) say_loaded(c, e.name, &now);
        else fh_call_fail_err(c, &err);
        return;
    }
    loading *l = fh_alloc(1, sizeof *l);
    if (!l) {
        fh_call_fail(c, 503, NULL, NULL, "out of memory");
        return;
    }
    *l = now;
    fh_app_use(c, model, keep_ms, on_loaded, l);
}

/* ---- names ---- */

static fh_json *body_of(fh_call *c, fh_in *in) {
    fh_json *body = fh_in_body(c);
    if (body) fh_in_init(in, fh_json_root(body));
    return body;
}

static bool keep_name(char *out, size_t size, fh_in *in, const char *param, fh_str s) {
    if (fh_str_copy(out, size, s) && s.len) return true;
    fh_in_fail(in, param, "'%s' must be a name of 1 to %zu bytes", param, size - 1);
    return false;
}

static void alias(fh_call *c, fh_in *in, fh_str from, fh_str to) {
    char source[256], name[256];
    fh_err err = {0};
    fh_fleet_entry e;
    if (keep_name(source, sizeof source, in, "source", from) && keep_name(name, sizeof name, in, "destination", to) &&
        !fh_fleet_find(fh_app_fleet(c->app), from, &e))
        fh_in_fail_as(in, 404, NULL, NULL, "model '%s' not found", source);
    if (!in->failed && fh_fleet_alias(fh_app_fleet(c->app), name, source, &err) != FH_OK)
        fh_in_fail_err(in, NULL, &err);
}

void fh_ollama_copy(fh_call *c) {
    fh_in in;
    fh_str source = {"", 0}, destination = {"", 0};
    fh_json *body = body_of(c, &in);
    if (!body) return;
    (void)fh_in_str(&in, "source", &source);
    (void)fh_in_str(&in, "destination", &destination);
    alias(c, &in, source, destination);
    if (!fh_in_answer(&in, c)) fh_exchange_reply(c->x, 200, "application/json", FH_STR(""));
    fh_json_free(body);
}

void fh_ollama_delete(fh_call *c) {
    fh_in in;
    fh_str name = {"", 0};
    fh_err err = {0};
    fh_json *body = body_of(c, &in);
    if (!body) return;
    (void)fh_ollama_read_model(&in, &name);
    if (!in.failed && fh_fleet_remove(fh_app_fleet(c->app), name, &err) != FH_OK) fh_in_fail_err(&in, NULL, &err);
    if (!fh_in_answer(&in, c)) fh_exchange_reply(c->x, 200, "application/json", FH_STR(""));
    fh_json_free(body);
}

/* Another name for a model that is served; settings of its own would need a store. */
void fh_ollama_create(fh_call *c) {
    static const char *const more[] = {"files",    "adapters", "template", "system",   "parameters",
                                       "messages", "quantize", "license",  "modelfile"};
    fh_in in;
    fh_str name = {"", 0}, from = {"", 0};
    bool stream = true;
    fh_json *body = body_of(c, &in);
    if (!body) return;
    (void)fh_ollama_read_model(&in, &name);
    if (!fh_in_str(&in, "from", &from))
        fh_in_fail_as(&in, 501, NULL, "from", "models can be made from served ones only");
    (void)fh_in_bool(&in, "stream", &stream);
    for (size_t i = 0; i < FH_COUNT(more); i++)
        if (fh_in_get(&in, more[i]))
            fh_in_fail_as(&in, 501, NULL, more[i], "'%s' is not supported: there is no store of models here yet",
                          more[i]);
    alias(c, &in, from, name);
    if (!fh_in_answer(&in, c)) {
        if (stream)
            fh_exchange_reply(c->x, 200, "application/x-ndjson",
                              FH_STR("{\"status\":\"writing manifest\"}\n{\"status\":\"success\"}\n"));
        else fh_exchange_reply(c->x, 200, "application/json", FH_STR("{\"status\":\"success\"}"));
    }
    fh_json_free(body);
}

void fh_ollama_no_store(fh_call *c) {
    fh_call_fail(c, 501, NULL, NULL,
                 "this server fetches, stores and publishes no models: it serves those it was started "
                 "with");
}

void fh_ollama_no_blob(fh_call *c) {
    fh_call_fail(c, 404, NULL, NULL, "no blob '%.*s': this server keeps no store of models", FH_STR_ARG(c->hole[0]));
}
