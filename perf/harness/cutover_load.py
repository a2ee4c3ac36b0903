# SPDX-License-Identifier: Apache-2.0
"""Cutovers of 1,000 services in one group at 80 % of what a worker carries: windows with cutovers and without, in turns."""
import statistics
import time

import e2e
import load_teald
import results as kept
from load_account import AROUND_MS, PAUSE_US, Account, highest, is_disturbed, is_whole, unexplained
from paths import Failed

TARGETS = ["src/teald/teald", "perf/teal-load"]
SERVICES = 1000
SHARE = 0.8
CUTOVERS_PER_S = 10
STEADY = 0.9         # of the capacity before a round is what must be left of it after
TRIES = 4            # to find a rate that teal-load can send
NEAR_TO_AWAY = 2     # times as many losses beside adoptions: more are cutovers', not the machine's
DISTURBED = 12       # windows at a rate that are tried again
LOWEST = 1_000_000   # frames a second
KINDS = {"without": 0, "10 a second": CUTOVERS_PER_S}


def run_part(context):
    with load_teald.apart(), e2e.World("perf-load") as world:
        teald, lane = load_teald.started(world, SERVICES)
        accounts, capacities, aside = _rounds(context, teald, lane)
        teald.teald.check_ledger()
        _add(context, accounts, capacities)
        context.results.note("load", aside)
        context.say(f"  {aside}")
        for kind, account in accounts.items():
            _judge(kind, account, teald)


def _rounds(context, teald, lane):
    """-> {kind: Account}, the capacities before each round, what was set aside. A round is the capacity, a window of each kind at 80 % of
    it, and the capacity again. One after which the machine carries less than it was asked for by a margin is set aside, whatever it lost."""
    search, steps, wanted = 0.2, 2 if context.quick else 3, context.rounds(12, 2)
    seconds = 1.2 if context.quick else 3.0
    accounts, capacities, aside = {kind: Account() for kind in KINDS}, [], 0
    before, said = _carries(teald, lane, search, steps + 2, LOWEST * 2)
    context.say(f"  at first {said}")
    context.results.note("load", f"at first {said}")
    while len(capacities) < wanted:
        windows = {}
        for kind in sorted(KINDS, reverse=len(capacities) % 2 == 1):
            windows[kind] = _window(teald, lane, before * SHARE, seconds, KINDS[kind])
        after, said = _carries(teald, lane, search, steps, before * 0.9)
        if after < STEADY * before:
            aside += 1
            if aside > wanted:
                raise Failed(f"{aside} rounds after which the capacity was under {STEADY:.0%} of that before, expected a machine of steady speed")
        else:
            capacities.append(before)
            for kind, window in windows.items():
                accounts[kind].add(*window)
        before = after
    return accounts, capacities, (f"{aside} rounds were set aside: the capacity after them was under {STEADY:.0%} of that before")


def _carries(teald, lane, seconds, steps, low):
    """-> what the worker carries, in frames a second, and how that was found. Where teal-load is the slower of the two it is estimated
    by the worker's busy share."""
    for _ in range(TRIES):
        rate, slower = _capacity(lane, seconds, steps, low)
        if not slower:
            return rate, f"{rate / 1e6:.2f} M frames/s pass without loss, and no more"
        busy = _busy(teald, lane, rate)
        said = f"teal-load sends {rate / 1e6:.2f} M frames/s and no more, of which the worker is {busy:.0%} busy"
        if rate / busy * SHARE < 0.97 * rate:
            return rate / busy, f"{said}: it carries {rate / busy / 1e6:.2f} M by that"
    raise Failed(f"{said}: that does not reach {SHARE:.0%} of what the worker carries")


