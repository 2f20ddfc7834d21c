/* device/cpu_fast_attend.c - attention over paged state in the CPU's fast mode.
 * SPDX-License-Identifier: Apache-2.0
 * Two kinds of sequences. Long ones (many tokens in this step): a unit is some tokens and the heads that share a key
 * head; units go round the workers. Short ones (a few tokens, decoding): a unit is all tokens, and its keys are cut
 * into parts that depend on the depth alone; each worker takes a run of parts and adds them up in order; where a
 * unit's run goes on with another worker, its first one collects the rest after a barrier.
 * Invariant: which query sees which blocks through which kernel in which order depends on the batch and the CPU, not
 * on the number of workers, so neither do the bits. */
#include "device/cpu_part.h"

#include "device/cpu_fast.h"
#include "kernel/attend.h"

enum {
    ROOM = 1 << 20,         /* a worker's scratch: fits the second-level cache */
    PARTS_ROOM = 288 << 10, /* of it: parts that another worker adds up */
    MOST_PAIRS = 256,
    FEW_TOKENS = 8,  /* of a sequence in this step: it is a short one */
    PART_BLOCKS = 8, /* blocks of a part, at least */
    MOST_PARTS = 64
};

/* Scratch is a thread's own, so that the executor's memory need not know of it; nothing outlives the op. */
static _Thread_local _Alignas(64) uint8_t room[ROOM];

typedef struct work {
    const fh_op *o;
    const fh_state *state;
    fh_view q, out;
    fh_attend_shape shape;
    const fh_attend_kernel *tile, *few;
    uint32_t ratio;         /* heads to a key head */
    uint32_t tokens, heads; /* of a unit of a long sequence, at most */
    uint32_t short_pairs;   /* of a unit of a short one, at most: tokens times heads */
    bool latent, biased;
} work;

/* Part of the work: tokens [first, first + n) of seq, heads [head, head + n_head) of a key head. */
typedef struct unit {
    const fh_batch_seq *seq;
    uint32_t first, n, key_head, head, n_head;
    uint64_t lo, hi; /* rows that some token sees; none: lo > hi */
} unit;

/* Where a tile's pieces lie. */
typedef struct desk {
    fh_attend_tile tile;
    const float **q;
    uint8_t *from, *to;
    float *bias;
} desk;

/* ---- scratch ---- */
static size_t up(size_t n) { return (n + 63) & ~(size_t)63; }

/* Of what is summed for one tile. */
static size_t sums_bytes(const work *a, uint32_t pairs) {
    return up(pairs * sizeof(float)) + up((size_t)pairs * FH_ATTEND_LANES * sizeof(float)) +
           up(pairs * fh_attend_ld(a->shape.v_width) * sizeof(float));
}

static size_t desk_bytes(const work *a, const fh_attend_kernel *k, uint32_t pairs) {
    return up(pairs * sizeof(float *)) + 2 * up(pairs) +
           (a->biased ? up((size_t)pairs * FH_ATTEND_KEYS * sizeof(float)) : 0) + up(k->room(&a->shape, pairs));
}

static void *cut(uint8_t **at, size_t n) {
    uint8_t *p = *at;
    *at += up(n);
    return p;
}

static void place_sums(const work *a, fh_attend_tile *t, uint32_t pairs, uint8_t **at) {
    t->max = cut(at, pairs * sizeof(float));
    t->sum = cut(at, (size_t)pairs * FH_ATTEND_LANES * sizeof(float));
    t->acc = cut(at, pairs * fh_attend_ld(a->shape.v_width) * sizeof(float));
}

static desk place_desk(const work *a, const fh_attend_kernel *k, uint32_t pairs, uint8_t **at) {
    desk d = {.tile = {.shape = &a->shape}};
    d.q = cut(at, pairs * sizeof(float *));
    d.from = cut(at, pairs);
    d.to = cut(at, pairs);
    if (a->biased) d.bias = cut(at, (size_t)pairs * FH_ATTEND_KEYS * sizeof(float));
    d.tile.q = d.q;
    d.tile.room = cut(at, k->room(&a->shape, pairs));
    return d;
}

/* ---- what is where ---- */
static uint64_t rows_there(const work *a, const fh_batch_seq *seq) {
    return a->state->kind == FH_STATE_CROSS ? seq->encoder_rows : (uint64_t)seq->past + seq->n;
}

/* Rows that token i of the unit sees. */
static bool range_of(const work *a, const unit *u, uint32_t i, uint64_t *lo, uint64_t *hi) {
    const fh_attend_args *g = &a->o->u.attend;
    return fh_ref_mask_range(g->mask, g->window, (uint64_t)u->seq->past + u->first + i, rows_there(a, u->seq), lo, hi);
}

