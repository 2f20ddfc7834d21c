/* text/reply_call.c - one call: its pattern walked part by part, from its name to its end.
 * SPDX-License-Identifier: Apache-2.0
 * Until a call is committed its text is held and may still become answer. Once committed it ends with CALL_END whatever
 * follows; what makes no sense in it ends it, and goes on as answer. */
#include "text/reply_part.h"

#define RETRY 512u /* bytes held that are looked at again when they are no call; beyond it all of them are answer */

void fh_reply_call_init(fh_reply *r, size_t part, fh_reply_mode after) {
    r->c = (fh_reply_call){.part = part, .kinds = FH_KIND_ANY};
    r->after = after;
    r->scan = r->sent = 0;
    fh_buf_clear(&r->args);
    fh_buf_clear(&r->token);
}

fh_status fh_reply_unhold(fh_reply *r, fh_err *err) {
    bool again = r->pos < r->mark + RETRY;
    size_t from = r->mark, end = again ? r->mark_end : r->pos;
    /* whole characters: the rest of one that has begun goes along, or all of it waits */
    while (end < r->in.len && ((unsigned char)r->in.ptr[end] & 0xC0) == 0x80) end++;
    if (!r->over) end -= fh_reply_half((fh_str){(const char *)r->in.ptr + from, end - from});
    if (r->after == FH_AT_SECTION && r->n_call > 0 && r->mode == FH_AT_CALL) {
        r->problems |= FH_REPLY_STRAY;
        r->broken = true;
    }
    r->held = false;
    r->mode = FH_AT_TEXT;
    r->pos = end;
    r->fresh = r->after_call = false;
    return fh_reply_emit(r, FH_REPLY_TEXT, (fh_str){(const char *)r->in.ptr + from, end - from}, err);
}

/* Takes the prefix off; false when nothing is left or it is no name. */
bool fh_reply_set_name(fh_reply *r, fh_str name) {
    const char *prefix = r->m->name_prefix;
    name = fh_trim(name);
    if (fh_given(prefix) && fh_str_starts(name, prefix)) name = fh_str_drop(name, strlen(prefix));
    if (name.len == 0 || name.len > FH_MARKUP_NAME_MAX) return false;
    memcpy(r->c.name, name.ptr, name.len);
    r->c.name_len = name.len;
    return true;
}

static void set_id(fh_reply *r, fh_str id) {
    if (id.len > FH_MARKUP_NAME_MAX) return;
    if (id.len > 0) memcpy(r->c.id, id.ptr, id.len);
    r->c.id_len = id.len;
}

void fh_reply_find_schema(fh_reply *r) {
    fh_str key = {r->c.key, r->c.key_len};
    r->c.value_schema = fh_json_get_str(fh_json_get(r->c.schema, "properties"), key);
    if (!r->c.value_schema) r->c.value_schema = fh_json_get(r->c.schema, "additionalProperties");
    r->c.kinds = r->c.value_schema ? fh_schema_kinds(r->c.value_schema, r->c.schema) : FH_KIND_ANY;
}

fh_status fh_reply_call_commit(fh_reply *r, fh_err *err) {
    if (r->c.committed) return FH_OK;
    fh_str name = {r->c.name, r->c.name_len};
    const fh_json_node *f = fh_tool_find(r->opt.tools, name);
    r->c.schema = fh_json_get(f, "parameters");
    if (r->opt.tools && !f) r->c.problems |= FH_REPLY_UNKNOWN_NAME;
    r->c.committed = true;
    r->held = false;
    r->n_call++;
    fh_reply_event ev = {.kind = FH_REPLY_CALL,
                         .call = r->n_call - 1,
                         .known = !r->opt.tools || f,
                         .name = name,
                         .id = {r->c.id, r->c.id_len}};
    FH_TRY(r->fn(r->user, &ev, err));
    return fh_reply_args_flush(r, false, err);
}

