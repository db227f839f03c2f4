// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The subcommands of pathlab. Each adds itself to the command line; its options live as long as the command line does.
// Data goes to stdout, as text or (-j) JSON; what fails is one sentence on stderr.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "pm-netlink/error.hpp"

namespace pm::pathlab {

// What is common to all subcommands.
struct context {
	bool json = false;
	bool ends_by_interrupt = false; // what was chosen may go on until Ctrl-C: that is no failure then
	std::function<expected<void>()> chosen; // the subcommand that the command line names, ready to run
};

void add_policies(CLI::App &app, context &all);
void add_record(CLI::App &app, context &all);
void add_generate(CLI::App &app, context &all);
void add_show(CLI::App &app, context &all);
void add_replay(CLI::App &app, context &all);
void add_compare(CLI::App &app, context &all);
void add_report(CLI::App &app, context &all);
void add_advise(CLI::App &app, context &all);
void add_stress(CLI::App &app, context &all);
void add_status(CLI::App &app, context &all);
void add_attach(CLI::App &app, context &all);
void add_detach(CLI::App &app, context &all);

// Adds a subcommand whose options are an Options: `declare` binds them, `run` carries it out.
template <class Options, class Declare>
void add_command(CLI::App &app, context &all, const char *name, const char *help, Declare &&declare,
		 expected<void> (*run)(const Options &, context &))
{
	CLI::App *command = app.add_subcommand(name, help);
	auto options = std::make_shared<Options>();
	declare(*command, *options);
	command->add_flag("-j,--json", all.json, "JSON on standard output");
	command->callback([&all, options, run] { all.chosen = [&all, options, run] { return run(*options, all); }; });
}

} // namespace pm::pathlab
