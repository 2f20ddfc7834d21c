/* base/chart_svg.c - line and bar charts as SVG.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Layout is fixed: 960 units wide, a plot of 320, 44 a bar. Colours keep apart for most kinds
 * of colour blindness, and lines differ by dashes too. Coordinates are finite by construction: values are cut to
 * [0, top of the axis] before they are scaled. */
#include "base/chart_svg.h"

#include <math.h>

#include "base/num.h"

enum { WIDTH = 960, LEFT = 84, RIGHT = 210, HEAD = 96, PLOT = 320, FOOT = 74, MARK = 24 };
enum { BAR = 44, BAR_LEFT = 210, BAR_RIGHT = 140 };

static const char *const COLOR[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#b8860b", "#56b4e9", "#6a3d9a", "#555555"};
static const char *const DASH[] = {"", "9 5", "3 4", "12 4 3 4"};

/* ---- text ---- */
/* Length of a whole UTF-8 character that XML allows, or 0. */
static size_t character(fh_str s) {
    unsigned char c = (unsigned char)s.ptr[0];
    size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (len > s.len || !fh_utf8_valid(fh_str_first(s, len))) return 0;
    if (c < 0x20 || c == 0x7f) return 0;
    /* U+FFFE and U+FFFF are no XML characters; U+0080..9F would be controls */
    if (len == 3 && memcmp(s.ptr, "\xef\xbf", 2) == 0 && (unsigned char)s.ptr[2] >= 0xbe) return 0;
    if (c == 0xc2 && (unsigned char)s.ptr[1] < 0xa0) return 0;
    return len;
}

static void add_text(fh_buf *out, fh_str s) {
    while (s.len) {
        size_t len = character(s);
        if (len == 0) fh_buf_add_z(out, "\xef\xbf\xbd"), len = 1;
        else if (s.ptr[0] == '<') fh_buf_add_z(out, "&lt;");
        else if (s.ptr[0] == '>') fh_buf_add_z(out, "&gt;");
        else if (s.ptr[0] == '&') fh_buf_add_z(out, "&amp;");
        else if (s.ptr[0] == '"') fh_buf_add_z(out, "&quot;");
        else if (s.ptr[0] == '\'') fh_buf_add_z(out, "&#39;");
        else fh_buf_add(out, s.ptr, len);
        s = fh_str_drop(s, len);
    }
}

/* At most n characters, with an ellipsis where some are left out. */
static void add_short(fh_buf *out, fh_str s, size_t n) {
    size_t at = 0, count = 0, cut = 0;
    while (at < s.len) {
        size_t len = character(fh_str_drop(s, at));
        if (count == n - 1) cut = at;
        at += len ? len : 1;
        if (++count > n) break;
    }
    add_text(out, count > n ? fh_str_first(s, cut) : s);
    if (count > n) fh_buf_add_z(out, "\xe2\x80\xa6");
}

static void label(fh_buf *out, double x, double y, const char *style, fh_str text, size_t most) {
    fh_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
    add_short(out, text, most);
    fh_buf_add_z(out, "</text>\n");
}

/* 12,345 -> "12.3k" */
static void add_value(fh_buf *out, const fh_chart *c, double v) {
    static const char *const unit[] = {"", "k", "M", "B", "T"};
    size_t u = 0;
    char text[32];
    while (v >= 999.5 && u + 1 < FH_COUNT(unit)) v /= 1000, u++;
    snprintf(text, sizeof text, v < 9.995 && v != floor(v) ? "%.2f" : v < 99.95 && v != floor(v) ? "%.1f" : "%.0f", v);
    add_text(out, c ? c->unit_before : (fh_str){NULL, 0});
    fh_buf_printf(out, "%s%s", text, unit[u]);
    add_text(out, c ? c->unit_after : (fh_str){NULL, 0});
}

/* ---- axes ---- */
static double clean(double v, double top) { return !isfinite(v) || v < 0 ? 0 : v > top ? top : v; }

/* The least of 1, 2, 2.5, 5 x 10^k with at most `most` steps up to v. */
static double step_for(double v, double most) {
    static const double nice[] = {1, 2, 2.5, 5, 10};
    double p = pow(10, floor(log10(v / most)));
    for (size_t i = 0; i < FH_COUNT(nice); i++)
        if (v / (nice[i] * p) <= most) return nice[i] * p;
    return 10 * p;
}

static double largest(const fh_chart *c, bool of_y) {
    double top = 0;
    for (size_t s = 0; s < FH_MIN(c->n_series, (size_t)FH_CHART_MAX_SERIES); s++)
        for (size_t i = 0; i < c->series[s].n; i++) {
            if (c->kind == FH_CHART_BARS && i > 0) break;
            double v = of_y ? c->series[s].y[i] : c->series[s].x[i];
            if (isfinite(v) && v > top) top = v;
        }
    return top > 1e-9 ? FH_MIN(top, 1e300) : 1;
}

static void head(fh_buf *out, const fh_chart *c, double top) {
    label(out, 24, top + 30, "class=\"title\"", c->title, 90);
    if (c->note.len) label(out, 24, top + 52, "class=\"note\"", c->note, 130);
}

/* ---- lines ---- */
typedef struct frame {
    double top, x_max, y_max; /* what the plot's edges stand for */
} frame;

static double at_x(const frame *f, double x) { return LEFT + clean(x, f->x_max) / f->x_max * (WIDTH - LEFT - RIGHT); }
static double at_y(const frame *f, double y) { return f->top + HEAD + PLOT - clean(y, f->y_max) / f->y_max * PLOT; }

static void grid(fh_buf *out, const fh_chart *c, const frame *f, double x_step, double y_step) {
    double bottom = f->top + HEAD + PLOT, right = WIDTH - RIGHT;
    for (int i = 0; i * y_step <= f->y_max * 1.0001 && i < 20; i++) {
        double y = at_y(f, i * y_step);
        fh_buf_printf(out, "<path d=\"M%d %.1fH%.1f\" class=\"%s\"/>\n", LEFT, y, right, i ? "grid" : "axis");
        fh_buf_printf(out, "<text x=\"%d\" y=\"%.1f\" class=\"tick\" text-anchor=\"end\">", LEFT - 8, y + 4);
        add_value(out, c, i * y_step);
        fh_buf_add_z(out, "</text>\n");
    }
    for (int i = 0; i * x_step <= f->x_max * 1.0001 && i < 30; i++) {
        double x = at_x(f, i * x_step);
        fh_buf_printf(out, "<path d=\"M%.1f %.1fv6\" class=\"axis\"/>\n", x, bottom);
        fh_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"tick\" text-anchor=\"middle\">", x, bottom + 22);
        add_value(out, NULL, i * x_step);
        fh_buf_add_z(out, "</text>\n");
    }
    label(out, LEFT + (right - LEFT) / 2, bottom + 44, "class=\"label\" text-anchor=\"middle\"", c->x_label, 80);
    label(out, LEFT - 60, f->top + HEAD - 14, "class=\"label\"", c->y_label, 80);
}

