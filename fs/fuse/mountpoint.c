/* SPDX-License-Identifier: MIT */
#include "fs/fuse/mountpoint.h"

#include "store/base/log.h"
#include "store/base/mono.h"
#include "store/base/span.h"
#include "store/base/thread.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* mountinfo writes space, tab, newline and backslash as \ooo */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
}

/* "36 35 98:0 /root /mount/point options … - type source super": the newest line of a place is what one sees there */
static bool parse_line(char *line, const char *place, unsigned *major, unsigned *minor, bool *ret_ours)
{
    char *dash = strstr(line, " - ");
    char point[PATH_MAX];
    if (!dash || sscanf(line, "%*u %*u %u:%u %*s %4095s", major, minor, point) != 3)
        return false;
    unescape(point);
    if (strcmp(point, place) != 0)
        return false;
    *ret_ours = strncmp(dash + 3, MOUNT_TYPE " ", sizeof MOUNT_TYPE) == 0;
    return true;
}

/* Cuts "/" and "/." at the end: the folder itself, without asking it. */
static void cut_end(char *path)
{
    size_t len = strlen(path);
    while (len > 1 && (path[len - 1] == '/' || (path[len - 1] == '.' && path[len - 2] == '/')))
        path[--len] = 0;
}

/* The parent is resolved, and what stands there is read when it is a symlink. False: it is none. */
static bool step(char path[PATH_MAX])
{
    char parent[PATH_MAX], link[PATH_MAX];
    cut_end(path);
    char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (strcmp(base, "..") == 0) { /* nothing is mounted on the way up that has to be cleared */
        if (realpath(path, parent))
            snprintf(path, PATH_MAX, "%s", parent);
        return false;
    }
    char *up = slash == path ? mem_str("/") : slash ? mem_strn(span_of(path, (size_t)(slash - path))) : mem_str(".");
    if (!realpath(up, parent))
        snprintf(parent, sizeof parent, "%s", up);
    free(up);
    char place[PATH_MAX];
    snprintf(place, sizeof place, "%.*s/%.*s", PATH_MAX / 2, strcmp(parent, "/") == 0 ? "" : parent, NAME_MAX, base);
    ssize_t n = readlink(place, link, sizeof link - 1); /* of a mount EINVAL: its root is a folder, as everybody knows */
    link[n > 0 ? n : 0] = 0;
    if (n > 0 && link[0] != '/')
        snprintf(path, PATH_MAX, "%.*s/%.*s", PATH_MAX / 2 - 1, parent, PATH_MAX / 2 - 1, link);
    else
        snprintf(path, PATH_MAX, "%s", n > 0 ? link : place);
    return n > 0;
}

#define LINKS_MOST 40 /* as the kernel has it */

/* What mountinfo calls `dir`: without symlinks, "." and "..". What is mounted there is not asked. */
static void place_of(const char *dir, char ret_path[PATH_MAX])
{
    snprintf(ret_path, PATH_MAX, "%s", dir);
    for (int i = 0; i < LINKS_MOST && step(ret_path); i++)
        ;
}

bool mountpoint_mounted(const char *place, unsigned *ret_major, unsigned *ret_minor)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    bool ours = false;
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) {
        unsigned major, minor;
        if (parse_line(line, place, &major, &minor, &ours) && ours && ret_major) {
            *ret_major = major;
            *ret_minor = minor;
        }
    }
    free(line);
    fclose(f);
    return ours;
}

struct probe {
    char path[PATH_MAX];
    int number;
};

static void *probe_main(void *arg)
{
    struct probe *p = arg;
    struct statfs st; /* stat would be answered from the kernel's cache */
    p->number = statfs(p->path, &st) == 0 ? 0 : errno;
    return NULL;
}

#define PROBE_S 3

/* statfs(2) of a mount whose node hangs would hang us, too: it is asked on a thread that may be left behind. */
static int probe(const char *path)
{
    struct probe *p = MEM_NEW(struct probe);
    snprintf(p->path, sizeof p->path, "%s", path);
    pthread_t thread;
    if (thread_start(&thread, "p2p-probe", probe_main, p) < 0) {
        free(p);
        return EAGAIN;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PROBE_S;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0) {
        pthread_detach(thread); /* p stays its own */
        return ETIMEDOUT;
    }
    int number = p->number;
    free(p);
    return number;
}

int mountpoint_detach(const char *path, struct why *why)
{
    if (umount2(path, MNT_DETACH) == 0)
        return 0;
    char *argv[] = {
        (char[]){"fusermount3"}, (char[]){"-u"}, (char[]){"-z"}, (char[]){"-q"}, (char[]){"--"}, mem_str(path), NULL};
    pid_t pid;
    int status = -1;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    free(argv[5]);
    if (status == 0)
        return 0;
    return why_set(why, ERR_BUSY, "the mount on %s cannot be removed: try fusermount3 -uz %s", path, path);
}

static int make_dirs(const char *dir, struct why *why)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char was = *p;
        *p = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            int number = errno;
            return why_set(why, err_from_errno(number), "cannot make %s: %s", path, strerror(number));
        }
        if (!was)
            return 0;
        *p = was;
    }
}

static int check_empty(const char *path, struct why *why)
{
    DIR *d = opendir(path);
    if (!d) {
        int number = errno;
        return why_set(why, err_from_errno(number), "cannot open %s: %s", path, strerror(number));
    }
    struct dirent *e;
    bool empty = true;
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            empty = false;
    closedir(d);
    return empty ? 0 : why_set(why, ERR_NOT_EMPTY, "%s is not empty: what is in it would be hidden", path);
}

#define CLEAR_MOST 16 /* mounts on top of each other */

/* Who mounts has the folder below locked meanwhile. */
static int lock(const char *path, struct why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool taken = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; /* elsewhere it goes without */
    if (fd >= 0 && !taken && !mountpoint_mounted(path, NULL, NULL))
        return fd;
    int number = fd < 0 ? errno : EBUSY;
    if (fd >= 0)
        close(fd);
    return why_set(why, err_from_errno(number), fd < 0 ? "cannot open %s: %s" : "another node is being mounted at %s", path,
                   strerror(number));
}

int mountpoint_prepare(const char *dir, char ret_path[PATH_MAX], struct why *why)
{
    place_of(dir, ret_path);
    for (int i = 0; i < CLEAR_MOST && mountpoint_mounted(ret_path, NULL, NULL); i++) {
        if (probe(ret_path) != ENOTCONN)
            return why_set(why, ERR_BUSY, "a node is mounted at %s already", ret_path);
        log_info("mount.clear", "dir=%s", ret_path);
        int rc = mountpoint_detach(ret_path, why);
        if (rc < 0)
            return rc;
    }
    int rc = make_dirs(ret_path, why);
    place_of(dir, ret_path); /* its parent may be new */
    if (rc == 0)
        rc = check_empty(ret_path, why);
    return rc < 0 ? rc : lock(ret_path, why);
}

void mountpoint_read_ahead(unsigned major, unsigned minor, unsigned kib)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
    FILE *f = fopen(path, "we");
    if (!f)
        return; /* not root */
    fprintf(f, "%u", kib);
    fclose(f);
}
