/* library/locate_ollama.c - Ollama's store: manifests that name blobs by digest.
 * SPDX-License-Identifier: Apache-2.0
 *   <models>/manifests/<host>/<namespace>/<model>/<tag>   JSON: layers with mediaType and digest
 *   <models>/blobs/sha256-<64 hex>
 * A digest is 64 hex digits or it is refused; a name is plain components or it is not looked up: neither can lead out
 * of the store. */
#include <stdio.h>

#include "base/env.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/num.h"
#include "library/locate_part.h"

#define MAX_MANIFEST_BYTES (4u << 20)

typedef struct ollama_name {
    fh_str host, space, model, tag;
} ollama_name;

static bool take_last(fh_str *s, char sep, fh_str *last) {
    for (size_t i = s->len; i > 0; i--) {
        if (s->ptr[i - 1] != sep) continue;
        *last = fh_str_drop(*s, i);
        s->len = i - 1;
        return true;
    }
    return false;
}

/* [host/][namespace/]model[:tag]; what is left out is registry.ollama.ai, library, latest. */
static bool parse_name(fh_str s, ollama_name *n) {
    fh_str rest = s, tail;
    *n = (ollama_name){FH_STR("registry.ollama.ai"), FH_STR("library"), s, FH_STR("latest")};
    if (!take_last(&rest, '/', &tail)) {
        tail = rest;
        rest.len = 0;
    }
    n->model = tail;
    fh_str model = tail, tag;
    if (take_last(&model, ':', &tag)) {
        n->model = model;
        n->tag = tag;
    }
    if (rest.len) {
        fh_str space;
        if (take_last(&rest, '/', &space)) n->host = rest;
        else space = rest;
        n->space = space;
    }
    return fh_path_is_plain_name(n->host) && fh_path_is_plain_name(n->space) && fh_path_is_plain_name(n->model) &&
           fh_path_is_plain_name(n->tag);
}

/* <root>/manifests/HOST/SPACE/MODEL/TAG: the root's length, or false. */
static bool split_manifest_path(fh_str path, size_t *root) {
    fh_str s = path, part;
    for (int i = 0; i < 4; i++)
        if (!take_last(&s, '/', &part)) return false;
    if (!take_last(&s, '/', &part) || !fh_str_is(part, "manifests")) return false;
    *root = s.len;
    return true;
}

bool fh_locate_is_ollama_manifest(const char *path) {
    size_t root;
    return fh_file_get_kind(path) == FH_FILE_REGULAR && split_manifest_path(fh_str_of(path), &root);
}

static fh_status blob_path(char out[FH_PATH_MAX], fh_str root, const fh_json_node *layer, fh_err *err) {
    fh_str digest, hex;
    const fh_json_node *node = fh_json_get(layer, "digest");
    if (!fh_json_to_str(node, &digest) || !fh_str_starts(digest, "sha256:") ||
        !fh_sha256_is_hex(fh_str_drop(digest, 7)))
        return fh_fail_at(err, FH_ERR_FORMAT, node ? node->offset : layer->offset,
                          "a layer's digest is not 'sha256:' and 64 hex digits");
    hex = fh_str_drop(digest, 7);
    int n = snprintf(out, FH_PATH_MAX, "%.*s/blobs/sha256-%.*s", (int)root.len, root.ptr, (int)hex.len, hex.ptr);
    return n < FH_PATH_MAX ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
}

/* What we want of a manifest, by media type. */
static fh_status take_layer(fh_location *out, fh_str root, const fh_json_node *layer, fh_err *err) {
    fh_str type;
    char *to = NULL;
    if (!fh_json_to_str(fh_json_get(layer, "mediaType"), &type)) return FH_OK;
    if (fh_str_is(type, "application/vnd.ollama.image.model")) to = out->path;
    if (fh_str_is(type, "application/vnd.ollama.image.license")) to = out->license_path;
    if (fh_str_is(type, "application/vnd.ollama.image.template")) to = out->template_path;
    if (fh_str_is(type, "application/vnd.ollama.image.adapter")) to = out->adapter_path;
    if (fh_str_is(type, "application/vnd.ollama.image.tensor"))
        return fh_fail_at(err, FH_ERR_UNSUPPORTED, layer->offset,
                          "this entry keeps each tensor in a blob of its own, which is not read yet");
    if (!to || to[0]) return FH_OK; /* the first of a kind */
    return blob_path(to, root, layer, err);
}

fh_status fh_locate_ollama_manifest(fh_location *out, const char *path, fh_err *err) {
    size_t root_len;
    fh_buf text;
    fh_json *doc = NULL;
    if (!split_manifest_path(fh_str_of(path), &root_len))
        return fh_fail(err, FH_ERR_USAGE, "'%s' is no manifest of Ollama's store", path);
    fh_str root = fh_str_first(fh_str_of(path), root_len);
    out->path[0] = '\0';
    fh_buf_init(&text, MAX_MANIFEST_BYTES);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_json_parse(&doc, fh_buf_str(&text), NULL, err);
    const fh_json_node *layers = st == FH_OK ? fh_json_get(fh_json_root(doc), "layers") : NULL;
    for (const fh_json_node *l = fh_json_first(layers); st == FH_OK && l; l = fh_json_after(layers, l))
        st = take_layer(out, root, l, err);
    if (st == FH_OK && !out->path[0])
        st = fh_fail(err, FH_ERR_UNSUPPORTED, "this entry names no local model (it may be a hosted one)");
    out->source = FH_SOURCE_OLLAMA;
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_json_free(doc);
    fh_buf_release(&text);
    return st;
}

bool fh_locate_ollama_root(char out[FH_PATH_MAX], size_t which) {
    const char *stated = fh_env_get(FH_ENV_OLLAMA_MODELS);
    if (stated) return which == 0 && fh_str_copy(out, FH_PATH_MAX, fh_str_of(stated));
    return fh_locate_root(out, which == 0 ? fh_env_get(FH_ENV_HOME) : "/usr/share/ollama", ".ollama/models");
}

fh_status fh_locate_ollama(fh_location *out, fh_str model, bool *found, fh_err *err) {
    char root[FH_PATH_MAX], manifest[FH_PATH_MAX];
    ollama_name n;
    if (!parse_name(model, &n)) return FH_OK;
    for (size_t i = 0; i < 2; i++) {
        if (!fh_locate_ollama_root(root, i)) continue;
        int len = snprintf(manifest, sizeof manifest, "%.*s/manifests/%.*s/%.*s/%.*s/%.*s", FH_PATH_MAX / 2, root,
                           FH_STR_ARG(n.host), FH_STR_ARG(n.space), FH_STR_ARG(n.model), FH_STR_ARG(n.tag));
        if (len >= (int)sizeof manifest || fh_file_get_kind(manifest) != FH_FILE_REGULAR) continue;
        FH_TRY(fh_locate_ollama_manifest(out, manifest, err));
        snprintf(out->name, sizeof out->name, "%.*s:%.*s", FH_STR_ARG(n.model), FH_STR_ARG(n.tag));
        *found = true;
        return FH_OK;
    }
    return FH_OK;
}
