/* SPDX-License-Identifier: MIT
 *
 * Parts are a table of open and close functions: opened in order, closed in the opposite order from where opening got to. */
#include "cmd/daemon/daemon_state.h"

#include "cmd/daemon/api.h"
#include "cmd/daemon/control.h"
#include "cmd/daemon/crash.h"
#include "cmd/daemon/eventlog.h"
#include "cmd/daemon/handover.h"
#include "cmd/daemon/keeper.h"
#include "cmd/daemon/mount_streams.h"
#include "cmd/daemon/order.h"
#include "cmd/daemon/dnsd.h"
#include "cmd/daemon/petnames.h"
#include "cmd/daemon/sdnotify.h"
#include "cmd/daemon/service_order.h"
#include "cmd/daemon/settings.h"
#include "cmd/daemon/socks.h"
#include "cmd/daemon/upload.h"
#include "cmd/daemon/task.h"
#include "cmd/daemon/unmounter.h"
#include "cmd/daemon/views.h"
#include "net/service/service_line.h"
#include "store/base/footprint.h"
#include "store/base/log.h"
#include "store/block/index_rebuild.h"
#include "store/repo/identity.h"

#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAIL_LIMIT        4096
#define MAIL_BATCH        256
#define CACHE_SHARE       8 /* of the budget: blocks that came and are not committed yet */
#define TICK_IDLE         (1 * MONO_S)
#define FREE_MOST         ((size_t)4 << 20) /* bytes that malloc may keep between two ticks */
#define TICK_BUSY         (250 * MONO_MS)
#define TEXTS_EVERY       (2 * MONO_S)
#define PEERS_FILE_MAX    (UINT32_C(16) << 20)
#define WORKERS_MOST      4u
#define DESCRIPTORS       16384u /* of open files: asked for, and needed */
#define DESCRIPTORS_LEAST 64u
#define AGENT             "p2pfs/" P2P_VERSION

/* ---- what other threads tell: notes ---- */

struct note {
    struct mail mail;
    void (*run)(struct daemon *d, struct note *n);
    char *kind, *text;
    struct buf bytes;
    struct cid cid;
    bool on;
};

static void note_free(struct note *n)
{
    free(n->kind);
    free(n->text);
    buf_done(&n->bytes);
    free(n);
}

static void note_run(struct mail *mail, void *owner)
{
    struct note *n = (struct note *)mail;
    if (owner)
        n->run(owner, n);
    note_free(n);
}

static struct note *note_new(void (*run)(struct daemon *d, struct note *n))
{
    struct note *n = MEM_NEW(struct note);
    n->mail.run = note_run;
    n->run = run;
    return n;
}

/* What may be left out when the control thread is behind: the next one tells the same or more. */
static void note_try(struct daemon *d, struct note *take_n)
{
    if (mailbox_post(d->mail, &take_n->mail) < 0)
        note_free(take_n);
}

static void run_view(struct daemon *d, struct note *n)
{
    (void)n;
    engine_view_free(d->view);
    d->view = atomic_exchange(&d->next_view, NULL);
    views_publish(d);
    dnsd_seen(d->dnsd);
    socks_seen(d, MONO_NEVER);
}

/* One note is under way while next_view is there: views of thousands of peers must not queue. */
static void tell_view(void *arg, struct engine_view *take_v)
{
    struct daemon *d = arg;
    struct engine_view *not_seen = atomic_exchange(&d->next_view, take_v);
    if (!not_seen)
        mailbox_reply(d->mail, &note_new(run_view)->mail);
    engine_view_free(not_seen);
}

static void run_event(struct daemon *d, struct note *n)
{
    daemon_event(d, n->kind, "%s", n->text);
}

static void tell_event(void *arg, const char *kind, const char *text)
{
    struct note *n = note_new(run_event);
    n->kind = mem_str(kind);
    n->text = mem_str(text);
    note_try(arg, n);
}

static void run_keep(struct daemon *d, struct note *n)
{
    if (d->keeper)
        keeper_keep(d->keeper, &n->cid, n->on);
}

static void tell_keep(void *arg, const struct cid *root, bool kept)
{
    struct daemon *d = arg;
    struct note *n = note_new(run_keep);
    n->cid = *root;
    n->on = kept;
    mailbox_reply(d->mail, &n->mail); /* must not be left out; bounded by the links in share/ */
}

