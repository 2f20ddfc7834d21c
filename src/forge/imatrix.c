/* forge/imatrix.c - importance matrices in memory: found by name, added, merged, turned into weights.
 * SPDX-License-Identifier: Apache-2.0
 * Owns: all names and numbers. Invariants: (1) entries are in byte order of their names, no name twice; (2) every sum
 * and count is finite and not negative. */
#include "forge/imatrix_part.h"

#include "base/num.h"

fh_status fh_imatrix_new(fh_imatrix **out, uint32_t chunk_size, fh_err *err) {
    fh_imatrix *m = fh_alloc_zero(1, sizeof *m);
    if (!m) return fh_fail_memory(err, sizeof *m);
    fh_arena_init(&m->arena, FH_IMATRIX_MEMORY);
    m->chunk_size = chunk_size;
    *out = m;
    return FH_OK;
}

void fh_imatrix_free(fh_imatrix *m) {
    if (!m) return;
    fh_arena_release(&m->arena);
    fh_free(m->entry);
    fh_free(m->dataset);
    fh_free(m);
}

fh_status fh_imatrix_open(fh_imatrix **out, const char *path, fh_err *err) {
    fh_map *map = NULL;
    fh_imatrix *m = NULL;
    fh_status st = fh_map_open(&map, path, err);
    if (st != FH_OK) goto out;
    st = fh_imatrix_new(&m, 0, err);
    if (st != FH_OK) goto out;
    const fh_bytes file = fh_map_bytes(map);
    const bool gguf = file.len >= 4 && memcmp(file.ptr, "GGUF", 4) == 0;
    st = gguf ? fh_imatrix_read_gguf(m, file, err) : fh_imatrix_read_dat(m, file, err);
    if (st == FH_OK) st = fh_map_check(map, err);
    if (st == FH_OK && m->n_entry == 0) st = fh_fail(err, FH_ERR_FORMAT, "no importance matrix in it");
    if (st != FH_OK) fh_err_set_path(err, path);
out:
    fh_map_close(map);
    if (st != FH_OK) {
        fh_imatrix_free(m);
        return st;
    }
    *out = m;
    return FH_OK;
}

