/* base/file.h - files: mapped, read whole, listed, and written so that no half file ever has the final name.
 * SPDX-License-Identifier: Apache-2.0
 * A mapping survives another program truncating the file under it: the lost pages read as zero, the process
 * goes on, and fh_map_check reports it (a SIGBUS handler patches the hole). Check after reading what matters. */
#ifndef FH_BASE_FILE_H
#define FH_BASE_FILE_H

#include "base/buf.h"

/* Read-only mapping of a regular file. Immutable; may be read by many threads. */
typedef struct fh_map fh_map;
FH_MUST_USE fh_status fh_map_open(fh_map **out, const char *path, fh_err *err);
/* A mapping over bytes that live as long as the program (the built-in model). Nothing is unmapped. */
FH_MUST_USE fh_status fh_map_static(fh_map **out, fh_bytes bytes, const char *name, fh_err *err);
void fh_map_close(fh_map *m); /* NULL is fine */
fh_bytes fh_map_bytes(const fh_map *m);
const char *fh_map_path(const fh_map *m);
/* FH_ERR_CORRUPT once any page was found gone. */
FH_MUST_USE fh_status fh_map_check(const fh_map *m, fh_err *err);

typedef enum fh_map_hint { FH_MAP_SEQUENTIAL, FH_MAP_RANDOM, FH_MAP_WILLNEED, FH_MAP_DROP } fh_map_hint;
void fh_map_advise(const fh_map *m, size_t offset, size_t len, fh_map_hint hint); /* best effort */

typedef enum fh_file_kind { FH_FILE_NONE, FH_FILE_REGULAR, FH_FILE_DIR, FH_FILE_OTHER } fh_file_kind;
fh_file_kind fh_file_get_kind(const char *path); /* follows links; NONE if it cannot be seen */
FH_MUST_USE fh_status fh_file_get_size(const char *path, uint64_t *out, fh_err *err);
/* Appends the whole file to out, whose limit is the ceiling. */
FH_MUST_USE fh_status fh_file_read(const char *path, fh_buf *out, fh_err *err);

/* Names in a folder, without . and .., sorted by byte order. Strings live in the arena. */
typedef struct fh_names {
    fh_str *item; /* [n], each NUL-terminated */
    size_t n;
} fh_names;
FH_MUST_USE fh_status fh_dir_list(const char *path, fh_arena *arena, fh_names *out, fh_err *err);

/* "dir/name" into out; FH_ERR_LIMIT when it does not fit. name is taken as it is (may hold '/'). */
#define FH_PATH_MAX 4096
FH_MUST_USE fh_status fh_path_join(char out[FH_PATH_MAX], const char *dir, fh_str name, fh_err *err);
fh_str fh_path_base(fh_str path); /* last component */
/* A name from inside a file that may become part of a path: one component, no '/', not "." or "..". */
bool fh_path_is_plain_name(fh_str name);

/* Atomic writing: bytes go to a temporary beside the target; commit = flush, fsync, rename, fsync folder.
 * Until commit succeeds the target is untouched; abort removes the temporary. */
typedef struct fh_writer fh_writer;
FH_MUST_USE fh_status fh_writer_open(fh_writer **out, const char *path, fh_err *err);
FH_MUST_USE fh_status fh_writer_add(fh_writer *w, const void *data, size_t n, fh_err *err);
uint64_t fh_writer_offset(const fh_writer *w);                     /* bytes added so far */
FH_MUST_USE fh_status fh_writer_commit(fh_writer *w, fh_err *err); /* frees w, also on failure */
void fh_writer_abort(fh_writer *w);                                /* frees w; NULL is fine */

/* A writer without a file: bytes go to a function as they are added, piece by piece. Commit and abort only free it. */
typedef fh_status fh_sink(void *ctx, const void *data, size_t n, fh_err *err);
FH_MUST_USE fh_status fh_writer_open_sink(fh_writer **out, fh_sink *sink, void *ctx, fh_err *err);

/* A writer whose work survives the process. identity: 64 characters that stand for everything the bytes depend on. A
 * temporary with the same identity is gone on with: its first fh_writer_kept bytes are there, adding them again only
 * counts, fh_writer_skip counts without bytes. Another identity: from the start. FH_ERR_EXISTS: somebody writes it. */
FH_MUST_USE fh_status fh_writer_open_resumable(fh_writer **out, const char *path, const char *identity, fh_err *err);
uint64_t fh_writer_kept(const fh_writer *w);
void fh_writer_skip(fh_writer *w, uint64_t n); /* never beyond what is kept */
/* All bytes so far will be kept; at most four times a second, and nothing for other writers. */
FH_MUST_USE fh_status fh_writer_checkpoint(fh_writer *w, fh_err *err);
void fh_writer_suspend(fh_writer *w); /* frees w; what was kept stays for the next one */

/* For whoever wrote a temporary by other means: fsync, rename, fsync folder. The descriptor stays open. */
FH_MUST_USE fh_status fh_file_publish(int fd, const char *temporary, const char *target, fh_err *err);

#endif
