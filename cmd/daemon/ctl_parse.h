/* SPDX-License-Identifier: MIT
 *
 * What the words of a control request mean, before anything is done: numbers, paths, the operation of an upload, lines of
 * orders. The node's user wrote them, so each refusal is a sentence that names what is wrong. Called by the handlers of
 * the control socket and by order.h, on the control thread; tests/fuzz/control_fuzz.c. Pure: text in, values out, spans borrow.
 */
#ifndef CMD_DAEMON_CTL_PARSE_H
#define CMD_DAEMON_CTL_PARSE_H

#include "store/content/cid.h"

/* Decimal digits and nothing else, below 2^64. ERR_INVALID. */
int ctl_parse_u64(const char *text, uint64_t *ret);

/* `share[/a/b]`, or a CID, or `[/]ipfs/<cid>[/a/b]`. */
struct ctl_path {
    bool is_share;
    struct cid root;  /* unless is_share */
    const char *rest; /* points into `text`: of share the whole without a leading slash, otherwise what follows the CID */
};
/* ERR_INVALID with a sentence. */
int ctl_parse_path(const char *text, struct ctl_path *ret, struct why *why);

/* What follows /v1/add/ and /v1/import/: "17/data" → 17, "data"; "17" → 17, "". ERR_INVALID. */
int ctl_parse_upload(const char *rest, uint64_t *ret_id, const char **ret_op);

#define ORDER_WORDS    8
#define ORDER_LINE_MAX 4096

/* The commands; order.c carries them out by a table in this order, .p2p/ctl shows them. */
#define ORDERS(X)                                                                                                              \
    X(CONNECT, "connect", "ADDRESS|PEER", "connect to a peer", 1, 1)                                                           \
    X(DISCONNECT, "disconnect", "PEER", "close every connection to a peer", 1, 1)                                              \
    X(PING, "ping", "PEER", "measure the way to a peer", 1, 1)                                                                 \
    X(PEER, "peer", "PEER VERB", "connect, disconnect, ping, forget, protect or unprotect a peer", 2, 2)                       \
    X(PETNAME, "petname", "NAME ID|-", "name a peer, or take the name away", 2, 2)                                             \
    X(LIMITS, "limits", "NAME VALUE", "memory, quota, upload, download or connections", 2, 2)                                  \
    X(PROVIDERS, "providers", "CID", "who delivered it: the source of the block, or -, and the peers it came from", 1, 1)      \
    X(PIN, "pin", "CID [NAME]", "keep a DAG", 1, 2)                                                                            \
    X(UNPIN, "unpin", "CID", "no longer keep it", 1, 1)                                                                        \
    X(GC, "gc", "", "drop what nothing refers to", 0, 0)                                                                       \
    X(RELOAD, "reload", "", "read the config file again", 0, 0)                                                                \
    X(NETWORK, "network", "", "look at the network interfaces again", 0, 0)                                                    \
    X(LOOK, "look", "", "tell the mount what there is now of peers and streams", 0, 0)

enum order_verb {
#define X(verb, word, operands, help, least, most) ORDER_##verb,
    ORDERS(X)
#undef X
        ORDER_COUNT
};

struct order_line {
    enum order_verb verb;
    unsigned count;           /* words, the command itself the first */
    char *words[ORDER_WORDS]; /* point into the line */
};

/* Cuts `line` into words. ERR_INVALID with a sentence: empty, too long, an unknown command, not its number of operands. */
int ctl_parse_order(char *line, struct order_line *ret, struct why *why);
/* The commands as text, a line each: what reading .p2p/ctl shows. Appends. */
void ctl_order_help(struct buf *out);

#endif
