/* SPDX-License-Identifier: MIT
 *
 * The mount: one thread that owns inodes, handles, parked requests and the share tree, and answers the kernel. It reads blocks
 * from the store's map and never waits for the network: a request that misses a block is parked with a deadline, its want goes
 * through the want port, and it runs again when the block came, when it is interrupted, or when its deadline passes.
 *
 * What the mount shows of the rest of the node (peers, figures) it is told by messages; what it cannot do itself (ctl files,
 * ping, petnames) it sends as a command line through the command port. So fs/ knows the store and nothing else.
 */
#ifndef FS_NODE_MOUNT_H
#define FS_NODE_MOUNT_H

#include "store/base/workers.h"
#include "store/block/blockstore.h"
#include "store/block/want.h"

struct mount;
struct tree;

/* ---- commands that others carry out ---- */

/* One command line, e.g. "peer 12D3… ping", "peer 12D3… disconnect", "petname alice 12D3…", "petname alice -", "gc",
 * "limits upload 1M", "connect /ip4/…". Settled exactly once; run() on the mount's thread. The same lines work in .p2p/ctl. */
struct command {
    struct mail mail;
    struct mailbox *reply;
    char *line;        /* owned by the command */
    struct buf answer; /* text */
    int result;        /* 0 or ERR_*; the sentence in why shows in user.p2p.error */
    struct why why;
};
struct command_port {
    void *self;
    int (*post)(void *self, struct command *take_c); /* 0, or ERR_AGAIN: not taken */
};

/* ---- streams that others open for the mount ---- */

struct stream_open {
    struct mail mail; /* run() on the mount's thread when settled, exactly once */
    struct mailbox *reply;
    enum stream_use {
        STREAM_DIAL, /* a peer's service */
        STREAM_FEED, /* the writer's side of an offer of ours that is live */
    } use;
    /* peer: its id; NULL for FEED. service: "udp/NAME" is one of datagrams, NAME one of streams or, if there is none, of
     * datagrams. Owned by the message */
    char *peer, *service;
    uint64_t number; /* under which streams/ shows it */
    mono_ns timeout;
    int result; /* 0; ERR_UNREACHABLE, ERR_DENIED, ERR_TIMEOUT, ERR_OFFLINE, ERR_NOT_FOUND, ERR_CANCELLED … with a sentence */
    int fd;     /* the asker's: a connected socket, STREAM, or SEQPACKET for a service of datagrams */
    struct why why;
    void *engine; /* the port's */
};
struct stream_port {
    void *self;
    int (*post)(void *self, struct stream_open *take_o); /* 0, or an error: not taken */
    void (*cancel)(void *self, struct stream_open *o);   /* asks for an early end; it still comes back */
    uint64_t (*number)(void *self);                      /* one that no other stream has */
};

/* ---- what the mount is told ---- */

/* A row of peers/. All strings are owned by the table. */
struct peer_row {
    const char *id;      /* 12D3KooW… */
    const char *petname; /* "" none */
    bool connected, lan, saved;
    wall_ns last_seen;
    mono_ns rtt;
    struct span status;   /* text of peers/<p>/status, key TAB value lines */
    struct span ledger;   /* text of peers/<p>/ledger */
    struct span services; /* that it offers us: pairs of a file's name and the service, each with its NUL */
};
struct peer_table {
    struct peer_row *rows; /* sorted by id */
    size_t count;
    void *memory; /* freed with peer_table_free */
};
void peer_table_free(struct peer_table *t);

/* What streams/ shows. Strings and spans are owned by the table. */
struct offer_row {
    const char *name;
    const char *target;  /* "tcp 127.0.0.1:22", "live", "none" */
    bool any;            /* everybody may dial it */
    struct span allowed; /* peer ids, each with its NUL */
    struct span status;  /* text of streams/offer/<name>/status */
};
struct stream_row { /* one that is open */
    uint64_t number;
    const char *local, *remote; /* what stands at the two ends, a line each */
    struct span status;         /* text of streams/<number>/status */
};
struct service_table {
    struct offer_row *offers; /* sorted by name */
    size_t offer_count;
    struct stream_row *streams; /* sorted by number */
    size_t stream_count;
    struct span forwards; /* text of streams/forward/status */
    const void *text;     /* what all of these point into; freed with the table and the rows */
};
void service_table_free(struct service_table *t); /* NULL accepted */

