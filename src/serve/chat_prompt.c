/* serve/chat_prompt.c - messages and tools to a prompt, a prompt to tokens.
 * SPDX-License-Identifier: Apache-2.0
 * T23: what messages spell never becomes a control token. Where the request's texts spell one, it is put between two
 * noncharacters before the template sees it; in the prompt what stands between such a pair becomes plain text, and
 * the rest, which the template wrote, with control tokens. A template that lets the pair come apart or escapes it gets
 * no answer rather than a doubtful one. */
#include "base/clock.h"
#include "base/num.h"
#include "format/vocab.h"
#include "serve/chat.h"

#define OPEN "\xEF\xB7\x90"  /* U+FDD0 */
#define CLOSE "\xEF\xB7\x91" /* U+FDD1 */
#define MARK_BYTES 3u
#define RENDER_MS 1000

/* ---- control tokens that a text spells ---- */

/* Spellings of control tokens, as they stand in JSON text, sorted into lists by first byte. */
typedef struct spellings {
    fh_arena arena;
    fh_str *piece;       /* [n] */
    uint32_t *next;      /* [n], 0 ends */
    uint32_t first[256]; /* index + 1 */
    uint32_t n;
} spellings;

static fh_status json_text_of(fh_arena *a, fh_str s, fh_str *out, fh_err *err) {
    fh_buf b;
    fh_json_writer w;
    fh_buf_init(&b, 8 * (size_t)FH_VOCAB_MAX_PIECE);
    fh_json_writer_init(&w, &b, false);
    fh_json_put_str(&w, s);
    bool ok = fh_buf_check(&b, NULL) == FH_OK && b.len >= 2 &&
              fh_arena_copy(a, (fh_str){(const char *)b.ptr + 1, b.len - 2}, out);
    fh_buf_release(&b);
    return ok ? FH_OK : fh_fail_memory(err, s.len);
}

static fh_status list_spellings(spellings *sp, const fh_tokenizer *t, fh_err *err) {
    const fh_vocab *v = fh_tokenizer_vocab(t);
    *sp = (spellings){.n = 0};
    fh_arena_init(&sp->arena, (size_t)64 << 20);
    sp->piece = fh_arena_alloc(&sp->arena, v->n_added + 1, sizeof *sp->piece);
    sp->next = fh_arena_alloc(&sp->arena, v->n_added + 1, sizeof *sp->next);
    if (!sp->piece || !sp->next) return fh_arena_fail(&sp->arena, err);
    for (uint32_t i = 0; i < v->n_added; i++) {
        fh_str text = fh_vocab_piece(v, v->added[i].id);
        if (text.len < 2 || !fh_tokenizer_is_control(t, v->added[i].id)) continue;
        FH_TRY(json_text_of(&sp->arena, text, &sp->piece[sp->n], err));
        uint8_t c = (uint8_t)sp->piece[sp->n].ptr[0];
        sp->next[sp->n] = sp->first[c];
        sp->first[c] = ++sp->n;
    }
    return FH_OK;
}

/* Bytes of the longest control token that is spelled here; 0: none. */
static size_t spelled_at(const spellings *sp, fh_str s, size_t at) {
    size_t best = 0;
    for (uint32_t k = sp->first[(uint8_t)s.ptr[at]]; k; k = sp->next[k - 1]) {
        fh_str p = sp->piece[k - 1];
        if (p.len > best && p.len <= s.len - at && memcmp(p.ptr, s.ptr + at, p.len) == 0) best = p.len;
    }
    return best;
}

/* The text with marks; *n of them. Marks that are there already go, so that pairs are ours. */
static fh_status mark_text(const spellings *sp, fh_str in, fh_buf *out, size_t *n, fh_err *err) {
    for (size_t i = 0; i < in.len;) {
        size_t len = spelled_at(sp, in, i);
        if (len) {
            fh_buf_add_z(out, OPEN);
            fh_buf_add(out, in.ptr + i, len);
            fh_buf_add_z(out, CLOSE);
            i += len;
            (*n)++;
        } else if (in.len - i >= MARK_BYTES && in.ptr[i] == OPEN[0] &&
                   (memcmp(in.ptr + i, OPEN, MARK_BYTES) == 0 || memcmp(in.ptr + i, CLOSE, MARK_BYTES) == 0)) {
            i += MARK_BYTES;
        } else {
            fh_buf_add_byte(out, (uint8_t)in.ptr[i++]);
        }
    }
    return fh_buf_check(out, err);
}

