/* SPDX-License-Identifier: MIT
 *
 * What other threads tell and ask the mount: each call is one message. Messages that only replace a value cannot be refused:
 * their senders are few and slow. */
#include "fs/node/mount_state.h"
#include "fs/node/streams.h"

#include <stdlib.h>

enum tell { TELL_PEERS, TELL_SERVICES, TELL_ONLINE, TELL_TEXT, TELL_EVENT, TELL_STREAM_ENDED };

struct told {
    struct mail mail;
    enum tell what;
    struct peer_table *peers;
    struct service_table *services;
    bool online, whole;
    uint64_t number;
    enum mount_text which;
    struct buf text;
    char *kind;
};

static void set_online(struct mount *m, bool online)
{
    if (m->online == online)
        return;
    m->online = online;
    pending_set_online(m->pending, online);
}

static void swap_peers(struct mount *m, struct told *t)
{
    struct peer_table *old = m->peers;
    m->peers = t->peers;
    t->peers = old;
}

static void swap_services(struct mount *m, struct told *t)
{
    struct service_table *old = m->services;
    m->services = t->services;
    t->services = old;
}

static void swap_text(struct mount *m, struct told *t)
{
    struct buf old = m->texts[t->which];
    m->texts[t->which] = t->text;
    t->text = old;
}

static void run_told(struct mail *take_m, void *owner)
{
    struct told *t = (struct told *)take_m;
    struct mount *m = owner;
    if (m) {
        switch (t->what) {
        case TELL_PEERS:
            swap_peers(m, t);
            break;
        case TELL_SERVICES:
            swap_services(m, t);
            break;
        case TELL_ONLINE:
            set_online(m, t->online);
            break;
        case TELL_TEXT:
            swap_text(m, t);
            break;
        case TELL_EVENT:
            text_add_event(m, t->kind, buf_cstr(&t->text));
            break;
        case TELL_STREAM_ENDED:
            stream_ended(m, t->number, t->whole);
            break;
        }
    }
    peer_table_free(t->peers);
    service_table_free(t->services);
    buf_done(&t->text);
    free(t->kind);
    free(t);
}

static struct told *told_new(enum tell what)
{
    struct told *t = MEM_NEW(struct told);
    t->mail.run = run_told;
    t->what = what;
    return t;
}

void peer_table_free(struct peer_table *t)
{
    if (!t)
        return;
    free(t->memory);
    free(t);
}

void service_table_free(struct service_table *t)
{
    if (!t)
        return;
    free(t->offers);
    free(t->streams);
    free((void *)(uintptr_t)t->text);
    free(t);
}

void mount_set_services(struct mount *m, struct service_table *take_t)
{
    struct told *t = told_new(TELL_SERVICES);
    t->services = take_t;
    mailbox_reply(m->mailbox, &t->mail);
}

void mount_set_peers(struct mount *m, struct peer_table *take_t)
{
    struct told *t = told_new(TELL_PEERS);
    t->peers = take_t;
    mailbox_reply(m->mailbox, &t->mail);
}

void mount_set_online(struct mount *m, bool online)
{
    struct told *t = told_new(TELL_ONLINE);
    t->online = online;
    mailbox_reply(m->mailbox, &t->mail);
}

void mount_set_text(struct mount *m, enum mount_text which, struct buf *take_text)
{
    struct told *t = told_new(TELL_TEXT);
    t->which = which;
    t->text = *take_text;
    *take_text = BUF_INIT;
    mailbox_reply(m->mailbox, &t->mail);
}

void mount_stream_ended(struct mount *m, uint64_t number, bool whole)
{
    struct told *t = told_new(TELL_STREAM_ENDED);
    t->number = number;
    t->whole = whole;
    mailbox_reply(m->mailbox, &t->mail);
}

void mount_add_event(struct mount *m, const char *kind, const char *text)
{
    struct told *t = told_new(TELL_EVENT);
    t->kind = mem_str(kind);
    buf_add_str(&t->text, text);
    mailbox_reply(m->mailbox, &t->mail);
}

