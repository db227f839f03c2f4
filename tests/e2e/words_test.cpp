// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The words of the command lines are the same everywhere: in the programs' own help, in the man pages and in the
// completions. None of them is right by itself; the programs' are what the others are held against.
#include <cstring>
#include <map>
#include <regex>

#include <nlohmann/json.hpp>

#include "tests/e2e/program.hpp"

namespace pm::e2e {

namespace {

using names = std::set<std::string>;

const names common{"-h", "--help", "-j", "--json"};

names without(names all, const names &some)
{
	for (const std::string &name : some)
		all.erase(name);
	return all;
}

// All of an expression's matches in a text.
names matches(const std::string &text, const std::string &expression)
{
	const std::regex wanted{expression};
	names all;
	for (std::sregex_iterator at{text.begin(), text.end(), wanted}, end; at != end; ++at)
		all.insert(at->str(at->size() - 1));
	return all;
}

// The options that a text speaks of.
names options_in(const std::string &text) { return matches(text, "(?:^|[\\s,|\\[])(--?[a-zA-Z][a-z-]*)"); }

// What the program says of itself.
class words_of_pathlab : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		if (IsSkipped())
			return;
		const std::string help = succeed({"-h"});
		bool below = false;
		for (const std::string &line : lines_of(help)) {
			std::smatch name;
			if (below && std::regex_search(line, name, std::regex{"^  ([a-z]+) "}))
				commands_.push_back(name[1]);
			below = below || line.starts_with("Subcommands") || line.starts_with("SUBCOMMANDS");
		}
		options_[""] = listed(help);
		for (const std::string &each : commands_)
			options_[each] = listed(succeed({each, "-h"}));
	}

	// In help, an option's names stand at the beginning of a line.
	static names listed(const std::string &help)
	{
		names all;
		for (const std::string &line : lines_of(help)) {
			std::smatch begin;
			if (std::regex_search(line, begin, std::regex{"^ +(-[a-zA-Z],? *--[a-z-]+|--?[a-zA-Z-]+)"}))
				all.merge(options_in(begin[1]));
		}
		return all;
	}

	// What there is for an option that takes a name, as the program says when it gets another one.
	names known(words arguments) const
	{
		arguments.push_back("frobnicate");
		const std::string all = pathlab(arguments).err;
		return matches(all.substr(all.rfind(':')), "[:,] ([a-z_-]+)");
	}
	names shapes() const
	{
		return known({"generate", "--connections", "1", "--rate", "1", "-o", "new", "--shape"});
	}
	names backends() const { return known({"replay", "trace", "--policy", "fullmesh", "--through"}); }

	words commands_;
	std::map<std::string, names> options_; // by command; "": those in front of it
};

TEST_F(words_of_pathlab, help_and_version_are_printed_and_succeed)
{
	EXPECT_EQ(commands_, (words{"policies", "record", "generate", "show", "replay", "stress", "compare", "report",
				    "advise", "attach", "detach", "status"}));
	EXPECT_EQ(options_[""], (names{"-h", "--help", "-j", "--json", "-V", "--version"}));
	EXPECT_TRUE(std::regex_match(succeed({"-V"}), std::regex{"pathlab [0-9]+\\.[0-9]+\\.[0-9]+\\S*\n"}));
	EXPECT_EQ(succeed({"--version"}), succeed({"-V"}));
	EXPECT_EQ(succeed({"--help"}), succeed({"-h"}));
	for (const std::string &each : commands_) {
		const std::string help = succeed({each, "-h"});
		EXPECT_NE(help.find("pathlab " + each), std::string::npos) << help;
		EXPECT_EQ(succeed({each, "--help"}), help);
		for (const std::string &name : common)
			EXPECT_TRUE(options_[each].count(name)) << each << ' ' << name;
	}
}

// ---- the man page ----

// Its source, as plain text: without fonts and quotes.
std::string man_page(const std::string &name = "pathlab")
{
	std::string text = read_file(source_file("man/" + name + ".8"));
	text = std::regex_replace(text, std::regex{"\\\\f[BIR]"}, "");
	text = std::regex_replace(text, std::regex{"\\\\-"}, "-");
	return std::regex_replace(text, std::regex{"\""}, "");
}

// The lines between a line that is `from` and the next one that begins with one of these macros.
words section(const std::string &text, const std::string &from, const words &ends)
{
	words lines;
	bool inside = false;
	for (const std::string &line : lines_of(text)) {
		for (const std::string &end : ends)
			inside = inside && !line.starts_with(end);
		if (inside)
			lines.push_back(line);
		inside = inside || line == from;
	}
	return lines;
}

// In an options section, an option's names stand behind .TP.
names options_of_section(const std::string &text, const std::string &heading)
{
	names all;
	std::string before;
	for (const std::string &line : section(text, heading, {".SS", ".SH"})) {
		if (before == ".TP")
			all.merge(options_in(line.substr(line.find(' '))));
		before = line;
	}
	return all;
}