static void run_ended(struct daemon *d, struct note *n)
{
    (void)n;
    if (d->stopping)
        return;
    log_info("mount.ended", "dir=%s why=unmounted_from_outside", d->mount_dir);
    daemon_stop(d);
}

static void tell_ended(void *arg)
{
    struct daemon *d = arg;
    mailbox_reply(d->mail, &note_new(run_ended)->mail);
}

static void tell_have(void *arg, const struct cid *cids, unsigned count)
{
    struct daemon *d = arg;
    engine_have(d->engine, cids, count);
}

/* ---- the peerstore's file: written on a worker, the newest wins ---- */

struct save_job {
    struct job job;
    struct daemon *d;
    struct buf bytes;
    char path[PATH_MAX];
    int result;
    struct why why;
};

static void start_saving(struct daemon *d);

static void save_work(struct job *j)
{
    struct save_job *s = (struct save_job *)j;
    struct span b = buf_span(&s->bytes);
    s->result = repo_write_file(s->path, b.data, b.len, 0600, &s->why);
}

static void saved(struct mail *mail, void *owner)
{
    struct save_job *s = (struct save_job *)mail;
    struct daemon *d = owner;
    if (s->result < 0)
        log_warn("peers.save", "error=%s", s->why.text);
    buf_done(&s->bytes);
    free(s);
    if (!d)
        return;
    d->saving_peers = false;
    if (buf_len(&d->saved_peers))
        start_saving(d);
}

static void start_saving(struct daemon *d)
{
    struct save_job *s = MEM_NEW(struct save_job);
    s->job = (struct job){.mail.run = saved, .work = save_work, .reply = d->mail};
    s->bytes = d->saved_peers;
    d->saved_peers = BUF_INIT;
    repo_file(d->repo, "peers", s->path);
    d->saving_peers = true;
    workers_submit_slow(d->workers, &s->job);
}

static void run_save(struct daemon *d, struct note *n)
{
    buf_done(&d->saved_peers);
    d->saved_peers = n->bytes;
    n->bytes = BUF_INIT;
    if (!d->saving_peers)
        start_saving(d);
}

static void tell_save(void *arg, struct buf *bytes)
{
    struct daemon *d = arg;
    struct note *n = note_new(run_save);
    n->bytes = *bytes;
    *bytes = BUF_INIT;
    mailbox_reply(d->mail, &n->mail); /* the last one before the end counts; the engine makes few */
}

/* ---- events ---- */

void daemon_event(struct daemon *d, const char *kind, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* a cut line is still a line */
    va_end(args);
    if (d->events)
        event_log_add(d->events, kind, text);
    if (d->mount)
        mount_add_event(d->mount, kind, text);
    log_line(LOG_LEVEL_DEBUG, kind, "%s", text);
}

/* ---- config ---- */

static int load_config(struct daemon *d, struct config **ret, struct why *why)
{
    struct config *c = config_new();
    int r = config_load(c, d->paths.config, why);
    char *lines = mem_str(d->options->overrides ? d->options->overrides : "");
    for (char *save = NULL, *line = strtok_r(lines, "\n", &save); line && r == 0; line = strtok_r(NULL, "\n", &save)) {
        char *eq = strchr(line, '=');
        if (!eq) {
            r = why_set(why, ERR_INVALID, "'%.100s' is not KEY=VALUE", line);
            break;
        }
        *eq = 0;
        r = config_override(c, line, eq + 1, why);
        r = r == ERR_NOT_FOUND ? ERR_USAGE : r; /* no such key */
    }
    if (r == 0)
        r = settings_check(c, why);
    free(lines);
    if (r < 0)
        config_free(c);
    else
        *ret = c;
    return r;
}

static void set_log_level(const struct daemon *d)
{
    enum log_level level = (enum log_level)config_choice(d->config, CONFIG_LOG_LEVEL);
    log_set_level(d->options->verbose ? LOG_LEVEL_DEBUG : level);
}

/* "auto": half of what the disk has free at the start, what we hold already counted as free; a round number. */
static uint64_t quota_of(struct daemon *d)
{
    uint64_t quota = config_u64(d->config, CONFIG_QUOTA);
    struct blockstore_stats s;
    if (quota != CONFIG_AUTO)
        return quota;
    if (d->auto_quota)
        return d->auto_quota;
    blockstore_stats(d->store, &s);
    uint64_t disk_free = s.disk_free_bytes;
    (void)repo_disk_free(d->paths.state, &disk_free); /* or what the store saw */
    d->auto_quota = (disk_free + s.disk_bytes) / 2;
    d->auto_quota -= d->auto_quota % (d->auto_quota > UINT64_C(1) << 30 ? UINT64_C(1) << 30 : UINT64_C(1) << 20);
    return d->auto_quota;
}

