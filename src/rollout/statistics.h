// SPDX-License-Identifier: Apache-2.0
// The chances that the judge holds against what it sees. Exact (regularised incomplete beta function), for any number
// of samples.
#pragma once

#include <cstdint>

namespace teal::rollout {

// That at least `bad` of `samples` connections are bad when each is with the chance `p`: the one-sided binomial test.
// bad <= samples; 0 < p < 1.
double chance_of_at_least(uint64_t bad, uint64_t samples, double p);

// That a pool shows at least `bad` of `samples` bad ones beside another that shows `other_bad` of `other_samples`, when
// its ratio is `factor` times the other's: given their sum, how many of the bad ones are its own is binomial
// (Przyborowski and Wilenski 1940, the test of two Poisson rates; for ratios, whose spread is smaller, it errs on the
// side of 1). factor > 0, both samples > 0; otherwise 1.
double chance_of_ratio(uint64_t bad, uint64_t samples, uint64_t other_bad, uint64_t other_samples, double factor);

}  // namespace teal::rollout
