/* library/license_org.c - an organisation's profile: the facts about it that licences ask for.
 * SPDX-License-Identifier: Apache-2.0
 * Strict: an unknown key or a value of another kind is refused, since a fact that was misread decides wrongly.
 * What is left out is open. Money is whole US dollars. */
#include "base/file.h"
#include "base/num.h"
#include "library/license.h"

#define FILE_MOST ((size_t)1 << 20)

static const char *const sectors[] = {
    [FH_SECTOR_COMMERCIAL] = "commercial", [FH_SECTOR_GOVERNMENT] = "government", [FH_SECTOR_MILITARY] = "military",
    [FH_SECTOR_MEDICAL] = "medical",       [FH_SECTOR_LEGAL] = "legal",           [FH_SECTOR_RESEARCH] = "research",
    [FH_SECTOR_EDUCATION] = "education",   [FH_SECTOR_NONPROFIT] = "nonprofit",   [FH_SECTOR_PERSONAL] = "personal"};

bool fh_country_in_eu(const char *alpha2) {
    static const char members[] = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";
    for (size_t i = 0; i + 2 < sizeof members; i += 3)
        if (memcmp(members + i, alpha2, 2) == 0) return true;
    return false;
}

static bool read_country(const fh_json_node *n, char out[3]) {
    fh_str s;
    if (!fh_json_to_str(n, &s) || s.len != 2) return false;
    for (size_t i = 0; i < 2; i++)
        if (s.ptr[i] < 'A' || s.ptr[i] > 'Z') return false;
    if (fh_str_is(s, "EU") || fh_str_is(s, "UK") || fh_str_is(s, "EL")) return false; /* no ISO codes of countries */
    return fh_str_copy(out, 3, s);
}

static bool read_sector(const fh_json_node *n, fh_sector *out) {
    fh_str s;
    if (!fh_json_to_str(n, &s)) return false;
    for (size_t i = FH_SECTOR_COMMERCIAL; i < FH_COUNT(sectors); i++)
        if (fh_str_is(s, sectors[i])) {
            *out = (fh_sector)i;
            return true;
        }
    return false;
}

static fh_status read_number(const fh_json_node *n, uint64_t *out, bool *has, fh_err *err) {
    if (!fh_json_to_u64(n, out))
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'%.*s' is no whole number from 0 on", FH_STR_ARG(n->key));
    *has = true;
    return FH_OK;
}

static fh_status read_countries(const fh_json_node *n, fh_org *org, fh_err *err) {
    if (!fh_json_is(n, FH_JSON_ARRAY) || n->n_child > FH_ORG_MOST_COUNTRIES)
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'countries' is no list of country codes");
    for (const fh_json_node *c = fh_json_first(n); c; c = fh_json_after(n, c))
        if (!read_country(c, org->country[org->n_country++]))
            return fh_fail_at(err, FH_ERR_FORMAT, c->offset,
                              "a country is two capital letters of ISO 3166, as in \"DE\" or \"GB\"");
    org->has_countries = true;
    return FH_OK;
}

static fh_status read_member(const fh_json_node *n, fh_org *org, fh_err *err) {
    if (fh_str_is(n->key, "monthly_active_users")) return read_number(n, &org->mau, &org->has_mau, err);
    if (fh_str_is(n->key, "monthly_revenue")) return read_number(n, &org->monthly_usd, &org->has_monthly, err);
    if (fh_str_is(n->key, "annual_revenue")) return read_number(n, &org->yearly_usd, &org->has_yearly, err);
    if (fh_str_is(n->key, "countries")) return read_countries(n, org, err);
    if (fh_str_is(n->key, "sells_inference")) {
        org->has_sells = fh_json_to_bool(n, &org->sells_inference);
        return org->has_sells ? FH_OK : fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'sells_inference' is true or false");
    }
    if (fh_str_is(n->key, "seat")) {
        if (read_country(n, org->seat)) return FH_OK;
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset,
                          "'seat' is two capital letters of ISO 3166, as in \"DE\" or \"GB\"");
    }
    if (fh_str_is(n->key, "sector")) {
        if (read_sector(n, &org->sector)) return FH_OK;
        return fh_fail_at(err, FH_ERR_FORMAT, n->offset,
                          "'sector' is one of commercial, government, military, medical, legal, research, education, "
                          "nonprofit, personal");
    }
    return fh_fail_at(err, FH_ERR_FORMAT, n->offset, "'%.*s' is no fact of an organisation's profile",
                      FH_STR_ARG(n->key));
}

fh_status fh_org_parse(fh_org *out, fh_str json, fh_err *err) {
    fh_json *doc;
    fh_org org;
    memset(&org, 0, sizeof org);
    FH_TRY(fh_json_parse(&doc, json, NULL, err));
    const fh_json_node *root = fh_json_root(doc);
    fh_status st = FH_OK;
    if (!fh_json_is(root, FH_JSON_OBJECT)) st = fh_fail(err, FH_ERR_FORMAT, "an organisation's profile is an object");
    for (const fh_json_node *n = st == FH_OK ? fh_json_first(root) : NULL; n && st == FH_OK; n = fh_json_after(root, n))
        st = read_member(n, &org, err);
    fh_json_free(doc);
    if (st == FH_OK) *out = org;
    return st;
}

fh_status fh_org_read(fh_org *out, const char *path, fh_err *err) {
    fh_buf text;
    fh_buf_init(&text, FILE_MOST);
    fh_status st = fh_file_read(path, &text, err);
    if (st == FH_OK) st = fh_org_parse(out, fh_buf_str(&text), err);
    if (st != FH_OK) fh_err_set_path(err, path);
    fh_buf_release(&text);
    return st;
}
