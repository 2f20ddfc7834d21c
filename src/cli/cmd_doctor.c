/* cli/cmd_doctor.c - `freehold doctor`: facts, measured ceilings and findings, as a table or one JSON object.
 * SPDX-License-Identifier: Apache-2.0
 * Gathers nothing itself: base/machine, base/cpu, evaluate/ceilings and evaluate/checkup do. */
#include <stdarg.h>

#include "base/cpu.h"
#include "base/json_member.h"
#include "base/machine.h"
#include "base/num.h"
#include "base/pool.h"
#include "cli/cli.h"
#include "evaluate/ceilings.h"
#include "evaluate/checkup.h"

typedef struct doctor {
    fh_machine machine;
    fh_machine_gpus gpus;
    fh_ceilings ceilings;
    bool measured;
    fh_checkup checkup;
} doctor;

static fh_status gather(doctor *d, bool measure, fh_err *err) {
    (void)fh_cpu_best_level(); /* proves features now: its child process is cheap while this one is small */
    fh_machine_read(&d->machine);
    if (measure) {
        fh_pool *pool = NULL;
        FH_TRY(fh_pool_new(&pool, NULL, err));
        fh_status status = fh_ceilings_measure(&d->ceilings, pool, &d->machine, NULL, err);
        fh_pool_free(pool);
        if (status != FH_OK) return status;
        d->measured = true;
    }
    fh_machine_read_gpus(&d->gpus); /* last: the driver starts threads of its own */
    fh_checkup_facts facts = {.machine = &d->machine, .gpus = &d->gpus, .ceilings = d->measured ? &d->ceilings : NULL};
    fh_checkup_read_cpu(&facts);
    fh_checkup_find(&d->checkup, &facts);
    return FH_OK;
}

/* ---- text ---- */

typedef struct page {
    fh_buf *b;
    bool color;
} page;

static void paint(const page *p, const char *code) {
    if (p->color) fh_buf_printf(p->b, "\033[%sm", code);
}

static void head(const page *p, const char *name) {
    paint(p, "1");
    fh_buf_printf(p->b, "%-12s", name);
    paint(p, "0");
}

static void line(const page *p, const char *name, const char *fmt, ...) FH_PRINTF(3, 4);
static void line(const page *p, const char *name, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    head(p, name);
    fh_cli_add_safe(p->b, fh_str_of(text));
    fh_buf_add_byte(p->b, '\n');
}

static const char *thp_name(fh_machine_thp t) {
    static const char *const NAME[] = {"unknown", "always", "madvise", "never"};
    return NAME[t];
}

/* "12.3 GB/s", "none" */
static const char *rate_text(double rate, const char *unit, char *out, size_t size) {
    return rate <= 0 ? "none" : fh_cli_rate(rate, unit, out, size);
}

static void show_machine(const page *p, const fh_machine *m) {
    char a[32], b[32], c[32];
    const fh_machine_cpus *cpu = &m->cpu;
    const fh_machine_memory *mem = &m->memory;
    line(p, "system", "%s, %s, %s", m->system[0] ? m->system : "unknown system", m->kernel, m->arch);
    line(p, "processor", "%s%s", cpu->model[0] ? cpu->model : "unknown", cpu->virtual ? " (virtual machine)" : "");
    line(p, "cores", "%d physical, %d logical, %d allowed; %d in use by default%s", cpu->physical, cpu->logical,
         cpu->allowed, cpu->usable, cpu->numa_nodes > 1 ? "; several memory nodes" : "");
    line(p, "caches", "L1d %s, L2 %s, L3 %s%s", cpu->l1d_bytes ? fh_cli_bytes(cpu->l1d_bytes, a, sizeof a) : "unknown",
         cpu->l2_bytes ? fh_cli_bytes(cpu->l2_bytes, b, sizeof b) : "none",
         cpu->l3_bytes ? fh_cli_bytes(cpu->l3_bytes, c, sizeof c) : "none", cpu->l3_instances > 1 ? ", several" : "");
    line(p, "memory", "%s, %s available%s", fh_cli_bytes(mem->total_bytes, a, sizeof a),
         fh_cli_bytes(mem->usable_bytes, b, sizeof b), mem->swap_bytes ? "" : ", no swap");
    line(p, "huge pages", "transparent: %s; reserved: %llu of %s", thp_name(mem->thp),
         (unsigned long long)mem->huge_total, fh_cli_bytes(mem->huge_page_bytes, a, sizeof a));
}

