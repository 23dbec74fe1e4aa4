/* SPDX-License-Identifier: MIT
 *
 * rename(2): over files and empty directories, NOREPLACE, EXCHANGE, open handles follow, out of the tree is EXDEV. */
#include "tests/mount/check.h"

int main(int argc, char **argv)
{
    enter(argc, argv);
    put_file("a", "one");
    put_file("b", "two");
    int old_b = open("b", O_RDONLY), fd_a = open("a", O_RDWR);
    CHECK(rename("a", "b") == 0);
    CHECK(!exists("a") && holds("b", "one"));
    char text[8] = "";
    CHECK(read(old_b, text, 8) == 3 && memcmp(text, "two", 3) == 0); /* the replaced file lives on for who has it open */
    struct stat st;
    CHECK(fstat(old_b, &st) == 0 && st.st_nlink == 0);
    close(old_b);
    CHECK(pwrite(fd_a, "ONE!", 4, 0) == 4); /* the handle follows */
    CHECK(fsync(fd_a) == 0 && close(fd_a) == 0 && holds("b", "ONE!"));

    put_file("c", "c");
    CHECK_ERRNO(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_NOREPLACE), EEXIST);
    CHECK(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE) == 0);
    CHECK(holds("b", "c") && holds("c", "ONE!"));
    CHECK_ERRNO(renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
    CHECK(renameat2(AT_FDCWD, "b", AT_FDCWD, "new", RENAME_NOREPLACE) == 0);

    CHECK(mkdir("d1", 0755) == 0 && mkdir("d2", 0755) == 0 && mkdir("d1/in", 0755) == 0);
    CHECK_ERRNO(rename("d2", "d1"), ENOTEMPTY);
    CHECK(rename("d1", "d2") == 0 && exists("d2/in"));
    CHECK_ERRNO(rename("d2", "d2/in/x"), EINVAL);
    CHECK_ERRNO(rename("c", "d2"), EISDIR);
    CHECK_ERRNO(rename("d2", "c"), ENOTDIR);
    CHECK_ERRNO(rename("none", "x"), ENOENT);
    CHECK(rename("c", "d2/c") == 0 && holds("d2/c", "ONE!"));
    CHECK(rename("d2/c", "d2/c") == 0 && exists("d2/c"));

    char out[4096];
    snprintf(out, sizeof out, "%s/ipfs/x", mount_dir);
    errno = 0;
    CHECK(rename("d2/c", out) == -1 && (errno == EXDEV || errno == EROFS));
    CHECK(holds("d2/c", "ONE!"));
    return 0;
}
