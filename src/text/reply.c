/* text/reply.c - generated text to events: answer, reasoning, channel headers, and where calls begin.
 * SPDX-License-Identifier: Apache-2.0
 * Transitions: TEXT -> THINK on its opening, back on its close; TEXT -> SECTION -> CALL on theirs (reply_call.c), back
 * when they end or turn out to be none; TEXT -> HEADER -> TEXT, THINK or CALL where a markup has channels.
 * Invariants: (1) decisions depend on the text alone, never on where it was cut; (2) what waits is at most a tag, a run
 * of 256 blanks, a header, or the head of a call; (3) no byte is looked at more than a constant number of times. */
#include "text/reply_part.h"

#define MAX_SPACE 256u      /* blanks that wait for a tag behind them */
#define MAX_HEADER 400u     /* bytes between head_open and head_close */
#define MAX_HEAD (1u << 18) /* bytes held beside arguments: names, blanks, other members */
#define MAX_IN ((size_t)64 << 20)

/* ---- tags ---- */
static void add_literal(fh_reply_tags *t, fh_str s, fh_tag_act act) {
    if (s.len == 0 || t->n == FH_REPLY_TAGS) return;
    t->tag[t->n].text = s;
    t->tag[t->n++].act = act;
    t->first[(unsigned char)s.ptr[0]] = true;
}

static void add_tag(fh_reply_tags *t, const char *text, fh_tag_act act) {
    add_literal(t, fh_trim(fh_str_of(text ? text : "")), act);
}

static void set_tags(fh_reply *r) {
    const fh_markup *m = r->m;
    fh_reply_tags *t = &r->text_tags, *k = &r->think_tags;
    bool calls = !r->opt.no_calls && r->call.n > 0;
    if (calls && fh_given(m->section_open)) add_tag(t, m->section_open, FH_TAG_SECTION);
    else if (calls) add_literal(t, r->call.part[0].literal, FH_TAG_CALL);
    if (calls && m->flags & FH_MARKUP_CALL_FIRST) *k = *t;
    add_tag(t, m->think_open, FH_TAG_THINK);
    add_tag(k, m->think_open, FH_TAG_THINK);
    add_tag(k, m->think_close, FH_TAG_THINK_END);
    for (size_t i = 0; i < FH_COUNT(m->head_open); i++) {
        add_tag(t, m->head_open[i], FH_TAG_HEADER);
        add_tag(k, m->head_open[i], FH_TAG_HEADER);
    }
    for (size_t i = 0; i < FH_COUNT(m->body_close); i++) {
        add_tag(t, m->body_close[i], FH_TAG_BODY_END);
        add_tag(k, m->body_close[i], FH_TAG_BODY_END);
    }
    for (size_t i = 0; i < FH_MARKUP_LIST; i++) add_tag(t, m->drop[i], FH_TAG_DROP);
    /* Of two tags that read the same the first counts: an end of turn may also be what ends reasoning. */
    for (size_t i = 0; i < FH_MARKUP_LIST; i++) add_tag(t, m->end[i], FH_TAG_END);
    add_tag(t, m->think_close, FH_TAG_THINK_END);
    if (calls) {
        add_tag(t, m->section_close, FH_TAG_LATE);
        add_literal(t, r->call.part[r->call.n - 1].literal, FH_TAG_LATE);
    }
}

/* ---- small things ---- */
fh_status fh_reply_emit(fh_reply *r, fh_reply_kind kind, fh_str text, fh_err *err) {
    if (text.len == 0) return FH_OK;
    if (kind == FH_REPLY_TEXT) r->spoke = true;
    fh_reply_event ev = {.kind = kind, .text = text, .call = r->n_call ? r->n_call - 1 : 0, .known = true};
    return r->fn(r->user, &ev, err);
}

