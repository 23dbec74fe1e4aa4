/* SPDX-License-Identifier: MIT */
#include "cmd/dns/service_ports.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Names separated by spaces, the likeliest first */
struct usual {
    uint16_t port;
    const char *names;
};

static const struct usual usual_tcp[] = {
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
    {5201, "iperf3 iperf"},
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

static const struct usual usual_udp[] = {
    {53, "domain dns"},
    {69, "tftp"},
    {123, "ntp"},
    {161, "snmp"},
    {443, "https http3 quic"},
    {514, "syslog"},
    {1194, "openvpn"},
    {3478, "stun turn"},
    {5004, "avt-profile-1 rtp"},
    {5060, "sip"},
    {5201, "iperf3 iperf"},
    {5683, "coap"},
    {19132, "minecraft bedrock"},
    {27015, "source game"},
    {34197, "factorio"},
    {51820, "wireguard wg"},
    {60001, "mosh"},
};

static const struct {
    const char *name;
    const struct usual *rows;
    size_t count;
} ways[SERVICE_WAYS] = {
    [SERVICE_WAY_TCP] = {"tcp", usual_tcp, sizeof usual_tcp / sizeof *usual_tcp},
    [SERVICE_WAY_UDP] = {"udp", usual_udp, sizeof usual_udp / sizeof *usual_udp},
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

static void add_numbers(struct service_port *p, enum service_way way)
{
    char text[SERVICE_NAME_SPACE];
    int n = snprintf(text, sizeof text, "%s-%u", ways[way].name, p->port);
    size_t at = strlen(ways[way].name) + 1;
    add_name(p, text + at, (size_t)n - at);
    add_name(p, text, (size_t)n);
}

void service_ports_init(struct service_ports *t, enum service_way way)
{
    *t = (struct service_ports){.way = way};
    for (size_t i = 0; i < ways[way].count; i++) {
        struct service_port *p = &t->rows[t->count++];
        p->port = ways[way].rows[i].port;
        for (const char *name = ways[way].rows[i].names; *name; name += strspn(name, " ")) {
            add_name(p, name, strcspn(name, " "));
            name += strcspn(name, " ");
        }
        add_numbers(p, way);
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
    if (getservbyport_r(htons(port), ways[t->way].name, &found, space, sizeof space, &known) == 0 && known) {
        add_name(p, known->s_name, strlen(known->s_name));
        for (char **alias = known->s_aliases; *alias && p->name_count + 2 < SERVICE_NAMES_MAX; alias++)
            add_name(p, *alias, strlen(*alias));
    }
    add_numbers(p, t->way);
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

const char *service_as_offered(const char *service, const char *const *offered)
{
    while (*offered && strcasecmp(*offered, service) != 0)
        offered++;
    return *offered;
}

bool service_port_offered(const struct service_port *p, const char *const *offered)
{
    for (unsigned i = 0; i < p->name_count; i++)
        if (service_as_offered(p->names[i], offered))
            return true;
    return false;
}

static unsigned choose_one(const char *name, char *out)
{
    if (strlen(name) >= SERVICE_CHOICE_SIZE)
        return 0;
    memcpy(out, name, strlen(name) + 1);
    return 1;
}

unsigned service_choose(const struct service_ports *t, const char *service, uint16_t port, const char *const *offered,
                        char ret[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE])
{
    const char *theirs = service_as_offered(service, offered);
    unsigned count = 0;
    if (*service)
        return choose_one(theirs ? theirs : service, ret[0]);
    const struct service_port *p = service_port_find(t, port);
    for (unsigned i = 0; p && i < p->name_count; i++)
        if ((theirs = service_as_offered(p->names[i], offered)))
            count += choose_one(theirs, ret[count]);
    for (unsigned i = 0; p && i < p->name_count; i++)
        if (!service_as_offered(p->names[i], offered))
            count += choose_one(p->names[i], ret[count]);
    return count;
}
