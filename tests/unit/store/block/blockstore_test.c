/* SPDX-License-Identifier: MIT */
#include "tests/unit/store/block/store_fixture.h"
#include "tests/unit/store/block/store_gate.h"

#include "store/block/fault.h"
#include "store/block/index_rebuild.h"
#include "store/block/store_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#define KIB 1024

Test(blockstore, blocks_come_back)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    static const uint32_t sizes[] = {0, 1, 100, 2000, 4095, 4096, 5000, 262144, 1 << 20, BLOCK_MAX};
    struct block *blocks[10];
    for (int i = 0; i < 10; i++) {
        blocks[i] = raw_block((uint64_t)i, sizes[i]);
        cr_assert_eq(do_put(bs, blocks[i]), 0);
        cr_assert_eq(do_put(bs, blocks[i]), 0); /* again is fine */
    }
    bs = blockstore_close(bs);
    bs = store_open(f.path, 0);
    struct store_reader *r;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    for (int i = 0; i < 10; i++) {
        struct span data;
        uint64_t size;
        cr_assert_eq(store_get(r, &blocks[i]->cid, &data), 0);
        cr_assert(span_eq(data, block_span(blocks[i])));
        cr_assert(store_size(r, &blocks[i]->cid, &size) == 0 && size == sizes[i]);
        cr_assert_eq(store_check(r, &blocks[i]->cid), 0);
        block_unref(blocks[i]);
    }
    struct block *absent = raw_block(99, 10);
    struct block_source *s = store_reader_source(r);
    struct span data;
    cr_assert_eq(source_get(s, &absent->cid, &data), ERR_MISSING);
    cr_assert_eq(source_get(s, &absent->cid, &data), ERR_MISSING);
    cr_assert(s->missing_count == 1 && cid_eq(&s->missing[0], &absent->cid));
    cr_assert_not(source_has(s, &absent->cid));
    source_forget_missing(s);
    cr_assert_eq(s->missing_count, 0);
    store_read_end(r);
    store_reader_free(r);
    block_unref(absent);
    struct blockstore_stats st;
    blockstore_stats(bs, &st);
    cr_assert(st.blocks == 10 && st.live_blocks == 0 && st.fault == 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    folder_remove(&f);
}

/* root → (a → leaf1 leaf2 leaf1) (b → leaf2); leaf1 is linked twice by one parent */
struct small_dag {
    struct block *root, *a, *b, *leaf1, *leaf2;
};

static void small_dag(struct small_dag *d, uint64_t salt)
{
    d->leaf1 = raw_block(salt * 2, 3000);
    d->leaf2 = raw_block(salt * 2 + 1, 5000);
    d->a = node_block((struct cid[]){d->leaf1->cid, d->leaf2->cid, d->leaf1->cid}, 3, salt);
    d->b = node_block(&d->leaf2->cid, 1, salt);
    d->root = node_block((struct cid[]){d->a->cid, d->b->cid}, 2, salt);
}

static void small_dag_free(struct small_dag *d)
{
    block_unref(d->root);
    block_unref(d->a);
    block_unref(d->b);
    block_unref(d->leaf1);
    block_unref(d->leaf2);
}

Test(blockstore, pin_wants_then_keeps)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, 1);
    cr_assert_eq(do_simple(bs, DO_PIN, &d.root->cid), 0);
    struct blockstore_stats s = settle(bs);
    cr_assert(s.wanted_blocks == 1 && s.pins == 1 && s.pins_incomplete == 1);
    cr_assert_eq(do_put(bs, d.root), 0);
    s = settle(bs);
    cr_assert_eq(s.wanted_blocks, 2);
    cr_assert_eq(do_put(bs, d.a), 0);
    cr_assert_eq(do_put(bs, d.leaf1), 0);
    cr_assert_eq(do_put(bs, d.leaf2), 0);
    s = settle(bs);
    cr_assert_eq(s.wanted_blocks, 1);

    struct store_reader *r;
    struct cid at = {0}, wanted;
    struct pin pin;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert_eq(store_wanted_next(r, &at, &wanted), 1);
    cr_assert(cid_eq(&wanted, &d.b->cid));
    cr_assert_eq(store_wanted_next(r, &at, &wanted), 0);
    cr_assert(store_pin_get(r, &d.root->cid, &pin) == 0 && !pin.complete);
    store_read_end(r);

    cr_assert_eq(do_put(bs, d.b), 0);
    do
        blockstore_stats(bs, &s);
    while (s.pins_incomplete > 0); /* the committer notices by itself */
    cr_assert_eq(s.wanted_blocks, 0);
    cr_assert(s.live_blocks == 5 && s.blocks == 5 && s.live_bytes == s.bytes);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert(store_pin_get(r, &d.root->cid, &pin) == 0 && pin.complete);
    store_read_end(r);
    store_reader_free(r);

    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &d.root->cid), 0);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &d.root->cid), ERR_NOT_FOUND);
    cr_assert_eq(do_collect(bs).blocks, 5);
    settle(bs);
    cr_assert_not(has(bs, &d.leaf1->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_stats(bs, &s);
    cr_assert(s.blocks == 0 && s.bytes == 0 && s.wanted_blocks == 0 && s.evicted_blocks == 5);
    blockstore_close(bs);
    small_dag_free(&d);
    folder_remove(&f);
}

/* While blocks come, those whose children are to come wait for them. */
Test(blockstore, a_child_that_comes_was_never_wanted)
{
    enum { LEAVES = 20 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S; /* before anything is submitted */
    struct block *leaves[LEAVES];
    struct cid cids[LEAVES];
    for (unsigned i = 0; i < LEAVES; i++) {
        leaves[i] = raw_block(i, 100);
        cids[i] = leaves[i]->cid;
    }
    struct block *root = node_block(cids, LEAVES, 1), *lonely = node_block(cids, LEAVES / 2, 2);
    struct blockstore_stats s;
    cr_assert_eq(do_simple(bs, DO_PIN, &root->cid), 0);
    cr_assert_eq(do_put(bs, root), 0);
    for (unsigned i = 0; i < LEAVES; i++) {
        blockstore_stats(bs, &s);
        cr_assert(s.wanted_blocks == 0 && s.pending == 1 && s.live_blocks == 1, "before %u", i);
        cr_assert_eq(do_put(bs, leaves[i]), 0);
    }
    blockstore_stats(bs, &s); /* counted where the last one was put */
    cr_assert(s.wanted_blocks == 0 && s.pending == 0 && s.live_blocks == LEAVES + 1);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &root->cid), 0);
    cr_assert_eq(settle(bs).live_blocks, 0);
    cr_assert_eq(do_collect(bs).blocks, LEAVES + 1);

    cr_assert_eq(do_simple(bs, DO_PIN, &lonely->cid), 0);
    cr_assert_eq(do_put(bs, lonely), 0);
    cr_assert_eq(do_put(bs, leaves[0]), 0);
    blockstore_stats(bs, &s);
    cr_assert(s.wanted_blocks == 0 && s.pending == 1);
    cr_assert_eq(do_collect(bs).blocks, 0, "who takes what is not needed counts first");
    blockstore_stats(bs, &s);
    cr_assert(s.wanted_blocks == LEAVES / 2 - 1 && s.pending == 0 && s.live_blocks == 2);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &lonely->cid), 0);
    cr_assert_eq(do_collect(bs).blocks, 2);

    cr_assert_eq(do_simple(bs, DO_PIN, &lonely->cid), 0);
    cr_assert_eq(do_put(bs, lonely), 0);
    bs = blockstore_close(bs);
    bs = store_open(f.path, 0);
    cr_assert_eq(settle(bs).wanted_blocks, LEAVES / 2, "nobody waits after a start");
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    for (unsigned i = 0; i < LEAVES; i++)
        block_unref(leaves[i]);
    block_unref(root);
    block_unref(lonely);
    folder_remove(&f);
}

/* Nothing is to come of it, so nothing waits. */
Test(blockstore, a_dag_that_is_here_is_counted_at_once)
{
    enum { WIDE = 3, DEEP = 5 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S;
    struct blockstore_stats s;
    struct cid below[WIDE], cid = {0};
    unsigned blocks = 0;
    for (unsigned level = 0; level <= DEEP; level++) { /* each of a level has all of the one below */
        struct cid here[WIDE];
        for (unsigned i = 0; i < WIDE; i++, blocks++) {
            struct block *b = level ? node_block(below, WIDE, blocks) : raw_block(i, 100);
            here[i] = cid = b->cid;
            cr_assert_eq(do_put(bs, b), 0);
            block_unref(b);
        }
        memcpy(below, here, sizeof here);
    }
    cr_assert_eq(do_simple(bs, DO_PIN, &cid), 0);
    blockstore_stats(bs, &s);
    cr_assert(s.pending == 0 && s.live_blocks == 1 + DEEP * WIDE, "%llu wait", (unsigned long long)s.pending);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &cid), 0);
    blockstore_stats(bs, &s);
    cr_assert(s.pending == 0 && s.live_blocks == 0, "%llu wait", (unsigned long long)s.pending);
    blockstore_close(bs);
    folder_remove(&f);
}