fh_match fh_reply_look(const fh_reply *r, size_t at, fh_str literal) {
    size_t left = r->in.len - at, n = FH_MIN(left, literal.len);
    if (n > 0 && memcmp(r->in.ptr + at, literal.ptr, n) != 0) return FH_MATCH_NO;
    return n == literal.len ? FH_MATCH_YES : r->over ? FH_MATCH_NO : FH_MATCH_PART;
}

fh_match fh_reply_match(fh_reply *r, fh_str literal) {
    fh_match m = fh_reply_look(r, r->pos, literal);
    if (m == FH_MATCH_YES) r->pos += literal.len;
    return m;
}

void fh_reply_skip_space(fh_reply *r) {
    while (r->pos < r->in.len && fh_is_space((char)r->in.ptr[r->pos])) r->pos++;
}

size_t fh_reply_half(fh_str s) {
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        unsigned char c = (unsigned char)s.ptr[s.len - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t need = c >= 0xF0 && c < 0xF8 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return c < 0xF8 && need > back ? back : 0;
    }
    return 0;
}

/* ---- answer and reasoning ---- */
/* Says what stands from pos to end; blanks at its end are left for the caller when keep is set. */
static fh_status say(fh_reply *r, fh_reply_kind kind, size_t end, fh_err *err) {
    const char *p = (const char *)r->in.ptr;
    fh_str s = {p + r->pos, end - r->pos};
    if (s.len == 0) return FH_OK;
    r->pos = end;
    return fh_reply_emit(r, kind, s, err);
}

/* All but the blanks at the end, which may turn out to be layout. */
static fh_status say_most(fh_reply *r, fh_reply_kind kind, size_t end, fh_err *err) {
    size_t w = end;
    while (w > r->pos && fh_is_space((char)r->in.ptr[w - 1])) w--;
    if (w > r->pos) r->space_run = 0;
    FH_TRY(say(r, kind, w, err));
    size_t run = r->space_run + (end - w);
    if (run <= MAX_SPACE) return FH_OK;
    r->space_run = run;
    return say(r, kind, end, err);
}

static size_t find_tag(const fh_reply *r, const fh_reply_tags *t, size_t *hit) {
    const char *p = (const char *)r->in.ptr;
    *hit = t->n;
    for (size_t i = r->pos; i < r->in.len; i++) {
        if (!t->first[(unsigned char)p[i]]) continue;
        bool part = false;
        for (size_t k = 0; k < t->n; k++) {
            fh_match m = fh_reply_look(r, i, t->tag[k].text);
            part |= m == FH_MATCH_PART;
            if (m == FH_MATCH_YES && (*hit == t->n || t->tag[k].text.len > t->tag[*hit].text.len)) *hit = k;
        }
        if (part) *hit = t->n;
        if (part || *hit < t->n) return i;
    }
    size_t half = r->over ? 0 : fh_reply_half(fh_reply_rest(r));
    return r->in.len - half;
}

/* Nothing but ends of turn and blanks stands behind an end of turn: 1; something else: 0; not to be told: -1. */
static int only_ends(const fh_reply *r, size_t at) {
    for (int i = 0; i < 8; i++) {
        while (at < r->in.len && fh_is_space((char)r->in.ptr[at])) at++;
        if (at == r->in.len) return r->over ? 1 : -1;
        size_t next = at;
        for (size_t k = 0; k < r->text_tags.n; k++) {
            if (r->text_tags.tag[k].act != FH_TAG_END) continue;
            fh_match m = fh_reply_look(r, at, r->text_tags.tag[k].text);
            if (m == FH_MATCH_PART) return -1;
            if (m == FH_MATCH_YES) next = at + r->text_tags.tag[k].text.len;
        }
        if (next == at) return 0;
        at = next;
    }
    return 0;
}

