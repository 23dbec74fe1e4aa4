/* SPDX-License-Identifier: MIT
 *
 * A path of the wide area network between two network namespaces: two TUN devices and what lies between them. For kernels
 * without netem.
 *
 *     wan DEVICE-A DEVICE-B [SETTING…]
 *
 * makes both devices, prints "ready" and forwards until its standard input ends or a device is gone. Whoever started it moves the devices into
 * their namespaces and gives them addresses. Lines on standard input are settings, too, so that a path can change or be cut:
 *
 *     delay=MS   one way                        rate=BYTES    a second on the wire, 0: as fast as it goes
 *     jitter=MS  added at random, up to that    queue=BYTES   that wait for the rate; what comes on top is dropped
 *     loss=PPM   packets of a million           up=0|1        0: nothing passes, and nobody is told
 *
 * `a.` or `b.` before a setting: only of the packets that leave device A or B. Each direction is one queue:
 *
 *     read ─→ [loss] ─→ rate (a packet leaves when the ones before it are out, and not before) ─→ delay ─→ write
 *
 * Packets keep their order. The random numbers are the same in every run. Memory: HELD_MOST for each direction.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MOST 65536
#define HELD_MOST   ((size_t)256 << 20)
#define TURN        64 /* packets of one direction, then the other has its turn */
#define S           UINT64_C(1000000000)
#define MS          UINT64_C(1000000)

struct packet {
    struct packet *next;
    uint64_t out_at; /* when its last byte is on the wire */
    uint64_t due;    /* when it arrives */
    size_t len;
    uint8_t data[];
};

struct direction {
    int in, out;
    uint64_t delay, jitter, rate, queue, loss, up;
    uint64_t busy_until, last_due; /* of the wire; of the last packet */
    uint64_t random;
    struct packet *first, **last;
    struct packet *waiting; /* the first one that is not on the wire yet */
    size_t waiting_bytes, held;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * S + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "wan: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int make_device(const char *name)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    if (fd < 0 || strlen(name) >= sizeof r.ifr_name)
        die(fd < 0 ? "/dev/net/tun" : name);
    memcpy(r.ifr_name, name, strlen(name));
    if (ioctl(fd, TUNSETIFF, &r) != 0)
        die(name);
    return fd;
}

/* ---- settings ---- */

static bool set_one(struct direction *d, const char *key, double n)
{
    const struct {
        const char *key;
        uint64_t *value;
        double unit;
    } settings[] = {
        {"delay", &d->delay, (double)MS},
        {"jitter", &d->jitter, (double)MS},
        {"rate", &d->rate, 1},
        {"queue", &d->queue, 1},
        {"loss", &d->loss, 1},
        {"up", &d->up, 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (strcmp(settings[i].key, key) != 0)
            continue;
        *settings[i].value = (uint64_t)(n * settings[i].unit);
        return true;
    }
    return false;
}

static bool set(struct direction d[2], const char *text)
{
    char key[16], end;
    double n;
    if (sscanf(text, "%15[a-z.]=%lf%c", key, &n, &end) != 2 || !(n >= 0 && n < 1e15))
        return false;
    if (key[0] && key[1] == '.')
        return (key[0] == 'a' || key[0] == 'b') && set_one(&d[key[0] - 'a'], key + 2, n);
    return set_one(&d[0], key, n) && set_one(&d[1], key, n);
}

/* false: the end of the input */
static bool read_settings(struct direction d[2])
{
    static char line[256];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, line + len, sizeof line - 1 - len);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    len += (size_t)n;
    line[len] = 0;
    char *end;
    while ((end = strchr(line, '\n')) || len == sizeof line - 1) {
        size_t used = end ? (size_t)(end - line) + 1 : len;
        line[used - 1] = 0;
        if (!set(d, line))
            fprintf(stderr, "wan: \"%s\" is no setting\n", line);
        memmove(line, line + used, len - used + 1);
        len -= used;
    }
    return true;
}