static void find_range(const work *a, unit *u) {
    u->lo = UINT64_MAX;
    u->hi = 0;
    for (uint32_t i = 0; i < u->n; i++) {
        uint64_t lo, hi;
        if (!range_of(a, u, i, &lo, &hi)) continue;
        u->lo = FH_MIN(u->lo, lo);
        u->hi = FH_MAX(u->hi, hi);
    }
}

static uint64_t blocks_of(const unit *u) {
    return u->lo > u->hi ? 0 : u->hi / FH_ATTEND_KEYS - u->lo / FH_ATTEND_KEYS + 1;
}

/* Stored rows [block, block + n); those before `first` stand in for rows that no token of the unit sees. */
static void find_rows(const fh_exec *x, const work *a, const unit *u, uint64_t block, uint64_t first, uint32_t n,
                      bool values, const uint8_t **row) {
    const fh_state_place *at = &x->layout.place[a->o->state];
    const uint64_t bytes = values ? at->v_bytes : at->k_bytes, page = x->layout.page;
    uint32_t i = (uint32_t)(first - block);
    while (i < n) {
        const uint64_t r = block + i, rest = page - r % page;
        const uint8_t *p = fh_cpu_state_row(x, u->seq, a->o->state, u->key_head, r, values);
        for (uint64_t j = 0; j < rest && i < n; j++, p += bytes) row[i++] = p;
    }
    for (i = 0; i < (uint32_t)(first - block); i++) row[i] = row[first - block];
}

static void fill_bias(const fh_exec *x, const work *a, const unit *u, uint64_t block, uint32_t n, float *bias) {
    const uint32_t *bucket = x->bucket[a->o - x->plan->op];
    const int64_t most = a->o->u.attend.max_distance;
    const uint64_t heads = a->q.heads;
    const float *v = fh_cpu_vector(x, a->o, 1, u->seq);
    for (uint32_t i = 0; i < u->n; i++) {
        const int64_t q = (int64_t)u->seq->past + u->first + i;
        for (uint32_t j = 0; j < u->n_head; j++, bias += FH_ATTEND_KEYS) {
            const uint32_t h = u->key_head * a->ratio + u->head + j;
            for (uint32_t c = 0; c < n; c++) {
                const int64_t d = FH_MAX(FH_MIN((int64_t)(block + c) - q, most), -most);
                bias[c] = v[bucket[d + most] * heads + h];
            }
            for (uint32_t c = n; c < FH_ATTEND_KEYS; c++) bias[c] = 0;
        }
    }
}

/* What each query sees of a block; false: all of them all of it. */
static bool fill_ranges(const work *a, const unit *u, uint64_t block, uint32_t n, desk *d) {
    bool some = false;
    for (uint32_t i = 0; i < u->n; i++) {
        uint64_t lo, hi, from = n, to = n;
        if (range_of(a, u, i, &lo, &hi) && hi >= block && lo < block + n) {
            from = lo > block ? lo - block : 0;
            to = FH_MIN(hi - block + 1, n);
        }
        some = some || from > 0 || to < n;
        memset(d->from + (size_t)i * u->n_head, (int)from, u->n_head);
        memset(d->to + (size_t)i * u->n_head, (int)to, u->n_head);
    }
    return some;
}

/* Where a block's rows lie. */
typedef struct rows {
    uint32_t n;
    const uint8_t *k[FH_ATTEND_KEYS], *v[FH_ATTEND_KEYS];
} rows;

static void find_block(const fh_exec *x, const work *a, const unit *u, uint64_t block, rows *r) {
    const uint64_t first = FH_MAX(u->lo, block), last = FH_MIN(u->hi, block + FH_ATTEND_KEYS - 1);
    r->n = (uint32_t)(last - block + 1);
    find_rows(x, a, u, block, first, r->n, false, r->k);
    if (!a->latent) find_rows(x, a, u, block, first, r->n, true, r->v);
    for (uint32_t i = r->n; i < FH_ATTEND_KEYS; i++) {
        r->k[i] = r->k[r->n - 1];
        if (!a->latent) r->v[i] = r->v[r->n - 1];
    }
}

