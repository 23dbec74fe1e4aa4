/* SPDX-License-Identifier: MIT
 *
 * Sockets, Noise and Yamux by hand. Sending reads what comes meanwhile, so that two sides that both wait for room do not stop
 * each other: unless the link is deaf, which is an attack. */
#include "net/negotiate/multistream.h"
#include "store/base/uvarint.h"
#include "tests/hostile/hostile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEAL_AT ((size_t)32 * 1024) /* enough for a Noise frame */

static const char *const security_ids[] = {"/noise"};
static const char *const muxer_ids[] = {"/yamux/1.0.0"};

static unsigned short_of_ms(mono_ns t)
{
    return (unsigned)((t + MONO_MS - 1) / MONO_MS);
}

int hostile_dial(struct hostile *h)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int yes = 1;
    if (h->target.first_source.s_addr) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(ntohl(h->target.first_source.s_addr) + h->turn++ % h->target.sources);
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
            goto fail;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(h->target.port), .sin_addr = h->target.ip};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        goto fail;
    hostile_begun();
    return fd;
fail:
    hostile_begun();
    close(fd);
    return -1;
}

bool link_dial(struct link *l, struct hostile *h)
{
    *l = (struct link){.h = h, .fd = hostile_dial(h)};
    if (l->fd >= 0)
        return true;
    hostile_note(h, GOT_REFUSED);
    return false;
}

static void parse_frames(struct link *l);

/* Takes what is there. false: the node closed. */
static bool take(struct link *l)
{
    if (l->closed)
        return false;
    uint8_t *at = buf_reserve(&l->raw, 65536);
    ssize_t n = recv(l->fd, at, 65536, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        l->closed = true;
        return false;
    }
    buf_commit(&l->raw, (size_t)n);
    l->h->tally.received += (uint64_t)n;
    if (l->secured) /* before, the handshake reads it */
        parse_frames(l);
    return true;
}

static bool ready_for(struct link *l, short events, mono_ns time)
{
    struct pollfd p = {.fd = l->fd, .events = events};
    return poll(&p, 1, (int)short_of_ms(time)) > 0;
}

