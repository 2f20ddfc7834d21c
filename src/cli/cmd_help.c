/* cli/cmd_help.c - help, version and shell completion, all from the command table.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/env.h"
#include "base/num.h"
#include "cli/cli.h"

int fh_cmd_help(fh_cli *cli) {
    const char *about = NULL;
    int rc = fh_cli_parse(cli, NULL, 0, &about, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    size_t n;
    const fh_command *table = fh_command_table(&n);
    if (about) {
        char flag[] = "--help", *args[] = {flag};
        for (size_t i = 0; i < n; i++) {
            if (strcmp(table[i].name, about) != 0 || strcmp(about, "help") == 0) continue;
            fh_cli one = *cli;
            one.command = table[i].name;
            one.argc = 1;
            one.argv = args;
            return table[i].run(&one);
        }
        fprintf(cli->err, "freehold: there is no command '%s'; `freehold help` lists them\n", about);
        return fh_status_exit(FH_ERR_USAGE);
    }
    fprintf(cli->out, "freehold %s - own your AI\n\nusage: freehold COMMAND [arguments] [options]\n\n", FH_VERSION);
    for (size_t i = 0; i < n; i++) fprintf(cli->out, "  %-11s %-16s %s\n", table[i].name, table[i].args, table[i].help);
    fprintf(
        cli->out,
        "\nMODEL is a .gguf or .safetensors file, a split or sharded set by any part, a Hugging Face folder, a name\n"
        "in Ollama's store (llama3.2:1b), LM Studio's folder or Hugging Face's cache (org/name). Files are used\n"
        "in place. Without MODEL: the one built into this binary.\n"
        "`freehold COMMAND --help` lists a command's options with their defaults.\n\nenvironment:\n");
    for (int e = 0; e < FH_ENV_FREEHOLD_FAULT; e++) /* the last row is for test builds */
        fprintf(cli->out, "  %-22s %s\n", fh_env_name((fh_env)e), fh_env_help((fh_env)e));
    return 0;
}

