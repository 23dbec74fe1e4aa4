/* SPDX-License-Identifier: MIT
 *
 * The text files of streams/: snapshots of the table that was told, and the commands that lines written there stand for. */
#include "fs/node/streams.h"
#include "fs/node/text_table.h"

void text_offer_ctl(struct mount *m, struct span key, struct buf *out)
{
    (void)m;
    (void)key;
    buf_add_str(out, "tcp [IP:]PORT\nudp [IP:]PORT\nunix PATH\nexec PROGRAM [ARGUMENT...]\nfile PATH\necho\nlive\n"
                     "allow PEER|any\ndeny PEER|any\nlimit connections N\nlimit rate BYTES\n");
}

void text_offer_status(struct mount *m, struct span key, struct buf *out)
{
    const struct offer_row *o = streams_offer(m, key);
    if (o)
        buf_add_span(out, o->status);
}

void text_forward_ctl(struct mount *m, struct span key, struct buf *out)
{
    (void)m;
    (void)key;
    buf_add_str(out, "tcp [IP:]PORT PEER/SERVICE\nudp [IP:]PORT PEER/SERVICE\nunix PATH PEER/SERVICE\n"
                     "remove tcp|udp|unix PLACE\n");
}

void text_forward_status(struct mount *m, struct span key, struct buf *out)
{
    (void)key;
    if (m->services)
        buf_add_span(out, m->services->forwards);
    else
        buf_add_str(out, "# kind\tlisten\n");
}

void text_stream_ctl(struct mount *m, struct span key, struct buf *out)
{
    if (conversation_find(m, key))
        buf_add_str(out, "connect PEER/SERVICE\n");
    buf_add_str(out, "hangup\n");
}

void text_stream_status(struct mount *m, struct span key, struct buf *out)
{
    const struct stream_row *s = streams_number(m, key);
    const struct conversation *c = conversation_find(m, key);
    if (s)
        buf_add_span(out, s->status);
    else if (c)
        conversation_status(c, out);
}

void text_stream_local(struct mount *m, struct span key, struct buf *out)
{
    const struct stream_row *s = streams_number(m, key);
    const struct conversation *c = conversation_find(m, key);
    buf_printf(out, "%s\n", s ? s->local : c && conversation_end(c) ? "dial" : "-");
}

void text_stream_remote(struct mount *m, struct span key, struct buf *out)
{
    const struct stream_row *s = streams_number(m, key);
    const struct conversation *c = conversation_find(m, key);
    const char *dialed = c ? conversation_remote(c) : NULL;
    if (s && dialed && strncmp(s->remote, dialed, strlen(dialed)) != 0)
        s = NULL; /* what was refused before, under the same number: that this is connected is told in a moment */
    buf_printf(out, "%s\n", s ? s->remote : dialed ? dialed : "-");
}

/* ---- lines → commands ---- */

/* The first word of `line`; *ret_rest: behind it and the blanks that follow */
static struct span first_word(struct span line, struct span *ret_rest)
{
    size_t n = 0;
    while (n < line.len && line.data[n] != ' ' && line.data[n] != '\t')
        n++;
    struct span word = span_of(line.data, n);
    while (n < line.len && (line.data[n] == ' ' || line.data[n] == '\t'))
        n++;
    *ret_rest = span_from(line, n);
    return word;
}

static void add_words(struct buf *out, const char *verb, struct span a, struct span b)
{
    buf_printf(out, "%s %.*s %.*s", verb, (int)a.len, (const char *)a.data, (int)b.len, (const char *)b.data);
}

/* `tcp 127.0.0.1:22` → `offer NAME tcp …`; `allow bob` → `allow NAME bob` */
int text_offer_command(struct span key, struct span line, struct buf *out, struct why *why)
{
    static const struct {
        const char *verb, *takes;
    } own[] = {{"allow", "PEER|any"}, {"deny", "PEER|any"}, {"limit", "connections|rate N"}};
    struct span rest, word = first_word(line, &rest);
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) {
        if (!span_eq_str(word, own[i].verb))
            continue;
        if (!rest.len) /* here the name is not written */
            return why_set(why, ERR_INVALID, "the command is: %s %s", own[i].verb, own[i].takes);
        add_words(out, own[i].verb, key, rest);
        return 0;
    }
    add_words(out, "offer", key, line);
    return 0;
}

/* `tcp 2222 alice/ssh` → `forward tcp 2222 alice ssh`; `remove tcp 2222` → `unforward tcp 2222` */
int text_forward_command(struct span key, struct span line, struct buf *out, struct why *why)
{
    struct span rest, word = first_word(line, &rest);
    (void)key;
    if (span_eq_str(word, "remove")) {
        buf_printf(out, "unforward %.*s", (int)rest.len, (const char *)rest.data);
        return 0;
    }
    size_t last = line.len;
    while (last > 0 && line.data[last - 1] != ' ' && line.data[last - 1] != '\t')
        last--;
    const uint8_t *slash = last < line.len ? memchr(line.data + last, '/', line.len - last) : NULL;
    if (!slash)
        return why_set(why, ERR_INVALID,
                       "'%.*s' is not a forward; the commands are: tcp|udp|unix PLACE PEER/SERVICE, remove tcp|udp|unix PLACE",
                       (int)(line.len > 80 ? 80 : line.len), (const char *)line.data);
    size_t at = (size_t)(slash - line.data);
    buf_printf(out, "forward %.*s %.*s", (int)at, (const char *)line.data, (int)(line.len - at - 1), (const char *)slash + 1);
    return 0;
}

/* Of a stream that is not ours to talk on: only its end */
int text_stream_command(struct span key, struct span line, struct buf *out, struct why *why)
{
    if (!span_eq_str(line, "hangup"))
        return why_set(why, ERR_INVALID, "this stream is not of streams/clone; the command is: hangup");
    buf_printf(out, "hangup %.*s", (int)key.len, (const char *)key.data);
    return 0;
}
