/* text/jinja_value.c - memory of a run, its failures and budgets; strings, lists and dicts being made.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: what a run allocates, through its arena. Refuses: more than its budgets.
 * Invariants: (1) after a failure r->status says so and nothing is made any more; (2) a dict keeps the order in
 * which its keys came; (3) strings are never written to again, but one that ends where free room begins may be
 * the front of a longer one: adding piece after piece to a text costs its length, not its square. */
#include "text/jinja_lib.h"

#include <stdarg.h>

#include "base/clock.h"
#include "base/num.h"
#include "text/jinja_part.h"

/* ---- failing and paying ---- */

static bool fail_text(fh_jrun *r, fh_status s, const char *text) {
    if (r->status == FH_OK) {
        r->status = s;
        if (r->line) fh_fail(r->err, s, "template line %u: %s", r->line, text);
        else fh_fail(r->err, s, "template: %s", text);
    }
    return false;
}

bool fh_jinja_fail(fh_jrun *r, const char *fmt, ...) {
    char text[480];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return fail_text(r, FH_ERR_FORMAT, text);
}

bool fh_jinja_fail_status(fh_jrun *r, fh_status s, const char *fmt, ...) {
    char text[480];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return fail_text(r, s, text);
}

bool fh_jinja_fail_undef(fh_jrun *r, fh_jval v) {
    fh_str s = fh_jval_text(v);
    const char *of = fh_jinja_type((fh_jval){.kind = v.flag});
    bool none = v.flag == FH_J_NONE;
    switch ((fh_jundef)v.aux) {
    case FH_J_NO_NAME: return fh_jinja_fail(r, "'%.*s' is undefined", FH_STR_ARG(s));
    case FH_J_NO_ATTR:
        return fh_jinja_fail(r, "'%s%s' has no attribute '%.*s'", none ? "None" : of, none ? "" : " object",
                             FH_STR_ARG(s));
    case FH_J_NO_ITEM:
        return fh_jinja_fail(r, "%s%s has no element %.*s", none ? "None" : of, none ? "" : " object", FH_STR_ARG(s));
    case FH_J_HINT: return fh_jinja_fail(r, "%.*s", FH_STR_ARG(s));
    case FH_J_UNSAFE: return fh_jinja_fail_status(r, FH_ERR_DENIED, "%.*s", FH_STR_ARG(s));
    }
    return fh_jinja_fail(r, "an undefined value is used");
}

/* How many steps between two looks at the clock: about 20 microseconds. */
#define CLOCK_STEPS 1024u

bool fh_jinja_check(fh_jrun *r) {
    if (r->status != FH_OK) return false;
    if (r->steps >= r->max_steps)
        return fh_jinja_fail_status(r, FH_ERR_LIMIT, "more than %llu steps", (unsigned long long)r->max_steps);
    if (r->deadline_ns && fh_clock_ns() > r->deadline_ns)
        return fh_jinja_fail_status(r, FH_ERR_TIMEOUT, "more than %u ms", r->time_ms);
    r->check_at = FH_MIN(r->steps + CLOCK_STEPS, r->max_steps);
    return true;
}

static void *from_arena(fh_jrun *r, size_t n, size_t size) {
    void *p = r->status == FH_OK ? fh_arena_alloc(&r->arena, n, size) : NULL;
    if (!p && r->status == FH_OK)
        fh_jinja_fail_status(r, fh_arena_fail(&r->arena, NULL), "needs more than the %zu bytes of memory allowed",
                             r->arena.ceiling);
    return p;
}

/* ---- memory ---- */

#define CHUNK_FIRST ((size_t)4 << 10)
#define CHUNK_MOST ((size_t)256 << 10)

