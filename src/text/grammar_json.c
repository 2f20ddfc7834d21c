/* text/grammar_json.c - one byte of JSON: values, arrays, and the frame of objects (their keys are grammar_key.c's).
 * SPDX-License-Identifier: Apache-2.0
 * A thread that cannot read the byte pushes nothing. Several threads come out only where a value may be one of several
 * objects or arrays: scalars are merged into automata when a schema is compiled. */
#include "text/grammar_part.h"

static const char *const words[] = {"null", "true", "false"};

void fh_gjson_after_value(fh_matcher *m, uint32_t frame) {
    fh_gthread t = {.frame = frame, .phase = FH_AT_END};
    if (frame == 0) {
        fh_matcher_push(m, t);
        return;
    }
    fh_frame f = m->frame[frame];
    if (fh_frame_kind(&f) == FH_FRAME_RULE) {
        fh_grule_return(m, frame);
        return;
    }
    t.phase = FH_AT_OBJ_AFTER;
    if (fh_frame_kind(&f) == FH_FRAME_ARR) {
        const fh_garr *a = &m->g->arr[f.a];
        uint32_t end = a->most != FH_ENDLESS ? a->most : a->least > a->n_prefix ? a->least : a->n_prefix;
        t.phase = FH_AT_ARR_AFTER;
        if (f.b < end) f.b++; /* beyond every bound the number says nothing more */
        f.kind_depth >>= 3;
        t.frame = fh_matcher_frame(m, FH_FRAME_ARR, f);
    }
    fh_matcher_push(m, t);
}

static void close_container(fh_matcher *m, uint32_t frame) { fh_gjson_after_value(m, m->frame[frame].parent); }

static void open_container(fh_matcher *m, const fh_gthread *t, bool object) {
    const fh_gnode *n = &m->g->node[t->node];
    uint32_t depth = t->frame ? fh_frame_depth(m, t->frame) + 1 : 1;
    uint32_t first = object ? n->obj : n->arr, end = first + (object ? n->n_obj : n->n_arr);
    if (depth > FH_GRAMMAR_DEPTH) return;
    for (uint32_t i = first; i < end; i++) {
        fh_frame f = {.parent = t->frame, .a = i, .kind_depth = depth};
        fh_gthread in = {.phase = object ? FH_AT_OBJ_START : FH_AT_ARR_START};
        in.frame = fh_matcher_frame(m, object ? FH_FRAME_OBJ : FH_FRAME_ARR, f);
        fh_matcher_push(m, in);
    }
}

static void value_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    const fh_gnode *n = &m->g->node[t->node];
    fh_gthread in = {.frame = t->frame, .node = t->node};
    switch (b) {
    case '"':
        if (!n->str) return;
        in.phase = FH_AT_STRING;
        in.q = n->str->a ? n->str->a->start : 0;
        fh_matcher_push(m, in);
        return;
    case '{': open_container(m, t, true); return;
    case '[': open_container(m, t, false); return;
    case 'n':
    case 't':
    case 'f':
        in.phase = FH_AT_WORD;
        in.node = b == 'n' ? 0 : b == 't' ? 1 : 2;
        in.q = 1;
        if (n->words >> in.node & 1) fh_matcher_push(m, in);
        return;
    default:
        if (!n->num || b >= 0x80) return;
        in.phase = FH_AT_NUMBER;
        in.q = fh_auto_step(n->num, n->num->start, b);
        if (in.q != FH_AUTO_DEAD) fh_matcher_push(m, in);
    }
}

static void structure_step(fh_matcher *m, const fh_gthread *t, uint8_t b);

