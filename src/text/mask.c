/* text/mask.c - masks: positions seen before, places, and what follows them.
 * SPDX-License-Identifier: Apache-2.0
 * A position's mask is the union over its threads. Grammars of rules alone are mask_rule.c's. A thread inside a string
 * or key takes the mask of its place and then follows, with the matcher itself, only what leaves the place. A key that
 * may still become a name, or one seen before, begins with the mask of a key that cannot, and is walked with the
 * matcher as long as the two differ. All other threads are walked with the matcher over all tokens, most of which die
 * at their first byte. A key's text is left out when positions are compared. That is right except for tokens that end a
 * key and begin another: those are few, known from the start (`special`), and always asked of the matcher. */
#include "text/mask.h"

#include "base/num.h"
#include "text/mask_part.h"

#define MAX_TOKENS (1u << 22)
#define MAX_PIECE 65535u
#define BUDGET UINT64_C(20000000) /* places of the tree for one mask */
#define CACHE_BYTES ((size_t)96 << 20)
#define NO_CODE_POINT 0x110000u

/* ---- vocabulary ---- */

/* Could these bytes end a key, hold its value, and begin the next key? */
static bool is_special(fh_str s) {
    static const char order[] = "\":,\"";
    size_t found = 0;
    for (size_t at = 0; at < s.len && found < 4; at++) found += s.ptr[at] == order[found];
    return found == 4;
}

static void note_classes(fh_mask_vocab *v, uint32_t id) {
    uint32_t sub = 0, within = 0, behind = 0;
    for (size_t i = 0; i < v->piece[id].len; i++) {
        uint32_t set = fh_class_of_next(&sub, &within, (uint8_t)v->piece[id].ptr[i]);
        if (i > 0) behind |= set;
        else fh_bit_set(v->first + (size_t)v->words * (uint32_t)__builtin_ctz(set), id);
    }
    for (; behind; behind &= behind - 1) fh_bit_set(v->behind + (size_t)v->words * (uint32_t)__builtin_ctz(behind), id);
}

static bool fill_vocab(fh_mask_vocab *v, const fh_str *piece, const uint8_t *kind, size_t n, fh_mtail *tail) {
    uint32_t n_tail = 0;
    size_t at = 0;
    for (uint32_t id = 0; id < n; id++) {
        v->piece[id] = (fh_str){v->text + at, 0};
        if (kind[id] == FH_MASK_END) v->end[v->n_end++] = id;
        if (kind[id] != FH_MASK_TEXT || !piece[id].len) continue;
        v->piece[id].len = piece[id].len;
        memcpy(v->text + at, piece[id].ptr, piece[id].len);
        at += piece[id].len;
        tail[n_tail++] = (fh_mtail){v->piece[id], id};
        if (is_special(piece[id])) v->special[v->n_special++] = id;
        note_classes(v, id);
    }
    return fh_mtree_build(&v->tree, tail, n_tail);
}

static bool make_any(fh_mask_vocab *v) {
    fh_mask k = {.v = v};
    v->any = (fh_mplace){.rule = FH_NONE};
    k.local = fh_alloc_zero((size_t)v->tree.depth + 2, sizeof *k.local);
    k.end = fh_alloc_zero((size_t)v->tree.depth + 2, sizeof *k.end);
    bool ok = k.local && k.end && fh_mplace_make(&k, &v->any);
    fh_free(k.local);
    fh_free(k.end);
    fh_free(k.tail);
    fh_free(k.tail_q);
    fh_free(k.tail_id);
    fh_free(k.tail_length);
    return ok;
}

