/* tests/unit/test_quantize_imatrix.c - importance matrices: both forms of file, merging, weights, broken files.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <unistd.h>

#include "base/num.h"
#include "forge/imatrix_stats.h"
#include "test.h"

static const char *path_of(const char *name) {
    static char path[4][512];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", fh_test_tmp(), name);
    return path[at];
}

static const float sums[6] = {2, 4, 8, 1, 3, 5}, counts[2] = {2, 0};

static fh_imatrix *small(void) {
    fh_err err = {0};
    fh_imatrix *m;
    CHECK_OK(fh_imatrix_new(&m, 512, &err), err);
    CHECK_OK(fh_imatrix_add(m, FH_STR("blk.0.ffn_up_exps.weight"), 6, 2, sums, counts, &err), err);
    CHECK_OK(fh_imatrix_add(m, FH_STR("a.weight"), 3, 1, sums, counts, &err), err);
    CHECK_OK(fh_imatrix_add_dataset(m, FH_STR("words.txt"), &err), err);
    fh_imatrix_add_chunks(m, 7);
    return m;
}

static void check_small(const fh_imatrix *m) {
    float w[6];
    CHECK_U64(fh_imatrix_n_entry(m), 2);
    CHECK_STR(fh_imatrix_get(m, 0)->name, "a.weight");
    CHECK_U64(fh_imatrix_n_chunk(m), 7);
    CHECK_STR(fh_imatrix_dataset(m, 0), "words.txt");
    const fh_imatrix_entry *e = fh_imatrix_find(m, FH_STR("blk.0.ffn_up_exps.weight"));
    CHECK(e && e->n_value == 6);
    fh_imatrix_weights(m, e, w);
    CHECK(w[0] == 1 && w[1] == 2 && w[2] == 4);
    CHECK(w[3] == 1 && w[4] == 1 && w[5] == 1); /* an expert that saw nothing */
    CHECK(!fh_imatrix_find(m, FH_STR("blk.0.ffn_up_exps.weigh")));
}

TEST(quantize_imatrix, both_forms) {
    fh_err err = {0};
    fh_imatrix *m = small(), *back;
    check_small(m);
    CHECK_OK(fh_imatrix_write(m, path_of("m.gguf"), &err), err);
    CHECK_OK(fh_imatrix_open(&back, path_of("m.gguf"), &err), err);
    CHECK(!fh_imatrix_is_legacy(back) && fh_imatrix_chunk_size(back) == 512);
    check_small(back);
    fh_imatrix_free(back);
    CHECK_OK(fh_imatrix_write_dat(m, path_of("m.dat"), &err), err);
    CHECK_OK(fh_imatrix_open(&back, path_of("m.dat"), &err), err);
    CHECK(fh_imatrix_is_legacy(back));
    check_small(back);
    fh_imatrix_free(back);
    fh_imatrix_free(m);
}

/* The older form's bytes, written out: one entry of two calls. */
TEST(quantize_imatrix, bytes_of_the_older_form) {
    static const uint8_t want[] = {1, 0, 0, 0, 1,    0, 0, 0, 'w', 2, 0, 0, 0, 1,   0,  0,
                                   0, 0, 0, 0, 0x40, 5, 0, 0, 0,   2, 0, 0, 0, 't', 'x'};
    const float sum = 600, count = 600;
    fh_err err = {0};
    fh_imatrix *m;
    fh_buf got;
    fh_buf_init(&got, 1000);
    CHECK_OK(fh_imatrix_new(&m, 512, &err), err);
    CHECK_OK(fh_imatrix_add(m, FH_STR("w"), 1, 1, &sum, &count, &err), err);
    CHECK_OK(fh_imatrix_add_dataset(m, FH_STR("tx"), &err), err);
    fh_imatrix_add_chunks(m, 5);
    CHECK_OK(fh_imatrix_write_dat(m, path_of("m.dat"), &err), err);
    CHECK_OK(fh_file_read(path_of("m.dat"), &got, &err), err);
    CHECK_U64(got.len, sizeof want);
    CHECK(memcmp(got.ptr, want, sizeof want) == 0);
    fh_buf_release(&got);
    fh_imatrix_free(m);
}

