/* SPDX-License-Identifier: MIT
 *
 * user.p2p.*: what the mount knows about a file, from memory; any other name of users is ENODATA at once. Asking for the CID of
 * something in share/ finishes what is being written.
 *
 * Labels and ACLs do not exist here. They are EOPNOTSUPP and not ENODATA, because then ls asks for them once a file system and
 * not twice a file. */
#include "fs/node/share_file.h"
#include "fs/node/text_table.h"

#include "store/block/pin.h"

#include <stdio.h>

#define PREFIX "user.p2p."

static void add_cid(struct buf *out, const struct cid *cid)
{
    char text[CID_TEXT_SIZE];
    buf_add_str(out, cid_text(cid, text));
}

/* 0; ERR_NOT_FOUND: no such attribute here; ERR_AGAIN, ERR_MISSING */
typedef int value_fn(struct mount *m, struct request *r, struct inode *i, struct buf *out);

static int own_cid(struct mount *m, struct request *r, struct inode *i, struct cid *ret)
{
    struct unixfs_root root;
    if (i->kind == NODE_DAG) {
        dag_key_cid(i, ret);
        return 0;
    }
    if (i->kind != NODE_SHARE)
        return ERR_NOT_FOUND;
    int rc = share_root(m, r, share_id(i), &root);
    if (rc == 0)
        *ret = root.cid;
    return rc;
}

static int value_cid(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    struct cid cid;
    int rc = own_cid(m, r, i, &cid);
    if (rc == 0)
        add_cid(out, &cid);
    return rc;
}

/* How much of this content is held. Of a directory only its own block is looked at. */
enum held { HELD_NOTHING, HELD_PARTLY, HELD_ALL };

static enum held how_much(struct mount *m, const struct cid *cid)
{
    uint64_t size;
    if (!source_has(m->source, cid))
        return HELD_NOTHING;
    struct unixfs_file *f = unixfs_file_new(cid);
    bool partly = unixfs_file_size(f, m->source, &size) == 0 && !ahead_complete(m, f, size);
    unixfs_file_free(f);
    return partly ? HELD_PARTLY : HELD_ALL;
}

/* Content in share/ may have been copied from ipfs/ before it was here. */
static int inode_held(struct mount *m, const struct inode *i, enum held *ret)
{
    struct cid cid;
    struct tree_node n = {.type = TREE_DIR};
    if (i->kind == NODE_DAG)
        dag_key_cid(i, &cid);
    else if (i->kind == NODE_SHARE && tree_get(m->share, share_id(i), &n) == 0)
        cid = n.content.cid;
    else
        return ERR_NOT_FOUND;
    *ret = n.type != TREE_FILE && i->kind == NODE_SHARE ? HELD_ALL : cid_is_none(&cid) ? HELD_ALL : how_much(m, &cid);
    return 0;
}

static int value_local(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    static const char *const words[] = {"no", "partly", "yes"};
    enum held held;
    (void)r;
    int rc = inode_held(m, i, &held);
    if (rc == 0)
        buf_add_str(out, words[held]);
    return rc;
}

/* changing: bytes were written that have no CID yet */
static int value_state(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    static const char *const words[] = {"absent", "partly", "held"};
    enum held held;
    (void)r;
    struct share_file *f = i->kind == NODE_SHARE ? share_file_of(i) : NULL;
    int rc = inode_held(m, i, &held);
    if (rc == 0)
        buf_add_str(out, f && share_file_dirty(f) ? "changing" : words[held]);
    return rc;
}

static int value_pin(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    (void)r;
    struct cid cid;
    struct pin pin;
    if (i->kind == NODE_SHARE)
        buf_add_str(out, "yes"); /* what is in share/ is kept */
    if (i->kind != NODE_DAG)
        return i->kind == NODE_SHARE ? 0 : ERR_NOT_FOUND;
    dag_key_cid(i, &cid);
    if (store_pin_get(m->reader, &cid, &pin) != 0)
        buf_add_str(out, store_is_live(m->reader, &cid) ? "indirect" : "no");
    else
        buf_add_str(out, pin.complete ? "yes" : "incomplete");
    return 0;
}

/* Who delivered it is known to the engine, which is asked: it does not wait for the network. Of a folder of share/ nobody. */
static int ask_providers(struct mount *m, struct request *r, const struct inode *i, struct span *ret_source,
                         struct span *ret_all)
{
    struct cid cid;
    struct tree_node n;
    char line[sizeof "providers " + CID_TEXT_SIZE], text[CID_TEXT_SIZE];
    if (i->kind == NODE_DAG)
        dag_key_cid(i, &cid);
    else if (i->kind == NODE_SHARE && tree_get(m->share, share_id(i), &n) == 0 && n.type == TREE_FILE)
        cid = n.content.cid;
    else
        return ERR_NOT_FOUND;
    if (cid_is_none(&cid))
        return ERR_NOT_FOUND;
    snprintf(line, sizeof line, "providers %s", cid_text(&cid, text));
    int rc = command_run(m, r, line);
    if (rc < 0)
        return rc == ERR_AGAIN ? rc : ERR_NOT_FOUND;
    struct span answer = buf_span(&((struct ticket *)r->state)->answer);
    const uint8_t *end = memchr(answer.data, '\n', answer.len);
    size_t first = end ? (size_t)(end - answer.data) : answer.len;
    *ret_source = span_of(answer.data, first);
    *ret_all = span_from(answer, end ? first + 1 : first);
    if (ret_all->len)
        ret_all->len--; /* its newline */
    return 0;
}

static int value_source(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    struct span source, all;
    int rc = ask_providers(m, r, i, &source, &all);
    if (rc == 0 && span_eq_str(source, "-"))
        rc = ERR_NOT_FOUND;
    if (rc == 0)
        buf_add_span(out, source);
    return rc;
}

static int value_providers(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    struct span source, all;
    int rc = ask_providers(m, r, i, &source, &all);
    if (rc == 0 && all.len == 0)
        rc = ERR_NOT_FOUND;
    if (rc == 0)
        buf_add_span(out, all);
    return rc;
}

static int value_error(struct mount *m, struct request *r, struct inode *i, struct buf *out)
{
    (void)r;
    const char *sentence = i->kind == NODE_TEXT ? text_refusal(m, i) : NULL;
    if (!sentence)
        return ERR_NOT_FOUND;
    buf_add_str(out, sentence);
    return 0;
}

static const struct {
    const char *name;
    value_fn *value;
} table[] = {
    {PREFIX "cid", value_cid},
    {PREFIX "local", value_local},
    {PREFIX "pin", value_pin},
    {PREFIX "state", value_state},
    {PREFIX "error", value_error},
    {PREFIX "source", value_source},
    {PREFIX "providers", value_providers},
};
#define ATTRS (sizeof table / sizeof *table)

int node_getxattr(struct mount *m, struct request *r, struct inode *i)
{
    if (strncmp(r->name, "user.", 5) != 0)
        return ERR_UNSUPPORTED;
    for (unsigned a = 0; a < ATTRS; a++) {
        if (strcmp(table[a].name, r->name) != 0)
            continue;
        struct buf value = BUF_INIT;
        int rc = table[a].value(m, r, i, &value);
        if (rc == 0)
            request_xattr(r, buf_span(&value));
        buf_done(&value);
        if (rc == ERR_NOT_FOUND)
            break;
        return rc;
    }
    request_errno(r, ENODATA);
    return 0;
}

/* None: whoever copies a file with its attributes would ask for each, and could not give them to the copy. */
int node_listxattr(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    request_xattr(r, SPAN_NONE);
    return 0;
}
