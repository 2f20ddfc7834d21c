/* base/env.c - the only caller of getenv.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/env.h"

#include <stdlib.h>

static const struct {
    const char *name, *help;
} table[FH_ENV_COUNT] = {
#define FH_ENV_ROW(id, name, help) [FH_ENV_##id] = {name, help},
#include "base/env.def"
#undef FH_ENV_ROW
};

const char *fh_env_get(fh_env e) {
    const char *v = getenv(table[e].name);
    return v && v[0] ? v : NULL;
}
const char *fh_env_name(fh_env e) { return table[e].name; }
const char *fh_env_help(fh_env e) { return table[e].help; }
