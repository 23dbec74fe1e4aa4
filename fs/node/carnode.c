/* SPDX-License-Identifier: MIT
 *
 * ipfs/<cid>.car: the whole DAG as one file. Its size is known when every block has been looked at, so lookup answers at once
 * and stat waits: for blocks that are not held, and for the index, which is made some blocks at a time so that nobody else
 * waits for it. The index is kept with the inode for later reads, and given up for others' sake when nobody has the file
 * open, or when their index needs its memory: it is made again. Of several in the making one goes on, the others begin anew
 * when that is done, since each has what the others lack. */
#include "fs/node/mount_state.h"

#include "store/block/carfile.h"

#include <stdlib.h>
#include <unistd.h>

#define YEAR      (365.0 * 24 * 3600)
#define STEP      1024            /* blocks in one go: about a millisecond */
#define PART      8               /* of the budget: what one index may have; a larger DAG is EFBIG */
#define IDLE_MOST 4               /* indexes that are kept though nobody has them open */
#define WAITED    MONO_S          /* one in the making that was not asked for so long is not waited for */
#define LATER     (100 * MONO_MS) /* until one that gave way looks again */
#define SHORT     (20 * MONO_S)   /* memory that others have for so long does not come back */

struct car {
    struct car *next; /* mount.cars, last used first */
    struct inode *inode;
    struct cid cid;
    struct carfile *file;
    bool whole; /* the size is known, also when the index has been given up */
    uint64_t size;
    mono_ns begun, asked; /* the index, and for it last */
    mono_ns short_since;  /* there is no memory; 0: there is */
};

static struct car *car_of(const struct inode *i)
{
    return i->data;
}

static void unlink_car(struct mount *m, struct car *c)
{
    struct car **at = &m->cars;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
}

static void push_front(struct mount *m, struct car *c)
{
    c->next = m->cars;
    m->cars = c;
}

/* Gives up indexes that nobody has open, but some. */
static void give_up_idle(struct mount *m, const struct car *but)
{
    unsigned keep = IDLE_MOST;
    for (struct car *c = m->cars; c; c = c->next) {
        if (c == but || c->inode->handles > 0 || !c->file)
            continue;
        if (keep > 0)
            keep--;
        else
            c->file = carfile_free(c->file);
    }
}

/* There is no memory: gives up the indexes of others. False: its own, since one in the making began before it. */
static bool make_way(struct mount *m, struct car *c)
{
    bool first = true;
    for (struct car *o = m->cars; o; o = o->next) {
        if (o == c || !o->file)
            continue;
        if (!carfile_complete(o->file) && o->begun < c->begun && c->asked - o->asked < WAITED)
            first = false;
        else
            o->file = carfile_free(o->file);
    }
    if (!first)
        c->file = carfile_free(c->file);
    return first;
}

static struct car *get(struct mount *m, struct inode *i)
{
    struct car *c = car_of(i);
    if (!c) {
        c = MEM_NEW(struct car);
        c->inode = i;
        dag_key_cid(i, &c->cid);
        i->data = c;
    } else {
        unlink_car(m, c);
    }
    push_front(m, c);
    if (c->file)
        return c;
    c->file = carfile_new(&c->cid, m->o.budget, budget_limit(m->o.budget) / PART);
    c->begun = mono_now();
    give_up_idle(m, c);
    return c;
}

static int no_memory(struct mount *m, struct request *r, struct car *c)
{
    r->why = "waits for memory: others have it";
    if (!make_way(m, c)) {
        c->short_since = 0;
        r->wait_on = c; /* which nobody wakes */
        r->look_at = mono_after(c->asked, LATER);
        return ERR_AGAIN;
    }
    c->short_since = c->short_since ? c->short_since : c->asked;
    return c->asked - c->short_since < SHORT ? ERR_AGAIN : ERR_NO_MEMORY;
}

