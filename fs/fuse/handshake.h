/* SPDX-License-Identifier: MIT
 *
 * What the INIT handshake can say and libfuse 3.14 cannot: libfuse knows the flags of 2022. Its reply to INIT passes through
 * here on the way to the kernel, and flags that the kernel offers and we can keep are added:
 *
 *   HANDLE_KILLPRIV_V2   we drop setuid bits (modes are kept without them), so the kernel may remember that a file has no
 *                        security.capability instead of asking for it at every write(2)
 *   PARALLEL_DIROPS      libfuse 3.14 takes our wish for it and does not pass it on; without it one lookup that waits for the
 *                        network keeps all others in its directory waiting
 *   DIRECT_IO_ALLOW_MMAP files opened without page cache (content that is not all held) may be mapped all the same
 */
#ifndef FS_FUSE_HANDSHAKE_H
#define FS_FUSE_HANDSHAKE_H

#include "store/base/span.h"

#include <sys/uio.h>

struct handshake {
    uint32_t offered, offered2; /* flags of the kernel's INIT */
    uint32_t minor;             /* of its protocol */
    uint64_t unique;            /* of the INIT whose reply is still to come; 0: none */
};

/* Looks at every request until INIT has been seen. */
void handshake_request(struct handshake *h, struct span message);
/* Called with each reply; changes that of INIT in place. */
void handshake_reply(struct handshake *h, const struct iovec *iov, int count);

#endif