struct many_op {
    struct store_op op;
    struct block **blocks;
    unsigned count;
};

static int many_apply(struct store_op *op, struct store_txn *txn)
{
    struct many_op *m = (struct many_op *)op;
    int r = 0;
    for (unsigned i = 0; i < m->count && r == 0; i++) {
        r = store_txn_ref(txn, &m->blocks[i]->cid);
        r = r ? r : store_txn_put(txn, &m->blocks[i]->cid, block_span(m->blocks[i]), NULL);
    }
    return r;
}

/* A check needs a moment when nothing is pending, and gets it while blocks come. */
Test(blockstore, nothing_waits_while_a_check_waits)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S;
    struct block *absent = raw_block(1, 100);
    struct store_verify *v;
    struct verify_event e;
    int r;
    cr_assert_eq(store_verify_new(&v, bs, false), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct block *b = node_block(&absent->cid, 1, i);
        cr_assert_eq(do_simple(bs, DO_PIN, &b->cid), 0);
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
        if (i == 0) {
            while ((r = store_verify_step(v, 10, &e)) == 0)
                ;
            cr_assert_eq(r, ERR_AGAIN);
        }
    }
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert(s.pending == 0 && s.wanted_blocks == 1, "%llu wait", (unsigned long long)s.pending);
    while ((r = store_verify_step(v, 10, &e)) == 0 || r == ERR_AGAIN)
        ;
    cr_assert_eq(r, ERR_CLOSED);
    store_verify_free(v);
    cr_assert_eq(bs->cascade.settle, 0);
    blockstore_close(bs);
    block_unref(absent);
    folder_remove(&f);
}

/* Wide ones whose first child is here and whose last one never comes: they cost a commit little, and nobody behind them waits. */
Test(blockstore, many_that_wait_are_in_nobodys_way)
{
    enum { WAITING = 3000, WIDE = 300, CHAIN = 100 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S;
    struct block *leaf = raw_block(1, 100), *waiting[WAITING], *b;
    struct cid top = leaf->cid, wide[WIDE];
    cr_assert_eq(do_put(bs, leaf), 0);
    for (unsigned i = 0; i < CHAIN; i++) {
        b = node_block(&top, 1, i);
        top = b->cid;
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
    }
    for (unsigned i = 0; i < WIDE; i++) {
        wide[i] = leaf->cid;
        wide[i].bytes[wide[i].len - 1] ^= (uint8_t)i;
        wide[i].bytes[wide[i].len - 2] ^= (uint8_t)(i >> 8);
    }
    for (unsigned i = 0; i < WAITING; i++)
        waiting[i] = node_block(wide, WIDE, i);
    struct many_op m = {.op.apply = many_apply, .blocks = waiting, .count = WAITING};
    cr_assert_eq(blockstore_do(bs, &m.op), 0);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert(s.pending == WAITING && s.live_blocks == WAITING);

    uint64_t before = bs->cascade.looked;
    b = raw_block(2, 100);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert_lt(bs->cascade.looked - before, WAITING * WIDE / 20);
    cr_assert_eq(do_simple(bs, DO_PIN, &top), 0);
    blockstore_stats(bs, &s);
    cr_assert(s.pending == WAITING && s.live_blocks == WAITING + CHAIN + 1, "%llu wait", (unsigned long long)s.pending);
    cr_assert_lt(bs->cascade.looked - before, WAITING * WIDE / 10);
    blockstore_close(bs);
    for (unsigned i = 0; i < WAITING; i++)
        block_unref(waiting[i]);
    block_unref(leaf);
    block_unref(b);
    folder_remove(&f);
}

/* What an empty file is of: it takes no room, and goes all the same. */
Test(blockstore, a_block_of_no_bytes_is_collected)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (uint32_t len = 100; len <= 100; len -= 100) { /* the one without comes last */
        struct block *b = raw_block(len, len);
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
    }
    cr_assert_eq(do_collect(bs).blocks, 2);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert_eq(s.blocks, 0);
    blockstore_close(bs);
    folder_remove(&f);
}

Test(blockstore, shared_children_stay)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, 1);
    struct block *other = node_block(&d.a->cid, 1, 77);
    struct block *all[] = {d.root, d.a, d.b, d.leaf1, d.leaf2, other};
    for (int i = 0; i < 6; i++)
        cr_assert_eq(do_put(bs, all[i]), 0);
    cr_assert_eq(do_simple(bs, DO_REF, &d.root->cid), 0);
    cr_assert_eq(do_simple(bs, DO_REF, &d.root->cid), 0); /* two records refer to it */
    cr_assert_eq(do_simple(bs, DO_REF, &other->cid), 0);
    cr_assert_eq(do_simple(bs, DO_UNREF, &d.root->cid), 0);
    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert_eq(do_simple(bs, DO_UNREF, &d.root->cid), 0);
    cr_assert_eq(do_simple(bs, DO_UNREF, &d.root->cid), ERR_CORRUPT); /* never counted */
    cr_assert_eq(do_collect(bs).blocks, 2);                           /* root and b */
    cr_assert(has(bs, &d.leaf1->cid) && has(bs, &d.leaf2->cid) && has(bs, &d.a->cid) && !has(bs, &d.b->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(other);
    small_dag_free(&d);
    folder_remove(&f);
}

Test(blockstore, many_links_count_in_steps)
{
    enum { LINKS = 9000 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct cid *links = mem_array(LINKS, sizeof *links);
    for (unsigned i = 0; i < LINKS; i++)
        cid_of(&links[i], CODEC_RAW, span_of(&i, sizeof i));
    struct block *node = node_block(links, LINKS, 1);
    cr_assert_eq(do_put(bs, node), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &node->cid), 0);
    cr_assert_eq(settle(bs).wanted_blocks, LINKS);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &node->cid), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &node->cid), 0); /* turns round on the way */
    cr_assert_eq(do_simple(bs, DO_UNPIN, &node->cid), 0);
    bs = blockstore_close(bs); /* the queue is left as it is and goes on */
    bs = store_open(f.path, 0);
    struct blockstore_stats s = settle(bs);
    cr_assert(s.wanted_blocks == 0 && s.live_blocks == 0);
    cr_assert_eq(do_collect(bs).blocks, 1);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(node);
    free(links);
    folder_remove(&f);
}

Test(blockstore, identity_roots_keep_what_they_link)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *leaf = raw_block(1, 100);
    struct block *node = node_block(&leaf->cid, 1, 5);
    uint8_t hash[2 + 128] = {HASH_IDENTITY, (uint8_t)node->len};
    memcpy(hash + 2, node->data, node->len);
    struct cid inline_root;
    cr_assert_eq(cid_from_hash(&inline_root, 1, CODEC_DAG_PB, span_of(hash, 2 + node->len)), 0);
    cr_assert_eq(do_put(bs, leaf), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &inline_root), 0);
    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert(has(bs, &leaf->cid) && has(bs, &inline_root));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &inline_root), 0);
    cr_assert_eq(do_collect(bs).blocks, 1);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(leaf);
    block_unref(node);
    folder_remove(&f);
}

Test(blockstore, raw_and_dag_pb_of_one_block)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, 3);
    struct cid raw;
    cid_recode(&raw, &d.b->cid, CODEC_RAW);
    cr_assert_eq(do_put(bs, d.leaf2), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &raw), 0);
    cr_assert_eq(do_put(bs, d.b), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &d.b->cid), 0);
    settle(bs);
    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &d.b->cid), 0);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &raw), 0);
    cr_assert_eq(do_collect(bs).blocks, 2);
    blockstore_close(bs);
    small_dag_free(&d);
    folder_remove(&f);
}

Test(blockstore, holds_protect_what_is_below)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, 1);
    blockstore_hold(bs, &d.root->cid); /* nothing of it is here yet */
    blockstore_hold(bs, &d.root->cid);
    struct block *all[] = {d.leaf1, d.leaf2, d.a, d.root};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(do_put(bs, all[i]), 0);
    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert_eq(do_put(bs, d.b), 0); /* comes later */
    cr_assert_eq(do_collect(bs).blocks, 0);
    struct blockstore_stats s = settle(bs);
    cr_assert(s.live_blocks == 0 && s.wanted_blocks == 0, "a hold wants nothing");
    blockstore_unhold(bs, &d.root->cid);
    cr_assert_eq(do_collect(bs).blocks, 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);

    blockstore_close(bs); /* holds end with the process, whatever was written down */
    bs = store_open(f.path, 0);
    blockstore_hold(bs, &d.b->cid);
    cr_assert_eq(do_collect(bs).blocks, 3);
    cr_assert(has(bs, &d.b->cid) && has(bs, &d.leaf2->cid) && !has(bs, &d.root->cid));
    blockstore_unhold(bs, &d.b->cid);
    cr_assert_eq(do_collect(bs).blocks, 2);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    small_dag_free(&d);
    folder_remove(&f);
}

