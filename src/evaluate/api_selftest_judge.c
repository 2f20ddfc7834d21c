/* evaluate/api_selftest_judge.c - an answer held against what a case expects of it.
 * SPDX-License-Identifier: Apache-2.0
 * An answer is a list of events: one for a JSON body, one for each event of a stream, one for each line of NDJSON. A
 * check is a line:
 *   status 200              content-type text/event-stream
 *   order REGEX             the events' words, each with a blank behind it (word_of says what they are)
 *   numbered PTR            PTR of event i is i
 *   PTR TEST                about the first event;  last PTR TEST, each PTR TEST: about that one, all of them
 *   join PTR PTR2 TEST      PTR's strings in all events, put together; PTR2 starts at the result
 *   keep PTR                puts a string by for $KEPT of later cases
 * PTR: /a/0/b; a piece of % reads a string as JSON and goes on in it; "." is all of it.
 * TEST: : kind|kind (string number integer object array bool null)   = JSON   in [JSON, ...]   ~ REGEX   >= number
 *       # count     absent */
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "evaluate/api_selftest_part.h"
#include "text/grammar.h"

#define EVENTS_MOST 100000u
#define INNER_MOST 8

typedef struct event {
    char word[64];
    fh_json *doc; /* NULL: no JSON */
} event;

typedef struct judge {
    const fh_api_case *c;
    const fh_api_reply *a;
    event *ev; /* [n] */
    size_t n, cap;
    fh_json *inner[INNER_MOST]; /* made by % and join, of one check */
    size_t n_inner;
    char *kept, why[256];
    bool failed;
    fh_status status; /* not about the answer */
    fh_err *err;
} judge;

FH_PRINTF(2, 3) static void reject(judge *j, const char *fmt, ...) {
    va_list list;
    if (j->failed) return;
    j->failed = true;
    va_start(list, fmt);
    (void)vsnprintf(j->why, sizeof j->why, fmt, list);
    va_end(list);
}

static void stuck(judge *j, fh_status s, const char *check, fh_str line) {
    if (j->status == FH_OK)
        j->status = fh_fail(j->err, s, "the case '%s' holds a check that cannot be read (%s): %.*s", j->c->name, check,
                            FH_STR_ARG(line));
}

/* ---- small readers ---- */

static fh_str word(fh_str *left) {
    while (left->len && left->ptr[0] == ' ') *left = fh_str_drop(*left, 1);
    size_t n;
    if (!fh_str_find(*left, ' ', &n)) n = left->len;
    fh_str w = fh_str_first(*left, n);
    *left = fh_str_drop(*left, n + 1);
    return w;
}

static bool get_str(const fh_json_node *n, const char *key, fh_str *out) {
    return fh_json_to_str(fh_json_get(n, key), out);
}

/* ---- what an event is called ---- */

static const char *chunk_word(const fh_json_node *root) {
    const fh_json_node *choices = fh_json_get(root, "choices"), *c = fh_json_first(choices);
    const fh_json_node *d = fh_json_get(c, "delta"), *call = fh_json_first(fh_json_get(d, "tool_calls"));
    fh_str s = {NULL, 0}, think = {NULL, 0}, finish;
    if (choices && !c) return "usage";
    bool ends = get_str(c, "finish_reason", &finish);
    if (!get_str(d, "content", &s)) (void)get_str(c, "text", &s);
    if (!get_str(d, "reasoning_content", &think)) (void)get_str(d, "reasoning", &think);
    if (ends) return d && (s.len || call) ? "finish+text" : "finish";
    if (call) return fh_json_get(call, "id") ? "call" : "args";
    if (think.len) return "think";
    if (!s.len && fh_json_get(d, "role")) return "role";
    return "text";
}

static void word_of(event *e, fh_str name) {
    const fh_json_node *root = e->doc ? fh_json_root(e->doc) : NULL, *inner = fh_json_get(root, "content_block");
    fh_str type, kind;
    bool done = false;
    const char *w;
    if (!inner) inner = fh_json_get(root, "delta");
    if (name.len) {
        if (get_str(root, "type", &type) && !fh_str_eq(type, name)) name = FH_STR("mismatch");
        bool more = get_str(inner, "type", &kind);
        (void)snprintf(e->word, sizeof e->word, more ? "%.*s:%.*s" : "%.*s", FH_STR_ARG(name), more ? (int)kind.len : 0,
                       more ? kind.ptr : "");
        return;
    }
    if (!root) w = "[DONE]";
    else if (fh_json_get(root, "choices")) w = chunk_word(root);
    else if (fh_json_to_bool(fh_json_get(root, "done"), &done)) w = done ? "done" : "line";
    else if (fh_json_get(root, "status")) w = "line";
    else w = fh_json_get(root, "error") ? "error" : "json";
    (void)snprintf(e->word, sizeof e->word, "%s", w);
}

