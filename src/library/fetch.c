/* library/fetch.c - one request: how it is put, what its answer means, when it is tried again.
 * SPDX-License-Identifier: Apache-2.0
 * Redirects are followed here and not by libcurl, so that each URL is told and each step is held to the rules. */
#include "library/fetch.h"

#include <ctype.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/num.h"
#include "library/fetch_part.h"

#define CONNECT_SECONDS 20L
#define SLOW_BYTES 512L /* a second, over SLOW_SECONDS: that connection is dead */
#define SLOW_SECONDS 30L
#define MOST_WAIT_MS 30000u
#define MOST_ASKED_WAIT_MS 300000u /* of Retry-After */

/* ---- libcurl's heap is ours, so that running out of it can be tried ---- */

static void *curl_malloc(size_t n) { return fh_alloc(n, 1); }
static void curl_free_(void *p) { fh_free(p); }
static void *curl_realloc(void *p, size_t n) { return p ? fh_realloc(p, n, 1) : fh_alloc(n, 1); }
static char *curl_strdup(const char *s) { return fh_strdup(fh_str_of(s)); }
static void *curl_calloc(size_t n, size_t size) { return fh_alloc_zero(n, size); }

static CURLcode started = CURLE_FAILED_INIT;
static void start_curl(void) {
    started =
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_malloc, curl_free_, curl_realloc, curl_strdup, curl_calloc);
}

fh_status fh_fetch_new(fh_fetch **out, const fh_fetch_options *opt, fh_err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    if (started != CURLE_OK)
        return fh_fail(err, FH_ERR_UNSUPPORTED, "libcurl cannot start: %s", curl_easy_strerror(started));
    fh_fetch *f = fh_alloc_zero(1, sizeof *f);
    if (!f) return fh_fail_memory(err, sizeof *f);
    if (opt) f->o = *opt;
    f->o.connections = f->o.connections ? FH_MIN(f->o.connections, 32u) : 4;
    f->o.retries = f->o.retries ? f->o.retries : 8;
    f->o.wait_ms = f->o.wait_ms ? f->o.wait_ms : 250;
    fh_rng_init(&f->rng, fh_clock_ns(), 0);
    *out = f;
    return FH_OK;
}

void fh_fetch_free(fh_fetch *f) { fh_free(f); }

bool fh_fetch_cancelled(fh_fetch *f, fh_err *err) {
    if (!f->o.watch.cancelled || !f->o.watch.cancelled(f->o.watch.ctx)) return false;
    fh_fail(err, FH_ERR_CANCELLED, "cancelled; what has come is kept, and the next pull goes on from there");
    return true;
}

/* ---- origins ---- */

typedef struct origin {
    char *scheme, *host, *port;
} origin;

static void origin_release(origin *o) {
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
}

static bool origin_of(origin *o, const char *url) {
    CURLU *u = curl_url();
    *o = (origin){NULL, NULL, NULL};
    bool ok = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &o->scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &o->host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PORT, &o->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    curl_url_cleanup(u);
    return ok;
}

bool fh_fetch_same_origin(const char *a, const char *b) {
    origin x, y = {NULL, NULL, NULL};
    bool same = origin_of(&x, a) && origin_of(&y, b) && strcasecmp(x.scheme, y.scheme) == 0 &&
                strcasecmp(x.host, y.host) == 0 && strcmp(x.port, y.port) == 0;
    origin_release(&x);
    origin_release(&y);
    return same;
}

/* Encrypted, or not leaving this machine. */
static bool may_carry_secret(const char *url) {
    origin o;
    bool yes = origin_of(&o, url) && (strcasecmp(o.scheme, "https") == 0 || strcasecmp(o.host, "localhost") == 0 ||
                                      strcmp(o.host, "127.0.0.1") == 0 || strcmp(o.host, "[::1]") == 0);
    origin_release(&o);
    return yes;
}

/* ---- heads ---- */

/* The value of "Name: value", when the line is that header. */
static bool header_is(fh_str line, const char *name, fh_str *value) {
    size_t n = strlen(name);
    if (line.len <= n || line.ptr[n] != ':' || strncasecmp(line.ptr, name, n) != 0) return false;
    fh_str v = fh_str_drop(line, n + 1);
    while (v.len && isspace((unsigned char)v.ptr[0])) v = fh_str_drop(v, 1);
    while (v.len && isspace((unsigned char)v.ptr[v.len - 1])) v.len--;
    *value = v;
    return true;
}