fh_status fh_mask_vocab_new(fh_mask_vocab **out, const fh_str *piece, const uint8_t *kind, size_t n, fh_err *err) {
    size_t bytes = 0;
    if (n > MAX_TOKENS) return fh_fail(err, FH_ERR_LIMIT, "vocabulary: %zu tokens, at most %u", n, MAX_TOKENS);
    for (size_t i = 0; i < n; i++) {
        if (piece[i].len > MAX_PIECE)
            return fh_fail(err, FH_ERR_LIMIT, "vocabulary: token %zu has %zu bytes", i, piece[i].len);
        bytes += piece[i].len;
    }
    fh_mask_vocab *v = fh_alloc_zero(1, sizeof *v);
    fh_mtail *tail = fh_alloc_zero(n, sizeof *tail);
    if (!v || !tail) {
        fh_free(v);
        fh_free(tail);
        return fh_fail_memory(err, n * sizeof *tail);
    }
    v->n = (uint32_t)n;
    v->words = (uint32_t)((n + 31) / 32);
    v->piece = fh_alloc_zero(n, sizeof *v->piece);
    v->text = fh_alloc(bytes, 1);
    v->end = fh_alloc_zero(n, sizeof *v->end);
    v->special = fh_alloc_zero(n, sizeof *v->special);
    v->first = fh_alloc_zero(v->words, 32 * sizeof *v->first);
    v->behind = fh_alloc_zero(v->words, 32 * sizeof *v->behind);
    bool ok = v->first && v->behind && v->piece && v->text && v->end && v->special &&
              fill_vocab(v, piece, kind, n, tail) && make_any(v);
    fh_free(tail);
    if (!ok) {
        fh_mask_vocab_free(v);
        return fh_fail_memory(err, bytes);
    }
    v->bytes = bytes + n * (sizeof *v->piece + 16) + fh_mtree_bytes(&v->tree) + v->any.bytes;
    *out = v;
    return FH_OK;
}

void fh_mask_vocab_free(fh_mask_vocab *v) {
    if (!v) return;
    fh_mplace_release(&v->any);
    fh_mtree_release(&v->tree);
    fh_free(v->piece);
    fh_free(v->text);
    fh_free(v->end);
    fh_free(v->special);
    fh_free(v->first);
    fh_free(v->behind);
    fh_free(v);
}

size_t fh_mask_vocab_words(const fh_mask_vocab *v) { return v->words; }
size_t fh_mask_vocab_bytes(const fh_mask_vocab *v) { return v->bytes; }

/* ---- maskers ---- */
fh_status fh_mask_new(fh_mask **out, const fh_mask_vocab *v, const fh_grammar *g, fh_err *err) {
    fh_mask *k = fh_alloc_zero(1, sizeof *k);
    if (!k) return fh_fail_memory(err, sizeof *k);
    k->v = v;
    k->g = g;
    k->out = fh_alloc_zero(v->words, sizeof *k->out);
    k->level = fh_alloc_zero((size_t)v->tree.depth + 2, sizeof *k->level);
    k->local = fh_alloc_zero((size_t)v->tree.depth + 2, sizeof *k->local);
    k->end = fh_alloc_zero((size_t)v->tree.depth + 2, sizeof *k->end);
    if (!k->out || !k->level || !k->local || !k->end) {
        fh_mask_free(k);
        return fh_fail_memory(err, v->words * sizeof *k->out);
    }
    *out = k;
    return FH_OK;
}

static void drop_places(fh_mask *k) {
    for (size_t i = 0; i < FH_MASK_BUCKETS; i++) {
        for (fh_mplace *p = k->bucket[i], *next; p; p = next) {
            next = p->next;
            fh_mplace_release(p);
            fh_free(p);
        }
        k->bucket[i] = NULL;
    }
    k->stats.places = 0;
    k->stats.bytes = 0;
}

void fh_mask_free(fh_mask *k) {
    if (!k) return;
    drop_places(k);
    fh_mrule_release(&k->rule);
    for (size_t i = 0; i < FH_MASK_SEEN; i++) fh_free(k->seen[i].bits);
    fh_free(k->out);
    fh_free(k->level);
    fh_free(k->local);
    fh_free(k->end);
    fh_free(k->tail);
    fh_free(k->tail_q);
    fh_free(k->tail_id);
    fh_free(k->tail_length);
    fh_free(k);
}

fh_mask_stats fh_mask_get_stats(const fh_mask *k) { return k->stats; }

bool fh_mask_place(fh_mask *k, fh_mplace want, const fh_mplace **out) {
    uint64_t h = ((uint64_t)(uintptr_t)want.of >> 4) * 31 + want.rule;
    h = (h * 31 + want.q) * 31 + want.sub * 2 + want.key;
    h *= UINT64_C(0x9E3779B97F4A7C15);
    fh_mplace **b = &k->bucket[h >> 54];
    for (fh_mplace *p = *b; p; p = p->next)
        if (p->of == want.of && p->rule == want.rule && p->q == want.q && p->sub == want.sub && p->key == want.key &&
            p->distance == want.distance) {
            *out = p;
            return true;
        }
    if (k->stats.bytes > CACHE_BYTES) drop_places(k);
    fh_mplace *p = fh_alloc(1, sizeof *p);
    if (!p) return false;
    *p = want;
    if (!fh_mplace_make(k, p)) {
        fh_free(p);
        return false;
    }
    p->next = *b;
    *b = p;
    k->stats.places++;
    k->stats.bytes += p->bytes;
    *out = p;
    return true;
}

