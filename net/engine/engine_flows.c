/* SPDX-License-Identifier: MIT
 *
 * Forwards of datagrams that are not in the registry: whoever opened them bound the socket, keeps account of them and
 * closes them again. Their flows are those of engine_datagram.c.
 */
#include "net/engine/engine_addr.h"
#include "net/engine/engine_bridge.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct loose {
    struct service_forward f; /* first; .number is the one that was told */
    struct loose *next;
    unsigned name_count;
    char names[ENGINE_FLOWS_NAMES][SERVICE_NAME_SIZE];
};

static struct loose *loose_of(const struct engine *e, const struct service_forward *f)
{
    struct loose *l = e->loose;
    while (l && &l->f != f)
        l = l->next;
    return l;
}

const char *flows_other_name(const struct bridge *b)
{
    const struct loose *l = b->forward ? loose_of(b->e, b->forward) : NULL;
    for (unsigned i = 0; l && i + 1 < l->name_count; i++)
        if (strcmp(l->names[i], b->service) == 0)
            return l->names[i + 1];
    return NULL;
}

void flows_each(const struct engine *e, void (*each)(void *arg, uint64_t number, const struct service_count *c), void *arg)
{
    for (const struct loose *l = e->loose; l; l = l->next)
        each(arg, l->f.number, &l->f.count);
}

static void close_at(struct engine *e, struct loose **at)
{
    struct loose *l = *at;
    forward_close(e, &l->f);
    *at = l->next;
    e->loose_count--;
    free(l);
}

void flows_close_all(struct engine *e)
{
    while (e->loose)
        close_at(e, &e->loose);
}

/* ---- from other threads ---- */

struct flows_mail {
    struct mail mail;
    struct engine_flows flows;
    uint64_t number;
};

static void run_open(struct mail *m, void *owner)
{
    struct flows_mail *f = (struct flows_mail *)m;
    struct engine *e = owner;
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (!e || e->stopping || getsockname(f->flows.fd, (struct sockaddr *)&ss, &len) != 0) {
        close(f->flows.fd);
        free(f);
        return;
    }
    struct loose *l = MEM_NEW(struct loose);
    l->f.number = f->number;
    l->f.kind = SERVICE_UDP;
    l->f.peer = f->flows.peer;
    addr_from_sockaddr(&ss, &l->f.addr);
    l->name_count = f->flows.name_count;
    memcpy(l->names, f->flows.names, sizeof l->names);
    memcpy(l->f.name, l->names[0], sizeof l->f.name);
    int fd = f->flows.fd;
    free(f);
    l->next = e->loose;
    e->loose = l;
    e->loose_count++;
    forward_adopt(e, &l->f, fd);
}

uint64_t engine_flows_open(struct engine *e, const struct engine_flows *take_f)
{
    struct flows_mail *m = MEM_NEW(struct flows_mail);
    uint64_t number = m->number = engine_stream_number(e);
    m->mail.run = run_open;
    m->flows = *take_f;
    if (mailbox_post(e->inbox, &m->mail) == 0)
        return number;
    close(take_f->fd);
    free(m);
    return 0;
}

static void run_close(struct mail *m, void *owner)
{
    uint64_t number = ((struct flows_mail *)m)->number;
    struct engine *e = owner;
    free(m);
    for (struct loose **at = e ? &e->loose : NULL; at && *at; at = &(*at)->next)
        if ((*at)->f.number == number) {
            close_at(e, at);
            return;
        }
}

void engine_flows_close(struct engine *e, uint64_t number)
{
    struct flows_mail *m = MEM_NEW(struct flows_mail);
    m->mail.run = run_close;
    m->number = number;
    mailbox_reply(e->inbox, &m->mail); /* bounded by what was opened */
}
