/* forge/sensitivity.h - what a model's answers lose when the tensors of one role lose something.
 * SPDX-License-Identifier: Apache-2.0
 * For each role a file is written in which its tensors alone are of a coarse type, and run over random tokens: the mean
 * KL divergence of its logits from the untouched model's (or, where there are no logits, the share of the rows' energy
 * that is wrong) is what that loss costs. One such file exists at a time, beside the target; it is gone afterwards.
 * Random tokens say nothing about any text, but they reach every tensor, and need no data. */
#ifndef FH_FORGE_SENSITIVITY_H
#define FH_FORGE_SENSITIVITY_H

#include "forge/quantize.h"

/* The type in which tensors are tried. */
#define FH_SENSITIVITY_TYPE FH_DTYPE_Q3_K

/* cost[role]: 0 for roles without tensors. p's items that are fixed are left alone. probe: path of the file. */
FH_MUST_USE fh_status fh_sensitivity_measure(double cost[FH_ROLE_COUNT], const fh_quantize_plan *p, fh_feed *f,
                                             const fh_quantize_options *opt, const char *probe, fh_pool *pool,
                                             fh_err *err);

#endif
