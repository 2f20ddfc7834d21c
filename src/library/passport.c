/* library/passport.c - gathering a model's facts from its files, its store and its licences.
 * SPDX-License-Identifier: Apache-2.0
 * Order: what the files say, what the card says, what the licences say, what reading every byte says. A folder without
 * weights has a passport too: most of it is unknown then. */
#include "library/passport.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"
#include "library/fit.h"
#include "library/passport_part.h"
#include "library/verify.h"

#define ARENA_BYTES ((size_t)64 << 20)
#define SIDE_BYTES ((size_t)64 << 20)

static const fh_passport_row rows[FH_PASSPORT_KEYS] = {
#define FH_PASSPORT_ROW(id, area, key, label) {FH_PASSPORT_##area, key, label},
#include "library/passport.def"
#undef FH_PASSPORT_ROW
};

const fh_passport_row *fh_passport_row_at(fh_passport_key k) { return &rows[k]; }

const char *fh_passport_area_name(fh_passport_area a) {
    static const char *const name[FH_PASSPORT_AREAS] = {"identity",        "weights",      "licence", "training",
                                                        "reproducibility", "architecture", "safety"};
    return a < FH_PASSPORT_AREAS ? name[a] : "?";
}

const char *fh_passport_by_name(fh_passport_by b) {
    static const char *const name[] = {"files", "publisher", "freehold"};
    return (unsigned)b < FH_COUNT(name) ? name[b] : "?";
}

fh_status fh_passport_say(fh_passport *p, fh_passport_key k, fh_passport_by by, const char *source, const char *sha256,
                          fh_err *err, const char *fmt, ...) {
    char text[600];
    fh_passport_fact f = {.state = FH_PASSPORT_STATED, .by = by};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!text[0]) return FH_OK;
    if (!fh_arena_copy(&p->arena, fh_str_of(text), &f.value) || !fh_arena_copy(&p->arena, fh_str_of(source), &f.source))
        return fh_arena_fail(&p->arena, err);
    if (sha256) memcpy(f.sha256, sha256, sizeof f.sha256);
    p->fact[k] = f;
    return FH_OK;
}

void fh_passport_deny(fh_passport *p, fh_passport_key k, const char *source) {
    if (p->fact[k].state != FH_PASSPORT_UNKNOWN) return;
    p->fact[k] = (fh_passport_fact){.state = FH_PASSPORT_ABSENT, .source = fh_str_of(source)};
}

