/* SPDX-License-Identifier: MIT */
#include "net/negotiate/multistream.h"

#include "store/base/uvarint.h"

#include <assert.h>

static const char header[] = "/multistream/1.0.0";
static const char refusal[] = "na";

static void put_message(struct multistream *m, const void *text, size_t len)
{
    assert(len < MULTISTREAM_TOKEN_MAX);
    buf_add_uvarint(&m->out, len + 1);
    buf_add(&m->out, text, len);
    buf_add_u8(&m->out, '\n');
}

static void put_text(struct multistream *m, const char *text)
{
    put_message(m, text, strlen(text));
}

static void start(struct multistream *m, bool dialer, struct multistream_table table)
{
    *m = (struct multistream){.state = MULTISTREAM_HEADER, .dialer = dialer, .table = table, .in = BUF_INIT, .out = BUF_INIT};
    put_text(m, header);
}

void multistream_init_dialer(struct multistream *m, struct multistream_table proposals)
{
    assert(proposals.count > 0);
    start(m, true, proposals);
    put_text(m, proposals.ids[0]);
}

void multistream_init_listener(struct multistream *m, struct multistream_table spoken)
{
    start(m, false, spoken);
}

void multistream_done(struct multistream *m)
{
    buf_done(&m->in);
    buf_done(&m->out);
}

size_t multistream_output(struct multistream *m, struct buf *out)
{
    size_t n = buf_len(&m->out);
    buf_add_span(out, buf_span(&m->out));
    buf_done(&m->out);
    return n;
}

/* Every legal edge is in the header's drawing. */
static void enter(struct multistream *m, enum multistream_state to)
{
    assert(m->state == MULTISTREAM_HEADER || m->state == MULTISTREAM_PROPOSE);
    assert(to > m->state && !(m->state == MULTISTREAM_HEADER && to == MULTISTREAM_AGREED));
    m->state = to;
}

static int fail(struct multistream *m, int err)
{
    enter(m, MULTISTREAM_FAILED);
    return err;
}

int multistream_find(struct multistream_table t, struct span id)
{
    for (unsigned i = 0; i < t.count; i++) {
        struct span entry = span_str(t.ids[i]);
        bool prefix = entry.len && entry.data[entry.len - 1] == '*';
        if (prefix)
            entry.len--;
        if (span_eq(entry, prefix ? span_sub(id, 0, entry.len) : id))
            return (int)i;
    }
    return ERR_NOT_FOUND;
}

/* ---- what a message means ---- */

static int on_header(struct multistream *m, struct span text)
{
    if (!span_eq_str(text, header))
        return fail(m, ERR_PROTOCOL);
    enter(m, MULTISTREAM_PROPOSE);
    return 0;
}

static int on_answer(struct multistream *m, struct span text)
{
    if (span_eq_str(text, m->table.ids[m->at])) {
        enter(m, MULTISTREAM_AGREED);
        return 1;
    }
    if (!span_eq_str(text, refusal))
        return fail(m, ERR_PROTOCOL);
    if (++m->at == m->table.count)
        return fail(m, ERR_UNSUPPORTED);
    put_text(m, m->table.ids[m->at]);
    return 0;
}

static int on_proposal(struct multistream *m, struct span text)
{
    int at = multistream_find(m->table, text); /* never finds `ls`: ids begin with '/' */
    if (at < 0) {
        if (++m->refused > MULTISTREAM_PROPOSALS_MAX)
            return fail(m, ERR_LIMIT);
        put_text(m, refusal);
        return 0;
    }
    m->at = (unsigned)at;
    put_message(m, text.data, text.len);
    enter(m, MULTISTREAM_AGREED);
    return 1;
}

static int on_message(struct multistream *m, struct span text)
{
    if (m->state == MULTISTREAM_HEADER)
        return on_header(m, text);
    return m->dialer ? on_answer(m, text) : on_proposal(m, text);
}

/* ---- framing ---- */

/* The whole message at the front of `s`: its text without newline, and its length with everything. 1, 0: incomplete, or
 * an error. */
static int message_read(struct span s, struct span *ret_text, size_t *ret_len)
{
    uint64_t len;
    enum { LENGTH_MAX = 2 }; /* bytes of any length that we take */
    static_assert(MULTISTREAM_TOKEN_MAX < 1 << (7 * LENGTH_MAX), "a length of two bytes");
    int n = uvarint_read(span_sub(s, 0, LENGTH_MAX), &len);
    if (n == ERR_TRUNCATED)
        return s.len >= LENGTH_MAX ? ERR_LIMIT : 0;
    if (n < 0)
        return ERR_PROTOCOL;
    if (len > MULTISTREAM_TOKEN_MAX)
        return ERR_LIMIT;
    if (len == 0)
        return ERR_PROTOCOL;
    if (len > s.len - (size_t)n)
        return 0;
    *ret_text = span_sub(s, (size_t)n, len - 1);
    *ret_len = (size_t)n + len;
    return s.data[*ret_len - 1] == '\n' ? 1 : ERR_PROTOCOL;
}

/* Keeps the id that was agreed on, where the split message was. */
static void keep_id(struct multistream *m, struct span text)
{
    struct buf id = BUF_INIT;
    buf_add_span(&id, text);
    buf_done(&m->in);
    m->in = id;
}

int multistream_input(struct multistream *m, struct span *in)
{
    assert(m->state == MULTISTREAM_HEADER || m->state == MULTISTREAM_PROPOSE);
    for (;;) {
        /* A split message is completed byte by byte, so that nothing behind it is taken. They are short and rare. */
        bool split = buf_len(&m->in) > 0;
        if (split && in->len) {
            buf_add_u8(&m->in, in->data[0]);
            *in = span_from(*in, 1);
        }
        struct span text;
        size_t len;
        int r = message_read(split ? buf_span(&m->in) : *in, &text, &len);
        if (r < 0)
            return fail(m, r);
        if (r == 0 && in->len == 0)
            return 0;
        if (r == 0 && !split) {
            buf_add_span(&m->in, *in);
            *in = span_from(*in, in->len);
            return 0;
        }
        if (r == 0)
            continue;
        r = on_message(m, text);
        if (r == 1)
            keep_id(m, text);
        else if (split)
            buf_done(&m->in);
        if (!split)
            *in = span_from(*in, len);
        if (r != 0)
            return r;
    }
}

unsigned multistream_index(const struct multistream *m)
{
    assert(m->state == MULTISTREAM_AGREED);
    return m->at;
}

struct span multistream_id(const struct multistream *m)
{
    assert(m->state == MULTISTREAM_AGREED);
    return buf_span(&m->in);
}
