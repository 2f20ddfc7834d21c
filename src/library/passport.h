/* library/passport.h - what is known of a model, fact by fact, with where it is written; and what that amounts to.
 * SPDX-License-Identifier: Apache-2.0
 * Gathers from the model's own files, its card and its licences. A fact has a value, the file that states it and that
 * file's digest, and whose word it is; what nothing states is unknown and never counts as yes. A card's section counts
 * as a statement that there is one, not as the truth of it. Verdicts say which version of which rule they follow.
 * Nothing is fetched, nothing from the model's files is run. Text lives in the passport's arena. */
#ifndef FH_LIBRARY_PASSPORT_H
#define FH_LIBRARY_PASSPORT_H

#include "base/pool.h"
#include "library/license.h"
#include "library/scan.h"

typedef enum fh_passport_area {
    FH_PASSPORT_IDENTITY,
    FH_PASSPORT_WEIGHTS,
    FH_PASSPORT_LICENSE,
    FH_PASSPORT_TRAINING,
    FH_PASSPORT_REPRODUCIBILITY,
    FH_PASSPORT_ARCHITECTURE,
    FH_PASSPORT_SAFETY,
    FH_PASSPORT_AREAS
} fh_passport_area;
const char *fh_passport_area_name(fh_passport_area a); /* "training" */

typedef enum fh_passport_key {
#define FH_PASSPORT_ROW(id, area, key, label) FH_PASSPORT_KEY_##id,
#include "library/passport.def"
#undef FH_PASSPORT_ROW
    FH_PASSPORT_KEYS
} fh_passport_key;

typedef struct fh_passport_row {
    fh_passport_area area;
    const char *key, *label;
} fh_passport_row;
const fh_passport_row *fh_passport_row_at(fh_passport_key k);

/* ABSENT: looked for where it would have to be, and not there. */
typedef enum fh_passport_state { FH_PASSPORT_UNKNOWN, FH_PASSPORT_ABSENT, FH_PASSPORT_STATED } fh_passport_state;
typedef enum fh_passport_by { FH_PASSPORT_BY_FILES, FH_PASSPORT_BY_PUBLISHER, FH_PASSPORT_BY_FREEHOLD } fh_passport_by;
const char *fh_passport_by_name(fh_passport_by b); /* "publisher" */

typedef struct fh_passport_fact {
    fh_passport_state state;
    fh_passport_by by;
    fh_str value;
    fh_str source;              /* "README.md, section 'Limits'" */
    char sha256[FH_SHA256_HEX]; /* of the file that states it, or "" */
} fh_passport_fact;

typedef struct fh_passport_file {
    fh_str path;
    uint64_t bytes;
    char sha256[FH_SHA256_HEX], expected[FH_SHA256_HEX]; /* "" : not read; nothing recorded */
} fh_passport_file;

/* Do the facts suffice for it? OPEN: not established. */
typedef enum fh_openness { FH_OPENNESS_FAIL, FH_OPENNESS_UNKNOWN, FH_OPENNESS_PASS } fh_openness;
const char *fh_openness_name(fh_openness o); /* "unknown" */

typedef struct fh_mof_part {
    const char *name;
    int class_no; /* 3, 2, 1: the class that needs it first */
    fh_openness have;
    const char *why;
} fh_mof_part;

#define FH_MOF_PARTS 14
#define FH_OSAID_PARTS 3
typedef struct fh_passport {
    fh_arena arena;
    fh_str model;
    bool weights_here, read; /* read: digests and numbers were taken */
    fh_passport_fact fact[FH_PASSPORT_KEYS];
    fh_passport_file *file; /* [n_file] with weights */
    size_t n_file;
    fh_license_report *license; /* owned */

    fh_openness osaid, osaid_part[FH_OSAID_PARTS];
    const char *osaid_why[FH_OSAID_PARTS];
    bool osaid_listed; /* the OSI names models of this name as validated */
    fh_mof_part mof[FH_MOF_PARTS];
    int mof_class;      /* 1, 2, 3; 0: none */
    const char *family; /* of the licence: "open" ... */
    const char *supply; /* "checksums", "no checksums", "mismatch", "not read" */
    uint32_t known[FH_PASSPORT_AREAS], of[FH_PASSPORT_AREAS];
    const char *standing; /* "rebuilt", "run", "rented" */
    fh_str sentence;
} fh_passport;

extern const char fh_osaid_rule[], fh_mof_rule[];
const char *fh_osaid_part_name(size_t i);

typedef struct fh_passport_options {
    const char *parents; /* where base models are looked for, besides Hugging Face's cache; or NULL */
    const fh_org *org;   /* or NULL */
    fh_pool *pool;       /* NULL: do not read the weights' bytes */
    fh_scan_progress *progress;
    void *progress_ctx;
} fh_passport_options;

FH_MUST_USE fh_status fh_passport_gather(fh_passport *out, const char *model, const fh_passport_options *opt,
                                         fh_err *err);
void fh_passport_release(fh_passport *p);

/* The five layers: weights, licence clarity, training transparency, reproducibility, architecture documentation. */
#define FH_PASSPORT_LAYERS 5
typedef struct fh_passport_layer {
    const char *name;
    fh_passport_area area;
    char line[200];
} fh_passport_layer;
void fh_passport_layers(const fh_passport *p, fh_passport_layer out[FH_PASSPORT_LAYERS]);

/* now: seconds since 1970, stamped where a format demands a time. Failure is sticky in the buffer. */
void fh_passport_markdown(const fh_passport *p, fh_buf *out);
void fh_passport_json(const fh_passport *p, fh_buf *out);
void fh_passport_cyclonedx(const fh_passport *p, uint64_t now, fh_buf *out); /* ML-BOM 1.6 */
void fh_passport_spdx(const fh_passport *p, uint64_t now, fh_buf *out);      /* SPDX 3.0.1, AI profile */

#endif
