/* SPDX-License-Identifier: MIT
 *
 * The text files of the mount, and where they stand.
 */
#ifndef FS_NODE_TEXT_TABLE_H
#define FS_NODE_TEXT_TABLE_H

#include "fs/node/mount_state.h"

/* text_streams.c: what the files of streams/ hold, and which command a line written there is */
typedef void text_make(struct mount *m, struct span key, struct buf *out);
typedef int text_command(struct span key, struct span line, struct buf *out,
                         struct why *why); /* 0, or ERR_INVALID with a sentence */
text_make text_offer_ctl, text_offer_status, text_forward_ctl, text_forward_status, text_stream_ctl, text_stream_status,
    text_stream_local, text_stream_remote;
text_command text_offer_command, text_forward_command, text_stream_command;

enum text_place {
    TEXT_AT_ROOT,
    TEXT_AT_P2P,
    TEXT_AT_PEER,
    TEXT_AT_STREAMS,
    TEXT_AT_OFFER,
    TEXT_AT_FORWARD,
    TEXT_AT_STREAM, /* key: its number */
};

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
    TEXT_CLONE,
    TEXT_OFFER_CTL,
    TEXT_OFFER_STATUS,
    TEXT_FORWARD_CTL,
    TEXT_FORWARD_STATUS,
    TEXT_STREAM_CTL,
    TEXT_STREAM_STATUS,
    TEXT_STREAM_LOCAL,
    TEXT_STREAM_REMOTE,
    TEXTS
};
#define TEXT_JSON 0x100u /* in an inode's sub: the JSON twin */

int text_find(enum text_place place, const char *name); /* the sub, or ERR_NOT_FOUND */
const char *text_name(enum text_id id);
enum text_place text_place_of(enum text_id id);
void text_describe(const struct inode *i, struct buf *out);             /* its path */
const char *text_refusal(const struct mount *m, const struct inode *i); /* the sentence of its last refused line; NULL: none */
int text_found(struct mount *m, unsigned sub, struct span peer, struct found *ret); /* 0, ERR_NO_MEMORY */

#endif
