/* SPDX-License-Identifier: Apache-2.0
 *
 * Settled services (include/teal/settled.h, src/flow/settle.cc, src/flow/sweep.cc): when a packet may go without a look
 * at the flow table. One statement of the model is a load, a store or a read-modify-write.
 *
 *   F          one flow, its entry in bucket 0 or 1 (in both while it is displaced): backend | FIN | stamp
 *   G          an entry of another group in bucket 1, always plain: what makes F's cells look settled when F's does not
 *   backends   1 and 3 of pool 0, 2 of pool 1; decide[p]: F's Maglev slot in the published tables
 *   cell[b]    0: not known, look at the table (the sweeper is at it) | PRESENT | NOTHING | ATTEND, which is both bits,
 *              so that whoever says ATTEND between the sweeper's clearing and its verdict is heard
 *   Worker     an engine; each packet a read section, which takes the tables when it begins
 *   Control    the control thread: walks of the sweeper slice by slice, changes between two slices
 *
 * What is needed beside "clear, look, tell" was found here; each is a mistake below when left out:
 *   - a cleared cell is not a clean one (AS_BITS), or an entry that needs attention is overlooked while it is swept;
 *   - a cell that said ATTEND is believed to be clean after a second walk only (ONE_WALK): the two cells are two loads;
 *   - every walk begins with a grace period (NO_WALK_GRACE), after it is known whom the walk leaves out.
 *
 * Ghosts, that no process reads: flow is the backend of F's entry (0: none), epoch how many have ended. What must hold:
 *   - a packet of F goes to `flow`, unless an entry ended while it was under way: whichever way it took;
 *   - one that goes without the table goes where the table way would send a flow without an entry at that moment;
 *   - F's entry is not aged out before the time-out since F last sent is over;
 *   - a packet that begins after FIN was entered finds it;
 *   - a flow that begins after a cutover was answered is not on the old pool;
 *   - everybody ends (Spin's invalid end states).
 *
 * VARIANT picks a scene, BROKEN one mistake that Spin must find. tests/model/run.sh runs them.
 */
/* Changes (cutovers, rollbacks, changes of membership: the scene says which), of the sweeper's walks that they fall
 * into, and of packets a worker. */
#if VARIANT == TWICE
#define CHANGES 2
#define WALKS 3
#elif VARIANT == MEMBERS
#define CHANGES 2
#define WALKS 4
#elif VARIANT == CUTOVER
#define CHANGES 1
#define WALKS 4
#elif VARIANT == AGE
#define CHANGES 1
#define WALKS 6
#else
#define CHANGES 0
#define WALKS 4
#endif
#if VARIANT == AGE
#define PACKETS 4
#else
#define PACKETS 2
#endif

#define VAL(backend, fin, stamp) ((backend) * 32 + (fin) * 16 + (stamp))
#define BACKEND(v) ((v) / 32)
#define FIN(v) ((v) / 16 % 2)
#define STAMP(v) ((v) % 16)
#define POOL(backend) ((backend) == 2)

/* The split word. */
#define CURRENT(w) ((w) % 2)
#define DRAINING(w) ((w) / 2)
#define TABLES decide[(DRAINING(split) -> previous : CURRENT(split))]

#define PRESENT 1
#if BROKEN == AS_BITS
#define NOTHING 0
#define ATTEND 2
#define CLEAN(a, b) (((a) | (b)) == PRESENT)
#elif BROKEN == ONE_CELL
#define NOTHING 2
#define ATTEND 3
#define CLEAN(a, b) ((a) == PRESENT || (b) == PRESENT)
#else
#define NOTHING 2
#define ATTEND 3
#define CLEAN(a, b) ((a) != 0 && (a) != ATTEND && (b) != 0 && (b) != ATTEND && ((a) == PRESENT || (b) == PRESENT))
#endif

/* The clock's unit is what a walk takes at most. A stamp lags by less than three units: one until the entry is stale,
 * one until the sweeper comes by, one for a packet under way. */
#define TIMEOUT 1
#define STALE 0
#if BROKEN == LITTLE_GRACE
#define GRACE 2
#else
#define GRACE 3
#endif
#define CLOCK_END 7
#if BROKEN == SLOW_WALK
#define TICKS 2
#else
#define TICKS 1
#endif

byte decide[2];
byte split;
byte previous;
byte settled;        /* 0, or 1 + pool */
byte cell[2];
byte ent[2];
bool lock;           /* F's */
byte clock;
bool in[2];          /* read sections, and whom a grace period still waits for */
bool waited[2];

byte flow;
byte epoch;
byte born;           /* 0: F's SYN is still to come, 1: under way, 2: F has begun */
bool must;           /* F's FIN stands and is attended to */
byte last;           /* when F's last packet came */
bool lapsed;         /* after a longer pause than the time-out: F may be forgotten, until its stamp is new */
byte adopted;        /* 1 + the pool that a cutover left, as answered; 0 while there is no such answer */