def _capacity(lane, seconds, steps, low):
    """-> the highest rate at which a window brings every frame back, whether teal-load stands against a higher one. A window that
    loses while worker or teal-load is without its CPU is tried again: it says nothing of the rate."""
    limits = {}

    def whole(rate):
        for _ in range(DISTURBED):
            outcome = lane.window(rate, seconds)
            if is_whole(outcome, rate):
                return True
            lane.renew()
            if unexplained(outcome) or not is_disturbed(outcome):
                limits[rate] = outcome["not_offered"] > outcome["refused"] + outcome["lost"]
                return False
        raise Failed(f"in each of {DISTURBED} windows of {seconds:g} s at {rate:.0f} frames/s worker or teal-load was without its CPU for "
                     f"{PAUSE_US} us or more; expected an idle machine")

    if (found := highest(whole, low, 1.25, steps, LOWEST)) == 0:
        raise Failed(f"{LOWEST:.0f} frames/s do not pass without loss")
    return found, limits[min(rate for rate in limits if rate > found)]


def _busy(teald, lane, frames_per_s):
    """The worker's busy share at that rate."""
    lane.begin(frames_per_s, 2.2)
    time.sleep(2.1)
    busy = teald.busy_share()
    if (outcome := lane.result(2.2))["refused"] + outcome["lost"]:
        lane.renew()
    return busy


def _window(teald, lane, frames_per_s, seconds, cutovers_per_s):
    """-> what an Account adds"""
    before, waited = teald.counts(), teald.waited_ms()
    lane.begin(frames_per_s, seconds, cutovers_per_s)
    time.sleep(seconds - 0.1)
    busy = teald.busy_share()
    outcome = lane.result(seconds)
    waited, after = teald.waited_ms() - waited, teald.counts()
    for cutover in outcome["cutovers"]:
        if not cutover["reply"]["changed"]:
            raise Failed(f"a cutover changed nothing: {cutover['reply']}")
        cutover["adopted_epoch_ns"] = e2e.teald.epoch_ns(cutover["reply"]["adopted_at"])
    _agree(outcome, {name: after[name] - before[name] for name in after})
    if outcome["refused"] + outcome["lost"]:
        lane.renew()  # a flow whose handshake was lost promises nothing
    return outcome, frames_per_s, busy, waited


def _agree(outcome, counted):
    """teald has seen what was sent, and says why it dropped what it dropped."""
    others = {name: n for name, n in counted.items() if name.startswith("dropped") and name != "dropped: tx_full" and n}
    if others:
        raise Failed(f"teald dropped frames for reasons that are none of the load's: {others}")
    dropped = counted["dropped: tx_full"]
    if outcome["lost"] > dropped + counted["missed"]:
        raise Failed(f"{outcome['lost']} frames were lost, of which teald counts {dropped} as tx_full and {counted['missed']} as missed")
    if abs(counted["received"] - outcome["sent"]) > 1000:  # the tap's kernel says something too
        raise Failed(f"teald received {counted['received']} frames, expected the {outcome['sent']} that were sent")


def _judge(kind, account, teald):
    """What makes the figures worthless, or breaks a promise."""
    if (share := statistics.median(account.offered_shares)) < 0.97:
        raise Failed(f"windows {kind} cutovers: {share:.1%} of the {SHARE:.0%} load were offered, expected all of it")
    if account.moved or account.reordered:
        raise Failed(f"windows {kind} cutovers: {account.moved} flows moved, {account.reordered} frames out of order, expected none: "
                     f"{teald.teald.account()}")
    if (ratio := account.near_to_away()) > NEAR_TO_AWAY:
        raise Failed(f"windows {kind} cutovers: {ratio:.1f} times as many frames lost a millisecond within {AROUND_MS} ms of an adoption as "
                     f"further away, while worker and teal-load had their CPUs; expected at most {NEAR_TO_AWAY} times")
    if KINDS[kind] and account.calm * 2 < max(1, len(account.adoptions_us)):
        raise Failed(f"{account.calm} of {len(account.adoptions_us)} adoptions without a pause of {PAUSE_US} us or more of worker or teal-load around "
                     f"them, expected half of them or more: the machine is not idle, {account.near} frames lost beside them say nothing")


