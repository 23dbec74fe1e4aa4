/* SPDX-License-Identifier: MIT */
#include "cmd/dns/lease_sockets.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static struct event_base *base;
static struct leases *leases;
static struct lease_sockets *sockets;
static struct lease *got;
static uint16_t got_port;
static unsigned accepted_count;

static void accepted(void *arg, struct lease *lease, uint16_t port, int take_fd)
{
    cr_assert_eq(arg, &base);
    got = lease;
    got_port = port;
    accepted_count++;
    close(take_fd);
}

static struct peer_id id_of(unsigned n)
{
    struct peer_id id = {.len = 38, .bytes = {0, 36, 8, 1, 0x12, 0x20}};
    id.bytes[20] = (uint8_t)n;
    id.bytes[30] = (uint8_t)getpid(); /* other addresses for each run of the test at the same time */
    id.bytes[31] = (uint8_t)(getpid() >> 8);
    return id;
}

static void setup(void)
{
    struct peer_id self = id_of(0);
    base = event_base_new();
    leases = leases_new(&self);
    sockets = lease_sockets_new(&(struct lease_sockets_options){base, leases, &base, accepted});
}

static void teardown(void)
{
    lease_sockets_free(sockets);
    leases_free(leases);
    event_base_free(base);
}

static struct lease *lease_of(unsigned n, mono_ns now)
{
    struct peer_id id = id_of(n);
    return leases_get(leases, &id, "", now);
}

/* 0 or the errno */
static int dial(uint32_t ip, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int number = connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? errno : 0;
    event_base_loop(base, EVLOOP_NONBLOCK);
    close(fd);
    return number;
}

Test(lease_sockets, a_connection_tells_lease_and_port, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 1), *b = lease_of(2, 1);
    cr_assert_eq(lease_sockets_open(sockets, a, 0), 0);
    uint16_t port = lease_sockets_chosen(sockets, a);
    cr_assert_neq(port, 0);
    cr_assert_eq(lease_sockets_open(sockets, b, port), 0, "the same port on another address");
    cr_expect(lease_sockets_chosen(sockets, b) == 0 && lease_sockets_has(sockets, b, port));
    cr_assert_eq(dial(a->ip, port), 0);
    cr_expect(got == a && got_port == port);
    cr_assert_eq(dial(b->ip, port), 0);
    cr_expect(got == b && got_port == port && accepted_count == 2);
    cr_expect_eq(lease_sockets_open(sockets, b, port), 0, "again: nothing happens");
    cr_expect_eq(b->held, 1);
    cr_expect(lease_sockets_at(sockets, b, 0) == port && lease_sockets_at(sockets, b, 1) == 0);
    lease_sockets_close(sockets, b);
    cr_expect_eq(dial(b->ip, port), ECONNREFUSED);
    cr_expect_eq(b->held, 0);
}

Test(lease_sockets, taken, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 1);
    struct sockaddr_in all = {.sin_family = AF_INET};
    socklen_t len = sizeof all;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&all, sizeof all) == 0 && listen(fd, 1) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&all, &len), 0);
    cr_expect_eq(lease_sockets_open(sockets, a, ntohs(all.sin_port)), ERR_BUSY, "it listens on every address");
    cr_expect_eq(a->held, 0);
    close(fd);
}

Test(lease_sockets, idle, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 100 * MONO_S), *b = lease_of(2, 101 * MONO_S);
    cr_assert_eq(lease_sockets_open(sockets, a, 0) + lease_sockets_open(sockets, b, 0), 0);
    lease_sockets_tick(sockets, 100 * MONO_S + LEASE_IDLE - 1);
    cr_expect(a->held == 1 && b->held == 1);
    lease_sockets_tick(sockets, 100 * MONO_S + LEASE_IDLE);
    cr_expect(a->held == 0 && b->held == 1);
}

Test(lease_sockets, room_is_made, .init = setup, .fini = teardown)
{
    for (unsigned n = 1; n <= 10; n++) {
        struct lease *l = lease_of(n, n * MONO_S);
        for (uint16_t port = 20000; l->held < LEASE_SOCKETS_MAX / 8; port++) {
            int r = lease_sockets_open(sockets, l, port);
            cr_assert(r == 0 || r == ERR_BUSY, "%s", err_text(r));
        }
    }
    for (unsigned n = 1; n <= 10; n++) {
        struct peer_id id = id_of(n);
        struct lease *l = leases_get(leases, &id, "", 99 * MONO_S);
        cr_expect_eq(l->held, n <= 2 ? 0 : LEASE_SOCKETS_MAX / 8, "lease %u", n);
    }
}
