/* SPDX-License-Identifier: MIT
 *
 * Is this the name of a file that some program will rename or remove in a moment (MOUNT (13))? Such files are ordinary files
 * of the mount, but they are not announced to the network and not part of the published DAG of their directory, until they
 * are renamed.
 */
#ifndef STORE_TREE_TEMPNAME_H
#define STORE_TREE_TEMPNAME_H

#include "store/base/span.h"

bool tempname(struct span name);

#endif
