/* text/reply_args.c - arguments as they are written: JSON, a call as JSON, parameters, Python, Gemma's notation.
 * SPDX-License-Identifier: Apache-2.0
 * JSON goes through byte for byte; everything else is made JSON on the way, strings while they are being written.
 * Refuses nesting beyond FH_MARKUP_NEST and brackets that do not match. */
#include "text/reply_part.h"

/* ---- where a JSON value ends ---- */
static fh_scan_end scan_bracket(fh_json_scan *s, char c) {
    if (c == '{' || c == '[') {
        if (s->depth == FH_MARKUP_NEST) return FH_SCAN_BAD;
        s->object = s->object << 1 | (c == '{');
        s->depth++;
        return FH_SCAN_ON;
    }
    if (s->depth == 0) return s->begun ? FH_SCAN_BEFORE : FH_SCAN_BAD;
    if ((s->object & 1) != (c == '}')) return FH_SCAN_BAD;
    s->object >>= 1;
    return --s->depth == 0 ? FH_SCAN_DONE : FH_SCAN_ON;
}

/* BEFORE: this byte is no longer part of the value (a number or word). */
static fh_scan_end scan_byte(fh_json_scan *s, char c) {
    if (s->string) {
        if (s->escape) s->escape = false;
        else if (c == '\\') s->escape = true;
        else if (c == '"') {
            s->string = false;
            return s->depth == 0 ? FH_SCAN_DONE : FH_SCAN_ON;
        }
        return FH_SCAN_ON;
    }
    if (fh_is_space(c)) return s->begun && s->depth == 0 ? FH_SCAN_BEFORE : FH_SCAN_ON;
    if (c == '{' || c == '[' || c == '}' || c == ']') {
        if (s->begun && s->depth == 0 && (c == '{' || c == '[')) return FH_SCAN_BAD;
        fh_scan_end end = scan_bracket(s, c);
        s->begun = true;
        return end;
    }
    if (c == '"') {
        if (s->begun && s->depth == 0) return FH_SCAN_BAD;
        s->begun = s->string = true;
        return FH_SCAN_ON;
    }
    if (c == ',' && s->depth == 0) return s->begun ? FH_SCAN_BEFORE : FH_SCAN_BAD;
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("+-.", c);
    if (word) s->begun = true;
    return word || (s->depth > 0 && (c == ',' || c == ':')) ? FH_SCAN_ON : FH_SCAN_BAD;
}

#define MAX_ASIDE ((size_t)1 << 16) /* bytes of a call as JSON that are not arguments */

/* From pos to the value's end, or to the end of what is there; appended to the arguments, the token, or nowhere. */
static fh_status take_value(fh_reply *r, bool args, bool keep, fh_scan_end *end, fh_err *err) {
    *end = FH_SCAN_ON;
    while (!r->c.scan.begun && r->pos < r->in.len && fh_is_space((char)r->in.ptr[r->pos])) r->pos++;
    bool counts = args || (r->c.state == FH_CALL_TEXT && r->c.member == FH_MEMBER_ARGS);
    size_t from = r->pos, n = r->in.len - from;
    size_t last = from + (counts ? fh_reply_allow(r, n, r->c.taken, r->opt.max_args)
                                 : fh_reply_allow(r, n, r->c.aside, MAX_ASIDE));
    while (*end == FH_SCAN_ON && r->pos < last) {
        *end = scan_byte(&r->c.scan, (char)r->in.ptr[r->pos]);
        if (*end == FH_SCAN_ON || *end == FH_SCAN_DONE) r->pos++;
    }
    fh_str s = {(const char *)r->in.ptr + from, r->pos - from};
    *(counts ? &r->c.taken : &r->c.aside) += s.len;
    if (args) FH_TRY(fh_reply_args_add(r, s, err));
    if (keep) {
        fh_buf_add_str(&r->token, s);
        FH_TRY(fh_buf_check(&r->token, err));
    }
    if (*end == FH_SCAN_BEFORE) *end = FH_SCAN_DONE;
    if (*end == FH_SCAN_ON && r->pos < r->in.len) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
    return FH_OK;
}

