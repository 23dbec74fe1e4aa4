/* SPDX-License-Identifier: MIT
 *
 * The directories that are always there: the root and .p2p/ (hidden only by its dot). Odd probes in the root are refused from
 * this table, and the kernel remembers that for a minute. */
#include "fs/node/mount_state.h"
#include "fs/node/text_table.h"

enum fixed_dir { FIXED_ROOT, FIXED_P2P };

static const struct {
    enum fixed_dir in;
    const char *name;
    enum node_kind kind;
    unsigned sub, mode;
} entries[] = {
    {FIXED_ROOT, "README", NODE_TEXT, TEXT_README, S_IFREG},  {FIXED_ROOT, "status", NODE_TEXT, TEXT_STATUS, S_IFREG},
    {FIXED_ROOT, "ipfs", NODE_IPFS, 0, S_IFDIR | 0555},       {FIXED_ROOT, "share", NODE_SHARE, 0, S_IFDIR | 0755},
    {FIXED_ROOT, "peers", NODE_PEERS, 0, S_IFDIR | 0755},     {FIXED_ROOT, ".p2p", NODE_FIXED, FIXED_P2P, S_IFDIR | 0555},
    {FIXED_P2P, "events", NODE_TEXT, TEXT_EVENTS, S_IFREG},   {FIXED_P2P, "waiting", NODE_TEXT, TEXT_WAITING, S_IFREG},
    {FIXED_P2P, "ctl", NODE_TEXT, TEXT_CTL, S_IFREG},         {FIXED_P2P, "limits", NODE_TEXT, TEXT_LIMITS, S_IFREG},
    {FIXED_P2P, "log", NODE_TEXT, TEXT_LOG, S_IFREG},         {FIXED_P2P, "requests", NODE_TEXT, TEXT_REQUESTS, S_IFREG},
    {FIXED_ROOT, "streams", NODE_STREAMS, 0, S_IFDIR | 0555},
};
#define ENTRIES (sizeof entries / sizeof *entries)

static int fixed_find(struct mount *m, struct inode *dir, const char *name, struct found *ret)
{
    ret->entry_timeout = 3600;
    ret->attr_timeout = 1;
    for (unsigned e = 0; e < ENTRIES; e++) {
        if (entries[e].in != dir->sub || strcmp(entries[e].name, name) != 0)
            continue;
        if (entries[e].kind == NODE_TEXT)
            break;
        if (entries[e].kind == NODE_SHARE) {
            struct tree_node root;
            int rc = tree_get(m->share, TREE_ROOT, &root);
            if (rc < 0)
                return rc;
            share_key(TREE_ROOT, ret);
            share_attr(m, &root, &ret->attr);
            return 0;
        }
        ret->key = (struct inode_key){entries[e].kind, entries[e].sub, SPAN_NONE};
        node_attr(m, &ret->attr, &ret->key, entries[e].mode, 0);
        return 0;
    }
    int sub = text_find(dir->sub == FIXED_ROOT ? TEXT_AT_ROOT : TEXT_AT_P2P, name);
    if (sub < 0)
        return sub;
    return text_found(m, (unsigned)sub, SPAN_NONE, ret);
}

static void fixed_names(struct mount *m, struct inode *dir, struct buf *out)
{
    (void)m;
    for (unsigned e = 0; e < ENTRIES; e++)
        if (entries[e].in == dir->sub)
            buf_add(out, entries[e].name, strlen(entries[e].name) + 1);
}

static int fixed_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct inode_key k = {NODE_FIXED, i->sub, SPAN_NONE};
    struct stat st;
    node_attr(m, &st, &k, S_IFDIR | 0555, 0);
    if (i->sub == FIXED_ROOT)
        st.st_ino = 1;
    request_attr(r, &st, 60);
    return 0;
}

const struct node_ops node_fixed = {
    .op =
        {
            [OP_LOOKUP] = node_lookup_small,
            [OP_GETATTR] = fixed_getattr,
            [OP_OPENDIR] = node_opendir_small,
            [OP_READDIR] = node_readdir_small,
        },
    .absent = ERR_NOT_PERMITTED,
    .find = fixed_find,
    .names = fixed_names,
    .absent_timeout = 60,
};
