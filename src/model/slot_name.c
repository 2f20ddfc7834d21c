/* model/slot_name.c - see slot_name.h.
 * SPDX-License-Identifier: Apache-2.0
 * Owns nothing. Names come from files: a pattern matches the whole name or not at all, numbers are plain decimal. */
#include "model/slot_name.h"

#include <inttypes.h>
#include <stdio.h>

#include "model/model_part.h"

typedef struct slot_row {
    const char *name, *gguf, *hf;
} slot_row;

static const slot_row slots[] = {
#define FH_SLOT_ROW(id, name, gguf, hf) [FH_SLOT_##id] = {name, gguf, hf},
#include "model/slot.def"
#undef FH_SLOT_ROW
};

const fh_binder *fh_model_binder(const fh_model *m) { return &m->bind; }

const char *fh_slot_plan_name(fh_slot slot) { return slots[slot].name; }

const fh_name *fh_slot_row(const fh_family *f, fh_stack stack, fh_slot slot) {
    const fh_name *list = stack == FH_STACK_ENCODER ? f->encoder_names : f->names;
    uint32_t n = stack == FH_STACK_ENCODER ? f->n_encoder_names : f->n_names;
    for (uint32_t i = 0; i < n; i++)
        if (list[i].slot == slot) return &list[i];
    return NULL;
}

const char *fh_slot_pattern(const fh_family *f, bool gguf, fh_stack stack, fh_slot slot) {
    const fh_name *own = fh_slot_row(f, stack, slot);
    const char *p = own ? (gguf ? own->gguf : own->hf) : NULL;
    return p ? p : gguf ? slots[slot].gguf : slots[slot].hf;
}

bool fh_slot_alternative(const char **list, fh_str *out) {
    const char *p = *list, *end = p ? strchr(p, '|') : NULL;
    if (!p) return false;
    *out = (fh_str){p, end ? (size_t)(end - p) : strlen(p)};
    *list = end ? end + 1 : NULL;
    return true;
}

bool fh_slot_expand(fh_str pattern, fh_str prefix, int32_t layer, uint32_t expert, char out[FH_SLOT_NAME_MOST]) {
    size_t at = 0;
    if (pattern.len && pattern.ptr[0] == '/') {
        pattern = fh_str_drop(pattern, 1);
    } else {
        if (prefix.len >= FH_SLOT_NAME_MOST) return false;
        if (prefix.len) memcpy(out, prefix.ptr, prefix.len);
        at = prefix.len;
    }
    for (size_t i = 0; i < pattern.len; i++) {
        char digits[16] = {pattern.ptr[i], 0};
        if (pattern.ptr[i] == '%' && i + 1 < pattern.len) {
            snprintf(digits, sizeof digits, "%" PRIu32, pattern.ptr[i + 1] == 'e' ? expert : (uint32_t)layer);
            i++;
        }
        size_t len = strlen(digits);
        if (at + len >= FH_SLOT_NAME_MOST) return false;
        memcpy(out + at, digits, len);
        at += len;
    }
    out[at] = 0;
    return true;
}

/* ---- matching ---- */

static bool number(fh_str name, size_t *at, uint32_t *out) {
    uint64_t v = 0;
    size_t i = *at;
    while (i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && v < INT32_MAX)
        v = v * 10 + (uint64_t)(name.ptr[i++] - '0');
    if (i == *at || v >= INT32_MAX || (name.ptr[*at] == '0' && i > *at + 1)) return false;
    *at = i;
    *out = (uint32_t)v;
    return true;
}

/* The whole name, with or without ".weight" behind it. */
static bool match(fh_str pattern, fh_str name, fh_slot_place *p) {
    size_t at = 0;
    uint32_t v;
    p->layer = -1;
    p->by_expert = false;
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] != '%' || i + 1 == pattern.len) {
            if (at == name.len || name.ptr[at++] != pattern.ptr[i]) return false;
            continue;
        }
        if (!number(name, &at, &v)) return false;
        if (pattern.ptr[++i] == 'e') {
            p->by_expert = true;
            p->expert = v;
        } else {
            p->layer = (int32_t)v;
        }
    }
    return at == name.len || fh_str_is(fh_str_drop(name, at), ".weight");
}

