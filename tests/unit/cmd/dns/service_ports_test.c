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
    service_ports_init(&t);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct service_port *p = service_port_find(&t, rows[i].port);
        cr_assert_not_null(p);
        cr_expect_eq(service_port_means(p, rows[i].service), rows[i].means, "%u %s", rows[i].port, rows[i].service);
    }
    cr_expect_null(service_port_find(&t, 9));
}

Test(service_ports, every_row_has_its_numbers)
{
    struct service_ports t;
    service_ports_init(&t);
    for (unsigned i = 0; i < t.count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", t.rows[i].port);
        cr_expect(service_port_means(&t.rows[i], number));
        cr_expect(i == 0 || t.rows[i - 1].port < t.rows[i].port, "in order, none twice");
    }
}

Test(service_ports, more)
{
    struct service_ports t;
    service_ports_init(&t);
    unsigned before = t.count;
    cr_expect(service_ports_add(&t, 22) && t.count == before, "there already");
    for (uint16_t port = 40001; t.count < SERVICE_PORTS_MAX; port++)
        cr_assert(service_ports_add(&t, port));
    cr_expect_not(service_ports_add(&t, 50000));
    cr_expect(service_ports_add(&t, 40001));
    cr_expect(service_port_means(service_port_find(&t, 40001), "tcp-40001"));
}
