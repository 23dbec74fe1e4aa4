/* SPDX-License-Identifier: MIT
 *
 * The end of the program by a signal of its own fault (SIGSEGV, SIGBUS, SIGABRT) may be a damaged page of the index, which
 * LMDB trusts: it leaves a file, so that the next start looks at all pages (store/block/index_rebuild.h), however many there
 * are. Then the signal takes its course.
 */
#ifndef CMD_DAEMON_CRASH_H
#define CMD_DAEMON_CRASH_H

void crash_marks(const char *path); /* copied; the process has one */

#endif
