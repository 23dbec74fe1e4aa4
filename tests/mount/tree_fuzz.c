/* SPDX-License-Identifier: MIT
 *
 * Whole trees under random operations, done twice: in a folder of share/ and in one of tmpfs. Each operation must give the same
 * result or the same errno; now and then, at the beginning and at the end all of both trees must be equal. What differs rightly
 * is in the table `allowed`.
 *
 *   tree_fuzz SHARE REFERENCE SEED OPERATIONS
 *   TREE_TRACE=1   prints all operations
 *
 * Both folders are left as they are, so that whoever calls it can restart the node and call it again. On failure it prints the
 * last operations and the seed; m_tree.sh has the seeds that found something. */
#include "tests/mount/check.h"
#include "tests/mount/tree_fuzz.h"

#include <sys/xattr.h>

static const struct allowed {
    const char *op;
    int reference, share; /* errno; 0: success */
    const char *why;
} allowed[] = {
    {"link", 0, EPERM, "a node has one name: MOUNT (17), one inode per path"},
    {"mkfifo", 0, EPERM, "devices, fifos and sockets cannot be shared; what cannot be done fails at once (3)"},
    {"chown", 0, EPERM, "everything belongs to who mounted (16)"},
    {"setxattr", 0, EOPNOTSUPP, "only user.p2p.*, which the mount makes (20)"},
    {"removexattr", ENODATA, EOPNOTSUPP, "the same"},
    {"tmpfile", 0, EOPNOTSUPP, "libfuse 3.14 does not know it; programs fall back"},
};

struct two both;
struct slot slots[SLOTS];
static uint64_t seed, dice;
static unsigned long step;

#define LOG 60
static char log_lines[LOG][700];

