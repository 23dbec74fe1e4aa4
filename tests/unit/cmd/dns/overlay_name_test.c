/* SPDX-License-Identifier: MIT */
#include "cmd/dns/overlay_name.h"

#include "store/content/cid.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define ALICE "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
#define BOB   "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"
#define SELF  "12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRzMKKXqsmZqvp"
#define CAROL "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN" /* RSA: the id is a hash */

/* alice, bob and two whose names differ in case alone have petnames; ALICE and CAROL are known by their ids. */
static const struct {
    const char *name, *id;
} named[] = {{"alice", ALICE}, {"Bob", BOB}, {"Twin", ALICE}, {"twin", BOB}, {"a.dot", CAROL}, {"j\xc3\xb6rg", CAROL}};
static const char *const known[] = {ALICE, CAROL};

static const char *petname_at(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    if (i >= sizeof named / sizeof *named)
        return NULL;
    cr_assert_eq(peer_id_from_text(span_str(named[i].id), ret, NULL), 0);
    return named[i].name;
}

static const char *id_at(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    if (i >= sizeof known / sizeof *known)
        return NULL;
    cr_assert_eq(peer_id_from_text(span_str(known[i]), ret, NULL), 0);
    return known[i];
}

static struct peer_id self;
static const struct peer_book book = {NULL, petname_at, id_at, &self};

static void expect(const char *name, enum overlay_kind kind, const char *peer, const char *service)
{
    struct overlay_name n;
    char id[PEER_ID_TEXT_SIZE];
    cr_assert_eq(peer_id_from_text(span_str(SELF), &self, NULL), 0);
    overlay_name_read(name, &book, &n);
    cr_expect_eq(n.kind, kind, "%s is kind %d", name, (int)n.kind);
    if (kind >= OVERLAY_SELF)
        cr_expect_str_eq(peer_id_text(&n.peer, id), peer, "%s", name);
    if (n.kind == OVERLAY_SERVICE || n.kind == OVERLAY_SRV)
        cr_expect_str_eq(n.service, service, "%s", name);
}

Test(overlay_name, shapes)
{
    static const struct {
        const char *left;
        enum overlay_kind kind;
        const char *peer, *service;
    } rows[] = {
        {"alice", OVERLAY_PEER, ALICE, ""},
        {"ALICE", OVERLAY_PEER, ALICE, ""},
        {"bob", OVERLAY_PEER, BOB, ""},
        {"Bob", OVERLAY_PEER, BOB, ""},
        {"Twin", OVERLAY_PEER, ALICE, ""},
        {"twin", OVERLAY_PEER, BOB, ""},
        {"TWIN", OVERLAY_UNKNOWN, "", ""}, /* whose? */
        {"a.dot", OVERLAY_PEER, CAROL, ""},
        {"web.a.dot", OVERLAY_SERVICE, CAROL, "web"},
        {"dot", OVERLAY_UNKNOWN, "", ""},
        {"j\xc3\xb6rg", OVERLAY_PEER, CAROL, ""},
        {"web.alice", OVERLAY_SERVICE, ALICE, "web"},
        {"WEB.Alice", OVERLAY_SERVICE, ALICE, "web"},
        {"x.web.alice", OVERLAY_UNKNOWN, "", ""},
        {"a.b.c.alice", OVERLAY_UNKNOWN, "", ""},
        {"_ssh._tcp.alice", OVERLAY_SRV, ALICE, "ssh"},
        {"_SSH._TCP.alice", OVERLAY_SRV, ALICE, "ssh"},
        {"_ssh._udp.alice", OVERLAY_SRV, ALICE, "ssh"},
        {"_UDP._Udp.alice", OVERLAY_SRV, ALICE, "udp"},
        {"ssh._udp.alice", OVERLAY_UNKNOWN, "", ""},
        {"_tcp.alice", OVERLAY_EMPTY, ALICE, ""},
        {"_udp.alice", OVERLAY_EMPTY, ALICE, ""},
        {"_dnslink.alice", OVERLAY_DNSLINK, ALICE, ""},
        {"_DNSLink.web.alice", OVERLAY_UNKNOWN, "", ""},
        {"_other.alice", OVERLAY_UNKNOWN, "", ""},
        {"ssh._tcp.alice", OVERLAY_UNKNOWN, "", ""},
        {"_._tcp.alice", OVERLAY_UNKNOWN, "", ""},
        {"_ssh._sctp.alice", OVERLAY_UNKNOWN, "", ""},
        {"_x._ssh._tcp.alice", OVERLAY_UNKNOWN, "", ""},
        {"nobody", OVERLAY_UNKNOWN, "", ""},
        {"localhost", OVERLAY_SELF, SELF, ""},
        {"LocalHost", OVERLAY_SELF, SELF, ""},
        {"_dnslink.localhost", OVERLAY_DNSLINK, SELF, ""},
        {"web.localhost", OVERLAY_UNKNOWN, "", ""},
        {"_ssh._tcp.localhost", OVERLAY_UNKNOWN, "", ""},
        {"_tcp.localhost", OVERLAY_UNKNOWN, "", ""},
        {SELF, OVERLAY_SELF, SELF, ""},
        {"web." SELF, OVERLAY_UNKNOWN, "", ""},
        {"_dnslink." SELF, OVERLAY_DNSLINK, SELF, ""},
    };
    char name[300];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const char *const suffixes[] = {"overlay", "OVERLAY", "overlay.alt", "Overlay.ALT"};
        for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
            snprintf(name, sizeof name, "%s.%s", rows[i].left, suffixes[k]);
            expect(name, rows[i].kind, rows[i].peer, rows[i].service);
        }
    }
}

