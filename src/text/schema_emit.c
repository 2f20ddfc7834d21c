/* text/schema_emit.c - shapes to the tables of a grammar.
 * SPDX-License-Identifier: Apache-2.0
 * Three passes: make the shape of every expression that can be reached; find those that have a value at all (least
 * fixed point: a value is finite); write those down. What has no value is left out everywhere, so that no text a
 * matcher accepts leads into it. */
#include "base/num.h"
#include "text/regex.h"
#include "text/schema_part.h"

enum { MAX_PATTERNS = 64 };

/* An object with its keys sorted out. */
typedef struct keyed {
    const fh_sobj *o;
    const fh_str *name;   /* [n_name] sorted */
    const fh_expr *value; /* [n_name] */
    const bool *required;
    uint32_t n_name, n_label, other;
    const fh_auto *key;   /* AUTO: labelled 1 .. n_label */
    const fh_expr *label; /* [n_label], or one for ANY */
} keyed;

typedef struct slot {
    fh_expr e;
    const fh_shape *shape;
    keyed *obj; /* [shape->n_obj] */
    bool has_value;
    uint32_t node; /* in the grammar */
} slot;

typedef struct emitter {
    fh_swork *s;
    fh_grammar *g;
    slot *slot;
    uint32_t n_slot, cap_slot, *of_expr, cap_of; /* expression -> slot + 1 */
    const void **copied_from, **copied_to;
    uint32_t n_copied, cap_from, cap_to;
    const fh_auto *any_number;
    uint32_t cap_arr, cap_obj;
} emitter;

static bool enqueue(emitter *m, fh_expr e) {
    fh_work *w = &m->s->w;
    uint32_t *of = fh_work_grow(w, m->of_expr, &m->cap_of, (uint64_t)e + 1, sizeof *of);
    if (!of) return false;
    m->of_expr = of;
    if (of[e]) return true;
    slot *s = fh_work_grow(w, m->slot, &m->cap_slot, (uint64_t)m->n_slot + 1, sizeof *s);
    if (!s) return false;
    m->slot = s;
    s[m->n_slot] = (slot){.e = e, .node = FH_NONE};
    of[e] = ++m->n_slot;
    return true;
}

static slot *slot_of(const emitter *m, fh_expr e) { return &m->slot[m->of_expr[e] - 1]; }

/* ---- pass 1: keys ---- */
static int by_text(const void *a, const void *b) { return fh_str_cmp(*(const fh_str *)a, *(const fh_str *)b); }

static bool collect_names(emitter *m, keyed *k) {
    fh_work *w = &m->s->w;
    uint32_t total = k->o->n_required, n = 0, one = 0, r = 0;
    for (const fh_sgroup *g = k->o->group; g; g = g->next) total += g->n_name;
    fh_str *name = fh_work_alloc(w, total, sizeof *name);
    fh_expr *value = fh_work_alloc(w, total, sizeof *value);
    bool *required = fh_work_alloc(w, total, sizeof *required);
    if (!name || !value || !required || !fh_work_spend(w, total)) return false;
    for (const fh_sgroup *g = k->o->group; g; g = g->next)
        for (uint32_t i = 0; i < g->n_name; i++) name[n++] = g->name[i].name;
    for (uint32_t i = 0; i < k->o->n_required; i++) name[n++] = k->o->required[i];
    if (n) qsort(name, n, sizeof *name, by_text);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || !fh_str_eq(name[i], name[i - 1])) name[one++] = name[i];
    for (uint32_t i = 0; i < one; i++) {
        value[i] = fh_sobj_member(m->s, k->o, name[i]);
        while (r < k->o->n_required && fh_str_cmp(k->o->required[r], name[i]) < 0) r++;
        required[i] = r < k->o->n_required && fh_str_eq(k->o->required[r], name[i]);
        if (!enqueue(m, value[i])) return false;
    }
    k->name = name;
    k->value = value;
    k->required = required;
    k->n_name = one;
    return true;
}

