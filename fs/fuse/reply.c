/* SPDX-License-Identifier: MIT */
#include "fs/fuse/request.h"

#include "fs/fuse/libfuse.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const op_names[OPS] = {
#define X(op, name) [op] = name,
    REQUEST_OPS(X)
#undef X
};

const char *request_op_name(enum request_op op)
{
    return op_names[op];
}

/* The handle is the reply's from here on: nobody can answer twice. */
static fuse_req_t take(struct request *r)
{
    fuse_req_t req = r->kernel;
    assert(req);
    r->kernel = NULL;
    return req;
}

struct request *request_keep(struct request *r)
{
    size_t a = r->name ? strlen(r->name) + 1 : 0;
    size_t b = r->name2 ? strlen(r->name2) + 1 : 0;
    char *p = mem_big(a + b + r->data.len + 1, 1);
    if (!p)
        return NULL;
    struct request *k = mem_copy(r, sizeof *r);
    k->kept = p;
    if (a)
        k->name = memcpy(p, r->name, a);
    if (b)
        k->name2 = memcpy(p + a, r->name2, b);
    if (r->data.len) {
        memcpy(p + a + b, r->data.data, r->data.len);
        k->data.data = (uint8_t *)p + a + b;
    }
    r->kernel = NULL;
    r->state = NULL;
    return k;
}

struct request *request_free(struct request *r)
{
    if (!r)
        return NULL;
    assert(!r->kernel);
    if (r->state && r->free_state)
        r->free_state(r->state);
    free(r->kept);
    free(r);
    return NULL;
}

void request_errno(struct request *r, int number)
{
    request_poll_drop(r->poll);
    r->poll = NULL;
    bool partly = r->op == OP_WRITE && r->phase > 0 && !r->from_cache; /* of pages the kernel takes a part for the whole */
    if (r->op == OP_FORGET)
        fuse_reply_none(take(r));
    else if (partly)
        request_written(r, r->phase); /* whoever hears of an error writes all of it once more: an append twice */
    else
        fuse_reply_err(take(r), number);
}

void request_error(struct request *r, int err)
{
    if (r->op == OP_OWN)
        r->own_done(r, err);
    else
        request_errno(r, err_errno(err));
}

void request_none(struct request *r)
{
    fuse_reply_none(take(r));
}

static void to_param(const struct request_entry *e, struct fuse_entry_param *p)
{
    *p = (struct fuse_entry_param){
        .ino = e->node, .attr = e->attr, .entry_timeout = e->entry_timeout, .attr_timeout = e->attr_timeout};
}

static void to_info(uint64_t handle, unsigned flags, struct fuse_file_info *fi)
{
    *fi = (struct fuse_file_info){.fh = handle};
    fi->direct_io = !!(flags & OPEN_DIRECT);
    fi->keep_cache = !!(flags & (OPEN_KEEP | OPEN_CACHE_DIR));
    fi->noflush = !!(flags & OPEN_NO_FLUSH);
    fi->cache_readdir = !!(flags & OPEN_CACHE_DIR);
    fi->nonseekable = !!(flags & OPEN_NO_SEEK);
}

bool request_entry(struct request *r, const struct request_entry *e)
{
    struct fuse_entry_param p;
    to_param(e, &p);
    return fuse_reply_entry(take(r), &p) == 0;
}

bool request_create(struct request *r, const struct request_entry *e, uint64_t handle, unsigned open_flags)
{
    struct fuse_entry_param p;
    struct fuse_file_info fi;
    to_param(e, &p);
    to_info(handle, open_flags, &fi);
    return fuse_reply_create(take(r), &p, &fi) == 0;
}

/* libfuse 3.14 has no field for FOPEN_STREAM: the answer is made by hand. Without it the kernel holds the position's lock while
 * a read waits, and a writer on the same description waits for ever. */
static bool open_stream(struct request *r, uint64_t handle)
{
    struct fuse_open_out out = {.fh = handle, .open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM};
    return fuse_reply_buf(take(r), (const char *)&out, sizeof out) == 0;
}

bool request_open(struct request *r, uint64_t handle, unsigned open_flags)
{
    struct fuse_file_info fi;
    if (open_flags & OPEN_STREAM)
        return open_stream(r, handle);
    to_info(handle, open_flags, &fi);
    return fuse_reply_open(take(r), &fi) == 0;
}

bool request_may(const struct request *r, const struct stat *st, unsigned want)
{
    if (r->uid == 0)
        return !(want & X_OK) || S_ISDIR(st->st_mode) || (st->st_mode & 0111);
    unsigned shift = r->uid == st->st_uid ? 6 : r->gid == st->st_gid ? 3 : 0;
    return !(want & ~(st->st_mode >> shift) & (R_OK | W_OK | X_OK));
}

