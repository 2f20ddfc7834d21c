/* serve/config.c - reading and checking settings.
 * SPDX-License-Identifier: Apache-2.0 */
#include "serve/config.h"

#include "base/folder.h"
#include "base/num.h"

#define MOST_BYTES ((size_t)1 << 20)

static const fh_config_row table[FH_CONFIG_COUNT] = {
#define KIND_TEXT FH_CONFIG_TEXT
#define KIND_FLAG FH_CONFIG_FLAG
#define KIND_COUNT FH_CONFIG_COUNT_
#define KIND_BYTES FH_CONFIG_BYTES
#define KIND_TIME FH_CONFIG_TIME
#define KIND_LIST FH_CONFIG_LIST
#define FH_CONFIG_ROW(key, kind, value, hot, help) {#key, KIND_##kind, value, hot, help},
#include "serve/config.def"
#undef FH_CONFIG_ROW
};

const fh_config_row *fh_config_table(void) { return table; }

/* ---- values ---- */

static fh_str trim(fh_str s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) s = fh_str_drop(s, 1);
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t' || s.ptr[s.len - 1] == '\r')) s.len--;
    return s;
}

bool fh_config_bytes(fh_str s, uint64_t *out) {
    static const struct {
        const char *unit;
        int shift;
    } units[] = {{"K", 10}, {"M", 20}, {"G", 30}, {"T", 40}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    int shift = 0;
    uint64_t n;
    for (size_t i = 0; i < FH_COUNT(units); i++)
        if (fh_str_ends(s, units[i].unit)) {
            shift = units[i].shift;
            s.len -= strlen(units[i].unit);
            break;
        }
    return fh_str_u64(s, &n) && fh_mul_u64(n, (uint64_t)1 << shift, out);
}

bool fh_config_time(fh_str s, int64_t *ms) {
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t n, each = 1000, v;
    if (fh_str_starts(s, "-")) {
        *ms = -1;
        return s.len > 1;
    }
    for (size_t i = 0; i < FH_COUNT(units); i++)
        if (fh_str_ends(s, units[i].unit)) {
            each = units[i].ms;
            s.len -= strlen(units[i].unit);
            break;
        }
    if (!fh_str_u64(s, &n) || !fh_mul_u64(n, each, &v) || v > (uint64_t)INT64_MAX / 1000000) return false;
    *ms = (int64_t)v;
    return true;
}

static bool read_flag(fh_str s, uint64_t *out) {
    static const char *const words[2][4] = {{"no", "off", "false", "0"}, {"yes", "on", "true", "1"}};
    for (uint64_t v = 0; v < 2; v++)
        for (size_t i = 0; i < 4; i++)
            if (fh_str_is(s, words[v][i])) {
                *out = v;
                return true;
            }
    return false;
}

static fh_status add_item(fh_config *c, fh_config_value *v, fh_str text, fh_err *err) {
    if (!v->item) {
        v->item = fh_arena_alloc(&c->arena, FH_CONFIG_LIST_MOST, sizeof(fh_str));
        if (!v->item) return fh_arena_fail(&c->arena, err);
    }
    if (v->n == FH_CONFIG_LIST_MOST)
        return fh_fail(err, FH_ERR_LIMIT, "more than %d values of one setting", FH_CONFIG_LIST_MOST);
    v->item[v->n++] = text;
    return FH_OK;
}

static const char *const kind_words[] = {[FH_CONFIG_TEXT] = "a text",
                                         [FH_CONFIG_FLAG] = "yes or no",
                                         [FH_CONFIG_COUNT_] = "a whole number",
                                         [FH_CONFIG_BYTES] = "bytes such as 64M or 2G",
                                         [FH_CONFIG_TIME] = "a time such as 30s or 5m",
                                         [FH_CONFIG_LIST] = "a text"};

static fh_status set_value(fh_config *c, fh_config_key k, fh_str value, int from, fh_err *err) {
    fh_config_value *v = &c->value[k];
    fh_str text;
    bool ok = true;
    if (from < v->from) return FH_OK;
    if (!fh_arena_copy(&c->arena, value, &text)) return fh_arena_fail(&c->arena, err);
    switch (table[k].kind) {
    case FH_CONFIG_TEXT: v->text = text; break;
    case FH_CONFIG_FLAG: ok = read_flag(text, &v->number); break;
    case FH_CONFIG_COUNT_: ok = fh_str_u64(text, &v->number); break;
    case FH_CONFIG_BYTES: ok = fh_config_bytes(text, &v->number); break;
    case FH_CONFIG_TIME: ok = fh_config_time(text, &v->ms); break;
    case FH_CONFIG_LIST:
        if (from > v->from) v->n = 0;
        if (text.len) FH_TRY(add_item(c, v, text, err));
        break;
    }
    if (!ok)
        return fh_fail(err, FH_ERR_USAGE, "'%s' wants %s, not '%.*s'", table[k].key, kind_words[table[k].kind],
                       FH_STR_ARG(value));
    v->from = from;
    return FH_OK;
}

bool fh_config_find(fh_str key, fh_config_key *out) {
    for (int k = 0; k < FH_CONFIG_COUNT; k++) {
        size_t n = strlen(table[k].key), i = 0;
        if (n != key.len) continue;
        while (i < n && (key.ptr[i] == table[k].key[i] || (key.ptr[i] == '-' && table[k].key[i] == '_'))) i++;
        if (i < n) continue;
        *out = (fh_config_key)k;
        return true;
    }
    return false;
}

fh_status fh_config_set(fh_config *c, fh_str key, fh_str value, int from, fh_err *err) {
    fh_config_key k;
    if (!fh_config_find(key, &k)) return fh_fail(err, FH_ERR_USAGE, "there is no setting '%.*s'", FH_STR_ARG(key));
    return set_value(c, k, value, from, err);
}

fh_status fh_config_init(fh_config *c, fh_err *err) {
    memset(c, 0, sizeof *c);
    fh_arena_init(&c->arena, MOST_BYTES);
    for (int k = 0; k < FH_CONFIG_COUNT; k++) {
        fh_status s = set_value(c, (fh_config_key)k, fh_str_of(table[k].value), 0, err);
        if (s == FH_OK) continue;
        fh_config_release(c);
        return s;
    }
    return FH_OK;
}

void fh_config_release(fh_config *c) { fh_arena_release(&c->arena); }

/* ---- a file ---- */

/* "quoted", or bare up to a comment. */
static bool read_value(fh_str s, fh_str *out) {
    size_t at;
    s = trim(s);
    if (fh_str_starts(s, "\"")) {
        s = fh_str_drop(s, 1);
        if (!fh_str_find(s, '"', &at)) return false;
        fh_str rest = trim(fh_str_drop(s, at + 1));
        *out = fh_str_first(s, at);
        return rest.len == 0 || rest.ptr[0] == '#';
    }
    for (at = 0; at < s.len; at++)
        if (s.ptr[at] == '#' && (at == 0 || s.ptr[at - 1] == ' ' || s.ptr[at - 1] == '\t')) break;
    *out = trim(fh_str_first(s, at));
    return true;
}

static fh_status parse_line(fh_config *c, fh_str line, bool *seen, fh_err *err) {
    size_t eq;
    fh_str value;
    fh_config_key k;
    line = trim(line);
    if (line.len == 0 || line.ptr[0] == '#') return FH_OK;
    if (!fh_str_find(line, '=', &eq)) return fh_fail(err, FH_ERR_FORMAT, "not `key = value`");
    fh_str key = trim(fh_str_first(line, eq));
    if (!fh_config_find(key, &k)) return fh_fail(err, FH_ERR_FORMAT, "there is no setting '%.*s'", FH_STR_ARG(key));
    if (!read_value(fh_str_drop(line, eq + 1), &value))
        return fh_fail(err, FH_ERR_FORMAT, "the value of '%s' has a quote that does not close it", table[k].key);
    if (seen[k] && table[k].kind != FH_CONFIG_LIST)
        return fh_fail(err, FH_ERR_FORMAT, "'%s' was set before", table[k].key);
    seen[k] = true;
    return set_value(c, k, value, 1, err);
}

fh_status fh_config_parse(fh_config *c, fh_str text, fh_err *err) {
    bool seen[FH_CONFIG_COUNT] = {false};
    unsigned number = 1;
    for (size_t at = 0; at < text.len; number++) {
        size_t end = at;
        fh_err why;
        while (end < text.len && text.ptr[end] != '\n') end++;
        memset(&why, 0, sizeof why);
        fh_status s = parse_line(c, (fh_str){text.ptr + at, end - at}, seen, &why);
        if (s != FH_OK) return fh_fail_at(err, s, at, "line %u: %s", number, why.message);
        at = end + 1;
    }
    return FH_OK;
}

fh_status fh_config_read(fh_config *c, const char *path, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, MOST_BYTES);
    fh_status s = fh_file_read(path, &text, err);
    if (s == FH_OK) {
        s = fh_config_parse(c, fh_buf_str(&text), err);
        if (s != FH_OK) fh_err_set_path(err, path);
    }
    fh_buf_release(&text);
    return s;
}

