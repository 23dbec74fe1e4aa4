/* LINK: net_exchange store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * A whole exchange with two hostile peers and wants of its own. The input is a program: one byte says what happens, the
 * following ones are its bytes. Afterwards every want must have come back once and all memory must have been given back. */
#include "net/exchange/bitswap_codec.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WANTS 16
#define JOBS  64

struct run {
    struct exchange *x;
    struct budget *budget;
    mono_ns now;
    struct exchange_peer *peers[2];
    struct exchange_stream *streams[2][3];
    struct want wants[WANTS];
    bool wanted[WANTS];
    unsigned settled, posted;
    struct exchange_action jobs[JOBS]; /* of workers and committer, answered when the input says so */
    unsigned job_count;
    struct block *held[4];
};

/* A few blocks that both the input and we know: two leaves, their parent, one that nobody has. */
static const char *const contents[4] = {"a", "bb", NULL, "never"};

static void known(unsigned i, struct cid *ret, struct span *ret_data)
{
    static uint8_t node[128];
    static size_t node_len;
    if (!node_len) {
        for (unsigned k = 0; k < 2; k++) { /* links: 12 26 { 0a 24 cid } */
            struct cid c;
            cid_of(&c, CODEC_RAW, span_str(contents[k]));
            const uint8_t head[4] = {0x12, (uint8_t)(c.len + 2), 0x0a, c.len};
            memcpy(node + node_len, head, 4);
            memcpy(node + node_len + 4, c.bytes, c.len);
            node_len += 4 + (size_t)c.len;
        }
    }
    *ret_data = contents[i % 4] ? span_str(contents[i % 4]) : span_of(node, node_len);
    cid_of(ret, contents[i % 4] ? CODEC_RAW : CODEC_DAG_PB, *ret_data);
}

static void close_streams(struct run *r, unsigned p)
{
    for (unsigned i = 0; i < 3; i++) {
        if (r->streams[p][i])
            exchange_stream_closed(r->x, r->streams[p][i], r->now);
        r->streams[p][i] = NULL;
    }
}

static void remove_peer(struct run *r, unsigned p)
{
    if (!r->peers[p])
        return;
    close_streams(r, p);
    exchange_peer_removed(r->x, r->peers[p], r->now);
    r->peers[p] = NULL;
}

static void job_done(struct run *r, struct exchange_action *a)
{
    if (a->type == EXCHANGE_VERIFY) {
        int err = exchange_verify_block(a->block, &a->prefix);
        exchange_verified(r->x, a->tag, a->block, err, r->now);
    } else if (a->type == EXCHANGE_STORE) {
        (void)block_unref(a->block);
        exchange_stored(r->x, &a->cid, a->cid.bytes[a->cid.len - 1] % 16 ? 0 : ERR_NO_SPACE, r->now);
    } else {
        struct block *b = NULL;
        for (unsigned i = 0; i < 4; i++)
            if (r->held[i] && cid_same_block(&r->held[i]->cid, &a->cid))
                b = r->held[i];
        exchange_loaded(r->x, a->tag, b ? 0 : ERR_MISSING, b ? b->len : 0, b && b->len <= a->most ? block_ref(b) : NULL,
                        r->now);
    }
}

static void pull(struct run *r)
{
    struct exchange_action a;
    struct span out;
    unsigned steps = 0;
    while (exchange_next(r->x, &a)) {
        assert(++steps < 100000);
        switch (a.type) {
        case EXCHANGE_SETTLE:
            r->settled++;
            a.want->block = block_unref(a.want->block);
            r->wanted[a.want - r->wants] = false;
            break;
        case EXCHANGE_DROP:
            remove_peer(r, a.peer == r->peers[1]);
            break;
        case EXCHANGE_OPEN:
            exchange_opened(r->x, a.peer, 0, r->now);
            break;
        case EXCHANGE_READY:
            while (exchange_output(r->x, a.peer, 4096, &out, r->now))
                assert(out.len <= 4096 && out.data[out.len - 1] + 1);
            break;
        case EXCHANGE_VERIFY:
        case EXCHANGE_STORE:
        case EXCHANGE_LOAD:
            if (r->job_count == JOBS) {
                job_done(r, &r->jobs[0]);
                memmove(r->jobs, r->jobs + 1, sizeof r->jobs - sizeof *r->jobs);
                r->job_count--;
            }
            r->jobs[r->job_count++] = a;
            break;
        default:
            break;
        }
    }
}

static void add_peer(struct run *r, unsigned p, unsigned flags)
{
    if (r->peers[p])
        exchange_peer_flags(r->x, r->peers[p], flags, r->now);
    else
        r->peers[p] = exchange_peer_added(r->x, r, flags, r->now);
}

static void feed(struct run *r, unsigned p, unsigned s, struct span in)
{
    if (!r->peers[p])
        return;
    if (!r->streams[p][s])
        r->streams[p][s] = exchange_stream_opened(r->x, r->peers[p], r);
    if (!r->streams[p][s])
        return;
    int n = exchange_stream_data(r->x, r->streams[p][s], in, r->now);
    assert(n <= (int)in.len);
    if (n < 0) {
        exchange_stream_closed(r->x, r->streams[p][s], r->now);
        r->streams[p][s] = NULL;
    }
}

