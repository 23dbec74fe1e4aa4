/* SPDX-License-Identifier: MIT
 *
 * What the subcommands about services share: lines of commands to the node (p2p-control(7), /v1/services), their words, and
 * lists with columns for people.
 */
#ifndef CMD_CLI_CLI_SERVICE_H
#define CMD_CLI_CLI_SERVICE_H

#include "cmd/cli/cli_api.h"

/* A blank and the word, quoted as the node's lines want it */
void service_add_word(struct buf *line, struct span word);
/* Sends it; frees the line. Failures were said. */
int service_send(struct api *a, struct buf *take_line);
/* "bob/ssh" → "bob", "ssh". ERR_USAGE, said. */
int service_split(struct cli *c, const char *text, struct span *ret_peer, struct span *ret_service);
int service_size(struct cli *c, const char *text, uint64_t *ret); /* "10M", "0"; ERR_USAGE, said */

struct cli_column;
/* The list, with the texts for people that are made of several keys: peer_text, allowed_text, state_text */
int service_list(struct cli *c, const char *target, const struct cli_column *columns);

#endif