/* ---- a call as a JSON object ---- */
/* The token is a whole JSON string: its text. */
static fh_status token_text(fh_reply *r, fh_json_reader *reader, fh_str *out, bool *ok) {
    fh_json_event ev;
    fh_json_reader_init(reader, fh_buf_str(&r->token));
    fh_status s = fh_json_next(reader, &ev, NULL);
    *ok = s == FH_OK && ev.kind == FH_JSON_STRING;
    if (*ok) *out = ev.text;
    return s == FH_ERR_MEMORY ? s : FH_OK;
}

static fh_member member_of(const fh_reply *r, fh_str key) {
    const fh_markup *m = r->m;
    if (m->flags & FH_MARKUP_NAME_KEY) return r->c.has_args ? FH_MEMBER_OTHER : FH_MEMBER_ARGS;
    if (fh_given(m->key_name) && fh_str_is(key, m->key_name)) return FH_MEMBER_NAME;
    if (fh_given(m->key_args) && fh_str_is(key, m->key_args)) return FH_MEMBER_ARGS;
    if (fh_given(m->key_id) && fh_str_is(key, m->key_id)) return FH_MEMBER_ID;
    /* Models slip into each other's spellings. */
    if (fh_str_is(key, "name") && r->c.name_len == 0) return FH_MEMBER_NAME;
    if ((fh_str_is(key, "arguments") || fh_str_is(key, "parameters")) && !r->c.has_args) return FH_MEMBER_ARGS;
    if (fh_str_is(key, "id")) return FH_MEMBER_ID;
    if (fh_str_is(key, "function") && r->c.nest < 4) return FH_MEMBER_NEST;
    return FH_MEMBER_OTHER;
}

/* A bare reply is a call only with a name that is known and arguments; the others as soon as they have a name. */
static fh_status commit_if_ripe(fh_reply *r, bool *bad, fh_err *err) {
    fh_str name = {r->c.name, r->c.name_len};
    if (r->c.committed || name.len == 0) return FH_OK;
    if (r->bare && r->opt.tools && !fh_tool_find(r->opt.tools, name)) {
        *bad = true;
        return FH_OK;
    }
    if (r->bare && !r->c.has_args) return FH_OK;
    return fh_reply_call_commit(r, err);
}

static fh_status string_done(fh_reply *r, fh_scan_end *end, fh_err *err) {
    fh_json_reader reader;
    fh_str s = {NULL, 0};
    bool ok, bad = false;
    fh_status st = token_text(r, &reader, &s, &ok);
    if (st == FH_OK && ok) {
        if (r->c.state == FH_CALL_KEY_TEXT) {
            r->c.member = member_of(r, s);
            if (r->m->flags & FH_MARKUP_NAME_KEY && r->c.member == FH_MEMBER_ARGS) bad = !fh_reply_set_name(r, s);
        } else if (r->c.member == FH_MEMBER_NAME || r->c.member == FH_MEMBER_NEST) {
            bad = !fh_reply_set_name(r, s);
        } else if (r->c.member == FH_MEMBER_ID) {
            if (s.len <= FH_MARKUP_NAME_MAX && s.len > 0) {
                memcpy(r->c.id, s.ptr, s.len);
                r->c.id_len = s.len;
            }
        } else if (r->c.member == FH_MEMBER_ARGS) { /* JSON inside a string */
            r->c.has_args = true;
            st = fh_reply_args_add(r, s, err);
        }
    }
    fh_json_reader_release(&reader);
    if (st != FH_OK) return st == FH_ERR_MEMORY ? fh_fail_memory(err, r->token.len) : st;
    bool key = r->c.state == FH_CALL_KEY_TEXT;
    r->c.state = key ? FH_CALL_COLON : FH_CALL_KEY;
    if (ok && !bad && !key) FH_TRY(commit_if_ripe(r, &bad, err));
    if (!ok || bad) *end = FH_SCAN_BAD;
    return FH_OK;
}

