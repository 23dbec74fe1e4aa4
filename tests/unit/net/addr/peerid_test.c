/* SPDX-License-Identifier: MIT */
#include "net/addr/peerid.h"

#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

/* base58 and CID texts of js-libp2p */
static const struct {
    const char *hex, *text, *cid;
} ids[] = {
    {"0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
     "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
     "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6"},
    {"002508021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99",
     "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
     "bafzaajiiaijcca3xo7uzjzcsyilaj6i54cj44qk7kqzpoao5rti2pjx6udtdbp6kte"},
    {"122006b3608aa000274049eb28ad8e793a26ff6fab281a7d3bd77cd18eb745dfaabb", "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
     NULL},
};

Test(peerid, forms)
{
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct buf b = BUF_INIT;
        struct peer_id p, q;
        char text[PEER_ID_TEXT_SIZE], cid[PEER_ID_CID_SIZE], brief[PEER_ID_SHORT_SIZE];
        hex_add(&b, ids[i].hex);
        cr_assert_eq(peer_id_parse(buf_span(&b), &p), 0);
        cr_assert_str_eq(peer_id_text(&p, text), ids[i].text);
        cr_assert_eq(peer_id_from_text(span_str(ids[i].text), &q, NULL), 0);
        cr_assert(peer_id_eq(&p, &q));
        cr_assert_eq(memcmp(&p, &q, sizeof p), 0, "the unused bytes are zero");
        if (ids[i].cid) {
            cr_assert_eq(peer_id_from_text(span_str(ids[i].cid), &q, NULL), 0);
            cr_assert(peer_id_eq(&p, &q));
        }
        cr_assert_eq(peer_id_cid_text(&p, cid)[0], 'k');
        cr_assert_eq(peer_id_from_text(span_str(cid), &q, NULL), 0);
        cr_assert(peer_id_eq(&p, &q));
        cr_assert_str_eq(peer_id_short(&p, brief), ids[i].text + strlen(ids[i].text) - 8);
        for (size_t n = 0; n < buf_len(&b); n++)
            cr_assert_eq(peer_id_parse(span_sub(buf_span(&b), 0, n), &q), ERR_INVALID);
        buf_add_u8(&b, 0);
        cr_assert_eq(peer_id_parse(buf_span(&b), &q), ERR_INVALID, "too long");
        buf_done(&b);
    }
    struct peer_id none = {0};
    char text[PEER_ID_CID_SIZE];
    cr_assert(peer_id_is_none(&none));
    cr_assert_str_eq(peer_id_text(&none, text), "-");
    cr_assert_str_eq(peer_id_cid_text(&none, text), "-");
    cr_assert_str_eq(peer_id_short(&none, text), "-");
}

Test(peerid, refused)
{
    static const char *const texts[] = {
        "",
        "1",
        "Qm",
        "12D3KooW",
        "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJ0",              /* 0 is not of base58 */
        "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", /* a raw CID */
        "hello",
        "k",
        "zzzz",
        "/p2p/x",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct peer_id p;
        struct why why = {""};
        cr_assert_eq(peer_id_from_text(span_str(texts[i]), &p, &why), ERR_INVALID, "%s", texts[i]);
        cr_assert_neq(why.text[0], 0);
    }
    static const char *const hex[] = {"",     "00",   "0000",   "1200",
                                      "1220", "002b", "1321aa", "11140102030405060708091011121314151617181920"};
    for (size_t i = 0; i < sizeof hex / sizeof *hex; i++) {
        struct buf b = BUF_INIT;
        struct peer_id p;
        hex_add(&b, hex[i]);
        cr_assert_eq(peer_id_parse(buf_span(&b), &p), ERR_INVALID, "%s", hex[i]);
        buf_done(&b);
    }
}

Test(peerid, order_and_keys)
{
    struct peer_id a, b, c;
    uint8_t key[43] = {1};
    struct span inlined;
    peer_id_of_key(span_of(key, 42), &a);
    cr_assert_eq(a.len, 44);
    cr_assert(peer_id_inline_key(&a, &inlined));
    cr_assert(span_eq(inlined, span_of(key, 42)));
    cr_assert_eq(peer_id_parse(peer_id_span(&a), &b), 0);
    peer_id_of_key(span_of(key, 43), &b);
    cr_assert_eq(b.len, 34);
    cr_assert(!peer_id_inline_key(&b, &inlined));
    cr_assert_lt(peer_id_cmp(&a, &b), 0);
    cr_assert_eq(peer_id_cmp(&a, &a), 0);
    key[41] = 1;
    peer_id_of_key(span_of(key, 42), &c);
    cr_assert_neq(peer_id_mix(&a), peer_id_mix(&c));
    cr_assert(!peer_id_eq(&a, &c));
}
