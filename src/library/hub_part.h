/* library/hub_part.h - the two kinds of hub, each in its own file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_LIBRARY_HUB_PART_H
#define FH_LIBRARY_HUB_PART_H

#include "base/json.h"
#include "library/hub.h"

#define FH_HUB_MOST_DOCUMENT ((size_t)64 << 20)
#define FH_HUB_MOST_ARENA ((size_t)256 << 20)

FH_MUST_USE fh_status fh_hub_hf_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err);
FH_MUST_USE fh_status fh_hub_oci_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err);
/* One page of a listing, or a manifest, as it came: what is taken of it. The listing is initialized by the caller. */
FH_MUST_USE fh_status fh_hub_hf_take(fh_hub_listing *out, fh_str page, const fh_hub_name *name, bool all, fh_err *err);
FH_MUST_USE fh_status fh_hub_oci_take(fh_hub_listing *out, fh_str manifest, const fh_hub_name *name, fh_err *err);
bool fh_hub_is_pickle(fh_str path); /* by its ending: formats that run code when they are opened */
/* Text with what a URL's path may not hold as %XX; '/' stays. */
void fh_hub_add_escaped(fh_buf *b, fh_str s);
/* A page, parsed; *doc is the caller's. What a status other than 200 means is said for this subject. */
FH_MUST_USE fh_status fh_hub_ask(fh_json **doc, fh_fetch *f, const fh_fetch_request *r, fh_fetch_reply *reply,
                                 const char *subject, fh_err *err);

#endif