/* A value begins with c. */
static fh_status call_value(fh_reply *r, char c, fh_scan_end *end, fh_err *err) {
    bool bad = false;
    r->c.scan = (fh_json_scan){0};
    fh_buf_clear(&r->token);
    if (r->c.member == FH_MEMBER_NEST && c == '{') {
        r->c.nest++;
        r->c.state = FH_CALL_KEY;
        r->pos++;
        return FH_OK;
    }
    if (c == '"' && r->c.member != FH_MEMBER_OTHER) {
        r->c.state = FH_CALL_TEXT;
        return FH_OK;
    }
    r->c.state = FH_CALL_REST;
    if (r->c.member == FH_MEMBER_ARGS && c == '{' && !r->c.has_args) {
        r->c.has_args = true;
        FH_TRY(commit_if_ripe(r, &bad, err));
        if (bad) *end = FH_SCAN_BAD;
        return FH_OK;
    }
    if (r->c.member == FH_MEMBER_NAME) *end = FH_SCAN_BAD;
    r->c.member = FH_MEMBER_OTHER;
    return FH_OK;
}

static fh_status call_punctuation(fh_reply *r, fh_scan_end *end, fh_err *err) {
    char c = (char)r->in.ptr[r->pos];
    if (fh_is_space(c)) {
        r->pos++;
        return FH_OK;
    }
    switch (r->c.state) {
    case FH_CALL_OPEN:
        if (c == '{') r->c.state = FH_CALL_KEY;
        else *end = FH_SCAN_BAD;
        break;
    case FH_CALL_KEY:
        if (c == '"') {
            r->c.state = FH_CALL_KEY_TEXT;
            r->c.scan = (fh_json_scan){0};
            fh_buf_clear(&r->token);
            return FH_OK;
        }
        if (c == '}' && r->c.nest > 0) r->c.nest--;
        else if (c == '}') *end = FH_SCAN_DONE;
        else if (c != ',') *end = FH_SCAN_BAD;
        break;
    case FH_CALL_COLON:
        if (c == ':') r->c.state = FH_CALL_VALUE;
        else *end = FH_SCAN_BAD;
        break;
    default: return call_value(r, c, end, err);
    }
    if (*end != FH_SCAN_BAD) r->pos++;
    return FH_OK;
}

fh_status fh_reply_read_call(fh_reply *r, fh_scan_end *end, fh_err *err) {
    while (*end == FH_SCAN_ON && r->pos < r->in.len && r->mode == FH_AT_CALL) {
        if (r->c.state == FH_CALL_KEY_TEXT || r->c.state == FH_CALL_TEXT) {
            fh_scan_end got;
            FH_TRY(take_value(r, false, true, &got, err));
            if (r->mode != FH_AT_CALL) return FH_OK;
            bool name = r->c.state == FH_CALL_KEY_TEXT || r->c.member != FH_MEMBER_ARGS;
            if (name && r->token.len > 6 * FH_MARKUP_NAME_MAX) *end = FH_SCAN_BAD;
            else if (got == FH_SCAN_DONE) FH_TRY(string_done(r, end, err));
        } else if (r->c.state == FH_CALL_REST) {
            fh_scan_end got;
            FH_TRY(take_value(r, r->c.member == FH_MEMBER_ARGS, false, &got, err));
            if (r->mode != FH_AT_CALL) return FH_OK;
            if (got == FH_SCAN_BAD) *end = got;
            if (got == FH_SCAN_DONE) r->c.state = FH_CALL_KEY;
        } else {
            FH_TRY(call_punctuation(r, end, err));
        }
    }
    if (*end == FH_SCAN_DONE && r->mode == FH_AT_CALL) {
        bool known = r->c.name_len > 0 && (!r->bare || r->c.has_args);
        if (!known) *end = FH_SCAN_BAD;
    }
    return FH_OK;
}

