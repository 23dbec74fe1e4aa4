/* SPDX-License-Identifier: MIT
 *
 * The UnixFS message and the blocks made of it. Reading follows protobuf's rules (unknown fields are passed over, the last of a
 * repeated scalar counts, lists packed or not); writing gives one encoding: fields by number, lists unpacked, minimal varints.
 */
#include "store/unixfs/unixfs_node.h"

#include "store/base/uvarint.h"

#include <assert.h>

enum field {
    FIELD_TYPE = 1,
    FIELD_DATA = 2,
    FIELD_FILESIZE = 3,
    FIELD_BLOCKSIZES = 4,
    FIELD_HASH_TYPE = 5,
    FIELD_FANOUT = 6,
    FIELD_MODE = 7,
    FIELD_MTIME = 8,
};

enum { FIELD_SECONDS = 1, FIELD_NANOSECONDS = 2 }; /* of mtime */

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define NANOSECONDS_MAX 999999999

/* One field: a number, or bytes. */
struct item {
    uint64_t field;
    enum wire wire;
    uint64_t number;
    struct span bytes;
};

static int take_varint(struct span *s, uint64_t *ret)
{
    int n = uvarint_read_lax(*s, ret);
    if (n < 0)
        return ERR_INVALID;
    *s = span_from(*s, (size_t)n);
    return 0;
}

static int take_run(struct span *s, uint64_t len, struct span *ret)
{
    if (len > s->len)
        return ERR_INVALID;
    *ret = span_sub(*s, 0, (size_t)len);
    *s = span_from(*s, (size_t)len);
    return 0;
}

static int take_item(struct span *s, struct item *ret)
{
    uint64_t key, len;
    *ret = (struct item){0};
    if (take_varint(s, &key) != 0 || key >> 3 == 0)
        return ERR_INVALID;
    ret->field = key >> 3;
    ret->wire = key & 7;
    switch (ret->wire) {
    case WIRE_VARINT:
        return take_varint(s, &ret->number);
    case WIRE_FIXED64:
        return take_run(s, 8, &ret->bytes);
    case WIRE_FIXED32:
        return take_run(s, 4, &ret->bytes);
    case WIRE_BYTES:
        return take_varint(s, &len) == 0 ? take_run(s, len, &ret->bytes) : ERR_INVALID;
    default:
        return ERR_INVALID; /* groups: nobody writes them */
    }
}

/* ---- reading ---- */

/* What the message says, before it is checked against the links. */
struct message {
    bool has_type, has_size;
    uint64_t type, size;
    uint64_t block_count, block_sum;
};

static int add_block_size(struct message *m, uint64_t size)
{
    if (size > UINT64_MAX - m->block_sum)
        return ERR_INVALID;
    m->block_sum += size;
    m->block_count++;
    return 0;
}

static int add_packed_sizes(struct message *m, struct span packed)
{
    while (packed.len) {
        uint64_t size;
        if (take_varint(&packed, &size) != 0 || add_block_size(m, size) != 0)
            return ERR_INVALID;
    }
    return 0;
}

static uint32_t u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int read_mtime(struct span s, struct unixfs_meta *meta)
{
    while (s.len) {
        struct item it;
        if (take_item(&s, &it) != 0)
            return ERR_INVALID;
        if (it.field == FIELD_SECONDS && it.wire == WIRE_VARINT) {
            meta->mtime_seconds = (int64_t)it.number;
            meta->has_mtime = true;
        } else if (it.field == FIELD_NANOSECONDS && it.wire == WIRE_FIXED32) {
            uint32_t ns = u32le(it.bytes.data);
            meta->mtime_nanoseconds = ns <= NANOSECONDS_MAX ? ns : 0; /* nonsense is no reason to lose the file */
        }
    }
    return 0;
}

static int read_number(struct message *m, struct unixfs_node *n, const struct item *it)
{
    switch (it->field) {
    case FIELD_TYPE:
        m->has_type = true;
        m->type = it->number;
        return 0;
    case FIELD_FILESIZE:
        m->has_size = true;
        m->size = it->number;
        return 0;
    case FIELD_BLOCKSIZES:
        return add_block_size(m, it->number);
    case FIELD_HASH_TYPE:
        n->hash_type = it->number;
        return 0;
    case FIELD_FANOUT:
        n->fanout = it->number;
        return 0;
    case FIELD_MODE:
        n->meta.has_mode = true;
        n->meta.mode = (uint32_t)it->number;
        return 0;
    default:
        return 0;
    }
}

