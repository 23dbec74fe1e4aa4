/* SPDX-License-Identifier: MIT
 *
 * What a stream that a peer opened is joined to: the target of the offer, made anew for each stream.
 */
#include "net/engine/engine_addr.h"
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_TIMEOUT (10 * MONO_S)

static void failed(struct bridge *b, int number)
{
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s: %s", b->service, err_text(err_from_errno(number)));
    engine_event(b->e, "stream.target", buf_cstr(&line));
    buf_done(&line);
    b->offer->count.refused++;
    bridge_end(b, ERR_REFUSED);
}

void target_connected(struct bridge *b)
{
    int number = 0;
    socklen_t len = sizeof number;
    if (getsockopt(b->fd, SOL_SOCKET, SO_ERROR, &number, &len) != 0)
        number = errno;
    if (number)
        failed(b, number);
    else
        bridge_open(b, b->raw);
}

/* A socket of `type`, connected or on its way there; -1 and errno */
static int connect_to(const struct sockaddr_storage *ss, socklen_t len, int type)
{
    int one = 1;
    int fd = socket(ss->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (type == SOCK_STREAM && ss->ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* an improvement, no condition */
    if (connect(fd, (const struct sockaddr *)ss, len) == 0 || errno == EINPROGRESS)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static void wait_for_target(struct bridge *b, int fd)
{
    if (fd < 0) {
        failed(b, errno);
        return;
    }
    bridge_set_fd(b, fd);
    bridge_deadline(b, mono_after(mono_now(), CONNECT_TIMEOUT));
    loop_fd_watch(b->watch, LOOP_WRITE); /* a unix socket is ready at once */
}

static void start_tcp(struct bridge *b)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&b->offer->addr, &ss);
    wait_for_target(b, connect_to(&ss, len, SOCK_STREAM));
}

static void start_unix(struct bridge *b)
{
    struct sockaddr_storage ss;
    socklen_t len = path_to_sockaddr((const char *)buf_span(&b->offer->text).data, &ss);
    errno = ENAMETOOLONG;
    wait_for_target(b, len ? connect_to(&ss, len, SOCK_STREAM) : -1);
}

static void start_udp(struct bridge *b)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&b->offer->addr, &ss);
    int fd = connect_to(&ss, len, SOCK_DGRAM);
    if (fd < 0) {
        failed(b, errno);
        return;
    }
    b->ends = &bridge_datagrams;
    bridge_set_fd(b, fd);
    bridge_open(b, b->raw);
}

void target_started(struct bridge *b, int take_fd, int number)
{
    if (number) {
        failed(b, number);
        return;
    }
    bridge_set_fd(b, take_fd);
    bridge_open(b, b->raw);
}

static void start_exec(struct bridge *b)
{
    b->ends = &bridge_program;
    bridge_deadline(b, mono_after(mono_now(), CONNECT_TIMEOUT));
    exec_start(b);
}

static void start_echo(struct bridge *b)
{
    b->ends = &bridge_echo;
    bridge_open(b, b->raw);
}

static void start_file(struct bridge *b)
{
    b->ends = &bridge_file;
    bridge_open(b, b->raw);
}

static void start_live(struct bridge *b)
{
    b->ends = &bridge_live;
    bridge_open(b, b->raw);
}

void target_start(struct engine *e, struct service_offer *o, struct host_raw *raw)
{
    static void (*const starts[SERVICE_KINDS])(struct bridge * b) = {
        [SERVICE_TCP] = start_tcp,   [SERVICE_UDP] = start_udp,   [SERVICE_UNIX] = start_unix, [SERVICE_EXEC] = start_exec,
        [SERVICE_FILE] = start_file, [SERVICE_ECHO] = start_echo, [SERVICE_LIVE] = start_live,
    };
    struct bridge *b = bridge_new(e, BRIDGE_TARGET);
    struct buf place = BUF_INIT;
    service_offer_text(o, &place);
    b->place = mem_str(buf_cstr(&place));
    buf_done(&place);
    b->raw = raw;
    b->inbound = true;
    b->offer = o;
    b->datagrams = o->kind == SERVICE_UDP;
    b->peer = *host_raw_peer(raw);
    memcpy(b->service, o->name, sizeof b->service);
    bridge_count(b);
    host_raw_own(e->host, raw, b);
    starts[o->kind](b);
}
