/* text/grammar_key.c - the keys of objects: in any order, none twice, none that would leave no way to end.
 * SPDX-License-Identifier: Apache-2.0
 * An object's frame holds which names it has seen, as a persistent tree of bits, and the other keys it has seen, as a
 * list of texts. Equal texts are one frame, so comparing keys is comparing numbers.
 * A key may go on as long as some key that is still free begins with what was read: one of the names not seen, or a
 * word of the key automaton that is no name and was not seen. Where that automaton has only finitely many words left,
 * they are counted against those that are taken. */
#include "base/num.h"
#include "text/grammar_part.h"

/* ---- the names seen: 64 to a leaf, four parts to a node ---- */
static uint64_t seen_word(const fh_matcher *m, uint32_t ref, uint32_t level, uint32_t w) {
    for (; ref && level > 0; level--) {
        const fh_frame *f = &m->frame[ref];
        const uint32_t part[4] = {f->parent, f->a, f->b, f->c};
        ref = part[w >> (2 * (level - 1)) & 3];
    }
    return ref ? (uint64_t)m->frame[ref].b << 32 | m->frame[ref].a : 0;
}

static uint32_t seen_add(fh_matcher *m, uint32_t ref, uint32_t level, uint32_t name) {
    uint32_t path[16] = {0}, w = name / 64, leaf = ref; /* 2^32 names make 13 levels */
    for (uint32_t l = level; l > 0; l--) {
        path[l] = leaf;
        const fh_frame *f = &m->frame[leaf];
        const uint32_t part[4] = {f->parent, f->a, f->b, f->c};
        leaf = leaf ? part[w >> (2 * (l - 1)) & 3] : 0;
    }
    uint64_t bits = (leaf ? (uint64_t)m->frame[leaf].b << 32 | m->frame[leaf].a : 0) | UINT64_C(1) << (name & 63);
    uint32_t at = fh_matcher_frame(m, FH_FRAME_SEEN, (fh_frame){.a = (uint32_t)bits, .b = (uint32_t)(bits >> 32)});
    for (uint32_t l = 1; l <= level; l++) {
        fh_frame f = path[l] ? m->frame[path[l]] : (fh_frame){0};
        uint32_t *const part[4] = {&f.parent, &f.a, &f.b, &f.c};
        *part[w >> (2 * (l - 1)) & 3] = at;
        f.kind_depth = 0;
        at = fh_matcher_frame(m, FH_FRAME_SEEN_NODE, f);
    }
    return at;
}

typedef struct tally {
    uint32_t count, missing;
} tally;

/* Members so far, and required names not among them. */
static tally take_tally(const fh_matcher *m, const fh_frame *f) {
    const fh_gobj *o = &m->g->obj[f->a];
    tally t = {f->c ? m->frame[f->c].b : 0, 0};
    for (uint32_t w = 0; w < o->n_word; w++) {
        uint64_t seen = seen_word(m, f->b, o->n_level, w);
        t.count += (uint32_t)__builtin_popcountll(seen);
        t.missing += (uint32_t)__builtin_popcountll(o->required[w] & ~seen);
    }
    return t;
}

bool fh_gobj_can_close(const fh_matcher *m, uint32_t frame) {
    const fh_gobj *o = &m->g->obj[m->frame[frame].a];
    tally t = take_tally(m, &m->frame[frame]);
    return t.missing == 0 && t.count >= o->least;
}

/* ---- which keys are free ---- */
static bool name_is_free(const fh_matcher *m, const fh_frame *f, uint32_t lo, uint32_t hi, bool only_required) {
    const fh_gobj *o = &m->g->obj[f->a];
    const uint64_t *may = only_required ? o->required : o->allowed;
    for (uint32_t w = lo / 64; lo < hi; w++, lo = w * 64) {
        uint64_t bits = may[w] & ~seen_word(m, f->b, o->n_level, w) & UINT64_MAX << (lo & 63);
        if (hi < (w + 1) * 64) bits &= (UINT64_C(1) << (hi & 63)) - 1;
        if (bits) return true;
    }
    return false;
}

