/* SPDX-License-Identifier: MIT
 *
 * Crowds: many connections that hold a place and say nothing, or come and go. Sources are many addresses, when the driver gave
 * some. */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CROWD      400 /* connections at once; more than the node takes */
#define DRIP_EVERY (300 * MONO_MS)

struct crowd {
    struct hostile *h;
    int fds[CROWD];
    size_t told[CROWD]; /* bytes of `text` that this one has said */
    struct span text;   /* said one byte at a time, its end never */
    unsigned open;
};

static void crowd_leave(struct crowd *c, unsigned i, enum outcome o)
{
    close(c->fds[i]);
    c->fds[i] = -1;
    c->open--;
    hostile_note(c->h, o);
}

static void crowd_fill(struct crowd *c)
{
    for (unsigned i = 0; i < CROWD; i++) {
        if (c->fds[i] >= 0)
            continue;
        c->fds[i] = hostile_dial(c->h);
        if (c->fds[i] < 0)
            return;
        c->open++;
        c->told[i] = 0;
        c->h->tally.units++;
    }
    if (c->open > c->h->tally.open_most)
        c->h->tally.open_most = c->open;
}

static void crowd_drip(struct crowd *c)
{
    for (unsigned i = 0; i < CROWD; i++)
        if (c->fds[i] >= 0 && c->told[i] + 1 < c->text.len)
            c->told[i] += send(c->fds[i], c->text.data + c->told[i], 1, MSG_NOSIGNAL) == 1;
}

static void crowd_hear(struct crowd *c, int wait_ms)
{
    struct pollfd p[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        p[i] = (struct pollfd){.fd = c->fds[i], .events = POLLIN};
    if (poll(p, CROWD, wait_ms) <= 0)
        return;
    for (unsigned i = 0; i < CROWD; i++) {
        uint8_t bytes[2048];
        if (!p[i].revents)
            continue;
        ssize_t n = recv(c->fds[i], bytes, sizeof bytes, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            crowd_leave(c, i, c->told[i] > 1 ? GOT_CLOSED : GOT_REFUSED);
    }
}

/* Once thrown out, one comes again after a moment: a crowd that only reconnects is the thrash's business. */
static void crowd(struct hostile *h, struct span text)
{
    struct crowd *c = MEM_NEW(struct crowd);
    *c = (struct crowd){.h = h, .text = text};
    for (unsigned i = 0; i < CROWD; i++)
        c->fds[i] = -1;
    for (mono_ns next = 0; !hostile_over(h);) {
        if (mono_now() >= next) {
            crowd_fill(c);
            crowd_drip(c);
            next = mono_now() + DRIP_EVERY;
        }
        crowd_hear(c, 20);
    }
    for (unsigned i = 0; i < CROWD; i++)
        if (c->fds[i] >= 0)
            crowd_leave(c, i, GOT_IGNORED);
    free(c);
}

static void silent(struct hostile *h)
{
    crowd(h, SPAN_NONE);
}

static void drip_select(struct hostile *h)
{
    crowd(h, span_str("\x13/multistream/1.0.0\n\x07/noise\n"));
}

static void drip_noise(struct hostile *h)
{
    static const char text[] = "\x13/multistream/1.0.0\n\x07/noise\n\0\x20"
                               "an ephemeral key that never ends";
    crowd(h, span_of(text, sizeof text - 1));
}

/* ---- connections that are secured, and then nothing ---- */

#define IDLERS     300
#define IDLERS_MAX 1024

static unsigned idlers_look(struct session **all, unsigned count)
{
    unsigned open = 0;
    for (unsigned i = 0; i < count; i++) {
        if (all[i] && all[i]->over) {
            session_verdict(all[i]);
            all[i] = NULL;
        }
        open += all[i] != NULL;
    }
    return open;
}

static void idle_as(struct hostile *h, const struct identity *who, uint64_t wished)
{
    const struct session_plan plan = {.who = who};
    static struct session *all[IDLERS_MAX];
    unsigned count = wished < IDLERS_MAX ? (unsigned)wished : IDLERS_MAX;
    for (mono_ns next = 0; !hostile_over(h);) {
        unsigned open = idlers_look(all, count);
        if (open > h->tally.open_most)
            h->tally.open_most = open;
        bool due = mono_now() >= next;
        for (unsigned i = 0, n = 0; due && i < count && n < 30; i++)
            if (!all[i]) {
                all[i] = session_new(h, &plan); /* gone before this function is */
                h->tally.units++;
                n++;
            }
        if (due)
            next = mono_now() + 100 * MONO_MS;
        session_turn(all, count, 10 * MONO_MS);
    }
    for (unsigned i = 0; i < count; i++) {
        if (all[i])
            session_verdict(all[i]);
        all[i] = NULL;
    }
}

static void idle(struct hostile *h)
{
    idle_as(h, NULL, hostile_work(h, IDLERS));
}

static void one_peer(struct hostile *h)
{
    struct identity who;
    identity_new(&who, &h->rng);
    idle_as(h, &who, hostile_work(h, 60));
}

/* ---- thrash ---- */

static void thrash(struct hostile *h)
{
    for (unsigned i = 0; i < 500 && !hostile_over(h); i++) {
        int fd = hostile_dial(h);
        struct linger now = {.l_onoff = 1};
        h->tally.units++;
        hostile_note(h, fd < 0 ? GOT_REFUSED : GOT_IGNORED);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* RST: no TIME_WAIT, so no end of ports */
        close(fd);
    }
}

/* A whole handshake each, always as somebody new */
static void thrash_secured(struct hostile *h)
{
    for (unsigned i = 0; i < 100 && !hostile_over(h); i++) {
        struct link l;
        if (link_secure(&l, h)) {
            h->tally.units++;
            hostile_note(h, GOT_ANSWERED);
            link_end(&l);
        }
    }
}

static const struct attack crowd_table[] = {
    {"half-open", "half-open", 0, silent, "400 connections that say nothing, from many addresses"},
    {"drip-select", "drip-select", 0, drip_select, "400 that say multistream a byte at a time"},
    {"drip-noise", "drip-noise", 0, drip_noise, "400 that say the handshake a byte at a time"},
    {"idle-crowd", "idle-crowd", 0, idle, "300 secured connections that want nothing"},
    {"one-peer", "one-peer", 0, one_peer, "60 connections of one peer"},
    {"thrash", "thrash", 0, thrash, "connections made and reset at once"},
    {"thrash-secured", "thrash-secured", 0, thrash_secured, "handshakes, each as somebody new"},
};
const struct attack_table attacks_crowd = {crowd_table, sizeof crowd_table / sizeof *crowd_table};