/* ---- quota ---- */

Test(blockstore, quota_evicts_the_least_recently_used)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 320 * KIB);
    struct block *b[40];
    for (int i = 0; i < 32; i++) {
        b[i] = raw_block((uint64_t)i, 10 * KIB);
        cr_assert_eq(do_put(bs, b[i]), 0);
    }
    struct store_reader *r; /* block 0 is the oldest, and is read */
    struct span data;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert_eq(store_get(r, &b[0]->cid, &data), 0);
    store_read_end(r);
    blockstore_hold(bs, &b[1]->cid);
    for (int i = 32; i < 40; i++) {
        b[i] = raw_block((uint64_t)i, 10 * KIB);
        cr_assert_eq(do_put(bs, b[i]), 0);
    }
    cr_assert(has(bs, &b[0]->cid), "read lately");
    cr_assert(has(bs, &b[1]->cid), "held");
    cr_assert(!has(bs, &b[2]->cid) && !has(bs, &b[3]->cid), "the oldest went");
    cr_assert(has(bs, &b[39]->cid) && has(bs, &b[31]->cid));
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert_leq(s.bytes, 320 * KIB);

    blockstore_set_quota(bs, 50 * KIB);
    do
        blockstore_stats(bs, &s);
    while (s.bytes > 50 * KIB);
    cr_assert(has(bs, &b[1]->cid));
    store_reader_free(r);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    for (int i = 0; i < 40; i++)
        block_unref(b[i]);
    folder_remove(&f);
}

Test(blockstore, quota_refuses_what_live_data_leaves_no_room_for)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 100 * KIB);
    struct block *live = raw_block(1, 60 * KIB), *cache = raw_block(2, 30 * KIB), *big = raw_block(3, 50 * KIB),
                 *fits = raw_block(4, 35 * KIB);
    cr_assert_eq(do_put(bs, live), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &live->cid), 0);
    cr_assert_eq(do_put(bs, cache), 0);
    cr_assert_eq(do_put(bs, big), ERR_QUOTA);
    cr_assert(has(bs, &cache->cid), "nothing is evicted for what cannot fit anyway");
    cr_assert_eq(do_put(bs, fits), 0);
    cr_assert(!has(bs, &cache->cid) && has(bs, &live->cid) && has(bs, &fits->cid));
    cr_assert_eq(do_simple(bs, DO_PIN, &fits->cid), 0);
    cr_assert_eq(do_put(bs, cache), ERR_QUOTA);
    cr_assert_eq(do_simple(bs, DO_UNPIN, &live->cid), 0);
    cr_assert_eq(do_put(bs, cache), 0);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert_eq(s.fault, 0, "a quota is no fault");
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(live);
    block_unref(cache);
    block_unref(big);
    block_unref(fits);
    folder_remove(&f);
}

/* ---- groups ---- */

struct tried_op {
    struct store_op op;
    struct block *block;
    MDB_dbi db;
    int fail; /* after having written */
    int applied;
};

static int tried_apply(struct store_op *op, struct store_txn *txn)
{
    struct tried_op *t = (struct tried_op *)op;
    t->applied++;
    int r = store_txn_put(txn, &t->block->cid, block_span(t->block), NULL);
    if (r == 0)
        r = store_txn_set(txn, t->db, cid_hash(&t->block->cid), span_str("x"));
    return r ? r : t->fail;
}

Test(blockstore, a_failed_operation_is_undone_alone)
{
    enum { N = 9 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    MDB_dbi db;
    cr_assert_eq(blockstore_record_db(bs, "test.names", 0, &db), 0);
    struct mailbox *mb = mailbox_new(64, NULL);
    struct gate_op gate;
    gate_shut(&gate, bs, mb);
    struct blockstore_stats before, after;
    blockstore_stats(bs, &before);
    struct tried_op ops[N];
    for (int i = 0; i < N; i++) {
        ops[i] = (struct tried_op){.op = {.mail.run = ignore_mail, .apply = tried_apply, .reply = mb},
                                   .block = raw_block((uint64_t)i, 100),
                                   .db = db,
                                   .fail = i == 4 ? ERR_EXISTS : 0};
        blockstore_submit(bs, &ops[i].op);
    }
    sem_post(&gate.go);
    for (int n = 0; n < N + 1;) {
        (void)mailbox_wait(mb, MONO_NEVER);
        n += (int)mailbox_run(mb, 64);
    }
    blockstore_stats(bs, &after);
    cr_assert_eq(after.commits - before.commits, 1, "one commit for the group");
    cr_assert_eq(after.blocks, N - 1);
    struct store_reader *r;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    for (int i = 0; i < N; i++) {
        MDB_val k = {cid_hash(&ops[i].block->cid).len, (void *)(uintptr_t)cid_hash(&ops[i].block->cid).data}, v;
        cr_assert_eq(ops[i].op.result, ops[i].fail);
        cr_assert_eq(store_has(r, &ops[i].block->cid), i != 4);
        cr_assert_eq(mdb_get(store_reader_txn(r), db, &k, &v) == 0, i != 4);
        block_unref(ops[i].block);
    }
    store_read_end(r);
    store_reader_free(r);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    mailbox_free(mb);
    folder_remove(&f);
}

static int records_apply(struct store_op *op, struct store_txn *txn)
{
    struct tried_op *t = (struct tried_op *)op;
    struct span got;
    if (store_txn_get(txn, t->db, span_str("k"), &got) != ERR_NOT_FOUND)
        return ERR_FAILED;
    if (store_txn_del(txn, t->db, span_str("k")) != ERR_NOT_FOUND)
        return ERR_FAILED;
    if (store_txn_set(txn, t->db, span_str("k"), span_str("v")) || store_txn_set(txn, t->db, span_str("k2"), span_str("v2")))
        return ERR_FAILED;
    if (store_txn_get(txn, t->db, span_str("k"), &got) || !span_eq_str(got, "v"))
        return ERR_FAILED;
    char long_key[600] = {0};
    if (store_txn_set(txn, t->db, span_of(long_key, sizeof long_key), span_str("v")) != ERR_INVALID)
        return ERR_FAILED;
    if (store_txn_put(txn, &t->block->cid, block_span(t->block), NULL) ||
        source_get(store_txn_source(txn), &t->block->cid, &got) || !span_eq(got, block_span(t->block)))
        return ERR_FAILED;
    return store_txn_del(txn, t->db, span_str("k"));
}

Test(blockstore, records)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct tried_op op = {.op.apply = records_apply, .block = raw_block(1, 10)};
    cr_assert_eq(blockstore_record_db(bs, "test.one", 0, &op.db), 0);
    MDB_dbi same;
    cr_assert(blockstore_record_db(bs, "test.one", 0, &same) == 0 && same == op.db);
    cr_assert_eq(blockstore_do(bs, &op.op), 0);
    for (int i = 1; i < BLOCKSTORE_RECORD_DBS; i++) {
        char name[32];
        snprintf(name, sizeof name, "test.more%d", i);
        cr_assert_eq(blockstore_record_db(bs, name, 0, &same), 0);
    }
    cr_assert_eq(blockstore_record_db(bs, "test.toomany", 0, &same), ERR_LIMIT);
    blockstore_close(bs);
    block_unref(op.block);
    folder_remove(&f);
}

/* ---- pins ---- */

Test(blockstore, pins_are_listed_in_pages)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct mailbox *mb = mailbox_new(8, NULL);
    struct block *b[20];
    char long_name[400];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    for (int i = 0; i < 20; i++) {
        struct waited w = {.done = false};
        b[i] = raw_block((uint64_t)i, 10);
        blockstore_pin(bs, &b[i]->cid, i == 0 ? long_name : i == 1 ? NULL : "film", mb, on_result, &w);
        wait_mail(mb, &w.done);
        cr_assert_eq(w.result, 0);
    }
    struct waited w = {.done = false};
    blockstore_pin(bs, &b[2]->cid, "renamed", mb, on_result, &w);
    wait_mail(mb, &w.done);
    w.done = false;
    blockstore_pin_complete(bs, &b[3]->cid, 0, mb, on_result, &w);
    wait_mail(mb, &w.done);
    cr_assert_eq(w.result, 0);

    struct store_reader *r;
    struct cid at = {0};
    struct pin pin;
    int count = 0, seen[20] = {0};
    cr_assert_eq(store_reader_new(bs, &r), 0);
    for (;;) { /* a page of one, each in its own snapshot */
        cr_assert_eq(store_read_begin(r), 0);
        int got = store_pin_next(r, &at, &pin);
        store_read_end(r);
        if (got == 0)
            break;
        cr_assert_eq(got, 1);
        count++;
        for (int i = 0; i < 20; i++)
            if (cid_eq(&pin.cid, &b[i]->cid)) {
                seen[i]++;
                cr_assert_eq(strlen(pin.name), i == 0 ? 255 : i == 1 ? 0 : i == 2 ? 7 : 4);
                cr_assert_eq(pin.complete, i == 3);
                cr_assert_gt(pin.since, 0);
            }
    }
    cr_assert_eq(count, 20);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(seen[i], 1);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    cr_assert(s.pins == 20 && s.pins_incomplete == 19 && s.wanted_blocks == 20);
    for (int i = 0; i < 20; i++) {
        w.done = false;
        blockstore_unpin(bs, &b[i]->cid, mb, on_result, &w);
        wait_mail(mb, &w.done);
        cr_assert_eq(w.result, 0);
        block_unref(b[i]);
    }
    blockstore_stats(bs, &s);
    cr_assert(s.pins == 0 && s.pins_incomplete == 0 && s.wanted_blocks == 0);
    store_reader_free(r);
    mailbox_free(mb);
    blockstore_close(bs);
    folder_remove(&f);
}

