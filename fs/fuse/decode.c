/* SPDX-License-Identifier: MIT */
#include "fs/fuse/decode.h"

#include "fs/fuse/libfuse.h"
#include "fs/fuse/request.h"

#include <limits.h>

static struct request begin(fuse_req_t req, enum request_op op, fuse_ino_t node)
{
    const struct fuse_ctx *who = fuse_req_ctx(req);
    return (struct request){.kernel = req, .op = op, .node = node, .pid = who->pid, .uid = who->uid, .gid = who->gid};
}

static void go(fuse_req_t req, struct request *r)
{
    session_dispatch(fuse_req_userdata(req), r);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct request r = begin(req, OP_LOOKUP, parent);
    r.name = name;
    go(req, &r);
}

static void on_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
    struct request r = begin(req, OP_FORGET, node);
    r.size = count;
    go(req, &r);
}

/* One reply for all of them: the last carries it. */
static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++) {
        struct request r = begin(req, OP_FORGET, forgets[i].ino);
        r.size = forgets[i].nlookup;
        if (i + 1 < count)
            r.kernel = NULL;
        go(req, &r);
    }
    if (count == 0)
        fuse_reply_none(req);
}

static void on_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_GETATTR, node);
    r.handle = fi ? fi->fh : 0;
    go(req, &r);
}

static void on_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_SETATTR, node);
    r.handle = fi ? fi->fh : 0;
    r.set = (to_set & FUSE_SET_ATTR_MODE ? SET_MODE : 0) | (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) ? SET_OWNER : 0) |
            (to_set & FUSE_SET_ATTR_SIZE ? SET_SIZE : 0) |
            (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_CTIME) ? SET_OTHER : 0);
    r.mode = attr->st_mode;
    r.set_size = (uint64_t)attr->st_size;
    r.set_uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
    r.set_gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
        r.set |= SET_MTIME;
        r.set_mtime = INT64_MIN;
    } else if (to_set & FUSE_SET_ATTR_MTIME) {
        r.set |= SET_MTIME;
        r.set_mtime = request_time(attr->st_mtim.tv_sec, attr->st_mtim.tv_nsec);
    }
    go(req, &r);
}

static void on_readlink(fuse_req_t req, fuse_ino_t node)
{
    struct request r = begin(req, OP_READLINK, node);
    go(req, &r);
}

static void on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
    (void)dev;
    struct request r = begin(req, OP_MKNOD, parent);
    r.name = name;
    r.mode = mode & ~fuse_req_ctx(req)->umask;
    go(req, &r);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct request r = begin(req, OP_MKDIR, parent);
    r.name = name;
    r.mode = mode & ~fuse_req_ctx(req)->umask;
    go(req, &r);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct request r = begin(req, OP_UNLINK, parent);
    r.name = name;
    go(req, &r);
}

static void on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct request r = begin(req, OP_RMDIR, parent);
    r.name = name;
    go(req, &r);
}

static void on_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct request r = begin(req, OP_SYMLINK, parent);
    r.name = name;
    r.name2 = target;
    go(req, &r);
}

static void on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t parent2, const char *name2,
                      unsigned flags)
{
    struct request r = begin(req, OP_RENAME, parent);
    r.name = name;
    r.node2 = parent2;
    r.name2 = name2;
    r.flags = flags;
    go(req, &r);
}

static void on_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
    struct request r = begin(req, OP_LINK, parent);
    r.node2 = node;
    r.name = name;
    go(req, &r);
}

static void on_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_OPEN, node);
    r.flags = (unsigned)fi->flags;
    go(req, &r);
}

static void on_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_CREATE, parent);
    r.name = name;
    r.mode = mode & ~fuse_req_ctx(req)->umask;
    r.flags = (unsigned)fi->flags;
    go(req, &r);
}

static void on_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_READ, node);
    r.handle = fi->fh;
    r.offset = (uint64_t)off;
    r.size = size;
    r.from_cache = fi->lock_owner == 0; /* read(2) past the page cache has its program's */
    r.flags = (unsigned)fi->flags;
    go(req, &r);
}

static void on_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_WRITE, node);
    r.handle = fi->fh;
    r.offset = (uint64_t)off;
    r.from_cache = fi->writepage;
    r.flags = (unsigned)fi->flags;
    r.data = span_of(data, size);
    go(req, &r);
}

static void on_handle(fuse_req_t req, enum request_op op, fuse_ino_t node, const struct fuse_file_info *fi)
{
    struct request r = begin(req, op, node);
    r.handle = fi->fh;
    go(req, &r);
}

static void on_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    on_handle(req, OP_FLUSH, node, fi);
}

