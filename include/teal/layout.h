/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The memory that outlives teald: one file (or, on xdp ports, BPF arrays) with head, locks, splits, numbers, buckets,
 * and what of them is settled.
 * A starting teald compares magic, layout and sizes before it believes a byte of it.
 */
#ifndef TEAL_LAYOUT_H
#define TEAL_LAYOUT_H

#include "teal/service.h"
#include "teal/settled.h"
#include "teal/split.h"
#include "teal/table.h"

#define TEAL_MAGIC 0x31656c6261546c54ull /* "TlTable1" */
#define TEAL_LAYOUT 3 /* 1: ticks of 1/16 s as the clock, 14 check bits; 2: nothing behind the buckets */
#define TEAL_LOCKS 65536u
#define TEAL_GROUPS 4096u
#define TEAL_SERVICES 4096u
#define TEAL_BACKENDS 65536u
#define TEAL_NAME 64

/* The first 4 KiB. Written by the control thread; `tick` by the clock's writer, read by workers. */
struct teal_head {
  uint64_t magic;
  uint32_t layout;
  uint32_t buckets;
  uint64_t capacity;      /* flows it was made for */
  uint64_t instance;      /* counted up at each start; its low bits own the lock words */
  struct teal_secret secret;
  uint8_t boot_id[16];    /* a table of another boot has stamps of another clock: it is not taken over */
  uint32_t tick __attribute__((aligned(64))); /* the clock: ticks since boot, low 24 bits used */
};

/* Numbers given out to groups, services and backends, so that a restarted teald gives the same. `used` is stored last
 * when a record is made and first when it is freed. */
struct teal_group_record {
  char name[TEAL_NAME];
};
struct teal_service_record {
  char name[TEAL_NAME];
  struct teal_addr vip;
  teal_be16 port;
  uint8_t proto;
  uint8_t family;
  uint8_t forward;
  uint8_t retired;
  uint16_t group;
  uint32_t used;
  uint32_t unused[9];
};
struct teal_backend_record {
  char name[TEAL_NAME];
  struct teal_addr addr;
  teal_be16 port;
  uint16_t service;
  uint8_t family;
  uint8_t pool;
  uint8_t state;          /* 0 ready, 1 drain, 2 down: the operator's word, kept across restarts */
  uint8_t removed;        /* no longer configured, kept for its flows */
  uint32_t weight;        /* in force */
  uint32_t config_weight; /* of the configuration when it was last read: tells an operator's change from the file's */
  uint32_t used;
  uint32_t unused[7];
};
TEAL_STATIC_ASSERT(TEAL_SERVICES <= TEAL_KEY_AFFINITY, "a key has a bit beside its service's number");
TEAL_STATIC_ASSERT(sizeof(struct teal_service_record) == 128, "service record");
TEAL_STATIC_ASSERT(sizeof(struct teal_backend_record) == 128, "backend record");

#define TEAL_AT_LOCKS 4096ull
#define TEAL_AT_SPLITS (TEAL_AT_LOCKS + TEAL_LOCKS * 4ull)
#define TEAL_AT_GROUPS (TEAL_AT_SPLITS + TEAL_GROUPS * sizeof(struct teal_split))
#define TEAL_AT_SERVICES (TEAL_AT_GROUPS + TEAL_GROUPS * sizeof(struct teal_group_record))
#define TEAL_AT_BACKENDS (TEAL_AT_SERVICES + TEAL_SERVICES * sizeof(struct teal_service_record))
#define TEAL_AT_BUCKETS (TEAL_AT_BACKENDS + TEAL_BACKENDS * sizeof(struct teal_backend_record))
/* Behind the buckets, whose number a table chooses (teal/settled.h). */
#define TEAL_AT_SETTLED(buckets) (TEAL_AT_BUCKETS + (uint64_t)(buckets) * sizeof(struct teal_bucket))
#define TEAL_AT_CELLS(buckets) (TEAL_AT_SETTLED(buckets) + TEAL_GROUPS * 4ull)
#define TEAL_AT_END(buckets) (TEAL_AT_CELLS(buckets) + ((uint64_t)(buckets) + 255) / 256 * 64)

#endif
