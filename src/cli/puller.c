/* cli/puller.c - SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "cli/pull_part.h"

static void say_url(void *ctx, const char *url) {
    const fh_puller *p = ctx;
    const char *query = strchr(url, '?'); /* signed links carry secrets there */
    int n = query && strlen(query) > 120 ? (int)(query - url) : (int)strlen(url);
    if (p->verbose) fprintf(p->cli->err, "freehold: asking %.*s%s\n", n, url, n < (int)strlen(url) ? "?..." : "");
}

static void say_retry(void *ctx, const char *why, uint64_t wait_ms) {
    const fh_puller *p = ctx;
    if (p->verbose || wait_ms >= 1000)
        fprintf(p->cli->err, "freehold: %s; again in %.1f s\n", why, (double)wait_ms / 1000);
}

static void show_fetching(void *ctx, uint64_t done, uint64_t total) {
    fh_puller *p = ctx;
    if (!p->fetch_shown) {
        fh_progress_end(&p->checking);
        fh_progress_start(&p->fetching, p->cli, "fetching", total);
        p->fetching.bytes = p->fetch_shown = true;
    }
    fh_progress_at(&p->fetching, done);
}

static void show_checking(void *ctx, uint64_t done, uint64_t total) {
    fh_puller *p = ctx;
    if (!p->check_shown) {
        fh_progress_start(&p->checking, p->cli, "checking what is here", total);
        p->checking.bytes = p->check_shown = true;
    }
    fh_progress_at(&p->checking, done);
}

fh_status fh_puller_run(fh_puller *p, fh_pull_result *r, const char *model, fh_err *err) {
    const fh_pull_options o = {
        .endpoint = p->endpoint,
        .as = p->as,
        .all = p->all,
        .dry_run = p->dry_run,
        .want_id = p->want_id,
        .source = p->source,
        .keep_before = p->keep_before,
        .fetch = {.connections = (unsigned)FH_MIN(p->connections, 32u),
                  .retries = (unsigned)FH_MIN(p->retries, 1000u),
                  .watch = {.url = say_url, .retry = say_retry, .progress = show_fetching, .ctx = p}},
        .check = show_checking,
    };
    p->fetch_shown = p->check_shown = false;
    p->fetching.drawn = p->checking.drawn = false;
    fh_status st = fh_pull(r, model, &o, err);
    if (p->check_shown) fh_progress_end(&p->checking);
    if (p->fetch_shown) fh_progress_end(&p->fetching);
    return st;
}
