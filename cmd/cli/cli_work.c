/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_work.h"

#include "cmd/cli/cli_path.h"

int cli_work(struct cli *c, int (*work)(struct api *a))
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    r = work(&a);
    api_close(&a);
    return r;
}

int cli_work_path(struct cli *c, const char *operand, int (*work)(struct api *a, const char *path))
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    char *path = NULL;
    r = cli_path(&a, operand, &path);
    if (r == 0)
        r = work(&a, path);
    cli_path_free(path);
    api_close(&a);
    return r;
}

int cli_work_each(struct cli *c, int (*one)(struct api *a, const char *operand))
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    unsigned failed = 0;
    for (unsigned i = 0; i < c->count && r != ERR_INTERRUPTED && !cli_interrupted(); i++) {
        int now = one(&a, c->operands[i]);
        failed += now < 0;
        r = now < 0 ? now : r;
    }
    api_close(&a);
    return failed && failed < c->count && r != ERR_INTERRUPTED ? ERR_PARTIAL : r;
}
