/* SPDX-License-Identifier: MIT
 *
 * Memory that is short, inside a test: what may fail (mem_big, mem_big_grow, buf_try_reserve) is refused from a size on. A test that includes this is
 * linked so that calls from other files than store/base/span.c come through here. Sanitizers do not mind, unlike a malloc that fails.
 */
#ifndef TESTS_LIB_SHORT_MEMORY_H
#define TESTS_LIB_SHORT_MEMORY_H

#include <stdatomic.h>
#include <stddef.h>

extern _Atomic size_t short_memory_from; /* bytes; SIZE_MAX at the start: there is enough */
extern _Atomic unsigned short_memory_refused;

#endif