/* Whole characters only, until the end. */
fh_status fh_reply_args_flush(fh_reply *r, bool all, fh_err *err) {
    if (!r->c.committed || r->args.len == r->sent) return FH_OK;
    size_t end = r->args.len;
    for (size_t back = 1; !all && back <= 3 && r->sent + back <= r->args.len; back++) {
        uint8_t c = r->args.ptr[r->args.len - back];
        if ((c & 0xC0) == 0x80) continue;
        if (c >= 0xC0 && (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) > back) end -= back;
        break;
    }
    fh_str s = {(const char *)r->args.ptr + r->sent, end - r->sent};
    r->sent = end;
    return fh_reply_emit(r, FH_REPLY_ARGUMENTS, s, err);
}

fh_status fh_reply_args_add(fh_reply *r, fh_str bytes, fh_err *err) {
    fh_buf_add_str(&r->args, bytes);
    FH_TRY(fh_buf_check(&r->args, err));
    return fh_reply_args_flush(r, false, err);
}

static fh_status end_call(fh_reply *r, fh_err *err) {
    unsigned kind = 0;
    FH_TRY(fh_reply_call_commit(r, err));
    if (r->args.len == 0 && !(r->c.problems & FH_REPLY_CUT)) FH_TRY(fh_reply_args_add(r, FH_STR("{}"), err));
    FH_TRY(fh_reply_args_flush(r, true, err));
    if (fh_json_text_kind(fh_buf_str(&r->args), &kind) != FH_OK) return fh_fail_memory(err, r->args.len);
    if (kind != FH_KIND_OBJECT && !(r->c.problems & FH_REPLY_CUT)) r->c.problems |= FH_REPLY_NOT_JSON;
    r->problems |= r->c.problems;
    fh_reply_event ev = {.kind = FH_REPLY_CALL_END,
                         .call = r->n_call - 1,
                         .known = !(r->c.problems & FH_REPLY_UNKNOWN_NAME),
                         .problems = r->c.problems};
    r->mode = r->after;
    r->fresh = r->after_call = true;
    r->held = false;
    return r->fn(r->user, &ev, err);
}

fh_status fh_reply_call_fail(fh_reply *r, uint32_t problem, fh_err *err) {
    if (!r->c.committed) {
        r->problems |= problem & FH_REPLY_LIMIT;
        return fh_reply_unhold(r, err);
    }
    r->c.problems |= problem;
    r->broken = true;
    return end_call(r, err);
}

fh_status fh_reply_call_cut(fh_reply *r, fh_err *err) {
    if (!r->c.committed) {
        /* All of it is answer: nothing more will come that could make another call of it. But where calls open with
         * what also ends a turn, it was that. */
        fh_str s = {(const char *)r->in.ptr + r->mark, r->in.len - r->mark};
        if (fh_reply_ends_turn(r)) s.len = 0;
        r->pos = r->in.len;
        r->held = false;
        r->mode = FH_AT_TEXT;
        r->after_call = false;
        return fh_reply_emit(r, FH_REPLY_TEXT, s, err);
    }
    FH_TRY(fh_reply_cut_param(r, err));
    r->c.problems |= FH_REPLY_CUT;
    r->pos = r->in.len;
    return end_call(r, err);
}

/* Bytes that a name, an id or a number may have. */
static bool in_word(fh_hole hole, unsigned char c) {
    if (hole == FH_HOLE_NUMBER) return c >= '0' && c <= '9';
    return c > ' ' && c != 0x7F && !strchr("<>{}[]()\"'=|,;`", (char)c);
}

static bool word_done(fh_reply *r, fh_hole hole, fh_str word) {
    if (hole == FH_HOLE_NUMBER) return true;
    if (hole == FH_HOLE_ID) {
        set_id(r, word);
        return true;
    }
    if (hole == FH_HOLE_ID_NAME) {
        set_id(r, word);
        size_t n = word.len;
        while (n > 0 && word.ptr[n - 1] >= '0' && word.ptr[n - 1] <= '9') n--;
        if (n > 0 && n < word.len && word.ptr[n - 1] == ':') word.len = n - 1;
    }
    return fh_reply_set_name(r, word);
}

