/* cli/cmd_license.c - freehold license: may this organisation use this model, and what does it owe for it.
 * SPDX-License-Identifier: Apache-2.0
 * The verdict is the result, whatever it is: exit 0. Clauses are quoted by file, byte range and digest, so that
 * everyone can read the words themselves. Nothing is fetched. */
#include "base/json_member.h"
#include "cli/cli.h"
#include "library/license.h"

#define MAX_OUTPUT ((size_t)1 << 24)

static const char *const descriptions[] = {
    [FH_VERDICT_ALLOW] = "use it as you like; keep its licence with it when you pass it on",
    [FH_VERDICT_DUTIES] = "use it, and do what stands under Duties",
    [FH_VERDICT_UNKNOWN] = "nothing here establishes that you may",
    [FH_VERDICT_NEEDS_LICENSE] = "ask the licensor for a licence first",
    [FH_VERDICT_FORBIDDEN] = "its terms do not let you",
};

/* ---- text ---- */
static void text_list(fh_buf *out, const char *title, const fh_license_list *list) {
    if (!list->n) return;
    fh_buf_printf(out, "\n%s\n", title);
    for (size_t i = 0; i < list->n; i++) {
        fh_buf_add_z(out, "  ");
        fh_cli_add_safe(out, list->item[i]);
        fh_buf_add_byte(out, '\n');
    }
}

/* The clause behind a duty, in the file of the model that brings it. */
static const fh_license_clause *clause_of(const fh_license_report *r, const fh_license_duty *d, fh_str *file) {
    const fh_license_node *n = &r->node[d->node];
    for (size_t i = 0; i < n->n_doc; i++) {
        const fh_license_doc *doc = &n->doc[i];
        if (!doc->row || strcmp(doc->row->key, d->from) != 0) continue;
        for (size_t k = 0; k < doc->n_clause; k++) {
            if (doc->clause[k].role != d->role) continue;
            *file = doc->path;
            return &doc->clause[k];
        }
    }
    return NULL;
}

static void text_duties(fh_buf *out, const fh_license_report *r) {
    if (!r->n_duty) return;
    fh_buf_add_z(out, "\nDuties\n");
    for (size_t i = 0; i < r->n_duty; i++) {
        const fh_license_duty *d = &r->duty[i];
        fh_str file;
        const fh_license_clause *c = clause_of(r, d, &file);
        fh_buf_printf(out, "  %-15s %.*s (%s)\n", d->kind, FH_STR_ARG(d->text), d->from);
        if (d->show) fh_buf_printf(out, "  %-15s   %s\n", "", d->show);
        if (!c) continue;
        fh_buf_printf(out, "  %-15s   bytes %llu to %llu of ", "", (unsigned long long)c->at,
                      (unsigned long long)(c->at + c->len));
        fh_cli_add_safe(out, file);
        fh_buf_add_byte(out, '\n');
    }
}

static void text_doc(fh_buf *out, const fh_license_doc *d) {
    fh_buf_add_z(out, "    ");
    fh_cli_add_safe(out, d->path);
    if (d->row) fh_buf_printf(out, "\n      %s, %s\n", d->row->name, d->row->spdx);
    else fh_buf_add_z(out, "\n      not a text that is known here\n");
    if (d->sha256[0]) fh_buf_printf(out, "      sha256 of the normalized text %s\n", d->sha256);
    for (size_t i = 0; i < d->n_clause; i++) {
        const fh_license_clause *c = &d->clause[i];
        fh_buf_printf(out, "      %-15s bytes %llu to %llu, sha256 %s\n", fh_license_role_name(c->role),
                      (unsigned long long)c->at, (unsigned long long)(c->at + c->len), c->sha256);
    }
}

static void text_nodes(fh_buf *out, const fh_license_report *r) {
    fh_buf_add_z(out, "\nTexts\n");
    for (size_t i = 0; i < r->n_node; i++) {
        const fh_license_node *n = &r->node[i];
        fh_buf_add_z(out, "  ");
        fh_cli_add_safe(out, n->id);
        if (n->child != i) {
            fh_buf_add_z(out, ", base of ");
            fh_cli_add_safe(out, r->node[n->child].id);
        }
        fh_buf_printf(out, ": %s", fh_verdict_name(n->verdict));
        if (n->declared.len) fh_buf_printf(out, ", tagged '%.*s'", FH_STR_ARG(n->declared));
        fh_buf_add_z(out, n->here ? "\n" : ", not on this machine\n");
        for (size_t k = 0; k < n->n_doc; k++) text_doc(out, &n->doc[k]);
    }
}

