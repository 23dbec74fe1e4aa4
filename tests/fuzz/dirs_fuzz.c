/* LINK: store_unixfs store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * Directories of hostile blocks: listing, lookup, editing, paths. The input is a row of blocks (two bytes of length each);
 * a CID leads to the block that its digest's first byte says, whatever its hash, so cycles and repeated shards happen, too;
 * digests whose second byte is 0xff are missing. */
#include "store/unixfs/dir_edit.h"
#include "store/unixfs/path.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCKS_MAX  32
#define ENTRIES_MAX 20000

struct fake {
    struct block_source source;
    struct span blocks[BLOCKS_MAX];
    unsigned count, gets;
};

static int fake_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    struct fake *f = (struct fake *)self;
    struct span digest = cid_digest(cid);
    if (f->count == 0 || digest.data[1] == 0xff)
        return ERR_MISSING;
    f->gets++;
    *ret = f->blocks[digest.data[0] % f->count];
    return 0;
}

struct seen {
    struct fake *f;
    const struct cid *dir;
    unsigned count;
    uint64_t next;
};

static int see(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct seen *s = arg;
    struct unixfs_entry found;
    if (next <= s->next || next > UNIXFS_CURSOR_MAX || unixfs_name_check(e->name) != 0)
        abort();
    s->next = next;
    if (s->count < 16 && (unixfs_dir_lookup(&s->f->source, s->dir, e->name, &found) != 0 || !cid_eq(&found.cid, &e->cid)))
        abort(); /* what is listed can be looked up */
    return ++s->count > ENTRIES_MAX;
}

static void edit(struct fake *f, const struct cid *dir)
{
    static const char *const names[] = {"a", "hello", "470.txt", "file-1"};
    struct unixfs_dir_edit *e = unixfs_dir_edit_new(&(struct unixfs_dir_options){0}, dir);
    struct cid ret;
    uint64_t tsize;
    for (unsigned i = 0; i < 4; i++)
        (void)unixfs_dir_edit_set(e, span_str(names[i]), i % 2 ? dir : NULL, 1);
    for (unsigned i = 0; i < 3; i++) /* errors come back, holes stay */
        (void)unixfs_dir_edit_run(e, &f->source, &ret, &tsize);
    unixfs_dir_edit_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fake f = {.source = {.get = fake_get}};
    struct span in = span_of(data, size);
    while (in.len >= 2 && f.count < BLOCKS_MAX) {
        size_t len = (size_t)in.data[0] << 8 | in.data[1];
        f.blocks[f.count++] = span_sub(in, 2, len);
        in = span_from(in, 2 + len);
    }
    uint8_t digest[32] = {0};
    struct cid dir;
    cid_sha256(&dir, CODEC_DAG_PB, digest);
    struct seen s = {.f = &f, .dir = &dir};
    uint64_t cursor = 0;
    int err = unixfs_dir_list(&f.source, &dir, &cursor, see, &s);
    if (f.gets > 1 + 2000 + (s.count + 16) * 30) /* a few blocks for each entry, and what noting holes may look at */
        abort();
    struct unixfs_resolved r;
    (void)unixfs_resolve(&f.source, &dir, span_str("a/hello/470.txt"), &r);
    if (err == 0 || err == ERR_MISSING)
        edit(&f, &dir);
    return 0;
}