/* ---- the arguments alone ---- */
fh_status fh_reply_read_json(fh_reply *r, fh_scan_end *end, fh_err *err) {
    if (!r->c.scan.begun) {
        fh_reply_skip_space(r);
        if (r->pos == r->in.len) return FH_OK;
        r->c.state = r->in.ptr[r->pos] == '"' ? FH_CALL_TEXT : FH_CALL_REST;
        if (r->c.state == FH_CALL_REST && r->in.ptr[r->pos] != '{') {
            *end = FH_SCAN_BAD;
            return FH_OK;
        }
        r->c.member = FH_MEMBER_ARGS;
        FH_TRY(fh_reply_call_commit(r, err));
    }
    if (r->c.state == FH_CALL_TEXT) { /* JSON inside a string, as some templates teach it */
        FH_TRY(take_value(r, false, true, end, err));
        if (*end == FH_SCAN_DONE && r->mode == FH_AT_CALL) FH_TRY(string_done(r, end, err));
        return FH_OK;
    }
    return take_value(r, true, false, end, err);
}

/* ---- parameters, each in its pattern ---- */
/* Searches on from where the last search ended. */
static bool find_close(fh_reply *r, fh_str close, size_t *at) {
    size_t from = FH_MAX(r->scan, r->pos);
    const char *p = (const char *)r->in.ptr;
    const char *hit = r->in.len > from ? memmem(p + from, r->in.len - from, close.ptr, close.len) : NULL;
    if (!hit) {
        size_t keep = close.len - 1;
        r->scan = r->in.len > keep ? FH_MAX(from, r->in.len - keep) : from;
        return false;
    }
    *at = (size_t)(hit - p);
    return true;
}

/* A member's name, behind what stands before it. */
static fh_status begin_member(fh_reply *r, fh_err *err) {
    FH_TRY(fh_reply_call_commit(r, err));
    fh_buf_add_z(&r->args, r->c.any_param ? ", \"" : "{\"");
    fh_json_escape(&r->args, (fh_str){r->c.key, r->c.key_len});
    fh_buf_add_z(&r->args, "\": ");
    r->c.any_param = true;
    return fh_buf_check(&r->args, err);
}

static fh_status end_members(fh_reply *r, fh_scan_end *end, fh_err *err) {
    FH_TRY(fh_reply_call_commit(r, err));
    *end = FH_SCAN_DONE;
    return fh_reply_args_add(r, r->c.any_param ? FH_STR("}") : FH_STR("{}"), err);
}

static bool set_key(fh_reply *r, fh_str key) {
    key = fh_trim(key);
    if (key.len == 0 || key.len > FH_MARKUP_NAME_MAX) return false;
    memcpy(r->c.key, key.ptr, key.len);
    r->c.key_len = key.len;
    r->c.taken += key.len + 8; /* with what JSON puts around it */
    return true;
}

/* The text up to the literal that follows a key or type; ends: ON = not there yet. */
static fh_scan_end word_before(fh_reply *r, fh_str literal, fh_str *out) {
    fh_str rest = fh_str_first(fh_reply_rest(r), FH_MARKUP_NAME_MAX + literal.len);
    const char *at = memmem(rest.ptr, rest.len, literal.ptr, literal.len);
    if (!at) return rest.len == FH_MARKUP_NAME_MAX + literal.len ? FH_SCAN_BAD : FH_SCAN_ON;
    *out = fh_str_first(rest, (size_t)(at - rest.ptr));
    r->pos += out->len;
    return FH_SCAN_DONE;
}

static void set_type(fh_reply *r, fh_str type) {
    if (fh_str_is(type, "true")) r->c.kinds = FH_KIND_STRING;
    else if (fh_str_is(type, "false")) r->c.kinds = FH_KIND_ANY & ~(unsigned)FH_KIND_STRING;
    else r->c.kinds = fh_kind_of_type(type);
}

