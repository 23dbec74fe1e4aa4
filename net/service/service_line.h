/* SPDX-License-Identifier: MIT
 *
 * The language in which services are set up: one command a line. Users write it (`p2p offer`, `p2p forward`, ctl files of
 * streams/), the state folder's file `services` is such lines, and the engine is told in it. Pure: text in, values out;
 * tests/fuzz/service_line_fuzz.c.
 *
 *   offer NAME KIND TARGET    KIND and TARGET: tcp [IP:]PORT, udp [IP:]PORT, unix PATH, exec PROGRAM [ARGUMENT…], file PATH,
 *                             echo, live, none (nobody can dial it yet)
 *   unoffer NAME
 *   allow NAME PEER           PEER: a peer id, a petname (with a resolver), or `any`
 *   deny NAME PEER            of `any`: the peers that are named still may
 *   limit NAME connections N  N: a number, 0 for none. `rate`: bytes a second for all streams of the service together
 *   forward KIND LISTEN PEER SERVICE     KIND: tcp, udp with [IP:]PORT (a bare port: 127.0.0.1), unix with PATH
 *   unforward KIND LISTEN
 *   hangup STREAM             a stream, by its number
 *
 * Words are separated by blanks; "…" keeps blanks in a word, and \ takes the next byte as it is. NAME is 1 to 64 bytes of
 * letters, digits, '.', '-' and '_', no dot in front. SERVICE may also have '/' inside and be any other node's.
 */
#ifndef NET_SERVICE_SERVICE_LINE_H
#define NET_SERVICE_SERVICE_LINE_H

#include "net/addr/peerid.h"

#define SERVICE_NAME_MAX  64
#define SERVICE_NAME_SIZE (SERVICE_NAME_MAX + 1)
#define SERVICE_LINE_MAX  4096 /* of one command, and of a target */
#define SERVICE_WORDS_MAX 64
#define SERVICE_ADDR_TEXT 64

/* The protocol ids: byte streams as Kubo's `ipfs p2p` has them; services of datagrams stand apart, so that who dials knows
 * which it gets. Never a prefix of each other: a name of a byte stream does not begin with "udp/". */
#define SERVICE_PREFIX     "/x/"
#define SERVICE_PREFIX_UDP "/x/udp/"
#define SERVICE_ID_SIZE    (sizeof SERVICE_PREFIX_UDP + SERVICE_NAME_MAX)

enum service_kind {
    SERVICE_TCP,
    SERVICE_UDP,
    SERVICE_UNIX,
    SERVICE_EXEC, /* text: the arguments, each with its NUL */
    SERVICE_FILE,
    SERVICE_ECHO,
    SERVICE_NONE, /* a name without a target yet: not listed to anybody */
    SERVICE_LIVE, /* one writer, many readers */
    SERVICE_KINDS
};
enum service_verb {
    SERVICE_OFFER,
    SERVICE_UNOFFER,
    SERVICE_ALLOW,
    SERVICE_DENY,
    SERVICE_LIMIT,
    SERVICE_FORWARD,
    SERVICE_UNFORWARD,
    SERVICE_HANGUP,
    SERVICE_VERBS
};

struct service_addr {
    bool v6;
    uint8_t ip[16]; /* v4: the first four */
    uint16_t port;
};

struct service_line {
    enum service_verb verb;
    enum service_kind kind;       /* OFFER, FORWARD, UNFORWARD */
    char name[SERVICE_NAME_SIZE]; /* of the offer; FORWARD: the peer's service */
    struct service_addr addr;     /* tcp, udp */
    struct buf text;              /* path (without NUL) or arguments */
    struct peer_id peer;          /* FORWARD, ALLOW, DENY; none: any */
    bool rate;                    /* LIMIT: the rate, else connections */
    uint64_t number;              /* LIMIT, HANGUP */
};

/* Who a petname is; `find` NULL: only peer ids are understood */
struct service_names {
    bool (*find)(void *arg, const char *name, struct peer_id *ret);
    void *arg;
};

/* ERR_INVALID with a sentence. On success service_line_done is due. */
int service_line_parse(struct span line, struct service_names names, struct service_line *ret, struct why *why);
void service_line_done(struct service_line *l);
/* The line again, with peer ids, without a newline; parses to the same. Appends. */
void service_line_print(const struct service_line *l, struct buf *out);
/* The commands, a line each: what reading a ctl file shows. Appends. */
void service_line_help(struct buf *out);

int service_name_check(struct span name, bool of_ours, struct why *why); /* 0 or ERR_INVALID */
/* The id on the wire; returns `id`. */
char *service_id(const char *name, bool datagrams, char id[SERVICE_ID_SIZE]);
/* Is it one of ours, and what does it name? `name` borrows from id. */
bool service_id_parse(const char *id, const char **ret_name, bool *ret_datagrams);

/* "22", "127.0.0.1:22", "[::1]:22", "localhost:22". ERR_INVALID with a sentence. */
int service_addr_parse(const char *text, struct service_addr *ret, struct why *why);
char *service_addr_text(const struct service_addr *a, char text[SERVICE_ADDR_TEXT]); /* returns text */
bool service_addr_is_loopback(const struct service_addr *a);
bool service_addr_eq(const struct service_addr *a, const struct service_addr *b);
const char *service_kind_name(enum service_kind k);

#endif
