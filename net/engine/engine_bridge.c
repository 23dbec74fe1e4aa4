/* SPDX-License-Identifier: MIT
 *
 * See engine_bridge.h. A descriptor is watched for reading only while the stream has room, and for writing only while it takes
 * no more: so each side's slowness reaches the other, and nothing turns in the loop. Ends go through as they come: end of
 * file is the stream's FIN, the stream's FIN is shutdown(2), and what breaks one side breaks the other.
 */
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uthash.h>

#define TURNS_BYTES ((size_t)2 << 20) /* moved before sockets are looked at again; */
#define TURNS_TIME  (5 * MONO_MS)     /* or as long, by those to whom each byte is much work */
#define REMOTE_MUCH HOST_RAW_FRAME    /* at once: somebody who types has what there is, whoever else there is */
#define YIELD_FOR   MONO_S            /* local streams lose nothing by it but a look at the sockets for each turn */
#define LINGER      (30 * MONO_S)     /* for the peer to finish, after a program has closed its socket altogether */
#define UNHEARD     (5 * MONO_S)      /* the same, for a peer that goes on speaking */
#define FATE        MONO_S            /* for a program that has closed everything to end, too */
#define STALL       (120 * MONO_S)    /* for a byte to move, of what one side left when it went */

/* ---- life ---- */

struct bridge *bridge_new(struct engine *e, enum bridge_state state)
{
    struct bridge *b = MEM_NEW(struct bridge);
    b->e = e;
    b->state = state;
    b->ends = &bridge_fd;
    b->fd = b->other_fd = -1;
    b->number = engine_stream_number(e);
    b->lan = true; /* this machine, until a peer is known: what feeds a live service has no turn before who reads it */
    b->opened_at = mono_now();
    b->deadline = MONO_NEVER;
    b->prev = e->bridges_last;
    *(b->prev ? &b->prev->next : &e->bridges) = b;
    e->bridges_last = b;
    e->bridge_count++;
    if (state != BRIDGE_DIALING) /* what opens in a moment is shown then */
        e->service_changes++;
    return b;
}

static struct service_count *count_of(const struct bridge *b)
{
    return b->offer ? &b->offer->count : b->forward ? &b->forward->count : NULL;
}

void bridge_count(struct bridge *b)
{
    struct service_count *c = count_of(b);
    c->open++;
    c->streams++;
    b->counted = true;
}

static void uncount(struct bridge *b)
{
    struct service_count *c = count_of(b);
    mono_ns lasted = mono_now() - b->opened_at;
    tally_close(&b->e->peer_tally, b->of_peer, lasted);
    tally_close(&b->e->ip_tally, b->of_ip, lasted);
    if (!b->counted)
        return;
    c->open--;
    c->time += lasted;
}

static void spend(const struct bridge *b, size_t n)
{
    if (!b->offer || !b->offer->rate_max)
        return;
    tokens_spend(&offer_state(b->e, b->offer)->rate, n);
}

void bridge_pay(struct bridge *b, size_t n)
{
    spend(b, n);
    b->paid += n;
}

static void add(struct bridge *b, size_t in, size_t out)
{
    struct service_count *all[] = {count_of(b), b->of_peer ? &b->of_peer->count : NULL, b->of_ip ? &b->of_ip->count : NULL};
    b->bytes_in += in;
    b->bytes_out += out;
    b->e->service_bytes += in + out;
    if (!b->lan && in + out >= REMOTE_MUCH)
        b->e->yield_until = mono_after(mono_now(), YIELD_FOR);
    for (int i = 0; i < 3; i++)
        if (all[i]) {
            all[i]->bytes_in += in;
            all[i]->bytes_out += out;
        }
    size_t paid = b->paid < in + out ? b->paid : in + out;
    b->paid -= paid;
    spend(b, in + out - paid);
}

void bridge_came(struct bridge *b, size_t n)
{
    add(b, n, 0);
}