/* What a key is that matches the patterns in `mask`, counted through all groups, and is no name. */
static fh_expr label_expr(emitter *m, const fh_sobj *o, uint64_t mask) {
    fh_expr e = FH_EXPR_TRUE;
    uint32_t bit = 0;
    for (const fh_sgroup *g = o->group; g; g = g->next) {
        bool any = false;
        for (uint32_t i = 0; i < g->n_pattern; i++, bit++) {
            if (!(mask >> bit & 1)) continue;
            e = fh_expr_and(m->s, e, g->pattern[i].e);
            any = true;
        }
        if (!any) e = fh_expr_and(m->s, e, g->rest);
    }
    return e;
}

/* The automaton of keys that are no names, labelled by which patterns they match. */
static fh_status label_keys(emitter *m, keyed *k) {
    fh_work *w = &m->s->w;
    uint64_t *mask = fh_work_alloc(w, 2, sizeof *mask);
    uint32_t n_label = 1, bit = 0, n;
    k->key = k->o->keys ? fh_gstr_auto(m->s, k->o->keys) : fh_auto_any(w);
    if (!mask || !k->key) return fh_schema_check(m->s);
    for (const fh_sgroup *g = k->o->group; g; g = g->next)
        for (uint32_t i = 0; i < g->n_pattern; i++, bit++) {
            fh_intern pairs = {0};
            if (bit >= MAX_PATTERNS)
                return fh_schema_refuse(m->s, FH_ERR_LIMIT, m->s->at, NULL,
                                        "too many patternProperties for one object");
            k->key = fh_auto_combine(w, k->key, g->pattern[i].a, FH_AUTO_PAIR, &pairs);
            uint64_t *next = fh_work_alloc(w, (size_t)pairs.n + 1, sizeof *next);
            if (!k->key || !next) return fh_schema_check(m->s);
            for (uint32_t l = 0; l < pairs.n; l++) {
                const uint32_t *p = fh_intern_seq(&pairs, l, &n);
                next[l + 1] = mask[p[0]] | (p[1] ? UINT64_C(1) << bit : 0);
            }
            mask = next;
            n_label = pairs.n;
        }
    fh_expr *label = fh_work_alloc(w, n_label, sizeof *label);
    if (!label) return fh_schema_check(m->s);
    for (uint32_t l = 0; l < n_label; l++) {
        label[l] = label_expr(m, k->o, mask[l + 1]);
        if (!enqueue(m, label[l])) return fh_schema_check(m->s);
    }
    k->label = label;
    k->n_label = n_label;
    k->other = FH_KEYS_AUTO;
    return FH_OK;
}

static fh_status sort_keys(emitter *m, keyed *k) {
    bool plain = k->o->keys == NULL;
    if (!collect_names(m, k)) return fh_schema_check(m->s);
    for (const fh_sgroup *g = k->o->group; g; g = g->next) plain = plain && g->n_pattern == 0;
    if (!plain) return label_keys(m, k);
    fh_expr *label = fh_work_alloc(&m->s->w, 1, sizeof *label);
    if (!label) return fh_schema_check(m->s);
    *label = label_expr(m, k->o, 0);
    k->label = label;
    k->n_label = 1;
    k->other = *label == FH_EXPR_FALSE ? FH_KEYS_CLOSED : FH_KEYS_ANY;
    return enqueue(m, *label) ? FH_OK : fh_schema_check(m->s);
}

static fh_status expand(emitter *m, uint32_t i) {
    const fh_shape *a;
    FH_TRY(fh_expr_shape(m->s, m->slot[i].e, &a));
    keyed *obj = fh_work_alloc(&m->s->w, a->n_obj, sizeof *obj);
    if (!obj) return fh_schema_check(m->s);
    m->slot[i].shape = a;
    m->slot[i].obj = obj;
    for (uint32_t k = 0; k < a->n_arr; k++) {
        for (uint32_t p = 0; p < a->arr[k].n_prefix; p++)
            if (!enqueue(m, a->arr[k].prefix[p])) return fh_schema_check(m->s);
        if (!enqueue(m, a->arr[k].rest)) return fh_schema_check(m->s);
    }
    for (uint32_t k = 0; k < a->n_obj; k++) {
        obj[k].o = &a->obj[k];
        FH_TRY(sort_keys(m, &obj[k]));
    }
    return fh_schema_check(m->s);
}

