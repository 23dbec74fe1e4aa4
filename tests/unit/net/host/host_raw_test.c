/* SPDX-License-Identifier: MIT
 *
 * Streams of services between hosts under a virtual clock. A struct end is the owner of one side of a stream. */
#include "hostnet.h"

#include "net/host/host_state.h"

#include <criterion/criterion.h>

struct end {
    struct host_raw *raw; /* NULL: it has ended */
    struct buf came, to_send;
    bool slow; /* consumes nothing */
    bool finish_after, finished, fin_came, over;
    int err;
    int node;
};

#define ENDS_MAX 2400
static struct end ends[ENDS_MAX];
static unsigned end_count, end_inbound_slow;
static struct services *offered[8];
static unsigned tuned;

static void tune(struct host_config *c)
{
    offered[tuned] = services_new();
    c->services = offered[tuned++];
}

static void pump(struct hostnet *n, struct end *e)
{
    struct host *h = n->nodes[e->node].host;
    struct span in = host_raw_peek(e->raw);
    if (in.len && !e->slow) {
        buf_add_span(&e->came, in);
        host_raw_consume(h, e->raw, in.len, n->now);
    }
    while (buf_len(&e->to_send)) {
        int took = host_raw_write(h, e->raw, buf_span(&e->to_send), n->now);
        if (took <= 0)
            break;
        buf_consume(&e->to_send, (size_t)took);
    }
    e->fin_came = host_raw_finished(e->raw);
    if (e->finish_after && !e->finished && !buf_len(&e->to_send)) {
        e->finished = true;
        host_raw_finish(h, e->raw, n->now);
    }
}

static struct end *own(struct hostnet *n, int node, struct host_raw *raw)
{
    cr_assert_lt(end_count, ENDS_MAX);
    struct end *e = &ends[end_count++];
    *e = (struct end){.raw = raw, .node = node};
    host_raw_own(n->nodes[node].host, raw, e);
    return e;
}

static void on_raw(struct hostnet *n, int node, const struct host_action *a)
{
    struct end *e = a->owner;
    if (a->type == HOST_STREAM_CAME) {
        own(n, node, a->raw)->slow = end_inbound_slow > 0;
        end_inbound_slow -= end_inbound_slow > 0;
    } else if (a->type == HOST_STREAM_READY) {
        pump(n, e);
    } else if (a->type == HOST_STREAM_END) {
        e->raw = NULL;
        e->over = true;
        e->err = a->result;
    }
}

static void offer(struct hostnet *n, int node, const char *line)
{
    struct service_line l;
    cr_assert_eq(service_line_parse(span_str(line), (struct service_names){0}, &l, NULL), 0, "%s", line);
    cr_assert_eq(services_apply(offered[node], &l, NULL), 0, "%s", line);
    service_line_done(&l);
    host_services_changed(n->nodes[node].host, n->now);
}

/* Two nodes that are connected; the second offers echo to anybody */
static struct hostnet *two(void)
{
    struct hostnet *n = net_new();
    n->raw = on_raw;
    net_add(n, 1, false, tune);
    net_add(n, 2, false, tune);
    offer(n, 1, "offer echo echo");
    offer(n, 1, "allow echo any");
    cr_assert_eq(net_connect(n, 0, 1), 0);
    net_run(n, MONO_S);
    return n;
}

static void done(struct hostnet *n)
{
    net_free(n);
    for (unsigned i = 0; i < end_count; i++) {
        buf_done(&ends[i].came);
        buf_done(&ends[i].to_send);
    }
    for (unsigned i = 0; i < tuned; i++)
        services_free(offered[i]);
}

static void ask(struct hostnet *n, struct host_call *c, const char *service)
{
    *c = (struct host_call){.verb = HOST_OPEN, .owner = c, .peer = n->nodes[1].identity.id};
    service_id(service, false, c->protocol);
    host_call(n->nodes[0].host, c, n->now);
}

