/* format/tokenizer_config.c - the small files around a tokenizer.
 * SPDX-License-Identifier: Apache-2.0
 * Each file is parsed into a tree, what matters is copied into one arena, the tree goes.
 * Refuses: files over their ceiling, values of the wrong kind, ids out of range or twice, templates
 * that are no UTF-8. */
#include "format/tokenizer_config.h"

#include "base/file.h"
#include "base/num.h"
#include "format/hf_view.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define JSON_BYTES ((size_t)32 << 20)    /* published files reach 2 MiB */
#define TEMPLATE_BYTES ((size_t)4 << 20) /* published ones reach 60 KiB */
#define MAX_TEMPLATES 64u
#define MAX_EXTRA 65536u

typedef struct reading {
    fh_tokenizer_config *c;
    fh_err *err;
    bool has_decoder;     /* the config lists its added tokens */
    const fh_str *sorted; /* c->extra by byte order, while added_tokens.json is read */
} reading;

static fh_status copy(const reading *in, fh_str s, fh_str *out) {
    return fh_arena_copy(&in->c->arena, s, out) ? FH_OK : fh_arena_fail(&in->c->arena, in->err);
}

/* ---- tokens ---- */

static const struct {
    const char *name;
    uint32_t flag;
} FLAGS[] = {{"special", FH_ADDED_SPECIAL},
             {"single_word", FH_ADDED_SINGLE_WORD},
             {"lstrip", FH_ADDED_LSTRIP},
             {"rstrip", FH_ADDED_RSTRIP},
             {"normalized", FH_ADDED_NORMALIZED}};

/* "text" or {"content": "text", flags}. fallback: the flags of plain text. */
static fh_status read_token(const reading *in, const fh_hf_view *v, const fh_hf_hit *hit, uint32_t fallback,
                            fh_str *text, uint32_t *flags) {
    fh_str s;
    *flags = fallback;
    if (fh_json_to_str(hit->node, &s)) return copy(in, s, text);
    if (!fh_json_to_str(fh_json_get(hit->node, "content"), &s))
        return fh_hf_fail(v, hit, "a string or an object with \"content\"", in->err);
    for (size_t i = 0; i < FH_COUNT(FLAGS); i++) {
        const fh_json_node *n = fh_json_get(hit->node, FLAGS[i].name);
        bool on;
        if (!n) continue;
        if (!fh_json_to_bool(n, &on))
            return fh_fail_at(in->err, FH_ERR_FORMAT, n->offset, "%s: '%s' of '%.*s' should be true or false", v->file,
                              FLAGS[i].name, FH_STR_ARG(s));
        *flags = on ? *flags | FLAGS[i].flag : *flags & ~FLAGS[i].flag;
    }
    return copy(in, s, text);
}

static fh_status read_named_tokens(const reading *in, const fh_hf_view *v) {
    static const struct {
        const char *name;
        fh_vocab_special which;
    } named[] = {{"bos_token", FH_SPECIAL_BOS},  {"eos_token", FH_SPECIAL_EOS}, {"unk_token", FH_SPECIAL_UNK},
                 {"pad_token", FH_SPECIAL_PAD},  {"cls_token", FH_SPECIAL_CLS}, {"sep_token", FH_SPECIAL_SEP},
                 {"mask_token", FH_SPECIAL_MASK}};
    for (size_t i = 0; i < FH_COUNT(named); i++) {
        fh_hf_hit hit;
        fh_token_text *t = &in->c->special[named[i].which];
        if (fh_hf_find(v, named[i].name, &hit) != FH_HF_PRESENT) continue;
        FH_TRY(read_token(in, v, &hit, FH_ADDED_SPECIAL, &t->text, &t->flags));
        t->present = true;
    }
    return FH_OK;
}

static int compare_str(const void *a, const void *b) { return fh_str_cmp(*(const fh_str *)a, *(const fh_str *)b); }

