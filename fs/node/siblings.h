/* SPDX-License-Identifier: MIT
 *
 * Read-ahead over the network among the entries of a directory below ipfs/. Who copies, compares or lists a tree looks at one
 * entry after the other, in the order of the listing; without this each would cost a round trip at least.
 *
 * A walk is a directory whose entries are used in order: as listed, or by inode number. When one that is not held follows on
 * the one before (or is the first of all, after a listing), the first blocks of those behind it are wanted: a window that
 * doubles each time half of it was used. When it comes to the end of the directory, and the directory's parent is walked too,
 * it goes on with the next directory there. A use out of order closes it, and so do some seconds without one: what nobody else
 * wants is cancelled then. Bounded: a few walks, so many wants and bytes each, nothing when memory is tight.
 *
 * The kernel asks about inodes, and an inode of a DAG has no parent: marks tell which entry of which walk a CID was seen as.
 * The fs thread's.
 */
#ifndef FS_NODE_SIBLINGS_H
#define FS_NODE_SIBLINGS_H

#include "store/base/mono.h"
#include "store/unixfs/directory.h"

struct mount;
struct siblings;

struct siblings *siblings_new(void);
struct siblings *siblings_free(struct siblings *s); /* NULL accepted; siblings_drop before */
void siblings_drop(struct mount *m);                /* wants of all walks; at the end */

/* `e` was told as an entry of `dir`: `listed`, or looked up. Inside a read of the store, like the next one. */
void siblings_seen(struct mount *m, const struct cid *dir, const struct unixfs_entry *e, bool listed);
/* Somebody asks what `cid` is or contains: wants what probably comes next. Called again for the same it does nothing. */
void siblings_used(struct mount *m, const struct cid *cid);

mono_ns siblings_deadline(const struct siblings *s);
void siblings_expire(struct mount *m, mono_ns now);

#endif
