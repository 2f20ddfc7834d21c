/* text/postprocess.c - templates of special tokens.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: tokens that the vocabulary does not have, a template for one text that uses a second or has the first not
 * exactly once, several processors that add tokens in one sequence. */
#include "text/postprocess.h"

#include "base/num.h"
#include "text/json_part.h"

#define DEPTH 8

typedef struct reading {
    fh_postprocess *out;
    const fh_vocab *v;
    fh_arena *arena;
    fh_err *err;
    bool any;
} reading;

typedef struct list {
    fh_post_item *item;
    uint32_t *n;
} list;

static fh_status put(const fh_json_step *in, list to, fh_post_item item) {
    if (*to.n == FH_POSTPROCESS_MOST) return fh_json_step_bad(in, "template", "shorter");
    to.item[(*to.n)++] = item;
    return FH_OK;
}

static fh_status put_token(const fh_json_step *in, const reading *r, list to, uint64_t id, uint32_t type_id) {
    if (id >= r->v->n_id || fh_vocab_type(r->v, (uint32_t)id) == FH_TOKEN_NONE)
        return fh_fail(r->err, FH_ERR_FORMAT, "tokenizer: the post_processor adds token %llu, which does not exist",
                       (unsigned long long)id);
    return put(in, to, (fh_post_item){FH_POST_TOKEN, (uint32_t)id, type_id});
}

/* {"SpecialToken": {"id": name, "type_id": n}}: the ids of that name are in special_tokens */
static fh_status put_special(const fh_json_step *in, const reading *r, list to, const fh_json_node *special) {
    fh_str name;
    uint64_t type_id = 0, id;
    if (!fh_json_to_str(fh_json_get(special, "id"), &name)) return fh_json_step_bad(in, "SpecialToken.id", "a string");
    fh_json_to_u64(fh_json_get(special, "type_id"), &type_id);
    const fh_json_node *entry = fh_json_get_str(fh_json_get(in->node, "special_tokens"), name);
    const fh_json_node *ids = fh_json_get(entry, "ids");
    if (!fh_json_is(ids, FH_JSON_ARRAY)) return fh_json_step_bad(in, "special_tokens", "ids for each special token");
    for (const fh_json_node *c = fh_json_first(ids); c; c = fh_json_after(ids, c)) {
        if (!fh_json_to_u64(c, &id)) return fh_json_step_bad(in, "special_tokens", "whole numbers");
        FH_TRY(put_token(in, r, to, id, (uint32_t)type_id));
    }
    return FH_OK;
}

static fh_status read_template(const fh_json_step *in, const reading *r, const char *key, list to) {
    const fh_json_node *pieces;
    FH_TRY(fh_json_step_list(in, key, &pieces));
    for (const fh_json_node *c = fh_json_first(pieces); c; c = fh_json_after(pieces, c)) {
        const fh_json_node *seq = fh_json_get(c, "Sequence"), *special = fh_json_get(c, "SpecialToken");
        fh_str name;
        uint64_t type_id = 0;
        if (special) {
            FH_TRY(put_special(in, r, to, special));
            continue;
        }
        if (!fh_json_to_str(fh_json_get(seq, "id"), &name) || !(fh_str_is(name, "A") || fh_str_is(name, "B")))
            return fh_json_step_bad(in, key, "made of SpecialToken and Sequence A or B");
        fh_json_to_u64(fh_json_get(seq, "type_id"), &type_id);
        fh_post_item item = {fh_str_is(name, "A") ? FH_POST_A : FH_POST_B, 0, (uint32_t)type_id};
        FH_TRY(put(in, to, item));
    }
    return FH_OK;
}

static uint32_t count(const fh_post_item *item, uint32_t n, int kind) {
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) k += (int)item[i].kind == kind;
    return k;
}

static fh_status read_templates(const fh_json_step *in, reading *r) {
    fh_postprocess *p = r->out;
    FH_TRY(read_template(in, r, "single", (list){p->single, &p->n_single}));
    FH_TRY(read_template(in, r, "pair", (list){p->pair, &p->n_pair}));
    if (count(p->single, p->n_single, FH_POST_A) != 1 || count(p->single, p->n_single, FH_POST_B) != 0)
        return fh_json_step_bad(in, "single", "a template with the text A once");
    if (count(p->pair, p->n_pair, FH_POST_A) != 1 || count(p->pair, p->n_pair, FH_POST_B) != 1)
        return fh_json_step_bad(in, "pair", "a template with the texts A and B once each");
    return FH_OK;
}

/* ["[SEP]", 102] */
static fh_status read_token(const fh_json_step *in, const reading *r, const char *key, uint32_t *out) {
    const fh_json_node *n = fh_json_get(in->node, key), *first = fh_json_first(n);
    uint64_t id;
    if (!fh_json_is(n, FH_JSON_ARRAY) || !first || !fh_json_to_u64(fh_json_after(n, first), &id))
        return fh_json_step_bad(in, key, "[text, id]");
    if (id >= r->v->n_id || fh_vocab_type(r->v, (uint32_t)id) == FH_TOKEN_NONE)
        return fh_json_step_bad(in, key, "a token of the vocabulary");
    *out = (uint32_t)id;
    return FH_OK;
}

