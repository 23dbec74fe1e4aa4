/* SPDX-License-Identifier: MIT
 *
 * Bitswap (PROTOCOLS.md section 19): wrong messages, floods of wants, blocks that nobody asked for, readers that do not
 * read. */
#include "net/exchange/bitswap_codec.h"
#include "store/base/uvarint.h"
#include "store/block/block.h"
#include "store/codec/links.h"
#include "tests/hostile/hostile.h"

#include <stdlib.h>

#define CODEC_OF_BYTES 0x55 /* raw */
#define BATCH          1000 /* entries a message */

/* ---- one message, and what comes of it ---- */

static const struct session_plan honest = {0};

static void message(struct hostile *h, const void *bytes, size_t len, bool fin)
{
    struct session *s = session_new(h, &honest);
    if (!s) {
        hostile_note(h, GOT_REFUSED);
        return;
    }
    for (unsigned i = 0; i < 50 && !conn_is_ready(s->conn) && !s->over; i++)
        session_turn(&s, 1, 20 * MONO_MS);
    uint32_t stream = conn_is_ready(s->conn) ? session_open(s, EXCHANGE_PROTOCOL) : 0;
    if (stream) {
        (void)conn_write(s->conn, stream, span_of(bytes, len)); /* all of it fits the queue */
        if (fin)
            (void)conn_close_write(s->conn, stream);
        session_run(s, 300 * MONO_MS);
    }
    session_verdict(s);
}
#define MESSAGE(h, text) message(h, text, sizeof text - 1, false)

static void huge(struct hostile *h)
{
    MESSAGE(h, "\xff\xff\xff\xff\xff\x7f\x0a\x02\x0a\x00");
}

static void cut(struct hostile *h)
{
    message(h, "\xe8\x07\x0a\x90\x03\x0a\x24\x0a\x22", 9, true);
}

static void nested(struct hostile *h)
{
    MESSAGE(h, "\x06\x0a\x7f\x0a\x7f\x0a\x7f"); /* a list longer than its message */
}

