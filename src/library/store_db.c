/* library/store_db.c - the library's SQLite file: every statement of SQL is here.
 * SPDX-License-Identifier: Apache-2.0
 *   model   id, entry                               what a name can stand for; gone with its last name
 *   file    model, path, role, digest, bytes
 *   name    name -> model, source, revision, since when
 *   before  name, serial -> the same: what a name stood for, latest serial first
 * One transaction a change; SQLite's rollback journal and full sync make it whole or nothing. Two processes wait for
 * one another. */
#include <limits.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/num.h"
#include "library/store_part.h"

#define VERSION 1
#define WAIT_MS 10000

static const char schema[] =
    "CREATE TABLE model(id TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE file(model TEXT NOT NULL REFERENCES model(id) ON DELETE CASCADE, path TEXT NOT NULL,"
    " role TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY(model, path)) WITHOUT ROWID;"
    "CREATE INDEX file_digest ON file(digest);"
    "CREATE TABLE name(name TEXT PRIMARY KEY, model TEXT NOT NULL REFERENCES model(id), source TEXT NOT NULL,"
    " revision TEXT NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE before(serial INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,"
    " model TEXT NOT NULL REFERENCES model(id), source TEXT NOT NULL, revision TEXT NOT NULL,"
    " since_ms INTEGER NOT NULL);"
    "CREATE INDEX before_name ON before(name);";

static const char drop_unused[] =
    "DELETE FROM model WHERE id NOT IN (SELECT model FROM name) AND id NOT IN (SELECT model FROM before)";

fh_status fh_store_db_fail(fh_store *s, const char *what, fh_err *err) {
    int code = sqlite3_errcode(s->db) & 0xff;
    fh_status st = code == SQLITE_NOMEM                              ? FH_ERR_MEMORY
                   : code == SQLITE_FULL                             ? FH_ERR_SPACE
                   : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? FH_ERR_CORRUPT
                   : code == SQLITE_PERM || code == SQLITE_READONLY  ? FH_ERR_DENIED
                                                                     : FH_ERR_IO;
    fh_fail(err, st, "the library's table of names: cannot %s: %s", what, sqlite3_errmsg(s->db));
    fh_err_set_path(err, s->folder);
    return st;
}

fh_status fh_store_db_run(fh_store *s, const char *sql, fh_err *err) {
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? FH_OK : fh_store_db_fail(s, "change it", err);
}

static fh_status prepare(fh_store *s, sqlite3_stmt **q, const char *sql, const fh_str *value, size_t n, fh_err *err) {
    *q = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, q, NULL) != SQLITE_OK) return fh_store_db_fail(s, "read it", err);
    for (size_t i = 0; i < n; i++) {
        const char *text = value[i].len ? value[i].ptr : "";
        if (sqlite3_bind_text(*q, (int)i + 1, text, (int)FH_MIN(value[i].len, (size_t)INT_MAX), SQLITE_TRANSIENT) !=
            SQLITE_OK) {
            sqlite3_finalize(*q);
            return fh_store_db_fail(s, "read it", err);
        }
    }
    return FH_OK;
}

fh_status fh_store_db_do(fh_store *s, const char *sql, const fh_str *value, size_t n, fh_err *err) {
    sqlite3_stmt *q;
    FH_TRY(prepare(s, &q, sql, value, n, err));
    int rc = sqlite3_step(q);
    fh_status st = rc == SQLITE_DONE || rc == SQLITE_ROW ? FH_OK : fh_store_db_fail(s, "change it", err);
    sqlite3_finalize(q);
    return st;
}

fh_status fh_store_db_has(fh_store *s, const char *sql, fh_str value, bool *has, fh_err *err) {
    sqlite3_stmt *q;
    FH_TRY(prepare(s, &q, sql, &value, 1, err));
    int rc = sqlite3_step(q);
    fh_status st = rc == SQLITE_DONE || rc == SQLITE_ROW ? FH_OK : fh_store_db_fail(s, "read it", err);
    *has = rc == SQLITE_ROW;
    sqlite3_finalize(q);
    return st;
}

static fh_status get_version(fh_store *s, int *version, fh_err *err) {
    sqlite3_stmt *q;
    FH_TRY(prepare(s, &q, "PRAGMA user_version", NULL, 0, err));
    fh_status st = sqlite3_step(q) == SQLITE_ROW ? FH_OK : fh_store_db_fail(s, "read it", err);
    if (st == FH_OK) *version = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    return st;
}

