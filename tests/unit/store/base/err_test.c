/* SPDX-License-Identifier: MIT */
#include "store/base/err.h"

#include <criterion/criterion.h>
#include <string.h>

Test(err, every_code_has_all_columns)
{
    for (int i = 0; i < ERR_RANK_END; i++) {
        cr_assert(strncmp(err_name(-i), "ERR_", 4) == 0);
        cr_assert(strlen(err_text(-i)) > 0);
        cr_assert_eq(err_errno(-i) == 0, i == 0, "%s", err_name(-i));
        cr_assert_eq(err_exit(-i) == 0, i == 0, "%s", err_name(-i));
    }
    cr_assert_str_eq(err_name(-10000), "ERR_FAILED");
    cr_assert_eq(err_errno(17), 0, "a count is success");
}

/* The mount's table of errors and the exit codes are promises to scripts */
Test(err, promised_numbers)
{
    cr_assert_eq(err_errno(ERR_TIMEOUT), ETIMEDOUT);
    cr_assert_eq(err_errno(ERR_UNREACHABLE), EHOSTUNREACH);
    cr_assert_eq(err_errno(ERR_OFFLINE), ENETUNREACH);
    cr_assert_eq(err_errno(ERR_VERIFY), EBADMSG);
    cr_assert_eq(err_errno(ERR_QUOTA), EDQUOT);
    cr_assert_eq(err_exit(ERR_USAGE), 2);
    cr_assert_eq(err_exit(ERR_NOT_FOUND), 3);
    cr_assert_eq(err_exit(ERR_OFFLINE), 4);
    cr_assert_eq(err_exit(ERR_TIMEOUT), 5);
    cr_assert_eq(err_exit(ERR_DENIED), 6);
    cr_assert_eq(err_exit(ERR_VERIFY), 7);
    cr_assert_eq(err_exit(ERR_NO_SPACE), 8);
    cr_assert_eq(err_exit(ERR_NOT_RUNNING), 9);
    cr_assert_eq(err_exit(ERR_PARTIAL), 10);
    cr_assert_eq(err_exit(ERR_INTERRUPTED), 130);
}

Test(err, system_errors_translate)
{
    cr_assert_eq(err_from_errno(ENOSPC), ERR_NO_SPACE);
    cr_assert_eq(err_from_errno(ENOENT), ERR_NOT_FOUND);
    cr_assert_eq(err_from_errno(54321), ERR_FAILED);
    cr_assert(err_from_errno(0) < 0);
}

Test(err, why_keeps_a_sentence)
{
    struct why why;
    cr_assert_eq(why_set(&why, ERR_INVALID, "line %d: no", 7), ERR_INVALID);
    cr_assert_str_eq(why.text, "line 7: no");
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    why_set(&why, ERR_INVALID, "%s", longer);
    cr_assert_eq(strlen(why.text), sizeof why.text - 1);
    cr_assert_eq(why_set(NULL, ERR_IO, "ignored"), ERR_IO);
}
