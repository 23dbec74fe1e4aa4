/* SPDX-License-Identifier: MIT */
#include "net/conn/conn.h"

#include "net/secure/noise.h"
#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

#define HEADER "\x13/multistream/1.0.0\n"

static const char *const spoken[] = {"/ipfs/ping/1.0.0", "/echo", "/x/*"};
static const char *const echo[] = {"/echo"};

/* One end of a connection, and what it was told, as text. */
struct end {
    struct identity id;
    struct conn *c;
    struct conn_protocols protocols;
    struct buf wire; /* what it has sent and the other has not received */
    struct buf told;
    uint32_t stream; /* the last inbound one */
    bool echoes;     /* sends back what comes, and finishes when the other did */
    bool keeps;      /* does not consume */
    int err;
    mono_ns rtt;
};

struct pair {
    struct rng rng;
    struct end d, l;
    mono_ns now;
};

static void on_data(struct end *e, const struct conn_event *ev)
{
    buf_printf(&e->told, "data(%u,%.*s) ", ev->stream, (int)(ev->data.len < 40 ? ev->data.len : 40),
               (const char *)ev->data.data);
    if (!e->keeps)
        cr_assert_eq(conn_consume(e->c, ev->stream, ev->data.len), 0);
    if (e->echoes)
        cr_assert_eq(conn_write(e->c, ev->stream, ev->data), (int)ev->data.len);
}

static void on_event(struct end *e, const struct conn_event *ev)
{
    char brief[PEER_ID_SHORT_SIZE];
    switch (ev->type) {
    case CONN_SECURED:
        buf_printf(&e->told, "secured(%s) ", peer_id_short(conn_peer(e->c), brief));
        cr_assert_eq(ev->peer->type, PUBKEY_ED25519);
        break;
    case CONN_READY:
        buf_add_str(&e->told, "ready ");
        break;
    case CONN_STREAM:
        e->stream = ev->stream;
        buf_printf(&e->told, "stream(%u,%u,%.*s) ", ev->stream, ev->protocol, (int)ev->data.len, (const char *)ev->data.data);
        break;
    case CONN_STREAM_READY:
        buf_printf(&e->told, "agreed(%u,%u) ", ev->stream, ev->protocol);
        break;
    case CONN_REFUSED:
        buf_printf(&e->told, "refused(%u) ", ev->stream);
        break;
    case CONN_DATA:
        on_data(e, ev);
        break;
    case CONN_FIN:
        buf_printf(&e->told, "fin(%u) ", ev->stream);
        if (e->echoes)
            cr_assert_eq(conn_close_write(e->c, ev->stream), 0);
        break;
    case CONN_RESET:
        buf_printf(&e->told, "reset(%u,%s) ", ev->stream, err_name(ev->err));
        break;
    case CONN_STREAM_CLOSED:
        buf_printf(&e->told, "gone(%u) ", ev->stream);
        break;
    case CONN_WRITABLE:
        buf_printf(&e->told, "writable(%u) ", ev->stream);
        break;
    case CONN_PONG:
        e->rtt = ev->rtt;
        break;
    case CONN_CLOSED:
        e->err = ev->err;
        buf_printf(&e->told, "closed(%s) ", ev->err ? err_name(ev->err) : "well");
        break;
    default:
        cr_assert(false);
    }
}

static void pump(struct end *e)
{
    struct conn_event ev;
    size_t sent;
    do {
        while (conn_next(e->c, &ev) > 0)
            on_event(e, &ev);
        sent = conn_output(e->c, &e->wire, 70000);
    } while (sent > 0); /* output makes room and finishes streams: events again */
}

static void receive(struct pair *p, struct end *from, struct end *to, size_t most)
{
    while (buf_len(&from->wire) && most) {
        size_t room;
        uint8_t *at = conn_input_reserve(to->c, &room);
        struct span part = span_sub(buf_span(&from->wire), 0, room < most ? room : most);
        memcpy(at, part.data, part.len);
        conn_input_commit(to->c, part.len, p->now);
        buf_consume(&from->wire, part.len);
        most -= part.len;
        pump(to);
    }
}