static void curve(fh_buf *out, const fh_chart_series *s, const frame *f, size_t index) {
    bool pen = false;
    fh_buf_printf(out, "<path class=\"line\" stroke=\"%s\"", COLOR[index % FH_COUNT(COLOR)]);
    if (index % FH_COUNT(DASH)) fh_buf_printf(out, " stroke-dasharray=\"%s\"", DASH[index % FH_COUNT(DASH)]);
    fh_buf_add_z(out, " d=\"");
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->x[i]) || !isfinite(s->y[i])) {
            pen = false;
            continue;
        }
        fh_buf_printf(out, "%s%.1f %.1f", pen ? "L" : "M", at_x(f, s->x[i]), at_y(f, s->y[i]));
        pen = true;
    }
    fh_buf_add_z(out, "\"><title>");
    add_short(out, s->name, 80);
    fh_buf_add_z(out, "</title></path>\n");
}

/* Names at the ends of their lines, pushed apart where they would lie on each other. */
static void end_labels(fh_buf *out, const fh_chart *c, const frame *f, size_t n) {
    enum { GAP = 19 };
    double want[FH_CHART_MAX_SERIES] = {0};
    size_t order[FH_CHART_MAX_SERIES] = {0};
    for (size_t s = 0; s < n; s++) {
        const fh_chart_series *e = &c->series[s];
        want[s] = at_y(f, e->n ? e->y[e->n - 1] : 0) + 5;
        size_t k = s;
        for (; k > 0 && want[order[k - 1]] > want[s]; k--) order[k] = order[k - 1];
        order[k] = s;
    }
    double limit = f->top + HEAD + PLOT + 5;
    for (size_t k = 1; k < n; k++) want[order[k]] = FH_MAX(want[order[k]], want[order[k - 1]] + GAP);
    for (size_t k = n; k-- > 0; limit -= GAP) want[order[k]] = FH_MIN(want[order[k]], limit);
    for (size_t s = 0; s < n; s++) {
        char style[80];
        snprintf(style, sizeof style, "class=\"name\" style=\"fill:%s\"", COLOR[s % FH_COUNT(COLOR)]);
        label(out, WIDTH - RIGHT + 10, want[s], style, c->series[s].name, 26);
    }
}

/* Words beside a point would lie on a line sooner or later: a number in the plot, the words below it. */
static size_t n_marks(const fh_chart *c) { return FH_MIN(c->n_mark, (size_t)FH_CHART_MAX_SERIES); }

