/* cli/chat.c - what a conversation needs of a model: tokenizer, template, markup, ends, the publisher's numbers.
 * SPDX-License-Identifier: Apache-2.0
 * What was chosen for the user (a built-in template, none at all) is said on standard error. */
#include "cli/chat.h"

#include "base/num.h"
#include "cli/text_part.h"
#include "library/model_text.h"
#include "library/open_tokenizer.h"
#include "text/schema.h"

static fh_status find_template(fh_chat *c, fh_err *err) {
    fh_template_choice pick;
    FH_TRY(fh_template_choose_with(&pick, &c->facts, c->tokenizer, err));
    c->template = pick.template;
    if (!c->template)
        fprintf(c->cli->err, "freehold: note: the model carries no chat template: texts are continued as they are\n");
    if (pick.builtin)
        fprintf(c->cli->err,
                "freehold: note: the model carries no chat template; using the built-in '%s', because %s\n",
                pick.builtin->name, pick.why);
    return FH_OK;
}

static fh_status open_text(fh_chat *c, const char *model, bool required, fh_err *err) {
    fh_status s = fh_tokenizer_open(&c->tokenizer, model, (fh_str){NULL, 0}, err);
    if (s != FH_OK) return required || s == FH_ERR_MEMORY ? s : FH_OK;
    FH_TRY(fh_tokenizer_scratch_new(&c->scratch, c->tokenizer, err));
    if (!required) return FH_OK;
    fh_cli_say_notes(c->cli, c->tokenizer);
    FH_TRY(fh_facts_gather(&c->facts, fh_model_bundle(c->x.model), &c->x.at, err));
    if (c->set->raw || fh_model_plan(c->x.model, FH_PLAN_ENCODE)) return FH_OK;
    FH_TRY(find_template(c, err));
    if (!c->template) return FH_OK;
    FH_TRY(fh_markup_probe(&c->markup, c->template, fh_tokenizer_special_text(c->tokenizer, FH_SPECIAL_BOS),
                           fh_tokenizer_special_text(c->tokenizer, FH_SPECIAL_EOS), err));
    c->has_markup = true;
    return FH_OK;
}

static fh_status open_all(fh_chat *c, const char *model, bool with_text, fh_err *err) {
    FH_TRY(fh_opened_load(&c->x, c->cli, model, &c->set->model, err));
    if (fh_model_plan(c->x.model, FH_PLAN_STEP)->exported[FH_EXPORT_LOGITS] == FH_NO_VALUE)
        return fh_fail(err, FH_ERR_UNSUPPORTED,
                       "'%.200s' is no model that writes text: try `freehold embed`, or `freehold rerank`",
                       c->x.at.name);
    FH_TRY(fh_model_generation_config(&c->gen, c->x.model, err));
    FH_TRY(open_text(c, model, with_text, err));
    FH_TRY(fh_model_end_ids(&c->end_ids, c->x.model, c->tokenizer, &c->gen, err));
    FH_TRY(fh_opened_start(&c->x, &c->set->model, 1, false, err));
    FH_TRY(fh_sampler_scratch_new(&c->pick, fh_engine_width(c->x.engine, FH_EXPORT_LOGITS), err));
    return fh_opened_session(&c->session, &c->x, &c->set->model, err);
}

fh_status fh_chat_open(fh_chat *c, const fh_cli *cli, fh_chat_settings *set, const char *model, bool with_text,
                       fh_err *err) {
    *c = (fh_chat){.cli = cli, .set = set, .stop = c->stop};
    fh_ids_init(&c->end_ids, FH_VOCAB_MAX_ID);
    fh_status s = open_all(c, model, with_text, err);
    if (s != FH_OK) fh_chat_close(c);
    return s;
}

void fh_chat_close(fh_chat *c) {
    fh_chat_cut(c, 0);
    fh_free(c->message);
    fh_constrain_vocab_free(c->pieces);
    fh_ids_release(&c->end_ids);
    fh_sampler_scratch_free(c->pick);
    fh_session_free(c->session);
    if (c->has_markup) fh_markup_found_release(&c->markup);
    fh_template_free(c->template);
    fh_facts_release(&c->facts);
    fh_tokenizer_scratch_free(c->scratch);
    fh_tokenizer_free(c->tokenizer);
    fh_opened_close(&c->x);
    *c = (fh_chat){.cli = c->cli, .set = c->set, .stop = c->stop};
}

fh_status fh_chat_make_pieces(fh_chat *c, fh_err *err) {
    if (c->pieces) return FH_OK;
    return fh_constrain_vocab_new(&c->pieces, c->tokenizer, c->end_ids.ptr, c->end_ids.len, err);
}

fh_status fh_chat_make_grammar(fh_grammar **out, fh_str format, fh_err *err) {
    fh_json *doc = NULL;
    if (fh_str_is(format, "json")) return fh_grammar_from_json(out, NULL, err);
    FH_TRY(fh_json_parse(&doc, format, NULL, err));
    fh_status s = fh_grammar_from_schema(out, fh_json_root(doc), NULL, err);
    fh_json_free(doc);
    return s;
}
