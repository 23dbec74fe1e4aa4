/* SPDX-License-Identifier: MIT */
#include "store/unixfs/editor.h"

#include "store/unixfs/editor_state.h"
#include "store/unixfs/importer.h"
#include "tests/lib/short_memory.h"
#include "tests/unit/store/unixfs/memblocks.h"

#include <criterion/criterion.h>

#define MIB EDITOR_CHUNK

static void import(struct mem_blocks *m, const struct layout_profile *p, struct span bytes, struct unixfs_root *ret)
{
    struct importer *im = importer_new(&(struct importer_options){.profile = p, .sink = m ? &m->sink : NULL});
    while (bytes.len) {
        int n = importer_write(im, bytes);
        cr_assert(n > 0 || n == ERR_AGAIN);
        bytes = span_from(bytes, n > 0 ? (size_t)n : 0);
    }
    int r;
    while ((r = importer_finish(im, ret)) == ERR_AGAIN)
        ;
    cr_assert_eq(r, 0);
    importer_free(im);
}

/* ---- an owner: takes chunks out, stores them, some now, some later, some not at all ---- */

struct owner {
    struct mem_blocks *m;
    struct editor *e;
    struct rng rng;
    struct editor_flight *away[64];
    unsigned away_count;
    unsigned fail_every; /* each so-many-th store fails */
    unsigned stores;
};

static void land(struct owner *o, unsigned i)
{
    struct editor_flight *fl = o->away[i];
    o->away[i] = o->away[--o->away_count];
    if (!fl->hashed) {
        if (cid_is_none(&fl->block->cid))
            cid_of(&fl->block->cid, CODEC_RAW, block_span(fl->block));
        editor_hashed(fl);
    }
    struct cid check;
    cid_of(&check, CODEC_RAW, block_span(fl->block));
    cr_assert(cid_eq(&check, &fl->block->cid), "bytes changed while away");
    bool fail = o->fail_every && ++o->stores % o->fail_every == 0;
    if (!fail)
        mem_add(o->m, block_from(NULL, BUDGET_STORE, &fl->block->cid, block_span(fl->block)));
    editor_stored(fl, fail ? ERR_NO_SPACE : 0);
}

static void hash_one(struct owner *o)
{
    struct editor_flight *fl = o->away_count ? o->away[rng_below(&o->rng, o->away_count)] : NULL;
    if (!fl || fl->hashed)
        return;
    if (cid_is_none(&fl->block->cid))
        cid_of(&fl->block->cid, CODEC_RAW, block_span(fl->block));
    editor_hashed(fl);
}

static int take(struct owner *o, enum editor_want want)
{
    if (o->away_count == 64)
        land(o, 0);
    struct editor_flight *fl;
    int r = editor_next(o->e, &o->m->source, want, &fl);
    if (r == 1)
        o->away[o->away_count++] = fl;
    return r;
}

static void unhide(struct mem_blocks *m)
{
    for (unsigned i = 0; i < m->source.missing_count; i++)
        mem_hide(m, &m->source.missing[i], false);
    source_forget_missing(&m->source);
}

static void finish(struct owner *o, struct unixfs_root *ret)
{
    for (;;) {
        int r = take(o, EDITOR_ALL);
        if (r == ERR_MISSING) {
            unhide(o->m);
            continue;
        }
        if (r == 1)
            continue;
        cr_assert(r == 0 || r == ERR_AGAIN, "%s", err_name(r));
        r = editor_finish(o->e, &o->m->source, &o->m->sink, ret);
        if (r == 0)
            return;
        if (r == ERR_MISSING)
            unhide(o->m);
        cr_assert(r == ERR_BUSY || r == ERR_AGAIN || r == ERR_MISSING, "%s", err_name(r));
        if (o->away_count > 0 && r != ERR_MISSING)
            land(o, (unsigned)rng_below(&o->rng, o->away_count));
    }
}

static void land_all(struct owner *o)
{
    while (o->away_count)
        land(o, 0);
}

static void write_bytes(struct owner *o, uint64_t at, struct span data)
{
    while (data.len) {
        int n = editor_write(o->e, &o->m->source, at, data);
        if (n == ERR_MISSING) {
            unhide(o->m);
            continue;
        }
        if (n == ERR_AGAIN) {
            cr_assert(take(o, EDITOR_PRESSURE) == 1 || o->away_count > 0, "nothing gives memory back");
            if (o->away_count)
                land(o, 0);
            continue;
        }
        cr_assert_gt(n, 0, "%s", err_name(n));
        at += (uint64_t)n;
        data = span_from(data, (size_t)n);
        while (take(o, EDITOR_FULL) == 1)
            ;
    }
}

