/* library/store.h - freehold's own library: models that were pulled or unpacked here.
 * SPDX-License-Identifier: Apache-2.0
 *   <library>/library.db                   SQLite: names, what they stand for, sources, times
 *   <library>/blobs/sha256-<hex>           content; a name here means: whole, synced, proven by its digest
 *   <library>/partial/<key>.part, .journal content on its way
 *   <library>/models/<id>/<path>           links to blobs, laid out as the model's maker did
 * A model is a list of files (path, digest, size); its id is the SHA-256 of that list, so that equal ids are equal
 * bytes. Several names may stand for one model, several models share blobs.
 * Invariants: (1) a name is written last, when every blob and link of its model is there; (2) nothing is removed that
 * a name, or what a name stood for before, still needs. Paths from outside pass fh_store_path_ok first. */
#ifndef FH_LIBRARY_STORE_H
#define FH_LIBRARY_STORE_H

#include "base/file.h"
#include "base/hash.h"

#define FH_STORE_MOST_FILES 10000

typedef struct fh_store_file {
    fh_str path; /* relative: "config.json", "1_Pooling/config.json" */
    fh_str role; /* "model", "license", "template", "adapter", or "" */
    char digest[FH_SHA256_HEX];
    uint64_t bytes;
} fh_store_file;

typedef struct fh_store_model {
    fh_str name;            /* "llama3.2:1b", "org/name:Q4_K_M" */
    fh_str source;          /* what pull would take again; or "bundle" */
    fh_str revision;        /* commit, digest of the registry's manifest, or "" */
    fh_str entry;           /* the file that is opened, or "" for the folder */
    char id[FH_SHA256_HEX]; /* filled by fh_store_put */
    fh_store_file *file;    /* [n_file] sorted by path */
    size_t n_file;
    uint64_t bytes, named_ms; /* of all files; when the name came to stand for this */
    bool has_before;          /* rollback has somewhere to go */
} fh_store_model;

typedef struct fh_store fh_store; /* one thread at a time */

typedef enum fh_store_mode { FH_STORE_AS_IS, FH_STORE_MAKE } fh_store_mode;

/* As it is: *out is NULL, and that is fine, where no library is yet; nothing is made. */
FH_MUST_USE fh_status fh_store_open(fh_store **out, fh_store_mode mode, fh_err *err);
/* The same for a library that lies elsewhere. */
FH_MUST_USE fh_status fh_store_open_in(fh_store **out, const char *folder, fh_store_mode mode, fh_err *err);
void fh_store_close(fh_store *s); /* NULL is fine; also gives the lock back */
const char *fh_store_folder(const fh_store *s);
/* Held until close: shared by those who add, alone by who removes. FH_ERR_EXISTS when somebody else is in the way. */
FH_MUST_USE fh_status fh_store_lock(fh_store *s, bool alone, fh_err *err);

/* Texts live in the arena. As typed: a prefix such as "hf.co/" and a final ":latest" may be there or not; where one
 * repository has one variant here, its name alone will do. */
FH_MUST_USE fh_status fh_store_find(fh_store *s, fh_str typed, fh_arena *arena, fh_store_model *out, bool *found,
                                    fh_err *err);
FH_MUST_USE fh_status fh_store_list(fh_store *s, fh_arena *arena, fh_store_model **out, size_t *n, fh_err *err);

/* Makes the folder of links and then the name. What the name stood for before is kept where keep_before is set. */
FH_MUST_USE fh_status fh_store_put(fh_store *s, fh_store_model *m, bool keep_before, fh_err *err);
FH_MUST_USE fh_status fh_store_copy(fh_store *s, const fh_store_model *m, fh_str to, fh_err *err);
FH_MUST_USE fh_status fh_store_remove(fh_store *s, fh_str name, fh_err *err); /* the name, and its past */
/* The name stands again for what it stood for before; FH_ERR_NOT_FOUND when nothing was kept. */
FH_MUST_USE fh_status fh_store_rollback(fh_store *s, fh_str name, fh_err *err);

typedef struct fh_store_swept {
    uint64_t n_blob, n_model, n_partial, bytes;
} fh_store_swept;
/* Removes what no name needs; also downloads that were given up, and with `before` what names stood for before. Wants
 * the lock, alone. dry: only counts. */
FH_MUST_USE fh_status fh_store_sweep(fh_store *s, bool partial, bool before, bool dry, fh_store_swept *out,
                                     fh_err *err);

/* Where things are. digest and model have been checked by whoever made them. */
FH_MUST_USE fh_status fh_store_blob_path(const fh_store *s, const char *digest, char out[FH_PATH_MAX], fh_err *err);
FH_MUST_USE fh_status fh_store_partial_path(const fh_store *s, const char *key, char out[FH_PATH_MAX], fh_err *err);
FH_MUST_USE fh_status fh_store_model_path(const fh_store *s, const fh_store_model *m, fh_str file,
                                          char out[FH_PATH_MAX], fh_err *err);
/* Does this path lie in this user's library? Then its folder, which a process must be able to read to follow links. */
bool fh_store_holds(const char *path, char folder[FH_PATH_MAX]);
/* Space that this user can still fill here. */
FH_MUST_USE fh_status fh_store_space(const fh_store *s, uint64_t *bytes, fh_err *err);

/* A relative path that cannot lead out of a folder, and that a terminal can show: plain components, at most 8 of them,
 * UTF-8 without control characters. */
bool fh_store_path_ok(fh_str path);
bool fh_store_name_ok(fh_str name);
/* SHA-256 over "<digest> <bytes> <path>\n" of the files, sorted by path. Sorts m->file. */
FH_MUST_USE fh_status fh_store_model_id(fh_store_model *m, fh_err *err);

#endif