/* A list of tokens, or an object of them (names are of no use here). */
static fh_status read_extra(const reading *in, const fh_hf_view *v) {
    fh_hf_hit hit;
    fh_tokenizer_config *c = in->c;
    if (fh_hf_find(v, "additional_special_tokens|extra_special_tokens", &hit) != FH_HF_PRESENT) return FH_OK;
    const fh_json_node *list = hit.node;
    if ((list->kind != FH_JSON_ARRAY && list->kind != FH_JSON_OBJECT) || list->n_child > MAX_EXTRA)
        return fh_hf_fail(v, &hit, "a list of at most 65536 tokens", in->err);
    fh_str *item = fh_arena_alloc(&c->arena, list->n_child, sizeof *item);
    if (!item) return fh_arena_fail(&c->arena, in->err);
    uint32_t n = 0;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e)) {
        uint32_t flags;
        hit.node = e;
        FH_TRY(read_token(in, v, &hit, FH_ADDED_SPECIAL, &item[n], &flags));
        n++;
    }
    c->extra = item;
    c->n_extra = n;
    return FH_OK;
}

/* Which ids stand already: a bit each, so that checking stays linear. */
static fh_status take_id(const reading *in, uint8_t *seen, const fh_json_node *n, uint64_t id, const char *file) {
    if (id >= FH_VOCAB_MAX_ID)
        return fh_fail_at(in->err, FH_ERR_LIMIT, n->offset, "%s: token id %llu, at most %u", file,
                          (unsigned long long)id, FH_VOCAB_MAX_ID - 1);
    if (seen[id / 8] >> (id % 8) & 1)
        return fh_fail_at(in->err, FH_ERR_FORMAT, n->offset, "%s: two tokens with the id %llu", file,
                          (unsigned long long)id);
    seen[id / 8] = (uint8_t)(seen[id / 8] | 1u << (id % 8));
    return FH_OK;
}

static bool is_special(const reading *in, fh_str text) {
    const fh_tokenizer_config *c = in->c;
    for (size_t i = 0; i < FH_COUNT(c->special); i++)
        if (c->special[i].present && fh_str_eq(c->special[i].text, text)) return true;
    return c->n_extra > 0 && bsearch(&text, in->sorted, c->n_extra, sizeof text, compare_str);
}

static fh_status read_added(const reading *in, const fh_hf_view *v, const fh_json_node *list, bool by_id,
                            uint8_t *seen) {
    fh_tokenizer_config *c = in->c;
    fh_token_entry *item = fh_arena_alloc(&c->arena, list->n_child, sizeof *item);
    if (!item) return fh_arena_fail(&c->arena, in->err);
    uint32_t n = 0;
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e)) {
        fh_hf_hit hit = {e, FH_STR("added_tokens_decoder"), e->key};
        uint64_t id;
        if (by_id ? !fh_str_u64(e->key, &id) : !fh_json_to_u64(e, &id))
            return fh_fail_at(in->err, FH_ERR_FORMAT, e->offset, "%s: the id of '%.*s' should be a whole number",
                              v->file, FH_STR_ARG(e->key));
        FH_TRY(take_id(in, seen, e, id, v->file));
        item[n].id = (uint32_t)id;
        if (by_id) {
            FH_TRY(read_token(in, v, &hit, FH_ADDED_NORMALIZED, &item[n].text, &item[n].flags));
        } else {
            FH_TRY(copy(in, e->key, &item[n].text));
            item[n].flags = is_special(in, item[n].text) ? FH_ADDED_SPECIAL : FH_ADDED_NORMALIZED;
        }
        n++;
    }
    c->added = item;
    c->n_added = n;
    return FH_OK;
}

/* by_id: {"5": {"content": "x"}} of a config; otherwise {"x": 5} of added_tokens.json. */
static fh_status read_added_list(const reading *in, const fh_hf_view *v, const fh_json_node *list, bool by_id) {
    if (!fh_json_is(list, FH_JSON_OBJECT) || list->n_child > FH_VOCAB_MAX_ADDED)
        return fh_fail_at(in->err, FH_ERR_FORMAT, list->offset,
                          "%s: added tokens should be an object of at most %u entries", v->file, FH_VOCAB_MAX_ADDED);
    uint8_t *seen = fh_alloc_zero(FH_VOCAB_MAX_ID / 8, 1);
    if (!seen) return fh_fail_memory(in->err, FH_VOCAB_MAX_ID / 8);
    fh_status s = read_added(in, v, list, by_id, seen);
    fh_free(seen);
    return s;
}

