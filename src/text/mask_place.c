/* text/mask_place.c - trees of tokens, and what a place inside a string or rule allows whatever stands around it.
 * SPDX-License-Identifier: Apache-2.0
 * A place is walked once over all tokens with nothing but its own automaton. Tokens that stay inside are its mask;
 * those that read past the closing quote, or past a state where the rule may be left, are kept by what they have left,
 * so that all tokens that go on alike are looked at together. */
#include "base/num.h"
#include "text/mask_part.h"

#define MAX_TAILS 400000u

/* ---- trees ---- */
static int by_text(const void *a, const void *b) {
    const fh_mtail *x = a, *y = b;
    int c = fh_str_cmp(x->text, y->text);
    return c ? c : x->item < y->item ? -1 : x->item > y->item;
}

void fh_mtree_release(fh_mtree *t) {
    fh_free(t->node);
    fh_free(t->item);
    *t = (fh_mtree){0};
}

size_t fh_mtree_bytes(const fh_mtree *t) { return (size_t)t->n_node * sizeof *t->node + (size_t)t->n_item * 4; }

static size_t common(fh_str a, fh_str b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) n++;
    return n;
}

/* Down with each node's own class, then up with what is below. open: room for the way down. */
static void find_held(fh_mtree *t, uint32_t *open, uint32_t *sub, uint32_t *within) {
    uint32_t d = 0;
    open[0] = t->n_node;
    sub[0] = within[0] = 0;
    for (uint32_t i = 1; i < t->n_node; i++) {
        while (i >= open[d]) d--;
        sub[d + 1] = sub[d];
        within[d + 1] = within[d];
        t->node[i].held = fh_class_of_next(&sub[d + 1], &within[d + 1], t->node[i].byte);
        open[++d] = i + t->node[i].span;
    }
    for (uint32_t i = t->n_node; i-- > 0;)
        for (uint32_t c = i + 1; c < i + t->node[i].span; c += t->node[c].span) t->node[i].held |= t->node[c].held;
}

bool fh_mtree_build(fh_mtree *t, fh_mtail *tail, uint32_t n) {
    uint64_t nodes = 1;
    size_t depth = 0;
    fh_str before = {NULL, 0};
    *t = (fh_mtree){0};
    if (n) qsort(tail, n, sizeof *tail, by_text);
    for (uint32_t i = 0; i < n; i++) {
        nodes += tail[i].text.len - common(before, tail[i].text);
        depth = FH_MAX(depth, tail[i].text.len);
        before = tail[i].text;
    }
    if (nodes > UINT32_MAX / 2) return false;
    t->node = fh_alloc_zero(nodes + 1, sizeof *t->node);
    t->item = fh_alloc_zero(n, sizeof *t->item);
    uint32_t *open = fh_alloc_zero(3 * (depth + 2), sizeof *open); /* the node at each depth of the path */
    t->depth = (uint32_t)depth;
    if (!t->node || !t->item || !open) {
        fh_free(open);
        fh_mtree_release(t);
        return false;
    }
    size_t d = 0;
    before.len = 0;
    t->n_node = 1;
    for (uint32_t i = 0; i < n; i++) {
        size_t keep = common(before, tail[i].text);
        for (; d > keep; d--) t->node[open[d]].span = t->n_node - open[d];
        while (d < tail[i].text.len) {
            uint32_t node = t->n_node++;
            t->node[node].byte = (uint8_t)tail[i].text.ptr[d];
            t->node[node].item_at = t->n_item;
            open[++d] = node;
        }
        t->item[t->n_item++] = tail[i].item;
        before = tail[i].text;
    }
    for (; d > 0; d--) t->node[open[d]].span = t->n_node - open[d];
    t->node[0].span = t->n_node;
    t->node[t->n_node].item_at = t->n_item;
    find_held(t, open, open + depth + 2, open + 2 * (depth + 2));
    fh_free(open);
    return true;
}

