/* SPDX-License-Identifier: MIT
 *
 * The loop and TCP over loopback: bytes both ways with back-pressure, turns, refusals, a taken port, the end, running out of
 * descriptors. One thread; the test drives the loop by its turn.
 */
#include "net/transport/ifaces.h"
#include "net/transport/tcp.h"
#include "store/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHECK(cond)                                                                                                            \
    do {                                                                                                                       \
        if (!(cond)) {                                                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                                         \
            exit(1);                                                                                                           \
        }                                                                                                                      \
    } while (0)

#define TOTAL ((size_t)8 << 20)
#define LONG  (3 * MONO_MS) /* longer than one connection may read in its turn */

struct side {
    struct tcp_conn *c;
    size_t sent, received, to_send;
    bool ended, hold, toils;
    unsigned commits, commits_most; /* in this turn; in any */
    size_t piece;                   /* the largest of the second half of TOTAL */
    int err;
    uint8_t room[65536];
};

struct world {
    struct loop *loop;
    struct tcp *tcp;
    struct side dialer, listener;
    bool dialed, refuse;
    int dial_err;
    unsigned accepted, events;
    bool (*until)(struct world *w);
    mono_ns give_up;
};

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 11));
}

static void *on_accepted(void *arg, struct tcp_conn *c, const struct multiaddr *remote, const struct multiaddr *local)
{
    struct world *w = arg;
    CHECK(multiaddr_scope(remote) == MA_SCOPE_LOOPBACK && multiaddr_scope(local) == MA_SCOPE_LOOPBACK);
    w->accepted++;
    if (w->refuse)
        return NULL;
    w->listener.c = c;
    return &w->listener;
}

static void *on_dialed(void *arg, void *owner, struct tcp_conn *c, int err, const struct multiaddr *local)
{
    struct world *w = arg;
    CHECK(owner == &w->dialer && c == w->dialer.c);
    CHECK(err < 0 || local->len);
    w->dialed = true;
    w->dial_err = err;
    if (err < 0)
        w->dialer.c = NULL;
    return err < 0 ? NULL : owner;
}

static uint8_t *on_reserve(void *arg, void *owner, size_t *ret_room)
{
    (void)arg;
    struct side *s = owner;
    *ret_room = sizeof s->room;
    return s->room;
}

static bool on_commit(void *arg, void *owner, size_t n)
{
    (void)arg;
    struct side *s = owner;
    for (size_t i = 0; i < n; i++)
        CHECK(s->room[i] == byte_at(s->received + i));
    s->received += n;
    s->commits += n > 0;
    if (s->received > TOTAL / 2 && n > s->piece)
        s->piece = n;
    for (mono_ns until = mono_now() + LONG; s->toils && n > 0 && mono_now() < until;)
        ;
    return !s->hold;
}

static void on_ended(void *arg, void *owner, int err)
{
    (void)arg;
    struct side *s = owner;
    s->ended = true;
    s->err = err;
}

static size_t on_output(void *arg, void *owner, struct buf *out, size_t most)
{
    (void)arg;
    struct side *s = owner;
    size_t n = s->to_send - s->sent < most ? s->to_send - s->sent : most;
    uint8_t *at = buf_reserve(out, n);
    for (size_t i = 0; i < n; i++)
        at[i] = byte_at(s->sent + i);
    buf_commit(out, n);
    s->sent += n;
    return n;
}

static void on_event(void *arg, const char *kind, const char *text)
{
    (void)kind;
    (void)text;
    ((struct world *)arg)->events++;
}

static mono_ns turn(void *arg)
{
    struct world *w = arg;
    mono_ns now = mono_now();
    CHECK(now < w->give_up);
    if (w->listener.commits > w->listener.commits_most)
        w->listener.commits_most = w->listener.commits;
    w->listener.commits = 0;
    if (tcp_deadline(w->tcp) <= now)
        tcp_expire(w->tcp, now);
    if (w->until(w))
        loop_stop(w->loop);
    return mono_min(w->give_up, mono_min(tcp_deadline(w->tcp), mono_after(now, 20 * MONO_MS)));
}

static void run(struct world *w, bool (*until)(struct world *w))
{
    w->until = until;
    w->give_up = mono_after(mono_now(), 30 * MONO_S);
    CHECK(loop_run(w->loop) == 0);
}

static bool is_dialed(struct world *w)
{
    return w->dialed;
}

static bool is_connected(struct world *w)
{
    return w->dialed && w->listener.c;
}

static bool all_came(struct world *w)
{
    return w->listener.received == w->dialer.to_send && w->dialer.received == w->listener.to_send;
}

static bool is_stuck(struct world *w)
{
    static size_t before;
    static unsigned same;
    same = w->dialer.sent == before ? same + 1 : 0;
    before = w->dialer.sent;
    return same > 10;
}

static bool listener_ended(struct world *w)
{
    return w->listener.ended;
}

static bool dialer_ended(struct world *w)
{
    return w->dialer.ended;
}