inline section_begin() { in[me] = true; view[0] = decide[0]; view[1] = decide[1] }
inline section_end() {
  d_step {
    in[me] = false; waited[me] = false;
    view[0] = 0; view[1] = 0; v = 0; at = 0; w = 0; seen = 0; before = 0; see = 0
  }
}
inline grace() {
  d_step { waited[0] = in[0]; waited[1] = in[1] };
  !waited[0] && !waited[1]
}

/* Under F's lock. */
inline look_again() {
  d_step {
    v = 0; at = 0; seen = epoch;
    if :: ent[0] != 0 -> v = ent[0] :: ent[0] == 0 && ent[1] != 0 -> v = ent[1]; at = 1 :: else fi
  }
}

/* F's packets, one after the other, on one engine. */
proctype Worker(byte me) {
  byte view[2], v, at, w, seen, before, n = PACKETS;
  bool syn, see;
next:
  if
  :: n == 0 -> goto out          /* (nothing is awaited: Spin sees who never ends) */
  :: atomic {
       n > 0 && born != 1 -> n--;
       section_begin();
       before = adopted; see = must; seen = epoch;
       lapsed = lapsed || clock - last > TIMEOUT; last = clock;
       if :: born == 0 -> syn = true; born = 1 :: else fi
     }
  fi;
  if
  :: syn
  :: else ->
     w = settled;
     if
     :: w != 0 ->
        if                     /* either may be the first */
        :: v = cell[0]; at = cell[1]
        :: at = cell[1]; v = cell[0]
        fi;
        if
        :: CLEAN(v, at) ->
           d_step {
             v = view[w - 1];
             assert(!see);
             assert(flow == 0 || v == flow);
             assert(v == TABLES)
           };
           goto done
        :: else
        fi
     :: else
     fi
  fi;
  /* The table way. */
  at = 0; v = ent[0];
  if :: v == 0 -> at = 1; v = ent[1] :: else fi;
  if
  :: v == 0 ->
     /* The split, then the split before it; F's lock; whether it has been entered meanwhile. */
#if BROKEN == NEW_BY_PREVIOUS
     d_step { w = CURRENT(split); v = DRAINING(split) };
#else
     d_step { w = CURRENT(split); v = !syn && DRAINING(split) };
#endif
     if :: v -> w = previous :: else fi;
     atomic { !lock -> lock = true };
     look_again();
     if
     :: v == 0 ->
        if :: at = 0 :: at = 1 fi;
        d_step {
          v = VAL(view[w], 0, clock);
          assert(!syn || before == 0 || adopted != before || w != before - 1);
          ent[at] = v; flow = BACKEND(v); lapsed = false
        };
        cell[at] = cell[at] | ATTEND
     :: else
     fi;
     lock = false
  :: else
  fi;
  d_step {
    assert(epoch != seen || BACKEND(v) == flow);
    if :: ent[at] == v -> ent[at] = VAL(BACKEND(v), FIN(v), clock); lapsed = false :: else fi
  };
done:
  if :: syn -> d_step { born = 2; syn = false } :: else fi;
  section_end();
  goto next;
out:
  skip
}

#if VARIANT == FINISH
/* A FIN, or a reset: the entry first, then its cells; nobody displaces it here. */
proctype Finish(byte me) {
  byte view[2], v, at, w, seen, before;
  bool see;
  atomic { section_begin() };
  look_again();
#if BROKEN == ATTEND_FIRST
  cell[0] = cell[0] | ATTEND;
  cell[1] = cell[1] | ATTEND;
#endif
  if :: v != 0 -> d_step { ent[at] = VAL(BACKEND(ent[at]), 1, clock) } :: else fi;
#if BROKEN != ATTEND_FIRST
  cell[0] = cell[0] | ATTEND;
  cell[1] = cell[1] | ATTEND;
#endif
  must = ent[0] != 0 || ent[1] != 0;
  section_end()
}
#endif

#if VARIANT == DISPLACE
/* An engine that wants F's place for another flow's entry, twice. */
proctype Displace(byte me) {
  byte view[2], v, at, w, seen, before, n = 2;
  bool see;
  do
  :: n > 0 ->
     atomic { section_begin() };
     atomic { !lock -> lock = true };
     look_again();
     if
     :: v != 0 ->
        ent[1 - at] = v;
#if BROKEN != UNATTENDED
        cell[1 - at] = cell[1 - at] | ATTEND;
#endif
        do
        :: d_step { ent[at] == v -> ent[at] = 0 }; break
        :: d_step { ent[at] != v -> v = ent[at]; ent[1 - at] = v }
        od
     :: else
     fi;
     lock = false;
     section_end();
     n--
  :: else -> break
  od
}
#endif

