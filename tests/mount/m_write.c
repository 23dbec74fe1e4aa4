/* SPDX-License-Identifier: MIT
 *
 * Writing in every order, against a copy in memory: holes, overlaps, truncation both ways, across chunk borders, reopening. */
#include "tests/mount/check.h"

#define SIZE (5u << 20)

static uint8_t model[SIZE], got[SIZE];
static size_t model_size;
static uint64_t seed = 42;

static uint32_t next(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

static void compare(const char *name)
{
    int fd = open(name, O_RDONLY);
    size_t n = 0;
    ssize_t r;
    while ((r = read(fd, got + n, SIZE - n)) > 0)
        n += (size_t)r;
    close(fd);
    CHECK(n == model_size);
    CHECK(memcmp(got, model, n) == 0);
}

static void write_some(int fd)
{
    static uint8_t data[1 << 20];
    size_t len = next(8) == 0 ? next(sizeof data) + 1 : next(9000) + 1;
    size_t at = next(SIZE - (uint32_t)len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)next(256);
    CHECK(pwrite(fd, data, len, (off_t)at) == (ssize_t)len);
    if (at > model_size)
        memset(model + model_size, 0, at - model_size);
    memcpy(model + at, data, len);
    if (at + len > model_size)
        model_size = at + len;
}

static void cut(int fd)
{
    size_t size = next(SIZE);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    if (size > model_size)
        memset(model + model_size, 0, size - model_size);
    model_size = size;
}

/* Changes that leave the bytes as they were give a new time all the same. */
static void times(void)
{
    static const struct timespec old[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
    struct stat st;
    put_file("empty", "");
    put_file("same", "bytes");
    put_file("copy", "bytes");
    for (int what = 0; what < 4; what++) {
        const char *name = what == 0 ? "empty" : "same";
        int fd = open(name, O_RDWR), from = open("copy", O_RDONLY);
        CHECK(fd >= 0 && from >= 0 && fsync(fd) == 0 && futimens(fd, old) == 0);
        CHECK(fstat(fd, &st) == 0 && st.st_mtim.tv_sec == 1000000000);
        if (what == 0)
            put_file(name, ""); /* O_TRUNC */
        else if (what == 1)
            CHECK(ftruncate(fd, 5) == 0);
        else if (what == 2)
            CHECK(copy_file_range(from, NULL, fd, NULL, 5, 0) == 5);
        else
            CHECK(fallocate(fd, 0, 0, 5) == 0);
        CHECK(fstat(fd, &st) == 0 && st.st_mtim.tv_sec > 1500000000);
        CHECK(close(fd) == 0 && close(from) == 0);
    }
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    times();
    int fd = open("f", O_RDWR | O_CREAT, 0644);
    for (int round = 0; round < 400; round++) {
        uint32_t what = next(20);
        if (what == 0)
            cut(fd);
        else if (what == 1)
            CHECK(fsync(fd) == 0);
        else if (what == 2)
            CHECK(close(fd) == 0 && (fd = open("f", O_RDWR)) >= 0);
        else if (what == 3)
            compare("f");
        else
            write_some(fd);
    }
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)model_size);
    CHECK(close(fd) == 0);
    compare("f");

    /* a long hole costs nothing, reads as zeros */
    fd = open("sparse", O_RDWR | O_CREAT, 0644);
    CHECK(ftruncate(fd, (off_t)100 << 30) == 0);
    CHECK(pwrite(fd, "end", 3, ((off_t)100 << 30) - 3) == 3);
    char byte = 1;
    CHECK(pread(fd, &byte, 1, (off_t)50 << 30) == 1 && byte == 0);
    CHECK(fsync(fd) == 0 && close(fd) == 0 && size_of("sparse") == (off_t)100 << 30);
    CHECK(truncate("sparse", 10) == 0 && size_of("sparse") == 10);
    CHECK(unlink("sparse") == 0);
    CHECK_ERRNO(truncate("f", (off_t)1 << 60), EFBIG);
    return 0;
}
