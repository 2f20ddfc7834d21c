/* library/passport_write.c - a passport for people (Markdown) and for programs (JSON).
 * SPDX-License-Identifier: Apache-2.0
 * Values come from strangers' files: in Markdown everything that has a meaning there is escaped, control characters
 * are dropped. */

#include "base/json_member.h"
#include "base/num.h"
#include "library/passport.h"

/* ---- Markdown ---- */
static void add_md(fh_buf *out, fh_str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if ((unsigned char)c < 0x20 || c == 0x7f) {
            fh_buf_add_byte(out, ' ');
            continue;
        }
        if (strchr("\\`*_[]<>|#", c)) fh_buf_add_byte(out, '\\');
        fh_buf_add_byte(out, (uint8_t)c);
    }
}

static void md_area(const fh_passport *p, fh_passport_area area, fh_buf *out) {
    static const char *const title[FH_PASSPORT_AREAS] = {"Identity",
                                                         "Weights",
                                                         "Licence clarity",
                                                         "Training transparency",
                                                         "Reproducibility artifacts",
                                                         "Architecture documentation",
                                                         "Safety and limits"};
    fh_buf_printf(out, "\n## %s\n\n| fact | value | source | by | sha256 of the source |\n|---|---|---|---|---|\n",
                  title[area]);
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) {
        const fh_passport_row *row = fh_passport_row_at((fh_passport_key)k);
        const fh_passport_fact *f = &p->fact[k];
        if (row->area != area) continue;
        fh_buf_printf(out, "| %s | ", row->label);
        if (f->state == FH_PASSPORT_STATED) add_md(out, f->value);
        else fh_buf_add_z(out, f->state == FH_PASSPORT_ABSENT ? "absent" : "unknown");
        fh_buf_add_z(out, " | ");
        add_md(out, f->source);
        fh_buf_printf(out, " | %s | %s |\n", f->state == FH_PASSPORT_STATED ? fh_passport_by_name(f->by) : "",
                      f->sha256);
    }
}

static void md_openness(const fh_passport *p, fh_buf *out) {
    fh_buf_printf(out, "\n## Openness\n\n**%s: %s**%s\n\n", fh_osaid_rule, fh_openness_name(p->osaid),
                  p->osaid_listed ? " (the OSI names models of this name as validated; not checked against these bytes)"
                                  : "");
    for (size_t i = 0; i < FH_OSAID_PARTS; i++)
        fh_buf_printf(out, "- %s: %s: %s\n", fh_osaid_part_name(i), fh_openness_name(p->osaid_part[i]),
                      p->osaid_why[i]);
    fh_buf_printf(out, "\n**%s: %s%s**\n\n| component | class | here | why |\n|---|---|---|---|\n", fh_mof_rule,
                  p->mof_class ? "class " : "no class",
                  p->mof_class == 3   ? "III"
                  : p->mof_class == 2 ? "II"
                  : p->mof_class == 1 ? "I"
                                      : "");
    for (size_t i = 0; i < FH_MOF_PARTS; i++)
        fh_buf_printf(out, "| %s | %.*s | %s | %s |\n", p->mof[i].name, p->mof[i].class_no, "III",
                      fh_openness_name(p->mof[i].have), p->mof[i].why);
    fh_buf_printf(out, "\nLicence family: %s. Supply chain: %s.\n", p->family, p->supply);
}

void fh_passport_markdown(const fh_passport *p, fh_buf *out) {
    fh_passport_layer layer[FH_PASSPORT_LAYERS];
    fh_passport_layers(p, layer);
    fh_buf_add_z(out, "# Passport of ");
    add_md(out, p->model);
    fh_buf_add_z(out, "\n\n");
    add_md(out, p->sentence);
    fh_buf_add_z(out, "\n\n| layer | state |\n|---|---|\n");
    for (size_t i = 0; i < FH_PASSPORT_LAYERS; i++) {
        fh_buf_printf(out, "| %s | ", layer[i].name);
        add_md(out, fh_str_of(layer[i].line));
        fh_buf_add_z(out, " |\n");
    }
    for (int a = 0; a < FH_PASSPORT_AREAS; a++) md_area(p, (fh_passport_area)a, out);
    if (p->n_file) fh_buf_add_z(out, "\n## Files\n\n| file | bytes | sha256 | recorded |\n|---|---|---|---|\n");
    for (size_t i = 0; i < p->n_file; i++) {
        const fh_passport_file *f = &p->file[i];
        fh_buf_add_z(out, "| ");
        add_md(out, f->path);
        fh_buf_printf(out, " | %llu | %s | %s |\n", (unsigned long long)f->bytes, f->sha256[0] ? f->sha256 : "not read",
                      !f->expected[0]                       ? "nothing"
                      : strcmp(f->expected, f->sha256) == 0 ? "the same"
                                                            : f->expected);
    }
    md_openness(p, out);
    fh_buf_add_z(out, "\n\"unknown\" means that nothing on this machine states it. A section of a card counts as a "
                      "statement, not as proof. This is no legal advice.\n");
}