def _add(context, accounts, capacities):
    def add(subject, rounds, unit, better="less", **params):
        context.results.add("load", subject, rounds, unit, better, **params)

    shape = {"engine": "dpdk", "services": SERVICES, "descriptors": load_teald.RING}
    add("capacity: highest rate without loss", [c / 1e6 for c in capacities], "M frames/s", "more", **shape)
    for kind, a in accounts.items():
        params = {**shape, "cutovers": kind}
        add("frames sent", [r / 1e6 for r in a.rates], "M frames/s", "more", **params)
        add("worker busy", [100 * b for b in a.busy], "%", **params)
        add("frames lost", [a.refused + a.lost], "frames", **params)
        add("frames lost while worker and teal-load had their CPUs", [a.unexplained], "frames", **params)
        add("frames reordered within their flow", [a.reordered], "frames", **params)
        add("frames of a flow at another backend", [a.moved], "frames", **params)
        add("windows with a loss", [a.windows - a.windows_whole], f"of {a.windows}", **params)
        add(f"windows in which no CPU was away for {PAUSE_US} us", [a.windows_calm], f"of {a.windows}", "more", **params)
        add("worker waited for its CPU", [a.waited_ms / a.seconds], "ms a second", **params)
        add("longest time without an answer", a.silences, "us", **params)
        for percent in ("50", "99", "99.9"):
            add(f"round trip, {percent} % of a window's frames", [r[percent] for r in a.round_trips], "us", **params)
        if a.adoptions_us:
            add(f"frames lost within {AROUND_MS} ms of an adoption", [a.near], "frames", **params)
            add(f"frames lost within {AROUND_MS} ms of an adoption while worker and teal-load had their CPUs", [a.near_unexplained], "frames", **params)
            add(f"adoptions with no CPU away within {AROUND_MS} ms", [a.calm], f"of {len(a.adoptions_us)}", "more", **params)
            add(f"frames lost further than {AROUND_MS} ms from any", [a.away], "frames", **params)
            context.results.add("load", "store to adoption", a.adoptions_us, "us", tail=kept.distribution(a.adoptions_us), **params)
            context.results.add("load", "request to reply", a.replies_ms, "ms", tail=kept.distribution(a.replies_ms), **params)
            add("frames sent in the millisecond of an adoption, of those due", [100 * x for x in a.at_instants], "%", "more", **params)
        text = _said(kind, a)
        context.say(f"  {text}")
        context.results.note("load", text)


def _said(kind, a):
    text = (f"cutovers {kind}: {a.windows} windows ({a.windows_calm} without a pause, {a.windows_whole} without a loss), {a.sent:,} frames "
            f"at {a.sent / a.seconds / 1e6:.2f} M/s ({a.syns:,} SYNs), worker busy {100 * statistics.median(a.busy):.0f} %; lost {a.refused + a.lost:,} ({a.refused:,} at the full ring to teald, "
            f"{a.lost:,} by teald), {a.unexplained:,} of them not by a pause of {PAUSE_US} us or more; reordered "
            f"{a.reordered:,}, at another backend {a.moved:,}; longest time without an answer {max(a.silences):.0f} us; the worker "
            f"waited {a.waited_ms / a.seconds:.1f} ms a second for its CPU")
    if not a.adoptions_us:
        return text
    return text + (f"; {len(a.adoptions_us):,} cutovers, median adoption {statistics.median(a.adoptions_us):.1f} us, longest {max(a.adoptions_us):.0f} us; "
                   f"{a.calm:,} with no CPU away within {AROUND_MS} ms; lost within {AROUND_MS} ms of an "
                   f"adoption {a.near:,} ({a.near_unexplained:,} of them not by a pause), further away {a.away:,} ({100 * a.near_ms / a.all_ms:.0f} % of the time is within; of "
                   f"{a.pauses} pauses of {PAUSE_US} us or more {a.near_pauses} lay within)")
