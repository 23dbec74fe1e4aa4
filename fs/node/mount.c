/* SPDX-License-Identifier: MIT
 *
 * Life of the mount: start, the loop, messages, the end. */
#include "fs/node/mount_state.h"

#include "fs/fuse/mountpoint.h"
#include "fs/node/siblings.h"
#include "fs/node/streams.h"
#include "store/base/log.h"
#include "store/base/thread.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAILBOX_LIMIT   65536
#define REQUESTS_A_TURN 32 /* then mail and timers get theirs */
#define MAIL_A_TURN     256
#define STOOD_STILL     (3 * MONO_S)         /* a turn waits for a second at most, when there are deadlines */
#define CACHE_MOST      (UINT32_C(16) << 20) /* blocks that came and are not committed yet: two windows of read-ahead */
#define CACHE_SHARE     8               /* and no more than so much of the budget; it is charged to those who made the blocks */
#define CACHE_REST      (2 * MONO_S)    /* after which the store shows them all */
#define CACHE_STALL     (250 * MONO_MS) /* memory is short and none came for so long: it is what they have no room for */
#define READ_AHEAD_KIB  1024            /* the kernel's own, in the page cache */
#define DRAIN_MOST      (30 * MONO_S)   /* at the end, for the disk */
#define DRAIN_FAULTY    (2 * MONO_S)    /* for one that fails, or has no room */
#define DETACH_MOST     MONO_S          /* for programs that have files open, after the mount was taken away */

/* ---- callbacks of the parts ---- */

static void on_request(void *owner, struct request *r)
{
    struct mount *m = owner;
    if (atomic_fetch_add_explicit(&m->stat_requests, 1, memory_order_relaxed) == 0)
        mountpoint_read_ahead(m->device[0], m->device[1], READ_AHEAD_KIB); /* not before the handshake, which sets it */
    near_asked(&m->near, r->pid, r->op == OP_READ ? r->size : r->data.len, mono_now());
    m->requests[r->op] += r->kernel != NULL; /* of many FORGETs in one message the last carries the reply */
    if (r->op == OP_FORGET)
        node_run(m, r);
    else
        pending_run(m->pending, r);
}

static void on_interrupted(void *owner, struct request *r)
{
    struct mount *m = owner;
    pending_note_interrupt(r);
    m->interrupts = true;
}

static void on_parked(void *owner, struct request *kept)
{
    session_watch(((struct mount *)owner)->session, kept);
}

static void on_settled(void *owner, struct waiter *w, int result)
{
    pending_settled(((struct mount *)owner)->pending, w, result);
}

static void on_arrived(void *owner, struct block *b)
{
    struct mount *m = owner;
    blockcache_add(m->cache, b);
    m->cache_due = MONO_NEVER;
}

static void keep_blocks(void *owner, bool on)
{
    blockcache_keep(((struct mount *)owner)->cache, on);
}

static void let_blocks_go(void *owner)
{
    blockcache_let_go(((struct mount *)owner)->cache);
}

static void on_kept(void *arg, const struct cid *cid, bool kept)
{
    struct mount *m = arg;
    if (m->o.keep)
        m->o.keep(m->o.arg, cid, kept);
}

/* ---- the loop ---- */

enum source { SOURCE_FUSE, SOURCE_MAIL, SOURCE_ROOM, SOURCES }; /* anything else is the address of a struct stream_end */

static void watch(struct mount *m, int fd, enum source s)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = s};
    if (epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        abort(); /* our own descriptors */
}

static int timeout_ms(mono_ns deadline, mono_ns now)
{
    if (deadline == MONO_NEVER)
        return -1;
    if (deadline <= now)
        return 0;
    mono_ns ms = (deadline - now + MONO_MS - 1) / MONO_MS;
    return ms > 1000 ? 1000 : (int)ms;
}

