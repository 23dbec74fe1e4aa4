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

#include "net/exchange/bitswap_codec.h"
#include "net/exchange/cidmap.h"
#include "net/exchange/timerheap.h"
#include "net/exchange/tokens.h"

#include <stddef.h>
#include <sys/queue.h>

#define XCONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- reads of our store ---- */

enum load_kind { LOAD_SERVE, LOAD_CHECK, LOAD_EXPAND };

/* Who asked for a read; embedded. In load->users until answered, then in x->answered until dispatched. */
struct load_user {
    TAILQ_ENTRY(load_user) link;
    struct load *load; /* NULL: none under way */
    uint64_t most;     /* blocks up to this size are wanted, of larger ones only the size */
    uint8_t kind;
    bool answered;
    bool stashed; /* came from the stash: it is not on disk yet */
    int result;
    uint64_t size;
    struct block *block;
};
TAILQ_HEAD(load_users, load_user);

struct load {
    TAILQ_ENTRY(load) link; /* x->loads_waiting or x->loads_running */
    struct load_users users;
    bool running;
    uint64_t most;
    struct cidnode node;
};

/* A received block on its way through a worker. */
struct check {
    TAILQ_ENTRY(check) link;
    struct exchange_peer *peer; /* NULL: it left */
    struct block *block;        /* NULL: with the host */
    struct exchange_prefix prefix;
    bool running;
};

struct dag_use;
TAILQ_HEAD(dag_uses, dag_use);

/* A verified block that the committer has or will get. */
struct stash {
    TAILQ_ENTRY(stash) link; /* x->store_waiting until the host took it */
    bool running;
    struct block *block;
    struct dag_uses uses; /* walks that may finish only when it is on disk */
    struct cidnode node;
};

/* ---- what we want ---- */

enum ask_state {
    ASK_PROBE, /* want-have sent or queued */
    ASK_HAS,   /* it said Have */
    ASK_BLOCK, /* want-block sent or queued: the only state that counts in inflight */
    ASK_LATE,  /* want-block, and it took too long; it may still come */
    ASK_LACKS, /* it said DontHave; it keeps the want and may still serve it */
};

struct ask {
    TAILQ_ENTRY(ask) by_item, by_peer, unsent;
    struct item *item;
    struct exchange_peer *peer;
    uint8_t state;
    bool queued;  /* in peer->unsent */
    bool sent;    /* the peer knows of the want */
    uint8_t lane; /* of unsent */
    uint32_t estimate;
    mono_ns asked_at, due;
};
TAILQ_HEAD(asks, ask);

enum item_place {
    ITEM_CHECK,   /* our store is asked */
    ITEM_RECHECK, /* x->rechecks: there was no memory to read it */
    ITEM_NEED,    /* session->need: to be given to a peer */
    ITEM_ASKED,   /* in no list: a peer works on it */
    ITEM_SOUGHT,  /* session->sought: everybody was asked, answers are coming */
    ITEM_LOST,    /* session->lost: nobody has it; asked again with back-off and when a peer comes */
};

struct waiter {
    TAILQ_ENTRY(waiter) link; /* item->waiters */
    struct want *want;
    struct item *item; /* WANT_BLOCK */
    struct dag *dag;   /* WANT_DAG */
    struct timer timer;
    mono_ns since;
};
TAILQ_HEAD(waiters, waiter);

struct item {
    TAILQ_ENTRY(item) link; /* of the session's list */
    TAILQ_ENTRY(item) seek_link;
    struct session *session;
    struct waiters waiters;
    struct dag_uses uses;
    struct asks asks;
    struct load_user check;
    uint8_t place, priority, tries;
    bool seeking, recheck;
    unsigned asked; /* asks in ASK_BLOCK */
    mono_ns since, retry_at;
    struct cidnode node;
};
TAILQ_HEAD(items, item);

struct session_peer {
    struct exchange_peer *peer;
    unsigned misses; /* DontHaves in a row */
};

#define PRIORITIES 3

struct session {
    TAILQ_ENTRY(session) link, hungry_link;
    bool hungry;
    struct items need[PRIORITIES], sought, lost;
    unsigned items, sought_count;
    struct session_peer *peers; /* that have something of it */
    unsigned peer_count, peer_cap;
    uint32_t estimate; /* of a block's size */
    mono_ns probe_at;
    struct timer timer;
    struct cidnode node; /* the root */
};
TAILQ_HEAD(sessions, session);

/* ---- walks ---- */

struct compact_cid {
    uint8_t len, hash_at;
    uint8_t bytes[];
};

