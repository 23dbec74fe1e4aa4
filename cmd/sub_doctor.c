/* SPDX-License-Identifier: MIT
 *
 * A table of checks, each a function that says what it found in one sentence. Nothing is changed, nobody is contacted. */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"
#include "store/base/mono.h"
#include "store/base/units.h"
#include "store/repo/config.h"
#include "store/repo/identity.h"
#include "store/repo/repo.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

enum verdict { GOOD, WARN, BAD };

#define DISK_BAD  (UINT64_C(64) << 20)
#define DISK_WARN (UINT64_C(1) << 30)
#define MDNS_PORT 5353
#define MDNS_IP   "224.0.0.251"

#define RESOLVER_WAIT_S 3
#define RESOLVED_SOCKET "/run/systemd/resolve/io.systemd.Resolve"
#define DNS_SELF        "localhost.overlay" /* every node answers it with 127.0.0.1 */
#define DNS_HINT        "man 7 p2p-dns: lines for systemd-resolved, dnsmasq and unbound are in share/p2p/dns"

struct exam {
    struct cli *c;
    struct repo_paths paths;
    struct config *config;
    struct why config_why;
    int config_result;
    json_t *status; /* of the running node, or NULL */
    char text[400]; /* what the check found */
    const char *hint;
};

static enum verdict say(struct exam *x, enum verdict v, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static enum verdict say(struct exam *x, enum verdict v, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(x->text, sizeof x->text, fmt, args); /* a cut sentence is still a sentence */
    va_end(args);
    x->hint = hint;
    return v;
}

static enum verdict check_node(struct exam *x)
{
    if (!x->status)
        return say(x, WARN, "p2p up", "no node is running");
    const char *state = api_text(x->status, "state");
    return say(x, strcmp(state, "working") == 0 ? GOOD : WARN, NULL, "the node runs, version %s: %s",
               api_text(x->status, "version"), state);
}

static enum verdict check_config(struct exam *x)
{
    if (x->config_result < 0)
        return say(x, BAD, "mend that line, or p2p config KEY VALUE", "%s", x->config_why.text);
    return say(x, GOOD, NULL, "%s is in order", x->paths.config);
}

static enum verdict check_state(struct exam *x)
{
    struct stat st;
    if (stat(x->paths.state, &st) < 0 && errno == ENOENT)
        return say(x, GOOD, NULL, "%s will be made by the first 'p2p up'", x->paths.state);
    if (access(x->paths.state, R_OK | W_OK | X_OK) < 0)
        return say(x, BAD, "chown it to yourself, or set P2P_HOME", "%s: %s", x->paths.state, strerror(errno));
    return say(x, GOOD, NULL, "%s can be written", x->paths.state);
}

static enum verdict check_key(struct exam *x)
{
    char path[PATH_MAX + 32];
    struct why why = {""};
    struct buf bytes = BUF_INIT;
    struct node_key key;
    struct stat st;
    snprintf(path, sizeof path, "%s/identity.key", x->paths.state);
    if (stat(path, &st) < 0)
        return errno == ENOENT ? say(x, GOOD, NULL, "the key will be made by the first 'p2p up'")
                               : say(x, BAD, NULL, "%s: %s", path, strerror(errno));
    if (st.st_mode & 077)
        return say(x, BAD, "chmod 600 on it", "%s can be read by others (mode %03o)", path, st.st_mode & 0777);
    int r = repo_read_file(path, 4096, &bytes, &why);
    if (r == 0)
        r = node_key_parse(buf_span(&bytes), &key, &why);
    buf_wipe(&bytes);
    if (r < 0)
        return say(x, BAD, "a backup of that file: the key cannot be made again", "%s: %s", path, why.text);
    node_key_wipe(&key);
    return say(x, GOOD, NULL, "%s is in order", path);
}

static enum verdict check_disk(struct exam *x)
{
    char size[UNITS_TEXT_SIZE];
    uint64_t bytes = 0;
    int r = repo_disk_free(x->paths.state, &bytes);
    if (r < 0)
        return say(x, BAD, NULL, "%s: %s", x->paths.state, err_text(r));
    enum verdict verdict = bytes < DISK_BAD ? BAD : bytes < DISK_WARN ? WARN : GOOD;
    return say(x, verdict, verdict == GOOD ? NULL : "p2p gc, or more room", "%s free at %s", size_text(bytes, size),
               x->paths.state);
}

/* A disk that has lost bits once does it again. */
static enum verdict check_index(struct exam *x)
{
    char path[PATH_MAX + 32];
    struct stat st;
    snprintf(path, sizeof path, "%s/blocks/data.mdb.damaged", x->paths.state);
    if (stat(path, &st) < 0)
        return say(x, GOOD, NULL, "the index of the store was not found damaged");
    return say(x, WARN, "p2p verify; when nothing is missing, rm it; and another disk",
               "the index of the store was damaged once; %s is how it was", path);
}

static enum verdict check_fuse(struct exam *x)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return say(x, BAD,
                   errno == ENOENT ? "modprobe fuse, or in a container: --device /dev/fuse; or p2p up --no-mount"
                                   : "permission on /dev/fuse, or p2p up --no-mount",
                   "/dev/fuse: %s", strerror(errno));
    close(fd);
    return say(x, GOOD, NULL, "/dev/fuse can be opened");
}

