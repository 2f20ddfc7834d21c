/* library/locate_hf.c - Hugging Face's cache and LM Studio's folder.
 * SPDX-License-Identifier: Apache-2.0
 *   <hub>/models--ORG--NAME/refs/main                     the commit
 *   <hub>/models--ORG--NAME/snapshots/<commit>/...        links into blobs/
 *   <lmstudio>/models/PUBLISHER/REPO/FILE.gguf
 * A name may carry a revision after '@' (cache) or a quantization or file after ':' (both): "org/name:Q4_K_M". */
#include <ctype.h>
#include <stdio.h>

#include "base/env.h"
#include "base/num.h"
#include "library/locate_part.h"

typedef struct repo_name {
    fh_str org, name, revision, variant;
} repo_name;

static fh_str cut_at(fh_str *s, char sep) {
    size_t at;
    if (!fh_str_find(*s, sep, &at)) return (fh_str){NULL, 0};
    fh_str tail = fh_str_drop(*s, at + 1);
    s->len = at;
    return tail;
}

static bool parse_repo(fh_str s, repo_name *r) {
    static const char *const prefixes[] = {"hf.co/", "huggingface.co/", "https://huggingface.co/"};
    for (size_t i = 0; i < FH_COUNT(prefixes); i++)
        if (fh_str_starts(s, prefixes[i])) s = fh_str_drop(s, strlen(prefixes[i]));
    r->variant = cut_at(&s, ':');
    r->revision = cut_at(&s, '@');
    r->org = s;
    r->name = cut_at(&r->org, '/');
    return fh_path_is_plain_name(r->org) && fh_path_is_plain_name(r->name) &&
           (!r->revision.len || fh_path_is_plain_name(r->revision));
}

static bool contains_nocase(fh_str s, fh_str part) {
    for (size_t i = 0; i + part.len <= s.len; i++) {
        size_t k = 0;
        while (k < part.len && tolower((unsigned char)s.ptr[i + k]) == tolower((unsigned char)part.ptr[k])) k++;
        if (k == part.len) return true;
    }
    return false;
}

/* The .gguf in the folder whose name holds the variant; the folder itself without one. */
static fh_status choose_variant(fh_location *out, fh_str variant, fh_err *err) {
    if (!variant.len) return FH_OK;
    fh_arena arena;
    fh_names names;
    char folder[FH_PATH_MAX];
    memcpy(folder, out->path, sizeof folder);
    fh_arena_init(&arena, 64u << 20);
    fh_status st = fh_dir_list(folder, &arena, &names, err);
    bool done = false;
    for (size_t i = 0; st == FH_OK && i < names.n && !done; i++) {
        if (!fh_str_ends(names.item[i], ".gguf") || !contains_nocase(names.item[i], variant)) continue;
        st = fh_path_join(out->path, folder, names.item[i], err);
        done = true;
    }
    if (st == FH_OK && !done)
        st = fh_fail(err, FH_ERR_NOT_FOUND, "no .gguf file with '%.*s' in its name in '%s'", FH_STR_ARG(variant),
                     folder);
    fh_arena_release(&arena);
    return st;
}