struct dag_use {
    TAILQ_ENTRY(dag_use) by_owner; /* item->uses or stash->uses */
    TAILQ_ENTRY(dag_use) by_dag;
    struct dag *dag;
    struct item *item;       /* while it is being fetched */
    struct stash *stash;     /* while it is being stored */
    struct compact_cid *cid; /* with the codec that this walk reads it by */
};

struct dag_pause { /* an inner node whose links did not all fit in the frontier */
    struct compact_cid *cid;
    uint32_t next; /* index of the first link not yet taken */
};

struct dag {
    TAILQ_ENTRY(dag) link, work_link;
    struct exchange *x;
    struct waiter *waiter;
    bool working; /* in x->dag_work */
    int result;
    struct dag_uses uses;
    unsigned use_count;
    struct compact_cid **frontier; /* ring of DAG_FRONTIER_MAX */
    unsigned front, frontier_count;
    struct dag_pause *paused; /* a stack */
    size_t paused_count, paused_cap;
    struct dag_pause expanding; /* taken off the stack: */
    struct load_user expand;    /* … it is being read */
    uint64_t *seen;             /* direct-mapped: hashes of what was issued lately */
    size_t seen_size;
    uint64_t blocks, bytes, held;
};
TAILQ_HEAD(dags, dag);

/* ---- peers ---- */

enum their_state { THEIRS_TODO, THEIRS_LOADING, THEIRS_BLOCK, THEIRS_HAVE, THEIRS_DONT_HAVE, THEIRS_UNMET };

struct their_want {
    TAILQ_ENTRY(their_want) link;
    struct exchange_peer *peer;
    struct load_user load;
    struct block *block;
    int32_t priority;
    uint32_t generation; /* of the message that named it last */
    uint8_t state, want;
    bool send_dont_have, again;
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
    size_t off;     /* into the part */
    size_t head_at; /* of the part's head */
    bool active, finished, has_blocks;
};

enum out_state { OUT_NONE, OUT_ASKED, OUT_OPENING, OUT_OPEN, OUT_WAIT }; /* WAIT: opening failed, try later */

struct exchange_stream {
    TAILQ_ENTRY(exchange_stream) link, wait_link;
    struct exchange_peer *peer;
    void *owner;
    struct bitswap_reader reader;
    uint32_t generation;
    bool paused, resumed; /* in x->paused, in x->resume */
    bool waits_memory;
    mono_ns block_at; /* when the block being read last grew */
};
TAILQ_HEAD(streams, exchange_stream);

struct exchange_peer {
    TAILQ_ENTRY(exchange_peer) link, open_link, ready_link, close_link, drop_link, serve_link;
    void *owner;
    unsigned flags;
    struct exchange_ledger ledger;
    struct timer timer;
    struct streams streams;
    unsigned stream_count, malformed;
    uint64_t partial; /* bytes of blocks being read */
    int drop;         /* ERR_*: it is to go */
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
    bool stalled;
    bool resync, told_wants; /* its list of ours must be sent whole; it has one */

    /* server */
    struct their_wants todo, loading, blocks, answers, unmet;
    unsigned want_count, loading_count;
    uint64_t unsent_bytes;
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
    struct timerheap timers;
    struct timer tick; /* retries of what waits for memory or tokens */
    struct cidmap items, theirs, loads, stashes, sessions_by_root;
    uint64_t recent[RECENT_SIZE]; /* hashes of items that ended: late blocks of these are duplicates, not lies */

    struct peers peers, open, ready, close, drop, throttled, serve;
    unsigned peer_count;
    struct streams paused, resume;
    struct load_users answered;
    TAILQ_HEAD(, load) loads_waiting, loads_running;
    unsigned loads_running_count;
    TAILQ_HEAD(, check) checks_waiting, checks_running;
    unsigned check_count;
    TAILQ_HEAD(, stash) store_waiting, stash_running;
    struct sessions sessions, hungry;
    struct items seek, rechecks;
    struct dags dags, dag_work;
    unsigned want_count, dag_count, session_count;
    uint64_t unsent_total, partial_total;
    struct mail *settled, **settled_end;
    uint32_t generation; /* of inbound messages */
    uint64_t turns;
    bool serve_limited; /* peers wait because unsent_total was too high */
    bool schedule;      /* a hungry session may find room */
    bool memory_short;
    struct exchange_ledger total; /* of peers that are gone */
};

enum timer_kind { TIMER_TICK, TIMER_PEER, TIMER_WAITER, TIMER_SESSION };

#include "net/exchange/xcalls.h"

#endif
