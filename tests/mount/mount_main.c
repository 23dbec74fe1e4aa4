/* SPDX-License-Identifier: MIT
 *
 * A mount without a network, for the tests of this folder: a block store in a folder, workers, a budget, and in place of the
 * engine a thread that answers wants from another node's store after a delay, or never.
 *
 *   mount_main STATE DIR [-p STATE2] [-d MS] [-b MIB] [-q BYTES] [-t SECONDS] [-o] [-x]
 *     -p   the state folder of a node that is not running, whose blocks "peers" have; without it nobody ever answers
 *     -d   each block comes after so long
 *     -o   offline
 *     -x   quiet: requests of the program "quietprog" never start a download
 *
 * Commands through ctl files: "echo TEXT" answers with it, "fail" is refused with a sentence, "stuck" is never settled, "peer X
 * ping" answers with a time, "peer X forget" takes its row away, "petname NAME ID" names one, "providers CID" answers
 * with two. Ends on SIGTERM, SIGINT, or when the mount is taken away.
 */
#include "fs/node/mount.h"
#include "store/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the engine's place ---- */

#define PEERS_MAX 64

struct fake {
    struct mailbox *mailbox;
    pthread_t thread;
    mono_ns delay;
    struct want *waiting; /* by next of mail */
    bool stop;
    struct blockstore *store, *peer; /* peer: NULL: nobody has anything */
    struct store_reader *peer_reader;
};

struct ask {
    struct mail mail;
    struct fake *fake;
    struct want *want;
    bool cancel;
};

struct item {
    struct item *next;
    struct want *want;
    mono_ns due;
};
static struct item *items; /* of the fake's thread */

static void settle(struct want *w, int result)
{
    w->result = result;
    mailbox_reply(w->reply, &w->mail);
}

static struct block *load(struct fake *f, const struct cid *cid)
{
    struct block *b = NULL;
    struct span data;
    if (store_read_begin(f->peer_reader) < 0)
        return NULL;
    if (store_get(f->peer_reader, cid, &data) == 0)
        b = block_from(NULL, BUDGET_NET, cid, data);
    store_read_end(f->peer_reader);
    return b;
}

static void on_ask(struct mail *take_m, void *owner)
{
    struct ask *a = (struct ask *)take_m;
    struct fake *f = owner;
    struct item **at = &items;
    if (a->cancel) {
        while (*at && (*at)->want != a->want)
            at = &(*at)->next;
        struct item *i = *at;
        if (i) {
            *at = i->next;
            settle(i->want, ERR_CANCELLED);
            free(i);
        }
    } else if (!f) {
        settle(a->want, ERR_CANCELLED);
    } else {
        struct item *i = MEM_NEW(struct item);
        i->want = a->want;
        i->due = f->peer ? mono_after(mono_now(), f->delay) : MONO_NEVER;
        while (*at)
            at = &(*at)->next;
        *at = i;
    }
    free(a);
}

static void put_done(void *arg, struct block *b, int result)
{
    (void)arg;
    (void)b;
    (void)result;
}

static mono_ns answer_due(struct fake *f)
{
    mono_ns now = mono_now(), next = MONO_NEVER;
    for (struct item **at = &items; *at;) {
        struct item *i = *at;
        if (i->due > now) {
            next = mono_min(next, i->due);
            at = &i->next;
            continue;
        }
        struct block *b = load(f, &i->want->cid);
        if (!b) { /* nobody has it: the mount's deadline ends it */
            i->due = MONO_NEVER;
            at = &i->next;
            continue;
        }
        *at = i->next;
        blockstore_put(f->store, block_ref(b), NULL, put_done, NULL);
        i->want->block = b;
        settle(i->want, 0);
        free(i);
    }
    return next;
}

static void on_stop(struct mail *take_m, void *owner)
{
    ((struct fake *)owner)->stop = true;
    free(take_m);
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;
    while (!f->stop) {
        mailbox_wait(f->mailbox, answer_due(f));
        mailbox_run(f->mailbox, 64);
    }
    return NULL;
}

static int ask(struct fake *f, struct want *w, bool cancel)
{
    struct ask *a = MEM_NEW(struct ask);
    a->mail.run = on_ask;
    a->want = w;
    a->cancel = cancel;
    mailbox_reply(f->mailbox, &a->mail);
    return 0;
}

static int port_post(void *self, struct want *take_w)
{
    return ask(self, take_w, false);
}

static void port_cancel(void *self, struct want *w)
{
    ask(self, w, true);
}

