/* format/packed_part.h - what packed.c and the layouts (packed_*.c) share; for no other file.
 * SPDX-License-Identifier: Apache-2.0
 * A layout looks at one codes tensor (a site), finds its partners, checks them and adds one weight; parts that a
 * weight uses do not become plain weights. A layout that does not know the tensor leaves it alone. */
#ifndef FH_FORMAT_PACKED_PART_H
#define FH_FORMAT_PACKED_PART_H

#include "format/packed.h"

typedef enum fh_packed_method {
    FH_PACKED_NO_METHOD, /* config.json says nothing */
    FH_PACKED_FP8,
    FH_PACKED_FBGEMM,
    FH_PACKED_CT, /* compressed-tensors */
    FH_PACKED_MODELOPT,
    FH_PACKED_GPTQ,
    FH_PACKED_AWQ,
    FH_PACKED_BNB,
    FH_PACKED_MXFP4
} fh_packed_method;

/* One way to quantize that config.json allows. Extents: 0 = the whole dimension. */
typedef struct fh_packed_scheme {
    uint64_t rows, cols;
    uint32_t bits;
    bool is_float, symmetric;
} fh_packed_scheme;

typedef struct fh_packed_config {
    fh_packed_method method;
    fh_str method_text;       /* as config.json writes it */
    fh_packed_scheme *scheme; /* [n_scheme], in the arena */
    size_t n_scheme;
    uint64_t bits;              /* GPTQ, AWQ; 0 unknown */
    int64_t group;              /* GPTQ, AWQ: -1 = the whole row, 0 unknown */
    bool gptq_v2, gptq_dynamic; /* zero points as they are; per-module overrides exist */
    bool symmetric;
} fh_packed_config;

FH_MUST_USE fh_status fh_packed_config_read(fh_packed_config *out, fh_arena *arena, const fh_json_node *config,
                                            fh_err *err);

#define FH_PACKED_MAX_PARTS 12

typedef struct fh_packed {
    fh_arena *arena;
    const fh_tensor *const *tensor; /* [n] */
    size_t n;
    uint32_t *order, *rank; /* [n] by name, and where each stands in that order */
    uint8_t *used;          /* [n] 1 = part of a weight */
    uint32_t *first;        /* [n_item] first stored tensor of each weight */
    fh_weight *item;        /* [n_item], capacity cap */
    size_t n_item, cap;
    fh_str layout; /* the last one written, to share its text */
    fh_packed_config config;
    fh_err *err;
} fh_packed;

typedef struct fh_packed_site {
    fh_packed *p;
    const fh_tensor *codes;
    fh_str base;                        /* the codes' name without the layout's suffix */
    fh_weight w;                        /* being put together; codes, shape of the codes and factor are set */
    uint32_t part[FH_PACKED_MAX_PARTS]; /* indices that the weight will use; [0] = the codes */
    size_t n_part;
    uint64_t pointed; /* bytes of parts that a field of w points at are counted by it */
} fh_packed_site;

/* A layout: looks at one site and adds a weight, fails, or does nothing. */
typedef fh_status fh_packed_bind_fn(fh_packed_site *s);
fh_packed_bind_fn fh_packed_bind_scaled;  /* packed_scaled.c: F8, F4, I8, U8 with scales beside them */
fh_packed_bind_fn fh_packed_bind_fp4;     /* packed_fp4.c: *_packed of bytes */
fh_packed_bind_fn fh_packed_bind_blocks;  /* packed_fp4.c: gpt-oss */
fh_packed_bind_fn fh_packed_bind_words;   /* packed_int.c: *_packed of words */
fh_packed_bind_fn fh_packed_bind_qweight; /* packed_gptq.c: GPTQ and AWQ */
fh_packed_bind_fn fh_packed_bind_bnb;     /* packed_bnb.c */

/* The tensor called base + suffix, or NULL. Found: it will count as used when the weight is added. */
const fh_tensor *fh_packed_part(fh_packed_site *s, fh_str base, const char *suffix);
/* Is there one? Claims nothing. */
bool fh_packed_has(const fh_packed_site *s, fh_str base, const char *suffix);
/* base + suffix as the weight's name, in the arena; refuses a name that a stored tensor has already. */
FH_MUST_USE fh_status fh_packed_name(fh_packed_site *s, fh_str base, const char *suffix);
/* Adds the weight. The layout's text is for people. */
FH_MUST_USE fh_status fh_packed_add(fh_packed_site *s, const char *layout, ...) FH_PRINTF(2, 3);
/* "weight 'name': ..." */
fh_status fh_packed_fail(const fh_packed_site *s, fh_status status, const char *fmt, ...) FH_PRINTF(3, 4);

/* Do scales of this shape fit the weight when one holds rows x cols (0 = all)? Sets scale_shared if so. */
bool fh_packed_fits(const fh_weight *w, const fh_tensor *scale, uint64_t rows, uint64_t cols, bool *shared);
/* Finds the extents of the scales among what config.json allows for such codes (or, where it says nothing, from
 * the shape alone) and sets scale, group_rows, group_cols, scale_shared. */
FH_MUST_USE fh_status fh_packed_set_scale(fh_packed_site *s, const fh_tensor *scale, uint32_t bits, bool is_float,
                                          const fh_packed_scheme **scheme);
/* F32 of one element, or one per matrix. */
FH_MUST_USE fh_status fh_packed_set_global(fh_packed_site *s, const fh_tensor *global, bool divides);
/* Doubles the innermost dimension: bytes to nibbles. */
FH_MUST_USE fh_status fh_packed_nibbles(fh_packed_site *s);
/* A map from columns to groups, every entry below n_group; drops it where it says what the order says. */
FH_MUST_USE fh_status fh_packed_set_map(fh_packed_site *s, const fh_tensor *map, uint64_t n_group);
bool fh_packed_is_float(fh_dtype t); /* F32, F16, BF16: what scales are stored in */

#endif
