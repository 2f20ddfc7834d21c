/* serve/sandbox.h - the kernel holds the server to what it needs: its files, its sockets, no other programs.
 * SPDX-License-Identifier: Apache-2.0
 * Linux: no_new_privs, Landlock (files and folders that may be read, those that may be written, no TCP connection or
 * bind), and a seccomp filter that answers EPERM to programs, tracing, mounts, modules, new namespaces, outgoing
 * connections and new sockets. Entered by the one thread that there is, before models are parsed; later threads inherit
 * it. Afterwards each rule is tried out; what the kernel does not offer is said, never assumed. */
#ifndef FH_SERVE_SANDBOX_H
#define FH_SERVE_SANDBOX_H

#include <stdbool.h>

#include "base/err.h"

typedef struct fh_sandbox_options {
    const char *const *read;  /* [n_read] files and folders; those that are not there are left out */
    const char *const *write; /* [n_write] folders */
    size_t n_read, n_write;
} fh_sandbox_options;

typedef struct fh_sandbox_state {
    bool entered, no_new_privs, files, network, calls;
    int landlock_abi;        /* 0: the kernel has none */
    uint32_t tried, refused; /* of the self-test: equal when all holds */
    char missing[160];       /* in words, or "" */
} fh_sandbox_state;

/* FH_OK where the kernel lacks a part (state says which); a failure where a part that it has did not hold. */
FH_MUST_USE fh_status fh_sandbox_enter(fh_sandbox_state *out, const fh_sandbox_options *opt, fh_err *err);

#endif
