/* SPDX-License-Identifier: MIT
 *
 * O_EXCL, O_TRUNC, O_APPEND (atomic among processes), permission bits, times, positions. */
#include "tests/mount/check.h"

#include <sys/wait.h>

#define WRITERS 4
#define LINES   200

static void append_lines(int writer)
{
    int fd = open("log", O_WRONLY | O_APPEND);
    char line[32];
    CHECK(fd >= 0);
    for (int i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof line, "%d %06d\n", writer, i);
        CHECK(write(fd, line, (size_t)n) == n);
    }
    _exit(0);
}

static void appends(void)
{
    put_file("log", "");
    for (int w = 0; w < WRITERS; w++)
        if (fork() == 0)
            append_lines(w);
    int status;
    for (int w = 0; w < WRITERS; w++)
        CHECK(wait(&status) > 0 && status == 0);
    FILE *f = fopen("log", "r");
    int writer, number, lines = 0, last[WRITERS] = {-1, -1, -1, -1};
    while (fscanf(f, "%d %d\n", &writer, &number) == 2) {
        CHECK(writer >= 0 && writer < WRITERS && number == last[writer] + 1);
        last[writer] = number;
        lines++;
    }
    fclose(f);
    CHECK(lines == WRITERS * LINES);
}

static void times(void)
{
    struct stat st;
    struct timespec t[2] = {{1000000000, 5}, {1234567890, 123456789}};
    int fd = open("t", O_WRONLY | O_CREAT, 0640);
    CHECK(write(fd, "x", 1) == 1 && futimens(fd, t) == 0); /* as cp -p and rsync do it: the file is not settled yet */
    CHECK(fstat(fd, &st) == 0 && st.st_mtim.tv_sec == 1234567890 && st.st_mtim.tv_nsec == 123456789);
    CHECK(close(fd) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(stat("t", &st) == 0 && st.st_mtim.tv_sec == 1234567890 && (st.st_mode & 0777) == 0640);
        usleep(10000);
    }
    static const struct {
        time_t set, seen;
    } far[] = {
        {INT64_C(10413792000), 9223372036}, {INT64_C(-99999999999), -9223372037}, {-1, -1}}; /* not another time: the last */
    for (unsigned i = 0; i < 3; i++) {
        t[1] = (struct timespec){far[i].set, 0};
        CHECK(utimensat(AT_FDCWD, "t", t, 0) == 0 && stat("t", &st) == 0 && st.st_mtim.tv_sec == far[i].seen);
    }
    t[1] = (struct timespec){1234567890, 123456789};
    CHECK(utimensat(AT_FDCWD, "t", t, 0) == 0);
    CHECK(chmod("t", 0755) == 0 && stat("t", &st) == 0 && (st.st_mode & 07777) == 0755);
    CHECK(chmod("t", 04755) == 0 && stat("t", &st) == 0 && (st.st_mode & 07777) == 0755); /* no setuid here */
    CHECK(st.st_mtim.tv_sec == 1234567890);
    CHECK(chown("t", getuid(), getgid()) == 0);
    if (getuid() == 0)
        CHECK_ERRNO(chown("t", 12345, 12345), EPERM);
    struct stat before, after;
    CHECK(stat(".", &before) == 0);
    usleep(20000);
    put_file("new", "");
    CHECK(stat(".", &after) == 0 &&
          (after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec));
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    put_file("f", "text");
    CHECK_ERRNO(open("f", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
    int reader = open("f", O_RDONLY), fd = open("f", O_WRONLY | O_TRUNC);
    char text[8];
    CHECK(size_of("f") == 0 && read(reader, text, 8) == 0);
    CHECK(write(fd, "new", 3) == 3 && pread(reader, text, 8, 0) == 3 && memcmp(text, "new", 3) == 0);
    close(fd);
    close(reader);
    fd = open("f",
              O_RDONLY | O_TRUNC); /* empties as well: Linux asks for permission to write, not for a descriptor that writes */
    CHECK(fd >= 0 && size_of("f") == 0 && read(fd, text, 8) == 0);
    close(fd);
    CHECK(holds("f", ""));
    put_file("f", "new");
    CHECK_ERRNO(open("none", O_RDONLY), ENOENT);
    CHECK_ERRNO(open("f/x", O_RDONLY), ENOTDIR);
    CHECK_ERRNO(open(".", O_WRONLY), EISDIR);
    CHECK_ERRNO(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK(symlink("f", "l") == 0 && holds("l", "new"));
    CHECK_ERRNO(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    fd = open("f", O_RDWR);
    CHECK(lseek(fd, 0, SEEK_END) == 3 && lseek(fd, 1, SEEK_DATA) == 1 && lseek(fd, 0, SEEK_HOLE) == 3);
    CHECK_ERRNO(lseek(fd, 3, SEEK_DATA), ENXIO);
    CHECK(posix_fallocate(fd, 0, 100) == 0 && size_of("f") == 100);
    close(fd);
    appends();
    times();
    return 0;
}
