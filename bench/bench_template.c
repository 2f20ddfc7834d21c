/* bench/bench_template.c - how long a render takes, in process.
 * SPDX-License-Identifier: Apache-2.0
 * bench_template TEMPLATE CASES.json SECONDS: renders every case of the array in turn until the time is up and prints
 * nanoseconds of CPU time per render, compiling and reading left out. For template_vs_jinja2.py, which builds it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "text/template.h"

static fh_status read_file(const char *path, fh_buf *out, fh_err *err) {
    fh_buf_init(out, (size_t)1 << 28);
    return fh_file_read(path, out, err);
}

static fh_template_chat chat_of(const fh_json_node *n, const fh_template_now *now) {
    fh_template_chat c = {.messages = fh_json_get(n, "messages"),
                          .tools = fh_json_get(n, "tools"),
                          .now = now,
                          .kwargs = fh_json_get(n, "kwargs"),
                          .keep_reasoning_names = true};
    if (fh_json_is(c.tools, FH_JSON_NULL)) c.tools = NULL;
    (void)fh_json_to_bool(fh_json_get(n, "add_generation_prompt"), &c.add_generation_prompt);
    (void)fh_json_to_str(fh_json_get(n, "bos_token"), &c.bos_token);
    (void)fh_json_to_str(fh_json_get(n, "eos_token"), &c.eos_token);
    return c;
}

/* Of this process: what else the machine does does not count. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static fh_status measure(const fh_template *t, const fh_json_node *cases, double seconds, double *ns, fh_err *err) {
    const fh_template_now now = {2026, 3, 9, 7, 5, 2};
    fh_buf out;
    fh_status s = FH_OK;
    uint64_t n = 0, start = cpu_ns(), end = start + (uint64_t)(seconds * 1e9), at = start;
    fh_buf_init(&out, (size_t)1 << 28);
    while (s == FH_OK && at < end) {
        for (const fh_json_node *c = fh_json_first(cases); s == FH_OK && c; c = fh_json_after(cases, c), n++) {
            fh_template_chat chat = chat_of(c, &now);
            fh_buf_clear(&out);
            s = fh_template_render_chat(t, &chat, &out, err);
        }
        at = cpu_ns();
    }
    fh_buf_release(&out);
    *ns = n ? (double)(at - start) / (double)n : 0;
    return s;
}

int main(int argc, char **argv) {
    fh_buf text = {0}, input = {0};
    fh_json *doc = NULL;
    fh_template *t = NULL;
    fh_err err = {0};
    double ns = 0;
    if (argc != 4) return fprintf(stderr, "usage: bench_template TEMPLATE CASES.json SECONDS\n"), 2;
    fh_status s = read_file(argv[1], &text, &err);
    if (s == FH_OK) s = read_file(argv[2], &input, &err);
    if (s == FH_OK) s = fh_json_parse(&doc, fh_buf_str(&input), NULL, &err);
    if (s == FH_OK) s = fh_template_compile(&t, fh_buf_str(&text), &err);
    if (s == FH_OK) s = measure(t, fh_json_root(doc), strtod(argv[3], NULL), &ns, &err);
    if (s == FH_OK) printf("%.1f\n", ns);
    else fprintf(stderr, "bench_template: %s\n", err.message);
    fh_template_free(t);
    fh_json_free(doc);
    fh_buf_release(&input);
    fh_buf_release(&text);
    return s == FH_OK ? 0 : 1;
}