static void dial(struct world *w, const struct multiaddr *addr)
{
    w->dialer = (struct side){0};
    w->listener = (struct side){0};
    w->dialed = false;
    CHECK(tcp_dial(w->tcp, addr, &w->dialer, &w->dialer.c) == 0);
}

static void moves_bytes_with_back_pressure(struct world *w, const struct multiaddr *addr)
{
    dial(w, addr);
    run(w, is_connected);
    CHECK(w->dial_err == 0);
    w->listener.hold = true;
    w->dialer.to_send = TOTAL * 4;
    tcp_conn_flush(w->dialer.c);
    run(w, is_stuck);
    CHECK(w->listener.received <= 65536 && w->dialer.sent < TOTAL * 4);
    w->listener.hold = false;
    tcp_conn_pause(w->listener.c, false);
    w->listener.to_send = TOTAL;
    tcp_conn_flush(w->listener.c);
    run(w, all_came);
    tcp_conn_close(w->dialer.c);
    run(w, listener_ended);
    CHECK(w->listener.err == 0);
    tcp_conn_close(w->listener.c);
}

/* Bytes that are much work to take: after a while others have their turn, though there are more */
static void takes_turns(struct world *w, const struct multiaddr *addr)
{
    dial(w, addr);
    run(w, is_connected);
    w->listener.hold = true;
    w->dialer.to_send = TOTAL;
    tcp_conn_flush(w->dialer.c);
    run(w, is_stuck);
    CHECK(w->dialer.sent > w->listener.received + 4 * sizeof w->listener.room); /* so many wait */
    w->listener.hold = false;
    w->listener.toils = true;
    tcp_conn_pause(w->listener.c, false);
    run(w, all_came);
    CHECK(w->listener.commits_most == 1);
    CHECK(w->listener.piece <= sizeof w->listener.room / 4); /* what is read at once was learnt */
    tcp_conn_close(w->dialer.c);
    tcp_conn_close(w->listener.c);
}

static void refuses(struct world *w, const struct multiaddr *addr)
{
    w->refuse = true;
    dial(w, addr);
    run(w, is_dialed);
    CHECK(w->dial_err == 0); /* the kernel accepted it before we did */
    run(w, dialer_ended);
    tcp_conn_close(w->dialer.c);
    w->refuse = false;
    struct multiaddr closed;
    CHECK(multiaddr_from_text(span_str("/ip4/127.0.0.1/tcp/1"), &closed, NULL) == 0);
    dial(w, &closed);
    run(w, is_dialed);
    CHECK(w->dial_err == ERR_REFUSED);
    CHECK(multiaddr_from_text(span_str("/ip4/127.0.0.1/udp/1"), &closed, NULL) == 0);
    CHECK(tcp_dial(w->tcp, &closed, &w->dialer, &w->dialer.c) == ERR_UNSUPPORTED);
}

static void says_when_a_port_is_taken(struct world *w, const struct multiaddr *addr)
{
    struct multiaddr bound;
    CHECK(tcp_listen(w->tcp, addr, &bound) == ERR_BUSY);
}

static bool was_paused(struct world *w)
{
    return w->events > 0;
}

static bool was_accepted(struct world *w)
{
    return w->accepted > 0;
}

/* Accepting stops and goes on by itself; the loop does not spin meanwhile */
static void survives_without_descriptors(struct world *w, const struct multiaddr *addr)
{
    struct rlimit old, tight;
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    dial(w, addr);
    int next = dup(0);
    CHECK(next >= 0 && close(next) == 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max};
    w->accepted = w->events = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
    run(w, was_paused);
    CHECK(w->accepted == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    run(w, was_accepted);
    run(w, is_connected);
    tcp_conn_close(w->dialer.c);
    tcp_conn_close(w->listener.c);
}

static void lists_interfaces(void)
{
    static struct iface list[IFACES_MAX];
    int n = ifaces_read(list);
    CHECK(n >= 0);
    for (int i = 1; i < n; i++)
        CHECK(list[i - 1].index < list[i].index);
    bool loopback = n == 0;
    for (int i = 0; i < n; i++)
        loopback |= list[i].loopback;
    CHECK(loopback);
}

int main(void)
{
    static struct world w;
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    const struct tcp_callbacks cb = {&w, on_accepted, on_dialed, on_reserve, on_commit, on_ended, on_output, on_event};
    struct multiaddr any, bound;
    CHECK(loop_new(&w.loop) == 0);
    w.tcp = tcp_new(w.loop, budget, &cb);
    loop_set_turn(w.loop, turn, &w);
    CHECK(multiaddr_from_text(span_str("/ip4/127.0.0.1/tcp/0"), &any, NULL) == 0);
    CHECK(tcp_listen(w.tcp, &any, &bound) == 0);
    moves_bytes_with_back_pressure(&w, &bound);
    takes_turns(&w, &bound);
    refuses(&w, &bound);
    says_when_a_port_is_taken(&w, &bound);
    survives_without_descriptors(&w, &bound);
    lists_interfaces();
    tcp_free(w.tcp);
    loop_free(w.loop);
    CHECK(budget_used(budget) == 0);
    budget_free(budget);
    return 0;
}
