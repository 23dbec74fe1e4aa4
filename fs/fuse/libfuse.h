/* SPDX-License-Identifier: MIT
 *
 * The one place that says which libfuse API this folder is written for.
 */
#ifndef FS_FUSE_LIBFUSE_H
#define FS_FUSE_LIBFUSE_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
