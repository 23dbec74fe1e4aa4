/* SPDX-License-Identifier: MIT
 *
 * The subcommands: one sub_<name>.c each, listed here once, in the order of `p2p --help`.
 */
#ifndef CMD_SUBS_H
#define CMD_SUBS_H

#include "cmd/cli/cli.h"

#define SUBCOMMANDS(X)                                                                                                         \
    X(up)                                                                                                                      \
    X(down)                                                                                                                    \
    X(status)                                                                                                                  \
    X(doctor)                                                                                                                  \
    X(add) X(get) X(cat) X(ls) X(stat) X(cid) X(pin) X(unpin) X(gc) X(verify) X(export) X(import) X(peers) X(connect)          \
        X(disconnect) X(ping) X(offer) X(forward) X(dial) X(streams) X(config) X(limits) X(dns) X(waiting) X(events) X(bench)  \
            X(version) X(completion)

#define X(name) extern const struct cli_command sub_##name;
SUBCOMMANDS(X)
#undef X

extern const struct cli_command *const sub_table[]; /* NULL-terminated */

#endif
