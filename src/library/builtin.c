/* library/builtin.c - SPDX-License-Identifier: Apache-2.0 */
#include "library/builtin.h"

extern const uint8_t fh_builtin_model_start[], fh_builtin_model_end[];

fh_bytes fh_builtin_model(void) {
    uintptr_t start = (uintptr_t)fh_builtin_model_start, end = (uintptr_t)fh_builtin_model_end;
    return (fh_bytes){fh_builtin_model_start, end - start};
}

bool fh_builtin_is_placeholder(const fh_bundle *b) {
    bool yes = false;
    const fh_gguf *g = fh_bundle_form(b) == FH_FORM_GGUF ? fh_bundle_gguf(b, 0) : NULL;
    return g && fh_gguf_to_bool(fh_gguf_find(g, "freehold.placeholder"), &yes) && yes;
}

fh_status fh_location_open(fh_bundle **out, const fh_location *at, fh_err *err) {
    if (at->source == FH_SOURCE_BUILTIN) return fh_bundle_open_static(out, fh_builtin_model(), at->name, err);
    return fh_bundle_open(out, at->path, err);
}
