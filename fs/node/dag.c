/* SPDX-License-Identifier: MIT
 *
 * Nodes below ipfs/: files, directories and symlinks of UnixFS; anything else is a file of its block's bytes. One inode per
 * CID, cached by the kernel for a year, since it cannot change.
 *
 * A raw block that is not held is a file for certain, only its size is not known: lookup answers at once and stat waits. For
 * dag-pb even the type has to be looked at, so lookup waits. (A lookup that waits keeps others for the same name waiting
 * uninterruptibly in the kernel; that is why it is avoided where it can be, and short where not.)
 *
 * Files that are not all held are opened without page cache: then each read(2) is one request of its own, which Ctrl-C
 * interrupts, and the kernel's read-ahead fetches nothing that nobody asked for. */
#include "fs/node/mount_state.h"

#include "fs/node/gather.h"
#include "fs/node/siblings.h"
#include "store/block/pin.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum dag_type { DAG_BYTES, DAG_FILE, DAG_DIR, DAG_SYMLINK };

#define YEAR (365.0 * 24 * 3600)

void dag_key_cid(const struct inode *i, struct cid *ret)
{
    int rc = cid_parse(inode_key_span(i), ret);
    assert(rc == 0); /* keys are made by set_key */
    (void)rc;
}

static void set_key(struct found *f, const struct cid *cid)
{
    memcpy(f->key_bytes, cid->bytes, cid->len);
    f->key = (struct inode_key){NODE_DAG, 0, {f->key_bytes, cid->len}};
}

static void attr_of_node(struct mount *m, const struct unixfs_node *n, struct found *f)
{
    static const struct {
        mode_t mode;
        uint8_t type;
    } kinds[] = {
        [UNIXFS_RAW] = {S_IFREG | 0444, DAG_FILE},        [UNIXFS_DIRECTORY] = {S_IFDIR | 0555, DAG_DIR},
        [UNIXFS_FILE] = {S_IFREG | 0444, DAG_FILE},       [UNIXFS_METADATA] = {S_IFREG | 0444, DAG_BYTES},
        [UNIXFS_SYMLINK] = {S_IFLNK | 0777, DAG_SYMLINK}, [UNIXFS_HAMT] = {S_IFDIR | 0555, DAG_DIR},
    };
    unsigned mode = kinds[n->type].mode;
    if (n->meta.has_mode && S_ISREG(mode))
        mode |= n->meta.mode & 0111;
    f->type = kinds[n->type].type;
    node_attr(m, &f->attr, &f->key, mode, S_ISDIR(mode) ? 0 : n->file_size);
    wall_ns mtime = n->meta.has_mtime ? request_time(n->meta.mtime_seconds, n->meta.mtime_nanoseconds) : 0;
    node_attr_times(&f->attr, mtime, mtime);
}

/* `link`: where it was found, NULL at the top. 0; ERR_MISSING: type or size cannot be known yet. */
int dag_found(struct mount *m, const struct cid *cid, const struct unixfs_entry *link, struct found *ret)
{
    struct span block;
    struct unixfs_node n;
    set_key(ret, cid);
    ret->entry_timeout = ret->attr_timeout = YEAR;
    int rc = source_get(m->source, cid, &block);
    if (rc == ERR_MISSING && cid_codec(cid) != CODEC_DAG_PB) {
        source_forget_missing(m->source);
        ret->type = DAG_BYTES;
        ret->attr_timeout = 0; /* what the link claims is not verified yet, and without a link nothing is known */
        node_attr(m, &ret->attr, &ret->key, S_IFREG | 0444, link ? link->tsize : 0);
        node_attr_times(&ret->attr, 0, 0);
        return 0;
    }
    if (rc < 0)
        return rc;
    if (cid_codec(cid) == CODEC_DAG_PB) {
        rc = unixfs_parse(cid, block, &n);
        if (rc == 0) {
            attr_of_node(m, &n, ret);
            return 0;
        }
        if (rc != ERR_UNSUPPORTED)
            return ERR_CORRUPT;
    }
    ret->type = DAG_BYTES;
    node_attr(m, &ret->attr, &ret->key, S_IFREG | 0444, block.len);
    node_attr_times(&ret->attr, 0, 0);
    return 0;
}

int dag_root(struct mount *m, const struct cid *cid, struct unixfs_root *ret)
{
    struct span block;
    struct unixfs_node n;
    int rc = source_get(m->source, cid, &block);
    if (rc < 0)
        return rc;
    rc = unixfs_parse(cid, block, &n);
    if (rc < 0)
        return rc;
    if (n.type != UNIXFS_FILE && n.type != UNIXFS_RAW)
        return ERR_INVALID;
    uint64_t tsize = block.len;
    struct dagpb_iter it = dagpb_iter(&n.pb);
    struct dagpb_link link;
    while (!n.raw_block && dagpb_next(&it, &link))
        tsize = link.tsize > UINT64_MAX - tsize ? UINT64_MAX : tsize + link.tsize;
    *ret = (struct unixfs_root){.cid = *cid, .size = n.file_size, .tsize = tsize};
    return 0;
}