/* ---- walking with the matcher ---- */
typedef struct walk {
    fh_mask *k;
    fh_matcher *m;
    uint32_t *bits;
} walk;

static bool spend(walk *w, uint64_t n) {
    if (w->k->budget < n) {
        w->m->status = FH_ERR_LIMIT;
        return false;
    }
    w->k->budget -= n;
    w->k->stats.steps++;
    return true;
}

static void clear_items(walk *w, uint32_t node) {
    const fh_mtree *t = &w->k->v->tree;
    for (uint32_t i = t->node[node].item_at; i < t->node[node + t->node[node].span].item_at; i++)
        fh_bit_clear(w->bits, t->item[i]);
}

/* Classes that a thread, inside a rule or alone inside a string or key, takes without end, whatever becomes of it. */
static uint32_t loop_of(const fh_matcher *m, uint32_t at, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = at; i < at + n; i++) {
        const fh_gthread *t = &m->t[i];
        uint32_t loop = 0;
        if (t->sub) continue;
        if (t->phase == FH_AT_RULE) loop = m->g->rule[t->node].r.a->loop[t->q];
        if (t->phase == FH_AT_KEY && n == 1 && m->g->obj[m->frame[t->frame].a].other == FH_KEYS_ANY && !t->space &&
            !fh_gkey_is_bound(m, t))
            loop = FH_CLASS_STRING;
        const fh_gstr *s = t->phase == FH_AT_STRING ? m->g->node[t->node].str : NULL;
        if (s && s->most == FH_ENDLESS) loop = (s->a ? s->a->loop[t->q] : ~0u) & FH_CLASS_STRING;
        if (__builtin_popcount(loop) > __builtin_popcount(best)) best = loop;
    }
    return best;
}

static void take_items(walk *w, const fh_mtree *t, uint32_t from, uint32_t end, const fh_mexit *x, uint32_t least,
                       uint32_t most) {
    for (uint32_t j = t->node[from].item_at; j < t->node[end].item_at; j++) {
        if (!x) fh_bit_set(w->bits, t->item[j]);
        else if (x->length[j] >= least && x->length[j] <= most) fh_bit_set(w->bits, x->id[j]);
    }
}

/* Sets the bits of tokens at or below the children of `top` that the set at..at + n accepts. x: NULL, or the tree is an
 * exit's, whose items are looked up there and have to have from least to most code points. */
static bool walk_tree(walk *w, const fh_mtree *t, uint32_t top, uint32_t at, uint32_t n, const fh_mexit *x,
                      uint32_t least, uint32_t most) {
    fh_matcher *m = w->m;
    fh_mlevel *level = w->k->level;
    uint32_t depth = 0, first_t = m->n_t, first_frame = m->n_frame;
    level[0] = (fh_mlevel){at, n, m->n_frame, top + t->node[top].span, loop_of(m, at, n)};
    for (uint32_t i = top + 1; i < top + t->node[top].span;) {
        while (i >= level[depth].end) depth--;
        if (!(t->node[i].held & ~level[depth].loop)) {
            take_items(w, t, i, i + t->node[i].span, x, least, most);
            i += t->node[i].span;
            continue;
        }
        /* Back to what stood at this level: sets and frames of subtrees that are done. */
        m->n_t = depth ? level[depth].at + level[depth].n : first_t;
        fh_matcher_cut_frames(m, level[depth].n_frame);
        uint32_t set = m->n_t;
        if (!spend(w, level[depth].n) || !fh_matcher_step(m, level[depth].at, level[depth].n, t->node[i].byte))
            return false;
        if (m->n_t == set) {
            i += t->node[i].span;
            continue;
        }
        take_items(w, t, i, i + 1, x, least, most);
        level[++depth] = (fh_mlevel){set, m->n_t - set, m->n_frame, i + t->node[i].span, loop_of(m, set, m->n_t - set)};
        i++;
    }
    m->n_t = first_t;
    fh_matcher_cut_frames(m, first_frame);
    return true;
}

