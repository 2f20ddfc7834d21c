/* library/license_gather.c - finds a model's licence texts, its card, and the base models behind it.
 * SPDX-License-Identifier: Apache-2.0
 * A folder speaks through its licence files, README.md and config.json; a GGUF through its metadata, since beside one
 * file anything may lie; Ollama's manifest names a text. Names of base models are checked before they become a path.
 * A base that is not on this machine is a link of its own that is not here. Depth and number of links are bounded. */
#include <ctype.h>
#include <stdio.h>

#include "base/file.h"
#include "base/num.h"
#include "library/builtin.h"
#include "library/license_part.h"
#include "library/locate_part.h"

#define MOST_DOCS 32
#define MOST_CARD ((size_t)4 << 20)
#define MOST_CONFIG ((size_t)1 << 20)
#define REPORT_BYTES ((size_t)64 << 20)

typedef struct gatherer {
    fh_license_report *r;
    const char *parents;
    fh_err *err;
} gatherer;

static bool starts_nocase(fh_str s, const char *prefix) {
    for (size_t i = 0; prefix[i]; i++)
        if (i >= s.len || toupper((unsigned char)s.ptr[i]) != prefix[i]) return false;
    return true;
}

typedef enum doc_kind { NO_DOC, LICENSE_DOC, POLICY_DOC } doc_kind;

static doc_kind kind_of(fh_str name) {
    static const char *const licences[] = {"LICENSE", "LICENCE", "COPYING"};
    static const char *const policies[] = {"USE_POLICY", "USE-POLICY", "ACCEPTABLE_USE", "PROHIBITED_USE"};
    static const char *const code[] = {".py", ".json", ".c", ".h", ".sh", ".js"};
    for (size_t i = 0; i < FH_COUNT(code); i++)
        if (fh_str_ends(name, code[i])) return NO_DOC;
    for (size_t i = 0; i < FH_COUNT(licences); i++)
        if (starts_nocase(name, licences[i])) return LICENSE_DOC;
    for (size_t i = 0; i < FH_COUNT(policies); i++)
        if (starts_nocase(name, policies[i])) return POLICY_DOC;
    return NO_DOC;
}

static fh_status add_doc(gatherer *g, fh_license_node *n, const char *path, fh_str file, bool is_policy) {
    fh_arena *a = &g->r->arena;
    if (!n->doc) n->doc = fh_arena_alloc(a, MOST_DOCS, sizeof *n->doc);
    if (!n->doc) return fh_arena_fail(a, g->err);
    if (n->n_doc == MOST_DOCS) return fh_fail(g->err, FH_ERR_LIMIT, "more than %d licence files", MOST_DOCS);
    fh_license_doc *d = &n->doc[n->n_doc];
    d->is_policy = is_policy;
    if (!fh_arena_copy(a, file, &d->file) || !fh_arena_copy(a, fh_str_of(path), &d->path))
        return fh_arena_fail(a, g->err);
    fh_status st = fh_license_doc_read(d, a, g->err);
    if (st == FH_OK) n->n_doc++;
    else fh_err_set_path(g->err, path);
    return st;
}

/* The file's text in the arena; *found false when it is not there or longer than allowed (*too_long). */
static fh_status read_side(gatherer *g, const char *folder, const char *name, size_t limit, fh_str *out, bool *found,
                           bool *too_long) {
    char path[FH_PATH_MAX];
    fh_buf text;
    fh_err why;
    *found = *too_long = false;
    FH_TRY(fh_path_join(path, folder, fh_str_of(name), g->err));
    if (fh_file_get_kind(path) != FH_FILE_REGULAR) return FH_OK;
    fh_buf_init(&text, limit);
    fh_status st = fh_file_read(path, &text, &why);
    if (st == FH_OK && !fh_arena_copy(&g->r->arena, fh_buf_str(&text), out)) st = fh_arena_fail(&g->r->arena, &why);
    fh_buf_release(&text);
    *found = st == FH_OK;
    *too_long = st == FH_ERR_LIMIT;
    if (st == FH_OK || st == FH_ERR_LIMIT) return FH_OK;
    if (g->err) *g->err = why;
    return st;
}

