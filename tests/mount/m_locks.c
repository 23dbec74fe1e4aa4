/* SPDX-License-Identifier: MIT
 *
 * flock and fcntl locks between processes. */
#include "tests/mount/check.h"

#include <sys/file.h>
#include <sys/wait.h>

static int in_child(int (*try)(void))
{
    int status;
    if (fork() == 0)
        _exit(try());
    CHECK(wait(&status) > 0 && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int try_flock(void)
{
    int fd = open("f", O_RDWR);
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno == EWOULDBLOCK ? 1 : 2;
}

static int try_fcntl(void)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    int fd = open("f", O_RDWR);
    return fcntl(fd, F_SETLK, &l) == 0 ? 0 : errno == EAGAIN || errno == EACCES ? 1 : 2;
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR);
    CHECK(flock(fd, LOCK_EX) == 0 && in_child(try_flock) == 1);
    CHECK(flock(fd, LOCK_UN) == 0 && in_child(try_flock) == 0);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
    CHECK(fcntl(fd, F_SETLK, &l) == 0 && in_child(try_fcntl) == 1);
    l.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_SETLK, &l) == 0 && in_child(try_fcntl) == 0);
    return 0;
}
