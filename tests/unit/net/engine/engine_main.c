/* SPDX-License-Identifier: MIT
 *
 * Two and three engines in one process over loopback TCP with block stores of their own: connect, ping, fetch a DAG of 64 MiB
 * (8 MiB under a sanitizer that is slow), one killed in the middle, errors, stopping with wants open.
 */
#include "net/engine/engine.h"
#include "store/codec/dagpb.h"
#include "store/content/hasher.h"
#include "tests/lib/short_memory.h"

#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(int line, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
static void fail(int line, const char *what, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s:%d: %s: ", __FILE__, line, what);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

#define CHECK(cond, ...)                                                                                                       \
    do {                                                                                                                       \
        if (!(cond))                                                                                                           \
            fail(__LINE__, #cond, " " __VA_ARGS__);                                                                            \
    } while (0)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LEAVES 32
#else
#define LEAVES 256
#endif
#define LEAF_SIZE ((size_t)256 << 10)

struct peer {
    char dir[64];
    struct identity identity;
    struct budget *budget;
    struct workers *workers;
    struct blockstore *store;
    struct engine *engine;
    struct mailbox *box;  /* the main thread's, for this peer's answers */
    pthread_mutex_t lock; /* what the listener writes on the engine's thread */
    char addr[128];
    unsigned views, connected, found;
    struct buf events, saved;
};

static void on_view(void *arg, struct engine_view *take_v)
{
    struct peer *p = arg;
    pthread_mutex_lock(&p->lock);
    p->views++;
    p->connected = take_v->connections;
    if (take_v->listen_count && !p->addr[0]) /* once: who waited for it reads it without the lock */
        (void)snprintf(p->addr, sizeof p->addr, "%s", take_v->listen[0]);
    pthread_mutex_unlock(&p->lock);
    engine_view_free(take_v);
}

static void on_event(void *arg, const char *kind, const char *text)
{
    struct peer *p = arg;
    pthread_mutex_lock(&p->lock);
    buf_printf(&p->events, "%s %s\n", kind, text);
    pthread_mutex_unlock(&p->lock);
}

static void on_save(void *arg, struct buf *bytes)
{
    struct peer *p = arg;
    pthread_mutex_lock(&p->lock);
    buf_clear(&p->saved);
    buf_add_span(&p->saved, buf_span(bytes));
    pthread_mutex_unlock(&p->lock);
}

static void peer_start(struct peer *p)
{
    struct multiaddr listen;
    struct why why = {""};
    CHECK(multiaddr_from_text(span_str("/ip4/127.0.0.1/tcp/0"), &listen, NULL) == 0);
    struct engine_options o = {.identity = &p->identity,
                               .store = p->store,
                               .workers = p->workers,
                               .budget = p->budget,
                               .listener = {p, on_view, on_event, on_save},
                               .listen = &listen,
                               .listen_count = 1,
                               .saved_peers = buf_span(&p->saved),
                               .agent = "p2pfs/test"};
    int err = engine_start(&p->engine, &o, &why);
    CHECK(err == 0, "%s", why.text);
}

static void peer_open(struct peer *p)
{
    *p = (struct peer){.box = mailbox_new(100000, p)};
    struct rng rng;
    rng_init_secure(&rng);
    identity_new(&p->identity, &rng);
    pthread_mutex_init(&p->lock, NULL);
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/p2p-engine-XXXXXX");
    CHECK(mkdtemp(p->dir));
    p->budget = budget_new(BUDGET_DEFAULT);
    p->workers = workers_new(2);
    struct why why = {""};
    struct blockstore_options o = {.dir = p->dir, .budget = p->budget};
    CHECK(blockstore_open(&p->store, &o, &why) == 0, "%s", why.text);
    peer_start(p);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void peer_close(struct peer *p)
{
    p->engine = engine_stop(p->engine);
    while (mailbox_run(p->box, 100))
        ;
    blockstore_close(p->store);
    workers_free(p->workers);
    CHECK(budget_used(p->budget) == 0, "%llu bytes were not given back", (unsigned long long)budget_used(p->budget));
    budget_free(p->budget);
    mailbox_free(p->box);
    buf_done(&p->events);
    buf_done(&p->saved);
    pthread_mutex_destroy(&p->lock);
    (void)nftw(p->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- waiting ---- */

static void wait_for(struct peer *p, const bool *done)
{
    mono_ns end = mono_now() + 60 * MONO_S;
    while (!*done) {
        CHECK(mailbox_wait(p->box, end), "nothing came in a minute");
        (void)mailbox_run(p->box, 100);
    }
}

/* Polls what the listener's thread writes */
static void wait_until(struct peer *p, bool (*is)(const struct peer *p))
{
    for (int i = 0; i < 3000; i++) {
        pthread_mutex_lock(&p->lock);
        bool yes = is(p);
        pthread_mutex_unlock(&p->lock);
        if (yes)
            return;
        (void)usleep(10000);
    }
    CHECK(false, "it did not happen");
}

static bool has_addr(const struct peer *p)
{
    return p->addr[0];
}

static bool has_one(const struct peer *p)
{
    return p->connected == 1;
}

static bool has_none(const struct peer *p)
{
    return p->connected == 0;
}

struct asked {
    struct want want;
    bool done;
};

static void want_done(struct mail *m, void *owner)
{
    (void)owner;
    ((struct asked *)m)->done = true;
}

static void ask(struct peer *p, struct asked *a, const struct cid *cid, enum want_kind kind, mono_ns timeout)
{
    *a = (struct asked){
        .want = {
            .mail.run = want_done, .reply = p->box, .kind = kind, .cid = *cid, .deadline = mono_after(mono_now(), timeout)}};
    struct want_port port = engine_want_port(p->engine);
    CHECK(port.post(port.self, &a->want) == 0);
}

struct called {
    struct engine_call call;
    bool done;
};

static void call_done(struct mail *m, void *owner)
{
    (void)owner;
    ((struct called *)m)->done = true;
}

static int command(struct peer *p, struct called *c)
{
    c->call.mail.run = call_done;
    c->call.reply = p->box;
    c->done = false;
    engine_command(p->engine, &c->call);
    wait_for(p, &c->done);
    return c->call.result;
}

static int connect_to(struct peer *from, struct peer *to)
{
    struct called c = {.call.verb = ENGINE_CONNECT, .call.peer = to->identity.id};
    wait_until(to, has_addr);
    CHECK(multiaddr_from_text(span_str(to->addr), &c.call.addr, NULL) == 0, "%s", to->addr);
    int err = command(from, &c);
    if (err < 0)
        fprintf(stderr, "connect: %s: %s\n", err_name(err), c.call.why.text);
    return err;
}

/* ---- blocks ---- */

struct putting {
    unsigned left;
    bool done;
};

static void put_done(void *arg, struct block *b, int result)
{
    (void)b;
    struct putting *w = arg;
    CHECK(result == 0, "%s", err_name(result));
    w->done = --w->left == 0;
}

static struct cid put_dag(struct peer *p, uint64_t seed)
{
    struct rng rng;
    struct buf root = BUF_INIT;
    struct cid cid;
    struct putting w = {.left = LEAVES + 1};
    uint8_t *data = mem_new(LEAF_SIZE);
    rng_init_seed(&rng, seed);
    for (unsigned i = 0; i < LEAVES; i++) {
        rng_fill(&rng, data, LEAF_SIZE);
        cid_of(&cid, CODEC_RAW, span_of(data, LEAF_SIZE));
        dagpb_add_link(&root, &cid, SPAN_NONE, LEAF_SIZE);
        blockstore_put(p->store, block_from(NULL, BUDGET_NET, &cid, span_of(data, LEAF_SIZE)), p->box, put_done, &w);
    }
    cid_of(&cid, CODEC_DAG_PB, buf_span(&root));
    blockstore_put(p->store, block_from(NULL, BUDGET_NET, &cid, buf_span(&root)), p->box, put_done, &w);
    wait_for(p, &w.done);
    buf_done(&root);
    free(data);
    return cid;
}

/* Everything below root is held and is what its CID says */
static void check_dag(struct peer *p, const struct cid *root)
{
    struct store_reader *r;
    struct span data, leaf;
    struct dagpb node;
    struct dagpb_link link;
    unsigned count = 0;
    CHECK(store_reader_new(p->store, &r) == 0);
    CHECK(store_read_begin(r) == 0);
    CHECK(store_get(r, root, &data) == 0);
    CHECK(hash_verify(root, data) == 0 && dagpb_parse(data, &node) == 0);
    struct dagpb_iter it = dagpb_iter(&node);
    while (dagpb_next(&it, &link)) {
        struct cid cid;
        dagpb_link_cid(&link, &cid);
        CHECK(store_get(r, &cid, &leaf) == 0, "leaf %u", count);
        CHECK(hash_verify(&cid, leaf) == 0);
        count++;
    }
    CHECK(count == LEAVES);
    store_read_end(r);
    store_reader_free(r);
}

/* ---- the tests ---- */

static void fetches(struct peer *a, struct peer *b)
{
    struct cid root = put_dag(a, 1);
    CHECK(connect_to(b, a) == 0);
    struct called ping = {.call.verb = ENGINE_PING, .call.peer = a->identity.id};
    CHECK(command(b, &ping) == 0, "%s", ping.call.why.text);
    CHECK(ping.call.rtt > 0 && ping.call.rtt < 5 * MONO_S);
    struct asked w;
    mono_ns start = mono_now();
    ask(b, &w, &root, WANT_DAG, 120 * MONO_S);
    wait_for(b, &w.done);
    CHECK(w.want.result == 0, "%s", err_name(w.want.result));
    double seconds = (double)(mono_now() - start) / 1e9;
    printf("fetched %u MiB in %.3f s: %.0f MB/s\n", (unsigned)(LEAVES * LEAF_SIZE >> 20), seconds,
           (double)(LEAVES * LEAF_SIZE) / seconds / 1e6);
    check_dag(b, &root);
    ask(b, &w, &root, WANT_BLOCK, 10 * MONO_S); /* held now: from the store */
    wait_for(b, &w.done);
    CHECK(w.want.result == 0);
    block_unref(w.want.block);
}

static void goes_on_after_a_kill(struct peer *a, struct peer *b)
{
    struct cid root = put_dag(a, 2);
    struct asked w;
    ask(b, &w, &root, WANT_DAG, 120 * MONO_S);
    (void)usleep(20000); /* in the middle, or before, or after: all must work */
    a->engine = engine_stop(a->engine);
    wait_until(b, has_none);
    pthread_mutex_lock(&a->lock);
    a->addr[0] = 0;
    pthread_mutex_unlock(&a->lock);
    peer_start(a);
    CHECK(connect_to(b, a) == 0);
    wait_for(b, &w.done);
    CHECK(w.want.result == 0, "%s", err_name(w.want.result));
    check_dag(b, &root);
}

static void errors(struct peer *a, struct peer *b)
{
    struct cid nothing;
    cid_of(&nothing, CODEC_RAW, span_str("nobody has this block"));
    struct asked w;
    ask(b, &w, &nothing, WANT_BLOCK, 300 * MONO_MS);
    wait_for(b, &w.done);
    CHECK(w.want.result == ERR_TIMEOUT, "%s", err_name(w.want.result));
    ask(b, &w, &nothing, WANT_BLOCK, MONO_NEVER / 2);
    struct want_port port = engine_want_port(b->engine);
    port.raise(port.self, &w.want, WANT_AHEAD);
    port.cancel(port.self, &w.want);
    port.cancel(port.self, &w.want); /* may come after the answer */
    wait_for(b, &w.done);
    CHECK(w.want.result == ERR_CANCELLED, "%s", err_name(w.want.result));
    struct called c = {.call.verb = ENGINE_CONNECT};
    CHECK(multiaddr_from_text(span_str("/ip4/127.0.0.1/tcp/1"), &c.call.addr, NULL) == 0);
    CHECK(command(b, &c) == ERR_REFUSED, "%s", err_name(c.call.result));
    CHECK(strstr(c.call.why.text, "/ip4/127.0.0.1/tcp/1"), "%s", c.call.why.text);
    c = (struct called){.call.verb = ENGINE_CONNECT, .call.peer = b->identity.id};
    CHECK(multiaddr_from_text(span_str(a->addr), &c.call.addr, NULL) == 0);
    CHECK(command(b, &c) == ERR_INVALID, "ourselves: %s", err_name(c.call.result));
    c = (struct called){.call.verb = ENGINE_LIMITS, .call.max_connections = 50};
    CHECK(command(b, &c) == 0);
    c = (struct called){.call.verb = ENGINE_NETWORK};
    CHECK(command(b, &c) == 0);
    c = (struct called){.call.verb = ENGINE_DISCONNECT, .call.peer = a->identity.id};
    CHECK(command(b, &c) == 0);
    wait_until(b, has_none);
}

static void friends_come_back(struct peer *a, struct peer *b)
{
    CHECK(connect_to(b, a) == 0);
    struct called c = {.call.verb = ENGINE_PROTECT, .call.peer = a->identity.id, .call.on = true};
    CHECK(command(b, &c) == 0);
    b->engine = engine_stop(b->engine); /* saves its peers */
    CHECK(buf_len(&b->saved) > 0);
    peer_start(b);
    wait_until(b, has_one);
}

/* Wants for which the engine's table has no room are answered; those that are in it are not harmed. */
static void wants_without_memory(struct peer *p)
{
    enum { MANY = 1000 };
    struct cid nothing;
    struct asked *w = calloc(MANY, sizeof *w);
    struct want_port port = engine_want_port(p->engine);
    unsigned refused = 0;
    cid_of(&nothing, CODEC_RAW, span_str("a block that many ask for"));
    short_memory_from = 4096; /* bytes of a table of 512 */
    for (unsigned i = 0; i < MANY; i++)
        ask(p, &w[i], &nothing, WANT_BLOCK, MONO_NEVER / 2);
    wait_for(p, &w[MANY - 1].done);
    short_memory_from = SIZE_MAX;
    for (unsigned i = 0; i < MANY; i++) {
        refused += w[i].done;
        CHECK(!w[i].done || w[i].want.result == ERR_NO_MEMORY, "%s", err_name(w[i].want.result));
    }
    CHECK(refused > MANY / 2 && refused < MANY, "%u", refused);
    for (unsigned i = 0; i < MANY; i++)
        if (!w[i].done)
            port.cancel(port.self, &w[i].want);
    for (unsigned i = 0; i < MANY; i++)
        wait_for(p, &w[i].done);
    free(w);
}

static unsigned views_before;

static bool has_a_new_view(const struct peer *p)
{
    return p->views > views_before;
}

static void look(struct peer *p)
{
    struct called c = {.call.verb = ENGINE_LOOK};
    CHECK(command(p, &c) == 0);
}

static unsigned views_of(struct peer *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned views = p->views;
    pthread_mutex_unlock(&p->lock);
    return views;
}

/* For which there is no memory now: the last one stays, and the next comes by itself. */
static void views_without_memory(struct peer *p)
{
    short_memory_from = 20000; /* bytes of the rows of forwards */
    look(p);
    views_before = views_of(p);
    look(p);
    CHECK(views_of(p) == views_before && short_memory_refused > 0);
    short_memory_from = SIZE_MAX;
    wait_until(p, has_a_new_view);
}

static void stops_with_wants_open(struct peer *p)
{
    struct cid nothing;
    cid_of(&nothing, CODEC_RAW, span_str("nobody has this block either"));
    struct asked w[50];
    for (unsigned i = 0; i < 50; i++)
        ask(p, &w[i], &nothing, i % 2 ? WANT_DAG : WANT_BLOCK, MONO_NEVER / 2);
    p->engine = engine_stop(p->engine);
    for (unsigned i = 0; i < 50; i++) {
        wait_for(p, &w[i].done);
        CHECK(w[i].want.result == ERR_CANCELLED, "%s", err_name(w[i].want.result));
    }
}

static void refuses_bad_options(struct peer *p)
{
    struct multiaddr listen;
    struct why why = {""};
    struct engine *e;
    CHECK(multiaddr_from_text(span_str("/ip4/192.0.2.1/tcp/0"), &listen, NULL) == 0);
    struct engine_options o = {.identity = &p->identity,
                               .store = p->store,
                               .workers = p->workers,
                               .budget = p->budget,
                               .listen = &listen,
                               .listen_count = 1,
                               .agent = "p2pfs/test"};
    CHECK(engine_start(&e, &o, &why) == ERR_INVALID, "an address that is not ours");
    CHECK(strstr(why.text, "192.0.2.1"), "%s", why.text);
}

int main(void)
{
    struct peer a, b;
    peer_open(&a);
    peer_open(&b);
    fetches(&a, &b);
    goes_on_after_a_kill(&a, &b);
    errors(&a, &b);
    friends_come_back(&a, &b);
    wants_without_memory(&b);
    views_without_memory(&b);
    stops_with_wants_open(&b);
    refuses_bad_options(&b);
    peer_close(&b);
    peer_close(&a);
    printf("done\n");
    return 0;
}
