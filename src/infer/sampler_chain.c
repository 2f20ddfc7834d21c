/* infer/sampler_chain.c - chains from what people write: numbers, text, JSON; the table of kinds stands here.
 * SPDX-License-Identifier: Apache-2.0
 * Every number that enters a chain passes check_step, so that no step needs to look at NaN or nonsense again. */
#include <math.h>

#include "base/num.h"
#include "infer/sampler_part.h"

typedef struct arg_row {
    const char *name; /* NULL ends the list */
    double min, max;
    bool whole;
} arg_row;

#define ANY (-1e30), 1e30, false
#define COUNT (-1), 2147483647, true
static const struct {
    const char *name, *other[3];
    arg_row arg[FH_STEP_ARGS];
} kinds[FH_STEP_KINDS] = {
    [FH_STEP_LOGIT_BIAS] = {"logit_bias", {NULL}, {{"token", 0, 4294967295, true}, {"bias", -HUGE_VAL, 1e30, false}}},
    [FH_STEP_PENALTIES] = {"penalties",
                           {"penalty"},
                           {{"last_n", COUNT}, {"repeat", 1e-6, 1e6, false}, {"frequency", ANY}, {"presence", ANY}}},
    [FH_STEP_DRY] = {"dry",
                     {NULL},
                     {{"multiplier", ANY}, {"base", ANY}, {"allowed_length", 0, 2147483647, true}, {"last_n", COUNT}}},
    [FH_STEP_TOP_N_SIGMA] = {"top_n_sigma", {"top_nsigma"}, {{"n", ANY}}},
    [FH_STEP_TOP_K] = {"top_k", {NULL}, {{"k", -2147483648, 2147483647, true}}},
    [FH_STEP_TYPICAL_P] = {"typical_p", {"typ_p", "typical"}, {{"p", ANY}}},
    [FH_STEP_TOP_P] = {"top_p", {"nucleus"}, {{"p", ANY}}},
    [FH_STEP_MIN_P] = {"min_p", {NULL}, {{"p", ANY}}},
    [FH_STEP_XTC] = {"xtc", {NULL}, {{"probability", ANY}, {"threshold", ANY}}},
    [FH_STEP_TEMPERATURE] = {"temperature", {"temp"}, {{"t", ANY}}},
    [FH_STEP_DYNATEMP] = {"dynatemp", {"temp_ext"}, {{"t", ANY}, {"range", ANY}, {"exponent", 0, 1e6, false}}},
    [FH_STEP_MIROSTAT] = {"mirostat", {"mirostat_v2"}, {{"tau", -1e6, 1e6, false}, {"eta", -1e6, 1e6, false}}},
};

/* top-k is top_k */
static bool same_name(fh_str a, const char *z) {
    if (a.len != strlen(z)) return false;
    for (size_t i = 0; i < a.len; i++)
        if ((a.ptr[i] == '-' ? '_' : a.ptr[i]) != z[i]) return false;
    return true;
}

bool fh_sampler_kind_find(fh_str name, fh_sampler_kind *out) {
    for (int k = 0; k < FH_STEP_KINDS; k++) {
        bool found = same_name(name, kinds[k].name);
        for (size_t i = 0; i < FH_COUNT(kinds[k].other) && kinds[k].other[i]; i++)
            found = found || same_name(name, kinds[k].other[i]);
        if (!found) continue;
        *out = (fh_sampler_kind)k;
        return true;
    }
    return false;
}

static fh_status check_step(const fh_sampler_step *t, fh_err *err) {
    if ((unsigned)t->kind >= FH_STEP_KINDS) return fh_fail(err, FH_ERR_USAGE, "a sampler step of no known kind");
    for (size_t i = 0; i < FH_STEP_ARGS && kinds[t->kind].arg[i].name; i++) {
        const arg_row *a = &kinds[t->kind].arg[i];
        double x = t->arg[i];
        if (!(x >= a->min && x <= a->max) || (a->whole && x > floor(x)))
            return fh_fail(err, FH_ERR_USAGE, "sampler %s: '%s' is %g, which is no %s from %g to %g",
                           kinds[t->kind].name, a->name, x, a->whole ? "whole number" : "number", a->min, a->max);
    }
    return FH_OK;
}

void fh_sampler_steps_release(fh_sampler_steps *l) {
    fh_free(l->ptr);
    *l = (fh_sampler_steps){0};
}

fh_status fh_sampler_steps_add(fh_sampler_steps *l, const fh_sampler_step *step, fh_err *err) {
    FH_TRY(check_step(step, err));
    if (l->len == FH_SAMPLER_STEPS_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "a sampler chain of more than %d steps", FH_SAMPLER_STEPS_MOST);
    if (l->len == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        fh_sampler_step *p = fh_realloc(l->ptr, cap, sizeof *p);
        if (!p) return fh_fail_memory(err, cap * sizeof *p);
        l->ptr = p;
        l->cap = cap;
    }
    l->ptr[l->len++] = *step;
    return FH_OK;
}

