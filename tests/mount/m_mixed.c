/* SPDX-License-Identifier: MIT
 *
 * A file that is written through one descriptor and read through others at the same time: whichever of them go past the page
 * cache, everybody sees the newest bytes, also through a mapping and after all are closed. */
#include "tests/mount/check.h"

#include <sys/mman.h>

#define PIECE 3000 /* so that every page is written in several pieces */
#define TIMES 200

static void fill(char *piece, int i)
{
    memset(piece, 'a' + i % 26, PIECE);
}

static void check_bytes(const char *got, size_t len)
{
    for (size_t k = 0; k < len; k++)
        CHECK(got[k] == 'a' + (int)(k / PIECE) % 26);
}

int main(int argc, char **argv)
{
    char path[4096], piece[PIECE];
    static char got[PIECE * TIMES];
    CHECK(argc > 1);
    snprintf(path, sizeof path, "%s/share/mixed", argv[1]);
    int w = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(w >= 0);
    int r = -1;
    for (int i = 0; i < TIMES; i++) {
        fill(piece, i);
        CHECK(write(w, piece, PIECE) == PIECE);
        if (i == 3)
            CHECK((r = open(path, O_RDONLY)) >= 0);
        if (i < 3)
            continue;
        size_t len = (size_t)(i + 1) * PIECE;
        CHECK(pread(r, got, sizeof got, 0) == (ssize_t)len);
        check_bytes(got, len);
    }
    char *map = mmap(NULL, sizeof got, PROT_READ, MAP_SHARED, r, 0);
    CHECK(map != MAP_FAILED || errno == ENODEV); /* older kernels do not map what is read past the cache */
    if (map != MAP_FAILED) {
        check_bytes(map, sizeof got);
        fill(piece, 5);
        CHECK(pwrite(w, piece, PIECE, 7 * PIECE) == PIECE);
        CHECK(map[7 * PIECE] == 'a' + 5 && map[8 * PIECE - 1] == 'a' + 5 && map[8 * PIECE] == 'a' + 8);
        munmap(map, sizeof got);
    }
    int rw = open(path, O_RDWR);
    CHECK(rw >= 0);
    fill(piece, 7);
    CHECK(pwrite(rw, piece, PIECE, 7 * PIECE) == PIECE);
    CHECK(pread(r, got, sizeof got, 0) == (ssize_t)sizeof got);
    check_bytes(got, sizeof got);
    close(w);
    close(r);
    r = open(path, O_RDONLY); /* by the cache, while somebody still reads and writes past it */
    CHECK(r >= 0);
    CHECK(pread(r, got, sizeof got, 0) == (ssize_t)sizeof got);
    fill(piece, 11);
    CHECK(pwrite(rw, piece, PIECE, 11 * PIECE - 5) == PIECE);
    CHECK(pread(r, piece, 5, 11 * PIECE - 5) == 5 && piece[0] == 'a' + 11);
    w = open(path, O_WRONLY); /* there are others: by the cache too */
    CHECK(w >= 0);
    CHECK(pwrite(w, "z", 1, 0) == 1 && pread(r, piece, 1, 0) == 1 && piece[0] == 'z');
    close(w);
    close(rw);
    close(r);
    w = open(path, O_WRONLY); /* nobody else: past the cache, in which pages are left */
    CHECK(w >= 0);
    CHECK(pwrite(w, "y", 1, 0) == 1);
    close(w);
    r = open(path, O_RDONLY);
    CHECK(pread(r, piece, 1, 0) == 1 && piece[0] == 'y');
    close(r);
    CHECK(unlink(path) == 0);
    return 0;
}