/* Seconds, or a date. */
static uint64_t retry_after(fh_str v) {
    uint64_t s;
    char text[64];
    if (fh_str_u64(v, &s)) return FH_MIN(s, (uint64_t)MOST_ASKED_WAIT_MS / 1000) * 1000;
    if (!fh_str_copy(text, sizeof text, v)) return 0;
    time_t at = curl_getdate(text, NULL);
    uint64_t now = fh_clock_unix_ms() / 1000;
    return at > 0 && (uint64_t)at > now ? FH_MIN((uint64_t)at - now, (uint64_t)MOST_ASKED_WAIT_MS / 1000) * 1000 : 0;
}

/* "bytes 0-99/1234" */
static void content_range(fh_fetch_head *h, fh_str v) {
    size_t dash, slash;
    uint64_t start, total;
    if (!fh_str_starts(v, "bytes ")) return;
    v = fh_str_drop(v, 6);
    if (!fh_str_find(v, '-', &dash) || !fh_str_find(v, '/', &slash) || slash < dash) return;
    if (!fh_str_u64(fh_str_first(v, dash), &start) || !fh_str_u64(fh_str_drop(v, slash + 1), &total)) return;
    h->range_start = start;
    h->range_total = total;
}

/* <https://...>; rel="next" */
static void link_next(fh_fetch_head *h, fh_str v) {
    size_t close;
    while (v.len && v.ptr[0] == '<' && fh_str_find(v, '>', &close)) {
        fh_str target = fh_str_drop(fh_str_first(v, close), 1), rest = fh_str_drop(v, close + 1);
        size_t comma = rest.len;
        (void)fh_str_find(rest, ',', &comma);
        fh_str params = fh_str_first(rest, comma);
        bool next = memmem(params.ptr, params.len, "rel=\"next\"", 10) || memmem(params.ptr, params.len, "rel=next", 8);
        if (next && fh_str_copy(h->next, sizeof h->next, target)) return;
        v = fh_str_drop(rest, comma + 1);
        while (v.len && v.ptr[0] == ' ') v = fh_str_drop(v, 1);
    }
}

static size_t on_header(char *data, size_t one, size_t n, void *ctx) {
    fh_fetch_head *h = ctx;
    fh_str line = {data, one * n}, v;
    if (fh_str_starts(line, "HTTP/")) *h = (fh_fetch_head){.range_start = UINT64_MAX, .range_total = UINT64_MAX};
    if (header_is(line, "Retry-After", &v)) h->retry_after_ms = retry_after(v);
    if (header_is(line, "Content-Range", &v)) content_range(h, v);
    if (header_is(line, "Link", &v)) link_next(h, v);
    if (header_is(line, "WWW-Authenticate", &v)) (void)fh_str_copy(h->challenge, sizeof h->challenge, v);
    return line.len;
}

/* ---- a call ---- */

fh_status fh_fetch_call_init(fh_fetch_call *c, fh_err *err) {
    memset(c, 0, sizeof *c);
    c->easy = curl_easy_init();
    return c->easy ? FH_OK : fh_fail_memory(err, 1);
}

void fh_fetch_call_release(fh_fetch_call *c) {
    if (c->easy) curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    memset(c, 0, sizeof *c);
}

fh_status fh_fetch_call_start(fh_fetch_call *c, const fh_fetch_request *r, fh_err *err) {
    c->request = r;
    c->n_redirect = 0;
    if (fh_str_copy(c->url, sizeof c->url, fh_str_of(r->url))) return FH_OK;
    return fh_fail(err, FH_ERR_LIMIT, "a URL longer than %d bytes", FH_FETCH_URL - 1);
}

static bool add_header(fh_fetch_call *c, const char *text) {
    struct curl_slist *more = curl_slist_append(c->headers, text);
    if (more) c->headers = more;
    return more != NULL;
}