/* ---- what a card states ---- */
static bool is_model_id(fh_str id) {
    size_t slash;
    if (!fh_str_find(id, '/', &slash) || id.len > 200) return false;
    fh_str owner = fh_str_first(id, slash), name = fh_str_drop(id, slash + 1);
    for (size_t i = 0; i < id.len; i++)
        if (i != slash && !isalnum((unsigned char)id.ptr[i]) && !strchr("._-", id.ptr[i])) return false;
    return fh_path_is_plain_name(owner) && fh_path_is_plain_name(name) && !fh_str_starts(name, "models--");
}

static void take_tags(fh_license_node *n, const fh_card_field *license, const fh_card_field *name) {
    n->declared_state = license->state;
    if (license->state == FH_CARD_STATED) n->declared = license->text;
    if (!fh_str_is(n->declared, "other") && !fh_str_is(n->declared, "unknown")) return;
    n->declared = name->text; /* "" when it is not stated */
    if (name->state == FH_CARD_UNREADABLE) n->declared_state = FH_CARD_UNREADABLE;
}

static bool is_multimodal_task(fh_str task) {
    static const char *const tasks[] = {"image-text-to-text", "any-to-any",         "visual-question-answering",
                                        "audio-text-to-text", "video-text-to-text", "image-to-text"};
    for (size_t i = 0; i < FH_COUNT(tasks); i++)
        if (fh_str_is(task, tasks[i])) return true;
    return false;
}

static fh_status read_card(gatherer *g, fh_license_node *n, const char *folder, fh_card *card) {
    fh_str text = {NULL, 0};
    bool too_long;
    memset(card, 0, sizeof *card);
    FH_TRY(read_side(g, folder, "README.md", MOST_CARD, &text, &n->has_card, &too_long));
    if (n->has_card) fh_card_parse(card, text);
    if (too_long) {
        n->has_card = true;
        card->license.state = card->bases = FH_CARD_UNREADABLE;
    }
    take_tags(n, &card->license, &card->license_name);
    n->bases = card->bases;
    if (card->license_link.state == FH_CARD_STATED) n->link = card->license_link.text;
    if (card->license_link.state == FH_CARD_UNREADABLE) n->declared_state = FH_CARD_UNREADABLE;
    bool eu = fh_str_is(card->eu_disallowed.text, "true") || fh_str_is(card->eu_disallowed.text, "True");
    bool free_of = card->eu_disallowed.state == FH_CARD_ABSENT || fh_str_is(card->eu_disallowed.text, "false") ||
                   fh_str_is(card->eu_disallowed.text, "False");
    n->eu_disallowed = eu ? FH_TRI_YES : free_of ? FH_TRI_NO : FH_TRI_OPEN;
    return FH_OK;
}

static fh_status read_modality(gatherer *g, fh_license_node *n, const char *folder, const fh_card *card) {
    static const char *const senses[] = {"vision_config", "audio_config", "vision_tower", "mm_vision_tower"};
    fh_str text = {NULL, 0}, type = {NULL, 0};
    bool found, too_long, stated = card->pipeline.state == FH_CARD_STATED;
    FH_TRY(read_side(g, folder, "config.json", MOST_CONFIG, &text, &found, &too_long));
    if (stated && is_multimodal_task(card->pipeline.text)) n->multimodal = FH_TRI_YES;
    else if (!found && !too_long && stated && fh_str_is(card->pipeline.text, "text-generation"))
        n->multimodal = FH_TRI_NO;
    if (!found || n->multimodal == FH_TRI_YES) return FH_OK;
    fh_json *doc;
    fh_json_options options = {.allow_nonfinite = true};
    fh_status st = fh_json_parse(&doc, text, &options, NULL);
    if (st != FH_OK) return st == FH_ERR_MEMORY ? fh_fail_memory(g->err, text.len) : FH_OK; /* open, then */
    const fh_json_node *root = fh_json_root(doc);
    if (fh_json_to_str(fh_json_get(root, "model_type"), &type))
        n->multimodal = fh_str_starts(type, "mllama") || fh_str_is(type, "llama4") ? FH_TRI_YES : FH_TRI_NO;
    for (size_t i = 0; i < FH_COUNT(senses); i++)
        if (fh_json_is(fh_json_get(root, senses[i]), FH_JSON_OBJECT) ||
            fh_json_is(fh_json_get(root, senses[i]), FH_JSON_STRING))
            n->multimodal = FH_TRI_YES;
    fh_json_free(doc);
    return FH_OK;
}

