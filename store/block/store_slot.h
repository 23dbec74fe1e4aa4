/* SPDX-License-Identifier: MIT
 *
 * The places of readers in a block store (store_reader.c): a transaction that is kept between uses, and a ring through which a
 * reader tells the committer what it used.
 */
#ifndef STORE_BLOCK_STORE_SLOT_H
#define STORE_BLOCK_STORE_SLOT_H

#include "store/content/cid.h"

#include <lmdb.h>
#include <stdatomic.h>

#define TOUCH_RING 128 /* power of two */

/* Single producer (the reader's thread), single consumer (the committer) */
struct touch_ring {
    atomic_uint head, tail;
    struct {
        uint8_t len;
        uint8_t bytes[MULTIHASH_MAX];
    } entry[TOUCH_RING];
};

struct reader_slot {
    atomic_bool taken;
    atomic_bool active; /* between begin and end: the committer keeps its hands off */
    _Atomic uint64_t epoch; /* blockstore.read_epoch when it began; right while active */
    MDB_txn *txn;       /* reset between uses; the committer's to abort when the gate is shut and active is false */
    struct touch_ring *_Atomic ring; /* kept from the first use until blockstore_close */
};

#endif
