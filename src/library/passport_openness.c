/* library/passport_openness.c - what the facts amount to: OSAID, MOF, the five layers, and the sentence.
 * SPDX-License-Identifier: Apache-2.0
 * Open Source AI Definition 1.0 (OSI, October 2024) and Model Openness Framework (17 components, 14 of them needed by
 * a class; LF AI & Data's settings of May 2026). The two disagree on published models, so both are shown with their
 * evidence. Unknown is never yes: a pass needs every part proven, a fail needs one part disproven. */
#include <stdio.h>

#include "base/num.h"
#include "library/passport_part.h"

const char fh_osaid_rule[] = "Open Source AI Definition 1.0, October 2024";
const char fh_mof_rule[] = "Model Openness Framework, components of May 2026";

const char *fh_openness_name(fh_openness o) {
    static const char *const name[] = {"fail", "unknown", "pass"};
    return (unsigned)o < FH_COUNT(name) ? name[o] : "?";
}

const char *fh_osaid_part_name(size_t i) {
    static const char *const name[FH_OSAID_PARTS] = {"data information", "code", "parameters"};
    return i < FH_OSAID_PARTS ? name[i] : "?";
}

static bool stated(const fh_passport *p, fh_passport_key k) { return p->fact[k].state == FH_PASSPORT_STATED; }

/* Open in the sense of both definitions: for any use, by anyone, to change and to share. */
static bool row_is_open(const fh_license_row *r) {
    bool gated = r->mau || r->monthly_usd || r->yearly_usd || r->commercial != FH_LICENSE_COMMERCIAL_YES;
    unsigned limits = FH_LICENSE_DO_PASS_ON | FH_LICENSE_DO_USE_POLICY | FH_LICENSE_DO_REGISTER |
                      FH_LICENSE_DO_GUARDRAILS | FH_LICENSE_DO_PREFIX | FH_LICENSE_DO_DISPLAY | FH_LICENSE_DO_HOSTED;
    return !gated && !r->eu && !r->no_military && r->outputs == FH_LICENSE_OUTPUTS_FREE && !(r->duties & limits);
}

/* Over the whole chain: one closed text closes it, an unknown one leaves it open. */
static fh_openness license_openness(const fh_license_report *r) {
    bool unknown = r->n_node == 0, any = false;
    for (size_t i = 0; i < r->n_node; i++) {
        const fh_license_node *n = &r->node[i];
        if (!n->here || !n->n_doc || n->bases == FH_CARD_UNREADABLE) unknown = true;
        for (size_t k = 0; k < n->n_doc; k++) {
            if (!n->doc[k].row) unknown = true;
            else if (!row_is_open(n->doc[k].row)) return FH_OPENNESS_FAIL;
            else any = true;
        }
    }
    return any && !unknown && !r->conflicts.n ? FH_OPENNESS_PASS : FH_OPENNESS_UNKNOWN;
}

static const char *license_family(const fh_license_report *r) {
    bool any = false, open = true, noncommercial = false, source = false, unknown = false;
    for (size_t i = 0; i < r->n_node; i++) {
        unknown = unknown || !r->node[i].n_doc;
        for (size_t k = 0; k < r->node[i].n_doc; k++) {
            const fh_license_row *row = r->node[i].doc[k].row;
            if (!row) {
                unknown = true;
                continue;
            }
            any = true;
            open = open && row_is_open(row);
            noncommercial = noncommercial || row->commercial != FH_LICENSE_COMMERCIAL_YES;
            source = source || row->mau || row->monthly_usd || row->yearly_usd || row->eu ||
                     row->outputs == FH_LICENSE_OUTPUTS_BANNED;
        }
    }
    if (noncommercial) return "non-commercial";
    if (source) return "source-available";
    if (!any || unknown) return "unknown";
    return open ? "open" : "open-with-conditions";
}

/* ---- MOF ---- */
static fh_openness under(fh_openness have, fh_openness license) {
    if (have != FH_OPENNESS_PASS) return have;
    return license;
}