static int dag_lookup(struct mount *m, struct request *r, struct inode *i)
{
    struct cid dir;
    struct unixfs_entry e;
    struct found f = {0};
    dag_key_cid(i, &dir);
    r->root = NULL;
    int rc = i->type == DAG_DIR ? unixfs_dir_lookup(m->source, &dir, span_str(r->name), &e) : ERR_NOT_DIR;
    if (rc == ERR_NOT_FOUND)
        return node_reply_absent(r, YEAR);
    if (rc == 0) {
        siblings_seen(m, &dir, &e, false);
        siblings_used(m, &e.cid);
        rc = dag_found(m, &e.cid, &e, &f);
    }
    if (rc < 0)
        return rc;
    node_reply_found(m, r, &f);
    return 0;
}

/* Unlike dag_found it waits for the size. */
static int dag_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct cid cid;
    struct span block;
    struct found f = {0};
    dag_key_cid(i, &cid);
    siblings_used(m, &cid);
    r->reads_content = i->handles > 0; /* an fstat(2), as cat does: whoever has it open is about to read it */
    int rc = source_get(m->source, &cid, &block);
    if (rc == 0)
        rc = dag_found(m, &cid, NULL, &f);
    if (rc < 0)
        return rc;
    request_attr(r, &f.attr, YEAR);
    return 0;
}

static int dag_readlink(struct mount *m, struct request *r, struct inode *i)
{
    struct cid cid;
    struct span block;
    struct unixfs_node n;
    dag_key_cid(i, &cid);
    int rc = source_get(m->source, &cid, &block);
    if (rc == 0)
        rc = unixfs_parse(&cid, block, &n);
    if (rc < 0)
        return rc;
    if (n.type != UNIXFS_SYMLINK || n.data.len == 0 || n.data.len > TREE_TARGET_MAX)
        return ERR_INVALID;
    char *target = mem_strn(n.data);
    request_readlink(r, target);
    free(target);
    return 0;
}

static int dag_open(struct mount *m, struct request *r, struct inode *i)
{
    struct cid cid;
    dag_key_cid(i, &cid);
    if (request_open_wants(r) & W_OK)
        return ERR_READ_ONLY;
    if (i->type != DAG_FILE && i->type != DAG_BYTES)
        return ERR_IS_DIR;
    siblings_used(m, &cid);
    struct handle *h = handle_new(m, i, r->flags);
    bool complete = i->type == DAG_BYTES && source_has(m->source, &cid);
    uint64_t size;
    if (i->type == DAG_FILE) {
        h->file = unixfs_file_new(&cid);
        complete = unixfs_file_size(h->file, m->source, &size) == 0 && ahead_complete(m, h->file, size);
        source_forget_missing(m->source);
    }
    handle_hold(m, h, &cid);
    handle_reply(m, r, h, complete ? OPEN_KEEP : OPEN_DIRECT);
    return 0;
}

static int read_bytes(struct mount *m, struct request *r, const struct cid *cid)
{
    struct span block;
    int rc = source_get(m->source, cid, &block);
    if (rc < 0)
        return rc;
    struct span part = span_sub(block, r->offset < block.len ? (size_t)r->offset : block.len, r->size);
    request_iov(r, &part, 1);
    return 0;
}

static int read_file(void *file, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out)
{
    return unixfs_read(file, s, offset, len, out);
}

int dag_reply_spans(struct mount *m, struct request *r, struct handle *h)
{
    struct span spans[REQUEST_SPANS_MAX];
    struct read_spans out = {.spans = spans, .max = REQUEST_SPANS_MAX};
    int rc = unixfs_read(h->file, m->source, r->offset, r->size, &out);
    if (rc == ERR_MISSING && h->direct && !r->from_cache && out.bytes > 0)
        rc = 0; /* a short read is allowed without page cache: what is here is not kept back. With it it is the file's end */
    if (rc < 0)
        return rc;
    if (out.more)
        return gather(m, r, &(struct gather_from){read_file, h->file});
    request_iov(r, spans, out.count);
    return 0;
}

static int dag_read(struct mount *m, struct request *r, struct inode *i)
{
    struct handle *h = handle_of(r);
    struct cid cid;
    dag_key_cid(i, &cid);
    r->reads_content = true;
    r->root = &h->held;
    if (!h->file)
        return read_bytes(m, r, &cid);
    uint64_t offset = r->offset;
    size_t size = r->size;
    int rc = dag_reply_spans(m, r, h);
    if (h->direct)
        ahead_read(m, h, &cid, offset, rc == 0 ? size : 0);
    return rc;
}

