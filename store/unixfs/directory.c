/* SPDX-License-Identifier: MIT
 *
 * Lookup and listing. A basic directory is one block: lookup scans it, the place in a listing is the index of a link. A HAMT
 * is walked by hash: the place is the hash's first 62 bits.
 */
#include "store/unixfs/directory.h"

#include "store/unixfs/hamt_walk.h"
#include "store/unixfs/murmur3.h"

#include <stdlib.h>

#define CURSOR_DROPS 2 /* low bits of a hash that a place does without */
_Static_assert(UNIXFS_CURSOR_MAX == UINT64_C(1) << (64 - CURSOR_DROPS), "the last place is one past the last hash");

int unixfs_name_check(struct span name)
{
    if (name.len == 0 || span_eq_str(name, ".") || span_eq_str(name, ".."))
        return ERR_INVALID;
    if (memchr(name.data, '/', name.len) || memchr(name.data, 0, name.len))
        return ERR_INVALID;
    return name.len > UNIXFS_NAME_MAX ? ERR_NAME_LONG : 0;
}

static void entry_of_link(const struct dagpb_link *link, struct span name, uint64_t next, struct unixfs_entry *ret)
{
    ret->next = next;
    ret->name = name;
    dagpb_link_cid(link, &ret->cid);
    ret->tsize = link->tsize;
    ret->known_file = cid_codec(&ret->cid) == CODEC_RAW;
}

static uint64_t place_behind(uint64_t hash)
{
    return (hash >> CURSOR_DROPS) + 1;
}

/* The directory's own block. */
static int dir_open(struct block_source *src, const struct cid *dir, struct unixfs_node *ret)
{
    struct span block;
    int err = source_get(src, dir, &block);
    if (!err)
        err = unixfs_parse(dir, block, ret);
    if (!err && !unixfs_is_dir(ret))
        return ERR_NOT_DIR;
    return err;
}

/* ---- lookup ---- */

static int basic_lookup(const struct unixfs_node *node, struct span name, struct unixfs_entry *ret)
{
    struct dagpb_iter it = dagpb_iter(&node->pb);
    struct dagpb_link link;
    for (uint64_t i = 0; dagpb_next(&it, &link); i++) {
        if (!span_eq(link.name, name))
            continue;
        entry_of_link(&link, name, i + 1, ret);
        return 0;
    }
    return ERR_NOT_FOUND;
}

static int hamt_lookup(struct block_source *src, const struct unixfs_node *root, struct span name, struct unixfs_entry *ret)
{
    struct hamt_shard s, child;
    struct cid cids[2]; /* the parent's may be inline: it is borrowed while the child is opened */
    uint64_t hash = murmur3_x64_64(name);
    int err = hamt_open_node(root, HAMT_ROOT, &s);
    for (unsigned i = 0; !err; i++) {
        struct hamt_slot slot;
        if (!hamt_find(&s, hamt_bucket(&s, hash), &slot))
            return ERR_NOT_FOUND;
        if (!slot.is_shard) {
            if (!span_eq(slot.name, name))
                return ERR_NOT_FOUND;
            entry_of_link(&slot.link, name, place_behind(hash), ret);
            return 0;
        }
        err = hamt_child_open(src, &s, &slot, &cids[i % 2], &child);
        if (!err)
            s = child;
    }
    return err;
}

int unixfs_dir_lookup(struct block_source *src, const struct cid *dir, struct span name, struct unixfs_entry *ret)
{
    struct unixfs_node node;
    int err = dir_open(src, dir, &node);
    if (err)
        return err;
    if (unixfs_name_check(name) != 0)
        return ERR_NOT_FOUND;
    return node.type == UNIXFS_HAMT ? hamt_lookup(src, &node, name, ret) : basic_lookup(&node, name, ret);
}

/* ---- listing a basic directory ---- */

struct named {
    struct span name;
    uint32_t index;
};

static int named_cmp(const void *pa, const void *pb)
{
    const struct named *a = pa, *b = pb;
    int c = span_cmp(a->name, b->name);
    return c ? c : (a->index > b->index) - (a->index < b->index);
}

