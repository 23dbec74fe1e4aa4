/* SPDX-License-Identifier: MIT
 *
 * Sizes and durations as people write them: the same in config, command line and control socket.
 *
 * Sizes: digits, optionally a fraction, then nothing or B for bytes; K M G T P or KiB … PiB for powers of 1024; KB … PB for
 * powers of 1000. A space before the unit is allowed, case does not matter. "none" is 0.
 * Durations: ns, us, ms, s, m, h, d, w; a bare number is seconds; parts may follow each other ("1h30m"). "none" is 0.
 */
#ifndef STORE_BASE_UNITS_H
#define STORE_BASE_UNITS_H

#include "store/base/mono.h"
#include "store/base/span.h"

/* 0, or ERR_INVALID (malformed or past 64 bits), *ret unchanged */
int size_parse(struct span text, uint64_t *ret_bytes);
int duration_parse(struct span text, mono_ns *ret);

#define UNITS_TEXT_SIZE 40 /* the longest duration: 30500w6d23h59m59s999ms999us999ns */
/* Three digits for people: "0 B", "4.0 KiB", "1.25 GiB". Returns text. */
char *size_text(uint64_t bytes, char text[UNITS_TEXT_SIZE]);
/* Exact, parses back to the same number: "10G", "1536K", "1000". */
char *size_text_exact(uint64_t bytes, char text[UNITS_TEXT_SIZE]);
/* Exact, parses back: "0s", "10s", "1m30s", "250ms". */
char *duration_text(mono_ns d, char text[UNITS_TEXT_SIZE]);

#endif
