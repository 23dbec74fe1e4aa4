/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/petnames.h"

#include "store/repo/repo.h"
#include "tests/lib/short_memory.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ALICE "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
#define BOB   "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"

static char dir[] = "/tmp/p2p-petnames-XXXXXX";
static char path[64];

static void setup(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/petnames", dir);
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

static struct peer_id id_of(const char *text)
{
    struct peer_id id;
    cr_assert_eq(peer_id_from_text(span_str(text), &id, NULL), 0);
    return id;
}

Test(petnames, life, .init = setup, .fini = teardown)
{
    struct petnames *p = NULL;
    struct why why = {""};
    struct peer_id alice = id_of(ALICE), bob = id_of(BOB), got;
    cr_assert_eq(petnames_open(&p, path, &why), 0, "no file: no names");
    cr_expect_str_eq(petname_of(p, &alice), "");
    cr_assert_eq(petname_set(p, "alice", &alice, &why), 0, "%s", why.text);
    cr_assert_eq(petname_set(p, "bob", &bob, &why), 0);
    cr_assert_eq(petname_set(p, "carol", &alice, &why), 0, "another name for the same peer takes the old one's place");
    cr_expect_not(petname_find(p, "alice", &got));
    petnames_free(p);
    cr_assert_eq(petnames_open(&p, path, &why), 0, "%s", why.text);
    cr_expect_str_eq(petname_of(p, &alice), "carol");
    cr_expect(petname_find(p, "bob", &got) && peer_id_eq(&got, &bob));
    cr_assert_eq(petname_set(p, "bob", NULL, &why), 0);
    cr_assert_eq(petname_set(p, "bob", NULL, &why), ERR_NOT_FOUND);
    cr_expect_str_eq(petname_of(p, &bob), "");
    petnames_free(p);
}

Test(petnames, refused_names, .init = setup, .fini = teardown)
{
    static const char *const bad[] = {"",     "a/b", "a b",
                                      "a\tb", "a\n", ".hidden",
                                      "\x7f", ALICE, "0123456789012345678901234567890123456789012345678901234567890123"};
    struct petnames *p = NULL;
    struct why why = {""};
    struct peer_id alice = id_of(ALICE);
    cr_assert_eq(petnames_open(&p, path, &why), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(petname_set(p, bad[i], &alice, &why), ERR_INVALID, "'%s'", bad[i]);
    cr_expect_eq(petname_set(p, "any", &alice, &why), ERR_INVALID, "everybody");
    cr_expect_str_eq(petname_of(p, &alice), "");
    petnames_free(p);
}

Test(petnames, damaged_files, .init = setup, .fini = teardown)
{
    static const char *const bad[] = {"alice", "alice\t", "\t" ALICE, "alice\tnonsense\n", "a b\t" ALICE, "ok\t" ALICE "\nx\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct petnames *p = NULL;
        struct why why = {""};
        cr_assert_eq(repo_write_file(path, bad[i], strlen(bad[i]), 0600, &why), 0);
        cr_expect_eq(petnames_open(&p, path, &why), ERR_CORRUPT, "'%s'", bad[i]);
        cr_expect(strstr(why.text, path), "the sentence names the file");
    }
}

Test(petnames, as_it_was_when_it_cannot_be_written, .init = setup, .fini = teardown)
{
    struct petnames *p = NULL;
    struct why why = {""};
    struct peer_id alice = id_of(ALICE), bob = id_of(BOB), got;
    cr_assert_eq(petnames_open(&p, path, &why), 0);
    cr_assert_eq(petname_set(p, "alice", &alice, &why), 0);
    short_memory_from = 0;
    cr_expect_eq(petname_set(p, "alice", &bob, &why), ERR_NO_MEMORY);
    cr_expect_eq(petname_set(p, "bob", &alice, &why), ERR_NO_MEMORY);
    cr_expect_eq(petname_set(p, "alice", NULL, &why), ERR_NO_MEMORY);
    short_memory_from = SIZE_MAX;
    cr_expect(petname_find(p, "alice", &got) && peer_id_eq(&got, &alice));
    cr_expect_not(petname_find(p, "bob", &got));
    petnames_free(p);
}
