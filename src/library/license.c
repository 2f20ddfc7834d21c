/* library/license.c - the verdict: what the texts found mean for this organisation.
 * SPDX-License-Identifier: Apache-2.0
 * Each rule is settled, or open where a fact is not known. The verdict is the worst that is settled; an open rule
 * that could make it worse than duties makes it unknown, and says which fact decides. Links of the chain add up.
 * (1) nothing but a known text ever lowers a verdict; (2) a tag that contradicts the text leaves it unknown. */
#include "library/license.h"

#include <stdio.h>

#include "base/num.h"
#include "library/license_part.h"

static const char *const verdicts[] = {"allow", "allow-with-duties", "unknown", "needs-licence", "forbidden"};
const char *fh_verdict_name(fh_verdict v) { return verdicts[v]; }

static const char *const outputs_names[] = {"free", "naming", "viral", "non-commercial", "banned"};
static const char *const outputs_texts[] = {
    "its outputs may train other models", "its outputs may train other models, which then carry its name or mention it",
    "a model trained on its outputs to perform like it counts as derived from it: the same terms bind it",
    "its outputs, and models trained on them, are for non-commercial use only",
    "its outputs may not train or improve other models"};
const char *fh_license_outputs_name(fh_license_outputs o) { return outputs_names[o]; }
const char *fh_license_outputs_text(fh_license_outputs o) { return outputs_texts[o]; }

static const char *const eu_texts[] = {
    "", "its multimodal models are not granted to persons and companies seated in the European Union",
    "not granted to persons and companies seated in the European Union: all its models are multimodal",
    "does not apply in the European Union, the United Kingdom and South Korea"};
const char *fh_license_eu_text(fh_license_eu eu) { return eu_texts[eu]; }

static const char *const roles[] = {"copy",       "changes", "notice",      "display",    "pass-on",
                                    "use-policy", "hosted",  "share-alike", "register",   "non-commercial",
                                    "threshold",  "eu",      "outputs",     "termination"};
const char *fh_license_role_name(fh_license_role r) { return roles[r]; }

typedef struct judge {
    fh_license_report *r;
    const fh_org *org; /* never NULL: an empty one where none was given */
    fh_err *err;
    size_t node;
    fh_verdict settled, open; /* of the node */
} judge;

#define REASON(j, ...) fh_license_list_add(&(j)->r->reasons, &(j)->r->arena, (j)->err, __VA_ARGS__)
#define CONFLICT(j, ...) fh_license_list_add(&(j)->r->conflicts, &(j)->r->arena, (j)->err, __VA_ARGS__)
#define DECIDES(j, ...) fh_license_list_add(&(j)->r->decides, &(j)->r->arena, (j)->err, __VA_ARGS__)
#define NOTE(j, ...) fh_license_list_add(&(j)->r->notes, &(j)->r->arena, (j)->err, __VA_ARGS__)

static void settle(judge *j, fh_verdict v) { j->settled = FH_MAX(j->settled, v); }
static void leave_open(judge *j, fh_verdict v) { j->open = FH_MAX(j->open, v); }
static const fh_license_node *node_of(const judge *j) { return &j->r->node[j->node]; }

/* ---- duties ---- */
typedef struct duty_kind {
    unsigned bit;
    const char *kind, *text;
    fh_license_role role;
} duty_kind;
static const duty_kind duty_kinds[] = {
    {FH_LICENSE_DO_COPY, "copy", "give everyone who gets the model a copy of the licence and its copyright notices",
     FH_LICENSE_COPY},
    {FH_LICENSE_DO_CHANGES, "mark-changes", "mark the files that you changed", FH_LICENSE_CHANGES},
    {FH_LICENSE_DO_KEEP_NOTICE, "keep-notice", "pass its NOTICE file on, where there is one", FH_LICENSE_NOTICE},
    {FH_LICENSE_DO_NOTICE, "notice-file", "ship a text file 'Notice' with these words", FH_LICENSE_NOTICE},
    {FH_LICENSE_DO_DISPLAY, "display", "show these words prominently to those who use your product",
     FH_LICENSE_DISPLAY},
    {FH_LICENSE_DO_DERIVED_DISPLAY, "display",
     "show these words in the documentation of a model made with it or with its outputs", FH_LICENSE_OUTPUTS},
    {FH_LICENSE_DO_PREFIX, "name-prefix", "start the name of a model made from it and passed on with this",
     FH_LICENSE_DISPLAY},
    {FH_LICENSE_DO_PASS_ON, "pass-on", "bind everyone you pass it on to by its use restrictions", FH_LICENSE_PASS_ON},
    {FH_LICENSE_DO_USE_POLICY, "use-policy", "keep to its use policy", FH_LICENSE_USE_POLICY},
    {FH_LICENSE_DO_ATTRIBUTION, "attribution", "name the author, the licence and what was changed", FH_LICENSE_COPY},
    {FH_LICENSE_DO_SHARE_ALIKE, "share-alike", "pass adapted versions on under the same licence",
     FH_LICENSE_SHARE_ALIKE},
    {FH_LICENSE_DO_GUARDRAILS, "guardrails", "leave its safety guardrails in place: its licence ends without them",
     FH_LICENSE_TERMINATION},
    {FH_LICENSE_DO_REGISTER, "register", "register with the licensor before any commercial use", FH_LICENSE_REGISTER}};

