/* SPDX-License-Identifier: MIT
 *
 * A small table of blocks in memory, by multihash: what a thread has just written or just been handed and LMDB does not show
 * yet. It holds references, gives up the least recently used ones beyond its bytes (or half of them when the budget is
 * tight; a newest one that is more than half of that is not counted), and as a source puts itself before another one. One
 * thread owns it.
 *
 * Spans that its source gave live until the owner's next blockcache_add, _drop or _trim: run a whole source function, then
 * add what came.
 */
#ifndef STORE_BLOCK_BLOCKCACHE_H
#define STORE_BLOCK_BLOCKCACHE_H

#include "store/block/source.h"

struct blockcache;

/* `budget` may be NULL (only limit_bytes counts). `below` answers what is not here; NULL: nothing else. */
struct blockcache *blockcache_new(struct budget *budget, size_t limit_bytes, struct block_source *below);
struct blockcache *blockcache_free(struct blockcache *c); /* NULL accepted */

void blockcache_add(struct blockcache *c, struct block *b); /* takes a reference of its own; the newest copy wins */
/* A block that must stay until blockcache_unpin (not committed yet): never given up, not counted against the limit. Counts. */
void blockcache_pin(struct blockcache *c, struct block *b);
void blockcache_unpin(struct blockcache *c, const struct cid *cid);
struct block *blockcache_get(struct blockcache *c, const struct cid *cid); /* borrowed; NULL: not here */
/* From `on` until it is off, what is got stays, as if pinned, until all of it is let go of or a later `on` did not get it:
 * for one that runs again and again until what it needs is here at once, though the store may not be able to take it. One that
 * goes on from where it was keeps only what is new. It counts against the limit of the rest. */
void blockcache_keep(struct blockcache *c, bool on);
void blockcache_let_go(struct blockcache *c);
void blockcache_drop(struct blockcache *c, const struct cid *cid);
void blockcache_trim(struct blockcache *c, size_t limit_bytes); /* gives up what exceeds it, once */
size_t blockcache_bytes(const struct blockcache *c);

/* The cache first, then `below`. Valid while the cache lives. */
struct block_source *blockcache_source(struct blockcache *c);

#endif
