/* SPDX-License-Identifier: MIT
 *
 * Text files: README, status, .p2p/ and the files of a peer. Each open has a snapshot of its own, and st_size is true
 * (rsync and tar copy nothing from files of size 0). X.json resolves beside every text file and is not listed.
 *
 * Some take commands: one a write, any offset, a trailing newline optional. The write is answered when the command has been
 * carried out; when it was refused the sentence is in user.p2p.error and among the events. */
#include "fs/node/mount_state.h"

#include "fs/node/peers.h"
#include "fs/node/streams.h"
#include "fs/node/text_json.h"
#include "fs/node/text_table.h"
#include "store/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static const char readme[] = "This is p2pfs: files, by their hash, from whoever has them.\n"
                             "\n"
                             "status    is it working, and if not, what to do\n"
                             "ipfs/     what never changes, by its hash   cat ipfs/<cid>/readme.txt\n"
                             "share/    what you share and keep           cp -r photos share/\n"
                             "                                            ln -s ../ipfs/<cid> share/film\n"
                             "peers/    people and machines               ls -lt peers\n"
                             "                                            ln -s <peer id> peers/alice\n"
                             "streams/  offers, forwards, what is open    cat peers/alice/streams/clock\n"
                             "\n"
                             "cat asks, echo tells, cp gives, ln -s keeps or names, rm lets go.\n"
                             "ls never waits for the network.\n"
                             "The CID of what you share:       p2p cid share/x\n"
                             "                                 getfattr -n user.p2p.cid share/x\n"
                             "What waits for the network now:  cat .p2p/waiting\n"
                             "Stop anything with Ctrl-C.\n"
                             "More:  man p2p,  man p2p-mount\n";

static void make_readme(struct mount *m, struct span peer, struct buf *out)
{
    (void)m;
    (void)peer;
    buf_add_str(out, readme);
}

static void make_told(struct mount *m, enum mount_text which, struct buf *out)
{
    buf_add_span(out, buf_span(&m->texts[which]));
}

static void make_status(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    make_told(m, MOUNT_TEXT_STATUS, out);
    if (buf_len(out) == 0)
        buf_add_str(out, "state\tstarting\n");
}

static void make_limits(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    make_told(m, MOUNT_TEXT_LIMITS, out);
}

static void make_ctl(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    make_told(m, MOUNT_TEXT_CTL, out);
}

static void make_events(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    buf_add_str(out, "# time\tevent\ttext\n");
    buf_add_span(out, buf_span(&m->events));
}

static void make_waiting(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    pending_list(m->pending, out, mono_now());
}

/* How many of each kind the kernel has sent: what a program costs is the difference of two looks. */
static void make_requests(struct mount *m, struct span peer, struct buf *out)
{
    (void)peer;
    buf_add_str(out, "# request\tcount\n");
    for (unsigned op = 0; op < OP_OWN; op++)
        if (m->requests[op] > 0)
            buf_printf(out, "%s\t%llu\n", request_op_name(op), (unsigned long long)m->requests[op]);
}

static void make_log(struct mount *m, struct span peer, struct buf *out)
{
    (void)m;
    (void)peer;
    log_ring_read(out);
}

static void make_peer_status(struct mount *m, struct span peer, struct buf *out)
{
    const struct peer_row *p = peers_find(m, peer);
    if (p)
        buf_add_span(out, p->status);
}

static void make_peer_ledger(struct mount *m, struct span peer, struct buf *out)
{
    const struct peer_row *p = peers_find(m, peer);
    if (p)
        buf_add_span(out, p->ledger);
}

static void make_peer_ctl(struct mount *m, struct span peer, struct buf *out)
{
    (void)m;
    (void)peer;
    buf_add_str(out, "connect\ndisconnect\nping\nforget\nprotect\nunprotect\n");
}

/* The answer comes with open (open_ping); this is only what stat tells before. */
static void make_peer_ping(struct mount *m, struct span peer, struct buf *out)
{
    (void)m;
    (void)peer;
    buf_add_str(out, "rtt\topen to measure\n");
}

