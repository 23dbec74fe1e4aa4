/* SPDX-License-Identifier: MIT
 *
 * For the programs of this folder: CHECK(condition) says where it failed and ends with 1; IN(m, "x") is a path in share/.
 */
#ifndef TESTS_MOUNT_CHECK_H
#define TESTS_MOUNT_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                                                       \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, errno, strerror(errno));             \
            exit(1);                                                                                                           \
        }                                                                                                                      \
    } while (0)

/* The call fails with exactly that errno */
#define CHECK_ERRNO(call, number) CHECK((errno = 0, (call) == -1) && errno == (number))

static const char *mount_dir;

/* Into the folder that the tests use; its content goes when the mount does */
static inline void enter(int argc, char **argv)
{
    char path[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: %s MOUNT\n", argv[0]);
        exit(2);
    }
    mount_dir = argv[1];
    umask(022);
    const char *name = strrchr(argv[0], '/');
    snprintf(path, sizeof path, "%s/share/%s", mount_dir, name ? name + 1 : argv[0]);
    CHECK(mkdir(path, 0755) == 0);
    CHECK(chdir(path) == 0);
}

static inline void put_file(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

static inline int holds(const char *name, const char *text)
{
    char got[4096];
    int fd = open(name, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, got, sizeof got);
    close(fd);
    return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static inline int exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

static inline off_t size_of(const char *name)
{
    struct stat st;
    CHECK(lstat(name, &st) == 0);
    return st.st_size;
}

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#endif