/* ---- from numbers ---- */

fh_sampler_params fh_sampler_defaults(void) {
    return (fh_sampler_params){.temperature = 0.8,
                               .dynatemp_exponent = 1,
                               .top_k = 40,
                               .top_p = 0.95,
                               .min_p = 0.05,
                               .typical_p = 1,
                               .top_n_sigma = -1,
                               .xtc_threshold = 0.1,
                               .repeat_last_n = 64,
                               .repeat_penalty = 1,
                               .dry_base = 1.75,
                               .dry_allowed_length = 2,
                               .dry_last_n = -1,
                               .mirostat_tau = 5,
                               .mirostat_eta = 0.1};
}

fh_sampler_step fh_sampler_params_step(const fh_sampler_params *p, fh_sampler_kind kind) {
    fh_sampler_step t = {.kind = kind};
    switch (kind) {
    case FH_STEP_PENALTIES:
        t.arg[0] = (double)p->repeat_last_n;
        t.arg[1] = p->repeat_penalty, t.arg[2] = p->frequency_penalty, t.arg[3] = p->presence_penalty;
        break;
    case FH_STEP_DRY:
        t.arg[0] = p->dry_multiplier, t.arg[1] = p->dry_base;
        t.arg[2] = (double)p->dry_allowed_length, t.arg[3] = (double)p->dry_last_n;
        break;
    case FH_STEP_TOP_N_SIGMA: t.arg[0] = p->top_n_sigma; break;
    case FH_STEP_TOP_K: t.arg[0] = (double)p->top_k; break;
    case FH_STEP_TYPICAL_P: t.arg[0] = p->typical_p; break;
    case FH_STEP_TOP_P: t.arg[0] = p->top_p; break;
    case FH_STEP_MIN_P: t.arg[0] = p->min_p; break;
    case FH_STEP_XTC: t.arg[0] = p->xtc_probability, t.arg[1] = p->xtc_threshold; break;
    case FH_STEP_TEMPERATURE:
        /* where a range is set, people mean it */
        t.arg[0] = p->temperature;
        if (p->dynatemp_range > 0 && p->temperature > 0) {
            t.kind = FH_STEP_DYNATEMP;
            t.arg[1] = p->dynatemp_range, t.arg[2] = p->dynatemp_exponent;
        }
        break;
    case FH_STEP_DYNATEMP:
        t.arg[0] = p->temperature, t.arg[1] = p->dynatemp_range, t.arg[2] = p->dynatemp_exponent;
        break;
    case FH_STEP_MIROSTAT: t.arg[0] = p->mirostat_tau, t.arg[1] = p->mirostat_eta; break;
    case FH_STEP_LOGIT_BIAS:
    case FH_STEP_KINDS: FH_BUG("a kind of step without numbers of its own");
    }
    return t;
}

fh_status fh_sampler_steps_add_params(fh_sampler_steps *l, const fh_sampler_params *p, fh_err *err) {
    static const fh_sampler_kind usual[] = {FH_STEP_PENALTIES, FH_STEP_DRY,       FH_STEP_TOP_N_SIGMA,
                                            FH_STEP_TOP_K,     FH_STEP_TYPICAL_P, FH_STEP_TOP_P,
                                            FH_STEP_MIN_P,     FH_STEP_XTC,       FH_STEP_TEMPERATURE};
    static const fh_sampler_kind steered[] = {FH_STEP_PENALTIES, FH_STEP_DRY, FH_STEP_TEMPERATURE, FH_STEP_MIROSTAT};
    static const fh_sampler_kind greedy[] = {FH_STEP_PENALTIES, FH_STEP_DRY, FH_STEP_TEMPERATURE};
    const fh_sampler_kind *k = p->mirostat ? steered : usual;
    size_t n = p->mirostat ? FH_COUNT(steered) : FH_COUNT(usual);
    if (p->temperature <= 0) k = greedy, n = FH_COUNT(greedy);
    for (size_t i = 0; i < n; i++) {
        fh_sampler_step t = fh_sampler_params_step(p, k[i]);
        FH_TRY(fh_sampler_steps_add(l, &t, err));
    }
    return FH_OK;
}

/* ---- from text ---- */

