/* SPDX-License-Identifier: MIT
 *
 * Keeps fetching what is to be kept and is not all here: pins that are incomplete, and DAGs that a link in share/ keeps. Goal:
 * every kept DAG is held; action: a want for the whole DAG (WANT_DAG, WANT_KEEP), at most KEEPER_FLIGHT at a time, tried again
 * after a while when it fails. What came stays, so each try has less to do. Control thread.
 *
 *   NEW ─► FETCHING ─► HELD, a pin through MARKING: the store notes that it is complete. Forgotten unless a link counts it
 *           ▲  ▲ ├─► FAILED, for KEEPER_RETRY ─┐
 *           │  └─┼─────────────────────────────┘
 *           │    └─► stalled, and others wait: PUT_OFF ─┐
 *           └───────────────────────────────────────────┘
 *
 * Who has fetched while the store dropped something is NEW again: perhaps it had passed over that. So is what a link HELD when
 * somebody pins it, or when a block was found damaged. Pins that are not told of (an import's, those that miss a damaged block)
 * are seen because the store counts more that are incomplete.
 *
 * What nobody has would else take all places for ever. The newest NEW one is next, then who failed or was put off longest ago.
 */
#ifndef CMD_DAEMON_KEEPER_H
#define CMD_DAEMON_KEEPER_H

#include "cmd/daemon/daemon_state.h"

#define KEEPER_FLIGHT 32
#define KEEPER_RETRY  (30 * MONO_S)
#define KEEPER_REMARK (2 * MONO_S) /* when the mark failed */
#define KEEPER_STALL  (5 * MONO_S) /* nothing was heard of it; */
#define KEEPER_GLANCE MONO_S       /* while others were never tried */

struct keeper *keeper_new(struct daemon *d);
/* Cancels; wants come back through the mailbox before the engine has stopped. */
void keeper_stop(struct keeper *k);
struct keeper *keeper_free(struct keeper *k); /* NULL accepted */

/* Reads the incomplete pins, and all when anything is wanted: former builds marked some complete too early. For the start. 0 or
 * a store's error. */
int keeper_load_pins(struct keeper *k);
void keeper_look(struct keeper *k); /* Is there more to do than is known? */
void keeper_add_pin(struct keeper *k, const struct cid *cid);
void keeper_drop_pin(struct keeper *k, const struct cid *cid);
void keeper_keep(struct keeper *k, const struct cid *cid, bool kept); /* by links: counts */
void keeper_tick(struct keeper *k, mono_ns now);

struct keep_progress {
    uint64_t blocks, bytes; /* fetched by this try */
    bool fetching;
    bool marking; /* all is here, and the disk is waited for */
    int failure;  /* of the last try; 0: none */
};
bool keeper_progress(const struct keeper *k, const struct cid *cid,
                     struct keep_progress *ret); /* false: nothing to do for it */
unsigned keeper_count(const struct keeper *k);

#endif