void *fh_jinja_alloc(fh_jrun *r, size_t n, size_t size) {
    size_t bytes;
    if (!fh_mul_size(n, size, &bytes) || bytes > r->arena.ceiling) return from_arena(r, n, size);
    bytes = (bytes + 15) & ~(size_t)15;
    if (!r->obj_at || bytes > (size_t)(r->obj_end - r->obj_at)) {
        if (bytes > CHUNK_MOST / 4) return from_arena(r, bytes, 1);
        size_t chunk = r->obj_chunk = r->obj_chunk ? FH_MIN(r->obj_chunk * 2, CHUNK_MOST) : CHUNK_FIRST;
        chunk = FH_MAX(chunk, bytes);
        uint8_t *p = from_arena(r, chunk, 1);
        if (!p) return NULL;
        r->obj_at = p;
        r->obj_end = p + chunk;
    }
    void *p = r->obj_at;
    r->obj_at += bytes;
    return p; /* zeroed: the arena's memory is handed out once */
}

/* room: bytes to keep free behind the n, for a text that is likely to grow. */
static char *text_with_room(fh_jrun *r, size_t n, size_t room) {
    if (n > UINT32_MAX / 2) {
        fh_jinja_fail_status(r, FH_ERR_LIMIT, "a text of %zu bytes is too long", n);
        return NULL;
    }
    if (!fh_jinja_pay_bytes(r, n)) return NULL;
    if (!r->text_at || n > (size_t)(r->text_end - r->text_at)) {
        size_t chunk = r->text_chunk = r->text_chunk ? FH_MIN(r->text_chunk * 2, CHUNK_MOST) : CHUNK_FIRST;
        if (n > chunk / 2) chunk = n + room;
        if (chunk > r->arena.ceiling - FH_MIN(r->arena.used, r->arena.ceiling)) chunk = n;
        char *p = from_arena(r, chunk, 1);
        if (!p) return NULL;
        r->text_at = p;
        r->text_end = p + chunk;
    }
    char *p = r->text_at;
    r->text_at += n;
    return p;
}

char *fh_jinja_alloc_text(fh_jrun *r, size_t n) { return text_with_room(r, n, 0); }

void fh_jinja_trim_text(fh_jrun *r, const char *text, size_t given, size_t used) {
    if (text + given == r->text_at) r->text_at -= given - used;
}

bool fh_jinja_text(fh_jrun *r, fh_str s, fh_jval *out) {
    char *p = fh_jinja_alloc_text(r, s.len);
    if (!p) return false;
    if (s.len) memcpy(p, s.ptr, s.len);
    *out = fh_jval_str((fh_str){p, s.len});
    return true;
}

bool fh_jinja_printf(fh_jrun *r, fh_jval *out, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : FH_MIN((size_t)n, sizeof text - 1);
    return fh_jinja_text(r, (fh_str){text, len}, out);
}

/* In place where a is the last text made and room is left behind it. */
bool fh_jinja_concat(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out) {
    uint64_t n = (uint64_t)a.len + b.len;
    uint8_t flag = a.flag & b.flag & FH_J_ASCII;
    if (a.len == 0 || b.len == 0) {
        *out = a.len ? a : b;
        out->flag &= (uint8_t)~FH_J_SAFE;
        return true;
    }
    if (a.u.s + a.len == r->text_at && (size_t)(r->text_end - r->text_at) >= b.len && n <= UINT32_MAX / 2) {
        if (!fh_jinja_pay_bytes(r, b.len)) return false;
        memcpy(r->text_at, b.u.s, b.len);
        r->text_at += b.len;
        *out = fh_jval_str((fh_str){a.u.s, (size_t)n});
    } else {
        char *p = text_with_room(r, (size_t)n, (size_t)n);
        if (!p) return false;
        memcpy(p, a.u.s, a.len);
        memcpy(p + a.len, b.u.s, b.len);
        *out = fh_jval_str((fh_str){p, (size_t)n});
    }
    out->flag = flag;
    return true;
}

/* ---- lists ---- */

fh_jlist *fh_jinja_list(fh_jrun *r, uint32_t cap) {
    fh_jlist *l = fh_jinja_alloc(r, 1, sizeof *l);
    if (!l || !fh_jinja_pay(r, cap >> 4)) return NULL;
    if (cap) {
        l->item = fh_jinja_alloc(r, cap, sizeof *l->item);
        if (!l->item) return NULL;
    }
    l->cap = cap;
    return l;
}

