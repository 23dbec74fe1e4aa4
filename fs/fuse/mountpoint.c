/* SPDX-License-Identifier: MIT */
#include "fs/fuse/mountpoint.h"

#include "store/base/log.h"
#include "store/base/mono.h"
#include "store/base/span.h"
#include "store/base/thread.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
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
static bool parse_line(char *line, const char *dir, unsigned *major, unsigned *minor, bool *ret_ours)
{
    char *dash = strstr(line, " - ");
    char root[8], point[PATH_MAX];
    if (!dash || sscanf(line, "%*u %*u %u:%u %7s %4095s", major, minor, root, point) != 4)
        return false;
    unescape(point);
    if (strcmp(point, dir) != 0)
        return false;
    *ret_ours = strncmp(dash + 3, MOUNT_TYPE " ", sizeof MOUNT_TYPE) == 0;
    return true;
}

/* The directory without asking what is mounted on it: only its parent is resolved. */
static void plain_path(const char *dir, char out[PATH_MAX])
{
    char copy[PATH_MAX], parent[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", dir);
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = 0;
    char *slash = strrchr(copy, '/');
    const char *base = slash ? slash + 1 : copy;
    const char *up = slash == copy ? "/" : slash ? copy : ".";
    if (slash && slash != copy)
        *slash = 0;
    if (!realpath(up, parent))
        snprintf(parent, sizeof parent, "%s", up);
    snprintf(out, PATH_MAX, "%.*s/%.*s", PATH_MAX / 2, strcmp(parent, "/") == 0 ? "" : parent, NAME_MAX, base);
}

bool mountpoint_mounted(const char *dir, unsigned *ret_major, unsigned *ret_minor)
{
    char path[PATH_MAX];
    plain_path(dir, path);
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    bool ours = false;
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, f) > 0) {
        unsigned major, minor;
        if (parse_line(line, path, &major, &minor, &ours) && ours && ret_major) {
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

int mountpoint_prepare(const char *dir, struct why *why)
{
    char path[PATH_MAX];
    for (int i = 0; i < CLEAR_MOST; i++) {
        plain_path(dir, path);
        if (!mountpoint_mounted(path, NULL, NULL))
            break;
        if (probe(path) != ENOTCONN)
            return why_set(why, ERR_BUSY, "a node is mounted at %s already", path);
        log_info("mount.clear", "dir=%s", path);
        int rc = mountpoint_detach(path, why);
        if (rc < 0)
            return rc;
    }
    int rc = make_dirs(dir, why);
    return rc < 0 ? rc : check_empty(path, why);
}

void mountpoint_read_ahead(const char *dir, unsigned kib)
{
    unsigned major, minor;
    if (!mountpoint_mounted(dir, &major, &minor))
        return;
    char path[128];
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
    FILE *f = fopen(path, "we");
    if (!f)
        return; /* not root */
    fprintf(f, "%u", kib);
    fclose(f);
}
