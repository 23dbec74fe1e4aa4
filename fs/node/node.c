/* SPDX-License-Identifier: MIT
 *
 * Which function answers which request, and what most kinds of nodes have in common. */
#include "fs/node/mount_state.h"

#include "fs/fuse/session.h"
#include "store/base/log.h"
#include "store/base/mapfault.h"

#include "fs/node/streams.h"
#include "fs/node/text_table.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

const struct node_ops *const node_kinds[NODE_KINDS] = {
    [NODE_FIXED] = &node_fixed,     [NODE_TEXT] = &node_text,       [NODE_IPFS] = &node_ipfs,     [NODE_DAG] = &node_dag,
    [NODE_CAR] = &node_car,         [NODE_SHARE] = &node_share,     [NODE_PEERS] = &node_peers,   [NODE_PEER] = &node_peer,
    [NODE_PETNAME] = &node_petname, [NODE_STREAMS] = &node_streams, [NODE_STREAM] = &node_stream, [NODE_SOCK] = &node_sock,
    [NODE_ALLOW] = &node_allow,
};

/* The answer for what a kind has no function for; 0: its own `absent` (operations that would change something) */
static const int absent_default[OPS] = {
    [OP_LOOKUP] = ERR_NOT_DIR,        [OP_READLINK] = ERR_INVALID,
    [OP_OPEN] = ERR_IS_DIR,           [OP_READ] = ERR_IS_DIR,
    [OP_OPENDIR] = ERR_NOT_DIR,       [OP_READDIR] = ERR_NOT_DIR,
    [OP_SETXATTR] = ERR_UNSUPPORTED,  [OP_COPY] = ERR_UNSUPPORTED,
    [OP_FALLOCATE] = ERR_UNSUPPORTED, [OP_REMOVEXATTR] = ERR_UNSUPPORTED,
    [OP_LSEEK] = ERR_INVALID,
};

static int node_statfs(struct mount *m, struct request *r, struct inode *i);
static int node_poll(struct mount *m, struct request *r, struct inode *i);
static int node_access(struct mount *m, struct request *r, struct inode *i);

/* Functions that every kind has */
static node_op *const common[OPS] = {
    [OP_STATFS] = node_statfs,   [OP_GETXATTR] = node_getxattr,  [OP_LISTXATTR] = node_listxattr,
    [OP_RELEASE] = node_release, [OP_RELEASEDIR] = node_release, [OP_FLUSH] = node_ok,
    [OP_FSYNC] = node_ok,        [OP_FSYNCDIR] = node_ok,        [OP_POLL] = node_poll,
    [OP_ACCESS] = node_access,
};

/* The inode whose kind decides: of two, the one that is changed */
static uint64_t deciding_node(const struct request *r)
{
    return r->op == OP_COPY ? r->node2 : r->node;
}

static int forget(struct mount *m, struct request *r)
{
    struct inode *i = inode_by_number(m->inodes, r->node);
    if (i) {
        inode_hold(i);
        inode_forget(m->inodes, i, r->size);
        if (i->kind == NODE_SHARE && share_file_of(i))
            share_file_let_go(share_file_of(i)); /* one without a name waited for this */
        inode_unhold(m->inodes, i);
    }
    if (r->kernel)
        request_none(r);
    return 0;
}

static int absent(const struct node_ops *ops, enum request_op op)
{
    int rc = absent_default[op];
    return rc == 0 || (rc == ERR_UNSUPPORTED && ops->absent == ERR_READ_ONLY) ? ops->absent : rc;
}

static bool is_release(const struct request *r)
{
    return r->op == OP_RELEASE || r->op == OP_RELEASEDIR;
}

/* While the store cannot be read: nothing is, and nobody will ask again. */
static int release_unread(struct mount *m, struct request *r)
{
    struct inode *i = inode_by_number(m->inodes, r->node);
    node_op *op = i ? node_kinds[i->kind]->op[r->op] : NULL;
    return i ? (op ? op : node_release)(m, r, i) : ERR_STALE;
}

