/* SPDX-License-Identifier: MIT
 *
 * A file without a name works until it is closed; a removed directory that is somebody's cwd gives errors, not damage. */
#include "tests/mount/check.h"

#include <dirent.h>

int main(int argc, char **argv)
{
    enter(argc, argv);
    int fd = open("x", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && write(fd, "hello", 5) == 5);
    CHECK(unlink("x") == 0 && !exists("x"));
    put_file("x", "another");
    char text[16] = "";
    CHECK(pread(fd, text, 16, 0) == 5 && memcmp(text, "hello", 5) == 0);
    CHECK(pwrite(fd, "HELLO world", 11, 0) == 11 && pread(fd, text, 16, 0) == 11);
    CHECK(ftruncate(fd, 3) == 0 && pread(fd, text, 16, 0) == 3);
    CHECK(fsync(fd) == 0);
    struct stat st;
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 3);
    CHECK(close(fd) == 0 && holds("x", "another"));

    put_file("y", "settled");
    fd = open("y", O_RDONLY);
    CHECK(unlink("y") == 0);
    CHECK(read(fd, text, 16) == 7 && memcmp(text, "settled", 7) == 0);
    close(fd);

    /* Neither name nor open file, only a reference of the kernel: what was written last is still there for who opens it again */
    put_file("z", "one");
    char again[64];
    int path = open("z", O_PATH);
    fd = open("z", O_WRONLY);
    CHECK(path >= 0 && fsync(fd) == 0 && pwrite(fd, "TWO, longer", 11, 0) == 11 && unlink("z") == 0 && close(fd) == 0);
    snprintf(again, sizeof again, "/proc/self/fd/%d", path);
    CHECK(holds(again, "TWO, longer"));
    CHECK(truncate(again, 3) == 0 && holds(again, "TWO"));
    close(path);

    DIR *d = opendir(".");
    CHECK(d);
    struct dirent *e;
    while ((e = readdir(d)))
        CHECK(strncmp(e->d_name, ".fuse_hidden", 12) != 0);
    closedir(d);

    CHECK(mkdir("gone", 0755) == 0 && chdir("gone") == 0 && rmdir("../gone") == 0);
    CHECK_ERRNO(open("new", O_WRONLY | O_CREAT, 0644), ENOENT);
    CHECK(chdir(mount_dir) == 0);
    return 0;
}
