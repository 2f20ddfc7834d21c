/* cli/cmd_ps.c - freehold ps: what the running server holds in memory and does, asked on its admin socket.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"
#include "cli/cli.h"
#include "serve/config.h"

#define MOST_ANSWER ((size_t)64 << 20)

static fh_status ask(fh_buf *out, const char *path, fh_err *err) {
    static const char request[] = "GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n";
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    uint8_t piece[8192];
    ssize_t n = 0;
    if (!fh_str_copy(un.sun_path, sizeof un.sun_path, fh_str_of(path)))
        return fh_fail(err, FH_ERR_LIMIT, "the path of the socket is too long");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fh_fail_errno(err, "make a socket", NULL);
    fh_status s = FH_OK;
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) != 0)
        s = errno == ENOENT || errno == ECONNREFUSED
                ? fh_fail(err, FH_ERR_NOT_FOUND, "no server answers here; `freehold serve` starts one")
                : fh_fail_errno(err, "connect to", path);
    if (s == FH_OK && write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1)
        s = fh_fail_errno(err, "ask", path);
    while (s == FH_OK && (n = read(fd, piece, sizeof piece)) > 0) fh_buf_add(out, piece, (size_t)n);
    if (s == FH_OK && n < 0) s = fh_fail_errno(err, "read from", path);
    close(fd);
    return s == FH_OK ? fh_buf_check(out, err) : s;
}

/* The body behind an answer's head. */
static bool body_of(fh_str answer, fh_str *body) {
    if (!fh_str_starts(answer, "HTTP/1.1 200 ")) return false;
    for (size_t i = 0; i + 4 <= answer.len; i++) {
        if (memcmp(answer.ptr + i, "\r\n\r\n", 4) != 0) continue;
        *body = fh_str_drop(answer, i + 4);
        return true;
    }
    return false;
}

static uint64_t number(const fh_json_node *n, const char *key) {
    uint64_t v = 0;
    (void)fh_json_to_u64(fh_json_get(n, key), &v);
    return v;
}

static void put_until(fh_buf *out, uint64_t expires) {
    uint64_t now = fh_clock_unix_ms(), s = expires > now ? (expires - now) / 1000 : 0;
    char text[48];
    if (!expires) snprintf(text, sizeof text, "for ever");
    else if (s >= 120) snprintf(text, sizeof text, "%llu minutes from now", (unsigned long long)(s / 60));
    else snprintf(text, sizeof text, "%llu seconds from now", (unsigned long long)s);
    fh_buf_printf(out, "%-21s", text);
}

static void put_model(fh_buf *out, const fh_json_node *m) {
    char size[32];
    fh_str name = {"", 0}, digest = {"", 0}, state = {"", 0};
    (void)fh_json_to_str(fh_json_get(m, "name"), &name);
    (void)fh_json_to_str(fh_json_get(m, "digest"), &digest);
    (void)fh_json_to_str(fh_json_get(m, "state"), &state);
    if (fh_str_is(state, "on disk")) return;
    fh_cli_add_safe(out, name);
    for (size_t i = name.len; i < 32; i++) fh_buf_add_byte(out, ' ');
    fh_buf_printf(out, " %-12.*s %10s  %-9s %8llu  ", (int)FH_MIN(digest.len, 12u), digest.len ? digest.ptr : "",
                  fh_cli_bytes(number(m, "bytes"), size, sizeof size),
                  fh_str_is(state, "loading") ? "loading" : "100% CPU", (unsigned long long)number(m, "context"));
    put_until(out, number(m, "expires_unix_ms"));
    fh_buf_printf(out, " %7llu %7llu %10llu\n", (unsigned long long)number(m, "running"),
                  (unsigned long long)number(m, "waiting"), (unsigned long long)number(m, "new_tokens"));
}

static void put_table(fh_buf *out, const fh_json_node *root) {
    const fh_json_node *models = fh_json_get(root, "models"), *box = fh_json_get(root, "sandbox");
    bool on = false;
    fh_buf_printf(out, "%-32s %-12s %10s  %-9s %8s  %-21s %7s %7s %10s\n", "NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT",
                  "UNTIL", "RUNNING", "WAITING", "TOKENS");
    for (const fh_json_node *m = fh_json_first(models); m; m = fh_json_after(models, m)) put_model(out, m);
    (void)fh_json_to_bool(fh_json_get(box, "on"), &on);
    fh_buf_printf(out, "\n%llu requests so far, %llu under way, %llu connections; sandbox %s\n",
                  (unsigned long long)number(root, "requests"), (unsigned long long)number(root, "under_way"),
                  (unsigned long long)number(root, "connections"), on ? "on" : "off");
}

static int show(fh_cli *cli, const char *path, bool clear, fh_err *err) {
    fh_buf answer, out;
    fh_json *doc = NULL;
    fh_str body;
    fh_buf_init(&answer, MOST_ANSWER);
    fh_buf_init(&out, MOST_ANSWER);
    fh_status s = ask(&answer, path, err);
    if (s == FH_OK && !body_of(fh_buf_str(&answer), &body))
        s = fh_fail(err, FH_ERR_FORMAT, "the server answered strangely");
    if (s == FH_OK && !cli->json) s = fh_json_parse(&doc, body, NULL, err);
    if (s == FH_OK) {
        if (clear) fh_buf_add_z(&out, "\033[H\033[2J");
        if (cli->json) fh_buf_add_str(&out, body);
        else put_table(&out, fh_json_root(doc));
    }
    int rc = s == FH_OK ? fh_cli_print(cli, &out) : fh_cli_fail(cli, err);
    fflush(cli->out);
    fh_json_free(doc);
    fh_buf_release(&out);
    fh_buf_release(&answer);
    return rc;
}

int fh_cmd_ps(fh_cli *cli) {
    char path[FH_PATH_MAX], dir[FH_PATH_MAX];
    fh_err err = {.status = FH_OK};
    const char *socket_path = NULL;
    bool watch = false;
    const fh_option options[] = {
        {"--socket", FH_OPTION_TEXT, &socket_path, "PATH",
         "the server's admin socket (default: admin.sock in the state folder)"},
        {"--watch", FH_OPTION_FLAG, &watch, NULL, "again every second, until Ctrl-C (default: once)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (!socket_path) {
        if (fh_config_state_dir(dir, false, &err) != FH_OK ||
            fh_path_join(path, dir, FH_STR("admin.sock"), &err) != FH_OK)
            return fh_cli_fail(cli, &err);
        socket_path = path;
    }
    do {
        rc = show(cli, socket_path, watch && isatty(fileno(cli->out)), &err);
        if (watch && rc == 0) (void)poll(NULL, 0, 1000);
    } while (watch && rc == 0);
    return rc;
}
