/* evaluate/api_selftest_http.c - one HTTP request and its whole answer, by libcurl.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the connection, which is kept between requests as clients do. Refuses: redirects, other protocols than HTTP and
 * HTTPS, answers over FH_API_ANSWER_MOST. Compression is not asked for: what is judged is what was sent. */
#include <curl/curl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "evaluate/api_selftest_part.h"

#define DEFAULT_TIMEOUT_MS 120000u
#define URL_MOST 2048

struct fh_api_http {
    CURL *curl;
    char base[URL_MOST]; /* without a path */
    char key[512];
    long timeout_ms;
    char why[CURL_ERROR_SIZE];
};

static fh_status curl_failed(const fh_api_http *h, CURLcode rc, fh_err *err) {
    const char *why = h->why[0] ? h->why : curl_easy_strerror(rc);
    if (rc == CURLE_OUT_OF_MEMORY) return fh_fail(err, FH_ERR_MEMORY, "out of memory");
    if (rc == CURLE_OPERATION_TIMEDOUT) return fh_fail(err, FH_ERR_TIMEOUT, "%s", why);
    return fh_fail(err, FH_ERR_IO, "%s", why);
}

/* What people have at hand is often the URL with /v1 that their client wants. */
static fh_status set_base(fh_api_http *h, const char *url, fh_err *err) {
    const char *host = strstr(url, "://");
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return fh_fail(err, FH_ERR_USAGE, "'%.200s' is no http:// or https:// address", url);
    size_t n = (size_t)(host - url) + 3, end = n + strcspn(url + n, "/?#");
    if (end == n || end >= URL_MOST) return fh_fail(err, FH_ERR_USAGE, "'%.200s' names no host", url);
    memcpy(h->base, url, end);
    h->base[end] = '\0';
    return FH_OK;
}

fh_status fh_api_http_new(fh_api_http **out, const fh_api_options *opt, fh_err *err) {
    fh_api_http *h = fh_alloc_zero(1, sizeof *h);
    if (!h) return fh_fail_memory(err, sizeof *h);
    fh_status s = set_base(h, opt->url, err);
    if (s == FH_OK && opt->key && !fh_str_copy(h->key, sizeof h->key, fh_str_of(opt->key)))
        s = fh_fail(err, FH_ERR_LIMIT, "the key is too long: at most %zu bytes", sizeof h->key - 1);
    h->timeout_ms = (long)(opt->timeout_ms ? opt->timeout_ms : DEFAULT_TIMEOUT_MS);
    if (s == FH_OK && (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(h->curl = curl_easy_init())))
        s = fh_fail(err, FH_ERR_MEMORY, "libcurl cannot be started");
    if (s == FH_OK) *out = h;
    else fh_api_http_free(h);
    return s;
}

void fh_api_http_free(fh_api_http *h) {
    if (!h) return;
    if (h->curl) {
        curl_easy_cleanup(h->curl);
        curl_global_cleanup();
    }
    fh_free(h);
}

static size_t on_body(char *piece, size_t size, size_t n, void *ctx) {
    fh_buf *b = ctx;
    fh_buf_add(b, piece, size * n);
    return fh_buf_check(b, NULL) == FH_OK ? size * n : 0;
}

static bool add_header(struct curl_slist **list, const char *text) {
    struct curl_slist *more = curl_slist_append(*list, text);
    if (more) *list = more;
    return more != NULL;
}

static bool add_headers(const fh_api_http *h, const char *headers, bool body, struct curl_slist **list) {
    char line[640];
    bool ok = add_header(list, body ? "Content-Type: application/json" : "Accept: */*") && add_header(list, "Expect:");
    if (h->key[0]) {
        (void)snprintf(line, sizeof line, "Authorization: Bearer %s", h->key);
        ok = ok && add_header(list, line);
    }
    for (fh_str left = fh_str_of(headers); ok && left.len;) {
        size_t n;
        if (!fh_str_find(left, '\n', &n)) n = left.len;
        ok = fh_str_copy(line, sizeof line, fh_str_first(left, n)) && add_header(list, line);
        left = fh_str_drop(left, n + 1);
    }
    return ok;
}

static CURLcode set_request(fh_api_http *h, const char *method, const char *url, fh_str body, fh_buf *to) {
    curl_easy_reset(h->curl);
    CURLcode rc = curl_easy_setopt(h->curl, CURLOPT_URL, url);
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_CUSTOMREQUEST, method);
    if (rc == CURLE_OK && strcmp(method, "HEAD") == 0) rc = curl_easy_setopt(h->curl, CURLOPT_NOBODY, 1L);
    if (rc == CURLE_OK && body.len) {
        rc = curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body.ptr);
    }
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_TIMEOUT_MS, h->timeout_ms);
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, h->why);
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, to);
    return rc;
}

static void read_facts(fh_api_http *h, fh_api_reply *out) {
    long status = 0;
    const char *type = NULL;
    (void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(h->curl, CURLINFO_CONTENT_TYPE, &type);
    out->status = (int)status;
    if (!fh_str_copy(out->type, sizeof out->type, fh_str_of(type))) out->type[0] = '\0';
}

fh_status fh_api_http_ask(fh_api_http *h, const char *method, const char *path, const char *headers, fh_str body,
                          fh_api_reply *out, fh_err *err) {
    char url[URL_MOST + 512];
    struct curl_slist *list = NULL;
    *out = (fh_api_reply){.status = 0};
    fh_buf_init(&out->body, FH_API_ANSWER_MOST);
    h->why[0] = '\0';
    int n = snprintf(url, sizeof url, "%s%s", h->base, path);
    if (n < 0 || (size_t)n >= sizeof url) return fh_fail(err, FH_ERR_LIMIT, "the path '%.80s...' is too long", path);
    CURLcode rc = set_request(h, method, url, body, &out->body);
    if (rc == CURLE_OK && !add_headers(h, headers, body.len > 0, &list)) rc = CURLE_OUT_OF_MEMORY;
    if (rc == CURLE_OK) rc = curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, list);
    uint64_t start = fh_clock_ns();
    if (rc == CURLE_OK) rc = curl_easy_perform(h->curl);
    out->ns = fh_clock_ns() - start;
    read_facts(h, out);
    curl_slist_free_all(list);
    return rc == CURLE_OK ? FH_OK : curl_failed(h, rc, err);
}
