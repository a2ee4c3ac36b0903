/* SPDX-License-Identifier: Apache-2.0
 *
 * What src/flow/table.cc and include/teal/table.h do, one statement of the model a load, store or compare-and-swap.
 *
 *   slot       key[i], val[i]; S slots a bucket, two candidate buckets a key (first() and second() below)
 *   value      tag (the key it belongs to: the check bits) | backend | state
 *   lock[k]    the key's lock word
 *
 * Ghosts, that no process reads: flow[k] is the backend that the live flow of k is on (0: none), epoch[k] how many
 * flows of k have ended. What must hold:
 *   - a copy of k's entry, wherever it stands, names flow[k]: no two live entries of a key give different answers;
 *   - a reader's answer is flow[k], unless a flow of k ended while it read: no torn value, no other key's, no dead one;
 *   - at the end no slot is half claimed or half freed, no lock held, a flow that nobody ended has exactly one entry;
 *   - everybody ends (Spin's invalid end states).
 *
 * VARIANT picks a scene (bottom of the file), BROKEN one mistake that Spin must find. tests/model/run.sh runs them.
 */
#define K 1
#define J 2
#define E 3
#define D 4
#define KEYS 5

#define HALF 0        /* half-open: gives way */
#define EST 1         /* established */
#define OVER 2        /* a SYN that meets it begins a new flow */
#define VAL(k, b, s) ((k) * 32 + (b) * 4 + (s))
#define TAG(v) ((v) / 32)
#define BACKEND(v) (((v) / 4) % 8)
#define STATE(v) ((v) % 4)

#ifndef S
#define S 1
#endif
#ifdef TWO_BUCKETS    /* all keys compete for the same two */
#define BUCKETS 2
#define FIRST(k) 0
#define SECOND(k) 1
#else                 /* K: 0 or 1, J: 0 or 2, E and D: 2 or 1 */
#define BUCKETS 3
#define FIRST(k) (2 * ((k) >= E))
#define SECOND(k) (1 + ((k) == J))
#endif
#define N (BUCKETS * S)
#ifdef SHARED_LOCK    /* K and J meet in one stripe */
#define LOCK(k) ((k) - ((k) == J))
#else
#define LOCK(k) (k)
#endif

#if VARIANT == CRASH   /* (elsewhere it would only keep Spin from reducing) */
#define MAY_CRASH unless { crashed }
#else
#define MAY_CRASH
#endif
#define NONE 99        /* no slot */

byte key[N];
byte val[N];
bool lock[KEYS];
byte flow[KEYS];
byte epoch[KEYS];
byte running;
bool crashed;

inline no_twins(kk_tw) {
  t = 0;
  do
  :: t < N -> assert(key[t] != kk_tw || val[t] == 0 || TAG(val[t]) != kk_tw || BACKEND(val[t]) == flow[kk_tw]); t++
  :: else -> break
  od;
  t = 0
}

inline ended(kk_en) { epoch[kk_en]++; flow[kk_en] = 0 }

/* teal_bucket_find over both buckets. ans: the value, 0 for a miss; at: its slot. */
inline find(kk_fi, ans_fi, at_fi) {
  ans_fi = 0; i = 0;
  do
  :: i < 2 * S && ans_fi == 0 ->
     at_fi = (i < S -> FIRST(kk_fi) * S + i : SECOND(kk_fi) * S + i - S);
     if
     :: key[at_fi] == kk_fi ->
        v = val[at_fi];
        if
#if BROKEN == NO_CHECK
        :: v != 0 && key[at_fi] == kk_fi -> ans_fi = v
#else
        :: v != 0 && TAG(v) == kk_fi && key[at_fi] == kk_fi -> ans_fi = v
#endif
        :: else
        fi
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0; v = 0
}

/* A reader tells its answer. seen: epoch[kk] when it began to read. */
inline tell(kk_te, ans_te, seen_te) {
  assert(TAG(ans_te) == kk_te);
  assert(epoch[kk_te] != seen_te || BACKEND(ans_te) == flow[kk_te])
}