static void number_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    const fh_auto *a = m->g->node[t->node].num;
    fh_gthread in = *t;
    in.q = b < 0x80 ? fh_auto_step(a, t->q, b) : FH_AUTO_DEAD;
    if (in.q != FH_AUTO_DEAD) {
        fh_matcher_push(m, in);
    } else if (a->label[t->q] && t->frame) { /* the number ended before this byte */
        uint32_t first = m->n_t, n;
        fh_gjson_after_value(m, t->frame);
        n = m->n_t - first;
        for (uint32_t i = 0; i < n && m->status == FH_OK; i++) {
            in = m->t[first + i];
            if (in.phase == FH_AT_RULE) fh_grule_step(m, &in, b);
            else fh_gjson_step(m, &in, b);
        }
        if (m->status != FH_OK) return;
        m->n_t -= n;
        memmove(m->t + first, m->t + first + n, (m->n_t - first) * sizeof *m->t);
    }
}

static void word_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    const char *z = words[t->node];
    fh_gthread in = *t;
    if ((uint8_t)z[t->q] != b) return;
    if (z[++in.q] == '\0') fh_gjson_after_value(m, t->frame);
    else fh_matcher_push(m, in);
}

/* Element number `i` of an array, or FH_NONE when there may be none. */
static uint32_t element(const fh_garr *a, uint32_t i) {
    if (i >= a->most) return FH_NONE;
    return i < a->n_prefix ? a->prefix[i] : a->rest;
}

static void array_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    const fh_frame *f = &m->frame[t->frame];
    const fh_garr *a = &m->g->arr[f->a];
    uint32_t next = element(a, f->b);
    if (b == ']') {
        if (f->b >= a->least) close_container(m, t->frame);
        return;
    }
    if (next == FH_NONE) return;
    fh_gthread in = {.frame = t->frame, .node = next, .phase = FH_AT_VALUE};
    if (t->phase == FH_AT_ARR_START) value_step(m, &in, b);
    else if (b == ',') fh_matcher_push(m, in);
}

static void object_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    fh_gthread in;
    if (b == '}' && t->phase != FH_AT_OBJ_COMMA) {
        if (fh_gobj_can_close(m, t->frame)) close_container(m, t->frame);
    } else if (b == ',' && t->phase == FH_AT_OBJ_AFTER) {
        if (fh_gobj_start_key(m, t->frame, &in))
            fh_matcher_push(m, (fh_gthread){.frame = t->frame, .phase = FH_AT_OBJ_COMMA});
    } else if (b == '"' && t->phase != FH_AT_OBJ_AFTER) {
        if (fh_gobj_start_key(m, t->frame, &in)) fh_matcher_push(m, in);
    }
}

/* What stands between values; white space first. */
static void structure_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    if (b == ' ' || b == '\n' || b == '\t' || b == '\r') {
        fh_gthread in = *t;
        if (t->space >= m->g->max_space) return;
        in.space++;
        fh_matcher_push(m, in);
        return;
    }
    switch (t->phase) {
    case FH_AT_VALUE: value_step(m, t, b); break;
    case FH_AT_ARR_START:
    case FH_AT_ARR_AFTER: array_step(m, t, b); break;
    case FH_AT_COLON:
        if (b == ':') fh_matcher_push(m, (fh_gthread){.frame = t->frame, .node = t->node, .phase = FH_AT_VALUE});
        break;
    default: object_step(m, t, b);
    }
}

void fh_gjson_step(fh_matcher *m, const fh_gthread *t, uint8_t b) {
    fh_gthread in = *t;
    fh_gmove r;
    switch (t->phase) {
    case FH_AT_END: return;
    case FH_AT_STRING:
        r = fh_gstr_step(m->g->node[t->node].str, &in, b);
        if (r == FH_GMOVE_STAY) fh_matcher_push(m, in);
        else if (r == FH_GMOVE_CLOSE) fh_gjson_after_value(m, t->frame);
        return;
    case FH_AT_KEY:
        r = fh_gkey_step(m, &in, b);
        if (r == FH_GMOVE_STAY) fh_matcher_push(m, in);
        else if (r == FH_GMOVE_CLOSE) fh_gkey_close(m, &in);
        return;
    case FH_AT_NUMBER: number_step(m, t, b); return;
    case FH_AT_WORD: word_step(m, t, b); return;
    default: structure_step(m, t, b);
    }
}
