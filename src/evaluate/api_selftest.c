/* evaluate/api_selftest.c - the run over all cases: names filled in, one request after another.
 * SPDX-License-Identifier: Apache-2.0
 * The table of cases is api_selftest.def. */
#include "evaluate/api_selftest.h"

#include "base/num.h"
#include "base/str.h"
#include "evaluate/api_selftest_part.h"

#define TEXT_MOST ((size_t)1 << 20)
#define NAME_MOST 200

static const fh_api_case cases[] = {
#define FH_API_CASE(area_, name_, flags_, method_, path_, headers_, body_, checks_) \
    {.area = (area_), \
     .name = (name_), \
     .flags = (flags_), \
     .method = (method_), \
     .path = (path_), \
     .headers = (headers_), \
     .body = (body_), \
     .checks = (checks_)},
#include "evaluate/api_selftest.def"
#undef FH_API_CASE
};

typedef struct run {
    const fh_api_options *opt;
    fh_api_http *http;
    char model[NAME_MOST], kept[FH_API_KEPT_MOST];
} run;

/* ---- names ---- */

static void add_name(fh_buf *out, const char *name, bool json) {
    fh_buf quoted;
    fh_json_writer w;
    if (!json) {
        for (; *name; name++) {
            bool plain = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                         (*name >= '0' && *name <= '9') || strchr("-._~/:", *name);
            if (plain) fh_buf_add_byte(out, (uint8_t)*name);
            else fh_buf_printf(out, "%%%02X", (unsigned)(uint8_t)*name);
        }
        return;
    }
    fh_buf_init(&quoted, TEXT_MOST);
    fh_json_writer_init(&w, &quoted, false);
    fh_json_put_z(&w, name);
    if (quoted.len >= 2) fh_buf_add(out, quoted.ptr + 1, quoted.len - 2);
    fh_buf_release(&quoted);
}

/* $MODEL and its like stand inside strings of JSON, or in a path. */
static fh_status fill_in(const run *r, const char *text, bool json, fh_buf *out, fh_err *err) {
    const struct {
        const char *mark, *name;
    } names[] = {{"$MODEL", r->model},
                 {"$EMBED", r->opt->embed ? r->opt->embed : r->model},
                 {"$RANK", r->opt->rank ? r->opt->rank : r->model},
                 {"$KEPT", r->kept}};
    while (*text) {
        size_t k = 0;
        while (k < FH_COUNT(names) && strncmp(text, names[k].mark, strlen(names[k].mark)) != 0) k++;
        if (k == FH_COUNT(names)) {
            fh_buf_add_byte(out, (uint8_t)*text++);
        } else {
            add_name(out, names[k].name, json);
            text += strlen(names[k].mark);
        }
    }
    fh_buf_add_byte(out, 0);
    return fh_buf_check(out, err);
}

/* ---- one case ---- */

static fh_status ask(run *r, const fh_api_case *c, fh_api_reply *reply, fh_err *err) {
    fh_buf path, body;
    fh_buf_init(&path, TEXT_MOST);
    fh_buf_init(&body, TEXT_MOST);
    fh_status s = fill_in(r, c->path, false, &path, err);
    if (s == FH_OK) s = fill_in(r, c->body, true, &body, err);
    if (s == FH_OK)
        s = fh_api_http_ask(r->http, c->method, (const char *)path.ptr, c->headers,
                            (fh_str){(const char *)body.ptr, body.len - 1}, reply, err);
    fh_buf_release(&body);
    fh_buf_release(&path);
    return s;
}

/* A server that breaks the connection off fails the case, not the run. */
static fh_status run_case(run *r, const fh_api_case *c, fh_api_result *out, fh_err *err) {
    fh_api_reply reply = {.status = 0};
    fh_err why = {.status = FH_OK};
    *out = (fh_api_result){.of = c, .verdict = FH_API_ABSENT};
    if (strstr(c->path, "$KEPT") && !r->kept[0]) {
        (void)snprintf(out->why, sizeof out->why, "the case before it gave nothing to ask for");
        return FH_OK;
    }
    fh_status s = ask(r, c, &reply, &why);
    out->status = reply.status;
    out->ns = reply.ns;
    if (s == FH_OK) {
        s = fh_api_judge(c, &reply, r->kept, out, err);
    } else if (s == FH_ERR_MEMORY) {
        if (err) *err = why;
    } else {
        out->verdict = FH_API_FAIL;
        (void)snprintf(out->why, sizeof out->why, "no answer: %.200s", why.message);
        s = FH_OK;
    }
    fh_buf_release(&reply.body);
    return s;
}

/* ---- the run ---- */

static fh_status find_model(run *r, fh_err *err) {
    fh_api_reply reply;
    fh_json *doc = NULL;
    fh_str name = {NULL, 0};
    fh_status s = fh_api_http_ask(r->http, "GET", "/v1/models", "", FH_STR(""), &reply, err);
    if (s == FH_OK && r->opt->model) {
        if (!fh_str_copy(r->model, sizeof r->model, fh_str_of(r->opt->model)))
            s = fh_fail(err, FH_ERR_LIMIT, "the model's name is too long: at most %zu bytes", sizeof r->model - 1);
    } else if (s == FH_OK) {
        if (fh_json_parse(&doc, fh_buf_str(&reply.body), NULL, NULL) == FH_OK)
            (void)fh_json_to_str(fh_json_get(fh_json_first(fh_json_get(fh_json_root(doc), "data")), "id"), &name);
        if (!name.len || !fh_str_copy(r->model, sizeof r->model, name))
            s = fh_fail(err, FH_ERR_NOT_FOUND,
                        "the server lists no model at /v1/models (status %d): say which one with --model, and --key "
                        "where it wants one",
                        reply.status);
    }
    fh_json_free(doc);
    fh_buf_release(&reply.body);
    return s;
}

static bool is_wanted(const fh_api_case *c, const char *only) {
    char all[160];
    (void)snprintf(all, sizeof all, "%s: %s", c->area, c->name);
    return !only || strstr(all, only);
}

fh_status fh_api_selftest(const fh_api_options *opt, fh_api_result_fn *fn, void *ctx, char *model, size_t size,
                          fh_err *err) {
    run r = {.opt = opt};
    fh_api_result result;
    fh_status s = fh_api_http_new(&r.http, opt, err);
    if (s == FH_OK) s = find_model(&r, err);
    if (s == FH_OK) (void)fh_str_copy(model, size, fh_str_of(r.model));
    for (size_t i = 0; s == FH_OK && i < FH_COUNT(cases); i++) {
        if (!is_wanted(&cases[i], opt->only)) continue;
        s = run_case(&r, &cases[i], &result, err);
        if (s == FH_OK && !fn(ctx, &result)) break;
    }
    fh_api_http_free(r.http);
    return s;
}