/* ---- templates ---- */

/* The last of several with one name counts. */
static fh_status put_template(const reading *in, fh_str name, fh_str text) {
    fh_tokenizer_config *c = in->c;
    fh_chat_template t;
    uint32_t at = 0;
    if (!fh_utf8_valid(text))
        return fh_fail(in->err, FH_ERR_FORMAT, "chat template '%.*s' is no UTF-8", FH_STR_ARG(name));
    FH_TRY(copy(in, name, &t.name));
    FH_TRY(copy(in, text, &t.text));
    if (!c->templates) {
        c->templates = fh_arena_alloc(&c->arena, MAX_TEMPLATES, sizeof *c->templates);
        if (!c->templates) return fh_arena_fail(&c->arena, in->err);
    }
    while (at < c->n_template && !fh_str_eq(c->templates[at].name, name)) at++;
    if (at == MAX_TEMPLATES) return fh_fail(in->err, FH_ERR_LIMIT, "more than %u chat templates", MAX_TEMPLATES);
    c->templates[at] = t;
    if (at == c->n_template) c->n_template++;
    return FH_OK;
}

/* A string, [{"name", "template"}, ...] or {name: template}. */
static fh_status read_templates(const reading *in, const fh_hf_view *v) {
    fh_hf_hit hit;
    fh_str name, text;
    if (fh_hf_find(v, "chat_template", &hit) != FH_HF_PRESENT) return FH_OK;
    if (fh_json_to_str(hit.node, &text)) return put_template(in, FH_STR("default"), text);
    const fh_json_node *list = hit.node;
    bool named = fh_json_is(list, FH_JSON_OBJECT);
    if (!named && !fh_json_is(list, FH_JSON_ARRAY))
        return fh_hf_fail(v, &hit, "a string or a list of templates", in->err);
    for (const fh_json_node *e = fh_json_first(list); e; e = fh_json_after(list, e)) {
        hit.node = e;
        name = e->key;
        bool ok =
            named ? fh_json_to_str(e, &text)
                  : fh_json_to_str(fh_json_get(e, "name"), &name) && fh_json_to_str(fh_json_get(e, "template"), &text);
        if (!ok) return fh_hf_fail(v, &hit, "a list of {\"name\", \"template\"}", in->err);
        FH_TRY(put_template(in, name, text));
    }
    return FH_OK;
}

/* ---- the files ---- */

static fh_status read_flags(const reading *in, const fh_hf_view *v) {
    fh_tokenizer_config *c = in->c;
    const struct {
        const char *name;
        fh_tri *out;
    } flags[] = {{"add_bos_token", &c->add_bos},
                 {"add_eos_token", &c->add_eos},
                 {"add_prefix_space", &c->add_prefix_space},
                 {"clean_up_tokenization_spaces", &c->clean_up_spaces},
                 {"legacy", &c->legacy},
                 {"do_lower_case", &c->lower_case},
                 {"strip_accents", &c->strip_accents},
                 {"split_special_tokens", &c->split_special}};
    for (size_t i = 0; i < FH_COUNT(flags); i++) {
        fh_hf_state state;
        bool b;
        FH_TRY(fh_hf_get_bool(v, flags[i].name, &state, &b, in->err));
        if (state == FH_HF_PRESENT) *flags[i].out = fh_tri_of(b);
    }
    return FH_OK;
}

