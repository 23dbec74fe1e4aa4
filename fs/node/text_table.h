/* SPDX-License-Identifier: MIT
 *
 * The text files of the mount, and where they stand.
 */
#ifndef FS_NODE_TEXT_TABLE_H
#define FS_NODE_TEXT_TABLE_H

#include "fs/node/mount_state.h"

enum text_place { TEXT_AT_ROOT, TEXT_AT_P2P, TEXT_AT_PEER };

enum text_id {
    TEXT_README,
    TEXT_STATUS,
    TEXT_EVENTS,
    TEXT_WAITING,
    TEXT_REQUESTS,
    TEXT_CTL,
    TEXT_LIMITS,
    TEXT_LOG,
    TEXT_PEER_STATUS,
    TEXT_PEER_PING,
    TEXT_PEER_LEDGER,
    TEXT_PEER_CTL,
    TEXTS
};
#define TEXT_JSON 0x100u /* in an inode's sub: the JSON twin */

int text_find(enum text_place place, const char *name); /* the sub, or ERR_NOT_FOUND */
const char *text_name(enum text_id id);
void text_found(struct mount *m, unsigned sub, struct span peer, struct found *ret);

#endif
