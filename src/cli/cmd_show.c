/* cli/cmd_show.c - freehold show: what a model is.
 * SPDX-License-Identifier: Apache-2.0
 * Text for people, --json for programs; both say the same things in the same order. Names and texts from the files
 * are made harmless before they reach a terminal. */

#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "cli/show_part.h"
#include "library/facts.h"
#include "library/scan.h"

#define MAX_OUTPUT ((size_t)1 << 30)

typedef struct show_options {
    bool tensors, metadata, digests, license, templ, plan;
    fh_model_options model; /* of --plan */
} show_options;

/* ---- the head, as rows of (label, value) ---- */
static void row(fh_buf *out, const char *label, const char *value) {
    if (value[0]) fh_buf_printf(out, "  %-15s %s\n", label, value);
}

static void row_str(fh_buf *out, const char *label, fh_str value) {
    if (!value.len) return;
    fh_buf_printf(out, "  %-15s ", label);
    fh_cli_add_safe(out, fh_str_first(value, 300));
    fh_buf_add_byte(out, '\n');
}

static void row_u64(fh_buf *out, const char *label, uint64_t v) {
    if (v) fh_buf_printf(out, "  %-15s %llu\n", label, (unsigned long long)v);
}

static void text_head(fh_buf *out, const fh_facts *f, const fh_bundle *b, const fh_location *at) {
    char n[32], active[32], line[200];
    fh_buf_add_z(out, "Model\n");
    row_str(out, "model", fh_str_of(at->name));
    if (at->source != FH_SOURCE_PATH) row(out, "found in", fh_source_name(at->source));
    row_str(out, "name", f->name);
    row_str(out, "architecture", f->architecture);
    row_str(out, "class", f->class_name);
    size_t parts = fh_bundle_n_part(b);
    snprintf(line, sizeof line, "%s, %zu file%s, %s", fh_bundle_form(b) == FH_FORM_GGUF ? "GGUF" : "safetensors", parts,
             parts == 1 ? "" : "s", fh_cli_bytes(f->file_bytes, n, sizeof n));
    row(out, "format", line);
    fh_cli_count(f->n_value, n, sizeof n);
    if (f->n_value_active < f->n_value)
        snprintf(line, sizeof line, "%s, of which %s active per token", n,
                 fh_cli_count(f->n_value_active, active, sizeof active));
    else snprintf(line, sizeof line, "%s", n);
    row(out, "parameters", line);
    row_u64(out, "context", f->n_context);
    row_u64(out, "window", f->window);
    row_u64(out, "layers", f->n_layer);
    row_u64(out, "embedding", f->n_embd);
    row_u64(out, "feed forward", f->n_ff);
    if (f->n_head) {
        snprintf(line, sizeof line, "%llu, %llu for keys and values, of %llu", (unsigned long long)f->n_head,
                 (unsigned long long)f->n_head_kv, (unsigned long long)f->head_dim);
        row(out, "heads", line);
    }
    if (f->n_expert) {
        snprintf(line, sizeof line, "%llu, %llu used, %llu shared", (unsigned long long)f->n_expert,
                 (unsigned long long)f->n_expert_used, (unsigned long long)f->n_expert_shared);
        row(out, "experts", line);
    }
    row_u64(out, "vocabulary", f->n_vocab);
    row_str(out, "rope scaling", f->rope_scaling);
    row_str(out, "tokenizer", f->tokenizer);
    row_str(out, "chat template", fh_str_of(f->template_sha256[0] ? f->template_sha256 : "none"));
    row_str(out, "license", f->license);
    if (f->license_text.len) {
        size_t eol = f->license_text.len;
        (void)fh_str_find(f->license_text, '\n', &eol);
        row_str(out, f->license.len ? "" : "license", fh_str_first(f->license_text, eol));
    }
}

static void text_shares(fh_buf *out, const fh_facts *f) {
    char n[32], bytes[32];
    fh_buf_printf(out, "\nQuantization  %.*s, %.2f bits per weight\n", FH_STR_ARG(f->quantization), f->bits_per_value);
    for (size_t i = 0; i < f->n_share; i++) {
        const fh_facts_share *s = &f->share[i];
        fh_buf_printf(out, "  %-24s %6llu tensors  %10s weights  %10s  %5.1f%%\n", s->type,
                      (unsigned long long)s->n_weight, fh_cli_count(s->n_value, n, sizeof n),
                      fh_cli_bytes(s->bytes, bytes, sizeof bytes),
                      f->weight_bytes ? 100.0 * (double)s->bytes / (double)f->weight_bytes : 0);
    }
}

