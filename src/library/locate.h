/* library/locate.h - what a user may type where a MODEL is asked for, and where it then is.
 * SPDX-License-Identifier: Apache-2.0
 * Tried in this order: nothing (the built-in model), a path, freehold's library, Ollama's store, Hugging Face's cache,
 * LM Studio's folder.
 * Stores of other programs are read in place and never written. Names and digests found in their files are checked
 * before they become part of a path. Nothing is fetched from anywhere. */
#ifndef FH_LIBRARY_LOCATE_H
#define FH_LIBRARY_LOCATE_H

#include "base/file.h"

typedef enum fh_source {
    FH_SOURCE_BUILTIN,
    FH_SOURCE_PATH,
    FH_SOURCE_LIBRARY,
    FH_SOURCE_OLLAMA,
    FH_SOURCE_HF_CACHE,
    FH_SOURCE_LM_STUDIO
} fh_source;

typedef struct fh_location {
    fh_source source;
    char name[512];                 /* canonical: "llama3.2:1b", "org/model", or the path */
    char path[FH_PATH_MAX];         /* for fh_bundle_open; "" for the built-in model */
    char license_path[FH_PATH_MAX]; /* text that an Ollama manifest names, or "" */
    char template_path[FH_PATH_MAX];
    char adapter_path[FH_PATH_MAX];
} fh_location;

/* model may be NULL or "" for the built-in one. On failure the message says where was looked. */
FH_MUST_USE fh_status fh_locate(fh_location *out, const char *model, fh_err *err);
const char *fh_source_name(fh_source s); /* "Ollama's store" */

#endif
