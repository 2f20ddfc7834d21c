/* library/hub_oci.c - Ollama's registry and every other OCI registry: a manifest to files.
 * SPDX-License-Identifier: Apache-2.0
 * GET /v2/REPO/manifests/TAG, then blobs by digest. A registry that answers 401 with a Bearer challenge is asked for a
 * token as anybody may have one; nothing of the user's is ever sent. Layers get their place by media type (Ollama,
 * Docker's models) or by the title that tools such as oras give them. */
#include <stdio.h>
#include <strings.h>

#include "base/num.h"
#include "library/hub_part.h"

#define ACCEPT "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
#define MOST_MANIFEST ((size_t)4 << 20)

static const struct {
    const char *type, *path, *role;
} kinds[] = {
    {"application/vnd.ollama.image.model", "model.gguf", "model"},
    {"application/vnd.docker.ai.gguf.v3", "model.gguf", "model"},
    {"application/vnd.ollama.image.projector", "mmproj.gguf", ""},
    {"application/vnd.docker.ai.mmproj", "mmproj.gguf", ""},
    {"application/vnd.ollama.image.adapter", "adapter.gguf", "adapter"},
    {"application/vnd.ollama.image.template", "template", "template"},
    {"application/vnd.ollama.image.license", "LICENSE", "license"},
    {"application/vnd.docker.ai.license", "LICENSE", "license"},
    {"application/vnd.ollama.image.system", "system", ""},
    {"application/vnd.ollama.image.params", "params", ""},
    {"application/vnd.ollama.image.messages", "messages", ""},
};

/* ---- tokens for anybody ---- */

/* key="value" in a Bearer challenge. */
static fh_str param(fh_str challenge, const char *key) {
    size_t n = strlen(key), end;
    for (size_t i = 0; i + n + 2 < challenge.len; i++) {
        bool edge = i == 0 || challenge.ptr[i - 1] == ' ' || challenge.ptr[i - 1] == ',';
        if (!edge || strncasecmp(challenge.ptr + i, key, n) != 0 || memcmp(challenge.ptr + i + n, "=\"", 2) != 0)
            continue;
        fh_str value = fh_str_drop(challenge, i + n + 2);
        return fh_str_find(value, '"', &end) ? fh_str_first(value, end) : (fh_str){NULL, 0};
    }
    return (fh_str){NULL, 0};
}

static void add_query(fh_buf *b, const char *key, fh_str value, bool *any) {
    if (!value.len) return;
    fh_buf_printf(b, "%s%s=", *any ? "&" : "?", key);
    *any = true;
    for (size_t i = 0; i < value.len; i++) {
        fh_str one = {value.ptr + i, 1};
        if (value.ptr[i] == '/') fh_buf_add_z(b, "%2F");
        else fh_hub_add_escaped(b, one);
    }
}

static fh_status fetch_token(char out[4096], fh_fetch *f, const char *url, const char *subject, fh_err *err) {
    fh_json *doc = NULL;
    fh_str token;
    fh_fetch_reply *reply = fh_alloc_zero(1, sizeof *reply);
    if (!reply) return fh_fail_memory(err, sizeof *reply);
    const fh_fetch_request r = {.url = url, .accept = "application/json"};
    fh_status st = fh_hub_ask(&doc, f, &r, reply, subject, err);
    const fh_json_node *root = st == FH_OK ? fh_json_root(doc) : NULL;
    bool have =
        fh_json_to_str(fh_json_get(root, "token"), &token) || fh_json_to_str(fh_json_get(root, "access_token"), &token);
    for (size_t i = 0; st == FH_OK && have && i < token.len; i++) have = token.ptr[i] > 0x20 && token.ptr[i] < 0x7f;
    if (st == FH_OK && (!have || !fh_str_copy(out, 4000, token)))
        st = fh_fail(err, FH_ERR_DENIED, "the registry gave no usable token for '%s'", subject);
    fh_json_free(doc);
    fh_free(reply);
    return st;
}

