/* SPDX-License-Identifier: MIT
 *
 * In one run, on this machine: what its parts can do at most, and what the node does with them; each of the node's figures
 * with the limit that bounds it and the ratio. Needs a running node with a mount; leaves nothing behind but cache. */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"
#include "store/base/mono.h"
#include "store/base/units.h"
#include "store/content/hasher.h"
#include "store/repo/repo.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE   (UINT32_C(1) << 20)
#define ENTRIES 1000

static const struct cli_option options[] = {
    {"size", 's', "SIZE", "bytes of the test file (256M)"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"measure", "measure", CLI_TEXT}, {"figure", "figure", CLI_TEXT}, {"of", "of", CLI_TEXT},
    {"ratio", "ratio", CLI_TEXT},     {NULL, NULL, CLI_TEXT},
};

enum limit { LIMIT_MEMORY, LIMIT_SHA, LIMIT_AEAD, LIMIT_DISK, LIMIT_COLD, LIMIT_CACHE, LIMIT_TCP, LIMIT_NONE };
static const char *const limit_names[] = {"copy in memory",   "SHA-256",          "ChaCha20-Poly1305", "plain cp + fsync",
                                          "plain read, cold", "plain read, warm", "TCP on loopback",   NULL};

struct bench {
    struct cli *c;
    struct cli_table *table;
    struct api api;
    uint64_t size;
    double limits[LIMIT_NONE]; /* bytes per second */
    uint8_t *piece;
    char mount[PATH_MAX], state[PATH_MAX];
};

static double seconds_since(mono_ns begin)
{
    double s = (double)(mono_now() - begin) / (double)MONO_S;
    return s > 1e-9 ? s : 1e-9;
}

static void row(struct bench *b, const char *what, double rate, enum limit of)
{
    char size[UNITS_TEXT_SIZE], figure[48], ratio[16] = "-";
    snprintf(figure, sizeof figure, "%s/s", size_text((uint64_t)rate, size));
    if (of != LIMIT_NONE && b->limits[of] > 0)
        snprintf(ratio, sizeof ratio, "%.2f", rate / b->limits[of]);
    json_t *r = json_pack("{ss ss sf ss ss}", "measure", what, "figure", figure, "bytes_per_second", rate, "of",
                          of == LIMIT_NONE ? "" : limit_names[of], "ratio", ratio);
    cli_table_row(b->table, r);
    json_decref(r);
}

static void row_time(struct bench *b, const char *what, double seconds)
{
    char figure[48];
    snprintf(figure, sizeof figure, "%.1f ms", seconds * 1000);
    json_t *r = json_pack("{ss ss sf}", "measure", what, "figure", figure, "seconds", seconds);
    cli_table_row(b->table, r);
    json_decref(r);
}

static int fail(struct bench *b, const char *what, const char *path)
{
    return cli_fail(b->c, err_from_errno(errno), "p2p doctor", "cannot %s '%s': %s", what, path, strerror(errno));
}

/* ---- limits of the machine ---- */

static void set_limit(struct bench *b, enum limit l, double rate)
{
    b->limits[l] = rate;
    row(b, limit_names[l], rate, LIMIT_NONE);
}

static void measure_memory(struct bench *b)
{
    uint8_t *to = mem_new(PIECE);
    mono_ns begin = mono_now();
    for (uint64_t n = 0; n < b->size; n += PIECE) {
        b->piece[0]++; /* so that no copy can be left out */
        memcpy(to, b->piece, PIECE);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    set_limit(b, LIMIT_MEMORY, (double)b->size / seconds_since(begin));
    free(to);
}

static void measure_sha(struct bench *b)
{
    uint8_t digest[SHA256_SIZE];
    mono_ns begin = mono_now();
    for (uint64_t n = 0; n < b->size; n += PIECE)
        sha256(span_of(b->piece, PIECE), digest);
    set_limit(b, LIMIT_SHA, (double)b->size / seconds_since(begin));
}

static void measure_aead(struct bench *b)
{
    uint8_t key[32] = {1}, nonce[12] = {0}, *out = mem_new(PIECE + 16);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0, good = EVP_EncryptInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce);
    mono_ns begin = mono_now();
    for (uint64_t n = 0; n < b->size && good; n += 65536) { /* our frames are at most that long */
        memcpy(nonce, &n, sizeof n);
        good = EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, nonce) && EVP_EncryptUpdate(ctx, out, &len, b->piece, 65536) &&
               EVP_EncryptFinal_ex(ctx, out + len, &len);
    }
    set_limit(b, LIMIT_AEAD, good ? (double)b->size / seconds_since(begin) : 0);
    EVP_CIPHER_CTX_free(ctx);
    free(out);
}