/* What leaves a place: the set that stands behind it was pushed at `at`; then what is left of the tokens. */
static bool walk_exit(walk *w, const fh_mexit *x, uint32_t at, uint32_t least, uint32_t most) {
    uint32_t n = w->m->n_t - at;
    if (n == 0 || w->m->status != FH_OK) return w->m->status == FH_OK;
    for (uint32_t j = x->tree.node[0].item_at; j < x->tree.node[1].item_at; j++)
        if (x->length[j] >= least && x->length[j] <= most) fh_bit_set(w->bits, x->id[j]);
    return walk_tree(w, &x->tree, 0, at, n, x, least, most);
}

static void add_stay(walk *w, const fh_mplace *p) {
    for (uint32_t i = 0; p->bits && i < w->k->v->words; i++) w->bits[i] |= p->bits[i];
    for (uint32_t i = 0; p->id && i < p->n_id; i++) fh_bit_set(w->bits, p->id[i]);
}

/* ---- one thread ---- */
static bool all_tokens(walk *w, const fh_gthread *t) {
    uint32_t at = w->m->n_t;
    fh_matcher_push(w->m, *t);
    if (w->m->status != FH_OK || !walk_tree(w, &w->k->v->tree, 0, at, 1, NULL, 0, 0)) return false;
    w->m->n_t = at;
    return true;
}

/* Tokens that stay in any string and add at most `most` code points. */
static void add_short(walk *w, const fh_mplace *p, uint32_t most) {
    uint32_t words = w->k->v->words, row = FH_MIN(most, FH_MASK_LENGTHS - 1);
    const uint32_t *from = p->by_length + (size_t)row * words;
    for (uint32_t i = 0; i < words; i++) w->bits[i] |= from[i];
    for (uint32_t i = 0; most >= FH_MASK_LENGTHS && i < p->n_long; i++)
        if (p->long_length[i] <= most) fh_bit_set(w->bits, p->long_id[i]);
}

/* Tokens that stay and can still be finished with `most` more code points. */
static void add_needed(walk *w, const fh_mplace *p, uint32_t most, uint32_t *scratch) {
    uint32_t far = 0, words = w->k->v->words;
    while (far < p->n_need && p->need[far] > most) far++;
    if (far == 0) {
        add_stay(w, p);
    } else if (p->bits && far < p->n_need / 2) {
        memcpy(scratch, p->bits, (size_t)words * sizeof *scratch);
        for (uint32_t i = 0; i < far; i++) fh_bit_clear(scratch, p->need_id[i]);
        for (uint32_t i = 0; i < words; i++) w->bits[i] |= scratch[i];
    } else {
        for (uint32_t i = far; i < p->n_need; i++) fh_bit_set(w->bits, p->need_id[i]);
    }
}

static bool string_thread(walk *w, const fh_gthread *t, uint32_t *scratch) {
    const fh_gstr *s = w->m->g->node[t->node].str;
    const fh_mplace *p = &w->k->v->any;
    uint32_t most = s->most == FH_ENDLESS ? FH_ENDLESS : s->most - t->count;
    uint32_t least = t->count >= s->least ? 0 : s->least - t->count;
    if (s->a || t->sub) {
        const fh_mplace want = {
            .of = s->a, .rule = FH_NONE, .q = s->a ? t->q : 0, .sub = t->sub, .distance = s->distance};
        if (!fh_mask_place(w->k, want, &p)) return false;
        if (p->unusable || (!s->a && most < p->most_length)) return all_tokens(w, t);
        if (s->distance) add_needed(w, p, most, scratch);
        else add_stay(w, p);
    } else if (most >= p->most_length) {
        add_stay(w, p);
    } else {
        add_short(w, p, most);
    }
    for (uint32_t i = 0; i < p->n_exit; i++) {
        uint32_t at = w->m->n_t, n_frame = w->m->n_frame;
        fh_gjson_after_value(w->m, t->frame);
        if (!walk_exit(w, &p->exit[i], at, least, most)) return false;
        w->m->n_t = at;
        fh_matcher_cut_frames(w->m, n_frame);
    }
    return true;
}

