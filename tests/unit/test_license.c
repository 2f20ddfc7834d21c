/* tests/unit/test_license.c - licences: the table, the card reader, the rules, without any licence's text.
 * SPDX-License-Identifier: Apache-2.0
 * The one text that is always here is the project's own LICENSE. Rules are tested on reports made by hand, whose
 * texts are taken for recognised; tests/e2e/test_license.py does it with the published texts. */
#include "library/license.h"

#include <stdio.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/num.h"
#include "test.h"

/* ---- reports by hand ---- */
static const fh_license_row *row_of(const char *key) {
    size_t n;
    const fh_license_row *rows = fh_license_rows(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rows[i].key, key) == 0) return &rows[i];
    fh_test_fail(__FILE__, __LINE__, "no row '%s'", key);
}

static fh_license_report report;
static fh_license_doc docs[8];

static void start_report(void) {
    memset(&report, 0, sizeof report);
    memset(docs, 0, sizeof docs);
    fh_arena_init(&report.arena, 16u << 20);
}

/* child == own index: the model itself; key NULL: no text; tag "": none */
static fh_license_node *add_node(size_t child, const char *key, const char *tag) {
    size_t i = report.n_node++;
    fh_license_node *n = &report.node[i];
    *n = (fh_license_node){.id = i ? FH_STR("owner/base") : FH_STR("model"),
                           .child = child,
                           .here = true,
                           .has_card = true,
                           .declared_state = tag[0] ? FH_CARD_STATED : FH_CARD_ABSENT,
                           .declared = fh_str_of(tag),
                           .multimodal = FH_TRI_NO,
                           .eu_disallowed = FH_TRI_NO};
    if (!key) return n;
    docs[i].row = row_of(key);
    docs[i].file = docs[i].path = FH_STR("LICENSE");
    n->doc = &docs[i];
    n->n_doc = 1;
    return n;
}

static fh_verdict judge(const fh_org *org) {
    fh_err err;
    CHECK_OK(fh_license_judge(&report, org, &err), err);
    return report.verdict;
}

static fh_verdict judge_one(const char *key, const fh_org *org) {
    start_report();
    add_node(0, key, "");
    fh_verdict v = judge(org);
    fh_license_report_release(&report);
    return v;
}

static fh_org full_org(void) {
    return (fh_org){.has_mau = true,
                    .has_monthly = true,
                    .has_yearly = true,
                    .has_sells = true,
                    .has_countries = true,
                    .seat = "US",
                    .country = {"US"},
                    .n_country = 1,
                    .sector = FH_SECTOR_COMMERCIAL};
}

static bool has_duty(const char *kind, const char *from, const char *show) {
    for (size_t i = 0; i < report.n_duty; i++) {
        const fh_license_duty *d = &report.duty[i];
        if (strcmp(d->kind, kind) == 0 && strcmp(d->from, from) == 0 &&
            (!show || (d->show && strcmp(d->show, show) == 0)))
            return true;
    }
    return false;
}

