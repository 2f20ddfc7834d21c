/* library/facts.c - counting parameters, naming the quantization, finding licence and template.
 * SPDX-License-Identifier: Apache-2.0
 * Active parameters: of routed experts only used / all are counted. Experts are told by where they stand in a name
 * (".experts." in Hugging Face's, "_exps." in GGUF's); shared experts are always active. */
#include "library/facts.h"

#include <stdlib.h>

#include "base/num.h"
#include "library/facts_part.h"

#define MAX_TEXT_BYTES (4u << 20)
#define ARENA_BYTES ((size_t)64 << 20)

static bool is_routed_expert(const fh_weight *w) {
    if (fh_str_holds(w->name, "_exps.")) return true;
    return fh_str_holds(w->name, ".experts.") && !fh_str_holds(w->name, "shared_experts");
}

static uint64_t value_count(const fh_weight *w) {
    uint64_t n;
    return fh_shape_count(&w->shape, &n) ? n : 0;
}

static const char *type_of(const fh_weight *w) {
    return w->layout && w->layout[0] ? w->layout : fh_dtype_name(w->codes->dtype);
}

static int by_bytes(const void *x, const void *y) {
    const fh_facts_share *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return strcmp(a->type, b->type);
}

static fh_status count_shares(fh_facts *f, const fh_bundle *b, fh_err *err) {
    enum { MOST_TYPES = 96 }; /* element types and layouts there are, with room */
    const fh_weights *all = fh_bundle_weights(b);
    uint64_t expert_values = 0;
    f->share = fh_arena_alloc(&f->arena, MOST_TYPES, sizeof *f->share);
    if (!f->share) return fh_arena_fail(&f->arena, err);
    for (size_t i = 0; i < all->n; i++) {
        const fh_weight *w = &all->item[i];
        const char *type = type_of(w);
        size_t k = 0;
        while (k < f->n_share && strcmp(f->share[k].type, type) != 0) k++;
        if (k == MOST_TYPES) k--; /* counted with the last kind rather than not at all */
        if (k == f->n_share) f->share[f->n_share++].type = type;
        uint64_t n = value_count(w), bytes = fh_weight_stored_bytes(w);
        f->share[k].n_weight++;
        f->share[k].n_value += n;
        f->share[k].bytes += bytes;
        f->n_value += n;
        f->weight_bytes += bytes;
        if (is_routed_expert(w)) expert_values += n;
    }
    qsort(f->share, f->n_share, sizeof *f->share, by_bytes);
    f->n_value_active = f->n_value;
    if (f->n_expert && f->n_expert_used && f->n_expert_used <= f->n_expert)
        f->n_value_active -=
            (uint64_t)((double)expert_values * (double)(f->n_expert - f->n_expert_used) / (double)f->n_expert);
    f->bits_per_value = f->n_value ? 8.0 * (double)f->weight_bytes / (double)f->n_value : 0;
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) f->file_bytes += fh_bundle_part_data(b, i).len;
    if (!f->quantization.len && f->n_share) f->quantization = fh_str_of(f->share[0].type);
    return FH_OK;
}

static fh_status keep(fh_facts *f, fh_buf *text, fh_str *out, fh_err *err) {
    bool ok = fh_arena_copy(&f->arena, fh_buf_str(text), out);
    fh_buf_release(text);
    return ok ? FH_OK : fh_arena_fail(&f->arena, err);
}

/* Text that a store's manifest names; missing is no failure, the model is still what it is. */
static fh_status read_text(fh_facts *f, const char *path, fh_str *out, bool *found, fh_err *err) {
    fh_buf text;
    *found = false;
    if (!path[0]) return FH_OK;
    fh_buf_init(&text, MAX_TEXT_BYTES);
    fh_err ignored;
    fh_status st = fh_file_read(path, &text, &ignored);
    if (st != FH_OK) {
        fh_buf_release(&text);
        if (st == FH_ERR_NOT_FOUND) return FH_OK;
        if (err) *err = ignored;
        return st;
    }
    *found = true;
    return keep(f, &text, out, err);
}

static fh_status read_license(fh_facts *f, const fh_bundle *b, const fh_location *at, fh_err *err) {
    static const char *const names[] = {"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "USE_POLICY.md"};
    bool found = false;
    FH_TRY(read_text(f, at->license_path, &f->license_text, &found, err));
    if (found) f->license_from = FH_STR("Ollama manifest");
    /* beside a single GGUF anything may lie: only a checkpoint's own folder speaks for it */
    for (size_t i = 0; !found && i < FH_COUNT(names) && fh_bundle_form(b) == FH_FORM_SAFETENSORS; i++) {
        char path[FH_PATH_MAX];
        if (!fh_bundle_folder(b) || fh_path_join(path, fh_bundle_folder(b), fh_str_of(names[i]), NULL) != FH_OK)
            continue;
        FH_TRY(read_text(f, path, &f->license_text, &found, err));
        if (found) f->license_from = fh_str_of(names[i]);
    }
    return FH_OK;
}

static fh_status read_template(fh_facts *f, const fh_location *at, fh_err *err) {
    bool found;
    if (!f->template_text.len) FH_TRY(read_text(f, at->template_path, &f->template_text, &found, err));
    if (!f->template_text.len) return FH_OK;
    return fh_sha256_of(fh_bytes_of(f->template_text), f->template_sha256, err);
}

fh_status fh_facts_gather(fh_facts *out, const fh_bundle *b, const fh_location *at, fh_err *err) {
    fh_facts f;
    memset(&f, 0, sizeof f);
    fh_arena_init(&f.arena, ARENA_BYTES);
    fh_status st = fh_bundle_form(b) == FH_FORM_GGUF ? fh_facts_from_gguf(&f, b, err) : fh_facts_from_hf(&f, b, err);
    if (st == FH_OK) st = count_shares(&f, b, err);
    if (st == FH_OK) st = read_license(&f, b, at, err);
    if (st == FH_OK) st = read_template(&f, at, err);
    if (st != FH_OK) {
        fh_facts_release(&f);
        return st;
    }
    *out = f;
    return FH_OK;
}

void fh_facts_release(fh_facts *f) { fh_arena_release(&f->arena); }