static fh_status find_kind(fh_str name, fh_sampler_kind *kind, fh_err *err) {
    char names[256] = "";
    if (fh_sampler_kind_find(name, kind)) return FH_OK;
    for (size_t i = 0, n = 0; i < FH_STEP_KINDS; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s %s", i > 0 ? "," : "", kinds[i].name);
    return fh_fail(err, FH_ERR_USAGE, "there is no sampler '%.*s'; there are%s", FH_STR_ARG(name), names);
}

static fh_sampler_step start_step(const fh_sampler_params *p, fh_sampler_kind kind) {
    if (kind != FH_STEP_LOGIT_BIAS) return fh_sampler_params_step(p, kind);
    return (fh_sampler_step){.kind = kind, .arg = {NAN, NAN}}; /* both must be given */
}

/* -1: no such number */
static int find_arg(fh_sampler_kind kind, fh_str name) {
    for (int i = 0; i < FH_STEP_ARGS && kinds[kind].arg[i].name; i++)
        if (same_name(name, kinds[kind].arg[i].name)) return i;
    return -1;
}

static fh_str trim(fh_str s) {
    while (s.len > 0 && s.ptr[0] == ' ') s = fh_str_drop(s, 1);
    while (s.len > 0 && s.ptr[s.len - 1] == ' ') s.len--;
    return s;
}

/* Cuts s at the first c: what stands before it is returned, s goes on behind it. */
static fh_str cut_at(fh_str *s, char c) {
    fh_str head = *s;
    size_t at;
    if (fh_str_find(*s, c, &at)) {
        head.len = at;
        *s = fh_str_drop(*s, at + 1);
    } else {
        *s = fh_str_drop(*s, s->len);
    }
    return trim(head);
}

static fh_status set_number(double *out, fh_sampler_kind kind, fh_str text, fh_err *err) {
    if (fh_str_is(text, "-inf")) *out = -HUGE_VAL;
    else if (!fh_json_text_f64(text, out))
        return fh_fail(err, FH_ERR_USAGE, "sampler %s: '%.*s' is no number", kinds[kind].name, FH_STR_ARG(text));
    return FH_OK;
}

/* "name", "name=1", "name:a=1,b=2" */
static fh_status add_text_step(fh_sampler_steps *l, fh_str text, const fh_sampler_params *p, fh_err *err) {
    fh_sampler_kind kind;
    size_t colon = text.len, eq = text.len;
    (void)fh_str_find(text, ':', &colon);
    (void)fh_str_find(text, '=', &eq);
    fh_str name = trim(fh_str_first(text, FH_MIN(colon, eq))), rest = fh_str_drop(text, FH_MIN(colon, eq) + 1);
    FH_TRY(find_kind(name, &kind, err));
    fh_sampler_step t = start_step(p, kind);
    if (eq < colon) FH_TRY(set_number(&t.arg[0], kind, trim(rest), err));
    while (colon < eq && rest.len > 0) {
        fh_str value = cut_at(&rest, ',');
        fh_str key = cut_at(&value, '=');
        int at = find_arg(kind, key);
        if (at < 0)
            return fh_fail(err, FH_ERR_USAGE, "sampler %s: it has no '%.*s'", kinds[kind].name, FH_STR_ARG(key));
        FH_TRY(set_number(&t.arg[at], kind, trim(value), err));
    }
    return fh_sampler_steps_add(l, &t, err);
}

fh_status fh_sampler_steps_add_text(fh_sampler_steps *l, fh_str text, const fh_sampler_params *p, fh_err *err) {
    while (text.len > 0) {
        fh_str step = cut_at(&text, ';');
        if (step.len > 0) FH_TRY(add_text_step(l, step, p, err));
    }
    return FH_OK;
}

/* ---- from JSON ---- */

static fh_status add_json_step(fh_sampler_steps *l, const fh_json_node *n, const fh_sampler_params *p, fh_err *err) {
    fh_sampler_kind kind;
    fh_str name;
    bool object = fh_json_is(n, FH_JSON_OBJECT), flag;
    if (!fh_json_to_str(object ? fh_json_get(n, "sampler") : n, &name))
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "a sampler is a name, or an object with 'sampler'");
    FH_TRY(find_kind(name, &kind, err));
    fh_sampler_step t = start_step(p, kind);
    for (const fh_json_node *m = object ? fh_json_first(n) : NULL; m; m = fh_json_after(n, m)) {
        if (fh_str_is(m->key, "sampler")) continue;
        int at = find_arg(kind, m->key);
        if (at < 0)
            return fh_fail_at(err, FH_ERR_USAGE, m->offset, "sampler %s: it has no '%.*s'", kinds[kind].name,
                              FH_STR_ARG(m->key));
        if (kind == FH_STEP_LOGIT_BIAS && fh_json_to_bool(m, &flag) && !flag) t.arg[at] = -HUGE_VAL;
        else if (!fh_json_to_f64(m, &t.arg[at]))
            return fh_fail_at(err, FH_ERR_FORMAT, m->offset, "sampler %s: '%.*s' is no number", kinds[kind].name,
                              FH_STR_ARG(m->key));
    }
    return fh_sampler_steps_add(l, &t, err);
}

fh_status fh_sampler_steps_add_json(fh_sampler_steps *l, const fh_json_node *chain, const fh_sampler_params *p,
                                    fh_err *err) {
    if (!fh_json_is(chain, FH_JSON_ARRAY))
        return fh_fail(err, FH_ERR_FORMAT, "a sampler chain is an array of names or objects");
    for (const fh_json_node *n = fh_json_first(chain); n; n = fh_json_after(chain, n))
        FH_TRY(add_json_step(l, n, p, err));
    return FH_OK;
}