bool fh_jinja_list_add(fh_jrun *r, fh_jlist *l, fh_jval v) {
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 4;
        if (l->cap > UINT32_MAX / 4 || !fh_jinja_pay(r, cap >> 4))
            return r->status == FH_OK ? fh_jinja_fail(r, "a list is too long") : false;
        fh_jval *item = fh_jinja_alloc(r, cap, sizeof *item);
        if (!item) return false;
        if (l->n) memcpy(item, l->item, l->n * sizeof *item);
        l->item = item;
        l->cap = cap;
    }
    l->item[l->n++] = v;
    return true;
}

bool fh_jinja_pair(fh_jrun *r, fh_jval a, fh_jval b, fh_jval *out) {
    fh_jlist *l = fh_jinja_list(r, 2);
    if (!l) return false;
    l->item[0] = a;
    l->item[1] = b;
    l->n = 2;
    *out = fh_jval_tuple(l);
    return true;
}

/* ---- dicts ---- */

#define SMALL_DICT 8

fh_jdict *fh_jinja_dict(fh_jrun *r, uint32_t cap) {
    fh_jdict *d = fh_jinja_alloc(r, 1, sizeof *d);
    if (!d) return NULL;
    if (cap) {
        d->item = fh_jinja_alloc(r, cap, sizeof *d->item);
        if (!d->item) return NULL;
    }
    d->cap = cap;
    return d;
}

static bool key_equal(fh_jrun *r, fh_jval a, fh_jval b, bool *same) {
    if (a.kind == FH_J_STR && b.kind == FH_J_STR) {
        *same = a.len == b.len && memcmp(a.u.s, b.u.s, a.len) == 0;
        return true;
    }
    return fh_jinja_equal(r, a, b, same);
}

/* Every probe is paid for: keys that were chosen to collide cost steps, not time beyond them. */
static bool probe(fh_jrun *r, const fh_jdict *d, fh_jval key, uint32_t *slot, fh_jval **found) {
    uint64_t hash;
    bool same = false;
    *found = NULL;
    if (!fh_jinja_hash(r, key, &hash)) return false;
    uint32_t mask = d->n_slot - 1, i = (uint32_t)(hash ^ hash >> 32) & mask;
    for (; d->slot[i]; i = (i + 1) & mask) {
        fh_jpair *p = &d->item[d->slot[i] - 1];
        if (!fh_jinja_pay(r, 1) || !key_equal(r, p->key, key, &same)) return false;
        if (same) {
            *found = &p->value;
            return true;
        }
    }
    *slot = i;
    return true;
}

static bool rehash(fh_jrun *r, fh_jdict *d) {
    uint32_t n_slot = d->n_slot ? d->n_slot * 2 : SMALL_DICT * 4, at = 0;
    fh_jval *found;
    d->slot = fh_jinja_alloc(r, n_slot, sizeof *d->slot);
    if (!d->slot) return false;
    d->n_slot = n_slot;
    for (uint32_t i = 0; i < d->n; i++) {
        if (!probe(r, d, d->item[i].key, &at, &found)) return false;
        d->slot[at] = i + 1;
    }
    return true;
}

bool fh_jinja_dict_find(fh_jrun *r, const fh_jdict *d, fh_jval key, fh_jval **out) {
    uint32_t slot;
    uint64_t hash;
    bool same = false;
    if (d->slot) return probe(r, d, key, &slot, out);
    *out = NULL;
    if (key.kind != FH_J_STR && !fh_jinja_hash(r, key, &hash)) return false;
    if (key.kind == FH_J_STR) { /* most names differ in length or at the first byte: no call for those */
        for (uint32_t i = 0; i < d->n; i++) {
            const fh_jval *k = &d->item[i].key;
            if (k->kind != FH_J_STR || k->len != key.len) continue;
            if (key.len && (k->u.s[0] != key.u.s[0] || memcmp(k->u.s, key.u.s, key.len) != 0)) continue;
            *out = &d->item[i].value;
            return true;
        }
        return true;
    }
    for (uint32_t i = 0; i < d->n; i++) {
        if (!key_equal(r, d->item[i].key, key, &same)) return false;
        if (!same) continue;
        *out = &d->item[i].value;
        return true;
    }
    return true;
}