/* ---- places ---- */
void fh_mplace_release(fh_mplace *p) {
    for (uint32_t i = 0; i < p->n_exit; i++) {
        fh_mtree_release(&p->exit[i].tree);
        fh_free(p->exit[i].id);
        fh_free(p->exit[i].length);
    }
    fh_free(p->exit);
    fh_free(p->bits);
    fh_free(p->id);
    fh_free(p->by_length);
    fh_free(p->long_id);
    fh_free(p->long_length);
    fh_free(p->need_id);
    fh_free(p->need);
    fh_free(p->leave_node);
    fh_free(p->leave_of);
    fh_free(p->leave_q);
    fh_free(p->leave_first);
    p->exit = NULL;
    p->n_exit = 0;
    p->need_id = p->need = p->leave_node = p->leave_q = p->leave_first = NULL;
    p->leave_of = NULL;
    p->bits = p->id = p->by_length = p->long_id = p->long_length = NULL;
}

static bool more_tails(fh_mask *k) {
    uint32_t cap = k->cap_tail ? k->cap_tail * 2 : 1024;
    fh_mtail *tail = fh_realloc(k->tail, cap, sizeof *tail);
    if (tail) k->tail = tail;
    uint32_t *q = fh_realloc(k->tail_q, cap, sizeof *q);
    if (q) k->tail_q = q;
    uint32_t *id = fh_realloc(k->tail_id, cap, sizeof *id);
    if (id) k->tail_id = id;
    uint32_t *length = fh_realloc(k->tail_length, cap, sizeof *length);
    if (length) k->tail_length = length;
    if (!tail || !q || !id || !length) return false;
    k->cap_tail = cap;
    return true;
}

/* All tokens at or below a node leave the place in state q with what follows their first `depth` bytes. */
static bool add_tails(fh_mask *k, fh_mplace *p, uint32_t node, uint32_t depth, uint32_t q, uint32_t length) {
    const fh_mtree *t = &k->v->tree;
    for (uint32_t i = t->node[node].item_at; i < t->node[node + t->node[node].span].item_at; i++) {
        if (k->n_tail >= MAX_TAILS) {
            p->unusable = true;
            return true;
        }
        if (k->n_tail == k->cap_tail && !more_tails(k)) return false;
        fh_str piece = k->v->piece[t->item[i]];
        k->tail[k->n_tail] = (fh_mtail){fh_str_drop(piece, depth), k->n_tail};
        k->tail_q[k->n_tail] = q;
        k->tail_id[k->n_tail] = t->item[i];
        k->tail_length[k->n_tail++] = length;
    }
    return true;
}

/* One byte inside the place: false when it is dead or left there; then *left says which. */
static bool place_step(const fh_mplace *p, fh_gthread *t, uint8_t b, bool *left) {
    const fh_gstr any = {p->of, 0, FH_ENDLESS - 1, NULL}; /* a bound, so that code points are counted */
    uint32_t q = t->q, count = t->count;
    fh_gmove r = fh_gstr_step(&any, t, b);
    if (p->of && t->sub == 0 && r == FH_GMOVE_STAY) t->count = count + 1;
    if (r == FH_GMOVE_CLOSE) t->q = q;
    *left = r == FH_GMOVE_CLOSE;
    return r == FH_GMOVE_STAY;
}

/* Classes any text of which stays; where it matters how far the end is then, only those that lead from q to q. */
static uint32_t loop_of(const fh_mplace *p, uint32_t q) {
    const fh_auto *a = p->of;
    if (p->distance && fh_auto_step(a, q, 'a') != q) return 0;
    return !a ? FH_CLASS_STRING : a->loop ? a->loop[q] & FH_CLASS_STRING : 0;
}

/* All tokens at or below a node stay; `count` code points are read before it. */
static void stay_below(const fh_mask *k, uint32_t node, uint32_t depth, uint32_t count, uint32_t more, uint32_t *stay,
                       uint32_t *n_stay) {
    const fh_mtree *t = &k->v->tree;
    bool ascii = !(t->node[node].held & (FH_CLASS_C2 | FH_CLASS_E2 | FH_CLASS_WIDE));
    for (uint32_t j = t->node[node].item_at; j < t->node[node + t->node[node].span].item_at; j++, ++*n_stay) {
        fh_str s = fh_str_drop(k->v->piece[t->item[j]], depth);
        uint32_t n = (uint32_t)s.len;
        for (size_t i = 0; !ascii && i < s.len; i++) n -= ((uint8_t)s.ptr[i] & 0xC0) == 0x80;
        stay[t->item[j]] = 1 + count + n + more;
    }
}