static void marks(fh_buf *out, const fh_chart *c, const frame *f) {
    double bottom = f->top + HEAD + PLOT;
    for (size_t i = 0; i < n_marks(c); i++) {
        const fh_chart_mark *m = &c->mark[i];
        double x = at_x(f, m->x), y = at_y(f, m->y), row = bottom + FOOT + (double)i * MARK;
        bool inside = isfinite(m->x) && isfinite(m->y) && m->x <= f->x_max && m->y <= f->y_max;
        if (inside) {
            fh_buf_printf(out, "<path d=\"M%.1f %.1fV%.1f\" class=\"drop\"/>\n", x, y, bottom);
            fh_buf_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"9\" class=\"mark\"/>\n", x, y);
            fh_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"tick\" text-anchor=\"middle\">%zu</text>\n", x,
                          y + 4, i + 1);
        }
        fh_buf_printf(out, "<circle cx=\"%d\" cy=\"%.1f\" r=\"9\" class=\"mark\"/>\n", LEFT + 9, row);
        fh_buf_printf(out, "<text x=\"%d\" y=\"%.1f\" class=\"tick\" text-anchor=\"middle\">%zu</text>\n", LEFT + 9,
                      row + 4, i + 1);
        label(out, LEFT + 28, row + 5, "", m->text, 110);
    }
}

static double lines_height(const fh_chart *c) { return HEAD + PLOT + FOOT + (double)n_marks(c) * MARK; }

static double draw_lines(fh_buf *out, const fh_chart *c, double top) {
    size_t n = FH_MIN(c->n_series, (size_t)FH_CHART_MAX_SERIES);
    double y_most = largest(c, true), x_most = largest(c, false);
    double y_step = step_for(y_most, 6), x_step = step_for(x_most, 12);
    /* months and counts have whole ticks */
    if (x_most > 12 && x_most <= 72 && x_most == floor(x_most)) x_step = x_most > 36 ? 12 : 6;
    frame f = {top, x_most, ceil(y_most / y_step - 1e-9) * y_step};
    head(out, c, top);
    grid(out, c, &f, x_step, y_step);
    for (size_t s = 0; s < n; s++) curve(out, &c->series[s], &f, s);
    marks(out, c, &f);
    end_labels(out, c, &f, n);
    return lines_height(c);
}

/* ---- bars ---- */
static double bars_height(const fh_chart *c) {
    return HEAD - 12 + (double)FH_MIN(c->n_series, (size_t)FH_CHART_MAX_SERIES) * BAR + 16;
}

static double draw_bars(fh_buf *out, const fh_chart *c, double top) {
    size_t n = FH_MIN(c->n_series, (size_t)FH_CHART_MAX_SERIES);
    double most = largest(c, true), room = WIDTH - BAR_LEFT - BAR_RIGHT;
    head(out, c, top);
    for (size_t s = 0; s < n; s++) {
        double y = top + HEAD - 12 + (double)s * BAR, v = c->series[s].n ? clean(c->series[s].y[0], most) : 0;
        label(out, BAR_LEFT - 12, y + 20, "class=\"name\" text-anchor=\"end\"", c->series[s].name, 26);
        fh_buf_printf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"28\" rx=\"3\" fill=\"%s\"/>\n", BAR_LEFT,
                      y, FH_MAX(v / most * room, 1.0), COLOR[s % FH_COUNT(COLOR)]);
        fh_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"name\">", BAR_LEFT + v / most * room + 9, y + 20);
        if (c->series[s].value.len) add_short(out, c->series[s].value, 14);
        else add_value(out, c, v);
        fh_buf_add_z(out, "</text>\n");
    }
    return bars_height(c);
}

void fh_chart_svg(fh_buf *out, const fh_chart *charts, size_t n) {
    double height = 0, top = 0;
    for (size_t i = 0; i < n; i++)
        height += charts[i].kind == FH_CHART_BARS ? bars_height(&charts[i]) : lines_height(&charts[i]);
    fh_buf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" "
                  "role=\"img\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n",
                  WIDTH, height, WIDTH, height);
    fh_buf_add_z(out, "<title>");
    if (n) add_text(out, charts[0].title);
    fh_buf_add_z(out, "</title>\n<style>text{fill:#333;font-size:13px}.title{font-size:20px;font-weight:600;fill:#111}"
                      ".note{font-size:13px;fill:#666}.tick{font-size:12px;fill:#555}.label{fill:#555}"
                      ".name{font-size:14px;font-weight:600}.grid{stroke:#e4e4e4}.axis{stroke:#888}"
                      ".line{fill:none;stroke-width:2.5;stroke-linejoin:round}.drop{stroke:#999;stroke-dasharray:2 3}"
                      ".mark{fill:#fff;stroke:#222;stroke-width:1.5}"
                      "</style>\n");
    fh_buf_printf(out, "<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n", WIDTH, height);
    for (size_t i = 0; i < n; i++)
        top += charts[i].kind == FH_CHART_BARS ? draw_bars(out, &charts[i], top) : draw_lines(out, &charts[i], top);
    fh_buf_add_z(out, "</svg>\n");
}