static void expect_bytes(struct owner *o, uint64_t at, struct span want)
{
    struct span spans[300];
    while (want.len) {
        struct read_spans out = {.spans = spans, .max = 1 + (unsigned)rng_below(&o->rng, 300)};
        int r = editor_read(o->e, &o->m->source, at, want.len, &out);
        if (r == ERR_MISSING) {
            cr_assert_gt(o->m->source.missing_count, 0u);
            unhide(o->m);
        } else {
            cr_assert_eq(r, 0);
            cr_assert_gt(out.bytes, 0u);
        }
        size_t done = 0;
        for (unsigned i = 0; i < out.count; i++) {
            cr_assert(span_eq(spans[i], span_sub(want, done, spans[i].len)), "at %lu", (unsigned long)(at + done));
            done += spans[i].len;
        }
        cr_assert_eq(done, out.bytes);
        at += done;
        want = span_from(want, done);
    }
}

/* ---- any sequence of edits gives the CID of a fresh import ---- */

#define MODEL_MAX (6u * MIB)

struct model {
    uint8_t *bytes; /* behind size always zero */
    size_t size;
    struct cid base; /* what the editor was opened with; none since it was edited */
};

static const struct layout_profile tiny = {
    .name = "tiny", .chunk_size = 70000, .max_links = 5, .raw_leaves = true, .cid_version = 1};

static void random_write(struct owner *o, struct model *md)
{
    static const size_t sizes[] = {1, 100, 4096, 131072, 1500000};
    size_t len = 1 + (size_t)rng_below(&o->rng, sizes[rng_below(&o->rng, 5)]);
    size_t at = (size_t)rng_below(&o->rng, 3) == 0 ? md->size : (size_t)rng_below(&o->rng, md->size + MIB);
    if (rng_below(&o->rng, 4) == 0)
        at = at / MIB * MIB;
    if (at + len > MODEL_MAX)
        return;
    if (rng_below(&o->rng, 8) == 0)
        memset(md->bytes + at, 0, len);
    else
        rng_fill(&o->rng, md->bytes + at, len);
    if (at + len > md->size)
        md->size = at + len;
    write_bytes(o, at, span_of(md->bytes + at, len));
}

static void random_truncate(struct owner *o, struct model *md)
{
    size_t size = (size_t)rng_below(&o->rng, rng_below(&o->rng, 2) ? MODEL_MAX : md->size + 1);
    if (rng_below(&o->rng, 4) == 0)
        size = size / MIB * MIB;
    cr_assert_eq(editor_truncate(o->e, size), 0);
    if (size < md->size)
        memset(md->bytes + size, 0, md->size - size);
    md->size = size;
}

static void check_root(struct owner *o, struct model *md, struct unixfs_root *ret)
{
    struct unixfs_root fresh;
    if (editor_changed(o->e))
        md->base = (struct cid){.len = 0};
    finish(o, ret);
    if (!cid_is_none(&md->base)) {
        cr_assert(cid_eq(&ret->cid, &md->base));
        return;
    }
    import(NULL, &layout_v1_2025, span_of(md->bytes, md->size), &fresh);
    cr_assert(cid_eq(&ret->cid, &fresh.cid));
    cr_assert_eq(ret->size, fresh.size);
    cr_assert_eq(ret->tsize, fresh.tsize);
}

/* The finished file is opened again, as it is or as somebody else would have imported it, with some blocks not held. */
static void reopen(struct owner *o, struct model *md, struct budget *budget)
{
    struct unixfs_root root;
    check_root(o, md, &root);
    if (rng_below(&o->rng, 2))
        land_all(o);
    o->e = editor_free(o->e);
    unsigned failing = o->fail_every;
    o->fail_every = 0;
    land_all(o); /* flights outlive the editor */
    o->fail_every = failing;
    import(o->m, rng_below(&o->rng, 3) == 0 ? &tiny : &layout_v1_2025, span_of(md->bytes, md->size), &root);
    if (rng_below(&o->rng, 2))
        mem_hide_all(o->m, true);
    o->e = editor_new(&root, budget);
    md->base = md->size ? root.cid : (struct cid){.len = 0};
    cr_assert_eq(editor_size(o->e), md->size);
}

static void random_edits(uint64_t seed, unsigned steps, struct budget *budget)
{
    struct owner o = {.m = mem_blocks_new()};
    rng_init_seed(&o.rng, seed);
    o.fail_every = seed % 2 ? 7 : 0;
    o.m->refuse_every = seed % 3 ? 0 : 4;
    o.e = editor_new(NULL, budget);
    struct model md = {.bytes = mem_new(MODEL_MAX)};
    struct unixfs_root root;
    for (unsigned i = 0; i < steps; i++) {
        switch (rng_below(&o.rng, 16)) {
        case 0:
        case 1:
            random_truncate(&o, &md);
            break;
        case 2:
            check_root(&o, &md, &root);
            break;
        case 3:
            reopen(&o, &md, budget);
            break;
        case 4:
            (void)take(&o, EDITOR_PRESSURE);
            break;
        case 5:
        case 6:
            if (o.away_count)
                land(&o, (unsigned)rng_below(&o.rng, o.away_count));
            break;
        case 7:
            hash_one(&o);
            break;
        case 8:
        case 9: {
            size_t at = (size_t)rng_below(&o.rng, md.size + 1);
            expect_bytes(&o, at, span_sub(span_of(md.bytes, md.size), at, (size_t)rng_below(&o.rng, 2 * MIB)));
            break;
        }
        default:
            random_write(&o, &md);
        }
        cr_assert_eq(editor_size(o.e), md.size);
    }
    expect_bytes(&o, 0, span_of(md.bytes, md.size));
    check_root(&o, &md, &root);
    land_all(&o);
    check_root(&o, &md, &root);
    unsigned failing = o.fail_every;
    o.fail_every = 0;
    finish(&o, &root);
    land_all(&o);
    (void)failing;
    editor_free(o.e);
    free(md.bytes);
    mem_blocks_free(o.m);
}