/* The commit that refs/<revision> names, or the only (first) snapshot. */
static fh_status choose_snapshot(char out[FH_PATH_MAX], const char *entry, fh_str revision, bool *found, fh_err *err) {
    char snapshots[FH_PATH_MAX], ref[FH_PATH_MAX], refs[FH_PATH_MAX];
    fh_str want = revision.len ? revision : FH_STR("main");
    FH_TRY(fh_path_join(snapshots, entry, FH_STR("snapshots"), err));
    FH_TRY(fh_path_join(refs, entry, FH_STR("refs"), err));
    FH_TRY(fh_path_join(ref, refs, want, err));
    fh_buf text;
    fh_buf_init(&text, 256);
    if (fh_file_get_kind(ref) == FH_FILE_REGULAR && fh_file_read(ref, &text, NULL) == FH_OK) {
        fh_str commit = fh_buf_str(&text);
        while (commit.len && isspace((unsigned char)commit.ptr[commit.len - 1])) commit.len--;
        bool ok = fh_path_is_plain_name(commit) && fh_path_join(out, snapshots, commit, NULL) == FH_OK;
        fh_buf_release(&text);
        *found = ok && fh_file_get_kind(out) == FH_FILE_DIR;
        if (*found) return FH_OK;
    }
    fh_buf_release(&text);
    if (revision.len) { /* a commit, whole */
        FH_TRY(fh_path_join(out, snapshots, revision, err));
        *found = fh_file_get_kind(out) == FH_FILE_DIR;
        return FH_OK;
    }
    fh_arena arena;
    fh_names names;
    fh_arena_init(&arena, 1u << 20);
    fh_status st = fh_file_get_kind(snapshots) == FH_FILE_DIR ? fh_dir_list(snapshots, &arena, &names, err) : FH_OK;
    if (st == FH_OK && fh_file_get_kind(snapshots) == FH_FILE_DIR && names.n == 1) {
        st = fh_path_join(out, snapshots, names.item[0], err);
        *found = st == FH_OK;
    }
    fh_arena_release(&arena);
    return st;
}

bool fh_locate_hf_root(char out[FH_PATH_MAX]) {
    const char *hub = fh_env_get(FH_ENV_HF_HUB_CACHE);
    if (hub) return fh_str_copy(out, FH_PATH_MAX, fh_str_of(hub));
    if (fh_locate_root(out, fh_env_get(FH_ENV_HF_HOME), "hub")) return true;
    if (fh_locate_root(out, fh_env_get(FH_ENV_XDG_CACHE_HOME), "huggingface/hub")) return true;
    return fh_locate_root(out, fh_env_get(FH_ENV_HOME), ".cache/huggingface/hub");
}

fh_status fh_locate_hf_cache(fh_location *out, fh_str model, bool *found, fh_err *err) {
    char root[FH_PATH_MAX], entry[FH_PATH_MAX], folder[600];
    repo_name r = {0};
    if (fh_str_starts(fh_path_base(model), "models--")) { /* the entry itself, by path */
        if (!fh_str_copy(entry, sizeof entry, model)) return FH_OK;
    } else {
        if (!parse_repo(model, &r) || !fh_locate_hf_root(root)) return FH_OK;
        snprintf(folder, sizeof folder, "models--%.*s--%.*s", FH_STR_ARG(r.org), FH_STR_ARG(r.name));
        FH_TRY(fh_path_join(entry, root, fh_str_of(folder), err));
        snprintf(out->name, sizeof out->name, "%.*s/%.*s", FH_STR_ARG(r.org), FH_STR_ARG(r.name));
    }
    if (fh_file_get_kind(entry) != FH_FILE_DIR) return FH_OK;
    FH_TRY(choose_snapshot(out->path, entry, r.revision, found, err));
    if (!*found) return FH_OK;
    out->source = FH_SOURCE_HF_CACHE;
    return choose_variant(out, r.variant, err);
}

bool fh_locate_lm_studio_root(char out[FH_PATH_MAX], size_t which) {
    return fh_locate_root(out, fh_env_get(FH_ENV_HOME), which == 0 ? ".lmstudio/models" : ".cache/lm-studio/models");
}

fh_status fh_locate_lm_studio(fh_location *out, fh_str model, bool *found, fh_err *err) {
    char root[FH_PATH_MAX], repo[sizeof out->name];
    repo_name r = {0};
    if (!parse_repo(model, &r)) return FH_OK;
    snprintf(repo, sizeof repo, "%.*s/%.*s", FH_STR_ARG(r.org), FH_STR_ARG(r.name));
    for (size_t i = 0; i < 2; i++) {
        if (!fh_locate_lm_studio_root(root, i)) continue;
        FH_TRY(fh_path_join(out->path, root, fh_str_of(repo), err));
        if (fh_file_get_kind(out->path) != FH_FILE_DIR) continue;
        snprintf(out->name, sizeof out->name, "%s", repo);
        out->source = FH_SOURCE_LM_STUDIO;
        *found = true;
        return choose_variant(out, r.variant, err);
    }
    return FH_OK;
}