static bool match_prefixed(const fh_family *f, bool gguf, fh_str pattern, fh_str name, fh_slot_place *p) {
    const char *list = gguf ? "" : f->hf_prefix;
    fh_str prefix;
    if (!pattern.len) return false;
    if (pattern.ptr[0] == '/') return match(fh_str_drop(pattern, 1), name, p);
    while (fh_slot_alternative(&list, &prefix)) {
        if (name.len < prefix.len || (prefix.len && memcmp(name.ptr, prefix.ptr, prefix.len) != 0)) continue;
        if (match(pattern, fh_str_drop(name, prefix.len), p)) return true;
    }
    return false;
}

size_t fh_slot_match(const fh_family *f, bool gguf, fh_str name, fh_slot_place *out, size_t room) {
    size_t n = 0;
    for (int stack = FH_STACK_MAIN; stack <= FH_STACK_ENCODER; stack++)
        for (int slot = 0; slot < FH_SLOT_COUNT; slot++) {
            if (stack == FH_STACK_ENCODER && !fh_slot_row(f, FH_STACK_ENCODER, (fh_slot)slot)) continue;
            const char *list = fh_slot_pattern(f, gguf, (fh_stack)stack, (fh_slot)slot);
            bool numbered = list && strstr(list, "%u") != NULL;
            fh_str pattern;
            while (n < room && fh_slot_alternative(&list, &pattern)) {
                fh_slot_place p = {.slot = (fh_slot)slot, .stack = (fh_stack)stack};
                if (!match_prefixed(f, gguf, pattern, name, &p)) continue;
                p.every_layer = numbered && p.layer < 0;
                out[n++] = p;
            }
        }
    return n;
}

bool fh_slot_is_norm(fh_slot slot) {
    const char *name = slots[slot].name;
    size_t n = strlen(name);
    return slot != FH_SLOT_DELTA_NORM && n > 5 && strcmp(name + n - 5, "_norm") == 0;
}

/* ---- orders of rows ---- */

/* Heads of `width`: halves (s, j) in safetensors, pairs (j, s) in GGUF. */
static uint64_t turn(uint64_t i, uint32_t width, bool from_gguf) {
    uint64_t head = i / width, in = i % width, half = width / 2;
    return head * width + (from_gguf ? in % 2 * half + in / 2 : in % half * 2 + in / half);
}

/* Value head h: by key head in safetensors, in turn in GGUF; `width` rows each. */
static uint64_t deal(const fh_delta_spec *d, uint64_t i, uint32_t width, bool from_gguf) {
    uint64_t h = i / width, ratio = d->v_heads / d->k_heads;
    uint64_t to = from_gguf ? h % d->k_heads * ratio + h / d->k_heads : h % ratio * d->k_heads + h / ratio;
    return to * width + i % width;
}

static bool turns(const fh_spec *s, fh_slot slot) {
    return s->family->rope_gguf != s->family->rope_hf && (slot == FH_SLOT_ATTN_Q || slot == FH_SLOT_ATTN_Q_BIAS ||
                                                          slot == FH_SLOT_ATTN_K || slot == FH_SLOT_ATTN_K_BIAS);
}

uint64_t fh_form_row(const fh_spec *s, fh_slot slot, int32_t layer, bool from_gguf, uint64_t i) {
    const fh_delta_spec *d = &s->delta;
    if (turns(s, slot)) return turn(i, s->layer[layer < 0 ? 0 : layer].k_width, from_gguf);
    if (!d->k_heads) return i;
    uint64_t before = 2 * (uint64_t)d->k_heads * d->k_width;
    switch (slot) {
    case FH_SLOT_DELTA_QKV:
    case FH_SLOT_DELTA_CONV: return i < before ? i : before + deal(d, i - before, d->v_width, from_gguf);
    case FH_SLOT_DELTA_Z: return deal(d, i, d->v_width, from_gguf);
    case FH_SLOT_DELTA_A:
    case FH_SLOT_DELTA_B:
    case FH_SLOT_DELTA_DECAY:
    case FH_SLOT_DELTA_DT_BIAS: return deal(d, i, 1, from_gguf);
    default: return i;
    }
}

uint64_t fh_form_col(const fh_spec *s, fh_slot slot, bool from_gguf, uint64_t i) {
    return slot == FH_SLOT_DELTA_O && s->delta.k_heads ? deal(&s->delta, i, s->delta.v_width, from_gguf) : i;
}

bool fh_form_moves(const fh_spec *s, fh_slot slot) {
    if (turns(s, slot)) return true;
    if (!s->delta.k_heads || s->delta.k_heads == s->delta.v_heads) return false;
    return (slot >= FH_SLOT_DELTA_QKV && slot <= FH_SLOT_DELTA_DT_BIAS) || slot == FH_SLOT_DELTA_O;
}
