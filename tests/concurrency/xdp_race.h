/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What the programs of xdp_race.bpf.c and xdp_race.cc share.
 */
#ifndef TEAL_XDP_RACE_H
#define TEAL_XDP_RACE_H

#include "teal/net.h"

#define RACE_CPUS 2
#define RACE_STEP 16u     /* flows that both CPUs begin together: SYNs of all of them, then ACKs of all of them */
#define RACE_BATCH (2 * RACE_STEP) /* frames that are made and sent at a time */
#define RACE_FRAME 60     /* bytes */
#define RACE_BACKENDS 4u  /* 1 and 2 are blue, 3 and 4 green: the last byte of their addresses */
#define RACE_CLIENT 0x0a000001u /* host order: 10.0.0.1 is flow 0's client; flow i's is i after it */
#define RACE_SOLO 0x0b000000u /* clients of flows that one CPU has for itself */
#define RACE_SOLO_STEP 0x01000000u
#define RACE_CLIENT_PORT 4000u

/* One in its array; user space writes it, and with a cutover that it stores the shaker writes `stored`. */
struct race_plan {
  uint32_t flows;
  uint32_t stored;  /* generation of the split that is stored, written before the split is: no decision is by a later one */
  uint32_t adopted; /* generation for which synchronize() has returned */
  uint32_t unused;
  uint8_t frame[64];
  /* A cutover that the shaker is to store, in the middle of whatever it interrupts. */
  uint64_t pending[2]; /* previous, current */
  uint32_t group;
  uint32_t armed;      /* 1: to be stored; the shaker makes it 0 afterwards */
  uint64_t shaken;     /* counted: interrupts */
};

/* Of one CPU's generator; no other CPU writes it. */
struct race_generator {
  uint64_t next;    /* frame */
  uint64_t arrived; /* steps that this CPU has come to */
  uint64_t calls;
  uint64_t alone;   /* this batch is of solo flows, because the other CPU did not come */
  uint64_t solo;    /* flow of those; no more than race_plan's flows */
  uint64_t unused[3];
};

/* What came out of one flow's packets that were sent on one CPU. 16 bytes; index: flow * RACE_CPUS + CPU. */
struct race_seen {
  uint32_t stamp;   /* generation adopted when the first of them was made */
  uint32_t stored;  /* generation stored when the first came out */
  uint8_t backend;  /* of the first; 0: none came out */
  uint8_t packets;
  uint8_t moved;    /* packets that went to another backend than the first */
  uint8_t strange;  /* packets to an address that is no backend's */
  uint32_t unused;
};

#endif
