/* serve/chat_read.c - what requests of all APIs have in common: sampling, stop strings, schemas, texts in parts.
 * SPDX-License-Identifier: Apache-2.0
 * Every list has a ceiling (fh_app_caps), and going over it is a clear 400. */
#include <math.h>

#include "base/num.h"
#include "library/model_text.h"
#include "serve/chat.h"
#include "serve/json_put.h"

enum {
#define FH_ASK_SAMPLING_ROW(field, least, most, name, other) ROW_##field,
#include "serve/chat_sampling.def"
#undef FH_ASK_SAMPLING_ROW
    ROW_mirostat
};

static bool read_number(fh_in *in, const char *name, const char *other, double least, double most, bool whole,
                        double *out) {
    double v;
    if (!fh_in_f64(in, name, least, most, &v) && !(other && fh_in_f64(in, other, least, most, &v))) return false;
    if (whole && (double)(int64_t)v != v) {
        fh_in_fail(in, name, "'%s' must be a whole number", name);
        return false;
    }
    *out = v;
    return true;
}

#define IS_WHOLE(field) _Generic((fh_sampler_params){0}.field, int64_t : true, default : false)
#define AS_FIELD(field, v) _Generic((fh_sampler_params){0}.field, int64_t : (int64_t)(v), default : (v))

void fh_ask_read_sampling(fh_ask *a, fh_in *in) {
    double v;
    uint64_t mirostat, seed = 0;
    int64_t any;
    const fh_json_node *lora = fh_in_array(in, "lora");
    if (lora) a->lora = lora;
#define FH_ASK_SAMPLING_ROW(field_, least, most, name, other) \
    if (read_number(in, name, other, least, most, IS_WHOLE(field_), &v)) { \
        a->sampling.field_ = AS_FIELD(field_, v); \
        a->set |= (uint64_t)1 << ROW_##field_; \
    }
#include "serve/chat_sampling.def"
#undef FH_ASK_SAMPLING_ROW
    if (fh_in_u64(in, "mirostat", 0, 2, &mirostat)) {
        if (mirostat == 1) fh_in_fail(in, "mirostat", "'mirostat' is 0 (off) or 2");
        a->sampling.mirostat = mirostat == 2;
        a->set |= (uint64_t)1 << ROW_mirostat;
    }
    /* below 0: any */
    const fh_json_node *s = fh_in_get(in, "seed");
    if (!s) return;
    if (fh_json_to_u64(s, &seed)) a->has_seed = true, a->seed = seed;
    else if (!fh_json_to_i64(s, &any)) fh_in_fail(in, "seed", "'seed' must be a whole number");
}

fh_status fh_lora_read(const fh_json_node *list, fh_str name, uint32_t n_adapter, float scale[FH_ADAPTERS_MOST],
                       fh_err *err) {
    memset(scale, 0, FH_ADAPTERS_MOST * sizeof *scale);
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        uint64_t id;
        double v = 1;
        const fh_json_node *s = fh_json_get(n, "scale");
        bool ok = fh_json_to_u64(fh_json_get(n, "id"), &id) && id < n_adapter;
        if (!ok || (s && !fh_json_to_f64(s, &v)) || !(v >= -100 && v <= 100))
            return fh_fail(err, FH_ERR_USAGE,
                           "'lora' is a list of {id, scale}: '%.*s' has %u adapters, numbered from 0; scales go from "
                           "-100 to 100",
                           FH_STR_ARG(name), n_adapter);
        scale[id] = (float)v;
    }
    return FH_OK;
}

/* {"123": -100} or [[123, -100], [45, false]] */
static fh_status add_bias(fh_ask *a, fh_err *err) {
    const fh_json_node *list = a->logit_bias;
    size_t n_vocab = a->r->tokenizer ? fh_tokenizer_vocab(a->r->tokenizer)->n_id : SIZE_MAX;
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        const fh_json_node *id_node = fh_json_first(n), *v = n;
        uint64_t id = 0;
        double bias = 0;
        bool no, ok = fh_json_is(list, FH_JSON_OBJECT) ? fh_str_u64(n->key, &id) : fh_json_to_u64(id_node, &id);
        if (!fh_json_is(list, FH_JSON_OBJECT)) v = id_node ? fh_json_after(n, id_node) : NULL;
        if (fh_json_to_bool(v, &no) && !no) bias = -(double)INFINITY;
        else ok = ok && fh_json_to_f64(v, &bias);
        if (!ok || id >= n_vocab) return fh_fail(err, FH_ERR_USAGE, "'logit_bias' names no token of this model");
        const fh_sampler_step step = {.kind = FH_STEP_LOGIT_BIAS, .arg = {(double)id, bias}};
        FH_TRY(fh_sampler_steps_add(&a->chain, &step, err));
    }
    return FH_OK;
}

