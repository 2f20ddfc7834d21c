/* format/bundle.c - from a path to a checked set of files.
 * SPDX-License-Identifier: Apache-2.0
 * Kinds are told by content. A folder is a Hugging Face checkpoint (index, one file, or a numbered set) or holds one
 * GGUF (or one split set). PyTorch pickles are refused: opening one can run a stranger's code.
 * Opening reads headers only; tensor data stays untouched on disk until somebody asks. */
#include "format/bundle.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/num.h"
#include "format/bundle_part.h"

#define MAX_PARTS 1000u
#define MAX_CONFIG_BYTES (16u << 20)
#define MAX_INDEX_BYTES (256u << 20)

static fh_bundle *bundle_new(const char *path, fh_err *err) {
    fh_bundle *b = fh_alloc_zero(1, sizeof *b);
    if (!b || !(b->path = fh_strdup(fh_str_of(path)))) {
        fh_free(b);
        fh_fail_memory(err, sizeof *b);
        return NULL;
    }
    return b;
}

void fh_bundle_close(fh_bundle *b) {
    if (!b) return;
    for (size_t i = 0; i < b->n_part; i++) {
        fh_gguf_close(b->part[i].gguf);
        fh_st_close(b->part[i].st);
        fh_map_close(b->part[i].map);
    }
    fh_free(b->part);
    fh_free(b->tensor);
    fh_free(b->tensor_ptr);
    fh_arena_release(&b->arena);
    fh_hf_config_free(b->config);
    fh_free(b->folder);
    fh_free(b->path);
    fh_free(b);
}

/* ---- parts ---- */
static fh_status add_part(fh_bundle *b, fh_map *map, fh_err *err) {
    if (b->n_part == MAX_PARTS) {
        fh_map_close(map);
        return fh_fail(err, FH_ERR_LIMIT, "more than %u files in one model", MAX_PARTS);
    }
    fh_bundle_part *part = fh_realloc(b->part, b->n_part + 1, sizeof *part);
    if (!part) {
        fh_map_close(map);
        return fh_fail_memory(err, sizeof *part);
    }
    b->part = part;
    part[b->n_part++] = (fh_bundle_part){.map = map};
    return FH_OK;
}

static fh_status add_part_path(fh_bundle *b, const char *path, fh_err *err) {
    fh_map *map;
    FH_TRY(fh_map_open(&map, path, err));
    return add_part(b, map, err);
}

/* Parses part i; errors name its file. */
static fh_status open_part(fh_bundle *b, size_t i, fh_err *err) {
    fh_bundle_part *p = &b->part[i];
    fh_status st = b->form == FH_FORM_GGUF ? fh_gguf_open(&p->gguf, fh_map_bytes(p->map), err)
                                           : fh_st_open(&p->st, fh_map_bytes(p->map), err);
    if (st != FH_OK) fh_err_set_path(err, fh_map_path(p->map));
    return st;
}

static size_t part_n_tensor(const fh_bundle *b, size_t i) {
    return b->form == FH_FORM_GGUF ? fh_gguf_n_tensor(b->part[i].gguf) : fh_st_n_tensor(b->part[i].st);
}
static const fh_tensor *part_tensor(const fh_bundle *b, size_t i, size_t k) {
    return b->form == FH_FORM_GGUF ? fh_gguf_get_tensor(b->part[i].gguf, k) : fh_st_get_tensor(b->part[i].st, k);
}

static int by_name(const void *x, const void *y) {
    const fh_tensor *const *a = x, *const *b = y;
    return fh_str_cmp((*a)->name, (*b)->name);
}

/* A name in two parts would mean two readers could load different models from the same files. */
static fh_status refuse_twins(const fh_bundle *b, fh_err *err) {
    if (b->n_part < 2 || b->n_tensor == 0) return FH_OK;
    const fh_tensor **sorted = fh_alloc(b->n_tensor, sizeof *sorted);
    if (!sorted) return fh_fail_memory(err, b->n_tensor * sizeof *sorted);
    memcpy(sorted, b->tensor_ptr, b->n_tensor * sizeof *sorted);
    qsort(sorted, b->n_tensor, sizeof *sorted, by_name);
    fh_status st = FH_OK;
    for (size_t i = 1; i < b->n_tensor && st == FH_OK; i++) {
        if (!fh_str_eq(sorted[i - 1]->name, sorted[i]->name)) continue;
        st = fh_fail_at(err, FH_ERR_FORMAT, sorted[i]->file_offset, "tensor '%.*s' stands in '%s' and again here",
                        FH_STR_ARG(sorted[i]->name), fh_map_path(b->part[sorted[i - 1]->part].map));
        fh_err_set_path(err, fh_map_path(b->part[sorted[i]->part].map));
    }
    fh_free(sorted);
    return st;
}

