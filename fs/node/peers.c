/* SPDX-License-Identifier: MIT
 *
 * peers/: a directory for each peer by its id, a symlink for each petname. The table comes by message and is replaced as a
 * whole, so that listing never waits. Any other id can be looked up, too, and has what needs no acquaintance: dialing tells
 * whether there is somebody. An id as a CID is a symlink. ln -s <peer id> peers/alice, mv and rm of it are commands that others
 * carry out; rmdir of a peer forgets it. */
#include "fs/node/peers.h"

#include "fs/node/streams.h"
#include "fs/node/text_table.h"
#include "store/content/hasher.h"
#include "store/content/multibase.h"

#include <stdio.h>
#include <stdlib.h>

#define PEER_TIMEOUT 1.0

static const struct peer_row *find_id(const struct peer_table *t, struct span name)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int c = span_cmp(name, span_str(t->rows[mid].id));
        if (c == 0)
            return &t->rows[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static const struct peer_row *find_petname(const struct peer_table *t, struct span name)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->rows[i].petname[0] && span_eq_str(name, t->rows[i].petname))
            return &t->rows[i];
    return NULL;
}

const struct peer_row *peers_find(const struct mount *m, struct span name)
{
    if (!m->peers)
        return NULL;
    const struct peer_row *p = find_id(m->peers, name);
    return p ? p : find_petname(m->peers, name);
}

#define INLINE_MAX 42 /* bytes of a key that is its own hash, as libp2p has it */

/* A public key as libp2p writes it (protobuf): type : 1, key : 2 */
static bool is_key(struct span key)
{
    return key.len > 4 && key.len <= INLINE_MAX && key.data[0] == 0x08 && key.data[2] == 0x12 && key.data[3] == key.len - 4;
}

/* Which multihashes are ids of peers */
static bool is_id(struct span multihash)
{
    uint64_t code;
    struct span digest;
    int used = multihash_read(multihash, &code, &digest);
    if (used < 0 || (size_t)used != multihash.len)
        return false;
    return code == HASH_IDENTITY ? is_key(digest) : code == HASH_SHA2_256 && digest.len == SHA256_SIZE;
}

bool peers_id(struct span name, char ret[PEERS_ID_SIZE])
{
    struct buf bytes = BUF_INIT, text = BUF_INIT;
    struct cid c;
    if (span_starts(name, "1") || span_starts(name, "Qm"))
        (void)base58btc_decode(&bytes, name); /* nothing comes of what is none */
    else if (cid_from_text(name, &c, NULL) == 0 && cid_codec(&c) == CODEC_LIBP2P_KEY)
        buf_add_span(&bytes, cid_hash(&c));
    bool found = is_id(buf_span(&bytes));
    if (found)
        base58btc_encode(&text, buf_span(&bytes));
    found = found && buf_len(&text) < PEERS_ID_SIZE;
    if (found)
        memcpy(ret, buf_cstr(&text), buf_len(&text) + 1);
    buf_done(&bytes);
    buf_done(&text);
    return found;
}

bool peers_may_be(const struct mount *m, struct span name)
{
    char id[PEERS_ID_SIZE];
    return peers_find(m, name) || peers_id(name, id);
}

static void peer_found(struct mount *m, const char *id, wall_ns when, struct found *ret)
{
    size_t len = strnlen(id, sizeof ret->key_bytes);
    memcpy(ret->key_bytes, id, len);
    ret->key = (struct inode_key){NODE_PEER, 0, {ret->key_bytes, len}};
    node_attr(m, &ret->attr, &ret->key, S_IFDIR | 0555, 0);
    node_attr_times(&ret->attr, when, when);
}

/* The target is part of the key: another target is another symlink, and the kernel may cache each. */
static void petname_found(struct mount *m, const char *name, const char *id, wall_ns when, struct found *ret)
{
    int n = snprintf((char *)ret->key_bytes, sizeof ret->key_bytes, "%s%c%s", name, 0, id);
    ret->key = (struct inode_key){NODE_PETNAME, 0, {ret->key_bytes, (size_t)n}};
    node_attr(m, &ret->attr, &ret->key, S_IFLNK | 0777, strlen(id));
    node_attr_times(&ret->attr, when, when);
}

