/* SPDX-License-Identifier: MIT */
#include "net/negotiate/multistream.h"

#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

#define HEADER "\x13/multistream/1.0.0\n"
static const char *const spoken_ids[] = {"/noise", "/ipfs/ping/1.0.0", "/x/*"};
static const struct multistream_table spoken = {spoken_ids, 3};

/* Feeds text in pieces; the answer is appended to `out`. Returns what the machine said last; *ret_left: what it left. */
static int feed(struct multistream *m, struct span text, size_t step, struct buf *out, size_t *ret_left)
{
    int r = 0;
    for (size_t at = 0; at < text.len && r == 0; at += step) {
        uint8_t *mem;
        struct span in = exact(span_sub(text, at, step), &mem);
        r = multistream_input(m, &in);
        (void)multistream_output(m, out);
        *ret_left = in.len + (text.len - at > step ? text.len - at - step : 0);
        cr_assert(r != 0 || in.len == 0);
        free(mem);
    }
    return r;
}

Test(multistream, listener_in_any_pieces)
{
    static const struct {
        const char *in;
        size_t len;
        int r;
        unsigned index;
        const char *id, *out;
        size_t left;
    } cases[] = {
        {HEADER "\007/noise\n", 28, 1, 0, "/noise", HEADER "\007/noise\n", 0},
        {HEADER "\007/noise\n\000\040abc", 33, 1, 0, "/noise", HEADER "\007/noise\n", 5}, /* what follows is left alone */
        {HEADER "\012/tls/1.0.0\n\007/noise\n", 40, ERR_PROTOCOL, 0, NULL, NULL, 0},      /* a length that lies */
        {HEADER "\013/tls/1.0.0\n\007/noise\n", 40, 1, 0, "/noise", HEADER "\003na\n\007/noise\n", 0},
        {HEADER "\003ls\n\021/ipfs/ping/1.0.0\n", 42, 1, 1, "/ipfs/ping/1.0.0", HEADER "\003na\n\021/ipfs/ping/1.0.0\n", 0},
        {HEADER "\007/x/ssh\n", 28, 1, 2, "/x/ssh", HEADER "\007/x/ssh\n", 0},
        {HEADER "\003/x\n", 24, 0, 0, NULL, HEADER "\003na\n", 0},
        {"\023/multistream/1.0.1\n", 20, ERR_PROTOCOL, 0, NULL, HEADER, 0},
        {HEADER "\000", 21, ERR_PROTOCOL, 0, NULL, HEADER, 0},
        {HEADER "\201\010", 22, ERR_LIMIT, 0, NULL, HEADER, 0}, /* 1025 */
        {HEADER "\200\200", 22, ERR_LIMIT, 0, NULL, HEADER, 0},
        {HEADER "\003na\n", 24, 0, 0, NULL, HEADER "\003na\n", 0},
        {"", 0, 0, 0, NULL, HEADER, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= cases[i].len + 1; step++) {
            struct multistream m;
            struct buf out = BUF_INIT;
            size_t left = 0;
            multistream_init_listener(&m, spoken);
            cr_assert_eq(multistream_output(&m, &out), 20, "the header waits for nobody");
            int r = feed(&m, span_of(cases[i].in, cases[i].len), step, &out, &left);
            cr_assert_eq(r, cases[i].r, "case %zu in pieces of %zu: %d", i, step, r);
            if (cases[i].out)
                cr_assert(span_eq_str(buf_span(&out), cases[i].out), "case %zu", i);
            if (r == 1) {
                cr_assert_eq(multistream_index(&m), cases[i].index);
                cr_assert(span_eq_str(multistream_id(&m), cases[i].id));
                cr_assert_eq(left, cases[i].left, "case %zu in pieces of %zu: %zu", i, step, left);
            }
            multistream_done(&m);
            buf_done(&out);
        }
}

Test(multistream, dialer_in_any_pieces)
{
    static const char *const ids[] = {"/a/2", "/a/1"};
    static const struct {
        const char *in;
        int r;
        unsigned index;
        const char *out;
        size_t left;
    } cases[] = {
        {HEADER "\005/a/2\nhello", 1, 0, HEADER "\005/a/2\n", 5},
        {HEADER "\003na\n\005/a/1\nhello", 1, 1, HEADER "\005/a/2\n\005/a/1\n", 5},
        {HEADER "\003na\n\003na\n", ERR_UNSUPPORTED, 0, HEADER "\005/a/2\n\005/a/1\n", 0},
        {HEADER "\005/a/1\n", ERR_PROTOCOL, 0, HEADER "\005/a/2\n", 0}, /* not what we asked for */
        {"\005/a/2\n", ERR_PROTOCOL, 0, HEADER "\005/a/2\n", 0},
        {HEADER, 0, 0, HEADER "\005/a/2\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= strlen(cases[i].in) + 1; step++) {
            struct multistream m;
            struct buf out = BUF_INIT;
            size_t left = 0;
            multistream_init_dialer(&m, (struct multistream_table){ids, 2});
            (void)multistream_output(&m, &out);
            int r = feed(&m, span_str(cases[i].in), step, &out, &left);
            cr_assert_eq(r, cases[i].r, "case %zu in pieces of %zu: %d", i, step, r);
            cr_assert(span_eq_str(buf_span(&out), cases[i].out), "case %zu in pieces of %zu", i, step);
            if (r == 1) {
                cr_assert_eq(multistream_index(&m), cases[i].index);
                cr_assert(span_eq_str(multistream_id(&m), ids[cases[i].index]));
                cr_assert_eq(left, cases[i].left);
            }
            multistream_done(&m);
            buf_done(&out);
        }
}

Test(multistream, two_machines)
{
    static const char *const ids[] = {"/tls/1.0.0", "/quic", "/ipfs/ping/1.0.0"};
    struct multistream d, l;
    multistream_init_dialer(&d, (struct multistream_table){ids, 3});
    multistream_init_listener(&l, spoken);
    int rd = 0, rl = 0;
    for (int round = 0; round < 8 && !(rd && rl); round++) {
        struct buf a = BUF_INIT, b = BUF_INIT;
        (void)multistream_output(&d, &a);
        (void)multistream_output(&l, &b);
        struct span in = buf_span(&a);
        if (!rl)
            rl = multistream_input(&l, &in);
        in = buf_span(&b);
        if (!rd)
            rd = multistream_input(&d, &in);
        buf_done(&a);
        buf_done(&b);
    }
    cr_assert_eq(rd, 1);
    cr_assert_eq(rl, 1);
    cr_assert_eq(multistream_index(&d), 2);
    cr_assert_eq(multistream_index(&l), 1);
    multistream_done(&d);
    multistream_done(&l);
}

Test(multistream, bounds)
{
    struct multistream m;
    struct buf in = BUF_INIT, out = BUF_INIT;
    size_t left;
    multistream_init_listener(&m, spoken);
    buf_add_str(&in, HEADER);
    for (int i = 0; i <= MULTISTREAM_PROPOSALS_MAX; i++)
        buf_add_str(&in, "\003/q\n");
    cr_assert_eq(feed(&m, buf_span(&in), 1 << 16, &out, &left), ERR_LIMIT);
    cr_assert_leq(buf_len(&out), 20 + 4 * MULTISTREAM_PROPOSALS_MAX);
    multistream_done(&m);
    /* the longest token */
    buf_clear(&in);
    buf_add_str(&in, HEADER "\200\010/x/");
    for (int i = 0; i < MULTISTREAM_TOKEN_MAX - 4; i++)
        buf_add_u8(&in, 'a');
    buf_add_u8(&in, '\n');
    for (size_t step = 1; step < 3000; step += 511) {
        multistream_init_listener(&m, spoken);
        cr_assert_eq(feed(&m, buf_span(&in), step, &out, &left), 1);
        cr_assert_eq(multistream_id(&m).len, MULTISTREAM_TOKEN_MAX - 1);
        multistream_done(&m);
    }
    buf_done(&in);
    buf_done(&out);
}