/* ---- faults ---- */

/* Fails the n-th write for every n: each operation says what it did, and afterwards everything works and agrees. */
static void fault_round(unsigned long n, enum fault_action action, bool *ret_struck)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, n);
    struct block *all[] = {d.leaf1, d.leaf2, d.a, d.root, d.b};
    bool stored[5];
    unsigned long passed = fault_passed();
    fault_arm(n, action);
    for (int i = 0; i < 5; i++)
        stored[i] = do_put(bs, all[i]) == 0;
    bool pinned = do_simple(bs, DO_PIN, &d.root->cid) == 0;
    int synced = do_sync(bs);
    settle(bs);
    fault_arm(0, action);
    *ret_struck = fault_passed() - passed >= n;
    for (int i = 0; i < 5; i++) {
        bool held = has(bs, &all[i]->cid); /* a full disk may have evicted cache: never an error of the put */
        cr_assert(action == FAULT_IO ? held == stored[i] : stored[i] || !held, "fault %lu, block %d", n, i);
        cr_assert_eq(do_put(bs, all[i]), 0); /* works again */
    }
    cr_assert_eq(do_simple(bs, DO_REF, &d.leaf1->cid), 0);
    cr_assert_eq(do_simple(bs, DO_UNREF, &d.leaf1->cid), 0);
    struct blockstore_stats s = settle(bs);
    cr_assert_eq(s.fault, 0);
    cr_assert_eq(s.pins, pinned);
    cr_assert_eq(do_collect(bs).blocks, pinned ? 0 : 5);
    cr_assert_eq(do_sync(bs), 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    (void)synced; /* may have failed: then it said so */
    blockstore_close(bs);
    small_dag_free(&d);
    folder_remove(&f);
}

Test(blockstore, any_write_may_fail, .timeout = 120)
{
    bool struck = true;
    unsigned long n = 1;
    for (; struck; n++)
        fault_round(n, n % 2 ? FAULT_IO : FAULT_NO_SPACE, &struck);
    cr_assert_gt(n, 30);
}

/* ---- what is on the disk ---- */

static void data_path(const struct folder *f, char path[128])
{
    snprintf(path, 128, "%s/data.mdb", f->path);
}

static int open_again(const struct folder *f, struct why *why)
{
    struct blockstore *bs = NULL;
    struct blockstore_options o = {.dir = f->path};
    *why = (struct why){""};
    int r = blockstore_open(&bs, &o, why);
    blockstore_close(bs);
    return r;
}

static void fill(const struct folder *f, unsigned blocks)
{
    struct blockstore *bs = store_open(f->path, 0);
    for (unsigned i = 0; i < blocks; i++) {
        struct block *b = raw_block(i, 20000);
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
    }
    blockstore_close(bs);
}

Test(blockstore, a_damaged_file_is_refused_with_a_sentence)
{
    struct folder f;
    struct why why;
    char path[128];
    uint8_t page[8192];
    folder_make(&f);
    data_path(&f, path);
    fill(&f, 40);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);

    cr_assert_eq(truncate(path, st.st_size - 100 * 4096), 0); /* cut off */
    cr_assert_eq(open_again(&f, &why), ERR_CORRUPT);
    cr_assert(strstr(why.text, "cut off"), "%s", why.text);
    struct stat after;
    cr_assert(stat(path, &after) == 0 && after.st_size == st.st_size - 100 * 4096, "left as it was");

    static const size_t cuts[] = {1, 16, 100, 4096, 4196, 8191};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        cr_assert_eq(truncate(path, (off_t)cuts[i]), 0);
        cr_assert_eq(open_again(&f, &why), ERR_CORRUPT, "cut to %zu", cuts[i]);
        cr_assert_gt(strlen(why.text), 10);
    }
    int fd = open(path, O_RDWR | O_TRUNC);
    memset(page, 0xa5, sizeof page);
    cr_assert_eq(write(fd, page, sizeof page), (ssize_t)sizeof page);
    close(fd);
    cr_assert_eq(open_again(&f, &why), ERR_CORRUPT);
    cr_assert(strstr(why.text, path), "%s", why.text);
    cr_assert_eq(truncate(path, 0), 0); /* empty is new */
    cr_assert_eq(open_again(&f, &why), 0);
    folder_remove(&f);
}

/* A file that ends before its last page because the pages there were freed unwritten is whole. */
Test(blockstore, a_short_but_whole_file_is_taken)
{
    struct folder f;
    struct why why;
    folder_make(&f);
    fill(&f, 30);
    struct blockstore *bs = store_open(f.path, 0);
    cr_assert_eq(do_collect(bs).blocks, 30);
    struct block *b = raw_block(100, 10);
    for (int i = 0; i < 4; i++) /* a few commits, so that the freed pages are in the list */
        cr_assert_eq(do_simple(bs, i % 2 ? DO_UNREF : DO_REF, &b->cid), 0);
    blockstore_close(bs);
    block_unref(b);
    char path[128];
    data_path(&f, path);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_gt(st.st_size, 30 * 20000);
    cr_assert_eq(truncate(path, st.st_size - 3 * 4096), 0); /* the last blocks' pages: free, and as if never written */
    cr_assert_eq(open_again(&f, &why), 0, "%s", why.text);
    folder_remove(&f);
}

Test(blockstore, a_missing_folder_and_a_newer_format)
{
    struct folder f;
    struct why why;
    folder_make(&f);
    struct folder gone = f;
    strcat(gone.path, "-gone");
    cr_assert_eq(open_again(&gone, &why), ERR_NOT_FOUND);
    cr_assert(strstr(why.text, gone.path), "%s", why.text);
    fill(&f, 1);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi info;
    uint32_t format = 7;
    char key[] = "format";
    MDB_val k = {6, key}, v = {sizeof format, &format};
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, f.path, 0, 0600) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "info", 0, &info) == 0);
    cr_assert(mdb_put(txn, info, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
    cr_assert_eq(open_again(&f, &why), ERR_VERSION);
    cr_assert(strstr(why.text, "newer"), "%s", why.text);
    folder_remove(&f);
}

/* ---- verify ---- */

/* Changes one record of the closed store behind its back. */
#define GONE (SIZE_MAX - 1)

static void tamper(const struct folder *f, const char *name, struct span key, size_t at, uint8_t xor)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    MDB_val k = {key.len, (void *)(uintptr_t)key.data}, v;
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, f->path, 0, 0600) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, name, 0, &db) == 0);
    cr_assert_eq(mdb_get(txn, db, &k, &v), 0);
    uint8_t *copy = mem_copy(v.mv_data, v.mv_size);
    if (at == SIZE_MAX)
        v.mv_size--; /* shorter */
    else if (at != GONE)
        copy[at] ^= xor;
    v.mv_data = copy;
    cr_assert_eq(at == GONE ? mdb_del(txn, db, &k, NULL) : mdb_put(txn, db, &k, &v, 0), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    free(copy);
}