static enum verdict check_fusermount(struct exam *x)
{
    const char *path = getenv("PATH");
    struct buf name = BUF_INIT;
    bool found = false;
    while (path && *path && !found) {
        size_t n = strcspn(path, ":");
        buf_clear(&name);
        buf_printf(&name, "%.*s/fusermount3", (int)n, path);
        found = access(buf_cstr(&name), X_OK) == 0;
        path += n + (path[n] == ':');
    }
    enum verdict v;
    if (found)
        v = say(x, GOOD, NULL, "%s is there", buf_cstr(&name));
    else
        v = say(x, geteuid() == 0 ? WARN : BAD, "apt-get install fuse3",
                "fusermount3 is not installed: only root can mount without it");
    buf_done(&name);
    return v;
}

/* Looking at a stuck mount may block for ever, so a child looks: 0, an errno, or ETIMEDOUT when it does not come back. */
static int look_at(const char *dir)
{
    struct stat st;
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(lstat(dir, &st) < 0 ? errno : 0);
    for (unsigned i = 0; pid > 0 && i < 100; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
        (void)poll(NULL, 0, 10); /* one second in all */
    }
    if (pid > 0)
        kill(pid, SIGKILL); /* it ends when the mount does; nobody waits for it */
    return pid > 0 ? ETIMEDOUT : 0;
}

static enum verdict check_mount(struct exam *x)
{
    const char *mount = x->status ? api_text(x->status, "mount") : "";
    char line[8192], dir[4096], type[128], dead[4096] = "";
    FILE *f = fopen("/proc/self/mounts", "re");
    bool listed = false;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%*s %4095s %127s", dir, type) != 2 || strcmp(type, "fuse.p2p") != 0)
            continue;
        int number = look_at(dir);
        listed = listed || (strcmp(dir, mount) == 0 && number == 0);
        if (number == ENOTCONN || (number && strcmp(dir, mount) == 0))
            snprintf(dead, sizeof dead, "%s", dir);
    }
    if (f)
        fclose(f);
    if (*dead && *mount && strcmp(dead, mount) == 0)
        return say(x, BAD, "p2p down and p2p up", "%.300s does not answer", dead);
    if (*dead)
        return say(x, WARN, "p2p up clears its own; another: fusermount3 -u on it", "%.300s is a mount whose node has died",
                   dead);
    if (!x->status)
        return say(x, GOOD, NULL, "no dead mount is left");
    if (!*mount)
        return say(x, WARN, NULL, "the node runs without a mount");
    return listed ? say(x, GOOD, NULL, "%s is mounted", mount)
                  : say(x, BAD, "p2p down and p2p up", "%s is not in the list of mounts", mount);
}

/* Ports are asked for by binding them, when no node of ours has them. */
static int try_bind(const char *ip, unsigned port)
{
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    bool v6 = strchr(ip, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, ip, v6 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr) != 1)
        return 0;
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : errno;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* as the node does */
    if (v6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    int number = bind(fd, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4, v6 ? sizeof a6 : sizeof a4) < 0 ? errno : 0;
    close(fd);
    return number;
}

