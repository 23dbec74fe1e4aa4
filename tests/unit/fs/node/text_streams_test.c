/* SPDX-License-Identifier: MIT */
#include "fs/node/text_table.h"

#include <criterion/criterion.h>

static void check(text_command *translate, const char *key, const char *line, const char *expected)
{
    struct buf out = BUF_INIT;
    struct why why = {""};
    int rc = translate(span_str(key), span_str(line), &out, &why);
    if (expected) {
        cr_assert_eq(rc, 0, "'%s' was refused", line);
        cr_assert_str_eq(buf_cstr(&out), expected);
    } else {
        cr_assert_eq(rc, ERR_INVALID, "'%s' was taken", line);
        cr_assert(why.text[0], "'%s' was refused without a sentence", line);
    }
    buf_done(&out);
}

Test(text_streams, lines_of_an_offer)
{
    check(text_offer_command, "ssh", "tcp 127.0.0.1:22", "offer ssh tcp 127.0.0.1:22");
    check(text_offer_command, "ssh", "exec /bin/date \"+%s %N\"", "offer ssh exec /bin/date \"+%s %N\"");
    check(text_offer_command, "ssh", "allow  alice", "allow ssh alice");
    check(text_offer_command, "ssh", "deny any", "deny ssh any");
    check(text_offer_command, "ssh", "limit connections 5", "limit ssh connections 5");
    check(text_offer_command, "ssh", "allow", NULL);
    check(text_offer_command, "ssh", "limit ", NULL);
    check(text_offer_command, "ssh", "allowed alice", "offer ssh allowed alice"); /* refused by who knows the kinds */
}

Test(text_streams, lines_of_a_forward)
{
    check(text_forward_command, "", "tcp 2222 alice/ssh", "forward tcp 2222 alice ssh");
    check(text_forward_command, "", "unix /tmp/a b/c", "forward unix /tmp/a b c");
    check(text_forward_command, "", "udp [::1]:53 bob/dns/two", "forward udp [::1]:53 bob dns/two");
    check(text_forward_command, "", "remove tcp 2222", "unforward tcp 2222");
    check(text_forward_command, "", "tcp 2222 alice ssh", NULL);
    check(text_forward_command, "", "tcp 2222 alice/ssh ", NULL);
    check(text_forward_command, "", "", NULL);
}

Test(text_streams, lines_of_a_stream)
{
    check(text_stream_command, "12", "hangup", "hangup 12");
    check(text_stream_command, "12", "connect alice/ssh", NULL); /* not a stream of streams/clone */
    check(text_stream_command, "12", "", NULL);
}