static void check_tampered(const char *name, size_t at, uint8_t xor, enum verify_problem expected, bool goes)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct small_dag d;
    small_dag(&d, 1);
    struct block *all[] = {d.root, d.a, d.b, d.leaf1, d.leaf2};
    for (int i = 0; i < 5; i++)
        cr_assert_eq(do_put(bs, all[i]), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &d.root->cid), 0);
    settle(bs);
    bs = blockstore_close(bs);
    tamper(&f, name, cid_hash(&d.leaf2->cid), at, xor);
    bs = store_open(f.path, 0);
    enum verify_problem first = VERIFY_TOTAL;
    cr_assert_geq(verify_all(bs, true, &first), 1, "%s at %zu", name, at);
    cr_assert_eq(first, expected, "%s at %zu: %s", name, at, verify_problem_text(first));
    if (goes) {
        do_sync(bs);
        struct blockstore_stats s = settle(bs);
        cr_assert_not(has(bs, &d.leaf2->cid));
        (void)verify_all(bs, true, NULL); /* counts and totals that followed from it */
        s = settle(bs);
        cr_assert_eq(s.wanted_blocks, 1);
        cr_assert_eq(s.pins_incomplete, 1);
        cr_assert_eq(do_put(bs, d.leaf2), 0);
    }
    do_sync(bs);
    settle(bs);
    cr_assert_eq(verify_all(bs, false, NULL), 0, "%s at %zu", name, at);
    cr_assert_eq(do_collect(bs).blocks, 0);
    blockstore_close(bs);
    small_dag_free(&d);
    folder_remove(&f);
}

Test(blockstore, verify_finds_and_repairs)
{
    check_tampered("blocks", 100, 1, VERIFY_DAMAGED, true);
    check_tampered("blocks", SIZE_MAX, 0, VERIFY_SIZE, true);
    check_tampered("rows", 24, 4, VERIFY_COUNT, false);         /* 2 → 6 */
    check_tampered("rows", 24, 3, VERIFY_COUNT, false);         /* 2 → 1 */
    check_tampered("rows", 8, 1, VERIFY_SIZE, true);            /* the recorded size */
    check_tampered("rows", SIZE_MAX, 0, VERIFY_DAMAGED, false); /* the row itself: the block is held for who refers to it */
    check_tampered("rows", 31, 0x80, VERIFY_COUNT, false);      /* a count of 2^63 and more */
    check_tampered("rows", 30, 0x10, VERIFY_COUNT, false);
}

/* A bit of a key rotted: it is no multihash any more. */
static void rename_key(const struct folder *f, const char *name, struct span key)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    uint8_t *other = mem_copy(key.data, key.len);
    MDB_val k = store_val(key), to = {key.len, other}, v;
    other[0] ^= 2;
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, f->path, 0, 0600) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, name, 0, &db) == 0);
    cr_assert(mdb_get(txn, db, &k, &v) == 0);
    uint8_t *copy = mem_copy(v.mv_data, v.mv_size);
    v.mv_data = copy;
    cr_assert(mdb_put(txn, db, &to, &v, 0) == 0 && mdb_del(txn, db, &k, NULL) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
    free(copy);
    free(other);
}

Test(blockstore, verify_goes_on_behind_a_key_that_is_no_hash)
{
    static const char *const names[] = {"blocks", "rows"};
    for (unsigned i = 0; i < 3; i++) { /* one, the other, both */
        struct folder f;
        struct small_dag d;
        folder_make(&f);
        struct blockstore *bs = store_open(f.path, 0);
        small_dag(&d, 1);
        struct block *all[] = {d.root, d.a, d.b, d.leaf1, d.leaf2};
        for (int j = 0; j < 5; j++)
            cr_assert_eq(do_put(bs, all[j]), 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &d.root->cid), 0);
        settle(bs);
        blockstore_close(bs);
        for (unsigned n = 0; n < 2; n++)
            if (i == n || i == 2)
                rename_key(&f, names[n], cid_hash(&d.leaf2->cid));
        bs = store_open(f.path, 0);
        cr_assert_geq(verify_all(bs, false, NULL), 2); /* the key, and what is not under it */
        cr_assert_geq(verify_all(bs, true, NULL), 2);
        do_sync(bs);
        settle(bs);
        (void)verify_all(bs, true, NULL); /* counts and totals that followed from it */
        cr_assert_eq(do_put(bs, d.leaf2), 0);
        do_sync(bs);
        settle(bs);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        cr_assert(has(bs, &d.leaf2->cid));
        cr_assert_eq(do_collect(bs).blocks, 0);
        blockstore_close(bs);
        small_dag_free(&d);
        folder_remove(&f);
    }
}

/* Rows are lost, all of them or all but one, and blocks are there: who refers to them has them again, level by level. */
Test(blockstore, verify_finds_blocks_again_whose_rows_are_gone)
{
    for (unsigned kept = 0; kept < 2; kept++) {
        struct folder f;
        struct small_dag d;
        struct blockstore_stats s;
        folder_make(&f);
        struct blockstore *bs = store_open(f.path, 0);
        small_dag(&d, 1);
        struct block *all[] = {d.root, d.a, d.b, d.leaf1, d.leaf2}, *other = raw_block(77, 100);
        for (int i = 0; i < 5; i++)
            cr_assert_eq(do_put(bs, all[i]), 0);
        cr_assert_eq(do_put(bs, other), 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &d.root->cid), 0);
        settle(bs);
        blockstore_close(bs);
        for (int i = (int)kept; i < 5; i++)
            tamper(&f, "rows", cid_hash(&all[i]->cid), GONE, 0);
        tamper(&f, "rows", cid_hash(&other->cid), GONE, 0);
        bs = store_open(f.path, 0);
        unsigned runs = 0;
        while (verify_all(bs, true, NULL) > 0) {
            do_sync(bs);
            settle(bs);
            cr_assert_lt(++runs, 8);
        }
        blockstore_stats(bs, &s);
        cr_assert(s.blocks == 5 && s.wanted_blocks == 0 && s.pins_incomplete == 0);
        for (int i = 0; i < 5; i++)
            cr_assert(has(bs, &all[i]->cid));
        cr_assert_not(has(bs, &other->cid)); /* nobody refers to it */
        cr_assert_eq(do_collect(bs).blocks, 0);
        cr_assert_eq(do_simple(bs, DO_UNPIN, &d.root->cid), 0);
        settle(bs);
        cr_assert_eq(do_collect(bs).blocks, 5);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        blockstore_close(bs);
        block_unref(other);
        small_dag_free(&d);
        folder_remove(&f);
    }
}

/* ---- bits that rot on the disk ---- */

static int get_once(struct blockstore *bs, const struct cid *cid)
{
    struct store_reader *r;
    struct span data;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    int result = store_get(r, cid, &data);
    store_read_end(r);
    store_reader_free(r);
    return result;
}

struct rotten {
    struct folder f;
    struct small_dag d;
    struct blockstore *bs;
};

/* A store with a pinned DAG, closed, one bit of block `which` flipped, opened again */
static void rot(struct rotten *r, struct block *(*which)(struct small_dag *d))
{
    folder_make(&r->f);
    small_dag(&r->d, 1);
    r->bs = store_open(r->f.path, 0);
    struct block *all[] = {r->d.root, r->d.a, r->d.b, r->d.leaf1, r->d.leaf2};
    for (int i = 0; i < 5; i++)
        cr_assert_eq(do_put(r->bs, all[i]), 0);
    cr_assert_eq(do_simple(r->bs, DO_PIN, &r->d.root->cid), 0);
    settle(r->bs);
    blockstore_close(r->bs);
    struct block *b = which(&r->d);
    tamper(&r->f, "blocks", cid_hash(&b->cid), b->len - 1, 0x10);
    r->bs = store_open(r->f.path, 0);
}

static void rot_done(struct rotten *r)
{
    do_sync(r->bs);
    settle(r->bs);
    cr_assert_eq(verify_all(r->bs, false, NULL), 0);
    cr_assert_eq(do_collect(r->bs).blocks, 0);
    blockstore_close(r->bs);
    small_dag_free(&r->d);
    folder_remove(&r->f);
}

static uint64_t damaged_blocks(struct blockstore *bs)
{
    struct blockstore_stats s;
    do_sync(bs);
    blockstore_stats(bs, &s);
    return s.damaged;
}

static struct block *the_leaf(struct small_dag *d)
{
    return d->leaf2;
}

static struct block *the_root(struct small_dag *d)
{
    return d->root;
}

Test(blockstore, a_rotten_block_is_never_handed_out)
{
    struct rotten t;
    struct blockstore_stats s;
    rot(&t, the_leaf);
    cr_assert_eq(get_once(t.bs, &t.d.leaf1->cid), 0);
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), ERR_CORRUPT);
    do_sync(t.bs);
    blockstore_stats(t.bs, &s);
    cr_assert_eq(s.damaged, 1);
    cr_assert_eq(s.wanted_blocks, 1); /* a pin misses it now */
    cr_assert_eq(s.pins_incomplete, 1);
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), ERR_CORRUPT); /* not simply missing */
    t.bs = (blockstore_close(t.bs), store_open(t.f.path, 0));
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), ERR_CORRUPT); /* also after a restart */
    cr_assert_eq(do_put(t.bs, t.d.leaf2), 0);                   /* a peer had it */
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), 0);
    rot_done(&t);
}

