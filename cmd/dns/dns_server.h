/* SPDX-License-Identifier: MIT
 *
 * The sockets of the DNS server: UDP and TCP (RFC 7766) on one port of 127.0.0.1. Each query is answered at once by the
 * owner's function, so nothing is kept between two of them but connections, of which there are DNS_CONNS_MAX; one that says
 * nothing for DNS_CONN_IDLE_S is closed, one that does not take its answers is not read from. For one more the one that was
 * answered longest ago, or never, is closed: who sends a byte now and then keeps nobody out. The thread of `base`.
 */
#ifndef CMD_DNS_DNS_SERVER_H
#define CMD_DNS_DNS_SERVER_H

#include "store/base/err.h"
#include "store/base/span.h"

#define DNS_ADDRESS     "127.0.0.1"
#define DNS_CONNS_MAX   64
#define DNS_CONN_IDLE_S 10

struct event_base;
struct dns_server;

struct dns_server_options {
    struct event_base *base;
    uint16_t port; /* 0: any */
    void *arg;
    /* Appends the answer to one query; nothing: none. */
    void (*answer)(void *arg, struct span query, bool tcp, struct buf *out);
};

/* 0; ERR_BUSY: the port is taken; ERR_* with a sentence. */
int dns_server_open(struct dns_server **ret, const struct dns_server_options *o, struct why *why);
struct dns_server *dns_server_close(struct dns_server *s); /* NULL accepted */
void dns_server_tick(struct dns_server *s);
uint16_t dns_server_port(const struct dns_server *s);

#endif