uint64_t rnd(void)
{
    uint64_t z = (dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

void note(const char *format, ...)
{
    char line[2400];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    char *out = log_lines[step % LOG];
    int n = snprintf(out, sizeof *log_lines, "%lu: ", step);
    for (const char *c = line; *c && n < (int)sizeof *log_lines - 8; c++)
        n += snprintf(out + n, 8, (unsigned char)*c < 32 || (unsigned char)*c > 126 ? "\\x%02x" : "%c", (unsigned char)*c);
    if (getenv("TREE_TRACE"))
        fprintf(stderr, "%s\n", out);
}

void wrong(const char *format, ...)
{
    for (unsigned long i = step < LOG ? 0 : step - LOG + 1; i <= step; i++)
        fprintf(stderr, "%s\n", log_lines[i % LOG]);
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\ntree_fuzz: seed %llu, operation %lu\n", (unsigned long long)seed, step);
    exit(1);
}

/* ---- results ---- */

bool agree(const char *op)
{
    if (getenv("TREE_TRACE"))
        fprintf(stderr, "%lu: %ld, %s\n", step, both.result[0], both.error[0] ? strerror(both.error[0]) : "done");
    if (both.error[0] == both.error[1]) {
        if (both.error[0] == 0 && both.result[0] != both.result[1])
            wrong("%s: the reference gives %ld, share %ld", op, both.result[0], both.result[1]);
        return both.error[0] == 0;
    }
    for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (strcmp(allowed[i].op, op) == 0 && allowed[i].reference == both.error[0] && allowed[i].share == both.error[1])
            return false;
    wrong("%s: the reference says %s, share %s", op, both.error[0] ? strerror(both.error[0]) : "done",
          both.error[1] ? strerror(both.error[1]) : "done");
}

bool only_reference(void)
{
    return both.error[0] == 0 && both.error[1] != 0;
}

/* ---- names and paths ---- */

#define L50     "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL"
#define LONG255 L50 L50 L50 L50 L50 "LLLLL"

static const char *const names[] = {
    "a",         "b",
    "c",         "d",
    "dir",       "dir2",
    ".hidden",   "x~",
    ".a.swp",    ".#lock",
    ".f.Ab12Cd", "4913",
    "f.part",    "sp ace",
    "new\nline", "\xff\xfe\x80",
    "\xc3\xbc",  "\x01\x7f\x1b",
    "...",       "*?[",
    LONG255,     "L" L50 L50 L50 L50 "\xe2\x82\xac",
    "con:",      "-",
};
#define NAMES (sizeof names / sizeof *names)

#define KNOWN 96
static char known[KNOWN][PATH_BYTES];

void know(const char *path)
{
    if (strlen(path) < PATH_BYTES - 300)
        snprintf(known[below(KNOWN)], PATH_BYTES, "%s", path);
}

static void add_name(char *path)
{
    size_t n = strlen(path);
    unsigned k = below(400);
    const char *name = k == 0 ? LONG255 "L" : k == 1 ? "." : k == 2 && n > 0 ? ".." : names[k % 3 ? k % 8 : k % NAMES];
    snprintf(path + n, PATH_BYTES - n, "%s%s", n ? "/" : "", name);
}

/* Never more than one level above the folder: what is there is compared too */
void make_path(char *path)
{
    path[0] = 0;
    if (below(3) > 0) {
        const char *k = known[below(KNOWN)];
        if (k[0] && strlen(k) < PATH_BYTES - 300)
            strcpy(path, k);
    }
    if (!path[0] || below(4) == 0)
        add_name(path);
    if (below(5) == 0 && strlen(path) < PATH_BYTES - 600)
        add_name(path);
    if (below(60) == 0)
        strcat(path, "/");
}

/* A folder to begin at: the tree's own, or one that is open (and may have lost its name) */
void make_base(struct base *b)
{
    struct slot *s = &slots[below(SLOTS)];
    bool other = s->used && s->dir && below(4) == 0;
    for (int i = 0; i < 2; i++)
        b->fd[i] = other ? s->fd[i] : both.root[i];
    b->name = other ? "(open folder) " : "";
}

/* ---- operations on names ---- */

static void do_mkdir(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    note("mkdir %s%s", b.name, p);
    BOTH(mkdirat(b.fd[i], p, 0777));
    if (agree("mkdir"))
        know(p), touched(p);
}

static void do_remove(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    int flag = below(2) ? AT_REMOVEDIR : 0;
    note("%s %s%s", flag ? "rmdir" : "unlink", b.name, p);
    BOTH(unlinkat(b.fd[i], p, flag));
    if (agree("remove"))
        touched(p);
}

static void do_symlink(void)
{
    static char longest[4096];
    static const char *const targets[] = {"a",      "b",    "dir", "dir/b", "../c", ".", "nowhere", "/nonexistent/x",
                                          "d/../a", longest};
    struct base b;
    char p[PATH_BYTES];
    memset(longest, 't', 4095);
    make_base(&b), make_path(p);
    const char *target = targets[below(10)];
    note("symlink %.20s <- %s%s", target, b.name, p);
    BOTH(symlinkat(target, b.fd[i], p));
    if (agree("symlink"))
        know(p), touched(p);
}

static void do_readlink(void)
{
    static char text[2][5000];
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    size_t room = below(4) == 0 ? 3 : sizeof *text;
    note("readlink %s%s", b.name, p);
    BOTH(readlinkat(b.fd[i], p, text[i], room));
    if (agree("readlink") && memcmp(text[0], text[1], (size_t)both.result[0]) != 0)
        wrong("readlink: other targets");
}

static void do_rename(void)
{
    static const unsigned flags[] = {
        0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_EXCHANGE, 0, RENAME_NOREPLACE | RENAME_EXCHANGE};
    struct base from, to;
    char p[PATH_BYTES], q[PATH_BYTES];
    make_base(&from), make_base(&to), make_path(p), make_path(q);
    if (below(30) == 0 && strlen(p) < PATH_BYTES - 300) { /* into itself */
        strcpy(q, p);
        strcat(q, "/b");
        to = from;
    }
    unsigned how = flags[below(8)];
    note("rename %#x %s%s -> %s%s", how, from.name, p, to.name, q);
    BOTH(renameat2(from.fd[i], p, to.fd[i], q, how));
    if (agree("rename"))
        know(q), touched(p), touched(q);
}

static void do_link(void)
{
    struct base from, to;
    char p[PATH_BYTES], q[PATH_BYTES];
    make_base(&from), make_base(&to), make_path(p), make_path(q);
    int flag = below(2) ? AT_SYMLINK_FOLLOW : 0;
    note("link %s%s -> %s%s", from.name, p, to.name, q);
    BOTH(linkat(from.fd[i], p, to.fd[i], q, flag));
    agree("link");
    if (only_reference())
        unlinkat(to.fd[0], q, 0);
}

static void do_mknod(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    bool fifo = below(4) == 0;
    note("mknod %s %s%s", fifo ? "fifo" : "file", b.name, p);
    BOTH(mknodat(b.fd[i], p, (fifo ? S_IFIFO : S_IFREG) | 0666, 0));
    if (agree(fifo ? "mkfifo" : "mknod"))
        know(p), touched(p);
    if (only_reference())
        unlinkat(b.fd[0], p, 0);
}

/* ---- attributes ---- */

static const mode_t modes[] = {0644, 0600, 0755, 0444, 0, 0777, 04755, 02755, 01777};

static void do_chmod(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    mode_t mode = modes[below(9)];
    note("chmod %o %s%s", (unsigned)mode, b.name, p);
    BOTH(fchmodat(b.fd[i], p, mode, 0));
    agree("chmod");
}

static void do_chown(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    uid_t uid = below(2) ? 0 : 12345;
    note("chown %u %s%s", (unsigned)uid, b.name, p);
    BOTH(fchownat(b.fd[i], p, geteuid() == 0 ? uid : geteuid(), (gid_t)-1, AT_SYMLINK_NOFOLLOW));
    agree("chown");
    if (only_reference())
        fchownat(b.fd[0], p, 0, (gid_t)-1, AT_SYMLINK_NOFOLLOW);
}

static void do_utimens(void)
{
    struct base b;
    char p[PATH_BYTES];
    make_base(&b), make_path(p);
    struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, some_time()};
    int flag = below(2) ? AT_SYMLINK_NOFOLLOW : 0;
    note("utimens %lld.%09ld %s%s", (long long)t[1].tv_sec, t[1].tv_nsec, b.name, p);
    BOTH(utimensat(b.fd[i], p, t, flag));
    agree("utimens");
}

static void do_truncate(void)
{
    char p[PATH_BYTES], path[2][PATH_BYTES * 3];
    make_path(p);
    off_t size = below(20) == 0 ? below(1300000) : below(70000);
    note("truncate %lld %s", (long long)size, p);
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof *path, "%s/%s", both.path[i], p);
    BOTH(truncate(path[i], size));
    agree("truncate");
}

