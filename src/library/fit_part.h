/* library/fit_part.h - between reading what a model is (fit_config.c) and counting what it takes (fit_shape.c).
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_LIBRARY_FIT_PART_H
#define FH_LIBRARY_FIT_PART_H

#include "format/hf_config.h"
#include "library/fit.h"

enum { /* what holds for an architecture without being said in its files */
       FH_FIT_QKV_BIAS = 1 << 0,
       FH_FIT_O_BIAS = 1 << 1,
       FH_FIT_QK_NORM = 1 << 2,      /* over each head */
       FH_FIT_QK_NORM_WIDE = 1 << 3, /* over all heads together */
       FH_FIT_FOUR_NORMS = 1 << 4,
       FH_FIT_NORM_BIAS = 1 << 5,
       FH_FIT_NO_NORM = 1 << 6, /* norms without weights */
       FH_FIT_NO_GLU = 1 << 7,
       FH_FIT_SINKS = 1 << 8,
       FH_FIT_EXPERT_BIAS = 1 << 9,
       FH_FIT_CHOICE_BIAS = 1 << 10,
       FH_FIT_SHARED_SCORE = 1 << 11,
       FH_FIT_Q_GATE = 1 << 12,
       FH_FIT_TIED = 1 << 13,          /* unless the file says otherwise */
       FH_FIT_EXPERTS_OF_FF = 1 << 14, /* experts are as wide as intermediate_size says */
       FH_FIT_MLP_BIAS = 1 << 15,
       FH_FIT_ONE_NORM = 1 << 16,  /* attention and feed-forward side by side behind one */
       FH_FIT_ONE_SHARED = 1 << 17 /* a shared expert that no key mentions */
};

typedef enum fh_fit_rule { /* which layers slide */
                           FH_FIT_RULE_FULL,
                           FH_FIT_RULE_ALL_SLIDE,   /* where there is a window */
                           FH_FIT_RULE_EVEN_SLIDE,  /* 0, 2, 4 ... */
                           FH_FIT_RULE_PERIOD_LAST, /* the last of each period is full, the others slide */
                           FH_FIT_RULE_DELTA        /* ... the others are recurrent */
} fh_fit_rule;

typedef struct fh_fit_arch {
    const char *name; /* model_type of the text part */
    unsigned traits;
    fh_fit_rule rule;
    uint32_t period;
} fh_fit_arch;

const fh_fit_arch *fh_fit_arch_find(fh_str model_type); /* NULL: not known */
FH_MUST_USE fh_status fh_fit_config_read(fh_fit_config *out, const fh_fit_arch *arch, const fh_hf_config *c,
                                         fh_arena *arena, fh_err *err);
/* Tensors, parameters and state from the numbers; what they do not suffice for stays unknown. */
FH_MUST_USE fh_status fh_fit_count(fh_fit_shape *s, const fh_fit_arch *arch, const fh_fit_config *c, fh_err *err);
void fh_fit_add_part(fh_fit_shape *s, const fh_fit_part *p);

#endif
