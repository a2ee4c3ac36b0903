// SPDX-License-Identifier: Apache-2.0
// tealctl: drives teald through its control socket. docs/tealctl.md, docs/errors.md (exit codes).
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <sstream>

#include "commands.h"

namespace {

using namespace teal::ctl;

po::options_description global_options() {
  const char* environment = std::getenv("TEAL_SOCKET");
  const std::string socket = environment != nullptr && *environment != '\0' ? environment : "/run/teal/teald.sock";
  po::options_description options("Options for all commands");
  options.add_options()("socket", po::value<std::string>()->value_name("PATH")->default_value(socket),
                        "teald's control socket (else $TEAL_SOCKET)");
  options.add_options()("json", "print teald's JSON untouched");
  options.add_options()("help", "show this, or with a command what it takes");
  options.add_options()("version", "show the version");
  return options;
}

std::string synopsis(const Command& command) {
  std::string out = std::string("tealctl [OPTIONS] ") + command.name;
  for (const auto& argument : command.arguments)
    out += argument.required ? std::string(" ") + argument.name : " [" + std::string(argument.name) + "]";
  return out;
}

int help() {
  printf("Usage: tealctl [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n");
  for (const auto& command : commands()) printf("  %-10s %s\n", command.name, command.summary);
  std::ostringstream options;
  options << global_options();
  printf(
      "\n%s\nExit codes: 0 done, 1 refused, 2 usage, 3 cannot reach teald, 4 generation moved on,\n"
      "with --wait: 5 rolled back, 6 aborted, 7 timed out\n",
      options.str().c_str());
  return done;
}

int help(const Command& command) {
  po::options_description own("Options");
  command.options(own.add_options());
  std::ostringstream options;
  if (!own.options().empty()) options << "\n" << own;
  options << "\n" << global_options();
  printf("Usage: %s\n\n%s\n%s", synopsis(command).c_str(), command.summary, options.str().c_str());
  return done;
}

const Command& find_command(const std::string& name) {
  std::string known;
  for (const auto& command : commands()) {
    if (name == command.name) return command;
    known += (known.empty() ? "" : ", ") + std::string(command.name);
  }
  throw UsageError("found the command \"" + name + "\", expected one of " + known);
}

// Where the command stands: the first word that is neither an option nor the value of --socket.
int command_index(int argc, char** argv) {
  int i = 1;
  while (i < argc && argv[i][0] == '-') i += std::strcmp(argv[i], "--socket") == 0 ? 2 : 1;
  return std::min(i, argc);
}

po::variables_map parse(const std::vector<std::string>& words, const po::options_description& options,
                        const po::positional_options_description& positions) {
  // No guessing: an abbreviation that works today may mean something else tomorrow.
  const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  po::variables_map given;
  po::store(po::command_line_parser(words).options(options).positional(positions).style(style).run(), given);
  po::notify(given);
  return given;
}

int run(int argc, char** argv) {
  const int at = command_index(argc, argv);
  std::vector<std::string> words(argv + 1, argv + at);
  po::options_description options = global_options();
  const auto before = parse(words, options, {});
  if (before.count("version") > 0) {
    printf("tealctl %s\n", TEAL_VERSION);
    return done;
  }
  if (at == argc) {
    if (before.count("help") > 0) return help();
    throw UsageError("found no command, expected one; tealctl --help lists them");
  }
  const Command& command = find_command(argv[at]);
  command.options(options.add_options());
  po::positional_options_description positions;
  for (const auto& argument : command.arguments) {
    options.add_options()(argument.name, po::value<std::string>());
    positions.add(argument.name, 1);
  }
  words.insert(words.end(), argv + at + 1, argv + argc);
  const auto given = parse(words, options, positions);
  if (given.count("help") > 0) return help(command);
  for (const auto& argument : command.arguments)
    if (argument.required && given.count(argument.name) == 0)
      throw UsageError(std::string("found no ") + argument.name + ", expected: " + synopsis(command));
  // top takes Ctrl-C only between requests.
  const unsigned timeout_s = std::strcmp(command.name, "top") == 0 ? 5 : 60;
  return command.run({Client(given["socket"].as<std::string>(), timeout_s), given.count("json") > 0}, given);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout) != 0) {
      fprintf(stderr, "tealctl: cannot write to the standard output: %s\n", std::strerror(errno));
      return refused;
    }
    return code;
  } catch (const Unreachable& error) {
    fprintf(stderr, "tealctl: %s\n", error.what());
    return unreachable;
  } catch (const Json::exception& error) {
    fprintf(stderr, "tealctl: found a reply that is not teald's: %s\n", error.what());
    return unreachable;
  } catch (const std::exception& error) {  // UsageError, and what Program_options throws
    fprintf(stderr, "tealctl: %s\n", error.what());
    return usage;
  }
}
