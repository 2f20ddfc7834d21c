/* cli/cmd_list.c - freehold list: the models on this machine, and who keeps them.
 * SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "base/clock.h"
#include "base/json_member.h"
#include "base/num.h"
#include "cli/cli.h"
#include "library/shelf.h"

#define MAX_OUTPUT ((size_t)1 << 26)
#define WIDEST_NAME 60u

static const char *age(uint64_t ms, char *out, size_t size) {
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}};
    uint64_t now = fh_clock_unix_ms(), s = now > ms ? (now - ms) / 1000 : 0;
    snprintf(out, size, "just now");
    for (size_t i = 0; i < FH_COUNT(units); i++) {
        uint64_t n = s / units[i].seconds;
        if (!n) continue;
        snprintf(out, size, "%llu %s%s ago", (unsigned long long)n, units[i].name, n == 1 ? "" : "s");
        return out;
    }
    return out;
}

static void table(fh_buf *out, const fh_shelf *s) {
    char size[32], when[48];
    size_t width = 4;
    for (size_t i = 0; i < s->n; i++) width = FH_MAX(width, FH_MIN(s->item[i].name.len, (size_t)WIDEST_NAME));
    fh_buf_printf(out, "%-*s  %-12s  %10s  %-15s  %s\n", (int)width, "NAME", "ID", "SIZE", "CHANGED", "KEPT BY");
    for (size_t i = 0; i < s->n; i++) {
        const fh_shelf_item *x = &s->item[i];
        size_t was = out->len;
        fh_cli_add_safe(out, x->name);
        while (out->len - was < width) fh_buf_add_byte(out, ' ');
        fh_buf_printf(out, "  %-12.*s  %10s  %-15s  %s\n", (int)FH_MIN(x->id.len, 12u), x->id.ptr,
                      fh_cli_bytes(x->bytes, size, sizeof size), age(x->changed_ms, when, sizeof when),
                      fh_source_name(x->source));
    }
    if (s->n_broken)
        fh_buf_printf(out, "(%zu entries of other programs could not be read and are left out)\n", s->n_broken);
}

static void json(fh_buf *out, const fh_shelf *s) {
    fh_json_writer w;
    fh_json_writer_init(&w, out, true);
    fh_json_put_object(&w);
    fh_json_put_key(&w, "models");
    fh_json_put_array(&w);
    for (size_t i = 0; i < s->n; i++) {
        const fh_shelf_item *x = &s->item[i];
        const struct {
            const char *key;
            fh_str value;
        } texts[] = {{"name", x->name},
                     {"id", x->id},
                     {"path", x->path},
                     {"kept_by", fh_str_of(fh_source_name(x->source))},
                     {"pulled_from", x->pulled_from}};
        fh_json_put_object(&w);
        for (size_t k = 0; k < FH_COUNT(texts); k++) {
            fh_put_str(&w, texts[k].key, texts[k].value);
        }
        fh_put_u64(&w, "bytes", x->bytes);
        fh_put_u64(&w, "changed_unix_ms", x->changed_ms);
        fh_json_put_end(&w);
    }
    fh_json_put_end(&w);
    fh_put_u64(&w, "unreadable", s->n_broken);
    fh_json_put_end(&w);
    fh_buf_add_byte(out, '\n');
}

int fh_cmd_list(fh_cli *cli) {
    fh_err err = {.status = FH_OK};
    fh_shelf s;
    int rc = fh_cli_parse(cli, NULL, 0, NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (fh_shelf_read(&s, &err) != FH_OK) return fh_cli_fail(cli, &err);
    fh_buf out;
    fh_buf_init(&out, MAX_OUTPUT);
    if (cli->json) json(&out, &s);
    else if (s.n || s.n_broken) table(&out, &s);
    else fprintf(cli->err, "freehold: no models here yet; `freehold pull NAME` fetches one\n");
    rc = fh_cli_print(cli, &out);
    fh_buf_release(&out);
    fh_shelf_release(&s);
    return rc;
}