static void end_session(struct mount *m)
{
    m->ended = true;
    epoll_ctl(m->epoll, EPOLL_CTL_DEL, session_fd(m->session), NULL);
    pending_cancel(m->pending, NULL, NULL, ERR_CANCELLED);
    if (!m->stop && m->o.ended)
        m->o.ended(m->o.arg);
}

static void serve(struct mount *m)
{
    int rc = 1;
    for (unsigned i = 0; i < REQUESTS_A_TURN && rc == 1; i++) {
        rc = session_input(m->session);
        if (m->interrupts) {
            m->interrupts = false;
            pending_interrupts(m->pending);
        }
    }
    if (rc == ERR_CLOSED)
        end_session(m);
}

static void take_room(struct mount *m)
{
    uint64_t n;
    ssize_t got = read(m->room_fd, &n, sizeof n);
    (void)got; /* EAGAIN: somebody was quicker */
    pending_wake(m->pending, NULL);
}

/* While nobody waits for blocks those that came are the store's: their memory is for others. */
static void cache_tick(struct mount *m, mono_ns now)
{
    bool tight = budget_class_tight(m->o.budget, BUDGET_NET);
    if (blockcache_bytes(m->cache) == 0) {
        m->cache_due = MONO_NEVER;
    } else if ((wants_open(m->wants) > 0 && !tight) || m->cache_due == MONO_NEVER) {
        m->cache_due = mono_after(now, wants_open(m->wants) > 0 && tight ? CACHE_STALL : CACHE_REST);
    } else if (now >= m->cache_due) {
        blockcache_trim(m->cache, 0);
        m->cache_due = MONO_NEVER;
    }
}

static void turn(struct mount *m)
{
    struct epoll_event events[16];
    mono_ns now = mono_now();
    mono_ns deadline = mono_min(mono_min(pending_deadline(m->pending), m->next_tick), siblings_deadline(m->siblings));
    deadline = mono_min(mono_min(deadline, m->cache_due), near_deadline(&m->near));
    int n = epoll_wait(m->epoll, events, 16, timeout_ms(deadline, now));
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == SOURCE_FUSE && !m->ended)
            serve(m);
        else if (events[i].data.u64 == SOURCE_MAIL)
            mailbox_run(m->mailbox, MAIL_A_TURN);
        else if (events[i].data.u64 == SOURCE_ROOM)
            take_room(m);
        else if (events[i].data.u64 >= SOURCES)
            stream_ready(m, events[i].data.ptr);
    }
    streams_sweep(m);
    mono_ns before = now;
    now = mono_now();
    if (now - before > STOOD_STILL)
        pending_stood_still(m->pending, now);
    pending_expire(m->pending, now);
    siblings_expire(m, now);
    share_tick(m, now);
    prune_tick(m);
    near_tick(&m->near, now);
    cache_tick(m, now);
    atomic_store_explicit(&m->stat_parked, pending_count(m->pending), memory_order_relaxed);
    atomic_store_explicit(&m->stat_inodes, inode_count(m->inodes), memory_order_relaxed);
}

/* Everything that was written goes to the disk, as far as the disk takes it. */
static void drain(struct mount *m)
{
    mono_ns until = mono_after(mono_now(), DRAIN_MOST), faulty = MONO_NEVER;
    for (;;) {
        m->next_tick = 0;
        mono_ns now = mono_now();
        bool finished = share_finish_all(m);
        share_tick(m, now);
        bool idle = finished && m->flights == 0 && tree_pending(m->share) == 0 && !m->sync_running && m->holds.count == 0;
        struct blockstore_stats s;
        blockstore_stats(m->o.store, &s);
        bool refuses = s.fault || m->put_error < 0 || tree_fault(m->share);
        faulty = refuses ? mono_min(faulty, mono_after(now, DRAIN_FAULTY)) : MONO_NEVER;
        if (idle || now > mono_min(until, faulty))
            break;
        mailbox_wait(m->mailbox, mono_after(now, 50 * MONO_MS));
        mailbox_run(m->mailbox, MAIL_A_TURN);
        pending_expire(m->pending, mono_now());
        pending_wake(m->pending, NULL);
    }
    pending_cancel(m->pending, NULL, NULL, ERR_CANCELLED);
}