static void do_stat(void)
{
    struct base b;
    char p[PATH_BYTES];
    struct stat st[2];
    make_base(&b), make_path(p);
    int flag = below(2) ? AT_SYMLINK_NOFOLLOW : 0;
    note("stat %s%s", b.name, p);
    BOTH(fstatat(b.fd[i], p, &st[i], flag));
    if (agree("stat"))
        same_attributes(st, p);
}

static void do_xattr(void)
{
    char p[PATH_BYTES], path[2][PATH_BYTES * 3], value[4096];
    make_path(p);
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof *path, "%s/%s", both.path[i], p);
    static const char *const does[] = {"setxattr", "getxattr", "listxattr", "removexattr"};
    unsigned what = below(4);
    note("%s %s", does[what], p);
    BOTH(what == 0   ? setxattr(path[i], "user.x", "1", 1, 0)
         : what == 1 ? getxattr(path[i], "user.x", value, sizeof value)
         : what == 2 ? listxattr(path[i], value, sizeof value)
                     : removexattr(path[i], "user.x"));
    agree(does[what]);
    if (what == 0 && only_reference())
        removexattr(path[0], "user.x");
}

/* Has a state of the tree made, in the middle of everything */
static void do_cid(void)
{
    char p[PATH_BYTES], path[PATH_BYTES * 3], cid[128];
    struct stat st;
    make_path(p);
    snprintf(path, sizeof path, "%s/%s", both.path[1], below(4) ? p : ".");
    note("cid %s", p);
    int missing = stat(path, &st) != 0 ? errno : 0;
    if (getxattr(path, "user.p2p.cid", cid, sizeof cid) < 0 && errno != missing)
        wrong("cid: %s", strerror(errno));
}

/* ---- ---- */

static const struct {
    void (*act)(void);
    unsigned weight;
} ops[] = {
    {do_mkdir, 60}, {do_remove, 90}, {do_symlink, 25}, {do_readlink, 15}, {do_rename, 120}, {do_link, 10},  {do_mknod, 15},
    {do_chmod, 20}, {do_chown, 6},   {do_utimens, 30}, {do_truncate, 30}, {do_stat, 50},    {do_xattr, 15}, {do_cid, 4},
    {do_open, 120}, {do_use, 300},   {do_stream, 60},  {do_bulk, 3},      {do_wipe, 4},
};
#define OPS (sizeof ops / sizeof *ops)

static void run(unsigned long count)
{
    unsigned total = 0, weights[OPS];
    for (unsigned k = 0; k < OPS; k++) /* each seed likes other operations */
        total += weights[k] = ops[k].weight * (below(5) == 0 ? 4 : 1);
    for (step = 1; step <= count; step++) {
        unsigned k = 0, at = below(total);
        while (at >= weights[k])
            at -= weights[k++];
        note("-");
        ops[k].act();
        if (step % 1500 == 0 && compare() > 2000)
            wipe_all();
    }
    close_slots();
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s SHARE REFERENCE SEED OPERATIONS\n", argv[0]);
        return 2;
    }
    umask(022);
    seed = dice = strtoull(argv[3], NULL, 10);
    for (int i = 0; i < 2; i++) {
        char top[4096];
        snprintf(top, sizeof top, "%s/tree", argv[2 - i]);
        snprintf(both.path[i], sizeof *both.path, "%s/tree/in", argv[2 - i]);
        CHECK(mkdir(top, 0755) == 0 || errno == EEXIST);
        CHECK(mkdir(both.path[i], 0755) == 0 || errno == EEXIST);
        CHECK((both.top[i] = open(top, O_RDONLY | O_DIRECTORY)) >= 0);
        CHECK((both.root[i] = open(both.path[i], O_RDONLY | O_DIRECTORY)) >= 0);
    }
    note("as it was left");
    compare();
    run(strtoul(argv[4], NULL, 10));
    note("the end");
    compare();
    return 0;
}
