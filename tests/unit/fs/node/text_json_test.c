/* SPDX-License-Identifier: MIT */
#include "fs/node/text_json.h"

#include <criterion/criterion.h>

static const struct {
    const char *text, *json;
} vectors[] = {
    {"", "{}\n"},
    {"a\t1\nb\tx y\n", "{\"a\":1,\n\"b\":\"x y\"}\n"},
    {"a\t1\na\t2\nworking\n", "{\"a\":[1,2],\n\"text\":\"working\"}\n"},
    {"# t\tu\n1\t\"q\\\n", "[{\"t\":1,\"u\":\"\\\"q\\\\\"}]\n"},
    {"# t\n", "[]\n"},
    {"a\t01\nb\t-1.5\nc\t1.\nd\t1e3\ne\t1234567890123456\n",
     "{\"a\":\"01\",\n\"b\":-1.5,\n\"c\":\"1.\",\n\"d\":\"1e3\",\n\"e\":\"1234567890123456\"}\n"},
    {"a\t\xff\xc3\xa4\x01\n", "{\"a\":\"\xef\xbf\xbd\xc3\xa4\\u0001\"}\n"},
    {"a\t\xed\xa0\x80\n", "{\"a\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}\n"}, /* a surrogate */
    {"a\t\xc3\n", "{\"a\":\"\xef\xbf\xbd\"}\n"},                                 /* cut off */
    {"# a\tb\n1\n1\t2\t3\n", "[{\"a\":1},\n{\"a\":1,\"b\":2}]\n"},
};

Test(text_json, vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct buf out = BUF_INIT;
        text_to_json(span_str(vectors[i].text), &out);
        cr_assert_str_eq(buf_cstr(&out), vectors[i].json, "vector %zu", i);
        buf_done(&out);
    }
}