/* ---- questions ---- */

struct question {
    struct mail mail;
    char *path;
    struct mailbox *reply;
    void (*done_text)(void *arg, int result, struct buf *text);
    void (*done_cid)(void *arg, int result, const struct cid *cid);
    void *arg;
    int result;
    struct buf text;
    struct cid cid;
};

static void deliver(struct mail *take_m, void *owner)
{
    struct question *q = (struct question *)take_m;
    (void)owner;
    if (q->done_text)
        q->done_text(q->arg, q->result, &q->text);
    else
        q->done_cid(q->arg, q->result, &q->cid);
    buf_done(&q->text);
    free(q->path);
    free(q);
}

static void answer(struct question *q, int result)
{
    q->result = result;
    q->mail.run = deliver;
    mailbox_reply(q->reply, &q->mail);
}

static void run_text(struct mail *take_m, void *owner)
{
    struct question *q = (struct question *)take_m;
    struct mount *m = owner;
    if (!m)
        answer(q, ERR_CANCELLED);
    else if (strncmp(q->path, "share/", 6) == 0 || strncmp(q->path, "ipfs/", 5) == 0)
        answer(q, ERR_INVALID);
    else
        answer(q, text_of(m, span_str(q->path), &q->text));
}

/* A block that is being put: not in the store yet, and nothing says that the disk refuses it */
static bool on_its_way(struct mount *m, const struct cid *cid)
{
    return m->flights > 0 && m->put_error == 0 && !store_has(m->reader, cid);
}

static int root_of(struct mount *m, struct request *r, struct span path, struct cid *ret)
{
    struct tree_node n;
    struct unixfs_root root;
    while (path.len && path.data[0] == '/')
        path = span_from(path, 1);
    if (!span_starts(path, "share") || (path.len > 5 && path.data[5] != '/'))
        return ERR_INVALID;
    int rc = share_resolve(m, span_from(path, 5), &n);
    if (rc == 0)
        rc = share_root(m, r, n.id, &root);
    if (rc == 0)
        *ret = root.cid;
    return rc;
}

/* Whoever asked reads the store. It is the first root that is waited for: there may be others without end. */
static int find_cid(void *owner, struct request *r)
{
    struct question *q = r->state;
    struct mount *m = owner;
    int rc = cid_is_none(&q->cid) ? root_of(m, r, span_str(q->path), &q->cid) : 0;
    if (rc < 0 || !on_its_way(m, &q->cid))
        return rc;
    r->why = "waits for the disk";
    return ERR_AGAIN;
}

static void cid_done(struct request *r, int result)
{
    struct question *q = r->state;
    r->state = NULL;
    answer(q, result);
}

static void run_cid(struct mail *take_m, void *owner)
{
    struct question *q = (struct question *)take_m;
    struct mount *m = owner;
    if (!m || m->stop) {
        answer(q, ERR_CANCELLED);
        return;
    }
    struct request r = {.op = OP_OWN, .run = find_cid, .own_done = cid_done, .state = q};
    pending_run(m->pending, &r);
}

static struct question *ask(const char *path, struct mailbox *reply, void *arg)
{
    struct question *q = MEM_NEW(struct question);
    q->path = mem_str(path);
    q->reply = reply;
    q->arg = arg;
    return q;
}

void mount_read_text(struct mount *m, const char *path, struct mailbox *reply,
                     void (*done)(void *arg, int result, struct buf *text), void *arg)
{
    struct question *q = ask(path, reply, arg);
    q->done_text = done;
    q->mail.run = run_text;
    mailbox_reply(m->mailbox, &q->mail);
}

void mount_cid_of(struct mount *m, const char *path, struct mailbox *reply,
                  void (*done)(void *arg, int result, const struct cid *cid), void *arg)
{
    struct question *q = ask(path, reply, arg);
    q->done_cid = done;
    q->mail.run = run_cid;
    mailbox_reply(m->mailbox, &q->mail);
}
