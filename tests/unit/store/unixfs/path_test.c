/* SPDX-License-Identifier: MIT */
#include "store/unixfs/path.h"

#include "tests/unit/store/unixfs/dirs.h"

struct fixture {
    struct mem_blocks *m;
    struct cid root, big, file;
};

/* root/sub/big/file-0 …, root/sub/file */
static struct fixture fixture_new(void)
{
    struct fixture f = {.m = mem_blocks_new()};
    struct dirs_root big = dirs_many(f.m, 8000);
    mem_add_bytes(f.m, CODEC_RAW, span_str("content"), &f.file);
    struct unixfs_dir_builder *b = dirs_new(f.m);
    dirs_add(b, "big", &big.cid, big.tsize);
    dirs_add(b, "file", &f.file, 7);
    struct dirs_root sub = dirs_finish(b);
    b = dirs_new(f.m);
    dirs_add(b, "sub", &sub.cid, sub.tsize);
    f.root = dirs_finish(b).cid;
    f.big = big.cid;
    return f;
}

Test(path, resolves)
{
    struct fixture f = fixture_new();
    struct cid empty = dirs_raw("");
    const struct {
        const char *path;
        int err;
        const struct cid *cid; /* reached, also on failure */
        size_t used;
    } cases[] = {
        {"", 0, &f.root, 0},
        {"/", 0, &f.root, 0},
        {"sub/file", 0, &f.file, 8},
        {"//sub//file/", 0, &f.file, 11},
        {"sub/big", 0, &f.big, 7},
        {"sub/big/file-7999", 0, &empty, 17},
        {"sub/big/file-8000", ERR_NOT_FOUND, &f.big, 7},
        {"sub/./file", ERR_NOT_FOUND, NULL, 3},
        {"sub/../sub", ERR_NOT_FOUND, NULL, 3},
        {"sub/file/x", ERR_NOT_DIR, &f.file, 8},
        {"nothing", ERR_NOT_FOUND, &f.root, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct unixfs_resolved r;
        cr_assert_eq(unixfs_resolve(&f.m->source, &f.root, span_str(cases[i].path), &r), cases[i].err, "%s", cases[i].path);
        cr_assert_eq(r.used, cases[i].used, "%s: %zu", cases[i].path, r.used);
        cr_assert(!cases[i].cid || cid_eq(&r.entry.cid, cases[i].cid), "%s", cases[i].path);
    }
    mem_blocks_free(f.m);
}

Test(path, again_after_missing)
{
    struct fixture f = fixture_new();
    struct unixfs_resolved r;
    unsigned rounds = 0;
    int err;
    mem_hide_all(f.m, true);
    while ((err = unixfs_resolve(&f.m->source, &f.root, span_str("sub/big/file-5"), &r)) == ERR_MISSING) {
        cr_assert_eq(f.m->source.missing_count, 1);
        mem_hide(f.m, &f.m->source.missing[0], false);
        source_forget_missing(&f.m->source);
        cr_assert_lt(rounds++, 6);
    }
    cr_assert_eq(err, 0);
    cr_assert(r.entry.known_file);
    mem_blocks_free(f.m);
}

Test(path, bounds)
{
    struct fixture f = fixture_new();
    struct unixfs_resolved r;
    char longer[UNIXFS_PATH_MAX + 1];
    memset(longer, '/', sizeof longer);
    cr_assert_eq(unixfs_resolve(&f.m->source, &f.root, span_of(longer, sizeof longer), &r), ERR_NAME_LONG);
    cr_assert_eq(unixfs_resolve(&f.m->source, &f.root, span_of(longer, sizeof longer - 1), &r), 0);
    memset(longer, 'x', sizeof longer);
    cr_assert_eq(unixfs_resolve(&f.m->source, &f.root, span_of(longer, 256), &r), ERR_NAME_LONG);

    struct cid dir = f.root; /* d/d/d/… */
    for (unsigned i = 0; i < UNIXFS_PATH_DEPTH + 1; i++) {
        struct unixfs_dir_builder *b = dirs_new(f.m);
        dirs_add(b, "d", &dir, 0);
        dir = dirs_finish(b).cid;
    }
    for (unsigned i = 0; i <= UNIXFS_PATH_DEPTH; i++)
        memcpy(longer + 2 * i, "d/", 2);
    cr_assert_eq(unixfs_resolve(&f.m->source, &dir, span_of(longer, 2 * UNIXFS_PATH_DEPTH), &r), 0);
    cr_assert_eq(unixfs_resolve(&f.m->source, &dir, span_of(longer, 2 * UNIXFS_PATH_DEPTH + 1), &r), ERR_LOOP);
    mem_blocks_free(f.m);
}