/* ---- rendering ---- */

static size_t think_args(const fh_ask *a, fh_template_arg *arg) {
    size_t n = 0;
    if (a->think == FH_ASK_THINK_AS_IS) return 0;
    bool yes = a->think != FH_ASK_THINK_NO;
    arg[n++] = (fh_template_arg){.name = FH_STR("enable_thinking"), .truth = yes};
    arg[n++] = (fh_template_arg){.name = FH_STR("thinking"), .truth = yes};
    if (a->think == FH_ASK_THINK_LEVEL)
        arg[n++] = (fh_template_arg){.name = FH_STR("reasoning_effort"), .text = a->level};
    return n;
}

static fh_status parse_marked(const spellings *sp, const fh_buf *in, fh_json **out, size_t *n_mark, fh_err *err) {
    fh_buf marked;
    fh_buf_init(&marked, 3 * FH_ASK_TEXT_MOST);
    fh_status s = mark_text(sp, fh_buf_str(in), &marked, n_mark, err);
    if (s == FH_OK) s = fh_json_parse(out, fh_buf_str(&marked), NULL, err);
    fh_buf_release(&marked);
    return s;
}

/* Without a template: the system's text and the last message, as they are. */
static void plain_prompt(const fh_json_node *messages, fh_buf *out) {
    fh_str role, content = {"", 0};
    for (const fh_json_node *m = fh_json_first(messages); m; m = fh_json_after(messages, m)) {
        bool last = !fh_json_after(messages, m);
        if (!fh_json_to_str(fh_json_get(m, "content"), &content)) content = FH_STR("");
        if (last) fh_buf_add_str(out, content);
        else if (fh_json_to_str(fh_json_get(m, "role"), &role) && fh_str_is(role, "system")) {
            fh_buf_add_str(out, content);
            fh_buf_add_z(out, "\n\n");
        }
    }
}

static fh_status render(fh_ask *a, const fh_json_node *messages, const fh_json_node *tools, fh_buf *out, fh_err *err) {
    fh_template_now now;
    fh_template_arg more[3];
    const fh_template_budget budget = {.time_ms = RENDER_MS};
    const fh_resident *r = a->r;
    if (!r->template || a->no_template) {
        if (tools && a->tool_choice != FH_CALL_NONE)
            return fh_fail(err, FH_ERR_USAGE, "'%s' has no chat template, so it can be offered no tools", r->name);
        plain_prompt(messages, out);
        return fh_buf_check(out, err);
    }
    fh_template_now_local((int64_t)(fh_clock_unix_ms() / 1000), &now);
    fh_template_chat chat = {.messages = messages,
                             .tools = tools,
                             .kwargs = a->kwargs,
                             .bos_token = r->bos_token,
                             .eos_token = r->eos_token,
                             .add_generation_prompt = !a->continue_last,
                             .continue_final_message = a->continue_last,
                             .more = more,
                             .now = &now,
                             .budget = &budget};
    if (!r->bos_token.len) chat.bos_token = (fh_str){NULL, 0};
    if (!r->eos_token.len) chat.eos_token = (fh_str){NULL, 0};
    chat.n_more = think_args(a, more);
    fh_status s = fh_template_render_chat(r->template, &chat, out, err);
    /* a template that raises an exception refuses the conversation: the client's to mend */
    if (s != FH_OK && s != FH_ERR_MEMORY && err) err->status = FH_ERR_USAGE;
    return s;
}

/* ---- tokens ---- */

static const char *find(const char *from, const char *end, const char *what, size_t n) {
    return memmem(from, (size_t)(end - from), what, n);
}

