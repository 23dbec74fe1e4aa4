/* SPDX-License-Identifier: MIT
 *
 * The mount as its own files see it: the state of the fs thread, and what the kinds of nodes share. Private to fs/node.
 *
 * A kind of node is a table of functions, one per request, and for small directories the two functions find and names, from
 * which lookup and listing are made. A function gets the request and the inode it is for, and answers in one of three ways:
 *   0             it has replied
 *   ERR_MISSING,  it can go on when blocks or room have come; it will be called again with the same request and must not have
 *   ERR_AGAIN     changed anything that a second call would do twice (request.phase and .state are for that)
 *   another error the reply, made by the caller
 * Every call is made inside one read of the store: spans live until the function returns.
 */
#ifndef FS_NODE_MOUNT_STATE_H
#define FS_NODE_MOUNT_STATE_H

#include "fs/fuse/pending.h"
#include "fs/fuse/session.h"
#include "fs/node/holds.h"
#include "fs/node/mount.h"
#include "fs/node/near.h"
#include "fs/node/prune.h"
#include "store/block/blockcache.h"
#include "store/tree/tree.h"
#include "store/unixfs/directory.h"
#include "store/unixfs/editor.h"
#include "store/unixfs/reader.h"

#include <pthread.h>

enum node_kind {
    NODE_FIXED,   /* /, .p2p; sub: enum fixed_dir */
    NODE_TEXT,    /* sub: enum text_id, | TEXT_JSON; key: the peer, or nothing */
    NODE_IPFS,    /* ipfs */
    NODE_DAG,     /* key: CID */
    NODE_CAR,     /* key: CID */
    NODE_SHARE,   /* key: id of the tree's node, 8 bytes */
    NODE_PEERS,   /* peers */
    NODE_PEER,    /* key: peer id as text */
    NODE_PETNAME, /* key: petname NUL peer id */
    NODE_STREAMS, /* a directory of streams/ or peers/<p>/streams; sub: enum streams_dir */
    NODE_STREAM,  /* what open dials; sub: enum stream_file */
    NODE_SOCK,    /* symlink to a socket; key: peer NUL service */
    NODE_ALLOW,   /* who may dial; key: offer NUL name as listed NUL peer id, or nothing for `any` */
    NODE_KINDS
};

struct conversation;
struct put;
struct share_file;
struct stream_end;

struct mount {
    struct mount_options o;
    char *dir;
    struct session *session;
    struct mailbox *mailbox;
    pthread_t thread;
    int epoll, room_fd;           /* room_fd: the budget gave bytes back */
    bool stop, ended, interrupts; /* interrupts: some are noted */
    uid_t uid;
    gid_t gid;
    wall_ns started, events_time; /* the second: of the last event */
    mono_ns started_mono, stop_until;

    struct store_reader *reader;
    struct blockcache *cache;
    struct block_source *source; /* the cache, then the store */
    struct inode_table *inodes;
    struct prune prune;
    struct near near;
    struct wants *wants;
    struct pending_table *pending;
    struct siblings *siblings; /* read-ahead in directories */

    /* share/ */
    struct tree *share;
    struct share_file *files;           /* open or unfinished, ring of no order */
    struct handle *handles;             /* all that are open */
    struct car *cars;                   /* indexes of .car files, last used first */
    uint64_t unfinished, syncs, synced; /* dirty bytes are in memory; syncs for holds: begun, the last that was good */
    struct holds holds;                 /* of content whose record is not known to be on disk */
    struct holds syncing;               /* the same, a sync is on its way for them */
    bool sync_running;
    struct share_sink *dirs; /* where blocks of directories go; NULL before the first */
    /* flights: jobs and puts that have not answered; commands: not settled; device: of the mount, major and minor */
    unsigned file_count, flights, commands, device[2];
    struct put *puts_failed;
    int put_error;                /* what the last put answered; 0: it was given up */
    mono_ns next_tick, cache_due; /* the latter: when the cache is given up */
    mono_ns next_probe;           /* while the disk fails: when one write may try again */
    mono_ns next_press;           /* when share_file_press looks at all files again */

