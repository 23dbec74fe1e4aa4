/* SPDX-License-Identifier: MIT */
#include "fs/node/prune.h"

#include "fs/fuse/session.h"
#include "fs/node/mount_state.h"

#include <stdlib.h>

#define BATCH      256
#define LOOKED_MAX 4096 /* in one turn */
#define ROUNDS_MAX 2    /* the first one may find all of them used */

struct batch {
    struct job job; /* first */
    struct mount *m;
    unsigned count;
    uint64_t nodes[BATCH];
    struct buf names; /* number of the directory (8), name, NUL; empty when the kernel takes numbers */
};

static void ask(struct job *j)
{
    struct batch *b = (struct batch *)j;
    struct span names = buf_span(&b->names);
    if (names.len == 0)
        session_prune(b->m->session, b->nodes, b->count);
    for (size_t at = 0; at < names.len;) {
        uint64_t dir;
        memcpy(&dir, names.data + at, sizeof dir);
        const char *name = (const char *)names.data + at + sizeof dir;
        session_forget_name(b->m->session, dir, name);
        at += sizeof dir + strlen(name) + 1;
    }
}

static void on_asked(struct mail *take_m, void *owner)
{
    struct batch *b = (struct batch *)take_m;
    (void)owner;
    b->m->flights--;
    b->m->prune.running = false;
    buf_done(&b->names);
    free(b);
}

static bool may_go(const struct mount *m, const struct inode *i)
{
    return i->lookups > 0 && i->handles == 0 && (i->place || session_can_prune(m->session));
}

static void add(struct batch *b, const struct inode *i)
{
    b->nodes[b->count++] = i->number;
    if (session_can_prune(b->m->session))
        return;
    buf_add(&b->names, &i->place->dir, sizeof i->place->dir);
    buf_add(&b->names, i->place->name, strlen(i->place->name) + 1);
}

static void collect(struct mount *m, struct batch *b)
{
    struct prune *p = &m->prune;
    for (unsigned looked = 0; looked < LOOKED_MAX && b->count < BATCH && p->rounds < ROUNDS_MAX; looked++) {
        struct inode *i = inode_walk(m->inodes, &p->at);
        if (!i)
            p->rounds++;
        else if (i->used)
            i->used = false;
        else if (may_go(m, i))
            add(b, i);
    }
}

void prune_tick(struct mount *m)
{
    struct prune *p = &m->prune;
    if (p->running || m->ended || m->stop)
        return;
    uint64_t share = budget_share(m->o.budget, BUDGET_TABLE);
    if (inode_bytes(m->inodes) <= share / 4 * 3) {
        p->rounds = 0;
        p->resume = 0;
        return;
    }
    uint64_t made = inode_made(m->inodes);
    if (made < p->resume)
        return;
    struct batch *b = MEM_NEW(struct batch);
    b->m = m;
    b->job = (struct job){.mail.run = on_asked, .work = ask, .reply = m->mailbox};
    collect(m, b);
    if (p->rounds == ROUNDS_MAX) {
        p->rounds = 0;
        p->resume = made + inode_count(m->inodes) / 8;
    }
    m->flights++;
    p->running = true;
    if (b->count > 0)
        workers_submit_slow(m->o.workers, &b->job);
    else
        on_asked(&b->job.mail, m);
}

void prune_note(struct mount *m, struct inode *i, const struct stat *attr, uint64_t dir, const char *name)
{
    if (name && !S_ISDIR(attr->st_mode) && !session_can_prune(m->session))
        inode_set_place(m->inodes, i, dir, name);
}
