/* SPDX-License-Identifier: MIT
 *
 * A cheap sum against rot: did the disk give back what it was given? Not against anybody who wants to deceive; for that a block
 * has its hash. It is XXH3 of 64 bits (libxxhash), the same on every processor, since sums are kept on disks. A store may have
 * some of another function, of older versions: they look wrong, and then the hash decides (store_vouch). */
#ifndef STORE_CONTENT_CHECKSUM_H
#define STORE_CONTENT_CHECKSUM_H

#include "store/base/span.h"

uint64_t checksum(struct span data); /* any thread */

#endif
