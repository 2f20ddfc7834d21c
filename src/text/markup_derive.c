/* text/markup_derive.c - a call's delimiters, read off a rendering in which name, keys, values and ids are known.
 * SPDX-License-Identifier: Apache-2.0
 * Finds the notation first (a JSON object with everything in it, JSON arguments, tagged parameters, Python, quoted
 * strings), then parts section, call and separator by comparing one call with two. Whoever calls it checks the result
 * by reading the renderings back, so a wrong guess costs nothing but the guess. */
#include "text/markup_derive.h"

/* Offsets into a rendering. */
typedef struct shape {
    size_t begin, end;     /* of what the holes cover: from the name, or the object, to behind the arguments */
    size_t name_end, args; /* literal names: name_end .. args stands between */
} shape;

bool fh_markup_part_at(fh_str text, const char *part, size_t *at) {
    const char *hit = memmem(text.ptr, text.len, part, strlen(part));
    if (hit) *at = (size_t)(hit - text.ptr);
    return hit != NULL;
}

const char *fh_markup_copy(fh_arena *a, fh_str s) {
    fh_str copy;
    if (s.len > 0 && memchr(s.ptr, 0, s.len)) return NULL;
    return fh_arena_copy(a, s, &copy) ? copy.ptr : NULL;
}

static fh_str cut(fh_str s, size_t from, size_t to) { return fh_str_first(fh_str_drop(s, from), to - from); }

/* Where the JSON object that begins at `from` ends; 0 when it does not. */
static size_t object_end(fh_str s, size_t from) {
    size_t depth = 0;
    bool string = false;
    for (size_t i = from; i < s.len; i++) {
        char c = s.ptr[i];
        if (string) {
            if (c == '\\') i++;
            else if (c == '"') string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0) return i + 1;
        }
    }
    return 0;
}

static bool before(fh_str s, size_t at, char c, size_t *found) {
    while (at > 0 && fh_is_space(s.ptr[at - 1])) at--;
    if (at == 0 || s.ptr[at - 1] != c) return false;
    *found = at - 1;
    return true;
}

/* The arguments as a JSON object around this key; or as a string with that in it. */
static bool json_args(fh_str s, const char *key, size_t *from, size_t *to) {
    size_t at;
    if (!fh_markup_part_at(s, key, &at) || at == 0 || s.ptr[at - 1] != '"' || !before(s, at - 1, '{', from))
        return false;
    *to = object_end(s, *from);
    return *to > 0;
}

/* The object around name and arguments. */
static bool json_call(fh_str s, const char *name, size_t args_end, size_t *from, size_t *to) {
    size_t at;
    if (!fh_markup_part_at(s, name, &at)) return false;
    for (size_t i = at; i-- > 0;) {
        if (s.ptr[i] != '{') continue;
        size_t end = object_end(s, i);
        unsigned kind = 0;
        if (end < args_end || fh_json_text_kind(cut(s, i, end), &kind) != FH_OK || kind != FH_KIND_OBJECT) continue;
        *from = i;
        *to = end;
        return true;
    }
    return false;
}

/* Which members say name, arguments and id. */
static fh_status read_keys(fh_markup *m, fh_arena *a, fh_str object, bool *ok, fh_err *err) {
    fh_json *doc = NULL;
    fh_status s = fh_json_parse(&doc, object, NULL, NULL);
    *ok = false;
    if (s == FH_ERR_MEMORY) return fh_fail_memory(err, object.len);
    if (s != FH_OK) return FH_OK;
    const fh_json_node *o = fh_json_root(doc);
    m->key_name = m->key_args = m->key_id = NULL;
    for (const fh_json_node *c = fh_json_first(o); c; c = fh_json_after(o, c)) {
        fh_str text = {NULL, 0};
        bool string = fh_json_to_str(c, &text);
        if (fh_str_is(c->key, PROBE_NAME_1) && c->kind == FH_JSON_OBJECT) m->flags |= FH_MARKUP_NAME_KEY;
        else if (string && fh_str_is(text, PROBE_NAME_1)) m->key_name = fh_markup_copy(a, c->key);
        else if (string && fh_str_is(text, PROBE_ID_1)) m->key_id = fh_markup_copy(a, c->key);
        else if (c->kind == FH_JSON_OBJECT || fh_str_holds(text, PROBE_KEY_1)) m->key_args = fh_markup_copy(a, c->key);
        else if (string && fh_str_holds(c->key, "id")) m->key_id = fh_markup_copy(a, c->key);
    }
    fh_json_free(doc);
    *ok = m->flags & FH_MARKUP_NAME_KEY || (fh_given(m->key_name) && fh_given(m->key_args));
    return FH_OK;
}