/* Corrects the mask of an unbound key where this one differs from it. */
static bool walk_bound(walk *w, const fh_gthread *t) {
    fh_matcher *m = w->m;
    const fh_mtree *tree = &w->k->v->tree;
    fh_gthread *at = w->k->local;
    uint32_t *end = w->k->end, depth = 0, first_t = m->n_t, first_frame = m->n_frame;
    at[0] = *t;
    end[0] = tree->n_node;
    for (uint32_t i = 1; i < tree->n_node;) {
        while (i >= end[depth]) depth--;
        m->n_t = first_t;
        fh_matcher_push(m, at[depth]);
        if (!spend(w, 1) || m->status != FH_OK || !fh_matcher_step(m, first_t, 1, tree->node[i].byte)) return false;
        uint32_t n = m->n_t - first_t - 1;
        const fh_gthread in = m->t[m->n_t - 1];
        if (n == 1 && in.phase == FH_AT_KEY && in.frame == t->frame) {
            if (!fh_gkey_is_bound(m, &in)) { /* like the other from here on */
                i += tree->node[i].span;
                continue;
            }
            for (uint32_t j = tree->node[i].item_at; j < tree->node[i + 1].item_at; j++)
                fh_bit_set(w->bits, tree->item[j]);
            at[++depth] = in;
            end[depth] = i + tree->node[i].span;
            i++;
            continue;
        }
        clear_items(w, i);
        if (n > 0) {
            for (uint32_t j = tree->node[i].item_at; j < tree->node[i + 1].item_at; j++)
                fh_bit_set(w->bits, tree->item[j]);
            if (!walk_tree(w, tree, i, first_t + 1, n, NULL, 0, 0)) return false;
        }
        i += tree->node[i].span;
    }
    m->n_t = first_t;
    fh_matcher_cut_frames(m, first_frame);
    return true;
}

static bool key_thread(walk *w, const fh_gthread *t, uint32_t *scratch) {
    fh_matcher *m = w->m;
    const fh_gobj *o = &m->g->obj[m->frame[t->frame].a];
    const fh_mplace *p = &w->k->v->any;
    bool by_auto = o->other == FH_KEYS_AUTO;
    if (t->space || o->other == FH_KEYS_CLOSED || (by_auto && t->q == FH_AUTO_DEAD)) return all_tokens(w, t);
    if ((by_auto || t->sub) &&
        !fh_mask_place(
            w->k,
            (fh_mplace){
                .of = by_auto ? o->key : NULL, .rule = FH_NONE, .q = by_auto ? t->q : 0, .sub = t->sub, .key = true},
            &p))
        return false;
    if (p->unusable) return all_tokens(w, t);
    walk own = *w; /* corrections clear bits: not those of other threads */
    own.bits = scratch;
    memset(scratch, 0, (size_t)w->k->v->words * sizeof *scratch);
    add_stay(&own, p);
    for (uint32_t i = 0; i < p->n_exit; i++) {
        uint32_t at = m->n_t, n_frame = m->n_frame;
        fh_gthread unbound = *t;
        /* A text that no key has stands for all that are not bound. */
        unbound.count = fh_matcher_frame(m, FH_FRAME_TEXT, (fh_frame){.parent = t->count, .a = NO_CODE_POINT, .b = 1});
        unbound.node = FH_NONE;
        unbound.q = by_auto ? p->exit[i].q : 0;
        fh_gkey_close(m, &unbound);
        if (!walk_exit(&own, &p->exit[i], at, 0, FH_ENDLESS)) return false;
        m->n_t = at;
        fh_matcher_cut_frames(m, n_frame);
    }
    if (fh_gkey_is_bound(m, t) && !walk_bound(&own, t)) return false;
    for (uint32_t i = 0; i < w->k->v->words; i++) w->bits[i] |= scratch[i];
    return true;
}

/* ---- a position ---- */
static bool one_thread(walk *w, const fh_gthread *t, uint32_t *scratch) {
    switch (t->phase) {
    case FH_AT_END: return true;
    case FH_AT_STRING: return string_thread(w, t, scratch);
    case FH_AT_KEY: return key_thread(w, t, scratch);
    default: return all_tokens(w, t);
    }
}

/* Positions are compared without the text of a key that is not bound. */
static fh_gthread normal(const fh_matcher *m, fh_gthread t) {
    if (t.phase == FH_AT_KEY && !fh_gkey_is_bound(m, &t)) t.count = 0;
    return t;
}