void bridge_went(struct bridge *b, size_t n)
{
    add(b, 0, n);
}

void bridge_dropped(struct bridge *b, uint64_t n)
{
    struct service_count *all[] = {count_of(b), b->of_peer ? &b->of_peer->count : NULL, b->of_ip ? &b->of_ip->count : NULL};
    b->dropped += n;
    for (int i = 0; i < 3; i++)
        if (all[i])
            all[i]->dropped += n;
}

static void unlink_bridge(struct bridge *b)
{
    struct engine *e = b->e;
    *(b->prev ? &b->prev->next : &e->bridges) = b->next;
    *(b->next ? &b->next->prev : &e->bridges_last) = b->prev;
    e->bridge_count--;
    turns_remove(b->held ? &offer_state(e, b->offer)->held : e->turns, &b->turn);
}

static void close_fd(struct bridge *b, bool broken)
{
    b->watch = loop_fd_free(b->watch);
    if (b->fd >= 0 && broken) {
        struct linger hard = {.l_onoff = 1};
        (void)setsockopt(b->fd, SOL_SOCKET, SO_LINGER, &hard,
                         sizeof hard); /* TCP: a reset, so that nobody takes it for an end */
    }
    if (b->fd >= 0)
        close(b->fd);
    if (b->other_fd >= 0)
        close(b->other_fd);
    b->fd = b->other_fd = -1;
}

