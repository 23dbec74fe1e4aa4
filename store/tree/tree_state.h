/* SPDX-License-Identifier: MIT
 *
 * What the parts of a tree share: tree_change.c brings operations to the committer, tree_view.c reads records as they are after
 * all of them, tree.c opens and looks, tree_edit.c changes, tree_publish.c derives DAGs, tree_check.c counts.
 *
 * A change is one operation: a list of records to set or delete and of CIDs to refer to or let go. While it is made, each step
 * also goes into the overlay, so that the next step, and every read from then on, sees it; whatever can fail is
 * therefore asked before the first step. Changes have consecutive numbers; the number of the last one that was applied is in
 * the tree's meta record, and one is applied only right after its predecessor: so what is on disk is always the tree
 * after some change, also when one in the middle fails.
 *
 * One exception is made, for want of room. A change that tells of blocks which were refused waits, and all behind it; but a
 * removal may make the room, so it passes, and with it those before it. What these tell is on the disk then with blocks
 * missing, so what the node had before is kept beside it (RECORD_FORMER), still referred to, until the blocks are stored. A
 * start that finds it looks which of the two is there (tree_former.c). What a directory publishes can be made again: that never
 * waits.
 */
#ifndef STORE_TREE_TREE_STATE_H
#define STORE_TREE_TREE_STATE_H

#include "store/block/blockstore_txn.h"
#include "store/tree/overlay.h"
#include "store/tree/tree.h"
#include "store/tree/tree_record.h"

struct unixfs_dir_builder;

/* What is being published, when a call ended in the middle of it (tree_publish.c). */
struct publishing {
    struct buf stack; /* directories, each waits for the one above it */
    struct block_sink *sink;
    unsigned spoilt; /* how often a change undid what was done, since the stack was empty */

    uint64_t dir, number; /* the one that is begun; 0: none. Forgotten when its entries, or anything below it, change: */
    bool empty_file;      /* its block was emitted */
    struct unixfs_dir_builder *builder;
    uint64_t added; /* entries up to this one are in the builder */
    bool all_added;
    bool is_made; /* it only remains to say so in its record */
    struct unixfs_root made;
};

struct change {
    struct store_op op; /* first: the mail is the change */
    struct tree *tree;
    struct change *next; /* in the list of failed, or of spare ones */
    MDB_dbi db;
    uint32_t tree_id;
    uint64_t seq, next_id;
    size_t charged;
    struct store_guard *guard; /* it waits while blocks that it tells of are refused, unless it `passes` */
    uint64_t of;               /* the node whose content it tells; 0: of none */
    uint64_t refusals;         /* that the guard had counted: for which of its blocks it waits */
    bool removes;              /* for this one, nothing before it may wait */
    bool passes;
    bool unsure;  /* it was applied with blocks missing: says the committer */
    bool settles; /* it only says that they are stored */
    struct buf steps;
};

struct tree {
    struct blockstore *bs;
    struct store_reader *reader;
    struct mailbox *reply;
    struct budget *budget;
    uint32_t id;
    struct tree_hooks hooks;
    MDB_dbi db;

    struct overlay *overlay;
    struct buf value; /* of the record that is being set */
    uint64_t seq;     /* of the last change */
    uint64_t next_id;

    unsigned pending;                    /* changes and syncs with the committer */
    struct change *failed, **failed_end; /* in order; the next retry takes all */
    struct change *spare;                /* done with, with their buffers: for the next ones */
    unsigned spares;
    int fault;
    uint64_t through;      /* up to this one nothing waits for room (tree_let_through) */
    struct change *unsure; /* committed so: they come again as those that settle */
    unsigned settling;     /* these, on their way */
    bool closed;

    bool formers;                  /* there may be records of former content. The committer's, once it is open */
    uint32_t looked;               /* links that were followed for them at the start */
    struct store_guard *published; /* of directories' blocks */

    struct publishing publishing;
    uint64_t publish_count;
};

/* ---- tree_change.c ---- */

enum change_kind {
    CHANGE_ADDS,
    CHANGE_REMOVES, /* also while the disk fails: it may make room there. Waits for memory while some is on its way */
    CHANGE_LETS_GO, /* the same, and nobody is there to ask again later */
};
/* May a change begin, of at most `bytes` in all its steps? 0 and *ret; the tree's fault (CHANGE_ADDS only); ERR_AGAIN: the
 * budget gives back later. A change that was begun is submitted or aborted (before its first step). */
