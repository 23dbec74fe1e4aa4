/* SPDX-License-Identifier: MIT
 *
 * A cheap sum against rot: did the disk give back what it was given? Not against anybody who wants to deceive; for that a block
 * has its hash. A quarter of what SHA-256 costs where the processor has instructions for both.
 *
 * GMAC (NIST SP 800-38D, AES-128, key and nonce all zero) cut to its first 64 bits: of what OpenSSL has, it is what processors
 * do fastest, and a change that it does not see is one in 2^64. Sums are kept on disks: the function cannot be changed.
 *
 * Any thread.
 */
#ifndef STORE_CONTENT_CHECKSUM_H
#define STORE_CONTENT_CHECKSUM_H

#include "store/base/span.h"

uint64_t checksum(struct span data); /* up to 2^30 bytes */

#endif