fh_status fh_ask_make_chain(fh_ask *a, fh_err *err) {
    fh_sampler_params p = fh_sampler_defaults();
    if (a->ollama_defaults) p.top_p = 0.9, p.min_p = 0;
    fh_model_sampling(&p, &a->r->gen);
#define FH_ASK_SAMPLING_ROW(field_, least, most, name, other) \
    if (a->set & ((uint64_t)1 << ROW_##field_)) p.field_ = a->sampling.field_;
#include "serve/chat_sampling.def"
#undef FH_ASK_SAMPLING_ROW
    if (a->set & ((uint64_t)1 << ROW_mirostat)) p.mirostat = a->sampling.mirostat;
    if (a->logit_bias) FH_TRY(add_bias(a, err));
    fh_str text;
    if (fh_json_to_str(a->samplers, &text)) return fh_sampler_steps_add_text(&a->chain, text, &p, err);
    if (a->samplers) return fh_sampler_steps_add_json(&a->chain, a->samplers, &p, err);
    return fh_sampler_steps_add_params(&a->chain, &p, err);
}

/* ---- lists and texts ---- */

void fh_ask_read_bias(fh_ask *a, fh_in *in, const char *name) {
    const fh_json_node *n = fh_in_get(in, name);
    if (!n) return;
    uint32_t most = fh_app_caps(a->call->app)->n_logit_bias;
    if (!fh_json_is(n, FH_JSON_OBJECT) && !fh_json_is(n, FH_JSON_ARRAY))
        fh_in_fail(in, name, "'%s' must be an object of token ids and numbers", name);
    else if (n->n_child > most) fh_in_fail(in, name, "'%s' has %u entries, at most %u", name, n->n_child, most);
    else a->logit_bias = n;
}

void fh_ask_read_stop(fh_ask *a, fh_in *in, const char *name) {
    const fh_json_node *n = fh_in_get(in, name), *one = n;
    const fh_caps *caps = fh_app_caps(a->call->app);
    uint32_t most = FH_MIN(caps->n_stop, FH_ASK_STOPS_MOST);
    if (!n) return;
    bool list = fh_json_is(n, FH_JSON_ARRAY);
    if (list && n->n_child + a->n_stop > most) {
        fh_in_fail(in, name, "'%s' has %u entries, at most %u", name, n->n_child, most);
        return;
    }
    for (one = list ? fh_json_first(n) : n; one; one = list ? fh_json_after(n, one) : NULL) {
        fh_str s;
        if (!fh_json_to_str(one, &s) || s.len > caps->stop_bytes) {
            fh_in_fail(in, name, "'%s' must be a string of at most %u bytes, or an array of them", name,
                       caps->stop_bytes);
            return;
        }
        if (s.len && a->n_stop < most) a->stop[a->n_stop++] = s;
    }
}

static size_t bytes_of(fh_in *in, const char *param, const fh_json_node *n, size_t most) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, most + 1);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_tree(&w, n);
    size_t len = b.len;
    if (fh_buf_check(&b, NULL) != FH_OK || len > most)
        fh_in_fail(in, param, "'%s' has more than %zu bytes", param, most);
    fh_buf_release(&b);
    return len;
}

void fh_ask_read_schema(fh_ask *a, fh_in *in, const char *param, const fh_json_node *schema) {
    if (in->failed) return;
    if (!fh_json_is(schema, FH_JSON_OBJECT) && !fh_json_is(schema, FH_JSON_TRUE)) {
        fh_in_fail(in, param, "'%s' must be a JSON Schema", param);
        return;
    }
    (void)bytes_of(in, param, schema, fh_app_caps(a->call->app)->schema_bytes);
    a->format = FH_FORMAT_SCHEMA;
    a->format_node = schema;
}

void fh_ask_read_most(fh_ask *a, fh_in *in, const char *name) {
    int64_t n;
    if (!fh_in_i64(in, name, -2, INT32_MAX, &n) || n < 0) return;
    if (n == 0) fh_in_fail(in, name, "'%s' must be at least 1", name);
    a->most = (uint32_t)n;
    a->most_set = true;
}

void fh_ask_read_budget(fh_ask *a, fh_in *in) {
    static const char *const names[] = {"budget_tokens", "thinking_budget_tokens", "thinking_token_budget",
                                        "thinking_budget", "reasoning_budget"};
    int64_t n;
    for (size_t i = 0; i < FH_COUNT(names); i++) {
        if (!fh_in_i64(in, names[i], -1, INT32_MAX, &n)) continue;
        a->think_most_set = n >= 0;
        a->think_most = n >= 0 ? (uint32_t)n : 0;
        if (n == 0) a->think = FH_ASK_THINK_NO;
    }
}

static bool is_text_part(fh_str type) {
    return fh_str_is(type, "text") || fh_str_is(type, "input_text") || fh_str_is(type, "output_text");
}

