/* SPDX-License-Identifier: MIT
 *
 * The directories of streams: what we offer, what is open, what a peer offers us. They show a table that is told
 * (mount_set_services) and the mount's own conversations; every change is a command that others carry out. */
#include "fs/node/streams.h"

#include "fs/node/peers.h"
#include "fs/node/text_table.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define DIR_TIMEOUT 1.0
#define LOOK_MOST   (100 * MONO_MS) /* a listing waits for nobody who is that busy */

/* ---- the table ---- */

const struct offer_row *streams_offer(const struct mount *m, struct span name)
{
    for (size_t i = 0; m->services && i < m->services->offer_count; i++)
        if (span_eq_str(name, m->services->offers[i].name))
            return &m->services->offers[i];
    return NULL;
}

const struct stream_row *streams_number(const struct mount *m, struct span number)
{
    char text[24];
    for (size_t i = 0; m->services && i < m->services->stream_count; i++) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)m->services->streams[i].number);
        if (span_eq_str(number, text))
            return &m->services->streams[i];
    }
    return NULL;
}

/* The next of several strings, each with its NUL; NULL: no more */
static const char *next_text(struct span *left)
{
    const char *text = (const char *)left->data;
    if (!left->len)
        return NULL;
    *left = span_from(*left, strlen(text) + 1);
    return text;
}

/* What a service may be called and a file as well: what it is not listed by needs no escapes. */
static bool is_plain(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    return *name && *name != '.' && strlen(name) <= 64;
}

/* A peer that is not connected lists nothing, and others need not list what they accept: only dialing tells. */
const char *streams_service(const struct mount *m, struct span peer, const char *file)
{
    const struct peer_row *p = peers_find(m, peer);
    struct span left = p ? p->services : SPAN_NONE;
    for (const char *name; (name = next_text(&left));) {
        const char *service = next_text(&left);
        if (strcmp(name, file) == 0)
            return service;
    }
    return is_plain(file) && peers_may_be(m, peer) ? file : NULL;
}

static bool is_live(const struct offer_row *o)
{
    return strcmp(o->target, "live") == 0;
}

/* ---- what stands where ---- */

static const unsigned dir_modes[] = {
    [STREAMS_ROOT] = 0555,    [STREAMS_OFFERS] = 0755, [STREAMS_OFFER] = 0555,  [STREAMS_ALLOW] = 0755,
    [STREAMS_FORWARD] = 0555, [STREAMS_LIVE] = 0755,   [STREAMS_NUMBER] = 0555, [STREAMS_PEER] = 0555,
};

/* Directories that are always there, and where text files stand */
static const struct {
    enum streams_dir in;
    const char *name;
    enum streams_dir dir;
} dirs[] = {
    {STREAMS_ROOT, "offer", STREAMS_OFFERS},
    {STREAMS_ROOT, "forward", STREAMS_FORWARD},
    {STREAMS_ROOT, "live", STREAMS_LIVE},
    {STREAMS_OFFER, "allow", STREAMS_ALLOW},
};
static const int text_places[] = {
    [STREAMS_ROOT] = TEXT_AT_STREAMS,    [STREAMS_OFFERS] = -1, [STREAMS_OFFER] = TEXT_AT_OFFER,   [STREAMS_ALLOW] = -1,
    [STREAMS_FORWARD] = TEXT_AT_FORWARD, [STREAMS_LIVE] = -1,   [STREAMS_NUMBER] = TEXT_AT_STREAM, [STREAMS_PEER] = -1,
};

void streams_found(const struct mount *m, enum streams_dir dir, struct span key, struct found *ret)
{
    size_t n = key.len < sizeof ret->key_bytes ? key.len : sizeof ret->key_bytes;
    if (n)
        memcpy(ret->key_bytes, key.data, n);
    ret->key = (struct inode_key){NODE_STREAMS, dir, {ret->key_bytes, n}};
    node_attr(m, &ret->attr, &ret->key, S_IFDIR | dir_modes[dir], 0);
    ret->entry_timeout = ret->attr_timeout = DIR_TIMEOUT;
}