static void text_tensors(fh_buf *out, const fh_bundle *b, const fh_scan *scans) {
    char shape[160], bytes[32];
    const fh_weights *all = fh_bundle_weights(b);
    fh_buf_printf(out, "\nTensors  %zu\n", all->n);
    for (size_t i = 0; i < all->n; i++) {
        const fh_weight *w = &all->item[i];
        const char *type = w->layout && w->layout[0] ? w->layout : fh_dtype_name(w->codes->dtype);
        fh_buf_printf(out, "  %-10s %-22s %10s  ", type, fh_shape_text(&w->shape, shape, sizeof shape),
                      fh_cli_bytes(fh_weight_stored_bytes(w), bytes, sizeof bytes));
        fh_cli_add_safe(out, w->name);
        if (scans) fh_buf_printf(out, "  %s", scans[i].sha256);
        fh_buf_add_byte(out, '\n');
    }
}

/* ---- JSON ---- */
static void put_text(fh_json_writer *w, const char *key, fh_str s) {
    if (!s.len) return;
    fh_json_put_key(w, key);
    fh_json_put_str(w, s);
}
static void put_number(fh_json_writer *w, const char *key, uint64_t v) {
    if (!v) return;
    fh_json_put_key(w, key);
    fh_json_put_u64(w, v);
}

