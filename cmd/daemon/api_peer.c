/* SPDX-License-Identifier: MIT
 *
 * /v1/connect, /v1/disconnect, /v1/ping: orders (order.h), answered in JSON. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/order.h"

static const char *hint_for(int err, const char *peer)
{
    if (err == ERR_INVALID && *peer == '/') /* an address */
        return "p2p connect --help";
    if (err == ERR_OFFLINE)
        return "p2p doctor";
    bool whom = err == ERR_INVALID || err == ERR_NOT_FOUND || err == ERR_UNREACHABLE || err == ERR_TIMEOUT;
    return whom ? "p2p peers --all" : NULL;
}

static void answer(struct order *o)
{
    struct ctl_request *q = o->arg;
    if (o->result < 0)
        ctl_fail(q, o->result, hint_for(o->result, ctl_param(q, "peer")), "%s", o->why.text);
    else
        ctl_json(q, o->info ? json_incref(o->info) : json_object());
    ctl_unref(q);
}

static void start(struct ctl_request *q, const char *word)
{
    const char *peer = ctl_param(q, "peer");
    if (!peer || !*peer) {
        ctl_fail(q, ERR_INVALID, "p2p peers --all", peer ? "the address or peer is empty" : "the parameter 'peer' is missing");
        return;
    }
    if (strpbrk(peer, " \t\n")) {
        ctl_fail(q, ERR_INVALID, "p2p peers --all", "'%.100s' is neither an address nor a peer", peer);
        return;
    }
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s %s", word, peer);
    q->waits_for = "waiting for a peer";
    order_run(q->d, buf_cstr(&line), answer, ctl_ref(q));
    buf_done(&line);
}

void api_connect(struct ctl_request *q)
{
    start(q, "connect");
}

void api_disconnect(struct ctl_request *q)
{
    start(q, "disconnect");
}

void api_ping(struct ctl_request *q)
{
    start(q, "ping");
}
