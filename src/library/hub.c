/* library/hub.c - what was typed, taken apart; tokens; pages.
 * SPDX-License-Identifier: Apache-2.0 */
#include "library/hub.h"

#include <ctype.h>
#include <stdio.h>

#include "base/env.h"
#include "base/num.h"
#include "library/hub_part.h"

#define HF "https://huggingface.co"
#define OLLAMA "registry.ollama.ai"

/* ---- names ---- */

static fh_str cut_last(fh_str *s, char sep) {
    for (size_t i = s->len; i > 0; i--) {
        if (s->ptr[i - 1] == '/' && sep != '/') break; /* a port belongs to the host */
        if (s->ptr[i - 1] != sep) continue;
        fh_str tail = fh_str_drop(*s, i);
        s->len = i - 1;
        return tail;
    }
    return (fh_str){NULL, 0};
}

static fh_str cut_first(fh_str *s, char sep) {
    size_t at;
    fh_str head = *s;
    if (!fh_str_find(*s, sep, &at)) {
        *s = (fh_str){NULL, 0};
        return head;
    }
    head.len = at;
    *s = fh_str_drop(*s, at + 1);
    return head;
}

static bool is_word(fh_str s, const char *extra) {
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && !strchr(extra, s.ptr[i])) return false;
    return s.len > 0 && s.len < 200 && s.ptr[0] != '.' && s.ptr[0] != '-';
}

static fh_status no_name(const char *model, const char *want, fh_err *err) {
    return fh_fail(err, FH_ERR_USAGE, "'%.200s' is no name that can be pulled; %s", model, want);
}

static fh_status set_base(fh_hub_name *n, const char *endpoint, const char *usual, fh_err *err) {
    fh_str base = fh_str_of(endpoint ? endpoint : usual);
    while (base.len && base.ptr[base.len - 1] == '/') base.len--;
    if (!fh_str_starts(base, "https://") && !fh_str_starts(base, "http://"))
        return fh_fail(err, FH_ERR_USAGE, "an endpoint is https://HOST or http://HOST, not '%.200s'", endpoint);
    return fh_str_copy(n->base, sizeof n->base, base) ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "the endpoint is too long");
}

/* A page's address as browsers show it: .../owner/repo/{blob,resolve,tree}/REV[/FILE] */
static bool cut_page(fh_str rest, fh_str *revision, fh_str *variant) {
    fh_str kind = cut_first(&rest, '/');
    if (!fh_str_is(kind, "blob") && !fh_str_is(kind, "resolve") && !fh_str_is(kind, "tree")) return kind.len == 0;
    *revision = cut_first(&rest, '/');
    size_t query = rest.len;
    (void)fh_str_find(rest, '?', &query);
    rest = fh_str_first(rest, query);
    if (rest.len) *variant = rest;
    return true;
}

static fh_status parse_hf(fh_hub_name *n, fh_str s, const char *model, const char *endpoint, fh_err *err) {
    static const char want[] = "Hugging Face's look like owner/repo, owner/repo:Q4_K_M or owner/repo@revision";
    fh_str revision = {NULL, 0}, variant = {NULL, 0}, rest = s, at, colon;
    /* both orders are in use: "repo:Q4@rev" and "repo@rev:Q4" */
    fh_str owner = cut_first(&rest, '/');
    fh_str tail = rest, repo = cut_first(&tail, '/');
    for (int i = 0; i < 2; i++) {
        size_t c = SIZE_MAX, a = SIZE_MAX;
        (void)fh_str_find(repo, ':', &c);
        (void)fh_str_find(repo, '@', &a);
        if (c == SIZE_MAX && a == SIZE_MAX) break;
        if (c == SIZE_MAX || (a != SIZE_MAX && a > c)) {
            at = cut_last(&repo, '@');
            revision = at;
        } else {
            colon = cut_last(&repo, ':');
            variant = colon;
        }
    }
    if (!cut_page(tail, &revision, &variant) || !is_word(owner, "._-") || !is_word(repo, "._-") ||
        (revision.len && !is_word(revision, "._-")) || (variant.len && !fh_store_path_ok(variant)))
        return no_name(model, want, err);
    n->hub = FH_HUB_HF;
    if (fh_str_is(revision, "main")) revision.len = 0; /* what is meant without one */
    FH_TRY(set_base(n, endpoint ? endpoint : fh_env_get(FH_ENV_HF_ENDPOINT), HF, err));
    snprintf(n->repo, sizeof n->repo, "%.*s/%.*s", FH_STR_ARG(owner), FH_STR_ARG(repo));
    snprintf(n->revision, sizeof n->revision, "%.*s", FH_STR_ARG(revision.len ? revision : FH_STR("main")));
    snprintf(n->variant, sizeof n->variant, "%.*s", FH_STR_ARG(variant));
    int len = snprintf(n->name, sizeof n->name, "%s%s%.*s%s%.*s", n->repo, revision.len ? "@" : "",
                       FH_STR_ARG(revision), variant.len ? ":" : "", FH_STR_ARG(variant));
    if (len >= (int)sizeof n->name || !fh_store_name_ok(fh_str_of(n->name))) return no_name(model, want, err);
    snprintf(n->source, sizeof n->source, "hf.co/%s", n->name);
    return FH_OK;
}