static fh_status read_tree(reading *r, const fh_json_node *root, int depth) {
    fh_json_step in;
    const fh_json_node *all;
    FH_TRY(fh_json_step_open(&in, root, "post_processor", r->arena, r->err));
    if (fh_str_is(in.type, "ByteLevel")) return FH_OK; /* moves offsets only */
    if (fh_str_is(in.type, "Sequence")) {
        if (depth == DEPTH) return fh_fail(r->err, FH_ERR_LIMIT, "tokenizer: post_processors nest over %d deep", DEPTH);
        FH_TRY(fh_json_step_list(&in, "processors", &all));
        for (const fh_json_node *c = fh_json_first(all); c; c = fh_json_after(all, c))
            FH_TRY(read_tree(r, c, depth + 1));
        return FH_OK;
    }
    if (r->any) return fh_fail(r->err, FH_ERR_UNSUPPORTED, "tokenizer: several post_processors that add tokens");
    r->any = true;
    if (fh_str_is(in.type, "TemplateProcessing")) return read_templates(&in, r);
    bool roberta = fh_str_is(in.type, "RobertaProcessing");
    if (!roberta && !fh_str_is(in.type, "BertProcessing")) return fh_json_step_unknown(&in);
    uint32_t cls = 0, sep = 0;
    FH_TRY(read_token(&in, r, "cls", &cls));
    FH_TRY(read_token(&in, r, "sep", &sep));
    if (roberta) fh_postprocess_set_roberta(r->out, cls, sep);
    else fh_postprocess_set_bert(r->out, cls, sep);
    return FH_OK;
}

fh_status fh_postprocess_build(fh_postprocess *out, const fh_json_node *root, const fh_vocab *v, fh_arena *arena,
                               fh_err *err) {
    fh_postprocess p = {.n_single = 0};
    reading r = {.out = &p, .v = v, .arena = arena, .err = err};
    if (root) FH_TRY(read_tree(&r, root, 0));
    *out = p;
    return FH_OK;
}

static void push(fh_post_item *item, uint32_t *n, int kind, uint32_t id, uint32_t type_id) {
    item[*n] = (fh_post_item){.id = id, .type_id = type_id};
    item[*n].kind = kind == FH_POST_A ? FH_POST_A : kind == FH_POST_B ? FH_POST_B : FH_POST_TOKEN;
    (*n)++;
}

void fh_postprocess_set(fh_postprocess *out, uint32_t bos, uint32_t eos) {
    *out = (fh_postprocess){.n_single = 0};
    if (bos == FH_VOCAB_NO_ID && eos == FH_VOCAB_NO_ID) return;
    for (int kind = FH_POST_A; kind <= FH_POST_B; kind++) {
        if (bos != FH_VOCAB_NO_ID) push(out->pair, &out->n_pair, FH_POST_TOKEN, bos, 0);
        push(out->pair, &out->n_pair, kind, 0, 0);
        if (eos != FH_VOCAB_NO_ID) push(out->pair, &out->n_pair, FH_POST_TOKEN, eos, 0);
    }
    out->n_single = out->n_pair / 2;
    memcpy(out->single, out->pair, out->n_single * sizeof out->single[0]);
}

void fh_postprocess_set_bert(fh_postprocess *out, uint32_t cls, uint32_t sep) {
    const fh_post_item pair[] = {{FH_POST_TOKEN, cls, 0},
                                 {FH_POST_A, 0, 0},
                                 {FH_POST_TOKEN, sep, 0},
                                 {FH_POST_B, 0, 1},
                                 {FH_POST_TOKEN, sep, 1}};
    *out = (fh_postprocess){.n_single = 3, .n_pair = FH_COUNT(pair)};
    memcpy(out->pair, pair, sizeof pair);
    memcpy(out->single, pair, 3 * sizeof pair[0]);
}

void fh_postprocess_set_roberta(fh_postprocess *p, uint32_t cls, uint32_t sep) {
    const fh_post_item pair[] = {{FH_POST_TOKEN, cls, 0}, {FH_POST_A, 0, 0}, {FH_POST_TOKEN, sep, 0},
                                 {FH_POST_TOKEN, sep, 0}, {FH_POST_B, 0, 0}, {FH_POST_TOKEN, sep, 0}};
    fh_postprocess_set_bert(p, cls, sep);
    memcpy(p->pair, pair, sizeof pair);
    p->n_pair = FH_COUNT(pair);
}

void fh_postprocess_put_before(const fh_postprocess *p, fh_ids *out) {
    for (uint32_t i = 0; i < p->n_single && p->single[i].kind == FH_POST_TOKEN; i++) fh_ids_add(out, p->single[i].id);
}

void fh_postprocess_put_behind(const fh_postprocess *p, fh_ids *out) {
    uint32_t i = 0;
    while (i < p->n_single && p->single[i].kind == FH_POST_TOKEN) i++;
    for (i++; i < p->n_single; i++) fh_ids_add(out, p->single[i].id);
}