static void text_report(fh_buf *out, const fh_license_report *r) {
    fh_buf_printf(out, "Verdict  %s: %s\n", fh_verdict_name(r->verdict), descriptions[r->verdict]);
    if (r->decides.n)
        fh_buf_printf(out, "         %s if the facts below turn out well, %s if not\n", fh_verdict_name(r->otherwise),
                      fh_verdict_name(r->at_worst));
    text_list(out, "These facts decide", &r->decides);
    text_list(out, "Because", &r->reasons);
    text_list(out, "Conflicts", &r->conflicts);
    text_duties(out, r);
    fh_buf_add_z(out, "\nTraining other models with its outputs\n");
    if (!r->outputs_known) fh_buf_add_z(out, "  not established: not all of its terms are known\n");
    if (r->outputs_known || r->outputs) fh_buf_printf(out, "  %s\n", fh_license_outputs_text(r->outputs));
    if (r->eu) fh_buf_printf(out, "\nEuropean Union\n  %s\n", fh_license_eu_text(r->eu));
    text_list(out, "Notes", &r->notes);
    text_nodes(out, r);
}

/* ---- JSON ---- */
static void put_z(fh_json_writer *w, const char *key, const char *z) {
    if (z && z[0]) fh_put_str(w, key, fh_str_of(z));
}

static void put_list(fh_json_writer *w, const char *key, const fh_license_list *list) {
    fh_json_put_key(w, key);
    fh_json_put_array(w);
    for (size_t i = 0; i < list->n; i++) fh_json_put_str(w, list->item[i]);
    fh_json_put_end(w);
}

static void put_clause(fh_json_writer *w, const fh_license_clause *c, fh_str file) {
    fh_json_put_object(w);
    put_z(w, "role", fh_license_role_name(c->role));
    fh_put_str(w, "file", file);
    fh_put_u64(w, "offset", c->at);
    fh_put_u64(w, "length", c->len);
    put_z(w, "sha256", c->sha256);
    fh_json_put_end(w);
}

