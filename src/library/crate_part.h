/* library/crate_part.h - the tar heads of a crate; nobody else includes it.
 * SPDX-License-Identifier: Apache-2.0
 * ustar, regular files only, names up to 99 bytes; sizes of 8 GiB and more in base 256, as GNU tar writes them. */
#ifndef FH_LIBRARY_CRATE_PART_H
#define FH_LIBRARY_CRATE_PART_H

#include "library/crate.h"

#define FH_TAR_BLOCK 512
#define FH_CRATE_LIST "freehold-bundle.json"
#define FH_CRATE_SIG "freehold-bundle.sig"
#define FH_CRATE_MOST_LIST ((size_t)64 << 20)
#define FH_CRATE_MOST_EXTRA ((uint64_t)256 << 20)

void fh_tar_head(uint8_t out[FH_TAR_BLOCK], const char *name, uint64_t bytes);
/* False when the block is no such head, or its checksum is wrong. */
bool fh_tar_read(const uint8_t in[FH_TAR_BLOCK], char name[100], uint64_t *bytes);

#endif