/* The text of `key` up to len code points; 0 when it is shorter. */
static uint32_t text_prefix(const fh_matcher *m, uint32_t key, uint32_t len) {
    while (key && m->frame[key].b > len) key = m->frame[key].parent;
    return (key ? m->frame[key].b : 0) == len ? key : FH_NONE;
}

/* Keys seen, no names, that begin with text; with lo <= hi, only those where a code point of lo..hi follows. */
static uint64_t seen_below(const fh_matcher *m, const fh_frame *f, uint32_t text, uint32_t lo, uint32_t hi) {
    uint32_t len = text ? m->frame[text].b : 0;
    uint64_t n = 0;
    for (uint32_t k = f->c; k; k = m->frame[k].parent) {
        uint32_t key = m->frame[k].a;
        if (text_prefix(m, key, len) != text) continue;
        if (lo > hi) {
            n++;
            continue;
        }
        uint32_t next = text_prefix(m, key, len + 1);
        if (next != FH_NONE && m->frame[next].a >= lo && m->frame[next].a <= hi) n++;
    }
    return n;
}

bool fh_gkey_is_bound(const fh_matcher *m, const fh_gthread *t) {
    const fh_frame *f = &m->frame[t->frame];
    bool high = fh_gread_in_utf8(t->sub);
    if (t->node != FH_NONE) {
        const fh_gobj *o = &m->g->obj[f->a];
        const fh_gtrie *p = &o->trie[t->node];
        if (!high || (p->n_child && o->edge[p->child + p->n_child - 1].cp >= 0x80)) return true;
    }
    return f->c && seen_below(m, f, t->count, high ? 0x80 : 1, high ? FH_CP_MAX : 0) > 0;
}

static bool is_free(const fh_matcher *m, const fh_gthread *t) {
    const fh_frame *f = &m->frame[t->frame];
    const fh_gobj *o = &m->g->obj[f->a];
    const fh_gtrie *p = t->node == FH_NONE ? NULL : &o->trie[t->node];
    if (p && name_is_free(m, f, p->lo, p->hi, t->space)) return true;
    if (t->space || o->other == FH_KEYS_CLOSED) return false;
    if (o->other == FH_KEYS_ANY) return true;
    if (t->q == FH_AUTO_DEAD) return false;
    if (o->key_count[t->q] == UINT64_MAX) return true;
    return o->key_count[t->q] > (p ? p->n_other : 0) + seen_below(m, f, t->count, 1, 0);
}

/* The same when the next code point is only known to lie in lo..hi. */
static bool is_free_in(const fh_matcher *m, const fh_gthread *t, uint32_t lo, uint32_t hi) {
    const fh_frame *f = &m->frame[t->frame];
    const fh_gobj *o = &m->g->obj[f->a];
    const fh_gtrie *p = t->node == FH_NONE ? NULL : &o->trie[t->node];
    uint64_t taken = 0, words = 0;
    if (lo > hi) return false;
    for (uint32_t i = 0; p && i < p->n_child; i++) {
        const fh_gedge *e = &o->edge[p->child + i];
        if (e->cp < lo || e->cp > hi) continue;
        if (name_is_free(m, f, o->trie[e->to].lo, o->trie[e->to].hi, t->space)) return true;
        taken += o->trie[e->to].n_other;
    }
    if (t->space || o->other == FH_KEYS_CLOSED) return false;
    if (o->other == FH_KEYS_ANY) return true;
    if (t->q == FH_AUTO_DEAD) return false;
    taken += seen_below(m, f, t->count, lo, hi);
    const fh_auto *a = o->key;
    for (uint32_t r = 0; r < a->n_range; r++) {
        uint32_t first = FH_MAX(a->range_lo[r], lo), last = r + 1 < a->n_range ? a->range_lo[r + 1] - 1 : FH_CP_MAX;
        uint32_t to = a->next[(size_t)t->q * a->n_class + a->range_class[r]];
        uint64_t more;
        last = FH_MIN(last, hi);
        if (first > last || to == FH_AUTO_DEAD) continue;
        if (o->key_count[to] == UINT64_MAX || !fh_mul_u64(o->key_count[to], last - first + 1, &more) ||
            !fh_add_u64(words, more, &words))
            return true;
    }
    return words > taken;
}