TEST(quantize_imatrix, merging) {
    fh_err err = {0};
    fh_imatrix *m = small(), *other = small();
    float w[3];
    CHECK_OK(fh_imatrix_merge(m, other, &err), err);
    const fh_imatrix_entry *e = fh_imatrix_find(m, FH_STR("a.weight"));
    CHECK(e->sum[2] == 16 && e->count[0] == 4);
    fh_imatrix_weights(m, e, w);
    CHECK(w[2] == 4);
    CHECK_U64(fh_imatrix_n_chunk(m), 14);
    CHECK_U64(fh_imatrix_n_dataset(m), 2);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("a.weight"), 2, 1, sums, counts, &err), FH_ERR_FORMAT);
    fh_imatrix_free(m);
    fh_imatrix_free(other);
}

/* One of the older form counts calls, taken for chunks; its one count speaks for all experts, and stays so until the
 * other side has more. */
TEST(quantize_imatrix, merging_the_older_form) {
    fh_err err = {0};
    fh_imatrix *m = small(), *old, *both;
    float w[6];
    CHECK_OK(fh_imatrix_write_dat(m, path_of("m.dat"), &err), err);
    CHECK_OK(fh_imatrix_open(&old, path_of("m.dat"), &err), err);
    CHECK_OK(fh_imatrix_new(&both, 0, &err), err);
    CHECK_OK(fh_imatrix_merge(both, old, &err), err);
    CHECK(!fh_imatrix_is_legacy(both) && fh_imatrix_chunk_size(both) == FH_IMATRIX_CHUNK);
    const fh_imatrix_entry *e = fh_imatrix_find(both, FH_STR("blk.0.ffn_up_exps.weight"));
    CHECK(e && e->n_mat == 1 && e->count[0] == 512 && e->sum[0] == 512 && e->sum[5] == 512);
    CHECK_OK(fh_imatrix_merge(both, m, &err), err); /* 2 inputs of the first expert, none of the second */
    e = fh_imatrix_find(both, FH_STR("blk.0.ffn_up_exps.weight"));
    CHECK(e->n_mat == 2 && e->count[0] == 514 && e->count[1] == 512 && e->sum[1] == 1024 + 4);
    fh_imatrix_weights(both, e, w);
    CHECK(w[5] == (512.0f + 5) / 512);
    CHECK_OK(fh_imatrix_merge(both, old, &err), err); /* and the one count for both again */
    CHECK(e->n_mat == 2 && e->count[0] == 1026 && e->count[1] == 1024);
    CHECK_U64(fh_imatrix_n_chunk(both), 21);
    fh_imatrix_free(both);
    fh_imatrix_free(old);
    fh_imatrix_free(m);
}

static void add_entry(fh_imatrix *m, const char *name, const float *sum, uint64_t n) {
    const float count = 2;
    fh_err err = {0};
    CHECK_OK(fh_imatrix_add(m, fh_str_of(name), n, 1, sum, &count, &err), err);
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-12 * (1 + fabs(b)); }

TEST(quantize_imatrix, statistics) {
    const float first[4] = {2, 2, 2, 2}, second[4] = {8, 0, 0, 0}, none = 0;
    fh_err err = {0};
    fh_imatrix *m;
    fh_imatrix_stats *s;
    fh_imatrix_layer_stats l;
    size_t n;
    CHECK_OK(fh_imatrix_new(&m, 512, &err), err);
    add_entry(m, "blk.0.attn_q.weight", first, 4);
    add_entry(m, "blk.1.attn_q.weight", second, 4);
    add_entry(m, "output.weight", first, 1);
    CHECK_OK(fh_imatrix_add(m, FH_STR("blk.1.unseen.weight"), 4, 1, first, &none, &err), err);
    CHECK_OK(fh_imatrix_stats_of(m, &s, &n, &err), err);
    CHECK(n == 3 && s[0].layer == 0 && s[1].layer == 1 && s[2].layer == -1); /* equal sums: the lower layer first */
    CHECK_STR(s[1].tensor, "attn_q");
    CHECK_STR(s[2].tensor, "output");
    CHECK(near(s[0].sum, 4) && near(s[0].mean, 1) && near(s[0].deviation, 0) && near(s[0].active, 1));
    CHECK(near(s[0].entropy, 2) && near(s[0].even, 1) && s[0].outliers == 0 && s[0].likeness == 0);
    CHECK(near(s[1].sum, 4) && s[1].min == 0 && s[1].max == 4 && near(s[1].deviation, sqrt(3)));
    CHECK(near(s[1].active, 0.25) && near(s[1].entropy, 0) && near(s[1].outliers, 0.25) && near(s[1].likeness, 0.5));
    CHECK(fh_imatrix_stats_next_layer(s, n, -1, &l) && l.layer == 0 && near(l.sum, 4));
    CHECK(fh_imatrix_stats_next_layer(s, n, 0, &l) && l.layer == 1 && near(l.likeness, 0.5));
    CHECK(!fh_imatrix_stats_next_layer(s, n, 1, &l));
    fh_free(s);
    fh_imatrix_free(m);
}