/* ---- allow/ ---- */

static const char *petname_of(const struct mount *m, const char *id)
{
    const struct peer_row *p = peers_find(m, span_str(id));
    return p && p->petname[0] ? p->petname : id;
}

/* What the entry looks like. Somebody who may dial is a link to them; but what was made by CREATE (touch) is a file in that
 * answer, which the kernel insists on, and an inode of its own. */
enum allow_look { ALLOW_ANY = 'a', ALLOW_LINK = 'l', ALLOW_FILE = 'f' };

static void allow_found(const struct mount *m, const char *offer, const char *name, const char *id, enum allow_look look,
                        struct found *ret)
{
    int n = snprintf((char *)ret->key_bytes, sizeof ret->key_bytes, "%s%c%s%c%s%c%c", offer, 0, name, 0, id, 0, (char)look);
    ret->key = (struct inode_key){NODE_ALLOW, 0, {ret->key_bytes, (size_t)n}};
    size_t up = sizeof "../../../../peers/" - 1;
    if (look == ALLOW_LINK)
        node_attr(m, &ret->attr, &ret->key, S_IFLNK | 0777, up + strlen(id));
    else
        node_attr(m, &ret->attr, &ret->key, S_IFREG | 0444, 0);
    ret->entry_timeout = ret->attr_timeout = 0;
}

static int allow_lookup(struct mount *m, struct span offer, const char *name, struct found *ret)
{
    const struct offer_row *o = streams_offer(m, offer);
    if (o && o->any && strcmp(name, "any") == 0) {
        allow_found(m, o->name, name, "", ALLOW_ANY, ret);
        return 0;
    }
    struct span left = o ? o->allowed : SPAN_NONE;
    for (const char *id; (id = next_text(&left));)
        if (strcmp(name, id) == 0 || strcmp(name, petname_of(m, id)) == 0) {
            allow_found(m, o->name, name, id, ALLOW_LINK, ret);
            return 0;
        }
    return ERR_NOT_FOUND;
}

/* Parts of the key: offer, name, id, look */
static const char *allow_part(const struct inode *i, unsigned part)
{
    const char *at = (const char *)i->key;
    while (part--)
        at += strlen(at) + 1;
    return at;
}

static int allow_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    allow_found(m, allow_part(i, 0), allow_part(i, 1), allow_part(i, 2), (enum allow_look) * allow_part(i, 3), &f);
    request_attr(r, &f.attr, 0);
    return 0;
}

static int allow_readlink(struct mount *m, struct request *r, struct inode *i)
{
    char target[300];
    (void)m;
    if (*allow_part(i, 3) != ALLOW_LINK)
        return ERR_INVALID;
    snprintf(target, sizeof target, "../../../../peers/%s", allow_part(i, 2));
    request_readlink(r, target);
    return 0;
}

static int allow_open(struct mount *m, struct request *r, struct inode *i)
{
    handle_reply(m, r, handle_new(m, i, r->flags), OPEN_DIRECT | OPEN_NO_FLUSH);
    return 0;
}

static int allow_read(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    (void)i;
    request_data(r, SPAN_NONE);
    return 0;
}

/* touch and ">" on `any` */
static int allow_setattr(struct mount *m, struct request *r, struct inode *i)
{
    return r->set & ~(SET_SIZE | SET_MTIME | SET_OTHER) ? ERR_NOT_PERMITTED : allow_getattr(m, r, i);
}

const struct node_ops node_allow = {
    .op =
        {
            [OP_GETATTR] = allow_getattr,
            [OP_SETATTR] = allow_setattr,
            [OP_READLINK] = allow_readlink,
            [OP_OPEN] = allow_open,
            [OP_READ] = allow_read,
        },
    .absent = ERR_NOT_PERMITTED,
};

/* ---- <service>.sock ---- */

