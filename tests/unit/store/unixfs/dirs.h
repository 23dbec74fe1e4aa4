/* SPDX-License-Identifier: MIT
 *
 * Directories for tests: built in one go into a struct mem_blocks. */
#ifndef TESTS_UNIT_STORE_UNIXFS_DIRS_H
#define TESTS_UNIT_STORE_UNIXFS_DIRS_H

#include "store/unixfs/dir_builder.h"
#include "tests/unit/store/unixfs/memblocks.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Two names with the same murmur3-x64-64 (made by undoing its steps). */
static const char dirs_twin_a[] = "one name of 32 bytes, ascii only";
static const char dirs_twin_b[] = "other name #000 "
                                  "\x45\x75\x6a\x44\x26\x51\xfe\xe9\x1f\x5d\xa6\xdf\xaf\xd2\xad\x35";

struct dirs_root {
    struct cid cid;
    uint64_t tsize;
};

static inline struct cid dirs_raw(const char *content)
{
    struct cid c;
    cid_of(&c, CODEC_RAW, span_str(content));
    return c;
}

static inline void dirs_expect(const struct cid *cid, const char *text)
{
    char got[CID_TEXT_SIZE];
    cr_assert_str_eq(cid_text(cid, got), text);
}

static inline void dirs_add(struct unixfs_dir_builder *b, const char *name, const struct cid *cid, uint64_t tsize)
{
    cr_assert_eq(unixfs_dir_builder_add(b, span_str(name), cid, tsize), 0);
}

/* A raw leaf. */
static inline void dirs_add_file(struct unixfs_dir_builder *b, const char *name, const char *content)
{
    struct cid c = dirs_raw(content);
    dirs_add(b, name, &c, strlen(content));
}

/* Until the sink has taken everything. */
static inline struct dirs_root dirs_finish(struct unixfs_dir_builder *b)
{
    struct dirs_root root;
    int err;
    do
        err = unixfs_dir_builder_finish(b, &root.cid, &root.tsize);
    while (err == ERR_AGAIN);
    cr_assert_eq(err, 0, "%s", err_name(err));
    unixfs_dir_builder_free(b);
    return root;
}

static inline struct unixfs_dir_builder *dirs_new(struct mem_blocks *m)
{
    return unixfs_dir_builder_new(&(struct unixfs_dir_options){.sink = m ? &m->sink : NULL});
}

/* file-0 … file-(n-1), all empty. */
static inline struct dirs_root dirs_many(struct mem_blocks *m, unsigned n)
{
    struct unixfs_dir_builder *b = dirs_new(m);
    char name[32];
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "file-%u", i);
        dirs_add_file(b, name, "");
    }
    return dirs_finish(b);
}

#endif