/* All tensors of all parts in one array, then the logical weights over them. */
static fh_status gather(fh_bundle *b, fh_err *err) {
    size_t n = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < b->n_part; i++) {
        n += part_n_tensor(b, i);
        bytes += fh_map_bytes(b->part[i].map).len;
    }
    b->tensor = fh_alloc(n, sizeof *b->tensor);
    b->tensor_ptr = fh_alloc(n, sizeof *b->tensor_ptr);
    if (!b->tensor || !b->tensor_ptr) return fh_fail_memory(err, n * sizeof *b->tensor);
    for (size_t i = 0; i < b->n_part; i++) {
        for (size_t k = 0; k < part_n_tensor(b, i); k++) {
            fh_tensor *t = &b->tensor[b->n_tensor];
            *t = *part_tensor(b, i, k);
            t->part = (uint32_t)i;
            b->tensor_ptr[b->n_tensor++] = t;
        }
    }
    FH_TRY(refuse_twins(b, err));
    fh_arena_init(&b->arena, (size_t)FH_MIN(bytes, (uint64_t)1 << 32) + (16u << 20));
    const fh_json_node *config = b->form == FH_FORM_SAFETENSORS ? fh_bundle_config(b) : NULL;
    return fh_packed_bind(&b->weights, &b->arena, b->tensor_ptr, b->n_tensor, config, err);
}

/* ---- GGUF: one file or a split set ---- */
static fh_status check_split_keys(const fh_bundle *b, size_t i, fh_err *err) {
    uint64_t no = 0, count = 1;
    const fh_gguf *g = b->part[i].gguf;
    const fh_gguf_kv *kv_no = fh_gguf_find(g, "split.no"), *kv_count = fh_gguf_find(g, "split.count");
    fh_gguf_to_u64(kv_count, &count);
    fh_gguf_to_u64(kv_no, &no);
    if (count == b->n_part && no == i) return FH_OK;
    if (count <= 1 && b->n_part == 1) return FH_OK;
    fh_status st = fh_fail_at(err, FH_ERR_FORMAT, kv_no ? kv_no->offset : 0,
                              "this file says it is part %llu of %llu; by its name it is part %zu of %zu",
                              (unsigned long long)no + 1, (unsigned long long)count, i + 1, b->n_part);
    fh_err_set_path(err, fh_map_path(b->part[i].map));
    return st;
}

static fh_status check_split_total(const fh_bundle *b, fh_err *err) {
    const fh_gguf_kv *kv = fh_gguf_find(b->part[0].gguf, "split.tensors.count");
    uint64_t said, found = 0;
    if (!fh_gguf_to_u64(kv, &said)) return FH_OK;
    for (size_t i = 0; i < b->n_part; i++) found += part_n_tensor(b, i);
    if (said == found) return FH_OK;
    fh_status st = fh_fail_at(err, FH_ERR_FORMAT, kv->offset, "split.tensors.count says %llu, the parts hold %llu",
                              (unsigned long long)said, (unsigned long long)found);
    fh_err_set_path(err, fh_map_path(b->part[0].map));
    return st;
}

static fh_status open_gguf_set(fh_bundle *b, const char *path, fh_err *err) {
    fh_gguf_split split;
    char part[FH_PATH_MAX];
    b->form = FH_FORM_GGUF;
    if (fh_gguf_split_parse(fh_str_of(path), &split)) {
        if (split.count > MAX_PARTS) return fh_fail(err, FH_ERR_LIMIT, "a set of %u parts", split.count);
        for (uint32_t no = 1; no <= split.count; no++) {
            FH_TRY(fh_gguf_split_path(part, &split, no, err));
            fh_status st = add_part_path(b, part, err);
            if (st == FH_ERR_NOT_FOUND) st = fh_fail(err, st, "part %u of %u is missing: '%s'", no, split.count, part);
            if (st != FH_OK) return st;
        }
    } else {
        FH_TRY(add_part_path(b, path, err));
    }
    for (size_t i = 0; i < b->n_part; i++) {
        FH_TRY(open_part(b, i, err));
        FH_TRY(check_split_keys(b, i, err));
    }
    FH_TRY(check_split_total(b, err));
    return gather(b, err);
}

