/* SPDX-License-Identifier: MIT
 *
 * Identify and identify push (PROTOCOLS.md section 8): who a peer says it is, on which addresses it listens, what it speaks.
 *
 * Both protocols carry the same thing: one or more uvarint-delimited Identify messages in one direction, then FIN. The
 * responder of `/ipfs/id/1.0.0` and the opener of `/ipfs/id/push/1.0.0` write what identify_build gives and close. The other
 * end feeds an identify_reader and merges what came at FIN. In a push absent fields mean "unchanged".
 *
 * Nothing here is believed: the caller compares identify.public_key with the key of the secured connection and opens the
 * signed record (net/addr/envelope.h) before it trusts the addresses in it.
 */
#ifndef NET_PROTO_IDENTIFY_H
#define NET_PROTO_IDENTIFY_H

#include "store/base/err.h"
#include "store/base/span.h"

#define IDENTIFY_PROTOCOL      "/ipfs/id/1.0.0"
#define IDENTIFY_PUSH_PROTOCOL "/ipfs/id/push/1.0.0"
#define IDENTIFY_VERSION       "ipfs/0.1.0"

#define IDENTIFY_INPUT_MAX     8192 /* one message: go and js send up to 8 KiB */
#define IDENTIFY_TOTAL_MAX     32768
#define IDENTIFY_MESSAGES_MAX  10   /* go merges up to ten */
#define IDENTIFY_ADDRS_MAX     64   /* more are ignored */
#define IDENTIFY_PROTOCOLS_MAX 256  /* more are ignored */
#define IDENTIFY_INBOUND_MAX   8    /* streams a peer may have open to ask us: others are reset */
#define IDENTIFY_PUSHES_MAX    3    /* the same to tell us: each may hold a message */
#define IDENTIFY_NAME_MAX      256  /* a protocol id or version text; longer ones are ignored */
#define IDENTIFY_KEY_MAX       1024 /* RSA-4096 is about 560 bytes */
#define IDENTIFY_OUTPUT_FIRST  2048 /* our first message stays below */
#define IDENTIFY_OUTPUT_MAX    4096 /* all of ours stay below: rust reads no more */

/* Spans: of the reader's buffer when read, the caller's when built. Empty: absent. */
struct identify {
    struct span public_key;    /* PublicKey protobuf */
    struct span agent;         /* agentVersion */
    struct span version;       /* protocolVersion */
    struct span observed;      /* binary multiaddr: where the sender sees us */
    struct span signed_record; /* envelope with a peer record */
    unsigned addr_count;
    struct span addrs[IDENTIFY_ADDRS_MAX]; /* binary multiaddrs, not yet checked */
    unsigned protocol_count;
    struct span protocols[IDENTIFY_PROTOCOLS_MAX];
};

/* Appends our message, delimited. When it would be longer than IDENTIFY_OUTPUT_FIRST the signed record and the addresses that
 * do not fit go in a second one; what does not fit in IDENTIFY_OUTPUT_MAX is left out, last addresses first. 0, or ERR_TOO_BIG:
 * key and protocols alone do not fit in the first. */
int identify_build(const struct identify *own, struct buf *out);

struct identify_reader {
    struct buf in; /* all messages as they came; `at` is where the next delimiter begins */
    size_t at;
    unsigned messages;
};
void identify_reader_init(struct identify_reader *r);
void identify_reader_done(struct identify_reader *r);
/* Takes bytes of the stream. 0, or ERR_TOO_BIG, ERR_PROTOCOL: reset the stream. */
int identify_input(struct identify_reader *r, struct span in);
/* At FIN: merges all messages; repeated fields add up, others are replaced. Spans live until reader_done. 0; ERR_TRUNCATED;
 * ERR_PROTOCOL: malformed. ERR_TRUNCATED also when nothing came. */
int identify_finish(struct identify_reader *r, struct identify *ret);

bool identify_speaks(const struct identify *id, const char *protocol);

#endif
