// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab: the command line. Exit codes: 0 done, 1 failed (said on stderr), 2 the command line makes no sense, 130
// interrupted.
#include <exception>

#include <fmt/format.h>

#include "pathlab/commands.hpp"
#include "replay/interrupt.hpp"

namespace {

constexpr int failed = 1, usage = 2, interrupted = 130;

int run(int argc, char **argv)
{
	pm::pathlab::context all;
	CLI::App app{"Writes MPTCP path managers once, runs them over netlink or in the kernel as BPF, and measures what each costs.",
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
	pm::pathlab::add_compare(app, all);
	try {
		app.parse(argc, argv);
	} catch (const CLI::Success &asked) { // for help, or the version
		return app.exit(asked);
	} catch (const CLI::ParseError &wrong) {
		fmt::print(stderr, "pathlab: {} (`pathlab -h` and `pathlab COMMAND -h` help)\n", wrong.what());
		return usage;
	}
	pm::replay::catch_interrupts();
	const auto done = all.chosen();
	if (pm::replay::interrupted()) {
		fmt::print(stderr, "pathlab: interrupted\n");
		return interrupted;
	}
	if (!done) {
		fmt::print(stderr, "pathlab: {}\n", done.error().text);
		return failed;
	}
	if (std::fflush(stdout) != 0) {
		fmt::print(stderr, "pathlab: cannot write to standard output: is the disk full?\n");
		return failed;
	}
	return 0;
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