TEST(license, table_is_consistent) {
    size_t n, n_place;
    const fh_license_row *rows = fh_license_rows(&n);
    const fh_license_place *places = fh_license_places(&n_place);
    CHECK(n >= 30 && n_place >= 90);
    for (size_t i = 0; i < n; i++) {
        const fh_license_row *r = &rows[i];
        size_t t = strlen(r->tags);
        CHECK_U64(strlen(r->sha256), 64);
        CHECK(r->tags[0] == ' ' && r->tags[t - 1] == ' ');
        CHECK((r->mau || r->monthly_usd || r->yearly_usd) == (r->gate != FH_LICENSE_GATE_NONE));
        CHECK(!(r->duties & FH_LICENSE_DO_NOTICE) == !r->notice);
        CHECK(!(r->duties & FH_LICENSE_DO_PREFIX) == !r->prefix);
        CHECK(!r->permissive ||
              (r->duties & ~(unsigned)(FH_LICENSE_DO_COPY | FH_LICENSE_DO_CHANGES | FH_LICENSE_DO_KEEP_NOTICE)) == 0);
        CHECK(fh_license_find(r->sha256, r->form) == r); /* so no two rows have one digest */
        bool threshold = false, restriction = false;
        for (size_t k = 0; k < n_place; k++) {
            if (places[k].row != r) continue;
            CHECK(strlen(places[k].sha256) == 64 && places[k].len > 0);
            threshold = threshold || places[k].role == FH_LICENSE_THRESHOLD;
            restriction = restriction || places[k].role == FH_LICENSE_NONCOMMERCIAL;
        }
        CHECK(threshold == (r->gate == FH_LICENSE_GATE_ASK));
        CHECK(restriction == (r->commercial != FH_LICENSE_COMMERCIAL_YES));
    }
    CHECK(fh_license_row_has_tag(row_of("llama3.1"), FH_STR("LLAMA3.1")));
    CHECK(!fh_license_row_has_tag(row_of("llama3.1"), FH_STR("llama3")));
    CHECK(!fh_license_row_has_tag(row_of("deepseek-1.0"), FH_STR("deepseek deepseek-license")));
    CHECK(fh_license_tag_permissive(FH_STR("mit")) && fh_license_tag_permissive(FH_STR("apache-2.0")));
    CHECK(!fh_license_tag_permissive(FH_STR("llama2")) && !fh_license_tag_permissive(FH_STR("modified-mit")));
    CHECK(!fh_license_tag_permissive(FH_STR("nobody-knows")) && !fh_license_tag_permissive(FH_STR("")));
}

/* ---- G4: every boundary at threshold - 1, 0, + 1 ---- */
TEST(license, boundaries) {
    static const struct {
        const char *key;
        int fact; /* 0 users, 1 monthly, 2 yearly revenue */
        uint64_t limit;
        fh_verdict at, above;
    } cases[] = {{"llama2", 0, 700000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"llama3.1", 0, 700000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"llama3.2", 0, 700000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"llama3.3", 0, 700000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"llama4", 0, 700000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"qwen", 0, 100000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"tongyi-qianwen", 0, 100000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"kimi-modified-mit", 0, 100000000, FH_VERDICT_ALLOW, FH_VERDICT_DUTIES},
                 {"kimi-modified-mit", 1, 20000000, FH_VERDICT_ALLOW, FH_VERDICT_DUTIES},
                 {"stabilityai-ai-community", 2, 1000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE},
                 {"tencent-hunyuan-3d-2.0", 0, 1000000, FH_VERDICT_DUTIES, FH_VERDICT_NEEDS_LICENSE}};
    size_t n, limits = 0;
    const fh_license_row *rows = fh_license_rows(&n);
    for (size_t i = 0; i < n; i++)
        limits += (size_t)(rows[i].mau > 0) + (size_t)(rows[i].monthly_usd > 0) + (size_t)(rows[i].yearly_usd > 0);
    CHECK_U64(limits, FH_COUNT(cases)); /* none left out */
    for (size_t i = 0; i < FH_COUNT(cases); i++)
        for (uint64_t step = 0; step < 3; step++) {
            fh_org org = full_org();
            uint64_t value = cases[i].limit - 1 + step;
            *(cases[i].fact == 0 ? &org.mau : cases[i].fact == 1 ? &org.monthly_usd : &org.yearly_usd) = value;
            fh_verdict want = step < 2 ? cases[i].at : cases[i].above, got = judge_one(cases[i].key, &org);
            if (got != want)
                fh_test_fail(__FILE__, __LINE__, "%s at %llu: %s, expected %s", cases[i].key, (unsigned long long)value,
                             fh_verdict_name(got), fh_verdict_name(want));
        }
}