static void port_raise(void *self, struct want *w, enum want_priority p)
{
    (void)self;
    (void)w;
    (void)p;
}

/* ---- commands ---- */

struct shown {
    char id[80], petname[80];
};
static struct mount *the_mount;
static struct shown shown[PEERS_MAX] = {{"12D3KooWAAAA", ""}, {"12D3KooWBBBB", "bob"}};
static unsigned shown_count = 2;
static struct command *stuck[64];
static unsigned stuck_count;
static pthread_mutex_t stuck_lock = PTHREAD_MUTEX_INITIALIZER; /* filled by the mount's thread, emptied by main */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct peer_row *)a)->id, ((const struct peer_row *)b)->id);
}

static void show_peers(void)
{
    struct peer_table *t = MEM_NEW(struct peer_table);
    struct {
        struct peer_row rows[PEERS_MAX];
        struct shown text[PEERS_MAX];
    } *mem = mem_new(sizeof *mem);
    memcpy(mem->text, shown, sizeof shown);
    for (unsigned i = 0; i < shown_count; i++)
        mem->rows[i] =
            (struct peer_row){.id = mem->text[i].id,
                              .petname = mem->text[i].petname,
                              .connected = true,
                              .last_seen = (wall_ns)(1700000000 + i) * 1000000000,
                              .status = span_str("state\tconnected\naddress\t/ip4/10.0.0.1\naddress\t/ip4/10.0.0.2\n"),
                              .ledger = span_str("sent\t1\nreceived\t2\n")};
    qsort(mem->rows, shown_count, sizeof mem->rows[0], by_id);
    t->rows = mem->rows;
    t->count = shown_count;
    t->memory = mem;
    mount_set_peers(the_mount, t);
}

static void set_petname(const char *name, const char *id)
{
    for (unsigned i = 0; i < shown_count; i++)
        if (strcmp(shown[i].petname, name) == 0)
            shown[i].petname[0] = 0;
    for (unsigned i = 0; i < shown_count; i++)
        if (strcmp(shown[i].id, id) == 0)
            snprintf(shown[i].petname, sizeof shown[i].petname, "%s", name);
    show_peers();
}

static void forget_peer(const char *id)
{
    for (unsigned i = 0; i < shown_count; i++)
        if (strcmp(shown[i].id, id) == 0)
            shown[i--] = shown[--shown_count];
    show_peers();
}

static int command_post(void *self, struct command *take_c)
{
    (void)self;
    struct command *c = take_c;
    char name[80], id[80];
    if (strncmp(c->line, "echo ", 5) == 0) {
        buf_printf(&c->answer, "%s\n", c->line + 5);
    } else if (sscanf(c->line, "providers %79s", id) == 1) {
        buf_add_str(&c->answer, "12D3KooWAAAA\n12D3KooWAAAA 12D3KooWBBBB\n");
    } else if (strcmp(c->line, "stuck") == 0 && stuck_count < 64) {
        pthread_mutex_lock(&stuck_lock);
        stuck[stuck_count++] = c;
        pthread_mutex_unlock(&stuck_lock);
        return 0;
    } else if (sscanf(c->line, "petname %79s %79s", name, id) == 2) {
        set_petname(name, id);
    } else if (sscanf(c->line, "peer %79s %79s", id, name) == 2 && strcmp(name, "forget") == 0) {
        forget_peer(id);
    } else if (strncmp(c->line, "peer ", 5) == 0 && strstr(c->line, " ping")) {
        buf_add_str(&c->answer, "rtt\t0.42 ms\n");
    } else {
        c->result = why_set(&c->why, ERR_DENIED, "no such command: %s", c->line);
    }
    mailbox_reply(c->reply, &c->mail);
    return 0;
}

/* ---- start and stop ---- */

static int ended_pipe[2];

static void on_signal(int number)
{
    (void)number;
    ssize_t n = write(ended_pipe[1], "x", 1);
    (void)n;
}

static void on_ended(void *arg)
{
    (void)arg;
    on_signal(0);
}

struct settings {
    const char *state, *dir, *peer;
    mono_ns delay;
    uint64_t budget, quota;
    bool offline, quiet;
    mono_ns request_limit;
};

