// SPDX-License-Identifier: Apache-2.0
#include "control/problem_codes.h"

namespace teal::control {

const std::vector<ProblemInfo>& problem_list() {
  static const std::vector<ProblemInfo> list = {
#define X(code, status, exit, title) {#code, status, exit, title},
      TEAL_PROBLEM_CODES(X)
#undef X
  };
  return list;
}

Problem make_problem(const std::string& code, std::string detail, std::vector<std::string> errors) {
  size_t i = 0;
  while (problem_list().at(i).code != code) i++;
  return make_problem(static_cast<ProblemCode>(i), std::move(detail), std::move(errors));
}

Problem make_problem(ProblemCode code, std::string detail, std::vector<std::string> errors) {
  const ProblemInfo& info = problem_list()[static_cast<size_t>(code)];
  return {info.status, info.code, info.title, std::move(detail), std::move(errors)};
}

}  // namespace teal::control
