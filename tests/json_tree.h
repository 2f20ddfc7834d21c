/* tests/json_tree.h - two JSON trees compared: one parsed, one written by fh_json_put_tree and parsed again.
 * SPDX-License-Identifier: Apache-2.0
 * Numbers are the same when their texts are; Infinity and NaN are written as null and equal it. */
#ifndef FH_TESTS_JSON_TREE_H
#define FH_TESTS_JSON_TREE_H

#include "base/json.h"

static bool json_same_number(const fh_json_node *a, const fh_json_node *b) {
    bool finite = !fh_str_ends(a->text, "y") && !fh_str_ends(a->text, "N");
    if (!finite) return b->kind == FH_JSON_NULL;
    return b->kind == FH_JSON_NUMBER && fh_str_eq(a->text, b->text);
}

/* b: what a became after writing and reading. */
static inline bool json_same_tree(const fh_json_node *a, const fh_json_node *b) {
    if (a->span != b->span) return false;
    for (uint32_t i = 0; i < a->span; i++) {
        const fh_json_node *x = a + i, *y = b + i;
        if (x->span != y->span || x->n_child != y->n_child) return false;
        if (!fh_str_eq(x->key, y->key)) return false;
        if (x->kind == FH_JSON_NUMBER) {
            if (!json_same_number(x, y)) return false;
        } else if (x->kind != y->kind || !fh_str_eq(x->text, y->text)) {
            return false;
        }
    }
    return true;
}

#endif