/* One bucket of a walk. What a group that is no candidate has there is not looked at. */
inline look(b) {
  v = ent[b];
  if
  :: v != 0 && clock - STAMP(v) > TIMEOUT + GRACE ->
     d_step {
       if
       :: !lock && ent[b] == v ->
          assert(lapsed || clock - last > TIMEOUT);
          ent[b] = 0; v = 0; flow = 0; epoch++
       :: else
       fi
     }
  :: else
  fi;
  d_step {
    verdict = (b == 1 -> PRESENT : NOTHING);
    if
    :: v != 0 ->
       found = found || POOL(BACKEND(v)) != CURRENT(split);
       if
       :: candidate ->
#if BROKEN == STALE_PLAIN
          if :: !FIN(v) && BACKEND(v) == decide[CURRENT(split)] -> verdict = PRESENT
#else
          if :: !FIN(v) && clock - STAMP(v) <= STALE && BACKEND(v) == decide[CURRENT(split)] -> verdict = PRESENT
#endif
          :: else -> verdict = ATTEND
          fi
       :: else
       fi
    :: else
    fi;
    v = 0
  }
}
inline sweep(b) {
#if BROKEN == LOOK_FIRST
  look(b);
  d_step { was = cell[b]; cell[b] = 0 };
#else
  d_step { was = cell[b]; cell[b] = 0 };
  look(b);
#endif
#if !defined(ONE_WALK) && BROKEN != AS_BITS
  /* Who read the other cell before F was displaced to it must not find this one clean in the same section. */
  if :: was == ATTEND && verdict != ATTEND -> verdict = 0 :: else fi;
#endif
  cell[b] = cell[b] | verdict;
  d_step { was = 0; verdict = 0 }
}

#if CHANGES
/* Previous, then current: a cutover or its rollback. Or F's slot in pool 0's table is given to another backend. */
inline change() {
#if BROKEN != NO_UNSETTLE
  settled = 0;
#if BROKEN != NO_GRACE
  grace();
#endif
#endif
#if BROKEN != SETTLE_CHANGED
  candidate = false;
#endif
  whole = false;
  changes--;
  if
#if VARIANT == CUTOVER || VARIANT == TWICE
  :: adopted = 0;
     previous = CURRENT(split);
     split = 2 + 1 - CURRENT(split);
     grace();
     adopted = 1 + previous
#endif
#if VARIANT == MEMBERS || VARIANT == TWICE || VARIANT == AGE
  :: decide[0] = 4 - decide[0];
     grace()
#endif
  fi
}
#endif

inline between_slices() {
#if CHANGES
  if :: changes > 0 -> change() :: true fi;
#endif
#if VARIANT == AGE
  if :: ticks > 0 && clock < CLOCK_END -> clock++; ticks-- :: true fi
#else
  skip
#endif
}

proctype Control() {
  byte changes = CHANGES, hinders = 2 * (VARIANT == HINDER), v, verdict, was, walks, ticks;
  bool candidate, whole, found;
  do
  :: walks < WALKS ->
     d_step { walks++; candidate = !DRAINING(split); whole = true; found = false; ticks = TICKS };
     /* Something else keeps the group from settling, such as flows that the table had no room for. */
     if :: hinders > 0 -> hinders--; candidate = false; settled = 0 :: true fi;
#if BROKEN != NO_WALK_GRACE
     grace();
#endif
     between_slices();
     sweep(0);
     between_slices();
     sweep(1);
     between_slices();
     if :: candidate -> settled = 1 + CURRENT(split) :: else fi;
     if :: whole && DRAINING(split) && !found -> split = CURRENT(split) :: else fi
  :: else -> break
  od
}

/* F's entry, on `backend`, in either bucket; the cells as a walk left them. */
inline entered(backend) {
  flow = backend;
  if :: ent[0] = VAL(flow, 0, 0); cell[0] = (flow == decide[0] -> PRESENT : ATTEND)
     :: ent[1] = VAL(flow, 0, 0); cell[1] = (flow == decide[0] -> PRESENT : ATTEND)
  fi
}

init {
  atomic {
    decide[0] = 1; decide[1] = 2;
    settled = 1; cell[0] = NOTHING; cell[1] = PRESENT;
    born = 2;
#if VARIANT == CUTOVER || VARIANT == TWICE || VARIANT == MEMBERS
    if
    :: entered(1)
    :: true                  /* not known here, in its middle */
    :: born = 0              /* not begun */
    fi;
    run Worker(0); run Worker(1);
#elif VARIANT == AGE         /* F pauses for longer or shorter than the time-out; its slot is another's meanwhile */
    entered(1);
    run Worker(0);
#elif VARIANT == HINDER      /* a group's settling ends with no change; F's entry is of an earlier membership */
    entered(3);
    run Worker(0); run Worker(1);
#elif VARIANT == DISPLACE    /* the same entry moves to its other bucket, and back */
    entered(3);
    run Worker(0); run Displace(1);
#elif VARIANT == FINISH       /* F ends while the sweeper goes by */
    entered(1);
    run Worker(0); run Finish(1);
#endif
    run Control()
  }
}
