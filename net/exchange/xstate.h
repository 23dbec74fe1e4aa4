/* SPDX-License-Identifier: MIT
 *
 * The inside of struct exchange, shared by the files of this folder and by nobody else. Who owns what:
 *
 *   exchange ─┬─ peers ──┬─ streams            inbound, each with a bitswap_reader
 *             │          ├─ their wants        todo → loading → blocks | answers | unmet          (xserve.c)
 *             │          └─ asks               what we asked of it, each also in its item         (xfetch.c)
 *             ├─ sessions ── items             one item per multihash we miss                     (xfetch.c, xpick.c)
 *             │               ├─ waiters       WANT_BLOCK that it answers
 *             │               └─ dag uses      walks that it belongs to                           (xdag.c)
 *             ├─ loads                         reads of our store that are under way              (xblock.c)
 *             ├─ checks                        received blocks that are being hashed
 *             └─ stash                         verified blocks until the store has them
 *
 * Input functions only change state and mark what has work; exchange_next lets pump() do it. So nothing here recurses,
 * whatever a peer's DAG or messages look like, and work done by one batch of input is done once.
 */
#ifndef NET_EXCHANGE_XSTATE_H
#define NET_EXCHANGE_XSTATE_H

#include "net/exchange/xwants.h"

/* ---- peers ---- */

enum their_state { THEIRS_DUE, THEIRS_LOADING, THEIRS_BLOCK, THEIRS_HAVE, THEIRS_DONT_HAVE, THEIRS_UNMET, THEIRS_OFFERED };

struct their_want {
    TAILQ_ENTRY(their_want) link;
    struct exchange_peer *peer;
    struct load_user load;
    struct block *block;
    int32_t priority;
    uint32_t generation; /* of the message that named it last */
    uint8_t state, want;
    bool send_dont_have, again;
    bool denied; /* it was told that we lack the block: it may have asked another by now */
    bool lookup; /* what is loading is no more than that; is it held, the block comes at a second reading */
    bool found;  /* held, when it was looked for last */
    mono_ns offered_at;
    struct cidnode node;
};
TAILQ_HEAD(their_wants, their_want);

struct cancel {
    TAILQ_ENTRY(cancel) link;
    struct cidnode node;
};
TAILQ_HEAD(cancels, cancel);

#define MESSAGE_BLOCKS_MAX 64

/* The message being sent: heads in one buffer, each followed by its block. Kept whole until its last byte was given, because
 * it must begin anew when the stream dies. */
struct out_message {
    struct buf head;
    struct {
        uint32_t head_len;
        struct block *block;
    } part[MESSAGE_BLOCKS_MAX + 1];
    unsigned count, at;
    size_t off;          /* into the part */
    size_t head_at;      /* of the part's head */
    struct block *given; /* that the bytes given last are of */
    bool active, finished, has_blocks;
};

enum out_state { OUT_NONE, OUT_ASKED, OUT_OPENING, OUT_OPEN, OUT_WAIT }; /* WAIT: opening failed, try later */

struct exchange_stream {
    TAILQ_ENTRY(exchange_stream) link, wait_link;
    struct exchange_peer *peer;
    void *owner;
    struct bitswap_reader reader;
    uint32_t generation;
    bool paused, resumed, sharing; /* in x->paused, in x->resume, in x->sharing */
    bool granted;                  /* it waited for its turn, and has it */
    bool waits_memory;
    bool forced;        /* its block was taken past the budget */
    bool fresh;         /* counted in x->fresh_total */
    mono_ns block_at;   /* when the block being read last grew */
    mono_ns slow_at;    /* when it was looked at last how it grows: */
    uint32_t slow_from; /* … it had so many bytes, */
    uint64_t slow_came; /* … and so many had come of all blocks */
};
TAILQ_HEAD(streams, exchange_stream);

struct exchange_peer {
    TAILQ_ENTRY(exchange_peer) link, open_link, ready_link, close_link, drop_link, serve_link, silent_link;
    void *owner;
    unsigned flags;
    struct exchange_ledger ledger;
    struct timer timer;
    struct streams streams;
    unsigned stream_count, malformed;
    struct tokens items; /* that it may name, EXCHANGE_ITEMS_RATE */
    unsigned earned;     /* of them, those that blocks were moved for: they are not counted in x->shared */
    uint64_t partial;    /* bytes of blocks being read */
    int drop;            /* ERR_*: it is to go */
    bool drop_told;