TEST(license, open_facts_are_named) {
    CHECK_U64(judge_one("apache-2.0", NULL), FH_VERDICT_ALLOW);
    start_report();
    add_node(0, "llama3.1", "llama3.1");
    CHECK_U64(judge(NULL), FH_VERDICT_UNKNOWN);
    CHECK_U64(report.otherwise, FH_VERDICT_DUTIES);
    CHECK_U64(report.at_worst, FH_VERDICT_NEEDS_LICENSE);
    CHECK_U64(report.decides.n, 1);
    CHECK(fh_str_starts(report.decides.item[0], "monthly_active_users in 2024-06: more than 700000000"));
    fh_license_report_release(&report);
    /* either side of this one may be used, so it is not unknown */
    start_report();
    add_node(0, "kimi-modified-mit", "modified-mit");
    CHECK_U64(judge(NULL), FH_VERDICT_DUTIES);
    CHECK_U64(report.decides.n, 2);
    CHECK(has_duty("display", "kimi-modified-mit", "Kimi K2"));
    fh_license_report_release(&report);
    /* one of two facts above is enough; one below and the other open is not */
    fh_org org = {.has_mau = true, .mau = 5};
    CHECK_U64(judge_one("kimi-modified-mit", &org), FH_VERDICT_DUTIES);
    org = (fh_org){.has_mau = true, .mau = 5, .has_monthly = true};
    CHECK_U64(judge_one("kimi-modified-mit", &org), FH_VERDICT_ALLOW);
}

TEST(license, commercial_use) {
    fh_org org = full_org();
    CHECK_U64(judge_one("cc-by-nc-4.0", &org), FH_VERDICT_FORBIDDEN);
    CHECK_U64(judge_one("cc-by-nc-sa-4.0", &org), FH_VERDICT_FORBIDDEN);
    CHECK_U64(judge_one("exaone-1.1-nc", &org), FH_VERDICT_NEEDS_LICENSE);
    CHECK_U64(judge_one("cc-by-nc-4.0", NULL), FH_VERDICT_UNKNOWN);
    org.sector = FH_SECTOR_RESEARCH;
    CHECK_U64(judge_one("cc-by-nc-4.0", &org), FH_VERDICT_DUTIES);
    CHECK_U64(judge_one("exaone-1.1-nc", &org), FH_VERDICT_DUTIES);
    org.sells_inference = true;
    CHECK_U64(judge_one("cc-by-nc-4.0", &org), FH_VERDICT_FORBIDDEN);
    org.sector = FH_SECTOR_MILITARY;
    CHECK_U64(judge_one("deepseek-1.0", &org), FH_VERDICT_FORBIDDEN);
    CHECK_U64(judge_one("llama4-use-policy", &org), FH_VERDICT_FORBIDDEN);
    CHECK_U64(judge_one("mit", &org), FH_VERDICT_ALLOW);
}

/* ---- G3 ---- */
TEST(license, european_union) {
    fh_org org = full_org();
    for (int senses = FH_TRI_OPEN; senses <= FH_TRI_YES; senses++)
        for (int seat = 0; seat < 3; seat++) {
            static const fh_verdict want[3][3] = {/* seats: none, DE, CH */
                                                  {FH_VERDICT_UNKNOWN, FH_VERDICT_UNKNOWN, FH_VERDICT_DUTIES},
                                                  {FH_VERDICT_DUTIES, FH_VERDICT_DUTIES, FH_VERDICT_DUTIES},
                                                  {FH_VERDICT_UNKNOWN, FH_VERDICT_FORBIDDEN, FH_VERDICT_DUTIES}};
            static const char seats[3][3] = {"", "DE", "CH"};
            memcpy(org.seat, seats[seat], 3);
            start_report();
            add_node(0, "llama3.2", "llama3.2")->multimodal = (fh_tri)senses;
            CHECK_U64(judge(&org), want[senses][seat]);
            fh_license_report_release(&report);
        }
    memcpy(org.seat, "FR", 3);
    CHECK_U64(judge_one("llama4", &org), FH_VERDICT_FORBIDDEN);
    CHECK_U64(judge_one("llama3.3", &org), FH_VERDICT_DUTIES);
    CHECK_U64(judge_one("llama3.1", &org), FH_VERDICT_DUTIES);
    memcpy(org.seat, "US", 3);
    CHECK_U64(judge_one("llama4", &org), FH_VERDICT_DUTIES);
    CHECK_U64(judge_one("tencent-hunyuan-3d-2.0", &org), FH_VERDICT_DUTIES);
    memcpy(org.country[0], "KR", 3);
    CHECK_U64(judge_one("tencent-hunyuan-3d-2.0", &org), FH_VERDICT_FORBIDDEN);
    org.has_countries = false;
    org.n_country = 0;
    CHECK_U64(judge_one("tencent-hunyuan-3d-2.0", &org), FH_VERDICT_UNKNOWN);
    start_report();
    add_node(0, "mit", "mit")->eu_disallowed = FH_TRI_YES;
    memcpy(org.seat, "IE", 3);
    CHECK_U64(judge(&org), FH_VERDICT_FORBIDDEN);
    fh_license_report_release(&report);
    size_t members = 0;
    for (char a = 'A'; a <= 'Z'; a++)
        for (char b = 'A'; b <= 'Z'; b++) members += fh_country_in_eu((char[3]){a, b, 0});
    CHECK_U64(members, 27);
}