/* Wants, puts and commands come back, each exactly once, before their mailbox goes. */
static void collect_answers(struct mount *m)
{
    wants_cancel_all(m->wants);
    while (wants_open(m->wants) > 0 || m->flights > 0 || m->commands > 0 || tree_pending(m->share) > 0 || m->sync_running) {
        mailbox_wait(m->mailbox, mono_after(mono_now(), MONO_S));
        mailbox_run(m->mailbox, MAIL_A_TURN);
    }
}

static void *fs_main(void *arg)
{
    struct mount *m = arg;
    (void)pthread_setname_np(pthread_self(), "p2p-fs"); /* for people who look */
    while (!m->ended && (!m->stop || mono_now() < m->stop_until))
        turn(m);
    while (!m->stop) { /* ended from outside: the daemon decides what next; its questions are answered */
        mailbox_wait(m->mailbox, mono_after(mono_now(), MONO_S));
        mailbox_run(m->mailbox, MAIL_A_TURN);
        share_tick(m, mono_now());
    }
    handle_free_all(m);
    drain(m);
    siblings_drop(m);
    collect_answers(m);
    return NULL;
}

/* ---- start and stop ---- */

static void make_parts(struct mount *m)
{
    m->inodes = inode_table_new(m->o.budget, m, node_free_inode);
    inode_make_root(m->inodes, &(struct inode_key){NODE_FIXED, 0, SPAN_NONE});
    uint64_t part = budget_limit(m->o.budget) / CACHE_SHARE;
    m->cache = blockcache_new(m->o.budget, part < CACHE_MOST ? part : CACHE_MOST, store_reader_source(m->reader));
    m->cache_due = MONO_NEVER;
    m->source = blockcache_source(m->cache);
    struct wants_options w = {m->o.want, m->mailbox, m->o.budget, m, on_settled, on_arrived};
    m->wants = wants_new(&w);
    mono_ns limit = m->o.request_limit ? m->o.request_limit : session_request_limit();
    m->siblings = siblings_new();
    struct pending_options p = {.wants = m->wants,
                                .source = m->source,
                                .budget = m->o.budget,
                                .owner = m,
                                .run = node_run,
                                .parked = on_parked,
                                .keep = keep_blocks,
                                .let_go = let_blocks_go,
                                .describe = node_describe,
                                .timeout_metadata = m->o.timeout_metadata ? m->o.timeout_metadata : 10 * MONO_S,
                                .timeout_read = m->o.timeout_read ? m->o.timeout_read : 20 * MONO_S,
                                .timeout_most = limit - limit / 4,
                                .quiet = m->o.quiet,
                                .quiet_count = m->o.quiet_count};
    m->pending = pending_table_new(&p);
}

static void free_mount(struct mount *m)
{
    if (m->share)
        share_free(m);
    struct tree *share = m->share;
    m->share = NULL; /* inodes that go now do not change the tree: unlinked nodes are let go at the next start */
    inode_table_free(m->inodes);
    pending_table_free(m->pending);
    siblings_free(m->siblings);
    wants_free(m->wants);
    tree_free(share);
    blockcache_free(m->cache);
    mailbox_free(m->mailbox);
    store_reader_free(m->reader);
    session_free(m->session);
    peer_table_free(m->peers);
    service_table_free(m->services);
    streams_sweep(m);
    free(m->stream_buf);
    for (unsigned i = 0; i < MOUNT_TEXTS; i++)
        buf_done(&m->texts[i]);
    buf_done(&m->events);
    buf_done(&m->haves);
    buf_done(&m->forgotten);
    if (m->epoll >= 0)
        close(m->epoll);
    budget_unwatch(m->o.budget, m->room_fd);
    if (m->room_fd >= 0)
        close(m->room_fd);
    free(m->dir);
    free(m);
}