static int parse(int argc, char **argv, struct settings *s)
{
    int c;
    while ((c = getopt(argc, argv, "p:d:b:q:t:ox")) != -1) {
        switch (c) {
        case 'p':
            s->peer = optarg;
            break;
        case 'd':
            s->delay = strtoull(optarg, NULL, 10) * MONO_MS;
            break;
        case 'b':
            s->budget = strtoull(optarg, NULL, 10) << 20;
            break;
        case 'q':
            s->quota = strtoull(optarg, NULL, 10);
            break;
        case 't':
            s->request_limit = strtoull(optarg, NULL, 10) * MONO_S;
            break;
        case 'o':
            s->offline = true;
            break;
        case 'x':
            s->quiet = true;
            break;
        default:
            return -1;
        }
    }
    if (argc - optind != 2)
        return -1;
    s->state = argv[optind];
    s->dir = argv[optind + 1];
    return 0;
}

static void tell_texts(void)
{
    struct buf status = BUF_INIT, ctl = BUF_INIT, limits = BUF_INIT;
    buf_add_str(&status, "version\t0\nonline\tyes\nworking\n");
    buf_add_str(&ctl, "echo TEXT\nfail\nstuck\n");
    buf_add_str(&limits, "upload\tnone\n");
    mount_set_text(the_mount, MOUNT_TEXT_STATUS, &status);
    mount_set_text(the_mount, MOUNT_TEXT_CTL, &ctl);
    mount_set_text(the_mount, MOUNT_TEXT_LIMITS, &limits);
    mount_add_event(the_mount, "node.started", "test");
    show_peers();
}

static int run(const struct settings *s, struct fake *fake, struct budget *budget, struct workers *workers)
{
    static const char *const quiet[] = {"quietprog"};
    struct why why = {""};
    struct mount_options o = {.dir = s->dir,
                              .store = fake->store,
                              .workers = workers,
                              .budget = budget,
                              .want = {fake, port_post, port_cancel, port_raise},
                              .command = {NULL, command_post},
                              .ended = on_ended,
                              .request_limit = s->request_limit,
                              .quiet = quiet,
                              .quiet_count = s->quiet ? 1 : 0};
    char byte;
    int rc = mount_start(&the_mount, &o, &why);
    if (rc < 0) {
        fprintf(stderr, "mount_main: %s\n", why.text);
        return 1;
    }
    if (s->offline)
        mount_set_online(the_mount, false);
    tell_texts();
    printf("mounted\n");
    fflush(stdout);
    while (read(ended_pipe[0], &byte, 1) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&stuck_lock);
    for (unsigned i = 0; i < stuck_count; i++)
        mailbox_reply(stuck[i]->reply, &stuck[i]->mail);
    pthread_mutex_unlock(&stuck_lock);
    mount_stop(the_mount);
    fprintf(stderr, "mount_main: budget peak %llu KiB\n", (unsigned long long)(budget_peak(budget) >> 10));
    return 0;
}

int main(int argc, char **argv)
{
    struct settings s = {.budget = BUDGET_DEFAULT};
    struct why why = {""};
    if (parse(argc, argv, &s) < 0) {
        fprintf(stderr, "usage: mount_main STATE DIR [-p STATE2] [-d MS] [-b MIB] [-q BYTES] [-o] [-x]\n");
        return 2;
    }
    if (pipe(ended_pipe) != 0)
        return 1;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    mkdir(s.state, 0700);
    struct fake fake = {.delay = s.delay};
    struct budget *budget = budget_new(s.budget);
    struct workers *workers = workers_new(2);
    struct blockstore_options bo = {.dir = s.state, .quota_bytes = s.quota, .budget = budget};
    if (blockstore_open(&fake.store, &bo, &why) < 0) {
        fprintf(stderr, "mount_main: %s\n", why.text);
        return 1;
    }
    struct blockstore_options po = {.dir = s.peer, .budget = budget};
    if (s.peer && (blockstore_open(&fake.peer, &po, &why) < 0 || store_reader_new(fake.peer, &fake.peer_reader) < 0)) {
        fprintf(stderr, "mount_main: %s\n", why.text);
        return 1;
    }
    fake.mailbox = mailbox_new(65536, &fake);
    pthread_create(&fake.thread, NULL, fake_main, &fake);
    int status = run(&s, &fake, budget, workers);
    struct mail *stop = MEM_NEW(struct mail);
    stop->run = on_stop;
    mailbox_reply(fake.mailbox, stop);
    pthread_join(fake.thread, NULL);
    mailbox_free(fake.mailbox);
    workers_free(workers);
    blockstore_close(fake.store);
    store_reader_free(fake.peer_reader);
    blockstore_close(fake.peer);
    budget_free(budget);
    return status;
}
