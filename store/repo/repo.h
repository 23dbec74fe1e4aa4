/* SPDX-License-Identifier: MIT
 *
 * The folders of a node: where they are, the lock that keeps a second node out, the version stamp and migrations.
 *
 *   config   ~/.config/p2p/config            $P2P_HOME/config
 *   state    ~/.local/share/p2p/             $P2P_HOME/state/      version, lock, identity.key, blocks/
 *   run      $XDG_RUNTIME_DIR/p2p/           $P2P_HOME/run/        control socket; 0700
 *
 * XDG_CONFIG_HOME and XDG_DATA_HOME are honoured. Without XDG_RUNTIME_DIR the run folder is /tmp/p2p-<uid>, refused
 * unless it is ours and 0700. The locks are flock(2): they go with the process, however that ends. The file `version` holds
 * the number of the state's format; a newer one is refused before anything else is read or written; an older one is brought
 * forward step by step (migrations in repo.c), each step stamped when it is done. Called at start-up, by one thread.
 */
#ifndef STORE_REPO_REPO_H
#define STORE_REPO_REPO_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define REPO_VERSION 1

struct repo_paths {
    char config[PATH_MAX]; /* file */
    char state[PATH_MAX];  /* folders, without trailing slash */
    char run[PATH_MAX];
};

/* From the environment; makes nothing. ERR_INVALID with a sentence (no HOME, relative P2P_HOME, too long). Any process. */
int repo_paths(struct repo_paths *ret, struct why *why);
struct repo;

/* Makes the folders, takes the lock, checks the version, migrates. 0; ERR_LOCKED (the sentence names the other's pid);
 * ERR_VERSION (newer state, untouched); ERR_CORRUPT (version file unreadable); ERR_DENIED, ERR_NO_SPACE, ERR_IO. */
int repo_open(struct repo **ret, const struct repo_paths *p, struct why *why);
/* Makes the run folder if need be (0700), checks that it is a folder of ours that nobody else may enter, and locks it: two
 * nodes with states of their own may be given the same one, and the second would take the first one's sockets away. 0,
 * ERR_DENIED, ERR_LOCKED, ERR_IO … Once for each repo. */
int repo_make_run(struct repo *r, struct why *why);
struct repo *repo_close(struct repo *r); /* gives the locks back; NULL accepted */

const struct repo_paths *repo_where(const struct repo *r);
/* "<state>/<name>" in `path`; returns path. Asserts that it fits: repo_paths leaves room for names up to 64 bytes. */
char *repo_file(const struct repo *r, const char *name, char path[PATH_MAX]);
/* The same as a folder, made (0700) when it is not there. 0 or ERR_* with a sentence. */
int repo_dir(const struct repo *r, const char *name, char path[PATH_MAX], struct why *why);

/* Writes a small file so that after a crash it is the old or the new one: temporary, fsync, rename, fsync of the folder. */
int repo_write_file(const char *path, const void *data, size_t len, unsigned mode, struct why *why);
/* Reads a file of at most `most` bytes; 0, ERR_NOT_FOUND, ERR_TOO_BIG … with a sentence. *ret is made with malloc, the
 * caller's. */
int repo_read_file(const char *path, size_t most, struct buf *ret, struct why *why);

/* Bytes that the disk of the folder has for us; of the nearest folder above when it is not made yet. 0 or ERR_*. A question to
 * the file system, which a disk of this machine answers from memory. */
int repo_disk_free(const char *folder, uint64_t *ret_bytes);

/* One step forward: from format `from` to `from + 1`. Idempotent: a crash before the stamp runs it again. */
struct repo_migration {
    unsigned from;
    int (*run)(const char *state_dir, struct why *why);
};
/* For tests: repo_open with another table (ended by a row whose run is NULL) and target version. */
int repo_open_with(struct repo **ret, const struct repo_paths *p, const struct repo_migration *table, unsigned version,
                   struct why *why);

#endif