static void sock_found(const struct mount *m, struct span peer, const char *service, struct found *ret)
{
    int n =
        snprintf((char *)ret->key_bytes, sizeof ret->key_bytes, "%.*s%c%s", (int)peer.len, (const char *)peer.data, 0, service);
    ret->key = (struct inode_key){NODE_SOCK, 0, {ret->key_bytes, (size_t)n}};
    node_attr(m, &ret->attr, &ret->key, S_IFLNK | 0777, 0);
    ret->entry_timeout = ret->attr_timeout = 0;
}

static int sock_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    const char *peer = (const char *)i->key;
    size_t at = strlen(peer) + 1;
    char service[256];
    snprintf(service, sizeof service, "%.*s", (int)(i->key_len - at), (const char *)i->key + at);
    sock_found(m, span_str(peer), service, &f);
    request_attr(r, &f.attr, 0);
    return 0;
}

/* The socket is made when somebody asks where it is. */
static int sock_readlink(struct mount *m, struct request *r, struct inode *i)
{
    const char *peer = (const char *)i->key;
    size_t at = strlen(peer) + 1;
    char *file = mem_strn(span_from(inode_key_span(i), at)), line[400];
    const char *service = streams_service(m, span_str(peer), file);
    if (service)
        snprintf(line, sizeof line, "sock %s %s", peer, service);
    free(file);
    if (!service)
        return ERR_NOT_FOUND;
    int rc = command_run(m, r, line);
    if (rc < 0)
        return rc;
    struct ticket *t = r->state;
    char *target = mem_strn(buf_span(&t->answer));
    target[strcspn(target, "\n")] = 0;
    request_readlink(r, target);
    free(target);
    return 0;
}

const struct node_ops node_sock = {
    .op = {[OP_GETATTR] = sock_getattr, [OP_READLINK] = sock_readlink},
    .absent = ERR_NOT_PERMITTED,
};

static int peer_stream_find(struct mount *m, struct span peer, const char *name, struct found *ret)
{
    size_t len = strlen(name);
    const char *service = streams_service(m, peer, name);
    bool is_sock = len > 5 && strcmp(name + len - 5, ".sock") == 0 && (!service || service == name);
    char *stem = mem_strn(span_of(name, is_sock ? len - 5 : len));
    if (!streams_service(m, peer, stem)) {
        free(stem);
        return ERR_NOT_FOUND;
    }
    if (is_sock)
        sock_found(m, peer, stem, ret);
    else
        stream_file_found(m, STREAM_SERVICE, peer, span_str(name), ret);
    free(stem);
    return 0;
}

/* ---- lookup and listing ---- */

static int number_find(struct mount *m, struct span number, const char *name, struct found *ret)
{
    if (strcmp(name, "data") != 0)
        return ERR_NOT_FOUND;
    memcpy(ret->key_bytes, number.data, number.len);
    ret->key = (struct inode_key){NODE_STREAM, STREAM_DATA, {ret->key_bytes, number.len}};
    node_attr(m, &ret->attr, &ret->key, S_IFREG | 0600, 0);
    return 0;
}

/* What is not in the tables above */
static int find_more(struct mount *m, enum streams_dir dir, struct span key, const char *name, struct found *ret)
{
    const struct offer_row *o;
    switch (dir) {
    case STREAMS_ROOT:
        if (!streams_number(m, span_str(name)) && !conversation_find(m, span_str(name)))
            return ERR_NOT_FOUND;
        streams_found(m, STREAMS_NUMBER, span_str(name), ret);
        ret->entry_timeout = 0;
        return 0;
    case STREAMS_OFFERS:
        if (!streams_offer(m, span_str(name)))
            return ERR_NOT_FOUND;
        streams_found(m, STREAMS_OFFER, span_str(name), ret);
        return 0;
    case STREAMS_ALLOW:
        return allow_lookup(m, key, name, ret);
    case STREAMS_LIVE:
        o = streams_offer(m, span_str(name));
        if (!o || !is_live(o))
            return ERR_NOT_FOUND;
        stream_file_found(m, STREAM_LIVE_FEED, SPAN_NONE, span_str(name), ret);
        return 0;
    case STREAMS_NUMBER:
        return number_find(m, key, name, ret);
    case STREAMS_PEER:
        return peer_stream_find(m, key, name, ret);
    default:
        return ERR_NOT_FOUND;
    }
}

