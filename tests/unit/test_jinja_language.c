/* tests/unit/test_jinja_language.c - the template language, case by case, against the answers of Jinja2 itself.
 * SPDX-License-Identifier: Apache-2.0
 * The cases and how their answers were made: tests/golden/jinja. */
#include "base/file.h"
#include "test.h"
#include "text/template.h"

static fh_json *read_cases(void) {
    char path[FH_PATH_MAX];
    fh_buf text;
    fh_json *doc = NULL;
    fh_err err = {0};
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("jinja/cases.json"), &err), err);
    fh_buf_init(&text, (size_t)64 << 20);
    CHECK_OK(fh_file_read(path, &text, &err), err);
    CHECK_OK(fh_json_parse(&doc, fh_buf_str(&text), NULL, &err), err);
    fh_buf_release(&text);
    return doc;
}

/* FH_OK and the text, or the failure and its message. */
static fh_status render(fh_str source, const fh_json_node *values, fh_buf *out, fh_err *err) {
    const fh_template_now now = {2026, 3, 9, 7, 5, 2};
    const fh_template_budget budget = {.time_ms = UINT32_MAX};
    fh_template_arg args[64];
    fh_template *t = NULL;
    size_t n = 0;
    for (const fh_json_node *v = fh_json_first(values); v && n < 64; v = fh_json_after(values, v))
        args[n++] = (fh_template_arg){.name = v->key, .node = v};
    fh_status s = fh_template_compile(&t, source, err);
    if (s == FH_OK) s = fh_template_render(t, args, n, &now, &budget, out, err);
    fh_template_free(t);
    return s;
}

TEST(jinja, agrees_with_jinja2) {
    fh_json *doc = read_cases();
    const fh_json_node *root = fh_json_root(doc), *values = fh_json_get(root, "values"),
                       *cases = fh_json_get(root, "cases");
    size_t n = 0;
    for (const fh_json_node *c = fh_json_first(cases); c; c = fh_json_after(cases, c), n++) {
        const fh_json_node *source = fh_json_first(c), *want = source ? fh_json_after(c, source) : NULL;
        fh_buf out;
        fh_err err = {0};
        CHECK(source && want);
        fh_buf_init(&out, (size_t)1 << 24);
        fh_status s = render(source->text, values, &out, &err);
        if (want->kind == FH_JSON_NULL) {
            if (s == FH_OK)
                fh_test_fail(__FILE__, __LINE__, "'%.*s' gives '%.*s', expected an error", FH_STR_ARG(source->text),
                             FH_STR_ARG(fh_buf_str(&out)));
            CHECK(out.len == 0);
        } else if (s != FH_OK || !fh_str_eq(fh_buf_str(&out), want->text)) {
            fh_test_fail(__FILE__, __LINE__, "'%.*s' gives '%.*s' (%s), expected '%.*s'", FH_STR_ARG(source->text),
                         FH_STR_ARG(fh_buf_str(&out)), s == FH_OK ? "" : err.message, FH_STR_ARG(want->text));
        }
        fh_buf_release(&out);
    }
    CHECK(n > 1000);
    fh_json_free(doc);
}
