/* SPDX-License-Identifier: MIT
 *
 * Error codes of the whole program, in one table.
 *
 * Functions return 0 or a count on success and a negative ERR_* on failure. Each code carries its sentence, the errno
 * that the mount answers with (MOUNT "errors mean something") and the exit status of the command line. Codes of
 * libraries and system calls are translated in the file that made the call.
 *
 * ERR_MISSING is special: a block is not held here. Whoever can wait for the network (fs, control) parks the
 * work, asks the engine for the block that `struct missing` names and runs the work again; it never reaches a user.
 */
#ifndef STORE_BASE_ERR_H
#define STORE_BASE_ERR_H

#include <errno.h>

/*    code               text                                              errno          exit */
#define ERR_TABLE(X)                                                                            \
    X(ERR_INVALID,       "malformed input",                                EINVAL,         2)   \
    X(ERR_NOT_FOUND,     "does not exist",                                 ENOENT,         3)   \
    X(ERR_EXISTS,        "exists already",                                 EEXIST,         1)   \
    X(ERR_NOT_DIR,       "is not a directory",                             ENOTDIR,        1)   \
    X(ERR_IS_DIR,        "is a directory",                                 EISDIR,         1)   \
    X(ERR_NOT_EMPTY,     "directory is not empty",                         ENOTEMPTY,      1)   \
    X(ERR_NAME_LONG,     "name is longer than 255 bytes",                  ENAMETOOLONG,   2)   \
    X(ERR_LOOP,          "too many levels",                                ELOOP,          1)   \
    X(ERR_TIMEOUT,       "timed out",                                      ETIMEDOUT,      5)   \
    X(ERR_UNREACHABLE,   "peer cannot be reached",                         EHOSTUNREACH,   4)   \
    X(ERR_OFFLINE,       "we are offline",                                 ENETUNREACH,    4)   \
    X(ERR_REFUSED,       "connection refused",                             ECONNREFUSED,   4)   \
    X(ERR_RESET,         "reset by the peer",                              ECONNRESET,     4)   \
    X(ERR_CLOSED,        "closed",                                         EPIPE,          4)   \
    X(ERR_VERIFY,        "failed its hash or signature",                   EBADMSG,        7)   \
    X(ERR_CORRUPT,       "stored data is damaged",                         EBADMSG,        7)   \
    X(ERR_DENIED,        "not allowed",                                    EACCES,         6)   \
    X(ERR_READ_ONLY,     "is read-only",                                   EROFS,          6)   \
    X(ERR_NOT_PERMITTED, "not supported for anyone",                       EPERM,          6)   \
    X(ERR_UNSUPPORTED,   "not supported",                                  EOPNOTSUPP,     1)   \
    X(ERR_QUOTA,         "our quota is used up",                           EDQUOT,         8)   \
    X(ERR_NO_SPACE,      "the disk is full",                               ENOSPC,         8)   \
    X(ERR_IO,            "the disk fails",                                 EIO,            1)   \
    X(ERR_STALE,         "was left or pruned",                             ESTALE,         3)   \
    X(ERR_XDEV,          "crosses two trees",                              EXDEV,          1)   \
    X(ERR_INTERRUPTED,   "interrupted",                                    EINTR,          130) \
    X(ERR_CANCELLED,     "cancelled",                                      ECANCELED,      130) \
    X(ERR_AGAIN,         "not now, try again",                             EAGAIN,         1)   \
    X(ERR_BUSY,          "is in use",                                      EBUSY,          1)   \
    X(ERR_NO_MEMORY,     "the memory budget is used up",                   ENOMEM,         1)   \
    X(ERR_TOO_BIG,       "is larger than allowed",                         EFBIG,          1)   \
    X(ERR_TRUNCATED,     "ends too early",                                 EIO,            1)   \
    X(ERR_PROTOCOL,      "peer breaks the protocol",                       EPROTO,         1)   \
    X(ERR_LIMIT,         "a limit is reached",                             EUSERS,         1)   \
    X(ERR_NO_FILES,      "no file descriptors are left",                   EMFILE,         1)   \
    X(ERR_MISSING,       "block is not held here",                         EIO,            3)   \
    X(ERR_VERSION,       "was written by a newer version",                 EPROTO,         1)   \
    X(ERR_LOCKED,        "is in use by another node",                      EBUSY,          1)   \
    X(ERR_USAGE,         "wrong usage",                                    EINVAL,         2)   \
    X(ERR_NOT_RUNNING,   "node is not running",                            ENOTCONN,       9)   \
    X(ERR_PARTIAL,       "only partly done",                               EIO,            10)  \
    X(ERR_FAILED,        "failed",                                         EIO,            1)

enum err_rank { /* 1, 2, 3 …; the codes are their negatives */
    ERR_RANK_ZERO,
#define X(code, text, number, status) code##_RANK,
    ERR_TABLE(X)
#undef X
    ERR_RANK_END
};

enum err {
    ERR_OK = 0,
#define X(code, text, number, status) code = -code##_RANK,
    ERR_TABLE(X)
#undef X
};

/* Each takes a negative ERR_* (0 and positive counts mean success). An unknown code answers as ERR_FAILED. */
const char *err_text(int err);   /* static string */
const char *err_name(int err);   /* "ERR_TIMEOUT"; static string */
int         err_errno(int err);  /* positive errno, 0 for success */
int         err_exit(int err);   /* exit status of the command line, 0 for success */
int         err_from_errno(int number); /* a system call's errno → ERR_*; never 0 */

/* A sentence for the person who gave bad input: what was wrong and where. Filled by parsers that take one; `why` may be
 * NULL. Returns `err`, so that a parser can say `return why_set(why, ERR_INVALID, "…", …)`. */
struct why {
    char text[320];
};
int why_set(struct why *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