/* What ends the value that begins here: the literal behind it, with the key where the pattern repeats it. */
static fh_status set_close(fh_reply *r, fh_err *err) {
    const fh_pattern *p = &r->param;
    fh_buf_clear(&r->close);
    for (size_t i = r->c.param + 1; i < p->n && r->close.len < 512; i++) {
        if (p->part[i].hole == FH_HOLE_NONE && (i == r->c.param + 1 || !p->part[i].line_before))
            fh_buf_add_str(&r->close, p->part[i].literal);
        else if (p->part[i].hole == FH_HOLE_KEY) fh_buf_add(&r->close, r->c.key, r->c.key_len);
        else break;
    }
    return fh_buf_check(&r->close, err);
}

static fh_status put_value(fh_reply *r, fh_str text, fh_err *err) {
    bool wrong = false;
    fh_str mark = r->param.part[0].literal;
    if (r->m->flags & FH_MARKUP_TREE)
        FH_TRY(fh_tree_to_json(&r->args, text, mark, r->c.value_schema, r->c.schema, &wrong, err));
    else FH_TRY(fh_value_to_json(&r->args, text, r->c.kinds, &wrong, err));
    if (wrong) r->c.problems |= FH_REPLY_WRONG_TYPE;
    return fh_reply_args_flush(r, false, err);
}

static fh_status put_text(fh_reply *r, size_t end, fh_err *err) {
    if (end <= r->pos) return FH_OK;
    fh_json_escape(&r->args, (fh_str){(const char *)r->in.ptr + r->pos, end - r->pos});
    r->c.taken += end - r->pos;
    r->pos = end;
    FH_TRY(fh_buf_check(&r->args, err));
    return fh_reply_args_flush(r, false, err);
}

static bool is_line(const fh_reply *r, size_t at) { return at < r->in.len && r->in.ptr[at] == '\n'; }

static fh_status value_begins(fh_reply *r, fh_err *err) {
    const fh_pattern_part *part = &r->param.part[r->c.param];
    if (part->line_before && is_line(r, r->pos)) r->pos++;
    FH_TRY(begin_member(r, err));
    FH_TRY(set_close(r, err));
    r->c.in_value = true;
    r->c.text_kind = r->c.kinds == FH_KIND_STRING;
    r->scan = r->pos;
    if (r->c.text_kind) return fh_reply_args_add(r, FH_STR("\""), err);
    return fh_reply_args_flush(r, false, err);
}

/* Strings go out while they are written; all but what may be the newline and the literal that end them. */
static fh_status step_value(fh_reply *r, fh_scan_end *end, fh_err *err) {
    bool line = r->param.part[r->c.param].line_after;
    fh_str close = fh_buf_str(&r->close);
    if (!r->c.in_value) {
        if (r->pos == r->in.len) return FH_OK;
        FH_TRY(value_begins(r, err));
        close = fh_buf_str(&r->close);
    }
    size_t at = 0;
    bool found = find_close(r, close, &at);
    size_t stop = found ? at : r->in.len - FH_MIN(r->in.len - r->pos, close.len - 1 + line);
    if (found && line && at > r->pos && is_line(r, at - 1)) stop = at - 1;
    size_t fits = fh_reply_allow(r, stop - r->pos, r->c.taken, r->opt.max_args);
    if (stop - r->pos > fits) {
        if (r->c.text_kind) FH_TRY(put_text(r, r->pos + fits, err));
        return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
    }
    if (r->c.text_kind) FH_TRY(put_text(r, stop, err));
    if (!found) return FH_OK;
    if (r->c.text_kind) {
        FH_TRY(fh_reply_args_add(r, FH_STR("\""), err));
    } else {
        r->c.taken += stop - r->pos;
        FH_TRY(put_value(r, (fh_str){(const char *)r->in.ptr + r->pos, stop - r->pos}, err));
    }
    r->pos = at + close.len;
    r->c.in_value = false;
    *end = FH_SCAN_DONE;
    return FH_OK;
}

