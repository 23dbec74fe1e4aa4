/* SPDX-License-Identifier: MIT */
#include "net/transport/local_end.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection over loopback: ends[0] is ours */
static void connection(int family, int ends[2])
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *sa = family == AF_INET6 ? (struct sockaddr *)&a : (struct sockaddr *)&a4;
    socklen_t len = family == AF_INET6 ? sizeof a : sizeof a4;
    int listener = socket(family, SOCK_STREAM, 0);
    if (bind(listener, sa, len) != 0)
        cr_skip_test("no such family here");
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, sa, &len), 0);
    ends[1] = socket(family, SOCK_STREAM, 0);
    cr_assert_eq(connect(ends[1], sa, len), 0);
    ends[0] = accept(listener, NULL, NULL);
    cr_assert_geq(ends[0], 0);
    close(listener);
}

static void check(int family)
{
    int ends[2];
    connection(family, ends);
    cr_assert(!local_end_gone(ends[0]), "open");
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert(!local_end_gone(ends[0]), "bytes wait");
    shutdown(ends[1], SHUT_WR);
    cr_assert(!local_end_gone(ends[0]), "it has finished, and still reads");
    close(ends[1]);
    cr_assert(local_end_gone(ends[0]), "closed");
    close(ends[0]);

    connection(family, ends);
    close(ends[1]);
    cr_assert(local_end_gone(ends[0]), "closed without a word");
    close(ends[0]);

    struct linger hard = {.l_onoff = 1};
    connection(family, ends);
    setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(ends[1]);
    cr_assert(local_end_gone(ends[0]), "reset");
    close(ends[0]);
}

Test(local_end, tcp4)
{
    check(AF_INET);
}

Test(local_end, tcp6)
{
    check(AF_INET6);
}

Test(local_end, unix_socket)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    cr_assert(!local_end_gone(ends[0]), "open");
    shutdown(ends[1], SHUT_WR);
    cr_assert(!local_end_gone(ends[0]), "it has finished, and still reads");
    close(ends[1]);
    cr_assert(local_end_gone(ends[0]), "closed");
    close(ends[0]);
}