/* Moves bytes until nothing moves, `step` at a time. */
static void run(struct pair *p, size_t step)
{
    pump(&p->d);
    pump(&p->l);
    while (buf_len(&p->d.wire) || buf_len(&p->l.wire)) {
        receive(p, &p->d, &p->l, step);
        receive(p, &p->l, &p->d, step);
        p->now += MONO_MS;
    }
}

static void expect(struct end *e, const char *told)
{
    size_t n = buf_len(&e->told);
    cr_assert_str_eq(buf_cstr(&e->told), told);
    buf_consume(&e->told, n);
}

static void start(struct pair *p, struct conn_config *cd, struct conn_config *cl)
{
    cd->role = CONN_DIALER;
    cl->role = CONN_LISTENER;
    cd->rng = cl->rng = &p->rng;
    cd->identity = &p->d.id;
    cl->identity = &p->l.id;
    p->d.protocols = p->l.protocols = (struct conn_protocols){spoken, 3, 0};
    cd->protocols = &p->d.protocols;
    cl->protocols = &p->l.protocols;
    p->d.c = conn_new(cd, p->now);
    p->l.c = conn_new(cl, p->now);
}

static void init(struct pair *p)
{
    memset(p, 0, sizeof *p);
    rng_init_seed(&p->rng, 1);
    identity_new(&p->d.id, &p->rng);
    identity_new(&p->l.id, &p->rng);
    p->now = 100 * MONO_S;
}

static void done(struct pair *p)
{
    struct end *ends[] = {&p->d, &p->l};
    for (int i = 0; i < 2; i++) {
        conn_free(ends[i]->c);
        buf_done(&ends[i]->wire);
        buf_done(&ends[i]->told);
    }
}

/* A pair that is ready, with empty `told`. */
static void ready(struct pair *p)
{
    struct conn_config cd = {0}, cl = {0};
    init(p);
    start(p, &cd, &cl);
    run(p, SIZE_MAX);
    cr_assert(conn_is_ready(p->d.c) && conn_is_ready(p->l.c));
    buf_clear(&p->d.told);
    buf_clear(&p->l.told);
}

Test(conn, upgrade_in_any_pieces_with_and_without_early_muxer)
{
    static const size_t steps[] = {1, 2, 3, 5, 17, 64, 500, SIZE_MAX};
    for (int early = 0; early < 4; early++)
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            struct pair p;
            char a[PEER_ID_SHORT_SIZE], b[PEER_ID_SHORT_SIZE], told[100];
            init(&p);
            struct conn_config cd = {.no_early_muxer = early & 1, .expected = p.l.id.id}, cl = {.no_early_muxer = early & 2};
            start(&p, &cd, &cl);
            run(&p, steps[s]);
            snprintf(told, sizeof told, "secured(%s) ready ", peer_id_short(&p.l.id.id, a));
            expect(&p.d, told);
            snprintf(told, sizeof told, "secured(%s) ready ", peer_id_short(&p.d.id.id, b));
            expect(&p.l, told);
            cr_assert(peer_id_eq(conn_peer(p.d.c), &p.l.id.id));
            cr_assert_gt(p.d.rtt, 0);

            p.l.echoes = true;
            uint32_t id;
            cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
            cr_assert_eq(conn_write(p.d.c, id, span_str("hello")), 5);
            run(&p, steps[s] > 500 ? steps[s] : 500);
            expect(&p.l, "stream(1,1,/echo) data(1,hello) ");
            expect(&p.d, "agreed(1,0) data(1,hello) ");
            cr_assert_eq(conn_close_write(p.d.c, id), 0);
            run(&p, 500);
            expect(&p.l, "fin(1) gone(1) ");
            expect(&p.d, "fin(1) gone(1) ");
            cr_assert_eq(conn_streams(p.d.c) + conn_streams(p.l.c), 0);
            cr_assert_eq(conn_deadline(p.d.c) > p.now && conn_deadline(p.d.c) <= p.now + 30 * MONO_S, 1);
            done(&p);
        }
}