static bool closed_altogether(const struct bridge *b)
{
    struct pollfd p = {.fd = b->fd};
    return b->unix_end && poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* A program at a unix socket would take a break for an end: the events tell it */
static void tell_break(const struct bridge *b, int err)
{
    bool told = !b->unix_end || b->inbound || b->ended || b->shut || closed_altogether(b);
    if (err >= 0 || b->state != BRIDGE_OPEN || told || b->e->stopping)
        return;
    char id[PEER_ID_TEXT_SIZE];
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s/%s: %s", peer_id_text(&b->peer, id), b->service, err_text(err));
    engine_event(b->e, "stream.broke", buf_cstr(&line));
    buf_done(&line);
}

void bridge_end(struct bridge *b, int err)
{
    struct engine *e = b->e;
    tell_break(b, err);
    e->ended_last = b->number;
    unlink_bridge(b);
    uncount(b);
    service_undial(b, err < 0 ? err : ERR_CLOSED);
    if (b->ends->done)
        b->ends->done(b);
    if (b->raw)
        host_raw_reset(e->host, b->raw, mono_now());
    close_fd(b, err < 0 && !b->shut);
    if (b->ended)
        b->ended(b->arg, b->number, err, b->shut);
    free(b->place);
    free(b);
    e->service_changes++;
}

void bridges_end_all(struct engine *e, int err)
{
    while (e->bridges)
        bridge_end(e->bridges, err);
}

/* Services are told apart by name: who dials several of a peer has several, too */
static const void *service_key(const struct bridge *b)
{
    unsigned hash;
    HASH_JEN(b->service, strlen(b->service), hash);
    return (const void *)(uintptr_t)(hash | 1u);
}

void bridge_wake(struct bridge *b)
{
    if (b->state == BRIDGE_OPEN && !b->held)
        turns_add(b->e->turns, &b->turn, b->ip, b->lan, service_key(b));
}

static void fd_ready(void *arg, unsigned what)
{
    struct bridge *b = arg;
    if (b->state == BRIDGE_TARGET) {
        target_connected(b);
        return;
    }
    if (what & LOOP_WRITE)
        b->full = false;
    if (what & LOOP_READ)
        b->dry = false;
    if (b->held)
        datagrams_drain(b);
    else
        bridge_wake(b);
}

void bridge_set_fd(struct bridge *b, int fd)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    b->fd = fd;
    b->watch = loop_fd_new(b->e->loop, fd, fd_ready, b);
    b->unix_end = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* The address without its port */
static struct span host_of(const struct multiaddr *addr, char text[MULTIADDR_TEXT])
{
    multiaddr_text(addr, text);
    char *tcp = strstr(text, "/tcp/");
    if (tcp)
        *tcp = 0;
    return span_str(text);
}

void bridge_open(struct bridge *b, struct host_raw *raw)
{
    char text[MULTIADDR_TEXT];
    b->state = BRIDGE_OPEN;
    b->raw = raw;
    b->deadline = MONO_NEVER;
    b->of_peer = tally_open(&b->e->peer_tally, peer_id_span(&b->peer));
    b->of_ip = tally_open(&b->e->ip_tally, host_of(host_raw_remote(raw), text));
    b->ip = (uint64_t)(uintptr_t)b->of_ip; /* a row is an address */
    b->lan = host_raw_is_lan(raw);
    b->e->service_changes++;
    host_raw_own(b->e->host, raw, b);
    host_raw_group(raw, service_key(b));
    if (b->ends->opened)
        b->ends->opened(b);
    if (b->watch)
        loop_fd_watch(b->watch, LOOP_READ);
    bridge_wake(b);
}

/* ---- rates ---- */

/* A twentieth of a second's worth, so that it does not go by the byte */
static size_t rate_piece(const struct service_offer *o)
{
    uint64_t worth = o->rate_max / 20;
    return worth < 1 ? 1 : worth > TOKENS_BURST_MIN ? TOKENS_BURST_MIN : (size_t)worth;
}

static void resume_later(struct engine *e, const struct service_offer *o, struct offer_state *s, mono_ns now)
{
    s->resume_at = tokens_when(&s->rate, rate_piece(o));
    if (s->resume_at <= now)
        s->resume_at = now + MONO_MS;
    e->bridges_at = engine_min(e->bridges_at, s->resume_at);
}

static void hold(struct bridge *b, struct offer_state *s, mono_ns now)
{
    turns_remove(b->e->turns, &b->turn); /* it may have been woken since its turn began */
    b->held = true;
    turns_add(&s->held, &b->turn, b->ip, b->lan, b->offer);
    if (s->resume_at == MONO_NEVER)
        resume_later(b->e, b->offer, s, now);
    if (b->watch && !b->datagrams)
        loop_fd_watch(b->watch, 0);
}

size_t bridge_allow(struct bridge *b, size_t want)
{
    if (!b->offer || !b->offer->rate_max)
        return want;
    struct offer_state *s = offer_state(b->e, b->offer);
    mono_ns now = mono_now();
    size_t room = s->served == b || turns_empty(&s->held) ? tokens_room(&s->rate, want, now) : 0;
    if (!room)
        hold(b, s, now);
    return room;
}

/* Those that wait for a rate, in turn, as long as a piece of it is there */
static void serve_held(struct engine *e, struct service_offer *o)
{
    struct offer_state *s = offer_state(e, o);
    struct turn *t;
    size_t piece = rate_piece(o);
    s->resume_at = MONO_NEVER;
    while (tokens_room(&s->rate, piece, mono_now()) == piece && (t = turns_next(&s->held))) {
        struct bridge *b = (struct bridge *)t;
        b->held = false;
        s->served = b;
        b->ends->pump(b);
        s->served = NULL;
    }
    if (!turns_empty(&s->held))
        resume_later(e, o, s, mono_now());
}

void bridges_limited(struct engine *e, struct service_offer *o)
{
    struct offer_state *s = offer_state(e, o); /* has the rate of now */
    if (!turns_empty(&s->held))
        resume_later(e, o, s, mono_now());
}

/* ---- a descriptor ---- */

static void shut_fd(struct bridge *b)
{
    if (b->shut || !host_raw_finished(b->raw))
        return;
    b->shut = true;
    (void)shutdown(b->fd, SHUT_WR); /* its other end may be gone: then nobody minds */
}

static uint64_t moved(const struct bridge *b)
{
    return host_raw_is_over(b->raw) ? b->bytes_in : b->bytes_out - host_raw_unsent(b->raw);
}

static void look_later(struct bridge *b)
{
    bool all_left = b->eof && !host_raw_unsent(b->raw) && !host_raw_is_over(b->raw);
    b->moved = moved(b);
    bridge_deadline(b, mono_after(mono_now(), !all_left ? STALL : b->unheard ? UNHEARD : LINGER));
}

/* A program that is read from no more can go without a sign */
static bool unwatched(const struct bridge *b)
{
    return b->unix_end && !b->inbound && (b->eof || !host_raw_room(b->raw));
}

/* The program takes no more: what still comes is dropped. What it wrote is still read. */
static void drop_rest(struct bridge *b)
{
    b->shut = true;
    b->full = false;
}

/* By errno: does it take no more, while what it wrote before still comes? An exec target that ends with input unread makes its
 * socket say ECONNRESET, and that is an end like any other; others mean it. */
static bool has_left(const struct bridge *b)
{
    return b->unix_end && (errno == EPIPE || (errno == ECONNRESET && b->ends == &bridge_program));
}

/* stream → fd. false: the bridge is gone */
static bool give(struct bridge *b)
{
    struct span in;
    size_t left = BRIDGE_QUANTUM, most;
    while (!b->full && left && (in = span_sub(host_raw_peek(b->raw), 0, left)).len && (most = bridge_allow(b, in.len))) {
        ssize_t n = b->shut ? (ssize_t)most : send(b->fd, in.data, most, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && has_left(b))
            drop_rest(b);
        if (n < 0 && (errno == EINTR || b->shut))
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            b->full = true;
        } else if (n < 0) {
            bridge_end(b, ERR_RESET);
            return false;
        } else {
            bridge_came(b, (size_t)n);
            host_raw_consume(b->e->host, b->raw, (size_t)n, mono_now());
            left -= (size_t)n;
        }
    }
    if (b->shut && left < BRIDGE_QUANTUM && !b->unheard) {
        b->unheard = true;
        look_later(b);
    }
    shut_fd(b);
    if (!left)
        bridge_wake(b);
    return true;
}