/* A well-formed message, so that the fuzzer need not find them all: presences, blocks and wants of the known CIDs */
static void say(struct run *r, unsigned p, uint8_t what)
{
    struct cid cid;
    struct span data;
    struct buf body = BUF_INIT, list = BUF_INIT, stream = BUF_INIT;
    known(what & 3, &cid, &data);
    switch (what >> 2 & 7) {
    case 0:
        bitswap_add_presence(&body, &cid, true);
        break;
    case 1:
        bitswap_add_presence(&body, &cid, false);
        break;
    case 2:
        data = span_sub(data, 0, data.len - 1); /* a wrong one */
        bitswap_add_block_head(&body, &cid, (uint32_t)data.len);
        buf_add_span(&body, data);
        break;
    case 3:
    case 4:
        bitswap_add_block_head(&body, &cid, (uint32_t)data.len);
        buf_add_span(&body, data);
        break;
    default:
        bitswap_add_entry(&list, &(struct bitswap_entry){&cid, what & 15, what & 32 ? BITSWAP_WANT_HAVE : BITSWAP_WANT_BLOCK,
                                                         (what >> 2 & 7) == 7, what & 64});
        bitswap_add_wantlist(&body, buf_span(&list), what & 128);
    }
    bitswap_add_message(&stream, buf_span(&body));
    feed(r, p, 2, buf_span(&stream)); /* a stream of its own: others may be in the middle of something */
    buf_done(&body);
    buf_done(&list);
    buf_done(&stream);
}

static void want(struct run *r, uint8_t what)
{
    unsigned i = what % WANTS;
    struct want *w = &r->wants[i];
    struct span data;
    if (r->wanted[i]) {
        if (what & 64)
            exchange_raise(r->x, w, WANT_NOW, r->now);
        else
            exchange_cancel(r->x, w, r->now);
        return;
    }
    *w = (struct want){.kind = what & 16 ? WANT_DAG : WANT_BLOCK, .priority = what / 32 % 3};
    w->deadline = what & 128 ? r->now + 5 * MONO_S : MONO_NEVER;
    known(i, &w->cid, &data);
    if (what & 8)
        known(2, &w->root, &data);
    r->wanted[i] = exchange_want(r->x, w, r->now) == 0;
    r->posted += r->wanted[i];
}

static void have(struct run *r, unsigned i)
{
    struct cid cid;
    struct span data;
    known(i, &cid, &data);
    if (!r->held[i])
        r->held[i] = block_from(NULL, BUDGET_NET, &cid, data);
    exchange_have_block(r->x, &cid, r->now);
}

static size_t event(struct run *r, uint8_t op, struct span rest)
{
    uint8_t arg = rest.len ? rest.data[0] : 0;
    unsigned p = op >> 4 & 1;
    size_t len;
    switch (op & 15) {
    case 0:
        add_peer(r, p, arg & 15);
        return 1;
    case 1:
        remove_peer(r, p);
        return 0;
    case 2:
    case 3:
        len = arg < rest.len ? arg : rest.len ? rest.len - 1 : 0;
        feed(r, p, op & 1, span_sub(rest, 1, len));
        return 1 + len;
    case 4:
        close_streams(r, p);
        return 0;
    case 5:
    case 6:
        want(r, arg);
        return 1;
    case 7:
        r->now += (mono_ns)arg * (op & 32 ? MONO_S : MONO_MS);
        exchange_expire(r->x, r->now);
        return 1;
    case 8:
        if (r->peers[p])
            exchange_output_lost(r->x, r->peers[p], r->now);
        return 0;
    case 9:
        have(r, arg & 3);
        return 1;
    case 10:
        exchange_budget_freed(r->x, r->now);
        return 0;
    case 11:
    case 12:
        say(r, p, arg);
        return 1;
    case 13:
        exchange_set_offline(r->x, arg & 1, r->now);
        return 1;
    default: /* a worker answers */
        if (r->job_count) {
            struct exchange_action job = r->jobs[arg % r->job_count];
            r->jobs[arg % r->job_count] = r->jobs[r->job_count - 1];
            r->job_count--;
            job_done(r, &job);
        }
        return 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run *r = mem_new(sizeof *r);
    r->now = 1000 * MONO_S;
    r->budget = budget_new(BUDGET_MIN);
    struct exchange_config c = {r->budget, 1, 0, 0};
    r->x = exchange_new(&c, r->now);
    struct span in = span_of(data, size);
    while (in.len) {
        uint8_t op = in.data[0];
        in = span_from(in, 1);
        in = span_from(in, event(r, op, in));
        if (!(op & 64))
            pull(r);
        assert(exchange_deadline(r->x) > 0);
    }
    exchange_stop(r->x);
    pull(r);
    assert(r->settled == r->posted);
    while (r->job_count) {
        struct exchange_action job = r->jobs[--r->job_count];
        job_done(r, &job);
        pull(r);
    }
    remove_peer(r, 0);
    remove_peer(r, 1);
    struct exchange_stats s;
    exchange_stats(r->x, &s);
    assert(!s.items && !s.sessions && !s.wants && !s.dags && !s.peers);
    r->x = exchange_free(r->x);
    assert(budget_used(r->budget) == 0);
    for (unsigned i = 0; i < 4; i++)
        (void)block_unref(r->held[i]);
    budget_free(r->budget);
    free(r);
    return 0;
}
