/* cli/cmd_help.c - help, version and shell completion, all from the command table.
 * SPDX-License-Identifier: Apache-2.0 */
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
        "`freehold COMMAND --help` lists a command's options with their defaults.\n");
    return 0;
}

int fh_cmd_version(fh_cli *cli) {
    int rc = fh_cli_parse(cli, NULL, 0, NULL, 0);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    if (cli->json) fprintf(cli->out, "{\"version\":\"%s\",\"compiler\":\"%s\"}\n", FH_VERSION, __VERSION__);
    else fprintf(cli->out, "freehold %s (compiler %s)\n", FH_VERSION, __VERSION__);
    return 0;
}

static void complete_bash(const fh_cli *cli, const fh_command *table, size_t n) {
    fprintf(cli->out, "_freehold() {\n"
                      "    local cur=${COMP_WORDS[COMP_CWORD]}\n"
                      "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                      "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < n; i++) fprintf(cli->out, "%s%s", i ? " " : "", table[i].name);
    fprintf(cli->out,
            "' -- \"$cur\"))\n"
            "    elif [ \"${cur#-}\" != \"$cur\" ]; then\n"
            "        COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" help \"${COMP_WORDS[1]}\" 2>/dev/null |\n"
            "            grep -oE '^ +--[a-z-]+')\" -- \"$cur\"))\n"
            "    else\n"
            "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
            "    fi\n"
            "}\n"
            "complete -o filenames -F _freehold freehold\n");
}

static void complete_zsh(const fh_cli *cli, const fh_command *table, size_t n) {
    fprintf(cli->out, "#compdef freehold\n_freehold() {\n    local -a commands\n    commands=(\n");
    for (size_t i = 0; i < n; i++) fprintf(cli->out, "        '%s:%s'\n", table[i].name, table[i].help);
    fprintf(cli->out, "    )\n"
                      "    if (( CURRENT == 2 )); then\n"
                      "        _describe command commands\n"
                      "    elif [[ $PREFIX == -* ]]; then\n"
                      "        compadd -- $($words[1] help $words[2] 2>/dev/null | grep -oE '^ +--[a-z-]+')\n"
                      "    else\n"
                      "        _files\n"
                      "    fi\n"
                      "}\n"
                      "compdef _freehold freehold\n");
}

static void complete_fish(const fh_cli *cli, const fh_command *table, size_t n) {
    for (size_t i = 0; i < n; i++)
        fprintf(cli->out, "complete -c freehold -n __fish_use_subcommand -a %s -d '%s'\n", table[i].name,
                table[i].help);
    fprintf(cli->out, "complete -c freehold -n 'not __fish_use_subcommand' -a \"(freehold help (commandline -opc)[2] "
                      "2>/dev/null | string match -r -- '--[a-z-]+')\"\n");
}

int fh_cmd_completion(fh_cli *cli) {
    static const struct {
        const char *shell;
        void (*print)(const fh_cli *, const fh_command *, size_t);
    } shells[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};
    const char *shell = "bash";
    int rc = fh_cli_parse(cli, NULL, 0, &shell, 1);
    if (rc) return rc == FH_CLI_STOP ? 0 : rc;
    size_t n;
    const fh_command *table = fh_command_table(&n);
    for (size_t i = 0; i < FH_COUNT(shells); i++) {
        if (strcmp(shells[i].shell, shell) != 0) continue;
        shells[i].print(cli, table, n);
        return 0;
    }
    fprintf(cli->err, "freehold completion: no script for '%s': bash, zsh or fish\n", shell);
    return fh_status_exit(FH_ERR_USAGE);
}
