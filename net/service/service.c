/* SPDX-License-Identifier: MIT */
#include "net/service/service.h"

#include <assert.h>
#include <stdlib.h>

struct services {
    struct service_offer *offers[SERVICE_OFFERS_MAX];
    unsigned offer_count;
    struct service_forward *forwards[SERVICE_FORWARDS_MAX];
    unsigned forward_count;
    uint64_t forward_number;
    struct buf unread; /* what was loaded and not understood, as it is saved */
};

static void offer_free(struct service_offer *o)
{
    buf_done(&o->text);
    free(o->allowed);
    free(o);
}

static void forward_free(struct service_forward *f)
{
    buf_done(&f->text);
    free(f);
}

struct services *services_new(void)
{
    return MEM_NEW(struct services);
}

struct services *services_free(struct services *s)
{
    if (!s)
        return NULL;
    for (unsigned i = 0; i < s->offer_count; i++)
        offer_free(s->offers[i]);
    for (unsigned i = 0; i < s->forward_count; i++)
        forward_free(s->forwards[i]);
    buf_done(&s->unread);
    free(s);
    return NULL;
}

/* ---- to look at ---- */

struct service_offer *services_offer(const struct services *s, unsigned i)
{
    return i < s->offer_count ? s->offers[i] : NULL;
}

struct service_offer *services_find(const struct services *s, const char *name)
{
    for (unsigned i = 0; i < s->offer_count; i++)
        if (strcmp(s->offers[i]->name, name) == 0)
            return s->offers[i];
    return NULL;
}

struct service_offer *services_by_id(const struct services *s, const char *id)
{
    for (unsigned i = 0; i < s->offer_count; i++)
        if (strcmp(s->offers[i]->id, id) == 0)
            return s->offers[i];
    return NULL;
}

struct service_forward *services_forward(const struct services *s, unsigned i)
{
    return i < s->forward_count ? s->forwards[i] : NULL;
}

struct service_forward *services_find_forward(const struct services *s, const struct service_line *l)
{
    for (unsigned i = 0; i < s->forward_count; i++) {
        struct service_forward *f = s->forwards[i];
        if (f->kind != l->kind)
            continue;
        if (l->kind == SERVICE_UNIX ? span_eq_str(buf_span(&l->text), (const char *)buf_span(&f->text).data)
                                    : service_addr_eq(&f->addr, &l->addr))
            return f;
    }
    return NULL;
}

bool service_may(const struct service_offer *o, const struct peer_id *peer)
{
    bool may = o->any;
    for (unsigned i = 0; i < o->allowed_count && !may; i++)
        may = peer_id_eq(&o->allowed[i], peer);
    return may && o->kind != SERVICE_NONE;
}

unsigned services_allowed(const struct services *s, const struct peer_id *peer, const char *ret[SERVICE_OFFERS_MAX])
{
    unsigned count = 0;
    for (int streams = 0; streams < 2; streams++)
        for (unsigned i = 0; i < s->offer_count; i++)
            if ((s->offers[i]->kind != SERVICE_UDP) == streams && service_may(s->offers[i], peer))
                ret[count++] = s->offers[i]->id;
    return count;
}

bool services_name(const struct services *s, const struct peer_id *peer)
{
    for (unsigned i = 0; i < s->offer_count; i++)
        for (unsigned k = 0; k < s->offers[i]->allowed_count; k++)
            if (peer_id_eq(&s->offers[i]->allowed[k], peer))
                return true;
    return false;
}

bool services_forwards_to(const struct services *s, const struct peer_id *peer)
{
    for (unsigned i = 0; i < s->forward_count; i++)
        if (peer_id_eq(&s->forwards[i]->peer, peer))
            return true;
    return false;
}

/* ---- changes ---- */

/* The text of a line, with a NUL behind a path */
static void set_text(struct buf *to, const struct service_line *l)
{
    buf_done(to);
    buf_add_span(to, buf_span(&l->text));
    if (l->kind != SERVICE_EXEC)
        buf_add_u8(to, 0);
}

static int no_offer(const char *name, struct why *why)
{
    return why_set(why, ERR_NOT_FOUND, "no service '%s' is offered here", name);
}

