/* SPDX-License-Identifier: MIT
 *
 * The errno table of places and operations: what cannot be done fails at once and says why. */
#include "tests/mount/check.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

/* "hello world\n" as a raw block carried by its own CID */
#define INLINE_CID "bafkqaddimvwgy3zao5xxe3debi"

static char path[4096];

static const char *at(const char *rest)
{
    snprintf(path, sizeof path, "%s/%s", mount_dir, rest);
    return path;
}

static void read_only(void)
{
    CHECK_ERRNO(open(at("ipfs/new"), O_WRONLY | O_CREAT, 0644), EROFS);
    CHECK_ERRNO(mkdir(at("ipfs/new"), 0755), EROFS);
    CHECK_ERRNO(symlink("x", at("ipfs/new")), EROFS);
    CHECK(holds(at("ipfs/" INLINE_CID), "hello world\n"));
    CHECK_ERRNO(unlink(at("ipfs/" INLINE_CID)), EROFS);
    CHECK_ERRNO(open(at("ipfs/" INLINE_CID), O_WRONLY), EROFS);
    CHECK_ERRNO(truncate(at("ipfs/" INLINE_CID), 0), EROFS);
    CHECK_ERRNO(chmod(at("ipfs/" INLINE_CID), 0777), EROFS);
    struct stat st;
    CHECK(stat(at("ipfs/" INLINE_CID), &st) == 0 && st.st_size == 12 && (st.st_mode & 07777) == 0444);
}

static void probes(void)
{
    static const char *const odd[] = {".git", ".Trash", "autorun.inf", ".hidden", "bafy", "Qmfoo", "b", "k51zzzz"};
    struct stat st;
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        char name[64];
        snprintf(name, sizeof name, "ipfs/%s", odd[i]);
        CHECK_ERRNO(stat(at(name), &st), ENOENT);
        CHECK_ERRNO(stat(at(odd[i]), &st), ENOENT);
    }
    CHECK_ERRNO(open(at("new"), O_WRONLY | O_CREAT, 0644), EPERM);
    CHECK_ERRNO(mkdir(at("new"), 0755), EPERM);
    CHECK_ERRNO(unlink(at("README")), EPERM);
    CHECK_ERRNO(rmdir(at("share")), EPERM);
    CHECK_ERRNO(open(at("README"), O_WRONLY), EACCES);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    char value[256];
    put_file("f", "x");
    CHECK_ERRNO(link("f", "g"), EPERM);
    CHECK_ERRNO(mkfifo("fifo", 0644), EPERM);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "sock"};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(bind(s, (struct sockaddr *)&un, sizeof un), EPERM);
    close(s);
    CHECK_ERRNO(setxattr("f", "user.x", "1", 1, 0), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("f", "user.x", value, sizeof value), ENODATA);
    CHECK_ERRNO(getxattr("f", "security.selinux", value, sizeof value), EOPNOTSUPP); /* not ENODATA: ls asks every file then */
    CHECK_ERRNO(getxattr("f", "system.posix_acl_access", value, sizeof value), EOPNOTSUPP);
    CHECK_ERRNO(getxattr("f", "user.p2p.cid", value, 3), ERANGE);
    ssize_t n = getxattr("f", "user.p2p.cid", NULL, 0);
    CHECK(n > 40 && getxattr("f", "user.p2p.cid", value, sizeof value) == n);
    /* sha2-256 of "x" */
    CHECK(memcmp(value, "bafkreibnoelefnzgwbcacyt4vh52ymxvzbjq7mmqhtcnwarfq4lzegsiqe", 59) == 0);
    CHECK(listxattr("f", value, sizeof value) == 0); /* rsync -X and tar --xattrs could not give them to the copy */
    int fd = open("f", O_RDWR);                      /* asked while it is open for writing: the CID of what was written */
    CHECK(pwrite(fd, "hello world", 11, 0) == 11);
    CHECK((n = getxattr("f", "user.p2p.cid", value, sizeof value)) == 59);
    CHECK(memcmp(value, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", 59) == 0);
    close(fd);
    read_only();
    probes();
    return 0;
}