static void json_files(fh_json_writer *w, const fh_bundle *b) {
    fh_json_put_key(w, "files");
    fh_json_put_array(w);
    for (size_t i = 0; i < fh_bundle_n_part(b); i++) {
        fh_json_put_object(w);
        put_text(w, "path", fh_str_of(fh_bundle_part_path(b, i)));
        fh_json_put_key(w, "bytes");
        fh_json_put_u64(w, fh_bundle_part_data(b, i).len);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void json_head(fh_json_writer *w, const fh_facts *f, const fh_bundle *b, const fh_location *at) {
    put_text(w, "model", fh_str_of(at->name));
    put_text(w, "found_in", fh_str_of(fh_source_name(at->source)));
    put_text(w, "format", fh_bundle_form(b) == FH_FORM_GGUF ? FH_STR("gguf") : FH_STR("safetensors"));
    json_files(w, b);
    put_text(w, "name", f->name);
    put_text(w, "author", f->author);
    put_text(w, "version", f->version);
    put_text(w, "architecture", f->architecture);
    put_text(w, "class", f->class_name);
    fh_json_put_key(w, "parameters");
    fh_json_put_u64(w, f->n_value);
    fh_json_put_key(w, "active_parameters");
    fh_json_put_u64(w, f->n_value_active);
    put_number(w, "context_length", f->n_context);
    put_number(w, "sliding_window", f->window);
    put_number(w, "layers", f->n_layer);
    put_number(w, "embedding_length", f->n_embd);
    put_number(w, "feed_forward_length", f->n_ff);
    put_number(w, "expert_feed_forward_length", f->n_ff_expert);
    put_number(w, "heads", f->n_head);
    put_number(w, "kv_heads", f->n_head_kv);
    put_number(w, "head_dim", f->head_dim);
    put_number(w, "vocabulary", f->n_vocab);
    put_number(w, "experts", f->n_expert);
    put_number(w, "experts_used", f->n_expert_used);
    put_number(w, "experts_shared", f->n_expert_shared);
    if (f->rope_theta > 0) {
        fh_json_put_key(w, "rope_theta");
        fh_json_put_f64(w, f->rope_theta);
    }
    put_text(w, "rope_scaling", f->rope_scaling);
    put_text(w, "tokenizer", f->tokenizer);
    put_text(w, "template_sha256", fh_str_of(f->template_sha256));
    put_text(w, "license", f->license);
    put_text(w, "license_from", f->license_from);
    put_text(w, "license_text", f->license_text);
}

static void json_shares(fh_json_writer *w, const fh_facts *f) {
    fh_json_put_key(w, "quantization");
    fh_json_put_object(w);
    put_text(w, "name", f->quantization);
    fh_json_put_key(w, "bits_per_weight");
    fh_json_put_f64(w, f->bits_per_value);
    fh_json_put_key(w, "weight_bytes");
    fh_json_put_u64(w, f->weight_bytes);
    fh_json_put_key(w, "types");
    fh_json_put_array(w);
    for (size_t i = 0; i < f->n_share; i++) {
        fh_json_put_object(w);
        put_text(w, "type", fh_str_of(f->share[i].type));
        put_number(w, "tensors", f->share[i].n_weight);
        put_number(w, "weights", f->share[i].n_value);
        put_number(w, "bytes", f->share[i].bytes);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void json_tensors(fh_json_writer *w, const fh_bundle *b, const fh_scan *scans) {
    const fh_weights *all = fh_bundle_weights(b);
    fh_json_put_key(w, "tensors");
    fh_json_put_array(w);
    for (size_t i = 0; i < all->n; i++) {
        const fh_weight *t = &all->item[i];
        fh_json_put_object(w);
        put_text(w, "name", t->name);
        put_text(w, "type", fh_str_of(fh_dtype_name(t->codes->dtype)));
        put_text(w, "layout", fh_str_of(t->layout ? t->layout : ""));
        fh_json_put_key(w, "shape");
        fh_json_put_array(w);
        for (uint32_t d = 0; d < t->shape.n_dim; d++) fh_json_put_u64(w, t->shape.dim[d]);
        fh_json_put_end(w);
        fh_json_put_key(w, "bytes");
        fh_json_put_u64(w, fh_weight_stored_bytes(t));
        fh_json_put_key(w, "file");
        fh_json_put_u64(w, t->codes->part);
        fh_json_put_key(w, "offset");
        fh_json_put_u64(w, t->codes->file_offset);
        if (scans) put_text(w, "sha256", fh_str_of(scans[i].sha256));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

/* --digests --json alone: {tensor: sha256}, nothing else, easy to compare. */
static void json_digests(fh_json_writer *w, const fh_bundle *b, const fh_scan *scans) {
    const fh_weights *all = fh_bundle_weights(b);
    fh_json_put_object(w);
    for (size_t i = 0; i < all->n; i++) {
        fh_json_put_key_str(w, all->item[i].name);
        fh_json_put_str(w, fh_str_of(scans[i].sha256));
    }
    fh_json_put_end(w);
}

/* ---- the command ---- */
static fh_status make_digests(const fh_cli *cli, const fh_bundle *b, fh_scan **out, fh_err *err) {
    fh_pool *pool = NULL;
    fh_progress progress;
    fh_scan *scans = fh_alloc_zero(fh_bundle_weights(b)->n, sizeof *scans);
    if (!scans) return fh_fail_memory(err, fh_bundle_weights(b)->n * sizeof *scans);
    fh_status st = fh_pool_new(&pool, NULL, err);
    fh_progress_start(&progress, cli, "digests", 0);
    if (st == FH_OK) st = fh_scan_weights(scans, b, true, pool, fh_progress_show, &progress, err);
    fh_progress_end(&progress);
    fh_pool_free(pool);
    if (st == FH_OK) *out = scans;
    else fh_free(scans);
    return st;
}

static void compose(fh_buf *out, const fh_cli *cli, const show_options *o, const fh_bundle *b, const fh_facts *f,
                    const fh_location *at, const fh_scan *scans) {
    if (!cli->json) {
        if (o->license) fh_buf_add_str(out, f->license_text.len ? f->license_text : f->license);
        if (o->templ) fh_buf_add_str(out, f->template_text);
        if (o->license || o->templ) return;
        text_head(out, f, b, at);
        text_shares(out, f);
        fh_show_quality_text(out, b);
        if (o->metadata) fh_show_metadata_text(out, b);
        if (o->tensors || o->digests) text_tensors(out, b, scans);
        return;
    }
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    if (o->digests && !o->tensors && !o->metadata) {
        json_digests(&w, b, scans);
    } else {
        fh_json_put_object(&w);
        json_head(&w, f, b, at);
        if (o->templ) put_text(&w, "template", f->template_text);
        json_shares(&w, f);
        fh_show_quality_json(&w, b);
        if (o->metadata) fh_show_metadata_json(&w, b);
        if (o->tensors) json_tensors(&w, b, scans);
        fh_json_put_end(&w);
    }
    fh_buf_add_byte(out, '\n');
}

int fh_cmd_show(fh_cli *cli) {
    show_options o = {0};
    const char *model = NULL;
    const fh_option options[] = {
        {"--tensors", FH_OPTION_FLAG, &o.tensors, NULL, "list every tensor: type, shape, bytes (default: no)"},
        {"--metadata", FH_OPTION_FLAG, &o.metadata, NULL, "list all metadata: GGUF keys, config.json (default: no)"},
        {"--digests", FH_OPTION_FLAG, &o.digests, NULL, "SHA-256 of every tensor's decoded f32 values (default: no)"},
        {"--license", FH_OPTION_FLAG, &o.license, NULL, "only the licence text (default: no)"},
        {"--template", FH_OPTION_FLAG, &o.templ, NULL, "only the chat template (default: no)"},
        {"--plan", FH_OPTION_FLAG, &o.plan, NULL,
         "only what is computed for a token, its cost, and the memory foretold; with these: (default: no)"},
        FH_MODEL_OPTION_ROWS(o.model),
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (o.plan) return fh_show_plan(cli, model, &o.model);
    fh_err err = {0};
    fh_location at;
    fh_bundle *b = NULL;
    fh_facts f = {0};
    fh_scan *scans = NULL;
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    fh_status st = fh_locate(&at, model, &err);
    if (st == FH_OK) st = fh_location_open(&b, &at, &err);
    if (st == FH_OK) st = fh_facts_gather(&f, b, &at, &err);
    if (st == FH_OK && o.digests) st = make_digests(cli, b, &scans, &err);
    if (st == FH_OK) {
        compose(&out, cli, &o, b, &f, &at, scans);
        rc = fh_cli_print(cli, &out);
    } else {
        rc = fh_cli_fail(cli, &err);
    }
    fh_buf_release(&out);
    fh_free(scans);
    fh_facts_release(&f);
    fh_bundle_close(b);
    return rc;
}
