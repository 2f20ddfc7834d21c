/* library/fetch_many.c - several connections that fill files, piece by piece, in one thread.
 * SPDX-License-Identifier: Apache-2.0
 * A lane is a connection with the piece it fetches. States of a lane:
 *   idle -> claim() -> asking -> body -> has the piece -> idle
 *   asking -> redirect -> asking; cut, 429, 5xx -> waiting -> asking, for the bytes still missing
 *   a remembered link that no longer works (401, 403, 404, 410) -> asking at the first address again
 * A server that answers 200 to a range sends the file whole: one lane takes it all, the others of that file end.
 * Files are opened one after another as lanes become free, so that a thousand small ones do not hold descriptors. */
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "library/fetch_part.h"

#define POLL_MS 100
#define MOST_SKIPPED ((size_t)1 << 20)

typedef struct lane {
    fh_fetch_call call;
    struct crew *crew;
    fh_incoming *in;      /* NULL: idle */
    uint64_t at, end;     /* bytes still to come */
    uint64_t wait_until;  /* ns; 0 = no */
    unsigned n_failed;    /* in a row, without a byte */
    bool busy, by_link;   /* in curl's hands; at the remembered link */
    bool judged, discard; /* of this answer */
    bool leave;           /* another lane has the whole file */
    size_t skipped;       /* bytes of an error's page */
    fh_err trouble;       /* from inside the body's callback */
} lane;

typedef struct crew {
    fh_fetch *f;
    CURLM *multi;
    lane *lane; /* [n_lane] */
    unsigned n_lane;
    fh_incoming *in; /* [n] */
    size_t n, n_opened, n_finished;
    uint64_t total, done_before; /* bytes; of files that are finished and closed */
    bool failed;
    fh_err why;
} crew;

static void drop(lane *l) {
    if (l->busy) curl_multi_remove_handle(l->crew->multi, l->call.easy);
    l->busy = false;
}

static void let_go(lane *l) {
    drop(l);
    if (l->in) fh_incoming_give_back(l->in, l->end);
    l->in = NULL;
    l->wait_until = 0;
}

static fh_status fail(crew *c, const fh_err *why) {
    if (!c->failed) c->why = *why;
    c->failed = true;
    return c->why.status;
}

/* ---- the body ---- */

/* One lane for all of it, from the first byte. */
static bool take_whole(lane *l) {
    fh_incoming *x = l->in;
    for (unsigned i = 0; i < l->crew->n_lane; i++) {
        lane *other = &l->crew->lane[i];
        if (other == l || other->in != x) continue;
        if (other->busy) other->leave = true; /* inside curl's callback nothing may be removed from it */
        else other->in = NULL;
    }
    if (!x->whole && fh_incoming_restart(x, &l->trouble) != FH_OK) return false;
    x->whole = true;
    memset(x->piece, FH_PIECE_BUSY, (size_t)x->n_piece);
    l->at = 0;
    l->end = x->file->bytes;
    return true;
}

static bool judge_answer(lane *l) {
    long status = 0;
    const fh_fetch_head *h = &l->call.head;
    l->judged = true;
    curl_easy_getinfo(l->call.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206) {
        if (h->range_start == l->at && h->range_total == l->in->file->bytes) return true;
        fh_fail(&l->trouble, FH_ERR_CORRUPT, "'%.200s': the server sends another part, or a file of another size",
                l->in->file->label);
        return false;
    }
    if (status == 200) return take_whole(l);
    l->discard = true;
    return true;
}

static size_t on_piece(char *data, size_t one, size_t n, void *ctx) {
    lane *l = ctx;
    size_t bytes = one * n;
    if (l->leave || (!l->judged && !judge_answer(l))) return 0;
    if (l->discard) return (l->skipped += bytes) < MOST_SKIPPED ? bytes : 0;
    if (bytes > l->end - l->at) {
        fh_fail(&l->trouble, FH_ERR_CORRUPT, "'%.200s' is longer than its listing says", l->in->file->label);
        return 0;
    }
    if (fh_incoming_write(l->in, l->at, data, bytes, &l->trouble) != FH_OK) return 0;
    l->at += bytes;
    l->n_failed = 0;
    return bytes;
}

/* ---- lanes ---- */

