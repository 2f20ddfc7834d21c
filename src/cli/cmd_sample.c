/* cli/cmd_sample.c - freehold sample: what a chain of samplers makes of a row of logits.
 * SPDX-License-Identifier: Apache-2.0
 * The case is JSON: "logits", and where wanted "previous" (tokens so far), "chain" (see infer/sampler.h) and "allowed"
 * (tokens; without it all). Without --seed the probabilities come out as one object; with it, tokens that were drawn,
 * each as the first of an answer of its own. */
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/text_part.h"
#include "infer/sampler.h"

#define MAX_CASE ((size_t)256 << 20)
#define MAX_DRAWS 10000000u

typedef struct sample_options {
    const char *input, *chain, *seed;
    uint64_t n;
} sample_options;

typedef struct sample_case {
    fh_json *doc;
    float *logits; /* [n_vocab] */
    size_t n_vocab, n_previous;
    uint32_t *allowed; /* (n_vocab + 31) / 32 words, or NULL */
    fh_sampler_steps steps;
    fh_sampler *sampler;
    fh_sampler_scratch *scratch;
} sample_case;

static void release(sample_case *c) {
    fh_sampler_free(c->sampler);
    fh_sampler_scratch_free(c->scratch);
    fh_sampler_steps_release(&c->steps);
    fh_free(c->logits);
    fh_free(c->allowed);
    fh_json_free(c->doc);
}

static fh_status read_case(sample_case *c, const char *path, fh_err *err) {
    /* as Python writes it, Infinity included */
    const fh_json_options opt = {.allow_nonfinite = true, .max_bytes = (size_t)2 << 30};
    fh_buf text;
    fh_buf_init(&text, MAX_CASE);
    fh_status s = strcmp(path, "-") == 0 ? fh_cli_read_all(&text, err) : fh_file_read(path, &text, err);
    if (s == FH_OK) s = fh_json_parse(&c->doc, fh_buf_str(&text), &opt, err);
    fh_buf_release(&text);
    return s;
}

static fh_status read_logits(sample_case *c, const fh_json_node *list, fh_err *err) {
    if (!fh_json_is(list, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "the case has no array 'logits'");
    c->n_vocab = list->n_child;
    c->logits = fh_alloc(c->n_vocab, sizeof *c->logits);
    if (!c->logits) return fh_fail_memory(err, c->n_vocab * sizeof *c->logits);
    size_t i = 0;
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        double x;
        if (!fh_json_to_f64(n, &x)) return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "logit %zu is no number", i);
        c->logits[i++] = (float)x;
    }
    return FH_OK;
}

static fh_status each_token(const sample_case *c, const fh_json_node *list, const char *what,
                            void use(const sample_case *c, uint32_t id), fh_err *err) {
    if (!fh_json_is(list, FH_JSON_ARRAY)) return fh_fail(err, FH_ERR_FORMAT, "'%s' is no array", what);
    for (const fh_json_node *n = fh_json_first(list); n; n = fh_json_after(list, n)) {
        uint64_t id;
        if (!fh_json_to_u64(n, &id) || id >= c->n_vocab)
            return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "a member of '%s' is none of the %zu tokens", what,
                              c->n_vocab);
        use(c, (uint32_t)id);
    }
    return FH_OK;
}

static void allow(const sample_case *c, uint32_t id) { c->allowed[id >> 5] |= (uint32_t)1 << (id & 31); }
static void accept(const sample_case *c, uint32_t id) { fh_sampler_accept(c->sampler, id); }