static fh_status add_duty(judge *j, const fh_license_row *row, duty_kind kind, const char *show) {
    enum { STEP = 16 };
    fh_license_report *r = j->r;
    for (size_t i = 0; i < r->n_duty; i++) {
        const fh_license_duty *d = &r->duty[i];
        bool same_show = d->show == show || (d->show && show && strcmp(d->show, show) == 0);
        if (strcmp(d->from, row->key) == 0 && fh_str_is(d->text, kind.text) && same_show) return FH_OK;
    }
    if (r->n_duty % STEP == 0) {
        fh_license_duty *more = fh_arena_alloc(&r->arena, r->n_duty + STEP, sizeof *more);
        if (!more) return fh_arena_fail(&r->arena, j->err);
        if (r->n_duty) memcpy(more, r->duty, r->n_duty * sizeof *more);
        r->duty = more;
    }
    r->duty[r->n_duty++] = (fh_license_duty){kind.kind, fh_str_of(kind.text), show, row->key, j->node, kind.role};
    return FH_OK;
}

static const char *words_of(const fh_license_row *row, unsigned bit) {
    switch (bit) {
    case FH_LICENSE_DO_NOTICE: return row->notice;
    case FH_LICENSE_DO_DISPLAY:
    case FH_LICENSE_DO_DERIVED_DISPLAY: return row->display;
    case FH_LICENSE_DO_PREFIX: return row->prefix;
    case FH_LICENSE_DO_USE_POLICY: return row->use_policy;
    default: return NULL;
    }
}

static fh_status add_duties(judge *j, const fh_license_row *row) {
    for (size_t i = 0; i < FH_COUNT(duty_kinds); i++)
        if (row->duties & duty_kinds[i].bit) FH_TRY(add_duty(j, row, duty_kinds[i], words_of(row, duty_kinds[i].bit)));
    if (row->duties & FH_LICENSE_DO_HOSTED) {
        bool sells = j->org->has_sells && j->org->sells_inference;
        duty_kind k = {FH_LICENSE_DO_HOSTED, "hosted",
                       sells ? "you sell inference, which counts as passing it on: the duties of that are yours"
                             : "offering it as a hosted service counts as passing it on",
                       FH_LICENSE_HOSTED};
        FH_TRY(add_duty(j, row, k, NULL));
    }
    if (row->commercial != FH_LICENSE_COMMERCIAL_YES) {
        duty_kind k = {0, "non-commercial", "use it for nothing that is meant to make money", FH_LICENSE_NONCOMMERCIAL};
        FH_TRY(add_duty(j, row, k, NULL));
    }
    return FH_OK;
}

/* ---- rules ---- */
static fh_tri exceeds(uint64_t limit, bool has, uint64_t value) {
    if (!limit) return FH_TRI_NO;
    if (!has) return FH_TRI_OPEN;
    return value > limit ? FH_TRI_YES : FH_TRI_NO;
}

static fh_status judge_commercial(judge *j, const fh_license_row *row) {
    if (row->commercial == FH_LICENSE_COMMERCIAL_YES) return FH_OK;
    bool ask = row->commercial == FH_LICENSE_COMMERCIAL_ASK;
    fh_verdict v = ask ? FH_VERDICT_NEEDS_LICENSE : FH_VERDICT_FORBIDDEN;
    bool sells = j->org->has_sells && j->org->sells_inference;
    if (j->org->sector == FH_SECTOR_UNSTATED && !sells) {
        leave_open(j, v);
        return DECIDES(j, "sector: whether the use is commercial, for which %s %s", row->key,
                       ask ? "needs a licence of its own" : "gives no rights");
    }
    if (j->org->sector >= FH_SECTOR_RESEARCH && !sells) return FH_OK;
    settle(j, v);
    return REASON(j, "%s: commercial use %s", row->key, ask ? "needs a licence of its own" : "is not granted");
}

