/* format/gguf_value.c - GGUF values: what makes them valid, their length, typed access to them.
 * SPDX-License-Identifier: Apache-2.0
 * Refuses: values and elements that do not fit the bytes, bools other than 0 and 1, arrays nested
 * deeper than 4, shapes that no file can hold. Access never guesses: a number that does not fit the
 * asked type is no answer.
 * Nested arrays are checked and kept raw: payload is their elements as in the file, each a u32
 * type, a u64 count and the data. Strings are checked again when they are walked: the file may have
 * changed. */
#include "format/gguf_part.h"

static const struct {
    const char *name;
    size_t bytes; /* 0: strings and arrays */
} type_info[FH_GGUF_TYPE_COUNT] = {
    [FH_GGUF_U8] = {"u8", 1},       [FH_GGUF_I8] = {"i8", 1},     [FH_GGUF_U16] = {"u16", 2},
    [FH_GGUF_I16] = {"i16", 2},     [FH_GGUF_U32] = {"u32", 4},   [FH_GGUF_I32] = {"i32", 4},
    [FH_GGUF_F32] = {"f32", 4},     [FH_GGUF_BOOL] = {"bool", 1}, [FH_GGUF_STR] = {"str", 0},
    [FH_GGUF_ARRAY] = {"array", 0}, [FH_GGUF_U64] = {"u64", 8},   [FH_GGUF_I64] = {"i64", 8},
    [FH_GGUF_F64] = {"f64", 8},
};
/* The numbers are the file's own. */
_Static_assert(FH_GGUF_STR == 8 && FH_GGUF_ARRAY == 9 && FH_GGUF_F64 == 12, "value types as in the format");

size_t fh_gguf_type_bytes(fh_gguf_type t) { return (unsigned)t < FH_GGUF_TYPE_COUNT ? type_info[t].bytes : 0; }

const char *fh_gguf_type_name(fh_gguf_type t) {
    return (unsigned)t < FH_GGUF_TYPE_COUNT ? type_info[t].name : "unknown";
}

/* ---- rules ---- */

fh_status fh_gguf_check_name(const char *kind, fh_str name, size_t max, uint64_t at, fh_err *err) {
    size_t nul;
    if (name.len == 0) return fh_fail_at(err, FH_ERR_FORMAT, at, "%s: empty", kind);
    if (name.len > max)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "%s of %zu bytes: the limit is %zu", kind, name.len, max);
    if (!fh_utf8_valid(name)) return fh_fail_at(err, FH_ERR_FORMAT, at, "%s '%.*s': not UTF-8", kind, FH_STR_ARG(name));
    /* other readers would stop at the NUL and see another name */
    if (fh_str_find(name, '\0', &nul))
        return fh_fail_at(err, FH_ERR_FORMAT, at, "%s '%.*s': a NUL inside", kind, (int)nul, name.ptr);
    return FH_OK;
}

static fh_status skip_string(fh_cursor *c, fh_str key, fh_err *err) {
    size_t at = c->pos;
    uint64_t len = fh_cursor_u64(c);
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': the file ends inside a string length", FH_STR_ARG(key));
    size_t left = fh_cursor_left(c);
    fh_cursor_take(c, len);
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': a string of %llu bytes, but only %zu bytes follow",
                          FH_STR_ARG(key), (unsigned long long)len, left);
    return FH_OK;
}

static fh_status check_bools(fh_bytes values, fh_str key, size_t at, fh_err *err) {
    for (size_t i = 0; i < values.len; i++)
        if (values.ptr[i] > 1)
            return fh_fail_at(err, FH_ERR_FORMAT, at + i, "key '%.*s': a bool is %u, neither 0 nor 1", FH_STR_ARG(key),
                              values.ptr[i]);
    return FH_OK;
}

/* n numbers or bools; `at` is where n came from. */
static fh_status skip_fixed(fh_cursor *c, fh_str key, fh_gguf_type type, uint64_t n, size_t at, fh_err *err) {
    size_t start = c->pos;
    uint64_t bytes;
    if (!fh_mul_u64(n, fh_gguf_type_bytes(type), &bytes) || bytes > fh_cursor_left(c))
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': %llu of %s, but only %zu bytes follow", FH_STR_ARG(key),
                          (unsigned long long)n, fh_gguf_type_name(type), fh_cursor_left(c));
    fh_bytes values = fh_cursor_take(c, bytes);
    return type == FH_GGUF_BOOL ? check_bools(values, key, start, err) : FH_OK;
}