/* Nobody may be told that it is held, who would not ask peers for it: not even before it can be dropped. */
Test(blockstore, a_rotten_block_is_not_held)
{
    struct rotten t;
    struct gate_op gate;
    struct mailbox *mb = mailbox_new(8, NULL);
    rot(&t, the_leaf);
    gate_shut(&gate, t.bs, mb);
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), ERR_CORRUPT);
    cr_assert_not(has(t.bs, &t.d.leaf2->cid));
    sem_post(&gate.go);
    cr_assert_eq(damaged_blocks(t.bs), 1);
    cr_assert_not(has(t.bs, &t.d.leaf2->cid));
    cr_assert_eq(do_put(t.bs, t.d.leaf2), 0);
    cr_assert(has(t.bs, &t.d.leaf2->cid));
    (void)mailbox_run(mb, 8);
    mailbox_free(mb);
    rot_done(&t);
}

/* The same of one whose bytes are not where the index says, or that the index has lost. */
Test(blockstore, a_block_without_bytes_is_not_held)
{
    struct rotten t;
    rot(&t, the_leaf);
    blockstore_close(t.bs);
    tamper(&t.f, "blocks", cid_hash(&t.d.leaf2->cid), GONE, 0);
    t.bs = store_open(t.f.path, 0);
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), ERR_CORRUPT);
    cr_assert_not(has(t.bs, &t.d.leaf2->cid));
    cr_assert_eq(damaged_blocks(t.bs), 1);
    cr_assert_eq(do_put(t.bs, t.d.leaf2), 0);
    cr_assert(has(t.bs, &t.d.leaf2->cid));
    rot_done(&t);
}

Test(blockstore, a_rotten_block_is_mended_by_a_put)
{
    struct rotten t;
    rot(&t, the_leaf);
    cr_assert_eq(do_put(t.bs, t.d.leaf2), 0); /* it is held: but not like that */
    cr_assert_eq(get_once(t.bs, &t.d.leaf2->cid), 0);
    cr_assert_eq(damaged_blocks(t.bs), 1);
    rot_done(&t);
}

/* Who has walked a DAG does not call a pin complete that has lost a block meanwhile. */
Test(blockstore, a_rotten_block_makes_a_pin_incomplete)
{
    struct rotten t;
    struct gate_op gate;
    struct blockstore_stats s;
    struct mailbox *mb = mailbox_new(8, NULL);
    rot(&t, the_leaf);
    gate_shut(&gate, t.bs, mb); /* so that both come in one group */
    struct waited dropped = {.done = false}, completed = {.done = false};
    blockstore_drop_damaged(t.bs, &t.d.leaf2->cid, mb, on_result, &dropped);
    blockstore_pin_complete(t.bs, &t.d.root->cid, 0, mb, on_result, &completed);
    sem_post(&gate.go);
    wait_mail(mb, &completed.done);
    cr_assert(dropped.done && dropped.result == 0);
    cr_assert_eq(completed.result, ERR_AGAIN);
    completed.done = false;
    blockstore_pin_complete(t.bs, &t.d.root->cid, 0, mb, on_result, &completed);
    wait_mail(mb, &completed.done);
    cr_assert_eq(completed.result, ERR_AGAIN);
    blockstore_stats(t.bs, &s);
    cr_assert_eq(s.pins_incomplete, 1);
    cr_assert_eq(do_put(t.bs, t.d.leaf2), 0);
    completed.done = false;
    blockstore_pin_complete(t.bs, &t.d.root->cid, damaged_blocks(t.bs), mb, on_result, &completed); /* walked again */
    wait_mail(mb, &completed.done);
    cr_assert_eq(completed.result, 0);
    mailbox_free(mb);
    rot_done(&t);
}

/* Children are counted from the bytes of their parent: not from damaged ones. */
Test(blockstore, a_rotten_block_does_not_spoil_counts)
{
    struct rotten t;
    struct blockstore_stats s;
    rot(&t, the_root);
    cr_assert_eq(do_simple(t.bs, DO_UNPIN, &t.d.root->cid), 0);
    s = settle(t.bs);
    cr_assert_eq(s.live_blocks, 4); /* rather too much is kept */
    enum verify_problem first;
    cr_assert_geq(verify_all(t.bs, true, &first), 1);
    do_sync(t.bs);
    settle(t.bs);
    (void)verify_all(t.bs, true, NULL);
    do_sync(t.bs);
    s = settle(t.bs);
    cr_assert_eq(s.live_blocks, 0);
    cr_assert_eq(do_put(t.bs, t.d.root), 0);
    cr_assert_eq(do_simple(t.bs, DO_PIN, &t.d.root->cid), 0);
    s = settle(t.bs);
    cr_assert_eq(s.live_blocks, 5);
    rot_done(&t);
}

/* The same, when the damaged one becomes live: it is dropped at once, and its children are counted when it came back. */
Test(blockstore, a_rotten_block_is_not_counted)
{
    struct rotten t;
    struct blockstore_stats s;
    rot(&t, the_root);
    cr_assert_eq(do_put(t.bs, t.d.root), 0); /* mended: only to be unpinned properly */
    cr_assert_eq(do_simple(t.bs, DO_UNPIN, &t.d.root->cid), 0);
    settle(t.bs);
    blockstore_close(t.bs);
    tamper(&t.f, "blocks", cid_hash(&t.d.root->cid), t.d.root->len - 1, 0x10);
    t.bs = store_open(t.f.path, 0);
    cr_assert_eq(do_simple(t.bs, DO_PIN, &t.d.root->cid), 0);
    s = settle(t.bs);
    cr_assert_eq(s.live_blocks, 0);
    cr_assert_eq(s.wanted_blocks, 1);
    cr_assert_eq(damaged_blocks(t.bs), 1);
    cr_assert_eq(do_put(t.bs, t.d.root), 0);
    s = settle(t.bs);
    cr_assert_eq(s.live_blocks, 5);
    rot_done(&t);
}

Test(blockstore, verify_counts_pins)
{
    struct folder f;
    struct blockstore_stats s;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *b = raw_block(1, 100);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &b->cid), 0);
    settle(bs);
    bs = blockstore_close(bs);
    tamper(&f, "info", span_str("totals"), offsetof(struct totals, pins), 2);
    bs = store_open(f.path, 0);
    enum verify_problem first;
    cr_assert_eq(verify_all(bs, true, &first), 1);
    cr_assert_eq(first, VERIFY_TOTAL);
    do_sync(bs);
    blockstore_stats(bs, &s);
    cr_assert_eq(s.pins, 1);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(b);
    folder_remove(&f);
}

/* What is to be done about them is done once, though there are none. */
Test(blockstore, incomplete_pins_that_are_not_there)
{
    struct folder f;
    struct blockstore_stats s;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs = blockstore_close(bs);
    tamper(&f, "info", span_str("totals"), offsetof(struct totals, pins_incomplete), 2);
    bs = store_open(f.path, 0);
    do
        blockstore_stats(bs, &s);
    while (s.pins_incomplete > 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    folder_remove(&f);
}

/* A disk that refuses now and then lets it go on, however often it did; one that only refuses does not. */
Test(blockstore, a_check_waits_as_long_as_something_is_counted)
{
    static const struct {
        unsigned counted, refused;
        int expected;
    } looks[] = {{0, 2, ERR_AGAIN}, {1, 1, ERR_AGAIN}, {0, 2, ERR_AGAIN},
                 {3, 0, ERR_AGAIN}, {0, 2, ERR_AGAIN}, {0, 1, ERR_NO_SPACE}};
    struct folder f;
    struct store_verify *v;
    struct verify_event e;
    struct gate_op gate;
    int r;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct mailbox *mb = mailbox_new(8, NULL);
    bs->cascade.quiet = 3600 * MONO_S;
    struct block *absent = raw_block(1, 100), *parent = node_block(&absent->cid, 1, 1);
    cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
    cr_assert_eq(do_put(bs, parent), 0); /* waits for its child */
    gate_shut(&gate, bs, mb);
    atomic_store(&bs->cascade.why, ERR_NO_SPACE);
    atomic_store(&bs->cascade.refused, 100); /* before anybody waited */
    cr_assert_eq(store_verify_new(&v, bs, false), 0);
    while ((r = store_verify_step(v, 1, &e)) == 0)
        ;
    cr_assert_eq(r, ERR_AGAIN);
    for (unsigned i = 0; i < sizeof looks / sizeof *looks; i++) {
        atomic_fetch_add(&bs->cascade.counted, looks[i].counted);
        atomic_fetch_add(&bs->cascade.refused, looks[i].refused);
        cr_assert_eq(store_verify_step(v, 1, &e), looks[i].expected, "look %u", i);
    }
    store_verify_free(v);
    sem_post(&gate.go);
    cr_assert_eq(do_put(bs, absent), 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    (void)mailbox_run(mb, 8);
    mailbox_free(mb);
    blockstore_close(bs);
    block_unref(absent);
    block_unref(parent);
    folder_remove(&f);
}

/* The key of a pin becomes another one. */
static void change_pin(const struct folder *f, const struct cid *cid, size_t at, uint8_t xor)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    struct cid other = *cid;
    uint8_t value[300];
    MDB_val k = {cid->len, other.bytes}, v;
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, f->path, 0, 0600) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "pins", 0, &db) == 0);
    cr_assert_eq(mdb_get(txn, db, &k, &v), 0);
    memcpy(value, v.mv_data, v.mv_size);
    v.mv_data = value;
    cr_assert_eq(mdb_del(txn, db, &k, NULL), 0);
    other.bytes[at] ^= xor;
    cr_assert(mdb_put(txn, db, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
}

/* One that cannot be read keeps neither the others from being complete nor anything from being evicted or mended. */
Test(blockstore, a_damaged_pin_is_in_nobodys_way)
{
    struct folder f;
    struct blockstore_stats s;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *a = raw_block(1, 100), *b = raw_block(2, 100), *cached = raw_block(3, 100);
    cr_assert_eq(do_simple(bs, DO_PIN, &a->cid), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &b->cid), 0);
    cr_assert_eq(do_put(bs, a), 0);
    bs = blockstore_close(bs);
    change_pin(&f, &a->cid, 0, 0x40);
    bs = store_open(f.path, 0);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert_eq(do_put(bs, cached), 0);
    cr_assert_eq(do_collect(bs).blocks, 1);
    do {
        cr_assert_eq(do_sync(bs), 0);
        blockstore_stats(bs, &s);
    } while (s.pins_incomplete > 0);
    cr_assert_eq(s.fault, 0);
    struct store_reader *r;
    struct pin pin;
    struct cid at = {.len = 0};
    cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
    cr_assert_eq(store_pin_next(r, &at, &pin), 1);
    cr_assert(cid_eq(&pin.cid, &b->cid));
    cr_assert_eq(store_pin_next(r, &at, &pin), 0);
    store_read_end(r);
    store_reader_free(r);
    bs = blockstore_close(bs);
    tamper(&f, "blocks", cid_hash(&b->cid), 5, 1);
    bs = store_open(f.path, 0);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert(has(bs, &b->cid) && has(bs, &a->cid));
    cr_assert_eq(verify_all(bs, true, NULL), 1);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(a);
    block_unref(b);
    block_unref(cached);
    folder_remove(&f);
}