/* Prompt with pairs of marks: between them plain text. */
static fh_status encode_marked(fh_ask *a, fh_tokenizer_scratch *x, fh_str text, size_t n_mark, fh_err *err) {
    const fh_encode_options own = {.parse_special = true}, plain = {.parse_special = false};
    const char *p = text.ptr, *end = text.ptr + text.len;
    if (n_mark && (find(p, end, "\\ufdd0", 6) || find(p, end, "\\uFDD0", 6)))
        return fh_fail(err, FH_ERR_USAGE,
                       "a message spells special tokens, and the template changes it so that they "
                       "could not be told from the template's own");
    while (n_mark && p < end) {
        const char *open = find(p, end, OPEN, MARK_BYTES);
        if (!open) break;
        const char *close = find(open, end, CLOSE, MARK_BYTES), *again = find(open + MARK_BYTES, end, OPEN, MARK_BYTES);
        if (!close || (again && again < close))
            return fh_fail(err, FH_ERR_USAGE, "a message spells special tokens, and the template takes it apart");
        fh_str before = {p, (size_t)(open - p)};
        fh_str inner = {open + MARK_BYTES, (size_t)(close - open) - MARK_BYTES};
        FH_TRY(fh_tokenizer_encode(a->r->tokenizer, x, before, &own, &a->tokens, err));
        FH_TRY(fh_tokenizer_encode(a->r->tokenizer, x, inner, &plain, &a->tokens, err));
        p = close + MARK_BYTES;
    }
    return fh_tokenizer_encode(a->r->tokenizer, x, (fh_str){p, (size_t)(end - p)}, &own, &a->tokens, err);
}

static void drop_marks(fh_buf *b) {
    size_t n = 0;
    for (size_t i = 0; i < b->len;) {
        if (b->len - i >= MARK_BYTES &&
            (memcmp(b->ptr + i, OPEN, MARK_BYTES) == 0 || memcmp(b->ptr + i, CLOSE, MARK_BYTES) == 0)) {
            i += MARK_BYTES;
            continue;
        }
        b->ptr[n++] = b->ptr[i++];
    }
    b->len = n;
}

static fh_status chat_prompt(fh_ask *a, fh_tokenizer_scratch *x, fh_buf *text, fh_err *err) {
    spellings sp;
    fh_json *messages = NULL, *tools = NULL;
    size_t n_mark = 0;
    fh_status s = list_spellings(&sp, a->r->tokenizer, err);
    if (s == FH_OK) s = parse_marked(&sp, &a->messages, &messages, &n_mark, err);
    if (s == FH_OK && a->tools.len && a->tool_choice != FH_CALL_NONE)
        s = parse_marked(&sp, &a->tools, &tools, &n_mark, err);
    if (s == FH_OK) s = render(a, fh_json_root(messages), tools ? fh_json_root(tools) : NULL, text, err);
    if (s == FH_OK && a->r->template && !a->no_template) {
        s = encode_marked(a, x, fh_buf_str(text), n_mark, err);
        if (n_mark) drop_marks(text);
    } else if (s == FH_OK) {
        const fh_encode_options opt = {.add_special = true};
        if (n_mark) drop_marks(text);
        s = fh_tokenizer_encode(a->r->tokenizer, x, fh_buf_str(text), &opt, &a->tokens, err);
    }
    fh_json_free(tools);
    fh_json_free(messages);
    fh_arena_release(&sp.arena);
    return s;
}

static fh_status add_special(fh_ask *a, fh_vocab_special which, fh_err *err) {
    uint32_t id = fh_tokenizer_special(a->r->tokenizer, which);
    if (id == FH_VOCAB_NO_ID)
        return fh_fail(err, FH_ERR_USAGE, "'%s' has no tokens to fill in between two texts", a->r->name);
    fh_ids_add(&a->tokens, id);
    return FH_OK;
}

/* What stands before, what stands behind, and the model writes what is between. */
static fh_status infill_prompt(fh_ask *a, fh_tokenizer_scratch *x, fh_err *err) {
    const fh_encode_options plain = {.parse_special = false};
    const fh_tokenizer *t = a->r->tokenizer;
    uint32_t bos = fh_tokenizer_special(t, FH_SPECIAL_BOS);
    if (bos != FH_VOCAB_NO_ID && fh_tokenizer_vocab(t)->add_bos == FH_TRI_YES) fh_ids_add(&a->tokens, bos);
    FH_TRY(add_special(a, FH_SPECIAL_FIM_PREFIX, err));
    FH_TRY(fh_tokenizer_encode(t, x, a->prefix, &plain, &a->tokens, err));
    FH_TRY(add_special(a, FH_SPECIAL_FIM_SUFFIX, err));
    FH_TRY(fh_tokenizer_encode(t, x, a->suffix, &plain, &a->tokens, err));
    FH_TRY(add_special(a, FH_SPECIAL_FIM_MIDDLE, err));
    return fh_tokenizer_encode(t, x, a->prompt, &plain, &a->tokens, err);
}

