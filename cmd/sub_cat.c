/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_path.h"
#include "cmd/subs.h"
#include "store/base/units.h"

#include <unistd.h>

static const struct cli_option options[] = {
    {"offset", 0, "SIZE", "begin so many bytes into the file"},
    {"length", 0, "SIZE", "at most so many bytes"},
    {NULL, 0, NULL, NULL},
};

/* 1: it is there; 0: it is not; ERR_USAGE, which was said */
static int size_option(struct cli *c, const char *name, uint64_t *ret)
{
    const char *text = cli_value(c, name);
    if (!text)
        return 0;
    if (size_parse(span_str(text), ret) == 0)
        return 1;
    return cli_fail(c, ERR_USAGE, NULL, "--%s: '%s' is not a size", name, text);
}

static int run(struct cli *c)
{
    struct cli_fetch f = {.fd = STDOUT_FILENO};
    uint64_t length = 0;
    int r = size_option(c, "offset", &f.offset);
    if (r >= 0)
        r = size_option(c, "length", &length);
    if (r < 0)
        return r;
    f.length = r ? &length : NULL;
    struct api a;
    r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    for (unsigned i = 0; i < c->count && r == 0; i++) {
        struct progress p;
        char *path = NULL;
        r = cli_path(&a, c->operands[i], &path);
        if (r == 0) {
            progress_begin(&p, c, c->operands[i], 0);
            cli_fetch_progress(&a, &p);
            f.path = path;
            f.progress = c->out_tty ? NULL : &p; /* the content itself is on the terminal */
            r = cli_fetch(&a, &f, NULL);
            progress_end(&p);
        }
        cli_path_free(path);
    }
    api_close(&a);
    return r == ERR_CLOSED ? 0 : r;
}

const struct cli_command sub_cat = {
    .name = "cat",
    .operands = "PATH…",
    .summary = "write the content of files to stdout, fetching what is not here",
    .options = options,
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
