/* SPDX-License-Identifier: MIT
 *
 * CAR files (ipld.io/specs/transport/car): a header with roots, then blocks. Version 1 is written; 1 and 2 are read.
 *
 *   v1:  uvarint n ‖ dag-cbor {roots: [CID …], version: 1} (n bytes) ‖ frames:  uvarint n ‖ CID ‖ data   (n = both)
 *   v2:  0a a1 67 "version" 02 ‖ 16 B characteristics ‖ u64le data offset ‖ data size ‖ index offset ‖ … a v1 CAR at
 * data offset … index
 *
 * The reader is a machine without I/O: bytes in, events out. It holds at most one frame. Whether a block has the hash its CID
 * says is the caller's to check (hasher.h: hash_verify), possibly on another thread.
 */
#ifndef STORE_CODEC_CAR_H
#define STORE_CODEC_CAR_H

#include "store/content/cid.h"

#define CAR_HEADER_MAX (UINT32_C(1) << 20) /* bytes of a v1 header */
#define CAR_ROOTS_MAX  1024
#define CAR_BLOCK_MAX  (UINT32_C(2) << 20) /* as BLOCK_MAX of block.h, which is above this layer */
#define CAR_FRAME_MAX  (CAR_BLOCK_MAX + CID_MAX)

/* ---- writer ---- */
void car_add_header(struct buf *out, const struct cid *roots, size_t count);
/* What comes before the data of a block; the data follow as they are. Identity CIDs do not belong in a CAR. */
void car_add_frame_head(struct buf *out, const struct cid *cid, size_t data_len);
/* Length of a whole frame, of a whole header: for Content-Length. */
uint64_t car_frame_size(const struct cid *cid, size_t data_len);

/* ---- reader ----
 *
 *   HEADER ──► FRAMES ──► END          END: v2 with all its data read; what follows is ignored
 *      └──► V2_HEADER ──► SKIP ──► HEADER (v1 only)
 *   any ──► FAILED
 */
enum car_event_type {
    CAR_HEADER, /* version, roots */
    CAR_BLOCK,  /* cid, data: borrowed until the next call */
    CAR_END,    /* once; only from a v2 whose data part is complete, or after car_reader_eof */
};

struct car_event {
    enum car_event_type type;
    int version; /* of the file: 1 or 2 */
    const struct cid *roots;
    size_t root_count;
    struct cid cid;
    struct span data;
};

struct car_reader;
struct car_reader *car_reader_new(void);
struct car_reader *car_reader_free(struct car_reader *r); /* NULL accepted */
/* Copies `in`; call car_reader_next until it says 0 before the next input, so that one frame plus one input is all that
 * is kept. 0; ERR_NO_MEMORY: nothing of it was taken. */
int car_reader_input(struct car_reader *r, struct span in);
/* No more bytes will come. */
void car_reader_eof(struct car_reader *r);
/* 1: an event; 0: more input needed, or the end was told. ERR_INVALID, ERR_TOO_BIG (a frame or header over its limit),
 * ERR_UNSUPPORTED (another version), ERR_TRUNCATED (eof in the middle): fatal, the same again on the next call. */
int car_reader_next(struct car_reader *r, struct car_event *ret);
/* Bytes of the file before the event that comes next: where a fault is. */
uint64_t car_reader_offset(const struct car_reader *r);

#endif
