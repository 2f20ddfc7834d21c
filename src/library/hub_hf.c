/* library/hub_hf.c - Hugging Face: a repository's tree at a commit, and which of its files make a model.
 * SPDX-License-Identifier: Apache-2.0
 * Asked: /api/models/REPO/revision/REV for the commit, then /api/models/REPO/tree/COMMIT, page by page. Large files are
 * listed with their SHA-256, small ones with git's name for their content: both are checked when the bytes are here.
 * Taken: a quantization or file that was asked for; else safetensors with what stands beside them; else the GGUF that
 * most people take (Q4_K_M), else the first. Licences, notices and the card come along. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/num.h"
#include "library/hub_part.h"

#define MOST_PAGES 1000
#define MOST_LISTED 100000

typedef struct tree {
    fh_hub_file *item; /* [n] */
    size_t n;
    fh_buf rows;
    fh_arena *arena;
} tree;

/* ---- what files are ---- */

static bool ends_nocase(fh_str s, const char *end) {
    size_t n = strlen(end);
    return s.len >= n && strncasecmp(s.ptr + s.len - n, end, n) == 0;
}

static bool starts_nocase(fh_str s, const char *start) {
    size_t n = strlen(start);
    return s.len >= n && strncasecmp(s.ptr, start, n) == 0;
}

bool fh_hub_is_pickle(fh_str path) {
    static const char *const ends[] = {".bin", ".pt",     ".pth",  ".pkl", ".pickle", ".ckpt",
                                       ".npy", ".joblib", ".dill", ".npz", ".mar",    ".nemo"};
    for (size_t i = 0; i < FH_COUNT(ends); i++)
        if (ends_nocase(path, ends[i])) return true;
    return false;
}

static bool in_root(fh_str path) {
    size_t at;
    return !fh_str_find(path, '/', &at);
}

static bool is_gguf(fh_str path) { return ends_nocase(path, ".gguf"); }
static bool is_projector(fh_str path) { return starts_nocase(fh_path_base(path), "mmproj"); }
static bool is_weights(fh_str path) { return ends_nocase(path, ".safetensors"); }

/* Terms and the card: what must travel with the weights. */
static bool is_paper(fh_str path) {
    static const char *const starts[] = {"LICENSE", "LICENCE",   "NOTICE",         "USE_POLICY", "USAGE_POLICY",
                                         "COPYING", "README.md", "ACCEPTABLE_USE", "Notice",     "TERMS"};
    for (size_t i = 0; i < FH_COUNT(starts); i++)
        if (in_root(path) && starts_nocase(path, starts[i])) return true;
    return false;
}

static bool is_license(fh_str path) {
    return in_root(path) &&
           (starts_nocase(path, "LICENSE") || starts_nocase(path, "LICENCE") || starts_nocase(path, "COPYING"));
}

/* What stands beside safetensors: configs, vocabularies, templates; heads of sentence encoders ("1_Pooling/"). */
static bool is_side(fh_str path) {
    static const char *const ends[] = {".json", ".txt", ".model", ".tiktoken", ".jinja", ".sha256"};
    bool numbered = isdigit((unsigned char)path.ptr[0]) && path.len > 2 && path.ptr[1] == '_';
    bool templates = fh_str_starts(path, "additional_chat_templates/");
    if (!in_root(path) && !numbered && !templates) return false;
    if (numbered && is_weights(path)) return true;
    for (size_t i = 0; i < FH_COUNT(ends); i++)
        if (ends_nocase(path, ends[i])) return true;
    return fh_str_is(path, "SHA256SUMS");
}

/* ---- the tree ---- */

static fh_status hostile(const char *what, fh_str path, fh_err *err) {
    return fh_fail(err, FH_ERR_FORMAT, "the listing has a file '%.*s' %s; nothing was fetched", FH_STR_ARG(path), what);
}

static fh_status take_digest(fh_hub_file *f, const fh_json_node *entry, fh_err *err) {
    fh_str sha, oid;
    const fh_json_node *lfs = fh_json_get(entry, "lfs");
    if (fh_json_is(lfs, FH_JSON_OBJECT)) {
        if (!fh_json_to_str(fh_json_get(lfs, "oid"), &sha) || !fh_sha256_is_hex(sha))
            return hostile("without a SHA-256", f->file.path, err);
        if (!fh_json_to_u64(fh_json_get(lfs, "size"), &f->file.bytes))
            return hostile("without a size", f->file.path, err);
        (void)fh_str_copy(f->file.digest, sizeof f->file.digest, sha);
        return FH_OK;
    }
    if (!fh_json_to_str(fh_json_get(entry, "oid"), &oid) || oid.len != 40)
        return hostile("without a digest", f->file.path, err);
    for (size_t i = 0; i < oid.len; i++)
        if (!strchr("0123456789abcdef", oid.ptr[i])) return hostile("without a digest", f->file.path, err);
    (void)fh_str_copy(f->git, sizeof f->git, oid);
    return FH_OK;
}

