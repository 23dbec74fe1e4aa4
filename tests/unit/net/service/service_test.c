/* SPDX-License-Identifier: MIT */
#include "net/service/service.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define BOB   "12D3KooWGEwxFBiwhBZJ3u2BHiHJ4gznU2pKCGpxUSHFMnwpwn6G"
#define CAROL "12D3KooW9xFmqTGLPcKtAAGvkJ31KhCDoqNAwMgkHdbnrrshHLb1"

static struct peer_id peer(const char *text)
{
    struct peer_id id;
    cr_assert_eq(peer_id_from_text(span_str(text), &id, NULL), 0);
    return id;
}

static int apply(struct services *s, const char *text)
{
    struct service_line l;
    struct why why = {""};
    cr_assert_eq(service_line_parse(span_str(text), (struct service_names){0}, &l, &why), 0, "%s: %s", text, why.text);
    int r = services_apply(s, &l, &why);
    cr_assert(r == 0 || why.text[0], "a refusal has a sentence");
    service_line_done(&l);
    return r;
}

static void must(struct services *s, const char *text)
{
    cr_assert_eq(apply(s, text), 0, "%s", text);
}

Test(service, nobody_may_until_allowed)
{
    struct services *s = services_new();
    struct peer_id bob = peer(BOB), carol = peer(CAROL);
    const char *ids[SERVICE_OFFERS_MAX];
    must(s, "offer ssh tcp 22");
    must(s, "offer dns udp 53");
    cr_assert_eq(services_allowed(s, &bob, ids), 0);
    must(s, "allow ssh " BOB);
    cr_assert_eq(services_allowed(s, &bob, ids), 1);
    cr_assert_str_eq(ids[0], "/x/ssh");
    cr_assert_eq(services_allowed(s, &carol, ids), 0);
    must(s, "allow dns any");
    cr_assert_eq(services_allowed(s, &carol, ids), 1);
    cr_assert_str_eq(ids[0], "/x/udp/dns");
    cr_assert_eq(services_allowed(s, &bob, ids), 2);
    cr_assert_str_eq(ids[0], "/x/udp/dns", "first, also when it was offered last");
    must(s, "deny dns any");
    must(s, "deny ssh " BOB);
    cr_assert_eq(services_allowed(s, &bob, ids), 0);
    cr_assert_eq(apply(s, "deny ssh " BOB), ERR_NOT_FOUND);
    cr_assert_eq(apply(s, "allow gone any"), ERR_NOT_FOUND);
    services_free(s);
}

Test(service, a_new_target_keeps_who_is_allowed)
{
    struct services *s = services_new();
    must(s, "offer web tcp 80");
    must(s, "allow web any");
    must(s, "offer web unix /run/web");
    struct service_offer *o = services_find(s, "web");
    cr_assert(o->any);
    cr_assert_eq(o->kind, SERVICE_UNIX);
    cr_assert_str_eq((const char *)buf_span(&o->text).data, "/run/web");
    must(s, "unoffer web");
    cr_assert_eq(apply(s, "unoffer web"), ERR_NOT_FOUND);
    services_free(s);
}

Test(service, forwards_are_one_for_each_place)
{
    struct services *s = services_new();
    struct peer_id bob = peer(BOB), carol = peer(CAROL);
    must(s, "forward tcp 2222 " BOB " ssh");
    cr_assert_eq(apply(s, "forward tcp 2222 " CAROL " ssh"), ERR_EXISTS);
    must(s, "forward udp 2222 " BOB " ssh");
    must(s, "forward unix /tmp/x " BOB " ssh");
    cr_assert_eq(apply(s, "forward unix /tmp/x " BOB " web"), ERR_EXISTS);
    cr_assert(services_forwards_to(s, &bob));
    cr_assert_not(services_forwards_to(s, &carol));
    must(s, "unforward unix /tmp/x");
    cr_assert_eq(apply(s, "unforward unix /tmp/x"), ERR_NOT_FOUND);
    services_free(s);
}

Test(service, saved_and_loaded_is_the_same)
{
    static const char text[] = "offer ssh tcp 127.0.0.1:22\nallow ssh any\nallow ssh " BOB "\nlimit ssh connections 5\n"
                               "limit ssh rate 1000\noffer x exec /bin/echo \"a b\" \"\"\noffer f file \"/a \\\"b\\\"\"\n"
                               "forward tcp 0.0.0.0:80 " BOB " web\nforward unix /tmp/x " CAROL " db\n";
    struct services *s = services_new();
    struct why why = {""};
    struct buf out = BUF_INIT;
    cr_assert_eq(services_load(s, span_str(text), &why), 0, "%s", why.text);
    services_save(s, &out);
    cr_assert_str_eq(buf_cstr(&out), text);
    buf_clear(&out);
    service_offer_text(services_find(s, "x"), &out);
    cr_assert_str_eq(buf_cstr(&out), "exec /bin/echo \"a b\" \"\"");
    buf_clear(&out);
    service_forward_text(services_forward(s, 1), &out);
    cr_assert_str_eq(buf_cstr(&out), "unix /tmp/x");
    buf_done(&out);
    services_free(s);
}

Test(service, damaged_lines_are_skipped)
{
    struct services *s = services_new();
    struct why why = {""};
    cr_assert_eq(services_load(s, span_str("offer a echo\nnonsense\nallow b any\n\noffer c echo"), &why), 2);
    cr_assert(strstr(why.text, "nonsense"), "the first of them: %s", why.text);
    cr_assert(services_find(s, "a") && services_find(s, "c"));
    services_free(s);
}

/* Nor do they go with the next save; and what they allowed is not allowed to another offer of that name. */
Test(service, damaged_lines_are_saved)
{
    static const char text[] = "offer a echo\noffor b echo\nallow b any\n# said by somebody\noffer c echo";
    static const char saved[] = "offer a echo\noffer c echo\n# offor b echo\n# allow b any\n# said by somebody\n";
    struct why why = {""};
    struct buf out = BUF_INIT, again = BUF_INIT;
    struct services *s = services_new();
    cr_assert_eq(services_load(s, span_str(text), &why), 2);
    services_save(s, &out);
    cr_assert_str_eq(buf_cstr(&out), saved);
    services_free(s);
    s = services_new();
    cr_assert_eq(services_load(s, buf_span(&out), &why), 0);
    services_save(s, &again);
    cr_assert_str_eq(buf_cstr(&again), saved);
    must(s, "offer b echo");
    cr_assert_eq(services_find(s, "b")->any, false);
    buf_done(&out);
    buf_done(&again);
    services_free(s);
}

Test(service, is_bounded)
{
    struct services *s = services_new();
    char line[64];
    for (int i = 0; i < SERVICE_OFFERS_MAX; i++) {
        (void)snprintf(line, sizeof line, "offer s%d echo", i);
        must(s, line);
    }
    cr_assert_eq(apply(s, "offer more echo"), ERR_LIMIT);
    must(s, "offer s1 live");
    services_free(s);
}
