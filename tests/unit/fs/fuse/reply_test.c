/* SPDX-License-Identifier: MIT */
#include "fs/fuse/request.h"

#include <criterion/criterion.h>

Test(reply, times_that_are_too_far_away)
{
    cr_expect_eq(request_time(0, 0), 0);
    cr_expect_eq(request_time(-1, 999999999), -1);
    cr_expect_eq(request_time(1234567890, 5), INT64_C(1234567890000000005));
    cr_expect_eq(request_time(9223372036, 854775807), INT64_MAX);
    cr_expect_eq(request_time(9223372036, 854775808), INT64_MAX);
    cr_expect_eq(request_time(-9223372036, 0), INT64_C(-9223372036000000000));
    cr_expect_eq(request_time(-9223372037, 145224192), -INT64_MAX);
    cr_expect_eq(request_time(INT64_MAX, 999999999), INT64_MAX);
    cr_expect_eq(request_time(INT64_MIN, 0), -INT64_MAX);
}