TEST_F(words_of_pathlab, the_man_page_has_every_option_and_no_other)
{
	const std::string page = man_page();
	ASSERT_FALSE(page.empty()) << source_file("man/pathlab.8");
	EXPECT_EQ(options_of_section(page, ".SS All commands"), options_[""]);
	for (const std::string &each : commands_)
		EXPECT_EQ(options_of_section(page, ".SS " + each), without(options_[each], common)) << each;
}

TEST_F(words_of_pathlab, the_man_page_has_every_command)
{
	const std::string page = man_page();
	words described;
	std::string before;
	for (const std::string &line : section(page, ".SH COMMANDS", {".SH"})) {
		if (before == ".TP")
			described.push_back(line.substr(3));
		before = line;
	}
	EXPECT_EQ(described, commands_);
	const std::string version = lines_of(succeed({"-V"})).at(0);
	EXPECT_NE(page.find(' ' + version + ' '), std::string::npos) << "it is of another version than " << version;
}

// There, one of an option's names is enough.
TEST_F(words_of_pathlab, the_synopsis_has_every_option_and_no_other)
{
	std::map<std::string, std::string> synopsis;
	std::string current;
	for (const std::string &line : section(man_page(), ".SH SYNOPSIS", {".SH"})) {
		std::smatch name;
		if (std::regex_search(line, name, std::regex{"^pathlab ([a-z]*)"}))
			current = name[1];
		synopsis[current] += line + '\n';
	}
	for (const std::string &each : commands_) {
		const names there = options_in(synopsis[each]);
		EXPECT_EQ(without(there, options_[each]), names{}) << each << " does not have these";
		for (const std::string &line : lines_of(succeed({each, "-h"}))) {
			const names spellings = listed(line);
			if (spellings.empty() || spellings.count("-h"))
				continue;
			EXPECT_LT(without(spellings, there).size(), spellings.size()) << each << " lacks " << line;
		}
	}
}

TEST_F(words_of_pathlab, the_man_page_has_every_shape_backend_and_exit_status)
{
	const std::string page = man_page();
	const auto bold = [&](const std::string &name) { return page.find(".B " + name + '\n') != std::string::npos; };
	for (const std::string &shape : shapes())
		EXPECT_TRUE(bold(shape)) << shape;
	for (const std::string &backend : backends())
		EXPECT_TRUE(bold(backend)) << backend;
	for (const char *status : {"0", "1", "2", "130"})
		EXPECT_TRUE(bold(status)) << status;
}

// ---- the completion ----

class completion : public words_of_pathlab {
protected:
	// What is offered for the last of these words behind the name of the program.
	names offered(const words &line, const std::string &of = "pathlab") const
	{
		const char *script = R"(compopt() { :; }
			. "$1"; program=$2; shift 2
			COMP_WORDS=("$program" "$@"); COMP_CWORD=$#
			"_${program//-/_}"; printf '%s\n' "${COMPREPLY[@]}")";
		words all{"/bin/bash", "-c", script, "bash", source_file("completion/" + of + ".bash"), of};
		all.insert(all.end(), line.begin(), line.end());
		const outcome done = process{all, folder()}.wait();
		EXPECT_EQ(done.err, "");
		const words lines = lines_of(done.out);
		return without({lines.begin(), lines.end()}, {""});
	}

	// The settings with '=' behind them.
	std::pair<names, names> policies_and_settings() const
	{
		names policies, settings;
		const auto list = nlohmann::json::parse(succeed({"policies", "-j"}));
		for (const auto &policy : list.at("policies")) {
			if (!policy.at("only_attached").get<bool>())
				policies.insert(policy.at("name"));
			for (const auto &setting : policy.at("settings"))
				settings.insert(setting.at("name").get<std::string>() + '=');
		}
		return {policies, settings};
	}

	// It asks `pathlab`, wherever that is.
	void SetUp() override
	{
		words_of_pathlab::SetUp();
		path_ = std::getenv("PATH");
		setenv("PATH", (std::filesystem::path{program()}.parent_path().string() + ':' + path_).c_str(), 1);
	}
	void TearDown() override
	{
		setenv("PATH", path_.c_str(), 1);
		words_of_pathlab::TearDown();
	}

	std::string path_;
};

TEST_F(completion, offers_every_command_and_option)
{
	EXPECT_EQ(offered({"-"}), options_[""]);
	EXPECT_EQ(offered({""}), names(commands_.begin(), commands_.end()));
	EXPECT_EQ(offered({"-j", "re"}), (names{"record", "replay", "report"}));
	for (const std::string &each : commands_) {
		EXPECT_EQ(offered({each, "-"}), options_[each]) << each;
		EXPECT_EQ(offered({"-j", each, "--js"}), names{"--json"}) << each;
	}
}

