/* SPDX-License-Identifier: MIT
 *
 * A disk that can be made to fail, to end the process, and to be looked at: what a program writes below one folder passes
 * through here. Linked into a test, or preloaded (libdisk_shim.so) into a whole node, whose own code knows nothing of it.
 *
 * Every call of the kinds in `kinds` counts one; when `calls` reaches `strike_at` the action is done, for that call and the
 * `more` ones after it, or for each `every`-th of them. All of it is in one struct, which a preloaded node maps from the file that DISK_SHIM names, so that
 * tests can read the count and arm it while the node runs. DISK_SHIM_ROOT: the folder. DISK_SHIM_LACKS: `lacks` at the start.
 *
 * DISK_SHIM_LINGER: a pipe that the process reads at its very end, so that it ends when a test writes there.
 *
 * With `record_path` (DISK_SHIM_RECORD) every change of the block store's files is appended to that file as a struct disk_record
 * and its bytes, in the order in which they were done: for replays that lose what was not synced.
 */
#ifndef TESTS_LIB_DISK_SHIM_H
#define TESTS_LIB_DISK_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

enum disk_kind {
    DISK_WRITE = 1,  /* write, pwrite, writev, ftruncate, fallocate */
    DISK_SYNC = 2,   /* fsync, fdatasync, msync */
    DISK_NAME = 4,   /* open, rename, unlink, mkdir */
    DISK_META = 16,  /* those writes that are of LMDB's two meta pages; they are DISK_WRITE too */
    DISK_BLOCK = 32, /* those that are of big blocks, in segments; they are DISK_WRITE too */
    DISK_MEMORY = 8, /* memory of at least `big` bytes, maps of files too; not under sanitizers, and only preloaded */
};

/* What the file system cannot, in `lacks` */
enum disk_lack {
    DISK_NO_DIRECT = 1,       /* open with O_DIRECT: EINVAL */
    DISK_NO_DIRECT_WRITE = 2, /* it takes O_DIRECT, and the first write is EINVAL */
    DISK_NO_HOLES = 4,        /* to punch a hole: EOPNOTSUPP */
};

enum disk_action {
    DISK_FAIL,      /* the call fails with `error` */
    DISK_SHORT,     /* a write takes half; other calls pass */
    DISK_KILL,      /* SIGKILL before the call */
    DISK_KILL_HALF, /* a write takes half, then SIGKILL */
};

struct disk_shim {
    _Atomic uint64_t calls, strike_at; /* strike_at 0: disarmed */
    _Atomic uint64_t more;             /* UINT64_MAX: until disarmed */
    _Atomic uint64_t struck;           /* how often it did */
    _Atomic uint32_t kinds, action, error;
    _Atomic uint32_t lacks;
    _Atomic uint64_t recorded; /* bytes of the record */
    _Atomic uint64_t lacked;   /* how often something was asked for that the file system lacks */
    _Atomic uint64_t every;    /* 0 is 1 */
    _Atomic uint64_t room;     /* what statvfs says is free of the folder's disk, and one: 0 is the truth */
    _Atomic uint64_t big;      /* bytes from which on memory is refused; 0: 64 KiB; … */
    _Atomic uint64_t big_most; /* … up to which; 0: any */
};

enum disk_change {
    DISK_WROTE,   /* `len` bytes at `at` follow */
    DISK_SYNCED,  /* the file */
    DISK_CUT,     /* to `at` bytes */
    DISK_PUNCHED, /* `size` bytes at `at` */
    DISK_MADE,    /* it was not there */
    DISK_REMOVED,
    DISK_FOLDER,   /* the folder was synced: names are durable */
    DISK_RENAMED,  /* from `size`, the number of a file */
    DISK_UNSYNCED, /* a sync of the file failed: what was written since the last one counts as clean, and need not be there */
};

/* Numbers of files */
#define DISK_DATA_FILE 0 /* data.mdb */
#define DISK_NEW_FILE  1 /* data.mdb.new */
#define DISK_SEGMENTS  2 /* segment-0, and those behind it */

struct disk_record {
    uint32_t change;
    uint32_t file;
    uint32_t synced; /* a write through O_DSYNC */
    uint32_t size;
    uint64_t at, len;
};

struct disk_shim *disk_shim(void);
/* For a test that it is linked into; before the first file is opened, and after fork in the child */
void disk_shim_begin(const char *root, const char *record_path);

#endif
