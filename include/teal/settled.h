/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Settled services (docs/decisions/0015): when a packet of a connection under way needs no look at the flow table,
 * because whatever entry it has says what the current Maglev table says.
 *
 *   a word a group   0, or 1 + the pool that all of the group's flows are decided by. Control thread: rw, engines: ro.
 *   a cell a bucket  two bits that sum up the bucket's entries, sixteen cells a word:
 *                    UNKNOWN  ask the table. The sweeper clears a cell before it looks at the bucket.
 *                    PRESENT  all entries are plain (below), and there is one
 *                    EMPTY    there is none
 *                    ATTEND   an entry is not plain: its packets must find it. Set by whoever makes it so, after he has
 *                             made it so, over whatever the cell says.
 *                    A cell that was ATTEND and need not be is UNKNOWN for one walk: between a packet's loads of its two
 *                    cells an entry may change buckets and a sweeper come by.
 *
 * An entry is plain when its connection is established, data has been seen, its last-seen stamp is young, and its
 * backend is its Maglev slot's. An entry lies in one of two buckets: a key whose cells are PRESENT, or one of them EMPTY,
 * has a plain entry or none, and probably one. Who has none is entered by a later packet: one in 256 of them all
 * goes the long way. A walk begins with a grace period, so that nobody acts on what he read in the walk before.
 *
 * tests/model/settled.pml is this protocol with cutovers, changes of membership and ageing.
 */
#ifndef TEAL_SETTLED_H
#define TEAL_SETTLED_H

#include "teal/service.h"
#include "teal/split.h"

#define TEAL_CELL_UNKNOWN 0u
#define TEAL_CELL_PRESENT 1u
#define TEAL_CELL_EMPTY 2u
#define TEAL_CELL_ATTEND 3u /* all bits: may be set over every other */
#define TEAL_CELLS_A_WORD 16u

TEAL_INLINE uint32_t teal_cell_of(uint32_t word, uint32_t bucket) {
  return word >> (bucket % TEAL_CELLS_A_WORD * 2) & 3;
}

/* Says that the bucket holds an entry that its packets must find. The entry has been written by now. Where the cell says
 * so already nothing is: a sweeper that clears it just then leaves it UNKNOWN, and looks again a walk later. */
TEAL_INLINE void teal_cell_attend(uint32_t *word, uint32_t bucket) {
  if (teal_cell_of(TEAL_LOAD(word), bucket) == TEAL_CELL_ATTEND) return;
  TEAL_OR(word, TEAL_CELL_ATTEND << (bucket % TEAL_CELLS_A_WORD * 2));
}

/* By the cells of a key's two buckets: both PRESENT, or one of them and the other EMPTY. */
TEAL_INLINE int teal_cells_settled(uint32_t first, uint32_t second) { return first * second - 1 < 2; }

/* Whether packets with these flags may go without the table: neither begin nor end a connection. */
TEAL_INLINE int teal_flags_settled(uint32_t flags) { return (flags & (TEAL_TCP_SYN | TEAL_TCP_FIN | TEAL_TCP_RST)) == 0; }

/* One packet in 256, another one of each flow at each fine tick: each flow has a turn 16 times a second. */
TEAL_INLINE int teal_goes_long(uint64_t hash, uint32_t now) {
  return (((uint32_t)hash ^ now * 0x9e3779b1u) & 0xff000000u) == 0;
}

/* Stamps may lag: a connection that goes without the table is seen there when its entry has grown stale, after an eighth
 * of its time-out or a minute. So it is forgotten two minutes later than it would be, and never early. Ticks. */
#define TEAL_STALE_AT_MOST (60u * TEAL_TICKS_PER_S)
TEAL_INLINE uint32_t teal_stale_after(uint32_t timeout) {
  return timeout / 8 < TEAL_STALE_AT_MOST ? timeout / 8 : TEAL_STALE_AT_MOST;
}
#define TEAL_SETTLES_TIMEOUT (60u * TEAL_TICKS_PER_S) /* services whose time-out is shorter do not settle */

/* Whether an established connection's entry is plain, its backend apart. */
TEAL_INLINE int teal_val_plain(uint64_t val, uint32_t now, uint32_t stale) {
  return teal_val_state(val) == TEAL_FLOW_established && (val & TEAL_VAL_DATA) && teal_val_age(val, now) <= stale;
}

#endif
