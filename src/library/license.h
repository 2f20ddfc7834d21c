/* library/license.h - may this organisation use this model, and what does it owe for it.
 * SPDX-License-Identifier: Apache-2.0
 * A licence is recognised by the sha256 of its normalized text alone (license.def); tags are only compared with it.
 * What is not recognised is unknown, never permissive. Base models are followed through model cards, as far as they
 * are on this machine; their duties add up. Nothing is fetched. Clauses are quoted by place; this is no legal advice.
 * All text lives in the report's arena or in the table. */
#ifndef FH_LIBRARY_LICENSE_H
#define FH_LIBRARY_LICENSE_H

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

/* In order of severity: the verdict of a chain is the worst of its links. */
typedef enum fh_verdict {
    FH_VERDICT_ALLOW,
    FH_VERDICT_DUTIES,
    FH_VERDICT_UNKNOWN,
    FH_VERDICT_NEEDS_LICENSE,
    FH_VERDICT_FORBIDDEN
} fh_verdict;
const char *fh_verdict_name(fh_verdict v); /* "allow-with-duties" */

/* ---- the table ---- */
enum { /* duties, as bits */
       FH_LICENSE_DO_COPY = 1 << 0,
       FH_LICENSE_DO_CHANGES = 1 << 1,
       FH_LICENSE_DO_KEEP_NOTICE = 1 << 2,
       FH_LICENSE_DO_NOTICE = 1 << 3,
       FH_LICENSE_DO_DISPLAY = 1 << 4,
       FH_LICENSE_DO_DERIVED_DISPLAY = 1 << 5,
       FH_LICENSE_DO_PREFIX = 1 << 6,
       FH_LICENSE_DO_PASS_ON = 1 << 7,
       FH_LICENSE_DO_USE_POLICY = 1 << 8,
       FH_LICENSE_DO_HOSTED = 1 << 9,
       FH_LICENSE_DO_ATTRIBUTION = 1 << 10,
       FH_LICENSE_DO_SHARE_ALIKE = 1 << 11,
       FH_LICENSE_DO_GUARDRAILS = 1 << 12,
       FH_LICENSE_DO_REGISTER = 1 << 13
};
typedef enum fh_license_form {
    FH_LICENSE_FORM_TEXT, /* every word of the file */
    FH_LICENSE_FORM_OWNER /* without the title of MIT and the lines that only name the copyright's owner */
} fh_license_form;
typedef enum fh_license_commercial {
    FH_LICENSE_COMMERCIAL_YES,
    FH_LICENSE_COMMERCIAL_NO, /* forbidden */
    FH_LICENSE_COMMERCIAL_ASK /* needs a licence of its own */
} fh_license_commercial;
typedef enum fh_license_gate { FH_LICENSE_GATE_NONE, FH_LICENSE_GATE_ASK, FH_LICENSE_GATE_DISPLAY } fh_license_gate;
typedef enum fh_license_eu {
    FH_LICENSE_EU_NONE,
    FH_LICENSE_EU_MULTIMODAL, /* its multimodal models are not granted to those seated in the EU */
    FH_LICENSE_EU_WHOLE,      /* the same, and all its models are multimodal */
    FH_LICENSE_EU_EXCLUDED    /* not granted for use in the EU, the UK and South Korea */
} fh_license_eu;
typedef enum fh_license_outputs { /* outputs as training data for other models, mildest first */
                                  FH_LICENSE_OUTPUTS_FREE,
                                  FH_LICENSE_OUTPUTS_NAMING,
                                  FH_LICENSE_OUTPUTS_VIRAL,
                                  FH_LICENSE_OUTPUTS_NONCOMMERCIAL,
                                  FH_LICENSE_OUTPUTS_BANNED
} fh_license_outputs;
const char *fh_license_outputs_name(fh_license_outputs o); /* "naming" */
const char *fh_license_outputs_text(fh_license_outputs o); /* a sentence */
const char *fh_license_eu_text(fh_license_eu eu);          /* "" for none */

