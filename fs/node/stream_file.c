/* SPDX-License-Identifier: MIT */
#include "fs/node/streams.h"

#include "fs/node/peers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MOST ((size_t)256 << 10) /* bytes of one read */

/* ---- ends ---- */

/* What a socket cannot tell: whether the bytes before its end are all that the peer meant to send */
enum stream_fate { STREAM_RUNS, STREAM_WHOLE, STREAM_BROKE };

/* Each description polls for itself: all of them are told. */
struct poller {
    struct poller *next;
    const struct handle *who;
    void *poll;
};

struct stream_end {
    struct stream_end *prev, *next; /* m->streams */
    struct mount *m;
    uint64_t number;
    enum stream_fate fate;
    unsigned refs;
    int fd;
    bool watched;           /* in epoll, armed for `armed` once more */
    uint32_t armed;         /* EPOLLIN, EPOLLOUT: somebody waits for it */
    struct poller *pollers; /* to be told when something is ready */
    struct stream_end *next_dead;
};

static struct stream_end *end_new(struct mount *m, uint64_t number, int take_fd)
{
    struct stream_end *e = MEM_NEW(struct stream_end);
    e->m = m;
    e->number = number;
    e->next = m->streams;
    if (e->next)
        e->next->prev = e;
    m->streams = e;
    e->refs = 1;
    e->fd = take_fd;
    (void)fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
    return e;
}

struct stream_end *stream_end_ref(struct stream_end *e)
{
    e->refs++;
    return e;
}

void stream_leave(struct stream_end *e)
{
    if (!e || --e->refs)
        return;
    close(e->fd); /* leaves epoll by itself */
    *(e->prev ? &e->prev->next : &e->m->streams) = e->next;
    if (e->next)
        e->next->prev = e->prev;
    e->next_dead = e->m->dead_streams;
    e->m->dead_streams = e;
}

/* The kernel's poll of that description, if there is one. It is the caller's then. */
static void *take_poll(struct stream_end *e, const struct handle *who)
{
    struct poller **at = &e->pollers;
    while (*at && (*at)->who != who)
        at = &(*at)->next;
    struct poller *p = *at;
    void *poll = p ? p->poll : NULL;
    if (p)
        *at = p->next;
    free(p);
    return poll;
}

void stream_close(struct handle *h)
{
    if (h->stream)
        request_poll_drop(take_poll(h->stream, h));
    stream_leave(h->stream);
}

/* Handles of streams/N/data may still have it: what is on its way to the peer gets there, but for them it is over */
void stream_hang_up(struct stream_end *e)
{
    if (!e)
        return;
    (void)shutdown(e->fd, SHUT_RDWR); /* fails when the other side has gone: as wished */
    e->fate = STREAM_WHOLE;
    pending_wake(e->m->pending, e);
    stream_leave(e);
}

void streams_sweep(struct mount *m)
{
    while (m->dead_streams) {
        struct stream_end *e = m->dead_streams;
        m->dead_streams = e->next_dead;
        free(e);
    }
}

/* Tells stream_ready once when any of `events` is there, also if it is already. */
static void arm(struct stream_end *e, uint32_t events)
{
    if ((e->armed & events) == events)
        return;
    e->armed |= events;
    struct epoll_event v = {.events = e->armed | EPOLLONESHOT, .data.ptr = e};
    if (epoll_ctl(e->m->epoll, e->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e->fd, &v) != 0)
        abort(); /* our own descriptors */
    e->watched = true;
}

void stream_ready(struct mount *m, struct stream_end *e)
{
    if (!e->refs)
        return; /* left earlier in this turn */
    e->refs++;
    e->armed = 0; /* who still waits arms it again */
    while (e->pollers)
        request_poll_tell(take_poll(e, e->pollers->who));
    pending_wake(m->pending, e);
    stream_leave(e);
}

void stream_ended(struct mount *m, uint64_t number, bool whole)
{
    struct stream_end *e = m->streams;
    while (e && e->number != number)
        e = e->next;
    if (!e)
        return; /* closed here first */
    e->fate = whole ? STREAM_WHOLE : STREAM_BROKE;
    pending_wake(m->pending, e);
}

/* ---- opening ---- */

struct opening {
    struct stream_open open; /* first */
    struct stream_end *end;  /* once it is open: how it ends may be told before the request runs again */
    struct mount *m;
    bool done, orphan;
};

static void opening_free(struct opening *o)
{
    if (o->open.fd >= 0)
        close(o->open.fd);
    stream_leave(o->end);
    free(o->open.peer);
    free(o->open.service);
    free(o);
}

static void opening_leave(void *state)
{
    struct opening *o = state;
    if (o->done) {
        opening_free(o);
        return;
    }
    o->orphan = true;
    o->m->o.stream.cancel(o->m->o.stream.self, &o->open);
}

