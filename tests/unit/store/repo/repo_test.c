/* SPDX-License-Identifier: MIT */
#include "store/repo/repo.h"

#include "store/repo/identity.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[64];

static void setup(void)
{
    strcpy(home, "/tmp/p2p-test-XXXXXX");
    cr_assert(mkdtemp(home));
    setenv("P2P_HOME", home, 1);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", home);
    cr_assert_eq(system(command), 0);
}

TestSuite(repo, .init = setup, .fini = teardown);
TestSuite(identity, .init = setup, .fini = teardown);

static char *at(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f);
    fputs(text, f);
    fclose(f);
}

static void check_text(const char *path, const char *expected)
{
    char text[64] = "";
    FILE *f = fopen(path, "r");
    cr_assert(f, "%s", path);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    cr_assert_str_eq(text, expected);
}

Test(repo, paths)
{
    struct repo_paths p;
    struct why why;
    char expected[128];
    setenv("P2P_HOME", "/x/y//", 1);
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_str_eq(p.config, "/x/y/config");
    cr_assert_str_eq(p.state, "/x/y/state");
    cr_assert_str_eq(p.run, "/x/y/run");
    setenv("P2P_HOME", "x", 1);
    cr_assert_eq(repo_paths(&p, &why), ERR_INVALID);
    cr_assert(strstr(why.text, "P2P_HOME") && strstr(why.text, "absolute"));
    setenv("P2P_HOME", "", 1);
    setenv("HOME", "/home/u", 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_DATA_HOME");
    unsetenv("XDG_RUNTIME_DIR");
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_str_eq(p.config, "/home/u/.config/p2p/config");
    cr_assert_str_eq(p.state, "/home/u/.local/share/p2p");
    snprintf(expected, sizeof expected, "/tmp/p2p-%u", (unsigned)geteuid());
    cr_assert_str_eq(p.run, expected);
    setenv("XDG_RUNTIME_DIR", "/run/user/9", 1);
    setenv("XDG_DATA_HOME", "/data", 1);
    setenv("XDG_CONFIG_HOME", "/conf", 1);
    unsetenv("HOME");
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_str_eq(p.config, "/conf/p2p/config");
    cr_assert_str_eq(p.state, "/data/p2p");
    cr_assert_str_eq(p.run, "/run/user/9/p2p");
    unsetenv("XDG_DATA_HOME");
    cr_assert_eq(repo_paths(&p, &why), ERR_INVALID);
    char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = 0;
    setenv("P2P_HOME", longest, 1);
    cr_assert_eq(repo_paths(&p, &why), ERR_NAME_LONG);
}

static int make_run(const struct repo_paths *p, struct why *why)
{
    struct repo *r;
    cr_assert_eq(repo_open(&r, p, why), 0, "%s", why->text);
    int e = repo_make_run(r, why);
    repo_close(r);
    return e;
}

Test(repo, run_folder_must_be_private)
{
    struct repo_paths p;
    struct why why;
    struct stat st;
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_eq(make_run(&p, &why), 0, "%s", why.text);
    cr_assert(stat(p.run, &st) == 0 && (st.st_mode & 0777) == 0700);
    cr_assert_eq(make_run(&p, &why), 0);
    cr_assert_eq(chmod(p.run, 0755), 0);
    cr_assert_eq(make_run(&p, &why), 0, "ours: closed to others");
    cr_assert(stat(p.run, &st) == 0 && (st.st_mode & 0777) == 0700);
    cr_assert(rmdir(p.run) == 0 && mkdir(at("elsewhere"), 0700) == 0 && symlink(at("elsewhere"), p.run) == 0);
    cr_assert_eq(make_run(&p, &why), ERR_DENIED, "a symlink could lead anywhere");
    cr_assert(strstr(why.text, p.run), "%s", why.text);
}

Test(repo, run_folder_is_of_one_node)
{
    struct repo_paths p, q;
    struct repo *first, *second;
    struct why why;
    cr_assert_eq(repo_paths(&p, &why), 0);
    q = p;
    snprintf(q.state, sizeof q.state, "%s", at("other-state"));
    cr_assert(repo_open(&first, &p, &why) == 0 && repo_open(&second, &q, &why) == 0, "%s", why.text);
    cr_assert_eq(repo_make_run(first, &why), 0, "%s", why.text);
    cr_assert_eq(repo_make_run(second, &why), ERR_LOCKED);
    cr_assert(strstr(why.text, p.run), "%s", why.text);
    repo_close(second);
    repo_close(first);
    cr_assert_eq(make_run(&q, &why), 0, "the lock went with the first: %s", why.text);
}

Test(repo, second_node_is_refused_by_pid)
{
    struct repo_paths p;
    struct why why;
    struct repo *r;
    int ready[2], go[2];
    char c;
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        c = repo_open(&r, &p, &why) == 0;
        if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    cr_assert(read(ready[0], &c, 1) == 1 && c == 1);
    char text[32];
    snprintf(text, sizeof text, "pid %d", (int)pid);
    cr_assert_eq(repo_open(&r, &p, &why), ERR_LOCKED);
    cr_assert(strstr(why.text, text) && strstr(why.text, p.state), "%s", why.text);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_assert_eq(repo_open(&r, &p, &why), 0, "the lock goes with the process: %s", why.text);
    char path[PATH_MAX];
    cr_assert_str_eq(repo_file(r, "identity.key", path), at("state/identity.key"));
    cr_assert_eq(repo_dir(r, "blocks", path, &why), 0);
    struct stat st;
    cr_assert(stat(path, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700);
    cr_assert_str_eq(repo_where(r)->state, p.state);
    check_text(at("state/version"), "1\n");
    repo_close(r);
    repo_close(NULL);
}

Test(repo, versions)
{
    struct repo_paths p;
    struct why why;
    struct repo *r;
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_eq(mkdir(at("state"), 0700), 0);
    write_text(at("state/version"), "2\n");
    cr_assert_eq(repo_open(&r, &p, &why), ERR_VERSION);
    cr_assert(strstr(why.text, "newer version (format 2, this program knows 1)"), "%s", why.text);
    cr_assert_eq(access(at("state/lock"), F_OK), -1, "untouched");
    static const char *const bad[] = {
        "", "x", "0", "-1", "1x", "99999999999999999999999", "1\n2\n", " 1", "1111111111111111111111111111111111111111111"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_text(at("state/version"), bad[i]);
        cr_assert_lt(repo_open(&r, &p, &why), 0, "\"%s\"", bad[i]);
        check_text(at("state/version"), bad[i]);
    }
}

static char steps[16];
static int fail_at;

static int step(const char *state, struct why *why, int n)
{
    cr_assert(strstr(state, "/state"));
    if (n == fail_at)
        return why_set(why, ERR_IO, "step %d failed", n);
    size_t len = strlen(steps);
    steps[len] = (char)('0' + n);
    return 0;
}

static int step1(const char *state, struct why *why)
{
    return step(state, why, 1);
}

static int step2(const char *state, struct why *why)
{
    return step(state, why, 2);
}

static int step3(const char *state, struct why *why)
{
    return step(state, why, 3);
}

Test(repo, migrations_run_in_order_and_are_stamped)
{
    static const struct repo_migration table[] = {{2, step2}, {1, step1}, {3, step3}, {0, NULL}};
    struct repo_paths p;
    struct why why;
    struct repo *r;
    cr_assert_eq(repo_paths(&p, &why), 0);
    cr_assert_eq(mkdir(at("state"), 0700), 0);
    write_text(at("state/version"), "1\n");
    fail_at = 2;
    cr_assert_eq(repo_open_with(&r, &p, table, 4, &why), ERR_IO);
    cr_assert_str_eq(steps, "1");
    check_text(at("state/version"), "2\n");
    fail_at = 0;
    cr_assert_eq(repo_open_with(&r, &p, table, 4, &why), 0, "%s", why.text);
    cr_assert_str_eq(steps, "123", "each once");
    check_text(at("state/version"), "4\n");
    repo_close(r);
    cr_assert_eq(repo_open_with(&r, &p, table, 4, &why), 0);
    cr_assert_str_eq(steps, "123");
    repo_close(r);
    cr_assert_eq(repo_open_with(&r, &p, table, 6, &why), ERR_VERSION, "no way from 4");
    check_text(at("state/version"), "4\n");
}

Test(repo, files_are_replaced_whole)
{
    struct why why;
    char path[PATH_MAX];
    strcpy(path, at("file"));
    struct stat st;
    struct buf text = BUF_INIT;
    cr_assert_eq(repo_write_file(path, "one", 3, 0600, &why), 0);
    cr_assert_eq(repo_write_file(path, "second", 6, 0640, &why), 0);
    cr_assert(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    cr_assert_eq(repo_read_file(path, 6, &text, &why), 0);
    cr_assert(span_eq_str(buf_span(&text), "second"));
    cr_assert_eq(repo_read_file(path, 5, &text, &why), ERR_TOO_BIG);
    cr_assert_eq(buf_len(&text), 6, "unchanged on failure");
    cr_assert_eq(repo_read_file(at("none"), 5, &text, &why), ERR_NOT_FOUND);
    cr_assert_eq(repo_read_file(home, 5, &text, &why), ERR_IS_DIR);
    cr_assert_lt(repo_write_file(at("no/such/folder"), "x", 1, 0600, &why), 0);
    cr_assert(strstr(why.text, "no/such/folder"));
    buf_done(&text);
}

/* ---- the key ---- */

/* RFC 8032 section 7.1, test 1 */
static const uint8_t rfc_seed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
                                     0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
                                     0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60};
static const uint8_t rfc_public[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe,
                                       0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6,
                                       0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};

/* The Ed25519 private key of libp2p/specs, peer-ids, "test vectors" */
static const char spec_key[] = "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
                               "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return n;
}

Test(identity, vectors_and_round_trip)
{
    struct node_key id, again;
    struct why why = {""};
    uint8_t bytes[IDENTITY_FILE_SIZE], other[IDENTITY_FILE_SIZE];
    cr_assert_eq(node_key_from_seed(&id, rfc_seed), 0);
    cr_assert_arr_eq(id.public_key, rfc_public, 32);
    node_key_encode(&id, bytes);
    cr_assert_eq(node_key_parse(span_of(bytes, sizeof bytes), &again, &why), 0, "%s", why.text);
    cr_assert_arr_eq(&id, &again, sizeof id);
    cr_assert_eq(unhex(spec_key, other), IDENTITY_FILE_SIZE);
    cr_assert_eq(node_key_parse(span_of(other, sizeof other), &again, &why), 0, "%s", why.text);
    node_key_encode(&again, bytes);
    cr_assert_arr_eq(bytes, other, sizeof bytes);

    uint8_t older[4 + 96] = {0x08, 0x01, 0x12, 96}; /* public key twice */
    memcpy(older + 4, other + 4, 64);
    memcpy(older + 68, other + 36, 32);
    cr_assert_eq(node_key_parse(span_of(older, sizeof older), &again, &why), 0);
    older[80] ^= 1;
    cr_assert_eq(node_key_parse(span_of(older, sizeof older), &again, &why), ERR_CORRUPT);
    node_key_wipe(&id);
    struct node_key zero = {0};
    cr_assert_arr_eq(&id, &zero, sizeof id);
}

Test(identity, bad_bytes_are_refused)
{
    struct node_key id, untouched, result;
    struct why why;
    uint8_t bytes[IDENTITY_FILE_SIZE + 1];
    memset(&untouched, 0x55, sizeof untouched);
    result = untouched;
    cr_assert_eq(node_key_from_seed(&id, rfc_seed), 0);
    node_key_encode(&id, bytes);
    for (size_t n = 0; n < IDENTITY_FILE_SIZE; n++)
        cr_assert_eq(node_key_parse(span_of(bytes, n), &result, &why), ERR_INVALID, "%zu bytes", n);
    bytes[IDENTITY_FILE_SIZE] = 0;
    cr_assert_eq(node_key_parse(span_of(bytes, sizeof bytes), &result, &why), ERR_INVALID);
    for (size_t i = 4; i < IDENTITY_FILE_SIZE; i++) { /* any flipped bit of either half */
        bytes[i] ^= 0x40;
        cr_assert_eq(node_key_parse(span_of(bytes, IDENTITY_FILE_SIZE), &result, &why), ERR_CORRUPT, "byte %zu", i);
        bytes[i] ^= 0x40;
    }
    bytes[1] = 0;
    cr_assert_eq(node_key_parse(span_of(bytes, IDENTITY_FILE_SIZE), &result, &why), ERR_UNSUPPORTED);
    cr_assert(strstr(why.text, "Ed25519"));
    cr_assert_arr_eq(&result, &untouched, sizeof result);
}

Test(identity, file)
{
    struct node_key id, again;
    struct why why = {""};
    struct stat st;
    char path[PATH_MAX];
    strcpy(path, at("identity.key"));
    cr_assert_eq(node_key_load(path, &id, &why), 0, "%s", why.text);
    cr_assert(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_size == IDENTITY_FILE_SIZE);
    cr_assert_eq(node_key_load(path, &again, &why), 0, "%s", why.text);
    cr_assert_arr_eq(&id, &again, sizeof id);
    static const mode_t wide[] = {0640, 0604, 0660, 0610, 0777};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        cr_assert_eq(chmod(path, wide[i]), 0);
        cr_assert_eq(node_key_load(path, &again, &why), ERR_DENIED, "%o", wide[i]);
        cr_assert(strstr(why.text, "chmod 600"), "%s", why.text);
    }
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(node_key_load(path, &again, &why), 0, "narrower is fine");
    cr_assert_eq(chmod(path, 0600), 0);
    cr_assert_eq(truncate(path, 60), 0);
    cr_assert_eq(node_key_load(path, &again, &why), ERR_INVALID);
    cr_assert(strstr(why.text, path), "%s", why.text);
    cr_assert(stat(path, &st) == 0 && st.st_size == 60, "left as it is");
    cr_assert_eq(truncate(path, 5000), 0);
    cr_assert_eq(node_key_load(path, &again, &why), ERR_INVALID);
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(node_key_load(path, &again, &why), ERR_INVALID, "an empty file is not replaced");
    cr_assert(unlink(path) == 0 && symlink("/etc/hostname", path) == 0);
    cr_assert_lt(node_key_load(path, &again, &why), 0);
    cr_assert(unlink(path) == 0 && mkdir(path, 0700) == 0);
    cr_assert_lt(node_key_load(path, &again, &why), 0);
    cr_assert_lt(node_key_load(at("no/folder/key"), &again, &why), 0);
}

/* A folder that is not made yet: the disk that it will be on. /proc has no room, and no folder can be made there. */
Test(repo, disk_free)
{
    uint64_t bytes = 7;
    cr_assert_eq(repo_disk_free("/proc/none/there", &bytes), 0);
    cr_assert_eq(bytes, 0);
    cr_assert_eq(repo_disk_free(home, &bytes), 0);
    cr_assert_gt(bytes, 0);
    cr_assert_eq(repo_disk_free("/none/there/at/all", &bytes), 0);
    cr_assert_gt(bytes, 0);
    cr_assert_eq(repo_disk_free("none", &bytes), ERR_NOT_FOUND);
}