static void done_call(struct mail *mail, void *owner)
{
    (void)owner;
    free(mail);
}

static void apply_config(struct daemon *d)
{
    set_log_level(d);
    budget_set_limit(d->budget, config_u64(d->config, CONFIG_MEMORY));
    blockstore_set_quota(d->store, quota_of(d));
    struct engine_call *call = MEM_NEW(struct engine_call);
    *call = (struct engine_call){
        .mail.run = done_call,
        .reply = d->mail,
        .verb = ENGINE_LIMITS,
        .upload_limit = config_u64(d->config, CONFIG_UPLOAD_LIMIT),
        .download_limit = config_u64(d->config, CONFIG_DOWNLOAD_LIMIT),
        .max_connections = (unsigned)config_u64(d->config, CONFIG_MAX_CONNECTIONS),
    };
    engine_command(d->engine, call);
}

static bool value_differs(const struct config *a, const struct config *b, enum config_id id)
{
    struct buf x = BUF_INIT, y = BUF_INIT;
    config_print(a, id, &x);
    config_print(b, id, &y);
    bool differs = !span_eq(buf_span(&x), buf_span(&y));
    buf_done(&x);
    buf_done(&y);
    return differs;
}

int daemon_reload(struct daemon *d, struct buf *restart, struct why *why)
{
    static const enum config_id fixed[] = {
        CONFIG_LISTEN, CONFIG_MDNS,     CONFIG_MOUNT,     CONFIG_TIMEOUT_METADATA, CONFIG_MAX_CONNECTIONS_PER_IP,
        CONFIG_QUIET,  CONFIG_DNS_PORT, CONFIG_DNS_PORTS,
    };
    struct config *c;
    int r = load_config(d, &c, why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (value_differs(d->config, c, fixed[i]))
            buf_printf(restart, "%s%s", buf_len(restart) ? ", " : "", config_options[fixed[i]].name);
    config_free(d->config);
    d->config = c;
    apply_config(d);
    views_publish_texts(d);
    daemon_event(d, "config", "read again");
    return 0;
}

/* ---- the loop ---- */

void daemon_stop(struct daemon *d)
{
    d->stopping = true;
    event_base_loopexit(d->base, NULL);
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;
    (void)fd;
    (void)what;
    (void)mailbox_run(d->mail, MAIL_BATCH);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    tasks_run(arg);
}

static void arm_tick(struct daemon *d)
{
    mono_ns wait = d->tasks || d->uploads || budget_tight(d->budget) ? TICK_BUSY : TICK_IDLE;
    struct timeval tv = {(time_t)(wait / MONO_S), (suseconds_t)(wait % MONO_S / MONO_US)};
    event_add(d->tick_event, &tv);
}

/* What malloc keeps lies beside the charges to the budget: others get less for it. */
static void give_back_memory(struct daemon *d, mono_ns now)
{
    if (mallinfo2().fordblks > FREE_MOST)
        footprint_trim();
    budget_look(d->budget, now);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;
    mono_ns now = mono_now();
    (void)fd;
    (void)what;
    arm_tick(d); /* a task may ask for an earlier one below */
    tasks_tick(d, now);
    uploads_tick(d, now);
    keeper_look(d->keeper);
    keeper_tick(d->keeper, now);
    socks_seen(d, now);
    socks_tick(d->socks);
    handover_tick(d->handover);
    control_tick(d->control);
    dnsd_tick(d->dnsd, now);
    if (!d->tasks)
        blockcache_trim(d->cache, 0); /* the store shows them now */
    give_back_memory(d, now);
    if (d->views_late)
        views_publish(d);
    if (now - d->texts_at >= TEXTS_EVERY) {
        d->texts_at = now;
        views_publish_texts(d);
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct daemon *d = arg;
    struct why why = {""};
    struct buf restart = BUF_INIT;
    (void)what;
    if (number != SIGHUP) {
        log_info("node.stop", "signal=%d", (int)number);
        daemon_stop(d);
        return;
    }
    if (daemon_reload(d, &restart, &why) < 0) { /* a signal has no other answer */
        log_error("config.reload", "error=%s", why.text);
        daemon_event(d, "config.refused", "%s", why.text);
    }
    buf_done(&restart);
}

/* ---- parts, in the order they are opened ---- */

static int open_repo(struct daemon *d, struct why *why)
{
    int r = repo_paths(&d->paths, why);
    if (r == 0)
        r = load_config(d, &d->config, why);
    if (r == 0)
        r = repo_open(&d->repo, &d->paths, why);
    if (r == 0)
        r = repo_make_run(d->repo, why);
    if (r == 0)
        set_log_level(d);
    return r;
}

static void close_repo(struct daemon *d)
{
    repo_close(d->repo);
    config_free(d->config);
}

static int open_key(struct daemon *d, struct why *why)
{
    struct node_key key;
    char path[PATH_MAX];
    int r = node_key_load(repo_file(d->repo, "identity.key", path), &key, why);
    if (r < 0)
        return r;
    identity_from_seed(&d->identity, key.secret); /* libsodium's secret begins with the seed */
    node_key_wipe(&key);
    peer_id_text(&d->identity.id, d->id);
    return 0;
}

static void close_key(struct daemon *d)
{
    identity_wipe(&d->identity);
}

static int open_store(struct daemon *d, struct why *why)
{
    char dir[PATH_MAX], names[PATH_MAX], mark[PATH_MAX + sizeof "/" INDEX_SUSPECT];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    d->budget = budget_new(config_u64(d->config, CONFIG_MEMORY));
    budget_set_gauge(d->budget, footprint_private);
    d->workers = workers_new(cores < 2 ? 2 : cores > (long)WORKERS_MOST ? WORKERS_MOST : (unsigned)cores);
    int r = d->workers ? repo_dir(d->repo, "blocks", dir, why) : why_set(why, ERR_LIMIT, "no thread could be started");
    if (r == 0) {
        (void)snprintf(mark, sizeof mark, "%s/" INDEX_SUSPECT, dir);
        crash_marks(mark);
        r = blockstore_open(&d->store, &(struct blockstore_options){.dir = dir, .budget = d->budget}, why);
    }
    if (r == 0)
        r = petnames_open(&d->petnames, repo_file(d->repo, "petnames", names), why);
    if (r == 0)
        blockstore_set_quota(d->store, quota_of(d));
    return r;
}

static void close_store(struct daemon *d)
{
    petnames_free(d->petnames);
    blockstore_close(d->store);
    workers_free(d->workers);
    budget_free(d->budget);
}

/* Each stream of a service takes one or two: the limit that shells give is for programs that use select(2). */
static int raise_descriptors(struct why *why)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= DESCRIPTORS)
        return 0;
    l.rlim_cur = l.rlim_max < DESCRIPTORS ? l.rlim_max : DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &l); /* up to rlim_max it is allowed */
    if (l.rlim_max >= DESCRIPTORS_LEAST)
        return 0;
    return why_set(why, ERR_LIMIT, "it may open %ju files (ulimit -Hn), and needs %u", (uintmax_t)l.rlim_max,
                   DESCRIPTORS_LEAST);
}