static fh_status open_gate(judge *j, const fh_license_row *row, const char *then) {
    const char *key = row->key;
    if (exceeds(row->mau, j->org->has_mau, j->org->mau) == FH_TRI_OPEN)
        FH_TRY(DECIDES(j, "monthly_active_users%s%s: more than %llu, and %s (%s)", row->measured ? " in " : "",
                       row->measured ? row->measured : "", (unsigned long long)row->mau, then, key));
    if (exceeds(row->monthly_usd, j->org->has_monthly, j->org->monthly_usd) == FH_TRI_OPEN)
        FH_TRY(DECIDES(j, "monthly_revenue: more than US$%llu, and %s (%s)", (unsigned long long)row->monthly_usd, then,
                       key));
    if (exceeds(row->yearly_usd, j->org->has_yearly, j->org->yearly_usd) == FH_TRI_OPEN)
        FH_TRY(DECIDES(j, "annual_revenue: more than US$%llu, and %s (%s)", (unsigned long long)row->yearly_usd, then,
                       key));
    return FH_OK;
}

static fh_status judge_gate(judge *j, const fh_license_row *row) {
    static const duty_kind shown = {0, "display", "show these words prominently on your product's user interface",
                                    FH_LICENSE_DISPLAY};
    static const duty_kind shown_if = {
        0, "display", "above the threshold: show these words prominently on your product's user interface",
        FH_LICENSE_DISPLAY};
    if (!row->gate) return FH_OK;
    bool ask = row->gate == FH_LICENSE_GATE_ASK;
    fh_tri mau = exceeds(row->mau, j->org->has_mau, j->org->mau);
    fh_tri monthly = exceeds(row->monthly_usd, j->org->has_monthly, j->org->monthly_usd);
    fh_tri yearly = exceeds(row->yearly_usd, j->org->has_yearly, j->org->yearly_usd);
    fh_verdict v = ask ? FH_VERDICT_NEEDS_LICENSE : FH_VERDICT_DUTIES;
    if (row->measured && mau != FH_TRI_OPEN)
        FH_TRY(NOTE(j, "%s counts the users of %s; the profile's number was taken for that", row->key, row->measured));
    if (mau == FH_TRI_YES || monthly == FH_TRI_YES || yearly == FH_TRI_YES) {
        settle(j, v);
        if (!ask) FH_TRY(add_duty(j, row, shown, row->display));
        return REASON(j, "%s: the organisation is above its threshold%s", row->key,
                      ask ? ", so it must ask for a licence" : " for showing its name");
    }
    if (mau != FH_TRI_OPEN && monthly != FH_TRI_OPEN && yearly != FH_TRI_OPEN) return FH_OK;
    leave_open(j, v);
    if (!ask) FH_TRY(add_duty(j, row, shown_if, row->display));
    return open_gate(j, row, ask ? "a licence must be asked for" : "its name must be shown");
}

static fh_tri seated_in_eu(const fh_org *org) {
    if (!org->seat[0]) return FH_TRI_OPEN;
    return fh_country_in_eu(org->seat) ? FH_TRI_YES : FH_TRI_NO;
}

static bool is_excluded(const char *country) {
    return fh_country_in_eu(country) || strcmp(country, "GB") == 0 || strcmp(country, "KR") == 0;
}

static fh_status judge_excluded(judge *j, const fh_license_row *row) {
    const fh_org *org = j->org;
    bool inside = org->seat[0] && is_excluded(org->seat);
    for (size_t i = 0; i < org->n_country; i++) inside = inside || is_excluded(org->country[i]);
    if (inside) {
        settle(j, FH_VERDICT_FORBIDDEN);
        return REASON(j, "%s: %s", row->key, eu_texts[row->eu]);
    }
    if (!org->seat[0] || !org->has_countries) leave_open(j, FH_VERDICT_FORBIDDEN);
    if (!org->seat[0]) FH_TRY(DECIDES(j, "seat: %s %s", row->key, eu_texts[row->eu]));
    if (!org->has_countries) FH_TRY(DECIDES(j, "countries: %s %s", row->key, eu_texts[row->eu]));
    return FH_OK;
}