static int peers_lookup(struct mount *m, struct inode *dir, const char *name, struct found *ret)
{
    (void)dir;
    ret->entry_timeout = ret->attr_timeout = PEER_TIMEOUT;
    const struct peer_row *p = peers_find(m, span_str(name));
    wall_ns when = p ? p->last_seen : m->started;
    char id[PEERS_ID_SIZE];
    if (!p && !peers_id(span_str(name), id))
        return ERR_NOT_FOUND;
    const char *target = p ? p->id : id;
    if (strcmp(target, name) == 0)
        peer_found(m, target, when, ret);
    else
        petname_found(m, name, target, when, ret);
    return 0;
}

static void peers_names(struct mount *m, struct inode *dir, struct buf *out)
{
    (void)dir;
    for (size_t i = 0; m->peers && i < m->peers->count; i++) {
        const struct peer_row *p = &m->peers->rows[i];
        buf_add(out, p->id, strlen(p->id) + 1);
        if (p->petname[0])
            buf_add(out, p->petname, strlen(p->petname) + 1);
    }
}

static int peers_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct inode_key k = {NODE_PEERS, 0, inode_key_span(i)};
    struct stat st;
    node_attr(m, &st, &k, S_IFDIR | 0755, 0);
    request_attr(r, &st, PEER_TIMEOUT);
    return 0;
}

/* A petname: no blanks and control characters, because it is a word of a command line; not something that looks like an id. */
static bool good_petname(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 63 || strncmp(name, "12D3", 4) == 0 || name[0] == '.' || name[0] == '-')
        return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    return true;
}

#define NOT_A_NAME "a name has 1 to 63 bytes, no blanks or control characters, no '.' or '-' in front, and is not like an id"

static int peers_symlink(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    if (!good_petname(r->name))
        return command_refused(m, r, ERR_INVALID, NOT_A_NAME);
    if (strlen(r->name2) > 200 || strpbrk(r->name2, " \t\n/"))
        return command_refused(m, r, ERR_INVALID, "what it leads to is not a peer id");
    const struct peer_row *p = peers_find(m, span_str(r->name));
    if (p && !r->state)
        return ERR_EXISTS;
    char line[320];
    snprintf(line, sizeof line, "petname %s %s", r->name, r->name2);
    int rc = command_run(m, r, line);
    if (rc < 0)
        return rc;
    struct found f = {.entry_timeout = PEER_TIMEOUT, .attr_timeout = PEER_TIMEOUT};
    petname_found(m, r->name, r->name2, wall_now(), &f);
    node_reply_found(m, r, &f);
    return 0;
}

static int carry_out(struct mount *m, struct request *r, const char *line)
{
    int rc = command_run(m, r, line);
    if (rc == 0)
        request_error(r, 0);
    return rc;
}

/* A peer has one name: the new one takes the place of the old. */
static int peers_rename(struct mount *m, struct request *r, struct inode *i)
{
    struct inode *to = inode_by_number(m->inodes, r->node2);
    char line[320];
    if (to != i)
        return ERR_XDEV;
    if (r->flags & ~(unsigned)RENAME_NOREPLACE)
        return ERR_INVALID;
    const struct peer_row *p = peers_find(m, span_str(r->name));
    if (!r->state) {
        const struct peer_row *over = peers_find(m, span_str(r->name2));
        if (!p)
            return ERR_NOT_FOUND;
        if (strcmp(p->id, r->name) == 0)
            return ERR_NOT_PERMITTED; /* an id is no name */
        if (!good_petname(r->name2))
            return command_refused(m, r, ERR_INVALID, NOT_A_NAME);
        if (over && over != p)
            return ERR_EXISTS; /* that would take the name from somebody else */
    }
    snprintf(line, sizeof line, "petname %.63s %.200s", r->name2, p ? p->id : "");
    return carry_out(m, r, line);
}

static int peers_unlink(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    const struct peer_row *p = peers_find(m, span_str(r->name));
    if (!p && !r->state)
        return ERR_NOT_FOUND;
    if (p && strcmp(p->id, r->name) == 0)
        return ERR_IS_DIR;
    char line[320];
    snprintf(line, sizeof line, "petname %.63s -", r->name);
    return carry_out(m, r, line);
}

static int peers_rmdir(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    const struct peer_row *p = peers_find(m, span_str(r->name));
    if (!p && !r->state)
        return ERR_NOT_FOUND;
    if (p && strcmp(p->id, r->name) != 0)
        return ERR_NOT_DIR;
    char line[320];
    snprintf(line, sizeof line, "peer %.200s forget", r->name);
    return carry_out(m, r, line);
}