fh_jval *fh_jinja_dict_str(fh_jrun *r, const fh_jdict *d, fh_str key) {
    fh_jval *out = NULL;
    (void)fh_jinja_dict_find(r, d, fh_jval_str(key), &out); /* text can always be a key */
    return out;
}

bool fh_jinja_dict_put(fh_jrun *r, fh_jdict *d, fh_jval key, fh_jval value) {
    fh_jval *found;
    uint32_t slot = 0;
    if (!fh_jinja_dict_find(r, d, key, &found)) return false;
    if (found) {
        *found = value;
        return true;
    }
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? d->cap * 2 : 4;
        if (d->cap > UINT32_MAX / 8) return fh_jinja_fail(r, "a dict is too large");
        fh_jpair *item = fh_jinja_alloc(r, cap, sizeof *item);
        if (!item) return false;
        if (d->n) memcpy(item, d->item, d->n * sizeof *item);
        d->item = item;
        d->cap = cap;
    }
    d->item[d->n++] = (fh_jpair){key, value};
    if (!d->slot ? d->n > SMALL_DICT : d->n > d->n_slot / 2) return rehash(r, d);
    if (!d->slot) return true;
    if (!probe(r, d, key, &slot, &found)) return false;
    d->slot[slot] = d->n;
    return true;
}

/* ---- from JSON ---- */

size_t fh_jinja_json_bytes(const fh_json_node *n) {
    size_t sum = 0;
    for (uint32_t i = 0; n && i < n->span; i++) sum += n[i].text.len + n[i].key.len + 8;
    return sum;
}

/* As Python reads JSON: without fraction and exponent it is an integer, of any size. */
static bool number(fh_jrun *r, fh_str s, fh_jval *out) {
    double d;
    bool integer = s.len > 0;
    for (size_t i = 0; i < s.len; i++) integer = integer && (s.ptr[i] == '-' || (s.ptr[i] >= '0' && s.ptr[i] <= '9'));
    if (integer && fh_jinja_parse_int(s, 10, out)) return true;
    if (!fh_json_text_f64(s, &d))
        return fh_jinja_fail(r, "the number '%.*s' in the arguments is out of range", FH_STR_ARG(s));
    *out = fh_jval_float(d);
    return true;
}

/* Recursion is bounded by the reader's FH_JSON_MAX_DEPTH. */
bool fh_jinja_from_json(fh_jrun *r, const fh_json_node *n, fh_jval *out) {
    fh_jval v;
    switch (n->kind) {
    case FH_JSON_NULL: *out = fh_jval_none(); return true;
    case FH_JSON_TRUE:
    case FH_JSON_FALSE: *out = fh_jval_bool(n->kind == FH_JSON_TRUE); return true;
    case FH_JSON_STRING: *out = fh_jval_str(n->text); return true;
    case FH_JSON_NUMBER: return number(r, n->text, out);
    case FH_JSON_ARRAY: {
        fh_jlist *l = fh_jinja_list(r, n->n_child);
        if (!l) return false;
        for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c))
            if (!fh_jinja_from_json(r, c, &l->item[l->n++])) return false;
        *out = fh_jval_list(l);
        return true;
    }
    default: break;
    }
    fh_jdict *d = fh_jinja_dict(r, n->n_child);
    if (!d) return false;
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c))
        if (!fh_jinja_from_json(r, c, &v) || !fh_jinja_dict_put(r, d, fh_jval_str(c->key), v)) return false;
    *out = fh_jval_dict(d);
    return true;
}

bool fh_jinja_undef_attr(fh_jrun *r, fh_jval of, fh_jval name, fh_jval *out) {
    fh_jval text = name;
    if (name.kind != FH_J_STR && !fh_jinja_repr(r, name, &text)) return false;
    *out = (fh_jval){.kind = FH_J_UNDEF,
                     .flag = of.kind,
                     .len = text.len,
                     .u.s = text.u.s,
                     .aux = name.kind == FH_J_STR ? FH_J_NO_ATTR : FH_J_NO_ITEM};
    return true;
}