/* Texts that others keep: "status", ".p2p/limits", … The name is the path below the mount. */
enum mount_text { MOUNT_TEXT_STATUS, MOUNT_TEXT_LIMITS, MOUNT_TEXT_CTL, MOUNT_TEXTS };

/* Any thread: messages to the mount. Taken pointers are freed by the mount. */
void mount_set_peers(struct mount *m, struct peer_table *take_t);
void mount_set_services(struct mount *m, struct service_table *take_t);
void mount_set_online(struct mount *m, bool online);
/* A stream that was handed over has ended, `whole`: after the peer's own end. Told once of each that was opened. */
void mount_stream_ended(struct mount *m, uint64_t number, bool whole);
/* The newest text of that file; takes the contents of `text`. JSON twins (`X.json`) are made by the mount from the key TAB
 * value lines. */
void mount_set_text(struct mount *m, enum mount_text which, struct buf *take_text);
void mount_add_event(struct mount *m, const char *kind, const char *text); /* a line of .p2p/events */

/* ---- life ---- */

struct mount_options {
    const char *dir; /* mount point; made when missing; a dead mount of ours there is cleared first */
    struct blockstore *store;
    struct workers *workers;
    struct budget *budget;
    struct want_port want;
    struct command_port command;
    struct stream_port stream; /* .post NULL: none */
    /* blocks were written by us: told to the engine so that waiting peers get them; called on the mount's thread */
    void (*have)(void *arg, const struct cid *cids, unsigned count);
    /* share/ began or stopped to keep this root (ln -s ../ipfs/<cid>): the daemon fetches what is missing */
    void (*keep)(void *arg, const struct cid *root, bool kept);
    /* the mount was ended from outside (fusermount3 -u, umount) */
    void (*ended)(void *arg);
    void *arg;
    mono_ns timeout_metadata, timeout_read; /* 10 s; 20 s without progress */
    mono_ns request_limit;                  /* what the kernel allows a request; 0: it is asked */
    const char *const *quiet;               /* programs (comm) whose requests never start a download */
    unsigned quiet_count;
};
/* Mounts and starts the thread. ERR_NOT_FOUND, ERR_NOT_EMPTY, ERR_BUSY (another live mount), ERR_DENIED (no /dev/fuse, …) with
 * a sentence. */
int mount_start(struct mount **ret, const struct mount_options *o, struct why *why);
/* Unmounts, answers every parked request (ECANCELED), flushes and syncs the tree, joins. NULL accepted. Returns when every want
 * and command that was posted has been settled: whoever settles them must still run. */
struct mount *mount_stop(struct mount *m);

/* Reads a text file of the mount by its path (".p2p/waiting", ".p2p/events", "share/…" gives ERR_INVALID) without going
 * through the kernel: for the control socket. done() is called on `reply`'s thread and takes the contents of `text`. */
void mount_read_text(struct mount *m, const char *path, struct mailbox *reply,
                     void (*done)(void *arg, int result, struct buf *text), void *arg);
/* The CID of a path in share/ ("share/photos/x.jpg"), finishing what is being written; directories are derived and stored. */
void mount_cid_of(struct mount *m, const char *path, struct mailbox *reply,
                  void (*done)(void *arg, int result, const struct cid *cid), void *arg);

/* Figures, atomic, any thread */
struct mount_stats {
    uint64_t requests, parked, handles, inodes;
    int fault; /* 0, or ERR_*: why what was written into share/ cannot be stored */
};
void mount_stats(const struct mount *m, struct mount_stats *ret);

#endif