/* ---- literals to patterns ---- */
/* The text as part of a pattern: words of the probe become holes, percent signs are doubled. */
static void add_pattern(fh_buf *out, fh_str s) {
    static const struct {
        const char *word, *hole;
    } words[] = {{PROBE_ID_1, "%i"}, {PROBE_ID_2, "%i"}, {PROBE_KEY_1, "%k"}, {PROBE_KEY_2, "%k"}};
    while (s.len > 0) {
        size_t k = 0;
        while (k < FH_COUNT(words) && !fh_str_starts(s, words[k].word)) k++;
        if (k < FH_COUNT(words)) {
            fh_buf_add_z(out, words[k].hole);
            s = fh_str_drop(s, strlen(words[k].word));
        } else {
            if (*s.ptr == '%') fh_buf_add_byte(out, '%');
            fh_buf_add_byte(out, (uint8_t)*s.ptr);
            s = fh_str_drop(s, 1);
        }
    }
}

static size_t common_end(fh_str a, fh_str b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[a.len - 1 - n] == b.ptr[b.len - 1 - n]) n++;
    return n;
}

static size_t common_start(fh_str a, fh_str b) {
    size_t n = 0;
    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) n++;
    return n;
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

/* A common end counts from where a tag or line begins in it. */
static size_t whole_end(fh_str s, size_t n) {
    while (n > 0 && !strchr("<[]\n ,{(", s.ptr[s.len - n])) n--;
    return n;
}

/* A common start counts up to where a tag or line ends in it. */
static size_t whole_start(fh_str s, size_t n) {
    while (n > 0 && n < s.len && is_letter(s.ptr[n - 1]) && is_letter(s.ptr[n])) n--;
    while (n > 0 && !strchr(">])\n ,}", s.ptr[n - 1])) n--;
    return n;
}

static bool only_commas(fh_str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (!fh_is_space(s.ptr[i]) && s.ptr[i] != ',') return false;
    }
    return true;
}

/* between: what parts call from call; pre and post: what stands around all of them. Splits them so that
 * pre = section_open + open, between = close + separator + open, post = close + section_close. The longest opening that
 * leaves whole tags on its other side. */
static void split(fh_str pre, fh_str between, fh_str post, size_t *open, size_t *close) {
    size_t n = whole_end(pre, common_end(pre, between)), first = n;
    for (bool last = false; !last; n = n > 0 ? whole_end(pre, n - 1) : 0) {
        last = n == 0;
        *open = n;
        *close = whole_start(post, FH_MIN(common_start(between, post), between.len - n));
        if (only_commas(cut(between, *close, between.len - n))) return;
    }
    *open = first;
    *close = whole_start(post, FH_MIN(common_start(between, post), between.len - first));
}

typedef struct tagged {
    fh_str before_key, after_key, after_value; /* of one parameter */
    fh_str type_1, type_2;                     /* what differs between key and value */
    size_t type_at, end;
} tagged;

/* The words for the kind of value: where the text between key and value differs from one parameter to the other. */
static void find_type(tagged *t, fh_str y1, fh_str y2) {
    size_t head = common_start(y1, y2), tail = common_end(y1, y2);
    if (head == y1.len && head == y2.len) return;
    while (head > 0 && is_letter(y1.ptr[head - 1])) head--;
    tail = FH_MIN(tail, FH_MIN(y1.len, y2.len) - head);
    while (tail > 0 && is_letter(y1.ptr[y1.len - tail])) tail--;
    t->type_1 = cut(y1, head, y1.len - tail);
    t->type_2 = cut(y2, head, y2.len - tail);
    t->type_at = head;
}

