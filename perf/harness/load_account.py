# SPDX-License-Identifier: Apache-2.0
"""What a window of load says: where its losses lie, beside the cutovers' instants and beside times without a CPU."""
import bisect
import math

AROUND_MS = 5
SPARE_US = 150  # of a worker's millisecond at 80 %, with a margin
PAUSE_US = 300  # without an answer, or without teal-load: a ring is full after some 500


class Account:
    """Sums over windows of one kind."""

    def __init__(self):
        self.sent = self.refused = self.lost = self.reordered = self.moved = self.not_offered = self.syns = 0
        self.near = self.away = 0          # frames refused or lost
        self.near_unexplained = 0
        self.unexplained = 0               # of those, the ones that no time without a CPU accounts for
        self.windows = self.windows_whole = self.windows_calm = 0
        self.near_ms = self.all_ms = self.near_pauses = self.pauses = 0
        self.seconds = self.waited_ms = 0.0
        self.rates, self.offered_shares, self.busy, self.silences, self.round_trips = [], [], [], [], []
        self.calm = 0  # adoptions without such a time around them
        self.adoptions_us, self.replies_ms, self.at_instants = [], [], []

    def add(self, outcome, frames_per_s, busy, waited_ms):
        for name in ("sent", "refused", "lost", "reordered", "moved", "not_offered", "syns"):
            setattr(self, name, getattr(self, name) + outcome[name])
        self.windows += 1
        self.windows_whole += outcome["refused"] + outcome["lost"] == 0
        self.windows_calm += not is_disturbed(outcome)
        self.seconds += outcome["seconds"]
        self.waited_ms += waited_ms
        self.rates.append(outcome["sent"] / outcome["seconds"])
        self.offered_shares.append((outcome["sent"] + outcome["refused"]) / outcome["seconds"] / frames_per_s)
        self.busy.append(busy)
        self.silences.append(outcome["longest_silence_us"])
        self.round_trips.append(outcome["round_trip_us"])
        instants = sorted((c["adopted_epoch_ns"] - outcome["began_epoch_ns"]) / 1e6 for c in outcome["cutovers"])
        self.adoptions_us += [c["reply"]["adoption_ns"] / 1000 for c in outcome["cutovers"]]
        self.replies_ms += [(c["answered_epoch_ns"] - c["asked_epoch_ns"]) / 1e6 for c in outcome["cutovers"]]
        shadow = shadow_of(outcome)
        self.calm += sum(not any(is_near(ms + 0.5, [instant]) for ms in shadow) for instant in instants)
        self._place(outcome, instants, shadow)
        firsts = outcome["ms_first"]
        for instant in instants:
            if 0 <= instant < len(firsts) - 1:
                self.at_instants.append((firsts[int(instant) + 1] - firsts[int(instant)]) * 1000 / frames_per_s)

    def _place(self, outcome, instants, shadow):
        pauses = pauses_of(outcome)
        self.unexplained += unexplained(outcome)
        for i, lost in enumerate(outcome["ms_lost"]):
            near = is_near(i + 0.5, instants)
            self.all_ms += 1
            self.near_ms += near
            if lost and near:
                self.near += lost
                self.near_unexplained += lost * (i not in shadow)
            elif lost:
                self.away += lost
        self.pauses += len(pauses)
        self.near_pauses += sum(is_near(i + 0.5, instants) for i, _ in pauses)


    def near_to_away(self):
        """How many times as many frames were lost a millisecond beside adoptions as away from them, while nobody was without a CPU."""
        if not self.near_unexplained:
            return 0.0
        away = self.unexplained - self.near_unexplained
        return (self.near_unexplained / self.near_ms) / (away / (self.all_ms - self.near_ms)) if away else math.inf


def is_near(ms, others):
    """Within AROUND_MS of one of the sorted times."""
    i = bisect.bisect(others, ms)
    return any(abs(ms - others[j]) <= AROUND_MS for j in (i - 1, i) if 0 <= j < len(others))


def pauses_of(outcome):
    """-> [(millisecond in which it ended, us)] of the times that worker or teal-load was without its CPU"""
    longest = map(max, outcome["ms_silence_us"], outcome["ms_standstill_us"])
    return [(ms, us) for ms, us in enumerate(longest) if us >= PAUSE_US]


def shadow_of(outcome):
    """The milliseconds of pauses, and those until the ring is empty again: what has come up is worked off with the time to spare."""
    ended, out, left = dict(pauses_of(outcome)), set(), 0
    for ms in range(len(outcome["ms_lost"])):
        if us := ended.get(ms):
            out.update(range(ms - us // 1000 - 1, ms))
            left += us
        if left > 0:
            out.add(ms)
            left -= SPARE_US
    return out


def unexplained(outcome):
    """Frames lost outside those milliseconds."""
    shadow = shadow_of(outcome)
    return sum(lost for ms, lost in enumerate(outcome["ms_lost"]) if ms not in shadow)


def is_disturbed(outcome):
    return bool(pauses_of(outcome))


def is_whole(outcome, frames_per_s):
    """All that was due was sent, and came back."""
    due = frames_per_s * outcome["seconds"]
    return outcome["refused"] + outcome["lost"] == 0 and outcome["not_offered"] < 0.01 * due and outcome["sent"] > 0.98 * due


def highest(whole, low, factor, steps, least):
    """The highest rate of which whole(rate) is true: `low` times `factor` as often as it holds, then bisected; divided by it as often
    as it does not, where even `low` is too much. 0: not even at `least`."""
    bad = None
    while not whole(low):
        bad, low = low, low / factor
        if bad <= least:
            return 0
    good = low
    while bad is None:
        if whole(good * factor):
            good *= factor
        else:
            bad = good * factor
    for _ in range(steps):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if whole(middle) else (good, middle)
    return good