/* license_link may name a file of the folder that is not called LICENSE. */
static fh_status follow_link(gatherer *g, fh_license_node *n, const char *folder) {
    char path[FH_PATH_MAX];
    if (!n->link.len || !fh_path_is_plain_name(n->link)) return FH_OK;
    for (size_t i = 0; i < n->n_doc; i++)
        if (fh_str_eq(n->doc[i].file, n->link)) return FH_OK;
    FH_TRY(fh_path_join(path, folder, n->link, g->err));
    if (fh_file_get_kind(path) == FH_FILE_REGULAR) return add_doc(g, n, path, n->link, false);
    return fh_license_list_add(&g->r->conflicts, &g->r->arena, g->err,
                               "%.*s: the card's license_link names '%.*s', which is not there", FH_STR_ARG(n->id),
                               FH_STR_ARG(n->link));
}

static fh_status gather_folder(gatherer *g, fh_license_node *n, const char *folder, fh_card *card) {
    fh_arena arena;
    fh_names names;
    char path[FH_PATH_MAX];
    FH_TRY(read_card(g, n, folder, card));
    FH_TRY(read_modality(g, n, folder, card));
    fh_arena_init(&arena, 16u << 20);
    fh_status st = fh_dir_list(folder, &arena, &names, g->err);
    for (size_t i = 0; st == FH_OK && i < names.n; i++) {
        doc_kind kind = kind_of(names.item[i]);
        if (kind == NO_DOC) continue;
        st = fh_path_join(path, folder, names.item[i], g->err);
        if (st == FH_OK && fh_file_get_kind(path) == FH_FILE_REGULAR)
            st = add_doc(g, n, path, names.item[i], kind == POLICY_DOC);
    }
    fh_arena_release(&arena);
    return st == FH_OK ? follow_link(g, n, folder) : st;
}

/* ---- a GGUF's own metadata ---- */
static fh_card_field gguf_field(const fh_gguf *g, const char *key) {
    fh_card_field f = {FH_CARD_ABSENT, {NULL, 0}};
    const fh_gguf_kv *kv = fh_gguf_find(g, key);
    if (!kv) return f;
    f.state = fh_gguf_to_str(kv, &f.text) ? FH_CARD_STATED : FH_CARD_UNREADABLE;
    if (!f.text.len && f.state == FH_CARD_STATED) f.state = FH_CARD_ABSENT;
    return f;
}

static void gguf_bases(const fh_gguf *g, fh_card *card) {
    static const char hub[] = "https://huggingface.co/";
    uint64_t count = 0;
    const fh_gguf_kv *kv = fh_gguf_find(g, "general.base_model.count");
    if (!kv) return;
    card->bases = FH_CARD_UNREADABLE;
    if (!fh_gguf_to_u64(kv, &count) || count > FH_CARD_MOST_BASES) return;
    for (uint64_t i = 0; i < count; i++) {
        char key[64];
        snprintf(key, sizeof key, "general.base_model.%u.repo_url", (unsigned)i);
        fh_card_field url = gguf_field(g, key);
        if (url.state != FH_CARD_STATED || !fh_str_starts(url.text, hub)) {
            card->n_base = 0;
            return;
        }
        card->base[card->n_base++] = fh_str_drop(url.text, sizeof hub - 1);
    }
    card->bases = count ? FH_CARD_STATED : FH_CARD_ABSENT;
}

static bool keep(fh_arena *a, fh_str *s) { return !s->len || fh_arena_copy(a, *s, s); }

/* Whatever is kept is copied: the bundle is closed again. */
static fh_status gather_gguf(gatherer *g, fh_license_node *n, const fh_bundle *b, fh_card *card) {
    const fh_gguf *file = fh_bundle_gguf(b, 0);
    fh_arena *a = &g->r->arena;
    memset(card, 0, sizeof *card);
    n->has_card = true;
    card->license = gguf_field(file, "general.license");
    card->license_name = gguf_field(file, "general.license.name");
    gguf_bases(file, card);
    take_tags(n, &card->license, &card->license_name);
    n->bases = card->bases;
    n->eu_disallowed = FH_TRI_NO;
    fh_str arch = gguf_field(file, "general.architecture").text;
    if (fh_str_is(arch, "llama")) n->multimodal = FH_TRI_NO;
    if (fh_str_is(arch, "mllama") || fh_str_is(arch, "llama4")) n->multimodal = FH_TRI_YES;
    bool ok = keep(a, &n->declared);
    for (size_t i = 0; i < card->n_base; i++) ok = ok && keep(a, &card->base[i]);
    return ok ? FH_OK : fh_arena_fail(a, g->err);
}