bool fh_gobj_start_key(const fh_matcher *m, uint32_t frame, fh_gthread *out) {
    const fh_frame *f = &m->frame[frame];
    const fh_gobj *o = &m->g->obj[f->a];
    tally t = take_tally(m, f);
    if (t.count >= o->most) return false;
    *out = (fh_gthread){.frame = frame, .phase = FH_AT_KEY, .node = o->n_name ? 0 : FH_NONE};
    out->q = o->other == FH_KEYS_AUTO ? o->key->start : 0;
    out->space = o->most != FH_ENDLESS && o->most - t.count <= t.missing;
    return is_free(m, out);
}

static uint32_t child(const fh_gobj *o, uint32_t place, uint32_t cp) {
    if (place == FH_NONE) return FH_NONE;
    const fh_gtrie *p = &o->trie[place];
    uint32_t lo = p->child, hi = p->child + p->n_child;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (o->edge[mid].cp < cp) lo = mid + 1;
        else hi = mid;
    }
    return lo < p->child + p->n_child && o->edge[lo].cp == cp ? o->edge[lo].to : FH_NONE;
}

/* May the key end here? *value is the node of its member. */
static bool key_value(const fh_matcher *m, const fh_gthread *t, uint32_t *name, uint32_t *value) {
    const fh_frame *f = &m->frame[t->frame];
    const fh_gobj *o = &m->g->obj[f->a];
    *name = t->node == FH_NONE ? FH_NONE : o->trie[t->node].name;
    if (*name != FH_NONE) {
        *value = o->value[*name];
        return name_is_free(m, f, *name, *name + 1, t->space);
    }
    if (t->space || o->other == FH_KEYS_CLOSED) return false;
    if (o->other == FH_KEYS_AUTO && (t->q == FH_AUTO_DEAD || !o->key->label[t->q])) return false;
    *value = o->other_value[o->other == FH_KEYS_AUTO ? o->key->label[t->q] - 1 : 0];
    for (uint32_t k = f->c; k; k = m->frame[k].parent)
        if (m->frame[k].a == t->count) return false;
    return true;
}

fh_gmove fh_gkey_step(fh_matcher *m, fh_gthread *t, uint8_t b) {
    const fh_gobj *o = &m->g->obj[m->frame[t->frame].a];
    uint32_t name, value;
    fh_gcps c;
    switch (fh_gread_string(&t->sub, b, &c)) {
    case FH_GREAD_BAD: return FH_GMOVE_DEAD;
    case FH_GREAD_QUOTE: return key_value(m, t, &name, &value) ? FH_GMOVE_CLOSE : FH_GMOVE_DEAD;
    case FH_GREAD_PART:
        return is_free_in(m, t, c.lo[0], c.hi[0]) || is_free_in(m, t, c.lo[1], c.hi[1]) ? FH_GMOVE_STAY : FH_GMOVE_DEAD;
    case FH_GREAD_CP: break;
    }
    t->node = child(o, t->node, c.cp);
    if (t->space || o->other == FH_KEYS_CLOSED) {
        t->q = t->count = 0;
        return t->node != FH_NONE && is_free(m, t) ? FH_GMOVE_STAY : FH_GMOVE_DEAD;
    }
    if (o->other == FH_KEYS_AUTO && t->q != FH_AUTO_DEAD) t->q = fh_auto_step(o->key, t->q, c.cp);
    fh_frame text = {.parent = t->count, .a = c.cp, .b = (t->count ? m->frame[t->count].b : 0) + 1};
    t->count = fh_matcher_frame(m, FH_FRAME_TEXT, text);
    return is_free(m, t) ? FH_GMOVE_STAY : FH_GMOVE_DEAD;
}