static enum verdict check_ports(struct exam *x)
{
    if (x->status)
        return say(x, GOOD, NULL, "the node listens on %zu addresses",
                   json_array_size(json_object_get(x->status, "addresses")));
    if (x->config_result < 0)
        return say(x, WARN, NULL, "not looked at: the config cannot be read");
    for (unsigned i = 0; i < config_list_count(x->config, CONFIG_LISTEN); i++) {
        char ip[64];
        unsigned port;
        const char *text = config_list_at(x->config, CONFIG_LISTEN, i);
        if (sscanf(text, "/ip4/%63[^/]/tcp/%u", ip, &port) != 2 && sscanf(text, "/ip6/%63[^/]/tcp/%u", ip, &port) != 2)
            continue;
        int number = try_bind(ip, port);
        if (number)
            return say(x, WARN, "another port: p2p config listen /ip4/0.0.0.0/tcp/PORT",
                       "%s: %s; the node would take another port", text, strerror(number));
    }
    return say(x, GOOD, NULL, "the ports to listen on are free");
}

/* An interface on which peers can be found; it is in the list once for each of its addresses. */
static bool has_multicast(const struct ifaddrs *i)
{
    unsigned want = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
    return i->ifa_addr && (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
           (i->ifa_flags & want) == want && !(i->ifa_flags & IFF_LOOPBACK);
}

/* On each interface by itself, as the node does: that needs no route. 0 when one could be joined or there is none to join. */
static int join_mdns(int fd)
{
    struct ifaddrs *all = NULL;
    int number = 0;
    bool joined = false;
    if (getifaddrs(&all) < 0)
        return errno;
    for (struct ifaddrs *i = all; i && !joined; i = i->ifa_next) {
        if (!has_multicast(i) || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct ip_mreqn group = {.imr_multiaddr.s_addr = inet_addr(MDNS_IP), .imr_ifindex = (int)if_nametoindex(i->ifa_name)};
        joined = setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) == 0;
        number = joined ? 0 : errno;
    }
    freeifaddrs(all);
    return number;
}

static enum verdict check_mdns(struct exam *x)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(MDNS_PORT)};
    if (fd < 0)
        return say(x, BAD, NULL, "no UDP socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* as every responder does */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    enum verdict v = GOOD;
    int number = 0;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        v = say(x, WARN, "stop what has it without sharing: ss -ulpn sport = :5353", "port 5353 (mDNS): %s", strerror(errno));
    else if ((number = join_mdns(fd)) != 0)
        v = say(x, WARN, "a network interface with multicast", "cannot join %s: %s", MDNS_IP, strerror(number));
    else
        say(x, GOOD, NULL, "port 5353 can be shared and %s joined", MDNS_IP);
    close(fd);
    return v;
}

static enum verdict check_interfaces(struct exam *x)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) < 0)
        return say(x, WARN, NULL, "cannot list interfaces: %s", strerror(errno));
    struct buf names = BUF_INIT;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!has_multicast(i) || strstr(buf_cstr(&names), i->ifa_name))
            continue;
        buf_printf(&names, "%s%s", buf_len(&names) ? ", " : "", i->ifa_name);
    }
    freeifaddrs(all);
    enum verdict v = buf_len(&names) ? say(x, GOOD, NULL, "peers on the local network can be found by %s", buf_cstr(&names))
                                     : say(x, WARN, "plug in a cable, join a network",
                                           "no interface with multicast is up: peers on the local network cannot be found");
    buf_done(&names);
    return v;
}

static enum verdict check_clock(struct exam *x)
{
    struct timex t = {.modes = 0};
    char text[WALL_TEXT_SIZE];
    wall_text(wall_now(), text);
    if (strcmp(text, "2026") < 0)
        return say(x, BAD, "timedatectl set-ntp true", "the clock says %s: signed records will look like the future's", text);
    if (adjtimex(&t) >= 0 && (t.status & STA_UNSYNC))
        return say(x, WARN, "timedatectl set-ntp true", "nothing keeps the clock right; it says %s", text);
    return say(x, GOOD, NULL, "the clock is kept right: %s", text);
}

/* ---- names below .overlay ---- */

/* Does the system ask a resolver on this machine? Another cannot know our names, and is not bothered with them. `other`: the
 * first one that is somewhere else. */
static bool resolver_is_here(char other[64])
{
    char line[512], ip[64];
    bool here = access(RESOLVED_SOCKET, F_OK) == 0;
    FILE *f = fopen("/etc/resolv.conf", "re");
    *other = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, " nameserver %63s", ip) != 1)
            continue;
        bool loopback = strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
        here = here || loopback;
        if (!loopback && !*other)
            snprintf(other, 64, "%s", ip);
    }
    if (f)
        fclose(f);
    return here;
}

