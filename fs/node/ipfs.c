/* SPDX-License-Identifier: MIT
 *
 * ipfs/: the roots that are kept here are listed; any other valid CID, and <cid>.car, resolves without being listed. Names that
 * are no CID are refused by their syntax, without asking anybody, and the kernel remembers that for a minute: file managers
 * probe for a dozen of them. */
#include "fs/node/mount_state.h"

#include "store/block/pin.h"

#define PROBE_TIMEOUT 60.0 /* MOUNT (25) */
#define CAR           ".car"

static int ipfs_find(struct mount *m, struct inode *dir, const char *name, struct found *ret)
{
    (void)dir;
    struct cid cid;
    struct span text = span_str(name);
    bool car = text.len > sizeof CAR - 1 && memcmp(text.data + text.len - (sizeof CAR - 1), CAR, sizeof CAR - 1) == 0;
    if (car)
        text.len -= sizeof CAR - 1;
    if (cid_from_text(text, &cid, NULL) < 0)
        return ERR_NOT_FOUND;
    if (!car)
        return dag_found(m, &cid, NULL, ret);
    car_found(m, &cid, ret);
    return 0;
}

static void add_name(void *arg, const struct cid *cid, bool kept)
{
    (void)kept;
    struct buf *out = arg;
    char text[CID_TEXT_SIZE];
    cid_text(cid, text);
    buf_add(out, text, strlen(text) + 1);
}

static void add_kept(void *arg, const struct cid *cid)
{
    add_name(arg, cid, true);
}

/* Roots that are kept here: pins, and what links in share/ keep. A CID that is both is listed once: pins first. */
static void ipfs_names(struct mount *m, struct inode *dir, struct buf *out)
{
    (void)dir;
    struct cid at = {0};
    struct pin pin;
    while (store_pin_next(m->reader, &at, &pin) == 1)
        add_name(out, &pin.cid, true);
    struct buf kept = BUF_SOFT;
    (void)tree_each_kept(m->share, add_kept, &kept); /* a damaged record hides names here, nothing else */
    struct span s = buf_span(&kept);
    for (size_t p = 0; p < s.len;) {
        const char *name = (const char *)s.data + p;
        struct pin found;
        struct cid cid;
        p += strlen(name) + 1;
        if (cid_from_text(span_str(name), &cid, NULL) == 0 && store_pin_get(m->reader, &cid, &found) != 0)
            buf_add(out, name, strlen(name) + 1);
    }
    out->cut |= kept.cut;
    buf_done(&kept);
}

static int ipfs_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct inode_key k = {NODE_IPFS, 0, inode_key_span(i)};
    struct stat st;
    node_attr(m, &st, &k, S_IFDIR | 0555, 0);
    request_attr(r, &st, 1);
    return 0;
}

const struct node_ops node_ipfs = {
    .op =
        {
            [OP_LOOKUP] = node_lookup_small,
            [OP_GETATTR] = ipfs_getattr,
            [OP_OPENDIR] = node_opendir_small,
            [OP_READDIR] = node_readdir_small,
        },
    .absent = ERR_READ_ONLY,
    .find = ipfs_find,
    .names = ipfs_names,
    .absent_timeout = PROBE_TIMEOUT,
};