static int streams_find(struct mount *m, struct inode *i, const char *name, struct found *ret)
{
    struct span key = inode_key_span(i);
    if (strlen(name) > 200)
        return ERR_NOT_FOUND;
    for (size_t d = 0; d < sizeof dirs / sizeof *dirs; d++)
        if (dirs[d].in == i->sub && strcmp(dirs[d].name, name) == 0) {
            streams_found(m, dirs[d].dir, key, ret);
            return 0;
        }
    int sub = text_places[i->sub] >= 0 ? text_find((enum text_place)text_places[i->sub], name) : ERR_NOT_FOUND;
    if (sub < 0)
        return find_more(m, i->sub, key, name, ret);
    return text_found(m, (unsigned)sub, key, ret);
}

static void add_name(struct buf *out, const char *name)
{
    buf_add(out, name, strlen(name) + 1);
}

static void names_more(struct mount *m, const struct inode *i, struct buf *out)
{
    const struct service_table *t = m->services;
    struct span key = inode_key_span(i);
    const struct offer_row *o = i->sub == STREAMS_ALLOW ? streams_offer(m, key) : NULL;
    const struct peer_row *p = i->sub == STREAMS_PEER ? peers_find(m, key) : NULL;
    for (size_t n = 0; t && i->sub == STREAMS_ROOT && n < t->stream_count; n++)
        buf_printf(out, "%llu%c", (unsigned long long)t->streams[n].number, 0);
    for (size_t n = 0; t && n < t->offer_count; n++)
        if (i->sub == STREAMS_OFFERS || (i->sub == STREAMS_LIVE && is_live(&t->offers[n])))
            add_name(out, t->offers[n].name);
    if (o && o->any)
        add_name(out, "any");
    struct span left = o ? o->allowed : SPAN_NONE;
    for (const char *id; (id = next_text(&left));)
        add_name(out, petname_of(m, id));
    left = p ? p->services : SPAN_NONE;
    for (const char *file; (file = next_text(&left)); (void)next_text(&left)) {
        add_name(out, file);
        buf_printf(out, "%s.sock%c", file, 0);
    }
    if (i->sub == STREAMS_NUMBER)
        add_name(out, "data");
    if (i->sub == STREAMS_ROOT)
        conversation_names(m, out);
}

static void streams_names(struct mount *m, struct inode *i, struct buf *out)
{
    for (size_t d = 0; d < sizeof dirs / sizeof *dirs; d++)
        if (dirs[d].in == i->sub)
            add_name(out, dirs[d].name);
    for (unsigned id = 0; text_places[i->sub] >= 0 && id < TEXTS; id++)
        if (text_place_of(id) == (enum text_place)text_places[i->sub])
            add_name(out, text_name(id));
    names_more(m, i, out);
}

static int streams_getattr(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    streams_found(m, i->sub, inode_key_span(i), &f);
    request_attr(r, &f.attr, DIR_TIMEOUT);
    return 0;
}

int offer_is_there(struct mount *m, const struct request *r, const struct inode *i)
{
    return r->handle || streams_offer(m, inode_key_span(i)) ? 0 : ERR_STALE;
}

int stream_is_there(struct mount *m, const struct request *r, const struct inode *i)
{
    struct span number = inode_key_span(i);
    return r->handle || streams_number(m, number) || conversation_find(m, number) ? 0 : ERR_STALE;
}

static int streams_allowed(struct mount *m, const struct request *r, const struct inode *i)
{
    static node_allowed *const there[] = {
        [STREAMS_OFFER] = offer_is_there,
        [STREAMS_ALLOW] = offer_is_there,
        [STREAMS_NUMBER] = stream_is_there,
        [STREAMS_PEER] = peer_is_there,
    };
    return i->sub < sizeof there / sizeof *there && there[i->sub] ? there[i->sub](m, r, i) : 0;
}

/* ---- changes: commands ---- */

static bool is_word(const char *s)
{
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '/' || *p == '"' || *p == '\\')
            return false;
    return *s && strlen(s) <= 128;
}