/* ---- the chain adds up; G5 ---- */
TEST(license, chain_adds_up) {
    fh_org org = full_org();
    start_report();
    add_node(0, "apache-2.0", "apache-2.0");
    add_node(0, "gemma", "gemma");
    add_node(1, "llama3.1", "llama3.1");
    CHECK_U64(judge(&org), FH_VERDICT_DUTIES);
    CHECK(has_duty("notice-file", "gemma", row_of("gemma")->notice) && has_duty("pass-on", "gemma", NULL));
    CHECK(has_duty("display", "llama3.1", "Built with Llama") && has_duty("name-prefix", "llama3.1", "Llama"));
    CHECK(has_duty("keep-notice", "apache-2.0", NULL));
    CHECK_U64(report.outputs, FH_LICENSE_OUTPUTS_VIRAL);
    CHECK(report.outputs_known);
    CHECK_U64(report.conflicts.n, 2); /* each child against its base */
    fh_license_report_release(&report);

    start_report(); /* a base that is not here */
    add_node(0, "apache-2.0", "apache-2.0");
    add_node(0, NULL, "")->here = false;
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    CHECK(!report.outputs_known);
    fh_license_report_release(&report);

    start_report(); /* G5: tagged mit, of a llama3 base whose text is not known */
    add_node(0, NULL, "mit");
    add_node(0, NULL, "llama3");
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    CHECK_U64(report.conflicts.n, 1);
    fh_license_report_release(&report);

    start_report(); /* the same with texts: the base goes on to bind */
    add_node(0, "mit", "mit");
    add_node(0, "llama2", "llama2");
    org.mau = 700000001;
    CHECK_U64(judge(&org), FH_VERDICT_NEEDS_LICENSE);
    CHECK_U64(report.conflicts.n, 1);
    CHECK_U64(report.outputs, FH_LICENSE_OUTPUTS_BANNED);
    fh_license_report_release(&report);

    start_report(); /* no conflict where the child says the same, or the base is permissive */
    add_node(0, "llama2", "llama2");
    add_node(0, "llama2", "llama2");
    add_node(1, "mit", "mit");
    org.mau = 0;
    CHECK_U64(judge(&org), FH_VERDICT_DUTIES);
    CHECK_U64(report.conflicts.n, 0);
    fh_license_report_release(&report);
}

TEST(license, tags_only_ever_cost) {
    fh_org org = full_org();
    start_report(); /* the tag against the text */
    add_node(0, "apache-2.0", "llama3.1");
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    CHECK_U64(report.conflicts.n, 1);
    fh_license_report_release(&report);
    start_report(); /* a tag alone */
    add_node(0, NULL, "apache-2.0");
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    fh_license_report_release(&report);
    start_report();
    add_node(0, "mit", "")->declared_state = FH_CARD_UNREADABLE;
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    fh_license_report_release(&report);
    start_report();
    add_node(0, "mit", "mit")->bases = FH_CARD_UNREADABLE;
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    fh_license_report_release(&report);
    start_report(); /* a file that is a use policy by its name is no licence either, whatever stands in it */
    add_node(0, "mit", "mit")->doc->is_policy = true;
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    fh_license_report_release(&report);
    start_report(); /* a policy is no licence */
    add_node(0, "llama4-use-policy", "llama4");
    CHECK_U64(judge(&org), FH_VERDICT_UNKNOWN);
    fh_license_report_release(&report);
}

