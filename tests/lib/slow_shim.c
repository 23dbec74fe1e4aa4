/* SPDX-License-Identifier: MIT
 *
 * A slow processor, preloaded into a node: each byte that is sent on a socket costs $SLOW_SHIM nanoseconds of the thread's own time.
 * So what limits the node is its processor, whatever else this machine does. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t byte_ns;

__attribute__((constructor)) static void attach(void)
{
    const char *text = getenv("SLOW_SHIM");
    byte_ns = text ? atoll(text) : 0;
}

static int64_t used_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* it cannot fail */
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    int64_t begin = used_ns();
    ssize_t n = syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    while (n > 0 && used_ns() - begin < n * byte_ns)
        ;
    return n;
}