static int start_log(struct why *why)
{
    int r = log_writer_start();
    return r < 0 ? why_set(why, r, "no thread could be started") : 0;
}

static int open_loop(struct daemon *d, struct why *why)
{
    static const int numbers[DAEMON_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* ulimit -f: EFBIG, as of a full disk */
    d->mail = mailbox_new(MAIL_LIMIT, d);
    d->base = event_base_new();
    if (!d->base)
        return why_set(why, ERR_LIMIT, "cannot make an event loop");
    d->ready_end = &d->ready;
    d->mail_event = event_new(d->base, mailbox_fd(d->mail), EV_READ | EV_PERSIST, on_mail, d);
    d->tick_event = event_new(d->base, -1, 0, on_tick, d);
    d->wake_event = event_new(d->base, -1, 0, on_wake, d);
    for (int i = 0; i < DAEMON_SIGNALS; i++) {
        d->signals[i] = evsignal_new(d->base, numbers[i], on_signal, d);
        event_add(d->signals[i], NULL);
    }
    event_add(d->mail_event, NULL);
    int r = store_reader_new(d->store, &d->reader);
    if (r < 0)
        return why_set(why, r, "cannot read the store: %s", err_text(r));
    d->cache = blockcache_new(d->budget, budget_limit(d->budget) / CACHE_SHARE, store_reader_source(d->reader));
    d->events = event_log_new();
    return 0;
}

static void close_loop(struct daemon *d)
{
    event_log_free(d->events);
    blockcache_free(d->cache);
    store_reader_free(d->reader);
    struct event *all[] = {d->mail_event, d->tick_event, d->wake_event, d->signals[0], d->signals[1], d->signals[2]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i])
            event_free(all[i]);
    if (d->base)
        event_base_free(d->base);
    mailbox_free(d->mail);
    engine_view_free(d->view);
    engine_view_free(atomic_exchange(&d->next_view, NULL));
    buf_done(&d->saved_peers);
}

