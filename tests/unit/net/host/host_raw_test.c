/* SPDX-License-Identifier: MIT
 *
 * Streams of services between hosts under a virtual clock. A struct end is the owner of one side of a stream. */
#include "net/host/host_state.h"
#include "tests/sim/hostsim.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct end {
    struct host_raw *raw; /* NULL: it has ended */
    struct buf came, to_send;
    bool slow; /* consumes nothing */
    bool finish_after, finished, fin_came, over, whole;
    int err;
    int node;
};

#define ENDS_MAX 2400
static struct end ends[ENDS_MAX];
static unsigned end_count, end_inbound_slow, stuck_told;
static struct services *offered[8];
static unsigned tuned;

static void tune(struct host_config *c)
{
    offered[tuned] = services_new();
    c->services = offered[tuned++];
}

static void pump(struct hostsim *s, struct end *e)
{
    struct host *h = hostsim_host(s, e->node);
    struct span in = host_raw_peek(e->raw);
    if (in.len && !e->slow) {
        buf_add_span(&e->came, in);
        host_raw_consume(h, e->raw, in.len, hostsim_now(s));
    }
    while (buf_len(&e->to_send)) {
        int took = host_raw_write(h, e->raw, buf_span(&e->to_send), hostsim_now(s));
        if (took <= 0)
            break;
        buf_consume(&e->to_send, (size_t)took);
    }
    e->fin_came = host_raw_finished(e->raw);
    if (e->finish_after && !e->finished && !buf_len(&e->to_send)) {
        e->finished = true;
        host_raw_finish(h, e->raw, hostsim_now(s));
    }
}

static struct end *own(struct hostsim *s, int node, struct host_raw *raw)
{
    cr_assert_lt(end_count, ENDS_MAX);
    struct end *e = &ends[end_count++];
    *e = (struct end){.raw = raw, .node = node};
    host_raw_own(hostsim_host(s, node), raw, e);
    return e;
}

static void on_raw(void *arg, int node, const struct host_action *a)
{
    struct hostsim *s = arg;
    struct end *e = a->owner;
    if (a->type == HOST_EVENT) {
        stuck_told += strcmp(a->kind, "stream.stuck") == 0;
    } else if (a->type == HOST_STREAM_CAME) {
        own(s, node, a->raw)->slow = end_inbound_slow > 0;
        end_inbound_slow -= end_inbound_slow > 0;
    } else if (a->type == HOST_STREAM_READY) {
        pump(s, e);
    } else if (a->type == HOST_STREAM_END) {
        e->raw = NULL;
        e->over = true;
        e->err = a->result;
        e->whole = a->whole;
    }
}

static void offer(struct hostsim *s, int node, const char *line)
{
    struct service_line l;
    cr_assert_eq(service_line_parse(span_str(line), (struct service_names){0}, &l, NULL), 0, "%s", line);
    cr_assert_eq(services_apply(offered[node], &l, NULL), 0, "%s", line);
    service_line_done(&l);
    host_services_changed(hostsim_host(s, node), hostsim_now(s));
}

/* Two nodes that are connected; the second offers echo to anybody */
static struct hostsim *two(void)
{
    struct hostsim *s = hostsim_new(1);
    hostsim_watch(s, on_raw, s);
    for (int i = 0; i < 2; i++)
        (void)hostsim_add(s, &(struct hostsim_node){.line.delay = MONO_MS / 2, .tune = tune});
    offer(s, 1, "offer echo echo");
    offer(s, 1, "allow echo any");
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    hostsim_run(s, MONO_S);
    return s;
}

static void done(struct hostsim *s)
{
    hostsim_free(s);
    for (unsigned i = 0; i < end_count; i++) {
        buf_done(&ends[i].came);
        buf_done(&ends[i].to_send);
    }
    for (unsigned i = 0; i < tuned; i++)
        services_free(offered[i]);
}

static void ask(struct hostsim *s, struct host_call *c, const char *service)
{
    *c = (struct host_call){.verb = HOST_OPEN, .peer = *hostsim_id(s, 1)};
    service_id(service, false, c->protocol);
    hostsim_call(s, 0, c);
}

/* Opens it from node 0; our end and theirs are the last two */
static struct end *open_stream(struct hostsim *s, const char *service)
{
    struct host_call call;
    ask(s, &call, service);
    for (int i = 0; i < 50 && call.owner; i++)
        hostsim_run(s, 100 * MONO_MS);
    cr_assert_null(call.owner, "answered");
    cr_assert_eq(call.result, 0, "%s", err_name(call.result));
    return own(s, 0, call.raw);
}

