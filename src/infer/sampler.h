/* infer/sampler.h - from a row of logits to a token: a chain of steps, a draw, and what the draw needs to remember.
 * SPDX-License-Identifier: Apache-2.0
 * A chain is data: steps in any order, each a kind and its numbers. What users set (fh_sampler_params) becomes a chain,
 * and so do a text ("top_k=40;temperature=0.7") and JSON. A *sampler* is a chain with the state of one session: the
 * last tokens, random numbers, mirostat's mu. One thread at a time; scratch is one for each thread that picks.
 *
 * Promised: the same logits, chain, accepted tokens, seed and choice give the same token on every machine. Numbers are
 * IEEE doubles in a fixed order, exp and log are our own (sampler_math.c), the C library decides nothing; ties go to
 * the larger logit, then the lower id. Temperature 0 is the argmax, lowest id on ties, after bias, penalties and mask.
 * Each pick takes one random number, each xtc step that is on takes one more, whatever the logits are.
 *
 * Logits may be -inf (never picked). NaN and +inf among the allowed tokens are an error that names the token. Tokens
 * outside a mask are no candidates at all: the steps do not see them. */
#ifndef FH_INFER_SAMPLER_H
#define FH_INFER_SAMPLER_H

#include "base/json.h"
#include "base/rng.h"

/* ---- chains ---- */

typedef enum fh_sampler_kind {
    FH_STEP_LOGIT_BIAS,  /* token, bias: added; -inf forbids the token */
    FH_STEP_PENALTIES,   /* last_n, repeat, frequency, presence; over the last n tokens, -1 = the whole context */
    FH_STEP_DRY,         /* multiplier, base, allowed_length, last_n: against continuing what was said before */
    FH_STEP_TOP_N_SIGMA, /* n: logits within n standard deviations of the largest; <= 0 is off */
    FH_STEP_TOP_K,       /* k: the k largest; <= 0 is off */
    FH_STEP_TYPICAL_P,   /* p: nearest to the expected surprise until their sum exceeds p; >= 1 is off; behind
                          * top_n_sigma in the peer's peculiar order (sampler_steps.c) */
    FH_STEP_TOP_P,       /* p: largest until their sum reaches p; >= 1 is off */
    FH_STEP_MIN_P,       /* p: at least p times as probable as the first; <= 0 is off */
    FH_STEP_XTC,         /* probability, threshold: then all that reach the threshold but the least of them go */
    FH_STEP_TEMPERATURE, /* t: <= 0 leaves the argmax */
    FH_STEP_DYNATEMP,    /* t, range, exponent: t +- range by normalized entropy; range <= 0 is plain temperature */
    FH_STEP_MIROSTAT,    /* tau, eta: version 2; the surprise of what was picked steers the next cut */
    FH_STEP_KINDS
} fh_sampler_kind;

#define FH_STEP_ARGS 4
typedef struct fh_sampler_step {
    fh_sampler_kind kind;
    double arg[FH_STEP_ARGS]; /* in the order above */
} fh_sampler_step;

/* A growing list of steps; {0} is empty. */
#define FH_SAMPLER_STEPS_MOST 4096
typedef struct fh_sampler_steps {
    fh_sampler_step *ptr; /* [len] */
    size_t len, cap;
} fh_sampler_steps;
void fh_sampler_steps_release(fh_sampler_steps *l);
/* Refuses numbers that the kind does not take (NaN, fractions of tokens, a repeat penalty of 0). */
FH_MUST_USE fh_status fh_sampler_steps_add(fh_sampler_steps *l, const fh_sampler_step *step, fh_err *err);

/* Also the names that people type: temp, typ_p, typical, top-k. */
bool fh_sampler_kind_find(fh_str name, fh_sampler_kind *out);

/* What people set, one number each. Start from fh_sampler_defaults. */
typedef struct fh_sampler_params {
    double temperature, dynatemp_range, dynatemp_exponent;      /* 0.8, 0, 1 */
    int64_t top_k;                                              /* 40 */
    double top_p, min_p, typical_p, top_n_sigma;                /* 0.95 (Ollama's API: 0.9), 0.05 (there: 0), 1, -1 */
    double xtc_probability, xtc_threshold;                      /* 0, 0.1 */
    int64_t repeat_last_n;                                      /* 64 */
    double repeat_penalty, frequency_penalty, presence_penalty; /* 1, 0, 0 */
    double dry_multiplier, dry_base;                            /* 0, 1.75 */
    int64_t dry_allowed_length, dry_last_n;                     /* 2, -1 */
    bool mirostat;                                              /* version 2 in place of everything that cuts */
    double mirostat_tau, mirostat_eta;                          /* 5, 0.1 */
} fh_sampler_params;
fh_sampler_params fh_sampler_defaults(void);

/* One step with the numbers that people set; FH_STEP_LOGIT_BIAS has none there and is refused with FH_BUG. */
fh_sampler_step fh_sampler_params_step(const fh_sampler_params *p, fh_sampler_kind kind);
/* The usual order: penalties, dry, top_n_sigma, top_k, typical_p, top_p, min_p, xtc, temperature; what is off is left
 * out. Temperature 0: penalties, dry and the argmax, since some cuts can remove it. Mirostat: penalties, dry,
 * temperature, mirostat. */