fh_status fh_gguf_read_array(fh_cursor *c, fh_str key, fh_gguf_type *elem, uint64_t *n, fh_err *err) {
    size_t at = c->pos;
    uint32_t type = fh_cursor_u32(c);
    uint64_t count = fh_cursor_u64(c);
    if (c->failed)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': the file ends inside an array", FH_STR_ARG(key));
    if (type >= FH_GGUF_TYPE_COUNT)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': element type %u is unknown", FH_STR_ARG(key), type);
    *elem = (fh_gguf_type)type;
    *n = count;
    return FH_OK;
}

static fh_status skip_elements(fh_cursor *c, fh_str key, fh_gguf_type elem, uint64_t n, size_t at, unsigned depth,
                               fh_err *err) {
    if (fh_gguf_type_bytes(elem) != 0) return skip_fixed(c, key, elem, n, at, err);
    uint64_t least = elem == FH_GGUF_STR ? 8 : 12; /* bytes of an empty element */
    if (n > fh_cursor_left(c) / least)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "key '%.*s': %llu of %s, but only %zu bytes follow", FH_STR_ARG(key),
                          (unsigned long long)n, fh_gguf_type_name(elem), fh_cursor_left(c));
    if (elem == FH_GGUF_ARRAY && depth == FH_GGUF_MAX_DEPTH)
        return fh_fail_at(err, FH_ERR_LIMIT, at, "key '%.*s': arrays nested deeper than %u", FH_STR_ARG(key),
                          FH_GGUF_MAX_DEPTH);
    for (uint64_t i = 0; i < n; i++) {
        if (elem == FH_GGUF_STR) {
            FH_TRY(skip_string(c, key, err));
            continue;
        }
        fh_gguf_type inner;
        uint64_t inner_n;
        FH_TRY(fh_gguf_read_array(c, key, &inner, &inner_n, err));
        FH_TRY(skip_elements(c, key, inner, inner_n, c->pos - 8, depth + 1, err));
    }
    return FH_OK;
}

fh_status fh_gguf_skip_value(fh_cursor *c, const fh_gguf_kv *kv, size_t at, fh_err *err) {
    FH_REQUIRE((unsigned)kv->type < FH_GGUF_TYPE_COUNT);
    if (kv->type == FH_GGUF_ARRAY) return skip_elements(c, kv->key, kv->elem, kv->n, at, 1, err);
    if (kv->type == FH_GGUF_STR) return skip_string(c, kv->key, err);
    return skip_fixed(c, kv->key, kv->type, 1, at, err);
}

fh_status fh_gguf_check_shape(fh_str name, fh_dtype dtype, const fh_shape *shape, uint64_t at, uint64_t *bytes,
                              fh_err *err) {
    const fh_dtype_info *d = fh_dtype_get_info(dtype);
    char text[128];
    uint64_t count, size;
    if (shape->n_dim > FH_GGUF_MAX_DIMS)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': %u dimensions, the format has at most %u",
                          FH_STR_ARG(name), shape->n_dim, FH_GGUF_MAX_DIMS);
    fh_shape_text(shape, text, sizeof text);
    for (uint32_t i = 0; i < shape->n_dim; i++)
        if (shape->dim[i] == 0)
            return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': a dimension of %s is zero", FH_STR_ARG(name),
                              text);
    if (fh_shape_cols(shape) % d->block_elems != 0)
        return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': rows of %s are no whole number of %s blocks of %u",
                          FH_STR_ARG(name), text, d->name, d->block_elems);
    if (!fh_shape_count(shape, &count) || !fh_dtype_bytes(dtype, count, &size))
        return fh_fail_at(err, FH_ERR_FORMAT, at, "tensor '%.*s': the size of %s does not fit 64 bits",
                          FH_STR_ARG(name), text);
    *bytes = size;
    return FH_OK;
}

/* ---- access ---- */

/* Where element i of a value of fixed size is; NULL when there is none. Scalars are one element. */
static const uint8_t *element(const fh_gguf_kv *kv, uint64_t i, bool array, fh_gguf_type *type) {
    if (!kv || (kv->type == FH_GGUF_ARRAY) != array) return NULL;
    *type = array ? kv->elem : kv->type;
    size_t size = fh_gguf_type_bytes(*type);
    if (size == 0 || (array && i >= kv->n) || i >= kv->payload.len / size) return NULL;
    return kv->payload.ptr + (size_t)i * size;
}

