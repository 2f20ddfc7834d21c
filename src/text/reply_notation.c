/* text/reply_notation.c - arguments in notations of their own: Python's keyword arguments, and {key:value} with marked
 * strings (Gemma 4). Made JSON on the way; marked strings while they are being written.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses nesting beyond FH_MARKUP_NEST, positional arguments, brackets that do not match. */
#include "text/reply_part.h"

static size_t room(const fh_reply *r) { return r->opt.max_args - FH_MIN(r->c.taken, r->opt.max_args); }

static fh_status put_key(fh_reply *r, fh_str key, fh_err *err) {
    fh_buf_add_byte(&r->args, '"');
    fh_json_escape(&r->args, key);
    fh_buf_add_z(&r->args, "\": ");
    return fh_buf_check(&r->args, err);
}

/* ---- Python: name=value, name=value ---- */
static bool in_identifier(unsigned char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

/* name= ; PART when more text is needed */
static fh_scan_end python_key(fh_reply *r) {
    size_t end = r->pos, at;
    while (end < r->in.len && end - r->pos <= FH_MARKUP_NAME_MAX && in_identifier(r->in.ptr[end])) end++;
    at = end;
    while (at < r->in.len && fh_is_space((char)r->in.ptr[at])) at++;
    size_t n = end - r->pos;
    if (n > FH_MARKUP_NAME_MAX) return FH_SCAN_BAD;
    if (at == r->in.len) return FH_SCAN_ON;
    if (r->in.ptr[at] != '=' || n == 0) return FH_SCAN_BAD;
    memcpy(r->c.key, r->in.ptr + r->pos, n);
    r->c.key_len = n;
    r->pos = at + 1;
    return FH_SCAN_DONE;
}

/* Where the value ends: at a comma or bracket outside strings and brackets. quoted_state is the open quote. */
static bool python_end(fh_reply *r) {
    fh_json_scan *s = &r->c.scan;
    for (; r->scan < r->in.len; r->scan++) {
        char c = (char)r->in.ptr[r->scan];
        if (r->c.quoted_state) {
            if (s->escape) s->escape = false;
            else if (c == '\\') s->escape = true;
            else if (c == (char)r->c.quoted_state) r->c.quoted_state = 0;
        } else if (c == '"' || c == '\'') {
            r->c.quoted_state = (uint8_t)c;
        } else if (c == '(' || c == '[' || c == '{') {
            if (s->depth < FH_MARKUP_NEST) s->depth++;
        } else if (s->depth == 0 && (c == ',' || c == ')' || c == ']' || c == '}')) {
            return true;
        } else if (c == ')' || c == ']' || c == '}') {
            s->depth--;
        }
    }
    return false;
}

static fh_status python_value(fh_reply *r, fh_err *err) {
    bool wrong = false;
    fh_str text = fh_trim((fh_str){(const char *)r->in.ptr + r->pos, r->scan - r->pos});
    r->c.taken += r->scan - r->pos;
    r->pos = r->scan;
    r->c.in_value = false;
    fh_buf_add_z(&r->args, r->c.any_param ? ", " : "{");
    FH_TRY(put_key(r, (fh_str){r->c.key, r->c.key_len}, err));
    r->c.any_param = true;
    if (!fh_python_to_json(&r->args, text)) {
        FH_TRY(fh_buf_check(&r->args, err));
        FH_TRY(fh_value_to_json(&r->args, text, FH_KIND_ANY, &wrong, err));
        r->c.problems |= FH_REPLY_WRONG_TYPE;
    }
    FH_TRY(fh_buf_check(&r->args, err));
    return fh_reply_args_flush(r, false, err);
}

fh_status fh_reply_read_python(fh_reply *r, fh_scan_end *end, fh_err *err) {
    for (;;) {
        if (r->c.in_value) {
            bool whole = python_end(r);
            if (r->scan - r->pos > room(r)) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
            if (!whole) return FH_OK;
            FH_TRY(python_value(r, err));
            continue;
        }
        while (r->pos < r->in.len && (fh_is_space((char)r->in.ptr[r->pos]) || r->in.ptr[r->pos] == ',')) r->pos++;
        if (r->pos == r->in.len) return FH_OK;
        bool over = r->in.ptr[r->pos] == ')';
        fh_scan_end got = over ? FH_SCAN_DONE : python_key(r);
        bool known = !r->bare || !r->opt.tools || fh_tool_find(r->opt.tools, (fh_str){r->c.name, r->c.name_len});
        if (got == FH_SCAN_BAD || (got == FH_SCAN_DONE && !known)) *end = FH_SCAN_BAD;
        if (got != FH_SCAN_DONE || !known) return FH_OK;
        FH_TRY(fh_reply_call_commit(r, err));
        if (!over && fh_reply_full(r)) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
        r->c.taken += over ? 0 : r->c.key_len + 8;
        if (over) {
            *end = FH_SCAN_DONE;
            return fh_reply_args_add(r, r->c.any_param ? FH_STR("}") : FH_STR("{}"), err);
        }
        r->c.in_value = true;
        r->c.scan = (fh_json_scan){0};
        r->c.quoted_state = 0;
        r->scan = r->pos;
    }
}

/* ---- {key:value}, strings between quote marks ---- */
enum { QUOTED_OPEN, QUOTED_KEY, QUOTED_VALUE, QUOTED_STRING, QUOTED_AFTER };

static bool push(fh_reply_call *c, bool object) {
    if (c->quoted_depth == FH_MARKUP_NEST) return false;
    c->quoted_object = c->quoted_object << 1 | object;
    c->quoted_depth++;
    return true;
}

static void close_container(fh_reply *r, char c, fh_scan_end *end) {
    if (r->c.quoted_depth == 0 || (r->c.quoted_object & 1) != (c == '}')) {
        *end = FH_SCAN_BAD;
        return;
    }
    fh_buf_add_byte(&r->args, (uint8_t)c);
    r->c.taken++;
    r->c.quoted_object >>= 1;
    r->c.quoted_depth--;
    r->c.quoted_state = QUOTED_AFTER;
    r->pos++;
    if (r->c.quoted_depth == 0) *end = FH_SCAN_DONE;
}

/* Up to one of the bytes that end a bare word; strings of JSON are read as such. */
static bool bare_word(const fh_reply *r, const char *ends, fh_str *out) {
    fh_str s = fh_reply_rest(r);
    bool quoted = s.len > 0 && s.ptr[0] == '"', escape = false;
    for (size_t i = quoted; i < s.len; i++) {
        if (quoted && !escape && s.ptr[i] == '"') quoted = false;
        else if (!quoted && s.ptr[i] && strchr(ends, s.ptr[i])) {
            *out = fh_str_first(s, i);
            return true;
        }
        escape = quoted && !escape && s.ptr[i] == '\\';
    }
    *out = s;
    return false;
}

static fh_status quoted_key(fh_reply *r, fh_scan_end *end, bool *wait, fh_err *err) {
    fh_str key, quote = fh_str_of(r->m->quote);
    if (r->in.ptr[r->pos] == '}') {
        close_container(r, '}', end);
        return FH_OK;
    }
    bool whole = bare_word(r, ":", &key);
    if (key.len > FH_MARKUP_NAME_MAX) *end = FH_SCAN_BAD;
    else *wait = !whole;
    if (!whole || *end == FH_SCAN_BAD) return FH_OK;
    r->pos += key.len + 1;
    r->c.taken += key.len + 1;
    key = fh_trim(key);
    if (key.len >= 2 * quote.len && fh_str_starts(key, r->m->quote) && fh_str_ends(key, r->m->quote)) {
        key = fh_str_first(fh_str_drop(key, quote.len), key.len - 2 * quote.len);
    } else if (key.len >= 2 && key.ptr[0] == '"' && key.ptr[key.len - 1] == '"') {
        key = fh_str_first(fh_str_drop(key, 1), key.len - 2);
    }
    r->c.quoted_state = QUOTED_VALUE;
    return put_key(r, key, err);
}

static fh_status quoted_word(fh_reply *r, fh_scan_end *end, bool *wait, fh_err *err) {
    fh_str word;
    bool wrong = false, whole = bare_word(r, ",}]", &word);
    if (word.len > FH_MIN(room(r), (size_t)4096)) *end = FH_SCAN_BAD;
    else *wait = !whole;
    if (!whole || *end == FH_SCAN_BAD) return FH_OK;
    r->pos += word.len;
    r->c.taken += word.len;
    r->c.quoted_state = QUOTED_AFTER;
    word = fh_trim(word);
    unsigned kinds = word.len > 0 && word.ptr[0] == '"' ? FH_KIND_STRING | FH_KIND_NULL : FH_KIND_ANY;
    return fh_value_to_json(&r->args, word, kinds, &wrong, err);
}

static fh_status quoted_value(fh_reply *r, fh_scan_end *end, bool *wait, fh_err *err) {
    char c = (char)r->in.ptr[r->pos];
    fh_match quote = fh_reply_look(r, r->pos, fh_str_of(r->m->quote));
    if (quote == FH_MATCH_PART) {
        *wait = true;
    } else if (quote == FH_MATCH_YES) {
        r->pos += strlen(r->m->quote);
        r->scan = r->pos;
        r->c.quoted_state = QUOTED_STRING;
        fh_buf_add_byte(&r->args, '"');
    } else if (c == '{' || c == '[') {
        if (!push(&r->c, c == '{')) *end = FH_SCAN_BAD;
        fh_buf_add_byte(&r->args, (uint8_t)c);
        r->c.quoted_state = c == '{' ? QUOTED_KEY : QUOTED_VALUE;
        r->pos++;
    } else if (c == ']') {
        close_container(r, c, end);
    } else {
        return quoted_word(r, end, wait, err);
    }
    return FH_OK;
}

/* Bytes at the end of s that may be the first of `with`. Only those wait: a text that is cut here loses nothing. */
static size_t begun(fh_str s, fh_str with) {
    size_t n = FH_MIN(s.len, with.len - 1);
    while (n > 0 && memcmp(s.ptr + s.len - n, with.ptr, n) != 0) n--;
    return n;
}

static fh_status quoted_string(fh_reply *r, bool *wait, fh_err *err) {
    fh_str quote = fh_str_of(r->m->quote);
    const char *from = (const char *)r->in.ptr + r->pos;
    const char *hit = memmem(from, r->in.len - r->pos, quote.ptr, quote.len);
    size_t n = hit ? (size_t)(hit - from) : r->in.len - r->pos - begun((fh_str){from, r->in.len - r->pos}, quote);
    size_t take = fh_reply_allow(r, n, r->c.taken, r->opt.max_args);
    fh_json_escape(&r->args, (fh_str){from, take});
    r->c.taken += take;
    r->pos += take;
    FH_TRY(fh_buf_check(&r->args, err));
    if (take < n) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
    if (hit) {
        r->pos += quote.len;
        fh_buf_add_byte(&r->args, '"');
        r->c.quoted_state = QUOTED_AFTER;
    }
    *wait = !hit;
    return FH_OK;
}

static void quoted_after(fh_reply *r, char c, fh_scan_end *end) {
    if (c != ',') {
        if (c == '}' || c == ']') close_container(r, c, end);
        else *end = FH_SCAN_BAD;
        return;
    }
    fh_buf_add_z(&r->args, ", ");
    r->c.taken++;
    r->c.quoted_state = r->c.quoted_object & 1 ? QUOTED_KEY : QUOTED_VALUE;
    r->pos++;
}

fh_status fh_reply_read_quoted(fh_reply *r, fh_scan_end *end, fh_err *err) {
    bool wait = false;
    if (!fh_given(r->m->quote)) *end = FH_SCAN_BAD;
    while (*end == FH_SCAN_ON && !wait) {
        if (r->c.quoted_state != QUOTED_STRING) fh_reply_skip_space(r);
        if (r->pos == r->in.len) break;
        char c = (char)r->in.ptr[r->pos];
        bool string = r->c.quoted_state == QUOTED_STRING; /* sees to its ceiling itself */
        if (!string && r->c.committed && fh_reply_full(r)) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
        switch (r->c.quoted_state) {
        case QUOTED_OPEN:
            if (c != '{') {
                *end = FH_SCAN_BAD;
                return FH_OK;
            }
            FH_TRY(fh_reply_call_commit(r, err));
            (void)push(&r->c, true);
            fh_buf_add_byte(&r->args, '{');
            r->c.quoted_state = QUOTED_KEY;
            r->pos++;
            break;
        case QUOTED_KEY: FH_TRY(quoted_key(r, end, &wait, err)); break;
        case QUOTED_VALUE: FH_TRY(quoted_value(r, end, &wait, err)); break;
        case QUOTED_STRING: FH_TRY(quoted_string(r, &wait, err)); break;
        default: quoted_after(r, c, end); break;
        }
        if (r->mode != FH_AT_CALL) return FH_OK;
        FH_TRY(fh_buf_check(&r->args, err));
        FH_TRY(fh_reply_args_flush(r, false, err));
    }
    return FH_OK;
}