/* Opens it from node 0; our end and theirs are the last two */
static struct end *open_stream(struct hostnet *n, const char *service)
{
    struct host_call call;
    ask(n, &call, service);
    for (int i = 0; i < 50 && call.owner; i++)
        net_run(n, 100 * MONO_MS);
    cr_assert_null(call.owner, "answered");
    cr_assert_eq(call.result, 0, "%s", err_name(call.result));
    return own(n, 0, call.raw);
}

static void send_text(struct hostnet *n, struct end *e, const char *text)
{
    buf_add_str(&e->to_send, text);
    pump(n, e);
}

Test(host_raw, bytes_both_ways_and_each_end_by_itself)
{
    struct hostnet *n = two();
    struct end *ours = open_stream(n, "echo"), *theirs = ours - 1;
    cr_assert_eq(theirs->node, 1);
    cr_assert(peer_id_eq(host_raw_peer(theirs->raw), &n->nodes[0].identity.id));
    ours->finish_after = true;
    send_text(n, ours, "question");
    net_run(n, MONO_S);
    cr_assert_str_eq(buf_cstr(&theirs->came), "question");
    cr_assert(theirs->fin_came);
    cr_assert_not(ours->fin_came, "only one side has finished");
    theirs->finish_after = true;
    send_text(n, theirs, "answer");
    net_run(n, MONO_S);
    cr_assert_str_eq(buf_cstr(&ours->came), "answer");
    cr_assert(ours->over && theirs->over);
    cr_assert_eq(ours->err, 0);
    cr_assert_eq(theirs->err, 0);
    done(n);
}

static int result_of(struct hostnet *n, const char *service)
{
    struct host_call call;
    ask(n, &call, service);
    for (int i = 0; i < 200 && call.owner; i++)
        net_run(n, 100 * MONO_MS);
    cr_assert_null(call.owner);
    cr_assert(call.result == 0 || call.why.text[0], "with a sentence");
    return call.result;
}

Test(host_raw, what_is_not_there_and_what_is_not_allowed_look_alike)
{
    struct hostnet *n = two();
    char line[128], id[PEER_ID_TEXT_SIZE];
    struct host_peer *p = peer_find(n->nodes[0].host, &n->nodes[1].identity.id);
    offer(n, 1, "offer secret echo");
    net_run(n, 2 * MONO_S);
    cr_assert(peer_speaks(p, "/x/echo"), "identify told what we may");
    cr_assert_not(peer_speaks(p, "/x/secret"), "and only that");
    cr_assert_eq(result_of(n, "secret"), ERR_DENIED);
    cr_assert_eq(result_of(n, "nothing"), ERR_DENIED);
    (void)snprintf(line, sizeof line, "allow secret %s", peer_id_text(&n->nodes[0].identity.id, id));
    offer(n, 1, line);
    net_run(n, 2 * MONO_S);
    cr_assert(peer_speaks(p, "/x/secret"), "it was pushed");
    struct end *e = open_stream(n, "secret");
    host_raw_reset(n->nodes[0].host, e->raw, n->now);
    e->raw = NULL;
    offer(n, 1, "unoffer secret");
    net_run(n, 2 * MONO_S);
    cr_assert_not(peer_speaks(p, "/x/secret"));
    cr_assert_eq(result_of(n, "secret"), ERR_DENIED);
    done(n);
}

Test(host_raw, a_reset_is_told_as_one)
{
    struct hostnet *n = two();
    struct end *ours = open_stream(n, "echo"), *theirs = ours - 1;
    host_raw_reset(n->nodes[1].host, theirs->raw, n->now);
    theirs->raw = NULL;
    net_run(n, MONO_S);
    cr_assert(ours->over);
    cr_assert_eq(ours->err, ERR_RESET);
    done(n);
}

Test(host_raw, dials_when_it_is_not_connected_and_ends_when_it_dies)
{
    struct hostnet *n = two();
    struct end *ours = open_stream(n, "echo");
    net_cut(n, 0, 1);
    net_run(n, MONO_S);
    cr_assert(ours->over && (ours - 1)->over);
    cr_assert_lt(ours->err, 0);
    struct end *again = open_stream(n, "echo");
    send_text(n, again, "hello");
    net_run(n, MONO_S);
    cr_assert_str_eq(buf_cstr(&(again - 1)->came), "hello");
    n->nodes[1].down = true;
    net_cut(n, 0, 1);
    net_run(n, MONO_S);
    cr_assert_eq(result_of(n, "echo"), ERR_UNREACHABLE);
    done(n);
}

