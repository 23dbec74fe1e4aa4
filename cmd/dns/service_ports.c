/* SPDX-License-Identifier: MIT */
#include "cmd/dns/service_ports.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Names separated by spaces, the likeliest first */
static const struct {
    uint16_t port;
    const char *names;
} usual[] = {
    {21, "ftp"},
    {22, "ssh"},
    {23, "telnet"},
    {25, "smtp mail"},
    {53, "domain dns"},
    {80, "http web www"},
    {110, "pop3"},
    {139, "netbios-ssn smb"},
    {143, "imap imap2"},
    {389, "ldap"},
    {443, "https"},
    {445, "microsoft-ds smb"},
    {554, "rtsp"},
    {587, "submission"},
    {631, "ipp cups"},
    {636, "ldaps"},
    {873, "rsync"},
    {993, "imaps"},
    {1883, "mqtt"},
    {2049, "nfs"},
    {3000, "web http"},
    {3306, "mysql"},
    {3389, "rdp ms-wbt-server"},
    {5000, "web http"},
    {5222, "xmpp-client xmpp"},
    {5432, "postgresql postgres psql"},
    {5900, "vnc rfb"},
    {6379, "redis"},
    {6667, "ircd irc"},
    {8000, "web http"},
    {8080, "http-alt web http"},
    {8443, "https-alt https"},
    {8554, "rtsp-alt rtsp"},
    {9090, "web http"},
    {11434, "ollama"},
    {27017, "mongodb mongo"},
};

static void add_name(struct service_port *p, const char *name, size_t len)
{
    if (len == 0 || len >= SERVICE_NAME_SPACE || p->name_count == SERVICE_NAMES_MAX)
        return;
    for (unsigned i = 0; i < p->name_count; i++)
        if (strncmp(p->names[i], name, len) == 0 && p->names[i][len] == 0)
            return;
    memcpy(p->names[p->name_count], name, len);
    p->names[p->name_count++][len] = 0;
}

static void add_numbers(struct service_port *p)
{
    char text[SERVICE_NAME_SPACE];
    int n = snprintf(text, sizeof text, "tcp-%u", p->port);
    add_name(p, text + strlen("tcp-"), (size_t)n - strlen("tcp-"));
    add_name(p, text, (size_t)n);
}

void service_ports_init(struct service_ports *t)
{
    *t = (struct service_ports){.count = 0};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        struct service_port *p = &t->rows[t->count++];
        p->port = usual[i].port;
        for (const char *name = usual[i].names; *name; name += strspn(name, " ")) {
            add_name(p, name, strcspn(name, " "));
            name += strcspn(name, " ");
        }
        add_numbers(p);
    }
}

bool service_ports_add(struct service_ports *t, uint16_t port)
{
    struct servent found, *known = NULL;
    char space[1024];
    if (service_port_find(t, port))
        return true;
    if (t->count == SERVICE_PORTS_MAX)
        return false;
    struct service_port *p = &t->rows[t->count++];
    *p = (struct service_port){.port = port};
    if (getservbyport_r(htons(port), "tcp", &found, space, sizeof space, &known) == 0 && known) {
        add_name(p, known->s_name, strlen(known->s_name));
        for (char **alias = known->s_aliases; *alias && p->name_count + 2 < SERVICE_NAMES_MAX; alias++)
            add_name(p, *alias, strlen(*alias));
    }
    add_numbers(p);
    return true;
}

const struct service_port *service_port_find(const struct service_ports *t, uint16_t port)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->rows[i].port == port)
            return &t->rows[i];
    return NULL;
}

bool service_port_means(const struct service_port *p, const char *service)
{
    for (unsigned i = 0; i < p->name_count; i++)
        if (strcmp(p->names[i], service) == 0)
            return true;
    return false;
}

bool service_port_offered(const struct service_port *p, const char *const *offered)
{
    for (; *offered; offered++)
        for (unsigned i = 0; i < p->name_count; i++)
            if (strcasecmp(p->names[i], *offered) == 0)
                return true;
    return false;
}

/* Adds `name` as the peer writes it, if it offers it; with `force` also if not */
static unsigned choose_one(const char *name, const char *const *offered, bool force, char *out)
{
    while (*offered && strcasecmp(*offered, name) != 0)
        offered++;
    const char *chosen = *offered ? *offered : name;
    if ((!*offered && !force) || strlen(chosen) >= SERVICE_CHOICE_SIZE)
        return 0;
    memcpy(out, chosen, strlen(chosen) + 1);
    return 1;
}

unsigned service_choose(const struct service_ports *t, const char *service, uint16_t port, const char *const *offered,
                        char ret[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE])
{
    unsigned count = 0;
    if (*service)
        return choose_one(service, offered, true, ret[0]);
    const struct service_port *p = service_port_find(t, port);
    for (int force = 0; p && !count && force < 2; force++)
        for (unsigned i = 0; i < p->name_count; i++)
            count += choose_one(p->names[i], offered, force, ret[count]);
    return count;
}