static void judge_mof(fh_passport *p, fh_openness license) {
    static const struct {
        const char *name;
        int class_no;
        fh_passport_key key;
    } part[FH_MOF_PARTS] = {{"architecture", 3, FH_PASSPORT_KEY_CONFIG},
                            {"final parameters", 3, FH_PASSPORT_KEY_FILES},
                            {"technical report", 3, FH_PASSPORT_KEY_PAPER},
                            {"evaluation results", 3, FH_PASSPORT_KEY_EVALUATION},
                            {"model card", 3, FH_PASSPORT_KEY_CARD},
                            {"data card", 3, FH_PASSPORT_KEY_DATA_CARD},
                            {"training code", 2, FH_PASSPORT_KEY_TRAINING_CODE},
                            {"inference code", 2, FH_PASSPORT_KEY_REFERENCE},
                            {"evaluation code", 2, FH_PASSPORT_KEY_EVALUATION_CODE},
                            {"evaluation data", 2, FH_PASSPORT_KEY_EVALUATION_DATA},
                            {"research paper", 1, FH_PASSPORT_KEY_PAPER},
                            {"datasets", 1, FH_PASSPORT_KEY_DATA_HASHES},
                            {"data preprocessing code", 1, FH_PASSPORT_KEY_PREPARING_CODE},
                            {"intermediate parameters", 1, FH_PASSPORT_KEY_CHECKPOINTS}};
    int worst[4] = {FH_OPENNESS_PASS, FH_OPENNESS_PASS, FH_OPENNESS_PASS, FH_OPENNESS_PASS};
    for (size_t i = 0; i < FH_MOF_PARTS; i++) {
        fh_mof_part *m = &p->mof[i];
        *m = (fh_mof_part){.name = part[i].name, .class_no = part[i].class_no};
        const fh_passport_fact *f = &p->fact[part[i].key];
        bool link = fh_str_starts(f->value, "https://");
        fh_openness have = f->state == FH_PASSPORT_STATED && !link ? FH_OPENNESS_PASS : FH_OPENNESS_UNKNOWN;
        m->have = under(have, license);
        m->why = m->have == FH_OPENNESS_PASS                               ? "here, under an open licence"
                 : have == FH_OPENNESS_PASS && license == FH_OPENNESS_FAIL ? "here, but its licence is not open"
                 : have == FH_OPENNESS_PASS ? "here, but no licence text that is known and open"
                 : link                     ? "linked, not here: its licence is not known"
                                            : "nothing here shows it";
        for (int c = 1; c <= m->class_no; c++) worst[c] = FH_MIN(worst[c], (int)m->have);
    }
    p->mof_class = 0;
    for (int c = 3; c >= 1; c--) {
        if (worst[c] != FH_OPENNESS_PASS) break;
        p->mof_class = c;
    }
}

/* ---- OSAID ---- */
static void judge_osaid(fh_passport *p, fh_openness license) {
    static const char *const listed[] = {"EleutherAI/pythia", "allenai/OLMo", "LLM360/Amber", "LLM360/Crystal",
                                         "google-t5/t5"};
    bool data = stated(p, FH_PASSPORT_KEY_DATA_CARD) && stated(p, FH_PASSPORT_KEY_DATA_SOURCES) &&
                stated(p, FH_PASSPORT_KEY_FILTERING);
    bool code = stated(p, FH_PASSPORT_KEY_TRAINING_CODE) && stated(p, FH_PASSPORT_KEY_PREPARING_CODE) &&
                stated(p, FH_PASSPORT_KEY_REFERENCE);
    p->osaid_part[0] = under(data ? FH_OPENNESS_PASS : FH_OPENNESS_UNKNOWN, license);
    p->osaid_why[0] = data ? "a data card, the sources and the filtering are described"
                           : "no data card with sources and filtering, detailed enough to build it again";
    p->osaid_part[1] = under(code ? FH_OPENNESS_PASS : FH_OPENNESS_UNKNOWN, license);
    p->osaid_why[1] = code ? "code to train, to prepare the data and to run it is here"
                           : "no code here that prepared the data, trained it and runs it";
    p->osaid_part[2] = p->weights_here ? license : FH_OPENNESS_UNKNOWN;
    p->osaid_why[2] = !p->weights_here              ? "the weights are not here"
                      : license == FH_OPENNESS_PASS ? "weights under an open licence"
                      : license == FH_OPENNESS_FAIL ? "the licence of the weights is not an open one"
                                                    : "no licence text that is known covers the weights";
    p->osaid = FH_OPENNESS_PASS;
    for (size_t i = 0; i < FH_OSAID_PARTS; i++) p->osaid = FH_MIN(p->osaid, p->osaid_part[i]);
    for (size_t i = 0; i < FH_COUNT(listed); i++)
        p->osaid_listed = p->osaid_listed || fh_str_starts(p->model, listed[i]);
}