static fh_status take_entry(tree *t, const fh_json_node *entry, fh_err *err) {
    fh_hub_file f = {.git = ""};
    fh_str type, path;
    if (!fh_json_to_str(fh_json_get(entry, "type"), &type) || !fh_json_to_str(fh_json_get(entry, "path"), &path))
        return fh_fail_at(err, FH_ERR_FORMAT, entry->offset, "an entry of the listing has no type or no path");
    if (!fh_str_is(type, "file")) return FH_OK;
    if (!fh_store_path_ok(path)) return hostile("whose path cannot be kept", path, err);
    if (!fh_arena_copy(t->arena, path, &f.file.path)) return fh_arena_fail(t->arena, err);
    f.file.role = FH_STR("");
    if (!fh_json_to_u64(fh_json_get(entry, "size"), &f.file.bytes)) return hostile("without a size", path, err);
    FH_TRY(take_digest(&f, entry, err));
    fh_buf_add(&t->rows, &f, sizeof f);
    return fh_buf_check(&t->rows, err);
}

static fh_status take_page(tree *t, const fh_json_node *root, fh_err *err) {
    if (!fh_json_is(root, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "the listing is no JSON array");
    for (const fh_json_node *e = fh_json_first(root); e; e = fh_json_after(root, e)) FH_TRY(take_entry(t, e, err));
    return FH_OK;
}

static fh_status read_tree(tree *t, fh_fetch *f, const fh_hub_name *name, const char *bearer, fh_str commit,
                           fh_err *err) {
    char url[FH_FETCH_URL];
    fh_fetch_reply *reply = fh_alloc_zero(1, sizeof *reply);
    if (!reply) return fh_fail_memory(err, sizeof *reply);
    snprintf(url, sizeof url, "%s/api/models/%s/tree/%.*s?recursive=true", name->base, name->repo, FH_STR_ARG(commit));
    fh_status st = FH_OK;
    for (int page = 0; st == FH_OK && url[0]; page++) {
        const fh_fetch_request r = {.url = url, .accept = "application/json", .bearer = bearer};
        fh_json *doc = NULL;
        if (page == MOST_PAGES) st = fh_fail(err, FH_ERR_LIMIT, "the listing of '%s' has no end", name->repo);
        if (st == FH_OK) st = fh_hub_ask(&doc, f, &r, reply, name->repo, err);
        if (st == FH_OK) st = take_page(t, fh_json_root(doc), err);
        fh_json_free(doc);
        memcpy(url, reply->next, sizeof url);
    }
    fh_free(reply);
    return st;
}

static fh_status read_commit(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, const char *bearer,
                             fh_err *err) {
    char url[2048];
    fh_json *doc = NULL;
    fh_str sha;
    fh_fetch_reply *reply = fh_alloc_zero(1, sizeof *reply);
    if (!reply) return fh_fail_memory(err, sizeof *reply);
    snprintf(url, sizeof url, "%s/api/models/%s/revision/%s", name->base, name->repo, name->revision);
    const fh_fetch_request r = {.url = url, .accept = "application/json", .bearer = bearer};
    fh_status st = fh_hub_ask(&doc, f, &r, reply, name->repo, err);
    if (st == FH_OK &&
        (!fh_json_to_str(fh_json_get(fh_json_root(doc), "sha"), &sha) || sha.len != 40 || !fh_path_is_plain_name(sha)))
        st = fh_fail(err, FH_ERR_FORMAT, "'%s' names no commit", name->repo);
    for (size_t i = 0; st == FH_OK && i < sha.len; i++)
        if (!isxdigit((unsigned char)sha.ptr[i])) st = fh_fail(err, FH_ERR_FORMAT, "'%s' names no commit", name->repo);
    if (st == FH_OK && !fh_arena_copy(&out->arena, sha, &out->revision)) st = fh_arena_fail(&out->arena, err);
    fh_json_free(doc);
    fh_free(reply);
    return st;
}

/* ---- choosing ---- */

/* The part of a name that all parts of a split set share: "x-00001-of-00003.gguf" -> "x". */
static fh_str set_of(fh_str path) {
    fh_str s = fh_str_first(path, path.len - 5);
    if (s.len < 15 || memcmp(s.ptr + s.len - 9, "-of-", 4) != 0) return s;
    for (size_t i = 1; i <= 5; i++)
        if (!isdigit((unsigned char)s.ptr[s.len - i]) || !isdigit((unsigned char)s.ptr[s.len - 9 - i])) return s;
    return s.ptr[s.len - 15] == '-' ? fh_str_first(s, s.len - 15) : s;
}

static bool is_edge(char c) { return c == '-' || c == '.' || c == '_' || c == '/'; }

/* "Q4_K" is not in "x-Q4_K_M.gguf": a variant is a word of the name, or a whole file or folder. */
static bool has_variant(fh_str path, fh_str variant) {
    if (path.len == variant.len && strncasecmp(path.ptr, variant.ptr, path.len) == 0) return true;
    fh_str base = fh_path_base(path);
    if (base.len == variant.len && strncasecmp(base.ptr, variant.ptr, base.len) == 0) return true;
    fh_str set = set_of(path);
    for (size_t i = 0; i + variant.len <= set.len; i++) {
        size_t end = i + variant.len;
        if (strncasecmp(set.ptr + i, variant.ptr, variant.len) != 0) continue;
        if (i && !is_edge(set.ptr[i - 1])) continue;
        if (end == set.len || set.ptr[end] == '/' || set.ptr[end] == '.' || set.ptr[end] == '-') return true;
    }
    return false;
}

static const fh_hub_file *find_gguf(const tree *t, fh_str variant) {
    for (size_t i = 0; i < t->n; i++) {
        fh_str path = t->item[i].file.path;
        if (is_gguf(path) && !is_projector(path) && has_variant(path, variant)) return &t->item[i];
    }
    return NULL;
}

static void add_known(fh_buf *b, const char *word, bool (*is)(fh_str), const tree *t) {
    int n = 0;
    for (size_t i = 0; i < t->n && n < 12; i++) {
        if (!is(t->item[i].file.path)) continue;
        fh_buf_printf(b, "%s%.*s", n++ ? ", " : word, FH_STR_ARG(t->item[i].file.path));
    }
}

static fh_status nothing_to_take(const tree *t, const fh_hub_name *name, fh_err *err) {
    fh_buf known;
    fh_buf_init(&known, 1 << 16);
    if (name->variant[0]) {
        add_known(&known, "; there are: ", is_gguf, t);
        fh_fail(err, FH_ERR_NOT_FOUND, "'%s' has no GGUF file with '%s' in its name%.*s", name->repo, name->variant,
                (int)FH_MIN(known.len, (size_t)350), known.len ? (const char *)known.ptr : "");
    } else {
        add_known(&known, "", fh_hub_is_pickle, t);
        if (known.len)
            fh_fail(
                err, FH_ERR_UNSUPPORTED,
                "'%s' has its weights as pickle only (%.*s); a pickle is a program that runs when it is opened, and is "
                "never fetched here: look for safetensors or GGUF of the same model",
                name->repo, (int)FH_MIN(known.len, (size_t)120), (const char *)known.ptr);
        else fh_fail(err, FH_ERR_UNSUPPORTED, "'%s' holds neither safetensors nor GGUF files", name->repo);
    }
    fh_buf_release(&known);
    return name->variant[0] ? FH_ERR_NOT_FOUND : FH_ERR_UNSUPPORTED;
}

typedef struct choice {
    bool all, safetensors,
        consolidated; /* consolidated.*: a second copy of the same weights beside model-*.safetensors */
    fh_str set;       /* of the GGUF, or "" */
} choice;

static bool takes(const choice *c, fh_str path) {
    if (fh_hub_is_pickle(path)) return false;
    if (c->all || is_paper(path)) return true;
    if (c->set.len) return is_gguf(path) && fh_str_eq(set_of(path), c->set);
    if (is_weights(path) && in_root(path)) return !(c->consolidated && fh_str_starts(path, "consolidated"));
    return is_side(path);
}

static fh_status choose(choice *c, const tree *t, const fh_hub_name *name, fh_err *err) {
    const fh_hub_file *gguf = NULL;
    bool model = false, second = false;
    for (size_t i = 0; i < t->n; i++) {
        fh_str path = t->item[i].file.path;
        if (!is_weights(path) || !in_root(path)) continue;
        model |= !fh_str_starts(path, "consolidated");
        second |= fh_str_starts(path, "consolidated");
    }
    bool st_file = name->variant[0] && fh_str_ends(fh_str_of(name->variant), ".safetensors");
    c->safetensors = (model || second) && (!name->variant[0] || st_file);
    c->consolidated = model && second;
    if (c->safetensors || c->all) return FH_OK;
    gguf = find_gguf(t, name->variant[0] ? fh_str_of(name->variant) : FH_STR("Q4_K_M"));
    for (size_t i = 0; !gguf && !name->variant[0] && i < t->n; i++)
        if (is_gguf(t->item[i].file.path) && !is_projector(t->item[i].file.path)) gguf = &t->item[i];
    if (!gguf) return nothing_to_take(t, name, err);
    c->set = set_of(gguf->file.path);
    return FH_OK;
}

static fh_status add_url(fh_hub_file *f, fh_hub_listing *out, const fh_hub_name *name, fh_err *err) {
    fh_buf url;
    fh_buf_init(&url, FH_FETCH_URL);
    fh_buf_printf(&url, "%s/%s/resolve/%.*s/", name->base, name->repo, FH_STR_ARG(out->revision));
    fh_hub_add_escaped(&url, f->file.path);
    fh_status st = fh_buf_check(&url, err);
    if (st == FH_OK && !fh_arena_copy(&out->arena, fh_buf_str(&url), &f->url)) st = fh_arena_fail(&out->arena, err);
    fh_buf_release(&url);
    return st;
}

static fh_status take_chosen(fh_hub_listing *out, tree *t, const choice *c, const fh_hub_name *name, fh_err *err) {
    bool license = false;
    out->file = fh_arena_alloc(&out->arena, t->n, sizeof *out->file);
    if (!out->file) return fh_arena_fail(&out->arena, err);
    out->entry = FH_STR("");
    for (size_t i = 0; i < t->n; i++) {
        fh_hub_file f = t->item[i];
        if (!takes(c, f.file.path)) continue;
        if (out->n == FH_STORE_MOST_FILES)
            return fh_fail(err, FH_ERR_LIMIT, "more than %d files of '%s'", FH_STORE_MOST_FILES, name->repo);
        if (!license && is_license(f.file.path)) {
            f.file.role = FH_STR("license");
            license = true;
        }
        bool first = c->set.len && is_gguf(f.file.path) && !out->entry.len;
        if (first) {
            out->entry = f.file.path;
            f.file.role = FH_STR("model");
        }
        FH_TRY(add_url(&f, out, name, err));
        out->file[out->n++] = f;
    }
    return out->n ? FH_OK : nothing_to_take(t, name, err);
}

static fh_status take_tree(fh_hub_listing *out, tree *t, const fh_hub_name *name, bool all, fh_err *err) {
    choice c = {.all = all};
    t->item = (fh_hub_file *)(void *)t->rows.ptr;
    t->n = t->rows.len / sizeof *t->item;
    FH_TRY(choose(&c, t, name, err));
    return take_chosen(out, t, &c, name, err);
}

fh_status fh_hub_hf_take(fh_hub_listing *out, fh_str page, const fh_hub_name *name, bool all, fh_err *err) {
    tree t = {.arena = &out->arena};
    fh_json *doc = NULL;
    FH_TRY(fh_json_parse(&doc, page, NULL, err));
    fh_buf_init(&t.rows, MOST_LISTED * sizeof(fh_hub_file));
    fh_status st = take_page(&t, fh_json_root(doc), err);
    if (st == FH_OK) st = take_tree(out, &t, name, all, err);
    fh_buf_release(&t.rows);
    fh_json_free(doc);
    return st;
}

fh_status fh_hub_hf_list(fh_hub_listing *out, fh_fetch *f, const fh_hub_name *name, bool all, fh_err *err) {
    tree t = {.arena = &out->arena};
    FH_TRY(fh_hub_token(out->bearer, err));
    const char *bearer = out->bearer[0] ? out->bearer : NULL;
    fh_buf_init(&t.rows, MOST_LISTED * sizeof(fh_hub_file));
    fh_status st = read_commit(out, f, name, bearer, err);
    if (st == FH_OK) st = read_tree(&t, f, name, bearer, out->revision, err);
    if (st == FH_OK) st = take_tree(out, &t, name, all, err);
    fh_buf_release(&t.rows);
    return st;
}