/* ---- cards ---- */
static char *field_text(const fh_card_field *f, char out[300]) {
    if (f->state == FH_CARD_STATED) snprintf(out, 300, "%.*s", (int)f->text.len, f->text.ptr);
    else snprintf(out, 300, "%s", f->state == FH_CARD_ABSENT ? "-" : "?");
    return out;
}

TEST(license, card_fields) {
    static const struct {
        const char *body, *license, *base; /* bases joined by '+' */
    } cases[] = {
        {"license: mit\n", "mit", "-"},
        {"license: \"mit\" # so\nbase_model: 'a/b'\n", "mit", "a/b"},
        {"license: mit # comment\r\nbase_model:\r\n- a/b\r\n- c/d\r\n", "mit", "a/b+c/d"},
        {"license:\n- mit\n", "mit", "-"},
        {"license:\n- mit\n- apache-2.0\n", "?", "-"},
        {"license: [mit]\nbase_model: [a/b, \"c/d\"]\n", "mit", "a/b+c/d"},
        {"base_model: [a/b, [c]]\n", "-", "?"},
        {"base_model: [a/b,\n  c/d]\n", "-", "?"},
        {"license: mit\nlicense: apache-2.0\n", "?", "-"},
        {"license:\nlicense: mit\nbase_model: a/b\nbase_model: c/d\n", "?", "?"},
        {"license: &x mit\n", "?", "-"},
        {"license: *x\n", "?", "-"},
        {"license: !!str mit\n", "?", "-"},
        {"license: |\n  mit\n", "?", "-"},
        {"license: mit\n  and more\n", "?", "-"},
        {"license: \"m\\x69t\"\n", "?", "-"},
        {"license: 'mit\n", "?", "-"},
        {"license: 'm''t'\n", "?", "-"},
        {"license: m\xC3\xAFt\n", "?", "-"},
        {"license: {a: b}\n", "?", "-"},
        {"license: a: b\n", "?", "-"},
        {"license:\nbase_model: null\n", "-", "-"},
        {"base_model:\n  - a/b\n    - c/d\n", "-", "?"},
        {"base_model:\n  - x: a/b\n", "-", "?"},
        {"base_model:\n  name: a/b\n", "-", "?"},
        {"<<: *x\nlicense: mit\n", "?", "?"},
        {"\tlicense: mit\n", "?", "?"},
        {"no key here\nlicense: mit\n", "?", "?"},
        {"extra_gated_prompt: >-\n  license: mit\n\n  base_model: a/b\nlicense: llama3.1\n", "llama3.1", "-"},
        {"# note\nlanguage:\n- en\n# note\nlicense: mit\nwidget:\n  - text: \"x\n    y\"\n", "mit", "-"},
        {"license_name: x\nnot_license: y\n", "-", "-"},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        char text[600], got[300], bases[600] = "";
        fh_card card;
        int n = snprintf(text, sizeof text, "---\n%s---\n# Title\nlicense: cc0-1.0\n", cases[i].body);
        char *exact = fh_strdup((fh_str){text, (size_t)n}); /* an end of its own, for the address sanitizer */
        CHECK(exact);
        fh_card_parse(&card, (fh_str){exact, (size_t)n});
        field_text(&card.license, got);
        for (size_t k = 0; k < card.n_base; k++) {
            size_t at = strlen(bases);
            snprintf(bases + at, sizeof bases - at, "%s%.*s", k ? "+" : "", (int)card.base[k].len, card.base[k].ptr);
        }
        if (card.bases != FH_CARD_STATED) snprintf(bases, sizeof bases, "%s", card.bases == FH_CARD_ABSENT ? "-" : "?");
        fh_free(exact);
        if (strcmp(got, cases[i].license) != 0 || strcmp(bases, cases[i].base) != 0)
            fh_test_fail(__FILE__, __LINE__, "case %zu: %s and %s, expected %s and %s", i, got, bases, cases[i].license,
                         cases[i].base);
    }
    fh_card card;
    fh_card_parse(&card, FH_STR("# no front matter\nlicense: mit\n"));
    CHECK(card.license.state == FH_CARD_ABSENT && card.bases == FH_CARD_ABSENT);
    fh_card_parse(&card, FH_STR("---\nlicense: mit\n"));
    CHECK(card.license.state == FH_CARD_UNREADABLE && card.bases == FH_CARD_UNREADABLE);
    fh_card_parse(&card, FH_STR(""));
    CHECK(card.license.state == FH_CARD_ABSENT);
}

