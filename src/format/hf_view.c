/* format/hf_view.c - lookups with alternative spellings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "format/hf_view.h"

#include <math.h>

fh_hf_view fh_hf_view_of(const char *file, const fh_json_node *object) {
    return (fh_hf_view){.file = file, .part = {object}, .path = {FH_STR("")}, .n = 1};
}

fh_hf_state fh_hf_find(const fh_hf_view *v, const char *names, fh_hf_hit *hit) {
    fh_hf_state state = FH_HF_MISSING;
    for (int i = 0; i < v->n; i++) {
        fh_str rest = fh_str_of(names);
        while (rest.len > 0) {
            size_t bar = rest.len;
            if (!fh_str_find(rest, '|', &bar)) bar = rest.len;
            fh_str name = fh_str_first(rest, bar);
            const fh_json_node *node = fh_json_get_str(v->part[i], name);
            rest = fh_str_drop(rest, bar + 1);
            if (!node) continue;
            bool null = node->kind == FH_JSON_NULL;
            if (null && state == FH_HF_NULL) continue;
            *hit = (fh_hf_hit){node, v->path[i], name};
            if (!null) return FH_HF_PRESENT;
            state = FH_HF_NULL;
        }
    }
    return state;
}

/* "text_config.head_dim" in at most 200 bytes */
typedef struct spot {
    char text[200];
} spot;

static spot spot_of(const fh_hf_hit *hit) {
    spot s;
    snprintf(s.text, sizeof s.text, "%.*s%s%.*s", FH_STR_ARG(hit->path), hit->path.len ? "." : "",
             FH_STR_ARG(hit->key));
    return s;
}

fh_status fh_hf_fail(const fh_hf_view *v, const fh_hf_hit *hit, const char *should, fh_err *err) {
    spot s = spot_of(hit);
    return fh_fail_at(err, FH_ERR_FORMAT, hit->node->offset, "%s: '%s' should be %s", v->file, s.text, should);
}

fh_status fh_hf_check_u64(const fh_hf_view *v, const fh_hf_hit *hit, uint64_t lo, uint64_t hi, uint64_t *out,
                          fh_err *err) {
    uint64_t x;
    spot s = spot_of(hit);
    if (!fh_json_to_u64(hit->node, &x)) {
        bool number = hit->node->kind == FH_JSON_NUMBER;
        return fh_fail_at(err, FH_ERR_FORMAT, hit->node->offset,
                          "%s: '%s' is %.*s, allowed are whole numbers from %llu to %llu", v->file, s.text,
                          FH_STR_ARG(number ? hit->node->text : FH_STR("no number")), (unsigned long long)lo,
                          (unsigned long long)hi);
    }
    if (x < lo || x > hi)
        return fh_fail_at(err, FH_ERR_LIMIT, hit->node->offset, "%s: '%s' is %llu, allowed are %llu to %llu", v->file,
                          s.text, (unsigned long long)x, (unsigned long long)lo, (unsigned long long)hi);
    *out = x;
    return FH_OK;
}

fh_status fh_hf_check_f64(const fh_hf_view *v, const fh_hf_hit *hit, double lo, double hi, double *out, fh_err *err) {
    double x;
    if (!fh_json_to_f64(hit->node, &x)) return fh_hf_fail(v, hit, "a number", err);
    if (!isfinite(x) || x < lo || x > hi) {
        spot s = spot_of(hit);
        return fh_fail_at(err, FH_ERR_LIMIT, hit->node->offset, "%s: '%s' is %.*s, allowed are %g to %g", v->file,
                          s.text, FH_STR_ARG(hit->node->text), lo, hi);
    }
    *out = x;
    return FH_OK;
}

fh_status fh_hf_get_u64(const fh_hf_view *v, const char *names, uint64_t lo, uint64_t hi, fh_hf_state *state,
                        uint64_t *out, fh_err *err) {
    fh_hf_hit hit;
    fh_hf_state s = fh_hf_find(v, names, &hit);
    if (s == FH_HF_PRESENT) FH_TRY(fh_hf_check_u64(v, &hit, lo, hi, out, err));
    *state = s;
    return FH_OK;
}

fh_status fh_hf_get_f64(const fh_hf_view *v, const char *names, double lo, double hi, fh_hf_state *state, double *out,
                        fh_err *err) {
    fh_hf_hit hit;
    fh_hf_state s = fh_hf_find(v, names, &hit);
    if (s == FH_HF_PRESENT) FH_TRY(fh_hf_check_f64(v, &hit, lo, hi, out, err));
    *state = s;
    return FH_OK;
}

fh_status fh_hf_get_bool(const fh_hf_view *v, const char *names, fh_hf_state *state, bool *out, fh_err *err) {
    fh_hf_hit hit;
    fh_hf_state s = fh_hf_find(v, names, &hit);
    if (s == FH_HF_PRESENT && !fh_json_to_bool(hit.node, out)) return fh_hf_fail(v, &hit, "true or false", err);
    *state = s;
    return FH_OK;
}

fh_status fh_hf_get_str(const fh_hf_view *v, const char *names, fh_hf_state *state, fh_str *out, fh_err *err) {
    fh_hf_hit hit;
    fh_hf_state s = fh_hf_find(v, names, &hit);
    if (s == FH_HF_PRESENT && !fh_json_to_str(hit.node, out)) return fh_hf_fail(v, &hit, "a string", err);
    *state = s;
    return FH_OK;
}

static fh_status add_id(const fh_hf_view *v, const fh_hf_hit *hit, fh_hf_ids *out, fh_err *err) {
    uint64_t id;
    int64_t negative;
    if (fh_json_to_i64(hit->node, &negative) && negative == -1) return FH_OK;
    if (out->n == FH_HF_MAX_IDS) return fh_hf_fail(v, hit, "at most 32 ids", err);
    FH_TRY(fh_hf_check_u64(v, hit, 0, INT32_MAX, &id, err));
    out->item[out->n++] = (uint32_t)id;
    return FH_OK;
}

fh_status fh_hf_get_ids(const fh_hf_view *v, const char *names, fh_hf_ids *out, fh_err *err) {
    fh_hf_hit hit;
    fh_hf_ids ids = {.state = fh_hf_find(v, names, &hit)};
    if (ids.state == FH_HF_PRESENT && fh_json_is(hit.node, FH_JSON_ARRAY)) {
        const fh_json_node *list = hit.node;
        for (const fh_json_node *c = fh_json_first(list); c; c = fh_json_after(list, c)) {
            hit.node = c;
            FH_TRY(add_id(v, &hit, &ids, err));
        }
    } else if (ids.state == FH_HF_PRESENT) {
        FH_TRY(add_id(v, &hit, &ids, err));
    }
    *out = ids;
    return FH_OK;
}
