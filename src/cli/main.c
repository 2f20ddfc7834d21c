/* cli/main.c - the command table and nothing else: finds the command, hands over, closes the books.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <unistd.h>

#include "base/env.h"
#include "base/fault.h"
#include "base/num.h"
#include "cli/cli.h"

static const fh_command commands[] = {
#define FH_COMMAND_ROW(name, args, help) {#name, args, help, fh_cmd_##name},
#include "cli/commands.def"
#undef FH_COMMAND_ROW
};

const fh_command *fh_command_table(size_t *n) {
    *n = FH_COUNT(commands);
    return commands;
}

static bool wants_color(FILE *f) {
    const char *term = fh_env_get(FH_ENV_TERM);
    return isatty(fileno(f)) && !fh_env_get(FH_ENV_NO_COLOR) && term && strcmp(term, "dumb") != 0;
}

/* A result that could not be written is a failure, even if it was the last line. */
static int flush_out(fh_cli *cli, int code) {
    if (fflush(cli->out) != 0 || ferror(cli->out)) {
        fprintf(cli->err, "freehold: the result could not be written\n");
        return code ? code : 1;
    }
    return code;
}

#ifdef FH_TEST_BUILD
static bool arm_fault(void) {
    const char *fault = fh_env_get(FH_ENV_FREEHOLD_FAULT);
    if (!fault || fh_fault_parse(fh_str_of(fault))) return true;
    fprintf(stderr, "freehold: FREEHOLD_FAULT='%s' is not KIND:N or KIND:N+\n", fault);
    return false;
}
/* With FREEHOLD_FAULT=KIND:0 nothing fails; a sweep learns how many calls there are. */
static void say_fault_calls(void) {
    if (!fh_env_get(FH_ENV_FREEHOLD_FAULT)) return;
    fprintf(stderr, "fault calls:");
    for (int k = 0; k < FH_FAULT_KINDS; k++)
        fprintf(stderr, " %llu", (unsigned long long)fh_fault_calls((fh_fault_kind)k));
    fprintf(stderr, "\n");
}
#else
static bool arm_fault(void) { return true; }
static void say_fault_calls(void) {}
#endif

int main(int argc, char **argv) {
    if (!arm_fault()) return fh_status_exit(FH_ERR_USAGE);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a failed write, not a death */
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    fh_cli cli = {.command = name,
                  .argc = argc > 2 ? argc - 2 : 0,
                  .argv = argv + FH_MIN(argc, 2),
                  .out = stdout,
                  .err = stderr,
                  .color = wants_color(stdout)};
    for (size_t i = 0; i < FH_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        int code = flush_out(&cli, commands[i].run(&cli));
        say_fault_calls();
        return code;
    }
    fprintf(stderr, "freehold: there is no command '%s'; `freehold help` lists them\n", name);
    return 2;
}