static fh_status apply_config(reading *in, const fh_json_node *root) {
    fh_hf_view v = fh_hf_view_of("tokenizer_config.json", root);
    fh_tokenizer_config *c = in->c;
    fh_hf_state state;
    fh_hf_hit hit;
    fh_str name;
    double most;
    FH_TRY(fh_hf_get_str(&v, "tokenizer_class", &state, &name, in->err));
    if (state == FH_HF_PRESENT) FH_TRY(copy(in, name, &c->tokenizer_class));
    FH_TRY(fh_hf_get_f64(&v, "model_max_length", -1, 1e300, &state, &most, in->err));
    c->has_max_length = state == FH_HF_PRESENT;
    c->max_length = c->has_max_length ? most : 0;
    FH_TRY(read_flags(in, &v));
    FH_TRY(read_named_tokens(in, &v));
    FH_TRY(read_extra(in, &v));
    in->has_decoder = fh_hf_find(&v, "added_tokens_decoder", &hit) == FH_HF_PRESENT;
    if (in->has_decoder) FH_TRY(read_added_list(in, &v, hit.node, true));
    return read_templates(in, &v);
}

static fh_status apply_special_map(reading *in, const fh_json_node *root) {
    fh_hf_view v = fh_hf_view_of("special_tokens_map.json", root);
    if (in->has_decoder) return FH_OK;
    FH_TRY(read_named_tokens(in, &v));
    return read_extra(in, &v);
}

static fh_status apply_added(reading *in, const fh_json_node *root) {
    fh_hf_view v = fh_hf_view_of("added_tokens.json", root);
    fh_tokenizer_config *c = in->c;
    if (in->has_decoder) return FH_OK;
    fh_str *sorted = fh_arena_alloc(&c->arena, c->n_extra, sizeof *sorted);
    if (!sorted) return fh_arena_fail(&c->arena, in->err);
    for (uint32_t i = 0; i < c->n_extra; i++) sorted[i] = c->extra[i];
    qsort(sorted, c->n_extra, sizeof *sorted, compare_str);
    in->sorted = sorted;
    return read_added_list(in, &v, root, false);
}

static fh_status apply_model(reading *in, const fh_json_node *root) {
    fh_hf_view v = fh_hf_view_of("config.json", root);
    fh_hf_state state;
    fh_str type;
    FH_TRY(fh_hf_get_str(&v, "model_type", &state, &type, in->err));
    return state == FH_HF_PRESENT ? copy(in, type, &in->c->model_type) : FH_OK;
}

/* Processors of models with images keep the template in a JSON file of its own. */
static fh_status apply_template_json(reading *in, const fh_json_node *root) {
    fh_hf_view v = fh_hf_view_of("chat_template.json", root);
    return in->c->n_template > 0 ? FH_OK : read_templates(in, &v);
}

static fh_status apply(reading *in, fh_str json, const char *file, fh_status (*how)(reading *, const fh_json_node *)) {
    fh_json_options opt = {
        .max_bytes = ((size_t)8 << 20) + 4 * json.len, .allow_nonfinite = true, .allow_duplicate_keys = true};
    fh_json *doc;
    FH_TRY(fh_json_parse(&doc, json, &opt, in->err));
    const fh_json_node *root = fh_json_root(doc);
    fh_status s = fh_json_is(root, FH_JSON_OBJECT)
                      ? how(in, root)
                      : fh_fail_at(in->err, FH_ERR_FORMAT, root->offset, "%s: should be an object", file);
    fh_json_free(doc);
    return s;
}

/* Into buf; *there false when the folder has no such file. */
static fh_status read_file(reading *in, const char *folder, fh_str name, fh_buf *buf, bool *there) {
    char path[FH_PATH_MAX];
    FH_TRY(fh_path_join(path, folder, name, in->err));
    fh_buf_clear(buf);
    *there = fh_file_get_kind(path) == FH_FILE_REGULAR;
    return *there ? fh_file_read(path, buf, in->err) : FH_OK;
}

/* A template file replaces what the config says, the first time one is found. */
static fh_status take_template(reading *in, fh_str name, fh_str text, bool *replaced) {
    if (!*replaced) in->c->n_template = 0;
    *replaced = true;
    return put_template(in, name, text);
}

