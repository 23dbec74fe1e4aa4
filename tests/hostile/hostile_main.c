/* SPDX-License-Identifier: MIT
 *
 * hostile list                                    the attacks: name, group, what it does
 * hostile run [options] IP:PORT NAME…             does them in turn, each for its share of the time; "begun" when
 *                                                 the first connection was tried, then one JSON line each
 *   --seconds N       for all of them together (default 3)
 *   --from IP --sources N     connect from N addresses, IP and those behind it
 *   --root CID        of a DAG that the node holds
 *   --work N          units a flood does in a round
 *   --seed N */
#include "tests/hostile/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PACE (20 * MONO_MS) /* between rounds: an attack shows what the node does, not how fast this program is */

const char *const outcome_names[OUTCOMES] = {"refused", "goaway", "closed", "reset", "throttled", "answered", "ignored"};

static const struct attack_table *const tables[] = {&attacks_select,   &attacks_noise,  &attacks_mux,
                                                    &attacks_identify, &attacks_blocks, &attacks_liar,
                                                    &attacks_crowd,    &attacks_drip,   &attacks_lan};
#define TABLES (sizeof tables / sizeof *tables)

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

bool hostile_over(const struct hostile *h)
{
    return stopped || mono_now() >= h->until;
}

void hostile_sleep(const struct hostile *h, mono_ns until)
{
    for (mono_ns now = mono_now(); now < until && !hostile_over(h); now = mono_now()) {
        struct timespec t = {.tv_nsec = (long)mono_min(until - now, 100 * MONO_MS)};
        (void)nanosleep(&t, NULL); /* cut short by the signal that ends us */
    }
}

void hostile_begun(void)
{
    static bool said;
    if (!said)
        puts("begun");
    said = true;
    (void)fflush(stdout); /* nobody reads it: nothing to do about it */
}

void hostile_note(struct hostile *h, enum outcome o)
{
    h->tally.cut = h->tally.rounds == 0 && hostile_over(h);
    h->tally.rounds++;
    h->tally.outcome[o]++;
}

uint64_t hostile_work(const struct hostile *h, uint64_t own)
{
    return h->target.work ? h->target.work : own;
}

static const struct attack *find(const char *name)
{
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned i = 0; i < tables[t]->count; i++)
            if (strcmp(tables[t]->attacks[i].name, name) == 0)
                return &tables[t]->attacks[i];
    return NULL;
}

static int list(void)
{
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned i = 0; i < tables[t]->count; i++) {
            const struct attack *a = &tables[t]->attacks[i];
            printf("%s\t%s\t%s\n", a->group, a->name, a->what);
        }
    return 0;
}

static double cpu_used(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* a clock that every process has */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const struct attack *a, const struct hostile *h, double cpu)
{
    const struct tally *t = &h->tally;
    bool expected = true;
    printf("{\"attack\":\"%s\",\"rounds\":%llu", a->name, (unsigned long long)t->rounds);
    for (unsigned i = 0; i < OUTCOMES; i++) {
        printf(",\"%s\":%llu", outcome_names[i], (unsigned long long)t->outcome[i]);
        if (a->expect && i != GOT_REFUSED && t->outcome[i] && !(a->expect & GETS(i)))
            expected = false;
    }
    printf(",\"units\":%llu,\"sent\":%llu,\"received\":%llu,\"open\":%u,\"cpu\":%.3f,\"cut\":%s,\"expected\":%s}\n",
           (unsigned long long)t->units, (unsigned long long)t->sent, (unsigned long long)t->received, t->open_most, cpu,
           t->cut ? "true" : "false", expected ? "true" : "false");
    (void)fflush(stdout); /* nobody reads it: nothing to do about it */
}

static void run(const struct attack *a, struct hostile *h, mono_ns time)
{
    h->tally = (struct tally){0};
    h->until = mono_after(mono_now(), time);
    double cpu = cpu_used();
    do {
        a->run(h);
        hostile_sleep(h, mono_now() + PACE);
    } while (!hostile_over(h));
    report(a, h, cpu_used() - cpu);
}

static bool parse_target(const char *text, struct target *t)
{
    char ip[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof ip)
        return false;
    memcpy(ip, text, (size_t)(colon - text));
    ip[colon - text] = '\0';
    t->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    return inet_pton(AF_INET, ip, &t->ip) == 1 && t->port;
}

static const struct option options[] = {
    {"seconds", required_argument, NULL, 's'},
    {"from", required_argument, NULL, 'f'},
    {"sources", required_argument, NULL, 'n'},
    {"root", required_argument, NULL, 'r'},
    {"work", required_argument, NULL, 'w'},
    {"seed", required_argument, NULL, 'e'},
    {NULL, 0, NULL, 0},
};

static int usage(void)
{
    (void)fputs("usage: hostile list | run [--seconds N] [--from IP] [--sources N] [--root CID] [--work N] [--seed N] "
                "IP:PORT NAME...\n",
                stderr);
    return 2;
}

static bool parse_options(int argc, char **argv, struct hostile *h, double *ret_seconds)
{
    uint64_t seed = 1;
    h->target.sources = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        bool ok = true;
        switch (c) {
        case 's':
            *ret_seconds = strtod(optarg, NULL);
            break;
        case 'f':
            ok = inet_pton(AF_INET, optarg, &h->target.first_source) == 1;
            break;
        case 'n':
            h->target.sources = (unsigned)strtoul(optarg, NULL, 10);
            ok = h->target.sources > 0;
            break;
        case 'r':
            ok = cid_from_text(span_str(optarg), &h->target.root, NULL) == 0;
            break;
        case 'w':
            h->target.work = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            seed = strtoull(optarg, NULL, 10);
            break;
        default:
            ok = false;
        }
        if (!ok)
            return false;
    }
    rng_init_seed(&h->rng, seed);
    return true;
}

int main(int argc, char **argv)
{
    struct hostile h = {0};
    double seconds = 3;
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    if (argc < 2 || strcmp(argv[1], "run") != 0 || !parse_options(argc - 1, argv + 1, &h, &seconds))
        return usage();
    char **rest = argv + 1 + optind;
    int count = argc - 1 - optind - 1;
    if (count < 1 || !parse_target(rest[0], &h.target))
        return usage();
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &act, NULL); /* a valid signal */
    (void)sigaction(SIGINT, &act, NULL);
    struct rlimit files = {4096, 4096};
    (void)setrlimit(RLIMIT_NOFILE, &files); /* fewer are fewer connections */
    for (int i = 1; i <= count; i++) {
        const struct attack *a = find(rest[i]);
        if (!a) {
            (void)fprintf(stderr, "hostile: no attack is called %s\n", rest[i]);
            return 2;
        }
        if (!stopped)
            run(a, &h, (mono_ns)(seconds / count * (double)MONO_S));
    }
    return 0;
}
