/* serve/http_parse.h - the grammar of HTTP/1.1 requests, read strictly; no sockets.
 * SPDX-License-Identifier: Apache-2.0
 * Where two readers of the same bytes could disagree about where a request ends, it is refused: bare LF or CR, folded
 * lines, blanks before a colon, two lengths, a length beside chunks, any coding but chunked, chunk extensions,
 * trailers, signs and prefixes in numbers. What is refused says why, and with which status. */
#ifndef FH_SERVE_HTTP_PARSE_H
#define FH_SERVE_HTTP_PARSE_H

#include "base/buf.h"

#define FH_HTTP_HEAD_MOST ((size_t)32 << 10)
#define FH_HTTP_HEADERS_MOST 100
#define FH_HTTP_QUERY_MOST 32

typedef struct fh_http_refusal {
    int status; /* 0: fine */
    const char *why;
} fh_http_refusal;

typedef struct fh_http_pair {
    fh_str name, value;
} fh_http_pair;

/* A head, read; all texts point into its bytes. */
typedef struct fh_http_head {
    fh_str method, path, host; /* host: of the absolute target, else the header; may hold a port */
    int minor;                 /* of HTTP/1.x */
    fh_http_pair header[FH_HTTP_HEADERS_MOST], query[FH_HTTP_QUERY_MOST];
    uint32_t n_header, n_query;
    bool chunked, has_length, expects_continue, close;
    uint64_t length;
} fh_http_head;

/* How far a head is in. *at (0 at the start) remembers where the last call stopped looking. Whole: its bytes, the empty
 * line included, in *len. A line that ends wrongly, or too much of it, is refused at once. */
fh_http_refusal fh_http_scan_head(fh_str in, size_t *at, bool *whole, size_t *len);
/* bytes: a whole head; path and query are decoded in place. */
fh_http_refusal fh_http_parse_head(char *bytes, size_t len, fh_http_head *out);
bool fh_http_find(const fh_http_head *h, const char *name, fh_str *out); /* a header, in any letter case */
bool fh_http_name_is(fh_str a, const char *b);                           /* equal but for letter case */

/* A chunked body as it comes. {0} starts. */
typedef struct fh_http_chunks {
    int state;
    uint32_t digits;
    uint64_t left;
    bool done;
} fh_http_chunks;
/* Appends decoded bytes to out and sets *used; done when the last chunk was seen. 413 where out would pass most. */
fh_http_refusal fh_http_take_chunks(fh_http_chunks *c, fh_str in, size_t most, fh_buf *out, size_t *used);

#endif