int node_run(void *mount, struct request *r)
{
    struct mount *m = mount;
    if (r->op == OP_FORGET)
        return forget(m, r);
    unsigned long faults = mapfault_epoch();
    int rc = store_read_begin(m->reader);
    if (rc < 0)
        return is_release(r) ? release_unread(m, r) : rc;
    source_forget_missing(m->source);
    if (r->op == OP_OWN) {
        rc = r->run(m, r);
        if (rc == 0)
            r->own_done(r, 0);
        store_read_end(m->reader);
        return rc;
    }
    struct inode *i = inode_by_number(m->inodes, deciding_node(r));
    if (!i) {
        rc = ERR_STALE;
    } else {
        const struct node_ops *ops = node_kinds[i->kind];
        i->used = true;
        node_op *op = ops->op[r->op] ? ops->op[r->op] : common[r->op];
        bool shares = i->kind == NODE_SHARE;
        rc = ops->allowed ? ops->allowed(m, r, i) : 0;
        if (rc == 0)
            rc = op ? op(m, r, i) : absent(ops, r->op);
        if (shares && !r->wait_on)
            rc = share_not_full(m, rc);
    }
    store_read_end(m->reader);
    return rc == ERR_CORRUPT && mapfault_epoch() != faults ? ERR_IO : rc; /* zeros in the place of the tree's records */
}

void node_free_inode(void *mount, struct inode *i)
{
    struct mount *m = mount;
    if (node_kinds[i->kind]->on_free)
        node_kinds[i->kind]->on_free(m, i);
    free(i->data);
}

int node_ok(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    request_error(r, 0);
    return 0;
}

