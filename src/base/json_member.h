/* base/json_member.h - a key and its value in one call, for the writer of base/json.h.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FH_BASE_JSON_MEMBER_H
#define FH_BASE_JSON_MEMBER_H

#include "base/json.h"

static inline void fh_put_str(fh_json_writer *w, const char *key, fh_str s) {
    fh_json_put_key(w, key);
    fh_json_put_str(w, s);
}
static inline void fh_put_z(fh_json_writer *w, const char *key, const char *z) {
    fh_json_put_key(w, key);
    fh_json_put_z(w, z);
}
static inline void fh_put_u64(fh_json_writer *w, const char *key, uint64_t v) {
    fh_json_put_key(w, key);
    fh_json_put_u64(w, v);
}
static inline void fh_put_i64(fh_json_writer *w, const char *key, int64_t v) {
    fh_json_put_key(w, key);
    fh_json_put_i64(w, v);
}
static inline void fh_put_f64(fh_json_writer *w, const char *key, double v) {
    fh_json_put_key(w, key);
    fh_json_put_f64(w, v);
}
static inline void fh_put_bool(fh_json_writer *w, const char *key, bool v) {
    fh_json_put_key(w, key);
    fh_json_put_bool(w, v);
}
static inline void fh_put_null(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_null(w);
}
static inline void fh_put_object(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_object(w);
}
static inline void fh_put_array(fh_json_writer *w, const char *key) {
    fh_json_put_key(w, key);
    fh_json_put_array(w);
}

#endif