static int change(struct mount *m, struct request *r, const char *verb, const char *first, const char *second)
{
    char line[400];
    if (!is_word(first) || (*second && !is_word(second)))
        return ERR_INVALID;
    snprintf(line, sizeof line, "%s %s%s%s", verb, first, *second ? " " : "", second);
    return command_run(m, r, line);
}

static int streams_mkdir(struct mount *m, struct request *r, struct inode *i)
{
    if (i->sub != STREAMS_OFFERS)
        return ERR_NOT_PERMITTED;
    if (!r->state && streams_offer(m, span_str(r->name)))
        return ERR_EXISTS;
    int rc = change(m, r, "offer", r->name, "none");
    if (rc < 0)
        return rc;
    struct found f = {0};
    streams_found(m, STREAMS_OFFER, span_str(r->name), &f);
    node_reply_found(m, r, &f);
    return 0;
}

static int streams_rmdir(struct mount *m, struct request *r, struct inode *i)
{
    if (i->sub != STREAMS_OFFERS)
        return ERR_NOT_PERMITTED;
    if (!r->state && !streams_offer(m, span_str(r->name)))
        return ERR_NOT_FOUND;
    int rc = change(m, r, "unoffer", r->name, "");
    if (rc == 0)
        request_error(r, 0);
    return rc;
}

static int streams_unlink(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    char *offer = mem_strn(inode_key_span(i));
    int rc = i->sub != STREAMS_ALLOW && i->sub != STREAMS_LIVE ? ERR_NOT_PERMITTED : 0;
    if (rc == 0 && !r->state)
        rc = streams_find(m, i, r->name, &f);
    if (rc == 0)
        rc = i->sub == STREAMS_LIVE ? change(m, r, "unoffer", r->name, "") : change(m, r, "deny", offer, r->name);
    free(offer);
    if (rc == 0)
        request_error(r, 0);
    return rc;
}

static int allow(struct mount *m, struct request *r, struct inode *i, enum allow_look look, struct found *ret)
{
    char *offer = mem_strn(inode_key_span(i));
    int rc = change(m, r, "allow", offer, r->name);
    const struct peer_row *p = peers_find(m, span_str(r->name));
    if (rc == 0 && strcmp(r->name, "any") == 0)
        allow_found(m, offer, r->name, "", ALLOW_ANY, ret);
    else if (rc == 0)
        allow_found(m, offer, r->name, p ? p->id : r->name, look, ret);
    free(offer);
    return rc;
}

/* ln -s ../../../../peers/alice allow/alice: the name says who; where it points to must agree. */
static int streams_symlink(struct mount *m, struct request *r, struct inode *i)
{
    struct found f = {0};
    const char *last = strrchr(r->name2, '/');
    if (i->sub != STREAMS_ALLOW)
        return ERR_NOT_PERMITTED;
    const struct peer_row *named = peers_find(m, span_str(r->name)),
                          *meant = peers_find(m, span_str(last ? last + 1 : r->name2));
    if (named && meant && named != meant)
        return ERR_INVALID;
    int rc = allow(m, r, i, ALLOW_LINK, &f);
    if (rc == 0)
        node_reply_found(m, r, &f);
    return rc;
}

static int create_allow(struct mount *m, struct request *r, struct inode *i, bool open)
{
    struct found f = {0};
    int rc = allow(m, r, i, ALLOW_FILE, &f);
    if (rc < 0)
        return rc;
    if (!open) {
        node_reply_found(m, r, &f);
        return 0;
    }
    struct inode *made = inode_get(m->inodes, &f.key);
    struct handle *h = handle_new(m, made, r->flags);
    struct request_entry e = {.node = made->number, .attr = f.attr};
    made->lookups++;
    if (!request_create(r, &e, (uint64_t)(uintptr_t)h, OPEN_DIRECT | OPEN_NO_FLUSH)) {
        inode_forget(m->inodes, made, 1);
        handle_free(m, h);
    }
    return 0;
}