/* Code points from here to the nearest end, beyond the one that may be incomplete. */
static uint32_t further(const fh_mplace *p, const fh_gthread *before, const fh_gthread *t, uint8_t b) {
    fh_gcps c;
    uint32_t sub = before->sub;
    if (t->sub == 0) return p->distance[t->q];
    (void)fh_gread_string(&sub, b, &c);
    return fh_gstr_part_need(p->of, p->distance, t->q, &c) - 1;
}

/* Walks all tokens; stay[id] gets 1 + the code points of a token that stays inside. */
static bool walk_place(fh_mask *k, fh_mplace *p, uint32_t *stay, uint32_t *n_stay) {
    const fh_mtree *tree = &k->v->tree;
    fh_gthread *at = k->local;
    uint32_t depth = 0, *end = k->end;
    at[0] = (fh_gthread){.q = p->q, .sub = p->sub};
    end[0] = tree->n_node;
    for (uint32_t i = 1; i < tree->n_node;) {
        bool left;
        while (i >= end[depth]) depth--;
        fh_gthread t = at[depth];
        k->stats.steps++;
        if (t.sub == 0 && !(tree->node[i].held & ~loop_of(p, t.q))) {
            stay_below(k, i, depth, t.count, p->distance ? p->distance[t.q] : 0, stay, n_stay);
            i += tree->node[i].span;
            continue;
        }
        if (!place_step(p, &t, tree->node[i].byte, &left)) {
            if (left && !add_tails(k, p, i, depth + 1, p->key ? t.q : 0, t.count)) return false;
            i += tree->node[i].span;
            continue;
        }
        uint32_t more = p->distance ? further(p, &at[depth], &t, tree->node[i].byte) : 0;
        for (uint32_t j = tree->node[i].item_at; j < tree->node[i + 1].item_at; j++, ++*n_stay)
            stay[tree->item[j]] = 1 + t.count + (t.sub != 0) + more;
        if (p->unusable) return true;
        at[++depth] = t;
        end[depth] = i + tree->node[i].span;
        i++;
    }
    return true;
}

/* Groups the collected tails by the state in which they leave. */
static bool make_exits(fh_mask *k, fh_mplace *p) {
    uint32_t n_q = 0, *of = fh_alloc_zero((size_t)k->n_tail + 1, sizeof *of);
    fh_mtail *some = fh_alloc_zero((size_t)k->n_tail + 1, sizeof *some);
    bool ok = of && some;
    for (uint32_t i = 0; ok && i < k->n_tail; i++) { /* the states, each once, in order of appearance */
        uint32_t j = 0;
        while (j < n_q && of[j] != k->tail_q[i]) j++;
        if (j == n_q) of[n_q++] = k->tail_q[i];
        if (n_q > 512) {
            p->unusable = true;
            break;
        }
    }
    if (ok && !p->unusable && n_q) ok = (p->exit = fh_alloc_zero(n_q, sizeof *p->exit)) != NULL;
    for (uint32_t j = 0; ok && !p->unusable && j < n_q; j++) {
        fh_mexit *x = &p->exit[p->n_exit++];
        uint32_t n = 0;
        x->q = of[j];
        for (uint32_t i = 0; i < k->n_tail; i++)
            if (k->tail_q[i] == x->q) some[n++] = k->tail[i];
        ok = fh_mtree_build(&x->tree, some, n);
        x->id = fh_alloc_zero(n, sizeof *x->id);
        x->length = fh_alloc_zero(n, sizeof *x->length);
        ok = ok && x->id && x->length;
        for (uint32_t i = 0; ok && i < n; i++) {
            x->id[i] = k->tail_id[x->tree.item[i]];
            x->length[i] = k->tail_length[x->tree.item[i]];
        }
        p->bytes += fh_mtree_bytes(&x->tree) + (size_t)n * 8;
    }
    fh_free(of);
    fh_free(some);
    return ok;
}