/* ---- from bytes to events ---- */

static bool is_stream_end(fh_str data) { return fh_str_is(data, "[DONE]"); }

static void add_event(judge *j, fh_str name, fh_str data) {
    const fh_json_options opt = {.allow_duplicate_keys = true};
    if (j->n == EVENTS_MOST || j->status != FH_OK || j->failed) return;
    if (j->n == j->cap) {
        size_t cap = j->cap ? j->cap * 2 : 64;
        event *wide = fh_realloc(j->ev, cap, sizeof *wide);
        if (!wide) {
            j->status = fh_fail_memory(j->err, cap * sizeof *wide);
            return;
        }
        j->ev = wide;
        j->cap = cap;
    }
    event *e = &j->ev[j->n];
    *e = (event){.doc = NULL};
    fh_err why = {.status = FH_OK};
    if (!is_stream_end(data) && fh_json_parse(&e->doc, data, &opt, &why) != FH_OK) {
        if (why.status == FH_ERR_MEMORY) j->status = fh_fail_memory(j->err, data.len);
        reject(j, "no JSON (%.80s): %.*s", why.message, (int)FH_MIN(data.len, 60u), data.ptr);
        return;
    }
    word_of(e, name);
    j->n++;
}

static fh_str line_of(fh_str *left) {
    size_t n;
    if (!fh_str_find(*left, '\n', &n)) n = left->len;
    fh_str line = fh_str_first(*left, n);
    *left = fh_str_drop(*left, n + 1);
    if (fh_str_ends(line, "\r")) line.len--;
    return line;
}

static fh_str field(fh_str line, const char *name) {
    fh_str s = fh_str_drop(line, strlen(name));
    return s.len && s.ptr[0] == ' ' ? fh_str_drop(s, 1) : s;
}

static void read_sse(judge *j, fh_str left) {
    fh_str name = {"", 0}, data = {NULL, 0};
    while (left.len) {
        fh_str line = line_of(&left);
        if (fh_str_starts(line, "event:")) name = field(line, "event:");
        else if (fh_str_starts(line, "data:")) data = field(line, "data:");
        else if (line.len == 0 && data.ptr) {
            add_event(j, name, data);
            name = FH_STR("");
            data = (fh_str){NULL, 0};
        } else if (line.len && line.ptr[0] != ':' && !fh_str_starts(line, "id:") && !fh_str_starts(line, "retry:")) {
            reject(j, "no line of an event stream: %.*s", (int)FH_MIN(line.len, 80u), line.ptr);
        }
    }
    if (data.ptr) reject(j, "the stream ends inside an event");
}

static void read_events(judge *j) {
    fh_str body = fh_buf_str(&j->a->body);
    if (fh_str_starts(fh_str_of(j->a->type), "text/event-stream")) {
        read_sse(j, body);
    } else if (fh_str_starts(fh_str_of(j->a->type), "application/x-ndjson")) {
        while (body.len) {
            fh_str line = line_of(&body);
            if (line.len) add_event(j, FH_STR(""), line);
        }
    } else if (fh_str_starts(fh_str_of(j->a->type), "application/json") && body.len) {
        add_event(j, FH_STR(""), body);
    }
}

/* ---- pointers ---- */

/* The string of a node, as JSON; kept until the check is over. */
static const fh_json_node *open_string(judge *j, fh_str text) {
    const fh_json_options opt = {.allow_duplicate_keys = true};
    if (j->n_inner == INNER_MOST) return NULL;
    if (fh_json_parse(&j->inner[j->n_inner], text, &opt, NULL) != FH_OK) return NULL;
    return fh_json_root(j->inner[j->n_inner++]);
}

static const fh_json_node *element(const fh_json_node *list, uint64_t i) {
    const fh_json_node *n = fh_json_first(list);
    while (n && i--) n = fh_json_after(list, n);
    return n;
}

static const fh_json_node *walk(judge *j, const fh_json_node *n, fh_str ptr) {
    if (fh_str_is(ptr, ".")) return n;
    while (n && ptr.len) {
        fh_str rest = fh_str_drop(ptr, 1), text;
        size_t len;
        uint64_t i;
        if (!fh_str_find(rest, '/', &len)) len = rest.len;
        fh_str piece = fh_str_first(rest, len);
        if (fh_str_is(piece, "%")) n = fh_json_to_str(n, &text) ? open_string(j, text) : NULL;
        else if (fh_json_is(n, FH_JSON_ARRAY)) n = fh_str_u64(piece, &i) ? element(n, i) : NULL;
        else n = fh_json_get_str(n, piece);
        ptr = fh_str_drop(rest, len);
    }
    return n;
}

/* ---- tests ---- */

