/* SPDX-License-Identifier: MIT */
#include "net/service/turns.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64

struct entry {
    struct turn turn;
    char name;
    uint64_t ip;
    bool local;
    const void *service;
};

static struct turns turns;
static struct entry entries[MOST];
static unsigned count;

static const char ssh[] = "ssh", web[] = "web";

static void add(char name, uint64_t ip, bool local, const void *service)
{
    struct entry *e = &entries[count++];
    *e = (struct entry){.name = name, .ip = ip, .local = local, .service = service};
    turns_add(&turns, &e->turn, ip, local, service);
}

/* So many turns as names; each comes again at once */
static const char *give(unsigned n)
{
    static char names[256];
    for (unsigned i = 0; i < n; i++) {
        struct entry *e = (struct entry *)turns_next(&turns);
        cr_assert(e);
        names[i] = e->name;
        turns_add(&turns, &e->turn, e->ip, e->local, e->service);
    }
    names[n] = 0;
    return names;
}

Test(turns, by_address_then_by_service)
{
    turns_init(&turns);
    add('a', 1, false, web);
    add('b', 1, false, web);
    add('c', 1, false, ssh);
    add('d', 2, false, web);
    cr_assert_str_eq(give(8), "adcdbdcd", "address 2 has every other turn; on 1 ssh has as many as all of web");
    turns_done(&turns);
}

Test(turns, local_addresses_yield_but_do_not_starve)
{
    turns_init(&turns);
    add('l', 10, true, web);
    add('r', 1, false, web);
    const char *names = give(80);
    unsigned local = 0;
    for (unsigned i = 0; i < 80; i++)
        local += names[i] == 'l';
    cr_assert_eq(local, 80 / TURNS_LOCAL_ONE_IN);
    turns_remove(&turns, &entries[1].turn);
    cr_assert_str_eq(give(3), "lll", "alone it has them all");
    turns_done(&turns);
}

Test(turns, adding_twice_is_once_and_removing_leaves_the_others)
{
    turns_init(&turns);
    add('a', 1, false, web);
    add('b', 1, false, web);
    add('c', 2, false, web);
    turns_add(&turns, &entries[0].turn, 1, false, web);
    turns_remove(&turns, &entries[1].turn);
    turns_remove(&turns, &entries[1].turn);
    cr_assert_str_eq(give(4), "acac");
    turns_remove(&turns, &entries[0].turn);
    turns_remove(&turns, &entries[2].turn);
    cr_assert(turns_empty(&turns));
    cr_assert_null(turns_next(&turns));
    add('d', 1, false, web);
    cr_assert_str_eq(give(1), "d");
    turns_done(&turns);
}

Test(turns, random_operations_lose_nobody)
{
    bool entry_is_local[MOST] = {false};
    unsigned seed = 1, waiting = 0;
    turns_init(&turns);
    memset(entries, 0, sizeof entries);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        struct entry *e = &entries[(seed >> 16) % MOST];
        unsigned op = (seed >> 24) % 3;
        if (op == 0) {
            waiting += !e->turn.in;
            if (!e->turn.in)
                entry_is_local[(seed >> 16) % MOST] = (seed >> 12) % 2;
            turns_add(&turns, &e->turn, (seed >> 8) % 5, (seed >> 12) % 2, (seed >> 14) % 2 ? ssh : web);
        } else if (op == 1) {
            waiting -= e->turn.in != NULL;
            turns_remove(&turns, &e->turn);
        } else {
            struct turn *t = turns_next(&turns);
            cr_assert_eq(t != NULL, waiting > 0);
            waiting -= t != NULL;
        }
        cr_assert_eq(turns_empty(&turns), waiting == 0);
        bool local = waiting > 0, none = waiting == 0;
        for (unsigned n = 0; n < MOST; n++)
            local &= !entries[n].turn.in || entry_is_local[n];
        cr_assert_eq(turns_only_local(&turns), local && !none);
    }
    turns_done(&turns);
}