static fh_status read_template_files(reading *in, const char *folder, fh_buf *buf) {
    char path[FH_PATH_MAX];
    bool there, replaced = false;
    fh_names names = {NULL, 0};
    FH_TRY(read_file(in, folder, FH_STR("chat_template.jinja"), buf, &there));
    if (there) FH_TRY(take_template(in, FH_STR("default"), fh_buf_str(buf), &replaced));
    FH_TRY(fh_path_join(path, folder, FH_STR("additional_chat_templates"), in->err));
    if (fh_file_get_kind(path) != FH_FILE_DIR) return FH_OK;
    FH_TRY(fh_dir_list(path, &in->c->arena, &names, in->err));
    for (size_t i = 0; i < names.n; i++) {
        if (!fh_str_ends(names.item[i], ".jinja")) continue;
        FH_TRY(read_file(in, path, names.item[i], buf, &there));
        fh_str name = fh_str_first(names.item[i], names.item[i].len - 6);
        if (there) FH_TRY(take_template(in, name, fh_buf_str(buf), &replaced));
    }
    return FH_OK;
}

static fh_status read_json_files(reading *in, const char *folder, fh_buf *buf) {
    static const struct {
        const char *name;
        fh_status (*how)(reading *, const fh_json_node *);
    } files[] = {{"tokenizer_config.json", apply_config},
                 {"special_tokens_map.json", apply_special_map},
                 {"added_tokens.json", apply_added},
                 {"chat_template.json", apply_template_json},
                 {"config.json", apply_model}};
    for (size_t i = 0; i < FH_COUNT(files); i++) {
        bool there;
        fh_str name = fh_str_of(files[i].name);
        char path[FH_PATH_MAX];
        FH_TRY(read_file(in, folder, name, buf, &there));
        if (!there) continue;
        fh_status s = apply(in, fh_buf_str(buf), files[i].name, files[i].how);
        if (s != FH_OK && fh_path_join(path, folder, name, NULL) == FH_OK) fh_err_set_path(in->err, path);
        if (s != FH_OK) return s;
    }
    return FH_OK;
}

static fh_status make(fh_tokenizer_config **out, fh_err *err) {
    fh_tokenizer_config *c = fh_alloc_zero(1, sizeof *c);
    if (!c) return fh_fail_memory(err, sizeof *c);
    fh_arena_init(&c->arena, ARENA_BYTES);
    *out = c;
    return FH_OK;
}

static fh_status hand_out(fh_tokenizer_config **out, fh_tokenizer_config *c, fh_status s) {
    if (s == FH_OK) *out = c;
    else fh_tokenizer_config_free(c);
    return s;
}

fh_status fh_tokenizer_config_parse(fh_tokenizer_config **out, fh_str json, fh_err *err) {
    reading in = {.err = err};
    FH_TRY(make(&in.c, err));
    return hand_out(out, in.c, apply(&in, json, "tokenizer_config.json", apply_config));
}

fh_status fh_tokenizer_config_open(fh_tokenizer_config **out, const char *folder, fh_err *err) {
    reading in = {.err = err};
    fh_buf json, text;
    FH_TRY(make(&in.c, err));
    fh_buf_init(&json, JSON_BYTES);
    fh_buf_init(&text, TEMPLATE_BYTES);
    fh_status s = read_json_files(&in, folder, &json);
    if (s == FH_OK) s = read_template_files(&in, folder, &text);
    fh_buf_release(&json);
    fh_buf_release(&text);
    return hand_out(out, in.c, s);
}

void fh_tokenizer_config_free(fh_tokenizer_config *c) {
    if (!c) return;
    fh_arena_release(&c->arena);
    fh_free(c);
}

bool fh_tokenizer_config_is_xlmr(const fh_tokenizer_config *c) {
    return c && (fh_str_starts(c->tokenizer_class, "XLMRobertaTokenizer") || fh_str_is(c->model_type, "xlm-roberta"));
}

const fh_chat_template *fh_tokenizer_config_find_template(const fh_tokenizer_config *c, const char *name) {
    for (uint32_t i = 0; i < c->n_template; i++)
        if (fh_str_is(c->templates[i].name, name)) return &c->templates[i];
    return NULL;
}