/* ---- layers and the sentence ---- */
void fh_passport_layers(const fh_passport *p, fh_passport_layer out[FH_PASSPORT_LAYERS]) {
    static const struct {
        const char *name;
        fh_passport_area area;
    } layer[FH_PASSPORT_LAYERS] = {{"weights", FH_PASSPORT_WEIGHTS},
                                   {"licence clarity", FH_PASSPORT_LICENSE},
                                   {"training transparency", FH_PASSPORT_TRAINING},
                                   {"reproducibility artifacts", FH_PASSPORT_REPRODUCIBILITY},
                                   {"architecture documentation", FH_PASSPORT_ARCHITECTURE}};
    for (size_t i = 0; i < FH_PASSPORT_LAYERS; i++) {
        out[i] = (fh_passport_layer){.name = layer[i].name, .area = layer[i].area};
        char *line = out[i].line;
        size_t size = sizeof out[i].line;
        int used = snprintf(line, size, "%u of %u facts known", p->known[layer[i].area], p->of[layer[i].area]);
        const char *missing = NULL;
        for (int k = 0; k < FH_PASSPORT_KEYS && !missing; k++)
            if (fh_passport_row_at((fh_passport_key)k)->area == layer[i].area && p->fact[k].state != FH_PASSPORT_STATED)
                missing = fh_passport_row_at((fh_passport_key)k)->label;
        if (layer[i].area == FH_PASSPORT_WEIGHTS)
            snprintf(line + used, size - (size_t)used, "; %s; checksums: %s", p->weights_here ? "here" : "not here",
                     p->supply);
        else if (layer[i].area == FH_PASSPORT_LICENSE)
            snprintf(line + used, size - (size_t)used, "; %s; verdict %s", p->family,
                     fh_verdict_name(p->license->verdict));
        else if (missing) snprintf(line + used, size - (size_t)used, "; missing first: %s", missing);
    }
}

static void count_facts(fh_passport *p) {
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) {
        fh_passport_area a = fh_passport_row_at((fh_passport_key)k)->area;
        p->of[a]++;
        p->known[a] += p->fact[k].state == FH_PASSPORT_STATED;
    }
}

static fh_status write_sentence(fh_passport *p, fh_err *err) {
    char text[400];
    fh_verdict v = p->license->verdict;
    const char *terms = v == FH_VERDICT_ALLOW           ? "its terms let you"
                        : v == FH_VERDICT_DUTIES        ? "its terms let you, with duties"
                        : v == FH_VERDICT_UNKNOWN       ? "whether its terms let you is not established"
                        : v == FH_VERDICT_NEEDS_LICENSE ? "but it needs a licence of its own first"
                                                        : "but its terms do not let you";
    p->standing = p->osaid == FH_OPENNESS_PASS ? "rebuilt" : p->weights_here ? "run" : "rented";
    if (p->osaid == FH_OPENNESS_PASS)
        snprintf(text, sizeof text,
                 "Rented, run, or rebuilt: this one can be rebuilt. Weights, code and data information are here under "
                 "open licences; %s.",
                 terms);
    else if (p->weights_here)
        snprintf(text, sizeof text,
                 "Rented, run, or rebuilt: this one can be run. Its weights are on this machine; %s. "
                 "It cannot be rebuilt from what is here: %s.",
                 terms,
                 p->osaid_part[0] != FH_OPENNESS_PASS   ? p->osaid_why[0]
                 : p->osaid_part[1] != FH_OPENNESS_PASS ? p->osaid_why[1]
                                                        : p->osaid_why[2]);
    else
        snprintf(text, sizeof text,
                 "Rented, run, or rebuilt: as long as its weights are not on this machine, it is rented at best; %s.",
                 terms);
    return fh_arena_copy(&p->arena, fh_str_of(text), &p->sentence) ? FH_OK : fh_arena_fail(&p->arena, err);
}

fh_status fh_passport_judge(fh_passport *p, fh_err *err) {
    fh_openness license = license_openness(p->license);
    p->family = license_family(p->license);
    judge_mof(p, license);
    judge_osaid(p, license);
    count_facts(p);
    return write_sentence(p, err);
}
