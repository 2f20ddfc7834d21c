/* model/model.c - loading: family, spec, tensors, plans; and what is left over.
 * SPDX-License-Identifier: Apache-2.0
 * Owns the bundle and one arena for everything decoded and compiled. */
#include "model/model.h"

#include <stdio.h>

#include "model/compile.h"
#include "model/model_part.h"
#include "model/spec_read.h"

#define ARENA_MOST ((size_t)8 << 30)
#define NOTES_MOST 16

fh_status fh_model_load(fh_model **out, fh_bundle *bundle, fh_err *err) {
    fh_meta meta;
    fh_str arch;
    fh_status s = FH_OK;
    fh_model *m = fh_alloc_zero(1, sizeof *m);
    if (!m) {
        fh_bundle_close(bundle);
        return fh_fail_memory(err, sizeof *m);
    }
    m->bundle = bundle;
    fh_arena_init(&m->arena, ARENA_MOST);
    const fh_family *f = fh_family_find(bundle, &meta, &arch);
    if (!meta.gguf && !meta.hf)
        s = fh_fail(err, FH_ERR_UNSUPPORTED, "no config.json beside the weights: nothing says what the model is");
    else if (!f)
        s = fh_fail(err, FH_ERR_UNSUPPORTED, "architecture '%.*s' is not one that this version runs", FH_STR_ARG(arch));
    if (s == FH_OK) s = fh_spec_read(&m->spec, f, &meta, arch, bundle, &m->arena, err);
    if (s == FH_OK) s = fh_bind_begin(&m->bind, bundle, &m->spec, &m->arena, err);
    if (s == FH_OK) m->spec.n_vocab = (uint32_t)fh_bind_rows(&m->bind, FH_STACK_MAIN, FH_SLOT_TOKENS, -1);
    if (s == FH_OK) s = fh_compile_model(&m->bind, m->plan, m->have, err);
    if (s == FH_OK) s = fh_model_note_unused(m, err);
    if (s == FH_OK) s = fh_bundle_check(bundle, err);
    m->bind.err = NULL;
    if (s != FH_OK) {
        fh_err_set_path(err, fh_bundle_path(bundle));
        fh_model_free(m);
        return s;
    }
    *out = m;
    return FH_OK;
}

void fh_model_free(fh_model *m) {
    if (!m) return;
    fh_arena_release(&m->arena);
    fh_bundle_close(m->bundle);
    fh_free(m);
}

static fh_status note(fh_model *m, const char *text, fh_err *err) {
    fh_str s;
    if (m->n_note == FH_COUNT(m->note)) return FH_OK;
    if (!fh_arena_copy(&m->arena, fh_str_of(text), &s)) return fh_arena_fail(&m->arena, err);
    m->note[m->n_note++] = s.ptr;
    return FH_OK;
}

fh_status fh_model_note_unused(fh_model *m, fh_err *err) {
    const fh_weights *w = fh_bundle_weights(m->bundle);
    char text[256];
    size_t left = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (m->bind.used[i] || fh_bind_may_be_left(&m->bind, w->item[i].name)) continue;
        snprintf(text, sizeof text, "tensor '%.*s' is not used", (int)FH_MIN(w->item[i].name.len, 200u),
                 w->item[i].name.ptr);
        if (left++ < NOTES_MOST / 2) FH_TRY(note(m, text, err));
    }
    if (left <= NOTES_MOST / 2) return FH_OK;
    snprintf(text, sizeof text, "%zu more tensors are not used", left - NOTES_MOST / 2);
    return note(m, text, err);
}

const fh_spec *fh_model_spec(const fh_model *m) { return &m->spec; }
const fh_bundle *fh_model_bundle(const fh_model *m) { return m->bundle; }
const fh_plan *fh_model_plan(const fh_model *m, fh_model_plan_kind kind) {
    return m->have[kind] ? &m->plan[kind] : NULL;
}
size_t fh_model_n_note(const fh_model *m) { return m->n_note; }
const char *fh_model_note(const fh_model *m, size_t i) { return m->note[i]; }
