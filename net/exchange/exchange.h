/* SPDX-License-Identifier: MIT
 *
 * Block exchange: one object for the node, server and client of bitswap 1.2 (PROTOCOLS.md section 19) at once. The host
 * feeds it peers, stream bytes, wants and answers, and pulls actions until there are none. It owns no stream, clock,
 * thread or store; it is the only one who knows who wants what.
 *
 * Inbound: every stream that a peer opens with a bitswap protocol becomes an exchange_stream. Its bytes go through an
 * incremental decoder which writes block bytes straight into a struct block (BUDGET_NET). When the budget says not now
 * exchange_stream_data takes fewer bytes than it was given: the host keeps the rest (and so the stream's window shut)
 * until EXCHANGE_RESUME.
 *
 * Outbound: one stream of ours per peer carries all messages while they flow, and is closed after a second of quiet (js
 * aborts a stream that is silent for 5 s). EXCHANGE_OPEN asks for it, EXCHANGE_READY says that exchange_output has bytes:
 * spans borrowed from message heads and from blocks, so that a block is copied once, into the stream's send queue. A turn
 * ends when exchange_output answers 0: READY then comes again in its turn, which is what makes serving fair by bytes.
 *
 * A block from a peer: VERIFY (worker: exchange_verify_block) → exchange_verified → wants are settled with the block →
 * STORE → exchange_stored. Nobody but the hash decides which want a block answers.
 *
 * Wants for the same multihash are merged. Before the network is asked LOAD asks the store. Wants of one root form a
 * session: the first are asked of everyone who is LAN, preferred or delivered before (want-have, and want-block to the
 * best), later ones go straight to peers that have what belongs to the root, spread by expected completion time.
 *
 * Engine thread only. All spans and pointers given are borrowed for the call, `take_` ones are taken.
 */
#ifndef NET_EXCHANGE_EXCHANGE_H
#define NET_EXCHANGE_EXCHANGE_H

#include "store/base/rng.h"
#include "store/block/want.h"

#define EXCHANGE_PROTOCOL     "/ipfs/bitswap/1.2.0" /* offered and dialed */
#define EXCHANGE_PROTOCOL_1_1 "/ipfs/bitswap/1.1.0" /* accepted too: a subset */

/* What grows with other people's input, and its bound. Small objects are charged to BUDGET_TABLE besides. */
#define EXCHANGE_PEERS_MAX      4096
#define EXCHANGE_WANTS_MAX      65536 /* wants of ours; post answers ERR_AGAIN beyond */
#define EXCHANGE_DAGS_MAX       256   /* WANT_DAG among them */
#define EXCHANGE_PEER_WANTS_MAX 1024  /* wants a peer may have queued with us; the oldest unmet gives way */
#define EXCHANGE_STREAMS_MAX    32    /* inbound streams per peer */
#define EXCHANGE_ITEMS_RATE     50000 /* a second: what a peer names (wants, cancels, presences); all in vain. More waits */
#define EXCHANGE_CHUNK_MAX      65536 /* most that one exchange_output gives */

struct exchange;
struct exchange_peer;   /* one connected peer; made by exchange_peer_added, dead after exchange_peer_removed */
struct exchange_stream; /* one inbound stream; dead after fin, reset, or the removal of its peer */

struct exchange_config {
    struct budget *budget;
    uint64_t seed;          /* keys the hash tables: peers choose CIDs. Random in a node, fixed in a simulation */
    uint64_t upload_rate;   /* bytes a second, 0: no cap */
    uint64_t download_rate; /* bytes a second, 0: no cap */
};

struct exchange *exchange_new(const struct exchange_config *c, mono_ns now);
/* Gives every unsettled want back by EXCHANGE_SETTLE first if the host calls exchange_stop and pulls; frees the rest. */
void exchange_stop(struct exchange *x);             /* all wants settle with ERR_CANCELLED; new ones are refused */
struct exchange *exchange_free(struct exchange *x); /* NULL accepted; wants not yet pulled are lost */
void exchange_set_rates(struct exchange *x, uint64_t upload, uint64_t download, mono_ns now);

/* ---- peers ---- */

enum exchange_peer_flags {
    EXCHANGE_LAN = 1,       /* on our network or machine: asked first, and yields to remote peers when upload is capped */
    EXCHANGE_CAPABLE = 2,   /* identify lists a bitswap protocol. Without it nothing is sent to the peer */
    EXCHANGE_PREFERRED = 4, /* peering, petname, known provider of something: asked in broadcasts */
    EXCHANGE_REFUSED = 8,   /* by the user's refuse list: served nothing, asked nothing */
};