static int read_bytes(struct message *m, struct unixfs_node *n, const struct item *it)
{
    switch (it->field) {
    case FIELD_DATA:
        n->data = it->bytes;
        return 0;
    case FIELD_BLOCKSIZES:
        return add_packed_sizes(m, it->bytes);
    case FIELD_MTIME:
        return read_mtime(it->bytes, &n->meta);
    default:
        return 0;
    }
}

static int read_message(struct message *m, struct unixfs_node *n)
{
    struct span s = n->message;
    while (s.len) {
        struct item it;
        int err = take_item(&s, &it);
        if (!err && it.wire == WIRE_VARINT)
            err = read_number(m, n, &it);
        else if (!err && it.wire == WIRE_BYTES)
            err = read_bytes(m, n, &it);
        if (err)
            return err;
    }
    return m->has_type ? 0 : ERR_INVALID;
}

static int check_file(const struct message *m, struct unixfs_node *n)
{
    if (m->block_count != n->pb.link_count || m->block_sum > UINT64_MAX - n->data.len)
        return ERR_INVALID;
    n->type = UNIXFS_FILE;
    n->file_size = m->block_sum + n->data.len;
    return m->has_size && m->size != n->file_size ? ERR_INVALID : 0;
}

static int check_type(const struct message *m, struct unixfs_node *n)
{
    switch (m->type) {
    case UNIXFS_RAW:
    case UNIXFS_FILE:
        return check_file(m, n);
    case UNIXFS_SYMLINK:
        n->type = UNIXFS_SYMLINK;
        n->file_size = n->data.len;
        return 0;
    case UNIXFS_DIRECTORY:
    case UNIXFS_HAMT:
        n->type = (enum unixfs_type)m->type;
        return 0;
    default:
        return ERR_UNSUPPORTED;
    }
}

int unixfs_parse(const struct cid *cid, struct span block, struct unixfs_node *ret)
{
    struct unixfs_node n = {0};
    uint64_t codec = cid_codec(cid);
    if (codec == CODEC_RAW) {
        n.type = UNIXFS_FILE;
        n.raw_block = true;
        n.data = block;
        n.file_size = block.len;
        *ret = n;
        return 0;
    }
    if (codec != CODEC_DAG_PB)
        return ERR_UNSUPPORTED;
    int err = dagpb_parse(block, &n.pb);
    if (err)
        return err;
    if (!n.pb.has_data)
        return ERR_UNSUPPORTED; /* dag-pb, but not UnixFS */
    struct message m = {0};
    n.message = n.pb.data;
    err = read_message(&m, &n);
    if (!err)
        err = check_type(&m, &n);
    if (!err)
        *ret = n;
    return err;
}

/* ---- children ---- */

void unixfs_children(const struct unixfs_node *file, struct unixfs_children *ret)
{
    *ret = (struct unixfs_children){.links = dagpb_iter(&file->pb), .fields = file->message};
}

/* The next of the blocksizes. unixfs_parse checked that there are as many as links. */
static uint64_t next_block_size(struct unixfs_children *it)
{
    uint64_t size = 0;
    int err = 0;
    while (!err && !it->packed.len) {
        struct item item;
        err = take_item(&it->fields, &item);
        if (item.field != FIELD_BLOCKSIZES)
            continue;
        if (item.wire == WIRE_VARINT)
            return item.number;
        if (item.wire == WIRE_BYTES)
            it->packed = item.bytes;
    }
    if (!err)
        err = take_varint(&it->packed, &size);
    assert(!err);
    return size;
}

bool unixfs_children_next(struct unixfs_children *it, struct unixfs_child *ret)
{
    struct dagpb_link link;
    if (!dagpb_next(&it->links, &link))
        return false;
    dagpb_link_cid(&link, &ret->cid);
    ret->size = next_block_size(it);
    ret->tsize = link.tsize;
    return true;
}

bool unixfs_child_at(const struct unixfs_node *file, uint64_t at, struct unixfs_child *ret, uint64_t *ret_begin)
{
    if (file->raw_block || at < file->data.len)
        return false;
    struct unixfs_children it;
    struct dagpb_link link;
    uint64_t begin = file->data.len;
    unixfs_children(file, &it);
    while (dagpb_next(&it.links, &link)) { /* the CID is made for the one that is found only */
        uint64_t size = next_block_size(&it);
        if (at - begin < size) {
            dagpb_link_cid(&link, &ret->cid);
            ret->size = size;
            ret->tsize = link.tsize;
            *ret_begin = begin;
            return true;
        }
        begin += size;
    }
    return false;
}