bool fh_reply_ends_turn(const fh_reply *r) {
    fh_str open = fh_trim((fh_str){(const char *)r->in.ptr + r->mark, r->mark_end - r->mark});
    bool ends = false;
    for (size_t k = 0; k < r->text_tags.n; k++)
        ends |= r->text_tags.tag[k].act == FH_TAG_END && fh_str_eq(open, r->text_tags.tag[k].text);
    return ends && only_ends(r, r->mark_end) == 1;
}

static void hold(fh_reply *r, size_t from, size_t end) {
    r->held = true;
    r->mark = from;
    r->mark_end = end;
    r->pos = end;
}

/* A tag in the text at `at`: everything before it but blanks has been said. */
static fh_status act_in_text(fh_reply *r, fh_tag_act act, size_t at, size_t end, fh_err *err) {
    switch (act) {
    case FH_TAG_SECTION:
    case FH_TAG_CALL:
        r->bare = false;
        hold(r, r->pos, end);
        if (act == FH_TAG_CALL) fh_reply_call_init(r, 1, FH_AT_TEXT);
        r->mode = act == FH_TAG_CALL ? FH_AT_CALL : FH_AT_SECTION;
        return FH_OK;
    case FH_TAG_HEADER:
        hold(r, r->pos, end);
        r->mode = FH_AT_HEADER;
        return FH_OK;
    case FH_TAG_THINK:
        if (r->spoke) FH_TRY(say(r, FH_REPLY_TEXT, at, err));
        r->mode = FH_AT_THINK;
        r->thought = false;
        break;
    case FH_TAG_THINK_END:
        if (r->spoke) return say(r, FH_REPLY_TEXT, end, err);
        break;
    case FH_TAG_LATE:
        if (!r->broken) return say(r, FH_REPLY_TEXT, end, err);
        break;
    case FH_TAG_END: {
        int only = only_ends(r, end);
        if (only == 0) return say(r, FH_REPLY_TEXT, end, err);
        r->more = only < 0;
        if (!r->more) r->pos = r->in.len;
        return FH_OK;
    }
    default:
        if (r->spoke && !r->after_call) FH_TRY(say(r, FH_REPLY_TEXT, at, err));
        break;
    }
    r->pos = end;
    r->fresh = true;
    return FH_OK;
}

static fh_status act_in_think(fh_reply *r, fh_tag_act act, size_t at, size_t end, fh_err *err) {
    if (act == FH_TAG_THINK) { /* said once more behind a prompt that said it */
        if (r->thought) return say(r, FH_REPLY_REASONING, end, err);
        r->pos = end;
        return FH_OK;
    }
    r->mode = FH_AT_TEXT;
    r->space_run = 0;
    r->fresh = true;
    r->bare_off = false;
    if (act == FH_TAG_THINK_END || act == FH_TAG_BODY_END) {
        r->pos = end;
        return FH_OK;
    }
    r->pos = at;
    return FH_OK;
}

/* Has an answer of one piece begun, before any tag at `at`? Then the rest is part of it. */
static bool is_one_piece(const fh_reply *r, size_t at) {
    if (!r->opt.one_piece || r->mode != FH_AT_TEXT) return false;
    for (size_t i = r->pos; !r->spoke && i < at; i++)
        if (!fh_is_space((char)r->in.ptr[i])) return true;
    return r->spoke;
}

static fh_status step_scan(fh_reply *r, fh_err *err) {
    bool think = r->mode == FH_AT_THINK;
    const fh_reply_tags *t = think ? &r->think_tags : &r->text_tags;
    fh_reply_kind kind = think ? FH_REPLY_REASONING : FH_REPLY_TEXT;
    if (r->fresh) {
        fh_reply_skip_space(r);
        if (r->pos == r->in.len) {
            r->more = true;
            return FH_OK;
        }
    }
    size_t hit, at = find_tag(r, t, &hit);
    if (is_one_piece(r, at)) {
        at = r->in.len - (r->over ? 0 : fh_reply_half(fh_reply_rest(r)));
        hit = t->n;
    }
    if (at > r->pos) r->fresh = false;
    size_t before = r->pos;
    FH_TRY(say_most(r, kind, at, err));
    if (think && r->pos > before) r->thought = true;
    if (r->pos > before) r->after_call = false;
    if (hit == t->n && r->over) { /* blanks at the end belong to the answer, unless a call stands before them */
        if (!think && !r->after_call) return say(r, kind, r->in.len, err);
        r->pos = r->in.len;
        return FH_OK;
    }
    if (hit == t->n) {
        r->more = true;
        return FH_OK;
    }
    r->fresh = false;
    size_t end = at + t->tag[hit].text.len;
    return think ? act_in_think(r, t->tag[hit].act, at, end, err) : act_in_text(r, t->tag[hit].act, at, end, err);
}

