/* format/hf_view.h - typed, range-checked lookups in the JSON files of a Hugging Face folder.
 * SPDX-License-Identifier: Apache-2.0
 * A view is one object, or several that shadow one another (the text part of a config before its
 * root); a name is a list of spellings, "hidden_size|n_embd|d_model". The first part that has any
 * spelling with a value other than null answers. Owns nothing: it points into a tree.
 * Every getter tells missing, null and present apart and touches *out only when present. A value of
 * the wrong kind or out of range is an error that names the file, the key's path and the byte. */
#ifndef FH_FORMAT_HF_VIEW_H
#define FH_FORMAT_HF_VIEW_H

#include "base/json.h"

#define FH_HF_MAX_PARTS 3
#define FH_HF_MAX_IDS 32

typedef enum fh_hf_state { FH_HF_MISSING, FH_HF_NULL, FH_HF_PRESENT } fh_hf_state;

typedef struct fh_hf_view {
    const char *file;                          /* "config.json", for messages */
    const fh_json_node *part[FH_HF_MAX_PARTS]; /* [n], asked in this order */
    fh_str path[FH_HF_MAX_PARTS];              /* "" or "text_config" */
    int n;
} fh_hf_view;

typedef struct fh_hf_hit {
    const fh_json_node *node; /* never NULL when the state is not MISSING */
    fh_str path, key;         /* where it was found */
} fh_hf_hit;

typedef struct fh_hf_ids {
    fh_hf_state state;
    uint32_t n; /* 0 when null; -1 in a file means none and is left out */
    uint32_t item[FH_HF_MAX_IDS];
} fh_hf_ids;

fh_hf_view fh_hf_view_of(const char *file, const fh_json_node *object);
fh_hf_state fh_hf_find(const fh_hf_view *v, const char *names, fh_hf_hit *hit);

/* "config.json: 'text_config.head_dim' should be a whole number" */
fh_status fh_hf_fail(const fh_hf_view *v, const fh_hf_hit *hit, const char *should, fh_err *err);
FH_MUST_USE fh_status fh_hf_get_u64(const fh_hf_view *v, const char *names, uint64_t lo, uint64_t hi,
                                    fh_hf_state *state, uint64_t *out, fh_err *err);
FH_MUST_USE fh_status fh_hf_get_f64(const fh_hf_view *v, const char *names, double lo, double hi, fh_hf_state *state,
                                    double *out, fh_err *err); /* finite */
FH_MUST_USE fh_status fh_hf_get_bool(const fh_hf_view *v, const char *names, fh_hf_state *state, bool *out,
                                     fh_err *err);
FH_MUST_USE fh_status fh_hf_get_str(const fh_hf_view *v, const char *names, fh_hf_state *state, fh_str *out,
                                    fh_err *err); /* borrowed from the tree */
FH_MUST_USE fh_status fh_hf_get_ids(const fh_hf_view *v, const char *names, fh_hf_ids *out, fh_err *err);
/* The same checks for a node found otherwise. */
FH_MUST_USE fh_status fh_hf_check_u64(const fh_hf_view *v, const fh_hf_hit *hit, uint64_t lo, uint64_t hi,
                                      uint64_t *out, fh_err *err);
FH_MUST_USE fh_status fh_hf_check_f64(const fh_hf_view *v, const fh_hf_hit *hit, double lo, double hi, double *out,
                                      fh_err *err);

#endif