static void endless_number(struct hostile *h)
{
    MESSAGE(h, "\x20\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
}

static void garbage(struct hostile *h)
{
    uint8_t bytes[3000];
    rng_fill(&h->rng, bytes, sizeof bytes);
    message(h, bytes, sizeof bytes, false);
}

static void huge_block(struct hostile *h)
{
    MESSAGE(h, "\x90\x80\xc0\x01\x1a\x8b\x80\xc0\x01\x0a\x04\x01\x55\x12\x20\x12\x80\x80\xc0\x01"); /* 3 MiB */
}

/* Blocks whose prefix lies about them or is none, and blocks as version 1.0 had them */
static void odd_prefixes(struct hostile *h)
{
    static const struct {
        const char *bytes;
        size_t len;
    } prefixes[] = {{"", 0},
                    {"\1", 1},
                    {"\1\x55\0\5", 4},          /* identity */
                    {"\1\x55\x12\x21", 4},      /* sha2-256 of 33 bytes */
                    {"\1\x55\x12\0", 4},        /* of none */
                    {"\1\x55\x99\x01\x20", 5},  /* a hash that is none */
                    {"\0\x55\x12\x20", 4},      /* version 0 that is not dag-pb */
                    {"\7\x55\x12\x20", 4},      /* version 7 */
                    {"\1\xff\xff\xff\xff", 5}}; /* a codec that does not end */
    static const uint8_t data[1000] = {1, 2, 3};
    struct buf m = BUF_INIT, out = BUF_INIT;
    for (unsigned i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        buf_add_u8(&m, 0x1a); /* payload = 3 */
        buf_add_uvarint(&m, 2 + prefixes[i].len + 3 + sizeof data);
        buf_add_u8(&m, 0x0a);
        buf_add_uvarint(&m, prefixes[i].len);
        buf_add(&m, prefixes[i].bytes, prefixes[i].len);
        buf_add_u8(&m, 0x12);
        buf_add_uvarint(&m, sizeof data);
        buf_add(&m, data, sizeof data);
    }
    buf_add_u8(&m, 0x12); /* blocks = 2 */
    buf_add_uvarint(&m, sizeof data);
    buf_add(&m, data, sizeof data);
    bitswap_add_message(&out, buf_span(&m));
    message(h, out.base + out.start, buf_len(&out), false);
    buf_done(&m);
    buf_done(&out);
}

static void odd_cids(struct hostile *h)
{
    struct buf list = BUF_INIT, m = BUF_INIT, out = BUF_INIT;
    static const size_t lengths[] = {0, 1, 33, 35, 141, 400};
    uint8_t junk[400];
    for (unsigned i = 0; i < 300; i++) {
        size_t len = lengths[i % 6];
        struct buf entry = BUF_INIT;
        rng_fill(&h->rng, junk, sizeof junk);
        memcpy(junk, i % 2 ? "\x01\x55\x00\x7f" : "\x01\x70\x12\x21", 4); /* identity; sha2-256 of 33 bytes */
        buf_add_u8(&entry, 0x0a);
        buf_add_uvarint(&entry, len);
        buf_add(&entry, junk, len);
        buf_add_u8(&list, 0x0a);
        buf_add_uvarint(&list, buf_len(&entry));
        buf_add_span(&list, buf_span(&entry));
        buf_done(&entry);
    }
    bitswap_add_wantlist(&m, buf_span(&list), false);
    bitswap_add_message(&out, buf_span(&m));
    message(h, out.base + out.start, buf_len(&out), false);
    buf_done(&list);
    buf_done(&m);
    buf_done(&out);
}

/* ---- floods: messages one after the other, as fast as they are taken ---- */

struct flood {
    struct session *s;
    uint32_t stream;
    uint64_t done;
    void (*fill)(struct hostile *h, struct buf *out); /* appends messages of BATCH units or so */
    struct buf out;
};

static void flood_run(struct hostile *h, struct flood *f, uint64_t work)
{
    mono_ns moved = mono_now();
    for (; !f->s->over && !hostile_over(h) && f->done < work;) {
        if (!f->stream && conn_is_ready(f->s->conn))
            f->stream = session_open(f->s, EXCHANGE_PROTOCOL);
        if (f->stream && buf_len(&f->out) == 0) {
            f->fill(h, &f->out);
            f->done += BATCH;
            h->tally.units += BATCH;
        }
        int n = f->stream ? conn_write(f->s->conn, f->stream, buf_span(&f->out)) : 0;
        if (n > 0) {
            buf_consume(&f->out, (size_t)n);
            moved = mono_now();
        }
        if (n < 0 || mono_now() - moved > LINK_STALL)
            break;
        session_turn(&f->s, 1, buf_len(&f->out) ? 5 * MONO_MS : 0);
    }
}

static void flood(struct hostile *h, const struct session_plan *plan, void (*fill)(struct hostile *h, struct buf *out),
                  uint64_t work)
{
    struct flood f = {.s = session_new(h, plan), .fill = fill};
    if (!f.s) {
        hostile_note(h, GOT_REFUSED);
        return;
    }
    flood_run(h, &f, hostile_work(h, work));
    session_run(f.s, 300 * MONO_MS);
    session_verdict(f.s);
    buf_done(&f.out);
}

static void random_cid(struct hostile *h, struct cid *ret)
{
    uint8_t digest[32];
    rng_fill(&h->rng, digest, sizeof digest);
    cid_sha256(ret, CODEC_OF_BYTES, digest);
}

static void finish_list(struct buf *list, bool full, struct buf *out)
{
    struct buf m = BUF_INIT;
    bitswap_add_wantlist(&m, buf_span(list), full);
    bitswap_add_message(out, buf_span(&m));
    buf_done(list);
    buf_done(&m);
}

static void fill_wants(struct hostile *h, struct buf *out, bool cancel, bool full)
{
    struct buf list = BUF_INIT;
    for (unsigned i = 0; i < BATCH; i++) {
        struct cid cid;
        random_cid(h, &cid);
        struct bitswap_entry e = {.cid = &cid,
                                  .priority = (int32_t)(rng_u64(&h->rng) & INT32_MAX), /* the worst for a sorted list */
                                  .want = i % 2 ? BITSWAP_WANT_HAVE : BITSWAP_WANT_BLOCK,
                                  .send_dont_have = i % 3 != 0};
        bitswap_add_entry(&list, &e);
        e.cancel = true;
        if (cancel)
            bitswap_add_entry(&list, &e);
    }
    finish_list(&list, full, out);
}

static void fill_plain(struct hostile *h, struct buf *out)
{
    fill_wants(h, out, false, false);
}

static void fill_cancelled(struct hostile *h, struct buf *out)
{
    fill_wants(h, out, true, false);
}

static void fill_full(struct hostile *h, struct buf *out)
{
    fill_wants(h, out, false, true);
}

static void fill_haves(struct hostile *h, struct buf *out)
{
    struct buf m = BUF_INIT;
    for (unsigned i = 0; i < BATCH; i++) {
        struct cid cid;
        random_cid(h, &cid);
        bitswap_add_presence(&m, &cid, i % 2);
    }
    bitswap_add_message(out, buf_span(&m));
    buf_done(&m);
}

static void fill_blocks(struct hostile *h, struct buf *out)
{
    struct buf m = BUF_INIT;
    uint8_t *data = mem_new(256 << 10);
    struct cid cid;
    rng_fill(&h->rng, data, 64);
    cid_of(&cid, CODEC_OF_BYTES, span_of(data, 256 << 10));
    for (unsigned i = 0; i < 4; i++) {
        bitswap_add_block_head(&m, &cid, 256 << 10);
        buf_add(&m, data, 256 << 10);
    }
    bitswap_add_message(out, span_sub(buf_span(&m), 0, buf_len(&m)));
    free(data);
    buf_done(&m);
}

static void fill_empty(struct hostile *h, struct buf *out)
{
    (void)h;
    for (unsigned i = 0; i < BATCH; i++)
        buf_add(out, "\2\x0a\0", 3); /* a message with an empty list */
}

static const struct session_plan hoarder = {.hoard = true};

static void want_flood(struct hostile *h)
{
    flood(h, &honest, fill_plain, 1000000);
}

static void want_flood_deaf(struct hostile *h)
{
    flood(h, &hoarder, fill_plain, 1000000);
}

static void cancel_flood(struct hostile *h)
{
    flood(h, &honest, fill_cancelled, 1000000);
}

static void full_flood(struct hostile *h)
{
    flood(h, &honest, fill_full, 1000000);
}

static void have_flood(struct hostile *h)
{
    flood(h, &honest, fill_haves, 1000000);
}

static void unasked(struct hostile *h)
{
    flood(h, &honest, fill_blocks, 200 * BATCH); /* of 1 MiB each */
}

static void empty_messages(struct hostile *h)
{
    flood(h, &honest, fill_empty, 2000000);
}

/* ---- as many streams as there may be, each as full as its window ---- */

#define WIDE_PEERS   24
#define WIDE_STREAMS EXCHANGE_STREAMS_MAX

struct wide {
    struct session *all[WIDE_PEERS];
    uint32_t streams[WIDE_PEERS][WIDE_STREAMS];
    size_t told[WIDE_PEERS][WIDE_STREAMS];
};

static void wide_open(struct wide *w, unsigned i)
{
    for (unsigned k = 0; k < WIDE_STREAMS && conn_is_ready(w->all[i]->conn) && !w->streams[i][k]; k++)
        w->streams[i][k] = session_open(w->all[i], EXCHANGE_PROTOCOL);
}

/* The same message again and again */
static size_t wide_write(struct wide *w, unsigned i, struct span message)
{
    size_t sum = 0;
    for (unsigned k = 0; k < WIDE_STREAMS && w->streams[i][k]; k++) {
        struct span rest = span_from(message, w->told[i][k] % message.len);
        int n = conn_write(w->all[i]->conn, w->streams[i][k], rest);
        sum += n > 0 ? (size_t)n : 0;
        w->told[i][k] += n > 0 ? (size_t)n : 0;
    }
    return sum;
}

static void want_flood_wide(struct hostile *h)
{
    struct wide *w = MEM_NEW(struct wide);
    struct buf message = BUF_INIT;
    fill_plain(h, &message);
    unsigned count = 0;
    while (count < WIDE_PEERS && (w->all[count] = session_new(h, &honest)))
        count++;
    while (count && !hostile_over(h)) {
        for (unsigned i = 0; i < count; i++) {
            wide_open(w, i);
            h->tally.units += wide_write(w, i, buf_span(&message)) / 46;
        }
        session_turn(w->all, count, 5 * MONO_MS);
    }
    if (!count)
        hostile_note(h, GOT_REFUSED);
    else
        session_verdict(w->all[0]);
    while (count > 1)
        session_free(w->all[--count]);
    buf_done(&message);
    free(w);
}

/* ---- readers that do not read ---- */

#define READERS    12
#define LEAVES_MAX 4096

struct reader {
    struct bitswap_reader in;
    uint32_t out;
    bool asked;
    struct cid *leaves;
    unsigned count;
};

static void ask_for(struct session *s, uint32_t stream, const struct cid *cids, unsigned count)
{
    struct buf list = BUF_INIT, out = BUF_INIT;
    for (unsigned i = 0; i < count; i++) {
        struct bitswap_entry e = {.cid = &cids[i], .priority = 1, .want = BITSWAP_WANT_BLOCK};
        bitswap_add_entry(&list, &e);
    }
    finish_list(&list, false, &out);
    (void)conn_write(s->conn, stream, buf_span(&out)); /* fits the queue */
    buf_done(&out);
}

static void reader_ready(struct session *s)
{
    struct reader *r = s->arg;
    r->out = session_open(s, EXCHANGE_PROTOCOL);
    if (r->out)
        ask_for(s, r->out, &s->h->target.root, 1);
}

static int add_leaf(void *arg, const struct cid *child)
{
    struct reader *r = arg;
    if (r->count < LEAVES_MAX)
        r->leaves[r->count++] = *child;
    return 0;
}

/* The root comes: all its children are wanted, and nothing is read any more */
static void reader_event(struct session *s, const struct conn_event *ev)
{
    struct reader *r = s->arg;
    struct bitswap_item it;
    struct span in = ev->data;
    if (ev->type != CONN_DATA || r->asked)
        return;
    while (bitswap_read(&r->in, &in, &it) > 0) {
        if (it.type == BITSWAP_BEGIN)
            bitswap_accept(&r->in, block_new(NULL, BUDGET_NET, it.size));
        if (it.type != BITSWAP_BLOCK || !it.block)
            continue;
        (void)links_of(&s->h->target.root, block_span(it.block), add_leaf, r); /* none: nothing is asked for */
        (void)block_unref(it.block);
        r->asked = true;
        ask_for(s, r->out, r->leaves, r->count);
        s->h->tally.units += r->count;
        return;
    }
}

static void slow_readers(struct hostile *h)
{
    static const struct session_plan plan = {.ready = reader_ready, .event = reader_event, .hoard = true};
    struct session *all[READERS];
    struct reader readers[READERS] = {0};
    unsigned count = 0;
    for (unsigned i = 0; i < READERS; i++) {
        all[count] = session_new(h, &plan);
        if (!all[count])
            continue;
        bitswap_reader_init(&readers[count].in);
        readers[count].leaves = mem_array(LEAVES_MAX, sizeof(struct cid));
        all[count]->arg = &readers[count];
        count++;
    }
    h->tally.open_most = count;
    while (!hostile_over(h))
        session_turn(all, count, 20 * MONO_MS);
    for (unsigned i = 0; i < count; i++) {
        session_verdict(all[i]);
        bitswap_reader_done(&readers[i].in);
        free(readers[i].leaves);
    }
}

/* Empty datagrams for a service that anybody may use: two bytes each, and a call of the system for us */
static void datagram_flood(struct hostile *h)
{
    struct session *s = session_new(h, &honest);
    if (!s) {
        hostile_note(h, GOT_REFUSED);
        return;
    }
    for (unsigned i = 0; i < 50 && !conn_is_ready(s->conn) && !s->over; i++)
        session_turn(&s, 1, 20 * MONO_MS);
    uint32_t stream = conn_is_ready(s->conn) ? session_open(s, "/x/udp/echo") : 0;
    static const uint8_t zeros[256 << 10];
    while (stream && !s->over && !hostile_over(h)) {
        int n = conn_write(s->conn, stream, span_of(zeros, sizeof zeros));
        if (n < 0)
            break;
        h->tally.units += (unsigned)n / 2;
        session_turn(&s, 1, MONO_MS);
    }
    session_verdict(s);
}

static const struct attack blocks_table[] = {
    {"bitswap-huge", "bitswap", GETS(GOT_RESET) | GETS_CLOSED, huge, "a message of 4 TiB is announced"},
    {"datagram-flood", "datagram-flood", 0, datagram_flood, "empty datagrams"},
    {"bitswap-cut", "bitswap", 0, cut, "half a message, then FIN"},
    {"bitswap-nested", "bitswap", GETS(GOT_RESET) | GETS_CLOSED, nested, "a list longer than its message"},
    {"bitswap-number", "bitswap", GETS(GOT_RESET) | GETS_CLOSED, endless_number, "a number that does not end"},
    {"bitswap-garbage", "bitswap", 0, garbage, "random bytes"},
    {"bitswap-huge-block", "bitswap", GETS(GOT_RESET) | GETS_CLOSED, huge_block, "a block of 3 MiB is announced"},
    {"bitswap-odd-cids", "bitswap", 0, odd_cids, "wants of CIDs that are none"},
    {"bitswap-odd-prefixes", "bitswap", 0, odd_prefixes, "blocks whose prefix lies, and blocks of version 1.0"},
    {"want-flood", "want-flood", 0, want_flood, "10^6 wants"},
    {"want-flood-wide", "want-flood-wide", 0, want_flood_wide, "24 peers, each with 32 streams full of wants"},
    {"want-flood-deaf", "want-flood-deaf", 0, want_flood_deaf, "10^6 wants, the answers not read"},
    {"cancel-flood", "cancel-flood", 0, cancel_flood, "10^6 wants, each cancelled at once"},
    {"full-flood", "full-flood", 0, full_flood, "1,000 want-lists of 1,000, each replacing the one before"},
    {"have-flood", "have-flood", 0, have_flood, "10^6 HAVEs and DONT_HAVEs that nobody asked for"},
    {"unasked-blocks", "unasked-blocks", 0, unasked, "200 MiB of blocks that nobody asked for"},
    {"empty-messages", "empty-messages", 0, empty_messages, "2 million messages of nothing"},
    {"slow-readers", "slow-readers", 0, slow_readers, "12 peers want a whole DAG and read nothing"},
};
const struct attack_table attacks_blocks = {blocks_table, sizeof blocks_table / sizeof *blocks_table};
