/* SPDX-License-Identifier: MIT
 *
 * What the control socket answers. Paths are versioned: what a path under /v1/ means never changes, fields may be added. */
#include "cmd/daemon/api.h"

#define GET    EVHTTP_REQ_GET
#define POST   EVHTTP_REQ_POST
#define DELETE EVHTTP_REQ_DELETE

const struct ctl_route ctl_routes[] = {
    {"/v1/version", GET, api_version},
    {"/v1/status", GET, api_status},
    {"/v1/cat", GET, api_cat},
    {"/v1/ls", GET, api_ls},
    {"/v1/stat", GET, api_stat},
    {"/v1/cid", GET, api_cid},
    {"/v1/add", POST, api_add_new},
    {"/v1/add/", POST | DELETE, api_add},
    {"/v1/import", POST, api_import_new},
    {"/v1/import/", POST | DELETE, api_import},
    {"/v1/export", GET, api_export},
    {"/v1/pin", POST, api_pin},
    {"/v1/unpin", POST, api_unpin},
    {"/v1/pins", GET, api_pins},
    {"/v1/gc", POST, api_gc},
    {"/v1/verify", POST, api_verify},
    {"/v1/peers", GET, api_peers},
    {"/v1/connect", POST, api_connect},
    {"/v1/disconnect", POST, api_disconnect},
    {"/v1/ping", POST, api_ping},
    {"/v1/services", POST, api_services},
    {"/v1/offers", GET, api_offers},
    {"/v1/forwards", GET, api_forwards},
    {"/v1/streams", GET, api_streams},
    {"/v1/streams/addresses", GET, api_stream_addresses},
    {"/v1/dns", GET, api_dns},
    {"/v1/waiting", GET, api_waiting},
    {"/v1/events", GET, api_events},
    {"/v1/limits", GET | POST, api_limits},
    {"/v1/config", GET, api_config},
    {"/v1/config/reload", POST, api_config_reload},
    {"/v1/shutdown", POST, api_shutdown},
    {NULL, 0, NULL},
};
