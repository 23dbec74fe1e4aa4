/* SPDX-License-Identifier: MIT */
#include "fs/fuse/handshake.h"

#include <linux/fuse.h>

/* In flags2; newer than the header of Debian 12 */
#define DIRECT_IO_ALLOW_MMAP (UINT32_C(1) << 4)

void handshake_request(struct handshake *h, struct span message)
{
    struct fuse_in_header head;
    struct fuse_init_in in = {0};
    if (message.len < sizeof head)
        return;
    memcpy(&head, message.data, sizeof head);
    if (head.opcode != FUSE_INIT)
        return;
    struct span body = span_from(message, sizeof head);
    memcpy(&in, body.data, body.len < sizeof in ? body.len : sizeof in);
    h->unique = head.unique;
    h->minor = in.minor;
    h->offered = in.flags;
    h->offered2 = in.flags & FUSE_INIT_EXT ? in.flags2 : 0;
}

void handshake_reply(struct handshake *h, const struct iovec *iov, int count)
{
    struct fuse_out_header head;
    struct fuse_init_out out;
    if (!h->unique || count < 2 || iov[0].iov_len != sizeof head || iov[1].iov_len != sizeof out)
        return;
    memcpy(&head, iov[0].iov_base, sizeof head);
    if (head.unique != h->unique)
        return;
    h->unique = 0;
    if (head.error != 0)
        return;
    memcpy(&out, iov[1].iov_base, sizeof out);
    out.flags |= h->offered & (FUSE_HANDLE_KILLPRIV_V2 | FUSE_PARALLEL_DIROPS);
    if (h->offered2 & DIRECT_IO_ALLOW_MMAP) {
        out.flags |= FUSE_INIT_EXT;
        out.flags2 |= DIRECT_IO_ALLOW_MMAP;
    }
    memcpy(iov[1].iov_base, &out, sizeof out);
}