#define OPEN_TO_EXECUTE 0x20 /* the kernel's __FMODE_EXEC: execve(2) needs no permission to read */

unsigned request_open_wants(const struct request *r)
{
    static const unsigned wants[] = {[O_RDONLY] = R_OK, [O_WRONLY] = W_OK, [O_RDWR] = R_OK | W_OK, [O_ACCMODE] = R_OK | W_OK};
    unsigned want = r->flags & OPEN_TO_EXECUTE ? X_OK : wants[r->flags & O_ACCMODE];
    return want | (r->flags & O_TRUNC ? W_OK : 0);
}

wall_ns request_time(int64_t seconds, int64_t nanoseconds)
{
    wall_ns t;
    if (__builtin_mul_overflow(seconds, (wall_ns)MONO_S, &t) || __builtin_add_overflow(t, nanoseconds, &t) || t == INT64_MIN)
        return seconds < 0 ? -INT64_MAX : INT64_MAX;
    return t;
}

void request_attr(struct request *r, const struct stat *st, double timeout)
{
    if (r->op == OP_ACCESS)
        request_error(r, request_may(r, st, r->flags) ? 0 : ERR_DENIED);
    else
        fuse_reply_attr(take(r), st, timeout);
}

void request_data(struct request *r, struct span data)
{
    fuse_reply_buf(take(r), (const char *)data.data, data.len);
}

void request_iov(struct request *r, const struct span *spans, unsigned count)
{
    struct iovec iov[REQUEST_SPANS_MAX];
    assert(count <= REQUEST_SPANS_MAX);
    for (unsigned i = 0; i < count; i++)
        iov[i] = (struct iovec){(void *)(uintptr_t)spans[i].data, spans[i].len};
    fuse_reply_iov(take(r), iov, (int)count);
}

void request_written(struct request *r, size_t size)
{
    fuse_reply_write(take(r), size);
}

void request_readlink(struct request *r, const char *target)
{
    fuse_reply_readlink(take(r), target);
}

void request_statfs(struct request *r, const struct statvfs *st)
{
    fuse_reply_statfs(take(r), st);
}

void request_xattr(struct request *r, struct span value)
{
    if (r->size == 0)
        fuse_reply_xattr(take(r), value.len);
    else if (value.len > r->size)
        fuse_reply_err(take(r), ERANGE);
    else
        fuse_reply_buf(take(r), (const char *)value.data, value.len);
}

void request_lseek(struct request *r, uint64_t offset)
{
    fuse_reply_lseek(take(r), (off_t)offset);
}

void request_poll(struct request *r, unsigned events)
{
    request_poll_drop(r->poll);
    r->poll = NULL;
    fuse_reply_poll(take(r), events);
}

void request_poll_tell(void *take_poll)
{
    fuse_lowlevel_notify_poll(take_poll);
    fuse_pollhandle_destroy(take_poll);
}

void request_poll_drop(void *take_poll)
{
    if (take_poll)
        fuse_pollhandle_destroy(take_poll);
}

/* ---- listings ---- */

void dir_out_init(struct dir_out *d, struct request *r)
{
    *d = (struct dir_out){.r = r, .bytes = BUF_INIT};
}

bool dir_out_add(struct dir_out *d, const char *name, const struct request_entry *e, uint64_t cookie)
{
    fuse_req_t req = d->r->kernel;
    size_t left = d->r->size - buf_len(&d->bytes), need;
    if (d->r->plus)
        need = fuse_add_direntry_plus(req, NULL, 0, name, NULL, 0);
    else
        need = fuse_add_direntry(req, NULL, 0, name, NULL, 0);
    if (need > left)
        return false;
    char *at = (char *)buf_try_reserve(&d->bytes, need);
    if (!at) {
        d->starved = true;
        return false;
    }
    if (d->r->plus) {
        struct fuse_entry_param p;
        to_param(e, &p);
        fuse_add_direntry_plus(req, at, need, name, &p, (off_t)cookie);
    } else {
        fuse_add_direntry(req, at, need, name, &e->attr, (off_t)cookie);
    }
    buf_commit(&d->bytes, need);
    return true;
}

void dir_out_send(struct dir_out *d)
{
    if (d->starved && buf_len(&d->bytes) == 0) /* nothing would mean the end */
        request_error(d->r, ERR_NO_MEMORY);
    else
        request_data(d->r, buf_span(&d->bytes));
    buf_done(&d->bytes);
}

void dir_out_drop(struct dir_out *d)
{
    buf_done(&d->bytes);
}
