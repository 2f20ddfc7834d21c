/* base/folder.h - folders: where this user's are, made and removed.
 * SPDX-License-Identifier: Apache-2.0
 * FREEHOLD_HOME moves all of them together; otherwise each is where its kind belongs: in
 * XDG_CONFIG_HOME, XDG_STATE_HOME or XDG_DATA_HOME where they are set, else under HOME. */
#ifndef FH_BASE_FOLDER_H
#define FH_BASE_FOLDER_H

#include "base/file.h"

/* "$FREEHOLD_HOME/in_own", or "$HOME/in_home" (".config/...", ".local/state/...", ".local/share/..." as XDG says).
 * Nothing is made. */
FH_MUST_USE fh_status fh_folder_own(char out[FH_PATH_MAX], const char *in_home, const char *in_own, fh_err *err);
/* The folder and those above it, as far as they are missing; for this user alone. */
FH_MUST_USE fh_status fh_folder_make(const char *path, fh_err *err);
/* The folder with all that is in it. Links go, what they point to stays. FH_OK when it is not there. */
FH_MUST_USE fh_status fh_folder_remove(const char *path, fh_err *err);

#endif
