/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_progress.h"

#include "cmd/cli/cli_text.h"
#include "store/base/units.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SHOW_AFTER  (500 * MONO_MS)
#define DRAW_EVERY  (200 * MONO_MS)
#define STALL_AFTER (2 * MONO_S)

void progress_name(struct progress *p, const char *name)
{
    struct buf safe = BUF_INIT;
    cli_text_escape(&safe, span_str(name));
    struct span text = buf_span(&safe);
    while (text.len && (text.len >= sizeof p->name || text.data[0] >> 6 == 2)) /* its end tells more; no part of a character */
        text = span_from(text, 1);
    if (text.len)
        memcpy(p->name, text.data, text.len);
    p->name[text.len] = 0;
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

static size_t columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : 80;
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
    struct buf rest = BUF_INIT, line = BUF_INIT;
    if (p->total)
        buf_printf(&rest, "  %u %%", (unsigned)((double)p->done * 100 / (double)p->total));
    buf_printf(&rest, "  %s", size_text(p->done, size));
    if (p->total)
        buf_printf(&rest, "/%s", size_text(p->total, size));
    if (!stalled && p->rate >= 1)
        buf_printf(&rest, "  %s/s", size_text((uint64_t)p->rate, size));
    if (!stalled && p->rate >= 1 && p->total > p->done)
        buf_printf(&rest, "  %s left", cli_text_seconds((double)(p->total - p->done) / p->rate, left));
    if (p->note[0])
        buf_printf(&rest, "  %s", p->note);
    else if (stalled)
        buf_printf(&rest, "  waiting for %s", cli_text_seconds((double)(now - p->moved) / (double)MONO_S, left));
    cli_text_fit(&line, span_str(p->name), buf_span(&rest), columns() - 1); /* the last column would wrap on some terminals */
    fprintf(stderr, "\r\033[K%s", buf_cstr(&line));
    fflush(stderr);
    buf_done(&rest);
    buf_done(&line);
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