/* A peer with at least one usable connection. `owner` is the host's and comes back in actions. NULL: EXCHANGE_PEERS_MAX. */
struct exchange_peer *exchange_peer_added(struct exchange *x, void *owner, unsigned flags, mono_ns now);
void exchange_peer_flags(struct exchange *x, struct exchange_peer *p, unsigned flags, mono_ns now);
void exchange_peer_rtt(struct exchange *x, struct exchange_peer *p, mono_ns rtt); /* from ping; optional */
/* Forgets its wants, re-queues ours, frees p and its streams. No later action names it. */
void exchange_peer_removed(struct exchange *x, struct exchange_peer *p, mono_ns now);
bool exchange_peer_owes(const struct exchange_peer *p); /* blocks that it was asked for, or delivered before and may again */
/* A connection of its broke and others go on: it may have been without any, and forgot us. Our wants are sent anew. */
void exchange_peer_back(struct exchange *x, struct exchange_peer *p, mono_ns now);
/* A provider of `cid` was found (DHT, HTTP …) and is connected: ask it. */
void exchange_peer_provides(struct exchange *x, struct exchange_peer *p, const struct cid *cid, mono_ns now);

/* ---- inbound streams ---- */

/* NULL: too many, reset it. `owner` comes back in EXCHANGE_RESUME. */
struct exchange_stream *exchange_stream_opened(struct exchange *x, struct exchange_peer *p, void *owner);
/* Bytes taken (≤ in.len; fewer: give the rest again after EXCHANGE_RESUME), or ERR_PROTOCOL, ERR_TOO_BIG: reset the stream
 * (then call exchange_stream_closed). */
int exchange_stream_data(struct exchange *x, struct exchange_stream *s, struct span in, mono_ns now);
/* Its end (FIN) or reset. A message that was cut short is dropped. */
void exchange_stream_closed(struct exchange *x, struct exchange_stream *s, mono_ns now);

/* ---- our outgoing stream to a peer ---- */

/* Answer to EXCHANGE_OPEN: 0, or an ERR_* (then it is tried again with back-off, or never on ERR_UNSUPPORTED). */
void exchange_opened(struct exchange *x, struct exchange_peer *p, int result, mono_ns now);
/* Our stream was reset by the peer or died: what was not sent goes on a new one. */
void exchange_output_lost(struct exchange *x, struct exchange_peer *p, mono_ns now);
/* At most `most` next bytes of the stream, as a span borrowed until the next call for this peer; counted as sent. Its
 * length; 0: the turn is over, wait for EXCHANGE_READY. */
size_t exchange_output(struct exchange *x, struct exchange_peer *p, size_t most, struct span *ret, mono_ns now);
/* The block that this span lies in, NULL: none. Borrowed for as long; with a reference of one's own the span lives longer. */
struct block *exchange_output_block(const struct exchange_peer *p);

/* ---- the store ---- */

/* Answer to EXCHANGE_LOAD. `result` 0: held, `size` bytes, and the block unless size > the action's `most`. ERR_MISSING: not
 * held. ERR_NO_MEMORY: the budget had no room for it; ERR_AGAIN: the store cannot tell now. Both are asked again in a moment.
 * Anything else counts as not held. */
void exchange_loaded(struct exchange *x, uint64_t tag, int result, uint64_t size, struct block *take_b, mono_ns now);
/* A block appeared that the exchange did not fetch (written, imported): serves peers that wait for it, settles wants. */
void exchange_have_block(struct exchange *x, const struct cid *cid, mono_ns now);
/* Worker, any thread: sets b->cid from the prefix given by the action and the bytes. 0, ERR_UNSUPPORTED (hash function). */
struct exchange_prefix {
    uint8_t version; /* of the CID */
    uint8_t digest_len;
    uint32_t codec, hash; /* multicodec, multihash code */
};
int exchange_verify_block(struct block *b, const struct exchange_prefix *prefix);
/* Before that answer: the owner of the peer that sent `cid`, when it is wanted, and for which root. NULL: it left, or nobody
 * wants it. */
void *exchange_sender(struct exchange *x, uint64_t tag, const struct cid *cid, struct cid *ret_root);
/* Answer to EXCHANGE_VERIFY: the block and what exchange_verify_block said. */
void exchange_verified(struct exchange *x, uint64_t tag, struct block *take_b, int result, mono_ns now);
/* Answer to EXCHANGE_STORE. */
void exchange_stored(struct exchange *x, const struct cid *cid, int result, mono_ns now);
/* The budget's eventfd fired: what waits for memory goes on. */
void exchange_budget_freed(struct exchange *x, mono_ns now);