/* ---- pass 2: which have a value ---- */

/* An array's bounds once elements without a value are taken into account. */
static void real_bounds(const emitter *m, const fh_sarr *a, uint32_t *n_prefix, uint32_t *most) {
    *n_prefix = FH_MIN(a->n_prefix, a->most);
    *most = a->most;
    for (uint32_t i = 0; i < *n_prefix; i++)
        if (!slot_of(m, a->prefix[i])->has_value) *most = *n_prefix = i;
    if (*most > *n_prefix && !slot_of(m, a->rest)->has_value) *most = *n_prefix;
}

static bool object_has_value(const emitter *m, const keyed *k) {
    uint32_t present = 0, needed = 0;
    bool others = false;
    for (uint32_t i = 0; i < k->n_name; i++) {
        bool has = slot_of(m, k->value[i])->has_value;
        if (!has && k->required[i]) return false;
        present += has;
        needed += k->required[i];
    }
    for (uint32_t l = 0; l < k->n_label; l++) others |= slot_of(m, k->label[l])->has_value;
    if (k->other == FH_KEYS_CLOSED || (k->other == FH_KEYS_AUTO && fh_auto_is_empty(k->key))) others = false;
    return needed <= k->o->most && k->o->least <= k->o->most && (others || k->o->least <= present);
}

static bool has_value(const emitter *m, const slot *s) {
    const fh_shape *a = s->shape;
    if (a->words || a->num_kind != FH_NUM_NONE || a->has_str) return true;
    for (uint32_t i = 0; i < a->n_arr; i++) {
        uint32_t n_prefix, most;
        real_bounds(m, &a->arr[i], &n_prefix, &most);
        if (a->arr[i].least <= most) return true;
    }
    for (uint32_t i = 0; i < a->n_obj; i++)
        if (object_has_value(m, &s->obj[i])) return true;
    return false;
}

static fh_status find_values(emitter *m) {
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = m->n_slot; i-- > 0;) { /* members come after what holds them */
            slot *s = &m->slot[i];
            uint32_t cost = 1 + s->shape->n_arr;
            for (uint32_t k = 0; k < s->shape->n_obj; k++) cost += 1 + s->obj[k].n_name;
            if (s->has_value) continue;
            if (!fh_work_spend(&m->s->w, cost)) return fh_schema_check(m->s);
            s->has_value = has_value(m, s);
            changed |= s->has_value;
        }
    }
    return FH_OK;
}

/* ---- pass 3: tables ---- */
static const void *find_copy(const emitter *m, const void *from) {
    for (uint32_t i = m->n_copied; i-- > 0;)
        if (m->copied_from[i] == from) return m->copied_to[i];
    return NULL;
}

static void remember(emitter *m, const void *from, const void *to) {
    const void **f = fh_work_grow(&m->s->w, m->copied_from, &m->cap_from, (uint64_t)m->n_copied + 1, sizeof *f);
    const void **t = fh_work_grow(&m->s->w, m->copied_to, &m->cap_to, (uint64_t)m->n_copied + 1, sizeof *t);
    if (!f || !t) return;
    m->copied_from = f;
    m->copied_to = t;
    f[m->n_copied] = from;
    t[m->n_copied++] = to;
}

static const fh_auto *own_auto(emitter *m, const fh_auto *a) {
    const fh_auto *c = find_copy(m, a);
    if (c) return c;
    c = fh_auto_copy(&m->g->arena, a);
    if (!c) return NULL;
    m->g->n_state += c->n_state;
    remember(m, a, c);
    return c;
}