/* teal_bucket_claim. to: the slot, NONE when there is none free. entered: 1 for a new flow, 0 for a copy. */
inline claim(bucket_cl, kk_cl, new_cl, to_cl, entered_cl) {
  i = 0; to_cl = NONE;
  do
  :: i < S && to_cl == NONE ->
     if
     :: key[bucket_cl * S + i] == 0 ->
        atomic { if :: key[bucket_cl * S + i] == 0 -> key[bucket_cl * S + i] = kk_cl; to_cl = bucket_cl * S + i :: else fi }
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0;
  if
  :: to_cl != NONE ->
     d_step {
       assert(val[to_cl] == 0);
       if :: entered_cl -> assert(flow[kk_cl] == 0); flow[kk_cl] = BACKEND(new_cl) :: else fi;
       val[to_cl] = new_cl;
       no_twins(kk_cl)
     }
  :: else
  fi
}

inline lock_wait(kk_lw) {
#if BROKEN != NO_LOCK
  atomic { !lock[LOCK(kk_lw)] -> lock[LOCK(kk_lw)] = true }
#else
  skip
#endif
}
/* Only tried; held: the key whose lock this process has already (0: none). */
inline lock_try(kk_lt, held_lt, got_lt) {
#if BROKEN != NO_LOCK
  atomic {
    if
    :: held_lt != 0 && LOCK(kk_lt) == LOCK(held_lt) -> got_lt = true
    :: (held_lt == 0 || LOCK(kk_lt) != LOCK(held_lt)) && !lock[LOCK(kk_lt)] -> lock[LOCK(kk_lt)] = true; got_lt = true
    :: else -> got_lt = false
    fi
  }
#else
  got_lt = true
#endif
}
inline unlock(kk_un, held_un) {
#if BROKEN != NO_LOCK
  d_step { if :: held_un == 0 || LOCK(kk_un) != LOCK(held_un) -> lock[LOCK(kk_un)] = false :: else fi }
#else
  skip
#endif
}

/* Table::make_room, one move deep. room: whether a slot of `bucket` is free now, or was. */
inline make_room(bucket_mr, held_mr, room_mr) {
  j = 0; room_mr = false;
  do
  :: j < S && !room_mr ->
     from = bucket_mr * S + j;
     mk = key[from];
     if
     :: mk == 0 -> room_mr = true
     :: else ->
        lock_try(mk, held_mr, got);
        if
        :: got ->
           mv = val[from];
           if
           :: mv != 0 && key[from] == mk ->
#if BROKEN == FREE_FIRST
              val[from] = 0; key[from] = 0;
#endif
              other = (FIRST(mk) == bucket_mr -> SECOND(mk) : FIRST(mk));
              claim(other, mk, mv, to, false);
              if
              :: to != NONE ->
#if BROKEN != FREE_FIRST
                 do
                 :: atomic { val[from] == mv -> val[from] = 0 }; break
                 :: atomic { val[from] != mv -> newer = val[from] };
                    atomic { if :: val[to] == mv -> val[to] = newer :: else fi };
                    mv = newer
                 od;
                 newer = 0;
                 key[from] = 0;
#endif
                 room_mr = true
              :: else
              fi;
              to = 0; other = 0
           :: else
           fi;
           unlock(mk, held_mr);
           mv = 0; got = false
        :: else
        fi
     fi;
     mk = 0; from = 0; j++
  :: else -> break
  od;
  j = 0
}

/* Table::evict: any entry of the key's two buckets that gives way. */
inline evict(kk_ev, held_ev, room_ev) {
  j = 0; room_ev = false;
  do
  :: j < 2 * S && !room_ev ->
     from = (j < S -> FIRST(kk_ev) * S + j : SECOND(kk_ev) * S + j - S);
     mv = val[from];
     if
     :: mv != 0 && STATE(mv) != EST ->
        mk = key[from];
        if
        :: mk == 0 -> room_ev = true
        :: else ->
           lock_try(mk, held_ev, got);
           if
           :: got ->
              mv = val[from];
              if
              :: key[from] == mk && mv != 0 && STATE(mv) != EST ->
                 atomic { if :: val[from] == mv -> val[from] = 0; ended(mk); room_ev = true :: else fi };
                 if :: room_ev -> key[from] = 0 :: else fi
              :: else
              fi;
              unlock(mk, held_ev); got = false
           :: else
           fi
        fi
     :: else
     fi;
     mk = 0; mv = 0; from = 0; j++
  :: else -> break
  od;
  j = 0
}