/* ---- JSON ---- */

static void json_area(const fh_passport *p, fh_passport_area area, fh_json_writer *w) {
    fh_json_put_key(w, fh_passport_area_name(area));
    fh_json_put_object(w);
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) {
        const fh_passport_row *row = fh_passport_row_at((fh_passport_key)k);
        const fh_passport_fact *f = &p->fact[k];
        if (row->area != area) continue;
        fh_json_put_key(w, row->key);
        fh_json_put_object(w);
        if (f->state == FH_PASSPORT_STATED) fh_put_str(w, "value", f->value);
        else fh_put_z(w, "value", f->state == FH_PASSPORT_ABSENT ? "absent" : "unknown");
        if (f->source.len) fh_put_str(w, "source", f->source);
        if (f->sha256[0]) fh_put_z(w, "sha256", f->sha256);
        if (f->state == FH_PASSPORT_STATED) fh_put_z(w, "by", fh_passport_by_name(f->by));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_files(const fh_passport *p, fh_json_writer *w) {
    fh_json_put_key(w, "files");
    fh_json_put_array(w);
    for (size_t i = 0; i < p->n_file; i++) {
        const fh_passport_file *f = &p->file[i];
        fh_json_put_object(w);
        fh_put_str(w, "path", f->path);
        fh_put_u64(w, "bytes", f->bytes);
        fh_put_z(w, "sha256", f->sha256[0] ? f->sha256 : "unknown");
        if (f->expected[0]) fh_put_z(w, "recorded_sha256", f->expected);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_mof(const fh_passport *p, fh_json_writer *w) {
    fh_json_put_key(w, "mof");
    fh_json_put_object(w);
    fh_put_z(w, "rule", fh_mof_rule);
    fh_put_u64(w, "class", (uint64_t)p->mof_class);
    fh_json_put_key(w, "components");
    fh_json_put_array(w);
    for (size_t i = 0; i < FH_MOF_PARTS; i++) {
        fh_json_put_object(w);
        fh_put_z(w, "component", p->mof[i].name);
        fh_put_u64(w, "class", (uint64_t)p->mof[i].class_no);
        fh_put_z(w, "state", fh_openness_name(p->mof[i].have));
        fh_put_z(w, "why", p->mof[i].why);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void json_verdicts(const fh_passport *p, fh_json_writer *w) {
    fh_json_put_key(w, "verdicts");
    fh_json_put_object(w);
    fh_json_put_key(w, "osaid");
    fh_json_put_object(w);
    fh_put_z(w, "rule", fh_osaid_rule);
    fh_put_z(w, "verdict", fh_openness_name(p->osaid));
    fh_json_put_key(w, "name_listed_by_osi");
    fh_json_put_bool(w, p->osaid_listed);
    fh_json_put_key(w, "parts");
    fh_json_put_array(w);
    for (size_t i = 0; i < FH_OSAID_PARTS; i++) {
        fh_json_put_object(w);
        fh_put_z(w, "part", fh_osaid_part_name(i));
        fh_put_z(w, "state", fh_openness_name(p->osaid_part[i]));
        fh_put_z(w, "why", p->osaid_why[i]);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
    json_mof(p, w);
    fh_put_z(w, "licence_family", p->family);
    fh_put_z(w, "licence_verdict", fh_verdict_name(p->license->verdict));
    fh_put_z(w, "supply_chain", p->supply);
    fh_json_put_end(w);
}

void fh_passport_json(const fh_passport *p, fh_buf *out) {
    fh_passport_layer layer[FH_PASSPORT_LAYERS];
    fh_json_writer w;
    fh_passport_layers(p, layer);
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "passport", "1");
    fh_put_str(&w, "model", p->model);
    fh_put_z(&w, "standing", p->standing);
    fh_put_str(&w, "sentence", p->sentence);
    fh_json_put_key(&w, "layers");
    fh_json_put_array(&w);
    for (size_t i = 0; i < FH_PASSPORT_LAYERS; i++) {
        fh_json_put_object(&w);
        fh_put_z(&w, "layer", layer[i].name);
        fh_put_u64(&w, "known", p->known[layer[i].area]);
        fh_put_u64(&w, "of", p->of[layer[i].area]);
        fh_put_z(&w, "line", layer[i].line);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    for (int a = 0; a < FH_PASSPORT_AREAS; a++) json_area(p, (fh_passport_area)a, &w);
    json_files(p, &w);
    json_verdicts(p, &w);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}