static int apply_offer(struct services *s, const struct service_line *l, struct why *why)
{
    struct service_offer *o = services_find(s, l->name);
    if (!o && s->offer_count == SERVICE_OFFERS_MAX)
        return why_set(why, ERR_LIMIT, "%d services are offered already", SERVICE_OFFERS_MAX);
    if (!o) {
        o = s->offers[s->offer_count++] = MEM_NEW(struct service_offer);
        memcpy(o->name, l->name, sizeof o->name);
    }
    assert(!o->runtime);
    o->kind = l->kind;
    o->addr = l->addr;
    set_text(&o->text, l);
    service_id(o->name, o->kind == SERVICE_UDP, o->id);
    return 0;
}

static int apply_unoffer(struct services *s, const struct service_line *l, struct why *why)
{
    for (unsigned i = 0; i < s->offer_count; i++) {
        if (strcmp(s->offers[i]->name, l->name) != 0)
            continue;
        assert(!s->offers[i]->runtime);
        offer_free(s->offers[i]);
        memmove(s->offers + i, s->offers + i + 1, (--s->offer_count - i) * sizeof *s->offers);
        return 0;
    }
    return no_offer(l->name, why);
}

static int apply_allow(struct services *s, const struct service_line *l, struct why *why)
{
    struct service_offer *o = services_find(s, l->name);
    if (!o)
        return no_offer(l->name, why);
    if (peer_id_is_none(&l->peer)) {
        o->any = true;
        return 0;
    }
    for (unsigned i = 0; i < o->allowed_count; i++)
        if (peer_id_eq(&o->allowed[i], &l->peer))
            return 0;
    if (o->allowed_count == SERVICE_ALLOWED_MAX)
        return why_set(why, ERR_LIMIT, "%d peers may dial '%s' already", SERVICE_ALLOWED_MAX, l->name);
    o->allowed = mem_grow(o->allowed, o->allowed_count + 1, sizeof *o->allowed);
    o->allowed[o->allowed_count++] = l->peer;
    return 0;
}

static int apply_deny(struct services *s, const struct service_line *l, struct why *why)
{
    struct service_offer *o = services_find(s, l->name);
    if (!o)
        return no_offer(l->name, why);
    if (peer_id_is_none(&l->peer)) {
        o->any = false;
        return 0;
    }
    for (unsigned i = 0; i < o->allowed_count; i++)
        if (peer_id_eq(&o->allowed[i], &l->peer)) {
            memmove(o->allowed + i, o->allowed + i + 1, (--o->allowed_count - i) * sizeof *o->allowed);
            return 0;
        }
    return why_set(why, ERR_NOT_FOUND, "this peer was not on the list of '%s'", l->name);
}

static int apply_limit(struct services *s, const struct service_line *l, struct why *why)
{
    struct service_offer *o = services_find(s, l->name);
    if (!o)
        return no_offer(l->name, why);
    *(l->rate ? &o->rate_max : &o->connections_max) = l->number;
    return 0;
}

static int apply_forward(struct services *s, const struct service_line *l, struct why *why)
{
    if (services_find_forward(s, l))
        return why_set(why, ERR_EXISTS, "there is a forward from that place already");
    if (s->forward_count == SERVICE_FORWARDS_MAX)
        return why_set(why, ERR_LIMIT, "there are %d forwards already", SERVICE_FORWARDS_MAX);
    struct service_forward *f = s->forwards[s->forward_count++] = MEM_NEW(struct service_forward);
    f->number = ++s->forward_number;
    f->kind = l->kind;
    f->addr = l->addr;
    set_text(&f->text, l);
    f->peer = l->peer;
    memcpy(f->name, l->name, sizeof f->name);
    return 0;
}

static int apply_unforward(struct services *s, const struct service_line *l, struct why *why)
{
    struct service_forward *f = services_find_forward(s, l);
    if (!f)
        return why_set(why, ERR_NOT_FOUND, "there is no forward from that place");
    unsigned i = 0;
    while (s->forwards[i] != f)
        i++;
    assert(!f->runtime);
    forward_free(f);
    memmove(s->forwards + i, s->forwards + i + 1, (--s->forward_count - i) * sizeof *s->forwards);
    return 0;
}