    /* told by others */
    struct peer_table *peers;
    struct service_table *services;
    struct buf texts[MOUNT_TEXTS], events, haves; /* haves: CIDs of stored blocks, of which the owner was not told yet */
    struct buf forgotten;                         /* ids of nodes of share/ that are to be let go of (share_forget_again) */
    bool online;
    uint64_t requests[OPS]; /* of the kernel, since the start */

    /* streams */
    struct conversation *conversations; /* of streams/clone */
    struct stream_end *streams;         /* all that are open */
    struct stream_end *dead_streams;    /* freed at the end of the turn: events may still name them */
    uint64_t stream_lookups;
    uint8_t *stream_buf; /* for one read at a time; NULL before the first */

    /* figures, written here, read anywhere */
    _Atomic uint64_t stat_requests, stat_parked, stat_handles, stat_inodes;
    _Atomic int stat_fault;
};

/* ---- kinds ---- */

struct found {
    struct inode_key key;
    uint8_t key_bytes[512]; /* what key.key may point to */
    struct stat attr;
    double entry_timeout, attr_timeout;
    uint8_t type; /* → inode.type */
};

typedef int node_op(struct mount *m, struct request *r, struct inode *i);
typedef int node_allowed(struct mount *m, const struct request *r, const struct inode *i);

struct node_ops {
    node_op *op[OPS];
    node_allowed *allowed; /* before each op; NULL: all may */
    int absent;            /* the answer to a change that is not in the table: ERR_READ_ONLY, ERR_NOT_PERMITTED … */
    /* Small directories. find: 0, ERR_NOT_FOUND, …; names: NUL-terminated, one after the other */
    int (*find)(struct mount *m, struct inode *dir, const char *name, struct found *ret);
    void (*names)(struct mount *m, struct inode *dir, struct buf *out);
    double absent_timeout; /* how long the kernel may remember that a name is not there */
    void (*on_free)(struct mount *m, struct inode *i);
};

extern const struct node_ops node_fixed, node_text, node_ipfs, node_dag, node_car, node_share, node_peers, node_peer,
    node_petname, node_streams, node_stream, node_sock, node_allow;
extern const struct node_ops *const node_kinds[NODE_KINDS];

/* node.c: dispatch and what is common */
int node_run(void *mount, struct request *r); /* the pending table's run */
void node_free_inode(void *mount, struct inode *i);
node_op node_lookup_small, node_opendir_small, node_readdir_small, node_opendir_plain, node_release, node_ok;
/* Replies with the inode for `f`, counting the reference. */
void node_reply_found(struct mount *m, struct request *r, const struct found *f);
int node_reply_absent(struct request *r, double timeout);
void node_attr(const struct mount *m, struct stat *st, const struct inode_key *k, unsigned mode, uint64_t size);
void node_attr_times(struct stat *st, wall_ns mtime, wall_ns ctime);
void node_describe(void *mount, const struct request *r, struct buf *out);
/* Adds an entry to a listing with its reference when d->r->plus; false: no room. */
bool node_dir_add(struct mount *m, struct dir_out *d, const char *name, const struct found *f, uint64_t cookie);
/* The same for an entry of which only type and number are known. `mode`: S_IF… */
bool node_dir_add_plain(struct dir_out *d, const char *name, uint64_t st_ino, unsigned mode, uint64_t cookie);

node_op node_getxattr, node_listxattr; /* xattr.c */
/* SEEK_DATA and SEEK_HOLE: all is data, one hole at the end (MOUNT (18)) */
int node_lseek_dense(struct request *r, uint64_t size);

/* ---- handles ---- */

/* Sequential reading of content that is not all held: ahead.c */
struct ahead {
    struct waiter waiter; /* background */
    uint64_t next;        /* where a sequential reader goes on */
    uint64_t window;      /* bytes; 0: not sequential */
    uint64_t asked;       /* wants were posted up to here */
};