static void on_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    on_handle(req, OP_RELEASE, node, fi);
}

static void on_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    (void)fi;
    struct request r = begin(req, OP_OPENDIR, node);
    go(req, &r);
}

static void on_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    on_handle(req, OP_RELEASEDIR, node, fi);
}

static void sync_request(fuse_req_t req, enum request_op op, fuse_ino_t node, int datasync, const struct fuse_file_info *fi)
{
    struct request r = begin(req, op, node);
    r.handle = fi->fh;
    r.flags = (unsigned)datasync;
    go(req, &r);
}

static void on_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    sync_request(req, OP_FSYNC, node, datasync, fi);
}

static void on_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    sync_request(req, OP_FSYNCDIR, node, datasync, fi);
}

static void list(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, uint64_t handle, bool plus)
{
    struct request r = begin(req, OP_READDIR, node);
    r.handle = handle;
    r.offset = (uint64_t)off;
    r.size = size;
    r.plus = plus;
    go(req, &r);
}

static void on_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
    list(req, node, size, off, fi->fh, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off, struct fuse_file_info *fi)
{
    list(req, node, size, off, fi->fh, true);
}

static void on_statfs(fuse_req_t req, fuse_ino_t node)
{
    struct request r = begin(req, OP_STATFS, node);
    go(req, &r);
}

static void on_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
    struct request r = begin(req, OP_SETXATTR, node);
    r.name = name;
    r.data = span_of(value, size);
    r.flags = (unsigned)flags;
    go(req, &r);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
    struct request r = begin(req, OP_GETXATTR, node);
    r.name = name;
    r.size = size;
    go(req, &r);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
    struct request r = begin(req, OP_LISTXATTR, node);
    r.size = size;
    go(req, &r);
}

static void on_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
    struct request r = begin(req, OP_REMOVEXATTR, node);
    r.name = name;
    go(req, &r);
}

static void on_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_FALLOCATE, node);
    r.handle = fi->fh;
    r.flags = (unsigned)mode;
    r.offset = (uint64_t)off;
    r.size = (size_t)len;
    go(req, &r);
}

static void on_copy(fuse_req_t req, fuse_ino_t from, off_t from_off, struct fuse_file_info *from_fi, fuse_ino_t to,
                    off_t to_off, struct fuse_file_info *to_fi, size_t len, int flags)
{
    struct request r = begin(req, OP_COPY, from);
    r.handle = from_fi->fh;
    r.offset = (uint64_t)from_off;
    r.node2 = to;
    r.handle2 = to_fi->fh;
    r.offset2 = (uint64_t)to_off;
    r.size = len;
    r.flags = (unsigned)flags;
    go(req, &r);
}

static void on_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence, struct fuse_file_info *fi)
{
    struct request r = begin(req, OP_LSEEK, node);
    r.handle = fi->fh;
    r.offset = (uint64_t)off;
    r.flags = (unsigned)whence;
    go(req, &r);
}

static void on_poll(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi, struct fuse_pollhandle *poll)
{
    struct request r = begin(req, OP_POLL, node);
    r.handle = fi->fh;
    r.poll = poll;
    go(req, &r);
}

static void on_access(fuse_req_t req, fuse_ino_t node, int mask)
{
    struct request r = begin(req, OP_ACCESS, node);
    r.flags = (unsigned)mask;
    go(req, &r);
}

void decode_ops(struct fuse_lowlevel_ops *ret)
{
    *ret = (struct fuse_lowlevel_ops){
        .lookup = on_lookup,
        .forget = on_forget,
        .forget_multi = on_forget_multi,
        .getattr = on_getattr,
        .setattr = on_setattr,
        .readlink = on_readlink,
        .mknod = on_mknod,
        .mkdir = on_mkdir,
        .unlink = on_unlink,
        .rmdir = on_rmdir,
        .symlink = on_symlink,
        .rename = on_rename,
        .link = on_link,
        .open = on_open,
        .create = on_create,
        .read = on_read,
        .write = on_write,
        .flush = on_flush,
        .release = on_release,
        .fsync = on_fsync,
        .opendir = on_opendir,
        .readdir = on_readdir,
        .readdirplus = on_readdirplus,
        .releasedir = on_releasedir,
        .fsyncdir = on_fsyncdir,
        .statfs = on_statfs,
        .setxattr = on_setxattr,
        .getxattr = on_getxattr,
        .listxattr = on_listxattr,
        .removexattr = on_removexattr,
        .fallocate = on_fallocate,
        .copy_file_range = on_copy,
        .lseek = on_lseek,
        .poll = on_poll,
        .access = on_access,
    };
}