int services_apply(struct services *s, const struct service_line *l, struct why *why)
{
    static int (*const applies[SERVICE_VERBS])(struct services * s, const struct service_line *l, struct why *why) = {
        [SERVICE_OFFER] = apply_offer,         [SERVICE_UNOFFER] = apply_unoffer, [SERVICE_ALLOW] = apply_allow,
        [SERVICE_DENY] = apply_deny,           [SERVICE_LIMIT] = apply_limit,     [SERVICE_FORWARD] = apply_forward,
        [SERVICE_UNFORWARD] = apply_unforward,
    };
    if (!applies[l->verb])
        return why_set(why, ERR_INVALID, "not a change of services");
    return applies[l->verb](s, l, why);
}

/* ---- as text ---- */

/* A line that borrows `text`, without the NUL of a path */
static struct service_line place_line(enum service_verb verb, enum service_kind kind, const struct service_addr *addr,
                                      const struct buf *text)
{
    struct service_line l = {.verb = verb, .kind = kind, .addr = *addr, .text = *text};
    if (kind != SERVICE_EXEC && buf_len(text))
        l.text.end--;
    return l;
}

/* The part behind `skip` words of the line */
static void print_behind(const struct service_line *l, unsigned skip, struct buf *out)
{
    struct buf line = BUF_INIT;
    service_line_print(l, &line);
    struct span s = buf_span(&line);
    for (; skip && s.len; s = span_from(s, 1))
        skip -= s.data[0] == ' ';
    buf_add_span(out, s);
    buf_done(&line);
}

void service_offer_text(const struct service_offer *o, struct buf *out)
{
    struct service_line l = place_line(SERVICE_OFFER, o->kind, &o->addr, &o->text);
    print_behind(&l, 1, out);
}

void service_forward_text(const struct service_forward *f, struct buf *out)
{
    struct service_line l = place_line(SERVICE_UNFORWARD, f->kind, &f->addr, &f->text);
    print_behind(&l, 1, out);
}

static void save_line(const struct service_line *l, struct buf *out)
{
    service_line_print(l, out);
    buf_add_u8(out, '\n');
}

static void save_offer(const struct service_offer *o, struct buf *out)
{
    struct service_line l = place_line(SERVICE_OFFER, o->kind, &o->addr, &o->text);
    memcpy(l.name, o->name, sizeof l.name);
    save_line(&l, out);
    l.verb = SERVICE_ALLOW;
    if (o->any)
        save_line(&l, out);
    for (unsigned i = 0; i < o->allowed_count; i++) {
        l.peer = o->allowed[i];
        save_line(&l, out);
    }
    l.verb = SERVICE_LIMIT;
    for (int rate = 0; rate < 2; rate++) {
        l.rate = rate;
        l.number = rate ? o->rate_max : o->connections_max;
        if (l.number)
            save_line(&l, out);
    }
}

void services_save(const struct services *s, struct buf *out)
{
    for (unsigned i = 0; i < s->offer_count; i++)
        save_offer(s->offers[i], out);
    for (unsigned i = 0; i < s->forward_count; i++) {
        const struct service_forward *f = s->forwards[i];
        struct service_line l = place_line(SERVICE_FORWARD, f->kind, &f->addr, &f->text);
        memcpy(l.name, f->name, sizeof l.name);
        l.peer = f->peer;
        save_line(&l, out);
    }
    buf_add_span(out, buf_span(&s->unread));
}

/* For people to look at. It does nothing by itself, also when what it needed is there again: whom it allowed something is to be
 * allowed it anew. */
static void keep_unread(struct services *s, struct span line)
{
    if (line.data[0] != '#')
        buf_add(&s->unread, "# ", 2);
    buf_add_span(&s->unread, line);
    buf_add_u8(&s->unread, '\n');
}

static int load_line(struct services *s, struct span line, struct why *why)
{
    struct service_line l;
    int r = service_line_parse(line, (struct service_names){0}, &l, why);
    if (r < 0)
        return r;
    r = services_apply(s, &l, why);
    service_line_done(&l);
    return r;
}

unsigned services_load(struct services *s, struct span text, struct why *why)
{
    unsigned bad = 0;
    while (text.len) {
        const uint8_t *nl = memchr(text.data, '\n', text.len);
        struct span line = span_sub(text, 0, nl ? (size_t)(nl - text.data) : text.len);
        text = span_from(text, line.len + 1);
        if (line.len == 0)
            continue;
        bool bad_one = line.data[0] != '#' && load_line(s, line, bad ? NULL : why) < 0;
        bad += bad_one;
        if (bad_one || line.data[0] == '#')
            keep_unread(s, line);
    }
    return bad;
}