static int open_engine(struct daemon *d, struct why *why)
{
    struct multiaddr *listen = NULL;
    unsigned count = 0;
    struct buf saved_peers = BUF_INIT, saved_services = BUF_INIT;
    char path[PATH_MAX];
    int r = service_orders_saved(d, &saved_services, why);
    if (r == 0)
        r = settings_listen(d->config, &listen, &count, why);
    if (r < 0)
        return r;
    (void)repo_read_file(repo_file(d->repo, "peers", path), PEERS_FILE_MAX, &saved_peers, NULL); /* begun anew without it */
    struct engine_options o = {
        .identity = &d->identity,
        .store = d->store,
        .workers = d->workers,
        .budget = d->budget,
        .listener = {d, tell_view, tell_event, tell_save},
        .listen = listen,
        .listen_count = count,
        .mdns = config_bool(d->config, CONFIG_MDNS),
        .max_connections = (unsigned)config_u64(d->config, CONFIG_MAX_CONNECTIONS),
        .max_connections_per_ip = (unsigned)config_u64(d->config, CONFIG_MAX_CONNECTIONS_PER_IP),
        .upload_limit = config_u64(d->config, CONFIG_UPLOAD_LIMIT),
        .download_limit = config_u64(d->config, CONFIG_DOWNLOAD_LIMIT),
        .saved_peers = buf_span(&saved_peers),
        .saved_services = buf_span(&saved_services),
        .agent = AGENT,
    };
    r = engine_start(&d->engine, &o, why);
    free(listen);
    buf_done(&saved_peers);
    buf_done(&saved_services);
    if (r < 0)
        return r;
    d->port = engine_want_port(d->engine);
    d->wants = wants_new(&(struct wants_options){
        .port = d->port, .reply = d->mail, .owner = d, .settled = tasks_settled, .arrived = tasks_arrived});
    d->keeper = keeper_new(d);
    r = keeper_load_pins(d->keeper);
    return r < 0 ? why_set(why, r, "cannot read the pins: %s", err_text(r)) : 0;
}

/* Friends are kept connected. */
static void protect_friends(struct daemon *d)
{
    const char *name;
    struct peer_id id;
    for (unsigned i = 0; petname_at(d->petnames, i, &name, &id); i++) {
        struct engine_call *call = MEM_NEW(struct engine_call);
        *call = (struct engine_call){.mail.run = done_call, .reply = d->mail, .verb = ENGINE_PROTECT, .peer = id, .on = true};
        engine_command(d->engine, call);
    }
}

static void pump(struct daemon *d, bool *until)
{
    while (!*until) {
        (void)mailbox_wait(d->mail, mono_now() + MONO_S);
        (void)mailbox_run(d->mail, MAIL_BATCH);
    }
}

static void on_synced(void *arg, int result)
{
    bool *done = arg;
    if (result < 0)
        log_error("store.sync", "error=%s", err_text(result));
    *done = true;
}

static void close_engine(struct daemon *d)
{
    if (d->keeper)
        keeper_stop(d->keeper);
    if (d->wants)
        wants_cancel_all(d->wants);
    d->engine = engine_stop(d->engine); /* settles every want: the answers are in the mailbox */
    bool done = false;
    blockstore_sync(d->store, d->mail, on_synced, &done);
    pump(d, &done);
    while (d->saving_peers || buf_len(&d->saved_peers) || (d->wants && wants_open(d->wants)) || d->verify_count) {
        (void)mailbox_wait(d->mail, mono_now() + MONO_S);
        (void)mailbox_run(d->mail, MAIL_BATCH);
    }
    wants_free(d->wants);
    d->keeper = keeper_free(d->keeper);
}

