// SPDX-License-Identifier: Apache-2.0
// tealctl's commands: their names, arguments and options, and what each asks of teald.
#pragma once

#include <boost/program_options.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "client.h"
#include "render.h"

namespace teal::ctl {

namespace po = boost::program_options;

enum Exit : int {
  done = 0,
  refused = 1,
  usage = 2,
  unreachable = 3,
  moved_on = 4,
  rolled_back = 5,  // this and what follows: with --wait
  aborted = 6,
  timed_out = 7,
};

// The command line cannot be meant. Exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Session {
  Client client;
  bool json = false;  // print what the server says, untouched
};

struct Argument {
  const char* name;  // as people read it, and the key in the variables_map
  bool required;
};

struct Command {
  const char* name;
  const char* summary;
  std::vector<Argument> arguments;
  void (*options)(po::options_description_easy_init add);
  Exit (*run)(const Session& session, const po::variables_map& given);
};

const std::vector<Command>& commands();

// Prints a reply by its JSON: with `render` for people, or as it is. A problem goes to the standard error (with --json
// to the standard output as it is). Throws Unreachable when a reply is not teald's.
Exit show(const Session& session, const Answer& answer, std::string (*render)(const Json&));

// An option's whole number. Throws UsageError naming the option, what was found and what was expected.
uint64_t whole_number(const po::variables_map& given, const char* option, uint64_t min, uint64_t max);

void rollout_options(po::options_description_easy_init add);  // rollout.cc
Exit run_rollout(const Session& session, const po::variables_map& given);
void drain_options(po::options_description_easy_init add);
Exit run_drain(const Session& session, const po::variables_map& given);
void preview_options(po::options_description_easy_init add);
Exit run_preview(const Session& session, const po::variables_map& given);

Exit run_top(const Session& session, const po::variables_map& given);  // top.cc

}  // namespace teal::ctl
