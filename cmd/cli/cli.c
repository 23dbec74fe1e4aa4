/* SPDX-License-Identifier: MIT
 *
 * getopt_long does the parsing; its tables are made from ours for each invocation. */
#include "cmd/cli/cli.h"

#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct cli_option cli_common[] = {
    {"json", 0, NULL, "answer in JSON (one object a line for lists)"},
    {"quiet", 'q', NULL, "no remarks and no progress"},
    {"verbose", 'v', NULL, "say more on stderr"},
    {"help", 'h', NULL, "this page"},
    {NULL, 0, NULL, NULL},
};
enum { COMMON_JSON, COMMON_QUIET, COMMON_VERBOSE, COMMON_HELP, COMMON_COUNT };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_catch_interrupts(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND}; /* a second Ctrl-C ends at once */
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

int cli_poll(struct pollfd *p, unsigned count)
{
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, &before);
    errno = EINTR;
    int ready = cli_interrupted() ? -1 : ppoll(p, count, NULL, &before);
    int number = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = number;
    return ready;
}

static void add_sentence(struct buf *line, const char *fmt, va_list args)
{
    char text[1024];
    (void)vsnprintf(text, sizeof text, fmt, args); /* a cut sentence is still a sentence */
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        buf_add_u8(line, *p < 0x20 || *p == 0x7f ? '?' : *p); /* parts come from peers and from file names */
}

int cli_fail(const struct cli *c, int err, const char *hint, const char *fmt, ...)
{
    struct buf line = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    add_sentence(&line, fmt, args);
    va_end(args);
    const char *text = buf_cstr(&line);
    size_t len = buf_len(&line);
    const char *stop = len && strchr(".?!", text[len - 1]) ? "" : ".";
    if (c && c->color)
        fprintf(stderr, "\033[31mp2p:\033[0m %s%s", text, stop);
    else
        fprintf(stderr, "p2p: %s%s", text, stop);
    if (hint && *hint)
        fprintf(stderr, " Try: %s", hint);
    fputc('\n', stderr);
    buf_done(&line);
    return err;
}

void cli_note(const struct cli *c, const char *fmt, ...)
{
    if (c->quiet)
        return;
    struct buf line = BUF_INIT;
    va_list args;
    va_start(args, fmt);
    add_sentence(&line, fmt, args);
    va_end(args);
    fprintf(stderr, "%s\n", buf_cstr(&line));
    buf_done(&line);
}

int cli_flush(const struct cli *c)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (errno == EPIPE)
        return 0;
    int err = err_from_errno(errno);
    return cli_fail(c, err, NULL, "cannot write the answer: %s", err_text(err));
}

/* ---- options ---- */

static unsigned option_count(const struct cli_option *table)
{
    unsigned n = 0;
    while (table && table[n].name)
        n++;
    return n;
}

static unsigned option_place(const struct cli *c, const char *name)
{
    const struct cli_option *t = c->command->options;
    unsigned n = option_count(t);
    for (unsigned i = 0; i < n; i++)
        if (strcmp(t[i].name, name) == 0)
            return i;
    assert(!"an option that the command's table does not have");
    return 0;
}

bool cli_has(const struct cli *c, const char *option)
{
    return c->values[option_place(c, option)] != NULL;
}

const char *cli_value(const struct cli *c, const char *option)
{
    return c->values[option_place(c, option)];
}

/* getopt's two tables from ours. `val` 256 + place for the command's, 512 + place for common ones. */
struct getopt_tables {
    struct option longs[CLI_OPTIONS_MAX + COMMON_COUNT + 1];
    char shorts[2 * (CLI_OPTIONS_MAX + COMMON_COUNT) + 3];
};
#define VAL_OWN    256
#define VAL_COMMON 512

static void tables_add(struct getopt_tables *t, const struct cli_option *from, int base)
{
    struct option *o = t->longs;
    while (o->name)
        o++;
    char *s = t->shorts + strlen(t->shorts);
    for (unsigned i = 0; from && from[i].name; i++) {
        int takes = from[i].argument ? required_argument : no_argument;
        *o++ = (struct option){from[i].name, takes, NULL, base + (int)i};
        if (!from[i].letter)
            continue;
        *s++ = from[i].letter;
        if (from[i].argument)
            *s++ = ':';
    }
    *s = 0;
}

static int by_letter(const struct cli_option *t, int letter)
{
    for (int i = 0; t && t[i].name; i++)
        if (t[i].letter == letter)
            return i;
    return -1;
}

static void set_common(struct cli *c, int place)
{
    bool *const flags[COMMON_COUNT] = {&c->json, &c->quiet, &c->verbose, &c->help};
    *flags[place] = true;
}

static int bad_option(struct cli *c, int got, char **argv)
{
    const char *text = optopt && optopt < VAL_OWN ? (char[]){'-', (char)optopt, 0} : argv[optind - 1];
    char hint[64];
    snprintf(hint, sizeof hint, "p2p %s --help", c->command->name);
    if (got == ':')
        return cli_fail(c, ERR_USAGE, hint, "%s: option %s needs a value", c->command->name, text);
    return cli_fail(c, ERR_USAGE, hint, "%s: unknown or ambiguous option %s", c->command->name, text);
}

/* An option whose argument ends in "…" may be given several times: the values are joined by newlines. */
static void set_own(struct cli *c, int place, const char *value)
{
    const char *argument = c->command->options[place].argument;
    const char *before = c->values[place];
    if (!before || !argument || !strstr(argument, "…")) {
        c->values[place] = value;
        return;
    }
    struct buf both = BUF_INIT;
    buf_printf(&both, "%s\n%s", before, value);
    free(c->joined[place]);
    c->values[place] = c->joined[place] = mem_str(buf_cstr(&both));
    buf_done(&both);
}

