/* SPDX-License-Identifier: MIT
 *
 * A file system that does nothing but answer: what FUSE itself costs on this machine, as the limit for the mount's figures.
 *
 *     null_fuse DIR [MiB]
 *
 * One thread on libfuse's low-level API with the options and the handshake of fs/fuse/session.c, everything in memory:
 *   big      a file of so many MiB (1024)
 *   listed   20,000 empty files name000000 …
 *   many     100,000 of them
 * and room for folders and files of others, whose bytes are thrown away. Prints "ready" when it is mounted; ends when it is
 * unmounted, or by SIGTERM. */
#include "fs/fuse/handshake.h"
#include "fs/fuse/libfuse.h"
#include "store/base/span.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define IO_MAX  (UINT32_C(1) << 20) /* as SESSION_IO_MAX */
#define BUCKETS (UINT32_C(1) << 18)
#define YEAR    (365.0 * 24 * 3600)

struct node {
    char *name; /* NULL: removed */
    uint32_t parent, next;
    mode_t mode;
    off_t size;
};

static struct {
    struct node *list; /* by number; 0 is nobody, 1 the root */
    uint32_t count, cap;
    uint32_t bucket[BUCKETS];
    uint8_t *bytes; /* of `big` */
    struct handshake handshake;
    bool init_seen;
} fs;

/* ---- names ---- */

static uint32_t *bucket_of(uint32_t parent, const char *name)
{
    uint64_t h = parent * UINT64_C(0x9e3779b97f4a7c15);
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return &fs.bucket[(h ^ h >> 29) % BUCKETS];
}

static uint32_t find(fuse_ino_t parent, const char *name)
{
    uint32_t n = *bucket_of((uint32_t)parent, name);
    while (n && (fs.list[n].parent != parent || strcmp(fs.list[n].name, name) != 0))
        n = fs.list[n].next;
    return n;
}

static uint32_t add(fuse_ino_t parent, const char *name, mode_t mode, off_t size)
{
    if (fs.count == fs.cap) {
        fs.cap = fs.cap ? fs.cap * 2 : 1024;
        fs.list = mem_grow(fs.list, fs.cap, sizeof *fs.list);
    }
    uint32_t *at = bucket_of((uint32_t)parent, name);
    fs.list[fs.count] = (struct node){mem_str(name), (uint32_t)parent, *at, mode, size};
    return *at = fs.count++;
}

static void add_many(const char *dir, unsigned count)
{
    uint32_t parent = add(FUSE_ROOT_ID, dir, S_IFDIR | 0755, 0);
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "name%06u", i);
        add(parent, name, S_IFREG | 0644, 0);
    }
}

static struct fuse_entry_param entry_of(uint32_t n)
{
    const struct node *node = &fs.list[n];
    struct stat st = {.st_ino = n,
                      .st_mode = node->mode,
                      .st_nlink = 1,
                      .st_uid = getuid(),
                      .st_gid = getgid(),
                      .st_size = node->size,
                      .st_blksize = IO_MAX,
                      .st_blocks = (node->size + 511) / 512};
    return (struct fuse_entry_param){.ino = n, .generation = 1, .attr = st, .attr_timeout = YEAR, .entry_timeout = YEAR};
}

/* ---- requests ---- */

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_write = conn->max_read = IO_MAX;
    conn->max_background = conn->congestion_threshold = 65535;
    conn->time_gran = 1;
    conn->want = conn->capable &
                 (FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                  FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_DIO);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    uint32_t n = find(parent, name);
    struct fuse_entry_param e = {.entry_timeout = YEAR};
    if (n)
        e = entry_of(n);
    fuse_reply_entry(req, &e);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    struct fuse_entry_param e = entry_of((uint32_t)ino);
    fuse_reply_attr(req, &e.attr, YEAR);
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set, struct fuse_file_info *fi)
{
    struct node *n = &fs.list[ino];
    if (set & FUSE_SET_ATTR_MODE)
        n->mode = (n->mode & S_IFMT) | (attr->st_mode & 0777);
    if (set & FUSE_SET_ATTR_SIZE)
        n->size = attr->st_size;
    on_getattr(req, ino, fi);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fuse_entry_param e = entry_of(add(parent, name, S_IFDIR | (mode & 0777), 0));
    fuse_reply_entry(req, &e);
}

static void on_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    uint32_t n = find(parent, name), *at = bucket_of((uint32_t)parent, name);
    while (n && *at != n)
        at = &fs.list[*at].next;
    if (n) {
        *at = fs.list[n].next;
        free(fs.list[n].name);
        fs.list[n].name = NULL;
    }
    fuse_reply_err(req, n ? 0 : ENOENT);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->keep_cache = 1;
    fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY;
    fuse_reply_open(req, fi);
}

