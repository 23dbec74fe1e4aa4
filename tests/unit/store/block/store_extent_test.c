/* SPDX-License-Identifier: MIT
 *
 * Big blocks through the whole store: they outlive a restart, give their room back, and neither a failing disk nor a damaged
 * file makes them something else than what they were. */
#include "store/block/fault.h"
#include "store/block/store_internal.h"

#include "store_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#define BIG (1u << 20)

static uint64_t segment_room(const struct folder *f)
{
    struct segments *s = segments_new(f->path);
    uint64_t bytes = segments_disk_bytes(s);
    segments_free(s);
    return bytes;
}

static void wait_for_room(const struct folder *f, uint64_t most)
{
    mono_ns until = mono_after(mono_now(), 20 * MONO_S);
    while (segment_room(f) > most && mono_now() < until)
        usleep(1000);
    cr_assert_leq(segment_room(f), most);
}

static void flip_byte(const struct folder *f, off_t at)
{
    char path[128];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/segment-00000000", f->path);
    int fd = open(path, O_RDWR);
    cr_assert(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x40;
    cr_assert(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

Test(store_extent, they_outlive_a_restart)
{
    static const uint32_t lens[] = {BLOCK_BIG - 1, BLOCK_BIG, BLOCK_BIG + 1, BIG, BLOCK_MAX};
    struct block *b[5];
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (int i = 0; i < 5; i++) {
        b[i] = raw_block((uint64_t)i, lens[i]);
        cr_assert_eq(do_put(bs, b[i]), 0);
        cr_assert(has(bs, &b[i]->cid));
    }
    cr_assert_eq(do_put(bs, b[3]), 0, "again");
    blockstore_close(bs);
    bs = store_open(f.path, 0);
    for (int i = 0; i < 5; i++)
        cr_assert(has(bs, &b[i]->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    struct block *more = raw_block(9, BIG);
    cr_assert_eq(do_put(bs, more), 0);
    cr_assert(has(bs, &more->cid) && has(bs, &b[4]->cid), "written behind what is there");
    blockstore_close(bs);
    block_unref(more);
    for (int i = 0; i < 5; i++)
        block_unref(b[i]);
    folder_remove(&f);
}

static int copy_once(struct blockstore *bs, const struct cid *cid, struct block *into)
{
    struct store_reader *r;
    into->len = 0;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    int result = store_copy(r, cid, true, into);
    store_read_end(r);
    store_reader_free(r);
    return result;
}

Test(store_extent, copies_are_looked_at_too)
{
    struct block *b[] = {raw_block(1, 100), raw_block(2, BIG), raw_block(3, 300001)};
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (int i = 0; i < 3; i++) {
        struct block *into = raw_block(7, b[i]->len);
        cr_assert_eq(do_put(bs, b[i]), 0);
        cr_assert_eq(copy_once(bs, &b[i]->cid, into), 0);
        cr_assert(span_eq(block_span(into), block_span(b[i])));
        block_unref(into);
    }
    struct block *into = raw_block(7, BIG), *absent = raw_block(8, BIG), *small = raw_block(9, 200000);
    cr_assert_eq(copy_once(bs, &absent->cid, into), ERR_MISSING);
    cr_assert_eq(copy_once(bs, &b[1]->cid, small), ERR_CORRUPT, "more than it has room for");
    blockstore_close(bs);
    flip_byte(&f, 4096);
    bs = store_open(f.path, 0);
    cr_assert_eq(copy_once(bs, &b[1]->cid, into), ERR_CORRUPT);
    do_sync(bs);
    cr_assert_eq(copy_once(bs, &b[1]->cid, into), ERR_MISSING, "dropped");
    cr_assert_eq(do_put(bs, b[1]), 0);
    cr_assert_eq(copy_once(bs, &b[1]->cid, into), 0);
    blockstore_close(bs);
    for (int i = 0; i < 3; i++)
        block_unref(b[i]);
    block_unref(into);
    block_unref(absent);
    block_unref(small);
    folder_remove(&f);
}

Test(store_extent, room_comes_back_when_no_reader_needs_it)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *keep = raw_block(1, BIG), *drop = raw_block(2, BIG);
    cr_assert_eq(do_put(bs, keep), 0);
    cr_assert_eq(do_put(bs, drop), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &keep->cid), 0);
    settle(bs);
    struct store_reader *r;
    struct span data;
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert_eq(store_get(r, &drop->cid, &data), 0);
    cr_assert_eq(do_collect(bs).blocks, 1);
    cr_assert_eq(do_sync(bs), 0);
    for (int i = 0; i < 50; i++) /* turns of the committer, each of which would give it back */
        cr_assert_eq(do_simple(bs, i % 2 ? DO_UNPIN : DO_PIN, &drop->cid), 0);
    cr_assert_geq(segment_room(&f), 2 * BIG);
    cr_assert(span_eq(data, block_span(drop)), "a reader's bytes stay while it reads");
    store_read_end(r);
    store_reader_free(r);
    cr_assert_eq(do_sync(bs), 0);
    wait_for_room(&f, BIG + 65536);
    cr_assert(has(bs, &keep->cid));
    cr_assert_not(has(bs, &drop->cid));
    cr_assert_eq(do_put(bs, drop), 0);
    cr_assert(has(bs, &drop->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(keep);
    block_unref(drop);
    folder_remove(&f);
}

/* The segment that is written to is one like others: else an empty store could fill the disk, and nothing helped. */
Test(store_extent, an_empty_store_gives_all_room_back)
{
    char path[128];
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *a = raw_block(1, BIG), *b = raw_block(2, 300001);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(do_put(bs, a), 0);
        cr_assert_eq(do_put(bs, b), 0);
        cr_assert_eq(do_sync(bs), 0);
        cr_assert(has(bs, &a->cid) && has(bs, &b->cid), "behind where they were, in a new file");
        cr_assert_eq(do_collect(bs).blocks, 2);
        cr_assert_eq(do_sync(bs), 0);
        wait_for_room(&f, 0);
    }
    blockstore_close(bs);
    snprintf(path, sizeof path, "%s/segment-00000000", f.path);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(posix_fallocate(fd, 0, BIG), 0); /* what was written for a transaction that never was */
    close(fd);
    bs = store_open(f.path, 0);
    cr_assert_eq(segment_room(&f), 0);
    cr_assert_eq(do_put(bs, a), 0);
    blockstore_close(bs);
    bs = store_open(f.path, 0);
    cr_assert(has(bs, &a->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(a);
    block_unref(b);
    folder_remove(&f);
}

/* 1.1 GiB would be long: the end of the segment is brought near. */
Test(store_extent, a_full_segment_is_followed_and_removed)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *first = raw_block(1, BIG), *second = raw_block(2, BIG);
    cr_assert_eq(do_put(bs, first), 0);
    bs->t.unit = SEGMENT_UNITS - 255; /* the committer sleeps */
    cr_assert_eq(do_put(bs, second), 0);
    cr_assert_eq(bs->t.segment, 1);
    cr_assert(has(bs, &first->cid) && has(bs, &second->cid));
    cr_assert_eq(do_simple(bs, DO_PIN, &second->cid), 0);
    settle(bs);
    cr_assert_eq(do_collect(bs).blocks, 1);
    cr_assert_eq(do_sync(bs), 0);
    mono_ns until = mono_after(mono_now(), 20 * MONO_S);
    while (segments_exist(bs->segments, 0) && mono_now() < until)
        usleep(1000);
    cr_assert_not(segments_exist(bs->segments, 0));
    cr_assert(has(bs, &second->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(first);
    block_unref(second);
    folder_remove(&f);
}

Test(store_extent, damage_is_found_and_mended)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *a = raw_block(1, BIG), *b = raw_block(2, BIG);
    cr_assert_eq(do_put(bs, a), 0);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &a->cid), 0);
    blockstore_close(bs);
    flip_byte(&f, 4000);
    bs = store_open(f.path, 0);
    enum verify_problem first = VERIFY_TOTAL;
    cr_assert_geq(verify_all(bs, true, &first), 1);
    cr_assert_eq(first, VERIFY_DAMAGED);
    do_sync(bs);
    settle(bs);
    cr_assert_not(has(bs, &a->cid));
    cr_assert(has(bs, &b->cid));
    cr_assert_eq(do_put(bs, a), 0);
    cr_assert(has(bs, &a->cid));
    blockstore_close(bs);

    char path[128];
    snprintf(path, sizeof path, "%s/segment-00000000", f.path);
    cr_assert_eq(unlink(path), 0); /* the whole file is gone */
    bs = store_open(f.path, 0);
    cr_assert_eq(verify_all(bs, true, NULL), 2);
    do_sync(bs);
    settle(bs);
    cr_assert_eq(do_put(bs, a), 0);
    cr_assert_eq(do_put(bs, b), 0);
    cr_assert(has(bs, &a->cid) && has(bs, &b->cid));
    do_sync(bs);
    settle(bs);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(a);
    block_unref(b);
    folder_remove(&f);
}

/* The n-th write fails; whatever was acknowledged is there, and afterwards everything works. */
static bool fault_round(unsigned long n, enum fault_action action)
{
    struct folder f;
    struct block *b[4];
    int put[4];
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    unsigned long before = fault_passed();
    fault_arm(n, action);
    for (int i = 0; i < 4; i++) {
        b[i] = raw_block((uint64_t)i, i == 3 ? 1000 : BIG);
        put[i] = do_put(bs, b[i]);
    }
    (void)do_collect(bs);
    int again = do_put(bs, b[0]);
    bool struck = fault_passed() - before >= n;
    fault_arm(0, FAULT_IO);
    if (again == 0)
        cr_assert(has(bs, &b[0]->cid), "write %lu", n);
    for (int i = 0; i < 4; i++)
        cr_assert(put[i] == 0 || put[i] == ERR_IO || put[i] == ERR_NO_SPACE, "write %lu: %s", n, err_text(put[i]));
    for (int i = 0; i < 4; i++)
        cr_assert_eq(do_put(bs, b[i]), 0, "write %lu", n);
    blockstore_close(bs);
    bs = store_open(f.path, 0);
    for (int i = 0; i < 4; i++) {
        cr_assert(has(bs, &b[i]->cid), "write %lu", n);
        block_unref(b[i]);
    }
    cr_assert_eq(verify_all(bs, false, NULL), 0, "write %lu", n);
    blockstore_close(bs);
    folder_remove(&f);
    return struck;
}

Test(store_extent, any_write_may_fail, .timeout = 120)
{
    unsigned long n = 1;
    while (fault_round(n, n % 2 ? FAULT_IO : FAULT_NO_SPACE))
        n++;
    cr_assert_gt(n, 20);
}

/* A store of format 1: big blocks in LMDB, totals without the end of segments */
Test(store_extent, an_older_store_goes_on)
{
    struct folder f;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi info, blocks, extents, places;
    struct block *old = raw_block(1, BIG), *new = raw_block(2, BIG);
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    cr_assert_eq(do_put(bs, old), 0);
    blockstore_close(bs);

    uint32_t format = 1;
    uint8_t totals[TOTALS_BEFORE];
    MDB_val k = store_val(span_str("totals")), v, fk = store_val(span_str("format")), fv = {sizeof format, &format};
    MDB_val bk = store_val(cid_hash(&old->cid)), bv = store_val(block_span(old));
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 16) == 0 && mdb_env_set_mapsize(env, 1 << 30) == 0 &&
              mdb_env_open(env, f.path, 0, 0600) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "info", 0, &info) == 0 &&
              mdb_dbi_open(txn, "blocks", 0, &blocks) == 0 && mdb_dbi_open(txn, "extents", 0, &extents) == 0 &&
              mdb_dbi_open(txn, "places", 0, &places) == 0);
    cr_assert_eq(mdb_get(txn, info, &k, &v), 0);
    memcpy(totals, v.mv_data, sizeof totals);
    v = (MDB_val){sizeof totals, totals};
    cr_assert(mdb_put(txn, info, &k, &v, 0) == 0 && mdb_put(txn, info, &fk, &fv, 0) == 0 &&
              mdb_put(txn, blocks, &bk, &bv, 0) == 0 && mdb_drop(txn, extents, 1) == 0 && mdb_drop(txn, places, 1) == 0 &&
              mdb_txn_commit(txn) == 0);
    cr_assert(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_put(txn, info, &k, &v, 0) == 0 && /* the snapshot before, too */
              mdb_txn_commit(txn) == 0);
    mdb_env_close(env);

    bs = store_open(f.path, 0);
    cr_assert(has(bs, &old->cid));
    cr_assert_eq(do_put(bs, new), 0);
    cr_assert(has(bs, &new->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    cr_assert_eq(do_collect(bs).blocks, 2);
    cr_assert_not(has(bs, &old->cid));
    blockstore_close(bs);
    block_unref(old);
    block_unref(new);
    folder_remove(&f);
}

/* Changes what "extents" says about a block: a sum that is not its own (`len` stays), or none, as format 2 had it. */
static void change_extent(const struct folder *f, const struct cid *cid, size_t len)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi extents;
    uint8_t value[64];
    MDB_val k = store_val(cid_hash(cid)), v;
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 16) == 0 && mdb_env_set_mapsize(env, 1 << 30) == 0 &&
              mdb_env_open(env, f->path, 0, 0600) == 0 && mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
              mdb_dbi_open(txn, "extents", 0, &extents) == 0 && mdb_get(txn, extents, &k, &v) == 0);
    cr_assert_eq(v.mv_size, 20);
    memcpy(value, v.mv_data, v.mv_size);
    value[19] ^= 1;
    v = (MDB_val){len, value};
    cr_assert(mdb_put(txn, extents, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
}

Test(store_extent, without_a_right_sum_the_hash_decides)
{
    static const size_t lens[] = {12, 20, 12, 20};
    struct block *b[4];
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (unsigned i = 0; i < 4; i++) {
        b[i] = raw_block(i, BIG);
        cr_assert_eq(do_put(bs, b[i]), 0);
    }
    blockstore_close(bs);
    for (unsigned i = 0; i < 4; i++)
        change_extent(&f, &b[i]->cid, lens[i]);
    flip_byte(&f, 2 * BIG + 99);
    flip_byte(&f, 3 * BIG + 99);
    bs = store_open(f.path, 0);
    struct store_reader *r;
    struct span got;
    cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(store_get(r, &b[i]->cid, &got) == 0 && span_eq(got, block_span(b[i])));
    for (unsigned i = 2; i < 4; i++)
        cr_assert_eq(store_get(r, &b[i]->cid, &got), ERR_CORRUPT);
    store_read_end(r);
    store_reader_free(r);
    blockstore_close(bs);
    for (unsigned i = 0; i < 4; i++)
        block_unref(b[i]);
    folder_remove(&f);
}

/* Of two bytes that differ from the disk's, the sum that is kept believes the one that it was made of. */
Test(store_extent, a_sum_that_comes_with_the_block_is_kept)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *b = raw_block(1, BIG), *small = raw_block(2, BLOCK_BIG - 1);
    struct store_reader *r;
    struct span got;
    block_add_sum(small);
    cr_assert_not(small->sum.known);
    b->data[5000] ^= 0x40;
    block_add_sum(b);
    b->data[5000] ^= 0x40;
    cr_assert(b->sum.known);
    cr_assert_eq(do_put(bs, b), 0);
    blockstore_close(bs);
    flip_byte(&f, 5000);
    bs = store_open(f.path, 0);
    cr_assert_eq(store_reader_new(bs, &r), 0);
    cr_assert_eq(store_read_begin(r), 0);
    cr_assert_eq(store_get(r, &b->cid, &got), 0);
    cr_assert_eq(got.data[5000], b->data[5000] ^ 0x40);
    store_read_end(r);
    store_reader_free(r);
    blockstore_close(bs);
    block_unref(b);
    block_unref(small);
    folder_remove(&f);
}

/* ---- bits that rotted where big blocks are told of ---- */

/* What an index says at this key, from `at` on; it may be new. */
static void change_index(const struct folder *f, const char *name, struct span key, size_t at, struct span bytes)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db;
    uint8_t value[256] = {0};
    MDB_val k = store_val(key), v = {0};
    cr_assert(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 16) == 0 && mdb_env_set_mapsize(env, 1 << 30) == 0 &&
              mdb_env_open(env, f->path, 0, 0600) == 0 && mdb_txn_begin(env, NULL, 0, &txn) == 0 &&
              mdb_dbi_open(txn, name, 0, &db) == 0);
    if (mdb_get(txn, db, &k, &v) == 0)
        memcpy(value, v.mv_data, v.mv_size);
    memcpy(value + at, bytes.data, bytes.len);
    v = (MDB_val){v.mv_size > at + bytes.len ? v.mv_size : at + bytes.len, value};
    cr_assert(mdb_put(txn, db, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
}

static void change_total(const struct folder *f, size_t at, uint64_t value)
{
    change_index(f, "info", span_str("totals"), at, span_of(&value, sizeof value));
}

static bool reads(struct blockstore *bs, const struct cid *cid)
{
    struct store_reader *r;
    struct span got;
    cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
    int result = store_get(r, cid, &got);
    cr_assert(result == 0 || result == ERR_CORRUPT || result == ERR_MISSING);
    store_read_end(r);
    store_reader_free(r);
    return result == 0;
}

#define ROW_OF 4 /* big blocks, one behind the other */

static struct blockstore *row_of_blocks(const struct folder *f, struct block *b[ROW_OF])
{
    struct blockstore *bs = store_open(f->path, 0);
    for (unsigned i = 0; i < ROW_OF; i++) {
        b[i] = raw_block(i, BIG);
        cr_assert_eq(do_put(bs, b[i]), 0);
        cr_assert_eq(do_simple(bs, DO_PIN, &b[i]->cid), 0);
    }
    settle(bs);
    struct block *gone = raw_block(ROW_OF, BIG); /* so that some are dead */
    cr_assert_eq(do_put(bs, gone), 0);
    cr_assert_eq(do_collect(bs).blocks, 1);
    block_unref(gone);
    return bs;
}

static void wait_until_none_is_dead(struct blockstore *bs)
{
    mono_ns until = mono_after(mono_now(), 20 * MONO_S);
    size_t left = 1;
    while (left > 0 && mono_now() < until) {
        struct store_reader *r;
        MDB_stat stat;
        cr_assert_eq(do_sync(bs), 0);
        cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
        cr_assert_eq(mdb_stat(store_reader_txn(r), bs->env.db[DB_DEAD], &stat), 0);
        left = stat.ms_entries;
        store_read_end(r);
        store_reader_free(r);
    }
    cr_assert_eq(left, 0);
}

/* What is dead is what an entry says, of which a bit may have rotted: room that something lives in is not given back. */
Test(store_extent, a_damaged_dead_entry_takes_nothing_that_lives)
{
    static const struct {
        uint32_t segment, unit, len;
        uint64_t number;
    } dead[] = {
        {0, 256, BIG, 0},       {0, 512 + 3, 5000, 0},      {0, 0, UINT32_MAX, 0},        {0, 0, 0, 0},
        {0, 255, BLOCK_MAX, 0}, {0, SEGMENT_UNITS, BIG, 0}, {0, 1024, 1, UINT64_MAX / 2}, {1u << 31, 0, BIG, 0},
    };
    struct folder f;
    struct block *b[ROW_OF];
    folder_make(&f);
    blockstore_close(row_of_blocks(&f, b));
    for (unsigned i = 0; i < sizeof dead / sizeof *dead; i++) {
        uint8_t key[8], value[12];
        put_be64(key, (uint64_t)dead[i].segment << 32 | dead[i].unit);
        for (int byte = 0; byte < 4; byte++)
            value[byte] = (uint8_t)(dead[i].len >> 8 * byte);
        put_be64(value + 4, dead[i].number);
        change_index(&f, "dead", span_of(key, sizeof key), 0, span_of(value, sizeof value));
        change_total(&f, offsetof(struct totals, dead), i % 2); /* whatever that says */
        struct blockstore *bs = store_open(f.path, 0);
        wait_until_none_is_dead(bs);
        for (unsigned n = 0; n < ROW_OF; n++)
            cr_assert(reads(bs, &b[n]->cid), "entry %u, block %u", i, n);
        blockstore_close(bs);
    }
    for (unsigned i = 0; i < ROW_OF; i++)
        block_unref(b[i]);
    folder_remove(&f);
}

/* One bit says that a block lies where another one does: it is dropped, and the other one stays. */
Test(store_extent, a_damaged_place_takes_nothing_of_others)
{
    struct folder f;
    struct block *b[ROW_OF];
    for (unsigned bit = 8; bit < 10; bit++) { /* of the unit: a place that is another's, or another's and further */
        folder_make(&f);
        blockstore_close(row_of_blocks(&f, b));
        uint32_t unit = 1u << bit;
        uint8_t bytes[] = {(uint8_t)unit, (uint8_t)(unit >> 8), 0, 0};
        change_index(&f, "extents", cid_hash(&b[0]->cid), 4, span_of(bytes, sizeof bytes));
        struct blockstore *bs = store_open(f.path, 0);
        cr_assert_not(reads(bs, &b[0]->cid));
        wait_until_none_is_dead(bs);
        cr_assert_not(reads(bs, &b[0]->cid));
        wait_until_none_is_dead(bs);
        for (unsigned n = 1; n < ROW_OF; n++)
            cr_assert(reads(bs, &b[n]->cid), "bit %u, block %u", bit, n);
        cr_assert_eq(do_put(bs, b[0]), 0);
        for (unsigned n = 0; n < ROW_OF; n++) {
            cr_assert(reads(bs, &b[n]->cid), "bit %u, block %u", bit, n);
            block_unref(b[n]);
        }
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        blockstore_close(bs);
        folder_remove(&f);
    }
}

/* Where the next one goes is told by two numbers: behind it the file is cut when the store is opened. */
Test(store_extent, a_damaged_end_cuts_nothing_that_lives)
{
    static const struct {
        size_t at;
        uint64_t value;
    } totals[] = {
        {offsetof(struct totals, unit), 0},
        {offsetof(struct totals, unit), ROW_OF * 256 - 1},
        {offsetof(struct totals, unit), UINT64_MAX / 2},
        {offsetof(struct totals, segment), 1u << 31},
        {offsetof(struct totals, segment), UINT64_C(1) << 40},
        {offsetof(struct totals, segment), 5},
        {offsetof(struct totals, segment), 0},
    };
    struct folder f;
    struct block *b[ROW_OF];
    folder_make(&f);
    blockstore_close(row_of_blocks(&f, b));
    for (unsigned i = 0; i < sizeof totals / sizeof *totals; i++) {
        change_total(&f, totals[i].at, totals[i].value);
        struct blockstore *bs = store_open(f.path, 0);
        struct block *more = raw_block(100 + i, BIG);
        cr_assert_eq(do_put(bs, more), 0);
        for (unsigned n = 0; n < ROW_OF; n++)
            cr_assert(reads(bs, &b[n]->cid), "total %u, block %u", i, n);
        cr_assert(reads(bs, &more->cid));
        block_unref(more);
        blockstore_close(bs);
    }
    for (unsigned i = 0; i < ROW_OF; i++)
        block_unref(b[i]);
    folder_remove(&f);
}
