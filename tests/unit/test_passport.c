/* tests/unit/test_passport.c - facts, what does not count as one, verdicts, exports and their refusals.
 * SPDX-License-Identifier: Apache-2.0
 * Cards are written here; weights are those of the committed golden models. */
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "library/passport.h"
#include "library/passport_export.h"
#include "test.h"

static fh_passport P;
static const fh_passport_options NOTHING = {.pool = NULL};

static void put_file(const char *folder, const char *name, fh_str text) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_writer *w;
    CHECK_OK(fh_path_join(path, folder, fh_str_of(name), &err), err);
    CHECK_OK(fh_writer_open(&w, path, &err), err);
    CHECK_OK(fh_writer_add(w, text.ptr, text.len, &err), err);
    CHECK_OK(fh_writer_commit(w, &err), err);
}

static void gather(const char *model) {
    fh_err err = {0};
    CHECK_OK(fh_passport_gather(&P, model, &NOTHING, &err), err);
}

static const fh_passport_fact *fact(fh_passport_key k) { return &P.fact[k]; }
static bool stated(fh_passport_key k) { return P.fact[k].state == FH_PASSPORT_STATED; }

TEST(passport, an_empty_folder_has_one_and_all_of_it_is_unknown) {
    gather(fh_test_tmp());
    size_t n = 0;
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) n += stated((fh_passport_key)k);
    CHECK_U64(n, 0);
    CHECK(P.osaid == FH_OPENNESS_UNKNOWN);
    CHECK_U64(P.mof_class, 0);
    CHECK(strcmp(P.standing, "rented") == 0);
    CHECK(strcmp(P.family, "unknown") == 0);
    fh_passport_release(&P);
}

static const char card[] =
    "---\n"
    "license: mit\n"
    "datasets:\n"
    "- one/corpus\n"
    "- \"two\"\n"
    "language: [en, de]\n"
    "pipeline_tag: &anchor text-generation\n"
    "co2_eq_emissions:\n"
    "  emissions: 12\n"
    "---\n"
    "# Some | model\n"
    "Words that say what this is for, and so many of them that it counts as a card of a model, "
    "which a card of three words would not, because nothing could be learned from it at all, "
    "whatever anybody says.\n"
    "## Limitations and bias\n"
    "It answers in a confident tone whether it is right or wrong, and it is mostly wrong.\n"
    "## Risks\n"
    "[More Information Needed]\n"
    "```\n## Contact\nthis stands in a fence and is no section of the card but a piece of code\n```\n"
    "## Environmental Impact\n"
    "none\n"
    "Paper: https://arxiv.org/abs/1234.5678.\n";

TEST(passport, a_card_states_what_it_states_and_nothing_else) {
    put_file(fh_test_tmp(), "README.md", FH_STR(card));
    put_file(fh_test_tmp(), "train_all.py", FH_STR("pass\n"));
    gather(fh_test_tmp());
    CHECK_STR(fact(FH_PASSPORT_KEY_DATA_SOURCES)->value, "one/corpus, two");
    CHECK_STR(fact(FH_PASSPORT_KEY_LANGUAGES)->value, "en, de");
    CHECK(!stated(FH_PASSPORT_KEY_MODALITY)); /* an anchor: not a plain value */
    CHECK(!stated(FH_PASSPORT_KEY_ENERGY));   /* a map, and a section of one word */
    CHECK(!stated(FH_PASSPORT_KEY_RISKS));    /* a template left empty */
    CHECK(!stated(FH_PASSPORT_KEY_CONTACT));  /* within a fence */
    CHECK(stated(FH_PASSPORT_KEY_LIMITS));
    CHECK_STR(fact(FH_PASSPORT_KEY_LIMITS)->source, "README.md, section 'Limitations and bias'");
    CHECK(fact(FH_PASSPORT_KEY_LIMITS)->by == FH_PASSPORT_BY_PUBLISHER);
    CHECK_U64(strlen(fact(FH_PASSPORT_KEY_LIMITS)->sha256), 64);
    CHECK_STR(fact(FH_PASSPORT_KEY_PAPER)->value, "https://arxiv.org/abs/1234.5678");
    CHECK_STR(fact(FH_PASSPORT_KEY_TRAINING_CODE)->value, "train_all.py");
    CHECK(fact(FH_PASSPORT_KEY_SIGNATURE)->state == FH_PASSPORT_ABSENT);
    /* a tag is no text: the licence stays unknown, and so does everything that needs an open one */
    CHECK_STR(fact(FH_PASSPORT_KEY_LICENSE_TAG)->value, "mit");
    CHECK(!stated(FH_PASSPORT_KEY_LICENSE_KEY) && !stated(FH_PASSPORT_KEY_VERDICT));
    for (size_t i = 0; i < FH_MOF_PARTS; i++) CHECK(P.mof[i].have != FH_OPENNESS_PASS);
    fh_passport_release(&P);
}