TEST(quantize_imatrix, filter) {
    const char *const parts[] = {"ffn", "zzz"};
    fh_imatrix *m = small();
    fh_imatrix_filter(m, parts, 2, true);
    CHECK_U64(fh_imatrix_n_entry(m), 1);
    fh_imatrix_filter(m, parts, 2, false);
    CHECK_U64(fh_imatrix_n_entry(m), 0);
    fh_imatrix_free(m);
}

TEST(quantize_imatrix, numbers_that_are_none) {
    const float bad[3] = {1, NAN, 2}, negative[3] = {1, -1, 2}, huge[1] = {3e38f};
    fh_err err = {0};
    fh_imatrix *m;
    CHECK_OK(fh_imatrix_new(&m, 1, &err), err);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("w"), 3, 1, bad, counts, &err), FH_ERR_FORMAT);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("w"), 3, 1, negative, counts, &err), FH_ERR_FORMAT);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("w"), 3, 2, sums, counts, &err), FH_ERR_FORMAT);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("w"), 0, 1, sums, counts, &err), FH_ERR_FORMAT);
    CHECK_OK(fh_imatrix_add(m, FH_STR("h"), 1, 1, huge, counts, &err), err);
    CHECK_STATUS(fh_imatrix_add(m, FH_STR("h"), 1, 1, huge, counts, &err), FH_ERR_LIMIT);
    fh_imatrix_free(m);
}

/* Every prefix and every changed byte of either form is read or refused, never a crash; nothing is left behind. */
TEST(quantize_imatrix, broken_files) {
    const char *const form[] = {"m.gguf", "m.dat"};
    fh_err err = {0};
    fh_imatrix *m = small();
    CHECK_OK(fh_imatrix_write(m, path_of("m.gguf"), &err), err);
    CHECK_OK(fh_imatrix_write_dat(m, path_of("m.dat"), &err), err);
    fh_imatrix_free(m);
    for (size_t f = 0; f < 2; f++) {
        fh_buf file;
        fh_buf_init(&file, 1 << 16);
        CHECK_OK(fh_file_read(path_of(form[f]), &file, &err), err);
        for (size_t i = 0; i < 2 * file.len; i++) {
            const bool cut = i < file.len;
            const size_t at = i % file.len;
            fh_writer *w;
            const char *to = path_of("broken");
            if (!cut) file.ptr[at] ^= 0xff;
            CHECK_OK(fh_writer_open(&w, to, &err), err);
            CHECK_OK(fh_writer_add(w, file.ptr, cut ? at : file.len, &err), err);
            CHECK_OK(fh_writer_commit(w, &err), err);
            if (!cut) file.ptr[at] ^= 0xff;
            err = (fh_err){0};
            if (fh_imatrix_open(&m, to, &err) == FH_OK) fh_imatrix_free(m);
            else CHECK(err.message[0] && strcmp(err.path, to) == 0);
        }
        fh_buf_release(&file);
    }
}

TEST_GOLDEN(quantize_imatrix, a_published_file) {
    char path[600];
    fh_err err = {0};
    fh_imatrix *m, *back;
    snprintf(path, sizeof path, "%s/types/imatrix.gguf", fh_test_shared());
    CHECK_OK(fh_imatrix_open(&m, path, &err), err);
    CHECK(fh_imatrix_n_entry(m) == 14 && fh_imatrix_n_dataset(m) > 0);
    CHECK_OK(fh_imatrix_write(m, path_of("m.gguf"), &err), err);
    CHECK_OK(fh_imatrix_open(&back, path_of("m.gguf"), &err), err);
    CHECK_U64(fh_imatrix_n_entry(back), fh_imatrix_n_entry(m));
    for (size_t i = 0; i < fh_imatrix_n_entry(m); i++) {
        const fh_imatrix_entry *a = fh_imatrix_get(m, i), *b = fh_imatrix_get(back, i);
        CHECK(fh_str_eq(a->name, b->name) && a->n_value == b->n_value);
        CHECK(memcmp(a->sum, b->sum, (size_t)a->n_value * 4) == 0);
    }
    fh_imatrix_free(m);
    fh_imatrix_free(back);
}