static void pass_end_on(struct bridge *b)
{
    b->unsaid = false;
    host_raw_finish(b->e->host, b->raw, mono_now());
    if (!closed_altogether(b))
        return;
    drop_rest(b);
    if (!b->inbound || b->unheard)
        look_later(b);
}

/* Of a program that has closed its output altogether it is known in a moment how it ended. false: the bridge is gone */
static bool end_of_file(struct bridge *b)
{
    b->eof = true;
    if (!b->raw)
        return true;
    int fate = b->ends == &bridge_program && closed_altogether(b) ? exec_fate(b) : 0;
    if (fate == ERR_RESET) {
        bridge_end(b, ERR_RESET);
        return false;
    }
    b->unsaid = fate == ERR_AGAIN;
    if (b->unsaid)
        bridge_deadline(b, mono_after(mono_now(), FATE));
    else
        pass_end_on(b);
    return true;
}

/* Has either side gone, and does nothing move any more? Who has only finished is waited for as long as it likes. */
static void fd_expire(struct bridge *b)
{
    bool gone = host_raw_is_over(b->raw) || closed_altogether(b);
    b->deadline = MONO_NEVER;
    if (b->unsaid) {
        pass_end_on(b);
        return;
    }
    if (gone && moved(b) == b->moved)
        bridge_end(b, ERR_CLOSED);
    else if (gone || unwatched(b))
        look_later(b);
}

bool bridge_take(struct bridge *b, size_t most)
{
    struct engine *e = b->e;
    buf_clear(&e->bridge_scratch);
    if (b->dry)
        return true;
    b->dry = true; /* if it has less than is asked for */
    ssize_t n = recv(b->fd, buf_reserve(&e->bridge_scratch, most), most, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && has_left(b))) {
        return end_of_file(b);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        bridge_end(b, ERR_RESET);
        return false;
    } else if (n > 0) {
        buf_commit(&e->bridge_scratch, (size_t)n);
        if (b->raw)
            bridge_lend(b);
        bridge_went(b, (size_t)n);
        if ((size_t)n == most) {
            b->dry = false;
            bridge_wake(b);
        }
    }
    return true;
}

