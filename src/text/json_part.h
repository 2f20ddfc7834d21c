/* text/json_part.h - reading the small trees of tokenizer.json: fields that must be there and of their kind.
 * SPDX-License-Identifier: Apache-2.0
 * Errors name the part ("normalizer"), the step's type and the field. */
#ifndef FH_TEXT_JSON_PART_H
#define FH_TEXT_JSON_PART_H

#include "base/json.h"
#include "text/split.h"

typedef struct fh_json_step {
    const fh_json_node *node;
    const char *part; /* "normalizer" */
    fh_str type;
    fh_arena *arena; /* where strings are copied */
    fh_err *err;
} fh_json_step;

/* Says what type of step a node is. */
FH_MUST_USE fh_status fh_json_step_open(fh_json_step *out, const fh_json_node *node, const char *part, fh_arena *arena,
                                        fh_err *err);
fh_status fh_json_step_bad(const fh_json_step *st, const char *key, const char *should);
fh_status fh_json_step_unknown(const fh_json_step *st); /* FH_ERR_UNSUPPORTED */
/* Absent or null: *out keeps its value. */
FH_MUST_USE fh_status fh_json_step_bool(const fh_json_step *st, const char *key, bool *out);
FH_MUST_USE fh_status fh_json_step_u32(const fh_json_step *st, const char *key, uint32_t most, uint32_t *out);
/* Must be there; copied. */
FH_MUST_USE fh_status fh_json_step_str(const fh_json_step *st, const char *key, fh_str *out);
/* One character; absent: *out keeps its value. */
FH_MUST_USE fh_status fh_json_step_char(const fh_json_step *st, const char *key, uint32_t *out);
/* {"String": ...} or {"Regex": ...}; literal may be NULL, otherwise it is set for a plain string. */
FH_MUST_USE fh_status fh_json_step_pattern(const fh_json_step *st, const char *key, fh_split **out, fh_str *literal);
/* One of names, by position; absent: *out keeps its value. */
FH_MUST_USE fh_status fh_json_step_name(const fh_json_step *st, const char *key, const char *const *names, size_t n,
                                        uint32_t *out);
/* The array a Sequence has. */
FH_MUST_USE fh_status fh_json_step_list(const fh_json_step *st, const char *key, const fh_json_node **out);

#endif
