/* SPDX-License-Identifier: MIT */
#include "store/unixfs/murmur3.h"

#include <criterion/criterion.h>

Test(murmur3, vectors)
{
    static const struct {
        const char *text;
        uint64_t hash;
    } vectors[] = {
        {"", 0},
        {"a", 0x85555565f6597889},
        {"hello", 0xcbd8a7b341bd9b02},
        {"470.txt", 0x006e88df5847e67c},
        {"0123456789abcde", 0xa62dd5f6c0bf2351},
        {"0123456789abcdef", 0x4be06d94cf4ad1a7},
        {"0123456789abcdefg", 0x8e32612daa45f9de},
        {"\xe6\x97\xa5\xe6\x9c\xac", 0x86d4e77d78be1786},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        cr_assert_eq(murmur3_x64_64(span_str(vectors[i].text)), vectors[i].hash, "%s", vectors[i].text);
    char x[255];
    memset(x, 'x', sizeof x);
    cr_assert_eq(murmur3_x64_64(span_of(x, sizeof x)), 0xd1a161d018039a7e);
}