static void show_features(const page *p) {
    int n = 0;
    size_t width = 0;
    line(p, "level", "%s (proven in %.1f ms)", fh_cpu_level_name(fh_cpu_best_level()),
         (double)fh_cpu_probe_ns() * 1e-6);
    head(p, "proven");
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        if (!fh_cpu_proven(f)) continue;
        const char *name = fh_cpu_name(f);
        if (width > 70) {
            fh_buf_printf(p->b, "\n%12s", "");
            width = 0;
        }
        fh_buf_printf(p->b, "%s%s", width ? " " : "", name);
        width += strlen(name) + 1;
        n++;
    }
    fh_buf_add_z(p->b, n ? "\n" : "none\n");
    n = 0;
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        if (!fh_cpu_announced(f) || fh_cpu_proven(f)) continue;
        line(p, n++ ? "" : "not proven", "%s: %s", fh_cpu_name(f), fh_cpu_why_not(f));
    }
    if (n == 0) line(p, "not proven", "none: everything that is announced works");
}

static void show_ceilings(const page *p, const doctor *d) {
    static const char *const LABEL[FH_PEAK_KINDS] = {"memory read", "f32", "bf16", "int8"};
    static const char *const UNIT[FH_PEAK_KINDS] = {"B/s", "FLOP/s", "FLOP/s", "OP/s"};
    if (!d->measured) {
        line(p, "ceilings", "not measured (--no-measure)");
        return;
    }
    char one[32], all[32], title[32];
    snprintf(title, sizeof title, "%d thread%s", d->ceilings.n_worker, d->ceilings.n_worker == 1 ? "" : "s");
    head(p, "ceilings");
    fh_buf_printf(p->b, "%-13s%14s%16s  by\n", "", "1 thread", title);
    for (int k = 0; k < FH_PEAK_KINDS; k++) {
        const fh_ceiling *c = &d->ceilings.kind[k];
        fh_buf_printf(p->b, "%12s%-13s%14s%16s  %s\n", "", LABEL[k], rate_text(c->one, UNIT[k], one, sizeof one),
                      rate_text(c->all, UNIT[k], all, sizeof all), c->all > 0 ? c->all_by : "no instruction for it");
    }
}

static void show_rest(const page *p, const doctor *d) {
    const fh_machine_sandbox *s = &d->machine.sandbox;
    char landlock[32] = "no Landlock", bytes[32];
    if (s->landlock_abi > 0) snprintf(landlock, sizeof landlock, "Landlock ABI %d", s->landlock_abi);
    line(p, "sandbox", "available: %s, %s; no_new_privs is %s", landlock,
         s->seccomp_filters ? "seccomp filters" : "no seccomp", s->no_new_privs ? "on" : "off");
    line(p, "", "nothing is sandboxed now: no server runs");
    for (int i = 0; i < d->gpus.n; i++) {
        const fh_machine_gpu *g = &d->gpus.gpu[i];
        line(p, i ? "" : "gpu", "%s, %s, compute capability %d.%d", g->name,
             fh_cli_bytes(g->memory_bytes, bytes, sizeof bytes), g->major, g->minor);
    }
    if (d->gpus.n > 0) {
        line(p, "", "driver for CUDA %d.%d", d->gpus.driver_version / 1000, d->gpus.driver_version % 1000 / 10);
    } else {
        line(p, "gpu", "none found");
    }
}

