/* SPDX-License-Identifier: MIT */
#include "cmd/dns/leases.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct peer_id id_of(unsigned n)
{
    struct peer_id id = {.len = 38, .bytes = {0, 36, 8, 1, 0x12, 0x20}};
    id.bytes[20] = (uint8_t)n;
    id.bytes[21] = (uint8_t)(n >> 8);
    return id;
}

Test(leases, stable_and_apart)
{
    struct peer_id self = id_of(9999), other_self = id_of(9998), a = id_of(1), b = id_of(2);
    struct leases *l = leases_new(&self);
    uint32_t ip = leases_get(l, &a, "", 5)->ip;
    cr_expect_eq(leases_get(l, &a, "", 6)->ip, ip);
    cr_expect_eq(leases_get(l, &a, "", 7)->used, 7);
    cr_expect_neq(leases_get(l, &b, "", 8)->ip, ip);
    cr_expect_neq(leases_get(l, &a, "web", 8)->ip, ip);
    uint32_t web = leases_get(l, &a, "web", 9)->ip;
    leases_free(l);
    l = leases_new(&self); /* asked in another order */
    cr_expect_eq(leases_get(l, &a, "web", 1)->ip, web);
    cr_expect_eq(leases_get(l, &a, "", 1)->ip, ip);
    leases_free(l);
    l = leases_new(&other_self);
    cr_expect_neq(leases_get(l, &a, "", 1)->ip, ip, "two nodes on one machine");
    leases_free(l);
}

Test(leases, range_and_limit)
{
    struct peer_id self = id_of(0);
    struct leases *l = leases_new(&self);
    struct lease *kept = NULL;
    for (unsigned n = 0; n < LEASES_MAX + 50; n++) {
        struct peer_id peer = id_of(n);
        struct lease *x = leases_get(l, &peer, "", 100 + n);
        cr_assert_not_null(x);
        cr_assert(x->ip >> LEASE_BITS == LEASE_FIRST >> LEASE_BITS && (x->ip & 0xff) != 0 && (x->ip & 0xff) != 255);
        if (n == 0) {
            kept = x;
            x->held = 1;
        }
    }
    unsigned count = 0;
    bool seen = false, second = false;
    struct peer_id one = id_of(1);
    for (struct lease *x; (x = leases_at(l, count)); count++) {
        seen = seen || x == kept;
        second = second || peer_id_eq(&x->peer, &one);
        for (unsigned i = 0; i < count; i++)
            cr_assert_neq(leases_at(l, i)->ip, x->ip);
        x->held = 1;
    }
    cr_expect_eq(count, LEASES_MAX);
    cr_expect(seen, "held: stays though it is the oldest");
    cr_expect_not(second, "the oldest of the others went");
    cr_expect_null(leases_get(l, &one, "", 9999), "all are held");
    leases_free(l);
}

/* Two that want the same address: the second gets the next. The ids were found by trying. */
Test(leases, collision)
{
    struct peer_id self = id_of(7);
    uint32_t *first = mem_array(UINT32_C(1) << LEASE_BITS, sizeof *first);
    unsigned a = 0, b = 0;
    for (unsigned n = 1; n < 65536 && !b; n++) {
        struct peer_id peer = id_of(n);
        struct leases *l = leases_new(&self);
        uint32_t at = leases_get(l, &peer, "", 1)->ip & ((UINT32_C(1) << LEASE_BITS) - 1);
        a = first[at];
        b = a ? n : 0;
        first[at] = n;
        leases_free(l);
    }
    free(first);
    cr_assert(b, "65,535 ids in 4 million places: about 500 pairs");
    struct peer_id pa = id_of(a), pb = id_of(b);
    struct leases *l = leases_new(&self);
    uint32_t one = leases_get(l, &pa, "", 1)->ip, two = leases_get(l, &pb, "", 1)->ip;
    cr_expect(two > one && two - one <= 3, "%x %x", one, two);
    cr_expect_eq(leases_get(l, &pa, "", 2)->ip, one);
    cr_expect_eq(leases_get(l, &pb, "", 2)->ip, two);
    leases_free(l);
}
