/* SPDX-License-Identifier: MIT
 *
 * The engine closes the descriptor that it is given whatever happens, so it gets a copy each time; ours keeps the connection
 * until it is clear what becomes of it. */
#include "cmd/daemon/dnsd_dial.h"

#include "net/engine/engine_service.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct dialing {
    struct engine_dial dial;
    struct dnsd_choice choice;
    unsigned next; /* service to ask for */
    int fd;
};

static void reset(int take_fd)
{
    const struct linger at_once = {1, 0};
    (void)setsockopt(take_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* else it is closed in the ordinary way */
    close(take_fd);
}

static void dialed(struct mail *mail, void *owner);

/* False: there is nothing left to ask for, or no descriptor. */
static bool ask_next(struct daemon *d, struct dialing *x)
{
    if (x->next == x->choice.count)
        return false;
    int copy = fcntl(x->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return false;
    x->dial = (struct engine_dial){.mail.run = dialed, .reply = d->mail, .peer = x->choice.peer, .fd = copy};
    memcpy(x->dial.service, x->choice.services[x->next], SERVICE_CHOICE_SIZE);
    x->next++;
    engine_dial_service(d->engine, &x->dial);
    return true;
}

static void dialed(struct mail *mail, void *owner)
{
    struct dialing *x = (struct dialing *)mail;
    struct daemon *d = owner;
    bool usable = d && !d->stopping;
    if (usable && x->dial.result == ERR_DENIED && ask_next(d, x))
        return;
    if (x->dial.result < 0) {
        char id[PEER_ID_TEXT_SIZE];
        if (usable)
            daemon_event(d, "dns.failed", "%s /x/%s: %s", peer_id_text(&x->choice.peer, id), x->dial.service,
                         x->dial.why.text[0] ? x->dial.why.text : err_text(x->dial.result));
        reset(x->fd);
    } else {
        close(x->fd);
    }
    if (d)
        d->dns_dials--;
    free(x);
}

void dnsd_dial(struct daemon *d, const struct dnsd_choice *choice, int take_fd)
{
    if (d->dns_dials == DNSD_DIALS_MAX || !choice->count) {
        reset(take_fd);
        return;
    }
    struct dialing *x = MEM_NEW(struct dialing);
    x->choice = *choice;
    x->fd = take_fd;
    d->dns_dials++;
    if (ask_next(d, x))
        return;
    d->dns_dials--;
    reset(take_fd);
    free(x);
}