static int write_file(struct bench *b, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(b, "write", path);
    int r = 0;
    for (uint64_t n = 0; n < b->size && r == 0; n += PIECE) {
        memcpy(b->piece, &n, sizeof n); /* no two chunks are alike */
        if (cli_interrupted())
            r = ERR_INTERRUPTED;
        else if (write(fd, b->piece, PIECE) != PIECE)
            r = fail(b, "write", path);
    }
    if (r == 0 && fsync(fd) < 0)
        r = fail(b, "sync", path);
    if (close(fd) < 0 && r == 0)
        r = fail(b, "write", path);
    return r;
}

/* Clean pages of the file leave the cache. Those that a process has mapped stay: of what was only written, it has none. */
static void drop_pages(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* a wish */
    close(fd);
}

/* The same for the files that the node keeps blocks in */
static void drop_store_pages(const struct bench *b)
{
    char path[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/blocks", b->state);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/blocks/%s", b->state, e->d_name);
        if (e->d_name[0] != '.')
            drop_pages(path);
    }
    if (d)
        closedir(d);
}

static int read_file(struct bench *b, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(b, "read", path);
    ssize_t n;
    while ((n = read(fd, b->piece, PIECE)) > 0 && !cli_interrupted())
        ;
    int r = n < 0 ? fail(b, "read", path) : n > 0 ? ERR_INTERRUPTED : 0;
    close(fd);
    return r;
}

static int measure_disk(struct bench *b)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/bench.tmp", b->state);
    mono_ns begin = mono_now();
    int r = write_file(b, path);
    if (r == 0)
        set_limit(b, LIMIT_DISK, (double)b->size / seconds_since(begin));
    drop_pages(path);
    begin = mono_now();
    if (r == 0)
        r = read_file(b, path);
    if (r == 0)
        set_limit(b, LIMIT_COLD, (double)b->size / seconds_since(begin));
    begin = mono_now();
    if (r == 0)
        r = read_file(b, path);
    if (r == 0)
        set_limit(b, LIMIT_CACHE, (double)b->size / seconds_since(begin));
    unlink(path);
    return r;
}

static void send_all(const struct bench *b, int listener)
{
    int fd = accept(listener, NULL, NULL);
    for (uint64_t n = 0; fd >= 0 && n < b->size;) {
        ssize_t w = send(fd, b->piece, PIECE, MSG_NOSIGNAL);
        if (w <= 0)
            break;
        n += (uint64_t)w;
    }
    _exit(0);
}

static void measure_tcp(struct bench *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 1) == 0 &&
                getsockname(listener, (struct sockaddr *)&a, &len) == 0;
    pid_t pid = good ? fork() : -1;
    if (pid == 0)
        send_all(b, listener);
    uint64_t got = 0;
    mono_ns begin = mono_now();
    if (pid > 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
        ssize_t n;
        while ((n = recv(fd, b->piece, PIECE, 0)) > 0)
            got += (uint64_t)n;
    }
    set_limit(b, LIMIT_TCP, (double)got / seconds_since(begin));
    close(fd);
    close(listener);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0); /* only to leave no zombie */
}

/* ---- the node ---- */

static int node_file(struct bench *b)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/share/.bench.part", b->mount); /* a temporary name: not published */
    mono_ns begin = mono_now();
    int r = write_file(b, path);
    if (r == 0)
        row(b, "cp into share/ + fsync", (double)b->size / seconds_since(begin), LIMIT_DISK);
    drop_pages(path);
    drop_store_pages(b);
    begin = mono_now();
    if (r == 0)
        r = read_file(b, path);
    if (r == 0)
        row(b, "cat from share/, cold", (double)b->size / seconds_since(begin), LIMIT_COLD);
    begin = mono_now();
    if (r == 0)
        r = read_file(b, path);
    if (r == 0)
        row(b, "cat from share/, warm", (double)b->size / seconds_since(begin), LIMIT_CACHE);
    unlink(path);
    return r;
}

