/* SPDX-License-Identifier: MIT */
#include "net/mux/yamux.h"

#include "net/mux/yamux_impl.h"
#include "store/base/budget.h"
#include "store/base/rng.h"
#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

#define SYN 1u
#define ACK 2u
#define FIN 4u
#define RST 8u
enum { DATA, WINDOW, PING, GOAWAY };

static void frame(struct buf *out, unsigned type, unsigned flags, uint32_t id, uint32_t length)
{
    uint8_t h[12] = {0,
                     (uint8_t)type,
                     (uint8_t)(flags >> 8),
                     (uint8_t)flags,
                     (uint8_t)(id >> 24),
                     (uint8_t)(id >> 16),
                     (uint8_t)(id >> 8),
                     (uint8_t)id,
                     (uint8_t)(length >> 24),
                     (uint8_t)(length >> 16),
                     (uint8_t)(length >> 8),
                     (uint8_t)length};
    buf_add(out, h, sizeof h);
}

static void data_frame(struct buf *out, unsigned flags, uint32_t id, const char *text)
{
    frame(out, DATA, flags, id, (uint32_t)strlen(text));
    buf_add_str(out, text);
}

static struct yamux *listener(void)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.keepalive = MONO_NEVER;
    return yamux_new(&cfg, 0);
}

static struct yamux *dialer(void)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.dialer = true;
    cfg.keepalive = MONO_NEVER;
    return yamux_new(&cfg, 0);
}

/* Events as text, one letter each with the stream's number and the data, pulled until there is none. Consumes what it reads. */
static int pull(struct yamux *y, struct buf *told)
{
    static const char letters[] = {[YAMUX_OPENED] = 'O', [YAMUX_DATA] = 'D',   [YAMUX_FIN] = 'F',  [YAMUX_WRITABLE] = 'W',
                                   [YAMUX_RESET] = 'R',  [YAMUX_CLOSED] = 'C', [YAMUX_PONG] = 'P', [YAMUX_GOAWAY] = 'G'};
    struct yamux_event ev;
    int r;
    while ((r = yamux_next(y, &ev)) > 0) {
        if (ev.type == YAMUX_DATA && buf_len(told) && told->base[told->end - 1] == '>') {
            buf_truncate(told, buf_len(told) - 1); /* further pieces of the same */
            buf_printf(told, "%.*s>", (int)ev.data.len, (const char *)ev.data.data);
        } else if (ev.type == YAMUX_DATA) {
            buf_printf(told, "D%u<%.*s>", ev.stream, (int)ev.data.len, (const char *)ev.data.data);
        } else {
            buf_printf(told, "%c%u", letters[ev.type], ev.stream);
        }
        if (ev.type == YAMUX_DATA)
            cr_assert_eq(yamux_consume(y, ev.stream, ev.data.len), 0);
    }
    return r;
}

/* Feeds in pieces; returns the last result. */
static int feed(struct yamux *y, struct span in, size_t step, struct buf *told)
{
    int r = 0;
    for (size_t at = 0; at < in.len && r == 0; at += step) {
        uint8_t *mem;
        yamux_input(y, exact(span_sub(in, at, step), &mem), 1000);
        r = pull(y, told);
        free(mem);
    }
    return r;
}

static void expect_output(struct yamux *y, const char *hex)
{
    struct buf out = BUF_INIT;
    (void)yamux_output(y, &out, 1 << 20);
    if (!hex_is(buf_span(&out), hex)) {
        struct buf text = BUF_INIT;
        for (size_t i = 0; i < buf_len(&out); i++)
            buf_printf(&text, "%02x", out.base[out.start + i]);
        cr_assert_str_eq(buf_cstr(&text), hex);
    }
    buf_done(&out);
}

/* ---- input ---- */

Test(yamux, flags_ride_on_both_frame_kinds)
{
    for (size_t step = 1; step < 200; step += 13) {
        struct yamux *y = listener();
        struct buf in = BUF_INIT, told = BUF_INIT;
        frame(&in, WINDOW, SYN, 1, 41); /* as js does, with credit on top */
        data_frame(&in, 0, 1, "hello");
        frame(&in, WINDOW, FIN, 1, 0);
        data_frame(&in, SYN, 3, "a"); /* SYN and data at once */
        data_frame(&in, FIN, 3, "b");
        data_frame(&in, SYN | FIN, 5, ""); /* all there is */
        data_frame(&in, SYN | FIN, 7, "xyz");
        frame(&in, WINDOW, RST, 1, 9);
        cr_assert_eq(feed(y, buf_span(&in), step, &told), 0);
        cr_assert_str_eq(buf_cstr(&told), "O1D1<hello>F1O3D3<ab>F3O5F5O7D7<xyz>F7R1", "%s", buf_cstr(&told));
        cr_assert_eq(yamux_streams(y), 3);
        /* each is acknowledged */
        expect_output(y, "000100020000000300000000"
                         "000100020000000500000000"
                         "000100020000000700000000");
        yamux_free(y);
        buf_done(&in);
        buf_done(&told);
    }
}

