/* serve/keys.h - the keys that let people use the server: made, kept, looked up. The file is keys.json in the state
 * folder.
 * SPDX-License-Identifier: Apache-2.0
 * A key is "fh-ID-SECRET": ID names it (8 hexadecimal digits), SECRET is 256 random bits. Only the SHA-256 of the whole
 * text is kept; with that much chance in it a slow hash would add nothing. The text is shown once. */
#ifndef FH_SERVE_KEYS_H
#define FH_SERVE_KEYS_H

#include "base/hash.h"
#include "base/mem.h"

#define FH_KEY_TEXT 64 /* "fh-" 8 "-" 43, with the final NUL and room */
#define FH_KEYS_MOST 10000

enum { FH_KEY_INFER = 1, FH_KEY_PULL = 2, FH_KEY_ADMIN = 4 }; /* ADMIN may everything */

typedef enum fh_key_period { FH_PERIOD_EVER, FH_PERIOD_DAY, FH_PERIOD_MONTH } fh_key_period; /* UTC */

typedef struct fh_key_limits {
    uint64_t requests_per_minute, tokens_per_minute, concurrent, budget; /* 0: none; budget in tokens */
    fh_key_period period;                                                /* of the budget */
    int64_t priority;                                                    /* -100 to 100 */
} fh_key_limits;

typedef struct fh_key {
    char id[9], name[64];
    char hash[FH_SHA256_HEX];
    uint32_t scopes;
    uint64_t created_ms, expires_ms, revoked_ms; /* since 1970; 0: never */
    fh_key_limits limits;
} fh_key;

typedef struct fh_keys {
    fh_key *item; /* [n] */
    size_t n;
} fh_keys;

/* An absent file is no keys. */
FH_MUST_USE fh_status fh_keys_read(fh_keys *out, const char *state_dir, fh_err *err);
void fh_keys_release(fh_keys *k);
FH_MUST_USE fh_status fh_keys_write(const fh_keys *k, const char *state_dir, fh_err *err);
/* Read, change, write, alone: whoever else changes keys waits. */
typedef fh_status fh_keys_change(void *ctx, fh_keys *k, fh_err *err);
FH_MUST_USE fh_status fh_keys_update(const char *state_dir, fh_keys_change *fn, void *ctx, fh_err *err);

/* like: name, scopes, expiry and limits of the new one. text: the key itself, nowhere else from then on. */
FH_MUST_USE fh_status fh_keys_create(fh_keys *k, const fh_key *like, char text[FH_KEY_TEXT], fh_key **out, fh_err *err);
/* By id, or by a name that only one key has. */
FH_MUST_USE fh_status fh_keys_find(const fh_keys *k, fh_str id_or_name, fh_key **out, fh_err *err);
/* The key that this text is, revoked and expired ones too; NULL: none. Takes as long whichever bytes are wrong. */
const fh_key *fh_keys_match(const fh_keys *k, fh_str text);

/* "infer,pull", "admin" */
bool fh_key_parse_scopes(fh_str s, uint32_t *out);
void fh_key_print_scopes(uint32_t scopes, char *out, size_t size);
/* "1000000", "50000/day", "2000000/month" */
bool fh_key_parse_budget(fh_str s, uint64_t *budget, fh_key_period *period);
const char *fh_key_period_name(fh_key_period p); /* "day" */
/* When the period began that now lies in. */
uint64_t fh_key_period_start(fh_key_period p, uint64_t now_ms);

#endif