/* Where the name is, or would be. */
static size_t place_of(const fh_imatrix *m, fh_str name, bool *found) {
    size_t lo = 0, hi = m->n_entry;
    *found = false;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int c = fh_str_cmp(m->entry[mid].name, name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

size_t fh_imatrix_n_entry(const fh_imatrix *m) { return m->n_entry; }
const fh_imatrix_entry *fh_imatrix_get(const fh_imatrix *m, size_t i) { return &m->entry[i]; }
bool fh_imatrix_is_legacy(const fh_imatrix *m) { return m->legacy; }
uint32_t fh_imatrix_n_chunk(const fh_imatrix *m) { return m->n_chunk; }
uint32_t fh_imatrix_chunk_size(const fh_imatrix *m) { return m->chunk_size; }
size_t fh_imatrix_n_dataset(const fh_imatrix *m) { return m->n_dataset; }
fh_str fh_imatrix_dataset(const fh_imatrix *m, size_t i) { return m->dataset[i]; }
void fh_imatrix_add_chunks(fh_imatrix *m, uint32_t n) { m->n_chunk += n; }

const fh_imatrix_entry *fh_imatrix_find(const fh_imatrix *m, fh_str name) {
    bool found;
    const size_t at = place_of(m, name, &found);
    return found ? &m->entry[at] : NULL;
}

static fh_status insert(fh_imatrix *m, size_t at, fh_str name, uint64_t n_value, uint64_t n_mat, fh_err *err) {
    if (m->n_entry == m->cap_entry) {
        const size_t cap = m->cap_entry ? 2 * m->cap_entry : 64;
        if (cap > FH_IMATRIX_ENTRIES)
            return fh_fail(err, FH_ERR_LIMIT, "more than %zu importance entries", FH_IMATRIX_ENTRIES);
        fh_imatrix_entry *grown = fh_realloc(m->entry, cap, sizeof *grown);
        if (!grown) return fh_fail_memory(err, cap * sizeof *grown);
        m->entry = grown;
        m->cap_entry = cap;
    }
    fh_imatrix_entry e = {.n_value = n_value, .n_mat = n_mat};
    e.sum = fh_arena_alloc(&m->arena, (size_t)n_value, sizeof *e.sum);
    e.count = fh_arena_alloc(&m->arena, (size_t)n_mat, sizeof *e.count);
    if (!e.sum || !e.count || !fh_arena_copy(&m->arena, name, &e.name)) return fh_arena_fail(&m->arena, err);
    memmove(m->entry + at + 1, m->entry + at, (m->n_entry - at) * sizeof *m->entry);
    m->entry[at] = e;
    m->n_entry++;
    return FH_OK;
}

static bool is_sound(const float *v, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (!(v[i] >= 0 && v[i] <= 3.4028234664e38f)) return false;
    return true;
}

/* One count was all matrices': now each has its own. */
static fh_status spread_count(fh_imatrix *m, fh_imatrix_entry *e, uint64_t n_mat, fh_err *err) {
    float *count = fh_arena_alloc(&m->arena, (size_t)n_mat, sizeof *count);
    if (!count) return fh_arena_fail(&m->arena, err);
    for (uint64_t i = 0; i < n_mat; i++) count[i] = e->count[0];
    e->count = count;
    e->n_mat = n_mat;
    return FH_OK;
}

fh_status fh_imatrix_add(fh_imatrix *m, fh_str name, uint64_t n_value, uint64_t n_mat, const float *sum,
                         const float *count, fh_err *err) {
    bool found;
    if (n_mat == 0 || n_value == 0 || n_value % n_mat != 0)
        return fh_fail(err, FH_ERR_FORMAT, "importance of '%.*s': %llu values for %llu matrices", FH_STR_ARG(name),
                       (unsigned long long)n_value, (unsigned long long)n_mat);
    if (!is_sound(sum, n_value) || !is_sound(count, n_mat))
        return fh_fail(err, FH_ERR_FORMAT, "importance of '%.*s': a number that is negative or not finite",
                       FH_STR_ARG(name));
    const size_t at = place_of(m, name, &found);
    if (!found) FH_TRY(insert(m, at, name, n_value, n_mat, err));
    fh_imatrix_entry *e = &m->entry[at];
    if (e->n_value != n_value || (e->n_mat != n_mat && e->n_mat != 1 && n_mat != 1))
        return fh_fail(err, FH_ERR_FORMAT,
                       "importance of '%.*s': %llu values for %llu matrices, and %llu for %llu elsewhere",
                       FH_STR_ARG(name), (unsigned long long)n_value, (unsigned long long)n_mat,
                       (unsigned long long)e->n_value, (unsigned long long)e->n_mat);
    if (e->n_mat < n_mat) FH_TRY(spread_count(m, e, n_mat, err));
    for (uint64_t i = 0; i < n_value; i++) e->sum[i] += sum[i];
    for (uint64_t i = 0; i < e->n_mat; i++) e->count[i] += count[n_mat > 1 ? i : 0];
    if (!is_sound(e->sum, n_value) || !is_sound(e->count, e->n_mat))
        return fh_fail(err, FH_ERR_LIMIT, "importance of '%.*s': the sum does not fit", FH_STR_ARG(name));
    return FH_OK;
}

fh_status fh_imatrix_add_dataset(fh_imatrix *m, fh_str name, fh_err *err) {
    if (m->n_dataset == m->cap_dataset) {
        const size_t cap = m->cap_dataset ? 2 * m->cap_dataset : 8;
        if (cap > FH_IMATRIX_DATASETS) return fh_fail(err, FH_ERR_LIMIT, "more than %zu datasets", FH_IMATRIX_DATASETS);
        fh_str *grown = fh_realloc(m->dataset, cap, sizeof *grown);
        if (!grown) return fh_fail_memory(err, cap * sizeof *grown);
        m->dataset = grown;
        m->cap_dataset = cap;
    }
    if (!fh_arena_copy(&m->arena, name, &m->dataset[m->n_dataset])) return fh_arena_fail(&m->arena, err);
    m->n_dataset++;
    return FH_OK;
}

/* Of the older form: means times calls; a call is taken for a chunk of inputs. */
static fh_status add_legacy(fh_imatrix *m, const fh_imatrix_entry *e, float chunk, fh_err *err) {
    float *sum = fh_alloc((size_t)e->n_value, sizeof *sum);
    const float count = e->count[0] * chunk;
    if (!sum) return fh_fail_memory(err, (size_t)e->n_value * sizeof *sum);
    for (uint64_t i = 0; i < e->n_value; i++) sum[i] = e->sum[i] * chunk;
    const fh_status st = fh_imatrix_add(m, e->name, e->n_value, e->n_mat, sum, &count, err);
    fh_free(sum);
    return st;
}

fh_status fh_imatrix_merge(fh_imatrix *m, const fh_imatrix *from, fh_err *err) {
    FH_REQUIRE(!m->legacy);
    if (m->chunk_size == 0) m->chunk_size = from->chunk_size;
    if (m->chunk_size == 0) m->chunk_size = FH_IMATRIX_CHUNK;
    for (size_t i = 0; i < from->n_entry; i++) {
        const fh_imatrix_entry *e = &from->entry[i];
        if (from->legacy) FH_TRY(add_legacy(m, e, (float)m->chunk_size, err));
        else FH_TRY(fh_imatrix_add(m, e->name, e->n_value, e->n_mat, e->sum, e->count, err));
    }
    for (size_t i = 0; i < from->n_dataset; i++) FH_TRY(fh_imatrix_add_dataset(m, from->dataset[i], err));
    m->n_chunk += from->n_chunk;
    return FH_OK;
}

void fh_imatrix_filter(fh_imatrix *m, const char *const *part, size_t n, bool keep) {
    size_t left = 0;
    for (size_t i = 0; i < m->n_entry; i++) {
        bool named = false;
        for (size_t k = 0; k < n && !named; k++) named = fh_str_holds(m->entry[i].name, part[k]);
        if (named == keep) m->entry[left++] = m->entry[i];
    }
    m->n_entry = left;
}

void fh_imatrix_weights(const fh_imatrix *m, const fh_imatrix_entry *e, float *out) {
    const uint64_t n = e->n_value / e->n_mat;
    for (uint64_t j = 0; j < e->n_mat; j++) {
        const float count = e->count[j];
        for (uint64_t i = j * n; i < (j + 1) * n; i++)
            out[i] = count > 0 ? e->sum[i] / count : m->legacy ? e->sum[i] : 1;
    }
}
