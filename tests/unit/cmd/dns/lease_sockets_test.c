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

static int handed = -1; /* the socket of datagrams that was handed over last */
static uint16_t handed_port;
static uint64_t handed_number;
static unsigned closed_count;

static uint64_t bound(void *arg, struct lease *lease, uint16_t port, int take_fd)
{
    cr_assert_eq(arg, &base);
    if (handed >= 0)
        close(handed);
    got = lease;
    handed = take_fd;
    handed_port = port;
    return ++handed_number;
}

static void unbound(void *arg, uint64_t number)
{
    cr_assert_eq(arg, &base);
    cr_assert(number && number <= handed_number);
    closed_count++;
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
    sockets = lease_sockets_new(&(struct lease_sockets_options){base, leases, &base, accepted, bound, unbound});
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
    cr_assert_eq(lease_sockets_open(sockets, a, SERVICE_WAY_TCP, 0), 0);
    uint16_t port = lease_sockets_chosen(a, SERVICE_WAY_TCP);
    cr_assert_neq(port, 0);
    cr_assert_eq(lease_sockets_open(sockets, b, SERVICE_WAY_TCP, port), 0, "the same port on another address");
    cr_expect(lease_sockets_chosen(b, SERVICE_WAY_TCP) == 0 && lease_sockets_has(b, SERVICE_WAY_TCP, port));
    cr_assert_eq(dial(a->ip, port), 0);
    cr_expect(got == a && got_port == port);
    cr_assert_eq(dial(b->ip, port), 0);
    cr_expect(got == b && got_port == port && accepted_count == 2);
    cr_expect_eq(lease_sockets_open(sockets, b, SERVICE_WAY_TCP, port), 0, "again: nothing happens");
    cr_expect_eq(b->held, 1);
    lease_sockets_close(sockets, b);
    cr_expect_eq(dial(b->ip, port), ECONNREFUSED);
    cr_expect_eq(b->held, 0);
}

Test(lease_sockets, datagrams_are_handed_over, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 1);
    struct sockaddr_in at = {0};
    socklen_t len = sizeof at;
    cr_assert_eq(lease_sockets_open(sockets, a, SERVICE_WAY_UDP, 0), 0);
    uint16_t port = lease_sockets_chosen(a, SERVICE_WAY_UDP);
    cr_assert(port && handed_port == port && got == a && a->held == 1);
    cr_assert_eq(getsockname(handed, (struct sockaddr *)&at, &len), 0);
    cr_expect(at.sin_addr.s_addr == htonl(a->ip) && at.sin_port == htons(port));
    cr_expect_not(lease_sockets_has(a, SERVICE_WAY_TCP, port));
    cr_expect_eq(lease_sockets_chosen(a, SERVICE_WAY_TCP), 0);
    cr_assert_eq(lease_sockets_open(sockets, a, SERVICE_WAY_TCP, port), 0, "the same port in the other way");
    cr_expect(lease_sockets_open(sockets, a, SERVICE_WAY_UDP, port) == 0 && handed_number == 1, "again: nothing happens");
    cr_expect(a->held == 2 && closed_count == 0);
    struct lease *b = lease_of(1, 2);
    cr_assert_eq(a, b);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    at.sin_port = 0;
    cr_assert(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    cr_expect_eq(lease_sockets_open(sockets, a, SERVICE_WAY_UDP, ntohs(at.sin_port)), ERR_BUSY);
    close(fd);
    lease_sockets_close(sockets, a);
    cr_expect(closed_count == 1 && a->held == 0);
    close(handed);
    handed = -1;
}

/* A lease with flows is in use, however long ago its name was asked for. */
Test(lease_sockets, flows_keep_a_lease, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 100 * MONO_S), *b = lease_of(2, 100 * MONO_S);
    cr_assert_eq(lease_sockets_open(sockets, a, SERVICE_WAY_UDP, 0), 0);
    uint64_t of_a = handed_number;
    cr_assert_eq(lease_sockets_open(sockets, b, SERVICE_WAY_UDP, 0), 0);
    uint64_t of_b = handed_number;
    lease_sockets_flows(sockets, of_a, 2, 5, 400 * MONO_S);
    lease_sockets_flows(sockets, of_b, 0, 0, 400 * MONO_S);
    cr_expect(a->accepted == 5 && b->accepted == 0);
    lease_sockets_tick(sockets, 100 * MONO_S + LEASE_IDLE);
    cr_expect(a->held == 1 && b->held == 0 && closed_count == 1);
    lease_sockets_flows(sockets, of_a, 0, 6, 500 * MONO_S);
    cr_expect(a->accepted == 6 && a->used == 500 * MONO_S, "one that came and went between two looks");
    lease_sockets_flows(sockets, of_a, 0, 6, 600 * MONO_S);
    cr_expect(a->accepted == 6 && a->used == 500 * MONO_S);
    lease_sockets_flows(sockets, of_b, 1, 1, 600 * MONO_S);
    cr_expect_eq(b->accepted, 0, "closed meanwhile");
    lease_sockets_tick(sockets, 500 * MONO_S + LEASE_IDLE);
    cr_expect(a->held == 0 && closed_count == 2);
    close(handed);
    handed = -1;
}

Test(lease_sockets, taken, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 1);
    struct sockaddr_in all = {.sin_family = AF_INET};
    socklen_t len = sizeof all;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&all, sizeof all) == 0 && listen(fd, 1) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&all, &len), 0);
    cr_expect_eq(lease_sockets_open(sockets, a, SERVICE_WAY_TCP, ntohs(all.sin_port)), ERR_BUSY, "it listens on every address");
    cr_expect_eq(a->held, 0);
    close(fd);
}

Test(lease_sockets, idle, .init = setup, .fini = teardown)
{
    struct lease *a = lease_of(1, 100 * MONO_S), *b = lease_of(2, 101 * MONO_S);
    cr_assert_eq(lease_sockets_open(sockets, a, SERVICE_WAY_TCP, 0) + lease_sockets_open(sockets, b, SERVICE_WAY_TCP, 0), 0);
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
            int r = lease_sockets_open(sockets, l, SERVICE_WAY_TCP, port);
            cr_assert(r == 0 || r == ERR_BUSY, "%s", err_text(r));
        }
    }
    for (unsigned n = 1; n <= 10; n++) {
        struct peer_id id = id_of(n);
        struct lease *l = leases_get(leases, &id, "", 99 * MONO_S);
        cr_expect_eq(l->held, n <= 2 ? 0 : LEASE_SOCKETS_MAX / 8, "lease %u", n);
    }
}