/* Broken between words, so that no line is longer than 100 columns; the first one starts where we are. */
static void add_wrapped(const page *p, const char *text, size_t indent) {
    fh_str rest = fh_str_of(text);
    size_t column = indent, cut = 0;
    while (rest.len > 0) {
        fh_str word = fh_str_find(rest, ' ', &cut) ? fh_str_first(rest, cut) : rest;
        rest = fh_str_drop(rest, word.len + 1);
        if (column > indent && column + 1 + word.len > 100) {
            fh_buf_printf(p->b, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fh_buf_add_byte(p->b, ' ');
            column++;
        }
        fh_cli_add_safe(p->b, word);
        column += word.len;
    }
    fh_buf_add_byte(p->b, '\n');
}

static void show_findings(const page *p, const fh_checkup *c) {
    static const char *const CODE[] = {"36", "33", "31"};
    fh_buf_add_byte(p->b, '\n');
    if (c->n == 0) {
        line(p, "findings", "nothing is wrong");
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        const fh_checkup_item *item = &c->item[i];
        paint(p, CODE[item->weight]);
        fh_buf_printf(p->b, "%-12s", fh_checkup_weight_name(item->weight));
        paint(p, "0");
        add_wrapped(p, item->what, 12);
        fh_buf_printf(p->b, "%12s-> ", "");
        add_wrapped(p, item->advice, 15);
    }
}

static void show_all(const page *p, const doctor *d) {
    line(p, "freehold", "%s", FH_VERSION);
    show_machine(p, &d->machine);
    show_features(p);
    show_ceilings(p, d);
    show_rest(p, d);
    show_findings(p, &d->checkup);
}

/* ---- JSON ---- */

/* null where the figure does not exist */
static void put_rate(fh_json_writer *w, const char *key, double value) {
    fh_json_put_key(w, key);
    if (value > 0) fh_json_put_f64(w, value);
    else fh_json_put_null(w);
}

static void put_cpu(fh_json_writer *w, const fh_machine_cpus *c) {
    fh_json_put_key(w, "cpu");
    fh_json_put_object(w);
    fh_put_z(w, "model", c->model);
    fh_put_bool(w, "virtual", c->virtual);
    fh_put_i64(w, "physical", c->physical);
    fh_put_i64(w, "logical", c->logical);
    fh_put_i64(w, "allowed", c->allowed);
    fh_put_i64(w, "usable", c->usable);
    put_rate(w, "quota", c->quota);
    fh_put_i64(w, "sockets", c->sockets);
    fh_put_i64(w, "numa_nodes", c->numa_nodes);
    fh_put_u64(w, "l1d_bytes", c->l1d_bytes);
    fh_put_u64(w, "l2_bytes", c->l2_bytes);
    fh_put_u64(w, "l3_bytes", c->l3_bytes);
    fh_put_i64(w, "l3_instances", c->l3_instances);
    fh_put_z(w, "level", fh_cpu_level_name(fh_cpu_best_level()));
    put_rate(w, "probe_ms", (double)fh_cpu_probe_ns() * 1e-6);
    fh_json_put_key(w, "features");
    fh_json_put_array(w);
    for (int i = 0; i < FH_CPU_COUNT; i++) {
        fh_cpu_feature f = (fh_cpu_feature)i;
        fh_json_put_object(w);
        fh_put_z(w, "name", fh_cpu_name(f));
        fh_put_bool(w, "found", fh_cpu_announced(f));
        fh_put_bool(w, "proven", fh_cpu_proven(f));
        if (!fh_cpu_proven(f)) fh_put_z(w, "why", fh_cpu_why_not(f));
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_json_put_end(w);
}

static void put_memory(fh_json_writer *w, const fh_machine_memory *m) {
    fh_json_put_key(w, "memory");
    fh_json_put_object(w);
    fh_put_u64(w, "total_bytes", m->total_bytes);
    fh_put_u64(w, "available_bytes", m->available_bytes);
    fh_put_u64(w, "usable_bytes", m->usable_bytes);
    fh_put_u64(w, "swap_bytes", m->swap_bytes);
    fh_json_put_key(w, "group_limit_bytes");
    if (m->group_limit_bytes) fh_json_put_u64(w, m->group_limit_bytes);
    else fh_json_put_null(w);
    fh_json_put_key(w, "locked_limit_bytes");
    if (m->locked_limit_bytes != UINT64_MAX) fh_json_put_u64(w, m->locked_limit_bytes);
    else fh_json_put_null(w);
    fh_put_z(w, "transparent_huge_pages", thp_name(m->thp));
    fh_put_u64(w, "huge_page_bytes", m->huge_page_bytes);
    fh_put_u64(w, "huge_pages_total", m->huge_total);
    fh_put_u64(w, "huge_pages_free", m->huge_free);
    fh_json_put_end(w);
}

static void put_ceilings(fh_json_writer *w, const doctor *d) {
    fh_json_put_key(w, "ceilings");
    if (!d->measured) {
        fh_json_put_null(w);
        return;
    }
    fh_json_put_object(w);
    fh_put_i64(w, "threads", d->ceilings.n_worker);
    fh_put_u64(w, "read_buffer_bytes", d->ceilings.read_bytes);
    put_rate(w, "took_ms", (double)d->ceilings.took_ns * 1e-6);
    for (int k = 0; k < FH_PEAK_KINDS; k++) {
        const fh_ceiling *c = &d->ceilings.kind[k];
        fh_json_put_key(w, fh_ceilings_kind_name((fh_peak_kind)k));
        fh_json_put_object(w);
        fh_put_z(w, "unit", k == FH_PEAK_READ ? "bytes/s" : "op/s");
        put_rate(w, "one_thread", c->one);
        put_rate(w, "all_threads", c->all);
        fh_put_z(w, "one_thread_by", c->one_by);
        fh_put_z(w, "all_threads_by", c->all_by);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_rest(fh_json_writer *w, const doctor *d) {
    const fh_machine_sandbox *s = &d->machine.sandbox;
    fh_json_put_key(w, "sandbox");
    fh_json_put_object(w);
    fh_put_i64(w, "landlock_abi", s->landlock_abi);
    fh_put_bool(w, "seccomp_filters", s->seccomp_filters);
    fh_put_i64(w, "seccomp_mode", s->seccomp_mode);
    fh_put_bool(w, "no_new_privs", s->no_new_privs);
    fh_put_bool(w, "active", false);
    fh_json_put_end(w);
    fh_json_put_key(w, "gpus");
    fh_json_put_array(w);
    for (int i = 0; i < d->gpus.n; i++) {
        const fh_machine_gpu *g = &d->gpus.gpu[i];
        fh_json_put_object(w);
        fh_put_z(w, "name", g->name);
        fh_put_u64(w, "memory_bytes", g->memory_bytes);
        fh_put_i64(w, "capability_major", g->major);
        fh_put_i64(w, "capability_minor", g->minor);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
    fh_put_i64(w, "gpu_driver_version", d->gpus.driver_version);
    fh_json_put_key(w, "findings");
    fh_json_put_array(w);
    for (size_t i = 0; i < d->checkup.n; i++) {
        const fh_checkup_item *item = &d->checkup.item[i];
        fh_json_put_object(w);
        fh_put_z(w, "id", item->id);
        fh_put_z(w, "weight", fh_checkup_weight_name(item->weight));
        fh_put_z(w, "what", item->what);
        fh_put_z(w, "advice", item->advice);
        fh_json_put_end(w);
    }
    fh_json_put_end(w);
}

static void put_all(fh_buf *b, const doctor *d) {
    fh_json_writer w;
    fh_json_writer_init(&w, b, true);
    fh_json_put_object(&w);
    fh_put_z(&w, "version", FH_VERSION);
    fh_put_z(&w, "system", d->machine.system);
    fh_put_z(&w, "kernel", d->machine.kernel);
    fh_put_z(&w, "arch", d->machine.arch);
    put_cpu(&w, &d->machine.cpu);
    put_memory(&w, &d->machine.memory);
    put_ceilings(&w, d);
    put_rest(&w, d);
    fh_json_put_end(&w);
    fh_buf_add_byte(b, '\n');
}

int fh_cmd_doctor(fh_cli *cli) {
    bool no_measure = false;
    const fh_option options[] = {
        {"--no-measure", FH_OPTION_FLAG, &no_measure, NULL,
         "skip the ceilings, which take about a second and up to 4 GiB for a moment (default: measure)"},
    };
    int rc = fh_cli_parse(cli, options, FH_COUNT(options), NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    doctor d = {.measured = false};
    fh_err err = {0};
    if (gather(&d, !no_measure, &err) != FH_OK) return fh_cli_fail(cli, &err);
    fh_buf text;
    fh_buf_init(&text, 1 << 20);
    if (cli->json) {
        put_all(&text, &d);
    } else {
        page p = {&text, cli->color};
        show_all(&p, &d);
    }
    rc = fh_cli_print(cli, &text);
    fh_buf_release(&text);
    return rc;
}
