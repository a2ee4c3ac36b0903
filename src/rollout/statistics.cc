// SPDX-License-Identifier: Apache-2.0
#include "statistics.h"

#include <boost/math/special_functions/beta.hpp>

namespace teal::rollout {

double chance_of_at_least(uint64_t bad, uint64_t samples, double p) {
  if (bad == 0) return 1;
  return boost::math::ibeta(static_cast<double>(bad), static_cast<double>(samples - bad + 1), p);
}

double chance_of_ratio(uint64_t bad, uint64_t samples, uint64_t other_bad, uint64_t other_samples, double factor) {
  if (samples == 0 || other_samples == 0) return 1;
  const double own = factor * static_cast<double>(samples);
  return chance_of_at_least(bad, bad + other_bad, own / (own + static_cast<double>(other_samples)));
}

}  // namespace teal::rollout
