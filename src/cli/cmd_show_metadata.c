/* cli/cmd_show_metadata.c - every key of a GGUF, or __metadata__ and config.json.
 * SPDX-License-Identifier: Apache-2.0
 * Text cuts long arrays and strings, and says so; JSON gives everything. Tokens may be bytes that are no UTF-8: JSON
 * writes U+FFFD there. */
#include "base/num.h"
#include "cli/cli.h"
#include "cli/show_part.h"

enum { TEXT_ELEMENTS = 8, TEXT_BYTES = 120 };

static void add_number(fh_buf *out, const fh_gguf_kv *kv, uint64_t i) {
    uint64_t u;
    int64_t n;
    double d;
    bool yes;
    if (fh_gguf_elem_bool(kv, i, &yes)) fh_buf_add_z(out, yes ? "true" : "false");
    else if (fh_gguf_elem_u64(kv, i, &u)) fh_buf_printf(out, "%llu", (unsigned long long)u);
    else if (fh_gguf_elem_i64(kv, i, &n)) fh_buf_printf(out, "%lld", (long long)n);
    else if (fh_gguf_elem_f64(kv, i, &d)) fh_buf_printf(out, "%g", d);
}

static void add_text(fh_buf *out, fh_str s) {
    fh_buf_add_byte(out, '"');
    fh_cli_add_safe(out, fh_str_first(s, TEXT_BYTES));
    if (s.len > TEXT_BYTES) fh_buf_printf(out, "\"... (%zu bytes)", s.len);
    else fh_buf_add_byte(out, '"');
}

static void add_array(fh_buf *out, const fh_gguf_kv *kv) {
    fh_str s;
    size_t at = 0;
    fh_buf_add_byte(out, '[');
    for (uint64_t i = 0; i < FH_MIN(kv->n, (uint64_t)TEXT_ELEMENTS); i++) {
        if (i) fh_buf_add_z(out, ", ");
        if (kv->elem == FH_GGUF_STR && fh_gguf_next_str(kv, &at, &s)) add_text(out, s);
        else add_number(out, kv, i);
    }
    if (kv->n > TEXT_ELEMENTS) fh_buf_printf(out, ", ... %llu in all", (unsigned long long)kv->n);
    fh_buf_add_byte(out, ']');
}

static void scalar_as_array(fh_gguf_kv *one, const fh_gguf_kv *kv) {
    *one = *kv;
    one->elem = kv->type;
    one->type = FH_GGUF_ARRAY;
    one->n = 1;
}

static void gguf_text(fh_buf *out, const fh_gguf *g) {
    for (size_t i = 0; i < fh_gguf_n_kv(g); i++) {
        const fh_gguf_kv *kv = fh_gguf_get_kv(g, i);
        fh_str s;
        fh_buf_add_z(out, "  ");
        fh_cli_add_safe(out, kv->key);
        fh_buf_add_z(out, " = ");
        if (kv->type == FH_GGUF_ARRAY) {
            add_array(out, kv);
        } else if (fh_gguf_to_str(kv, &s)) {
            add_text(out, s);
        } else {
            fh_gguf_kv one;
            scalar_as_array(&one, kv);
            add_number(out, &one, 0);
        }
        fh_buf_printf(out, "  (%s%s%s)\n", fh_gguf_type_name(kv->type), kv->type == FH_GGUF_ARRAY ? " of " : "",
                      kv->type == FH_GGUF_ARRAY ? fh_gguf_type_name(kv->elem) : "");
    }
}

static void put_number(fh_json_writer *w, const fh_gguf_kv *kv, uint64_t i) {
    uint64_t u;
    int64_t n;
    double d;
    bool yes;
    if (fh_gguf_elem_bool(kv, i, &yes)) fh_json_put_bool(w, yes);
    else if (fh_gguf_elem_u64(kv, i, &u)) fh_json_put_u64(w, u);
    else if (fh_gguf_elem_i64(kv, i, &n)) fh_json_put_i64(w, n);
    else if (fh_gguf_elem_f64(kv, i, &d)) fh_json_put_f64(w, d);
    else fh_json_put_null(w); /* an array within an array */
}

static void put_value(fh_json_writer *w, const fh_gguf_kv *kv) {
    fh_str s;
    size_t at = 0;
    if (fh_gguf_to_str(kv, &s)) {
        fh_json_put_str(w, s);
    } else if (kv->type != FH_GGUF_ARRAY) {
        fh_gguf_kv one;
        scalar_as_array(&one, kv);
        put_number(w, &one, 0);
    } else {
        fh_json_put_array(w);
        for (uint64_t i = 0; i < kv->n; i++) {
            if (kv->elem == FH_GGUF_STR && fh_gguf_next_str(kv, &at, &s)) fh_json_put_str(w, s);
            else put_number(w, kv, i);
        }
        fh_json_put_end(w);
    }
}

void fh_show_metadata_text(fh_buf *out, const fh_bundle *b) {
    fh_buf_add_z(out, "\nMetadata\n");
    if (fh_bundle_form(b) == FH_FORM_GGUF) {
        gguf_text(out, fh_bundle_gguf(b, 0));
        return;
    }
    for (size_t p = 0; p < fh_bundle_n_part(b); p++) {
        const fh_st *s = fh_bundle_st(b, p);
        for (size_t i = 0; i < fh_st_n_meta(s); i++) {
            fh_str key, value;
            fh_st_get_meta(s, i, &key, &value);
            fh_buf_add_z(out, "  ");
            fh_cli_add_safe(out, key);
            fh_buf_add_z(out, " = ");
            add_text(out, value);
            fh_buf_add_byte(out, '\n');
        }
    }
    const fh_json_node *config = fh_bundle_config(b);
    if (!config) return;
    fh_json_writer w;
    fh_buf_add_z(out, "\nconfig.json\n");
    fh_json_writer_init(&w, out, true);
    fh_json_put_tree(&w, config);
    fh_buf_add_byte(out, '\n');
}

void fh_show_metadata_json(fh_json_writer *w, const fh_bundle *b) {
    fh_json_put_key(w, "metadata");
    fh_json_put_object(w);
    if (fh_bundle_form(b) == FH_FORM_GGUF) {
        const fh_gguf *g = fh_bundle_gguf(b, 0);
        for (size_t i = 0; i < fh_gguf_n_kv(g); i++) {
            const fh_gguf_kv *kv = fh_gguf_get_kv(g, i);
            fh_json_put_key_str(w, kv->key);
            put_value(w, kv);
        }
    } else {
        const fh_st *s = fh_bundle_st(b, 0);
        for (size_t i = 0; i < fh_st_n_meta(s); i++) {
            fh_str key, value;
            fh_st_get_meta(s, i, &key, &value);
            fh_json_put_key_str(w, key);
            fh_json_put_str(w, value);
        }
        if (fh_bundle_config(b)) {
            fh_json_put_key(w, "config.json");
            fh_json_put_tree(w, fh_bundle_config(b));
        }
    }
    fh_json_put_end(w);
}