/* ---- normalized text ---- */
static fh_str normalized(fh_buf *out, fh_buf *from, const char *text, fh_license_form form) {
    fh_buf_init(out, 1 << 16);
    fh_buf_init(from, 1 << 18);
    CHECK(fh_license_normalize(out, from, fh_str_of(text), form));
    CHECK_U64(from->len, 4 * out->len);
    return fh_buf_str(out);
}

TEST(license, normalization) {
    static const struct {
        const char *text, *plain, *owner;
    } cases[] = {
        {"\xEF\xBB\xBF  a \r\n\t b\xC2\xA0 c \n", "a b c", "a b c"},
        {"\xE2\x80\x9CX\xE2\x80\x9D \xE2\x80\x98y\xE2\x80\x99 \xC2\xA9", "\"X\" 'y' (c)", "\"X\" 'y' (c)"},
        {"MIT License\n\nCopyright (c) 2024 A & B, Inc.\n\nPermission",
         "MIT License Copyright (c) 2024 A & B, Inc. "
         "Permission",
         "Permission"},
        {"Permission\nMIT License", "Permission MIT License", "Permission MIT License"},
        {"x\n  Copyright 2020 Z\ny", "x Copyright 2020 Z y", "x y"},
        /* lines that could be conditions stay */
        {"Copyright (c) 2024 A. Non-commercial use only.", "Copyright (c) 2024 A. Non-commercial use only.",
         "Copyright (c) 2024 A. Non-commercial use only."},
        {"Copyright 2024 A. Only if asked.", "Copyright 2024 A. Only if asked.", "Copyright 2024 A. Only if asked."},
        {"Copyright 2024 A; see terms", "Copyright 2024 A; see terms", "Copyright 2024 A; see terms"},
        {"Copyright 2024 A, permitted in US", "Copyright 2024 A, permitted in US", "Copyright 2024 A, permitted in US"},
        {"", "", ""},
    };
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        fh_buf out, from;
        CHECK_STR(normalized(&out, &from, cases[i].text, FH_LICENSE_FORM_TEXT), cases[i].plain);
        fh_buf_release(&out);
        fh_buf_release(&from);
        CHECK_STR(normalized(&out, &from, cases[i].text, FH_LICENSE_FORM_OWNER), cases[i].owner);
        fh_buf_release(&out);
        fh_buf_release(&from);
    }
    fh_buf out;
    fh_buf_init(&out, 100);
    CHECK(!fh_license_normalize(&out, NULL, FH_STR("a\xFFz"), FH_LICENSE_FORM_TEXT));
    fh_buf_release(&out);
}