static bool read_tagged(tagged *t, fh_str s, size_t name_end) {
    size_t k1, v1, k2, v2;
    *t = (tagged){.end = 0};
    if (!fh_markup_part_at(s, PROBE_KEY_1, &k1) || !fh_markup_part_at(s, PROBE_VALUE_1, &v1) ||
        !fh_markup_part_at(s, PROBE_KEY_2, &k2) || !fh_markup_part_at(s, PROBE_VALUE_2, &v2))
        return false;
    size_t n = strlen(PROBE_KEY_1), v1e = v1 + strlen(PROBE_VALUE_1), v2e = v2 + strlen(PROBE_VALUE_2);
    if (!(name_end <= k1 && k1 + n <= v1 && v1e <= k2 && k2 + n <= v2)) return false;
    fh_str head = cut(s, name_end, k1), between = cut(s, v1e, k2), post = cut(s, v2e, s.len);
    size_t open = whole_end(head, common_end(head, between));
    while (open > 0 && open < between.len && !strchr(">]\n", between.ptr[between.len - open - 1]))
        open = whole_end(head, open - 1);
    size_t close = between.len - open, again;
    /* A key may stand again behind its value, and then differs. */
    bool repeats = fh_markup_part_at(fh_str_first(between, close), PROBE_KEY_1, &again);
    if (!repeats && close > common_start(between, post)) return false;
    t->before_key = cut(between, close, between.len);
    t->after_key = cut(s, k1 + n, v1);
    t->after_value = fh_str_first(between, close);
    find_type(t, t->after_key, cut(s, k2 + n, v2));
    t->end = v2e + close;
    return t->end <= s.len && open > 0;
}

static const char *take_pattern(fh_buf *b, fh_arena *a) {
    const char *z = fh_buf_check(b, NULL) == FH_OK ? fh_markup_copy(a, fh_buf_str(b)) : NULL;
    fh_buf_clear(b);
    return z;
}

static const char *param_pattern(const tagged *t, fh_buf *b, fh_arena *a) {
    add_pattern(b, t->before_key);
    fh_buf_add_z(b, "%k");
    if (t->type_1.len > 0) {
        add_pattern(b, fh_str_first(t->after_key, t->type_at));
        fh_buf_add_z(b, "%t");
        add_pattern(b, fh_str_drop(t->after_key, t->type_at + t->type_1.len));
    } else {
        add_pattern(b, t->after_key);
    }
    fh_buf_add_z(b, "%v");
    add_pattern(b, t->after_value);
    return take_pattern(b, a);
}

/* ---- notations ---- */
typedef struct work {
    fh_markup *m;
    fh_arena *a;
    fh_buf b;
    fh_str one, two;
    shape s1;
    size_t begin_2;     /* in two: where the second call's holes begin */
    const char *inside; /* the pattern between the call's opening and close */
    bool ok;
} work;

static fh_status find_json_call(work *w, fh_err *err) {
    size_t args, args_end, from, to;
    if (!json_args(w->one, PROBE_KEY_1, &args, &args_end) && !fh_markup_part_at(w->one, PROBE_VALUE_2, &args_end))
        return FH_OK;
    if (!json_call(w->one, PROBE_NAME_1, args_end, &from, &to)) return FH_OK;
    FH_TRY(read_keys(w->m, w->a, cut(w->one, from, to), &w->ok, err));
    w->s1 = (shape){.begin = from, .end = to};
    w->inside = "%j";
    size_t at, from_2, to_2;
    if (w->ok && fh_markup_part_at(w->two, PROBE_VALUE_3, &at) && json_call(w->two, PROBE_NAME_2, at, &from_2, &to_2))
        w->begin_2 = from_2;
    return FH_OK;
}

/* Digits that count calls: the text between name and arguments differs in them. */
static void add_between(work *w, fh_str b1, fh_str b2) {
    size_t head = b2.ptr ? common_start(b1, b2) : b1.len;
    if (head < b1.len && b1.ptr[head] >= '0' && b1.ptr[head] <= '9') {
        add_pattern(&w->b, fh_str_first(b1, head));
        fh_buf_add_z(&w->b, "%x");
        while (head < b1.len && b1.ptr[head] >= '0' && b1.ptr[head] <= '9') head++;
        add_pattern(&w->b, fh_str_drop(b1, head));
    } else {
        add_pattern(&w->b, b1);
    }
}