/* Two processes may come to a new library at once: one makes the tables, the other finds them. */
static fh_status make_tables(fh_store *s, fh_err *err) {
    char set[64];
    int version = 0;
    FH_TRY(fh_store_db_run(s, "BEGIN IMMEDIATE", err));
    fh_status st = get_version(s, &version, err);
    snprintf(set, sizeof set, "PRAGMA user_version = %d", VERSION);
    if (st == FH_OK && version == 0) st = fh_store_db_run(s, schema, err);
    if (st == FH_OK && version == 0) st = fh_store_db_run(s, set, err);
    if (st == FH_OK) return fh_store_db_run(s, "COMMIT", err);
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

fh_status fh_store_db_open(fh_store *s, fh_err *err) {
    char path[FH_PATH_MAX];
    int version = 0;
    FH_TRY(fh_path_join(path, s->folder, FH_STR("library.db"), err));
    /* reading may have to roll back what a killed process left, which is a write; a read-only disk has no such thing */
    int flags = SQLITE_OPEN_READWRITE | (s->mode == FH_STORE_MAKE ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(path, &s->db, flags, NULL);
    if (!s->db) return fh_fail_memory(err, 1);
    if (rc != SQLITE_OK) return fh_store_db_fail(s, "open it", err);
    sqlite3_busy_timeout(s->db, WAIT_MS);
    FH_TRY(fh_store_db_run(s, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF", err));
    FH_TRY(get_version(s, &version, err));
    if (version == 0 && s->mode == FH_STORE_MAKE) {
        FH_TRY(make_tables(s, err));
        FH_TRY(get_version(s, &version, err));
    }
    if (version == VERSION) return FH_OK;
    fh_fail(err, FH_ERR_UNSUPPORTED, "the library's table of names has version %d; this freehold reads %d", version,
            VERSION);
    fh_err_set_path(err, s->folder);
    return FH_ERR_UNSUPPORTED;
}

/* ---- reading ---- */

static fh_status column(sqlite3_stmt *q, int i, fh_arena *a, fh_str *out, fh_err *err) {
    const char *text = (const char *)sqlite3_column_text(q, i);
    fh_str s = {text, (size_t)sqlite3_column_bytes(q, i)};
    return fh_arena_copy(a, s.len ? s : FH_STR(""), out) ? FH_OK : fh_arena_fail(a, err);
}

static fh_status column_hex(sqlite3_stmt *q, int i, char out[FH_SHA256_HEX], fh_err *err) {
    fh_str s = {(const char *)sqlite3_column_text(q, i), (size_t)sqlite3_column_bytes(q, i)};
    if (!fh_sha256_is_hex(s)) return fh_fail(err, FH_ERR_CORRUPT, "the library's table of names holds a broken digest");
    (void)fh_str_copy(out, FH_SHA256_HEX, s);
    return FH_OK;
}

static fh_status read_file(sqlite3_stmt *q, fh_store_model *m, fh_arena *a, fh_err *err) {
    fh_store_file *f = &m->file[m->n_file];
    FH_TRY(column(q, 0, a, &f->path, err));
    FH_TRY(column(q, 1, a, &f->role, err));
    FH_TRY(column_hex(q, 2, f->digest, err));
    f->bytes = (uint64_t)sqlite3_column_int64(q, 3);
    if (!fh_store_path_ok(f->path))
        return fh_fail(err, FH_ERR_CORRUPT, "the library's table of names holds a broken path");
    if (!fh_add_u64(m->bytes, f->bytes, &m->bytes)) return fh_fail(err, FH_ERR_CORRUPT, "sizes beyond all bounds");
    m->n_file++;
    return FH_OK;
}

static fh_status read_files(fh_store *s, fh_store_model *m, fh_arena *a, fh_err *err) {
    sqlite3_stmt *q;
    fh_str id = fh_str_of(m->id);
    int rc;
    FH_TRY(prepare(s, &q, "SELECT count(*) FROM file WHERE model = ?1", &id, 1, err));
    rc = sqlite3_step(q);
    uint64_t n = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    if (rc != SQLITE_ROW) return fh_store_db_fail(s, "read it", err);
    m->file = fh_arena_alloc(a, (size_t)n, sizeof *m->file);
    if (!m->file) return fh_arena_fail(a, err);
    FH_TRY(prepare(s, &q, "SELECT path, role, digest, bytes FROM file WHERE model = ?1 ORDER BY path", &id, 1, err));
    fh_status st = FH_OK;
    while (st == FH_OK && (rc = sqlite3_step(q)) == SQLITE_ROW && m->n_file < n) st = read_file(q, m, a, err);
    if (st == FH_OK && rc != SQLITE_DONE) st = fh_store_db_fail(s, "read it", err);
    sqlite3_finalize(q);
    return st;
}

#define NAME_COLUMNS \
    "SELECT n.name, n.source, n.revision, m.entry, m.id, n.since_ms," \
    " EXISTS(SELECT 1 FROM before b WHERE b.name = n.name) FROM name n JOIN model m ON m.id = n.model "

static fh_status read_name(sqlite3_stmt *q, fh_store_model *m, fh_arena *a, fh_err *err) {
    memset(m, 0, sizeof *m);
    FH_TRY(column(q, 0, a, &m->name, err));
    FH_TRY(column(q, 1, a, &m->source, err));
    FH_TRY(column(q, 2, a, &m->revision, err));
    FH_TRY(column(q, 3, a, &m->entry, err));
    FH_TRY(column_hex(q, 4, m->id, err));
    m->named_ms = (uint64_t)sqlite3_column_int64(q, 5);
    m->has_before = sqlite3_column_int(q, 6) != 0;
    if (m->entry.len && !fh_store_path_ok(m->entry))
        return fh_fail(err, FH_ERR_CORRUPT, "the library's table of names holds a broken path");
    return FH_OK;
}

/* All rows that the statement gives, with their files. */
static fh_status read_models(fh_store *s, const char *sql, const fh_str *value, size_t n_value, fh_arena *a,
                             fh_store_model **out, size_t *n, fh_err *err) {
    sqlite3_stmt *q;
    fh_buf rows;
    int rc = SQLITE_DONE;
    fh_buf_init(&rows, a->ceiling);
    FH_TRY(prepare(s, &q, sql, value, n_value, err));
    fh_status st = FH_OK;
    while (st == FH_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        fh_store_model m;
        st = read_name(q, &m, a, err);
        if (st == FH_OK) fh_buf_add(&rows, &m, sizeof m);
    }
    if (st == FH_OK && rc != SQLITE_DONE) st = fh_store_db_fail(s, "read it", err);
    sqlite3_finalize(q);
    if (st == FH_OK) st = fh_buf_check(&rows, err);
    size_t count = rows.len / sizeof(fh_store_model);
    fh_store_model *m = st == FH_OK ? fh_arena_alloc(a, count, sizeof *m) : NULL;
    if (st == FH_OK && !m) st = fh_arena_fail(a, err);
    if (st == FH_OK && count) memcpy(m, rows.ptr, rows.len);
    fh_buf_release(&rows);
    for (size_t i = 0; st == FH_OK && i < count; i++) st = read_files(s, &m[i], a, err);
    if (st != FH_OK) return st;
    *out = m;
    *n = count;
    return FH_OK;
}

fh_status fh_store_list(fh_store *s, fh_arena *arena, fh_store_model **out, size_t *n, fh_err *err) {
    return read_models(s, NAME_COLUMNS "ORDER BY n.name", NULL, 0, arena, out, n, err);
}

fh_status fh_store_find(fh_store *s, fh_str typed, fh_arena *arena, fh_store_model *out, bool *found, fh_err *err) {
    static const char *const prefixes[] = {"https://",
                                           "hf.co/",
                                           "huggingface.co/",
                                           "registry.ollama.ai/library/",
                                           "registry.ollama.ai/",
                                           "ollama.com/library/",
                                           "ollama.com/"};
    static const char *const tries[] = {
        NAME_COLUMNS "WHERE n.name = ?1", NAME_COLUMNS "WHERE n.name = ?1 || ':latest'",
        NAME_COLUMNS "WHERE lower(n.name) = lower(?1)",
        /* the one variant or revision of a repository that is here; the names hold neither '%' nor '_' unescaped */
        NAME_COLUMNS "WHERE substr(lower(n.name), 1, length(?1) + 1) IN (lower(?1) || ':', lower(?1) || '@')"};
    fh_store_model *m;
    size_t n = 0;
    *found = false;
    for (size_t i = 0; i < FH_COUNT(prefixes); i++)
        if (fh_str_starts(typed, prefixes[i])) typed = fh_str_drop(typed, strlen(prefixes[i]));
    if (!fh_store_name_ok(typed)) return FH_OK;
    for (size_t i = 0; i < FH_COUNT(tries); i++) {
        FH_TRY(read_models(s, tries[i], &typed, 1, arena, &m, &n, err));
        if (n > 1) {
            return fh_fail(err, FH_ERR_USAGE, "'%.*s' may be '%.*s' or '%.*s'; say which", FH_STR_ARG(typed),
                           FH_STR_ARG(m[0].name), FH_STR_ARG(m[1].name));
        }
        if (n == 0) continue;
        *out = m[0];
        *found = true;
        return FH_OK;
    }
    return FH_OK;
}

/* ---- changes ---- */

static fh_status put_file(fh_store *s, const fh_store_model *m, const fh_store_file *f, fh_err *err) {
    char bytes[24];
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)f->bytes);
    const fh_str row[] = {fh_str_of(m->id), f->path, f->role, fh_str_of(f->digest), fh_str_of(bytes)};
    return fh_store_db_do(s, "INSERT OR IGNORE INTO file VALUES(?1, ?2, ?3, ?4, CAST(?5 AS INTEGER))", row,
                          FH_COUNT(row), err);
}

static fh_status put_all(fh_store *s, const fh_store_model *m, bool keep_before, fh_err *err) {
    char now[24];
    snprintf(now, sizeof now, "%llu", (unsigned long long)fh_clock_unix_ms());
    const fh_str model[] = {fh_str_of(m->id), m->entry};
    const fh_str name[] = {m->name, fh_str_of(m->id), m->source, m->revision, fh_str_of(now)};
    FH_TRY(fh_store_db_do(s, "INSERT OR IGNORE INTO model VALUES(?1, ?2)", model, FH_COUNT(model), err));
    for (size_t i = 0; i < m->n_file; i++) FH_TRY(put_file(s, m, &m->file[i], err));
    if (keep_before)
        FH_TRY(fh_store_db_do(s,
                              "INSERT INTO before(name, model, source, revision, since_ms)"
                              " SELECT * FROM name WHERE name = ?1 AND model <> ?2",
                              name, 2, err));
    FH_TRY(fh_store_db_do(s, "INSERT OR REPLACE INTO name VALUES(?1, ?2, ?3, ?4, CAST(?5 AS INTEGER))", name,
                          FH_COUNT(name), err));
    return fh_store_db_run(s, drop_unused, err);
}

static fh_status end(fh_store *s, fh_status st, fh_err *err) {
    if (st == FH_OK) st = fh_store_db_run(s, "COMMIT", err);
    if (st != FH_OK) (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

fh_status fh_store_db_put(fh_store *s, const fh_store_model *m, bool keep_before, fh_err *err) {
    FH_TRY(fh_store_db_run(s, "BEGIN IMMEDIATE", err));
    return end(s, put_all(s, m, keep_before, err), err);
}

fh_status fh_store_remove(fh_store *s, fh_str name, fh_err *err) {
    FH_TRY(fh_store_db_run(s, "BEGIN IMMEDIATE", err));
    fh_status st = fh_store_db_do(s, "DELETE FROM name WHERE name = ?1", &name, 1, err);
    if (st == FH_OK && sqlite3_changes(s->db) == 0)
        st = fh_fail(err, FH_ERR_NOT_FOUND, "no model '%.*s' in the library", FH_STR_ARG(name));
    if (st == FH_OK) st = fh_store_db_do(s, "DELETE FROM before WHERE name = ?1", &name, 1, err);
    if (st == FH_OK) st = fh_store_db_run(s, drop_unused, err);
    return end(s, st, err);
}

fh_status fh_store_rollback(fh_store *s, fh_str name, fh_err *err) {
    bool has = false;
    FH_TRY(fh_store_db_run(s, "BEGIN IMMEDIATE", err));
    fh_status st = fh_store_db_has(s, "SELECT 1 FROM before WHERE name = ?1", name, &has, err);
    if (st == FH_OK && !has)
        st = fh_fail(err, FH_ERR_NOT_FOUND, "nothing was kept that '%.*s' stood for before", FH_STR_ARG(name));
    /* they change places, so that a second rollback undoes the first */
    if (st == FH_OK)
        st = fh_store_db_do(s,
                            "INSERT INTO before(name, model, source, revision, since_ms)"
                            " SELECT * FROM name WHERE name = ?1",
                            &name, 1, err);
    if (st == FH_OK)
        st = fh_store_db_do(s,
                            "INSERT OR REPLACE INTO name SELECT name, model, source, revision, since_ms FROM before"
                            " WHERE name = ?1 ORDER BY serial DESC LIMIT 1 OFFSET 1",
                            &name, 1, err);
    if (st == FH_OK)
        st = fh_store_db_do(s,
                            "DELETE FROM before WHERE serial = (SELECT serial FROM before WHERE name = ?1"
                            " ORDER BY serial DESC LIMIT 1 OFFSET 1)",
                            &name, 1, err);
    return end(s, st, err);
}
