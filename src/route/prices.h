/* route/prices.h - what hosted models cost, from the price tables that the field already keeps.
 * SPDX-License-Identifier: Apache-2.0
 * Read as they are: LiteLLM's model_prices_and_context_window.json (an object keyed by model, dollars per token) and
 * the data files of genai-prices (an array of providers, dollars per million tokens); the first byte says which it is.
 * Immutable once read; owns copies of all text in it. Entries without a price for text in and out are left out. */
#ifndef FH_ROUTE_PRICES_H
#define FH_ROUTE_PRICES_H

#include "base/buf.h"

#define FH_PRICES_MAX_BYTES ((size_t)64 << 20)

typedef struct fh_price {
    fh_str provider;                /* "fireworks" */
    fh_str name;                    /* LiteLLM: its key; genai-prices: "provider/id" */
    fh_str checked_on;              /* "2026-08-04", or empty: LiteLLM keeps no date */
    uint64_t input, cached, output; /* billionths of a dollar per million tokens; cached = input where none is given */
    bool has_cached;
    bool tiered;  /* dearer beyond some length of the prompt: these are the prices below it */
    bool by_hour; /* differs by time of day: these are the dearest */
} fh_price;

typedef struct fh_prices fh_prices;

/* on: the day for which prices are wanted, "YYYY-MM-DD": of prices that start on a day, the last one before it. */
FH_MUST_USE fh_status fh_prices_parse(fh_prices **out, fh_str text, fh_str on, fh_err *err);
FH_MUST_USE fh_status fh_prices_open(fh_prices **out, const char *path, fh_str on, fh_err *err);
void fh_prices_free(fh_prices *p); /* NULL is fine */
size_t fh_prices_n(const fh_prices *p);
size_t fh_prices_n_left_out(const fh_prices *p);
const fh_price *fh_prices_at(const fh_prices *p, size_t i);
const char *fh_prices_format(const fh_prices *p); /* "LiteLLM" or "genai-prices" */
/* By its whole name; where a file has it twice, the last one. FH_ERR_NOT_FOUND names some that look like it. */
FH_MUST_USE fh_status fh_prices_find(const fh_prices *p, fh_str name, const fh_price **out, fh_err *err);

#endif