static void find_named(work *w) {
    size_t name, name_2, at, key;
    if (!fh_markup_part_at(w->one, PROBE_NAME_1, &name) || !fh_markup_part_at(w->one, PROBE_KEY_1, &key)) return;
    size_t name_end = name + strlen(PROBE_NAME_1), key_end = key + strlen(PROBE_KEY_1);
    bool two = fh_markup_part_at(w->two, PROBE_NAME_2, &name_2);
    fh_str rest_2 = two ? fh_str_drop(w->two, name_2 + strlen(PROBE_NAME_2)) : (fh_str){NULL, 0};
    size_t args, args_end, args_2, end_2;
    tagged t;
    w->s1 = (shape){.begin = name, .name_end = name_end};
    fh_buf_add_z(&w->b, "%n");
    char next = key_end < w->one.len ? w->one.ptr[key_end] : 0;
    if (json_args(w->one, PROBE_KEY_1, &args, &args_end) && args >= name_end) {
        fh_str b2 =
            two && json_args(rest_2, PROBE_KEY_3, &args_2, &end_2) ? fh_str_first(rest_2, args_2) : (fh_str){NULL, 0};
        add_between(w, cut(w->one, name_end, args), b2);
        fh_buf_add_z(&w->b, "%a");
        w->s1.end = args_end;
    } else if (next == '=' && before(w->one, key, '(', &at) && at >= name_end) {
        fh_buf_add_z(&w->b, "(%y");
        size_t v2;
        if (!fh_markup_part_at(w->one, PROBE_VALUE_2, &v2)) return;
        w->s1.end = v2 + strlen(PROBE_VALUE_2);
    } else if (next == ':' && before(w->one, key, '{', &at) && at >= name_end) {
        size_t v1;
        if (!fh_markup_part_at(w->one, PROBE_VALUE_1, &v1) || v1 <= key_end + 1) return;
        w->m->quote = fh_markup_copy(w->a, cut(w->one, key_end + 1, v1));
        add_pattern(&w->b, cut(w->one, name_end, at));
        fh_buf_add_z(&w->b, "%g");
        size_t v2;
        if (!fh_markup_part_at(w->one, PROBE_VALUE_2, &v2)) return;
        const char *close = memchr(w->one.ptr + v2, '}', w->one.len - v2);
        if (!close) return;
        w->s1.end = (size_t)(close - w->one.ptr) + 1;
    } else if (read_tagged(&t, w->one, name_end)) {
        size_t key_3, less = t.before_key.len;
        bool third = two && fh_markup_part_at(rest_2, PROBE_KEY_3, &key_3) && key_3 >= less;
        add_between(w, cut(w->one, name_end, key - less),
                    third ? fh_str_first(rest_2, key_3 - less) : (fh_str){NULL, 0});
        fh_buf_add_z(&w->b, "%p");
        w->s1.end = t.end;
        w->inside = take_pattern(&w->b, w->a);
        w->m->param = param_pattern(&t, &w->b, w->a);
        if (fh_str_is(t.type_1, "string")) w->m->flags |= FH_MARKUP_TYPE_NAMES;
        w->ok = w->inside && w->m->param;
        w->begin_2 = two ? name_2 : 0;
        return;
    } else {
        return;
    }
    w->inside = take_pattern(&w->b, w->a);
    w->begin_2 = two ? name_2 : 0;
    w->ok = w->inside != NULL;
}

/* ---- sections ---- */
static const char *call_pattern(work *w, fh_str open, fh_str close) {
    add_pattern(&w->b, open);
    fh_buf_add_z(&w->b, w->inside);
    add_pattern(&w->b, close);
    return take_pattern(&w->b, w->a);
}

/* What stands behind the arguments, without the end of the turn. */
static fh_str without_end(fh_str post, fh_str tail, const fh_markup *row) {
    size_t at, len = post.len;
    for (size_t i = 0; i < FH_MARKUP_LIST; i++) {
        if (fh_given(row->end[i]) && fh_markup_part_at(post, row->end[i], &at) && at > 0) post.len = at;
    }
    if (post.len < len) return post;
    post.len -= whole_end(post, common_end(post, tail));
    fh_str bare = fh_trim(tail);
    const char *hit = bare.len > 0 ? memmem(post.ptr, post.len, bare.ptr, bare.len) : NULL;
    if (hit && hit > post.ptr) post.len = (size_t)(hit - post.ptr);
    return post;
}

static void take_list(fh_str *pre, fh_str *post, fh_markup *m) {
    fh_str p = fh_trim(*pre), q = fh_trim(*post);
    if (p.len == 0 || q.len == 0 || p.ptr[p.len - 1] != '[' || q.ptr[0] != ']') return;
    *pre = fh_str_first(p, p.len - 1);
    *post = fh_str_drop(q, 1);
    m->flags |= FH_MARKUP_LISTED;
}

