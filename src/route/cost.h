/* route/cost.h - what hosted models, rented GPUs and owned machines cost, side by side.
 * SPDX-License-Identifier: Apache-2.0
 * A scenario is a small JSON file (docs/cost.md): a workload and up to 16 options. Every number in it carries the day
 * on which it was looked up, and a default has its own. No floating point: amounts are billionths of a dollar until a
 * line of a month's bill is rounded, half up, to the cent; totals are sums of lines, so what is printed adds up.
 * Promises, for every scenario that is accepted: no amount is negative; none falls when a price, a quantity, a power or
 * the number of months grows. What would not fit is refused (FH_ERR_LIMIT). */
#ifndef FH_ROUTE_COST_H
#define FH_ROUTE_COST_H

#include "route/prices.h"

#define FH_COST_MAX_OPTIONS 16
#define FH_COST_MAX_LINES 8
#define FH_COST_MAX_BYTES ((size_t)1 << 20)
#define FH_COST_NEVER UINT64_MAX

enum { FH_COST_IN_W = 1, FH_COST_IN_H = 2, FH_COST_IN_R = 4, FH_COST_IN_O = 8, FH_COST_IN_RO = 12 };
typedef enum fh_cost_kind { FH_COST_HOSTED, FH_COST_RENTED, FH_COST_OWNED } fh_cost_kind;
const char *fh_cost_kind_name(fh_cost_kind k); /* "hosted" */

typedef enum fh_cost_key {
#define FH_COST_ROW(id, key, where, kind, unit, def, least, most, date, help) FH_COST_##id,
#include "route/cost.def"
#undef FH_COST_ROW
    FH_COST_KEY_COUNT
} fh_cost_key;

typedef struct fh_cost_row {
    const char *key, *unit, *def, *least, *most, *date, *help;
    unsigned where;
    bool whole; /* an integer; otherwise billionths */
} fh_cost_row;
const fh_cost_row *fh_cost_row_at(fh_cost_key k);

typedef enum fh_cost_origin {
    FH_COST_UNSET,
    FH_COST_DEFAULT,
    FH_COST_SCENARIO,
    FH_COST_TABLE,
    FH_COST_SET
} fh_cost_origin;

typedef struct fh_cost_value {
    uint64_t n; /* as the row says */
    fh_cost_origin origin;
    fh_str checked_on, source; /* either may be empty */
} fh_cost_value;

typedef struct fh_cost_option {
    fh_cost_kind kind;
    fh_str name, model, quality, hardware, price_model, checked_on;
    fh_cost_value value[FH_COST_KEY_COUNT]; /* those of its kind, and the workload's */
} fh_cost_option;

typedef struct fh_cost_scenario {
    fh_arena arena; /* all the text */
    fh_str name, checked_on;
    fh_cost_value workload[FH_COST_KEY_COUNT];
    fh_cost_option option[FH_COST_MAX_OPTIONS];
    size_t n_option;
} fh_cost_scenario;

/* Reads, does not yet fill in: values that the file leaves out stay unset. Release it also after a failure. */
FH_MUST_USE fh_status fh_cost_read(fh_cost_scenario *s, fh_str text, fh_err *err);
/* "price_kwh=0.30", "3.price_kwh=0.30" (third option only), several with commas between them; dated `today`. */
FH_MUST_USE fh_status fh_cost_set(fh_cost_scenario *s, fh_str assignments, fh_str today, fh_err *err);
/* Prices from a table for the options that name a price_model; what the file says itself goes first. prices may be
 * NULL. prices_on: the day of a table that has no dates (may be empty). */
FH_MUST_USE fh_status fh_cost_use_prices(fh_cost_scenario *s, const fh_prices *prices, fh_str prices_on, fh_err *err);
/* Defaults for what is unset, and the checks between values; then it can be computed. */
FH_MUST_USE fh_status fh_cost_complete(fh_cost_scenario *s, fh_err *err);
void fh_cost_release(fh_cost_scenario *s);
/* The guide's three options, as a scenario file. */
fh_str fh_cost_example(void);
bool fh_cost_is_date(fh_str s); /* YYYY-MM-DD */

typedef struct fh_cost_line {
    const char *name, *formula;
    uint64_t cents;
} fh_cost_line;

typedef struct fh_cost_result {
    fh_cost_line line[FH_COST_MAX_LINES]; /* of one month's bill */
    size_t n_line;
    uint64_t month_cents;   /* their sum */
    uint64_t month_exact;   /* the sum before rounding to cents, in billionths */
    uint64_t capex_cents;   /* owned: paid on the first day */
    uint64_t resale_cents;  /* owned: comes back at the end of its life */
    uint64_t life_months;   /* owned: after them the spread price and interest are gone from the bill */
    uint64_t running_cents; /* a month without the spread price and without interest */
    uint64_t interest_cents;
    uint64_t per_mtok;       /* billionths of a dollar per million tokens served; FH_COST_NEVER without tokens */
    uint64_t capacity_month; /* tokens it can serve; 0 = not known (hosted: not bounded) */
} fh_cost_result;

FH_MUST_USE fh_status fh_cost_month(const fh_cost_scenario *s, size_t option, fh_cost_result *out, fh_err *err);
/* Cash out after so many months, resale not counted; owned: the price of the machines from month 0 on. */
FH_MUST_USE fh_status fh_cost_spent(const fh_cost_result *r, uint64_t months, uint64_t *cents, fh_err *err);
/* Tokens a month, in the workload's proportions, at which `hosted` costs what `other` costs; never if it is free. */
uint64_t fh_cost_breakeven_tokens(const fh_cost_scenario *s, const fh_cost_result *hosted, const fh_cost_result *other);
/* capex / (month of `other` - running month of `owned`) in hundredths of a month; FH_COST_NEVER if it saves nothing. */
uint64_t fh_cost_payback(const fh_cost_result *owned, const fh_cost_result *other);
/* Do all options name the same class of quality? */
typedef enum fh_cost_quality { FH_COST_QUALITY_SAME, FH_COST_QUALITY_DIFFERS, FH_COST_QUALITY_UNKNOWN } fh_cost_quality;
fh_cost_quality fh_cost_compare_quality(const fh_cost_scenario *s);

#endif