static fh_status gather_file(gatherer *g, fh_license_node *n, const fh_location *at, fh_card *card) {
    fh_bundle *b = NULL;
    char folder[FH_PATH_MAX] = "";
    FH_TRY(fh_location_open(&b, at, g->err));
    fh_status st = FH_OK;
    if (fh_bundle_form(b) == FH_FORM_GGUF) st = gather_gguf(g, n, b, card);
    else if (fh_bundle_folder(b)) snprintf(folder, sizeof folder, "%s", fh_bundle_folder(b));
    fh_bundle_close(b);
    if (st == FH_OK && folder[0]) st = gather_folder(g, n, folder, card);
    return st;
}

/* ---- the chain ---- */
static fh_status gather_bases(gatherer *g, size_t child, const fh_card *card, int depth);

/* Where a base model's folder is, or "". */
static fh_status find_base(gatherer *g, fh_str id, fh_location *at) {
    bool found = false;
    memset(at, 0, sizeof *at);
    if (g->parents) {
        FH_TRY(fh_path_join(at->path, g->parents, id, g->err));
        if (fh_file_get_kind(at->path) == FH_FILE_DIR) return FH_OK;
        at->path[0] = 0;
    }
    FH_TRY(fh_locate_hf_cache(at, id, &found, g->err));
    if (!found) at->path[0] = 0;
    return FH_OK;
}

static bool is_ancestor(const fh_license_report *r, size_t node, fh_str id) {
    while (!fh_str_eq(r->node[node].id, id)) {
        if (r->node[node].child == node) return false;
        node = r->node[node].child;
    }
    return true;
}

static fh_status gather_base(gatherer *g, size_t child, fh_str id, int depth) {
    fh_license_report *r = g->r;
    if (!is_model_id(id) || is_ancestor(r, child, id) || depth == FH_LICENSE_MOST_DEPTH ||
        r->n_node == FH_LICENSE_MOST_NODES) {
        r->node[child].bases = FH_CARD_UNREADABLE;
        return fh_license_list_add(&r->conflicts, &r->arena, g->err,
                                   "%.*s: '%.*s' cannot be followed: no name of a model, one of its own descendants, "
                                   "or too long a chain",
                                   FH_STR_ARG(r->node[child].id), FH_STR_ARG(id));
    }
    fh_location at;
    fh_card card;
    memset(&card, 0, sizeof card);
    FH_TRY(find_base(g, id, &at));
    size_t i = r->n_node++;
    fh_license_node *n = &r->node[i];
    n->child = child;
    n->id = id;
    n->here = at.path[0] != 0;
    n->eu_disallowed = FH_TRI_NO;
    if (!n->here) return FH_OK;
    FH_TRY(gather_folder(g, n, at.path, &card));
    return gather_bases(g, i, &card, depth + 1);
}

static fh_status gather_bases(gatherer *g, size_t child, const fh_card *card, int depth) {
    for (size_t i = 0; i < card->n_base; i++) FH_TRY(gather_base(g, child, card->base[i], depth));
    return FH_OK;
}

static fh_status gather_model(gatherer *g, const char *model) {
    fh_license_report *r = g->r;
    fh_license_node *n = &r->node[0];
    fh_location at;
    fh_card card;
    memset(&card, 0, sizeof card);
    FH_TRY(fh_locate(&at, model, g->err));
    r->n_node = 1;
    n->here = true;
    n->eu_disallowed = FH_TRI_NO;
    if (!fh_arena_copy(&r->arena, fh_str_of(at.name), &n->id)) return fh_arena_fail(&r->arena, g->err);
    if (at.license_path[0]) FH_TRY(add_doc(g, n, at.license_path, FH_STR("Ollama's licence layer"), false));
    bool folder = at.path[0] && fh_file_get_kind(at.path) == FH_FILE_DIR;
    FH_TRY(folder ? gather_folder(g, n, at.path, &card) : gather_file(g, n, &at, &card));
    return gather_bases(g, 0, &card, 0);
}

fh_status fh_license_gather(fh_license_report *out, const char *model, const char *parents, fh_err *err) {
    gatherer g = {out, parents, err};
    memset(out, 0, sizeof *out);
    fh_arena_init(&out->arena, REPORT_BYTES);
    fh_status st = gather_model(&g, model);
    if (st != FH_OK) fh_license_report_release(out);
    return st;
}
