/* SPDX-License-Identifier: MIT
 *
 * A writable directory tree whose every state has a root CID: share/, and each own topic. Several trees live in one store
 * environment, told apart by a number in their keys.
 *
 * Names are records (tree_record.h), not blocks: (parent, name) → node, so the 100,000th entry of a folder costs what the
 * first did. An operation takes effect in memory at once (overlay.h), every read sees it, and it is submitted to the committer
 * as one store operation: its records and its references to blocks commit together, in the order of the operations. After a
 * crash the tree is as it was after some operation, not earlier than the last tree_sync that was answered.
 *
 * References. A file refers to its root CID, a symlink whose target ends in `ipfs/<cid>` to that CID (that is how `ln -s`
 * pins), a directory to its published DAG while that is up to date: all through the block store's counts, by the same store
 * operation as the record. Blocks that are referred to and not held are for the owner to fetch (hook `kept`).
 *
 * When the disk is full or fails: the operations that could not be committed stay in memory, visible, in order; new
 * ones that would need room are refused with the error (tree_fault), until a retry has brought them to disk. tree_sync tells.
 *
 * Directory DAGs are derived from the records, only when asked (tree_publish). Names that tempname.h knows are left out of
 * them, everything else is in: files as they are, symlinks as UnixFS symlinks, directories.
 *
 * No hard links: a node has one name (the caller answers EPERM). Names are 1 to 255 bytes without '/' and NUL, not "." or "..".
 *
 * Single owner (the fs thread). Every function reads through the owner's store_reader; when the owner has a read open around a
 * call (spans), it must not have run its mailbox since that read began, because the answers in the mailbox end overlay entries.
 */
#ifndef STORE_TREE_TREE_H
#define STORE_TREE_TREE_H

#include "store/block/blockstore.h"
#include "store/unixfs/layout.h"

struct tree;

#define TREE_ROOT       UINT64_C(1)  /* node id of the root directory of every tree */
#define TREE_FIRST_ID   UINT64_C(16) /* ids of others begin here, so that readdir cookies 1…15 are free for "." and ".." */
#define TREE_NAME_MAX   255
#define TREE_TARGET_MAX 4095

enum tree_type { TREE_FILE = 1, TREE_DIR = 2, TREE_SYMLINK = 3 }; /* on disk: never renumber */

/* A node as a value. */
struct tree_node {
    uint64_t id;     /* persistent, never used again after the node is gone */
    uint64_t parent; /* 0: unlinked (or the root) */
    enum tree_type type;
    uint16_t mode;  /* permission bits, ≤ 07777 */
    bool temporary; /* its name is a temporary one: do not announce */
    bool dirty;     /* directory: `content` is out of date */
    wall_ns mtime, ctime;
    struct unixfs_root content; /* file: its DAG, cid none when empty. Symlink: what it keeps, or none; size: of the target.
                                 * Directory: its published DAG, cid none when never */
};

/* A name in a directory. */
struct tree_place {
    uint64_t parent;
    struct span name;
};

struct tree_hooks {
    /* A reference by symlink to a DAG began or ended: the daemon fetches what is wanted. Called inside the operation. */
    void (*kept)(void *arg, const struct cid *cid, bool kept);
    void *arg;
};

struct tree_options {
    struct blockstore *bs;
    struct store_reader *reader; /* the owner's; outlives the tree */
    struct mailbox *reply;       /* the owner's; outlives the answers (tree_pending) */
    struct budget *budget;       /* BUDGET_STORE: operations on their way; NULL: unbounded */
    uint32_t id;                 /* which tree of the environment */
    struct tree_hooks hooks;
};

#define TREE_SHARE_ID 1

/* Opens the tree, makes it when it is new, lets go of nodes that were unlinked when the last run ended, and decides between old
 * and new where the disk was full then. 0, ERR_CORRUPT,
 * ERR_IO, ERR_VERSION. */
int tree_open(struct tree **ret, const struct tree_options *o, struct why *why);
/* What was submitted is still committed; memory goes when the last answer came. NULL accepted. */
struct tree *tree_free(struct tree *t);

/* ---- looking ---- */

int tree_lookup(struct tree *t, struct tree_place at, struct tree_node *ret); /* 0, ERR_NOT_FOUND, ERR_NOT_DIR, ERR_NAME_LONG */
int tree_get(struct tree *t, uint64_t id, struct tree_node *ret); /* 0, ERR_STALE: no such node; also unlinked ones */
int tree_readlink(struct tree *t, uint64_t id, struct buf *out);  /* appends; 0, ERR_INVALID: not a symlink, ERR_STALE */
/* The node's path from the root, without a leading '/', appended; ERR_STALE when unlinked. */
int tree_path(struct tree *t, uint64_t id, struct buf *out);

struct tree_entry {
    struct span name; /* borrowed until the callback returns */
    uint64_t id;
    enum tree_type type;
    uint64_t cookie; /* continues after this entry */
};
/* Entries after `cookie` (0: from the start), oldest node first, until `emit` returns false or the directory ends. Cookies stay
 * valid whatever changes meanwhile: what was there all the time comes exactly once. "." and ".." are the caller's. `emit` may
 * look (tree_get) but not change the tree. 0, ERR_NOT_DIR, ERR_STALE. */
int tree_readdir(struct tree *t, uint64_t dir, uint64_t cookie, bool (*emit)(void *arg, const struct tree_entry *e), void *arg);