int change_begin(struct tree *t, size_t bytes, enum change_kind kind, struct change **ret);
void change_set(struct change *c, const struct tree_key *key, struct span value);
void change_del(struct change *c, const struct tree_key *key);
void change_ref(struct change *c, const struct cid *cid);
void change_unref(struct change *c, const struct cid *cid);
/* The node `id` has other content from now on: what it had is let go of. Of a directory that was nothing, because what it
 * publishes can be made again. */
void change_parts(struct change *c, uint64_t id, const struct tree_former *from);
/* Nobody will ask for what the node `id` had before: because of the change `seq`, or anyhow (0). */
void change_forgets_former(struct change *c, uint64_t id, uint64_t seq);
/* The file `id` takes the name of one that had this content. */
void change_replaces(struct change *c, uint64_t id, uint64_t there, const struct tree_former *content);
void change_submit(struct change *take_c);
void change_abort(struct change *take_c);
int change_apply_first(struct tree *t, struct change *take_c); /* waits for it: only to make a new tree */

#define CHANGE_BYTES 4096u /* what an operation comes to: five nodes with a name, and their keys; targets are added */

/* ---- tree_view.c: between store_read_begin and store_read_end of the tree's reader ---- */

int view_get(struct tree *t, const struct tree_key *key, struct span *ret); /* 0, ERR_NOT_FOUND, a store's error */
int view_node(struct tree *t, uint64_t id, struct tree_record *ret);        /* 0, ERR_STALE, ERR_CORRUPT … */
int view_entry(struct tree *t, struct tree_place at, uint64_t *ret_id);     /* 0, ERR_NOT_FOUND … */
/* The directory `at.parent`, which has a name (or is the root), and that at.name is one: 0, ERR_STALE, ERR_NOT_DIR,
 * ERR_NOT_FOUND (the directory was removed), ERR_INVALID, ERR_NAME_LONG. */
int view_dir(struct tree *t, struct tree_place at, struct tree_record *ret);

/* All records whose key begins with `prefix`, from `from` on. */
struct scan {
    struct tree *tree;
    struct span prefix;
    MDB_cursor *cursor;
    bool disk; /* disk_key and disk_value are the next on disk */
    struct span disk_key, disk_value;
    const struct overlay_entry *over; /* the next in memory */
};
int scan_begin(struct scan *s, struct tree *t, const struct tree_key *prefix, const struct tree_key *from);
int scan_next(struct scan *s, struct span *ret_key, struct span *ret_value); /* 1, 0: the end, <0 */
void scan_end(struct scan *s);                                               /* also after scan_begin failed */

int view_dir_empty(struct tree *t, uint64_t dir); /* 1, 0, <0 */
void view_fill(uint64_t id, const struct tree_record *r, struct tree_node *ret);
int listed_parse(struct span value, enum tree_type *ret_type, struct span *ret_name); /* 0, ERR_CORRUPT */

static inline struct span record_name(const struct tree_record *r)
{
    return (struct span){r->name, r->name_len};
}

/* ---- tree_edit.c ---- */

void edit_put_node(struct change *c, uint64_t id, const struct tree_record *r);
/* A node without a name that nobody uses: it and its references go. Between read_begin and end. */
int edit_let_go(struct tree *t, uint64_t id);
/* The file has what it had before, the directory is to be made again. Between read_begin and end. */
int edit_take_back(struct tree *t, uint64_t id, const struct tree_former *f);

/* ---- tree_former.c ---- */

/* On the committer. What the node had before a change is let go of; or, when not all is there that it has now, kept, unless
 * something older is. */
struct former_step {
    MDB_dbi db;
    struct span key, value;
    uint64_t seq; /* of the change */
};
int former_part(struct tree *t, struct store_txn *txn, const struct former_step *s);
int former_keep(struct tree *t, struct store_txn *txn, const struct former_step *s);
/* No longer kept, if a change behind `only` (0: any) does not keep it. */
int former_drop(struct tree *t, struct store_txn *txn, const struct former_step *s, uint64_t only);
int former_replace(struct tree *t, struct store_txn *txn, const struct former_step *s);
/* At the start, of a node that has such a record: which of the two is there is what it has. Between read_begin and end. 0 or an
 * error. */
int former_settle(struct tree *t, uint64_t id);

/* ---- tree_publish.c ---- */
void publishing_reset(struct publishing *p);
void publishing_touched(struct tree *t, uint64_t dir);

#endif
