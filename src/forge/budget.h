/* forge/budget.h - types for a model that may take so many bits a number, and no more.
 * SPDX-License-Identifier: Apache-2.0
 * The rule, in full:
 *   error of a tensor in a type  =  weight of its role  *  sum w (x - q)^2 / sum w x^2
 * over rows spread evenly through the tensor; q is x after quantizing and back; w is the importance of the column where
 * an importance matrix has the tensor, else 1. Without importance this is the share of a weight's energy that is lost,
 * with it the share of its output's; errors of tensors are taken to add up. The weight of a role is what the model's
 * answers lose for such an error in it: measured (forge/sensitivity.h) where opt->probe is given, else budget.def's.
 * The sum over all tensors is made as small as the budget allows: each tensor starts in its smallest type, then the
 * steps along each tensor's convex hull of (bytes, error) are taken, those with the most error per byte first
 * (Lagrange's solution), and what is left of the budget goes to whichever single changes still fit. The same
 * model, options and budget give the same types, on any number of threads. */
#ifndef FH_FORGE_BUDGET_H
#define FH_FORGE_BUDGET_H

#include "forge/quantize.h"

/* Changes the types of p's items that are not fixed such that all tensors together take opt->bpw bits a number at the
 * most. FH_ERR_UNSUPPORTED says what the least would be. */
FH_MUST_USE fh_status fh_budget_apply(fh_quantize_plan *p, fh_feed *f, const fh_quantize_options *opt, fh_pool *pool,
                                      fh_err *err);

#endif