    /* client */
    struct asks asked, idle_asks; /* in ASK_BLOCK oldest first; others */
    struct asks unsent[2];        /* WANT_NOW; the rest */
    struct cancels cancels;
    unsigned cancel_count, asked_count;
    uint64_t inflight, target, credit;
    uint64_t rate;
    uint64_t window_bytes;
    mono_ns window_at, progress_at, rtt, stall;
    mono_ns heard_at, told_at; /* HEARD_BYTES of blocks came last; those who wait for it were told of that */
    size_t heard;              /* bytes since */
    uint64_t came;             /* bytes of blocks in all */
    uint64_t part;             /* of them since a block was whole last: of the next one */
    bool stalled, silent_queued;
    bool resync, told_wants; /* its list of ours must be sent whole; it has one */

    /* server */
    struct their_wants todo, loading, blocks, answers, unmet, offered;
    unsigned want_count;
    unsigned loading_count, lookup_count; /* in `loading`: reads of blocks, lookups */
    unsigned missed;                      /* since one was found, MISSED_MANY at most */
    uint64_t unsent_bytes;
    uint64_t given, takes_from; /* bytes of blocks, to its stream: in all; at `takes_at` */
    mono_ns given_at, takes_at; /* the last ones; when it was looked at last how many it takes */
    uint32_t serve_estimate;
    bool in_serve;

    /* outgoing stream */
    uint8_t out;
    bool open_queued, in_ready, told, throttled, close_queued;
    struct out_message message;
    uint64_t quantum;
    uint64_t turn; /* of x->turns, when it last sent a part of a block */
    mono_ns idle_at, open_at;
    unsigned open_failures;
};
TAILQ_HEAD(peers, exchange_peer);

#define RECENT_SIZE 16384

struct exchange {
    struct exchange_config config;
    struct budget *budget;
    mono_ns now; /* of the last call */
    bool stopping, offline;
    struct tokens upload, download;
    struct tokens shared; /* items that peers name who have earned none */
    struct timerheap timers;
    struct timer tick; /* retries of what waits for memory or tokens */
    struct cidmap items, theirs, loads, stashes, sessions_by_root;
    uint64_t recent[RECENT_SIZE]; /* hashes of items that ended: late blocks of these are duplicates, not lies */

    struct peers peers, open, ready, close, drop, throttled, serve, silent;
    unsigned peer_count;
    struct streams paused, resume;
    struct streams sharing; /* wait for their turn of x->shared */
    struct load_users answered;
    TAILQ_HEAD(, load) loads_waiting, loads_running;
    unsigned loads_running_count;
    TAILQ_HEAD(, check) checks_waiting, checks_running;
    unsigned check_count;
    TAILQ_HEAD(, stash) store_waiting, stash_running;
    struct sessions sessions, hungry, resting;
    struct items seek, rechecks;
    struct dags dags, dag_work;
    unsigned want_count, dag_count, session_count, resting_count, use_count, ask_count;
    uint64_t unsent_total, partial_total;
    uint64_t fresh_total;    /* of partial_total, of peers that had delivered nothing when it began */
    uint64_t came;           /* bytes of blocks, in all */
    mono_ns takes_looked_at; /* for peers that do not take what was read for them */
    mono_ns slow_looked_at;  /* for blocks that hardly grow */
    unsigned forced;         /* blocks being read that were taken past the budget */
    struct mail *settled, **settled_end;
    uint32_t generation; /* of inbound messages */
    uint64_t turns;
    mono_ns trial_at, trial_wait; /* before this nobody unproven is tried where there are proven ones (xpick.c) */
    bool serve_limited;           /* peers wait because unsent_total was too high */
    bool schedule;                /* a hungry session may find room */
    bool reads_short;             /* one was answered with load_later(): no more until the tick */
    struct exchange_ledger total; /* of peers that are gone */
};

enum timer_kind { TIMER_TICK, TIMER_PEER, TIMER_WAITER, TIMER_SESSION };

#include "net/exchange/xcalls.h"

#endif
