/* SPDX-License-Identifier: MIT */
#include "net/host/host_sources.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct cid block(unsigned n)
{
    uint8_t hash[34] = {0x12, 0x20};
    struct cid c;
    memcpy(hash + 2, &n, sizeof n);
    cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, span_of(hash, sizeof hash)), 0);
    return c;
}

static struct peer_id peer(unsigned n)
{
    uint8_t key[36] = {8, 1, 18, 32};
    struct peer_id id;
    memcpy(key + 4, &n, sizeof n);
    peer_id_of_key(span_of(key, sizeof key), &id);
    return id;
}

/* "itself" or "below", then the numbers of the peers */
static char *known(const struct host_sources *s, unsigned n)
{
    static char text[64];
    struct peer_id ids[HOST_PROVIDERS_MAX];
    struct cid c = block(n);
    bool itself = false;
    unsigned count = host_sources_find(s, &c, ids, &itself);
    size_t len = (size_t)snprintf(text, sizeof text, "%s", count == 0 ? "nobody" : itself ? "itself" : "below");
    for (unsigned i = 0; i < count; i++)
        for (unsigned p = 0; p < 1000; p++) {
            struct peer_id id = peer(p);
            if (peer_id_eq(&id, &ids[i]))
                len += (size_t)snprintf(text + len, sizeof text - len, " %u", p);
        }
    return text;
}

static void note(struct host_sources *s, unsigned n, unsigned p, bool itself)
{
    struct cid c = block(n);
    struct peer_id id = peer(p);
    host_sources_note(s, &c, &id, itself);
}

Test(host_sources, the_source_is_first_and_others_follow)
{
    struct host_sources *s = host_sources_new(1);
    cr_assert_str_eq(known(s, 1), "nobody");
    note(s, 1, 10, false);
    cr_assert_str_eq(known(s, 1), "below 10");
    note(s, 1, 11, true);
    cr_assert_str_eq(known(s, 1), "itself 11 10");
    note(s, 1, 12, false);
    note(s, 1, 11, false);
    note(s, 1, 10, false);
    cr_assert_str_eq(known(s, 1), "itself 11 12 10");
    note(s, 1, 13, false);
    note(s, 1, 14, false);
    cr_assert_str_eq(known(s, 1), "itself 11 14 13 12");
    note(s, 1, 12, true); /* it was fetched once more, from another */
    cr_assert_str_eq(known(s, 1), "itself 12 11 14 13");
    cr_assert_str_eq(known(s, 2), "nobody");
    host_sources_free(s);
}

Test(host_sources, a_peer_that_gives_way_is_not_taken_for_another)
{
    struct host_sources *s = host_sources_new(1);
    note(s, 1, 0, true);
    note(s, 1, 1, false);
    for (unsigned p = 2; p < HOST_SOURCE_PEERS; p++)
        note(s, 2, p, true);
    cr_assert_str_eq(known(s, 1), "itself 0 1");
    note(s, 3, HOST_SOURCE_PEERS, true);
    cr_assert_str_eq(known(s, 1), "below 1");
    note(s, 3, HOST_SOURCE_PEERS + 1, true);
    cr_assert_str_eq(known(s, 1), "nobody");
    cr_assert_str_eq(known(s, 3), "itself 257 256");
    host_sources_free(s);
}

Test(host_sources, a_flood_of_blocks_takes_the_places_of_older_ones)
{
    struct host_sources *s = host_sources_new(1);
    unsigned left = 0;
    note(s, UINT32_MAX, 5, true);
    for (unsigned n = 0; n < 20 * HOST_SOURCES_MAX; n++) {
        note(s, n, n % 7, true);
        note(s, UINT32_MAX, 6, false); /* the root of them all stays */
    }
    cr_assert_str_eq(known(s, 20 * HOST_SOURCES_MAX - 1), "itself 5");
    cr_assert_str_eq(known(s, UINT32_MAX), "itself 5 6");
    for (unsigned n = 0; n < HOST_SOURCES_MAX; n++)
        left += strcmp(known(s, n), "nobody") != 0;
    cr_assert_lt(left, 10);
    host_sources_free(s);
}