static int make_entries(struct bench *b, const char *dir, bool make)
{
    char path[PATH_MAX + 64];
    for (unsigned i = 0; i < ENTRIES && !cli_interrupted(); i++) {
        snprintf(path, sizeof path, "%s/%u", dir, i);
        int fd = make ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : unlink(path);
        if (fd < 0)
            return fail(b, make ? "make" : "remove", path);
        if (make)
            close(fd);
    }
    return cli_interrupted() ? ERR_INTERRUPTED : 0;
}

static unsigned list_entries(const char *dir)
{
    unsigned n = 0;
    struct stat st;
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)))
        n += fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (d)
        closedir(d);
    return n;
}

static int node_folder(struct bench *b)
{
    char dir[PATH_MAX + 32];
    snprintf(dir, sizeof dir, "%s/share/.bench.dir.part", b->mount);
    if (mkdir(dir, 0700) < 0)
        return fail(b, "make", dir);
    mono_ns begin = mono_now();
    int r = make_entries(b, dir, true);
    row_time(b, "1000 empty files made in share/", seconds_since(begin));
    begin = mono_now();
    if (r == 0 && list_entries(dir) < ENTRIES)
        r = cli_fail(b->c, ERR_FAILED, NULL, "not all entries were listed");
    row_time(b, "ls -l of them", seconds_since(begin));
    begin = mono_now();
    if (r == 0)
        r = make_entries(b, dir, false);
    row_time(b, "rm of them", seconds_since(begin));
    rmdir(dir);
    return r;
}

static int node_request(struct bench *b)
{
    mono_ns begin = mono_now();
    int r = 0;
    for (unsigned i = 0; i < 100 && r == 0; i++)
        r = api_json(&b->api, "GET", "/v1/version", SPAN_NONE, NULL);
    row_time(b, "a request to the control socket", seconds_since(begin) / 100);
    return r;
}

static int measure_all(struct bench *b)
{
    measure_memory(b);
    measure_sha(b);
    measure_aead(b);
    measure_tcp(b);
    int r = measure_disk(b);
    if (r == 0)
        r = node_request(b);
    if (r == 0)
        r = node_file(b);
    return r < 0 ? r : node_folder(b);
}

static int prepare(struct bench *b)
{
    struct repo_paths paths;
    struct why why = {""};
    json_t *status = NULL;
    int r = repo_paths(&paths, &why);
    if (r < 0)
        return cli_fail(b->c, r, NULL, "%s", why.text);
    snprintf(b->state, sizeof b->state, "%s", paths.state);
    r = api_json(&b->api, "GET", "/v1/status", SPAN_NONE, &status);
    if (r == 0)
        snprintf(b->mount, sizeof b->mount, "%s", api_text(status, "mount"));
    json_decref(status);
    if (r == 0 && !b->mount[0])
        r = cli_fail(b->c, ERR_UNSUPPORTED, "p2p down; p2p up", "the node runs without a mount");
    return r;
}

static int run(struct cli *c)
{
    struct bench b = {.c = c, .size = UINT64_C(256) << 20};
    const char *size = cli_value(c, "size");
    if (size && (size_parse(span_str(size), &b.size) < 0 || b.size < PIECE || b.size > UINT64_C(1) << 40))
        return cli_fail(c, ERR_USAGE, NULL, "--size: '%s' is not a size from 1M to 1T", size);
    b.size -= b.size % PIECE;
    int r = api_open(&b.api, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    r = prepare(&b);
    if (r == 0) {
        b.piece = mem_new(PIECE);
        for (size_t i = 0; i < PIECE; i++)
            b.piece[i] = (uint8_t)(i * 2654435761u >> 13);
        b.table = cli_table_new(c, columns);
        r = measure_all(&b);
        cli_table_end(b.table);
        free(b.piece);
    }
    api_close(&b.api);
    return r;
}

const struct cli_command sub_bench = {
    .name = "bench",
    .operands = "",
    .summary = "what this machine can do at most, and what the node does with it",
    .details =
        "Writes and reads a test file in the state folder and in share/, and removes it. The column 'ratio' compares the\n"
        "node with the limit named beside it, measured in the same run. Before a cold read the kernel is asked to drop its\n"
        "pages of the file, of the mount's and of the node's own files; what the host of a virtual machine or the disk itself\n"
        "remembers stays.",
    .options = options,
    .run = run,
};
