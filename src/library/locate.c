/* library/locate.c - the order of the stores; paths; what to say when nothing is found.
 * SPDX-License-Identifier: Apache-2.0 */
#include "library/locate.h"

#include <stdio.h>

#include "base/num.h"
#include "library/locate_part.h"

static const char *const source_names[] = {
    [FH_SOURCE_BUILTIN] = "built in",
    [FH_SOURCE_PATH] = "path",
    [FH_SOURCE_LIBRARY] = "library",
    [FH_SOURCE_OLLAMA] = "Ollama's store",
    [FH_SOURCE_HF_CACHE] = "Hugging Face's cache",
    [FH_SOURCE_LM_STUDIO] = "LM Studio's folder",
};
const char *fh_source_name(fh_source s) { return source_names[s]; }

bool fh_locate_root(char out[FH_PATH_MAX], const char *base, const char *tail) {
    return base && fh_path_join(out, base, fh_str_of(tail), NULL) == FH_OK;
}

/* A Hugging Face cache entry given by path: models--org--name with its snapshots inside. */
static fh_status enter_hf_entry(fh_location *out, fh_err *err) {
    char refs[FH_PATH_MAX];
    FH_TRY(fh_path_join(refs, out->path, FH_STR("snapshots"), err));
    if (!fh_str_starts(fh_path_base(fh_str_of(out->path)), "models--") || fh_file_get_kind(refs) != FH_FILE_DIR)
        return FH_OK;
    bool found = false;
    fh_str entry = fh_str_of(out->path);
    FH_TRY(fh_locate_hf_cache(out, entry, &found, err));
    return found ? FH_OK : fh_fail(err, FH_ERR_NOT_FOUND, "no snapshot in this cache entry");
}

static fh_status locate_path(fh_location *out, const char *model, fh_err *err) {
    fh_str s = fh_str_of(model);
    while (s.len > 1 && fh_str_ends(s, "/")) s.len--;
    out->source = FH_SOURCE_PATH;
    if (!fh_str_copy(out->path, sizeof out->path, s))
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    snprintf(out->name, sizeof out->name, "%s", model);
    if (fh_locate_is_ollama_manifest(out->path)) {
        char manifest[FH_PATH_MAX];
        memcpy(manifest, out->path, sizeof manifest);
        return fh_locate_ollama_manifest(out, manifest, err);
    }
    return enter_hf_entry(out, err);
}

/* "org/name:file.gguf" is a name: a file of a repository. */
static bool looks_like_path(fh_str s) {
    size_t colon;
    if (fh_str_starts(s, "/") || fh_str_starts(s, "./") || fh_str_starts(s, "../") || fh_str_starts(s, "~"))
        return true;
    return (fh_str_ends(s, ".gguf") || fh_str_ends(s, ".safetensors")) && !fh_str_find(s, ':', &colon);
}

fh_status fh_locate(fh_location *out, const char *model, fh_err *err) {
    static fh_status (*const stores[])(fh_location *, fh_str, bool *, fh_err *) = {
        fh_locate_library, fh_locate_ollama, fh_locate_hf_cache, fh_locate_lm_studio};
    fh_location found_at;
    memset(&found_at, 0, sizeof found_at);
    if (!model || !model[0]) {
        snprintf(found_at.name, sizeof found_at.name, "built-in model");
        *out = found_at;
        return FH_OK;
    }
    if (fh_file_get_kind(model) != FH_FILE_NONE) {
        FH_TRY(locate_path(&found_at, model, err));
        *out = found_at;
        return FH_OK;
    }
    fh_str s = fh_str_of(model);
    for (size_t i = 0; i < FH_COUNT(stores) && !looks_like_path(s); i++) {
        bool found = false;
        FH_TRY(stores[i](&found_at, s, &found, err));
        if (!found) continue;
        *out = found_at;
        return FH_OK;
    }
    if (looks_like_path(s)) return fh_fail(err, FH_ERR_NOT_FOUND, "there is no file or folder '%s'", model);
    return fh_fail(err, FH_ERR_NOT_FOUND,
                   "no model '%s': not a file, not in the library, Ollama's store, Hugging Face's cache or LM Studio's "
                   "folder; `freehold list` shows what is here, `freehold pull` fetches",
                   model);
}
