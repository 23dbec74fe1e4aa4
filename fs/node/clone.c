/* SPDX-License-Identifier: MIT
 *
 * Conversations: opening streams/clone makes one, in the manner of Plan 9's ip(3). What was opened is its ctl: reading it tells
 * the number N; writing `connect PEER SERVICE` dials; streams/N/data is the stream. It lives while any of its files is open. */
#include "fs/node/streams.h"

#include "fs/node/peers.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct conversation {
    struct conversation *next;
    uint64_t number;
    unsigned handles;
    struct stream_end *end; /* one reference; NULL: not connected */
    char *remote;           /* peer/service; NULL: never dialed */
    char *refusal;          /* of the last line; NULL: none */
};

struct conversation *conversation_new(struct mount *m, struct handle *h)
{
    if (!m->o.stream.number)
        return NULL;
    struct conversation *c = MEM_NEW(struct conversation);
    c->number = m->o.stream.number(m->o.stream.self);
    c->next = m->conversations;
    m->conversations = c;
    conversation_enter(c, h);
    return c;
}

struct conversation *conversation_find(const struct mount *m, struct span number)
{
    char text[24];
    for (struct conversation *c = m->conversations; c; c = c->next) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)c->number);
        if (span_eq_str(number, text))
            return c;
    }
    return NULL;
}

void conversation_enter(struct conversation *c, struct handle *h)
{
    c->handles++;
    h->conversation = c;
}

void conversation_leave(struct mount *m, struct conversation *c)
{
    if (!c || --c->handles)
        return;
    struct conversation **at = &m->conversations;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    stream_leave(c->end);
    free(c->remote);
    free(c->refusal);
    free(c);
}

void conversation_names(const struct mount *m, struct buf *out)
{
    for (const struct conversation *c = m->conversations; c; c = c->next)
        buf_printf(out, "%llu%c", (unsigned long long)c->number, 0);
}

void conversation_status(const struct conversation *c, struct buf *out)
{
    buf_printf(out, "state\t%s\n", c->end ? "open" : "idle");
    if (c->remote)
        buf_printf(out, "remote\t%s\n", c->remote);
}

uint64_t conversation_number(const struct conversation *c)
{
    return c->number;
}

struct stream_end *conversation_end(const struct conversation *c)
{
    return c->end;
}

const char *conversation_remote(const struct conversation *c)
{
    return c->end ? c->remote : NULL;
}

const char *conversation_refusal(const struct conversation *c)
{
    return c->refusal;
}

void conversation_refused(struct conversation *c, const char *sentence)
{
    free(c->refusal);
    c->refusal = sentence ? mem_str(sentence) : NULL;
}

/* `text` is cut: PEER/SERVICE or PEER SERVICE */
static bool cut_remote(char *text, char **ret_peer, char **ret_service)
{
    char *gap = strpbrk(text, "/ \t");
    if (!gap || gap == text)
        return false;
    *gap++ = 0;
    while (isblank((unsigned char)*gap))
        gap++;
    *ret_peer = text;
    *ret_service = gap;
    return *gap && !strpbrk(gap, " \t");
}

static int not_understood(struct why *why)
{
    return why_set(why, ERR_INVALID, "the commands are: connect PEER/SERVICE, hangup");
}

static int taken(struct why *why)
{
    return why_set(why, ERR_BUSY, "it is connected already: hangup comes first");
}

static int dial(struct mount *m, struct request *r, struct conversation *c, char *text, struct why *why)
{
    struct stream_end *end;
    struct stream_open what = {.use = STREAM_DIAL, .number = c->number};
    if (!r->state && c->end)
        return taken(why);
    if (!cut_remote(text, &what.peer, &what.service))
        return not_understood(why);
    int rc = stream_opening(m, r, &what, &end, why);
    if (rc < 0)
        return rc;
    if (c->end) { /* two dialed at once, and the other was quicker */
        stream_leave(end);
        return taken(why);
    }
    c->end = end;
    struct buf remote = BUF_INIT;
    const struct peer_row *p = peers_find(m, span_str(what.peer));
    buf_printf(&remote, "%s/%s", p ? p->id : what.peer, what.service);
    free(c->remote);
    c->remote = mem_str(buf_cstr(&remote));
    buf_done(&remote);
    return 0;
}

int conversation_command(struct mount *m, struct request *r, struct conversation *c, struct span line, struct why *why)
{
    char *text = mem_strn(line);
    int rc = 0;
    if (strcmp(text, "hangup") == 0) {
        stream_hang_up(c->end);
        c->end = NULL;
    } else if (strncmp(text, "connect ", 8) == 0) {
        rc = dial(m, r, c, text + 8 + strspn(text + 8, " \t"), why);
    } else {
        rc = not_understood(why);
    }
    free(text);
    return rc;
}