static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fuse_reply_open(req, fi);
}

/* Past the page cache and not asked when it is closed, as what is only written in share/ */
static void on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct fuse_entry_param e = entry_of(add(parent, name, S_IFREG | (mode & 0777), 0));
    fi->direct_io = 1;
    fi->noflush = (fi->flags & O_ACCMODE) == O_WRONLY;
    fuse_reply_create(req, &e, fi);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    const struct node *n = &fs.list[ino];
    size_t left = off < n->size ? (size_t)(n->size - off) : 0;
    fuse_reply_buf(req, (const char *)fs.bytes + off, size < left ? size : left);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)buf;
    (void)fi;
    if (fs.list[ino].size < off + (off_t)size)
        fs.list[ino].size = off + (off_t)size;
    fuse_reply_write(req, size);
}

static void on_done(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync;
    on_done(req, ino, fi);
}

/* Cookies are the number of the entry + 1: those of a folder need not stand together. */
static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    char *out = mem_new(size);
    size_t used = 0;
    for (uint32_t n = off ? (uint32_t)off : FUSE_ROOT_ID + 1; n < fs.count; n++) {
        if (fs.list[n].parent != ino || !fs.list[n].name)
            continue;
        struct fuse_entry_param e = entry_of(n);
        size_t need = plus ? fuse_add_direntry_plus(req, out + used, size - used, fs.list[n].name, &e, n + 1)
                           : fuse_add_direntry(req, out + used, size - used, fs.list[n].name, &e.attr, n + 1);
        if (need > size - used)
            break;
        used += need;
    }
    fuse_reply_buf(req, out, used);
    free(out);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, true);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino;
    (void)name;
    (void)size;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    (void)ino;
    (void)count;
    fuse_reply_none(req);
}

static const struct fuse_lowlevel_ops ops = {
    .init = on_init,
    .lookup = on_lookup,
    .forget = on_forget,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .mkdir = on_mkdir,
    .unlink = on_remove,
    .rmdir = on_remove,
    .open = on_open,
    .create = on_create,
    .read = on_read,
    .write = on_write,
    .flush = on_done,
    .release = on_done,
    .fsync = on_fsync,
    .opendir = on_opendir,
    .readdir = on_readdir,
    .readdirplus = on_readdirplus,
    .releasedir = on_done,
    .fsyncdir = on_fsync,
    .getxattr = on_getxattr,
};

/* ---- the handshake, as fs/fuse/session.c has it ---- */

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)userdata;
    ssize_t n = read(fd, buf, len);
    if (n > 0 && !fs.init_seen) {
        handshake_request(&fs.handshake, span_of(buf, (size_t)n));
        fs.init_seen = fs.handshake.unique != 0;
    }
    return n;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    (void)userdata;
    if (fs.handshake.unique)
        handshake_reply(&fs.handshake, iov, count);
    return writev(fd, iov, count);
}

static void fill(off_t size)
{
    fs.bytes = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fs.bytes == MAP_FAILED)
        abort();
    uint64_t x = 1;
    for (off_t i = 0; i < size; i += (off_t)sizeof x) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(fs.bytes + i, &x, sizeof x);
    }
    fs.count = FUSE_ROOT_ID;
    fs.cap = 1024;
    fs.list = mem_array(fs.cap, sizeof *fs.list);
    add(0, "", S_IFDIR | 0755, 0);
    add(FUSE_ROOT_ID, "big", S_IFREG | 0444, size);
    add_many("listed", 20000);
    add_many("many", 100000);
}

int main(int argc, char **argv)
{
    static const struct fuse_custom_io io = {.read = io_read, .writev = io_writev};
    char *end = NULL, options[] = "fsname=null,subtype=null,default_permissions,max_read=1048576";
    unsigned long mib = argc == 3 ? strtoul(argv[2], &end, 10) : 1024;
    if (argc < 2 || argc > 3 || mib == 0 || mib > UINT32_C(1) << 20 || (end && *end)) {
        fprintf(stderr, "usage: null_fuse DIR [MiB]\n");
        return 2;
    }
    fill((off_t)mib << 20);
    char *args_of[] = {argv[0], (char[]){"-o"}, options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, args_of);
    struct fuse_session *s = fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (!s || fuse_session_mount(s, argv[1]) != 0 || fuse_set_signal_handlers(s) != 0)
        return 1;
    fuse_session_custom_io(s, &io, fuse_session_fd(s));
    printf("ready\n");
    fflush(stdout);
    int rc = fuse_session_loop(s);
    fuse_session_unmount(s);
    fuse_remove_signal_handlers(s);
    fuse_session_destroy(s);
    return rc != 0;
}