static void check_known(void) {
    uint32_t known[FH_PASSPORT_AREAS] = {0}, of[FH_PASSPORT_AREAS] = {0};
    for (int k = 0; k < FH_PASSPORT_KEYS; k++) {
        fh_passport_area a = fh_passport_row_at((fh_passport_key)k)->area;
        of[a]++;
        known[a] += stated((fh_passport_key)k);
        if (stated((fh_passport_key)k)) CHECK(fact((fh_passport_key)k)->source.len > 0);
    }
    for (int a = 0; a < FH_PASSPORT_AREAS; a++) {
        CHECK_U64(P.known[a], known[a]);
        CHECK_U64(P.of[a], of[a]);
    }
}

TEST(passport, weights_are_described_and_every_fact_has_a_source) {
    char path[FH_PATH_MAX];
    fh_err err = {0};
    fh_pool *pool;
    const fh_pool_options one = {.n_worker = 1};
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("models/qwen35-moe"), &err), err);
    CHECK_OK(fh_pool_new(&pool, &one, &err), err);
    fh_passport_options opt = {.pool = pool};
    CHECK_OK(fh_passport_gather(&P, path, &opt, &err), err);
    fh_pool_free(pool);
    check_known();
    CHECK_STR(P.model, "qwen35-moe"); /* not where it lies */
    CHECK_STR(fact(FH_PASSPORT_KEY_FORMAT)->value, "safetensors, which holds no code");
    CHECK(stated(FH_PASSPORT_KEY_STATE) && stated(FH_PASSPORT_KEY_CONFIG) && stated(FH_PASSPORT_KEY_NUMBERS));
    CHECK(strcmp(P.standing, "run") == 0);
    CHECK(P.n_file > 0);
    CHECK_U64(strlen(P.file[0].sha256), 64);
    fh_passport_release(&P);
}

/* A pipe or a tag in a name would end a cell or start markup. */
TEST(passport, markdown_escapes_what_strangers_wrote) {
    static const char hostile[] = "---\nlanguage: en\n---\n# x\n## Limitations <script>|`\n"
                                  "So many words that this section counts as one that does say something at last.\n";
    fh_err err = {0};
    fh_buf out;
    put_file(fh_test_tmp(), "README.md", FH_STR(hostile));
    gather(fh_test_tmp());
    fh_buf_init(&out, 1u << 20);
    fh_passport_markdown(&P, &out);
    fh_status st = fh_buf_check(&out, &err);
    bool raw = false, escaped = false;
    for (size_t i = 0; i + 9 < out.len; i++) {
        raw = raw || (memcmp(out.ptr + i, "<script", 7) == 0 && out.ptr[i - 1] != '\\');
        escaped = escaped || memcmp(out.ptr + i, "\\<script\\>", 10) == 0;
    }
    fh_buf_release(&out);
    fh_passport_release(&P);
    CHECK_STATUS(st, FH_OK);
    CHECK(!raw && escaped);
}

TEST(passport, every_form_is_json_that_reads_back) {
    void (*const form[])(const fh_passport *, uint64_t, fh_buf *) = {fh_passport_cyclonedx, fh_passport_spdx};
    char path[FH_PATH_MAX];
    fh_err err = {0};
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("gguf/gpt-oss-mxfp4.gguf"), &err), err);
    gather(path);
    for (size_t i = 0; i <= FH_COUNT(form); i++) {
        fh_buf out;
        fh_json *doc = NULL;
        fh_buf_init(&out, 1u << 20);
        if (i < FH_COUNT(form)) form[i](&P, 1700000000, &out);
        else fh_passport_json(&P, &out);
        fh_status st = fh_json_parse(&doc, fh_buf_str(&out), NULL, &err);
        fh_json_free(doc);
        fh_buf_release(&out);
        CHECK_OK(st, err);
    }
    fh_passport_release(&P);
}

TEST(passport, export_refuses_unknown_terms_and_leaves_nothing) {
    char path[FH_PATH_MAX], to[FH_PATH_MAX], part[FH_PATH_MAX];
    fh_err err = {0};
    fh_export_result r;
    CHECK_OK(fh_path_join(path, fh_test_golden(), FH_STR("models/t5"), &err), err);
    CHECK_OK(fh_path_join(to, fh_test_tmp(), FH_STR("out"), &err), err);
    gather(path);
    fh_export_options opt = {.passport = &P};
    CHECK_STATUS(fh_passport_export(&r, path, to, &opt, &err), FH_ERR_DENIED);
    CHECK(fh_file_get_kind(to) == FH_FILE_NONE);
    opt.accept_unknown = true;
    CHECK_OK(fh_passport_export(&r, path, to, &opt, &err), err);
    CHECK(r.n >= 5);
    fh_export_result_release(&r);
    CHECK_OK(fh_path_join(part, to, FH_STR("SHA256SUMS"), &err), err);
    CHECK(fh_file_get_kind(part) == FH_FILE_REGULAR);
    /* never over what is there already */
    CHECK_STATUS(fh_passport_export(&r, path, to, &opt, &err), FH_ERR_EXISTS);
    CHECK(fh_file_get_kind(part) == FH_FILE_REGULAR);
    fh_passport_release(&P);
}
