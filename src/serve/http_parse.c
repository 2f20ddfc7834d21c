/* serve/http_parse.c - requests, read strictly.
 * SPDX-License-Identifier: Apache-2.0
 * After RFC 9110 and 9112, without what they allow for the sake of old peers. Nothing is allocated: a head is decoded
 * in the bytes that it came in, which decoding never makes longer. */
#include "serve/http_parse.h"

#include <strings.h>

#include "base/num.h"

static const fh_http_refusal fine = {0, NULL};

static fh_http_refusal refuse(int status, const char *why) { return (fh_http_refusal){status, why}; }

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_token_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool fh_http_name_is(fh_str a, const char *b) { return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0; }

/* ---- where a head ends ---- */

fh_http_refusal fh_http_scan_head(fh_str in, size_t *at, bool *whole, size_t *len) {
    *whole = false;
    for (size_t i = *at; i < in.len; i++) {
        if (i >= FH_HTTP_HEAD_MOST) return refuse(431, "the head is longer than 32 KiB");
        char c = in.ptr[i], before = i ? in.ptr[i - 1] : '\0';
        if (before == '\r' && c != '\n') return refuse(400, "a carriage return without its line feed");
        if (c == '\0') return refuse(400, "a NUL byte in the head");
        if (c != '\n') continue;
        if (before != '\r') return refuse(400, "a line feed without its carriage return");
        if (i == 1) return refuse(400, "an empty line before the request");
        if (i >= 3 && in.ptr[i - 2] == '\n') {
            *whole = true;
            *len = i + 1;
            return fine;
        }
    }
    *at = in.len;
    return fine;
}

/* ---- targets ---- */

/* %XX in place; plus_blank: '+' is a blank, as in queries. */
static bool decode_percent(fh_str *s, char *bytes, bool plus_blank) {
    size_t n = 0;
    for (size_t i = 0; i < s->len; i++) {
        char c = bytes[i];
        if (c == '%') {
            int hi = i + 2 < s->len ? fh_hex_value(bytes[i + 1]) : -1;
            int lo = hi < 0 ? -1 : fh_hex_value(bytes[i + 2]);
            if (lo < 0) return false;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus_blank) {
            c = ' ';
        }
        bytes[n++] = c;
    }
    *s = (fh_str){bytes, n};
    return true;
}

static bool has_control(fh_str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return true;
    return false;
}

/* "." and ".." as a piece between slashes */
static bool climbs(fh_str path) {
    for (size_t at = 0; at < path.len;) {
        size_t end = at;
        while (end < path.len && path.ptr[end] != '/') end++;
        size_t n = end - at;
        if (n == 1 && path.ptr[at] == '.') return true;
        if (n == 2 && path.ptr[at] == '.' && path.ptr[at + 1] == '.') return true;
        at = end + 1;
    }
    return false;
}

static fh_http_refusal parse_query(char *bytes, size_t len, fh_http_head *out) {
    for (size_t at = 0; at < len;) {
        size_t end = at, eq;
        while (end < len && bytes[end] != '&') end++;
        for (eq = at; eq < end && bytes[eq] != '=';) eq++;
        if (end > at) {
            if (out->n_query == FH_HTTP_QUERY_MOST) return refuse(400, "more than 32 parameters in the query");
            fh_http_pair *q = &out->query[out->n_query++];
            q->name = (fh_str){bytes + at, eq - at};
            q->value = eq < end ? (fh_str){bytes + eq + 1, end - eq - 1} : (fh_str){bytes + end, 0};
            if (!decode_percent(&q->name, bytes + at, true) ||
                !decode_percent(&q->value, bytes + (eq < end ? eq + 1 : end), true))
                return refuse(400, "a percent sign without two hexadecimal digits in the query");
            if (has_control(q->name) || has_control(q->value) || !fh_utf8_valid(q->name) || !fh_utf8_valid(q->value))
                return refuse(400, "bytes in the query that are no text");
        }
        at = end + 1;
    }
    return fine;
}

/* scheme://authority of an absolute target is taken off; the authority is the host then. */
static fh_http_refusal take_authority(char **bytes, size_t *len, fh_http_head *out) {
    size_t skip = strncasecmp(*bytes, "http://", 7) == 0 ? 7 : strncasecmp(*bytes, "https://", 8) == 0 ? 8 : 0;
    if (!skip) return refuse(400, "the target is neither a path nor an http address");
    size_t end = skip;
    while (end < *len && (*bytes)[end] != '/' && (*bytes)[end] != '?') end++;
    out->host = (fh_str){*bytes + skip, end - skip};
    if (end == *len || (*bytes)[end] != '/' || out->host.len == 0) return refuse(400, "an address without a path");
    *bytes += end;
    *len -= end;
    return fine;
}

