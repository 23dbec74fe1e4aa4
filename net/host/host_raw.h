/* SPDX-License-Identifier: MIT
 *
 * Raw streams of the host: what services (/x/…, net/service) speak, bytes both ways after the protocol's negotiation.
 *
 * Ours begin with a host_call of verb HOST_OPEN, whose answer has the stream; theirs with the action HOST_STREAM_CAME, told
 * only for what the registry allows to that peer. Either way the owner then calls host_raw_own, or host_raw_reset.
 *
 *   HOST_STREAM_READY  bytes or the end came, or there is room to write again: look, with what is below, and do what can be
 *                      done. Told again only after something new happened.
 *   HOST_STREAM_END    it is gone: 0 when both sides finished and everything was taken, or why. The handle ends with it.
 *                      What came before the peer finished stays to be taken, also when it resets the stream after that,
 *                      while such streams hold no more than HOST_RAW_KEPT_MAX.
 *
 * What was not consumed counts against the stream's window, so a slow reader stops its own sender. When slow readers together
 * hold more than HOST_RAW_HOLD_MAX of one connection, the one that has stood still longest is reset, so that they never
 * stop the whole connection.
 */
#ifndef NET_HOST_HOST_RAW_H
#define NET_HOST_HOST_RAW_H

#include "net/host/host.h"

#define HOST_RAW_HOLD_MAX ((size_t)8 << 20)
#define HOST_RAW_KEPT_MAX ((size_t)4 << 20) /* of all streams that were reset after they had finished */
#define HOST_RAW_STREAMS  2048              /* of one connection, in each direction */
#define HOST_RAW_PART     4  /* of the budget, and of the descriptors (each may take two), what peers open may have; */
#define HOST_RAW_ANYWAY   16 /* of them each peer may have beyond that */
#define HOST_RAW_FRAME    CONN_FRAME_DATA /* bytes that fill one frame of the connection */

void host_raw_own(struct host *h, struct host_raw *r, void *owner); /* READY follows if anything came already */
/* Streams with the same key share one turn of their connection. */
void host_raw_group(struct host_raw *r, const void *key);
struct span host_raw_peek(const struct host_raw *r); /* what came and was not consumed; until the next call */
void host_raw_consume(struct host *h, struct host_raw *r, size_t n, mono_ns now); /* n ≤ what peek gave */
bool host_raw_finished(const struct host_raw *r); /* the peer finished, and everything was consumed */
bool host_raw_is_over(const struct host_raw *r);  /* its END comes when everything was consumed */
int host_raw_write(struct host *h, struct host_raw *r, struct span data, mono_ns now); /* taken, ≥ 0 (READY when there is
                                                                        room again after less); ERR_CLOSED */
/* All of it, whatever room there is: for what was read when there was some. 0 or ERR_CLOSED */
int host_raw_write_over(struct host *h, struct host_raw *r, struct span data, mono_ns now);
/* As host_raw_write, but the bytes stay where they are until they are sent or the stream is gone. > 0: the loan was taken */
int host_raw_lend(struct host *h, struct host_raw *r, const struct loan *l, mono_ns now);
size_t host_raw_room(const struct host_raw *r);                        /* what host_raw_write would take now */
void host_raw_want_room(struct host_raw *r);                           /* READY when there is some */
size_t host_raw_unsent(const struct host_raw *r);                      /* taken, and still here */
void host_raw_finish(struct host *h, struct host_raw *r, mono_ns now); /* our end, after what was written */
void host_raw_reset(struct host *h, struct host_raw *r, mono_ns now);  /* gone at once, without HOST_STREAM_END */

const struct peer_id *host_raw_peer(const struct host_raw *r);
const struct multiaddr *host_raw_remote(const struct host_raw *r); /* of its connection */
bool host_raw_is_lan(const struct host_raw *r);
void *host_raw_carrier(const struct host_raw *r); /* the owner of its connection (host_accepted, host_dialed); NULL: gone */

/* The offers changed: tells the peers what they may dial now. */
void host_services_changed(struct host *h, mono_ns now);
/* Answers the call with ERR_CANCELLED, if it still waits. */
void host_call_cancel(struct host *h, struct host_call *c, mono_ns now);

#endif