typedef enum fh_license_role {
    FH_LICENSE_COPY,
    FH_LICENSE_CHANGES,
    FH_LICENSE_NOTICE,
    FH_LICENSE_DISPLAY,
    FH_LICENSE_PASS_ON,
    FH_LICENSE_USE_POLICY,
    FH_LICENSE_HOSTED,
    FH_LICENSE_SHARE_ALIKE,
    FH_LICENSE_REGISTER,
    FH_LICENSE_NONCOMMERCIAL,
    FH_LICENSE_THRESHOLD,
    FH_LICENSE_EU,
    FH_LICENSE_OUTPUTS,
    FH_LICENSE_TERMINATION,
    FH_LICENSE_ROLE_COUNT
} fh_license_role;
const char *fh_license_role_name(fh_license_role r); /* "use-policy" */

typedef struct fh_license_row {
    const char *key, *name, *spdx, *source;
    const char *tags;           /* " llama3.1 ": a model card's names for it */
    char sha256[FH_SHA256_HEX]; /* of the normalized text */
    fh_license_form form;       /* which normalization */
    bool permissive;            /* no duty beyond copies of text and notices */
    const char *policy_of;      /* a use policy: the key of its licence; NULL for licences */
    fh_license_commercial commercial;
    uint64_t mau, monthly_usd, yearly_usd; /* more than this crosses the gate; 0 = no limit */
    fh_license_gate gate;
    const char *measured; /* the month whose users count, "2024-06"; NULL: the current ones */
    fh_license_eu eu;
    bool no_military;
    fh_license_outputs outputs;
    unsigned duties;
    const char *notice, *display, *prefix, *use_policy; /* exact texts, or NULL */
} fh_license_row;

typedef struct fh_license_place { /* a clause in the normalized text */
    const fh_license_row *row;
    fh_license_role role;
    uint32_t at, len;
    char sha256[FH_SHA256_HEX];
} fh_license_place;

const fh_license_row *fh_license_rows(size_t *n);
const fh_license_place *fh_license_places(size_t *n);
const fh_license_row *fh_license_find(const char *sha256, fh_license_form form); /* NULL: unknown */
bool fh_license_row_has_tag(const fh_license_row *row, fh_str tag);              /* letters of any case */
/* Is every licence that this tag means permissive? false for tags that no row has. */
bool fh_license_tag_permissive(fh_str tag);

/* Appends the text with runs of blanks made one, quotes made straight and © made (c). from: where each byte came
 * from, (uint32_t)[out->len], in from's bytes; NULL if not wanted. false: no UTF-8. Failure of memory is sticky. */
bool fh_license_normalize(fh_buf *out, fh_buf *from, fh_str text, fh_license_form form);

/* ---- a model card's front matter ---- */
typedef enum fh_card_state { FH_CARD_ABSENT, FH_CARD_STATED, FH_CARD_UNREADABLE } fh_card_state;
#define FH_CARD_MOST_BASES 16
typedef struct fh_card_field {
    fh_card_state state;
    fh_str text; /* when stated; borrowed from the card */
} fh_card_field;
typedef struct fh_card {
    fh_card_field license, license_name, license_link, relation, pipeline, eu_disallowed;
    fh_card_state bases; /* base_model */
    fh_str base[FH_CARD_MOST_BASES];
    size_t n_base;
} fh_card;
/* Cannot fail: what is not plainly a value is FH_CARD_UNREADABLE. */
void fh_card_parse(fh_card *out, fh_str readme);