FH_MUST_USE fh_status fh_sampler_steps_add_params(fh_sampler_steps *l, const fh_sampler_params *p, fh_err *err);
/* "penalties;top_k;temperature" (numbers from p), "top_k=20", "dry:multiplier=0.8,base=1.75", mixed at will. */
FH_MUST_USE fh_status fh_sampler_steps_add_text(fh_sampler_steps *l, fh_str text, const fh_sampler_params *p,
                                                fh_err *err);
/* An array of names, or of objects {"sampler": "top_k", "k": 20}; what is not named comes from p. */
FH_MUST_USE fh_status fh_sampler_steps_add_json(fh_sampler_steps *l, const fh_json_node *chain,
                                                const fh_sampler_params *p, fh_err *err);

/* ---- samplers ---- */

#define FH_SAMPLER_HISTORY_MOST ((size_t)1 << 24) /* tokens remembered */
#define FH_SAMPLER_BREAKERS_MOST 64               /* strings, of at most FH_SAMPLER_BREAKER_BYTES each */
#define FH_SAMPLER_BREAKER_BYTES 256

/* Everything is copied except piece, which must outlive the sampler and its clones. */
typedef struct fh_sampler_config {
    const fh_sampler_step *step; /* [n_step] in the order in which they run */
    size_t n_step;
    uint64_t seed;
    uint64_t choice;       /* number of the answer where one request wants several: other numbers, same seed */
    size_t n_context;      /* what a last_n of -1 means */
    const fh_str *breaker; /* [n_breaker] texts that dry does not look across, such as "\n"; found in the text of the */
    size_t n_breaker;      /* tokens, also across token borders; a token that holds one is never penalized */
    const fh_str *piece;   /* [n_piece] the bytes of every token; NULL: breakers are not looked for */
    size_t n_piece;
} fh_sampler_config;

typedef struct fh_sampler fh_sampler;
FH_MUST_USE fh_status fh_sampler_new(fh_sampler **out, const fh_sampler_config *c, fh_err *err);
void fh_sampler_free(fh_sampler *s); /* NULL is fine */
/* A fork: from here both give the same tokens for the same logits. */
FH_MUST_USE fh_status fh_sampler_clone(fh_sampler **out, const fh_sampler *s, fh_err *err);
/* Takes over the state of src, of which s is a clone or the other way round (FH_BUG if not): to go back after tokens
 * that were tried in vain. Allocates nothing. */
void fh_sampler_copy(fh_sampler *s, const fh_sampler *src);
/* As new: nothing accepted, mu at its start, numbers from the beginning of (seed, choice). */
void fh_sampler_clear(fh_sampler *s);
/* Other numbers from here on; what was accepted stays. */
void fh_sampler_seed(fh_sampler *s, uint64_t seed, uint64_t choice);
/* The token became part of the text, picked or not (whether prompts count is for the caller to say). */
void fh_sampler_accept(fh_sampler *s, uint32_t token);
double fh_sampler_mu(const fh_sampler *s);

/* The memory of one pick, 24 bytes for each token of the vocabulary; any sampler may use it. */
typedef struct fh_sampler_scratch fh_sampler_scratch;
FH_MUST_USE fh_status fh_sampler_scratch_new(fh_sampler_scratch **out, size_t n_vocab, fh_err *err);
void fh_sampler_scratch_free(fh_sampler_scratch *x); /* NULL is fine */

typedef struct fh_candidate {
    double value; /* a logit while the chain runs; what it is when handed out is said there */
    uint32_t id;
} fh_candidate;

typedef struct fh_pick {
    uint32_t token;
    size_t n_candidate; /* left by the chain */
    double p, logprob;  /* of the token after the chain; ln p */
} fh_pick;

/* logits: [n_vocab], n_vocab at most what the scratch is for. allowed: bit id & 31 of word id >> 5, NULL = all.
 * FH_ERR_NOT_FOUND when nothing can be picked: an empty vocabulary, a mask without tokens, all logits -inf. On failure
 * the sampler's state is as before. Does not accept the token. */
FH_MUST_USE fh_status fh_sampler_pick(fh_sampler *s, fh_sampler_scratch *x, const float *logits, size_t n_vocab,
                                      const uint32_t *allowed, fh_pick *out, fh_err *err);
/* What the chain leaves, value = probability, in no particular order; lies in the scratch until its next use. xtc and
 * mirostat use the state of s and leave it as it is. */
FH_MUST_USE fh_status fh_sampler_probabilities(const fh_sampler *s, fh_sampler_scratch *x, const float *logits,
                                               size_t n_vocab, const uint32_t *allowed, const fh_candidate **out,
                                               size_t *n, fh_err *err);

/* Of the model itself, before any chain: ln p of the n_top most probable tokens, most probable first, into top[n_top]
 * (*n_got of them: less where the vocabulary ends), and of token into *of_token (either may be NULL). */
FH_MUST_USE fh_status fh_sampler_logprobs(const float *logits, size_t n_vocab, uint32_t token, double *of_token,
                                          fh_candidate *top, size_t n_top, size_t *n_got, fh_err *err);

#endif
