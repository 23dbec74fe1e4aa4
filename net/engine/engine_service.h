/* SPDX-License-Identifier: MIT
 *
 * Services from the outside of the engine: changing what is offered and forwarded, and dialing. What there is now stands in the
 * view (engine.h: offers, forwards, streams; and of each peer, protocols: what begins with SERVICE_PREFIX it offers to us).
 *
 * A stream is handed over as a descriptor: a connected unix socket, non-blocking, whose other end the engine joins to the
 * stream. shutdown(2) on it is our FIN, end of file the peer's; closing it hangs up. Back-pressure is the socket's. A stream of
 * datagrams is a SEQPACKET socket: one datagram a message.
 */
#ifndef NET_ENGINE_ENGINE_SERVICE_H
#define NET_ENGINE_ENGINE_SERVICE_H

#include "net/engine/engine.h"
#include "net/service/service_line.h"

/* One line of service_line.h (peers by id), applied; HANGUP too. Any thread. */
struct engine_change {
    struct mail mail; /* run() on the asker's thread when done */
    struct mailbox *reply;
    char *line; /* the asker's; stays until the answer */
    int result; /* of services_apply; FORWARD also ERR_BUSY, ERR_DENIED, ERR_INVALID …: cannot listen there */
    struct why why;
    struct buf saved; /* all services as text after it: to be written to disk by the asker, who frees it */
};
void engine_change_services(struct engine *e, struct engine_change *take_c);

struct engine_dial {
    struct mail mail; /* run() on the asker's thread when done */
    struct mailbox *reply;
    struct peer_id
        peer; /* none: the live service `service` of our own, to be written (ERR_NOT_FOUND; ERR_BUSY: has a writer) */
    char service[SERVICE_NAME_SIZE];
    /* either: datagrams if the peer has no such service of streams; only with a pair, whose SO_TYPE tells which it is */
    bool datagrams, either;
    /* In: a connected stream socket to join to it (for datagrams: SEQPACKET, or a connected UDP socket); the engine's from the
     * call on, closed whatever happens. -1: make a pair. Out: with a pair, our end, the asker's; else -1. */
    int fd;
    mono_ns timeout; /* 0: 15 s */
    /* Told on the engine's thread when the stream has ended, after an answer of 0: must not block. 0: well; ERR_RESET … A unix
     * socket cannot tell a reset from an end. `whole`: the peer's end had come before and was passed on. NULL: nobody asks. */
    void (*ended)(void *arg, uint64_t stream, int err, bool whole);
    void *arg;
    /* ERR_UNREACHABLE, ERR_OFFLINE, ERR_TIMEOUT, ERR_DENIED (no such service, or not for us), ERR_RESET, ERR_LIMIT,
     * ERR_CANCELLED, ERR_INVALID … */
    int result;
    struct why why;
    uint64_t stream; /* its number in the view. In: one of engine_stream_number that it shall have, or 0 */
};
#define ENGINE_FLOWS_NAMES 6
/* A bound UDP socket, each source of which is a flow to a peer's service, as of a UDP forward; but it is not saved, not listed
 * among the forwards, and the peer is not kept connected for it. The services are asked for in turn until the peer has one. */
struct engine_flows {
    struct peer_id peer;
    unsigned name_count; /* at least one */
    char names[ENGINE_FLOWS_NAMES][SERVICE_NAME_SIZE];
    int fd; /* the engine's from the call on */
};
/* The number by which the view counts it and by which it is closed; 0: too many commands are waiting, and it is closed. */
uint64_t engine_flows_open(struct engine *e, const struct engine_flows *take_f);
void engine_flows_close(struct engine *e, uint64_t number); /* with its flows */

uint64_t engine_stream_number(struct engine *e); /* one that no other stream has or will have. Any thread */
void engine_dial_service(struct engine *e, struct engine_dial *take_d);
/* It is answered soon, ERR_CANCELLED unless it was done. Only by who posted it, before its answer has come. */
void engine_dial_cancel(struct engine *e, struct engine_dial *d);

#endif