/* ---- safetensors: one file, a numbered set, or what the index names ---- */
fh_status fh_bundle_read_side(const fh_bundle *b, const char *name, size_t limit, fh_buf *out, fh_err *err) {
    char path[FH_PATH_MAX];
    if (!b->folder) return fh_fail(err, FH_ERR_NOT_FOUND, "no folder beside the model to look for '%s' in", name);
    FH_TRY(fh_path_join(path, b->folder, fh_str_of(name), err));
    fh_buf_init(out, limit);
    fh_status st = fh_file_read(path, out, err);
    if (st != FH_OK) fh_buf_release(out);
    return st;
}

static fh_status read_config(fh_bundle *b, fh_err *err) {
    fh_buf text;
    fh_err ignored;
    fh_status st = fh_bundle_read_side(b, "config.json", MAX_CONFIG_BYTES, &text, &ignored);
    if (st == FH_ERR_NOT_FOUND) return FH_OK;
    if (st != FH_OK) {
        if (err) *err = ignored;
        return st;
    }
    st = fh_hf_config_parse(&b->config, fh_buf_str(&text), err);
    fh_buf_release(&text);
    if (st == FH_OK) return FH_OK;
    char path[FH_PATH_MAX];
    if (fh_path_join(path, b->folder, FH_STR("config.json"), NULL) == FH_OK) fh_err_set_path(err, path);
    return st;
}

static fh_status open_st_parts(fh_bundle *b, fh_err *err) {
    b->form = FH_FORM_SAFETENSORS;
    for (size_t i = 0; i < b->n_part; i++) FH_TRY(open_part(b, i, err));
    FH_TRY(read_config(b, err));
    return gather(b, err);
}

static fh_status open_index(fh_bundle *b, const char *index_path, fh_err *err) {
    fh_st_index *x = NULL;
    fh_buf text;
    char path[FH_PATH_MAX];
    fh_buf_init(&text, MAX_INDEX_BYTES);
    fh_status st = fh_file_read(index_path, &text, err);
    if (st == FH_OK) st = fh_st_index_parse(&x, fh_buf_str(&text), err);
    for (size_t i = 0; st == FH_OK && i < fh_st_index_n_shard(x); i++) {
        fh_str shard = fh_st_index_get_shard(x, i);
        st = fh_path_join(path, b->folder, shard, err);
        if (st == FH_OK) st = add_part_path(b, path, err);
        if (st == FH_ERR_NOT_FOUND)
            st = fh_fail(err, st, "the index names '%.*s', which is missing", FH_STR_ARG(shard));
    }
    if (st == FH_OK) st = open_st_parts(b, err);
    if (st == FH_OK) st = fh_st_index_check(x, b->tensor_ptr, b->n_tensor, err);
    if (st != FH_OK) fh_err_set_path(err, index_path);
    fh_st_index_free(x);
    fh_buf_release(&text);
    return st;
}

/* "NAME-00002-of-00005.safetensors": length of the part before "-00002", or false. */
static bool numbered(fh_str name, size_t *stem, uint64_t *no, uint64_t *count) {
    static const char tail[] = "-00000-of-00000.safetensors";
    const size_t n = sizeof tail - 1;
    if (name.len <= n) return false;
    fh_str end = fh_str_drop(name, name.len - n);
    for (size_t i = 0; i < n; i++) {
        bool digit = end.ptr[i] >= '0' && end.ptr[i] <= '9';
        if (tail[i] == '0' ? !digit : end.ptr[i] != tail[i]) return false;
    }
    *stem = name.len - n;
    return fh_str_u64((fh_str){end.ptr + 1, 5}, no) && fh_str_u64((fh_str){end.ptr + 10, 5}, count) && *no >= 1 &&
           *no <= *count;
}

