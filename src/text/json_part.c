/* text/json_part.c - SPDX-License-Identifier: Apache-2.0 */
#include "text/json_part.h"

#include "text/unicode.h"

fh_status fh_json_step_open(fh_json_step *out, const fh_json_node *node, const char *part, fh_arena *arena,
                            fh_err *err) {
    fh_str type;
    if (!fh_json_to_str(fh_json_get(node, "type"), &type))
        return fh_fail(err, FH_ERR_FORMAT, "tokenizer: a %s without a 'type'", part);
    *out = (fh_json_step){.node = node, .part = part, .type = type, .arena = arena, .err = err};
    return FH_OK;
}

fh_status fh_json_step_bad(const fh_json_step *st, const char *key, const char *should) {
    return fh_fail(st->err, FH_ERR_FORMAT, "tokenizer: '%s' of the %s '%.*s' should be %s", key, st->part,
                   FH_STR_ARG(st->type), should);
}

fh_status fh_json_step_unknown(const fh_json_step *st) {
    return fh_fail(st->err, FH_ERR_UNSUPPORTED, "tokenizer: the %s '%.*s' is not known", st->part,
                   FH_STR_ARG(st->type));
}

static const fh_json_node *field(const fh_json_step *st, const char *key) {
    const fh_json_node *n = fh_json_get(st->node, key);
    return fh_json_is(n, FH_JSON_NULL) ? NULL : n;
}

fh_status fh_json_step_bool(const fh_json_step *st, const char *key, bool *out) {
    const fh_json_node *n = field(st, key);
    if (!n || fh_json_to_bool(n, out)) return FH_OK;
    return fh_json_step_bad(st, key, "true or false");
}

fh_status fh_json_step_u32(const fh_json_step *st, const char *key, uint32_t most, uint32_t *out) {
    const fh_json_node *n = field(st, key);
    uint64_t v;
    if (!n) return FH_OK;
    if (!fh_json_to_u64(n, &v) || v > most) return fh_json_step_bad(st, key, "a small whole number");
    *out = (uint32_t)v;
    return FH_OK;
}

fh_status fh_json_step_str(const fh_json_step *st, const char *key, fh_str *out) {
    fh_str s;
    if (!fh_json_to_str(field(st, key), &s)) return fh_json_step_bad(st, key, "a string");
    return fh_arena_copy(st->arena, s, out) ? FH_OK : fh_arena_fail(st->arena, st->err);
}

fh_status fh_json_step_char(const fh_json_step *st, const char *key, uint32_t *out) {
    const fh_json_node *n = field(st, key);
    fh_str s;
    size_t len;
    if (!n) return FH_OK;
    if (!fh_json_to_str(n, &s) || s.len == 0) return fh_json_step_bad(st, key, "one character");
    uint32_t cp = fh_utf8_next(s, 0, &len);
    if (len != s.len) return fh_json_step_bad(st, key, "one character");
    *out = cp;
    return FH_OK;
}

fh_status fh_json_step_pattern(const fh_json_step *st, const char *key, fh_split **out, fh_str *literal) {
    const fh_json_node *n = field(st, key);
    fh_str s;
    if (fh_json_to_str(fh_json_get(n, "Regex"), &s)) return fh_split_new(out, s, st->err);
    if (!fh_json_to_str(fh_json_get(n, "String"), &s))
        return fh_json_step_bad(st, key, "{\"String\": ...} or {\"Regex\": ...}");
    if (literal && !fh_arena_copy(st->arena, s, literal)) return fh_arena_fail(st->arena, st->err);
    return fh_split_new_literal(out, s, st->err);
}

fh_status fh_json_step_name(const fh_json_step *st, const char *key, const char *const *names, size_t n,
                            uint32_t *out) {
    const fh_json_node *node = field(st, key);
    fh_str s;
    if (!node) return FH_OK;
    if (!fh_json_to_str(node, &s)) return fh_json_step_bad(st, key, "a string");
    for (uint32_t i = 0; i < n; i++) {
        if (!fh_str_is(s, names[i])) continue;
        *out = i;
        return FH_OK;
    }
    return fh_fail(st->err, FH_ERR_UNSUPPORTED, "tokenizer: '%s' of the %s '%.*s' is '%.*s', which is not known", key,
                   st->part, FH_STR_ARG(st->type), FH_STR_ARG(s));
}

fh_status fh_json_step_list(const fh_json_step *st, const char *key, const fh_json_node **out) {
    const fh_json_node *n = field(st, key);
    if (!fh_json_is(n, FH_JSON_ARRAY)) return fh_json_step_bad(st, key, "an array");
    *out = n;
    return FH_OK;
}
