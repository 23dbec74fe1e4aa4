/* SPDX-License-Identifier: MIT
 *
 * Streaming the content of a path from the node to a file descriptor, with progress and, when nothing comes, the node's
 * reason why.
 */
#ifndef CMD_CLI_CLI_FETCH_H
#define CMD_CLI_CLI_FETCH_H

#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_progress.h"

struct cli_fetch {
    const char *path; /* as the control socket understands it */
    uint64_t offset;
    const uint64_t *length; /* NULL: to the end */
    int fd;
    struct progress *progress; /* may be NULL */
};

/* All of it, however long the reader takes; 0, ERR_INTERRUPTED, or the error that errno has. */
int cli_write_all(int fd, const uint8_t *data, size_t len);
/* 0; ERR_INTERRUPTED; ERR_CLOSED: the reader of fd has gone; or an error that was said. *ret_bytes (may be NULL) is set in any
 * case. */
int cli_fetch(struct api *a, const struct cli_fetch *f, uint64_t *ret_bytes);
/* Lets `p` ask the node about what waits; `a` is used for it on a connection of its own. */
void cli_fetch_progress(struct api *a, struct progress *p);
/* Around a request whose answer may wait for the network before its first byte. The end may come twice. */
void cli_wait_begin(struct api *a, struct progress *p, const char *name);
void cli_wait_end(struct api *a, struct progress *p);

#endif
