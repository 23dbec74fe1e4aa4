/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder call of each other, by file. Not for others.
 */
#ifndef NET_EXCHANGE_XCALLS_H
#define NET_EXCHANGE_XCALLS_H

#include "net/exchange/exchange.h"

struct ask;
struct bitswap_item;
struct check;
struct dag;
struct dag_use;
struct item;
struct load;
struct load_user;
struct session;
struct stash;
struct their_want;
struct waiter;

/* exchange.c */
void peer_drop(struct exchange *x, struct exchange_peer *p, int err);         /* tells the host once; p is mute from then on */
void peer_wrong(struct exchange *x, struct exchange_peer *p, uint64_t bytes); /* it sent a block nobody asked for */
bool peer_usable(const struct exchange_peer *p);                              /* may be asked for blocks */
void tick_soon(struct exchange *x, mono_ns at);
void peer_soon(struct exchange *x, struct exchange_peer *p, mono_ns at);

/* xblock.c: reads, checks, the stash */
static inline bool load_later(int result) /* the answer says nothing of the block: the tick asks again */
{
    return result == ERR_NO_MEMORY || result == ERR_AGAIN;
}
void load_ask(struct exchange *x, struct load_user *u, const struct cid *cid, uint64_t most);
void load_forget(struct exchange *x, struct load_user *u); /* also drops an answer that was not dispatched */
bool load_dispatch(struct exchange *x);                    /* one answer; false: none */
void check_add(struct exchange *x, struct exchange_peer *p, struct block *take_b, const struct exchange_prefix *prefix);
struct stash *stash_find(struct exchange *x, const struct cid *cid);
struct stash *stash_add(struct exchange *x, struct block *b);
void blocks_forget_peer(struct exchange *x, struct exchange_peer *p);
void blocks_done(struct exchange *x);

/* xfetch.c: items, waiters, asks */
int fetch_want(struct exchange *x, struct want *w);
void fetch_cancel(struct exchange *x, struct waiter *waiter, int result);
void fetch_raise(struct exchange *x, struct waiter *waiter, enum want_priority priority);
void want_settle(struct exchange *x, struct waiter *waiter, int result, struct block *block); /* frees the waiter */
struct item *item_find(struct exchange *x, const struct cid *cid);
struct item *item_get(struct exchange *x, const struct cid *cid, const struct cid *root, enum want_priority priority);
void item_place(struct exchange *x, struct item *i, unsigned place);
void item_drop_if_unused(struct exchange *x, struct item *i);
void item_prioritise(struct exchange *x, struct item *i); /* from who waits for it */
void item_check(struct exchange *x, struct item *i);
void item_checked(struct exchange *x, struct load_user *u);
/* The verified block came: settles, stashes, frees the item. */
void item_arrived(struct exchange *x, struct item *i, struct block *b, struct exchange_peer *from);
bool item_had(const struct item *i);                 /* somebody said Have */
void item_unask(struct exchange *x, struct item *i); /* a peer let go of it: who else? */
void want_heard(struct want *w, mono_ns at);
void item_heard(const struct item *i, mono_ns at); /* it is on its way, or behind what is: want.heard */
void fetch_offline(struct exchange *x);
void fetch_retry(struct exchange *x); /* there may be memory again */

/* xask.c */
struct ask *ask_of(const struct item *i, const struct exchange_peer *p);
void ask_send(struct exchange *x, struct item *i, struct exchange_peer *p, bool block);
void ask_state(struct exchange *x, struct ask *a, unsigned state);
void ask_hurry(struct exchange *x, struct ask *a); /* its item's priority rose */
void ask_free(struct exchange *x, struct ask *a, bool tell);
void ask_queue(struct exchange *x, struct ask *a);
void ask_presence(struct exchange *x, struct exchange_peer *p, const struct cid *cid, bool have);
void ask_progress(struct exchange *x, struct exchange_peer *p, size_t bytes, size_t blocks); /* of them in blocks */
void ask_expire(struct exchange *x, struct exchange_peer *p);                                /* stalls and late asks */
mono_ns ask_deadline(const struct exchange *x, const struct exchange_peer *p);
void asks_distrust(struct exchange *x, struct exchange_peer *p); /* what was asked of it is to be asked of others too */
void asks_forget_peer(struct exchange *x, struct exchange_peer *p);
void asks_resync(struct exchange *x, struct exchange_peer *p);