/* Does the reply begin as a call without any opening? */
static bool begins_bare(fh_reply *r) {
    if (r->bare_off || r->spoke || r->opt.no_calls || !fh_given(r->m->bare) || r->mode != FH_AT_TEXT) return false;
    size_t at = r->pos;
    while (at < r->in.len && fh_is_space((char)r->in.ptr[at])) at++;
    if (at - r->pos > MAX_SPACE || (at == r->in.len && r->over)) {
        r->bare_off = true;
        return false;
    }
    if (at == r->in.len) {
        r->more = true;
        return true;
    }
    r->bare_off = r->in.ptr[at] != (uint8_t)r->m->bare[0];
    if (r->bare_off) return false;
    r->bare = true;
    r->bare_off = true;
    hold(r, r->pos, at + 1);
    if (r->call.part[0].hole == FH_HOLE_CALL) r->pos = at; /* the brace belongs to the call */
    r->mode = FH_AT_SECTION;
    return true;
}

/* ---- headers of channels ---- */
static bool has_word(fh_str header, const char *word) { return fh_given(word) && fh_str_holds(header, word); }

/* The name of the function that the header is addressed to. */
static fh_str header_name(const fh_markup *m, fh_str header) {
    if (!fh_given(m->head_call)) return (fh_str){NULL, 0};
    if (fh_str_is(fh_str_of(m->head_call), "%n")) return fh_trim(header);
    size_t n = strlen(m->head_call);
    const char *at = memmem(header.ptr, header.len, m->head_call, n);
    if (!at) return (fh_str){NULL, 0};
    fh_str s = fh_str_drop(header, (size_t)(at - header.ptr) + n);
    size_t len = 0;
    while (len < s.len && !fh_is_space(s.ptr[len]) && s.ptr[len] != '<') len++;
    return fh_str_first(s, len);
}

static fh_status step_header(fh_reply *r, fh_err *err) {
    fh_str rest = fh_str_first(fh_reply_rest(r), MAX_HEADER), close = fh_str_of(r->m->head_close);
    const char *at = memmem(rest.ptr, rest.len, close.ptr, close.len);
    if (!at) {
        if (rest.len < MAX_HEADER && !r->over) r->more = true;
        else FH_TRY(fh_reply_unhold(r, err));
        return FH_OK;
    }
    fh_str header = fh_str_first(rest, (size_t)(at - rest.ptr));
    r->pos += header.len + close.len;
    bool think = has_word(header, r->m->head_think);
    fh_str name = has_word(header, r->m->head_text) ? (fh_str){NULL, 0} : header_name(r->m, header);
    r->mode = FH_AT_TEXT;
    if (name.len > 0 && !r->opt.no_calls) {
        fh_reply_call_init(r, 0, FH_AT_TEXT);
        if (!fh_reply_set_name(r, name)) return fh_reply_unhold(r, err);
        r->mark_end = r->pos;
        r->mode = FH_AT_CALL;
        return FH_OK;
    }
    r->held = false;
    r->fresh = true;
    r->thought = false;
    if (think) r->mode = FH_AT_THINK;
    return FH_OK;
}