/* Blocks [first, end), counted from the sequence's first row. */
static void do_blocks(const fh_exec *x, const work *a, const unit *u, const fh_attend_kernel *k, uint64_t first,
                      uint64_t end, desk *d) {
    rows two[2];
    if (first < end) find_block(x, a, u, first * FH_ATTEND_KEYS, &two[first % 2]);
    for (uint64_t i = first; i < end; i++) {
        const rows *r = &two[i % 2];
        const uint64_t block = i * FH_ATTEND_KEYS;
        fh_attend_block b = {.n = r->n, .k = r->k, .v = a->latent ? r->k : r->v};
        if (i + 1 < end) {
            rows *next = &two[(i + 1) % 2];
            find_block(x, a, u, block + FH_ATTEND_KEYS, next);
            b.next_k = next->k;
            if (!a->latent) b.next_v = next->v;
        }
        if (fill_ranges(a, u, block, b.n, d)) {
            b.from = d->from;
            b.to = d->to;
        }
        if (a->biased) {
            fill_bias(x, a, u, block, b.n, d->bias);
            b.bias = d->bias;
        }
        k->block(&d->tile, &b);
    }
}

static void find_queries(const fh_exec *x, const work *a, const unit *u, desk *d) {
    d->tile.n = u->n * u->n_head;
    for (uint32_t i = 0, pair = 0; i < u->n; i++) {
        const float *row = fh_cpu_row(x, &a->q, (uint64_t)u->seq->first + u->first + i);
        for (uint32_t j = 0; j < u->n_head; j++, pair++) {
            d->q[pair] = row + (size_t)(u->key_head * a->ratio + u->head + j) * a->q.stride;
        }
    }
}

static void write_out(const fh_exec *x, const work *a, const unit *u, const fh_attend_tile *t) {
    const float *sink = fh_cpu_vector(x, a->o, 0, u->seq);
    const size_t ld = fh_attend_ld(a->shape.v_width);
    for (uint32_t i = 0, pair = 0; i < u->n; i++) {
        float *row = fh_cpu_row(x, &a->out, (uint64_t)u->seq->first + u->first + i);
        for (uint32_t j = 0; j < u->n_head; j++, pair++) {
            const uint32_t h = u->key_head * a->ratio + u->head + j;
            fh_attend_finish(t->max[pair], t->sum + (size_t)pair * FH_ATTEND_LANES, t->acc + pair * ld,
                             sink != NULL ? sink + h : NULL, row + (size_t)h * a->out.stride, a->shape.v_width);
        }
    }
}

/* ---- long sequences ---- */
static bool is_long(const fh_batch_seq *seq) { return seq->n > FEW_TOKENS; }

static uint64_t units_of(const work *a, const fh_batch_seq *seq) {
    if (!is_long(seq)) return 0;
    return fh_ceil_div(seq->n, a->tokens) * a->state->heads * fh_ceil_div(a->ratio, a->heads);
}

static uint64_t count_units(const fh_exec *x, const work *a) {
    uint64_t n = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) n += units_of(a, &x->batch->seq[s]);
    return n;
}

/* Units as large as scratch permits, but some for each worker where that is possible: later ones see more rows. */
static void choose_units(const fh_exec *x, work *a, uint32_t pairs, int n_worker) {
    a->heads = FH_MIN(a->ratio, pairs);
    a->tokens = pairs / a->heads;
    while (count_units(x, a) < 4 * (uint64_t)n_worker) {
        if (a->tokens * a->heads <= 16) return; /* smaller ones would widen the same keys again and again */
        if (a->tokens > 1) {
            a->tokens = (a->tokens + 1) / 2;
        } else {
            a->heads = (a->heads + 1) / 2;
        }
    }
}

static void do_long(const fh_exec *x, const work *a, const fh_batch_seq *seq, uint64_t i) {
    const uint64_t pieces = fh_ceil_div(a->ratio, a->heads);
    unit u = {.seq = seq};
    u.head = (uint32_t)(i % pieces) * a->heads;
    u.n_head = FH_MIN(a->heads, a->ratio - u.head);
    u.key_head = (uint32_t)(i / pieces % a->state->heads);
    u.first = (uint32_t)(i / pieces / a->state->heads) * a->tokens;
    u.n = FH_MIN(a->tokens, seq->n - u.first);
    find_range(a, &u);
    uint8_t *at = room;
    desk d = place_desk(a, a->tile, u.n * u.n_head, &at);
    place_sums(a, &d.tile, u.n * u.n_head, &at);
    find_queries(x, a, &u, &d);
    a->tile->begin(&d.tile);
    do_blocks(x, a, &u, a->tile, u.lo / FH_ATTEND_KEYS, u.lo / FH_ATTEND_KEYS + blocks_of(&u), &d);
    write_out(x, a, &u, &d.tile);
}