/* ---- changing. All: ERR_AGAIN: too much on its way to disk, call again when `budget` gives; the tree's fault (ERR_NO_SPACE,
 * ERR_IO …); ERR_STALE: a node that is gone; ERR_NAME_LONG, ERR_INVALID for names; ERR_NOT_DIR for parents ---- */

/* New nodes. ERR_EXISTS; symlinks: ERR_NOT_FOUND for an empty target, ERR_NAME_LONG, ERR_INVALID (a NUL) */
int tree_create(struct tree *t, struct tree_place at, unsigned mode, wall_ns now, struct tree_node *ret);
int tree_mkdir(struct tree *t, struct tree_place at, unsigned mode, wall_ns now, struct tree_node *ret);
int tree_symlink(struct tree *t, struct tree_place at, struct span target, wall_ns now, struct tree_node *ret);
/* The node loses its name and lives until tree_forget. ERR_NOT_FOUND; ERR_IS_DIR; ERR_NOT_DIR, ERR_NOT_EMPTY. */
int tree_unlink(struct tree *t, struct tree_place at, wall_ns now);
int tree_rmdir(struct tree *t, struct tree_place at, wall_ns now);

/* Flags as renameat2's. What was at `to` is unlinked: who may have to tree_forget it looks it up before. ERR_NOT_FOUND;
 * ERR_EXISTS (NOREPLACE); ERR_IS_DIR, ERR_NOT_DIR, ERR_NOT_EMPTY as rename(2); ERR_INVALID: a directory into itself, or both
 * flags. Within one tree: others are ERR_XDEV at the caller. */
#define TREE_NOREPLACE 1u
#define TREE_EXCHANGE  2u
int tree_rename(struct tree *t, struct tree_place from, struct tree_place to, unsigned flags, wall_ns now);

struct tree_attr {
    bool set_mode, set_mtime;
    unsigned mode;
    wall_ns mtime;
};
int tree_setattr(struct tree *t, uint64_t id, const struct tree_attr *a, wall_ns now);
/* The file's bytes are `root` from now on: its blocks are in the store, or are to be fetched, or were put before with `guard`
 * (else NULL): while the store refuses one of them this change waits, and so do all behind it, unless it is for want of room
 * and one of those removes something: that may make it. After a crash the file then has what it had before, if not all blocks
 * were stored by then. The new root is referred to and the old one let go in one commit. Sets mtime (to `mtime`, or NULL: now)
 * and ctime. An empty file may be given as cid none: nothing keeps it back, as it may make room. ERR_IS_DIR; ERR_INVALID: a
 * symlink.
 * `gives_up` (the root is none, with the guard): what was told with it will not be stored, since other bytes are on their way.
 * It is let go of, and the file has what it had before that, if there is a crash before the next is told. */
struct tree_content {
    struct unixfs_root root;
    struct store_guard *guard;
    const wall_ns *mtime;
    bool gives_up;
};
int tree_set_content(struct tree *t, uint64_t id, const struct tree_content *to, wall_ns now);
/* Nobody uses the node any more: if it has no name, it is let go. Any id. An error: it cannot be read now; call again, or the
 * next tree_open lets it go. */
int tree_forget(struct tree *t, uint64_t id);

/* ---- durability ---- */

/* done(arg, result) comes by the mailbox when every earlier operation is on disk (0), or could not be brought there (its
 * error). */
void tree_sync(struct tree *t, void (*done)(void *arg, int result), void *arg);
unsigned tree_pending(const struct tree *t); /* operations on their way */
int tree_fault(const struct tree *t);        /* 0, or why operations cannot be committed */
void tree_retry(struct tree *t);             /* submits those again; tree_sync and refused operations also do */
/* Blocks are held until what was told so far is on the disk, and may be the room that it waits for: with the next retry it
 * passes, as for a removal. */
void tree_let_through(struct tree *t);

/* ---- published DAGs ---- */

/* The root CID of a directory (or the DAG of a file) as it is now. Directory blocks go to `sink`, and the directory refers to
 * them until it changes, so that the CID resolves for others. Directories that did not change are not made again. `sink` NULL:
 * only the CID is wanted, nothing is kept. 0; not finished: ERR_AGAIN (there is no room) or ERR_BUSY (enough was done in one
 * call): call again, it goes on where it was; ERR_STALE; errors of sink and store. A sink of which something was not finished
 * lives as long as the tree. */
int tree_publish(struct tree *t, uint64_t id, struct block_sink *sink, struct unixfs_root *ret);
/* For the puts of the blocks that went to such a sink: after a crash a directory that refers to one that was refused is to be
 * published again. Nothing waits for them. */
struct store_guard *tree_publish_guard(struct tree *t);
/* The directory that is begun and not finished: another number for each time that one is; 0: none. While it stays the same,
 * what came to the sink is going to be referred to. */
uint64_t tree_publishing(const struct tree *t);

/* Every CID that a symlink keeps; for the daemon after a start. 0 or an error. */
int tree_each_kept(struct tree *t, void (*each)(void *arg, const struct cid *cid), void *arg);

/* Reads every record: each entry leads to its node and back, every node is reached, orphans are known. 0; ERR_CORRUPT with a
 * sentence. For tests and `p2p verify`. */
struct tree_count {
    uint64_t files, dirs, symlinks, orphans;
};
int tree_check(struct tree *t, struct tree_count *ret, struct why *why);

#endif