struct handle {
    struct handle *prev, *next; /* mount.handles */
    struct inode *inode;
    unsigned flags;           /* O_* */
    bool direct, listed;      /* listed: of a directory the beginning was read */
    struct buf text;          /* text files: the snapshot; small directories: the names */
    struct unixfs_file *file; /* DAG and share files: the cursor */
    struct cid held;          /* root that may not be collected */
    struct ahead ahead;
    struct stream_end *stream; /* one reference; NULL: not a stream's */
    struct conversation *conversation;
};

struct handle *handle_new(struct mount *m, struct inode *i, unsigned flags);
void handle_free(struct mount *m, struct handle *h);
void handle_free_all(struct mount *m); /* at the end: releases may never come */
static inline struct handle *handle_of(const struct request *r)
{
    return (struct handle *)(uintptr_t)r->handle;
}
void handle_hold(struct mount *m, struct handle *h, const struct cid *root);
/* Replies to OPEN, frees the handle when the kernel did not take it. */
void handle_reply(struct mount *m, struct request *r, struct handle *h, unsigned open_flags);

/* ahead.c: after each read of `h->file`. Also says whether everything in the file is held. */
void ahead_read(struct mount *m, struct handle *h, const struct cid *root, uint64_t offset, size_t len);
bool ahead_complete(struct mount *m, struct unixfs_file *f, uint64_t size);

/* dag.c */
int dag_found(struct mount *m, const struct cid *cid, const struct unixfs_entry *link, struct found *ret);
int dag_reply_spans(struct mount *m, struct request *r, struct handle *h);
void dag_cancel_left(struct mount *m, struct request *r); /* FLUSH: answers reads whose program is gone */
void dag_key_cid(const struct inode *i, struct cid *ret);
/* The root of a whole file for copying it: 0, ERR_MISSING, ERR_IS_DIR … */
int dag_root(struct mount *m, const struct cid *cid, struct unixfs_root *ret);

/* carnode.c: ipfs/<cid>.car */
void car_found(struct mount *m, const struct cid *cid, struct found *ret);

/* text.c */
int text_of(struct mount *m, struct span path, struct buf *out); /* "status.json" … 0, ERR_NOT_FOUND, ERR_NO_MEMORY */
void text_add_event(struct mount *m, const char *kind, const char *text);

/* ---- waiting for something of ours: a request's state ---- */

/* The ticket is the request's state; whoever answers it calls ticket_done, also when the request is gone. */
struct ticket {
    struct mount *m;
    bool done, orphan;
    int result;
    uint64_t mark; /* the request's own */
    struct command *command;
    struct buf answer;
    char *error;
};
struct ticket *ticket_new(struct mount *m, struct request *r);
void ticket_done(struct ticket *t, int result);
/* Sends a command line the first time; ERR_AGAIN until it is settled, then its result (ticket in r->state). */
int command_run(struct mount *m, struct request *r, const char *line);
int command_refused(struct mount *m, const struct request *r, int err, const char *sentence); /* an event; returns err */

/* ---- share/ ---- */
struct share_file *share_file_of(const struct inode *i); /* NULL: none */
void share_file_let_go(struct share_file *f);            /* frees it when nobody needs it any more */
void share_attr(struct mount *m, const struct tree_node *n, struct stat *st);
uint64_t share_id(const struct inode *i);
void share_key(uint64_t id, struct found *f);
int share_settle(struct mount *m, struct request *r, struct share_file *f); /* content → tree; ERR_AGAIN, ERR_MISSING: again */
/* As share_not_again (share_file.h), of an ERR_AGAIN that has another cause perhaps than want of BUDGET_STORE */
int share_not_full(const struct mount *m, int rc);
/* The root CID of a node: settles, publishes; again on ERR_AGAIN, ERR_MISSING. */
int share_root(struct mount *m, struct request *r, uint64_t id, struct unixfs_root *ret);
int share_resolve(struct mount *m, struct span path, struct tree_node *ret);
void share_tick(struct mount *m, mono_ns now);
void share_forget_again(struct mount *m); /* what could not be, because the store could not be read */
/* At the end: starts to settle whatever is dirty. true: nothing is, but for what has no name or can never be. */
bool share_finish_all(struct mount *m);
void share_release_handle(struct mount *m, struct handle *h);
void share_free(struct mount *m);

#endif
