// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab: the command line. Exit codes: 0 done, 1 failed (said on stderr), 2 the command line makes no sense (no
// such policy, a number out of range), 130 interrupted.
#include <exception>
#include <iostream>

#include <fmt/format.h>

#include "pathlab/commands.hpp"
#include "replay/interrupt.hpp"

namespace {

constexpr int failed = 1, usage = 2, interrupted = 130;

int cannot_write()
{
	fmt::print(stderr, "pathlab: cannot write to standard output: is the disk full?\n");
	return failed;
}

int run(int argc, char **argv)
{
	pm::pathlab::context all;
	CLI::App app{"Writes MPTCP path managers once, runs them over netlink or in the kernel as BPF, and measures "
		     "what each costs.",
		     "pathlab"};
	app.set_help_flag("-h,--help", "Print this help");
	app.set_version_flag("-V,--version", "pathlab " PACKAGE_VERSION);
	app.require_subcommand(1);
	app.add_flag("-j,--json", all.json, "JSON on standard output");
	pm::pathlab::add_policies(app, all);
	pm::pathlab::add_record(app, all);
	pm::pathlab::add_generate(app, all);
	pm::pathlab::add_show(app, all);
	pm::pathlab::add_replay(app, all);
	pm::pathlab::add_stress(app, all);
	pm::pathlab::add_compare(app, all);
	pm::pathlab::add_report(app, all);
	pm::pathlab::add_advise(app, all);
	pm::pathlab::add_attach(app, all);
	pm::pathlab::add_detach(app, all);
	pm::pathlab::add_status(app, all);
	try {
		app.parse(argc, argv);
	} catch (const CLI::Success &asked) { // for help, or the version
		const int code = app.exit(asked);
		return std::cout.flush() ? code : cannot_write();
	} catch (const CLI::ParseError &wrong) {
		const auto unknown = app.remaining(); // which CLI11 would call a missing subcommand
		const std::string why = app.get_subcommands().empty() && !unknown.empty()
						? fmt::format("there is no command or option '{}'", unknown.front())
						: wrong.what();
		fmt::print(stderr, "pathlab: {} (`pathlab -h` and `pathlab COMMAND -h` help)\n", why);
		return usage;
	}
	pm::replay::catch_interrupts();
	const auto done = all.chosen();
	if (!done) {
		fmt::print(stderr, "pathlab: {}\n", done.error().text);
		if (pm::replay::interrupted() && !all.ends_by_interrupt)
			return interrupted;
		return done.error().is_usage ? usage : failed;
	}
	return std::fflush(stdout) == 0 ? 0 : cannot_write();
}

} // namespace

int main(int argc, char **argv)
{
	try {
		return run(argc, argv);
	} catch (const std::exception &unexpected) { // out of memory, and the like
		fmt::print(stderr, "pathlab: {}\n", unexpected.what());
		return failed;
	}
}
