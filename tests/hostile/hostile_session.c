/* SPDX-License-Identifier: MIT
 *
 * Whole connections of net/conn on sockets, many at once: protocol that is right, with content that is not. */
#include "net/addr/multiaddr.h"
#include "net/exchange/exchange.h"
#include "net/proto/identify.h"
#include "net/proto/ping.h"
#include "tests/hostile/hostile.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONS_MAX 1024

static const char *const spoken[] = {IDENTIFY_PROTOCOL, EXCHANGE_PROTOCOL, PING_PROTOCOL};
static const struct conn_protocols protocols = {spoken, 3, 0};

struct session *session_new(struct hostile *h, const struct session_plan *plan)
{
    int fd = hostile_dial(h);
    if (fd < 0)
        return NULL;
    struct session *s = MEM_NEW(struct session);
    s->h = h;
    s->plan = plan;
    s->arg = plan->arg;
    s->fd = fd;
    if (plan->who)
        s->identity = *plan->who;
    else
        identity_new(&s->identity, &h->rng);
    struct conn_config cfg = {
        .role = CONN_DIALER, .identity = &s->identity, .protocols = &protocols, .rng = &h->rng, .limits = plan->limits};
    s->conn = conn_new(&cfg, mono_now());
    return s;
}

struct session *session_free(struct session *s)
{
    if (!s)
        return NULL;
    conn_free(s->conn);
    buf_done(&s->out);
    close(s->fd);
    free(s);
    return NULL;
}

void session_say_identify(struct session *s, struct buf *out)
{
    struct buf key = BUF_INIT;
    struct pubkey k;
    identity_pubkey(&s->identity, &k);
    pubkey_encode(&k, &key);
    struct identify own = {.public_key = buf_span(&key), .agent = span_str("hostile/1"), .version = span_str(IDENTIFY_VERSION)};
    for (unsigned i = 0; i < protocols.count; i++)
        own.protocols[own.protocol_count++] = span_str(spoken[i]);
    (void)identify_build(&own, out); /* three protocols fit */
    buf_done(&key);
}

static void answer_identify(struct session *s, uint32_t stream)
{
    struct buf said = BUF_INIT;
    (s->plan->identify ? s->plan->identify : session_say_identify)(s, &said);
    (void)conn_write(s->conn, stream, buf_span(&said)); /* what fits: the node's window is enough for what it takes */
    (void)conn_close_write(s->conn, stream);
    buf_done(&said);
}

static void on_event(struct session *s, const struct conn_event *ev)
{
    if (ev->type == CONN_CLOSED)
        s->over = true;
    s->resets += ev->type == CONN_RESET;
    if (ev->type == CONN_STREAM) {
        s->streams_in++;
        if (ev->protocol == 0)
            answer_identify(s, ev->stream);
    }
    if (ev->type == CONN_READY && s->plan->ready)
        s->plan->ready(s);
    if (ev->type == CONN_DATA) {
        s->received += ev->data.len;
        if (!s->plan->hoard)
            (void)conn_consume(s->conn, ev->stream, ev->data.len);
    }
    if (s->plan->event)
        s->plan->event(s, ev);
}

static void pull(struct session *s)
{
    struct conn_event ev;
    while (conn_next(s->conn, &ev) > 0)
        on_event(s, &ev);
}

static void flush(struct session *s)
{
    while (!s->over) {
        if (buf_len(&s->out) == 0 && conn_output(s->conn, &s->out, (size_t)256 * 1024) == 0)
            break;
        ssize_t n = send(s->fd, s->out.base + s->out.start, buf_len(&s->out), MSG_NOSIGNAL);
        if (n <= 0)
            break; /* full; or dead, which reading tells */
        buf_consume(&s->out, (size_t)n);
        s->h->tally.sent += (uint64_t)n;
        pull(s);
    }
}

static void receive(struct session *s)
{
    size_t room;
    uint8_t *at = conn_input_reserve(s->conn, &room);
    ssize_t n = recv(s->fd, at, room, 0);
    int why = errno;
    conn_input_commit(s->conn, n > 0 ? (size_t)n : 0, mono_now());
    if (n > 0)
        s->h->tally.received += (uint64_t)n;
    else if (n == 0 || (why != EAGAIN && why != EINTR))
        conn_input_end(s->conn, n == 0 ? 0 : ERR_RESET);
    pull(s);
}

void session_turn(struct session **all, unsigned count, mono_ns wait)
{
    static struct pollfd fds[SESSIONS_MAX];
    assert(count <= SESSIONS_MAX);
    mono_ns now = mono_now();
    for (unsigned i = 0; i < count; i++) {
        struct session *s = all[i];
        fds[i] = (struct pollfd){.fd = -1};
        if (!s || s->over)
            continue;
        if (conn_deadline(s->conn) <= now)
            conn_expire(s->conn, now);
        pull(s);
        flush(s);
        if (s->over)
            continue;
        bool writes = buf_len(&s->out) > 0;
        fds[i].fd = s->fd;
        fds[i].events = (short)((conn_wants_input(s->conn) ? POLLIN : 0) | (writes ? POLLOUT : 0));
    }
    (void)poll(fds, count, (int)(wait / MONO_MS));
    for (unsigned i = 0; i < count; i++) {
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            receive(all[i]);
        if (fds[i].fd >= 0)
            flush(all[i]);
    }
}

void session_run(struct session *s, mono_ns time)
{
    for (mono_ns end = mono_now() + time; !s->over && mono_now() < end && !hostile_over(s->h);)
        session_turn(&s, 1, 20 * MONO_MS);
}

void session_verdict(struct session *s)
{
    struct hostile *h = s->h;
    bool known = !peer_id_is_none(conn_peer(s->conn));
    if (!s->over && !s->resets && hostile_over(h) && h->tally.rounds && !h->tally.open_most)
        (void)0; /* one of many rounds, cut short by the end: it says nothing about the node */
    else if (s->over)
        hostile_note(h, known ? GOT_CLOSED : GOT_REFUSED);
    else if (s->resets)
        hostile_note(h, GOT_RESET);
    else if (buf_len(&s->out))
        hostile_note(h, GOT_THROTTLED);
    else
        hostile_note(h, s->received ? GOT_ANSWERED : GOT_IGNORED);
    session_free(s);
}

uint32_t session_open(struct session *s, const char *protocol)
{
    uint32_t stream;
    return conn_open(s->conn, &protocol, 1, mono_now(), &stream) == 0 ? stream : 0;
}
