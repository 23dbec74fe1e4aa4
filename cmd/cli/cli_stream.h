/* SPDX-License-Identifier: MIT
 *
 * Streams for subcommands: the node hands over a descriptor (the socket `streams`, p2p-control(7)) and is out of the way: this
 * program moves bytes between it and standard input and output. Each direction ends by itself; how the stream ended the node
 * says behind.
 */
#ifndef CMD_CLI_CLI_STREAM_H
#define CMD_CLI_CLI_STREAM_H

#include "cmd/cli/cli_api.h"

/* Sends the line and waits: the stream's descriptor, and the connection on which the node tells its end; or an error, said. */
int stream_ask(struct cli *c, struct buf *take_line, int *ret_control);
/* Until both sides have ended: 0, or an error, said (ERR_INTERRUPTED was not). */
int stream_splice(struct cli *c, int take_control, int take_fd);

#endif
