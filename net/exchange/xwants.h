/* SPDX-License-Identifier: MIT
 *
 * The inside of struct exchange, continued (xstate.h): what concerns blocks and our own wants. Not for other folders.
 */
#ifndef NET_EXCHANGE_XWANTS_H
#define NET_EXCHANGE_XWANTS_H

#include "net/exchange/bitswap_codec.h"
#include "net/exchange/cidmap.h"
#include "net/exchange/timerheap.h"
#include "store/base/tokens.h"

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
    uint64_t came;     /* peer->came then */
    mono_ns urgent_at; /* since when somebody waits for it; MONO_NEVER: read-ahead */
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
    unsigned late;  /* that were so long, of peers that have delivered nothing yet */
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
    TAILQ_ENTRY(session) link, hungry_link, rest_link;
    bool hungry, resting, rested; /* resting: without items */
    mono_ns rest_until;
    struct items need[PRIORITIES], sought, lost;
    unsigned items, sought_count;
    struct session_peer *peers; /* that have something of it */
    unsigned peer_count, peer_cap;
    uint32_t estimate; /* of a block's size */
    unsigned leaves;   /* that it comes from, a few */
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
    bool storing;            /* its bytes are here */
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
    unsigned use_count, storing_count; /* of the uses */
    struct compact_cid **frontier;     /* ring of DAG_FRONTIER_MAX */
    unsigned front, frontier_count;
    struct dag_pause *paused; /* a stack */
    size_t paused_count, paused_cap;
    struct dag_pause expanding; /* taken off the stack: */
    struct load_user expand;    /* … it is being read */
    uint64_t *seen;             /* direct-mapped: hashes of what was issued lately */
    size_t seen_size;
    uint64_t held;
    bool lost_more;  /* blocks turned out to be had by nobody since it was looked how many these are */
    bool left_out;   /* some of these were dropped: the walk begins anew, */
    mono_ns anew_at; /* … then; 0: it goes on */
    unsigned turns;
};
TAILQ_HEAD(dags, dag);

#endif
