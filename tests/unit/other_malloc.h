/* SPDX-License-Identifier: MIT
 *
 * Sanitizers bring a malloc of their own, which gives nothing back to the kernel: what looks at private memory says nothing then. */
#ifndef TESTS_UNIT_OTHER_MALLOC_H
#define TESTS_UNIT_OTHER_MALLOC_H

#include <stdbool.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define OTHER_MALLOC true
#else
#define OTHER_MALLOC false
#endif

#endif
