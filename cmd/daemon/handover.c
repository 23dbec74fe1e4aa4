/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/handover.h"

#include "cmd/daemon/control.h"
#include "cmd/daemon/order.h"
#include "net/engine/engine_service.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/*   LINE ─→ DIALING ─→ RUNNING ─→ freed      an asker that hangs up while DIALING is freed when the answer has come */
enum asker_state { ASKER_LINE, ASKER_DIALING, ASKER_RUNNING };

struct asker {
    struct asker *prev, *next;
    struct handover *h; /* NULL: closed meanwhile */
    int fd;             /* -1: gone */
    struct event *ev;
    enum asker_state state;
    struct buf in;
    struct engine_dial dial;
    uint64_t stream;
};

struct handover {
    struct daemon *d;
    int fd;
    struct event *ev;
    struct asker *askers;
    unsigned count;
    char path[sizeof((struct sockaddr_un){0}.sun_path)];
};

/* ---- askers ---- */

static void hang_up(struct asker *a)
{
    if (a->ev)
        event_free(a->ev);
    if (a->fd >= 0)
        close(a->fd);
    a->ev = NULL;
    a->fd = -1;
    if (!a->h)
        return;
    *(a->prev ? &a->prev->next : &a->h->askers) = a->next;
    if (a->next)
        a->next->prev = a->prev;
    a->h->count--;
    a->h = NULL;
}

static void asker_free(struct asker *a)
{
    hang_up(a);
    buf_done(&a->in);
    free(a);
}

/* One line, with a descriptor unless it is -1. It is short and the socket is empty, so it is taken whole or nobody listens */
static void send_line(const struct asker *a, json_t *take_v, int fd)
{
    char *text = json_dumps(take_v, CTL_JSON);
    struct buf line = BUF_INIT;
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    json_decref(take_v);
    buf_printf(&line, "%s\n", text);
    struct iovec part = {.iov_base = (void *)(uintptr_t)buf_span(&line).data, .iov_len = buf_len(&line)};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = control.space;
        m.msg_controllen = sizeof control.space;
        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    if (a->fd >= 0)
        (void)sendmsg(a->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT); /* nobody listens: as said */
    free(text);
    buf_done(&line);
}

static void refuse(struct asker *a, int err, const char *why)
{
    const char *hint = err == ERR_OFFLINE ? "p2p doctor" : err == ERR_DENIED ? "ask them to allow you" : "p2p peers --all";
    send_line(a, json_pack("{ss so so}", "error", err_name(err), "message", ctl_sentence(why), "try", ctl_sentence(hint)), -1);
}

/* ---- what the engine tells ---- */

struct ended_note {
    struct mail mail;
    uint64_t stream;
    int err;
};

static void on_ended(struct mail *mail, void *owner)
{
    struct ended_note *n = (struct ended_note *)mail;
    struct daemon *d = owner;
    for (struct asker *a = d && d->handover ? d->handover->askers : NULL; a; a = a->next)
        if (a->stream == n->stream) {
            send_line(a, json_pack("{ss}", "ended", n->err ? err_name(n->err) : "ERR_OK"), -1);
            asker_free(a);
            break;
        }
    free(n);
}

/* On the engine's thread */
static void tell_ended(void *arg, uint64_t stream, int err, bool whole)
{
    struct daemon *d = arg;
    struct ended_note *n = MEM_NEW(struct ended_note);
    (void)whole; /* either direction may have broken */
    n->mail.run = on_ended;
    n->stream = stream;
    n->err = err;
    mailbox_reply(d->mail, &n->mail); /* one for each stream that was handed over */
}

static void on_dialed(struct mail *mail, void *owner)
{
    struct asker *a = (struct asker *)((char *)mail - offsetof(struct asker, dial) - offsetof(struct engine_dial, mail));
    (void)owner;
    if (a->dial.result < 0)
        refuse(a, a->dial.result, a->dial.why.text[0] ? a->dial.why.text : err_text(a->dial.result));
    else
        send_line(a, json_pack("{sI}", "stream", (json_int_t)a->dial.stream), a->dial.fd);
    if (a->dial.fd >= 0)
        close(a->dial.fd); /* the asker has its own now */
    a->state = ASKER_RUNNING;
    a->stream = a->dial.stream;
    if (a->dial.result < 0 || a->fd < 0)
        asker_free(a);
}