bool fh_ask_text_of(fh_in *in, const char *param, const fh_json_node *content, fh_buf *out) {
    fh_str s, type;
    if (in->failed) return false;
    if (fh_json_to_str(content, &s)) return fh_buf_add_str(out, s), true;
    if (!fh_json_is(content, FH_JSON_ARRAY)) {
        fh_in_fail(in, param, "'%s' must be a string or an array of parts", param);
        return false;
    }
    for (const fh_json_node *p = fh_json_first(content); p; p = fh_json_after(content, p)) {
        if (fh_json_to_str(p, &s)) {
            fh_buf_add_str(out, s);
            continue;
        }
        if (!fh_json_to_str(fh_json_get(p, "type"), &type)) type = FH_STR("");
        if (is_text_part(type) && fh_json_to_str(fh_json_get(p, "text"), &s)) fh_buf_add_str(out, s);
        else if (fh_str_is(type, "refusal") && fh_json_to_str(fh_json_get(p, "refusal"), &s)) fh_buf_add_str(out, s);
        else {
            fh_in_fail_as(in, 400, "unsupported_content", param,
                          "'%s' holds a part of type '%.*s': only text is understood so far, no images, audio or files",
                          param, FH_STR_ARG(type));
            return false;
        }
    }
    return true;
}

void fh_ask_choose_tool(fh_ask *a, fh_in *in, const char *param, fh_str name) {
    fh_json *doc = NULL;
    fh_str s;
    bool found = false;
    if (in->failed) return;
    if (a->tools.len && fh_json_parse(&doc, fh_buf_str(&a->tools), NULL, NULL) == FH_OK) {
        const fh_json_node *root = fh_json_root(doc);
        for (const fh_json_node *t = fh_json_first(root); t; t = fh_json_after(root, t))
            found =
                found || (fh_json_to_str(fh_json_get(fh_json_get(t, "function"), "name"), &s) && fh_str_eq(s, name));
    }
    fh_json_free(doc);
    if (!found) fh_in_fail(in, param, "'%s' names '%.*s', which is none of the tools", param, FH_STR_ARG(name));
    a->tool_choice = FH_CALL_NAMED;
    a->tool_name = name;
}

/* ---- tools ---- */

static void read_tool(fh_ask *a, fh_in *in, fh_json_writer *w, const fh_json_node *t) {
    const fh_json_node *f = fh_json_get(t, "function"), *p;
    fh_str type = {"function", 8}, name;
    (void)fh_json_to_str(fh_json_get(t, "type"), &type);
    if (!fh_str_is(type, "function")) {
        char text[80];
        (void)snprintf(text, sizeof text, "tools.%.*s", (int)FH_MIN(type.len, 60u), type.ptr);
        fh_call_warn_unknown(a->call, fh_str_of(text));
        return;
    }
    if (!f) f = t;
    if (!fh_json_to_str(fh_json_get(f, "name"), &name) || !name.len || name.len > 128) {
        fh_in_fail(in, "tools", "a tool in 'tools' has no name of 1 to 128 bytes");
        return;
    }
    fh_json_put_object(w);
    fh_put_z(w, "type", "function");
    fh_json_put_key(w, "function");
    fh_json_put_object(w);
    fh_put_str(w, "name", name);
    p = fh_json_get(f, "description");
    fh_str text;
    if (fh_json_to_str(p, &text)) fh_put_str(w, "description", text);
    p = fh_json_get(f, "parameters");
    fh_json_put_key(w, "parameters");
    if (fh_json_is(p, FH_JSON_OBJECT) && p->n_child) fh_json_put_tree(w, p);
    else fh_put_args(w, FH_STR("{\"type\":\"object\",\"properties\":{}}"));
    fh_json_put_end(w);
    fh_json_put_end(w);
}

void fh_ask_read_tools(fh_ask *a, fh_in *in, const fh_json_node *list) {
    fh_json_writer w;
    const fh_caps *caps = fh_app_caps(a->call->app);
    if (in->failed || !list || list->n_child == 0) return;
    if (list->n_child > caps->n_tool) {
        fh_in_fail(in, "tools", "'tools' has %u entries, at most %u", list->n_child, caps->n_tool);
        return;
    }
    fh_json_writer_init(&w, &a->tools, false);
    fh_json_put_array(&w);
    for (const fh_json_node *t = fh_json_first(list); t && !in->failed; t = fh_json_after(list, t))
        read_tool(a, in, &w, t);
    fh_json_put_end(&w);
}

void fh_ask_put_call(fh_json_writer *w, fh_str id, fh_str name, fh_str arguments) {
    fh_json *doc = NULL;
    fh_json_put_object(w);
    if (id.len) fh_put_str(w, "id", id);
    fh_put_z(w, "type", "function");
    fh_json_put_key(w, "function");
    fh_json_put_object(w);
    fh_put_str(w, "name", name);
    fh_json_put_key(w, "arguments");
    const fh_json_options opt = {.allow_duplicate_keys = true};
    if (fh_json_parse(&doc, arguments.len ? arguments : FH_STR("{}"), &opt, NULL) == FH_OK &&
        fh_json_is(fh_json_root(doc), FH_JSON_OBJECT))
        fh_json_put_tree(w, fh_json_root(doc));
    else fh_json_put_str(w, arguments);
    fh_json_free(doc);
    fh_json_put_end(w);
    fh_json_put_end(w);
}
