/* SPDX-License-Identifier: MIT */
#include "store/codec/links.h"

#include "store/codec/dagcbor.h"
#include "store/codec/dagpb.h"
#include "store/content/hasher.h"

#include <criterion/criterion.h>

struct list {
    struct cid cids[16];
    unsigned count, stop_at;
};

static int each(void *arg, const struct cid *child)
{
    struct list *l = arg;
    if (l->stop_at && l->count == l->stop_at)
        return ERR_CANCELLED;
    cr_assert_lt(l->count, 16);
    l->cids[l->count++] = *child;
    return 0;
}

static struct cid raw(const char *content)
{
    struct cid c;
    cid_of(&c, CODEC_RAW, span_str(content));
    return c;
}

static struct cid inlined(uint64_t codec, struct span block)
{
    struct buf hash = BUF_INIT;
    struct cid c;
    cr_assert_eq(hash_compute(HASH_IDENTITY, 0, block, &hash), 0);
    cr_assert_eq(cid_from_hash(&c, 1, codec, buf_span(&hash)), 0);
    buf_done(&hash);
    return c;
}

static int run(uint64_t codec, const struct buf *block, struct list *l)
{
    struct cid c;
    cid_of(&c, codec, buf_span(block));
    return links_of(&c, buf_span(block), each, l);
}

Test(links, dag_pb)
{
    struct cid a = raw("a"), b = raw("b");
    struct buf block = BUF_INIT;
    struct list l = {.count = 0};
    dagpb_add_link(&block, &a, SPAN_NONE, 1);
    dagpb_add_link(&block, &b, span_str("x"), 1);
    dagpb_add_link(&block, &a, span_str("y"), 1);
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), 0);
    cr_assert_eq(l.count, 3);
    cr_assert(cid_eq(&l.cids[0], &a) && cid_eq(&l.cids[1], &b) && cid_eq(&l.cids[2], &a));
    l = (struct list){.stop_at = 2};
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), ERR_CANCELLED);
    cr_assert_eq(l.count, 2);
    buf_add_u8(&block, 0xff);
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), ERR_INVALID);
    buf_done(&block);
}

Test(links, dag_cbor)
{
    struct cid a = raw("a"), b = raw("b");
    struct buf block = BUF_INIT;
    struct list l = {.count = 0};
    dagcbor_add_head(&block, DAGCBOR_MAP, 2);
    dagcbor_add_text(&block, "deep");
    for (unsigned i = 0; i < 100; i++)
        dagcbor_add_head(&block, DAGCBOR_ARRAY, 1);
    dagcbor_add_cid(&block, &a);
    dagcbor_add_text(&block, "x");
    dagcbor_add_cid(&block, &b);
    cr_assert_eq(run(CODEC_DAG_CBOR, &block, &l), 0);
    cr_assert(l.count == 2 && cid_eq(&l.cids[0], &a) && cid_eq(&l.cids[1], &b));
    l.count = 0;
    buf_add_u8(&block, 0);
    cr_assert_eq(run(CODEC_DAG_CBOR, &block, &l), ERR_INVALID);
    buf_done(&block);
}

Test(links, leaves)
{
    struct buf block = BUF_INIT;
    struct list l = {.count = 0};
    buf_add_str(&block, "{\"/\":\"not looked at\"}");
    static const uint64_t codecs[] = {CODEC_RAW, CODEC_DAG_JSON, CODEC_LIBP2P_KEY, 0x0200, 0x51, 0x12345};
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        cr_assert_eq(run(codecs[i], &block, &l), 0);
        cr_assert(!links_possible(codecs[i]));
    }
    cr_assert_eq(l.count, 0);
    buf_done(&block);
}

/* raw("b") is named inside an inline node inside an inline node. */
Test(links, inline_children_in_their_place)
{
    struct cid a = raw("a"), b = raw("b"), c = raw("c");
    struct buf block = BUF_INIT;
    struct list l = {.count = 0};
    dagpb_add_link(&block, &b, SPAN_NONE, 1);
    struct cid inner = inlined(CODEC_DAG_PB, buf_span(&block));
    buf_clear(&block);
    dagcbor_add_head(&block, DAGCBOR_ARRAY, 1);
    dagcbor_add_cid(&block, &inner);
    struct cid middle = inlined(CODEC_DAG_CBOR, buf_span(&block)), text = inlined(CODEC_RAW, span_str("text"));
    buf_clear(&block);
    dagpb_add_link(&block, &a, SPAN_NONE, 1);
    dagpb_add_link(&block, &middle, SPAN_NONE, 1);
    dagpb_add_link(&block, &text, SPAN_NONE, 1);
    dagpb_add_link(&block, &c, SPAN_NONE, 1);
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), 0);
    cr_assert(l.count == 3 && cid_eq(&l.cids[0], &a) && cid_eq(&l.cids[1], &b) && cid_eq(&l.cids[2], &c));
    l = (struct list){.stop_at = 1}; /* stopped inside */
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), ERR_CANCELLED);

    struct cid broken = inlined(CODEC_DAG_PB, span_str("broken"));
    buf_clear(&block);
    dagpb_add_link(&block, &broken, SPAN_NONE, 1);
    cr_assert_eq(run(CODEC_DAG_PB, &block, &l), ERR_INVALID);
    buf_done(&block);
}
