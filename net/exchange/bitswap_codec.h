/* SPDX-License-Identifier: MIT
 *
 * Bitswap messages on the wire (PROTOCOLS.md section 19): an incremental reader and the writers. net/wire/bitswap.proto is the
 * format; this is not protobuf-c because blocks are the bulk of all traffic: the reader copies each block byte once, from
 * the stream into the struct block, and keeps nothing of a message but one entry (≤ BITSWAP_SMALL_MAX bytes).
 *
 *     uvarint length ‖ Message { wantlist=1 { entries=1 {block=1 priority=2 cancel=3 wantType=4 sendDontHave=5}, full=2 },
 *                                blocks=2, payload=3 { prefix=1 data=2 }, blockPresences=4 { cid=1 type=2 }, pendingBytes=5 }
 *
 * Items come out in the order of the bytes. `full` may come after the entries it applies to: it is told by the END item.
 */
#ifndef NET_EXCHANGE_BITSWAP_CODEC_H
#define NET_EXCHANGE_BITSWAP_CODEC_H

#include "net/exchange/exchange.h"

#define BITSWAP_MESSAGE_MAX (4u << 20)
#define BITSWAP_SMALL_MAX   512 /* an entry, a presence, a prefix: a CID of at most 141 bytes and a few numbers */

enum bitswap_want { BITSWAP_WANT_BLOCK = 0, BITSWAP_WANT_HAVE = 1 };

enum bitswap_item_type {
    BITSWAP_WANT,     /* cid, priority, cancel, want, send_dont_have */
    BITSWAP_PRESENCE, /* cid, have */
    BITSWAP_BEGIN,    /* a block of `size` bytes begins: call bitswap_accept, else the same item comes again */
    BITSWAP_BLOCK,    /* it is complete: prefix, block (the caller's now; NULL when it was refused), size */
    BITSWAP_END,      /* of the message: full */
};

struct bitswap_item {
    enum bitswap_item_type type;
    struct cid cid;
    int32_t priority;
    enum bitswap_want want;
    bool cancel, send_dont_have, have, full;
    struct exchange_prefix prefix;
    struct block *block;
    uint32_t size;
};

struct bitswap_reader {
    uint8_t state;    /* enum in the .c file */
    uint8_t level;    /* 0 in a message, 1 in its wantlist or payload */
    uint8_t field[2]; /* being read, per level */
    uint32_t left[2]; /* bytes left of it, per level */
    uint64_t number;  /* varint so far */
    uint8_t number_len;
    uint32_t value_left; /* of a value that is skipped, collected or block data */
    uint32_t small_len;
    uint8_t small[BITSWAP_SMALL_MAX];
    bool full, has_data, refused;
    struct exchange_prefix prefix;
    struct block *block;
    uint32_t size;
};

void bitswap_reader_init(struct bitswap_reader *r);
void bitswap_reader_done(struct bitswap_reader *r); /* drops a block that was begun */
/* 1: an item; 0: `in` is used up. Moves `in` past what was used. ERR_PROTOCOL: malformed; ERR_TOO_BIG: message or block. After
 * an error the stream is lost. Entries and presences with CIDs we cannot read are passed over. */
int bitswap_read(struct bitswap_reader *r, struct span *in, struct bitswap_item *ret);
/* Answer to BEGIN: a block with room for `size` (taken), or NULL: pass over its bytes. */
void bitswap_accept(struct bitswap_reader *r, struct block *take_b);
bool bitswap_in_block(const struct bitswap_reader *r); /* holds a block that is not complete */
bool bitswap_partial(const struct bitswap_reader *r);  /* inside a message */

/* ---- writing ---- */

struct bitswap_entry {
    const struct cid *cid;
    int32_t priority;
    enum bitswap_want want;
    bool cancel, send_dont_have;
};

/* The contents of a wantlist: entries, one by one. */
void bitswap_add_entry(struct buf *wantlist, const struct bitswap_entry *e);
/* The contents of a message. */
void bitswap_add_wantlist(struct buf *message, struct span wantlist, bool full); /* full lists may be empty */
void bitswap_add_presence(struct buf *message, const struct cid *cid, bool have);
void bitswap_add_message(struct buf *stream, struct span message); /* behind its length */
/* What stands in a message before the data of a block. */
void bitswap_add_block_head(struct buf *message, const struct cid *cid, uint32_t len);
size_t bitswap_block_size(const struct cid *cid, uint32_t len); /* head and data */

#endif
