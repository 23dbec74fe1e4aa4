/* SPDX-License-Identifier: MIT
 *
 * Who stands in peers/: those that are known by the table, and everybody else by an id. Private to fs/node; fs thread.
 */
#ifndef FS_NODE_PEERS_H
#define FS_NODE_PEERS_H

#include "fs/node/mount_state.h"

#define PEERS_ID_SIZE 72

const struct peer_row *peers_find(const struct mount *m, struct span name); /* by id or petname; NULL: not known */
/* Is it an id, of whomever? As peers/ writes ids, in base58; it may also be the CID of a key. */
bool peers_id(struct span name, char ret[PEERS_ID_SIZE]);
bool peers_may_be(const struct mount *m, struct span name); /* known, or an id: somebody who could be dialed */
/* Has the folder of `peer` that file, a sub of TEXT_AT_PEER (text_table.h)? */
bool peers_has_text(const struct mount *m, struct span peer, unsigned sub);

#endif
