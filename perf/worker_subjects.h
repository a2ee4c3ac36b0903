// SPDX-License-Identifier: Apache-2.0
// What teal-worker-bench measures, in groups that share a table.
#pragma once

#include <string>
#include <vector>

#include "worker_source.h"

namespace teal::perf {

struct WorkerSubject {
  std::string name;  // without what the parameters say
  Shape shape;
  Traffic traffic;
};

// `flows`: rising. `services` and `backends`: at which the growth with them is measured, at `flows`' last but one.
std::vector<WorkerSubject> worker_subjects(const std::vector<uint32_t>& flows, const std::vector<uint32_t>& services,
                                           const std::vector<uint32_t>& backends);

}  // namespace teal::perf
