/* SPDX-License-Identifier: MIT
 *
 * Parked requests without a kernel: OP_OWN requests whose functions say what they need. Time is given. */
#include "fs/fuse/pending.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

static struct want *posted[16];
static unsigned posted_count, runs, ends;
static int end_result, answer_of_run;
static struct cid missing;
static mono_ns look_at;
static struct pending_table *table;
static struct block_source source;
static struct budget *budget;

static int post(void *self, struct want *take_w)
{
    (void)self;
    posted[posted_count++] = take_w;
    return 0;
}

static void cancel(void *self, struct want *w)
{
    (void)self;
    (void)w;
}

static void raise_want(void *self, struct want *w, enum want_priority p)
{
    (void)self;
    (void)w;
    (void)p;
}

static void settled(void *owner, struct waiter *w, int result)
{
    (void)owner;
    pending_settled(table, w, result);
}

static void arrived(void *owner, struct block *b)
{
    (void)owner;
    (void)b;
}

static bool keeping;
static unsigned kept_runs, let_goes;

static void keep(void *owner, bool on)
{
    (void)owner;
    keeping = on;
}

static void let_go(void *owner)
{
    (void)owner;
    let_goes++;
}

static int run(void *owner, struct request *r)
{
    runs++;
    kept_runs += keeping;
    source.missing_count = 0;
    if (answer_of_run == ERR_MISSING)
        source.missing[source.missing_count++] = missing;
    int rc = r->run(owner, r);
    if (rc == 0)
        r->own_done(r, 0);
    return rc;
}

static int body(void *owner, struct request *r)
{
    (void)owner;
    if (answer_of_run == ERR_AGAIN)
        r->wait_on = &ends;
    r->look_at = look_at;
    return answer_of_run;
}

static void done(struct request *r, int result)
{
    (void)r;
    ends++;
    end_result = result;
}

static void describe(void *owner, const struct request *r, struct buf *out)
{
    (void)owner;
    (void)r;
    buf_add_str(out, "path");
}

static struct wants *start(void)
{
    budget = budget_new(BUDGET_MIN);
    struct wants_options w = {{NULL, post, cancel, raise_want}, NULL, budget, NULL, settled, arrived};
    struct wants *wants = wants_new(&w);
    struct pending_options o = {.wants = wants,
                                .source = &source,
                                .budget = budget,
                                .run = run,
                                .keep = keep,
                                .let_go = let_go,
                                .describe = describe,
                                .timeout_metadata = 10 * MONO_S,
                                .timeout_read = 20 * MONO_S};
    table = pending_table_new(&o);
    cid_of(&missing, CODEC_RAW, span_str("block"));
    return wants;
}

static void begin(bool reads)
{
    struct request r = {.op = OP_OWN, .run = body, .own_done = done, .reads_content = reads};
    pending_run(table, &r);
}

static void settle(unsigned i, int result)
{
    posted[i]->result = result;
    posted[i]->mail.run(&posted[i]->mail, NULL);
}

static void stop(struct wants *wants)
{
    pending_table_free(table);
    wants_free(wants);
    cr_assert_eq(budget_used(budget), 0, "everything was given back");
    budget_free(budget);
}

Test(pending, what_waits_is_counted)
{
    static const uint8_t megabyte[1 << 20];
    struct wants *w = start();
    answer_of_run = ERR_AGAIN;
    struct request r = {.op = OP_OWN, .run = body, .own_done = done, .data = {megabyte, sizeof megabyte}};
    pending_run(table, &r);
    cr_assert_gt(budget_class_used(budget, BUDGET_TABLE), sizeof megabyte);
    answer_of_run = 0;
    pending_wake(table, &ends);
    cr_assert_eq(budget_used(budget), 0);
    answer_of_run = ERR_MISSING;
    begin(true);
    cr_assert_gt(budget_class_used(budget, BUDGET_TABLE), sizeof(struct request));
    settle(0, ERR_TIMEOUT);
    stop(w);
}

/* What waits for an answer that need not come: woken by it, or run again at a time that the function has said. */
Test(pending, looks_again_at_a_time)
{
    struct wants *w = start();
    mono_ns now = mono_now();
    answer_of_run = ERR_AGAIN;
    look_at = now + 7 * MONO_S;
    begin(false);
    cr_assert_eq(pending_deadline(table), look_at);
    pending_expire(table, look_at - 1);
    cr_expect(runs == 1 && ends == 0);
    look_at = 0;
    pending_expire(table, now + 7 * MONO_S);
    cr_expect(runs == 2 && ends == 0 && pending_deadline(table) == MONO_NEVER, "said once, it counts once");
    pending_expire(table, now + 3600 * MONO_S);
    cr_expect_eq(runs, 2);
    answer_of_run = 0;
    pending_wake(table, &ends);
    cr_expect(runs == 3 && ends == 1 && end_result == 0);
    stop(w);
}