/* As programs do it; a child asks, because that may take long. 0: 127.0.0.1; -1: something else or nothing. */
static int resolve_self(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct addrinfo *found = NULL;
        const struct addrinfo want = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
        alarm(RESOLVER_WAIT_S);
        int r = getaddrinfo(DNS_SELF, NULL, &want, &found);
        bool self = r == 0 && ((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
        _exit(self ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static enum verdict check_dns(struct exam *x)
{
    char other[64];
    if (!x->status)
        return say(x, GOOD, NULL, "not looked at: no node is running");
    const char *state = api_text(x->status, "dns");
    if (strcmp(state, "off") == 0)
        return say(x, GOOD, NULL, "the node answers no names: dns-port is 0");
    if (strncmp(state, "127.", 4) != 0 || strchr(state, ' '))
        return say(x, WARN, "p2p config dns-port PORT, and the same in the resolver's lines", "names below .overlay: %s",
                   state);
    if (!resolver_is_here(other))
        return say(x, WARN, DNS_HINT, "names below .overlay are not found: the system asks %s, which cannot know them",
                   *other ? other : "nobody");
    if (resolve_self() < 0)
        return say(x, WARN, DNS_HINT, "names below .overlay are not found: the resolver on this machine does not ask %s",
                   state);
    return say(x, GOOD, NULL, "names below .overlay are found, by %s", state);
}

static enum verdict check_low_ports(struct exam *x)
{
    int number = try_bind("127.127.255.254", 1); /* an address that is never leased */
    if (number == EACCES)
        return say(x, GOOD, "p2p dial, the lines of share/p2p/ssh_config; or sysctl net.ipv4.ip_unprivileged_port_start=22",
                   "names below .overlay have the ports from 1024 on; lower ones are not for us to listen on");
    return say(x, GOOD, NULL, "names below .overlay can have every port");
}

static const struct {
    const char *name;
    enum verdict (*run)(struct exam *x);
} checks[] = {
    {"node", check_node},
    {"config", check_config},
    {"state", check_state},
    {"key", check_key},
    {"disk", check_disk},
    {"index", check_index},
    {"fuse", check_fuse},
    {"fusermount3", check_fusermount},
    {"mount", check_mount},
    {"ports", check_ports},
    {"mdns", check_mdns},
    {"interfaces", check_interfaces},
    {"clock", check_clock},
    {"dns", check_dns},
    {"dns-ports", check_low_ports},
};

static const struct cli_column columns[] = {
    {"check", "check", CLI_TEXT}, {"verdict", "verdict", CLI_TEXT}, {"finding", "finding", CLI_TEXT},
    {"try", "try", CLI_TEXT},     {NULL, NULL, CLI_TEXT},
};

static int examine(struct exam *x)
{
    static const char *const words[] = {[GOOD] = "good", [WARN] = "warning", [BAD] = "bad"};
    struct cli_table *t = cli_table_new(x->c, columns);
    unsigned bad = 0;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        x->hint = NULL;
        enum verdict v = checks[i].run(x);
        bad += v == BAD;
        json_t *row = json_pack("{ss ss ss ss}", "check", checks[i].name, "verdict", words[v], "finding", x->text, "try",
                                x->hint ? x->hint : "");
        cli_table_row(t, row);
        json_decref(row);
    }
    cli_table_end(t);
    return bad ? cli_fail(x->c, ERR_FAILED, "what the last column says", "%u of the checks failed", bad) : 0;
}

static void look_for_node(struct exam *x)
{
    char path[PATH_MAX];
    struct api a = {.c = x->c};
    if (api_socket_path("control", path, NULL) < 0 || http_client_open(&a.http, path) < 0)
        return;
    if (api_json(&a, "GET", "/v1/status", SPAN_NONE, &x->status) < 0)
        x->status = NULL;
    api_close(&a);
}

static int run(struct cli *c)
{
    struct exam x = {.c = c};
    struct why why = {""};
    int r = repo_paths(&x.paths, &why);
    if (r < 0)
        return cli_fail(c, r, NULL, "%s", why.text);
    x.config = config_new();
    x.config_result = config_load(x.config, x.paths.config, &x.config_why);
    look_for_node(&x);
    r = examine(&x);
    json_decref(x.status);
    config_free(x.config);
    return r;
}

const struct cli_command sub_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "look for what could keep a node from working, and say what to do",
    .details =
        "Changes nothing and contacts nobody, but asks the resolver on this machine, if it has one, for localhost.overlay.\n"
        "Ends with status 1 when something is bad.",
    .run = run,
};