/* ---- looks ---- */

const char *fh_config_text(const fh_config *c, fh_config_key k) {
    return c->value[k].text.len ? c->value[k].text.ptr : "";
}
uint64_t fh_config_number(const fh_config *c, fh_config_key k) { return c->value[k].number; }
int64_t fh_config_ms(const fh_config *c, fh_config_key k) { return c->value[k].ms; }
bool fh_config_flag(const fh_config *c, fh_config_key k) { return c->value[k].number != 0; }

static bool same(const fh_config_value *a, const fh_config_value *b) {
    if (!fh_str_eq(a->text, b->text) || a->number != b->number || a->ms != b->ms || a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!fh_str_eq(a->item[i], b->item[i])) return false;
    return true;
}

void fh_config_cold_changes(const fh_config *was, const fh_config *now, fh_buf *out) {
    for (int k = 0; k < FH_CONFIG_COUNT; k++) {
        if (table[k].hot || same(&was->value[k], &now->value[k])) continue;
        if (out->len) fh_buf_add_z(out, ", ");
        fh_buf_add_z(out, table[k].key);
    }
}

/* ---- folders ---- */

fh_status fh_config_default_path(char out[FH_PATH_MAX], fh_err *err) {
    return fh_folder_own(out, ".config/freehold/config", "config", err);
}

fh_status fh_config_state_dir(char out[FH_PATH_MAX], bool make, fh_err *err) {
    FH_TRY(fh_folder_own(out, ".local/state/freehold", "state", err));
    return make ? fh_folder_make(out, err) : FH_OK;
}
