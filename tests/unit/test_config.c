/* tests/unit/test_config.c - settings: files, precedence, kinds, what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/num.h"
#include "serve/config.h"
#include "test.h"

TEST(config, defaults) {
    fh_config c;
    fh_err err = {.status = FH_OK};
    CHECK_OK(fh_config_init(&c, &err), err);
    CHECK_U64(fh_config_number(&c, FH_CONFIG_port), 8484);
    CHECK(strcmp(fh_config_text(&c, FH_CONFIG_host), "127.0.0.1") == 0);
    CHECK(fh_config_flag(&c, FH_CONFIG_sandbox) && !fh_config_flag(&c, FH_CONFIG_tls12));
    CHECK_U64(fh_config_ms(&c, FH_CONFIG_keep_alive), 300000);
    CHECK_U64(c.value[FH_CONFIG_model].n, 0);
    fh_config_release(&c);
}

TEST(config, file_and_flags) {
    fh_config c;
    fh_err err = {.status = FH_OK};
    CHECK_OK(fh_config_init(&c, &err), err);
    CHECK_OK(fh_config_set(&c, FH_STR("keep-alive"), FH_STR("-1"), 2, &err), err);
    CHECK_OK(fh_config_parse(&c,
                             FH_STR("# a comment\n\n  port = 9000 # of ours\r\nhost=\"::1\"   # quoted\n"
                                    "model = a.gguf\nmodel = b#1=b.gguf\nkeep_alive = 1s\nbody = 2M\nsandbox = off\n"),
                             &err),
             err);
    CHECK_U64(fh_config_number(&c, FH_CONFIG_port), 9000);
    CHECK(strcmp(fh_config_text(&c, FH_CONFIG_host), "::1") == 0);
    CHECK_U64(c.value[FH_CONFIG_model].n, 2);
    CHECK_STR(c.value[FH_CONFIG_model].item[1], "b#1=b.gguf");
    CHECK(fh_config_ms(&c, FH_CONFIG_keep_alive) == -1); /* the command line wins, whichever comes first */
    CHECK_U64(fh_config_number(&c, FH_CONFIG_body), 2 << 20);
    CHECK(!fh_config_flag(&c, FH_CONFIG_sandbox));
    CHECK_OK(fh_config_set(&c, FH_STR("model"), FH_STR("c"), 2, &err), err);
    CHECK_U64(c.value[FH_CONFIG_model].n, 1); /* a stronger source's list replaces the weaker one's */
    fh_config_release(&c);
}

TEST(config, refusals) {
    static const struct {
        const char *text, *says;
    } rows[] = {{"nonsense = 1\n", "line 1: there is no setting 'nonsense'"},
                {"\n\nport 1\n", "line 3: not `key = value`"},
                {"port = x", "line 1: 'port' wants a whole number, not 'x'"},
                {"port = 1\nport = 2", "line 2: 'port' was set before"},
                {"sandbox = maybe", "line 1: 'sandbox' wants yes or no, not 'maybe'"},
                {"body = 5X", "line 1: 'body' wants bytes such as 64M or 2G, not '5X'"},
                {"drain = soon", "line 1: 'drain' wants a time such as 30s or 5m, not 'soon'"},
                {"host = \"a", "line 1: the value of 'host' has a quote that does not close it"},
                {"body = 99999999999999999999G", "line 1: 'body' wants bytes such as 64M or 2G, not "
                                                 "'99999999999999999999G'"}};
    for (size_t i = 0; i < FH_COUNT(rows); i++) {
        fh_config c;
        fh_err err = {.status = FH_OK};
        CHECK_OK(fh_config_init(&c, &err), err);
        CHECK(fh_config_parse(&c, fh_str_of(rows[i].text), &err) != FH_OK);
        CHECK_STR(fh_str_of(err.message), rows[i].says);
        fh_config_release(&c);
    }
}

TEST(config, units) {
    uint64_t n;
    int64_t ms;
    CHECK(fh_config_bytes(FH_STR("3"), &n) && n == 3);
    CHECK(fh_config_bytes(FH_STR("2KiB"), &n) && n == 2048);
    CHECK(fh_config_bytes(FH_STR("1T"), &n) && n == (uint64_t)1 << 40);
    CHECK(!fh_config_bytes(FH_STR("-1"), &n) && !fh_config_bytes(FH_STR("G"), &n));
    CHECK(!fh_config_bytes(FH_STR("18446744073709551615K"), &n));
    CHECK(fh_config_time(FH_STR("90"), &ms) && ms == 90000);
    CHECK(fh_config_time(FH_STR("250ms"), &ms) && ms == 250);
    CHECK(fh_config_time(FH_STR("2d"), &ms) && ms == 172800000);
    CHECK(fh_config_time(FH_STR("-1"), &ms) && ms == -1);
    CHECK(!fh_config_time(FH_STR("-"), &ms) && !fh_config_time(FH_STR("1y"), &ms));
}

TEST(config, changes) {
    fh_config a, b;
    fh_err err = {.status = FH_OK};
    fh_buf cold;
    fh_buf_init(&cold, 256);
    CHECK_OK(fh_config_init(&a, &err), err);
    CHECK_OK(fh_config_init(&b, &err), err);
    CHECK_OK(fh_config_parse(&b, FH_STR("port = 1\nlog = debug\nallow_host = x\nmodels = /y\n"), &err), err);
    fh_config_cold_changes(&a, &b, &cold);
    CHECK_STR(fh_buf_str(&cold), "models, port");
    fh_buf_release(&cold);
    fh_config_release(&a);
    fh_config_release(&b);
}
