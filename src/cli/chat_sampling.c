/* cli/chat_sampling.c - from flags, /set parameter and generation_config.json to a chain of samplers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/chat_sampling.h"

#include <math.h>

#include "base/clock.h"
#include "base/num.h"
#include "library/model_text.h"

static const char *const NAMES[FH_SAMPLING_COUNT] = {
#define FH_SAMPLING_ROW(id, field, option, name, arg, help) [FH_SAMPLING_##id] = name,
#include "cli/chat_sampling.def"
#undef FH_SAMPLING_ROW
};

void fh_sampling_init(fh_sampling *s) {
    *s = (fh_sampling){.chain = NULL};
    for (size_t i = 0; i < FH_SAMPLING_COUNT; i++) s->value[i] = (double)NAN;
    /* a new start each time, unless --seed says otherwise */
    s->seed = (fh_clock_unix_ms() * 1000003u) ^ fh_clock_ns();
}

const char *fh_sampling_name(fh_sampling_field f) { return NAMES[f]; }

bool fh_sampling_find(fh_str name, fh_sampling_field *out) {
    for (size_t i = 0; i < FH_SAMPLING_COUNT; i++) {
        if (!fh_str_is(name, NAMES[i])) continue;
        *out = (fh_sampling_field)i;
        return true;
    }
    return false;
}

/* Fields are double, int64_t or bool. */
#define AS_FIELD(field, v) _Generic(field, double : (v), int64_t : (int64_t)(v), bool : (v) != 0)

fh_status fh_sampling_params(fh_sampler_params *out, const fh_sampling *s, const fh_generation_config *g, fh_err *err) {
    fh_sampler_params p = fh_sampler_defaults();
    const double *v = s->value;
    if (g) fh_model_sampling(&p, g);
    for (size_t i = 0; i < FH_SAMPLING_COUNT; i++)
        if (!isnan(v[i]) && fabs(v[i]) > 1e15)
            return fh_fail(err, FH_ERR_USAGE, "%s of %g is out of range", NAMES[i], v[i]);
    if (!isnan(v[FH_SAMPLING_MIROSTAT]) && v[FH_SAMPLING_MIROSTAT] != 0 && v[FH_SAMPLING_MIROSTAT] != 2)
        return fh_fail(err, FH_ERR_USAGE, "mirostat is 0 (off) or 2");
#define FH_SAMPLING_ROW(id, field, option, name, arg, help) \
    if (!isnan(v[FH_SAMPLING_##id])) p.field = AS_FIELD(p.field, v[FH_SAMPLING_##id]);
#include "cli/chat_sampling.def"
#undef FH_SAMPLING_ROW
    *out = p;
    return FH_OK;
}

fh_status fh_sampling_make(fh_sampler **out, const fh_sampling *s, const fh_generation_config *g, size_t n_context,
                           const fh_str *piece, size_t n_piece, fh_err *err) {
    static const fh_str breakers[] = {{"\n", 1}, {":", 1}, {"\"", 1}, {"*", 1}};
    fh_sampler_params p;
    fh_sampler_steps steps = {0};
    fh_status st = fh_sampling_params(&p, s, g, err);
    if (st == FH_OK)
        st = s->chain ? fh_sampler_steps_add_text(&steps, fh_str_of(s->chain), &p, err)
                      : fh_sampler_steps_add_params(&steps, &p, err);
    fh_sampler_config c = {.step = steps.ptr,
                           .n_step = steps.len,
                           .seed = s->seed,
                           .n_context = n_context,
                           .breaker = breakers,
                           .n_breaker = FH_COUNT(breakers),
                           .piece = piece,
                           .n_piece = n_piece};
    if (st == FH_OK) st = fh_sampler_new(out, &c, err);
    fh_sampler_steps_release(&steps);
    return st;
}