static fh_mseen *find_seen(fh_mask *k, const fh_matcher *m, const fh_gthread *t, uint32_t n, bool *hit) {
    fh_mseen *oldest = &k->seen[0];
    *hit = false;
    for (size_t i = 0; i < FH_MASK_SEEN; i++) {
        fh_mseen *s = &k->seen[i];
        if (s->n == n && s->matcher == m->id && memcmp(s->t, t, n * sizeof *t) == 0) {
            *hit = true;
            return s;
        }
        if (s->used < oldest->used) oldest = s;
    }
    return oldest;
}

/* Tokens that may touch two keys: their answer depends on the key's text, so the matcher gives it. */
static bool ask_special(walk *w, uint32_t at, uint32_t n) {
    fh_matcher *m = w->m;
    for (uint32_t i = 0; i < w->k->v->n_special; i++) {
        uint32_t id = w->k->v->special[i], first_t = m->n_t, n_frame = m->n_frame, from = at, count = n;
        fh_str piece = w->k->v->piece[id];
        for (size_t b = 0; b < piece.len && count; b++) {
            uint32_t set = m->n_t;
            if (!fh_matcher_step(m, from, count, (uint8_t)piece.ptr[b])) return false;
            from = set;
            count = m->n_t - set;
        }
        if (count) fh_bit_set(w->bits, id);
        else fh_bit_clear(w->bits, id);
        m->n_t = first_t;
        fh_matcher_cut_frames(m, n_frame);
    }
    return true;
}

static bool compute(walk *w, uint32_t *scratch) {
    fh_matcher *m = w->m;
    fh_gthread t[4] = {0};
    bool hit = false, keyed = false;
    fh_mseen *seen = NULL;
    for (uint32_t i = 0; i < m->n; i++) keyed |= m->t[m->at + i].phase == FH_AT_KEY;
    if (m->n <= FH_COUNT(t)) {
        for (uint32_t i = 0; i < m->n; i++) t[i] = normal(m, m->t[m->at + i]);
        seen = find_seen(w->k, m, t, m->n, &hit);
    }
    if (hit) {
        memcpy(w->bits, seen->bits, (size_t)w->k->v->words * sizeof *w->bits);
        w->k->stats.same_position++;
    } else {
        memset(w->bits, 0, (size_t)w->k->v->words * sizeof *w->bits);
        for (uint32_t i = 0; i < m->n; i++) {
            fh_gthread one = m->t[m->at + i];
            if (!one_thread(w, &one, scratch)) return false;
        }
    }
    if (seen && !hit) {
        if (!seen->bits) seen->bits = fh_alloc(w->k->v->words, sizeof *seen->bits);
        seen->n = 0;
        if (seen->bits) {
            memcpy(seen->t, t, sizeof t);
            seen->n = m->n;
            seen->matcher = m->id;
            memcpy(seen->bits, w->bits, (size_t)w->k->v->words * sizeof *w->bits);
        }
    }
    if (seen) seen->used = w->k->stats.computed;
    return !keyed || ask_special(w, m->at, m->n);
}

fh_status fh_mask_compute(fh_mask *k, fh_matcher *m, const uint32_t **bits, fh_err *err) {
    FH_REQUIRE(m->g == k->g && m->status == FH_OK);
    uint32_t n_t = m->n_t, n_frame = m->n_frame;
    fh_status st = FH_OK;
    uint32_t *scratch = fh_alloc(k->v->words, sizeof *scratch);
    walk w = {k, m, k->out};
    k->budget = BUDGET;
    k->stats.computed++;
    if (!scratch) return fh_fail_memory(err, k->v->words * sizeof *scratch);
    if (k->g->node ? !compute(&w, scratch) : !fh_mrule_compute(k, m)) {
        if (m->status == FH_OK) m->status = k->rule.m && k->rule.m->status != FH_OK ? k->rule.m->status : FH_ERR_MEMORY;
        if (k->rule.m) k->rule.m->status = FH_OK;
        st = fh_matcher_fail(m, err);
        m->status = FH_OK;
    }
    m->n_t = n_t;
    fh_matcher_cut_frames(m, n_frame);
    fh_free(scratch);
    if (st != FH_OK) return st;
    if (fh_matcher_can_end(m))
        for (uint32_t i = 0; i < k->v->n_end; i++) fh_bit_set(k->out, k->v->end[i]);
    *bits = k->out;
    return FH_OK;
}