static void do_all_long(const fh_exec *x, const work *a, const fh_cpu_worker *w) {
    const uint64_t n_worker = (uint64_t)w->n, mine = (uint64_t)w->index;
    uint64_t before = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const uint64_t n = units_of(a, &x->batch->seq[s]);
        for (uint64_t i = (mine + n_worker - before % n_worker) % n_worker; i < n; i += n_worker) {
            do_long(x, a, &x->batch->seq[s], i);
        }
        before += n;
    }
}

/* ---- short sequences ---- */
/* How the units of a short sequence are cut: all alike. */
typedef struct plan_of_seq {
    uint64_t blocks, part_blocks, parts, units;
} plan_of_seq;

static uint32_t short_heads(const work *a, const fh_batch_seq *seq) {
    return FH_MIN(a->ratio, FH_MAX(a->short_pairs / seq->n, 1));
}

static unit short_unit(const work *a, const fh_batch_seq *seq, uint64_t i) {
    const uint32_t heads = short_heads(a, seq);
    const uint64_t pieces = fh_ceil_div(a->ratio, heads);
    unit u = {.seq = seq, .n = seq->n};
    u.head = (uint32_t)(i % pieces) * heads;
    u.n_head = FH_MIN(heads, a->ratio - u.head);
    u.key_head = (uint32_t)(i / pieces);
    find_range(a, &u);
    return u;
}

static plan_of_seq plan_short(const work *a, const fh_batch_seq *seq) {
    plan_of_seq p = {0};
    if (seq->n == 0 || is_long(seq)) return p;
    const unit u = short_unit(a, seq, 0);
    const uint32_t heads = short_heads(a, seq);
    const uint64_t most = FH_MAX(FH_MIN(PARTS_ROOM / sums_bytes(a, seq->n * heads), (uint64_t)MOST_PARTS), 1);
    p.blocks = blocks_of(&u);
    p.part_blocks = FH_MAX(fh_ceil_div(p.blocks, most), (uint64_t)PART_BLOCKS);
    p.parts = FH_MAX(fh_ceil_div(p.blocks, p.part_blocks), 1);
    p.units = a->state->heads * fh_ceil_div(a->ratio, heads);
    return p;
}

/* Item i of all parts of all units of all short sequences. */
typedef struct item {
    unit u;
    plan_of_seq plan;
    uint64_t part;
} item;

static uint64_t count_items(const fh_exec *x, const work *a) {
    uint64_t n = 0;
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const plan_of_seq p = plan_short(a, &x->batch->seq[s]);
        n += p.units * p.parts;
    }
    return n;
}

static item item_at(const fh_exec *x, const work *a, uint64_t i) {
    for (uint32_t s = 0; s < x->batch->n_seq; s++) {
        const plan_of_seq p = plan_short(a, &x->batch->seq[s]);
        if (i < p.units * p.parts) return (item){short_unit(a, &x->batch->seq[s], i / p.parts), p, i % p.parts};
        i -= p.units * p.parts;
    }
    FH_BUG("an item of attention past the last one");
}

static const fh_attend_kernel *short_kernel(const work *a, const unit *u) {
    return a->few != NULL && u->n * u->n_head <= FH_ATTEND_FEW ? a->few : a->tile;
}

static void do_part(const fh_exec *x, const work *a, const item *t, desk *d) {
    const fh_attend_kernel *k = short_kernel(a, &t->u);
    const uint64_t first = t->u.lo / FH_ATTEND_KEYS + t->part * t->plan.part_blocks;
    const uint64_t end = FH_MIN(first + t->plan.part_blocks, t->u.lo / FH_ATTEND_KEYS + t->plan.blocks);
    k->begin(&d->tile);
    do_blocks(x, a, &t->u, k, first, end, d);
}

static void merge(const work *a, fh_attend_tile *to, const fh_attend_tile *from) {
    const size_t ld = fh_attend_ld(a->shape.v_width);
    for (uint32_t i = 0; i < to->n; i++) {
        fh_attend_merge(&to->max[i], to->sum + (size_t)i * FH_ATTEND_LANES, to->acc + i * ld, from->max[i],
                        from->sum + (size_t)i * FH_ATTEND_LANES, from->acc + i * ld, a->shape.v_width);
    }
}

static void share_of(int index, int n_worker, uint64_t n, uint64_t *from, uint64_t *to) {
    const fh_cpu_worker w = {.index = index, .n = n_worker};
    fh_cpu_share(&w, n, from, to);
}