/* A packet that may begin a flow: find, judge, Table::insert. */
proctype Packet(byte kk; byte backend) {
  byte i, j, v, t, ans, at, seen, old, fresh, home, other, mk, mv, newer, from, to, tries;
  bool got, room;
  {
    seen = epoch[kk];
    find(kk, ans, at);
    if
    :: ans != 0 && STATE(ans) != OVER -> tell(kk, ans, seen); goto out
    :: else -> old = ans
    fi;
    if
    :: goto out                /* the lock stayed taken: forwarded without an entry, nothing written */
    :: lock_wait(kk)
    fi;
    d_step { seen = epoch[kk]; ans = 0 };
    find(kk, ans, at);
    if
    :: ans != 0 ->
       if
       :: old != 0 && BACKEND(old) == BACKEND(ans) && STATE(old) == STATE(ans) ->
          atomic {
            if
            :: val[at] == ans -> ended(kk); seen = epoch[kk]; flow[kk] = backend; ans = VAL(kk, backend, HALF);
               val[at] = ans; no_twins(kk)
            :: else -> ans = val[at]
            fi
          }
       :: else -> ans = val[at]
       fi
    :: else ->
       tries = 3;
       do
       :: tries > 0 && ans == 0 ->
          fresh = VAL(kk, backend, HALF); home = FIRST(kk);
          claim(home, kk, fresh, at, true);
          if :: at == NONE -> home = SECOND(kk); claim(home, kk, fresh, at, true) :: else fi;
          if
          :: at != NONE -> ans = fresh
          :: else ->
             room = false;
             home = FIRST(kk);
             make_room(home, kk, room);
             if :: !room -> home = SECOND(kk); make_room(home, kk, room) :: else fi;
             if :: !room -> evict(kk, kk, room) :: else fi;
             if :: !room -> tries = 0 :: else -> tries-- fi;
             room = false
          fi
       :: else -> break
       od
    fi;
    /* Under the lock nothing can end this flow, nor move its answer. */
    if :: ans != 0 -> tell(kk, ans, seen) :: else fi;
    unlock(kk, 0)
  } MAY_CRASH;
out:
  running--
}

/* The same where a slot of the first bucket is free or the packet does without: short enough for long histories. */
proctype Enter(byte kk; byte backend) {
  byte i, v, t, ans, at, fresh, home;
  lock_wait(kk);
  find(kk, ans, at);
  if
  :: ans == 0 -> fresh = VAL(kk, backend, HALF); home = FIRST(kk); claim(home, kk, fresh, at, true)
  :: else
  fi;
  unlock(kk, 0);
  running--
}

proctype Reader(byte kk) {
  byte i, v, ans, at, seen;
  { seen = epoch[kk]; find(kk, ans, at); if :: ans != 0 -> tell(kk, ans, seen) :: else fi } MAY_CRASH;
  running--
}

/* Last-seen and state: compare-and-swap of val at the slot where it was found, without the lock. */
proctype Touch(byte kk; byte state) {
  byte i, v, t, ans, at;
  {
    find(kk, ans, at);
    if
    :: ans != 0 && STATE(ans) != OVER ->
#if BROKEN == TOUCH_STORE
       d_step { val[at] = VAL(kk, BACKEND(ans), state); no_twins(kk) }
#else
       d_step {
         if :: val[at] == ans -> assert(key[at] == kk); val[at] = VAL(kk, BACKEND(ans), state); no_twins(kk) :: else fi
       }
#endif
    :: else
    fi
  } MAY_CRASH;
  running--
}

/* Sweeper::step, up to the first Table::remove of an entry of kk, which it judges to be too old. */
proctype Sweep(byte kk) {
  byte v, at;
  bool got;
  {
    do
    :: at < N ->
       if
       :: key[at] == kk ->
          v = val[at];
          if
          :: v != 0 ->
             lock_try(kk, 0, got);
             if
             :: got ->
                if
                :: key[at] == kk ->
                   got = false;
                   atomic { if :: val[at] == v -> val[at] = 0; ended(kk); got = true :: else fi };
                   if :: got -> key[at] = 0; at = N - 1 :: else fi
                :: else
                fi;
                unlock(kk, 0); got = false
             :: else
             fi
          :: else
          fi;
          v = 0
       :: else
       fi;
       at++
    :: else -> break
    od
  } MAY_CRASH;
  running--
}

