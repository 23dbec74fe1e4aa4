/* SPDX-License-Identifier: MIT
 *
 * Progress of a transfer, on stderr, only on a terminal, not with --quiet, and only after half a second:
 *
 *   film.mkv  42 %  1.2 GiB/2.9 GiB  38 MiB/s  46 s left  3 peers
 *
 * After two seconds without bytes it says why instead of the rate (the owner gives the sentence: `ask`). Always one line of
 * the terminal: a longer one could not be drawn over.
 */
#ifndef CMD_CLI_CLI_PROGRESS_H
#define CMD_CLI_CLI_PROGRESS_H

#include "cmd/cli/cli.h"
#include "store/base/mono.h"

#define PROGRESS_TEXT 160

struct progress {
    const struct cli *c;
    char name[PROGRESS_TEXT];
    uint64_t done, total; /* bytes; total 0: unknown */
    uint64_t first;       /* of done, there before we began (a resumed transfer) */
    mono_ns began, moved, drawn;
    double rate; /* smoothed bytes per second */
    uint64_t rate_done;
    mono_ns rate_at;
    bool shown;
    char note[PROGRESS_TEXT]; /* "3 peers", or why nothing comes */
    /* Fills `note`; called at most once a second while something is shown. May be NULL. */
    void (*ask)(void *arg, bool stalled, char note[PROGRESS_TEXT]);
    void *arg;
    mono_ns asked;
};

void progress_begin(struct progress *p, const struct cli *c, const char *name, uint64_t total);
void progress_name(struct progress *p, const char *name);
void progress_add(struct progress *p, uint64_t bytes); /* redraws when due */
void progress_tick(void *p);                           /* struct progress: redraws when due */
void progress_end(struct progress *p);                 /* removes the line */

#endif
