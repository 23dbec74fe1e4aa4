/* SPDX-License-Identifier: MIT
 *
 * copy_file_range of a whole file takes one request, whatever its size: 64 GiB (nearly all hole) in well under a second,
 * share to share and ipfs to share; parts of files are copied by the kernel, correctly. */
#include "tests/mount/check.h"

#include <sys/xattr.h>

#define BIG ((off_t)64 << 30)

static off_t copy_all(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(in >= 0 && out >= 0);
    off_t total = 0;
    ssize_t n;
    while ((n = copy_file_range(in, NULL, out, NULL, (size_t)1 << 62, 0)) > 0)
        total += n;
    CHECK(n == 0);
    CHECK(close(in) == 0 && close(out) == 0);
    return total;
}

static void cid_of(const char *name, char out[80])
{
    ssize_t n = getxattr(name, "user.p2p.cid", out, 79);
    CHECK(n > 0);
    out[n] = 0;
}

int main(int argc, char **argv)
{
    char a[80], b[80], path[4096];
    enter(argc, argv);
    int fd = open("big", O_RDWR | O_CREAT, 0644);
    CHECK(pwrite(fd, "begin", 5, 0) == 5 && ftruncate(fd, BIG) == 0 && pwrite(fd, "end", 3, BIG - 3) == 3);
    CHECK(close(fd) == 0);
    cid_of("big", a);
    uint64_t start = now_ms();
    CHECK(copy_all("big", "copy") == BIG);
    uint64_t took = now_ms() - start;
    CHECK(took < 2000);
    CHECK(size_of("copy") == BIG);
    cid_of("copy", b);
    CHECK(strcmp(a, b) == 0);
    snprintf(path, sizeof path, "%s/ipfs/%s", mount_dir, a);
    start = now_ms();
    CHECK(copy_all(path, "copy2") == BIG && now_ms() - start < 2000);
    cid_of("copy2", b);
    CHECK(strcmp(a, b) == 0);

    /* two equal files are two files */
    struct stat one, two;
    CHECK(stat("copy", &one) == 0 && stat("copy2", &two) == 0 && one.st_ino != two.st_ino);
    fd = open("copy2", O_RDWR);
    CHECK(pwrite(fd, "BEGIN", 5, 0) == 5 && close(fd) == 0);
    char text[8];
    fd = open("copy", O_RDONLY);
    CHECK(pread(fd, text, 5, 0) == 5 && memcmp(text, "begin", 5) == 0);
    CHECK(pread(fd, text, 8, BIG - 3) == 3 && memcmp(text, "end", 3) == 0);
    close(fd);

    put_file("s", "0123456789");
    put_file("t", "abcdefghijklmn");
    int in = open("s", O_RDONLY), out = open("t", O_RDWR);
    off_t from = 2, to = 5;
    CHECK(copy_file_range(in, &from, out, &to, 4, 0) == 4);
    CHECK(close(out) == 0 && holds("t", "abcde2345jklmn"));
    out = open("t", O_RDWR);
    from = to = 0;
    CHECK(copy_file_range(in, &from, out, &to, 100, 0) == 10); /* the end of the longer file stays */
    CHECK(close(out) == 0 && holds("t", "0123456789klmn"));
    close(in);
    put_file("e", "");
    CHECK(copy_all("e", "e2") == 0 && size_of("e2") == 0);
    return 0;
}