TEST_F(completion, offers_the_names_that_options_take)
{
	EXPECT_EQ(offered({"generate", "--shape", ""}), shapes());
	EXPECT_EQ(offered({"replay", "--through", ""}), backends());
	EXPECT_EQ(shapes().size(), 5u);
	EXPECT_EQ(backends().size(), 5u);
	EXPECT_EQ(offered({"replay", "--through", "bpf,na"}), names{"bpf,native"});
	EXPECT_EQ(offered({"replay", "file", "--rate", ""}), names{"max"});
	EXPECT_EQ(offered({"generate", "--rate", ""}), names{}) << "max is no rate of connections";

	const auto [policies, settings] = policies_and_settings();
	EXPECT_EQ(offered({"replay", "--policy", ""}), policies);
	EXPECT_EQ(offered({"compare", "--set", ""}), settings);
	names attachable = policies;
	attachable.insert("guard");
	EXPECT_EQ(offered({"attach", ""}), attachable);
	EXPECT_EQ(offered({"attach", "fullmesh", "--set", ""}), settings);
}

TEST_F(completion, offers_files_and_namespaces)
{
	generate("trace", 10);
	for (const words &line :
	     {words{"show", ""}, {"replay", "tr"}, {"record", "-o", "t"}, {"generate", "--output", ""}})
		EXPECT_EQ(offered(line), names{"trace"});
	for (const char *option : {"-n", "--netns"})
		for (const char *of : {"record", "status", "attach", "detach"})
			EXPECT_EQ(offered({of, option, ""}), named_namespaces());
}

// ---- pm-netlinkd ----

class words_of_pm_netlinkd : public completion {
protected:
	outcome daemon(words arguments) const
	{
		arguments.insert(arguments.begin(), daemon_program());
		return process{arguments, folder()}.wait(20);
	}
	std::string help() const { return daemon({"-h"}).out; }
	// What can be set beside the settings of a policy, as the program says when it gets another name.
	names settings() const
	{
		const std::string said = daemon({"fullmesh", "--set", "frobnicate=1"}).err;
		return matches(said.substr(said.rfind(':')), "[:,] ([a-z-]+)");
	}
};

TEST_F(words_of_pm_netlinkd, help_and_version_are_printed_and_succeed)
{
	for (const words &each : {words{"-h"}, {"--help"}, {"-V"}, {"--version"}}) {
		const outcome said = daemon(each);
		EXPECT_EQ(said.status, 0) << each[0];
		EXPECT_EQ(said.err, "") << each[0];
	}
	EXPECT_EQ(listed(help()), (names{"-h", "--help", "-V", "--version", "-n", "--netns", "--set", "--config",
					 "--events", "--run-dir"}));
	EXPECT_EQ(daemon({"--help"}).out, help());
	EXPECT_EQ(daemon({"--version"}).out, daemon({"-V"}).out);
	EXPECT_EQ("pathlab" + daemon({"-V"}).out.substr(std::strlen("pm-netlinkd")), succeed({"-V"}));
}

TEST_F(words_of_pm_netlinkd, the_man_page_has_every_option_and_setting_and_no_other)
{
	const std::string page = man_page("pm-netlinkd");
	EXPECT_EQ(options_of_section(page, ".SH OPTIONS"), listed(help()));
	names set;
	std::string before;
	for (const std::string &line : section(page, ".SH SETTINGS", {".SH"})) {
		if (before == ".TP")
			set.insert(line.substr(3));
		before = line;
	}
	EXPECT_EQ(set, settings());
	EXPECT_EQ(set.size(), 5u);
	for (const char *status : {"0", "1", "2"})
		EXPECT_NE(page.find(".TP\n.B " + std::string{status} + '\n'), std::string::npos) << status;
	EXPECT_NE(page.find(' ' + lines_of(succeed({"-V"})).at(0) + ' '), std::string::npos) << "another version";
}

TEST_F(words_of_pm_netlinkd, the_synopsis_has_every_option_and_no_other)
{
	std::string synopsis;
	for (const std::string &line : section(man_page("pm-netlinkd"), ".SH SYNOPSIS", {".SH"}))
		synopsis += line + '\n';
	EXPECT_EQ(options_in(synopsis), (names{"-n", "--set", "--config", "--events", "--run-dir", "-h", "-V"}));
}

TEST_F(words_of_pm_netlinkd, the_completion_offers_every_option_policy_and_setting)
{
	const auto offer = [&](const words &line) { return offered(line, "pm-netlinkd"); };
	auto [policies, assignments] = policies_and_settings();
	EXPECT_EQ(offer({"-"}), listed(help()));
	EXPECT_EQ(offer({""}), policies);
	EXPECT_EQ(offer({"-n", "blue", "full"}), names{"fullmesh"});
	for (const std::string &each : settings())
		assignments.insert(each + '=');
	EXPECT_EQ(offer({"fullmesh", "--set", ""}), assignments);
	EXPECT_EQ(offer({"-n", ""}), named_namespaces());
	write("file", "");
	EXPECT_EQ(offer({"--config", "fi"}), names{"file"});
	EXPECT_EQ(offer({"--events", ""}), (names{"netlink", "ringbuf"}));
	EXPECT_EQ(offer({"--run-dir", "fi"}), names{}) << "a file is no folder";
}

} // namespace

} // namespace pm::e2e
