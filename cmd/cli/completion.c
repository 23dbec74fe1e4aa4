/* SPDX-License-Identifier: MIT */
#include "cmd/cli/completion.h"

typedef void each_option(struct buf *out, const struct cli_command *cmd, const struct cli_option *o);

static void for_options(struct buf *out, const struct cli_command *cmd, each_option *each)
{
    for (const struct cli_option *o = cmd->options; o && o->name; o++)
        each(out, cmd, o);
    for (const struct cli_option *o = cli_common; o->name; o++)
        each(out, cmd, o);
}

/* Single-quoted for sh, zsh and fish: ours have no backslashes */
static void quoted(struct buf *out, const char *text)
{
    buf_add_u8(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_add_str(out, "'\\''");
        else
            buf_add_u8(out, (uint8_t)*text);
    }
    buf_add_u8(out, '\'');
}

/* ---- tables ---- */

static void tables_option(struct buf *out, const struct cli_command *cmd, const struct cli_option *o)
{
    buf_printf(out, "%s\t--%s\t%s\n", cmd->name, o->name, o->argument ? o->argument : "");
    if (o->letter)
        buf_printf(out, "%s\t-%c\t%s\n", cmd->name, o->letter, o->argument ? o->argument : "");
}

static void tables(const struct cli_command *const *commands, struct buf *out)
{
    for (; *commands; commands++) {
        buf_printf(out, "%s\t\t%s\n", (*commands)->name, (*commands)->operands);
        for_options(out, *commands, tables_option);
    }
}

/* ---- bash ---- */

static void bash_option(struct buf *out, const struct cli_command *cmd, const struct cli_option *o)
{
    (void)cmd;
    buf_printf(out, " --%s%s", o->name, o->argument ? "=" : "");
    if (o->letter)
        buf_printf(out, " -%c", o->letter);
}

/* Is a file name among its operands? Keys, peers and ports are none. */
static bool takes_files(const struct cli_command *cmd)
{
    return strstr(cmd->operands, "FILE") || strstr(cmd->operands, "PATH") || strstr(cmd->operands, "DIR") ||
           strstr(cmd->operands, "TARGET") || strstr(cmd->operands, "FROM");
}

static void bash(const struct cli_command *const *commands, struct buf *out)
{
    buf_add_str(out, "# bash completion for p2p\n_p2p() {\n    local cur=${COMP_WORDS[COMP_CWORD]} words files=\n"
                     "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words=\"");
    for (const struct cli_command *const *p = commands; *p; p++)
        buf_printf(out, "%s%s", p == commands ? "" : " ", (*p)->name);
    buf_add_str(out, "\"\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n        return\n    fi\n"
                     "    case ${COMP_WORDS[1]} in\n");
    for (const struct cli_command *const *p = commands; *p; p++) {
        buf_printf(out, "    %s) words=\"", (*p)->name);
        for_options(out, *p, bash_option);
        buf_printf(out, "\"%s ;;\n", takes_files(*p) ? " files=1" : "");
    }
    buf_add_str(out, "    *) words=\"\" ;;\n    esac\n    case $cur in\n"
                     "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                     "        [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace ;;\n"
                     "    *) [[ -z $files ]] || compopt -o default ;;\n    esac\n}\ncomplete -F _p2p p2p\n");
}

/* ---- zsh ---- */

/* Inside _arguments specs, ':' and brackets need a backslash. */
static void zsh_help(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr(":[]", *text))
            buf_add_u8(out, '\\');
        if (*text == '\'')
            buf_add_str(out, "'\\''");
        else
            buf_add_u8(out, (uint8_t)*text);
    }
}

static void zsh_option(struct buf *out, const struct cli_command *cmd, const struct cli_option *o)
{
    (void)cmd;
    bool file = o->argument && strcmp(o->argument, "FILE") == 0;
    for (unsigned form = 0; form < (o->letter ? 2 : 1); form++) {
        if (form == 0)
            buf_printf(out, "        '--%s%s[", o->name, o->argument ? "=" : "");
        else
            buf_printf(out, "        '-%c[", o->letter);
        zsh_help(out, o->help);
        buf_printf(out, "]%s%s%s' \\\n", o->argument ? ":" : "", o->argument ? o->argument : "",
                   file          ? ":_files"
                   : o->argument ? ":"
                                 : "");
    }
}

static void zsh(const struct cli_command *const *commands, struct buf *out)
{
    buf_add_str(out, "#compdef p2p\n_p2p() {\n    local -a commands\n    commands=(\n");
    for (const struct cli_command *const *p = commands; *p; p++) {
        buf_printf(out, "        '%s:", (*p)->name);
        zsh_help(out, (*p)->summary);
        buf_add_str(out, "'\n");
    }
    buf_add_str(out, "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
                     "    case $words[2] in\n");
    for (const struct cli_command *const *p = commands; *p; p++) {
        buf_printf(out, "    %s) _arguments \\\n", (*p)->name);
        for_options(out, *p, zsh_option);
        buf_printf(out, "        '*:%s' ;;\n", takes_files(*p) ? "file:_files" : "operand:");
    }
    /* a file of $fpath runs it, `source` registers it */
    buf_add_str(out, "    esac\n}\nif [[ ${funcstack[1]} == _p2p ]]; then\n    _p2p \"$@\"\nelse\n    compdef _p2p p2p\nfi\n");
}

/* ---- fish ---- */

static void fish_option(struct buf *out, const struct cli_command *cmd, const struct cli_option *o)
{
    buf_printf(out, "complete -c p2p -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, o->name);
    if (o->letter)
        buf_printf(out, " -s %c", o->letter);
    if (o->argument)
        buf_add_str(out, " -r");
    buf_add_str(out, " -d ");
    quoted(out, o->help);
    buf_add_u8(out, '\n');
}

static void fish(const struct cli_command *const *commands, struct buf *out)
{
    buf_add_str(out, "# fish completion for p2p\n");
    for (; *commands; commands++) {
        buf_printf(out, "complete -c p2p -n __fish_use_subcommand -f -a %s -d ", (*commands)->name);
        quoted(out, (*commands)->summary);
        buf_add_u8(out, '\n');
        if (!takes_files(*commands))
            buf_printf(out, "complete -c p2p -n '__fish_seen_subcommand_from %s' -f\n", (*commands)->name);
        for_options(out, *commands, fish_option);
    }
}

int completion_script(const struct cli_command *const *commands, const char *shell, struct buf *out)
{
    static const struct {
        const char *name;
        void (*write)(const struct cli_command *const *commands, struct buf *out);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}, {"tables", tables}};
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].write(commands, out);
            return 0;
        }
    return ERR_INVALID;
}
