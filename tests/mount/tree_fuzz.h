/* SPDX-License-Identifier: MIT
 *
 * What the parts of tree_fuzz share: names (tree_fuzz.c), open files and folders (tree_open.c), whole trees (tree_whole.c).
 * In pairs [2] the reference is 0 and share/ is 1. */
#ifndef TESTS_MOUNT_TREE_FUZZ_H
#define TESTS_MOUNT_TREE_FUZZ_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define PATH_BYTES 2000
#define SLOTS      10

struct two {
    int top[2], root[2]; /* the folder above, and the one where it happens */
    char path[2][1000];
    long result[2];
    int error[2];
};
extern struct two both;

/* What was opened, on both sides */
struct slot {
    bool used, dir;
    int fd[2];
};
extern struct slot slots[SLOTS];

struct base {
    int fd[2];
    const char *name;
};

/* The call on both sides, `i` is the side */
#define BOTH(call)                                                                                                             \
    for (int i = 0; i < 2; i++) {                                                                                              \
        errno = 0;                                                                                                             \
        both.result[i] = (long)(call);                                                                                         \
        both.error[i] = both.result[i] < 0 ? errno : 0;                                                                        \
    }

uint64_t rnd(void);
unsigned below(unsigned n);
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void wrong(const char *format, ...);
bool agree(const char *op);  /* both did it; ends the program when they disagree and may not */
bool only_reference(void);   /* it did what share rightly refused: to be undone */
void know(const char *path); /* made: to be used again */
void make_path(char *path);
void make_base(struct base *b);

/* tree_open.c */
void do_open(void);
void do_use(void);
void do_stream(void);
void touched(const char *path); /* that name came or went: listings that are open may show it or not */
void close_slots(void);
struct timespec some_time(void);

/* tree_whole.c */
void same_attributes(const struct stat st[2], const char *path);
unsigned compare(void); /* the number of nodes */
void do_bulk(void);
void do_wipe(void);
void wipe_all(void);

#endif