static fh_status ask(lane *l, fh_err *err) {
    char range[64];
    l->judged = l->discard = l->leave = false;
    l->skipped = 0;
    l->trouble.status = FH_OK;
    l->wait_until = 0;
    if (l->in->whole) range[0] = '\0';
    else snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)l->at, (unsigned long long)l->end - 1);
    FH_TRY(fh_fetch_call_arm(l->crew->f, &l->call, range, on_piece, l, err));
    if (curl_multi_add_handle(l->crew->multi, l->call.easy) != CURLM_OK) return fh_fail_memory(err, 1);
    l->busy = true;
    return FH_OK;
}

/* From the first address, or where it led the last time. */
static fh_status ask_anew(lane *l, fh_err *err) {
    FH_TRY(fh_fetch_call_start(&l->call, &l->in->file->from, err));
    l->by_link = l->in->link[0] != '\0';
    if (l->by_link) memcpy(l->call.url, l->in->link, FH_FETCH_URL);
    return ask(l, err);
}

static fh_status open_next(crew *c, fh_fetch_file *file, fh_err *err) {
    fh_incoming *x = &c->in[c->n_opened++];
    return fh_incoming_open(x, file, err);
}

/* Work for an idle lane: a piece of an open file, else of the next one. */
static fh_status find_work(crew *c, lane *l, fh_fetch_file *file, fh_err *err) {
    for (size_t i = 0;; i++) {
        if (i == c->n_opened && c->n_opened < c->n) FH_TRY(open_next(c, &file[i], err));
        if (i == c->n_opened) return FH_OK;
        fh_incoming *x = &c->in[i];
        if (x->finished || x->whole || !x->n_piece || !fh_incoming_claim(x, &l->at, &l->end)) continue;
        l->in = x;
        return ask_anew(l, err);
    }
}

static fh_status give_up_or_wait(lane *l, const fh_err *why, bool nobody) {
    fh_fetch *f = l->crew->f;
    if (l->n_failed >= (nobody ? FH_MIN(f->o.retries, 3u) : f->o.retries)) return fail(l->crew, why);
    l->wait_until = fh_clock_ns() + fh_fetch_wait_ms(f, &l->call, l->n_failed++, why) * 1000000u;
    l->in->link[0] = '\0';
    if (l->in->whole) l->at = 0; /* no ranges: nothing to go on from */
    return FH_OK;
}

static void piece_came(lane *l) {
    fh_incoming *x = l->in;
    if (!l->by_link && l->call.n_redirect) memcpy(x->link, l->call.url, FH_FETCH_URL);
    if (x->whole) {
        for (unsigned i = 0; i < l->crew->n_lane; i++) {
            lane *other = &l->crew->lane[i];
            if (other == l || other->in != x) continue;
            drop(other);
            other->in = NULL;
        }
        for (uint64_t i = 0; i < x->n_piece; i++) x->piece[i] = FH_PIECE_HERE;
        x->n_here = x->n_piece;
        x->whole = false;
    } else {
        fh_incoming_has(x, l->end);
    }
    l->in = NULL;
}

static fh_status ended(lane *l, CURLcode code) {
    fh_err why = {.status = FH_OK};
    long status;
    drop(l);
    if (l->leave) {
        l->leave = false;
        l->in = NULL;
        return FH_OK;
    }
    if (l->trouble.status != FH_OK) return fail(l->crew, &l->trouble);
    fh_fetch_verdict v = fh_fetch_judge(&l->call, code, &status, &why);
    switch (v) {
    case FH_FETCH_REDIRECT: return ask(l, &why) == FH_OK ? FH_OK : fail(l->crew, &why);
    case FH_FETCH_DONE:
        if (l->at == l->end) {
            piece_came(l);
            return FH_OK;
        }
        fh_fail(&why, FH_ERR_IO, "'%.200s': the connection was cut", l->in->file->label);
        return give_up_or_wait(l, &why, false);
    case FH_FETCH_RETRY:
        return give_up_or_wait(l, &why, code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST);
    case FH_FETCH_REFUSED:
        if (l->by_link || l->call.n_redirect)
            return give_up_or_wait(l, &why, true); /* links expire: ask for a new one */
        return fail(l->crew, &why);
    case FH_FETCH_FAILED: break;
    }
    return fail(l->crew, &why);
}

/* ---- the loop ---- */