Test(host_raw, a_cancelled_call_is_answered_once)
{
    struct hostnet *n = two();
    struct host_call call;
    ask(n, &call, "echo");
    host_call_cancel(n->nodes[0].host, &call, n->now);
    net_run(n, MONO_S);
    cr_assert_null(call.owner);
    cr_assert_eq(call.result, ERR_CANCELLED);
    n->nodes[1].down = true;
    net_cut(n, 0, 1);
    net_run(n, MONO_S);
    ask(n, &call, "echo"); /* waits for a dial */
    host_call_cancel(n->nodes[0].host, &call, n->now);
    net_run(n, MONO_S);
    cr_assert_null(call.owner);
    cr_assert_eq(call.result, ERR_CANCELLED);
    done(n);
}

Test(host_raw, a_slow_reader_stops_its_own_stream_only)
{
    struct hostnet *n = two();
    uint8_t *big = mem_new(1 << 20);
    end_inbound_slow = 4;
    for (int i = 0; i < 4; i++) { /* together a mebibyte of windows: once that stopped the connection */
        struct end *e = open_stream(n, "echo");
        buf_add(&e->to_send, big, 1 << 20);
        pump(n, e);
    }
    struct end *quick = open_stream(n, "echo");
    buf_add(&quick->to_send, big, 1 << 20);
    pump(n, quick);
    net_run(n, 20 * MONO_S);
    cr_assert_eq(buf_len(&(quick - 1)->came), 1u << 20);
    for (int i = 0; i < 4; i++) {
        struct end *slow = &ends[2 * i];
        cr_assert_not(slow->over, "%d", i);
        slow->slow = false;
        pump(n, slow);
    }
    net_run(n, 20 * MONO_S);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(buf_len(&ends[2 * i].came), 1u << 20, "nothing was lost");
    free(big);
    done(n);
}

Test(host_raw, readers_that_stand_still_cannot_stop_the_connection)
{
    struct hostnet *n = two();
    const unsigned stuck = 60; /* of a quarter MiB each: more than a connection holds */
    uint8_t *big = mem_new(256 << 10);
    end_inbound_slow = stuck;
    for (unsigned i = 0; i < stuck; i++) {
        struct end *e = open_stream(n, "echo");
        buf_add(&e->to_send, big, 256 << 10);
        pump(n, e);
    }
    struct end *quick = open_stream(n, "echo");
    send_text(n, quick, "hello");
    net_run(n, 30 * MONO_S);
    cr_assert_str_eq(buf_cstr(&(quick - 1)->came), "hello");
    unsigned reset = 0;
    for (unsigned i = 0; i < stuck; i++)
        reset += ends[2 * i].over;
    cr_assert(reset > 0 && reset < stuck, "%u", reset);
    cr_assert(strstr(buf_cstr(&n->nodes[1].events), "stream.stuck"));
    struct host_conn *c = peer_best_conn(peer_find(n->nodes[1].host, &n->nodes[0].identity.id));
    cr_assert_leq(c->raw_held, HOST_RAW_HOLD_MAX + (256u << 10));
    free(big);
    done(n);
}

Test(host_raw, a_thousand_at_once)
{
    struct hostnet *n = two();
    static struct host_call calls[1000];
    unsigned good = 0;
    for (unsigned i = 0; i < 1000; i++)
        ask(n, &calls[i], "echo"); /* the peer acknowledges 256 before it hears of the next */
    net_run(n, 10 * MONO_S);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_null(calls[i].owner);
        good += calls[i].result == 0;
        if (calls[i].result == 0)
            send_text(n, own(n, 0, calls[i].raw), "x");
    }
    cr_assert_eq(good, 1000);
    net_run(n, 5 * MONO_S);
    unsigned came = 0;
    for (unsigned i = 0; i < end_count; i++)
        came += ends[i].node == 1 && buf_len(&ends[i].came) == 1;
    cr_assert_eq(came, 1000);
    done(n);
}
