/* SPDX-License-Identifier: MIT
 *
 * A disk that stalls, as a library to preload: while the file named by STALL_FILE exists, every call that writes or syncs a regular
 * file waits until it is gone, as a device does that does not answer. Sockets, pipes and /dev/fuse go on. The node itself knows
 * nothing of it. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void stall(int fd)
{
    const char *file = getenv("STALL_FILE");
    struct stat st;
    if (!file || access(file, F_OK) != 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    while (access(file, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

#define WRAP(type, name, params, ...)                                                                                          \
    type name params;                                                                                                          \
    type name params                                                                                                           \
    {                                                                                                                          \
        static type(*next) params;                                                                                             \
        if (!next)                                                                                                             \
            next = (type(*) params)dlsym(RTLD_NEXT, #name);                                                                    \
        stall(fd);                                                                                                             \
        return next(__VA_ARGS__);                                                                                              \
    }

WRAP(ssize_t, write, (int fd, const void *buf, size_t len), fd, buf, len)
WRAP(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t at), fd, buf, len, at)
WRAP(ssize_t, pwrite64, (int fd, const void *buf, size_t len, off_t at), fd, buf, len, at)
WRAP(ssize_t, writev, (int fd, const struct iovec *v, int n), fd, v, n)
WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
WRAP(int, fsync, (int fd), fd)
WRAP(int, fdatasync, (int fd), fd)
WRAP(int, ftruncate, (int fd, off_t size), fd, size)
WRAP(int, ftruncate64, (int fd, off_t size), fd, size)