static fh_status start_lanes(crew *c, fh_fetch_file *file, fh_err *err) {
    uint64_t now = fh_clock_ns();
    for (unsigned i = 0; i < c->n_lane; i++) {
        lane *l = &c->lane[i];
        if (l->busy) continue;
        if (l->in && l->wait_until > now) continue;
        if (l->in) FH_TRY(ask_anew(l, err));
        else FH_TRY(find_work(c, l, file, err));
    }
    return FH_OK;
}

static fh_status settle_files(crew *c, fh_err *err) {
    for (size_t i = 0; i < c->n_opened; i++) {
        fh_incoming *x = &c->in[i];
        if (x->finished || !x->file || x->whole) continue;
        FH_TRY(fh_incoming_settle(x, err));
        if (!x->finished) continue;
        c->done_before += x->file->bytes;
        c->n_finished++;
        fh_incoming_close(x);
        x->finished = true;
    }
    return FH_OK;
}

static void tell(crew *c) {
    uint64_t done = c->done_before;
    const fh_fetch_watch *w = &c->f->o.watch;
    if (!w->progress) return;
    for (size_t i = 0; i < c->n_opened; i++)
        if (!c->in[i].finished && c->in[i].file) done += fh_incoming_bytes(&c->in[i]);
    for (unsigned i = 0; i < c->n_lane; i++) {
        const lane *l = &c->lane[i];
        if (!l->in) continue;
        uint64_t start = l->in->whole ? 0 : (l->end - 1) / l->in->piece_bytes * l->in->piece_bytes;
        done += l->at - start;
    }
    w->progress(w->ctx, FH_MIN(done, c->total), c->total);
}

static bool hashing(const crew *c) {
    for (size_t i = 0; i < c->n_opened; i++) {
        const fh_incoming *x = &c->in[i];
        if (!x->finished && x->file && x->n_here == x->n_piece) return true;
    }
    return false;
}

static fh_status loop(crew *c, fh_fetch_file *file, fh_err *err) {
    while (c->n_finished < c->n) {
        int running, left;
        const CURLMsg *m;
        if (fh_fetch_cancelled(c->f, err)) return FH_ERR_CANCELLED;
        FH_TRY(start_lanes(c, file, err));
        if (curl_multi_perform(c->multi, &running) != CURLM_OK) return fh_fail_memory(err, 1);
        while ((m = curl_multi_info_read(c->multi, &left))) {
            lane *l = NULL;
            if (m->msg != CURLMSG_DONE) continue;
            CURLcode code = m->data.result;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&l);
            if (ended(l, code) != FH_OK) {
                if (err) *err = c->why;
                return c->why.status;
            }
        }
        FH_TRY(settle_files(c, err));
        tell(c);
        if (c->n_finished < c->n && !hashing(c)) (void)curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
    }
    return FH_OK;
}

static fh_status make_crew(crew *c, fh_err *err) {
    c->multi = curl_multi_init();
    c->in = fh_alloc_zero(c->n, sizeof *c->in);
    c->lane = fh_alloc_zero(c->n_lane, sizeof *c->lane);
    if (!c->multi || !c->in || !c->lane) return fh_fail_memory(err, c->n * sizeof *c->in);
    for (unsigned i = 0; i < c->n_lane; i++) {
        c->lane[i].crew = c;
        FH_TRY(fh_fetch_call_init(&c->lane[i].call, err));
    }
    return FH_OK;
}

fh_status fh_fetch_files(fh_fetch *f, fh_fetch_file *file, size_t n, fh_err *err) {
    crew *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    c->f = f;
    c->n = n;
    c->n_lane = f->o.connections;
    for (size_t i = 0; i < n; i++) c->total += file[i].bytes; /* the caller has summed them with care */
    fh_status st = make_crew(c, err);
    if (st == FH_OK) st = loop(c, file, err);
    for (unsigned i = 0; c->lane && i < c->n_lane; i++) {
        if (c->lane[i].in) let_go(&c->lane[i]);
        fh_fetch_call_release(&c->lane[i].call);
    }
    for (size_t i = 0; c->in && i < c->n_opened; i++)
        if (c->in[i].file) fh_incoming_close(&c->in[i]);
    if (c->multi) curl_multi_cleanup(c->multi);
    fh_free(c->in);
    fh_free(c->lane);
    fh_free(c);
    return st;
}
