/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target over its corpus without libFuzzer: every file of the folders and files named on the command line, and every
 * truncation of each written file of up to 512 bytes (what libFuzzer found, named by its hash, comes from such cuts). Fails when there is no input at all: an empty corpus tests nothing. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t inputs;

static void run_bytes(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* of the exact size, so that ASan sees the first byte past the end */
    if (!exact)
        abort();
    if (size)
        memcpy(exact, data, size);
    (void)LLVMFuzzerTestOneInput(exact, size); /* the result only guides libFuzzer */
    free(exact);
    inputs++;
}

static bool was_found(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strlen(name) == 40 && strspn(name, "0123456789abcdef") == 40;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t size = 0, cap = 1 << 16;
    uint8_t *data = malloc(cap);
    while (data) {
        size += fread(data + size, 1, cap - size, f);
        if (size < cap)
            break;
        data = realloc(data, cap *= 2);
    }
    fclose(f);
    if (!data)
        abort();
    run_bytes(data, size);
    if (size <= 512 && !was_found(path))
        for (size_t n = 0; n < size; n++)
            run_bytes(data, n);
    free(data);
    return 0;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path);
    DIR *d = opendir(path);
    if (!d) {
        perror(path);
        return 1;
    }
    int failed = 0;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        char file[4096];
        (void)snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        failed |= run_file(file);
    }
    closedir(d);
    return failed;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= run_path(argv[i]);
    if (!inputs) {
        fprintf(stderr, "no input: the corpus is empty\n");
        return 1;
    }
    printf("%zu inputs\n", inputs);
    return failed;
}
