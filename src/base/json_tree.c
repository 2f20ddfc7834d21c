/* base/json_tree.c - a whole JSON document as an array of nodes in pre-order.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: the nodes and copies of all text. Borrows nothing after fh_json_parse.
 * Two passes of the pull reader: the first checks and measures and allocates nothing, the second
 * fills memory of exactly that size, so a hostile text is refused before it costs any.
 * Duplicate keys are found by sorting: n log n whatever the keys are, which no hash table promises.
 * Invariants: (1) node + span is what follows the subtree; (2) text never moves; (3) no
 * recursion. */
#include "base/json_part.h"
#include "base/num.h"

struct fh_json {
    fh_json_node *nodes; /* [n_node] */
    char *text;          /* [text_bytes] */
    size_t n_node, text_bytes;
};

/* Up to here members are compared pairwise. */
#define SMALL_OBJECT 12

static bool is_value(fh_json_kind kind) {
    return kind != FH_JSON_END && kind != FH_JSON_KEY && kind != FH_JSON_OBJECT_END && kind != FH_JSON_ARRAY_END;
}

/* First pass. Text is counted as written, which decoding never exceeds. */
static fh_status measure(fh_json_reader *r, fh_json *doc, fh_err *err) {
    fh_json_event ev;
    bool escaped;
    do {
        FH_TRY(fh_json_next_raw(r, &ev, &escaped, err));
        if (is_value(ev.kind)) doc->n_node++;
        doc->text_bytes += ev.text.len; /* parts of the text do not add up to more than it */
    } while (ev.kind != FH_JSON_END);
    return FH_OK;
}

/* ---- second pass ---- */

typedef struct fill {
    fh_json *doc;
    size_t n_node, text_bytes; /* used so far */
    fh_str key;
    uint32_t open[FH_JSON_MAX_DEPTH]; /* node of each open container */
    int depth;
} fill;

/* A mapped file can change between the passes; then nothing may be written behind the end. */
static fh_status changed(uint64_t offset, fh_err *err) {
    return fh_fail_at(err, FH_ERR_IO, offset, "JSON: the text changed while it was read");
}

static bool copy_text(fill *f, fh_str raw, bool escaped, fh_str *out) {
    char *to = f->doc->text + f->text_bytes;
    if (raw.len > f->doc->text_bytes - f->text_bytes) return false;
    size_t n = raw.len;
    if (escaped) n = fh_json_decode(raw, to);
    else if (n > 0) memcpy(to, raw.ptr, n);
    f->text_bytes += n;
    *out = (fh_str){to, n};
    return true;
}

static fh_status add_value(fill *f, const fh_json_event *ev, bool escaped, fh_err *err) {
    if (f->n_node == f->doc->n_node) return changed(ev->offset, err);
    uint32_t at = (uint32_t)f->n_node++;
    fh_json_node *n = &f->doc->nodes[at];
    *n = (fh_json_node){.key = f->key, .span = 1, .offset = (uint32_t)ev->offset, .kind = ev->kind};
    f->key = (fh_str){NULL, 0};
    if (f->depth > 0) f->doc->nodes[f->open[f->depth - 1]].n_child++;
    if (ev->kind == FH_JSON_OBJECT || ev->kind == FH_JSON_ARRAY) f->open[f->depth++] = at;
    else if (ev->text.ptr && !copy_text(f, ev->text, escaped, &n->text)) return changed(ev->offset, err);
    return FH_OK;
}

static fh_status fill_nodes(fh_json_reader *r, fh_json *doc, fh_err *err) {
    fill f = {.doc = doc};
    fh_json_event ev;
    bool escaped;
    for (;;) {
        FH_TRY(fh_json_next_raw(r, &ev, &escaped, err));
        if (ev.kind == FH_JSON_END) break;
        if (ev.kind == FH_JSON_KEY) {
            if (!copy_text(&f, ev.text, escaped, &f.key)) return changed(ev.offset, err);
        } else if (is_value(ev.kind)) {
            FH_TRY(add_value(&f, &ev, escaped, err));
        } else {
            uint32_t at = f.open[--f.depth];
            doc->nodes[at].span = (uint32_t)f.n_node - at;
        }
    }
    return f.n_node == doc->n_node ? FH_OK : changed(ev.offset, err);
}

