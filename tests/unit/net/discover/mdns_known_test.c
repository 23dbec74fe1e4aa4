/* SPDX-License-Identifier: MIT */
#include "net/discover/mdns_known.h"

#include <criterion/criterion.h>
#include <stdio.h>

static void put(struct mdns_known_table *t, const char *name, unsigned iface, mono_ns now, uint32_t ttl)
{
    struct mdns_known k = {.iface = iface, .heard = now};
    snprintf(k.name, sizeof k.name, "%s", name);
    mdns_known_put(t, &k, ttl);
}

Test(mdns_known, fresh_for_half_of_its_time)
{
    struct mdns_known_table t = {0};
    put(&t, "a", 1, 1000 * MONO_S, 120);
    struct mdns_known *k = mdns_known_find(&t, 1, "a");
    cr_assert(k && !mdns_known_find(&t, 2, "a") && !mdns_known_find(&t, 1, "b"));
    cr_assert(mdns_known_fresh(k, 1, 1059 * MONO_S));
    cr_assert(!mdns_known_fresh(k, 2, 1001 * MONO_S), "of that interface only");
    cr_assert(!mdns_known_fresh(k, 1, 1060 * MONO_S));
    cr_assert(!mdns_known_fresh(k, 1, 1130 * MONO_S));
    put(&t, "a", 1, 1100 * MONO_S, 120);
    cr_assert(mdns_known_fresh(k, 1, 1110 * MONO_S), "heard again, in its own row");
    put(&t, "long", 1, 0, UINT32_MAX);
    cr_assert_eq(mdns_known_find(&t, 1, "long")->until, (mono_ns)MDNS_KNOWN_TTL_MOST * MONO_S);
    mdns_known_doubt(&t, 2);
    cr_assert(mdns_known_fresh(k, 1, 1110 * MONO_S));
    mdns_known_doubt(&t, 1);
    cr_assert(!mdns_known_fresh(k, 1, 1110 * MONO_S), "our address there changed");
    put(&t, "a", 1, 1111 * MONO_S, 120);
    cr_assert(mdns_known_fresh(k, 1, 1112 * MONO_S), "it has answered since");
    mdns_known_drop(k);
    cr_assert(!mdns_known_find(&t, 1, "a"));
}

Test(mdns_known, a_full_table_gives_up_what_ends_first)
{
    struct mdns_known_table t = {0};
    char name[16];
    for (unsigned i = 0; i < MDNS_KNOWN_MAX; i++) {
        snprintf(name, sizeof name, "n%u", i);
        put(&t, name, 1, MONO_S, i == 7 ? 10 : 120);
    }
    put(&t, "new", 1, MONO_S, 120);
    cr_assert(mdns_known_find(&t, 1, "new") && !mdns_known_find(&t, 1, "n7") && mdns_known_find(&t, 1, "n0"));
}
