/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_path.h"

#include <criterion/criterion.h>

Test(cli_path, below)
{
    static const struct {
        const char *mount, *cwd, *name, *want; /* want NULL: not below */
    } rows[] = {
        {"/home/u/p2p", "/", "/home/u/p2p/share/x", "share/x"},
        {"/home/u/p2p", "/", "/home/u/p2p", ""},
        {"/home/u/p2p", "/", "/home/u/p2p/", ""},
        {"/home/u/p2p/", "/", "/home/u/p2p/a", "a"},
        {"/home/u/p2p", "/home/u", "p2p/share//x/", "share/x"},
        {"/home/u/p2p", "/home/u/p2p/share", "./x", "share/x"},
        {"/home/u/p2p", "/home/u/p2p/share/d", "../x", "share/x"},
        {"/home/u/p2p", "/home/u/p2p/share", "../../other", NULL},
        {"/home/u/p2p", "/", "/home/u/p2p2/x", NULL},
        {"/home/u/p2p", "/", "/home/u/p2p/../x", NULL},
        {"/m", "/", "/../../m/x", "x"},
        {"/m", "/", "/", NULL},
        {"", "/", "/x", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf out = BUF_INIT;
        bool below = cli_path_below(rows[i].mount, rows[i].cwd, rows[i].name, &out);
        cr_expect_eq(below, rows[i].want != NULL, "row %zu", i);
        cr_expect_str_eq(buf_cstr(&out), rows[i].want ? rows[i].want : "", "row %zu", i);
        buf_done(&out);
    }
}
