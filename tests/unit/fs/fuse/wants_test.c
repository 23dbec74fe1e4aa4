/* SPDX-License-Identifier: MIT
 *
 * Wants against a port that the test settles by hand. */
#include "fs/fuse/wants.h"

#include <criterion/criterion.h>

static struct want *posted[16];
static unsigned posted_count, cancelled, raised, told, arrived, refuse;
static int last_result;

static int post(void *self, struct want *take_w)
{
    (void)self;
    if (refuse)
        return ERR_AGAIN;
    posted[posted_count++] = take_w;
    return 0;
}

static void cancel(void *self, struct want *w)
{
    (void)self;
    (void)w;
    cancelled++;
}

static void raise_want(void *self, struct want *w, enum want_priority p)
{
    (void)self;
    (void)w;
    (void)p;
    raised++;
}

static void settled(void *owner, struct waiter *w, int result)
{
    (void)owner;
    (void)w;
    told++;
    last_result = result;
}

static void block_arrived(void *owner, struct block *b)
{
    (void)owner;
    (void)b;
    arrived++;
}

static struct wants *make(void)
{
    struct wants_options o = {{NULL, post, cancel, raise_want}, NULL, NULL, NULL, settled, block_arrived};
    return wants_new(&o);
}

static void settle(unsigned i, int result, bool with_block)
{
    posted[i]->result = result;
    if (with_block)
        posted[i]->block = block_from(NULL, BUDGET_NET, &posted[i]->cid, span_str("x"));
    posted[i]->mail.run(&posted[i]->mail, NULL);
}

static struct cid cid(const char *text)
{
    struct cid c;
    cid_of(&c, CODEC_RAW, span_str(text));
    return c;
}

static const struct cid no_root;

Test(wants, one_want_for_many_waiters)
{
    struct wants *ws = make();
    struct waiter a = {0}, b = {0}, ahead = {.background = true};
    struct cid c = cid("1");
    cr_assert_eq(wants_add(ws, &ahead, &c, &no_root, WANT_AHEAD), 0);
    cr_assert_eq(wants_add(ws, &a, &c, &no_root, WANT_NOW), 0);
    cr_assert_eq(wants_add(ws, &a, &c, &no_root, WANT_NOW), 0);
    cr_assert_eq(wants_add(ws, &b, &c, &no_root, WANT_NOW), 0);
    cr_assert_eq(posted_count, 1);
    cr_assert_eq(raised, 1);
    cr_assert_eq(a.count, 1);
    settle(0, 0, true);
    cr_assert_eq(told, 2); /* read-ahead is not told */
    cr_assert_eq(arrived, 1);
    cr_assert_eq(a.count + b.count + ahead.count, 0);
    cr_assert_eq(wants_open(ws), 0);
    wants_free(ws);
}

Test(wants, nobody_left_is_cancelled_and_comes_back_once)
{
    struct wants *ws = make();
    struct waiter a = {0}, b = {0};
    struct cid c = cid("1");
    cr_assert_eq(wants_add(ws, &a, &c, &no_root, WANT_NOW), 0);
    cr_assert_eq(wants_add(ws, &b, &c, &no_root, WANT_NOW), 0);
    wants_drop(ws, &a);
    cr_assert_eq(cancelled, 0);
    wants_drop(ws, &b);
    cr_assert_eq(cancelled, 1);
    cr_assert_eq(wants_open(ws), 1);
    cr_assert_eq(wants_add(ws, &a, &c, &no_root, WANT_NOW), 0); /* asked again before the first came back */
    cr_assert_eq(posted_count, 2);
    settle(0, ERR_CANCELLED, false);
    cr_assert_eq(told, 0);
    settle(1, ERR_TIMEOUT, false);
    cr_assert_eq(told, 1);
    cr_assert_eq(last_result, ERR_TIMEOUT);
    cr_assert_eq(wants_open(ws), 0);
    wants_free(ws);
}

Test(wants, refusal_leaves_nothing)
{
    struct wants *ws = make();
    struct waiter a = {0};
    struct cid c = cid("1");
    refuse = 1;
    cr_assert_eq(wants_add(ws, &a, &c, &no_root, WANT_NOW), ERR_AGAIN);
    cr_assert_eq(a.count, 0);
    cr_assert_not(wants_has(ws, &c));
    wants_free(ws);
}