/* ---- files ---- */
#define SAY_STR(key, by, source, s) \
    do { \
        fh_str s_ = (s); \
        if (s_.len) FH_TRY(fh_passport_say(p, FH_PASSPORT_KEY_##key, by, source, NULL, err, "%.*s", FH_STR_ARG(s_))); \
    } while (0)
#define SAY(key, by, source, ...) FH_TRY(fh_passport_say(p, FH_PASSPORT_KEY_##key, by, source, NULL, err, __VA_ARGS__))

static fh_status say_gguf(fh_passport *p, const fh_gguf *g, fh_err *err) {
    static const struct {
        fh_passport_key key;
        const char *gguf;
    } text[] = {{FH_PASSPORT_KEY_NAME, "general.name"},
                {FH_PASSPORT_KEY_VERSION, "general.version"},
                {FH_PASSPORT_KEY_PUBLISHER, "general.author"},
                {FH_PASSPORT_KEY_PUBLISHER, "general.organization"},
                {FH_PASSPORT_KEY_REPOSITORY, "general.repo_url"},
                {FH_PASSPORT_KEY_REPOSITORY, "general.source.url"},
                {FH_PASSPORT_KEY_QUANTIZED_BY, "general.quantized_by"},
                {FH_PASSPORT_KEY_QUANTIZED_WITH, "quantize.imatrix.dataset"},
                {FH_PASSPORT_KEY_PAPER, "general.doi"}};
    static const struct {
        fh_passport_key key;
        const char *gguf;
    } list[] = {{FH_PASSPORT_KEY_LANGUAGES, "general.languages"}, {FH_PASSPORT_KEY_DATA_SOURCES, "general.datasets"}};
    fh_str s;
    for (size_t i = 0; i < FH_COUNT(text); i++)
        if (fh_gguf_to_str(fh_gguf_find(g, text[i].gguf), &s) && s.len)
            FH_TRY(fh_passport_say(p, text[i].key, FH_PASSPORT_BY_PUBLISHER, text[i].gguf, NULL, err, "%.*s",
                                   FH_STR_ARG(s)));
    for (size_t i = 0; i < FH_COUNT(list); i++) {
        const fh_gguf_kv *kv = fh_gguf_find(g, list[i].gguf);
        char all[400] = "";
        size_t at = 0, used = 0;
        while (kv && used < sizeof all && fh_gguf_next_str(kv, &at, &s))
            used += (size_t)snprintf(all + used, sizeof all - used, "%s%.*s", used ? ", " : "", FH_STR_ARG(s));
        if (used) FH_TRY(fh_passport_say(p, list[i].key, FH_PASSPORT_BY_PUBLISHER, list[i].gguf, NULL, err, "%s", all));
    }
    return FH_OK;
}

static fh_status say_weights(fh_passport *p, const fh_bundle *b, const fh_facts *f, fh_err *err) {
    bool gguf = fh_bundle_form(b) == FH_FORM_GGUF;
    char types[300] = "";
    size_t used = 0;
    SAY(FORMAT, FH_PASSPORT_BY_FILES, "the weights' headers", "%s, which holds no code", gguf ? "GGUF" : "safetensors");
    SAY(FILES, FH_PASSPORT_BY_FILES, "the weights' headers", "%zu, %llu bytes, a complete set", fh_bundle_n_part(b),
        (unsigned long long)f->file_bytes);
    SAY(PARAMETERS, FH_PASSPORT_BY_FREEHOLD, "counted in the weights' headers", "%llu", (unsigned long long)f->n_value);
    SAY(ACTIVE, FH_PASSPORT_BY_FREEHOLD, "counted in the weights' headers", "%llu",
        (unsigned long long)f->n_value_active);
    for (size_t i = 0; i < f->n_share && used < sizeof types; i++)
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s x %llu", i ? ", " : "", f->share[i].type,
                                 (unsigned long long)f->share[i].n_weight);
    SAY(DTYPES, FH_PASSPORT_BY_FILES, "the weights' headers", "%s", types);
    SAY(QUANTIZATION, FH_PASSPORT_BY_FILES, gguf ? "general.file_type" : "config.json", "%.*s, %.2f bits per weight",
        FH_STR_ARG(f->quantization), f->bits_per_value);
    return FH_OK;
}

static fh_status say_architecture(fh_passport *p, const fh_bundle *b, const fh_facts *f, fh_err *err) {
    bool gguf = fh_bundle_form(b) == FH_FORM_GGUF;
    const char *source = gguf ? "GGUF metadata" : "config.json";
    SAY_STR(ARCHITECTURE, FH_PASSPORT_BY_FILES, source, f->architecture);
    if (f->n_layer)
        SAY(SHAPE, FH_PASSPORT_BY_FILES, source, "%llu layers, width %llu, feed-forward %llu, vocabulary %llu",
            (unsigned long long)f->n_layer, (unsigned long long)f->n_embd, (unsigned long long)f->n_ff,
            (unsigned long long)f->n_vocab);
    if (f->n_head)
        SAY(HEADS, FH_PASSPORT_BY_FILES, source, "%llu, %llu for keys and values, of %llu",
            (unsigned long long)f->n_head, (unsigned long long)f->n_head_kv, (unsigned long long)f->head_dim);
    if (f->n_expert)
        SAY(EXPERTS, FH_PASSPORT_BY_FILES, source, "%llu, %llu used, %llu shared", (unsigned long long)f->n_expert,
            (unsigned long long)f->n_expert_used, (unsigned long long)f->n_expert_shared);
    else if (f->n_layer) SAY(EXPERTS, FH_PASSPORT_BY_FILES, source, "none");
    if (f->n_context) SAY(CONTEXT, FH_PASSPORT_BY_FILES, source, "%llu tokens", (unsigned long long)f->n_context);
    if (f->rope_theta > 0)
        SAY(ROPE, FH_PASSPORT_BY_FILES, source, "theta %g%s%.*s", f->rope_theta, f->rope_scaling.len ? ", " : "",
            FH_STR_ARG(f->rope_scaling));
    if (f->template_text.len)
        SAY(TEMPLATE, FH_PASSPORT_BY_FREEHOLD, gguf ? "tokenizer.chat_template" : "the tokenizer's files", "sha256 %s",
            f->template_sha256);
    SAY_STR(TOKENIZER, FH_PASSPORT_BY_FILES, source, f->tokenizer);
    return FH_OK;
}

/* Digests of the small files that say what the model is. */
static fh_status digest_side(fh_passport *p, const fh_bundle *b, fh_str name, fh_passport_key key, fh_err *err) {
    fh_buf text;
    char z[256], hex[FH_SHA256_HEX];
    if (!fh_bundle_folder(b) || !fh_str_copy(z, sizeof z, name)) return FH_OK;
    if (fh_bundle_read_side(b, z, SIDE_BYTES, &text, NULL) != FH_OK) return FH_OK;
    fh_status st = fh_sha256_of((fh_bytes){text.ptr, text.len}, hex, err);
    fh_buf_release(&text);
    FH_TRY(st);
    return fh_passport_say(p, key, FH_PASSPORT_BY_FILES, z, hex, err, "%s, sha256 %s", z, hex);
}

static fh_status say_state(fh_passport *p, const char *model, fh_err *err) {
    fh_fit_shape s;
    fh_err ignored;
    char all[300] = "";
    size_t used = 0;
    if (fh_fit_open(&s, model, &ignored) != FH_OK) return FH_OK;
    for (size_t i = 0; i < s.n_part && s.state_known && used < sizeof all; i++) {
        const fh_fit_part *x = &s.part[i];
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%u %s", used ? ", " : "", x->n_layer,
                                 fh_fit_kind_name(x->kind));
        if (x->window && used < sizeof all)
            used += (size_t)snprintf(all + used, sizeof all - used, " (window %u)", x->window);
    }
    fh_fit_release(&s);
    if (!used) return FH_OK;
    return fh_passport_say(p, FH_PASSPORT_KEY_STATE, FH_PASSPORT_BY_FREEHOLD, "the plan of its layers", NULL, err, "%s",
                           all);
}

