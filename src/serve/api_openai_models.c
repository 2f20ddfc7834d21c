/* serve/api_openai_models.c - GET /v1/models, in the form that the asking client knows.
 * SPDX-License-Identifier: Apache-2.0
 * One path has two forms: clients that send an anthropic-version get theirs. */
#include "base/num.h"
#include "serve/api_openai_part.h"
#include "serve/router.h"

static void put_model(fh_json_writer *w, const fh_fleet_entry *e) {
    fh_json_put_object(w);
    fh_put_z(w, "id", e->name);
    fh_put_z(w, "object", "model");
    fh_put_u64(w, "created", e->created);
    fh_put_z(w, "owned_by", "freehold");
    if (e->base) fh_put_z(w, "parent", e->base);
    fh_json_put_key(w, "max_model_len");
    if (e->n_context) fh_json_put_u64(w, e->n_context);
    else fh_json_put_null(w);
    fh_json_put_key(w, "meta");
    fh_json_put_object(w);
    fh_put_u64(w, "size", e->file_bytes);
    if (e->digest[0]) fh_put_z(w, "digest", e->digest);
    fh_json_put_end(w);
    fh_json_put_key(w, "status");
    fh_json_put_object(w);
    fh_put_z(w, "value", e->loaded ? "loaded" : e->loading ? "loading" : "unloaded");
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_anthropic(fh_json_writer *w, const fh_fleet_entry *e) {
    char when[32];
    struct tm tm;
    time_t t = (time_t)e->created;
    if (!gmtime_r(&t, &tm) || !strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm)) when[0] = '\0';
    fh_json_put_object(w);
    fh_put_z(w, "type", "model");
    fh_put_z(w, "id", e->name);
    fh_put_z(w, "display_name", e->name);
    fh_put_z(w, "created_at", when);
    fh_json_put_end(w);
}

static void put_name(fh_json_writer *w, const char *key, const char *name) {
    fh_json_put_key(w, key);
    if (name) fh_json_put_z(w, name);
    else fh_json_put_null(w);
}

void fh_openai_models(fh_call *c) {
    fh_buf b;
    fh_json_writer w;
    fh_str version;
    fh_fleet_entry e;
    fh_fleet *f = fh_app_fleet(c->app);
    const char *first = NULL, *last = NULL;
    bool theirs = fh_exchange_header(c->x, "anthropic-version", &version);
    fh_buf_init(&b, FH_REPLY_MOST);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_object(&w);
    if (!theirs) fh_put_z(&w, "object", "list");
    fh_json_put_key(&w, "data");
    fh_json_put_array(&w);
    for (size_t i = 0; i < fh_fleet_n(f); i++) {
        if (!fh_fleet_get(f, i, &e)) continue;
        if (!first) first = e.name;
        last = e.name;
        if (theirs) put_anthropic(&w, &e);
        else put_model(&w, &e);
    }
    fh_json_put_end(&w);
    if (theirs) {
        fh_json_put_key(&w, "has_more");
        fh_json_put_bool(&w, false);
        put_name(&w, "first_id", first);
        put_name(&w, "last_id", last);
    }
    fh_json_put_end(&w);
    fh_put_reply(c, &b);
}

void fh_openai_model(fh_call *c) {
    fh_buf b;
    fh_json_writer w;
    fh_str version;
    fh_fleet_entry e;
    if (!fh_fleet_find(fh_app_fleet(c->app), c->hole[0], &e)) {
        fh_call_fail(c, 404, "model_not_found", "model", "the model '%.*s' is not served here", FH_STR_ARG(c->hole[0]));
        return;
    }
    fh_buf_init(&b, 1u << 20);
    fh_json_writer_init(&w, &b, false);
    if (fh_exchange_header(c->x, "anthropic-version", &version)) put_anthropic(&w, &e);
    else put_model(&w, &e);
    fh_put_reply(c, &b);
}