static fh_status step_word(fh_reply *r, fh_hole hole, fh_err *err) {
    while (r->pos < r->in.len && fh_is_space((char)r->in.ptr[r->pos])) r->pos++;
    size_t end = r->pos;
    while (end < r->in.len && end - r->pos <= FH_MARKUP_NAME_MAX && in_word(hole, r->in.ptr[end])) end++;
    fh_str word = {(const char *)r->in.ptr + r->pos, end - r->pos};
    if (word.len > FH_MARKUP_NAME_MAX) return fh_reply_call_fail(r, FH_REPLY_BROKEN, err);
    if (end == r->in.len && !r->over) {
        r->more = true;
        return FH_OK;
    }
    if (end == r->in.len) return fh_reply_call_cut(r, err);
    if (!word_done(r, hole, word)) return fh_reply_call_fail(r, FH_REPLY_BROKEN, err);
    r->pos = end;
    r->c.part++;
    return FH_OK;
}

static fh_status step_literal(fh_reply *r, fh_err *err) {
    fh_reply_skip_space(r);
    if (r->pos == r->in.len && !r->over) {
        r->more = true;
        return FH_OK;
    }
    switch (fh_reply_match(r, r->call.part[r->c.part].literal)) {
    case FH_MATCH_YES: r->c.part++; return FH_OK;
    case FH_MATCH_PART: r->more = true; return FH_OK;
    default: break;
    }
    fh_str rest = fh_reply_rest(r);
    if (r->over && (rest.len == 0 || fh_reply_look(r, r->pos, rest) == FH_MATCH_NO)) return fh_reply_call_cut(r, err);
    return fh_reply_call_fail(r, FH_REPLY_BROKEN, err);
}

/* Without arguments: what stands behind them in the pattern comes at once. */
static fh_match no_arguments(const fh_reply *r) {
    size_t at = r->pos;
    if (r->c.part + 1 >= r->call.n || r->c.scan.begun || r->args.len > 0) return FH_MATCH_NO;
    while (at < r->in.len && fh_is_space((char)r->in.ptr[at])) at++;
    if (at == r->in.len) return r->over ? FH_MATCH_NO : FH_MATCH_PART;
    return fh_reply_look(r, at, r->call.part[r->c.part + 1].literal);
}

static fh_status step_hole(fh_reply *r, fh_hole hole, fh_err *err) {
    fh_scan_end end = FH_SCAN_ON;
    switch (hole) {
    case FH_HOLE_ARGS:
        if (r->c.name_len > 0) {
            fh_match none = no_arguments(r);
            if (none == FH_MATCH_PART) {
                r->more = true;
                return FH_OK;
            }
            if (none == FH_MATCH_YES) {
                r->c.part++;
                return fh_reply_call_commit(r, err);
            }
        }
        FH_TRY(fh_reply_read_json(r, &end, err));
        break;
    case FH_HOLE_CALL: FH_TRY(fh_reply_read_call(r, &end, err)); break;
    case FH_HOLE_PYTHON: FH_TRY(fh_reply_read_python(r, &end, err)); break;
    case FH_HOLE_QUOTED: FH_TRY(fh_reply_read_quoted(r, &end, err)); break;
    default: {
        bool last = r->c.part + 1 >= r->call.n;
        FH_TRY(fh_reply_read_params(r, last ? (fh_str){NULL, 0} : r->call.part[r->c.part + 1].literal, &end, err));
        break;
    }
    }
    if (r->mode != FH_AT_CALL) return FH_OK; /* a ceiling ended it */
    if (end == FH_SCAN_DONE) r->c.part++;
    else if (end == FH_SCAN_BAD) return fh_reply_call_fail(r, FH_REPLY_BROKEN, err);
    else if (r->over) return fh_reply_call_cut(r, err);
    else r->more = true;
    return FH_OK;
}

fh_status fh_reply_call_step(fh_reply *r, fh_err *err) {
    if (r->n_call >= r->opt.max_call && !r->c.committed) return fh_reply_call_fail(r, FH_REPLY_LIMIT, err);
    if (r->c.part == r->call.n) return end_call(r, err);
    fh_hole hole = r->call.part[r->c.part].hole;
    switch (hole) {
    case FH_HOLE_NONE: return step_literal(r, err);
    case FH_HOLE_NAME:
    case FH_HOLE_ID:
    case FH_HOLE_ID_NAME:
    case FH_HOLE_NUMBER: return step_word(r, hole, err);
    default: return step_hole(r, hole, err);
    }
}
