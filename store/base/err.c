/* SPDX-License-Identifier: MIT */
#include "store/base/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static const struct err_row {
    const char *name;
    const char *text;
    int number;
    int status;
} rows[ERR_RANK_END] = {[ERR_RANK_ZERO] = {"ERR_OK", "success", 0, 0},
#define X(code, text, number, status) [code##_RANK] = {#code, text, number, status},
                        ERR_TABLE(X)
#undef X
};

static const struct err_row *row_of(int err)
{
    if (err >= 0)
        return &rows[ERR_RANK_ZERO];
    if (err <= -(int)ERR_RANK_END)
        return &rows[ERR_FAILED_RANK];
    return &rows[-err];
}

const char *err_text(int err)
{
    return row_of(err)->text;
}

const char *err_name(int err)
{
    return row_of(err)->name;
}

int err_errno(int err)
{
    return row_of(err)->number;
}

int err_exit(int err)
{
    return row_of(err)->status;
}

int err_from_errno(int number)
{
    static const struct {
        int number;
        int err;
    } table[] = {
        {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},
        {ENOTDIR, ERR_NOT_DIR},
        {EISDIR, ERR_IS_DIR},
        {ENOTEMPTY, ERR_NOT_EMPTY},
        {ENAMETOOLONG, ERR_NAME_LONG},
        {ELOOP, ERR_LOOP},
        {ETIMEDOUT, ERR_TIMEOUT},
        {EHOSTUNREACH, ERR_UNREACHABLE},
        {ENETUNREACH, ERR_OFFLINE},
        {ENETDOWN, ERR_OFFLINE},
        {ECONNREFUSED, ERR_REFUSED},
        {ECONNRESET, ERR_RESET},
        {EPIPE, ERR_CLOSED},
        {EACCES, ERR_DENIED},
        {EPERM, ERR_DENIED},
        {EROFS, ERR_READ_ONLY},
        {EOPNOTSUPP, ERR_UNSUPPORTED},
        {ENOSYS, ERR_UNSUPPORTED},
        {EDQUOT, ERR_QUOTA},
        {ENOSPC, ERR_NO_SPACE},
        {EIO, ERR_IO},
        {ESTALE, ERR_STALE},
        {EXDEV, ERR_XDEV},
        {EINTR, ERR_INTERRUPTED},
        {ECANCELED, ERR_CANCELLED},
        {EAGAIN, ERR_AGAIN},
        {EBUSY, ERR_BUSY},
        {ENOMEM, ERR_NO_MEMORY},
        {EFBIG, ERR_TOO_BIG},
        {EINVAL, ERR_INVALID},
        {EMFILE, ERR_NO_FILES},
        {ENFILE, ERR_NO_FILES},
        {EADDRINUSE, ERR_BUSY},
        {ECONNABORTED, ERR_RESET},
        {EBADMSG, ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].number == number)
            return table[i].err;
    return ERR_FAILED;
}

int why_set(struct why *why, int err, const char *fmt, ...)
{
    if (!why)
        return err;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, args); /* a cut sentence is still a sentence */
    va_end(args);
    return err;
}
