/* SPDX-License-Identifier: MIT
 *
 * What happened lately: the newest EVENTS_KEPT events, and the requests that follow them. Control thread.
 */
#ifndef CMD_DAEMON_EVENTLOG_H
#define CMD_DAEMON_EVENTLOG_H

#include "cmd/daemon/control.h"

#define EVENTS_KEPT 1000

struct event_log *event_log_new(void);
struct event_log *event_log_free(struct event_log *l); /* NULL accepted */
void event_log_add(struct event_log *l, const char *kind, const char *text);
/* Answers with what is kept; with `follow`, goes on with what comes. */
void event_log_answer(struct event_log *l, struct ctl_request *q, bool follow);

#endif