static bool is_kind(const fh_json_node *n, fh_str kind) {
    double v;
    if (!n) return false;
    switch (n->kind) {
    case FH_JSON_STRING: return fh_str_is(kind, "string");
    case FH_JSON_OBJECT: return fh_str_is(kind, "object");
    case FH_JSON_ARRAY: return fh_str_is(kind, "array");
    case FH_JSON_TRUE:
    case FH_JSON_FALSE: return fh_str_is(kind, "bool");
    case FH_JSON_NULL: return fh_str_is(kind, "null");
    case FH_JSON_NUMBER:
        return fh_str_is(kind, "number") || (fh_str_is(kind, "integer") && fh_json_to_f64(n, &v) && floor(v) == v);
    default: return false;
    }
}

static bool is_one_kind(const fh_json_node *n, fh_str kinds) {
    while (kinds.len) {
        size_t len;
        if (!fh_str_find(kinds, '|', &len)) len = kinds.len;
        if (is_kind(n, fh_str_first(kinds, len))) return true;
        kinds = fh_str_drop(kinds, len + 1);
    }
    return false;
}

static void show(const fh_json_node *n, fh_buf *out) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, false);
    if (n) fh_json_put_tree(&w, n);
    else fh_buf_add_z(out, "nothing");
}

static bool is_equal(const fh_json_node *a, const fh_json_node *b) {
    fh_buf x, y;
    fh_buf_init(&x, FH_API_ANSWER_MOST);
    fh_buf_init(&y, FH_API_ANSWER_MOST);
    show(a, &x);
    show(b, &y);
    bool same = fh_buf_check(&x, NULL) == FH_OK && fh_str_eq(fh_buf_str(&x), fh_buf_str(&y));
    fh_buf_release(&x);
    fh_buf_release(&y);
    return same;
}

static bool matches(judge *j, fh_str text, fh_str pattern) {
    fh_grammar *g = NULL;
    fh_matcher *m = NULL;
    bool ok = false;
    fh_status s = fh_grammar_from_regex(&g, pattern, j->err);
    if (s == FH_OK) s = fh_matcher_new(&m, g, j->err);
    if (s == FH_OK) s = fh_matcher_accept(m, text, &ok, j->err);
    ok = s == FH_OK && ok && fh_matcher_can_end(m);
    if (s != FH_OK && j->status == FH_OK) j->status = s;
    fh_matcher_free(m);
    fh_grammar_free(g);
    return ok;
}

static bool holds(judge *j, const fh_json_node *n, fh_str op, fh_str arg) {
    fh_str text;
    double v, least;
    uint64_t count;
    if (fh_str_is(op, ":")) return is_one_kind(n, arg);
    if (fh_str_is(op, "absent")) return !n;
    if (fh_str_is(op, "~")) return fh_json_to_str(n, &text) && matches(j, text, arg);
    if (fh_str_is(op, "#")) return n && fh_str_u64(arg, &count) && n->n_child == count;
    if (fh_str_is(op, ">=")) return fh_json_to_f64(n, &v) && fh_json_text_f64(arg, &least) && v >= least;
    const fh_json_node *want = open_string(j, arg);
    if (!want) stuck(j, FH_ERR_FORMAT, "JSON", arg);
    if (fh_str_is(op, "=")) return n && is_equal(n, want);
    if (!fh_str_is(op, "in")) stuck(j, FH_ERR_FORMAT, "a test", op);
    for (const fh_json_node *w = fh_json_first(want); n && w; w = fh_json_after(want, w))
        if (is_equal(n, w)) return true;
    return false;
}

static void test(judge *j, const fh_json_node *root, fh_str ptr, fh_str test) {
    fh_str left = test, op = word(&left);
    const fh_json_node *n = walk(j, root, ptr);
    if (j->failed || holds(j, n, op, left)) return;
    fh_buf got;
    fh_buf_init(&got, FH_API_ANSWER_MOST);
    show(n, &got);
    reject(j, "%.*s %.*s: it is %.*s", (int)FH_MIN(ptr.len, 70u), ptr.ptr, (int)FH_MIN(test.len, 60u), test.ptr,
           (int)FH_MIN(got.len, 100u), (const char *)got.ptr);
    fh_buf_release(&got);
}

/* ---- checks ---- */

static void forget_inner(judge *j) {
    while (j->n_inner) fh_json_free(j->inner[--j->n_inner]);
}

static const fh_json_node *root_of(const judge *j, size_t i) {
    return i < j->n && j->ev[i].doc ? fh_json_root(j->ev[i].doc) : NULL;
}