void fh_gkey_close(fh_matcher *m, const fh_gthread *t) {
    fh_frame f = m->frame[t->frame];
    uint32_t name, value;
    if (!key_value(m, t, &name, &value)) return;
    if (name != FH_NONE) {
        f.b = seen_add(m, f.b, m->g->obj[f.a].n_level, name);
    } else {
        fh_frame k = {.parent = f.c, .a = t->count, .b = (f.c ? m->frame[f.c].b : 0) + 1};
        f.c = fh_matcher_frame(m, FH_FRAME_KEYS, k);
    }
    f.kind_depth >>= 3;
    uint32_t frame = fh_matcher_frame(m, FH_FRAME_OBJ, f);
    fh_matcher_push(m, (fh_gthread){.frame = frame, .node = value, .phase = FH_AT_COLON});
}

/* ---- compiling the tree of names ---- */
typedef struct builder {
    fh_gobj *o;
    fh_arena *to;
    fh_gtrie *trie;
    fh_gedge *edge;
    uint32_t *depth; /* bytes of the names that lead to a place; then, where its work goes on */
    uint32_t n_edge;
} builder;

static uint32_t cp_at(fh_str s, uint32_t at, uint32_t *len) {
    uint8_t b = (uint8_t)s.ptr[at];
    *len = b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    uint32_t cp = *len == 1 ? b : b & (0x7Fu >> *len);
    for (uint32_t i = 1; i < *len && at + i < s.len; i++) cp = cp << 6 | ((uint8_t)s.ptr[at + i] & 0x3Fu);
    return cp;
}

static void build_place(builder *b, uint32_t p) {
    fh_gobj *o = b->o;
    fh_gtrie *t = &b->trie[p];
    uint32_t d = b->depth[p], i = t->lo, len = 1, len2 = 1;
    t->name = FH_NONE;
    if (i < t->hi && o->name[i].len == d) t->name = i++;
    t->child = b->n_edge;
    while (i < t->hi) {
        uint32_t cp = cp_at(o->name[i], d, &len), first = i;
        while (i < t->hi && cp_at(o->name[i], d, &len2) == cp) i++;
        b->edge[b->n_edge++] = (fh_gedge){cp, o->n_trie};
        b->depth[o->n_trie] = d + len;
        b->trie[o->n_trie++] = (fh_gtrie){.lo = first, .hi = i};
        t->n_child++;
    }
    for (uint32_t k = t->lo; k < t->hi && o->other == FH_KEYS_AUTO; k++)
        t->n_other += fh_auto_matches(o->key, o->name[k]);
}

fh_status fh_gobj_finish(fh_gobj *o, const bool *required, fh_arena *to, fh_work *w, fh_err *err) {
    builder b = {.o = o, .to = to};
    uint64_t *allowed, *needed, total = 1;
    for (uint32_t i = 0; i < o->n_name; i++) total += o->name[i].len;
    if (!fh_work_spend(w, total)) return fh_work_check(w, "schema", err);
    o->n_word = (o->n_name + 63) / 64;
    for (o->n_level = 0; (UINT64_C(1) << (2 * o->n_level)) < o->n_word;) o->n_level++;
    b.depth = fh_work_alloc(w, total, sizeof *b.depth);
    b.trie = fh_arena_alloc(to, total, sizeof *b.trie);
    b.edge = fh_arena_alloc(to, total, sizeof *b.edge);
    o->allowed = allowed = fh_arena_alloc(to, o->n_word, sizeof *allowed);
    o->required = needed = fh_arena_alloc(to, o->n_word, sizeof *needed);
    if (!b.depth) return fh_work_check(w, "schema", err);
    if (!b.trie || !b.edge || !allowed || !needed) return fh_arena_fail(to, err);
    for (uint32_t i = 0; i < o->n_name; i++) {
        if (o->value[i] != FH_NONE) allowed[i / 64] |= UINT64_C(1) << (i & 63);
        if (required[i]) needed[i / 64] |= UINT64_C(1) << (i & 63);
    }
    if (o->n_name) {
        o->n_trie = 1;
        b.trie[0] = (fh_gtrie){.lo = 0, .hi = o->n_name};
        for (uint32_t p = 0; p < o->n_trie; p++) build_place(&b, p);
    }
    o->trie = b.trie;
    o->edge = b.edge;
    return FH_OK;
}