/* Each has a table and keeps a snapshot: they count one after the other. */
Test(blockstore, checks_wait_for_each_other)
{
    struct folder f;
    struct store_verify *first, *second;
    struct verify_event e;
    int r;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    cr_assert(store_verify_new(&first, bs, false) == 0 && store_verify_new(&second, bs, false) == 0);
    while ((r = store_verify_step(first, 1, &e)) != ERR_CLOSED)
        cr_assert(r == 0 || r == ERR_AGAIN);
    for (int i = 0; i < 100; i++)
        r = store_verify_step(second, 1, &e);
    cr_assert_eq(r, ERR_AGAIN);
    store_verify_free(first);
    while ((r = store_verify_step(second, 1, &e)) != ERR_CLOSED)
        cr_assert(r == 0 || r == ERR_AGAIN);
    store_verify_free(second);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    folder_remove(&f);
}

/* Reading never crashes on rows of any length or content. */
Test(blockstore, damaged_rows_are_errors)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *b = raw_block(1, 100);
    cr_assert_eq(do_put(bs, b), 0);
    bs = blockstore_close(bs);
    tamper(&f, "rows", cid_hash(&b->cid), SIZE_MAX, 0);
    bs = store_open(f.path, 0);
    struct store_reader *r;
    uint64_t size;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert_eq(store_size(r, &b->cid, &size), ERR_CORRUPT);
    cr_assert_not(store_has(r, &b->cid));
    store_read_end(r);
    store_reader_free(r);
    cr_assert_eq(do_simple(bs, DO_PIN, &b->cid), ERR_CORRUPT);
    cr_assert_eq(do_simple(bs, DO_SYNC, NULL), 0);
    blockstore_close(bs);
    block_unref(b);
    folder_remove(&f);
}

/* What is to be counted and cannot be is no reason to refuse what comes. */
Test(blockstore, a_damaged_row_of_the_queue_refuses_nothing)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S;
    struct block *absent = raw_block(1, 100), *parent = node_block(&absent->cid, 1, 1);
    cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
    cr_assert_eq(do_put(bs, parent), 0);
    bs = blockstore_close(bs);
    tamper(&f, "rows", cid_hash(&parent->cid), SIZE_MAX, 0);
    bs = store_open(f.path, 0);
    for (unsigned i = 0; i < 5; i++) {
        struct block *b = raw_block(10 + i, 100);
        cr_assert_eq(do_put(bs, b), 0, "put %u", i);
        cr_assert(has(bs, &b->cid));
        block_unref(b);
    }
    blockstore_close(bs);
    block_unref(absent);
    block_unref(parent);
    folder_remove(&f);
}

/* The oldest of all cannot be told from what must stay: the others go. */
Test(blockstore, a_damaged_row_is_in_nobodys_way)
{
    enum { COUNT = 10, MORE = 20 };
    struct folder f;
    struct cid first;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (unsigned i = 0; i < MORE; i++) {
        struct block *b = raw_block(i, 1000);
        if (i == 0)
            first = b->cid;
        if (i == COUNT) {
            bs = blockstore_close(bs);
            tamper(&f, "rows", cid_hash(&first), SIZE_MAX, 0);
            bs = store_open(f.path, (uint64_t)COUNT * 1000);
        }
        cr_assert_eq(do_put(bs, b), 0, "put %u", i);
        block_unref(b);
    }
    struct collect_result r = do_collect(bs);
    cr_assert_eq(r.result, 0);
    struct store_reader *reader;
    struct span data;
    cr_assert(store_reader_new(bs, &reader) == 0 && store_read_begin(reader) == 0);
    cr_assert_eq(store_get(reader, &first, &data), 0); /* its bytes are sound, and were used */
    store_read_end(reader);
    store_reader_free(reader);
    struct block *another = raw_block(MORE, 1000);
    cr_assert_eq(do_put(bs, another), 0);
    cr_assert(has(bs, &another->cid));
    block_unref(another);
    cr_assert_geq(verify_all(bs, true, NULL), 1);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    folder_remove(&f);
}

/* What waits to be counted is lost neither when the number of those that wait rots, nor when that of the next one does, in
 * whose place it would be put. */
Test(blockstore, a_damaged_total_of_the_queue_loses_nothing)
{
    static const size_t totals[] = {offsetof(struct totals, queue_next), offsetof(struct totals, pending)};
    struct folder f;
    for (unsigned i = 0; i < 2; i++) {
        folder_make(&f);
        struct blockstore *bs = store_open(f.path, 0);
        bs->cascade.quiet = 3600 * MONO_S;
        struct block *child = raw_block(1, 100), *parent = node_block(&child->cid, 1, 1),
                     *other = node_block(&child->cid, 1, 2);
        cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
        cr_assert_eq(do_put(bs, parent), 0);
        cr_assert(bs->t.pending[LANE_LIVE] == 1 && bs->t.queue_next == 1);
        bs = blockstore_close(bs);
        tamper(&f, "info", span_str("totals"), totals[i], 1);
        bs = store_open(f.path, 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &other->cid), 0);
        cr_assert_eq(do_put(bs, other), 0);
        settle(bs);
        cr_assert_eq(do_simple(bs, DO_UNPIN, &other->cid), 0);
        cr_assert_eq(do_put(bs, child), 0);
        settle(bs);
        cr_assert_eq(do_collect(bs).blocks, 1);
        cr_assert(has(bs, &child->cid), "total %u", i);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        blockstore_close(bs);
        block_unref(child);
        block_unref(parent);
        block_unref(other);
        folder_remove(&f);
    }
}

/* A bit of its count rotted, and it seems that nothing refers to it: that its row says no place in the order of eviction, or that
 * it is a root, is enough for it to stay. */
