/* base/chart_svg.h - line and bar charts as one SVG file that any browser shows.
 * SPDX-License-Identifier: Apache-2.0
 * Knows neither models nor money: it draws numbers and names. It stands in base because what draws with it (fit in the
 * library, cost in route) stands in rooms that may not include each other, and base is the one above both.
 * No script, no fonts or pictures from elsewhere; all text is escaped, and bytes that XML cannot hold become U+FFFD.
 * Numbers that are not finite are left out. Failure is sticky in the buffer. */
#ifndef FH_BASE_CHART_SVG_H
#define FH_BASE_CHART_SVG_H

#include "base/buf.h"

typedef struct fh_chart_series {
    fh_str name;
    const double *x, *y; /* [n]; a bar is y[0] with x unused */
    size_t n;
    fh_str value; /* behind a bar, instead of its number; may be empty */
} fh_chart_series;

typedef struct fh_chart_mark {
    double x, y;
    fh_str text;
} fh_chart_mark;

typedef enum fh_chart_kind { FH_CHART_LINES, FH_CHART_BARS } fh_chart_kind;

/* Axes start at 0. Bars lie on their side, one a series, with the value behind; lines have their name at the end. */
typedef struct fh_chart {
    fh_chart_kind kind;
    fh_str title, note; /* note: a line under the title, may be empty */
    fh_str x_label, y_label;
    fh_str unit_before, unit_after; /* around values: "$", " GiB" */
    const fh_chart_series *series;  /* [n_series] */
    size_t n_series;
    const fh_chart_mark *mark; /* [n_mark]: points of a line chart, numbered, explained below it */
    size_t n_mark;
} fh_chart;

#define FH_CHART_MAX_SERIES 32

/* Appends a whole SVG document with the charts below each other; at most FH_CHART_MAX_SERIES series
 * and marks of each are drawn. */
void fh_chart_svg(fh_buf *out, const fh_chart *charts, size_t n);

#endif
