/* SPDX-License-Identifier: MIT
 *
 * libfuse's callbacks, one per kind of request: each fills a struct request and passes it to session_dispatch. Nothing is
 * decided here. Requests that have no callback get ENOSYS from libfuse, after which the kernel does not ask again: bmap,
 * ioctl, poll. */
#ifndef FS_FUSE_DECODE_H
#define FS_FUSE_DECODE_H

struct fuse_lowlevel_ops;
struct request;

void decode_ops(struct fuse_lowlevel_ops *ret);
void session_dispatch(void *session, struct request *r); /* session.c */

#endif