/* ---- wants (contract: store/block/want.h) ---- */

int exchange_want(struct exchange *x, struct want *take_w, mono_ns now); /* 0, or ERR_AGAIN: too many, not taken */
void exchange_cancel(struct exchange *x, struct want *w, mono_ns now);
void exchange_raise(struct exchange *x, struct want *w, enum want_priority p, mono_ns now);

/* No network at all (no interface, no peer): WANT_NOW wants that are not held settle with ERR_OFFLINE at once. Initially
 * online. */
void exchange_set_offline(struct exchange *x, bool offline, mono_ns now);

/* ---- actions ---- */

enum exchange_action_type {
    EXCHANGE_NONE,
    EXCHANGE_SETTLE, /* want: reply it to its asker */
    /* peer: disconnect it, it breaks the rules (result: ERR_PROTOCOL, ERR_VERIFY, ERR_LIMIT). Remove it as usual */
    EXCHANGE_DROP,
    EXCHANGE_RESUME, /* stream: give the bytes that were not taken again */
    /* block, prefix, tag: exchange_verify_block on a worker, then exchange_verified. The reference is the host's until
     * then */
    EXCHANGE_VERIFY,
    EXCHANGE_STORE,  /* block: one reference, for blockstore_put; then exchange_stored with its CID */
    EXCHANGE_LOAD,   /* cid, tag, most: read it on a worker into BUDGET_NET, then exchange_loaded. Comes in batches */
    EXCHANGE_OPEN,   /* peer: open a stream of EXCHANGE_PROTOCOL, then exchange_opened */
    EXCHANGE_READY,  /* peer: exchange_output has bytes */
    EXCHANGE_CLOSE,  /* peer: end our outgoing stream with FIN; the next message asks for a new one */
    EXCHANGE_SEEK,   /* cid: no connected peer has it: find providers (may be ignored) */
    EXCHANGE_SILENT, /* peer: nothing comes of what it was asked for: see whether its connections live (may be ignored) */
};

struct exchange_action {
    enum exchange_action_type type;
    int result;
    void *owner; /* of the peer or stream it names */
    struct exchange_peer *peer;
    struct exchange_stream *stream;
    struct want *want;
    struct block *block;
    struct exchange_prefix prefix;
    struct cid cid;
    uint64_t tag;
    uint64_t most;
};

bool exchange_next(struct exchange *x, struct exchange_action *ret);
mono_ns exchange_deadline(const struct exchange *x);
void exchange_expire(struct exchange *x, mono_ns now);

/* ---- figures ---- */

/* The ledger of one peer, since it was added: one that goes and comes again begins anew. */
struct exchange_ledger {
    uint64_t bytes_sent, bytes_received;   /* block bytes */
    uint64_t blocks_sent, blocks_received; /* received: wanted and right */
    uint64_t haves_sent, dont_haves_sent;
    uint64_t wants_received, wants_sent;  /* entries */
    uint64_t duplicates, duplicate_bytes; /* right, but another peer was faster */
    uint64_t wrong, wrong_bytes;          /* nobody asked for it, or failed its hash */
    uint64_t timeouts;
    uint32_t their_wants;    /* queued with us now */
    uint32_t our_wants;      /* of ours outstanding there now */
    uint64_t inflight_bytes; /* estimate of what these will bring */
    uint64_t rate;           /* bytes a second it delivered lately */
};
void exchange_ledger(const struct exchange *x, const struct exchange_peer *p, struct exchange_ledger *ret);

struct exchange_stats {
    struct exchange_ledger total; /* peers that are gone too */
    uint32_t peers, wants, dags, sessions, items;
    uint32_t verifying, storing, loading;
};
void exchange_stats(const struct exchange *x, struct exchange_stats *ret);

/* Blocks and bytes of a want so far; WANT_DAG: also how many are known to be missing yet. */
struct exchange_progress {
    uint64_t blocks, bytes; /* fetched from peers */
    uint64_t held;          /* blocks that were here already */
    uint64_t queued;        /* known and not here yet; a lower bound of what remains */
    uint32_t peers;         /* that are asked now */
    mono_ns since;          /* when it was wanted */
};
void exchange_progress(const struct exchange *x, const struct want *w, struct exchange_progress *ret);

#endif