static fh_status set_up(sample_case *c, const sample_options *o, uint64_t seed, fh_err *err) {
    const fh_sampler_params defaults = fh_sampler_defaults();
    const fh_json_node *root = fh_json_root(c->doc), *chain = fh_json_get(root, "chain"),
                       *previous = fh_json_get(root, "previous"), *allowed = fh_json_get(root, "allowed");
    FH_TRY(read_logits(c, fh_json_get(root, "logits"), err));
    if (o->chain) FH_TRY(fh_sampler_steps_add_text(&c->steps, fh_str_of(o->chain), &defaults, err));
    else if (chain) FH_TRY(fh_sampler_steps_add_json(&c->steps, chain, &defaults, err));
    else FH_TRY(fh_sampler_steps_add_params(&c->steps, &defaults, err));
    const fh_sampler_config config = {
        .step = c->steps.ptr, .n_step = c->steps.len, .seed = seed, .n_context = previous ? previous->n_child : 0};
    FH_TRY(fh_sampler_new(&c->sampler, &config, err));
    FH_TRY(fh_sampler_scratch_new(&c->scratch, c->n_vocab, err));
    if (previous) FH_TRY(each_token(c, previous, "previous", accept, err));
    if (!allowed) return FH_OK;
    c->allowed = fh_alloc_zero((c->n_vocab + 31) / 32, sizeof *c->allowed);
    if (!c->allowed) return fh_fail_memory(err, c->n_vocab / 8);
    return each_token(c, allowed, "allowed", allow, err);
}

static fh_status put_probabilities(sample_case *c, fh_buf *out, fh_err *err) {
    const fh_candidate *list;
    size_t n;
    fh_json_writer w;
    FH_TRY(fh_sampler_probabilities(c->sampler, c->scratch, c->logits, c->n_vocab, c->allowed, &list, &n, err));
    fh_json_writer_init(&w, out, false);
    fh_json_put_object(&w);
    for (size_t i = 0; i < n; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", list[i].id);
        fh_json_put_key(&w, id);
        fh_json_put_f64(&w, list[i].value);
    }
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
    return fh_buf_check(out, err);
}

static fh_status put_draws(sample_case *c, uint64_t seed, uint64_t n, bool json, fh_buf *out, fh_err *err) {
    for (uint64_t i = 0; i < n; i++) {
        fh_pick pick;
        fh_sampler_seed(c->sampler, seed, i);
        FH_TRY(fh_sampler_pick(c->sampler, c->scratch, c->logits, c->n_vocab, c->allowed, &pick, err));
        fh_buf_printf(out, json ? "%s%u" : "%.0s%u\n", i > 0 ? "," : "[", pick.token);
    }
    if (json) fh_buf_add_z(out, n > 0 ? "]\n" : "[]\n");
    return fh_buf_check(out, err);
}

int fh_cmd_sample(fh_cli *cli) {
    sample_options o = {.n = 1};
    const fh_option options[] = {
        {"--input", FH_OPTION_TEXT, &o.input, "FILE", "the case, - for standard input (needed)"},
        {"--chain", FH_OPTION_TEXT, &o.chain, "TEXT",
         "steps such as \"top_k=40;temperature=0.7;dry:multiplier=0.8,base=1.75\" (default: the case's, or the usual)"},
        {"--seed", FH_OPTION_TEXT, &o.seed, "N", "draw with this seed (default: print probabilities)"},
        {"--n", FH_OPTION_U64, &o.n, "N", "how many to draw (default: 1)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    fh_err err = {0};
    fh_buf out;
    sample_case c = {0};
    uint64_t seed = 0;
    fh_status s = FH_OK;
    fh_buf_init(&out, (size_t)1 << 30);
    if (!o.input) s = fh_fail(&err, FH_ERR_USAGE, "sample: which case? `freehold sample --input CASE.json`");
    else if (o.seed && !fh_str_u64(fh_str_of(o.seed), &seed))
        s = fh_fail(&err, FH_ERR_USAGE, "sample: --seed wants a whole number, not '%s'", o.seed);
    else if (o.n > MAX_DRAWS) s = fh_fail(&err, FH_ERR_USAGE, "sample: --n is at most %u", MAX_DRAWS);
    if (s == FH_OK) s = read_case(&c, o.input, &err);
    if (s == FH_OK) s = set_up(&c, &o, seed, &err);
    if (s == FH_OK) s = o.seed ? put_draws(&c, seed, o.n, cli->json, &out, &err) : put_probabilities(&c, &out, &err);
    if (s == FH_OK) rc = fh_cli_print(cli, &out);
    else if (o.input && err.path[0] == '\0' && c.doc) fh_err_set_path(&err, o.input);
    release(&c);
    fh_buf_release(&out);
    return s == FH_OK ? rc : fh_cli_fail(cli, &err);
}
