/* SPDX-License-Identifier: MIT
 *
 * Shared mappings: what is written through one is read by read(2), and after everything was closed. */
#include "tests/mount/check.h"

#include <sys/mman.h>

#define SIZE (3u << 20)

int main(int argc, char **argv)
{
    enter(argc, argv);
    int fd = open("m", O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
    uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    CHECK(close(fd) == 0);
    for (size_t i = 0; i < SIZE; i += 4097)
        p[i] = (uint8_t)(i * 7 + 1);
    CHECK(msync(p, SIZE, MS_SYNC) == 0);
    p[5] = 99;
    CHECK(munmap(p, SIZE) == 0);
    uint8_t *q = malloc(SIZE);
    fd = open("m", O_RDONLY);
    size_t n = 0;
    ssize_t r;
    while ((r = read(fd, q + n, SIZE - n)) > 0)
        n += (size_t)r;
    CHECK(n == SIZE && q[5] == 99);
    for (size_t i = 0; i < SIZE; i++)
        CHECK(q[i] == (i == 5 ? 99 : i % 4097 == 0 ? (uint8_t)(i * 7 + 1) : 0));
    const uint8_t *c = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(c != MAP_FAILED && memcmp(c, q, SIZE) == 0);
    free(q);
    return 0;
}
