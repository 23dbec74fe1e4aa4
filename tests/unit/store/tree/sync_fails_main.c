/* SPDX-License-Identifier: MIT
 *
 * A sync that fails. What was written before it may be lost though the next one succeeds: the kernel tells once, and takes the
 * pages for clean afterwards. So nobody may be told that something is on the disk because a later sync succeeded: the power
 * fails right behind that answer, and it is there. */
#include "store/block/blockstore_txn.h"
#include "tests/unit/store/tree/powercut.h"

#include <errno.h>

static void arm_sync(void)
{
    struct disk_shim *s = disk_shim();
    atomic_store(&s->kinds, DISK_SYNC);
    atomic_store(&s->action, DISK_FAIL);
    atomic_store(&s->error, EIO);
    atomic_store(&s->strike_at, atomic_load(&s->calls) + 1);
}

static int apply_put(struct store_op *op, struct store_txn *txn)
{
    struct cid cid;
    (void)op;
    cid_of(&cid, CODEC_RAW, span_str("a block"));
    return store_txn_put(txn, &cid, span_str("a block"), NULL);
}

/* The sync of a commit: what it was to bring is refused, and what came before is not on the disk either. */
static int failing_put(struct bed *b)
{
    struct store_op op = {.apply = apply_put};
    return blockstore_do(b->bs, &op);
}

static void folder(char dir[64])
{
    snprintf(dir, 64, "/tmp/treebed.XXXXXX");
    CHECK(mkdtemp(dir));
}

static void round_of(int (*fail)(struct bed *b))
{
    struct bed b = {.budget = budget_new(BUDGET_MIN)}, after = {.budget = budget_new(BUDGET_MIN)};
    struct tree_node n;
    struct rng rng;
    char path[128];
    rng_init_seed(&rng, 1);
    folder(b.dir);
    folder(after.dir);
    snprintf(path, sizeof path, "%s/record", after.dir);
    disk_shim_begin(b.dir, path);
    bed_open(&b);
    for (unsigned i = 0; i < 4; i++) { /* after whichever of the two meta pages */
        char name[2] = {(char)('a' + i), 0};
        CHECK_EQ(tree_mkdir(b.t, place(TREE_ROOT, name), 0755, 1, &n), 0);
        bed_settle(&b);
        arm_sync();
        CHECK_EQ(fail(&b), ERR_IO);
        CHECK_EQ(bed_sync(&b), 0);
        struct recording r = recording_read(path);
        powercut_make(&r, r.len, LUCK_NONE, &rng, after.dir);
        free(r.bytes);
        bed_open(&after);
        CHECK_EQ(tree_lookup(after.t, place(TREE_ROOT, name), &n), 0);
        bed_close(&after);
        snprintf(path, sizeof path, "%s/data.mdb", after.dir);
        CHECK_EQ(unlink(path), 0);
        snprintf(path, sizeof path, "%s/record", after.dir);
    }
    bed_free(&b);
    bed_remove_dir(after.dir);
    budget_free(after.budget);
}

int main(void)
{
    round_of(bed_sync);
    round_of(failing_put);
    return 0;
}