/* Past the parts that set_close put together. */
static size_t part_behind_close(const fh_pattern *p, size_t value) {
    size_t i = value + 1;
    while (i < p->n && (i == value + 1 || !p->part[i].line_before) &&
           (p->part[i].hole == FH_HOLE_NONE || p->part[i].hole == FH_HOLE_KEY))
        i++;
    return i;
}

static fh_status step_param(fh_reply *r, fh_scan_end *end, fh_err *err) {
    const fh_pattern_part *part = &r->param.part[r->c.param];
    fh_str word = {NULL, 0};
    switch (part->hole) {
    case FH_HOLE_NONE: {
        if (part->line_before) fh_reply_skip_space(r);
        fh_match m = fh_reply_match(r, part->literal);
        *end = m == FH_MATCH_YES ? FH_SCAN_DONE : m == FH_MATCH_PART ? FH_SCAN_ON : FH_SCAN_BAD;
        break;
    }
    case FH_HOLE_KEY:
    case FH_HOLE_TYPE:
        if (r->c.param + 1 >= r->param.n) *end = FH_SCAN_BAD;
        else *end = word_before(r, r->param.part[r->c.param + 1].literal, &word);
        if (*end != FH_SCAN_DONE) break;
        if (part->hole == FH_HOLE_TYPE) {
            set_type(r, word);
        } else if (set_key(r, word)) {
            FH_TRY(fh_reply_call_commit(r, err)); /* the schema is known from here on */
            fh_reply_find_schema(r);
        } else {
            *end = FH_SCAN_BAD;
        }
        break;
    case FH_HOLE_VALUE:
        FH_TRY(step_value(r, end, err));
        if (*end == FH_SCAN_DONE) r->c.param = part_behind_close(&r->param, r->c.param) - 1;
        break;
    default: *end = FH_SCAN_BAD; break;
    }
    if (*end == FH_SCAN_DONE && ++r->c.param == r->param.n) r->c.param = 0;
    return FH_OK;
}

fh_status fh_reply_read_params(fh_reply *r, fh_str behind, fh_scan_end *end, fh_err *err) {
    while (r->mode == FH_AT_CALL) {
        if (r->c.param > 0) {
            fh_scan_end got = FH_SCAN_ON;
            FH_TRY(step_param(r, &got, err));
            *end = got == FH_SCAN_BAD ? got : FH_SCAN_ON;
            if (got != FH_SCAN_DONE) return FH_OK;
            continue;
        }
        fh_reply_skip_space(r);
        if (r->pos == r->in.len || r->param.n == 0) return FH_OK;
        fh_match close = behind.len > 0 ? fh_reply_look(r, r->pos, behind) : FH_MATCH_NO;
        fh_match open = fh_reply_look(r, r->pos, r->param.part[0].literal);
        if (close == FH_MATCH_YES || (behind.len == 0 && open == FH_MATCH_NO)) return end_members(r, end, err);
        if (close == FH_MATCH_PART || open == FH_MATCH_PART) return FH_OK;
        if (open == FH_MATCH_NO) {
            *end = FH_SCAN_BAD;
            return FH_OK;
        }
        if (fh_reply_full(r)) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
        r->pos += r->param.part[0].literal.len;
        r->c.param = 1;
    }
    return FH_OK;
}

fh_status fh_reply_cut_param(fh_reply *r, fh_err *err) {
    if (!r->c.in_value) return FH_OK;
    r->c.in_value = false;
    fh_str rest = fh_reply_rest(r), close = fh_buf_str(&r->close);
    size_t n = FH_MIN(rest.len, close.len);
    while (n > 0 && memcmp(rest.ptr + rest.len - n, close.ptr, n) != 0) n--;
    rest.len -= n;
    size_t fits = fh_reply_allow(r, rest.len, r->c.taken, r->opt.max_args);
    if (r->c.text_kind) return put_text(r, r->pos + fits, err);
    return rest.len > 0 && rest.len <= fits ? put_value(r, rest, err) : FH_OK;
}
