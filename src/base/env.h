/* base/env.h - the environment, read through one table (env.def) and nowhere else.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_ENV_H
#define FH_BASE_ENV_H

#include <stddef.h>

typedef enum fh_env {
#define FH_ENV_ROW(id, name, help) FH_ENV_##id,
#include "base/env.def"
#undef FH_ENV_ROW
    FH_ENV_COUNT
} fh_env;

const char *fh_env_get(fh_env e); /* NULL when unset or empty; valid until the environment changes */
const char *fh_env_name(fh_env e);
const char *fh_env_help(fh_env e);

#endif