TEST(license, profile) {
    fh_org org;
    fh_err err;
    CHECK_OK(fh_org_parse(&org,
                          FH_STR("{\"monthly_active_users\":7,\"monthly_revenue\":1e6,\"annual_revenue\":0,"
                                 "\"sells_inference\":false,\"seat\":\"DE\",\"countries\":[\"GB\",\"US\"],"
                                 "\"sector\":\"medical\"}"),
                          &err),
             err);
    CHECK(org.has_mau && org.mau == 7 && org.monthly_usd == 1000000 && org.has_yearly && org.yearly_usd == 0);
    CHECK(org.has_sells && !org.sells_inference && org.n_country == 2 && org.sector == FH_SECTOR_MEDICAL);
    CHECK_STR(fh_str_of(org.seat), "DE");
    static const char *const bad[] = {"[]",
                                      "{\"users\":1}",
                                      "{\"seat\":\"Germany\"}",
                                      "{\"seat\":\"de\"}",
                                      "{\"seat\":\"UK\"}",
                                      "{\"monthly_active_users\":-1}",
                                      "{\"monthly_active_users\":1.5}",
                                      "{\"monthly_active_users\":\"7\"}",
                                      "{\"sells_inference\":1}",
                                      "{\"sector\":\"banana\"}",
                                      "{\"countries\":\"DE\"}",
                                      "{\"countries\":[\"DE\",4]}",
                                      "{\"seat\":\"DE\",\"seat\":\"US\"}",
                                      "{"};
    for (size_t i = 0; i < FH_COUNT(bad); i++) CHECK_STATUS(fh_org_parse(&org, fh_str_of(bad[i]), &err), FH_ERR_FORMAT);
    CHECK_OK(fh_org_parse(&org, FH_STR("{}"), &err), err);
    CHECK(!org.has_mau && !org.seat[0] && org.sector == FH_SECTOR_UNSTATED);
}

/* ---- folders ---- */
static void write_file(const char *folder, const char *name, fh_str text) {
    char path[FH_PATH_MAX];
    fh_err err;
    fh_writer *w;
    CHECK_OK(fh_path_join(path, folder, fh_str_of(name), &err), err);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, text.ptr, text.len, &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

/* The project's own LICENSE: the caller's to release. */
static void own_license(fh_buf *text) {
    char path[FH_PATH_MAX];
    fh_err err;
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("../../LICENSE"), &err), err);
    fh_buf_init(text, 1 << 20);
    CHECK_OK(fh_file_read(path, text, &err), err);
}

static fh_verdict verdict_of(const char *folder) {
    static fh_license_report r;
    fh_err err;
    CHECK_OK(fh_license_gather(&r, folder, fh_test_tmp(), &err), err);
    CHECK_OK(fh_license_judge(&r, NULL, &err), err);
    fh_verdict v = r.verdict;
    fh_license_report_release(&r);
    return v;
}

TEST(license, own_text_and_an_altered_one) {
    static fh_license_report r;
    fh_buf text;
    fh_err err;
    own_license(&text);
    write_file(fh_test_tmp(), "LICENSE", fh_buf_str(&text));
    CHECK_OK(fh_license_gather(&r, fh_test_tmp(), NULL, &err), err);
    CHECK_OK(fh_license_judge(&r, NULL, &err), err);
    CHECK_U64(r.verdict, FH_VERDICT_ALLOW);
    CHECK_STR(fh_str_of(r.node[0].doc[0].row->key), "apache-2.0");
    CHECK_U64(r.node[0].doc[0].n_clause, 4);
    for (size_t i = 0; i < 4; i++) { /* every clause is cited by bytes of this file that have this digest */
        const fh_license_clause *c = &r.node[0].doc[0].clause[i];
        char sha256[FH_SHA256_HEX];
        CHECK(c->at < text.len && c->len <= text.len - c->at);
        CHECK_OK(fh_sha256_of((fh_bytes){text.ptr + c->at, (size_t)c->len}, sha256, &err), err);
        CHECK_STR(fh_str_of(c->sha256), sha256);
        fh_str words = {(const char *)text.ptr + c->at, (size_t)c->len};
        fh_buf plain;
        fh_buf_init(&plain, 1 << 16); /* and those bytes, normalized, are the table's */
        CHECK(fh_license_normalize(&plain, NULL, words, FH_LICENSE_FORM_TEXT));
        CHECK_OK(fh_sha256_of(fh_bytes_of(fh_buf_str(&plain)), sha256, &err), err);
        fh_buf_release(&plain);
        size_t n, found = 0;
        const fh_license_place *place = fh_license_places(&n);
        for (size_t k = 0; k < n; k++)
            found += place[k].row == r.node[0].doc[0].row && place[k].role == c->role &&
                     strcmp(place[k].sha256, sha256) == 0;
        CHECK_U64(found, 1);
        if (c->role == FH_LICENSE_CHANGES) CHECK(fh_str_starts(words, "(b) You must cause"));
        if (c->role == FH_LICENSE_COPY) CHECK(fh_str_starts(words, "4. Redistribution."));
    }
    fh_license_report_release(&r);
    for (size_t at = 40; at < text.len; at += text.len / 12) { /* one letter, anywhere */
        size_t k = at;
        while (text.ptr[k] < 'a' || text.ptr[k] > 'y') k++;
        text.ptr[k]++;
        write_file(fh_test_tmp(), "LICENSE", fh_buf_str(&text));
        text.ptr[k]--;
        CHECK_U64(verdict_of(fh_test_tmp()), FH_VERDICT_UNKNOWN);
    }
    write_file(fh_test_tmp(), "LICENSE", fh_buf_str(&text));
    write_file(fh_test_tmp(), "LICENSE-MODEL", FH_STR("All yours.\n")); /* a second text, not known */
    CHECK_U64(verdict_of(fh_test_tmp()), FH_VERDICT_UNKNOWN);
    fh_buf_release(&text);
}