/* An operand is moved to the front of argv, where getopt has been already. True: the rest is of another program */
static bool add_operand(struct cli *c, char *text)
{
    c->operands[c->count++] = text;
    return c->count == 2 && c->command->verbatim && strcmp(text, c->command->verbatim) == 0;
}

static int parse(struct cli *c, int argc, char **argv)
{
    struct getopt_tables t;
    memset(&t, 0, sizeof t);
    memcpy(t.shorts, "-:", 2); /* operands in their order; tells a missing value from an unknown option */
    c->operands = argv + 1;
    assert(option_count(c->command->options) <= CLI_OPTIONS_MAX);
    tables_add(&t, c->command->options, VAL_OWN);
    tables_add(&t, cli_common, VAL_COMMON);
    opterr = 0;
    int got;
    bool rest = false;
    while (!rest && (got = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1) {
        if (got == 1) {
            rest = add_operand(c, optarg);
            continue;
        }
        if (got == '?' || got == ':')
            return bad_option(c, got, argv);
        int own = got >= VAL_COMMON ? -1 : got >= VAL_OWN ? got - VAL_OWN : by_letter(c->command->options, got);
        if (own >= 0)
            set_own(c, own, optarg ? optarg : "");
        else
            set_common(c, got >= VAL_COMMON ? got - VAL_COMMON : by_letter(cli_common, got));
    }
    while (optind < argc)
        c->operands[c->count++] = argv[optind++];
    return 0;
}

static int check_count(struct cli *c)
{
    const struct cli_command *cmd = c->command;
    char hint[64];
    snprintf(hint, sizeof hint, "p2p %s --help", cmd->name);
    if (c->count < cmd->least)
        return cli_fail(c, ERR_USAGE, hint, "%s: it needs %s", cmd->name, cmd->operands);
    if (c->count > cmd->most)
        return cli_fail(c, ERR_USAGE, hint, "%s: '%s' is too many", cmd->name, c->operands[cmd->most]);
    return 0;
}

/* ---- help ---- */

#define HELP_WIDTH 80
#define HELP_AT    29 /* the column in which an option is told */

static void print_option(const struct cli_option *o)
{
    char left[64];
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->argument ? "=" : "", o->argument ? o->argument : "");
    int pad = HELP_AT - 3 - (int)cli_text_width(span_str(left));
    printf("  %s%*s ", left, pad > 0 ? pad : 0, "");
    if (pad < 0)
        printf("\n%*s", HELP_AT, "");
    cli_print_prose(o->help, HELP_AT, HELP_WIDTH);
    printf("\n");
}

static void usage_all(const struct cli *c)
{
    printf("p2p: the peer-to-peer network as a file system\n\nusage: p2p COMMAND [OPTION…] [ARGUMENT…]\n\ncommands:\n");
    for (const struct cli_command *const *p = c->commands; *p; p++)
        printf("  %-12s %s\n", (*p)->name, (*p)->summary);
    printf("\n'p2p COMMAND --help' tells more. Manual: man p2p\n");
}

void cli_usage(const struct cli *c, const struct cli_command *which)
{
    if (!which) {
        usage_all(c);
        return;
    }
    printf("usage: p2p %s [OPTION…]%s%s\n\n%s\n", which->name, *which->operands ? " " : "", which->operands, which->summary);
    if (which->details) {
        printf("\n");
        cli_print_prose(which->details, 0, HELP_WIDTH);
        printf("\n");
    }
    printf("\noptions:\n");
    for (unsigned i = 0; which->options && which->options[i].name; i++)
        print_option(&which->options[i]);
    for (unsigned i = 0; cli_common[i].name; i++)
        print_option(&cli_common[i]);
}

/* ---- main ---- */

static const struct cli_command *find_command(const struct cli *c, const char *name)
{
    for (const struct cli_command *const *p = c->commands; *p; p++)
        if (strcmp((*p)->name, name) == 0)
            return *p;
    return NULL;
}

static int run(struct cli *c, int argc, char **argv)
{
    int r = parse(c, argc, argv);
    if (r < 0)
        return r;
    if (c->help) {
        cli_usage(c, c->command);
        return cli_flush(c);
    }
    r = check_count(c);
    if (r < 0)
        return r;
    r = c->command->run(c);
    int flushed = cli_flush(c);
    return r < 0 ? r : flushed;
}

/* What was closed is open, so that no file or socket gets that number: a log, or an answer, would be written into it. Who reads
 * or writes there learns that it cannot, as if it were closed. */
static void occupy_standard(void)
{
    static const int modes[] = {[STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_RDONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", modes[fd]); /* the lowest that is free */
}

int cli_main(const struct cli_command *const *commands, int argc, char **argv)
{
    occupy_standard();
    const char *no_color = getenv("NO_COLOR");
    struct cli c = {.commands = commands, .out_tty = isatty(STDOUT_FILENO), .err_tty = isatty(STDERR_FILENO)};
    c.color = c.err_tty && !(no_color && *no_color);
    if (argc < 2) {
        usage_all(&c);
        return err_exit(ERR_USAGE);
    }
    const char *word = argv[1];
    if (strcmp(word, "--version") == 0)
        word = "version";
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    word = help ? argv[2] : word;
    c.command = word ? find_command(&c, word) : NULL;
    if (word && !c.command) {
        cli_fail(&c, ERR_USAGE, "p2p --help", "there is no command '%s'", word);
        return err_exit(ERR_USAGE);
    }
    if (help) {
        cli_usage(&c, c.command);
        return err_exit(cli_flush(&c));
    }
    int r = run(&c, argc - 1, argv + 1);
    for (unsigned i = 0; i < CLI_OPTIONS_MAX; i++)
        free(c.joined[i]);
    return err_exit(r);
}