/* ---- every byte ---- */
static fh_status list_files(fh_passport *p, const fh_bundle *b, fh_err *err) {
    size_t n = fh_bundle_n_part(b);
    p->file = fh_arena_alloc(&p->arena, n, sizeof *p->file);
    if (!p->file) return fh_arena_fail(&p->arena, err);
    p->n_file = n;
    for (size_t i = 0; i < n; i++) {
        fh_str base = fh_path_base(fh_str_of(fh_bundle_part_path(b, i)));
        p->file[i].bytes = fh_bundle_part_data(b, i).len;
        if (!fh_arena_copy(&p->arena, base, &p->file[i].path)) return fh_arena_fail(&p->arena, err);
    }
    return FH_OK;
}

static fh_status read_bytes(fh_passport *p, const fh_bundle *b, const fh_passport_options *opt, fh_err *err) {
    fh_verify v;
    size_t recorded = 0;
    for (size_t i = 0; i < p->n_file; i++) FH_TRY(fh_sha256_of(fh_bundle_part_data(b, i), p->file[i].sha256, err));
    FH_TRY(fh_verify_bundle(&v, b, opt->pool, opt->progress, opt->progress_ctx, err));
    for (size_t i = 0; i < v.n_file && i < p->n_file; i++) {
        memcpy(p->file[i].expected, v.file[i].expected, FH_SHA256_HEX);
        recorded += v.file[i].expected[0] != 0;
    }
    p->read = true;
    p->supply = v.n_wrong_file ? "mismatch" : recorded == p->n_file && recorded ? "checksums" : "no checksums";
    fh_status st = fh_passport_say(p, FH_PASSPORT_KEY_CHECKSUMS, FH_PASSPORT_BY_FREEHOLD, "every byte read", NULL, err,
                                   "%zu of %zu files have one recorded beside them, %llu of these differ", recorded,
                                   p->n_file, (unsigned long long)v.n_wrong_file);
    if (st == FH_OK)
        st = fh_passport_say(p, FH_PASSPORT_KEY_NUMBERS, FH_PASSPORT_BY_FREEHOLD, "every weight decoded", NULL, err,
                             "%llu of %llu are not finite", (unsigned long long)v.n_bad, (unsigned long long)v.n_value);
    fh_verify_release(&v);
    return st;
}

