/* SPDX-License-Identifier: MIT
 *
 * The inode table: what the kernel may name by number. An inode is made by the first reply that hands it out and lives while
 * the kernel has references (lookups) or somebody of ours has (handles). One inode per (kind, sub, key): in ipfs/ the key is
 * the CID, in share/ the id of the tree's node, elsewhere a text.
 *
 * Two numbers: `number` names the inode in requests; `st_ino` is what users see, a function of kind and key only, so that
 * listings can tell it for entries that have no inode. A number is a slot of the table below 2^32, and how often the slot was
 * used above: what the kernel is told about a number that it has forgotten meanwhile never means another inode.
 *
 * Charged to BUDGET_TABLE, and what the kernel keeps: fs/node/prune.h asks it to forget. One thread: fs.
 */
#ifndef FS_INODE_INODE_H
#define FS_INODE_INODE_H

#include "store/base/budget.h"
#include "store/base/span.h"

struct inode_table;

/* Where the kernel was told of it last: what older kernels must be told to forget it */
struct inode_place {
    uint64_t dir; /* number */
    char name[];
};

struct inode {
    uint64_t number;
    uint64_t lookups; /* the kernel's references */
    uint32_t handles; /* ours */
    uint8_t kind;
    uint8_t type; /* kind's own use */
    uint16_t sub;
    uint16_t key_len;
    bool used; /* since the pruner came by */
    struct inode *next;
    struct inode_place *place; /* NULL: not known */
    void *data;                /* kind's own state, freed by the table's on_free */
    uint8_t key[];
};

struct inode_key {
    unsigned kind, sub;
    struct span key;
};

/* `on_free` is called before an inode goes. `budget` may be NULL. */
struct inode_table *inode_table_new(struct budget *budget, void *owner, void (*on_free)(void *owner, struct inode *i));
/* Frees all that is left: forgets may never come at unmount. NULL accepted. */
struct inode_table *inode_table_free(struct inode_table *t);

/* The inode under exactly this number: for the root. */
struct inode *inode_make_root(struct inode_table *t, const struct inode_key *k);
/* Finds or makes it; a new one has no reference: take one, or inode_settle it. */
struct inode *inode_get(struct inode_table *t, const struct inode_key *k);
struct inode *inode_find(const struct inode_table *t, const struct inode_key *k); /* NULL: none */
struct inode *inode_by_number(const struct inode_table *t, uint64_t number);      /* NULL: none */

static inline struct span inode_key_span(const struct inode *i)
{
    return (struct span){i->key, i->key_len};
}

void inode_hold(struct inode *i);                                          /* handles + 1 */
void inode_unhold(struct inode_table *t, struct inode *i);                 /* may free it */
void inode_forget(struct inode_table *t, struct inode *i, uint64_t count); /* may free it */
void inode_settle(struct inode_table *t, struct inode *i);                 /* frees it when nobody refers to it */

void inode_set_place(struct inode_table *t, struct inode *i, uint64_t dir, const char *name);

/* The next inode of the round that `at` is in; NULL: the round is over, `at` is 0 again. */
struct inode *inode_walk(const struct inode_table *t, size_t *at);
uint64_t inode_bytes(const struct inode_table *t); /* what is charged */
uint64_t inode_made(const struct inode_table *t);  /* since the start */

uint64_t inode_st_ino(const struct inode_key *k);
uint64_t inode_count(const struct inode_table *t);

#endif