/* The rest of a unit, part by part, from the workers that did it. */
static void collect(const fh_exec *x, const work *a, const item *t, uint64_t n_item, int worker, int n_worker,
                    fh_attend_tile *sums) {
    uint64_t left = t->plan.parts - t->part - 1;
    for (int j = worker + 1; j < n_worker && left > 0; j++) {
        uint64_t from, to;
        share_of(j, n_worker, n_item, &from, &to);
        uint8_t *at = (uint8_t *)(uintptr_t)(const void *)x->worker[j].x[0];
        for (uint64_t i = from; i < to && left > 0; i++, left--) {
            fh_attend_tile part = {.n = sums->n};
            place_sums(a, &part, sums->n, &at);
            merge(a, sums, &part);
        }
    }
    if (left > 0) FH_BUG("a part of attention is missing");
    write_out(x, a, &t->u, sums);
}

static void do_all_short(fh_exec *x, const work *a, fh_cpu_worker *w, uint64_t n_item) {
    const uint32_t pairs = FH_MAX(a->short_pairs, (uint32_t)FEW_TOKENS);
    uint64_t from, to;
    uint8_t *at = room;
    fh_cpu_share(w, n_item, &from, &to);
    uint8_t *stored = cut(&at, PARTS_ROOM); /* of a unit that another worker began */
    w->x[0] = (const float *)(const void *)stored;
    desk d = place_desk(a, a->tile, pairs, &at);
    fh_attend_tile sums = {0}, part = {0};
    place_sums(a, &sums, pairs, &at);
    place_sums(a, &part, pairs, &at);
    item t = {0};
    bool pending = false, foreign = false;
    for (uint64_t i = from; i < to; i++) {
        t = item_at(x, a, i);
        if (i == from && t.part > 0) foreign = true;
        if (t.part == 0) foreign = false;
        if (t.part == 0 || i == from) find_queries(x, a, &t.u, &d);
        fh_attend_tile here = t.part == 0 ? sums : part;
        sums.n = d.tile.n;
        if (foreign) place_sums(a, &here, d.tile.n, &stored);
        d.tile.max = here.max;
        d.tile.sum = here.sum;
        d.tile.acc = here.acc;
        do_part(x, a, &t, &d);
        if (!foreign && t.part > 0) merge(a, &sums, &d.tile);
        pending = !foreign && t.part + 1 < t.plan.parts;
        if (!foreign && !pending) write_out(x, a, &t.u, &sums);
    }
    fh_pool_barrier(x->pool);
    if (pending) collect(x, a, &t, n_item, w->index, w->n, &sums);
}

/* ---- the op ---- */
static bool prepare(const fh_exec *x, const fh_op *o, work *a) {
    const fh_state *s = &x->plan->state[o->state];
    const fh_state_place *at = &x->layout.place[o->state];
    *a = (work){.o = o, .state = s, .q = o->in[0], .out = o->out[0]};
    const uint32_t heads = (uint32_t)((uint64_t)a->q.heads * a->q.width / s->k_width);
    if (!fh_view_reshape(&a->q, heads, s->k_width) || !fh_view_reshape(&a->out, heads, s->v_width)) return false;
    a->ratio = heads / s->heads;
    a->latent = s->kind == FH_STATE_LATENT;
    a->biased = o->u.attend.buckets != 0;
    a->shape = (fh_attend_shape){s->k_width,        s->v_width,         at->k_type, a->latent ? at->k_type : at->v_type,
                                 o->u.attend.scale, o->u.attend.softcap};
    a->tile = fh_attend_choose(&a->shape, false, x->careful);
    a->few = fh_attend_choose(&a->shape, true, x->careful);
    return a->tile != NULL;
}

/* As many pairs as scratch has room for; false: not even the least. Of a short unit two parts must fit beside it. */
static bool fit(work *a) {
    uint32_t pairs = MOST_PAIRS;
    while (pairs > 0 && desk_bytes(a, a->tile, pairs) + sums_bytes(a, pairs) > ROOM) pairs /= 2;
    a->tokens = pairs;
    pairs = MOST_PAIRS;
    while (pairs >= FEW_TOKENS && (2 * sums_bytes(a, pairs) > PARTS_ROOM ||
                                   PARTS_ROOM + desk_bytes(a, a->tile, pairs) + 2 * sums_bytes(a, pairs) > ROOM)) {
        pairs /= 2;
    }
    a->short_pairs = pairs;
    return a->tokens > 0 && pairs >= FEW_TOKENS;
}

void fh_cpu_fast_attend(fh_exec *x, const fh_op *o, fh_cpu_worker *w) {
    work a;
    if (!prepare(x, o, &a) || !fit(&a)) {
        fh_cpu_run_attend(x, o, w);
        return;
    }
    choose_units(x, &a, a.tokens, w->n);
    do_all_long(x, &a, w);
    const uint64_t n_item = count_items(x, &a);
    if (n_item > 0) do_all_short(x, &a, w, n_item);
}
