/* SPDX-License-Identifier: MIT */
#include "cmd/dns/overlay_name.h"

#include "net/wire/dns_packet.h"

#include <strings.h>

#define SUFFIX       "overlay"
#define SUFFIX_ALT   "overlay.alt"
#define SELF         "localhost"
#define FRONT_LABELS 2  /* before a peer */
#define ID_LEAST     40 /* shorter texts are no id in base58 */

/* Is `name` below `suffix` or equal to it? Then the length of what stands before, without the dot. */
static bool ends_in(const char *name, const char *suffix, size_t *ret_left)
{
    size_t n = strlen(name), s = strlen(suffix);
    if (n < s || strcasecmp(name + n - s, suffix) != 0 || (n > s && name[n - s - 1] != '.'))
        return false;
    *ret_left = n > s ? n - s - 1 : 0;
    return true;
}

static void lower_text(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text + ('a' - 'A'));
}

static bool find_petname(const char *text, const struct peer_book *book, struct peer_id *ret)
{
    struct peer_id id, like;
    const char *name;
    unsigned alike = 0;
    for (unsigned i = 0; (name = book->petname(book->arg, i, &id)); i++) {
        if (strcasecmp(name, text) != 0)
            continue;
        like = id;
        if (strcmp(name, text) == 0) {
            alike = 1;
            break;
        }
        alike++;
    }
    if (alike == 1)
        *ret = like;
    return alike == 1;
}

static bool find_known_id(const char *text, const struct peer_book *book, struct peer_id *ret)
{
    struct peer_id id;
    const char *known;
    for (unsigned i = 0; strlen(text) >= ID_LEAST && (known = book->id(book->arg, i, &id)); i++)
        if (strcasecmp(known, text) == 0) {
            *ret = id;
            return true;
        }
    return false;
}

/* CIDs in base32 and base36 have no case: 'b', 'k'. Other bases of CIDs are not taken for names. */
static bool find_cid(const char *text, struct peer_id *ret)
{
    char lowered[DNS_NAME_SIZE];
    if (strlen(text) >= sizeof lowered || !strchr("bBkK", *text))
        return false;
    memcpy(lowered, text, strlen(text) + 1);
    lower_text(lowered);
    return peer_id_from_text(span_str(lowered), ret, NULL) == 0;
}

bool overlay_peer_find(const char *text, const struct peer_book *book, struct peer_id *ret)
{
    if (!*text)
        return false;
    if (strcasecmp(text, SELF) == 0) {
        *ret = *book->self;
        return true;
    }
    if (find_petname(text, book, ret) || find_known_id(text, book, ret) || find_cid(text, ret))
        return true;
    return (*text == '1' || *text == 'Q') && peer_id_from_text(span_str(text), ret, NULL) == 0;
}

/* What stands before a peer: 0 to 2 labels, "_ssh._tcp." → the kind, and the service */
static enum overlay_kind read_front(const char *front, struct overlay_name *ret)
{
    char labels[FRONT_LABELS][OVERLAY_SERVICE_MAX + 1] = {"", ""};
    unsigned count = 0;
    while (*front) {
        size_t len = strcspn(front, ".");
        if (count == FRONT_LABELS || len > OVERLAY_SERVICE_MAX)
            return OVERLAY_UNKNOWN;
        memcpy(labels[count], front, len);
        labels[count][len] = 0;
        lower_text(labels[count++]);
        front += len + (front[len] == '.');
    }
    if (!count)
        return OVERLAY_PEER;
    const char *last = labels[count - 1];
    bool tcp = strcmp(last, "_tcp") == 0, udp = strcmp(last, "_udp") == 0;
    if (count == 1 && strcmp(last, "_dnslink") == 0)
        return OVERLAY_DNSLINK;
    if (count == 1 && (tcp || udp))
        return OVERLAY_EMPTY;
    if (count == 1 ? *labels[0] == '_' : (!tcp && !udp) || labels[0][0] != '_' || !labels[0][1])
        return OVERLAY_UNKNOWN;
    memcpy(ret->service, labels[0] + (count - 1), strlen(labels[0]) + 1 - (count - 1));
    ret->datagrams = count == 2 && udp;
    return count == 1 ? OVERLAY_SERVICE : OVERLAY_SRV;
}

static enum overlay_kind of_self(enum overlay_kind kind)
{
    return kind == OVERLAY_PEER ? OVERLAY_SELF : kind == OVERLAY_DNSLINK ? kind : OVERLAY_UNKNOWN;
}

void overlay_name_read(const char *name, const struct peer_book *book, struct overlay_name *ret)
{
    char left[DNS_NAME_SIZE];
    size_t len;
    *ret = (struct overlay_name){.kind = OVERLAY_FOREIGN};
    if (strlen(name) >= sizeof left)
        return;
    ret->alt = ends_in(name, SUFFIX_ALT, &len);
    if (!ret->alt && !ends_in(name, SUFFIX, &len))
        return;
    memcpy(left, name, len);
    left[len] = 0;
    ret->kind = len ? OVERLAY_UNKNOWN : OVERLAY_SUFFIX;
    char *peer = left;
    for (unsigned i = 0; len && peer && i <= FRONT_LABELS; i++) {
        if (overlay_peer_find(peer, book, &ret->peer)) {
            peer[peer > left ? -1 : 0] = 0;
            ret->kind = read_front(left, ret);
            if (peer_id_eq(&ret->peer, book->self))
                ret->kind = of_self(ret->kind);
            return;
        }
        peer = strchr(peer, '.');
        peer = peer ? peer + 1 : NULL;
    }
}