static bool names_ascend(const struct unixfs_node *node)
{
    struct dagpb_iter it = dagpb_iter(&node->pb);
    struct dagpb_link link;
    struct span last = SPAN_NONE;
    for (bool first = true; dagpb_next(&it, &link); first = false) {
        if (!first && span_cmp(last, link.name) >= 0)
            return false;
        last = link.name;
    }
    return true;
}

/* One byte a link: is there an earlier one with its name? NULL: none, as in every sorted directory. 0, ERR_NO_MEMORY. */
static int find_repeats(const struct unixfs_node *node, uint8_t **ret)
{
    uint32_t count = node->pb.link_count;
    *ret = NULL;
    if (names_ascend(node))
        return 0;
    struct named *names = mem_big(count, sizeof *names);
    uint8_t *repeats = names ? mem_big(count, 1) : NULL;
    if (!repeats) {
        free(names);
        return ERR_NO_MEMORY;
    }
    memset(repeats, 0, count);
    struct dagpb_iter it = dagpb_iter(&node->pb);
    struct dagpb_link link;
    for (uint32_t i = 0; dagpb_next(&it, &link); i++)
        names[i] = (struct named){link.name, i};
    qsort(names, count, sizeof *names, named_cmp);
    for (uint32_t i = 1; i < count; i++)
        repeats[names[i].index] = span_eq(names[i - 1].name, names[i].name);
    free(names);
    *ret = repeats;
    return 0;
}

static int basic_list(const struct unixfs_node *node, uint64_t *cursor, unixfs_entry_fn *each, void *arg)
{
    struct dagpb_iter it = dagpb_iter(&node->pb);
    struct dagpb_link link;
    uint8_t *repeats;
    int result = find_repeats(node, &repeats);
    for (uint64_t i = 0; result == 0 && dagpb_next(&it, &link); i++) {
        struct unixfs_entry e;
        if (i < *cursor || (repeats && repeats[i]) || unixfs_name_check(link.name) != 0)
            continue;
        entry_of_link(&link, link.name, i + 1, &e);
        result = each(arg, &e, i + 1);
        if (result == 0)
            *cursor = i + 1;
    }
    free(repeats);
    return result > 0 ? 1 : result;
}

/* ---- listing a HAMT ---- */

static int hamt_slot_list(struct hamt_walk *w, const struct hamt_slot *slot, uint64_t *cursor, unixfs_entry_fn *each, void *arg)
{
    struct unixfs_entry e;
    uint64_t next = place_behind(slot->hash);
    if (slot->is_shard)
        return hamt_walk_enter(w, slot);
    if (unixfs_name_check(slot->name) != 0)
        return 0;
    entry_of_link(&slot->link, slot->name, next, &e);
    int result = each(arg, &e, next);
    if (result == 0)
        *cursor = next;
    return result > 0 ? 1 : result;
}

static int hamt_list(struct block_source *src, const struct unixfs_node *root, uint64_t *cursor, unixfs_entry_fn *each,
                     void *arg)
{
    if (*cursor >= UNIXFS_CURSOR_MAX)
        return 0;
    struct hamt_walk w;
    struct hamt_slot slot;
    int result = hamt_walk_begin(&w, src, root, *cursor << CURSOR_DROPS);
    while (result == 0) {
        int n = hamt_walk_next(&w, &slot);
        if (n <= 0)
            return n;
        result = hamt_slot_list(&w, &slot, cursor, each, arg);
    }
    if (result == ERR_MISSING)
        hamt_note_missing(src, root, *cursor << CURSOR_DROPS);
    return result;
}

int unixfs_dir_list(struct block_source *src, const struct cid *dir, uint64_t *cursor, unixfs_entry_fn *each, void *arg)
{
    struct unixfs_node node;
    int err = dir_open(src, dir, &node);
    if (err)
        return err;
    return node.type == UNIXFS_HAMT ? hamt_list(src, &node, cursor, each, arg) : basic_list(&node, cursor, each, arg);
}