/* ---- a program that is gone ---- */

#define PF_EXITING 4

/* Page-cache reads are not interrupted when their program dies: but it closes its files, and then nobody waits for them. */
static bool is_gone(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return true;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *p = strrchr(text, ')');
    char state;
    unsigned flags;
    if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
        return true;
    return state == 'Z' || state == 'X' || (flags & PF_EXITING);
}

static bool was_left(const struct request *r, void *arg)
{
    const struct request *flush = arg;
    return r->op == OP_READ && r->handle == flush->handle && (r->pid == flush->pid || is_gone(r->pid));
}

void dag_cancel_left(struct mount *m, struct request *r)
{
    pending_cancel(m->pending, was_left, r, ERR_INTERRUPTED);
}

static int dag_flush(struct mount *m, struct request *r, struct inode *i)
{
    dag_cancel_left(m, r);
    return node_ok(m, r, i);
}

/* ---- listing ---- */

struct listing {
    struct mount *m;
    const struct cid *dir;
    struct dir_out out;
    uint64_t taken;
    mono_ns begun;
};

#define LIST_MOST (10 * MONO_MS) /* what others wait for one part of a listing: each entry may be a folder of many */

/* Places of unixfs_dir_list are shifted by 3: 1 and 2 are the dots */
#define COOKIE_FIRST 3

static int list_entry(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct listing *l = arg;
    struct found f = {0};
    char name[UNIXFS_NAME_MAX + 1];
    if (l->taken > 0 && mono_now() - l->begun > LIST_MOST)
        return 1;
    memcpy(name, e->name.data, e->name.len);
    name[e->name.len] = 0;
    bool room;
    bool known = e->known_file || source_has(l->m->source, &e->cid);
    if (known && dag_found(l->m, &e->cid, e, &f) == 0) {
        room = node_dir_add(l->m, &l->out, name, &f, next + COOKIE_FIRST);
    } else { /* its block would have to be fetched: the type stays unknown until somebody looks */
        set_key(&f, &e->cid);
        room = node_dir_add_plain(&l->out, name, inode_st_ino(&f.key), 0, next + COOKIE_FIRST);
    }
    if (!room)
        return 1;
    l->taken++;
    siblings_seen(l->m, l->dir, e, true);
    return 0;
}

static int dag_readdir(struct mount *m, struct request *r, struct inode *i)
{
    struct cid dir;
    dag_key_cid(i, &dir);
    r->reads_content = true;
    r->why = "waits for the directory's blocks";
    struct listing l = {.m = m, .dir = &dir, .begun = mono_now()};
    dir_out_init(&l.out, r);
    struct inode_key self = {NODE_DAG, 0, inode_key_span(i)};
    if (r->offset < 1 && node_dir_add_plain(&l.out, ".", inode_st_ino(&self), S_IFDIR, 1))
        l.taken++;
    if (r->offset < 2 && node_dir_add_plain(&l.out, "..", 1, S_IFDIR, 2))
        l.taken++;
    uint64_t cursor = r->offset > 2 ? r->offset - COOKIE_FIRST : 0;
    int rc = unixfs_dir_list(m->source, &dir, &cursor, list_entry, &l);
    if (rc < 0 && !(rc == ERR_MISSING && l.taken > 0)) {
        dir_out_drop(&l.out);
        return rc;
    }
    dir_out_send(&l.out); /* what came before a hole goes out; the next call waits for the rest */
    return 0;
}

static int dag_opendir(struct mount *m, struct request *r, struct inode *i)
{
    if (i->type != DAG_DIR)
        return ERR_NOT_DIR;
    struct cid cid;
    dag_key_cid(i, &cid);
    siblings_used(m, &cid);
    struct handle *h = handle_new(m, i, 0);
    handle_hold(m, h, &cid);
    handle_reply(m, r, h, OPEN_CACHE_DIR);
    return 0;
}

static int dag_lseek(struct mount *m, struct request *r, struct inode *i)
{
    struct cid cid;
    struct found f = {0};
    dag_key_cid(i, &cid);
    int rc = dag_found(m, &cid, NULL, &f);
    if (rc < 0)
        return rc;
    return node_lseek_dense(r, (uint64_t)f.attr.st_size);
}

const struct node_ops node_dag = {
    .op =
        {
            [OP_LOOKUP] = dag_lookup,
            [OP_GETATTR] = dag_getattr,
            [OP_READLINK] = dag_readlink,
            [OP_OPEN] = dag_open,
            [OP_READ] = dag_read,
            [OP_FLUSH] = dag_flush,
            [OP_OPENDIR] = dag_opendir,
            [OP_READDIR] = dag_readdir,
            [OP_LSEEK] = dag_lseek,
        },
    .absent = ERR_READ_ONLY,
};
