/* tests/unit/test_scheduler_part.h - what the scheduler's tests share: a consumer that writes down what it is told.
 * SPDX-License-Identifier: Apache-2.0
 * Callbacks run on the scheduler's thread, where no check may fail: what is wrong is counted and checked afterwards. */
#ifndef FH_TESTS_UNIT_TEST_SCHEDULER_PART_H
#define FH_TESTS_UNIT_TEST_SCHEDULER_PART_H

#include <pthread.h>

#include "infer/scheduler.h"
#include "test.h"
#include "unit/test_session_part.h"

#define HEARD_CHOICES 8u
#define HEARD_TOKENS 1536u

typedef struct heard_choice {
    uint32_t token[HEARD_TOKENS], n;
    float ln[HEARD_TOKENS];
    uint32_t top[HEARD_TOKENS];
    char text[4096];
    size_t len;
    uint32_t n_end;
    fh_finish finish;
    char stop[64];
} heard_choice;

/* What to do after so many tokens. */
typedef struct heard_plan {
    uint32_t pause_every, cancel_at;
} heard_plan;

typedef struct heard {
    heard_choice choice[HEARD_CHOICES];
    heard_plan plan;
    fh_ticket *ticket;
    uint32_t n_start, n_token, n_done, n_failed, n_release, wrong;
    uint32_t n_prompt, n_cached, n_new;
    uint32_t tag; /* the test's own */
    uint64_t order, start_order, queued_ns, prompt_ns, new_ns;
    bool paused;
    fh_finish finish;
    fh_err err;
} heard;

fh_consume heard_event(void *ctx, const fh_event *e);
void heard_release(void *ctx);
/* Until the last event; those that were paused are resumed meanwhile. */
void heard_wait(heard *h);
void heard_wait_tokens(heard *h, uint32_t n);
bool heard_is_over(heard *h);
/* A greedy request for the consumer. */
fh_request heard_request(heard *h, const uint32_t *prompt, uint32_t n, uint32_t most);
void heard_submit(heard *h, fh_scheduler *s, const fh_request *r);
/* NULL when both are the same, to the bit. */
const char *heard_difference(const heard_choice *got, const heard_choice *want);

#endif