TEST(license, cards_of_folders) {
    static const struct {
        const char *card;
        fh_verdict want;
    } cases[] = {{"---\nlicense: apache-2.0\n---\n", FH_VERDICT_ALLOW},
                 {"---\nlicense: llama3\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nlicense: other\n---\n", FH_VERDICT_ALLOW},
                 {"---\nlicense: other\nlicense_name: mnpl\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nbase_model: nobody/has-this\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nbase_model: ../..\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nbase_model: /etc\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nbase_model: a/models--b\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nlicense: [\n---\n", FH_VERDICT_UNKNOWN},
                 {"---\nlicense_link: GONE.txt\n---\n", FH_VERDICT_ALLOW}};
    fh_buf text;
    own_license(&text);
    write_file(fh_test_tmp(), "LICENSE", fh_buf_str(&text));
    fh_buf_release(&text);
    for (size_t i = 0; i < FH_COUNT(cases); i++) {
        write_file(fh_test_tmp(), "README.md", fh_str_of(cases[i].card));
        fh_verdict got = verdict_of(fh_test_tmp());
        if (got != cases[i].want)
            fh_test_fail(__FILE__, __LINE__, "case %zu: %s, expected %s", i, fh_verdict_name(got),
                         fh_verdict_name(cases[i].want));
    }
}

#ifdef FH_TEST_BUILD
TEST(license, running_out_of_memory) {
    static fh_license_report r;
    fh_buf text;
    fh_err err;
    own_license(&text);
    write_file(fh_test_tmp(), "LICENSE", fh_buf_str(&text));
    write_file(fh_test_tmp(), "README.md", FH_STR("---\nlicense: apache-2.0\nbase_model:\n- a/b\n---\n"));
    write_file(fh_test_tmp(), "config.json", FH_STR("{\"model_type\":\"llama\"}"));
    fh_buf_release(&text);
    uint64_t live = fh_mem_get_stats().live_bytes, n = 0;
    for (bool done = false; !done; n++) {
        fh_fault_arm(FH_FAULT_ALLOC, n + 1, false);
        fh_status st = fh_license_gather(&r, fh_test_tmp(), NULL, &err);
        bool gathered = st == FH_OK;
        if (gathered) st = fh_license_judge(&r, NULL, &err);
        done = fh_fault_calls(FH_FAULT_ALLOC) <= n;
        fh_fault_disarm();
        if (gathered) fh_license_report_release(&r);
        if (!done) CHECK_STATUS(st, FH_ERR_MEMORY);
        else CHECK_OK(st, err);
        CHECK_U64(fh_mem_get_stats().live_bytes, live);
    }
    CHECK(n > 5);
}
#endif