static bool is_local(fh_str host) {
    size_t at = host.len;
    (void)fh_str_find(host, ':', &at);
    fh_str name = fh_str_first(host, at);
    return fh_str_is(name, "localhost") || fh_str_is(name, "127.0.0.1");
}

static fh_status parse_oci(fh_hub_name *n, fh_str host, fh_str s, const char *model, const char *endpoint,
                           fh_err *err) {
    static const char want[] = "a registry's look like llama3.2:1b or host/namespace/name:tag";
    char usual[600], short_digest[24];
    fh_str path = s, digest = {NULL, 0}, tag = {NULL, 0}, rest;
    size_t at;
    if (fh_str_find(path, '@', &at)) {
        digest = fh_str_drop(path, at + 1);
        path = fh_str_first(path, at);
    }
    tag = cut_last(&path, ':');
    if (fh_str_is(host, "ollama.com") || !host.len) host = FH_STR(OLLAMA);
    if (fh_str_is(host, "docker.io")) host = FH_STR("registry-1.docker.io");
    bool ollama = fh_str_is(host, OLLAMA), ok = is_word(host, ".-:") && (!tag.len || is_word(tag, "._-"));
    if (digest.len) ok = ok && fh_str_starts(digest, "sha256:") && fh_sha256_is_hex(fh_str_drop(digest, 7));
    for (rest = path; ok && (rest.len || rest.ptr == path.ptr);) ok = is_word(cut_first(&rest, '/'), "._-");
    if (!ok) return no_name(model, want, err);
    n->hub = FH_HUB_OCI;
    snprintf(usual, sizeof usual, "%s://%.*s", is_local(host) ? "http" : "https", FH_STR_ARG(host));
    FH_TRY(set_base(n, endpoint, usual, err));
    bool bare = ollama && !fh_str_find(path, '/', &at);
    snprintf(n->repo, sizeof n->repo, "%s%.*s", bare ? "library/" : "", FH_STR_ARG(path));
    snprintf(n->revision, sizeof n->revision, "%.*s",
             FH_STR_ARG(digest.len ? digest
                        : tag.len  ? tag
                                   : FH_STR("latest")));
    snprintf(short_digest, sizeof short_digest, "sha256-%.12s", digest.len ? digest.ptr + 7 : "");
    fh_str known_as = tag.len ? tag : digest.len ? fh_str_of(short_digest) : FH_STR("latest");
    fh_str shown = bare ? path : fh_str_starts(path, "library/") && ollama ? fh_str_drop(path, 8) : path;
    bool plain = ollama && !fh_str_find(shown, '/', &at);
    int len = snprintf(n->name, sizeof n->name, "%.*s%s%.*s:%.*s", plain ? 0 : (int)host.len, host.ptr,
                       plain ? "" : "/", FH_STR_ARG(shown), FH_STR_ARG(known_as));
    if (len >= (int)sizeof n->name || !fh_store_name_ok(fh_str_of(n->name))) return no_name(model, want, err);
    snprintf(n->source, sizeof n->source, "%.*s/%s%s%.*s", FH_STR_ARG(host), n->repo, digest.len ? "@" : ":",
             FH_STR_ARG(fh_str_of(n->revision)));
    return FH_OK;
}

fh_status fh_hub_parse(fh_hub_name *out, const char *model, const char *endpoint, fh_err *err) {
    static const char *const hf[] = {"hf.co/", "huggingface.co/", "www.huggingface.co/"};
    fh_hub_name n = {.hub = FH_HUB_HF};
    fh_str s = fh_str_of(model);
    size_t slash;
    fh_status st;
    bool found = false;
    if (fh_str_starts(s, "https://")) s = fh_str_drop(s, 8);
    for (size_t i = 0; i < FH_COUNT(hf) && !found; i++) {
        found = fh_str_starts(s, hf[i]);
        if (found) s = fh_str_drop(s, strlen(hf[i]));
    }
    if (found) {
        st = parse_hf(&n, s, model, endpoint, err);
    } else if (!fh_str_find(s, '/', &slash)) {
        st = parse_oci(&n, (fh_str){NULL, 0}, s, model, endpoint, err);
    } else {
        fh_str rest = s, host = cut_first(&rest, '/');
        size_t at;
        bool is_host = is_local(host) || fh_str_find(host, ':', &at) ||
                       (fh_str_find(host, '.', &at) && (fh_str_find(rest, '/', &at) || fh_str_is(host, "ollama.com")));
        st = is_host ? parse_oci(&n, host, rest, model, endpoint, err) : parse_hf(&n, s, model, endpoint, err);
    }
    if (st == FH_OK) *out = n;
    return st;
}