/* ---- licences ---- */
static fh_status join(fh_passport *p, fh_passport_key key, const fh_license_list *list, fh_err *err) {
    char all[560] = "";
    size_t used = 0;
    for (size_t i = 0; i < list->n && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%.*s", i ? "; " : "", FH_STR_ARG(list->item[i]));
    return fh_passport_say(p, key, FH_PASSPORT_BY_FREEHOLD, "freehold license", NULL, err, "%s", used ? all : "none");
}

static fh_status say_docs(fh_passport *p, fh_err *err) {
    const fh_license_report *r = p->license;
    for (size_t i = 0; i < r->n_node; i++) {
        for (size_t k = 0; k < r->node[i].n_doc; k++) {
            const fh_license_doc *d = &r->node[i].doc[k];
            fh_passport_key key = d->is_policy ? FH_PASSPORT_KEY_USE_POLICY : FH_PASSPORT_KEY_LICENSE_TEXT;
            const char *name = d->row ? d->row->key : "a text that is not known";
            char file[256];
            if (i > 0 || !fh_str_copy(file, sizeof file, fh_str_first(d->file, 255))) continue;
            if (d->sha256[0])
                FH_TRY(fh_passport_say(p, key, FH_PASSPORT_BY_FREEHOLD, file, d->sha256, err,
                                       "sha256 of the normalized text %s", d->sha256));
            if (d->is_policy || p->fact[FH_PASSPORT_KEY_LICENSE_KEY].state == FH_PASSPORT_STATED) continue;
            FH_TRY(fh_passport_say(p, FH_PASSPORT_KEY_LICENSE_KEY, FH_PASSPORT_BY_FREEHOLD, file, d->sha256, err,
                                   "%s%s%s", name, d->row ? ", " : "", d->row ? d->row->spdx : ""));
        }
    }
    return FH_OK;
}

/* "more than 700000000 users a month (2024-06)" */
static size_t add_threshold(char *out, size_t size, const char *fact, uint64_t limit, const fh_license_row *r) {
    if (!limit || size < 2) return 0;
    int n = snprintf(out, size, "more than %llu %s (%s, %s); ", (unsigned long long)limit, fact, r->key,
                     r->measured ? r->measured : "current figures");
    return n < 0 ? 0 : FH_MIN((size_t)n, size - 1);
}

static fh_status say_thresholds(fh_passport *p, fh_err *err) {
    char all[500] = "";
    size_t used = 0;
    bool any_row = false;
    for (size_t i = 0; i < p->license->n_node; i++) {
        for (size_t k = 0; k < p->license->node[i].n_doc; k++) {
            const fh_license_row *r = p->license->node[i].doc[k].row;
            if (!r) continue;
            any_row = true;
            used += add_threshold(all + used, sizeof all - used, "users a month", r->mau, r);
            used += add_threshold(all + used, sizeof all - used, "USD a month", r->monthly_usd, r);
            used += add_threshold(all + used, sizeof all - used, "USD a year", r->yearly_usd, r);
        }
    }
    if (!any_row) return FH_OK;
    if (used > 2) all[used - 2] = '\0';
    return fh_passport_say(p, FH_PASSPORT_KEY_THRESHOLDS, FH_PASSPORT_BY_FREEHOLD, "freehold license", NULL, err, "%s",
                           used ? all : "none");
}

static fh_status say_license(fh_passport *p, fh_err *err) {
    const fh_license_report *r = p->license;
    const fh_license_node *n = &r->node[0];
    char duties[500] = "", bases[400] = "";
    size_t used = 0;
    bool guard = false;
    if (n->declared.len) SAY_STR(LICENSE_TAG, FH_PASSPORT_BY_PUBLISHER, "the card or metadata", n->declared);
    FH_TRY(say_docs(p, err));
    if (r->verdict != FH_VERDICT_UNKNOWN) /* unknown stays unknown */
        SAY(VERDICT, FH_PASSPORT_BY_FREEHOLD, "freehold license", "%s", fh_verdict_name(r->verdict));
    for (size_t i = 0; i < r->n_duty && used < sizeof duties; i++) {
        used += (size_t)snprintf(duties + used, sizeof duties - used, "%s%s (%s)", i ? ", " : "", r->duty[i].kind,
                                 r->duty[i].from);
        guard = guard || strcmp(r->duty[i].kind, "guardrails") == 0;
    }
    bool known = p->fact[FH_PASSPORT_KEY_LICENSE_KEY].state == FH_PASSPORT_STATED && r->verdict != FH_VERDICT_UNKNOWN;
    if (used || known) SAY(DUTIES, FH_PASSPORT_BY_FREEHOLD, "freehold license", "%s", used ? duties : "none");
    if (guard || known)
        SAY(GUARDRAILS, FH_PASSPORT_BY_FREEHOLD, "freehold license", "%s", guard ? "keep them" : "none in its terms");
    FH_TRY(say_thresholds(p, err));
    if (r->eu || known)
        SAY(EU, FH_PASSPORT_BY_FREEHOLD, "freehold license", "%s",
            r->eu ? fh_license_eu_text(r->eu) : "no clause of its own");
    if (r->outputs_known)
        SAY(OUTPUTS, FH_PASSPORT_BY_FREEHOLD, "freehold license", "%s", fh_license_outputs_text(r->outputs));
    if (known || r->conflicts.n) FH_TRY(join(p, FH_PASSPORT_KEY_CONFLICTS, &r->conflicts, err));
    used = 0;
    for (size_t i = 1; i < r->n_node && used < sizeof bases; i++)
        used += (size_t)snprintf(bases + used, sizeof bases - used, "%s%.*s%s", used ? ", " : "",
                                 FH_STR_ARG(r->node[i].id), r->node[i].here ? "" : " (not on this machine)");
    if (used) SAY(BASES, FH_PASSPORT_BY_PUBLISHER, "the card or metadata", "%s", bases);
    return FH_OK;
}

/* ---- all of it ---- */
/* A path's last part: where a model lies on this machine is nobody else's business. */
static fh_str short_name(const char *named) {
    fh_str s = fh_str_of(named);
    bool path = s.len && (s.ptr[0] == '/' || s.ptr[0] == '.' || fh_file_get_kind(named) != FH_FILE_NONE);
    while (s.len > 1 && s.ptr[s.len - 1] == '/') s.len--;
    fh_str base = path ? fh_path_base(s) : s;
    return base.len ? base : s;
}

static fh_status say_store(fh_passport *p, const fh_location *at, fh_err *err) {
    fh_str name = fh_str_of(at->name), path = fh_str_of(at->path);
    size_t slash, cut;
    if (at->source == FH_SOURCE_HF_CACHE) {
        const fh_catalogue_row *row = fh_catalogue_find(name);
        if (row) SAY(RELEASED, FH_PASSPORT_BY_FREEHOLD, "the built-in catalogue", "%s", row->released);
        SAY(REPOSITORY, FH_PASSPORT_BY_FILES, "Hugging Face's cache", "https://huggingface.co/%s", at->name);
        if (fh_str_find(name, '/', &slash))
            SAY_STR(PUBLISHER, FH_PASSPORT_BY_FILES, "Hugging Face's cache", fh_str_first(name, slash));
        for (size_t i = 0; i + 11 <= path.len; i++) {
            if (memcmp(path.ptr + i, "/snapshots/", 11) != 0) continue;
            fh_str rest = fh_str_drop(path, i + 11);
            if (!fh_str_find(rest, '/', &cut)) cut = rest.len;
            if (cut == 40) SAY_STR(REVISION, FH_PASSPORT_BY_FILES, "Hugging Face's cache", fh_str_first(rest, 40));
        }
    }
    if (at->source == FH_SOURCE_OLLAMA)
        SAY(REPOSITORY, FH_PASSPORT_BY_FILES, "Ollama's store", "registry.ollama.ai, %s", at->name);
    return FH_OK;
}

static fh_status gather_files(fh_passport *p, const fh_location *at, const fh_passport_options *opt, fh_err *err) {
    fh_bundle *b = NULL;
    fh_facts f;
    char folder[FH_PATH_MAX] = "";
    FH_TRY(fh_location_open(&b, at, err));
    fh_status st = fh_facts_gather(&f, b, at, err);
    if (st != FH_OK) {
        fh_bundle_close(b);
        return st;
    }
    p->weights_here = true;
    st = fh_passport_say(p, FH_PASSPORT_KEY_NAME, FH_PASSPORT_BY_FILES, "where it was found", NULL, err, "%.*s",
                         FH_STR_ARG(short_name(at->name)));
    if (st == FH_OK) st = say_store(p, at, err);
    if (st == FH_OK && fh_bundle_gguf(b, 0)) st = say_gguf(p, fh_bundle_gguf(b, 0), err);
    if (st == FH_OK) st = say_weights(p, b, &f, err);
    if (st == FH_OK) st = say_architecture(p, b, &f, err);
    if (st == FH_OK && fh_bundle_form(b) == FH_FORM_SAFETENSORS) {
        st = digest_side(p, b, FH_STR("config.json"), FH_PASSPORT_KEY_CONFIG, err);
        if (st == FH_OK) st = digest_side(p, b, f.tokenizer, FH_PASSPORT_KEY_TOKENIZER, err);
        if (st == FH_OK && fh_bundle_folder(b)) snprintf(folder, sizeof folder, "%s", fh_bundle_folder(b));
    } else if (st == FH_OK) {
        st = fh_passport_say(p, FH_PASSPORT_KEY_CONFIG, FH_PASSPORT_BY_FILES, "GGUF metadata", NULL, err,
                             "in the weights' file");
    }
    if (st == FH_OK) st = list_files(p, b, err);
    if (st == FH_OK && opt->pool) st = read_bytes(p, b, opt, err);
    fh_facts_release(&f);
    fh_bundle_close(b);
    if (st == FH_OK && folder[0]) st = fh_passport_read_folder(p, folder, err);
    return st;
}

static fh_status gather(fh_passport *p, const char *model, const fh_passport_options *opt, fh_err *err) {
    fh_location at;
    fh_err why = {0};
    const char *named = model ? model : "";
    fh_status st = fh_locate(&at, model, &why);
    bool folder = named[0] && fh_file_get_kind(named) == FH_FILE_DIR;
    if (st == FH_OK) st = gather_files(p, &at, opt, &why);
    if (st != FH_OK && (!folder || p->weights_here || st == FH_ERR_MEMORY)) {
        if (err) *err = why;
        return st;
    }
    if (!p->weights_here) FH_TRY(fh_passport_read_folder(p, named, err));
    if (!fh_arena_copy(&p->arena, short_name(p->weights_here ? at.name : named), &p->model))
        return fh_arena_fail(&p->arena, err);
    p->license = fh_alloc_zero(1, sizeof *p->license);
    if (!p->license) return fh_fail_memory(err, sizeof *p->license);
    st = fh_license_gather(p->license, model, opt->parents, err);
    if (st != FH_OK) {
        fh_free(p->license);
        p->license = NULL;
        return st;
    }
    FH_TRY(fh_license_judge(p->license, opt->org, err));
    FH_TRY(say_license(p, err));
    FH_TRY(say_state(p, model, err));
    return fh_passport_judge(p, err);
}

fh_status fh_passport_gather(fh_passport *out, const char *model, const fh_passport_options *opt, fh_err *err) {
    memset(out, 0, sizeof *out);
    fh_arena_init(&out->arena, ARENA_BYTES);
    out->supply = "not read";
    fh_status st = gather(out, model, opt, err);
    if (st != FH_OK) fh_passport_release(out);
    return st;
}

void fh_passport_release(fh_passport *p) {
    if (p->license) fh_license_report_release(p->license);
    fh_free(p->license);
    p->license = NULL;
    fh_arena_release(&p->arena);
}
