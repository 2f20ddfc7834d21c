/* infer/draft.c - n-grams of a sequence, each with the place where it stood last.
 * SPDX-License-Identifier: Apache-2.0
 * Owns a table of places by hash; a place is verified against the sequence, so that a collision costs a guess at most.
 * The table grows with the sequence up to MOST_SLOTS, then newer places push out older ones. */
#include "infer/draft.h"

#include <string.h>

#include "base/mem.h"
#include "base/num.h"

#define FIRST_SLOTS 256u
#define MOST_SLOTS (1u << 20)
#define MOST_PAUSE 64u      /* tokens without a guess after failures in a row */
#define MEMORY 64u          /* guesses that are judged together; older ones count half, a quarter, ... */
#define SECOND_CHANCE 1024u /* tokens until one for which guesses did not pay may try again */
#define ROWS_OF_A_STEP 8u   /* a step costs as many rows of it, whatever stands in it, as long as it waits for memory */

struct fh_draft {
    uint32_t *place; /* [n_slot] behind the n-gram; 0: none */
    uint32_t n_slot, n_read;
    uint32_t most, length; /* of a guess: at most, and now */
    uint32_t pause, failures;
    uint32_t n_guessed, n_right; /* lately */
    uint32_t n_refused;          /* tokens since they last paid */
};

fh_status fh_draft_new(fh_draft **out, uint32_t most, fh_err *err) {
    FH_REQUIRE(most <= FH_DRAFT_MOST);
    fh_draft *d = fh_alloc_zero(1, sizeof *d);
    uint32_t *place = fh_alloc_zero(FIRST_SLOTS, sizeof *place);
    if (!d || !place) {
        fh_free(d);
        fh_free(place);
        return fh_fail_memory(err, sizeof *d + FIRST_SLOTS * sizeof *place);
    }
    *d = (fh_draft){.place = place, .n_slot = FIRST_SLOTS, .most = most, .length = (most + 1) / 2};
    *out = d;
    return FH_OK;
}

void fh_draft_free(fh_draft *d) {
    if (!d) return;
    fh_free(d->place);
    fh_free(d);
}

static uint32_t slot_of(const fh_draft *d, const uint32_t *gram) {
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < FH_DRAFT_GRAM; i++) h = (h ^ gram[i]) * 0xff51afd7ed558ccdu, h ^= h >> 32;
    return (uint32_t)h & (d->n_slot - 1);
}

static void read_to(fh_draft *d, const uint32_t *token, uint32_t n) {
    if (n > d->n_slot / 2 && d->n_slot < MOST_SLOTS) {
        uint32_t wide = d->n_slot;
        while (wide < MOST_SLOTS && wide / 2 < n) wide *= 2;
        uint32_t *place = fh_alloc_zero(wide, sizeof *place);
        if (place) {
            fh_free(d->place);
            d->place = place;
            d->n_slot = wide;
            d->n_read = 0;
        }
    }
    /* Not the last n-gram itself: it is what is looked for. */
    for (uint32_t end = FH_MAX(d->n_read + 1, FH_DRAFT_GRAM); end < n; end++) {
        d->place[slot_of(d, token + end - FH_DRAFT_GRAM)] = end;
        d->n_read = end;
    }
}

uint32_t fh_draft_guess(fh_draft *d, const uint32_t *token, uint32_t n, uint32_t room, uint32_t out[FH_DRAFT_MOST]) {
    if (n <= FH_DRAFT_GRAM) return 0;
    read_to(d, token, n);
    if (d->pause > 0) {
        d->pause--;
        return 0;
    }
    const uint32_t *gram = token + n - FH_DRAFT_GRAM;
    uint32_t at = d->place[slot_of(d, gram)];
    if (at == 0 || memcmp(token + at - FH_DRAFT_GRAM, gram, FH_DRAFT_GRAM * sizeof *gram) != 0) return 0;
    uint32_t k = FH_MIN(FH_MIN(d->length, room), n - at);
    memcpy(out, token + at, k * sizeof *out);
    return k;
}

/* With t(n) = ROWS_OF_A_STEP + n for a step of n rows, a guess that is right with probability p saves p * t(n) / n and
 * costs 1. It stands beside about as many guesses as there are sequences. (1B Q4_K_M, 2 threads of a Zen 5, Nov 2026:
 * t(1) 44 ms, t(4) 53, t(6) 59, t(12) 85, t(16) 109.) No clock is asked: a request alone makes the same steps. */
bool fh_draft_pays(fh_draft *d, uint32_t company) {
    uint64_t rows = 2 * (uint64_t)FH_MAX(company, 1u), right = d->n_right + 1, guessed = d->n_guessed + 2;
    if (right * (rows + ROWS_OF_A_STEP) >= guessed * rows) {
        d->n_refused = 0;
        return true;
    }
    if (++d->n_refused == SECOND_CHANCE) d->n_guessed = d->n_right = d->n_refused = 0;
    return false;
}

void fh_draft_learn(fh_draft *d, uint32_t n_guessed, uint32_t n_right) {
    if (n_guessed == 0) return;
    d->n_guessed += n_guessed;
    d->n_right += n_right;
    if (d->n_guessed >= MEMORY) d->n_guessed /= 2, d->n_right /= 2;
    if (n_right == n_guessed) d->length = FH_MIN(d->length + 2, d->most);
    else d->length = FH_MAX(n_right, 1u);
    d->failures = n_right > 0 ? 0 : FH_MIN(d->failures + 1, 16u);
    if (d->failures > 1) d->pause = FH_MIN(1u << (d->failures - 1), MOST_PAUSE);
}
