/* SPDX-License-Identifier: MIT */
#include "net/service/service_line.h"

#include <criterion/criterion.h>

#define BOB "12D3KooWGEwxFBiwhBZJ3u2BHiHJ4gznU2pKCGpxUSHFMnwpwn6G"

static bool find(void *arg, const char *name, struct peer_id *ret)
{
    (void)arg;
    return strcmp(name, "bob") == 0 && peer_id_from_text(span_str(BOB), ret, NULL) == 0;
}
static const struct service_names names = {find, NULL};

/* `text` parses, and prints as `again` */
static void good(const char *text, const char *again)
{
    struct service_line l;
    struct why why = {""};
    struct buf out = BUF_INIT;
    cr_assert_eq(service_line_parse(span_str(text), names, &l, &why), 0, "%s: %s", text, why.text);
    service_line_print(&l, &out);
    cr_assert_str_eq(buf_cstr(&out), again);
    service_line_done(&l);
    buf_done(&out);
}

static void bad(const char *text, const char *says)
{
    struct service_line l;
    struct why why = {""};
    cr_assert_eq(service_line_parse(span_str(text), names, &l, &why), ERR_INVALID, "%s", text);
    cr_assert(strstr(why.text, says), "%s: %s", text, why.text);
}

Test(service_line, reads_and_prints)
{
    static const char *const rows[][2] = {
        {"offer ssh tcp 22", "offer ssh tcp 127.0.0.1:22"},
        {"  offer\tssh tcp localhost:22\n", "offer ssh tcp 127.0.0.1:22"},
        {"offer nas tcp 192.168.1.9:445", "offer nas tcp 192.168.1.9:445"},
        {"offer v6 udp [::1]:53", "offer v6 udp [::1]:53"},
        {"offer db unix /run/db.sock", "offer db unix /run/db.sock"},
        {"offer f file \"/a b/c\"", "offer f file \"/a b/c\""},
        {"offer f file /a\\ b", "offer f file \"/a b\""},
        {"offer x exec /bin/sh -c \"echo \\\"hi\\\"\" \"\"", "offer x exec /bin/sh -c \"echo \\\"hi\\\"\" \"\""},
        {"offer e echo", "offer e echo"},
        {"offer cam live", "offer cam live"},
        {"unoffer ssh", "unoffer ssh"},
        {"allow ssh bob", "allow ssh " BOB},
        {"allow ssh any", "allow ssh any"},
        {"deny ssh " BOB, "deny ssh " BOB},
        {"limit ssh connections 4", "limit ssh connections 4"},
        {"limit ssh rate 0", "limit ssh rate 0"},
        {"forward tcp 2222 bob ssh", "forward tcp 127.0.0.1:2222 " BOB " ssh"},
        {"forward tcp 0.0.0.0:80 bob web/v1", "forward tcp 0.0.0.0:80 " BOB " web/v1"},
        {"forward unix /tmp/s bob db", "forward unix /tmp/s " BOB " db"},
        {"unforward udp 53", "unforward udp 127.0.0.1:53"},
        {"hangup 17", "hangup 17"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        good(rows[i][0], rows[i][1]);
        good(rows[i][1], rows[i][1]);
    }
}

Test(service_line, refuses_with_a_sentence)
{
    bad("", "empty");
    bad("nonsense x", "no command");
    bad("offer ssh", "the command is: offer NAME KIND");
    bad("offer .ssh echo", "cannot be a service");
    bad("offer a/b echo", "cannot be a service");
    bad("offer x carrier-pigeon", "not a kind");
    bad("offer x tcp", "one target");
    bad("offer x echo 1", "no target");
    bad("offer x exec \"\"", "program is empty");
    bad("offer x exec", "takes a program");
    bad("offer x tcp 65536", "not an address");
    bad("offer x tcp example.org:22", "not an address");
    bad("offer x tcp ::1:22", "not an address");
    bad("offer x file relative", "absolute");
    bad("offer x file \"/open", "quote");
    bad("offer x file \"/a\nb\"", "quote");
    bad("allow ssh nobody", "neither a petname");
    bad("forward tcp 1 any ssh", "neither a petname");
    bad("forward tcp 1 bob udp/x", "cannot be a service");
    bad("forward echo 1 bob x", "not a kind");
    bad("limit x speed 1", "not a limit");
    bad("limit x rate -1", "not a number");
    bad("hangup x", "not a number");
}

Test(service_line, ids)
{
    char id[SERVICE_ID_SIZE];
    const char *name;
    bool datagrams;
    cr_assert_str_eq(service_id("ssh", false, id), "/x/ssh");
    cr_assert(service_id_parse(id, &name, &datagrams));
    cr_assert_str_eq(name, "ssh");
    cr_assert_not(datagrams);
    cr_assert_str_eq(service_id("dns", true, id), "/x/udp/dns");
    cr_assert(service_id_parse(id, &name, &datagrams));
    cr_assert_str_eq(name, "dns");
    cr_assert(datagrams);
    cr_assert_not(service_id_parse("/ipfs/id/1.0.0", &name, &datagrams));
    cr_assert_not(service_id_parse("/x/", &name, &datagrams));
    cr_assert(service_id_parse("/x/web/1.0", &name, &datagrams), "other nodes may have such names");
}
