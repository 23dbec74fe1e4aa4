/* SPDX-License-Identifier: MIT
 *
 * Whose turn it is, among streams that could all move bytes: first by IP address, then by service, then in the order of coming.
 * So a peer with a hundred streams gets no more than one with a single stream, and a bulk service no more than ssh beside it.
 * Addresses of the local network yield to remote ones: theirs is the scarce path, and ours would be full of the plentiful
 * one; every TURNS_LOCAL_ONE_INth turn is theirs all the same. Pure; entries are embedded in what waits.
 */
#ifndef NET_SERVICE_TURNS_H
#define NET_SERVICE_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TURNS_LOCAL_ONE_IN 8

struct turn {
    struct turn *next;
    struct turns_service *in; /* NULL: does not wait */
};

struct turns_service {
    struct turns_service *next;
    const void *key;
    struct turn *first, **last;
};

struct turns_ip {
    struct turns_ip *next;
    uint64_t ip;
    struct turns_service *services, **services_end;
};

struct turns {
    struct turns_ip *ips[2], **ips_end[2]; /* remote, local */
    unsigned given;                        /* turns since a local one */
};

void turns_init(struct turns *t);
void turns_done(struct turns *t); /* entries are the owner's */
/* `ip`: any number that stands for an address; `service`: compared as a pointer. Waiting already: nothing. */
void turns_add(struct turns *t, struct turn *e, uint64_t ip, bool local, const void *service);
void turns_remove(struct turns *t, struct turn *e);
struct turn *turns_next(struct turns *t); /* taken out; NULL: nobody waits */
bool turns_empty(const struct turns *t);
bool turns_only_local(const struct turns *t); /* and not empty */

#endif