/* Opening makes a stream of one's own: open_clone. */
static void make_clone(struct mount *m, struct span key, struct buf *out)
{
    (void)m;
    (void)key;
    (void)out;
}

/* `command`: what a written line and the key before it are put behind; `translate` instead, where words change their places;
 * neither: not writable */
static const struct text_kind {
    const char *name;
    enum text_place place;
    void (*make)(struct mount *m, struct span peer, struct buf *out);
    const char *command;
    text_command *translate;
} kinds[TEXTS] = {
    [TEXT_README] = {"README", TEXT_AT_ROOT, make_readme, NULL, NULL},
    [TEXT_STATUS] = {"status", TEXT_AT_ROOT, make_status, NULL, NULL},
    [TEXT_EVENTS] = {"events", TEXT_AT_P2P, make_events, NULL, NULL},
    [TEXT_WAITING] = {"waiting", TEXT_AT_P2P, make_waiting, NULL, NULL},
    [TEXT_REQUESTS] = {"requests", TEXT_AT_P2P, make_requests, NULL, NULL},
    [TEXT_CTL] = {"ctl", TEXT_AT_P2P, make_ctl, "", NULL},
    [TEXT_LIMITS] = {"limits", TEXT_AT_P2P, make_limits, "limits ", NULL},
    [TEXT_LOG] = {"log", TEXT_AT_P2P, make_log, NULL, NULL},
    [TEXT_PEER_STATUS] = {"status", TEXT_AT_PEER, make_peer_status, NULL, NULL},
    [TEXT_PEER_PING] = {"ping", TEXT_AT_PEER, make_peer_ping, NULL, NULL},
    [TEXT_PEER_LEDGER] = {"ledger", TEXT_AT_PEER, make_peer_ledger, NULL, NULL},
    [TEXT_PEER_CTL] = {"ctl", TEXT_AT_PEER, make_peer_ctl, "peer ", NULL},
    [TEXT_CLONE] = {"clone", TEXT_AT_STREAMS, make_clone, "", NULL},
    [TEXT_OFFER_CTL] = {"ctl", TEXT_AT_OFFER, text_offer_ctl, "", text_offer_command},
    [TEXT_OFFER_STATUS] = {"status", TEXT_AT_OFFER, text_offer_status, NULL, NULL},
    [TEXT_FORWARD_CTL] = {"ctl", TEXT_AT_FORWARD, text_forward_ctl, "", text_forward_command},
    [TEXT_FORWARD_STATUS] = {"status", TEXT_AT_FORWARD, text_forward_status, NULL, NULL},
    [TEXT_STREAM_CTL] = {"ctl", TEXT_AT_STREAM, text_stream_ctl, "", text_stream_command},
    [TEXT_STREAM_STATUS] = {"status", TEXT_AT_STREAM, text_stream_status, NULL, NULL},
    [TEXT_STREAM_LOCAL] = {"local", TEXT_AT_STREAM, text_stream_local, NULL, NULL},
    [TEXT_STREAM_REMOTE] = {"remote", TEXT_AT_STREAM, text_stream_remote, NULL, NULL},
};

/* `text` in the form that `sub` asks for, into `out`, which is empty. 0, ERR_NO_MEMORY. */
static int give(unsigned sub, struct buf *take_text, struct buf *out)
{
    struct buf json = BUF_SOFT;
    if (sub & TEXT_JSON)
        text_to_json(buf_span(take_text), &json);
    bool cut = take_text->cut || json.cut;
    *out = sub & TEXT_JSON ? json : *take_text;
    if (sub & TEXT_JSON)
        buf_done(take_text);
    out->soft = false;
    if (cut)
        buf_done(out);
    return cut ? ERR_NO_MEMORY : 0;
}

static int make(struct mount *m, unsigned sub, struct span peer, struct buf *out)
{
    struct buf text = BUF_SOFT;
    kinds[sub & ~TEXT_JSON].make(m, peer, &text);
    return give(sub, &text, out);
}

const char *text_name(enum text_id id)
{
    return kinds[id].name;
}