/* ---- duplicate keys ---- */

/* Merge sort, bottom up and stable: members (node indices) by key, equal keys in document order. */
static const uint32_t *sort_members(const fh_json_node *nodes, uint32_t *a, uint32_t *b, size_t n) {
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t middle = FH_MIN(from + width, n), end = FH_MIN(middle + width, n);
            size_t i = from, k = middle;
            for (size_t to = from; to < end; to++) {
                bool left = k == end || (i < middle && fh_str_cmp(nodes[a[i]].key, nodes[a[k]].key) <= 0);
                b[to] = left ? a[i++] : a[k++];
            }
        }
        uint32_t *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

/* The first member in the object at node `at` whose key came before, or UINT32_MAX. room: [2 *
 * n_child] when the object is not small. */
static uint32_t second_in(const fh_json_node *nodes, uint32_t at, uint32_t *room) {
    uint32_t few[SMALL_OBJECT], second = UINT32_MAX, n = nodes[at].n_child, member = at + 1;
    uint32_t *list = n <= SMALL_OBJECT ? few : room;
    for (uint32_t i = 0; i < n; i++, member += nodes[member].span) {
        list[i] = member;
        for (uint32_t k = 0; n <= SMALL_OBJECT && k < i; k++)
            if (fh_str_eq(nodes[list[k]].key, nodes[member].key)) return member;
    }
    if (n <= SMALL_OBJECT) return second;
    const uint32_t *sorted = sort_members(nodes, list, list + n, n);
    for (uint32_t i = 1; i < n; i++)
        if (sorted[i] < second && fh_str_eq(nodes[sorted[i - 1]].key, nodes[sorted[i]].key)) second = sorted[i];
    return second;
}

/* Nodes know where their value starts, not their key: read again up to it. */
static uint64_t key_offset(fh_json_reader *r, uint32_t node) {
    fh_json_event ev;
    bool escaped;
    uint64_t offset = FH_NO_OFFSET;
    for (uint32_t n = 0; n <= node;) {
        if (fh_json_next_raw(r, &ev, &escaped, NULL) != FH_OK || ev.kind == FH_JSON_END) break;
        if (ev.kind == FH_JSON_KEY) offset = ev.offset;
        if (is_value(ev.kind)) n++;
    }
    return offset;
}

/* From the start. Raw reading takes no memory, so nothing is to be released. */
static void start_reader(fh_json_reader *r, fh_str text, const fh_json_options *opt) {
    fh_json_reader_init(r, text);
    r->allow_nonfinite = opt->allow_nonfinite;
}

static fh_status too_large(size_t bytes, size_t ceiling, fh_err *err) {
    return fh_fail(err, FH_ERR_LIMIT, "JSON: as a tree the text takes %zu bytes, more than the limit of %zu", bytes,
                   ceiling);
}

/* used: bytes of the tree so far. */
static fh_status refuse_duplicates(const fh_json *doc, fh_str text, const fh_json_options *opt, size_t used,
                                   fh_err *err) {
    size_t widest = 0, bytes, total;
    uint32_t *room = NULL, second = UINT32_MAX;
    for (size_t i = 0; i < doc->n_node; i++)
        if (doc->nodes[i].kind == FH_JSON_OBJECT && doc->nodes[i].n_child > widest) widest = doc->nodes[i].n_child;
    if (widest > SMALL_OBJECT) {
        if (!fh_mul_size(widest, 2 * sizeof *room, &bytes) || !fh_add_size(used, bytes, &total))
            return fh_fail_memory(err, SIZE_MAX);
        if (total > opt->max_bytes) return too_large(total, opt->max_bytes, err);
        room = fh_alloc(bytes, 1);
        if (!room) return fh_fail_memory(err, bytes);
    }
    for (size_t i = 0; i < doc->n_node && second == UINT32_MAX; i++)
        if (doc->nodes[i].kind == FH_JSON_OBJECT) second = second_in(doc->nodes, (uint32_t)i, room);
    fh_free(room);
    if (second == UINT32_MAX) return FH_OK;
    fh_json_reader r;
    start_reader(&r, text, opt);
    return fh_fail_at(err, FH_ERR_FORMAT, key_offset(&r, second), "JSON: the key '%.*s' occurs twice in one object",
                      FH_STR_ARG(doc->nodes[second].key));
}