static void check_order(judge *j, fh_str pattern) {
    fh_buf all;
    fh_buf_init(&all, FH_API_ANSWER_MOST);
    for (size_t i = 0; i < j->n; i++) fh_buf_printf(&all, "%s ", j->ev[i].word);
    if (!matches(j, fh_buf_str(&all), pattern))
        reject(j, "events in the order %.*s: they are %.*s", (int)FH_MIN(pattern.len, 80u), pattern.ptr,
               (int)FH_MIN(all.len, 150u), all.len ? (const char *)all.ptr : "none");
    fh_buf_release(&all);
}

static void check_join(judge *j, fh_str line) {
    fh_str from = word(&line), ptr = word(&line), text;
    fh_buf all, quoted;
    fh_json_writer w;
    fh_buf_init(&all, FH_API_ANSWER_MOST);
    fh_buf_init(&quoted, FH_API_ANSWER_MOST);
    for (size_t i = 0; i < j->n; i++)
        if (fh_json_to_str(walk(j, root_of(j, i), from), &text)) fh_buf_add_str(&all, text);
    fh_json_writer_init(&w, &quoted, false);
    fh_json_put_str(&w, fh_buf_str(&all));
    const fh_json_node *root = open_string(j, fh_buf_str(&quoted));
    test(j, root, ptr, line);
    fh_buf_release(&quoted);
    fh_buf_release(&all);
}

static void check_line(judge *j, fh_str line) {
    fh_str left = line, first = word(&left), text;
    size_t last = j->n;
    while (last > 0 && !root_of(j, last - 1)) last--;
    if (fh_str_is(first, "content-type")) {
        if (strncmp(j->a->type, left.ptr, left.len) != 0) reject(j, "%.*s: it is %s", FH_STR_ARG(line), j->a->type);
    } else if (fh_str_is(first, "order")) {
        check_order(j, left);
    } else if (fh_str_is(first, "numbered")) {
        for (size_t i = 0; i < j->n; i++) {
            char want[40];
            (void)snprintf(want, sizeof want, "= %zu", i);
            test(j, root_of(j, i), left, fh_str_of(want));
            forget_inner(j);
        }
    } else if (fh_str_is(first, "each")) {
        fh_str ptr = word(&left);
        for (size_t i = 0; i < last; i++) {
            test(j, root_of(j, i), ptr, left);
            forget_inner(j);
        }
    } else if (fh_str_is(first, "last")) {
        fh_str ptr = word(&left);
        test(j, last ? root_of(j, last - 1) : NULL, ptr, left);
    } else if (fh_str_is(first, "join")) {
        check_join(j, left);
    } else if (fh_str_is(first, "keep")) {
        if (!fh_json_to_str(walk(j, root_of(j, 0), left), &text) || !fh_str_copy(j->kept, FH_API_KEPT_MOST, text))
            reject(j, "%.*s: it is no string", FH_STR_ARG(left));
    } else if (first.len && (first.ptr[0] == '/' || first.ptr[0] == '.')) {
        test(j, root_of(j, 0), first, left);
    } else {
        stuck(j, FH_ERR_FORMAT, "its first word", line);
    }
    forget_inner(j);
}

/* The first line is about the status. A route that is not there says 404, 405 or 501. */
static bool judge_status(judge *j, fh_str line, fh_api_result *out) {
    char want[8];
    (void)word(&line);
    (void)snprintf(want, sizeof want, "%d", j->a->status);
    if (fh_str_is(line, want)) return true;
    bool gone = j->a->status == 404 || j->a->status == 405 || j->a->status == 501;
    bool may = (j->c->flags & FH_API_MAY) && j->a->status >= 400 && j->a->status < 500;
    out->verdict = gone || may ? FH_API_ABSENT : FH_API_FAIL;
    size_t n = FH_MIN(j->a->body.len, 180u);
    (void)snprintf(out->why, sizeof out->why, "status %d, not %.*s: %.*s", j->a->status, FH_STR_ARG(line), (int)n,
                   n ? (const char *)j->a->body.ptr : "");
    return false;
}

fh_status fh_api_judge(const fh_api_case *c, const fh_api_reply *a, char *kept, fh_api_result *out, fh_err *err) {
    judge j = {.c = c, .a = a, .kept = kept, .err = err};
    fh_str checks = fh_str_of(c->checks), line = line_of(&checks);
    out->verdict = FH_API_PASS;
    out->why[0] = '\0';
    if (!judge_status(&j, line, out)) return FH_OK;
    read_events(&j);
    while (checks.len && !j.failed && j.status == FH_OK) {
        line = line_of(&checks);
        if (line.len) check_line(&j, line);
    }
    if (j.failed) {
        out->verdict = FH_API_FAIL;
        (void)snprintf(out->why, sizeof out->why, "%s", j.why);
    }
    for (size_t i = 0; i < j.n; i++) fh_json_free(j.ev[i].doc);
    fh_free(j.ev);
    return j.status;
}
