/* SPDX-License-Identifier: MIT
 *
 * One request of the kernel as a value, and the ways to answer it. fs/node sees requests only in this form: libfuse stays
 * in this folder.
 *
 * A request is decoded on the stack, and its names and data point into the session's receive buffer: whoever defers it makes a
 * copy (request_keep) and lets the first one be. Exactly one reply each: every reply function clears `kernel`, and asserts
 * that it was set. After a reply nothing of the request may be touched but its own memory.
 *
 * Requests with `kernel` NULL from the start are the program's own (the control socket asks for a text): they run through the
 * same functions and are answered by `own_done`.
 */
#ifndef FS_FUSE_REQUEST_H
#define FS_FUSE_REQUEST_H

#include "store/base/err.h"
#include "store/base/mono.h"
#include "store/base/span.h"
#include "store/content/cid.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

/*    op           name in .p2p/waiting */
#define REQUEST_OPS(X)                                                                                                         \
    X(OP_LOOKUP, "lookup")                                                                                                     \
    X(OP_FORGET, "forget")                                                                                                     \
    X(OP_GETATTR, "stat")                                                                                                      \
    X(OP_SETATTR, "setattr")                                                                                                   \
    X(OP_READLINK, "readlink")                                                                                                 \
    X(OP_MKNOD, "mknod")                                                                                                       \
    X(OP_MKDIR, "mkdir")                                                                                                       \
    X(OP_UNLINK, "unlink")                                                                                                     \
    X(OP_RMDIR, "rmdir")                                                                                                       \
    X(OP_SYMLINK, "symlink")                                                                                                   \
    X(OP_RENAME, "rename")                                                                                                     \
    X(OP_LINK, "link")                                                                                                         \
    X(OP_OPEN, "open")                                                                                                         \
    X(OP_CREATE, "create")                                                                                                     \
    X(OP_READ, "read")                                                                                                         \
    X(OP_WRITE, "write")                                                                                                       \
    X(OP_FLUSH, "close")                                                                                                       \
    X(OP_RELEASE, "release")                                                                                                   \
    X(OP_FSYNC, "fsync")                                                                                                       \
    X(OP_OPENDIR, "opendir")                                                                                                   \
    X(OP_READDIR, "readdir")                                                                                                   \
    X(OP_RELEASEDIR, "closedir")                                                                                               \
    X(OP_FSYNCDIR, "fsyncdir")                                                                                                 \
    X(OP_STATFS, "statfs")                                                                                                     \
    X(OP_SETXATTR, "setxattr")                                                                                                 \
    X(OP_GETXATTR, "getxattr")                                                                                                 \
    X(OP_LISTXATTR, "listxattr")                                                                                               \
    X(OP_REMOVEXATTR, "removexattr")                                                                                           \
    X(OP_FALLOCATE, "fallocate")                                                                                               \
    X(OP_COPY, "copy")                                                                                                         \
    X(OP_LSEEK, "lseek")                                                                                                       \
    X(OP_POLL, "poll")                                                                                                         \
    X(OP_ACCESS, "access")                                                                                                     \
    X(OP_OWN, "own")

enum request_op {
#define X(op, name) op,
    REQUEST_OPS(X)
#undef X
        OPS
};

const char *request_op_name(enum request_op op);

/* What OP_SETATTR sets */
#define SET_MODE  1u
#define SET_OWNER 2u
#define SET_SIZE  4u
#define SET_MTIME 8u
#define SET_OTHER 16u /* atime, ctime: accepted, not kept */

struct request {
    void *kernel; /* libfuse's handle; NULL: answered, or our own */
    enum request_op op;
    uint64_t node;     /* the node, or the directory of `name` */
    uint64_t node2;    /* RENAME, LINK: new directory. COPY: the file written to */
    const char *name;  /* LOOKUP, CREATE, …, xattr name */
    const char *name2; /* RENAME: new name. SYMLINK: target */
    uint64_t handle;   /* what request_open gave; 0 none */
    uint64_t handle2;  /* COPY: of the file written to */
    uint64_t offset, offset2;
    size_t size;    /* READ, READDIR, xattrs: room. COPY, FALLOCATE: length. FORGET: count */
    unsigned flags; /* OPEN, CREATE, READ, WRITE: O_*; RENAME: RENAME_*; FALLOCATE: mode; LSEEK: whence; FSYNC: datasync;
                     * ACCESS: R_OK | W_OK | X_OK */
    void *poll;     /* POLL: to be told by request_poll_tell once, or NULL; whoever takes it sets it to NULL */
    unsigned mode, set;
    bool plus;        /* READDIR: with attributes */
    bool from_cache;  /* WRITE: pages of a shared mapping, by whatever handle; READ: pages, as those of any mapping */
    struct span data; /* WRITE, SETXATTR */
    uint64_t set_size;
    uid_t set_uid; /* (uid_t)-1: not set */
    gid_t set_gid;
    int64_t set_mtime; /* wall_ns; INT64_MIN: now */
    pid_t pid;
    uid_t uid; /* who asks */
    gid_t gid;