Test(editor, equals_a_fresh_import)
{
    const char *more = getenv("EDITOR_TEST_SEEDS");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : 24;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct budget *budget = seed % 4 == 0 ? budget_new(BUDGET_MIN) : NULL;
        random_edits(seed, 60, budget);
        if (budget)
            cr_assert_eq(budget_used(budget), 0u);
        budget_free(budget);
    }
}

/* ---- sparse and long files ---- */

/* The same as a stream: zeros, but for `count` marks of one byte. */
struct mark {
    uint64_t at;
    uint8_t byte;
};

static void import_marked(uint64_t size, const struct mark *marks, size_t count, struct unixfs_root *ret)
{
    struct importer *im = importer_new(&(struct importer_options){.profile = NULL});
    uint8_t *chunk = mem_new(MIB);
    for (uint64_t at = 0; at < size; at += MIB) {
        for (size_t i = 0; i < count; i++)
            if (marks[i].at / MIB == at / MIB)
                chunk[marks[i].at % MIB] = marks[i].byte;
        size_t n = size - at < MIB ? (size_t)(size - at) : MIB;
        cr_assert_eq(importer_write(im, span_of(chunk, n)), (int)n);
        for (size_t i = 0; i < count; i++)
            chunk[marks[i].at % MIB] = 0;
    }
    cr_assert_eq(importer_finish(im, ret), 0);
    importer_free(im);
    free(chunk);
}

static const char sparse_5gib[] =
    "bafybeia25owrkq5h5sm47pu7sn5ygnzppldsby3gnfi3h4k7zprrjpku3m"; /* ipfs-unixfs-importer 17.1.1 */