static int open_mount(struct daemon *d, struct why *why)
{
    if (d->options->no_mount)
        return 0;
    int r = settings_mount(d->config, d->options->dir, d->mount_dir, why);
    if (r < 0)
        return r;
    unsigned quiet = config_list_count(d->config, CONFIG_QUIET);
    d->quiet = mem_array(quiet + 1, sizeof *d->quiet);
    for (unsigned i = 0; i < quiet; i++)
        d->quiet[i] = mem_str(config_list_at(d->config, CONFIG_QUIET, i)); /* the config may be read again */
    struct mount_options o = {
        .dir = d->mount_dir,
        .store = d->store,
        .workers = d->workers,
        .budget = d->budget,
        .want = d->port,
        .command = {d, order_post},
        .stream = mount_stream_port(d),
        .have = tell_have,
        .keep = tell_keep,
        .ended = tell_ended,
        .arg = d,
        .timeout_metadata = config_u64(d->config, CONFIG_TIMEOUT_METADATA),
        .timeout_read = config_u64(d->config, CONFIG_TIMEOUT_READ),
        .quiet = (const char *const *)d->quiet,
        .quiet_count = quiet,
    };
    r = unmounter_new(&d->unmounter);
    if (r < 0)
        return why_set(why, r, "no thread could be started");
    r = mount_start(&d->mount, &o, why);
    if (r < 0)
        return r;
    struct buf help = BUF_INIT;
    ctl_order_help(&help);
    service_line_help(&help);
    mount_set_text(d->mount, MOUNT_TEXT_CTL, &help);
    buf_done(&help);
    return 0;
}

static void close_mount(struct daemon *d)
{
    bool done = false;
    if (d->mount) {
        unmounter_stop(d->unmounter, d->mount, d->mail, &done);
        d->mount = NULL; /* no more messages to it */
        pump(d, &done);
    }
    unmounter_free(d->unmounter);
    for (char **q = d->quiet; q && *q; q++)
        free(*q);
    free(d->quiet);
}

static int open_dns(struct daemon *d, struct why *why)
{
    (void)why; /* the node works without it */
    d->dnsd = dnsd_open(d);
    return 0;
}

static void close_dns(struct daemon *d)
{
    d->dnsd = dnsd_close(d->dnsd);
}

static int open_control(struct daemon *d, struct why *why)
{
    int r = control_open(&d->control, d, why);
    d->socks = socks_new(d);
    return r < 0 ? r : handover_open(&d->handover, d, why);
}

static void close_control(struct daemon *d)
{
    d->handover = handover_close(d->handover);
    d->socks = socks_free(d->socks);
    d->control = control_close(d->control);
    uploads_end_all(d);
    verifies_end_all(d);
}

static const struct part {
    int (*open)(struct daemon *d, struct why *why);
    void (*close)(struct daemon *d);
} parts[] = {
    {open_repo, close_repo},     {open_key, close_key},     {open_store, close_store}, {open_loop, close_loop},
    {open_engine, close_engine}, {open_mount, close_mount}, {open_dns, close_dns},     {open_control, close_control},
};

static void serve(struct daemon *d)
{
    daemon_event(d, "node.up", "%s", d->id);
    views_publish(d);
    protect_friends(d);
    arm_tick(d);
    d->options->ready(d->options->arg, &(struct daemon_ready){d->id, d->mount ? d->mount_dir : ""});
    log_info("node.up", "id=%s mount=%s", d->id, d->mount ? d->mount_dir : "none"); /* into the log that ready() opened */
    if (sdnotify("READY=1\nSTATUS=working\n") < 0)
        log_warn("sdnotify", "state=ready error=unreachable");
    verify_by_itself(d);
    event_base_dispatch(d->base);
    d->stopping = true;
    (void)sdnotify("STOPPING=1\n"); /* the manager sees the end anyway */
}

int daemon_run(const struct daemon_options *o, struct why *why)
{
    struct daemon *d = MEM_NEW(struct daemon);
    d->options = o;
    d->started = mono_now();
    footprint_tame();
    size_t opened = 0;
    int r = raise_descriptors(why);
    if (r == 0)
        r = start_log(why);
    while (r == 0 && opened < sizeof parts / sizeof *parts)
        r = parts[opened++].open(d, why);
    if (r == 0)
        serve(d);
    d->stopping = true;
    while (opened)
        parts[--opened].close(d);
    free(d);
    if (r == 0)
        log_info("node.down", "clean=yes");
    log_writer_stop();
    return r;
}