static void on_opened(struct mail *take_m, void *owner)
{
    struct opening *o = (struct opening *)take_m;
    struct mount *m = o->m;
    m->commands--;
    o->done = true;
    if (o->orphan || !owner) {
        opening_free(o);
        return;
    }
    if (o->open.result == 0) {
        o->end = end_new(m, o->open.number, o->open.fd);
        o->open.fd = -1;
    }
    pending_wake(m->pending, o);
}

static struct opening *opening_new(struct mount *m, const struct stream_open *what)
{
    struct opening *o = MEM_NEW(struct opening);
    o->open = *what;
    o->open.mail.run = on_opened;
    o->open.reply = m->mailbox;
    const struct peer_row *p = what->peer ? peers_find(m, span_str(what->peer)) : NULL;
    o->open.peer = p ? mem_str(p->id) : what->peer ? mem_str(what->peer) : NULL;
    o->open.service = mem_str(what->service);
    o->open.timeout = m->o.timeout_metadata ? m->o.timeout_metadata : 10 * MONO_S;
    if (!o->open.number)
        o->open.number = m->o.stream.number(m->o.stream.self);
    o->open.fd = -1;
    o->m = m;
    return o;
}

int stream_opening(struct mount *m, struct request *r, const struct stream_open *what, struct stream_end **ret_end,
                   struct why *why)
{
    struct opening *o = r->state;
    if (!o) {
        if (!m->o.stream.post)
            return ERR_UNSUPPORTED;
        o = opening_new(m, what);
        int rc = m->o.stream.post(m->o.stream.self, &o->open);
        if (rc < 0) {
            if (why)
                *why = o->open.why;
            opening_free(o);
            return rc;
        }
        m->commands++;
        r->state = o;
        r->free_state = opening_leave;
    }
    r->wait_on = o;
    r->why = what->use == STREAM_DIAL ? "dials the peer" : "attaches to the offer";
    if (!o->done)
        return ERR_AGAIN;
    int rc = o->open.result;
    if (rc == 0) {
        *ret_end = o->end;
        o->end = NULL;
    } else if (o->open.why.text[0]) {
        struct buf line = BUF_INIT;
        buf_printf(&line, "%s/%s: %s", o->open.peer ? o->open.peer : "", o->open.service, o->open.why.text);
        text_add_event(m, "stream.failed", buf_cstr(&line));
        buf_done(&line);
        if (why)
            *why = o->open.why;
    }
    r->state = NULL; /* the next phase of the request may have one of its own */
    opening_free(o);
    return rc;
}

/* ---- the files ---- */

/* Key: peer NUL service NUL number of the lookup. The st_ino is of the first two: a program that looks twice (cp does) must see
 * one file. */
void stream_file_found(struct mount *m, enum stream_file kind, struct span peer, struct span service, struct found *ret)
{
    char *at = (char *)ret->key_bytes;
    int n = snprintf(at, sizeof ret->key_bytes, "%.*s%c%.*s", (int)peer.len, (const char *)peer.data, 0, (int)service.len,
                     (const char *)service.data);
    ret->key = (struct inode_key){NODE_STREAM, kind, {ret->key_bytes, (size_t)n}};
    node_attr(m, &ret->attr, &ret->key, S_IFREG | (kind == STREAM_LIVE_FEED ? 0200 : 0600), 0);
    n += snprintf(at + n, sizeof ret->key_bytes - (size_t)n, "%c%llu", 0, (unsigned long long)++m->stream_lookups);
    ret->key.key.len = (size_t)n;
    ret->entry_timeout = ret->attr_timeout = 0;
}

static const char *key_part(const struct inode *i, unsigned part)
{
    const char *at = (const char *)i->key;
    while (part--)
        at += strlen(at) + 1;
    return at;
}

static int stream_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    if (i->sub == STREAM_DATA) {
        f.key = (struct inode_key){NODE_STREAM, i->sub, inode_key_span(i)};
        node_attr(m, &f.attr, &f.key, S_IFREG | 0600, 0);
    } else {
        stream_file_found(m, i->sub, span_str(key_part(i, 0)), span_str(key_part(i, 1)), &f);
    }
    request_attr(r, &f.attr, 0);
    return 0;
}

/* touch makes a feed, and sets its time then. */
static int stream_setattr(struct mount *m, struct request *r, struct inode *i)
{
    bool made = i->sub == STREAM_LIVE_FEED && !(r->set & ~(SET_MTIME | SET_OTHER));
    return made || request_empties(r) ? stream_getattr(m, r, i) : ERR_NOT_PERMITTED;
}