static int open_share(struct mount *m, struct why *why)
{
    struct tree_options t = {.bs = m->o.store,
                             .reader = m->reader,
                             .reply = m->mailbox,
                             .budget = m->o.budget,
                             .id = TREE_SHARE_ID,
                             .hooks = {on_kept, m}};
    return tree_open(&m->share, &t, why);
}

static void kept_still(void *arg, const struct cid *cid)
{
    on_kept(arg, cid, true);
}

/* After a start links keep what they kept before, and it may not all be here. */
static void keep_on(struct mount *m)
{
    struct blockstore_stats s;
    blockstore_stats(m->o.store, &s);
    if (s.wanted_blocks > 0 || s.pending > 0)
        (void)tree_each_kept(m->share, kept_still, m); /* those behind a damaged record are not told: p2p verify */
}

int mount_start(struct mount **ret, const struct mount_options *o, struct why *why)
{
    char place[PATH_MAX];
    int lock = mountpoint_prepare(o->dir, place, why);
    if (lock < 0)
        return lock;
    struct mount *m = MEM_NEW(struct mount);
    m->o = *o;
    m->o.dir = m->dir = mem_str(place);
    m->uid = getuid();
    m->gid = getgid();
    m->started = m->events_time = wall_now();
    m->started_mono = mono_now();
    m->online = true;
    m->mailbox = mailbox_new(MAILBOX_LIMIT, m);
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    m->room_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    budget_watch(o->budget, m->room_fd);
    int rc = store_reader_new(o->store, &m->reader);
    if (rc == 0) {
        make_parts(m);
        rc = open_share(m, why);
    } else {
        why_set(why, rc, "the block store cannot be read: %s", err_text(rc));
    }
    struct session_options s = {m->dir, m, on_request, on_interrupted};
    if (rc == 0)
        rc = session_new(&m->session, &s, why);
    close(lock);
    if (rc < 0) {
        free_mount(m);
        return rc;
    }
    (void)mountpoint_mounted(m->dir, &m->device[0], &m->device[1]);
    watch(m, session_fd(m->session), SOURCE_FUSE);
    watch(m, mailbox_fd(m->mailbox), SOURCE_MAIL);
    watch(m, m->room_fd, SOURCE_ROOM);
    keep_on(m);
    rc = thread_start(&m->thread, "p2p-fs", fs_main, m);
    if (rc < 0) {
        (void)mountpoint_detach(m->dir, NULL);
        free_mount(m);
        return why_set(why, rc, "no thread could be started");
    }
    *ret = m;
    return 0;
}

static void run_stop(struct mail *take_m, void *owner)
{
    struct mount *m = owner;
    free(take_m);
    if (!m)
        return;
    m->stop = true;
    m->stop_until = mono_after(mono_now(), DETACH_MOST);
    pending_cancel(m->pending, NULL, NULL, ERR_CANCELLED);
}

/* Not what somebody else has mounted there since: ours may live on without a place (umount -l). */
static bool is_in_place(const struct mount *m)
{
    unsigned major, minor;
    return mountpoint_mounted(m->dir, &major, &minor) && major == m->device[0] && minor == m->device[1];
}

struct mount *mount_stop(struct mount *m)
{
    if (!m)
        return NULL;
    struct mail *stop = MEM_NEW(struct mail);
    stop->run = run_stop;
    mailbox_reply(m->mailbox, stop);
    if (is_in_place(m))                        /* here, while the fs thread answers what the kernel asks meanwhile */
        (void)mountpoint_detach(m->dir, NULL); /* when that fails, the end of this process ends the connection */
    pthread_join(m->thread, NULL);
    free_mount(m);
    return NULL;
}

void mount_stats(const struct mount *m, struct mount_stats *ret)
{
    *ret = (struct mount_stats){.requests = m->stat_requests,
                                .parked = m->stat_parked,
                                .handles = m->stat_handles,
                                .inodes = m->stat_inodes,
                                .fault = m->stat_fault};
}