/* A file is always ready. */
static int node_poll(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    request_poll(r, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
    return 0;
}

/* access(2), chdir(2): the attributes decide (request_attr), and they may have to be waited for. */
static int node_access(struct mount *m, struct request *r, struct inode *i)
{
    const struct node_ops *ops = node_kinds[i->kind];
    bool fixed = ops->absent == ERR_READ_ONLY; /* everybody may read */
    if (fixed && (r->flags & W_OK))
        return ERR_READ_ONLY;
    if (fixed && !(r->flags & X_OK))
        return node_ok(m, r, i);
    return ops->op[OP_GETATTR](m, r, i);
}

/* ---- attributes ---- */

#define BLOCK_SIZE    4096
#define CONTENT_BLOCK SESSION_IO_MAX /* cp and cat read and write as much at once as a request takes */

void node_attr(const struct mount *m, struct stat *st, const struct inode_key *k, unsigned mode, uint64_t size)
{
    bool content = S_ISREG(mode) && (k->kind == NODE_DAG || k->kind == NODE_SHARE);
    *st = (struct stat){.st_ino = inode_st_ino(k),
                        .st_mode = mode,
                        .st_nlink = 1, /* for a directory: "subdirectories are not counted" */
                        .st_uid = m->uid,
                        .st_gid = m->gid,
                        .st_size = (off_t)size,
                        .st_blksize = content ? CONTENT_BLOCK : BLOCK_SIZE,
                        .st_blocks = (blkcnt_t)((size + 511) / 512)};
    node_attr_times(st, m->started, m->started);
}

static struct timespec to_timespec(wall_ns t)
{
    int64_t s = t / 1000000000, ns = t % 1000000000;
    if (ns < 0) {
        s--;
        ns += 1000000000;
    }
    return (struct timespec){.tv_sec = s, .tv_nsec = ns};
}

void node_attr_times(struct stat *st, wall_ns mtime, wall_ns ctime)
{
    st->st_mtim = st->st_atim = to_timespec(mtime);
    st->st_ctim = to_timespec(ctime);
}

/* Memory only: the figures are atomics of the store. Without quota the disk is the limit. */
static int node_statfs(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    struct blockstore_stats s;
    blockstore_stats(m->o.store, &s);
    uint64_t live = s.live_bytes + m->unfinished;
    uint64_t free_bytes = s.disk_free_bytes + (s.bytes > s.live_bytes ? s.bytes - s.live_bytes : 0); /* cache gives way */
    if (s.quota_bytes && free_bytes > (s.quota_bytes > live ? s.quota_bytes - live : 0))
        free_bytes = s.quota_bytes > live ? s.quota_bytes - live : 0;
    uint64_t files = inode_count(m->inodes);
    struct statvfs st = {.f_bsize = BLOCK_SIZE,
                         .f_frsize = BLOCK_SIZE,
                         .f_blocks = (live + free_bytes) / BLOCK_SIZE,
                         .f_bfree = free_bytes / BLOCK_SIZE,
                         .f_bavail = free_bytes / BLOCK_SIZE,
                         .f_files = files + (UINT32_C(1) << 30),
                         .f_ffree = UINT32_C(1) << 30, /* names are records: no table of inodes to run out of */
                         .f_favail = UINT32_C(1) << 30,
                         .f_namemax = TREE_NAME_MAX};
    request_statfs(r, &st);
    return 0;
}

int node_lseek_dense(struct request *r, uint64_t size)
{
    if (r->flags != SEEK_DATA && r->flags != SEEK_HOLE)
        return ERR_INVALID;
    if (r->offset >= size) {
        request_errno(r, ENXIO);
        return 0;
    }
    request_lseek(r, r->flags == SEEK_HOLE ? size : r->offset);
    return 0;
}

/* ---- entries ---- */

static void to_entry(const struct found *f, const struct inode *i, struct request_entry *e)
{
    *e = (struct request_entry){
        .node = i ? i->number : 0, .attr = f->attr, .entry_timeout = f->entry_timeout, .attr_timeout = f->attr_timeout};
}

void node_reply_found(struct mount *m, struct request *r, const struct found *f)
{
    struct inode *i = inode_get(m->inodes, &f->key);
    i->type = f->type;
    struct request_entry e;
    to_entry(f, i, &e);
    i->lookups++;
    prune_note(m, i, &f->attr, r->node, r->name);
    if (!request_entry(r, &e))
        inode_forget(m->inodes, i, 1);
}

int node_reply_absent(struct request *r, double timeout)
{
    if (timeout <= 0)
        return ERR_NOT_FOUND;
    struct request_entry e = {.entry_timeout = timeout};
    request_entry(r, &e);
    return 0;
}

bool node_dir_add(struct mount *m, struct dir_out *d, const char *name, const struct found *f, uint64_t cookie)
{
    struct request_entry e;
    if (!d->r->plus) {
        to_entry(f, NULL, &e);
        return dir_out_add(d, name, &e, cookie);
    }
    struct inode *i = inode_get(m->inodes, &f->key);
    i->type = f->type;
    to_entry(f, i, &e);
    if (!dir_out_add(d, name, &e, cookie)) {
        inode_settle(m->inodes, i);
        return false;
    }
    i->lookups++;
    prune_note(m, i, &f->attr, d->r->node, name);
    return true;
}

bool node_dir_add_plain(struct dir_out *d, const char *name, uint64_t st_ino, unsigned mode, uint64_t cookie)
{
    struct request_entry e = {.attr = {.st_ino = st_ino, .st_mode = mode}};
    return dir_out_add(d, name, &e, cookie);
}

/* ---- small directories ---- */

int node_lookup_small(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    const struct node_ops *ops = node_kinds[i->kind];
    int rc = ops->find(m, i, r->name, &f);
    if (rc == ERR_NOT_FOUND)
        return node_reply_absent(r, ops->absent_timeout);
    if (rc < 0)
        return rc;
    node_reply_found(m, r, &f);
    return 0;
}

/* The names as they are now: a listing that takes several calls is of one moment. */
static int take_names(struct mount *m, struct inode *i, struct handle *h)
{
    buf_done(&h->text);
    h->text = BUF_SOFT;
    node_kinds[i->kind]->names(m, i, &h->text);
    return h->text.cut ? ERR_NO_MEMORY : 0; /* rather than a part that looks like all */
}

int node_opendir_small(struct mount *m, struct request *r, struct inode *i)
{
    struct handle *h = handle_new(m, i, 0);
    int rc = take_names(m, i, h);
    if (rc < 0)
        handle_free(m, h);
    else
        handle_reply(m, r, h, 0);
    return rc;
}

int node_opendir_plain(struct mount *m, struct request *r, struct inode *i)
{
    handle_reply(m, r, handle_new(m, i, 0), 0);
    return 0;
}

/* Cookies: 1 and 2 are the dots, then the place of the next name + 3 */
int node_readdir_small(struct mount *m, struct request *r, struct inode *i)
{
    struct handle *h = handle_of(r);
    struct dir_out d;
    int rc = h->listed && r->offset == 0 ? take_names(m, i, h) : 0; /* rewinddir(3) */
    if (rc < 0)
        return rc;
    h->listed = true;
    dir_out_init(&d, r);
    struct inode_key self = {i->kind, i->sub, inode_key_span(i)};
    bool room = true;
    if (r->offset < 1)
        room = node_dir_add_plain(&d, ".", inode_st_ino(&self), S_IFDIR, 1);
    if (room && r->offset < 2)
        room = node_dir_add_plain(&d, "..", 1, S_IFDIR, 2);
    size_t at = r->offset > 2 ? r->offset - 3 : 0;
    struct span names = buf_span(&h->text);
    while (room && at < names.len) {
        const char *name = (const char *)names.data + at;
        size_t next = at + strlen(name) + 1;
        struct found f = {0};
        rc = node_kinds[i->kind]->find(m, i, name, &f);
        if (rc == 0)
            room = node_dir_add(m, &d, name, &f, next + 3);
        else if (rc == ERR_MISSING || rc == ERR_NO_MEMORY)
            room = node_dir_add_plain(&d, name, 1, 0, next + 3);
        at = next;
    }
    dir_out_send(&d);
    return 0;
}

/* ---- handles ---- */

struct handle *handle_new(struct mount *m, struct inode *i, unsigned flags)
{
    struct handle *h = MEM_NEW(struct handle);
    h->inode = i;
    h->next = m->handles;
    if (m->handles)
        m->handles->prev = h;
    m->handles = h;
    h->flags = flags;
    h->ahead.waiter.background = true;
    inode_hold(i);
    atomic_fetch_add(&m->stat_handles, 1);
    budget_take_always(m->o.budget, BUDGET_TABLE, sizeof *h);
    return h;
}

void handle_hold(struct mount *m, struct handle *h, const struct cid *root)
{
    if (!cid_is_none(&h->held))
        blockstore_unhold(m->o.store, &h->held);
    h->held = *root;
    if (!cid_is_none(root))
        blockstore_hold(m->o.store, root);
}

void handle_free(struct mount *m, struct handle *h)
{
    wants_drop(m->wants, &h->ahead.waiter);
    if (!cid_is_none(&h->held))
        blockstore_unhold(m->o.store, &h->held);
    unixfs_file_free(h->file);
    buf_done(&h->text);
    stream_close(h);
    conversation_leave(m, h->conversation);
    if (h->prev)
        h->prev->next = h->next;
    else
        m->handles = h->next;
    if (h->next)
        h->next->prev = h->prev;
    struct inode *i = h->inode;
    budget_give(m->o.budget, BUDGET_TABLE, sizeof *h);
    free(h);
    atomic_fetch_sub(&m->stat_handles, 1);
    inode_unhold(m->inodes, i);
}

void handle_free_all(struct mount *m)
{
    while (m->handles) {
        struct handle *h = m->handles;
        if (h->inode->kind == NODE_SHARE && share_file_of(h->inode))
            share_release_handle(m, h);
        else
            handle_free(m, h);
    }
}

void handle_reply(struct mount *m, struct request *r, struct handle *h, unsigned open_flags)
{
    h->direct = open_flags & OPEN_DIRECT;
    if (!request_open(r, (uint64_t)(uintptr_t)h, open_flags))
        handle_free(m, h);
}

int node_release(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    struct handle *h = handle_of(r);
    request_error(r, 0);
    handle_free(m, h);
    return 0;
}

/* ---- what .p2p/waiting says ---- */

static void describe_inode(struct mount *m, const struct inode *i, struct buf *out)
{
    struct cid c;
    char text[CID_TEXT_SIZE];
    switch ((enum node_kind)i->kind) {
    case NODE_DAG:
        dag_key_cid(i, &c);
        buf_printf(out, "ipfs/%s", cid_text(&c, text));
        break;
    case NODE_CAR:
        dag_key_cid(i, &c);
        buf_printf(out, "ipfs/%s.car", cid_text(&c, text));
        break;
    case NODE_SHARE:
        buf_add_str(out, "share/");
        if (tree_path(m->share, share_id(i), out) < 0)
            buf_add_str(out, "(unlinked)");
        break;
    case NODE_IPFS:
        buf_add_str(out, "ipfs");
        break;
    case NODE_PEERS:
    case NODE_PETNAME:
        buf_add_str(out, "peers");
        break;
    case NODE_STREAMS:
    case NODE_STREAM:
    case NODE_SOCK:
    case NODE_ALLOW:
        streams_describe(i, out);
        break;
    case NODE_TEXT:
        text_describe(i, out);
        break;
    case NODE_PEER:
        buf_printf(out, "peers/%.*s", (int)i->key_len, (const char *)i->key);
        break;
    default:
        buf_add_str(out, "/");
    }
}

/* Control characters escaped: a name may hold anything but '/' and NUL. */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || c == '\\')
            buf_printf(out, "\\x%02x", c);
        else
            buf_add_u8(out, c);
    }
}

void node_describe(void *mount, const struct request *r, struct buf *out)
{
    struct mount *m = mount;
    struct inode *i = r->op == OP_OWN ? NULL : inode_by_number(m->inodes, deciding_node(r));
    struct buf path = BUF_INIT;
    if (i)
        describe_inode(m, i, &path);
    add_escaped(out, i ? buf_cstr(&path) : "-");
    buf_done(&path);
    if (r->name) {
        buf_add_u8(out, '/');
        add_escaped(out, r->name);
    }
}
