/* cli/cmd_tokenize.c - freehold tokenize: what a text is to a model.
 * SPDX-License-Identifier: Apache-2.0
 * Text comes from standard input. Plain: ids on one line. --pieces: a line for each token. --batch: a JSON string a
 * line in, a JSON array of ids a line out, in the same order. */
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "cli/text_part.h"
#include "library/open_tokenizer.h"

typedef struct tokenize_options {
    bool ids, pieces, no_special, parse_special, batch;
    const char *pattern;
} tokenize_options;

typedef struct tokenizing {
    fh_cli *cli;
    const tokenize_options *o;
    fh_tokenizer *t;
    fh_tokenizer_scratch *scratch;
    fh_ids ids;
    fh_buf out;
} tokenizing;

#define ID_BYTES 11u /* digits of an id and a separator */

static size_t write_id(uint8_t *to, uint32_t id) {
    uint8_t digits[10];
    size_t n = sizeof digits;
    do digits[--n] = (uint8_t)('0' + id % 10);
    while ((id /= 10) != 0);
    memcpy(to, digits + n, sizeof digits - n);
    return sizeof digits - n;
}

static void put_id(fh_buf *out, uint32_t id) {
    uint8_t text[ID_BYTES];
    fh_buf_add(out, text, write_id(text, id));
}

static void put_ids(fh_buf *out, const fh_ids *ids, char separator) {
    uint8_t *to = ids->len > 0 ? fh_buf_extend(out, ids->len * ID_BYTES) : NULL;
    size_t n = 0;
    if (!to) return;
    for (size_t i = 0; i < ids->len; i++) {
        if (i > 0) to[n++] = (uint8_t)separator;
        n += write_id(to + n, ids->ptr[i]);
    }
    out->len -= ids->len * ID_BYTES - n;
}

static void put_array(fh_buf *out, const fh_ids *ids) {
    fh_buf_add_byte(out, '[');
    put_ids(out, ids, ',');
    fh_buf_add_z(out, "]\n");
}

/* id, a tab, the piece as a JSON string */
static void put_pieces(fh_buf *out, const fh_tokenizer *t, const fh_ids *ids) {
    fh_json_writer w;
    for (size_t i = 0; i < ids->len; i++) {
        put_id(out, ids->ptr[i]);
        fh_buf_add_byte(out, '\t');
        fh_json_writer_init(&w, out, false);
        fh_json_put_str(&w, fh_vocab_piece(fh_tokenizer_vocab(t), ids->ptr[i]));
        fh_buf_add_byte(out, '\n');
    }
}

static void put_objects(fh_buf *out, const fh_tokenizer *t, const fh_ids *ids) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, false);
    fh_json_put_array(&w);
    for (size_t i = 0; i < ids->len; i++) {
        fh_json_put_object(&w);
        fh_json_put_key(&w, "id");
        fh_json_put_u64(&w, ids->ptr[i]);
        fh_json_put_key(&w, "piece");
        fh_json_put_str(&w, fh_vocab_piece(fh_tokenizer_vocab(t), ids->ptr[i]));
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

static void put_line(fh_buf *out, const fh_ids *ids) {
    put_ids(out, ids, ' ');
    fh_buf_add_byte(out, '\n');
}

static fh_status encode(tokenizing *z, fh_str text, fh_err *err) {
    fh_encode_options opt = {.add_special = !z->o->no_special, .parse_special = z->o->parse_special};
    fh_ids_clear(&z->ids);
    return fh_tokenizer_encode(z->t, z->scratch, text, &opt, &z->ids, err);
}

static fh_status tokenize_line(void *ctx, fh_str line, fh_buf *out, fh_err *err) {
    tokenizing *z = ctx;
    fh_json *doc = NULL;
    fh_str text;
    FH_TRY(fh_json_parse(&doc, line, NULL, err));
    fh_status s = fh_json_to_str(fh_json_root(doc), &text) ? encode(z, text, err)
                                                           : fh_fail(err, FH_ERR_FORMAT, "the line is no JSON string");
    fh_json_free(doc);
    if (s == FH_OK) put_array(out, &z->ids);
    return s;
}

static fh_status tokenize_all(tokenizing *z, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, FH_CLI_TEXT_MOST);
    fh_status s = fh_cli_read_all(&text, err);
    if (s == FH_OK) s = encode(z, fh_buf_str(&text), err);
    if (s == FH_OK) {
        if (z->cli->json && z->o->pieces) put_objects(&z->out, z->t, &z->ids);
        else if (z->o->pieces) put_pieces(&z->out, z->t, &z->ids);
        else if (z->cli->json) put_array(&z->out, &z->ids);
        else put_line(&z->out, &z->ids);
        s = fh_buf_check(&z->out, err);
    }
    fh_buf_release(&text);
    if (s == FH_OK) fh_cli_print(z->cli, &z->out);
    return s;
}

int fh_cmd_tokenize(fh_cli *cli) {
    const char *model = NULL;
    tokenize_options o = {0};
    const fh_option options[] = {
        {"--ids", FH_OPTION_FLAG, &o.ids, NULL, "ids on one line (default)"},
        {"--pieces", FH_OPTION_FLAG, &o.pieces, NULL, "one token a line, with its piece (default: ids)"},
        {"--no-special", FH_OPTION_FLAG, &o.no_special, NULL,
         "add no tokens around the text (default: as the model wants)"},
        {"--parse-special", FH_OPTION_FLAG, &o.parse_special, NULL,
         "special tokens spelled in the text become themselves (default: they are text)"},
        {"--pattern", FH_OPTION_TEXT, &o.pattern, "REGEX",
         "how text is cut, for rank files (default: known by its size)"},
        {"--batch", FH_OPTION_FLAG, &o.batch, NULL,
         "a JSON string a line in, an array a line out (default: all of stdin)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    tokenizing z = {.cli = cli, .o = &o};
    fh_ids_init(&z.ids, FH_CLI_TEXT_MOST);
    fh_buf_init(&z.out, SIZE_MAX / 2);
    fh_status s = fh_tokenizer_open(&z.t, model, fh_str_of(o.pattern), &err);
    if (s == FH_OK) fh_cli_say_notes(cli, z.t);
    if (s == FH_OK) s = fh_tokenizer_scratch_new(&z.scratch, z.t, &err);
    if (s == FH_OK) s = o.batch ? fh_cli_each_line(cli, tokenize_line, &z, &err) : tokenize_all(&z, &err);
    fh_tokenizer_scratch_free(z.scratch);
    fh_tokenizer_free(z.t);
    fh_ids_release(&z.ids);
    fh_buf_release(&z.out);
    return s == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