static fh_http_refusal parse_target(char *bytes, size_t len, fh_http_head *out) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)bytes[i] <= 0x20 || (unsigned char)bytes[i] >= 0x7f || bytes[i] == '#')
            return refuse(400, "the target holds a character that must be escaped");
    if (len == 1 && bytes[0] == '*' && fh_str_is(out->method, "OPTIONS")) {
        out->path = (fh_str){bytes, 1};
        return fine;
    }
    if (bytes[0] != '/') {
        fh_http_refusal r = take_authority(&bytes, &len, out);
        if (r.status) return r;
    }
    size_t end = 0;
    while (end < len && bytes[end] != '?') end++;
    out->path = (fh_str){bytes, end};
    if (!decode_percent(&out->path, bytes, false))
        return refuse(400, "a percent sign without two hexadecimal digits in the path");
    if (has_control(out->path) || !fh_utf8_valid(out->path)) return refuse(400, "bytes in the path that are no text");
    if (climbs(out->path)) return refuse(400, "'.' or '..' in the path");
    return end < len ? parse_query(bytes + end + 1, len - end - 1, out) : fine;
}

static fh_http_refusal parse_request_line(char *line, size_t len, fh_http_head *out) {
    size_t a = 0, b;
    while (a < len && line[a] >= 'A' && line[a] <= 'Z') a++;
    if (a == 0 || a > 16 || a == len || line[a] != ' ') return refuse(400, "the request line has no method");
    for (b = len; b > a + 1 && line[b - 1] != ' ';) b--;
    out->method = (fh_str){line, a};
    fh_str version = {line + b, len - b};
    if (b <= a + 2) return refuse(400, "the request line is not method, target and version");
    if (fh_str_is(version, "HTTP/1.1")) out->minor = 1;
    else if (fh_str_is(version, "HTTP/1.0")) out->minor = 0;
    else if (fh_str_starts(version, "HTTP/")) return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    else return refuse(400, "the request line has no version");
    return parse_target(line + a + 1, b - a - 2, out);
}

/* ---- headers ---- */

static fh_http_refusal parse_length(fh_str value, fh_http_head *out) {
    if (out->has_length) return refuse(400, "two lengths");
    if (value.len == 0 || value.len > 18) return refuse(400, "the length is no number");
    for (size_t i = 0; i < value.len; i++)
        if (!is_digit(value.ptr[i])) return refuse(400, "the length is no number");
    if (!fh_str_u64(value, &out->length)) return refuse(400, "the length is no number");
    out->has_length = true;
    return fine;
}

