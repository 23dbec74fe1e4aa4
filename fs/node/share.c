/* SPDX-License-Identifier: MIT
 *
 * share/: names and attributes of an ordinary POSIX tree. Nobody else changes it, so the kernel may remember names, attributes
 * and pages for long. */
#include "fs/node/share_allowed.h"
#include "fs/node/share_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT 3600.0

/* What a mode may have: setuid, setgid and sticky mean nothing here, and the kernel relies on their being dropped
 * (handshake.h) */
#define MODE_KEPT 0777u

uint64_t share_id(const struct inode *i)
{
    uint64_t id;
    memcpy(&id, i->key, sizeof id);
    return id;
}

void share_key(uint64_t id, struct found *f)
{
    memcpy(f->key_bytes, &id, sizeof id);
    f->key = (struct inode_key){NODE_SHARE, 0, {f->key_bytes, sizeof id}};
}

static struct share_file *open_file(struct mount *m, uint64_t id)
{
    if (m->file_count == 0)
        return NULL;
    struct inode *i = inode_find(m->inodes, &(struct inode_key){NODE_SHARE, 0, span_of(&id, sizeof id)});
    return i ? share_file_of(i) : NULL;
}

void share_attr(struct mount *m, const struct tree_node *n, struct stat *st)
{
    static const mode_t types[] = {[TREE_FILE] = S_IFREG, [TREE_DIR] = S_IFDIR, [TREE_SYMLINK] = S_IFLNK};
    struct inode_key k = {NODE_SHARE, 0, span_of(&n->id, sizeof n->id)};
    uint64_t size = n->type == TREE_DIR ? 0 : n->content.size;
    wall_ns mtime = n->mtime, ctime = n->ctime;
    struct share_file *f = n->type == TREE_FILE ? open_file(m, n->id) : NULL;
    if (f && share_file_dirty(f)) {
        size = share_file_size(f);
        mtime = f->mtime;
        ctime = f->changed > ctime ? f->changed : ctime;
    }
    node_attr(m, st, &k, types[n->type] | (n->type == TREE_SYMLINK ? 0777 : n->mode), size);
    if (n->parent == 0 && n->id != TREE_ROOT)
        st->st_nlink = 0;
    node_attr_times(st, mtime, ctime);
}

static void found_of(struct mount *m, const struct tree_node *n, struct found *f)
{
    share_key(n->id, f);
    share_attr(m, n, &f->attr);
    f->type = (uint8_t)n->type;
    f->entry_timeout = f->attr_timeout = TIMEOUT;
}

static struct tree_place place(const struct inode *dir, const char *name)
{
    return (struct tree_place){share_id(dir), span_str(name)};
}

/* Nobody uses it. While the store cannot be read it is noted for later; without memory for that, the next start does it. */
static void forget(struct mount *m, uint64_t id)
{
    if (tree_forget(m->share, id) < 0 && buf_try_reserve(&m->forgotten, sizeof id))
        buf_add(&m->forgotten, &id, sizeof id);
}

void share_forget_again(struct mount *m)
{
    struct buf ids = m->forgotten;
    m->forgotten = (struct buf)BUF_INIT;
    for (uint64_t id; buf_len(&ids) > 0; buf_consume(&ids, sizeof id)) {
        memcpy(&id, buf_span(&ids).data, sizeof id);
        if (!inode_find(m->inodes, &(struct inode_key){NODE_SHARE, 0, span_of(&id, sizeof id)})) /* not used again */
            forget(m, id);
    }
    buf_done(&ids);
}

/* After a name has gone: the node lives on while the kernel knows it. */
static void let_go(struct mount *m, uint64_t id)
{
    struct inode *i = inode_find(m->inodes, &(struct inode_key){NODE_SHARE, 0, span_of(&id, sizeof id)});
    if (!i)
        forget(m, id);
    else if (share_file_of(i))
        share_file_let_go(share_file_of(i));
}

static void on_free(struct mount *m, struct inode *i)
{
    i->data = NULL; /* a share_file is gone before its inode */
    if (m->share)
        forget(m, share_id(i));
}

static int lookup(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    struct found f = {0};
    int rc = tree_lookup(m->share, place(i, r->name), &n);
    if (rc == ERR_NOT_FOUND)
        return node_reply_absent(r, TIMEOUT);
    if (rc < 0)
        return rc;
    found_of(m, &n, &f);
    node_reply_found(m, r, &f);
    return 0;
}

static int reply_attr(struct mount *m, struct request *r, uint64_t id)
{
    struct tree_node n;
    struct stat st;
    int rc = tree_get(m->share, id, &n);
    if (rc < 0)
        return rc;
    share_attr(m, &n, &st);
    request_attr(r, &st, TIMEOUT);
    return 0;
}

static int getattr(struct mount *m, struct request *r, struct inode *i)
{
    return reply_attr(m, r, share_id(i));
}