    /* Set by a function before it answers ERR_MISSING or ERR_AGAIN, for pending.h */
    const struct cid *root; /* what is being read, NULL: each block itself; valid until the function returns */
    const void *wait_on; /* ERR_AGAIN: to be run again when pending_wake says this; NULL: when there is room, or in a moment */
    mono_ns look_at;     /* with wait_on: to be run again then in any case; 0: never */
    const char *why;     /* words for .p2p/waiting; static */
    bool reads_content;  /* deadline counts from the last progress, not from the beginning */
    bool background;     /* nobody's patience is at stake: no deadline */
    void *parked;        /* pending.c's */

    /* For functions that run again after a wait: zero at first, kept between runs, freed with the request by free_state */
    unsigned phase; /* WRITE: how many bytes are taken; an error after some is a short write */
    mono_ns began;  /* share_root's: what is written later need not be in it */
    void *state;
    void (*free_state)(void *state);

    int (*run)(void *owner, struct request *r);      /* OP_OWN: what to do; as every operation it may run again */
    void (*own_done)(struct request *r, int result); /* OP_OWN: called once, at the end */
    char *kept;                                      /* of request_keep */
};

/* A copy that owns its names and data. The original's reply is the copy's from now on. NULL: no memory for its data. */
struct request *request_keep(struct request *r);
struct request *request_free(struct request *r); /* must have been answered */

/* May who asks do all of `want` (R_OK | W_OK | X_OK) with what has this owner and mode (of st_uid, st_gid, st_mode)? The kernel
 * does not check (session.c), but for executing a file that nobody may execute. */
bool request_may(const struct request *r, const struct stat *st, unsigned want);
/* What opening a file with r->flags needs */
unsigned request_open_wants(const struct request *r);
/* A time of day; one too far away for 64 bits of nanoseconds (1677 to 2262) is the nearest that is not: whoever sets a time and
 * whoever made a DAG may claim any. Never INT64_MIN, which set_mtime has for now. */
wall_ns request_time(int64_t seconds, int64_t nanoseconds);
/* SETATTR asks for a size of 0 and nothing else: a shell's ">", which does nothing to what has no length and no times. */
static inline bool request_empties(const struct request *r)
{
    return r->set == SET_SIZE && r->set_size == 0;
}

/* ---- replies ---- */

struct request_entry {
    uint64_t node; /* never one that named another; 0: a name that does not exist, to be remembered for entry_timeout */
    struct stat attr;
    double entry_timeout, attr_timeout; /* seconds */
};

#define OPEN_DIRECT    1u /* no page cache: size may be wrong, reads can be interrupted one by one */
#define OPEN_KEEP      2u /* pages cached earlier are still right */
#define OPEN_NO_FLUSH  4u /* close needs no answer of ours */
#define OPEN_CACHE_DIR 8u /* the listing may be cached, and kept from earlier */
#define OPEN_NO_SEEK   16u
#define OPEN_STREAM    32u /* no position: reading and writing through one description do not wait for each other */

void request_error(struct request *r, int err); /* 0 or ERR_* */
void request_errno(struct request *r, int number);
void request_none(struct request *r); /* FORGET */
/* Those that hand out a node: false when the kernel did not take it (the request was interrupted), so it has no reference */
bool request_entry(struct request *r, const struct request_entry *e);
bool request_create(struct request *r, const struct request_entry *e, uint64_t handle, unsigned open_flags);
bool request_open(struct request *r, uint64_t handle, unsigned open_flags);
void request_attr(struct request *r, const struct stat *st, double timeout); /* ACCESS: says whether that is allowed */
void request_data(struct request *r, struct span data);
void request_iov(struct request *r, const struct span *spans, unsigned count); /* count ≤ REQUEST_SPANS_MAX */
#define REQUEST_SPANS_MAX 300 /* a read of 1 MiB in pieces of 4 KiB, and some */
void request_written(struct request *r, size_t size);
void request_readlink(struct request *r, const char *target);
void request_statfs(struct request *r, const struct statvfs *st);
void request_xattr(struct request *r, struct span value); /* size, value or ERANGE, as r->size asks */
void request_lseek(struct request *r, uint64_t offset);
void request_poll(struct request *r, unsigned events); /* POLL*: what is ready now */
void request_poll_tell(void *take_poll);               /* something became ready: the kernel asks again */
void request_poll_drop(void *take_poll);               /* NULL accepted */

/* A listing on its way. */
struct dir_out {
    struct request *r;
    struct buf bytes;
    bool starved; /* there was no memory for the next entry */
};
void dir_out_init(struct dir_out *d, struct request *r);
/* False: no room, the entry was not added. Without `plus`, or with e->node 0, only number and type of e->attr are told. */
bool dir_out_add(struct dir_out *d, const char *name, const struct request_entry *e, uint64_t cookie);
void dir_out_send(struct dir_out *d); /* replies and frees */
void dir_out_drop(struct dir_out *d); /* frees */

#endif