static fh_status answer_challenge(char out[4096], fh_fetch *f, const fh_hub_name *name, const char *challenge,
                                  fh_err *err) {
    fh_str c = fh_str_of(challenge), realm;
    fh_buf url;
    bool any = false;
    if (strncasecmp(challenge, "Bearer ", 7) != 0)
        return fh_fail(err, FH_ERR_DENIED, "the registry wants a login for '%s', which freehold has not", name->repo);
    realm = param(c, "realm");
    fh_buf_init(&url, FH_FETCH_URL);
    fh_buf_add_str(&url, realm);
    fh_buf_add_byte(&url, '\0');
    fh_status st = fh_buf_check(&url, err);
    if (st == FH_OK && !fh_str_starts(realm, "https://") && !fh_fetch_same_origin((const char *)url.ptr, name->base))
        st = fh_fail(err, FH_ERR_DENIED, "the registry names '%.*s' for tokens, which is neither encrypted nor itself",
                     FH_STR_ARG(realm));
    if (st == FH_OK) {
        size_t at;
        url.len--;
        any = fh_str_find(realm, '?', &at);
        add_query(&url, "service", param(c, "service"), &any);
        add_query(&url, "scope", param(c, "scope"), &any);
        fh_buf_add_byte(&url, '\0');
        st = fh_buf_check(&url, err);
    }
    if (st == FH_OK) st = fetch_token(out, f, (const char *)url.ptr, name->repo, err);
    fh_buf_release(&url);
    return st;
}

/* ---- the manifest ---- */

static fh_status refused(const fh_hub_name *name, long status, fh_err *err) {
    if (status == 404 || status == 400)
        return fh_fail(err, FH_ERR_NOT_FOUND, "there is no '%s' at %s", name->name, name->base);
    if (status == 401 || status == 403)
        return fh_fail(err, FH_ERR_DENIED, "'%s' does not exist at %s, or is not for everybody", name->name,
                       name->base);
    return fh_fail(err, FH_ERR_IO, "'%s': %s answered %ld", name->name, name->base, status);
}

static fh_status read_manifest(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, fh_buf *text, fh_err *err) {
    char url[2048];
    fh_status st = FH_OK;
    fh_fetch_reply *reply = fh_alloc_zero(1, sizeof *reply);
    if (!reply) return fh_fail_memory(err, sizeof *reply);
    snprintf(url, sizeof url, "%s/v2/%s/manifests/%s", name->base, name->repo, name->revision);
    for (int again = 0; again < 2; again++) {
        const fh_fetch_request r = {.url = url, .accept = ACCEPT, .bearer = out->bearer[0] ? out->bearer : NULL};
        fh_buf_clear(text);
        st = fh_fetch_document(f, &r, text, reply, err);
        if (st != FH_OK || reply->status != 401 || again || !reply->challenge[0]) break;
        st = answer_challenge(out->bearer, f, name, reply->challenge, err);
        if (st != FH_OK) break;
    }
    if (st == FH_OK && reply->status != 200) st = refused(name, reply->status, err);
    fh_free(reply);
    return st;
}

static fh_status check_manifest_digest(fh_hub_listing *out, const fh_hub_name *name, fh_str text, fh_err *err) {
    char digest[7 + FH_SHA256_HEX] = "sha256:";
    FH_TRY(fh_sha256_of(fh_bytes_of(text), digest + 7, err));
    if (fh_str_starts(fh_str_of(name->revision), "sha256:") && strcmp(digest, name->revision) != 0)
        return fh_fail(err, FH_ERR_CORRUPT, "the manifest that came is not the one with digest %s", name->revision);
    return fh_arena_copy(&out->arena, fh_str_of(digest), &out->revision) ? FH_OK : fh_arena_fail(&out->arena, err);
}

/* ---- layers ---- */

static size_t count_path(const fh_hub_listing *out, fh_str path) {
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++) n += fh_str_eq(out->file[i].file.path, path);
    return n;
}

/* By media type or title; "" for a layer that is of no use. */
static fh_status place(fh_hub_listing *out, fh_store_file *f, const fh_json_node *layer, fh_err *err) {
    char numbered[600];
    fh_str type = {"", 0}, title = {NULL, 0}, path = {NULL, 0};
    (void)fh_json_to_str(fh_json_get(layer, "mediaType"), &type);
    (void)fh_json_to_str(fh_json_get(fh_json_get(layer, "annotations"), "org.opencontainers.image.title"), &title);
    f->role = FH_STR("");
    f->path = FH_STR("");
    for (size_t i = 0; i < FH_COUNT(kinds); i++) {
        if (!fh_str_is(type, kinds[i].type)) continue;
        path = fh_str_of(kinds[i].path);
        f->role = fh_str_of(kinds[i].role);
    }
    if (fh_str_is(type, "application/vnd.ollama.image.tensor"))
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "this entry keeps each tensor in a blob of its own, which is not read yet");
    if (!path.len) path = title;
    if (!path.len) return FH_OK;
    if (!fh_store_path_ok(path))
        return fh_fail(err, FH_ERR_FORMAT, "a layer wants to be '%.*s', which is no path that can be kept",
                       FH_STR_ARG(path));
    fh_str plain = path;
    for (size_t n = 2; count_path(out, path); n++) {
        if (plain.ptr == title.ptr)
            return fh_fail(err, FH_ERR_FORMAT, "two layers want to be '%.*s'", FH_STR_ARG(path));
        snprintf(numbered, sizeof numbered, "%zu-%.*s", n, FH_STR_ARG(plain));
        path = fh_str_of(numbered);
        f->role = FH_STR("");
    }
    return fh_arena_copy(&out->arena, path, &f->path) ? FH_OK : fh_arena_fail(&out->arena, err);
}

