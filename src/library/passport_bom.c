/* library/passport_bom.c - a passport as bills of materials: CycloneDX 1.6 (ML-BOM) and SPDX 3.0.1 (AI profile).
 * SPDX-License-Identifier: Apache-2.0
 * Both get what is known and nothing else: a field that a format wishes for and nobody states is left out. Identifiers
 * are made from the digest of the model's name, so that the same model gives the same ones. */
#include <stdio.h>
#include <time.h>

#include "base/json_member.h"
#include "base/num.h"
#include "library/passport.h"

static const fh_passport_fact *fact(const fh_passport *p, fh_passport_key k) { return &p->fact[k]; }
static bool known(const fh_passport *p, fh_passport_key k) { return p->fact[k].state == FH_PASSPORT_STATED; }

static void put_known(fh_json_writer *w, const char *key, const fh_passport *p, fh_passport_key k) {
    if (known(p, k)) fh_put_str(w, key, fact(p, k)->value);
}
static void put_list(fh_json_writer *w, const char *key, fh_str one) {
    fh_json_put_key(w, key);
    fh_json_put_array(w);
    fh_json_put_str(w, one);
    fh_json_put_end(w);
}

static fh_str name_of(const fh_passport *p) {
    fh_str s = known(p, FH_PASSPORT_KEY_NAME) ? fact(p, FH_PASSPORT_KEY_NAME)->value : p->model;
    return s.len ? s : FH_STR("model");
}

static void time_text(uint64_t now, char out[32]) {
    time_t t = (time_t)now;
    struct tm tm;
    out[0] = '\0';
    if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm)) snprintf(out, 32, "1970-01-01T00:00:00Z");
}

/* The known licence of the model itself, or NULL. */
static const fh_license_row *license_row(const fh_passport *p) {
    const fh_license_node *n = &p->license->node[0];
    for (size_t i = 0; p->license->n_node && i < n->n_doc; i++)
        if (n->doc[i].row && !n->doc[i].is_policy) return n->doc[i].row;
    return NULL;
}

static bool is_reference(const char *spdx) { return strncmp(spdx, "LicenseRef-", 11) == 0; }

