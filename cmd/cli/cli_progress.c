/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_progress.h"

#include "cmd/cli/cli_text.h"
#include "store/base/units.h"

#include <stdio.h>

#define SHOW_AFTER  (500 * MONO_MS)
#define DRAW_EVERY  (200 * MONO_MS)
#define STALL_AFTER (2 * MONO_S)

void progress_name(struct progress *p, const char *name)
{
    struct buf safe = BUF_INIT;
    cli_text_escape(&safe, span_str(name));
    size_t len = buf_len(&safe);
    const char *text = buf_cstr(&safe);
    if (len >= sizeof p->name) /* the end of a path tells more than its beginning */
        snprintf(p->name, sizeof p->name, "…%s", text + len - (sizeof p->name - 8));
    else
        snprintf(p->name, sizeof p->name, "%s", text);
    buf_done(&safe);
}

void progress_begin(struct progress *p, const struct cli *c, const char *name, uint64_t total)
{
    mono_ns now = mono_now();
    *p = (struct progress){.c = c, .total = total, .began = now, .moved = now, .rate_at = now};
    progress_name(p, name);
}

static bool wanted(const struct progress *p, mono_ns now)
{
    return p->c->err_tty && !p->c->quiet && now - p->began >= SHOW_AFTER;
}

static void measure(struct progress *p, mono_ns now)
{
    double span_s = (double)(now - p->rate_at) / (double)MONO_S;
    if (span_s < 0.2)
        return;
    double rate = (double)(p->done - p->rate_done) / span_s;
    p->rate = p->rate_done == p->first ? rate : 0.7 * p->rate + 0.3 * rate;
    p->rate_done = p->done;
    p->rate_at = now;
}

static void draw(struct progress *p, mono_ns now)
{
    char size[UNITS_TEXT_SIZE], left[CLI_TEXT_SIZE];
    bool stalled = now - p->moved >= STALL_AFTER;
    if (p->ask && now - p->asked >= MONO_S) {
        p->asked = now;
        p->note[0] = 0;
        p->ask(p->arg, stalled, p->note);
    }
    fprintf(stderr, "\r\033[K%s", p->name);
    if (p->total)
        fprintf(stderr, "  %u %%  %s", (unsigned)((double)p->done * 100 / (double)p->total), size_text(p->done, size));
    else
        fprintf(stderr, "  %s", size_text(p->done, size));
    if (p->total)
        fprintf(stderr, "/%s", size_text(p->total, size));
    if (!stalled && p->rate >= 1)
        fprintf(stderr, "  %s/s", size_text((uint64_t)p->rate, size));
    if (!stalled && p->rate >= 1 && p->total > p->done)
        fprintf(stderr, "  %s left", cli_text_seconds((double)(p->total - p->done) / p->rate, left));
    if (p->note[0])
        fprintf(stderr, "  %s", p->note);
    else if (stalled)
        fprintf(stderr, "  waiting for %s", cli_text_seconds((double)(now - p->moved) / (double)MONO_S, left));
    fflush(stderr);
    p->shown = true;
}

void progress_tick(void *arg)
{
    struct progress *p = arg;
    mono_ns now = mono_now();
    if (now - p->drawn < DRAW_EVERY || !wanted(p, now))
        return;
    p->drawn = now;
    measure(p, now);
    draw(p, now);
}

void progress_add(struct progress *p, uint64_t bytes)
{
    p->done += bytes;
    if (bytes)
        p->moved = mono_now();
    progress_tick(p);
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    fflush(stderr);
    p->shown = false;
}
