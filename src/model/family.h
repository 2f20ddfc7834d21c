/* model/family.h - what a family is made of: a row of data and at most one small hook. Private to src/model.
 * SPDX-License-Identifier: Apache-2.0
 * Adding one: see src/model/README.md. A family says what its files call things (names that differ from slot.def),
 * what holds for it without being said in the files (traits), and which layer is of which kind. Blocks
 * (block_*.c) know no family; what a block does follows from the spec and from the tensors that are there. */
#ifndef FH_MODEL_FAMILY_H
#define FH_MODEL_FAMILY_H

#include "format/bundle.h"
#include "model/spec.h"

/* ---- metadata, whichever file holds it ---- */
typedef enum fh_meta_field {
#define FH_META_ROW(id, gguf, hf) FH_META_##id,
#include "model/meta.def"
#undef FH_META_ROW
    FH_META_COUNT
} fh_meta_field;

typedef struct fh_meta {
    const fh_gguf *gguf; /* one of the two is NULL */
    fh_str arch;         /* prefix of GGUF keys */
    const fh_hf_config *hf;
    const fh_bundle *bundle; /* for what only the tensors tell */
} fh_meta;

bool fh_meta_u64(const fh_meta *m, fh_meta_field f, uint64_t *out);
bool fh_meta_u64_at(const fh_meta *m, fh_meta_field f, size_t i, uint64_t *out); /* a scalar serves every i */
bool fh_meta_f64(const fh_meta *m, fh_meta_field f, double *out);
bool fh_meta_bool(const fh_meta *m, fh_meta_field f, bool *out);
bool fh_meta_str(const fh_meta *m, fh_meta_field f, fh_str *out);
uint32_t fh_meta_u32_or(const fh_meta *m, fh_meta_field f, uint32_t otherwise);
float fh_meta_f32_or(const fh_meta *m, fh_meta_field f, float otherwise);
bool fh_meta_bool_or(const fh_meta *m, fh_meta_field f, bool otherwise);

/* ---- tensors ---- */
typedef enum fh_slot {
#define FH_SLOT_ROW(id, name, gguf, hf) FH_SLOT_##id,
#include "model/slot.def"
#undef FH_SLOT_ROW
    FH_SLOT_COUNT
} fh_slot;

/* Where the rows of a slot lie in the tensor that holds them. */
typedef enum fh_part {
    FH_PART_WHOLE,
    FH_PART_EVEN, /* rows 0 2 4 ... */
    FH_PART_ODD,  /* rows 1 3 5 ... */
    FH_PART_FIRST_HALF,
    FH_PART_SECOND_HALF
} fh_part;

/* One slot's names in one family. A name is a list of alternatives, "a|b"; "%u" is the layer, "%e" the expert (one
 * tensor each). ".weight" is understood when no tensor has the plain name. NULL: as slot.def has it. "": absent. */
typedef struct fh_name {
    fh_slot slot;
    const char *gguf, *hf;
    fh_part part;          /* of safetensors' tensor */
    bool plain_transposed; /* an unquantized tensor is stored [.., in, out] (safetensors) */
} fh_name;

typedef enum fh_stack { FH_STACK_MAIN, FH_STACK_ENCODER } fh_stack;

struct fh_family {
    const char *name;      /* "gemma3" */
    const char *covers;    /* for people: "Gemma 3, EmbeddingGemma" */
    const char *gguf, *hf; /* "gemma3|gemma-embedding": general.architecture; model_type */
    const char *hf_prefix; /* alternatives, the first whose table of tokens exists: "model.|language_model.model." */
    const char *unused;    /* patterns of tensors that may be left: "vision_tower.*|mtp.*", or NULL */
    fh_rope_layout rope_gguf, rope_hf;
    bool norm_plus_one;   /* safetensors */
    fh_map_kind act;      /* where the file does not say */
    const fh_name *names; /* [n_names] that differ from slot.def */
    uint32_t n_names;
    const fh_name *encoder_names;
    uint32_t n_encoder_names;
    /* After the common keys were read: layers[] (mutable view of spec->layer) and the rest. May be NULL. */
    fh_status (*describe)(fh_spec *s, fh_layer *layer, const fh_meta *m, fh_arena *arena, fh_err *err);
};

/* Layers by a period: the last of each `period` is full, the others slide; or by the file's list where it has one. */
void fh_family_slide(fh_spec *s, fh_layer *layer, const fh_meta *m, uint32_t period, bool full_last, uint32_t window);
/* "full_attention" of layer_types; NULL list: answer `otherwise`. */
bool fh_meta_layer_type_is(const fh_meta *m, uint32_t il, const char *type, bool otherwise);

#endif