static fh_status set_headers(fh_fetch_call *c, fh_err *err) {
    char text[4096];
    bool ok = true;
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    if (c->request->accept) {
        snprintf(text, sizeof text, "Accept: %s", c->request->accept);
        ok = add_header(c, text);
    }
    const char *secret = c->request->bearer;
    if (ok && secret && fh_fetch_same_origin(c->url, c->request->url)) {
        if (!may_carry_secret(c->url))
            return fh_fail(err, FH_ERR_DENIED, "your token would travel unencrypted to '%.200s'; it was not sent",
                           c->url);
        int n = snprintf(text, sizeof text, "Authorization: Bearer %s", secret);
        ok = n < (int)sizeof text && add_header(c, text);
    }
    return ok ? FH_OK : fh_fail_memory(err, sizeof text);
}

fh_status fh_fetch_call_arm(fh_fetch *f, fh_fetch_call *c, const char *range, fh_fetch_body *body, void *ctx,
                            fh_err *err) {
    c->head = (fh_fetch_head){.range_start = UINT64_MAX, .range_total = UINT64_MAX};
    c->curl_text[0] = '\0';
    curl_easy_reset(c->easy);
    FH_TRY(set_headers(c, err));
    CURLcode rc = curl_easy_setopt(c->easy, CURLOPT_URL, c->url);
#define SET(option, value) \
    if (rc == CURLE_OK) rc = curl_easy_setopt(c->easy, option, value)
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_USERAGENT, "freehold/" FH_VERSION);
    SET(CURLOPT_HTTPHEADER, c->headers);
    SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    SET(CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
    SET(CURLOPT_ERRORBUFFER, c->curl_text);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, &c->head);
    SET(CURLOPT_WRITEFUNCTION, body);
    SET(CURLOPT_WRITEDATA, ctx);
    SET(CURLOPT_PRIVATE, ctx);
    if (range[0]) SET(CURLOPT_RANGE, range);
#undef SET
    if (rc != CURLE_OK) return fh_fail(err, FH_ERR_UNSUPPORTED, "libcurl: %s", curl_easy_strerror(rc));
    if (f->o.watch.url) f->o.watch.url(f->o.watch.ctx, c->url);
    return FH_OK;
}

/* ---- what an ending means ---- */

static fh_fetch_verdict redirect(fh_fetch_call *c, long status, fh_err *err) {
    char *to = NULL;
    curl_easy_getinfo(c->easy, CURLINFO_REDIRECT_URL, &to);
    if (!to || c->n_redirect++ == FH_FETCH_MOST_REDIRECTS) {
        fh_fail(err, FH_ERR_FORMAT, "the server answered %ld %s", status,
                to ? "too many times in a row" : "without an address");
        return FH_FETCH_FAILED;
    }
    bool tls = strncasecmp(c->url, "https:", 6) == 0;
    if (strncasecmp(to, "https:", 6) != 0 && (tls || strncasecmp(to, "http:", 5) != 0)) {
        fh_fail(err, FH_ERR_DENIED, "'%.150s' redirects to '%.150s', which is not encrypted; refused", c->url, to);
        return FH_FETCH_FAILED;
    }
    if (!fh_str_copy(c->url, sizeof c->url, fh_str_of(to))) {
        fh_fail(err, FH_ERR_LIMIT, "the server redirects to a URL longer than %d bytes", FH_FETCH_URL - 1);
        return FH_FETCH_FAILED;
    }
    return FH_FETCH_REDIRECT;
}

static bool is_final(CURLcode code) {
    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT: return true;
    default: return false;
    }
}

fh_fetch_verdict fh_fetch_judge(fh_fetch_call *c, CURLcode code, long *status, fh_err *err) {
    *status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, status);
    if (code != CURLE_OK) {
        const char *why = c->curl_text[0] ? c->curl_text : curl_easy_strerror(code);
        fh_fail(err, code == CURLE_OUT_OF_MEMORY ? FH_ERR_MEMORY : FH_ERR_IO, "cannot fetch '%.200s': %.200s", c->url,
                why);
        return is_final(code) ? FH_FETCH_FAILED : FH_FETCH_RETRY;
    }
    switch (*status) {
    case 200:
    case 206: return FH_FETCH_DONE;
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: return redirect(c, *status, err);
    default: break;
    }
    fh_status st = *status == 404 || *status == 410   ? FH_ERR_NOT_FOUND
                   : *status == 401 || *status == 403 ? FH_ERR_DENIED
                                                      : FH_ERR_IO;
    fh_fail(err, st, "'%.300s': the server answered %ld%s", c->url, *status,
            *status == 429 ? " (too many requests)" : "");
    if (*status == 408 || *status == 429 || (*status >= 500 && *status != 501 && *status != 505)) return FH_FETCH_RETRY;
    return *status >= 400 && *status < 500 ? FH_FETCH_REFUSED : FH_FETCH_FAILED;
}

