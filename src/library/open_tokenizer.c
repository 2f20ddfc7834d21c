/* library/open_tokenizer.c - finding the tokenizer of a model, and knowing its file by content.
 * SPDX-License-Identifier: Apache-2.0
 * Files are mapped, read once and let go: a tokenizer owns copies of all it needs. Refuses files over FILE_MOST. */
#include "library/open_tokenizer.h"

#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "library/builtin.h"

#define FILE_MOST ((size_t)1 << 30)

typedef enum file_kind { KIND_GGUF, KIND_JSON, KIND_TEKKEN, KIND_RANKS, KIND_WORDS, KIND_SENTENCEPIECE } file_kind;

/* Where a folder keeps its tokenizer, best first. */
static const char *const FILES[] = {"tokenizer.json",          "tekken.json",    "tokenizer.model", "spiece.model",
                                    "sentencepiece.bpe.model", "tiktoken.model", "qwen.tiktoken",   "vocab.txt"};

/* ---- kinds ---- */

/* tekken.json has a "config" and an array of ranks; tokenizer.json a "model". The first key that tells decides. */
static bool is_tekken(fh_str text) {
    fh_json_reader r;
    fh_json_event ev;
    bool tekken = false;
    fh_json_reader_init(&r, text);
    if (fh_json_next(&r, &ev, NULL) == FH_OK && ev.kind == FH_JSON_OBJECT) {
        while (fh_json_next(&r, &ev, NULL) == FH_OK && ev.kind == FH_JSON_KEY) {
            if (fh_str_is(ev.text, "model") || fh_str_is(ev.text, "added_tokens")) break;
            if (fh_str_is(ev.text, "config") || fh_str_is(ev.text, "vocab")) {
                tekken = true;
                break;
            }
            if (fh_json_next(&r, &ev, NULL) != FH_OK || fh_json_skip(&r, &ev, NULL) != FH_OK) break;
        }
    }
    fh_json_reader_release(&r);
    return tekken;
}

static bool is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
           c == '=';
}

/* The first line: base64, one space, digits. */
static bool is_ranks(fh_str text) {
    size_t i = 0, digits = 0;
    while (i < text.len && is_base64(text.ptr[i])) i++;
    if (i == 0 || i % 4 != 0 || i == text.len || text.ptr[i++] != ' ') return false;
    for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) digits++;
    return digits > 0 && (i == text.len || text.ptr[i] == '\n' || text.ptr[i] == '\r');
}

static file_kind kind_of(fh_str text, const char *path) {
    size_t i = 0;
    if (fh_str_starts(text, "GGUF")) return KIND_GGUF;
    while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\n' || text.ptr[i] == '\r' || text.ptr[i] == '\t'))
        i++;
    if (i < text.len && text.ptr[i] == '{') return is_tekken(text) ? KIND_TEKKEN : KIND_JSON;
    if (is_ranks(text)) return KIND_RANKS;
    return fh_str_ends(fh_str_of(path), ".txt") ? KIND_WORDS : KIND_SENTENCEPIECE;
}

/* ---- opening ---- */

static fh_status open_gguf(fh_tokenizer **out, fh_bytes file, fh_err *err) {
    fh_gguf *g = NULL;
    FH_TRY(fh_gguf_open(&g, file, err));
    fh_status s = fh_tokenizer_from_gguf(out, g, err);
    fh_gguf_close(g);
    return s;
}