Test(blockstore, what_a_damaged_count_calls_dead_stays)
{
    struct folder f;
    struct store_reader *r;
    struct span data;
    for (unsigned root = 0; root < 2; root++) {
        folder_make(&f);
        struct block *leaf = raw_block(1, 100), *parent = node_block(&leaf->cid, 1, 1), *which = root ? parent : leaf;
        struct blockstore *bs = store_open(f.path, 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
        cr_assert_eq(do_put(bs, leaf), 0);
        cr_assert_eq(do_put(bs, parent), 0);
        settle(bs);
        bs = blockstore_close(bs);
        tamper(&f, "rows", cid_hash(&which->cid), 24, 1);
        bs = store_open(f.path, 0);
        for (unsigned i = 0; i < 50; i++) { /* one that comes again, or is read, goes to the end of the order */
            struct block *b = raw_block(10 + i, 100);
            cr_assert_eq(do_put(bs, b), 0);
            block_unref(b);
        }
        cr_assert_eq(do_collect(bs).blocks, 50);
        cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
        cr_assert_eq(store_get(r, &which->cid, &data), 0);
        store_read_end(r);
        store_reader_free(r);
        cr_assert_eq(do_put(bs, which), 0);
        cr_assert_eq(do_collect(bs).blocks, 0);
        cr_assert(has(bs, &leaf->cid) && has(bs, &parent->cid), "root %u", root);
        cr_assert_geq(verify_all(bs, true, NULL), 1);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        cr_assert_eq(do_simple(bs, DO_UNPIN, &parent->cid), 0);
        settle(bs);
        cr_assert_eq(do_collect(bs).blocks, 2);
        blockstore_close(bs);
        block_unref(leaf);
        block_unref(parent);
        folder_remove(&f);
    }
}

/* That a pin refers to a block is said by the block's row as well; when that rotted, or could not be read and was dropped, a repair
 * believed it, and all that the pin keeps was to go. */
Test(blockstore, a_repair_counts_what_pins_refer_to)
{
    static const size_t damage[] = {12, SIZE_MAX};
    struct folder f;
    for (unsigned i = 0; i < 2; i++) {
        folder_make(&f);
        struct block *leaf = raw_block(1, 100), *parent = node_block(&leaf->cid, 1, 1);
        struct blockstore_stats s;
        struct blockstore *bs = store_open(f.path, 0);
        for (unsigned n = 0; n < 20; n++) { /* more than a step of the check looks at */
            struct block *other = raw_block(100 + n, 100);
            cr_assert_eq(do_simple(bs, DO_PIN, &other->cid), 0);
            cr_assert_eq(do_put(bs, other), 0);
            block_unref(other);
        }
        cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
        cr_assert_eq(do_put(bs, leaf), 0);
        cr_assert_eq(do_put(bs, parent), 0);
        settle(bs);
        bs = blockstore_close(bs);
        tamper(&f, "rows", cid_hash(&parent->cid), damage[i], 1);
        bs = store_open(f.path, 0);
        cr_assert_geq(verify_all(bs, false, NULL), 1);
        cr_assert_geq(verify_all(bs, true, NULL), 1);
        do_sync(bs);
        settle(bs);
        cr_assert_eq(verify_all(bs, false, NULL), 0, "damage %u", i);
        blockstore_stats(bs, &s);
        cr_assert_eq(s.wanted_blocks, 0);
        cr_assert_eq(s.pins_incomplete, 0);
        cr_assert_eq(do_collect(bs).blocks, 0);
        cr_assert_eq(do_put(bs, parent), 0);
        settle(bs);
        cr_assert_eq(do_collect(bs).blocks, 0);
        cr_assert(has(bs, &parent->cid) && has(bs, &leaf->cid));
        cr_assert_eq(do_simple(bs, DO_UNPIN, &parent->cid), 0);
        settle(bs);
        cr_assert_eq(do_collect(bs).blocks, 2);
        blockstore_close(bs);
        block_unref(leaf);
        block_unref(parent);
        folder_remove(&f);
    }
}

/* One bit of a key rotted: in its page it stands behind keys that are greater. What goes through the keys must end all the same. */
Test(blockstore, a_key_out_of_order_ends_no_list)
{
    enum { COUNT = 20 };
    struct folder f;
    struct block *b[COUNT];
    struct cid greatest = {0}, at = {0};
    char path[128];
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (int i = 0; i < COUNT; i++) {
        b[i] = raw_block((uint64_t)i, 100);
        cr_assert_eq(do_put(bs, b[i]), 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &b[i]->cid), 0);
        if (!greatest.len || span_cmp(cid_span(&b[i]->cid), cid_span(&greatest)) > 0)
            greatest = b[i]->cid;
    }
    settle(bs);
    bs = blockstore_close(bs);
    struct span digest = span_from(cid_hash(&greatest), 2);
    snprintf(path, sizeof path, "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    struct stat st;
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mem_new((size_t)st.st_size);
    cr_assert_eq(pread(fd, file, (size_t)st.st_size, 0), st.st_size);
    for (size_t i = 0; i + digest.len <= (size_t)st.st_size; i++)
        if (memcmp(file + i, digest.data, digest.len) == 0)
            cr_assert_eq(pwrite(fd, "", 1, (off_t)i), 1);
    cr_assert_eq(ftruncate(fd, INDEX_SMALL + 1), 0); /* not looked at, and mended, when it is opened */
    close(fd);
    free(file);
    bs = store_open(f.path, 0);
    struct store_reader *r;
    struct pin pin;
    unsigned pins = 0;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    while (store_pin_next(r, &at, &pin) == 1)
        cr_assert_lt(pins++, COUNT);
    cr_assert_geq(pins, COUNT - 1);
    store_read_end(r);
    store_reader_free(r);
    cr_assert_geq(verify_all(bs, true, NULL), 1);
    blockstore_close(bs);
    for (int i = 0; i < COUNT; i++)
        block_unref(b[i]);
    folder_remove(&f);
}

/* The number of this block's entry in an index becomes greater than all. */
static void misplace(const struct folder *f, const struct cid *cid)
{
    char path[128];
    struct stat st;
    unsigned found = 0;
    struct span hash = cid_hash(cid);
    snprintf(path, sizeof path, "%s/data.mdb", f->path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    uint8_t *file = mem_new((size_t)st.st_size);
    cr_assert_eq(pread(fd, file, (size_t)st.st_size, 0), st.st_size);
    for (size_t i = 8; i + hash.len <= (size_t)st.st_size; i++)
        if (memcmp(file + i, hash.data, hash.len) == 0 && memcmp(file + i - 8, "\0\0\0\0\0\0", 6) == 0) {
            cr_assert_eq(pwrite(fd, "@", 1, (off_t)i - 8), 1);
            found++;
        }
    cr_assert_geq(found, 1);
    cr_assert_eq(ftruncate(fd, INDEX_SMALL + 1), 0);
    close(fd);
    free(file);
}

/* Who takes the first of an index again and again goes on, though it is not where its number belongs. */
Test(blockstore, a_number_out_of_order_stops_nothing)
{
    enum { COUNT = 20 };
    struct folder f;
    struct block *b[COUNT];
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (int i = 0; i < COUNT; i++) {
        b[i] = raw_block((uint64_t)i, 100);
        cr_assert_eq(do_put(bs, b[i]), 0);
    }
    bs = blockstore_close(bs);
    misplace(&f, &b[0]->cid); /* of the order of eviction */
    bs = store_open(f.path, 0);
    uint64_t first = do_collect(bs).blocks, second = do_collect(bs).blocks;
    cr_assert(first >= COUNT - 1 && first + second == COUNT, "%d and %d", (int)first, (int)second);
    cr_assert_eq(verify_all(bs, false, NULL), 0);

    bs->cascade.quiet = 3600 * MONO_S;
    struct block *parents[COUNT];
    for (int i = 0; i < COUNT; i++) {
        parents[i] = node_block(&b[i]->cid, 1, 1);
        cr_assert_eq(do_simple(bs, DO_PIN, &parents[i]->cid), 0);
        cr_assert_eq(do_put(bs, parents[i]), 0);
    }
    bs = blockstore_close(bs);
    misplace(&f, &parents[0]->cid); /* of the queue */
    bs = store_open(f.path, 0);
    struct blockstore_stats s = settle(bs);
    cr_assert_eq(s.wanted_blocks, COUNT);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    for (int i = 0; i < COUNT; i++) {
        block_unref(parents[i]);
        block_unref(b[i]);
    }
    folder_remove(&f);
}

struct ask_op {
    struct store_op op;
    const struct store_guard *guard;
    int found;
};

static int ask_apply(struct store_op *op, struct store_txn *txn)
{
    struct ask_op *a = (struct ask_op *)op;
    (void)txn;
    a->found = store_guard_check(a->guard);
    return 0;
}

/* What stands behind a put knows that it was refused, also when both came at once. */
Test(blockstore, a_guard_counts_what_is_refused)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 10000);
    struct store_guard *g = store_guard_new();
    for (int i = 0; i < 3; i++) {
        struct ask_op a = {.op.apply = ask_apply, .guard = g};
        blockstore_put_guarded(bs, raw_block((uint64_t)i, i == 1 ? 20000 : 3000), g, NULL, NULL, NULL); /* waits for company */
        cr_assert_eq(blockstore_do(bs, &a.op), 0);
        cr_assert_eq(a.found, i == 0 ? 0 : ERR_QUOTA);
    }
    store_guard_forgive(g, 1);
    struct ask_op a = {.op.apply = ask_apply, .guard = g};
    cr_assert_eq(blockstore_do(bs, &a.op), 0);
    cr_assert_eq(a.found, 0);
    blockstore_close(bs);
    cr_assert_null(store_guard_unref(g));
    folder_remove(&f);
}