static void send_text(struct hostsim *s, struct end *e, const char *text)
{
    buf_add_str(&e->to_send, text);
    pump(s, e);
}

Test(host_raw, bytes_both_ways_and_each_end_by_itself)
{
    struct hostsim *s = two();
    struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
    cr_assert_eq(theirs->node, 1);
    cr_assert(peer_id_eq(host_raw_peer(theirs->raw), hostsim_id(s, 0)));
    ours->finish_after = true;
    send_text(s, ours, "question");
    hostsim_run(s, MONO_S);
    cr_assert_str_eq(buf_cstr(&theirs->came), "question");
    cr_assert(theirs->fin_came);
    cr_assert_not(ours->fin_came, "only one side has finished");
    theirs->finish_after = true;
    send_text(s, theirs, "answer");
    hostsim_run(s, MONO_S);
    cr_assert_str_eq(buf_cstr(&ours->came), "answer");
    cr_assert(ours->over && theirs->over);
    cr_assert_eq(ours->err, 0);
    cr_assert_eq(theirs->err, 0);
    done(s);
}

static int result_of(struct hostsim *s, const char *service)
{
    struct host_call call;
    ask(s, &call, service);
    for (int i = 0; i < 200 && call.owner; i++)
        hostsim_run(s, 100 * MONO_MS);
    cr_assert_null(call.owner);
    cr_assert(call.result == 0 || call.why.text[0], "with a sentence");
    return call.result;
}

Test(host_raw, what_is_not_there_and_what_is_not_allowed_look_alike)
{
    struct hostsim *s = two();
    char line[128], id[PEER_ID_TEXT_SIZE];
    struct host_peer *p = peer_find(hostsim_host(s, 0), hostsim_id(s, 1));
    offer(s, 1, "offer secret echo");
    hostsim_run(s, 2 * MONO_S);
    cr_assert(peer_speaks(p, "/x/echo"), "identify told what we may");
    cr_assert_not(peer_speaks(p, "/x/secret"), "and only that");
    cr_assert_eq(result_of(s, "secret"), ERR_DENIED);
    cr_assert_eq(result_of(s, "nothing"), ERR_DENIED);
    (void)snprintf(line, sizeof line, "allow secret %s", peer_id_text(hostsim_id(s, 0), id));
    offer(s, 1, line);
    hostsim_run(s, 2 * MONO_S);
    cr_assert(peer_speaks(p, "/x/secret"), "it was pushed");
    struct end *e = open_stream(s, "secret");
    host_raw_reset(hostsim_host(s, 0), e->raw, hostsim_now(s));
    e->raw = NULL;
    offer(s, 1, "unoffer secret");
    hostsim_run(s, 2 * MONO_S);
    cr_assert_not(peer_speaks(p, "/x/secret"));
    cr_assert_eq(result_of(s, "secret"), ERR_DENIED);
    done(s);
}

static void count_done(void *arg)
{
    ++*(int *)arg;
}

Test(host_raw, a_loan_ends_once_when_it_was_sent_or_the_stream_is_gone)
{
    struct hostsim *s = two();
    struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
    static const char lent[] = "these bytes stay where they are";
    int ended = 0;
    const struct loan loan = {.data = span_str(lent), .done = count_done, .arg = &ended};
    cr_assert_eq(host_raw_lend(hostsim_host(s, 0), ours->raw, &loan, hostsim_now(s)), (int)strlen(lent));
    cr_assert_eq(host_raw_unsent(ours->raw), strlen(lent));
    cr_assert_eq(ended, 0);
    hostsim_run(s, MONO_S);
    cr_assert_str_eq(buf_cstr(&theirs->came), lent);
    cr_assert_eq(ended, 1);
    cr_assert_eq(host_raw_lend(hostsim_host(s, 0), ours->raw, &loan, hostsim_now(s)), (int)strlen(lent));
    host_raw_reset(hostsim_host(s, 0), ours->raw, hostsim_now(s));
    ours->raw = NULL;
    hostsim_run(s, MONO_S);
    cr_assert_eq(ended, 2);
    cr_assert_eq(theirs->err, ERR_RESET);
    int taken = 0;
    struct end *again = open_stream(s, "echo");
    host_raw_finish(hostsim_host(s, 0), again->raw, hostsim_now(s));
    const struct loan late = {.data = span_str(lent), .done = count_done, .arg = &taken};
    cr_assert_eq(host_raw_lend(hostsim_host(s, 0), again->raw, &late, hostsim_now(s)), ERR_CLOSED);
    cr_assert_eq(taken, 0, "it was not taken");
    done(s);
}

