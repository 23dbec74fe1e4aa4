/* SPDX-License-Identifier: MIT
 *
 * How many connections there may be: in all, from one IPv4 address or IPv6 /56, and how many of them may be unfinished
 * handshakes. One thread, pure. The host takes a place before it makes a connection and gives it back after.
 *
 * And how many may come a second, since each costs a handshake (1 ms) however soon it goes: half as many as there may be of
 * an address, a quarter of all, after as many at once as there may be. Of what all may have, one half is for addresses that
 * were not heard of for a minute, so that who comes again and again from a few does not shut out who comes for the first time.
 *
 * Known peers (the host says who: those that a person named, and those that gave us blocks) have a reserve. Who somebody is
 * shows only after the handshake, so before it the address stands for him: one from which a known peer came, or where we
 * reached him, is known (connlimit_know; the KNOWN_MAX used last are). Of 16 places
 *
 *   12   anybody's: a stranger beyond them is sent away when the handshake has told that he is one
 *    2   handshakes of whoever comes: a known peer that comes from a new address finds a door, whatever strangers hold
 *    1   handshakes of who comes from a known address, and connections of ours
 *    1   connections of ours to known peers
 *
 * and a known peer stays wherever he came in: connlimit_crowded tells that a stranger should go for him. A known address has
 * twice the places of another, of which those beyond a stranger's share are for known peers; it may come four times as often,
 * and when strangers have used up what all may, as often again: they wait then. Who comes from where an attacker
 * is needs luck all the same, since before the handshake nothing tells them apart; what he has stays, and we may dial him.
 *
 * When there is no place for one more the eldest handshake gives way, if it had CONNLIMIT_PATIENCE (the host closes it): in
 * that time no more come than those two parts. So half-open ones from many addresses do not fill the door; a slow path waits
 * for a better hour, or comes from a known address.
 */
#ifndef NET_SWARM_CONNLIMIT_H
#define NET_SWARM_CONNLIMIT_H

#include "net/addr/multiaddr.h"
#include "store/base/mono.h"

/* An IPv4 address, or the first 56 bits of an IPv6 one. 0: no IP address; all of those count as one. */
typedef uint64_t ip_group;
ip_group ip_group_of(const struct multiaddr *addr);

#define CONNLIMIT_PENDING_PER_IP 16  /* handshakes (PROTOCOLS.md section 7) */
#define CONNLIMIT_PENDING_MAX    256 /* in all */
#define CONNLIMIT_KNOWN_MAX      256 /* addresses */
#define CONNLIMIT_PATIENCE       (500 * MONO_MS)

struct connlimit;

struct connlimit *connlimit_new(unsigned total, unsigned per_ip, uint64_t seed);
struct connlimit *connlimit_free(struct connlimit *l);                    /* NULL accepted */
void connlimit_set(struct connlimit *l, unsigned total, unsigned per_ip); /* what is above stays until it closes */

/* Somebody known is or was at this address. */
void connlimit_know(struct connlimit *l, ip_group g);
bool connlimit_knows(const struct connlimit *l, ip_group g);

enum connlimit_who { CONNLIMIT_CAME, CONNLIMIT_OURS, CONNLIMIT_OURS_KNOWN }; /* in; out to anybody; out to a known peer */
enum connlimit_answer { CONNLIMIT_TAKEN, CONNLIMIT_TOO_OFTEN, CONNLIMIT_ADDRESS_FULL, CONNLIMIT_FULL };

/* Ours are limited by the total only: we chose the address. Pending until connlimit_established. */
enum connlimit_answer connlimit_take(struct connlimit *l, ip_group g, enum connlimit_who who, mono_ns now);
/* The handshake is done. ERR_LIMIT: it stays pending, and has to go; not for who is `welcome` (known, or dialed by us). */
int connlimit_established(struct connlimit *l, ip_group g, bool welcome);
bool connlimit_crowded(const struct connlimit *l); /* more are established than strangers may be */
void connlimit_give(struct connlimit *l, ip_group g, bool pending);

unsigned connlimit_total(const struct connlimit *l);
unsigned connlimit_pending(const struct connlimit *l);
unsigned connlimit_of_strangers(const struct connlimit *l); /* places that anybody may have */
unsigned connlimit_of(const struct connlimit *l, ip_group g);

#endif
