/* serve/fleet_adapt.c - the adapters of a resident, and what requests mix of them.
 * SPDX-License-Identifier: Apache-2.0
 * Each adapter is opened and fitted to its model when that is loaded, so that one that does not fit is known then, not
 * at a request. A mixture (a factor for each adapter) is made when it is first asked for and stays: the prefix cache
 * tells adapters apart by their address. Threads: one lock, held while a mixture is made. */
#include "base/num.h"
#include "serve/fleet_part.h"

#define MIXTURES_MOST 64u

typedef struct mixture {
    float scale[FH_ADAPTERS_MOST];
    fh_adaption *made;
} mixture;

struct fh_adapters {
    pthread_mutex_t lock;
    const fh_model *model;
    fh_adapter *file[FH_ADAPTERS_MOST];
    uint32_t n;
    mixture *mix; /* [n_mix], room for MIXTURES_MOST */
    uint32_t n_mix;
};

void fh_adapters_free(fh_adapters *a) {
    if (!a) return;
    for (uint32_t i = 0; i < a->n_mix; i++) fh_adaption_free(a->mix[i].made);
    for (uint32_t i = 0; i < a->n; i++) fh_adapter_close(a->file[i]);
    pthread_mutex_destroy(&a->lock);
    fh_free(a->mix);
    fh_free(a);
}

/* With the lock held, or before anybody else knows of it. */
static fh_status mix(fh_adapters *a, const float *scale, const fh_adapter_set **out, fh_err *err) {
    fh_adapter_use use[FH_ADAPTERS_MOST];
    size_t n = 0;
    for (uint32_t i = 0; i < a->n_mix; i++)
        if (memcmp(a->mix[i].scale, scale, sizeof a->mix[i].scale) == 0) {
            *out = fh_adaption_set(a->mix[i].made);
            return FH_OK;
        }
    if (a->n_mix == MIXTURES_MOST)
        return fh_fail(
            err, FH_ERR_LIMIT,
            "more than %u mixtures of adapters were asked of this model: ask for one that was asked before, or "
            "restart the server",
            MIXTURES_MOST);
    for (uint32_t i = 0; i < a->n; i++)
        if (scale[i] < 0 || scale[i] > 0) use[n++] = (fh_adapter_use){a->file[i], scale[i]};
    mixture *m = &a->mix[a->n_mix];
    FH_TRY(fh_adaption_new(&m->made, a->model, use, n, err));
    memcpy(m->scale, scale, sizeof m->scale);
    a->n_mix++;
    *out = fh_adaption_set(m->made);
    return FH_OK;
}

fh_status fh_adapters_open(fh_adapters **out, const fh_fleet_slot *s, const fh_model *m, uint64_t *bytes, fh_err *err) {
    const fh_adapter_set *set;
    fh_adapters *a = fh_alloc_zero(1, sizeof *a);
    if (!a) return fh_fail_memory(err, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    a->model = m;
    a->mix = fh_alloc_zero(MIXTURES_MOST, sizeof *a->mix);
    fh_status st = a->mix ? FH_OK : fh_fail_memory(err, MIXTURES_MOST * sizeof *a->mix);
    for (; st == FH_OK && a->n < s->n_adapter; a->n++) {
        st = fh_adapter_open(&a->file[a->n], s->adapter[a->n]->path, err);
        if (st != FH_OK) break;
    }
    for (uint32_t i = 0; st == FH_OK && i < a->n; i++) {
        float scale[FH_ADAPTERS_MOST] = {0};
        scale[i] = 1;
        st = mix(a, scale, &set, err);
        if (st == FH_OK) *bytes += fh_adaption_bytes(a->mix[a->n_mix - 1].made);
    }
    if (st == FH_OK) *out = a;
    else fh_adapters_free(a);
    return st;
}

fh_status fh_resident_adapt(fh_resident *r, const float scale[FH_ADAPTERS_MOST], const fh_adapter_set **out,
                            fh_err *err) {
    float factor[FH_ADAPTERS_MOST] = {0};
    bool any = false;
    for (uint32_t i = 0; r->adapters && i < r->adapters->n; i++) {
        factor[i] = scale[i] + 0.0f; /* no negative zero: mixtures are compared as bytes */
        any = any || factor[i] < 0 || factor[i] > 0;
    }
    *out = NULL;
    if (!any) return FH_OK;
    pthread_mutex_lock(&r->adapters->lock);
    fh_status s = mix(r->adapters, factor, out, err);
    pthread_mutex_unlock(&r->adapters->lock);
    return s;
}