static void put_section(work *w, fh_str tail, const fh_markup *row) {
    fh_markup *m = w->m;
    fh_str pre = fh_str_first(w->one, w->s1.begin);
    fh_str post = without_end(fh_str_drop(w->one, w->s1.end), tail, row), between = {NULL, 0};
    bool json = strcmp(w->inside, "%j") == 0;
    if (json) take_list(&pre, &post, m);
    bool two = w->begin_2 > w->s1.end;
    if (two) between = cut(w->two, w->s1.end, w->begin_2);
    fh_str none = {"", 0};
    if (two && json && only_commas(between)) { /* objects, nothing around each */
        m->section_open = fh_markup_copy(w->a, fh_trim(pre));
        m->section_close = fh_markup_copy(w->a, fh_trim(post));
        m->separator = fh_markup_copy(w->a, between);
        m->call = call_pattern(w, none, none);
    } else if (two) {
        size_t open, close;
        split(pre, between, post, &open, &close);
        fh_str sep = cut(between, close, between.len - open);
        m->section_open = fh_markup_copy(w->a, fh_trim(fh_str_first(pre, pre.len - open)));
        m->section_close = fh_markup_copy(w->a, fh_trim(fh_str_drop(post, close)));
        m->separator = fh_markup_copy(w->a, sep);
        m->call = call_pattern(w, fh_str_drop(pre, pre.len - open), fh_str_first(post, close));
    } else {
        bool list = json && m->flags & FH_MARKUP_LISTED;
        m->flags |= list ? 0 : FH_MARKUP_SINGLE;
        m->section_open = list ? fh_markup_copy(w->a, fh_trim(pre)) : "";
        m->section_close = list ? fh_markup_copy(w->a, fh_trim(post)) : "";
        m->separator = "";
        m->call = list ? call_pattern(w, none, none) : call_pattern(w, pre, post);
    }
    bool bare = json && !fh_given(m->section_open) && m->call && m->call[0] == '%';
    m->bare = bare ? "{" : "";
    if (bare) {
        m->section_open = row->section_open;
        m->section_close = row->section_close;
    }
    w->ok = m->section_open && m->section_close && m->separator && m->call;
    if (!w->ok) w->ok = bare && m->call;
}

/* functions.NAME:0 is an id that holds the name. */
static void join_id(fh_markup *m, fh_arena *a, fh_buf *b) {
    static const char id[] = "functions.%n:%x";
    const char *at = m->call ? strstr(m->call, id) : NULL;
    if (!at) return;
    fh_buf_clear(b);
    fh_buf_add(b, m->call, (size_t)(at - m->call));
    fh_buf_add_z(b, "%I");
    fh_buf_add_z(b, at + sizeof id - 1);
    m->call = take_pattern(b, a);
    m->name_prefix = "functions.";
}

static fh_str right_trim(fh_str s) {
    while (s.len > 0 && fh_is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

static size_t leading(fh_str s) {
    size_t n = 0;
    while (n < s.len && fh_is_space(s.ptr[n])) n++;
    return n;
}

/* Ids are no difference between one call and the next. */
static fh_status same_ids(fh_arena *a, fh_str *two, fh_err *err) {
    size_t at;
    if (!fh_markup_part_at(*two, PROBE_ID_2, &at)) return FH_OK;
    char *copy = fh_arena_alloc(a, two->len, 1);
    if (!copy) return fh_arena_fail(a, err);
    memcpy(copy, two->ptr, two->len);
    memcpy(copy + at, PROBE_ID_1, sizeof PROBE_ID_1 - 1);
    two->ptr = copy;
    return FH_OK;
}

fh_status fh_markup_derive(fh_markup *out, fh_arena *a, fh_str one, fh_str two, fh_str tail, const fh_markup *row,
                           bool *ok, fh_err *err) {
    fh_markup m = *out;
    one = right_trim(fh_str_drop(one, leading(one)));
    two = right_trim(fh_str_drop(two, leading(two)));
    tail = right_trim(tail);
    FH_TRY(same_ids(a, &two, err));
    work w = {.m = &m, .a = a, .one = one, .two = two};
    m.flags = row->flags & (FH_MARKUP_TREE | FH_MARKUP_CALL_FIRST);
    m.call = m.param = m.key_name = m.key_args = m.key_id = m.quote = m.name_prefix = "";
    *ok = false;
    fh_buf_init(&w.b, (size_t)1 << 16);
    fh_status s = find_json_call(&w, err);
    if (s == FH_OK && !w.ok) find_named(&w);
    if (s == FH_OK && w.ok) put_section(&w, tail, row);
    if (s == FH_OK && w.ok) join_id(&m, a, &w.b);
    if (s == FH_OK && a->status != FH_OK) s = fh_arena_fail(a, err);
    if (s == FH_OK && w.b.status == FH_ERR_MEMORY) s = fh_fail_memory(err, w.b.len);
    fh_buf_release(&w.b);
    if (s != FH_OK) return s;
    *ok = w.ok && fh_given(m.call);
    if (*ok) *out = m;
    return FH_OK;
}
