/* serve/audit.h - who did what, in a file that shows when it was changed afterwards: audit.log in the state folder.
 * SPDX-License-Identifier: Apache-2.0
 * A line is one JSON object; its last member, "hash", is the SHA-256 of the hash before it and the line without its
 * own. Nothing that people wrote or were told is ever in it: names, numbers and outcomes only. Several programs may
 * append (the server, `freehold key`): each line is written under a lock, behind the last one that is there. */
#ifndef FH_SERVE_AUDIT_H
#define FH_SERVE_AUDIT_H

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct fh_audit fh_audit;
/* Opens for appending. A last line without its end (the machine stopped while it was written) is closed first. */
FH_MUST_USE fh_status fh_audit_open(fh_audit **out, const char *state_dir, fh_err *err);
void fh_audit_close(fh_audit *a); /* NULL is fine */
/* Fields as in the log. Any thread. A failure is remembered: a server that cannot record says so in /status. */
FH_MUST_USE fh_status fh_audit_add(fh_audit *a, const char *event, const fh_log_field *fields, size_t n, fh_err *err);
uint64_t fh_audit_failures(const fh_audit *a);

typedef struct fh_audit_check {
    uint64_t n_line, n_torn;  /* torn: half lines, of a machine that stopped */
    uint64_t first_bad;       /* line from 1; 0: all fit together */
    char last[FH_SHA256_HEX]; /* keep it elsewhere: then lines cannot be taken from the end unseen either */
} fh_audit_check;
FH_MUST_USE fh_status fh_audit_verify(fh_audit_check *out, const char *state_dir, fh_err *err);

#endif