/* ---- writing ---- */

uint64_t unixfs_tsize(size_t block_len, const struct unixfs_child *children, size_t count)
{
    uint64_t sum = block_len;
    for (size_t i = 0; i < count; i++)
        sum = children[i].tsize > UINT64_MAX - sum ? UINT64_MAX : sum + children[i].tsize;
    return sum;
}

static void add_number(struct buf *out, enum field field, uint64_t number)
{
    buf_add_uvarint(out, (uint64_t)field << 3 | WIRE_VARINT);
    buf_add_uvarint(out, number);
}

static void add_bytes(struct buf *out, enum field field, struct span bytes)
{
    buf_add_uvarint(out, (uint64_t)field << 3 | WIRE_BYTES);
    buf_add_uvarint(out, bytes.len);
    buf_add_span(out, bytes);
}

static void add_meta(struct buf *out, const struct unixfs_meta *meta)
{
    if (meta && meta->has_mode)
        add_number(out, FIELD_MODE, meta->mode);
    if (!meta || !meta->has_mtime)
        return;
    struct buf mtime = BUF_INIT;
    add_number(&mtime, (enum field)FIELD_SECONDS, (uint64_t)meta->mtime_seconds);
    if (meta->mtime_nanoseconds) {
        uint32_t ns = meta->mtime_nanoseconds;
        assert(ns <= NANOSECONDS_MAX);
        buf_add_u8(&mtime, FIELD_NANOSECONDS << 3 | WIRE_FIXED32);
        for (unsigned i = 0; i < 4; i++)
            buf_add_u8(&mtime, (uint8_t)(ns >> (8 * i)));
    }
    add_bytes(out, FIELD_MTIME, buf_span(&mtime));
    buf_done(&mtime);
}

static void add_block(struct buf *out, struct buf *message)
{
    dagpb_add_data(out, buf_span(message));
    buf_done(message);
}

#define SIZE_MOST  11  /* bytes of a child's size in the message */
#define FRAME_MOST 128 /* of the rest of a message */

int unixfs_add_file(struct buf *out, const struct unixfs_child *children, size_t count, const struct unixfs_meta *meta)
{
    struct buf message = BUF_INIT;
    uint64_t size = 0;
    size_t most = FRAME_MOST + count * SIZE_MOST;
    for (size_t i = 0; i < count; i++)
        most += dagpb_link_size(children[i].cid.len, 0, children[i].tsize);
    if (!buf_try_reserve(out, most) || !buf_try_reserve(&message, FRAME_MOST + count * SIZE_MOST)) {
        buf_done(&message);
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        dagpb_add_link(out, &children[i].cid, SPAN_NONE, children[i].tsize);
        assert(children[i].size <= UINT64_MAX - size);
        size += children[i].size;
    }
    add_number(&message, FIELD_TYPE, UNIXFS_FILE);
    add_number(&message, FIELD_FILESIZE, size);
    for (size_t i = 0; i < count; i++)
        add_number(&message, FIELD_BLOCKSIZES, children[i].size);
    add_meta(&message, meta);
    add_block(out, &message);
    return 0;
}

void unixfs_add_leaf(struct buf *out, struct span content, const struct unixfs_meta *meta)
{
    struct buf message = BUF_INIT;
    add_number(&message, FIELD_TYPE, UNIXFS_FILE);
    if (content.len)
        add_bytes(&message, FIELD_DATA, content);
    add_number(&message, FIELD_FILESIZE, content.len);
    add_meta(&message, meta);
    add_block(out, &message);
}

void unixfs_add_symlink(struct buf *out, struct span target, const struct unixfs_meta *meta)
{
    struct buf message = BUF_INIT;
    add_number(&message, FIELD_TYPE, UNIXFS_SYMLINK);
    add_bytes(&message, FIELD_DATA, target);
    add_meta(&message, meta);
    add_block(out, &message);
}

void unixfs_add_directory_message(struct buf *out, const struct unixfs_meta *meta)
{
    add_number(out, FIELD_TYPE, UNIXFS_DIRECTORY);
    add_meta(out, meta);
}

void unixfs_add_hamt_message(struct buf *out, struct span bitfield, uint64_t fanout, const struct unixfs_meta *meta)
{
    add_number(out, FIELD_TYPE, UNIXFS_HAMT);
    add_bytes(out, FIELD_DATA, bitfield);
    add_number(out, FIELD_HASH_TYPE, UNIXFS_HASH_MURMUR3);
    add_number(out, FIELD_FANOUT, fanout);
    add_meta(out, meta);
}
