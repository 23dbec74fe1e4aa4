/* SPDX-License-Identifier: MIT
 *
 * The options, one line each: the single source for the parser, `p2p config` and the check of p2p.conf(5). The next line's
 * number is nowhere stored: the order is the order of `p2p config` and may change.
 *
 *   id, name, type, default, min, max, choices, help
 */
#ifndef STORE_REPO_CONFIG_TABLE_H
#define STORE_REPO_CONFIG_TABLE_H

#include <stdint.h>

#define CONFIG_MS UINT64_C(1000000)
#define CONFIG_S  UINT64_C(1000000000)
#define CONFIG_NO_LIMIT (UINT64_C(1) << 60)

#define CONFIG_TABLE(X) \
    X(CONFIG_LISTEN, "listen", CONFIG_LIST, "/ip4/0.0.0.0/tcp/4001 /ip6/::/tcp/4001", 0, 16, NULL, \
      "addresses to listen on; when a port is taken another one is chosen") \
    X(CONFIG_MDNS, "mdns", CONFIG_BOOL, "yes", 0, 1, NULL, "find peers on the local network, and be found") \
    X(CONFIG_MOUNT, "mount", CONFIG_TEXT, "~/p2p", 1, 4095, NULL, "where the tree is mounted") \
    X(CONFIG_QUOTA, "quota", CONFIG_SIZE, "auto", 0, CONFIG_NO_LIMIT, "auto", \
      "bytes of blocks to hold; auto: half of what the disk has free when the node starts; none: no limit") \
    X(CONFIG_MEMORY, "memory", CONFIG_SIZE, "128M", UINT64_C(16) << 20, UINT64_C(1) << 40, NULL, \
      "memory budget of the node") \
    X(CONFIG_TIMEOUT_METADATA, "timeout-metadata", CONFIG_DURATION, "10s", 100 * CONFIG_MS, 3600 * CONFIG_S, NULL, \
      "how long a lookup or listing in the mount may wait for the network") \
    X(CONFIG_TIMEOUT_READ, "timeout-read", CONFIG_DURATION, "20s", 100 * CONFIG_MS, 3600 * CONFIG_S, NULL, \
      "how long a read in the mount may wait without any progress") \
    X(CONFIG_MAX_CONNECTIONS, "max-connections", CONFIG_INT, "256", 1, 65536, NULL, "connections to peers") \
    X(CONFIG_MAX_CONNECTIONS_PER_IP, "max-connections-per-ip", CONFIG_INT, "16", 1, 65536, NULL, \
      "of them, from one address") \
    X(CONFIG_UPLOAD_LIMIT, "upload-limit", CONFIG_SIZE, "none", 0, CONFIG_NO_LIMIT, NULL, \
      "bytes a second sent to peers; none: no limit") \
    X(CONFIG_DOWNLOAD_LIMIT, "download-limit", CONFIG_SIZE, "none", 0, CONFIG_NO_LIMIT, NULL, \
      "bytes a second received from peers; none: no limit") \
    X(CONFIG_DNS_PORT, "dns-port", CONFIG_INT, "5354", 0, 65535, NULL, \
      "port of 127.0.0.1 where names below .overlay are answered; 0: nowhere") \
    X(CONFIG_DNS_PORTS, "dns-ports", CONFIG_LIST, "", 0, 24, NULL, \
      "further ports of names below .overlay that lead to services of peers") \
    X(CONFIG_QUIET, "quiet", CONFIG_LIST, \
      "tumblerd gvfsd-metadata tracker-miner-f tracker-extract baloo_file updatedb updatedb.mlocat updatedb.plocat " \
      "localsearch-3", \
      0, 64, NULL, "programs (their comm names) that never start a download") \
    X(CONFIG_LOG_LEVEL, "log-level", CONFIG_CHOICE, "info", 0, 0, "error warn info debug", "how much is logged")

#endif
