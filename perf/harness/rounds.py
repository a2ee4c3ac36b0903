# SPDX-License-Identifier: Apache-2.0
"""Alternating rounds: every subject once a round, so that a slow phase of the machine meets all of them alike."""
import random


def alternate(subjects, rounds, measure):
    """Calls measure(subject) for each subject in each round, in an order drawn anew. -> {subject: [figure a round]}"""
    order = list(subjects)
    random_order = random.Random(7)
    out = {subject: [] for subject in order}
    for _ in range(rounds):
        random_order.shuffle(order)
        for subject in order:
            out[subject].append(measure(subject))
    return out


def net(figures, floor):
    """Round by round, the figure less its floor's."""
    return [x - f for x, f in zip(figures, floor, strict=True)]
