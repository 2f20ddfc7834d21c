/* device/cpu_fast_product.h - what products in fast mode share: inputs in their form.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_DEVICE_CPU_FAST_PRODUCT_H
#define FH_DEVICE_CPU_FAST_PRODUCT_H

#include "device/cpu_product.h"

/* The form in which this product takes its inputs, for as many as there are. */
fh_product_form fh_cpu_fast_form_of(const fh_exec *x, const fh_cpu_product *p);
/* All workers: makes it w->form_now, and the form itself if it is not there (with barriers then). */
void fh_cpu_fast_need_form(fh_exec *x, const fh_cpu_product *p, fh_product_form form, fh_cpu_worker *w);
/* An item's input in w->form_now. */
const void *fh_cpu_fast_input(const fh_exec *x, const fh_cpu_product *p, const fh_cpu_worker *w, uint64_t item,
                              uint32_t mat);

#endif