/* ---- tokens ---- */

static fh_status use_token(char out[4096], fh_str s, const char *from, fh_err *err) {
    while (s.len && isspace((unsigned char)s.ptr[s.len - 1])) s.len--;
    while (s.len && isspace((unsigned char)s.ptr[0])) s = fh_str_drop(s, 1);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= 0x20 || (unsigned char)s.ptr[i] >= 0x7f)
            return fh_fail(err, FH_ERR_FORMAT, "the token in %s holds characters that no token has", from);
    return fh_str_copy(out, 4000, s) ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "the token in %s is too long", from);
}

static bool token_path(char out[FH_PATH_MAX]) {
    static const struct {
        fh_env base;
        const char *tail;
    } places[] = {{FH_ENV_HF_HOME, "token"},
                  {FH_ENV_XDG_CACHE_HOME, "huggingface/token"},
                  {FH_ENV_HOME, ".cache/huggingface/token"}};
    const char *stated = fh_env_get(FH_ENV_HF_TOKEN_PATH);
    if (stated) return fh_str_copy(out, FH_PATH_MAX, fh_str_of(stated));
    for (size_t i = 0; i < FH_COUNT(places); i++) {
        const char *base = fh_env_get(places[i].base);
        if (base) return fh_path_join(out, base, fh_str_of(places[i].tail), NULL) == FH_OK;
    }
    return false;
}

fh_status fh_hub_token(char out[4096], fh_err *err) {
    static const fh_env names[] = {FH_ENV_HF_TOKEN, FH_ENV_HUGGING_FACE_HUB_TOKEN};
    char path[FH_PATH_MAX];
    fh_buf text;
    out[0] = '\0';
    for (size_t i = 0; i < FH_COUNT(names); i++)
        if (fh_env_get(names[i])) return use_token(out, fh_str_of(fh_env_get(names[i])), fh_env_name(names[i]), err);
    if (!token_path(path) || fh_file_get_kind(path) != FH_FILE_REGULAR) return FH_OK;
    fh_buf_init(&text, 8192);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = use_token(out, fh_buf_str(&text), path, err);
    fh_buf_release(&text);
    return st;
}

/* ---- pages ---- */

void fh_hub_add_escaped(fh_buf *b, fh_str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (isalnum(c) || strchr("-._~/", c)) fh_buf_add_byte(b, c);
        else fh_buf_printf(b, "%%%02X", c);
    }
}

static fh_status refused(const fh_fetch_request *r, long status, const char *subject, fh_err *err) {
    if (status == 404) return fh_fail(err, FH_ERR_NOT_FOUND, "there is no '%.200s' at %.200s", subject, r->url);
    if ((status == 401 || status == 403) && !r->bearer)
        return fh_fail(
            err, FH_ERR_DENIED,
            "'%.200s' does not exist, or is not for everybody: accept its terms on its page and set HF_TOKEN", subject);
    if (status == 401 || status == 403)
        return fh_fail(err, FH_ERR_DENIED, "your token may not have '%.200s': accept its terms on its page", subject);
    return fh_fail(err, FH_ERR_IO, "'%.200s': the server answered %ld to %.200s", subject, status, r->url);
}

fh_status fh_hub_ask(fh_json **doc, fh_fetch *f, const fh_fetch_request *r, fh_fetch_reply *reply, const char *subject,
                     fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, FH_HUB_MOST_DOCUMENT);
    fh_status st = fh_fetch_document(f, r, &text, reply, err);
    if (st == FH_OK && reply->status != 200) st = refused(r, reply->status, subject, err);
    if (st == FH_OK) {
        const fh_json_options o = {.max_bytes = 512u << 20, .allow_duplicate_keys = true};
        st = fh_json_parse(doc, fh_buf_str(&text), &o, err);
        if (st != FH_OK) fh_err_set_path(err, r->url);
    }
    fh_buf_release(&text);
    return st;
}

fh_status fh_hub_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err) {
    fh_hub_listing l = {.n = 0};
    fh_arena_init(&l.arena, FH_HUB_MOST_ARENA);
    fh_status st =
        name->hub == FH_HUB_HF ? fh_hub_hf_list(&l, f, name, all, err) : fh_hub_oci_list(&l, f, name, all, err);
    if (st == FH_OK) *out = l;
    else fh_hub_listing_release(&l);
    return st;
}

void fh_hub_listing_release(fh_hub_listing *l) { fh_arena_release(&l->arena); }
