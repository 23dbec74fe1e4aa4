/* LINK: store_unixfs store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * A file's DAG made of the input: blocks one after the other, the last one is the root. Each block is
 *
 *   kind u8: 0 raw, 1 dag-pb as given, 2 inner node, 3 inner node whose numbers lie; + 4: not held; + 8: an identity CID
 *   length u8, bytes           (kind 0 and 1: the block; 2 and 3: bytes of its own)
 *   count u8, count × index u8 (kind 2 and 3: children, counted back from here)
 *   lie u8                     (kind 3: added to the file size, or to the size of a child)
 *
 * What is read must be what the sizes say, whole reads and parts must agree, and nothing may take long. */
#include "store/unixfs/reader.h"

#include "store/base/uvarint.h"
#include "store/unixfs/unixfs_node.h"
#include "tests/unit/store/unixfs/memblocks.h"

#define BLOCKS_MAX 70
#define READ_MAX   200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct dag {
    struct mem_blocks *m;
    struct unixfs_child block[BLOCKS_MAX];
    unsigned count;
};

static uint8_t take(struct span *in)
{
    uint8_t v = in->len ? in->data[0] : 0;
    *in = span_from(*in, 1);
    return v;
}

static void number(struct buf *b, unsigned field, uint64_t v)
{
    buf_add_u8(b, (uint8_t)(field << 3));
    buf_add_uvarint(b, v & (UINT64_MAX >> 1));
}

static void make_inner(struct dag *d, struct span *in, struct span own, bool lies, struct buf *out, uint64_t *ret_size)
{
    struct buf msg = BUF_INIT, sizes = BUF_INIT;
    unsigned count = take(in);
    uint64_t sum = own.len;
    for (unsigned i = 0; i < count && d->count > 0; i++) {
        const struct unixfs_child *c = &d->block[d->count - 1 - take(in) % d->count];
        if (c->size > (UINT64_MAX >> 2) - sum)
            continue;
        dagpb_add_link(out, &c->cid, SPAN_NONE, c->size);
        number(&sizes, 4, c->size);
        sum += c->size;
    }
    uint8_t lie = lies ? take(in) : 0;
    number(&msg, 1, 2);
    if (own.len) {
        buf_add_u8(&msg, 2 << 3 | 2);
        buf_add_uvarint(&msg, own.len);
        buf_add_span(&msg, own);
    }
    number(&msg, 3, sum + (lie & 1 ? lie : 0));
    buf_add_span(&msg, buf_span(&sizes));
    dagpb_add_data(out, buf_span(&msg));
    *ret_size = sum + (lie & 1 ? 0 : lie);
    buf_done(&msg);
    buf_done(&sizes);
}

static void make_cid(uint64_t codec, struct span bytes, bool identity, struct cid *ret)
{
    struct buf mh = BUF_INIT;
    cid_of(ret, codec, bytes);
    if (identity && bytes.len <= DIGEST_MAX) {
        buf_add_uvarint(&mh, HASH_IDENTITY);
        buf_add_uvarint(&mh, bytes.len);
        buf_add_span(&mh, bytes);
        (void)cid_from_hash(ret, 1, codec, buf_span(&mh)); /* refused: the plain one stays */
    }
    buf_done(&mh);
}

static void make_block(struct dag *d, struct span *in)
{
    uint8_t kind = take(in);
    struct span own = span_sub(*in, 1, take(in));
    *in = span_from(*in, own.len);
    struct unixfs_child c = {.size = own.len};
    struct buf bytes = BUF_INIT;
    if (kind & 2)
        make_inner(d, in, own, kind & 1, &bytes, &c.size);
    else
        buf_add_span(&bytes, own);
    make_cid(kind & 3 ? CODEC_DAG_PB : CODEC_RAW, buf_span(&bytes), kind & 8, &c.cid);
    struct block *b = block_from(NULL, BUDGET_STORE, &c.cid, buf_span(&bytes));
    mem_add(d->m, b);
    if (kind & 4)
        mem_hide(d->m, &c.cid, true);
    d->block[d->count++] = c;
    buf_done(&bytes);
}

static void read_all_ways(struct dag *d, const struct cid *root, uint64_t at)
{
    struct unixfs_file *f = unixfs_file_new(root), *other = unixfs_file_new(root);
    struct block_source *s = &d->m->source;
    uint8_t whole[READ_MAX], part[READ_MAX];
    struct cid cids[32];
    uint64_t size;
    int r = unixfs_file_size(f, s, &size);
    int n = unixfs_read_copy(f, s, at, whole, sizeof whole);
    if (r < 0 ? n != r : (n >= 0 && (uint64_t)n != (at >= size ? 0 : size - at < READ_MAX ? size - at : READ_MAX)))
        abort();
    if (n == ERR_MISSING && s->missing_count == 0)
        abort();
    int ahead = unixfs_read_ahead(f, s, (struct read_range){at, at + READ_MAX}, cids, 32);
    for (int i = 0; i < ahead; i++)
        if (source_has(s, &cids[i]))
            abort();
    if (n >= 0 && ahead > 0)
        abort();
    for (int done = 0; done < n; done += n / 7 + 1) { /* another handle, other pieces */
        int len = n - done < 100 ? n - done : 100;
        if (unixfs_read_copy(other, s, at + (uint64_t)done, part, (size_t)len) != len ||
            memcmp(part, whole + done, (size_t)len) != 0)
            abort();
    }
    unixfs_file_free(f);
    unixfs_file_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dag d = {.m = mem_blocks_new()};
    struct span in = span_of(data, size);
    uint64_t at = (uint64_t)take(&in) << (take(&in) % 56);
    while (in.len && d.count < BLOCKS_MAX)
        make_block(&d, &in);
    if (d.count) {
        read_all_ways(&d, &d.block[d.count - 1].cid, 0);
        read_all_ways(&d, &d.block[d.count - 1].cid, at);
    }
    mem_blocks_free(d.m);
    return 0;
}