enum text_place text_place_of(enum text_id id)
{
    return kinds[id].place;
}

/* README, and what the ctl files list */
static bool changes(unsigned id)
{
    return id != TEXT_README && (!kinds[id].command || id == TEXT_CLONE || id == TEXT_LIMITS || id == TEXT_STREAM_CTL);
}

int text_found(struct mount *m, unsigned sub, struct span peer, struct found *ret)
{
    const struct text_kind *k = &kinds[sub & ~TEXT_JSON];
    size_t n = peer.len < sizeof ret->key_bytes ? peer.len : sizeof ret->key_bytes;
    if (n)
        memcpy(ret->key_bytes, peer.data, n);
    ret->key = (struct inode_key){NODE_TEXT, sub, {ret->key_bytes, n}};
    struct buf text = BUF_INIT;
    int rc = make(m, sub, peer, &text);
    if (rc < 0)
        return rc; /* a size that is not true would be believed */
    bool writable = k->command && !(sub & TEXT_JSON);
    node_attr(m, &ret->attr, &ret->key, S_IFREG | (writable ? 0644 : 0444), buf_len(&text));
    /* Made now: tail -f and make(1) see that it changes. What stays as it was keeps its time, or tar says that it changed. */
    unsigned id = sub & ~TEXT_JSON;
    wall_ns time = !changes(id) ? m->started : id == TEXT_EVENTS ? m->events_time : wall_now();
    node_attr_times(&ret->attr, time, time);
    buf_done(&text);
    ret->entry_timeout = 1;
    ret->attr_timeout = 0;
    return 0;
}

int text_find(enum text_place place, const char *name)
{
    size_t len = strlen(name);
    bool json = len > 5 && strcmp(name + len - 5, ".json") == 0;
    size_t plain = json ? len - 5 : len;
    for (unsigned id = 0; id < TEXTS; id++)
        if (kinds[id].place == place && strlen(kinds[id].name) == plain && memcmp(kinds[id].name, name, plain) == 0)
            return (int)(json ? id | TEXT_JSON : id);
    return ERR_NOT_FOUND;
}

/* ---- the operations ---- */

static int text_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    int rc = text_found(m, i->sub, inode_key_span(i), &f);
    if (rc < 0)
        return rc;
    if (r->handle && !kinds[i->sub & ~TEXT_JSON].command)
        f.attr.st_size = (off_t)buf_len(&handle_of(r)->text); /* of the snapshot that this open file is */
    request_attr(r, &f.attr, 0);
    return 0;
}

static int open_ping(struct mount *m, struct request *r, struct inode *i)
{
    char line[300];
    snprintf(line, sizeof line, "peer %.*s ping", (int)i->key_len, (const char *)i->key);
    int rc = command_run(m, r, line);
    if (rc < 0)
        return rc;
    struct ticket *t = r->state;
    struct handle *h = handle_new(m, i, r->flags);
    if (i->sub & TEXT_JSON)
        text_to_json(buf_span(&t->answer), &h->text);
    else
        buf_add_span(&h->text, buf_span(&t->answer));
    handle_reply(m, r, h, OPEN_DIRECT | OPEN_NO_FLUSH);
    return 0;
}

static int open_conversation(struct mount *m, struct request *r, struct inode *i)
{
    struct handle *h = handle_new(m, i, r->flags);
    struct conversation *c = i->sub == TEXT_CLONE ? conversation_new(m, h) : conversation_find(m, inode_key_span(i));
    if (!c && i->sub == TEXT_CLONE) {
        handle_free(m, h);
        return ERR_UNSUPPORTED;
    }
    if (c && i->sub != TEXT_CLONE)
        conversation_enter(c, h);
    if (c)
        buf_printf(&h->text, "%llu\n", (unsigned long long)conversation_number(c));
    else
        (void)make(m, i->sub, inode_key_span(i), &h->text); /* some lines */
    handle_reply(m, r, h, OPEN_DIRECT | OPEN_NO_FLUSH);
    return 0;
}