bool link_send(struct link *l, struct span bytes)
{
    mono_ns stall = mono_now() + LINK_STALL;
    while (bytes.len && !l->closed && mono_now() < stall) {
        ssize_t n = send(l->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (n > 0) {
            bytes = span_from(bytes, (size_t)n);
            l->h->tally.sent += (uint64_t)n;
            stall = mono_now() + LINK_STALL;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            while (!l->deaf && take(l) && ready_for(l, POLLIN, 0)) /* its last words */
                ;
            l->closed = true;
        } else {
            (void)ready_for(l, (short)(POLLOUT | (l->deaf ? 0 : POLLIN)), 50 * MONO_MS);
        }
        if (!l->deaf && !l->closed && ready_for(l, POLLIN, 0))
            (void)take(l);
        if (hostile_over(l->h))
            break;
    }
    l->stalled |= bytes.len && !l->closed && mono_now() >= stall;
    return bytes.len == 0;
}

bool link_wait(struct link *l, mono_ns time)
{
    mono_ns end = mono_now() + time;
    for (mono_ns now = mono_now(); !l->closed && now < end; now = mono_now())
        if (ready_for(l, POLLIN, end - now))
            (void)take(l);
    return l->closed;
}

void link_fin(struct link *l)
{
    (void)shutdown(l->fd, SHUT_WR); /* closed already: as wished */
}

void link_end(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->noise = noise_free(l->noise);
    buf_done(&l->raw);
    buf_done(&l->plain);
    buf_done(&l->out);
}

void link_verdict(struct link *l)
{
    uint64_t before = l->received;
    l->deaf = false;
    if (!l->closed && !l->resets)
        (void)link_wait(l, LINK_LISTEN);
    bool nothing = !l->closed && !l->resets;
    if (nothing && hostile_over(l->h) && l->h->tally.rounds)
        (void)0; /* cut short by the end: it says nothing about the node */
    else if (l->goaway && l->goaway_code)
        hostile_note(l->h, GOT_GOAWAY);
    else if (l->closed)
        hostile_note(l->h, GOT_CLOSED);
    else if (l->resets)
        hostile_note(l->h, GOT_RESET);
    else if (l->stalled)
        hostile_note(l->h, GOT_THROTTLED);
    else
        hostile_note(l->h, l->received > before || l->pongs ? GOT_ANSWERED : GOT_IGNORED);
    link_end(l);
}

/* ---- security ---- */

static bool more_raw(struct link *l)
{
    return ready_for(l, POLLIN, LINK_STALL) && take(l);
}

/* The dialer's side of multistream, up to the agreement on /noise */
bool link_agree(struct link *l, struct hostile *h, const struct identity *who)
{
    if (!link_dial(l, h))
        return false;
    l->identity = *who;
    struct noise_config cfg = {
        .initiator = true, .identity = &l->identity, .muxers = muxer_ids, .muxer_count = 1, .rng = &h->rng};
    l->noise = noise_new(&cfg);
    struct multistream ms;
    multistream_init_dialer(&ms, (struct multistream_table){security_ids, 1});
    struct buf out = BUF_INIT;
    (void)multistream_output(&ms, &out);
    bool ok = link_send(l, buf_span(&out));
    int r = 0;
    while (ok && r == 0) {
        struct span in = buf_span(&l->raw);
        size_t had = in.len;
        r = multistream_input(&ms, &in);
        buf_consume(&l->raw, had - in.len);
        if (r == 0)
            ok = more_raw(l);
    }
    buf_done(&out);
    multistream_done(&ms);
    if (ok && r > 0)
        return true;
    hostile_note(h, GOT_REFUSED);
    link_end(l);
    return false;
}

bool link_handshake(struct link *l)
{
    struct buf out = BUF_INIT;
    int r = 0;
    bool ok = true;
    while (ok && r == 0) {
        size_t had = buf_len(&l->raw);
        r = noise_handshake(l->noise, &l->raw, &out);
        had = buf_len(&l->raw) < had ? buf_len(&l->raw) : had;
        ok = link_send(l, buf_span(&out));
        buf_clear(&out);
        if (ok && r == 0 && buf_len(&l->raw) == had) /* sending may have received */
            ok = more_raw(l);
    }
    buf_done(&out);
    l->secured = ok && r > 0;
    return l->secured;
}

bool link_secure(struct link *l, struct hostile *h)
{
    struct identity who;
    identity_new(&who, &h->rng);
    if (!link_agree(l, h, &who))
        return false;
    if (link_handshake(l)) {
        parse_frames(l);
        return true;
    }
    hostile_note(h, GOT_REFUSED);
    link_end(l);
    return false;
}

/* ---- frames ---- */

static void put_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void mux_frame(struct link *l, unsigned type, unsigned flags, uint32_t id, uint32_t length)
{
    uint8_t head[12] = {0, (uint8_t)type, (uint8_t)(flags >> 8), (uint8_t)flags};
    put_u32(head + 4, id);
    put_u32(head + 8, length);
    buf_add(&l->out, head, sizeof head);
}

void mux_data(struct link *l, unsigned flags, uint32_t id, struct span data)
{
    mux_frame(l, MUX_DATA, flags, id, (uint32_t)data.len);
    buf_add_span(&l->out, data);
}

void mux_open(struct link *l, uint32_t id, const char *protocol)
{
    struct buf hello = BUF_INIT;
    buf_add_str(&hello, "\x13/multistream/1.0.0\n");
    buf_add_uvarint(&hello, strlen(protocol) + 1);
    buf_add_str(&hello, protocol);
    buf_add_u8(&hello, '\n');
    mux_data(l, MUX_SYN, id, buf_span(&hello));
    buf_done(&hello);
}

bool mux_flush(struct link *l)
{
    struct buf sealed = BUF_INIT;
    while (buf_len(&l->out)) {
        struct span part = span_sub(buf_span(&l->out), 0, NOISE_PLAIN_MAX);
        noise_encrypt(l->noise, &part, 1, &sealed);
        buf_consume(&l->out, part.len);
    }
    bool ok = link_send(l, buf_span(&sealed));
    buf_done(&sealed);
    return ok;
}

bool mux_flush_some(struct link *l)
{
    return buf_len(&l->out) < SEAL_AT || mux_flush(l);
}

/* Enough of the other direction to see what the node does, and to be taken for alive */
static void on_frame(struct link *l, const uint8_t *head)
{
    unsigned flags = head[3];
    uint32_t id = get_u32(head + 4), length = get_u32(head + 8);
    if (head[1] == MUX_PING && (flags & MUX_SYN))
        mux_frame(l, MUX_PING, MUX_ACK, 0, length); /* goes with the next flush */
    else if (head[1] == MUX_PING)
        l->pongs++;
    else if (head[1] == MUX_GOAWAY) {
        l->goaway = true;
        l->goaway_code = length;
    } else {
        l->resets += (flags & MUX_RST) != 0;
        l->opened += (flags & MUX_SYN) != 0;
        if (head[1] == MUX_DATA && length && !l->deaf)
            mux_frame(l, MUX_WINDOW, 0, id, length);
    }
}

static void parse_frames(struct link *l)
{
    struct span part;
    while (noise_decrypt(l->noise, &l->raw, &part) > 0)
        buf_add_span(&l->plain, part);
    for (;;) {
        struct span in = buf_span(&l->plain);
        if (in.len < 12)
            return;
        size_t body = in.data[1] == MUX_DATA ? get_u32(in.data + 8) : 0;
        if (in.len < 12 + body)
            return;
        l->received += body;
        on_frame(l, in.data);
        buf_consume(&l->plain, 12 + body);
    }
}