/* ---- the line ---- */

static int parse(struct asker *a, char *line, struct why *why)
{
    char *words[4] = {NULL}, *save = NULL;
    unsigned count = 0;
    for (char *w = strtok_r(line, " \t", &save); w && count < 4; w = strtok_r(NULL, " \t", &save))
        words[count++] = w;
    if (count == 2 && strcmp(words[0], "feed") == 0) {
        int r = service_name_check(span_str(words[1]), true, why);
        if (r == 0)
            memcpy(a->dial.service, words[1], strlen(words[1]) + 1);
        return r;
    }
    bool datagrams = count == 4 && strcmp(words[3], "datagrams") == 0;
    if ((count != 3 && !datagrams) || strcmp(words[0], "dial") != 0)
        return why_set(why, ERR_INVALID, "the commands are: dial PEER SERVICE [datagrams], feed SERVICE");
    int r = service_name_check(span_str(words[2]), false, why);
    if (r == 0)
        r = order_peer(a->h->d, words[1], &a->dial.peer, why);
    if (r < 0)
        return r;
    memcpy(a->dial.service, words[2], strlen(words[2]) + 1);
    a->dial.datagrams = datagrams;
    a->dial.either = !datagrams;
    return 0;
}

static void start(struct asker *a, char *line)
{
    struct daemon *d = a->h->d;
    struct why why = {""};
    a->dial = (struct engine_dial){.mail.run = on_dialed, .reply = d->mail, .fd = -1, .ended = tell_ended, .arg = d};
    int r = parse(a, line, &why);
    if (r < 0) {
        refuse(a, r, why.text);
        asker_free(a);
        return;
    }
    a->state = ASKER_DIALING;
    engine_dial_service(d->engine, &a->dial);
}

static void gone(struct asker *a)
{
    struct daemon *d = a->h->d;
    if (a->state != ASKER_DIALING) {
        asker_free(a);
        return;
    }
    hang_up(a);
    engine_dial_cancel(d->engine, &a->dial);
}

static void on_asker(evutil_socket_t fd, short what, void *arg)
{
    struct asker *a = arg;
    (void)what;
    ssize_t n = recv(fd, buf_reserve(&a->in, HANDOVER_LINE_MAX), HANDOVER_LINE_MAX, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || buf_len(&a->in) > HANDOVER_LINE_MAX) {
        gone(a);
        return;
    }
    if (a->state != ASKER_LINE)
        return; /* it has nothing more to say */
    buf_commit(&a->in, (size_t)n);
    char *line = (char *)(uintptr_t)buf_cstr(&a->in), *end = strchr(line, '\n');
    if (!end)
        return;
    *end = 0;
    start(a, line);
}

static void on_accept(evutil_socket_t listening, short what, void *arg)
{
    struct handover *h = arg;
    (void)what;
    int fd = control_accept(listening);
    if (fd == ERR_NO_FILES)
        event_del(h->ev);
    if (fd >= 0 && h->count == HANDOVER_MOST) {
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        return;
    struct asker *a = MEM_NEW(struct asker);
    a->h = h;
    a->fd = fd;
    a->ev = event_new(h->d->base, fd, EV_READ | EV_PERSIST, on_asker, a);
    a->next = h->askers;
    if (a->next)
        a->next->prev = a;
    h->askers = a;
    h->count++;
    event_add(a->ev, NULL);
}

/* ---- life ---- */

int handover_open(struct handover **ret, struct daemon *d, struct why *why)
{
    struct handover *h = MEM_NEW(struct handover);
    h->d = d;
    int r = control_bind(d, "streams", SOCK_STREAM, h->path, why);
    if (r < 0) {
        free(h);
        return r;
    }
    h->fd = r;
    h->ev = event_new(d->base, h->fd, EV_READ | EV_PERSIST, on_accept, h);
    event_add(h->ev, NULL);
    *ret = h;
    return 0;
}

void handover_tick(struct handover *h)
{
    if (h)
        event_add(h->ev, NULL); /* it may not be looked at: on_accept */
}

struct handover *handover_close(struct handover *h)
{
    if (!h)
        return NULL;
    while (h->askers)
        gone(h->askers);
    event_free(h->ev);
    close(h->fd);
    (void)unlink(h->path); /* gone already if the run folder is */
    free(h);
    return NULL;
}