/* xpick.c: sessions */
struct session *session_get(struct exchange *x, const struct cid *root);
void session_rest(struct exchange *x, struct session *s); /* its last item has gone */
void session_drop(struct exchange *x, struct session *s);
void session_add_peer(struct exchange *x, struct session *s, struct exchange_peer *p);
void session_lied(struct exchange *x, const struct exchange_peer *p); /* if it never proved itself; the ledger has it already */
void session_proved(struct exchange *x);                              /* a peer's first right block came */
mono_ns session_other_time(const struct item *i, const struct exchange_peer *p); /* what another peer would take */
void session_miss(struct exchange *x, struct session *s, struct exchange_peer *p, bool miss);
void session_hungry(struct exchange *x, struct session *s);
void session_expire(struct exchange *x, struct session *s);
void sessions_peer_added(struct exchange *x, struct exchange_peer *p);
void sessions_forget_peer(struct exchange *x, struct exchange_peer *p);
unsigned after_answers(const struct exchange *x, const struct item *i);
bool schedule(struct exchange *x);

/* xdag.c */
void dag_start(struct exchange *x, struct waiter *w);
void dag_free(struct exchange *x, struct dag *d);
void dag_end(struct exchange *x, struct dag *d, int result); /* settles its want and frees it */
void dag_use_held(struct exchange *x, struct dag_use *u, struct block *b, struct stash *stash);
void dag_use_arrived(struct exchange *x, struct dag_use *u, struct block *b, struct stash *stash);
void dag_use_stored(struct exchange *x, struct dag_use *u, int result);
void dag_item_lost(const struct item *i); /* nobody has it */
void dag_expanded(struct exchange *x, struct load_user *u);
bool dag_work(struct exchange *x); /* some steps of one walk; false: none has work */
unsigned dag_use_priority(const struct dag_use *u);
uint64_t dag_use_most(const struct dag_use *u); /* up to what size its block is needed in memory */
void dag_wake(struct exchange *x);

/* xserve.c */
void serve_want(struct exchange *x, struct exchange_stream *s, const struct bitswap_item *in);
void serve_full(struct exchange *x, struct exchange_stream *s);
void serve_loaded(struct exchange *x, struct load_user *u);
void serve_appeared(struct exchange *x, const struct cid *cid);
void serve_told(struct exchange *x, struct their_want *t); /* its Have or DontHave is in a message; may free it */
void serve_expire(struct exchange *x, struct exchange_peer *p);
mono_ns serve_deadline(const struct exchange_peer *p);
void serve_sent(struct exchange *x, struct exchange_peer *p, uint64_t bytes);
void serve_forget_peer(struct exchange *x, struct exchange_peer *p);
void serve_free(struct exchange *x, struct their_want *t);
void serve_retry(struct exchange *x);
void serve_slow_go(struct exchange *x); /* somebody waits for memory */
bool serve_pump(struct exchange *x);

/* xsend.c */
void out_update(struct exchange *x, struct exchange_peer *p); /* there may be something to send */
void out_cancel(struct exchange *x, struct exchange_peer *p, const struct cid *cid);
void out_uncancel(struct exchange *x, struct exchange_peer *p, const struct cid *cid);
void out_expire(struct exchange *x, struct exchange_peer *p);
mono_ns out_deadline(const struct exchange_peer *p);
void out_forget_peer(struct exchange *x, struct exchange_peer *p);
void out_unthrottle(struct exchange *x);
bool out_pending(const struct exchange_peer *p);

/* xrecv.c */
void recv_resume(struct exchange *x);
void recv_share(struct exchange *x); /* those whose turn it is go on */
/* A block went to it, or came from it and was wanted; or (`block` false) it was asked for one, and will answer */
void recv_earned(struct exchange_peer *p, bool block);
void recv_expire(struct exchange *x, struct exchange_peer *p);
mono_ns recv_deadline(const struct exchange_peer *p);
void recv_forget_peer(struct exchange *x, struct exchange_peer *p);
bool recv_paused_by_us(const struct exchange_peer *p);

#endif