/* An integer of any of the eight types as 64 bits in two's complement. */
static bool load_integer(fh_gguf_type type, const uint8_t *p, uint64_t *bits, bool *negative) {
    int64_t s;
    *negative = false;
    switch (type) {
    case FH_GGUF_U8: *bits = *p; return true;
    case FH_GGUF_U16: *bits = fh_load_u16(p); return true;
    case FH_GGUF_U32: *bits = fh_load_u32(p); return true;
    case FH_GGUF_U64: *bits = fh_load_u64(p); return true;
    case FH_GGUF_I8: s = (int8_t)*p; break;
    case FH_GGUF_I16: s = (int16_t)fh_load_u16(p); break;
    case FH_GGUF_I32: s = (int32_t)fh_load_u32(p); break;
    case FH_GGUF_I64: s = (int64_t)fh_load_u64(p); break;
    default: return false;
    }
    *negative = s < 0;
    *bits = (uint64_t)s;
    return true;
}

static bool get_u64(const fh_gguf_kv *kv, uint64_t i, bool array, uint64_t *out) {
    fh_gguf_type type;
    uint64_t bits;
    bool negative;
    const uint8_t *p = element(kv, i, array, &type);
    if (!p || !load_integer(type, p, &bits, &negative) || negative) return false;
    *out = bits;
    return true;
}

static bool get_i64(const fh_gguf_kv *kv, uint64_t i, bool array, int64_t *out) {
    fh_gguf_type type;
    uint64_t bits;
    bool negative;
    const uint8_t *p = element(kv, i, array, &type);
    if (!p || !load_integer(type, p, &bits, &negative) || (!negative && bits > INT64_MAX)) return false;
    *out = (int64_t)bits;
    return true;
}

static bool get_f64(const fh_gguf_kv *kv, uint64_t i, bool array, double *out) {
    const uint64_t exact = UINT64_C(1) << 53; /* beyond it an f64 skips integers */
    fh_gguf_type type;
    uint64_t bits;
    bool negative;
    const uint8_t *p = element(kv, i, array, &type);
    if (!p) return false;
    if (type == FH_GGUF_F32) {
        *out = (double)fh_load_f32(p);
        return true;
    }
    if (type == FH_GGUF_F64) {
        *out = fh_load_f64(p);
        return true;
    }
    if (!load_integer(type, p, &bits, &negative)) return false;
    uint64_t magnitude = negative ? 0 - bits : bits;
    if (magnitude > exact) return false;
    *out = negative ? -(double)magnitude : (double)magnitude;
    return true;
}

static bool get_bool(const fh_gguf_kv *kv, uint64_t i, bool array, bool *out) {
    fh_gguf_type type;
    const uint8_t *p = element(kv, i, array, &type);
    if (!p || type != FH_GGUF_BOOL) return false;
    *out = *p != 0;
    return true;
}

bool fh_gguf_to_u64(const fh_gguf_kv *kv, uint64_t *out) { return get_u64(kv, 0, false, out); }
bool fh_gguf_to_i64(const fh_gguf_kv *kv, int64_t *out) { return get_i64(kv, 0, false, out); }
bool fh_gguf_to_f64(const fh_gguf_kv *kv, double *out) { return get_f64(kv, 0, false, out); }
bool fh_gguf_to_bool(const fh_gguf_kv *kv, bool *out) { return get_bool(kv, 0, false, out); }

bool fh_gguf_to_str(const fh_gguf_kv *kv, fh_str *out) {
    if (!kv || kv->type != FH_GGUF_STR) return false;
    *out = fh_str_of_bytes(kv->payload);
    return true;
}

bool fh_gguf_elem_u64(const fh_gguf_kv *kv, uint64_t i, uint64_t *out) { return get_u64(kv, i, true, out); }
bool fh_gguf_elem_i64(const fh_gguf_kv *kv, uint64_t i, int64_t *out) { return get_i64(kv, i, true, out); }
bool fh_gguf_elem_f64(const fh_gguf_kv *kv, uint64_t i, double *out) { return get_f64(kv, i, true, out); }
bool fh_gguf_elem_bool(const fh_gguf_kv *kv, uint64_t i, bool *out) { return get_bool(kv, i, true, out); }

bool fh_gguf_next_str(const fh_gguf_kv *kv, size_t *at, fh_str *out) {
    if (!kv || kv->type != FH_GGUF_ARRAY || kv->elem != FH_GGUF_STR || *at >= kv->payload.len) return false;
    fh_cursor c = {kv->payload, *at, false};
    fh_bytes text = fh_cursor_take(&c, fh_cursor_u64(&c));
    if (c.failed) return false;
    *out = fh_str_of_bytes(text);
    *at = c.pos;
    return true;
}
