/* tests/unit/test_draft.c - guesses from repetition, and when they are worth their rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "infer/draft.h"
#include "test.h"

static fh_draft *new_draft(uint32_t most) {
    fh_draft *d = NULL;
    fh_err err = {0};
    CHECK_OK(fh_draft_new(&d, most, &err), err);
    return d;
}

TEST(draft, guesses_what_followed_last_time) {
    const uint32_t text[] = {1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 1, 2, 3};
    uint32_t out[FH_DRAFT_MOST];
    fh_draft *d = new_draft(8);
    CHECK_U64(fh_draft_guess(d, text, 3, 8, out), 0);
    CHECK_U64(fh_draft_guess(d, text, 9, 8, out), 4); /* half of the most to begin with */
    CHECK(out[0] == 4 && out[1] == 5 && out[2] == 9 && out[3] == 1);
    CHECK_U64(fh_draft_guess(d, text, FH_COUNT(text), 2, out), 2); /* the last time, and no more than there is room */
    CHECK(out[0] == 7 && out[1] == 8);
    fh_draft_free(d);
}

TEST(draft, pays_by_what_was_right_and_by_company) {
    fh_draft *d = new_draft(8);
    CHECK(fh_draft_pays(d, 1) && fh_draft_pays(d, 4) && !fh_draft_pays(d, 16)); /* nothing is known: one half */
    for (int i = 0; i < 50; i++) fh_draft_learn(d, 4, 4);
    CHECK(fh_draft_pays(d, 16));
    for (int i = 0; i < 50; i++) fh_draft_learn(d, 4, 1);
    CHECK(fh_draft_pays(d, 1) && !fh_draft_pays(d, 4));
    for (int i = 0; i < 50; i++) fh_draft_learn(d, 4, 0);
    uint32_t n = 0;
    while (!fh_draft_pays(d, 1)) n++;
    CHECK_U64(n, 1023); /* another chance, from the beginning */
    fh_draft_free(d);
}