static fh_status open_numbered(fh_bundle *b, fh_str name, size_t stem, uint64_t count, fh_err *err) {
    char part[FH_PATH_MAX], file[320];
    if (count > MAX_PARTS) return fh_fail(err, FH_ERR_LIMIT, "a set of %llu files", (unsigned long long)count);
    for (unsigned no = 1; no <= count; no++) {
        snprintf(file, sizeof file, "%.*s-%05u-of-%05u.safetensors", (int)FH_MIN(stem, (size_t)255), name.ptr, no,
                 (unsigned)count);
        FH_TRY(fh_path_join(part, b->folder, fh_str_of(file), err));
        fh_status st = add_part_path(b, part, err);
        if (st == FH_ERR_NOT_FOUND) st = fh_fail(err, st, "file %u of %u is missing: '%s'", no, (unsigned)count, part);
        if (st != FH_OK) return st;
    }
    return open_st_parts(b, err);
}

static fh_status open_st_file(fh_bundle *b, const char *path, fh_err *err) {
    size_t stem;
    uint64_t no, count;
    fh_str name = fh_path_base(fh_str_of(path));
    if (numbered(name, &stem, &no, &count) && b->folder) {
        char index[FH_PATH_MAX], file[320];
        snprintf(file, sizeof file, "%.*s.safetensors.index.json", (int)FH_MIN(stem, (size_t)255), name.ptr);
        FH_TRY(fh_path_join(index, b->folder, fh_str_of(file), err));
        if (fh_file_get_kind(index) == FH_FILE_REGULAR) return open_index(b, index, err);
        return open_numbered(b, name, stem, count, err);
    }
    FH_TRY(add_part_path(b, path, err));
    return open_st_parts(b, err);
}

/* ---- a folder ---- */
typedef struct candidates {
    fh_str gguf, st, pickle; /* the first of each kind */
    size_t n_gguf, n_st;     /* sets count once */
} candidates;

static void look_at(candidates *c, fh_str name) {
    fh_gguf_split split;
    size_t stem;
    uint64_t no, count;
    if (fh_str_ends(name, ".gguf")) {
        bool later = fh_gguf_split_parse(name, &split) && split.no != 1;
        /* a vision tower beside the model is not the model */
        if (later || fh_str_starts(name, "mmproj")) return;
        if (c->n_gguf++ == 0) c->gguf = name;
    } else if (fh_str_ends(name, ".safetensors")) {
        if (fh_str_starts(name, "adapter_") || (numbered(name, &stem, &no, &count) && no != 1)) return;
        if (c->n_st++ == 0) c->st = name;
    } else if (fh_str_ends(name, ".bin") && fh_str_starts(name, "pytorch_model")) {
        c->pickle = name;
    }
}

static fh_status choose_in_folder(const fh_bundle *b, const candidates *c, fh_err *err) {
    if (c->n_st == 1 || (c->n_st == 0 && c->n_gguf == 1)) return FH_OK;
    fh_status st;
    if (c->n_st + c->n_gguf > 1)
        st = fh_fail(err, FH_ERR_USAGE, "%zu models in this folder ('%.*s' is one): name the file you mean",
                     c->n_st + c->n_gguf, FH_STR_ARG(c->n_st ? c->st : c->gguf));
    else if (c->pickle.len)
        st = fh_fail(err, FH_ERR_UNSUPPORTED,
                     "'%.*s' is a PyTorch pickle, which can run code when opened: convert it to safetensors first",
                     FH_STR_ARG(c->pickle));
    else st = fh_fail(err, FH_ERR_NOT_FOUND, "no .safetensors and no .gguf file in this folder");
    fh_err_set_path(err, b->folder);
    return st;
}

