/* SPDX-License-Identifier: MIT
 *
 * A disk with bad pages: a file system that shows a folder, and fails reads of some pages of the block store's files.
 *
 *     bad_disk FOLDER LIST MOUNTPOINT
 *
 * LIST is a file of BAD_MOST numbers of 64 bits, mapped here and by the test: page + 1, or 0; the first half of them is of
 * data.mdb, the second of segment-00000000. A page that is written is good again, as a disk puts it elsewhere. The last number
 * counts the reads that failed. Runs until it is unmounted. */
#define FUSE_USE_VERSION 34
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE     4096
#define BAD_MOST 1024

static char folder[2048];
static _Atomic uint64_t *bad;

struct place {
    char path[4096];
};

static struct place under(const char *path)
{
    struct place p;
    snprintf(p.path, sizeof p.path, "%s%.2000s", folder, path);
    return p;
}

static int answer(int rc)
{
    return rc < 0 ? -errno : rc;
}

/* The part of the list that is of this file */
static _Atomic uint64_t *pages_of(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    return strcmp(name, "data.mdb") == 0 ? bad : strcmp(name, "segment-00000000") == 0 ? bad + BAD_MOST / 2 : NULL;
}

static int bad_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    (void)fi;
    return answer(lstat(under(path).path, st));
}

static int bad_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    int fd = open(under(path).path, (fi->flags & ~O_DIRECT) | O_CLOEXEC, mode);
    fi->fh = (uint64_t)fd;
    return fd < 0 ? -errno : 0;
}

static int bad_open(const char *path, struct fuse_file_info *fi)
{
    return bad_create(path, 0, fi);
}

static int bad_read(const char *path, char *out, size_t len, off_t at, struct fuse_file_info *fi)
{
    const _Atomic uint64_t *list = pages_of(path);
    for (int i = 0; list && i < BAD_MOST / 2 - 1; i++) {
        off_t end = (off_t)list[i] * PAGE;
        if (end > at && end - PAGE < at + (off_t)len) {
            atomic_fetch_add(&bad[BAD_MOST - 1], 1);
            return -EIO;
        }
    }
    return answer((int)pread((int)fi->fh, out, len, at));
}

static int bad_write(const char *path, const char *data, size_t len, off_t at, struct fuse_file_info *fi)
{
    _Atomic uint64_t *list = pages_of(path);
    for (int i = 0; list && i < BAD_MOST / 2 - 1; i++) {
        off_t end = (off_t)list[i] * PAGE;
        if (end - PAGE >= at && end <= at + (off_t)len)
            list[i] = 0;
    }
    return answer((int)pwrite((int)fi->fh, data, len, at));
}

static int bad_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    (void)path;
    (void)data;
    return answer(fdatasync((int)fi->fh));
}

static int bad_fsyncdir(const char *path, int data, struct fuse_file_info *fi)
{
    (void)path;
    (void)data;
    (void)fi;
    return 0;
}

static int bad_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    return answer(close((int)fi->fh));
}

static int bad_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    (void)fi;
    return answer(truncate(under(path).path, size));
}

static int bad_fallocate(const char *path, int mode, off_t at, off_t len, struct fuse_file_info *fi)
{
    (void)path;
    return answer(fallocate((int)fi->fh, mode, at, len));
}

static int bad_unlink(const char *path)
{
    return answer(unlink(under(path).path));
}

static int bad_rename(const char *from, const char *to, unsigned flags)
{
    (void)flags;
    return answer(rename(under(from).path, under(to).path));
}

static int bad_mkdir(const char *path, mode_t mode)
{
    return answer(mkdir(under(path).path, mode));
}

static int bad_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    (void)fi;
    return answer(chmod(under(path).path, mode));
}

static int bad_statfs(const char *path, struct statvfs *st)
{
    return answer(statvfs(under(path).path, st));
}

static int bad_readdir(const char *path, void *out, fuse_fill_dir_t fill, off_t at, struct fuse_file_info *fi,
                       enum fuse_readdir_flags flags)
{
    DIR *d = opendir(under(path).path);
    (void)at;
    (void)fi;
    (void)flags;
    if (!d)
        return -errno;
    for (struct dirent *e; (e = readdir(d));)
        fill(out, e->d_name, NULL, 0, 0);
    closedir(d);
    return 0;
}

static void *bad_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->kernel_cache = 1; /* as a disk's: what was read is there still */
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    config->hard_remove = 1;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = bad_init,
    .getattr = bad_getattr,
    .open = bad_open,
    .create = bad_create,
    .read = bad_read,
    .write = bad_write,
    .fsync = bad_fsync,
    .fsyncdir = bad_fsyncdir,
    .release = bad_release,
    .truncate = bad_truncate,
    .fallocate = bad_fallocate,
    .unlink = bad_unlink,
    .rename = bad_rename,
    .mkdir = bad_mkdir,
    .chmod = bad_chmod,
    .statfs = bad_statfs,
    .readdir = bad_readdir,
};

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bad_disk FOLDER LIST MOUNTPOINT\n");
        return 2;
    }
    snprintf(folder, sizeof folder, "%s", argv[1]);
    int fd = open(argv[2], O_RDWR | O_CLOEXEC);
    bad = fd < 0 ? MAP_FAILED : mmap(NULL, BAD_MOST * sizeof *bad, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bad == MAP_FAILED) {
        perror(argv[2]);
        return 1;
    }
    char *args[] = {argv[0], (char[]){"-f"}, (char[]){"-s"}, argv[3], NULL};
    return fuse_main(4, args, &operations, NULL);
}