/* ---- sections ---- */
static bool is_separator(const fh_reply *r, char c) {
    if (fh_is_space(c) || c == ',' || c == ';') return true;
    bool json = r->call.part[0].hole == FH_HOLE_CALL;
    return json && (c == '[' || (c == ']' && fh_given(r->m->section_close)));
}

static fh_status leave_section(fh_reply *r) {
    r->mode = FH_AT_TEXT;
    r->fresh = true;
    r->after_call = true;
    r->held = false;
    return FH_OK;
}

static fh_status step_section(fh_reply *r, fh_err *err) {
    const fh_pattern_part *first = &r->call.part[0];
    while (r->pos < r->in.len && is_separator(r, (char)r->in.ptr[r->pos])) r->pos++;
    if (r->pos == r->in.len) {
        if (!r->over) r->more = true;
        else if (r->held) FH_TRY(fh_reply_unhold(r, err));
        else FH_TRY(leave_section(r));
        return FH_OK;
    }
    char c = (char)r->in.ptr[r->pos];
    fh_str close = fh_trim(fh_str_of(r->bare || !r->m->section_close ? "" : r->m->section_close));
    fh_match end = close.len > 0 ? fh_reply_look(r, r->pos, close) : FH_MATCH_NO;
    if ((close.len == 0 && c == ']') && !r->held) { /* the list's own end */
        r->pos++;
        return leave_section(r);
    }
    if (end == FH_MATCH_YES && !r->held) {
        r->pos += close.len;
        return leave_section(r);
    }
    fh_match opens = first->hole == FH_HOLE_NONE                   ? fh_reply_look(r, r->pos, first->literal)
                     : first->hole == FH_HOLE_CALL                 ? (c == '{' ? FH_MATCH_YES : FH_MATCH_NO)
                     : fh_is_space(c) || strchr("()[]{}<>\"'=", c) ? FH_MATCH_NO
                                                                   : FH_MATCH_YES;
    if (opens == FH_MATCH_YES && end != FH_MATCH_PART) {
        bool literal = first->hole == FH_HOLE_NONE;
        size_t at = r->pos;
        if (!r->held) hold(r, at, at + (literal ? first->literal.len : 1));
        r->pos = literal ? at + first->literal.len : at;
        fh_reply_call_init(r, literal, FH_AT_SECTION);
        r->mode = FH_AT_CALL;
        return FH_OK;
    }
    if (opens == FH_MATCH_PART || end == FH_MATCH_PART) {
        r->more = true;
        return FH_OK;
    }
    if (r->held) return fh_reply_unhold(r, err);
    if (!r->bare && close.len > 0) {
        r->problems |= FH_REPLY_STRAY;
        r->broken = true;
    }
    return leave_section(r);
}

/* ---- driving ---- */
static fh_status run(fh_reply *r, fh_err *err) {
    r->more = false;
    while (!r->more && (r->pos < r->in.len || r->over)) {
        if (r->over && r->pos == r->in.len && r->mode != FH_AT_CALL && !r->held) break;
        if (r->held && r->pos > r->mark + r->opt.max_args + MAX_HEAD) FH_TRY(fh_reply_unhold(r, err));
        switch (r->mode) {
        case FH_AT_HEADER: FH_TRY(step_header(r, err)); break;
        case FH_AT_SECTION: FH_TRY(step_section(r, err)); break;
        case FH_AT_CALL: FH_TRY(fh_reply_call_step(r, err)); break;
        default:
            if (!begins_bare(r)) FH_TRY(step_scan(r, err));
            break;
        }
    }
    return FH_OK;
}

/* Forgets what was decided. Only when that is at least half, so that moving bytes stays linear. */
static void compact(fh_reply *r) {
    size_t done = r->held ? FH_MIN(r->mark, r->pos) : r->pos;
    if (done == 0 || done * 2 < r->in.len) return;
    memmove(r->in.ptr, r->in.ptr + done, r->in.len - done);
    r->in.len -= done;
    r->pos -= done;
    r->mark = r->mark > done ? r->mark - done : 0;
    r->mark_end = r->mark_end > done ? r->mark_end - done : 0;
    r->scan = r->scan > done ? r->scan - done : 0;
}

