/* cli/pull_part.h - what the commands that fetch share: options, progress, what is said meanwhile.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_CLI_PULL_PART_H
#define FH_CLI_PULL_PART_H

#include "cli/cli.h"
#include "library/pull.h"

typedef struct fh_puller {
    const fh_cli *cli;
    bool verbose, all, dry_run;
    const char *endpoint, *as, *want_id, *source;
    bool keep_before;
    uint64_t connections, retries;
    fh_progress fetching, checking;
    bool fetch_shown, check_shown;
} fh_puller;

#define FH_PULLER_OPTIONS(p) \
    {"--endpoint", FH_OPTION_TEXT, &(p)->endpoint, "URL", \
     "ask this address (default: HF_ENDPOINT, or where the name says)"}, \
        {"--connections", FH_OPTION_U64, &(p)->connections, "N", "at once, 1 to 32 (default: 4)"}, \
        {"--retries", FH_OPTION_U64, &(p)->retries, "N", "in a row without a byte, before giving up (default: 8)"}, { \
        "--verbose", FH_OPTION_FLAG, &(p)->verbose, NULL, "every URL that is asked, on stderr (default: only trouble)" \
    }

/* One model, with a progress bar; o.fetch.watch is filled here. */
FH_MUST_USE fh_status fh_puller_run(fh_puller *p, fh_pull_result *r, const char *model, fh_err *err);

#endif