Test(overlay_name, other_suffixes)
{
    static const char *const foreign[] = {
        "",          "example.com",         "alice", "overlay.com",   "alice.overlays", "xoverlay", "alt",
        "alice.alt", "alice.overlay.alt.x", "local", "alicexoverlay", "overlay.alt.com"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        expect(foreign[i], OVERLAY_FOREIGN, "", "");
    expect("overlay", OVERLAY_SUFFIX, "", "");
    expect("OVERLAY.alt", OVERLAY_SUFFIX, "", "");
    struct overlay_name n;
    overlay_name_read("alice.overlay.alt", &book, &n);
    cr_expect(n.alt);
    overlay_name_read("alice.overlay", &book, &n);
    cr_expect(!n.alt);
    overlay_name_read("_a._udp.alice.overlay", &book, &n);
    cr_expect(n.datagrams);
    overlay_name_read("_a._tcp.alice.overlay", &book, &n);
    cr_expect_not(n.datagrams);
}

static void change_case(char *text, bool up)
{
    for (; *text; text++)
        if (up ? *text >= 'a' && *text <= 'z' : *text >= 'A' && *text <= 'Z')
            *text ^= 0x20;
}

/* Ids survive a resolver that changes letters when the peer is known, and always as a CID. */
Test(overlay_name, ids)
{
    char name[300], cid[PEER_ID_CID_SIZE];
    struct peer_id bob, rsa;
    cr_assert_eq(peer_id_from_text(span_str(BOB), &bob, NULL), 0);
    cr_assert_eq(peer_id_from_text(span_str(CAROL), &rsa, NULL), 0);
    snprintf(name, sizeof name, "ssh.%s.overlay", ALICE);
    expect(name, OVERLAY_SERVICE, ALICE, "ssh");
    for (int up = 0; up < 2; up++) {
        change_case(name, up);
        expect(name, OVERLAY_SERVICE, ALICE, "ssh");
    }
    snprintf(name, sizeof name, "%s.overlay", BOB);
    expect(name, OVERLAY_PEER, BOB, "");
    change_case(name, false);
    expect(name, OVERLAY_UNKNOWN, "", "");
    cr_expect_leq(strlen(peer_id_cid_text(&bob, cid)), 63, "one label");
    snprintf(name, sizeof name, "%s.overlay", cid);
    expect(name, OVERLAY_PEER, BOB, "");
    change_case(name, true);
    expect(name, OVERLAY_PEER, BOB, "");
    cr_expect_leq(strlen(peer_id_cid_text(&rsa, cid)), 63);
    snprintf(name, sizeof name, "_http._tcp.%s.overlay", cid);
    change_case(name, true);
    expect(name, OVERLAY_SRV, CAROL, "http");
    struct cid as_cid;
    char base32[CID_TEXT_SIZE];
    cr_assert_eq(cid_from_hash(&as_cid, 1, CODEC_LIBP2P_KEY, peer_id_span(&rsa)), 0);
    cr_expect_eq(strlen(cid_text(&as_cid, base32)), 59);
    snprintf(name, sizeof name, "%s.overlay", base32);
    expect(name, OVERLAY_PEER, CAROL, "");
    change_case(name, true);
    expect(name, OVERLAY_PEER, CAROL, "");
    expect("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy.overlay", OVERLAY_UNKNOWN, "", "");
}

Test(overlay_name, long_texts)
{
    char name[300];
    memset(name, 'a', sizeof name);
    memcpy(name + 270, ".alice.overlay", 15);
    expect(name, OVERLAY_FOREIGN, "", "");
    expect(name + 100, OVERLAY_UNKNOWN, "", "");
    expect(name + 270 - 64, OVERLAY_UNKNOWN, "", "");
    cr_assert_eq(strlen(name + 270 - 63) - strlen(".alice.overlay"), 63);
    struct overlay_name n;
    overlay_name_read(name + 270 - 63, &book, &n);
    cr_expect(n.kind == OVERLAY_SERVICE && strlen(n.service) == 63);
}