/* Who mounted owns everything (MOUNT (16)): giving it to its owner is all that can be done. */
static bool owner_stays(const struct mount *m, const struct request *r)
{
    return (r->set_uid == (uid_t)-1 || r->set_uid == m->uid) && (r->set_gid == (gid_t)-1 || r->set_gid == m->gid);
}

static int resize(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_get(m, i);
    if (!f)
        return ERR_STALE;
    bool same_size = r->set_size == share_file_size(f);
    int rc = !same_size ? share_truncate(m, f, r->set_size) : r->handle ? share_file_touch_time(f) : 0; /* ftruncate(2) */
    if (f->writers == 0)
        share_file_finish(f); /* truncate(2) of a file that is not open */
    if (share_file_of(i))
        share_file_let_go(f);
    return rc;
}

static int setattr(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    uint64_t id = share_id(i);
    int rc = tree_get(m->share, id, &n);
    if (rc < 0)
        return rc;
    if ((r->set & SET_OWNER) && !owner_stays(m, r))
        return ERR_NOT_PERMITTED;
    if (r->set & SET_SIZE) {
        rc = n.type == TREE_FILE ? resize(m, r, i) : n.type == TREE_DIR ? ERR_IS_DIR : ERR_INVALID;
        if (rc < 0)
            return rc;
    }
    wall_ns now = wall_now();
    struct tree_attr a = {.set_mode = r->set & SET_MODE, .mode = r->mode & MODE_KEPT, .set_mtime = r->set & SET_MTIME};
    a.mtime = r->set_mtime == INT64_MIN ? now : r->set_mtime;
    struct share_file *f = open_file(m, id);
    if (a.set_mtime && f && share_file_dirty(f)) {
        f->mtime = a.mtime;
        f->mtime_set = true;
        a.set_mtime = false; /* with the content */
    }
    if (a.set_mode || a.set_mtime)
        rc = tree_setattr(m->share, id, &a, now);
    if (rc == 0)
        rc = reply_attr(m, r, id);
    if (rc == 0 && a.set_mode && n.type == TREE_DIR && (n.mode & ~a.mode & S_IXUSR))
        share_closed(m, i);
    return rc;
}

static int readlink_op(struct mount *m, struct request *r, struct inode *i)
{
    struct buf target = BUF_INIT;
    int rc = tree_readlink(m->share, share_id(i), &target);
    if (rc == 0)
        request_readlink(r, buf_cstr(&target));
    buf_done(&target);
    return rc;
}

static int reply_new(struct mount *m, struct request *r, const struct tree_node *n)
{
    struct found f = {0};
    found_of(m, n, &f);
    node_reply_found(m, r, &f);
    return 0;
}

static int mkdir_op(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    int rc = tree_mkdir(m->share, place(i, r->name), r->mode & MODE_KEPT, wall_now(), &n);
    return rc < 0 ? rc : reply_new(m, r, &n);
}

static int mknod_op(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    if (!S_ISREG(r->mode))
        return ERR_NOT_PERMITTED; /* devices, fifos and sockets cannot be shared */
    int rc = tree_create(m->share, place(i, r->name), r->mode & MODE_KEPT, wall_now(), &n);
    return rc < 0 ? rc : reply_new(m, r, &n);
}

static int symlink_op(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    int rc = tree_symlink(m->share, place(i, r->name), span_str(r->name2), wall_now(), &n);
    return rc < 0 ? rc : reply_new(m, r, &n);
}

static int create(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    struct found f = {0};
    int rc = tree_create(m->share, place(i, r->name), r->mode & MODE_KEPT, wall_now(), &n);
    if (rc < 0)
        return rc;
    found_of(m, &n, &f);
    struct inode *made = inode_get(m->inodes, &f.key);
    struct handle *h = share_handle(m, made, &n, r->flags);
    struct request_entry e = {.node = made->number, .attr = f.attr, .entry_timeout = TIMEOUT, .attr_timeout = TIMEOUT};
    made->lookups++;
    prune_note(m, made, &f.attr, r->node, r->name);
    if (request_create(r, &e, (uint64_t)(uintptr_t)h, share_open_flags(m, h)))
        return 0;
    inode_hold(made);
    share_release_handle(m, h);
    inode_forget(m->inodes, made, 1);
    inode_unhold(m->inodes, made);
    return 0;
}

static int unlink_op(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    bool dir = r->op == OP_RMDIR;
    int rc = tree_lookup(m->share, place(i, r->name), &n);
    if (rc == 0)
        rc = dir ? tree_rmdir(m->share, place(i, r->name), wall_now()) : tree_unlink(m->share, place(i, r->name), wall_now());
    if (rc < 0)
        return rc;
    request_error(r, 0);
    let_go(m, n.id);
    return 0;
}