Test(host_raw, a_reset_is_told_as_one)
{
    struct hostsim *s = two();
    struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
    host_raw_reset(hostsim_host(s, 1), theirs->raw, hostsim_now(s));
    theirs->raw = NULL;
    hostsim_run(s, MONO_S);
    cr_assert(ours->over);
    cr_assert_eq(ours->err, ERR_RESET);
    done(s);
}

Test(host_raw, what_came_before_an_end_outlives_a_reset_after_it)
{
    struct hostsim *s = two();
    for (int finish = 0; finish < 2; finish++) {
        struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
        ours->slow = true;
        theirs->finish_after = finish;
        send_text(s, theirs, "all of it");
        hostsim_run(s, MONO_S);
        host_raw_reset(hostsim_host(s, 1), theirs->raw, hostsim_now(s));
        theirs->raw = NULL;
        hostsim_run(s, MONO_S);
        cr_assert_eq(ours->over, !finish, "it is told at once, unless something is left to be taken");
        if (finish) {
            ours->slow = false;
            pump(s, ours);
            hostsim_run(s, MONO_S);
            cr_assert_str_eq(buf_cstr(&ours->came), "all of it");
        }
        cr_assert(ours->over);
        cr_assert_eq(ours->err, ERR_RESET);
        cr_assert_eq(ours->whole, finish);
    }
    done(s);
}

/* A peer that fills streams and resets them does not make us hold more and more */
Test(host_raw, what_outlives_a_reset_is_bounded)
{
    struct hostsim *s = two();
    struct host *h = hostsim_host(s, 0);
    unsigned over = 0, streams = 40;
    for (unsigned i = 0; i < streams; i++) {
        struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
        ours->slow = true;
        theirs->finish_after = true;
        memset(buf_reserve(&theirs->to_send, 200000), 'x', 200000);
        buf_commit(&theirs->to_send, 200000);
        pump(s, theirs);
        hostsim_run(s, MONO_S);
        host_raw_reset(hostsim_host(s, 1), theirs->raw, hostsim_now(s));
        theirs->raw = NULL;
        hostsim_run(s, MONO_S);
        cr_assert_leq(h->raw_kept, HOST_RAW_KEPT_MAX);
        over += ours->over;
    }
    cr_assert(over > 10 && over < streams - 10, "%u", over);
    for (unsigned i = 0; i < end_count; i++)
        if (ends[i].node == 0 && ends[i].raw) {
            ends[i].slow = false;
            pump(s, &ends[i]);
            cr_assert_eq(buf_len(&ends[i].came), 200000);
        }
    hostsim_run(s, MONO_S);
    cr_assert_eq(h->raw_kept, 0);
    done(s);
}

Test(host_raw, dials_when_it_is_not_connected_and_ends_when_it_dies)
{
    struct hostsim *s = two();
    struct end *ours = open_stream(s, "echo");
    hostsim_cut(s, 0);
    hostsim_run(s, MONO_S);
    cr_assert(ours->over && (ours - 1)->over);
    cr_assert_lt(ours->err, 0);
    struct end *again = open_stream(s, "echo");
    send_text(s, again, "hello");
    hostsim_run(s, MONO_S);
    cr_assert_str_eq(buf_cstr(&(again - 1)->came), "hello");
    hostsim_kill(s, 1);
    hostsim_run(s, MONO_S);
    cr_assert_eq(result_of(s, "echo"), ERR_UNREACHABLE);
    done(s);
}

Test(host_raw, a_cancelled_call_is_answered_once)
{
    struct hostsim *s = two();
    struct host_call call;
    ask(s, &call, "echo");
    host_call_cancel(hostsim_host(s, 0), &call, hostsim_now(s));
    hostsim_run(s, MONO_S);
    cr_assert_null(call.owner);
    cr_assert_eq(call.result, ERR_CANCELLED);
    hostsim_kill(s, 1);
    hostsim_run(s, MONO_S);
    ask(s, &call, "echo"); /* waits for a dial */
    host_call_cancel(hostsim_host(s, 0), &call, hostsim_now(s));
    hostsim_run(s, MONO_S);
    cr_assert_null(call.owner);
    cr_assert_eq(call.result, ERR_CANCELLED);
    done(s);
}