uint64_t fh_fetch_wait_ms(fh_fetch *f, const fh_fetch_call *c, unsigned k, const fh_err *why) {
    uint64_t wait = FH_MIN(f->o.wait_ms << FH_MIN(k, 16u), (uint64_t)MOST_WAIT_MS);
    wait = wait * 3 / 4 + fh_rng_below(&f->rng, wait / 2 + 1); /* several clients should not come back together */
    wait = FH_MAX(wait, c->head.retry_after_ms);
    if (f->o.watch.retry) f->o.watch.retry(f->o.watch.ctx, why->message, wait);
    return wait;
}

/* ---- documents ---- */

typedef struct document {
    fh_buf *out;
    size_t was; /* length before this attempt */
    CURL *easy;
} document;

static size_t on_document(char *data, size_t one, size_t n, void *ctx) {
    document *d = ctx;
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 != 2) return one * n; /* an error's page is not what was asked for */
    fh_buf_add(d->out, data, one * n);
    return d->out->status == FH_OK ? one * n : 0;
}

static fh_status wait_for(fh_fetch *f, uint64_t ms, fh_err *err) {
    for (; ms > 0; ms -= FH_MIN(ms, 100u)) {
        if (fh_fetch_cancelled(f, err)) return FH_ERR_CANCELLED;
        (void)poll(NULL, 0, (int)FH_MIN(ms, 100u));
    }
    return FH_OK;
}

/* Absolute, and of the server that said so. */
static void take_next(fh_fetch_reply *reply, const fh_fetch_call *c) {
    char *absolute = NULL;
    CURLU *u = curl_url();
    reply->next[0] = '\0';
    if (u && c->head.next[0] && curl_url_set(u, CURLUPART_URL, c->url, 0) == CURLUE_OK &&
        curl_url_set(u, CURLUPART_URL, c->head.next, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &absolute, 0) == CURLUE_OK && fh_fetch_same_origin(absolute, c->url))
        (void)fh_str_copy(reply->next, sizeof reply->next, fh_str_of(absolute));
    curl_free(absolute);
    curl_url_cleanup(u);
}

static fh_status try_document(fh_fetch *f, fh_fetch_call *c, const fh_fetch_request *r, document *d,
                              fh_fetch_reply *reply, fh_err *err) {
    fh_err why = {.status = FH_OK};
    for (unsigned k = 0;;) {
        FH_TRY(fh_fetch_call_arm(f, c, "", on_document, d, err));
        CURLcode code = curl_easy_perform(c->easy);
        fh_fetch_verdict v = fh_fetch_judge(c, code, &reply->status, &why);
        if (d->out->status != FH_OK) return fh_buf_check(d->out, err);
        if (v == FH_FETCH_DONE || v == FH_FETCH_REFUSED) {
            take_next(reply, c);
            memcpy(reply->challenge, c->head.challenge, sizeof reply->challenge);
            return FH_OK;
        }
        d->out->len = d->was;
        if (fh_fetch_cancelled(f, err)) return FH_ERR_CANCELLED;
        if (v == FH_FETCH_REDIRECT) continue;
        bool nobody = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;
        if (v == FH_FETCH_FAILED || k >= (nobody ? FH_MIN(f->o.retries, 3u) : f->o.retries)) {
            if (err) *err = why;
            return why.status;
        }
        FH_TRY(wait_for(f, fh_fetch_wait_ms(f, c, k++, &why), err));
        FH_TRY(fh_fetch_call_start(c, r, err));
    }
}

fh_status fh_fetch_document(fh_fetch *f, const fh_fetch_request *r, fh_buf *out, fh_fetch_reply *reply, fh_err *err) {
    fh_fetch_call *c = fh_alloc(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    fh_status st = fh_fetch_call_init(c, err);
    document d = {out, out->len, c->easy};
    if (st == FH_OK) st = fh_fetch_call_start(c, r, err);
    if (st == FH_OK) st = try_document(f, c, r, &d, reply, err);
    if (c->easy) fh_fetch_call_release(c);
    fh_free(c);
    return st;
}