static const fh_gstr *own_str(emitter *m, const fh_gstr *str) {
    fh_arena *to = &m->g->arena;
    if (!str->a && str->least == 0 && str->most == FH_ENDLESS) return &m->g->any_string;
    fh_gstr *c = fh_arena_alloc(to, 1, sizeof *c);
    if (!c) return NULL;
    *c = *str;
    if (!str->a) return c;
    if (!(c->a = own_auto(m, str->a))) return NULL;
    if (str->most == FH_ENDLESS) return c;
    c->distance = find_copy(m, (const char *)str->a + 1); /* the automaton's place, plus 1: its distances */
    if (c->distance) return c;
    uint32_t *d = fh_auto_distance(&m->s->w, str->a), *own = fh_arena_alloc(to, str->a->n_state, sizeof *own);
    if (!d || !own) return NULL;
    memcpy(own, d, str->a->n_state * sizeof *own);
    remember(m, (const char *)str->a + 1, own);
    c->distance = own;
    return c;
}

static bool emit_array(emitter *m, const fh_sarr *a, fh_garr *out) {
    uint32_t n_prefix, most;
    real_bounds(m, a, &n_prefix, &most);
    uint32_t *prefix = fh_arena_alloc(&m->g->arena, n_prefix, sizeof *prefix);
    if (!prefix) return false;
    for (uint32_t i = 0; i < n_prefix; i++) prefix[i] = slot_of(m, a->prefix[i])->node;
    *out = (fh_garr){prefix, n_prefix, most > n_prefix ? slot_of(m, a->rest)->node : FH_NONE, a->least, most};
    return true;
}

/* Other keys: labels become places in other_value, those without a value disappear. */
static fh_status emit_keys(emitter *m, const keyed *k, fh_gobj *out) {
    fh_work *w = &m->s->w;
    uint16_t *label = fh_work_alloc(w, (size_t)k->n_label + 1, sizeof *label);
    uint32_t *value = fh_arena_alloc(&m->g->arena, k->n_label, sizeof *value), n = 0;
    if (!label) return fh_schema_check(m->s);
    if (!value) return fh_arena_fail(&m->g->arena, m->s->err);
    for (uint32_t l = 0; l < k->n_label && k->other != FH_KEYS_CLOSED; l++) {
        if (!slot_of(m, k->label[l])->has_value) continue;
        value[n++] = slot_of(m, k->label[l])->node;
        label[l + 1] = (uint16_t)n;
    }
    out->other = n ? k->other : FH_KEYS_CLOSED;
    out->other_value = value;
    out->n_other = n;
    if (out->other != FH_KEYS_AUTO) return FH_OK;
    const fh_auto *a = fh_auto_relabel(w, k->key, label);
    if (!a) return fh_schema_check(m->s);
    if (fh_auto_is_empty(a)) {
        out->other = FH_KEYS_CLOSED;
        return FH_OK;
    }
    uint64_t *count = fh_auto_count(w, a), *own = fh_arena_alloc(&m->g->arena, a->n_state, sizeof *own);
    if (!count) return fh_schema_check(m->s);
    out->key = own_auto(m, a);
    if (!own || !out->key) return fh_arena_fail(&m->g->arena, m->s->err);
    memcpy(own, count, a->n_state * sizeof *own);
    out->key_count = own;
    return FH_OK;
}

