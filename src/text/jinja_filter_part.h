/* text/jinja_filter_part.h - the filters that have a file of their own; see the table in jinja_filter.c.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_TEXT_JINJA_FILTER_PART_H
#define FH_TEXT_JINJA_FILTER_PART_H

#include "text/jinja_lib.h"

typedef bool fh_jfilter(fh_jrun *r, fh_jval v, const fh_jargs *a, fh_jval *out);

/* jinja_filter_seq.c */
fh_jfilter fh_jinja_f_batch, fh_jinja_f_dictsort, fh_jinja_f_groupby, fh_jinja_f_map, fh_jinja_f_max, fh_jinja_f_min,
    fh_jinja_f_reject, fh_jinja_f_rejectattr, fh_jinja_f_select, fh_jinja_f_selectattr, fh_jinja_f_slice,
    fh_jinja_f_sort, fh_jinja_f_unique;
/* jinja_filter_text.c */
fh_jfilter fh_jinja_f_center, fh_jinja_f_filesize, fh_jinja_f_indent, fh_jinja_f_striptags, fh_jinja_f_title,
    fh_jinja_f_truncate, fh_jinja_f_urlencode, fh_jinja_f_wordcount, fh_jinja_f_wordwrap, fh_jinja_f_xmlattr;

bool fh_jinja_soft_str(fh_jrun *r, fh_jval v, fh_jval *out); /* str(v), but safe text stays safe */

#endif
