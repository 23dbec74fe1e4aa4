/* SPDX-License-Identifier: MIT
 *
 * Has the program at the other end of a connection of this machine gone altogether?
 *
 * A unix socket tells. TCP does not: "I have finished" (shutdown(2), `nc host port </dev/null`: it still wants the answer) and
 * "I am gone" (Ctrl-C) are the same FIN until somebody writes. But on this machine the kernel knows whether the other end's
 * socket is still a program's: it is asked by sock_diag(7). Any thread; never waits.
 */
#ifndef NET_TRANSPORT_LOCAL_END_H
#define NET_TRANSPORT_LOCAL_END_H

#include <stdbool.h>

/* Of a connected stream socket, TCP or unix. Also true after a reset. What cannot be known (another machine's end, a kernel
 * without sock_diag) is false. */
bool local_end_gone(int fd);

#endif