/* ---- an organisation's profile ---- */
typedef enum fh_sector {
    FH_SECTOR_UNSTATED,
    FH_SECTOR_COMMERCIAL,
    FH_SECTOR_GOVERNMENT,
    FH_SECTOR_MILITARY,
    FH_SECTOR_MEDICAL,
    FH_SECTOR_LEGAL,
    FH_SECTOR_RESEARCH, /* from here on: not for money */
    FH_SECTOR_EDUCATION,
    FH_SECTOR_NONPROFIT,
    FH_SECTOR_PERSONAL
} fh_sector;
#define FH_ORG_MOST_COUNTRIES 256
typedef struct fh_org {
    bool has_mau, has_monthly, has_yearly, has_sells, has_countries;
    uint64_t mau, monthly_usd, yearly_usd;
    bool sells_inference;
    char seat[3]; /* ISO 3166 alpha-2, "" when unstated */
    char country[FH_ORG_MOST_COUNTRIES][3];
    size_t n_country;
    fh_sector sector;
} fh_org;
FH_MUST_USE fh_status fh_org_read(fh_org *out, const char *path, fh_err *err);
FH_MUST_USE fh_status fh_org_parse(fh_org *out, fh_str json, fh_err *err); /* unknown keys are refused */
bool fh_country_in_eu(const char *alpha2);

/* ---- a model's licences ---- */
typedef struct fh_license_clause {
    fh_license_role role;
    uint64_t at, len;           /* in the file */
    char sha256[FH_SHA256_HEX]; /* of those bytes */
} fh_license_clause;

typedef struct fh_license_doc {
    fh_str file, path;
    const fh_license_row *row;  /* NULL: a text not known */
    bool is_policy;             /* by its name */
    char sha256[FH_SHA256_HEX]; /* of the normalized text; "" when it is no text */
    fh_license_clause *clause;
    size_t n_clause;
} fh_license_doc;

typedef enum fh_tri { FH_TRI_OPEN, FH_TRI_NO, FH_TRI_YES } fh_tri;

typedef struct fh_license_node {
    fh_str id;    /* as typed, or as base_model says */
    size_t child; /* whose base this is; its own index for the model itself */
    bool here;    /* found on this machine */
    bool has_card;
    fh_card_state declared_state;
    fh_str declared; /* the licence that the tags name, or "" */
    fh_str link;     /* license_link, or "" */
    fh_card_state bases;
    fh_tri multimodal, eu_disallowed;
    fh_license_doc *doc;
    size_t n_doc;
    fh_verdict verdict; /* of this link alone */
} fh_license_node;

#define FH_LICENSE_MOST_NODES 32
#define FH_LICENSE_MOST_DEPTH 8
typedef struct fh_license_duty {
    const char *kind; /* "display" */
    fh_str text;      /* what to do */
    const char *show; /* the exact words to ship or to show, or NULL */
    const char *from; /* the licence's key */
    size_t node;
    fh_license_role role; /* of the clause that says so, where the table has its place */
} fh_license_duty;
typedef struct fh_license_list {
    fh_str *item;
    size_t n;
} fh_license_list;

typedef struct fh_license_report {
    fh_arena arena;
    fh_license_node node[FH_LICENSE_MOST_NODES];
    size_t n_node;
    fh_verdict verdict;
    fh_verdict otherwise; /* the verdict should all open facts turn out well */
    fh_verdict at_worst;  /* and should they turn out badly */
    fh_license_outputs outputs;
    bool outputs_known;
    fh_license_eu eu;
    fh_license_list reasons, conflicts, notes;
    fh_license_list decides; /* facts that are not known and decide */
    fh_license_duty *duty;
    size_t n_duty;
} fh_license_report;

/* Finds the model's texts, cards and base models. parents: a folder of OWNER/NAME folders to look for base models in,
 * besides Hugging Face's cache; NULL for none. */
FH_MUST_USE fh_status fh_license_gather(fh_license_report *out, const char *model, const char *parents, fh_err *err);
/* Judges what was gathered, once per report; org NULL: whatever depends on it is open. */
FH_MUST_USE fh_status fh_license_judge(fh_license_report *r, const fh_org *org, fh_err *err);
void fh_license_report_release(fh_license_report *r);

#endif