static int text_open(struct mount *m, struct request *r, struct inode *i)
{
    const struct text_kind *k = &kinds[i->sub & ~TEXT_JSON];
    bool writes = request_open_wants(r) & W_OK; /* O_TRUNC alone, too */
    if (writes && (!k->command || (i->sub & TEXT_JSON)))
        return ERR_DENIED;
    if ((i->sub & ~TEXT_JSON) == TEXT_PEER_PING)
        return open_ping(m, r, i);
    if (i->sub == TEXT_CLONE || i->sub == TEXT_STREAM_CTL)
        return open_conversation(m, r, i);
    struct handle *h = handle_new(m, i, r->flags);
    int rc = (r->flags & O_ACCMODE) != O_WRONLY ? make(m, i->sub, inode_key_span(i), &h->text) : 0;
    if (rc < 0) {
        handle_free(m, h);
        return rc;
    }
    handle_reply(m, r, h, OPEN_DIRECT | OPEN_NO_FLUSH);
    return 0;
}

static int text_read(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    struct span text = buf_span(&handle_of(r)->text);
    request_data(r, span_sub(text, r->offset < text.len ? (size_t)r->offset : text.len, r->size));
    return 0;
}

#define LINE_MAX_BYTES 4096

/* Carries the line out: by the conversation that the handle is of, or as a command. */
static int run_line(struct mount *m, struct request *r, struct inode *i, struct span line, struct why *why)
{
    const struct text_kind *k = &kinds[i->sub & ~TEXT_JSON];
    struct conversation *c = handle_of(r)->conversation;
    if (c)
        return conversation_command(m, r, c, line, why);
    struct buf text = BUF_INIT;
    int rc = 0;
    if (k->translate) {
        rc = k->translate(inode_key_span(i), line, &text, why);
    } else {
        buf_add_str(&text, k->command);
        if (i->key_len)
            buf_printf(&text, "%.*s ", (int)i->key_len, (const char *)i->key);
        buf_add_span(&text, line);
    }
    if (rc == 0)
        rc = command_run(m, r, buf_cstr(&text));
    buf_done(&text);
    const struct ticket *t = rc == ERR_AGAIN ? NULL : r->state; /* there is one when a command was refused */
    return rc < 0 && t && t->error ? why_set(why, rc, "%s", t->error) : rc;
}

void text_describe(const struct inode *i, struct buf *out)
{
    static const char *const places[] = {
        [TEXT_AT_ROOT] = "",
        [TEXT_AT_P2P] = ".p2p/",
        [TEXT_AT_PEER] = "peers/",
        [TEXT_AT_STREAMS] = "streams/",
        [TEXT_AT_OFFER] = "streams/offer/",
        [TEXT_AT_FORWARD] = "streams/forward/",
        [TEXT_AT_STREAM] = "streams/",
    };
    const struct text_kind *k = &kinds[i->sub & ~TEXT_JSON];
    buf_printf(out, "%s%.*s%s%s%s", places[k->place], (int)i->key_len, (const char *)i->key, i->key_len ? "/" : "", k->name,
               i->sub & TEXT_JSON ? ".json" : "");
}

/* → user.p2p.error, and the events for those whose shell told them an errno */
static int keep_refusal(struct mount *m, const struct request *r, struct inode *i, int rc, const struct why *why)
{
    struct buf line = BUF_INIT;
    struct conversation *c = handle_of(r)->conversation;
    free(i->data);
    i->data = mem_str(why->text[0] ? why->text : err_text(rc));
    if (c)
        conversation_refused(c, i->data);
    text_describe(i, &line);
    buf_printf(&line, ": %s", (const char *)i->data);
    text_add_event(m, "ctl.refused", buf_cstr(&line));
    buf_done(&line);
    return rc;
}

const char *text_refusal(const struct mount *m, const struct inode *i)
{
    const struct conversation *c = i->sub == TEXT_STREAM_CTL ? conversation_find(m, inode_key_span(i)) : NULL;
    return c ? conversation_refusal(c) : i->data;
}