static fh_status judge_eu(judge *j, const fh_license_row *row) {
    if (row->eu == FH_LICENSE_EU_NONE) return FH_OK;
    if (row->eu == FH_LICENSE_EU_EXCLUDED) return judge_excluded(j, row);
    fh_tri seat = seated_in_eu(j->org);
    fh_tri senses = row->eu == FH_LICENSE_EU_WHOLE ? FH_TRI_YES : node_of(j)->multimodal;
    if (seat == FH_TRI_NO || senses == FH_TRI_NO) return FH_OK;
    if (seat == FH_TRI_YES && senses == FH_TRI_YES) {
        settle(j, FH_VERDICT_FORBIDDEN);
        return REASON(j, "%s: %s", row->key, eu_texts[row->eu]);
    }
    leave_open(j, FH_VERDICT_FORBIDDEN);
    if (seat == FH_TRI_OPEN) FH_TRY(DECIDES(j, "seat: %s: %s", row->key, eu_texts[row->eu]));
    if (senses == FH_TRI_OPEN)
        FH_TRY(DECIDES(j, "whether %.*s is multimodal: neither config.json nor the card says",
                       FH_STR_ARG(node_of(j)->id)));
    return FH_OK;
}

static fh_status judge_row(judge *j, const fh_license_row *row) {
    fh_license_report *r = j->r;
    if (!row->permissive) settle(j, FH_VERDICT_DUTIES);
    r->outputs = FH_MAX(r->outputs, row->outputs);
    r->eu = FH_MAX(r->eu, row->eu);
    FH_TRY(add_duties(j, row));
    FH_TRY(judge_commercial(j, row));
    FH_TRY(judge_gate(j, row));
    FH_TRY(judge_eu(j, row));
    if (!row->no_military || j->org->sector != FH_SECTOR_MILITARY) return FH_OK;
    settle(j, FH_VERDICT_FORBIDDEN);
    return REASON(j, "%s: military use is forbidden", row->key);
}

/* ---- a link of the chain ---- */
static bool says(const fh_license_node *n, fh_str tag) {
    for (size_t i = 0; i < n->n_doc; i++)
        if (n->doc[i].row && fh_license_row_has_tag(n->doc[i].row, tag)) return true;
    return false;
}

static size_t count_licenses(const fh_license_node *n, bool known) {
    size_t count = 0;
    for (size_t i = 0; i < n->n_doc; i++) {
        const fh_license_doc *d = &n->doc[i];
        if (d->row ? known && !d->row->policy_of && !d->is_policy : !known) count++;
    }
    return count;
}

static fh_status judge_tags(judge *j) {
    const fh_license_node *n = node_of(j);
    if (n->declared_state == FH_CARD_UNREADABLE) {
        settle(j, FH_VERDICT_UNKNOWN);
        FH_TRY(REASON(j, "%.*s: the card's licence fields cannot be read with certainty", FH_STR_ARG(n->id)));
    }
    if (n->bases == FH_CARD_UNREADABLE) {
        settle(j, FH_VERDICT_UNKNOWN);
        FH_TRY(REASON(j, "%.*s: which models it is built on cannot be read with certainty", FH_STR_ARG(n->id)));
    }
    if (!n->has_card)
        FH_TRY(NOTE(j, "%.*s: no model card, so nothing says whether it is built on another model", FH_STR_ARG(n->id)));
    if (!n->declared.len || !count_licenses(n, true) || says(n, n->declared)) return FH_OK;
    settle(j, FH_VERDICT_UNKNOWN);
    return CONFLICT(j, "%.*s: the tag says '%.*s', the text is another licence's", FH_STR_ARG(n->id),
                    FH_STR_ARG(n->declared));
}

static fh_status judge_doc(judge *j, const fh_license_doc *d) {
    const fh_license_node *n = node_of(j);
    if (!d->row) {
        settle(j, FH_VERDICT_UNKNOWN);
        return REASON(j, "%.*s: '%.*s' is no text that is known here", FH_STR_ARG(n->id), FH_STR_ARG(d->file));
    }
    return judge_row(j, d->row);
}

static fh_status judge_gating(judge *j) {
    const fh_license_node *n = node_of(j);
    fh_tri seat = seated_in_eu(j->org);
    if (n->eu_disallowed == FH_TRI_NO || seat == FH_TRI_NO) return FH_OK;
    if (n->eu_disallowed == FH_TRI_OPEN) {
        settle(j, FH_VERDICT_UNKNOWN);
        return REASON(j, "%.*s: whether the card bars the European Union cannot be read", FH_STR_ARG(n->id));
    }
    if (seat == FH_TRI_YES) {
        settle(j, FH_VERDICT_FORBIDDEN);
        return REASON(j, "%.*s: its publisher does not give it to the European Union", FH_STR_ARG(n->id));
    }
    leave_open(j, FH_VERDICT_FORBIDDEN);
    return DECIDES(j, "seat: the publisher of %.*s does not give it to the European Union", FH_STR_ARG(n->id));
}