static void fd_pump(struct bridge *b)
{
    if (!give(b) || (b->unsaid && !end_of_file(b)))
        return;
    size_t room = b->eof ? 0 : host_raw_room(b->raw);
    if (room && !b->held)
        room = bridge_allow(b, room < BRIDGE_QUANTUM ? room : BRIDGE_QUANTUM);
    if (b->held)
        return; /* nothing is watched */
    if (room && !bridge_take(b, room))
        return;
    bool more = !b->eof && host_raw_room(b->raw) > 0;
    if (!b->eof && !more)
        host_raw_want_room(b->raw);
    if ((unwatched(b) || host_raw_is_over(b->raw)) && b->deadline == MONO_NEVER)
        look_later(b);
    loop_fd_watch(b->watch, (more ? LOOP_READ : 0u) | (b->full ? LOOP_WRITE : 0u));
}

const struct bridge_ends bridge_fd = {.pump = fd_pump};
const struct bridge_ends bridge_program = {.pump = fd_pump, .done = exec_left};

/* ---- turns, deadlines ---- */

void bridges_stream_end(struct bridge *b, const struct host_action *a)
{
    b->raw = NULL; /* gone already */
    if (a->whole && !b->shut && b->fd >= 0)
        (void)shutdown(b->fd, SHUT_WR); /* as in shut_fd */
    b->shut |= a->whole;
    bridge_end(b, a->result);
}

/* Local streams yield also when it is our time that there is too little of: as long as remote ones move much, no more than one
 * local turn lies between two looks at the sockets, and whatever a remote one can do by then goes first. Without the look local
 * ones would fill a whole run while a remote one waits for nothing but its peer's window. */
void bridges_run(struct engine *e)
{
    uint64_t until = e->service_bytes + TURNS_BYTES;
    mono_ns now = mono_now(), over = mono_after(now, TURNS_TIME);
    struct turn *t;
    while (now < over && e->service_bytes < until && (t = turns_next(e->turns))) {
        struct bridge *b = (struct bridge *)t;
        b->ends->pump(b);
        now = mono_now();
        if (turns_only_local(e->turns) && now < e->yield_until)
            return;
    }
}

void bridge_deadline(struct bridge *b, mono_ns at)
{
    b->deadline = at;
    b->e->bridges_at = engine_min(b->e->bridges_at, at);
}

/* false: the bridge is gone */
static bool look_at(struct bridge *b, mono_ns now)
{
    uint64_t number = b->number;
    struct engine *e = b->e;
    if (b->deadline > now)
        return true;
    if (b->state == BRIDGE_DIALING)
        service_look(b, now);
    else if (b->state == BRIDGE_TARGET)
        bridge_end(b, ERR_TIMEOUT);
    else if (b->datagrams)
        datagrams_expire(b, now);
    else
        fd_expire(b);
    return e->ended_last != number;
}

mono_ns bridges_turn(struct engine *e, mono_ns now)
{
    if (now < e->bridges_at)
        return e->bridges_at;
    e->bridges_at = MONO_NEVER;
    for (struct bridge *b = e->bridges, *next; b; b = next) {
        next = b->next;
        if (look_at(b, now))
            e->bridges_at = engine_min(e->bridges_at, b->deadline);
    }
    struct service_offer *o;
    for (unsigned i = 0; (o = services_offer(e->services, i)); i++) {
        const struct offer_state *s = o->runtime;
        if (s && s->resume_at <= now)
            serve_held(e, o);
        else if (s)
            e->bridges_at = engine_min(e->bridges_at, s->resume_at);
    }
    return e->bridges_at;
}
