/* SPDX-License-Identifier: MIT
 *
 * Names: any bytes but '/' and NUL, up to 255 of them; listings that are changed while they are read. */
#include "tests/mount/check.h"

#include <dirent.h>
#include <stdbool.h>

#define MANY 3000

static int listed(const char *dir, const char *name)
{
    DIR *d = opendir(dir);
    CHECK(d);
    int n = 0;
    struct dirent *e;
    while ((e = readdir(d)))
        n += strcmp(e->d_name, name) == 0;
    closedir(d);
    return n;
}

/* What is there all the time comes exactly once, whatever else comes and goes. */
static void changing(void)
{
    static uint8_t seen[MANY];
    char name[64];
    CHECK(mkdir("many", 0755) == 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "many/keep%d", i);
        put_file(name, "");
        if (i % 3 == 0) {
            snprintf(name, sizeof name, "many/drop%d", i);
            put_file(name, "");
        }
    }
    DIR *d = opendir("many");
    struct dirent *e;
    int number, count = 0;
    while ((e = readdir(d))) {
        if (sscanf(e->d_name, "keep%d", &number) == 1)
            seen[number]++;
        if (count++ % 10 == 0) {
            snprintf(name, sizeof name, "many/drop%d", count % MANY / 3 * 3);
            unlink(name);
            snprintf(name, sizeof name, "many/new%d", count);
            put_file(name, "");
        }
        CHECK(count < 10 * MANY);
    }
    closedir(d);
    for (int i = 0; i < MANY; i++)
        CHECK(seen[i] == 1);
}

static bool goes_on_to(DIR *d, const char *name)
{
    struct dirent *e;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, name) == 0)
            return true;
    return false;
}

/* rewinddir(3): "as a call to opendir would have done"; also of folders that are not in share/ */
static void rewound(const char *dir)
{
    char name[300];
    snprintf(name, sizeof name, "%s/rewound", dir);
    DIR *d = opendir(dir);
    CHECK(d);
    CHECK(!goes_on_to(d, "rewound"));
    CHECK(symlink("12D3KooWAAAA", name) == 0);
    rewinddir(d);
    CHECK(goes_on_to(d, "rewound"));
    CHECK(unlink(name) == 0);
    rewinddir(d);
    CHECK(!goes_on_to(d, "rewound"));
    closedir(d);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    rewound(".");
    rewound("../../peers");
    char name[300];
    for (int c = 1; c < 256; c++) {
        if (c == '/')
            continue;
        snprintf(name, sizeof name, "n%c", c);
        put_file(name, "x");
        CHECK(listed(".", name) == 1 && holds(name, "x"));
    }
    memset(name, 'x', 255);
    name[255] = 0;
    put_file(name, "long");
    CHECK(holds(name, "long") && listed(".", name) == 1);
    memset(name, 'x', 256);
    name[256] = 0;
    CHECK_ERRNO(open(name, O_WRONLY | O_CREAT, 0644), ENAMETOOLONG);
    CHECK_ERRNO(mkdir("nx", 0755) == 0 ? mkdir("nx", 0755) : -1, EEXIST);
    CHECK(mkdir("deep", 0755) == 0 && chdir("deep") == 0);
    for (int i = 0; i < 100; i++)
        CHECK(mkdir("d", 0755) == 0 && chdir("d") == 0);
    put_file("bottom", "b");
    for (int i = 0; i < 101; i++)
        CHECK(chdir("..") == 0);
    CHECK_ERRNO(rmdir("deep"), ENOTEMPTY);
    CHECK_ERRNO(unlink("deep"), EISDIR);
    CHECK_ERRNO(rmdir("n1"), ENOTDIR);
    changing();
    return 0;
}