int fh_cmd_version(fh_cli *cli) {
    int rc = fh_cli_parse(cli, NULL, 0, NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (cli->json) fprintf(cli->out, "{\"version\":\"%s\",\"compiler\":\"%s\"}\n", FH_VERSION, __VERSION__);
    else fprintf(cli->out, "freehold %s (compiler %s)\n", FH_VERSION, __VERSION__);
    return 0;
}

/* ---- completion ---- */

/* What may stand first behind a command, by its arguments in the table: "create|list" or "[bash|zsh]" are words;
 * COMMAND stands for all commands; what is written large is a file or a model. */
static bool put_words(fh_buf *b, const fh_command *table, size_t n, const char *args) {
    const fh_str all = {args, strcspn(args, " ")};
    const size_t start = b->len;
    if (fh_str_is(all, "[COMMAND]")) {
        for (size_t i = 0; i < n; i++) fh_buf_printf(b, "%s%s", i ? " " : "", table[i].name);
        return true;
    }
    for (size_t i = 0; i < all.len; i++) {
        const char c = all.ptr[i];
        if (c >= 'a' && c <= 'z') fh_buf_add_byte(b, (uint8_t)c);
        else if (c == '|') fh_buf_add_byte(b, ' ');
        else if (c != '[' && c != ']') b->len = start, i = all.len;
    }
    return b->len > start;
}

/* A line for every command that has such words. */
static void put_each_words(fh_buf *b, const fh_command *table, size_t n, const char *before, const char *between,
                           const char *behind) {
    for (size_t i = 0; i < n; i++) {
        const size_t start = b->len;
        fh_buf_printf(b, "%s%s%s", before, table[i].name, between);
        if (put_words(b, table, n, table[i].args)) fh_buf_add_z(b, behind);
        else b->len = start;
    }
}

/* Between single quotes of a shell. */
static void put_quoted(fh_buf *b, const char *text) {
    for (; *text; text++) {
        if (*text == '\'') fh_buf_add_z(b, "'\\''");
        else fh_buf_add_byte(b, (uint8_t)*text);
    }
}

static void complete_bash(fh_buf *b, const fh_command *table, size_t n) {
    fh_buf_add_z(b, "_freehold() {\n"
                    "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                    "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                    "        words='");
    (void)put_words(b, table, n, "[COMMAND]");
    fh_buf_add_z(b, "'\n"
                    "    elif [ \"${cur#-}\" != \"$cur\" ]; then\n"
                    "        words=$(\"${COMP_WORDS[0]}\" help \"${COMP_WORDS[1]}\" 2>/dev/null |\n"
                    "            grep -oE '^ +-[A-Za-z0-9-]+')\n"
                    "    elif [ \"$COMP_CWORD\" = 2 ]; then\n"
                    "        case ${COMP_WORDS[1]} in\n");
    put_each_words(b, table, n, "        ", ") words='", "' ;;\n");
    fh_buf_add_z(b, "        esac\n"
                    "    fi\n"
                    "    if [ -n \"$words\" ]; then\n"
                    "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                    "    else\n"
                    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                    "    fi\n"
                    "}\n"
                    "complete -o filenames -F _freehold freehold\n");
}

/* Found in a folder of functions, the file is the function's body at its first call; else it is read by hand. */
static void complete_zsh(fh_buf *b, const fh_command *table, size_t n) {
    fh_buf_add_z(b, "#compdef freehold\n_freehold() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < n; i++) {
        fh_buf_printf(b, "        '%s:", table[i].name);
        put_quoted(b, table[i].help);
        fh_buf_add_z(b, "'\n");
    }
    fh_buf_add_z(b, "    )\n"
                    "    if (( CURRENT == 2 )); then\n"
                    "        _describe command commands\n"
                    "    elif [[ $PREFIX == -* ]]; then\n"
                    "        compadd -- $($words[1] help $words[2] 2>/dev/null | grep -oE '^ +-[A-Za-z0-9-]+')\n"
                    "    elif (( CURRENT == 3 )); then\n"
                    "        case $words[2] in\n");
    put_each_words(b, table, n, "        ", ") compadd -- ", " ;;\n");
    fh_buf_add_z(b, "        *) _files ;;\n"
                    "        esac\n"
                    "    else\n"
                    "        _files\n"
                    "    fi\n"
                    "}\n"
                    "if [[ $funcstack[1] == _freehold ]]; then\n"
                    "    _freehold \"$@\"\n"
                    "else\n"
                    "    compdef _freehold freehold\n"
                    "fi\n");
}

static void complete_fish(fh_buf *b, const fh_command *table, size_t n) {
    for (size_t i = 0; i < n; i++) {
        fh_buf_printf(b, "complete -c freehold -n __fish_use_subcommand -f -a %s -d '", table[i].name);
        for (const char *c = table[i].help; *c; c++) { /* fish escapes quotes by backslashes */
            if (*c == '\'' || *c == '\\') fh_buf_add_byte(b, '\\');
            fh_buf_add_byte(b, (uint8_t)*c);
        }
        fh_buf_add_z(b, "'\n");
    }
    put_each_words(b, table, n,
                   "complete -c freehold -n 'test (count (commandline -opc)) = 2; and "
                   "__fish_seen_subcommand_from ",
                   "' -f -a '", "'\n");
    fh_buf_add_z(b, "complete -c freehold -n 'not __fish_use_subcommand; and string match -q -- \"-*\" "
                    "(commandline -ct)' -f -a '(freehold help (commandline -opc)[2] 2>/dev/null | "
                    "string replace -rf \"^ +(-[A-Za-z0-9-]+).*\" \"\\$1\")'\n");
}

int fh_cmd_completion(fh_cli *cli) {
    static const struct {
        const char *shell;
        void (*put)(fh_buf *, const fh_command *, size_t);
    } shells[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};
    const char *shell = "bash";
    int rc = fh_cli_parse(cli, NULL, 0, &shell, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    size_t n;
    const fh_command *table = fh_command_table(&n);
    for (size_t i = 0; i < FH_COUNT(shells); i++) {
        if (strcmp(shells[i].shell, shell) != 0) continue;
        fh_buf out;
        fh_buf_init(&out, (size_t)1 << 20);
        shells[i].put(&out, table, n);
        rc = fh_cli_print(cli, &out);
        fh_buf_release(&out);
        return rc;
    }
    fprintf(cli->err, "freehold completion: no script for '%s': bash, zsh or fish\n", shell);
    return fh_status_exit(FH_ERR_USAGE);
}