Test(yamux, both_sides_close)
{
    struct yamux *y = listener();
    struct buf in = BUF_INIT, told = BUF_INIT;
    data_frame(&in, SYN, 1, "q");
    frame(&in, DATA, FIN, 1, 0);
    cr_assert_eq(feed(y, buf_span(&in), 100, &told), 0);
    cr_assert_eq(yamux_write(y, 1, span_str("answer")), 6);
    cr_assert_eq(yamux_close_write(y, 1), 0);
    cr_assert_eq(yamux_write(y, 1, span_str("more")), ERR_CLOSED);
    expect_output(y, "000100020000000100000000"
                     "000000000000000100000006"
                     "616e73776572"
                     "000100040000000100000000");
    cr_assert_eq(pull(y, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "O1D1<q>F1C1");
    cr_assert_eq(yamux_write(y, 1, span_str("more")), ERR_NOT_FOUND);
    cr_assert_eq(yamux_streams(y), 0);
    /* late frames for it are ignored, and their bodies skipped */
    buf_clear(&in);
    buf_clear(&told);
    frame(&in, WINDOW, 0, 1, 1000);
    data_frame(&in, 0, 1, "late");
    frame(&in, WINDOW, RST, 1, 0);
    frame(&in, WINDOW, ACK, 99, 5);
    data_frame(&in, SYN, 3, "next");
    cr_assert_eq(feed(y, buf_span(&in), 1, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "O3D3<next>");
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

Test(yamux, protocol_errors)
{
    static const struct {
        const char *hex;
        int err;
    } cases[] = {
        {"010000010000000100000000", ERR_PROTOCOL}, /* version 1 */
        {"000400010000000100000000", ERR_PROTOCOL}, /* type 4 */
        {"000100010000000200000000", ERR_PROTOCOL}, /* a SYN with one of our numbers */
        {"000100010000000000000000", ERR_PROTOCOL}, /* stream 0 */
        {"000000000000000000000000", ERR_PROTOCOL},
        {"000100010000000100000000000100010000000100000000", ERR_PROTOCOL}, /* twice the same */
        {"000000010000000100040001", ERR_PROTOCOL},                         /* over the window with SYN */
        {"000100010000000100000000000000000000000100040001", ERR_PROTOCOL},
        {"0001000100000001ffffffff", ERR_PROTOCOL}, /* window past 4 GiB */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct yamux *y = listener();
        struct buf in = BUF_INIT, told = BUF_INIT;
        hex_add(&in, cases[i].hex);
        cr_assert_eq(feed(y, buf_span(&in), 1, &told), cases[i].err, "%s", cases[i].hex);
        struct yamux_event ev;
        cr_assert_eq(yamux_next(y, &ev), cases[i].err, "it repeats");
        uint32_t id;
        cr_assert_eq(yamux_open(y, NULL, &id), ERR_CLOSED);
        expect_output(y, "000300000000000000000001"); /* go away: protocol error */
        expect_output(y, "");
        yamux_free(y);
        buf_done(&in);
        buf_done(&told);
    }
}

Test(yamux, pings_go_ahead_of_data)
{
    struct yamux *y = listener();
    struct buf in = BUF_INIT, told = BUF_INIT;
    frame(&in, WINDOW, SYN, 1, 0);
    cr_assert_eq(feed(y, buf_span(&in), 100, &told), 0);
    cr_assert_eq(yamux_write(y, 1, span_str("data")), 4);
    buf_clear(&in);
    frame(&in, PING, SYN, 0, 0xcafe);
    frame(&in, PING, SYN, 0, 0);
    cr_assert_eq(feed(y, buf_span(&in), 100, &told), 0);
    expect_output(y, "00020002000000000000cafe"
                     "000200020000000000000000"
                     "000100020000000100000000"
                     "000000000000000100000004"
                     "64617461");
    /* more than we keep: we hang up */
    buf_clear(&in);
    for (int i = 0; i <= YAMUX_PONGS_MAX; i++)
        frame(&in, PING, SYN, 0, 1);
    cr_assert_eq(feed(y, buf_span(&in), 1 << 20, &told), ERR_LIMIT);
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

static int open_and_reset(struct yamux *y, uint32_t first, unsigned count)
{
    struct buf in = BUF_INIT, told = BUF_INIT;
    for (uint32_t i = 0; i < count; i++) {
        frame(&in, WINDOW, SYN, first + 2 * i, 0);
        frame(&in, WINDOW, RST, first + 2 * i, 0);
    }
    int r = feed(y, buf_span(&in), 1 << 20, &told);
    buf_done(&in);
    buf_done(&told);
    return r;
}

/* Numbers that would stand in one place of a table, if its order were known: each frame would have to look at all of them */
Test(yamux, numbers_that_are_chosen_stand_in_many_places)
{
    const unsigned count = 2000;
    for (uint64_t seed = 0; seed < 20; seed++)
        for (uint32_t step = 2; step <= UINT32_C(1) << 20; step *= 2) {
            struct yamux_config cfg = yamux_defaults;
            struct buf in = BUF_INIT, told = BUF_INIT;
            cfg.streams_in = count;
            cfg.seed = seed * UINT64_C(0xd1342543de82ef95);
            struct yamux *y = yamux_new(&cfg, 0);
            for (uint32_t k = 0; k < count; k++)
                frame(&in, 1, 1, 1 + step * k, 0);
            cr_assert_eq(feed(y, buf_span(&in), buf_len(&in), &told), 0);
            cr_assert_eq(yamux_streams(y), count);
            for (unsigned b = 0; b < YAMUX_BUCKETS; b++) {
                unsigned chain = 0;
                for (const struct stream *s = y->buckets[b]; s; s = s->chain)
                    chain++;
                cr_assert_lt(chain, count / 4, "step %u", step);
            }
            yamux_free(y);
            buf_done(&in);
            buf_done(&told);
        }
}

Test(yamux, streams_in_vain)
{
    struct yamux *y = yamux_new(&yamux_defaults, 0);
    struct buf in = BUF_INIT, told = BUF_INIT;
    cr_assert_eq(open_and_reset(y, 1, YAMUX_VAIN_MAX), 0);
    /* one that is answered makes up for one of them */
    frame(&in, WINDOW, SYN, 20001, 0);
    cr_assert_eq(feed(y, buf_span(&in), 1 << 20, &told), 0);
    expect_output(y, "000200010000000000000001"
                     "0001000200004e2100000000");
    cr_assert_eq(open_and_reset(y, 30001, 1), 0);
    cr_assert_eq(open_and_reset(y, 30003, 1), ERR_LIMIT);
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

/* The resets are read, so nothing piles up */
Test(yamux, streams_too_many)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.streams_in = 1;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf in = BUF_INIT, out = BUF_INIT, told = BUF_INIT;
    for (uint32_t i = 0; i <= 1 + YAMUX_VAIN_MAX; i++) { /* the first stays, and makes up for nobody: it came before them */
        buf_clear(&in);
        frame(&in, WINDOW, SYN, 1 + 2 * i, 0);
        cr_assert_eq(feed(y, buf_span(&in), 1 << 20, &told), i <= YAMUX_VAIN_MAX ? 0 : ERR_LIMIT, "%u", i);
        (void)yamux_output(y, &out, 1 << 20);
        buf_clear(&out);
    }
    yamux_free(y);
    buf_done(&in);
    buf_done(&out);
    buf_done(&told);
}

Test(yamux, keepalive_and_death)
{
    struct yamux_config cfg = yamux_defaults;
    struct yamux *y = yamux_new(&cfg, 5 * MONO_S);
    struct buf in = BUF_INIT, told = BUF_INIT;
    struct yamux_event ev;
    expect_output(y, "000200010000000000000001"); /* at once, for the round trip */
    cr_assert_eq(yamux_ping(y, 20 * MONO_S, 5 * MONO_S), ERR_AGAIN);
    cr_assert_eq(yamux_deadline(y), 15 * MONO_S);
    frame(&in, PING, ACK, 0, 77); /* not ours */
    frame(&in, PING, ACK, 0, 1);
    yamux_input(y, buf_span(&in), 5 * MONO_S + 20 * MONO_MS);
    cr_assert_eq(yamux_next(y, &ev), 1);
    cr_assert_eq(ev.type, YAMUX_PONG);
    cr_assert_eq(ev.rtt, 20 * MONO_MS);
    cr_assert_eq(yamux_next(y, &ev), 0);
    cr_assert_eq(yamux_deadline(y), 35 * MONO_S);
    yamux_expire(y, 34 * MONO_S);
    cr_assert(!yamux_has_output(y));
    yamux_expire(y, 35 * MONO_S);
    cr_assert(yamux_has_output(y));
    expect_output(y, "000200010000000000000002");
    cr_assert_eq(yamux_deadline(y), 45 * MONO_S);
    /* any byte shows that it lives */
    yamux_input(y, span_sub(buf_span(&in), 0, 1), 44 * MONO_S);
    cr_assert_eq(yamux_next(y, &ev), 0);
    yamux_expire(y, 45 * MONO_S);
    cr_assert_eq(yamux_next(y, &ev), 0);
    cr_assert_eq(yamux_deadline(y), 54 * MONO_S);
    cr_assert_eq(yamux_ping(y, 3 * MONO_S, 45 * MONO_S), ERR_AGAIN, "one is under way, which has less time now");
    cr_assert_eq(yamux_deadline(y), 48 * MONO_S);
    yamux_expire(y, 54 * MONO_S);
    cr_assert_eq(yamux_next(y, &ev), ERR_TIMEOUT);
    cr_assert_eq(yamux_deadline(y), MONO_NEVER);
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

Test(yamux, go_away)
{
    struct yamux *y = dialer();
    struct buf in = BUF_INIT, told = BUF_INIT;
    uint32_t id;
    cr_assert_eq(yamux_open(y, NULL, &id), 0);
    frame(&in, GOAWAY, 0, 0, 0);
    data_frame(&in, ACK, 1, "still");
    cr_assert_eq(feed(y, buf_span(&in), 5, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "G0D1<still>");
    cr_assert_eq(yamux_open(y, NULL, &id), ERR_CLOSED);
    yamux_goodbye(y, YAMUX_GOAWAY_NORMAL);
    buf_clear(&in);
    frame(&in, WINDOW, SYN, 2, 0); /* after our goodbye: reset */
    cr_assert_eq(feed(y, buf_span(&in), 5, &told), 0);
    expect_output(y, "000300000000000000000000"
                     "000100010000000100000005"
                     "000100080000000200000000");
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

/* ---- bounds ---- */

Test(yamux, bounds_on_streams)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.keepalive = MONO_NEVER;
    cfg.streams_in = 3;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf in = BUF_INIT, told = BUF_INIT;
    for (uint32_t i = 0; i < 5; i++)
        data_frame(&in, SYN, 1 + 2 * i, "x");
    cr_assert_eq(feed(y, buf_span(&in), 7, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "O1D1<x>O3D3<x>O5D5<x>");
    expect_output(y, "000100020000000100000001"
                     "000100020000000300000001"
                     "000100020000000500000001"
                     "000100080000000700000000"
                     "000100080000000900000000");
    /* resets that the peer does not read */
    buf_clear(&in);
    for (uint32_t i = 0; i <= YAMUX_RESETS_MAX; i++)
        frame(&in, WINDOW, SYN, 101 + 2 * i, 0);
    cr_assert_eq(feed(y, buf_span(&in), 1 << 20, &told), ERR_LIMIT);
    yamux_free(y);

    y = dialer();
    uint32_t id;
    for (unsigned i = 0; i < YAMUX_UNACKED_MAX; i++)
        cr_assert_eq(yamux_open(y, NULL, &id), 0);
    cr_assert_eq(yamux_open(y, NULL, &id), ERR_LIMIT);
    cr_assert_eq(yamux_reset(y, 1), 0);
    cr_assert_eq(yamux_open(y, NULL, &id), 0);
    cr_assert_eq(id, 2 * YAMUX_UNACKED_MAX + 1, "numbers are not used again");
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}

Test(yamux, who_does_not_read_holds_no_place)
{
    struct yamux *y = dialer();
    struct buf out = BUF_INIT;
    uint8_t *data = mem_new(1 << 20);
    uint32_t id;
    for (int i = 0; i < 40; i++) { /* of more streams than fill the queues of all */
        cr_assert_eq(yamux_open(y, NULL, &id), 0);
        for (int k = 0; k < 3; k++) {
            cr_assert_geq(yamux_write(y, id, span_of(data, 1 << 20)), 0);
            (void)yamux_output(y, &out, SIZE_MAX);
        }
    }
    cr_assert_eq(yamux_open(y, NULL, &id), 0);
    cr_assert_eq(yamux_write(y, id, span_of(data, 100000)), 100000, "somebody else reads");
    yamux_free(y);
    free(data);
    buf_done(&out);
}

Test(yamux, queue_and_window)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.keepalive = MONO_NEVER;
    cfg.dialer = true;
    cfg.send_queue = 300 * 1024;
    cfg.send_total = 400 * 1024;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf out = BUF_INIT, told = BUF_INIT, in = BUF_INIT;
    uint8_t *data = mem_new(1 << 20);
    uint32_t a, b;
    cr_assert_eq(yamux_open(y, NULL, &a), 0);
    cr_assert_eq(yamux_open(y, NULL, &b), 0);
    cr_assert_eq(yamux_write(y, a, span_of(data, 1 << 20)), 256 * 1024, "no more than its window lets go");
    cr_assert_eq(yamux_write_room(y, a), 0);
    cr_assert_eq(yamux_write_room(y, b), 144 * 1024);
    cr_assert_eq(yamux_write(y, b, span_of(data, 200 * 1024)), 144 * 1024);
    cr_assert_eq(yamux_write(y, b, span_of(data, 1)), 0);
    cr_assert_eq(yamux_unsent(y, a), 256 * 1024);
    cr_assert_gt(yamux_output(y, &out, 4 << 20), 400 * 1024);
    cr_assert_lt(buf_len(&out), 400 * 1024 + 20 * 12);
    cr_assert_eq(yamux_unsent(y, a), 0);
    cr_assert_eq(yamux_unsent(y, b), 0);
    cr_assert(!yamux_has_output(y));
    cr_assert_eq(pull(y, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "W3");
    frame(&in, WINDOW, ACK, a, 10000);
    buf_clear(&out);
    cr_assert_eq(feed(y, buf_span(&in), 100, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "W3W1", "the window was what it waited for");
    cr_assert_eq(yamux_write(y, a, span_of(data, 44 * 1024)), 10000);
    cr_assert_eq(yamux_output(y, &out, 4 << 20), 10012);
    cr_assert_eq(yamux_write_over(y, a, span_of(data, 44 * 1024 - 10000)), 0);
    /* a FIN waits for the queue, and the queue for the window */
    cr_assert_eq(yamux_close_write(y, a), 0);
    cr_assert_eq(yamux_output(y, &out, 4 << 20), 0);
    buf_clear(&in);
    frame(&in, WINDOW, 0, a, 100000);
    buf_clear(&out);
    cr_assert_eq(feed(y, buf_span(&in), 100, &told), 0);
    cr_assert_eq(yamux_output(y, &out, 4 << 20), 44 * 1024 - 10000 + 12 + 12);
    cr_assert_eq(out.base[out.start + 3], 0, "data");
    cr_assert_eq(out.base[out.end - 12 + 1], WINDOW);
    cr_assert_eq(out.base[out.end - 12 + 3], FIN, "FIN on a frame of its own");
    /* what one of them frees, wakes the other */
    cr_assert_eq(yamux_write_over(y, b, span_of(data, 400 * 1024)), 0);
    uint32_t c;
    cr_assert_eq(yamux_open(y, NULL, &c), 0);
    cr_assert_eq(yamux_write(y, c, span_of(data, 10)), 0);
    buf_clear(&told);
    cr_assert_eq(yamux_reset(y, b), 0);
    cr_assert_eq(pull(y, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "W5");
    yamux_free(y);
    free(data);
    buf_done(&out);
    buf_done(&told);
    buf_done(&in);
}

static void loan_ended(void *arg)
{
    ++*(unsigned *)arg;
}

Test(yamux, what_is_lent_is_given_back_once)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.keepalive = MONO_NEVER;
    cfg.dialer = true;
    cfg.send_queue = 1000;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf out = BUF_INIT;
    static const char bytes[2000] = {'x', 'y', 'z'};
    unsigned ended = 0;
    struct loan three = {span_of(bytes, 3), loan_ended, &ended}, many = {span_of(bytes, 2000), loan_ended, &ended};
    uint32_t a;
    cr_assert_eq(yamux_open(y, NULL, &a), 0);
    cr_assert_eq(yamux_write(y, a, span_str("<")), 1);
    cr_assert_eq(yamux_lend(y, a, &three), 3);
    cr_assert_eq(yamux_write(y, a, span_str(">")), 1);
    (void)yamux_output(y, &out, 1 << 20);
    cr_assert(hex_is(span_from(buf_span(&out), 12), "000000000000000100000005"
                                                    "3c78797a3e"),
              "in its place");
    cr_assert_eq(ended, 1);
    cr_assert_eq(yamux_lend(y, a, &many), 1000, "what the queue takes");
    cr_assert_eq(yamux_lend(y, a, &many), 0);
    cr_assert_eq(yamux_lend(y, a + 2, &many), ERR_NOT_FOUND);
    struct yamux_batch batch;
    cr_assert_gt(yamux_gather(y, &batch, 100), 0);
    cr_assert_eq(ended, 1, "a part of it waits");
    cr_assert_eq(yamux_reset(y, a), 0);
    cr_assert_eq(ended, 2);
    cr_assert_eq(yamux_open(y, NULL, &a), 0);
    cr_assert_eq(yamux_lend(y, a, &three), 3);
    cr_assert_eq(yamux_close_write(y, a), 0);
    cr_assert_eq(yamux_lend(y, a, &three), ERR_CLOSED);
    yamux_free(y);
    cr_assert_eq(ended, 3);
    buf_done(&out);
}

/* Frames of several streams alternate, and none is longer than 64 KiB. */
/* Frames of data by stream in the first `most` of them */
static void count_frames(struct span s, unsigned most, unsigned frames[32])
{
    for (unsigned n = 0; s.len && n < most; n++) {
        uint32_t len = (uint32_t)s.data[9] << 16 | (uint32_t)s.data[10] << 8 | s.data[11];
        if (s.data[1] == DATA)
            frames[s.data[7] % 32]++;
        s = span_from(s, 12 + (s.data[1] == DATA ? len : 0));
    }
}

Test(yamux, groups_take_turns)
{
    static const char bulk, small;
    struct yamux_config cfg = yamux_defaults;
    cfg.dialer = true;
    cfg.keepalive = MONO_NEVER;
    cfg.send_total = 512 * 1024;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf out = BUF_INIT;
    uint8_t *data = mem_new(256 * 1024);
    unsigned frames[32] = {0};
    uint32_t id[6];
    for (int i = 0; i < 6; i++)
        cr_assert_eq(yamux_open(y, NULL, &id[i]), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(yamux_set_group(y, id[i], &bulk), 0);
    cr_assert_eq(yamux_set_group(y, id[4], &small), 0);
    (void)yamux_output(y, &out, 1 << 20);
    buf_clear(&out);
    for (int i = 0; i < 4; i++)
        (void)yamux_write(y, id[i], span_of(data, 128 * 1024));
    cr_assert_eq(yamux_write_room(y, id[0]), 0, "all that there may be is queued");
    cr_assert_eq(yamux_write(y, id[4], span_of(data, 256 * 1024)), YAMUX_DATA_MAX, "others have a turn's worth all the same");
    cr_assert_eq(yamux_write(y, id[5], span_of(data, 256 * 1024)), YAMUX_DATA_MAX);
    cr_assert_eq(yamux_write_room(y, id[5]), 0);
    (void)yamux_output(y, &out, 8 << 20);
    count_frames(buf_span(&out), 3, frames);
    cr_assert_eq(frames[id[0]], 1, "one of the four in the first round");
    cr_assert_eq(frames[id[4]], 1);
    cr_assert_eq(frames[id[5]], 1);
    cr_assert_eq(frames[id[1]], 0);
    /* a member leaves while it waits, another group dissolves */
    cr_assert_gt(yamux_write(y, id[0], span_of(data, 1000)), 0);
    cr_assert_eq(yamux_set_group(y, id[0], NULL), 0);
    cr_assert_eq(yamux_reset(y, id[4]), 0);
    cr_assert_gt(yamux_write(y, id[1], span_of(data, 1000)), 0);
    cr_assert_eq(yamux_reset(y, id[1]), 0);
    buf_clear(&out);
    (void)yamux_output(y, &out, 1 << 20);
    memset(frames, 0, sizeof frames);
    count_frames(buf_span(&out), 100, frames);
    cr_assert_eq(frames[id[0]], 1);
    cr_assert_eq(frames[id[1]], 0);
    cr_assert_eq(yamux_set_group(y, id[4], &bulk), ERR_NOT_FOUND);
    yamux_free(y);
    free(data);
    buf_done(&out);
}

Test(yamux, round_robin)
{
    struct yamux *y = dialer();
    struct buf out = BUF_INIT;
    uint8_t *data = mem_new(200 * 1024);
    uint32_t id;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(yamux_open(y, NULL, &id), 0);
        cr_assert_eq(yamux_write(y, id, span_of(data, 200 * 1024)), 200 * 1024);
    }
    (void)yamux_output(y, &out, 36);
    buf_clear(&out);
    (void)yamux_output(y, &out, 8 << 20);
    struct span s = buf_span(&out);
    for (unsigned n = 0; s.len; n++) {
        uint32_t len = (uint32_t)s.data[9] << 16 | (uint32_t)s.data[10] << 8 | s.data[11];
        cr_assert_eq(s.data[1], DATA);
        cr_assert_leq(len, 64 * 1024);
        if (n < 9)
            cr_assert_eq(s.data[7], 1 + 2 * (n % 3), "frame %u", n);
        s = span_from(s, 12 + len);
    }
    yamux_free(y);
    free(data);
    buf_done(&out);
}

static void send_full_window(struct yamux *y, uint32_t id, size_t bytes, mono_ns now)
{
    struct buf in = BUF_INIT, told = BUF_INIT;
    uint8_t *data = mem_new(bytes);
    frame(&in, DATA, 0, id, (uint32_t)bytes);
    buf_add(&in, data, bytes);
    yamux_input(y, buf_span(&in), now);
    struct yamux_event ev;
    int r;
    while ((r = yamux_next(y, &ev)) > 0)
        if (ev.type == YAMUX_DATA)
            cr_assert_eq(yamux_consume(y, ev.stream, ev.data.len), 0);
    cr_assert_eq(r, 0);
    free(data);
    buf_done(&in);
    buf_done(&told);
}

static uint32_t granted(struct yamux *y)
{
    struct buf out = BUF_INIT;
    uint32_t sum = 0;
    (void)yamux_output(y, &out, 1 << 20);
    for (struct span s = buf_span(&out); s.len; s = span_from(s, 12))
        if (s.data[1] == WINDOW)
            sum += (uint32_t)s.data[8] << 24 | (uint32_t)s.data[9] << 16 | (uint32_t)s.data[10] << 8 | s.data[11];
    buf_done(&out);
    return sum;
}

Test(yamux, windows_grow_with_the_round_trip)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.window_max = 1 << 20;
    cfg.window_total = 1 << 20;
    struct budget *budget = budget_new(BUDGET_MIN);
    cfg.budget = budget;
    struct yamux *y = yamux_new(&cfg, 0);
    struct buf in = BUF_INIT, told = BUF_INIT;
    frame(&in, PING, ACK, 0, 1);
    frame(&in, WINDOW, SYN, 1, 0);
    frame(&in, WINDOW, SYN, 3, 0);
    yamux_input(y, buf_span(&in), 50 * MONO_MS);
    cr_assert_eq(pull(y, &told), 0);
    cr_assert_eq(yamux_rtt(y), 50 * MONO_MS);
    (void)granted(y);
    mono_ns now = 60 * MONO_MS;
    send_full_window(y, 1, 100 * 1024, now); /* less than half: nothing is granted */
    cr_assert_eq(granted(y), 0);
    send_full_window(y, 1, 156 * 1024, now); /* 256 KiB within 10 ms: doubled */
    cr_assert_eq(granted(y), 512 * 1024);
    cr_assert_eq(yamux_grown(y), 256 * 1024);
    cr_assert_eq(budget_class_used(budget, BUDGET_NET), 256 * 1024);
    send_full_window(y, 1, 512 * 1024, now + 300 * MONO_MS); /* slowly: as it is */
    cr_assert_eq(granted(y), 512 * 1024);
    send_full_window(y, 1, 512 * 1024, now + 310 * MONO_MS);
    cr_assert_eq(granted(y), 1024 * 1024);
    send_full_window(y, 1, 1024 * 1024, now + 320 * MONO_MS); /* at its greatest */
    cr_assert_eq(granted(y), 1024 * 1024);
    send_full_window(y, 3, 256 * 1024, now + 330 * MONO_MS); /* slow for that stream */
    cr_assert_eq(granted(y), 256 * 1024);
    send_full_window(y, 3, 256 * 1024, now + 331 * MONO_MS);
    cr_assert_eq(granted(y), 512 * 1024, "the session's allowance has room for this one");
    send_full_window(y, 3, 512 * 1024, now + 332 * MONO_MS);
    cr_assert_eq(granted(y), 512 * 1024, "and not for that");
    cr_assert_eq(yamux_reset(y, 1), 0);
    cr_assert_eq(budget_class_used(budget, BUDGET_NET), 256 * 1024);
    yamux_free(y);
    cr_assert_eq(budget_used(budget), 0);
    budget_free(budget);
    buf_done(&in);
    buf_done(&told);
}

Test(yamux, unconsumed_bytes_hold_the_window)
{
    struct yamux *y = listener();
    struct buf in = BUF_INIT;
    uint8_t *data = mem_new(YAMUX_WINDOW);
    struct yamux_event ev;
    frame(&in, DATA, SYN, 1, YAMUX_WINDOW);
    buf_add(&in, data, YAMUX_WINDOW);
    yamux_input(y, buf_span(&in), 1);
    size_t got = 0;
    while (yamux_next(y, &ev) > 0)
        got += ev.data.len;
    cr_assert_eq(got, YAMUX_WINDOW);
    cr_assert_eq(yamux_unconsumed(y), YAMUX_WINDOW);
    cr_assert_eq(granted(y), 0);
    cr_assert_eq(yamux_consume(y, 1, YAMUX_WINDOW / 2 - 1), 0);
    cr_assert_eq(granted(y), 0);
    cr_assert_eq(yamux_consume(y, 1, 1), 0);
    cr_assert_eq(granted(y), YAMUX_WINDOW / 2);
    buf_clear(&in);
    frame(&in, DATA, 0, 1, YAMUX_WINDOW / 2 + 1);
    yamux_input(y, buf_span(&in), 1);
    cr_assert_eq(yamux_next(y, &ev), ERR_PROTOCOL, "over the window");
    yamux_free(y);
    free(data);
    buf_done(&in);
}

/* ---- two sessions ---- */

struct end {
    struct yamux *y;
    struct rng rng;
    uint64_t sent[64], got[64]; /* per stream number / 2: bytes, which are a sequence to be checked */
    bool fin[64];
    unsigned closed, opened;
};

static void end_events(struct end *e)
{
    struct yamux_event ev;
    int r;
    while ((r = yamux_next(e->y, &ev)) > 0) {
        unsigned k = ev.stream / 2 % 64;
        if (ev.type == YAMUX_DATA) {
            for (size_t i = 0; i < ev.data.len; i++)
                cr_assert_eq(ev.data.data[i], (uint8_t)((e->got[k] + i) * 7 + k));
            e->got[k] += ev.data.len;
            cr_assert_eq(yamux_consume(e->y, ev.stream, ev.data.len), 0);
        } else if (ev.type == YAMUX_FIN) {
            e->fin[k] = true;
            (void)yamux_close_write(e->y, ev.stream);
        } else if (ev.type == YAMUX_CLOSED) {
            e->closed++;
        } else if (ev.type == YAMUX_OPENED) {
            e->opened++;
        }
        cr_assert_neq(ev.type, YAMUX_RESET);
    }
    cr_assert_eq(r, 0);
}

static void end_write(struct end *e, uint32_t id, uint64_t until)
{
    uint8_t part[5000];
    unsigned k = id / 2 % 64;
    size_t len = rng_below(&e->rng, sizeof part) + 1;
    if (len > until - e->sent[k])
        len = until - e->sent[k];
    for (size_t i = 0; i < len; i++)
        part[i] = (uint8_t)((e->sent[k] + i) * 7 + k);
    int n = yamux_write(e->y, id, span_of(part, len));
    cr_assert_geq(n, 0);
    e->sent[k] += (uint64_t)n;
    if (e->sent[k] == until)
        cr_assert_eq(yamux_close_write(e->y, id), 0);
}

static void move_bytes(struct end *from, struct end *to, size_t most, mono_ns now)
{
    struct buf b = BUF_INIT;
    (void)yamux_output(from->y, &b, most);
    uint8_t *mem;
    yamux_input(to->y, exact(buf_span(&b), &mem), now);
    end_events(to);
    free(mem);
    buf_done(&b);
}

Test(yamux, two_sessions_with_many_streams)
{
    enum { STREAMS = 20, BYTES = 700000 };
    struct end a = {.y = dialer()}, b = {.y = listener()};
    rng_init_seed(&a.rng, 11);
    uint32_t ids[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        cr_assert_eq(yamux_open(a.y, NULL, &ids[i]), 0);
    for (unsigned round = 0; round < 200000 && b.closed < STREAMS; round++) {
        for (int i = 0; i < STREAMS; i++)
            if (a.sent[ids[i] / 2] < BYTES)
                end_write(&a, ids[i], BYTES);
        mono_ns now = round * MONO_MS;
        move_bytes(&a, &b, 13 + rng_below(&a.rng, 100000), now);
        move_bytes(&b, &a, 13 + rng_below(&a.rng, 1000), now);
    }
    cr_assert_eq(b.opened, STREAMS);
    cr_assert_eq(b.closed, STREAMS);
    for (int i = 0; i < STREAMS; i++)
        cr_assert_eq(b.got[ids[i] / 2], BYTES);
    move_bytes(&b, &a, 100000, 1);
    end_events(&a);
    cr_assert_eq(a.closed, STREAMS);
    cr_assert_eq(yamux_streams(a.y) + yamux_streams(b.y), 0);
    cr_assert_lt(yamux_memory(a.y), 512 * 1024);
    yamux_free(a.y);
    yamux_free(b.y);
}

Test(yamux, reset_in_any_state)
{
    struct yamux *y = dialer();
    struct buf in = BUF_INIT, told = BUF_INIT;
    uint32_t a, b;
    cr_assert_eq(yamux_open(y, NULL, &a), 0);
    cr_assert_eq(yamux_reset(y, a), 0);
    expect_output(y, ""); /* the peer never heard of it */
    cr_assert_eq(yamux_open(y, (void *)told.base, &b), 0);
    cr_assert_eq(yamux_write(y, b, span_str("abc")), 3);
    (void)yamux_output(y, &told, 100);
    buf_clear(&told);
    cr_assert_eq(yamux_write(y, b, span_str("def")), 3);
    cr_assert_eq(yamux_reset(y, b), 0);
    cr_assert_eq(yamux_reset(y, b), ERR_NOT_FOUND);
    cr_assert_eq(yamux_consume(y, b, 1), ERR_NOT_FOUND);
    cr_assert_eq(yamux_close_write(y, b), ERR_NOT_FOUND);
    expect_output(y, "000100080000000300000000"); /* what was queued is gone */
    /* reset between two pieces of one frame: the rest is skipped */
    cr_assert_eq(yamux_open(y, NULL, &b), 0);
    data_frame(&in, ACK | FIN, b, "0123456789");
    data_frame(&in, SYN, 2, "next");
    struct yamux_event ev;
    yamux_input(y, span_sub(buf_span(&in), 0, 15), 1);
    cr_assert_eq(yamux_next(y, &ev), 1);
    cr_assert_eq(ev.data.len, 3);
    cr_assert_eq(yamux_reset(y, b), 0);
    cr_assert_eq(yamux_next(y, &ev), 0);
    cr_assert_eq(feed(y, span_from(buf_span(&in), 15), 4, &told), 0);
    cr_assert_str_eq(buf_cstr(&told), "O2D2<next>");
    yamux_free(y);
    buf_done(&in);
    buf_done(&told);
}