fh_status fh_reply_feed(fh_reply *r, fh_str bytes, fh_err *err) {
    if (r->status != FH_OK) return fh_fail(err, r->status, "reply: fed after a failure");
    /* In slices, so that what waits and what is new stay small next to each other. */
    while (bytes.len > 0 && r->status == FH_OK) {
        fh_str slice = fh_str_first(bytes, (size_t)1 << 16);
        bytes = fh_str_drop(bytes, slice.len);
        fh_buf_add_str(&r->in, slice);
        r->status = fh_buf_check(&r->in, err);
        if (r->status == FH_OK) r->status = run(r, err);
        compact(r);
    }
    return r->status;
}

fh_status fh_reply_finish(fh_reply *r, uint32_t *n_call, uint32_t *problems, fh_err *err) {
    if (r->status != FH_OK) return fh_fail(err, r->status, "reply: finished after a failure");
    r->over = true;
    r->status = run(r, err);
    if (r->status != FH_OK) return r->status;
    if (n_call) *n_call = r->n_call;
    if (problems) *problems = r->problems;
    return FH_OK;
}

fh_status fh_reply_new(fh_reply **out, const fh_markup *m, const fh_reply_options *opt, fh_reply_fn *fn, void *user,
                       fh_err *err) {
    fh_reply *r = fh_alloc_zero(1, sizeof *r);
    if (!r) return fh_fail_memory(err, sizeof *r);
    r->m = m;
    r->fn = fn;
    r->user = user;
    if (opt) r->opt = *opt;
    if (r->opt.max_args == 0) r->opt.max_args = (size_t)4 << 20;
    r->opt.max_args = FH_MIN(r->opt.max_args, MAX_IN);
    if (r->opt.max_call == 0) r->opt.max_call = 128;
    fh_buf_init(&r->in, MAX_IN + r->opt.max_args);
    /* An escape takes six bytes at most; a member's name and quotes less than its markup. */
    fh_buf_init(&r->args, 8 * FH_MIN(r->opt.max_args, MAX_IN) + 65536);
    fh_buf_init(&r->token, r->opt.max_args + 4 * 65536u);
    fh_buf_init(&r->close, 1024);
    if (!fh_buf_extend(&r->in, 256) || !fh_buf_extend(&r->args, 64)) { /* so that they always point somewhere */
        fh_reply_free(r);
        return fh_fail_memory(err, 256);
    }
    fh_buf_clear(&r->in);
    fh_buf_clear(&r->args);
    if (!fh_pattern_read(&r->call, m->call) || !fh_pattern_read(&r->param, m->param)) {
        fh_reply_free(r);
        return fh_fail(err, FH_ERR_FORMAT, "markup '%s': a pattern has unknown holes or too many parts", m->name);
    }
    set_tags(r);
    switch (r->opt.start) {
    case FH_START_REASONING: r->mode = FH_AT_THINK; break;
    case FH_START_HEADER: r->mode = fh_given(m->head_close) ? FH_AT_HEADER : FH_AT_TEXT; break;
    default: r->mode = FH_AT_TEXT; break;
    }
    r->held = r->mode == FH_AT_HEADER;
    r->fresh = r->mode == FH_AT_THINK;
    *out = r;
    return FH_OK;
}

bool fh_reply_in_reasoning(const fh_reply *r) { return r->mode == FH_AT_THINK; }

void fh_reply_free(fh_reply *r) {
    if (!r) return;
    fh_buf_release(&r->in);
    fh_buf_release(&r->args);
    fh_buf_release(&r->token);
    fh_buf_release(&r->close);
    fh_free(r);
}