/* One of the words between commas, in any letter case. */
static bool list_holds(fh_str list, const char *word) {
    for (size_t at = 0; at < list.len;) {
        size_t end = at;
        while (end < list.len && list.ptr[end] != ',') end++;
        fh_str item = {list.ptr + at, end - at};
        while (item.len && (item.ptr[0] == ' ' || item.ptr[0] == '\t')) item = fh_str_drop(item, 1);
        while (item.len && (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t')) item.len--;
        if (fh_http_name_is(item, word)) return true;
        at = end + 1;
    }
    return false;
}

/* What decides about the message's shape; n_host counts. */
static fh_http_refusal weigh_header(const fh_http_pair *p, fh_http_head *out, bool *keep, uint32_t *n_host) {
    if (fh_http_name_is(p->name, "content-length")) return parse_length(p->value, out);
    if (fh_http_name_is(p->name, "transfer-encoding")) {
        if (out->chunked) return refuse(400, "two transfer codings");
        if (!fh_http_name_is(p->value, "chunked")) return refuse(501, "a transfer coding other than chunked");
        out->chunked = true;
    } else if (fh_http_name_is(p->name, "host")) {
        if (++*n_host > 1) return refuse(400, "two Host headers");
        if (!out->host.ptr) out->host = p->value;
    } else if (fh_http_name_is(p->name, "connection")) {
        out->close = out->close || list_holds(p->value, "close");
        *keep = *keep || list_holds(p->value, "keep-alive");
    } else if (fh_http_name_is(p->name, "expect")) {
        if (!fh_http_name_is(p->value, "100-continue")) return refuse(417, "an expectation other than 100-continue");
        out->expects_continue = true;
    } else if (fh_http_name_is(p->name, "content-encoding") && !fh_http_name_is(p->value, "identity")) {
        return refuse(415, "compressed requests are not taken");
    }
    return fine;
}

static fh_http_refusal parse_header(char *line, size_t len, fh_http_pair *p) {
    size_t colon = 0;
    if (line[0] == ' ' || line[0] == '\t') return refuse(400, "a folded header line");
    while (colon < len && is_token_char(line[colon])) colon++;
    if (colon == 0 || colon == len || line[colon] != ':') return refuse(400, "a header line without name and colon");
    p->name = (fh_str){line, colon};
    size_t from = colon + 1, to = len;
    while (from < to && (line[from] == ' ' || line[from] == '\t')) from++;
    while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t')) to--;
    for (size_t i = from; i < to; i++)
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return refuse(400, "a control character in a header");
    p->value = (fh_str){line + from, to - from};
    return fine;
}

static size_t line_end(const char *bytes, size_t at, size_t len) {
    while (at + 1 < len && !(bytes[at] == '\r' && bytes[at + 1] == '\n')) at++;
    return at;
}

static fh_http_refusal check_message(fh_http_head *out, bool keep, uint32_t n_host) {
    if (out->chunked && out->has_length) return refuse(400, "a length beside chunks");
    if (out->chunked && out->minor == 0) return refuse(400, "chunks in HTTP/1.0");
    if (out->minor == 1 && n_host == 0) return refuse(400, "no Host header");
    if (out->minor == 0) out->close = out->close || !keep;
    return fine;
}

fh_http_refusal fh_http_parse_head(char *bytes, size_t len, fh_http_head *out) {
    bool keep = false;
    uint32_t n_host = 0;
    memset(out, 0, sizeof *out);
    size_t end = line_end(bytes, 0, len);
    fh_http_refusal r = parse_request_line(bytes, end, out);
    for (size_t at = end + 2; r.status == 0 && at + 2 < len; at = end + 2) {
        end = line_end(bytes, at, len);
        if (end == at) break;
        if (out->n_header == FH_HTTP_HEADERS_MOST) return refuse(431, "more than 100 headers");
        fh_http_pair *p = &out->header[out->n_header];
        r = parse_header(bytes + at, end - at, p);
        if (r.status) return r;
        out->n_header++;
        r = weigh_header(p, out, &keep, &n_host);
    }
    return r.status ? r : check_message(out, keep, n_host);
}

bool fh_http_find(const fh_http_head *h, const char *name, fh_str *out) {
    for (uint32_t i = 0; i < h->n_header; i++) {
        if (!fh_http_name_is(h->header[i].name, name)) continue;
        *out = h->header[i].value;
        return true;
    }
    return false;
}

/* ---- chunks ---- */

enum { SIZE, SIZE_LF, DATA, DATA_CR, DATA_LF, LAST_CR, LAST_LF };

static fh_http_refusal take_size(fh_http_chunks *c, char ch) {
    int v = fh_hex_value(ch);
    if (v >= 0) {
        if (++c->digits > 15) return refuse(400, "a chunk's size has more than 15 digits");
        c->left = c->left * 16 + (uint64_t)v;
        return fine;
    }
    if (ch != '\r' || c->digits == 0) return refuse(400, "a chunk's size is not hexadecimal digits and a line end");
    c->state = SIZE_LF;
    return fine;
}

static fh_http_refusal expect_char(fh_http_chunks *c, char ch, char want, int next) {
    if (ch != want) return refuse(400, "a chunk does not end with a line end");
    c->state = next;
    return fine;
}

static fh_http_refusal take_data(fh_http_chunks *c, fh_str in, size_t most, fh_buf *out, size_t *n) {
    *n = (size_t)FH_MIN(c->left, (uint64_t)in.len);
    if (out->len > most || *n > most - out->len) return refuse(413, "the body is too large");
    fh_buf_add(out, in.ptr, *n);
    if (fh_buf_check(out, NULL) != FH_OK) return refuse(503, "out of memory");
    c->left -= *n;
    if (c->left == 0) c->state = DATA_CR;
    return fine;
}

fh_http_refusal fh_http_take_chunks(fh_http_chunks *c, fh_str in, size_t most, fh_buf *out, size_t *used) {
    fh_http_refusal r = fine;
    size_t i = 0;
    while (i < in.len && !c->done && r.status == 0) {
        size_t n = 1;
        switch (c->state) {
        case SIZE: r = take_size(c, in.ptr[i]); break;
        case SIZE_LF:
            r = expect_char(c, in.ptr[i], '\n', c->left ? DATA : LAST_CR);
            c->digits = 0;
            if (out->len > most || c->left > most - out->len) r = refuse(413, "the body is too large");
            break;
        case DATA: r = take_data(c, fh_str_drop(in, i), most, out, &n); break;
        case DATA_CR: r = expect_char(c, in.ptr[i], '\r', DATA_LF); break;
        case DATA_LF: r = expect_char(c, in.ptr[i], '\n', SIZE); break;
        case LAST_CR: r = expect_char(c, in.ptr[i], '\r', LAST_LF); break;
        case LAST_LF:
            r = expect_char(c, in.ptr[i], '\n', SIZE);
            c->done = r.status == 0;
            break;
        default: FH_BUG("no such state of a chunked body");
        }
        i += n;
    }
    *used = i;
    return r;
}