static fh_status encode_prompt(fh_ask *a, fh_buf *text, fh_err *err) {
    const fh_encode_options opt = {.add_special = a->ids.len == 0, .parse_special = !a->plain_special};
    fh_tokenizer_scratch *x = NULL;
    FH_TRY(fh_tokenizer_scratch_new(&x, a->r->tokenizer, err));
    fh_status s;
    if (a->infill) s = infill_prompt(a, x, err);
    else if (a->kind == FH_ASK_CHAT) s = chat_prompt(a, x, text, err);
    else {
        fh_buf_add_str(text, a->prompt);
        s = fh_tokenizer_encode(a->r->tokenizer, x, a->prompt, &opt, &a->tokens, err);
    }
    fh_tokenizer_scratch_free(x);
    return s;
}

/* A level bounds the reasoning of models whose template does not know levels. */
static void bound_by_level(fh_ask *a) {
    static const struct {
        const char *level;
        uint32_t most;
    } row[] = {{"low", 1024}, {"medium", 4096}};
    fh_str t = a->r->facts.template_text;
    if (a->think != FH_ASK_THINK_LEVEL || a->think_most_set) return;
    if (t.len && memmem(t.ptr, t.len, "reasoning_effort", 16)) return;
    for (size_t i = 0; i < FH_COUNT(row); i++)
        if (fh_str_is(a->level, row[i].level)) {
            a->think_most_set = true;
            a->think_most = row[i].most;
        }
}

/* The tokens that end the reasoning, and with no budget at all their place in a prompt that opens it. */
static fh_status bound_reasoning(fh_ask *a, fh_buf *text, fh_err *err) {
    const fh_encode_options own = {.parse_special = true};
    fh_tokenizer_scratch *x = NULL;
    fh_buf end;
    bound_by_level(a);
    if (!a->think_most_set) return FH_OK;
    fh_buf_init(&end, 4096);
    fh_markup_put_think_end(&a->r->markup.markup, &end);
    fh_status s = fh_buf_check(&end, err);
    if (s == FH_OK) s = fh_tokenizer_scratch_new(&x, a->r->tokenizer, err);
    fh_ids_clear(&a->think_end);
    if (s == FH_OK) s = fh_tokenizer_encode(a->r->tokenizer, x, fh_buf_str(&end), &own, &a->think_end, err);
    if (s == FH_OK && a->think_most == 0 && a->start == FH_START_REASONING) {
        fh_ids_add_all(&a->tokens, a->think_end.ptr, a->think_end.len);
        fh_buf_add_str(text, fh_buf_str(&end));
        s = fh_ids_check(&a->tokens, err);
        a->n_prompt = (uint32_t)a->tokens.len;
        a->start = FH_START_TEXT;
    }
    fh_tokenizer_scratch_free(x);
    fh_buf_release(&end);
    return s;
}

fh_status fh_ask_make_prompt(fh_ask *a, fh_buf *text, fh_err *err) {
    bool has_text = a->kind == FH_ASK_CHAT || a->infill || a->prompt.len || !a->ids.len;
    fh_ids_add_all(&a->tokens, a->ids.ptr, a->ids.len);
    if (has_text && !a->r->tokenizer)
        return fh_fail(err, FH_ERR_USAGE, "'%s' has no tokenizer: it takes token ids only", a->r->name);
    if (has_text) FH_TRY(encode_prompt(a, text, err));
    FH_TRY(fh_ids_check(&a->tokens, err));
    size_t n_vocab = a->r->tokenizer ? fh_tokenizer_vocab(a->r->tokenizer)->n_id : SIZE_MAX;
    for (size_t i = 0; i < a->ids.len; i++)
        if (a->ids.ptr[i] >= n_vocab)
            return fh_fail(err, FH_ERR_USAGE, "token %u is not in the vocabulary", a->ids.ptr[i]);
    a->n_prompt = (uint32_t)a->tokens.len;
    if (a->kind != FH_ASK_CHAT || !a->r->has_markup || a->no_template) return FH_OK;
    a->start = fh_markup_start_after(&a->r->markup.markup, fh_buf_str(text));
    return bound_reasoning(a, text, err);
}