/* ---- CycloneDX ---- */
static void cdx_hash(fh_json_writer *w, const char *sha256) {
    if (!sha256[0]) return;
    fh_json_put_key(w, "hashes");
    fh_json_put_array(w);
    fh_json_put_object(w);
    fh_put_z(w, "alg", "SHA-256");
    fh_put_z(w, "content", sha256);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void cdx_license(fh_json_writer *w, const fh_passport *p) {
    const fh_license_row *row = license_row(p);
    bool tagged = known(p, FH_PASSPORT_KEY_LICENSE_TAG);
    if (!row && !tagged) return;
    fh_json_put_key(w, "licenses");
    fh_json_put_array(w);
    fh_json_put_object(w);
    fh_json_put_key(w, "license");
    fh_json_put_object(w);
    if (row && row->spdx[0] && !is_reference(row->spdx)) fh_put_z(w, "id", row->spdx);
    else if (row) fh_put_z(w, "name", row->name);
    else fh_put_str(w, "name", fact(p, FH_PASSPORT_KEY_LICENSE_TAG)->value);
    fh_put_z(w, "acknowledgement", row ? "concluded" : "declared");
    fh_json_put_end(w);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void cdx_bases(fh_json_writer *w, const fh_passport *p) {
    if (p->license->n_node < 2) return;
    fh_json_put_key(w, "pedigree");
    fh_json_put_object(w);
    fh_json_put_key(w, "ancestors");
    fh_json_put_array(w);
    for (size_t i = 1; i < p->license->n_node; i++) {
        fh_json_put_object(w);
        fh_put_z(w, "type", "machine-learning-model");
        fh_put_str(w, "name", p->license->node[i].id);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void cdx_card(fh_json_writer *w, const fh_passport *p) {
    fh_json_put_key(w, "modelCard");
    fh_json_put_object(w);
    fh_json_put_key(w, "modelParameters");
    fh_json_put_object(w);
    put_known(w, "task", p, FH_PASSPORT_KEY_MODALITY);
    put_known(w, "modelArchitecture", p, FH_PASSPORT_KEY_ARCHITECTURE);
    if (known(p, FH_PASSPORT_KEY_DATA_SOURCES)) {
        fh_json_put_key(w, "datasets");
        fh_json_put_array(w);
        fh_json_put_object(w);
        fh_put_z(w, "type", "dataset");
        fh_put_str(w, "name", fact(p, FH_PASSPORT_KEY_DATA_SOURCES)->value);
        fh_put_str(w, "description", fact(p, FH_PASSPORT_KEY_DATA_SOURCES)->source);
        fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    bool uses = known(p, FH_PASSPORT_KEY_USES), limits = known(p, FH_PASSPORT_KEY_LIMITS),
         risks = known(p, FH_PASSPORT_KEY_RISKS);
    if (uses || limits || risks) {
        fh_json_put_key(w, "considerations");
        fh_json_put_object(w);
        if (uses) put_list(w, "useCases", fact(p, FH_PASSPORT_KEY_USES)->source);
        if (limits) put_list(w, "technicalLimitations", fact(p, FH_PASSPORT_KEY_LIMITS)->source);
        if (risks) {
            fh_json_put_key(w, "ethicalConsiderations");
            fh_json_put_array(w);
            fh_json_put_object(w);
            fh_put_str(w, "name", fact(p, FH_PASSPORT_KEY_RISKS)->source);
            fh_json_put_end(w);
            fh_json_put_end(w);
        }
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void cdx_property(fh_json_writer *w, const char *name, fh_str value) {
    fh_json_put_object(w);
    fh_put_z(w, "name", name);
    fh_put_str(w, "value", value);
    fh_json_put_end(w);
}

/* Every fact, the unknown ones too, and the verdicts. */
static void cdx_properties(fh_json_writer *w, const fh_passport *p) {
    char name[96];
    fh_json_put_key(w, "properties");
    fh_json_put_array(w);
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) {
        const fh_passport_row *row = fh_passport_row_at((fh_passport_key)k);
        const fh_passport_fact *f = &p->fact[k];
        snprintf(name, sizeof name, "freehold:%s:%s", fh_passport_area_name(row->area), row->key);
        cdx_property(w, name,
                     f->state == FH_PASSPORT_STATED   ? f->value
                     : f->state == FH_PASSPORT_ABSENT ? FH_STR("absent")
                                                      : FH_STR("unknown"));
    }
    cdx_property(w, "freehold:verdict:osaid", fh_str_of(fh_openness_name(p->osaid)));
    snprintf(name, sizeof name, "%d", p->mof_class);
    cdx_property(w, "freehold:verdict:mof_class", p->mof_class ? fh_str_of(name) : FH_STR("none"));
    cdx_property(w, "freehold:verdict:licence_family", fh_str_of(p->family));
    cdx_property(w, "freehold:verdict:supply_chain", fh_str_of(p->supply));
    cdx_property(w, "freehold:verdict:sentence", p->sentence);
    fh_json_put_end(w);
}

static void cdx_model(fh_json_writer *w, const fh_passport *p) {
    fh_put_z(w, "bom-ref", "model");
    fh_put_z(w, "type", "machine-learning-model");
    fh_put_str(w, "name", name_of(p));
    put_known(w, "version", p, FH_PASSPORT_KEY_VERSION);
    put_known(w, "publisher", p, FH_PASSPORT_KEY_PUBLISHER);
    if (p->n_file == 1) cdx_hash(w, p->file[0].sha256);
    cdx_license(w, p);
    cdx_bases(w, p);
    cdx_card(w, p);
    cdx_properties(w, p);
}

void fh_passport_cyclonedx(const fh_passport *p, uint64_t now, fh_buf *out) {
    fh_json_writer w;
    char stamp[32];
    time_text(now, stamp);
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "$schema", "http://cyclonedx.org/schema/bom-1.6.schema.json");
    fh_put_z(&w, "bomFormat", "CycloneDX");
    fh_put_z(&w, "specVersion", "1.6");
    fh_json_put_key(&w, "version");
    fh_json_put_u64(&w, 1);
    fh_json_put_key(&w, "metadata");
    fh_json_put_object(&w);
    fh_put_z(&w, "timestamp", stamp);
    fh_json_put_key(&w, "tools");
    fh_json_put_object(&w);
    fh_json_put_key(&w, "components");
    fh_json_put_array(&w);
    fh_json_put_object(&w);
    fh_put_z(&w, "type", "application");
    fh_put_z(&w, "name", "freehold");
    fh_put_z(&w, "version", FH_VERSION);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_json_put_key(&w, "component");
    fh_json_put_object(&w);
    cdx_model(&w, p);
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_json_put_key(&w, "components");
    fh_json_put_array(&w);
    for (size_t i = 0; i < p->n_file; i++) {
        char ref[40];
        snprintf(ref, sizeof ref, "file-%zu", i);
        fh_json_put_object(&w);
        fh_put_z(&w, "bom-ref", ref);
        fh_put_z(&w, "type", "file");
        fh_put_str(&w, "name", p->file[i].path);
        cdx_hash(&w, p->file[i].sha256);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

/* ---- SPDX ---- */
typedef struct spdx {
    fh_json_writer w;
    const fh_passport *p;
    char base[96]; /* of every identifier */
} spdx;

static void spdx_id(const spdx *s, const char *what, size_t i, char out[160]) {
    if (i == SIZE_MAX) snprintf(out, 160, "%s%s", s->base, what);
    else snprintf(out, 160, "%s%s-%zu", s->base, what, i);
}

static void spdx_open(spdx *s, const char *type, const char *what, size_t i) {
    char id[160];
    spdx_id(s, what, i, id);
    fh_json_put_object(&s->w);
    fh_put_z(&s->w, "type", type);
    fh_put_z(&s->w, "spdxId", id);
    fh_put_z(&s->w, "creationInfo", "_:made");
}

static void spdx_hash(spdx *s, const char *sha256) {
    if (!sha256[0]) return;
    fh_json_put_key(&s->w, "verifiedUsing");
    fh_json_put_array(&s->w);
    fh_json_put_object(&s->w);
    fh_put_z(&s->w, "type", "Hash");
    fh_put_z(&s->w, "algorithm", "sha256");
    fh_put_z(&s->w, "hashValue", sha256);
    fh_json_put_end(&s->w);
    fh_json_put_end(&s->w);
}

static void spdx_ref(spdx *s, const char *key, const char *what, bool list) {
    char id[160];
    spdx_id(s, what, SIZE_MAX, id);
    if (list) put_list(&s->w, key, fh_str_of(id));
    else fh_put_z(&s->w, key, id);
}

static void spdx_relation(spdx *s, size_t n, const char *type, const char *to, size_t i) {
    char id[160];
    spdx_open(s, "Relationship", "relation", n);
    spdx_ref(s, "from", "model", false);
    fh_put_z(&s->w, "relationshipType", type);
    spdx_id(s, to, i, id);
    put_list(&s->w, "to", fh_str_of(id));
    fh_json_put_end(&s->w);
}

static void spdx_numbers(spdx *s) {
    static const fh_passport_key key[] = {
        FH_PASSPORT_KEY_PARAMETERS, FH_PASSPORT_KEY_ACTIVE,  FH_PASSPORT_KEY_SHAPE, FH_PASSPORT_KEY_HEADS,
        FH_PASSPORT_KEY_EXPERTS,    FH_PASSPORT_KEY_CONTEXT, FH_PASSPORT_KEY_ROPE,  FH_PASSPORT_KEY_QUANTIZATION};
    bool any = false;
    for (size_t i = 0; i < FH_COUNT(key); i++) any = any || known(s->p, key[i]);
    if (!any) return;
    fh_json_put_key(&s->w, "ai_hyperparameter");
    fh_json_put_array(&s->w);
    for (size_t i = 0; i < FH_COUNT(key); i++) {
        if (!known(s->p, key[i])) continue;
        fh_json_put_object(&s->w);
        fh_put_z(&s->w, "type", "DictionaryEntry");
        fh_put_z(&s->w, "key", fh_passport_row_at(key[i])->key);
        fh_put_str(&s->w, "value", fact(s->p, key[i])->value);
        fh_json_put_end(&s->w);
    }
    fh_json_put_end(&s->w);
}

/* Where a card says something, the export says where: what it says stands there. */
static void spdx_said(spdx *s, const char *key, fh_passport_key k) {
    if (known(s->p, k)) fh_put_str(&s->w, key, fact(s->p, k)->source);
}

static bool has_day(const fh_passport *p) { /* "2024-07-23" */
    return known(p, FH_PASSPORT_KEY_RELEASED) && fact(p, FH_PASSPORT_KEY_RELEASED)->value.len == 10;
}
static bool has_url(const fh_passport *p) {
    return fh_str_starts(fact(p, FH_PASSPORT_KEY_REPOSITORY)->value, "https://");
}
static bool has_version(const fh_passport *p) {
    return known(p, FH_PASSPORT_KEY_VERSION) || known(p, FH_PASSPORT_KEY_REVISION);
}

static void spdx_model(spdx *s) {
    const fh_passport *p = s->p;
    spdx_open(s, "ai_AIPackage", "model", SIZE_MAX);
    fh_put_str(&s->w, "name", name_of(p));
    fh_put_str(&s->w, "summary", p->sentence);
    fh_put_z(&s->w, "comment", "What is not stated here is unknown: nobody stated it where this was written.");
    if (has_day(p)) {
        char day[40];
        snprintf(day, sizeof day, "%.10sT00:00:00Z", fact(p, FH_PASSPORT_KEY_RELEASED)->value.ptr);
        fh_put_z(&s->w, "releaseTime", day);
    }
    if (known(p, FH_PASSPORT_KEY_PUBLISHER)) spdx_ref(s, "suppliedBy", "publisher", false);
    if (has_url(p)) fh_put_str(&s->w, "software_downloadLocation", fact(p, FH_PASSPORT_KEY_REPOSITORY)->value);
    if (has_version(p))
        fh_put_str(
            &s->w, "software_packageVersion",
            fact(p, known(p, FH_PASSPORT_KEY_VERSION) ? FH_PASSPORT_KEY_VERSION : FH_PASSPORT_KEY_REVISION)->value);
    fh_put_z(&s->w, "software_primaryPurpose", "model");
    if (known(p, FH_PASSPORT_KEY_ARCHITECTURE))
        put_list(&s->w, "ai_typeOfModel", fact(p, FH_PASSPORT_KEY_ARCHITECTURE)->value);
    if (known(p, FH_PASSPORT_KEY_MODALITY)) put_list(&s->w, "ai_domain", fact(p, FH_PASSPORT_KEY_MODALITY)->value);
    if (known(p, FH_PASSPORT_KEY_FILTERING))
        put_list(&s->w, "ai_modelDataPreprocessing", fact(p, FH_PASSPORT_KEY_FILTERING)->source);
    spdx_said(s, "ai_informationAboutTraining", FH_PASSPORT_KEY_DATA_SOURCES);
    spdx_said(s, "ai_informationAboutApplication", FH_PASSPORT_KEY_USES);
    spdx_said(s, "ai_limitation", FH_PASSPORT_KEY_LIMITS);
    spdx_numbers(s);
    fh_json_put_end(&s->w);
}

static size_t spdx_license(spdx *s, size_t n) {
    const fh_license_row *row = license_row(s->p);
    char expression[200] = "LicenseRef-";
    fh_str tag = fact(s->p, FH_PASSPORT_KEY_LICENSE_TAG)->value;
    if (row) {
        snprintf(expression, sizeof expression, "%s", row->spdx);
    } else {
        size_t at = strlen(expression);
        for (size_t i = 0; i < tag.len && at + 1 < sizeof expression; i++) {
            char c = tag.ptr[i];
            bool ok = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '.' || c == '-';
            expression[at++] = ok ? c : '-';
        }
        expression[at] = '\0';
        if (!tag.len) return n;
    }
    spdx_open(s, "simplelicensing_LicenseExpression", "licence", SIZE_MAX);
    fh_put_z(&s->w, "simplelicensing_licenseExpression", expression);
    fh_json_put_end(&s->w);
    spdx_relation(s, n++, row ? "hasConcludedLicense" : "hasDeclaredLicense", "licence", SIZE_MAX);
    return n;
}

static void spdx_head(spdx *s, const char *stamp) {
    fh_json_writer *w = &s->w;
    fh_json_put_object(w);
    fh_put_z(w, "type", "CreationInfo");
    fh_put_z(w, "@id", "_:made");
    fh_put_z(w, "specVersion", "3.0.1");
    fh_put_z(w, "created", stamp);
    spdx_ref(s, "createdBy", "freehold", true);
    fh_json_put_end(w);
    spdx_open(s, "SoftwareAgent", "freehold", SIZE_MAX);
    fh_put_z(w, "name", "freehold " FH_VERSION);
    fh_json_put_end(w);
    if (!known(s->p, FH_PASSPORT_KEY_PUBLISHER)) return;
    spdx_open(s, "Organization", "publisher", SIZE_MAX);
    fh_put_str(w, "name", fact(s->p, FH_PASSPORT_KEY_PUBLISHER)->value);
    fh_json_put_end(w);
}

static void spdx_files(spdx *s, size_t relation) {
    for (size_t i = 0; i < s->p->n_file; i++) {
        const fh_passport_file *f = &s->p->file[i];
        spdx_open(s, "software_File", "file", i);
        fh_put_str(&s->w, "name", f->path);
        spdx_hash(s, f->sha256);
        fh_put_z(&s->w, "software_primaryPurpose", "model");
        fh_json_put_end(&s->w);
        spdx_relation(s, relation++, "contains", "file", i);
    }
}

static void spdx_document(spdx *s) {
    fh_json_writer *w = &s->w;
    spdx_open(s, "SpdxDocument", "document", SIZE_MAX);
    fh_json_put_key(w, "profileConformance");
    fh_json_put_array(w);
    fh_json_put_z(w, "core");
    fh_json_put_z(w, "software");
    /* the AI profile demands these of every model: it is claimed only where they are known */
    bool all = has_day(s->p) && has_url(s->p) && has_version(s->p) && known(s->p, FH_PASSPORT_KEY_PUBLISHER);
    if (all) fh_json_put_z(w, "ai");
    fh_json_put_z(w, "simpleLicensing");
    fh_json_put_end(w);
    spdx_ref(s, "rootElement", "model", true);
    fh_json_put_end(w);
}

void fh_passport_spdx(const fh_passport *p, uint64_t now, fh_buf *out) {
    char stamp[32], hex[FH_SHA256_HEX] = "0";
    spdx s = {.p = p};
    time_text(now, stamp);
    if (fh_sha256_of(fh_bytes_of(p->model), hex, NULL) != FH_OK) out->status = FH_ERR_MEMORY;
    hex[32] = '\0';
    snprintf(s.base, sizeof s.base, "urn:freehold:%s:", hex);
    fh_json_writer_init(&s.w, out, true);
    fh_json_put_object(&s.w);
    fh_put_z(&s.w, "@context", "https://spdx.org/rdf/3.0.1/spdx-context.jsonld");
    fh_json_put_key(&s.w, "@graph");
    fh_json_put_array(&s.w);
    spdx_head(&s, stamp);
    spdx_model(&s);
    size_t relation = spdx_license(&s, 0);
    spdx_files(&s, relation);
    spdx_document(&s);
    fh_json_put_end(&s.w);
    fh_json_put_end(&s.w);
    fh_buf_add_byte(out, '\n');
}
