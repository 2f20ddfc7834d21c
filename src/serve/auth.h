/* serve/auth.h - who asks, and how much they may: keys, limits, budgets, backoff.
 * SPDX-License-Identifier: Apache-2.0
 * Reads keys.json again when it changed, so that `freehold key` works on a running server. Wrong keys make an address
 * wait longer and longer; a right key always passes, since 256 random bits are not found by trying, and nobody should
 * be able to lock out the people behind the same address. Any thread. */
#ifndef FH_SERVE_AUTH_H
#define FH_SERVE_AUTH_H

#include "serve/keys.h"

typedef struct fh_auth fh_auth;
FH_MUST_USE fh_status fh_auth_new(fh_auth **out, const char *state_dir, fh_err *err);
void fh_auth_free(fh_auth *a); /* NULL is fine */
/* Looks at the file if it was not looked at for a second. A broken file leaves the keys as they were. */
FH_MUST_USE fh_status fh_auth_refresh(fh_auth *a, bool now, fh_err *err);
bool fh_auth_has_keys(fh_auth *a); /* any that is neither revoked nor expired */

typedef enum fh_auth_verdict {
    FH_AUTH_OK,
    FH_AUTH_NO_KEY,
    FH_AUTH_WRONG,
    FH_AUTH_EXPIRED,
    FH_AUTH_REVOKED,
    FH_AUTH_WAIT /* too many wrong ones from there: retry_ms */
} fh_auth_verdict;

typedef struct fh_identity {
    char id[16], name[64];
    uint32_t scopes;
    uint64_t owner, salt;
    int priority;
    uint32_t slot; /* of its counters */
} fh_identity;

/* text: as presented, empty for none. now_ns: fh_clock_ns. */
fh_auth_verdict fh_auth_check(fh_auth *a, fh_str text, fh_str peer, uint64_t now_ns, fh_identity *out,
                              uint32_t *retry_ms);
/* One that needs no key (this machine while none exists, the admin socket): name for the log. */
void fh_auth_local(fh_identity *out, const char *name, fh_str peer);

/* May another request begin? NULL, or which limit is reached, and when to come back (0: not by waiting). */
const char *fh_auth_admit(fh_auth *a, const fh_identity *who, uint64_t now_ns, uint32_t *retry_ms);
/* It ended, with so many tokens in all. Once for each that was admitted. */
void fh_auth_done(fh_auth *a, const fh_identity *who, uint64_t now_ns, uint64_t tokens);

/* What was used of budgets survives in usage.json: written when something changed. */
FH_MUST_USE fh_status fh_auth_save(fh_auth *a, fh_err *err);

#endif
