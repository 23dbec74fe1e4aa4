/* SPDX-License-Identifier: MIT
 *
 * Petnames: our own names for peers, one to one. In the state folder's file `petnames`, a line `name TAB peer id` each, written
 * whole and atomically at each change. Control thread.
 */
#ifndef CMD_DAEMON_PETNAMES_H
#define CMD_DAEMON_PETNAMES_H

#include "net/addr/peerid.h"

struct petnames;

#define PETNAME_MAX  63
#define PETNAMES_MAX 4096

/* A file that cannot be read or has a line that is not one: ERR_* with a sentence that names it. No file: none. */
int petnames_open(struct petnames **ret, const char *path, struct why *why);
int petnames_parse(struct petnames **ret, const char *path, struct span text, struct why *why); /* what is in it */
struct petnames *petnames_free(struct petnames *p);                         /* NULL accepted */
const char *petname_of(const struct petnames *p, const struct peer_id *id); /* "" none */
bool petname_find(const struct petnames *p, const char *name, struct peer_id *ret);
/* `id` NULL takes the name away. ERR_INVALID: not a name (1 to 63 bytes, no blanks, control characters or '/', not like a peer
 * id), ERR_LIMIT, ERR_NOT_FOUND, a file's error: nothing changed. */
int petname_set(struct petnames *p, const char *name, const struct peer_id *id, struct why *why);
/* Each in turn; i from 0 until false. */
bool petname_at(const struct petnames *p, unsigned i, const char **ret_name, struct peer_id *ret);

#endif