static int text_write(struct mount *m, struct request *r, struct inode *i)
{
    struct why why = {""};
    struct span line = r->data;
    while (line.len && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
        line.len--;
    if (line.len > LINE_MAX_BYTES || memchr(line.data, '\n', line.len) || memchr(line.data, 0, line.len))
        return keep_refusal(
            m, r, i, why_set(&why, ERR_INVALID, "one line a write, of at most %d bytes and no NUL", LINE_MAX_BYTES), &why);
    if (line.len == 0) {
        request_written(r, r->data.len);
        return 0;
    }
    int rc = run_line(m, r, i, line, &why);
    if (rc < 0)
        return rc == ERR_AGAIN ? rc : keep_refusal(m, r, i, rc, &why);
    free(i->data);
    i->data = NULL;
    if (handle_of(r)->conversation)
        conversation_refused(handle_of(r)->conversation, NULL);
    request_written(r, r->data.len);
    return 0;
}

static int text_setattr(struct mount *m, struct request *r, struct inode *i)
{
    if (!kinds[i->sub & ~TEXT_JSON].command || (i->sub & TEXT_JSON) || !request_empties(r))
        return ERR_NOT_PERMITTED;
    r->handle = 0;
    return text_getattr(m, r, i);
}

static int text_allowed(struct mount *m, const struct request *r, const struct inode *i)
{
    static node_allowed *const there[] = {
        [TEXT_AT_OFFER] = offer_is_there,
        [TEXT_AT_STREAM] = stream_is_there,
    };
    enum text_place place = text_place_of(i->sub & ~TEXT_JSON);
    if (place == TEXT_AT_PEER && !r->handle && !peers_has_text(m, inode_key_span(i), i->sub))
        return ERR_STALE; /* it was forgotten */
    return place < sizeof there / sizeof *there && there[place] ? there[place](m, r, i) : 0;
}

const struct node_ops node_text = {
    .op =
        {
            [OP_GETATTR] = text_getattr,
            [OP_SETATTR] = text_setattr,
            [OP_OPEN] = text_open,
            [OP_READ] = text_read,
            [OP_WRITE] = text_write,
        },
    .allowed = text_allowed,
    .absent = ERR_NOT_PERMITTED,
};

/* ---- for the rest of the mount ---- */

#define EVENTS_BYTES 65536

void text_add_event(struct mount *m, const char *kind, const char *text)
{
    char when[WALL_TEXT_SIZE];
    m->events_time = wall_now();
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s\t%s\t%s\n", wall_text(m->events_time, when), kind, text);
    (void)buf_try_add(&m->events, buf_span(&line)); /* without memory the newest is lost */
    buf_done(&line);
    while (buf_len(&m->events) > EVENTS_BYTES) {
        struct span s = buf_span(&m->events);
        const uint8_t *end = memchr(s.data, '\n', s.len);
        buf_consume(&m->events, end ? (size_t)(end - s.data) + 1 : s.len);
    }
}

/* "README", ".p2p/x", "peers/<id or petname>/x" */
int text_of(struct mount *m, struct span path, struct buf *out)
{
    char text[600];
    if (path.len >= sizeof text)
        return ERR_NOT_FOUND;
    memcpy(text, path.data, path.len);
    text[path.len] = 0;
    struct span peer = SPAN_NONE;
    enum text_place place = TEXT_AT_ROOT;
    const char *name = text;
    if (strncmp(text, ".p2p/", 5) == 0) {
        place = TEXT_AT_P2P;
        name = text + 5;
    } else if (strncmp(text, "peers/", 6) == 0) {
        char *slash = strchr(text + 6, '/');
        if (!slash)
            return ERR_NOT_FOUND;
        peer = span_of(text + 6, (size_t)(slash - text - 6));
        if (!peers_find(m, peer))
            return ERR_NOT_FOUND;
        place = TEXT_AT_PEER;
        name = slash + 1;
    }
    int sub = text_find(place, name);
    if (sub < 0)
        return sub;
    return make(m, (unsigned)sub, peer, out);
}
