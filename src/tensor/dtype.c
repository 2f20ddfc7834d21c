/* tensor/dtype.c - the table of element types, built from dtype.def and checked at compile time.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: type ids that GGUF dropped and ids that only forks of the format use, each with its
 * name, so that nobody has to guess what a file holds. Invariants: (1) rows are in enum order; (2)
 * GGUF ids are unique (the switch in fh_dtype_from_gguf would not compile otherwise); (3) plain
 * numbers are blocks of one element. */
#include "tensor/dtype.h"

#include <strings.h>

static const fh_dtype_info info_of[FH_DTYPE_COUNT] = {
#define FH_DTYPE_ROW(id, name, cls, elems, bytes, gguf, st) \
    [FH_DTYPE_##id] = {name, FH_DTYPE_CLASS_##cls, elems, bytes, gguf, st},
#include "tensor/dtype.def"
#undef FH_DTYPE_ROW
};

/* What each class promises about its rows; a NULL name cannot be told from a literal here, so that
 * is a unit test. */
#define CHECK_FLOAT(elems, bytes, gguf) ((elems) == 1 && (bytes) >= 1 && (bytes) <= 8)
#define CHECK_INT(elems, bytes, gguf) ((elems) == 1 && ((bytes) == 1 || (bytes) == 2 || (bytes) == 4 || (bytes) == 8))
#define CHECK_BITS(elems, bytes, gguf) ((elems) > (bytes) && (bytes)*8 % (elems) == 0 && (gguf) == -1)
#define CHECK_BLOCK(elems, bytes, gguf) \
    ((elems) % 32 == 0 && (elems) <= 256 && (bytes) >= 2 && (bytes) <= 292 && (gguf) >= 0)
#define FH_DTYPE_ROW(id, name, cls, elems, bytes, gguf, st) \
    _Static_assert(CHECK_##cls(elems, bytes, gguf), name ": sizes do not fit " #cls); \
    _Static_assert((gguf) >= -1 && (gguf) < 256, name ": GGUF id");
#include "tensor/dtype.def"
#undef FH_DTYPE_ROW

const fh_dtype_info *fh_dtype_get_info(fh_dtype t) {
    FH_REQUIRE((unsigned)t < FH_DTYPE_COUNT);
    return &info_of[t];
}

const char *fh_dtype_name(fh_dtype t) { return fh_dtype_get_info(t)->name; }

bool fh_dtype_from_gguf(uint32_t id, fh_dtype *out) {
    switch ((int64_t)id) {
        /* Types that GGUF has not get cases of their own below zero, where no id can be. */
#define FH_DTYPE_ROW(id_, name, cls, elems, bytes, gguf, st) \
    case (gguf) >= 0 ? (gguf): \
        -1 - (int64_t)FH_DTYPE_##id_ : *out = FH_DTYPE_##id_; \
        return true;
#include "tensor/dtype.def"
#undef FH_DTYPE_ROW
    default: return false;
    }
}

bool fh_dtype_from_safetensors(fh_str name, fh_dtype *out) {
    for (int t = 0; t < FH_DTYPE_COUNT; t++) {
        if (info_of[t].st_name && fh_str_is(name, info_of[t].st_name)) {
            *out = (fh_dtype)t;
            return true;
        }
    }
    return false;
}

bool fh_dtype_from_name(fh_str name, fh_dtype *out) {
    for (int t = 0; t < FH_DTYPE_COUNT; t++) {
        if (name.len == strlen(info_of[t].name) && strncasecmp(name.ptr, info_of[t].name, name.len) == 0) {
            *out = (fh_dtype)t;
            return true;
        }
    }
    return false;
}

const char *fh_dtype_gguf_refusal(uint32_t id) {
    static const struct {
        uint32_t id;
        const char *why;
    } known[] = {
        {4, "Q4_2 was removed from the format"},
        {5, "Q4_3 was removed from the format"},
        {31, "Q4_0_4_4 was removed from the format; such files are made again as Q4_0"},
        {32, "Q4_0_4_8 was removed from the format; such files are made again as Q4_0"},
        {33, "Q4_0_8_8 was removed from the format; such files are made again as Q4_0"},
        {36, "IQ4_NL_4_4 was removed from the format; such files are made again as IQ4_NL"},
        {37, "IQ4_NL_4_8 was removed from the format; such files are made again as IQ4_NL"},
        {38, "IQ4_NL_8_8 was removed from the format; such files are made again as IQ4_NL"},
        {133, "Q6_0 is a type of the ik_llama.cpp fork only"},
        {137, "IQ2_K is a type of the ik_llama.cpp fork only"},
        {138, "IQ3_K is a type of the ik_llama.cpp fork only"},
        {139, "IQ4_K is a type of the ik_llama.cpp fork only"},
        {140, "IQ5_K is a type of the ik_llama.cpp fork only"},
        {141, "IQ6_K is a type of the ik_llama.cpp fork only"},
        {144, "IQ4_KS is a type of the ik_llama.cpp fork only"},
        {145, "IQ2_KS is a type of the ik_llama.cpp fork only"},
        {146, "IQ4_KSS is a type of the ik_llama.cpp fork only"},
        {152, "IQ5_KS is a type of the ik_llama.cpp fork only"},
        {153, "IQ2_KT is a type of the ik_llama.cpp fork only"},
        {154, "IQ3_KT is a type of the ik_llama.cpp fork only"},
        {155, "IQ4_KT is a type of the ik_llama.cpp fork only"},
        {156, "IQ3_KS is a type of the ik_llama.cpp fork only"},
        {157, "IQ2_KL is a type of the ik_llama.cpp fork only"},
    };
    for (size_t i = 0; i < FH_COUNT(known); i++)
        if (known[i].id == id) return known[i].why;
    /* The fork numbers its row-interleaved copies of a type as that type's id + 200. */
    if (id >= 200 && id < 400) return "a row-interleaved (_R4, _R8) type of the ik_llama.cpp fork only";
    if (id >= 133 && id < 200) return "a type of the ik_llama.cpp fork only";
    return "unknown element type";
}

bool fh_dtype_bytes(fh_dtype t, uint64_t n_elem, uint64_t *bytes) {
    const fh_dtype_info *d = fh_dtype_get_info(t);
    if (n_elem % d->block_elems != 0) return false;
    return fh_mul_u64(n_elem / d->block_elems, d->block_bytes, bytes);
}

double fh_dtype_bits(fh_dtype t) {
    const fh_dtype_info *d = fh_dtype_get_info(t);
    return 8.0 * d->block_bytes / d->block_elems;
}