Test(editor, sparse_files)
{
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
    char text[CID_TEXT_SIZE];
    struct unixfs_root root, fresh;
    cr_assert_eq(editor_truncate(o.e, UINT64_C(5) << 30), 0);
    finish(&o, &root);
    cr_expect_str_eq(cid_text(&root.cid, text), sparse_5gib);
    cr_expect_eq(root.tsize, UINT64_C(5368965455));
    land_all(&o);
    cr_expect_eq(o.m->count, 3u, "the chunk, one parent of a group, the root: %u", o.m->count);

    struct mark marks[] = {
        {5, 1}, {(UINT64_C(1) << 30) - 1, 2}, {(UINT64_C(3) << 30) + 12345, 3}, {(UINT64_C(5) << 30) + 99, 4}};
    uint64_t size = (UINT64_C(5) << 30) + 100;
    for (unsigned i = 0; i < 4; i++)
        write_bytes(&o, marks[i].at, span_of(&marks[i].byte, 1));
    finish(&o, &root);
    import_marked(size, marks, 4, &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    cr_expect_eq(root.tsize, fresh.tsize);
    land_all(&o);
    editor_free(o.e);

    /* Again from the root: groups without a change are neither read nor made again. */
    o.e = editor_new(&root, NULL);
    unsigned blocks = o.m->count;
    marks[2].byte = 77;
    write_bytes(&o, marks[2].at, span_of(&marks[2].byte, 1));
    finish(&o, &root);
    land_all(&o);
    import_marked(size, marks, 4, &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    cr_expect_eq(o.m->count - blocks, 3u, "a leaf, its parent, the root: %u", o.m->count - blocks);
    /* shrink into an unchanged group and grow to the old length: what was cut is zero now */
    cr_assert_eq(editor_truncate(o.e, 3), 0);
    cr_assert_eq(editor_truncate(o.e, size), 0);
    finish(&o, &root);
    land_all(&o);
    import_marked(size, NULL, 0, &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    editor_free(o.e);
    mem_blocks_free(o.m);
}

/* The cut goes through a group of the base that was never looked at. */
Test(editor, cut_and_grow_an_unread_group)
{
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
    struct mark marks[] = {{5, 1}, {(UINT64_C(1) << 30) + 7 * (uint64_t)MIB, 2}, {(UINT64_C(1) << 30) + 9 * (uint64_t)MIB, 9}};
    uint64_t size = (UINT64_C(2) << 30) + 1;
    struct unixfs_root root, fresh;
    cr_assert_eq(editor_truncate(o.e, size), 0);
    for (unsigned i = 0; i < 3; i++)
        write_bytes(&o, marks[i].at, span_of(&marks[i].byte, 1));
    finish(&o, &root);
    land_all(&o);
    editor_free(o.e);
    o.e = editor_new(&root, NULL);
    write_bytes(&o, 0, span_str("x")); /* opens the base, loads group 0 */
    cr_assert_eq(editor_truncate(o.e, (UINT64_C(1) << 30) + 8 * (uint64_t)MIB), 0);
    cr_assert_eq(editor_truncate(o.e, size), 0);
    finish(&o, &root);
    land_all(&o);
    struct mark now[] = {{0, 'x'}, marks[0], marks[1]};
    import_marked(size, now, 3, &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    editor_free(o.e);
    mem_blocks_free(o.m);
}

/* What all holes share is in no root any more, and may be collected; then there are holes again. */
Test(editor, holes_that_come_again)
{
    uint64_t size = 2 * GROUP_BYTES;
    uint8_t *bytes = mem_new(MIB);
    for (unsigned small = 0; small < 2; small++) {
        struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
        struct unixfs_root root;
        memset(bytes, 'x', MIB);
        cr_assert_eq(editor_truncate(o.e, small ? 2 * MIB : size), 0);
        finish(&o, &root);
        land_all(&o);
        if (small) {
            write_bytes(&o, 0, span_of(bytes, MIB));
            write_bytes(&o, MIB, span_of(bytes, MIB));
        } else {
            cr_assert_eq(editor_truncate(o.e, 5), 0);
        }
        finish(&o, &root);
        land_all(&o);
        struct mem_blocks *before = o.m;
        o.m = mem_blocks_new();
        cr_assert_eq(editor_truncate(o.e, small ? 3 * MIB : 0), 0);
        cr_assert_eq(editor_truncate(o.e, small ? 3 * MIB : size), 0);
        finish(&o, &root);
        land_all(&o);
        cr_expect_eq(o.m->count, small ? 2u : 3u, "the chunk, one parent of a group, the root: %u", o.m->count);
        editor_free(o.e);
        mem_blocks_free(before);
        mem_blocks_free(o.m);
    }
    free(bytes);
}

/* ---- any sequence of edits to a file that is nearly all hole ---- */

#define SPARSE_MAX (UINT64_C(5) << 30)
#define MARKS_MAX  64

struct sparse {
    struct mark mark[MARKS_MAX];
    unsigned count;
    uint64_t size;
};

static void sparse_write(struct owner *o, struct sparse *sp)
{
    uint64_t at = rng_below(&o->rng, rng_below(&o->rng, 2) ? SPARSE_MAX : sp->size + 1);
    if (rng_below(&o->rng, 3) == 0 && sp->count > 0) /* beside another */
        at = sp->mark[rng_below(&o->rng, sp->count)].at + MIB * rng_below(&o->rng, 4);
    if (sp->count == MARKS_MAX || at >= SPARSE_MAX)
        return;
    struct mark m = {at, (uint8_t)(1 + rng_below(&o->rng, 255))};
    sp->mark[sp->count++] = m;
    write_bytes(o, at, span_of(&m.byte, 1));
    if (at + 1 > sp->size)
        sp->size = at + 1;
}

static void sparse_truncate(struct owner *o, struct sparse *sp)
{
    uint64_t size = rng_below(&o->rng, SPARSE_MAX);
    if (rng_below(&o->rng, 3) == 0)
        size = size / GROUP_BYTES * GROUP_BYTES;
    cr_assert_eq(editor_truncate(o->e, size), 0);
    unsigned kept = 0;
    for (unsigned i = 0; i < sp->count; i++)
        if (sp->mark[i].at < size)
            sp->mark[kept++] = sp->mark[i];
    sp->count = kept;
    sp->size = size;
}

static void sparse_check(struct owner *o, const struct sparse *sp, struct unixfs_root *ret)
{
    struct unixfs_root fresh;
    finish(o, ret);
    import_marked(sp->size, sp->mark, sp->count, &fresh);
    cr_assert(cid_eq(&ret->cid, &fresh.cid));
    cr_assert_eq(ret->tsize, fresh.tsize);
}

static void sparse_edits(uint64_t seed)
{
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
    struct sparse sp = {.size = 0};
    struct unixfs_root root;
    rng_init_seed(&o.rng, seed);
    o.fail_every = seed % 2 ? 5 : 0;
    for (unsigned i = 0; i < 40; i++) {
        switch (rng_below(&o.rng, 12)) {
        case 0:
        case 1:
            sparse_truncate(&o, &sp);
            break;
        case 2:
            sparse_check(&o, &sp, &root);
            break;
        case 3:
            sparse_check(&o, &sp, &root);
            o.e = editor_free(o.e);
            unsigned failing = o.fail_every;
            o.fail_every = 0;
            land_all(&o);
            o.fail_every = failing;
            o.e = editor_new(&root, NULL);
            break;
        case 4:
            land_all(&o);
            break;
        default:
            sparse_write(&o, &sp);
        }
    }
    o.fail_every = 0;
    sparse_check(&o, &sp, &root);
    land_all(&o);
    editor_free(o.e);
    mem_blocks_free(o.m);
}

Test(editor, sparse_files_equal_a_fresh_import)
{
    const char *more = getenv("EDITOR_TEST_SEEDS");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : 8;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        sparse_edits(seed);
}

/* A disk image: something at the end of each GiB. It costs what is there, and no call does all of the work. */
Test(editor, long_and_sparse)
{
    enum { GROUPS = 250 };
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
    struct unixfs_root root, again;
    uint8_t one = 1;
    for (uint64_t g = 0; g < GROUPS; g++)
        write_bytes(&o, (g + 1) * GROUP_BYTES - 5, span_of(&one, 1));
    while (take(&o, EDITOR_ALL) == 1)
        land_all(&o);
    for (unsigned g = 0; g < GROUPS; g++)
        cr_expect_leq(o.e->group[g].cap, 2u);
    unsigned calls = 1;
    int r;
    while ((r = editor_finish(o.e, &o.m->source, &o.m->sink, &root)) == ERR_BUSY)
        calls++;
    cr_assert_eq(r, 0);
    cr_expect_gt(calls, 2u);
    o.e = editor_free(o.e);

    o.e = editor_new(NULL, NULL);
    for (uint64_t g = GROUPS; g-- > 0;)
        write_bytes(&o, (g + 1) * GROUP_BYTES - 5, span_of(&one, 1));
    finish(&o, &again);
    cr_expect(cid_eq(&root.cid, &again.cid));
    land_all(&o);
    editor_free(o.e);
    mem_blocks_free(o.m);
}

Test(editor, sizes_at_the_limit)
{
    struct editor *e = editor_new(NULL, NULL);
    struct mem_blocks *m = mem_blocks_new();
    cr_expect_eq(editor_truncate(e, EDITOR_SIZE_MAX + 1), ERR_TOO_BIG);
    cr_expect_eq(editor_write(e, &m->source, EDITOR_SIZE_MAX, span_str("x")), ERR_TOO_BIG);
    cr_expect_eq(editor_write(e, &m->source, UINT64_MAX - 1, span_str("xyz")), ERR_TOO_BIG);
    cr_expect_eq(editor_size(e), 0u);
    cr_expect_eq(editor_write(e, &m->source, EDITOR_SIZE_MAX - 1, span_str("x")), 1);
    cr_expect_eq(editor_size(e), EDITOR_SIZE_MAX);
    cr_expect_eq(editor_truncate(e, 0), 0);
    editor_free(e);
    mem_blocks_free(m);
}

/* A base that claims to be longer than any file of ours is somebody else's, whose bytes can be used as far as they go. */
Test(editor, a_base_that_is_too_long)
{
    struct owner o = {.m = mem_blocks_new()};
    uint8_t *bytes = mem_new(MIB);
    struct unixfs_child children[2] = {{.size = MIB, .tsize = MIB}};
    cid_of(&children[0].cid, CODEC_RAW, span_of(bytes, MIB));
    mem_add(o.m, block_from(NULL, BUDGET_STORE, &children[0].cid, span_of(bytes, MIB)));
    const uint64_t sizes[] = {EDITOR_SIZE_MAX + 1, UINT64_C(1) << 62, INT64_MAX};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf node = BUF_INIT;
        struct unixfs_root base = {.size = sizes[i]}, root, fresh;
        children[1] = children[0];
        children[1].size = sizes[i] - MIB;
        cr_assert_eq(unixfs_add_file(&node, children, 2, NULL), 0);
        cid_of(&base.cid, CODEC_DAG_PB, buf_span(&node));
        mem_add(o.m, block_from(NULL, BUDGET_STORE, &base.cid, buf_span(&node)));
        buf_done(&node);
        o.e = editor_new(&base, NULL);
        cr_expect_eq(editor_write(o.e, &o.m->source, 0, span_str("x")), ERR_TOO_BIG);
        cr_assert_eq(editor_truncate(o.e, 1000), 0);
        finish(&o, &root);
        land_all(&o);
        import(NULL, NULL, span_of(bytes, 1000), &fresh);
        cr_expect(cid_eq(&root.cid, &fresh.cid));
        editor_free(o.e);
    }
    free(bytes);
    mem_blocks_free(o.m);
}

/* A base of 2 MiB of which each chunk takes two steps to load */
#define SMALL 128
static void small_leaves(struct mem_blocks *m, uint8_t *bytes, struct unixfs_root *ret)
{
    size_t count = 2 * MIB / SMALL;
    struct unixfs_child *children = mem_array(count, sizeof *children);
    struct buf node = BUF_INIT;
    memset(bytes, 'a', 2 * MIB);
    for (size_t i = 0; i < count; i++) {
        children[i].size = children[i].tsize = SMALL;
        cid_of(&children[i].cid, CODEC_RAW, span_of(bytes, SMALL));
    }
    mem_add(m, block_from(NULL, BUDGET_STORE, &children[0].cid, span_of(bytes, SMALL)));
    cr_assert_eq(unixfs_add_file(&node, children, count, NULL), 0);
    *ret = (struct unixfs_root){.size = 2 * MIB, .tsize = 2 * MIB};
    cid_of(&ret->cid, CODEC_DAG_PB, buf_span(&node));
    mem_add(m, block_from(NULL, BUDGET_STORE, &ret->cid, buf_span(&node)));
    buf_done(&node);
    free(children);
}

Test(editor, small_leaves_are_loaded_in_steps)
{
    _Static_assert(UNIXFS_COPY_PIECES * SMALL == MIB / 2, "two steps");
    struct owner o = {.m = mem_blocks_new()};
    struct block_source *s = &o.m->source;
    uint8_t *bytes = mem_new(2 * MIB);
    struct unixfs_root base, root, fresh;
    small_leaves(o.m, bytes, &base);
    o.e = editor_new(&base, NULL);
    cr_expect_eq(editor_write(o.e, s, 5, span_str("x")), ERR_BUSY);
    cr_expect_eq(editor_write(o.e, s, MIB + 5, span_str("y")), ERR_BUSY); /* for the first */
    cr_expect_eq(editor_write(o.e, s, MIB + 5, span_str("y")), ERR_BUSY);
    cr_expect_eq(editor_write(o.e, s, 5, span_str("x")), 1);
    cr_expect_eq(editor_write(o.e, s, MIB + 5, span_str("y")), 1);
    bytes[5] = 'x';
    bytes[MIB + 5] = 'y';
    finish(&o, &root);
    land_all(&o);
    import(NULL, NULL, span_of(bytes, 2 * MIB), &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    editor_free(o.e);

    /* cut while it is loaded; written over while it is loaded; given up */
    small_leaves(o.m, bytes, &base);
    o.e = editor_new(&base, NULL);
    cr_expect_eq(editor_write(o.e, s, MIB + 5, span_str("y")), ERR_BUSY);
    cr_expect_eq(editor_truncate(o.e, MIB + 700), 0);
    cr_expect_eq(editor_write(o.e, s, MIB + 5, span_str("y")), 1);
    cr_expect_eq(editor_write(o.e, s, 5, span_str("x")), ERR_BUSY);
    cr_expect_eq(editor_write(o.e, s, 0, span_of(bytes, MIB)), (int)MIB);
    bytes[MIB + 5] = 'y';
    finish(&o, &root);
    land_all(&o);
    import(NULL, NULL, span_of(bytes, MIB + 700), &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    editor_free(o.e);
    o.e = editor_new(&base, NULL);
    cr_expect_eq(editor_write(o.e, s, 5, span_str("x")), ERR_BUSY);
    editor_free(o.e);
    free(bytes);
    mem_blocks_free(o.m);
}

/* ---- costs ---- */

Test(editor, untouched_is_its_base)
{
    struct mem_blocks *m = mem_blocks_new();
    uint8_t *bytes = mem_new(3 * MIB);
    struct unixfs_root base, root;
    import(m, &tiny, span_of(bytes, 3 * MIB), &base);
    mem_hide_all(m, true); /* not even looked at */
    struct editor *e = editor_new(&base, NULL);
    cr_expect_not(editor_changed(e));
    cr_assert_eq(editor_finish(e, &m->source, &m->sink, &root), 0);
    cr_expect(cid_eq(&root.cid, &base.cid));
    cr_expect_eq(root.tsize, base.tsize);
    cr_expect_eq(m->source.missing_count, 0u);
    /* emptied without a look, too */
    cr_expect_eq(editor_truncate(e, 0), 0);
    cr_expect(editor_changed(e));
    cr_assert_eq(editor_finish(e, &m->source, &m->sink, &root), 0);
    import(NULL, NULL, SPAN_NONE, &base);
    cr_expect(cid_eq(&root.cid, &base.cid));
    editor_free(e);
    free(bytes);
    mem_blocks_free(m);
}

/* A log: 100 bytes and an fsync, again and again. Each costs the last chunk and the parent, whatever is in front. */
Test(editor, appends_cost_the_last_chunk)
{
    struct owner o = {.m = mem_blocks_new()};
    uint8_t *bytes = sample_new();
    uint8_t *all = mem_new(5 * MIB);
    for (unsigned i = 0; i < 4; i++) {
        sample_number(bytes, i);
        memcpy(all + (size_t)i * MIB, bytes, MIB);
    }
    size_t size = 3 * MIB + 1234;
    memset(all + size, 0, 5 * MIB - size);
    struct unixfs_root root, fresh;
    import(o.m, NULL, span_of(all, size), &root);
    o.e = editor_new(&root, NULL);
    for (unsigned i = 0; i < 50; i++) {
        unsigned puts = o.m->puts, stores = o.m->count;
        memset(all + size, 'a' + i % 26, 100);
        write_bytes(&o, size, span_of(all + size, 100));
        size += 100;
        finish(&o, &root);
        land_all(&o);
        cr_assert_eq(o.m->puts - puts, 1u);
        cr_assert_eq(o.m->count - stores, 2u);
    }
    import(NULL, NULL, span_of(all, size), &fresh);
    cr_expect(cid_eq(&root.cid, &fresh.cid));
    cr_expect_eq(editor_dirty_bytes(o.e), 0u);
    editor_free(o.e);
    free(all);
    free(bytes);
    mem_blocks_free(o.m);
}

/* Missing blocks of the base: only those that are needed, and nothing changes by the refusal. */
Test(editor, missing_base)
{
    struct mem_blocks *m = mem_blocks_new();
    uint8_t *bytes = sample_new();
    uint8_t *all = mem_new(3 * MIB);
    for (unsigned i = 0; i < 3; i++) {
        sample_number(bytes, i);
        memcpy(all + (size_t)i * MIB, bytes, MIB);
    }
    struct unixfs_root base;
    import(m, NULL, span_of(all, 3 * MIB), &base);
    mem_hide_all(m, true);
    struct editor *e = editor_new(&base, NULL);
    cr_expect_eq(editor_write(e, &m->source, MIB + 5, span_str("hi")), ERR_MISSING);
    cr_assert_eq(m->source.missing_count, 1u);
    cr_expect(cid_eq(&m->source.missing[0], &base.cid));
    unhide(m);
    cr_expect_eq(editor_write(e, &m->source, MIB + 5, span_str("hi")), ERR_MISSING);
    cr_assert_eq(m->source.missing_count, 1u); /* the one leaf */
    cr_expect_eq(editor_dirty_bytes(e), 0u);
    source_forget_missing(&m->source);
    cr_expect_eq(editor_write(e, &m->source, 2 * MIB, span_of(all, MIB)), (int)MIB); /* all of a chunk: needs nothing */
    struct span spans[8];
    struct read_spans out = {.spans = spans, .max = 8};
    cr_expect_eq(editor_read(e, &m->source, 0, 3 * MIB, &out), ERR_MISSING);
    cr_expect_eq(m->source.missing_count, 2u);
    cr_expect_eq(editor_read(e, &m->source, 2 * MIB + 1, MIB, &out), 0);
    cr_expect_eq(out.bytes, MIB - 1);
    editor_free(e);
    free(all);
    free(bytes);
    mem_blocks_free(m);
}

/* ---- memory that is short ---- */

#define MANY (600 * (uint64_t)MIB) /* bytes of zeros: 600 links, 100 KiB while they are looked at */

static void many_zeros(struct mem_blocks *m, struct unixfs_root *ret)
{
    struct owner o = {.m = m, .e = editor_new(NULL, NULL)};
    rng_init_seed(&o.rng, 1);
    cr_assert_eq(editor_truncate(o.e, MANY), 0);
    finish(&o, ret);
    land_all(&o);
    editor_free(o.e);
}

/* "x" in the middle of many zeros; with `from` not SIZE_MAX each step finds no memory at first. */
static void x_in_zeros(size_t from, struct unixfs_root *ret)
{
    struct mem_blocks *m = mem_blocks_new();
    struct owner o = {.m = m};
    struct unixfs_root base;
    many_zeros(m, &base);
    o.e = editor_new(&base, NULL);
    rng_init_seed(&o.rng, 1);
    short_memory_from = from;
    if (from < SIZE_MAX) {
        cr_assert_eq(editor_write(o.e, &m->source, MANY / 2, span_str("x")), ERR_NO_MEMORY);
        cr_assert(!editor_changed(o.e) && editor_size(o.e) == MANY);
    }
    short_memory_from = SIZE_MAX;
    cr_assert_eq(editor_write(o.e, &m->source, MANY / 2, span_str("x")), 1);
    short_memory_from = from;
    if (from < SIZE_MAX) {
        cr_assert_eq(editor_truncate(o.e, EDITOR_SIZE_MAX), ERR_NO_MEMORY);
        cr_assert_eq(editor_write(o.e, &m->source, EDITOR_SIZE_MAX - 1, span_str("y")), ERR_NO_MEMORY);
        cr_assert_eq(editor_size(o.e), MANY);
        while (take(&o, EDITOR_ALL) == 1)
            ;
        land_all(&o);
        cr_assert_eq(editor_finish(o.e, &m->source, &m->sink, ret), ERR_NO_MEMORY);
    }
    short_memory_from = SIZE_MAX;
    finish(&o, ret);
    land_all(&o);
    editor_free(o.e);
    mem_blocks_free(m);
}

Test(editor, without_memory_for_a_moment)
{
    struct unixfs_root root, should;
    x_in_zeros(SIZE_MAX, &should);
    cr_assert_eq(short_memory_refused, 0);
    x_in_zeros(65536, &root);
    cr_assert_gt(short_memory_refused, 0);
    cr_assert(cid_eq(&root.cid, &should.cid) && root.tsize == should.tsize);
}

/* Chunks that come later have all memory, and the first one has to be read again to be finished. */
Test(editor, chunks_that_are_in_the_way)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, budget)};
    struct unixfs_root root;
    write_bytes(&o, 0, span_str("short"));
    finish(&o, &root);
    land_all(&o);
    for (uint64_t i = 1; editor_write(o.e, &o.m->source, i * MIB + MIB / 2, span_str("long")) == 4; i++)
        ;
    cr_assert_eq(o.away_count, 0u);
    cr_assert_eq(take(&o, EDITOR_ALL), ERR_AGAIN, "nothing is on its way, so nothing will change");
    cr_assert_eq(take(&o, EDITOR_PRESSURE), 1);
    land_all(&o);
    cr_assert_eq(take(&o, EDITOR_ALL), 1);
    land_all(&o);
    for (int r = 0; (r = take(&o, EDITOR_ALL)) != 0;)
        if (r == 1 || take(&o, EDITOR_PRESSURE) == 1)
            land_all(&o);
    finish(&o, &root);
    land_all(&o);
    editor_free(o.e);
    mem_blocks_free(o.m);
    cr_assert_eq(budget_used(budget), 0u);
    budget_free(budget);
}

/* A chunk that was cut while it was on its way has bytes that others read. */
Test(editor, cut_on_its_way_without_memory)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, budget)};
    struct unixfs_root root, should;
    uint8_t *bytes = mem_new(2 * MIB);
    memset(bytes, 'x', 2 * MIB);
    write_bytes(&o, 0, span_of(bytes, 2 * MIB));
    cr_assert_eq(o.away_count, 2u);
    cr_assert_eq(editor_truncate(o.e, MIB + 9), 0);
    bytes[5] = 'y';
    write_bytes(&o, 5, span_str("y"));
    while (budget_take(budget, BUDGET_WRITE, 4096))
        ;
    uint64_t taken = budget_used(budget);
    cr_assert_eq(take(&o, EDITOR_PRESSURE), 1, "the cut one, which is older, is not in the way");
    cr_assert_eq(take(&o, EDITOR_PRESSURE), ERR_AGAIN, "others have its bytes");
    land_all(&o);
    uint64_t left = budget_used(budget);
    cr_assert_lt(left, taken);
    while (budget_take(budget, BUDGET_WRITE, 4096))
        ;
    cr_assert_eq(take(&o, EDITOR_PRESSURE), 1, "now it is ours alone");
    finish(&o, &root);
    land_all(&o);
    import(NULL, &layout_v1_2025, span_of(bytes, MIB + 9), &should);
    cr_assert(cid_eq(&root.cid, &should.cid));
    editor_free(o.e);
    mem_blocks_free(o.m);
    free(bytes);
    budget_give(budget, BUDGET_WRITE, budget_used(budget));
    budget_free(budget);
}