const struct node_ops node_peers = {
    .op =
        {
            [OP_LOOKUP] = node_lookup_small,
            [OP_GETATTR] = peers_getattr,
            [OP_OPENDIR] = node_opendir_small,
            [OP_READDIR] = node_readdir_small,
            [OP_SYMLINK] = peers_symlink,
            [OP_RENAME] = peers_rename,
            [OP_UNLINK] = peers_unlink,
            [OP_RMDIR] = peers_rmdir,
        },
    .absent = ERR_NOT_PERMITTED,
    .find = peers_lookup,
    .names = peers_names,
};

/* ---- one peer ---- */

static const struct {
    enum text_id id;
    bool known; /* only of peers that are */
} peer_files[] = {{TEXT_PEER_STATUS, true}, {TEXT_PEER_PING, false}, {TEXT_PEER_LEDGER, true}, {TEXT_PEER_CTL, false}};

bool peers_has_text(const struct mount *m, struct span peer, unsigned sub)
{
    for (unsigned i = 0; i < sizeof peer_files / sizeof *peer_files; i++)
        if (peer_files[i].id == (sub & ~TEXT_JSON) && peer_files[i].known)
            return peers_find(m, peer) != NULL;
    return peers_may_be(m, peer);
}

static int peer_find(struct mount *m, struct inode *dir, const char *name, struct found *ret)
{
    if (strcmp(name, "streams") == 0) {
        streams_found(m, STREAMS_PEER, inode_key_span(dir), ret);
        return 0;
    }
    int sub = text_find(TEXT_AT_PEER, name);
    if (sub < 0)
        return sub;
    if (!peers_has_text(m, inode_key_span(dir), (unsigned)sub))
        return ERR_NOT_FOUND;
    return text_found(m, (unsigned)sub, inode_key_span(dir), ret);
}

static void peer_names(struct mount *m, struct inode *dir, struct buf *out)
{
    for (unsigned i = 0; i < sizeof peer_files / sizeof *peer_files; i++)
        if (peers_has_text(m, inode_key_span(dir), peer_files[i].id))
            buf_add(out, text_name(peer_files[i].id), strlen(text_name(peer_files[i].id)) + 1);
    buf_add(out, "streams", sizeof "streams");
}

int peer_is_there(struct mount *m, const struct request *r, const struct inode *i)
{
    return r->handle || peers_may_be(m, inode_key_span(i)) ? 0 : ERR_STALE;
}

static int peer_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    const struct peer_row *p = peers_find(m, inode_key_span(i));
    char id[PEERS_ID_SIZE];
    if (!p && !peers_id(inode_key_span(i), id))
        return ERR_STALE; /* fstat of an open listing */
    peer_found(m, p ? p->id : id, p ? p->last_seen : m->started, &f);
    request_attr(r, &f.attr, PEER_TIMEOUT);
    return 0;
}

const struct node_ops node_peer = {
    .op =
        {
            [OP_LOOKUP] = node_lookup_small,
            [OP_GETATTR] = peer_getattr,
            [OP_OPENDIR] = node_opendir_small,
            [OP_READDIR] = node_readdir_small,
        },
    .allowed = peer_is_there,
    .absent = ERR_NOT_PERMITTED,
    .find = peer_find,
    .names = peer_names,
    .absent_timeout = PEER_TIMEOUT,
};

static int petname_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    const char *name = (const char *)i->key;
    const struct peer_row *p = peers_find(m, span_str(name));
    char id[256];
    size_t at = strlen(name) + 1;
    snprintf(id, sizeof id, "%.*s", (int)(i->key_len - at), name + at);
    petname_found(m, name, id, p ? p->last_seen : m->started, &f);
    request_attr(r, &f.attr, PEER_TIMEOUT);
    return 0;
}

static int petname_readlink(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    size_t at = strlen((const char *)i->key) + 1;
    char *target = mem_strn(span_from(inode_key_span(i), at));
    request_readlink(r, target);
    free(target);
    return 0;
}

const struct node_ops node_petname = {
    .op = {[OP_GETATTR] = petname_getattr, [OP_READLINK] = petname_readlink},
    .absent = ERR_NOT_PERMITTED,
};
