/* cli/cmd_detokenize.c - freehold detokenize: what a model's tokens say.
 * SPDX-License-Identifier: Apache-2.0
 * Ids come from standard input, as numbers with spaces or commas between them, with or without brackets. --batch: a
 * JSON array a line in, a JSON string a line out. Special tokens are kept, nothing is cleaned up. */
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "cli/text_part.h"
#include "library/open_tokenizer.h"

typedef struct detokenizing {
    fh_cli *cli;
    fh_tokenizer *t;
    fh_ids ids;
    fh_buf text, json;
} detokenizing;

static fh_status add_id(detokenizing *z, uint64_t id, fh_err *err) {
    if (id >= fh_tokenizer_vocab(z->t)->n_id)
        return fh_fail(err, FH_ERR_USAGE, "%llu is no token: the vocabulary ends at %u", (unsigned long long)id,
                       fh_tokenizer_vocab(z->t)->n_id - 1);
    fh_ids_add(&z->ids, (uint32_t)id);
    return fh_ids_check(&z->ids, err);
}

static fh_status decode(detokenizing *z, fh_err *err) {
    fh_buf_clear(&z->text);
    return fh_tokenizer_decode(z->t, z->ids.ptr, z->ids.len, false, &z->text, err);
}

static fh_status read_array(detokenizing *z, const fh_json_node *root, fh_err *err) {
    if (!fh_json_is(root, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "the line is no JSON array");
    fh_ids_clear(&z->ids);
    for (const fh_json_node *c = fh_json_first(root); c; c = fh_json_after(root, c)) {
        uint64_t id;
        if (!fh_json_to_u64(c, &id))
            return fh_fail(err, FH_ERR_FORMAT, "the array holds something that is no token id");
        FH_TRY(add_id(z, id, err));
    }
    return FH_OK;
}

/* Line ends that JSON allows inside a string, but that split a line for some readers: U+0085, U+2028, U+2029. */
static void put_escaped(fh_buf *out, fh_str json) {
    for (size_t i = 0; i < json.len; i++) {
        fh_str rest = fh_str_drop(json, i);
        bool next_line = fh_str_starts(rest, "\xC2\x85");
        if (next_line || fh_str_starts(rest, "\xE2\x80\xA8") || fh_str_starts(rest, "\xE2\x80\xA9")) {
            fh_buf_add_z(out, next_line ? "\\u0085" : rest.ptr[2] == '\xA8' ? "\\u2028" : "\\u2029");
            i += next_line ? 1 : 2;
        } else {
            fh_buf_add_byte(out, (uint8_t)json.ptr[i]);
        }
    }
}

static fh_status detokenize_line(void *ctx, fh_str line, fh_buf *out, fh_err *err) {
    detokenizing *z = ctx;
    fh_json *doc = NULL;
    fh_json_writer w;
    fh_json_options opt = {.max_bytes = ((size_t)1 << 20) + 64 * line.len};
    FH_TRY(fh_json_parse(&doc, line, &opt, err));
    fh_status s = read_array(z, fh_json_root(doc), err);
    fh_json_free(doc);
    if (s == FH_OK) s = decode(z, err);
    if (s != FH_OK) return s;
    fh_buf_clear(&z->json);
    fh_json_writer_init(&w, &z->json, false);
    fh_json_put_str(&w, fh_buf_str(&z->text));
    FH_TRY(fh_buf_check(&z->json, err));
    put_escaped(out, fh_buf_str(&z->json));
    fh_buf_add_byte(out, '\n');
    return FH_OK;
}

static fh_status read_numbers(detokenizing *z, fh_str text, fh_err *err) {
    for (size_t i = 0; i < text.len;) {
        size_t end = i;
        uint64_t id;
        if (strchr(" \t\r\n,[]", text.ptr[i]) && text.ptr[i]) {
            i++;
            continue;
        }
        while (end < text.len && text.ptr[end] >= '0' && text.ptr[end] <= '9') end++;
        if (!fh_str_u64((fh_str){text.ptr + i, end - i}, &id))
            return fh_fail(err, FH_ERR_FORMAT, "byte %zu of the input starts no token id", i);
        FH_TRY(add_id(z, id, err));
        i = end;
    }
    return FH_OK;
}

static fh_status detokenize_all(detokenizing *z, fh_err *err) {
    fh_buf text, out;
    fh_buf_init(&text, FH_CLI_TEXT_MOST);
    fh_buf_init(&out, SIZE_MAX / 2);
    fh_status s = fh_cli_read_all(&text, err);
    if (s == FH_OK) s = read_numbers(z, fh_buf_str(&text), err);
    if (s == FH_OK) s = decode(z, err);
    if (s == FH_OK && z->cli->json) {
        fh_json_writer w;
        fh_json_writer_init(&w, &out, false);
        fh_json_put_str(&w, fh_buf_str(&z->text));
        fh_buf_add_byte(&out, '\n');
        s = fh_buf_check(&out, err);
    } else if (s == FH_OK) {
        fh_buf_add_str(&out, fh_buf_str(&z->text));
        s = fh_buf_check(&out, err);
    }
    if (s == FH_OK) fh_cli_print(z->cli, &out);
    fh_buf_release(&text);
    fh_buf_release(&out);
    return s;
}

int fh_cmd_detokenize(fh_cli *cli) {
    const char *model = NULL;
    bool batch = false;
    const char *pattern = NULL;
    const fh_option options[] = {
        {"--batch", FH_OPTION_FLAG, &batch, NULL,
         "a JSON array a line in, a string a line out (default: all of stdin)"},
        {"--pattern", FH_OPTION_TEXT, &pattern, "REGEX", "as for tokenize; makes no difference here (default: none)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), &model, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    detokenizing z = {.cli = cli};
    fh_ids_init(&z.ids, FH_CLI_TEXT_MOST);
    fh_buf_init(&z.text, SIZE_MAX / 2);
    fh_buf_init(&z.json, SIZE_MAX / 2);
    /* any pattern will do: none is used on the way back */
    fh_status s = fh_tokenizer_open(&z.t, model, fh_str_of(pattern), &err);
    if (s == FH_OK) s = batch ? fh_cli_each_line(cli, detokenize_line, &z, &err) : detokenize_all(&z, &err);
    fh_tokenizer_free(z.t);
    fh_ids_release(&z.ids);
    fh_buf_release(&z.text);
    fh_buf_release(&z.json);
    return s == FH_OK ? 0 : fh_cli_fail(cli, &err);
}