/* Storage::recover, when all of a dead teald is gone: (K, 0) freed, copies that a displacement left freed, locks cleared. */
inline recover() {
  d_step {
    n = 0;
    do
    :: n < N ->
       if
       :: val[n] == 0 -> key[n] = 0
       :: else
       fi;
       n++
    :: else -> break
    od;
    n = 0;
#if BROKEN != NO_DEDUPE
    do
    :: n < N ->
       if
       :: key[n] != 0 && n / S == SECOND(key[n]) && lock[LOCK(key[n])] ->
          m = 0;
          do
          :: m < S ->
             if :: key[FIRST(key[n]) * S + m] == key[n] -> val[n] = 0; key[n] = 0; break :: else fi;
             m++
          :: else -> break
          od
       :: else
       fi;
       n++
    :: else -> break
    od;
#endif
    n = 1;
    do :: n < KEYS -> lock[n] = false; n++ :: else -> break od;
    n = 0; m = 0
  }
}

inline put(slot_pu, kk_pu, backend_pu, state_pu) { key[slot_pu] = kk_pu; val[slot_pu] = VAL(kk_pu, backend_pu, state_pu); flow[kk_pu] = backend_pu }

init {
  byte n, m, copies;
  atomic {
#if VARIANT == CLAIM           /* first packets of one flow, decided differently, race while others come and go */
    put(0, E, 1, HALF);
    running = 4;
    run Packet(K, 1); run Packet(K, 2); run Sweep(E); run Sweep(K)
#elif VARIANT == DISPLACE      /* J needs the place of K, or of E; K is read, touched and re-entered meanwhile */
    put(0, K, 1, EST); put(2 * S, E, 1, EST);
    running = 4;
    run Packet(J, 1); run Packet(K, 2); run Touch(K, OVER); run Reader(K)
#elif VARIANT == RIVALS        /* two that displace, and the place they want is wanted by a third */
    put(0, K, 1, EST); put(2 * S, D, 1, EST);
    running = 3;
    run Packet(J, 1); run Packet(E, 1); run Packet(K, 2)
#elif VARIANT == REPLACE       /* a flow that is over is begun again, while it is displaced, swept and touched */
    put(0, K, 1, OVER); put(2 * S, E, 1, EST);
    running = 4;
    run Packet(K, 2); run Packet(K, 3); run Packet(J, 1); run Sweep(K)
#elif VARIANT == EVICT         /* no slot to be had: a half-open flow gives way, unless it has just been established */
    put(0, K, 1, HALF); put(S, E, 1, EST);
    running = 4;
    run Packet(J, 1); run Touch(K, EST); run Packet(K, 2); run Reader(K)
#elif VARIANT == RECYCLE       /* a slot goes from K to J and back to K under one reader, or one touch */
    put(0, K, 1, EST); put(S, E, 1, EST);
    running = 5;
    if :: run Reader(K) :: run Touch(K, OVER) fi;
    run Sweep(K); run Enter(J, 2); run Sweep(J); run Enter(K, 3)
#elif VARIANT == CRASH         /* all of teald dies between any two steps; the next one takes over */
    put(0, K, 1, OVER); put(2 * S, E, 1, EST);
    running = 3;
    run Packet(J, 1); run Packet(K, 2); run Touch(E, OVER)
#endif
  };
#if VARIANT == CRASH
  crashed = true;
  running == 0;
  atomic {
    recover();
    crashed = false;
    running = 3;
    run Packet(K, 3); run Packet(J, 2); run Reader(K)
  };
#endif
  running == 0;
  d_step {
    n = 1;
    do
    :: n < KEYS ->
       assert(!lock[n]);
       copies = 0; m = 0;
       do
       :: m < N ->
          if
          :: key[m] == n ->
             assert(TAG(val[m]) == n && BACKEND(val[m]) == flow[n]);
             assert(m / S == FIRST(n) || m / S == SECOND(n));
             copies++
          :: else -> assert(key[m] != 0 || val[m] == 0)
          fi;
          m++
       :: else -> break
       od;
       assert(copies == (flow[n] != 0 -> 1 : 0));
       n++
    :: else -> break
    od
  }
}