/* 0: all of it is indexed. ERR_AGAIN: in a moment. */
static int whole(struct mount *m, struct request *r, struct car *c)
{
    r->reads_content = true;
    r->root = &c->cid;
    mono_ns now = mono_now();
    c->short_since = now - c->asked < WAITED ? c->short_since : 0; /* nobody has waited since */
    c->asked = now;
    int rc = carfile_index(c->file, m->source, STEP);
    if (rc == ERR_AGAIN)
        return no_memory(m, r, c);
    c->short_since = 0;
    if (rc == 0 && !carfile_complete(c->file)) {
        r->why = "indexes the blocks of a CAR";
        return ERR_AGAIN;
    }
    r->why = NULL;
    if (rc == 0) {
        c->whole = true;
        c->size = carfile_size(c->file);
    }
    return rc;
}

static void attr(const struct mount *m, const struct inode *i, struct stat *st)
{
    struct inode_key k = {NODE_CAR, 0, inode_key_span(i)};
    const struct car *c = car_of(i);
    node_attr(m, st, &k, S_IFREG | 0444, c && c->whole ? c->size : 0);
    node_attr_times(st, 0, 0);
}

void car_found(struct mount *m, const struct cid *cid, struct found *ret)
{
    memcpy(ret->key_bytes, cid->bytes, cid->len);
    ret->key = (struct inode_key){NODE_CAR, 0, {ret->key_bytes, cid->len}};
    const struct inode *i = inode_find(m->inodes, &ret->key);
    const struct car *c = i ? car_of(i) : NULL;
    node_attr(m, &ret->attr, &ret->key, S_IFREG | 0444, c && c->whole ? c->size : 0);
    node_attr_times(&ret->attr, 0, 0);
    ret->entry_timeout = YEAR;
    ret->attr_timeout = c && c->whole ? YEAR : 0;
}

static int car_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct stat st;
    int rc = car_of(i) && car_of(i)->whole ? 0 : whole(m, r, get(m, i));
    if (rc < 0)
        return rc;
    attr(m, i, &st);
    request_attr(r, &st, YEAR);
    return 0;
}

static int car_open(struct mount *m, struct request *r, struct inode *i)
{
    struct cid cid;
    if (request_open_wants(r) & W_OK)
        return ERR_READ_ONLY;
    dag_key_cid(i, &cid);
    struct handle *h = handle_new(m, i, r->flags);
    handle_hold(m, h, &cid);
    handle_reply(m, r, h, car_of(i) && car_of(i)->whole ? OPEN_KEEP : OPEN_DIRECT);
    return 0;
}

static int car_read(struct mount *m, struct request *r, struct inode *i)
{
    struct car *c = get(m, i);
    int rc = whole(m, r, c);
    if (rc < 0)
        return rc;
    uint8_t *p = mem_big(r->size, 1);
    if (!p)
        return ERR_NO_MEMORY;
    int n = carfile_read(c->file, m->source, r->offset, p, r->size);
    if (n >= 0)
        request_data(r, span_of(p, (size_t)n));
    free(p);
    return n < 0 ? n : 0;
}

static int car_flush(struct mount *m, struct request *r, struct inode *i)
{
    dag_cancel_left(m, r);
    return node_ok(m, r, i);
}

static int car_lseek(struct mount *m, struct request *r, struct inode *i)
{
    int rc = whole(m, r, get(m, i));
    return rc < 0 ? rc : node_lseek_dense(r, car_of(i)->size);
}

static void on_free(struct mount *m, struct inode *i)
{
    struct car *c = car_of(i);
    if (!c)
        return;
    unlink_car(m, c);
    carfile_free(c->file);
}

const struct node_ops node_car = {
    .op =
        {
            [OP_GETATTR] = car_getattr,
            [OP_OPEN] = car_open,
            [OP_READ] = car_read,
            [OP_FLUSH] = car_flush,
            [OP_LSEEK] = car_lseek,
        },
    .absent = ERR_READ_ONLY,
    .on_free = on_free,
};
