/* base/json_write.c - JSON text into a buffer, compact or indented.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing; the buffer keeps the first failure, and after one every call here does nothing.
 * Escapes only what must be: quote, backslash, control characters. Bytes that are no UTF-8 become
 * U+FFFD, so the text is always valid. Nesting beyond FH_JSON_MAX_DEPTH is FH_ERR_LIMIT, since no
 * reader here takes it.
 * A key outside an object, a value without its key and an end too many are bugs of the caller. */
#include <math.h>

#include "base/json_part.h"

void fh_json_writer_init(fh_json_writer *w, fh_buf *out, bool pretty) {
    memset(w, 0, sizeof *w);
    w->out = out;
    w->pretty = pretty;
}

static bool bit_of(const uint8_t *bits, int i) { return bits[i / 8] >> i % 8 & 1; }

static void set_bit(uint8_t *bits, int i, bool on) {
    uint8_t bit = (uint8_t)(1u << i % 8);
    bits[i / 8] = (uint8_t)(on ? bits[i / 8] | bit : bits[i / 8] & ~bit);
}

static bool in_object(const fh_json_writer *w) { return w->depth > 0 && bit_of(w->is_object, w->depth - 1); }

static void new_line(fh_json_writer *w) {
    if (!w->pretty) return;
    fh_buf_add_byte(w->out, '\n');
    fh_buf_fill(w->out, ' ', 2 * (size_t)w->depth);
}

/* What stands between this member or element and the one before. */
static void separate(fh_json_writer *w) {
    if (w->depth == 0) return;
    if (bit_of(w->any, w->depth - 1)) fh_buf_add_byte(w->out, ',');
    set_bit(w->any, w->depth - 1, true);
    new_line(w);
}

/* Before every value; false after a failure. */
static bool begin_value(fh_json_writer *w) {
    if (w->out->status != FH_OK) return false;
    FH_REQUIRE(w->after_key == in_object(w));
    if (w->after_key) w->after_key = false;
    else separate(w);
    return true;
}

static void put_escape(fh_buf *out, uint8_t c) {
    static const char names[] = "btn\0fr"; /* 0x08 to 0x0D; 0x0B has none */
    if (c == '"' || c == '\\') {
        fh_buf_add_byte(out, '\\');
        fh_buf_add_byte(out, c);
    } else if (c >= 0x08 && c <= 0x0D && c != 0x0B) {
        fh_buf_add_byte(out, '\\');
        fh_buf_add_byte(out, (uint8_t)names[c - 0x08]);
    } else {
        static const char hex[] = "0123456789abcdef";
        char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        fh_buf_add(out, text, sizeof text);
    }
}

static void put_quoted(fh_buf *out, fh_str s) {
    const uint8_t *p = fh_bytes_of(s).ptr;
    size_t at = 0, from = 0; /* [from, at) goes out as it is */
    fh_buf_add_byte(out, '"');
    while (at < s.len) {
        bool ok = true;
        size_t n = 1;
        if (p[at] >= 0x80) n = fh_json_utf8(p + at, s.len - at, &ok);
        else if (p[at] < 0x20 || p[at] == '"' || p[at] == '\\') ok = false;
        if (!ok) {
            fh_buf_add(out, p + from, at - from);
            if (p[at] >= 0x80) fh_buf_add_z(out, "\xEF\xBF\xBD");
            else put_escape(out, p[at]);
            from = at + n;
        }
        at += n;
    }
    if (at > from) fh_buf_add(out, p + from, at - from);
    fh_buf_add_byte(out, '"');
}

static void put_container(fh_json_writer *w, bool object) {
    if (!begin_value(w)) return;
    if (w->depth == FH_JSON_MAX_DEPTH) {
        w->out->status = FH_ERR_LIMIT;
        return;
    }
    set_bit(w->is_object, w->depth, object);
    set_bit(w->any, w->depth, false);
    w->depth++;
    fh_buf_add_byte(w->out, object ? '{' : '[');
}

void fh_json_put_object(fh_json_writer *w) { put_container(w, true); }
void fh_json_put_array(fh_json_writer *w) { put_container(w, false); }

void fh_json_put_end(fh_json_writer *w) {
    if (w->out->status != FH_OK) return;
    FH_REQUIRE(w->depth > 0 && !w->after_key);
    bool object = in_object(w);
    w->depth--;
    if (bit_of(w->any, w->depth)) new_line(w);
    fh_buf_add_byte(w->out, object ? '}' : ']');
}

void fh_json_put_key_str(fh_json_writer *w, fh_str key) {
    if (w->out->status != FH_OK) return;
    FH_REQUIRE(in_object(w) && !w->after_key);
    separate(w);
    put_quoted(w->out, key);
    fh_buf_add_z(w->out, w->pretty ? ": " : ":");
    w->after_key = true;
}

void fh_json_put_key(fh_json_writer *w, const char *key) { fh_json_put_key_str(w, fh_str_of(key)); }

void fh_json_put_str(fh_json_writer *w, fh_str s) {
    if (begin_value(w)) put_quoted(w->out, s);
}

void fh_json_put_z(fh_json_writer *w, const char *z) { fh_json_put_str(w, fh_str_of(z)); }

void fh_json_put_u64(fh_json_writer *w, uint64_t v) {
    if (begin_value(w)) fh_buf_printf(w->out, "%llu", (unsigned long long)v);
}

void fh_json_put_i64(fh_json_writer *w, int64_t v) {
    if (begin_value(w)) fh_buf_printf(w->out, "%lld", (long long)v);
}

void fh_json_put_f64(fh_json_writer *w, double v) {
    char text[FH_JSON_NUMBER_MAX];
    if (!isfinite(v)) {
        fh_json_put_null(w);
        return;
    }
    if (begin_value(w)) fh_buf_add(w->out, text, fh_json_number_text(v, text));
}

void fh_json_put_bool(fh_json_writer *w, bool v) {
    if (begin_value(w)) fh_buf_add_z(w->out, v ? "true" : "false");
}

void fh_json_put_null(fh_json_writer *w) {
    if (begin_value(w)) fh_buf_add_z(w->out, "null");
}

static void put_scalar(fh_json_writer *w, const fh_json_node *n) {
    if (n->kind == FH_JSON_STRING) {
        fh_json_put_str(w, n->text);
    } else if (n->kind == FH_JSON_TRUE || n->kind == FH_JSON_FALSE) {
        fh_json_put_bool(w, n->kind == FH_JSON_TRUE);
    } else if (n->kind == FH_JSON_NUMBER && !fh_str_ends(n->text, "y") && !fh_str_ends(n->text, "N")) {
        if (begin_value(w)) fh_buf_add_str(w->out, n->text);
    } else {
        fh_json_put_null(w); /* null itself, Infinity, NaN */
    }
}

void fh_json_put_tree(fh_json_writer *w, const fh_json_node *root) {
    const fh_json_node *open[FH_JSON_MAX_DEPTH]; /* containers not yet closed */
    int depth = 0;
    for (const fh_json_node *n = root; n < root + root->span; n++) {
        while (depth > 0 && n == open[depth - 1] + open[depth - 1]->span) {
            fh_json_put_end(w);
            depth--;
        }
        if (depth > 0 && open[depth - 1]->kind == FH_JSON_OBJECT) fh_json_put_key_str(w, n->key);
        if (n->kind != FH_JSON_OBJECT && n->kind != FH_JSON_ARRAY) {
            put_scalar(w, n);
            continue;
        }
        put_container(w, n->kind == FH_JSON_OBJECT);
        open[depth++] = n;
    }
    while (depth-- > 0) fh_json_put_end(w);
}
