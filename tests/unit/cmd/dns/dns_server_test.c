/* SPDX-License-Identifier: MIT
 *
 * Real sockets on loopback, one thread: the loop runs until what is waited for has come. */
#include "cmd/dns/dns_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIG 1500 /* of the answer to "big" */

static struct event_base *base;
static struct dns_server *server;
static unsigned asked, by_tcp;

/* The query with '!' behind it; nothing for "quiet" */
static void answer(void *arg, struct span query, bool tcp, struct buf *out)
{
    cr_assert_eq(arg, &asked);
    asked++;
    by_tcp += tcp;
    if (span_eq_str(query, "quiet"))
        return;
    buf_add_span(out, query);
    buf_add_u8(out, '!');
    while (span_eq_str(query, "big") && buf_len(out) < BIG)
        buf_add_u8(out, 'x');
}

static void setup(void)
{
    struct why why = {""};
    base = event_base_new();
    cr_assert_eq(dns_server_open(&server, &(struct dns_server_options){base, 0, &asked, answer}, &why), 0, "%s", why.text);
}

static void teardown(void)
{
    dns_server_close(server);
    event_base_free(base);
}

static int client(int type, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    return fd;
}

static void say(int fd, const char *text, bool tcp)
{
    uint8_t message[64] = {0, (uint8_t)strlen(text)};
    size_t len = strlen(text);
    memcpy(message + 2, text, len);
    cr_assert_gt(send(fd, message + (tcp ? 0 : 2), len + (tcp ? 2 : 0), 0), 0);
}

/* Reads until `want` bytes came, or the other side closed: how many */
static size_t hear(int fd, uint8_t *out, size_t want)
{
    size_t have = 0;
    for (unsigned turns = 0; have < want && turns < 100000; turns++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        ssize_t n = recv(fd, out + have, want - have, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        have += n > 0 ? (size_t)n : 0;
    }
    return have;
}

Test(dns_server, udp, .init = setup, .fini = teardown)
{
    uint8_t out[64];
    int fd = client(SOCK_DGRAM, dns_server_port(server));
    say(fd, "quiet", false);
    say(fd, "hello", false);
    cr_assert_eq(hear(fd, out, 6), 6);
    cr_expect_eq(memcmp(out, "hello!", 6), 0);
    cr_expect(asked == 2 && by_tcp == 0);
    close(fd);
}

Test(dns_server, tcp_in_any_pieces, .init = setup, .fini = teardown)
{
    static const uint8_t both[] = "\0\3abc\0\5quiet\0\2de";
    static const uint8_t expected[] = "\0\4abc!\0\3de!";
    uint8_t out[64];
    size_t len = sizeof both - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        int fd = client(SOCK_STREAM, dns_server_port(server));
        if (cut)
            cr_assert_eq(send(fd, both, cut, 0), (ssize_t)cut);
        event_base_loop(base, EVLOOP_NONBLOCK);
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (cut < len)
            cr_assert_eq(send(fd, both + cut, len - cut, 0), (ssize_t)(len - cut));
        cr_assert_eq(hear(fd, out, sizeof expected - 1), sizeof expected - 1, "cut at %zu", cut);
        cr_expect_eq(memcmp(out, expected, sizeof expected - 1), 0);
        shutdown(fd, SHUT_WR);
        cr_expect_eq(hear(fd, out, 1), 0, "it closes after us");
        close(fd);
    }
    cr_expect_eq(by_tcp, 3 * (len + 1));
}

Test(dns_server, too_many_connections, .init = setup, .fini = teardown)
{
    enum { MORE = 2 * DNS_CONNS_MAX };
    int fds[MORE];
    uint8_t out[8];
    for (unsigned i = 0; i < MORE; i++) { /* the first asks again and again, each third asks, others begin a query */
        fds[i] = client(SOCK_STREAM, dns_server_port(server));
        if (i % 3)
            cr_expect_eq(send(fds[i], "", 1, 0), 1);
        else
            say(fds[i], "hi", true);
        if (i % 3 == 0)
            cr_expect_eq(hear(fds[i], out, 5), 5, "connection %u", i);
        else
            event_base_loop(base, EVLOOP_NONBLOCK);
        if (i % 3 == 0 && i > 0) {
            say(fds[0], "hi", true);
            cr_expect_eq(hear(fds[0], out, 5), 5, "the first after %u", i);
        }
    }
    cr_expect_eq(hear(fds[1], out, 5), 0, "it began first and never asked");
    for (unsigned i = 0; i < MORE; i++)
        close(fds[i]);
}

/* Who asks and does not listen is not read from; when it listens again, everything comes. */
Test(dns_server, asker_that_does_not_listen, .init = setup, .fini = teardown)
{
    enum { COUNT = 20000 };
    static uint8_t out[65536];
    int fd = client(SOCK_STREAM, dns_server_port(server));
    unsigned sent = 0, quiet = 0;
    while (quiet < 100) { /* until nothing more is taken */
        ssize_t n = sent < COUNT ? send(fd, "\0\3big", 5, MSG_DONTWAIT) : -1;
        cr_assert(n == 5 || n == -1);
        sent += n == 5;
        quiet = n == 5 ? 0 : quiet + 1;
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    cr_assert_lt(asked, sent, "some wait in the socket");
    size_t expected = (size_t)sent * (2 + BIG), have = 0;
    while (have < expected) {
        size_t want = expected - have < sizeof out ? expected - have : sizeof out;
        cr_assert_eq(hear(fd, out, want), want);
        have += want;
    }
    cr_expect_eq(asked, sent);
    close(fd);
}

Test(dns_server, taken_port, .init = setup, .fini = teardown)
{
    struct dns_server *second;
    struct why why = {""};
    uint16_t port = dns_server_port(server);
    struct dns_server_options o = {base, port, &asked, answer};
    cr_expect_eq(dns_server_open(&second, &o, &why), ERR_BUSY);
    cr_expect(strstr(why.text, "in use"), "%s", why.text);
    server = dns_server_close(server);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert(bind(tcp, (struct sockaddr *)&a, sizeof a) == 0 && listen(tcp, 1) == 0);
    cr_expect_eq(dns_server_open(&second, &o, &why), ERR_BUSY, "one of the two is not enough");
    close(tcp);
    cr_assert_eq(dns_server_open(&server, &o, &why), 0, "%s", why.text);
}