static int open_data(struct mount *m, struct request *r, struct inode *i)
{
    struct conversation *c = conversation_find(m, inode_key_span(i));
    struct stream_end *e = c ? conversation_end(c) : NULL;
    if (!c)
        return ERR_DENIED; /* somebody else's stream */
    if (!e)
        return ERR_NOT_RUNNING;
    struct handle *h = handle_new(m, i, r->flags);
    h->stream = stream_end_ref(e);
    conversation_enter(c, h);
    handle_reply(m, r, h, OPEN_STREAM);
    return 0;
}

static int stream_do_open(struct mount *m, struct request *r, struct inode *i)
{
    struct stream_end *end;
    if (i->sub == STREAM_DATA)
        return open_data(m, r, i);
    bool feed = i->sub == STREAM_LIVE_FEED;
    if (feed && (r->flags & O_ACCMODE) != O_WRONLY)
        return ERR_DENIED;
    const char *file = key_part(i, 1), *service = feed ? file : streams_service(m, span_str(key_part(i, 0)), file);
    struct stream_open what = {.use = feed ? STREAM_FEED : STREAM_DIAL, .service = (char *)(uintptr_t)service};
    if (!service && !r->state)
        return ERR_NOT_FOUND; /* no longer offered, and no name to dial by */
    if (!feed)
        what.peer = (char *)(uintptr_t)key_part(i, 0);
    int rc = stream_opening(m, r, &what, &end, NULL);
    if (rc < 0)
        return rc;
    struct handle *h = handle_new(m, i, r->flags);
    h->stream = end;
    handle_reply(m, r, h, OPEN_STREAM);
    return 0;
}

/* The socket has nothing, or no room: again when it has, or EAGAIN. */
static int park(struct request *r, struct stream_end *e, uint32_t event, const char *why)
{
    if (r->flags & O_NONBLOCK) {
        request_errno(r, EAGAIN);
        return 0;
    }
    arm(e, event);
    r->wait_on = e;
    r->why = why;
    return ERR_AGAIN;
}

/* The socket has no more. While its other side is there that is the peer's end; when it is gone the stream may have broken,
 * of which the message is on its way. */
static int read_end(struct request *r, struct stream_end *e)
{
    struct pollfd p = {.fd = e->fd};
    bool gone = poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
    if (gone && e->fate == STREAM_RUNS) {
        r->wait_on = e;
        r->why = "waits to hear how the stream ended";
        return ERR_AGAIN;
    }
    if (gone && e->fate == STREAM_BROKE)
        request_errno(r, ECONNRESET);
    else
        request_data(r, SPAN_NONE);
    return 0;
}

static int stream_read(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    struct stream_end *e = handle_of(r)->stream;
    if (!m->stream_buf)
        m->stream_buf = mem_big(READ_MOST, 1);
    if (!m->stream_buf)
        return ERR_NO_MEMORY;
    ssize_t n = recv(e->fd, m->stream_buf, r->size < READ_MOST ? r->size : READ_MOST, MSG_DONTWAIT);
    if (n == 0 && r->size)
        return read_end(r, e);
    if (n >= 0)
        request_data(r, span_of(m->stream_buf, (size_t)n));
    else if (errno == EAGAIN)
        return park(r, e, EPOLLIN, "waits for bytes from the peer");
    else
        request_errno(r, errno);
    return 0;
}

static int stream_write(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    struct stream_end *e = handle_of(r)->stream;
    ssize_t n = r->data.len ? send(e->fd, r->data.data, r->data.len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n >= 0)
        request_written(r, (size_t)n);
    else if (errno == EAGAIN)
        return park(r, e, EPOLLOUT, "waits for the peer to read");
    else
        request_errno(r, errno);
    return 0;
}

static int stream_poll(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    struct stream_end *e = handle_of(r)->stream;
    struct pollfd p = {.fd = e->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    if (poll(&p, 1, 0) < 0)
        p.revents = POLLERR;
    if (r->poll) {
        request_poll_drop(take_poll(e, handle_of(r)));
        e->pollers = mem_copy(&(struct poller){e->pollers, handle_of(r), r->poll}, sizeof *e->pollers);
        r->poll = NULL;
        uint32_t not_yet = (p.revents & POLLIN ? 0 : EPOLLIN) | (p.revents & POLLOUT ? 0 : EPOLLOUT);
        if (not_yet)
            arm(e, not_yet);
    }
    unsigned events = (unsigned)p.revents;
    request_poll(r, events | (events & POLLIN ? POLLRDNORM : 0) | (events & POLLOUT ? POLLWRNORM : 0));
    return 0;
}

const struct node_ops node_stream = {
    .op =
        {
            [OP_GETATTR] = stream_getattr,
            [OP_SETATTR] = stream_setattr,
            [OP_OPEN] = stream_do_open,
            [OP_READ] = stream_read,
            [OP_WRITE] = stream_write,
            [OP_POLL] = stream_poll,
        },
    .absent = ERR_NOT_PERMITTED,
};
