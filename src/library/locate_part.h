/* library/locate_part.h - the stores that locate.c asks, each in its own file.
 * SPDX-License-Identifier: Apache-2.0
 * Each returns FH_OK with *found false when the name is not there: only a broken entry is an error. */
#ifndef FH_LIBRARY_LOCATE_PART_H
#define FH_LIBRARY_LOCATE_PART_H

#include "library/locate.h"

FH_MUST_USE fh_status fh_locate_library(fh_location *out, fh_str model, bool *found, fh_err *err);
FH_MUST_USE fh_status fh_locate_ollama(fh_location *out, fh_str model, bool *found, fh_err *err);
/* A manifest file of the store, by its path. */
bool fh_locate_is_ollama_manifest(const char *path);
FH_MUST_USE fh_status fh_locate_ollama_manifest(fh_location *out, const char *path, fh_err *err);
FH_MUST_USE fh_status fh_locate_hf_cache(fh_location *out, fh_str model, bool *found, fh_err *err);
FH_MUST_USE fh_status fh_locate_lm_studio(fh_location *out, fh_str model, bool *found, fh_err *err);

/* Where those programs keep things, whether or not anything is there; false when nobody says. which counts from 0. */
bool fh_locate_ollama_root(char out[FH_PATH_MAX], size_t which);
bool fh_locate_hf_root(char out[FH_PATH_MAX]);
bool fh_locate_lm_studio_root(char out[FH_PATH_MAX], size_t which);

/* "$env/tail", or "$HOME/home_tail" when env is unset; false when neither is known. */
bool fh_locate_root(char out[FH_PATH_MAX], const char *base, const char *tail);

#endif