static fh_status open_folder(fh_bundle *b, fh_err *err) {
    static const char *const indexes[] = {"model.safetensors.index.json", "consolidated.safetensors.index.json"};
    static const char *const single[] = {"model.safetensors", "consolidated.safetensors"};
    char path[FH_PATH_MAX];
    for (size_t i = 0; i < FH_COUNT(indexes); i++) {
        FH_TRY(fh_path_join(path, b->folder, fh_str_of(indexes[i]), err));
        if (fh_file_get_kind(path) == FH_FILE_REGULAR) return open_index(b, path, err);
        FH_TRY(fh_path_join(path, b->folder, fh_str_of(single[i]), err));
        if (fh_file_get_kind(path) == FH_FILE_REGULAR) return open_st_file(b, path, err);
    }
    fh_arena names_arena;
    fh_names names;
    candidates c = {0};
    fh_arena_init(&names_arena, 64u << 20);
    fh_status st = fh_dir_list(b->folder, &names_arena, &names, err);
    for (size_t i = 0; st == FH_OK && i < names.n; i++) look_at(&c, names.item[i]);
    if (st == FH_OK) st = choose_in_folder(b, &c, err);
    if (st == FH_OK) st = fh_path_join(path, b->folder, c.n_st ? c.st : c.gguf, err);
    fh_arena_release(&names_arena);
    if (st != FH_OK) return st;
    return c.n_st ? open_st_file(b, path, err) : open_gguf_set(b, path, err);
}

/* ---- by content ---- */
typedef enum content { CONTENT_GGUF, CONTENT_SAFETENSORS, CONTENT_JSON, CONTENT_OTHER } content;

static fh_status tell_content(const char *path, content *out, fh_err *err) {
    fh_map *m;
    FH_TRY(fh_map_open(&m, path, err));
    fh_bytes b = fh_map_bytes(m);
    if (b.len >= 4 && (memcmp(b.ptr, "GGUF", 4) == 0 || memcmp(b.ptr, "FUGG", 4) == 0)) *out = CONTENT_GGUF;
    else if (b.len >= 9 && b.ptr[8] == '{') *out = CONTENT_SAFETENSORS;
    else if (b.len >= 2 && b.ptr[0] == '{') *out = CONTENT_JSON;
    else *out = fh_str_ends(fh_str_of(path), ".safetensors") ? CONTENT_SAFETENSORS : CONTENT_OTHER;
    fh_map_close(m);
    return FH_OK;
}

static fh_status set_folder(fh_bundle *b, const char *path, bool is_folder, fh_err *err) {
    fh_str whole = fh_str_of(path);
    fh_str folder = is_folder ? whole : fh_str_first(whole, whole.len - fh_path_base(whole).len);
    b->folder = fh_strdup(folder.len ? folder : FH_STR("."));
    return b->folder ? FH_OK : fh_fail_memory(err, folder.len);
}

static fh_status open_path(fh_bundle *b, const char *path, fh_err *err) {
    fh_file_kind kind = fh_file_get_kind(path);
    FH_TRY(set_folder(b, path, kind == FH_FILE_DIR, err));
    if (kind == FH_FILE_DIR) return open_folder(b, err);
    content what;
    FH_TRY(tell_content(path, &what, err));
    if (what == CONTENT_SAFETENSORS) return open_st_file(b, path, err);
    if (what == CONTENT_JSON && fh_str_ends(fh_str_of(path), ".index.json")) return open_index(b, path, err);
    if (what == CONTENT_JSON) return open_folder(b, err);
    return open_gguf_set(b, path, err); /* whose reader says what else it may be */
}

fh_status fh_bundle_open(fh_bundle **out, const char *path, fh_err *err) {
    fh_bundle *b = bundle_new(path, err);
    if (!b) return FH_ERR_MEMORY;
    fh_status st = open_path(b, path, err);
    if (st != FH_OK) {
        fh_err_set_path(err, path);
        fh_bundle_close(b);
        return st;
    }
    *out = b;
    return FH_OK;
}

fh_status fh_bundle_open_static(fh_bundle **out, fh_bytes gguf, const char *name, fh_err *err) {
    fh_bundle *b = bundle_new(name, err);
    fh_map *map;
    if (!b) return FH_ERR_MEMORY;
    b->form = FH_FORM_GGUF;
    fh_status st = fh_map_static(&map, gguf, name, err);
    if (st == FH_OK) st = add_part(b, map, err);
    if (st == FH_OK) st = open_part(b, 0, err);
    if (st == FH_OK) st = gather(b, err);
    if (st != FH_OK) {
        fh_err_set_path(err, name);
        fh_bundle_close(b);
        return st;
    }
    *out = b;
    return FH_OK;
}