static fh_status build(fh_tokenizer **out, fh_bytes file, const char *path, fh_str pattern,
                       const fh_tokenizer_config *config, fh_err *err) {
    fh_str text = fh_str_of_bytes(file);
    file_kind kind = kind_of(text, path);
    if (kind != KIND_GGUF && text.len > FILE_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "a tokenizer of %zu bytes is too large", text.len);
    if (pattern.len > 0 && kind != KIND_RANKS && kind != KIND_TEKKEN)
        return fh_fail(err, FH_ERR_USAGE, "this tokenizer says itself how text is cut: a pattern has no place here");
    switch (kind) {
    case KIND_GGUF: return open_gguf(out, file, err);
    case KIND_JSON: return fh_tokenizer_from_json(out, text, config, err);
    case KIND_TEKKEN: return fh_tokenizer_from_tekken(out, text, pattern, err);
    case KIND_RANKS: return fh_tokenizer_from_tiktoken(out, text, pattern, config, err);
    case KIND_WORDS: return fh_tokenizer_from_wordlist(out, text, config, err);
    case KIND_SENTENCEPIECE: break;
    }
    return fh_tokenizer_from_sentencepiece(out, file, config, err);
}

static fh_status open_file(fh_tokenizer **out, const char *path, fh_str pattern, const fh_tokenizer_config *config,
                           fh_err *err) {
    fh_map *m = NULL;
    fh_tokenizer *t = NULL;
    FH_TRY(fh_map_open(&m, path, err));
    fh_status s = build(&t, fh_map_bytes(m), path, pattern, config, err);
    if (s == FH_OK) {
        s = fh_map_check(m, err);
        if (s == FH_OK) *out = t;
        else fh_tokenizer_free(t);
    }
    fh_map_close(m);
    if (s != FH_OK && err) fh_err_set_path(err, path);
    return s;
}

static fh_status open_folder(fh_tokenizer **out, const char *folder, fh_str pattern, fh_err *err) {
    char path[FH_PATH_MAX];
    fh_tokenizer_config *config = NULL;
    for (size_t i = 0; i < FH_COUNT(FILES); i++) {
        FH_TRY(fh_path_join(path, folder, fh_str_of(FILES[i]), err));
        if (fh_file_get_kind(path) != FH_FILE_REGULAR) continue;
        FH_TRY(fh_tokenizer_config_open(&config, folder, err));
        fh_status s = open_file(out, path, pattern, config, err);
        fh_tokenizer_config_free(config);
        return s;
    }
    fh_status s =
        fh_fail(err, FH_ERR_NOT_FOUND, "the folder has no tokenizer: neither tokenizer.json nor an older form");
    if (err) fh_err_set_path(err, folder);
    return s;
}

/* The folder that a file lies in. */
static fh_status folder_of(char out[FH_PATH_MAX], const char *path, fh_err *err) {
    fh_str s = fh_str_of(path), base = fh_path_base(s);
    fh_str folder = fh_str_first(s, s.len - base.len);
    while (folder.len > 1 && fh_str_ends(folder, "/")) folder.len--;
    if (folder.len == 0) folder = FH_STR(".");
    return fh_str_copy(out, FH_PATH_MAX, folder) ? FH_OK : fh_fail(err, FH_ERR_LIMIT, "the path is too long");
}

static fh_status open_at(fh_tokenizer **out, const char *path, fh_str pattern, fh_err *err) {
    char folder[FH_PATH_MAX];
    fh_str name = fh_str_of(path);
    if (fh_file_get_kind(path) == FH_FILE_DIR) return open_folder(out, path, pattern, err);
    bool weights = fh_str_ends(name, ".safetensors") || fh_str_ends(name, ".safetensors.index.json");
    if (!weights) return open_file(out, path, pattern, NULL, err);
    FH_TRY(folder_of(folder, path, err));
    return open_folder(out, folder, pattern, err);
}

fh_status fh_tokenizer_open(fh_tokenizer **out, const char *model, fh_str pattern, fh_err *err) {
    fh_location at;
    FH_TRY(fh_locate(&at, model, err));
    if (at.source != FH_SOURCE_BUILTIN) return open_at(out, at.path, pattern, err);
    if (pattern.len > 0) return fh_fail(err, FH_ERR_USAGE, "the built-in model says itself how text is cut");
    return open_gguf(out, fh_builtin_model(), err);
}