Test(conn, one_flight_with_everything)
{
    /* Header, proposal, bytes and FIN in one segment; the listener has nothing to say but answers. */
    struct pair p;
    ready(&p);
    uint32_t id;
    cr_assert_eq(conn_open(p.d.c, (const char *const[]){"/x/chat"}, 1, p.now, &id), 0);
    cr_assert_eq(conn_write(p.d.c, id, span_str("all there is")), 12);
    cr_assert_eq(conn_close_write(p.d.c, id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(1,2,/x/chat) data(1,all there is) fin(1) ");
    expect(&p.d, "agreed(1,0) ");
    cr_assert_eq(conn_close_write(p.l.c, 1), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "gone(1) ");
    expect(&p.d, "fin(1) gone(1) ");
    /* and by the other side */
    cr_assert_eq(conn_open(p.l.c, echo, 1, p.now, &id), 0);
    cr_assert_eq(id, 2);
    run(&p, SIZE_MAX);
    expect(&p.l, "agreed(2,0) ");
    expect(&p.d, "stream(2,1,/echo) ");
    done(&p);
}

Test(conn, proposals)
{
    struct pair p;
    ready(&p);
    uint32_t id;
    static const char *const several[] = {"/no/2", "/no/1", "/ipfs/ping/1.0.0"};
    cr_assert_eq(conn_open(p.d.c, several, 3, p.now, &id), 0);
    cr_assert_eq(conn_write(p.d.c, id, span_str("early")), 0, "waits for the answer");
    cr_assert_eq(conn_write_room(p.d.c, id), 0);
    cr_assert_eq(conn_close_write(p.d.c, id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(1,0,/ipfs/ping/1.0.0) fin(1) ");
    expect(&p.d, "agreed(1,2) ");
    cr_assert_eq(conn_write(p.d.c, id, span_str("late")), ERR_CLOSED);

    cr_assert_eq(conn_open(p.d.c, several, 2, p.now, &id), 0);
    run(&p, SIZE_MAX);
    expect(&p.d, "refused(3) ");
    expect(&p.l, "");
    cr_assert_eq(conn_reset(p.d.c, id), ERR_NOT_FOUND);
    /* refused after bytes went along: the listener takes them for proposals, and drops the stream */
    cr_assert_eq(conn_open(p.d.c, several, 1, p.now, &id), 0);
    cr_assert_eq(conn_write(p.d.c, id, span_str("GET / HTTP/1.1\r\n\r\n")), 18);
    run(&p, SIZE_MAX);
    cr_assert(span_eq_str(buf_span(&p.d.told), "refused(5) ") || span_eq_str(buf_span(&p.d.told), "reset(5,ERR_RESET) "));
    expect(&p.l, "");
    cr_assert_eq(conn_streams(p.l.c), 1);
    done(&p);
}

Test(conn, negotiation_of_a_stream_times_out)
{
    struct pair p;
    ready(&p);
    uint32_t id;
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    cr_assert_eq(conn_deadline(p.d.c), p.now + 10 * MONO_S);
    pump(&p.d);
    buf_clear(&p.d.wire); /* lost in a peer that never answers */
    conn_expire(p.d.c, p.now + 10 * MONO_S - 1);
    pump(&p.d);
    expect(&p.d, "");
    conn_expire(p.d.c, p.now + 10 * MONO_S);
    pump(&p.d);
    expect(&p.d, "reset(1,ERR_TIMEOUT) ");
    cr_assert_eq(conn_streams(p.d.c), 0);
    done(&p);
}

/* All of them are opened before the first says what it is for. */
Test(conn, streams_that_negotiate_are_bounded)
{
    struct pair p;
    ready(&p);
    p.l.protocols.negotiating_max = 2;
    uint32_t id;
    for (int i = 0; i < 4; i++)
        cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(1,1,/echo) stream(3,1,/echo) ");
    expect(&p.d, "reset(5,ERR_RESET) reset(7,ERR_RESET) agreed(1,0) agreed(3,0) ");
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(9,1,/echo) ");
    expect(&p.d, "agreed(9,0) ");
    cr_assert_eq(conn_streams(p.l.c), 3);
    for (int i = 0; i < 2000 && !conn_is_dead(p.l.c); i++) {
        for (int k = 0; k < 40; k++)
            (void)conn_open(p.d.c, echo, 1, p.now, &id);
        run(&p, SIZE_MAX);
    }
    cr_assert_eq(p.l.err, ERR_LIMIT, "who goes on and on is not spoken with");
    done(&p);
}

Test(conn, upgrade_times_out)
{
    struct pair p;
    struct conn_config cd = {0}, cl = {0};
    init(&p);
    start(&p, &cd, &cl);
    cr_assert_eq(conn_deadline(p.l.c), p.now + 15 * MONO_S);
    receive(&p, &p.d, &p.l, 25);
    conn_expire(p.l.c, p.now + 15 * MONO_S);
    pump(&p.l);
    expect(&p.l, "closed(ERR_TIMEOUT) ");
    cr_assert_eq(conn_deadline(p.l.c), MONO_NEVER);
    uint32_t id;
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), ERR_AGAIN);
    cr_assert_eq(conn_open(p.l.c, echo, 1, p.now, &id), ERR_CLOSED);
    done(&p);
}

Test(conn, wrong_peers)
{
    struct pair p;
    struct conn_config cd = {0}, cl = {0};
    init(&p);
    cd.expected = p.d.id.id;
    start(&p, &cd, &cl);
    run(&p, SIZE_MAX);
    expect(&p.d, "closed(ERR_DENIED) ");
    expect(&p.l, "");
    conn_input_end(p.l.c, 0);
    pump(&p.l);
    expect(&p.l, "closed(ERR_CLOSED) ");
    done(&p);
    init(&p);
    p.l.id = p.d.id;
    cd.expected = (struct peer_id){0};
    start(&p, &cd, &cl);
    run(&p, SIZE_MAX);
    expect(&p.d, "closed(ERR_DENIED) ");
    done(&p);
}

/* A peer that asks for what we do not have first. */
Test(conn, tls_is_refused_then_noise)
{
    struct pair p;
    struct conn_config cd = {0}, cl = {0};
    init(&p);
    start(&p, &cd, &cl);
    pump(&p.l);
    buf_clear(&p.l.wire);
    conn_input(p.l.c, span_str(HEADER "\013/tls/1.0.0\n"), p.now);
    pump(&p.l);
    cr_assert(span_eq_str(buf_span(&p.l.wire), "\003na\n"));
    buf_clear(&p.l.wire);
    pump(&p.d);
    buf_consume(&p.d.wire, 20); /* its header */
    receive(&p, &p.d, &p.l, SIZE_MAX);
    cr_assert_gt(buf_len(&p.l.wire), 8 + 200, "/noise and message 2");
    done(&p);
}

Test(conn, end_of_input)
{
    for (int kind = 0; kind < 4; kind++) {
        struct pair p;
        uint32_t id;
        ready(&p);
        cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
        run(&p, SIZE_MAX);
        cr_assert_eq(conn_set_user(p.l.c, p.l.stream, &p), 0);
        cr_assert_eq(conn_user(p.l.c, p.l.stream), &p);
        buf_clear(&p.l.told);
        if (kind == 1)
            conn_goodbye(p.d.c);
        run(&p, SIZE_MAX);
        if (kind == 2) /* with bytes that came before */
            cr_assert_eq(conn_write(p.d.c, id, span_str("last words")), 10);
        pump(&p.d);
        if (kind == 2) {
            conn_input(p.l.c, buf_span(&p.d.wire), p.now);
            conn_input_end(p.l.c, 0);
        } else {
            conn_input_end(p.l.c, kind == 3 ? ERR_RESET : 0);
        }
        pump(&p.l);
        static const char *const told[] = {"reset(1,ERR_CLOSED) closed(ERR_CLOSED) ", "reset(1,ERR_CLOSED) closed(well) ",
                                           "data(1,last words) reset(1,ERR_CLOSED) closed(ERR_CLOSED) ",
                                           "reset(1,ERR_RESET) closed(ERR_RESET) "};
        expect(&p.l, told[kind]);
        cr_assert(conn_is_dead(p.l.c));
        cr_assert(!conn_wants_input(p.l.c));
        cr_assert_eq(conn_write(p.l.c, 1, span_str("x")), ERR_NOT_FOUND);
        cr_assert_eq(conn_ping(p.l.c, 10 * MONO_S, p.now), ERR_CLOSED);
        done(&p);
    }
}

/* It says goodbye, and its socket stays open. */
Test(conn, goodbye_without_an_end)
{
    struct pair p;
    uint32_t id;
    ready(&p);
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    buf_clear(&p.l.told);
    conn_goodbye(p.d.c);
    run(&p, SIZE_MAX);
    expect(&p.l, "");
    cr_assert_eq(conn_reset(p.d.c, id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "reset(1,ERR_RESET) closed(well) ");
    cr_assert(conn_is_dead(p.l.c));
    done(&p);
}

Test(conn, resets)
{
    struct pair p;
    uint32_t id;
    ready(&p);
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    buf_clear(&p.d.told);
    buf_clear(&p.l.told);
    cr_assert_eq(conn_reset(p.l.c, 1), 0);
    run(&p, SIZE_MAX);
    expect(&p.d, "reset(1,ERR_RESET) ");
    expect(&p.l, "");
    /* while it is negotiated: the listener never heard of it */
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    pump(&p.d);
    cr_assert_eq(conn_reset(p.d.c, id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(3,1,/echo) reset(3,ERR_RESET) ");
    expect(&p.d, "");
    done(&p);
}

Test(conn, protocol_table_may_change)
{
    struct pair p;
    uint32_t id;
    static const char *const more[] = {"/new", "/echo"};
    ready(&p);
    p.l.protocols = (struct conn_protocols){more, 2, 0};
    cr_assert_eq(conn_open(p.d.c, (const char *const[]){"/new"}, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    expect(&p.l, "stream(1,0,/new) ");
    expect(&p.d, "agreed(1,0) ");
    done(&p);
}

Test(conn, forged_bytes_end_it)
{
    for (size_t at = 0; at < 60; at += 3) {
        struct pair p;
        uint32_t id;
        ready(&p);
        cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
        pump(&p.d);
        if (at >= buf_len(&p.d.wire))
            break;
        p.d.wire.base[p.d.wire.start + at] ^= 0x10;
        receive(&p, &p.d, &p.l, SIZE_MAX);
        conn_input_end(p.l.c, 0);
        pump(&p.l);
        cr_assert(conn_is_dead(p.l.c));
        cr_assert(p.l.err == ERR_VERIFY || p.l.err == ERR_CLOSED, "%d", p.l.err);
        done(&p);
    }
}

Test(conn, flow_control)
{
    struct pair p;
    struct conn_config cd = {0}, cl = {.limits = {.hold_max = 100000}};
    init(&p);
    start(&p, &cd, &cl);
    run(&p, SIZE_MAX);
    buf_clear(&p.d.told);
    uint32_t id;
    p.l.keeps = true;
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    uint8_t *data = mem_new(1 << 20);
    size_t sent = 0;
    cr_assert(conn_wants_input(p.l.c));
    for (int i = 0; i < 20; i++) {
        int n = conn_write(p.d.c, id, span_of(data, 1 << 20));
        cr_assert_geq(n, 0);
        sent += (size_t)n;
        run(&p, 10000);
    }
    /* what the window took, and no more */
    cr_assert_eq(sent, 256 * 1024);
    cr_assert_eq(conn_unsent(p.d.c, id), 0);
    cr_assert(!conn_wants_input(p.l.c));
    cr_assert_eq(conn_consume(p.l.c, p.l.stream, sent), 0);
    cr_assert(conn_wants_input(p.l.c));
    buf_clear(&p.d.told);
    run(&p, 10000);
    expect(&p.d, "writable(1) ");
    cr_assert_eq(conn_unsent(p.d.c, id), 0);
    free(data);
    done(&p);
}

Test(conn, memory_is_small_when_idle)
{
    struct pair p;
    uint32_t id;
    ready(&p);
    p.l.echoes = true;
    uint8_t *data = mem_new(256 * 1024);
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    cr_assert_gt(conn_write(p.d.c, id, span_of(data, 256 * 1024)), 0);
    run(&p, SIZE_MAX);
    cr_assert_gt(conn_memory(p.l.c), 64 * 1024);
    cr_assert_eq(conn_close_write(p.d.c, id), 0);
    run(&p, SIZE_MAX);
    cr_assert_eq(conn_streams(p.l.c), 0);
    p.now += 60 * MONO_S;
    conn_expire(p.l.c, p.now);
    cr_assert_lt(conn_memory(p.l.c), 16 * 1024);
    free(data);
    done(&p);
}

Test(conn, output_keeps_to_its_bound)
{
    struct pair p;
    uint32_t id;
    ready(&p);
    uint8_t *data = mem_new(256 * 1024);
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    cr_assert_gt(conn_write(p.d.c, id, span_of(data, 256 * 1024)), 0);
    static const size_t bounds[] = {256, 1000, 65536, 65537, 65538, 100000};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct buf out = BUF_INIT;
        size_t n = conn_output(p.d.c, &out, bounds[i]);
        cr_assert_eq(n, buf_len(&out));
        cr_assert(n > 0 && n <= bounds[i]);
        receive(&p, &p.d, &p.l, SIZE_MAX);
        conn_input(p.l.c, buf_span(&out), p.now);
        pump(&p.l);
        buf_done(&out);
    }
    cr_assert(!conn_is_dead(p.l.c));
    free(data);
    done(&p);
}

/* Many streams at once, both ways, in random pieces. */
Test(conn, under_load_reads_end_where_frames_do)
{
    struct pair p;
    ready(&p);
    uint32_t id;
    size_t room;
    struct buf bytes = BUF_INIT, frames = BUF_INIT;
    (void)buf_reserve(&bytes, 2 * CONN_FRAME_DATA);
    buf_commit(&bytes, 2 * CONN_FRAME_DATA);
    memset(bytes.base, 'x', buf_len(&bytes));
    cr_assert_eq(conn_open(p.d.c, echo, 1, p.now, &id), 0);
    run(&p, SIZE_MAX);
    for (int i = 0; i < 20; i++) { /* the room follows the traffic */
        cr_assert_eq(conn_write(p.d.c, id, buf_span(&bytes)), (int)buf_len(&bytes));
        run(&p, SIZE_MAX);
    }
    cr_assert_eq(conn_write(p.d.c, id, buf_span(&bytes)), (int)buf_len(&bytes));
    cr_assert_eq(conn_output(p.d.c, &frames, 2 * CONN_FRAME_WIRE), 2 * CONN_FRAME_WIRE, "full ones");
    uint8_t *at = conn_input_reserve(p.l.c, &room);
    cr_assert_eq(room, 2 * CONN_FRAME_WIRE);
    memcpy(at, frames.base, 1000);
    conn_input_commit(p.l.c, 1000, p.now);
    pump(&p.l);
    at = conn_input_reserve(p.l.c, &room);
    cr_assert_eq(room, CONN_FRAME_WIRE - 1000 + CONN_FRAME_WIRE, "what is missing, and one more");
    memcpy(at, frames.base + 1000, room);
    conn_input_commit(p.l.c, room, p.now);
    buf_clear(&p.l.told);
    pump(&p.l);
    cr_assert(span_starts(buf_span(&p.l.told), "data(1,xxx"));
    (void)conn_input_reserve(p.l.c, &room);
    cr_assert_eq(room, 2 * CONN_FRAME_WIRE, "nothing is left");
    conn_input_commit(p.l.c, 0, p.now);
    buf_done(&bytes);
    buf_done(&frames);
    done(&p);
}

Test(conn, many_streams)
{
    enum { STREAMS = 100, BYTES = 20000 };
    struct pair p;
    ready(&p);
    p.l.echoes = p.d.echoes = true;
    uint32_t id;
    uint8_t *data = mem_new(BYTES);
    for (int i = 0; i < STREAMS; i++) {
        struct end *e = i % 2 ? &p.l : &p.d;
        e->echoes = false;
        cr_assert_eq(conn_open(e->c, echo, 1, p.now, &id), 0);
        cr_assert_eq(conn_write(e->c, id, span_of(data, BYTES)), BYTES);
        cr_assert_eq(conn_close_write(e->c, id), 0);
    }
    for (int i = 0; i < 100000 && conn_streams(p.d.c) + conn_streams(p.l.c); i++) {
        pump(&p.d);
        pump(&p.l);
        receive(&p, &p.d, &p.l, 1 + rng_below(&p.rng, 5000));
        receive(&p, &p.l, &p.d, 1 + rng_below(&p.rng, 5000));
        /* whoever got a stream's end closes its own */
        for (uint32_t s = 1; s < 2 * STREAMS; s++)
            (void)conn_close_write(s % 2 ? p.l.c : p.d.c, s);
        p.now += MONO_MS;
        buf_clear(&p.d.told);
        buf_clear(&p.l.told);
    }
    cr_assert_eq(conn_streams(p.d.c) + conn_streams(p.l.c), 0);
    cr_assert(!conn_is_dead(p.d.c) && !conn_is_dead(p.l.c));
    free(data);
    done(&p);
}
