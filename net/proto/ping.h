/* SPDX-License-Identifier: MIT
 *
 * Ping `/ipfs/ping/1.0.0` (PROTOCOLS.md section 8): 32 random bytes, echoed, repeated on one stream.
 *
 * The responder echoes whole payloads and never holds more than one. The pinger sends when it is told to, checks the echo
 * and gives the round trip; its owner decides how often and when to give up.
 */
#ifndef NET_PROTO_PING_H
#define NET_PROTO_PING_H

#include "store/base/err.h"
#include "store/base/mono.h"
#include "store/base/rng.h"
#include "store/base/span.h"

#define PING_PROTOCOL    "/ipfs/ping/1.0.0"
#define PING_SIZE        32
#define PING_INBOUND_MAX 2 /* streams a peer may have open to our responder: others are reset */
#define PING_TIMEOUT     (10 * MONO_S)
#define PING_BURST       32 /* echoes at once, then PING_RATE a second: a flood waits in its own window */
#define PING_RATE        10

struct ping_responder {
    uint8_t held[PING_SIZE];
    unsigned have;
    unsigned tokens;
    mono_ns filled; /* when tokens were last added */
};
void ping_responder_init(struct ping_responder *r, mono_ns now);
/* Takes bytes, appends echoes to `out`. Bytes taken: fewer than in.len when the peer pings too fast; give the rest again
 * at ping_responder_deadline. */
size_t ping_responder_input(struct ping_responder *r, struct span in, struct buf *out, mono_ns now);
mono_ns ping_responder_deadline(const struct ping_responder *r); /* MONO_NEVER: takes bytes at once */

struct pinger {
    uint8_t sent[PING_SIZE];
    unsigned have; /* of the echo */
    bool waiting;
    mono_ns sent_at; /* of the ping under way */
};
void pinger_init(struct pinger *p);
/* Appends one ping. ERR_BUSY: one is under way. */
int pinger_send(struct pinger *p, struct rng *rng, struct buf *out, mono_ns now);
/* 1: the echo is complete, *ret_rtt is its time. 0: more bytes needed. ERR_PROTOCOL: wrong bytes, or none were asked for:
 * reset. */
int pinger_input(struct pinger *p, struct span in, mono_ns now, mono_ns *ret_rtt);
mono_ns pinger_deadline(const struct pinger *p); /* when the ping under way is lost; MONO_NEVER: none is */

#endif