static fh_status take_layer(fh_hub_listing *out, const fh_hub_name *name, const fh_json_node *layer, bool *pickle,
                            fh_err *err) {
    char url[2048];
    fh_hub_file f = {.git = ""};
    fh_str digest;
    if (!fh_json_to_str(fh_json_get(layer, "digest"), &digest) || !fh_str_starts(digest, "sha256:") ||
        !fh_sha256_is_hex(fh_str_drop(digest, 7)))
        return fh_fail_at(err, FH_ERR_FORMAT, layer->offset, "a layer's digest is not 'sha256:' and 64 hex digits");
    if (!fh_json_to_u64(fh_json_get(layer, "size"), &f.file.bytes))
        return fh_fail_at(err, FH_ERR_FORMAT, layer->offset, "a layer has no size");
    FH_TRY(place(out, &f.file, layer, err));
    if (fh_hub_is_pickle(f.file.path)) *pickle = true;
    if (!f.file.path.len || fh_hub_is_pickle(f.file.path)) return FH_OK;
    (void)fh_str_copy(f.file.digest, sizeof f.file.digest, fh_str_drop(digest, 7));
    int n = snprintf(url, sizeof url, "%s/v2/%s/blobs/sha256:%s", name->base, name->repo, f.file.digest);
    if (!fh_arena_copy(&out->arena, (fh_str){url, (size_t)n}, &f.url)) return fh_arena_fail(&out->arena, err);
    bool gguf = fh_str_ends(f.file.path, ".gguf") && !fh_str_starts(fh_path_base(f.file.path), "mmproj");
    if (!out->entry.len && (fh_str_is(f.file.role, "model") || (gguf && !f.file.role.len))) out->entry = f.file.path;
    out->file[out->n++] = f;
    return FH_OK;
}

static fh_status take_layers(fh_hub_listing *out, const fh_hub_name *name, const fh_json_node *root, fh_err *err) {
    const fh_json_node *layers = fh_json_get(root, "layers");
    bool pickle = false;
    if (fh_json_get(root, "manifests"))
        return fh_fail(err, FH_ERR_UNSUPPORTED, "'%s' is an image for several platforms, not a model", name->name);
    if (!fh_json_is(layers, FH_JSON_ARRAY))
        return fh_fail(err, FH_ERR_FORMAT, "the manifest of '%s' has no layers", name->name);
    if (layers->n_child > FH_STORE_MOST_FILES)
        return fh_fail(err, FH_ERR_LIMIT, "a manifest of %u layers; %d are taken at the most", layers->n_child,
                       FH_STORE_MOST_FILES);
    out->entry = FH_STR("");
    out->file = fh_arena_alloc(&out->arena, layers->n_child, sizeof *out->file);
    if (!out->file) return fh_arena_fail(&out->arena, err);
    for (const fh_json_node *l = fh_json_first(layers); l; l = fh_json_after(layers, l))
        FH_TRY(take_layer(out, name, l, &pickle, err));
    if (out->entry.len) return FH_OK;
    for (size_t i = 0; i < out->n; i++)
        if (fh_str_ends(out->file[i].file.path, ".safetensors")) return FH_OK;
    return fh_fail(err, FH_ERR_UNSUPPORTED, "'%s' holds %s", name->name,
                   pickle
                       ? "its weights as pickle only; a pickle is a program that runs when it is opened, and is never "
                         "fetched here"
                       : "no model that runs here: neither GGUF nor safetensors");
}

fh_status fh_hub_oci_take(fh_hub_listing *out, fh_str manifest, const fh_hub_name *name, fh_err *err) {
    fh_json *doc = NULL;
    FH_TRY(check_manifest_digest(out, name, manifest, err));
    FH_TRY(fh_json_parse(&doc, manifest, NULL, err));
    fh_status st = take_layers(out, name, fh_json_root(doc), err);
    fh_json_free(doc);
    return st;
}

fh_status fh_hub_oci_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err) {
    fh_buf text;
    (void)all; /* a manifest names what belongs to the model, and no more */
    fh_buf_init(&text, MOST_MANIFEST);
    fh_status st = read_manifest(out, f, name, &text, err);
    if (st == FH_OK) st = fh_hub_oci_take(out, fh_buf_str(&text), name, err);
    fh_buf_release(&text);
    return st;
}
