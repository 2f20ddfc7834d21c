/* text/jinja_time.c - strftime_now() and the moment it sees.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. The directives of C's strftime in the C locale, with the flags that glibc adds (%-d); the moment is
 * handed in and has no time zone, as Python's datetime.now(). Refuses directives it does not know. */
#include <time.h>

#include "text/jinja_lib.h"

static const char *const day_name[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char *const month_name[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};

static bool is_leap(int y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

static int days_in(int y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return m == 2 && is_leap(y) ? 29 : days[m - 1];
}

/* 0 = Sunday */
static int week_day(const fh_template_now *t) {
    static const int shift[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    int y = t->month < 3 ? t->year - 1 : t->year;
    return (y + y / 4 - y / 100 + y / 400 + shift[t->month - 1] + t->day) % 7;
}

static int year_day(const fh_template_now *t) {
    int n = t->day - 1;
    for (int m = 1; m < t->month; m++) n += days_in(t->year, m);
    return n;
}

static int iso_week(const fh_template_now *t, int *year) {
    int ignored, monday = (week_day(t) + 6) % 7, week = (year_day(t) - monday + 10) / 7;
    *year = t->year;
    fh_template_now other = {.year = t->year - 1, .month = 12, .day = 31};
    if (week < 1) return *year = t->year - 1, iso_week(&other, &ignored);
    if (week == 53) {
        other = (fh_template_now){.year = t->year + 1, .month = 1, .day = 1};
        if ((week_day(&other) + 6) % 7 <= 3) return *year = t->year + 1, 1;
    }
    return week;
}

typedef struct stamp {
    fh_jrun *r;
    const fh_template_now *t;
    char flag; /* '-', '_', '0', '^', '#' or none */
} stamp;

static void number(const stamp *s, int v, int width, char pad) {
    if (s->flag == '-') width = 1;
    if (s->flag == '_') pad = ' ';
    if (s->flag == '0') pad = '0';
    fh_buf_printf(&s->r->out, pad == ' ' ? "%*d" : "%0*d", width, v);
}

static void name(const stamp *s, const char *z, size_t n) {
    for (size_t i = 0; i < n && z[i]; i++) {
        bool up = s->flag == '^' || s->flag == '#';
        fh_buf_add_byte(&s->r->out, (uint8_t)(up && z[i] >= 'a' && z[i] <= 'z' ? z[i] - 32 : z[i]));
    }
}

static bool expand(const stamp *s, const char *format, size_t n);

static bool directive(const stamp *s, char c) {
    const fh_template_now *t = s->t;
    int hour12 = t->hour % 12 ? t->hour % 12 : 12, year, wday = week_day(t);
    stamp plain = *s;
    plain.flag = '\0';
    switch (c) {
    case 'a': name(s, day_name[wday], 3); break;
    case 'A': name(s, day_name[wday], 9); break;
    case 'b':
    case 'h': name(s, month_name[t->month - 1], 3); break;
    case 'B': name(s, month_name[t->month - 1], 9); break;
    case 'c': return expand(&plain, "%a %b %e %H:%M:%S %Y", 20);
    case 'C': number(s, t->year / 100, 2, '0'); break;
    case 'd': number(s, t->day, 2, '0'); break;
    case 'D':
    case 'x': return expand(&plain, "%m/%d/%y", 8);
    case 'e': number(s, t->day, 2, ' '); break;
    case 'f': fh_buf_add_z(&s->r->out, "000000"); break;
    case 'F': return expand(&plain, "%Y-%m-%d", 8);
    case 'g':
        (void)iso_week(t, &year);
        number(s, year % 100, 2, '0');
        break;
    case 'G':
        (void)iso_week(t, &year);
        number(s, year, 4, '0');
        break;
    case 'H': number(s, t->hour, 2, '0'); break;
    case 'I': number(s, hour12, 2, '0'); break;
    case 'j': number(s, year_day(t) + 1, 3, '0'); break;
    case 'k': number(s, t->hour, 2, ' '); break;
    case 'l': number(s, hour12, 2, ' '); break;
    case 'm': number(s, t->month, 2, '0'); break;
    case 'M': number(s, t->minute, 2, '0'); break;
    case 'n': fh_buf_add_byte(&s->r->out, '\n'); break;
    case 'p':
        fh_buf_add_z(&s->r->out, s->flag == '#' ? (t->hour < 12 ? "am" : "pm") : t->hour < 12 ? "AM" : "PM");
        break;
    case 'P': fh_buf_add_z(&s->r->out, t->hour < 12 ? "am" : "pm"); break;
    case 'r': return expand(&plain, "%I:%M:%S %p", 11);
    case 'R': return expand(&plain, "%H:%M", 5);
    case 'S': number(s, t->second, 2, '0'); break;
    case 't': fh_buf_add_byte(&s->r->out, '\t'); break;
    case 'T':
    case 'X': return expand(&plain, "%H:%M:%S", 8);
    case 'u': number(s, wday ? wday : 7, 1, '0'); break;
    case 'U': number(s, (year_day(t) + 7 - wday) / 7, 2, '0'); break;
    case 'V': number(s, iso_week(t, &year), 2, '0'); break;
    case 'w': number(s, wday, 1, '0'); break;
    case 'W': number(s, (year_day(t) + 7 - (wday + 6) % 7) / 7, 2, '0'); break;
    case 'y': number(s, t->year % 100, 2, '0'); break;
    case 'Y': number(s, t->year, 1, '0'); break;
    case 'z':
    case 'Z': break; /* the moment has no zone */
    case '%': fh_buf_add_byte(&s->r->out, '%'); break;
    default: return fh_jinja_fail(s->r, "strftime_now: '%%%c' is not supported", c >= 32 && c < 127 ? c : '?');
    }
    return true;
}

static bool expand(const stamp *s, const char *format, size_t n) {
    stamp one = *s;
    for (size_t i = 0; i < n; i++) {
        if (format[i] != '%') {
            fh_buf_add_byte(&s->r->out, (uint8_t)format[i]);
            continue;
        }
        one.flag = '\0';
        while (i + 1 < n && format[i + 1] && strchr("-_0^#", format[i + 1])) one.flag = format[++i];
        if (i + 1 < n && (format[i + 1] == 'E' || format[i + 1] == 'O')) i++;
        if (++i == n) return fh_jinja_fail(s->r, "strftime_now: the format ends in '%%'");
        if (!fh_jinja_pay(s->r, 1) || !directive(&one, format[i])) return false;
    }
    return true;
}

bool fh_jinja_strftime(fh_jrun *r, fh_str format, fh_jval *out) {
    size_t from = r->out.len;
    if (!r->now) return fh_jinja_fail(r, "strftime_now: no moment was given");
    stamp s = {.r = r, .t = r->now};
    return expand(&s, format.ptr, format.len) && fh_jinja_take(r, from, out);
}

/* ---- the moment ---- */

static bool digits(fh_str *s, size_t n, int *out) {
    int v = 0;
    if (s->len < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') return false;
        v = v * 10 + (s->ptr[i] - '0');
    }
    *s = fh_str_drop(*s, n);
    *out = v;
    return true;
}

static bool sign(fh_str *s, char c) {
    if (s->len == 0 || s->ptr[0] != c) return false;
    *s = fh_str_drop(*s, 1);
    return true;
}

bool fh_template_now_parse(fh_str s, fh_template_now *out) {
    fh_template_now t = {0};
    if (!digits(&s, 4, &t.year) || !sign(&s, '-') || !digits(&s, 2, &t.month) || !sign(&s, '-') ||
        !digits(&s, 2, &t.day))
        return false;
    if (s.len) {
        if (!sign(&s, 'T') && !sign(&s, ' ')) return false;
        if (!digits(&s, 2, &t.hour) || !sign(&s, ':') || !digits(&s, 2, &t.minute)) return false;
        if (sign(&s, ':') && !digits(&s, 2, &t.second)) return false;
        if (sign(&s, '.'))
            while (s.len && s.ptr[0] >= '0' && s.ptr[0] <= '9') s = fh_str_drop(s, 1);
        if (s.len) return false;
    }
    if (t.year < 1 || t.month < 1 || t.month > 12 || t.day < 1 || t.day > days_in(t.year, t.month) || t.hour > 23 ||
        t.minute > 59 || t.second > 59)
        return false;
    *out = t;
    return true;
}

void fh_template_now_local(int64_t unix_seconds, fh_template_now *out) {
    time_t at = (time_t)unix_seconds;
    struct tm t;
    *out = (fh_template_now){1970, 1, 1, 0, 0, 0};
    if (localtime_r(&at, &t))
        *out = (fh_template_now){t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                                 t.tm_hour,        t.tm_min,     t.tm_sec > 59 ? 59 : t.tm_sec};
}
