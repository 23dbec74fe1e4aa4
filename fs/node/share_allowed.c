/* SPDX-License-Identifier: MIT
 *
 * Who may do what in share/. The kernel leaves the modes to us (session.c says why), so every request that names something
 * comes through here first. What goes by a handle was checked when that was opened.
 *
 * A name that the kernel remembers is not looked up again: when a directory becomes closed to its owner, the kernel is told
 * to forget the names in it. It takes the directory's lock for that, which chmod(2) holds until it is answered: so on a worker,
 * and after the answer. */
#include "fs/node/share_allowed.h"

#include "fs/fuse/session.h"

#include <stdlib.h>
#include <unistd.h>

/* What an operation needs of the node, or of the directory that the name stands in */
static const uint8_t needs[OPS] = {
    [OP_LOOKUP] = X_OK,        [OP_MKNOD] = W_OK | X_OK,  [OP_MKDIR] = W_OK | X_OK, [OP_SYMLINK] = W_OK | X_OK,
    [OP_CREATE] = W_OK | X_OK, [OP_UNLINK] = W_OK | X_OK, [OP_RMDIR] = W_OK | X_OK, [OP_RENAME] = W_OK | X_OK,
    [OP_LINK] = W_OK | X_OK,   [OP_OPENDIR] = R_OK,       [OP_GETXATTR] = R_OK,
};

static int check(struct mount *m, const struct request *r, uint64_t id, unsigned want)
{
    struct tree_node n;
    int rc = tree_get(m->share, id, &n);
    if (rc < 0)
        return rc;
    static const mode_t types[] = {[TREE_FILE] = S_IFREG, [TREE_DIR] = S_IFDIR, [TREE_SYMLINK] = S_IFLNK};
    struct stat st = {.st_uid = m->uid, .st_gid = m->gid, .st_mode = types[n.type] | n.mode};
    return n.type == TREE_SYMLINK || request_may(r, &st, want) ? 0 : ERR_DENIED;
}

static int check_setattr(struct mount *m, const struct request *r, uint64_t id)
{
    bool owner = r->uid == 0 || r->uid == m->uid;
    bool times = (r->set & SET_MTIME) && r->set_mtime != INT64_MIN;
    if (!owner && ((r->set & (SET_MODE | SET_OWNER)) || times))
        return ERR_NOT_PERMITTED;
    bool cuts = (r->set & SET_SIZE) && !r->handle;
    return cuts || !owner ? check(m, r, id, W_OK) : 0;
}

/* The other directory, and a directory that gets another "..". */
static int check_rename(struct mount *m, const struct request *r, uint64_t id)
{
    struct tree_node n;
    struct inode *to = inode_by_number(m->inodes, r->node2);
    if (!to || to->kind != NODE_SHARE || share_id(to) == id)
        return 0;
    int rc = check(m, r, share_id(to), W_OK | X_OK);
    if (rc == 0 && tree_lookup(m->share, (struct tree_place){id, span_str(r->name)}, &n) == 0 && n.type == TREE_DIR)
        rc = check(m, r, n.id, W_OK);
    if (rc == 0 && (r->flags & TREE_EXCHANGE) &&
        tree_lookup(m->share, (struct tree_place){share_id(to), span_str(r->name2)}, &n) == 0 && n.type == TREE_DIR)
        rc = check(m, r, n.id, W_OK);
    return rc;
}

int share_allowed(struct mount *m, const struct request *r, const struct inode *i)
{
    unsigned want = r->op == OP_OPEN ? request_open_wants(r) : needs[r->op];
    uint64_t id = share_id(i);
    if (r->uid == 0 && !(want & X_OK && r->op == OP_OPEN))
        return 0;
    if (r->op == OP_SETATTR)
        return check_setattr(m, r, id);
    int rc = want ? check(m, r, id, want) : 0;
    return rc == 0 && r->op == OP_RENAME ? check_rename(m, r, id) : rc;
}

bool share_may_search(struct mount *m, const struct request *r, const struct inode *dir)
{
    return r->uid == 0 || check(m, r, share_id(dir), X_OK) == 0;
}

/* ---- a directory is closed ---- */

struct closing {
    struct job job; /* first */
    struct mount *m;
    uint64_t dir;     /* number of the inode */
    struct buf names; /* each with its NUL */
};

static void forget_names(struct job *j)
{
    struct closing *c = (struct closing *)j;
    struct span names = buf_span(&c->names);
    for (size_t at = 0; at < names.len;) {
        const char *name = (const char *)names.data + at;
        session_forget_name(c->m->session, c->dir, name);
        at += strlen(name) + 1;
    }
}

static void on_forgotten(struct mail *take_m, void *owner)
{
    struct closing *c = (struct closing *)take_m;
    (void)owner;
    c->m->flights--;
    buf_done(&c->names);
    free(c);
}

static bool add_name(void *arg, const struct tree_entry *e)
{
    struct closing *c = arg;
    if (inode_find(c->m->inodes, &(struct inode_key){NODE_SHARE, 0, span_of(&e->id, sizeof e->id)})) {
        buf_add_span(&c->names, e->name);
        buf_add_u8(&c->names, 0);
    }
    return true;
}

void share_closed(struct mount *m, const struct inode *dir)
{
    struct closing *c = MEM_NEW(struct closing);
    *c = (struct closing){.m = m, .dir = dir->number, .names = BUF_INIT};
    c->job = (struct job){.mail.run = on_forgotten, .work = forget_names, .reply = m->mailbox};
    m->flights++;
    if (tree_readdir(m->share, share_id(dir), 0, add_name, c) == 0 && buf_len(&c->names) > 0)
        workers_submit(m->o.workers, &c->job);
    else
        on_forgotten(&c->job.mail, m);
}