/* ---- what is held for the next root ---- */

struct leaves {
    unsigned count;
    struct cid of[8];
};

static void add_leaf(void *arg, const struct cid *leaf)
{
    struct leaves *l = arg;
    l->of[l->count++] = *leaf;
}

static void write_chunk_of(struct owner *o, uint64_t index, uint8_t byte)
{
    uint8_t *bytes = mem_new(MIB);
    memset(bytes, byte, MIB);
    for (size_t done = 0; done < MIB;) {
        int n = editor_write(o->e, &o->m->source, index * MIB + done, span_of(bytes + done, MIB - done));
        cr_assert_gt(n, 0);
        done += (size_t)n;
    }
    free(bytes);
    while (take(o, EDITOR_FULL) == 1)
        ;
}

/* Those that are stored and on their way, as long as they are the file's. */
Test(editor, leaves_that_it_has)
{
    struct owner o = {.m = mem_blocks_new(), .e = editor_new(NULL, NULL)};
    for (uint8_t i = 0; i < 3; i++)
        write_chunk_of(&o, i, i);
    while (o.away_count > 1)
        land(&o, o.away_count - 1);
    struct leaves first = {0}, hashed = {0}, cut = {0};
    editor_each_leaf(o.e, add_leaf, &first);
    cr_assert_eq(first.count, 2);
    hash_one(&o);
    editor_each_leaf(o.e, add_leaf, &hashed);
    cr_assert_eq(hashed.count, 3);
    land(&o, 0);
    cr_assert_eq(editor_replaced(o.e), 0);
    write_chunk_of(&o, 1, 7);
    cr_assert_eq(editor_replaced(o.e), 1);
    write_chunk_of(&o, 1, 8); /* the one on its way is nobody's when it comes */
    cr_assert_eq(o.away_count, 2);
    land(&o, 0);
    land(&o, 0);
    cr_assert_eq(editor_replaced(o.e), 2);
    cr_assert_eq(editor_truncate(o.e, MIB + MIB / 2), 0);
    cr_assert_eq(editor_replaced(o.e), 3);
    editor_each_leaf(o.e, add_leaf, &cut);
    cr_assert_eq(cut.count, 2); /* the second is needed to make its part */
    cr_assert_eq(editor_truncate(o.e, 0), 0);
    cr_assert_eq(editor_replaced(o.e), 5);
    cut.count = 0;
    editor_each_leaf(o.e, add_leaf, &cut);
    cr_assert_eq(cut.count, 0);
    editor_free(o.e);
    mem_blocks_free(o.m);
}
