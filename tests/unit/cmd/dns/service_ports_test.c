/* SPDX-License-Identifier: MIT */
#include "cmd/dns/service_ports.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(service_ports, names)
{
    static const struct {
        uint16_t port;
        const char *service;
        bool means;
    } rows[] = {
        {22, "ssh", true},    {22, "22", true},     {22, "tcp-22", true}, {22, "web", false},    {80, "web", true},
        {80, "http", true},   {8080, "http", true}, {8080, "8080", true}, {8080, "80", false},   {443, "https", true},
        {443, "http", false}, {5432, "psql", true}, {22, "", false},      {22, "udp-22", false}, {27017, "mongo", true},
    };
    struct service_ports t;
    service_ports_init(&t, SERVICE_WAY_TCP);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct service_port *p = service_port_find(&t, rows[i].port);
        cr_assert_not_null(p);
        cr_expect_eq(service_port_means(p, rows[i].service), rows[i].means, "%u %s", rows[i].port, rows[i].service);
    }
    cr_expect_null(service_port_find(&t, 9));
    service_ports_init(&t, SERVICE_WAY_UDP);
    const struct service_port *dns = service_port_find(&t, 53);
    cr_expect(service_port_means(dns, "dns") && service_port_means(dns, "udp-53") && service_port_means(dns, "53"));
    cr_expect_not(service_port_means(dns, "tcp-53"));
    cr_expect_null(service_port_find(&t, 22));
}

Test(service_ports, every_row_has_its_numbers)
{
    struct service_ports t;
    for (enum service_way way = 0; way < SERVICE_WAYS; way++) {
        service_ports_init(&t, way);
        for (unsigned i = 0; i < t.count; i++) {
            char number[16];
            snprintf(number, sizeof number, "%s-%u", way == SERVICE_WAY_UDP ? "udp" : "tcp", t.rows[i].port);
            cr_expect(service_port_means(&t.rows[i], number) && service_port_means(&t.rows[i], number + 4));
            cr_expect(i == 0 || t.rows[i - 1].port < t.rows[i].port, "in order, none twice");
        }
    }
}

Test(service_ports, more)
{
    struct service_ports t;
    service_ports_init(&t, SERVICE_WAY_TCP);
    unsigned before = t.count;
    cr_expect(service_ports_add(&t, 22) && t.count == before, "there already");
    for (uint16_t port = 40001; t.count < SERVICE_PORTS_MAX; port++)
        cr_assert(service_ports_add(&t, port));
    cr_expect_not(service_ports_add(&t, 50000));
    cr_expect(service_ports_add(&t, 40001));
    cr_expect(service_port_means(service_port_find(&t, 40001), "tcp-40001"));
    service_ports_init(&t, SERVICE_WAY_UDP);
    cr_assert(service_ports_add(&t, 40001));
    cr_expect(service_port_means(service_port_find(&t, 40001), "udp-40001"));
}

static enum service_way asked_way;

static void expect_choices(const char *service, uint16_t port, const char *const *offered, const char *expected)
{
    struct service_ports t;
    char got[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE], text[512] = "";
    service_ports_init(&t, asked_way);
    unsigned n = service_choose(&t, service, port, offered, got);
    for (unsigned i = 0; i < n; i++) {
        strcat(text, i ? " " : "");
        strcat(text, got[i]);
    }
    cr_expect_str_eq(text, expected, "port %u of '%s'", port, service);
}

Test(service_ports, choices)
{
    static const char *const nothing[] = {NULL}, *const some[] = {"Web", "SSH", "db", "tcp-8080", NULL};
    struct service_ports t;
    service_ports_init(&t, SERVICE_WAY_TCP);
    cr_expect(service_port_offered(service_port_find(&t, 8000), some));
    cr_expect_not(service_port_offered(service_port_find(&t, 443), some));
    cr_expect_not(service_port_offered(service_port_find(&t, 443), nothing));
    expect_choices("", 22, nothing, "ssh 22 tcp-22");
    expect_choices("", 22, some, "SSH 22 tcp-22"); /* perhaps it offers the others since */
    expect_choices("", 80, some, "Web http www 80 tcp-80");
    expect_choices("", 8080, some, "Web tcp-8080 http-alt http 8080");
    expect_choices("", 443, some, "https 443 tcp-443");
    expect_choices("", 9, some, "");
    expect_choices("web", 22, some, "Web");
    expect_choices("web", 22, nothing, "web");
    expect_choices("other", 9, some, "other");
    asked_way = SERVICE_WAY_UDP;
    expect_choices("", 53, nothing, "domain dns 53 udp-53");
    expect_choices("", 5201, some, "iperf3 iperf 5201 udp-5201");
    expect_choices("", 22, some, "");
    cr_expect_str_eq(service_as_offered("ssh", some), "SSH");
    cr_expect_null(service_as_offered("ftp", some));
}
