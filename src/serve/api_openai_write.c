/* serve/api_openai_write.c - pieces of answers that several of OpenAI's routes have in common.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "serve/api_openai_part.h"

void fh_openai_put_head(const fh_ask *a, fh_json_writer *w, const char *prefix, const char *object) {
    char id[64], print[32] = "fh-0";
    fh_fleet_entry e;
    (void)snprintf(id, sizeof id, "%s%s", prefix, a->id);
    if (fh_fleet_find(fh_app_fleet(a->call->app), fh_str_of(a->r->name), &e) && e.digest[0])
        (void)snprintf(print, sizeof print, "fh-%.12s", e.digest);
    fh_put_z(w, "id", id);
    fh_put_z(w, "object", object);
    fh_put_u64(w, "created", a->unix_s);
    fh_put_z(w, "model", a->r->name);
    fh_put_z(w, "system_fingerprint", print);
}

void fh_openai_put_usage(const fh_ask *a, fh_json_writer *w) {
    uint64_t reasoning = 0;
    for (uint32_t i = 0; i < a->n_choice; i++) reasoning += a->said[i].n_reasoning;
    fh_json_put_object(w);
    uint64_t n_prompt = (uint64_t)a->before_prompt + a->n_prompt, n_new = (uint64_t)a->before_new + a->n_new;
    fh_put_u64(w, "prompt_tokens", n_prompt);
    fh_put_u64(w, "completion_tokens", n_new);
    fh_put_u64(w, "total_tokens", n_prompt + n_new);
    fh_json_put_key(w, "prompt_tokens_details");
    fh_json_put_object(w);
    fh_put_u64(w, "cached_tokens", (uint64_t)a->before_cached + a->n_cached);
    fh_json_put_end(w);
    fh_json_put_key(w, "completion_tokens_details");
    fh_json_put_object(w);
    fh_put_u64(w, "reasoning_tokens", reasoning);
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_ms(fh_json_writer *w, const char *key, uint64_t ns) {
    fh_put_f64(w, key, (double)(ns / 1000) / 1000.0);
}
static void put_rate(fh_json_writer *w, const char *key, uint64_t n, uint64_t ns) {
    fh_json_put_key(w, key);
    fh_json_put_f64(w, ns ? (double)n * 1e9 / (double)ns : 0);
}

void fh_openai_put_extra(const fh_ask *a, fh_json_writer *w) {
    fh_json_put_key(w, "timings");
    fh_json_put_object(w);
    fh_put_u64(w, "cache_n", a->n_cached);
    fh_put_u64(w, "prompt_n", a->n_prompt - FH_MIN(a->n_cached, a->n_prompt));
    put_ms(w, "prompt_ms", a->prompt_ns);
    put_rate(w, "prompt_per_second", a->n_prompt - FH_MIN(a->n_cached, a->n_prompt), a->prompt_ns);
    fh_put_u64(w, "predicted_n", a->n_new);
    put_ms(w, "predicted_ms", a->new_ns);
    put_rate(w, "predicted_per_second", a->n_new, a->new_ns);
    fh_json_put_end(w);
    fh_json_put_key(w, "freehold");
    fh_ask_put_provenance(a, w);
}

const char *fh_openai_why(fh_why why) {
    return why == FH_WHY_LENGTH ? "length" : why == FH_WHY_CALLS ? "tool_calls" : "stop";
}