Test(host_raw, a_slow_reader_stops_its_own_stream_only)
{
    struct hostsim *s = two();
    uint8_t *big = mem_new(1 << 20);
    end_inbound_slow = 4;
    for (int i = 0; i < 4; i++) { /* together a mebibyte of windows: once that stopped the connection */
        struct end *e = open_stream(s, "echo");
        buf_add(&e->to_send, big, 1 << 20);
        pump(s, e);
    }
    struct end *quick = open_stream(s, "echo");
    buf_add(&quick->to_send, big, 1 << 20);
    pump(s, quick);
    hostsim_run(s, 20 * MONO_S);
    cr_assert_eq(buf_len(&(quick - 1)->came), 1u << 20);
    for (int i = 0; i < 4; i++) {
        struct end *slow = &ends[2 * i];
        cr_assert_not(slow->over, "%d", i);
        slow->slow = false;
        pump(s, slow);
    }
    hostsim_run(s, 20 * MONO_S);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(buf_len(&ends[2 * i].came), 1u << 20, "nothing was lost");
    free(big);
    done(s);
}

Test(host_raw, readers_that_stand_still_cannot_stop_the_connection)
{
    struct hostsim *s = two();
    const unsigned stuck = 60; /* of a quarter MiB each: more than a connection holds */
    uint8_t *big = mem_new(256 << 10);
    end_inbound_slow = stuck;
    for (unsigned i = 0; i < stuck; i++) {
        struct end *e = open_stream(s, "echo");
        buf_add(&e->to_send, big, 256 << 10);
        pump(s, e);
    }
    struct end *quick = open_stream(s, "echo");
    send_text(s, quick, "hello");
    hostsim_run(s, 30 * MONO_S);
    cr_assert_str_eq(buf_cstr(&(quick - 1)->came), "hello");
    unsigned reset = 0;
    for (unsigned i = 0; i < stuck; i++)
        reset += ends[2 * i].over;
    cr_assert(reset > 0 && reset < stuck, "%u", reset);
    cr_assert_gt(stuck_told, 0);
    struct host_conn *c = peer_best_conn(peer_find(hostsim_host(s, 1), hostsim_id(s, 0)));
    cr_assert_leq(c->raw_held, HOST_RAW_HOLD_MAX + (256u << 10));
    free(big);
    done(s);
}

/* A byte now and then is as good as nothing: else what the peer says else, and its pongs, would not be read for minutes */
Test(host_raw, readers_that_crawl_cannot_stop_the_connection)
{
    struct hostsim *s = two();
    const unsigned crawling = 60;
    uint8_t *big = mem_new(256 << 10);
    end_inbound_slow = crawling;
    for (unsigned i = 0; i < crawling; i++)
        (void)open_stream(s, "echo");
    struct end *quick = open_stream(s, "echo");
    for (unsigned i = 0; i < crawling; i++) {
        buf_add(&ends[2 * i + 1].to_send, big, 256 << 10);
        pump(s, &ends[2 * i + 1]);
    }
    send_text(s, quick, "hello");
    for (unsigned turn = 0; turn < 200; turn++) {
        hostsim_run(s, 500 * MONO_MS);
        for (unsigned i = 0; i < crawling; i++)
            if (ends[2 * i].raw && host_raw_peek(ends[2 * i].raw).len)
                host_raw_consume(hostsim_host(s, 1), ends[2 * i].raw, 1, hostsim_now(s));
    }
    cr_assert_not(quick->over, "the connection lives");
    cr_assert_str_eq(buf_cstr(&(quick - 1)->came), "hello");
    unsigned reset = 0;
    for (unsigned i = 0; i < crawling; i++)
        reset += ends[2 * i].over;
    cr_assert(reset > 0 && reset < crawling, "%u", reset);
    free(big);
    done(s);
}

Test(host_raw, what_is_not_taken_of_a_stream_that_ended_is_charged)
{
    struct hostsim *s = two();
    uint8_t *big = mem_new(256 << 10);
    end_inbound_slow = 8;
    for (unsigned i = 0; i < 8; i++) {
        struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
        buf_add(&ours->to_send, big, 256 << 10);
        ours->finish_after = theirs->finish_after = true;
        pump(s, ours);
        pump(s, theirs);
        hostsim_run(s, MONO_S);
        cr_assert(ours->over && !theirs->over && host_raw_is_over(theirs->raw));
    }
    const struct budget *b = hostsim_host(s, 1)->config.budget;
    uint64_t held = budget_used(b);
    cr_assert_geq(held, 8u * (256 << 10));
    for (unsigned i = 0; i < 8; i++) {
        ends[2 * i].slow = false;
        if (i % 2)
            pump(s, &ends[2 * i]);
        else
            host_raw_reset(hostsim_host(s, 1), ends[2 * i].raw, hostsim_now(s));
        hostsim_run(s, MONO_S);
    }
    cr_assert_leq(budget_used(b), held - 8 * (256 << 10));
    free(big);
    done(s);
}