/* Masks by length, for strings with a longest length. */
static bool make_lengths(const fh_mask *k, fh_mplace *p, const uint32_t *stay) {
    uint32_t words = k->v->words, n = 0;
    p->by_length = fh_alloc_zero((size_t)FH_MASK_LENGTHS * words, sizeof *p->by_length);
    for (uint32_t id = 0; id < k->v->n; id++) n += stay[id] > FH_MASK_LENGTHS;
    p->long_id = fh_alloc_zero(n, sizeof *p->long_id);
    p->long_length = fh_alloc_zero(n, sizeof *p->long_length);
    if (!p->by_length || !p->long_id || !p->long_length) return false;
    for (uint32_t id = 0; id < k->v->n; id++) {
        if (!stay[id]) continue;
        uint32_t length = stay[id] - 1;
        p->most_length = FH_MAX(p->most_length, length);
        for (uint32_t l = length; l < FH_MASK_LENGTHS; l++) fh_bit_set(p->by_length + (size_t)l * words, id);
        if (length < FH_MASK_LENGTHS) continue;
        p->long_id[p->n_long] = id;
        p->long_length[p->n_long++] = length;
    }
    p->bytes += (size_t)FH_MASK_LENGTHS * words * 4;
    return true;
}

static int by_need(const void *a, const void *b) {
    const uint32_t *x = a, *y = b;
    return x[1] > y[1] ? -1 : x[1] < y[1] ? 1 : x[0] < y[0] ? -1 : x[0] > y[0];
}

/* Tokens by what they need, for strings with an automaton and a longest length. */
static bool make_needs(const fh_mask *k, fh_mplace *p, const uint32_t *stay, uint32_t n_stay) {
    uint32_t(*pair)[2] = fh_alloc_zero(n_stay, sizeof *pair), n = 0;
    p->need_id = fh_alloc_zero(n_stay, sizeof *p->need_id);
    p->need = fh_alloc_zero(n_stay, sizeof *p->need);
    bool ok = pair && p->need_id && p->need;
    for (uint32_t id = 0; ok && id < k->v->n; id++) {
        if (!stay[id]) continue;
        pair[n][0] = id;
        pair[n++][1] = stay[id] - 1;
    }
    if (ok && n) qsort(pair, n, sizeof *pair, by_need);
    for (uint32_t i = 0; ok && i < n; i++) {
        p->need_id[i] = pair[i][0];
        p->need[i] = pair[i][1];
    }
    p->n_need = ok ? n : 0;
    p->bytes += (size_t)n * 8;
    fh_free(pair);
    return ok;
}

bool fh_mplace_make(fh_mask *k, fh_mplace *p) {
    if (p->rule != FH_NONE) return fh_mrule_place(k, p);
    uint32_t n_stay = 0, *stay = fh_alloc_zero((size_t)k->v->n + 1, sizeof *stay);
    k->n_tail = 0;
    p->bytes = sizeof *p;
    bool ok = stay && walk_place(k, p, stay, &n_stay);
    if (ok && !p->unusable) ok = make_exits(k, p);
    if (ok && !p->unusable) {
        bool few = n_stay < k->v->words / 2;
        uint32_t *bits = fh_alloc_zero(few ? n_stay : k->v->words, sizeof *bits);
        ok = bits != NULL;
        for (uint32_t id = 0; ok && id < k->v->n; id++) {
            if (!stay[id]) continue;
            p->most_length = FH_MAX(p->most_length, stay[id] - 1);
            if (few) bits[p->n_id++] = id;
            else fh_bit_set(bits, id);
        }
        if (few) p->id = bits;
        else p->bits = bits;
        p->bytes += (size_t)(few ? n_stay : k->v->words) * 4;
    }
    if (ok && !p->of && p->sub == 0) ok = make_lengths(k, p, stay);
    if (ok && !p->unusable && p->distance) ok = make_needs(k, p, stay, n_stay);
    fh_free(stay);
    if (!ok) fh_mplace_release(p);
    return ok;
}
