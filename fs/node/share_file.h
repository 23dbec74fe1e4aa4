/* SPDX-License-Identifier: MIT
 *
 * A file of share/ that is open or not yet settled. Shared by all its handles, so that everybody sees the same bytes, size and
 * time, whether they are in an editor's buffers, on their way to the disk, or settled.
 *
 *   no editor --write, truncate--> changed --share_settle: chunks hashed, root made, record submitted--> settled
 *                                     ^                                                                    |
 *                                     +----------write, truncate-------------------------------------------+
 *
 * Settled is not durable: the blocks and the record are on their way to the committer, in order. Until the committer has them,
 * blocks stay readable from the mount's cache (pinned), and those that could not be stored are tried again. The record goes
 * right behind the blocks while the disk works, and after their answers when it does not; one that is behind a block that is
 * refused waits in the tree until that is stored (guard.h): so that after a crash it does not tell of blocks that were refused.
 *
 * Private to share_*.c. One thread.
 */
#ifndef FS_NODE_SHARE_FILE_H
#define FS_NODE_SHARE_FILE_H

#include "fs/node/mount_state.h"

/* Puts of blocks that records will tell of. */
struct share_puts {
    struct store_guard *guard; /* these records wait for those that failed */
    unsigned away;             /* that the store has not answered for, flights too */
    unsigned unstored;         /* of them, those that failed and are tried again */
    uint64_t failures;         /* answers that were bad, in all */
    uint64_t refused;          /* of them, those that this guard has counted */
    unsigned era;              /* of the guard: a put of another is not counted by it */
};

struct share_file {
    struct mount *m;
    struct share_file *prev, *next; /* mount.files */
    struct inode *inode;            /* held */
    uint64_t id;
    unsigned handles, writers;
    unsigned direct;            /* writers past the page cache */
    struct editor *editor;      /* NULL: nothing was changed since it was opened */
    struct unixfs_root content; /* what the tree has (or will have: `unset`) */
    bool unset;                 /* the editor has finished with `content`, the tree was not told yet */
    bool finishing;             /* a request of our own settles it */
    bool mtime_set;             /* utimens came after the last change: it counts */
    bool temporary;
    wall_ns mtime, changed; /* of the last change, while it is not settled */
    mono_ns last_write;
    mono_ns dirty_since; /* the first write that its record does not have; 0: none, or not known */
    struct share_puts puts;
    bool failing;         /* one failed, and its bytes are not on their way again */
    int error;            /* of the last that failed */
    uint64_t told;        /* records of its content */
    uint64_t told_after;  /* mount.syncs then, at the last */
    uint64_t given_up;    /* of them, those that nobody waits for any more */
    uint64_t trimmed;     /* editor_replaced() when its holds were looked through */
    mono_ns failed_until; /* not tried again before, so that a full disk is not hammered */
    mono_ns retry;        /* settle again then; MONO_NEVER: no need */
    uint64_t counted;     /* its part of mount.unfinished */
    struct holds holds;   /* blocks that only this file's next record will refer to, or that wait for those above them */
};

/* Made when there is none: of what the tree has (NULL: it cannot be read, or the node is gone), or of what was read of it. */
struct share_file *share_file_get(struct mount *m, struct inode *i);
struct share_file *share_file_make(struct mount *m, struct inode *i, const struct tree_node *n);
bool share_file_dirty(const struct share_file *f); /* the tree does not have its bytes */
uint64_t share_file_size(const struct share_file *f);
/* Without a name: nobody will see its bytes again once it is closed. */
bool share_file_is_gone(const struct share_file *f);
/* The editor, made when there is none. */
struct editor *share_file_edit(struct share_file *f);
/* A change was made: times, and full chunks are sent off. */
void share_file_touched(struct share_file *f);
/* A change that left the bytes as they were (O_TRUNC of an empty file, ftruncate to the same size): only the time changes. */
int share_file_touch_time(struct share_file *f);
/* Memory is short: chunks of this file, then of others, are sent off though not full. */
void share_file_press(struct share_file *f);
/* Sends off what is `want`ed; 0, ERR_AGAIN, ERR_MISSING … */
int share_file_pump(struct share_file *f, enum editor_want want);
/* What `rc` is: ERR_AGAIN for want of memory that is full of what the disk does not take would come without end. */
int share_not_again(const struct mount *m, int rc);
/* Settles it without anybody waiting. */
void share_file_finish(struct share_file *f);
/* The content is `root` from now on (copy of a whole file): forgets what was written. */
int share_file_replace(struct share_file *f, const struct unixfs_root *root);

void share_have(struct mount *m, const struct cid *cid); /* it is stored: who asks us for it shall hear it */

/* share_put.c: blocks on their way */
int share_put_leaf(struct share_file *f, struct editor_flight *fl); /* hashes, here or on a worker, and stores */
struct share_sink {
    struct block_sink sink; /* first */
    struct mount *m;
    struct share_file *f;   /* NULL: directories' blocks */
    uint64_t publishing;    /* of which directory (tree_publishing); */
    struct holds holds;     /* of its blocks: no record tells of them yet */
    struct holds finished;  /* of those before it: not all are stored perhaps */
    struct share_puts puts; /* the guard is the tree's */
};
void share_sink_init(struct share_sink *s, struct mount *m, struct share_file *f);
void share_put_retry(struct mount *m);       /* those that failed */
void share_put_give_up(struct mount *m);     /* at the end */
void share_holds_told(struct share_file *f); /* its record tells what it has now */
void share_holds_trim(struct share_file *f); /* room lacks: what no record is going to tell of is let go of */
void share_holds_sync(struct mount *m);      /* lets go of holds once their records are on disk */
void share_holds_end(struct mount *m);

#endif