/* As linux/fs.h has them; the tree has the same numbers for the same things */
_Static_assert(RENAME_NOREPLACE == TREE_NOREPLACE && RENAME_EXCHANGE == TREE_EXCHANGE, "rename flags");

/* What was under a temporary name was not told to those who wait for it. */
static void renamed(struct mount *m, const struct tree_node *n)
{
    struct share_file *f = open_file(m, n->id);
    struct tree_node now;
    if (n->type != TREE_FILE || tree_get(m->share, n->id, &now) < 0)
        return;
    if (f)
        f->temporary = now.temporary;
    if (n->temporary && !now.temporary && !cid_is_none(&now.content.cid))
        share_have(m, &now.content.cid);
}

static int rename_op(struct mount *m, struct request *r, struct inode *i)
{
    struct inode *to = inode_by_number(m->inodes, r->node2);
    if (!to || to->kind != NODE_SHARE)
        return ERR_XDEV;
    if (r->flags & ~(TREE_NOREPLACE | TREE_EXCHANGE))
        return ERR_INVALID;
    struct tree_node moved, over;
    int rc = tree_lookup(m->share, place(i, r->name), &moved);
    if (rc < 0)
        return rc;
    bool other = tree_lookup(m->share, place(to, r->name2), &over) == 0 && over.id != moved.id;
    rc = tree_rename(m->share, place(i, r->name), place(to, r->name2), r->flags, wall_now());
    if (rc < 0)
        return rc;
    request_error(r, 0);
    renamed(m, &moved);
    if (other && (r->flags & TREE_EXCHANGE))
        renamed(m, &over);
    else if (other)
        let_go(m, over.id);
    return 0;
}

/* ---- listing ---- */

struct listing {
    struct mount *m;
    struct dir_out out;
    bool search; /* its entries may be handed out */
};

static bool list_entry(void *arg, const struct tree_entry *e)
{
    static const mode_t types[] = {[TREE_FILE] = S_IFREG, [TREE_DIR] = S_IFDIR, [TREE_SYMLINK] = S_IFLNK};
    struct listing *l = arg;
    char name[TREE_NAME_MAX + 1];
    memcpy(name, e->name.data, e->name.len);
    name[e->name.len] = 0;
    struct tree_node n;
    if (l->search && tree_get(l->m->share, e->id, &n) == 0) {
        struct found f = {0};
        found_of(l->m, &n, &f);
        return node_dir_add(l->m, &l->out, name, &f, e->cookie);
    }
    struct inode_key k = {NODE_SHARE, 0, span_of(&e->id, sizeof e->id)};
    return node_dir_add_plain(&l->out, name, inode_st_ino(&k), types[e->type], e->cookie);
}

static int readdir_op(struct mount *m, struct request *r, struct inode *i)
{
    struct listing l = {.m = m, .search = r->plus && share_may_search(m, r, i)};
    struct inode_key self = {NODE_SHARE, 0, inode_key_span(i)};
    dir_out_init(&l.out, r);
    bool room = true;
    if (r->offset < 1)
        room = node_dir_add_plain(&l.out, ".", inode_st_ino(&self), S_IFDIR, 1);
    if (room && r->offset < 2)
        room = node_dir_add_plain(&l.out, "..", 1, S_IFDIR, 2);
    int rc = room ? tree_readdir(m->share, share_id(i), r->offset > 2 ? r->offset : 0, list_entry, &l) : 0;
    if (rc < 0) {
        dir_out_drop(&l.out);
        return rc;
    }
    dir_out_send(&l.out);
    return 0;
}

static int link_op(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)r;
    (void)i;
    return ERR_NOT_PERMITTED; /* a node has one name */
}

const struct node_ops node_share = {
    .op =
        {
            [OP_LOOKUP] = lookup,
            [OP_GETATTR] = getattr,
            [OP_SETATTR] = setattr,
            [OP_READLINK] = readlink_op,
            [OP_MKNOD] = mknod_op,
            [OP_MKDIR] = mkdir_op,
            [OP_UNLINK] = unlink_op,
            [OP_RMDIR] = unlink_op,
            [OP_SYMLINK] = symlink_op,
            [OP_RENAME] = rename_op,
            [OP_LINK] = link_op,
            [OP_OPEN] = share_open,
            [OP_CREATE] = create,
            [OP_READ] = share_read,
            [OP_WRITE] = share_write,
            [OP_FLUSH] = share_flush,
            [OP_RELEASE] = share_release,
            [OP_FSYNC] = share_fsync,
            [OP_OPENDIR] = node_opendir_plain,
            [OP_READDIR] = readdir_op,
            [OP_FSYNCDIR] = share_fsyncdir,
            [OP_FALLOCATE] = share_fallocate,
            [OP_COPY] = share_copy,
            [OP_LSEEK] = share_lseek,
        },
    .allowed = share_allowed,
    .absent = ERR_NOT_PERMITTED,
    .absent_timeout = TIMEOUT,
    .on_free = on_free,
};
