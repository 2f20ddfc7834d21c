/* model/slot_name.h - what each form of file calls a slot, and which slots a name means.
 * SPDX-License-Identifier: Apache-2.0
 * For whoever translates between files: adapters and converters. One table (slot.def with a family's own rows on top),
 * read in both directions; and the orders of rows in which the two forms differ. */
#ifndef FH_MODEL_SLOT_NAME_H
#define FH_MODEL_SLOT_NAME_H

#include "model/bind.h"
#include "model/model.h"

#define FH_SLOT_NAME_MOST 256

/* What each number in the tables of a loaded model's plans is, and which file names it was read under. */
const fh_binder *fh_model_binder(const fh_model *m);

/* The family's own row for a slot, or NULL. */
const fh_name *fh_slot_row(const fh_family *f, fh_stack stack, fh_slot slot);
/* Its names in one form: alternatives "a|b", "" where it has none. */
const char *fh_slot_pattern(const fh_family *f, bool gguf, fh_stack stack, fh_slot slot);
/* The next alternative of a list ("a|b"); false at the end. */
bool fh_slot_alternative(const char **list, fh_str *out);
/* Writes an alternative out: prefix before it unless it starts with '/'. False when it does not fit. */
bool fh_slot_expand(fh_str pattern, fh_str prefix, int32_t layer, uint32_t expert, char out[FH_SLOT_NAME_MOST]);
const char *fh_slot_plan_name(fh_slot slot); /* "attn.q" */

/* What a name means. */
typedef struct fh_slot_place {
    fh_slot slot;
    fh_stack stack;
    int32_t layer; /* -1 outside layers */
    uint32_t expert;
    bool by_expert;   /* one tensor for each expert, this is the one */
    bool every_layer; /* a layer's slot whose name has no number: one tensor serves them all */
} fh_slot_place;

/* All places that a tensor's or module's name may mean in one form, under any of the family's prefixes, with or
 * without ".weight"; at most room. One tensor may hold several slots, one name may be used by different mixers. */
size_t fh_slot_match(const fh_family *f, bool gguf, fh_str name, fh_slot_place *out, size_t room);

/* Is it the weight of a norm that may be stored less one? */
bool fh_slot_is_norm(fh_slot slot);

/* Row i of a slot in one form of file is which row in the other? (Queries and keys where rotation is laid out in
 * pairs here and halves there; value heads of the delta rule, which GGUF deals out in turn.) Likewise columns. */
uint64_t fh_form_row(const fh_spec *s, fh_slot slot, int32_t layer, bool from_gguf, uint64_t i);
uint64_t fh_form_col(const fh_spec *s, fh_slot slot, bool from_gguf, uint64_t i);
bool fh_form_moves(const fh_spec *s, fh_slot slot); /* is any of the two not the identity? */

#endif