/* A new name in live/: an offer that nobody may dial yet, and its feed. Two phases of one request. */
static int create_live(struct mount *m, struct request *r)
{
    struct stream_end *end;
    if (r->phase == 0) {
        if ((r->flags & O_ACCMODE) != O_WRONLY)
            return ERR_DENIED;
        int rc = change(m, r, "offer", r->name, "live");
        if (rc < 0)
            return rc;
        r->free_state(r->state);
        r->state = NULL;
        r->phase = 1;
    }
    int rc = stream_opening(m, r, &(struct stream_open){.use = STREAM_FEED, .service = (char *)(uintptr_t)r->name}, &end, NULL);
    if (rc < 0)
        return rc;
    struct found f = {0};
    stream_file_found(m, STREAM_LIVE_FEED, SPAN_NONE, span_str(r->name), &f);
    struct inode *i = inode_get(m->inodes, &f.key);
    struct handle *h = handle_new(m, i, r->flags);
    h->stream = end;
    struct request_entry e = {.node = i->number, .attr = f.attr};
    i->lookups++;
    if (!request_create(r, &e, (uint64_t)(uintptr_t)h, OPEN_DIRECT | OPEN_NO_SEEK)) {
        inode_forget(m->inodes, i, 1);
        handle_free(m, h);
    }
    return 0;
}

static int streams_create(struct mount *m, struct request *r, struct inode *i)
{
    if (i->sub == STREAMS_ALLOW)
        return create_allow(m, r, i, true);
    return i->sub == STREAMS_LIVE ? create_live(m, r) : ERR_NOT_PERMITTED;
}

static int streams_mknod(struct mount *m, struct request *r, struct inode *i)
{
    return i->sub == STREAMS_ALLOW && S_ISREG(r->mode) ? create_allow(m, r, i, false) : ERR_NOT_PERMITTED;
}

/* Listings are of now: the tables are told a few times a second, and whoever has just opened a stream looks for it. Others
 * bring them up to date, without a wait for anybody outside of this program. */
static int streams_opendir(struct mount *m, struct request *r, struct inode *i)
{
    bool first = r->phase++ == 0;
    if (first && (i->sub == STREAMS_ROOT || i->sub == STREAMS_PEER)) {
        int rc = command_run(m, r, "look");
        r->look_at = mono_after(mono_now(), LOOK_MOST);
        if (rc == ERR_AGAIN && r->state) /* it is on its way */
            return rc;
    }
    return node_opendir_small(m, r, i);
}

const struct node_ops node_streams = {
    .op =
        {
            [OP_LOOKUP] = node_lookup_small,
            [OP_GETATTR] = streams_getattr,
            [OP_OPENDIR] = streams_opendir,
            [OP_READDIR] = node_readdir_small,
            [OP_MKDIR] = streams_mkdir,
            [OP_RMDIR] = streams_rmdir,
            [OP_UNLINK] = streams_unlink,
            [OP_SYMLINK] = streams_symlink,
            [OP_CREATE] = streams_create,
            [OP_MKNOD] = streams_mknod,
        },
    .absent = ERR_NOT_PERMITTED,
    .allowed = streams_allowed,
    .find = streams_find,
    .names = streams_names,
};

/* ---- for .p2p/waiting ---- */

void streams_describe(const struct inode *i, struct buf *out)
{
    const char *key = (const char *)i->key;
    size_t first = strnlen(key, i->key_len);
    if (i->kind == NODE_STREAMS)
        buf_printf(out, "streams/%.*s", (int)i->key_len, key);
    else if (i->kind == NODE_STREAM && i->sub == STREAM_DATA)
        buf_printf(out, "streams/%.*s/data", (int)i->key_len, key);
    else if (i->kind == NODE_STREAM && i->sub == STREAM_LIVE_FEED)
        buf_printf(out, "streams/live/%s", key + 1);
    else if (i->kind == NODE_ALLOW)
        buf_printf(out, "streams/offer/%s/allow", key);
    else
        buf_printf(out, "peers/%s/streams/%.*s", key, (int)strnlen(key + first + 1, i->key_len - first - 1), key + first + 1);
}
