/* text/schema_format.c - `pattern` and the formats that are known, each an automaton, made once per schema.
 * SPDX-License-Identifier: Apache-2.0
 * Formats are regular expressions over their RFC's grammar: dates know the length of months and leap years. Where a
 * format bounds the whole length as well (hostname), that is intersected. A leap second is accepted only where it can
 * fall: 23:59:60 in UTC. */
#include "base/num.h"
#include "text/regex.h"
#include "text/schema_part.h"

#define LEAP "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
#define DATE \
    "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|" \
    "2[0-8]))|" LEAP "-02-29)"
#define HHMM "(?:[01]\\d|2[0-3]):[0-5]\\d"
#define TIME "(?:" HHMM ":[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-]" HHMM ")|23:59:60(?:\\.\\d+)?(?:[Zz]|[+-]00:00))"
#define OCTET "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6 \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 "|(?:(?:" H16 \
    ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16 \
    ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16 \
    "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST LABEL "(?:\\." LABEL ")*"
#define ATEXT "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define QUOTED "\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\""
#define PCT "%[0-9A-Fa-f]{2}"
#define UNRESERVED "A-Za-z0-9._~\\-"
#define SUBDELIMS "!$&'()*+,;="
#define PCHAR "(?:[" UNRESERVED SUBDELIMS ":@]|" PCT ")"
#define AUTHORITY \
    "(?:(?:[" UNRESERVED SUBDELIMS ":]|" PCT ")*@)?(?:\\[(?:" IPV6 "|[vV][0-9A-Fa-f]+\\.[" UNRESERVED SUBDELIMS \
    ":]+)\\]|" \
    "(?:[" UNRESERVED SUBDELIMS "]|" PCT ")*)(?::\\d*)?"
#define URI \
    "[A-Za-z][A-Za-z0-9+.-]*:(?://" AUTHORITY "(?:/" PCHAR "*)*|/(?:" PCHAR "+(?:/" PCHAR "*)*)?|" PCHAR "+(?:/" PCHAR \
    "*)*|)(?:\\?(?:" PCHAR "|[/?])*)?(?:#(?:" PCHAR "|[/?])*)?"
#define SPAN_TIME "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)"
#define SPAN_DATE "(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)"

static const struct format {
    const char *name, *pattern;
    uint32_t most; /* code points in all */
} formats[] = {
    {"date", DATE, 0},
    {"time", TIME, 0},
    {"date-time", DATE "[Tt]" TIME, 0},
    {"duration", "P(?:" SPAN_DATE "(?:" SPAN_TIME ")?|" SPAN_TIME "|\\d+W)", 0},
    {"uuid", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", 0},
    {"email", "(?:" ATEXT "(?:\\." ATEXT ")*|" QUOTED ")@(?:" HOST "|\\[(?:" IPV4 "|IPv6:" IPV6 ")\\])", 0},
    {"hostname", HOST, 253},
    {"ipv4", IPV4, 0},
    {"ipv6", IPV6, 0},
    {"uri", URI, 0},
    {"json-pointer", "(?:/(?:[^~/]|~[01])*)*", 0},
};

static bool find_cached(fh_swork *s, fh_str text, uint32_t kind, const fh_auto **out) {
    for (uint32_t i = 0; i < s->n_cached; i++)
        if (s->cached[i].kind == kind && fh_str_eq(s->cached[i].text, text)) {
            *out = s->cached[i].a;
            return true;
        }
    return false;
}

static void keep(fh_swork *s, fh_str text, uint32_t kind, const fh_auto *a) {
    fh_scached *c = fh_work_grow(&s->w, s->cached, &s->cap_cached, (uint64_t)s->n_cached + 1, sizeof *c);
    if (!c) return;
    s->cached = c;
    c[s->n_cached++] = (fh_scached){text, a, kind};
}

fh_status fh_schema_pattern(fh_swork *s, const fh_json_node *n, fh_str pattern, const fh_auto **out) {
    fh_err err = {0};
    if (find_cached(s, pattern, 0, out)) return FH_OK;
    fh_status st = fh_regex_compile(&s->w, pattern, false, out, &err);
    if (st != FH_OK) return fh_schema_refuse(s, st, n, NULL, err.message);
    keep(s, pattern, 0, *out);
    return fh_schema_check(s);
}

fh_status fh_schema_format(fh_swork *s, const fh_json_node *n, fh_str name, const fh_auto **out) {
    fh_err err = {0};
    *out = NULL;
    if (find_cached(s, name, 1, out)) return FH_OK;
    for (size_t i = 0; i < FH_COUNT(formats); i++) {
        if (!fh_str_is(name, formats[i].name)) continue;
        fh_status st = fh_regex_compile(&s->w, fh_str_of(formats[i].pattern), true, out, &err);
        if (st != FH_OK) return fh_schema_refuse(s, st, n, NULL, err.message);
        if (formats[i].most)
            *out = fh_auto_combine(&s->w, *out, fh_auto_lengths(&s->w, 0, formats[i].most), FH_AUTO_AND, NULL);
        keep(s, name, 1, *out);
        return fh_schema_check(s);
    }
    return FH_OK;
}