static fh_status judge_node(judge *j) {
    const fh_license_node *n = node_of(j);
    if (!n->here) {
        settle(j, FH_VERDICT_UNKNOWN);
        return REASON(j, "%.*s: this base model is not on this machine, so its licence is not known",
                      FH_STR_ARG(n->id));
    }
    if (!count_licenses(n, true)) settle(j, FH_VERDICT_UNKNOWN);
    if (!n->n_doc && n->declared.len)
        FH_TRY(REASON(j, "%.*s: no licence text; the tag '%.*s' alone decides nothing", FH_STR_ARG(n->id),
                      FH_STR_ARG(n->declared)));
    else if (!count_licenses(n, true) && !count_licenses(n, false))
        FH_TRY(REASON(j, "%.*s: no licence text", FH_STR_ARG(n->id)));
    for (size_t i = 0; i < n->n_doc; i++) FH_TRY(judge_doc(j, &n->doc[i]));
    FH_TRY(judge_tags(j));
    return judge_gating(j);
}

/* ---- child against parent ---- */
static bool carries(const fh_license_node *child, const char *key) {
    for (size_t i = 0; i < child->n_doc; i++)
        if (child->doc[i].row && strcmp(child->doc[i].row->key, key) == 0) return true;
    return false;
}

static const char *claim_of(const fh_license_node *n, char *out, size_t size) {
    for (size_t i = 0; i < n->n_doc; i++)
        if (n->doc[i].row && !n->doc[i].row->policy_of) return n->doc[i].row->key;
    snprintf(out, size, "%.*s", FH_STR_ARG(n->declared));
    return out;
}

static fh_status compare(judge *j, const fh_license_node *child, const fh_license_node *parent) {
    char buf[256];
    const char *claim = claim_of(child, buf, sizeof buf);
    if (!claim[0] || !parent->here) return FH_OK;
    bool by_text = count_licenses(child, true) > 0;
    for (size_t i = 0; i < parent->n_doc; i++) {
        const fh_license_row *row = parent->doc[i].row;
        if (!row || row->policy_of || (row->permissive && !row->gate) || carries(child, row->key)) continue;
        if (!by_text && fh_license_row_has_tag(row, child->declared)) continue;
        FH_TRY(CONFLICT(j, "%.*s is offered under '%s', its base %.*s under '%s', which goes on to bind it",
                        FH_STR_ARG(child->id), claim, FH_STR_ARG(parent->id), row->key));
    }
    if (count_licenses(parent, true) || !parent->declared.len || fh_license_tag_permissive(parent->declared))
        return FH_OK;
    if (fh_str_eq(child->declared, parent->declared) || says(child, parent->declared)) return FH_OK;
    return CONFLICT(j, "%.*s is offered under '%s', its base %.*s is tagged '%.*s'", FH_STR_ARG(child->id), claim,
                    FH_STR_ARG(parent->id), FH_STR_ARG(parent->declared));
}

fh_status fh_license_judge(fh_license_report *r, const fh_org *org, fh_err *err) {
    static const fh_org nobody;
    fh_verdict settled = FH_VERDICT_ALLOW, open = FH_VERDICT_ALLOW;
    r->outputs_known = true;
    for (size_t i = 0; i < r->n_node; i++) {
        fh_license_node *n = &r->node[i];
        judge j = {r, org ? org : &nobody, err, i, FH_VERDICT_ALLOW, FH_VERDICT_ALLOW};
        FH_TRY(judge_node(&j));
        if (n->child != i) FH_TRY(compare(&j, &r->node[n->child], n));
        n->verdict = j.settled;
        if (j.open > j.settled)
            n->verdict = j.open <= FH_VERDICT_DUTIES ? j.open : FH_MAX(j.settled, FH_VERDICT_UNKNOWN);
        settled = FH_MAX(settled, j.settled);
        open = FH_MAX(open, j.open);
        if (!n->here || !count_licenses(n, true) || count_licenses(n, false) || n->bases == FH_CARD_UNREADABLE)
            r->outputs_known = false;
    }
    r->otherwise = settled;
    r->at_worst = FH_MAX(settled, open);
    r->verdict = settled;
    if (open > settled) r->verdict = open <= FH_VERDICT_DUTIES ? open : FH_MAX(settled, FH_VERDICT_UNKNOWN);
    return FH_OK;
}

void fh_license_report_release(fh_license_report *r) {
    fh_arena_release(&r->arena);
    r->n_node = 0;
}