/* Stopped by Ctrl-Z, or frozen with its container: no reader could take anything */
Test(host_raw, readers_of_a_node_that_stood_still_did_not)
{
    struct hostsim *s = two();
    const unsigned slow = 60;
    uint8_t *big = mem_new(256 << 10);
    end_inbound_slow = slow;
    for (unsigned i = 0; i < slow; i++)
        (void)open_stream(s, "echo");
    for (unsigned i = 0; i < slow; i++) {
        buf_add(&ends[2 * i + 1].to_send, big, 256 << 10);
        pump(s, &ends[2 * i + 1]);
    }
    const struct host_conn *c = peer_best_conn(peer_find(hostsim_host(s, 1), hostsim_id(s, 0)));
    for (unsigned turn = 0; turn < 30; turn++) {
        if (turn == 4) {
            cr_assert(c->told_hold, "there is more than it holds");
            hostsim_suspend(s, 1, 10 * MONO_S);
        }
        hostsim_run(s, turn == 4 ? 10 * MONO_S + MONO_MS : 200 * MONO_MS);
        for (unsigned i = 0; i < slow; i++)
            if (ends[2 * i].raw && host_raw_peek(ends[2 * i].raw).len >= 4096)
                host_raw_consume(hostsim_host(s, 1), ends[2 * i].raw, 4096, hostsim_now(s));
    }
    cr_assert_eq(stuck_told, 0, "%u", stuck_told);
    for (unsigned i = 0; i < slow; i++)
        cr_assert_not(ends[2 * i].over);
    free(big);
    done(s);
}

/* Yamux: the peer takes no more streams, and those that are open live on; for hours, perhaps */
Test(host_raw, a_peer_that_goes_away_while_a_stream_lives_is_dialed_anew)
{
    struct hostsim *s = two();
    struct end *ours = open_stream(s, "echo"), *theirs = ours - 1;
    struct cid cid = hostsim_put(s, 1, CODEC_RAW, span_str("a block"));
    struct host_conn *left = peer_best_conn(peer_find(hostsim_host(s, 1), hostsim_id(s, 0)));
    conn_goodbye(left->conn);
    hconn_touch(left);
    hostsim_run(s, MONO_S);
    struct hostsim_want *w = hostsim_want(s, 0, WANT_BLOCK, &cid, 10 * MONO_S);
    hostsim_wait(s, w, 20 * MONO_S);
    cr_assert_eq(w->want.result, 0, "blocks come: %s", err_name(w->want.result));
    for (int i = 0; i < 20; i++)
        cr_assert_eq(result_of(s, "echo"), 0, "and streams open");
    cr_assert_eq(peer_find(hostsim_host(s, 0), hostsim_id(s, 1))->conns.count, 2, "by one more connection");
    send_text(s, ours, "hello");
    hostsim_run(s, MONO_S);
    cr_assert_str_eq(buf_cstr(&theirs->came), "hello");
    done(s);
}

Test(host_raw, a_peer_that_goes_away_is_pinged_by_another_connection)
{
    struct hostsim *s = two();
    (void)open_stream(s, "echo");
    struct host_conn *left = peer_best_conn(peer_find(hostsim_host(s, 1), hostsim_id(s, 0)));
    conn_goodbye(left->conn);
    hconn_touch(left);
    hostsim_run(s, MONO_S);
    struct host_call call = {.verb = HOST_PING, .peer = *hostsim_id(s, 1)};
    hostsim_call(s, 0, &call);
    hostsim_run(s, 5 * MONO_S);
    cr_assert_null(call.owner, "answered");
    cr_assert_eq(call.result, 0, "%s", err_name(call.result));
    done(s);
}

Test(host_raw, a_thousand_at_once)
{
    struct hostsim *s = two();
    static struct host_call calls[1000];
    unsigned good = 0;
    for (unsigned i = 0; i < 1000; i++)
        ask(s, &calls[i], "echo"); /* the peer acknowledges 256 before it hears of the next */
    hostsim_run(s, 10 * MONO_S);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_null(calls[i].owner);
        good += calls[i].result == 0;
        if (calls[i].result == 0)
            send_text(s, own(s, 0, calls[i].raw), "x");
    }
    cr_assert_eq(good, 1000);
    hostsim_run(s, 5 * MONO_S);
    unsigned came = 0;
    for (unsigned i = 0; i < end_count; i++)
        came += ends[i].node == 1 && buf_len(&ends[i].came) == 1;
    cr_assert_eq(came, 1000);
    done(s);
}
