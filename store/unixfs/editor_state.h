/* SPDX-License-Identifier: MIT
 *
 * What the parts of the editor share (editor.h tells what it is): editor.c has the verbs of a file, editor_base.c takes
 * chunks and parents from the base DAG, editor_flush.c brings chunks out and makes the root.
 *
 * Invariants. A chunk's `len` is how many of its bytes are given; all behind them, up to the chunk's end or the file's, are
 * zeros. Nothing given lies at or behind `size`, nor does the base count at or behind `base_limit`, the shortest the
 * file ever was. A group's `parent` is right when parent_known and parent.size is the group's present length.
 */
#ifndef STORE_UNIXFS_EDITOR_STATE_H
#define STORE_UNIXFS_EDITOR_STATE_H

#include "store/content/hasher.h"
#include "store/unixfs/editor.h"

#define GROUP_CHUNKS 1024u
#define GROUP_BYTES  ((uint64_t)GROUP_CHUNKS * EDITOR_CHUNK)

enum chunk_state {
    CHUNK_HOLE,  /* len 0 */
    CHUNK_CLEAN, /* a stored leaf of len bytes */
    CHUNK_CUT,   /* a stored leaf that is longer than len */
    CHUNK_BASE,  /* len bytes of the base file at the chunk's place */
    CHUNK_BUF,   /* dirty or away; len is in the buffer */
};

struct chunk {
    union {
        uint8_t digest[SHA256_SIZE];
        struct editor_buf *buf;
    };
    uint32_t len;
    uint16_t at; /* its place in the group */
    uint16_t state;
};
_Static_assert(sizeof(struct chunk) == 40, "what editor.h promises");

struct editor_buf {
    struct block *b;
    uint64_t index;
    uint32_t len;                   /* ≤ b->len when shared, == b->len otherwise */
    bool shared;                    /* others may have the block, too: not to be written into */
    uint64_t written;               /* bytes since it became dirty: at a chunk's worth it is taken to be full */
    struct editor_flight *flight;   /* NULL: dirty, and in the editor's list */
    struct editor_buf *prev, *next; /* oldest write first */
};

/* A chunk of the base on its way into a buffer, in steps: its leaves may be many. Whoever comes first finishes it. */
struct editor_loading {
    struct block *b; /* NULL: none */
    uint64_t index;
    uint32_t len, done;
};

enum group_kind {
    GROUP_HOLE,    /* no chunks are kept: all holes */
    GROUP_OURS,    /* no chunks are kept: as the base has it, whose parent node is `parent` */
    GROUP_FOREIGN, /* no chunks are kept: bytes of a base of another layout */
    GROUP_LOADED,
};

struct group {
    enum group_kind kind;
    bool parent_known;
    bool parent_emitted; /* a store has it */
    struct chunk *chunk; /* GROUP_LOADED: by their place; those that are not here are holes */
    uint16_t count, cap; /* of chunk */
    uint64_t sent_len;   /* of the group when nothing was left to send; a change makes it 0 */
    uint8_t parent_digest[SHA256_SIZE];
    uint64_t parent_size, parent_tsize;
};

struct editor {
    struct budget *budget;
    uint64_t size;

    struct unixfs_root base; /* cid none: no base */
    struct unixfs_file *base_file;
    uint64_t base_limit;
    bool ready;   /* the groups are there */
    bool touched; /* differs from the base, or did */

    struct group *group;
    uint32_t group_count, group_cap;

    struct editor_loading loading;
    struct editor_buf dirty;      /* list head */
    struct editor_flight flights; /* list head */
    unsigned unhashed;
    uint64_t dirty_bytes;
    uint32_t full; /* dirty buffers that count as full */
    uint64_t replaced;
    bool zero_out; /* the chunk of zeros was handed out and not refused, for the next root */

    uint64_t next;     /* the chunk where editor_next goes on looking for what to send */
    struct group hole; /* the parent of a group that is all hole, when parent_known; for the next root */

    bool changed;
    struct unixfs_root last; /* root when !changed */
};

static inline uint64_t editor_chunk_count(uint64_t size)
{
    return size / EDITOR_CHUNK + (size % EDITOR_CHUNK != 0);
}

/* How long chunk `index` is in a file of that size */
static inline uint32_t editor_chunk_len(const struct editor *e, uint64_t index)
{
    uint64_t begin = index * EDITOR_CHUNK;
    if (begin >= e->size)
        return 0;
    return e->size - begin < EDITOR_CHUNK ? (uint32_t)(e->size - begin) : EDITOR_CHUNK;
}

static inline uint64_t editor_group_len(const struct editor *e, uint32_t g)
{
    uint64_t begin = g * GROUP_BYTES;
    return e->size - begin < GROUP_BYTES ? e->size - begin : GROUP_BYTES;
}

static inline void editor_digest_cid(const uint8_t digest[SHA256_SIZE], uint64_t codec, struct cid *ret)
{
    cid_sha256(ret, codec, digest);
}

extern const uint8_t editor_zeros[EDITOR_CHUNK];
extern const uint8_t editor_zeros_digest[SHA256_SIZE];

/* editor_base.c */
int editor_ready(struct editor *e, struct block_source *s);                  /* builds the groups; 0 or an error */
int editor_reserve_groups(struct editor *e, uint64_t size);                  /* before it changes: 0, ERR_NO_MEMORY */
void editor_resize_groups(struct editor *e);                                 /* after it changed */
int editor_load_group(struct editor *e, struct block_source *s, uint32_t g); /* chunks are there afterwards */
/* The chunk for changing: a place is made. Its group is loaded. The pointer lives until the next call. */
struct chunk *editor_chunk_slot(struct editor *e, uint64_t index);
/* The chunk for looking: a hole when it has no place. Its group is loaded. */
struct chunk editor_chunk_look(const struct editor *e, uint64_t index);
struct unixfs_file *editor_base_file(struct editor *e);

/* editor.c */
/* The chunk has a buffer of its own with room for `cap` bytes, that may be written: `keep` of its bytes are in it. */
struct editor_room {
    uint64_t index;
    uint32_t keep, cap;
};
int editor_own_buf(struct editor *e, struct block_source *s, struct editor_room want, struct editor_buf **ret);
void editor_dirty_add(struct editor *e, struct editor_buf *buf); /* at the end of the list */
void editor_dirty_del(struct editor *e, struct editor_buf *buf);
void editor_buf_drop(struct editor *e,
                     struct editor_buf *buf); /* from list or flight, and frees it; the chunk is the caller's */
void editor_group_changed(struct editor *e, uint64_t index);

#endif
