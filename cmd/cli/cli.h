/* SPDX-License-Identifier: MIT
 *
 * The command line: what a subcommand is (a row of a table), how its arguments are read, how it answers and how it fails.
 *
 * Each subcommand is one struct cli_command with a table of options. --help, the shell completions and the check of the manual
 * pages are made from those tables, so they cannot disagree with what is parsed. Options may stand anywhere; `--` ends them,
 * and so does a command line of another program (verbatim).
 * Every subcommand understands the common options --json, --quiet, --verbose and --help.
 *
 * stdout is the answer and nothing else; everything else goes to stderr. Errors are one sentence, `p2p: what: why. Try: …`, and
 * run() returns the negative ERR_* whose exit status err_exit gives (MOUNT "Commands"). One thread.
 */
#ifndef CMD_CLI_CLI_H
#define CMD_CLI_CLI_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <stdbool.h>

struct cli;
struct pollfd;

struct cli_option {
    const char *name;     /* "follow": --follow. NULL ends a table */
    char letter;          /* 'f': -f; 0: none */
    const char *argument; /* "SIZE": takes a value; "KEY=VALUE…": may be repeated, joined by newlines; NULL: a switch */
    const char *help;     /* a phrase without a full stop */
};

#define CLI_OPTIONS_MAX 16
#define CLI_ANY         1000000u

struct cli_command {
    const char *name;
    const char *operands;             /* for the usage line: "PATH…", "" none */
    const char *summary;              /* one line */
    const char *details;              /* more lines for --help, or NULL */
    const struct cli_option *options; /* NULL: only the common ones */
    unsigned least, most;             /* how many operands */
    int (*run)(struct cli *c);
    const char *verbatim; /* as second operand: what follows is taken as it stands, options too. NULL: none */
};

/* One invocation. */
struct cli {
    const struct cli_command *const *commands; /* NULL-terminated: all of them */
    const struct cli_command *command;
    char **operands;
    unsigned count;
    const char *values[CLI_OPTIONS_MAX]; /* by place in the command's table: NULL not given, "" a switch that was */
    char *joined[CLI_OPTIONS_MAX];       /* values of options that were given several times */
    bool json, quiet, verbose, help;
    bool out_tty, err_tty, color;
};

extern const struct cli_option cli_common[]; /* --json … */

/* Runs the program: the exit status. */
int cli_main(const struct cli_command *const *commands, int argc, char **argv);

bool cli_has(const struct cli *c, const char *option);
const char *cli_value(const struct cli *c, const char *option); /* NULL: not given. Unknown names assert */

/* Says `p2p: <sentence>. Try: <hint>` on stderr (hint NULL: without) and returns err. */
int cli_fail(const struct cli *c, int err, const char *hint, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A remark on stderr, not with --quiet. */
void cli_note(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_usage(const struct cli *c, const struct cli_command *which); /* --help of one, or with NULL of all, on stdout */

/* SIGINT or SIGTERM came: blocking calls end with EINTR, loops look here. */
bool cli_interrupted(void);
void cli_catch_interrupts(void);
/* poll(2) without a limit of time; -1 and EINTR also when the signal came before: none is missed between look and wait. */
int cli_poll(struct pollfd *p, unsigned count);

/* stdout is complete: 0, or an error that was said (disk full behind a redirection). EPIPE is success for us. */
int cli_flush(const struct cli *c);

#endif