/* ---- the document ---- */

/* What it allocates is in doc, for the caller to free also on failure. */
static fh_status build(fh_json *doc, fh_str text, const fh_json_options *opt, fh_err *err) {
    fh_json_reader r;
    size_t bytes;
    start_reader(&r, text, opt);
    FH_TRY(measure(&r, doc, err));
    if (!fh_mul_size(doc->n_node, sizeof *doc->nodes, &bytes) || !fh_add_size(bytes, doc->text_bytes, &bytes) ||
        !fh_add_size(bytes, sizeof *doc, &bytes))
        return fh_fail_memory(err, SIZE_MAX);
    if (bytes > opt->max_bytes) return too_large(bytes, opt->max_bytes, err);
    doc->nodes = fh_alloc(doc->n_node, sizeof *doc->nodes);
    doc->text = fh_alloc(doc->text_bytes, 1);
    if (!doc->nodes || !doc->text) return fh_fail_memory(err, bytes);
    start_reader(&r, text, opt);
    FH_TRY(fill_nodes(&r, doc, err));
    return opt->allow_duplicate_keys ? FH_OK : refuse_duplicates(doc, text, opt, bytes, err);
}

fh_status fh_json_parse(fh_json **out, fh_str text, const fh_json_options *opt, fh_err *err) {
    fh_json_options o = opt ? *opt : (fh_json_options){0};
    if (text.len > UINT32_MAX)
        return fh_fail(err, FH_ERR_LIMIT, "JSON: a text of %zu bytes is too long for a tree", text.len);
    if (o.max_bytes == 0) o.max_bytes = ((size_t)8 << 20) + text.len;
    fh_json *doc = fh_alloc_zero(1, sizeof *doc);
    if (!doc) return fh_fail_memory(err, sizeof *doc);
    fh_status s = build(doc, text, &o, err);
    if (s == FH_OK) *out = doc;
    else fh_json_free(doc);
    return s;
}

void fh_json_free(fh_json *doc) {
    if (!doc) return;
    fh_free(doc->nodes);
    fh_free(doc->text);
    fh_free(doc);
}

const fh_json_node *fh_json_root(const fh_json *doc) { return doc->nodes; }

/* ---- looking at it ---- */

const fh_json_node *fh_json_first(const fh_json_node *n) { return n && n->n_child > 0 ? n + 1 : NULL; }

const fh_json_node *fh_json_after(const fh_json_node *parent, const fh_json_node *child) {
    const fh_json_node *n = child + child->span;
    return n < parent + parent->span ? n : NULL;
}

const fh_json_node *fh_json_get_str(const fh_json_node *obj, fh_str key) {
    const fh_json_node *last = NULL;
    if (!fh_json_is(obj, FH_JSON_OBJECT)) return NULL;
    for (const fh_json_node *n = fh_json_first(obj); n; n = fh_json_after(obj, n))
        if (fh_str_eq(n->key, key)) last = n;
    return last;
}

const fh_json_node *fh_json_get(const fh_json_node *obj, const char *key) {
    return fh_json_get_str(obj, fh_str_of(key));
}

bool fh_json_is(const fh_json_node *n, fh_json_kind kind) { return n && n->kind == kind; }

bool fh_json_to_u64(const fh_json_node *n, uint64_t *out) {
    return fh_json_is(n, FH_JSON_NUMBER) && fh_json_text_u64(n->text, out);
}

bool fh_json_to_i64(const fh_json_node *n, int64_t *out) {
    return fh_json_is(n, FH_JSON_NUMBER) && fh_json_text_i64(n->text, out);
}

bool fh_json_to_f64(const fh_json_node *n, double *out) {
    return fh_json_is(n, FH_JSON_NUMBER) && fh_json_text_f64(n->text, out);
}

bool fh_json_to_bool(const fh_json_node *n, bool *out) {
    if (!fh_json_is(n, FH_JSON_TRUE) && !fh_json_is(n, FH_JSON_FALSE)) return false;
    *out = n->kind == FH_JSON_TRUE;
    return true;
}

bool fh_json_to_str(const fh_json_node *n, fh_str *out) {
    if (!fh_json_is(n, FH_JSON_STRING)) return false;
    *out = n->text;
    return true;
}
