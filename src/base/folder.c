/* base/folder.c - SPDX-License-Identifier: Apache-2.0 */
#include "base/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"

#define MOST_DEPTH 32
#define MOST_NAMES ((size_t)64 << 20)

/* The folders of HOME that a variable of the XDG specification moves. A relative path in one counts as none. */
static const struct {
    const char *in_home;
    fh_env variable;
} moved[] = {{".config/", FH_ENV_XDG_CONFIG_HOME},
             {".local/state/", FH_ENV_XDG_STATE_HOME},
             {".local/share/", FH_ENV_XDG_DATA_HOME}};

fh_status fh_folder_own(char out[FH_PATH_MAX], const char *in_home, const char *in_own, fh_err *err) {
    const char *own = fh_env_get(FH_ENV_FREEHOLD_HOME), *home = fh_env_get(FH_ENV_HOME);
    if (own) return fh_path_join(out, own, fh_str_of(in_own), err);
    for (size_t i = 0; i < sizeof moved / sizeof moved[0]; i++) {
        const char *base = fh_env_get(moved[i].variable);
        size_t n = strlen(moved[i].in_home);
        if (base && base[0] == '/' && strncmp(in_home, moved[i].in_home, n) == 0)
            return fh_path_join(out, base, fh_str_of(in_home + n), err);
    }
    if (home) return fh_path_join(out, home, fh_str_of(in_home), err);
    return fh_fail(err, FH_ERR_NOT_FOUND, "neither FREEHOLD_HOME nor HOME says where this user's files are");
}

fh_status fh_folder_make(const char *path, fh_err *err) {
    char part[FH_PATH_MAX];
    if (!fh_str_copy(part, sizeof part, fh_str_of(path)))
        return fh_fail(err, FH_ERR_LIMIT, "a path longer than %d bytes", FH_PATH_MAX - 1);
    if (!part[0]) return FH_OK;
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        char was = *at;
        *at = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return fh_fail_errno(err, "make folder", part);
        *at = was;
        if (was == '\0') return FH_OK;
    }
}

static fh_status remove_at(const char *path, int depth, fh_err *err) {
    struct stat st;
    char below[FH_PATH_MAX];
    fh_arena arena;
    fh_names names;
    if (lstat(path, &st) != 0) return errno == ENOENT ? FH_OK : fh_fail_errno(err, "look at", path);
    if (!S_ISDIR(st.st_mode)) return unlink(path) == 0 ? FH_OK : fh_fail_errno(err, "remove", path);
    if (depth == MOST_DEPTH) return fh_fail(err, FH_ERR_LIMIT, "folders nested deeper than %d", MOST_DEPTH);
    fh_arena_init(&arena, MOST_NAMES);
    fh_status s = fh_dir_list(path, &arena, &names, err);
    for (size_t i = 0; s == FH_OK && i < names.n; i++) {
        s = fh_path_join(below, path, names.item[i], err);
        if (s == FH_OK) s = remove_at(below, depth + 1, err);
    }
    fh_arena_release(&arena);
    if (s == FH_OK && rmdir(path) != 0) s = fh_fail_errno(err, "remove folder", path);
    return s;
}

fh_status fh_folder_remove(const char *path, fh_err *err) { return remove_at(path, 0, err); }