/* ---- packets ---- */

/* 0 … below - 1 */
static uint64_t random_below(struct direction *d, uint64_t below)
{
    d->random = d->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (d->random >> 33) % below;
}

/* Those that the rate let go meanwhile do not wait any more. */
static void advance_wire(struct direction *d, uint64_t now)
{
    while (d->waiting && d->waiting->out_at <= now) {
        d->waiting_bytes -= d->waiting->len;
        d->waiting = d->waiting->next;
    }
}

static void take_packet(struct direction *d, const uint8_t *data, size_t len, uint64_t now)
{
    if (!d->up || (d->loss && random_below(d, 1000000) < d->loss) || d->held + len > HELD_MOST ||
        (d->rate && d->waiting_bytes > d->queue))
        return;
    struct packet *p = malloc(sizeof *p + len);
    if (!p)
        return;
    memcpy(p->data, data, len);
    p->len = len;
    p->next = NULL;
    if (d->busy_until < now)
        d->busy_until = now;
    if (d->rate)
        d->busy_until += len * S / d->rate;
    p->out_at = d->busy_until;
    p->due = p->out_at + d->delay + (d->jitter ? random_below(d, d->jitter) : 0);
    if (p->due < d->last_due)
        p->due = d->last_due;
    d->last_due = p->due;
    *d->last = p;
    d->last = &p->next;
    if (!d->waiting)
        d->waiting = p;
    d->waiting_bytes += len;
    d->held += len;
}

static void receive(struct direction *d)
{
    static uint8_t data[PACKET_MOST];
    for (unsigned i = 0; i < TURN; i++) {
        ssize_t n = read(d->in, data, sizeof data);
        if (n < 0 && errno == EBADFD)
            exit(0); /* its namespace is gone */
        if (n <= 0)
            return; /* empty, or the device is down */
        uint64_t now = now_ns();
        advance_wire(d, now);
        take_packet(d, data, (size_t)n, now);
    }
}

static void deliver(struct direction *d, uint64_t now)
{
    advance_wire(d, now);
    struct packet *p;
    while ((p = d->first) && p->due <= now) {
        ssize_t n = write(d->out, p->data, p->len);
        (void)n; /* a device that is down loses it, as any */
        d->first = p->next;
        if (!d->first)
            d->last = &d->first;
        d->held -= p->len;
        free(p);
    }
}

static void wait_for(struct direction d[2], struct pollfd fds[3])
{
    uint64_t next = UINT64_MAX, now = now_ns();
    for (unsigned i = 0; i < 2; i++)
        if (d[i].first && d[i].first->due < next)
            next = d[i].first->due;
    uint64_t left = next > now ? next - now : 0;
    struct timespec t = {(time_t)(left / S), (long)(left % S)};
    if (ppoll(fds, 3, next == UINT64_MAX ? NULL : &t, NULL) < 0 && errno != EINTR)
        die("poll");
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: wan DEVICE-A DEVICE-B [SETTING…]\n");
        return 2;
    }
    int fd[2] = {make_device(argv[1]), make_device(argv[2])};
    struct direction d[2];
    for (unsigned i = 0; i < 2; i++) {
        d[i] = (struct direction){.in = fd[i], .out = fd[1 - i], .up = 1, .queue = 1 << 20, .random = i + 1};
        d[i].last = &d[i].first;
    }
    for (int i = 3; i < argc; i++)
        if (!set(d, argv[i])) {
            fprintf(stderr, "wan: \"%s\" is no setting\n", argv[i]);
            return 2;
        }
    puts("ready");
    fflush(stdout);
    struct pollfd fds[3] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    for (;;) {
        wait_for(d, fds);
        if (fds[2].revents && !read_settings(d))
            return 0;
        for (unsigned i = 0; i < 2; i++) {
            receive(&d[i]);
            deliver(&d[i], now_ns());
        }
    }
}
