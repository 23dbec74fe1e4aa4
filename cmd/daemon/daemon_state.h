/* SPDX-License-Identifier: MIT
 *
 * The control thread's own data: everything here belongs to it. What other threads have to tell comes by `mail`.
 */
#ifndef CMD_DAEMON_DAEMON_STATE_H
#define CMD_DAEMON_DAEMON_STATE_H

#include "cmd/daemon/daemon.h"
#include "fs/fuse/wants.h"
#include "fs/node/mount.h"
#include "net/engine/engine.h"
#include "store/block/blockcache.h"
#include "store/repo/config.h"
#include "store/repo/repo.h"

#include <event2/event.h>
#include <jansson.h>
#include <limits.h>

struct control;
struct dnsd;
struct event_log;
struct handover;
struct keeper;
struct order;
struct petnames;
struct socks;
struct uploads;
struct task;

enum { DAEMON_SIGNALS = 3 };

struct daemon {
    const struct daemon_options *options;
    struct repo_paths paths;
    struct repo *repo;
    struct config *config;
    struct identity identity; /* wiped at the end */
    char id[PEER_ID_TEXT_SIZE];
    mono_ns started;

    struct budget *budget;
    struct workers *workers;
    struct blockstore *store;
    struct engine *engine;
    struct mount *mount; /* NULL: none */
    struct unmounter *unmounter;
    char mount_dir[PATH_MAX];
    char **quiet; /* the mount's list of programs; ends with NULL */

    struct event_base *base;
    struct mailbox *mail;
    struct event *mail_event, *tick_event, *wake_event, *signals[DAEMON_SIGNALS];
    bool stopping;
    uint64_t auto_quota; /* what "auto" gave at the start; 0: not asked yet */
    mono_ns texts_at;    /* when figures were published last */
    mono_ns ticked_at;
    bool views_late; /* there was no memory for a table of peers or services: again with the next tick */

    struct store_reader *reader;
    struct want_port port;
    struct wants *wants;
    struct blockcache *cache; /* blocks that came for us and may not be committed yet */

    struct control *control;
    struct handover *handover;
    struct socks *socks;
    struct task *tasks, *ready, **ready_end;
    struct event_log *events;
    struct petnames *petnames;
    struct keeper *keeper;
    struct verify *verifies; /* that wait a moment */
    unsigned verify_count;   /* with those on a worker */
    struct uploads *uploads;
    unsigned dns_dials;                    /* dnsd_dial.h */
    struct dnsd *dnsd;                     /* NULL before it is opened and after */
    struct engine_view *view;              /* the newest; NULL before the first */
    struct engine_view *_Atomic next_view; /* from the engine, not looked at yet */
    struct buf saved_peers;                /* newest peerstore, not written yet */
    bool saving_peers;
};

void daemon_stop(struct daemon *d); /* ends the loop after this event */
/* Reads the config file again and applies what can change while running. `restart`: names of what cannot, appended. */
int daemon_reload(struct daemon *d, struct buf *restart, struct why *why);

/* One event of the node: to .p2p/events, the followers of the control socket and the log. */
void daemon_event(struct daemon *d, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