Test(pending, runs_again_when_the_block_came)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    cr_assert_eq(pending_count(table), 1);
    cr_assert_eq(posted_count, 1);
    struct buf text = BUF_INIT;
    pending_list(table, &text, mono_now());
    cr_assert(strstr(buf_cstr(&text), "waits for blocks from peers (1)\tpath\n"));
    buf_done(&text);
    answer_of_run = 0;
    settle(0, 0);
    cr_assert_eq(runs, 2);
    cr_assert_eq(ends, 1);
    cr_assert_eq(end_result, 0);
    cr_assert_eq(pending_count(table), 0);
    stop(w);
}

Test(pending, failure_of_a_want_is_the_answer)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    settle(0, ERR_VERIFY);
    cr_assert_eq(end_result, ERR_VERIFY);
    cr_assert_eq(pending_count(table), 0);
    stop(w);
}

Test(pending, deadlines)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(false);
    mono_ns deadline = pending_deadline(table);
    cr_assert(deadline > mono_now() + 9 * MONO_S && deadline <= mono_now() + 10 * MONO_S);
    pending_expire(table, deadline - 1);
    cr_assert_eq(ends, 0);
    pending_expire(table, deadline);
    cr_assert_eq(ends, 1);
    cr_assert_eq(end_result, ERR_TIMEOUT);
    settle(0, ERR_CANCELLED); /* comes back after all */
    cr_assert_eq(ends, 1);
    stop(w);
}

Test(pending, who_hears_that_it_comes_waits_on)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    mono_ns deadline = pending_deadline(table), heard = deadline - MONO_S;
    atomic_store(&posted[0]->heard, heard);
    pending_expire(table, deadline);
    cr_assert_eq(ends, 0);
    cr_assert_eq(pending_deadline(table), heard + 20 * MONO_S);
    pending_expire(table, heard + 20 * MONO_S);
    cr_assert_eq(ends, 1, "nothing more was heard");
    cr_assert_eq(end_result, ERR_TIMEOUT);
    settle(0, ERR_CANCELLED);
    begin(false); /* a stat too */
    deadline = pending_deadline(table);
    heard = deadline - MONO_S;
    atomic_store(&posted[1]->heard, heard);
    pending_expire(table, deadline);
    cr_assert_eq(pending_deadline(table), heard + 10 * MONO_S);
    pending_expire(table, heard + 10 * MONO_S);
    cr_assert_eq(ends, 2);
    settle(1, ERR_CANCELLED);
    stop(w);
}

Test(pending, time_in_which_nothing_could_come_does_not_count)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    mono_ns later = pending_deadline(table) + 3600 * MONO_S; /* a laptop's lid, a container that was frozen */
    pending_stood_still(table, later);
    pending_expire(table, later);
    cr_assert_eq(ends, 0);
    pending_expire(table, later + 20 * MONO_S - 1);
    cr_assert_eq(ends, 0);
    pending_expire(table, later + 20 * MONO_S);
    cr_assert_eq(ends, 1);
    cr_assert_eq(end_result, ERR_TIMEOUT);
    settle(0, ERR_CANCELLED);
    stop(w);
}

Test(pending, waits_of_ours_are_woken_and_have_no_deadline)
{
    struct wants *w = start();
    answer_of_run = ERR_AGAIN;
    begin(false);
    cr_assert_eq(pending_deadline(table), MONO_NEVER);
    pending_wake(table, &runs);
    cr_assert_eq(runs, 1);
    answer_of_run = 0;
    pending_wake(table, &ends);
    cr_assert_eq(ends, 1);
    stop(w);
}

Test(pending, offline_answers_at_once)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    pending_set_online(table, false);
    cr_assert_eq(ends, 1);
    cr_assert_eq(end_result, ERR_OFFLINE);
    begin(true);
    cr_assert_eq(ends, 2);
    settle(0, ERR_CANCELLED);
    stop(w);
}

static bool all(const struct request *r, void *arg)
{
    (void)r;
    (void)arg;
    return true;
}

Test(pending, many_are_cancelled)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    for (int i = 0; i < 200; i++)
        begin(true);
    cr_assert_eq(posted_count, 1); /* the same block */
    pending_cancel(table, all, NULL, ERR_CANCELLED);
    cr_assert_eq(ends, 200);
    cr_assert_eq(pending_count(table), 0);
    settle(0, ERR_CANCELLED);
    stop(w);
}

/* The first of those that wait for blocks keeps what it is given, until it is answered or waits for something else. */
Test(pending, one_at_a_time_keeps_its_blocks)
{
    struct wants *w = start();
    answer_of_run = ERR_MISSING;
    begin(true);
    cid_of(&missing, CODEC_RAW, span_str("other"));
    begin(true);
    cr_assert(runs == 2 && kept_runs == 0 && posted_count == 2);
    settle(1, 0);
    cr_assert(runs == 3 && kept_runs == 0, "it is another's turn");
    settle(0, 0);
    cr_assert(runs == 4 && kept_runs == 1 && !keeping && let_goes == 0);
    answer_of_run = ERR_AGAIN;
    settle(posted_count - 1, 0);
    cr_assert_eq(let_goes, 1, "what it waits for now may need the memory");
    answer_of_run = 0;
    pending_cancel(table, NULL, NULL, ERR_CANCELLED);
    cr_assert_eq(let_goes, 1);
    stop(w);
}