static fh_status emit_object(emitter *m, const keyed *k, fh_gobj *out) {
    fh_arena *to = &m->g->arena;
    *out = (fh_gobj){.n_name = k->n_name, .least = k->o->least, .most = k->o->most};
    fh_str *name = fh_arena_alloc(to, k->n_name, sizeof *name);
    uint32_t *value = fh_arena_alloc(to, k->n_name, sizeof *value), allowed = 0;
    if (!name || !value) return fh_arena_fail(to, m->s->err);
    for (uint32_t i = 0; i < k->n_name; i++) {
        const slot *v = slot_of(m, k->value[i]);
        if (!fh_arena_copy(to, k->name[i], &name[i])) return fh_arena_fail(to, m->s->err);
        value[i] = v->has_value ? v->node : FH_NONE;
        allowed += v->has_value;
    }
    out->name = name;
    out->value = value;
    FH_TRY(emit_keys(m, k, out));
    FH_TRY(fh_gobj_finish(out, k->required, to, &m->s->w, m->s->err));
    if (out->other == FH_KEYS_AUTO && out->least > allowed && out->key_count[out->key->start] != UINT64_MAX) {
        uint64_t taken = out->n_name ? out->trie[0].n_other : 0;
        if (allowed + out->key_count[out->key->start] - taken < out->least)
            return fh_schema_refuse(m->s, FH_ERR_UNSUPPORTED, m->s->at, NULL,
                                    "minProperties asks for more keys than the patterns allow");
    }
    return FH_OK;
}

static fh_status emit_slot(emitter *m, slot *s, fh_gnode *n) {
    const fh_shape *a = s->shape;
    fh_grammar *g = m->g;
    n->words = a->words;
    if (a->num_kind != FH_NUM_NONE) n->num = own_auto(m, a->num_kind == FH_NUM_ANY ? m->any_number : a->num);
    if (a->has_str) n->str = own_str(m, &a->str);
    if ((a->num_kind != FH_NUM_NONE && !n->num) || (a->has_str && !n->str)) {
        FH_TRY(fh_schema_check(m->s));
        return fh_arena_fail(&g->arena, m->s->err);
    }
    n->arr = g->n_arr;
    for (uint32_t i = 0; i < a->n_arr; i++) {
        uint32_t n_prefix, most;
        real_bounds(m, &a->arr[i], &n_prefix, &most);
        if (a->arr[i].least > most) continue;
        if (!emit_array(m, &a->arr[i], &g->arr[g->n_arr++])) return fh_arena_fail(&g->arena, m->s->err);
        n->n_arr++;
    }
    n->obj = g->n_obj;
    for (uint32_t i = 0; i < a->n_obj; i++) {
        if (!object_has_value(m, &s->obj[i])) continue;
        FH_TRY(emit_object(m, &s->obj[i], &g->obj[g->n_obj++]));
        n->n_obj++;
    }
    return FH_OK;
}

static fh_status emit_all(emitter *m, fh_expr root) {
    fh_grammar *g = m->g;
    uint64_t n_arr = 0, n_obj = 0;
    for (uint32_t i = 0; i < m->n_slot; i++) {
        slot *s = &m->slot[i];
        if (!s->has_value) continue;
        s->node = g->n_node++;
        n_arr += s->shape->n_arr;
        n_obj += s->shape->n_obj;
    }
    g->node = fh_arena_alloc(&g->arena, g->n_node, sizeof *g->node);
    g->arr = fh_arena_alloc(&g->arena, n_arr, sizeof *g->arr);
    g->obj = fh_arena_alloc(&g->arena, n_obj, sizeof *g->obj);
    if (!g->node || !g->arr || !g->obj) return fh_arena_fail(&g->arena, m->s->err);
    for (uint32_t i = 0; i < m->n_slot; i++)
        if (m->slot[i].has_value) FH_TRY(emit_slot(m, &m->slot[i], &g->node[m->slot[i].node]));
    g->root = slot_of(m, root)->node;
    return FH_OK;
}

fh_status fh_schema_emit(fh_swork *s, fh_expr root, fh_grammar *g) {
    emitter m = {.s = s, .g = g};
    FH_TRY(fh_regex_compile(&s->w, FH_STR("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?"), true, &m.any_number,
                            s->err));
    if (!enqueue(&m, root)) return fh_schema_check(s);
    for (uint32_t i = 0; i < m.n_slot; i++) FH_TRY(expand(&m, i));
    FH_TRY(find_values(&m));
    if (!slot_of(&m, root)->has_value)
        return fh_schema_refuse(s, FH_ERR_FORMAT, s->root, NULL, "no value satisfies it");
    return emit_all(&m, root);
}