static void put_duties(fh_json_writer *w, const fh_license_report *r) {
    fh_json_put_key(w, "duties");
    fh_json_put_array(w);
    for (size_t i = 0; i < r->n_duty; i++) {
        const fh_license_duty *d = &r->duty[i];
        fh_str file;
        const fh_license_clause *c = clause_of(r, d, &file);
        fh_json_put_object(w);
        put_z(w, "kind", d->kind);
        fh_put_str(w, "duty", d->text);
        put_z(w, "text", d->show);
        put_z(w, "licence", d->from);
        fh_put_str(w, "model", r->node[d->node].id);
        if (c) {
            fh_json_put_key(w, "clause");
            put_clause(w, c, file);
        }
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_threshold(fh_json_writer *w, const char *fact, uint64_t limit, const fh_license_row *row) {
    if (!limit) return;
    fh_json_put_object(w);
    put_z(w, "fact", fact);
    fh_put_u64(w, "more_than", limit);
    put_z(w, "then", row->gate == FH_LICENSE_GATE_ASK ? "needs-licence" : "display");
    put_z(w, "clock", row->measured ? "fixed" : "rolling");
    put_z(w, "measured", row->measured);
    put_z(w, "licence", row->key);
    fh_json_put_end(w);
}

static void put_thresholds(fh_json_writer *w, const fh_license_report *r) {
    fh_json_put_key(w, "thresholds");
    fh_json_put_array(w);
    for (size_t i = 0; i < r->n_node; i++)
        for (size_t k = 0; k < r->node[i].n_doc; k++) {
            const fh_license_row *row = r->node[i].doc[k].row;
            if (!row) continue;
            put_threshold(w, "monthly_active_users", row->mau, row);
            put_threshold(w, "monthly_revenue", row->monthly_usd, row);
            put_threshold(w, "annual_revenue", row->yearly_usd, row);
        }
    fh_json_put_end(w);
}

static void put_doc(fh_json_writer *w, const fh_license_doc *d) {
    fh_json_put_object(w);
    fh_put_str(w, "file", d->path);
    put_z(w, "sha256_normalized", d->sha256);
    put_z(w, "licence", d->row ? d->row->key : "unknown");
    if (d->row) {
        put_z(w, "name", d->row->name);
        put_z(w, "spdx", d->row->spdx);
    }
    fh_json_put_key(w, "clauses");
    fh_json_put_array(w);
    for (size_t i = 0; i < d->n_clause; i++) put_clause(w, &d->clause[i], d->path);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_nodes(fh_json_writer *w, const fh_license_report *r) {
    fh_json_put_key(w, "models");
    fh_json_put_array(w);
    for (size_t i = 0; i < r->n_node; i++) {
        const fh_license_node *n = &r->node[i];
        fh_json_put_object(w);
        fh_put_str(w, "model", n->id);
        if (n->child != i) fh_put_str(w, "base_of", r->node[n->child].id);
        fh_json_put_key(w, "here");
        fh_json_put_bool(w, n->here);
        put_z(w, "verdict", fh_verdict_name(n->verdict));
        if (n->declared.len) fh_put_str(w, "tag", n->declared);
        if (n->link.len) fh_put_str(w, "license_link", n->link);
        fh_json_put_key(w, "texts");
        fh_json_put_array(w);
        for (size_t k = 0; k < n->n_doc; k++) put_doc(w, &n->doc[k]);
        fh_json_put_end(w);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_report(fh_buf *out, const fh_license_report *r) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_str(&w, "model", r->node[0].id);
    put_z(&w, "verdict", fh_verdict_name(r->verdict));
    put_z(&w, "at_best", fh_verdict_name(r->otherwise));
    put_z(&w, "at_worst", fh_verdict_name(r->at_worst));
    put_list(&w, "decides", &r->decides);
    put_list(&w, "because", &r->reasons);
    put_list(&w, "conflicts", &r->conflicts);
    put_list(&w, "notes", &r->notes);
    put_duties(&w, r);
    put_thresholds(&w, r);
    fh_json_put_key(&w, "eu_restricted");
    fh_json_put_bool(&w, r->eu != FH_LICENSE_EU_NONE);
    put_z(&w, "eu", fh_license_eu_text(r->eu));
    put_z(&w, "outputs", r->outputs_known ? fh_license_outputs_name(r->outputs) : "unknown");
    put_z(&w, "outputs_at_least", fh_license_outputs_name(r->outputs));
    put_nodes(&w, r);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

int fh_cmd_license(fh_cli *cli) {
    const char *model = NULL, *profile = NULL, *parents = NULL;
    const fh_option options[] = {
        {"--org", FH_OPTION_TEXT, &profile, "FILE",
         "JSON with what is known of the organisation: monthly_active_users, monthly_revenue, annual_revenue (US "
         "dollars), sells_inference, seat, countries, sector; default: nothing is known"},
        {"--bases", FH_OPTION_TEXT, &parents, "DIR",
         "a folder of OWNER/NAME folders to look for base models in; default: Hugging Face's cache alone"}};
    int rc = fh_cli_parse(cli, options, sizeof options / sizeof options[0], &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_org org;
    fh_license_report *r = fh_alloc_zero(1, sizeof *r); /* large for a stack */
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = r ? FH_OK : fh_fail_memory(&err, sizeof *r);
    if (st == FH_OK && profile) st = fh_org_read(&org, profile, &err);
    bool gathered = st == FH_OK && (st = fh_license_gather(r, model, parents, &err)) == FH_OK;
    if (gathered) st = fh_license_judge(r, profile ? &org : NULL, &err);
    if (st == FH_OK) {
        if (cli->json) json_report(&out, r);
        else text_report(&out, r);
        rc = fh_cli_print(cli, &out);
    } else {
        rc = fh_cli_fail(cli, &err);
    }
    if (gathered) fh_license_report_release(r);
    fh_free(r);
    fh_buf_release(&out);
    return rc;
}
